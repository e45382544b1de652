/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "engine_priv.h"
#include "engine_rig.h"
#include "unit.h"

static struct engine_rig rig;

/* ---- cancelled, paused, out of time ---- */

static void test_resize(void)
{
	struct wish wish = engine_rig_resize_wish(0, 320 * FAKE_MIB);
	const struct operation_record *record;

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	record = engine_rig_operation(&rig, rig.id);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(record->snapshot_before_bytes, 512 * FAKE_MIB);
	CHECK_INT(rig.world.state.guests[0].current_bytes, 320 * FAKE_MIB);
	CHECK_TRUE(fake_guest_is_as_found(&rig.world.state.guests[0]));
	CHECK_INT(record->progress.done_bytes, record->progress.total_bytes);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ALREADY);
	engine_rig_done(&rig);
}

static void test_resize_cancelled_at_every_tick(void)
{
	struct wish wish = engine_rig_resize_wish(0, 320 * FAKE_MIB);
	unsigned ticks;

	for (int undo = 0; undo < 2; undo++) {
		unsigned tick = 0;

		do {
			const struct fake_guest *guest = &rig.world.state.guests[0];
			int r;

			engine_rig_begin(&rig);
			engine_rig_submit(&rig, &wish);
			if (++tick > 1)
				engine_rig_run(&rig, tick);
			ticks = rig.world.ticks;
			r = engine_cancel(rig.engine, rig.id, undo, NULL);
			engine_rig_run(&rig, 0);
			CHECK_INT(engine_rig_top(&rig)->state,
				  r == 0 ? OPERATION_STATE_CANCELLED : OPERATION_STATE_SUCCEEDED);
			/* Whatever was reached, nothing leaves later, and no lease is left open. */
			CHECK_INT(guest->current_bytes, guest->requested_bytes);
			CHECK_TRUE(fake_guest_is_as_found(guest));
			if (undo && r == 0)
				CHECK_TRUE(engine_rig_is_initial(&rig));
			engine_rig_done(&rig);
		} while (ticks >= tick);
	}
}

static void test_deadline_of_a_resize(void)
{
	struct wish wish = engine_rig_resize_wish(0, 320 * FAKE_MIB);
	const struct fake_guest *guest = &rig.world.state.guests[0];

	/* Stuck half way: what is done stays, and the request with it. */
	engine_rig_begin(&rig);
	rig.world.state.guests[0].stuck_above = 448 * FAKE_MIB;
	rig.world.hang_start = 3;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, OPERATION_STATE_RUNNING);
	engine_rig_advance(&rig, 119000);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, OPERATION_STATE_RUNNING);
	engine_rig_advance(&rig, 2000);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_INCOMPLETE);
	CHECK_TRUE(engine_rig_top(&rig)->deadline_exceeded);
	CHECK_INT(guest->current_bytes, 448 * FAKE_MIB);
	CHECK_INT(guest->requested_bytes, 448 * FAKE_MIB);
	CHECK_TRUE(fake_guest_is_as_found(guest));
	CHECK_TRUE(engine_rig_top(&rig)->remainder.count > 0);
	/* The step was cancelled, but by nobody but the deadline. */
	CHECK_INT(engine_rig_top(&rig)->steps[2].state, STEP_STATE_PARTIAL);
	CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->steps[2].remainder, REMAINDER_DEADLINE));
	CHECK_TRUE(!remainder_list_has(&engine_rig_top(&rig)->steps[2].remainder, REMAINDER_CANCELLED));
	engine_rig_done(&rig);

	engine_rig_begin(&rig);
	wish.on_timeout = ON_TIMEOUT_RESTORE;
	rig.world.hang_start = 2;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, 121000);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
	CHECK_STR(engine_rig_top(&rig)->error.code, "deadline_exceeded");
	CHECK_TRUE(engine_rig_top(&rig)->undone && engine_rig_is_initial(&rig));
	engine_rig_done(&rig);

	engine_rig_begin(&rig);
	wish.on_timeout = ON_TIMEOUT_CONTINUE;
	rig.world.hang_start = 2;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, 500000);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_RUNNING);
	CHECK_TRUE(engine_rig_top(&rig)->deadline_exceeded);
	engine_rig_done(&rig);
}

