/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_hints.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* Hints against a real engine with the real planners: guests on node 2, which is the DIMM d1. */

#define FIRST 32 /* block of the DIMM */

static struct engine_rig rig;
static struct hint_policy policy;
static struct memory_hints *hints;
static struct {
	unsigned changes, answers;
	struct snapshot_hint changed;
	bool sees;	/* whoever is told looks */
	int error;
	bool is_new, has_operation, has_drain;
	enum hint_action wanted, action;
	char code[40], operation[OPERATION_ID_SIZE], drain[OPERATION_ID_SIZE];
	size_t blockers;
	struct snapshot_hint hint;
} told;

static void on_changed(void *user, const struct snapshot_hint *hint)
{
	told.changes++;
	told.changed = *hint;
	if (!told.sees)
		return;
	CLEANUP(snapshot_freep) struct snapshot *copy = snapshot_copy(fake_world_see(&rig.world));

	CHECK_INT(memory_hints_see(hints, copy), 0);
}

static void start_hints(void)
{
	struct failure failure = {0};

	hints = memory_hints_new(&(struct memory_hints_options){.engine = rig.engine,
								.policy = &policy,
								.journal = rig.journal,
								.boot_id = rig.boot_id,
								.now_ms = fake_world_now,
								.changed = on_changed,
								.user = &rig.world});
	CHECK_INT(memory_hints_load(hints, &failure), 0);
}

static void restart(const char *boot_id)
{
	hints = memory_hints_free(hints);
	/* What was written is durable, and nothing else is told. */
	engine_rig_run(&rig, 0);
	engine_rig_kill(&rig);
	rig.boot_id = boot_id;
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	start_hints();
}

static void begin(enum hint_action action)
{
	memset(&told, 0, sizeof(told));
	engine_rig_begin(&rig);
	hint_policy_init(&policy);
	for (int risk = 0; risk < HINT_RISK_COUNT; risk++)
		policy.actions[risk] = action;
	policy.allow = UINT32_MAX >> (32 - CONSENT_COUNT);
	start_hints();
}

static void end(void)
{
	engine_rig_done(&rig);
	hints = memory_hints_free(hints);
}

static void on_answer(void *user, const struct memory_hints_answer *answer)
{
	told.answers++;
	told.error = answer->error;
	told.wanted = answer->wanted;
	told.action = answer->action;
	told.is_new = answer->is_new;
	told.has_operation = answer->operation != NULL;
	told.has_drain = answer->drain != NULL;
	told.blockers = answer->blockers ? answer->blockers->count : 0;
	snprintf(told.operation, sizeof(told.operation), "%s", answer->operation ? answer->operation->id : "");
	snprintf(told.drain, sizeof(told.drain), "%s", answer->drain ? answer->drain->id : "");
	snprintf(told.code, sizeof(told.code), "%s", answer->failure ? answer->failure->code : "");
	if (answer->hint)
		told.hint = *answer->hint;
}

/* The look of the engine, and what is then durable, take their turns; nothing else happens. */
static void wait_for_answer(unsigned answers)
{
	for (int turn = 0; turn < 1000 && told.answers < answers; turn++) {
		struct pollfd fd = {.fd = journal_fd(rig.journal), .events = POLLIN};

		event_base_loop(rig.base, EVLOOP_NONBLOCK);
		if (told.answers >= answers)
			break;
		if (journal_pending(rig.journal) > 0)
			poll(&fd, 1, 10000);
		else
			fake_world_tick(&rig.world);
	}
	CHECK_INT(told.answers, answers);
}

static void take(const char *dimm, uint64_t address, enum hint_risk risk)
{
	struct memory_hint hint = {.address = address, .risk = risk};
	/* What is seen lasts as long as the call, whoever looks meanwhile. */
	CLEANUP(snapshot_freep) struct snapshot *seen = snapshot_copy(fake_world_see(&rig.world));
	unsigned answers = told.answers;

	snprintf(hint.dimm, sizeof(hint.dimm), "%s", dimm);
	memory_hints_take(hints, seen, &hint, "uid 7", on_answer, NULL);
	wait_for_answer(answers + 1);
}

