/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* What must hold of a resize, with the real planner, wherever the daemon dies or somebody else asks for another size. */

static struct engine_rig rig;

enum end {
	END_DONE,
	END_CANCELLED, /* with undo, in its middle */
	END_SHORT,     /* by its time: what was asked for stands */
	END_RESTORED,  /* by its time */
};

#define RUNG(kind) (UINT64_C(1) << STEP_KIND_##kind)

struct scene {
	const char *name;
	uint64_t target_mib;
	void (*set)(void); /* what stands in the way; NULL: nothing */
	uint64_t needs;	   /* RUNG()s without which it gets no further */
	enum on_timeout on_timeout;
	enum end end;
	unsigned cancel_tick; /* END_CANCELLED */
	uint64_t reached_mib; /* END_SHORT */
	bool is_named;	      /* all that is to leave, by ranges */
};

static struct fake_guest *guest(void)
{
	return &rig.world.state.guests[0];
}

static void set_stuck(void)
{
	guest()->stuck_above = 400 * FAKE_MIB;
}

/* Its pool of 64 MiB, an application's 32, and what is cold lie where the balloon is to be. */
static void set_balloon(void)
{
	rig.world.has_balloon = true;
	guest()->is_full = true;
	guest()->obstacles = (struct fake_obstacles){.app_bytes = 32 * FAKE_MIB, .cold_bytes = 160 * FAKE_MIB};
}

/* Larger, and one rung after the other is not enough. */
static void set_full(void)
{
	guest()->current_bytes = guest()->requested_bytes = FAKE_GIB;
	guest()->node_bytes[1] = 512 * FAKE_MIB;
	guest()->is_full = true;
	guest()->obstacles = (struct fake_obstacles){.app_bytes = 96 * FAKE_MIB,
						     .huge_used_bytes = 64 * FAKE_MIB,
						     .cold_bytes = 128 * FAKE_MIB};
}

/* And all of them are not. */
static void set_pinned(void)
{
	set_full();
	guest()->obstacles.pinned_bytes = 128 * FAKE_MIB;
}

#define ALL_RUNGS                                                                                                      \
	(RUNG(FREE_HUGE_PAGES) | RUNG(RUN_HOOKS) | RUNG(REQUEST) | RUNG(COMPACT) | RUNG(KICK) | RUNG(MAKE_GUEST_ROOM) | \
	 RUNG(OFFLINE_GUEST_BLOCKS) | RUNG(RECLAIM))

static const struct scene scenes[] = {
	{"grow", 640, NULL, RUNG(ONLINE_POLICY), .end = END_DONE},
	{"shrink", 320, NULL, RUNG(REQUEST), .end = END_DONE},
	{"shrink that needs a kick", 320, set_stuck, RUNG(KICK), .end = END_DONE},
	{"shrink that is put back", 320, set_stuck, 0, ON_TIMEOUT_RESTORE, .end = END_CANCELLED, .cancel_tick = 12},
	{"shrink of named ranges", 384, NULL, RUNG(OFFLINE_GUEST_BLOCKS), .end = END_DONE, .is_named = true},
	{"shrink by balloon", 320, set_balloon, RUNG(FREE_HUGE_PAGES) | RUNG(RUN_HOOKS) | RUNG(RECLAIM), .end = END_DONE},
	{"shrink that needs every rung", 320, set_full, ALL_RUNGS, .end = END_DONE},
	{"shrink that is put back in the middle of them", 320, set_full, 0, .end = END_CANCELLED, .cancel_tick = 60},
	{"shrink that is to be continued", 320, set_pinned, ALL_RUNGS | RUNG(AWAIT), ON_TIMEOUT_CONTINUE, END_SHORT,
	 .reached_mib = 384},
	{"shrink that is restored", 320, set_pinned, ALL_RUNGS | RUNG(AWAIT), ON_TIMEOUT_RESTORE, END_RESTORED},
};

static void set(const struct scene *scene)
{
	engine_rig_init(&rig);
	if (scene->set)
		scene->set();
	rig.initial = rig.world.state;
}

static struct wish wish_of(const struct scene *scene)
{
	struct wish wish = engine_rig_resize_wish(0, scene->target_mib * FAKE_MIB);

	wish.on_timeout = scene->on_timeout;
	/* One that needs less is done long before. */
	wish.timeout_s = 60;
	if (scene->is_named) {
		wish.resize.range_count = 2;
		wish.resize.ranges[0] = (struct snapshot_range){4 * FAKE_GIB, 4 * FAKE_GIB + 64 * FAKE_MIB};
		wish.resize.ranges[1] = (struct snapshot_range){4 * FAKE_GIB + 128 * FAKE_MIB, 4 * FAKE_GIB + 192 * FAKE_MIB};
	}
	return wish;
}

