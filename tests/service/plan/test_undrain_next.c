/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* A drain that ran as planned, and then the wish to take it back. */
static void drained(struct world *world, enum drain_finish finish)
{
	struct snapshot_guest *guest;
	char text[512];

	world_init(world);
	guest = world_add_guest(world, "db1", 3, 300 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 3;
	world_wish_drain_dimm(world, finish);
	world_run(world, text);
	world->input.subject = world->history;
	world->input.subject_count = world->history_count;
	world->input.subject_operation = "op-7";
	world->history = NULL;
	world->history_count = 0;
	world->wish.kind = OPERATION_KIND_UNDRAIN;
}

static void finished(struct world *world)
{
	for (size_t i = 0; i < world->input.subject_count; i++)
		step_record_done((struct step_record *)&world->input.subject[i]);
	free((void *)world->input.subject);
	world_done(world);
}

static void steps_are_undone_in_reverse(void)
{
	static const unsigned order[] = {3, 2, 1};
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	for (size_t i = 0; i < 3; i++) {
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_INT(world.decision.step.kind, STEP_KIND_UNDO);
		CHECK_INT(world.decision.step.undo_n, order[i]);
		CHECK_STR(world.decision.step.undo_operation, "op-7");
		CHECK_TRUE(!world.decision.step.child);
		world_record(&world, STEP_STATE_DONE, 0);
	}
	CHECK_STR(world.history[2].step.text, "cordon");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	finished(&world);
}

static void only_what_was_done_is_undone(void)
{
	struct world world;
	struct step_record *subject;

	drained(&world, DRAIN_FINISH_OFFLINE);
	subject = (struct step_record *)world.input.subject;
	subject[2].state = STEP_STATE_PENDING;
	subject[1].state = STEP_STATE_RUNNING;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	subject[1].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	finished(&world);
}

static void a_failed_undo_does_not_keep_the_hold(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_UNDO_FAILED);
	finished(&world);
}

static void after_an_eject_only_the_hold_goes(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_EJECT);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_STR(world.decision.remainder.items[0].way_out, "plug the DIMM in again");
	finished(&world);

	/* Plugged in again: everything is undone. */
	drained(&world, DRAIN_FINISH_EJECT);
	world.snapshot->dimms[0].state = SNAPSHOT_DIMM_OFFLINE;
	CHECK_INT(world_next(&world)->step.undo_n, 3);
	finished(&world);
}

static void an_unknown_drain_is_refused(void)
{
	struct world world;
	struct remainder_list blockers;
	struct failure failure;

	world_init(&world);
	wish_init(&world.wish, OPERATION_KIND_UNDRAIN);
	strcpy(world.wish.drain, "d9");
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "unknown_drain");
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"steps are undone in reverse", steps_are_undone_in_reverse},
	{"only what was done is undone", only_what_was_done_is_undone},
	{"a failed undo does not keep the hold", a_failed_undo_does_not_keep_the_hold},
	{"after an eject only the hold goes", after_an_eject_only_the_hold_goes},
	{"an unknown drain is refused", an_unknown_drain_is_refused},
};

int main(void)
{
	return unit_main("undrain_next", cases, sizeof(cases) / sizeof(cases[0]));
}
