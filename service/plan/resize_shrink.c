/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shrink: a ladder that is climbed only as far as it must be, and again when something has changed.
 *
 *   free huge pages -> hooks -> request -> (flat) free huge pages -> hooks -> compact -> make room, offline
 *     -> reclaim, offline -> await -> kick -> await ... -> the deadline
 *
 * Each rung is taken when the one before was not enough, and none again unless another one, or waiting, has gained
 * something since. After each that gained in the guest comes a kick: the same size requested again wakes the driver,
 * whose own retry waits 50 to 300 s. It would abort a pass under way, so it is sent only when the size is flat
 * (virtio_mem.c virtio_mem_run_wq, virtio_mem_config_changed).
 *
 * When no rung is left the time until the deadline is used all the same: what stands in the way may go away by itself.
 * An await ends as soon as anything in the guest is better than it was, and then the rungs are open again. One that saw
 * nothing is followed by a kick, because a flat size is never only waited for, and by a longer one.
 *
 * Named ranges: the agent takes exactly these offline, and exactly what went offline is asked back from the device,
 * because blocks that are offline go first. Only what is wished beyond them is asked for as in any shrink.
 *
 * A share of the guest's time: all that leaves goes that way, because the driver knows no pause, and only it works on
 * blocks that are online. Compaction knows none either, and is left out.
 */
#include "resize_priv.h"

#include <string.h>

#define AGENT_OFFLINE_MS 60000

/* Which devices are to lose anything, and by name. */
struct shrink {
	struct resize *resize;
	uint64_t gaps[SNAPSHOT_DEVICES_MAX];
	uint64_t named[SNAPSHOT_DEVICES_MAX]; /* bytes of named ranges in the device */
	bool only_offline[SNAPSHOT_DEVICES_MAX]; /* nothing is asked of it that the agent has not got offline */
	bool shared; /* with the guest's own work: a share of the time */
};

/* Where the agent is to work: of this device, or of all that are to shrink; nothing where it is all of the guest's. */
static void fill_ranges(const struct shrink *shrink, size_t only, struct step *step)
{
	const struct snapshot_guest *guest = shrink->resize->guest;
	const struct wish_resize *wish = &shrink->resize->input->wish->resize;

	for (size_t i = 0; i < guest->device_count; i++) {
		struct snapshot_range range;

		if ((only < guest->device_count && i != only) || !shrink->gaps[i] ||
		    !plan_device_range(guest, &guest->devices[i], &range))
			continue;
		for (size_t j = 0; shrink->named[i] && j < wish->range_count; j++) {
			uint64_t start = wish->ranges[j].start > range.start ? wish->ranges[j].start : range.start;
			uint64_t end = plan_min(wish->ranges[j].end, range.end);

			if (start < end && step->range_count < SNAPSHOT_RANGES_MAX)
				step->ranges[step->range_count++] = (struct snapshot_range){start, end};
		}
		if (!shrink->named[i] && guest->device_count > 1 && step->range_count < SNAPSHOT_RANGES_MAX)
			step->ranges[step->range_count++] = range;
	}
}

/* Huge pages in use leave a block only for free ones elsewhere. */
static bool make_room_next(const struct shrink *shrink)
{
	struct resize *resize = shrink->resize;
	const struct snapshot_agent *agent = &resize->guest->agent;

	if (!agent->reported || !resize_agent_rung_next(resize, STEP_KIND_MAKE_GUEST_ROOM, AGENT_FEATURE_MAKE_ROOM,
							plan_min(agent->huge_used_bytes, resize->shrink_gap)))
		return false;
	fill_ranges(shrink, resize->guest->device_count, &resize->decision->step);
	return true;
}

/* Which memory is to leave tells an application what to let go of. */
static bool hooks_next(const struct shrink *shrink)
{
	if (!resize_hooks_next(shrink->resize))
		return false;
	fill_ranges(shrink, shrink->resize->guest->device_count, &shrink->resize->decision->step);
	return true;
}

/* What is free in the pools there stands in the way, elsewhere it does not. */
static bool free_huge_pages_next(const struct shrink *shrink)
{
	struct resize *resize = shrink->resize;

	if (!resize_free_huge_pages_next(resize, resize->shrink_gap))
		return false;
	if (resize->decision->step.kind == STEP_KIND_FREE_HUGE_PAGES)
		fill_ranges(shrink, resize->guest->device_count, &resize->decision->step);
	return true;
}

