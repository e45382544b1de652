/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evacuation against a scripted guest: real child processes, a clock that the test turns.
 */
#include "evacuate.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent_config.h"
#include "failure.h"
#include "fake_guest.h"
#include "quiet_pools.h"
#include "undo.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)
#define RUNGS (MESSAGE_EVACUATE_HUGE_PAGES | MESSAGE_EVACUATE_COMPACT | MESSAGE_EVACUATE_OFFLINE)

static struct fake_guest guest;
static struct agent_config config;
static struct lease_book book;
static struct quiet_pools quiet;
static struct evacuate evacuate;
static struct message_evacuate request;
static struct failure failure;
static uint64_t now;

static void start(void)
{
	static const uint8_t boot_id[LEASE_BOOT_ID_BYTES] = {1};

	fake_guest_start(&guest);
	agent_config_init(&config);
	lease_book_init(&book, guest.lease_directory, boot_id);
	CHECK_INT(evacuate_init(&evacuate, guest.sysroot, &config, &quiet, &book, -1), 0);
	now = 1000;
	quiet = (struct quiet_pools){0};
	request = (struct message_evacuate){.lease = {.id = 7, .lease_ms = 60000},
					    .flags = RUNGS,
					    .deadline_ms = 100000,
					    .block_deadline_ms = 5000};
}

static void stop(void)
{
	evacuate_done(&evacuate);
	lease_book_done(&book);
	fake_guest_stop(&guest);
}

/* Steps until it is finished; where a child hangs the clock goes on to the deadline. */
static const struct message_evacuate_reply *run(void)
{
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_OK);
	for (int i = 0; i < 1000; i++) {
		if (evacuate_step(&evacuate, now) == EVACUATE_STEP_FINISHED)
			break;
		struct pollfd child = {.fd = evacuate.job.pid_fd, .events = POLLIN};

		if (poll(&child, 1, 20) == 0 && guest.state->hangs) {
			guest.state->hangs = false;
			now = evacuate_deadline(&evacuate, now);
		}
	}
	CHECK_INT(evacuate.stage, EVACUATE_STAGE_DONE);
	return &evacuate.reply.evacuate_reply;
}

static const struct message_block_outcome *outcome(const struct message_evacuate_reply *reply,
						   uint64_t id)
{
	static const struct message_block_outcome none = {.reason = MESSAGE_REASON_UNKNOWN};

	for (unsigned i = 0; i < reply->block_count; i++)
		if (reply->blocks[i].id == id)
			return &reply->blocks[i];
	return &none;
}

static void undo_all(void)
{
	struct lease *lease = lease_book_find(&book, 7);

	undo_prepare(guest.sysroot, &lease->entries);
	CHECK_INT(undo_run(guest.sysroot, &lease->entries).outcome, 0);
	CHECK_INT(undo_review(guest.sysroot, &lease->entries, &book.taken, NULL, NULL), 0);
	lease_book_remove(&book, lease);
}

static void test_all_rungs(void)
{
	start();
	request.target_bytes = 256 * MIB;
	guest.state->compacted_pieces = 10;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->rung_count, 3);
	CHECK_INT(reply->rungs[0].rung, MESSAGE_RUNG_HUGE_PAGES);
	CHECK_INT(reply->rungs[0].gained_bytes, 200 * MIB);
	CHECK_INT(reply->rungs[1].rung, MESSAGE_RUNG_COMPACT);
	CHECK_INT(reply->rungs[1].gained_bytes, 40 * MIB);
	CHECK_INT(reply->rungs[2].gained_bytes, 256 * MIB);
	CHECK_INT(reply->offlined_bytes, 256 * MIB);
	CHECK_INT(reply->block_count, 2);
	/* From the top, and no more than asked for. */
	CHECK_STR(fake_guest_block_state(&guest, 39), "offline");
	CHECK_STR(fake_guest_block_state(&guest, 38), "offline");
	CHECK_STR(fake_guest_block_state(&guest, 37), "online");
	CHECK_INT(fake_guest_pool(&guest), 0);
	CHECK_STR(fake_guest_read(&guest, "/proc/sys/vm/compact_memory"), "1");
	/* The driver may take online blocks again: sub-blocks go that way. */
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "Y");
	CHECK_TRUE(strstr(guest.state->log, "unplug_online=0\n") != NULL);
	CHECK_STR(fake_guest_leases(&guest),
		  "ballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\npool 0 2097152 100 100\nblock 39 Movable\nblock 38 Movable\nend");
	undo_all();
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_INT(book.taken.count, 0);
	stop();
}

/* So many bytes of a device: its range says where, and the driver may go on with the rest. */
static void test_bytes_within_a_range(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.target_bytes = FAKE_GUEST_BLOCK_BYTES;
	request.range_count = 1;
	request.ranges[0] = (struct message_range){33 * FAKE_GUEST_BLOCK_BYTES, 2 * FAKE_GUEST_BLOCK_BYTES};
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->offlined_bytes, FAKE_GUEST_BLOCK_BYTES);
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	CHECK_TRUE(strstr(guest.state->log, "unplug_online=0\n") != NULL);
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "Y");
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "unplug_online") == NULL);
	undo_all();
	stop();
}