static size_t operations(void)
{
	const struct operation_record *records[64];
	size_t count = engine_operations(rig.engine, records, ARRAY_SIZE(records)), top = 0;

	for (size_t i = 0; i < count; i++)
		top += !records[i]->parent[0];
	return top;
}

static void test_where(void)
{
	begin(HINT_ACTION_ALERT);
	take("", FIRST * FAKE_BLOCK + 4096, HINT_RISK_LOW);
	CHECK_INT(told.error, 0);
	CHECK_STR(told.hint.dimm, "d1");
	CHECK_INT(told.hint.range.start, FIRST * FAKE_BLOCK);
	CHECK_INT(told.hint.range.end, (FIRST + 1) * FAKE_BLOCK);
	CHECK_INT(told.hint.node, 2);
	CHECK_INT(told.hint.address, FIRST * FAKE_BLOCK + 4096);
	take("d1", 0, HINT_RISK_LOW);
	CHECK_STR(told.hint.dimm, "d1");
	CHECK_INT(told.hint.range.end, 0);
	/* Memory of no DIMM is memory. */
	take("", 0, HINT_RISK_LOW);
	CHECK_INT(told.error, 0);
	CHECK_STR(told.hint.dimm, "");
	CHECK_INT(told.hint.node, 0);
	CHECK_INT(told.changes, 3);
	take("", FAKE_BLOCKS * FAKE_BLOCK, HINT_RISK_LOW);
	CHECK_INT(told.error, -EINVAL);
	CHECK_STR(told.code, "invalid_target");
	take("", UINT64_MAX, HINT_RISK_LOW);
	CHECK_INT(told.error, -EINVAL);
	take("d2", 0, HINT_RISK_LOW);
	CHECK_INT(told.error, -ENOENT);
	CHECK_STR(told.code, "unknown_dimm");
	rig.world.state.ejected = true;
	take("d1", 0, HINT_RISK_LOW);
	CHECK_INT(told.error, -EINVAL);
	CHECK_STR(told.code, "invalid_target");
	/* What was not taken nobody is told of. */
	CHECK_INT(told.changes, 3);
	end();
}

static void test_not_looked_yet(void)
{
	CLEANUP(snapshot_freep) struct snapshot *empty = snapshot_new();

	begin(HINT_ACTION_ALERT);
	memory_hints_take(hints, empty, &(struct memory_hint){.address = 0}, "uid 7", on_answer, NULL);
	CHECK_INT(told.error, -EAGAIN);
	CHECK_STR(told.code, "not_ready");
	end();
}

/* Counted by block, and in what is seen as long as the DIMM is there. */
static void test_kept(void)
{
	CLEANUP(snapshot_freep) struct snapshot *seen = NULL, *gone = NULL;

	begin(HINT_ACTION_ALERT);
	take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
	rig.world.now_ms += 1000;
	take("", FIRST * FAKE_BLOCK + 64, HINT_RISK_LOW);
	take("", (FIRST + 1) * FAKE_BLOCK, HINT_RISK_LOW);
	take("", 0, HINT_RISK_LOW);
	CHECK_INT(operations(), 0);
	seen = snapshot_copy(fake_world_see(&rig.world));
	for (int twice = 0; twice < 2; twice++)
		CHECK_INT(memory_hints_see(hints, seen), 0);
	CHECK_INT(seen->hint_count, 3);
	CHECK_INT(seen->hints[0].count, 2);
	CHECK_INT(seen->hints[0].risk, HINT_RISK_LOW);
	CHECK_INT(seen->hints[0].worst, HINT_RISK_UNCORRECTED);
	CHECK_INT(seen->hints[0].address, FIRST * FAKE_BLOCK + 64);
	CHECK_INT(seen->hints[0].at_ms, rig.world.now_ms);
	CHECK_INT(seen->hints[1].count, 1);
	/* What is plugged in next may be another one. */
	rig.world.state.ejected = true;
	gone = snapshot_copy(fake_world_see(&rig.world));
	CHECK_INT(memory_hints_see(hints, gone), 0);
	CHECK_INT(gone->hint_count, 1);
	CHECK_STR(gone->hints[0].dimm, "");
	CHECK_INT(memory_hints_see(hints, seen), 0);
	CHECK_INT(seen->hint_count, 1);
	end();
}

