/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one operation (who may trigger an arrow stands in brackets):
 *
 *	          [engine: has its lock, looked]        [caller]
 *	pending --------------------------> running <-----------> paused <---> pending [caller]
 *	  | |                                 | |                   |
 *	  | | [caller; the parent's end]      | | [caller; engine:  | [caller]
 *	  | +-----------------------------+   | |  on_timeout is    |
 *	  |                               v   | v  restore]         |
 *	  | [deadline, unbegun]      cancelling <-------------------+
 *	  |                               |   |
 *	  |              [engine: settled |   | [planner: done, or gave up;
 *	  |                    or undone] |   |  engine: stuck kernel call]
 *	  v                               v   v
 *	failed            cancelled, failed   succeeded, incomplete, failed
 *
 * Forward and settling, one turn after another: ready -> look -> decide -> a step
 * (operation_step.c) -> ready. Undoing: operation_undo.c. The end: operation_end.c.
 */
#include "engine_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A look that failed is tried again after so long, and so often. */
#define OPERATION_RETRY_MS   1000
#define OPERATION_DOWN_TRIES 30
/*
 * After the deadline a planner puts in order what it must with these few steps: each memory device of
 * a guest and its kick, and what serves a move, once.
 */
#define OPERATION_SETTLE_STEPS_MAX (2 * SNAPSHOT_DEVICES_MAX + 8)

#define ARROW(state) (1u << OPERATION_STATE_##state)

static const unsigned arrows[OPERATION_STATE_COUNT] = {
	[OPERATION_STATE_PENDING] =
		ARROW(RUNNING) | ARROW(PAUSED) | ARROW(CANCELLING) | ARROW(FAILED),
	[OPERATION_STATE_RUNNING] = ARROW(PAUSED) | ARROW(CANCELLING) | ARROW(SUCCEEDED) |
				    ARROW(INCOMPLETE) | ARROW(FAILED),
	[OPERATION_STATE_PAUSED] =
		ARROW(PENDING) | ARROW(RUNNING) | ARROW(CANCELLING) | ARROW(INCOMPLETE) | ARROW(FAILED),
	[OPERATION_STATE_CANCELLING] = ARROW(CANCELLED) | ARROW(FAILED),
};

bool operation_run_has_turn(const struct operation *operation)
{
	return operation->phase >= OPERATION_PHASE_READY;
}

void operation_run_ready(struct operation *operation, enum operation_phase phase)
{
	operation->phase = phase;
	operation->not_before_ms = 0;
	engine_wake(operation->engine);
}

void operation_run_park(struct operation *operation, enum operation_phase next, uint64_t until_ms)
{
	operation->phase = OPERATION_PHASE_PARKED;
	operation->parked_phase = next;
	operation->not_before_ms = until_ms;
}

void operation_run_await(struct operation *operation, enum operation_phase phase)
{
	operation->phase = phase;
	operation->engine->calls++;
}

void operation_run_answered(struct operation *operation, enum operation_phase phase, int error,
			    const struct failure *failure)
{
	operation->engine->calls--;
	operation->error = error;
	failure_clear(&operation->failure);
	if (error && failure)
		operation->failure = *failure;
	operation_run_ready(operation, phase);
}

bool operation_run_is_ending(const struct operation *operation)
{
	return operation->phase == OPERATION_PHASE_ENDED || operation->record->ended_at_ms != 0;
}

static void put(struct operation *operation)
{
	/* Without a callback: what it changes is written again with the next step at the latest. */
	journal_put_operation(operation->engine->options.journal, operation->record, NULL, NULL);
}

void operation_run_enter(struct operation *operation, enum operation_state state)
{
	struct operation_record *record = operation->record;
	bool is_arrow;

	if (record->state == state)
		return;
	is_arrow = (arrows[record->state] & (1u << state)) != 0;
	assert(is_arrow);
	(void)is_arrow;
	record->revision++;
	record->state = state;
	if (operation_state_is_final(state)) {
		engine_tell(operation->engine, operation);
		return;
	}
	if (state == OPERATION_STATE_RUNNING && record->started_at_ms == 0)
		record->started_at_ms = engine_now(operation->engine);
	if (operation->phase != OPERATION_PHASE_CREATING)
		put(operation);
	engine_tell(operation->engine, operation);
}