static void test_named_ranges(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.range_count = 3;
	/* A piece of block 33, blocks 36 and 37, and boot memory. */
	request.ranges[0] = (struct message_range){33 * FAKE_GUEST_BLOCK_BYTES + 2 * MIB, 2 * MIB};
	request.ranges[1] = (struct message_range){36 * FAKE_GUEST_BLOCK_BYTES, 256 * MIB};
	request.ranges[2] = (struct message_range){FAKE_GUEST_BLOCK_BYTES, 1};
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(reply->block_count, 4);
	CHECK_INT(outcome(reply, 33)->reason, MESSAGE_REASON_OFFLINED);
	CHECK_INT(outcome(reply, 36)->reason, MESSAGE_REASON_OFFLINED);
	CHECK_INT(outcome(reply, 37)->reason, MESSAGE_REASON_OFFLINED);
	CHECK_INT(outcome(reply, 1)->reason, MESSAGE_REASON_NOT_CANDIDATE);
	CHECK_STR(fake_guest_block_state(&guest, 35), "online");
	/* Only these may go, until the lease ends. */
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "N");
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "unplug_online 1\n") != NULL);
	undo_all();
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "Y");
	CHECK_STR(fake_guest_block_state(&guest, 36), "online");
	stop();
}

/* Every page of boot memory and of the blocks is used, but for those of this block. */
static void write_page_flags(uint64_t empty_id)
{
	static const uint64_t is_free = 1 << 10, is_used = 0; /* KPF_BUDDY */
	uint64_t block_pages = FAKE_GUEST_BLOCK_BYTES / (uint64_t)sysconf(_SC_PAGESIZE);
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest.root);
	file = fopen(path, "we");
	fseeko(file, (off_t)(empty_id * block_pages * sizeof(is_free)), SEEK_SET);
	for (uint64_t i = 0; i < block_pages; i++)
		fwrite(&is_free, sizeof(is_free), 1, file);
	fseeko(file, (off_t)((FAKE_GUEST_BLOCKS * block_pages - 1) * sizeof(is_used)), SEEK_SET);
	fwrite(&is_used, sizeof(is_used), 1, file);
	fclose(file);
}

/* Fewer bytes than the ranges have: the emptiest of their blocks, and none outside of them however empty it is. */
static void test_a_part_of_named_ranges(void)
{
	for (int is_inside = 0; is_inside < 2; is_inside++) {
		start();
		write_page_flags(is_inside ? 34 : 38);
		request.flags = MESSAGE_EVACUATE_OFFLINE;
		request.target_bytes = FAKE_GUEST_BLOCK_BYTES;
		request.range_count = 2;
		request.ranges[0] = (struct message_range){33 * FAKE_GUEST_BLOCK_BYTES, 2 * FAKE_GUEST_BLOCK_BYTES};
		request.ranges[1] = (struct message_range){36 * FAKE_GUEST_BLOCK_BYTES, FAKE_GUEST_BLOCK_BYTES};
		const struct message_evacuate_reply *reply = run();

		CHECK_INT(reply->code, MESSAGE_RESULT_OK);
		CHECK_INT(reply->block_count, 1);
		CHECK_INT(reply->offlined_bytes, FAKE_GUEST_BLOCK_BYTES);
		/* All alike: from the top. */
		CHECK_INT(reply->blocks[0].id, is_inside ? 34 : 36);
		undo_all();
		stop();
	}
}

static void test_blocks_that_do_not_go(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	guest.state->scripts[39] = FAKE_GUEST_BUSY;
	guest.state->scripts[38] = FAKE_GUEST_HANGS;
	guest.state->scripts[37] = FAKE_GUEST_INVALID;
	guest.state->scripts[36] = FAKE_GUEST_VANISHES;
	guest.state->scripts[35] = FAKE_GUEST_TAKEN_AFTERWARDS;
	guest.state->scripts[34] = FAKE_GUEST_BUSY_ONCE;
	guest.state->scripts[33] = FAKE_GUEST_PINNED;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(reply->block_count, 8);
	CHECK_INT(outcome(reply, 39)->reason, MESSAGE_REASON_BUSY);
	CHECK_INT(guest.state->tries[39], 2);
	CHECK_INT(outcome(reply, 38)->reason, MESSAGE_REASON_TIMED_OUT);
	CHECK_INT(guest.state->tries[38], 1);
	CHECK_INT(outcome(reply, 37)->reason, MESSAGE_REASON_NOT_REMOVABLE);
	CHECK_INT(outcome(reply, 36)->reason, MESSAGE_REASON_GONE);
	CHECK_INT(outcome(reply, 35)->reason, MESSAGE_REASON_GONE);
	CHECK_INT(outcome(reply, 34)->reason, MESSAGE_REASON_OFFLINED);
	CHECK_INT(outcome(reply, 33)->reason, MESSAGE_REASON_PINNED);
	CHECK_INT(outcome(reply, 32)->reason, MESSAGE_REASON_OFFLINED);
	CHECK_INT(reply->offlined_bytes, 4 * 128 * MIB);
	CHECK_STR(reply->text, "4 of 8 blocks are offline");
	/* Only what the agent took offline and is still there is to be undone. */
	CHECK_INT(lease_book_find(&book, 7)->entries.count, 2);
	undo_all();
	CHECK_STR(fake_guest_block_state(&guest, 34), "online");
	CHECK_STR(fake_guest_block_state(&guest, 35), "");
	stop();
}

static uint64_t pinned_in(unsigned block)
{
	return pinned_pages_bytes(&evacuate.pinned, guest.sysroot, block * FAKE_GUEST_BLOCK_BYTES, FAKE_GUEST_BLOCK_BYTES);
}

