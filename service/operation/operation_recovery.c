/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a start: what the journal says is unfinished goes on under its old id.
 *
 * A step that was running may have had any part of its effect. It is written down as partial and
 * the planner is asked again with a fresh look: it asks for whatever is still missing. A cordon is
 * an exception: the journal itself says whether the hold stands. A size that was asked for is
 * another: the guest works on it by itself, so it is watched on. Nothing is undone that was not being
 * undone before.
 */
#include "engine_priv.h"

#include <stdio.h>
#include <string.h>

static void free_records(struct operation_record **records, size_t count)
{
	for (size_t i = 0; i < count; i++)
		operation_record_free(records[i]);
	free(records);
}

/* How many ended ones are there to be shown from the start. */
#define RECOVERY_SHOWN 32

/* Takes the records over; they come newest first. */
static int add_all(struct engine *engine, struct operation_record **records, size_t count,
		   struct failure *failure)
{
	int r = 0;

	for (size_t i = count; i-- > 0;)
		if (!engine_find(engine, records[i]->id) &&
		    !engine_add(engine, TAKE_PTR(records[i]), true))
			r = failure_set(failure, ENOMEM, "engine",
					"cannot take up what the journal holds");
	free_records(records, count);
	return r;
}

static int load_drains(struct engine *engine, struct failure *failure)
{
	CLEANUP_FREE struct drain_record *drains = NULL;
	size_t count;
	int r = journal_load_drains(engine->options.journal, &drains, &count, failure);

	if (r < 0)
		return r;
	for (size_t i = count; i-- > 0;)
		if (engine_drain_adopt(engine, &drains[i]) < 0)
			return failure_set(failure, ENOMEM, "engine",
					   "cannot take up what the journal holds");
	return 0;
}

static int by_creation(const void *a, const void *b)
{
	const struct operation *const *first = a, *const *second = b;
	uint64_t x = (*first)->record->created_at_ms, y = (*second)->record->created_at_ms;

	if (x != y)
		return x < y ? -1 : 1;
	/* A child may be made in the same millisecond as its parent. */
	return ((*first)->record->parent[0] != '\0') - ((*second)->record->parent[0] != '\0');
}

static int load(struct engine *engine, struct failure *failure)
{
	struct operation_record **records;
	size_t count;
	int r = load_drains(engine, failure);

	if (r < 0)
		return r;
	r = journal_load_operations(engine->options.journal, true, NULL, SIZE_MAX, &records, &count,
				    failure);
	if (r == 0)
		r = add_all(engine, records, count, failure);
	if (r == 0)
		r = journal_load_operations(engine->options.journal, false, NULL, RECOVERY_SHOWN,
					    &records, &count, failure);
	if (r == 0)
		r = add_all(engine, records, count, failure);
	if (engine->operation_count > 1)
		qsort(engine->operations, engine->operation_count, sizeof(struct operation *),
		      by_creation);
	return r;
}

void operation_recovery_end_step(struct operation *operation, struct step_record *step)
{
	struct engine *engine = operation->engine;

	if (step->state == STEP_STATE_RUNNING) {
		step->state = STEP_STATE_PARTIAL;
		snprintf(step->detail, sizeof(step->detail), "interrupted by a restart");
		remainder_list_add(&step->remainder, REMAINDER_RESTARTED, operation->record->target,
				   0, NULL, "ballastd was restarted while this step ran");
	}
	step->ended_at_ms = engine_now(engine);
	journal_put_step(engine->options.journal, operation->record, step, NULL, NULL);
}

