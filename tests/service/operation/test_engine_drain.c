/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/*
 * What must hold of a drain whatever the planner: this file is linked once with planners of a few
 * lines and once with the real ones.
 */

static struct engine_rig rig;

/* An eject that may still come is not crossed by an undo: what was done stays, held. */
static bool awaits_eject(const struct operation_record *record)
{
	size_t count = record->step_count;

	/* The host's hooks are told of the end. */
	if (count && step_is_after(&record->steps[count - 1].step))
		count--;
	return count && record->steps[count - 1].step.kind == STEP_KIND_EJECT &&
	       record->steps[count - 1].state == STEP_STATE_PARTIAL;
}

static void check_done_or_undone(void)
{
	const struct operation_record *record = engine_rig_top(&rig);

	if (awaits_eject(record)) {
		CHECK_INT(record->state, OPERATION_STATE_INCOMPLETE);
		CHECK_TRUE(!record->undone && engine_rig_has_hold(&rig));
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_STOPPED);
		return;
	}
	CHECK_TRUE(record->state == OPERATION_STATE_SUCCEEDED || record->undone);
	if (record->state != OPERATION_STATE_SUCCEEDED &&
	    record->state != OPERATION_STATE_CANCELLED)
		CHECK_TRUE(record->remainder.count > 0);
}

/* ---- a drain and its children ---- */

static void test_drain_and_undrain(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record, *child;

	for (int inside = 0; inside < 2; inside++) {
		engine_rig_begin(&rig);
		rig.world.answers_inside = inside;
		engine_rig_submit(&rig, &wish);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		CHECK_TRUE(rig.drain[0] != '\0');
		if (!inside)
			CHECK_INT(engine_rig_operation(&rig, rig.id)->state,
				  OPERATION_STATE_PENDING);
		engine_rig_run(&rig, 0);
		record = engine_rig_operation(&rig, rig.id);
		engine_rig_check_truthful(&rig, false, "plain", 0);
		/* Else nothing here is tried of moves beside each other, or of one after the other. */
		CHECK_INT(rig.world.starts_at_once, rig.limits.drain_moves);
		CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(record->step_count >= 4);
		CHECK_STR(record->target, "dimm d1");
		CHECK_INT(record->steps[0].step.kind, STEP_KIND_CORDON);
		CHECK_INT(record->steps[1].step.kind, STEP_KIND_CHILD);
		CHECK_INT(record->steps[1].state, STEP_STATE_DONE);
		CHECK_INT(record->steps[1].longest_pause_us, 1500);
		CHECK_STR(record->steps[1].result,
			  "{\"guest\":{\"longest_pause_us\":1400,\"p99_us\":20,\"samples\":3}}");
		child = engine_rig_operation(&rig, record->steps[1].child_operation);
		CHECK_STR(child->parent, record->id);
		CHECK_STR(child->target, "guest g1");
		CHECK_INT(child->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(child->step_count >= 2);
		CHECK_TRUE(rig.changes > 10 && rig.drain_changes >= 3);
		CHECK_STR(rig.told_with, record->id);
		engine_rig_check_undrained(&rig);
		/* As GET /v1/drains tells it: the progress is that of the way back. */
		CHECK_STR(rig.told_with, rig.id);
		engine_rig_done(&rig);
	}
}

static void test_drain_survives_restart(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, true, "eject", 0);
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, true, "eject, restarted", 0);
	engine_rig_done(&rig);
	/* And an undrain of what a daemon before this one drained. */
	wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
}

static void test_steps_that_fail_once(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned number = 0, starts = 0;

	do {
		for (int how = 0; how < 3; how++) {
			engine_rig_begin(&rig);
			rig.world.fail_start = how == 0 ? number + 1 : 0;
			rig.world.part_start = how == 1 ? number + 1 : 0;
			rig.world.fail_prepare = how == 2 ? number + 1 : 0;
			engine_rig_submit(&rig, &wish);
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "fails once", number);
			check_done_or_undone();
			starts = rig.world.starts > starts ? rig.world.starts : starts;
			engine_rig_done(&rig);
		}
	} while (++number <= starts);
	CHECK_TRUE(number > 5);
}

static void test_steps_that_always_fail(void)
{
	static const enum step_kind kinds[] = {STEP_KIND_NUMATUNE,	 STEP_KIND_MEMORY_POLICY,
					       STEP_KIND_CPUSET,	 STEP_KIND_MOVE_PAGES,
					       STEP_KIND_HOST_HOOKS,	 STEP_KIND_OFFLINE_BLOCKS,
					       STEP_KIND_SLICE_CPUSETS,	 STEP_KIND_EJECT};
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int part = 0; part < 2; part++) {
			engine_rig_begin(&rig);
			rig.world.fail_kind = kinds[i];
			rig.world.fail_kind_state = part ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
			wish.on_timeout = ON_TIMEOUT_DEFAULT;
			engine_rig_submit(&rig, &wish);
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "always fails", (unsigned)kinds[i]);
			check_done_or_undone();
			engine_rig_done(&rig);

			engine_rig_begin(&rig);
			rig.world.fail_kind = kinds[i];
			rig.world.fail_kind_state = part ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
			wish.on_timeout = ON_TIMEOUT_STOP;
			engine_rig_submit(&rig, &wish);
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "always fails, stop",
						  (unsigned)kinds[i]);
			CHECK_TRUE(engine_rig_has_hold(&rig));
			rig.world.fail_kind = STEP_KIND_COUNT;
			if (engine_rig_top(&rig)->state != OPERATION_STATE_SUCCEEDED) {
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_INCOMPLETE);
				CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_STOPPED);
				engine_rig_check_undrained(&rig);
			}
			engine_rig_done(&rig);
		}
}