struct step_record *operation_run_step(const struct operation *operation)
{
	return &operation->record->steps[operation->step_index];
}

unsigned operation_run_threads_beside(const struct engine *engine, const struct operation *except)
{
	unsigned threads = 0;

	for (size_t i = 0; i < engine->operation_count; i++) {
		const struct operation_record *record = engine->operations[i]->record;

		/* Steps keep their records when the operation has ended, in states of their own. */
		if (engine->operations[i] == except || record->state == OPERATION_STATE_PAUSED)
			continue;
		for (size_t j = 0; j < record->step_count; j++) {
			const struct step_record *step = &record->steps[j];

			if (step->step.kind == STEP_KIND_MOVE_PAGES &&
			    (step->state == STEP_STATE_PENDING || step->state == STEP_STATE_RUNNING ||
			     step->state == STEP_STATE_UNDOING))
				threads += step->step.workers ? step->step.workers : 1;
		}
	}
	return threads;
}

const struct wish **operation_run_resizes_beside(const struct engine *engine, const struct operation *except,
						 size_t *ret_count)
{
	const struct wish **wishes = calloc(engine->operation_count + 1, sizeof(*wishes));
	size_t count = 0;

	for (size_t i = 0; wishes && i < engine->operation_count; i++) {
		const struct operation_record *record = engine->operations[i]->record;

		if (engine->operations[i] != except && record->wish.kind == OPERATION_KIND_RESIZE &&
		    !operation_state_is_final(record->state))
			wishes[count++] = &record->wish;
	}
	*ret_count = count;
	return wishes;
}

/* ---- locks ---- */

void operation_run_wake_parked(struct engine *engine)
{
	for (size_t i = 0; i < engine->operation_count; i++) {
		struct operation *operation = engine->operations[i];

		if (operation->phase == OPERATION_PHASE_PARKED && (operation->waits_for_lock || operation->waits_for_moves))
			operation_run_ready(operation, operation->parked_phase);
		operation_undo_wake(operation);
	}
}

int operation_run_try_locks(struct operation *operation, const struct operation_lock *locks, size_t count, bool for_step)
{
	struct operation_record *record = operation->record;
	const char *other;
	const void *holder = NULL;
	int r = operation_lock_take(&operation->engine->locks, operation, locks, count, for_step,
				    &holder);

	if (r != -EBUSY)
		return r;
	other = engine_stuck_holder_name(operation->engine, holder);
	if (strcmp(record->waiting_for, other) != 0) {
		snprintf(record->waiting_for, sizeof(record->waiting_for), "%s", other);
		record->revision++;
		engine_tell(operation->engine, operation);
	}
	return r;
}

bool operation_run_take_locks(struct operation *operation, const struct operation_lock *locks,
			      size_t count, bool for_step)
{
	int r = operation_run_try_locks(operation, locks, count, for_step);

	operation->waits_for_lock = r == -EBUSY;
	if (r == 0)
		operation->record->waiting_for[0] = '\0';
	else
		operation_run_park(operation, operation->phase,
				   r == -EBUSY ? 0 : engine_now(operation->engine) + OPERATION_RETRY_MS);
	return r == 0;
}

void operation_run_release_step(struct operation *operation, const struct step *step)
{
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
	size_t count = operation_lock_of_step(step, locks);

	if (operation_lock_release_step(&operation->engine->locks, operation, locks, count))
		operation_run_wake_parked(operation->engine);
}

static bool take_own_lock(struct operation *operation)
{
	struct operation_lock lock = {.kind = OPERATION_LOCK_TARGET};

	if (operation->has_own_lock)
		return true;
	if (operation->record->wish.guest[0]) {
		lock.kind = OPERATION_LOCK_GUEST;
		snprintf(lock.name, sizeof(lock.name), "%s", operation->record->wish.guest);
	} else {
		snprintf(lock.name, sizeof(lock.name), "%s", operation->record->target);
	}
	operation->has_own_lock = operation_run_take_locks(operation, &lock, 1, false);
	return operation->has_own_lock;
}

/* ---- look and decide ---- */

