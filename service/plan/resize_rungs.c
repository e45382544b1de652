/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ladders of a shrink share, by memory devices or by balloon: which rungs are open, those that the agent takes,
 * and waiting. No history but the steps themselves.
 *
 * What the agent gains is its word. It opens rungs RUNG_RUNS_MAX times; awaits that saw something open them
 * OPENED_IN_VAIN_MAX times as long as no byte has really left, which is the hypervisor's word; and all has an end at
 * LADDER_STEPS_MAX.
 */
#include "resize_priv.h"

#include <stdio.h>
#include <string.h>

#define RUNG_RUNS_MAX	   3
#define OPENED_IN_VAIN_MAX 4
#define LADDER_STEPS_MAX   240 /* less than the engine allows an operation: it still ends tidily */
#define AWAIT_FIRST_MS	   5000
#define AWAIT_LONGEST_MS   300000 /* the driver's own longest sleep */
/*
 * A guest that was suspended has an agent of which nothing was heard for hours: it greets within seconds. One that was
 * taken away does not come back, and its guest is like any other without one in the end.
 */
#define HEARD_LATELY_MS 600000
#define RETURN_MS	30000
#define AWAIT_BEYOND_MS	   1000	  /* so that it is the deadline that ends the last one, and is said to have done so */

static bool gained(const struct step_record *record)
{
	return record->bytes_done > 0;
}

static bool is_size_step(enum step_kind kind)
{
	return kind == STEP_KIND_REQUEST || kind == STEP_KIND_KICK || kind == STEP_KIND_BALLOON;
}

static bool is_rung(enum step_kind kind)
{
	return is_size_step(kind) || kind == STEP_KIND_FREE_HUGE_PAGES || kind == STEP_KIND_RUN_HOOKS ||
	       kind == STEP_KIND_COMPACT || kind == STEP_KIND_MAKE_GUEST_ROOM || kind == STEP_KIND_RECLAIM ||
	       kind == STEP_KIND_OFFLINE_GUEST_BLOCKS;
}

static bool await_saw(const struct step_record *record)
{
	return record->step.kind == STEP_KIND_AWAIT && (record->state == STEP_STATE_DONE || gained(record));
}

/* The last await that opened the rungs again, or -1. */
static long last_opening(const struct plan_input *input)
{
	unsigned in_vain = 0;
	long last = -1;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		/* Sizes are the hypervisor's word. */
		if (is_size_step(record->step.kind) && gained(record))
			in_vain = 0;
		else if (await_saw(record) && in_vain++ < OPENED_IN_VAIN_MAX)
			last = (long)i;
	}
	return last;
}

bool resize_rung_is_open(const struct plan_input *input, enum step_kind kind, const char *device)
{
	long last = resize_last_index(input, kind, device), opening = last_opening(input);
	unsigned runs = 0;

	/* Of one that a restart of the daemon has cut short nobody knows what it did: the agent has ended it, too. */
	if (last < 0 || last < opening || plan_was_cut(&input->history[last]))
		return true;
	/* What the others gain changes nothing for an application that was asked. */
	if (kind == STEP_KIND_RUN_HOOKS)
		return false;
	for (size_t i = (size_t)(opening + 1); i < input->history_count; i++)
		runs += input->history[i].step.kind == kind && input->history[i].state != STEP_STATE_UNDONE &&
			(!device || strcmp(input->history[i].step.device, device) == 0);
	if (runs >= RUNG_RUNS_MAX)
		return false;
	/* It got all that it was for, so what is there to be freed has come since. */
	if (kind == STEP_KIND_FREE_HUGE_PAGES && input->history[last].bytes_done >= input->history[last].step.bytes)
		return true;
	for (size_t i = (size_t)last + 1; i < input->history_count; i++)
		if (is_rung(input->history[i].step.kind) && input->history[i].step.kind != kind &&
		    gained(&input->history[i]))
			return true;
	return false;
}

bool resize_is_worn_out(const struct plan_input *input)
{
	return input->history_count >= LADDER_STEPS_MAX;
}

