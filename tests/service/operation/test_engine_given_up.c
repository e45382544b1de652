/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/*
 * Drains that are given up for good, with the real planners: what they have changed stays as it is, only the hold goes with what
 * stands around it, and nothing is put back later.
 */

#define FIRST 32 /* block of the DIMM d1, all of node 2 */
#define CUT   34
#define END   40

static struct engine_rig rig;

static struct wish wish_of_node(int node, enum drain_finish finish)
{
	struct wish wish = engine_rig_drain_wish(finish);

	wish.drain_wish.target = DRAIN_TARGET_NODE;
	wish.drain_wish.dimm[0] = '\0';
	wish.drain_wish.node = node;
	return wish;
}

static void begin(void)
{
	engine_rig_init(&rig);
	engine_rig_start(&rig);
}

static void drain(const struct wish *wish, enum operation_state expected)
{
	engine_rig_submit(&rig, wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, expected);
}

static void submit_undrain(size_t index, bool keep)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	wish.keep = keep;
	snprintf(wish.drain, sizeof(wish.drain), "%s", engine_rig_drain_at(&rig, index)->id);
	engine_rig_submit(&rig, &wish);
}

static const struct operation_record *undrain(size_t index, bool keep, enum operation_state expected)
{
	submit_undrain(index, keep);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, expected);
	return engine_rig_operation(&rig, rig.id);
}

static bool warns_of(const struct operation_record *record, const char *object)
{
	for (size_t i = 0; i < record->warnings.count; i++)
		if (record->warnings.items[i].code == REMAINDER_KEPT && strncmp(record->warnings.items[i].object, object, strlen(object)) == 0)
			return true;
	return false;
}

/* All but what stands around a hold. */
static bool has_kept(const struct fake_state *before)
{
	struct fake_state now = rig.world.state, then = *before;

	now.slices_lack = then.slices_lack = 0;
	now.hooks_asked = then.hooks_asked = false;
	return fake_state_is_equal(&now, &then);
}

/* It is over, and whatever is asked for now, also after a restart, changes nothing. */
static void check_given_up(size_t index, const struct fake_state *before)
{
	for (int restarted = 0; restarted < 2; restarted++) {
		CHECK_INT(engine_rig_drain_state_at(&rig, index), DRAIN_STATE_RELEASED);
		CHECK_TRUE(!engine_rig_drain_at(&rig, index)->hold.drain[0]);
		CHECK_TRUE(has_kept(before));
		CHECK_INT(rig.world.state.slices_lack, 0);
		CHECK_TRUE(!rig.world.state.hooks_asked);
		for (int keep = 0; keep < 2; keep++) {
			submit_undrain(index, keep);
			CHECK_INT(rig.result, ENGINE_SUBMIT_ALREADY);
			CHECK_STR(rig.drain, engine_rig_drain_at(&rig, index)->id);
		}
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
	}
}

/* ---- from each state ---- */

static void test_held(void)
{
	static const enum drain_finish finishes[] = {DRAIN_FINISH_CORDON, DRAIN_FINISH_EMPTY, DRAIN_FINISH_OFFLINE,
						     DRAIN_FINISH_EJECT};

	for (size_t i = 0; i < ARRAY_SIZE(finishes); i++) {
		struct wish wish = engine_rig_drain_wish(finishes[i]);
		const struct operation_record *record;
		struct fake_state before;

		begin();
		drain(&wish, OPERATION_STATE_SUCCEEDED);
		CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_HELD);
		CHECK_INT(rig.world.state.slices_lack != 0, finishes[i] != DRAIN_FINISH_CORDON);
		before = rig.world.state;
		record = undrain(0, true, OPERATION_STATE_SUCCEEDED);
		CHECK_INT(record->remainder.count, 0);
		CHECK_INT(warns_of(record, "guest "), finishes[i] != DRAIN_FINISH_CORDON);
		CHECK_INT(warns_of(record, "dimm d1"), finishes[i] >= DRAIN_FINISH_OFFLINE);
		CHECK_INT(engine_rig_is_initial(&rig), finishes[i] == DRAIN_FINISH_CORDON);
		check_given_up(0, &before);
		/* Plugged in again it is new memory, which nobody has asked for. */
		rig.world.state.ejected = before.ejected = false;
		check_given_up(0, &before);
		engine_rig_done(&rig);
	}
}

static void test_deferred(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT), node = wish_of_node(0, DRAIN_FINISH_CORDON);
	const struct operation_record *record;
	struct fake_state before;

	begin();
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	record = undrain(0, false, OPERATION_STATE_INCOMPLETE);
	CHECK_TRUE(strstr(record->remainder.items[0].way_out, "keep") != NULL);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	before = rig.world.state;
	record = undrain(0, true, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(warns_of(record, "guest ") && warns_of(record, "dimm d1"));
	check_given_up(0, &before);
	/* It is in no list of another any more. */
	rig.world.state.ejected = before.ejected = false;
	drain(&node, OPERATION_STATE_SUCCEEDED);
	undrain(1, false, OPERATION_STATE_SUCCEEDED);
	check_given_up(0, &before);
	engine_rig_done(&rig);
}

