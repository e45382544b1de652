/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a move's wish means for a guest as it is placed now. "To node 2" means that every resident
 * page belongs there, so the bytes that are not there are what is to be moved; a map or a drain
 * means only what is on its sources.
 */
#include "plan_priv.h"

#include <string.h>
#include "node_remap.h"

/* The first move of this operation: its map stays the goal, whatever the half-moved guest looks
 * like by now. */
static const struct step *first_move(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if ((input->history[i].step.kind == STEP_KIND_MOVE_PAGES ||
		     input->history[i].step.kind == STEP_KIND_LAZY) &&
		    input->history[i].state != STEP_STATE_UNDONE)
			return &input->history[i].step;
	return NULL;
}

uint64_t move_goal_first_sources(const struct plan_input *input, const struct move_goal *goal)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *step = &input->history[i].step;

		if (step->kind == STEP_KIND_MOVE_PAGES || step->kind == STEP_KIND_LAZY || step_replugs(step))
			return step->from_nodes;
	}
	return goal->sources;
}

static uint8_t farthest(const struct plan_input *input, const struct snapshot_guest *guest, uint64_t nodes)
{
	uint8_t most = 0;

	for (; nodes; nodes &= nodes - 1) {
		uint8_t distance = plan_cpu_distance(input->snapshot, guest, plan_first_node(nodes));

		most = distance > most ? distance : most;
	}
	return most;
}

bool move_goal_is_farther(const struct plan_input *input, const struct snapshot_guest *guest, const struct move_goal *goal,
			  uint8_t *ret_before, uint8_t *ret_after)
{
	const struct step *first = first_move(input);
	const int8_t *map = first && first->by_map ? first->map : goal->map;
	uint64_t sources = first ? first->from_nodes : goal->sources;
	uint8_t least = 0;

	if (goal->by_cells) {
		*ret_before = farthest(input, guest, sources);
		*ret_after = farthest(input, guest, goal->destinations);
		return sources && *ret_after > *ret_before;
	}
	for (; sources; sources &= sources - 1) {
		int from = plan_first_node(sources);
		uint8_t before = plan_cpu_distance(input->snapshot, guest, from), after;

		after = map[from] >= 0 ? plan_cpu_distance(input->snapshot, guest, map[from]) : before;
		if (after <= before || after <= least)
			continue;
		least = *ret_after = after;
		*ret_before = before;
	}
	return least > 0;
}

/* The nearest of the destinations with room for the bytes; where none has it, the one with most. */
static int best_destination(const struct plan_input *input, const struct snapshot_guest *guest,
			    uint64_t nodes, const uint64_t *taken, int from, uint64_t bytes)
{
	int best = -1;
	bool best_fits = false;
	uint64_t best_room = 0;
	uint8_t best_distance = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t room;
		uint8_t distance;
		bool fits, better;

		if (!(nodes >> node & 1))
			continue;
		room = plan_guest_room(input, guest, node, 0);
		room -= plan_min(room, taken[node]);
		distance = plan_distance(input->snapshot, from, node);
		fits = room >= bytes;
		if (best < 0 || fits != best_fits)
			better = best < 0 || fits;
		else if (fits)
			better = distance < best_distance ||
				 (distance == best_distance && room > best_room);
		else
			better = room > best_room;
		if (!better)
			continue;
		best = node;
		best_fits = fits;
		best_room = room;
		best_distance = distance;
	}
	return best;
}

/* As many sources as destinations: the n-th goes to the n-th, and what was apart stays apart. */
static void map_by_position(struct move_goal *goal, uint64_t sources)
{
	uint64_t to = goal->to_nodes;

	for (; sources && to; sources &= sources - 1, to &= to - 1)
		goal->map[plan_first_node(sources)] = (int8_t)plan_first_node(to);
}

