/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static struct snapshot_guest *bound_guest(struct world *world, const char *name, uint64_t bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, name, 3, bytes);

	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 3;
	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = bytes;
	return guest;
}

static void a_whole_node_is_drained_and_ejected(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = bound_guest(&world, "db1", 512 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world_check_code(&world, "");
	expect_run(&world, "cordon move offline eject done");
	CHECK_STR(world.history[0].step.dimm, "acpi-MP00");
	CHECK_TRUE(world.history[0].step.undoable);
	/* Node 1 is nearest. */
	CHECK_INT(world.history[1].step.child->move.map[3], 1);
	CHECK_STR(world.history[1].step.text, "dist 12");
	CHECK_STR(world.history[1].step.child->drain, "d1");
	CHECK_INT(world.history[2].step.nodes, 1 << 1);
	CHECK_INT(world.history[2].step.block_run_count, 1);
	CHECK_INT(world.history[2].step.block_runs[0].first, 48);
	CHECK_INT(world.history[2].step.block_runs[0].last, 55);
	CHECK_TRUE(!world.history[3].step.undoable);
	CHECK_INT(guest->node_bytes[1], 512 * MIB);
	CHECK_INT(guest->policy_nodes, 1 << 1);
	world_done(&world);
}

static void finishes_are_obeyed(void)
{
	static const struct {
		enum drain_finish finish;
		const char *steps;
	} table[] = {{DRAIN_FINISH_CORDON, "cordon done"},
		     {DRAIN_FINISH_EMPTY, "cordon move done"},
		     {DRAIN_FINISH_OFFLINE, "cordon move offline done"}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world world;

		world_init(&world);
		bound_guest(&world, "db1", 100 * MIB);
		world_wish_drain_dimm(&world, table[i].finish);
		expect_run(&world, table[i].steps);
		world_done(&world);
	}
}

static void offline_blocks_are_not_offlined_again(void)
{
	struct world world;

	world_init(&world);
	for (uint64_t id = 48; id < 56; id++)
		snapshot_block(world.snapshot, id)->state = BLOCK_STATE_OFFLINE;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	expect_run(&world, "cordon eject done");
	world_done(&world);
}

static void largest_first_and_never_below_the_reserve(void)
{
	struct world world;

	world_init(&world);
	bound_guest(&world, "small", 100 * MIB);
	bound_guest(&world, "large", 600 * MIB);
	/* Room for the small one only. */
	snapshot_node(world.snapshot, 1)->free_bytes = 400 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	expect_run(&world, "cordon move move offline done");
	CHECK_STR(world.history[1].step.guest_name, "large");
	CHECK_INT(world.history[1].step.child->move.map[3], 2);
	CHECK_INT(world.history[2].step.child->move.map[3], 1);
	for (int node = 0; node < 3; node++)
		CHECK_TRUE(snapshot_node(world.snapshot, node)->free_bytes >=
			   world_share(&world, node, 1 << 3));
	world_done(&world);
}

static void held_and_forbidden_nodes_are_left_out(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = bound_guest(&world, "db1", 100 * MIB);
	*snapshot_add_hold(world.snapshot) = (struct snapshot_hold){.drain = "d0", .node = 1};
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	expect_run(&world, "cordon move offline done");
	CHECK_INT(world.history[1].step.child->move.map[3], 2);
	world_done(&world);

	world_init(&world);
	guest = bound_guest(&world, "db1", 100 * MIB);
	guest->allowed_nodes = 1 << 0 | 1 << 3;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	expect_run(&world, "cordon move offline done");
	CHECK_INT(world.history[1].step.child->move.map[3], 0);
	world_done(&world);

	/* What its slice does not leave it is no place to go to. */
	world_init(&world);
	guest = bound_guest(&world, "db1", 100 * MIB);
	guest->cpuset_limit = 1 << 2 | 1 << 3;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	expect_run(&world, "cordon move offline done");
	CHECK_INT(world.history[1].step.child->move.map[3], 2);
	world_done(&world);
	world_init(&world);
	guest = bound_guest(&world, "db1", 100 * MIB);
	guest->cpuset_limit = 1 << 3;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_INT(blockers.items[0].code, REMAINDER_NO_ROOM);
	CHECK_TRUE(strstr(blockers.items[0].way_out, "AllowedMemoryNodes=") != NULL);
	world_done(&world);
}

static void no_room_is_told_with_numbers(void)
{
	struct world world;
	struct remainder_list blockers;
	struct failure failure;

	world_init(&world);
	bound_guest(&world, "db1", 600 * MIB);
	for (int node = 0; node < 3; node++)
		snapshot_node(world.snapshot, node)->free_bytes = 700 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "no_room");
	plan_check(&world.input, &blockers, &failure);
	CHECK_TRUE(strstr(failure.cause, "it needs 600 MiB") != NULL);
	CHECK_TRUE(strstr(failure.cause, "node 1 ") != NULL);
	/* Begun all the same (the room went meanwhile): the blocks are not forced out on the
	 * others. */
	expect_run(&world, "cordon give_up");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(world.decision.remainder.items[0].bytes, 600 * MIB);
	world_done(&world);
}

/*
 * The guest is bound to node 3, with what it has in the first of them. What binds it is its own process, which a wider
 * cpuset would rewrite: so all of it leaves.
 */
static struct snapshot_guest *begin_with_two_dimms(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	world_add_second_dimm(world);
	guest = bound_guest(world, "db1", 300 * MIB);
	guest->backings[0].kind = BACKING_KIND_ANON;
	return guest;
}

