/* SPDX-License-Identifier: Apache-2.0 */
#include "movability.h"

#include <string.h>
#include "unit.h"

#define BLOCK (UINT64_C(128) << 20)

static void add(struct snapshot *snapshot, int node, enum block_state state, enum block_zone zone, bool hotpluggable)
{
	struct snapshot_block *block = snapshot_add_block(snapshot);

	*block = (struct snapshot_block){.id = snapshot->block_count, .node = node, .size_bytes = BLOCK, .state = state,
					 .zone = zone, .hotpluggable = hotpluggable};
}

static void answers_come_from_zones(void)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct movability movability;

	add(snapshot, 1, BLOCK_STATE_ONLINE, BLOCK_ZONE_MOVABLE, false);
	add(snapshot, 1, BLOCK_STATE_OFFLINE, BLOCK_ZONE_NORMAL, false);
	add(snapshot, 2, BLOCK_STATE_ONLINE, BLOCK_ZONE_NORMAL, true);
	movability = movability_of_node(snapshot, 0);
	CHECK_INT(movability_answer(&movability), ANSWER_UNKNOWN);
	movability = movability_of_node(snapshot, 1);
	CHECK_INT(movability_answer(&movability), ANSWER_YES);
	movability = movability_of_node(snapshot, 2);
	CHECK_INT(movability_answer(&movability), ANSWER_NO);
	add(snapshot, 2, BLOCK_STATE_ONLINE, BLOCK_ZONE_MOVABLE, true);
	add(snapshot, 2, BLOCK_STATE_GOING_OFFLINE, BLOCK_ZONE_NONE, false);
	movability = movability_of_node(snapshot, 2);
	CHECK_INT(movability_answer(&movability), ANSWER_PARTLY);
	CHECK_INT(movability.blocks, 3);
	CHECK_INT(movability.fixed_blocks, 2);
	CHECK_INT(movability.fixed_hotpluggable, 1);
	CHECK_INT(movability.fixed_bytes, 2 * BLOCK);
}

/* By what the firmware says, and by what the kernel was told at boot. */
static void ways_out_are_true(void)
{
	static const struct {
		bool told, movable_node;
		size_t marked;		/* of two blocks */
		const char *begins;	/* NULL: the usual one */
	} table[] = {
		{false, false, 0, NULL},
		{false, true, 2, NULL},
		{true, false, 0, "boot with kernelcore= (part of each node is movable); movable_node"},
		{true, false, 1, "boot with kernelcore= (part of each node is movable); movable_node"},
		{true, false, 2, "boot with movable_node: the firmware calls it hot-pluggable"},
		{true, true, 0, "booted with movable_node, but the firmware does not call it hot-pluggable"},
		{true, true, 2, "booted with movable_node, and it is hot-pluggable: online it as movable"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
		struct remainder_list list = {0};
		struct movability movability;
		const char *way_out;

		snapshot->hotplug_told = table[i].told;
		snapshot->movable_node = table[i].movable_node;
		for (size_t block = 0; block < 2; block++)
			add(snapshot, 0, BLOCK_STATE_ONLINE, BLOCK_ZONE_NORMAL, block < table[i].marked);
		movability = movability_of_node(snapshot, 0);
		way_out = movability_way_out(snapshot, &movability);
		movability_remain(&movability, snapshot, "node 0", &list);
		CHECK_INT(list.count, 1);
		CHECK_INT(list.items[0].code, REMAINDER_KERNEL_MEMORY);
		CHECK_INT(list.items[0].bytes, 2 * BLOCK);
		CHECK_STR(list.items[0].detail, "2 of 2 blocks are online in a kernel zone");
		CHECK_TRUE(!way_out == !table[i].begins);
		if (!way_out)
			continue;
		CHECK_INT(strncmp(way_out, table[i].begins, strlen(table[i].begins)), 0);
		/* It is not cut. */
		CHECK_STR(list.items[0].way_out, way_out);
	}
}

static void nothing_stays_of_what_is_movable(void)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct remainder_list list = {0};
	struct movability movability;

	snapshot->hotplug_told = true;
	add(snapshot, 0, BLOCK_STATE_ONLINE, BLOCK_ZONE_MOVABLE, false);
	movability = movability_of_node(snapshot, 0);
	movability_remain(&movability, snapshot, "node 0", &list);
	CHECK_INT(list.count, 0);
	CHECK_TRUE(!movability_way_out(snapshot, &movability));
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"answers come from zones", answers_come_from_zones},
		{"ways out are true", ways_out_are_true},
		{"nothing stays of what is movable", nothing_stays_of_what_is_movable},
	};

	return unit_main("service/model/movability", cases, sizeof(cases) / sizeof(cases[0]));
}
