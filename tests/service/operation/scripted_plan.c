/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planners of a few lines in the place of the real ones, so that the engine's own rules are seen
 * alone. They keep the contract of plan.h: pure, asked again after every step, silent about
 * nothing.
 */
#include "plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB  (UINT64_C(1) << 20)
#define BASE (256 * MIB)

void plan_limits_init(struct plan_limits *limits)
{
	*limits = (struct plan_limits){.resize_timeout_s = 120, .drain_timeout_factor = 2, .drain_moves = 2};
}

static bool is_late(const struct plan_input *input)
{
	return input->deadline_ms && input->now_ms >= input->deadline_ms;
}

static unsigned count_of(const struct plan_input *input, enum step_kind kind, const char *guest)
{
	unsigned count = 0;

	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == kind &&
		    strcmp(input->history[i].step.guest, guest) == 0 &&
		    !remainder_list_has(&input->history[i].remainder, REMAINDER_RESTARTED))
			count++;
	return count;
}

static bool is_committed(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_AGENT_COMMIT &&
		    input->history[i].state == STEP_STATE_DONE)
			return true;
	return false;
}

static void give_up(const struct plan_input *input, struct decision *decision,
		    enum remainder_code code)
{
	decision->kind = DECISION_KIND_GIVE_UP;
	if (input->history_count > 0 && code != REMAINDER_DEADLINE)
		remainder_list_append(&decision->remainder,
				      &input->history[input->history_count - 1].remainder);
	if (decision->remainder.count == 0)
		remainder_list_add(&decision->remainder, code, "target", 0, NULL, "scripted");
}

static struct step *take(struct decision *decision, enum step_kind kind,
			 const struct snapshot_guest *guest)
{
	decision->kind = DECISION_KIND_STEP;
	step_init(&decision->step, kind);
	decision->step.undoable = true;
	if (guest) {
		snprintf(decision->step.guest, sizeof(decision->step.guest), "%s", guest->uuid);
		snprintf(decision->step.guest_name, sizeof(decision->step.guest_name), "%s",
			 guest->name);
	}
	return &decision->step;
}

static void scripted_resize(const struct plan_input *input, struct decision *decision)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, input->wish->guest);
	uint64_t target = input->wish->resize.target_bytes;
	struct step *step;

	if (!guest) {
		give_up(input, decision, REMAINDER_GUEST_GONE);
		return;
	}
	if (!is_late(input) && guest->agent.huge_free_bytes && target < guest->current_bytes &&
	    !count_of(input, STEP_KIND_FREE_HUGE_PAGES, guest->uuid)) {
		take(decision, STEP_KIND_FREE_HUGE_PAGES, guest)->bytes =
			guest->agent.huge_free_bytes;
		return;
	}
	if (!is_late(input) && guest->current_bytes != target &&
	    count_of(input, STEP_KIND_REQUEST, guest->uuid) < 2) {
		step = take(decision, STEP_KIND_REQUEST, guest);
		step->target_bytes = target - BASE;
		step->workers = 1 + (unsigned)input->beside_count;
		step->bytes = target > guest->current_bytes ? target - guest->current_bytes
							    : guest->current_bytes - target;
		return;
	}
	if (guest->requested_bytes != guest->current_bytes &&
	    !count_of(input, STEP_KIND_SETTLE, guest->uuid)) {
		step = take(decision, STEP_KIND_SETTLE, guest);
		step->undoable = false;
		step->target_bytes = guest->current_bytes - BASE;
		return;
	}
	if (count_of(input, STEP_KIND_FREE_HUGE_PAGES, guest->uuid) && !is_committed(input)) {
		take(decision, STEP_KIND_AGENT_COMMIT, guest)->undoable = false;
		return;
	}
	if (guest->current_bytes == target)
		decision->kind = DECISION_KIND_DONE;
	else
		give_up(input, decision,
			is_late(input) ? REMAINDER_DEADLINE : REMAINDER_DRIVER_STALLED);
}

