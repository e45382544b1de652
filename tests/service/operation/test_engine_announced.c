/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_priv.h"
#include "engine_rig.h"
#include "unit.h"

/* Drains that have not begun: announced for later, or found impossible when it is their turn. With the real planners. */

#define ANNOUNCED_MS UINT64_C(600000)

static struct engine_rig rig;

static void announce(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	wish.drain_wish.not_before_ms = rig.world.now_ms + ANNOUNCED_MS;
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
}

static void restart(void)
{
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
}

/* Nothing has begun, but nothing new is placed there. */
static void check_waits(void)
{
	const struct operation_record *record = engine_rig_top(&rig);

	CHECK_INT(record->state, OPERATION_STATE_PENDING);
	CHECK_INT(record->step_count, 1);
	CHECK_INT(record->steps[0].step.kind, STEP_KIND_CORDON);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_DRAINING);
	CHECK_TRUE(engine_rig_has_hold(&rig) && engine_rig_is_initial(&rig));
}

static void check_unbegun(enum operation_state state, bool undone)
{
	const struct operation_record *record = engine_rig_top(&rig);

	CHECK_INT(record->state, state);
	CHECK_INT(record->undone, undone);
	CHECK_INT(record->step_count, 1);
	CHECK_INT(record->steps[0].state, STEP_STATE_UNDONE);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_STOPPED);
	CHECK_TRUE(!engine_rig_has_hold(&rig));
	CHECK_INT(rig.world.starts, 0);
}

/* Guests have grown: no node has room for what is to leave. */
static void take_room(void)
{
	rig.world.state.guests[1].node_bytes[0] = rig.world.state.guests[1].node_bytes[1] = 15 * FAKE_BLOCK;
}

static void check_no_room(void)
{
	const struct operation_record *record = engine_rig_top(&rig);

	check_unbegun(OPERATION_STATE_FAILED, true);
	CHECK_STR(record->error.code, "no_room");
	CHECK_TRUE(record->error.way_out[0] != '\0');
	CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_NO_ROOM));
}

static void test_cordoned_from_now(void)
{
	for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
		engine_rig_begin(&rig);
		announce();
		check_waits();
		if (is_restarted) {
			restart();
			check_waits();
		}
		engine_rig_advance(&rig, ANNOUNCED_MS / 2);
		engine_rig_run(&rig, 0);
		check_waits();
		engine_rig_advance(&rig, ANNOUNCED_MS / 2 + 1000);
		engine_rig_run(&rig, 0);
		engine_rig_check_truthful(&rig, false, "announced", (unsigned)is_restarted);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		engine_rig_done(&rig);
	}
}

static void test_checked_when_it_begins(void)
{
	for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
		engine_rig_begin(&rig);
		announce();
		take_room();
		engine_rig_advance(&rig, ANNOUNCED_MS + 1000);
		engine_rig_run(&rig, 0);
		if (is_restarted)
			restart();
		check_no_room();
		engine_rig_done(&rig);
	}
}

/* Its turn comes only with the next daemon. */
static void test_checked_after_a_restart(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	unsigned long before;

	engine_rig_begin(&rig);
	rig.waits = true;
	engine_wait(rig.engine, true);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->step_count, 0);
	engine_rig_kill(&rig);
	take_room();
	rig.waits = false;
	engine_rig_start(&rig);
	before = atomic_load(&rig.writes);
	engine_rig_run(&rig, 0);
	check_no_room();
	/* It takes the cordon and ends, whatever write it dies at. */
	for (unsigned number = 1; number <= atomic_load(&rig.writes) - before + 1; number++) {
		char id[OPERATION_ID_SIZE];

		engine_rig_done(&rig);
		engine_rig_init(&rig);
		engine_rig_start(&rig);
		engine_wait(rig.engine, true);
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		engine_rig_kill(&rig);
		take_room();
		engine_rig_start_mortal(&rig, JOURNAL_GATE_LOST, number);
		engine_rig_run(&rig, 0);
		engine_rig_start_again(&rig, 0, id);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_FAILED);
		CHECK_TRUE(engine_rig_top(&rig)->undone && engine_rig_top(&rig)->remainder.count > 0);
		CHECK_TRUE(!engine_rig_has_hold(&rig));
		CHECK_INT(rig.world.starts, 0);
	}
	engine_rig_done(&rig);
}