static void test_undo_that_fails(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	rig.world.fail_undos_from = 1;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
	CHECK_TRUE(!engine_rig_top(&rig)->undone);
	CHECK_STR(engine_rig_top(&rig)->error.code, "undo_failed");
	CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_UNDO_FAILED));
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
	CHECK_TRUE(engine_rig_has_hold(&rig));
	/* The rest was put back all the same. */
	CHECK_TRUE(memcmp(rig.world.state.guests, rig.initial.guests, sizeof(rig.initial.guests)) ==
		   0);
	CHECK_TRUE(!engine_rig_is_initial(&rig));
	rig.world.fail_undos_from = 0;
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
}

/* ---- hooks of the host ---- */

static size_t find_hooks(const struct operation_record *record, const char *when)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_HOST_HOOKS && strcmp(record->steps[i].step.text, when) == 0)
			return i;
	return SIZE_MAX;
}

static void test_hooks(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;
	size_t before, after;

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	record = engine_rig_top(&rig);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	before = find_hooks(record, "before");
	after = find_hooks(record, STEP_TEXT_AFTER);
	CHECK_INT(record->steps[before].state, STEP_STATE_DONE);
	CHECK_INT(after, record->step_count - 1);
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_CHILD)
			CHECK_TRUE(i < before);
		else if (record->steps[i].step.kind == STEP_KIND_OFFLINE_BLOCKS)
			CHECK_TRUE(before < i);
	CHECK_TRUE(!rig.world.state.hooks_asked);
	/* As if one of them had not heard: the undrain tells it. */
	rig.world.state.hooks_asked = true;
	engine_rig_check_undrained(&rig);
	CHECK_INT(engine_rig_operation(&rig, record->id)->steps[before].state, STEP_STATE_UNDONE);
	engine_rig_done(&rig);
}

/* One that fails is told, and neither stops the drain nor its undo. */
static void test_hooks_that_fail(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;

	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_HOST_HOOKS;
	rig.world.fail_kind_state = STEP_STATE_PARTIAL;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "hooks fail", 0);
	record = engine_rig_top(&rig);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(record->steps[find_hooks(record, "before")].state, STEP_STATE_PARTIAL);
	CHECK_TRUE(rig.world.state.hooks_asked);
	rig.world.fail_kind = STEP_KIND_COUNT;
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);

	/* Offline never works, so that it is undone. */
	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	rig.world.complain_undo = STEP_KIND_HOST_HOOKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "hooks fail in an undo", 0);
	record = engine_rig_top(&rig);
	CHECK_TRUE(record->undone);
	CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_HOOK_FAILED));
	CHECK_INT(find_hooks(record, STEP_TEXT_AFTER), SIZE_MAX);
	engine_rig_done(&rig);
}

/* Cancelled while one runs: it may have stopped somebody already. */
static void test_hooks_cancelled(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_HOST_HOOKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(rig.world.state.hooks_asked);
	CHECK_INT(engine_cancel(rig.engine, rig.id, true, NULL), 0);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "hooks cancelled", 0);
	CHECK_TRUE(engine_rig_top(&rig)->undone && !rig.world.state.hooks_asked);
	engine_rig_done(&rig);
}

/* All has gone, and the time with it: that is no reason to undo it, and the hooks are told. */
static void test_hooks_at_the_deadline(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;

	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(rig.world.state.hooks_asked);
	engine_rig_advance(&rig, 100000);
	for (size_t i = 32; i < FAKE_BLOCKS; i++)
		rig.world.state.online[i] = false;
	engine_rig_run(&rig, 0);
	record = engine_rig_top(&rig);
	CHECK_TRUE(record->deadline_exceeded);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(step_is_after(&record->steps[record->step_count - 1].step));
	CHECK_TRUE(!rig.world.state.hooks_asked);
	engine_rig_done(&rig);
}

/* ---- slices of the host ---- */

static const struct step_record *find_slices(const struct operation_record *record)
{
	const struct step_record *found = NULL;

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_SLICE_CPUSETS)
			found = &record->steps[i];
	return found;
}

/* They lose the node when its memory has gone, and have it again before anything else is put back. */
static void test_slices(void)
{
	for (enum drain_finish finish = DRAIN_FINISH_EMPTY; finish <= DRAIN_FINISH_OFFLINE; finish++) {
		struct wish wish = engine_rig_drain_wish(finish);
		const struct operation_record *record;
		const struct step_record *slices;

		engine_rig_begin(&rig);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		record = engine_rig_top(&rig);
		CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
		CHECK_INT(rig.world.state.slices_lack, 1 << 2);
		slices = find_slices(record);
		CHECK_INT(slices->step.nodes, 1 << 2);
		CHECK_STR(slices->step.slices, "machine.slice system.slice");
		for (const struct step_record *after = slices + 1; after < record->steps + record->step_count; after++)
			CHECK_TRUE(step_is_after(&after->step));
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_check_undrained(&rig);
		CHECK_INT(rig.world.state.slices_lack, 0);
		engine_rig_done(&rig);
	}
}