/* What is asked for again and again gives a reason, and never twice more. */
static struct step *try(const struct plan_input *input, struct decision *decision, enum step_kind kind,
			const struct snapshot_guest *guest, unsigned tries)
{
	if (count_of(input, kind, guest->uuid) < tries)
		return take(decision, kind, guest);
	give_up(input, decision, REMAINDER_PAGE_BUSY);
	return NULL;
}

/* With every kind of step that a move can have, in its order; a part of the memory is unplugged for the while. */
static void scripted_full_move(const struct plan_input *input, struct decision *decision)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, input->wish->guest);
	uint64_t to_nodes = input->wish->move.to_nodes;
	int to = __builtin_ctzll(to_nodes);
	uint64_t elsewhere = guest->resident_bytes - guest->node_bytes[to];
	uint64_t pool = snapshot_node((struct snapshot *)input->snapshot, to)->pools[0].total * 2 * MIB;
	unsigned requests = count_of(input, STEP_KIND_REQUEST, guest->uuid);
	struct step *step = NULL;

	if (is_late(input) && guest->requested_bytes != guest->current_bytes &&
	    !count_of(input, STEP_KIND_SETTLE, guest->uuid)) {
		step = take(decision, STEP_KIND_SETTLE, guest);
		step->undoable = false;
		step->target_bytes = guest->current_bytes - BASE;
	} else if (is_late(input)) {
		give_up(input, decision, REMAINDER_DEADLINE);
	} else if (pool < 128 * MIB) {
		step = try(input, decision, STEP_KIND_HOST_POOL, guest, 2);
		if (step)
			step->node = to;
		if (step)
			step->target_bytes = 128 * MIB;
	} else if (elsewhere && !(guest->cpuset_mems & to_nodes)) {
		step = try(input, decision, STEP_KIND_CPUSET, guest, 2);
		if (step)
			step->nodes = guest->cpuset_mems | to_nodes;
	} else if (guest->policy_nodes != to_nodes) {
		step = try(input, decision, STEP_KIND_MEMORY_POLICY, guest, 2);
		if (step) {
			step->mode = POLICY_MODE_BIND;
			step->nodes = to_nodes;
		}
	} else if (guest->cpu_nodes != to_nodes) {
		step = try(input, decision, STEP_KIND_CPUS, guest, 2);
		if (step)
			step->nodes = to_nodes;
	} else if (elsewhere && !count_of(input, STEP_KIND_REPORT_FREE, guest->uuid)) {
		take(decision, STEP_KIND_REPORT_FREE, guest)->undoable = false;
	} else if (elsewhere && requests == 0) {
		step = take(decision, STEP_KIND_REQUEST, guest);
		step->bytes = 64 * MIB;
		step->target_bytes = guest->current_bytes - BASE - step->bytes;
	} else if (elsewhere) {
		step = try(input, decision, STEP_KIND_MOVE_PAGES, guest, 2);
		if (step) {
			step->bytes = elsewhere;
			step->by_map = true;
			for (int node = 0; node < 3; node++)
				step->map[node] = (int8_t)(node == to ? -1 : to);
		}
	} else if (guest->current_bytes < input->start_bytes) {
		step = requests < 3 ? take(decision, STEP_KIND_REQUEST, guest) : NULL;
		if (step) {
			step->bytes = input->start_bytes - guest->current_bytes;
			step->target_bytes = input->start_bytes - BASE;
		} else {
			give_up(input, decision, REMAINDER_DRIVER_STALLED);
		}
	} else if (guest->cpuset_mems != to_nodes) {
		step = try(input, decision, STEP_KIND_CPUSET, guest, 4);
		if (step)
			step->nodes = to_nodes;
	} else if (guest->stored_numatune_nodes != to_nodes) {
		step = try(input, decision, STEP_KIND_PERSIST, guest, 2);
		if (step)
			step->nodes = to_nodes;
	} else {
		decision->kind = DECISION_KIND_DONE;
	}
}

