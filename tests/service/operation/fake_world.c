/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_world.h"

/* What they check must hold in whatever the build type is. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "memory_hints.h"
#include "operation_lock.h"
#include "placement_owed.h"
#include "snapshot.h"

static const char *const uuids[FAKE_GUESTS] = {"11111111-1111-1111-1111-111111111111",
					       "22222222-2222-2222-2222-222222222222"};

static int node_of(size_t block)
{
	return block < 16 ? 0 : block < 32 ? 1 : 2;
}

uint64_t fake_world_now(void *user)
{
	return ((struct fake_world *)user)->now_ms;
}

/* ---- looking ---- */

static void see_nodes(struct fake_world *world, struct snapshot *snapshot)
{
	for (int id = 0; id < FAKE_NODES; id++) {
		struct snapshot_node *node = snapshot_add_node(snapshot);

		node->id = id;
		node->has_cpus = id < 2;
		for (size_t i = 0; i < FAKE_BLOCKS; i++)
			if (node_of(i) == id && world->state.online[i] &&
			    !(id == 2 && world->state.ejected))
				node->total_bytes += FAKE_BLOCK;
		node->has_memory = node->total_bytes > 0;
		node->movable_bytes = id == 2 ? node->total_bytes : 0;
		for (size_t i = 0; i < FAKE_GUESTS; i++)
			node->guest_bytes += world->state.guests[i].node_bytes[id];
		node->free_bytes = node->total_bytes > node->guest_bytes
					   ? node->total_bytes - node->guest_bytes
					   : 0;
		node->free_bytes -= node->free_bytes < world->used_bytes[id] ? node->free_bytes : world->used_bytes[id];
		node->pool_count = 1;
		node->pools[0].page_bytes = 2 * FAKE_MIB;
		node->pools[0].total = node->pools[0].free =
			world->state.pool_bytes[id] / (2 * FAKE_MIB);
		for (int other = 0; other < FAKE_NODES; other++)
			node->distances[other] =
				other == id ? 10 : (uint8_t)(10 + 5 * (id + other));
	}
}

size_t fake_world_dimm_end(const struct fake_world *world)
{
	return world->beside_bytes ? 36 : FAKE_BLOCKS;
}

/* What of the guest lies in the DIMM: as long as any of that is online, all that is not beside it. */
static uint64_t dimm_bytes(const struct fake_world *world, const struct fake_guest *guest)
{
	bool is_online = false;

	for (size_t i = 32; i < fake_world_dimm_end(world); i++)
		is_online = is_online || world->state.online[i];
	if (!is_online || guest->node_bytes[2] <= world->beside_bytes)
		return 0;
	return guest->node_bytes[2] - world->beside_bytes;
}

static void see_blocks(struct fake_world *world, struct snapshot *snapshot)
{
	struct snapshot_dimm *dimm = snapshot_add_dimm(snapshot);

	if (world->has_hooks)
		snapshot->hooks = (struct snapshot_hooks){.count = 1, .names = "10-cache"};
	if (world->has_bad_hook)
		snprintf(snapshot->hooks.trouble, sizeof(snapshot->hooks.trouble), "30-x is not run");
	snprintf(dimm->id, sizeof(dimm->id), "d1");
	snprintf(dimm->locator, sizeof(dimm->locator), "P1-C2");
	dimm->kind = DIMM_KIND_ACPI;
	dimm->node = 2;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){32 * FAKE_BLOCK, fake_world_dimm_end(world) * FAKE_BLOCK};
	dimm->movable = ANSWER_YES;
	dimm->interleaved = ANSWER_NO;
	dimm->ejectable = true;
	dimm->state = SNAPSHOT_DIMM_OFFLINE;
	for (size_t i = 0; i < FAKE_BLOCKS; i++) {
		struct snapshot_block *block;

		if (node_of(i) == 2 && world->state.ejected)
			continue;
		block = snapshot_add_block(snapshot);
		block->id = i;
		block->start = i * FAKE_BLOCK;
		block->size_bytes = FAKE_BLOCK;
		block->node = node_of(i);
		block->state = world->state.online[i] ? BLOCK_STATE_ONLINE : BLOCK_STATE_OFFLINE;
		block->zone = node_of(i) == 2 ? BLOCK_ZONE_MOVABLE : BLOCK_ZONE_NORMAL;
		if (node_of(i) == 2 && i < fake_world_dimm_end(world) && world->state.online[i])
			dimm->state = SNAPSHOT_DIMM_ONLINE;
	}
	if (world->state.ejected)
		dimm->state = SNAPSHOT_DIMM_EJECTED;
	for (size_t i = 0; i < FAKE_GUESTS; i++)
		dimm->guest_bytes += world->state.guests[i].node_bytes[2];
}

