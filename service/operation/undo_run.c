/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step after the other put back:
 *
 *	next -> locks -> write "undoing" [journal] -> undo [executor]
 *	 ^                                                  |
 *	 +---------- write "undone" [journal] <-------------+
 *
 * Every undo is right from any state and twice over, so one that was interrupted is simply done
 * again. What somebody else has changed since is left as it is, with all that the same move has set of its guest, and told; that
 * has failed nothing. One that fails is tried once more, then told, and the rest is still put back; only the
 * hold stays then, because the target is neither what it was nor what was wished.
 */
#include "undo_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNDO_TRIES    2
#define UNDO_RETRY_MS 1000

static struct operation *operation_of(const struct undo_run *run)
{
	return run->list->operation;
}

static struct undo_item *current(const struct undo_run *run)
{
	return &run->list->items[run->item];
}

static struct step_record *current_step(const struct undo_run *run)
{
	return &current(run)->owner->record->steps[current(run)->index];
}

bool undo_list_is_cut(const struct undo_list *list)
{
	const struct operation *operation = list->operation;

	return operation->keeps_locks ||
	       (list->step_index != UNDO_LIST_WHOLE && operation->course != OPERATION_COURSE_FORWARD);
}

/* An undrain's planner has decided that already, and says by the blocks of its step which of them may go back. */
static enum undo_bar judge_of_step(const struct undo_list *list, const struct step_record *top, struct step *ret_part)
{
	const struct step *undo = &list->operation->record->steps[list->step_index].step;

	if (undo->undo_n != top->n || undo->block_run_count == 0 || step_is_of_same_blocks(undo, &top->step))
		return UNDO_BAR_NONE;
	ret_part->block_run_count = undo->block_run_count;
	memcpy(ret_part->block_runs, undo->block_runs, sizeof(ret_part->block_runs));
	return UNDO_BAR_PART;
}

enum undo_bar undo_list_judge(const struct undo_list *list, size_t index, struct step *ret_part, struct remainder_list *left)
{
	struct operation *operation = list->operation;
	const struct undo_item *item = &list->items[index];
	const struct step_record *top = &item->top->record->steps[item->top_index];
	const struct plan_drain *owner = NULL;
	CLEANUP_FREE struct plan_drain *drains = NULL;
	struct plan_input input = {
		.wish = &operation->record->wish,
		.snapshot = operation->snapshot,
		.limits = operation->engine->options.limits,
		.subject = operation->record->steps,
		.subject_count = operation->record->step_count,
		.subject_operation = operation->record->id,
	};

	*ret_part = top->step;
	if (list->step_index != UNDO_LIST_WHOLE)
		return judge_of_step(list, top, ret_part);
	if (!operation_undo_is_restore(operation) || !undo_bar_is_due(top) || top->step.kind == STEP_KIND_CORDON ||
	    !engine_drain_stands_beside(operation->engine, operation->drain))
		return UNDO_BAR_NONE;
	if (!operation->snapshot ||
	    engine_drain_others(operation->engine, operation->drain, &drains, &input.drain_count) < 0) {
		if (left)
			remainder_list_add(left, REMAINDER_HELD, operation->record->target, 0, NULL,
					   "what other drains hold of it could not be seen");
		return UNDO_BAR_ALL;
	}
	input.drains = drains;
	for (size_t i = 0; i < input.drain_count; i++)
		if (strcmp(drains[i].operation, item->top->record->id) == 0)
			owner = &drains[i];
	return undo_bar_judge(&input, owner, top, ret_part, owner ? NULL : left);
}

/* ---- turns ---- */

static void ready(struct undo_run *run, enum undo_phase phase)
{
	run->phase = phase;
	run->not_before_ms = 0;
	engine_wake(operation_of(run)->engine);
}

/* Until that time, or (0) until somebody wakes it. */
static void park(struct undo_run *run, enum undo_phase next, uint64_t until_ms)
{
	run->phase = UNDO_PHASE_PARKED;
	run->parked_phase = next;
	run->not_before_ms = until_ms;
}

static uint64_t retry_at(const struct undo_run *run)
{
	return engine_now(operation_of(run)->engine) + UNDO_RETRY_MS;
}

static void await(struct undo_run *run, enum undo_phase phase)
{
	run->phase = phase;
	operation_of(run)->engine->calls++;
}

static void answered(struct undo_run *run, enum undo_phase phase, int error)
{
	operation_of(run)->engine->calls--;
	run->error = error;
	ready(run, phase);
}

