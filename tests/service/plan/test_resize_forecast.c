/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "resize_priv.h"
#include "unit.h"

/* 512 MiB base, two devices of 1 GiB each, full; 2 GiB of 2560 MiB available. */
static struct snapshot_guest *told_guest(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	for (int i = 0; i < 2; i++) {
		struct snapshot_device *device = world_add_device(guest, i ? "vm1" : "vm0", GIB, GIB);

		device->address = (4 + 4 * (uint64_t)i) * GIB;
		device->cell = i;
	}
	world_add_agent(guest, 2 * GIB, 0);
	guest->agent.region_count = 2;
	for (int i = 0; i < 2; i++)
		guest->agent.regions[i] = (struct snapshot_region){guest->devices[i].address,
								   guest->devices[i].address + GIB, GIB, GIB, GIB, i};
	world_wish_resize(world, "g1", 512 * MIB + GIB);
	return guest;
}

static void expect(struct world *world, uint64_t first_mib, uint64_t second_mib)
{
	struct resize_forecast forecast;
	struct remainder_list list = {0};
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g1");

	CHECK_TRUE(resize_forecast(&world->input, guest, &forecast));
	CHECK_INT(forecast.device_count, 2);
	CHECK_INT(forecast.devices[0].leaves_bytes / MIB, first_mib);
	CHECK_INT(forecast.devices[1].leaves_bytes / MIB, second_mib);
	CHECK_INT(forecast.leaves_bytes / MIB, first_mib + second_mib);
	CHECK_INT(plan_forecast_bytes(&world->input), guest->current_bytes - forecast.leaves_bytes);
	/* Every byte that would stay has its reason. */
	resize_remainder_forecast(&world->input, guest, &forecast, &list);
	CHECK_INT(remainder_list_bytes(&list), forecast.asked_bytes - forecast.leaves_bytes);
}

static void what_is_free_and_movable_leaves(void)
{
	struct remainder_list list = {0};
	struct resize_forecast forecast;
	struct world world;
	struct snapshot_guest *guest = told_guest(&world);

	expect(&world, 512, 512);
	/* Each as much as it has outside the kernel's zones. */
	world.wish.resize.target_bytes = 512 * MIB;
	guest->agent.regions[1].movable_bytes = 300 * MIB;
	guest->agent.wrong_zone_bytes = 724 * MIB;
	expect(&world, 1024, 300);
	CHECK_TRUE(resize_forecast(&world.input, guest, &forecast));
	CHECK_TRUE(forecast.devices[1].zones_told);
	CHECK_INT(forecast.devices[1].movable_bytes, 300 * MIB);
	CHECK_INT(forecast.devices[1].kernel_bytes, 724 * MIB);
	CHECK_INT(forecast.devices[1].offline_bytes, 0);
	guest->agent.regions[1].online_bytes -= 128 * MIB;
	CHECK_TRUE(resize_forecast(&world.input, guest, &forecast));
	CHECK_INT(forecast.devices[1].kernel_bytes, 596 * MIB);
	CHECK_INT(forecast.devices[1].offline_bytes, 128 * MIB);
	guest->agent.regions[1].online_bytes += 128 * MIB;
	/* Where it is known what is in the blocks, a kernel's zone gives what the kernel does not use. */
	guest->agent.regions[1].has_holders = true;
	guest->agent.regions[1].holders = (struct snapshot_holders){.counted_bytes = GIB, .kernel_bytes = 96 * MIB,
								    .pinned_bytes = 4 * MIB};
	expect(&world, 1024, 924);
	guest->agent.wrong_zone_bytes = 0;
	CHECK_TRUE(resize_forecast(&world.input, guest, &forecast));
	resize_remainder_forecast(&world.input, guest, &forecast, &list);
	CHECK_INT(list.count, 2);
	CHECK_INT(list.items[0].code, REMAINDER_PINNED);
	CHECK_INT(list.items[0].bytes, 4 * MIB);
	CHECK_INT(list.items[1].code, REMAINDER_KERNEL_ZONE);
	CHECK_INT(list.items[1].bytes, 96 * MIB);
	world_done(&world);
}

/* What is free counts but for a 32nd of the guest, what is offline leaves as it is, pools give what is above the floor. */
static void no_more_than_memory_covers(void)
{
	struct world world;
	struct snapshot_guest *guest = told_guest(&world);
	uint64_t keep = 2560 / 32;

	guest->agent.memory_available_bytes = 600 * MIB;
	expect(&world, 512, 600 - keep - 512);
	/* Half a block is not asked for. */
	guest->agent.memory_available_bytes = 601 * MIB;
	expect(&world, 512, 600 - keep - 512);
	guest->agent.memory_available_bytes = 600 * MIB;
	guest->agent.offline_bytes = 128 * MIB;
	expect(&world, 512, 600 - keep + 128 - 512);
	guest->agent.huge_free_bytes = 200 * MIB;
	guest->agent.huge_floor_bytes = 50 * MIB;
	expect(&world, 512, 600 - keep + 128 + 150 - 512);
	guest->agent.memory_available_bytes = 0;
	guest->agent.huge_used_bytes = 100 * MIB;
	expect(&world, 128 + 150, 0);
	guest->agent.veto = true;
	expect(&world, 0, 0);
	world_done(&world);
}