static void what_is_bound_to_the_node_comes_home(void)
{
	struct world world;
	struct snapshot_guest *guest, *other;

	guest = begin_with_two_dimms(&world);
	guest->dimm_bytes[0].bytes = 200 * MIB;
	other = bound_guest(&world, "other", 50 * MIB);
	strcpy(other->dimm_bytes[0].id, "acpi-MP01");
	guest = snapshot_guest(world.snapshot, "db1");
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world_check_code(&world, "");
	expect_run(&world, "cordon move offline move eject done");
	CHECK_STR(world.history[3].step.text, "home");
	CHECK_INT(world.history[3].step.child->move.map[1], 3);
	CHECK_INT(guest->node_bytes[3], 300 * MIB);
	CHECK_INT(other->node_bytes[3], 50 * MIB);
	CHECK_INT(world.history[2].step.block_runs[0].last, 55);
	CHECK_TRUE(snapshot_node(world.snapshot, 3)->has_memory);
	world_done(&world);
}

/* On a node with memory of its own beside the DIMM: what no DIMM has is none of the drain's business. */
static void what_lies_beside_the_dimm_stays(void)
{
	struct world world;
	struct snapshot_guest *guest;

	guest = begin_with_two_dimms(&world);
	world.snapshot->dimm_count--;
	guest->dimm_count = 0;
	/* It would fit nowhere. */
	guest->allowed_nodes = 1 << 3;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world_check_code(&world, "");
	expect_run(&world, "cordon offline eject done");
	CHECK_INT(guest->node_bytes[3], 300 * MIB);
	/* Until a survey has said so it may be there. */
	world_done(&world);
	guest = begin_with_two_dimms(&world);
	world.snapshot->dimm_count--;
	guest->dimm_count = 0;
	guest->dimms_told = false;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	expect_run(&world, "cordon move done");
	world_done(&world);
}

/* Two DIMMs share the block at their border, and a survey counts it in the first of them: a drain of the other moves it too. */
static void a_block_at_a_border_leaves_with_either(void)
{
	struct remainder_list blockers;
	struct snapshot_guest *guest;
	struct failure failure;
	struct world world;

	world_init(&world);
	world_add_second_dimm(&world);
	world.snapshot->dimms[1].ranges[0].start -= WORLD_BLOCK;
	guest = bound_guest(&world, "db1", 200 * MIB);
	guest->allowed_nodes = 1 << 3;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	strcpy(world.wish.drain_wish.dimm, "acpi-MP01");
	plan_check(&world.input, &blockers, &failure);
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].bytes, WORLD_BLOCK);
	world_done(&world);
}

static void slots_are_warned_of(void)
{
	static const struct {
		enum answer interleaved;
		size_t count, unlisted;
		const char *detail;	/* NULL: no warning */
	} table[] = {
		{ANSWER_UNKNOWN, 0, 0, NULL},
		{ANSWER_NO, 1, 0, NULL},
		{ANSWER_NO, 2, 0, "its addresses are those of slots A1, B1 (likely)"},
		{ANSWER_UNKNOWN, 2, 30, "its addresses are those of slots A1, B1 and 30 more (likely)"},
		{ANSWER_YES, 2, 0, "its addresses are interleaved over slots A1, B1 (likely)"},
		{ANSWER_YES, 1, 0, "its addresses are interleaved over slots A1 (likely)"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct snapshot_dimm *dimm;
		struct world world;
		struct plan *plan;

		world_init(&world);
		dimm = &world.snapshot->dimms[0];
		dimm->interleaved = table[i].interleaved;
		dimm->confidence = CONFIDENCE_LIKELY;
		dimm->slot_count = table[i].count;
		dimm->slots_unlisted = table[i].unlisted;
		strcpy(dimm->slots[0].locator, "A1");
		strcpy(dimm->slots[1].locator, "B1");
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		plan = plan_dry_run(&world.input);
		assert(plan);
		CHECK_INT(plan->warnings.count, table[i].detail ? 1 : 0);
		if (table[i].detail) {
			CHECK_INT(plan->warnings.items[0].code, REMAINDER_INTERLEAVED);
			CHECK_STR(plan->warnings.items[0].detail, table[i].detail);
		}
		plan_free(plan);
		world_done(&world);
	}
}

/* 300 MiB on a node, of them 200 in its DIMM, the rest beside it: how much of that a range may have. */
static void a_range_is_reckoned_with_what_may_be_in_it(void)
{
	static const struct {
		uint64_t start, end, bytes;
	} table[] = {
		{6 * GIB, 6 * GIB + WORLD_BLOCK, 128 * MIB},	       /* of the DIMM */
		{6 * GIB, 7 * GIB, 200 * MIB},			       /* all of it */
		{7 * GIB, 8 * GIB - WORLD_BLOCK, 100 * MIB},	       /* beside it */
		{7 * GIB - WORLD_BLOCK, 7 * GIB + WORLD_BLOCK, 228 * MIB}, /* of both */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct remainder_list blockers;
		struct snapshot_guest *guest;
		struct failure failure;
		struct world world;

		guest = begin_with_two_dimms(&world);
		world.snapshot->dimm_count--;
		guest->dimm_bytes[0].bytes = 200 * MIB;
		/* It fits nowhere, and is told with its bytes. */
		guest->allowed_nodes = 1 << 3;
		world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
		world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
		world.wish.drain_wish.range = (struct snapshot_range){table[i].start, table[i].end};
		plan_check(&world.input, &blockers, &failure);
		CHECK_INT(blockers.count, 1);
		CHECK_INT(blockers.items[0].code, REMAINDER_NO_ROOM);
		CHECK_INT(blockers.items[0].bytes, table[i].bytes);
		world_done(&world);
	}
}

/* The stored XML comes home with the guest, and nobody goes home into another drain. */
static void what_comes_home_is_stored_again(void)
{
	struct snapshot_hold *hold;
	struct world world;

	for (int is_held = 0; is_held < 2; is_held++) {
		struct snapshot_guest *guest;

		guest = begin_with_two_dimms(&world);
		guest->persistent = true;
		guest->stored_numatune_nodes = 1 << 3;
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		world.wish.drain_wish.persist = true;
		if (is_held) {
			hold = snapshot_add_hold(world.snapshot);
			strcpy(hold->drain, "d2");
			hold->node = -1;
			strcpy(hold->dimm, "acpi-MP01");
		}
		expect_run(&world, is_held ? "cordon move offline done"
					   : "cordon move offline move done");
		CHECK_INT(guest->stored_numatune_nodes, is_held ? 1 << 1 : 1 << 3);
		world_done(&world);
	}
}

/* One DIMM after the other: with the last of them the node is gone, and whoever is stored as bound to it cannot start. */
static void the_last_dimm_takes_the_node_along(void)
{
	struct world world;
	struct snapshot_guest *guest;

	guest = begin_with_two_dimms(&world);
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->stored_numatune_nodes = 1 << 3;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	for (uint64_t id = 56; id < 64; id++)
		snapshot_block(world.snapshot, id)->state = BLOCK_STATE_OFFLINE;
	world_check_code(&world, "consent_required");
	world.wish.allow = 1 << CONSENT_STORED_XML;
	expect_run(&world, "cordon move offline done");
	world_done(&world);
}

static void guests_that_come_back_are_moved_once_more(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	world_init(&world);
	guest = bound_guest(&world, "db1", 300 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_perform(&world);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "block 50", WORLD_BLOCK, NULL,
			   "vmsplice");
	for (uint64_t id = 48; id < 54; id++)
		if (id != 50)
			snapshot_block(world.snapshot, id)->state = BLOCK_STATE_OFFLINE;
	guest->node_bytes[3] = 4 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_INT(world.decision.step.block_run_count, 2);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "block 50", WORLD_BLOCK, NULL,
			   "vmsplice");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 3 * WORLD_BLOCK);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_PINNED);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_BLOCK_BUSY);
	CHECK_STR(world.decision.remainder.items[1].object, "block 54");
	world_done(&world);
}

