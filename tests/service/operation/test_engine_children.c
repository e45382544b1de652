/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_priv.h"
#include "engine_rig.h"
#include "unit.h"

/*
 * Moves of two guests beside each other, with the real planners. That a drain is whole whatever happens to it at whichever
 * tick and write is tested with all others (test_engine_drain.c); here is what only two at once can show.
 */

static struct engine_rig rig;

static const struct operation_record *child_of(const struct step_record *step)
{
	return engine_rig_operation(&rig, step->child_operation);
}

/* Both moves are half way. */
static void begin_half_way(const struct wish *wish)
{
	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_MOVE_PAGES;
	engine_rig_submit(&rig, wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(rig.world.starts_at_once, 2);
	CHECK_INT(engine_rig_top(&rig)->step_count, 3);
}

static void check_children(enum step_state step, enum operation_state state)
{
	const struct operation_record *record = engine_rig_top(&rig);

	for (size_t i = 1; i < 3; i++) {
		CHECK_INT(record->steps[i].step.kind, STEP_KIND_CHILD);
		CHECK_INT(record->steps[i].state, step);
		CHECK_INT(child_of(&record->steps[i])->state, state);
	}
}

static void restart(void)
{
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
}

static void end_well(const char *where)
{
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, true, where, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	engine_rig_done(&rig);
}

static void test_progress_is_the_sum(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	const struct operation_progress *progress;
	uint64_t half = 320 * FAKE_MIB;

	begin_half_way(&wish);
	check_children(STEP_STATE_RUNNING, OPERATION_STATE_RUNNING);
	progress = &engine_rig_top(&rig)->progress;
	CHECK_INT(progress->total_bytes, 2 * half + 8 * FAKE_BLOCK);
	CHECK_INT(progress->done_bytes, half);
	engine_rig_advance(&rig, 1000);
	fake_world_tell(&rig.world, 300 * FAKE_MIB);
	/* The smaller has no more than 128 MiB. */
	CHECK_INT(progress->done_bytes, 428 * FAKE_MIB);
	engine_rig_advance(&rig, 1000);
	fake_world_tell(&rig.world, 310 * FAKE_MIB);
	CHECK_INT(progress->done_bytes, 438 * FAKE_MIB);
	CHECK_TRUE(progress->bytes_per_s > 0 && progress->eta_s != UINT32_MAX);
	end_well("progress");
}

static void test_pause_and_restart(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	begin_half_way(&wish);
	CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
	check_children(STEP_STATE_RUNNING, OPERATION_STATE_PAUSED);
	restart();
	check_children(STEP_STATE_RUNNING, OPERATION_STATE_PAUSED);
	CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
	engine_rig_run(&rig, 0);
	check_children(STEP_STATE_RUNNING, OPERATION_STATE_RUNNING);
	end_well("pause");

	begin_half_way(&wish);
	restart();
	check_children(STEP_STATE_RUNNING, OPERATION_STATE_RUNNING);
	end_well("restart");
}

static void test_cancel(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	for (int undo = 0; undo < 2; undo++)
		for (int is_killed = 0; is_killed < 2; is_killed++) {
			begin_half_way(&wish);
			CHECK_INT(engine_cancel(rig.engine, rig.id, undo, NULL), 0);
			if (is_killed) {
				engine_rig_kill(&rig);
				engine_rig_start(&rig);
			}
			engine_rig_run(&rig, 0);
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_CANCELLED);
			CHECK_INT(engine_rig_top(&rig)->undone, undo);
			CHECK_INT(engine_rig_is_initial(&rig), undo);
			CHECK_INT(engine_rig_has_hold(&rig), !undo);
			check_children(undo ? STEP_STATE_UNDONE : STEP_STATE_PARTIAL, OPERATION_STATE_CANCELLED);
			engine_rig_done(&rig);
		}
}