/* What cannot be taken from them is told, and fails no drain; what they cannot get back keeps it from being over. */
static void test_slices_that_fail(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_SLICE_CPUSETS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "slices fail", 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(find_slices(engine_rig_top(&rig))->state, STEP_STATE_FAILED);
	rig.world.fail_kind = STEP_KIND_COUNT;
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);

	/* Half of them, and then the eject fails, so that all is undone; somebody has set the other half meanwhile. */
	wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	rig.world.complain_undo = STEP_KIND_SLICE_CPUSETS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, true, "slices complain", 0);
	CHECK_TRUE(engine_rig_top(&rig)->undone);
	CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_SLICE_CPUSET));
	engine_rig_done(&rig);

	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	rig.world.fail_undos_from = 1;
	rig.world.fail_undo_kind = STEP_KIND_SLICE_CPUSETS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
	CHECK_INT(rig.world.state.slices_lack, 1 << 2);
	rig.world.fail_undos_from = 0;
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
}

/* ---- what somebody else has changed since ---- */

/* Bound to node 0, and brought there: by virsh, say. */
static void place_by_somebody(int number)
{
	struct fake_guest *guest = &rig.world.state.guests[number];

	guest->cpuset_mems = guest->policy_nodes = guest->numatune_nodes = 1;
	guest->policy_mode = POLICY_MODE_BIND;
	guest->node_bytes[0] = guest->current_bytes;
	guest->node_bytes[1] = guest->node_bytes[2] = 0;
	rig.world.is_changed[number] = true;
}

static void submit_undrain(void)
{
	const struct drain_record *drain;
	struct wish wish;

	CHECK_INT(engine_drains(rig.engine, &drain, 1), 1);
	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain->id);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
}

/* All is back but the first guest, which is as it was left. */
static void check_left(const struct fake_guest *left)
{
	struct fake_state state = rig.world.state;

	CHECK_TRUE(memcmp(&state.guests[0], left, sizeof(*left)) == 0);
	state.guests[0] = rig.initial.guests[0];
	CHECK_TRUE(fake_state_is_equal(&state, &rig.initial));
}

static const struct step_record *first_move(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_CHILD && strcmp(record->steps[i].step.guest_name, "g1") == 0)
			return &record->steps[i];
	return NULL;
}

static void check_released_with(const struct operation_record *record, const struct fake_guest *left)
{
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(record->remainder.count, 0);
	CHECK_INT(record->warnings.count, 1);
	CHECK_STR(remainder_code_name(record->warnings.items[0].code), "changed_since");
	CHECK_STR(record->warnings.items[0].object, "guest g1");
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_RELEASED);
	CHECK_TRUE(!engine_rig_has_hold(&rig));
	check_left(left);
}

/* Nothing of it is put back, whatever the daemon dies of meanwhile, and no other guest is kept from going home. */
static void test_changed_guest_is_left(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *child;
	const struct step_record *away;
	char drain[OPERATION_ID_SIZE];
	struct fake_guest left;
	unsigned ticks = 1;

	for (unsigned tick = 0; tick < ticks; tick++) {
		engine_rig_begin(&rig);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		engine_rig_check_truthful(&rig, false, "to be changed", 0);
		memcpy(drain, rig.id, sizeof(drain));
		place_by_somebody(0);
		left = rig.world.state.guests[0];
		rig.world.ticks = 0;
		submit_undrain();
		engine_rig_run(&rig, tick);
		if (tick == 0) {
			ticks = rig.world.ticks;
		} else {
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			engine_rig_run(&rig, 0);
		}
		check_released_with(engine_rig_top(&rig), &left);
		away = first_move(engine_rig_operation(&rig, drain));
		CHECK_INT(away->state, STEP_STATE_UNDONE);
		CHECK_TRUE(remainder_list_has(&away->remainder, REMAINDER_CHANGED_SINCE));
		/* It stands as done: that is what the guest was left with. */
		child = engine_rig_operation(&rig, away->child_operation);
		CHECK_TRUE(!child->undone);
		for (size_t i = 0; i < child->step_count; i++)
			CHECK_TRUE(child->steps[i].state != STEP_STATE_UNDONE || !step_places_guest(&child->steps[i].step));
		engine_rig_done(&rig);
	}
	CHECK_TRUE(ticks > 10);
}

/* The same of a drain that undoes itself. */
static void test_restore_leaves_changed_guest(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	struct fake_guest left;

	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	engine_rig_submit(&rig, &wish);
	while (rig.world.undos == 0 && fake_world_is_drained(&rig.world, false) == false)
		engine_rig_run(&rig, rig.world.ticks + 1);
	place_by_somebody(0);
	left = rig.world.state.guests[0];
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
	CHECK_TRUE(engine_rig_top(&rig)->undone && !engine_rig_has_hold(&rig));
	CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_CHANGED_SINCE));
	CHECK_TRUE(!remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_UNDO_FAILED));
	check_left(&left);
	engine_rig_done(&rig);
}

