/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "drain_part.h"
#include "plan_world.h"
#include "unit.h"

/* Drains of one DIMM of two on a node: what lies in it leaves for a while. */

#define TARGET "acpi-MP00"
#define STAYS  "acpi-MP01"

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

/* A memfd guest on node 3, bound to it and shut in, with so much in each of the DIMMs. */
static struct snapshot_guest *add_guest(struct world *world, const char *name, uint64_t target_bytes,
					uint64_t stays_bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, name, 3, target_bytes + stays_bytes);

	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 3;
	guest->dimms_told = true;
	guest->dimm_count = 2;
	strcpy(guest->dimm_bytes[0].id, TARGET);
	guest->dimm_bytes[0].bytes = target_bytes;
	strcpy(guest->dimm_bytes[1].id, STAYS);
	guest->dimm_bytes[1].bytes = stays_bytes;
	return guest;
}

/* 200 MiB of 300 are in the DIMM that goes. */
static struct snapshot_guest *begin(struct world *world, enum drain_finish finish)
{
	world_init(world);
	world_add_second_dimm(world);
	world_wish_drain_dimm(world, finish);
	return add_guest(world, "db1", 200 * MIB, 100 * MIB);
}

static void only_what_lies_in_it_leaves_and_comes_home(void)
{
	const struct step *away, *undo;
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, DRAIN_FINISH_EJECT);
	add_guest(&world, "other", 0, 50 * MIB);
	guest = snapshot_guest(world.snapshot, "db1");
	guest->persistent = true;
	guest->stored_numatune_nodes = 1 << 3;
	world.wish.drain_wish.persist = true;
	world_check_code(&world, "");
	expect_run(&world, "cordon move offline undo eject done");
	away = &world.history[1].step;
	CHECK_INT(away->bytes, 200 * MIB);
	CHECK_INT(away->child->move.map[3], 1);
	CHECK_INT(away->child->move.range_count, 1);
	CHECK_INT(away->child->move.ranges[0].start, 6 * GIB);
	CHECK_INT(away->child->move.ranges[0].end, 7 * GIB);
	CHECK_TRUE(!away->child->move.persist);
	undo = &world.history[3].step;
	CHECK_STR(undo->text, "home");
	CHECK_INT(undo->undo_n, world.history[1].n);
	CHECK_STR(undo->undo_operation, "");
	CHECK_STR(undo->guest, guest->uuid);
	CHECK_INT(undo->bytes, 200 * MIB);
	CHECK_INT(undo->nodes, 1 << 3);
	CHECK_INT(guest->node_bytes[3], 300 * MIB);
	CHECK_INT(guest->policy_nodes, 1 << 3);
	CHECK_INT(guest->stored_numatune_nodes, 1 << 3);
	CHECK_INT(world.decision.warnings.count, 0);
	world_done(&world);
}

/* It copies as much as the way out. */
static void the_way_home_takes_its_time(void)
{
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	world.snapshot->rates.of[RATE_KIND_MOVE] = (struct measured_rate){.amount = 100 * MIB, .ms = 1000};
	world.snapshot->rates.of[RATE_KIND_CHILD] = (struct measured_rate){.amount = RATE_EACH, .ms = 300};
	world.snapshot->rates.of[RATE_KIND_STEP] = (struct measured_rate){.amount = RATE_EACH, .ms = 700};
	CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);

	CHECK_INT(plan->step_count, 4);
	CHECK_INT(plan->steps[1].kind, STEP_KIND_CHILD);
	CHECK_INT(plan->costs[1].ms, 700 + 300 + 2000);
	CHECK_INT(plan->steps[3].kind, STEP_KIND_UNDO);
	CHECK_INT(plan->costs[3].ms, 700 + 300 + 2000);
	world_done(&world);
}