/* Left in the middle, and stopped; or some of it could not be put back. */
static void test_stopped_and_attention(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	struct fake_state before;

	for (int is_attention = 0; is_attention < 2; is_attention++) {
		begin();
		rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
		rig.world.fail_kind_state = STEP_STATE_PARTIAL;
		rig.world.fail_undos_from = is_attention;
		rig.world.fail_undo_kind = STEP_KIND_MOVE_PAGES;
		dimm.on_timeout = is_attention ? ON_TIMEOUT_RESTORE : ON_TIMEOUT_STOP;
		engine_rig_submit(&rig, &dimm);
		engine_rig_settle(&rig, 0);
		CHECK_INT(engine_rig_drain_state_at(&rig, 0), is_attention ? DRAIN_STATE_ATTENTION : DRAIN_STATE_STOPPED);
		CHECK_TRUE(engine_rig_has_hold(&rig) && !engine_rig_is_initial(&rig));
		before = rig.world.state;
		undrain(0, true, OPERATION_STATE_SUCCEEDED);
		check_given_up(0, &before);
		engine_rig_done(&rig);
	}
}

/* Hooks that were never told how it ended are, and not twice. */
static void test_hooks_are_told(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	char id[OPERATION_ID_SIZE];
	struct fake_state before;
	struct failure failure;

	begin();
	rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
	engine_rig_submit(&rig, &dimm);
	snprintf(id, sizeof(id), "%s", rig.id);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_cancel(rig.engine, id, false, &failure), 0);
	fake_world_unhang(&rig.world);
	engine_rig_settle(&rig, 0);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_STOPPED);
	CHECK_TRUE(rig.world.state.hooks_asked);
	before = rig.world.state;
	undrain(0, true, OPERATION_STATE_SUCCEEDED);
	check_given_up(0, &before);
	engine_rig_done(&rig);
}

static void test_a_plan_changes_nothing(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT), keep;
	struct fake_state before;

	begin();
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	before = rig.world.state;
	wish_init(&keep, OPERATION_KIND_UNDRAIN);
	keep.keep = true;
	snprintf(keep.drain, sizeof(keep.drain), "%s", engine_rig_drain_at(&rig, 0)->id);
	/* Another plan than that of an undrain, and held to it. */
	engine_rig_submit_with(&rig, &(struct engine_submission){.wish = &keep, .actor = "uid 0", .expect_plan = "0000"});
	CHECK_INT(rig.result, ENGINE_SUBMIT_PLAN_CHANGED);
	CHECK_INT(rig.plan_steps, 2);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_HELD);
	CHECK_TRUE(fake_state_is_equal(&rig.world.state, &before) && engine_rig_has_hold(&rig));
	engine_rig_done(&rig);
}

/* ---- beside others ---- */

/* The node was undrained first, and waits for the DIMM's hold: what of it can come back does. */
static void test_another_waits_for_its_hold(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_OFFLINE), dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	begin();
	drain(&node, OPERATION_STATE_SUCCEEDED);
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	undrain(0, false, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	undrain(1, true, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_RELEASED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_RELEASED);
	CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	engine_rig_done(&rig);
}

/* The same with the DIMM out: that one waits for it still, and can be given up, too. */
static void test_another_waits_for_the_dimm(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_OFFLINE), dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	struct fake_state before;

	begin();
	drain(&node, OPERATION_STATE_SUCCEEDED);
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	before = rig.world.state;
	undrain(0, false, OPERATION_STATE_INCOMPLETE);
	undrain(1, true, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_RELEASED);
	undrain(0, true, OPERATION_STATE_SUCCEEDED);
	check_given_up(0, &before);
	check_given_up(1, &before);
	engine_rig_done(&rig);
}

