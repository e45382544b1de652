/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a drain covers: physical ranges, the blocks in them, and the guests' memory there. A node is
 * whole where nothing but the target gives it memory; then residency by node tells all, and the
 * node will be gone.
 */
#include "plan_priv.h"

#include <stdlib.h>
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

bool drain_scope_has(const struct drain_scope *scope, const struct snapshot_block *block)
{
	return snapshot_block_is_in(block, scope->ranges, scope->range_count);
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
		    snapshot_block_is_in(block, snapshot->dimms[i].ranges, snapshot->dimms[i].range_count))
			return true;
	return false;
}

/* What its ranges have of memory. */
static void count_blocks(const struct snapshot *snapshot, struct drain_scope *scope)
{
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (!drain_scope_has(scope, block))
			continue;
		scope->nodes |= plan_node_bit(block->node);
		scope->blocks++;
		if (block->state == BLOCK_STATE_OFFLINE)
			continue;
		scope->online_blocks++;
		scope->online_bytes += block->size_bytes;
		if (plan_node_bit(block->node))
			scope->node_bytes[block->node] += block->size_bytes;
		if (plan_node_bit(block->node) && !is_in_dimm(snapshot, block))
			scope->loose_bytes[block->node] += block->size_bytes;
	}
	/* What is offline gives its node nothing: another drain may have taken it. */
	scope->whole_nodes = scope->nodes;
	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].state != BLOCK_STATE_OFFLINE && !drain_scope_has(scope, &snapshot->blocks[i]))
			scope->whole_nodes &= ~plan_node_bit(snapshot->blocks[i].node);
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
	count_blocks(snapshot, &scope);
	*ret_scope = scope;
}

void drain_scope_of_ranges(const struct snapshot *snapshot, const struct snapshot_range *ranges, size_t count,
			   struct drain_scope *ret_scope)
{
	struct drain_scope scope = {0};

	for (size_t i = 0; i < count; i++)
		add_range(&scope, ranges[i].start, ranges[i].end);
	count_blocks(snapshot, &scope);
	*ret_scope = scope;
}

static uint64_t covered_bytes(const struct drain_scope *scope, const struct snapshot_range *ranges, size_t count)
{
	return snapshot_ranges_shared(scope->ranges, scope->range_count, ranges, count);
}

/* One of the DIMMs and pieces in which the survey told the guest's memory apart. */
struct part {
	int node;	  /* -1: it is not there any more */
	uint64_t size;
	uint64_t covered; /* of size */
};

static struct part find_part(const struct snapshot *snapshot, const struct drain_scope *scope,
			     const struct snapshot_guest *guest, size_t index)
{
	const struct snapshot_guest_dimm *told = &guest->dimm_bytes[index];
	const struct snapshot_dimm *dimm;
	struct part part = {.node = told->node};

	if (snapshot_guest_dimm_is_piece(told)) {
		part.size = snapshot_ranges_bytes(&told->range, 1);
		part.covered = covered_bytes(scope, &told->range, 1);
		return part;
	}
	dimm = snapshot_dimm(snapshot, told->id);
	part.node = dimm ? dimm->node : -1;
	part.size = dimm ? snapshot_ranges_bytes(dimm->ranges, dimm->range_count) : 0;
	part.covered = dimm ? covered_bytes(scope, dimm->ranges, dimm->range_count) : 0;
	/* Its pieces are told by themselves. */
	for (size_t i = 0; i < guest->dimm_count; i++) {
		const struct snapshot_guest_dimm *piece = &guest->dimm_bytes[i];

		if (!snapshot_guest_dimm_is_piece(piece) || strcmp(piece->id, told->id) != 0)
			continue;
		part.size -= plan_min(part.size, snapshot_ranges_bytes(&piece->range, 1));
		part.covered -= plan_min(part.covered, covered_bytes(scope, &piece->range, 1));
	}
	return part;
}

uint64_t drain_scope_part_bytes(const struct snapshot *snapshot, const struct drain_scope *scope,
				const struct snapshot_guest *guest, int node, size_t index)
{
	struct part part = find_part(snapshot, scope, guest, index);

	return part.node == node ? plan_min(guest->dimm_bytes[index].bytes, part.covered) : 0;
}

