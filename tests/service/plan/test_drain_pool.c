/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

/* Pools of huge pages on the nodes of a drain: kept before the first block goes, put back with the last. */

#define PAGE (2 * MIB)

static struct snapshot_pool *add_pool(struct world *world, int node, uint64_t pages, uint64_t free)
{
	struct snapshot_node *at = snapshot_node(world->snapshot, node);

	for (size_t i = 0; i < at->pool_count; i++)
		if (at->pools[i].page_bytes == PAGE) {
			at->pools[i] = (struct snapshot_pool){.page_bytes = PAGE, .total = pages, .free = free};
			return &at->pools[i];
		}
	at->pools[at->pool_count] = (struct snapshot_pool){.page_bytes = PAGE, .total = pages, .free = free};
	return &at->pools[at->pool_count++];
}

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

/* Memory of node 3 that is in no DIMM. */
static void add_other_block(struct world *world)
{
	struct snapshot_block *block = snapshot_add_block(world->snapshot);

	*block = (struct snapshot_block){.id = 56,
					 .start = 7 * GIB,
					 .size_bytes = WORLD_BLOCK,
					 .node = 3,
					 .zone = BLOCK_ZONE_MOVABLE};
}

static void free_pages_leave_before_the_blocks(void)
{
	static const struct {
		uint64_t pages, free, surplus;
		bool is_part;
		uint64_t target;
	} table[] = {
		{32, 32, 0, false, 0},
		{32, 20, 0, false, 12},
		/* Of these the kernel takes what it likes; and of a part of a node nobody knows which are in it. */
		{32, 20, 4, false, 28},
		{32, 20, 0, true, 32},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world world;
		const struct step *step;

		world_init(&world);
		add_pool(&world, 3, table[i].pages, table[i].free)->surplus = table[i].surplus;
		add_pool(&world, 1, 8, 8);
		if (table[i].is_part)
			add_other_block(&world);
		world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
		expect_run(&world, "cordon host_pool offline eject done");
		step = &world.history[1].step;
		CHECK_INT(step->kind, STEP_KIND_HOST_POOL);
		CHECK_INT(step->node, 3);
		CHECK_INT(step->page_bytes, PAGE);
		CHECK_INT(step->target_bytes, table[i].target * PAGE);
		CHECK_TRUE(step->undoable);
		world_done(&world);
	}
}

static void what_only_leaves_guests_leaves_pools(void)
{
	struct world world;

	world_init(&world);
	add_pool(&world, 3, 32, 32);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	expect_run(&world, "cordon done");
	world_done(&world);
}

static void reserved_pages_are_told(void)
{
	struct world world;

	world_init(&world);
	add_pool(&world, 3, 32, 32)->reserved = 40;
	add_pool(&world, 1, 8, 8)->reserved = 40;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_HOST_POOL);
	world_record(&world, STEP_STATE_PARTIAL, PAGE);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_HUGE_PAGE_POOL);
	CHECK_INT(world.decision.remainder.items[0].bytes, 64 * MIB);
	CHECK_STR(world.decision.remainder.items[0].object, "node 3, pool of 2 MiB pages");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	/* Some are free beyond what is promised: it is not that. */
	add_pool(&world, 1, 9, 9)->reserved = 40;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(!remainder_list_has(&world.decision.remainder, REMAINDER_HUGE_PAGE_POOL));
	world_done(&world);
}

/* Nothing goes that could not be put back. */
static void without_its_pool_no_block_goes(void)
{
	struct step_record *record;
	struct snapshot_pool *pool;
	struct world world;

	world_init(&world);
	pool = add_pool(&world, 3, 32, 32);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_perform(&world);
	world_next(&world);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_HUGE_PAGE_POOL, "pool", 64 * MIB, NULL, "so it is");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_HUGE_PAGE_POOL);
	CHECK_STR(world.decision.remainder.items[0].object, "pool");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_BLOCK_BUSY);
	CHECK_STR(world.decision.remainder.items[1].detail,
		  "it was not tried: a pool of huge pages could not be taken care of first");
	/* It has found those that are reserved itself: told once. */
	pool->reserved = 40;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_STR(world.decision.remainder.items[0].object, "pool");
	CHECK_STR(world.decision.remainder.items[1].object, "block 48");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	/* A restart is no refusal: what the pool was is kept. */
	record->state = STEP_STATE_PARTIAL;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	/* One that was undone does not count. */
	record->state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_HOST_POOL);
	world_done(&world);
}