static size_t known(struct snapshot_hint *ret_first)
{
	CLEANUP(snapshot_freep) struct snapshot *seen = snapshot_copy(fake_world_see(&rig.world));
	size_t count;

	CHECK_INT(memory_hints_see(hints, seen), 0);
	count = seen->hint_count;
	memset(ret_first, 0, sizeof(*ret_first));
	for (size_t i = 0; i < count; i++)
		if (seen->hints[i].range.start == FIRST * FAKE_BLOCK)
			*ret_first = seen->hints[i];
	return count;
}

/* What was said lasts as long as the memory that it was said of, and so does the pause. */
static void test_restart(void)
{
	struct snapshot_hint hint;
	uint64_t said_at_ms;

	begin(HINT_ACTION_DRAIN);
	policy.actions[HINT_RISK_LOW] = HINT_ACTION_ALERT;
	take("", FIRST * FAKE_BLOCK + 64, HINT_RISK_UNCORRECTED);
	CHECK_TRUE(told.is_new);
	engine_rig_run(&rig, 0);
	engine_rig_check_undrained(&rig);
	take("", FIRST * FAKE_BLOCK + 128, HINT_RISK_HIGH);
	CHECK_STR(told.code, "conflict");
	said_at_ms = rig.world.now_ms;
	take("", 0, HINT_RISK_LOW);
	take("d1", 0, HINT_RISK_LOW);
	for (int twice = 0; twice < 2; twice++) {
		restart("boot-1");
		CHECK_INT(known(&hint), 3);
		CHECK_STR(hint.dimm, "d1");
		CHECK_INT(hint.range.end, (FIRST + 1) * FAKE_BLOCK);
		CHECK_INT(hint.node, 2);
		CHECK_INT(hint.address, FIRST * FAKE_BLOCK + 128);
		CHECK_INT(hint.risk, HINT_RISK_HIGH);
		CHECK_INT(hint.worst, HINT_RISK_UNCORRECTED);
		CHECK_INT(hint.count, 2);
		CHECK_INT(hint.at_ms, said_at_ms);
	}
	take("d1", 0, HINT_RISK_HIGH);
	CHECK_STR(told.code, "conflict");
	take("", FIRST * FAKE_BLOCK, HINT_RISK_HIGH);
	CHECK_STR(told.code, "conflict");
	CHECK_INT(told.hint.count, 3);
	/* Out, and another one in its place. */
	rig.world.state.ejected = true;
	CHECK_INT(known(&hint), 1);
	rig.world.state.ejected = false;
	restart("boot-1");
	CHECK_INT(known(&hint), 1);
	/* So it may be after a boot, and nobody remembers it afterwards. */
	restart("boot-2");
	CHECK_INT(known(&hint), 0);
	restart("boot-1");
	CHECK_INT(known(&hint), 0);
	/* Where the boot is not known it is believed. */
	take("", FIRST * FAKE_BLOCK, HINT_RISK_LOW);
	restart(NULL);
	CHECK_INT(known(&hint), 1);
	end();
}

