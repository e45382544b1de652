/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of an operation (who ends each wait stands in brackets):
 *
 *	take -> locks -> prepare [executor] -> write ahead [journal]
 *	                                            |
 *	                                            v
 *	ready <- write the result [journal] <- act [executor; operation_child.c]
 *
 * What is written ahead says "running" and holds the values to be replaced: from then on a crash
 * leaves a step that recovery takes for begun. Nothing begins while the journal refuses to write;
 * a result that it refuses is written again until it takes it.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What must be written is tried again after so long. */
#define STEP_RETRY_MS 1000
/* After the deadline a step that puts things in order has no longer than that. */
#define STEP_SETTLE_MS 30000
/* An executor keeps a step's own time; this ends one that does not. */
#define STEP_GRACE_MS 2000
/* No planner asks so often for what failed: one that goes in circles is stopped. */
#define STEP_SAME_FAILURES_MAX 3
/* Shorter spans make a rate that nobody can read. */
#define STEP_RATE_MS 250

static void drop_step(struct operation *operation)
{
	step_record_done(operation_run_step(operation));
	operation->record->step_count--;
	operation->step_index = operation->record->step_count ? operation->record->step_count - 1 : 0;
}

/* No plan is that long. */
static bool has_all_steps(const struct operation *operation)
{
	const struct operation_record *record = operation->record;
	struct plan_input input = {.snapshot = operation->snapshot,
				   .history = record->steps,
				   .history_count = record->step_count,
				   .subject_count = operation->subject ? operation->subject->record->step_count : 0};

	return record->step_count >= plan_steps_max(&input);
}

/* A planner that asks three times running for what failed is told that it has failed. */
static bool is_going_in_circles(struct operation *operation, const struct step *step)
{
	struct operation_record *record = operation->record;
	char wanted[160], last[160];
	unsigned failures = 0;

	if (has_all_steps(operation))
		return true;
	step_describe(step, wanted);
	for (size_t i = record->step_count; i-- > 0; failures++) {
		const struct step_record *before = &record->steps[i];

		if (before->state != STEP_STATE_FAILED || before->step.kind != step->kind ||
		    strcmp(step_describe(&before->step, last), wanted) != 0)
			break;
	}
	return failures >= STEP_SAME_FAILURES_MAX;
}

static bool step_needs_prepare(enum step_kind kind)
{
	return kind != STEP_KIND_CORDON && kind != STEP_KIND_UNCORDON && kind != STEP_KIND_CHILD &&
	       kind != STEP_KIND_UNDO;
}

static void prepared(void *token, int error, const char *before, const struct failure *failure)
{
	struct operation *operation = token;

	if (!error && before) {
		operation->before = strdup(before);
		error = operation->before ? 0 : -ENOMEM;
	}
	operation_run_answered(operation, OPERATION_PHASE_PREPARED, error, failure);
}

void operation_step_take(struct operation *operation, const struct step *step)
{
	const struct executor *executor = operation->engine->options.executor;
	struct operation_record *record = operation->record;
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
	struct step_record *taken;

	if (is_going_in_circles(operation, step)) {
		if (record->step_count > 0)
			remainder_list_append(&record->remainder,
					      &record->steps[record->step_count - 1].remainder);
		operation_end_give_up(operation);
		return;
	}
	/* It looks again when it has them: what it waited for has changed the world. */
	operation->phase = OPERATION_PHASE_READY;
	if (!operation_run_take_locks(operation, locks, operation_lock_of_step(step, locks), true))
		return;
	taken = operation_record_add_step(record, step);
	if (!taken) {
		operation_run_release_step(operation, step);
		failure_set(&record->error, ENOMEM, record->target, "cannot go on");
		operation_end_give_up(operation);
		return;
	}
	operation->step_index = record->step_count - 1;
	operation->step_course = operation->course;
	operation->error = 0;
	free(operation->before);
	operation->before = NULL;
	engine_drain_set_stage(operation, &taken->step);
	if (!step_needs_prepare(step->kind)) {
		operation->phase = OPERATION_PHASE_PREPARED;
		return;
	}
	operation_run_await(operation, OPERATION_PHASE_PREPARING);
	executor->prepare(executor->user, record, taken, operation->snapshot, prepared, operation);
}