static void two_cells(struct snapshot_guest *guest)
{
	guest->cell_count = guest->backing_count = 2;
	guest->cells[1].id = 1;
	guest->backings[1] = guest->backings[0];
	guest->backings[1].cell = 1;
	for (int i = 0; i < 2; i++) {
		guest->backings[i].policy_mode = i ? POLICY_MODE_PREFERRED : POLICY_MODE_BIND;
		guest->backings[i].policy_nodes = 1 << 3;
	}
}

/* Whatever its policy is, and what it had where it goes to stays there. */
static void it_comes_home_by_any_policy(void)
{
	static const enum policy_mode modes[] = {POLICY_MODE_DEFAULT, POLICY_MODE_PREFERRED, POLICY_MODE_BIND,
						 POLICY_MODE_INTERLEAVE, POLICY_MODE_MIXED};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct snapshot_guest *guest;
		struct world world;

		guest = begin(&world, DRAIN_FINISH_OFFLINE);
		guest->policy_mode = modes[i];
		guest->policy_nodes = modes[i] == POLICY_MODE_DEFAULT ? 0 : 1 << 3;
		if (modes[i] != POLICY_MODE_BIND)
			guest->cpuset_mems = 0;
		if (modes[i] == POLICY_MODE_MIXED)
			two_cells(guest);
		guest->node_bytes[1] = 60 * MIB;
		world_check_code(&world, "");
		expect_run(&world, "cordon move offline undo done");
		CHECK_INT(world.history[1].step.bytes, 200 * MIB);
		CHECK_INT(guest->policy_mode, modes[i]);
		CHECK_INT(guest->policy_nodes, modes[i] == POLICY_MODE_DEFAULT ? 0 : 1 << 3);
		CHECK_INT(guest->node_bytes[1], 60 * MIB);
		CHECK_INT(guest->node_bytes[3], 300 * MIB);
		CHECK_INT(world.decision.warnings.count, 0);
		world_done(&world);
	}
}

/* Elsewhere there must be room for that, and not for all of the guest. */
static void room_is_needed_for_that_alone(void)
{
	struct remainder_list blockers;
	struct snapshot_guest *guest;
	struct failure failure;
	struct world world;

	for (uint64_t in_target = 100; in_target <= 300; in_target += 200) {
		world_init(&world);
		world_add_second_dimm(&world);
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		guest = add_guest(&world, "db1", in_target * MIB, 400 * MIB);
		guest->allowed_nodes = 1 << 1 | 1 << 3;
		/* 200 MiB beyond the reserve. */
		snapshot_node(world.snapshot, 1)->free_bytes = world_share(&world, 1, 0) + 200 * MIB;
		plan_check(&world.input, &blockers, &failure);
		CHECK_INT(blockers.count, in_target > 200);
		if (in_target > 200)
			CHECK_INT(blockers.items[0].bytes, in_target * MIB);
		else
			expect_run(&world, "cordon move offline undo done");
		world_done(&world);
	}
}

