/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/*
 * What must hold of a move with every kind of step that it can have, whatever the planner: this
 * file is linked once with a planner of a few lines and once with the real one.
 */

static struct engine_rig rig;

static const enum step_kind kinds[] = {
	STEP_KIND_HOST_POOL,   STEP_KIND_CPUSET,  STEP_KIND_MEMORY_POLICY, STEP_KIND_CPUS,
	STEP_KIND_REPORT_FREE, STEP_KIND_REQUEST, STEP_KIND_MOVE_PAGES,	   STEP_KIND_PERSIST,
};

/* Bound to node 2 in every way; its memory is shared, and in huge pages. */
static void set(void)
{
	struct fake_guest *guest;

	engine_rig_init(&rig);
	guest = &rig.world.state.guests[0];
	guest->cpuset_mems = 1 << 2;
	guest->cpu_nodes = 1 << 0;
	guest->huge_free_bytes = 0;
	rig.world.state.pool_bytes[2] = 64 * FAKE_MIB;
	rig.world.has_huge = true;
	rig.initial = rig.world.state;
}

static void begin(void)
{
	set();
	engine_rig_start(&rig);
}

static struct wish move_wish(enum on_timeout on_timeout)
{
	struct wish wish = engine_rig_move_wish(0, 1);

	wish.move.cpus = wish.move.persist = true;
	wish.allow = UINT32_MAX >> (32 - CONSENT_COUNT);
	wish.on_timeout = on_timeout;
	return wish;
}

static bool is_moved(void)
{
	const struct fake_guest *guest = &rig.world.state.guests[0];

	return guest->node_bytes[0] == 0 && guest->node_bytes[2] == 0 && guest->node_bytes[1] > 0;
}

/* All that was asked for, and all that belongs to it. */
static bool is_reached(void)
{
	const struct fake_guest *guest = &rig.world.state.guests[0];

	return is_moved() && guest->policy_nodes == 1 << 1 && guest->cpu_nodes == 1 << 1 &&
	       guest->stored_nodes == 1 << 1 && !(guest->cpuset_mems & 1 << 2) &&
	       guest->current_bytes == rig.initial.guests[0].current_bytes;
}

#ifdef REAL_PLANNERS
/* Whatever a caller names, and not only what serves it: of that a failure is a warning. */
static bool has_what_was_asked_for(void)
{
	const struct fake_guest *guest = &rig.world.state.guests[0];

	return is_moved() && guest->cpu_nodes == 1 << 1 && guest->stored_nodes == 1 << 1;
}
#endif

static uint64_t bytes_left(void)
{
	const struct fake_guest *guest = &rig.world.state.guests[0];

	return guest->node_bytes[0] + guest->node_bytes[2];
}

static void tell_steps(bool is_true)
{
	const struct operation_record *record = engine_rig_top(&rig);
	char text[160];

	for (size_t i = 0; !is_true && i < record->step_count; i++)
		fprintf(stderr, "  %zu %s %s %s\n", i + 1,
			step_kind_name(record->steps[i].step.kind),
			step_state_name(record->steps[i].state),
			step_describe(&record->steps[i].step, text));
}

/* Done as asked, or as if it had not been, or saying that it is neither. */
static void check_truthful(const char *where, unsigned number)
{
	const struct operation_record *record = engine_rig_top(&rig);
	bool is_true = operation_state_is_final(record->state);

	if (record->state == OPERATION_STATE_SUCCEEDED)
		is_true = is_moved() && record->remainder.count == 0;
	else if (record->undone)
		is_true =
			engine_rig_is_initial(&rig) && record->state != OPERATION_STATE_INCOMPLETE;
	else if (record->state == OPERATION_STATE_INCOMPLETE)
		is_true = record->remainder.count > 0 &&
			  bytes_left() < rig.initial.guests[0].node_bytes[2];
	/* Failed says that nothing of it is left done, or else what could not be put back. */
	if (record->state == OPERATION_STATE_FAILED)
		is_true = is_true && failure_is_set(&record->error) &&
			  (engine_rig_is_initial(&rig) || remainder_list_has(&record->remainder, REMAINDER_UNDO_FAILED));
#ifdef REAL_PLANNERS
	if (record->state == OPERATION_STATE_SUCCEEDED)
		is_true = is_true && has_what_was_asked_for();
#endif
#ifdef REAL_PLANNERS
	/* Of each byte that stayed the reason. */
	if (record->state == OPERATION_STATE_INCOMPLETE && !record->undone)
		is_true = is_true && remainder_list_bytes(&record->remainder) == bytes_left();
#endif
	if (!is_true)
		fprintf(stderr, "%s %u: %s%s, %llu bytes left, remainder %zu of %llu, initial %d\n",
			where, number, operation_state_name(record->state),
			record->undone ? " undone" : "", (unsigned long long)bytes_left(),
			record->remainder.count,
			(unsigned long long)remainder_list_bytes(&record->remainder),
			engine_rig_is_initial(&rig));
	tell_steps(is_true);
	CHECK_TRUE(is_true);
	CHECK_TRUE(record->ended_at_ms > 0 && record->waiting_for[0] == '\0');
}

