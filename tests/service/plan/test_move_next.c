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

static void check_blocker(struct world *world, enum remainder_code code, uint64_t bytes)
{
	struct remainder_list blockers;
	struct failure failure;

	CHECK_INT(plan_check(&world->input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "guest_unmovable");
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].code, code);
	CHECK_INT(blockers.items[0].bytes, bytes);
}

static void a_strict_memfd_guest(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->numatune_nodes = guest->stored_numatune_nodes = 1 << 1;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->persistent = true;
	guest->cpuset_mems = 1 << 1;
	world_wish_move(&world, "g1", 1 << 2);
	world_check_code(&world, "");
	world.wish.move.persist = true;
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset persist done");
	CHECK_INT(world.history[0].step.nodes, 1 << 1 | 1 << 2);
	CHECK_INT(world.history[1].step.mode, POLICY_MODE_BIND);
	CHECK_INT(world.history[1].step.nodes, 1 << 2);
	/* Bound to where its pages are, not before. */
	CHECK_TRUE(world.history[1].step.loose && !world.history[3].step.loose);
	CHECK_INT(world.history[3].step.mode, POLICY_MODE_BIND);
	CHECK_INT(world.history[3].step.nodes, 1 << 2);
	CHECK_TRUE(!guest->policy_loose);
	CHECK_INT(world.history[2].step.map[1], 2);
	CHECK_INT(world.history[2].step.bytes, 400 * MIB);
	CHECK_INT(world.history[4].step.nodes, 1 << 2);
	CHECK_INT(guest->node_bytes[1], 0);
	CHECK_INT(guest->node_bytes[2], 400 * MIB);
	CHECK_INT(guest->stored_numatune_nodes, 1 << 2);
	/* And again: it is so already. */
	world_done(&world);
}

static void an_unbound_memfd_guest_becomes_preferred(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->node_bytes[0] = 8 * MIB;
	world_wish_move(&world, "g1", 1 << 2);
	expect_run(&world, "memory_policy move done");
	CHECK_INT(world.history[0].step.mode, POLICY_MODE_PREFERRED);
	CHECK_INT(world.history[1].step.bytes, 408 * MIB);
	world_done(&world);
}

static void anonymous_memory_is_warned_about(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->backings[0].kind = BACKING_KIND_ANON;
	world_wish_move(&world, "g1", 1 << 2);
	expect_run(&world, "move done");
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_AUTONUMA_MAY_RETURN));
	world_done(&world);
}

static void an_anonymous_strict_guest_follows_the_remap(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->backings[0].kind = BACKING_KIND_ANON;
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 1;
	world_wish_move(&world, "g1", 1 << 2);
	/* Widening leaves bind:1, narrowing makes it bind:2: what is wished. */
	expect_run(&world, "cpuset move cpuset done");
	CHECK_INT(guest->policy_nodes, 1 << 2);
	world_done(&world);
}

/* A plan for a strict guest to those nodes, of which node 2 has so much that is not movable. */
static bool is_warned_of_movable(uint64_t to, uint64_t kernel_bytes)
{
	struct world world;
	struct snapshot_guest *guest;
	bool is_warned;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 1;
	for (size_t i = 0; i < world.snapshot->node_count; i++)
		if (world.snapshot->nodes[i].id == 2)
			world.snapshot->nodes[i].movable_bytes = world.snapshot->nodes[i].total_bytes - kernel_bytes;
	world_wish_move(&world, "g1", to);
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset done");
	CHECK_INT(guest->cpuset_mems, to);
	is_warned = remainder_list_has(&world.decision.warnings, REMAINDER_NO_KERNEL_MEMORY);
	world_done(&world);
	return is_warned;
}

static void a_guest_without_kernel_memory_is_warned_about(void)
{
	CHECK_TRUE(is_warned_of_movable(1 << 2, 0));
	CHECK_TRUE(!is_warned_of_movable(1 << 2, 4096));
	CHECK_TRUE(!is_warned_of_movable(1 << 2 | 1 << 3, 0));
}

static void a_guest_that_migrates_is_not_narrowed(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 1;
	world_wish_move(&world, "g1", 1 << 2);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	world_record(&world, STEP_STATE_DONE, 0);
	guest->cpuset_mems = 1 << 1 | 1 << 2;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	world_record(&world, STEP_STATE_DONE, 0);
	guest->policy_nodes = 1 << 2;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_PARTIAL, 400 * MIB);
	guest->node_bytes[2] = guest->node_bytes[1];
	guest->node_bytes[1] = 0;
	guest->migrating = true;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_MIGRATION_JOB));
	guest->migrating = false;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	CHECK_INT(world.decision.step.nodes, 1 << 2);
	world_done(&world);
}

static void a_shift_needs_consent(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->backings[0].kind = BACKING_KIND_ANON;
	guest->node_bytes[2] = 100 * MIB;
	guest->policy_mode = POLICY_MODE_BIND;
	/* Bound to 1 and 2 in turn; widening to 0-2 would make that 0 and 1. */
	guest->policy_nodes = guest->cpuset_mems = 1 << 1 | 1 << 2;
	world_wish_map(&world, "g1", 2, 0);
	guest->policy_nodes = 1 << 2;
	world_check_code(&world, "policy_would_shift");
	expect_run(&world, "give_up");
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_POLICY_WOULD_SHIFT);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 100 * MIB);
	world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
	world_check_code(&world, "");
	world_done(&world);
}

static void huge_pages_need_room_and_leave_none(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct snapshot_node *node;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	guest->current_bytes = guest->requested_bytes = 400 * MIB;
	node = snapshot_node(world.snapshot, 1);
	node->pools[0].total = 250;
	node->pools[0].free = 50;
	world_wish_move(&world, "g1", 1 << 2);
	world_check_code(&world, "");
	expect_run(&world, "host_pool move host_pool done");
	CHECK_INT(world.history[0].step.node, 2);
	CHECK_INT(world.history[0].step.target_bytes, 400 * MIB);
	CHECK_INT(world.history[2].step.node, 1);
	CHECK_INT(world.history[2].step.target_bytes, 100 * MIB);
	CHECK_INT(snapshot_node(world.snapshot, 1)->pools[0].total +
			  snapshot_node(world.snapshot, 2)->pools[0].total,
		  250);
	world_done(&world);
}

static void passes_go_on_as_long_as_they_gain(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	world_wish_move(&world, "g1", 1 << 2);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_PARTIAL, 390 * MIB);
	guest->node_bytes[1] = 10 * MIB;
	/* Pulled to a third node meanwhile: that belongs on node 2 just as well. */
	guest->node_bytes[0] = 2 * MIB;
	CHECK_INT(world_next(&world)->step.bytes, 12 * MIB);
	CHECK_INT(world.decision.step.map[0], 2);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "guest g1", 4 * MIB, NULL,
			   "pinned");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 12 * MIB);
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_PINNED));
	/* That pass told of all that it found: the rest was not there then. */
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_CAME_MEANWHILE));
	record->remainder.count = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NOT_TRIED);
	CHECK_TRUE(strstr(world.decision.remainder.items[0].detail, "no pass over it came to its end") != NULL);
	world_done(&world);
}