/* A move by hand says where its guest belongs, with nobody to look: but for one that was undone. */
static void test_moved_guest_is_left(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), move;
	struct fake_guest left;
	int node;

	for (int kept = 0; kept < 2; kept++) {
		engine_rig_begin(&rig);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		engine_rig_advance(&rig, 1000);
		node = rig.world.state.guests[0].node_bytes[0] ? 1 : 0;
		move = engine_rig_move_wish(0, node);
		move.allow = UINT32_MAX >> (32 - CONSENT_COUNT);
		engine_rig_submit(&rig, &move);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		if (!kept) {
			engine_rig_run(&rig, rig.world.ticks + 6);
			CHECK_INT(engine_cancel(rig.engine, rig.id, true, NULL), 0);
		}
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->undone, !kept);
		engine_rig_advance(&rig, 1000);
		left = rig.world.state.guests[0];
		if (kept) {
			CHECK_INT(left.node_bytes[node], left.current_bytes);
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			submit_undrain();
			engine_rig_run(&rig, 0);
			check_released_with(engine_rig_top(&rig), &left);
		} else {
			engine_rig_check_undrained(&rig);
		}
		engine_rig_done(&rig);
	}
}

/* ---- slow ---- */

/* A block has a deadline of its own; all of them together have as long as the drain has. */
static void test_offline_takes_its_time(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	for (int is_paused = 0; is_paused < 2; is_paused++) {
		engine_rig_begin(&rig);
		rig.limits.block_timeout_ms = 1000;
		rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_DRAINING);
		if (is_paused)
			CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
		engine_rig_advance(&rig, 10000);
		engine_rig_run(&rig, 0);
		if (is_paused)
			CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
		fake_world_unhang(&rig.world);
		engine_rig_run(&rig, 0);
		engine_rig_check_truthful(&rig, false, "slow offline", (unsigned)is_paused);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		engine_rig_done(&rig);
	}
	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, 61000);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "offline beyond the deadline", 0);
	CHECK_TRUE(engine_rig_top(&rig)->deadline_exceeded && engine_rig_top(&rig)->undone);
	engine_rig_done(&rig);
}

/* A guest that was on its way when the time was over still gets there, and so do the others. */
static void test_goes_on_past_its_time(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	wish.on_timeout = ON_TIMEOUT_CONTINUE;
	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_MOVE_PAGES;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, 61000);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(engine_rig_top(&rig)->deadline_exceeded);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_DRAINING);
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "continues", 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	engine_rig_done(&rig);
}

/* Of all that goes, memory and blocks, with a rate and an end of what is at work. */
static void test_progress_of_blocks(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	uint64_t guests = 640 * FAKE_MIB;
	const struct operation_progress *progress;

	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	progress = &engine_rig_top(&rig)->progress;
	CHECK_INT(progress->total_bytes, guests + 8 * FAKE_BLOCK);
	CHECK_INT(progress->done_bytes, guests + 4 * FAKE_BLOCK);
	/* What the moves made says nothing of it. */
	CHECK_INT(progress->bytes_per_s, 0);
	CHECK_INT(progress->eta_s, UINT32_MAX);
	engine_rig_advance(&rig, 1000);
	fake_world_tell(&rig.world, 5 * FAKE_BLOCK);
	CHECK_INT(progress->done_bytes, guests + 5 * FAKE_BLOCK);
	CHECK_INT(progress->bytes_per_s, FAKE_BLOCK);
	CHECK_INT(progress->eta_s, 3);
	/* All that was planned is done, but it goes on: for how long nobody knows. */
	fake_world_tell(&rig.world, 9 * FAKE_BLOCK);
	CHECK_INT(progress->done_bytes, progress->total_bytes);
	CHECK_INT(progress->eta_s, UINT32_MAX);
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	CHECK_INT(progress->eta_s, 0);
	CHECK_INT(progress->done_bytes, guests + 8 * FAKE_BLOCK);
	engine_rig_done(&rig);
}

/* The kernel takes its time, longer than the drain has. It cannot be stopped, and goes in the end. */
static void test_eject_without_a_word(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	for (int goes = 0; goes < 2; goes++) {
		const struct operation_record *record;

		engine_rig_begin(&rig);
		rig.world.hang_kind = STEP_KIND_EJECT;
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_cancel(rig.engine, rig.id, true, NULL), -EOPNOTSUPP);
		engine_rig_advance(&rig, 61000);
		/* Before it is looked at again, or after all is over. */
		rig.world.state.ejected = goes;
		engine_rig_run(&rig, 0);
		record = engine_rig_top(&rig);
		CHECK_TRUE(record->deadline_exceeded && !record->undone);
		CHECK_INT(record->state, goes ? OPERATION_STATE_SUCCEEDED : OPERATION_STATE_INCOMPLETE);
		CHECK_INT(engine_rig_drain_state(&rig), goes ? DRAIN_STATE_HELD : DRAIN_STATE_STOPPED);
		CHECK_TRUE(engine_rig_has_hold(&rig));
		CHECK_TRUE(fake_world_is_drained(&rig.world, goes));
		engine_rig_done(&rig);
	}
}

/* ---- killed ---- */

