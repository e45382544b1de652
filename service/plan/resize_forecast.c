/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shrink can come to, before anything is asked: by what the guest's agent reports now.
 *
 * A promise, so whatever is doubtful stays: of a device no more leaves than lies in its movable zone or is offline (or,
 * where the agent told what is in each block, than has nothing immovable in it), and of all of them together no more
 * than memory covers once the guest has given what is free of its huge pages. An agent keeps some of what is
 * available for the guest's own work (guest-agent, has_memory_for), and so does this.
 */
#include "resize_priv.h"

#include <stdio.h>
#include <string.h>

uint64_t resize_covered_bytes(const struct plan_input *input, const struct snapshot_guest *guest)
{
	const struct snapshot_agent *agent = &guest->agent;
	/* What it could spare a moment ago it may have used since. */
	if (resize_agent_is_silent(input, guest))
		return 0;
	if (agent->state != AGENT_STATE_READY || !agent->reported || agent->memory_total_bytes == 0)
		return UINT64_MAX;
	return agent->memory_available_bytes - plan_min(agent->memory_available_bytes, agent->keep_bytes) + agent->offline_bytes;
}

/* What could be taken of the guest without anybody in it going short, once its free huge pages are given back. */
static uint64_t covered_at_last(const struct plan_input *input, const struct snapshot_guest *guest)
{
	const struct snapshot_agent *agent = &guest->agent;

	return resize_covered_bytes(input, guest) + agent->huge_free_bytes -
	       plan_min(agent->huge_free_bytes, agent->huge_floor_bytes);
}

static uint64_t pinned_bytes(const struct snapshot_guest *guest, const struct snapshot_device *device)
{
	const struct snapshot_region *region = snapshot_guest_region(guest, device);

	return region && region->has_holders ? region->holders.pinned_bytes : 0;
}

static void add_zones(struct plan_leave *leave, const struct snapshot_region *region)
{
	if (!region)
		return;
	leave->zones_told = true;
	leave->movable_bytes = plan_min(region->movable_bytes, region->online_bytes);
	leave->kernel_bytes = region->online_bytes - leave->movable_bytes;
	leave->offline_bytes = region->plugged_bytes - plan_min(region->online_bytes, region->plugged_bytes);
}

static void add_device(struct resize_forecast *forecast, const char *alias, uint64_t gap, uint64_t gives, uint64_t pinned)
{
	struct plan_leave *leave = &forecast->devices[forecast->device_count++];

	snprintf(leave->alias, sizeof(leave->alias), "%s", alias);
	leave->asked_bytes = gap;
	leave->leaves_bytes = plan_min(gap, gives);
	forecast->pinned_bytes += plan_min(gap - leave->leaves_bytes, pinned);
	forecast->asked_bytes += gap;
	forecast->leaves_bytes += leave->leaves_bytes;
}

/* A balloon has no blocks. */
static uint64_t unit_of(const struct snapshot_guest *guest, const char *alias)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (strcmp(guest->devices[i].alias, alias) == 0 && guest->devices[i].block_bytes)
			return guest->devices[i].block_bytes;
	return 1;
}

/* From the end, so that what was promised of the first devices stands; in whole blocks, as it is asked for. */
static void cut(struct resize_forecast *forecast, const struct snapshot_guest *guest, uint64_t most)
{
	for (size_t i = forecast->device_count; i-- > 0 && forecast->leaves_bytes > most;) {
		struct plan_leave *leave = &forecast->devices[i];
		uint64_t unit = unit_of(guest, leave->alias), before = leave->leaves_bytes;

		leave->leaves_bytes -= plan_min(forecast->leaves_bytes - most, before);
		leave->leaves_bytes -= leave->leaves_bytes % unit;
		forecast->leaves_bytes -= before - leave->leaves_bytes;
	}
}

bool resize_forecast(const struct plan_input *input, const struct snapshot_guest *guest, struct resize_forecast *ret_forecast)
{
	const struct snapshot_agent *agent = &guest->agent;
	uint64_t targets[SNAPSHOT_DEVICES_MAX];

	memset(ret_forecast, 0, sizeof(*ret_forecast));
	if (agent->state != AGENT_STATE_READY || !agent->reported || agent->memory_total_bytes == 0)
		return false;
	if (resize_is_balloon(guest)) {
		uint64_t wanted = resize_balloon_target(input, guest);

		ret_forecast->withheld_bytes = wanted - plan_wanted_bytes(input->wish, guest);
		if (guest->balloon_bytes > wanted)
			add_device(ret_forecast, "balloon", guest->balloon_bytes - wanted, UINT64_MAX, 0);
	} else {
		resize_targets(input, guest, targets);
		ret_forecast->withheld_bytes = resize_withheld_bytes(input, guest, targets);
		for (size_t i = 0; i < guest->device_count; i++) {
			const struct snapshot_device *device = &guest->devices[i];

			if (device->current_bytes <= targets[i])
				continue;
			add_device(ret_forecast, device->alias, device->current_bytes - targets[i], resize_device_gives(guest, device),
				   pinned_bytes(guest, device));
			add_zones(&ret_forecast->devices[ret_forecast->device_count - 1], snapshot_guest_region(guest, device));
		}
	}
	ret_forecast->kernel_bytes = ret_forecast->asked_bytes - ret_forecast->leaves_bytes - ret_forecast->pinned_bytes;
	cut(ret_forecast, guest, agent->veto ? 0 : covered_at_last(input, guest));
	return ret_forecast->device_count > 0 || ret_forecast->withheld_bytes > 0;
}

uint64_t plan_forecast_bytes(const struct plan_input *input)
{
	const struct snapshot_guest *guest = input->wish->kind == OPERATION_KIND_RESIZE
						     ? snapshot_guest(input->snapshot, input->wish->guest)
						     : NULL;
	struct resize_forecast forecast;

	if (!guest || plan_wanted_bytes(input->wish, guest) >= guest->current_bytes ||
	    !resize_forecast(input, guest, &forecast))
		return 0;
	return guest->current_bytes - plan_min(guest->current_bytes, forecast.leaves_bytes);
}