/* Given up while the other holds all of the node: what slices were kept from goes back with that one. */
static void test_another_holds(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), node = wish_of_node(2, DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;
	struct fake_state before;

	begin();
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	drain(&node, OPERATION_STATE_SUCCEEDED);
	before = rig.world.state;
	record = undrain(0, true, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(record->remainder.count, 1);
	CHECK_INT(record->remainder.items[0].code, REMAINDER_HELD);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	CHECK_TRUE(!engine_rig_drain_at(&rig, 0)->hold.drain[0] && rig.world.state.slices_lack);
	CHECK_TRUE(has_kept(&before));
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	undrain(1, false, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(has_kept(&before));
	check_given_up(0, &before);
	check_given_up(1, &before);
	engine_rig_done(&rig);
}

/* It could not be done, and stays so. */
static void drain_in_vain(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	dimm.on_timeout = ON_TIMEOUT_STOP;
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_PARTIAL;
	engine_rig_submit(&rig, &dimm);
	engine_rig_settle(&rig, 0);
	rig.world.fail_kind = STEP_KIND_COUNT;
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_STOPPED);
}

/* A try that came to nothing, and was taken over by the one that came to its end: they had one wish, and end as one. */
static void test_an_earlier_try(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	struct fake_state before;

	begin();
	drain_in_vain();
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	before = rig.world.state;
	undrain(1, true, OPERATION_STATE_SUCCEEDED);
	check_given_up(1, &before);
	check_given_up(0, &before);
	engine_rig_done(&rig);
}

/* ---- cancelled and killed ---- */

/* While slices get their nodes back: the hold stands, and it can be asked for again. */
static void test_cancelled(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	struct fake_state before;
	struct failure failure;

	begin();
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	before = rig.world.state;
	rig.world.hang_undo = rig.world.undos + 1;
	submit_undrain(0, true);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_cancel(rig.engine, rig.id, false, &failure), 0);
	fake_world_unhang(&rig.world);
	engine_rig_settle(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, OPERATION_STATE_CANCELLED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_ATTENTION);
	CHECK_TRUE(engine_rig_has_hold(&rig) && has_kept(&before));
	undrain(0, true, OPERATION_STATE_SUCCEEDED);
	check_given_up(0, &before);
	engine_rig_done(&rig);
}

/* What there is before the last drain is given up. */
struct scene {
	struct wish first, second;
	bool has_second;   /* which the first, undrained, waits for */
	bool is_undrained; /* the first */
	bool is_tried_twice;
};

/* Nothing of it is lost by a kill, and nothing is moved: it is as before, or given up. */
static bool kill_at_write(const void *played, enum journal_gate how, unsigned number, unsigned again)
{
	const struct scene *scene = played;
	size_t last = scene->has_second || scene->is_tried_twice;
	struct fake_state before;
	char id[OPERATION_ID_SIZE];
	bool died;

	begin();
	if (scene->is_tried_twice)
		drain_in_vain();
	drain(&scene->first, OPERATION_STATE_SUCCEEDED);
	if (scene->has_second)
		drain(&scene->second, OPERATION_STATE_SUCCEEDED);
	if (scene->is_undrained)
		undrain(0, false, OPERATION_STATE_INCOMPLETE);
	before = rig.world.state;
	atomic_store(&rig.die_how, how);
	atomic_store(&rig.die_at, atomic_load(&rig.writes) + number);
	submit_undrain(last, true);
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
	died = engine_rig_start_again(&rig, again ? atomic_load(&rig.writes) + again : 0, id);
	engine_rig_settle(&rig, 0);
	if (!scene->has_second)
		CHECK_TRUE(has_kept(&before));
	/* Once it was accepted it comes to its end by itself. */
	if (id[0])
		CHECK_INT(engine_rig_drain_state_at(&rig, last), DRAIN_STATE_RELEASED);
	if (engine_rig_drain_state_at(&rig, last) != DRAIN_STATE_RELEASED)
		undrain(last, true, OPERATION_STATE_SUCCEEDED);
	if (scene->has_second) {
		CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_RELEASED);
		CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	} else {
		for (size_t i = 0; i <= last; i++)
			check_given_up(i, &before);
	}
	engine_rig_done(&rig);
	return died;
}

static void test_killed_at_every_write(void)
{
	const struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), out = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	const struct scene scenes[] = {
		{.first = dimm},
		{.first = out},
		{.first = out, .is_undrained = true},
		{.first = dimm, .is_tried_twice = true},
		/* Along with what another has deferred. */
		{.first = wish_of_node(2, DRAIN_FINISH_OFFLINE), .second = dimm, .has_second = true, .is_undrained = true},
	};
	static const unsigned fewest[] = {6, 6, 4, 6, 12};

	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		for (unsigned again = 0; again < 3; again++)
			CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, &scenes[i], again) >= fewest[i]);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a drain that holds, by what it had to come to", test_held},
		{"one that is deferred, because the DIMM is out", test_deferred},
		{"one that has stopped, and one that needs attention", test_stopped_and_attention},
		{"hooks are told how it ended", test_hooks_are_told},
		{"a plan changes nothing", test_a_plan_changes_nothing},
		{"another waits for its hold", test_another_waits_for_its_hold},
		{"another waits for the DIMM", test_another_waits_for_the_dimm},
		{"another holds the node", test_another_holds},
		{"an earlier try of the same target", test_an_earlier_try},
		{"cancelled before it is given up", test_cancelled},
		{"killed at every write of the journal", test_killed_at_every_write},
	};

	return unit_main("engine_given_up", cases, ARRAY_SIZE(cases));
}
