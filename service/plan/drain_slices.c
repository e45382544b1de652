/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices under a drain: their cpusets lose the nodes all of whose memory is held, so that no process below them gets any
 * there while the hold stands. Only once that memory is empty: the kernel moves what is there in the moment of the write.
 * Where it has gone offline nobody can have it anyway; then it keeps what comes online under the hold from being used.
 */
#include "drain_newcomer.h"
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

/* False where there is none to lose any. */
static bool step_of(const struct plan_input *input, uint64_t nodes, struct step *ret_step)
{
	if (!input->limits->slices[0] || !nodes)
		return false;
	plan_step_init(ret_step, STEP_KIND_SLICE_CPUSETS, NULL);
	ret_step->nodes = nodes;
	memcpy(ret_step->slices, input->limits->slices, sizeof(ret_step->slices));
	ret_step->undoable = true;
	return true;
}

bool drain_slices_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	struct step step;

	return !plan_tried(input, STEP_KIND_SLICE_CPUSETS) && step_of(input, held_nodes(drainer), &step) &&
	       drain_emit(drainer, &step);
}

bool drain_newcomers_slices(const struct plan_input *input, const struct drain_newcomers *newcomers, struct step *ret_step)
{
	if (!step_of(input, newcomers->whole_nodes, ret_step))
		return false;
	memcpy(ret_step->text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
	return true;
}