/* What pools have in boot memory is in nobody's way, and 1 GiB pages in a device are none of the kernel's own. */
static void only_huge_pages_in_devices_are_blamed(void)
{
	struct world world;
	struct resize_forecast forecast;
	struct snapshot_guest *guest = told_guest(&world);
	struct remainder_list list = {0};

	world.wish.resize.target_bytes = 512 * MIB;
	guest->agent.gigantic_bytes = GIB;
	guest->agent.huge_used_bytes = GIB + 300 * MIB;
	for (int i = 0; i < 2; i++) {
		guest->agent.regions[i].has_holders = true;
		guest->agent.regions[i].holders.counted_bytes = GIB;
	}
	guest->agent.regions[0].holders.huge_used_bytes = 100 * MIB;
	guest->agent.memory_available_bytes = GIB;
	CHECK_TRUE(resize_forecast(&world.input, guest, &forecast));
	resize_remainder_forecast(&world.input, guest, &forecast, &list);
	CHECK_INT(list.items[0].code, REMAINDER_HUGE_PAGES_IN_USE);
	CHECK_INT(list.items[0].bytes, 100 * MIB);
	CHECK_TRUE(!remainder_list_has(&list, REMAINDER_GIGANTIC_PAGES));
	/* The second device is one such page. */
	guest->agent.memory_available_bytes = 2 * GIB;
	guest->agent.regions[1].holders.huge_used_bytes = guest->agent.regions[1].holders.kernel_bytes = GIB;
	expect(&world, 1024, 0);
	CHECK_TRUE(resize_forecast(&world.input, guest, &forecast));
	memset(&list, 0, sizeof(list));
	resize_remainder_forecast(&world.input, guest, &forecast, &list);
	CHECK_INT(list.items[0].code, REMAINDER_GIGANTIC_PAGES);
	CHECK_INT(list.items[0].bytes, GIB);
	CHECK_INT(list.count, 1);
	world_done(&world);
}

/* In a kernel zone the driver gives up at a page of 1 GiB: what lies beside it stays for that page, and not for the kernel. */
static void nothing_is_promised_behind_a_gigantic_page(void)
{
	struct world world;
	struct resize_forecast forecast;
	struct snapshot_guest *guest = told_guest(&world);
	struct snapshot_region *region = &guest->agent.regions[1];
	struct remainder_list list = {0};

	world.wish.resize.target_bytes = 512 * MIB;
	guest->agent.memory_available_bytes = 4 * GIB;
	guest->devices[1].current_bytes += GIB;
	guest->devices[1].size_bytes += GIB;
	guest->current_bytes += GIB;
	guest->agent.regions[0].has_holders = region->has_holders = true;
	guest->agent.regions[0].holders.counted_bytes = GIB;
	region->plugged_bytes = region->online_bytes = 2 * GIB;
	region->movable_bytes = 128 * MIB;
	guest->agent.wrong_zone_bytes = 2 * GIB - 128 * MIB;
	guest->agent.gigantic_bytes = guest->agent.huge_used_bytes = GIB;
	region->holders = (struct snapshot_holders){
		.counted_bytes = 2 * GIB, .huge_used_bytes = GIB, .kernel_bytes = GIB + 36 * MIB};
	/* Of the second device what is movable. */
	expect(&world, 1024, 128);
	CHECK_TRUE(resize_forecast(&world.input, guest, &forecast));
	resize_remainder_forecast(&world.input, guest, &forecast, &list);
	CHECK_INT(list.count, 3);
	CHECK_INT(list.items[0].code, REMAINDER_KERNEL_ZONE);
	CHECK_INT(list.items[0].bytes, 36 * MIB);
	CHECK_INT(list.items[1].code, REMAINDER_GIGANTIC_PAGES);
	CHECK_INT(list.items[1].bytes, GIB);
	CHECK_INT(list.items[2].code, REMAINDER_GIGANTIC_PAGES);
	CHECK_INT(list.items[2].bytes, GIB - 128 * MIB - 36 * MIB);
	/* One that is free is given up, and stands in nobody's way. */
	guest->agent.gigantic_bytes = guest->agent.huge_used_bytes = 0;
	expect(&world, 1024, 1024 - 36);
	world_done(&world);
}

static void who_tells_nothing_promises_nothing(void)
{
	struct resize_forecast forecast;
	struct world world;
	struct snapshot_guest *guest = told_guest(&world);

	guest->agent.reported = false;
	CHECK_TRUE(!resize_forecast(&world.input, guest, &forecast));
	CHECK_INT(plan_forecast_bytes(&world.input), 0);
	guest->agent.reported = true;
	world.wish.resize.target_bytes = guest->current_bytes;
	CHECK_INT(plan_forecast_bytes(&world.input), 0);
	world_wish_move(&world, "g1", 1);
	CHECK_INT(plan_forecast_bytes(&world.input), 0);
	world_done(&world);
}

static void a_liar_does_not_overflow(void)
{
	struct world world;
	struct snapshot_guest *guest = told_guest(&world);

	guest->agent.regions[0].online_bytes = UINT64_MAX;
	guest->agent.regions[0].movable_bytes = 0;
	guest->agent.memory_total_bytes = guest->agent.keep_bytes = UINT64_MAX;
	guest->agent.huge_floor_bytes = UINT64_MAX;
	/* Nothing of the first can leave, so all is asked of the other, and memory covers none of it. */
	world.wish.resize.target_bytes = 512 * MIB + 512 * MIB;
	expect(&world, 0, 0);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"what is free and movable leaves", what_is_free_and_movable_leaves},
	{"no more than memory covers", no_more_than_memory_covers},
	{"only huge pages in devices are blamed", only_huge_pages_in_devices_are_blamed},
	{"nothing is promised behind a gigantic page", nothing_is_promised_behind_a_gigantic_page},
	{"who tells nothing promises nothing", who_tells_nothing_promises_nothing},
	{"a liar does not overflow", a_liar_does_not_overflow},
};

int main(void)
{
	return unit_main("resize_forecast", cases, sizeof(cases) / sizeof(cases[0]));
}
