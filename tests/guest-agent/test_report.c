/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parsers make of kernels that lack things, and of odd files.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent_config.h"
#include "block_census.h"
#include "fake_guest.h"
#include "lease.h"
#include "pinned_pages.h"
#include "unit.h"
#include "zones.h"

static struct fake_guest guest;

static void remove_file(const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", guest.root, path);
	CHECK_INT(unlink(full), 0);
}

static void test_regions(void)
{
	struct zones_regions regions;

	fake_guest_start(&guest);
	CHECK_INT(zones_read_regions(guest.sysroot, &regions), 0);
	CHECK_INT(regions.count, 1);
	CHECK_INT(regions.regions[0].start, UINT64_C(0x100000000));
	/* virtio9 is another kind of device; without CAP_SYS_ADMIN all addresses read as 0. */
	fake_guest_write(&guest, "/proc/iomem",
			 "00000000-00000000 : virtio2\nnonsense\n5-4 : virtio2\n : virtio2");
	CHECK_INT(zones_read_regions(guest.sysroot, &regions), 0);
	CHECK_INT(regions.count, 0);
	fake_guest_stop(&guest);
}

static void test_kernel_without_features(void)
{
	static struct message_report_reply report;
	struct agent_config config;
	struct lease_book book;
	struct zones_policy policy;

	fake_guest_start(&guest);
	agent_config_init(&config);
	lease_book_init(&book, guest.lease_directory, (const uint8_t[LEASE_BOOT_ID_BYTES]){0});
	remove_file("/sys/devices/system/memory/auto_online_blocks");
	remove_file("/sys/module/memory_hotplug/parameters/online_policy");
	remove_file("/sys/module/memory_hotplug/parameters/auto_movable_ratio");
	remove_file("/sys/module/virtio_mem/parameters/unplug_online");
	remove_file("/proc/pressure/memory");
	remove_file("/proc/iomem");
	CHECK_INT(report_read(guest.sysroot, &config, &book, &report), 0);
	CHECK_INT(report.auto_online, MESSAGE_AUTO_ONLINE_UNKNOWN);
	CHECK_INT(report.zone_policy, MESSAGE_ZONE_POLICY_UNKNOWN);
	CHECK_INT(report.unplug_online, MESSAGE_SWITCH_UNKNOWN);
	CHECK_INT(report.pressure.some_avg10_x100, MESSAGE_PRESSURE_NONE);
	CHECK_INT(report.region_count, 0);
	CHECK_INT(report.word_flags, 0);
	CHECK_INT(report.floor_bytes, 0);
	config.veto = AGENT_CONFIG_VETO_SHRINK;
	config.memory_floor_bytes = 3;
	config.shrink_limit_bytes = 4;
	CHECK_INT(report_read(guest.sysroot, &config, &book, &report), 0);
	CHECK_INT(report.word_flags, MESSAGE_WORD_VETO);
	CHECK_INT(report.floor_bytes, 3);
	CHECK_INT(report.limit_bytes, 4);
	zones_read_policy(guest.sysroot, &policy);
	CHECK_INT(zones_plan_policy(&policy,
				    &(struct message_set_online_policy){
					    .policy = MESSAGE_ONLINE_POLICY_MOVABLE},
				    &(struct lease_entries){0}),
		  -ENOTSUP);
	remove_file("/proc/meminfo");
	CHECK_INT(report_read(guest.sysroot, &config, &book, &report), -ENOENT);
	lease_book_done(&book);
	fake_guest_stop(&guest);
}

static void test_boot_ids(void)
{
	static const char *const bad[] = {"", "0f1e", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg",
					  "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0aa"};
	uint8_t id[MESSAGE_BOOT_ID_BYTES];

	fake_guest_start(&guest);
	CHECK_INT(report_read_boot_id(guest.sysroot, id), 0);
	CHECK_INT(id[0], 0x0f);
	CHECK_INT(id[15], 0xf0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_guest_write(&guest, "/proc/sys/kernel/random/boot_id", bad[i]);
		CHECK_INT(report_read_boot_id(guest.sysroot, id), -EBADMSG);
	}
	fake_guest_stop(&guest);
}

