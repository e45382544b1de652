/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "resize_priv.h"
#include "unit.h"

/* 512 MiB base, a device of 1 GiB with 256 MiB at 4 GiB and one with 768 MiB at 8 GiB, each in its cell. */
static struct snapshot_guest *two_devices(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", GIB, 256 * MIB)->address = 4 * GIB;
	world_add_device(guest, "vm1", GIB, 768 * MIB)->address = 8 * GIB;
	guest->devices[1].cell = 1;
	return guest;
}

static void tell_region(struct snapshot_guest *guest, size_t device, uint64_t online, uint64_t movable)
{
	struct snapshot_agent *agent = &guest->agent;

	agent->region_count = guest->device_count;
	agent->regions[device] = (struct snapshot_region){.start = guest->devices[device].address,
							  .end = guest->devices[device].address + GIB,
							  .plugged_bytes = guest->devices[device].current_bytes,
							  .online_bytes = online,
							  .movable_bytes = movable,
							  .node = (int)device};
}

static void expect(struct world *world, uint64_t first_mib, uint64_t second_mib)
{
	uint64_t targets[SNAPSHOT_DEVICES_MAX];

	world->input.history = world->history;
	world->input.history_count = world->history_count;
	resize_targets(&world->input, snapshot_guest(world->snapshot, "g1"), targets);
	CHECK_INT(targets[0] / MIB, first_mib);
	CHECK_INT(targets[1] / MIB, second_mib);
}

static void each_gives_its_share(void)
{
	struct world world;
	struct snapshot_guest *guest = two_devices(&world);

	/* Nothing is known: by what they have. */
	world_wish_resize(&world, "g1", 512 * MIB + 512 * MIB);
	expect(&world, 128, 384);
	world.wish.resize.target_bytes = 512 * MIB;
	expect(&world, 0, 0);
	world.wish.resize.target_bytes = 512 * MIB + 1022 * MIB;
	expect(&world, 254, 768);
	/* Of the larger one only 128 MiB lie where they can leave from. */
	world_add_agent(guest, GIB, 0);
	tell_region(guest, 0, 256 * MIB, 256 * MIB);
	tell_region(guest, 1, 768 * MIB, 128 * MIB);
	world.wish.resize.target_bytes = 512 * MIB + 832 * MIB;
	expect(&world, 128, 704);
	/* More than both can give is asked of them all the same. */
	world.wish.resize.target_bytes = 512 * MIB + 512 * MIB;
	expect(&world, 0, 512);
	world_done(&world);
}

static void what_is_asked_stays_the_goal(void)
{
	struct world world;
	struct snapshot_guest *guest = two_devices(&world);

	world_wish_resize(&world, "g1", 512 * MIB + 512 * MIB);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm0");
	CHECK_INT(world.decision.step.target_bytes, 128 * MIB);
	/* Slow: the other is not asked for more because of it. */
	world_gain(&world, 28 * MIB);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.target_bytes, 384 * MIB);
	CHECK_INT(resize_before(&world.input, guest, &guest->devices[0]), 256 * MIB);
	world_done(&world);
}

static void growth_goes_where_room_is(void)
{
	struct world world;

	two_devices(&world);
	world_wish_resize(&world, "g1", 512 * MIB + 1280 * MIB);
	expect(&world, 512, 768);
	world.wish.resize.target_bytes = 512 * MIB + 2 * GIB;
	expect(&world, 1024, 1024);
	world_done(&world);
}

/* The first cell is bound to node 0, the second to node 2; each has 700 MiB and some beyond the reserve. */
static struct snapshot_guest *two_bound_cells(struct world *world)
{
	struct snapshot_guest *guest = two_devices(world);

	guest->policy_mode = POLICY_MODE_MIXED;
	guest->backing_count = 2;
	for (int i = 0; i < 2; i++) {
		guest->backings[i] = (struct snapshot_backing){BACKING_KIND_MEMFD, 4096, 150 * MIB, i};
		guest->backings[i].policy_mode = POLICY_MODE_BIND;
		guest->backings[i].policy_nodes = i ? 1 << 2 : 1 << 0;
	}
	guest->devices[0].current_bytes = guest->devices[1].current_bytes = 0;
	guest->current_bytes = guest->requested_bytes = 512 * MIB;
	return guest;
}