/* What goes with all that it has on the node, because it is not to be taken apart. */
static void who_does_not_keep_the_node_leaves_it(void)
{
	enum cause { WHOLE, NOT_TOLD, LOOSE, PART_OF_A_DIMM, OTHER_DRAIN, FORBIDDEN, REWRITTEN, TIGHT, CAUSES };
	struct snapshot_guest *guest;
	struct snapshot_hold *hold;
	struct drain_scope scope;
	struct world world;

	for (int cause = -1; cause < CAUSES; cause++) {
		guest = begin(&world, DRAIN_FINISH_OFFLINE);
		switch (cause) {
		case WHOLE:
			for (uint64_t id = 56; id < 64; id++)
				snapshot_block(world.snapshot, id)->state = BLOCK_STATE_OFFLINE;
			break;
		case NOT_TOLD:
			guest->dimms_told = false;
			break;
		case LOOSE:
		case PART_OF_A_DIMM:
			world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
			world.wish.drain_wish.range = (struct snapshot_range){6 * GIB, 7 * GIB - WORLD_BLOCK};
			if (cause == LOOSE) {
				world.snapshot->dimms[0].ranges[0].end -= 2 * WORLD_BLOCK;
				guest->dimm_bytes[1].bytes = 0;
			}
			break;
		case OTHER_DRAIN:
			hold = snapshot_add_hold(world.snapshot);
			strcpy(hold->drain, "d2");
			hold->node = -1;
			hold->range_count = 1;
			hold->ranges[0] = (struct snapshot_range){7 * GIB, 8 * GIB};
			break;
		case FORBIDDEN:
			guest->allowed_nodes = 1 << 1;
			break;
		case REWRITTEN:
			guest->backings[0].kind = BACKING_KIND_ANON;
			break;
		case TIGHT:
			/* Its reserve and 1023 MiB are free: beside the other DIMM's 1024 there is no room for all of it. */
			snapshot_node(world.snapshot, 3)->free_bytes = world_share(&world, 3, 0) + 1023 * MIB;
			break;
		default:
			break;
		}
		drain_scope_find(&world.input, &scope);
		CHECK_INT(drain_part_keeps(&world.input, &scope, guest), cause < 0);
		if (cause == TIGHT) {
			/* One that may have memory elsewhere finds some. */
			guest->policy_mode = POLICY_MODE_PREFERRED;
			guest->cpuset_mems = 0;
			CHECK_TRUE(drain_part_keeps(&world.input, &scope, guest));
		}
		world_done(&world);
	}
}

/*
 * Holds of others, by what they hold of its node: nothing is brought home to what another holds. Where nothing is, a mere
 * cordon does not send anybody away from his node.
 */
static void who_keeps_the_node_beside_holds(void)
{
	static const struct {
		enum drain_finish finish;
		enum snapshot_hold_work work;
		bool is_target, keeps; /* or all of the node */
	} rows[] = {
		{DRAIN_FINISH_OFFLINE, SNAPSHOT_HOLD_CORDONS, true, true},
		{DRAIN_FINISH_OFFLINE, SNAPSHOT_HOLD_STOPPED, true, true},
		{DRAIN_FINISH_OFFLINE, SNAPSHOT_HOLD_CORDONS, false, false},
		{DRAIN_FINISH_OFFLINE, SNAPSHOT_HOLD_STOPPED, false, false},
		{DRAIN_FINISH_EMPTY, SNAPSHOT_HOLD_CORDONS, true, true},
		{DRAIN_FINISH_EMPTY, SNAPSHOT_HOLD_CORDONS, false, true},
		{DRAIN_FINISH_EMPTY, SNAPSHOT_HOLD_ANNOUNCED, false, true},
		{DRAIN_FINISH_EMPTY, SNAPSHOT_HOLD_EMPTIES, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct snapshot_guest *guest;
		struct snapshot_hold *hold;
		struct drain_scope scope;
		struct world world;

		guest = begin(&world, rows[i].finish);
		hold = snapshot_add_hold(world.snapshot);
		*hold = (struct snapshot_hold){
			.drain = "d2", .work = rows[i].work, .node = rows[i].is_target ? -1 : 3, .range_count = 1};
		hold->ranges[0] = (struct snapshot_range){6 * GIB, rows[i].is_target ? 7 * GIB : 8 * GIB};
		drain_scope_find(&world.input, &scope);
		CHECK_INT(drain_part_keeps(&world.input, &scope, guest), rows[i].keeps);
		world_done(&world);
	}
}

/* Its memory stays online and would come back there: so it is not brought home. The undrain does. */
static void what_is_emptied_stays_away(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world, DRAIN_FINISH_EMPTY);
	/* No room for all of it beside the target, which it keeps. */
	snapshot_node(world.snapshot, 3)->free_bytes = world_share(&world, 3, 0) + 100 * MIB;
	world_check_code(&world, "");
	expect_run(&world, "cordon move done");
	CHECK_INT(world.history[1].step.bytes, 200 * MIB);
	CHECK_INT(world.history[1].step.range_count, 1);
	CHECK_INT(guest->node_bytes[1], 200 * MIB);
	CHECK_INT(guest->node_bytes[3], 100 * MIB);
	CHECK_INT(guest->policy_nodes, 1 << 3);
	world_done(&world);
}

