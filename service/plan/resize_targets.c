/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size that each memory device of a guest is to have.
 *
 * A wish for the whole guest is shared out once: what is asked of a device stays its goal, so that a slow one does not
 * push its bytes to the others. Only where a device is stuck for good is its share asked of those that can give more.
 * The goals always add up to the wish.
 */
#include "resize_priv.h"

#include <string.h>
#include "size_text.h"

uint64_t plan_wanted_bytes(const struct wish *wish, const struct snapshot_guest *guest)
{
	uint64_t bytes = guest->base_bytes;

	if (wish->resize.device_count == 0)
		return wish->resize.target_bytes;
	for (size_t i = 0; i < guest->device_count; i++) {
		uint64_t device_bytes = guest->devices[i].requested_bytes;

		for (size_t j = 0; j < wish->resize.device_count; j++)
			if (strcmp(wish->resize.devices[j].alias, guest->devices[i].alias) == 0)
				device_bytes = wish->resize.devices[j].requested_bytes;
		bytes += device_bytes;
	}
	return bytes;
}

uint64_t resize_least_bytes(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t most = guest->agent.shrink_most_bytes;

	return most && input->start_bytes > most ? input->start_bytes - most : 0;
}

uint64_t resize_withheld_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
			       const uint64_t targets[SNAPSHOT_DEVICES_MAX])
{
	uint64_t wanted = plan_wanted_bytes(input->wish, guest), sum = guest->base_bytes;

	if (input->wish->resize.device_count || resize_least_bytes(input, guest) <= wanted)
		return 0;
	for (size_t i = 0; i < guest->device_count; i++)
		sum += targets[i];
	return sum - plan_min(sum, wanted);
}

static bool is_request(const struct step_record *record, const char *alias)
{
	return record->step.kind == STEP_KIND_REQUEST && record->state != STEP_STATE_UNDONE &&
	       strcmp(record->step.device, alias) == 0 && strcmp(record->step.text, RESIZE_RESTORE_MARK) != 0;
}

const struct step_record *resize_first_request(const struct plan_input *input, const char *alias)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (is_request(&input->history[i], alias))
			return &input->history[i];
	return NULL;
}

const struct step_record *resize_goal_request(const struct plan_input *input, const char *alias)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (is_request(&input->history[i], alias) &&
		    strcmp(input->history[i].step.text, RESIZE_NAMED_MARK) != 0)
			return &input->history[i];
	return NULL;
}

static bool is_stuck(const struct plan_input *input, const char *alias)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (is_request(&input->history[i], alias) &&
		    strcmp(input->history[i].step.text, RESIZE_STUCK_MARK) == 0)
			return true;
	return false;
}

uint64_t resize_before(const struct plan_input *input, const struct snapshot_guest *guest,
		       const struct snapshot_device *device)
{
	const struct step_record *first = resize_first_request(input, device->alias);

	if (!first)
		return device->current_bytes;
	return first->step.grows ? first->step.target_bytes - plan_min(first->step.bytes, first->step.target_bytes)
				 : first->step.target_bytes + first->step.bytes;
}

uint64_t resize_named_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
			    const struct snapshot_device *device)
{
	const struct wish_resize *wish = &input->wish->resize;
	struct snapshot_range range;
	uint64_t bytes = 0;

	if (!plan_device_range(guest, device, &range))
		return 0;
	for (size_t i = 0; i < wish->range_count; i++) {
		uint64_t start = wish->ranges[i].start > range.start ? wish->ranges[i].start : range.start;
		uint64_t end = plan_min(wish->ranges[i].end, range.end);

		bytes += end > start ? end - start : 0;
	}
	return bytes;
}

uint64_t resize_behind_gigantic_bytes(const struct snapshot_agent *agent, const struct snapshot_region *region)
{
	const struct snapshot_holders *holders = &region->holders;
	uint64_t pools = holders->huge_used_bytes + holders->huge_free_bytes;
	uint64_t zone = region->online_bytes - plan_min(region->online_bytes, region->movable_bytes);

	if (!region->has_holders || !agent->gigantic_bytes || plan_min(pools, holders->kernel_bytes) < SIZE_TEXT_GIB)
		return 0;
	return zone - plan_min(zone, holders->kernel_bytes + holders->pinned_bytes);
}

uint64_t resize_device_gives(const struct snapshot_guest *guest, const struct snapshot_device *device)
{
	const struct snapshot_region *region = snapshot_guest_region(guest, device);
	uint64_t kept = 0;

	/* Of a kernel zone the driver takes what the kernel does not use, piece by piece. */
	if (region && region->has_holders)
		kept = region->holders.kernel_bytes + region->holders.pinned_bytes +
		       resize_behind_gigantic_bytes(&guest->agent, region);
	else if (region)
		kept = region->online_bytes - plan_min(region->online_bytes, region->movable_bytes);

	return device->current_bytes - plan_min(device->current_bytes, kept);
}