static bool prepare_next(const struct shrink *shrink)
{
	struct step *step = &shrink->resize->decision->step;

	if (!resize_prepare_next(shrink->resize))
		return false;
	if (step->kind == STEP_KIND_RUN_HOOKS || step->kind == STEP_KIND_FREE_HUGE_PAGES)
		fill_ranges(shrink, shrink->resize->guest->device_count, step);
	return true;
}

static bool offline_is_open(const struct shrink *shrink, size_t device)
{
	const struct resize *resize = shrink->resize;
	const struct snapshot_device *seen = &resize->guest->devices[device];
	struct snapshot_range range;

	return shrink->gaps[device] && plan_agent_can(resize->guest, AGENT_FEATURE_OFFLINE) &&
	       plan_device_range(resize->guest, seen, &range) &&
	       resize_rung_is_open(resize->input, STEP_KIND_OFFLINE_GUEST_BLOCKS, seen->alias);
}

static void emit_offline(const struct shrink *shrink, size_t device)
{
	struct resize *resize = shrink->resize;
	struct step *step = &resize->decision->step;
	uint64_t bytes = shrink->gaps[device];

	if (shrink->named[device])
		bytes = plan_min(bytes, shrink->named[device]);
	if (shrink->shared)
		resize_emit_agent(resize, STEP_KIND_OFFLINE_GUEST_BLOCKS, bytes,
				  AGENT_OFFLINE_MS * 100 / resize->input->wish->resize.work_percent);
	else
		resize_emit_agent(resize, STEP_KIND_OFFLINE_GUEST_BLOCKS, bytes, AGENT_OFFLINE_MS);
	step->work_percent = shrink->shared ? resize->input->wish->resize.work_percent : 0;
	memcpy(step->device, resize->guest->devices[device].alias, sizeof(step->device));
	fill_ranges(shrink, device, step);
}

/* Device by device, or the blocks of one would be taken for the other. */
static bool offline_next(const struct shrink *shrink)
{
	for (size_t i = 0; i < shrink->resize->guest->device_count; i++)
		if (offline_is_open(shrink, i)) {
			emit_offline(shrink, i);
			return true;
		}
	return false;
}

/* The one before got something, and the device has been asked for that: so may another, with a share of the time. */
static bool is_worth_another(const struct shrink *shrink, long offline, long request)
{
	return shrink->shared && offline >= 0 && request > offline &&
	       shrink->resize->input->history[offline].bytes_done > 0 &&
	       shrink->resize->input->history[request].bytes_done > 0;
}

/* What the agent has got offline since the device was last asked for anything. */
static bool taken_next(const struct shrink *shrink)
{
	struct resize *resize = shrink->resize;
	const struct plan_input *input = resize->input;

	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		long offline = resize_last_index(input, STEP_KIND_OFFLINE_GUEST_BLOCKS, device->alias);
		long request = resize_last_index(input, STEP_KIND_REQUEST, device->alias);
		uint64_t block = device->block_bytes ? device->block_bytes : 1, bytes;

		if (!(shrink->named[i] || shrink->shared) || !shrink->gaps[i])
			continue;
		if ((offline < 0 && offline_is_open(shrink, i)) || is_worth_another(shrink, offline, request)) {
			emit_offline(shrink, i);
			return true;
		}
		if (offline < 0 || offline < request)
			continue;
		bytes = plan_min(input->history[offline].bytes_done, input->history[offline].step.bytes);
		bytes = plan_min(bytes, shrink->gaps[i]) / block * block;
		if (!bytes)
			continue;
		resize_emit_device(resize, STEP_KIND_REQUEST, i, device->current_bytes - bytes, RESIZE_NAMED_MARK);
		return true;
	}
	return false;
}

/* Room was made, or memory reclaimed, so that blocks can be emptied into it. */
static bool is_for_offline(const struct plan_input *input, long work)
{
	enum step_kind kind = input->history[work].step.kind;

	return kind == STEP_KIND_MAKE_GUEST_ROOM || kind == STEP_KIND_RECLAIM;
}

/* A share that cannot be had of one device is asked of those that have given theirs and can give more. */
static bool shift_next(const struct shrink *shrink)
{
	struct resize *resize = shrink->resize;

	for (size_t i = 0; resize->guest->device_count > 1 && i < resize->guest->device_count; i++) {
		uint64_t bytes = shrink->gaps[i] ? resize_shift_bytes(resize->input, resize->guest, resize->targets, i)
						 : 0;

		if (!bytes)
			continue;
		resize_emit_device(resize, STEP_KIND_REQUEST, i, resize->targets[i] + bytes, RESIZE_STUCK_MARK);
		return true;
	}
	return false;
}