static void test_census(void)
{
	static const uint64_t flags[8] = {
		1 << 10,	       /* free */
		1 << 23,	       /* given back */
		1 << 17,	       /* huge, free */
		(1 << 17) | (1 << 11), /* huge, mapped */
		1 << 7,		       /* slab */
		(1 << 5) | (1 << 8),   /* under writeback */
		(1 << 5) | (1 << 12),  /* anonymous */
		UINT64_C(1) << 26,     /* page table */
	};
	struct block_census census;
	char path[128];

	fake_guest_start(&guest);
	CHECK_INT(block_census_read(guest.sysroot, 0, 4096, &census), -ENOENT);
	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest.root);
	FILE *file = fopen(path, "we");

	fwrite(flags, sizeof(flags), 1, file);
	fclose(file);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	CHECK_INT(block_census_read(guest.sysroot, 0, 8 * page, &census), 0);
	CHECK_INT(census.pages, 8);
	CHECK_INT(census.empty, 2);
	CHECK_INT(census.huge_free, 1);
	CHECK_INT(census.huge_used, 1);
	CHECK_INT(census.kernel, 2);
	CHECK_INT(census.writeback, 1);
	/* All of one piece, with kernel memory in it. */
	CHECK_INT(census.held, 8);
	CHECK_INT(block_census_read(guest.sysroot, 0, 4 * page, &census), 0);
	CHECK_INT(census.held, 0);
	CHECK_INT(block_census_read(guest.sysroot, 5 * page, 2 * page, &census), 0);
	CHECK_INT(census.held, 0);
	/* The range ends behind what the kernel shows. */
	CHECK_INT(block_census_read(guest.sysroot, 4 * page, 8 * page, &census), -ENOENT);
	fake_guest_stop(&guest);
}

static void test_pieces(void)
{
	enum { PIECE = 512, PIECES = 5 };
	static uint64_t flags[PIECE * PIECES];
	struct block_census census;
	char path[128];

	if (sysconf(_SC_PAGESIZE) * PIECE != BLOCK_CENSUS_PIECE_BYTES) {
		printf("skipped: written for pages of 4 KiB\n");
		return;
	}
	for (size_t i = 0; i < PIECE * PIECES; i++)
		flags[i] = 1 << 10;
	/* A page cache page of four whose tails say nothing; a kernel's page of four; one of no kind; a huge page. */
	flags[0] = (1 << 15) | (1 << 5);
	flags[1] = flags[2] = flags[3] = 1 << 16;
	flags[PIECE] = (1 << 15) | (1 << 7);
	flags[PIECE + 1] = flags[PIECE + 2] = flags[PIECE + 3] = 1 << 16;
	flags[3 * PIECE - 1] = 0;
	for (size_t i = 3 * PIECE; i < 4 * PIECE; i++)
		flags[i] = i == 3 * PIECE ? (1 << 15) | (1 << 17) : (1 << 16) | (1 << 17);
	fake_guest_start(&guest);
	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest.root);
	FILE *file = fopen(path, "we");

	fwrite(flags, sizeof(flags), 1, file);
	fclose(file);
	CHECK_INT(block_census_read(guest.sysroot, 0, PIECES * BLOCK_CENSUS_PIECE_BYTES, &census), 0);
	CHECK_INT(census.held, 2 * PIECE);
	fake_guest_stop(&guest);
}

/* Of 1 GiB pages a block has a part without a beginning, the whole, or a beginning; the tail of one of 2 MiB is none. */
static void test_gigantic(void)
{
	enum { PIECE = 512, PIECES = 8 };
	static uint64_t flags[PIECE * PIECES];
	const uint64_t head = (1 << 15) | (1 << 17), tail = (1 << 16) | (1 << 17) | (1 << 11);
	struct block_census census;
	char path[128];

	if (sysconf(_SC_PAGESIZE) * PIECE != BLOCK_CENSUS_PIECE_BYTES) {
		printf("skipped: written for pages of 4 KiB\n");
		return;
	}
	/* The end of a gigantic page, one of 2 MiB, something free, another gigantic one. */
	for (size_t i = 0; i < PIECE * PIECES; i++)
		flags[i] = i < 3 * PIECE			? tail :
			   i == 3 * PIECE || i == 5 * PIECE	? head :
			   i >= 4 * PIECE && i < 5 * PIECE	? 1 << 10 :
								  tail;
	fake_guest_start(&guest);
	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest.root);
	FILE *file = fopen(path, "we");

	fwrite(flags, sizeof(flags), 1, file);
	fclose(file);
	CHECK_INT(block_census_read(guest.sysroot, 0, PIECES * BLOCK_CENSUS_PIECE_BYTES, &census), 0);
	CHECK_INT(census.gigantic, 6 * PIECE);
	CHECK_INT(census.held, 6 * PIECE);
	CHECK_INT(block_census_read(guest.sysroot, 2 * BLOCK_CENSUS_PIECE_BYTES, 3 * BLOCK_CENSUS_PIECE_BYTES, &census), 0);
	CHECK_INT(census.gigantic, 0);
	fake_guest_stop(&guest);
}

