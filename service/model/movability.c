/* SPDX-License-Identifier: Apache-2.0 */
#include "movability.h"

#include <inttypes.h>
#include <stdio.h>

#define GIGANTIC_BYTES (UINT64_C(1) << 30)

void movability_add(struct movability *movability, const struct snapshot_block *block)
{
	movability->blocks++;
	if (block->state == BLOCK_STATE_OFFLINE || block->zone == BLOCK_ZONE_MOVABLE)
		return;
	movability->fixed_blocks++;
	movability->fixed_bytes += block->size_bytes;
	movability->fixed_hotpluggable += block->hotpluggable;
}

/* Of one that can be pulled, or given back by its driver. */
static bool has_device(const struct snapshot *snapshot, const struct snapshot_block *block)
{
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &snapshot->dimms[i];

		for (size_t r = 0; dimm->kind != DIMM_KIND_SMBIOS && r < dimm->range_count; r++)
			if (snapshot_block_meets(block, dimm->ranges[r].start, dimm->ranges[r].end))
				return true;
	}
	return false;
}

struct movability movability_of_node(const struct snapshot *snapshot, int node)
{
	struct movability movability = {0};

	for (size_t i = 0; i < snapshot->block_count; i++) {
		size_t fixed = movability.fixed_blocks;

		if (snapshot->blocks[i].node != node)
			continue;
		movability_add(&movability, &snapshot->blocks[i]);
		if (movability.fixed_blocks > fixed && snapshot->dimm_count && !has_device(snapshot, &snapshot->blocks[i]))
			movability.fixed_boot++;
	}
	return movability;
}

enum answer movability_answer(const struct movability *movability)
{
	if (!movability->blocks)
		return ANSWER_UNKNOWN;
	if (!movability->fixed_blocks)
		return ANSWER_YES;
	return movability->fixed_blocks == movability->blocks ? ANSWER_NO : ANSWER_PARTLY;
}

const char *movability_way_out(const struct snapshot *snapshot, const struct movability *movability)
{
	/* What is marked in part can leave as a whole only when all of it is. */
	bool all_marked = movability->fixed_hotpluggable == movability->fixed_blocks;

	if (!snapshot->hotplug_told || !movability->fixed_blocks)
		return NULL;
	if (snapshot->movable_node && all_marked)
		return "booted with movable_node, and it is hot-pluggable: online it as movable; but where the kernel itself lies "
		       "nothing becomes movable";
	if (snapshot->movable_node)
		return "booted with movable_node, but the firmware does not call it hot-pluggable (SRAT): change that, or boot "
		       "with kernelcore= instead (part of each node is movable)";
	if (all_marked)
		return "boot with movable_node: the firmware calls it hot-pluggable (SRAT); of no use on the node where the "
		       "kernel itself lies";
	return "boot with kernelcore= (part of each node is movable); movable_node does not help: the firmware does not call it "
	       "hot-pluggable (SRAT)";
}

static uint64_t used_of(const struct snapshot_pool *pool)
{
	return pool->total > pool->free ? pool->total - pool->free : 0;
}

static uint64_t free_elsewhere(const struct snapshot *snapshot, int node, uint64_t page_bytes)
{
	uint64_t free = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		for (size_t j = 0; snapshot->nodes[i].id != node && j < snapshot->nodes[i].pool_count; j++)
			if (snapshot->nodes[i].pools[j].page_bytes == page_bytes)
				free += snapshot->nodes[i].pools[j].free;
	return free;
}

bool movability_is_barred_by_pools(const struct snapshot *snapshot, int node)
{
	const struct snapshot_node *of = snapshot_node(snapshot, node);

	for (size_t i = 0; of && i < of->pool_count; i++)
		if (of->pools[i].page_bytes >= GIGANTIC_BYTES &&
		    used_of(&of->pools[i]) > free_elsewhere(snapshot, node, of->pools[i].page_bytes))
			return true;
	return false;
}

void movability_remain_pools(const struct snapshot *snapshot, int node, const char *object, struct remainder_list *list)
{
	const struct snapshot_node *of = snapshot_node(snapshot, node);

	for (size_t i = 0; of && i < of->pool_count; i++) {
		const struct snapshot_pool *pool = &of->pools[i];
		uint64_t used = used_of(pool), elsewhere = free_elsewhere(snapshot, node, pool->page_bytes);
		char way_out[160];

		if (pool->page_bytes < GIGANTIC_BYTES || !pool->total)
			continue;
		if (used > elsewhere)
			snprintf(way_out, sizeof(way_out),
				 "stop what uses %" PRIu64 " of them and lower nr_hugepages there, or make as many on other nodes; "
				 "at boot: hugepages=NODE:COUNT for others",
				 used - elsewhere);
		else if (used)
			snprintf(way_out, sizeof(way_out),
				 "allow gigantic_pages: other nodes have free ones; at boot: hugepages=NODE:COUNT for others");
		else
			snprintf(way_out, sizeof(way_out),
				 "free ones leave with a drain, or lower nr_hugepages there; at boot: hugepages=NODE:COUNT for others");
		remainder_list_add(list, REMAINDER_GIGANTIC_PAGES, object, pool->page_bytes * pool->total, way_out,
				   "%" PRIu64 " huge pages of 1 GiB on node %d, %" PRIu64 " of them free; other nodes have %" PRIu64
				   " free ones",
				   pool->total, node, pool->free, elsewhere);
	}
}

void movability_remain(const struct movability *movability, const struct snapshot *snapshot, const char *object,
		       struct remainder_list *list)
{
	char boot[64] = "";

	if (movability->fixed_boot)
		snprintf(boot, sizeof(boot), ", %zu of them boot memory, of no memory device", movability->fixed_boot);
	if (movability->fixed_blocks)
		remainder_list_add(list, REMAINDER_KERNEL_MEMORY, object, movability->fixed_bytes,
				   movability_way_out(snapshot, movability),
				   "%zu of %zu blocks are online in a kernel zone%s", movability->fixed_blocks,
				   movability->blocks, boot);
}
