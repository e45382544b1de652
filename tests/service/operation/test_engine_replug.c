/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/*
 * Drains of a guest whose memory a device pins: its virtio-mem is unplugged and plugged again, two portions of 128 MiB. With the
 * real planners. To undo the request that unplugged it the fake host brings the pages home, too, which the real one does not.
 */

static struct engine_rig rig;

static void set_passed(void)
{
	struct fake_guest *guest = &rig.world.state.guests[0];

	engine_rig_init(&rig);
	rig.world.tells_places = rig.world.has_passed = true;
	guest->node_bytes[1] = guest->node_bytes[2] = 256 * FAKE_MIB;
	rig.initial = rig.world.state;
}

static void begin(void)
{
	set_passed();
	engine_rig_start(&rig);
}

static const struct operation_record *child_of_first(void)
{
	const struct operation_record *record = engine_rig_top(&rig);

	for (size_t i = 0; i < record->step_count; i++)
		if (strcmp(record->steps[i].step.guest_name, "g1") == 0)
			return engine_rig_operation(&rig, record->steps[i].child_operation);
	return NULL;
}

static void it_leaves_by_portions(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *child;
	unsigned replugs = 0;

	begin();
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	engine_rig_check_truthful(&rig, false, "replugged", 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	child = child_of_first();
	CHECK_INT(child->state, OPERATION_STATE_SUCCEEDED);
	/* What it could not move counts as moved, and no call has tried to. */
	CHECK_INT(child->progress.done_bytes, 256 * FAKE_MIB);
	for (size_t i = 0; i < child->step_count; i++) {
		CHECK_TRUE(child->steps[i].step.kind != STEP_KIND_MOVE_PAGES);
		replugs += step_replugs(&child->steps[i].step);
	}
	CHECK_INT(replugs, 2);
	CHECK_INT(rig.world.state.guests[0].current_bytes, 512 * FAKE_MIB);
	CHECK_INT(rig.world.state.guests[0].requested_bytes, 512 * FAKE_MIB);
	CHECK_INT(rig.world.state.guests[0].node_bytes[2], 0);
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
}

static void without_the_consent_nothing_is_touched(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	begin();
	wish.allow &= ~(1u << CONSENT_SHRINK_GUESTS);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
	CHECK_STR(rig.code, "consent_required");
	CHECK_TRUE(engine_rig_is_initial(&rig));
	engine_rig_done(&rig);
}

/* All of it that lies there, or base memory too: then it is refused. */
static void base_memory_there_refuses_it(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	begin();
	rig.world.state.guests[0].node_bytes[1] -= 128 * FAKE_MIB;
	rig.world.state.guests[0].node_bytes[2] += 128 * FAKE_MIB;
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
	CHECK_STR(rig.code, "guest_unmovable");
	CHECK_INT(rig.world.starts, 0);
	engine_rig_done(&rig);
}

static void check_end(const char *where, unsigned number)
{
	const struct operation_record *record = engine_rig_top(&rig);

	engine_rig_check_truthful(&rig, false, where, number);
	CHECK_TRUE(record->state == OPERATION_STATE_SUCCEEDED || record->undone);
	/* Whatever became of it. */
	CHECK_INT(rig.world.state.guests[0].current_bytes, 512 * FAKE_MIB);
	CHECK_INT(rig.world.state.guests[0].requested_bytes, 512 * FAKE_MIB);
}

static void what_fails_leaves_it_as_found(void)
{
	static const enum step_kind kinds[] = {STEP_KIND_OFFLINE_GUEST_BLOCKS, STEP_KIND_REQUEST, STEP_KIND_MEMORY_POLICY,
					       STEP_KIND_OFFLINE_BLOCKS};
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int part = 0; part < 2; part++) {
			begin();
			rig.world.fail_kind = kinds[i];
			rig.world.fail_kind_state = part ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
			engine_rig_submit(&rig, &wish);
			engine_rig_settle(&rig, 0);
			check_end("fails", (unsigned)kinds[i]);
			engine_rig_done(&rig);
		}
}

/* With the undo of it, and without, at each of its steps. */
static void cancelled_at_every_tick(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	unsigned tick = 1;
	bool is_over = false;

	for (; !is_over; tick++)
		for (int undo = 0; undo < 2; undo++) {
			struct failure failure;

			begin();
			engine_rig_submit(&rig, &wish);
			engine_rig_run(&rig, tick);
			is_over = operation_state_is_final(engine_rig_top(&rig)->state);
			if (!is_over)
				CHECK_INT(engine_cancel(rig.engine, rig.id, undo, &failure), 0);
			engine_rig_settle(&rig, 0);
			/* A request that was cut short stands. */
			CHECK_INT(rig.world.state.guests[0].requested_bytes, 512 * FAKE_MIB);
			if (undo && !is_over)
				CHECK_TRUE(engine_rig_is_initial(&rig));
			engine_rig_done(&rig);
		}
	CHECK_TRUE(tick > 40);
}

static bool kill_at_write(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	char id[OPERATION_ID_SIZE];
	bool died;

	set_passed();
	engine_rig_start_mortal(&rig, how, number);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	died = engine_rig_start_again(&rig, again, id);
	engine_rig_run(&rig, 0);
	if (engine_rig_top(&rig))
		check_end("killed", number);
	else
		CHECK_TRUE(engine_rig_is_initial(&rig));
	engine_rig_done(&rig);
	return died;
}

static void killed_at_every_write(void)
{
	CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, NULL, 0) >= 30);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"it leaves by portions", it_leaves_by_portions},
		{"without the consent nothing is touched", without_the_consent_nothing_is_touched},
		{"base memory there refuses it", base_memory_there_refuses_it},
		{"what fails leaves it as found", what_fails_leaves_it_as_found},
		{"cancelled at every tick", cancelled_at_every_tick},
		{"killed at every write of the journal", killed_at_every_write},
	};

	return unit_main("engine_replug", cases, ARRAY_SIZE(cases));
}