long resize_last_work(const struct plan_input *input)
{
	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_REQUEST || record->step.kind == STEP_KIND_BALLOON)
			return -1;
		if (record->step.kind == STEP_KIND_KICK || record->state == STEP_STATE_FAILED ||
		    record->state == STEP_STATE_UNDONE)
			continue;
		/* Compaction frees no bytes of its own, but may be just what the driver was missing. */
		if ((is_rung(record->step.kind) && gained(record)) || record->step.kind == STEP_KIND_COMPACT ||
		    await_saw(record))
			return (long)i;
	}
	return -1;
}

/* The rungs. */

bool resize_agent_rung_next(struct resize *resize, enum step_kind kind, enum agent_feature feature, uint64_t bytes)
{
	if (!bytes || !plan_agent_can(resize->guest, feature) || !resize_rung_is_open(resize->input, kind, NULL))
		return false;
	resize_emit_agent(resize, kind, bytes, RESIZE_AGENT_STEP_MS);
	return true;
}

void resize_warn_of_agent(const struct plan_input *input, const struct snapshot_guest *guest, struct remainder_list *warnings)
{
	static const struct {
		enum agent_feature feature;
		bool grows, by_balloon;
	} rungs[] = {
		{AGENT_FEATURE_ONLINE_POLICY, true, false}, {AGENT_FEATURE_HUGE_PAGES, false, true},
		{AGENT_FEATURE_COMPACT, false, false},	    {AGENT_FEATURE_MAKE_ROOM, false, false},
		{AGENT_FEATURE_RECLAIM, false, true},	    {AGENT_FEATURE_OFFLINE, false, false},
	};
	uint64_t wanted = plan_wanted_bytes(input->wish, guest);
	char object[96], names[96] = "";

	if (guest->agent.state != AGENT_STATE_READY || wanted == guest->current_bytes)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		size_t length = strlen(names);

		if (rungs[i].grows == (wanted > guest->current_bytes) && (rungs[i].by_balloon || !resize_is_balloon(guest)) &&
		    !plan_agent_can(guest, rungs[i].feature))
			snprintf(names + length, sizeof(names) - length, "%s%s", length ? ", " : "",
				 agent_feature_name(rungs[i].feature));
	}
	if (names[0])
		remainder_list_add(warnings, REMAINDER_NO_AGENT, plan_guest_object(guest, object), 0,
				   "update it, or look at its configuration and at the guest's kernel", "agent %.47s cannot: %s",
				   guest->agent.version[0] ? guest->agent.version : "(of no version)", names);
}

static uint64_t spare_huge_bytes(const struct snapshot_agent *agent)
{
	return agent->huge_free_bytes - plan_min(agent->huge_free_bytes, agent->huge_floor_bytes);
}

/* Room that was made for huge pages in use stands in their pools until the lease ends. */
static bool room_stands(const struct plan_input *input)
{
	return resize_last_index(input, STEP_KIND_MAKE_GUEST_ROOM, NULL) >
	       resize_last_index(input, STEP_KIND_AGENT_COMMIT, NULL);
}

/*
 * The agent gives away no free pages of a pool in which it has made room. Where more of them are free than are in use
 * the room has lost its use: the lease ends, so that the pools are as they were, and another begins.
 */
bool resize_free_huge_pages_next(struct resize *resize, uint64_t deficit_bytes)
{
	const struct snapshot_agent *agent = &resize->guest->agent;
	uint64_t spare = spare_huge_bytes(agent);
	bool room = room_stands(resize->input);

	if (room)
		spare -= plan_min(spare, agent->huge_used_bytes);
	if (!agent->reported || !resize_agent_rung_next(resize, STEP_KIND_FREE_HUGE_PAGES, AGENT_FEATURE_HUGE_PAGES,
							plan_min(spare, deficit_bytes)))
		return false;
	if (room) {
		resize_emit_agent(resize, STEP_KIND_AGENT_COMMIT, 0, RESIZE_AGENT_STEP_MS);
		snprintf(resize->decision->step.text, sizeof(resize->decision->step.text), "%s", RESIZE_AGAIN_MARK);
	}
	return true;
}

bool resize_hooks_next(struct resize *resize)
{
	return resize_agent_rung_next(resize, STEP_KIND_RUN_HOOKS, AGENT_FEATURE_HOOKS, resize->shrink_gap);
}