static void resume_step(struct operation *operation, struct step_record *step)
{
	struct engine *engine = operation->engine;
	struct operation *child;

	switch (step->step.kind) {
	case STEP_KIND_CHILD:
		child = engine_find_or_load(engine, step->child_operation);
		if (!child)
			break;
		child->parent = operation;
		if (child->phase == OPERATION_PHASE_ENDED)
			operation_child_ended(child);
		return;
	case STEP_KIND_CORDON:
		if (operation->drain && engine_drain_is_held(operation->drain))
			step->state = STEP_STATE_DONE;
		else
			/* Nothing of it was, so the planner asks for it again: one that failed ends the drain. */
			step->state = STEP_STATE_UNDONE;
		break;
	case STEP_KIND_UNCORDON:
		/* All that it does is written along with its end. */
		step->state = STEP_STATE_UNDONE;
		break;
	case STEP_KIND_UNDO:
		/* Goes on as soon as the operation has its lock. */
		if (operation->course == OPERATION_COURSE_FORWARD)
			return;
		break;
	case STEP_KIND_REQUEST:
	case STEP_KIND_KICK:
	case STEP_KIND_BALLOON:
		/* Taken for over, the driver would be kicked in the middle of its pass: it is watched on instead. */
		if (operation->course == OPERATION_COURSE_FORWARD) {
			step->is_taken_up = true;
			return;
		}
		break;
	case STEP_KIND_ONLINE_POLICY:
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_COMPACT:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
	case STEP_KIND_AWAIT:
	case STEP_KIND_SETTLE:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_HOST_POOL:
	case STEP_KIND_CPUSET:
	case STEP_KIND_NUMATUNE:
	case STEP_KIND_MEMORY_POLICY:
	case STEP_KIND_REPORT_FREE:
	case STEP_KIND_LAZY:
	case STEP_KIND_MOVE_PAGES:
	case STEP_KIND_CPUS:
	case STEP_KIND_PERSIST:
	case STEP_KIND_HOST_HOOKS:
	case STEP_KIND_OFFLINE_BLOCKS:
	case STEP_KIND_ONLINE_BLOCKS:
	case STEP_KIND_SLICE_CPUSETS:
	case STEP_KIND_EJECT:
	case STEP_KIND_PROBE:
	case STEP_KIND_PROOF:
	case STEP_KIND_COUNT:
		break;
	}
	operation_recovery_end_step(operation, step);
}

static void resume(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct operation_record *record = operation->record;

	if (record->state == OPERATION_STATE_CANCELLING) {
		operation->is_cancelled = !failure_is_set(&record->error);
		operation->course =
			record->undo_wanted ? OPERATION_COURSE_UNDO : OPERATION_COURSE_SETTLE;
	} else if (record->deadline_exceeded && !operation_end_continues(record)) {
		operation->course = OPERATION_COURSE_SETTLE;
	}
	record->waiting_for[0] = '\0';
	operation->phase = OPERATION_PHASE_READY;
	engine_keep_find(operation);
	if (operation->drain && record->wish.kind == OPERATION_KIND_UNDRAIN) {
		operation->subject = engine_find_or_load(engine, operation->drain->operation);
		if (operation->subject)
			operation->subject->pins++;
	}
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].state == STEP_STATE_RUNNING)
			resume_step(operation, &record->steps[i]);
}

/* What its parent is about decides what a child does; one without a parent has nobody to end for.
 */
static void resume_child(struct operation *operation)
{
	struct operation *parent = operation->parent;

	if (!operation->record->parent[0])
		return;
	if (!parent || parent->course >= OPERATION_COURSE_QUIT)
		operation_run_divert_child(operation, OPERATION_COURSE_QUIT);
	else if (parent->course == OPERATION_COURSE_SETTLE)
		operation_run_divert_child(operation, operation_end_restores(parent->record) &&
								      !parent->is_cancelled
							      ? OPERATION_COURSE_QUIT
							      : OPERATION_COURSE_SETTLE);
}

static bool has_open(const struct engine *engine, const struct drain_record *drain)
{
	for (size_t i = 0; i < engine->operation_count; i++)
		if (engine->operations[i]->drain == drain &&
		    engine->operations[i]->phase != OPERATION_PHASE_ENDED)
			return true;
	return false;
}

int operation_recovery_run(struct engine *engine, struct failure *failure)
{
	int r = load(engine, failure);

	if (r < 0)
		return r;
	/* A drain's children name it too, but only its own operations decide what becomes of it. */
	for (size_t i = 0; i < engine->operation_count; i++) {
		struct operation *operation = engine->operations[i];
		const struct wish *wish = &operation->record->wish;

		if (wish->kind == OPERATION_KIND_DRAIN || wish->kind == OPERATION_KIND_UNDRAIN)
			operation->drain = engine_drain_find(engine, wish->drain);
	}
	/*
	 * Those that resume() loads are ended ones and come to the front: the rest moves up, none
	 * is missed.
	 */
	for (size_t i = 0; i < engine->operation_count; i++) {
		struct operation *operation = engine->operations[i];

		if (operation->phase == OPERATION_PHASE_ENDED || operation->is_resumed)
			continue;
		operation->is_resumed = true;
		resume(operation);
	}
	for (size_t i = 0; i < engine->operation_count; i++)
		if (engine->operations[i]->phase != OPERATION_PHASE_ENDED)
			resume_child(engine->operations[i]);
	for (size_t i = 0; i < engine->drain_count; i++) {
		struct drain_record *drain = engine->drains[i];

		if ((drain->state == DRAIN_STATE_DRAINING ||
		     drain->state == DRAIN_STATE_UNDRAINING) &&
		    !has_open(engine, drain)) {
			drain->state = DRAIN_STATE_ATTENTION;
			engine_drain_put(engine, drain);
		}
	}
	return 0;
}