/* What lies on the DIMM's node, as far as it can be the device's, from its beginning on; what is pinned leaves from there. */
static void see_places(const struct fake_world *world, struct snapshot_guest *guest)
{
	const struct snapshot_device *device = &guest->devices[0];
	struct snapshot_residency *residency = &guest->residencies[guest->residency_count++];
	uint64_t left = guest->node_bytes[2] < device->current_bytes ? guest->node_bytes[2] : device->current_bytes;
	uint64_t at = world->has_passed ? 256 * FAKE_MIB - left : 0;

	*residency = (struct snapshot_residency){device->address, device->size_bytes, SNAPSHOT_UNIT_LEAST_BYTES,
						 device->size_bytes / SNAPSHOT_UNIT_LEAST_BYTES, {0}};
	for (size_t unit = at / residency->unit_bytes; left; unit++) {
		uint64_t most = (unit + 1) * residency->unit_bytes - at, bytes = left < most ? left : most;

		left -= bytes;
		at += bytes;
		residency->bytes[unit] = bytes;
		guest->places[guest->place_count++] = (struct snapshot_place){
			(uint32_t)(bytes / SNAPSHOT_PLACE_BYTES), 0, (uint8_t)unit, SNAPSHOT_NO_DIMM, 2};
	}
}

static void see_guests(struct fake_world *world, struct snapshot *snapshot)
{
	for (size_t i = 0; i < FAKE_GUESTS; i++) {
		const struct fake_guest *from = &world->state.guests[i];
		struct snapshot_guest *guest = snapshot_add_guest(snapshot);

		snprintf(guest->uuid, sizeof(guest->uuid), "%s", uuids[i]);
		snprintf(guest->name, sizeof(guest->name), "g%zu", i + 1);
		guest->state = GUEST_STATE_RUNNING;
		guest->pid = 100 + (int)i;
		guest->start_time = 1 + from->starts;
		guest->base_bytes = FAKE_GUEST_BASE;
		guest->max_bytes = 2 * FAKE_GIB;
		guest->current_bytes = from->current_bytes;
		guest->requested_bytes = from->requested_bytes;
		guest->cell_count = 1;
		guest->cells[0].bytes = from->current_bytes;
		guest->device_count = 1;
		snprintf(guest->devices[0].alias, sizeof(guest->devices[0].alias), "vm0");
		guest->devices[0].size_bytes = guest->max_bytes - guest->base_bytes;
		guest->devices[0].block_bytes = 2 * FAKE_MIB;
		guest->devices[0].requested_bytes = from->requested_bytes - guest->base_bytes;
		guest->devices[0].current_bytes = from->current_bytes - guest->base_bytes;
		guest->devices[0].address = 4 * FAKE_GIB;
		if (world->has_balloon && i == 0) {
			guest->device_count = 0;
			guest->has_balloon = true;
			guest->balloon_bytes = from->current_bytes;
			guest->base_bytes = guest->max_bytes;
		}
		for (int node = 0; node < FAKE_NODES; node++) {
			guest->node_bytes[node] = from->node_bytes[node];
			guest->resident_bytes += from->node_bytes[node];
		}
		if (world->tells_places)
			see_places(world, guest);
		guest->vfio = world->has_passed && i == 0;
		guest->surveyed = true;
		guest->surveyed_at_ms = world->now_ms;
		guest->dimms_told = world->beside_bytes;
		guest->dimm_count = guest->dimms_told;
		snprintf(guest->dimm_bytes[0].id, sizeof(guest->dimm_bytes[0].id), "d1");
		guest->dimm_bytes[0].bytes = dimm_bytes(world, from);
		guest->backing_count = 1;
		guest->backings[0].kind = BACKING_KIND_MEMFD;
		guest->backings[0].page_bytes = 4096;
		guest->backings[0].bytes = from->current_bytes;
		guest->backings[0].cell = 0;
		if (world->has_huge) {
			guest->backing_count = 2;
			guest->backings[1] = guest->backings[0];
			guest->backings[1].kind = BACKING_KIND_HUGETLB;
			guest->backings[1].page_bytes = 2 * FAKE_MIB;
			guest->backings[0].bytes = guest->backings[1].bytes = from->current_bytes / 2;
		}
		guest->policy_mode = from->policy_mode;
		guest->policy_nodes = from->policy_nodes;
		guest->numatune_mode =
			from->numatune_nodes ? NUMATUNE_MODE_STRICT : NUMATUNE_MODE_NONE;
		guest->numatune_nodes = from->numatune_nodes;
		guest->stored_numatune_nodes = from->stored_nodes;
		guest->persistent = true;
		guest->cpuset_mems = from->cpuset_mems;
		guest->cpu_nodes = from->cpu_nodes;
		guest->agent.state = AGENT_STATE_READY;
		guest->agent.reported = true;
		guest->agent.features = UINT64_MAX;
		guest->agent.last_seen_ms = world->now_ms;
		fake_guest_see(from, &guest->agent);
	}
	for (size_t i = 0; i < world->idle_guests; i++) {
		struct snapshot_guest *guest = snapshot_add_guest(snapshot);

		snprintf(guest->uuid, sizeof(guest->uuid), "33333333-0000-0000-0000-%012x", (unsigned)i);
		snprintf(guest->name, sizeof(guest->name), "idle%zu", i);
		guest->state = GUEST_STATE_SHUT_OFF;
	}
}

static void see_holds(struct fake_world *world, struct snapshot *snapshot)
{
	assert(engine_see_holds(world->engine, snapshot) == 0);
	if (world->hints)
		assert(memory_hints_see(world->hints, snapshot) == 0);
	if (snapshot->hold_count)
		snapshot_node(snapshot, 2)->held = snapshot->dimms[0].held = true;
}

