/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

/* 512 MiB base and a device of 2 GiB, full; the agent sees 1000 MiB available and 1400 MiB of free
 * huge pages. */
static struct snapshot_guest *stuck_guest(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 2 * GIB);
	world_add_agent(guest, 1000 * MIB, 1400 * MIB);
	return guest;
}

static void expect_step(struct world *world, enum step_kind kind)
{
	const struct decision *decision = world_next(world);

	CHECK_INT(decision->kind, DECISION_KIND_STEP);
	CHECK_STR(step_kind_name(decision->step.kind), step_kind_name(kind));
}

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static void a_grow_is_policy_request_undo(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	world_add_agent(guest, 400 * MIB, 0);
	strcpy(guest->agent.online_policy, "offline");
	world_wish_resize(&world, "g1", 512 * MIB + GIB);
	guest->agent.udev_onlines = true;
	strcpy(guest->agent.udev_rule, "/etc/udev/rules.d/9.rules");
	expect_step(&world, STEP_KIND_ONLINE_POLICY);
	CHECK_STR(world.decision.step.text, "online_movable");
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_WRONG_ZONE);
	CHECK_STR(world.decision.warnings.items[0].detail,
		  "a udev rule of the guest onlines memory too, and may put it into a kernel zone: /etc/udev/rules.d/9.rules");
	world_perform(&world);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, GIB);
	CHECK_INT(world.decision.step.bytes, GIB);
	expect_run(&world, "request agent_undo done");
	CHECK_INT(snapshot_guest(world.snapshot, "g1")->current_bytes, 512 * MIB + GIB);
	world_done(&world);
}

/* A guest without a policy, and a drain that holds node 3. */
static struct snapshot_guest *unbound_guest(struct world *world)
{
	struct snapshot_guest *guest;
	struct snapshot_hold *hold;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	guest->policies_seen = true;
	world_add_device(guest, "vm0", 2 * GIB, 0);
	hold = snapshot_add_hold(world->snapshot);
	strcpy(hold->drain, "dr-1");
	hold->node = 3;
	world_wish_resize(world, "g1", GIB);
	return guest;
}

static void a_grow_keeps_away_from_a_hold(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = unbound_guest(&world);
	expect_step(&world, STEP_KIND_MEMORY_POLICY);
	CHECK_INT(world.decision.step.mode, POLICY_MODE_PREFERRED);
	CHECK_INT(world.decision.step.nodes, 7);
	CHECK_TRUE(world.decision.step.undoable);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_HELD);
	world_perform(&world);
	CHECK_INT(guest->policy_nodes, 7);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.warnings.count, 1);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_HELD));
	world_done(&world);
	/* Where it cannot be done it grows all the same. */
	unbound_guest(&world);
	world_next(&world);
	world_record(&world, STEP_STATE_FAILED, 0);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_STR(world.decision.warnings.items[0].detail, "a drain holds memory of node 3, where what it grows by may come: "
							  "nothing from outside can keep it away");
	world_done(&world);
}

static void a_grow_that_needs_not_be_steered(void)
{
	for (int way = 0; way < 4; way++) {
		struct snapshot_guest *guest;
		struct world world;

		guest = unbound_guest(&world);
		switch (way) {
		case 0: /* somebody has set one */
			guest->policy_mode = POLICY_MODE_PREFERRED;
			guest->policy_nodes = 1 << 1;
			break;
		case 1: /* it may not land there */
			guest->cpuset_mems = 7;
			break;
		case 2: /* nothing can */
			for (size_t i = 0; i < world.snapshot->block_count; i++)
				if (world.snapshot->blocks[i].node == 3)
					world.snapshot->blocks[i].state = BLOCK_STATE_OFFLINE;
			break;
		default: /* whether it has one is not known */
			guest->policies_seen = false;
			break;
		}
		expect_step(&world, STEP_KIND_REQUEST);
		CHECK_INT(world.decision.warnings.count, 0);
		world_done(&world);
	}
}

