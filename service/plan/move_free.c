/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not moved is fastest: what is free in the guest need not be copied.
 *
 *   report: the guest reports its free pages to the host, which then has no page for them
 *   take:   with the consent shrink_guests, free memory is unplugged for the time of the move
 *   return: and plugged again, on the new node, to the size that each device had
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
/* An unplug and a plug take seconds, and the guest's caches: not for less. */
#define TAKE_LEAST_BYTES (256 * SIZE_TEXT_MIB)
#define TAKE_MS		 30000
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

/* What taking has got of the device; nothing once it has been asked back. */
static uint64_t taken_bytes(const struct plan_input *input, const struct snapshot_device *device)
{
	const struct step_record *take =
		marked(input, STEP_KIND_REQUEST, device->alias, take_mark);
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
	uint64_t used, idle, resident = guest->resident_bytes + taken;

	if (agent->state != AGENT_STATE_READY || !agent->reported || !guest->surveyed || !resident)
		return 0;
	used = guest->current_bytes - plan_min(guest->current_bytes, agent->memory_free_bytes);
	idle = plan_min(resident - plan_min(resident, used), agent->memory_free_bytes + taken);
	/* Only its share of what is to leave is saved. */
	return (uint64_t)((double)idle *
			  ((double)plan_min(mover->goal.left_bytes + taken, resident) /
			   (double)resident));
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

static bool report_next(struct mover *mover)
{
	uint64_t idle = idle_bytes(mover, 0);
	uint64_t copied = mover->input->snapshot->measured_bytes_per_s / 1000 * REPORT_COST_MS;
	struct step step;

	if (!can_report(mover) || idle < REPORT_LEAST_BYTES || idle <= copied ||
	    plan_count(mover->input, STEP_KIND_REPORT_FREE))
		return false;
	plan_step_init(&step, STEP_KIND_REPORT_FREE, mover->guest);
	step.bytes = idle;
	step.timeout_ms = share_of_time(mover->input, REPORT_MS);
	plan_decide(mover->decision, &step);
	return true;
}

struct taking {
	uint64_t bytes[SNAPSHOT_DEVICES_MAX]; /* of each device */
	uint64_t sum;
	uint64_t saved; /* of copying, at most */
};

/* What could be taken of the guest as it was, whatever of that has been taken by now. */
static struct taking could_take(const struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct snapshot_agent *agent = &guest->agent;
	uint64_t taken = move_free_taken(mover->input, guest), current = guest->current_bytes + taken;
	uint64_t plugged = 0, most = agent->memory_free_bytes + taken, floor_bytes = guest->base_bytes;
	uint64_t keep = current / 8 > KEEP_LEAST_BYTES ? current / 8 : KEEP_LEAST_BYTES;
	uint64_t available = plan_min(agent->memory_available_bytes, agent->memory_free_bytes) + taken;
	struct taking taking = {0};

	for (size_t i = 0; i < guest->device_count; i++)
		plugged += guest->devices[i].current_bytes + taken_bytes(mover->input, &guest->devices[i]);
	if (!plugged || guest->migrating || agent->veto || most <= plugged / 4)
		return taking;
	/*
	 * Which of its free blocks the guest gives is its own choice, so all that may go is asked
	 * for; what is saved is the part of it that the host has pages for.
	 */
	taking.saved = idle_bytes(mover, taken);
	if (taking.saved < TAKE_LEAST_BYTES)
		return taking;
	if (guest->minimum_bytes > floor_bytes)
		floor_bytes = guest->minimum_bytes;
	if (agent->shrink_limit_bytes > floor_bytes)
		floor_bytes = agent->shrink_limit_bytes;
	most = plan_min(most, current - plan_min(current, floor_bytes));
	most = plan_min(most, available - plan_min(available, keep));
	most = plan_min(most, agent->movable_bytes + taken);
	most = plan_min(most, plugged);
	taking.saved = plan_min(taking.saved, most);
	if (most < TAKE_LEAST_BYTES)
		return taking;
	/* Of each its share, so that no cell of the guest is emptied for the others. */
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		uint64_t has = device->current_bytes + taken_bytes(mover->input, device);
		uint64_t block = device->block_bytes ? device->block_bytes : 1;

		taking.bytes[i] =
			(uint64_t)((double)most * ((double)has / (double)plugged)) / block * block;
		taking.sum += taking.bytes[i];
	}
	return taking;
}