const struct snapshot *fake_world_see(struct fake_world *world)
{
	struct snapshot *snapshot = snapshot_new();

	snapshot_free(world->snapshot);
	world->snapshot = snapshot;
	snapshot->revision = ++world->revision;
	snapshot->observed_at_ms = world->now_ms;
	snapshot->block_bytes = FAKE_BLOCK;
	snapshot->reserve_bytes = 256 * FAKE_MIB;
	snapshot->rates.of[RATE_KIND_MOVE] = (struct measured_rate){.amount = FAKE_GIB, .ms = 1000};
	see_nodes(world, snapshot);
	see_blocks(world, snapshot);
	see_guests(world, snapshot);
	see_holds(world, snapshot);
	return snapshot;
}

/* ---- acting ---- */

static struct fake_guest *guest_of(struct fake_world *world, const struct step *step)
{
	for (size_t i = 0; i < FAKE_GUESTS; i++)
		if (strcmp(uuids[i], step->guest) == 0)
			return &world->state.guests[i];
	return NULL;
}

/* Half of a step leaves something between: every second byte or block. */
static uint64_t move(struct fake_world *world, struct fake_guest *guest, const struct step *step, bool half)
{
	uint64_t moved = 0;

	for (int node = 0; node < FAKE_NODES; node++) {
		int to = step->by_map ? step->map[node] : -1;
		uint64_t bytes = guest->node_bytes[node];

		if (!step->by_map && step->nodes && !(step->nodes >> node & 1))
			to = __builtin_ctzll(step->nodes);
		if (step->range_count)
			bytes = node == 2 ? dimm_bytes(world, guest) : 0;
		if (to < 0 || to == node || bytes == 0)
			continue;
		if (half)
			bytes /= 2;
		guest->node_bytes[node] -= bytes;
		guest->node_bytes[to] += bytes;
		moved += bytes;
	}
	return moved;
}

/* The guest gives up, or takes, what was asked; what it takes lands where its policy says. */
static void resize(struct fake_world *world, struct fake_guest *guest, uint64_t requested_bytes, bool kick, bool half)
{
	uint64_t aim = requested_bytes, least, change;
	int node = 0;

	guest->requested_bytes = requested_bytes;
	if (kick)
		guest->stuck_above = 0;
	least = fake_guest_least_bytes(guest);
	if (aim < guest->current_bytes && least > aim)
		aim = least < guest->current_bytes ? least : guest->current_bytes;
	while (node < FAKE_NODES - 1 && !guest->node_bytes[node])
		node++;
	if (world->has_passed && guest->policy_nodes)
		node = __builtin_ctzll(guest->policy_nodes);
	if (aim > guest->current_bytes) {
		change = (aim - guest->current_bytes) / (half ? 2 : 1);
		guest->current_bytes += change;
		guest->node_bytes[node] += change;
		return;
	}
	change = (guest->current_bytes - aim) / (half ? 2 : 1);
	world->left_online_bytes += fake_guest_unplug(guest, change);
	for (node = 0; node < FAKE_NODES && change > 0; node++) {
		int from = world->tells_places ? FAKE_NODES - 1 - node : node;
		uint64_t bytes = guest->node_bytes[from] < change ? guest->node_bytes[from] : change;

		guest->node_bytes[from] -= bytes;
		change -= bytes;
	}
}

/* A pool has no page where there is no memory: at most an eighth of the DIMM's blocks that are online. */
static bool cut_pool(struct fake_world *world)
{
	uint64_t most = 0;

	for (size_t i = 0; i < FAKE_BLOCKS; i++)
		most += node_of(i) == 2 && world->state.online[i] ? FAKE_BLOCK / 8 : 0;
	if (world->state.pool_bytes[2] <= most)
		return false;
	world->state.pool_bytes[2] = most;
	return true;
}

static void apply(struct fake_world *world, const struct fake_action *action, bool half,
		  struct executor_outcome *outcome)
{
	const struct step *step = &action->step;
	struct fake_guest *guest = guest_of(world, step);
	uint64_t was = guest ? guest->current_bytes : 0, base = step->kind == STEP_KIND_BALLOON ? 0 : FAKE_GUEST_BASE;
	bool every_second = true;