static void test_holders(void)
{
	static struct pinned_pages pinned;
	enum { BLOCK_PAGES = 32768, HUGE = 512 };
	static uint64_t flags[BLOCK_PAGES];
	struct message_blocks request = {.flags = MESSAGE_BLOCKS_HOLDERS, .end_block = MESSAGE_BLOCK_END};
	static struct message_blocks_reply reply;
	char path[128];

	if (sysconf(_SC_PAGESIZE) != 4096) {
		printf("skipped: written for pages of 4 KiB\n");
		return;
	}
	for (size_t i = 0; i < BLOCK_PAGES; i++)
		flags[i] = i < HUGE ? (1 << 17) | (1 << 11) : i < 3 * HUGE ? 1 << 17 : 1 << 10;
	/* Of no kind; in the movable zone that holds nothing. */
	flags[BLOCK_PAGES - 1] = 0;
	fake_guest_start(&guest);
	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest.root);
	FILE *file = fopen(path, "we");

	fseeko(file, 39 * (off_t)sizeof(flags), SEEK_SET);
	fwrite(flags, sizeof(flags), 1, file);
	fclose(file);
	CHECK_INT(report_read_blocks(guest.sysroot, &pinned, &request, &reply), 0);
	CHECK_INT(reply.block_count, REPORT_HOLDERS_MAX);
	request.first_block = 39;
	CHECK_INT(report_read_blocks(guest.sysroot, &pinned, &request, &reply), 0);
	CHECK_INT(reply.block_count, 1);
	CHECK_INT(reply.next_block, MESSAGE_BLOCK_END);
	CHECK_INT(reply.blocks[0].huge_used_bytes, 2 << 20);
	CHECK_INT(reply.blocks[0].huge_free_bytes, 4 << 20);
	CHECK_INT(reply.blocks[0].free_bytes, (128 - 6) * (UINT64_C(1) << 20) - 4096);
	CHECK_INT(reply.blocks[0].kernel_bytes, 0);
	CHECK_INT(reply.blocks[0].pinned_bytes, 0);
	/* What the kernel has named, and is not free by now. */
	pinned_pages_note(&pinned, 39 * BLOCK_PAGES + 1);
	pinned_pages_note(&pinned, 39 * BLOCK_PAGES + 4 * HUGE);
	pinned_pages_note(&pinned, 38 * BLOCK_PAGES);
	CHECK_INT(report_read_blocks(guest.sysroot, &pinned, &request, &reply), 0);
	CHECK_INT(reply.blocks[0].pinned_bytes, 2 << 20);
	/* What holds a block in the movable zone too. */
	for (size_t i = 0; i < BLOCK_PAGES; i++)
		flags[i] = (1 << 16) | (1 << 17);
	file = fopen(path, "r+e");
	fseeko(file, 39 * (off_t)sizeof(flags), SEEK_SET);
	fwrite(flags, sizeof(flags), 1, file);
	fclose(file);
	CHECK_INT(report_read_blocks(guest.sysroot, &pinned, &request, &reply), 0);
	CHECK_INT(reply.blocks[0].kernel_bytes, 128 << 20);
	/* Without being asked it does not look. */
	request.flags = 0;
	CHECK_INT(report_read_blocks(guest.sysroot, &pinned, &request, &reply), 0);
	CHECK_INT(reply.blocks[0].free_bytes, 0);
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"virtio-mem regions", test_regions},
		{"a kernel without features", test_kernel_without_features},
		{"boot ids", test_boot_ids},
		{"pieces that kernel memory holds", test_pieces},
		{"pieces of gigantic pages", test_gigantic},
		{"what is in each block", test_holders},
		{"census of a block", test_census},
	};

	return unit_main("report", cases, sizeof(cases) / sizeof(cases[0]));
}
