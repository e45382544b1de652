/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps put back, the last first; a child's steps stand in for the child.
 *
 *	next -> locks -> write "undoing" [journal] -> undo [executor]
 *	 ^                                                  |
 *	 +---------- write "undone" [journal] <-------------+
 *
 * Every undo is right from any state and twice over, so one that was interrupted is simply done
 * again. One that fails is tried once more, then told, and the rest is still put back; only the
 * hold stays then, because the target is neither what it was nor what was wished.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNDO_TRIES    2
#define UNDO_RETRY_MS 1000

static bool is_undoable(const struct step_record *step)
{
	switch (step->state) {
	case STEP_STATE_RUNNING:
	case STEP_STATE_DONE:
	case STEP_STATE_PARTIAL:
	case STEP_STATE_UNDOING:
		break;
	case STEP_STATE_FAILED:
		/*
		 * A child that failed may have done some of its steps all the same, and a size that was
		 * asked for stands although nothing has come of it yet.
		 */
		if (step->step.kind == STEP_KIND_CHILD || step->step.kind == STEP_KIND_REQUEST ||
		    step->step.kind == STEP_KIND_BALLOON)
			break;
		return false;
	case STEP_STATE_PENDING:
	case STEP_STATE_UNDONE:
	case STEP_STATE_COUNT:
		return false;
	}
	if (step->step.kind == STEP_KIND_CHILD)
		return step->child_operation[0] != '\0';
	return step->step.undoable || step->step.kind == STEP_KIND_CORDON;
}

bool operation_undo_has_any(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (is_undoable(&record->steps[i]))
			return true;
	return false;
}

