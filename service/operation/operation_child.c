/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that are whole operations of their own. Those of different guests may run beside each other: as
 * soon as one has begun the planner is asked again, if it has said so, and it sees by the history
 * what runs.
 *
 *	take -> write ahead, with the child [journal] -> begin --+--> ready: look, decide, take another
 *	                                                         |
 *	                                                         +--> waiting for a child [its end]
 *	                                                                    |
 *	ready <- write the result of its step [journal] <- collect <--------+
 *
 * A child may end at any time, also while its parent looks, or writes down the next. Then its step has
 * the result at once, and goes to the journal when the parent comes by; a restart before that finds
 * a step that runs, and its child ended. Nothing but another child begins while one runs, and
 * no operation ends or is undone before all of its children have ended.
 *
 * A step that undoes another is waited for in the same way, and several may run beside each other; what it does is a list of
 * its own (operation_undo.c) and no operation. A restart before its result is written finds it running, and begins it again.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_json.h"

/*
 * A child is born in the transaction that says its parent's step runs: neither is ever seen without
 * the other.
 */
int operation_child_create(struct operation *operation, struct step_record *step)
{
	struct engine *engine = operation->engine;
	struct operation_record *parent = operation->record;
	struct operation_record *record = operation_record_new();
	struct operation *child;

	if (!record)
		return -ENOMEM;
	if (engine_make_id("op", record->id) < 0) {
		operation_record_free(record);
		return -EIO;
	}
	record->wish = *step->step.child;
	snprintf(record->parent, sizeof(record->parent), "%s", parent->id);
	snprintf(record->guest_name, sizeof(record->guest_name), "%s", step->step.guest_name);
	snprintf(record->actor, sizeof(record->actor), "%s", parent->actor);
	engine_text_target(record);
	record->state = OPERATION_STATE_PENDING;
	record->revision = 1;
	record->created_at_ms = engine_now(engine);
	record->progress.total_bytes = step->step.bytes;
	record->progress.eta_s = UINT32_MAX;
	/* One that goes on past its own time does so by its children. */
	record->deadline_ms = operation_end_continues(parent) ? 0 : parent->deadline_ms;
	if (record->wish.timeout_s || step->step.timeout_ms) {
		uint64_t timeout_ms = record->wish.timeout_s
					      ? (uint64_t)record->wish.timeout_s * 1000
					      : step->step.timeout_ms;

		if (!record->deadline_ms ||
		    record->deadline_ms > record->created_at_ms + timeout_ms)
			record->deadline_ms = record->created_at_ms + timeout_ms;
	}
	child = engine_add(engine, record, true);
	if (!child)
		return -ENOMEM;
	child->phase = OPERATION_PHASE_CREATING;
	child->parent = operation;
	snprintf(step->child_operation, sizeof(step->child_operation), "%s", record->id);
	return 0;
}

void operation_child_begin(struct operation *operation, const struct step_record *step)
{
	struct operation *child = engine_find(operation->engine, step->child_operation);

	operation_run_ready(child, OPERATION_PHASE_READY);
	if (operation->course != operation->step_course) {
		child->is_cancelled = true;
		operation_run_enter(child, OPERATION_STATE_CANCELLING);
		operation_run_divert(child, OPERATION_COURSE_QUIT);
	}
	operation_child_go_on(operation);
}

/* ---- those that run ---- */

struct operation *operation_child_next(const struct operation *operation, const struct operation *after)
{
	const struct engine *engine = operation->engine;
	size_t i = 0;

	while (after && engine->operations[i++] != after)
		;
	for (; i < engine->operation_count; i++)
		if (engine->operations[i]->parent == operation)
			return engine->operations[i];
	return NULL;
}

struct step_record *operation_child_step(const struct operation *child)
{
	const struct operation_record *record = child->parent->record;

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].state == STEP_STATE_RUNNING &&
		    strcmp(record->steps[i].child_operation, child->record->id) == 0)
			return &record->steps[i];
	return NULL;
}

void operation_child_divert_all(struct operation *operation, enum operation_course course)
{
	/* One that is not begun yet is diverted when it is. */
	for (struct operation *child = NULL; (child = operation_child_next(operation, child));)
		if (child->phase != OPERATION_PHASE_CREATING)
			operation_run_divert_child(child, course);
}

