/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much is missing is told by the placement, and what guests give for it changes the placement. So as much is taken as
 * it says, and it is solved again, until all have a place or nobody has anything left. What turns out not to have helped
 * is given up again.
 */
#include "drain_shrink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "drain_priv.h"
#include "resize_priv.h"

/* Less than this part of a unit in the scope is not worth what the guest would lose with it. */
#define UNIT_SHARE 4
/* Stays available in the guest: an eighth, as while it moves. */
#define KEEP_SHARE 8
/* A second time where the first has got something: what the guest had to move inside may lie in the scope again. */
#define TRIES_MAX  2
/* The last round takes all that there is; a placement of a large host takes as long as 100 ms. */
#define ROUNDS_MAX 6
#define TRIMS_MAX  8

/* ---- one guest ---- */

struct limits {
	uint64_t all;	/* bytes that it can spare */
	uint64_t there; /* of them resident; the rest of what leaves the host has not */
	uint64_t devices[SNAPSHOT_DEVICES_MAX];
};

/* What shrinking has got of the guest so far; false: it is not to be tried again. */
static bool may_try(const struct plan_input *input, const struct snapshot_guest *guest, uint64_t *ret_gained)
{
	size_t tries = 0;
	bool is_vain = false;

	*ret_gained = 0;
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (!step_shrinks(&record->step) || record->state == STEP_STATE_UNDONE ||
		    strcmp(record->step.guest, guest->uuid) != 0)
			continue;
		*ret_gained += record->bytes_done;
		if (plan_was_cut(record))
			continue;
		tries++;
		is_vain = is_vain || !record->bytes_done;
	}
	return !is_vain && tries < TRIES_MAX;
}

/* Can it be asked for anything at all? */
static bool is_askable(const struct snapshot_guest *guest)
{
	if (guest->state != GUEST_STATE_RUNNING || guest->migrating || guest->policy_fault[0] || resize_is_balloon(guest) || !guest->place_count ||
	    !plan_agent_can(guest, AGENT_FEATURE_OFFLINE) || !guest->agent.reported || guest->agent.veto)
		return false;
	/* One on its way to another size is let alone. */
	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].requested_bytes != guest->devices[i].current_bytes)
			return false;
	return true;
}

/* What the guest can spare, by its own word and its owner's; gained: of what it lets go at once that is gone already. */
static bool find_limits(const struct plan_input *input, const struct snapshot_guest *guest, uint64_t gained,
			struct limits *limits)
{
	const struct snapshot_agent *agent = &guest->agent;
	uint64_t least = plan_guest_floor(guest), available = agent->memory_available_bytes + agent->offline_bytes;
	struct plan_input child_input = *input;
	uint64_t keep = guest->current_bytes / KEEP_SHARE, used;

	memset(limits, 0, sizeof(*limits));
	if (!is_askable(guest))
		return false;
	child_input.history_count = 0;
	if (least < guest->base_bytes)
		least = guest->base_bytes;
	limits->all = guest->current_bytes - plan_min(guest->current_bytes, least);
	limits->all = plan_min(limits->all, available - plan_min(available, keep));
	limits->all = plan_min(limits->all, resize_covered_bytes(&child_input, guest));
	if (agent->shrink_most_bytes)
		limits->all = plan_min(limits->all, agent->shrink_most_bytes - plan_min(agent->shrink_most_bytes, gained));
	used = guest->current_bytes - plan_min(guest->current_bytes, available);
	limits->there = guest->resident_bytes - plan_min(guest->resident_bytes, used);
	for (size_t i = 0; i < guest->device_count; i++) {
		struct snapshot_range range;

		if (plan_device_range(guest, &guest->devices[i], &range))
			limits->devices[i] = resize_device_gives(guest, &guest->devices[i]);
	}
	return limits->all > 0 && limits->there > 0;
}

/* A unit, or a part of one, that lies in the scope. */
struct chunk {
	struct snapshot_range range;
	uint64_t target_bytes;
	uint8_t residency, unit, device;
};

/* Most in the scope first; of equal ones in their order, so that neighbours are one range. */
static int compare_chunks(const void *left, const void *right)
{
	const struct chunk *a = left, *b = right;

	if (a->target_bytes != b->target_bytes)
		return a->target_bytes > b->target_bytes ? -1 : 1;
	return a->range.start < b->range.start ? -1 : a->range.start > b->range.start;
}

