/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* A memfd guest on node 2 whose vCPUs run on node 1, and that is wished there. */
static struct snapshot_guest *lazy_world(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 2, 300 * MIB);
	guest->cpu_nodes = 1 << 1;
	world_wish_move(world, "g1", 1 << 1);
	world->wish.move.lazy = true;
	return guest;
}

static void check_refusal(struct world *world, const char *detail)
{
	struct remainder_list blockers;
	struct failure failure;

	CHECK_INT(plan_check(&world->input, &blockers, &failure), detail[0] ? -EPERM : 0);
	CHECK_STR(failure.code, detail[0] ? "invalid_target" : "");
	CHECK_STR(blockers.count ? blockers.items[0].detail : "", detail);
}

static void policy_then_touch_then_the_rest(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);
	char text[512];

	world.wish.timeout_s = 90;
	check_refusal(&world, "");
	CHECK_STR(world_run(&world, text), "memory_policy lazy move done");
	CHECK_INT(world.history[0].step.mode, POLICY_MODE_PREFERRED);
	CHECK_INT(world.history[0].step.nodes, 1 << 1);
	CHECK_INT(world.history[1].step.bytes, 300 * MIB);
	CHECK_INT(world.history[1].step.timeout_ms, 60000);
	CHECK_INT(world.history[1].step.map[2], 1);
	CHECK_INT(world.history[1].step.from_nodes, 1 << 2);
	CHECK_TRUE(world.history[1].step.undoable);
	CHECK_INT(guest->node_bytes[1], 300 * MIB);
	world_done(&world);
}

static void a_bound_guest_stays_bound(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);
	char text[512];

	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 2;
	CHECK_STR(world_run(&world, text), "memory_policy lazy move memory_policy done");
	CHECK_INT(guest->policy_mode, POLICY_MODE_BIND);
	CHECK_INT(guest->policy_nodes, 1 << 1);
	world_done(&world);
}

static void the_rest_is_moved_after_two_thirds(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);

	guest->backings[0].kind = BACKING_KIND_ANON;
	world.input.now_ms = 1000;
	world.input.deadline_ms = 31000;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_LAZY);
	CHECK_INT(world.decision.step.timeout_ms, 20000);
	world_record(&world, STEP_STATE_PARTIAL, 200 * MIB);
	guest->node_bytes[2] = 100 * MIB;
	guest->node_bytes[1] = 200 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_INT(world.decision.step.bytes, 100 * MIB);
	CHECK_INT(world.decision.step.map[2], 1);
	world_done(&world);
}

static void all_that_followed_needs_no_copy(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);

	guest->backings[0].kind = BACKING_KIND_ANON;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_LAZY);
	world_record(&world, STEP_STATE_DONE, 300 * MIB);
	guest->node_bytes[2] = 0;
	guest->node_bytes[1] = 300 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* The worker binds memory for its time. Killed, it has not put the policy back. */
static void a_killed_start_does_not_leave_it_bound(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);

	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_LAZY);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	guest->policy_mode = POLICY_MODE_BIND;
	world.input.deadline_ms = world.input.now_ms;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_INT(world.decision.step.mode, POLICY_MODE_PREFERRED);
	CHECK_INT(world.decision.step.nodes, 1 << 1);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 300 * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DEADLINE);
	world_done(&world);
}

/* Of a bound guest only the leave to move tells that it was killed. */
static void a_killed_start_does_not_leave_it_balancing(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);

	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 1;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	world_perform(&world);
	CHECK_TRUE(guest->policy_loose);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_LAZY);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	guest->policy_balancing = true;
	guest->policy_loose = false;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_INT(world.decision.step.mode, POLICY_MODE_BIND);
	CHECK_INT(world.decision.step.nodes, 1 << 1);
	CHECK_TRUE(world.decision.step.loose);
	world_perform(&world);
	CHECK_TRUE(!guest->policy_balancing);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_TRUE(!world.decision.step.loose);
	world_done(&world);
	/* What libvirt has not bound is not left bound. */
	guest = lazy_world(&world);
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 1;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_LAZY);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_balancing = true;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MEMORY_POLICY);
	CHECK_INT(world.decision.step.mode, POLICY_MODE_PREFERRED);
	/* Once: where it does not take the pages move all the same. */
	world_record(&world, STEP_STATE_PARTIAL, 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_done(&world);
}

static void where_pages_follow_nobody_it_is_refused(void)
{
	struct world world;
	struct snapshot_guest *guest = lazy_world(&world);

	check_refusal(&world, "");
	world.snapshot->numa_balancing_off = true;
	check_refusal(&world, "automatic NUMA balancing is off: pages would follow nobody");
	world.snapshot->numa_balancing_off = false;
	guest->cpu_nodes = 1 << 0;
	check_refusal(&world, "pages follow only the CPUs that touch them, and its vCPUs do "
				   "not run on every destination");
	/* They follow first, where that is asked for. */
	world.wish.move.cpus = true;
	check_refusal(&world, "");
	world.wish.move.cpus = false;
	guest->cpu_nodes = 3;
	check_refusal(&world, "");
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	check_refusal(&world, "huge pages of hugetlbfs do not follow the CPUs that touch them");
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_ANON, 4096, 300 * MIB, 0};
	check_refusal(&world, "");
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 2;
	check_refusal(&world, "its anonymous memory is bound, and nothing outside can change that");
	guest->backings[0].kind = BACKING_KIND_MEMFD;
	guest->node_bytes[3] = 10 * MIB;
	world_wish_map(&world, "g1", 2, 1);
	world.wish.move.map[3] = 0;
	world.wish.move.lazy = true;
	check_refusal(&world, "pages would go to whichever destination touches them, not by the map");
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"policy, then touch, then the rest", policy_then_touch_then_the_rest},
	{"a bound guest stays bound", a_bound_guest_stays_bound},
	{"the rest is moved after two thirds", the_rest_is_moved_after_two_thirds},
	{"all that followed needs no copy", all_that_followed_needs_no_copy},
	{"a killed start does not leave it bound", a_killed_start_does_not_leave_it_bound},
	{"a killed start does not leave it balancing", a_killed_start_does_not_leave_it_balancing},
	{"where pages follow nobody it is refused", where_pages_follow_nobody_it_is_refused},
};

int main(void)
{
	return unit_main("move_lazy", cases, sizeof(cases) / sizeof(cases[0]));
}
