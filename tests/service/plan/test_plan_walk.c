/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random hosts, guests and wishes, and a kernel that does all, some or nothing of each step.
 * Whatever happens: the operation ends, no step is repeated when nothing has changed since, what
 * stayed is explained to the byte, nothing is placed on a node under a hold or beyond the reserve,
 * a move gives back what it took of the guest's size and of the host's pools, or says so, a guest of
 * whose node a part is drained has afterwards what it had there, or it is said, a drain makes a guest
 * smaller only by what lies in its target, and only where all have a place by that, takes no block offline under
 * a guest that no move has touched, tells the hooks that it has asked, and a dry run is the
 * run in which everything works. That a drain's moves run beside each other, and end in any order, changes
 * nothing of that. What a device pins is unplugged only where it is to leave, and all of it is back before more is taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

#define WALKS	  8000
#define STEPS_MAX 120
/* The first of the second DIMM, where there is one. */
#define SECOND_DIMM_BLOCK 56

/* xorshift64: the same walks on every machine, by every compiler. So no expression draws twice. */
static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
	return draw(state) % limit;
}

static bool chance(uint64_t *state, unsigned percent)
{
	return below(state, 100) < percent;
}

/* Some guests have two cells that differ, and some have memory that cannot move. */
static void random_parts(struct snapshot_guest *guest, uint64_t *state)
{
	if (chance(state, 30)) {
		guest->cell_count = guest->backing_count = 2;
		guest->cells[1].id = 1;
		guest->backings[1] = guest->backings[0];
		guest->backings[1].cell = 1;
		guest->backings[0].bytes /= 2;
		guest->backings[1].bytes -= guest->backings[0].bytes;
		if (chance(state, 50))
			guest->backings[1].kind = BACKING_KIND_MEMFD;
		if (chance(state, 50)) {
			guest->policy_mode = POLICY_MODE_MIXED;
			guest->policy_nodes = guest->cpuset_mems = 0;
			for (int i = 0; i < 2; i++) {
				guest->backings[i].policy_mode = POLICY_MODE_BIND;
				guest->backings[i].policy_nodes = UINT64_C(1) << below(state, 4);
				guest->policy_nodes |= guest->backings[i].policy_nodes;
			}
			guest->cpuset_mems = guest->policy_nodes;
		}
	}
	guest->pinned_bytes = chance(state, 10) ? below(state, 200) * MIB : 0;
	guest->private_bytes = chance(state, 5) ? below(state, 200) * MIB : 0;
	guest->transparent_huge_bytes = chance(state, 20) ? guest->resident_bytes / 2 : 0;
	guest->vfio = chance(state, 3);
	guest->free_page_reporting = chance(state, 20);
}

/* How what the guest has on node 3 lies in its DIMMs. */
static void random_dimms(struct world *world, uint64_t *state, struct snapshot_guest *guest)
{
	uint64_t bytes = guest->node_bytes[3];

	guest->dimms_told = chance(state, 80);
	for (size_t i = 0; guest->dimms_told && i < world->snapshot->dimm_count; i++) {
		struct snapshot_guest_dimm *part = &guest->dimm_bytes[guest->dimm_count++];
		bool is_last = i + 1 == world->snapshot->dimm_count;

		memcpy(part->id, world->snapshot->dimms[i].id, sizeof(part->id));
		part->bytes = is_last ? bytes : plan_min(below(state, bytes / (2 * MIB) + 1) * 2 * MIB, GIB);
		bytes -= part->bytes;
	}
}

static void random_guest(struct world *world, uint64_t *state, unsigned index, uint64_t most_pages)
{
	static const enum backing_kind kinds[] = {BACKING_KIND_MEMFD, BACKING_KIND_ANON,
						  BACKING_KIND_HUGETLB};
	struct snapshot_guest *guest;
	char name[16], alias[16];
	int node = (int)below(state, 4);

	snprintf(name, sizeof(name), "g%u", index);
	guest = world_add_guest(world, name, node, below(state, most_pages) * 2 * MIB);
	if (chance(state, 30)) {
		uint64_t other = below(state, 4);

		guest->node_bytes[other] += below(state, 50) * 2 * MIB;
	}
	guest->backings[0].kind = kinds[below(state, 3)];
	guest->backings[0].page_bytes =
		guest->backings[0].kind == BACKING_KIND_HUGETLB ? 2 * MIB : 4096;
	if (chance(state, 50)) {
		guest->policy_mode = POLICY_MODE_BIND;
		guest->policy_nodes = UINT64_C(1) << node;
		guest->cpuset_mems = chance(state, 70) ? guest->policy_nodes : 0;
	}
	if (chance(state, 20))
		guest->allowed_nodes = 1 + below(state, 15);
	if (chance(state, 20))
		guest->stored_numatune_nodes = guest->policy_nodes;
	guest->persistent = true;
	guest->resident_bytes = 0;
	for (int i = 0; i < 4; i++)
		guest->resident_bytes += guest->node_bytes[i];
	guest->backings[0].bytes = guest->resident_bytes;
	guest->cpu_nodes = 1 + below(state, 3);
	random_parts(guest, state);
	random_dimms(world, state, guest);
	for (uint64_t i = below(state, 3); i > 0; i--) {
		snprintf(alias, sizeof(alias), "vm%u", (unsigned)i);
		world_add_device(guest, alias, 2 * GIB, below(state, 1024) * 2 * MIB);
	}
	if (!guest->device_count) {
		guest->has_balloon = true;
		guest->balloon_bytes = guest->current_bytes;
	}
	if (chance(state, 70)) {
		uint64_t free_huge = below(state, 700) * 2 * MIB;

		world_add_agent(guest, below(state, 1500) * MIB, free_huge);
		guest->agent.huge_floor_bytes = chance(state, 30) ? below(state, 100) * 2 * MIB : 0;
		guest->agent.huge_used_bytes = below(state, 200) * 2 * MIB;
		guest->agent.veto = chance(state, 3);
		guest->agent.wrong_zone_bytes = chance(state, 10) ? below(state, 100) * MIB : 0;
		if (chance(state, 20))
			guest->agent.features = below(state, 32);
	}
}