static void test_deadline_of_a_drain(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	/* The sixth is the eject, and nobody knows what becomes of that: nothing is undone under its hands. */
	for (unsigned hang = 1; hang <= 6; hang++) {
		for (int killed = 0; killed < 2; killed++) {
			engine_rig_begin(&rig);
			rig.world.hang_start = hang;
			engine_rig_submit(&rig, &wish);
			engine_rig_run(&rig, 0);
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_RUNNING);
			if (killed) {
				engine_rig_kill(&rig);
				rig.world.now_ms += 61000;
				engine_rig_start(&rig);
			} else {
				engine_rig_advance(&rig, 61000);
			}
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "deadline", hang);
			CHECK_TRUE(engine_rig_top(&rig)->deadline_exceeded);
			CHECK_INT(engine_rig_has_hold(&rig), hang == 6);
			CHECK_INT(engine_rig_top(&rig)->undone, hang < 6);
			CHECK_INT(engine_rig_top(&rig)->state,
				  hang < 6 ? OPERATION_STATE_FAILED : OPERATION_STATE_INCOMPLETE);
			CHECK_STR(engine_rig_top(&rig)->error.code, hang < 6 ? "deadline_exceeded" : "");
			engine_rig_done(&rig);
		}
	}
}

/* A plan without end is stopped, but with many guests not before each of them can have had its steps. */
static void test_plan_without_end(void)
{
	for (size_t more = 0; more <= 60; more += 60) {
		struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

		engine_rig_begin(&rig);
		rig.world.idle_guests = more;
		snprintf(wish.drain_wish.reason, sizeof(wish.drain_wish.reason), "in circles");
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		CHECK_TRUE(operation_state_is_final(engine_rig_top(&rig)->state));
		CHECK_INT(engine_rig_top(&rig)->step_count,
			  PLAN_STEPS_MAX + PLAN_STEPS_PER_GUEST * (FAKE_GUESTS + more));
		engine_rig_done(&rig);
	}
}

/* ---- who may begin ---- */

static void test_busy_and_superseded(void)
{
	struct wish first = engine_rig_resize_wish(0, 320 * FAKE_MIB),
		    second = engine_rig_resize_wish(0, 640 * FAKE_MIB),
		    move = engine_rig_move_wish(0, 1), other = engine_rig_move_wish(1, 1);
	char older[OPERATION_ID_SIZE], newer[OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &first);
	snprintf(older, sizeof(older), "%s", rig.id);
	engine_rig_run(&rig, 8);
	engine_rig_submit(&rig, &move);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	CHECK_STR(rig.id, older);
	CHECK_STR(rig.code, "busy");
	engine_rig_submit(&rig, &other);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_submit(&rig, &second);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	snprintf(newer, sizeof(newer), "%s", rig.id);
	CHECK_STR(engine_rig_operation(&rig, older)->superseded_by, newer);
	CHECK_STR(engine_guest_operation(rig.engine, first.guest)->id, older);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, older)->state, OPERATION_STATE_CANCELLED);
	CHECK_INT(engine_rig_operation(&rig, newer)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.world.state.guests[0].current_bytes, 640 * FAKE_MIB);
	CHECK_INT(rig.world.state.guests[1].node_bytes[1], 384 * FAKE_MIB);
	CHECK_TRUE(engine_guest_operation(rig.engine, first.guest) == NULL);
	engine_rig_done(&rig);
}

/* What helps a request of plain libvirt is in nobody's way, and takes nobody's place. */
static void test_help_gives_way(void)
{
	struct wish resize = engine_rig_resize_wish(0, 320 * FAKE_MIB), move = engine_rig_move_wish(0, 1);
	struct engine_submission help = {.wish = &resize, .actor = OPERATION_ACTOR_LIBVIRT};
	char older[OPERATION_ID_SIZE];

	resize.on_timeout = ON_TIMEOUT_CONTINUE;
	engine_rig_begin(&rig);
	engine_rig_submit_with(&rig, &help);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	snprintf(older, sizeof(older), "%s", rig.id);
	engine_rig_run(&rig, 8);
	engine_rig_submit(&rig, &move);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	CHECK_STR(engine_rig_operation(&rig, older)->superseded_by, rig.id);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, older)->state, OPERATION_STATE_CANCELLED);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, OPERATION_STATE_SUCCEEDED);
	engine_rig_done(&rig);
	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &resize);
	snprintf(older, sizeof(older), "%s", rig.id);
	engine_rig_run(&rig, 8);
	engine_rig_submit_with(&rig, &help);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	CHECK_STR(engine_rig_operation(&rig, older)->superseded_by, "");
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, older)->state, OPERATION_STATE_SUCCEEDED);
	engine_rig_done(&rig);
}