static void what_was_apart_stays_apart(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	world_wish_move(&world, "g1", 1 << 2 | 1 << 3);
	expect_run(&world, "memory_policy move done");
	CHECK_INT(guest->node_bytes[2], 100 * MIB);
	CHECK_INT(guest->node_bytes[3], 50 * MIB);
	world_done(&world);
}

static void three_into_two_go_by_distance_and_room(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->node_bytes[0] = 50 * MIB;
	guest->node_bytes[2] = 10 * MIB;
	world_wish_move(&world, "g1", 1 << 2 | 1 << 3);
	expect_run(&world, "memory_policy move done");
	/* Node 1 is nearest to 3, node 0 to 2. */
	CHECK_INT(guest->node_bytes[3], 100 * MIB);
	CHECK_INT(guest->node_bytes[2], 60 * MIB);
	world_done(&world);
}

static void a_swap_of_nodes_is_one_pass(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	world_wish_map(&world, "g1", 0, 1);
	world.wish.move.map[1] = 0;
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 3;
	expect_run(&world, "move done");
	CHECK_INT(guest->node_bytes[0], 50 * MIB);
	world_done(&world);

	/* What leaves a node may do so only after all has come. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	world_wish_map(&world, "g1", 0, 1);
	world.wish.move.map[1] = 0;
	world_check_code(&world, "");
	snapshot_node(world.snapshot, 1)->free_bytes = 90 * MIB;
	world_check_code(&world, "no_room");
	world_done(&world);

	/* What stayed is known by the mover's word alone, and a second pass would carry back what came. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 3;
	world_wish_map(&world, "g1", 0, 1);
	world.wish.move.map[1] = 0;
	CHECK_INT(world_next(&world)->step.bytes, 150 * MIB);
	record = world_record(&world, STEP_STATE_PARTIAL, 143 * MIB);
	remainder_list_add(&record->remainder, REMAINDER_PAGE_BUSY, "node 0", 4 * MIB, NULL, "held");
	remainder_list_add(&record->remainder, REMAINDER_NO_ROOM, "node 1", 3 * MIB, NULL, "full");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 7 * MIB);
	/* All that stayed is in swap: told, and no page is missing beside it. */
	record->remainder.count = 0;
	remainder_list_add(&record->remainder, REMAINDER_SWAPPED, "guest g1", 7 * MIB, NULL, "in swap");
	guest->swapped_bytes = 7 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_SWAPPED);
	world_done(&world);
}

static void cells_go_by_the_movers_word(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->cell_count = 2;
	guest->cells[1].id = 1;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 1;
	world.wish.move.cells[1] = 2;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_TRUE(world.decision.step.by_cells);
	world_record(&world, STEP_STATE_PARTIAL, 60 * MIB);
	CHECK_INT(world_next(&world)->step.bytes, 40 * MIB);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 40 * MIB);
	world_done(&world);
}

static void memory_follows_its_cpus(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 2, 100 * MIB);
	guest->cpu_nodes = 1 << 1;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_NEAR_CPUS;
	expect_run(&world, "memory_policy move done");
	CHECK_INT(guest->node_bytes[1], 100 * MIB);
	world_done(&world);
}

static void a_restrictive_guest_is_told_to_libvirt(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->numatune_mode = NUMATUNE_MODE_RESTRICTIVE;
	guest->numatune_nodes = guest->cpuset_mems = 1 << 1;
	world_wish_move(&world, "g1", 1 << 0);
	world.wish.move.cpus = true;
	guest->cpu_nodes = 1 << 1;
	expect_run(&world, "cpuset memory_policy cpus move numatune done");
	CHECK_INT(guest->numatune_nodes, 1 << 0);
	world_done(&world);
}

static void what_belongs_to_the_wish_and_failed_is_told(void)
{
	static const enum step_kind kinds[] = {STEP_KIND_MEMORY_POLICY, STEP_KIND_CPUS, STEP_KIND_PERSIST};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct world world;
		struct snapshot_guest *guest;

		world_init(&world);
		guest = world_add_guest(&world, "g1", 1, 100 * MIB);
		guest->persistent = true;
		guest->stored_numatune_nodes = 1 << 1;
		guest->cpu_nodes = 1 << 1;
		world_wish_move(&world, "g1", 1 << 0);
		world.wish.move.cpus = world.wish.move.persist = true;
		while (world_next(&world)->kind == DECISION_KIND_STEP && world.history_count < 9) {
			bool fails = world.decision.step.kind == kinds[i];

			if (!fails)
				world_perform(&world);
			else
				world_record(&world, STEP_STATE_FAILED, 0);
		}
		CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(world.decision.remainder.count, 1);
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), 0);
		CHECK_INT(guest->node_bytes[0], 100 * MIB);
		world_done(&world);
	}
}

/* One node can be written into stored XML that names none; for more the next start does not agree, which is no success. */
static void a_stored_description_without_nodes(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->persistent = true;
	world_wish_move(&world, "g1", 1 << 2);
	world.wish.move.persist = true;
	expect_run(&world, "memory_policy move persist done");
	CHECK_INT(world.decision.warnings.count, 0);
	CHECK_TRUE(!world.history[2].step.by_map && world.history[2].step.nodes == 1 << 2);
	CHECK_INT(guest->stored_numatune_nodes, 1 << 2);
	world_done(&world);

	for (int i = 0; i < 2; i++) {
		world_init(&world);
		guest = world_add_guest(&world, "g1", 1, 100 * MIB);
		guest->persistent = i == 0;
		world_wish_move(&world, "g1", i == 0 ? 1 << 2 | 1 << 0 : 1 << 2);
		world.wish.move.persist = true;
		world_next(&world);
		CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_STORED_XML));
		expect_run(&world, "memory_policy move give_up");
		CHECK_INT(world.decision.remainder.count, 1);
		CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_STORED_XML);
		CHECK_INT(world.decision.remainder.items[0].bytes, 0);
		world_done(&world);
	}

	/* A drain only wants that nothing stored names what leaves. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->persistent = true;
	world_wish_map(&world, "g1", 1, 2);
	world.wish.move.persist = true;
	snprintf(world.wish.drain, sizeof(world.wish.drain), "d1");
	expect_run(&world, "memory_policy move done");
	world_done(&world);
}

/* What was tried and could not go has its own reason, also where time ran out over it. */
static void time_is_the_reason_of_what_was_not_tried(void)
{
	struct world world;
	struct step_record *record;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 0;
	world_wish_move(&world, "g1", 1 << 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	record = world_record(&world, STEP_STATE_PARTIAL, 20 * MIB);
	remainder_list_add(&record->remainder, REMAINDER_NO_ROOM, "guest g1", 30 * MIB, NULL, "no page free");
	guest->node_bytes[1] = 80 * MIB;
	guest->node_bytes[0] = 20 * MIB;
	world.input.deadline_ms = world.input.now_ms;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(world.decision.remainder.items[0].bytes, 30 * MIB);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_DEADLINE);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 80 * MIB);
	/* What the page tables do not show is there still. */
	remainder_list_add(&record->remainder, REMAINDER_SWAPPED, "guest g1", 4 * MIB, NULL, "in swap");
	guest->swapped_bytes = 4 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[2].code, REMAINDER_SWAPPED);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 84 * MIB);
	world_done(&world);
}

