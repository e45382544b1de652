/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

/* Slices lose the nodes that a drain holds wholly, once they are empty, and get them back first. */

static void begin(struct world *world)
{
	world_init(world);
	strcpy(world->limits.slices, "machine.slice system.slice");
}

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static const struct step *find(const struct world *world)
{
	for (size_t i = 0; i < world->history_count; i++)
		if (world->history[i].step.kind == STEP_KIND_SLICE_CPUSETS)
			return &world->history[i].step;
	return NULL;
}

static void they_are_last_before_the_eject(void)
{
	static const struct {
		enum drain_finish finish;
		const char *run;
	} table[] = {
		{DRAIN_FINISH_CORDON, "cordon done"},
		{DRAIN_FINISH_EMPTY, "cordon move slice_cpusets done"},
		{DRAIN_FINISH_OFFLINE, "cordon move offline slice_cpusets done"},
		{DRAIN_FINISH_EJECT, "cordon move offline slice_cpusets eject done"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world world;
		char text[160];

		begin(&world);
		world_add_guest(&world, "db1", 3, 300 * MIB);
		world_wish_drain_dimm(&world, table[i].finish);
		expect_run(&world, table[i].run);
		if (table[i].finish != DRAIN_FINISH_CORDON) {
			CHECK_INT(find(&world)->nodes, 1 << 3);
			CHECK_TRUE(find(&world)->undoable);
			CHECK_STR(step_describe(find(&world), text),
				  "without nodes 3  machine.slice system.slice");
		}
		world_done(&world);
	}
}

static void without_slices_there_is_no_step(void)
{
	struct world world;

	begin(&world);
	world.limits.slices[0] = '\0';
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	expect_run(&world, "cordon offline eject done");
	world_done(&world);
}

/* Also where another drain has taken it: that may give it back first. */
static void a_node_with_other_memory_stays(void)
{
	for (int is_held = 0; is_held < 2; is_held++) {
		struct snapshot_hold *hold;
		struct world world;

		begin(&world);
		world_add_second_dimm(&world);
		for (size_t i = 0; is_held && i < world.snapshot->block_count; i++)
			if (world.snapshot->blocks[i].start >= 7 * GIB)
				world.snapshot->blocks[i].state = BLOCK_STATE_OFFLINE;
		hold = is_held ? snapshot_add_hold(world.snapshot) : NULL;
		if (hold) {
			strcpy(hold->drain, "d2");
			strcpy(hold->dimm, "acpi-MP01");
			hold->node = -1;
			hold->range_count = 1;
			hold->ranges[0] = (struct snapshot_range){7 * GIB, 8 * GIB};
		}
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		expect_run(&world, "cordon offline done");
		world_done(&world);
	}
}

/* A guest that stays would be moved by the kernel, wherever it likes. */
static void nothing_is_done_before_it_is_empty(void)
{
	struct world world;

	begin(&world);
	world_add_guest(&world, "db1", 3, 300 * MIB)->migrating = true;
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	expect_run(&world, "cordon give_up");
	world_done(&world);
}

/* What failed is told as a warning by the step itself; one that a restart cut off may not have come to anything. */
static void it_is_tried_once(void)
{
	struct step_record *record;
	struct world world;

	begin(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_SLICE_CPUSETS);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "host", 0, NULL, "ballastd was started anew");
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_SLICE_CPUSETS);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void there_is_no_time_for_it_after_the_deadline(void)
{
	struct world world;

	begin(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world_next(&world);
	world_perform(&world);
	world.input.deadline_ms = world.input.now_ms - 1;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* ---- back ---- */

static struct snapshot_hold *hold_beside(struct world *world, uint64_t end)
{
	struct snapshot_hold *hold = snapshot_add_hold(world->snapshot);

	strcpy(hold->drain, "d2");
	hold->node = -1;
	hold->range_count = 1;
	hold->ranges[0] = (struct snapshot_range){6 * GIB, end};
	return hold;
}

static void they_wait_for_who_else_holds_the_node(void)
{
	struct snapshot_hold *hold;
	struct world world;

	begin(&world);
	world_add_guest(&world, "db1", 3, 300 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	expect_run(&world, "cordon move slice_cpusets done");
	world_undrain(&world);
	CHECK_INT(world_next(&world)->step.undo_n, 3);
	/* The rest of the node is free, and guests are to come home to it. */
	hold = hold_beside(&world, 6 * GIB + WORLD_BLOCK);
	CHECK_INT(world_next(&world)->step.undo_n, 3);
	hold->ranges[0].end = 7 * GIB;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	hold->range_count = 0;
	hold->node = 3;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[world.decision.remainder.count - 1].code, REMAINDER_HELD);
	world_undrain_done(&world);
}

static void what_somebody_has_set_is_a_warning(void)
{
	struct step_record *record;
	struct world world;

	begin(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	expect_run(&world, "cordon slice_cpusets done");
	world_undrain(&world);
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	record = world_record(&world, STEP_STATE_DONE, 0);
	remainder_list_add(&record->remainder, REMAINDER_SLICE_CPUSET, "slice machine.slice", 0, NULL, "it is left so");
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_SLICE_CPUSET));
	world_undrain_done(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"they are last before the eject", they_are_last_before_the_eject},
		{"without slices there is no step", without_slices_there_is_no_step},
		{"a node with other memory stays", a_node_with_other_memory_stays},
		{"nothing is done before it is empty", nothing_is_done_before_it_is_empty},
		{"it is tried once", it_is_tried_once},
		{"there is no time for it after the deadline", there_is_no_time_for_it_after_the_deadline},
		{"they wait for who else holds the node", they_wait_for_who_else_holds_the_node},
		{"what somebody has set is a warning", what_somebody_has_set_is_a_warning},
	};

	return unit_main("drain_slices", cases, sizeof(cases) / sizeof(cases[0]));
}