/* Pools hold what guests have in huge pages, and some more. */
static void random_pools(struct world *world, uint64_t *state)
{
	for (size_t n = 0; n < world->snapshot->node_count; n++) {
		struct snapshot_node *node = &world->snapshot->nodes[n];
		uint64_t used = 0;

		for (size_t g = 0; g < world->snapshot->guest_count; g++)
			if (plan_guest_huge_page(&world->snapshot->guests[g]))
				used += world->snapshot->guests[g].node_bytes[node->id];
		node->pools[0].free = below(state, 60);
		node->pools[0].total = used / (2 * MIB) + node->pools[0].free;
		node->fragmented_bytes = chance(state, 20) ? node->free_bytes / 2 : 0;
	}
}

static void random_world(struct world *world, uint64_t *state)
{
	unsigned guests = 1 + (unsigned)below(state, 4);
	uint64_t most_pages = 150;

	world_init(world);
	if (chance(state, 40))
		world_add_second_dimm(world);
	/* On a larger host one guest may have so much that leaving out what is free in it pays. */
	if (chance(state, 30)) {
		for (int id = 0; id < 3; id++) {
			snapshot_node(world->snapshot, id)->total_bytes += 4 * GIB;
			snapshot_node(world->snapshot, id)->free_bytes += 4 * GIB;
		}
		most_pages = 1000;
	}
	for (unsigned i = 0; i < guests; i++)
		random_guest(world, state, i, i ? 150 : most_pages);
	random_pools(world, state);
	world->snapshot->numa_balancing_off = chance(state, 20);
	world->snapshot->hooks.count = chance(state, 30);
	if (chance(state, 20))
		*snapshot_add_hold(world->snapshot) =
			(struct snapshot_hold){.drain = "d0", .node = (int)below(state, 3)};
}

/* What the host has of the guest's first device lies in the first DIMM, as far as the guest has anything there. */
static void random_places(struct snapshot_guest *guest, uint64_t *state)
{
	struct snapshot_residency *residency = &guest->residencies[0];
	uint64_t left = guest->dimms_told ? guest->dimm_bytes[0].bytes : guest->node_bytes[3];
	uint8_t dimm = guest->dimms_told ? 0 : SNAPSHOT_NO_DIMM;

	if (!guest->device_count)
		return;
	for (size_t i = 0; i < guest->device_count; i++)
		guest->devices[i].address = (4 + 4 * i) * GIB;
	guest->residency_count = 1;
	*residency = (struct snapshot_residency){4 * GIB, 2 * GIB, 128 * MIB, 16, {0}};
	if (left > guest->devices[0].current_bytes)
		left = guest->devices[0].current_bytes;
	for (size_t unit = below(state, 8); unit < 16 && left; unit++) {
		uint64_t bytes = (7 + below(state, 26)) * 4 * MIB;

		bytes = bytes < left ? bytes : left;
		left -= bytes;
		residency->bytes[unit] = bytes;
		if (bytes)
			guest->places[guest->place_count++] = (struct snapshot_place){
				(uint32_t)(bytes / 4096), 0, (uint8_t)unit, dimm, 3};
	}
}

/* A device is passed through to it, and so all of it is pinned: of node 3 it has its virtio-mem alone. */
static void pass_device(struct snapshot_guest *guest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < guest->place_count; i++)
		bytes += (uint64_t)guest->places[i].pages * SNAPSHOT_PLACE_BYTES;
	if (!bytes)
		return;
	guest->vfio = true;
	guest->pinned_bytes = 0;
	guest->resident_bytes += bytes - guest->node_bytes[3];
	guest->node_bytes[3] = bytes;
	for (size_t i = 0; i < guest->dimm_count; i++)
		guest->dimm_bytes[i].bytes = i ? 0 : bytes;
	for (size_t i = 0; i < guest->backing_count; i++) {
		guest->backings[i].kind = BACKING_KIND_MEMFD;
		guest->backings[i].page_bytes = 4096;
	}
	if (guest->agent.reported)
		guest->agent.memory_available_bytes = guest->agent.memory_free_bytes = guest->current_bytes / 4 * 3;
}

/* A host that has little room, and guests of which it is known what they have in the DIMM. */
static void random_tightness(struct world *world, uint64_t *state)
{
	for (size_t i = 0; i < world->snapshot->guest_count; i++) {
		struct snapshot_guest *guest = &world->snapshot->guests[i];
		uint64_t more = below(state, 200) * 2 * MIB;

		guest->node_bytes[3] += more;
		guest->resident_bytes += more;
		guest->backings[0].bytes += more;
		if (guest->dimms_told)
			guest->dimm_bytes[0].bytes += more;
		/* No more than it has. */
		if (guest->dimm_count > 1 && guest->dimm_bytes[0].bytes > GIB) {
			guest->dimm_bytes[1].bytes += guest->dimm_bytes[0].bytes - GIB;
			guest->dimm_bytes[0].bytes = GIB;
		}
		guest->priority = (int)below(state, 3);
		if (guest->agent.reported && chance(state, 70))
			guest->agent.memory_available_bytes = guest->current_bytes / 4 * 3;
		random_places(guest, state);
	}
	for (int id = 0; id < 3; id++) {
		struct snapshot_node *node = snapshot_node(world->snapshot, id);

		node->free_bytes = (200 + below(state, 500)) * MIB;
		node->pools[0].total -= node->pools[0].free;
		node->pools[0].free = 0;
	}
}

/*
 * Instead of the DIMM the range in which it lies, as a survey tells that was asked about it: both DIMMs are one, of which a
 * part is drained, or there are none.
 */
static void make_range(struct world *world, bool has_dimm)
{
	struct snapshot *snapshot = world->snapshot;
	struct wish_drain *wish = &world->wish.drain_wish;

	wish->target = DRAIN_TARGET_RANGE;
	wish->range = (struct snapshot_range){6 * GIB, 7 * GIB};
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		struct snapshot_guest *guest = &snapshot->guests[i];

		guest->dimm_bytes[0].range = wish->range;
		guest->dimm_bytes[0].node = 3;
		memcpy(guest->dimm_bytes[1].id, guest->dimm_bytes[0].id, sizeof(guest->dimm_bytes[1].id));
		if (!has_dimm) {
			guest->dimm_bytes[0].id[0] = '\0';
			guest->dimm_count = guest->dimm_count ? 1 : 0;
		}
	}
	if (snapshot_block(snapshot, SECOND_DIMM_BLOCK))
		snapshot->dimms[0].ranges[0].end = 8 * GIB;
	snapshot->dimm_count = has_dimm;
}