/* ---- act ---- */

static void ahead_written(void *user, int error, const struct failure *failure)
{
	operation_run_answered(user, OPERATION_PHASE_WRITTEN_AHEAD, error, failure);
}

static void write_ahead(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct journal *journal = engine->options.journal;
	struct operation_record *record = operation->record;
	struct step_record *step = operation_run_step(operation);
	int r = 0;

	step->started_at_ms = engine_now(engine);
	if (engine->stopping || operation->course != operation->step_course) {
		operation_run_release_step(operation, &step->step);
		drop_step(operation);
		operation->phase = OPERATION_PHASE_READY;
		return;
	}
	if (operation->error) {
		/*
		 * Not begun, and still told to the planner: it must not ask for it as if nothing
		 * had been.
		 */
		int code = remainder_code_from_name(operation->failure.code);

		step->state = STEP_STATE_FAILED;
		snprintf(step->detail, sizeof(step->detail), "%.159s", operation->failure.cause);
		remainder_list_add(&step->remainder,
				   code > 0 ? (enum remainder_code)code : REMAINDER_INVALID,
				   operation->failure.object, 0, NULL, "%s: %s",
				   operation->failure.action, operation->failure.cause);
		operation->phase = OPERATION_PHASE_ACTED;
		return;
	}
	step->state = STEP_STATE_RUNNING;
	step->before = TAKE_PTR(operation->before);
	operation->cancel_asked = false;
	record->revision++;
	operation_run_await(operation, OPERATION_PHASE_WRITING_AHEAD);
	journal_begin(journal);
	if (step->step.kind == STEP_KIND_CHILD) {
		r = step->step.child ? operation_child_create(operation, step) : -EINVAL;
		if (r == 0)
			r = journal_put_operation(journal, engine_find(engine, step->child_operation)->record,
						  NULL, NULL);
	}
	if (r == 0)
		r = journal_put_operation(journal, record, NULL, NULL);
	if (r == 0)
		r = journal_put_step(journal, record, step, ahead_written, operation);
	journal_end(journal);
	if (r < 0)
		ahead_written(operation, r, NULL);
}

static void finished(void *token, const struct executor_outcome *outcome)
{
	struct operation *operation = token;
	struct step_record *step = operation_run_step(operation);

	/*
	 * A step that was ended because the daemon stops goes on with the next daemon: for the
	 * journal it runs.
	 */
	if (operation->engine->stopping && outcome->state != STEP_STATE_DONE &&
	    !outcome->kernel_stuck) {
		operation_run_answered(operation, OPERATION_PHASE_READY, 0, NULL);
		operation_run_park(operation, OPERATION_PHASE_READY, 0);
		return;
	}
	step->state = outcome->state;
	step->bytes_done = outcome->bytes_done;
	step->reached_bytes = outcome->reached_bytes;
	step->longest_pause_us = outcome->longest_pause_us;
	step->flat = outcome->flat;
	memcpy(step->detail, outcome->detail, sizeof(step->detail));
	step->remainder = outcome->remainder;
	if (operation_end_is_by_time(operation))
		remainder_list_recode(&step->remainder, REMAINDER_CANCELLED, REMAINDER_DEADLINE, "the time was up");
	step->result = outcome->result ? strdup(outcome->result) : NULL;
	engine_stuck_note(operation, outcome);
	operation_run_answered(operation, OPERATION_PHASE_ACTED, 0, NULL);
}