static void room_is_that_of_the_own_nodes(void)
{
	struct world world;
	struct snapshot_guest *guest = two_bound_cells(&world);
	struct remainder_list blockers;
	struct failure failure;

	CHECK_INT(resize_device_nodes(&world.input, guest, &guest->devices[0]), 1 << 0);
	CHECK_INT(resize_device_nodes(&world.input, guest, &guest->devices[1]), 1 << 2);
	world_wish_resize(&world, "g1", 0);
	world.wish.resize.device_count = 1;
	strcpy(world.wish.resize.devices[0].alias, "vm1");
	world.wish.resize.devices[0].requested_bytes = 600 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
	/* The other cell's node would have it, and QEMU would be killed. */
	snapshot_node(world.snapshot, 2)->free_bytes = 300 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "no_room");
	CHECK_INT(blockers.items[0].bytes, 500 * MIB);
	CHECK_STR(blockers.items[0].detail, "vm1 needs 600 MiB; beyond the reserve there is: node 2 100 MiB");
	/* Where nobody has said which, the one that has room grows. */
	world_wish_resize(&world, "g1", 512 * MIB + 600 * MIB);
	expect(&world, 600, 0);
	CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
	/* Neither alone: each what its nodes have. */
	world.wish.resize.target_bytes = 512 * MIB + 1000 * MIB;
	snapshot_node(world.snapshot, 2)->free_bytes = 600 * MIB;
	expect(&world, 1000, 0);
	snapshot_node(world.snapshot, 0)->free_bytes = 900 * MIB;
	expect(&world, 700, 300);
	CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
	snapshot_node(world.snapshot, 0)->free_bytes = 700 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	world_done(&world);
}

static void named_ranges_choose_the_device(void)
{
	struct world world;
	struct snapshot_guest *guest = two_devices(&world);

	world_wish_resize(&world, "g1", 512 * MIB + 768 * MIB);
	world.wish.resize.range_count = 2;
	world.wish.resize.ranges[0] = (struct snapshot_range){4 * GIB, 4 * GIB + 128 * MIB};
	world.wish.resize.ranges[1] = (struct snapshot_range){3 * GIB, 4 * GIB};
	CHECK_INT(resize_named_bytes(&world.input, guest, &guest->devices[0]), 128 * MIB);
	CHECK_INT(resize_named_bytes(&world.input, guest, &guest->devices[1]), 0);
	/* 128 MiB of the first, and of the other half in proportion. */
	expect(&world, 108, 660);
	/* Where its place is not known nothing is in it. */
	guest->devices[0].address = 0;
	CHECK_INT(resize_named_bytes(&world.input, guest, &guest->devices[0]), 0);
	world_done(&world);
}

static void a_share_is_shifted_once(void)
{
	struct world world;
	struct snapshot_guest *guest = two_devices(&world);
	uint64_t targets[SNAPSHOT_DEVICES_MAX];

	world_wish_resize(&world, "g1", 512 * MIB + 512 * MIB);
	world_next(&world);
	world_gain(&world, 28 * MIB);
	world_next(&world);
	world_gain(&world, 384 * MIB);
	resize_targets(&world.input, guest, targets);
	CHECK_INT(resize_shift_bytes(&world.input, guest, targets, 0), 100 * MIB);
	/* It has nothing missing. */
	CHECK_INT(resize_shift_bytes(&world.input, guest, targets, 1), 0);
	/* All that the other has lies in a kernel zone. */
	world_add_agent(guest, GIB, 0);
	tell_region(guest, 0, 228 * MIB, 228 * MIB);
	tell_region(guest, 1, 384 * MIB, 0);
	CHECK_INT(resize_shift_bytes(&world.input, guest, targets, 0), 0);
	memset(&guest->agent, 0, sizeof(guest->agent));
	/* Devices that were named have no say in each other's size. */
	world.wish.resize.device_count = 1;
	CHECK_INT(resize_shift_bytes(&world.input, guest, targets, 0), 0);
	world.wish.resize.device_count = 0;
	world.decision.step.target_bytes = 228 * MIB;
	strcpy(world.decision.step.text, RESIZE_STUCK_MARK);
	strcpy(world.decision.step.device, "vm0");
	world_gain(&world, 0);
	expect(&world, 228, 284);
	CHECK_INT(resize_shift_bytes(&world.input, guest, targets, 0), 0);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"each gives its share", each_gives_its_share},
	{"what is asked stays the goal", what_is_asked_stays_the_goal},
	{"growth goes where room is", growth_goes_where_room_is},
	{"room is that of the own nodes", room_is_that_of_the_own_nodes},
	{"named ranges choose the device", named_ranges_choose_the_device},
	{"a share is shifted once", a_share_is_shifted_once},
};

int main(void)
{
	return unit_main("resize_targets", cases, sizeof(cases) / sizeof(cases[0]));
}