static void random_wish(struct world *world, uint64_t *state)
{
	const struct snapshot_guest *guest = &world->snapshot->guests[0];
	uint64_t to;

	switch (below(state, 7)) {
	case 0:
		world_wish_resize(world, "g0", guest->base_bytes + below(state, 2048) * 2 * MIB);
		if (!guest->device_count)
			world->wish.resize.target_bytes = (1 + below(state, 256)) * 2 * MIB;
		break;
	case 1:
		world_wish_move(world, "g0", 1 + below(state, 15));
		break;
	case 2:
		to = below(state, 4);
		world_wish_map(world, "g0", (int)below(state, 4), (int)to);
		if (chance(state, 30)) {
			to = below(state, 4);
			world->wish.move.map[below(state, 4)] = (int8_t)to;
		}
		break;
	case 3:
		world_wish_move(world, "g0", 0);
		world->wish.move.form = MOVE_FORM_CELLS;
		world->wish.move.cells[0] = (int8_t)below(state, 4);
		world->wish.move.cells[1] = chance(state, 70) ? (int8_t)below(state, 4) : -1;
		break;
	case 4:
		world_wish_move(world, "g0", 0);
		world->wish.move.form = MOVE_FORM_NEAR_CPUS;
		break;
	default:
		world_wish_drain_dimm(world, (enum drain_finish)below(state, DRAIN_FINISH_COUNT));
		break;
	}
	if (world->wish.kind == OPERATION_KIND_MOVE) {
		world->wish.move.lazy = chance(state, 30);
		world->wish.move.cpus = chance(state, 20);
		world->wish.move.persist = chance(state, 30);
		world->wish.move.order = (enum move_order)below(state, MOVE_ORDER_COUNT);
	}
	world->wish.on_timeout = (enum on_timeout)below(state, ON_TIMEOUT_COUNT);
	if (chance(state, 50))
		world->wish.allow = UINT32_MAX;
	if (world->wish.kind == OPERATION_KIND_DRAIN && chance(state, 80))
		random_tightness(world, state);
	if (world->wish.kind == OPERATION_KIND_DRAIN && world->wish.drain_wish.finish < DRAIN_FINISH_EJECT && chance(state, 30))
		make_range(world, chance(state, 50));
	if (world->wish.kind == OPERATION_KIND_RESIZE)
		world->input.start_bytes = guest->current_bytes;
}

/* Only by virtio-mem that lies where it is to leave, with the consent, and never below the floor. */
static void check_replug(const struct world *world)
{
	const struct step *step = &world->decision.step;
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	uint64_t named = 0, there = 0;

	if (step->kind != STEP_KIND_OFFLINE_GUEST_BLOCKS || strcmp(step->text, STEP_TEXT_REPLUG) != 0)
		return;
	CHECK_TRUE(world->wish.allow >> CONSENT_SHRINK_GUESTS & 1);
	for (size_t i = 0; i < step->range_count; i++)
		named += step->ranges[i].end - step->ranges[i].start;
	for (size_t i = 0; i < guest->place_count; i++) {
		struct snapshot_range unit = snapshot_unit_range(&guest->residencies[0], guest->places[i].unit);

		for (size_t j = 0; j < step->range_count; j++)
			if (step->ranges[j].start <= unit.start && unit.end <= step->ranges[j].end &&
			    guest->places[i].node == 3 && guest->places[i].pages)
				there += unit.end - unit.start;
	}
	CHECK_INT(named, step->bytes);
	CHECK_INT(there, step->bytes);
	CHECK_TRUE(step->bytes <= (guest->current_bytes / 16 / (128 * MIB) + 1) * 128 * MIB);
	CHECK_TRUE(guest->current_bytes - step->bytes >= plan_guest_floor(guest));
	/* All of it is there when more is asked for. */
	for (size_t i = 0; i < guest->device_count; i++)
		CHECK_INT(guest->devices[i].current_bytes, guest->devices[i].requested_bytes);
}

static size_t replugs_of(const struct world *world)
{
	size_t replugs = 0;

	for (size_t i = 0; i < world->history_count; i++)
		replugs += step_replugs(&world->history[i].step);
	return replugs;
}

static bool same_step(const struct step *a, const struct step *b)
{
	char one[160], two[160];

	return a->kind == b->kind && strcmp(a->guest, b->guest) == 0 && a->range_count == b->range_count &&
	       memcmp(a->ranges, b->ranges, a->range_count * sizeof(a->ranges[0])) == 0 &&
	       strcmp(a->device, b->device) == 0 && a->node == b->node &&
	       a->target_bytes == b->target_bytes && a->nodes == b->nodes &&
	       strcmp(step_describe(a, one), step_describe(b, two)) == 0;
}

/* Since its last run another step must have been taken in between, or the step itself must have
 * gained. */
static void check_not_repeated(const struct world *world)
{
	if (!world->history_count)
		return;
	const struct step_record *last = &world->history[world->history_count - 1];

	if (same_step(&last->step, &world->decision.step) && last->bytes_done == 0)
		CHECK_STR("the same step again after it gained nothing",
			  step_kind_name(last->step.kind));
}

/* Nothing new goes where a hold stands, and never beyond the reserve. */
static void check_placement(const struct world *world)
{
	const struct step *step = &world->decision.step;
	const int8_t *map = step->kind == STEP_KIND_CHILD ? step->child->move.map : step->map;
	uint64_t held = snapshot_held_nodes(world->snapshot, world->wish.drain);

	if ((step->kind != STEP_KIND_CHILD && step->kind != STEP_KIND_MOVE_PAGES) || step_shrinks(step))
		return;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (map[node] >= 0)
			CHECK_TRUE(!(held >> map[node] & 1));
}