/* Of the node's memory in no DIMM what of the scope is in no piece either. */
static uint64_t loose_bytes(const struct drain_scope *scope, const struct snapshot_guest *guest, int node)
{
	uint64_t bytes = scope->loose_bytes[node];

	for (size_t i = 0; i < guest->dimm_count && bytes; i++) {
		const struct snapshot_guest_dimm *piece = &guest->dimm_bytes[i];

		if (!piece->id[0] && piece->node == node)
			bytes -= plan_min(bytes, covered_bytes(scope, &piece->range, 1));
	}
	return bytes;
}

/*
 * Of a node that is only partly in the scope: as the survey tells the DIMMs apart, and the pieces that it was asked about.
 * Of a part of either, and of memory in none, not less than the guest can have there.
 */
static uint64_t partial_bytes(const struct snapshot *snapshot, const struct drain_scope *scope,
			      const struct snapshot_guest *guest, int node)
{
	uint64_t bytes = 0, rest = guest->node_bytes[node];

	/* Not told apart: it may be all that the guest has there. */
	if (!guest->dimms_told)
		return plan_min(rest, scope->online_bytes);
	for (size_t i = 0; i < guest->dimm_count; i++) {
		struct part part = find_part(snapshot, scope, guest, i);
		uint64_t has = plan_min(guest->dimm_bytes[i].bytes, rest);

		if (part.node != node)
			continue;
		bytes += plan_min(has, part.covered);
		rest -= has;
	}
	return bytes + plan_min(rest, loose_bytes(scope, guest, node));
}

uint64_t drain_scope_node_bytes(const struct snapshot *snapshot, const struct drain_scope *scope,
				const struct snapshot_guest *guest, int node)
{
	if (!(scope->nodes >> node & 1) || !guest->node_bytes[node])
		return 0;
	return scope->whole_nodes >> node & 1 ? guest->node_bytes[node] : partial_bytes(snapshot, scope, guest, node);
}

bool drain_scope_is_exact(const struct snapshot *snapshot, const struct drain_scope *scope,
			  const struct snapshot_guest *guest, int node)
{
	uint64_t rest = guest->node_bytes[node];

	if (scope->whole_nodes >> node & 1)
		return true;
	if (!guest->dimms_told)
		return false;
	for (size_t i = 0; i < guest->dimm_count; i++) {
		struct part part = find_part(snapshot, scope, guest, i);

		if (part.node != node)
			continue;
		/* Some of what it has there, and nobody tells how much. */
		if (part.covered && part.covered != part.size && guest->dimm_bytes[i].bytes)
			return false;
		rest -= plan_min(rest, guest->dimm_bytes[i].bytes);
	}
	return !rest || !loose_bytes(scope, guest, node);
}

uint64_t drain_scope_place_bytes(const struct plan_input *input, const struct drain_scope *scope,
				 const struct snapshot_guest *guest, const struct snapshot_place *place)
{
	uint64_t bytes = (uint64_t)place->pages * SNAPSHOT_PLACE_BYTES;
	const struct snapshot_dimm *dimm;
	struct part part;

	if (place->node < 0 || !(scope->nodes >> place->node & 1))
		return 0;
	if (scope->whole_nodes >> place->node & 1)
		return bytes;
	if (place->dimm >= guest->dimm_count)
		return 0;
	part = find_part(input->snapshot, scope, guest, place->dimm);
	dimm = snapshot_dimm(input->snapshot, guest->dimm_bytes[place->dimm].id);
	/* Of one with more ranges than are known some may be out of the scope. */
	if (dimm && dimm->ranges_cut && !snapshot_guest_dimm_is_piece(&guest->dimm_bytes[place->dimm]))
		return 0;
	return part.size && part.covered == part.size ? bytes : 0;
}

uint64_t drain_scope_guest_bytes(const struct plan_input *input, const struct drain_scope *scope,
				 const struct snapshot_guest *guest)
{
	uint64_t bytes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		bytes += drain_scope_node_bytes(input->snapshot, scope, guest, node);
	return bytes;
}