static void map_by_room(const struct plan_input *input, const struct snapshot_guest *guest,
			struct move_goal *goal, uint64_t sources)
{
	uint64_t taken[SNAPSHOT_NODES_MAX] = {0};

	while (sources) {
		int largest = plan_first_node(sources), to;

		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
			if (sources >> node & 1 &&
			    guest->node_bytes[node] > guest->node_bytes[largest])
				largest = node;
		to = best_destination(input, guest, goal->to_nodes, taken, largest,
				      guest->node_bytes[largest]);
		goal->map[largest] = (int8_t)to;
		if (to >= 0)
			taken[to] += guest->node_bytes[largest];
		sources &= ~plan_node_bit(largest);
	}
}

static void map_to_nodes(const struct plan_input *input, const struct snapshot_guest *guest,
			 struct move_goal *goal)
{
	const struct step *first = first_move(input);
	uint64_t resident = plan_guest_nodes(guest), sources = resident & ~goal->to_nodes;

	if (first && first->by_map) {
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			if (first->map[node] < 0 || !(sources >> node & 1))
				continue;
			goal->map[node] = first->map[node];
			sources &= ~plan_node_bit(node);
		}
	} else if (sources == resident &&
		   plan_node_count(sources) == plan_node_count(goal->to_nodes)) {
		map_by_position(goal, sources);
		return;
	}
	map_by_room(input, guest, goal, sources);
}

/* What only the guest's files have may be on any node, also where nothing else of it is: no source for that, but a way. */
static void map_unseen(const struct plan_input *input, const struct snapshot_guest *guest, struct move_goal *goal)
{
	const struct step *first = first_move(input);
	uint64_t taken[SNAPSHOT_NODES_MAX] = {0}, nodes = plan_memory_nodes(input->snapshot) & ~goal->to_nodes;

	for (; nodes; nodes &= nodes - 1) {
		int node = plan_first_node(nodes);

		if (goal->map[node] >= 0)
			continue;
		goal->map[node] = first && first->by_map && first->map[node] >= 0
					  ? first->map[node]
					  : (int8_t)best_destination(input, guest, goal->to_nodes, taken, node,
								     guest->unmapped_bytes);
	}
}

/* Where every cell of the guest goes to one node, cells do not matter; else 0. */
static uint64_t one_node_of_cells(const struct snapshot_guest *guest, const struct wish_move *wish)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < guest->cell_count; i++) {
		int id = guest->cells[i].id;

		if (id < 0 || id >= SNAPSHOT_CELLS_MAX || wish->cells[id] < 0)
			return 0;
		nodes |= plan_node_bit(wish->cells[id]);
	}
	return plan_node_count(nodes) == 1 ? nodes : 0;
}

static uint64_t resident_outside(const struct snapshot_guest *guest, uint64_t nodes)
{
	uint64_t bytes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (!(nodes >> node & 1))
			bytes += guest->node_bytes[node];
	return bytes;
}

/* Only the mover's own word tells how far it got: what its last pass left. */
static uint64_t opaque_left(const struct plan_input *input, uint64_t expected_bytes)
{
	const struct step_record *last = plan_last(input, STEP_KIND_MOVE_PAGES);
	uint64_t told = 0;

	if (!last)
		return expected_bytes;
	if (last->state == STEP_STATE_DONE)
		return 0;
	if (!remainder_list_bytes(&last->remainder))
		return last->step.bytes - plan_min(last->step.bytes, last->bytes_done);
	for (size_t i = 0; i < last->remainder.count; i++)
		if (!remainder_code_is_unseen(last->remainder.items[i].code))
			told += last->remainder.items[i].bytes;
	return told;
}

int move_goal_cell_node(const struct move_goal *goal, const struct snapshot_backing *part)
{
	return part->cell >= 0 && part->cell < SNAPSHOT_CELLS_MAX ? goal->cells[part->cell] : -1;
}

