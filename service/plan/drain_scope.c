/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a drain covers: physical ranges, the blocks in them, and the guests' memory there. A node is
 * whole where nothing but the target gives it memory; then residency by node tells all, and the
 * node will be gone.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>

static void add_range(struct drain_scope *scope, uint64_t start, uint64_t end)
{
	struct snapshot_range *last =
		scope->range_count ? &scope->ranges[scope->range_count - 1] : NULL;

	for (size_t i = 0; i < scope->range_count; i++)
		if (scope->ranges[i].start <= start && end <= scope->ranges[i].end)
			return;
	if (last && last->end == start) {
		last->end = end;
		return;
	}
	if (scope->range_count == SNAPSHOT_RANGES_MAX) {
		scope->is_cut = true;
		return;
	}
	scope->ranges[scope->range_count++] = (struct snapshot_range){start, end};
}

static bool overlaps(const struct snapshot_range *ranges, size_t count, uint64_t start,
		     uint64_t end)
{
	for (size_t i = 0; i < count; i++)
		if (ranges[i].start < end && start < ranges[i].end)
			return true;
	return false;
}

bool drain_scope_has(const struct drain_scope *scope, const struct snapshot_block *block)
{
	return overlaps(scope->ranges, scope->range_count, block->start,
			block->start + block->size_bytes);
}

static void add_target(const struct plan_input *input, struct drain_scope *scope)
{
	const struct wish_drain *wish = &input->wish->drain_wish;
	const struct snapshot *snapshot = input->snapshot;
	const struct snapshot_dimm *dimm;

	switch (wish->target) {
	case DRAIN_TARGET_DIMM:
		dimm = snapshot_dimm(snapshot, wish->dimm);
		for (size_t i = 0; dimm && i < dimm->range_count; i++)
			add_range(scope, dimm->ranges[i].start, dimm->ranges[i].end);
		if (!dimm)
			return;
		scope->is_cut |= dimm->ranges_cut;
		scope->nodes |= plan_node_bit(dimm->node);
		return;
	case DRAIN_TARGET_NODE:
		scope->nodes |= plan_node_bit(wish->node);
		for (size_t i = 0; i < snapshot->block_count; i++)
			if (snapshot->blocks[i].node == wish->node)
				add_range(scope, snapshot->blocks[i].start,
					  snapshot->blocks[i].start +
						  snapshot->blocks[i].size_bytes);
		return;
	case DRAIN_TARGET_RANGE:
		add_range(scope, wish->range.start, wish->range.end);
		return;
	case DRAIN_TARGET_COUNT:
		return;
	}
}

/* In one that has all its memory on the block's node. */
static bool is_in_dimm(const struct snapshot *snapshot, const struct snapshot_block *block)
{
	for (size_t i = 0; i < snapshot->dimm_count; i++)
		if (snapshot->dimms[i].node == block->node &&
		    overlaps(snapshot->dimms[i].ranges, snapshot->dimms[i].range_count, block->start,
			     block->start + block->size_bytes))
			return true;
	return false;
}

void drain_scope_find(const struct plan_input *input, struct drain_scope *ret_scope)
{
	const struct snapshot *snapshot = input->snapshot;
	struct drain_scope scope = {0};

	/* The drain's own hold remembers blocks that went offline and have lost their node since.
	 */
	for (size_t i = 0; i < snapshot->hold_count; i++)
		if (strcmp(snapshot->holds[i].drain, input->wish->drain) == 0)
			for (size_t j = 0; j < snapshot->holds[i].range_count; j++)
				add_range(&scope, snapshot->holds[i].ranges[j].start,
					  snapshot->holds[i].ranges[j].end);
	add_target(input, &scope);
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (!drain_scope_has(&scope, block))
			continue;
		scope.nodes |= plan_node_bit(block->node);
		scope.blocks++;
		if (block->state == BLOCK_STATE_OFFLINE)
			continue;
		scope.online_blocks++;
		scope.online_bytes += block->size_bytes;
		if (plan_node_bit(block->node) && !is_in_dimm(snapshot, block))
			scope.loose_bytes[block->node] += block->size_bytes;
	}
	/* What is offline gives its node nothing: another drain may have taken it. */
	scope.whole_nodes = scope.nodes;
	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].state != BLOCK_STATE_OFFLINE && !drain_scope_has(&scope, &snapshot->blocks[i]))
			scope.whole_nodes &= ~plan_node_bit(snapshot->blocks[i].node);
	*ret_scope = scope;
}

/* How much of the DIMM the scope covers. */
static uint64_t covered_bytes(const struct drain_scope *scope, const struct snapshot_dimm *dimm)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < dimm->range_count; i++)
		for (size_t j = 0; j < scope->range_count; j++) {
			const struct snapshot_range *a = &dimm->ranges[i], *b = &scope->ranges[j];
			uint64_t start = a->start > b->start ? a->start : b->start;
			uint64_t end = plan_min(a->end, b->end);

			bytes += end > start ? end - start : 0;
		}
	return bytes;
}