/* A strict guest on node 1 whose pages move to node 2, with so much free there when they have. */
static struct snapshot_guest *strict_mover(struct world *world, uint64_t free_bytes, uint64_t left_bytes)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->numatune_nodes = guest->cpuset_mems = 1 << 1;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->max_bytes = 500 * MIB;
	world_wish_move(world, "g1", 1 << 2);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(world_next(world)->kind, DECISION_KIND_STEP);
		if (world->decision.step.kind != STEP_KIND_MOVE_PAGES) {
			world_perform(world);
			continue;
		}
		CHECK_TRUE(guest->policy_loose);
		world_record(world, left_bytes ? STEP_STATE_FAILED : STEP_STATE_DONE, 0);
	}
	guest->node_bytes[1] = left_bytes;
	guest->node_bytes[2] = 400 * MIB - left_bytes;
	snapshot_node(world->snapshot, 2)->free_bytes = free_bytes;
	return guest;
}

/* Bound to a full node it would be killed for the first page that it touches anew. */
static void nobody_is_bound_to_a_full_node(void)
{
	struct world world;
	struct snapshot_guest *guest = strict_mover(&world, 0, 100 * MIB);

	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_NO_ROOM));
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 100 * MIB);
	CHECK_TRUE(guest->policy_loose);
	CHECK_INT(guest->cpuset_mems, 1 << 1 | 1 << 2);
	world_done(&world);

	/* Nor is its cpuset closed behind it, although all of it has come. */
	guest = strict_mover(&world, 0, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.warnings.count, 2);
	CHECK_TRUE(guest->policy_loose);
	world_done(&world);

	/* It has nothing to touch anew. */
	guest = strict_mover(&world, 0, 0);
	guest->max_bytes = guest->resident_bytes;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_TRUE(!world.decision.step.loose);
	world_done(&world);

	/* What could not go for another reason does not keep it loose; once it is enough to try. */
	guest = strict_mover(&world, 4096 * MIB, 100 * MIB);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_TRUE(!world.decision.step.loose);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(guest->policy_loose);
	world_done(&world);

	/* A guest that leaves this host is left alone. */
	guest = strict_mover(&world, 4096 * MIB, 100 * MIB);
	guest->migrating = true;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	world_done(&world);
}

/* A guest bound to node 2, or loosely so, with so much of it on node 1 still. */
static void run_bound_guest(bool loose, uint64_t left_bytes, const char *steps)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 2, 400 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 2;
	guest->policy_loose = loose;
	guest->node_bytes[1] = left_bytes;
	world_wish_move(&world, "g1", 1 << 2);
	expect_run(&world, steps);
	CHECK_INT(guest->policy_mode, POLICY_MODE_BIND);
	CHECK_INT(guest->policy_nodes, 1 << 2);
	CHECK_TRUE(!guest->policy_loose);
	world_done(&world);
}

/* One that was cut short left it loose: the next binds it, when its pages have gone. */
static void what_an_earlier_move_left_loose_is_bound(void)
{
	run_bound_guest(false, 0, "done");
	run_bound_guest(true, 0, "memory_policy done");
	run_bound_guest(true, 100 * MIB, "move memory_policy done");
	/* Where it is bound already it may be as full. */
	run_bound_guest(false, 100 * MIB, "memory_policy move memory_policy done");
}

