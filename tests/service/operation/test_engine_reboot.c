/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* Drains that outlive a reboot of the host. With the real planners. */

#define DIMM_FIRST 32
#define DIMM_BYTES (8 * FAKE_BLOCK)

static struct engine_rig rig;

static void drain(enum drain_finish finish)
{
	struct wish wish = engine_rig_drain_wish(finish);

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
}

static void start_in(const char *boot_id)
{
	engine_rig_kill(&rig);
	rig.boot_id = boot_id;
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
}

static void see(void)
{
	engine_see(rig.engine, fake_world_see(&rig.world));
	engine_rig_run(&rig, 0);
}

static void set_online(unsigned blocks)
{
	for (unsigned i = 0; i < 8; i++)
		rig.world.state.online[DIMM_FIRST + i] = i < blocks;
	rig.world.state.ejected = false;
}

static void check(enum drain_state state, uint64_t online_bytes)
{
	const struct drain_record *record = NULL;

	CHECK_INT(engine_drains(rig.engine, &record, 1), 1);
	CHECK_INT(record->state, state);
	CHECK_INT(record->online_bytes, online_bytes);
	CHECK_TRUE(engine_rig_has_hold(&rig));
}

static void test_memory_is_back(void)
{
	for (int is_ejected = 0; is_ejected < 2; is_ejected++) {
		unsigned changes;

		drain(is_ejected ? DRAIN_FINISH_EJECT : DRAIN_FINISH_OFFLINE);
		set_online(8);
		start_in("boot-2");
		changes = rig.drain_changes;
		see();
		check(DRAIN_STATE_ATTENTION, DIMM_BYTES);
		CHECK_INT(rig.drain_changes - changes, 1);
		/* Told once, and by later daemons too. */
		see();
		CHECK_INT(rig.drain_changes - changes, 1);
		start_in("boot-2");
		check(DRAIN_STATE_ATTENTION, DIMM_BYTES);
		/* Somebody takes it offline again. */
		set_online(3);
		see();
		check(DRAIN_STATE_ATTENTION, 3 * FAKE_BLOCK);
		set_online(0);
		see();
		check(DRAIN_STATE_HELD, 0);
		start_in("boot-2");
		check(DRAIN_STATE_HELD, 0);
		engine_rig_done(&rig);
	}
}

static void test_memory_is_as_it_was_left(void)
{
	drain(DRAIN_FINISH_OFFLINE);
	start_in("boot-2");
	see();
	check(DRAIN_STATE_HELD, 0);
	start_in("boot-3");
	set_online(8);
	see();
	check(DRAIN_STATE_ATTENTION, DIMM_BYTES);
	engine_rig_done(&rig);
}

/* Also a new DIMM in its place, or somebody who takes it online by hand. */
static void test_no_reboot(void)
{
	static const struct snapshot nothing;

	for (int knows_boot = 0; knows_boot < 2; knows_boot++) {
		unsigned changes;

		drain(DRAIN_FINISH_OFFLINE);
		changes = rig.drain_changes;
		see();
		check(DRAIN_STATE_HELD, 0);
		CHECK_INT(rig.drain_changes - changes, 0);
		set_online(2);
		start_in(knows_boot ? "boot-1" : NULL);
		/* Nothing seen yet. */
		engine_see(rig.engine, &nothing);
		check(DRAIN_STATE_HELD, 0);
		see();
		check(DRAIN_STATE_ATTENTION, 2 * FAKE_BLOCK);
		set_online(8);
		see();
		check(DRAIN_STATE_ATTENTION, DIMM_BYTES);
		set_online(0);
		see();
		check(DRAIN_STATE_HELD, 0);
		CHECK_INT(rig.drain_changes - changes, 3);
		/* What was not seen to be another boot is none. */
		start_in("boot-1");
		changes = rig.drain_changes;
		see();
		CHECK_INT(rig.drain_changes - changes, 0);
		engine_rig_done(&rig);
	}
	/* It has left its memory online anyway. */
	drain(DRAIN_FINISH_EMPTY);
	see();
	start_in("boot-2");
	see();
	check(DRAIN_STATE_HELD, 0);
	engine_rig_done(&rig);
}

/* Looks at the host while the newest operation works, tick by tick; its own work is not told. */
static void see_throughout(void)
{
	const struct drain_record *record = NULL;
	unsigned online = 0;

	do {
		engine_rig_run(&rig, rig.world.ticks + 1);
		engine_see(rig.engine, fake_world_see(&rig.world));
		CHECK_INT(engine_drains(rig.engine, &record, 1), 1);
		CHECK_TRUE(record->state != DRAIN_STATE_ATTENTION && record->online_bytes == 0);
		online += rig.world.state.online[DIMM_FIRST] != rig.world.state.online[DIMM_FIRST + 7];
	} while (!operation_state_is_final(engine_rig_top(&rig)->state));
	/* It was looked at with some of the blocks done. */
	CHECK_TRUE(online > 0);
}

static void test_its_own_work(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), undrain;

	engine_rig_begin(&rig);
	engine_rig_submit(&rig, &wish);
	see_throughout();
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	wish_init(&undrain, OPERATION_KIND_UNDRAIN);
	snprintf(undrain.drain, sizeof(undrain.drain), "%s", engine_rig_top(&rig)->wish.drain);
	engine_rig_submit(&rig, &undrain);
	see_throughout();
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_RELEASED);
	engine_rig_done(&rig);
}

static void test_undrained_after_a_reboot(void)
{
	drain(DRAIN_FINISH_OFFLINE);
	set_online(8);
	start_in("boot-2");
	see();
	check(DRAIN_STATE_ATTENTION, DIMM_BYTES);
	engine_rig_check_undrained(&rig);
	engine_rig_done(&rig);
	/* One that could not be undone is no more what the reboot made of it. */
	drain(DRAIN_FINISH_OFFLINE);
	set_online(8);
	start_in("boot-2");
	see();
	rig.world.fail_undos_from = 1;
	struct wish undrain;

	wish_init(&undrain, OPERATION_KIND_UNDRAIN);
	snprintf(undrain.drain, sizeof(undrain.drain), "%s", engine_rig_top(&rig)->wish.drain);
	engine_rig_submit(&rig, &undrain);
	CHECK_INT(engine_cancel(rig.engine, rig.id, false, NULL), 0);
	engine_rig_run(&rig, 0);
	check(DRAIN_STATE_ATTENTION, 0);
	set_online(0);
	see();
	check(DRAIN_STATE_ATTENTION, 0);
	engine_rig_done(&rig);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"memory that is online again is told until it is not", test_memory_is_back},
		{"memory that is as it was left is held as before", test_memory_is_as_it_was_left},
		{"memory that comes online in the same boot is told, too", test_no_reboot},
		{"what the drain and its undrain do is not told", test_its_own_work},
		{"what is back online can be undrained", test_undrained_after_a_reboot},
	};

	return unit_main("engine_reboot", cases, ARRAY_SIZE(cases));
}
