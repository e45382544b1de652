/* SPDX-License-Identifier: Apache-2.0 */
#include "drain_layout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "drain_part.h"
#include "drain_priv.h"

/* Less of a guest than that on a node are strays, and none of its cells. */
#define CELL_SHARE_LEAST 16

static uint64_t bit(int node)
{
	return plan_node_bit(node);
}

/* The index of this page size in the problem, with what its pools have free. SIZES_MAX: there are too many. */
static size_t find_size(const struct snapshot *snapshot, struct drain_place_input *problem, uint64_t page)
{
	size_t size = 0;

	while (size < problem->size_count && problem->page_bytes[size] != page)
		size++;
	if (size < problem->size_count || size == DRAIN_PLACE_SIZES_MAX)
		return size;
	problem->page_bytes[problem->size_count++] = page;
	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_pool *pool = plan_pool(snapshot, snapshot->nodes[i].id, page);

		problem->pool_bytes[size][snapshot->nodes[i].id] = pool ? pool->free * page : 0;
	}
	return size;
}

/* Has it nothing but huge pages? Then it goes in whole ones. */
static bool is_all_huge(const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].kind != BACKING_KIND_HUGETLB)
			return false;
	return guest->backing_count > 0;
}

/* Each size with its own pool; of more sizes than have a place the rest is reckoned as room to be made. */
static void fill_huge(const struct snapshot *snapshot, const struct snapshot_guest *guest,
		      struct drain_place_input *problem, struct drain_place_demand *demand)
{
	bool is_all = is_all_huge(guest);
	uint64_t left = demand->bytes, leaves = demand->bytes, more = 0;

	for (uint64_t page = plan_guest_next_size(guest, 0); page; page = plan_guest_next_size(guest, page)) {
		uint64_t bytes = plan_min(left, plan_guest_size_bytes(guest, demand->home, leaves, page));
		size_t size = find_size(snapshot, problem, page);
		uint64_t over = bytes % page;

		if (size == DRAIN_PLACE_SIZES_MAX)
			continue;
		left -= bytes;
		more += is_all && over ? page - over : 0;
		demand->huge_bytes[size] = is_all && over ? bytes - over + page : bytes - over;
	}
	demand->bytes += more;
}

/* Nodes on which cells of the guest stay while others leave; 0 of one that has no cells to be kept apart. */
static uint64_t occupied_nodes(const struct snapshot_guest *guest, uint64_t leaves)
{
	uint64_t nodes = 0, all = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		all += guest->node_bytes[node];
	for (int node = 0; node < SNAPSHOT_NODES_MAX && guest->cell_count > 1; node++)
		if (guest->node_bytes[node] >= all / CELL_SHARE_LEAST + 1)
			nodes |= bit(node);
	return nodes & ~leaves;
}

/* All that it has on the node, or what of it lies in the scope. */
static uint64_t leaving_bytes(const struct drain_layout *layout, const struct snapshot_guest *guest, int node, bool keeps)
{
	return keeps ? drain_scope_node_bytes(layout->input->snapshot, layout->scope, guest, node)
		     : guest->node_bytes[node];
}

static void add_guest(struct drain_layout *layout, const struct snapshot_guest *guest, uint32_t index,
		      struct drain_place_input *problem)
{
	uint64_t allowed = drain_scope_destinations(layout->input, layout->scope, guest), leaves = 0;
	bool keeps = drain_part_keeps(layout->input, layout->scope, guest);

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (drain_scope_guest_leaves(layout->input, layout->scope, guest, node))
			leaves |= bit(node);
	if (leaves)
		allowed &= ~drain_full_nodes(layout->input, guest);
	for (uint64_t rest = leaves; rest; rest &= rest - 1) {
		int node = plan_first_node(rest);
		uint64_t bytes = leaving_bytes(layout, guest, node, keeps);
		uint64_t less = layout->less ? layout->less[layout->demand_count] : 0;
		struct drain_place_demand *demand = &layout->demands[layout->demand_count++];

		*demand = (struct drain_place_demand){.bytes = bytes - plan_min(bytes, less),
						      .allowed = allowed,
						      .occupied = occupied_nodes(guest, leaves),
						      .guest = index,
						      .home = (uint8_t)node,
						      .is_apart = guest->cell_count > 1,
						      .may_split = true};
		fill_huge(layout->input->snapshot, guest, problem, demand);
	}
}

