/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not moved is fastest: what is free in the guest need not be copied.
 *
 *   report: the guest reports its free pages to the host, which then has no page for them
 *   take:   with the consent shrink_guests, free memory is unplugged for the time of the move
 *   return: and plugged again, on the new node, to the size that each device had: while the rest moves, where new memory
 *           lands there, and else after it
 *
 * What is taken the agent takes offline first. virtio-mem gives such blocks back as they are; from blocks that are online
 * its driver allocates what it gives, page by page (drivers/virtio/virtio_mem.c virtio_mem_fake_offline), and a kernel
 * that clears what it allocates (init_on_alloc) then touches every page of it, those too that the host never had.
 *
 * Which of its memory is free the guest knows, and of which of that the host has pages the survey: so the host names the
 * parts of a device that it has much of, and of these the guest gives the emptiest blocks. Where the survey could not
 * tell the device's memory from that of others, all of the device is named.
 *
 * What was taken is asked back in every ending: it stands in the steps so far, so a move that was
 * cut short, or a daemon that was started anew, asks for it as a finished one does, and an undo puts
 * the old size back by itself. Where somebody else has asked for another size since, that stands.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

/*
 * Reporting costs a compaction in the guest, and two rounds of the guest's driver in which nothing more comes
 * (mm/page_reporting.c PAGE_REPORTING_DELAY). What this host copies in that time is copied sooner.
 */
#define REPORT_LEAST_BYTES (32 * SIZE_TEXT_MIB)
#define REPORT_COST_MS	   4500
#define REPORT_MS	   10000
/*
 * An unplug and a plug cost the guest's caches: not for less. Beside that they take as long as two requests, whose end
 * libvirt tells up to a second late (QEMU's throttle of MEMORY_DEVICE_SIZE_CHANGE), and the offlining of idle blocks
 * (0.1 s for 128 MiB, guest-agent/evacuate.h). What this host copies in that time is copied sooner.
 */
#define TAKE_LEAST_BYTES  (256 * SIZE_TEXT_MIB)
#define TAKE_COST_MS	  2000
#define TAKE_BYTES_PER_MS (SIZE_TEXT_GIB / 1000)
#define TAKE_MS		  30000
/* What the host has less than this part of is not worth an offlining. */
#define NAMED_SHARE 4
/* What stays available in the guest, whatever else: an eighth of it, and never less than this. */
#define KEEP_LEAST_BYTES (256 * SIZE_TEXT_MIB)

static const char take_mark[] = "take", return_mark[] = "return";

static const struct step_record *marked(const struct plan_input *input, enum step_kind kind,
					const char *alias, const char *mark)
{
	for (size_t i = input->history_count; i-- > 0;) {
		const struct step *step = &input->history[i].step;

		if (step->kind == kind && input->history[i].state != STEP_STATE_UNDONE &&
		    strcmp(step->device, alias) == 0 && strcmp(step->text, mark) == 0)
			return &input->history[i];
	}
	return NULL;
}

static bool is_take(const struct step *step)
{
	return step_replugs(step) || (step->kind == STEP_KIND_REQUEST && strcmp(step->text, take_mark) == 0);
}

const struct step_record *move_free_last_take(const struct plan_input *input, const char *alias)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (is_take(&input->history[i].step) && input->history[i].state != STEP_STATE_UNDONE &&
		    strcmp(input->history[i].step.device, alias) == 0)
			return &input->history[i];
	return NULL;
}

/* The last step of returning what was last taken of the device; NULL: none. */
static const struct step_record *last_return(const struct plan_input *input, enum step_kind kind, const char *alias)
{
	const struct step_record *back = marked(input, kind, alias, return_mark);

	return back && back > move_free_last_take(input, alias) ? back : NULL;
}

/* What taking has got of the device; nothing once it has been asked back. */
static uint64_t taken_bytes(const struct plan_input *input, const struct snapshot_device *device)
{
	const struct step_record *take = move_free_last_take(input, device->alias);
	uint64_t before = take ? take->step.target_bytes + take->step.bytes : 0;

	return before > device->current_bytes ? before - device->current_bytes : 0;
}