static void play(const struct scene *scene)
{
	struct wish wish = wish_of(scene);

	engine_rig_submit(&rig, &wish);
	if (scene->end == END_CANCELLED && rig.answered && engine_rig_run(&rig, scene->cancel_tick) &&
	    engine_rig_top(&rig))
		engine_cancel(rig.engine, engine_rig_top(&rig)->id, true, NULL);
	if (!atomic_load(&rig.died))
		engine_rig_settle(&rig, 0);
}

static unsigned count(const struct operation_record *record, enum step_kind kind)
{
	unsigned steps = 0;

	for (size_t i = 0; i < record->step_count; i++)
		steps += record->steps[i].step.kind == kind;
	return steps;
}

static bool is_as_before(void)
{
	const struct fake_guest *before = &rig.initial.guests[0];

	return guest()->current_bytes == before->current_bytes && guest()->requested_bytes == before->requested_bytes &&
	       guest()->huge_owed_bytes == 0;
}

static bool has_size(uint64_t current_mib, uint64_t requested_mib)
{
	return guest()->current_bytes == current_mib * FAKE_MIB && guest()->requested_bytes == requested_mib * FAKE_MIB;
}

/* The ends that it may have: the one of the scene, or the other where it was quicker than who cancels. */
static bool is_right(const struct scene *scene, const struct operation_record *record)
{
	bool is_done = record->state == OPERATION_STATE_SUCCEEDED && has_size(scene->target_mib, scene->target_mib);

	switch (scene->end) {
	case END_DONE:
		return is_done;
	case END_CANCELLED:
		return is_done || (record->state == OPERATION_STATE_CANCELLED && record->undone && is_as_before());
	case END_SHORT:
		return record->state == OPERATION_STATE_INCOMPLETE && record->remainder.count > 0 &&
		       has_size(scene->reached_mib, scene->target_mib);
	case END_RESTORED:
		return record->state == OPERATION_STATE_FAILED && record->undone && failure_is_set(&record->error) &&
		       is_as_before();
	}
	return false;
}

/* What was under way when the daemon died is gone on with: no size is asked for twice. */
static bool asks_once(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		for (size_t j = 0; j < i; j++)
			if (record->steps[i].step.kind == STEP_KIND_REQUEST && record->steps[j].step.kind == STEP_KIND_REQUEST &&
			    record->steps[i].step.target_bytes == record->steps[j].step.target_bytes)
				return false;
	return true;
}

static void check(const struct scene *scene, const char *id, unsigned number)
{
	const struct operation_record *record;

	engine_rig_settle(&rig, 0);
	record = engine_rig_top(&rig);
	if (!record) {
		CHECK_STR(id, "");
		CHECK_TRUE(engine_rig_is_initial(&rig));
		return;
	}
	if (id[0])
		CHECK_STR(record->id, id);
	if (!is_right(scene, record))
		fprintf(stderr, "%s, %u: %s, %llu MiB, %llu requested\n", scene->name, number, operation_state_name(record->state),
			(unsigned long long)(guest()->current_bytes / FAKE_MIB),
			(unsigned long long)(guest()->requested_bytes / FAKE_MIB));
	CHECK_TRUE(is_right(scene, record));
	CHECK_TRUE(asks_once(record));
	/* What the agent has changed has an end with the operation, but for the huge pages that it was given. */
	CHECK_TRUE(fake_guest_is_as_found(guest()));
	CHECK_INT(fake_guest_pool_bytes(guest()) + guest()->huge_owed_bytes, fake_guest_pool_bytes(&rig.initial.guests[0]));
	CHECK_TRUE(memcmp(rig.world.state.pool_bytes, rig.initial.pool_bytes, sizeof(rig.initial.pool_bytes)) == 0);
	CHECK_TRUE(!scene->is_named || rig.world.left_online_bytes == 0);
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
		for (int kind = 0; kind < STEP_KIND_COUNT; kind++)
			if (scenes[i].needs >> kind & 1 && !count(engine_rig_top(&rig), (enum step_kind)kind)) {
				fprintf(stderr, "%s: no %s\n", scenes[i].name, step_kind_name((enum step_kind)kind));
				CHECK_TRUE(false);
			}
		/* Else the scene says nothing of what is cancelled. */
		CHECK_TRUE((scenes[i].end == END_CANCELLED) == (engine_rig_top(&rig)->state == OPERATION_STATE_CANCELLED));
		engine_rig_done(&rig);
	}
}