/* Exactly what is named, which lies in the target, by as much as the devices are asked for, and never below the floor. */
static void check_shrink(const struct world *world)
{
	const struct step *step = &world->decision.step;
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	const struct wish_resize *resize;
	uint64_t named = 0, less = 0, there = 0;

	if (!step_shrinks(step))
		return;
	resize = &step->child->resize;
	CHECK_TRUE(world->wish.allow >> CONSENT_SHRINK_GUESTS & 1);
	CHECK_TRUE(step->bytes > 0);
	for (size_t i = 0; i < resize->range_count; i++)
		named += resize->ranges[i].end - resize->ranges[i].start;
	for (size_t i = 0; i < resize->device_count; i++)
		for (size_t j = 0; j < guest->device_count; j++)
			if (strcmp(guest->devices[j].alias, resize->devices[i].alias) == 0)
				less += guest->devices[j].current_bytes - resize->devices[i].requested_bytes;
	for (size_t i = 0; i < guest->place_count; i++) {
		struct snapshot_range unit = snapshot_unit_range(&guest->residencies[0], guest->places[i].unit);

		for (size_t j = 0; j < resize->range_count; j++)
			if (resize->ranges[j].start <= unit.start && unit.end <= resize->ranges[j].end &&
			    guest->places[i].node == 3 && guest->places[i].pages >= 32 * MIB / 4096)
				there += unit.end - unit.start;
	}
	CHECK_INT(named, step->bytes);
	CHECK_INT(less, step->bytes);
	CHECK_INT(there, step->bytes);
	CHECK_TRUE(guest->current_bytes - less >= plan_guest_floor(guest));
}

static size_t shrinks_of(const struct world *world)
{
	size_t shrinks = 0;

	for (size_t i = 0; i < world->history_count; i++)
		shrinks += step_shrinks(&world->history[i].step);
	return shrinks;
}

/* The kernel takes along only what moves have left, and hooks have been asked first. */
static void check_offline(const struct world *world)
{
	struct drain_scope scope;
	bool is_asked = !world->snapshot->hooks.count;

	if (world->decision.step.kind != STEP_KIND_OFFLINE_BLOCKS)
		return;
	drain_scope_find(&world->input, &scope);
	for (size_t g = 0; g < world->snapshot->guest_count; g++) {
		const struct snapshot_guest *guest = &world->snapshot->guests[g];
		bool is_moved = !drain_scope_guest_bytes(&world->input, &scope, guest);

		for (size_t i = 0; i < world->history_count; i++)
			is_moved = is_moved || (world->history[i].step.kind == STEP_KIND_CHILD &&
						!step_shrinks(&world->history[i].step) &&
						strcmp(world->history[i].step.guest, guest->uuid) == 0);
		CHECK_TRUE(is_moved);
	}
	for (size_t i = 0; i < world->history_count; i++)
		is_asked = is_asked || world->history[i].step.kind == STEP_KIND_HOST_HOOKS;
	CHECK_TRUE(is_asked);
}

/* Who was asked to let go is told, last of all and once, but by an undo where there is one. */
static void check_hooks(const struct world *world)
{
	size_t before = 0, after = 0;
	bool is_undone = world->decision.kind == DECISION_KIND_GIVE_UP &&
			 (world->wish.on_timeout == ON_TIMEOUT_DEFAULT || world->wish.on_timeout == ON_TIMEOUT_RESTORE);

	for (size_t i = 0; i < world->history_count; i++) {
		const struct step_record *record = &world->history[i];

		before += record->step.kind == STEP_KIND_HOST_HOOKS && !step_is_after(&record->step);
		after += step_is_after(&record->step);
		is_undone = is_undone && (record->step.kind != STEP_KIND_EJECT || record->state == STEP_STATE_FAILED);
	}
	CHECK_TRUE(before <= 1 && after <= before);
	CHECK_INT(after, before && !is_undone);
	if (after)
		CHECK_TRUE(step_is_after(&world->history[world->history_count - 1].step));
}

static void check_reserve(const struct world *world, int to, uint64_t free_before)
{
	/* A node of which a part stays bears its share of the reserve. */
	bool is_whole = !snapshot_block(world->snapshot, SECOND_DIMM_BLOCK);
	uint64_t without = world->wish.kind == OPERATION_KIND_DRAIN && is_whole ? 1 << 3 : 0;
	uint64_t share = world_share(world, to, without),
		 now = snapshot_node(world->snapshot, to)->free_bytes;

	/* A MiB for the rounding of the share. */
	CHECK_TRUE(now >= free_before || now + MIB >= share);
}

/* Half of what the child is to move from there, down to whole huge pages; it lies in no DIMM of that node any more. */
static uint64_t half_of(struct snapshot_guest *guest, const struct step *step, int from)
{
	bool in_ranges = step->range_count && guest->dimms_told;
	uint64_t bytes = guest->node_bytes[from];

	/* The first of them is what may be drained. */
	if (in_ranges && guest->dimm_count)
		bytes = guest->dimm_bytes[0].bytes;
	bytes = bytes / (4 * MIB) * (2 * MIB);
	for (size_t i = 0; from == 3 && i < guest->dimm_count; i++)
		if (!in_ranges)
			guest->dimm_bytes[i].bytes /= 2;
		else if (i == 0)
			guest->dimm_bytes[i].bytes -= bytes;
	return bytes;
}

static void bring(struct world *world, struct snapshot_guest *guest, int from, int to, uint64_t bytes)
{
	guest->node_bytes[from] -= bytes;
	guest->node_bytes[to] += bytes;
	snapshot_node(world->snapshot, from)->free_bytes += bytes;
	CHECK_TRUE(snapshot_node(world->snapshot, to)->free_bytes >= bytes);
	snapshot_node(world->snapshot, to)->free_bytes -= bytes;
}

/* A child's move comes half way. Returns how much that is. */
static uint64_t come_half_way(struct world *world, const struct step *step)
{
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	const int8_t *map = step->child->move.map;
	uint64_t come = 0;

	for (int from = 0; from < SNAPSHOT_NODES_MAX; from++) {
		uint64_t bytes = map[from] >= 0 && !plan_guest_huge_page(guest) ? half_of(guest, step, from) : 0;

		if (!bytes)
			continue;
		bring(world, guest, from, map[from], bytes);
		come += bytes;
	}
	return come;
}

/* Half of it is back. */
static uint64_t go_home_half_way(struct world *world, const struct step *step)
{
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	uint64_t left = plan_guest_huge_page(guest) ? 0 : step->bytes / (4 * MIB) * (2 * MIB), back = 0;

	for (int home = 0; home < SNAPSHOT_NODES_MAX; home++) {
		int away = step->map[home];
		uint64_t bytes = away >= 0 ? plan_min(left - back, guest->node_bytes[away]) : 0;

		if (bytes)
			bring(world, guest, away, home, bytes);
		back += bytes;
	}
	return back;
}