/* As many as are known are kept, the worst of them for sure; thousands of the same make few writes. */
static void test_restart_after_many(void)
{
	CLEANUP(snapshot_freep) struct snapshot *wide = NULL;
	struct snapshot_hint hint;
	unsigned long before;

	begin(HINT_ACTION_ALERT);
	wide = snapshot_copy(fake_world_see(&rig.world));
	for (uint64_t i = 0; i < 300; i++)
		*snapshot_add_block(wide) =
			(struct snapshot_block){.id = 1000 + i, .start = (1000 + i) * FAKE_BLOCK, .size_bytes = FAKE_BLOCK};
	take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
	for (uint64_t i = 0; i < 300; i++)
		memory_hints_take(hints, wide, &(struct memory_hint){.address = (1000 + i) * FAKE_BLOCK}, "uid 7", on_answer,
				  NULL);
	engine_rig_run(&rig, 0);
	before = atomic_load(&rig.writes);
	for (int i = 0; i < 1000; i++)
		take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(atomic_load(&rig.writes) - before, 0);
	rig.world.now_ms += 60000;
	take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
	restart("boot-1");
	CHECK_INT(known(&hint), 256);
	CHECK_INT(hint.worst, HINT_RISK_UNCORRECTED);
	CHECK_INT(hint.count, 1002);
	end();
}

/* A flood of hints does not push out what is worst. */
static void test_many(void)
{
	CLEANUP(snapshot_freep) struct snapshot *wide = NULL;
	bool is_there = false;

	begin(HINT_ACTION_ALERT);
	wide = snapshot_copy(fake_world_see(&rig.world));
	for (uint64_t i = 0; i < 400; i++) {
		struct snapshot_block *block = snapshot_add_block(wide);

		*block = (struct snapshot_block){.id = 1000 + i, .start = (1000 + i) * FAKE_BLOCK, .size_bytes = FAKE_BLOCK};
	}
	take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
	for (uint64_t i = 0; i < 400; i++)
		memory_hints_take(hints, wide, &(struct memory_hint){.address = (1000 + i) * FAKE_BLOCK}, "uid 7", on_answer,
				  NULL);
	CHECK_INT(memory_hints_see(hints, wide), 0);
	CHECK_TRUE(wide->hint_count < 400);
	for (size_t i = 0; i < wide->hint_count; i++)
		is_there = is_there || wide->hints[i].worst == HINT_RISK_UNCORRECTED;
	CHECK_TRUE(is_there);
	CHECK_INT(told.answers, 401);
	end();
}

/* What each action makes of an address in a DIMM, of one in none, and of a DIMM; each risk has its own action. */
static void test_policy(void)
{
	static const struct {
		enum hint_action action;
		const char *dimm;
		uint64_t start; /* of the block; 0 without end: none */
		uint64_t end;
		enum drain_target target;
		enum drain_finish finish;
	} rows[] = {
		{HINT_ACTION_MOVE_RANGE, "d1", 1024, 2048, DRAIN_TARGET_RANGE, DRAIN_FINISH_EMPTY},
		{HINT_ACTION_MOVE_RANGE, "", 1024, 2048, DRAIN_TARGET_RANGE, DRAIN_FINISH_EMPTY},
		{HINT_ACTION_MOVE_RANGE, "d1", 0, 0, DRAIN_TARGET_DIMM, DRAIN_FINISH_EMPTY},
		{HINT_ACTION_DRAIN, "d1", 1024, 2048, DRAIN_TARGET_DIMM, DRAIN_FINISH_OFFLINE},
		{HINT_ACTION_DRAIN, "", 1024, 2048, DRAIN_TARGET_RANGE, DRAIN_FINISH_OFFLINE},
		{HINT_ACTION_DRAIN, "d1", 0, 0, DRAIN_TARGET_DIMM, DRAIN_FINISH_OFFLINE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int risk = 0; risk < HINT_RISK_COUNT; risk++) {
			struct hint_policy own;
			struct snapshot_hint hint = {.risk = (enum hint_risk)risk, .address = 1030, .node = 2};
			struct wish wish;

			hint_policy_init(&own);
			snprintf(hint.dimm, sizeof(hint.dimm), "%s", rows[i].dimm);
			hint.range = (struct snapshot_range){rows[i].start, rows[i].end};
			CHECK_TRUE(!hint_policy_wish(&own, &hint, &wish));
			own.actions[risk] = rows[i].action;
			own.finish = DRAIN_FINISH_OFFLINE;
			own.allow = 1u << CONSENT_LOCKED_GUESTS;
			CHECK_TRUE(hint_policy_wish(&own, &hint, &wish));
			CHECK_INT(wish.kind, OPERATION_KIND_DRAIN);
			CHECK_INT(wish.drain_wish.target, rows[i].target);
			CHECK_INT(wish.drain_wish.finish, rows[i].finish);
			CHECK_INT(wish.allow, 1u << CONSENT_LOCKED_GUESTS);
			CHECK_INT(wish.on_timeout, ON_TIMEOUT_STOP);
			CHECK_TRUE(strstr(wish.drain_wish.reason, hint_risk_name(hint.risk)) != NULL);
			if (rows[i].target == DRAIN_TARGET_DIMM)
				CHECK_STR(wish.drain_wish.dimm, "d1");
			else
				CHECK_INT(wish.drain_wish.range.end, 2048);
			/* The others stay alerts. */
			hint.risk = (enum hint_risk)((risk + 1) % HINT_RISK_COUNT);
			CHECK_TRUE(!hint_policy_wish(&own, &hint, &wish));
		}
	}
}