/* Then nobody knows how many pages it is about. */
static void a_pool_that_cannot_be_read_is_told(void)
{
	struct step_record *record;
	struct world world;

	world_init(&world);
	add_pool(&world, 3, 32, 32)->reserved = 40;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_perform(&world);
	world_next(&world);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_INVALID, "host", 0, NULL, "cannot read it");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_STR(world.decision.remainder.items[0].detail, "cannot read it");
	CHECK_STR(world.decision.remainder.items[1].object, "node 3, pool of 2 MiB pages");
	CHECK_INT(world.decision.remainder.items[1].bytes, 64 * MIB);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	world_done(&world);
}

/* Not while another drain holds memory of its node, nor before the blocks are back. */
static void a_pool_waits_for_other_holds(void)
{
	struct snapshot_hold *hold;
	struct world world;
	char text[512];

	world_init(&world);
	add_other_block(&world);
	add_pool(&world, 3, 32, 32);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	CHECK_STR(world_run(&world, text), "cordon host_pool offline done");
	world_undrain(&world);
	hold = snapshot_add_hold(world.snapshot);
	*hold = (struct snapshot_hold){.drain = "d2", .node = -1, .range_count = 1};
	hold->ranges[0] = (struct snapshot_range){7 * GIB, 7 * GIB + WORLD_BLOCK};
	CHECK_INT(world_next(&world)->step.undo_n, 3);
	world_record(&world, STEP_STATE_DONE, 0);
	((struct step_record *)world.input.subject)[2].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	((struct step_record *)world.input.subject)[0].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_HELD));
	world.snapshot->hold_count = 0;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	world_record(&world, STEP_STATE_DONE, 0);
	((struct step_record *)world.input.subject)[1].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_undrain_done(&world);
}

/* The later drain has found the pool smaller, and would make it so again. */
static void pools_are_undone_last_first(void)
{
	struct step_record later = {.n = 2, .state = STEP_STATE_DONE};
	struct plan_drain other = {
		.drain = "d2", .operation = "op-8", .steps = &later, .step_count = 1, .is_held = true, .is_newer = true};
	struct step_record *subject;
	struct world world;
	char text[512];

	step_init(&later.step, STEP_KIND_HOST_POOL);
	later.step.node = 3;
	later.step.page_bytes = PAGE;
	later.step.undoable = true;
	world_init(&world);
	add_other_block(&world);
	add_pool(&world, 3, 32, 32);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	CHECK_STR(world_run(&world, text), "cordon host_pool offline done");
	world_undrain(&world);
	subject = (struct step_record *)world.input.subject;
	world.input.drains = &other;
	world.input.drain_count = 1;
	subject[2].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	/* Of another pool it is no matter. */
	later.step.page_bytes = GIB;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	later.step.page_bytes = PAGE;
	later.step.node = 1;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	later.step.node = 3;
	other.is_newer = false;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	/* With the later one goes what this one had to leave, after it. */
	other.is_held = false;
	world_record(&world, STEP_STATE_DONE, 0);
	subject[1].state = STEP_STATE_UNDONE;
	CHECK_STR(world_next(&world)->step.undo_operation, "op-8");
	CHECK_INT(world.decision.step.undo_n, 2);
	world_undrain_done(&world);
}