	if (guest && fake_guest_climb(guest, action->operation, step, half, outcome))
		return;
	switch (step->kind) {
	case STEP_KIND_REQUEST:
	case STEP_KIND_KICK:
	case STEP_KIND_SETTLE:
	case STEP_KIND_BALLOON:
		resize(world, guest, base + step->target_bytes, step->kind == STEP_KIND_KICK, half);
		outcome->bytes_done = was > guest->current_bytes ? was - guest->current_bytes
								 : guest->current_bytes - was;
		outcome->reached_bytes = guest->current_bytes - base;
		outcome->flat = guest->current_bytes != guest->requested_bytes;
		break;
	case STEP_KIND_REPORT_FREE:
	case STEP_KIND_LAZY:
		break;
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
		if (!half)
			fake_guest_end_lease(guest, action->operation, step->kind == STEP_KIND_AGENT_COMMIT);
		break;
	case STEP_KIND_CPUSET:
		if (!half)
			guest->cpuset_mems = step->nodes;
		break;
	case STEP_KIND_CPUS:
		if (!half)
			guest->cpu_nodes = step->nodes;
		break;
	case STEP_KIND_HOST_POOL: {
		uint64_t *pool = &world->state.pool_bytes[step->node];

		was = *pool;
		*pool = half ? (was + step->target_bytes) / 2 : step->target_bytes;
		outcome->bytes_done = was > *pool ? was - *pool : *pool - was;
		break;
	}
	case STEP_KIND_NUMATUNE:
		if (!half)
			guest->numatune_nodes = step->nodes;
		break;
	case STEP_KIND_PERSIST:
		if (!half)
			guest->stored_nodes = step->nodes;
		break;
	case STEP_KIND_MEMORY_POLICY:
		if (!half) {
			guest->policy_mode = step->mode;
			guest->policy_nodes = step->nodes;
		}
		break;
	case STEP_KIND_MOVE_PAGES:
		outcome->bytes_done = move(world, guest, step, half);
		outcome->longest_pause_us = 1500;
		outcome->result = "{\"guest\":{\"longest_pause_us\":1400,\"p99_us\":20,\"samples\":3}}";
		break;
	case STEP_KIND_OFFLINE_BLOCKS:
	case STEP_KIND_ONLINE_BLOCKS:
		for (size_t i = 0; i < FAKE_BLOCKS; i++) {
			if (!step_has_block(step, i) || (half && (every_second = !every_second)))
				continue;
			if (world->state.online[i] != (step->kind == STEP_KIND_ONLINE_BLOCKS))
				outcome->bytes_done += FAKE_BLOCK;
			world->state.online[i] = step->kind == STEP_KIND_ONLINE_BLOCKS;
		}
		cut_pool(world);
		break;
	case STEP_KIND_EJECT:
		if (!half)
			world->state.ejected = true;
		break;
	case STEP_KIND_SLICE_CPUSETS:
		/* With half of it one slice of two is left as it was. */
		world->state.slices_lack |= step->nodes;
		break;
	case STEP_KIND_HOST_HOOKS:
		/* With half of them one is enough to change something. */
		world->state.hooks_asked = step_is_after(step) ? world->state.hooks_asked && half : true;
		break;
	case STEP_KIND_AWAIT:
		/* Nothing has changed: what happens in this world is done by steps. */
		outcome->state = STEP_STATE_PARTIAL;
		break;
	case STEP_KIND_PROBE:
	case STEP_KIND_PROOF:
		break;
	case STEP_KIND_ONLINE_POLICY:
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_COMPACT:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
		assert(!"a guest's own step, without the guest");
		break;
	case STEP_KIND_CORDON:
	case STEP_KIND_UNCORDON:
	case STEP_KIND_CHILD:
	case STEP_KIND_UNDO:
	case STEP_KIND_COUNT:
		assert(!"a step of the engine's own");
	}
}