static void test_deadline(void)
{
	static const enum on_timeout ways[] = {ON_TIMEOUT_RESTORE, ON_TIMEOUT_STOP, ON_TIMEOUT_CONTINUE};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
		const struct operation_record *record;

		wish.on_timeout = ways[i];
		begin_half_way(&wish);
		engine_rig_advance(&rig, 600000);
		engine_rig_run(&rig, 0);
		record = engine_rig_top(&rig);
		CHECK_TRUE(record->deadline_exceeded);
		if (ways[i] == ON_TIMEOUT_CONTINUE) {
			/* Its children have none, and go on. */
			fake_world_unhang(&rig.world);
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "deadline, goes on", 0);
			engine_rig_done(&rig);
			continue;
		}
		engine_rig_check_truthful(&rig, true, "deadline", (unsigned)i);
		CHECK_INT(record->state,
			  ways[i] == ON_TIMEOUT_STOP ? OPERATION_STATE_INCOMPLETE : OPERATION_STATE_FAILED);
		CHECK_INT(engine_rig_is_initial(&rig), ways[i] == ON_TIMEOUT_RESTORE);
		CHECK_INT(engine_rig_has_hold(&rig), ways[i] == ON_TIMEOUT_STOP);
		/* The moves were cancelled, but by nobody but the deadline. */
		for (size_t n = 0; n < record->step_count; n++)
			CHECK_TRUE(!remainder_list_has(&record->steps[n].remainder, REMAINDER_CANCELLED));
		CHECK_TRUE(!remainder_list_has(&record->remainder, REMAINDER_CANCELLED));
		engine_rig_done(&rig);
	}
}

/* ---- one of them hangs, fails or is stuck ---- */

static void begin_with_hanging(unsigned number)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	rig.world.hang_start = number;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
}

/* Has one of the children ended while another runs? *ret_first: it is the one that began later. */
static bool has_overtaken(bool *ret_first)
{
	const struct operation_record *record = engine_rig_top(&rig);
	size_t running = 0, done = 0;

	for (size_t i = 0; i < record->step_count; i++) {
		if (record->steps[i].step.kind != STEP_KIND_CHILD)
			continue;
		if (record->steps[i].state == STEP_STATE_RUNNING)
			running = i;
		if (record->steps[i].state == STEP_STATE_DONE)
			done = i;
	}
	*ret_first = running < done;
	return running && done;
}

/* Whichever hangs: the other comes to its end and has its result, and nothing else begins. */
static void test_one_hangs(void)
{
	unsigned number = 0, overtaken[2] = {0}, starts;

	do {
		for (int how = 0; how < 3; how++) {
			const struct operation_record *record;
			bool first;

			begin_with_hanging(number + 1);
			starts = rig.world.starts;
			record = engine_rig_top(&rig);
			if (has_overtaken(&first)) {
				overtaken[first]++;
				CHECK_INT(record->step_count, 3);
				CHECK_TRUE(record->steps[1 + first].ended_at_ms > 0);
				CHECK_INT(record->steps[1 + first].bytes_done, record->steps[1 + first].step.bytes);
				CHECK_TRUE(child_of(&record->steps[1 + first])->ended_at_ms > 0);
			}
			if (how == 0) {
				fake_world_unhang(&rig.world);
				engine_rig_run(&rig, 0);
			} else if (how == 1) {
				rig.world.hang_start = 0;
				restart();
			} else if (engine_cancel(rig.engine, rig.id, true, NULL) == 0) {
				engine_rig_run(&rig, 0);
				CHECK_TRUE(engine_rig_top(&rig)->undone);
			}
			fake_world_unhang(&rig.world);
			engine_rig_run(&rig, 0);
			engine_rig_check_truthful(&rig, true, "one hangs", number + 1);
			if (how < 2)
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
			engine_rig_done(&rig);
		}
	} while (starts > number++);
	/* Each of them, at each of the ways. */
	CHECK_TRUE(overtaken[0] >= 3 && overtaken[1] >= 3);
}

/* The drain ends when the other has, and nothing is undone under the stuck one. */
static void test_one_is_stuck(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned number = 0, beside = 0, starts;

	do {
		const struct operation_record *record;
		unsigned children = 0;

		engine_rig_begin(&rig);
		rig.world.stick_start = number + 1;
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		starts = rig.world.starts;
		record = engine_rig_top(&rig);
		for (size_t i = 0; i < record->step_count; i++) {
			if (record->steps[i].step.kind != STEP_KIND_CHILD)
				continue;
			children++;
			CHECK_TRUE(record->steps[i].state != STEP_STATE_RUNNING && record->steps[i].ended_at_ms > 0);
			CHECK_TRUE(child_of(&record->steps[i])->ended_at_ms > 0);
			CHECK_TRUE(child_of(&record->steps[i])->ended_at_ms <= record->ended_at_ms);
		}
		beside += children == 2;
		if (number < starts) {
			CHECK_INT(record->state, OPERATION_STATE_FAILED);
			CHECK_TRUE(!record->undone && rig.world.undos == 0);
			CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_KERNEL_STUCK));
			CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
		}
		engine_rig_done(&rig);
	} while (starts > number++);
	CHECK_TRUE(beside > 3);
}