bool resize_compact_next(struct resize *resize)
{
	if (!resize_agent_rung_next(resize, STEP_KIND_COMPACT, AGENT_FEATURE_COMPACT, resize->shrink_gap))
		return false;
	/* It frees nothing: there is no amount of it that would be enough. */
	resize->decision->step.bytes = 0;
	return true;
}

bool resize_reclaim_next(struct resize *resize)
{
	const struct snapshot_agent *agent = &resize->guest->agent;
	uint64_t gap = resize->shrink_gap, need = gap + gap / 16;
	uint64_t uncovered = gap - plan_min(gap, resize_covered_bytes(resize->input, resize->guest));
	uint64_t lacks = need - plan_min(need, agent->memory_free_bytes);

	/* What is free may still be all that the guest is left: then that is in the way of being asked for more. */
	if (lacks < uncovered)
		lacks = uncovered + uncovered / 16;
	return agent->reported && resize_agent_rung_next(resize, STEP_KIND_RECLAIM, AGENT_FEATURE_RECLAIM, lacks);
}

bool resize_prepare_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_agent *agent = &resize->guest->agent;
	uint64_t need = resize->shrink_gap + resize->shrink_gap / 16;
	/* What is offline is no longer counted as available, and leaves as it is. */
	uint64_t ready = agent->memory_available_bytes + agent->offline_bytes;

	if (plan_count(input, STEP_KIND_REQUEST) + plan_count(input, STEP_KIND_BALLOON) > 0 || !agent->reported ||
	    need <= ready)
		return false;
	return (plan_tried(input, STEP_KIND_FREE_HUGE_PAGES) == 0 && resize_free_huge_pages_next(resize, need - ready)) ||
	       (plan_tried(input, STEP_KIND_RUN_HOOKS) == 0 && resize_hooks_next(resize));
}

void resize_tell_of_hooks(const struct resize *resize)
{
	/* Before what they were told of, and after it, when the lease ends. */
	static const enum step_kind kinds[] = {STEP_KIND_RUN_HOOKS, STEP_KIND_AGENT_COMMIT, STEP_KIND_AGENT_UNDO};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct step_record *last = plan_last(resize->input, kinds[i]);

		if (last && (last->step.kind == STEP_KIND_RUN_HOOKS || last->state == STEP_STATE_DONE))
			remainder_list_append(&resize->decision->warnings, &last->remainder);
	}
}

/* Waiting. */

/* Twice as long each time, as long as nothing leaves; with much time left not so rarely that it is for nothing. */
static uint64_t await_ms(const struct plan_input *input)
{
	uint64_t left = input->deadline_ms > input->now_ms ? input->deadline_ms - input->now_ms : 0;
	uint64_t longest = left / 8 > AWAIT_LONGEST_MS ? left / 8 : AWAIT_LONGEST_MS, wait = AWAIT_FIRST_MS;

	for (size_t i = input->history_count; i-- > 0;) {
		if (is_size_step(input->history[i].step.kind) && gained(&input->history[i]))
			break;
		if (input->history[i].step.kind == STEP_KIND_AWAIT && wait < longest)
			wait *= 2;
	}
	return plan_min(wait, longest);
}

/*
 * What was free in the guest when the waiting began: what becomes free during a kick between two awaits is seen by the
 * second.
 */
static uint64_t await_baseline(const struct resize *resize)
{
	const struct plan_input *input = resize->input;

	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if (await_saw(record) || (is_rung(record->step.kind) && (record->step.kind != STEP_KIND_KICK || gained(record))))
			break;
		if (record->step.kind == STEP_KIND_AWAIT)
			return record->step.target_bytes;
	}
	return resize->guest->agent.memory_available_bytes + resize->guest->agent.huge_free_bytes;
}

void resize_emit_await(struct resize *resize, uint64_t ms)
{
	const struct plan_input *input = resize->input;
	struct step step;

	if (input->deadline_ms && ms >= input->deadline_ms - input->now_ms)
		ms = input->deadline_ms - input->now_ms + AWAIT_BEYOND_MS;
	plan_step_init(&step, STEP_KIND_AWAIT, resize->guest);
	step.bytes = resize->shrink_gap ? resize->shrink_gap : resize->grow_gap;
	step.target_bytes = await_baseline(resize);
	step.timeout_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
	plan_decide(resize->decision, &step);
}