uint64_t move_free_taken(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < guest->device_count; i++)
		bytes += taken_bytes(input, &guest->devices[i]);
	return bytes;
}

/* Resident in the host and free in the guest, of what the guest was before anything was taken. */
static uint64_t idle_bytes(const struct mover *mover, uint64_t taken)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct snapshot_agent *agent = &guest->agent;
	uint64_t used, resident = guest->resident_bytes + taken;

	if (agent->state != AGENT_STATE_READY || !agent->reported || !guest->surveyed)
		return 0;
	used = guest->current_bytes - plan_min(guest->current_bytes, agent->memory_free_bytes);
	return plan_min(resident - plan_min(resident, used), agent->memory_free_bytes + taken);
}

/* Of what was resident only its share of what is to leave is saved. */
static uint64_t leaving_of(const struct mover *mover, uint64_t bytes, uint64_t taken)
{
	return plan_share(bytes, mover->goal.left_bytes + taken, mover->guest->resident_bytes + taken);
}

static bool can_report(const struct mover *mover)
{
	return mover->guest->free_page_reporting &&
	       plan_agent_can(mover->guest, AGENT_FEATURE_REPORT_FREE);
}

static uint32_t share_of_time(const struct plan_input *input, uint32_t most_ms)
{
	uint64_t left = input->deadline_ms > input->now_ms ? input->deadline_ms - input->now_ms : 0;

	return input->deadline_ms && left / 4 < most_ms ? (uint32_t)(left / 4) + 1 : most_ms;
}

/* Bytes a second, as measured here and no faster than the budget; 0: not measured. */
static uint64_t copying_rate(const struct mover *mover)
{
	uint64_t rate = plan_measured_rate(mover->input->snapshot, mover->guest), budget = plan_move_budget(mover->input);

	return budget ? plan_min(rate, budget) : rate;
}

/* Is so much copied in that time? Where the host's rate has not been measured nothing speaks against sparing it. */
static bool is_copied_in(const struct mover *mover, uint64_t bytes, uint64_t ms)
{
	return bytes <= copying_rate(mover) / 1000 * ms;
}

/* What a report would save, whether it pays or not; 0: too little. */
static uint64_t reported_bytes(const struct mover *mover)
{
	uint64_t idle = leaving_of(mover, idle_bytes(mover, 0), 0);

	return idle >= REPORT_LEAST_BYTES ? idle : 0;
}

static bool report_next(struct mover *mover)
{
	uint64_t idle = reported_bytes(mover);
	struct step step;

	if (!can_report(mover) || !idle || is_copied_in(mover, idle, REPORT_COST_MS) ||
	    plan_count(mover->input, STEP_KIND_REPORT_FREE))
		return false;
	plan_step_init(&step, STEP_KIND_REPORT_FREE, mover->guest);
	step.bytes = idle;
	step.timeout_ms = share_of_time(mover->input, REPORT_MS);
	plan_decide(mover->decision, &step);
	return true;
}

/* The parts of a device that the host has much of. */
struct named {
	bool is_told; /* else the rest says nothing */
	size_t count;
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	uint64_t bytes, resident_bytes; /* of all ranges */
};

struct named_run {
	struct snapshot_range range;
	uint64_t resident_bytes;
};

/* Neighbours are one. */
static size_t list_runs(const struct snapshot_residency *residency, struct named_run runs[SNAPSHOT_UNITS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < residency->count; i++) {
		struct snapshot_range unit = snapshot_unit_range(residency, i);

		if (!residency->bytes[i] || residency->bytes[i] < (unit.end - unit.start) / NAMED_SHARE)
			continue;
		if (!count || runs[count - 1].range.end != unit.start)
			runs[count++] = (struct named_run){.range.start = unit.start};
		runs[count - 1].range.end = unit.end;
		runs[count - 1].resident_bytes += residency->bytes[i];
	}
	return count;
}

