/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a passed-through device pins cannot be moved. What of it the guest has by virtio-mem leaves all the same: VFIO
 * lets go of what is unplugged (QEMU hw/vfio/common.c vfio_ram_discard_notify_discard), and pins anew what is plugged again
 * (vfio_ram_discard_notify_populate), whose pages come from where the policy of that memory says by then.
 *
 *	policy, cpuset (move_next.c) -> offline what lies there, in the guest -> unplug it -> plug it again -> the next portion
 *
 * One portion at a time, so that the guest never lacks more than that: a sixteenth of it, as far as it can spare so much.
 * Each unit is tried once: what lies there again was plugged in vain, and then no other is tried either. Pages that other
 * processes pin do not leave with the guest's memory, so a guest that has such is left alone.
 *
 * That the size comes back in every ending is seen to by move_free.c, whose steps these are but for their mark.
 */
#include <stdio.h>
#include <string.h>
#include "drain_shrink.h"
#include "plan_priv.h"

#define PORTION_SHARE 16
/* With four steps each they stay below what any operation may have. */
#define PORTIONS_MAX 96
#define TAKE_MS	     60000
/* Onlining a block takes milliseconds, in a guest that has the processor. */
#define ONLINE_MS	  3000
#define ONLINE_AWAITS_MAX 4

/* ---- what could leave so ---- */

/* What is to be emptied: of the drain whose child this is, where that is on the sources; else all of these. */
static void find_scope(const struct plan_input *input, const struct move_goal *goal, struct drain_scope *ret_scope)
{
	const struct snapshot *snapshot = input->snapshot;

	for (size_t i = 0; input->wish->drain[0] && i < snapshot->hold_count; i++) {
		const struct snapshot_hold *hold = &snapshot->holds[i];

		if (strcmp(hold->drain, input->wish->drain) != 0)
			continue;
		drain_scope_of_ranges(snapshot, hold->ranges, hold->range_count, ret_scope);
		if (ret_scope->nodes & goal->sources)
			return;
	}
	*ret_scope = (struct drain_scope){.nodes = goal->sources, .whole_nodes = goal->sources};
}

static uint64_t bytes_there(const struct plan_input *input, const struct snapshot_guest *guest,
			    const struct move_goal *goal, const struct drain_scope *scope)
{
	uint64_t bytes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (goal->sources >> node & 1)
			bytes += drain_scope_node_bytes(input->snapshot, scope, guest, node);
	return bytes;
}

/* Which part of its memory a device is nobody tells: one of those of its cell. */
static bool may_be_of(const struct snapshot_backing *part, const struct snapshot_device *device)
{
	return part->cell == device->cell || part->cell < 0 || device->cell < 0;
}

/* Can a policy be set that says where new memory of the device comes from? */
static bool takes_policy(const struct snapshot_guest *guest, const struct snapshot_device *device)
{
	bool is_any = false;

	for (size_t i = 0; i < guest->backing_count; i++) {
		if (!may_be_of(&guest->backings[i], device))
			continue;
		if (!snapshot_backing_takes_policy(&guest->backings[i]))
			return false;
		is_any = true;
	}
	return is_any;
}

/* Does it come from none of the sources any more? */
static bool comes_elsewhere(const struct snapshot_guest *guest, const struct snapshot_device *device, uint64_t sources)
{
	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t nodes = 0;

		if (may_be_of(&guest->backings[i], device) &&
		    (snapshot_guest_part_policy(guest, i, &nodes) == POLICY_MODE_DEFAULT || !nodes || nodes & sources))
			return false;
	}
	return true;
}

/* Would it, when the move has set the policy? */
static bool would_come_elsewhere(const struct snapshot_guest *guest, const struct move_goal *goal)
{
	enum policy_mode mode;
	uint64_t nodes;

	return move_goal_policy(guest, goal, &mode, &nodes) && !(nodes & goal->sources);
}

static bool has_foreign_pins(const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->sharer_count; i++)
		if (guest->sharers[i].pinned_bytes)
			return true;
	return false;
}

/* Is all that is left pinned by a device, and can it be told where it lies? */
static bool is_pinned(const struct snapshot_guest *guest, const struct move_goal *goal)
{
	enum remainder_code code;

	return guest->vfio && !goal->opaque && !has_foreign_pins(guest) && goal->left_bytes &&
	       move_remainder_pinned(guest, goal->left_bytes, &code) == goal->left_bytes;
}

