/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each step is expected to do, applied to a snapshot: the world in which a dry run goes on
 * planning.
 */
#include "plan_priv.h"

#include <string.h>
#include "node_remap.h"

static void give_free(struct snapshot *snapshot, int node_id, uint64_t bytes)
{
	struct snapshot_node *node = snapshot_node(snapshot, node_id);

	if (node)
		node->free_bytes += bytes;
}

static void take_free(struct snapshot *snapshot, int node_id, uint64_t bytes)
{
	struct snapshot_node *node = snapshot_node(snapshot, node_id);

	if (node)
		node->free_bytes -= plan_min(node->free_bytes, bytes);
}

/* What some of a guest is made of: huge pages by their size, and the rest. */
struct parts {
	size_t count;
	uint64_t page_bytes[SNAPSHOT_BACKINGS_MAX], pages[SNAPSHOT_BACKINGS_MAX];
};

/* Of these bytes, which it still has on the node; -1: of all of it. */
static struct parts parts_of(const struct snapshot_guest *guest, int node, uint64_t bytes)
{
	struct parts parts = {0};

	for (uint64_t page = plan_guest_next_size(guest, 0); page; page = plan_guest_next_size(guest, page)) {
		parts.page_bytes[parts.count] = page;
		parts.pages[parts.count++] = (plan_guest_size_bytes(guest, node, bytes, page) + page - 1) / page;
	}
	return parts;
}

/* Where its huge pages lie from then on; from, to -1: nowhere. */
static void carry_parts(struct snapshot_guest *guest, int from, int to, const struct parts *parts)
{
	for (size_t i = 0; i < guest->huge_count; i++)
		for (size_t n = 0; n < parts->count; n++) {
			struct snapshot_huge *huge = &guest->huges[i];
			uint64_t pages = parts->pages[n];

			if (parts->page_bytes[n] != huge->page_bytes)
				continue;
			if (from >= 0)
				pages = plan_min(pages, huge->pages[from]);
			if (from >= 0)
				huge->pages[from] -= (uint32_t)pages;
			if (to >= 0)
				huge->pages[to] += (uint32_t)pages;
		}
}

/* What leaves a node leaves its pools free, and its memory where it is no huge page. */
static void leave(struct snapshot *snapshot, int from, uint64_t bytes, const struct parts *parts)
{
	struct snapshot_node *node = snapshot_node(snapshot, from);

	if (node)
		node->guest_bytes -= plan_min(node->guest_bytes, bytes);
	for (size_t i = 0; i < parts->count; i++) {
		struct snapshot_pool *pool = parts->pages[i] ? plan_pool(snapshot, from, parts->page_bytes[i]) : NULL;

		if (!pool)
			continue;
		pool->free += parts->pages[i];
		bytes -= plan_min(bytes, parts->pages[i] * parts->page_bytes[i]);
	}
	give_free(snapshot, from, bytes);
}

static void come(struct snapshot *snapshot, int to, uint64_t bytes, const struct parts *parts)
{
	struct snapshot_node *node = snapshot_node(snapshot, to);

	if (node)
		node->guest_bytes += bytes;
	for (size_t i = 0; i < parts->count; i++) {
		struct snapshot_pool *pool = parts->pages[i] ? plan_pool(snapshot, to, parts->page_bytes[i]) : NULL;
		uint64_t had;

		if (!pool)
			continue;
		had = plan_min(pool->free, parts->pages[i]);
		pool->free -= had;
		bytes -= plan_min(bytes, had * parts->page_bytes[i]);
	}
	take_free(snapshot, to, bytes);
}

/* Some of what a node has, with the room that it takes and leaves. */
static void carry(struct snapshot *snapshot, struct snapshot_guest *guest, int from, int to, uint64_t bytes)
{
	struct parts parts = parts_of(guest, from, bytes);

	carry_parts(guest, from, to, &parts);
	guest->node_bytes[from] -= bytes;
	guest->node_bytes[to] += bytes;
	leave(snapshot, from, bytes, &parts);
	come(snapshot, to, bytes, &parts);
}

/* It is nowhere any more. */
static void drop(struct snapshot *snapshot, struct snapshot_guest *guest, int from, uint64_t bytes)
{
	struct parts parts = parts_of(guest, from, bytes);

	carry_parts(guest, from, -1, &parts);
	guest->node_bytes[from] -= bytes;
	leave(snapshot, from, bytes, &parts);
}