static void looked(void *token, int error, const struct snapshot *snapshot,
		   const struct failure *failure)
{
	struct operation *operation = token;

	if (!error) {
		/*
		 * Kept for as long as the step runs, and the executor's own lasts one turn of the
		 * loop.
		 */
		snapshot_free(operation->snapshot);
		operation->snapshot = snapshot_copy(snapshot);
		error = operation->snapshot ? 0 : -ENOMEM;
	}
	operation_run_answered(operation, OPERATION_PHASE_LOOKED, error, failure);
}

void operation_run_look(struct operation *operation)
{
	const struct executor *executor = operation->engine->options.executor;

	operation_run_await(operation, OPERATION_PHASE_LOOKING);
	executor->look(executor->user, operation->record, looked, operation);
}

/* Is its time still to come? Until then only its cordon stands. */
static bool is_early(const struct operation *operation)
{
	const struct operation_record *record = operation->record;

	return record->wish.kind == OPERATION_KIND_DRAIN &&
	       record->wish.drain_wish.not_before_ms > engine_now(operation->engine) && !operation_end_has_begun(record);
}

bool operation_run_is_announced(const struct operation *operation)
{
	const struct operation_record *record = operation->record;

	return record->wish.kind == OPERATION_KIND_DRAIN && record->wish.drain_wish.not_before_ms &&
	       !operation_run_is_ending(operation) && !operation_end_has_begun(record) && operation->drain &&
	       engine_drain_is_held(operation->drain);
}

bool operation_run_leaves_alone(const struct operation *operation)
{
	return operation_run_is_announced(operation) && is_early(operation);
}

/*
 * Who works on some of its memory when its time has come, begun while nobody was in the way; NULL: nobody does. Of others that
 * were announced it is who has come past this already.
 */
static const struct operation *find_at_work(const struct operation *operation)
{
	const struct engine *engine = operation->engine;

	for (size_t i = 0; i < engine->operation_count; i++) {
		const struct operation *other = engine->operations[i];
		bool has_ended = other->phase == OPERATION_PHASE_ENDED && !other->keeps_locks;

		if (other != operation && !has_ended && other->drain &&
		    (other->has_own_lock || !operation_run_is_announced(other)) &&
		    engine_drain_covers_overlap(&other->drain->hold, &operation->drain->hold))
			return other;
	}
	return NULL;
}

/* Until its time nobody waits for it. */
static void park_announced(struct operation *operation)
{
	struct engine *engine = operation->engine;

	operation_run_park(operation, OPERATION_PHASE_READY, operation->record->wish.drain_wish.not_before_ms);
	operation->has_own_lock = false;
	if (operation_lock_release_all(&engine->locks, operation))
		operation_run_wake_parked(engine);
}

/* Its time has come, and somebody is at work there. */
static void park_behind(struct operation *operation, const struct operation *other)
{
	struct operation_record *record = operation->record;

	operation_run_park(operation, OPERATION_PHASE_READY, engine_now(operation->engine) + OPERATION_RETRY_MS);
	/* With that one's locks goes what is in the way. */
	operation->waits_for_lock = true;
	if (strcmp(record->waiting_for, other->record->id) == 0)
		return;
	snprintf(record->waiting_for, sizeof(record->waiting_for), "%s", other->record->id);
	record->revision++;
	engine_tell(operation->engine, operation);
}