/* What no guest has: any page of it may go to any node. */
static void add_host(struct drain_layout *layout)
{
	const struct plan_input *input = layout->input;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t bytes = drain_scope_host_bytes(input, layout->scope, node);

		if (bytes)
			layout->demands[layout->demand_count++] =
				(struct drain_place_demand){.bytes = bytes,
							    .allowed = drain_scope_free_nodes(input, layout->scope),
							    .guest = UINT32_MAX,
							    .home = (uint8_t)node,
							    .is_loose = true};
	}
}

static void fill_nodes(const struct plan_input *input, const struct drain_scope *scope,
		       struct drain_place_input *problem)
{
	const struct snapshot *snapshot = input->snapshot;

	for (size_t i = 0; i < snapshot->node_count; i++) {
		int node = snapshot->nodes[i].id;

		problem->room_bytes[node] = plan_room(input, node, scope->whole_nodes);
		for (int to = 0; to < SNAPSHOT_NODES_MAX; to++)
			problem->distances[node][to] = plan_distance(snapshot, node, to);
	}
}

int drain_layout_find(const struct plan_input *input, const struct drain_scope *scope, struct drain_layout *ret_layout)
{
	return drain_layout_find_less(input, scope, NULL, ret_layout);
}

int drain_layout_find_less(const struct plan_input *input, const struct drain_scope *scope, const uint64_t *less,
			   struct drain_layout *ret_layout)
{
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP_FREE struct drain_place_input *problem = calloc(1, sizeof(*problem));
	struct drain_layout layout = {.input = input, .scope = scope, .less = less};
	size_t most = (snapshot->guest_count + 1) * plan_node_count(scope->nodes) + 1;
	int r = -ENOMEM;

	memset(ret_layout, 0, sizeof(*ret_layout));
	layout.demands = calloc(most, sizeof(*layout.demands));
	layout.firsts = calloc(snapshot->guest_count + 1, sizeof(*layout.firsts));
	if (problem && layout.demands && layout.firsts) {
		bool leaves = !drain_scope_stays_within(input, scope);

		fill_nodes(input, scope, problem);
		for (size_t i = 0; i < snapshot->guest_count; i++) {
			layout.firsts[i] = layout.demand_count;
			if (leaves)
				add_guest(&layout, &snapshot->guests[i], (uint32_t)i, problem);
		}
		layout.firsts[snapshot->guest_count] = layout.demand_count;
		if (leaves)
			add_host(&layout);
		problem->demands = layout.demands;
		problem->demand_count = layout.demand_count;
		r = drain_place(problem, &layout.placed);
	}
	for (size_t i = 0; i < layout.placed.flow_count; i++)
		layout.comes[layout.placed.flows[i].node] += layout.placed.flows[i].bytes;
	if (r < 0)
		drain_layout_done(&layout);
	else
		*ret_layout = layout;
	return r;
}

void drain_layout_done(struct drain_layout *layout)
{
	free(layout->demands);
	free(layout->firsts);
	drain_place_result_done(&layout->placed);
	memset(layout, 0, sizeof(*layout));
}

const struct drain_place_fate *drain_layout_unplaced(const struct drain_layout *layout, size_t guest)
{
	/* What a node has of a guest goes to one node: no move can take some of it elsewhere. */
	for (size_t i = layout->firsts[guest]; i < layout->firsts[guest + 1]; i++)
		if (layout->demands[i].bytes && layout->placed.fates[i].flow_count != 1)
			return &layout->placed.fates[i];
	return NULL;
}