static void test_drain_once(void)
{
	char operation[OPERATION_ID_SIZE], drain[OPERATION_ID_SIZE];

	begin(HINT_ACTION_DRAIN);
	told.sees = true;
	take("", FIRST * FAKE_BLOCK, HINT_RISK_HIGH);
	CHECK_INT(told.action, HINT_ACTION_DRAIN);
	CHECK_TRUE(told.is_new && told.has_operation && told.has_drain);
	CHECK_STR(told.code, "");
	snprintf(operation, sizeof(operation), "%s", told.operation);
	snprintf(drain, sizeof(drain), "%s", told.drain);
	CHECK_STR(engine_rig_operation(&rig, operation)->actor, "uid 7");
	CHECK_INT(engine_rig_operation(&rig, operation)->wish.drain_wish.finish, DRAIN_FINISH_EMPTY);
	/* While it is at work: of this block, of another one of the DIMM, and of the DIMM itself. */
	take("", FIRST * FAKE_BLOCK, HINT_RISK_HIGH);
	CHECK_TRUE(!told.is_new);
	CHECK_INT(told.action, HINT_ACTION_DRAIN);
	CHECK_STR(told.operation, operation);
	CHECK_STR(told.drain, drain);
	take("", (FIRST + 3) * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
	CHECK_STR(told.operation, operation);
	take("d1", 0, HINT_RISK_HIGH);
	CHECK_STR(told.operation, operation);
	/* And while it holds. */
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, operation)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.world.state.guests[0].node_bytes[2] + rig.world.state.guests[1].node_bytes[2], 0);
	rig.world.now_ms += 3600000;
	take("d1", 0, HINT_RISK_UNCORRECTED);
	CHECK_TRUE(!told.is_new);
	CHECK_STR(told.drain, drain);
	CHECK_INT(operations(), 1);
	CHECK_INT(told.changes, 5);
	end();
}

static void submit_undrain(const char *drain)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
}

/* From the newest to the oldest. */
static void undrain_all(void)
{
	const struct drain_record *drains[8];
	size_t count = engine_drains(rig.engine, drains, ARRAY_SIZE(drains));

	for (size_t i = 0; i < count; i++) {
		if (drains[i]->hold.drain[0])
			submit_undrain(drains[i]->id);
		engine_rig_run(&rig, 0);
		engine_drains(rig.engine, drains, ARRAY_SIZE(drains));
	}
	CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
}