static size_t device_of(const struct snapshot_guest *guest, const struct snapshot_residency *residency)
{
	size_t device = 0;

	while (device < guest->device_count && snapshot_guest_residency(guest, &guest->devices[device]) != residency)
		device++;
	return device;
}

/* Which units may be given. */
struct choice {
	uint64_t devices;	/* a mask, by their places */
	bool comes_back;	/* for a while: each that has anything there, and none twice */
};

static bool is_chosen(const struct plan_input *input, const struct choice *choice, struct chunk *chunk)
{
	if (!(choice->devices >> chunk->device & 1))
		return false;
	if (!choice->comes_back)
		return chunk->target_bytes >= (chunk->range.end - chunk->range.start) / UNIT_SHARE;
	chunk->range.start = move_replug_begin(input, &chunk->range);
	return chunk->range.start < chunk->range.end;
}

static size_t list_chunks(const struct plan_input *input, const struct drain_scope *scope,
			  const struct snapshot_guest *guest, const struct choice *choice,
			  struct chunk chunks[SNAPSHOT_PLACES_MAX])
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < guest->place_count; i++) {
		const struct snapshot_place *place = &guest->places[i];
		uint64_t bytes = drain_scope_place_bytes(input, scope, guest, place);
		size_t index = 0;

		while (index < count && (chunks[index].residency != place->device || chunks[index].unit != place->unit))
			index++;
		if (bytes && index == count)
			chunks[count++] = (struct chunk){.residency = place->device, .unit = place->unit};
		if (bytes)
			chunks[index].target_bytes += bytes;
	}
	for (size_t i = 0; i < count; i++) {
		struct chunk chunk = chunks[i];
		const struct snapshot_residency *residency = &guest->residencies[chunk.residency];
		size_t device = device_of(guest, residency);

		chunk.range = snapshot_unit_range(residency, chunk.unit);
		chunk.device = (uint8_t)device;
		if (device < guest->device_count && is_chosen(input, choice, &chunk))
			chunks[kept++] = chunk;
	}
	qsort(chunks, kept, sizeof(chunks[0]), compare_chunks);
	return kept;
}

/* The least that its kernel takes offline, and that its device gives. */
static uint64_t block_of(const struct snapshot_device *device)
{
	return device->block_bytes > SNAPSHOT_UNIT_LEAST_BYTES ? device->block_bytes : SNAPSHOT_UNIT_LEAST_BYTES;
}

/* The beginning of the chunk that has so much in the scope, up to the border of a block; all of it where that is more. */
static uint64_t end_for(const struct chunk *chunk, uint64_t block, uint64_t target_bytes)
{
	uint64_t start = chunk->range.start, size = chunk->range.end - start, end;

	if (target_bytes >= chunk->target_bytes)
		return chunk->range.end;
	end = (start + plan_share(size, target_bytes, chunk->target_bytes) + block - 1) / block * block;
	/* By what the share has been rounded down. */
	if (plan_share(chunk->target_bytes, end - start, size) < target_bytes)
		end += block;
	return plan_min(end, chunk->range.end);
}

/* False where no range more fits. */
static bool add_range(struct drain_shrink_part *part, struct snapshot_range range)
{
	for (size_t i = 0; i < part->range_count; i++) {
		struct snapshot_range *seen = &part->ranges[i];

		if (seen->end != range.start && seen->start != range.end)
			continue;
		if (seen->end == range.start)
			seen->end = range.end;
		else
			seen->start = range.start;
		return true;
	}
	if (part->range_count == SNAPSHOT_RANGES_MAX)
		return false;
	part->ranges[part->range_count++] = range;
	return true;
}

/* By the rule by which plan_apply() lets it go, so that a dry run comes to the same bytes. */
static void count_places(const struct plan_input *input, const struct drain_scope *scope,
			 const struct snapshot_guest *guest, const struct chunk *chunk, uint64_t taken,
			 struct drain_shrink_part *part)
{
	struct snapshot_range unit = snapshot_unit_range(&guest->residencies[chunk->residency], chunk->unit);

