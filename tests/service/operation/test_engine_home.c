/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "engine.h"
#include "engine_rig.h"
#include "unit.h"

/* Drains of a half of node 2: what lies in it leaves for a while, and its undo within the drain brings it home. */

static struct engine_rig rig;

static void init(void)
{
	engine_rig_init(&rig);
	rig.world.beside_bytes = 64 * FAKE_MIB;
	/* What stays of the node has room for all of it. */
	rig.world.state.guests[0].node_bytes[2] = 256 * FAKE_MIB;
	rig.world.state.guests[0].current_bytes = rig.world.state.guests[0].requested_bytes = 256 * FAKE_MIB;
	rig.initial = rig.world.state;
}

static void begin(void)
{
	init();
	engine_rig_start(&rig);
}

static bool are_offline(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (rig.world.state.online[i])
			return false;
	return true;
}

static bool guests_are_as_at_first(void)
{
	return memcmp(rig.world.state.guests, rig.initial.guests, sizeof(rig.initial.guests)) == 0;
}

static size_t count_steps(const struct operation_record *record, enum step_kind kind, enum step_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < record->step_count; i++)
		count += record->steps[i].step.kind == kind && record->steps[i].state == state;
	return count;
}

/* Done, with everybody home; or undone. */
static void check_end(unsigned number)
{
	const struct operation_record *record = engine_rig_top(&rig);
	bool is_done = record->state == OPERATION_STATE_SUCCEEDED;

	if (!guests_are_as_at_first() || (is_done ? !are_offline(32, 36) : !engine_rig_is_initial(&rig)))
		printf("  killed at %u: %s\n", number, operation_state_name(record->state));
	CHECK_TRUE(guests_are_as_at_first());
	CHECK_TRUE(is_done || record->undone);
	CHECK_TRUE(is_done ? are_offline(32, 36) : engine_rig_is_initial(&rig));
	CHECK_INT(record->warnings.count, 0);
}

static void a_drain_brings_home_by_its_own_undo(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record, *child;

	begin();
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	record = engine_rig_operation(&rig, rig.id);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.world.undos_at_once, 2);
	CHECK_INT(count_steps(record, STEP_KIND_CHILD, STEP_STATE_UNDONE), 2);
	CHECK_INT(count_steps(record, STEP_KIND_UNDO, STEP_STATE_DONE), 2);
	check_end(0);
	CHECK_TRUE(!are_offline(36, 40));
	child = engine_rig_operation(&rig, record->steps[1].child_operation);
	CHECK_TRUE(child->undone);
	CHECK_INT(child->wish.move.range_count, 1);
	CHECK_INT(record->steps[1].bytes_done, 192 * FAKE_MIB);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_check_undrained(&rig);
	/* There was nothing of its guests to be put back any more. */
	record = engine_rig_top(&rig);
	for (size_t i = 0; i < record->step_count; i++)
		CHECK_STR(record->steps[i].step.guest, "");
	engine_rig_done(&rig);
}

/* The stage that people are shown. */
static void the_way_home_is_its_stage(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct drain_record *drain;
	bool is_seen = false;

	begin();
	engine_rig_submit(&rig, &wish);
	for (unsigned tick = 1; tick < 200 && !is_seen; tick++) {
		engine_rig_run(&rig, tick);
		CHECK_INT(engine_drains(rig.engine, &drain, 1), 1);
		is_seen = drain->stage == DRAIN_STAGE_BRING_HOME;
	}
	CHECK_TRUE(is_seen);
	engine_rig_done(&rig);
}