/* The guest gives half, of which the host had nothing. */
static uint64_t give_half(struct world *world, const struct step *step)
{
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	const struct wish_resize *resize = &step->child->resize;
	uint64_t given = 0;

	for (size_t i = 0; i < resize->device_count; i++)
		for (size_t j = 0; j < guest->device_count; j++) {
			struct snapshot_device *device = &guest->devices[j];
			uint64_t half = (device->current_bytes - resize->devices[i].requested_bytes) / (4 * MIB) * (2 * MIB);

			if (strcmp(device->alias, resize->devices[i].alias) != 0)
				continue;
			device->current_bytes -= half;
			device->requested_bytes = device->current_bytes;
			guest->current_bytes -= half;
			guest->requested_bytes = guest->current_bytes;
			given += half;
		}
	return given;
}

/* Every other block. */
static uint64_t take_some(struct world *world, const struct step *step)
{
	uint64_t taken = 0;

	for (size_t i = 0; i < world->snapshot->block_count; i++) {
		struct snapshot_block *block = &world->snapshot->blocks[i];
		struct snapshot_node *node = snapshot_node(world->snapshot, block->node);

		if (i % 2 || !step_has_block(step, block->id) || block->state == BLOCK_STATE_OFFLINE)
			continue;
		block->state = BLOCK_STATE_OFFLINE;
		node->total_bytes -= block->size_bytes;
		node->free_bytes -= plan_min(node->free_bytes, block->size_bytes);
		taken += block->size_bytes;
	}
	return taken;
}

/* Some of a step: a fraction of its bytes, where it has any that a snapshot shows. */
static void perform_partly(struct world *world, uint64_t *state)
{
	const struct step *step = &world->decision.step;
	struct snapshot_guest *guest =
		step->guest[0] ? snapshot_guest(world->snapshot, step->guest) : NULL;
	uint64_t gained = step->bytes / 2 / (2 * MIB) * (2 * MIB);
	struct step_record *record;

	if (chance(state, 50))
		gained = 0;
	if (guest && (step->kind == STEP_KIND_REQUEST || step->kind == STEP_KIND_KICK)) {
		for (size_t i = 0; i < guest->device_count; i++) {
			struct snapshot_device *device = &guest->devices[i];

			if (strcmp(device->alias, step->device) != 0)
				continue;
			if (device->current_bytes > step->target_bytes) {
				device->current_bytes -= gained;
				guest->current_bytes -= gained;
			} else {
				device->current_bytes += gained;
				guest->current_bytes += gained;
			}
			device->requested_bytes = step->target_bytes;
		}
	} else if (guest && step->kind == STEP_KIND_FREE_HUGE_PAGES) {
		guest->agent.huge_free_bytes -= gained;
	} else if (guest && step->kind == STEP_KIND_OFFLINE_GUEST_BLOCKS) {
		gained = gained < GIB ? gained : 0;
	} else if (guest && step->kind == STEP_KIND_MOVE_PAGES && step->by_map) {
		uint64_t left = gained;

		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			uint64_t bytes = step->map[node] >= 0 ? guest->node_bytes[node] : 0;

			bytes = bytes < left ? bytes : left;
			if (!bytes)
				continue;
			guest->node_bytes[node] -= bytes;
			guest->node_bytes[step->map[node]] += bytes;
			left -= bytes;
		}
		gained -= left;
	} else if (guest && gained && step_shrinks(step)) {
		gained = give_half(world, step);
	} else if (guest && gained && step->kind == STEP_KIND_CHILD) {
		gained = come_half_way(world, step);
	} else if (guest && gained && step->kind == STEP_KIND_UNDO) {
		gained = go_home_half_way(world, step);
	} else if (gained && step->kind == STEP_KIND_OFFLINE_BLOCKS) {
		gained = take_some(world, step);
	} else {
		gained = 0;
	}
	record = world_record(world, gained ? STEP_STATE_PARTIAL : STEP_STATE_FAILED, gained);
	record->flat = true;
	if (chance(state, 30))
		remainder_list_add(&record->remainder, REMAINDER_PINNED, "block 40",
				   below(state, 2000) * MIB, NULL, "pinned");
}

static uint64_t shrink_missing(const struct world *world)
{
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g0");
	uint64_t wanted = plan_wanted_bytes(&world->wish, guest);
	uint64_t now = guest->device_count ? guest->current_bytes : guest->balloon_bytes;

	return now > wanted ? now - wanted : 0;
}

/* Those that last: surplus ones go when they are freed. */
static uint64_t pool_pages(const struct world *world)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < world->snapshot->node_count; i++)
		pages += world->snapshot->nodes[i].pools[0].total -
			 world->snapshot->nodes[i].pools[0].surplus;
	return pages;
}

/* Reasons for bytes that are none of the guest's resident memory. */
static bool is_beside(enum remainder_code code)
{
	return code == REMAINDER_PRIVATE_MEMORY || code == REMAINDER_DRIVER_STALLED ||
	       code == REMAINDER_NOT_ONLINED;
}

/* Every byte that did not move, and none twice. */
static void check_move_explained(const struct world *world)
{
	const struct remainder_list *list = &world->decision.remainder;
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g0");
	struct move_goal goal;
	uint64_t told = 0, left = 0;

	for (size_t i = 0; i < list->count; i++) {
		CHECK_TRUE(list->items[i].code > REMAINDER_NONE);
		CHECK_TRUE(list->items[i].detail[0] != '\0');
		told += is_beside(list->items[i].code) ? 0 : list->items[i].bytes;
	}
	move_goal_find(&world->input, guest, &goal);
	for (int node = 0; node < 4 && !goal.opaque; node++)
		if (world->wish.move.form == MOVE_FORM_MAP
			    ? world->wish.move.map[node] >= 0 && world->wish.move.map[node] != node
			    : !(goal.to_nodes >> node & 1))
			left += guest->node_bytes[node];
	CHECK_INT(told, goal.opaque ? goal.left_bytes : left);
}

/* Each device has the size back that it had, or it is said. */
static void check_size_is_back(const struct world *world, const uint64_t *requested)
{
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g0");
	const struct remainder_list *list = &world->decision.remainder;

	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].current_bytes != requested[i])
			CHECK_TRUE(remainder_list_has(list, REMAINDER_DRIVER_STALLED));
		else
			CHECK_INT(guest->devices[i].requested_bytes, requested[i]);
}