/* Where it may land there and nothing keeps it away that is said. */
static void a_grow_that_may_land_on_a_hold_is_told(void)
{
	for (int way = 0; way < 3; way++) {
		struct snapshot_guest *guest;
		struct world world;

		guest = unbound_guest(&world);
		if (way == 0) {
			guest->backings[0].kind = BACKING_KIND_ANON;
		} else if (way == 1) {
			guest->policy_mode = POLICY_MODE_BIND;
			guest->policy_nodes = 1 << 1 | 1 << 3;
		} else {
			guest->device_count = 0;
			guest->has_balloon = true;
			guest->base_bytes = guest->max_bytes = GIB;
			guest->current_bytes = guest->requested_bytes = GIB;
			guest->balloon_bytes = 512 * MIB;
			world_wish_resize(&world, "g1", GIB);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_TRUE(world.decision.step.kind == STEP_KIND_REQUEST || world.decision.step.kind == STEP_KIND_BALLOON);
		CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_HELD));
		/* Where it becomes smaller nothing comes. */
		world.input.start_bytes = 2 * GIB;
		world_wish_resize(&world, "g1", way == 2 ? 256 * MIB : 512 * MIB);
		world_next(&world);
		CHECK_TRUE(!remainder_list_has(&world.decision.warnings, REMAINDER_HELD));
		world_done(&world);
	}
}

static void a_large_grow_takes_the_ratio(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 4 * GIB, 0);
	world_add_agent(guest, 400 * MIB, 0);
	world_wish_resize(&world, "g1", 512 * MIB + 4 * GIB);
	expect_step(&world, STEP_KIND_ONLINE_POLICY);
	CHECK_STR(world.decision.step.text, "auto-movable");
	CHECK_INT(world.decision.step.target_bytes, 301);
	strcpy(guest->agent.online_policy, "online_kernel");
	expect_step(&world, STEP_KIND_ONLINE_POLICY);
	world_perform(&world);
	expect_step(&world, STEP_KIND_REQUEST);
	world_perform(&world);
	/* A part has come into the kernel's zones, as the ratio has it; with the lease the guest's own policy is back. */
	guest->agent.wrong_zone_bytes = GIB;
	expect_step(&world, STEP_KIND_AGENT_UNDO);
	world_perform(&world);
	strcpy(guest->agent.online_policy, "online_kernel");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.remainder.count, 0);
	world_done(&world);
}

/* Its owner forbade something, and nobody knows what. */
static void an_unreadable_policy_forbids_both_ways(void)
{
	static const uint64_t wanted[] = {GIB, 512 * MIB};
	struct world world;
	struct snapshot_guest *guest;

	for (size_t i = 0; i < 2; i++) {
		struct remainder_list blockers;
		struct failure failure;

		world_init(&world);
		guest = world_add_guest(&world, "g1", 1, 300 * MIB);
		world_add_device(guest, "vm0", 2 * GIB, 256 * MIB);
		world_add_agent(guest, 400 * MIB, 0);
		world_wish_resize(&world, "g1", wanted[i]);
		CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
		strcpy(guest->policy_fault, "priority=\"high\" is not 0 to 1000");
		CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
		CHECK_STR(failure.code, "policy_unreadable");
		CHECK_TRUE(strstr(blockers.items[0].detail, "priority=\"high\"") != NULL);
		world_done(&world);
	}
}

/* It was so before, and is none of this growth's doing. */
static void what_was_wrong_before_is_not_blamed(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	world_add_agent(guest, 400 * MIB, 0);
	world_wish_resize(&world, "g1", GIB);
	guest->agent.normal_bytes = GIB;
	guest->agent.offline_bytes = 128 * MIB;
	guest->agent.wrong_zone_bytes = 256 * MIB;
	expect_step(&world, STEP_KIND_REQUEST);
	world_perform(&world);
	expect_step(&world, STEP_KIND_AGENT_UNDO);
	world_perform(&world);
	guest->agent.offline_bytes = 128 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.remainder.count, 0);
	CHECK_INT(world.decision.warnings.count, 2);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_NOT_ONLINED);
	CHECK_INT(world.decision.warnings.items[0].bytes, 128 * MIB);
	CHECK_INT(world.decision.warnings.items[1].code, REMAINDER_WRONG_ZONE);
	CHECK_INT(world.decision.warnings.items[1].bytes, 256 * MIB);
	/* What came beside it is. */
	guest->agent.wrong_zone_bytes += 64 * MIB;
	guest->agent.offline_bytes += 32 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].bytes, 32 * MIB);
	CHECK_INT(world.decision.remainder.items[1].bytes, 64 * MIB);
	CHECK_INT(world.decision.warnings.count, 2);
	world_done(&world);
}

