/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit.h"

static void arrays_grow_and_are_found(void)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new(), *copy = NULL;

	for (int i = 0; i < 37; i++) {
		struct snapshot_guest *guest = snapshot_add_guest(snapshot);
		struct snapshot_block *block = snapshot_add_block(snapshot);

		CHECK_INT(guest->pid, 0);
		snprintf(guest->name, sizeof(guest->name), "g%d", i);
		snprintf(guest->uuid, sizeof(guest->uuid), "uuid-%d", i);
		block->id = (uint64_t)i;
	}
	snapshot_add_node(snapshot)->id = 2;
	strcpy(snapshot_add_dimm(snapshot)->id, "acpi-MP00");
	CHECK_STR(snapshot_guest(snapshot, "g30")->uuid, "uuid-30");
	CHECK_STR(snapshot_guest(snapshot, "uuid-5")->name, "g5");
	CHECK_TRUE(!snapshot_guest(snapshot, "none"));
	CHECK_TRUE(!snapshot_node(snapshot, 0));
	CHECK_TRUE(snapshot_node(snapshot, 2) != NULL);
	CHECK_TRUE(snapshot_dimm(snapshot, "acpi-MP00") != NULL);
	CHECK_TRUE(!snapshot_block(snapshot, 37));

	/* A copy has no spare capacity and must grow all the same. */
	copy = snapshot_copy(snapshot);
	for (int i = 0; i < 40; i++)
		snapshot_add_guest(copy);
	CHECK_INT(copy->guest_count, 77);
	CHECK_INT(snapshot->guest_count, 37);
	CHECK_STR(snapshot_guest(copy, "g36")->uuid, "uuid-36");
}

static void holds_cover_ranges_and_nodes(void)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct snapshot_block *block = snapshot_add_block(snapshot);
	struct snapshot_hold *hold;

	*block =
		(struct snapshot_block){.id = 64, .start = 0x1000, .size_bytes = 0x1000, .node = 3};
	hold = snapshot_add_hold(snapshot);
	strcpy(hold->drain, "d1");
	hold->node = -1;
	hold->range_count = 1;
	hold->ranges[0] = (struct snapshot_range){0x1800, 0x1900};
	CHECK_TRUE(snapshot_hold_has(hold, block));
	hold->ranges[0] = (struct snapshot_range){0x2000, 0x2100};
	CHECK_TRUE(!snapshot_hold_has(hold, block));
	hold->ranges[0] = (struct snapshot_range){0x800, 0x1000};
	CHECK_TRUE(!snapshot_hold_has(hold, block));
	hold->node = 3;
	CHECK_TRUE(snapshot_hold_has(hold, block));
	hold->node = -1;
	hold->ranges[0] = (struct snapshot_range){0x1fff, 0x2100};
	CHECK_TRUE(snapshot_hold_has(hold, block));
	CHECK_INT(snapshot_held_nodes(snapshot, NULL), 1 << 3);
	CHECK_INT(snapshot_held_nodes(snapshot, "d1"), 0);
	hold = snapshot_add_hold(snapshot);
	hold->node = 1;
	CHECK_INT(snapshot_held_nodes(snapshot, "d1"), 1 << 1);
}

/* libvirt's word; or the agent's, where one size has one place. */
static void a_memory_device_has_a_place(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct snapshot_device *device = &guest->devices[0];

	guest->device_count = 2;
	device->size_bytes = 0x40000000;
	guest->devices[1].size_bytes = 0x80000000;
	guest->agent.region_count = 2;
	guest->agent.regions[0] = (struct snapshot_region){0x200000000, 0x280000000};
	guest->agent.regions[1] = (struct snapshot_region){0x300000000, 0x340000000};
	guest->agent.reported = true;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0);
	guest->agent.state = AGENT_STATE_READY;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0x300000000);
	CHECK_INT(snapshot_guest_device_address(guest, &guest->devices[1]), 0x200000000);
	guest->agent.reported = false;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0);
	guest->agent.reported = true;
	/* Two of a size, of the guest's or as the agent says. */
	guest->devices[1].size_bytes = device->size_bytes;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0);
	guest->devices[1].size_bytes = 0x80000000;
	guest->agent.regions[0].end = 0x240000000;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0);
	CHECK_INT(snapshot_guest_device_address(guest, &guest->devices[1]), 0);
	/* Of one size, each in a cell of its own. */
	guest->devices[1].size_bytes = device->size_bytes;
	guest->devices[1].cell = 1;
	guest->agent.regions[1].node = 1;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0x200000000);
	CHECK_INT(snapshot_guest_device_address(guest, &guest->devices[1]), 0x300000000);
	CHECK_TRUE(snapshot_guest_region(guest, &guest->devices[1]) == &guest->agent.regions[1]);
	device->address = 0x100000000;
	CHECK_INT(snapshot_guest_device_address(guest, device), 0x100000000);
	CHECK_TRUE(snapshot_guest_region(guest, device) == NULL);
	/* What was surveyed of another device that was there is not of this one. */
	CHECK_TRUE(snapshot_guest_residency(guest, device) == NULL);
	guest->residency_count = 1;
	guest->residencies[0].address = device->address;
	guest->residencies[0].size_bytes = device->size_bytes;
	CHECK_TRUE(snapshot_guest_residency(guest, device) == &guest->residencies[0]);
	CHECK_TRUE(snapshot_guest_residency(guest, &guest->devices[1]) == NULL);
	device->size_bytes *= 2;
	CHECK_TRUE(snapshot_guest_residency(guest, device) == NULL);
	free(guest);
}