struct scene {
	const char *name;
	enum step_kind fail_kind;
	bool cancels; /* with undo, at the sixth look */
};

static void play(const struct scene *scene, const struct wish *wish)
{
	engine_rig_submit(&rig, wish);
	if (!scene->cancels) {
		engine_rig_run(&rig, 0);
		return;
	}
	if (rig.answered && engine_rig_run(&rig, 40) && engine_rig_top(&rig))
		engine_cancel(rig.engine, engine_rig_top(&rig)->id, true, NULL);
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
}

/* How often it went on to the end, [1], and how often it was undone. */
static unsigned rig_ends[2];

static void check_after_kill(const struct scene *scene, const char *id, unsigned number)
{
	const struct operation_record *record;

	engine_rig_run(&rig, 0);
	record = engine_rig_top(&rig);
	if (!record) {
		/* It died before anybody was told of an operation. */
		CHECK_STR(id, "");
		CHECK_TRUE(engine_rig_is_initial(&rig));
		return;
	}
	if (id[0])
		CHECK_STR(record->id, id);
	engine_rig_check_truthful(&rig, true, scene->name, number);
	check_done_or_undone();
	rig_ends[record->state == OPERATION_STATE_SUCCEEDED]++;
}

static const struct scene scenes[] = {
	{"drain", STEP_KIND_COUNT, false},
	{"drain that fails", STEP_KIND_EJECT, false},
	{"drain that is cancelled", STEP_KIND_COUNT, true},
};

static void set_scene(const struct scene *scene)
{
	engine_rig_init(&rig);
	rig.world.fail_kind = scene->fail_kind;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
}

/* Dies at the write of that number (from 1); false: there is none so late. */
static bool kill_at_write(const void *played, enum journal_gate how, unsigned number, unsigned again)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	const struct scene *scene = played;
	char id[OPERATION_ID_SIZE];
	bool died;

	set_scene(scene);
	engine_rig_start_mortal(&rig, how, number);
	play(scene, &wish);
	died = engine_rig_start_again(&rig, again, id);
	check_after_kill(scene, id, number);
	engine_rig_done(&rig);
	return died;
}

static void test_killed_at_every_write(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		rig_ends[0] = rig_ends[1] = 0;
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, &scenes[i], 0) >= 20);
		/* Being killed is no reason to undo. */
		if (i == 0)
			CHECK_TRUE(rig_ends[1] > 0 && rig_ends[0] == 0);
	}
}

static void test_killed_twice(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		for (unsigned first = 2; first < 40; first += 5)
			for (unsigned second = 1; second < 14; second += 3)
				kill_at_write(&scenes[i],
					      second % 2 ? JOURNAL_GATE_LOST
							 : JOURNAL_GATE_UNANSWERED,
					      first, second);
}

/* Also between two writes, with steps half done. */
static void test_killed_at_every_tick(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned tick, ticks;

	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		if (scenes[i].cancels)
			continue;
		tick = 0;
		do {
			char id[OPERATION_ID_SIZE] = "";

			set_scene(&scenes[i]);
			engine_rig_start(&rig);
			engine_rig_submit(&rig, &wish);
			snprintf(id, sizeof(id), "%s", rig.id);
			if (++tick > 1)
				engine_rig_run(&rig, tick);
			ticks = rig.world.ticks;
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			check_after_kill(&scenes[i], id, tick);
			engine_rig_done(&rig);
		} while (ticks >= tick);
		CHECK_TRUE(tick > 20);
	}
}

static void test_killed_in_an_undrain(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	unsigned number = 0;
	bool died;

	do {
		char drain[OPERATION_ID_SIZE];
		unsigned long before;
		struct wish undrain;

		engine_rig_begin(&rig);
		engine_rig_submit(&rig, &wish);
		snprintf(drain, sizeof(drain), "%s", rig.drain);
		engine_rig_run(&rig, 0);
		before = atomic_load(&rig.writes);
		atomic_store(&rig.die_how,
			     number % 2 ? JOURNAL_GATE_LOST : JOURNAL_GATE_UNANSWERED);
		atomic_store(&rig.die_at, before + 2 + number);
		wish_init(&undrain, OPERATION_KIND_UNDRAIN);
		snprintf(undrain.drain, sizeof(undrain.drain), "%s", drain);
		engine_rig_submit(&rig, &undrain);
		if (!atomic_load(&rig.died))
			engine_rig_run(&rig, 0);
		died = atomic_load(&rig.died);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->wish.kind, OPERATION_KIND_UNDRAIN);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_RELEASED);
		engine_rig_done(&rig);
		number++;
	} while (died);
	CHECK_TRUE(number > 10);
}

/* ---- what keeps its memory empty ---- */