static void plugged_is_not_onlined(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	world_add_agent(guest, 400 * MIB, 0);
	world_wish_resize(&world, "g1", GIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_perform(&world);
	guest->agent.offline_bytes = 128 * MIB;
	guest->agent.wrong_zone_bytes = 2 * GIB;
	expect_run(&world, "agent_undo give_up");
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NOT_ONLINED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 128 * MIB);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_WRONG_ZONE);
	CHECK_INT(world.decision.remainder.items[1].bytes, 512 * MIB);
	/* What would have it repaired is named where it is off, and the agent could. */
	CHECK_TRUE(!strstr(world.decision.remainder.items[0].way_out, "zone_repair"));
	guest->agent.features |= 1 << AGENT_FEATURE_REPAIR;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	for (size_t i = 0; i < 2; i++)
		CHECK_TRUE(strstr(world.decision.remainder.items[i].way_out, "zone_repair = yes"));
	world.limits.zone_repair = true;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(!strstr(world.decision.remainder.items[0].way_out, "zone_repair"));
	world_done(&world);
}

/* What is being onlined is looked at again, as long as it goes on. */
static void onlining_takes_a_moment(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	world_add_agent(guest, 400 * MIB, 0);
	world_wish_resize(&world, "g1", GIB);
	world.input.deadline_ms = 60000;
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 512 * MIB);
	guest->agent.offline_bytes = 256 * MIB;
	expect_step(&world, STEP_KIND_AWAIT);
	guest->agent.offline_bytes = 128 * MIB;
	world_gain(&world, 128 * MIB);
	expect_step(&world, STEP_KIND_AWAIT);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_AGENT_UNDO);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].bytes, 128 * MIB);
	guest->agent.offline_bytes = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* A guest that has been asked to grow by 512 MiB, of which 128 came before its driver stopped. */
static struct snapshot_guest *stalled_grow(struct world *world, uint64_t deadline_ms)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	world_add_agent(guest, 400 * MIB, 0);
	world_wish_resize(world, "g1", GIB);
	world->input.now_ms = 0;
	world->input.deadline_ms = deadline_ms;
	expect_step(world, STEP_KIND_REQUEST);
	world_gain(world, 128 * MIB);
	expect_step(world, STEP_KIND_KICK);
	world_gain(world, 0);
	return guest;
}

/* What stands in the way may go away by itself: the time is used, and nothing is only waited for. */
static void a_grow_that_stalls_is_kicked_until_its_deadline(void)
{
	struct world world;
	struct snapshot_guest *guest = stalled_grow(&world, 60000);

	for (uint32_t wait = 5000; wait <= 20000; wait *= 2) {
		expect_step(&world, STEP_KIND_AWAIT);
		CHECK_INT(world.decision.step.timeout_ms, wait);
		/* What is worth another try is a share of what is missing. */
		CHECK_INT(world.decision.step.bytes, 384 * MIB);
		world.input.now_ms += wait;
		world_gain(&world, 0);
		expect_step(&world, STEP_KIND_KICK);
		CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
		world_gain(&world, wait == 20000 ? 2 * MIB : 0);
	}
	/* It has moved: the waiting begins anew. */
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 5000);
	/* The guest has more free than it had: that is made use of at once. */
	world_gain(&world, 64 * MIB);
	expect_step(&world, STEP_KIND_KICK);
	world_gain(&world, 382 * MIB);
	/* Its waiting takes nothing off the time that onlining gets. */
	guest->agent.offline_bytes = 512 * MIB;
	for (int i = 0; i < 4; i++) {
		expect_step(&world, STEP_KIND_AWAIT);
		CHECK_INT(world.decision.step.timeout_ms, 3000);
		world_gain(&world, 1);
	}
	guest->agent.offline_bytes = 0;
	expect_step(&world, STEP_KIND_AGENT_UNDO);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* With what it has come to, which its driver is told. */