static uint64_t portion_bytes(const struct snapshot_guest *guest)
{
	uint64_t unit = SNAPSHOT_UNIT_LEAST_BYTES;

	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].block_bytes > unit)
			unit = guest->devices[i].block_bytes;
	return (guest->current_bytes / PORTION_SHARE + unit - 1) / unit * unit;
}

void move_replug_find(const struct plan_input *input, const struct snapshot_guest *guest, const struct move_goal *goal,
		      const struct drain_scope *scope, struct move_replug *ret_replug)
{
	struct drain_shrink_part part;
	struct drain_scope own;
	uint64_t devices = 0;

	*ret_replug = (struct move_replug){0};
	if (!is_pinned(guest, goal))
		return;
	if (!scope) {
		find_scope(input, goal, &own);
		scope = &own;
	}
	ret_replug->there_bytes = bytes_there(input, guest, goal, scope);
	for (size_t i = 0; i < guest->device_count; i++)
		if (takes_policy(guest, &guest->devices[i]) && would_come_elsewhere(guest, goal))
			devices |= UINT64_C(1) << i;
	drain_shrink_portion(input, scope, guest, devices, portion_bytes(guest), &part);
	ret_replug->portion_bytes = part.bytes;
	ret_replug->covered_bytes = plan_min(drain_shrink_in_portions(input, scope, guest, devices),
					     part.target_bytes * PORTIONS_MAX);
}

/* ---- its steps ---- */

static bool is_marked(const struct step_record *record, enum step_kind kind)
{
	return record->step.kind == kind && record->state != STEP_STATE_UNDONE &&
	       strcmp(record->step.text, STEP_TEXT_REPLUG) == 0;
}

/* The last step of the last portion that is not its coming back; NULL: there was none. */
static const struct step_record *last_step(const struct plan_input *input)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (is_marked(&input->history[i], STEP_KIND_OFFLINE_GUEST_BLOCKS) ||
		    is_marked(&input->history[i], STEP_KIND_REQUEST))
			return &input->history[i];
	return NULL;
}

static size_t portions(const struct plan_input *input)
{
	size_t count = 0;

	for (size_t i = 0; i < input->history_count; i++)
		count += is_marked(&input->history[i], STEP_KIND_OFFLINE_GUEST_BLOCKS);
	return count;
}

uint64_t move_replug_begin(const struct plan_input *input, const struct snapshot_range *range)
{
	uint64_t start = range->start;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (!is_marked(record, STEP_KIND_OFFLINE_GUEST_BLOCKS) || plan_was_cut(record))
			continue;
		for (size_t j = 0; j < record->step.range_count; j++)
			if (record->step.ranges[j].start <= start && start < record->step.ranges[j].end)
				start = plan_min(record->step.ranges[j].end, range->end);
	}
	return start;
}

bool move_replug_is_due(const struct mover *mover)
{
	return mover->input->wish->allow >> CONSENT_SHRINK_GUESTS & 1 && is_pinned(mover->guest, &mover->goal);
}

static const struct snapshot_device *device_of(const struct mover *mover, const struct step *step)
{
	for (size_t i = 0; i < mover->guest->device_count; i++)
		if (strcmp(mover->guest->devices[i].alias, step->device) == 0)
			return &mover->guest->devices[i];
	return NULL;
}

static void init_step(const struct mover *mover, enum step_kind kind, const char *alias, uint64_t bytes, struct step *step)
{
	plan_step_init(step, kind, mover->guest);
	snprintf(step->device, sizeof(step->device), "%s", alias);
	memcpy(step->text, STEP_TEXT_REPLUG, sizeof(STEP_TEXT_REPLUG));
	step->bytes = bytes;
	step->timeout_ms = TAKE_MS;
	step->undoable = true;
}

/* Exactly what went offline. */
static bool request_next(struct mover *mover, const struct step_record *offline)
{
	const struct snapshot_device *device = device_of(mover, &offline->step);
	uint64_t block = device && device->block_bytes ? device->block_bytes : 1, bytes;
	struct step step;

	if (!device || device->requested_bytes != device->current_bytes)
		return false;
	bytes = plan_min(plan_min(offline->bytes_done, offline->step.bytes), device->current_bytes) / block * block;
	if (!bytes)
		return false;
	init_step(mover, STEP_KIND_REQUEST, device->alias, bytes, &step);
	step.target_bytes = device->current_bytes - bytes;
	step.nodes = offline->step.nodes;
	step.from_nodes = mover->goal.sources;
	step.range_count = offline->step.range_count;
	memcpy(step.ranges, offline->step.ranges, sizeof(step.ranges));
	plan_decide(mover->decision, &step);
	return true;
}