	for (size_t i = 0; i < guest->place_count; i++) {
		const struct snapshot_place *place = &guest->places[i];
		uint64_t bytes;

		if (place->device != chunk->residency || place->unit != chunk->unit)
			continue;
		bytes = plan_share(drain_scope_place_bytes(input, scope, guest, place), taken, unit.end - unit.start);
		part->target_bytes += bytes;
		if (place->node >= 0)
			part->node_bytes[place->node] += bytes;
	}
}

/* So much of the chunk as is wished and can be had. */
static void take_chunk(const struct plan_input *input, const struct drain_scope *scope,
		       const struct snapshot_guest *guest, const struct limits *limits, const struct chunk *chunk,
		       uint64_t wished, struct drain_shrink_part *part)
{
	uint64_t block = block_of(&guest->devices[chunk->device]), most = limits->all - part->bytes, bytes;
	struct snapshot_range range = {chunk->range.start, end_for(chunk, block, wished)};

	most = plan_min(most, limits->devices[chunk->device] - part->device_bytes[chunk->device]);
	if (range.end - range.start > most)
		range.end = (range.start + most) / block * block;
	if (range.end <= range.start || !add_range(part, range))
		return;
	bytes = range.end - range.start;
	part->bytes += bytes;
	part->device_bytes[chunk->device] += bytes;
	count_places(input, scope, guest, chunk, bytes, part);
}

/* What the guest gives so that wished bytes leave the scope, or as much of that as it can. */
static void find_part(const struct plan_input *input, const struct drain_scope *scope, size_t index, uint64_t wished,
		      struct drain_shrink_part *part)
{
	const struct snapshot_guest *guest = &input->snapshot->guests[index];
	const struct choice choice = {.devices = UINT64_MAX};
	uint64_t there = drain_scope_guest_bytes(input, scope, guest), held, gained;
	struct chunk chunks[SNAPSHOT_PLACES_MAX];
	enum remainder_code code;
	struct limits limits;
	size_t count;

	*part = (struct drain_shrink_part){.guest = index};
	if (!there || !may_try(input, guest, &gained) || !find_limits(input, guest, gained, &limits))
		return;
	held = move_remainder_pinned(guest, there, &code);
	wished = plan_min(wished, limits.there);
	count = list_chunks(input, scope, guest, &choice, chunks);
	for (size_t i = 0; i < count && part->target_bytes < wished; i++) {
		struct drain_shrink_part before = *part;

		take_chunk(input, scope, guest, &limits, &chunks[i], wished - part->target_bytes, part);
		/* If no more stayed than is held for long, the rest could not be moved either: all would be in vain. */
		if (held && part->target_bytes + held >= there) {
			*part = before;
			return;
		}
	}
}

void drain_shrink_portion(const struct plan_input *input, const struct drain_scope *scope,
			  const struct snapshot_guest *guest, uint64_t devices, uint64_t most_bytes,
			  struct drain_shrink_part *ret_part)
{
	const struct choice choice = {.devices = devices, .comes_back = true};
	struct chunk chunks[SNAPSHOT_PLACES_MAX];
	struct limits limits;
	size_t count;

	memset(ret_part, 0, sizeof(*ret_part));
	if (!find_limits(input, guest, 0, &limits))
		return;
	limits.all = plan_min(limits.all, most_bytes);
	count = list_chunks(input, scope, guest, &choice, chunks);
	for (size_t i = 0; i < count; i++)
		take_chunk(input, scope, guest, &limits, &chunks[i], chunks[i].target_bytes, ret_part);
}

uint64_t drain_shrink_in_portions(const struct plan_input *input, const struct drain_scope *scope,
				  const struct snapshot_guest *guest, uint64_t devices)
{
	const struct choice choice = {.devices = devices, .comes_back = true};
	struct chunk chunks[SNAPSHOT_PLACES_MAX];
	size_t count = list_chunks(input, scope, guest, &choice, chunks);
	uint64_t of[SNAPSHOT_DEVICES_MAX] = {0}, bytes = 0;

	for (size_t i = 0; i < count; i++)
		of[chunks[i].device] += chunks[i].target_bytes;
	for (size_t i = 0; i < guest->device_count; i++)
		bytes += plan_min(of[i], resize_device_gives(guest, &guest->devices[i]));
	return bytes;
}

/* ---- all of them ---- */