static void test_pinned_pages_are_remembered(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	guest.state->scripts[39] = FAKE_GUEST_BUSY;
	guest.state->scripts[33] = guest.state->scripts[32] = FAKE_GUEST_PINNED;
	run();
	CHECK_INT(pinned_in(33), 2 * MIB);
	CHECK_INT(pinned_in(32), 2 * MIB);
	CHECK_INT(pinned_in(39), 0);
	/* Until the block goes. */
	guest.state->scripts[33] = FAKE_GUEST_GOES;
	evacuate_clear(&evacuate);
	run();
	CHECK_INT(pinned_in(33), 0);
	CHECK_INT(pinned_in(32), 2 * MIB);
	undo_all();
	stop();
}

/* More blocks than are chosen at once, of which those at the top do not go. */
static void test_blocks_in_parts(void)
{
	const unsigned first = 64, count = LIMIT_BLOCKS + 88, below = first + 87;

	start();
	fake_guest_set_region(&guest, first, count, "online", "Movable");
	for (unsigned id = below + 1; id < first + count; id++)
		guest.state->scripts[id] = FAKE_GUEST_INVALID;
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.target_bytes = 2 * FAKE_GUEST_BLOCK_BYTES;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->offlined_bytes, 2 * FAKE_GUEST_BLOCK_BYTES);
	CHECK_STR(fake_guest_block_state(&guest, below), "offline");
	CHECK_STR(fake_guest_block_state(&guest, below - 1), "offline");
	CHECK_STR(fake_guest_block_state(&guest, below - 2), "online");
	CHECK_INT(reply->rung_count, 1);
	CHECK_INT(reply->rungs[0].gained_bytes, 2 * FAKE_GUEST_BLOCK_BYTES);
	/* As many are told as there is room for, first of all what stays. */
	CHECK_INT(reply->block_count, LIMIT_BLOCKS);
	CHECK_INT(reply->blocks_total, LIMIT_BLOCKS + 2);
	CHECK_INT(outcome(reply, below + 1)->reason, MESSAGE_REASON_NOT_REMOVABLE);
	CHECK_STR(fake_guest_leases(&guest),
		  "ballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\nblock 151 Movable\nblock 150 Movable\nend");
	stop();
}

/* There was no time for more than the first of them: the next evacuation leaves these for later. */
static void test_parts_of_later_evacuations(void)
{
	const unsigned first = 64, count = LIMIT_BLOCKS + 88, below = first + 87, top = first + count - 1;

	start();
	fake_guest_set_region(&guest, first, count, "online", "Movable");
	guest.state->scripts[top] = FAKE_GUEST_HANGS;
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.target_bytes = FAKE_GUEST_BLOCK_BYTES;
	request.deadline_ms = 3000;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_TIMED_OUT);
	CHECK_INT(reply->blocks_total, count);
	CHECK_INT(guest.state->tries[top], 1);
	evacuate_clear(&evacuate);
	CHECK_INT(run()->code, MESSAGE_RESULT_OK);
	CHECK_INT(guest.state->tries[top], 1);
	CHECK_STR(fake_guest_block_state(&guest, below), "offline");
	/* A request with no more than fit is no matter of that. */
	evacuate_clear(&evacuate);
	request.range_count = 1;
	request.ranges[0] = (struct message_range){first * FAKE_GUEST_BLOCK_BYTES, 200 * FAKE_GUEST_BLOCK_BYTES};
	request.target_bytes = 2 * FAKE_GUEST_BLOCK_BYTES;
	run();
	CHECK_STR(fake_guest_block_state(&guest, first + 199), "offline");
	/* From the bottom round to the top, where nothing hangs any more; two are offline already. */
	evacuate_clear(&evacuate);
	guest.state->scripts[top] = FAKE_GUEST_GOES;
	for (unsigned id = first; id < below; id++)
		guest.state->scripts[id] = FAKE_GUEST_INVALID;
	request.range_count = 0;
	request.deadline_ms = 100000;
	request.target_bytes = 3 * FAKE_GUEST_BLOCK_BYTES;
	reply = run();
	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->offlined_bytes, 3 * FAKE_GUEST_BLOCK_BYTES);
	CHECK_INT(guest.state->tries[first], 1);
	CHECK_STR(fake_guest_block_state(&guest, top), "offline");
	stop();
}

static void test_overall_deadline(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.deadline_ms = 3000;
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_TIMED_OUT);
	CHECK_INT(now, 4000);
	CHECK_INT(outcome(reply, 39)->reason, MESSAGE_REASON_TIMED_OUT);
	CHECK_INT(outcome(reply, 32)->reason, MESSAGE_REASON_TIMED_OUT);
	CHECK_INT(guest.state->tries[32], 0);
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "Y");
	stop();
}

