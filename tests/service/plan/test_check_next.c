/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

#define PAGES 8 /* huge pages of 2 MiB that a proof takes */

static void setup(struct world *world)
{
	world_init(world);
	wish_init(&world->wish, OPERATION_KIND_CHECK);
	/* Free pages on node 0 are enough, on the others they are not. */
	for (int node = 0; node < 4; node++) {
		struct snapshot_pool *pool = &snapshot_node(world->snapshot, node)->pools[0];

		pool->total = pool->free = node == 0 ? 64 : 3;
	}
}

static struct snapshot_pool *pool_of(struct world *world, int node)
{
	return &snapshot_node(world->snapshot, node)->pools[0];
}

/* What recovery writes of a step that ran. */
static void record_cut(struct world *world)
{
	remainder_list_add(&world_record(world, STEP_STATE_PARTIAL, 0)->remainder,
			   REMAINDER_RESTARTED, "host", 0, NULL, "while this step ran");
}

static const struct step_record *find_proof(const struct world *world, const char *backing)
{
	for (size_t i = 0; i < world->history_count; i++)
		if (world->history[i].step.kind == STEP_KIND_PROOF &&
		    strcmp(world->history[i].step.text, backing) == 0)
			return &world->history[i];
	return NULL;
}

static void every_backing_is_proved(void)
{
	struct world world;
	char text[512];

	setup(&world);
	CHECK_STR(world_run(&world, text), "probe proof proof proof host_pool host_pool host_pool "
					   "proof host_pool host_pool host_pool done");
	for (size_t i = 0; i < 4; i++) {
		static const char *const backings[] = {"memfd", "anon", "thp", "hugetlb"};
		const struct step_record *proof = find_proof(&world, backings[i]);

		CHECK_TRUE(proof != NULL);
		CHECK_INT(proof ? proof->step.nodes : 0, 0xf);
		CHECK_INT(proof ? proof->step.page_bytes : 0, i < 2 ? 4096 : 2 * MIB);
		CHECK_INT(proof ? proof->step.bytes : 0, 16 * MIB);
	}
	/* What was lacking, and as it was. */
	CHECK_INT(world.history[4].step.node, 1);
	CHECK_INT(world.history[4].step.target_bytes, PAGES * 2 * MIB);
	for (int node = 0; node < 4; node++)
		CHECK_INT(pool_of(&world, node)->total, node == 0 ? 64 : 3);
	world_done(&world);
}

static void what_others_added_meanwhile_stays(void)
{
	struct world world;
	char text[512];

	setup(&world);
	while (world_next(&world)->kind == DECISION_KIND_STEP &&
	       !find_proof(&world, "hugetlb")) {
		world_perform(&world);
		if (find_proof(&world, "hugetlb")) {
			pool_of(&world, 1)->total += 100;
			pool_of(&world, 1)->free += 100;
			/* And these are gone already. */
			pool_of(&world, 2)->total = pool_of(&world, 2)->free = 3;
		}
	}
	CHECK_STR(world_run(&world, text), "host_pool host_pool done");
	CHECK_INT(pool_of(&world, 1)->total, 103);
	CHECK_INT(pool_of(&world, 2)->total, 3);
	CHECK_INT(pool_of(&world, 3)->total, 3);
	world_done(&world);
}

static void a_cancelled_check_puts_pools_back(void)
{
	struct world world;
	char text[512];

	setup(&world);
	for (int i = 0; i < 6; i++) {
		world_next(&world);
		world_perform(&world);
	}
	CHECK_INT(pool_of(&world, 2)->total, PAGES);
	world.input.deadline_ms = world.input.now_ms;
	CHECK_STR(world_run(&world, text), "host_pool host_pool give_up");
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DEADLINE);
	for (int node = 0; node < 4; node++)
		CHECK_INT(pool_of(&world, node)->total, node == 0 ? 64 : 3);
	world_done(&world);
}

