/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices under a drain: their cpusets lose the nodes all of whose memory is held, so that no process below them gets any
 * there while the hold stands. Only once that memory is empty: the kernel moves what is there in the moment of the write.
 * Where it has gone offline nobody can have it anyway; then it keeps what comes online under the hold from being used.
 */
#include "drain_priv.h"

#include <string.h>

/*
 * A cpuset knows nodes: of one that has other memory nothing can be kept from them, nor of one of which other drains hold a
 * part, for these may end before this one.
 */
static uint64_t held_nodes(const struct drainer *drainer)
{
	const struct snapshot *snapshot = drainer->input->snapshot;
	uint64_t nodes = 0, others = 0;

	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (drain_scope_has(&drainer->scope, block))
			nodes |= plan_node_bit(block->node);
		else
			others |= plan_node_bit(block->node);
	}
	return nodes & ~others;
}

bool drain_slices_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	struct step step;

	plan_step_init(&step, STEP_KIND_SLICE_CPUSETS, NULL);
	step.nodes = held_nodes(drainer);
	if (!input->limits->slices[0] || !step.nodes || plan_tried(input, STEP_KIND_SLICE_CPUSETS))
		return false;
	memcpy(step.slices, input->limits->slices, sizeof(step.slices));
	step.undoable = true;
	return drain_emit(drainer, &step);
}