static struct snapshot_device *find_device(struct snapshot_guest *guest, const char *alias)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (strcmp(guest->devices[i].alias, alias) == 0)
			return &guest->devices[i];
	return NULL;
}

/* The guest's memory is what its agent would then report; what was free leaves first. */
static void apply_size(struct snapshot_guest *guest, uint64_t *current, uint64_t target)
{
	uint64_t change = target > *current ? target - *current : *current - target;
	struct snapshot_agent *agent = &guest->agent;

	if (target > *current) {
		guest->current_bytes += change;
		agent->movable_bytes += change;
		agent->memory_free_bytes += change;
		agent->memory_available_bytes += change;
	} else {
		uint64_t offline = plan_min(agent->offline_bytes, change);

		guest->current_bytes -= plan_min(guest->current_bytes, change);
		/* What is offline was counted out when it went, and leaves before all else. */
		agent->offline_bytes -= offline;
		change -= offline;
		agent->movable_bytes -= plan_min(agent->movable_bytes, change);
		agent->memory_free_bytes -= plan_min(agent->memory_free_bytes, change);
		agent->memory_available_bytes -= plan_min(agent->memory_available_bytes, change);
	}
	*current = target;
}

/*
 * What was unplugged the host has no page for, so much of it at least; from where most are, because where it lay is not
 * known.
 */
static void discard(struct snapshot *snapshot, struct snapshot_guest *guest, uint64_t bytes)
{
	uint64_t left = plan_min(guest->resident_bytes - plan_min(guest->resident_bytes, bytes), guest->current_bytes);

	while (guest->resident_bytes > left) {
		uint64_t excess = guest->resident_bytes - left;
		int most = 0;

		for (int node = 1; node < SNAPSHOT_NODES_MAX; node++)
			if (guest->node_bytes[node] > guest->node_bytes[most])
				most = node;
		excess = plan_min(excess, guest->node_bytes[most]);
		if (!excess)
			return;
		guest->resident_bytes -= excess;
		drop(snapshot, guest, most, excess);
	}
}

static void request_size(struct snapshot_guest *guest, struct snapshot_device *device, uint64_t target)
{
	uint64_t others = guest->requested_bytes - plan_min(guest->requested_bytes, device->requested_bytes);

	apply_size(guest, &device->current_bytes, target);
	device->requested_bytes = target;
	guest->requested_bytes = others + target;
}


/* One node's pages to another, with the room they take and leave. */
static void move_node(struct snapshot *snapshot, struct snapshot_guest *guest, int from, int to)
{
	uint64_t bytes = guest->node_bytes[from];

	if (from == to || !bytes)
		return;
	for (size_t i = 0; i < guest->dimm_count; i++) {
		struct snapshot_guest_dimm *part = &guest->dimm_bytes[i];
		const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, part->id);

		if (snapshot_guest_dimm_is_piece(part) ? part->node == from : dimm && dimm->node == from)
			part->bytes = 0;
	}
	for (size_t i = 0; i < guest->place_count; i++)
		if (guest->places[i].node == from) {
			guest->places[i].node = (int8_t)to;
			guest->places[i].dimm = SNAPSHOT_NO_DIMM;
		}
	carry(snapshot, guest, from, to, bytes);
}

static void apply_map(struct snapshot *snapshot, struct snapshot_guest *guest, const int8_t *map)
{
	uint64_t before[SNAPSHOT_NODES_MAX], after[SNAPSHOT_NODES_MAX] = {0};
	uint64_t sources = 0, destinations = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (map[node] < 0)
			continue;
		sources |= plan_node_bit(node);
		destinations |= plan_node_bit(map[node]);
	}
	if (!(sources & destinations)) {
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
			if (map[node] >= 0)
				move_node(snapshot, guest, node, map[node]);
		return;
	}
	/* Crossing maps: all at once, and the room changes by the difference. */
	memcpy(before, guest->node_bytes, sizeof(before));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		after[map[node] >= 0 ? map[node] : node] += before[node];
	memcpy(guest->node_bytes, after, sizeof(after));
	/* Which of its huge pages are where then is not followed. */
	guest->huge_count = 0;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (before[node] > after[node]) {
			struct parts parts = parts_of(guest, node, before[node] - after[node]);

			leave(snapshot, node, before[node] - after[node], &parts);
		}
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (after[node] > before[node]) {
			struct parts parts = parts_of(guest, node, after[node] - before[node]);

			come(snapshot, node, after[node] - before[node], &parts);
		}
}