static unsigned threads_of(const char *id)
{
	const struct operation_record *record = engine_rig_operation(&rig, id);

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_MOVE_PAGES)
			return record->steps[i].step.workers;
	return 0;
}

/* Two guests move at once, and who plans a step is told of the threads that are at work: of those that move just now. */
static void test_moves_beside_each_other(void)
{
	struct wish wishes[] = {engine_rig_move_wish(0, 1), engine_rig_move_wish(1, 1), engine_rig_move_wish(0, 0)};
	char ids[3][OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	for (unsigned i = 0; i < 2; i++) {
		engine_rig_submit(&rig, &wishes[i]);
		snprintf(ids[i], sizeof(ids[i]), "%s", rig.id);
	}
	engine_rig_run(&rig, 0);
	CHECK_INT(threads_of(ids[0]), 1);
	CHECK_INT(threads_of(ids[1]), 2);
	engine_rig_submit(&rig, &wishes[2]);
	snprintf(ids[2], sizeof(ids[2]), "%s", rig.id);
	engine_rig_run(&rig, 0);
	CHECK_INT(threads_of(ids[2]), 1);
	engine_rig_done(&rig);
}

static unsigned resizes_beside(const char *id)
{
	const struct operation_record *record = engine_rig_operation(&rig, id);

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_REQUEST)
			return record->steps[i].step.workers - 1;
	return UINT_MAX;
}

/* Who plans a growth is told of what others under way have been promised, and not of what has ended. */
static void test_resizes_beside_each_other(void)
{
	struct wish first = engine_rig_resize_wish(0, 640 * FAKE_MIB), second = engine_rig_resize_wish(1, 640 * FAKE_MIB),
		    third = engine_rig_resize_wish(0, 320 * FAKE_MIB);
	char ids[2][OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &first);
	snprintf(ids[0], sizeof(ids[0]), "%s", rig.id);
	engine_rig_submit(&rig, &second);
	snprintf(ids[1], sizeof(ids[1]), "%s", rig.id);
	engine_rig_run(&rig, 0);
	CHECK_INT(resizes_beside(ids[0]), 0);
	CHECK_INT(resizes_beside(ids[1]), 1);
	engine_rig_submit(&rig, &third);
	engine_rig_run(&rig, 0);
	CHECK_INT(resizes_beside(rig.id), 0);
	engine_rig_done(&rig);
}

/* What is paused leaves its processors to the others. */
static void test_move_beside_a_paused_one(void)
{
	struct wish first = engine_rig_move_wish(0, 1), second = engine_rig_move_wish(1, 1);
	char paused[OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &first);
	snprintf(paused, sizeof(paused), "%s", rig.id);
	while (!threads_of(paused))
		engine_rig_run(&rig, rig.world.ticks + 1);
	CHECK_INT(engine_pause(rig.engine, paused, NULL), 0);
	engine_rig_submit(&rig, &second);
	engine_rig_run(&rig, 0);
	CHECK_INT(threads_of(rig.id), 1);
	CHECK_INT(engine_resume(rig.engine, paused, NULL), 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, paused)->state, OPERATION_STATE_SUCCEEDED);
	engine_rig_done(&rig);
}

static void test_two_drains(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), node = dimm;

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &dimm);
	engine_rig_run(&rig, 10);
	node.drain_wish.target = DRAIN_TARGET_NODE;
	node.drain_wish.node = 2;
	engine_rig_submit(&rig, &node);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	node.drain_wish.target = DRAIN_TARGET_RANGE;
	node.drain_wish.range = (struct snapshot_range){39 * FAKE_BLOCK, 48 * FAKE_BLOCK};
	engine_rig_submit(&rig, &node);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "first of two", 0);
	engine_rig_done(&rig);
}

/*
 * A drain waits for a guest that somebody resizes, and says so; a resize of a guest that a drain
 * moves is refused.
 */