static bool has_kind(enum step_kind kind)
{
	const struct operation_record *record = engine_rig_top(&rig);

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == kind)
			return true;
	return false;
}

/* Whoever says meanwhile where the guest belongs is right: what the move has set stays, and it is not called undone. */
static void test_changed_meanwhile(void)
{
	struct wish wish = move_wish(ON_TIMEOUT_STOP);
	const struct operation_record *record;
	size_t left = 0;

	begin();
	rig.world.hang_kind = STEP_KIND_MOVE_PAGES;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_RUNNING);
	rig.world.is_changed[0] = true;
	CHECK_INT(engine_cancel(rig.engine, rig.id, true, NULL), 0);
	engine_rig_run(&rig, 0);
	record = engine_rig_top(&rig);
	CHECK_INT(record->state, OPERATION_STATE_CANCELLED);
	CHECK_TRUE(!record->undone && !failure_is_set(&record->error));
	CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_CHANGED_SINCE));
	CHECK_TRUE(!remainder_list_has(&record->remainder, REMAINDER_UNDO_FAILED));
	for (size_t i = 0; i < record->step_count; i++) {
		if (step_places_guest(&record->steps[i].step)) {
			CHECK_TRUE(record->steps[i].state == STEP_STATE_DONE || record->steps[i].state == STEP_STATE_PARTIAL);
			left++;
		} else {
			CHECK_TRUE(record->steps[i].state == STEP_STATE_UNDONE || !record->steps[i].step.undoable);
		}
	}
	CHECK_TRUE(left >= 3);
	CHECK_INT(rig.world.state.guests[0].policy_nodes, 1 << 1);
	CHECK_INT(rig.world.state.guests[0].stored_nodes, rig.initial.guests[0].stored_nodes);
	/* Its size is nobody's place. */
	CHECK_INT(rig.world.state.guests[0].current_bytes, rig.initial.guests[0].current_bytes);
	engine_rig_done(&rig);
}

static void test_whole_move(void)
{
	struct wish wish = move_wish(ON_TIMEOUT_STOP);

	begin();
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	check_truthful("whole", 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(is_reached());
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
#ifdef REAL_PLANNERS
		if (kinds[i] != STEP_KIND_REPORT_FREE && kinds[i] != STEP_KIND_REQUEST)
#endif
			CHECK_TRUE(has_kind(kinds[i]));
	engine_rig_done(&rig);
}

static void test_steps_that_fail_once(void)
{
	static const enum on_timeout ways[] = {ON_TIMEOUT_STOP, ON_TIMEOUT_RESTORE};

	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		struct wish wish = move_wish(ways[way]);
		unsigned number = 0, starts = 0;

		do {
			for (int how = 0; how < 3; how++) {
				begin();
				rig.world.fail_start = how == 0 ? number + 1 : 0;
				rig.world.part_start = how == 1 ? number + 1 : 0;
				rig.world.fail_prepare = how == 2 ? number + 1 : 0;
				engine_rig_submit(&rig, &wish);
				engine_rig_run(&rig, 0);
				check_truthful("fails once", number);
				if (ways[way] == ON_TIMEOUT_RESTORE)
					CHECK_TRUE(engine_rig_top(&rig)->state ==
							   OPERATION_STATE_SUCCEEDED ||
						   engine_rig_top(&rig)->undone);
				starts = rig.world.starts > starts ? rig.world.starts : starts;
				engine_rig_done(&rig);
			}
		} while (++number <= starts);
		CHECK_TRUE(number > 6);
	}
}