/* The size is back, and nobody has asked for another one. */
static bool is_back(const struct mover *mover, const struct step_record *request)
{
	const struct snapshot_device *device = device_of(mover, &request->step);
	uint64_t before = request->step.target_bytes + request->step.bytes;

	return device && device->current_bytes == before && device->requested_bytes == before;
}

/* Plugged again, but not in use yet: true while that is waited for. A guest that does not online it gives no more. */
static bool await_online_next(struct mover *mover, const struct step_record *request)
{
	const struct plan_input *input = mover->input;
	unsigned awaits = 0;
	struct step step;

	for (const struct step_record *record = request; record < input->history + input->history_count; record++) {
		if (record->step.kind != STEP_KIND_AWAIT || record->state == STEP_STATE_UNDONE)
			continue;
		if (record->state != STEP_STATE_DONE || ++awaits == ONLINE_AWAITS_MAX)
			return false;
	}
	plan_step_init(&step, STEP_KIND_AWAIT, mover->guest);
	step.bytes = request->step.bytes;
	step.timeout_ms = ONLINE_MS;
	plan_decide(mover->decision, &step);
	return true;
}

/* Most of what the step took lies there again. */
static bool is_in_vain(const struct mover *mover, const struct drain_scope *scope, const struct step_record *request)
{
	const struct snapshot_guest *guest = mover->guest;
	uint64_t again = 0;

	for (size_t i = 0; i < guest->place_count; i++) {
		const struct snapshot_place *place = &guest->places[i];
		struct snapshot_range unit = snapshot_unit_range(&guest->residencies[place->device], place->unit);

		for (size_t j = 0; j < request->step.range_count; j++) {
			const struct snapshot_range *range = &request->step.ranges[j];
			uint64_t start = range->start > unit.start ? range->start : unit.start;
			uint64_t end = plan_min(range->end, unit.end);

			if (start < end)
				again += plan_share(drain_scope_place_bytes(mover->input, scope, guest, place),
						    end - start, unit.end - unit.start);
		}
	}
	return again > request->bytes_done / 2;
}

/* To where most of the portion would have gone, could it be moved. */
static int destination_of(const struct mover *mover, const struct drain_shrink_part *part)
{
	int most = 0;

	for (int node = 1; node < SNAPSHOT_NODES_MAX; node++)
		if (part->node_bytes[node] > part->node_bytes[most])
			most = node;
	return mover->goal.map[most];
}

static bool portion_next(struct mover *mover, const struct drain_scope *scope)
{
	const struct snapshot_guest *guest = mover->guest;

	for (size_t i = 0; i < guest->device_count && portions(mover->input) < PORTIONS_MAX; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		struct drain_shrink_part part;
		struct step step;

		if (!takes_policy(guest, device) || !comes_elsewhere(guest, device, mover->goal.sources))
			continue;
		drain_shrink_portion(mover->input, scope, guest, UINT64_C(1) << i, portion_bytes(guest), &part);
		if (!part.bytes)
			continue;
		init_step(mover, STEP_KIND_OFFLINE_GUEST_BLOCKS, device->alias, part.bytes, &step);
		step.nodes = plan_node_bit(destination_of(mover, &part));
		step.range_count = part.range_count;
		memcpy(step.ranges, part.ranges, sizeof(step.ranges));
		plan_decide(mover->decision, &step);
		return true;
	}
	return false;
}

bool move_replug_next(struct mover *mover)
{
	const struct step_record *last = last_step(mover->input);
	struct drain_scope scope;

	if (!last && !move_replug_is_due(mover))
		return false;
	if (move_free_size_back_next(mover))
		return true;
	if (last && last->step.kind == STEP_KIND_OFFLINE_GUEST_BLOCKS && !plan_was_cut(last) && request_next(mover, last))
		return true;
	if (!move_replug_is_due(mover))
		return false;
	find_scope(mover->input, &mover->goal, &scope);
	if (last && last->step.kind == STEP_KIND_REQUEST) {
		if (!is_back(mover, last))
			return false;
		if (mover->guest->agent.offline_bytes)
			return await_online_next(mover, last);
		if (is_in_vain(mover, &scope, last))
			return false;
	}
	return portion_next(mover, &scope);
}