static void test_drain_waits_for_a_guest(void)
{
	struct wish resize = engine_rig_resize_wish(0, 320 * FAKE_MIB),
		    drain = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *child;
	char resizes[OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	rig.world.hang_start = 2;
	engine_rig_submit(&rig, &resize);
	snprintf(resizes, sizeof(resizes), "%s", rig.id);
	engine_rig_run(&rig, 0);
	engine_rig_submit(&rig, &drain);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	child = engine_rig_operation(&rig,
				     engine_rig_operation(&rig, rig.id)->steps[1].child_operation);
	CHECK_INT(child->state, OPERATION_STATE_PENDING);
	CHECK_STR(child->waiting_for, resizes);
	CHECK_INT(engine_cancel(rig.engine, resizes, false, NULL), 0);
	engine_rig_run(&rig, rig.world.ticks + 12);
	CHECK_INT(child->state, OPERATION_STATE_RUNNING);
	CHECK_STR(child->waiting_for, "");
	engine_rig_submit(&rig, &resize);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(fake_world_is_drained(&rig.world, false));
	engine_rig_done(&rig);
}

static void test_keys_and_plans(void)
{
	struct wish wish = engine_rig_resize_wish(0, 320 * FAKE_MIB);
	struct engine_submission submission = {.wish = &wish,
					       .actor = "uid 0",
					       .idempotency_key = "key",
					       .body_hash = "hash",
					       .expect_plan = "7f2c"};
	char id[OPERATION_ID_SIZE], digest[17];

	engine_rig_begin(&rig);
	engine_rig_submit_with(&rig, &submission);
	CHECK_INT(rig.result, ENGINE_SUBMIT_PLAN_CHANGED);
	CHECK_INT(rig.plan_steps, 1);
	snprintf(digest, sizeof(digest), "%.3s", rig.digest);
	submission.expect_plan = digest;
	engine_rig_submit_with(&rig, &submission);
	CHECK_INT(rig.result, ENGINE_SUBMIT_PLAN_CHANGED);
	snprintf(digest, sizeof(digest), "%.4s", rig.digest);
	engine_rig_submit_with(&rig, &submission);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	snprintf(id, sizeof(id), "%s", rig.id);
	for (int restarted = 0; restarted < 2; restarted++) {
		engine_rig_submit_with(&rig, &submission);
		CHECK_INT(rig.result, ENGINE_SUBMIT_REPLAYED);
		CHECK_STR(rig.id, id);
		submission.body_hash = "other";
		engine_rig_submit_with(&rig, &submission);
		CHECK_INT(rig.result, ENGINE_SUBMIT_KEY_MISUSED);
		submission.body_hash = "hash";
		engine_rig_run(&rig, 0);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
	}
	submission.actor = "uid 1";
	submission.expect_plan = NULL;
	engine_rig_submit_with(&rig, &submission);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ALREADY);
	wish.resize.target_bytes = 1;
	submission.idempotency_key = NULL;
	engine_rig_submit_with(&rig, &submission);
	CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
	CHECK_STR(rig.code, "not_block_multiple");
	rig.world.fail_look = rig.world.looks + 1;
	wish.resize.target_bytes = 640 * FAKE_MIB;
	engine_rig_submit_with(&rig, &submission);
	CHECK_INT(rig.result, ENGINE_SUBMIT_FAILED);
	engine_rig_done(&rig);
}

static void on_dry_run(void *user, const struct engine_answer *answer)
{
	rig.answered = true;
	rig.result = answer->result;
	rig.plan_steps = answer->plan ? answer->plan->step_count : 0;
}

static void test_dry_run_and_observe(void)
{
	struct wish wish = engine_rig_resize_wish(0, 320 * FAKE_MIB);

	engine_rig_init(&rig);
	rig.observe = true;
	engine_rig_start(&rig);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_OBSERVE_ONLY);
	rig.world.answers_inside = true;
	engine_dry_run(rig.engine, &wish, on_dry_run, NULL);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	CHECK_INT(rig.plan_steps, 1);
	/* Below the floor there is a plan that is not allowed; half a page there is none. */
	wish.resize.target_bytes = 128 * FAKE_MIB;
	engine_dry_run(rig.engine, &wish, on_dry_run, NULL);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	wish.resize.target_bytes = 1;
	engine_dry_run(rig.engine, &wish, on_dry_run, NULL);
	CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
	CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_top(&rig));
	engine_rig_done(&rig);
}