static void expect_stalled(struct world *world)
{
	expect_step(world, STEP_KIND_SETTLE);
	CHECK_INT(world->decision.step.target_bytes, 128 * MIB);
	world_gain(world, 0);
	expect_step(world, STEP_KIND_AGENT_UNDO);
	world_gain(world, 0);
	CHECK_INT(world_next(world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world->decision.remainder.items[0].code, REMAINDER_DRIVER_STALLED);
	CHECK_INT(remainder_list_bytes(&world->decision.remainder), 384 * MIB);
	world_done(world);
}

static void a_grow_that_stalls_ends(void)
{
	struct world world;
	unsigned steps = 0;

	/* Without a deadline nobody has said how long to wait. */
	stalled_grow(&world, 0);
	expect_stalled(&world);
	stalled_grow(&world, 60000);
	world.input.now_ms = 60000;
	expect_stalled(&world);
	/* One in which something seems to become free all the time. */
	stalled_grow(&world, UINT64_C(1) << 40);
	while (world_next(&world)->kind == DECISION_KIND_STEP && steps++ < 600)
		world_gain(&world, world.decision.step.kind == STEP_KIND_AWAIT ? MIB : 0);
	CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(steps <= 250);
	CHECK_INT(plan_count(&world.input, STEP_KIND_SETTLE), 1);
	world_done(&world);
}

static void a_grow_on_huge_pages_makes_room_first(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	guest->cpuset_mems = 1 << 1;
	world_wish_resize(&world, "g1", 512 * MIB + 256 * MIB);
	expect_step(&world, STEP_KIND_HOST_POOL);
	CHECK_INT(world.decision.step.node, 1);
	CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
	expect_run(&world, "host_pool request done");
	CHECK_TRUE(remainder_list_has(&world.decision.warnings, REMAINDER_NO_AGENT));
	world_done(&world);
}

static void huge_pages_are_made_for_the_cell_that_grows(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	guest->devices[0].cell = 1;
	guest->policy_mode = POLICY_MODE_MIXED;
	guest->backing_count = 2;
	for (int i = 0; i < 2; i++)
		guest->backings[i] = (struct snapshot_backing){.kind = BACKING_KIND_HUGETLB,
							       .page_bytes = 2 * MIB,
							       .bytes = 150 * MIB,
							       .cell = i,
							       .policy_mode = POLICY_MODE_BIND,
							       .policy_nodes = UINT64_C(1) << (i + 1)};
	/* The other cell's node has free ones, and more room. */
	snapshot_node(world.snapshot, 1)->pools[0].free = snapshot_node(world.snapshot, 1)->pools[0].total = 500;
	snapshot_node(world.snapshot, 2)->pools[0].free = snapshot_node(world.snapshot, 2)->pools[0].total = 28;
	world_wish_resize(&world, "g1", 512 * MIB + 256 * MIB);
	expect_step(&world, STEP_KIND_HOST_POOL);
	CHECK_INT(world.decision.step.node, 2);
	CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
	CHECK_INT(world.decision.step.bytes, 200 * MIB);
	world_done(&world);
}

/* Node 2 has as much room, and CPUs; but the guest was moved to node 1. */
static void huge_pages_are_made_where_the_guest_was_moved(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 0);
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	guest->wanted_nodes = 1 << 1;
	snapshot_node(world.snapshot, 2)->pools[0].total = snapshot_node(world.snapshot, 2)->pools[0].free = 500;
	world_wish_resize(&world, "g1", 512 * MIB + 256 * MIB);
	expect_step(&world, STEP_KIND_HOST_POOL);
	CHECK_INT(world.decision.step.node, 1);
	CHECK_INT(world.decision.step.bytes, 256 * MIB);
	/* What that node cannot give is on another one. */
	world_record(&world, STEP_STATE_FAILED, 0);
	expect_step(&world, STEP_KIND_REQUEST);
	/* Bound, it comes from where it is bound. */
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 0;
	expect_step(&world, STEP_KIND_HOST_POOL);
	CHECK_INT(world.decision.step.node, 0);
	world_done(&world);
}