static struct named name_ranges(const struct snapshot_guest *guest, const struct snapshot_device *device)
{
	const struct snapshot_residency *residency = snapshot_guest_residency(guest, device);
	struct named_run runs[SNAPSHOT_UNITS_MAX];
	struct named named = {.is_told = residency != NULL};
	size_t count = residency ? list_runs(residency, runs) : 0;

	/* More than a step names: those of which the host has the least stay. */
	for (; count > SNAPSHOT_RANGES_MAX; count--) {
		size_t least = 0;

		for (size_t i = 1; i < count; i++)
			if (runs[i].resident_bytes < runs[least].resident_bytes)
				least = i;
		memmove(&runs[least], &runs[least + 1], (count - least - 1) * sizeof(runs[0]));
	}
	for (size_t i = 0; i < count; i++) {
		named.ranges[named.count++] = runs[i].range;
		named.bytes += runs[i].range.end - runs[i].range.start;
		named.resident_bytes += runs[i].resident_bytes;
	}
	return named;
}

uint64_t move_free_there(const struct snapshot_guest *guest, const struct snapshot_device *device,
			 const struct step *step)
{
	struct named named = name_ranges(guest, device);

	return step->kind == STEP_KIND_REQUEST && strcmp(step->text, take_mark) == 0
		       ? plan_share(named.resident_bytes, step->bytes, named.bytes)
		       : 0;
}

struct taking {
	uint64_t bytes[SNAPSHOT_DEVICES_MAX]; /* of each device */
	uint64_t sum;
	uint64_t saved; /* of copying, as it is to be expected */
};

/* Without its guest-physical place a device's blocks cannot be told from those of others. */
static bool can_offline(const struct snapshot_guest *guest, const struct snapshot_device *device)
{
	struct snapshot_range range;

	return plan_agent_can(guest, AGENT_FEATURE_OFFLINE) && plan_device_range(guest, device, &range);
}

/*
 * No more than the named ranges have, and no more of them than it takes to get at all that the host has for nothing. What
 * is gone was in them.
 */
static uint64_t take_of_named(const struct named *named, uint64_t gone, uint64_t idle, uint64_t most, uint64_t unit)
{
	uint64_t has = named->bytes + gone, resident = named->resident_bytes + gone;

	if (!resident)
		return 0;
	if (idle < resident)
		has = plan_min(has, (plan_share(has, idle, resident) + unit - 1) / unit * unit);
	return plan_min(most, has / unit * unit);
}

/* What could be taken of the guest as it was, whatever of that has been taken by now. */
static struct taking could_take(const struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct snapshot_agent *agent = &guest->agent;
	uint64_t taken = move_free_taken(mover->input, guest), current = guest->current_bytes + taken;
	uint64_t plugged = 0, most = agent->memory_free_bytes + taken, floor_bytes = guest->base_bytes;
	uint64_t keep = current / 8 > KEEP_LEAST_BYTES ? current / 8 : KEEP_LEAST_BYTES;
	uint64_t available = plan_min(agent->memory_available_bytes, agent->memory_free_bytes) + taken;
	uint64_t idle = idle_bytes(mover, taken), there = 0, untold = 0;
	struct taking taking = {0};

	for (size_t i = 0; i < guest->device_count; i++)
		plugged += guest->devices[i].current_bytes + taken_bytes(mover->input, &guest->devices[i]);
	if (!plugged || guest->migrating || agent->veto || most <= plugged / 4)
		return taking;
	if (leaving_of(mover, idle, taken) < TAKE_LEAST_BYTES)
		return taking;
	if (plan_guest_floor(guest) > floor_bytes)
		floor_bytes = plan_guest_floor(guest);
	most = plan_min(most, current - plan_min(current, floor_bytes));
	most = plan_min(most, available - plan_min(available, keep));
	most = plan_min(most, agent->movable_bytes + taken);
	most = plan_min(most, plugged);
	/* Of each its share, so that no cell of the guest is emptied for the others. */
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		uint64_t gone = taken_bytes(mover->input, device), unit = device->block_bytes;
		struct named named = name_ranges(guest, device);

		if (!can_offline(guest, device))
			continue;
		/* Blocks of the guest that are larger are cut by the request. */
		if (unit < SNAPSHOT_UNIT_LEAST_BYTES)
			unit = SNAPSHOT_UNIT_LEAST_BYTES;
		taking.bytes[i] = plan_share(most, device->current_bytes + gone, plugged) / unit * unit;
		if (named.is_told) {
			taking.bytes[i] = take_of_named(&named, gone, idle, taking.bytes[i], unit);
			there += plan_share(named.resident_bytes + gone, taking.bytes[i], named.bytes + gone);
		} else {
			untold += taking.bytes[i];
		}
		taking.sum += taking.bytes[i];
	}
	/* Whether the blocks that nothing was told of are those that the host has pages for nobody knows. */
	there += plan_share(idle, untold, agent->memory_free_bytes + taken);
	taking.saved = leaving_of(mover, plan_min(there, idle), taken);
	if (taking.saved < TAKE_LEAST_BYTES)
		memset(&taking, 0, sizeof(taking));
	return taking;
}