/* ---- the disk, the kernel, the look ---- */

static void test_stuck_in_the_kernel(void)
{
	struct wish wish = engine_rig_move_wish(0, 1),
		    other = engine_rig_resize_wish(0, 640 * FAKE_MIB);

	engine_rig_begin(&rig);
	rig.world.stick_start = 2;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
	CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_KERNEL_STUCK));
	CHECK_STR(engine_rig_top(&rig)->error.code, "kernel_stuck");
	engine_rig_submit(&rig, &other);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	CHECK_TRUE(engine_guest_is_busy(rig.engine, wish.guest));
	/* Another one than that has come back. */
	engine_stuck_gone(rig.engine, 78);
	engine_rig_submit(&rig, &other);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	engine_stuck_gone(rig.engine, 77);
	CHECK_TRUE(!engine_guest_is_busy(rig.engine, wish.guest));
	engine_rig_submit(&rig, &other);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_done(&rig);
	/* The drain's lock is that of its child's worker. */
	wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	engine_rig_begin(&rig);
	rig.world.stick_start = 2;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	engine_stuck_gone(rig.engine, 77);
	CHECK_INT(rig.engine->locks.count, 0);
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
}

static void test_stuck_in_an_undo(void)
{
	const struct operation_lock hotplug = {.kind = OPERATION_LOCK_HOTPLUG};
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	rig.world.stick_undo = 1;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
	CHECK_TRUE(!engine_rig_top(&rig)->undone);
	CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_KERNEL_STUCK));
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
	CHECK_TRUE(operation_lock_holder(&rig.engine->locks, &hotplug) != NULL);
	CHECK_STR(fake_world_see(&rig.world)->hotplug_stuck[0] ? "stuck" : "", "stuck");
	engine_stuck_gone(rig.engine, 78);
	CHECK_TRUE(operation_lock_holder(&rig.engine->locks, &hotplug) == NULL);
	CHECK_STR(fake_world_see(&rig.world)->hotplug_stuck, "");
	engine_rig_done(&rig);
}

/* What is seen from the start goes on only when it is let. */
static void test_waits(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE),
		    move = engine_rig_move_wish(1, 0);
	struct failure failure = {0};
	unsigned starts;
	char id[OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	/* The other guest is to be free. */
	rig.limits.drain_moves = 1;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 12);
	CHECK_TRUE(engine_rig_has_hold(&rig));
	engine_rig_kill(&rig);
	rig.waits = true;
	engine_rig_start(&rig);
	starts = rig.world.starts;
	CHECK_TRUE(engine_rig_has_hold(&rig));
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_RUNNING);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	/* A new one is accepted, and may be cancelled before it began. */
	engine_rig_submit(&rig, &move);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	snprintf(id, sizeof(id), "%s", rig.id);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, id)->state, OPERATION_STATE_PENDING);
	CHECK_INT(engine_cancel(rig.engine, id, false, &failure), 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, id)->state, OPERATION_STATE_CANCELLED);
	CHECK_INT(rig.world.starts, starts);
	engine_wait(rig.engine, false);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(rig.world.starts > starts);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	engine_rig_done(&rig);
}

static void test_look_fails(void)
{
	struct wish wish = engine_rig_move_wish(0, 1);

	engine_rig_begin(&rig);
	rig.world.fail_look = 3;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_RUNNING);
	engine_rig_advance(&rig, 1100);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	engine_rig_done(&rig);
}

static void test_memory_is_bounded(void)
{
	const struct operation_record *records[256];
	struct wish wish;
	char first[OPERATION_ID_SIZE] = "";

	engine_rig_begin(&rig);
	for (unsigned i = 0; i < 150; i++) {
		wish = engine_rig_resize_wish(0, (i % 2 ? 512 : 640) * FAKE_MIB);
		engine_rig_submit(&rig, &wish);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		if (i == 0)
			snprintf(first, sizeof(first), "%s", rig.id);
		engine_rig_run(&rig, 0);
	}
	CHECK_TRUE(engine_operations(rig.engine, records, ARRAY_SIZE(records)) <= 64);
	CHECK_STR(records[0]->id, rig.id);
	CHECK_TRUE(engine_operation(rig.engine, first) == NULL);
	CHECK_INT(engine_cancel(rig.engine, first, false, NULL), -EALREADY);
	engine_rig_done(&rig);
}