static void what_a_dimm_has_of_a_guest_is_known_or_not(void)
{
	struct snapshot_dimm dimm = {.node = 3, .range_count = 1};
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));

	/* One that does not run has nothing. */
	CHECK_TRUE(snapshot_guest_dimm_is_told(guest, &dimm));
	guest->pid = 5;
	CHECK_TRUE(!snapshot_guest_dimm_is_told(guest, &dimm));
	/* Nothing on its node is nothing in it. */
	guest->surveyed = true;
	CHECK_TRUE(snapshot_guest_dimm_is_told(guest, &dimm));
	dimm.node = -1;
	CHECK_TRUE(!snapshot_guest_dimm_is_told(guest, &dimm));
	dimm.node = 3;
	guest->node_bytes[3] = 1;
	CHECK_TRUE(!snapshot_guest_dimm_is_told(guest, &dimm));
	guest->dimms_told = true;
	CHECK_TRUE(snapshot_guest_dimm_is_told(guest, &dimm));
	/* Nor has anybody anything in an empty slot. */
	guest->dimms_told = false;
	dimm.range_count = 0;
	CHECK_TRUE(snapshot_guest_dimm_is_told(guest, &dimm));
	free(guest);
}

static void cpus_are_counted(void)
{
	static const struct {
		const char *cpus;
		unsigned count;
	} rows[] = {{"", 0},	  {"0", 1},   {"0-3", 4}, {"0-3,8", 5}, {"1,3,5-6", 4},
		    {"3-1", 0}, {"x", 0}, {"0-", 0},	{"2,x", 1},   {"0;1", 1}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct snapshot_node node = {0};

		strcpy(node.cpus, rows[i].cpus);
		CHECK_INT(snapshot_node_cpu_count(&node), rows[i].count);
	}
}

static void ranges_have_bytes(void)
{
	const struct snapshot_range ranges[] = {{0x1000, 0x3000}, {0x8000, 0x8000}, {0x9000, 0xa000}};
	const struct snapshot_range others[] = {{0x2000, 0x9800}, {0, 0x800}};

	CHECK_INT(snapshot_ranges_bytes(ranges, 0), 0);
	CHECK_INT(snapshot_ranges_bytes(ranges, 1), 0x2000);
	CHECK_INT(snapshot_ranges_bytes(ranges, 3), 0x3000);
	CHECK_INT(snapshot_ranges_shared(ranges, 3, others, 2), 0x1800);
}

static void names_go_both_ways(void)
{
	for (int i = 0; i < AGENT_STATE_COUNT; i++)
		CHECK_INT(agent_state_from_name(agent_state_name((enum agent_state)i)), i);
	for (int i = 0; i < SNAPSHOT_DIMM_COUNT; i++)
		CHECK_INT(snapshot_dimm_state_from_name(
				  snapshot_dimm_state_name((enum snapshot_dimm_state)i)),
			  i);
	for (int i = 0; i < BLOCK_ZONE_COUNT; i++)
		CHECK_INT(block_zone_from_name(block_zone_name((enum block_zone)i)), i);
	for (int i = 0; i < POLICY_MODE_COUNT; i++)
		CHECK_INT(policy_mode_from_name(policy_mode_name((enum policy_mode)i)), i);
	for (int i = 0; i < NUMATUNE_MODE_COUNT; i++)
		CHECK_INT(numatune_mode_from_name(numatune_mode_name((enum numatune_mode)i)), i);
	for (int i = 0; i < GUEST_STATE_COUNT; i++)
		CHECK_INT(guest_state_from_name(guest_state_name((enum guest_state)i)), i);
	for (int i = 0; i < BACKING_KIND_COUNT; i++)
		CHECK_INT(backing_kind_from_name(backing_kind_name((enum backing_kind)i)), i);
}

static const struct unit_case cases[] = {
	{"arrays grow and are found", arrays_grow_and_are_found},
	{"holds cover ranges and nodes", holds_cover_ranges_and_nodes},
	{"a memory device has a place", a_memory_device_has_a_place},
	{"what a DIMM has of a guest is known or not", what_a_dimm_has_of_a_guest_is_known_or_not},
	{"ranges have bytes", ranges_have_bytes},
	{"CPUs are counted", cpus_are_counted},
	{"names go both ways", names_go_both_ways},
};

int main(void)
{
	return unit_main("snapshot", cases, sizeof(cases) / sizeof(cases[0]));
}