/* A memory device is plugged while the pages move: its policy is libvirt's, and some of it is on the old node. */
static void what_is_plugged_meanwhile_goes_along(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->numatune_nodes = guest->cpuset_mems = 1 << 1;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	world_wish_move(&world, "g1", 1 << 2);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		world_perform(&world);
	}
	CHECK_INT(world.history[2].step.kind, STEP_KIND_MOVE_PAGES);
	guest->policy_mode = POLICY_MODE_MIXED;
	guest->policy_nodes = 1 << 1 | 1 << 2;
	guest->backing_count = 2;
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_MEMFD, 4096, 100 * MIB, 0, POLICY_MODE_BIND, 1 << 2};
	guest->backings[1] = (struct snapshot_backing){BACKING_KIND_MEMFD, 4096, 10 * MIB, 0, POLICY_MODE_BIND, 1 << 1};
	guest->node_bytes[1] = 10 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_INT(world.decision.step.mode, POLICY_MODE_BIND);
	CHECK_INT(world.decision.step.nodes, 1 << 2);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_INT(world.decision.step.bytes, 10 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_TRUE(!world.decision.step.loose);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	CHECK_INT(world.decision.step.nodes, 1 << 2);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void what_an_earlier_move_left_wide_is_narrowed(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->node_bytes[2] = 20 * MIB;
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 2;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->numatune_nodes = guest->cpuset_given = 1 << 1;
	guest->cpuset_mems = 1 << 1 | 1 << 2;
	guest->managed_by_ballast = true;
	world_wish_move(&world, "g1", 1 << 1);
	expect_run(&world, "memory_policy move memory_policy cpuset done");
	CHECK_INT(guest->cpuset_mems, 1 << 1);
	world_done(&world);
	/* What somebody else has made wide stays so. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->numatune_nodes = guest->cpuset_given = 1 << 1;
	guest->cpuset_mems = 1 << 1 | 1 << 2;
	world_wish_move(&world, "g1", 1 << 2);
	expect_run(&world, "memory_policy move done");
	world_done(&world);
	/* And so does that of a guest to which libvirt gave none. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->numatune_nodes = 1 << 1;
	guest->cpuset_mems = 1 << 1 | 1 << 2;
	guest->managed_by_ballast = true;
	world_wish_move(&world, "g1", 1 << 2);
	expect_run(&world, "memory_policy move done");
	world_done(&world);
}

static void a_cpuset_that_cannot_change_is_told(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->cpuset_mems = 1 << 1;
	world_wish_move(&world, "g1", 1 << 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_CPUSET_CANNOT_CHANGE);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 100 * MIB);
	world_done(&world);
}

static void what_the_slice_does_not_leave_is_refused(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->cpuset_mems = 1 << 1;
	guest->cpuset_limit = 1 << 1 | 1 << 2;
	world_wish_move(&world, "g1", 1 << 0);
	check_blocker(&world, REMAINDER_CPUSET_CANNOT_CHANGE, 100 * MIB);
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->blockers.count, 1);
	CHECK_STR(plan->blockers.items[0].detail, "the control groups above guest g1 leave it only nodes 1,2");
	CHECK_TRUE(strstr(plan->blockers.items[0].way_out, "AllowedMemoryNodes=") != NULL);
	world.wish.move.to_nodes = 1 << 2;
	world_check_code(&world, "");
	/* Nothing has to go there. */
	world.wish.move.to_nodes = 1 << 0 | 1 << 1;
	world_check_code(&world, "");
	/* Of the nodes of its CPUs those that it may use. */
	guest->cpu_nodes = 1 << 0 | 1 << 2;
	world.wish.move.form = MOVE_FORM_NEAR_CPUS;
	world_check_code(&world, "");
	expect_run(&world, "cpuset memory_policy move cpuset done");
	CHECK_INT(guest->node_bytes[2], 100 * MIB);
	world_done(&world);
}

static void what_cannot_move_is_refused(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	world_wish_move(&world, "g1", 0);
	world_check_code(&world, "invalid_target");
	world.wish.move.to_nodes = 1 << 9;
	world_check_code(&world, "unknown_node");
	world.wish.move.to_nodes = 1 << 2;
	guest->userfaultfd = true;
	world_check_code(&world, "guest_unmovable");
	guest->userfaultfd = false;
	strcpy(guest->policy_fault, "no list of nodes");
	world_check_code(&world, "policy_unreadable");
	guest->policy_fault[0] = '\0';
	guest->vfio = true;
	check_blocker(&world, REMAINDER_VFIO_PINNED, 100 * MIB);
	guest->pinned_bytes = 40 * MIB;
	world_check_code(&world, "");
	guest->pinned_bytes = 100 * MIB;
	check_blocker(&world, REMAINDER_VFIO_PINNED, 100 * MIB);
	guest->vfio = false;
	check_blocker(&world, REMAINDER_PINNED, 100 * MIB);
	guest->pinned_bytes = 0;
	guest->encrypted = guest->unmovable = true;
	check_blocker(&world, REMAINDER_ENCRYPTED, 100 * MIB);
	guest->encrypted = false;
	check_blocker(&world, REMAINDER_NOT_MOVABLE, 100 * MIB);
	guest->unmovable = false;
	/* One of which no survey says where it is: not even that it is there already. */
	strcpy(guest->unsurveyed, "denied");
	world.wish.move.to_nodes = 1 << 1;
	check_blocker(&world, REMAINDER_NOT_MOVABLE, 0);
	guest->unsurveyed[0] = '\0';
	world.wish.move.to_nodes = 1 << 2;
	/* All that is not private is there already: nothing that could move is left. */
	guest->private_bytes = 300 * MIB;
	world_check_code(&world, "");
	world.wish.move.to_nodes = 1 << 1;
	check_blocker(&world, REMAINDER_PRIVATE_MEMORY, 300 * MIB);
	guest->private_bytes = 0;
	guest->encrypted = true;
	world_check_code(&world, "");
	guest->encrypted = false;
	world.wish.move.to_nodes = 1 << 2;
	world.wish.move.cpus = true;
	world_check_code(&world, "invalid_target");
	world.wish.move.to_nodes = 1 << 2 | 1 << 0;
	world_check_code(&world, "");
	world.wish.move.to_nodes = 1 << 2;
	world.wish.move.cpus = false;
	guest->locked = true;
	world_check_code(&world, "consent_required");
	world.wish.allow = 1 << CONSENT_LOCKED_GUESTS;
	world_check_code(&world, "");
	guest->allowed_nodes = 1 << 1;
	world_check_code(&world, "invalid_target");
	guest->allowed_nodes = 0;
	world.wish.move.lazy = true;
	world_check_code(&world, "invalid_target");
	world.wish.move.lazy = false;
	guest->node_bytes[1] = 1300 * MIB;
	world_check_code(&world, "no_room");
	guest->node_bytes[1] = 100 * MIB;
	snapshot_node(world.snapshot, 2)->has_memory = false;
	world_check_code(&world, "invalid_target");
	snapshot_node(world.snapshot, 2)->has_memory = true;
	*snapshot_add_hold(world.snapshot) = (struct snapshot_hold){.drain = "other", .node = 2};
	world_check_code(&world, "target_held");
	world_done(&world);
}

/* What could not move at all is told beforehand and stands in the end, each with its own reason. */
static void what_stays_is_told_apart(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;
	struct plan *plan;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	guest->pinned_bytes = 30 * MIB;
	guest->private_bytes = 64 * MIB;
	guest->unmapped_bytes = 6 * MIB;
	world_wish_move(&world, "g1", 1 << 2);
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->blockers.count, 0);
	CHECK_INT(plan->forecast.count, 2);
	CHECK_TRUE(remainder_list_has(&plan->forecast, REMAINDER_PINNED));
	CHECK_TRUE(remainder_list_has(&plan->forecast, REMAINDER_PRIVATE_MEMORY));
	CHECK_INT(remainder_list_bytes(&plan->forecast), 94 * MIB);
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_PINNED));
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_PRIVATE_MEMORY));
	plan_free(plan);

	world_next(&world);
	record = world_record(&world, STEP_STATE_PARTIAL, 360 * MIB);
	guest->node_bytes[1] = 40 * MIB;
	world_next(&world);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_NO_ROOM, "node 1", 5 * MIB, NULL, "full");
	remainder_list_add(&record->remainder, REMAINDER_SWAPPED, "guest g1", 9 * MIB, NULL, "in swap");
	guest->swapped_bytes = 2 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	/* What no page table shows comes on top, as far as it is still so: 2 MiB of its own and 6 of the file. */
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), (40 + 64 + 8) * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_PINNED);
	CHECK_INT(world.decision.remainder.items[1].bytes, 30 * MIB);
	CHECK_INT(world.decision.remainder.items[2].code, REMAINDER_CAME_MEANWHILE);
	CHECK_INT(world.decision.remainder.items[2].bytes, 5 * MIB);

	CHECK_INT(world.decision.remainder.items[4].code, REMAINDER_SWAPPED);
	CHECK_INT(world.decision.remainder.items[4].bytes, 8 * MIB);

	/* Every resident page has come; what no page table shows has not. */
	guest->node_bytes[1] = guest->swapped_bytes = 0;
	record->remainder.items[1].bytes = 0;
	remainder_list_add(&record->remainder, REMAINDER_NOT_MAPPED, "node 1", 8 * MIB, NULL,
			   "in the file only");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_PRIVATE_MEMORY);
	CHECK_INT(world.decision.remainder.items[0].bytes, 64 * MIB);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_NOT_MAPPED);
	CHECK_INT(world.decision.remainder.items[1].bytes, 6 * MIB);
	/* Swapped out alone is a reason too. */
	guest->private_bytes = guest->unmapped_bytes = 0;
	guest->swapped_bytes = 3 * MIB;
	record->remainder.items[1].bytes = 9 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_SWAPPED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 3 * MIB);
	guest->swapped_bytes = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* What only the guest's files have is on no node that a survey knows of: a pass goes over it, or it is told. */