/* What the guest has in those DIMMs and pieces of the node that the scope covers is not in them any more. */
static void leave_dimms(const struct snapshot *snapshot, const struct drain_scope *scope, struct snapshot_guest *guest,
			int node)
{
	for (size_t i = 0; i < guest->dimm_count; i++)
		guest->dimm_bytes[i].bytes -= drain_scope_part_bytes(snapshot, scope, guest, node, i);
}

/* Of each of the map's nodes what lies in the ranges. */
static void apply_ranges(struct snapshot *snapshot, struct snapshot_guest *guest, const int8_t *map,
			 const struct snapshot_range *ranges, size_t count)
{
	struct drain_scope scope;

	drain_scope_of_ranges(snapshot, ranges, count, &scope);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t bytes = map[node] >= 0 ? drain_scope_node_bytes(snapshot, &scope, guest, node) : 0;

		if (!bytes || map[node] == node)
			continue;
		leave_dimms(snapshot, &scope, guest, node);
		carry(snapshot, guest, node, map[node], bytes);
	}
}

static uint64_t map_nodes(const int8_t *map, uint64_t nodes)
{
	uint64_t result = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes >> node & 1)
			result |= plan_node_bit(map[node] >= 0 ? map[node] : node);
	return result;
}

/* What a passed-through device pins stays away; only the policies go back. */
static void policies_home(struct snapshot_guest *guest, const int8_t *away)
{
	int8_t home[SNAPSHOT_NODES_MAX];

	memset(home, -1, sizeof(home));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (away[node] >= 0)
			home[away[node]] = (int8_t)node;
	if (guest->policy_mode != POLICY_MODE_DEFAULT)
		guest->policy_nodes = map_nodes(home, guest->policy_nodes);
	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].policy_mode != POLICY_MODE_DEFAULT)
			guest->backings[i].policy_nodes = map_nodes(home, guest->backings[i].policy_nodes);
}

/* What a move brought away by this map comes home, up to so many bytes. */
static void apply_home(struct snapshot *snapshot, struct snapshot_guest *guest, const struct step *step)
{
	uint64_t rest = step->bytes;

	if (guest->vfio) {
		policies_home(guest, step->map);
		return;
	}
	for (int home = 0; home < SNAPSHOT_NODES_MAX; home++) {
		int away = step->map[home];
		uint64_t bytes = away >= 0 ? plan_min(rest, guest->node_bytes[away]) : 0;

		if (!bytes)
			continue;
		carry(snapshot, guest, away, home, bytes);
		rest -= bytes;
	}
}

/* What the host has of the named ranges goes, as far as it is known where that lies. */
static void discard_named(struct snapshot *snapshot, struct snapshot_guest *guest, const struct snapshot_range *ranges,
			  size_t count)
{
	for (size_t i = 0; i < guest->place_count; i++) {
		struct snapshot_place *place = &guest->places[i];
		struct snapshot_residency *residency = &guest->residencies[place->device];
		struct snapshot_range unit = snapshot_unit_range(residency, place->unit);
		uint64_t bytes = (uint64_t)place->pages * SNAPSHOT_PLACE_BYTES;
		uint64_t named = snapshot_ranges_shared(ranges, count, &unit, 1);
		uint64_t gone = plan_share(bytes, named, unit.end - unit.start);

		if (!named || place->node < 0)
			continue;
		gone = plan_min(gone, guest->node_bytes[place->node]);
		place->pages -= (uint32_t)(gone / SNAPSHOT_PLACE_BYTES);
		residency->bytes[place->unit] -= plan_min(residency->bytes[place->unit], gone);
		if (place->dimm < guest->dimm_count)
			guest->dimm_bytes[place->dimm].bytes -= plan_min(guest->dimm_bytes[place->dimm].bytes, gone);
		guest->resident_bytes -= plan_min(guest->resident_bytes, gone);
		drop(snapshot, guest, place->node, gone);
	}
}

/* A child that resizes devices by their names. */
static void apply_sizes(struct snapshot *snapshot, struct snapshot_guest *guest, const struct wish *child)
{
	for (size_t i = 0; i < child->resize.device_count; i++) {
		struct snapshot_device *device = find_device(guest, child->resize.devices[i].alias);
		uint64_t target = child->resize.devices[i].requested_bytes;

		if (device)
			request_size(guest, device, target);
	}
	discard_named(snapshot, guest, child->resize.ranges, child->resize.range_count);
}

