/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* A guest of 200 pages of 2 MiB on node 1, whose pool has 50 more; nothing in the pool of node 2. */
static struct snapshot_guest *pool_world(struct world *world)
{
	struct snapshot_guest *guest;
	struct snapshot_node *node;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 400 * MIB);
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	guest->current_bytes = guest->requested_bytes = 400 * MIB;
	node = snapshot_node(world->snapshot, 1);
	node->pools[0].total = 250;
	node->pools[0].free = 50;
	/* Its CPUs are where it goes: of them there is nothing to say. */
	guest->cpu_nodes = 1 << 2;
	world_wish_move(world, "g1", 1 << 2);
	return guest;
}

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static uint64_t total(struct world *world, int node)
{
	return snapshot_node(world->snapshot, node)->pools[0].total;
}

static void expect_pool(struct world *world, int node, uint64_t target_bytes)
{
	CHECK_INT(world_next(world)->kind, DECISION_KIND_STEP);
	CHECK_INT(world->decision.step.kind, STEP_KIND_HOST_POOL);
	CHECK_INT(world->decision.step.node, node);
	CHECK_INT(world->decision.step.target_bytes, target_bytes);
	CHECK_TRUE(world->decision.step.undoable);
}

static void growth_finds_free_pages_where_it_lies(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	/* Plugged but not yet touched, and asked for: 80 MiB and 20 MiB. */
	guest->current_bytes = 480 * MIB;
	guest->requested_bytes = 500 * MIB;
	expect_run(&world, "host_pool move host_pool host_pool done");
	CHECK_INT(world.history[0].step.target_bytes, 400 * MIB);
	CHECK_INT(world.history[2].step.node, 2);
	CHECK_INT(world.history[2].step.target_bytes, 500 * MIB);
	CHECK_INT(snapshot_node(world.snapshot, 2)->pools[0].free, 50);
	/* The source gives what it had for that, too. */
	CHECK_INT(world.history[3].step.node, 1);
	CHECK_INT(total(&world, 1), 0);
	CHECK_INT(total(&world, 2), 250);
	world_done(&world);
}

static void growth_without_room_is_warned_of(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	guest->requested_bytes = 600 * MIB;
	snapshot_node(world.snapshot, 2)->free_bytes = 700 * MIB;
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_NO_ROOM);
	CHECK_STR(world.decision.warnings.items[0].detail,
		  "node 2 has no pages of 2 MiB for all that it may still grow by");
	/* 700 MiB less the reserve's share of it, 200 MiB, in whole pages. */
	CHECK_INT(world.decision.warnings.items[0].bytes,
		  600 * MIB - (700 * MIB - world_share(&world, 2, 0)) / (2 * MIB) * (2 * MIB));
	world_done(&world);
}

static void pieces_are_warned_of(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);
	struct snapshot_node *node = snapshot_node(world.snapshot, 2);

	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 0);
	node->fragmented_bytes = node->free_bytes - 100 * MIB;
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].bytes, 300 * MIB);
	CHECK_STR(world.decision.warnings.items[0].detail,
		  "free memory of node 2 is in pieces: pages of 2 MiB must be compacted first, and "
		  "fewer may come of it");
	/* What the pool has is whole. */
	node->pools[0].total = node->pools[0].free = 200;
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 0);
	guest->backings[0].page_bytes = GIB;
	world.wish.allow = 1 << CONSENT_GIGANTIC_PAGES;
	world_next(&world);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_NO_ROOM));
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_GIGANTIC_PAGES));
	world_done(&world);
}

/* Cut short half way: the destination keeps what has come, the source gives as much. */
static void what_did_not_come_is_given_back(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);
	struct snapshot_pool *from = &snapshot_node(world.snapshot, 1)->pools[0],
			     *to = &snapshot_node(world.snapshot, 2)->pools[0];

	expect_pool(&world, 2, 400 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_PARTIAL, 160 * MIB);
	guest->node_bytes[1] = 240 * MIB;
	guest->node_bytes[2] = 160 * MIB;
	from->free += 80;
	to->free -= 80;
	world.input.deadline_ms = world.input.now_ms;
	expect_pool(&world, 2, 160 * MIB);
	world_perform(&world);
	expect_pool(&world, 1, 340 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 240 * MIB);
	CHECK_INT(total(&world, 1) + total(&world, 2), 250);
	CHECK_INT(from->free, 50);
	CHECK_INT(to->free, 0);
	world_done(&world);
}

