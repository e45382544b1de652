/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "engine.h"
#include "engine_rig.h"
#include "unit.h"

/*
 * Guests of a drain go back beside each other, whether it undoes itself or is undrained, with the real planners. That an
 * undrain survives whatever happens to it is in test_engine_drain.c, and the way home within a drain in test_engine_home.c.
 */

static struct engine_rig rig;

/* Nothing of its blocks goes, so that it undoes itself once both guests have left. */
static void begin_failing(unsigned moves)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	engine_rig_begin(&rig);
	rig.limits.drain_moves = moves;
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	engine_rig_submit(&rig, &wish);
}

static void begin_drained(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	rig.world.undos = rig.world.undos_at_once = 0;
}

static void submit_undrain(void)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", rig.drain);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
}

static bool is_home(int guest)
{
	return memcmp(&rig.world.state.guests[guest], &rig.initial.guests[guest], sizeof(rig.initial.guests[guest])) == 0;
}

static void they_go_back_beside_each_other(void)
{
	for (unsigned moves = 1; moves < 4; moves++) {
		begin_failing(moves);
		engine_rig_run(&rig, 0);
		CHECK_TRUE(engine_rig_top(&rig)->undone && engine_rig_is_initial(&rig));
		CHECK_INT(rig.world.undos_at_once, moves > 1 ? 2 : 1);
		engine_rig_done(&rig);

		engine_rig_init(&rig);
		rig.limits.drain_moves = moves;
		engine_rig_start(&rig);
		{
			struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

			engine_rig_submit(&rig, &wish);
		}
		engine_rig_run(&rig, 0);
		CHECK_INT(rig.world.undos_at_once, 0);
		engine_rig_check_undrained(&rig);
		CHECK_INT(rig.world.undos_at_once, moves > 1 ? 2 : 1);
		engine_rig_done(&rig);
	}
}

/* Half of each has gone, and one of them waits to be put back while the other is. */
static void a_cancelled_drain_puts_both_back(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_MOVE_PAGES;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_cancel(rig.engine, rig.id, true, NULL), 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(rig.world.undos_at_once, 2);
	CHECK_TRUE(engine_rig_top(&rig)->undone && engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	engine_rig_done(&rig);
}

/* Their moves change the same pools, and what there is at home holds one of them only. */
static void some_go_one_by_one(void)
{
	for (int is_huge = 0; is_huge < 2; is_huge++)
		for (int is_undrain = 0; is_undrain < 2; is_undrain++) {
			struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

			engine_rig_init(&rig);
			rig.world.has_huge = is_huge;
			engine_rig_start(&rig);
			if (!is_undrain)
				rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
			rig.world.fail_kind_state = STEP_STATE_FAILED;
			engine_rig_submit(&rig, &wish);
			engine_rig_run(&rig, is_undrain ? 0 : 1);
			/* Somebody else has taken what they would need together, since. */
			if (!is_huge)
				rig.world.used_bytes[2] = FAKE_GIB - 600 * FAKE_MIB;
			if (is_undrain)
				engine_rig_check_undrained(&rig);
			else
				engine_rig_run(&rig, 0);
			CHECK_INT(rig.world.undos_at_once, 1);
			CHECK_TRUE(is_home(0) && is_home(1));
			engine_rig_done(&rig);
		}
}

/* Until the undo of that number hangs. Of an undrain, or of a drain that undoes itself. */
static void begin_hanging(unsigned number, bool is_undrain)
{
	if (is_undrain)
		begin_drained();
	else
		begin_failing(2);
	rig.world.hang_undo = number;
	if (is_undrain)
		submit_undrain();
	engine_rig_run(&rig, 0);
}

/* Whichever hangs: the other guest gets home, and neither does anything else begin nor does it end. */
static void one_hangs(void)
{
	for (int is_undrain = 0; is_undrain < 2; is_undrain++) {
		unsigned number = 0, alone[2] = {0}, undos;

		do {
			const struct operation_record *record;

			begin_hanging(++number, is_undrain);
			undos = rig.world.undos;
			record = engine_rig_top(&rig);
			if (number <= undos)
				CHECK_TRUE(record->ended_at_ms == 0 && engine_rig_has_hold(&rig));
			if (is_home(0) != is_home(1))
				alone[is_home(1)]++;
			if (number % 2) {
				engine_rig_kill(&rig);
				engine_rig_start(&rig);
			}
			fake_world_unhang(&rig.world);
			engine_rig_run(&rig, 0);
			record = engine_rig_top(&rig);
			CHECK_TRUE(is_undrain ? record->state == OPERATION_STATE_SUCCEEDED : record->undone);
			CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
			engine_rig_done(&rig);
		} while (number <= undos);
		/* Either of them. */
		CHECK_TRUE(alone[0] >= 1 && alone[1] >= 2);
	}
}

/* What cannot be put back is told, and the other guest goes home all the same. */
static void one_fails(void)
{
	for (int is_undrain = 0; is_undrain < 2; is_undrain++) {
		if (is_undrain)
			begin_drained();
		else
			begin_failing(2);
		if (is_undrain)
			submit_undrain();
		/* Not the first kind, which is that of the blocks or the hooks. */
		while (rig.world.undos == 0)
			engine_rig_run(&rig, rig.world.ticks + 1);
		rig.world.fail_undos_from = 1;
		rig.world.fail_undo_kind = STEP_KIND_MEMORY_POLICY;
		engine_rig_run(&rig, 0);
		CHECK_INT(rig.world.undos_at_once, 2);
		CHECK_TRUE(remainder_list_has(&engine_rig_top(&rig)->remainder, REMAINDER_UNDO_FAILED));
		CHECK_TRUE(!is_home(0) && is_home(1));
		if (is_undrain)
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_INCOMPLETE);
		else
			CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
		engine_rig_done(&rig);
	}
}