static void test_cancelled_before_it_begins(void)
{
	for (int undo = 0; undo < 2; undo++)
		for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
			engine_rig_begin(&rig);
			announce();
			CHECK_INT(engine_cancel(rig.engine, rig.id, undo, NULL), 0);
			engine_rig_run(&rig, 0);
			if (is_restarted)
				restart();
			check_unbegun(OPERATION_STATE_CANCELLED, undo);
			CHECK_TRUE(engine_rig_is_initial(&rig));
			engine_rig_done(&rig);
		}
}

/* A pause is none of its steps: it waits for its time as before, and is checked when that has come. */
static void test_paused_before_it_begins(void)
{
	for (int is_full = 0; is_full < 2; is_full++) {
		engine_rig_begin(&rig);
		announce();
		CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
		CHECK_TRUE(engine_rig_has_hold(&rig));
		CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
		engine_rig_run(&rig, 0);
		check_waits();
		CHECK_INT(engine_rig_top(&rig)->started_at_ms, 0);
		CHECK_INT(engine_pause(rig.engine, rig.id, NULL), 0);
		engine_rig_advance(&rig, ANNOUNCED_MS + 1000);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
		CHECK_INT(engine_rig_top(&rig)->step_count, 1);
		if (is_full)
			take_room();
		CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
		engine_rig_run(&rig, 0);
		if (is_full)
			check_no_room();
		else
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		engine_rig_done(&rig);
	}
}

/* The daemon was down for as long as the drain had. */
static void test_missed(void)
{
	engine_rig_begin(&rig);
	announce();
	engine_rig_kill(&rig);
	rig.world.now_ms += 100 * ANNOUNCED_MS;
	engine_rig_start(&rig);
	engine_tick(rig.engine);
	engine_rig_run(&rig, 0);
	check_unbegun(OPERATION_STATE_FAILED, true);
	CHECK_STR(engine_rig_top(&rig)->error.code, "deadline_exceeded");
	engine_rig_done(&rig);
}

static struct wish wish_of_node(uint64_t not_before_ms)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	wish.drain_wish.target = DRAIN_TARGET_NODE;
	wish.drain_wish.dimm[0] = '\0';
	wish.drain_wish.node = 2;
	wish.drain_wish.not_before_ms = not_before_ms;
	return wish;
}

static void submit(const struct wish *wish, char ret_id[OPERATION_ID_SIZE], char ret_drain[OPERATION_ID_SIZE])
{
	engine_rig_submit(&rig, wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	snprintf(ret_id, OPERATION_ID_SIZE, "%s", rig.id);
	if (ret_drain)
		snprintf(ret_drain, OPERATION_ID_SIZE, "%s", rig.drain);
}

static enum operation_state state_of(const char *id)
{
	return engine_rig_operation(&rig, id)->state;
}

static void submit_undrain(const char *drain, char ret_id[OPERATION_ID_SIZE])
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain);
	/* The clock is turned while it works. */
	wish.timeout_s = 86400;
	submit(&wish, ret_id, NULL);
}

/* A drain of the DIMM that has ended, and beside it one of its node that waits for its time. */
static void begin_beside(char ret_drain[OPERATION_ID_SIZE], char ret_later[OPERATION_ID_SIZE])
{
	struct wish first = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), node;
	char id[OPERATION_ID_SIZE];

	engine_rig_begin(&rig);
	node = wish_of_node(rig.world.now_ms + ANNOUNCED_MS);
	submit(&first, id, ret_drain);
	engine_rig_run(&rig, 0);
	submit(&node, ret_later, NULL);
	engine_rig_run(&rig, 0);
	CHECK_INT(state_of(id), OPERATION_STATE_SUCCEEDED);
	CHECK_INT(state_of(ret_later), OPERATION_STATE_PENDING);
}