static void what_does_not_come_home_is_told_and_can_be_undrained(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;

	begin();
	rig.world.fail_undos_from = 1;
	rig.world.fail_undo_kind = STEP_KIND_MOVE_PAGES;
	rig.world.has_bad_hook = true;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	record = engine_rig_operation(&rig, rig.id);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(record->remainder.count, 0);
	CHECK_TRUE(remainder_list_has(&record->warnings, REMAINDER_UNDO_FAILED));
	/* Beside what the plan has warned of, and each once. */
	CHECK_TRUE(remainder_list_has(&record->warnings, REMAINDER_HOOK_FAILED));
	CHECK_INT(record->warnings.count, 5);
	CHECK_INT(remainder_list_bytes(&record->warnings), (192 + 64) * FAKE_MIB);
	CHECK_TRUE(are_offline(32, 36));
	CHECK_INT(rig.world.state.guests[0].node_bytes[2], 64 * FAKE_MIB);
	rig.world.fail_undos_from = 0;
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
}

/* Somebody says where a guest belongs while its drain is at work: it is not brought home, and the drain tells that. */
static void who_was_put_elsewhere_meanwhile_stays(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;

	begin();
	rig.world.is_changed[0] = true;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	record = engine_rig_operation(&rig, rig.id);
	CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(record->remainder.count, 0);
	CHECK_INT(record->warnings.count, 1);
	CHECK_STR(remainder_code_name(record->warnings.items[0].code), "changed_since");
	CHECK_INT(rig.world.state.guests[0].node_bytes[2], 64 * FAKE_MIB);
	CHECK_TRUE(memcmp(&rig.world.state.guests[1], &rig.initial.guests[1], sizeof(rig.initial.guests[1])) == 0);
	engine_rig_done(&rig);
}

/* Dies at the write of that number (from 1); false: there is none so late. */
static bool kill_at_write(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	char id[OPERATION_ID_SIZE];
	bool died;

	init();
	engine_rig_start_mortal(&rig, how, number);
	engine_rig_submit(&rig, &wish);
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
	died = engine_rig_start_again(&rig, again, id);
	engine_rig_run(&rig, 0);
	if (engine_rig_top(&rig))
		check_end(number);
	else
		CHECK_STR(id, "");
	engine_rig_done(&rig);
	return died;
}

static void killed_at_every_write(void)
{
	for (unsigned again = 0; again < 3; again += 2)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, NULL, again) >= 20);
}

static void cancelled_at_every_tick(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	unsigned ticks, tick = 0;

	do {
		begin();
		engine_rig_submit(&rig, &wish);
		if (++tick > 1)
			engine_rig_run(&rig, tick);
		ticks = rig.world.ticks;
		engine_cancel(rig.engine, rig.id, true, NULL);
		engine_rig_run(&rig, 0);
		check_end(tick);
		engine_rig_done(&rig);
	} while (ticks >= tick);
	CHECK_TRUE(tick > 20);
}

/* What a cancelled drain left away comes home by an undrain. */
static void cancelled_without_undo(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	unsigned ticks, tick = 0;

	do {
		begin();
		engine_rig_submit(&rig, &wish);
		if (++tick > 1)
			engine_rig_run(&rig, tick);
		ticks = rig.world.ticks;
		engine_cancel(rig.engine, rig.id, false, NULL);
		engine_rig_run(&rig, 0);
		if (engine_rig_has_hold(&rig))
			engine_rig_check_undrained(&rig);
		else
			CHECK_TRUE(engine_rig_is_initial(&rig));
		engine_rig_done(&rig);
	} while (ticks >= tick);
	CHECK_TRUE(tick > 20);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"who was put elsewhere meanwhile stays there", who_was_put_elsewhere_meanwhile_stays},
		{"a drain brings home by its own undo", a_drain_brings_home_by_its_own_undo},
		{"the way home is its stage", the_way_home_is_its_stage},
		{"what does not come home is told, and can be undrained", what_does_not_come_home_is_told_and_can_be_undrained},
		{"killed at every write", killed_at_every_write},
		{"cancelled at every tick, with undo", cancelled_at_every_tick},
		{"cancelled at every tick, without", cancelled_without_undo},
	};

	return unit_main("engine_home", cases, ARRAY_SIZE(cases));
}
