/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an operation ends: what its wish says about failing, which final state is true, and that
 * state made durable before it is told.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A final state that the journal refused is written again after so long. */
#define END_RETRY_MS 1000

/* Was it asked for once more? Then the later try says what there is to say. */
static bool is_tried_again(const struct operation_record *record, size_t eject)
{
	for (size_t i = eject + 1; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_EJECT &&
		    strcmp(record->steps[i].step.dimm, record->steps[eject].step.dimm) == 0)
			return true;
	return false;
}

bool operation_end_is_past_return(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++) {
		const struct step_record *step = &record->steps[i];

		if (step->step.kind == STEP_KIND_EJECT && !step->step.undoable &&
		    !is_tried_again(record, i) &&
		    (step->state == STEP_STATE_RUNNING || step->state == STEP_STATE_DONE ||
		     step->state == STEP_STATE_PARTIAL))
			return true;
	}
	return false;
}

bool operation_end_restores(const struct operation_record *record)
{
	switch (record->wish.on_timeout) {
	case ON_TIMEOUT_RESTORE:
		break;
	case ON_TIMEOUT_DEFAULT:
		if (record->wish.kind != OPERATION_KIND_DRAIN)
			return false;
		break;
	case ON_TIMEOUT_STOP:
	case ON_TIMEOUT_CONTINUE:
	case ON_TIMEOUT_COUNT:
		return false;
	}
	return !operation_end_is_past_return(record);
}

bool operation_end_is_by_time(const struct operation *operation)
{
	const struct operation *asked = operation->is_cancelled && operation->parent ? operation->parent : operation;

	return asked->record->deadline_exceeded && !asked->is_cancelled;
}

bool operation_end_continues(const struct operation_record *record)
{
	return record->wish.on_timeout == ON_TIMEOUT_CONTINUE;
}

/* Steps that bring the wish nearer, and do not only make ready for one that does. */
static const bool step_gains[STEP_KIND_COUNT] = {
	[STEP_KIND_REQUEST] = true,	  [STEP_KIND_KICK] = true,
	[STEP_KIND_BALLOON] = true,	  [STEP_KIND_MOVE_PAGES] = true,
	[STEP_KIND_CORDON] = true,	  [STEP_KIND_UNCORDON] = true,
	[STEP_KIND_CHILD] = true,	  [STEP_KIND_OFFLINE_BLOCKS] = true,
	[STEP_KIND_ONLINE_BLOCKS] = true, [STEP_KIND_EJECT] = true,
	[STEP_KIND_UNDO] = true,	  [STEP_KIND_PROBE] = true,
	[STEP_KIND_PROOF] = true,	  [STEP_KIND_LAZY] = true,
};

static bool has_gained(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++) {
		const struct step_record *step = &record->steps[i];

		if (!step_gains[step->step.kind])
			continue;
		/* A move takes memory out and gives it back: that is no gain of its own, but for what it cannot move. */
		if (step->step.kind == STEP_KIND_REQUEST && record->wish.kind == OPERATION_KIND_MOVE &&
		    !step_replugs(&step->step))
			continue;
		if (step->state == STEP_STATE_DONE &&
		    /* A balloon that is only told to stay where it is has gained nothing by that. */
		    (step->bytes_done > 0 || (step->step.bytes == 0 && step->step.kind != STEP_KIND_BALLOON)))
			return true;
		if (step->state == STEP_STATE_PARTIAL && step->bytes_done > 0)
			return true;
	}
	return false;
}

/*
 * Failed means that nothing of it is left done. A move of which not one page came would else leave a guest whose policy,
 * cpuset and CPUs are elsewhere than its memory.
 */
static bool is_in_vain(const struct operation_record *record)
{
	return record->wish.kind == OPERATION_KIND_MOVE && !has_gained(record) && operation_undo_has_any(record);
}

bool operation_end_has_begun(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind != STEP_KIND_CORDON)
			return true;
	return false;
}

/* ---- the end ---- */

static void set_error(struct operation_record *record)
{
	const struct remainder *first =
		record->remainder.count > 0 ? &record->remainder.items[0] : NULL;

	if (failure_is_set(&record->error))
		return;
	failure_set(&record->error, record->deadline_exceeded ? ETIMEDOUT : EBUSY, record->target,
		    "cannot %s", operation_kind_name(record->wish.kind));
	if (record->deadline_exceeded)
		failure_set_code(&record->error, "deadline_exceeded");
	else
		failure_set_code(&record->error,
				 first ? remainder_code_name(first->code) : "failed");
	if (first) {
		failure_set_cause(
			&record->error, "%s%s%s", first->object, first->object[0] ? ": " : "",
			first->detail[0] ? first->detail : remainder_code_meaning(first->code));
		failure_set_way_out(&record->error, "%s", first->way_out);
	}
}

static void end_written(void *user, int error, const struct failure *failure)
{
	operation_run_answered(user, OPERATION_PHASE_END_WRITTEN, error, failure);
}

/*
 * The record says its final state only when that is durable, so it is lent the state for the
 * writing.
 */