static void what_only_the_files_have(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	/* All that is mapped is there. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 2, 400 * MIB);
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	world_wish_move(&world, "g1", 1 << 2);
	expect_run(&world, "done");
	guest->unmapped_bytes = 8 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
	CHECK_INT(world.decision.step.kind, STEP_KIND_MOVE_PAGES);
	/* From wherever it is, and with that a node is not closed on which nothing of the guest was. */
	CHECK_INT(world.decision.step.map[0], 2);
	CHECK_INT(world.decision.step.map[1], 2);
	CHECK_INT(world.decision.step.map[2], -1);
	CHECK_INT(world.decision.step.from_nodes, 0);
	record = world_record(&world, STEP_STATE_DONE, 8 * MIB);
	/* It is in its files alone still, and where it belongs. */
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.remainder.count, 0);
	/* Some of it went: once more. None did: told. */
	record->state = STEP_STATE_PARTIAL;
	remainder_list_add(&record->remainder, REMAINDER_WORKER_DIED, "guest g1", 0, NULL, "signal 9");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
	CHECK_INT(world.decision.step.kind, STEP_KIND_MOVE_PAGES);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_WORKER_DIED, "guest g1", 0, NULL, "signal 9");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NOT_MAPPED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 8 * MIB);
	/* The pass was cut short in its files, and told what it knew: that stands, and nothing beside it. */
	remainder_list_add(&record->remainder, REMAINDER_NOT_MAPPED, "guest g1", 3 * MIB, NULL, "cut short");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 3 * MIB);
	/* A pass that came to its end has looked at them, whatever stayed busy. */
	record->remainder.count = 0;
	remainder_list_add(&record->remainder, REMAINDER_PAGE_BUSY, "node 1", 4096, NULL, "held");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);

	/* Nothing may be moved: not a word of success. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 2, 400 * MIB);
	guest->unmapped_bytes = 8 * MIB;
	guest->userfaultfd = true;
	world_wish_move(&world, "g1", 1 << 2);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 8 * MIB);
	world_done(&world);
}

/* A worker that died tells no bytes: what ended the pass is the reason of them all. */
static void what_ended_the_pass_is_the_reason(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->node_bytes[0] = 100 * MIB;
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	world_wish_move(&world, "g1", 1 << 2);
	world_next(&world);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_WORKER_DIED, "guest g1", 0, NULL, "killed");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_WORKER_DIED);
	CHECK_STR(world.decision.remainder.items[0].detail, "on node 0: killed");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 500 * MIB);
	world_done(&world);
}

static void autonuma_is_warned_of_where_it_pulls(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->backings[0].kind = BACKING_KIND_ANON;
	world_wish_move(&world, "g1", 1 << 0);
	/* Its vCPUs are where it goes: nothing pulls. */
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 0);
	guest->cpu_nodes = 3;
	world_next(&world);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_AUTONUMA_MAY_RETURN));
	world.wish.move.cpus = true;
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 0);
	world_done(&world);
}

static void check_first_touch(struct world *world, bool is_told)
{
	world_next(world);
	CHECK_INT(remainder_list_has(&world->decision.warnings, REMAINDER_POLICY_NOT_SETTABLE), is_told);
}

/* What has no policy that could be set from outside comes from where the CPU is. */
static void first_touch_is_warned_of_where_cpus_are_elsewhere(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	world_wish_move(&world, "g1", 1 << 2);
	check_first_touch(&world, false);
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	snapshot_node(world.snapshot, 2)->pools[0].total = snapshot_node(world.snapshot, 2)->pools[0].free = 200;
	check_first_touch(&world, true);
	CHECK_TRUE(strstr(world.decision.warnings.items[0].detail, "what it touches first lands where its CPUs run"));
	world.wish.move.cpus = true;
	check_first_touch(&world, false);
	world.wish.move.cpus = false;
	guest->cpu_nodes = 1 << 2;
	check_first_touch(&world, false);
	guest->cpu_nodes = 1;
	/* Shut into where it goes, and widened for the move from where it was. */
	guest->cpuset_mems = 1 << 1;
	check_first_touch(&world, false);
	guest->cpuset_mems = 3;
	check_first_touch(&world, true);
	guest->cpuset_mems = 0;
	/* Of anonymous memory AutoNUMA is the one to speak of, where it is on. */
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_ANON, 4096, 100 * MIB, 0};
	check_first_touch(&world, false);
	world.snapshot->numa_balancing_off = true;
	check_first_touch(&world, true);
	CHECK_TRUE(!remainder_list_has(&world.decision.warnings, REMAINDER_AUTONUMA_MAY_RETURN));
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 2;
	check_first_touch(&world, false);
	world_done(&world);
}

/* Two cells of 100 and 50 MiB, bound to nodes 0 and 1, and a cpuset of both. */
static struct snapshot_guest *two_cells(struct world *world, enum backing_kind kind)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	guest->resident_bytes = 150 * MIB;
	guest->cell_count = 2;
	guest->cells[1].id = 1;
	guest->backing_count = 2;
	guest->backings[0] =
		(struct snapshot_backing){kind, 4096, 100 * MIB, 0, POLICY_MODE_BIND, 1 << 0};
	guest->backings[1] =
		(struct snapshot_backing){kind, 4096, 50 * MIB, 1, POLICY_MODE_BIND, 1 << 1};
	guest->policy_mode = POLICY_MODE_MIXED;
	guest->policy_nodes = guest->cpuset_mems = 3;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->numatune_nodes = guest->stored_numatune_nodes = 3;
	guest->persistent = true;
	return guest;
}

static void check_cells(const struct snapshot_guest *guest, uint64_t first, uint64_t second)
{
	CHECK_INT(guest->policy_mode, POLICY_MODE_MIXED);
	CHECK_INT(guest->backings[0].policy_nodes, first);
	CHECK_INT(guest->backings[1].policy_nodes, second);
}

static void each_cell_keeps_its_own_node(void)
{
	static const struct {
		enum backing_kind kind;
		bool has_own_policy;
	} rows[] = {{BACKING_KIND_MEMFD, false}, {BACKING_KIND_ANON, true}, {BACKING_KIND_FILE, true}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool shared = !rows[i].has_own_policy;
		struct world world;
		struct snapshot_guest *guest = two_cells(&world, rows[i].kind);

		guest->backings[0].has_own_policy = guest->backings[1].has_own_policy = rows[i].has_own_policy;
		world_wish_map(&world, "g1", 0, 2);
		world.wish.move.map[1] = 3;
		world.wish.move.persist = true;
		world_check_code(&world, "");
		/* Anonymous memory, and a file on a disk, follow the cpuset, by position: here that is what is wished. */
		expect_run(&world, shared ? "cpuset memory_policy move memory_policy cpuset persist done"
					  : "cpuset move cpuset persist done");
		CHECK_INT(world.history[0].step.nodes, 15);
		CHECK_INT(world.history[world.history_count - 2].step.nodes, 12);
		check_cells(guest, 1 << 2, 1 << 3);
		CHECK_INT(guest->cpuset_mems, 12);
		if (shared) {
			CHECK_INT(world.history[1].step.mode, POLICY_MODE_MIXED);
			CHECK_TRUE(world.history[1].step.by_map);
			CHECK_INT(world.history[1].step.map[1], 3);
			/* Each part has its nodes by then: mapped once more they would be others. */
			CHECK_TRUE(world.history[3].step.by_map && world.history[3].step.map[1] < 0);
		}
		/* Each cell's own set in the stored XML goes its own way, too. */
		CHECK_TRUE(world.history[world.history_count - 1].step.by_map);
		CHECK_INT(world.history[world.history_count - 1].step.map[0], 2);
		CHECK_INT(world.history[world.history_count - 1].step.map[1], 3);
		world_done(&world);
	}
}