static void fewer_made_means_fewer_given_back(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);
	struct snapshot_pool *from = &snapshot_node(world.snapshot, 1)->pools[0],
			     *to = &snapshot_node(world.snapshot, 2)->pools[0];

	expect_pool(&world, 2, 400 * MIB);
	world_record(&world, STEP_STATE_PARTIAL, 100 * MIB);
	to->total = to->free = 50;
	/* The kernel makes the rest itself and takes its place in the pool along. */
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_DONE, 400 * MIB);
	guest->node_bytes[1] = 0;
	guest->node_bytes[2] = 400 * MIB;
	to->total = 200;
	to->free = 0;
	from->total = 100;
	from->free = 100;
	expect_pool(&world, 1, 100 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(total(&world, 1) + total(&world, 2), 250);
	world_done(&world);
}

/* The guest lived on surplus pages: the source has no pool to give, and the destination keeps none. */
/* By hand as many pages go as there are huge ones; a drain tears no guest apart, it asks elsewhere. */
static void a_drains_guest_goes_whole_or_not_at_all(void)
{
	for (unsigned of_drain = 0; of_drain < 2; of_drain++) {
		struct world world;

		pool_world(&world);
		snprintf(world.wish.drain, sizeof(world.wish.drain), "%s", of_drain ? "dr-1" : "");
		expect_pool(&world, 2, 400 * MIB);
		world_record(&world, STEP_STATE_PARTIAL, 160 * MIB);
		snapshot_node(world.snapshot, 2)->pools[0].total = snapshot_node(world.snapshot, 2)->pools[0].free = 80;
		if (!of_drain) {
			CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
			world_done(&world);
			continue;
		}
		/* What was made for it goes back. */
		expect_pool(&world, 2, 0);
		world_perform(&world);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_NO_ROOM));
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), 400 * MIB);
		world_done(&world);
	}
}

static void surplus_stays_surplus(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);
	struct snapshot_pool *from = &snapshot_node(world.snapshot, 1)->pools[0],
			     *to = &snapshot_node(world.snapshot, 2)->pools[0];

	from->total = from->surplus = 200;
	from->free = 0;
	expect_pool(&world, 2, 400 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_DONE, 400 * MIB);
	guest->node_bytes[1] = 0;
	guest->node_bytes[2] = 400 * MIB;
	from->total = from->surplus = 0;
	to->free = 0;
	expect_pool(&world, 2, 0);
	world_record(&world, STEP_STATE_PARTIAL, 400 * MIB);
	to->surplus = 200;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void reserved_pages_are_not_to_be_had(void)
{
	struct world world;
	struct snapshot_pool *from, *to;

	pool_world(&world);
	from = &snapshot_node(world.snapshot, 1)->pools[0];
	to = &snapshot_node(world.snapshot, 2)->pools[0];
	to->total = to->free = 200;
	/* 250 are free in all, 150 of them promised: 100 of any node can be had. */
	from->reserved = to->reserved = 150;
	for (size_t i = 0; i < world.snapshot->node_count; i++)
		world.snapshot->nodes[i].pools[0].reserved = 150;
	expect_pool(&world, 2, 600 * MIB);
	world_done(&world);
}

static void a_swap_swaps_the_pools(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	guest->node_bytes[2] = 100 * MIB;
	guest->current_bytes = guest->requested_bytes = guest->resident_bytes = 500 * MIB;
	guest->backings[0].bytes = 500 * MIB;
	snapshot_node(world.snapshot, 2)->pools[0].total = 50;
	world_wish_map(&world, "g1", 1, 2);
	world.wish.move.map[2] = 1;
	/* The 50 free pages of node 1 are room for the 50 that come: nothing is made there. */
	expect_run(&world, "host_pool move host_pool done");
	CHECK_INT(total(&world, 1), 50);
	CHECK_INT(total(&world, 2), 250);
	world_done(&world);
}

static void the_maps_sources_each_give_their_part(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	guest->node_bytes[0] = 100 * MIB;
	guest->current_bytes = guest->requested_bytes = guest->resident_bytes = 500 * MIB;
	guest->backings[0].bytes = 500 * MIB;
	snapshot_node(world.snapshot, 0)->pools[0].total = 60;
	snapshot_node(world.snapshot, 0)->pools[0].free = 10;
	world_wish_map(&world, "g1", 1, 2);
	world.wish.move.map[0] = 3;
	expect_run(&world, "host_pool host_pool move host_pool host_pool done");
	CHECK_INT(total(&world, 0), 10);
	CHECK_INT(total(&world, 1), 50);
	CHECK_INT(total(&world, 2), 200);
	CHECK_INT(total(&world, 3), 50);
	world_done(&world);
}