static char *values_before(struct fake_world *world, const struct step *step, bool owes)
{
	const struct fake_guest *guest = guest_of(world, step);
	char online[FAKE_BLOCKS + 1] = {0};
	json_t *json;
	char *text;

	for (size_t i = 0; i < FAKE_BLOCKS; i++)
		online[i] = world->state.online[i] ? '1' : '0';
	json = json_pack("{s:s, s:I, s:I, s:[I, I, I], s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "online", online, "pool",
			 (json_int_t)(step->node >= 0 ? world->state.pool_bytes[step->node] : 0),
			 "cpus", (json_int_t)(guest ? guest->cpu_nodes : 0), "node_bytes", (json_int_t)(guest ? guest->node_bytes[0] : 0),
			 (json_int_t)(guest ? guest->node_bytes[1] : 0),
			 (json_int_t)(guest ? guest->node_bytes[2] : 0), "mode",
			 guest ? (int)guest->policy_mode : 0, "policy",
			 (json_int_t)(guest ? guest->policy_nodes : 0), "numatune",
			 (json_int_t)(guest ? guest->numatune_nodes : 0), "stored",
			 (json_int_t)(guest ? guest->stored_nodes : 0), "cpuset",
			 (json_int_t)(guest ? guest->cpuset_mems : 0), "requested",
			 (json_int_t)(guest ? guest->requested_bytes : 0), "owed",
			 (json_int_t)(guest ? guest->huge_owed_bytes : 0), "slices",
			 (json_int_t)world->state.slices_lack);
	assert(json);
	if (owes)
		json_object_set_new(json, "found", json_true());
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

/* False where it does not come back. */
static bool put_back(struct fake_world *world, const struct fake_action *action, bool half)
{
	const struct step *step = &action->step;
	struct fake_guest *guest = guest_of(world, step);
	json_t *json = json_loads(action->before, 0, NULL);
	json_int_t nodes[3], policy, numatune, stored, cpuset, requested, owed, pool, cpus, slices;
	const char *online;
	bool is_back = true;
	int mode;
	bool every_second = true;

	assert(json &&
	       json_unpack(json,
			   "{s:s, s:I, s:I, s:[I, I, I], s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			   "online", &online, "pool", &pool, "cpus", &cpus, "node_bytes", &nodes[0], &nodes[1], &nodes[2], "mode",
			   &mode, "policy", &policy, "numatune", &numatune, "stored", &stored,
			   "cpuset", &cpuset, "requested", &requested, "owed", &owed, "slices", &slices) == 0);
	switch (step->kind) {
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
	case STEP_KIND_ONLINE_POLICY:
		/* The agent undoes by leases alone. */
		if (!half)
			fake_guest_end_lease(guest, action->operation, false);
		/* But for what a commit has kept: that is given back by itself. */
		if (!half && step->kind == STEP_KIND_FREE_HUGE_PAGES)
			fake_guest_repay(guest, (uint64_t)owed);
		break;
	case STEP_KIND_REQUEST:
	case STEP_KIND_KICK:
	case STEP_KIND_BALLOON:
		resize(world, guest, (uint64_t)requested, true, half);
		for (int i = 0; i < 3 && !half; i++)
			guest->node_bytes[i] = (uint64_t)nodes[i];
		break;
	case STEP_KIND_REPORT_FREE:
	case STEP_KIND_LAZY:
		break;
	case STEP_KIND_CPUSET:
		guest->cpuset_mems = half ? guest->cpuset_mems : (uint64_t)cpuset;
		break;
	case STEP_KIND_CPUS:
		guest->cpu_nodes = half ? guest->cpu_nodes : (uint64_t)cpus;
		break;
	case STEP_KIND_HOST_POOL:
		world->state.pool_bytes[step->node] =
			half ? (world->state.pool_bytes[step->node] + (uint64_t)pool) / 2
			     : (uint64_t)pool;
		is_back = !cut_pool(world);
		break;
	case STEP_KIND_NUMATUNE:
		guest->numatune_nodes = half ? guest->numatune_nodes : (uint64_t)numatune;
		break;
	case STEP_KIND_PERSIST:
		guest->stored_nodes = half ? guest->stored_nodes : (uint64_t)stored;
		break;
	case STEP_KIND_MEMORY_POLICY:
		if (!half) {
			guest->policy_mode = (enum policy_mode)mode;
			guest->policy_nodes = (uint64_t)policy;
		}
		break;
	case STEP_KIND_MOVE_PAGES:
		for (int i = 0; i < 3; i++)
			guest->node_bytes[i] =
				half ? (guest->node_bytes[i] + (uint64_t)nodes[i]) / 2
				     : (uint64_t)nodes[i];
		break;
	case STEP_KIND_OFFLINE_BLOCKS:
	case STEP_KIND_ONLINE_BLOCKS:
		for (size_t i = 0; i < FAKE_BLOCKS; i++)
			if (step_has_block(step, i) && !(half && (every_second = !every_second)))
				world->state.online[i] = online[i] == '1';
		break;
	case STEP_KIND_SLICE_CPUSETS:
		/* What it has taken, and not what was lacking then. */
		if (!half)
			world->state.slices_lack &= ~(step->nodes & ~(uint64_t)slices);
		break;
	case STEP_KIND_HOST_HOOKS:
		world->state.hooks_asked = world->state.hooks_asked && half;
		break;
	case STEP_KIND_SETTLE:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_COMPACT:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_AWAIT:
	case STEP_KIND_PROBE:
	case STEP_KIND_PROOF:
	case STEP_KIND_EJECT:
	case STEP_KIND_CORDON:
	case STEP_KIND_UNCORDON:
	case STEP_KIND_CHILD:
	case STEP_KIND_UNDO:
	case STEP_KIND_COUNT:
		break;
	}
	json_decref(json);
	return is_back;
}

/* ---- a worker that the kernel keeps ---- */

static bool is_hotplug(enum step_kind kind)
{
	return kind == STEP_KIND_OFFLINE_BLOCKS || kind == STEP_KIND_ONLINE_BLOCKS || kind == STEP_KIND_EJECT;
}

/* Does a worker run such steps, and change something by them that a lock is for? */
static bool can_stick(enum step_kind kind)
{
	return is_hotplug(kind) || kind == STEP_KIND_MOVE_PAGES || kind == STEP_KIND_MEMORY_POLICY ||
	       kind == STEP_KIND_CPUSET || kind == STEP_KIND_HOST_POOL;
}

bool fake_world_stick(struct fake_world *world)
{
	struct fake_action *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++) {
		struct fake_action *action = &world->actions[i];

		if (action->used && (action->call == FAKE_CALL_START || action->call == FAKE_CALL_UNDO) &&
		    can_stick(action->step.kind) && (!found || is_hotplug(action->step.kind)))
			found = action;
	}
	if (!found)
		return false;
	world->stuck = *found;
	found->used = false;
	return true;
}

void fake_world_unstick(struct fake_world *world, bool is_done)
{
	struct executor_outcome outcome = {0};
	struct fake_action *action = &world->stuck;

	if (is_done && action->call == FAKE_CALL_START)
		apply(world, action, false, &outcome);
	else if (is_done)
		put_back(world, action, false);
	step_done(&action->step);
	free(action->before);
	action->used = false;
}

/* Nobody may have in his hands what it has in its own. */
static void look_beside(struct fake_world *world, const struct step *step)
{
	struct operation_lock wanted[OPERATION_LOCK_STEP_MAX], held[OPERATION_LOCK_STEP_MAX];
	size_t wanted_count = operation_lock_of_step(step, wanted);
	size_t held_count = world->stuck.used ? operation_lock_of_step(&world->stuck.step, held) : 0;

	for (size_t i = 0; i < wanted_count; i++)
		for (size_t j = 0; j < held_count; j++)
			if (wanted[i].kind == held[j].kind && strcmp(wanted[i].name, held[j].name) == 0)
				world->beside_stuck = true;
}