static void already_there_needs_nothing(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", 512 * MIB + 2 * GIB);
	expect_run(&world, "done");
	world_done(&world);
}

static void a_shrink_frees_what_memory_does_not_cover(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", GIB);
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	CHECK_TRUE(world.decision.step.bytes >= 536 * MIB);
	CHECK_TRUE(world.decision.step.bytes <= 1400 * MIB);
	expect_run(&world, "free_huge_pages request agent_commit done");
	CHECK_INT(snapshot_guest(world.snapshot, "g1")->current_bytes, GIB);
	world_done(&world);
}

static void a_small_shrink_leaves_the_pool_alone(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", 2 * GIB);
	expect_run(&world, "request done");
	world_done(&world);
}

static void the_whole_ladder(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);
	struct step_record *record;

	guest->agent.huge_used_bytes = 192 * MIB;
	world_wish_resize(&world, "g1", 640 * MIB);
	/* 1920 MiB to go. */
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_gain(&world, 1040 * MIB);
	guest->agent.memory_available_bytes = 2040 * MIB;
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 1400 * MIB);
	/* The rest of the pool, because the request has gained since. */
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	CHECK_INT(world.decision.step.bytes, 360 * MIB);
	world_gain(&world, 360 * MIB);
	expect_step(&world, STEP_KIND_KICK);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_COMPACT);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_KICK);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 520 * MIB);
	record = world_gain(&world, 264 * MIB);
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "block 40", 64 * MIB, NULL,
			   "io_uring");
	expect_step(&world, STEP_KIND_KICK);
	world_gain(&world, 264 * MIB);
	/* The kick gained, so the lower rungs are open again; they bring nothing. */
	expect_step(&world, STEP_KIND_COMPACT);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_KICK);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "block 40", 64 * MIB, NULL,
			   "io_uring");
	expect_step(&world, STEP_KIND_SETTLE);
	CHECK_INT(world.decision.step.target_bytes, 896 * MIB - 512 * MIB);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 256 * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_PINNED);
	CHECK_INT(world.decision.remainder.items[1].code, REMAINDER_HUGE_PAGES_IN_USE);
	CHECK_INT(world.decision.remainder.items[1].bytes, 192 * MIB);
	world_done(&world);
}

static void a_rung_that_did_nothing_is_not_kicked(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	guest->agent.huge_free_bytes = 0;
	world_wish_resize(&world, "g1", GIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 100 * MIB);
	expect_step(&world, STEP_KIND_COMPACT);
	world_record(&world, STEP_STATE_FAILED, 0);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	world_record(&world, STEP_STATE_FAILED, 0);
	expect_step(&world, STEP_KIND_SETTLE);
	world_done(&world);
}

static void without_an_agent_one_kick_and_the_reason(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	memset(&guest->agent, 0, sizeof(guest->agent));
	world_wish_resize(&world, "g1", GIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 500 * MIB);
	expect_step(&world, STEP_KIND_KICK);
	world_gain(&world, 36 * MIB);
	expect_step(&world, STEP_KIND_SETTLE);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_AGENT);
	CHECK_INT(world.decision.remainder.items[0].bytes, 1000 * MIB);
	world_done(&world);
}

static void an_agent_that_goes_is_told(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	world_wish_resize(&world, "g1", GIB);
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_record(&world, STEP_STATE_FAILED, 0);
	guest->agent.state = AGENT_STATE_DISCONNECTED;
	/* What the guest can spare nobody knows any more, and there is no time to wait for who does. */
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_AGENT_LOST);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
	world_done(&world);
}