static void test_hooks_come_first(void)
{
	start();
	config.hooks = true;
	fake_guest_add_hook(&guest, "10-a",
			    "cat ../../../sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages > ../log; "
			    "cat ../../../run/ballast-agent/leases >> ../log; echo not now; exit 1");
	request.flags = MESSAGE_EVACUATE_HOOKS | MESSAGE_EVACUATE_HUGE_PAGES;
	request.target_bytes = 64 * MIB;
	request.range_count = 1;
	request.ranges[0] = (struct message_range){FAKE_GUEST_BLOCK_BYTES, MIB};
	const struct message_evacuate_reply *reply = run();

	/* It failed, and the rungs after it are climbed all the same. */
	CHECK_INT(reply->code, MESSAGE_RESULT_PARTIAL);
	CHECK_STR(reply->text, "hook 10-a: exit status 1: not now");
	CHECK_INT(reply->rung_count, 2);
	CHECK_INT(reply->rungs[0].rung, MESSAGE_RUNG_HOOKS);
	CHECK_INT(reply->rungs[0].reason, MESSAGE_REASON_HOOK_FAILED);
	CHECK_INT(reply->rungs[1].gained_bytes, 64 * MIB);
	/* It ran before anything was changed, and after it had been written down. */
	CHECK_STR(fake_guest_read(&guest, "/etc/ballast/log"),
		  "100\nballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\nhooks 67108864 0\nhook_range 134217728 1048576\nend");
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 100);
	stop();
}

/* Without a word of the host on where: what leaves is in the one device, and the hooks after it are told the same. */
static void test_hooks_know_the_device(void)
{
	start();
	config.hooks = true;
	fake_guest_add_hook(&guest, "10-a",
			    "echo $BALLAST_BYTES $BALLAST_RANGES > ../log; grep hook_range ../../../run/ballast-agent/leases >> ../log");
	request.flags = MESSAGE_EVACUATE_HOOKS;
	request.target_bytes = 64 * MIB;
	request.range_count = 0;
	CHECK_INT(run()->code, MESSAGE_RESULT_OK);
	CHECK_STR(fake_guest_read(&guest, "/etc/ballast/log"),
		  "67108864 100000000-180000000\nhook_range 4294967296 2147483648");
	stop();
}

static void put_on_node_1(unsigned block)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/sys/devices/system/memory/memory%u/node0", guest.root, block);
	CHECK_INT(rmdir(path), 0);
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/node1/meminfo", block);
	fake_guest_write(&guest, path, "");
}

/* Whose pools are to give first. */
static void test_nodes_that_are_meant(void)
{
	start();
	CHECK_INT(candidates_find_nodes(guest.sysroot, &request), 1 << 0);
	put_on_node_1(38);
	put_on_node_1(39);
	CHECK_INT(candidates_find_nodes(guest.sysroot, &request), 1 << 0 | 1 << 1);
	request.range_count = 1;
	request.ranges[0] = (struct message_range){38 * FAKE_GUEST_BLOCK_BYTES, 2 * FAKE_GUEST_BLOCK_BYTES};
	CHECK_INT(candidates_find_nodes(guest.sysroot, &request), 1 << 1);
	/* What is offline has no huge pages. */
	fake_guest_set_block(&guest, 38, "offline", "Movable Normal");
	CHECK_INT(candidates_find_nodes(guest.sysroot, &request), 1 << 1);
	request.ranges[0].size_bytes = FAKE_GUEST_BLOCK_BYTES;
	CHECK_INT(candidates_find_nodes(guest.sysroot, &request), 0);
	stop();
}

/* Not all of a pool for a range, but where only that may leave. */
static void test_no_more_than_is_wanted(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	request.target_bytes = 64 * MIB;
	request.range_count = 1;
	request.ranges[0] = (struct message_range){39 * FAKE_GUEST_BLOCK_BYTES, FAKE_GUEST_BLOCK_BYTES};
	run();
	CHECK_INT(fake_guest_pool(&guest), 68);
	stop();
}