/* ---- ranges, told by a survey that was asked about them ---- */

static struct snapshot_guest_dimm *tell_piece(struct snapshot_guest *guest, const char *id, struct snapshot_range range,
					      uint64_t bytes)
{
	struct snapshot_guest_dimm *piece = &guest->dimm_bytes[guest->dimm_count++];

	snprintf(piece->id, sizeof(piece->id), "%s", id);
	piece->range = range;
	piece->node = 3;
	piece->bytes = bytes;
	return piece;
}

/* Two blocks of the first DIMM, in which are 50 MiB; 150 are in the rest of it, and 100 in the other one. */
static struct snapshot_guest *begin_range(struct world *world, enum drain_finish finish)
{
	static const struct snapshot_range range = {6 * GIB + WORLD_BLOCK, 6 * GIB + 3 * WORLD_BLOCK};
	struct snapshot_guest *guest = begin(world, finish);

	world->wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world->wish.drain_wish.range = range;
	guest->dimm_bytes[0].bytes = 150 * MIB;
	tell_piece(guest, TARGET, range, 50 * MIB);
	return guest;
}

static void of_a_range_only_that_leaves(void)
{
	struct snapshot_guest *guest;
	struct world world;

	for (int finish = DRAIN_FINISH_EMPTY; finish <= DRAIN_FINISH_OFFLINE; finish++) {
		bool comes_home = finish == DRAIN_FINISH_OFFLINE;

		guest = begin_range(&world, (enum drain_finish)finish);
		world_check_code(&world, "");
		CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);

		CHECK_INT(plan->warnings.count, 0);
		CHECK_INT(plan->needs_bytes[1], 50 * MIB);
		expect_run(&world, comes_home ? "cordon move offline undo done" : "cordon move done");
		CHECK_INT(world.history[1].step.bytes, 50 * MIB);
		CHECK_INT(world.history[1].step.child->move.range_count, 1);
		CHECK_INT(world.history[1].step.child->move.ranges[0].start, 6 * GIB + WORLD_BLOCK);
		CHECK_INT(guest->node_bytes[3], comes_home ? 300 * MIB : 250 * MIB);
		CHECK_INT(guest->dimm_bytes[0].bytes, 150 * MIB);
		CHECK_INT(guest->dimm_bytes[2].bytes, 0);
		world_done(&world);
	}
}

static void who_has_nothing_in_a_range_stays(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin_range(&world, DRAIN_FINISH_OFFLINE);
	guest->dimm_bytes[2].bytes = 0;
	guest->node_bytes[3] -= 50 * MIB;
	expect_run(&world, "cordon offline done");
	world_done(&world);
}