/* It keeps nobody from giving his own back, nor what was there from coming back. */
static void test_another_is_undrained_meanwhile(void)
{
	char drain[OPERATION_ID_SIZE], later[OPERATION_ID_SIZE], undrain[OPERATION_ID_SIZE];

	for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
		begin_beside(drain, later);
		if (is_restarted)
			restart();
		submit_undrain(drain, undrain);
		engine_rig_run(&rig, 0);
		CHECK_INT(state_of(undrain), OPERATION_STATE_SUCCEEDED);
		CHECK_INT(engine_drain(rig.engine, drain)->state, DRAIN_STATE_RELEASED);
		CHECK_INT(state_of(later), OPERATION_STATE_PENDING);
		CHECK_TRUE(engine_rig_is_initial(&rig) && engine_rig_has_hold(&rig));
		engine_rig_advance(&rig, ANNOUNCED_MS + 1000);
		engine_rig_run(&rig, 0);
		CHECK_INT(state_of(later), OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(fake_world_is_drained(&rig.world, false));
		engine_rig_done(&rig);
	}
}

/* What is at work when its time comes, it lets come to its end. */
static void test_waits_for_who_works_there(void)
{
	char drain[OPERATION_ID_SIZE], later[OPERATION_ID_SIZE], undrain[OPERATION_ID_SIZE];

	for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
		begin_beside(drain, later);
		submit_undrain(drain, undrain);
		engine_rig_run(&rig, rig.world.ticks + 1);
		CHECK_INT(state_of(undrain), OPERATION_STATE_RUNNING);
		if (is_restarted) {
			engine_rig_kill(&rig);
			rig.world.now_ms += ANNOUNCED_MS + 1000;
			engine_rig_start(&rig);
		} else {
			engine_rig_advance(&rig, ANNOUNCED_MS + 1000);
		}
		engine_rig_run(&rig, rig.world.ticks + 1);
		CHECK_INT(state_of(undrain), OPERATION_STATE_RUNNING);
		CHECK_INT(state_of(later), OPERATION_STATE_PENDING);
		CHECK_STR(engine_rig_operation(&rig, later)->waiting_for, undrain);
		engine_rig_run(&rig, 0);
		CHECK_INT(state_of(undrain), OPERATION_STATE_SUCCEEDED);
		engine_rig_advance(&rig, 1000);
		engine_rig_run(&rig, 0);
		CHECK_INT(state_of(later), OPERATION_STATE_SUCCEEDED);
		CHECK_STR(engine_rig_operation(&rig, later)->waiting_for, "");
		CHECK_TRUE(fake_world_is_drained(&rig.world, false));
		engine_rig_done(&rig);
	}
}

/* Its time comes while it waits, and is over before the other has ended: it ends unbegun, and says for whom it waited. */
static void test_waits_too_long(void)
{
	char drain[OPERATION_ID_SIZE], later[OPERATION_ID_SIZE], undrain[OPERATION_ID_SIZE];

	begin_beside(drain, later);
	submit_undrain(drain, undrain);
	engine_rig_run(&rig, rig.world.ticks + 1);
	CHECK_INT(engine_pause(rig.engine, undrain, NULL), 0);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, ANNOUNCED_MS + 1000);
	engine_rig_run(&rig, 0);
	CHECK_INT(state_of(later), OPERATION_STATE_PENDING);
	rig.world.now_ms = engine_rig_operation(&rig, later)->deadline_ms;
	engine_tick(rig.engine);
	engine_rig_run(&rig, 0);
	CHECK_INT(state_of(later), OPERATION_STATE_FAILED);
	CHECK_STR(engine_rig_operation(&rig, later)->error.code, "deadline_exceeded");
	CHECK_TRUE(strstr(engine_rig_operation(&rig, later)->remainder.items[0].detail, undrain) != NULL);
	engine_rig_done(&rig);
}