/* Where every step works the host has as many huge pages as before, and what growth may need. */
static void check_pools(const struct world *world, uint64_t before)
{
	uint64_t grown = 0;

	for (size_t i = 0; i < world->history_count; i++)
		if (world->history[i].step.kind == STEP_KIND_HOST_POOL &&
		    strcmp(world->history[i].step.text, "growth") == 0)
			grown += world->history[i].step.bytes / (2 * MIB);
	CHECK_TRUE(pool_pages(world) >= before);
	CHECK_TRUE(pool_pages(world) <= before + grown);
}

static void check_explained(const struct world *world)
{
	uint64_t told = remainder_list_bytes(&world->decision.remainder);
	uint64_t bytes = 0;

	if (world->wish.kind == OPERATION_KIND_MOVE)
		check_move_explained(world);
	if (world->decision.kind == DECISION_KIND_DONE) {
		CHECK_INT(world->decision.remainder.count, 0);
		return;
	}
	CHECK_TRUE(world->decision.remainder.count > 0);
	switch (world->wish.kind) {
	case OPERATION_KIND_RESIZE:
		if (world->input.start_bytes > world->wish.resize.target_bytes)
			CHECK_INT(told, shrink_missing(world));
		return;
	case OPERATION_KIND_DRAIN:
		if (world->wish.drain_wish.finish == DRAIN_FINISH_EMPTY)
			return;
		for (size_t i = 0; i < world->snapshot->block_count; i++)
			if (world->snapshot->blocks[i].node == 3 && world->snapshot->blocks[i].start < 7 * GIB &&
			    world->snapshot->blocks[i].state == BLOCK_STATE_ONLINE)
				bytes += world->snapshot->blocks[i].size_bytes;
		if (bytes)
			CHECK_INT(told, bytes);
		return;
	case OPERATION_KIND_MOVE:
	case OPERATION_KIND_UNDRAIN:
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		return;
	}
}

static bool has_shrunk(const struct world *world, const char *guest)
{
	for (size_t i = 0; i < world->history_count; i++)
		if (step_shrinks(&world->history[i].step) && strcmp(world->history[i].step.guest, guest) == 0)
			return true;
	return false;
}

/* Only what lay in ranges has left the nodes of such guests, and it is there again, but where they are only emptied. */
static void check_home(const struct world *world, const struct snapshot *before)
{
	bool comes_home = world->wish.kind == OPERATION_KIND_DRAIN && world->wish.drain_wish.finish >= DRAIN_FINISH_OFFLINE;

	if (world->wish.kind != OPERATION_KIND_DRAIN || world->decision.kind != DECISION_KIND_DONE ||
	    world->decision.warnings.count)
		return;
	for (size_t i = 0; i < world->history_count; i++) {
		const struct step *step = &world->history[i].step;
		const struct snapshot_guest *was = snapshot_guest(before, step->guest);
		const struct snapshot_guest *is = snapshot_guest(world->snapshot, step->guest);

		/* What it has lost it does not bring home. */
		if (step->kind != STEP_KIND_CHILD || !step->range_count || has_shrunk(world, step->guest))
			continue;
		if (comes_home)
			CHECK_TRUE(memcmp(is->node_bytes, was->node_bytes, sizeof(was->node_bytes)) == 0);
		else
			CHECK_INT(was->node_bytes[3] - is->node_bytes[3], was->dimm_bytes[0].bytes);
	}
}

/* Returns the number of steps. */
static size_t walk(struct world *world, uint64_t *state, unsigned failures_percent, bool checked)
{
	const struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g0");
	uint64_t requested[SNAPSHOT_DEVICES_MAX], pages = pool_pages(world);
	bool is_move = world->wish.kind == OPERATION_KIND_MOVE;

	for (size_t i = 0; i < guest->device_count; i++)
		requested[i] = guest->devices[i].requested_bytes;
	for (size_t steps = 0; steps < STEPS_MAX; steps++) {
		int to = -1;
		uint64_t free_before = 0;

		if (chance(state, 2))
			world->input.deadline_ms = failures_percent ? 1 : 0;
		if (world_next(world)->kind != DECISION_KIND_STEP) {
			check_explained(world);
			check_hooks(world);
			if (is_move)
				check_size_is_back(world, requested);
			if (is_move && !failures_percent)
				check_pools(world, pages);
			/* Where all that was asked for has come nobody became smaller in vain. */
			if (checked && !failures_percent && shrinks_of(world))
				CHECK_INT(world->decision.kind, DECISION_KIND_DONE);
			return steps;
		}
		check_not_repeated(world);
		if (checked)
			check_placement(world);
		check_shrink(world);
		check_replug(world);
		check_offline(world);
		if (chance(state, failures_percent)) {
			perform_partly(world, state);
			continue;
		}
		if (checked && world->decision.step.kind == STEP_KIND_CHILD && !step_shrinks(&world->decision.step))
			for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
				if (world->decision.step.child->move.map[node] >= 0)
					to = world->decision.step.child->move.map[node];
		if (to >= 0)
			free_before = snapshot_node(world->snapshot, to)->free_bytes;
		world_perform(world);
		if (to >= 0)
			check_reserve(world, to, free_before);
	}
	CHECK_STR("it does not end", wish_target(&world->wish, (char[96]){0}));
	return STEPS_MAX;
}

static void whatever_happens_it_ends(void)
{
	uint64_t state = UINT64_C(88172645463325252);
	size_t longest = 0, taken = 0;

	for (unsigned i = 0; i < WALKS; i++) {
		struct remainder_list blockers;
		struct failure failure;
		struct world world;
		size_t steps;

		random_world(&world, &state);
		random_wish(&world, &state);
		steps = walk(&world, &state, 40,
			     plan_check(&world.input, &blockers, &failure) == 0);
		longest = steps > longest ? steps : longest;
		for (size_t n = 0; n < world.history_count; n++)
			taken += strcmp(world.history[n].step.text, "take") == 0;
		world_done(&world);
	}
	/* What is never walked is not tested. */
	CHECK_TRUE(taken > WALKS / 1000);
	printf("longest walk: %zu steps; %zu times memory was taken\n", longest, taken);
}