static void begin(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct operation_record *record = operation->record;
	uint64_t now = engine_now(engine);

	if (operation_child_collect(operation))
		return;
	if (engine->stopping || engine->options.observe) {
		operation_run_park(operation, OPERATION_PHASE_READY, 0);
		return;
	}
	/* They have been told to end. */
	if (operation->course != OPERATION_COURSE_FORWARD && operation_child_is_awaited(operation)) {
		operation_child_wait(operation);
		return;
	}
	if (operation->course != OPERATION_COURSE_FORWARD && !operation_end_has_begun(record) &&
	    (!operation->has_own_lock || operation->is_cancelled)) {
		operation_end_unbegun(operation);
		return;
	}
	if (operation->course == OPERATION_COURSE_QUIT) {
		operation_end_as(operation, OPERATION_STATE_CANCELLED);
		return;
	}
	/* A check asks nothing of libvirt: it may find out why there is none. */
	if (engine->waiting && record->wish.kind != OPERATION_KIND_CHECK) {
		operation_run_park(operation, OPERATION_PHASE_READY, 0);
		return;
	}
	if (operation->course == OPERATION_COURSE_FORWARD) {
		if (record->state == OPERATION_STATE_PAUSED) {
			operation_run_park(operation, OPERATION_PHASE_READY, 0);
			return;
		}
		if (operation_run_leaves_alone(operation)) {
			park_announced(operation);
			return;
		}
		if (operation_run_is_announced(operation) && !operation->has_own_lock) {
			const struct operation *other = find_at_work(operation);

			if (other) {
				park_behind(operation, other);
				return;
			}
		}
	}
	if (!take_own_lock(operation) || engine_keep_is_awaited(operation))
		return;
	if (operation->course == OPERATION_COURSE_UNDO && operation_undo_goes_on(operation))
		return;
	if (operation->course == OPERATION_COURSE_UNDO && !operation_undo_must_look(operation)) {
		if (operation_undo_list_all(operation) < 0)
			operation_run_park(operation, OPERATION_PHASE_READY,
					   now + OPERATION_RETRY_MS);
		else
			operation->phase = OPERATION_PHASE_UNDOING;
		return;
	}
	/* Undos that a restart interrupted are right twice over: they are simply done again. */
	if (operation->course != OPERATION_COURSE_UNDO && operation_step_resume_undos(operation))
		return;
	operation_run_look(operation);
}

/* A libvirt that is being restarted is waited for as long as there is time, and for putting in order a while. */
static bool may_look_again(struct operation *operation)
{
	bool is_down = operation->error == -ENOTCONN;

	if (is_down && operation->course == OPERATION_COURSE_FORWARD &&
	    operation->record->deadline_ms > engine_now(operation->engine))
		return true;
	return ++operation->look_failures < (is_down ? OPERATION_DOWN_TRIES : OPERATION_LOOK_TRIES);
}

static void look_failed(struct operation *operation)
{
	struct operation_record *record = operation->record;

	if (may_look_again(operation)) {
		operation_run_park(operation, OPERATION_PHASE_READY,
				   engine_now(operation->engine) + OPERATION_RETRY_MS);
		return;
	}
	if (record->step_count > 0 && operation_run_step(operation)->state == STEP_STATE_RUNNING &&
	    operation_run_step(operation)->is_taken_up)
		operation_recovery_end_step(operation, operation_run_step(operation));
	if (failure_is_set(&operation->failure))
		record->error = operation->failure;
	else
		failure_set(&record->error, operation->error, record->target, "cannot look at");
	operation_end_give_up(operation);
}

/*
 * An eject of which nobody said what became of it is done where the DIMM is gone. Where it is still there the kernel may
 * be about to take it: that stays so, and nothing is put back under its hands.
 */
static void judge_ejects(struct operation *operation)
{
	struct operation_record *record = operation->record;

	for (size_t i = 0; i < record->step_count; i++) {
		struct step_record *step = &record->steps[i];

		if (step->step.kind != STEP_KIND_EJECT || step->state != STEP_STATE_PARTIAL ||
		    !snapshot_dimm_is_out(snapshot_dimm(operation->snapshot, step->step.dimm)))
			continue;
		step->state = STEP_STATE_DONE;
		step->remainder.count = 0;
		journal_put_step(operation->engine->options.journal, record, step, NULL, NULL);
	}
}

/* With the step that a restart interrupted, instead of deciding? */
static bool goes_on(struct operation *operation)
{
	struct operation_record *record = operation->record;
	struct step_record *step = record->step_count ? operation_run_step(operation) : NULL;

	if (!step || step->state != STEP_STATE_RUNNING || !step->is_taken_up)
		return false;
	if (operation->course != OPERATION_COURSE_FORWARD) {
		operation_recovery_end_step(operation, step);
		return false;
	}
	operation->step_course = operation->course;
	operation_run_ready(operation, OPERATION_PHASE_WRITTEN_AHEAD);
	return true;
}

/*
 * Is a drain that only has its cordon to end so? It begins by what is true now: what was found when it was asked for may be
 * days old, and what came there in between nobody has agreed to.
 */
