/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* Drains that make their guests smaller, because the other nodes have no room for all of them. With the real planners. */

static struct engine_rig rig;

/* Of 640 MiB in the DIMM 450 have room elsewhere; each guest can spare 128. */
static void set_tight(void)
{
	engine_rig_init(&rig);
	rig.world.tells_places = true;
	rig.world.used_bytes[0] = (2048 - 128 - 10) * FAKE_MIB;
	rig.world.used_bytes[1] = (2048 - 128 - 256 - 450) * FAKE_MIB;
}

static void begin(void)
{
	set_tight();
	engine_rig_start(&rig);
}

static enum drain_stage stage(void)
{
	const struct drain_record *drain = NULL;

	return engine_drains(rig.engine, &drain, 1) ? drain->stage : DRAIN_STAGE_COUNT;
}

static void guests_become_smaller_and_are_as_found_by_an_undrain(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record, *child;

	begin();
	rig.world.hang_kind = STEP_KIND_OFFLINE_GUEST_BLOCKS;
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(stage(), DRAIN_STAGE_SHRINK);
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	CHECK_INT(stage(), DRAIN_STAGE_OFFLINE);
	engine_rig_check_truthful(&rig, false, "tight", 0);
	record = engine_rig_top(&rig);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	for (unsigned i = 1; i < 3; i++) {
		CHECK_TRUE(step_shrinks(&record->steps[i].step));
		CHECK_INT(record->steps[i].state, STEP_STATE_DONE);
		CHECK_INT(record->steps[i].bytes_done, 128 * FAKE_MIB);
		child = engine_rig_operation(&rig, record->steps[i].child_operation);
		CHECK_STR(child->parent, record->id);
		CHECK_INT(child->wish.kind, OPERATION_KIND_RESIZE);
		CHECK_INT(child->state, OPERATION_STATE_SUCCEEDED);
	}
	CHECK_INT(rig.world.state.guests[0].current_bytes, 384 * FAKE_MIB);
	CHECK_INT(rig.world.state.guests[1].current_bytes, 256 * FAKE_MIB);
	/* Nothing of the second is left there to be moved. */
	CHECK_INT(rig.world.state.guests[1].node_bytes[1], 256 * FAKE_MIB);
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
	CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
	CHECK_INT(rig.world.starts, 0);
	engine_rig_done(&rig);
}

/* And with it neither, where it would not be enough. */
static void what_is_not_enough_is_refused(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	begin();
	rig.world.used_bytes[1] += 200 * FAKE_MIB;
	engine_rig_submit(&rig, &wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
	CHECK_STR(rig.code, "no_room");
	CHECK_TRUE(engine_rig_is_initial(&rig));
	CHECK_INT(rig.world.starts, 0);
	engine_rig_done(&rig);
}

static void check_end(const char *where, unsigned number)
{
	const struct operation_record *record = engine_rig_top(&rig);

	engine_rig_check_truthful(&rig, false, where, number);
	CHECK_TRUE(record->state == OPERATION_STATE_SUCCEEDED || record->undone);
}

static void what_fails_leaves_guests_as_found(void)
{
	static const enum step_kind kinds[] = {STEP_KIND_OFFLINE_GUEST_BLOCKS, STEP_KIND_REQUEST, STEP_KIND_MOVE_PAGES,
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

static bool kill_at_write(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	char id[OPERATION_ID_SIZE];
	bool died;

	set_tight();
	engine_rig_start_mortal(&rig, how, number);
	engine_rig_submit(&rig, &wish);
	engine_rig_settle(&rig, 0);
	died = engine_rig_start_again(&rig, again, id);
	engine_rig_settle(&rig, 0);
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

static void killed_in_an_undrain(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), undrain;
	unsigned number = 0;
	bool died;

	do {
		begin();
		engine_rig_submit(&rig, &wish);
		wish_init(&undrain, OPERATION_KIND_UNDRAIN);
		memcpy(undrain.drain, rig.drain, sizeof(undrain.drain));
		engine_rig_run(&rig, 0);
		atomic_store(&rig.die_how, number % 2 ? JOURNAL_GATE_LOST : JOURNAL_GATE_UNANSWERED);
		atomic_store(&rig.die_at, atomic_load(&rig.writes) + 2 + number);
		engine_rig_submit(&rig, &undrain);
		if (!atomic_load(&rig.died))
			engine_rig_run(&rig, 0);
		died = atomic_load(&rig.died);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
		engine_rig_done(&rig);
		number++;
	} while (died);
	CHECK_TRUE(number > 10);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"guests become smaller, and are as found by an undrain",
		 guests_become_smaller_and_are_as_found_by_an_undrain},
		{"without the consent nothing is touched", without_the_consent_nothing_is_touched},
		{"what is not enough is refused", what_is_not_enough_is_refused},
		{"what fails leaves guests as found", what_fails_leaves_guests_as_found},
		{"killed at every write of the journal", killed_at_every_write},
		{"killed in an undrain", killed_in_an_undrain},
	};

	return unit_main("engine_shrink", cases, ARRAY_SIZE(cases));
}