/* The decided step leaves this block online, for this reason. */
static void record_offline_but(struct world *world, uint64_t left, enum remainder_code code)
{
	const struct step step = world->decision.step;
	struct step_record *record = world_record(world, STEP_STATE_PARTIAL, WORLD_BLOCK);
	char object[32];

	for (size_t r = 0; r < step.block_run_count; r++)
		for (uint64_t id = step.block_runs[r].first; id <= step.block_runs[r].last; id++)
			if (id != left)
				snapshot_block(world->snapshot, id)->state = BLOCK_STATE_OFFLINE;
	snprintf(object, sizeof(object), "block %llu", (unsigned long long)left);
	remainder_list_add(&record->remainder, code, object, WORLD_BLOCK, NULL, "so it is");
}

static void more_blocks_than_a_step_can_name_are_tried_too(void)
{
	struct snapshot_guest *guest;
	struct world world;

	/* Every second block of a range: 40 runs. */
	world_init(&world);
	for (uint64_t id = 100; id < 180; id += 2)
		*snapshot_add_block(world.snapshot) = (struct snapshot_block){.id = id,
									      .start = id * WORLD_BLOCK,
									      .size_bytes = WORLD_BLOCK,
									      .node = 3,
									      .zone = BLOCK_ZONE_MOVABLE};
	guest = bound_guest(&world, "db1", 300 * MIB);
	guest->dimm_count = 0;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world.wish.drain_wish.range = (struct snapshot_range){100 * WORLD_BLOCK, 180 * WORLD_BLOCK};
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_INT(world.decision.step.block_run_count, STEP_BLOCK_RUNS_MAX);
	record_offline_but(&world, 100, REMAINDER_PINNED);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_INT(world.decision.step.block_run_count, 8);
	CHECK_INT(world.decision.step.block_runs[0].first, 164);
	record_offline_but(&world, 178, REMAINDER_KERNEL_MEMORY);
	/* Nothing was in the way that has gone since: each block is told once, with what the last attempt at it said. */
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 2 * WORLD_BLOCK);
	CHECK_STR(world.decision.remainder.items[0].object, "block 178");
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_KERNEL_MEMORY);
	CHECK_STR(world.decision.remainder.items[1].object, "block 100");
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_PINNED);
	/* A guest has come back. */
	guest->node_bytes[3] = 4 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	/* The other is the kernel's, whatever guests do. */
	CHECK_INT(world.decision.step.block_run_count, 1);
	CHECK_INT(world.decision.step.block_runs[0].first, 100);
	CHECK_INT(world.decision.step.block_runs[0].last, 100);
	record_offline_but(&world, 100, REMAINDER_BLOCK_BUSY);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BLOCK_BUSY);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_KERNEL_MEMORY);
	world_done(&world);
}

/* A guest has moved since, but for what it has pinned: what is pinned in a block may be that. */
static void what_is_pinned_is_tried_once(void)
{
	static const enum remainder_code codes[] = {REMAINDER_NONE, REMAINDER_PINNED, REMAINDER_VFIO_PINNED};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		struct snapshot_guest *guest;
		struct step_record *record;
		struct world world;

		world_init(&world);
		guest = bound_guest(&world, "db1", 300 * MIB);
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		world_next(&world);
		world_perform(&world);
		world_next(&world);
		world_perform(&world);
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
		record_offline_but(&world, 50, REMAINDER_PINNED);
		guest->node_bytes[3] = 4 * MIB;
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
		record = world_record(&world, codes[i] ? STEP_STATE_PARTIAL : STEP_STATE_DONE, 3 * MIB);
		if (codes[i])
			remainder_list_add(&record->remainder, codes[i], "guest db1", MIB, NULL, "so it is");
		guest->node_bytes[3] = codes[i] ? MIB : 0;
		guest->node_bytes[0] += 3 * MIB;
		world_next(&world);
		if (codes[i]) {
			CHECK_INT(world.decision.step.kind, STEP_KIND_CHILD);
			record = world_record(&world, STEP_STATE_PARTIAL, 0);
			remainder_list_add(&record->remainder, codes[i], "guest db1", MIB, NULL, "so it is");
			CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		} else {
			CHECK_INT(world.decision.kind, DECISION_KIND_STEP);
			CHECK_INT(world.decision.step.kind, STEP_KIND_OFFLINE_BLOCKS);
		}
		world_done(&world);
	}
}

