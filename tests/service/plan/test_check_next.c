/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "plan_world.h"
#include "unit.h"

static void every_pair_is_proved(void)
{
	struct world world;
	char text[512];

	world_init(&world);
	wish_init(&world.wish, OPERATION_KIND_CHECK);
	CHECK_STR(world_run(&world, text), "probe proof proof proof proof proof proof done");
	CHECK_INT(world.history[1].step.node, 0);
	CHECK_INT(world.history[1].step.nodes, 1 << 1);
	world_done(&world);

	world_init(&world);
	for (int node = 0; node < 2; node++)
		snapshot_node(world.snapshot, node)->pools[0].free = 64;
	wish_init(&world.wish, OPERATION_KIND_CHECK);
	CHECK_STR(world_run(&world, text), "probe proof proof proof proof proof proof proof done");
	CHECK_INT(world.history[7].step.page_bytes, 2 * MIB);
	world_done(&world);
}

static void a_failed_proof_is_told(void)
{
	struct world world;

	world_init(&world);
	wish_init(&world.wish, OPERATION_KIND_CHECK);
	world_next(&world);
	world_record(&world, STEP_STATE_DONE, 0);
	while (world_next(&world)->kind == DECISION_KIND_STEP)
		strcpy(world_record(&world, STEP_STATE_FAILED, 0)->detail, "no /dev/kvm");
	CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 6);
	world_done(&world);
}

static void one_node_has_nothing_to_prove(void)
{
	struct world world;
	char text[512];

	world_init(&world);
	world.snapshot->node_count = 1;
	wish_init(&world.wish, OPERATION_KIND_CHECK);
	CHECK_STR(world_run(&world, text), "probe done");
	CHECK_INT(world.decision.warnings.count, 1);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"every pair is proved", every_pair_is_proved},
	{"a failed proof is told", a_failed_proof_is_told},
	{"one node has nothing to prove", one_node_has_nothing_to_prove},
};

int main(void)
{
	return unit_main("check_next", cases, sizeof(cases) / sizeof(cases[0]));
}