/* It has migrated, or was shut off: its definition has nothing plugged, and that is not what was wished. */
static void a_guest_that_goes_is_no_success(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	world_wish_resize(&world, "g1", 512 * MIB);
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_perform(&world);
	guest->state = GUEST_STATE_SHUT_OFF;
	guest->agent.state = AGENT_STATE_DISCONNECTED;
	guest->devices[0].current_bytes = guest->devices[0].requested_bytes = 0;
	guest->current_bytes = guest->base_bytes;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_GONE);
	/* The same of a balloon, whose guest has all of its memory then. */
	guest->device_count = 0;
	guest->has_balloon = true;
	guest->balloon_bytes = 512 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_GONE);
	world_done(&world);
}

/* What it has plugged says nothing of what was asked of the one before it. */
static void a_guest_that_was_started_anew_is_another(void)
{
	static const uint64_t plugged[] = {2 * GIB, 0};

	for (size_t i = 0; i < ARRAY_SIZE(plugged); i++) {
		struct world world;
		struct snapshot_guest *guest = stuck_guest(&world);

		world_wish_resize(&world, "g1", 512 * MIB);
		expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
		world_perform(&world);
		guest->devices[0].current_bytes = guest->devices[0].requested_bytes = plugged[i];
		guest->current_bytes = guest->base_bytes + plugged[i];
		world.input.is_another = true;
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(world.decision.remainder.count, 1);
		CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_GONE);
		CHECK_STR(world.decision.remainder.items[0].way_out, "ask again");
		world_done(&world);
	}
}

static void a_veto_is_heard(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	guest->agent.veto = true;
	world_wish_resize(&world, "g1", GIB);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_VETOED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 1536 * MIB);
	world_done(&world);
}

static void a_lying_report_keeps_the_sum_true(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	guest->agent.huge_used_bytes = guest->agent.gigantic_bytes = guest->agent.wrong_zone_bytes =
		UINT64_MAX;
	guest->agent.huge_free_bytes = guest->agent.huge_floor_bytes = UINT64_MAX;
	world_wish_resize(&world, "g1", GIB);
	world.input.deadline_ms = 500;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
	world_done(&world);
}

static void the_deadline_ends_the_ladder(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", GIB);
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_gain(&world, 600 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	struct step_record *asked = world_gain(&world, GIB);

	asked->flat = false;
	asked->state = STEP_STATE_PARTIAL;
	world.input.deadline_ms = 500;
	snapshot_guest(world.snapshot, "g1")->agent.memory_available_bytes = GIB;
	expect_step(&world, STEP_KIND_SETTLE);
	world_gain(&world, 0);
	/* Its driver was at work: it may be beyond that, and comes back to it. Once. */
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 1500);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DEADLINE);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 512 * MIB);
	world_done(&world);
}

static void restore_goes_back(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", GIB);
	world.wish.on_timeout = ON_TIMEOUT_RESTORE;
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_gain(&world, 600 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, GIB);
	world.input.deadline_ms = 500;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB);
	world_perform(&world);
	CHECK_INT(snapshot_guest(world.snapshot, "g1")->current_bytes, 512 * MIB + 2 * GIB);
	expect_run(&world, "agent_undo give_up");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
	world_done(&world);
}

/* A guest of which one device is to grow and the other to shrink. */
static struct snapshot_guest *up_and_down_guest(struct world *world)
{
	struct wish_resize *wish = &world->wish.resize;
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", GIB, 256 * MIB);
	world_add_device(guest, "vm1", GIB, 768 * MIB);
	world_wish_resize(world, "g1", 0);
	wish->device_count = 2;
	strcpy(wish->devices[0].alias, "vm0");
	wish->devices[0].requested_bytes = 512 * MIB;
	strcpy(wish->devices[1].alias, "vm1");
	wish->devices[1].requested_bytes = 128 * MIB;
	return guest;
}

/* One device up, the other down: each goes back its own way. */
static void both_ways_go_back(void)
{
	struct world world;

	up_and_down_guest(&world);
	world.wish.on_timeout = ON_TIMEOUT_RESTORE;
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 256 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 0);
	world.input.deadline_ms = 500;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm0");
	CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
	world_gain(&world, 256 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.target_bytes, 768 * MIB);
	world_done(&world);
}