/* What a device pins comes at once, where the step says. */
static void come_again(struct snapshot *snapshot, struct snapshot_guest *guest, int node, uint64_t bytes)
{
	if (node < 0)
		return;
	struct parts parts = parts_of(guest, -1, bytes);

	carry_parts(guest, -1, node, &parts);
	guest->node_bytes[node] += bytes;
	guest->resident_bytes += bytes;
	come(snapshot, node, bytes, &parts);
}

static void apply_request(struct snapshot *snapshot, struct snapshot_guest *guest,
			  const struct step *step)
{
	struct snapshot_device *device = find_device(guest, step->device);
	uint64_t there, before;

	if (!device)
		return;
	there = move_free_there(guest, device, step);
	before = device->current_bytes;
	request_size(guest, device, step->target_bytes);
	if (step_replugs(step))
		discard_named(snapshot, guest, step->ranges, step->range_count);
	else if (step->target_bytes > before)
		come_again(snapshot, guest, plan_first_node(step->nodes), step->target_bytes - before);
	discard(snapshot, guest, there);
}

/* A child that moves: its pages, and the policy and cpuset that go with them. */
static void apply_child(struct snapshot *snapshot, struct snapshot_guest *guest,
			const struct wish *child)
{
	if (child && child->kind == OPERATION_KIND_RESIZE)
		apply_sizes(snapshot, guest, child);
	if (!child || child->kind != OPERATION_KIND_MOVE || child->move.form != MOVE_FORM_MAP)
		return;
	if (child->move.range_count) {
		apply_ranges(snapshot, guest, child->move.map, child->move.ranges, child->move.range_count);
		if (guest->cpuset_mems)
			guest->cpuset_mems |= map_nodes(child->move.map, guest->cpuset_mems);
		return;
	}
	apply_map(snapshot, guest, child->move.map);
	if (guest->policy_mode != POLICY_MODE_DEFAULT)
		guest->policy_nodes = map_nodes(child->move.map, guest->policy_nodes);
	if (guest->cpuset_mems)
		guest->cpuset_mems |= map_nodes(child->move.map, guest->cpuset_mems);
	if (child->move.persist)
		guest->stored_numatune_nodes =
			map_nodes(child->move.map, guest->stored_numatune_nodes);
}

static void apply_cells(struct snapshot *snapshot, struct snapshot_guest *guest,
			const struct step *step)
{
	int8_t map[SNAPSHOT_NODES_MAX];
	int first = plan_first_node(step->nodes);

	/* Which cell's pages lie where is not in a snapshot: what is on none of the destinations
	 * goes to the first. */
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		map[node] = step->nodes >> node & 1 ? -1 : (int8_t)first;
	apply_map(snapshot, guest, map);
}

static void apply_pool(struct snapshot *snapshot, const struct step *step)
{
	struct snapshot_pool *pool = plan_pool(snapshot, step->node, step->page_bytes);
	struct snapshot_node *node = snapshot_node(snapshot, step->node);
	uint64_t pages = step->page_bytes ? step->target_bytes / step->page_bytes : 0;

	if (!node || !step->page_bytes)
		return;
	if (!pool) {
		if (node->pool_count == SNAPSHOT_POOLS_MAX)
			return;
		pool = &node->pools[node->pool_count++];
		*pool = (struct snapshot_pool){.page_bytes = step->page_bytes};
	}
	if (pages > pool->total) {
		take_free(snapshot, step->node, (pages - pool->total) * step->page_bytes);
		pool->free += pages - pool->total;
	} else {
		uint64_t gone = plan_min(pool->total - pages, pool->free);

		give_free(snapshot, step->node, gone * step->page_bytes);
		pool->free -= gone;
		/* Those in use stay as surplus. */
		if (pool->total - gone > pages)
			pool->surplus = pool->total - gone - pages;
		pages = pool->total - gone;
	}
	pool->total = pages;
}

/* What the parts of a guest have together. */
static void join_policies(struct snapshot_guest *guest)
{
	enum policy_mode mode = guest->backings[0].policy_mode;
	uint64_t all = 0, nodes = guest->backings[0].policy_nodes;

	for (size_t i = 0; i < guest->backing_count; i++) {
		all |= guest->backings[i].policy_nodes;
		if (guest->backings[i].policy_mode != mode || guest->backings[i].policy_nodes != nodes)
			mode = POLICY_MODE_MIXED;
	}
	guest->policy_mode = mode;
	guest->policy_nodes = all;
}

/* So that each part can go its own way. */
static void spread_policy(struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t nodes;

		guest->backings[i].policy_mode = snapshot_guest_part_policy(guest, i, &nodes);
		guest->backings[i].policy_nodes = nodes;
	}
}