/* Without a deadline nobody has said how long to wait. */
bool resize_await_next(struct resize *resize)
{
	if (!resize->input->deadline_ms || plan_is_late(resize->input))
		return false;
	resize_emit_await(resize, await_ms(resize->input));
	return true;
}

bool resize_agent_worked(const struct plan_input *input)
{
	static const enum step_kind kinds[] = {STEP_KIND_FREE_HUGE_PAGES, STEP_KIND_RUN_HOOKS,
					       STEP_KIND_COMPACT,	  STEP_KIND_MAKE_GUEST_ROOM,
					       STEP_KIND_RECLAIM,	  STEP_KIND_OFFLINE_GUEST_BLOCKS};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (plan_count(input, kinds[i]))
			return true;
	return false;
}

/* One that is refused is nobody to wait for. */
static bool can_return(const struct snapshot_agent *agent)
{
	switch (agent->state) {
	case AGENT_STATE_NONE:
	case AGENT_STATE_DISCONNECTED:
	case AGENT_STATE_CONNECTING:
	case AGENT_STATE_BUSY:
		return true;
	case AGENT_STATE_READY:
		return !agent->reported || agent->overdue;
	case AGENT_STATE_INCOMPATIBLE:
	case AGENT_STATE_SUSPECT:
	case AGENT_STATE_COUNT:
		break;
	}
	return false;
}

static bool was_waited_for(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_AWAIT &&
		    strcmp(input->history[i].step.text, RESIZE_AGENT_MARK) == 0)
			return true;
	return false;
}

static bool is_heard_lately(const struct plan_input *input, const struct snapshot_guest *guest)
{
	return resize_agent_worked(input) ||
	       (guest->agent.last_seen_ms && input->now_ms < guest->agent.last_seen_ms + HEARD_LATELY_MS);
}

bool resize_agent_is_silent(const struct plan_input *input, const struct snapshot_guest *guest)
{
	return can_return(&guest->agent) &&
	       (is_heard_lately(input, guest) ||
		(guest->agent.last_seen_ms && input->deadline_ms && !was_waited_for(input)));
}

bool resize_stood_before(const struct plan_input *input, const struct snapshot_guest *guest)
{
	bool any = false;

	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		const struct step_record *goal = resize_goal_request(input, device->alias);

		if (!goal || device->current_bytes <= goal->step.target_bytes)
			continue;
		if (strcmp(goal->step.text, RESIZE_STOOD_MARK) != 0)
			return false;
		any = true;
	}
	return any;
}

bool resize_silence_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	bool stood = resize_stood_before(input, resize->guest);

	if (!resize_agent_is_silent(input, resize->guest) || !input->deadline_ms || plan_is_late(input) ||
	    (stood && was_waited_for(input)))
		return false;
	resize_emit_await(resize, is_heard_lately(input, resize->guest) && !stood ? await_ms(input) : RETURN_MS);
	snprintf(resize->decision->step.text, sizeof(resize->decision->step.text), "%s", RESIZE_AGENT_MARK);
	return true;
}

bool resize_is_vetoed(const struct resize *resize)
{
	return resize->guest->agent.veto && resize->guest->agent.reported;
}

bool resize_wait_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct step_record *last = input->history_count ? &input->history[input->history_count - 1] : NULL;

	/* Sizes are frozen meanwhile, and the driver then sleeps its time out (QEMU virtio_mem_is_busy). */
	if (resize->guest->migrating) {
		resize_emit_await(resize, input->deadline_ms ? UINT64_MAX : AWAIT_LONGEST_MS);
		return true;
	}
	/* A restart of the daemon ended the watch: the driver may be at work, and a kick would end that. */
	if (last && is_size_step(last->step.kind) && plan_was_cut(last)) {
		resize_emit_await(resize, input->limits->flat_ms);
		return true;
	}
	return resize_is_vetoed(resize) && resize_await_next(resize);
}