static void begin_undo(struct operation *operation, size_t index)
{
	struct step_record *step = &operation->record->steps[index];

	if (operation_undo_list_step(operation, index) == 0)
		return;
	step->state = STEP_STATE_FAILED;
	snprintf(step->detail, sizeof(step->detail), "the step to be undone is not in the journal");
	remainder_list_add(&step->remainder, REMAINDER_UNDO_FAILED, operation->record->target, 0,
			   NULL, "step %u of %s is not in the journal", step->step.undo_n,
			   step->step.undo_operation);
}

bool operation_step_resume_undos(struct operation *operation)
{
	const struct operation_record *record = operation->record;
	bool any = false;

	for (size_t i = 0; i < record->step_count; i++) {
		if (record->steps[i].step.kind != STEP_KIND_UNDO || record->steps[i].state != STEP_STATE_RUNNING ||
		    operation_undo_has_list(operation, i))
			continue;
		begin_undo(operation, i);
		any = true;
	}
	if (any)
		operation_child_wait(operation);
	return any;
}

/* What a move takes out and gives back is no part of what it moves, but for what it cannot move. */
static bool step_counts(const struct operation_record *record, const struct step *step)
{
	enum step_kind kind = step->kind;

	if (kind == STEP_KIND_REQUEST || kind == STEP_KIND_KICK || kind == STEP_KIND_BALLOON)
		return record->wish.kind != OPERATION_KIND_MOVE || step_replugs(step);
	return kind == STEP_KIND_LAZY || kind == STEP_KIND_MOVE_PAGES || kind == STEP_KIND_CHILD ||
	       kind == STEP_KIND_OFFLINE_BLOCKS;
}

/* Blocks go offline at another rate than pages move, so a rate is that of one kind of step alone. */
static void begin_rate(struct operation *operation)
{
	struct operation_record *record = operation->record;
	const struct step *step = &operation_run_step(operation)->step;

	operation->rate_at_ms = 0;
	for (size_t i = record->step_count - 1; step_counts(record, step) && i-- > 0;) {
		if (!step_counts(record, &record->steps[i].step))
			continue;
		if (record->steps[i].step.kind != step->kind)
			record->progress.bytes_per_s = 0;
		return;
	}
}

static void act(struct operation *operation)
{
	struct engine *engine = operation->engine;
	const struct executor *executor = engine->options.executor;
	struct step_record *step = operation_run_step(operation);
	uint32_t timeout_ms = step_timeout_ms(&step->step);
	struct operation *child;

	if (operation->error) {
		if (failure_is_set(&operation->failure))
			operation->record->error = operation->failure;
		else
			failure_set(&operation->record->error, operation->error,
				    operation->record->target, "cannot write the journal");
		child = step->child_operation[0] ? engine_find(engine, step->child_operation) : NULL;
		if (child)
			engine_remove(engine, child);
		operation_run_release_step(operation, &step->step);
		drop_step(operation);
		operation_end_give_up(operation);
		return;
	}
	if (engine->stopping) {
		operation_run_park(operation, OPERATION_PHASE_READY, 0);
		return;
	}
	begin_rate(operation);
	engine_tell(engine, operation);
	if (operation->course != operation->step_course && step->step.kind != STEP_KIND_CHILD) {
		step->state = STEP_STATE_FAILED;
		snprintf(step->detail, sizeof(step->detail), "cancelled before it began");
		operation->phase = OPERATION_PHASE_ACTED;
		return;
	}
	switch (step->step.kind) {
	case STEP_KIND_CORDON:
	case STEP_KIND_UNCORDON:
		if (operation->drain) {
			engine_drain_set_hold(operation->drain,
					      step->step.kind == STEP_KIND_CORDON);
			engine_tell_drain(engine, operation->drain);
		}
		step->state = STEP_STATE_DONE;
		operation->phase = OPERATION_PHASE_ACTED;
		return;
	case STEP_KIND_CHILD:
		operation_child_begin(operation, step);
		return;
	case STEP_KIND_UNDO:
		begin_undo(operation, operation->step_index);
		operation_child_go_on(operation);
		return;
	case STEP_KIND_ONLINE_POLICY:
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_REQUEST:
	case STEP_KIND_COMPACT:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
	case STEP_KIND_KICK:
	case STEP_KIND_AWAIT:
	case STEP_KIND_SETTLE:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_BALLOON:
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
	if (timeout_ms)
		operation->cut_at_ms = step->started_at_ms + timeout_ms + STEP_GRACE_MS;
	else if (operation->course == OPERATION_COURSE_SETTLE)
		operation->cut_at_ms = step->started_at_ms + STEP_SETTLE_MS;
	operation_run_await(operation, OPERATION_PHASE_ACTING);
	executor->start(executor->user, operation->record, step, operation->snapshot,
			operation_step_progress, finished, operation);
	if (operation->phase == OPERATION_PHASE_ACTING &&
	    operation->record->state == OPERATION_STATE_PAUSED)
		executor->pause(executor->user, operation, true);
}

static uint64_t counted_bytes(const struct operation_record *record)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < record->step_count; i++)
		if (step_counts(record, &record->steps[i].step))
			bytes += record->steps[i].bytes_done;
	return bytes;
}