static bool take_next(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct plan_input *input = mover->input;
	struct taking taking;
	struct step step;

	if (!(input->wish->allow >> CONSENT_SHRINK_GUESTS & 1) || guest->state != GUEST_STATE_RUNNING)
		return false;
	taking = could_take(mover);
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		const struct step_record *take =
			marked(input, STEP_KIND_REQUEST, device->alias, take_mark);

		/* A guest that gave nothing is not asked for more. */
		if (take && take->state == STEP_STATE_FAILED)
			return false;
		/* One that is on its way to another size is let alone. */
		if (take || !taking.bytes[i] || device->requested_bytes != device->current_bytes)
			continue;
		plan_step_init(&step, STEP_KIND_REQUEST, guest);
		memcpy(step.device, device->alias, sizeof(step.device));
		snprintf(step.text, sizeof(step.text), "%s", take_mark);
		step.bytes = plan_min(taking.bytes[i], device->current_bytes);
		step.target_bytes = device->current_bytes - step.bytes;
		step.timeout_ms = share_of_time(input, TAKE_MS);
		step.undoable = true;
		plan_decide(mover->decision, &step);
		return true;
	}
	return false;
}

bool move_free_next(struct mover *mover)
{
	return report_next(mover) || take_next(mover);
}

/* The step that asked the device's old size back; NULL: none yet, or a restart cut it short. */
static const struct step_record *returned(const struct plan_input *input, const char *alias)
{
	const struct step_record *back = marked(input, STEP_KIND_REQUEST, alias, return_mark);

	return back && !plan_was_cut(back) ? back : NULL;
}

bool move_free_return_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;

	for (size_t i = 0; i < mover->guest->device_count; i++) {
		const struct snapshot_device *device = &mover->guest->devices[i];
		const struct step_record *take =
			marked(input, STEP_KIND_REQUEST, device->alias, take_mark);
		const struct step_record *back = returned(input, device->alias);
		uint64_t before = take ? take->step.target_bytes + take->step.bytes : 0;
		bool again = back && back->flat && !plan_is_late(input) &&
			     !marked(input, STEP_KIND_KICK, device->alias, return_mark);
		struct step step;

		/* A request that has got nothing stands all the same, and would take it later. */
		if (!take || (back && !again) ||
		    (device->current_bytes == before && device->requested_bytes == before))
			continue;
		/* Somebody else has asked for another size: that one stands. */
		if (!back && device->requested_bytes != take->step.target_bytes &&
		    device->requested_bytes != before)
			continue;
		plan_step_init(&step, back ? STEP_KIND_KICK : STEP_KIND_REQUEST, mover->guest);
		memcpy(step.device, device->alias, sizeof(step.device));
		snprintf(step.text, sizeof(step.text), "%s", return_mark);
		step.target_bytes = before;
		step.bytes = before - plan_min(before, device->current_bytes);
		/* Undoing the taking asks for the old size already. */
		plan_decide(mover->decision, &step);
		return true;
	}
	return false;
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

		if (step->kind != STEP_KIND_REQUEST || strcmp(step->text, take_mark) != 0 ||
		    marked(&input, STEP_KIND_REQUEST, step->device, take_mark) != &steps[i] ||
		    returned(&input, step->device))
			continue;
		snprintf(object, sizeof(object), "guest %s", step->guest_name);
		remainder_list_add(list, REMAINDER_DRIVER_STALLED, object, steps[i].bytes_done,
				   "give it back by a resize",
				   "%s: taken out for the move and not asked for again; it had %s",
				   step->device,
				   size_text_format(step->target_bytes + step->bytes, size));
	}
}

void move_free_warn(struct mover *mover)
{
	struct taking taking;

	if (mover->input->wish->allow >> CONSENT_SHRINK_GUESTS & 1 || can_report(mover))
		return;
	taking = could_take(mover);
	if (taking.sum)
		remainder_list_add_consent(&mover->decision->warnings, REMAINDER_CONSENT_REQUIRED,
					   CONSENT_SHRINK_GUESTS, mover->object, taking.saved,
					   "free inside: unplugged for the time of the move it need "
					   "not be copied (--allow shrink_guests)");
}