static bool taking_pays(const struct mover *mover, const struct taking *taking)
{
	return !is_copied_in(mover, taking->saved, TAKE_COST_MS + taking->sum / TAKE_BYTES_PER_MS);
}

static void device_step(const struct mover *mover, enum step_kind kind, const struct snapshot_device *device,
			const char *mark, uint64_t bytes, struct step *ret_step)
{
	plan_step_init(ret_step, kind, mover->guest);
	memcpy(ret_step->device, device->alias, sizeof(ret_step->device));
	snprintf(ret_step->text, sizeof(ret_step->text), "%s", mark);
	ret_step->bytes = bytes;
}

static void take_step(struct mover *mover, enum step_kind kind, const struct snapshot_device *device, uint64_t bytes)
{
	struct named named = name_ranges(mover->guest, device);
	struct snapshot_range range;
	struct step step;

	device_step(mover, kind, device, take_mark, bytes, &step);
	step.timeout_ms = share_of_time(mover->input, TAKE_MS);
	step.undoable = true;
	if (kind == STEP_KIND_REQUEST) {
		step.target_bytes = device->current_bytes - bytes;
	} else if (named.is_told) {
		step.range_count = named.count;
		memcpy(step.ranges, named.ranges, sizeof(step.ranges));
	} else if (plan_device_range(mover->guest, device, &range) && range.end < UINT64_MAX) {
		step.range_count = 1;
		step.ranges[0] = range;
	}
	plan_decide(mover->decision, &step);
}

/* Undoing the taking asks for the old size already, so this is not undone. */
static void return_step(struct mover *mover, enum step_kind kind, const struct snapshot_device *device,
			const struct step_record *take)
{
	uint64_t before = take->step.target_bytes + take->step.bytes;
	struct step step;

	device_step(mover, kind, device, return_mark, before - plan_min(before, device->current_bytes), &step);
	step.target_bytes = before;
	/* Where what a device pins comes again at once. */
	step.nodes = take->step.nodes;
	plan_decide(mover->decision, &step);
}

static bool take_next(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct plan_input *input = mover->input;
	struct taking taking;

	if (!(input->wish->allow >> CONSENT_SHRINK_GUESTS & 1) || guest->state != GUEST_STATE_RUNNING)
		return false;
	/* What is offline is asked back from the host before more of it goes. */
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		const struct step_record *offline =
			marked(input, STEP_KIND_OFFLINE_GUEST_BLOCKS, device->alias, take_mark);
		const struct step_record *take =
			marked(input, STEP_KIND_REQUEST, device->alias, take_mark);
		uint64_t block = device->block_bytes ? device->block_bytes : 1, bytes;

		if (!offline)
			continue;
		bytes = plan_min(plan_min(offline->bytes_done, offline->step.bytes), device->current_bytes) / block *
			block;
		/* A guest that gave nothing is not asked for more, and one on its way to another size is let alone. */
		if (!bytes || (take && take->state == STEP_STATE_FAILED) ||
		    (!take && device->requested_bytes != device->current_bytes))
			return false;
		if (take)
			continue;
		take_step(mover, STEP_KIND_REQUEST, device, bytes);
		return true;
	}
	taking = could_take(mover);
	if (!plan_count(input, STEP_KIND_OFFLINE_GUEST_BLOCKS) && !taking_pays(mover, &taking))
		return false;
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];

		if (!taking.bytes[i] || device->requested_bytes != device->current_bytes ||
		    marked(input, STEP_KIND_OFFLINE_GUEST_BLOCKS, device->alias, take_mark))
			continue;
		take_step(mover, STEP_KIND_OFFLINE_GUEST_BLOCKS, device,
			  plan_min(taking.bytes[i], device->current_bytes));
		return true;
	}
	return false;
}