static void test_steps_that_always_fail(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int part = 0; part < 2; part++)
			for (int restore = 0; restore < 2; restore++) {
				struct wish wish =
					move_wish(restore ? ON_TIMEOUT_RESTORE : ON_TIMEOUT_STOP);
				const struct operation_record *record;

				begin();
				rig.world.fail_kind = kinds[i];
				rig.world.fail_kind_state =
					part ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
				engine_rig_submit(&rig, &wish);
				engine_rig_run(&rig, 0);
				record = engine_rig_top(&rig);
				check_truthful(step_kind_name(kinds[i]),
					       (unsigned)(2 * part + restore));
				if (record->state == OPERATION_STATE_INCOMPLETE)
					CHECK_TRUE(!record->undone && !restore);
				else if (record->state == OPERATION_STATE_FAILED)
					CHECK_TRUE(engine_rig_is_initial(&rig));
				/* What moves nothing is no success. */
				if (kinds[i] == STEP_KIND_MOVE_PAGES)
					CHECK_TRUE(record->state != OPERATION_STATE_SUCCEEDED);
				engine_rig_done(&rig);
			}
}

/* What the guest touches first on the way comes home at once then. */
static void test_policies_go_back_first(void)
{
	struct wish wish = move_wish(ON_TIMEOUT_RESTORE);

	begin();
	rig.world.fail_kind = STEP_KIND_MOVE_PAGES;
	rig.world.fail_kind_state = STEP_STATE_PARTIAL;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(engine_rig_top(&rig)->undone && engine_rig_is_initial(&rig));
	CHECK_TRUE(has_kind(STEP_KIND_MEMORY_POLICY));
	CHECK_STR(rig.world.pages_undone, engine_rig_top(&rig)->id);
	CHECK_INT(rig.world.policies_late, 0);
	engine_rig_done(&rig);
}

/* The rest is put back all the same, and what is not is told. */
static void test_undo_that_fails(void)
{
	struct wish wish = move_wish(ON_TIMEOUT_RESTORE);
	unsigned undos = 1, number = 0;

	while (++number <= undos) {
		const struct operation_record *record;

		begin();
		rig.world.fail_kind = STEP_KIND_MOVE_PAGES;
		rig.world.fail_kind_state = STEP_STATE_PARTIAL;
		rig.world.fail_undos_from = number;
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		record = engine_rig_top(&rig);
		CHECK_INT(record->state, OPERATION_STATE_FAILED);
		if (!record->undone) {
			CHECK_STR(record->error.code, "undo_failed");
			CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_UNDO_FAILED));
			/* So much of the step as the undo says, not all that it did. */
			for (size_t i = 0; i < record->remainder.count; i++)
				if (record->remainder.items[i].code == REMAINDER_UNDO_FAILED)
					CHECK_TRUE(record->remainder.items[i].bytes <= 4096);
		} else {
			CHECK_TRUE(engine_rig_is_initial(&rig));
		}
		if (number == 1)
			CHECK_TRUE(!record->undone);
		undos = rig.world.undos > undos ? rig.world.undos : undos;
		engine_rig_done(&rig);
	}
	CHECK_TRUE(number > 4);
}

static void test_cancelled_at_every_tick(void)
{
	struct wish wish = move_wish(ON_TIMEOUT_STOP);
	unsigned ticks;

	for (int undo = 0; undo < 2; undo++) {
		unsigned tick = 0;

		do {
			int r;

			begin();
			engine_rig_submit(&rig, &wish);
			if (++tick > 1)
				engine_rig_run(&rig, tick);
			ticks = rig.world.ticks;
			r = engine_cancel(rig.engine, rig.id, undo, NULL);
			engine_rig_run(&rig, 0);
			check_truthful(undo ? "cancelled, undone" : "cancelled", tick);
			if (r == 0 && engine_rig_top(&rig)->state != OPERATION_STATE_SUCCEEDED) {
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_CANCELLED);
				CHECK_INT(engine_rig_top(&rig)->undone, undo);
				/* Nothing is left to move by itself. */
				CHECK_INT(rig.world.state.guests[0].current_bytes,
					  rig.world.state.guests[0].requested_bytes);
			}
			engine_rig_done(&rig);
		} while (ticks >= tick);
		CHECK_TRUE(tick > 20);
	}
}