/* A move that runs when its destination is cordoned makes no more pages there. */
static void no_move_makes_pages_under_a_hold(void)
{
	for (int is_held = 0; is_held < 3; is_held++) {
		struct snapshot_guest *guest;
		struct world world;

		world_init(&world);
		guest = world_add_guest(&world, "db1", 0, 128 * MIB);
		guest->backings[0].kind = BACKING_KIND_HUGETLB;
		guest->backings[0].page_bytes = PAGE;
		add_pool(&world, 0, 64, 0);
		add_pool(&world, 3, 0, 0);
		world_wish_move(&world, "db1", 1 << 3);
		if (is_held)
			*snapshot_add_hold(world.snapshot) = (struct snapshot_hold){.drain = "d2", .node = 3};
		/* One that belongs to that drain brings the guest home. */
		if (is_held == 2)
			strcpy(world.wish.drain, "d2");
		bool makes = false;

		for (int i = 0; i < 12 && world_next(&world)->kind == DECISION_KIND_STEP; i++) {
			makes = makes || (world.decision.step.kind == STEP_KIND_HOST_POOL &&
					  world.decision.step.node == 3);
			world_perform(&world);
		}
		CHECK_INT(makes, is_held != 1);
		world_done(&world);
	}
}

/* The rest of the pages is made of free memory, and no more than that. */
static void a_pool_that_has_some_gives_them(void)
{
	struct snapshot_guest *guest;
	struct world world;
	uint64_t room;

	world_init(&world);
	guest = world_add_guest(&world, "db1", 3, 300 * MIB);
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = PAGE;
	guest->allowed_nodes = 1 << 1;
	add_pool(&world, 3, 150, 0);
	add_pool(&world, 1, 100, 100);
	room = world_share(&world, 1, 1 << 3) + 100 * MIB + MIB;
	snapshot_node(world.snapshot, 1)->free_bytes = room;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world_check_code(&world, "");
	expect_run(&world, "cordon move done");
	CHECK_INT(plan_pool(world.snapshot, 1, PAGE)->free, 0);
	CHECK_INT(snapshot_node(world.snapshot, 1)->free_bytes, room - 100 * MIB);
	world_done(&world);
}

#define LARGE (32 * MIB)

/* Both sizes have a pool on each node, with so much free; and so much room beside them. */
static void give(struct world *world, int node, uint64_t small_bytes, uint64_t large_bytes, uint64_t room)
{
	struct snapshot_node *at = snapshot_node(world->snapshot, node);

	add_pool(world, node, small_bytes / PAGE, small_bytes / PAGE);
	at->pools[at->pool_count++] = (struct snapshot_pool){
		.page_bytes = LARGE, .total = large_bytes / LARGE, .free = large_bytes / LARGE};
	at->free_bytes = world_share(world, node, 1 << 3) + room;
}

/* Of 256 MiB in pages of 2 MiB, in its first cell, and 512 MiB in pages of 32 MiB, in its second. */
static struct snapshot_guest *add_guest_of_two_sizes(struct world *world, int small_node, int large_node)
{
	struct snapshot_guest *guest = world_add_guest(world, "db1", small_node, 256 * MIB);

	guest->node_bytes[large_node] += 512 * MIB;
	guest->resident_bytes = guest->current_bytes = guest->requested_bytes = guest->base_bytes = 768 * MIB;
	guest->max_bytes = 768 * MIB;
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_HUGETLB, PAGE, 256 * MIB, 0};
	guest->backings[1] = (struct snapshot_backing){BACKING_KIND_HUGETLB, LARGE, 512 * MIB, 1};
	guest->backing_count = 2;
	guest->huge_count = 2;
	guest->huges[0].page_bytes = PAGE;
	guest->huges[0].pages[small_node] = 256 * MIB / PAGE;
	guest->huges[1].page_bytes = LARGE;
	guest->huges[1].pages[large_node] = 512 * MIB / LARGE;
	return guest;
}