static bool take_locks(struct undo_run *run)
{
	struct operation *operation = operation_of(run);
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
	size_t count = operation_lock_of_step(&current_step(run)->step, locks);
	int r = operation_run_try_locks(operation, locks, count, true);

	if (r == 0 && run->waits_for_lock && !operation->waits_for_lock)
		operation->record->waiting_for[0] = '\0';
	run->waits_for_lock = r == -EBUSY;
	if (r < 0)
		park(run, UNDO_PHASE_NEXT, run->waits_for_lock ? 0 : retry_at(run));
	return r == 0;
}

static void release_locks(struct undo_run *run)
{
	operation_run_release_step(operation_of(run), &current_step(run)->step);
}

/* ---- one step ---- */

static void result_written(void *user, int error, const struct failure *failure)
{
	answered(user, UNDO_PHASE_RESULT_WRITTEN, error);
}

static void write_result(struct undo_run *run)
{
	struct operation *operation = operation_of(run), *owner = current(run)->owner, *child = NULL;
	struct engine *engine = operation->engine;
	struct journal *journal = engine->options.journal;
	struct step_record *step = current_step(run);
	int r;

	if (step->step.kind == STEP_KIND_CHILD)
		child = engine_find(engine, step->child_operation);
	operation->record->revision++;
	owner->record->revision++;
	await(run, UNDO_PHASE_WRITING_RESULT);
	journal_begin(journal);
	if (step->step.kind == STEP_KIND_CORDON && operation->drain)
		engine_drain_put(engine, operation->drain);
	if (child)
		journal_put_operation(journal, child->record, NULL, NULL);
	r = journal_put_step(journal, owner->record, step, result_written, run);
	journal_end(journal);
	if (r < 0)
		result_written(run, r, NULL);
}

/*
 * All of its steps that can be were undone before it, or else left to whoever has changed since what they set: then they stand
 * as done, and there is nothing more to undo of it.
 */
static void undo_child(struct undo_run *run, struct step_record *step)
{
	struct operation *child = engine_find(operation_of(run)->engine, step->child_operation);
	bool failed = false;

	if (run->changed.code != REMAINDER_NONE) {
		remainder_list_add_copy(&step->remainder, &run->changed);
		step->undo_failed = false;
		step->state = STEP_STATE_UNDONE;
		return;
	}

	for (size_t i = 0; child && i < child->record->step_count; i++)
		failed = failed || child->record->steps[i].undo_failed;
	step->undo_failed = failed;
	if (!failed) {
		step->state = STEP_STATE_UNDONE;
		if (child)
			child->record->undone = true;
	}
}

static void undo_cordon(struct undo_run *run)
{
	struct operation *operation = operation_of(run);

	if (run->list->failures)
		return;
	current_step(run)->state = STEP_STATE_UNDONE;
	if (operation->drain) {
		engine_drain_set_hold(operation->drain, false);
		engine_tell_drain(operation->engine, operation->drain);
	}
}

static void ahead_written(void *user, int error, const struct failure *failure)
{
	answered(user, UNDO_PHASE_WRITTEN_AHEAD, error);
}

/* Told once for each step of its own: not for what its child did, nor for what another drain had deferred. */
static void defer(struct undo_run *run)
{
	struct operation *operation = operation_of(run);
	const struct undo_item *item = current(run);
	struct step part;

	run->list->waits = true;
	if (item->top != operation || item->owner != operation)
		return;
	run->list->deferred++;
	undo_list_judge(run->list, run->item, &part, run->list->remainder);
}

static void pass(struct undo_run *run)
{
	run->item++;
	run->list->ended++;
	run->phase = UNDO_PHASE_NEXT;
}

/* ---- what somebody else has changed since ---- */

/* What this move has set of its guest stays, and what others say of it. */
static void leave_rest(struct undo_run *run, const struct remainder *changed)
{
	struct undo_list *list = run->list;
	const struct operation *owner = current(run)->owner;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].owner == owner && step_places_guest(&owner->record->steps[list->items[i].index].step))
			list->items[i].is_left = true;
	list->is_left = list->is_left || owner == list->operation;
	run->changed = *changed;
	remainder_list_add_copy(list->remainder, changed);
}