/* Of memory in no DIMM likewise; and of a range that was cut by another one, by both pieces. */
static void pieces_make_up_a_range(void)
{
	struct snapshot_guest *guest;
	struct drain_scope scope;
	struct world world;

	for (int in_dimm = 0; in_dimm < 2; in_dimm++) {
		guest = begin_range(&world, DRAIN_FINISH_OFFLINE);
		if (!in_dimm) {
			world.snapshot->dimms[0].ranges[0].start = 6 * GIB + 4 * WORLD_BLOCK;
			guest->dimm_bytes[2].id[0] = '\0';
		}
		guest->dimm_bytes[2].range.end -= WORLD_BLOCK;
		drain_scope_find(&world.input, &scope);
		/* In the other block there may be as much as fits. */
		CHECK_TRUE(!drain_scope_is_exact(world.snapshot, &scope, guest, 3) || !in_dimm);
		CHECK_INT(drain_scope_node_bytes(world.snapshot, &scope, guest, 3), in_dimm ? 178 * MIB : 50 * MIB);
		tell_piece(guest, guest->dimm_bytes[2].id,
			   (struct snapshot_range){6 * GIB + 2 * WORLD_BLOCK, 6 * GIB + 3 * WORLD_BLOCK}, 7 * MIB);
		guest->dimm_bytes[0].bytes -= 7 * MIB;
		CHECK_TRUE(drain_scope_is_exact(world.snapshot, &scope, guest, 3));
		CHECK_INT(drain_scope_node_bytes(world.snapshot, &scope, guest, 3), 57 * MIB);
		CHECK_TRUE(drain_part_keeps(&world.input, &scope, guest));
		/* All of the DIMM is both of them, and the rest. */
		drain_scope_of_ranges(world.snapshot, (const struct snapshot_range[]){{6 * GIB, 7 * GIB}}, 1, &scope);
		CHECK_TRUE(drain_scope_is_exact(world.snapshot, &scope, guest, 3));
		CHECK_INT(drain_scope_node_bytes(world.snapshot, &scope, guest, 3), 200 * MIB);
		world_done(&world);
	}
}

/* Memory in no DIMM that is in no piece either may lie in the target. */
static void loose_memory_that_nobody_has_told_may_be_there(void)
{
	struct snapshot_guest *guest;
	struct drain_scope scope;
	struct world world;

	guest = begin_range(&world, DRAIN_FINISH_OFFLINE);
	world.snapshot->dimm_count = 0;
	guest->dimm_count = 0;
	tell_piece(guest, "", (struct snapshot_range){6 * GIB + WORLD_BLOCK, 6 * GIB + 2 * WORLD_BLOCK}, 50 * MIB);
	drain_scope_find(&world.input, &scope);
	CHECK_TRUE(!drain_scope_is_exact(world.snapshot, &scope, guest, 3));
	CHECK_INT(drain_scope_node_bytes(world.snapshot, &scope, guest, 3), 50 * MIB + WORLD_BLOCK);
	tell_piece(guest, "", (struct snapshot_range){6 * GIB + 2 * WORLD_BLOCK, 6 * GIB + 3 * WORLD_BLOCK}, 9 * MIB);
	CHECK_TRUE(drain_scope_is_exact(world.snapshot, &scope, guest, 3));
	CHECK_INT(drain_scope_node_bytes(world.snapshot, &scope, guest, 3), 59 * MIB);
	world_done(&world);
}

/* A plan that rests on what nobody has told says so. */
static void what_no_survey_has_told_is_said(void)
{
	struct snapshot_guest *guest;
	struct world world;

	for (int is_cut = 0; is_cut < 2; is_cut++) {
		guest = begin_range(&world, DRAIN_FINISH_EMPTY);
		guest->dimms_told = is_cut;
		guest->dimm_bytes[2].range.start += is_cut ? WORLD_BLOCK : 0;
		CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);

		CHECK_INT(plan->warnings.count, 1);
		CHECK_INT(plan->warnings.items[0].code, REMAINDER_NOT_SURVEYED);
		CHECK_INT(plan->warnings.items[0].bytes, 300 * MIB);
		CHECK_STR(plan->warnings.items[0].object, "guest db1");
		CHECK_INT(plan->steps[1].range_count, 0);
		world_done(&world);
	}
}

/* What a move that runs will bring away comes home, too: it is no room for others. */
static void what_is_on_its_way_needs_its_home(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world, DRAIN_FINISH_OFFLINE);
	guest->policy_mode = POLICY_MODE_DEFAULT;
	guest->cpuset_mems = 0;
	add_guest(&world, "db2", 100 * MIB, 50 * MIB);
	snapshot_node(world.snapshot, 3)->free_bytes = world_share(&world, 3, 0) + 1023 * MIB;
	world_next(&world);
	world_perform(&world);
	CHECK_STR(world_next(&world)->step.guest_name, "db1");
	CHECK_INT(world.decision.step.bytes, 200 * MIB);
	world_record(&world, STEP_STATE_RUNNING, 0);
	/* Shut in, and 1023 MiB are too little: it leaves with all. */
	CHECK_STR(world_next(&world)->step.guest_name, "db2");
	CHECK_INT(world.decision.step.range_count, 0);
	CHECK_INT(world.decision.step.bytes, 150 * MIB);
	world_done(&world);
}