uint64_t resize_device_nodes(const struct plan_input *input, const struct snapshot_guest *guest,
			     const struct snapshot_device *device)
{
	uint64_t all = plan_growth_nodes(input, guest), own = 0, nodes;

	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].cell == device->cell && device->cell >= 0 &&
		    snapshot_guest_part_policy(guest, i, &nodes) == POLICY_MODE_BIND)
			own |= nodes;
	for (size_t i = 0; !own && i < guest->cell_count; i++)
		if (guest->cells[i].id == device->cell)
			own = guest->cells[i].bound_nodes;
	return own ? all & own : all;
}

/* A wish for the whole being shared out. */
struct sharing {
	const struct plan_input *input;
	const struct snapshot_guest *guest;
	uint64_t *targets;
	bool fixed[SNAPSHOT_DEVICES_MAX], stuck[SNAPSHOT_DEVICES_MAX];
	uint64_t sum, wanted;
};

static uint64_t block_of(const struct sharing *sharing, size_t device)
{
	uint64_t block = sharing->guest->devices[device].block_bytes;

	return block ? block : 1;
}

/* Takes so much off a goal, rounded up to blocks, and no more than is left of it. */
static void take(struct sharing *sharing, size_t device, uint64_t bytes)
{
	uint64_t block = block_of(sharing, device);

	bytes = plan_min((bytes + block - 1) / block * block, sharing->targets[device]);
	sharing->targets[device] -= bytes;
	sharing->sum -= bytes;
}

static uint64_t left_to_take(const struct sharing *sharing)
{
	return sharing->sum > sharing->wanted ? sharing->sum - sharing->wanted : 0;
}

/* What lies in named ranges goes before all else. */
static void take_named(struct sharing *sharing)
{
	for (size_t i = 0; i < sharing->guest->device_count; i++)
		if (!sharing->fixed[i] && left_to_take(sharing))
			take(sharing, i,
			     plan_min(resize_named_bytes(sharing->input, sharing->guest, &sharing->guest->devices[i]),
				      left_to_take(sharing)));
}

/* What a device could still give beyond its goal. */
static uint64_t spare_of(const struct sharing *sharing, size_t device)
{
	const struct snapshot_device *seen = &sharing->guest->devices[device];
	uint64_t least = seen->current_bytes - resize_device_gives(sharing->guest, seen);

	return sharing->targets[device] - plan_min(sharing->targets[device], least);
}

/* Of each in proportion to what it can give, so that no cell of the guest is emptied for the others. */
static void take_shares(struct sharing *sharing, const bool *from)
{
	uint64_t spare[SNAPSHOT_DEVICES_MAX] = {0}, sum = 0, need;

	for (size_t i = 0; i < sharing->guest->device_count; i++) {
		spare[i] = from[i] ? spare_of(sharing, i) : 0;
		sum += spare[i];
	}
	need = plan_min(left_to_take(sharing), sum);
	for (size_t i = 0; sum && i < sharing->guest->device_count; i++) {
		uint64_t share = (uint64_t)((double)need * ((double)spare[i] / (double)sum));

		/* Down, for what is rounded off comes below. */
		take(sharing, i, plan_min(share / block_of(sharing, i) * block_of(sharing, i), left_to_take(sharing)));
	}
	for (size_t i = 0; i < sharing->guest->device_count; i++)
		if (from[i] && left_to_take(sharing))
			take(sharing, i, plan_min(spare_of(sharing, i), left_to_take(sharing)));
}

/* What nobody can give, as far as is known, is asked for all the same: it may be wrong, and else it is explained. */
static void take_rest(struct sharing *sharing, const bool *from)
{
	for (size_t i = 0; i < sharing->guest->device_count; i++)
		if (from[i] && left_to_take(sharing))
			take(sharing, i, left_to_take(sharing));
}

/* What rounding took too much, where no more may be taken; before: the goals as they were. */
static void give_back(struct sharing *sharing, const uint64_t before[SNAPSHOT_DEVICES_MAX])
{
	for (size_t i = 0; i < sharing->guest->device_count && sharing->sum < sharing->wanted; i++) {
		uint64_t block = block_of(sharing, i);
		uint64_t bytes = (sharing->wanted - sharing->sum + block - 1) / block * block;

		bytes = plan_min(bytes, before[i] - sharing->targets[i]);
		sharing->targets[i] += bytes;
		sharing->sum += bytes;
	}
}

/* What the nodes that a device may grow on have of the rooms. */
static uint64_t host_room(const struct sharing *sharing, size_t device, const uint64_t rooms[SNAPSHOT_NODES_MAX])
{
	uint64_t room = 0;
	uint64_t nodes = resize_device_nodes(sharing->input, sharing->guest, &sharing->guest->devices[device]);

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes >> node & 1)
			room += rooms[node];
	return room;
}