/* A guest that ends has no page left anywhere: that is no success of a move that was in its middle. */
static void one_that_ended_has_not_moved(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	world_wish_move(&world, "g1", 1 << 2);
	world_next(&world);
	record = world_record(&world, STEP_STATE_PARTIAL, 100 * MIB);
	guest->state = GUEST_STATE_SHUT_OFF;
	memset(guest->node_bytes, 0, sizeof(guest->node_bytes));
	guest->resident_bytes = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_GONE);
	/* All of it had come before it ended. */
	record->state = STEP_STATE_DONE;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* Huge pages of one cell beside small ones of both: where no cpuset changes nothing rebinds them. */
static void what_stays_bound_is_told(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_MEMFD);

	guest->backing_count = 3;
	guest->backings[2] =
		(struct snapshot_backing){BACKING_KIND_HUGETLB, 2 * MIB, 0, 1, POLICY_MODE_BIND, 1 << 1};
	guest->numatune_mode = NUMATUNE_MODE_NONE;
	guest->cpuset_mems = 15;
	world_wish_map(&world, "g1", 0, 2);
	world_next(&world);
	CHECK_TRUE(!remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_NOT_SETTABLE));
	world.wish.move.map[1] = 3;
	world_next(&world);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_NOT_SETTABLE));
	guest->cpuset_mems = 3;
	world_next(&world);
	CHECK_TRUE(!remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_NOT_SETTABLE));
	world_done(&world);
}

static void check_remote(struct world *world, const char *detail)
{
	const struct remainder_list *warnings = &world->decision.warnings;
	const char *found = "";

	world_next(world);
	for (size_t i = 0; i < warnings->count; i++)
		if (warnings->items[i].code == REMAINDER_REMOTE_MEMORY)
			found = warnings->items[i].detail;
	CHECK_STR(found, detail);
}

/* Who names the destination is not asked for a consent, but told. */
static void memory_that_goes_farther_is_warned_of(void)
{
	static const char far[] = "its vCPUs are pinned and stay: memory that was at distance 10 from them will be at 20";
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->cpu_nodes = 1 << 1;
	world_wish_move(&world, "g1", 1 << 2);
	check_remote(&world, "");
	guest->cpus_pinned = true;
	world_check_code(&world, "");
	check_remote(&world, far);
	world.wish.move.cpus = true;
	check_remote(&world, "");
	world.wish.move.cpus = false;
	world.wish.allow = 1 << CONSENT_REMOTE_MEMORY;
	check_remote(&world, "");
	world.wish.allow = 0;
	/* As far as it was, and nearer. */
	guest->cpu_nodes = 1 << 0;
	check_remote(&world, "");
	guest->cpu_nodes = 1 << 2;
	check_remote(&world, "");
	/* Told to the end, when nothing lies where it was. */
	guest->cpu_nodes = 1 << 1;
	expect_run(&world, "memory_policy move done");
	check_remote(&world, far);
	world_done(&world);

	/* By map: the one that stays near says nothing of the one that leaves. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->node_bytes[0] = 50 * MIB;
	guest->cpu_nodes = 3;
	guest->cpus_pinned = true;
	world_wish_map(&world, "g1", 0, 1);
	check_remote(&world, "");
	world.wish.move.map[1] = 2;
	check_remote(&world, far);
	world_done(&world);

	guest = two_cells(&world, BACKING_KIND_MEMFD);
	guest->cpus_pinned = true;
	guest->cpu_nodes = 3;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 1;
	world.wish.move.cells[1] = 0;
	check_remote(&world, "");
	world.wish.move.cells[1] = 3;
	check_remote(&world, "its vCPUs are pinned and stay: memory that was at distance 10 from them will be at 12");
	world_done(&world);
}

/* From 0-2 to 1-2 cell 0 would become bind:1 and cell 1 bind:2, pages and all. */
static void by_position_is_seen_for_each_cell(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_ANON);

	world_wish_map(&world, "g1", 0, 2);
	world_check_code(&world, "");
	expect_run(&world, "cpuset move done");
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_WOULD_SHIFT));
	CHECK_INT(guest->cpuset_mems, 7);
	check_cells(guest, 1 << 0, 1 << 1);
	world_done(&world);

	/* Of shared memory nothing is rewritten. */
	guest = two_cells(&world, BACKING_KIND_MEMFD);
	world_wish_map(&world, "g1", 0, 2);
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset done");
	CHECK_INT(guest->cpuset_mems, 6);
	check_cells(guest, 1 << 2, 1 << 1);
	world_done(&world);

	/* One cell of each kind: only the anonymous one is in danger. */
	guest = two_cells(&world, BACKING_KIND_MEMFD);
	guest->backings[1].kind = BACKING_KIND_ANON;
	world_wish_map(&world, "g1", 0, 2);
	expect_run(&world, "cpuset memory_policy move memory_policy done");
	CHECK_INT(guest->cpuset_mems, 7);
	check_cells(guest, 1 << 2, 1 << 1);
	world_done(&world);
}

static void a_widening_that_rewrites_a_cell_asks(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_ANON);

	/* On 1 and 3; with 0 before them 1 becomes 0, and 3 becomes 1. */
	guest->node_bytes[3] = guest->node_bytes[0];
	guest->node_bytes[0] = 0;
	guest->backings[0].policy_nodes = 1 << 3;
	guest->policy_nodes = guest->cpuset_mems = 1 << 1 | 1 << 3;
	world_wish_map(&world, "g1", 3, 0);
	world_check_code(&world, "policy_would_shift");
	/* The union of both is what is wished after all: each cell by itself is not. */
	world_wish_map(&world, "g1", 1, 0);
	world.wish.move.map[3] = 0;
	world_check_code(&world, "policy_would_shift");
	world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
	world_check_code(&world, "");
	world_done(&world);
}

/* Two cells that the kernel rebinds, on nodes 1 and 3, and a caller who lets it rebind them to what nobody named. */
static struct snapshot_guest *two_cells_to_shift(struct world *world)
{
	struct snapshot_guest *guest = two_cells(world, BACKING_KIND_ANON);