static void what_has_no_room_at_home_is_told(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world, DRAIN_FINISH_EJECT);
	guest->policy_mode = POLICY_MODE_DEFAULT;
	guest->cpuset_mems = 0;
	/* What the host has takes all of the other DIMM but little. */
	snapshot_node(world.snapshot, 3)->free_bytes = 1000 * MIB;
	expect_run(&world, "cordon move offline eject done");
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(world.decision.warnings.items[0].bytes, 200 * MIB);
	CHECK_INT(guest->node_bytes[1], 200 * MIB);
	world_done(&world);
}

/* Up to the moment when all has gone offline. */
static struct snapshot_guest *run_to_the_way_home(struct world *world)
{
	struct snapshot_guest *guest = begin(world, DRAIN_FINISH_EJECT);

	for (int i = 0; i < 3; i++) {
		world_next(world);
		world_perform(world);
	}
	CHECK_INT(world_next(world)->step.kind, STEP_KIND_UNDO);
	return guest;
}

/* It is tried once, and the DIMM goes all the same. */
static void what_does_not_come_home_is_told(void)
{
	static const struct {
		enum step_state state;
		uint64_t told, left;
	} table[] = {
		{STEP_STATE_FAILED, 0, 200 * MIB},
		{STEP_STATE_PARTIAL, 30 * MIB, 40 * MIB},
		{STEP_STATE_PARTIAL, 900 * MIB, 200 * MIB},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct snapshot_guest *guest;
		struct step_record *record;
		struct world world;

		guest = run_to_the_way_home(&world);
		record = world_record(&world, table[i].state, 0);
		if (table[i].told)
			remainder_list_add(&record->remainder, REMAINDER_UNDO_FAILED, "node 1", table[i].told, NULL, "busy");
		guest->node_bytes[1] = table[i].left;
		expect_run(&world, "eject done");
		CHECK_INT(remainder_list_bytes(&world.decision.warnings), table[i].left);
		CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_UNDO_FAILED);
		world_done(&world);
	}
}

static void what_time_kept_away_is_told(void)
{
	struct world world;

	run_to_the_way_home(&world);
	world.input.deadline_ms = 1;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_DEADLINE);
	CHECK_INT(world.decision.warnings.items[0].bytes, 200 * MIB);
	world_done(&world);
}

/* Who drains where it is, or its home, has the word. */
static void it_stays_where_other_drains_hold(void)
{
	for (int node = 1; node < 4; node += 2) {
		struct snapshot_hold *hold;
		struct world world;

		run_to_the_way_home(&world);
		hold = snapshot_add_hold(world.snapshot);
		strcpy(hold->drain, "d2");
		hold->node = node;
		expect_run(&world, "eject done");
		CHECK_INT(world.decision.warnings.count, 1);
		CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_HELD);
		CHECK_INT(world.decision.warnings.items[0].bytes, 200 * MIB);
		world_done(&world);
	}
}

/* What came back into the target meanwhile leaves the same way, and the last of the moves is undone first. */
static void moves_are_undone_last_first(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world, DRAIN_FINISH_OFFLINE);
	for (int i = 0; i < 2; i++) {
		world_next(&world);
		world_perform(&world);
	}
	guest->node_bytes[3] += 20 * MIB;
	guest->dimm_bytes[0].bytes = 20 * MIB;
	/* Not for how the guest looks by now. */
	guest->allowed_nodes = 1 << 1 | 1 << 2;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	CHECK_INT(world.decision.step.bytes, 20 * MIB);
	world_perform(&world);
	guest->allowed_nodes = 0;
	expect_run(&world, "offline undo undo done");
	CHECK_INT(world.history[4].step.undo_n, 3);
	CHECK_INT(world.history[4].step.bytes, 20 * MIB);
	CHECK_INT(world.history[5].step.undo_n, 2);
	CHECK_INT(guest->node_bytes[3], 320 * MIB);
	world_done(&world);
}