uint64_t move_goal_size_bytes(const struct snapshot_guest *guest, const struct move_goal *goal, int node, uint64_t page_bytes)
{
	uint64_t bytes = 0;

	for (int from = 0; from < SNAPSHOT_NODES_MAX && !goal->by_cells; from++)
		if (goal->map[from] == node)
			bytes += plan_guest_size_bytes(guest, from, goal->leaves_bytes[from], page_bytes);
	for (size_t i = 0; i < guest->backing_count && goal->by_cells; i++) {
		const struct snapshot_backing *part = &guest->backings[i];

		if (part->kind == BACKING_KIND_HUGETLB && part->page_bytes == page_bytes &&
		    move_goal_cell_node(goal, part) == node)
			bytes += part->bytes;
	}
	if (goal->by_cells)
		bytes = plan_min(bytes, goal->left_bytes);
	return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

static void find_cells(const struct plan_input *input, const struct snapshot_guest *guest,
		       struct move_goal *goal)
{
	const struct wish_move *wish = &input->wish->move;
	uint64_t comes[SNAPSHOT_NODES_MAX] = {0}, all = 0;

	goal->by_cells = goal->opaque = true;
	memcpy(goal->cells, wish->cells, sizeof(goal->cells));
	for (int cell = 0; cell < SNAPSHOT_CELLS_MAX; cell++)
		goal->destinations |= plan_node_bit(wish->cells[cell]);
	goal->sources = plan_guest_nodes(guest);
	/* At least what is on none of the destinations; residency by cell is the mover's own to
	 * find out. */
	goal->left_bytes = opaque_left(input, resident_outside(guest, goal->destinations));
	/* To each its share by what the cells that go there have. */
	for (size_t i = 0; i < guest->backing_count; i++) {
		int node = move_goal_cell_node(goal, &guest->backings[i]);

		if (node < 0)
			continue;
		comes[node] += guest->backings[i].bytes;
		all += guest->backings[i].bytes;
	}
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (all)
			goal->needs_bytes[node] =
				(uint64_t)((double)goal->left_bytes * ((double)comes[node] / (double)all));
		else if (goal->destinations >> node & 1)
			goal->needs_bytes[node] = goal->left_bytes / plan_node_count(goal->destinations);
	}
}

void move_goal_find(const struct plan_input *input, const struct snapshot_guest *guest,
		    struct move_goal *ret_goal)
{
	const struct wish_move *wish = &input->wish->move;
	struct drain_scope scope;
	struct move_goal goal = {.in_ranges = wish->form == MOVE_FORM_MAP && wish->range_count};

	memset(goal.map, -1, sizeof(goal.map));
	memset(goal.cells, -1, sizeof(goal.cells));
	switch (wish->form) {
	case MOVE_FORM_TO:
		goal.to_nodes = wish->to_nodes;
		break;
	case MOVE_FORM_NEAR_CPUS:
		goal.to_nodes = guest->cpu_nodes & plan_memory_nodes(input->snapshot) &
				~snapshot_held_nodes(input->snapshot, input->wish->drain) &
				(guest->cpuset_limit ? guest->cpuset_limit : UINT64_MAX);
		break;
	case MOVE_FORM_CELLS:
		goal.to_nodes = one_node_of_cells(guest, wish);
		break;
	case MOVE_FORM_MAP:
	case MOVE_FORM_COUNT:
		break;
	}
	if (wish->form == MOVE_FORM_CELLS && !goal.to_nodes) {
		find_cells(input, guest, &goal);
		*ret_goal = goal;
		return;
	}
	if (goal.to_nodes)
		map_to_nodes(input, guest, &goal);
	else if (wish->form == MOVE_FORM_MAP)
		memcpy(goal.map, wish->map, sizeof(goal.map));
	if (goal.in_ranges)
		drain_scope_of_ranges(input->snapshot, wish->ranges, wish->range_count, &scope);
	goal.destinations = goal.to_nodes;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t bytes = guest->node_bytes[node];