/* The drain has ended, and a guest is there that was not: it is moved away, as one of the drain's own steps. */
static void submit_newcomer(void)
{
	struct fake_guest *guest = &rig.world.state.guests[1];
	struct wish wish = engine_rig_move_wish(1, 1);
	const struct drain_record *drain = NULL;
	struct step step;

	CHECK_INT(engine_drains(rig.engine, &drain, 1), 1);
	guest->node_bytes[2] = guest->node_bytes[1];
	guest->node_bytes[1] = 0;
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1u << 2;
	rig.initial.guests[1] = *guest;
	wish.move.form = MOVE_FORM_MAP;
	wish.move.map[2] = 1;
	wish.allow = UINT32_MAX >> (32 - CONSENT_COUNT);
	memcpy(wish.drain, drain->id, sizeof(wish.drain));
	step_init(&step, STEP_KIND_CHILD);
	memcpy(step.guest, wish.guest, sizeof(step.guest));
	memcpy(step.text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
	step.node = 2;
	step.nodes = 1u << 1;
	step.undoable = true;
	engine_rig_submit_with(
		&rig, &(struct engine_submission){.wish = &wish, .actor = OPERATION_ACTOR_HOLD, .newcomer = &step});
}

/* Dies at that write, from when it is to be moved to the end of the undrain; false: there is none so late. */
static bool kill_with_a_newcomer(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EMPTY), undrain;
	const struct drain_record *drain = NULL;
	char id[OPERATION_ID_SIZE];
	bool died;

	engine_rig_init(&rig);
	rig.world.state.guests[1].node_bytes[1] += rig.world.state.guests[1].node_bytes[2];
	rig.world.state.guests[1].node_bytes[2] = 0;
	rig.initial = rig.world.state;
	engine_rig_start(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	atomic_store(&rig.die_how, how);
	atomic_store(&rig.die_at, atomic_load(&rig.writes) + number);
	submit_newcomer();
	if (!atomic_load(&rig.died) && engine_rig_run(&rig, 0)) {
		CHECK_INT(rig.world.state.guests[1].node_bytes[2], 0);
		CHECK_INT(engine_drains(rig.engine, &drain, 1), 1);
		wish_init(&undrain, OPERATION_KIND_UNDRAIN);
		memcpy(undrain.drain, drain->id, sizeof(undrain.drain));
		engine_rig_submit(&rig, &undrain);
		if (!atomic_load(&rig.died))
			engine_rig_run(&rig, 0);
	}
	died = engine_rig_start_again(&rig, again, id);
	engine_rig_run(&rig, 0);
	engine_rig_check_given_back(&rig);
	engine_rig_done(&rig);
	return died;
}

static void test_killed_with_a_newcomer(void)
{
	for (unsigned again = 0; again < 3; again += 2)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_with_a_newcomer, NULL, again) >= 15);
}

/* ---- killed, and a worker of it does not end ---- */

static bool is_of_blocks(void)
{
	enum step_kind kind = rig.world.stuck.step.kind;

	return kind == STEP_KIND_OFFLINE_BLOCKS || kind == STEP_KIND_ONLINE_BLOCKS || kind == STEP_KIND_EJECT;
}

/* Comes to that tick and is killed there. False: the kernel keeps nothing of it. */
static bool kill_but_stuck(const struct scene *scene, const struct wish *wish, unsigned tick, bool *ret_late)
{
	set_scene(scene);
	engine_rig_start(&rig);
	engine_rig_submit(&rig, wish);
	if (scene->cancels && tick > 40 && engine_rig_run(&rig, 40))
		engine_cancel(rig.engine, engine_rig_top(&rig)->id, true, NULL);
	if (tick > 1)
		engine_rig_run(&rig, tick);
	*ret_late = rig.world.ticks < tick;
	return engine_rig_kill_but_stuck(&rig);
}

/*
 * All waits for it that needs what it has: the operation itself, or one of its children. Only without what becomes of a
 * pool a drain can do: the blocks take the pages along.
 */
static void check_waits(void)
{
	const struct operation_record *records[16];
	size_t count = engine_operations(rig.engine, records, ARRAY_SIZE(records));
	bool is_waited_for = false;

	for (size_t i = 0; i < count; i++)
		is_waited_for = is_waited_for || strcmp(records[i]->waiting_for, "worker 4711") == 0;
	CHECK_TRUE(!rig.world.beside_stuck);
	if (rig.world.stuck.step.kind == STEP_KIND_HOST_POOL)
		return;
	CHECK_TRUE(is_waited_for);
	CHECK_TRUE(!operation_state_is_final(engine_rig_top(&rig)->state));
}

static unsigned stuck_of_blocks, stuck_of_guests;

/* Whatever is at work: it goes on by itself as soon as that has come back, with its work done or not. */
static void test_killed_with_a_stuck_worker(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	bool late;

	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		unsigned tick = 0;

		do {
			/* Its work is done, or is not, or the time is over meanwhile. */
			for (unsigned how = 0; how < 3; how++) {
				if (!kill_but_stuck(&scenes[i], &wish, tick, &late)) {
					engine_rig_done(&rig);
					break;
				}
				/* What an eject does after its time is told of as that which may still come. */
				bool is_over = how == 2 && rig.world.stuck.step.kind != STEP_KIND_EJECT &&
					       rig.world.stuck.step.kind != STEP_KIND_HOST_POOL;

				stuck_of_blocks += is_of_blocks();
				stuck_of_guests += !is_of_blocks();
				engine_rig_start(&rig);
				engine_rig_run(&rig, 0);
				check_waits();
				if (is_over) {
					engine_rig_advance(&rig, 100000);
					engine_rig_run(&rig, 0);
					check_waits();
				}
				engine_rig_unstick(&rig, how == 0);
				engine_rig_run(&rig, 0);
				engine_rig_check_truthful(&rig, true, "stuck", tick);
				check_done_or_undone();
				if (is_over && !scenes[i].cancels)
					CHECK_TRUE(engine_rig_top(&rig)->undone);
				engine_rig_done(&rig);
			}
			tick++;
		} while (!late);
	}
	CHECK_TRUE(stuck_of_blocks > 10 && stuck_of_guests > 10);
}