/* What is free in the pool of one size is no place for the other, and neither has to be made of room where it is there. */
static void each_size_has_its_own_place(void)
{
	static const struct {
		int large_node;			  /* the small ones are on node 3 */
		uint64_t pools[3][2], rooms[3];	  /* of nodes 0 to 2, in MiB */
		bool is_told;			  /* by node */
		int goes_to;			  /* -1: refused */
	} table[] = {
		{3, {{0, 0}, {256, 512}, {0, 0}}, {0, 0, 0}, true, 1},
		{3, {{0, 0}, {256, 512}, {0, 0}}, {0, 0, 0}, false, 1},
		{3, {{768, 0}, {0, 768}, {255, 511}}, {0, 0, 0}, true, -1},
		{3, {{0, 0}, {192, 512}, {0, 0}}, {0, 64, 0}, true, 1},
		/* Only the small ones leave: a pool of large ones helps them nowhere. */
		{2, {{0, 768}, {256, 0}, {0, 0}}, {0, 0, 0}, true, 1},
		{2, {{0, 768}, {0, 768}, {0, 768}}, {0, 0, 0}, true, -1},
		{2, {{0, 0}, {0, 0}, {0, 0}}, {0, 256, 0}, true, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct snapshot_guest *guest;
		struct world world;

		world_init(&world);
		guest = add_guest_of_two_sizes(&world, 3, table[i].large_node);
		guest->huge_count = table[i].is_told ? 2 : 0;
		for (int node = 0; node < 3; node++)
			give(&world, node, table[i].pools[node][0] * MIB, table[i].pools[node][1] * MIB,
			     table[i].rooms[node] * MIB);
		world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
		world_check_code(&world, table[i].goes_to < 0 ? "no_room" : "");
		if (table[i].goes_to >= 0) {
			expect_run(&world, "cordon move done");
			CHECK_INT(world.history_count > 1 && world.history[1].step.child
					  ? world.history[1].step.child->move.map[3]
					  : -1,
				  table[i].goes_to);
			CHECK_INT(plan_pool(world.snapshot, table[i].goes_to, PAGE)->free, 0);
			if (table[i].is_told)
				CHECK_INT(world.snapshot->guests[0].huges[0].pages[table[i].goes_to], 128);
		}
		world_done(&world);
	}
}

/* Of a part of a node nobody knows which sizes lie in it, nor of a guest that was not told apart: that is said. */
static void sizes_that_are_not_known_are_told(void)
{
	static const struct {
		bool is_told, is_part;
		int large_node;
		bool is_warned;
	} table[] = {
		{true, false, 3, false}, {true, true, 3, true}, {false, false, 3, true},
		{true, true, 2, false},	 {true, false, 2, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct snapshot_guest *guest;
		struct world world;
		struct plan *plan;
		unsigned told = 0;

		world_init(&world);
		guest = add_guest_of_two_sizes(&world, 3, table[i].large_node);
		guest->huge_count = table[i].is_told ? 2 : 0;
		guest->dimms_told = true;
		guest->dimm_count = 1;
		strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
		guest->dimm_bytes[0].bytes = guest->node_bytes[3];
		if (table[i].is_part) {
			world_add_second_dimm(&world);
			guest->dimm_bytes[0].bytes /= 2;
			guest->dimm_count = 2;
			strcpy(guest->dimm_bytes[1].id, "acpi-MP01");
			guest->dimm_bytes[1].bytes = guest->node_bytes[3] - guest->dimm_bytes[0].bytes;
		}
		world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
		plan = plan_dry_run(&world.input);
		for (size_t n = 0; n < plan->warnings.count; n++)
			if (plan->warnings.items[n].code == REMAINDER_NOT_SURVEYED) {
				CHECK_STR(plan->warnings.items[n].object, "guest db1");
				CHECK_INT(plan->warnings.items[n].bytes, guest->dimm_bytes[0].bytes);
				told++;
			}
		CHECK_INT(told, table[i].is_warned);
		plan_free(plan);
		world_done(&world);
	}
}

/* A move makes pages of a size only where such come, and needs room there in that size. */
static void a_move_makes_what_comes(void)
{
	struct world world;

	for (int has_room = 0; has_room < 2; has_room++) {
		world_init(&world);
		add_guest_of_two_sizes(&world, 0, 2);
		give(&world, 0, 0, 0, 0);
		give(&world, 1, 0, 768 * MIB, has_room ? 256 * MIB : 254 * MIB);
		give(&world, 2, 0, 0, 0);
		/* A reserve's share as without a drain. */
		snapshot_node(world.snapshot, 1)->free_bytes += world_share(&world, 1, 0);
		snapshot_node(world.snapshot, 1)->free_bytes -= world_share(&world, 1, 1 << 3);
		world_wish_map(&world, "db1", 0, 1);
		world_check_code(&world, has_room ? "" : "no_room");
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_INT(world.decision.step.kind, STEP_KIND_HOST_POOL);
		CHECK_INT(world.decision.step.node, 1);
		CHECK_INT(world.decision.step.page_bytes, PAGE);
		CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
		world_perform(&world);
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
		world_done(&world);
	}
}

/* Pages that have to be made of memory that is in pieces: a drain says so before it begins, and of each size for itself. */
static void pages_that_may_not_come_are_told_beforehand(void)
{
	for (int free_pages = 0; free_pages < 2; free_pages++) {
		struct snapshot_guest *guest;
		struct snapshot_node *node;
		struct world world;
		struct plan *plan;
		unsigned told = 0;

		world_init(&world);
		guest = add_guest_of_two_sizes(&world, 3, 3);
		guest->backings[1].bytes = guest->node_bytes[3] = GIB;
		guest->node_bytes[3] += 256 * MIB;
		guest->backings[1].page_bytes = guest->huges[1].page_bytes = GIB;
		guest->huges[1].pages[3] = 1;
		guest->allowed_nodes = 1 << 1;
		give(&world, 1, 256 * MIB, 0, 2 * GIB);
		node = snapshot_node(world.snapshot, 1);
		node->pools[1] = (struct snapshot_pool){
			.page_bytes = GIB, .total = (uint64_t)free_pages, .free = (uint64_t)free_pages};
		world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
		world.wish.allow = 1 << CONSENT_GIGANTIC_PAGES;
		world_check_code(&world, "");
		plan = plan_dry_run(&world.input);
		for (size_t i = 0; i < plan->warnings.count; i++)
			if (plan->warnings.items[i].code == REMAINDER_NO_ROOM) {
				CHECK_STR(plan->warnings.items[i].object, "guest db1");
				CHECK_STR(plan->warnings.items[i].detail,
					  "free memory of node 1 is in pieces: pages of 1 GiB must be compacted first, and "
					  "fewer may come of it");
				CHECK_INT(plan->warnings.items[i].bytes, GIB);
				told++;
			}
		CHECK_INT(told, !free_pages);
		plan_free(plan);
		world_done(&world);
	}
}

static const struct unit_case cases[] = {
	{"pages that may not come are told beforehand", pages_that_may_not_come_are_told_beforehand},
	{"each size has its own place", each_size_has_its_own_place},
	{"sizes that are not known are told", sizes_that_are_not_known_are_told},
	{"a move makes what comes", a_move_makes_what_comes},
	{"free pages leave before the blocks", free_pages_leave_before_the_blocks},
	{"what only leaves guests leaves pools", what_only_leaves_guests_leaves_pools},
	{"reserved pages are told", reserved_pages_are_told},
	{"without its pool no block goes", without_its_pool_no_block_goes},
	{"a pool that cannot be read is told", a_pool_that_cannot_be_read_is_told},
	{"a pool waits for other holds", a_pool_waits_for_other_holds},
	{"pools are undone last first", pools_are_undone_last_first},
	{"a pool that has some gives them", a_pool_that_has_some_gives_them},
	{"no move makes pages under a hold", no_move_makes_pages_under_a_hold},
};

int main(void)
{
	return unit_main("drain_pool", cases, sizeof(cases) / sizeof(cases[0]));
}