		if (goal.map[node] == node)
			goal.map[node] = -1;
		if (goal.map[node] < 0)
			continue;
		if (goal.in_ranges)
			bytes = drain_scope_node_bytes(input->snapshot, &scope, guest, node);
		goal.destinations |= plan_node_bit(goal.map[node]);
		goal.sources |= plan_node_bit(node);
		goal.left_bytes += bytes;
		goal.leaves_bytes[node] = bytes;
		goal.needs_bytes[goal.map[node]] += bytes;
	}
	if (goal.sources & goal.destinations || goal.in_ranges) {
		goal.opaque = true;
		goal.left_bytes = opaque_left(input, goal.left_bytes);
	}
	if (goal.to_nodes && guest->unmapped_bytes)
		map_unseen(input, guest, &goal);
	*ret_goal = goal;
}

uint64_t move_goal_nodes(const struct move_goal *goal, uint64_t nodes)
{
	uint64_t result = 0;

	if (goal->to_nodes)
		return goal->to_nodes;
	if (goal->by_cells)
		return goal->destinations;
	if (goal->in_ranges)
		return nodes;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes >> node & 1)
			result |= plan_node_bit(goal->map[node] >= 0 ? goal->map[node] : node);
	return result;
}

void move_goal_fill_step(const struct move_goal *goal, struct step *step)
{
	step->by_cells = goal->by_cells;
	step->by_map = !goal->by_cells;
	memcpy(step->map, goal->map, sizeof(step->map));
	memcpy(step->cells, goal->cells, sizeof(step->cells));
	step->nodes = goal->destinations;
	step->from_nodes = goal->sources;
	step->bytes = goal->left_bytes;
}

bool move_goal_policy(const struct snapshot_guest *guest, const struct move_goal *goal,
		      enum policy_mode *ret_mode, uint64_t *ret_nodes)
{
	bool bound = guest->policy_mode == POLICY_MODE_BIND ||
		     guest->policy_mode == POLICY_MODE_INTERLEAVE ||
		     guest->policy_mode == POLICY_MODE_MIXED;
	uint64_t nodes;

	if (!snapshot_guest_takes_policy(guest) || goal->in_ranges)
		return false;
	nodes = bound ? move_goal_nodes(goal, guest->policy_nodes) : goal->destinations;
	if (!bound && !goal->to_nodes &&
	    plan_guest_nodes(guest) & ~goal->sources & ~goal->destinations)
		return false;
	*ret_mode = bound ? guest->policy_mode : POLICY_MODE_PREFERRED;
	*ret_nodes = nodes;
	return nodes != 0;
}

void move_goal_map(const struct plan_input *input, const struct move_goal *goal, uint64_t nodes,
		   int8_t ret_map[SNAPSHOT_NODES_MAX])
{
	const struct step *first = first_move(input);

	memcpy(ret_map, goal->map, sizeof(goal->map));
	if (goal->in_ranges)
		memset(ret_map, -1, sizeof(goal->map));
	for (uint64_t rest = nodes & ~goal->to_nodes; goal->to_nodes && rest; rest &= rest - 1) {
		int node = plan_first_node(rest);

		if (first && first->by_map && first->map[node] >= 0)
			ret_map[node] = first->map[node];
		else if (ret_map[node] < 0)
			ret_map[node] = (int8_t)plan_first_node(goal->to_nodes);
	}
}

bool move_goal_can_be_stored(const struct snapshot_guest *guest, const struct move_goal *goal)
{
	return guest->persistent && plan_node_count(goal->to_nodes) == 1;
}

bool move_goal_renames(const struct plan_input *input, const struct move_goal *goal, uint64_t nodes)
{
	int8_t map[SNAPSHOT_NODES_MAX];

	/* Which cell is where within the same nodes is a difference too, and so it is with nodes that change places. */
	if (goal->by_cells || move_goal_nodes(goal, nodes) != nodes)
		return true;
	move_goal_map(input, goal, nodes, map);
	for (; nodes; nodes &= nodes - 1)
		if (map[plan_first_node(nodes)] >= 0 && map[plan_first_node(nodes)] != plan_first_node(nodes))
			return true;
	return false;
}