static uint64_t bytes_there(void)
{
	return rig.world.state.guests[0].node_bytes[2] + rig.world.state.guests[1].node_bytes[2];
}

/* What came to nothing is tried again, not before its pause is over, and what it had done goes back with what the next has. */
static void test_again_after_a_failure(void)
{
	static const enum step_state states[] = {STEP_STATE_FAILED, STEP_STATE_PARTIAL};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		char first[OPERATION_ID_SIZE];

		begin(HINT_ACTION_DRAIN);
		rig.world.fail_kind = STEP_KIND_MOVE_PAGES;
		rig.world.fail_kind_state = states[i];
		take("d1", 0, HINT_RISK_LOW);
		CHECK_TRUE(told.is_new);
		snprintf(first, sizeof(first), "%s", told.drain);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_STOPPED);
		CHECK_TRUE(bytes_there() > 0 && engine_rig_has_hold(&rig));
		rig.world.fail_kind = STEP_KIND_COUNT;
		/* Also not for what is said of another block of the same DIMM. */
		take("d1", 0, HINT_RISK_LOW);
		CHECK_STR(told.code, "conflict");
		CHECK_INT(told.action, HINT_ACTION_ALERT);
		take("", (FIRST + 3) * FAKE_BLOCK, HINT_RISK_LOW);
		CHECK_STR(told.code, "conflict");
		CHECK_INT(operations(), 1);
		rig.world.now_ms += 3600000;
		take("", (FIRST + 3) * FAKE_BLOCK, HINT_RISK_LOW);
		CHECK_TRUE(told.is_new);
		CHECK_INT(told.action, HINT_ACTION_DRAIN);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
		CHECK_INT(bytes_there(), 0);
		/* One hold is left of the two. */
		CHECK_STR(engine_drain(rig.engine, first)->hold.drain, "");
		CHECK_INT(engine_drain(rig.engine, first)->state,
			  states[i] == STEP_STATE_PARTIAL ? DRAIN_STATE_DEFERRED : DRAIN_STATE_RELEASED);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		CHECK_STR(engine_drain(rig.engine, first)->hold.drain, "");
		engine_rig_check_undrained(&rig);
		CHECK_INT(engine_drain(rig.engine, first)->state, DRAIN_STATE_RELEASED);
		end();
	}
}

/* Said to be worse it is tried again at once; and as often as it comes to nothing one hold stands. */
static void test_again_and_again(void)
{
	const struct drain_record *drains[8];
	size_t count, holds = 0;

	begin(HINT_ACTION_DRAIN);
	rig.world.fail_kind = STEP_KIND_MOVE_PAGES;
	rig.world.fail_kind_state = STEP_STATE_PARTIAL;
	for (int risk = HINT_RISK_LOW; risk < HINT_RISK_COUNT; risk++) {
		take("d1", 0, (enum hint_risk)risk);
		CHECK_TRUE(told.is_new);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_STOPPED);
	}
	count = engine_drains(rig.engine, drains, ARRAY_SIZE(drains));
	CHECK_INT(count, HINT_RISK_COUNT);
	for (size_t i = 0; i < count; i++)
		holds += drains[i]->hold.drain[0] != '\0';
	CHECK_INT(holds, 1);
	rig.world.fail_kind = STEP_KIND_COUNT;
	undrain_all();
	end();
}

/* Who only keeps others away moves nothing: what is said to be done is done, beside him, and each goes back by itself. */
static void test_under_a_cordon(void)
{
	for (int action = HINT_ACTION_MOVE_RANGE; action < HINT_ACTION_COUNT; action++) {
		struct wish cordon;
		uint64_t before;

		begin((enum hint_action)action);
		cordon = engine_rig_drain_wish(DRAIN_FINISH_CORDON);
		engine_rig_submit(&rig, &cordon);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
		before = bytes_there();
		take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
		CHECK_TRUE(told.is_new);
		CHECK_INT(told.action, action);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_operation(&rig, told.operation)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(bytes_there() < before);
		/* Now it stands. */
		take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
		CHECK_TRUE(!told.is_new);
		CHECK_INT(told.action, action);
		undrain_all();
		end();
	}
}