/* ---- those that have ended ---- */

static bool is_ended(const struct step_record *step)
{
	return (step->step.kind == STEP_KIND_CHILD || step->step.kind == STEP_KIND_UNDO) && step->ended_at_ms == 0 &&
	       (step->state == STEP_STATE_DONE || step->state == STEP_STATE_PARTIAL ||
		step->state == STEP_STATE_FAILED);
}

bool operation_child_has_ended(const struct operation *operation)
{
	const struct operation_record *record = operation->record;

	for (size_t i = 0; i < record->step_count; i++)
		if (is_ended(&record->steps[i]))
			return true;
	return false;
}

bool operation_child_is_awaited(const struct operation *operation)
{
	return operation_child_next(operation, NULL) || operation_undo_is_awaited(operation) ||
	       operation_child_has_ended(operation);
}

bool operation_child_collect(struct operation *operation)
{
	const struct operation_record *record = operation->record;

	for (size_t i = 0; i < record->step_count; i++) {
		if (!is_ended(&record->steps[i]))
			continue;
		operation->step_index = i;
		operation->error = 0;
		operation->phase = OPERATION_PHASE_ACTED;
		return true;
	}
	return false;
}

void operation_child_wait(struct operation *operation)
{
	operation->phase = operation_child_has_ended(operation) ? OPERATION_PHASE_READY
								: OPERATION_PHASE_WAITING_CHILD;
}

void operation_child_go_on(struct operation *operation)
{
	if (operation->asks_again)
		operation->phase = OPERATION_PHASE_READY;
	else
		operation_child_wait(operation);
}

void operation_child_come_by(struct operation *operation)
{
	/* Those that go on have a rate of their own. */
	operation->rate_at_ms = 0;
	/* In any other phase it comes by when that is done. */
	if (operation->phase == OPERATION_PHASE_WAITING_CHILD ||
	    (operation->phase == OPERATION_PHASE_PARKED && operation->parked_phase == OPERATION_PHASE_READY))
		operation_run_ready(operation, OPERATION_PHASE_READY);
}

/* Is anything of it left that an undo would put back? */
static bool has_left(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].state == STEP_STATE_DONE ||
		    record->steps[i].state == STEP_STATE_PARTIAL)
			return true;
	return false;
}

/* What the child's guest felt stands with the step too, so that its parent can tell it. */
static void take_felt(struct step_record *step, const struct operation_record *child)
{
	json_t *felt = model_json_felt(child), *result = felt ? json_pack("{s:o}", "guest", felt) : NULL;

	free(step->result);
	step->result = result ? json_dumps(result, JSON_COMPACT) : NULL;
	json_decref(result);
}

static enum step_state state_of(const struct operation_record *record)
{
	switch (record->state) {
	case OPERATION_STATE_SUCCEEDED:
		return STEP_STATE_DONE;
	case OPERATION_STATE_INCOMPLETE:
		return STEP_STATE_PARTIAL;
	case OPERATION_STATE_FAILED:
	case OPERATION_STATE_CANCELLED:
		if (!record->undone && has_left(record))
			return STEP_STATE_PARTIAL;
		break;
	case OPERATION_STATE_PENDING:
	case OPERATION_STATE_RUNNING:
	case OPERATION_STATE_PAUSED:
	case OPERATION_STATE_CANCELLING:
	case OPERATION_STATE_COUNT:
		break;
	}
	return STEP_STATE_FAILED;
}

void operation_child_tell(struct step_record *step, const struct operation_record *record)
{
	step->state = state_of(record);
	step->bytes_done = record->undone ? 0 : record->progress.done_bytes;
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].longest_pause_us > step->longest_pause_us)
			step->longest_pause_us = record->steps[i].longest_pause_us;
	take_felt(step, record);
	step->remainder = record->remainder;
	if (failure_is_set(&record->error))
		snprintf(step->detail, sizeof(step->detail), "%.159s", record->error.cause);
	else
		step->detail[0] = '\0';
}

void operation_child_ended(struct operation *child)
{
	struct operation *parent = child->parent;
	struct step_record *step = operation_child_step(child);

	child->parent = NULL;
	operation_child_tell(step, child->record);
	parent->keeps_locks = parent->keeps_locks || child->keeps_locks;
	operation_child_come_by(parent);
}