/* More blocks stay than a list has lines: why each of them does is known all the same. */
static void why_many_blocks_stay_is_known(void)
{
	struct snapshot_guest *guest;
	struct step_record *record;
	const struct remainder *told;
	struct world world;

	world_init(&world);
	for (uint64_t id = 100; id < 164; id++)
		*snapshot_add_block(world.snapshot) = (struct snapshot_block){.id = id,
									      .start = id * WORLD_BLOCK,
									      .size_bytes = WORLD_BLOCK,
									      .node = 3,
									      .zone = BLOCK_ZONE_MOVABLE};
	guest = bound_guest(&world, "db1", 300 * MIB);
	guest->dimm_count = 0;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world.wish.drain_wish.range = (struct snapshot_range){100 * WORLD_BLOCK, 164 * WORLD_BLOCK};
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	record = world_record(&world, STEP_STATE_PARTIAL, 4 * WORLD_BLOCK);
	for (uint64_t id = 160; id < 164; id++)
		snapshot_block(world.snapshot, id)->state = BLOCK_STATE_OFFLINE;
	record->result = strdup("{\"stayed\":[{\"first\":100,\"last\":139,\"code\":\"kernel_memory\"},"
				"{\"first\":140,\"last\":159,\"code\":\"pinned\"}]}");
	remainder_list_add(&record->remainder, REMAINDER_KERNEL_MEMORY, "blocks 100-139", 40 * WORLD_BLOCK, NULL,
			   "block 100: so it is");
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "blocks 140-159", 20 * WORLD_BLOCK, NULL,
			   "block 140: so it is");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 60 * WORLD_BLOCK);
	/* A guest has come and gone: what is pinned may have been its, and what is the kernel's is not. */
	guest->node_bytes[3] = 4 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_INT(world.decision.step.block_run_count, 1);
	CHECK_INT(world.decision.step.block_runs[0].first, 140);
	CHECK_INT(world.decision.step.block_runs[0].last, 159);
	record = world_record(&world, STEP_STATE_PARTIAL, WORLD_BLOCK);
	snapshot_block(world.snapshot, 150)->state = BLOCK_STATE_OFFLINE;
	record->result = strdup("{\"stayed\":[{\"first\":140,\"last\":149,\"code\":\"pinned\"},"
				"{\"first\":151,\"last\":159,\"code\":\"pinned\"}]}");
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "blocks 140-149, 151-159", 19 * WORLD_BLOCK, NULL,
			   "block 140: so it is");
	/* One of them goes later, by somebody else. */
	snapshot_block(world.snapshot, 151)->state = BLOCK_STATE_OFFLINE;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 58 * WORLD_BLOCK);
	told = &world.decision.remainder.items[0];
	CHECK_INT(told->code, REMAINDER_PINNED);
	CHECK_STR(told->object, "blocks 140-149, 152-159");
	CHECK_INT(told->bytes, 18 * WORLD_BLOCK);
	CHECK_STR(told->detail, "block 140: so it is");
	CHECK_STR(world.decision.remainder.items[1].object, "blocks 100-139");
	world_done(&world);
}

/* Nor are many of which nothing is known mixed with others. */
static void many_blocks_that_were_not_tried_are_told_at_once(void)
{
	struct step_record *record;
	struct world world;

	world_init(&world);
	for (uint64_t id = 100; id < 140; id++)
		*snapshot_add_block(world.snapshot) = (struct snapshot_block){.id = id,
									      .start = id * WORLD_BLOCK,
									      .size_bytes = WORLD_BLOCK,
									      .node = 3,
									      .zone = BLOCK_ZONE_MOVABLE};
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world.wish.drain_wish.range = (struct snapshot_range){100 * WORLD_BLOCK, 140 * WORLD_BLOCK};
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_TRUE(record->remainder.count == 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_STR(world.decision.remainder.items[0].object, "blocks 100-139");
	CHECK_INT(world.decision.remainder.items[0].bytes, 40 * WORLD_BLOCK);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BLOCK_BUSY);
	world_done(&world);
}

static void what_a_restart_cut_off_is_tried_again(void)
{
	struct step_record *record;
	struct world world;

	world_init(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "dimm acpi-MP00", 0, NULL, "restarted");
	snapshot_block(world.snapshot, 48)->state = BLOCK_STATE_OFFLINE;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_INT(world.decision.step.block_runs[0].first, 49);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void a_child_that_gains_nothing_is_not_repeated(void)
{
	struct world world;
	struct step_record *record;

	world_init(&world);
	bound_guest(&world, "db1", 300 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_VFIO_PINNED, "guest db1", 100 * MIB, NULL,
			   "vfio");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 300 * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_VFIO_PINNED);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_CAME_MEANWHILE);
	CHECK_STR(world.decision.remainder.items[1].detail,
		  "it has come there, or back there, since the last pass over it");
	record->remainder.count = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NOT_TRIED);
	world_done(&world);
}

static void an_eject_that_fails_is_told(void)
{
	struct world world;

	world_init(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	while (world_next(&world)->step.kind != STEP_KIND_EJECT)
		world_perform(&world);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_EJECT_FAILED);
	world_done(&world);
}