/* Has a move by hand said where the guest belongs since? */
static bool is_moved_since(struct undo_run *run)
{
	const struct operation *owner = current(run)->owner, *moved = NULL;
	const struct step *step = &current_step(run)->step;
	struct remainder_list list = {0};
	char object[96];

	if (owner->record->wish.kind == OPERATION_KIND_MOVE &&
	    (step_places_guest(step) || step->kind == STEP_KIND_PERSIST))
		moved = undo_since_moved(owner, step->kind == STEP_KIND_PERSIST);
	if (!moved)
		return false;
	snprintf(object, sizeof(object), "guest %s", owner->record->guest_name);
	leave_rest(run, remainder_list_add(&list, REMAINDER_CHANGED_SINCE, object, 0, NULL,
					   "%s has moved it by hand: it is left there", moved->record->id));
	return true;
}

static void next(struct undo_run *run)
{
	struct operation *operation = operation_of(run);
	struct engine *engine = operation->engine;
	struct step_record *step;
	struct step part;
	int r;

	if (run->item == run->end || undo_list_is_cut(run->list)) {
		run->phase = UNDO_PHASE_ENDED;
		return;
	}
	if (engine->stopping) {
		park(run, UNDO_PHASE_NEXT, 0);
		return;
	}
	step = current_step(run);
	if (current(run)->is_left) {
		pass(run);
		return;
	}
	if (undo_list_judge(run->list, run->item, &part, NULL) == UNDO_BAR_ALL) {
		defer(run);
		pass(run);
		return;
	}
	if (step->step.kind == STEP_KIND_CHILD || step->step.kind == STEP_KIND_CORDON) {
		if (step->step.kind == STEP_KIND_CHILD)
			undo_child(run, step);
		else
			undo_cordon(run);
		write_result(run);
		return;
	}
	if (!take_locks(run))
		return;
	/* Or another operation that had the lock has put it back meanwhile. */
	if (!operation_undo_is_due(step) || is_moved_since(run)) {
		release_locks(run);
		pass(run);
		return;
	}
	run->state_before = step->state == STEP_STATE_UNDOING ? STEP_STATE_PARTIAL : step->state;
	run->attempts = 0;
	step->state = STEP_STATE_UNDOING;
	await(run, UNDO_PHASE_WRITING_AHEAD);
	r = journal_put_step(engine->options.journal, current(run)->owner->record, step, ahead_written, run);
	if (r < 0)
		ahead_written(run, r, NULL);
}

/* What comes back is no progress towards the wish. */
static void progressed(void *token, uint64_t done_bytes, uint64_t total_bytes, const char *detail)
{
}

static void tell_failure(struct undo_run *run, const struct executor_outcome *outcome)
{
	const struct remainder *first = outcome->remainder.count ? &outcome->remainder.items[0] : NULL;

	failure_clear(&run->failure);
	failure_set(&run->failure, EIO, first ? first->object : operation_of(run)->record->target, "cannot undo");
	failure_set_cause(&run->failure, "%s", first ? first->detail : outcome->detail);
	if (first)
		failure_set_way_out(&run->failure, "%s", first->way_out);
}

static void finished(void *token, const struct executor_outcome *outcome)
{
	struct undo_run *run = token;
	struct operation *operation = operation_of(run);

	run->worked = outcome->state == STEP_STATE_DONE;
	if (operation->engine->stopping && !run->worked) {
		answered(run, UNDO_PHASE_NEXT, 0);
		park(run, UNDO_PHASE_NEXT, 0);
		return;
	}
	engine_stuck_note(operation, outcome);
	run->list->is_stuck = run->list->is_stuck || outcome->kernel_stuck;
	run->left_bytes = remainder_list_bytes(&outcome->remainder);
	/* A hook that fails, or somebody else who has set a slice, keeps nothing from being undone. */
	if (run->worked && (current_step(run)->step.kind == STEP_KIND_HOST_HOOKS ||
			    current_step(run)->step.kind == STEP_KIND_SLICE_CPUSETS))
		remainder_list_append(run->list->remainder, &outcome->remainder);
	run->is_changed = run->worked && remainder_list_has(&outcome->remainder, REMAINDER_CHANGED_SINCE);
	for (size_t i = 0; run->is_changed && i < outcome->remainder.count; i++)
		if (outcome->remainder.items[i].code == REMAINDER_CHANGED_SINCE)
			leave_rest(run, &outcome->remainder.items[i]);
	if (!run->worked)
		tell_failure(run, outcome);
	answered(run, UNDO_PHASE_ACTED, 0);
}