/* ---- the executor ---- */

static struct fake_action *new_action(struct fake_world *world, enum fake_call call, void *token)
{
	struct fake_action *free_one = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++) {
		if (world->actions[i].used && world->actions[i].token == token)
			world->overlap = true;
		if (!world->actions[i].used && !free_one)
			free_one = &world->actions[i];
	}
	assert(free_one);
	*free_one = (struct fake_action){
		.used = true, .call = call, .token = token, .asked = ++world->asked};
	return free_one;
}

static void end_action(struct fake_action *action)
{
	step_done(&action->step);
	free(action->before);
	free(action->seen);
	action->used = false;
}

static void answer_look(struct fake_world *world, executor_looked_fn *looked, void *token)
{
	struct failure failure = {0};

	if (++world->looks == world->fail_look) {
		failure_set(&failure, EIO, "libvirt", "cannot look at");
		looked(token, -EIO, NULL, &failure);
		return;
	}
	looked(token, 0, fake_world_see(world), NULL);
}

static void answer_prepare(struct fake_world *world, const struct step *step, bool owes,
			   executor_prepared_fn *prepared, void *token)
{
	struct failure failure = {0};
	char *before;

	if (++world->prepares == world->fail_prepare) {
		failure_set(&failure, EIO, "guest g1", "cannot read");
		failure_set_code(&failure, "libvirt_refused");
		prepared(token, -EIO, NULL, &failure);
		return;
	}
	if (world->keeps_slices && step->kind == STEP_KIND_SLICE_CPUSETS && step_is_of_newcomer(step)) {
		failure_set(&failure, EBUSY, "slices", "cannot take a node out");
		failure_set_cause(&failure, "slice system.slice: too much is there");
		prepared(token, -EBUSY, NULL, &failure);
		return;
	}
	before = values_before(world, step, owes);
	prepared(token, 0, before, NULL);
	free(before);
}

static void on_look(void *user, const struct operation_record *operation,
		    executor_looked_fn *looked, void *token)
{
	struct fake_world *world = user;
	struct fake_action *action;

	if (world->answers_inside) {
		answer_look(world, looked, token);
		return;
	}
	action = new_action(world, FAKE_CALL_LOOK, token);
	action->looked = looked;
	if (!world->drain_look_ticks || operation->wish.kind != OPERATION_KIND_DRAIN)
		return;
	action->seen = malloc(sizeof(*action->seen));
	assert(action->seen);
	*action->seen = world->state;
}

static void tick_look(struct fake_world *world, struct fake_action *action)
{
	struct fake_action taken = *action;
	struct fake_state now = world->state;

	if (action->seen && ++action->ticks < world->drain_look_ticks)
		return;
	action->used = false;
	if (taken.seen)
		world->state = *taken.seen;
	free(taken.seen);
	/* The engine only notes it. */
	answer_look(world, taken.looked, taken.token);
	world->state = now;
}

static void on_prepare(void *user, const struct operation_record *operation,
		       const struct step_record *record, const struct snapshot *snapshot,
		       executor_prepared_fn *prepared, void *token)
{
	struct fake_world *world = user;
	struct placement_owed owed = placement_owed(operation, record);
	bool owes = owed.policies || owed.cpusets;
	struct fake_action *action;

	assert(snapshot);
	if (world->answers_inside) {
		answer_prepare(world, &record->step, owes, prepared, token);
		return;
	}
	action = new_action(world, FAKE_CALL_PREPARE, token);
	action->owes = owes;
	action->prepared = prepared;
	step_copy(&record->step, &action->step);
}

static void count_at_once(const struct fake_world *world, enum fake_call call, unsigned *most)
{
	unsigned at_once = 0;

	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++)
		at_once += world->actions[i].used && world->actions[i].call == call;
	*most = at_once > *most ? at_once : *most;
}

static void on_start(void *user, const struct operation_record *operation,
		     const struct step_record *record, const struct snapshot *snapshot,
		     executor_progress_fn *progress, executor_finished_fn *finished, void *token)
{
	struct fake_world *world = user;
	struct fake_action *action = new_action(world, FAKE_CALL_START, token);

	assert(snapshot && record->before);
	look_beside(world, &record->step);
	action->progress = progress;
	action->finished = finished;
	action->number = ++world->starts;
	action->hangs = action->number == world->hang_start;
	snprintf(action->operation, sizeof(action->operation), "%s", operation->id);
	step_copy(&record->step, &action->step);
	if (record->step.kind == STEP_KIND_AWAIT)
		action->due_ms = world->now_ms + record->step.timeout_ms;
	count_at_once(world, FAKE_CALL_START, &world->starts_at_once);
}

/* By what it has written down, and by nothing else. */
static bool is_judged(const struct operation_record *operation)
{
	for (size_t i = 0; i < operation->step_count; i++) {
		const struct step_record *record = &operation->steps[i];

		if (step_sets_policy(&record->step) || step_sets_cpuset(&record->step) ||
		    (record->before && strstr(record->before, "\"found\":true")))
			return true;
	}
	return false;
}