/* Who could give anything, and what of that is asked for. */
struct giver {
	size_t guest;
	int priority;
	bool is_unplaced;
	uint64_t could_bytes, wished_bytes; /* in the scope */
};

struct finder {
	const struct plan_input *input;
	const struct drain_scope *scope;
	struct giver *givers; /* owned */
	size_t giver_count;
	struct drain_shrink *shrink;
};

static int compare_givers(const void *left, const void *right)
{
	const struct giver *a = left, *b = right;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	if (a->is_unplaced != b->is_unplaced)
		return a->is_unplaced ? -1 : 1;
	if (a->could_bytes != b->could_bytes)
		return a->could_bytes > b->could_bytes ? -1 : 1;
	return a->guest < b->guest ? -1 : a->guest > b->guest;
}

static void list_givers(struct finder *finder)
{
	const struct snapshot *snapshot = finder->input->snapshot;
	struct drain_shrink_part part;

	for (size_t i = 0; i < snapshot->guest_count; i++) {
		find_part(finder->input, finder->scope, i, UINT64_MAX, &part);
		if (!part.target_bytes)
			continue;
		finder->shrink->could_bytes += part.target_bytes;
		finder->givers[finder->giver_count++] =
			(struct giver){.guest = i,
				       .priority = snapshot->guests[i].priority,
				       .is_unplaced = drain_layout_unplaced(&finder->shrink->plain, i) != NULL,
				       .could_bytes = part.target_bytes};
	}
	qsort(finder->givers, finder->giver_count, sizeof(finder->givers[0]), compare_givers);
}

/* What is missing so that this demand has a place on one node. */
static uint64_t missing_of(const struct drain_layout *layout, size_t demand)
{
	const struct drain_place_fate *fate = &layout->placed.fates[demand];
	uint64_t most = 0;

	if (!fate->is_split)
		return fate->missing_bytes;
	for (size_t i = 0; i < fate->flow_count; i++)
		if (layout->placed.flows[fate->first_flow + i].bytes > most)
			most = layout->placed.flows[fate->first_flow + i].bytes;
	return layout->demands[demand].bytes - most;
}

/* Has everything a place? Else *ret_bytes is what is missing; 0: no bytes help. */
static bool is_placed(const struct finder *finder, const struct drain_layout *layout, uint64_t *ret_bytes)
{
	size_t guests = layout->firsts[finder->input->snapshot->guest_count];
	bool placed = true;

	*ret_bytes = 0;
	for (size_t i = 0; i < layout->demand_count; i++) {
		const struct drain_place_fate *fate = &layout->placed.fates[i];

		if (i < guests ? !layout->demands[i].bytes || fate->flow_count == 1 : !fate->missing_bytes)
			continue;
		placed = false;
		/* It may go nowhere at all. */
		if (!layout->demands[i].allowed) {
			*ret_bytes = 0;
			return false;
		}
		*ret_bytes += missing_of(layout, i);
	}
	return placed;
}

static void fill_less(struct finder *finder, const struct giver *giver, uint64_t wished)
{
	const struct drain_layout *layout = &finder->shrink->plain;
	struct drain_shrink_part part;

	find_part(finder->input, finder->scope, giver->guest, wished, &part);
	for (size_t i = layout->firsts[giver->guest]; i < layout->firsts[giver->guest + 1]; i++)
		finder->shrink->less[i] = part.node_bytes[layout->demands[i].home];
}

/* Asks for so much more, who gives first before the others. False where nobody has anything left. */
static bool wish_more(struct finder *finder, uint64_t bytes)
{
	bool is_more = false;

	for (size_t i = 0; i < finder->giver_count && bytes; i++) {
		struct giver *giver = &finder->givers[i];
		uint64_t more = plan_min(bytes, giver->could_bytes - giver->wished_bytes);
		struct drain_shrink_part part;

		if (!more)
			continue;
		is_more = true;
		find_part(finder->input, finder->scope, giver->guest, giver->wished_bytes + more, &part);
		bytes -= plan_min(bytes, part.target_bytes - plan_min(part.target_bytes, giver->wished_bytes));
		giver->wished_bytes = plan_min(giver->could_bytes, part.target_bytes);
		fill_less(finder, giver, giver->wished_bytes);
	}
	return is_more;
}

