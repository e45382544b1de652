/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node a physical address belongs to, worked out once from the memory blocks and zones.
 */
#ifndef BALLAST_KVM_PHYSICAL_MAP_H
#define BALLAST_KVM_PHYSICAL_MAP_H

#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"

struct memory_block_list;
struct memory_zone_list;
struct sysroot;

struct physical_range {
	uint64_t start;
	uint64_t end; /* the first address after it */
};

struct physical_map;

/*
 * Builds the map from what was read, and keeps nothing borrowed. A block of one node settles it for
 * the whole block. A block of several nodes (boot memory at a border) is cut by the nodes' zone
 * spans; where those overlap, or zones is NULL, the node is unknown: -1, never a guess.
 * Without any memory block (a kernel without memory hotplug) zone spans alone serve.
 */
int physical_map_new(const struct memory_block_list *blocks, const struct memory_zone_list *zones,
		     struct physical_map **ret_map);
/* Reads both lists from sysroot first. */
int physical_map_read(const struct sysroot *sysroot, struct physical_map **ret_map);
struct physical_map *physical_map_free(struct physical_map *map);
CLEANUP_DEFINE(struct physical_map *, physical_map_free)

/* The node of a physical address, -1 where unknown. *ret_end (may be NULL): up to where the answer
 * holds. */
int physical_map_node(const struct physical_map *map, uint64_t address, uint64_t *ret_end);
/* The same, and from where to where around address the answer holds. */
int physical_map_find(const struct physical_map *map, uint64_t address, uint64_t *ret_start,
		      uint64_t *ret_end);

#endif