/* Two cells from both of two nodes: what each node gives is given once, not for each destination. */
static void cells_share_what_the_sources_give(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	guest->node_bytes[1] = 300 * MIB;
	guest->node_bytes[0] = 100 * MIB;
	guest->cell_count = guest->backing_count = 2;
	guest->cells[1].id = 1;
	guest->backings[0].bytes = 200 * MIB;
	guest->backings[1] = guest->backings[0];
	guest->backings[1].cell = 1;
	snapshot_node(world.snapshot, 0)->pools[0].total = 50;
	snapshot_node(world.snapshot, 1)->pools[0].total = 150;
	snapshot_node(world.snapshot, 1)->pools[0].free = 0;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 2;
	world.wish.move.cells[1] = 3;
	expect_run(&world, "host_pool host_pool move host_pool host_pool done");
	CHECK_INT(total(&world, 0), 0);
	CHECK_INT(total(&world, 1), 0);
	CHECK_INT(total(&world, 2) + total(&world, 3), 200);
	world_done(&world);
}

/* Only the second cell is of huge pages: neither the first one's node nor its destination has to do with pools. */
static void a_cell_of_small_pages_touches_no_pool(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	guest->node_bytes[0] = guest->node_bytes[1] = 200 * MIB;
	guest->cell_count = guest->backing_count = 2;
	guest->cells[1].id = 1;
	guest->backings[1] = guest->backings[0];
	guest->backings[1].bytes = 200 * MIB;
	guest->backings[1].cell = 1;
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_ANON, 4096, 200 * MIB, 0};
	/* Another guest's, all in use. */
	snapshot_node(world.snapshot, 0)->pools[0].total = 60;
	snapshot_node(world.snapshot, 0)->pools[0].free = 0;
	snapshot_node(world.snapshot, 1)->pools[0].total = 100;
	snapshot_node(world.snapshot, 1)->pools[0].free = 0;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 2;
	world.wish.move.cells[1] = 3;
	expect_pool(&world, 3, 200 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_DONE, 400 * MIB);
	guest->node_bytes[0] = guest->node_bytes[1] = 0;
	guest->node_bytes[2] = guest->node_bytes[3] = 200 * MIB;
	snapshot_node(world.snapshot, 3)->pools[0].free = 0;
	snapshot_node(world.snapshot, 1)->pools[0].free = 100;
	expect_pool(&world, 1, 0);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(total(&world, 0), 60);
	CHECK_INT(total(&world, 1), 0);
	CHECK_INT(total(&world, 2), 0);
	CHECK_INT(total(&world, 3), 100);
	world_done(&world);
}

static void a_part_in_huge_pages_needs_room_for_that_part(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	guest->backing_count = 2;
	guest->backings[0].bytes = 100 * MIB;
	guest->backings[1] = (struct snapshot_backing){BACKING_KIND_ANON, 4096, 300 * MIB, 1};
	expect_pool(&world, 2, 100 * MIB);
	world_done(&world);
}

static void a_guest_that_ends_leaves_no_pool_behind(void)
{
	struct world world;
	struct snapshot_guest *guest = pool_world(&world);

	expect_pool(&world, 2, 400 * MIB);
	world_perform(&world);
	guest->state = GUEST_STATE_SHUT_OFF;
	guest->node_bytes[1] = guest->resident_bytes = 0;
	guest->backing_count = 0;
	expect_pool(&world, 2, 0);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, total(&world, 2) ? -1 : DECISION_KIND_GIVE_UP);
	/* A transient one is not even there any more. */
	world.history_count = 1;
	world.snapshot->guest_count = 0;
	snapshot_node(world.snapshot, 2)->pools[0].total = 200;
	snapshot_node(world.snapshot, 2)->pools[0].free = 200;
	expect_pool(&world, 2, 0);
	CHECK_STR(world.decision.step.guest, "");
	world.history_count = 2;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_GONE);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"growth finds free pages where it lies", growth_finds_free_pages_where_it_lies},
	{"growth without room is warned of", growth_without_room_is_warned_of},
	{"pieces are warned of", pieces_are_warned_of},
	{"what did not come is given back", what_did_not_come_is_given_back},
	{"fewer made means fewer given back", fewer_made_means_fewer_given_back},
	{"a drain's guest goes whole or not at all", a_drains_guest_goes_whole_or_not_at_all},
	{"surplus stays surplus", surplus_stays_surplus},
	{"reserved pages are not to be had", reserved_pages_are_not_to_be_had},
	{"a swap swaps the pools", a_swap_swaps_the_pools},
	{"the map's sources each give their part", the_maps_sources_each_give_their_part},
	{"cells share what the sources give", cells_share_what_the_sources_give},
	{"a cell of small pages touches no pool", a_cell_of_small_pages_touches_no_pool},
	{"a part in huge pages needs room for that part",
	 a_part_in_huge_pages_needs_room_for_that_part},
	{"a guest that ends leaves no pool behind", a_guest_that_ends_leaves_no_pool_behind},
};

int main(void)
{
	return unit_main("move_pool", cases, sizeof(cases) / sizeof(cases[0]));
}
