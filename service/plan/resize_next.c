/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resize: which way, and the steps that growing and shrinking share.
 *
 * Once a settling step is in the history the operation is over for good, whichever way it went:
 * settle -> agent commit (or undo) -> give up.
 */
#include "resize_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

#define AGENT_STEP_LEAST_MS 1000 /* less is no chance at all */
#define SETTLED_MS	    1500
#define WORTH_MOST_BYTES    (UINT64_C(16) << 20)

static bool is_settled(const struct snapshot_device *device, uint64_t target)
{
	return device->current_bytes == target && device->requested_bytes == target;
}

long resize_last_index(const struct plan_input *input, enum step_kind kind, const char *device)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (input->history[i].step.kind == kind &&
		    input->history[i].state != STEP_STATE_UNDONE &&
		    (!device || strcmp(input->history[i].step.device, device) == 0))
			return (long)i;
	return -1;
}

uint32_t resize_agent_timeout(const struct plan_input *input, uint32_t wished_ms)
{
	uint64_t left;

	if (!input->deadline_ms)
		return wished_ms;
	left = input->deadline_ms > input->now_ms ? (input->deadline_ms - input->now_ms) / 4 * 3
						  : 0;
	if (left < AGENT_STEP_LEAST_MS)
		left = AGENT_STEP_LEAST_MS;
	return left < wished_ms ? (uint32_t)left : wished_ms;
}

void resize_emit_device(struct resize *resize, enum step_kind kind, size_t device, uint64_t target,
			const char *text)
{
	const struct snapshot_device *seen = &resize->guest->devices[device];
	struct step step;

	plan_step_init(&step, kind, resize->guest);
	memcpy(step.device, seen->alias, sizeof(step.device));
	snprintf(step.text, sizeof(step.text), "%s", text);
	step.target_bytes = target;
	step.bytes = target > seen->current_bytes ? target - seen->current_bytes
						  : seen->current_bytes - target;
	step.grows = kind == STEP_KIND_REQUEST && target > seen->current_bytes;
	if (step.grows && resize->guest->agent.reported) {
		step.zones_told = true;
		step.offline_before = resize->guest->agent.offline_bytes;
		step.wrong_before = resize->guest->agent.wrong_zone_bytes;
	}
	step.undoable = kind == STEP_KIND_REQUEST;
	plan_decide(resize->decision, &step);
}

void resize_emit_agent(struct resize *resize, enum step_kind kind, uint64_t bytes,
		       uint32_t timeout_ms)
{
	struct step step;

	plan_step_init(&step, kind, resize->guest);
	step.bytes = bytes;
	step.timeout_ms = resize_agent_timeout(resize->input, timeout_ms);
	step.undoable = kind == STEP_KIND_FREE_HUGE_PAGES ||
			kind == STEP_KIND_OFFLINE_GUEST_BLOCKS || kind == STEP_KIND_MAKE_GUEST_ROOM ||
			kind == STEP_KIND_RUN_HOOKS || kind == STEP_KIND_ONLINE_POLICY;
	plan_decide(resize->decision, &step);
}

uint64_t resize_covered_target(const struct resize *resize, uint64_t now, uint64_t target, uint64_t unit,
			       uint64_t *covered_bytes)
{
	uint64_t bytes;

	bytes = plan_min(now - target, *covered_bytes);
	*covered_bytes -= bytes;
	return bytes == now - target ? target : now - bytes / unit * unit;
}

/* Somebody else's request is his affair. */
static uint64_t device_target(const struct resize *resize, size_t device, uint64_t *covered_bytes)
{
	const struct snapshot_device *seen = &resize->guest->devices[device];
	uint64_t target = resize->targets[device];

	if (target >= seen->current_bytes || seen->requested_bytes <= target)
		return target;
	return resize_covered_target(resize, seen->current_bytes, target, seen->block_bytes ? seen->block_bytes : 1,
				     covered_bytes);
}

bool resize_may_stand(const struct resize *resize)
{
	return resize->shrink_gap && !resize->is_revoked && !resize_is_vetoed(resize) && !resize_request_failed(resize->input);
}

bool resize_is_worth_asking(uint64_t part_bytes, uint64_t whole_bytes)
{
	return part_bytes >= plan_min(whole_bytes / 8, WORTH_MOST_BYTES);
}