static void an_eject_that_comes_too_late_is_told(void)
{
	struct snapshot_dimm *second;
	struct world world;

	world_init(&world);
	second = snapshot_add_dimm(world.snapshot);
	*second = world.snapshot->dimms[0];
	strcpy(second->id, "acpi-MP01");
	world.snapshot->dimms[0].ranges[0].end = second->ranges[0].start = 13 * GIB / 2;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world.wish.drain_wish.target = DRAIN_TARGET_NODE;
	world.wish.drain_wish.node = 3;
	while (world_next(&world)->step.kind != STEP_KIND_EJECT)
		world_perform(&world);
	CHECK_STR(world.decision.step.dimm, "acpi-MP00");
	world_perform(&world);
	/* One of two is out when time runs out. */
	world.input.deadline_ms = world.input.now_ms;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DEADLINE);
	CHECK_STR(world.decision.remainder.items[0].object, "dimm acpi-MP01");
	world.input.deadline_ms = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
	world_perform(&world);
	world.input.deadline_ms = world.input.now_ms;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void a_drain_that_begins_too_late_holds_nothing(void)
{
	struct world world;

	world_init(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_CORDON);
	world.input.deadline_ms = world.input.now_ms;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DEADLINE);
	world_done(&world);
}

static void what_cannot_be_emptied_is_refused(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct remainder_list blockers;
	struct failure failure;

	world_init(&world);
	guest = bound_guest(&world, "db1", 100 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	strcpy(world.wish.drain_wish.dimm, "nothing");
	world_check_code(&world, "unknown_dimm");
	strcpy(world.wish.drain_wish.dimm, "acpi-MP00");
	world.snapshot->dimms[0].ranges_cut = true;
	world_check_code(&world, "invalid_target");
	world.snapshot->dimms[0].ranges_cut = false;
	world.snapshot->dimms[0].ejectable = false;
	world_check_code(&world, "not_ejectable");
	world.wish.drain_wish.finish = DRAIN_FINISH_OFFLINE;
	world_check_code(&world, "");

	world.wish.drain_wish.target = DRAIN_TARGET_NODE;
	world.wish.drain_wish.node = 7;
	world_check_code(&world, "unknown_node");
	world.wish.drain_wish.node = 1;
	world_check_code(&world, "kernel_memory");
	plan_check(&world.input, &blockers, &failure);
	CHECK_STR(blockers.items[0].object, "blocks 16-23");
	/* The host may be booted with it already. */
	CHECK_STR(blockers.items[0].way_out,
		  "drain other memory; how zones are cut is decided at boot (movable_node, kernelcore=)");
	/* Unless that is known, and what the firmware says; those of which it says something else are told apart. */
	world.snapshot->hotplug_told = true;
	snapshot_block(world.snapshot, 23)->hotpluggable = true;
	plan_check(&world.input, &blockers, &failure);
	CHECK_INT(blockers.count, 2);
	CHECK_STR(blockers.items[0].object, "blocks 16-22");
	CHECK_STR(blockers.items[0].way_out, "boot with kernelcore= (part of each node is movable); movable_node does "
					     "not help: the firmware does not call it hot-pluggable (SRAT)");
	CHECK_STR(blockers.items[1].object, "block 23");
	CHECK_STR(blockers.items[1].way_out, "boot with movable_node: the firmware calls it hot-pluggable (SRAT); of no use on "
					     "the node where the kernel itself lies");
	snapshot_block(world.snapshot, 16)->zone = BLOCK_ZONE_NONE;
	world_check_code(&world, "not_movable");
	world.wish.drain_wish.finish = DRAIN_FINISH_CORDON;
	world_check_code(&world, "");

	world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world.wish.drain_wish.finish = DRAIN_FINISH_OFFLINE;
	world.wish.drain_wish.range = (struct snapshot_range){6 * GIB, 6 * GIB + 5};
	world_check_code(&world, "not_block_multiple");
	world.wish.drain_wish.range = (struct snapshot_range){6 * GIB, 6 * GIB};
	world_check_code(&world, "invalid_target");
	world.wish.drain_wish.range = (struct snapshot_range){60 * GIB, 61 * GIB};
	world_check_code(&world, "invalid_target");
	world.wish.drain_wish.range = (struct snapshot_range){6 * GIB, 6 * GIB + WORLD_BLOCK};
	world_check_code(&world, "");
	world.wish.drain_wish.finish = DRAIN_FINISH_EJECT;
	world_check_code(&world, "not_ejectable");

	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	guest->migrating = true;
	world_check_code(&world, "guest_unmovable");
	guest->migrating = false;
	guest->stored_numatune_nodes = 1 << 3;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	world_check_code(&world, "consent_required");
	world.wish.drain_wish.persist = true;
	world_check_code(&world, "");
	guest->cpus_pinned = true;
	guest->cpu_nodes = 1 << 3;
	world_check_code(&world, "consent_required");
	world.wish.allow = 1 << CONSENT_REMOTE_MEMORY;
	world_check_code(&world, "");

	*snapshot_add_hold(world.snapshot) =
		(struct snapshot_hold){.drain = "d0", .node = -1, .dimm = "acpi-MP00"};
	world_check_code(&world, "target_held");
	world_done(&world);
}

/* Holds of one target are counted, but for two that ask for the same. */
static void holds_of_the_same_target(void)
{
	enum asked { CORDON, NOW, LATER, ASKED };
	static const struct {
		enum snapshot_hold_work work;
		bool is_refused[ASKED];
	} rows[] = {
		{SNAPSHOT_HOLD_EMPTIES, {true, true, true}},
		{SNAPSHOT_HOLD_CORDONS, {true, false, false}},
		{SNAPSHOT_HOLD_ANNOUNCED, {true, false, true}},
		{SNAPSHOT_HOLD_STOPPED, {true, false, false}},
	};
	struct snapshot_hold *hold;
	struct world world;

	world_init(&world);
	bound_guest(&world, "db1", 200 * MIB);
	hold = snapshot_add_hold(world.snapshot);
	*hold = (struct snapshot_hold){.drain = "d0", .node = -1, .dimm = "acpi-MP00", .range_count = 1};
	hold->ranges[0] = world.snapshot->dimms[0].ranges[0];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int asked = 0; asked < ASKED; asked++) {
			hold->work = rows[i].work;
			world_wish_drain_dimm(&world, asked == CORDON ? DRAIN_FINISH_CORDON : DRAIN_FINISH_OFFLINE);
			world.wish.drain_wish.not_before_ms = asked == LATER ? world.input.now_ms + 1000 : 0;
			world_check_code(&world, rows[i].is_refused[asked] ? "target_held" : "");
		}
	/* What was announced has its hold already when it is looked at again, whoever has drained the target meanwhile. */
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	hold->work = SNAPSHOT_HOLD_EMPTIES;
	*snapshot_add_hold(world.snapshot) = (struct snapshot_hold){.drain = "d1", .node = -1, .dimm = "acpi-MP00"};
	snprintf(world.wish.drain, sizeof(world.wish.drain), "d1");
	world_check_code(&world, "");
	world_done(&world);
}