static void write_end(struct operation *operation)
{
	struct journal *journal = operation->engine->options.journal;
	struct operation_record *record = operation->record;
	enum operation_state state = record->state;
	int r;

	operation_run_await(operation, OPERATION_PHASE_ENDING);
	journal_begin(journal);
	for (size_t i = 0; i < record->step_count && !operation_end_has_begun(record); i++)
		journal_put_step(journal, record, &record->steps[i], NULL, NULL);
	if (operation->drain) {
		engine_drain_set_end(operation->engine, operation->drain, record,
				     operation->final_state);
		engine_drain_put(operation->engine, operation->drain);
	}
	record->state = operation->final_state;
	engine_keep_end(operation);
	r = journal_put_operation(journal, record, end_written, operation);
	record->state = state;
	journal_end(journal);
	if (r < 0)
		end_written(operation, r, NULL);
}

void operation_end_as(struct operation *operation, enum operation_state state)
{
	struct operation_record *record = operation->record;

	if (state == OPERATION_STATE_SUCCEEDED)
		record->progress.done_bytes = record->progress.total_bytes;
	record->progress.eta_s = state == OPERATION_STATE_SUCCEEDED ? 0 : UINT32_MAX;
	if (state == OPERATION_STATE_FAILED)
		set_error(record);
	record->ended_at_ms = engine_now(operation->engine);
	record->waiting_for[0] = '\0';
	record->revision++;
	operation->final_state = state;
	operation->cut_at_ms = 0;
	write_end(operation);
}

static void on_end_written(struct operation *operation)
{
	struct engine *engine = operation->engine;

	/*
	 * Told even where it cannot be written, with the write tried for as long as it takes:
	 * callers must not hang.
	 */
	operation_run_enter(operation, operation->final_state);
	if (operation->error) {
		operation_run_park(operation, OPERATION_PHASE_END,
				   engine_now(engine) + END_RETRY_MS);
		return;
	}
	operation->phase = OPERATION_PHASE_ENDED;
	if (operation->drain)
		engine_tell_drain(engine, operation->drain);
	if (operation->subject) {
		operation->subject->pins--;
		operation->subject = NULL;
	}
	operation_undo_list_done(operation);
	operation->snapshot = snapshot_free(operation->snapshot);
	if ((!operation->keeps_locks && operation_lock_release_all(&engine->locks, operation)) || operation->kept_for)
		operation_run_wake_parked(engine);
	engine_keep_let_go(operation);
	if (operation->parent)
		operation_child_ended(operation);
}

void operation_end_give_up(struct operation *operation)
{
	struct operation_record *record = operation->record;

	/* What runs comes to its end first, and then it is decided anew. */
	if (operation_child_is_awaited(operation)) {
		failure_clear(&record->error);
		record->remainder.count = 0;
		operation_child_wait(operation);
		return;
	}
	if (operation->is_cancelled) {
		if (!operation_end_is_by_time(operation))
			remainder_list_recode(&record->remainder, REMAINDER_DEADLINE, REMAINDER_CANCELLED,
					      "cancelled before it was done");
		operation_end_as(operation, OPERATION_STATE_CANCELLED);
		return;
	}
	if ((operation_end_restores(record) || is_in_vain(record)) && !operation->keeps_locks) {
		/* The error tells recovery that this undo ends in failed, not in cancelled. */
		set_error(record);
		record->undo_wanted = true;
		operation->course = OPERATION_COURSE_UNDO;
		operation_run_enter(operation, OPERATION_STATE_CANCELLING);
		operation_run_ready(operation, OPERATION_PHASE_READY);
		return;
	}
	operation_end_as(operation, has_gained(record) && !operation->keeps_locks
					    ? OPERATION_STATE_INCOMPLETE
					    : OPERATION_STATE_FAILED);
}

/* Of a drain that only has that. */
static void release_cordon(struct operation *operation)
{
	struct operation_record *record = operation->record;

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].state == STEP_STATE_DONE)
			record->steps[i].state = STEP_STATE_UNDONE;
	if (operation->drain && record->wish.kind == OPERATION_KIND_DRAIN)
		engine_drain_set_hold(operation->drain, false);
}

/* What ends before it has begun: nothing was changed, so there is nothing to look at. */
void operation_end_unbegun(struct operation *operation)
{
	struct operation_record *record = operation->record;

	release_cordon(operation);
	if (operation->is_cancelled) {
		record->undone = record->undo_wanted;
		operation_end_as(operation, OPERATION_STATE_CANCELLED);
		return;
	}
	if (record->remainder.count == 0)
		remainder_list_add(&record->remainder, REMAINDER_DEADLINE, record->target, 0, NULL,
				   "its time ended before it began%s%s",
				   record->waiting_for[0] ? ": it waited for " : "",
				   record->waiting_for);
	record->undone = true;
	operation_end_as(operation, OPERATION_STATE_FAILED);
}

void operation_end_turn(struct operation *operation)
{
	if (operation->phase == OPERATION_PHASE_END)
		write_end(operation);
	else
		on_end_written(operation);
}