static void a_dry_run_is_the_run_that_works(void)
{
	uint64_t state = UINT64_C(362436069362436069);
	unsigned ran = 0, came_home = 0;
	size_t shrunk = 0;

	for (unsigned i = 0; i < WALKS; i++) {
		CLEANUP(plan_freep) struct plan *plan = NULL;
		struct remainder_list blockers;
		struct failure failure;
		struct world world;

		random_world(&world, &state);
		random_wish(&world, &state);
		plan = plan_dry_run(&world.input);
		if (plan_check(&world.input, &blockers, &failure) == 0) {
			CLEANUP(snapshot_freep) struct snapshot *before = snapshot_copy(world.snapshot);

			ran++;
			walk(&world, &state, 0, true);
			check_home(&world, before);
			for (size_t n = 0; n < world.history_count; n++)
				came_home += world.wish.kind == OPERATION_KIND_DRAIN &&
					     world.history[n].step.kind == STEP_KIND_UNDO;
			CHECK_INT(plan->step_count, world.history_count);
			for (size_t n = 0; n < plan->step_count && n < world.history_count; n++)
				CHECK_TRUE(same_step(&plan->steps[n], &world.history[n].step));
			CHECK_TRUE(!plan->already_done || world.history_count == 0);
			shrunk += shrinks_of(&world);
		}
		world_done(&world);
	}
	CHECK_TRUE(ran > WALKS / 10);
	CHECK_TRUE(came_home > WALKS / 200);
	CHECK_TRUE(shrunk > 10);
	printf("%u of %u wishes could be begun; %u times a guest came home, %zu became smaller\n", ran, WALKS, came_home, shrunk);
}

/* The same but for what they call the target. */
static void check_same_plan(const struct plan *dimm, const struct plan *range)
{
	CHECK_INT(dimm->step_count, range->step_count);
	for (size_t i = 0; i < dimm->step_count && i < range->step_count; i++) {
		const struct step *a = &dimm->steps[i], *b = &range->steps[i];

		CHECK_INT(a->kind, b->kind);
		CHECK_STR(a->guest, b->guest);
		CHECK_INT(a->nodes, b->nodes);
		CHECK_INT(a->bytes, b->bytes);
		CHECK_INT(a->range_count, b->range_count);
		if (a->kind == STEP_KIND_CHILD && b->kind == STEP_KIND_CHILD)
			CHECK_TRUE(memcmp(a->child->move.map, b->child->move.map, sizeof(a->child->move.map)) == 0);
	}
}

/* Whether a DIMM goes, or as much of a larger one, or of memory that is in none, is all the same. */
static void a_range_is_drained_like_a_dimm(void)
{
	uint64_t state = UINT64_C(2463534242463534242);
	unsigned parts = 0;

	for (unsigned i = 0; i < WALKS / 2; i++) {
		struct world world;

		random_world(&world, &state);
		world_wish_drain_dimm(&world, (enum drain_finish)below(&state, DRAIN_FINISH_EJECT));
		world.wish.allow = UINT32_MAX;
		if (chance(&state, 50))
			random_tightness(&world, &state);
		CLEANUP(plan_freep) struct plan *dimm = plan_dry_run(&world.input);
		/* What is not told of a DIMM may be the other's, and of a node without any all that is in none. */
		bool has_dimm = chance(&state, 50);

		make_range(&world, has_dimm);
		CLEANUP(plan_freep) struct plan *range = plan_dry_run(&world.input);

		check_same_plan(dimm, range);
		for (size_t n = 0; n < range->step_count; n++)
			parts += range->steps[n].kind == STEP_KIND_CHILD && range->steps[n].range_count;
		world_done(&world);
	}
	CHECK_TRUE(parts > WALKS / 20);
	printf("%u times only what lay in the range was to leave\n", parts);
}

/* ---- moves beside each other ---- */

static size_t running(const struct world *world)
{
	size_t count = 0;

	for (size_t i = 0; i < world->history_count; i++)
		count += world->history[i].state == STEP_STATE_RUNNING;
	return count;
}

static struct step_record *random_running(struct world *world, uint64_t *state)
{
	uint64_t skip = below(state, running(world));

	for (size_t i = 0; i < world->history_count; i++)
		if (world->history[i].state == STEP_STATE_RUNNING && skip-- == 0)
			return &world->history[i];
	return NULL;
}

/* The rest of what it brings home. */
static void end_undo(struct world *world, struct step_record *record)
{
	uint64_t before = snapshot_node(world->snapshot, 3)->free_bytes;
	struct step rest = record->step;
	struct step_record ended;

	rest.bytes -= record->bytes_done;
	plan_apply(world->snapshot, &rest, 1000, &ended);
	step_record_done(&ended);
	/* What of a guest with huge pages comes out of a pool is not told apart here. */
	if (!plan_guest_huge_page(snapshot_guest(world->snapshot, record->step.guest)))
		check_reserve(world, 3, before);
	world->history[record->step.undo_n - 1].state = STEP_STATE_UNDONE;
}

/* Some of it comes; of an undo that tells no progress once. */
static void go_on(struct world *world, struct step_record *record)
{
	if (record->step.kind != STEP_KIND_UNDO)
		record->bytes_done += come_half_way(world, &record->step);
	else if (!record->bytes_done)
		record->bytes_done = go_home_half_way(world, &record->step);
}

/* All of it comes, or what has come is all. Room that was promised is there, and the reserve stays. */
static void end_one(struct world *world, uint64_t *state, unsigned failures_percent)
{
	struct step_record *record = random_running(world, state), ended;

	record->state = record->bytes_done ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
	if (chance(state, failures_percent))
		return;
	if (record->step.kind == STEP_KIND_UNDO) {
		end_undo(world, record);
		record->state = STEP_STATE_DONE;
		return;
	}
	for (int from = 0; from < SNAPSHOT_NODES_MAX; from++) {
		int to = record->step.child->move.map[from];
		uint64_t before = to >= 0 ? snapshot_node(world->snapshot, to)->free_bytes : 0;

		if (to < 0)
			continue;
		plan_apply(world->snapshot, &record->step, 1000, &ended);
		step_record_done(&ended);
		check_reserve(world, to, before);
		break;
	}
	record->state = STEP_STATE_DONE;
	record->bytes_done = record->step.bytes;
}