/* To that with most room first; with in_room no more than the host has on the device's nodes. */
static void give(struct sharing *sharing, bool in_room)
{
	const struct snapshot_guest *guest = sharing->guest;
	uint64_t rooms[SNAPSHOT_NODES_MAX];
	bool done[SNAPSHOT_DEVICES_MAX];

	memcpy(done, sharing->fixed, sizeof(done));
	if (in_room)
		growth_room_find_guest(sharing->input, guest, sharing->input->limits->reserve_untouched, rooms);
	while (sharing->sum < sharing->wanted) {
		size_t best = guest->device_count;
		uint64_t most = 0, block, bytes;

		for (size_t i = 0; i < guest->device_count; i++) {
			uint64_t size = guest->devices[i].size_bytes;
			uint64_t room = size - plan_min(size, sharing->targets[i]);

			if (done[i])
				continue;
			if (in_room)
				room = plan_min(room, host_room(sharing, i, rooms));
			if (room > most) {
				most = room;
				best = i;
			}
		}
		if (best == guest->device_count)
			return;
		block = block_of(sharing, best);
		bytes = plan_min(sharing->wanted - sharing->sum, most) / block * block;
		done[best] = true;
		sharing->targets[best] += bytes;
		sharing->sum += bytes;
	}
}

void resize_targets(const struct plan_input *input, const struct snapshot_guest *guest,
		    uint64_t targets[SNAPSHOT_DEVICES_MAX])
{
	const struct wish_resize *wish = &input->wish->resize;
	struct sharing sharing = {.input = input, .guest = guest, .targets = targets};
	bool open[SNAPSHOT_DEVICES_MAX], loose[SNAPSHOT_DEVICES_MAX];
	uint64_t before[SNAPSHOT_DEVICES_MAX] = {0}, wanted = plan_wanted_bytes(input->wish, guest);
	bool is_capped = resize_least_bytes(input, guest) > wanted;

	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		const struct step_record *goal = resize_goal_request(input, device->alias);

		targets[i] = wish->device_count ? device->current_bytes : resize_before(input, guest, device);
		for (size_t j = 0; j < wish->device_count; j++)
			if (strcmp(wish->devices[j].alias, device->alias) == 0)
				targets[i] = wish->devices[j].requested_bytes;
		if (goal && wish->device_count == 0) {
			targets[i] = goal->step.target_bytes;
			sharing.fixed[i] = true;
		}
		sharing.sum += targets[i];
		open[i] = !sharing.fixed[i];
		loose[i] = !is_stuck(input, device->alias);
	}
	if (wish->device_count)
		return;
	if (is_capped)
		wanted = resize_least_bytes(input, guest);
	sharing.wanted = wanted > guest->base_bytes ? wanted - guest->base_bytes : 0;
	/* What was asked for before the guest said so is no reason to grow. */
	if (is_capped && sharing.sum <= sharing.wanted)
		return;
	memcpy(before, targets, guest->device_count * sizeof(before[0]));
	if (sharing.sum <= sharing.wanted) {
		/* Which device's nodes are full is no matter where there is only one to choose. */
		if (guest->device_count > 1)
			give(&sharing, true);
		give(&sharing, false);
		return;
	}
	take_named(&sharing);
	take_shares(&sharing, open);
	take_rest(&sharing, open);
	/* All have been asked, and the share of one that is stuck is to be had elsewhere. */
	take_shares(&sharing, loose);
	take_rest(&sharing, loose);
	if (is_capped)
		give_back(&sharing, before);
}

uint64_t resize_shift_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
			    const uint64_t targets[SNAPSHOT_DEVICES_MAX], size_t device)
{
	struct sharing sharing = {.input = input, .guest = guest, .targets = (uint64_t[SNAPSHOT_DEVICES_MAX]){0}};
	uint64_t gap = guest->devices[device].current_bytes - plan_min(guest->devices[device].current_bytes, targets[device]);
	uint64_t elsewhere = 0, block = 1;

	if (input->wish->resize.device_count || input->wish->resize.range_count ||
	    is_stuck(input, guest->devices[device].alias))
		return 0;
	memcpy(sharing.targets, targets, guest->device_count * sizeof(targets[0]));
	for (size_t i = 0; i < guest->device_count; i++) {
		if (block_of(&sharing, i) > block)
			block = block_of(&sharing, i);
		/* One with a gap of its own has more asked of it than it gives. */
		if (i != device && guest->devices[i].current_bytes <= targets[i] &&
		    !is_stuck(input, guest->devices[i].alias))
			elsewhere += spare_of(&sharing, i) / block_of(&sharing, i) * block_of(&sharing, i);
	}
	return plan_min(gap, elsewhere) / block * block;
}