/* Either all of a guest's moves are undone or none. */
static void a_guest_comes_home_as_a_whole(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world, DRAIN_FINISH_OFFLINE);
	for (int i = 0; i < 2; i++) {
		world_next(&world);
		world_perform(&world);
	}
	guest->node_bytes[3] += 20 * MIB;
	guest->dimm_bytes[0].bytes = 20 * MIB;
	for (int i = 0; i < 2; i++) {
		world_next(&world);
		world_perform(&world);
	}
	/* Enough for the second alone. */
	snapshot_node(world.snapshot, 3)->free_bytes = world_share(&world, 3, 0) + 100 * MIB;
	expect_run(&world, "done");
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(remainder_list_bytes(&world.decision.warnings), 220 * MIB);
	world_done(&world);
}

static void a_guest_that_has_gone_is_no_matter(void)
{
	struct world world;

	run_to_the_way_home(&world)->state = GUEST_STATE_SHUT_OFF;
	expect_run(&world, "eject done");
	CHECK_INT(world.decision.warnings.count, 0);
	world_done(&world);
}

static void wish_child(struct world *world)
{
	world_wish_map(world, "db1", 3, 1);
	world->wish.move.range_count = 1;
	world->wish.move.ranges[0] = (struct snapshot_range){6 * GIB, 7 * GIB};
}

/* The move itself: the cpuset as wide as its pages need, the pages, and nothing else. */
static void the_child_moves_nothing_but_these_pages(void)
{
	struct snapshot_guest *guest;
	struct world world;

	for (int is_partial = 0; is_partial < 2; is_partial++) {
		guest = begin(&world, DRAIN_FINISH_OFFLINE);
		world_add_device(guest, "vm0", 2 * GIB, GIB);
		world_add_agent(guest, 900 * MIB, 0);
		wish_child(&world);
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
		CHECK_INT(world.decision.step.nodes, 1 << 1 | 1 << 3);
		world_perform(&world);
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
		CHECK_INT(world.decision.step.bytes, 200 * MIB);
		CHECK_INT(world.decision.step.range_count, 1);
		CHECK_INT(world.decision.step.ranges[0].start, 6 * GIB);
		CHECK_INT(world.decision.step.map[3], 1);
		CHECK_TRUE(world.decision.step.undoable);
		if (is_partial) {
			struct step_record *record = world_record(&world, STEP_STATE_PARTIAL, 150 * MIB);

			remainder_list_add(&record->remainder, REMAINDER_PAGE_BUSY, "node 3", 50 * MIB, NULL, "busy");
			CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
			CHECK_INT(world.decision.step.bytes, 50 * MIB);
		}
		world_perform(&world);
		expect_run(&world, "done");
		CHECK_INT(guest->policy_nodes, 1 << 3);
		CHECK_INT(guest->node_bytes[1], 200 * MIB);
		CHECK_INT(guest->node_bytes[3], 100 * MIB);
		CHECK_INT(guest->dimm_bytes[1].bytes, 100 * MIB);
		world_done(&world);
	}
}

/* Also where all that it has lay in the target: its pages need the way home. */
static void a_cpuset_stays_wide(void)
{
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	guest = snapshot_guest(world.snapshot, "db1");
	guest->policy_mode = POLICY_MODE_DEFAULT;
	guest->policy_nodes = 0;
	guest->node_bytes[3] = 200 * MIB;
	guest->dimm_bytes[1].bytes = 0;
	wish_child(&world);
	expect_run(&world, "cpuset move done");
	CHECK_INT(guest->cpuset_mems, 1 << 1 | 1 << 3);
	world_done(&world);
}