static void undo(struct undo_run *run)
{
	struct operation *operation = operation_of(run);
	const struct executor *executor = operation->engine->options.executor;
	struct step_record part = *current_step(run);

	if (run->error) {
		current_step(run)->state = run->state_before;
		release_locks(run);
		park(run, UNDO_PHASE_NEXT, retry_at(run));
		return;
	}
	if (operation->engine->stopping) {
		park(run, UNDO_PHASE_NEXT, 0);
		return;
	}
	run->attempts++;
	run->cancel_asked = false;
	engine_tell(operation->engine, operation);
	await(run, UNDO_PHASE_UNDOING);
	part.undo_failed = part.undo_failed || undo_since_failed(current(run)->owner);
	if (part.step.block_run_count)
		undo_list_judge(run->list, run->item, &part.step, NULL);
	executor->undo(executor->user, current(run)->owner->record, &part, progressed, finished, run);
}

static void give_up(struct undo_run *run)
{
	struct operation *operation = operation_of(run);
	struct step_record *step = current_step(run);
	uint64_t left = run->left_bytes;
	char text[160];

	step->state = run->state_before;
	step->undo_failed = true;
	/* What another drain had deferred does not keep this one from being undone. */
	if (current(run)->top == operation || !operation_undo_is_restore(operation))
		run->list->failures++;
	remainder_list_add(run->list->remainder, REMAINDER_UNDO_FAILED, run->failure.object,
			   left && left < step->bytes_done ? left : step->bytes_done,
			   run->failure.way_out[0] ? run->failure.way_out : NULL, "step %u, %s %s, stays done: %s", step->n,
			   step_kind_name(step->step.kind), step_describe(&step->step, text), run->failure.cause);
}

static void acted(struct undo_run *run)
{
	struct step_record *step = current_step(run);
	struct step part;

	if (run->worked) {
		/*
		 * The rest of it is tried again with all of it: what is back already is left alone. Asked while it is
		 * being undone: nothing is due of a step that was.
		 */
		bool is_part = undo_list_judge(run->list, run->item, &part, NULL) == UNDO_BAR_PART;

		step->state = is_part || run->is_changed ? run->state_before : STEP_STATE_UNDONE;
		if (is_part)
			defer(run);
		step->undo_failed = false;
	} else if (run->attempts < UNDO_TRIES && !operation_of(run)->keeps_locks) {
		run->error = 0;
		undo(run);
		return;
	} else {
		give_up(run);
	}
	write_result(run);
}

static void on_result_written(struct undo_run *run)
{
	struct operation *operation = operation_of(run);

	if (run->error) {
		park(run, UNDO_PHASE_WRITE, retry_at(run));
		return;
	}
	/* A stuck kernel call may still act under them. */
	if (!operation->keeps_locks)
		release_locks(run);
	engine_tell(operation->engine, operation);
	pass(run);
}

/* ---- from its list ---- */

void undo_run_begin(struct undo_run *run, struct undo_list *list, size_t first, size_t end)
{
	*run = (struct undo_run){.list = list, .first = first, .end = end, .item = first, .phase = UNDO_PHASE_NEXT};
	for (size_t i = first; i < end; i++)
		list->items[i].is_begun = true;
}

bool undo_run_has_turn(const struct undo_run *run)
{
	return run->phase >= UNDO_PHASE_NEXT;
}

void undo_run_wake(struct undo_run *run)
{
	if (run->phase == UNDO_PHASE_PARKED && run->waits_for_lock)
		ready(run, run->parked_phase);
}

void undo_run_tick(struct undo_run *run, uint64_t now_ms)
{
	if (run->phase == UNDO_PHASE_PARKED && run->not_before_ms && run->not_before_ms <= now_ms)
		ready(run, run->parked_phase);
}

void undo_run_stop(struct undo_run *run)
{
	const struct executor *executor;

	/* One that is free has never had a list. */
	if (run->phase != UNDO_PHASE_UNDOING || run->cancel_asked)
		return;
	executor = operation_of(run)->engine->options.executor;
	run->cancel_asked = true;
	executor->cancel(executor->user, run);
}

void undo_run_turn(struct undo_run *run)
{
	switch (run->phase) {
	case UNDO_PHASE_NEXT:
		next(run);
		break;
	case UNDO_PHASE_WRITTEN_AHEAD:
		undo(run);
		break;
	case UNDO_PHASE_ACTED:
		acted(run);
		break;
	case UNDO_PHASE_WRITE:
		write_result(run);
		break;
	case UNDO_PHASE_RESULT_WRITTEN:
		on_result_written(run);
		break;
	case UNDO_PHASE_ENDED:
	case UNDO_PHASE_PARKED:
	case UNDO_PHASE_WRITING_AHEAD:
	case UNDO_PHASE_UNDOING:
	case UNDO_PHASE_WRITING_RESULT:
		break;
	}
}
