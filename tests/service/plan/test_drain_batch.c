/* SPDX-License-Identifier: Apache-2.0 */
/* The dry run of a drain of many guests, which is not to place all of them anew for each. */
#include <stdio.h>
#include <string.h>
#include "drain_place.h"
#include "guest_index.h"
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

int __wrap_drain_place(const struct drain_place_input *input, struct drain_place_result *ret_result);
int __real_drain_place(const struct drain_place_input *input, struct drain_place_result *ret_result);

static unsigned placements;

int __wrap_drain_place(const struct drain_place_input *input, struct drain_place_result *ret_result)
{
	placements++;
	return __real_drain_place(input, ret_result);
}

/* Guests of 1 to 3 MiB on the DIMM's node, of which two in a hundred are somewhere else. */
static void crowded_world(struct world *world, size_t guests)
{
	world_init(world);
	for (size_t i = 0; i < guests; i++) {
		char name[32];

		snprintf(name, sizeof(name), "g%zu", i);
		world_add_guest(world, name, i % 50 == 7 ? 0 : 3, (1 + i % 3) * MIB);
	}
	world_wish_drain_dimm(world, DRAIN_FINISH_OFFLINE);
}

/* Each guest of the node once, the largest first, and no more on any node than it has room for. */
static void check_plan(const struct world *world, const struct plan *plan, size_t guests)
{
	uint64_t last = UINT64_MAX, bytes = 0;
	size_t moved = 0;

	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->kind != STEP_KIND_CHILD)
			continue;
		CHECK_TRUE(step->bytes <= last);
		last = step->bytes;
		bytes += step->bytes;
		moved++;
		for (size_t j = 0; j < i; j++)
			CHECK_TRUE(strcmp(plan->steps[j].guest, step->guest) != 0);
	}
	CHECK_INT(moved, guests);
	CHECK_INT(plan->needs_bytes[0] + plan->needs_bytes[1] + plan->needs_bytes[2], bytes);
	CHECK_INT(plan->needs_bytes[3], 0);
	for (int node = 0; node < 3; node++)
		CHECK_TRUE(plan->needs_bytes[node] <= snapshot_node(world->snapshot, node)->free_bytes);
	CHECK_INT(plan->forecast.count, 0);
	CHECK_INT(plan->steps[plan->step_count - 1].kind, STEP_KIND_OFFLINE_BLOCKS);
}

static void many_guests_are_placed_once(void)
{
	static const size_t counts[] = {300, 600};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		CLEANUP(plan_freep) struct plan *plan = NULL;
		struct world world;

		crowded_world(&world, counts[i]);
		placements = 0;
		plan = plan_dry_run(&world.input);
		check_plan(&world, plan, counts[i] / 50 * 49);
		/* The check and its warnings, before the moves and for them, and once for what comes after. */
		CHECK_TRUE(placements <= 10);
		world_done(&world);
	}
}

/*
 * The DIMM is half of node 3, and its guests come home to the other half: by the undo of their moves, or by moves of their own
 * where nobody can tell what of them lies in it.
 */
static void half_a_node(struct world *world, size_t guests, bool is_told)
{
	crowded_world(world, guests);
	world_add_second_dimm(world);
	for (size_t i = 0; i < world->snapshot->guest_count; i++) {
		struct snapshot_guest *guest = &world->snapshot->guests[i];

		guest->policy_mode = is_told ? POLICY_MODE_DEFAULT : POLICY_MODE_BIND;
		guest->policy_nodes = is_told ? 0 : guest->node_bytes[3] ? 1 << 3 : 1 << 0;
		guest->cpuset_mems = guest->policy_nodes;
		guest->dimms_told = is_told;
		guest->dimm_count = is_told;
		strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
		guest->dimm_bytes[0].bytes = guest->node_bytes[3];
	}
}