/* Dies at the write of that number (from 1); false: there is none so late. */
static bool kill_at_write(const void *played, enum journal_gate how, unsigned number, unsigned again)
{
	const struct scene *scene = played;
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
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, &scenes[i], 0) >= 4);
}

static void test_killed_twice(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		unsigned first = 0, twice = 0;
		bool died;

		do {
			first++;
			for (unsigned second = 1; second < 6; second++) {
				died = kill_at_write(&scenes[i], second % 2 ? JOURNAL_GATE_LOST : JOURNAL_GATE_UNANSWERED, first,
						     second);
				twice += rig.deaths == 2;
			}
		} while (died);
		CHECK_TRUE(twice > first);
	}
}

static void test_killed_at_every_tick(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct wish wish = wish_of(&scenes[i]);
		unsigned tick = 0, ticks;

		if (scenes[i].end == END_CANCELLED)
			continue;
		do {
			set(&scenes[i]);
			engine_rig_start(&rig);
			engine_rig_submit(&rig, &wish);
			if (++tick > 1)
				engine_rig_settle(&rig, tick);
			ticks = rig.world.ticks;
			engine_rig_kill(&rig);
			engine_rig_start(&rig);
			check(&scenes[i], "", tick);
			engine_rig_done(&rig);
		} while (ticks >= tick);
		CHECK_TRUE(tick > 5);
	}
}

/* As far as that tick of the world. NULL: there is no operation yet. */
static const struct operation_record *begun_until(const struct scene *scene, unsigned tick)
{
	struct wish wish = wish_of(scene);

	set(scene);
	engine_rig_start(&rig);
	engine_rig_submit(&rig, &wish);
	if (tick > 1)
		engine_rig_settle(&rig, tick);
	return engine_rig_top(&rig);
}

/* Some step is over, none is at work, and it has not ended. */
static bool is_between_steps(const struct operation_record *record)
{
	const struct step_record *last = record && record->step_count ? &record->steps[record->step_count - 1] : NULL;

	return last && last->state != STEP_STATE_PENDING && last->state != STEP_STATE_RUNNING &&
	       !operation_state_is_final(record->state);
}

/* Whenever somebody else asks for another size, theirs is what is requested at the end. */
static void test_another_size_at_every_tick(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		unsigned tick = 0, ticks, ended_early = 0;

		/* What a balloon was asked for nobody tells. */
		if (scenes[i].end != END_DONE || scenes[i].set == set_balloon)
			continue;
		do {
			const struct operation_record *record;
			bool asked;

			record = begun_until(&scenes[i], ++tick);
			ticks = rig.world.ticks;
			/* Before it has asked, and while it asks, its own is the newer. */
			asked = is_between_steps(record) && count(record, STEP_KIND_REQUEST) > 0;
			if (asked)
				guest()->requested_bytes = 768 * FAKE_MIB;
			engine_rig_settle(&rig, 0);
			record = engine_rig_top(&rig);
			CHECK_TRUE(operation_state_is_final(record->state));
			if (asked) {
				CHECK_INT(guest()->requested_bytes, 768 * FAKE_MIB);
				ended_early += remainder_list_has(&record->remainder, REMAINDER_SUPERSEDED);
			}
			CHECK_TRUE(fake_guest_is_as_found(guest()));
			engine_rig_done(&rig);
		} while (ticks >= tick);
		if (scenes[i].set)
			CHECK_TRUE(ended_early > 0);
	}
}

/* Whenever the guest is ended and goes on from a snapshot, it stays as it is in that. */
static void test_back_to_a_snapshot_at_every_tick(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		unsigned tick = 0, ticks, gone = 0;

		if (scenes[i].end != END_DONE)
			continue;
		do {
			const struct operation_record *record;
			bool under_way;

			record = begun_until(&scenes[i], ++tick);
			ticks = rig.world.ticks;
			under_way = is_between_steps(record);
			if (under_way) {
				*guest() = rig.initial.guests[0];
				guest()->starts++;
			}
			engine_rig_settle(&rig, 0);
			record = engine_rig_top(&rig);
			CHECK_TRUE(operation_state_is_final(record->state));
			if (under_way) {
				gone++;
				CHECK_TRUE(remainder_list_has(&record->remainder, REMAINDER_GUEST_GONE));
				CHECK_INT(guest()->current_bytes, rig.initial.guests[0].current_bytes);
				CHECK_INT(guest()->requested_bytes, rig.initial.guests[0].requested_bytes);
			}
			engine_rig_done(&rig);
		} while (ticks >= tick);
		CHECK_TRUE(gone > 0);
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
		{"back to a snapshot at every tick", test_back_to_a_snapshot_at_every_tick},
	};

	return unit_main("engine_resize", cases, sizeof(cases) / sizeof(cases[0]));
}