int drain_layout_merged(const struct drain_layout *layout, size_t guest)
{
	for (size_t i = layout->firsts[guest]; i < layout->firsts[guest + 1]; i++)
		if (layout->placed.fates[i].is_merged && layout->placed.fates[i].flow_count == 1)
			return layout->placed.flows[layout->placed.fates[i].first_flow].node;
	return -1;
}

uint64_t drain_layout_room(const struct drain_layout *layout, const struct snapshot_guest *guest, int node)
{
	size_t index = (size_t)(guest - layout->input->snapshot->guests);
	uint64_t room = plan_room(layout->input, node, layout->scope->whole_nodes);

	for (uint64_t page = plan_guest_next_size(guest, 0); page; page = plan_guest_next_size(guest, page)) {
		const struct snapshot_pool *pool = plan_pool(layout->input->snapshot, node, page);
		uint64_t needs = 0;

		for (size_t i = layout->firsts[index]; i < layout->firsts[index + 1]; i++)
			needs += plan_guest_size_bytes(guest, layout->demands[i].home, layout->demands[i].bytes, page);
		room += plan_min(needs, pool ? pool->free * page : 0);
	}
	return room - plan_min(room, layout->comes[node]);
}

uint64_t drain_layout_host_missing(const struct drain_layout *layout, int node)
{
	for (size_t i = layout->firsts[layout->input->snapshot->guest_count]; i < layout->demand_count; i++)
		if (layout->demands[i].home == node)
			return layout->placed.fates[i].missing_bytes;
	return 0;
}

bool drain_layout_child(const struct drain_layout *layout, size_t index, struct step *ret_step, struct wish *ret_child)
{
	const struct plan_input *input = layout->input;
	const struct snapshot_guest *guest = &input->snapshot->guests[index];
	const struct drain_scope *scope = layout->scope;
	bool keeps = drain_part_keeps(input, scope, guest);
	struct step step;

	if (layout->firsts[index] == layout->firsts[index + 1] || drain_layout_unplaced(layout, index))
		return false;
	plan_step_init(&step, STEP_KIND_CHILD, guest);
	wish_init(ret_child, OPERATION_KIND_MOVE);
	memcpy(ret_child->guest, guest->uuid, sizeof(ret_child->guest));
	memcpy(ret_child->drain, input->wish->drain, sizeof(ret_child->drain));
	ret_child->allow = input->wish->allow;
	ret_child->move.form = MOVE_FORM_MAP;
	/* Nothing stored is changed for a while. */
	ret_child->move.persist = input->wish->drain_wish.persist && !keeps;
	for (size_t i = layout->firsts[index]; i < layout->firsts[index + 1]; i++) {
		int from = layout->demands[i].home, to;

		if (!layout->demands[i].bytes)
			continue;
		to = layout->placed.flows[layout->placed.fates[i].first_flow].node;
		ret_child->move.map[from] = (int8_t)to;
		step.nodes |= bit(to);
		step.bytes += leaving_bytes(layout, guest, from, keeps);
		step.node = from;
		snprintf(step.text, sizeof(step.text), "dist %u", plan_distance(input->snapshot, from, to));
	}
	if (keeps) {
		step.range_count = ret_child->move.range_count = scope->range_count;
		memcpy(step.ranges, scope->ranges, sizeof(step.ranges));
		memcpy(ret_child->move.ranges, scope->ranges, sizeof(ret_child->move.ranges));
		memcpy(step.map, ret_child->move.map, sizeof(step.map));
	}
	/* Whether the guest was bound to where it leaves: then it is brought back to what stays of
	 * that node. */
	step.mode = guest->policy_mode;
	step.undoable = true;
	step.stall_ms = (input->limits->stall_us + 999) / 1000;
	*ret_step = step;
	return step.nodes != 0;
}
