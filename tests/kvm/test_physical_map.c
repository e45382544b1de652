/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "cleanup.h"
#include "memory_block.h"
#include "memory_zone.h"
#include "physical_map.h"

#define BLOCK 0x8000000ull

static void test_blocks(void)
{
	/* Block 1 lies on the border of nodes 0 and 1, block 3 is missing. */
	struct memory_block blocks[] = {
		{.id = 0, .start = 0, .size_bytes = BLOCK, .node_id = 0, .node_count = 1},
		{.id = 1, .start = BLOCK, .size_bytes = BLOCK, .node_id = 0, .node_count = 2},
		{.id = 2, .start = 2 * BLOCK, .size_bytes = BLOCK, .node_id = 1, .node_count = 1},
		{.id = 4, .start = 4 * BLOCK, .size_bytes = BLOCK, .node_id = -1, .node_count = 0},
		{.id = 5, .start = 5 * BLOCK, .size_bytes = BLOCK, .node_id = 3, .node_count = 1},
	};
	struct memory_zone_info zones[] = {
		{.node_id = 0, .start = 0x1000, .spanned_bytes = BLOCK + BLOCK / 2 - 0x1000},
		{.node_id = 1, .start = BLOCK + BLOCK / 2, .spanned_bytes = 2 * BLOCK},
	};
	struct memory_block_list block_list = {.blocks = blocks, .count = 5, .block_bytes = BLOCK};
	struct memory_zone_list zone_list = {.zones = zones, .count = 2};
	CLEANUP(physical_map_freep) struct physical_map *map = NULL;
	CLEANUP(physical_map_freep) struct physical_map *coarse = NULL;
	uint64_t start, end;

	CHECK_INT(physical_map_new(&block_list, &zone_list, &map), 0);
	CHECK_INT(physical_map_find(map, 2 * BLOCK, &start, &end), 1);
	CHECK_INT(start, BLOCK + BLOCK / 2);
	CHECK_INT(end, 3 * BLOCK);
	CHECK_INT(physical_map_find(map, 4 * BLOCK, &start, &end), -1);
	CHECK_INT(start, 3 * BLOCK);
	CHECK_INT(end, 5 * BLOCK);
	CHECK_INT(physical_map_find(map, 7 * BLOCK, &start, &end), -1);
	CHECK_INT(start, 6 * BLOCK);
	CHECK_INT(physical_map_node(map, 0, &end), 0);
	CHECK_INT(end, BLOCK + BLOCK / 2);
	CHECK_INT(physical_map_node(map, BLOCK + BLOCK / 2 - 1, NULL), 0);
	CHECK_INT(physical_map_node(map, BLOCK + BLOCK / 2, &end), 1);
	CHECK_INT(end, 3 * BLOCK);
	CHECK_INT(physical_map_node(map, 3 * BLOCK, &end), -1);
	CHECK_INT(end, 5 * BLOCK);
	CHECK_INT(physical_map_node(map, 5 * BLOCK, NULL), 3);
	CHECK_INT(physical_map_node(map, 6 * BLOCK, &end), -1);
	CHECK_TRUE(end == UINT64_MAX);
	/* Without zones a border block is nobody's. */
	CHECK_INT(physical_map_new(&block_list, NULL, &coarse), 0);
	CHECK_INT(physical_map_node(coarse, BLOCK, &end), -1);
	CHECK_INT(end, 2 * BLOCK);
}

static void test_overlap(void)
{
	struct memory_block blocks[] = {
		{.id = 0, .start = 0, .size_bytes = BLOCK, .node_id = 0, .node_count = 2},
	};
	struct memory_zone_info zones[] = {
		{.node_id = 0, .start = 0, .spanned_bytes = 0x4000},
		{.node_id = 1, .start = 0x2000, .spanned_bytes = 0x6000},
		{.node_id = 1, .start = 0x3000, .spanned_bytes = 0x1000},
	};
	struct memory_block_list block_list = {.blocks = blocks, .count = 1, .block_bytes = BLOCK};
	struct memory_zone_list zone_list = {.zones = zones, .count = 3};
	CLEANUP(physical_map_freep) struct physical_map *map = NULL;
	CLEANUP(physical_map_freep) struct physical_map *zones_only = NULL;

	CHECK_INT(physical_map_new(&block_list, &zone_list, &map), 0);
	CHECK_INT(physical_map_node(map, 0x1fff, NULL), 0);
	CHECK_INT(physical_map_node(map, 0x2000, NULL), -1);
	CHECK_INT(physical_map_node(map, 0x3fff, NULL), -1);
	CHECK_INT(physical_map_node(map, 0x4000, NULL), 1);
	CHECK_INT(physical_map_node(map, 0x8000, NULL), -1);
	CHECK_INT(physical_map_new(NULL, &zone_list, &zones_only), 0);
	CHECK_INT(physical_map_node(zones_only, 0x4000, NULL), 1);
}

int main(void)
{
	static const struct unit_case cases[] = {{"blocks", test_blocks},
						 {"overlap", test_overlap}};

	return unit_main("physical_map", cases, ARRAY_SIZE(cases));
}