static void test_make_room(void)
{
	start();
	fake_guest_set_pool(&guest, 30, 10, 0, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	guest.state->pool_most = 36;
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	run();
	CHECK_INT(fake_guest_pool(&guest), 20);
	evacuate_clear(&evacuate);
	request.flags = MESSAGE_EVACUATE_MAKE_ROOM;
	const struct message_evacuate_reply *reply = run();

	/* For 4 of 20 there is none. */
	CHECK_INT(reply->code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(fake_guest_pool(&guest), 36);
	CHECK_INT(reply->rungs[0].rung, MESSAGE_RUNG_MAKE_ROOM);
	CHECK_INT(reply->rungs[0].gained_bytes, 32 * MIB);
	CHECK_INT(reply->rungs[0].reason, MESSAGE_REASON_NO_MEMORY);
	CHECK_INT(reply->pool_count, 1);
	CHECK_INT(reply->pools[0].stayed_pages, 4);
	CHECK_INT(reply->pools[0].reason, MESSAGE_REASON_HUGE_PAGES_IN_USE);
	CHECK_INT(reply->block_count, 0);
	CHECK_STR(fake_guest_leases(&guest),
		  "ballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\npool 0 2097152 30 10\nroom 2097152 20 16\nend");
	evacuate_clear(&evacuate);
	/* It is not given away as free. */
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	reply = run();
	CHECK_INT(reply->rungs[0].gained_bytes, 0);
	CHECK_INT(fake_guest_pool(&guest), 36);
	/* Those in use have moved there, and the block has gone offline with the 10 that they left. */
	fake_guest_set_pool(&guest, 26, 6, 0, 0);
	guest.state->pool_most = 1000;
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 30);
	stop();
}

/* The driver migrates one of 20 just when the room is made: its page, which counts beside them then, is none of the pool's. */
static void test_room_beside_a_page_on_its_way(void)
{
	start();
	quiet_pools_note(&quiet, 2 * MIB, 20, now);
	fake_guest_set_pool(&guest, 21, 0, 0, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	request.flags = MESSAGE_EVACUATE_MAKE_ROOM;
	CHECK_INT(run()->code, MESSAGE_RESULT_OK);
	CHECK_INT(fake_guest_pool(&guest), 41);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease 7\nroom 2097152 20 21\nend") != NULL);
	/* Its way is over: 20 are in use. */
	fake_guest_set_pool(&guest, 41, 21, 0, 0);
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 20);
	stop();
}

/* Kept, too, the pool is as large as it was when the rung before had taken its part. */
static void test_room_of_a_kept_shrink(void)
{
	start();
	fake_guest_set_pool(&guest, 20, 0, 0, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	request.flags = MESSAGE_EVACUATE_MAKE_ROOM;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(fake_guest_pool(&guest), 40);
	/* More than went: some came to lie in the block, and went with it, too. */
	fake_guest_set_pool(&guest, 18, 0, 0, 0);
	guest.state->pool_most = 18;
	struct lease *lease = lease_book_find(&book, 7);

	undo_prepare(guest.sysroot, &lease->entries);
	CHECK_INT(undo_run(guest.sysroot, &lease->entries).outcome, 0);
	undo_review(guest.sysroot, &lease->entries, &book.taken, NULL, NULL);
	/* There is no memory for them now: they are owed. */
	CHECK_INT(book.taken.count, 1);
	CHECK_INT(book.taken.items[0].took, 2);
	CHECK_INT(book.taken.items[0].node_id, -1);
	stop();
}

static void test_reclaim(void)
{
	start();
	fake_guest_add_reclaim(&guest, 64 << 10);
	request.flags = MESSAGE_EVACUATE_RECLAIM;
	request.target_bytes = 8 * MIB;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->rung_count, 1);
	CHECK_INT(reply->rungs[0].rung, MESSAGE_RUNG_RECLAIM);
	CHECK_INT(reply->rungs[0].gained_bytes, 8 * MIB);
	CHECK_INT(reply->rungs[0].reason, MESSAGE_REASON_UNKNOWN);
	evacuate_clear(&evacuate);
	/* Nothing was changed that would have to be put back. */
	CHECK_INT(lease_book_find(&book, 7)->entries.count, 0);
	config.veto = AGENT_CONFIG_VETO_RECLAIM;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_PREPARE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_VETOED);
	config.veto = 0;
	request.target_bytes = 0;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_PREPARE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	stop();
}

static void test_hooks_are_off(void)
{
	start();
	fake_guest_add_hook(&guest, "10-a", "echo a > ../log");
	request.flags = MESSAGE_EVACUATE_HOOKS;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_PREPARE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_VETOED);
	CHECK_STR(fake_guest_read(&guest, "/etc/ballast/log"), "");
	stop();
}

static void test_cancel(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_OK);
	while (evacuate.stage != EVACUATE_STAGE_OFFLINE) {
		struct pollfd child = {.fd = evacuate.job.pid_fd, .events = POLLIN};

		evacuate_step(&evacuate, now);
		if (evacuate.stage != EVACUATE_STAGE_OFFLINE)
			poll(&child, 1, 1000);
	}
	/* Another one has to wait. */
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 3, now, &failure),
		  MESSAGE_RESULT_BUSY);
	CHECK_STR(failure.cause, "one evacuation at a time");
	evacuate_cancel(&evacuate, now);
	while (evacuate_step(&evacuate, now) != EVACUATE_STEP_FINISHED) {
		struct pollfd child = {.fd = evacuate.job.pid_fd, .events = POLLIN};

		poll(&child, 1, 1000);
	}
	CHECK_INT(evacuate.reply.evacuate_reply.code, MESSAGE_RESULT_CANCELLED);
	CHECK_INT(outcome(&evacuate.reply.evacuate_reply, 39)->reason, MESSAGE_REASON_CANCELLED);
	CHECK_INT(outcome(&evacuate.reply.evacuate_reply, 38)->reason, MESSAGE_REASON_CANCELLED);
	evacuate_clear(&evacuate);
	CHECK_TRUE(evacuate_is_idle(&evacuate));
	stop();
}

/* Steps until it rests, and returns for how long. */
static uint64_t rests_for(void)
{
	for (int i = 0; i < 100 && !evacuate.rest_until_ms; i++) {
		struct pollfd child = {.fd = evacuate.job.pid_fd, .events = POLLIN};

		poll(&child, 1, 1000);
		/* So long has it worked, however soon the child was done. */
		now += 100;
		evacuate_step(&evacuate, now);
	}
	CHECK_TRUE(evacuate.rest_until_ms > now);
	return evacuate.rest_until_ms - now;
}

/* A fifth of the time: after each block the guest is left alone four times as long. */
static void test_share_of_the_time(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.range_count = 1;
	request.ranges[0] = (struct message_range){38 * FAKE_GUEST_BLOCK_BYTES, 2 * FAKE_GUEST_BLOCK_BYTES};
	request.work_percent = 20;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_OK);
	CHECK_INT(rests_for(), 400);
	/* Not woken before it is over, and nothing runs. */
	CHECK_INT(evacuate_deadline(&evacuate, now), now + 400);
	now += 399;
	CHECK_INT(evacuate_step(&evacuate, now), EVACUATE_STEP_NOTHING);
	CHECK_TRUE(child_job_is_idle(&evacuate.job));
	now += 1;
	/* The next child may be done before the same step looks at it: by this clock in no time, and there is no rest. */
	if (evacuate_step(&evacuate, now) == EVACUATE_STEP_PROGRESS) {
		CHECK_TRUE(!child_job_is_idle(&evacuate.job));
		CHECK_INT(evacuate.rest_until_ms, 0);
		CHECK_INT(rests_for(), 400);
		/* A cancel is heard in the middle of a rest. */
		evacuate_cancel(&evacuate, now);
		CHECK_INT(evacuate_deadline(&evacuate, now), now);
		CHECK_INT(evacuate_step(&evacuate, now), EVACUATE_STEP_FINISHED);
		CHECK_INT(evacuate.reply.evacuate_reply.code, MESSAGE_RESULT_CANCELLED);
	} else {
		printf("# the second block's child was done at once: no rest to be cancelled\n");
		CHECK_INT(evacuate.stage, EVACUATE_STAGE_DONE);
	}
	CHECK_INT(evacuate.reply.evacuate_reply.offlined_bytes, 2 * FAKE_GUEST_BLOCK_BYTES);
	stop();
}