static bool is_refused(struct operation *operation, const struct plan_input *input)
{
	struct operation_record *record = operation->record;
	struct remainder_list blockers;
	struct failure failure;

	if (record->wish.kind != OPERATION_KIND_DRAIN || operation->course != OPERATION_COURSE_FORWARD ||
	    operation_end_has_begun(record) || !operation->drain || !engine_drain_is_held(operation->drain))
		return false;
	if (plan_check(input, &blockers, &failure) == 0)
		return false;
	record->remainder = blockers;
	record->error = failure;
	operation_end_unbegun(operation);
	return true;
}

/* Nothing tells of it but the process: from a snapshot a guest is back within a second, under the same name. */
static bool is_another(struct operation *operation, const struct snapshot_guest *guest)
{
	if (!guest || guest->pid <= 0)
		return false;
	if (!operation->guest_pid) {
		operation->guest_pid = guest->pid;
		operation->guest_start_time = guest->start_time;
	}
	return operation->guest_pid != guest->pid || operation->guest_start_time != guest->start_time;
}

static void decide(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct operation_record *record = operation->record;
	const struct snapshot_guest *guest;
	struct decision decision = {0};
	struct plan_input input = {
		.wish = &record->wish,
		.snapshot = operation->snapshot,
		.limits = engine->options.limits,
		.history = record->steps,
		.history_count = record->step_count,
		.now_ms = engine_now(engine),
		.threads_beside = operation_run_threads_beside(engine, operation),
		.deadline_ms = operation_end_continues(record) && record->deadline_exceeded
				       ? 0
				       : record->deadline_ms,
	};
	CLEANUP_FREE const struct wish **beside = operation_run_resizes_beside(engine, operation, &input.beside_count);
	CLEANUP_FREE struct plan_drain *others = NULL;
	bool settles = operation->course == OPERATION_COURSE_SETTLE;

	input.beside = beside;
	operation->phase = OPERATION_PHASE_READY;
	if (operation->course == OPERATION_COURSE_UNDO && operation->error) {
		operation->look_failures++;
		operation_run_park(operation, OPERATION_PHASE_READY, engine_now(engine) + OPERATION_RETRY_MS);
		return;
	}
	if (engine->stopping || operation->course == OPERATION_COURSE_UNDO ||
	    operation->course == OPERATION_COURSE_QUIT ||
	    (record->state == OPERATION_STATE_PAUSED &&
	     operation->course == OPERATION_COURSE_FORWARD))
		return;
	/* What was seen may be older than the end of that child; and what settles waits for all of them. */
	if (operation_child_has_ended(operation) || (settles && operation_child_is_awaited(operation)))
		return;
	if (operation->error) {
		look_failed(operation);
		return;
	}
	operation->look_failures = 0;
	if (goes_on(operation))
		return;
	judge_ejects(operation);
	guest = record->wish.guest[0] ? snapshot_guest(operation->snapshot, record->wish.guest)
				      : NULL;
	if (record->started_at_ms == 0) {
		record->snapshot_before_bytes = guest ? guest->current_bytes : 0;
		if (guest && record->wish.kind == OPERATION_KIND_RESIZE)
			record->snapshot_wanted_bytes = plan_wanted_bytes(&record->wish, guest);
		record->snapshot_forecast_bytes = plan_forecast_bytes(&input);
	}
	if (guest) {
		record->snapshot_after_bytes = guest->current_bytes;
		record->snapshot_requested_bytes = guest->requested_bytes;
	}
	if (record->state == OPERATION_STATE_PENDING && !is_early(operation))
		operation_run_enter(operation, OPERATION_STATE_RUNNING);
	if (settles && (input.deadline_ms == 0 || input.deadline_ms > input.now_ms))
		input.deadline_ms = input.now_ms;
	input.start_bytes = record->snapshot_before_bytes;
	input.is_another = is_another(operation, guest);
	if (operation->subject) {
		if (engine_drain_others(engine, operation->drain, &others, &input.drain_count) < 0) {
			operation_run_park(operation, OPERATION_PHASE_READY, engine_now(engine) + OPERATION_RETRY_MS);
			return;
		}
		input.drains = others;
		input.subject = operation->subject->record->steps;
		input.subject_count = operation->subject->record->step_count;
		input.subject_operation = operation->subject->record->id;
	}
	if (is_refused(operation, &input))
		return;
	plan_next(&input, &decision);
	operation_record_warn(record, &decision.warnings);
	switch (decision.kind) {
	case DECISION_KIND_STEP:
		/* What is to be undone need not be put in order first. What tells of the end of a drain is not in vain. */
		if (settles && !step_is_after(&decision.step) &&
		    ((!operation->is_cancelled && operation_end_restores(record)) ||
				++operation->settle_steps > OPERATION_SETTLE_STEPS_MAX)) {
			remainder_list_add(&record->remainder, REMAINDER_DEADLINE, record->target,
					   0, NULL, "its time ended before it was done");
			operation_end_give_up(operation);
		} else {
			operation->asks_again = decision.beside;
			operation_step_take(operation, &decision.step);
		}
		step_done(&decision.step);
		break;
	case DECISION_KIND_WAIT:
		assert(operation_child_is_awaited(operation));
		operation_child_wait(operation);
		break;
	case DECISION_KIND_DONE:
		record->remainder = decision.remainder;
		if (operation->is_cancelled)
			operation_end_as(operation, OPERATION_STATE_CANCELLED);
		else
			operation_end_as(operation, decision.remainder.count > 0
							    ? OPERATION_STATE_INCOMPLETE
							    : OPERATION_STATE_SUCCEEDED);
		break;
	case DECISION_KIND_GIVE_UP:
		/* What has to wait for another hold goes along with that, and would be missed if it has just gone. */
		if (operation->subject && engine_drain_hold_went(engine, operation->snapshot) &&
		    remainder_list_has(&decision.remainder, REMAINDER_HELD))
			break;
		record->remainder = decision.remainder;
		operation_end_give_up(operation);
		break;
	case DECISION_KIND_COUNT:
		break;
	}
}