static void on_undo(void *user, const struct operation_record *operation,
		    const struct step_record *record, executor_progress_fn *progress,
		    executor_finished_fn *finished, void *token)
{
	struct fake_world *world = user;
	struct fake_action *action = new_action(world, FAKE_CALL_UNDO, token);

	assert(record->before);
	look_beside(world, &record->step);
	if (record->step.kind == STEP_KIND_MOVE_PAGES)
		snprintf(world->pages_undone, sizeof(world->pages_undone), "%s", operation->id);
	else if (step_sets_policy(&record->step) && strcmp(world->pages_undone, operation->id) == 0)
		world->policies_late++;
	action->progress = progress;
	action->finished = finished;
	action->number = ++world->undos;
	action->hangs = action->number == world->hang_undo;
	count_at_once(world, FAKE_CALL_UNDO, &world->undos_at_once);
	snprintf(action->operation, sizeof(action->operation), "%s", operation->id);
	action->is_judged = is_judged(operation);
	action->before = strdup(record->before);
	step_copy(&record->step, &action->step);
	if (world->fail_undos_from == action->number)
		world->fail_undo_kind = record->step.kind;
}

static struct fake_action *action_of(struct fake_world *world, const void *token)
{
	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++)
		if (world->actions[i].used && world->actions[i].token == token)
			return &world->actions[i];
	return NULL;
}

static void on_cancel(void *user, void *token)
{
	struct fake_action *action = action_of(user, token);

	assert(action);
	action->cancelled = true;
	action->hangs = action->paused = false;
	action->due_ms = 0;
}

static void on_pause(void *user, void *token, bool paused)
{
	struct fake_action *action = action_of(user, token);

	assert(action);
	action->paused = paused;
}

static void finish(struct fake_action *action, const struct executor_outcome *outcome)
{
	executor_finished_fn *finished = action->finished;
	void *token = action->token;

	end_action(action);
	finished(token, outcome);
}

static bool is_inhabited(const struct fake_world *world)
{
	return dimm_bytes(world, &world->state.guests[0]) || dimm_bytes(world, &world->state.guests[1]);
}

static void tick_start(struct fake_world *world, struct fake_action *action)
{
	struct executor_outcome outcome = {.state = STEP_STATE_DONE};
	enum step_state always =
		action->step.kind == world->fail_kind ? world->fail_kind_state : STEP_STATE_DONE;

	if (action->number == world->stick_start) {
		outcome.state = STEP_STATE_FAILED;
		outcome.kernel_stuck = true;
		outcome.stuck_pid = 77;
		remainder_list_add(&outcome.remainder, REMAINDER_KERNEL_STUCK, "block 32", 0, NULL,
				   "pid 77 does not end");
		finish(action, &outcome);
	} else if (action->step.kind == STEP_KIND_OFFLINE_BLOCKS && is_inhabited(world)) {
		outcome.state = STEP_STATE_FAILED;
		remainder_list_add(&outcome.remainder, REMAINDER_BLOCK_BUSY, "block 32", FAKE_BLOCK,
				   NULL, "guests are there");
		finish(action, &outcome);
	} else if (action->number == world->fail_start || always == STEP_STATE_FAILED ||
		   (action->step.kind == STEP_KIND_SLICE_CPUSETS && world->keeps_slices)) {
		outcome.state = STEP_STATE_FAILED;
		remainder_list_add(&outcome.remainder, REMAINDER_PAGE_BUSY, "guest g1", 4096, NULL,
				   "told to fail");
		finish(action, &outcome);
	} else if (++action->ticks == 1 && !action->cancelled) {
		apply(world, action, true, &outcome);
		action->bytes_done = outcome.bytes_done;
		action->hangs = action->step.kind == world->hang_kind;
		action->progress(action->token, action->bytes_done, action->step.bytes, "half way");
	} else if (action->cancelled || action->number == world->part_start ||
		   always == STEP_STATE_PARTIAL) {
		outcome.state = STEP_STATE_PARTIAL;
		outcome.bytes_done = action->bytes_done;
		remainder_list_add(&outcome.remainder,
				   action->cancelled ? REMAINDER_CANCELLED : REMAINDER_PAGE_BUSY,
				   "guest g1", 4096, NULL, "half of it");
		finish(action, &outcome);
	} else {
		apply(world, action, false, &outcome);
		outcome.bytes_done += action->bytes_done;
		if (outcome.flat) {
			outcome.state = STEP_STATE_PARTIAL;
			remainder_list_add(&outcome.remainder, REMAINDER_DRIVER_STALLED, "guest g1",
					   4096, NULL, "flat");
		}
		finish(action, &outcome);
	}
}

static bool is_changed(const struct fake_world *world, const struct step *step)
{
	for (size_t i = 0; i < FAKE_GUESTS; i++)
		if (world->is_changed[i] && step_places_guest(step) && strcmp(step->guest, uuids[i]) == 0)
			return true;
	return false;
}