/* And killed at every write of what comes then, before that worker has come back and after. */
static void test_killed_at_every_write_beside_a_stuck_worker(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	bool late;

	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		unsigned tick = 0;

		do {
			bool is_stuck, died;
			unsigned number = 1;

			do {
				is_stuck = kill_but_stuck(&scenes[i], &wish, tick, &late) && is_of_blocks();
				died = false;
				if (!is_stuck) {
					engine_rig_done(&rig);
					break;
				}
				engine_rig_start_mortal(&rig, number % 2 ? JOURNAL_GATE_LOST : JOURNAL_GATE_UNANSWERED,
							number);
				engine_rig_run(&rig, 0);
				died = atomic_load(&rig.died);
				if (!died) {
					engine_rig_unstick(&rig, number % 4 < 2);
					engine_rig_run(&rig, 0);
					died = atomic_load(&rig.died);
				}
				if (died) {
					engine_rig_kill(&rig);
					engine_rig_start(&rig);
					engine_rig_run(&rig, 0);
				}
				if (rig.world.stuck.used) {
					check_waits();
					engine_rig_unstick(&rig, number % 4 < 2);
					engine_rig_run(&rig, 0);
				}
				engine_rig_check_truthful(&rig, true, "stuck, killed again", number);
				check_done_or_undone();
				engine_rig_done(&rig);
				number++;
			} while (died);
			CHECK_TRUE(!is_stuck || number > 2);
			tick++;
		} while (!late);
	}
}

static void on_idle(void *user)
{
	++*(int *)user;
}

static void test_stopped_at_every_tick(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned tick = 1, ticks;

	do {
		int idle = 0;

		engine_rig_begin(&rig);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, ++tick);
		ticks = rig.world.ticks;
		engine_stop(rig.engine, on_idle, &idle);
		engine_rig_run(&rig, 0);
		CHECK_INT(idle, 1);
		engine_rig_submit(&rig, &wish);
		CHECK_INT(rig.result, ENGINE_SUBMIT_FAILED);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		engine_rig_check_truthful(&rig, true, "stopped", tick);
		check_done_or_undone();
		engine_rig_done(&rig);
	} while (ticks >= tick);
	CHECK_TRUE(tick > 20);
}

/* ---- cancelled, paused, refused ---- */

static void test_cancelled_at_every_tick(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned ticks;

	for (int undo = 0; undo < 2; undo++) {
		unsigned tick = 0;

		do {
			int r;

			engine_rig_begin(&rig);
			engine_rig_submit(&rig, &wish);
			if (++tick > 1)
				engine_rig_run(&rig, tick);
			ticks = rig.world.ticks;
			r = engine_cancel(rig.engine, rig.id, undo, NULL);
			if (r == 0)
				CHECK_INT(engine_cancel(rig.engine, rig.id, undo, NULL),
					  -EINPROGRESS);
			engine_rig_run(&rig, 0);
			if (r == 0 && engine_rig_top(&rig)->state != OPERATION_STATE_SUCCEEDED) {
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_CANCELLED);
				CHECK_INT(engine_rig_top(&rig)->undone, undo);
				CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_STOPPED);
				if (undo)
					CHECK_TRUE(engine_rig_is_initial(&rig) &&
						   !engine_rig_has_hold(&rig));
			} else {
				CHECK_TRUE(r == -EALREADY || r == -EOPNOTSUPP || r == 0);
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
			}
			CHECK_INT(engine_cancel(rig.engine, rig.id, undo, NULL), -EALREADY);
			engine_rig_done(&rig);
		} while (ticks >= tick);
		CHECK_TRUE(tick > 20);
	}
	engine_rig_begin(&rig);
	CHECK_INT(engine_cancel(rig.engine, "op-none", false, NULL), -ENOENT);
	engine_rig_done(&rig);
}

static void test_pause(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned tick = 1, ticks;

	do {
		unsigned starts;

		engine_rig_begin(&rig);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, ++tick);
		ticks = rig.world.ticks;
		if (engine_pause(rig.engine, rig.id, NULL) == 0) {
			CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
			starts = rig.world.starts;
			engine_rig_run(&rig, 0);
			CHECK_INT(rig.world.starts - starts <= 1, true);
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
			if (tick % 2 && engine_rig_top(&rig)->state == OPERATION_STATE_PAUSED) {
				engine_rig_kill(&rig);
				engine_rig_start(&rig);
				engine_rig_run(&rig, 0);
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
			}
			CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
		}
		engine_rig_run(&rig, 0);
		engine_rig_check_truthful(&rig, true, "pause", tick);
		check_done_or_undone();
		engine_rig_done(&rig);
	} while (ticks >= tick);
	/* Time runs on while it is paused. */
	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 20);
	CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, 61000);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, true, "paused too long", 0);
	CHECK_TRUE(engine_rig_top(&rig)->undone);
	engine_rig_done(&rig);
}