static void test_locks(void)
{
	struct operation_lock_table table = {0};
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX], guest = {OPERATION_LOCK_GUEST, "g"};
	const void *holder = NULL;
	struct step step;
	int a, b;

	step_init(&step, STEP_KIND_HOST_POOL);
	step.node = 1;
	step.page_bytes = 2 * FAKE_MIB;
	snprintf(step.guest, sizeof(step.guest), "g");
	CHECK_INT(operation_lock_of_step(&step, locks), 2);
	CHECK_STR(locks[1].name, "1/2097152");
	CHECK_INT(operation_lock_take(&table, &a, &guest, 1, false, &holder), 0);
	/* All or nothing: the pool is not taken where the guest is not to be had. */
	CHECK_INT(operation_lock_take(&table, &b, locks, 2, true, &holder), -EBUSY);
	CHECK_TRUE(holder == &a);
	CHECK_TRUE(operation_lock_holder(&table, &locks[1]) == NULL);
	CHECK_INT(operation_lock_take(&table, &a, locks, 2, true, &holder), 0);
	/* What another step has beside it stays, and so does what is not a step's. */
	CHECK_TRUE(!operation_lock_release_step(&table, &a, &guest, 1));
	CHECK_TRUE(operation_lock_holder(&table, &locks[1]) == &a);
	CHECK_TRUE(operation_lock_release_step(&table, &a, locks, 2));
	CHECK_TRUE(operation_lock_holder(&table, &guest) == &a);
	CHECK_TRUE(operation_lock_holder(&table, &locks[1]) == NULL);
	CHECK_TRUE(operation_lock_release_all(&table, &a));
	CHECK_TRUE(!operation_lock_release_all(&table, &a));
	operation_lock_table_done(&table);
	step_done(&step);
	step_init(&step, STEP_KIND_EJECT);
	CHECK_INT(operation_lock_of_step(&step, locks), 1);
	CHECK_INT(locks[0].kind, OPERATION_LOCK_HOTPLUG);
}

static void test_default_timeouts(void)
{
	struct wish wish;

	engine_rig_begin(&rig);
	wish_init(&wish, OPERATION_KIND_RESIZE);
	CHECK_INT(engine_default_timeout_ms(rig.engine, &wish, 1000), 120000);
	wish_init(&wish, OPERATION_KIND_DRAIN);
	CHECK_INT(engine_default_timeout_ms(rig.engine, &wish, 5), 60000);
	CHECK_INT(engine_default_timeout_ms(rig.engine, &wish, 100), 200000);
	CHECK_INT(engine_default_timeout_ms(rig.engine, &wish, UINT32_MAX), 1800000);
	wish.timeout_s = 5;
	CHECK_INT(engine_default_timeout_ms(rig.engine, &wish, 100), 5000);
	engine_rig_done(&rig);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"locks are taken together or not at all", test_locks},
		{"a resize", test_resize},
		{"a resize cancelled at every tick", test_resize_cancelled_at_every_tick},
		{"the deadline of a resize: stop, restore, continue", test_deadline_of_a_resize},
		{"the deadline of a drain, also during a restart", test_deadline_of_a_drain},
		{"a plan without end", test_plan_without_end},
		{"default timeouts", test_default_timeouts},
		{"busy guests, and a newer resize", test_busy_and_superseded},
		{"help gives way", test_help_gives_way},
		{"moves beside each other", test_moves_beside_each_other},
		{"resizes beside each other", test_resizes_beside_each_other},
		{"a move beside a paused one", test_move_beside_a_paused_one},
		{"one drain of the same memory at a time", test_two_drains},
		{"a drain waits for a guest that is resized", test_drain_waits_for_a_guest},
		{"idempotency keys and expected plans", test_keys_and_plans},
		{"dry runs, and a daemon that only observes", test_dry_run_and_observe},
		{"stuck in the kernel: locks are kept", test_stuck_in_the_kernel},
		{"stuck in an undo: locks are kept", test_stuck_in_an_undo},
		{"waits for its first look", test_waits},
		{"a look that fails is tried again", test_look_fails},
		{"ended operations leave memory, not the journal", test_memory_is_bounded},
	};

	return unit_main("engine", cases, ARRAY_SIZE(cases));
}