/* Where the policy of a part belongs by the goal. */
static uint64_t wanted_nodes(const struct plan_input *input, const struct move_goal *goal,
			     const struct snapshot_backing *part, uint64_t nodes)
{
	int8_t map[SNAPSHOT_NODES_MAX];
	uint64_t result = 0;

	if (goal->by_cells)
		return move_goal_cell_node(goal, part) >= 0 ? plan_node_bit(move_goal_cell_node(goal, part)) : nodes;
	move_goal_map(input, goal, nodes, map);
	for (; nodes; nodes &= nodes - 1) {
		int node = plan_first_node(nodes);

		result |= plan_node_bit(map[node] >= 0 ? map[node] : node);
	}
	return result;
}

/* Is a part, of those that the kernel rebinds or of the others, bound elsewhere than the goal has it? */
static bool part_is_elsewhere(const struct plan_input *input, const struct snapshot_guest *guest,
			      const struct move_goal *goal, bool is_rebound)
{
	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t nodes;

		if (plan_part_is_rebound(guest, i) == is_rebound &&
		    snapshot_guest_part_policy(guest, i, &nodes) != POLICY_MODE_DEFAULT &&
		    wanted_nodes(input, goal, &guest->backings[i], nodes) != nodes)
			return true;
	}
	return false;
}

bool move_goal_part_is_stuck(const struct plan_input *input, const struct snapshot_guest *guest,
			     const struct move_goal *goal)
{
	return part_is_elsewhere(input, guest, goal, true);
}

bool move_goal_part_differs(const struct plan_input *input, const struct snapshot_guest *guest,
			    const struct move_goal *goal)
{
	return guest->policy_mode == POLICY_MODE_MIXED && part_is_elsewhere(input, guest, goal, false);
}

/* What the cpuset was before this operation made it what it is; 0: it did not, or nobody knows. */
static uint64_t mems_before(const struct plan_input *input, const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_CPUSET && record->state != STEP_STATE_UNDONE)
			return record->step.nodes == guest->cpuset_mems ? record->step.from_nodes : 0;
	}
	return 0;
}

/* Where a part was bound before this operation widened the cpuset: what the wish spoke of. */
static uint64_t nodes_before(const struct plan_input *input, const struct snapshot_guest *guest, uint64_t nodes)
{
	uint64_t before = mems_before(input, guest), was;

	if (!before)
		return nodes;
	was = node_remap_policy(nodes, guest->cpuset_mems, before);
	/* What cannot have come about by that came later, as a memory device does. */
	return node_remap_policy(was, before, guest->cpuset_mems) == nodes ? was : nodes;
}

bool move_goal_shifts(const struct plan_input *input, const struct snapshot_guest *guest,
		      const struct move_goal *goal, uint64_t new_mems)
{
	if (!guest->cpuset_mems)
		return false;
	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t nodes, after;

		if (!plan_part_is_rebound(guest, i) ||
		    snapshot_guest_part_policy(guest, i, &nodes) == POLICY_MODE_DEFAULT || !nodes)
			continue;
		after = node_remap_policy(nodes, guest->cpuset_mems, new_mems);
		if (after != nodes && after != goal->to_nodes &&
		    after != wanted_nodes(input, goal, &guest->backings[i], nodes_before(input, guest, nodes)))
			return true;
	}
	/* What it stands on is not known: then all of it may be rewritten. */
	if (guest->backing_count || guest->policy_mode == POLICY_MODE_DEFAULT)
		return false;
	return node_remap_policy(guest->policy_nodes, guest->cpuset_mems, new_mems) !=
	       guest->policy_nodes;
}
