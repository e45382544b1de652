/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* Workers of a daemon before this one that do not end; with the real planners. */

static struct engine_rig rig;

/* Of a daemon before: only what needs what it has in its hands is refused. */
static void test_of_another_daemon(void)
{
	struct wish offline = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), empty = engine_rig_drain_wish(DRAIN_FINISH_EMPTY),
		    first = engine_rig_resize_wish(0, 640 * FAKE_MIB), second = engine_rig_resize_wish(1, 512 * FAKE_MIB);
	struct fake_action *stuck = &rig.world.stuck;

	for (int of_guest = 0; of_guest < 2; of_guest++) {
		engine_rig_init(&rig);
		stuck->used = true;
		step_init(&stuck->step, of_guest ? STEP_KIND_MOVE_PAGES : STEP_KIND_OFFLINE_BLOCKS);
		if (of_guest)
			memcpy(stuck->step.guest, first.guest, sizeof(first.guest));
		engine_rig_start(&rig);
		CHECK_INT(engine_guest_is_busy(rig.engine, first.guest), of_guest);
		engine_rig_submit(&rig, &second);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		engine_rig_submit(&rig, &first);
		if (of_guest) {
			CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
			CHECK_STR(rig.code, "kernel_stuck");
		} else {
			CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
			engine_rig_run(&rig, 0);
			engine_rig_submit(&rig, &offline);
			CHECK_INT(rig.result, ENGINE_SUBMIT_REFUSED);
			CHECK_STR(rig.code, "kernel_stuck");
			rig.initial = rig.world.state;
			engine_rig_submit(&rig, &empty);
			CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
			engine_rig_run(&rig, 0);
			CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
			engine_rig_check_undrained(&rig);
		}
		stuck->call = FAKE_CALL_START;
		engine_rig_unstick(&rig, false);
		engine_rig_submit(&rig, of_guest ? &first : &offline);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
		engine_rig_done(&rig);
	}
}

/* Two of them, as of two daemons before: what the second has as well is not free with the end of the first. */
static void test_two(void)
{
	struct wish offline = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);
	struct step step;

	step_init(&step, STEP_KIND_EJECT);
	engine_rig_begin(&rig);
	CHECK_INT(engine_stuck_add(rig.engine, 5, &step, "worker 5"), 0);
	CHECK_INT(engine_stuck_add(rig.engine, 6, &step, "worker 6"), 0);
	engine_stuck_gone(rig.engine, 5);
	CHECK_STR(fake_world_see(&rig.world)->hotplug_stuck, "worker 6");
	engine_rig_submit(&rig, &offline);
	CHECK_STR(rig.code, "kernel_stuck");
	engine_stuck_gone(rig.engine, 6);
	CHECK_STR(fake_world_see(&rig.world)->hotplug_stuck, "");
	engine_rig_submit(&rig, &offline);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_done(&rig);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"only what needs the same is refused", test_of_another_daemon},
		{"two of them", test_two},
	};

	return unit_main("engine_stuck", cases, ARRAY_SIZE(cases));
}