static void set_progress(struct operation *operation, uint64_t bytes)
{
	struct operation_progress *progress = &operation->record->progress;

	progress->done_bytes = bytes < progress->total_bytes ? bytes : progress->total_bytes;
}

static void measure_rate(struct operation *operation, uint64_t done_bytes)
{
	struct operation_progress *progress = &operation->record->progress;
	uint64_t now = engine_now(operation->engine), rate;

	if (operation->rate_at_ms != 0) {
		if (now < operation->rate_at_ms + STEP_RATE_MS || done_bytes < operation->rate_bytes)
			return;
		rate = (done_bytes - operation->rate_bytes) * 1000 / (now - operation->rate_at_ms);
		progress->bytes_per_s =
			progress->bytes_per_s ? (progress->bytes_per_s * 7 + rate * 3) / 10 : rate;
	}
	operation->rate_at_ms = now;
	operation->rate_bytes = done_bytes;
}

/* Nobody knows how long that takes which is more than was planned. */
static void set_eta(struct operation_progress *progress)
{
	uint64_t left = progress->total_bytes - progress->done_bytes;

	progress->eta_s = UINT32_MAX;
	if (left > 0 && progress->bytes_per_s > 0 && left / progress->bytes_per_s < UINT32_MAX)
		progress->eta_s = (uint32_t)(left / progress->bytes_per_s);
}

static void note_progress(struct operation *operation, struct step_record *step, uint64_t done_bytes,
			  uint64_t total_bytes, const char *detail)
{
	struct operation_record *record = operation->record;
	struct operation_progress *progress = &record->progress;

	step->bytes_done = done_bytes;
	if (detail)
		snprintf(step->detail, sizeof(step->detail), "%s", detail);
	if (step_counts(record, &step->step)) {
		if (progress->total_bytes == 0)
			progress->total_bytes = total_bytes;
		/* Of all of them: children may run beside each other. */
		done_bytes = counted_bytes(record);
		set_progress(operation, done_bytes);
		measure_rate(operation, done_bytes);
	}
	set_eta(progress);
	record->revision++;
	engine_tell(operation->engine, operation);
	step = operation->parent ? operation_child_step(operation) : NULL;
	if (step)
		note_progress(operation->parent, step, progress->done_bytes, progress->total_bytes, detail);
}

void operation_step_progress(void *token, uint64_t done_bytes, uint64_t total_bytes,
			     const char *detail)
{
	struct operation *operation = token;

	if (operation->phase == OPERATION_PHASE_ACTING && operation->record->step_count > 0)
		note_progress(operation, operation_run_step(operation), done_bytes, total_bytes, detail);
}

static void result_written(void *user, int error, const struct failure *failure)
{
	operation_run_answered(user, OPERATION_PHASE_RESULT_WRITTEN, error, failure);
}

