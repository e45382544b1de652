/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* The host's hooks around a drain: before the first block goes, and once it is over. */

static void begin(struct world *world, enum drain_finish finish)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "db1", 3, 300 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 3;
	world->snapshot->hooks = (struct snapshot_hooks){.count = 2, .names = "10-cache, 20-database"};
	world->limits.hook_timeout_ms = 7000;
	world_wish_drain_dimm(world, finish);
}

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static const struct step *next(struct world *world)
{
	CHECK_INT(world_next(world)->kind, DECISION_KIND_STEP);
	return &world->decision.step;
}

static void until_hooks(struct world *world)
{
	while (next(world)->kind != STEP_KIND_HOST_HOOKS)
		world_perform(world);
}

static void they_stand_between_guests_and_blocks(void)
{
	static const struct {
		enum drain_finish finish;
		size_t hooks;
		const char *run;
	} table[] = {
		{DRAIN_FINISH_CORDON, 2, "cordon done"},
		{DRAIN_FINISH_EMPTY, 2, "cordon move done"},
		{DRAIN_FINISH_OFFLINE, 2, "cordon move host_hooks host_pool offline host_hooks done"},
		{DRAIN_FINISH_EJECT, 2, "cordon move host_hooks host_pool offline eject host_hooks done"},
		{DRAIN_FINISH_OFFLINE, 0, "cordon move host_pool offline done"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct snapshot_node *node;
		struct world world;

		begin(&world, table[i].finish);
		world.snapshot->hooks.count = table[i].hooks;
		node = snapshot_node(world.snapshot, 3);
		node->pools[node->pool_count++] =
			(struct snapshot_pool){.page_bytes = 2 * MIB, .total = 32, .free = 32};
		expect_run(&world, table[i].run);
		world_done(&world);
	}
}

static void they_are_told_of_what_goes(void)
{
	struct world world;
	struct step before;
	char text[160];

	begin(&world, DRAIN_FINISH_OFFLINE);
	snapshot_node(world.snapshot, 3)->free_bytes -= 100 * MIB;
	until_hooks(&world);
	before = world.decision.step;
	CHECK_STR(before.text, "before");
	CHECK_STR(before.dimm, "acpi-MP00");
	CHECK_INT(before.nodes, 1 << 3);
	CHECK_INT(before.range_count, 1);
	CHECK_INT(before.ranges[0].end - before.ranges[0].start, GIB);
	CHECK_INT(before.target_bytes, GIB);
	CHECK_INT(before.bytes, 100 * MIB);
	CHECK_INT(before.timeout_ms, 7000);
	CHECK_INT(before.hook_count, 2);
	CHECK_TRUE(before.undoable);
	CHECK_STR(step_describe(&before, text), "before  10-cache, 20-database");
	world_perform(&world);
	until_hooks(&world);
	CHECK_TRUE(step_is_after(&world.decision.step));
	CHECK_TRUE(!world.decision.step.undoable);
	/* All of it has gone. */
	CHECK_INT(world.decision.step.target_bytes, GIB);
	CHECK_INT(world.decision.step.bytes, 100 * MIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* It is told by the step itself; the blocks may go all the same. */
static void one_that_fails_stops_nothing(void)
{
	static const enum step_state states[] = {STEP_STATE_PARTIAL, STEP_STATE_FAILED};

	for (size_t i = 0; i < 2; i++) {
		struct step_record *record;
		struct world world;

		begin(&world, DRAIN_FINISH_OFFLINE);
		until_hooks(&world);
		record = world_record(&world, states[i], 0);
		remainder_list_add(&record->remainder, REMAINDER_HOOK_FAILED, "hook 10-cache", 0, NULL, "exit status 1");
		expect_run(&world, "offline host_hooks done");
		world_done(&world);
	}
}

/* Whether it had called them nobody knows; what the undo does is owed once. */
static void after_a_restart_they_are_called_again(void)
{
	struct step_record *record;
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	until_hooks(&world);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "node 3", 0, NULL, "restarted");
	CHECK_INT(next(&world)->kind, STEP_KIND_HOST_HOOKS);
	CHECK_STR(world.decision.step.text, "before");
	CHECK_TRUE(!world.decision.step.undoable);
	world_perform(&world);
	until_hooks(&world);
	CHECK_TRUE(step_is_after(&world.decision.step));
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "node 3", 0, NULL, "restarted");
	CHECK_TRUE(step_is_after(next(&world)));
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* Nobody is stopped for a drain that takes no block away. */
static void without_blocks_to_go_none_is_called(void)
{
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	next(&world);
	world_perform(&world);
	CHECK_INT(next(&world)->kind, STEP_KIND_CHILD);
	world.input.deadline_ms = world.input.now_ms;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	world_done(&world);
}

/* An undo calls them itself; what stays as it is, or is past that, does not. */
static void a_drain_that_fails_calls_them_once(void)
{
	static const struct {
		enum on_timeout on_timeout;
		enum step_state eject;
		bool calls;
	} table[] = {
		{ON_TIMEOUT_DEFAULT, STEP_STATE_COUNT, false},	{ON_TIMEOUT_RESTORE, STEP_STATE_COUNT, false},
		{ON_TIMEOUT_STOP, STEP_STATE_COUNT, true},	{ON_TIMEOUT_CONTINUE, STEP_STATE_COUNT, true},
		{ON_TIMEOUT_DEFAULT, STEP_STATE_FAILED, false}, {ON_TIMEOUT_DEFAULT, STEP_STATE_PARTIAL, true},
		{ON_TIMEOUT_STOP, STEP_STATE_FAILED, true},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		bool ejects = table[i].eject != STEP_STATE_COUNT;
		enum step_kind last = ejects ? STEP_KIND_EJECT : STEP_KIND_OFFLINE_BLOCKS;
		struct world world;

		begin(&world, ejects ? DRAIN_FINISH_EJECT : DRAIN_FINISH_OFFLINE);
		world.wish.on_timeout = table[i].on_timeout;
		while (next(&world)->kind != last)
			world_perform(&world);
		world_record(&world, ejects ? table[i].eject : STEP_STATE_FAILED, 0);
		/* Also where there is no time for anything else. */
		world.input.deadline_ms = world.input.now_ms;
		if (table[i].calls) {
			CHECK_TRUE(step_is_after(next(&world)));
			CHECK_INT(world.decision.remainder.count, 0);
			world_perform(&world);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_TRUE(world.decision.remainder.count > 0);
		world_done(&world);
	}
}

static void a_plan_names_them_and_gives_them_time(void)
{
	struct plan *plan, *other;
	struct world world;
	bool warned = false;

	begin(&world, DRAIN_FINISH_OFFLINE);
	snprintf(world.snapshot->hooks.trouble, sizeof(world.snapshot->hooks.trouble), "30-x is not run");
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 5);
	CHECK_STR(plan->steps[2].hook_names, "10-cache, 20-database");
	CHECK_STR(plan->steps[4].hook_names, "10-cache, 20-database");
	for (size_t i = 0; i < plan->warnings.count; i++)
		warned = warned || strcmp(plan->warnings.items[i].detail, "30-x is not run") == 0;
	CHECK_TRUE(warned);
	/* Twice two hooks of seven seconds, in which nothing else is done. */
	CHECK_TRUE(plan->cautious_s >= plan->estimate_s + 28);
	/* Another program is another plan. */
	snprintf(world.snapshot->hooks.names, sizeof(world.snapshot->hooks.names), "10-cache, 21-database");
	other = plan_dry_run(&world.input);
	CHECK_TRUE(strcmp(plan->digest, other->digest) != 0);
	plan_free(other);
	plan_free(plan);
	world_done(&world);
}

/* ---- the way back ---- */

static void an_undrain_calls_them_after_the_blocks(void)
{
	/* offline, hooks, guest, cordon; the hooks at the end of the drain are nothing to undo */
	static const unsigned order[] = {4, 3, 2, 1};
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	expect_run(&world, "cordon move host_hooks offline host_hooks done");
	world_undrain(&world);
	for (size_t i = 0; i < 4; i++) {
		struct step_record *record;

		CHECK_INT(next(&world)->undo_n, order[i]);
		record = world_record(&world, STEP_STATE_DONE, 0);
		if (order[i] == 3)
			remainder_list_add(&record->remainder, REMAINDER_HOOK_FAILED, "hook 10-cache", 0, NULL,
					   "after: exit status 1");
	}
	/* One that failed is told, and is no reason to call it incomplete. */
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_STR(world.decision.warnings.items[0].object, "hook 10-cache");
	world_undrain_done(&world);
}

/* The memory is not there again: they wait for it as guests do. */
static void they_wait_for_what_another_drain_holds(void)
{
	struct snapshot_hold *hold;
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	expect_run(&world, "cordon move host_hooks offline host_hooks done");
	world_undrain(&world);
	hold = snapshot_add_hold(world.snapshot);
	snprintf(hold->drain, sizeof(hold->drain), "dr-2");
	hold->node = 3;
	CHECK_INT(next(&world)->undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);

	bool told = false;

	for (size_t i = 0; i < world.decision.remainder.count; i++)
		told = told || (strcmp(world.decision.remainder.items[i].object, "step 3") == 0 &&
				world.decision.remainder.items[i].code == REMAINDER_HELD);
	CHECK_TRUE(told);
	world_undrain_done(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"they stand between guests and blocks", they_stand_between_guests_and_blocks},
		{"they are told of what goes", they_are_told_of_what_goes},
		{"one that fails stops nothing", one_that_fails_stops_nothing},
		{"after a restart they are called again", after_a_restart_they_are_called_again},
		{"without blocks to go none is called", without_blocks_to_go_none_is_called},
		{"a drain that fails calls them once", a_drain_that_fails_calls_them_once},
		{"a plan names them and gives them time", a_plan_names_them_and_gives_them_time},
		{"an undrain calls them after the blocks", an_undrain_calls_them_after_the_blocks},
		{"they wait for what another drain holds", they_wait_for_what_another_drain_holds},
	};

	return unit_main("drain_hooks", cases, sizeof(cases) / sizeof(cases[0]));
}