/* It ends when the other has, keeps its hold, and says that a kernel call is stuck. */
static void one_is_stuck(void)
{
	for (int is_undrain = 0; is_undrain < 2; is_undrain++) {
		unsigned number = 0, undos;

		do {
			const struct operation_record *record;

			if (is_undrain)
				begin_drained();
			else
				begin_failing(2);
			rig.world.stick_undo = ++number;
			if (is_undrain)
				submit_undrain();
			engine_rig_run(&rig, 0);
			undos = rig.world.undos;
			record = engine_rig_top(&rig);
			CHECK_TRUE(record->ended_at_ms > 0);
			if (number <= undos) {
				CHECK_INT(record->state, OPERATION_STATE_FAILED);
				CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_KERNEL_STUCK));
				CHECK_TRUE(engine_rig_has_hold(&rig));
				CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_ATTENTION);
			}
			engine_rig_done(&rig);
		} while (number <= undos);
		CHECK_TRUE(number > 5);
	}
}

/* Another operation has the one guest: the other goes home meanwhile. */
static void one_waits_for_its_lock(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), move = engine_rig_move_wish(0, 1);
	char drain[OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	snprintf(drain, sizeof(drain), "%s", rig.id);
	rig.world.hang_kind = STEP_KIND_MOVE_PAGES;
	engine_rig_submit(&rig, &move);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_cancel(rig.engine, drain, true, NULL), 0);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(!is_home(0) && is_home(1));
	CHECK_STR(engine_rig_operation(&rig, drain)->waiting_for, rig.id);
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(engine_rig_operation(&rig, drain)->undone);
	CHECK_STR(engine_rig_operation(&rig, drain)->waiting_for, "");
	CHECK_TRUE(!engine_rig_has_hold(&rig));
	engine_rig_done(&rig);
}

