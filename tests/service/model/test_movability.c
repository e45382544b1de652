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

/* What no memory device has was there at boot; where no device is known nothing is said of that. */
static void boot_memory_is_told_apart(void)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct remainder_list list = {0};
	struct movability movability;
	struct snapshot_dimm *dimm;

	for (size_t i = 0; i < 3; i++) {
		add(snapshot, 0, BLOCK_STATE_ONLINE, i ? BLOCK_ZONE_NORMAL : BLOCK_ZONE_MOVABLE, false);
		snapshot->blocks[i].start = i * BLOCK;
	}
	movability = movability_of_node(snapshot, 0);
	CHECK_INT(movability.fixed_boot, 0);
	dimm = snapshot_add_dimm(snapshot);
	dimm->kind = DIMM_KIND_SMBIOS;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){0, 2 * BLOCK};
	movability = movability_of_node(snapshot, 0);
	CHECK_INT(movability.fixed_boot, 2);
	snapshot->dimms[0].kind = DIMM_KIND_ACPI;
	movability = movability_of_node(snapshot, 0);
	CHECK_INT(movability.fixed_boot, 1);
	movability_remain(&movability, snapshot, "node 0", &list);
	CHECK_STR(list.items[0].detail, "2 of 3 blocks are online in a kernel zone, 1 of them boot memory, of no memory device");
}

static void set_pools(struct snapshot *snapshot, uint64_t page_bytes, uint64_t total, uint64_t free, uint64_t elsewhere)
{
	for (int id = 0; id < 2; id++) {
		struct snapshot_node *node = snapshot_add_node(snapshot);

		node->id = id;
		node->pool_count = 1;
		node->pools[0] = (struct snapshot_pool){.page_bytes = page_bytes, .total = id ? elsewhere : total,
							.free = id ? elsewhere : free};
	}
}

/* Those in use need as many free ones elsewhere; free ones hinder nobody; smaller ones are made where they are needed. */
static void gigantic_pages_are_told(void)
{
	static const struct {
		uint64_t page_mib, total, free, elsewhere;
		bool is_barred;
		const char *way_out;	/* its beginning; NULL: nothing is told */
	} table[] = {
		{1024, 4, 1, 0, true, "stop what uses 3 of them"},
		{1024, 4, 1, 2, true, "stop what uses 1 of them"},
		{1024, 4, 1, 3, false, "allow gigantic_pages"},
		{1024, 4, 4, 0, false, "free ones leave with a drain"},
		{1024, 0, 0, 4, false, NULL},
		{2, 4, 1, 0, false, NULL},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
		struct remainder_list list = {0};

		set_pools(snapshot, table[i].page_mib << 20, table[i].total, table[i].free, table[i].elsewhere);
		CHECK_INT(movability_is_barred_by_pools(snapshot, 0), table[i].is_barred);
		CHECK_TRUE(!movability_is_barred_by_pools(snapshot, 7));
		movability_remain_pools(snapshot, 0, "node 0", &list);
		CHECK_INT(list.count, table[i].way_out ? 1 : 0);
		if (!list.count)
			continue;
		CHECK_INT(list.items[0].code, REMAINDER_GIGANTIC_PAGES);
		CHECK_INT(list.items[0].bytes, table[i].total << 30);
		CHECK_INT(strncmp(list.items[0].way_out, table[i].way_out, strlen(table[i].way_out)), 0);
		/* It is not cut. */
		CHECK_TRUE(strstr(list.items[0].way_out, "hugepages=NODE:COUNT for others") != NULL);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"answers come from zones", answers_come_from_zones},
		{"ways out are true", ways_out_are_true},
		{"boot memory is told apart", boot_memory_is_told_apart},
		{"gigantic pages are told", gigantic_pages_are_told},
		{"nothing stays of what is movable", nothing_stays_of_what_is_movable},
	};

	return unit_main("service/model/movability", cases, sizeof(cases) / sizeof(cases[0]));
}