/* Touched again it would come where the guest's policy says, be that in the target. */
static void nothing_free_is_taken_out_for_it(void)
{
	struct snapshot_guest *guest;
	struct world world;

	for (int is_part = 0; is_part < 2; is_part++) {
		guest = begin(&world, DRAIN_FINISH_OFFLINE);
		guest->cpuset_mems = 0;
		guest->node_bytes[3] = guest->resident_bytes = guest->backings[0].bytes = 1000 * MIB;
		guest->dimm_bytes[0].bytes = 900 * MIB;
		world_add_device(guest, "vm0", 2 * GIB, GIB);
		world_add_agent(guest, 900 * MIB, 0);
		guest->free_page_reporting = true;
		snapshot_node(world.snapshot, 1)->total_bytes = 8 * GIB;
		snapshot_node(world.snapshot, 1)->free_bytes = 6 * GIB;
		wish_child(&world);
		world.wish.move.range_count = (size_t)is_part;
		expect_run(&world, is_part ? "move done" : "memory_policy report_free move memory_policy done");
		world_done(&world);
	}
}

/* What the guest has in huge pages finds its place in the pool again. */
static void a_pool_waits_for_what_comes_home(void)
{
	struct snapshot_guest *guest;
	struct snapshot_pool *pool;
	struct world world;

	guest = begin(&world, DRAIN_FINISH_OFFLINE);
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_HUGETLB, 2 * MIB, 300 * MIB, 0};
	guest->policy_mode = POLICY_MODE_DEFAULT;
	guest->policy_nodes = guest->cpuset_mems = 0;
	pool = &snapshot_node(world.snapshot, 3)->pools[0];
	pool->total = 150;
	wish_child(&world);
	expect_run(&world, "host_pool move done");
	CHECK_INT(world.history[0].step.node, 1);
	CHECK_INT(world.history[0].step.bytes, 200 * MIB);
	CHECK_INT(pool->total, 150);
	CHECK_INT(pool->free, 100);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"only what lies in it leaves and comes home", only_what_lies_in_it_leaves_and_comes_home},
	{"the way home takes its time", the_way_home_takes_its_time},
	{"it comes home by any policy", it_comes_home_by_any_policy},
	{"room is needed for that alone", room_is_needed_for_that_alone},
	{"who does not keep the node leaves it", who_does_not_keep_the_node_leaves_it},
	{"who keeps the node beside holds", who_keeps_the_node_beside_holds},
	{"what is emptied stays away", what_is_emptied_stays_away},
	{"of a range only that leaves", of_a_range_only_that_leaves},
	{"who has nothing in a range stays", who_has_nothing_in_a_range_stays},
	{"pieces make up a range", pieces_make_up_a_range},
	{"loose memory that nobody has told may be there", loose_memory_that_nobody_has_told_may_be_there},
	{"what no survey has told is said", what_no_survey_has_told_is_said},
	{"what is on its way needs its home", what_is_on_its_way_needs_its_home},
	{"what has no room at home is told", what_has_no_room_at_home_is_told},
	{"what does not come home is told", what_does_not_come_home_is_told},
	{"what time kept away is told", what_time_kept_away_is_told},
	{"it stays where other drains hold", it_stays_where_other_drains_hold},
	{"moves are undone last first", moves_are_undone_last_first},
	{"a guest comes home as a whole", a_guest_comes_home_as_a_whole},
	{"a guest that has gone is no matter", a_guest_that_has_gone_is_no_matter},
	{"the child moves nothing but these pages", the_child_moves_nothing_but_these_pages},
	{"a cpuset stays wide", a_cpuset_stays_wide},
	{"nothing free is taken out for it", nothing_free_is_taken_out_for_it},
	{"a pool waits for what comes home", a_pool_waits_for_what_comes_home},
};

int main(void)
{
	return unit_main("drain_part", cases, sizeof(cases) / sizeof(cases[0]));
}