/* ---- from outside ---- */

void operation_run_divert_child(struct operation *child, enum operation_course course)
{
	if (operation_run_is_ending(child))
		return;
	if (child->record->state != OPERATION_STATE_CANCELLING) {
		child->is_cancelled = true;
		operation_run_enter(child, OPERATION_STATE_CANCELLING);
	}
	/* A child that is undoing its own work is let finish. */
	operation_run_divert(child, course);
}

void operation_run_divert(struct operation *operation, enum operation_course course)
{
	const struct executor *executor = operation->engine->options.executor;

	if (course <= operation->course)
		return;
	operation->course = course;
	operation_child_divert_all(operation, course == OPERATION_COURSE_SETTLE ? OPERATION_COURSE_SETTLE
										: OPERATION_COURSE_QUIT);
	if (operation->phase == OPERATION_PHASE_ACTING && !operation->cancel_asked) {
		operation->cancel_asked = true;
		executor->cancel(executor->user, operation);
	} else if (operation->phase == OPERATION_PHASE_PARKED &&
		   operation->parked_phase == OPERATION_PHASE_READY) {
		operation_run_ready(operation, OPERATION_PHASE_READY);
	}
}

void operation_run_deadline(struct operation *operation)
{
	struct operation_record *record = operation->record;

	record->deadline_exceeded = true;
	record->revision++;
	if (operation_end_continues(record)) {
		put(operation);
		engine_tell(operation->engine, operation);
		return;
	}
	if (record->state == OPERATION_STATE_PAUSED)
		operation_run_enter(operation, OPERATION_STATE_RUNNING);
	else
		put(operation);
	engine_tell(operation->engine, operation);
	operation_run_divert(operation, OPERATION_COURSE_SETTLE);
	if (operation_end_restores(record))
		operation_child_divert_all(operation, OPERATION_COURSE_QUIT);
}

void operation_run_turn(struct operation *operation)
{
	switch (operation->phase) {
	case OPERATION_PHASE_READY:
		begin(operation);
		break;
	case OPERATION_PHASE_LOOKED:
		decide(operation);
		break;
	case OPERATION_PHASE_PREPARED:
	case OPERATION_PHASE_WRITTEN_AHEAD:
	case OPERATION_PHASE_ACTED:
	case OPERATION_PHASE_RESULT_WRITTEN:
		operation_step_turn(operation);
		break;
	case OPERATION_PHASE_END:
	case OPERATION_PHASE_END_WRITTEN:
		operation_end_turn(operation);
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
		break;
	}
}