static bool climb_next(const struct shrink *shrink)
{
	struct resize *resize = shrink->resize;
	const struct plan_input *input = resize->input;
	long work = resize_last_work(input), request = resize_last_index(input, STEP_KIND_REQUEST, NULL);

	/* Less than wished (the guest has rebooted and plugs again): nothing in it stands in the way. */
	if (resize->shrink_gap == 0)
		return resize_kick_next(resize, request);
	if (resize->guest->agent.state != AGENT_STATE_READY)
		return plan_count(input, STEP_KIND_KICK) < resize->guest->device_count &&
		       resize_kick_next(resize, request);
	/* What an await saw may be huge pages that were let go: the driver does not take those. */
	if (work >= 0 && input->history[work].step.kind == STEP_KIND_AWAIT &&
	    free_huge_pages_next(shrink))
		return true;
	if (work >= 0 && is_for_offline(input, work) && offline_next(shrink))
		return true;
	if (work >= 0 && resize_kick_next(resize, work))
		return true;
	return free_huge_pages_next(shrink) || hooks_next(shrink) ||
	       (!shrink->shared && resize_compact_next(resize)) ||
	       make_room_next(shrink) || offline_next(shrink) || resize_reclaim_next(resize) || shift_next(shrink);
}

/* What a kick is to other shrinks, where nothing is asked for that is not offline. */
static bool offline_again_next(const struct shrink *shrink, long after)
{
	const struct resize *resize = shrink->resize;

	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const char *alias = resize->guest->devices[i].alias;

		if (!shrink->only_offline[i] || !shrink->gaps[i] ||
		    !plan_agent_can(resize->guest, AGENT_FEATURE_OFFLINE) ||
		    resize_last_index(resize->input, STEP_KIND_OFFLINE_GUEST_BLOCKS, alias) > after)
			continue;
		emit_offline(shrink, i);
		return true;
	}
	return false;
}

/* The ladder has no rung left. */
static bool persist_next(const struct shrink *shrink)
{
	const struct plan_input *input = shrink->resize->input;
	long await = resize_last_index(input, STEP_KIND_AWAIT, NULL);

	if (!input->deadline_ms)
		return false;
	if (await >= 0 && (resize_kick_next(shrink->resize, await) || offline_again_next(shrink, await)))
		return true;
	return resize_await_next(shrink->resize);
}

static void find_gaps(struct shrink *shrink)
{
	const struct resize *resize = shrink->resize;

	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		uint64_t before = resize_before(resize->input, resize->guest, device);

		shrink->gaps[i] = device->current_bytes - plan_min(device->current_bytes, resize->targets[i]);
		shrink->named[i] = resize_named_bytes(resize->input, resize->guest, device);
		shrink->only_offline[i] =
			shrink->shared ? resize->targets[i] < before
				       : shrink->named[i] && shrink->named[i] >=
								     before - plan_min(before, resize->targets[i]);
	}
}

void resize_shrink_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	struct shrink shrink = {.resize = resize, .shared = input->wish->resize.work_percent % 100 > 0};

	find_gaps(&shrink);
	resize_tell_of_hooks(resize);
	if (resize->shrink_gap == 0 && resize->grow_gap == 0 && !resize_request_next(resize, shrink.only_offline)) {
		if (!resize_end_lease_next(resize, STEP_KIND_AGENT_COMMIT))
			resize_finish(resize);
		return;
	}
	if (resize->decision->kind == DECISION_KIND_STEP)
		return;
	if (resize_is_ending(input) || plan_is_late(input) || resize_request_failed(input) ||
	    resize_is_worn_out(input)) {
		resize_end(resize, true);
		return;
	}
	if (resize_wait_next(resize))
		return;
	if (resize_is_vetoed(resize) || (resize->shrink_gap && resize->is_revoked)) {
		resize_end(resize, true);
		return;
	}
	if (prepare_next(&shrink) || taken_next(&shrink) || resize_request_next(resize, shrink.only_offline) ||
	    (resize->shrink_gap && resize_silence_next(resize)) || climb_next(&shrink) || persist_next(&shrink))
		return;
	resize_end(resize, true);
}