static void test_paused_at_every_tick(void)
{
	struct wish wish = move_wish(ON_TIMEOUT_STOP);
	unsigned tick = 1, ticks;

	do {
		begin();
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, ++tick);
		ticks = rig.world.ticks;
		if (engine_pause(rig.engine, rig.id, NULL) == 0) {
			engine_rig_run(&rig, 0);
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
			if (tick % 2) {
				engine_rig_kill(&rig);
				engine_rig_start(&rig);
				engine_rig_run(&rig, 0);
				CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_PAUSED);
			}
			CHECK_INT(engine_resume(rig.engine, rig.id, NULL), 0);
		}
		engine_rig_run(&rig, 0);
		check_truthful("paused", tick);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(is_reached());
		engine_rig_done(&rig);
	} while (ticks >= tick);
	CHECK_TRUE(tick > 20);
}

/* ---- killed ---- */

struct scene {
	const char *name;
	enum on_timeout on_timeout;
	enum step_kind fail_kind;
	bool cancels; /* with undo, in its middle */
};

static const struct scene scenes[] = {
	{"move", ON_TIMEOUT_STOP, STEP_KIND_COUNT, false},
	{"move that stays in pieces", ON_TIMEOUT_STOP, STEP_KIND_MOVE_PAGES, false},
	{"move that is put back", ON_TIMEOUT_RESTORE, STEP_KIND_MOVE_PAGES, false},
	{"move that is cancelled", ON_TIMEOUT_STOP, STEP_KIND_COUNT, true},
};

static void set_scene(const struct scene *scene)
{
	set();
	rig.world.fail_kind = scene->fail_kind;
	rig.world.fail_kind_state = STEP_STATE_PARTIAL;
}

static void play(const struct scene *scene)
{
	struct wish wish = move_wish(scene->on_timeout);

	engine_rig_submit(&rig, &wish);
	if (scene->cancels && rig.answered && engine_rig_run(&rig, 24) && engine_rig_top(&rig))
		engine_cancel(rig.engine, engine_rig_top(&rig)->id, true, NULL);
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
}

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
	check_truthful(scene->name, number);
	if (scene->on_timeout == ON_TIMEOUT_RESTORE)
		CHECK_TRUE(record->state == OPERATION_STATE_SUCCEEDED || record->undone);
	/* Being killed is no reason to stop. */
	if (scene->fail_kind == STEP_KIND_COUNT && !scene->cancels) {
		tell_steps(is_reached());
		CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(is_reached());
	}
	for (size_t i = 0; i < record->step_count; i++)
		CHECK_TRUE(record->steps[i].state != STEP_STATE_RUNNING &&
			   record->steps[i].state != STEP_STATE_UNDOING);
}

/* Dies at the write of that number (from 1); false: there is none so late. */
static bool kill_at_write(const void *played, enum journal_gate how, unsigned number, unsigned again)
{
	const struct scene *scene = played;
	char id[OPERATION_ID_SIZE];
	bool died;

	set_scene(scene);
	engine_rig_start_mortal(&rig, how, number);
	play(scene);
	died = engine_rig_start_again(&rig, again, id);
	check_after_kill(scene, id, number);
	engine_rig_done(&rig);
	return died;
}

static void test_killed_at_every_write(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, &scenes[i], 0) >= 15);
}

static void test_killed_twice(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		for (unsigned first = 2; first < 30; first += 5)
			for (unsigned second = 1; second < 14; second += 4)
				kill_at_write(&scenes[i],
					      second % 8 == 1 ? JOURNAL_GATE_LOST
							      : JOURNAL_GATE_UNANSWERED,
					      first, second);
}

/* Also between two writes, with steps half done. */
static void test_killed_at_every_tick(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct wish wish = move_wish(scenes[i].on_timeout);
		unsigned tick = 0, ticks;

		if (scenes[i].cancels)
			continue;
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

int main(void)
{
	static const struct unit_case cases[] = {
		{"what somebody else has changed meanwhile is left so", test_changed_meanwhile},
		{"a move with every kind of step", test_whole_move},
		{"each step fails once, wholly or in part, or cannot be prepared",
		 test_steps_that_fail_once},
		{"each kind of step always fails: told, or put back", test_steps_that_always_fail},
		{"policies go back before pages", test_policies_go_back_first},
		{"an undo that fails is told", test_undo_that_fails},
		{"cancelled at every tick, with and without undo", test_cancelled_at_every_tick},
		{"paused and resumed at every tick, also over a restart",
		 test_paused_at_every_tick},
		{"killed at every write of the journal", test_killed_at_every_write},
		{"killed at every tick of the world", test_killed_at_every_tick},
		{"killed twice", test_killed_twice},
	};

	return unit_main("engine_move", cases, ARRAY_SIZE(cases));
}