static void write_result(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct journal *journal = engine->options.journal;
	struct operation_record *record = operation->record;
	struct step_record *step = operation_run_step(operation);
	int r = 0;

	operation->cut_at_ms = 0;
	if (step->ended_at_ms == 0)
		step->ended_at_ms = engine_now(engine);
	set_progress(operation, counted_bytes(record));
	record->revision++;
	operation_run_await(operation, OPERATION_PHASE_WRITING_RESULT);
	journal_begin(journal);
	/* With the hold, so that after a kill either both are gone or none. */
	if (step->step.kind == STEP_KIND_UNCORDON && step->state == STEP_STATE_DONE && operation->subject)
		r = engine_drain_give_up(engine, operation->drain);
	if (operation->drain)
		engine_drain_put(engine, operation->drain);
	journal_put_operation(journal, record, NULL, NULL);
	if (r == 0)
		r = journal_put_step(journal, record, step, result_written, operation);
	journal_end(journal);
	if (r < 0)
		result_written(operation, r, NULL);
}

static void end_stuck(struct operation *operation)
{
	struct operation_record *record = operation->record;
	const struct step_record *step = operation_run_step(operation);

	/* Nothing will be put back, so what other children have done is left in order. */
	if (operation_child_is_awaited(operation)) {
		operation_run_divert(operation, OPERATION_COURSE_SETTLE);
		return;
	}
	for (size_t i = 0; i < record->step_count; i++)
		if (&record->steps[i] == step ||
		    remainder_list_has(&record->steps[i].remainder, REMAINDER_KERNEL_STUCK))
			remainder_list_append(&record->remainder, &record->steps[i].remainder);
	if (!remainder_list_has(&record->remainder, REMAINDER_KERNEL_STUCK))
		remainder_list_add(&record->remainder, REMAINDER_KERNEL_STUCK, record->target, 0, NULL,
				   "a kernel call of step %u does not come back", step->n);
	plan_tell_taken(record->steps, record->step_count, &record->remainder);
	failure_clear(&record->error);
	operation_end_as(operation, OPERATION_STATE_FAILED);
}

static void on_result_written(struct operation *operation)
{
	if (operation->error) {
		operation_run_park(operation, OPERATION_PHASE_ACTED,
				   engine_now(operation->engine) + STEP_RETRY_MS);
		return;
	}
	operation->phase = OPERATION_PHASE_READY;
	engine_tell(operation->engine, operation);
	if (operation->keeps_locks) {
		end_stuck(operation);
		return;
	}
	operation_run_release_step(operation, &operation_run_step(operation)->step);
}

void operation_step_turn(struct operation *operation)
{
	switch (operation->phase) {
	case OPERATION_PHASE_PREPARED:
		write_ahead(operation);
		break;
	case OPERATION_PHASE_WRITTEN_AHEAD:
		act(operation);
		break;
	case OPERATION_PHASE_ACTED:
		write_result(operation);
		break;
	case OPERATION_PHASE_RESULT_WRITTEN:
		on_result_written(operation);
		break;
	case OPERATION_PHASE_CREATING:
	case OPERATION_PHASE_PARKED:
	case OPERATION_PHASE_LOOKING:
	case OPERATION_PHASE_PREPARING:
	case OPERATION_PHASE_WRITING_AHEAD:
	case OPERATION_PHASE_ACTING:
	case OPERATION_PHASE_WAITING_CHILD:
	case OPERATION_PHASE_WRITING_RESULT:
	case OPERATION_PHASE_UNDOING:
	case OPERATION_PHASE_ENDING:
	case OPERATION_PHASE_ENDED:
	case OPERATION_PHASE_READY:
	case OPERATION_PHASE_LOOKED:
	case OPERATION_PHASE_END:
	case OPERATION_PHASE_END_WRITTEN:
		break;
	}
}