static void check_beside(const struct world *world)
{
	const struct step *step = &world->decision.step;

	if (!running(world))
		return;
	CHECK_TRUE(step->kind == STEP_KIND_CHILD || step->kind == STEP_KIND_UNDO);
	CHECK_TRUE(running(world) < world->limits.drain_moves);
	for (size_t i = 0; i < world->history_count; i++)
		if (world->history[i].state == STEP_STATE_RUNNING)
			CHECK_TRUE(strcmp(world->history[i].step.guest, step->guest) != 0);
}

/* Returns how often a move began beside another. */
static unsigned walk_beside(struct world *world, uint64_t *state, unsigned failures_percent, bool checked,
			    unsigned *home_beside)
{
	unsigned beside = 0;

	for (size_t turns = 0; turns < 2 * STEPS_MAX; turns++) {
		world_next(world);
		if (world->decision.kind == DECISION_KIND_WAIT) {
			CHECK_TRUE(running(world) > 0);
			if (chance(state, 50)) {
				go_on(world, random_running(world, state));
			} else {
				end_one(world, state, failures_percent);
			}
			continue;
		}
		if (world->decision.kind != DECISION_KIND_STEP) {
			CHECK_INT(running(world), 0);
			check_explained(world);
			check_hooks(world);
			return beside;
		}
		check_beside(world);
		check_shrink(world);
		check_offline(world);
		if (checked)
			check_placement(world);
		beside += running(world) > 0;
		*home_beside += running(world) > 0 && world->decision.step.kind == STEP_KIND_UNDO;
		if (world->decision.step.kind == STEP_KIND_UNDO ||
		    (world->decision.step.kind == STEP_KIND_CHILD && !step_shrinks(&world->decision.step)))
			world_record(world, STEP_STATE_RUNNING, 0);
		else if (chance(state, failures_percent))
			perform_partly(world, state);
		else
			world_perform(world);
	}
	CHECK_STR("it does not end", wish_target(&world->wish, (char[96]){0}));
	return beside;
}

static void moves_run_beside_each_other(void)
{
	uint64_t state = UINT64_C(521288629546311691);
	unsigned beside = 0, home = 0, home_beside = 0;
	size_t shrunk = 0;

	for (unsigned i = 0; i < WALKS / 2; i++) {
		struct remainder_list blockers;
		struct failure failure;
		struct world world;

		random_world(&world, &state);
		world_wish_drain_dimm(&world, (enum drain_finish)below(&state, DRAIN_FINISH_COUNT));
		world.wish.allow = UINT32_MAX;
		world.wish.on_timeout = (enum on_timeout)below(&state, ON_TIMEOUT_COUNT);
		if (chance(&state, 50))
			random_tightness(&world, &state);
		if (world.wish.drain_wish.finish < DRAIN_FINISH_EJECT && chance(&state, 30))
			make_range(&world, chance(&state, 50));
		world.limits.drain_moves = 1 + (uint32_t)below(&state, 4);
		CLEANUP(snapshot_freep) struct snapshot *before = snapshot_copy(world.snapshot);

		beside += walk_beside(&world, &state, i % 2 ? 40 : 0,
				      plan_check(&world.input, &blockers, &failure) == 0, &home_beside);
		if (i % 2 == 0)
			check_home(&world, before);
		shrunk += shrinks_of(&world);
		for (size_t n = 0; n < world.history_count; n++)
			home += world.history[n].step.kind == STEP_KIND_UNDO;
		world_done(&world);
	}
	CHECK_TRUE(beside > WALKS / 40);
	CHECK_TRUE(home > WALKS / 200);
	CHECK_TRUE(home_beside > 10);
	CHECK_TRUE(shrunk > 10);
	printf("%u times a move began beside another, %u times a guest came home, %u beside another, %zu became smaller\n",
	       beside, home, home_beside, shrunk);
}

/* ---- a device that is passed through ---- */

/* Moved off node 3, or drained with others, where the guest's virtio-mem is pinned there. */
static void random_passed(struct world *world, uint64_t *state, bool drains)
{
	struct snapshot_guest *guest;

	random_world(world, state);
	guest = &world->snapshot->guests[0];
	if (drains)
		world_wish_drain_dimm(world, (enum drain_finish)below(state, DRAIN_FINISH_COUNT));
	else
		world_wish_map(world, "g0", 3, (int)below(state, 3));
	world->wish.on_timeout = (enum on_timeout)below(state, ON_TIMEOUT_COUNT);
	world->wish.allow = UINT32_MAX;
	guest->node_bytes[3] += (1 + below(state, 200)) * 4 * MIB;
	guest->dimms_told = guest->dimms_told && guest->dimm_count;
	random_places(guest, state);
	pass_device(guest);
}

static void what_is_pinned_is_unplugged_and_plugged_again(void)
{
	uint64_t state = UINT64_C(2862933555777941757);
	unsigned ran = 0, moved = 0;
	size_t replugs = 0;

	for (unsigned i = 0; i < WALKS; i++) {
		bool drains = i % 4 == 0, works = i % 2 == 0;
		CLEANUP(plan_freep) struct plan *plan = NULL;
		struct remainder_list blockers;
		struct failure failure;
		struct world world;

		random_passed(&world, &state, drains);
		if (plan_check(&world.input, &blockers, &failure) == 0) {
			plan = plan_dry_run(&world.input);
			ran++;
			walk(&world, &state, works ? 0 : 40, true);
			CHECK_TRUE(!works || plan->step_count == world.history_count);
			moved += works && !drains && replugs_of(&world) && world.decision.kind == DECISION_KIND_DONE;
			replugs += replugs_of(&world);
		}
		world_done(&world);
	}
	CHECK_TRUE(replugs > WALKS / 20);
	CHECK_TRUE(moved > WALKS / 200);
	printf("%u of %u could be begun, %u moved so, by %zu portions\n", ran, WALKS, moved, replugs);
}

static const struct unit_case cases[] = {
	{"whatever happens it ends", whatever_happens_it_ends},
	{"a dry run is the run that works", a_dry_run_is_the_run_that_works},
	{"a range is drained like a DIMM", a_range_is_drained_like_a_dimm},
	{"moves run beside each other", moves_run_beside_each_other},
	{"what is pinned is unplugged and plugged again", what_is_pinned_is_unplugged_and_plugged_again},
};

int main(void)
{
	return unit_main("plan_walk", cases, sizeof(cases) / sizeof(cases[0]));
}