static void continue_leaves_the_request(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	world_wish_resize(&world, "g1", GIB);
	world.wish.on_timeout = ON_TIMEOUT_CONTINUE;
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_gain(&world, 600 * MIB);
	/* But for a 32nd of 2560 MiB. */
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, (2048 - 920) * MIB);
	world_gain(&world, 512 * MIB);
	guest->agent.memory_available_bytes = 200 * MIB;
	world.input.deadline_ms = 500;
	expect_run(&world, "agent_commit give_up");
	CHECK_INT(guest->devices[0].requested_bytes, (2048 - 920) * MIB);
	world_done(&world);
}

/* Neither a kick nor settling puts back what somebody else has asked for. */
static void another_size_stands(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);

	world_wish_resize(&world, "g1", GIB);
	world.input.deadline_ms = 60000;
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_gain(&world, 600 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_gain(&world, 500 * MIB);
	guest->devices[0].requested_bytes = 2 * GIB;
	guest->requested_bytes = 512 * MIB + 2 * GIB;
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_SUPERSEDED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 1036 * MIB);
	/* Not where the request was refused, or nobody knows whether it was made. */
	world.history[1].state = STEP_STATE_FAILED;
	world.history[1].flat = false;
	expect_step(&world, STEP_KIND_SETTLE);
	world.history[1].state = STEP_STATE_PARTIAL;
	remainder_list_add(&world.history[1].remainder, REMAINDER_RESTARTED, "x", 0, NULL, "cut");
	CHECK_TRUE(world_next(&world)->step.kind != STEP_KIND_AGENT_COMMIT);
	world_done(&world);
}

static void libvirt_refuses(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", 2 * GIB);
	expect_step(&world, STEP_KIND_REQUEST);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_LIBVIRT_REFUSED));
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 512 * MIB);
	world_done(&world);
}

static void named_devices_are_obeyed(void)
{
	struct world world;
	struct snapshot_guest *guest = up_and_down_guest(&world);

	CHECK_INT(plan_wanted_bytes(&world.wish, guest), 1152 * MIB);
	expect_run(&world, "request request done");
	CHECK_INT(guest->devices[0].current_bytes, 512 * MIB);
	CHECK_INT(guest->devices[1].current_bytes, 128 * MIB);
	world_done(&world);
}

static void given_ranges_are_offlined_first(void)
{
	struct world world;

	stuck_guest(&world);
	world_wish_resize(&world, "g1", 2 * GIB);
	world.wish.resize.range_count = 1;
	world.wish.resize.ranges[0] = (struct snapshot_range){4 * GIB, 4 * GIB + 512 * MIB};
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.range_count, 1);
	expect_run(&world, "offline_guest_blocks request agent_commit done");
	world_done(&world);
}