/* One that is announced for later moves nothing now. When its time comes it does the rest. */
static void test_under_an_announced_drain(void)
{
	for (int action = HINT_ACTION_MOVE_RANGE; action < HINT_ACTION_COUNT; action++) {
		struct wish later;
		uint64_t before;
		char id[OPERATION_ID_SIZE];

		begin((enum hint_action)action);
		later = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
		later.drain_wish.not_before_ms = rig.world.now_ms + 7 * 24 * UINT64_C(3600000);
		engine_rig_submit(&rig, &later);
		engine_rig_run(&rig, 0);
		snprintf(id, sizeof(id), "%s", rig.id);
		before = bytes_there();
		take("", FIRST * FAKE_BLOCK, HINT_RISK_UNCORRECTED);
		CHECK_TRUE(told.is_new);
		CHECK_INT(told.action, action);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_operation(&rig, told.operation)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(bytes_there() < before);
		CHECK_INT(engine_rig_operation(&rig, id)->state, OPERATION_STATE_PENDING);
		engine_rig_advance(&rig, 7 * 24 * UINT64_C(3600000) + 1000);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_operation(&rig, id)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(fake_world_is_drained(&rig.world, false));
		undrain_all();
		end();
	}
}

/* What is just given back is not emptied, and that is said. */
static void test_while_it_is_undrained(void)
{
	begin(HINT_ACTION_DRAIN);
	take("d1", 0, HINT_RISK_LOW);
	engine_rig_run(&rig, 0);
	submit_undrain(told.drain);
	engine_rig_run(&rig, rig.world.ticks + 1);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_UNDRAINING);
	take("d1", 0, HINT_RISK_UNCORRECTED);
	CHECK_TRUE(!told.is_new);
	CHECK_INT(told.wanted, HINT_ACTION_DRAIN);
	CHECK_INT(told.action, HINT_ACTION_ALERT);
	CHECK_STR(told.code, "target_held");
	engine_rig_run(&rig, 0);
	CHECK_TRUE(engine_rig_is_initial(&rig));
	end();
}

/* Whoever has taken a drain back does not find it begun again by the next hint; by one that is worse he does. */
static void test_pause(void)
{
	begin(HINT_ACTION_DRAIN);
	take("d1", 0, HINT_RISK_LOW);
	CHECK_TRUE(told.is_new);
	engine_rig_run(&rig, 0);
	engine_rig_check_undrained(&rig);
	take("d1", 0, HINT_RISK_LOW);
	CHECK_INT(told.error, 0);
	CHECK_INT(told.wanted, HINT_ACTION_DRAIN);
	CHECK_INT(told.action, HINT_ACTION_ALERT);
	CHECK_STR(told.code, "conflict");
	CHECK_INT(operations(), 2);
	take("d1", 0, HINT_RISK_HIGH);
	CHECK_TRUE(told.is_new);
	engine_rig_run(&rig, 0);
	engine_rig_check_undrained(&rig);
	rig.world.now_ms += 3600000;
	take("d1", 0, HINT_RISK_LOW);
	CHECK_TRUE(told.is_new);
	engine_rig_run(&rig, 0);
	engine_rig_check_undrained(&rig);
	/* Somebody sets the clock back by a day. */
	rig.world.now_ms -= 24 * 3600000;
	take("d1", 0, HINT_RISK_LOW);
	CHECK_TRUE(told.is_new);
	end();
}