bool resize_request_next(struct resize *resize, const bool skip[SNAPSHOT_DEVICES_MAX])
{
	uint64_t covered_bytes = resize_covered_bytes(resize->input, resize->guest);

	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		const struct step_record *goal = resize_goal_request(resize->input, device->alias);
		uint64_t target = device_target(resize, i, &covered_bytes);

		if (skip[i] || is_settled(device, resize->targets[i]) ||
		    (goal && goal->step.target_bytes == resize->targets[i]))
			continue;
		/* A part of the whole: when what was asked for before has left. */
		if (target != resize->targets[i] &&
		    ((goal && device->current_bytes != goal->step.target_bytes) ||
		     !resize_is_worth_asking(device->current_bytes - target, device->current_bytes - resize->targets[i])))
			continue;
		resize_emit_device(resize, STEP_KIND_REQUEST, i, target,
				   goal					  ? RESIZE_SHIFT_MARK
				   : device->requested_bytes == target ? RESIZE_STOOD_MARK
								       : "");
		return true;
	}
	return false;
}

bool resize_kick_next(struct resize *resize, long after)
{
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		long request = resize_last_index(resize->input, STEP_KIND_REQUEST, device->alias);
		uint64_t asked;

		if (request < 0)
			continue;
		asked = resize->input->history[request].step.target_bytes;
		if (device->current_bytes == asked ||
		    resize_last_index(resize->input, STEP_KIND_KICK, device->alias) > after)
			continue;
		resize_emit_device(resize, STEP_KIND_KICK, i, asked, "");
		return true;
	}
	return false;
}

bool resize_request_failed(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_REQUEST &&
		    input->history[i].state == STEP_STATE_FAILED && !input->history[i].flat)
			return true;
	return false;
}

/* The last commit that is to end the operation; NULL: none. */
static const struct step_record *last_end(const struct plan_input *input)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (input->history[i].step.kind == STEP_KIND_AGENT_COMMIT &&
		    input->history[i].state != STEP_STATE_UNDONE &&
		    strcmp(input->history[i].step.text, RESIZE_AGAIN_MARK) != 0)
			return &input->history[i];
	return NULL;
}

bool resize_is_ending(const struct plan_input *input)
{
	if (plan_count(input, STEP_KIND_SETTLE) || last_end(input) || plan_count(input, STEP_KIND_AGENT_UNDO))
		return true;
	for (size_t i = 0; i < input->history_count; i++)
		if (strcmp(input->history[i].step.text, RESIZE_RESTORE_MARK) == 0)
			return true;
	return false;
}

bool resize_end_lease_next(struct resize *resize, enum step_kind how)
{
	static const enum step_kind kinds[] = {
		STEP_KIND_ONLINE_POLICY, STEP_KIND_FREE_HUGE_PAGES, STEP_KIND_RUN_HOOKS,	    STEP_KIND_COMPACT,
		STEP_KIND_RECLAIM,	 STEP_KIND_MAKE_GUEST_ROOM, STEP_KIND_OFFLINE_GUEST_BLOCKS,
	};
	bool leased =
		how == STEP_KIND_AGENT_UNDO &&
		plan_count(resize->input, STEP_KIND_REQUEST) + plan_count(resize->input, STEP_KIND_BALLOON) > 0;
	long ended = resize_last_index(resize->input, STEP_KIND_AGENT_COMMIT, NULL);

	/* What came before one after which the ladder went on is committed already. */
	if (ended >= 0 && plan_was_cut(&resize->input->history[ended]))
		ended = -1;

	if (resize->guest->agent.state != AGENT_STATE_READY ||
	    (last_end(resize->input) && !plan_was_cut(last_end(resize->input))) ||
	    plan_tried(resize->input, STEP_KIND_AGENT_UNDO))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		leased = leased || resize_last_index(resize->input, kinds[i], NULL) > ended;
	if (!leased)
		return false;
	resize_emit_agent(resize, how, 0, RESIZE_AGENT_STEP_MS);
	return true;
}

/* The request set to what was reached, so that nothing leaves or comes hours later. */
static bool settle_next(struct resize *resize)
{
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];

		if (device->requested_bytes == device->current_bytes ||
		    resize_last_index(resize->input, STEP_KIND_SETTLE, device->alias) >= 0)
			continue;
		resize_emit_device(resize, STEP_KIND_SETTLE, i, device->current_bytes, "");
		return true;
	}
	return false;
}