/* It is looked once more; what runs meanwhile goes on, and is no worse for it. */
static void test_looks_that_fail(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned number = 1, looks;

	do {
		engine_rig_begin(&rig);
		rig.world.fail_look = ++number;
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		engine_rig_advance(&rig, 1100);
		engine_rig_run(&rig, 0);
		looks = rig.world.looks;
		engine_rig_check_truthful(&rig, true, "a look fails", number);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(!failure_is_set(&engine_rig_top(&rig)->error));
		engine_rig_done(&rig);
	} while (looks >= number);
	CHECK_TRUE(number > 10);
}

/* Tick by tick, to the end: nobody waits for a child beside one that has ended. */
static void run_watched(void)
{
	unsigned ticks;

	do {
		const struct operation *top = engine_find(rig.engine, rig.id);

		ticks = rig.world.ticks;
		engine_rig_run(&rig, ticks + 1);
		CHECK_TRUE(top->phase != OPERATION_PHASE_WAITING_CHILD || !operation_child_has_ended(top));
	} while (rig.world.ticks > ticks);
}

/* A child may end at any moment of its parent's look, or of what comes of it. */
static void test_slow_looks(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	for (unsigned ticks = 1; ticks < 60; ticks++) {
		const struct operation_record *record;
		unsigned children = 0;

		engine_rig_begin(&rig);
		rig.world.drain_look_ticks = ticks;
		engine_rig_submit(&rig, &wish);
		run_watched();
		engine_rig_check_truthful(&rig, true, "slow looks", ticks);
		record = engine_rig_top(&rig);
		CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
		for (size_t i = 0; i < record->step_count; i++)
			children += record->steps[i].step.kind == STEP_KIND_CHILD;
		/* What was seen before a child ended is no reason for another. */
		CHECK_INT(children, 2);
		engine_rig_done(&rig);
	}
}

/* Nothing begins that cannot be written, but what runs comes to its end, and only then is all given up. */
static void test_disk_refuses(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned from = 1, beside = 0;

	wish.on_timeout = ON_TIMEOUT_STOP;
	for (bool reached = true; reached; ) {
		const struct operation_record *record;
		unsigned children = 0;

		engine_rig_begin(&rig);
		atomic_store(&rig.refuse_to, ++from);
		atomic_store(&rig.refuse_from, from);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		for (int i = 0; i < 3; i++) {
			engine_rig_advance(&rig, 1100);
			engine_rig_run(&rig, 0);
		}
		reached = atomic_load(&rig.writes) >= from;
		engine_rig_check_truthful(&rig, true, "refused", from);
		record = engine_rig_top(&rig);
		for (size_t i = 0; i < record->step_count; i++) {
			if (record->steps[i].step.kind != STEP_KIND_CHILD)
				continue;
			children++;
			CHECK_TRUE(record->steps[i].ended_at_ms > 0);
			CHECK_TRUE(child_of(&record->steps[i])->ended_at_ms <= record->ended_at_ms);
		}
		if (record->state == OPERATION_STATE_SUCCEEDED)
			CHECK_TRUE(!failure_is_set(&record->error));
		beside += children == 2;
		engine_rig_done(&rig);
	}
	CHECK_TRUE(beside > 10);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"progress is the sum of both", test_progress_is_the_sum},
		{"both are paused and resumed, and go on after a restart", test_pause_and_restart},
		{"both are cancelled, with and without undo", test_cancel},
		{"both end by the deadline", test_deadline},
		{"one hangs: the other ends, and nothing else begins", test_one_hangs},
		{"one is stuck: the drain ends when the other has", test_one_is_stuck},
		{"looks that fail", test_looks_that_fail},
		{"looks that take long", test_slow_looks},
		{"the disk refuses a write", test_disk_refuses},
	};

	return unit_main("engine_children", cases, ARRAY_SIZE(cases));
}
