/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* What must hold of a resize, with the real planner, wherever the daemon dies or somebody else asks for another size. */

static struct engine_rig rig;

struct scene {
	const char *name;
	uint64_t target_mib;
	uint64_t stuck_above_mib; /* until it is kicked; 0: not stuck */
	enum on_timeout on_timeout;
	bool cancels;	/* with undo, in its middle */
};

static const struct scene scenes[] = {
	{"grow", 640, 0, ON_TIMEOUT_STOP, false},
	{"shrink", 320, 0, ON_TIMEOUT_STOP, false},
	{"shrink that needs a kick", 320, 400, ON_TIMEOUT_STOP, false},
	{"shrink that is put back", 320, 400, ON_TIMEOUT_RESTORE, true},
};

static struct fake_guest *guest(void)
{
	return &rig.world.state.guests[0];
}

static void set(const struct scene *scene)
{
	engine_rig_init(&rig);
	guest()->stuck_above = scene->stuck_above_mib * FAKE_MIB;
	rig.initial = rig.world.state;
}

static void play(const struct scene *scene)
{
	struct wish wish = engine_rig_resize_wish(0, scene->target_mib * FAKE_MIB);

	wish.on_timeout = scene->on_timeout;
	engine_rig_submit(&rig, &wish);
	if (scene->cancels && rig.answered && engine_rig_run(&rig, 12) && engine_rig_top(&rig))
		engine_cancel(rig.engine, engine_rig_top(&rig)->id, true, NULL);
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
}

static unsigned count(const struct operation_record *record, enum step_kind kind)
{
	unsigned steps = 0;

	for (size_t i = 0; i < record->step_count; i++)
		steps += record->steps[i].step.kind == kind;
	return steps;
}

static void check(const struct scene *scene, const char *id, unsigned number)
{
	const struct operation_record *record;
	bool is_right;

	engine_rig_run(&rig, 0);
	record = engine_rig_top(&rig);
	if (!record) {
		CHECK_STR(id, "");
		CHECK_TRUE(engine_rig_is_initial(&rig));
		return;
	}
	if (id[0])
		CHECK_STR(record->id, id);
	if (record->state == OPERATION_STATE_CANCELLED)
		is_right = scene->cancels && record->undone &&
			   guest()->current_bytes == rig.initial.guests[0].current_bytes;
	else
		is_right = record->state == OPERATION_STATE_SUCCEEDED &&
			   guest()->current_bytes == scene->target_mib * FAKE_MIB;
	if (!is_right)
		fprintf(stderr, "%s, %u: %s, %llu MiB\n", scene->name, number, operation_state_name(record->state),
			(unsigned long long)(guest()->current_bytes / FAKE_MIB));
	CHECK_TRUE(is_right);
	CHECK_INT(guest()->requested_bytes, guest()->current_bytes);
	CHECK_TRUE(!guest()->lease);
	/* A size is asked for once: what was under way when the daemon died is gone on with. */
	CHECK_TRUE(count(record, STEP_KIND_REQUEST) <= 1);
	for (size_t i = 0; i < record->step_count; i++)
		CHECK_TRUE(record->steps[i].state != STEP_STATE_RUNNING && record->steps[i].state != STEP_STATE_UNDOING);
}

static void test_done(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		set(&scenes[i]);
		engine_rig_start(&rig);
		play(&scenes[i]);
		check(&scenes[i], rig.id, 0);
		engine_rig_done(&rig);
	}
}

/* Dies at the write of that number (from 1); false: there is none so late. */
static bool kill_at_write(const struct scene *scene, enum journal_gate how, unsigned number, unsigned again)
{
	char id[OPERATION_ID_SIZE];
	bool died;

	set(scene);
	engine_rig_start_mortal(&rig, how, number);
	play(scene);
	died = engine_rig_start_again(&rig, again, id);
	check(scene, id, number);
	engine_rig_done(&rig);
	return died;
}

static void test_killed_at_every_write(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		for (int how = 0; how < 2; how++) {
			unsigned number = 1;

			while (kill_at_write(&scenes[i], how ? JOURNAL_GATE_UNANSWERED : JOURNAL_GATE_LOST, number, 0))
				number++;
			CHECK_TRUE(number > 4);
		}
}

static void test_killed_twice(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		for (unsigned first = 1; first < 12; first++)
			for (unsigned second = 1; second < 6; second++)
				kill_at_write(&scenes[i], second % 2 ? JOURNAL_GATE_LOST : JOURNAL_GATE_UNANSWERED, first,
					      second);
}

static void test_killed_at_every_tick(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct wish wish = engine_rig_resize_wish(0, scenes[i].target_mib * FAKE_MIB);
		unsigned tick = 0, ticks;

		if (scenes[i].cancels)
			continue;
		do {
			set(&scenes[i]);
			engine_rig_start(&rig);
			engine_rig_submit(&rig, &wish);
			if (++tick > 1)
				engine_rig_run(&rig, tick);
			ticks = rig.world.ticks;
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			check(&scenes[i], "", tick);
			engine_rig_done(&rig);
		} while (ticks >= tick);
		CHECK_TRUE(tick > 5);
	}
}

/* Whenever somebody else asks for another size, theirs is what is requested at the end. */
static void test_another_size_at_every_tick(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct wish wish = engine_rig_resize_wish(0, scenes[i].target_mib * FAKE_MIB);
		unsigned tick = 0, ticks, ended_early = 0;

		if (scenes[i].cancels)
			continue;
		do {
			const struct operation_record *record;
			bool asked;

			set(&scenes[i]);
			engine_rig_start(&rig);
			engine_rig_submit(&rig, &wish);
			if (++tick > 1)
				engine_rig_run(&rig, tick);
			ticks = rig.world.ticks;
			record = engine_rig_top(&rig);
			/* Before it has asked, and while it asks, its own is the newer. */
			asked = record && count(record, STEP_KIND_REQUEST) > 0 &&
				record->steps[record->step_count - 1].state != STEP_STATE_PENDING &&
				record->steps[record->step_count - 1].state != STEP_STATE_RUNNING &&
				!operation_state_is_final(record->state);
			if (asked)
				guest()->requested_bytes = 768 * FAKE_MIB;
			engine_rig_run(&rig, 0);
			record = engine_rig_top(&rig);
			CHECK_TRUE(operation_state_is_final(record->state));
			if (asked) {
				CHECK_INT(guest()->requested_bytes, 768 * FAKE_MIB);
				ended_early += remainder_list_has(&record->remainder, REMAINDER_SUPERSEDED);
			}
			CHECK_TRUE(!guest()->lease);
			engine_rig_done(&rig);
		} while (ticks >= tick);
		if (scenes[i].stuck_above_mib)
			CHECK_TRUE(ended_early > 0);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a resize is done, or put back", test_done},
		{"killed at every write of the journal", test_killed_at_every_write},
		{"killed at every tick of the world", test_killed_at_every_tick},
		{"killed twice", test_killed_twice},
		{"another size at every tick", test_another_size_at_every_tick},
	};

	return unit_main("engine_resize", cases, sizeof(cases) / sizeof(cases[0]));
}