/* The kernel gives up the free ones that lie in a block, whether it then goes or not. */
static void test_huge_pages_go_with_their_block(void)
{
	start();
	fake_guest_set_pool(&guest, 100, 100, 0, 0);
	guest.state->free_inside[39] = 20;
	guest.state->free_inside[38] = 7;
	guest.state->free_inside[37] = 3;
	guest.state->scripts[38] = FAKE_GUEST_BUSY;
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.target_bytes = 256 * MIB;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(fake_guest_pool(&guest), 70);
	/* Before the blocks, for an undo begins at the end. */
	CHECK_STR(fake_guest_leases(&guest),
		  "ballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\npool 0 2097152 100 30\nblock 39 Movable\nblock 37 Movable\nend");
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_INT(book.taken.count, 0);
	evacuate_clear(&evacuate);
	/* After the rung that takes what is free the rest is owed as well; who had the room was owed none. */
	guest.state->free_inside[36] = 12;
	config.floors[0] = (struct agent_config_floor){2 * MIB, 40};
	config.floor_count = 1;
	request.flags |= MESSAGE_EVACUATE_HUGE_PAGES;
	request.target_bytes = 512 * MIB;
	run();
	CHECK_INT(fake_guest_pool(&guest), 28);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "pool 0 2097152 100 72\n") != NULL);
	stop();
}

static void test_huge_pages_that_go_with_room(void)
{
	start();
	/* 20 in use in block 39, for which the pool grows by as many; then the block takes them along, and 6 more. */
	fake_guest_set_pool(&guest, 40, 20, 20, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	request.flags = MESSAGE_EVACUATE_MAKE_ROOM;
	run();
	evacuate_clear(&evacuate);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "room 2097152 40 20\n") != NULL);
	fake_guest_set_pool(&guest, 60, 40, 0, 0);
	guest.state->free_inside[39] = 26;
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.target_bytes = FAKE_GUEST_BLOCK_BYTES;
	run();
	CHECK_INT(fake_guest_pool(&guest), 34);
	CHECK_STR(fake_guest_leases(&guest),
		  "ballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\npool 0 2097152 40 6\nblock 39 Movable\nend");
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 40);
	stop();
}

static void test_huge_pages_that_stay(void)
{
	start();
	fake_guest_set_pool(&guest, 100, 60, 10, 0);
	config.floors[0] = (struct agent_config_floor){2 * MIB, 70};
	config.floor_count = 1;
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_PREPARE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_OK);
	while (evacuate_step(&evacuate, now) != EVACUATE_STEP_FINISHED)
		poll(&(struct pollfd){.fd = evacuate.job.pid_fd, .events = POLLIN}, 1, 1000);
	const struct message_evacuate_reply *reply = &evacuate.reply.evacuate_reply;

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->rungs[0].gained_bytes, 60 * MIB);
	CHECK_INT(fake_guest_pool(&guest), 70);
	CHECK_INT(reply->pool_count, 2);
	CHECK_INT(reply->pools[0].reason, MESSAGE_REASON_HUGE_PAGES_IN_USE);
	CHECK_INT(reply->pools[0].stayed_pages, 50);
	CHECK_INT(reply->pools[1].reason, MESSAGE_REASON_HUGE_PAGES_FLOOR);
	CHECK_INT(reply->pools[1].stayed_pages, 20);
	stop();
}

static uint64_t surplus(void)
{
	return strtoull(fake_guest_read(&guest, "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages"), NULL, 10);
}

/* As many free pages as there are surplus ones go without being owed. */
static void test_surplus_goes_first(void)
{
	start();
	fake_guest_set_pool(&guest, 100, 50, 10, 20);
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->rungs[0].gained_bytes, 80 * MIB);
	CHECK_INT(reply->pools[0].stayed_pages, 60);
	CHECK_INT(fake_guest_pool(&guest), 60);
	CHECK_INT(surplus(), 0);
	CHECK_STR(fake_guest_leases(&guest),
		  "ballast-agent leases 1\nboot 01000000000000000000000000000000\n"
		  "lease 7\npool 0 2097152 80 20\nend");
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 80);
	CHECK_INT(surplus(), 0);
	stop();
}

/* Surplus in use becomes the pool's own, and ceases to be as it is freed: never by making the pool smaller than what is
 * in use. */