static void many_guests_come_home_at_once(void)
{
	for (int is_told = 0; is_told < 2; is_told++) {
		enum step_kind kind = is_told ? STEP_KIND_UNDO : STEP_KIND_CHILD;
		CLEANUP(plan_freep) struct plan *plan = NULL;
		size_t out = 0, home = 0, offline = 0;
		struct world world;

		half_a_node(&world, 400, is_told);
		placements = 0;
		plan = plan_dry_run(&world.input);
		CHECK_TRUE(plan);
		for (size_t i = 0; i < plan->step_count; i++) {
			if (plan->steps[i].kind == STEP_KIND_OFFLINE_BLOCKS)
				offline = i;
			else if (offline && plan->steps[i].kind == kind)
				home++;
			else if (plan->steps[i].kind == STEP_KIND_CHILD)
				out++;
		}
		CHECK_INT(out, 392);
		CHECK_INT(home, 392);
		CHECK_INT(plan->forecast.count, 0);
		/* Where no survey has told the two halves apart, each is warned of. */
		CHECK_INT(plan->warnings.count > 0, !is_told);
		CHECK_TRUE(placements <= 12);
		world_done(&world);
	}
}

/* As each of them would be decided for itself. */
static void they_come_home_as_one_by_one(void)
{
	for (int is_told = 0; is_told < 2; is_told++) {
		CLEANUP(drain_batch_done) struct drain_batch batch = {0};
		struct world world;

		half_a_node(&world, 50, is_told);
		while (world_next(&world)->kind == DECISION_KIND_STEP && world.decision.step.kind != STEP_KIND_UNDO &&
		       !step_brings_home(&world.decision.step))
			world_perform(&world);
		CHECK_TRUE(drain_batch_home(&world.input, is_told, &batch));
		CHECK_INT(batch.count, 49);
		for (size_t i = 0; i < batch.count; i++) {
			char said[160], done[160];

			CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
			CHECK_STR(step_describe(&batch.steps[i], said), step_describe(&world.decision.step, done));
			CHECK_STR(batch.steps[i].guest, world.decision.step.guest);
			CHECK_INT(batch.steps[i].bytes, world.decision.step.bytes);
			world_perform(&world);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
		world_done(&world);
	}
}

/* Few enough that the plan is, place by place, what the drain will do. */
static void few_guests_are_placed_as_they_will_be(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;
	char said[160], done[160];

	crowded_world(&world, 50);
	plan = plan_dry_run(&world.input);
	check_plan(&world, plan, 49);
	for (size_t i = 0; i < plan->step_count; i++) {
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_STR(step_describe(&plan->steps[i], said), step_describe(&world.decision.step, done));
		world_perform(&world);
	}
	world_done(&world);
}

static void guests_are_found_by_uuid(void)
{
	struct guest_index index;
	struct world world;

	world_init(&world);
	CHECK_INT(guest_index_init(&index, world.snapshot), 0);
	CHECK_TRUE(!guest_index_find(&index, "uuid-b"));
	guest_index_done(&index);
	world_add_guest(&world, "c", 0, MIB);
	world_add_guest(&world, "a", 0, MIB);
	world_add_guest(&world, "b", 0, MIB);
	CHECK_INT(guest_index_init(&index, world.snapshot), 0);
	CHECK_TRUE(guest_index_find(&index, "uuid-c") == &world.snapshot->guests[0]);
	CHECK_TRUE(guest_index_find(&index, "uuid-a") == &world.snapshot->guests[1]);
	CHECK_TRUE(guest_index_find(&index, "uuid-b") == &world.snapshot->guests[2]);
	CHECK_TRUE(!guest_index_find(&index, "b"));
	CHECK_TRUE(!guest_index_find(&index, ""));
	guest_index_done(&index);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"many guests are placed once", many_guests_are_placed_once},
	{"many guests come home at once", many_guests_come_home_at_once},
	{"they come home as one by one", they_come_home_as_one_by_one},
	{"few guests are placed as they will be", few_guests_are_placed_as_they_will_be},
	{"guests are found by UUID", guests_are_found_by_uuid},
};

int main(void)
{
	return unit_main("drain_batch", cases, sizeof(cases) / sizeof(cases[0]));
}