/*
 * What was taken comes back while the rest moves, where new memory of the guest lands on its new nodes by then. Huge
 * pages for it are made there only after the move.
 */
static bool give_back_next(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;

	if ((guest->policy_mode != POLICY_MODE_BIND && guest->policy_mode != POLICY_MODE_PREFERRED) ||
	    !guest->policy_nodes || guest->policy_nodes & ~mover->goal.destinations || plan_guest_huge_page(guest))
		return false;
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		const struct step_record *take =
			marked(mover->input, STEP_KIND_REQUEST, device->alias, take_mark);

		if (!take || device->requested_bytes != take->step.target_bytes ||
		    marked(mover->input, STEP_KIND_SETTLE, device->alias, return_mark))
			continue;
		return_step(mover, STEP_KIND_SETTLE, device, take);
		return true;
	}
	return false;
}

bool move_free_next(struct mover *mover)
{
	return report_next(mover) || take_next(mover) || give_back_next(mover);
}

/* Ended before anything of it was seen: it may not have been asked for at all. */
static bool was_called_off(const struct step_record *record)
{
	return record->state != STEP_STATE_DONE && !record->bytes_done && !record->flat &&
	       (!record->remainder.count || remainder_list_has(&record->remainder, REMAINDER_CANCELLED) ||
		remainder_list_has(&record->remainder, REMAINDER_DEADLINE));
}

/* The step that asked the device's old size back; NULL: none yet, or a restart cut it short, or it was called off. */
static const struct step_record *returned(const struct plan_input *input, const char *alias)
{
	const struct step_record *back = last_return(input, STEP_KIND_REQUEST, alias);

	return back && !plan_was_cut(back) && !was_called_off(back) ? back : NULL;
}

bool move_free_size_back_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;

	for (size_t i = 0; i < mover->guest->device_count; i++) {
		const struct snapshot_device *device = &mover->guest->devices[i];
		const struct step_record *take = move_free_last_take(input, device->alias);
		const struct step_record *back = returned(input, device->alias);
		uint64_t before = take ? take->step.target_bytes + take->step.bytes : 0;
		bool again = back && back->flat && !plan_is_late(input) &&
			     !last_return(input, STEP_KIND_KICK, device->alias);

		/* A request that has got nothing stands all the same, and would take it later. */
		if (!take || (back && !again) ||
		    (device->current_bytes == before && device->requested_bytes == before))
			continue;
		/* Somebody else has asked for another size: that one stands. */
		if (!back && device->requested_bytes != take->step.target_bytes &&
		    device->requested_bytes != before)
			continue;
		return_step(mover, back ? STEP_KIND_KICK : STEP_KIND_REQUEST, device, take);
		return true;
	}
	return false;
}

bool move_free_return_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;
	struct step step;

	if (move_free_size_back_next(mover))
		return true;
	/* What went offline and was not taken comes back, and the guest's driver may take what is online again. */
	if (!plan_count(input, STEP_KIND_OFFLINE_GUEST_BLOCKS) || plan_tried(input, STEP_KIND_AGENT_UNDO) ||
	    mover->guest->agent.state != AGENT_STATE_READY)
		return false;
	plan_step_init(&step, STEP_KIND_AGENT_UNDO, mover->guest);
	plan_decide(mover->decision, &step);
	return true;
}