static void tick_undo(struct fake_world *world, struct fake_action *action)
{
	struct executor_outcome outcome = {.state = STEP_STATE_DONE};

	if (action->number == world->stick_undo) {
		outcome.state = STEP_STATE_PARTIAL;
		outcome.kernel_stuck = true;
		outcome.stuck_pid = 78;
		remainder_list_add(&outcome.remainder, REMAINDER_KERNEL_STUCK, "block 32", 0, NULL,
				   "pid 78 does not end");
		finish(action, &outcome);
	} else if (world->fail_undos_from && action->number >= world->fail_undos_from &&
	    action->step.kind == world->fail_undo_kind) {
		outcome.state = STEP_STATE_FAILED;
		remainder_list_add(&outcome.remainder, REMAINDER_PAGE_BUSY, "guest g1", 4096, NULL,
				   "told to fail");
		finish(action, &outcome);
	} else if (action->is_judged && is_changed(world, &action->step)) {
		remainder_list_add(&outcome.remainder, REMAINDER_CHANGED_SINCE, "guest g1", 0, NULL, "set by somebody else");
		finish(action, &outcome);
	} else if (++action->ticks == 1) {
		put_back(world, action, true);
	} else {
		if (!put_back(world, action, false)) {
			outcome.state = STEP_STATE_FAILED;
			remainder_list_add(&outcome.remainder, REMAINDER_NO_ROOM, "node 2", 0, NULL,
					   "there is no memory for its pool");
		}
		if (action->step.kind == world->complain_undo)
			remainder_list_add(&outcome.remainder,
					   action->step.kind == STEP_KIND_HOST_HOOKS ? REMAINDER_HOOK_FAILED
										      : REMAINDER_SLICE_CPUSET,
					   "hook 10-cache", 0, NULL,
					   "after: exit status 1");
		finish(action, &outcome);
	}
}

bool fake_world_tick(struct fake_world *world)
{
	struct fake_action *action = NULL, taken;

	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++) {
		struct fake_action *other = &world->actions[i];

		if (other->used && !other->hangs && !other->paused && other->due_ms <= world->now_ms &&
		    (!action || other->asked < action->asked))
			action = other;
	}
	if (!action)
		return false;
	action->asked = ++world->asked;
	world->ticks++;
	world->now_ms += 10;
	switch (action->call) {
	case FAKE_CALL_LOOK:
		tick_look(world, action);
		break;
	case FAKE_CALL_PREPARE:
		taken = *action;
		action->used = false;
		answer_prepare(world, &taken.step, taken.owes, taken.prepared, taken.token);
		step_done(&taken.step);
		break;
	case FAKE_CALL_START:
		tick_start(world, action);
		break;
	case FAKE_CALL_UNDO:
		tick_undo(world, action);
		break;
	}
	return true;
}

void fake_world_tell(struct fake_world *world, uint64_t done_bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++) {
		const struct fake_action *action = &world->actions[i];

		if (action->used && action->hangs)
			action->progress(action->token, done_bytes, action->step.bytes, "goes on");
	}
}

void fake_world_unhang(struct fake_world *world)
{
	world->hang_kind = STEP_KIND_COUNT;
	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++)
		world->actions[i].hangs = false;
}

void fake_world_crash(struct fake_world *world)
{
	for (size_t i = 0; i < ARRAY_SIZE(world->actions); i++)
		if (world->actions[i].used)
			end_action(&world->actions[i]);
	for (size_t i = 0; i < FAKE_GUESTS; i++)
		fake_guest_lose_host(&world->state.guests[i]);
	world->now_ms += 1000;
}

void fake_world_init(struct fake_world *world)
{
	memset(world, 0, sizeof(*world));
	world->fail_kind = world->hang_kind = world->complain_undo = STEP_KIND_COUNT;
	world->now_ms = UINT64_C(1700000000000);
	world->executor = (struct executor){.user = world,
					    .look = on_look,
					    .prepare = on_prepare,
					    .start = on_start,
					    .undo = on_undo,
					    .cancel = on_cancel,
					    .pause = on_pause};
	for (size_t i = 0; i < FAKE_BLOCKS; i++)
		world->state.online[i] = true;
	for (size_t i = 0; i < FAKE_GUESTS; i++) {
		struct fake_guest *guest = &world->state.guests[i];

		guest->cpuset_mems = 7;
		guest->cpu_nodes = 3;
		guest->policy_mode = POLICY_MODE_DEFAULT;
		guest->node_bytes[1] = i == 0 ? 0 : 256 * FAKE_MIB;
		guest->node_bytes[2] = i == 0 ? 512 * FAKE_MIB : 128 * FAKE_MIB;
		guest->current_bytes = guest->requested_bytes =
			guest->node_bytes[1] + guest->node_bytes[2];
	}
	/* The first is bound to the DIMM's node, and its stored XML says so. */
	world->state.guests[0].policy_mode = POLICY_MODE_BIND;
	world->state.guests[0].policy_nodes = 1u << 2;
	world->state.guests[0].numatune_nodes = 1u << 2;
	world->state.guests[0].stored_nodes = 1u << 2;
	world->state.guests[0].huge_free_bytes = 64 * FAKE_MIB;
}

void fake_world_done(struct fake_world *world)
{
	fake_world_crash(world);
	if (world->stuck.used)
		fake_world_unstick(world, false);
	world->snapshot = snapshot_free(world->snapshot);
}

bool fake_world_is_drained(const struct fake_world *world, bool ejected)
{
	for (size_t i = 0; i < FAKE_GUESTS; i++)
		if (world->state.guests[i].node_bytes[2] != 0)
			return false;
	for (size_t i = 32; i < FAKE_BLOCKS; i++)
		if (world->state.online[i])
			return false;
	return world->state.ejected == ejected;
}

bool fake_state_is_equal(const struct fake_state *a, const struct fake_state *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