/* Room that only one of them can use is left to that one, although the other is larger and would have it nearer. */
static void guests_are_placed_together(void)
{
	struct world world;

	world_init(&world);
	bound_guest(&world, "large", 400 * MIB);
	bound_guest(&world, "small", 300 * MIB)->allowed_nodes = 1 << 1 | 1 << 3;
	snapshot_node(world.snapshot, 1)->free_bytes = 700 * MIB;
	snapshot_node(world.snapshot, 0)->free_bytes = 300 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	expect_run(&world, "cordon move move offline done");
	CHECK_STR(world.history[1].step.guest_name, "large");
	CHECK_INT(world.history[1].step.child->move.map[3], 2);
	CHECK_INT(world.history[2].step.child->move.map[3], 1);
	world_done(&world);
}

static void what_fits_no_single_node_is_told_so(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;

	/* Beyond the reserve each has 466 MiB. */
	world_init(&world);
	bound_guest(&world, "db1", 600 * MIB);
	for (int node = 0; node < 3; node++)
		snapshot_node(world.snapshot, node)->free_bytes = 700 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	plan_check(&world.input, &blockers, &failure);
	CHECK_TRUE(strstr(failure.cause, "it needs 600 MiB, on one node; ") != NULL);
	/* What each could have of it, and not what is left beside the pieces. */
	CHECK_TRUE(strstr(failure.cause, "node 0 467 MiB, node 1 467 MiB, node 2 467 MiB") != NULL);
	CHECK_TRUE(strstr(failure.way_out, "free 133 MiB more on node ") != NULL);
	CHECK_TRUE(strstr(failure.way_out, "have room for pieces, but a move takes what a node has to one other") != NULL);
	/* In pieces it would not fit either. */
	snapshot_guest(world.snapshot, "db1")->allowed_nodes = 1 << 1 | 1 << 3;
	plan_check(&world.input, &blockers, &failure);
	CHECK_TRUE(strstr(failure.cause, "and node 1 lacks ") != NULL);
	world_done(&world);
}

static struct snapshot_guest *two_cells(struct world *world)
{
	struct snapshot_guest *guest = world_add_guest(world, "db1", 3, 300 * MIB);

	guest->cell_count = 2;
	guest->cells[1].id = 1;
	guest->node_bytes[1] = 300 * MIB;
	guest->resident_bytes = 600 * MIB;
	/* A stray page is no cell. */
	guest->node_bytes[2] = 4096;
	return guest;
}

/* Node 1 is nearest, but the other cell is there. */
static void cells_keep_apart(void)
{
	for (int tight = 0; tight < 2; tight++) {
		struct plan *plan;
		struct world world;
		bool told = false;

		world_init(&world);
		two_cells(&world);
		if (tight)
			for (int node = 0; node < 3; node += 2)
				snapshot_node(world.snapshot, node)->free_bytes = 300 * MIB;
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		plan = plan_dry_run(&world.input);
		assert(plan);
		CHECK_INT(plan->blockers.count, 0);
		CHECK_INT(plan->steps[1].child->move.map[3] == 1, tight);
		for (size_t i = 0; i < plan->warnings.count; i++)
			told = told || strstr(plan->warnings.items[i].detail, "cells come together on node 1") != NULL;
		CHECK_INT(told, tight);
		plan_free(plan);
		world_done(&world);
	}
}

/* What processes and the page cache have in the target must go somewhere too. */
static void what_the_host_has_there_needs_room(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;

	world_init(&world);
	bound_guest(&world, "db1", 200 * MIB);
	snapshot_node(world.snapshot, 3)->free_bytes -= 700 * MIB;
	/* A pool's free pages are nobody's. */
	snapshot_node(world.snapshot, 3)->pools[0].free = snapshot_node(world.snapshot, 3)->pools[0].total = 50;
	snapshot_node(world.snapshot, 3)->free_bytes -= 100 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	for (int node = 0; node < 3; node++)
		snapshot_node(world.snapshot, node)->free_bytes = world_share(&world, node, 1 << 3) + 300 * MIB;
	world_check_code(&world, "");
	expect_run(&world, "cordon move host_pool offline done");
	/* It fits on no single node beside the guest. */
	CHECK_INT(world.history[3].step.nodes, 1 << 0 | 1 << 1 | 1 << 2);
	world_done(&world);

	world_init(&world);
	bound_guest(&world, "db1", 200 * MIB);
	snapshot_node(world.snapshot, 3)->free_bytes -= 800 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	for (int node = 0; node < 3; node++)
		snapshot_node(world.snapshot, node)->free_bytes = world_share(&world, node, 1 << 3) + 300 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_INT(blockers.count, 1);
	CHECK_STR(blockers.items[0].object, "node 3");
	CHECK_STR(failure.code, "no_room");
	/* 800 MiB and a guest of 200, for 900 MiB and what the shares are rounded by. */
	CHECK_TRUE(blockers.items[0].bytes <= 100 * MIB && blockers.items[0].bytes >= 96 * MIB);
	CHECK_TRUE(strstr(failure.cause, "have 800 MiB there") != NULL);
	/* Begun all the same: nothing is forced out. */
	expect_run(&world, "cordon move give_up");
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	/* Nothing of it needs to go where no block goes offline. */
	world.wish.drain_wish.finish = DRAIN_FINISH_EMPTY;
	world_check_code(&world, "");
	world_done(&world);
}