static int compare_guests(const void *left, const void *right)
{
	const struct drain_scope_guest *a = left, *b = right;

	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

struct drain_scope_guest *drain_scope_guests(const struct plan_input *input, const struct drain_scope *scope,
					     size_t *ret_count)
{
	const struct snapshot *snapshot = input->snapshot;
	struct drain_scope_guest *guests = calloc(snapshot->guest_count + 1, sizeof(*guests));
	size_t count = 0;

	for (size_t i = 0; guests && i < snapshot->guest_count; i++) {
		uint64_t bytes = drain_scope_guest_bytes(input, scope, &snapshot->guests[i]);

		if (bytes)
			guests[count++] = (struct drain_scope_guest){bytes, i};
	}
	if (guests)
		qsort(guests, count, sizeof(*guests), compare_guests);
	*ret_count = count;
	return guests;
}

bool drain_scope_guest_leaves(const struct plan_input *input, const struct drain_scope *scope,
			      const struct snapshot_guest *guest, int node)
{
	/* Of a node that is only partly in the scope nothing needs to go if nothing is in that part. */
	return drain_scope_node_bytes(input->snapshot, scope, guest, node) > 0;
}

/* What is used of a node, but for guests' memory and for free huge pages. */
static uint64_t other_bytes(const struct snapshot *snapshot, const struct snapshot_node *node)
{
	uint64_t known = node->free_bytes;

	for (size_t i = 0; i < node->pool_count; i++)
		known += node->pools[i].free * node->pools[i].page_bytes;
	for (size_t i = 0; i < snapshot->guest_count; i++)
		known += snapshot->guests[i].node_bytes[node->id];
	return node->total_bytes - plan_min(node->total_bytes, known);
}

uint64_t drain_scope_host_bytes(const struct plan_input *input, const struct drain_scope *scope, int node_id)
{
	const struct snapshot_node *node = snapshot_node(input->snapshot, node_id);
	uint64_t online = node ? scope->node_bytes[node_id] : 0, others;

	if (!online || input->wish->drain_wish.finish < DRAIN_FINISH_OFFLINE)
		return 0;
	others = other_bytes(input->snapshot, node);
	/* Of a node that is only partly in the scope nobody tells where it lies: its share by size. */
	if (others && !(scope->whole_nodes >> node_id & 1))
		others = (uint64_t)((double)others * ((double)online / (double)node->total_bytes));
	return plan_min(others, online);
}

uint64_t drain_scope_free_nodes(const struct plan_input *input, const struct drain_scope *scope)
{
	return plan_memory_nodes(input->snapshot) & ~snapshot_held_nodes(input->snapshot, NULL) & ~scope->nodes;
}

bool drain_scope_stays_within(const struct plan_input *input, const struct drain_scope *scope)
{
	return input->wish->drain_wish.finish >= DRAIN_FINISH_OFFLINE && plan_node_count(scope->nodes) == 1 &&
	       !(scope->whole_nodes & scope->nodes) && plan_memory_nodes(input->snapshot) == scope->nodes;
}

uint64_t drain_scope_destinations(const struct plan_input *input, const struct drain_scope *scope,
				  const struct snapshot_guest *guest)
{
	uint64_t nodes = drain_scope_free_nodes(input, scope);

	if (guest->allowed_nodes)
		nodes &= guest->allowed_nodes;
	if (guest->cpuset_limit)
		nodes &= guest->cpuset_limit;
	return nodes;
}

bool drain_scope_has_dimm(const struct wish_drain *wish, const struct snapshot_dimm *dimm)
{
	if (wish->target == DRAIN_TARGET_DIMM)
		return strcmp(dimm->id, wish->dimm) == 0;
	return wish->target == DRAIN_TARGET_NODE && dimm->node == wish->node;
}

bool drain_scope_cuts_dimm(const struct plan_input *input, const struct drain_scope *scope, const struct snapshot_dimm *dimm)
{
	const struct snapshot *snapshot = input->snapshot;
	bool is_inside = false, is_outside = false;

	/* Of a DIMM by its name another may have a block along with it, which is that one's affair. */
	for (size_t i = 0; i < snapshot->block_count && input->wish->drain_wish.target == DRAIN_TARGET_NODE; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (!snapshot_block_is_in(block, dimm->ranges, dimm->range_count))
			continue;
		is_inside = is_inside || drain_scope_has(scope, block);
		is_outside = is_outside || !drain_scope_has(scope, block);
	}
	return is_inside && is_outside;
}