static void test_disk_refuses(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	for (unsigned length = 1; length <= 3; length++)
		for (unsigned from = 1;; from++) {
			bool reached;

			engine_rig_begin(&rig);
			atomic_store(&rig.refuse_to, from + length - 1);
			atomic_store(&rig.refuse_from, from);
			engine_rig_submit(&rig, &wish);
			if (from == 1) {
				CHECK_INT(rig.result, ENGINE_SUBMIT_FAILED);
				CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_top(&rig));
				engine_rig_done(&rig);
				continue;
			}
			engine_rig_run(&rig, 0);
			for (unsigned i = 0; i < length + 3; i++) {
				engine_rig_advance(&rig, 1100);
				engine_rig_run(&rig, 0);
			}
			engine_rig_check_truthful(&rig, true, "full disk", from);
			reached = atomic_load(&rig.writes) >= from;
			/* What is told is what a later daemon reads. */
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "full disk, restarted", from);
			engine_rig_done(&rig);
			if (!reached)
				break;
		}
}

/* Whatever state it was in: what is told is what a later daemon reads. */
static void test_disk_refuses_an_undrain(void)
{
	static const enum drain_state states[] = {DRAIN_STATE_HELD, DRAIN_STATE_ATTENTION, DRAIN_STATE_STOPPED};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT), back;
		const struct drain_record *drain = NULL;
		char undrain[OPERATION_ID_SIZE];

		engine_rig_begin(&rig);
		if (states[i] != DRAIN_STATE_HELD) {
			rig.world.fail_kind = STEP_KIND_EJECT;
			rig.world.fail_kind_state = states[i] == DRAIN_STATE_STOPPED ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
			rig.world.fail_undos_from = 1;
		}
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), states[i]);
		CHECK_TRUE(engine_rig_has_hold(&rig));
		CHECK_INT(engine_drains(rig.engine, &drain, 1), 1);
		snprintf(undrain, sizeof(undrain), "%s", drain->undrain_operation);
		wish_init(&back, OPERATION_KIND_UNDRAIN);
		snprintf(back.drain, sizeof(back.drain), "%s", drain->id);
		atomic_store(&rig.refuse_to, atomic_load(&rig.writes) + 1);
		atomic_store(&rig.refuse_from, atomic_load(&rig.writes) + 1);
		engine_rig_submit(&rig, &back);
		CHECK_INT(rig.result, ENGINE_SUBMIT_FAILED);
		CHECK_INT(engine_rig_drain_state(&rig), states[i]);
		CHECK_INT(engine_drains(rig.engine, &drain, 1), 1);
		CHECK_STR(drain->undrain_operation, undrain);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), states[i]);
		engine_rig_done(&rig);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a drain moves its guests, holds, and is undone by an undrain",
		 test_drain_and_undrain},
		{"a hold outlives the daemon, and so does the way back",
		 test_drain_survives_restart},
		{"each step fails once: done in the end, or undone", test_steps_that_fail_once},
		{"each kind of step always fails: undone, or incomplete with the hold",
		 test_steps_that_always_fail},
		{"an undo that fails is told, holds, and can be tried again", test_undo_that_fails},
		{"hooks of the host are called before the blocks go, and at the end", test_hooks},
		{"hooks that fail stop nothing", test_hooks_that_fail},
		{"slices lose a node once it is empty", test_slices},
		{"slices that cannot be changed", test_slices_that_fail},
		{"a guest that somebody else has changed since stays so, and is told", test_changed_guest_is_left},
		{"so does one whose drain undoes itself", test_restore_leaves_changed_guest},
		{"and one that was moved by hand since", test_moved_guest_is_left},
		{"hooks that were cancelled are told so", test_hooks_cancelled},
		{"hooks are told of what was done at the deadline", test_hooks_at_the_deadline},
		{"blocks go offline for longer than one of them may take", test_offline_takes_its_time},
		{"a drain that continues past its time ends complete", test_goes_on_past_its_time},
		{"progress is told of blocks as of memory", test_progress_of_blocks},
		{"an eject that nobody can stop is not crossed by an undo", test_eject_without_a_word},
		{"killed at every write of the journal", test_killed_at_every_write},
		{"killed at every tick of the world", test_killed_at_every_tick},
		{"killed twice", test_killed_twice},
		{"killed in an undrain", test_killed_in_an_undrain},
		{"killed at every write of what keeps it empty and of the undrain", test_killed_with_a_newcomer},
		{"killed at every tick, with a worker that does not end", test_killed_with_a_stuck_worker},
		{"killed at every write beside a worker that does not end",
		 test_killed_at_every_write_beside_a_stuck_worker},
		{"stopped at every tick: goes on after the start", test_stopped_at_every_tick},
		{"a drain cancelled at every tick, with and without undo",
		 test_cancelled_at_every_tick},
		{"paused and resumed at every tick, also over a restart", test_pause},
		{"the disk refuses one to three writes, anywhere", test_disk_refuses},
		{"the disk refuses an undrain: the drain is as it was", test_disk_refuses_an_undrain},
	};

	return unit_main("engine_drain", cases, ARRAY_SIZE(cases));
}