static void impossible_sizes_are_refused(void)
{
	struct world world;
	struct snapshot_guest *guest = stuck_guest(&world);
	struct remainder_list blockers;
	struct failure failure;
	char text[900];

	world_wish_resize(&world, "g1", GIB);
	world_check_code(&world, "");
	world.wish.resize.target_bytes = 515 * MIB;
	world_check_code(&world, "not_block_multiple");
	plan_check(&world.input, &blockers, &failure);
	CHECK_STR(failure_format(&failure, text, sizeof(text)),
		  "guest g1: cannot resize: 3 MiB is no multiple of the block size 2 MiB (ask for "
		  "514 MiB or 516 MiB)");
	world.wish.resize.target_bytes = 256 * MIB;
	world_check_code(&world, "below_base");
	world.wish.resize.target_bytes = 4 * GIB;
	world_check_code(&world, "above_maximum");
	guest->minimum_bytes = GIB;
	world.wish.resize.target_bytes = 514 * MIB;
	world_check_code(&world, "below_floor");
	guest->minimum_bytes = 0;
	guest->agent.shrink_limit_bytes = GIB;
	world_check_code(&world, "below_floor");
	guest->agent.shrink_limit_bytes = 0;
	guest->agent.shrink_most_bytes = GIB;
	world.wish.resize.target_bytes = 2 * GIB;
	world_check_code(&world, "");
	/* Of a wish for the whole so much is asked for; a device that is named keeps its size. */
	world.wish.resize.target_bytes = GIB;
	world_check_code(&world, "");
	world.wish.resize.device_count = 1;
	strcpy(world.wish.resize.devices[0].alias, "vm0");
	world.wish.resize.devices[0].requested_bytes = 512 * MIB;
	world_check_code(&world, "below_floor");
	world.wish.resize.device_count = 0;
	guest->agent.shrink_most_bytes = 0;
	guest->agent.shrink_limit_bytes = GIB;
	world.wish.resize.target_bytes = 514 * MIB;
	guest->devices[0].size_bytes = 16 * GIB;
	guest->max_bytes = 17 * GIB;
	world.wish.resize.target_bytes = 16 * GIB;
	world_check_code(&world, "no_room");
	guest->device_count = 0;
	world_check_code(&world, "no_memory_device");
	guest->state = GUEST_STATE_SHUT_OFF;
	world_check_code(&world, "guest_not_running");
	strcpy(world.wish.guest, "nobody");
	world_check_code(&world, "unknown_guest");
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"a grow is policy, request, undo", a_grow_is_policy_request_undo},
	{"a grow keeps away from a hold", a_grow_keeps_away_from_a_hold},
	{"a grow that needs not be steered", a_grow_that_needs_not_be_steered},
	{"a grow that may land on a hold is told", a_grow_that_may_land_on_a_hold_is_told},
	{"a large grow takes the ratio", a_large_grow_takes_the_ratio},
	{"what was wrong before is not blamed", what_was_wrong_before_is_not_blamed},
	{"an unreadable policy forbids both ways", an_unreadable_policy_forbids_both_ways},
	{"plugged is not onlined", plugged_is_not_onlined},
	{"onlining takes a moment", onlining_takes_a_moment},
	{"a grow that stalls is kicked until its deadline", a_grow_that_stalls_is_kicked_until_its_deadline},
	{"a grow that stalls ends", a_grow_that_stalls_ends},
	{"a grow on huge pages makes room first", a_grow_on_huge_pages_makes_room_first},
	{"huge pages are made for the cell that grows", huge_pages_are_made_for_the_cell_that_grows},
	{"huge pages are made where the guest was moved", huge_pages_are_made_where_the_guest_was_moved},
	{"already there needs nothing", already_there_needs_nothing},
	{"a shrink frees what memory does not cover", a_shrink_frees_what_memory_does_not_cover},
	{"a small shrink leaves the pool alone", a_small_shrink_leaves_the_pool_alone},
	{"the whole ladder", the_whole_ladder},
	{"a rung that did nothing is not kicked", a_rung_that_did_nothing_is_not_kicked},
	{"without an agent one kick and the reason", without_an_agent_one_kick_and_the_reason},
	{"an agent that goes is told", an_agent_that_goes_is_told},
	{"a guest that goes is no success", a_guest_that_goes_is_no_success},
	{"a guest that was started anew is another", a_guest_that_was_started_anew_is_another},
	{"a veto is heard", a_veto_is_heard},
	{"a lying report keeps the sum true", a_lying_report_keeps_the_sum_true},
	{"the deadline ends the ladder", the_deadline_ends_the_ladder},
	{"restore goes back", restore_goes_back},
	{"both ways go back", both_ways_go_back},
	{"continue leaves the request", continue_leaves_the_request},
	{"another size stands", another_size_stands},
	{"libvirt refuses", libvirt_refuses},
	{"named devices are obeyed", named_devices_are_obeyed},
	{"given ranges are offlined first", given_ranges_are_offlined_first},
	{"impossible sizes are refused", impossible_sizes_are_refused},
};

int main(void)
{
	return unit_main("resize_next", cases, sizeof(cases) / sizeof(cases[0]));
}