/* Many small guests, of which some have gone by the end: none of that is going in circles. */
static void six_hundred_guests_are_drained(void)
{
	struct plan_input undrain;
	struct world world;
	struct plan *plan;

	world_init(&world);
	for (int i = 0; i < 600; i++) {
		char name[16];

		snprintf(name, sizeof(name), "g%d", i);
		bound_guest(&world, name, MIB + 4096 * (uint64_t)(i % 7));
	}
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	plan = plan_dry_run(&world.input);
	assert(plan);
	CHECK_INT(plan->step_count, 603);
	CHECK_INT(plan->steps[602].kind, STEP_KIND_EJECT);
	CHECK_INT(plan->forecast.count, 0);
	plan_free(plan);
	for (int i = 0; i < 601; i++) {
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_TRUE(world.history_count < plan_steps_max(&world.input));
		world_perform(&world);
	}
	world.snapshot->guest_count = 1;
	CHECK_TRUE(world.history_count < plan_steps_max(&world.input));
	/* To undo it takes a step for each of its own. */
	undrain = world.input;
	undrain.subject_count = world.history_count;
	undrain.history_count = 0;
	CHECK_TRUE(plan_steps_max(&undrain) > world.history_count);
	/* One guest that is moved again and again is. */
	for (size_t i = 0; i < world.history_count; i++)
		strcpy(world.history[i].step.guest, "uuid-g0");
	CHECK_TRUE(world.history_count >= plan_steps_max(&world.input));
	world_done(&world);
}

/* Where no block would go, guests are not moved for it. What goes without blocks goes. */
static void a_stuck_worker_keeps_blocks_from_going(void)
{
	static const struct {
		enum drain_finish finish;
		const char *code;
	} rows[] = {{DRAIN_FINISH_CORDON, ""},
		    {DRAIN_FINISH_EMPTY, ""},
		    {DRAIN_FINISH_OFFLINE, "kernel_stuck"},
		    {DRAIN_FINISH_EJECT, "kernel_stuck"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;

		world_init(&world);
		world_wish_drain_dimm(&world, rows[i].finish);
		world_check_code(&world, "");
		strcpy(world.snapshot->hotplug_stuck, "worker 4711");
		world_check_code(&world, rows[i].code);
		world_done(&world);
	}
}

/* What is free in a pool is a place for a guest in such pages, and for no other. */
static void free_huge_pages_are_places(void)
{
	for (int is_huge = 0; is_huge < 2; is_huge++) {
		struct snapshot_guest *guest;
		struct world world;

		world_init(&world);
		guest = bound_guest(&world, "db1", 200 * MIB);
		if (is_huge)
			guest->backings[0] = (struct snapshot_backing){BACKING_KIND_HUGETLB, 2 * MIB, 200 * MIB, 0};
		for (int node = 0; node < 3; node++)
			snapshot_node(world.snapshot, node)->free_bytes = world_share(&world, node, 1 << 3) + 151 * MIB;
		snapshot_node(world.snapshot, 0)->pools[0].free = snapshot_node(world.snapshot, 0)->pools[0].total = 25;
		world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
		world_check_code(&world, is_huge ? "" : "no_room");
		expect_run(&world, is_huge ? "cordon move done" : "cordon give_up");
		if (is_huge)
			CHECK_INT(world.history[1].step.child->move.map[3], 0);
		world_done(&world);
	}
}

/* Begun all the same: there is room, but not where the guest may be. */
static void no_guest_is_forced_to_where_it_may_not_be(void)
{
	struct world world;

	world_init(&world);
	bound_guest(&world, "db1", 100 * MIB)->allowed_nodes = 1 << 3;
	bound_guest(&world, "db2", 100 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "no_room");
	expect_run(&world, "cordon move give_up");
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(world.decision.remainder.items[0].bytes, 100 * MIB);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	world_done(&world);
}

/* Of a node that is only partly drained its share. */
static void what_the_host_has_on_half_a_node_counts_by_half(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;

	world_init(&world);
	world_add_second_dimm(&world);
	snapshot_node(world.snapshot, 3)->free_bytes -= 1000 * MIB;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	for (int node = 0; node < 3; node++)
		snapshot_node(world.snapshot, node)->free_bytes = 0;
	plan_check(&world.input, &blockers, &failure);
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].bytes, 500 * MIB);
	world_done(&world);
}

/* On a host of one node the kernel finds room on the block's own. */
static void add_only_node(struct world *world, uint64_t bytes)
{
	struct snapshot_guest *guest;

	world_init(world);
	world_add_second_dimm(world);
	guest = world_add_guest(world, "db1", 3, bytes);
	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].node = 3;
	guest->dimm_bytes[0].bytes = bytes;
	for (int id = 0; id < 3; id++) {
		struct snapshot_node *node = snapshot_node(world->snapshot, id);

		node->has_memory = false;
		node->total_bytes = node->free_bytes = 0;
	}
	memmove(&world->snapshot->blocks[0], &world->snapshot->blocks[48], 16 * sizeof(world->snapshot->blocks[0]));
	world->snapshot->block_count = 16;
	world_wish_drain_dimm(world, DRAIN_FINISH_OFFLINE);
}