/* A drain that undoes itself dies at that write of its undo (from 1); false: there is none so late. */
static bool kill_at_write(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	char id[OPERATION_ID_SIZE];
	bool died;

	engine_rig_begin(&rig);
	rig.world.hang_kind = STEP_KIND_OFFLINE_BLOCKS;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	atomic_store(&rig.die_how, how);
	atomic_store(&rig.die_at, atomic_load(&rig.writes) + number);
	CHECK_INT(engine_cancel(rig.engine, rig.id, true, NULL), 0);
	engine_rig_run(&rig, 0);
	died = engine_rig_start_again(&rig, again, id);
	engine_rig_run(&rig, 0);
	/* The wish to cancel it may be what was lost. */
	if (engine_rig_top(&rig)->ended_at_ms == 0) {
		CHECK_INT(engine_cancel(rig.engine, id, true, NULL), 0);
		engine_rig_run(&rig, 0);
	}
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_CANCELLED);
	CHECK_TRUE(engine_rig_top(&rig)->undone && engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	engine_rig_done(&rig);
	return died;
}

static void killed_at_every_write(void)
{
	for (unsigned again = 0; again < 3; again += 2)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, NULL, again) >= 15);
}

static void on_idle(void *user)
{
	++*(int *)user;
}

/* The daemon stops while they go back, and the next goes on. */
static void stopped_at_every_tick(void)
{
	for (int is_undrain = 0; is_undrain < 2; is_undrain++) {
		unsigned tick = 0, ticks;

		do {
			const struct operation_record *record;
			int idle = 0;

			if (is_undrain) {
				begin_drained();
				submit_undrain();
			} else {
				begin_failing(2);
				while (rig.world.undos == 0)
					engine_rig_run(&rig, rig.world.ticks + 1);
			}
			engine_rig_run(&rig, rig.world.ticks + ++tick);
			ticks = rig.world.ticks;
			record = engine_rig_top(&rig);
			bool is_over = record->ended_at_ms != 0;

			engine_stop(rig.engine, on_idle, &idle);
			engine_rig_run(&rig, 0);
			CHECK_INT(idle, 1);
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			engine_rig_run(&rig, 0);
			record = engine_rig_top(&rig);
			CHECK_TRUE(is_undrain ? record->state == OPERATION_STATE_SUCCEEDED : record->undone);
			CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
			engine_rig_done(&rig);
			if (is_over)
				break;
		} while (ticks);
		CHECK_TRUE(tick > 10);
	}
}

/* Nothing more begins; what is left goes back by another undrain. */
static void an_undrain_is_ended_at_every_tick(void)
{
	for (int by_time = 0; by_time < 2; by_time++)
		for (unsigned tick = 1;; tick++) {
			bool is_over;

			begin_drained();
			submit_undrain();
			engine_rig_run(&rig, rig.world.ticks + tick);
			is_over = engine_rig_top(&rig)->ended_at_ms != 0;
			if (by_time)
				engine_rig_advance(&rig, 3600000);
			else
				engine_cancel(rig.engine, rig.id, false, NULL);
			engine_rig_run(&rig, 0);
			CHECK_TRUE(engine_rig_top(&rig)->ended_at_ms > 0);
			if (engine_rig_has_hold(&rig))
				engine_rig_check_undrained(&rig);
			else
				CHECK_TRUE(engine_rig_is_initial(&rig));
			engine_rig_done(&rig);
			if (is_over) {
				CHECK_TRUE(tick > 10);
				break;
			}
		}
}

/* What runs goes on to its end, nothing else begins before it is resumed. */
static void an_undrain_is_paused(void)
{
	begin_drained();
	rig.world.hang_undo = 3;
	submit_undrain();
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
	CHECK_TRUE(engine_rig_has_hold(&rig));
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
	CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	engine_rig_done(&rig);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"they go back beside each other", they_go_back_beside_each_other},
		{"a cancelled drain puts both back", a_cancelled_drain_puts_both_back},
		{"some go one by one", some_go_one_by_one},
		{"one hangs: the other gets home", one_hangs},
		{"one fails: the other gets home", one_fails},
		{"one is stuck: it ends when the other has", one_is_stuck},
		{"one waits for its lock: the other gets home", one_waits_for_its_lock},
		{"killed at every write", killed_at_every_write},
		{"stopped at every tick", stopped_at_every_tick},
		{"an undrain is ended at every tick", an_undrain_is_ended_at_every_tick},
		{"an undrain is paused", an_undrain_is_paused},
	};

	return unit_main("engine_back", cases, ARRAY_SIZE(cases));
}