static void test_surplus_in_use(void)
{
	start();
	fake_guest_set_pool(&guest, 100, 30, 0, 50);
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->rungs[0].gained_bytes, 60 * MIB);
	CHECK_INT(fake_guest_pool(&guest), 70);
	CHECK_INT(surplus(), 0);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease 7\nsurplus 2097152 50 20\nend") != NULL);
	struct lease *lease = lease_book_find(&book, 7);

	CHECK_INT(undo_run(guest.sysroot, &lease->entries).outcome, 0);
	CHECK_INT(fake_guest_pool(&guest), 70);
	CHECK_INT(surplus(), 0);
	CHECK_TRUE(!undo_is_done(guest.sysroot, &lease->entries.items[0]));
	/* The next shrink has it from there. */
	lease->ending = true;
	evacuate_clear(&evacuate);
	request.lease.id = 8;
	fake_guest_set_pool(&guest, 70, 5, 0, 0);
	run();
	CHECK_INT(lease_book_find(&book, 7)->entries.count, 0);
	lease_book_remove(&book, lease_book_find(&book, 7));
	lease = lease_book_find(&book, 8);
	CHECK_INT(fake_guest_pool(&guest), 65);
	CHECK_INT(lease->entries.count, 1);
	CHECK_INT(lease->entries.items[0].took, 15);
	/* Freed bit by bit. */
	fake_guest_set_pool(&guest, 65, 5, 0, 0);
	CHECK_INT(undo_run(guest.sysroot, &lease->entries).outcome, 0);
	CHECK_INT(fake_guest_pool(&guest), 60);
	fake_guest_set_pool(&guest, 60, 40, 8, 0);
	CHECK_INT(undo_run(guest.sysroot, &lease->entries).outcome, 0);
	CHECK_INT(fake_guest_pool(&guest), 50);
	CHECK_INT(surplus(), 0);
	CHECK_TRUE(undo_is_done(guest.sysroot, &lease->entries.items[0]));
	/* What the owner has set since is his. */
	fake_guest_set_pool(&guest, 200, 200, 0, 0);
	CHECK_INT(undo_run(guest.sysroot, &lease->entries).outcome, 0);
	CHECK_INT(fake_guest_pool(&guest), 200);
	CHECK_TRUE(undo_is_done(guest.sysroot, &lease->entries.items[0]));
	lease_book_remove(&book, lease);
	stop();
}

/* Free pages that a floor keeps go with their block: none of them may count as surplus then. */
static void test_surplus_before_blocks(void)
{
	start();
	fake_guest_set_pool(&guest, 100, 60, 20, 40);
	guest.state->free_inside[39] = 30;
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.range_count = 1;
	request.ranges[0] = (struct message_range){39 * FAKE_GUEST_BLOCK_BYTES, FAKE_GUEST_BLOCK_BYTES};
	run();
	CHECK_INT(fake_guest_pool(&guest), 70);
	CHECK_INT(surplus(), 0);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease 7\nsurplus 2097152 60 10\nunplug_online 1\nblock 39 Movable\n") != NULL);
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 60);
	CHECK_INT(surplus(), 0);
	stop();
}

/* The kernel would make surplus persistent in place of fresh pages. */
static void test_room_beside_surplus(void)
{
	start();
	fake_guest_set_pool(&guest, 30, 0, 0, 12);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	request.flags = MESSAGE_EVACUATE_MAKE_ROOM;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->rungs[0].gained_bytes, 40 * MIB);
	CHECK_INT(fake_guest_pool(&guest), 50);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease 7\nsurplus 2097152 18 12\nroom 2097152 30 20\nend") != NULL);
	/* The application has ended. */
	fake_guest_set_pool(&guest, 50, 50, 0, 0);
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 18);
	stop();
}

/* Between the look and the write an application took 30 of them. */
static void test_pages_used_meanwhile(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	guest.state->used_meanwhile = 30;
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(fake_guest_pool(&guest), 30);
	CHECK_INT(reply->rungs[0].gained_bytes, 140 * MIB);
	/* The kernel called them surplus for a moment; they are the pool's again. */
	CHECK_INT(surplus(), 0);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "pool 0 2097152 100 70\n") != NULL);
	undo_all();
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_INT(surplus(), 0);
	stop();
}

static void test_refusals(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_PREPARE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	request.flags = 0x80;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	request.deadline_ms = 0;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	request.deadline_ms = 1000;
	request.lease.lease_ms = LIMIT_LEASE_MS + 1;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	request.lease.lease_ms = 1000;
	request.range_count = 1;
	request.ranges[0] = (struct message_range){UINT64_MAX - 5, 100};
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	request.range_count = 0;
	request.work_percent = 101;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_INVALID);
	request.work_percent = 0;
	config.veto = AGENT_CONFIG_VETO_OFFLINE;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_VETOED);
	request.flags = MESSAGE_EVACUATE_HUGE_PAGES;
	config.veto = AGENT_CONFIG_VETO_SHRINK;
	CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure),
		  MESSAGE_RESULT_VETOED);
	CHECK_INT(guest.state->writes, 0);
	CHECK_INT(book.count, 0);
	stop();
}

static void test_guest_keeps_what_it_needs(void)
{
	start();
	request.flags = MESSAGE_EVACUATE_OFFLINE;
	/* A block and what is kept are 170 MiB. */
	fake_guest_write(&guest, "/proc/meminfo",
			 "MemTotal: 1400000 kB\nMemFree: 900 kB\nMemAvailable: 170000 kB");
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(reply->block_count, 8);
	CHECK_INT(outcome(reply, 39)->reason, MESSAGE_REASON_NO_MEMORY);
	CHECK_INT(guest.state->tries[39], 0);
	CHECK_INT(lease_book_find(&book, 7)->entries.count, 0);
	evacuate_clear(&evacuate);
	/* Room for huge pages in use is theirs. */
	struct lease_entry room = {
		.kind = LEASE_ROOM, .node_id = -1, .key = 2 * MIB, .old = 80, .took = 20};

	CHECK_INT(lease_entries_add(&lease_book_find(&book, 7)->entries, &room), 0);
	request.target_bytes = FAKE_GUEST_BLOCK_BYTES;
	reply = run();
	CHECK_INT(reply->code, MESSAGE_RESULT_OK);
	CHECK_INT(outcome(reply, 39)->reason, MESSAGE_REASON_OFFLINED);
	stop();
}