/*
 * Of a node that is only partly in the scope: as the survey tells the DIMMs apart. Of a part of a DIMM, and of memory in
 * none, not less than the guest can have there.
 */
static uint64_t partial_bytes(const struct plan_input *input, const struct drain_scope *scope,
			      const struct snapshot_guest *guest, int node)
{
	const struct snapshot *snapshot = input->snapshot;
	uint64_t bytes = 0, rest = guest->node_bytes[node];

	/* Not told apart: it may be all that the guest has there. */
	if (!guest->dimms_told)
		return plan_min(rest, scope->online_bytes);
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &snapshot->dimms[i];
		uint64_t has;

		if (dimm->node != node)
			continue;
		has = plan_min(snapshot_guest_dimm_bytes(guest, dimm->id), rest);
		bytes += plan_min(has, covered_bytes(scope, dimm));
		rest -= has;
	}
	return bytes + plan_min(rest, scope->loose_bytes[node]);
}

uint64_t drain_scope_guest_bytes(const struct plan_input *input, const struct drain_scope *scope,
				 const struct snapshot_guest *guest)
{
	uint64_t bytes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (!(scope->nodes >> node & 1) || !guest->node_bytes[node])
			continue;
		bytes += scope->whole_nodes >> node & 1 ? guest->node_bytes[node]
							: partial_bytes(input, scope, guest, node);
	}
	return bytes;
}

uint64_t drain_scope_destinations(const struct plan_input *input, const struct drain_scope *scope,
				  const struct snapshot_guest *guest)
{
	uint64_t nodes = plan_memory_nodes(input->snapshot) & ~snapshot_held_nodes(input->snapshot, NULL) &
			 ~scope->nodes;

	if (guest->allowed_nodes)
		nodes &= guest->allowed_nodes;
	if (guest->cpuset_limit)
		nodes &= guest->cpuset_limit;
	return nodes;
}

/* The nearest node with room, never one that is held; of equally near ones that with most room. -1:
 * none. */
static int child_destination(const struct plan_input *input, const struct drain_scope *scope,
			     const struct snapshot_guest *guest, int from, const uint64_t *taken)
{
	const struct snapshot *snapshot = input->snapshot;
	uint64_t nodes = drain_scope_destinations(input, scope, guest);
	uint64_t best_room = 0;
	uint8_t best_distance = 0;
	int best = -1;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint8_t distance = plan_distance(snapshot, from, node);
		uint64_t room;

		if (!(nodes >> node & 1))
			continue;
		room = plan_guest_room(input, guest, node, scope->whole_nodes);
		if (taken)
			room -= plan_min(room, taken[node]);
		if (room < guest->node_bytes[from])
			continue;
		if (best < 0 || distance < best_distance ||
		    (distance == best_distance && room > best_room)) {
			best = node;
			best_room = room;
			best_distance = distance;
		}
	}
	return best;
}

bool drain_scope_child(const struct plan_input *input, const struct drain_scope *scope,
		       const struct snapshot_guest *guest, uint64_t bytes, uint64_t *taken,
		       struct step *ret_step, struct wish *ret_child)
{
	uint64_t promised[SNAPSHOT_NODES_MAX] = {0};
	struct step step;

	if (taken)
		memcpy(promised, taken, sizeof(promised));
	plan_step_init(&step, STEP_KIND_CHILD, guest);
	wish_init(ret_child, OPERATION_KIND_MOVE);
	memcpy(ret_child->guest, guest->uuid, sizeof(ret_child->guest));
	memcpy(ret_child->drain, input->wish->drain, sizeof(ret_child->drain));
	ret_child->allow = input->wish->allow;
	ret_child->move.form = MOVE_FORM_MAP;
	ret_child->move.persist = input->wish->drain_wish.persist;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		int to;

		/* Of a node that is only partly in the scope nothing needs to go if nothing is in
		 * that part. */
		if (!(scope->nodes >> node & 1) || !guest->node_bytes[node] ||
		    (!(scope->whole_nodes >> node & 1) &&
		     !partial_bytes(input, scope, guest, node)))
			continue;
		to = child_destination(input, scope, guest, node, promised);
		if (to < 0)
			return false;
		promised[to] += guest->node_bytes[node];
		ret_child->move.map[node] = (int8_t)to;
		step.nodes |= plan_node_bit(to);
		step.bytes += guest->node_bytes[node];
		step.node = node;
		snprintf(step.text, sizeof(step.text), "dist %u",
			 plan_distance(input->snapshot, node, to));
	}
	if (!step.nodes || !bytes)
		return false;
	/* Whether the guest was bound to where it leaves: then it is brought back to what stays of
	 * that node. */
	step.mode = guest->policy_mode;
	step.undoable = true;
	step.stall_ms = (input->limits->stall_us + 999) / 1000;
	if (taken)
		memcpy(taken, promised, sizeof(promised));
	*ret_step = step;
	return true;
}