	guest->node_bytes[3] = guest->node_bytes[1];
	guest->node_bytes[1] = guest->node_bytes[0];
	guest->node_bytes[0] = 0;
	guest->backings[0].policy_nodes = 1 << 1;
	guest->backings[1].policy_nodes = 1 << 3;
	guest->policy_nodes = guest->cpuset_mems = 1 << 1 | 1 << 3;
	return guest;
}

static void what_the_widening_shifted_the_narrowing_puts_right(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells_to_shift(&world);

	/* 1 and 3 become 0 and 1 by the widening; of 0, 1 and 3 the second is 3 when 1 has gone. */
	world_wish_map(&world, "g1", 1, 0);
	world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
	expect_run(&world, "cpuset move cpuset done");
	CHECK_INT(world.history[0].step.from_nodes, 1 << 1 | 1 << 3);
	CHECK_INT(guest->cpuset_mems, 1 << 0 | 1 << 3);
	check_cells(guest, 1 << 0, 1 << 3);
	CHECK_TRUE(!remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_WOULD_SHIFT));
	world_done(&world);

	/* Each to a node of its own. */
	guest = two_cells_to_shift(&world);
	world_wish_move(&world, "g1", 1 << 0 | 1 << 2);
	world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
	expect_run(&world, "cpuset move cpuset done");
	CHECK_INT(guest->cpuset_mems, 1 << 0 | 1 << 2);
	check_cells(guest, 1 << 0, 1 << 2);
	world_done(&world);
}

static void what_no_narrowing_can_put_right_stays_wide(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells_to_shift(&world);

	/* A device that came after the widening, bound to 3: of 0 and 3 it would get 0. */
	world_wish_map(&world, "g1", 1, 0);
	world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
	world_next(&world);
	world_perform(&world);
	guest->backings[guest->backing_count++] =
		(struct snapshot_backing){BACKING_KIND_ANON, 4096, 0, 1, POLICY_MODE_BIND, 1 << 3};
	expect_run(&world, "move done");
	CHECK_INT(guest->cpuset_mems, 1 << 0 | 1 << 1 | 1 << 3);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_WOULD_SHIFT));
	world_done(&world);

	/* Somebody else has changed the cpuset since: what was where before is not known any more. */
	guest = two_cells_to_shift(&world);
	world_wish_map(&world, "g1", 1, 0);
	world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
	world_next(&world);
	world_perform(&world);
	guest->cpuset_mems = 15;
	expect_run(&world, "move done");
	CHECK_INT(guest->cpuset_mems, 15);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_POLICY_WOULD_SHIFT));
	world_done(&world);
}

/* What is stored must say which cell is where, also where the nodes are the same together. */
static void what_is_stored_follows_the_cells(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_MEMFD);

	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 1;
	world.wish.move.cells[1] = 0;
	world.wish.move.persist = true;
	expect_run(&world, "memory_policy move memory_policy persist done");
	check_cells(guest, 1 << 1, 1 << 0);
	CHECK_INT(guest->stored_numatune_nodes, 3);
	world_done(&world);

	guest = two_cells(&world, BACKING_KIND_MEMFD);
	world_wish_map(&world, "g1", 0, 1);
	world.wish.move.map[1] = 0;
	world.wish.move.persist = true;
	expect_run(&world, "memory_policy move memory_policy persist done");
	check_cells(guest, 1 << 1, 1 << 0);
	CHECK_TRUE(world.history[3].step.by_map);
	world_done(&world);

	/* One moves, the other stays where it is stored. */
	guest = two_cells(&world, BACKING_KIND_MEMFD);
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 2;
	world.wish.move.persist = true;
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset persist done");
	CHECK_INT(world.history[5].step.nodes, 1 << 2);
	CHECK_INT(guest->stored_numatune_nodes, 7);
	world_done(&world);
}

static void cells_are_named_by_cell(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_MEMFD);

	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 2;
	world.wish.move.cells[1] = 3;
	world.wish.move.persist = true;
	world_check_code(&world, "");
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset persist done");
	CHECK_TRUE(world.history[1].step.by_cells && world.history[2].step.by_cells);
	CHECK_INT(world.history[2].step.from_nodes, 3);
	check_cells(guest, 1 << 2, 1 << 3);
	CHECK_INT(guest->cpuset_mems, 12);
	CHECK_TRUE(world.history[5].step.by_cells);
	CHECK_INT(world.history[5].step.cells[1], 3);
	world_done(&world);

	/* Both to one node: cells do not matter, and every page must go. */
	guest = two_cells(&world, BACKING_KIND_MEMFD);
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = world.wish.move.cells[1] = 2;
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset done");
	CHECK_INT(guest->node_bytes[2], 150 * MIB);
	CHECK_INT(guest->backings[1].policy_nodes, 1 << 2);
	world_done(&world);
}

/* Of cells that are not of one size the small one fits where the large one does not. */
static void room_is_asked_for_by_cell(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_MEMFD);

	guest->node_bytes[0] = guest->backings[0].bytes = 900 * MIB;
	guest->node_bytes[1] = guest->backings[1].bytes = 100 * MIB;
	guest->resident_bytes = 1000 * MIB;
	snapshot_node(world.snapshot, 3)->free_bytes = 400 * MIB;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 2;
	world.wish.move.cells[1] = 3;
	world_check_code(&world, "");
	world.wish.move.cells[0] = 3;
	world.wish.move.cells[1] = 2;
	world_check_code(&world, "no_room");
	world_done(&world);

	/* A part that is in no cell would stay where it is. */
	guest = two_cells(&world, BACKING_KIND_MEMFD);
	guest->backings[guest->backing_count++] = (struct snapshot_backing){BACKING_KIND_FILE, 4096, 3 * MIB, -1};
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_CELLS;
	world.wish.move.cells[0] = 2;
	world.wish.move.cells[1] = 3;
	world_check_code(&world, "invalid_target");
	world_done(&world);
}

/* A cell whose policy could not be set would find no page outside of where it is bound. */
static void nobody_is_shut_out_of_where_he_is_bound(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_MEMFD);

	world_wish_move(&world, "g1", 1 << 2);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	world_record(&world, STEP_STATE_PARTIAL, 100 * MIB);
	guest->backings[0].policy_nodes = 1 << 2;
	guest->policy_nodes = 1 << 2 | 1 << 1;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	CHECK_INT(world.decision.step.nodes, 1 << 2 | 1 << 1);
	world_done(&world);
}

/* A cell that has touched nothing yet is bound to where it would: that must go along. */
static void an_untouched_cell_goes_along(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world, BACKING_KIND_MEMFD);

	guest->node_bytes[1] = 0;
	guest->backings[1].bytes = 0;
	world_wish_move(&world, "g1", 1 << 2);
	world.wish.move.persist = true;
	expect_run(&world, "cpuset memory_policy move memory_policy cpuset persist done");
	CHECK_INT(guest->backings[1].policy_nodes, 1 << 2);
	CHECK_INT(guest->policy_nodes, 1 << 2);
	CHECK_INT(world.history[5].step.map[0], 2);
	CHECK_INT(world.history[5].step.map[1], 2);
	world_done(&world);
}