static void scripted_move(const struct plan_input *input, struct decision *decision)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, input->wish->guest);
	int to = __builtin_ctzll(input->wish->move.to_nodes);
	uint64_t elsewhere = guest->resident_bytes - guest->node_bytes[to];
	struct step *step;

	if (input->wish->move.persist) {
		scripted_full_move(input, decision);
	} else if (is_late(input)) {
		give_up(input, decision, REMAINDER_DEADLINE);
	} else if (guest->policy_nodes != input->wish->move.to_nodes) {
		if (count_of(input, STEP_KIND_MEMORY_POLICY, guest->uuid) > 1) {
			give_up(input, decision, REMAINDER_POLICY_NOT_SETTABLE);
			return;
		}
		step = take(decision, STEP_KIND_MEMORY_POLICY, guest);
		step->mode = POLICY_MODE_PREFERRED;
		step->nodes = input->wish->move.to_nodes;
	} else if (elsewhere > 0) {
		if (count_of(input, STEP_KIND_MOVE_PAGES, guest->uuid) > 1) {
			give_up(input, decision, REMAINDER_PAGE_BUSY);
			return;
		}
		step = take(decision, STEP_KIND_MOVE_PAGES, guest);
		step->bytes = elsewhere;
		step->by_map = true;
		step->workers = 1 + input->threads_beside;
		for (int node = 0; node < 3; node++)
			step->map[node] = (int8_t)(node == to ? -1 : to);
	} else {
		decision->kind = DECISION_KIND_DONE;
	}
}

/* True where the host's hooks are to be called then, and were not yet. */
static bool hooks_next(const struct plan_input *input, struct decision *decision, const char *when)
{
	struct step *step;

	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_HOST_HOOKS && strcmp(input->history[i].step.text, when) == 0 &&
		    !remainder_list_has(&input->history[i].remainder, REMAINDER_RESTARTED))
			return false;
	if (!input->snapshot->hooks.count)
		return false;
	step = take(decision, STEP_KIND_HOST_HOOKS, NULL);
	snprintf(step->text, sizeof(step->text), "%s", when);
	step->undoable = !step_is_after(step);
	return true;
}

static bool slices_next(const struct plan_input *input, struct decision *decision)
{
	struct step *step;

	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_SLICE_CPUSETS &&
		    !remainder_list_has(&input->history[i].remainder, REMAINDER_RESTARTED))
			return false;
	if (!input->limits->slices[0] || input->wish->drain_wish.finish < DRAIN_FINISH_EMPTY || is_late(input))
		return false;
	step = take(decision, STEP_KIND_SLICE_CPUSETS, NULL);
	memcpy(step->slices, input->limits->slices, sizeof(step->slices));
	step->nodes = 1u << 2;
	return true;
}

static bool was_given_up(const struct plan_input *input, enum step_kind kind, const char *guest)
{
	return count_of(input, kind, guest) > 1;
}

/* Does a child run, of this guest (NULL: of any)? */
static unsigned running(const struct plan_input *input, const char *guest)
{
	unsigned count = 0;

	for (size_t i = 0; i < input->history_count; i++)
		count += input->history[i].step.kind == STEP_KIND_CHILD &&
			 input->history[i].state == STEP_STATE_RUNNING &&
			 (!guest || strcmp(input->history[i].step.guest, guest) == 0);
	return count;
}

static bool is_all_offline(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].node == 2 && snapshot->blocks[i].state == BLOCK_STATE_ONLINE)
			return false;
	return true;
}