/* 0 with *ret_placed, or -ENOMEM. The layout that was there goes. */
static int solve(struct finder *finder, bool *ret_placed, uint64_t *ret_missing)
{
	struct drain_shrink *shrink = finder->shrink;
	struct drain_layout layout;
	int r = drain_layout_find_less(finder->input, finder->scope, shrink->less, &layout);

	if (r < 0)
		return r;
	drain_layout_done(&shrink->shrunk);
	shrink->shrunk = layout;
	*ret_placed = is_placed(finder, &layout, ret_missing);
	return 0;
}

static int take_enough(struct finder *finder, uint64_t missing)
{
	int r = 0;

	for (int round = 1; r == 0 && missing && !finder->shrink->is_enough && round <= ROUNDS_MAX; round++) {
		if (!wish_more(finder, round == ROUNDS_MAX ? UINT64_MAX : missing))
			return 0;
		r = solve(finder, &finder->shrink->is_enough, &missing);
	}
	return r;
}

/* What was missing somewhere it may have made room elsewhere: then without it there is a place for all, too. */
static int trim(struct finder *finder)
{
	size_t trims = 0, asked = 0;
	int r = 0;

	for (size_t i = 0; i < finder->giver_count; i++)
		asked += finder->givers[i].wished_bytes > 0;
	if (asked < 2)
		return 0;
	for (size_t i = finder->giver_count; r == 0 && i-- > 0 && trims < TRIMS_MAX;) {
		struct giver *giver = &finder->givers[i];
		uint64_t missing;
		bool placed;

		if (!giver->wished_bytes)
			continue;
		trims++;
		fill_less(finder, giver, 0);
		r = solve(finder, &placed, &missing);
		if (r == 0 && placed)
			giver->wished_bytes = 0;
		else
			fill_less(finder, giver, giver->wished_bytes);
	}
	return r < 0 ? r : solve(finder, &finder->shrink->is_enough, &(uint64_t){0});
}

static int fill_parts(struct finder *finder)
{
	struct drain_shrink *shrink = finder->shrink;

	shrink->parts = calloc(finder->giver_count + 1, sizeof(*shrink->parts));
	if (!shrink->parts)
		return -ENOMEM;
	for (size_t i = 0; i < finder->giver_count; i++) {
		struct drain_shrink_part *part = &shrink->parts[shrink->part_count];

		if (!finder->givers[i].wished_bytes)
			continue;
		find_part(finder->input, finder->scope, finder->givers[i].guest, finder->givers[i].wished_bytes, part);
		shrink->bytes += part->bytes;
		shrink->target_bytes += part->target_bytes;
		shrink->part_count++;
	}
	return 0;
}

static int find_parts(struct finder *finder, uint64_t missing)
{
	struct drain_shrink *shrink = finder->shrink;
	int r;

	finder->givers = calloc(finder->input->snapshot->guest_count + 1, sizeof(*finder->givers));
	shrink->less = calloc(shrink->plain.demand_count + 1, sizeof(*shrink->less));
	if (!finder->givers || !shrink->less)
		return -ENOMEM;
	list_givers(finder);
	r = take_enough(finder, missing);
	if (r == 0 && shrink->is_enough)
		r = trim(finder);
	return r == 0 && shrink->is_enough ? fill_parts(finder) : r;
}

int drain_shrink_find(const struct plan_input *input, const struct drain_scope *scope, struct drain_shrink *ret_shrink)
{
	struct drain_shrink shrink = {0};
	struct finder finder = {.input = input, .scope = scope, .shrink = &shrink};
	uint64_t missing;
	int r = drain_layout_find(input, scope, &shrink.plain);

	memset(ret_shrink, 0, sizeof(*ret_shrink));
	if (r == 0)
		shrink.is_needed = !is_placed(&finder, &shrink.plain, &missing);
	if (r == 0 && shrink.is_needed)
		r = find_parts(&finder, missing);
	free(finder.givers);
	if (r < 0)
		drain_shrink_done(&shrink);
	else
		*ret_shrink = shrink;
	return r;
}

void drain_shrink_done(struct drain_shrink *shrink)
{
	drain_layout_done(&shrink->plain);
	drain_layout_done(&shrink->shrunk);
	free(shrink->parts);
	free(shrink->less);
	memset(shrink, 0, sizeof(*shrink));
}