static void apply_cpuset(struct snapshot_guest *guest, uint64_t nodes)
{
	spread_policy(guest);
	for (size_t i = 0; i < guest->backing_count; i++) {
		struct snapshot_backing *part = &guest->backings[i];

		if (plan_part_is_rebound(guest, i) && part->policy_nodes)
			part->policy_nodes = node_remap_policy(part->policy_nodes,
							       guest->cpuset_mems, nodes);
	}
	if (guest->backing_count)
		join_policies(guest);
	guest->cpuset_mems = nodes;
}

static void apply_policy(struct snapshot_guest *guest, const struct step *step)
{
	spread_policy(guest);
	for (size_t i = 0; i < guest->backing_count; i++) {
		struct snapshot_backing *part = &guest->backings[i];
		int cell = part->cell;

		if (plan_part_is_rebound(guest, i) ||
		    (step->by_cells && (cell < 0 || step->cells[cell] < 0)))
			continue;
		if (step->by_cells)
			part->policy_nodes = plan_node_bit(step->cells[cell]);
		else
			part->policy_nodes = step->by_map ? map_nodes(step->map, part->policy_nodes)
							  : step->nodes;
		if (step->mode != POLICY_MODE_MIXED)
			part->policy_mode = step->mode;
	}
	if (guest->backing_count)
		join_policies(guest);
}

static void apply_cordon(struct snapshot *snapshot, const struct step *step)
{
	struct snapshot_hold *hold = snapshot_add_hold(snapshot);

	if (!hold)
		return;
	memcpy(hold->drain, step->text, sizeof(hold->drain) - 1);
	memcpy(hold->dimm, step->dimm, sizeof(hold->dimm));
	hold->node = step->node;
	hold->range_count = step->range_count;
	memcpy(hold->ranges, step->ranges, sizeof(hold->ranges));
}

static void refresh_node(struct snapshot *snapshot, int node_id)
{
	struct snapshot_node *node = snapshot_node(snapshot, node_id);

	if (!node)
		return;
	node->has_memory = false;
	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].node == node_id &&
		    snapshot->blocks[i].state == BLOCK_STATE_ONLINE)
			node->has_memory = true;
}

static void apply_blocks(struct snapshot *snapshot, const struct step *step, bool online)
{
	for (size_t i = 0; i < snapshot->block_count; i++) {
		struct snapshot_block *block = &snapshot->blocks[i];
		struct snapshot_node *node = snapshot_node(snapshot, block->node);

		if (!step_has_block(step, block->id) || (block->state == BLOCK_STATE_ONLINE) == online)
			continue;
		block->state = online ? BLOCK_STATE_ONLINE : BLOCK_STATE_OFFLINE;
		if (!node)
			continue;
		if (online) {
			node->total_bytes += block->size_bytes;
			node->free_bytes += block->size_bytes;
		} else {
			node->total_bytes -= plan_min(node->total_bytes, block->size_bytes);
			node->free_bytes -= plan_min(node->free_bytes, block->size_bytes);
		}
		refresh_node(snapshot, node->id);
	}
}

static void apply_eject(struct snapshot *snapshot, const char *dimm_id)
{
	struct snapshot_dimm *dimm = snapshot_dimm(snapshot, dimm_id);
	size_t kept = 0;

	if (!dimm)
		return;
	dimm->state = SNAPSHOT_DIMM_EJECTED;
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (!snapshot_block_is_in(block, dimm->ranges, dimm->range_count))
			snapshot->blocks[kept++] = *block;
	}
	snapshot->block_count = kept;
}

/* By cells: one of them does not move. */
static bool stays(const struct snapshot_guest *guest, const struct step *step)
{
	for (size_t i = 0; step->by_cells && i < guest->cell_count; i++) {
		int id = guest->cells[i].id;

		if (id >= 0 && id < SNAPSHOT_CELLS_MAX && step->cells[id] < 0)
			return true;
	}
	return false;
}