/* Two at once: the second comes while the engine still looks for the first. */
static void test_at_once(void)
{
	struct memory_hint hint = {.dimm = "d1", .risk = HINT_RISK_HIGH};

	begin(HINT_ACTION_DRAIN);
	memory_hints_take(hints, fake_world_see(&rig.world), &hint, "uid 7", on_answer, NULL);
	CHECK_INT(told.answers, 0);
	memory_hints_take(hints, fake_world_see(&rig.world), &hint, "uid 7", on_answer, NULL);
	CHECK_INT(told.answers, 1);
	CHECK_INT(told.action, HINT_ACTION_ALERT);
	CHECK_STR(told.code, "conflict");
	wait_for_answer(2);
	CHECK_TRUE(told.is_new);
	CHECK_INT(operations(), 1);
	end();
}

/* A refusal does not lose the hint. */
static void test_refused(void)
{
	begin(HINT_ACTION_DRAIN);
	policy.finish = DRAIN_FINISH_OFFLINE;
	/* Memory in a kernel zone. */
	take("", 0, HINT_RISK_HIGH);
	CHECK_INT(told.error, 0);
	CHECK_INT(told.wanted, HINT_ACTION_DRAIN);
	CHECK_INT(told.action, HINT_ACTION_ALERT);
	CHECK_STR(told.code, "kernel_memory");
	CHECK_TRUE(told.blockers > 0);
	CHECK_TRUE(!told.has_operation);
	CHECK_INT(told.hint.count, 1);
	CHECK_INT(operations(), 0);
	end();
}

/* What was said to have failed is copied only with the consent that the configuration has. */
static void test_consent(void)
{
	begin(HINT_ACTION_DRAIN);
	policy.finish = DRAIN_FINISH_OFFLINE;
	policy.allow &= ~(1u << CONSENT_MAY_CRASH_HOST);
	rig.world.hints = hints;
	take("d1", 0, HINT_RISK_UNCORRECTED);
	CHECK_INT(told.action, HINT_ACTION_ALERT);
	CHECK_STR(told.code, "consent_required");
	CHECK_INT(told.blockers, 1);
	policy.allow |= 1u << CONSENT_MAY_CRASH_HOST;
	rig.world.now_ms += 3600000;
	take("d1", 0, HINT_RISK_UNCORRECTED);
	CHECK_TRUE(told.is_new);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, told.operation)->state, OPERATION_STATE_SUCCEEDED);
	end();
}

static void test_observe(void)
{
	begin(HINT_ACTION_ALERT);
	engine_rig_kill(&rig);
	hints = memory_hints_free(hints);
	rig.observe = true;
	engine_rig_start(&rig);
	policy.actions[HINT_RISK_HIGH] = HINT_ACTION_DRAIN;
	hints = memory_hints_new(&(struct memory_hints_options){
		.engine = rig.engine, .policy = &policy, .now_ms = fake_world_now, .user = &rig.world});
	take("d1", 0, HINT_RISK_HIGH);
	CHECK_INT(told.error, 0);
	CHECK_INT(told.action, HINT_ACTION_ALERT);
	CHECK_STR(told.code, "observe_only");
	end();
}

static const struct unit_case cases[] = {
	{"where it is", test_where},
	{"not looked yet", test_not_looked_yet},
	{"kept", test_kept},
	{"kept over a restart", test_restart},
	{"many, and a restart", test_restart_after_many},
	{"many", test_many},
	{"policy", test_policy},
	{"a drain once", test_drain_once},
	{"again after a failure", test_again_after_a_failure},
	{"again and again", test_again_and_again},
	{"under a cordon", test_under_a_cordon},
	{"under an announced drain", test_under_an_announced_drain},
	{"while it is undrained", test_while_it_is_undrained},
	{"a pause after it", test_pause},
	{"two at once", test_at_once},
	{"refused", test_refused},
	{"consent", test_consent},
	{"observe", test_observe},
};

int main(void)
{
	return unit_main("service/operation/memory_hints", cases, ARRAY_SIZE(cases));
}