void move_free_missing(struct mover *mover)
{
	const struct plan_input *input = mover->input;
	const struct snapshot_guest *guest = mover->guest;
	uint64_t came = 0;
	char size[SIZE_TEXT_SIZE];

	for (size_t i = 0; plan_guest_runs(guest) && i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		uint64_t missing = taken_bytes(input, device);
		const struct step_record *back = returned(input, device->alias);

		if (back && guest->agent.reported)
			came += back->bytes_done;
		if (!missing)
			continue;
		mover->decision->kind = DECISION_KIND_GIVE_UP;
		if (back && device->requested_bytes == back->step.target_bytes)
			remainder_list_add(&mover->decision->remainder, REMAINDER_DRIVER_STALLED,
					   mover->object, missing,
					   "wait: the guest plugs it by itself as soon as it can",
					   "%s: taken out for the move and asked for again, not yet "
					   "plugged",
					   device->alias);
		else
			remainder_list_add(&mover->decision->remainder, REMAINDER_INVALID,
					   mover->object, missing, "resize it if it shall be larger",
					   "%s: taken out for the move; its size was changed to %s "
					   "by somebody else meanwhile",
					   device->alias,
					   size_text_format(device->requested_bytes, size));
	}
	came = plan_min(came, guest->agent.offline_bytes);
	if (!came)
		return;
	mover->decision->kind = DECISION_KIND_GIVE_UP;
	remainder_list_add(&mover->decision->remainder, REMAINDER_NOT_ONLINED, mover->object, came,
			   NULL, "plugged again after the move, but not onlined in the guest");
}

void plan_tell_taken(const struct step_record *steps, size_t count, struct remainder_list *list)
{
	struct plan_input input = {.history = steps, .history_count = count};
	char object[96], size[SIZE_TEXT_SIZE];

	for (size_t i = 0; i < count; i++) {
		const struct step *step = &steps[i].step;

		if (!is_take(step) || move_free_last_take(&input, step->device) != &steps[i] ||
		    last_return(&input, STEP_KIND_SETTLE, step->device) || returned(&input, step->device))
			continue;
		snprintf(object, sizeof(object), "guest %s", step->guest_name);
		remainder_list_add(list, REMAINDER_DRIVER_STALLED, object, steps[i].bytes_done,
				   "give it back by a resize",
				   "%s: taken out for the move and not asked for again; it had %s",
				   step->device,
				   size_text_format(step->target_bytes + step->bytes, size));
	}
}

static void warn_of_copying(struct mover *mover, uint64_t bytes, const char *instead)
{
	char rate[SIZE_TEXT_SIZE];

	remainder_list_add(&mover->decision->warnings, REMAINDER_COPIED_SOONER, mover->object, bytes, NULL,
			   "free inside, and copied all the same: at %s a second that is sooner done than %s",
			   size_text_format(copying_rate(mover), rate), instead);
}

void move_free_warn(struct mover *mover)
{
	bool allowed = mover->input->wish->allow >> CONSENT_SHRINK_GUESTS & 1;
	struct taking taking;

	if (plan_count(mover->input, STEP_KIND_REPORT_FREE) ||
	    plan_count(mover->input, STEP_KIND_OFFLINE_GUEST_BLOCKS))
		return;
	if (can_report(mover)) {
		uint64_t idle = reported_bytes(mover);

		if (idle && is_copied_in(mover, idle, REPORT_COST_MS))
			warn_of_copying(mover, idle, "reporting");
		return;
	}
	taking = could_take(mover);
	if (taking.sum && !taking_pays(mover, &taking))
		warn_of_copying(mover, taking.saved, "unplugging and plugging it");
	else if (taking.sum && !allowed)
		remainder_list_add_consent(&mover->decision->warnings, REMAINDER_CONSENT_REQUIRED,
					   CONSENT_SHRINK_GUESTS, mover->object, taking.saved,
					   "free inside: unplugged for the time of the move it need "
					   "not be copied (--allow shrink_guests)");
}