static void scripted_drain(const struct plan_input *input, struct decision *decision)
{
	const struct snapshot *snapshot = input->snapshot;
	bool held = false;
	struct step *step;

	if (strcmp(input->wish->drain_wish.reason, "in circles") == 0) {
		take(decision, STEP_KIND_CORDON, NULL);
		return;
	}
	for (size_t i = 0; i < snapshot->hold_count; i++)
		held = held || strcmp(snapshot->holds[i].drain, input->wish->drain) == 0;
	if (running(input, NULL) >= input->limits->drain_moves || (running(input, NULL) && is_late(input))) {
		decision->kind = DECISION_KIND_WAIT;
		return;
	}
	if (is_late(input) && !(snapshot->dimms[0].state == SNAPSHOT_DIMM_EJECTED &&
				input->wish->drain_wish.finish == DRAIN_FINISH_EJECT) &&
	    !(is_all_offline(snapshot) && input->wish->drain_wish.finish == DRAIN_FINISH_OFFLINE)) {
		give_up(input, decision, REMAINDER_DEADLINE);
		return;
	}
	if (!held && !(input->wish->drain[0] == '\0' && count_of(input, STEP_KIND_CORDON, ""))) {
		take(decision, STEP_KIND_CORDON, NULL);
		return;
	}
	if (input->wish->drain_wish.finish == DRAIN_FINISH_CORDON) {
		decision->kind = DECISION_KIND_DONE;
		return;
	}
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];

		if (guest->node_bytes[2] == 0 || running(input, guest->uuid))
			continue;
		if (was_given_up(input, STEP_KIND_CHILD, guest->uuid)) {
			if (running(input, NULL))
				decision->kind = DECISION_KIND_WAIT;
			else
				give_up(input, decision, REMAINDER_PAGE_BUSY);
			return;
		}
		decision->beside = running(input, NULL) + 1 < input->limits->drain_moves;
		step = take(decision, STEP_KIND_CHILD, guest);
		step->bytes = guest->resident_bytes - guest->node_bytes[1];
		step->child = calloc(1, sizeof(*step->child));
		wish_init(step->child, OPERATION_KIND_MOVE);
		snprintf(step->child->guest, sizeof(step->child->guest), "%s", guest->uuid);
		step->child->move.form = MOVE_FORM_TO;
		step->child->move.to_nodes = 1u << 1;
		return;
	}
	if (running(input, NULL)) {
		decision->kind = DECISION_KIND_WAIT;
		return;
	}
	for (size_t i = 0;
	     i < snapshot->block_count && input->wish->drain_wish.finish >= DRAIN_FINISH_OFFLINE;
	     i++) {
		if (snapshot->blocks[i].node != 2 ||
		    snapshot->blocks[i].state != BLOCK_STATE_ONLINE)
			continue;
		if (hooks_next(input, decision, "before"))
			return;
		if (was_given_up(input, STEP_KIND_OFFLINE_BLOCKS, "")) {
			give_up(input, decision, REMAINDER_BLOCK_BUSY);
			return;
		}
		step = take(decision, STEP_KIND_OFFLINE_BLOCKS, NULL);
		step->block_run_count = 1;
		step->block_runs[0].first = 32;
		step->block_runs[0].last = 39;
		return;
	}
	if (slices_next(input, decision))
		return;
	if (input->wish->drain_wish.finish == DRAIN_FINISH_EJECT &&
	    snapshot->dimms[0].state != SNAPSHOT_DIMM_EJECTED) {
		if (was_given_up(input, STEP_KIND_EJECT, "")) {
			give_up(input, decision, REMAINDER_EJECT_FAILED);
			return;
		}
		step = take(decision, STEP_KIND_EJECT, NULL);
		step->undoable = false;
		snprintf(step->dimm, sizeof(step->dimm), "d1");
		return;
	}
	if (count_of(input, STEP_KIND_HOST_HOOKS, "") && hooks_next(input, decision, STEP_TEXT_AFTER))
		return;
	decision->kind = DECISION_KIND_DONE;
}