static void what_stays_of_the_only_node_has_room(void)
{
	struct world world;
	char text[512];

	add_only_node(&world, 200 * MIB);
	world_check_code(&world, "");
	CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_INVALID));
	CHECK_STR(world_run(&world, text), "cordon offline done");
	CHECK_INT(world.history[1].step.nodes, 1 << 3);
	world_done(&world);
	/* The other DIMM is too full: nothing is begun. */
	add_only_node(&world, 200 * MIB);
	snapshot_node(world.snapshot, 3)->free_bytes = GIB - MIB;
	world_check_code(&world, "no_room");
	world_done(&world);
	/* Nobody can say where what is only emptied should go. */
	add_only_node(&world, 200 * MIB);
	world.wish.drain_wish.finish = DRAIN_FINISH_EMPTY;
	world_check_code(&world, "no_room");
	world_done(&world);
	/* What is pinned goes nowhere. */
	add_only_node(&world, 200 * MIB);
	world.snapshot->guests[0].vfio = true;
	world_check_code(&world, "guest_unmovable");
	world_done(&world);
}

static void each_device_of_a_node_is_ejected(void)
{
	struct world world;
	char text[512];

	world_init(&world);
	world_add_second_dimm(&world);
	world.snapshot->dimms[1].ejectable = true;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world.wish.drain_wish.target = DRAIN_TARGET_NODE;
	world.wish.drain_wish.dimm[0] = '\0';
	world.wish.drain_wish.node = 3;
	world_check_code(&world, "");
	CHECK_STR(world_run(&world, text), "cordon offline eject eject done");
	world_done(&world);
}

/* A device that has memory on two nodes is not ejected with one of them: so that is no eject. */
static void a_dimm_of_two_nodes_is_not_ejected_with_one(void)
{
	struct world world;
	char text[512];

	world_init(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world.wish.drain_wish.target = DRAIN_TARGET_NODE;
	world.wish.drain_wish.dimm[0] = '\0';
	world.wish.drain_wish.node = 3;
	world.snapshot->dimms[0].node = -1;
	world.snapshot->dimms[0].ranges[0].start -= WORLD_BLOCK;
	world_check_code(&world, "not_ejectable");
	/* Nor where it has come to that since it was asked for. */
	CHECK_STR(world_run(&world, text), "cordon offline give_up");
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NOT_EJECTABLE);
	CHECK_STR(world.decision.remainder.items[0].object, "dimm acpi-MP00");
	world.wish.drain_wish.finish = DRAIN_FINISH_OFFLINE;
	world_check_code(&world, "");
	world_done(&world);
	/* By its own name a device is a whole, also where another has a block along with it. */
	world_init(&world);
	world_add_second_dimm(&world);
	world.snapshot->dimms[1].ranges[0].start -= WORLD_BLOCK;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	world_check_code(&world, "");
	CHECK_STR(world_run(&world, text), "cordon offline eject done");
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"each device of a node is ejected", each_device_of_a_node_is_ejected},
	{"a DIMM of two nodes is not ejected with one", a_dimm_of_two_nodes_is_not_ejected_with_one},
	{"what stays of the only node has room", what_stays_of_the_only_node_has_room},
	{"holds of the same target", holds_of_the_same_target},
	{"a whole node is drained and ejected", a_whole_node_is_drained_and_ejected},
	{"finishes are obeyed", finishes_are_obeyed},
	{"offline blocks are not offlined again", offline_blocks_are_not_offlined_again},
	{"largest first and never below the reserve", largest_first_and_never_below_the_reserve},
	{"held and forbidden nodes are left out", held_and_forbidden_nodes_are_left_out},
	{"no room is told with numbers", no_room_is_told_with_numbers},
	{"what is bound to the node comes home", what_is_bound_to_the_node_comes_home},
	{"what lies beside the DIMM stays", what_lies_beside_the_dimm_stays},
	{"a range is reckoned with what may be in it", a_range_is_reckoned_with_what_may_be_in_it},
	{"a block at a border leaves with either", a_block_at_a_border_leaves_with_either},
	{"slots are warned of", slots_are_warned_of},
	{"what comes home is stored again", what_comes_home_is_stored_again},
	{"the last DIMM takes the node along", the_last_dimm_takes_the_node_along},
	{"guests that come back are moved once more", guests_that_come_back_are_moved_once_more},
	{"more blocks than a step can name are tried too", more_blocks_than_a_step_can_name_are_tried_too},
	{"a stuck worker keeps blocks from going", a_stuck_worker_keeps_blocks_from_going},
	{"what is pinned is tried once", what_is_pinned_is_tried_once},
	{"why many blocks stay is known", why_many_blocks_stay_is_known},
	{"many blocks that were not tried are told at once", many_blocks_that_were_not_tried_are_told_at_once},
	{"what a restart cut off is tried again", what_a_restart_cut_off_is_tried_again},
	{"a child that gains nothing is not repeated", a_child_that_gains_nothing_is_not_repeated},
	{"an eject that fails is told", an_eject_that_fails_is_told},
	{"an eject that comes too late is told", an_eject_that_comes_too_late_is_told},
	{"a drain that begins too late holds nothing", a_drain_that_begins_too_late_holds_nothing},
	{"guests are placed together", guests_are_placed_together},
	{"what fits no single node is told so", what_fits_no_single_node_is_told_so},
	{"cells keep apart", cells_keep_apart},
	{"what the host has there needs room", what_the_host_has_there_needs_room},
	{"six hundred guests are drained", six_hundred_guests_are_drained},
	{"free huge pages are places", free_huge_pages_are_places},
	{"no guest is forced to where it may not be", no_guest_is_forced_to_where_it_may_not_be},
	{"what the host has on half a node counts by half", what_the_host_has_on_half_a_node_counts_by_half},
	{"what cannot be emptied is refused", what_cannot_be_emptied_is_refused},
};

int main(void)
{
	return unit_main("drain_next", cases, sizeof(cases) / sizeof(cases[0]));
}
