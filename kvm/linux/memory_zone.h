/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory zones: their names, and what /proc/zoneinfo says of each node's zones.
 */
#ifndef BALLAST_KVM_MEMORY_ZONE_H
#define BALLAST_KVM_MEMORY_ZONE_H

#include <stddef.h>
#include <stdint.h>
#include "name_table.h"

struct sysroot;

/* MEMORY_ZONE_NONE: no zone, or several at once (sysfs prints "none"). Names are as in
 * /proc/zoneinfo. */
enum memory_zone {
	MEMORY_ZONE_NONE,
	MEMORY_ZONE_DMA,
	MEMORY_ZONE_DMA32,
	MEMORY_ZONE_NORMAL,
	MEMORY_ZONE_MOVABLE,
	MEMORY_ZONE_DEVICE,
	MEMORY_ZONE_COUNT
};
NAME_TABLE_DECLARE(memory_zone);

struct memory_zone_info {
	int node_id;
	enum memory_zone zone;
	uint64_t start;		/* physical address of the first page of the span; 0 where empty */
	uint64_t spanned_bytes; /* holes and offline blocks included */
	uint64_t present_bytes; /* online */
	uint64_t managed_bytes; /* given to the page allocator */
	uint64_t free_bytes;
};

struct memory_zone_list {
	struct memory_zone_info *zones; /* owned; in the order of the file */
	size_t count;
};

/* Zones without any page are left out. The caller calls memory_zone_list_done(). */
int memory_zone_list_read(const struct sysroot *sysroot, struct memory_zone_list *ret_list);
void memory_zone_list_done(struct memory_zone_list *list);

/* The zone of that node, or NULL. Borrowed from the list. */
const struct memory_zone_info *memory_zone_list_find(const struct memory_zone_list *list,
						     int node_id, enum memory_zone zone);

#endif