static void apply_guest(struct snapshot *snapshot, struct snapshot_guest *guest,
			const struct step *step)
{
	struct snapshot_agent *agent = &guest->agent;
	uint64_t freed;

	switch (step->kind) {
	case STEP_KIND_ONLINE_POLICY:
		memcpy(agent->online_policy, step->text, sizeof(agent->online_policy) - 1);
		return;
	case STEP_KIND_FREE_HUGE_PAGES:
		freed = plan_min(agent->huge_free_bytes, step->bytes);
		agent->huge_free_bytes -= freed;
		agent->memory_free_bytes += freed;
		agent->memory_available_bytes += freed;
		return;
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
		agent->movable_bytes -= plan_min(agent->movable_bytes, step->bytes);
		agent->memory_free_bytes -= plan_min(agent->memory_free_bytes, step->bytes);
		agent->memory_available_bytes -= plan_min(agent->memory_available_bytes, step->bytes);
		agent->offline_bytes += step->bytes;
		return;
	case STEP_KIND_REQUEST:
	case STEP_KIND_KICK:
	case STEP_KIND_SETTLE:
		apply_request(snapshot, guest, step);
		return;
	case STEP_KIND_BALLOON:
		guest->balloon_bytes = step->target_bytes;
		guest->current_bytes = step->target_bytes;
		return;
	case STEP_KIND_CPUSET:
		apply_cpuset(guest, step->nodes);
		return;
	case STEP_KIND_NUMATUNE:
		apply_cpuset(guest, step->nodes);
		guest->numatune_nodes = step->nodes;
		return;
	case STEP_KIND_MEMORY_POLICY:
		apply_policy(guest, step);
		guest->policy_balancing = false;
		guest->policy_loose = step->loose;
		return;
	case STEP_KIND_MOVE_PAGES:
		if (step->by_cells)
			apply_cells(snapshot, guest, step);
		else if (step->range_count)
			apply_ranges(snapshot, guest, step->map, step->ranges, step->range_count);
		else
			apply_map(snapshot, guest, step->map);
		return;
	case STEP_KIND_CPUS:
		guest->cpu_nodes = step->nodes;
		return;
	case STEP_KIND_PERSIST:
		guest->stored_numatune_nodes = stays(guest, step) ? guest->stored_numatune_nodes | step->nodes
								  : step->nodes;
		return;
	case STEP_KIND_CHILD:
		apply_child(snapshot, guest, step->child);
		return;
	case STEP_KIND_UNDO:
		apply_home(snapshot, guest, step);
		return;
	/* Nothing of these is seen in a snapshot, or they belong to no guest. */
	case STEP_KIND_REPORT_FREE:
	case STEP_KIND_LAZY:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_COMPACT:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_AWAIT:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_HOST_POOL:
	case STEP_KIND_CORDON:
	case STEP_KIND_UNCORDON:
	case STEP_KIND_HOST_HOOKS:
	case STEP_KIND_OFFLINE_BLOCKS:
	case STEP_KIND_ONLINE_BLOCKS:
	case STEP_KIND_SLICE_CPUSETS:
	case STEP_KIND_EJECT:
	case STEP_KIND_PROBE:
	case STEP_KIND_PROOF:
	case STEP_KIND_COUNT:
		return;
	}
}

void plan_apply(struct snapshot *snapshot, const struct step *step, uint64_t now_ms,
		struct step_record *ret_record)
{
	plan_apply_to(snapshot, step->guest[0] ? snapshot_guest(snapshot, step->guest) : NULL, step, now_ms, ret_record);
}

void plan_apply_to(struct snapshot *snapshot, struct snapshot_guest *guest, const struct step *step, uint64_t now_ms,
		   struct step_record *ret_record)
{
	memset(ret_record, 0, sizeof(*ret_record));
	/* Where memory is short the record is without the child's wish, which no planner reads
	 * back. */
	if (step_copy(step, &ret_record->step) < 0) {
		ret_record->step = *step;
		ret_record->step.child = NULL;
	}
	ret_record->state = STEP_STATE_DONE;
	ret_record->started_at_ms = ret_record->ended_at_ms = now_ms;
	ret_record->bytes_done = step->bytes;
	ret_record->reached_bytes = step->target_bytes;
	if (guest)
		apply_guest(snapshot, guest, step);
	if (step->kind == STEP_KIND_HOST_POOL)
		apply_pool(snapshot, step);
	if (step->kind == STEP_KIND_CORDON)
		apply_cordon(snapshot, step);
	if (step->kind == STEP_KIND_OFFLINE_BLOCKS)
		apply_blocks(snapshot, step, false);
	if (step->kind == STEP_KIND_ONLINE_BLOCKS ||
	    (step->kind == STEP_KIND_UNDO && strcmp(step->text, step_kind_name(STEP_KIND_OFFLINE_BLOCKS)) == 0))
		apply_blocks(snapshot, step, true);
	if (step->kind == STEP_KIND_EJECT)
		apply_eject(snapshot, step->dimm);
}