static void overlapping_maps_go_by_the_movers_word(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct step_record *record;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 6;
	world_wish_map(&world, "g1", 0, 1);
	world.wish.move.map[1] = 2;
	world_check_code(&world, "");
	expect_run(&world, "move done");
	CHECK_INT(guest->node_bytes[0], 0);
	CHECK_INT(guest->node_bytes[1], 100 * MIB);
	CHECK_INT(guest->node_bytes[2], 50 * MIB);
	world_done(&world);

	/* What it could not move it must tell: where pages lie says nothing here. */
	world_init(&world);
	guest = world_add_guest(&world, "g1", 0, 100 * MIB);
	guest->node_bytes[1] = 50 * MIB;
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 6;
	world_wish_map(&world, "g1", 0, 1);
	world.wish.move.map[1] = 2;
	world_next(&world);
	record = world_record(&world, STEP_STATE_PARTIAL, 143 * MIB);
	remainder_list_add(&record->remainder, REMAINDER_NO_ROOM, "node 1", 7 * MIB, NULL, "full");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 7 * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	world_done(&world);
}

static void near_its_cpus_already_is_done(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct plan *plan;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 100 * MIB);
	guest->cpu_nodes = 3;
	world_wish_move(&world, "g1", 0);
	world.wish.move.form = MOVE_FORM_NEAR_CPUS;
	plan = plan_dry_run(&world.input);
	CHECK_TRUE(plan->already_done);
	plan_free(plan);
	/* Bound elsewhere it is not: its next pages would land there. */
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 3;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 1);
	CHECK_INT(plan->steps[0].kind, STEP_KIND_MEMORY_POLICY);
	plan_free(plan);
	/* Its CPUs were moved to a node without memory. */
	snapshot_node(world.snapshot, 0)->has_memory = false;
	guest->cpu_nodes = 1 << 0;
	world_check_code(&world, "invalid_target");
	world_done(&world);
}

static void transparent_huge_pages_are_not_split_unasked(void)
{
	struct world world;
	struct snapshot_guest *guest;
	struct snapshot_node *node;
	struct remainder_list blockers;
	struct failure failure;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 400 * MIB);
	guest->transparent_huge_bytes = 300 * MIB;
	node = snapshot_node(world.snapshot, 2);
	world_wish_move(&world, "g1", 1 << 2);
	world_check_code(&world, "");
	node->fragmented_bytes = node->free_bytes - 300 * MIB;
	world_check_code(&world, "");
	node->fragmented_bytes += 40 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "consent_required");
	CHECK_INT(blockers.items[0].code, REMAINDER_WOULD_SPLIT);
	CHECK_INT(blockers.items[0].consent, CONSENT_SPLIT_HUGE_PAGES);
	CHECK_INT(blockers.items[0].bytes, 40 * MIB);
	world.wish.allow = 1 << CONSENT_SPLIT_HUGE_PAGES;
	world_check_code(&world, "");
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"a guest without kernel memory is warned about", a_guest_without_kernel_memory_is_warned_about},
	{"a guest that migrates is not narrowed", a_guest_that_migrates_is_not_narrowed},
	{"each cell keeps its own node", each_cell_keeps_its_own_node},
	{"what stays bound is told", what_stays_bound_is_told},
	{"one that ended has not moved", one_that_ended_has_not_moved},
	{"by position is seen for each cell", by_position_is_seen_for_each_cell},
	{"a widening that rewrites a cell asks", a_widening_that_rewrites_a_cell_asks},
	{"what is stored follows the cells", what_is_stored_follows_the_cells},
	{"cells are named by cell", cells_are_named_by_cell},
	{"an untouched cell goes along", an_untouched_cell_goes_along},
	{"room is asked for by cell", room_is_asked_for_by_cell},
	{"nobody is shut out of where he is bound", nobody_is_shut_out_of_where_he_is_bound},
	{"overlapping maps go by the mover's word", overlapping_maps_go_by_the_movers_word},
	{"near its CPUs already is done", near_its_cpus_already_is_done},
	{"transparent huge pages are not split unasked",
	 transparent_huge_pages_are_not_split_unasked},
	{"what stays is told apart", what_stays_is_told_apart},
	{"what ended the pass is the reason", what_ended_the_pass_is_the_reason},
	{"what only the files have", what_only_the_files_have},
	{"AutoNUMA is warned of where it pulls", autonuma_is_warned_of_where_it_pulls},
	{"first touch is warned of where CPUs are elsewhere", first_touch_is_warned_of_where_cpus_are_elsewhere},
	{"a strict memfd guest", a_strict_memfd_guest},
	{"an unbound memfd guest becomes preferred", an_unbound_memfd_guest_becomes_preferred},
	{"anonymous memory is warned about", anonymous_memory_is_warned_about},
	{"an anonymous strict guest follows the remap",
	 an_anonymous_strict_guest_follows_the_remap},
	{"a shift needs consent", a_shift_needs_consent},
	{"what the widening shifted the narrowing puts right", what_the_widening_shifted_the_narrowing_puts_right},
	{"what no narrowing can put right stays wide", what_no_narrowing_can_put_right_stays_wide},
	{"huge pages need room and leave none", huge_pages_need_room_and_leave_none},
	{"passes go on as long as they gain", passes_go_on_as_long_as_they_gain},
	{"what was apart stays apart", what_was_apart_stays_apart},
	{"three into two go by distance and room", three_into_two_go_by_distance_and_room},
	{"a swap of nodes is one pass", a_swap_of_nodes_is_one_pass},
	{"cells go by the mover's word", cells_go_by_the_movers_word},
	{"memory follows its CPUs", memory_follows_its_cpus},
	{"a restrictive guest is told to libvirt", a_restrictive_guest_is_told_to_libvirt},
	{"what belongs to the wish and failed is told", what_belongs_to_the_wish_and_failed_is_told},
	{"memory that goes farther is warned of", memory_that_goes_farther_is_warned_of},
	{"a stored description without nodes", a_stored_description_without_nodes},
	{"time is the reason of what was not tried", time_is_the_reason_of_what_was_not_tried},
	{"nobody is bound to a full node", nobody_is_bound_to_a_full_node},
	{"what an earlier move left loose is bound", what_an_earlier_move_left_loose_is_bound},
	{"what is plugged meanwhile goes along", what_is_plugged_meanwhile_goes_along},
	{"what an earlier move left wide is narrowed", what_an_earlier_move_left_wide_is_narrowed},
	{"a cpuset that cannot change is told", a_cpuset_that_cannot_change_is_told},
	{"what the slice does not leave is refused", what_the_slice_does_not_leave_is_refused},
	{"what cannot move is refused", what_cannot_move_is_refused},
};

int main(void)
{
	return unit_main("move_next", cases, sizeof(cases) / sizeof(cases[0]));
}