/* After a restart the step that ran has told nothing, and any part of it may be done. */
static void what_was_interrupted_is_made_again(void)
{
	struct world world;
	char text[512];

	setup(&world);
	for (int i = 0; i < 7; i++) {
		world_next(&world);
		world_perform(&world);
	}
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_PROOF);
	record_cut(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_PROOF);
	world_perform(&world);
	/* The first of those that put back did nothing before it was interrupted. */
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_HOST_POOL);
	record_cut(&world);
	CHECK_STR(world_run(&world, text), "host_pool host_pool host_pool done");
	CHECK_INT(world.decision.remainder.count, 0);
	for (int node = 0; node < 4; node++)
		CHECK_INT(pool_of(&world, node)->total, node == 0 ? 64 : 3);
	world_done(&world);

	/* A pool that got some of its pages gets the others, and loses all of them. */
	setup(&world);
	for (int i = 0; i < 4; i++) {
		world_next(&world);
		world_perform(&world);
	}
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_HOST_POOL);
	record_cut(&world);
	pool_of(&world, 1)->total = pool_of(&world, 1)->free = 5;
	CHECK_STR(world_run(&world, text), "host_pool host_pool host_pool proof host_pool host_pool "
					   "host_pool done");
	CHECK_INT(find_proof(&world, "hugetlb")->step.nodes, 0xf);
	for (int node = 0; node < 4; node++)
		CHECK_INT(pool_of(&world, node)->total, node == 0 ? 64 : 3);
	world_done(&world);

	/* One that never comes to its end is not tried for ever. */
	setup(&world);
	world_next(&world);
	world_perform(&world);
	for (int i = 0; i < 2; i++) {
		CHECK_STR(world_next(&world)->step.text, "memfd");
		record_cut(&world);
	}
	CHECK_STR(world_next(&world)->step.text, "anon");
	world_done(&world);
}

static void gigantic_pages_are_not_made(void)
{
	struct world world;
	char text[512];

	setup(&world);
	for (int node = 0; node < 4; node++) {
		struct snapshot_node *seen = snapshot_node(world.snapshot, node);

		seen->pools[0].free = seen->pools[0].total = 64;
		seen->pools[1] = (struct snapshot_pool){.page_bytes = GIB};
		seen->pool_count = 2;
	}
	snapshot_node(world.snapshot, 2)->pools[1].free = 1;
	/* The worker says why there is nothing to prove. */
	CHECK_STR(world_run(&world, text), "probe proof proof proof proof proof done");
	CHECK_INT(world.history[5].step.page_bytes, GIB);
	CHECK_INT(world.history[5].step.bytes, GIB);
	CHECK_INT(world.history[5].step.nodes, 1 << 2);
	world_done(&world);
}

static void nodes_without_room_are_left_out(void)
{
	struct world world;
	char text[512];

	setup(&world);
	snapshot_node(world.snapshot, 1)->free_bytes = 63 * MIB;
	CHECK_STR(world_run(&world, text),
		  "probe proof proof proof host_pool host_pool proof host_pool host_pool done");
	CHECK_INT(find_proof(&world, "memfd")->step.nodes, 0xd);
	CHECK_INT(find_proof(&world, "hugetlb")->step.nodes, 0xd);
	world_done(&world);

	/* A pool that could not be enlarged leaves its node out, and is told. */
	setup(&world);
	for (int i = 0; i < 4; i++) {
		world_next(&world);
		world_perform(&world);
	}
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_HOST_POOL);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_STR(world_run(&world, text), "host_pool host_pool proof host_pool host_pool give_up");
	CHECK_INT(find_proof(&world, "hugetlb")->step.nodes, 0xd);
	CHECK_INT(world.decision.remainder.count, 1);
	world_done(&world);
}

static void a_failed_proof_is_told(void)
{
	struct world world;
	unsigned proofs = 0;

	setup(&world);
	while (world_next(&world)->kind == DECISION_KIND_STEP) {
		if (world.decision.step.kind != STEP_KIND_PROOF) {
			world_perform(&world);
			continue;
		}
		proofs++;
		strcpy(world_record(&world, STEP_STATE_FAILED, 0)->detail, "no /dev/kvm");
	}
	CHECK_INT(proofs, 4);
	CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 4);
	CHECK_TRUE(strstr(world.decision.remainder.items[2].detail, "thp") != NULL);
	for (int node = 0; node < 4; node++)
		CHECK_INT(pool_of(&world, node)->total, node == 0 ? 64 : 3);
	world_done(&world);
}

static void one_node_has_nothing_to_prove(void)
{
	struct world world;
	char text[512];

	setup(&world);
	world.snapshot->node_count = 1;
	CHECK_STR(world_run(&world, text), "probe done");
	CHECK_INT(world.decision.warnings.count, 1);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"every backing is proved", every_backing_is_proved},
	{"what others added meanwhile stays", what_others_added_meanwhile_stays},
	{"a cancelled check puts pools back", a_cancelled_check_puts_pools_back},
	{"what was interrupted is made again", what_was_interrupted_is_made_again},
	{"gigantic pages are not made", gigantic_pages_are_not_made},
	{"nodes without room are left out", nodes_without_room_are_left_out},
	{"a failed proof is told", a_failed_proof_is_told},
	{"one node has nothing to prove", one_node_has_nothing_to_prove},
};

int main(void)
{
	return unit_main("check_next", cases, sizeof(cases) / sizeof(cases[0]));
}
