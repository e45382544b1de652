/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "plan_world.h"
#include "unit.h"

static struct snapshot_guest *drained_world(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "db1", 3, 512 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 3;
	world_wish_drain_dimm(world, DRAIN_FINISH_EJECT);
	return guest;
}

static void a_dry_run_is_the_run(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;
	char text[512], said[160], done[160];

	drained_world(&world);
	plan = plan_dry_run(&world.input);
	world_run(&world, text);
	CHECK_INT(plan->step_count, world.history_count);
	for (size_t i = 0; i < plan->step_count; i++)
		CHECK_STR(step_describe(&plan->steps[i], said),
			  step_describe(&world.history[i].step, done));
	CHECK_STR(step_describe(&plan->steps[1], said), "db1  512 MiB  3 -> 1  dist 12");
	CHECK_INT(plan->needs_bytes[1], 512 * MIB);
	CHECK_INT(plan->bytes, 512 * MIB);
	CHECK_INT(plan->work_bytes, 512 * MIB + GIB);
	CHECK_INT(plan->blockers.count, 0);
	CHECK_TRUE(!plan->already_done);
	CHECK_TRUE(!plan->estimate_measured);
	CHECK_TRUE(plan->estimate_s >= 5 && plan->estimate_s < 30);
	world_done(&world);
}

static void measure(struct world *world, enum rate_kind kind)
{
	bool is_bytes = rate_kind_is_bytes(kind);

	world->snapshot->rates.of[kind] =
		(struct measured_rate){.amount = is_bytes ? 256 * MIB : RATE_EACH, .ms = is_bytes ? 1000 : 700};
}

/* Measured is only what is made of nothing else; the sum is that of its steps. */
static void each_step_has_its_time(void)
{
	static const enum rate_kind needed[] = {RATE_KIND_MOVE, RATE_KIND_STEP, RATE_KIND_CHILD, RATE_KIND_OFFLINE,
						RATE_KIND_EJECT};
	struct world world;

	drained_world(&world);
	world.snapshot->reboot = (struct snapshot_reboot){.s = 95};
	/* Neither has any part in it. */
	measure(&world, RATE_KIND_MOVE_HUGE);
	measure(&world, RATE_KIND_PLUG);
	for (size_t i = 0; i <= ARRAY_SIZE(needed); i++) {
		CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);
		uint64_t ms = 0;

		CHECK_INT(plan->step_count, 4);
		CHECK_INT(plan->rates_used, 1 << RATE_KIND_MOVE | 1 << RATE_KIND_STEP | 1 << RATE_KIND_CHILD |
						    1 << RATE_KIND_OFFLINE | 1 << RATE_KIND_EJECT);
		CHECK_INT(plan->estimate_measured, i == ARRAY_SIZE(needed));
		CHECK_INT(plan->costs[0].is_measured, i > 1);
		CHECK_INT(plan->costs[1].is_measured, i > 2);
		CHECK_INT(plan->costs[2].is_measured, i > 3);
		CHECK_INT(plan->costs[3].is_measured, i > 4);
		for (size_t step = 0; step < plan->step_count; step++)
			ms += plan->costs[step].ms;
		CHECK_INT(plan->estimate_s, (ms + 999) / 1000);
		CHECK_INT(plan->reboot.s, 95);
		if (i == ARRAY_SIZE(needed)) {
			CHECK_INT(plan->costs[0].ms, 700);
			CHECK_INT(plan->costs[1].ms, 700 + 700 + 2000);
			CHECK_INT(plan->costs[2].ms, 700 + 4000);
			CHECK_INT(plan->costs[3].ms, 700 + 700);
			CHECK_INT(plan->cautious_s, plan->estimate_s);
			break;
		}
		measure(&world, needed[i]);
	}
	/* Blocks that went in no time say nothing of full ones: no deadline goes by them. */
	world.snapshot->rates.of[RATE_KIND_OFFLINE] = (struct measured_rate){.amount = 1024 * GIB, .ms = 1};
	CLEANUP(plan_freep) struct plan *quick = plan_dry_run(&world.input);

	CHECK_INT(quick->costs[2].ms, 700);
	CHECK_INT(quick->estimate_s, 7);
	CHECK_INT(quick->cautious_s, 9);
	/* No faster than it may. */
	world.limits.bytes_per_s = 8 * MIB;
	CLEANUP(plan_freep) struct plan *slow = plan_dry_run(&world.input);

	CHECK_TRUE(slow->costs[1].ms > 63000 && slow->costs[1].ms < 66000);
	world_done(&world);
}

static void digests_name_plans(void)
{
	struct world world;
	struct snapshot_guest *guest = drained_world(&world);
	struct plan *first = plan_dry_run(&world.input), *second;

	CHECK_INT(strlen(first->digest), 16);
	/* One more page touched, another moment, another drain id: the same plan. */
	guest->node_bytes[3] += 4096;
	world.input.now_ms = 99999;
	strcpy(world.wish.drain, "");
	second = plan_dry_run(&world.input);
	CHECK_STR(second->digest, first->digest);
	plan_free(second);
	/* Another destination is another plan. */
	*snapshot_add_hold(world.snapshot) = (struct snapshot_hold){.drain = "d0", .node = 1};
	second = plan_dry_run(&world.input);
	CHECK_TRUE(strcmp(second->digest, first->digest) != 0);
	plan_free(second);
	plan_free(first);
	world_done(&world);
}

