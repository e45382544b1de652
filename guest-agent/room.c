/* SPDX-License-Identifier: Apache-2.0 */
#include "room.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "block_census.h"
#include "sysroot.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What of pools lies in the blocks, and on which nodes pages in use do. */
struct inside {
	uint64_t used_bytes, free_bytes;
	uint64_t nodes; /* mask */
};

/* Only blocks that are still to be taken offline count. False where the kernel does not show it. */
static bool look_inside(const struct sysroot *sysroot, const struct room_order *order,
			struct inside *ret_inside)
{
	uint64_t base_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct inside inside = {0};

	for (size_t i = 0; i < order->block_count; i++) {
		const struct candidate *block = &order->blocks[i];
		struct block_census census;

		if (block->reason != MESSAGE_REASON_UNKNOWN)
			continue;
		int error = block_census_read(sysroot, block->start, block->size_bytes, &census);

		if (error < 0)
			return false;
		inside.used_bytes += census.huge_used * base_bytes;
		inside.free_bytes += census.huge_free * base_bytes;
		if (census.huge_used > 0 && block->node_id >= 0 && block->node_id < 64)
			inside.nodes |= UINT64_C(1) << block->node_id;
	}
	*ret_inside = inside;
	return true;
}

static uint64_t node_free_kib(const struct sysroot *sysroot, int node_id)
{
	char text[4096];
	const char *line;

	if (sysroot_read_text(sysroot, text, sizeof(text), "/sys/devices/system/node/node%d/meminfo",
			      node_id) < 0)
		return 0;
	line = strstr(text, "MemFree:");
	return line ? strtoull(line + strlen("MemFree:"), NULL, 10) : 0;
}

struct place {
	int node_id;
	bool loses; /* pages in use are to leave it */
	uint64_t free_kib;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *left = a, *right = b;

	if (left->loses != right->loses)
		return left->loses ? 1 : -1;
	if (left->free_kib != right->free_kib)
		return left->free_kib > right->free_kib ? -1 : 1;
	return left->node_id - right->node_id;
}

/* The nodes with a pool of that size, best first; without nodes the whole kernel's pool. */
static size_t find_places(const struct sysroot *sysroot, const struct hugepages *hugepages,
			  uint64_t page_bytes, uint64_t losing, struct place places[LIMIT_POOLS])
{
	size_t count = 0;

	for (size_t i = 0; i < hugepages->count; i++) {
		int node_id = hugepages->pools[i].node_id;

		if (hugepages->pools[i].page_bytes != page_bytes ||
		    node_id == HUGEPAGE_POOL_ALL_NODES)
			continue;
		places[count++] = (struct place){
			.node_id = node_id,
			.loses = node_id < 64 && (losing >> node_id & 1),
			.free_kib = node_free_kib(sysroot, node_id)};
	}
	if (count == 0)
		places[count++] = (struct place){.node_id = HUGEPAGE_POOL_ALL_NODES};
	qsort(places, count, sizeof(places[0]), compare_places);
	return count;
}

/* Returns how many pages more there are. */
static int grow(const struct sysroot *sysroot, int node_id, uint64_t page_bytes, uint64_t pages,
		uint64_t *ret_got)
{
	struct hugepage_pool before, after;
	int error = hugepage_pool_read(sysroot, node_id, page_bytes, &before);

	if (error == 0)
		error = hugepage_pool_set(sysroot, node_id, page_bytes,
					  hugepages_persistent(&before) + pages, &after);
	if (error < 0)
		return error;
	*ret_got = after.total > before.total ? after.total - before.total : 0;
	return 0;
}

/* Until there is room for what is needed, on one place after the other. */
static int make(const struct sysroot *sysroot, const struct room_order *order,
		const struct hugepages *hugepages, uint64_t losing, struct room_size *size,
		uint64_t *budget_pages)
{
	struct place places[LIMIT_POOLS];
	size_t count = find_places(sysroot, hugepages, size->page_bytes, losing, places);
	struct inside before, after;

	for (size_t i = 0; i < count;) {
		uint64_t have = size->ready_pages + size->made_pages, got;
		bool is_shown = look_inside(sysroot, order, &before);

		if (have >= size->needed_pages || *budget_pages == 0)
			return 0;
		int error = grow(sysroot, places[i].node_id, size->page_bytes,
				 least(size->needed_pages - have, *budget_pages), &got);

		if (error < 0)
			return error;
		*budget_pages -= least(got, *budget_pages);
		/* What came to lie in the blocks goes with them. */
		if (is_shown && look_inside(sysroot, order, &after) &&
		    after.free_bytes > before.free_bytes)
			size->made_pages += got - least(got, (after.free_bytes - before.free_bytes) /
								     size->page_bytes);
		else
			size->made_pages += got;
		if (got == 0)
			i++;
	}
	return 0;
}

int room_make(const struct sysroot *sysroot, const struct room_order *order,
	      struct room_result *ret_result)
{
	struct room_result result = {0};
	struct hugepages hugepages;
	struct inside inside;
	int error = hugepages_read(sysroot, &hugepages);

	if (error < 0)
		return error;
	bool is_shown = look_inside(sysroot, order, &inside);
	uint64_t left = is_shown ? inside.used_bytes : UINT64_MAX, budget = order->budget_bytes;

	if (order->target_bytes)
		left = least(left, order->target_bytes);
	for (size_t i = 0; i < hugepages.count && result.count < HUGEPAGE_POOL_SIZES_MAX; i++) {
		const struct hugepage_pool *total = &hugepages.pools[i];
		uint64_t bytes = total->page_bytes, used = total->total - total->free;
		/* Free ones that were promised to somebody are no room. */
		uint64_t free_pages = total->free > total->reserved ? total->free - total->reserved : 0;
		uint64_t free_inside = is_shown ? inside.free_bytes / bytes : 0;

		if (total->node_id != HUGEPAGE_POOL_ALL_NODES || bytes >= ROOM_GIGANTIC_BYTES ||
		    used == 0 || left == 0)
			continue;
		struct room_size *size = &result.sizes[result.count++];
		uint64_t budget_pages = budget / bytes;

		size->page_bytes = bytes;
		size->needed_pages = least(used, left / bytes + (left % bytes != 0));
		size->ready_pages = least(size->needed_pages,
					  free_pages > free_inside ? free_pages - free_inside : 0);
		left -= least(left, size->needed_pages * bytes);
		error = make(sysroot, order, &hugepages, inside.nodes, size, &budget_pages);
		budget = budget_pages * bytes;
		if (error < 0)
			return error;
	}
	*ret_result = result;
	return 0;
}
