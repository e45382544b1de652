/* SPDX-License-Identifier: Apache-2.0 */
#include "physical_map.h"

#include <errno.h>
#include <stdlib.h>
#include "memory_block.h"
#include "memory_zone.h"
#include "sysroot.h"

struct piece {
	uint64_t start;
	uint64_t end;
	int node_id;
};

/* Ascending, without overlap; neighbours of one node are joined. What lies between is unknown. */
struct physical_map {
	struct piece *pieces; /* owned */
	size_t count;
	size_t room;
};

static int add_piece(struct physical_map *map, uint64_t start, uint64_t end, int node_id)
{
	if (start >= end || node_id < 0)
		return 0;
	if (map->count > 0) {
		struct piece *last = &map->pieces[map->count - 1];

		if (last->end == start && last->node_id == node_id) {
			last->end = end;
			return 0;
		}
	}
	if (map->count == map->room) {
		size_t room = map->room ? map->room * 2 : 16;
		struct piece *larger = reallocarray(map->pieces, room, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		map->pieces = larger;
		map->room = room;
	}
	map->pieces[map->count++] = (struct piece){.start = start, .end = end, .node_id = node_id};
	return 0;
}

/* The only node with a zone span over address, -1 for none or several; *end: up to where that
 * holds. */
static int node_by_zones(const struct memory_zone_list *zones, uint64_t address, uint64_t *end)
{
	int node_id = -1;
	bool is_unique = true;

	for (size_t i = 0; i < zones->count; i++) {
		const struct memory_zone_info *zone = &zones->zones[i];
		uint64_t zone_end = zone->start + zone->spanned_bytes;

		if (zone->spanned_bytes == 0 || zone_end <= address)
			continue;
		if (zone->start > address) {
			if (zone->start < *end)
				*end = zone->start;
			continue;
		}
		if (zone_end < *end)
			*end = zone_end;
		if (node_id >= 0 && node_id != zone->node_id)
			is_unique = false;
		node_id = zone->node_id;
	}
	return is_unique ? node_id : -1;
}

static int add_by_zones(struct physical_map *map, const struct memory_zone_list *zones,
			uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t next = end;
		int node_id = node_by_zones(zones, start, &next);
		int error = add_piece(map, start, next, node_id);

		if (error < 0)
			return error;
		start = next;
	}
	return 0;
}

int physical_map_new(const struct memory_block_list *blocks, const struct memory_zone_list *zones,
		     struct physical_map **ret_map)
{
	CLEANUP(physical_map_freep) struct physical_map *map = calloc(1, sizeof(*map));
	int error = 0;

	if (!map)
		return -ENOMEM;
	for (size_t i = 0; blocks && i < blocks->count && error == 0; i++) {
		const struct memory_block *block = &blocks->blocks[i];
		uint64_t end = block->start + block->size_bytes;

		if (block->node_count <= 1)
			error = add_piece(map, block->start, end, block->node_id);
		else if (zones)
			error = add_by_zones(map, zones, block->start, end);
	}
	if (error == 0 && zones && (!blocks || blocks->count == 0)) {
		uint64_t last = 0;

		for (size_t i = 0; i < zones->count; i++)
			if (zones->zones[i].start + zones->zones[i].spanned_bytes > last)
				last = zones->zones[i].start + zones->zones[i].spanned_bytes;
		error = add_by_zones(map, zones, 0, last);
	}
	if (error < 0)
		return error;
	*ret_map = TAKE_PTR(map);
	return 0;
}

int physical_map_read(const struct sysroot *sysroot, struct physical_map **ret_map)
{
	CLEANUP(memory_block_list_done) struct memory_block_list blocks = {0};
	CLEANUP(memory_zone_list_done) struct memory_zone_list zones = {0};
	int error = memory_block_list_read(sysroot, &blocks);

	if (error < 0 && error != -ENOENT)
		return error;
	error = memory_zone_list_read(sysroot, &zones);
	if (error < 0 && !(error == -ENOENT && blocks.count > 0))
		return error;
	return physical_map_new(&blocks, &zones, ret_map);
}

struct physical_map *physical_map_free(struct physical_map *map)
{
	if (map)
		free(map->pieces);
	free(map);
	return NULL;
}

int physical_map_find(const struct physical_map *map, uint64_t address, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	size_t low = 0, high = map->count;

	/* The first piece that ends after address. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->pieces[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < map->count && map->pieces[low].start <= address) {
		*ret_start = map->pieces[low].start;
		*ret_end = map->pieces[low].end;
		return map->pieces[low].node_id;
	}
	*ret_start = low ? map->pieces[low - 1].end : 0;
	*ret_end = low < map->count ? map->pieces[low].start : UINT64_MAX;
	return -1;
}

int physical_map_node(const struct physical_map *map, uint64_t address, uint64_t *ret_end)
{
	uint64_t start, end;
	int node_id = physical_map_find(map, address, &start, &end);

	if (ret_end)
		*ret_end = end;
	return node_id;
}