static void consents_are_counted_and_the_plan_shown(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL, *agreed = NULL;
	struct world world;
	struct snapshot_guest *guest = drained_world(&world);

	guest->locked = true;
	guest->stored_numatune_nodes = 1 << 3;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->consents_needed, 1 << CONSENT_LOCKED_GUESTS | 1 << CONSENT_STORED_XML);
	CHECK_INT(plan->step_count, 4);
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_STORED_XML));
	world.wish.allow = plan->consents_needed;
	agreed = plan_dry_run(&world.input);
	CHECK_INT(agreed->blockers.count, 0);
	CHECK_TRUE(strcmp(agreed->digest, plan->digest) != 0);
	world_done(&world);
}

static void blockers_leave_no_steps(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;

	drained_world(&world);
	world.snapshot->dimms[0].ejectable = false;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 0);
	CHECK_INT(plan->blockers.count, 1);
	CHECK_TRUE(!plan->already_done);
	world_done(&world);
}

static void what_would_stay_is_forecast(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 2 * GIB);
	world_add_agent(guest, 1000 * MIB, 200 * MIB);
	guest->agent.huge_used_bytes = 1100 * MIB;
	world_wish_resize(&world, "g1", GIB);
	plan = plan_dry_run(&world.input);
	/* 1000 and 200 MiB, but for a 32nd of the guest. */
	CHECK_INT(remainder_list_bytes(&plan->forecast), (336 + 80) * MIB);
	CHECK_INT(plan->leave_count, 1);
	CHECK_STR(plan->leaves[0].alias, "vm0");
	CHECK_INT(plan->leaves[0].asked_bytes, 1536 * MIB);
	CHECK_INT(plan->leaves[0].leaves_bytes, 1120 * MIB);
	CHECK_INT(plan->forecast.items[0].code, REMAINDER_HUGE_PAGES_IN_USE);
	world_done(&world);
}

static void nothing_to_do_is_said(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, GIB);
	world_wish_resize(&world, "g1", GIB + 512 * MIB);
	plan = plan_dry_run(&world.input);
	CHECK_TRUE(plan->already_done);
	world_done(&world);
}

/* Guests of 300, 200 and 100 MiB at 10 MiB/s; without what each step costs beside that. */
static void moves_beside_each_other_are_reckoned_so(void)
{
	static const struct {
		uint32_t drain_moves;
		uint64_t budget_bytes_per_s;
		int huge;	/* mask of guests */
		uint32_t seconds;
	} table[] = {
		{1, 0, 0, 60}, {0, 0, 0, 60}, {2, 0, 0, 30}, {3, 0, 0, 30}, {64, 0, 0, 30},
		/* The first and the last, or all, after one another. */
		{2, 0, 5, 40}, {3, 0, 5, 40}, {3, 0, 7, 60}, {2, 0, 1, 30},
		/* They have it together. */
		{2, 15 * MIB, 0, 40}, {1, 15 * MIB, 0, 60}, {2, 5 * MIB, 0, 120},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		CLEANUP(plan_freep) struct plan *plan = NULL;
		struct world world;

		world_init(&world);
		for (int n = 0; n < 3; n++) {
			struct snapshot_guest *guest =
				world_add_guest(&world, n == 0 ? "db1" : n == 1 ? "db2" : "db3", 3, (uint64_t)(3 - n) * 100 * MIB);

			if (table[i].huge >> n & 1) {
				guest->backings[0].kind = BACKING_KIND_HUGETLB;
				guest->backings[0].page_bytes = 2 * MIB;
			}
		}
		world_set_rate(&world, RATE_KIND_MOVE, 10 * MIB);
		world_set_rate(&world, RATE_KIND_MOVE_HUGE, 10 * MIB);
		world.snapshot->rates.of[RATE_KIND_STEP] = world.snapshot->rates.of[RATE_KIND_CHILD] =
			(struct measured_rate){.amount = RATE_EACH, .ms = 1};
		world.limits.drain_moves = table[i].drain_moves;
		world.limits.bytes_per_s = table[i].budget_bytes_per_s;
		world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
		plan = plan_dry_run(&world.input);
		CHECK_TRUE(plan->estimate_s >= table[i].seconds && plan->estimate_s <= table[i].seconds + 1);
		/* Each for itself, and for a deadline all of them one after the other. */
		CHECK_TRUE(plan->cautious_s >= 60 && plan->cautious_s >= plan->estimate_s);
		CHECK_TRUE(plan->costs[1].ms >= 30000);
		world_done(&world);
	}
}

static const struct unit_case cases[] = {
	{"moves beside each other are reckoned so", moves_beside_each_other_are_reckoned_so},
	{"a dry run is the run", a_dry_run_is_the_run},
	{"each step has its time", each_step_has_its_time},
	{"digests name plans", digests_name_plans},
	{"consents are counted and the plan shown", consents_are_counted_and_the_plan_shown},
	{"blockers leave no steps", blockers_leave_no_steps},
	{"what would stay is forecast", what_would_stay_is_forecast},
	{"nothing to do is said", nothing_to_do_is_said},
};

int main(void)
{
	return unit_main("plan", cases, sizeof(cases) / sizeof(cases[0]));
}