/*
 * Nobody asks for more once the operation is over: what memory covers by now is requested, whether or not a part before it
 * has left, and leaves when it can. More than that would go on being taken whatever the guest needs.
 */
static bool stand_next(struct resize *resize)
{
	const struct wish_resize *wish = &resize->input->wish->resize;
	uint64_t covered_bytes = resize_covered_bytes(resize->input, resize->guest);

	/* Of named ranges, and by a share of the time, only what is offline is asked for. */
	if (!resize_may_stand(resize) || wish->range_count || wish->work_percent % 100)
		return false;
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		uint64_t target = device_target(resize, i, &covered_bytes);

		if (target >= plan_min(device->requested_bytes, device->current_bytes) ||
		    resize_last_index(resize->input, STEP_KIND_SETTLE, device->alias) >= 0)
			continue;
		resize_emit_device(resize, STEP_KIND_SETTLE, i, target, RESIZE_STAND_MARK);
		return true;
	}
	return false;
}

/* Back to the size that each device had before its first request, which that step's own bytes tell.
 */
static bool restore_next(struct resize *resize)
{
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		const struct step_record *request = resize_first_request(resize->input, device->alias);
		long last = resize_last_index(resize->input, STEP_KIND_REQUEST, device->alias);
		uint64_t before;

		if (!request || strcmp(resize->input->history[last].step.text, RESIZE_RESTORE_MARK) == 0)
			continue;
		before = resize_before(resize->input, resize->guest, device);
		if (is_settled(device, before))
			continue;
		resize_emit_device(resize, STEP_KIND_REQUEST, i, before, RESIZE_RESTORE_MARK);
		return true;
	}
	return false;
}

/*
 * A driver that was at work when its request was settled is beyond that size, and comes back to it. QEMU tells sizes once a
 * second (monitor/monitor.c, throttle table): what stayed is told when it has.
 */
static bool await_settled_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct step_record *last = input->history_count ? &input->history[input->history_count - 1] : NULL;

	if (!last || last->step.kind != STEP_KIND_SETTLE || strcmp(last->step.text, RESIZE_STAND_MARK) == 0)
		return false;
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const char *alias = resize->guest->devices[i].alias;
		long asked = resize_last_index(input, STEP_KIND_REQUEST, alias);
		long kicked = resize_last_index(input, STEP_KIND_KICK, alias);
		const struct step_record *record = asked < 0 && kicked < 0 ? NULL : &input->history[asked > kicked ? asked : kicked];

		if (!record || record->state == STEP_STATE_DONE || record->flat ||
		    resize_last_index(input, STEP_KIND_SETTLE, alias) < 0)
			continue;
		resize_emit_await(resize, SETTLED_MS);
		return true;
	}
	return false;
}

void resize_end(struct resize *resize, bool shrink)
{
	enum on_timeout how = resize->input->wish->on_timeout;
	struct decision *decision = resize->decision;

	if (how == ON_TIMEOUT_RESTORE) {
		if (restore_next(resize) || resize_end_lease_next(resize, STEP_KIND_AGENT_UNDO))
			return;
	} else {
		if (how == ON_TIMEOUT_CONTINUE ? stand_next(resize) : settle_next(resize))
			return;
		if (await_settled_next(resize))
			return;
		if (resize_end_lease_next(resize, shrink ? STEP_KIND_AGENT_COMMIT : STEP_KIND_AGENT_UNDO))
			return;
	}
	decision->kind = DECISION_KIND_GIVE_UP;
	resize_remainder(resize, &decision->remainder);
}

void resize_finish(struct resize *resize)
{
	resize->decision->kind = resize->withheld_bytes ? DECISION_KIND_GIVE_UP : DECISION_KIND_DONE;
	resize_remainder(resize, &resize->decision->remainder);
}

/* The last size that this operation has asked of the device; NULL: none, or a restart cut it short. */
static const struct step_record *last_asked(const struct plan_input *input, const char *alias)
{
	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if ((record->step.kind != STEP_KIND_REQUEST && record->step.kind != STEP_KIND_KICK) ||
		    record->state == STEP_STATE_UNDONE || strcmp(record->step.device, alias) != 0)
			continue;
		/* Refused or cut off by the other's: its own target is what is not there any more. */
		if (remainder_list_has(&record->remainder, REMAINDER_SUPERSEDED))
			return record;
		return plan_was_cut(record) || (record->state == STEP_STATE_FAILED && !record->flat) ? NULL : record;
	}
	return NULL;
}