/* Others may be begun beside it, also of the same target, and also announced; whose times come together work one after the other. */
static void test_another_drain_beside(void)
{
	struct wish wish;
	char later[OPERATION_ID_SIZE], now[OPERATION_ID_SIZE], dimm[OPERATION_ID_SIZE], ids[2][OPERATION_ID_SIZE];
	const struct drain_record *drains[8];
	size_t count;

	engine_rig_begin(&rig);
	announce();
	snprintf(later, sizeof(later), "%s", rig.id);
	/* The same at a later time is the same once more. */
	wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	wish.drain_wish.not_before_ms = rig.world.now_ms + 2 * ANNOUNCED_MS;
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
	CHECK_STR(rig.code, "target_held");
	wish.drain_wish.finish = DRAIN_FINISH_EMPTY;
	wish.drain_wish.not_before_ms = 0;
	submit(&wish, now, dimm);
	engine_rig_run(&rig, 0);
	CHECK_INT(state_of(now), OPERATION_STATE_SUCCEEDED);
	CHECK_INT(state_of(later), OPERATION_STATE_PENDING);
	wish = wish_of_node(rig.world.now_ms + ANNOUNCED_MS);
	submit(&wish, ids[1], NULL);
	snprintf(ids[0], sizeof(ids[0]), "%s", later);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, ANNOUNCED_MS + 1000);
	engine_rig_run(&rig, rig.world.ticks + 1);
	CHECK_INT((state_of(ids[0]) == OPERATION_STATE_RUNNING) + (state_of(ids[1]) == OPERATION_STATE_RUNNING), 1);
	engine_rig_run(&rig, 0);
	engine_rig_advance(&rig, 1000);
	engine_rig_run(&rig, 0);
	CHECK_INT(state_of(ids[0]), OPERATION_STATE_SUCCEEDED);
	CHECK_INT(state_of(ids[1]), OPERATION_STATE_SUCCEEDED);
	count = engine_drains(rig.engine, drains, ARRAY_SIZE(drains));
	CHECK_INT(count, 3);
	/* Oldest first: each gives back what no other holds, the last of them all of it. */
	for (size_t i = count; i-- > 0;) {
		char id[OPERATION_ID_SIZE], undrain[OPERATION_ID_SIZE];

		CHECK_INT(drains[i]->state, DRAIN_STATE_HELD);
		snprintf(id, sizeof(id), "%s", drains[i]->id);
		submit_undrain(id, undrain);
		engine_rig_run(&rig, 0);
		count = engine_drains(rig.engine, drains, ARRAY_SIZE(drains));
	}
	CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	for (size_t i = 0; i < count; i++)
		CHECK_INT(drains[i]->state, DRAIN_STATE_RELEASED);
	engine_rig_done(&rig);
}

/* Nobody means that; and an answer that was given once is given again. */
static void test_times_that_nobody_means(void)
{
	static const struct {
		int64_t after_ms;
		bool is_refused;
	} rows[] = {
		{-30000, false},
		{-3600000, true},
		{366 * INT64_C(86400000), false},
		{50 * 366 * INT64_C(86400000), true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EMPTY);
		struct engine_submission submission = {.wish = &wish, .actor = "uid 7", .idempotency_key = "k", .body_hash = "b"};
		uint64_t year_ms = 367 * UINT64_C(86400000);

		engine_rig_begin(&rig);
		wish.drain_wish.not_before_ms = (uint64_t)((int64_t)rig.world.now_ms + rows[i].after_ms);
		engine_rig_submit_with(&rig, &submission);
		CHECK_INT(rig.result, rows[i].is_refused ? ENGINE_SUBMIT_REFUSED : ENGINE_SUBMIT_ACCEPTED);
		CHECK_STR(rig.code, rows[i].is_refused ? "invalid_body" : "");
		engine_rig_run(&rig, 0);
		if (rows[i].is_refused) {
			CHECK_TRUE(!engine_rig_has_hold(&rig));
		} else {
			engine_rig_advance(&rig, year_ms);
			engine_rig_run(&rig, 0);
			engine_rig_submit_with(&rig, &submission);
			CHECK_INT(rig.result, ENGINE_SUBMIT_REPLAYED);
		}
		engine_rig_done(&rig);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"an announced drain is cordoned from now on and begins in its time", test_cordoned_from_now},
		{"what came meanwhile ends it unbegun, with the reason", test_checked_when_it_begins},
		{"also where its turn comes after a restart", test_checked_after_a_restart},
		{"cancelled before it has begun it leaves no hold", test_cancelled_before_it_begins},
		{"times that nobody means", test_times_that_nobody_means},
		{"paused before it has begun it waits as before", test_paused_before_it_begins},
		{"another is undrained while it waits", test_another_is_undrained_meanwhile},
		{"who works there when its time comes is waited for", test_waits_for_who_works_there},
		{"but not for longer than it has", test_waits_too_long},
		{"another drain begins beside it", test_another_drain_beside},
		{"nor where its time is over before anybody could begin it", test_missed},
	};

	return unit_main("engine_announced", cases, ARRAY_SIZE(cases));
}