static void scripted_undrain(const struct plan_input *input, struct decision *decision)
{
	if (is_late(input)) {
		give_up(input, decision, REMAINDER_DEADLINE);
		return;
	}
	for (size_t i = input->subject_count; i-- > 0;) {
		const struct step_record *record = &input->subject[i];
		unsigned tries = 0;

		if (record->state == STEP_STATE_UNDONE || record->state == STEP_STATE_FAILED ||
		    !record->step.undoable || record->step.kind == STEP_KIND_CORDON)
			continue;
		for (size_t j = 0; j < input->history_count; j++)
			if (input->history[j].step.undo_n == record->n &&
			    !remainder_list_has(&input->history[j].remainder, REMAINDER_RESTARTED))
				tries++;
		if (tries > 1) {
			give_up(input, decision, REMAINDER_UNDO_FAILED);
			return;
		}
		take(decision, STEP_KIND_UNDO, NULL)->undo_n = record->n;
		decision->step.undoable = false;
		return;
	}
	if (input->snapshot->hold_count > 0)
		take(decision, STEP_KIND_UNCORDON, NULL)->undoable = false;
	else
		decision->kind = DECISION_KIND_DONE;
	for (size_t i = 0; i < input->history_count; i++)
		if (remainder_list_has(&input->history[i].remainder, REMAINDER_CHANGED_SINCE))
			remainder_list_append(&decision->warnings, &input->history[i].remainder);
}

void plan_next(const struct plan_input *input, struct decision *ret_decision)
{
	memset(ret_decision, 0, sizeof(*ret_decision));
	switch (input->wish->kind) {
	case OPERATION_KIND_RESIZE:
		scripted_resize(input, ret_decision);
		break;
	case OPERATION_KIND_MOVE:
		scripted_move(input, ret_decision);
		break;
	case OPERATION_KIND_DRAIN:
		scripted_drain(input, ret_decision);
		break;
	case OPERATION_KIND_UNDRAIN:
		scripted_undrain(input, ret_decision);
		break;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		ret_decision->kind = DECISION_KIND_DONE;
		break;
	}
}

int plan_check(const struct plan_input *input, struct remainder_list *ret_blockers,
	       struct failure *failure)
{
	if (input->wish->kind == OPERATION_KIND_RESIZE &&
	    input->wish->resize.target_bytes % (2 * MIB)) {
		remainder_list_add(ret_blockers, REMAINDER_INVALID, "guest g1", 0, NULL,
				   "no multiple");
		failure_set(failure, EINVAL, "guest g1", "cannot resize");
		failure_set_code(failure, "not_block_multiple");
		return -EPERM;
	}
	if (input->wish->kind == OPERATION_KIND_RESIZE && input->wish->resize.target_bytes < BASE) {
		failure_set(failure, EINVAL, "guest g1", "cannot resize");
		failure_set_code(failure, "below_floor");
		return -EPERM;
	}
	return 0;
}

/* The first step alone, and a digest that says what is wished. */
struct plan *plan_dry_run(const struct plan_input *input)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	struct decision decision = {0};

	plan_next(input, &decision);
	plan->already_done = decision.kind == DECISION_KIND_DONE;
	plan->step_count = decision.kind == DECISION_KIND_STEP;
	plan->bytes = decision.kind == DECISION_KIND_STEP ? decision.step.bytes : 0;
	plan->work_bytes = plan->bytes;
	for (size_t i = 0; input->wish->kind == OPERATION_KIND_DRAIN && i < input->snapshot->guest_count; i++)
		if (input->snapshot->guests[i].node_bytes[2])
			plan->work_bytes += input->snapshot->guests[i].resident_bytes -
					    input->snapshot->guests[i].node_bytes[1];
	for (size_t i = 0; input->wish->kind == OPERATION_KIND_DRAIN && i < input->snapshot->block_count; i++)
		if (input->snapshot->blocks[i].node == 2)
			plan->work_bytes += input->snapshot->blocks[i].size_bytes;
	plan->estimate_s = plan->cautious_s = 10;
	snprintf(plan->digest, sizeof(plan->digest), "%08x%08x",
		 (unsigned)input->wish->kind * 0x11111111u,
		 input->wish->kind == OPERATION_KIND_RESIZE
			 ? (unsigned)(input->wish->resize.target_bytes / MIB)
			 : 0);
	step_done(&decision.step);
	return plan;
}

struct plan *plan_free(struct plan *plan)
{
	free(plan);
	return NULL;
}