/*
 * Somebody else has asked for another size meanwhile: that one stands. Asking again, or settling, would fight it.
 */
static bool is_superseded(const struct resize *resize)
{
	/* What this operation has settled it has not asked for any more. */
	for (size_t i = 0; i < resize->input->history_count; i++)
		if (resize->input->history[i].step.kind == STEP_KIND_SETTLE ||
		    strcmp(resize->input->history[i].step.text, RESIZE_RESTORE_MARK) == 0)
			return false;
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		const struct step_record *asked = last_asked(resize->input, device->alias);

		if (asked && device->requested_bytes != asked->step.target_bytes)
			return true;
	}
	return false;
}

static void end_superseded(struct resize *resize)
{
	char object[96], size[SIZE_TEXT_SIZE];

	if (resize_end_lease_next(resize, resize->shrink_gap ? STEP_KIND_AGENT_COMMIT : STEP_KIND_AGENT_UNDO))
		return;
	resize->decision->kind = DECISION_KIND_GIVE_UP;
	remainder_list_add(&resize->decision->remainder, REMAINDER_SUPERSEDED, plan_guest_object(resize->guest, object),
			   resize->shrink_gap + resize->withheld_bytes + resize->grow_gap, NULL,
			   "somebody else has asked for %s meanwhile: that stands",
			   size_text_format(resize->guest->requested_bytes, size));
}

void resize_next(const struct plan_input *input, struct decision *ret_decision)
{
	struct resize resize = {.input = input, .decision = ret_decision};
	uint64_t asked;

	memset(ret_decision, 0, sizeof(*ret_decision));
	/* Not yet decided: the emitters set the kind, and DONE is never taken for granted. */
	ret_decision->kind = DECISION_KIND_COUNT;
	resize.guest = snapshot_guest(input->snapshot, input->wish->guest);
	/* What is not running has nothing plugged by its definition: that is no shrink that is done. */
	if (!resize.guest || !plan_guest_runs(resize.guest)) {
		char object[96];

		ret_decision->kind = DECISION_KIND_GIVE_UP;
		remainder_list_add(&ret_decision->remainder, REMAINDER_GUEST_GONE,
				   wish_target(input->wish, object), 0, NULL,
				   "the guest is not %s any more", resize.guest ? "running" : "there");
		return;
	}
	/* Its size is another one's matter: who goes back to a snapshot wants what is in it. */
	if (input->is_another) {
		char object[96];

		ret_decision->kind = DECISION_KIND_GIVE_UP;
		remainder_list_add(&ret_decision->remainder, REMAINDER_GUEST_GONE, plan_guest_object(resize.guest, object), 0,
				   "ask again", "it was ended meanwhile, and started anew or from what was saved of it");
		return;
	}
	asked = resize.guest->base_bytes;
	if (resize_is_balloon(resize.guest)) {
		resize_balloon_next(&resize);
		return;
	}
	resize_targets(input, resize.guest, resize.targets);
	resize.withheld_bytes = resize_withheld_bytes(input, resize.guest, resize.targets);
	for (size_t i = 0; i < resize.guest->device_count; i++) {
		uint64_t current = resize.guest->devices[i].current_bytes;

		asked += resize.targets[i];
		if (current > resize.targets[i])
			resize.shrink_gap += current - resize.targets[i];
		else
			resize.grow_gap += resize.targets[i] - current;
	}
	resize.is_revoked = plan_wanted_bytes(input->wish, resize.guest) < plan_guest_floor(resize.guest) ||
			    asked < resize_least_bytes(input, resize.guest);
	if (is_superseded(&resize)) {
		end_superseded(&resize);
		return;
	}
	/* Devices wished both ways are a shrink: its ladder asks every device, and only the
	 * shrinking may need help. */
	if (resize.shrink_gap > 0 ||
	    input->start_bytes > plan_wanted_bytes(input->wish, resize.guest))
		resize_shrink_next(&resize);
	else
		resize_grow_next(&resize);
}