static int add_item(struct operation *operation, struct operation *owner, size_t index, struct operation *top,
		    size_t top_index)
{
	struct operation_undo_item *grown =
		reallocarray(operation->undo_items, operation->undo_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	operation->undo_items = grown;
	grown[operation->undo_count++] = (struct operation_undo_item){owner, index, top, top_index};
	owner->pins++;
	top->pins++;
	return 0;
}

static int add_step(struct operation *operation, struct operation *owner, size_t index)
{
	const struct step_record *step = &owner->record->steps[index];
	struct operation *child;

	if (!is_undoable(step))
		return 0;
	child = step->step.kind == STEP_KIND_CHILD
			? engine_find_or_load(operation->engine, step->child_operation)
			: NULL;
	for (size_t i = child ? child->record->step_count : 0; i-- > 0;)
		if (is_undoable(&child->record->steps[i]) && add_item(operation, child, i, owner, index) < 0)
			return -ENOMEM;
	return add_item(operation, owner, index, owner, index);
}

/* The cordon, or all but that. */
static int add_kind(struct operation *operation, struct operation *owner, bool cordon)
{
	for (size_t i = owner->record->step_count; i-- > 0;)
		if ((owner->record->steps[i].step.kind == STEP_KIND_CORDON) == cordon &&
		    add_step(operation, owner, i) < 0)
			return -ENOMEM;
	return 0;
}

static int add_all(struct operation *operation, struct operation *owner)
{
	int r = add_kind(operation, owner, false);

	return r < 0 ? r : add_kind(operation, owner, true);
}

static int add_deferred(struct operation *operation, const struct plan_drain *drains, size_t count, bool newer)
{
	for (size_t i = 0; i < count; i++) {
		struct operation *owner = drains[i].is_held || drains[i].is_newer != newer
						  ? NULL
						  : engine_find_or_load(operation->engine, drains[i].operation);

		if (owner && add_kind(operation, owner, false) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* A drain's own steps, and those that earlier ones have deferred, in the order of an undrain. */
static int add_drain(struct operation *operation)
{
	CLEANUP_FREE struct plan_drain *drains = NULL;
	size_t count;

	if (engine_drain_others(operation->engine, operation->drain, &drains, &count) < 0 ||
	    add_deferred(operation, drains, count, true) < 0 || add_kind(operation, operation, false) < 0 ||
	    add_deferred(operation, drains, count, false) < 0)
		return -ENOMEM;
	return add_kind(operation, operation, true);
}

void operation_undo_list_done(struct operation *operation)
{
	for (size_t i = 0; i < operation->undo_count; i++) {
		operation->undo_items[i].owner->pins--;
		operation->undo_items[i].top->pins--;
	}
	free(operation->undo_items);
	operation->undo_items = NULL;
	free(operation->undo_remainder);
	operation->undo_remainder = NULL;
	operation->undo_count = operation->undo_next = 0;
}

static int list_begin(struct operation *operation, bool of_step)
{
	operation_undo_list_done(operation);
	operation->undo_of_step = of_step;
	operation->undo_attempts = operation->undo_failures = operation->undo_deferred = 0;
	operation->undo_waits = false;
	operation->undo_remainder = calloc(1, sizeof(*operation->undo_remainder));
	return operation->undo_remainder ? 0 : -ENOMEM;
}

/* Of a drain, by itself: what others hold stays as it is. */
static bool is_restore(const struct operation *operation)
{
	return operation->drain && operation->record->wish.kind == OPERATION_KIND_DRAIN;
}

int operation_undo_list_all(struct operation *operation)
{
	if (list_begin(operation, false) < 0)
		return -ENOMEM;
	if (!is_restore(operation))
		return add_all(operation, operation);
	if (operation->snapshot && engine_see_holds(operation->engine, operation->snapshot) < 0)
		return -ENOMEM;
	return add_drain(operation);
}

bool operation_undo_must_look(const struct operation *operation)
{
	return is_restore(operation) && !operation->snapshot && operation->look_failures < OPERATION_LOOK_TRIES &&
	       engine_drain_stands_beside(operation->engine, operation->drain);
}

int operation_undo_list_step(struct operation *operation, const struct step *step)
{
	/* A drain that brings home undoes a step of its own. */
	struct operation *own =
		operation->record->wish.kind == OPERATION_KIND_DRAIN ? operation : operation->subject;
	struct operation *owner =
		step->undo_operation[0] ? engine_find_or_load(operation->engine, step->undo_operation) : own;

	if (list_begin(operation, true) < 0)
		return -ENOMEM;
	if (!owner)
		return -ENOENT;
	if (step->undo_n == 0)
		return add_all(operation, owner);
	for (size_t i = 0; i < owner->record->step_count; i++)
		if (owner->record->steps[i].n == step->undo_n)
			return add_step(operation, owner, i);
	return -ENOENT;
}

static struct operation_undo_item *current(const struct operation *operation)
{
	return &operation->undo_items[operation->undo_next];
}

static struct step_record *current_step(const struct operation *operation)
{
	struct operation_undo_item *item = current(operation);

	return &item->owner->record->steps[item->index];
}

/*
 * How much of the current item has to wait, and for whom. An undrain's planner has decided that already, and says by the
 * blocks of its step which of them may go back.
 */
static enum undo_bar judge(struct operation *operation, struct step *ret_part, struct remainder_list *left)
{
	struct operation_undo_item *item = current(operation);
	const struct step_record *top = &item->top->record->steps[item->top_index];
	const struct plan_drain *owner = NULL;
	CLEANUP_FREE struct plan_drain *drains = NULL;
	struct plan_input input = {
		.wish = &operation->record->wish,
		.snapshot = operation->snapshot,
		.subject = operation->record->steps,
		.subject_count = operation->record->step_count,
		.subject_operation = operation->record->id,
	};

	*ret_part = top->step;
	if (operation->undo_of_step) {
		const struct step *undo = &operation_run_step(operation)->step;

		if (undo->undo_n != top->n || undo->block_run_count == 0 ||
		    step_is_of_same_blocks(undo, &top->step))
			return UNDO_BAR_NONE;
		ret_part->block_run_count = undo->block_run_count;
		memcpy(ret_part->block_runs, undo->block_runs, sizeof(ret_part->block_runs));
		return UNDO_BAR_PART;
	}
	if (!is_restore(operation) || !undo_bar_is_due(top) || top->step.kind == STEP_KIND_CORDON ||
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

/* ---- the end of the list ---- */

static void finish_step(struct operation *operation)
{
	struct step_record *step = operation_run_step(operation);
	bool is_cut = operation->undo_next < operation->undo_count;

	step->state = STEP_STATE_DONE;
	if (operation->undo_failures || is_cut)
		step->state = operation->undo_next > operation->undo_failures ? STEP_STATE_PARTIAL
									      : STEP_STATE_FAILED;
	step->remainder = *operation->undo_remainder;
	if (is_cut)
		remainder_list_add(
			&step->remainder,
			operation->is_cancelled ? REMAINDER_CANCELLED : REMAINDER_DEADLINE,
			operation->record->target, 0, NULL, "%zu steps are not undone yet",
			operation->undo_count - operation->undo_next);
	operation->error = 0;
	operation->phase = OPERATION_PHASE_ACTED;
}

static void finish_all(struct operation *operation)
{
	struct operation_record *record = operation->record;

	/* What had to wait for another hold goes along with that, and would be missed if it has just gone. */
	if (operation->undo_waits && operation->snapshot && !operation->keeps_locks &&
	    engine_drain_hold_went(operation->engine, operation->snapshot)) {
		operation_run_ready(operation, OPERATION_PHASE_READY);
		return;
	}
	record->undone = operation->undo_failures == 0 && operation->undo_deferred == 0;
	remainder_list_append(&record->remainder, operation->undo_remainder);
	if (operation->keeps_locks && !remainder_list_has(&record->remainder, REMAINDER_KERNEL_STUCK))
		remainder_list_add(&record->remainder, REMAINDER_KERNEL_STUCK, record->target, 0, NULL,
				   "a kernel call of its undoing does not come back");
	if (operation->undo_failures == 0) {
		if (record->undone)
			record->progress.done_bytes = 0;
		operation_end_as(operation, operation->is_cancelled ? OPERATION_STATE_CANCELLED
								    : OPERATION_STATE_FAILED);
		return;
	}
	failure_set(&record->error, EIO, record->target, "cannot undo everything");
	failure_set_code(&record->error, "undo_failed");
	failure_set_cause(&record->error, "%s: %s", operation->undo_remainder->items[0].object,
			  operation->undo_remainder->items[0].detail);
	failure_set_way_out(&record->error, "%s", operation->undo_remainder->items[0].way_out);
	operation_end_as(operation, OPERATION_STATE_FAILED);
}

/* ---- one step ---- */

static void result_written(void *user, int error, const struct failure *failure)
{
	operation_run_answered(user, OPERATION_PHASE_UNDO_RESULT_WRITTEN, error, failure);
}

static void write_result(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct journal *journal = engine->options.journal;
	struct operation *owner = current(operation)->owner;
	struct step_record *step = current_step(operation);
	struct operation *child = NULL;
	int r;

	if (step->step.kind == STEP_KIND_CHILD)
		child = engine_find(engine, step->child_operation);
	operation->record->revision++;
	owner->record->revision++;
	operation_run_await(operation, OPERATION_PHASE_UNDO_RESULT);
	journal_begin(journal);
	if (step->step.kind == STEP_KIND_CORDON && operation->drain)
		engine_drain_put(engine, operation->drain);
	if (child)
		journal_put_operation(journal, child->record, NULL, NULL);
	r = journal_put_step(journal, owner->record, step, result_written, operation);
	journal_end(journal);
	if (r < 0)
		result_written(operation, r, NULL);
}

/* All of its steps that can be were undone before it. */
static void undo_child(struct operation *operation, struct step_record *step)
{
	struct operation *child = engine_find(operation->engine, step->child_operation);
	bool failed = false;

	for (size_t i = 0; child && i < child->record->step_count; i++)
		failed = failed || child->record->steps[i].undo_failed;
	step->undo_failed = failed;
	if (!failed) {
		step->state = STEP_STATE_UNDONE;
		if (child)
			child->record->undone = true;
	}
}

static void ahead_written(void *user, int error, const struct failure *failure)
{
	operation_run_answered(user, OPERATION_PHASE_UNDO_WRITTEN_AHEAD, error, failure);
}

/* Told once for each step of its own: not for what its child did, nor for what another drain had deferred. */
static void defer(struct operation *operation)
{
	struct operation_undo_item *item = current(operation);
	struct step part;

	operation->undo_waits = true;
	if (item->top != operation || item->owner != operation)
		return;
	operation->undo_deferred++;
	judge(operation, &part, operation->undo_remainder);
}

static void next(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
	struct step_record *step;
	struct step part;
	int r;

	if (operation->undo_next == operation->undo_count ||
	    (operation->undo_of_step && operation->course != OPERATION_COURSE_FORWARD) ||
	    operation->keeps_locks) {
		if (operation->undo_of_step)
			finish_step(operation);
		else
			finish_all(operation);
		return;
	}
	if (engine->stopping) {
		operation_run_park(operation, OPERATION_PHASE_UNDO_NEXT, 0);
		return;
	}
	step = current_step(operation);
	if (judge(operation, &part, NULL) == UNDO_BAR_ALL) {
		defer(operation);
		operation->undo_next++;
		return;
	}
	if (step->step.kind == STEP_KIND_CHILD) {
		undo_child(operation, step);
		write_result(operation);
		return;
	}
	if (step->step.kind == STEP_KIND_CORDON) {
		if (operation->undo_failures == 0) {
			step->state = STEP_STATE_UNDONE;
			if (operation->drain) {
				engine_drain_set_hold(operation->drain, false);
				engine_tell_drain(engine, operation->drain);
			}
		}
		write_result(operation);
		return;
	}
	if (!operation_run_take_locks(operation, locks, operation_lock_of_step(&step->step, locks),
				      true))
		return;
	if (!is_undoable(step)) {
		/* Another operation that had the lock has put it back meanwhile. */
		operation_run_release_step(operation);
		operation->undo_next++;
		return;
	}
	operation->undo_state_before =
		step->state == STEP_STATE_UNDOING ? STEP_STATE_PARTIAL : step->state;
	operation->undo_attempts = 0;
	step->state = STEP_STATE_UNDOING;
	operation->cancel_asked = false;
	operation_run_await(operation, OPERATION_PHASE_UNDO_AHEAD);
	r = journal_put_step(engine->options.journal, current(operation)->owner->record, step,
			     ahead_written, operation);
	if (r < 0)
		ahead_written(operation, r, NULL);
}

static void finished(void *token, const struct executor_outcome *outcome)
{
	struct operation *operation = token;

	operation->undo_worked = outcome->state == STEP_STATE_DONE;
	if (operation->engine->stopping && !operation->undo_worked) {
		operation_run_answered(operation, OPERATION_PHASE_UNDO_NEXT, 0, NULL);
		operation_run_park(operation, OPERATION_PHASE_UNDO_NEXT, 0);
		return;
	}
	operation->keeps_locks = operation->keeps_locks || outcome->kernel_stuck;
	operation->stuck_pid = outcome->kernel_stuck ? outcome->stuck_pid : operation->stuck_pid;
	operation->undo_left_bytes = remainder_list_bytes(&outcome->remainder);
	/* A hook that fails keeps nothing from being undone. */
	if (operation->undo_worked && current_step(operation)->step.kind == STEP_KIND_HOST_HOOKS)
		remainder_list_append(operation->undo_remainder, &outcome->remainder);
	if (!operation->undo_worked) {
		failure_clear(&operation->failure);
		if (outcome->remainder.count > 0) {
			const struct remainder *first = &outcome->remainder.items[0];

			failure_set(&operation->failure, EIO, first->object, "cannot undo");
			failure_set_cause(&operation->failure, "%s", first->detail);
			failure_set_way_out(&operation->failure, "%s", first->way_out);
		} else {
			failure_set(&operation->failure, EIO, operation->record->target,
				    "cannot undo");
			failure_set_cause(&operation->failure, "%s", outcome->detail);
		}
	}
	operation->engine->calls--;
	operation_run_ready(operation, OPERATION_PHASE_UNDO_ACTED);
}

static void undo(struct operation *operation)
{
	const struct executor *executor = operation->engine->options.executor;
	struct step_record part = *current_step(operation);

	if (operation->error) {
		current_step(operation)->state = operation->undo_state_before;
		operation_run_release_step(operation);
		operation_run_park(operation, OPERATION_PHASE_UNDO_NEXT,
				   engine_now(operation->engine) + UNDO_RETRY_MS);
		return;
	}
	if (operation->engine->stopping) {
		operation_run_park(operation, OPERATION_PHASE_UNDO_NEXT, 0);
		return;
	}
	operation->undo_attempts++;
	engine_tell(operation->engine, operation);
	operation_run_await(operation, OPERATION_PHASE_UNDOING);
	if (part.step.block_run_count)
		judge(operation, &part.step, NULL);
	executor->undo(executor->user, current(operation)->owner->record, &part, operation_step_progress, finished,
		       operation);
}

static void acted(struct operation *operation)
{
	struct step_record *step = current_step(operation);
	uint64_t left = operation->undo_left_bytes;
	struct step part;
	char text[160];

	if (operation->undo_worked) {
		/*
		 * The rest of it is tried again with all of it: what is back already is left alone. Asked while it is
		 * being undone: nothing is due of a step that was.
		 */
		bool is_part = judge(operation, &part, NULL) == UNDO_BAR_PART;

		step->state = is_part ? operation->undo_state_before : STEP_STATE_UNDONE;
		if (is_part)
			defer(operation);
		step->undo_failed = false;
	} else if (operation->undo_attempts < UNDO_TRIES && !operation->keeps_locks) {
		operation->error = 0;
		undo(operation);
		return;
	} else {
		step->state = operation->undo_state_before;
		step->undo_failed = true;
		/* What another drain had deferred does not keep this one from being undone. */
		if (current(operation)->top == operation || !is_restore(operation))
			operation->undo_failures++;
		remainder_list_add(
			operation->undo_remainder, REMAINDER_UNDO_FAILED, operation->failure.object,
			left && left < step->bytes_done ? left : step->bytes_done,
			operation->failure.way_out[0] ? operation->failure.way_out : NULL,
			"step %u, %s %s, stays done: %s", step->n, step_kind_name(step->step.kind),
			step_describe(&step->step, text), operation->failure.cause);
	}
	write_result(operation);
}

void operation_undo_turn(struct operation *operation)
{
	switch (operation->phase) {
	case OPERATION_PHASE_UNDO_NEXT:
		next(operation);
		break;
	case OPERATION_PHASE_UNDO_WRITTEN_AHEAD:
		undo(operation);
		break;
	case OPERATION_PHASE_UNDO_ACTED:
		acted(operation);
		break;
	case OPERATION_PHASE_UNDO_WRITE:
		write_result(operation);
		break;
	case OPERATION_PHASE_UNDO_RESULT_WRITTEN:
		if (operation->error) {
			operation_run_park(operation, OPERATION_PHASE_UNDO_WRITE,
					   engine_now(operation->engine) + UNDO_RETRY_MS);
			break;
		}
		/* A stuck kernel call may still act under them. */
		if (!operation->keeps_locks)
			operation_run_release_step(operation);
		operation->undo_next++;
		engine_tell(operation->engine, operation);
		operation->phase = OPERATION_PHASE_UNDO_NEXT;
		break;
	case OPERATION_PHASE_CREATING:
	case OPERATION_PHASE_PARKED:
	case OPERATION_PHASE_LOOKING:
	case OPERATION_PHASE_PREPARING:
	case OPERATION_PHASE_WRITING_AHEAD:
	case OPERATION_PHASE_ACTING:
	case OPERATION_PHASE_WAITING_CHILD:
	case OPERATION_PHASE_WRITING_RESULT:
	case OPERATION_PHASE_UNDO_AHEAD:
	case OPERATION_PHASE_UNDOING:
	case OPERATION_PHASE_UNDO_RESULT:
	case OPERATION_PHASE_ENDING:
	case OPERATION_PHASE_ENDED:
	case OPERATION_PHASE_READY:
	case OPERATION_PHASE_LOOKED:
	case OPERATION_PHASE_PREPARED:
	case OPERATION_PHASE_WRITTEN_AHEAD:
	case OPERATION_PHASE_ACTED:
	case OPERATION_PHASE_RESULT_WRITTEN:
	case OPERATION_PHASE_END:
	case OPERATION_PHASE_END_WRITTEN:
		break;
	}
}
