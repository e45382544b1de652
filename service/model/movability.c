/* SPDX-License-Identifier: Apache-2.0 */
#include "movability.h"

void movability_add(struct movability *movability, const struct snapshot_block *block)
{
	movability->blocks++;
	if (block->state == BLOCK_STATE_OFFLINE || block->zone == BLOCK_ZONE_MOVABLE)
		return;
	movability->fixed_blocks++;
	movability->fixed_bytes += block->size_bytes;
	movability->fixed_hotpluggable += block->hotpluggable;
}

struct movability movability_of_node(const struct snapshot *snapshot, int node)
{
	struct movability movability = {0};

	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].node == node)
			movability_add(&movability, &snapshot->blocks[i]);
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

void movability_remain(const struct movability *movability, const struct snapshot *snapshot, const char *object,
		       struct remainder_list *list)
{
	if (movability->fixed_blocks)
		remainder_list_add(list, REMAINDER_KERNEL_MEMORY, object, movability->fixed_bytes,
				   movability_way_out(snapshot, movability),
				   "%zu of %zu blocks are online in a kernel zone", movability->fixed_blocks,
				   movability->blocks);
}