static void test_guest_keeps_what_it_says(void)
{
	static const char memory[] = "MemTotal: 1400000 kB\nMemFree: 900 kB\nMemAvailable: %u kB";
	char text[sizeof(memory) + 16];

	for (uint32_t percent = 0; percent <= 50; percent += 10)
		for (int more = 0; more < 2; more++) {
			start();
			config.keep_available_percent = percent;
			request.flags = MESSAGE_EVACUATE_OFFLINE;
			request.target_bytes = FAKE_GUEST_BLOCK_BYTES;
			snprintf(text, sizeof(text), memory,
				 (unsigned)(FAKE_GUEST_BLOCK_BYTES / 1024) + 14000 * percent - 4 * !more);
			fake_guest_write(&guest, "/proc/meminfo", text);
			CHECK_INT(outcome(run(), 39)->reason,
				  more ? MESSAGE_REASON_OFFLINED : MESSAGE_REASON_NO_MEMORY);
			stop();
		}
}

/* What keeps a change from being written down is said as it is. */
static void test_what_cannot_be_written_down(void)
{
	static struct lease_entry entries[LEASE_ENTRIES_MAX];

	for (int full = 0; full < 2; full++) {
		start();
		request.flags = MESSAGE_EVACUATE_OFFLINE;
		struct lease *lease = lease_book_open(&book, 7, 60000, now);

		if (full)
			lease->entries = (struct lease_entries){
				.items = entries, .count = LEASE_ENTRIES_MAX, .capacity = LEASE_ENTRIES_MAX};
		CHECK_INT(evacuate_start(&evacuate, MESSAGE_EVACUATE, &request, 1, 2, now, &failure), MESSAGE_RESULT_OK);
		lease->ending = !full;
		while (evacuate_step(&evacuate, now) != EVACUATE_STEP_FINISHED)
			poll(&(struct pollfd){.fd = evacuate.job.pid_fd, .events = POLLIN}, 1, 1000);
		CHECK_INT(evacuate.reply.evacuate_reply.code, MESSAGE_RESULT_FAILED);
		CHECK_STR(evacuate.reply.evacuate_reply.text,
			  full ? "the lease has no room for another change" : "the lease has ended");
		CHECK_STR(fake_guest_block_state(&guest, 39), "online");
		if (full)
			lease->entries = (struct lease_entries){0};
		stop();
	}
}

static void test_nothing_without_a_lease_file(void)
{
	start();
	/* The directory's name is taken by a file. */
	fake_guest_write(&guest, "/run/ballast-agent", "in the way");
	const struct message_evacuate_reply *reply = run();

	CHECK_INT(reply->code, MESSAGE_RESULT_FAILED);
	CHECK_INT(guest.state->writes, 0);
	CHECK_INT(fake_guest_pool(&guest), 100);
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"all rungs, and undo", test_all_rungs},
		{"bytes within a range", test_bytes_within_a_range},
		{"named ranges", test_named_ranges},
		{"a part of named ranges", test_a_part_of_named_ranges},
		{"blocks that do not go", test_blocks_that_do_not_go},
		{"pinned pages are remembered", test_pinned_pages_are_remembered},
		{"blocks in parts", test_blocks_in_parts},
		{"parts of later evacuations", test_parts_of_later_evacuations},
		{"overall deadline", test_overall_deadline},
		{"hooks come first", test_hooks_come_first},
		{"hooks know the device", test_hooks_know_the_device},
		{"nodes that are meant", test_nodes_that_are_meant},
		{"no more than is wanted", test_no_more_than_is_wanted},
		{"hooks are off", test_hooks_are_off},
		{"make room", test_make_room},
		{"room beside a page on its way", test_room_beside_a_page_on_its_way},
		{"room of a kept shrink", test_room_of_a_kept_shrink},
		{"reclaim", test_reclaim},
		{"cancel", test_cancel},
		{"share of the time", test_share_of_the_time},
		{"huge pages go with their block", test_huge_pages_go_with_their_block},
		{"huge pages that go with room", test_huge_pages_that_go_with_room},
		{"huge pages that stay", test_huge_pages_that_stay},
		{"surplus goes first", test_surplus_goes_first},
		{"surplus in use", test_surplus_in_use},
		{"surplus before blocks", test_surplus_before_blocks},
		{"room beside surplus", test_room_beside_surplus},
		{"pages used meanwhile", test_pages_used_meanwhile},
		{"refusals", test_refusals},
		{"the guest keeps what it needs", test_guest_keeps_what_it_needs},
		{"the guest keeps what it says", test_guest_keeps_what_it_says},
		{"what cannot be written down", test_what_cannot_be_written_down},
		{"nothing is changed that is not written down", test_nothing_without_a_lease_file},
	};

	return unit_main("evacuate", cases, sizeof(cases) / sizeof(cases[0]));
}
