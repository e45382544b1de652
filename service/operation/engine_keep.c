/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps memory empty that a drain has emptied and holds stands among the steps of the drain's operation, although that
 * has ended: so whatever undoes the drain undoes it likewise, with the same order, holds and deferrals. A move of a guest that
 * came there is an operation of its own, which its step names as it would a child. Anything else is taken here:
 *
 *	lock -> prepare [executor] -> write ahead [journal] -> start [executor] -> write the result [journal] -> unlock
 *
 * A restart in the middle of that leaves a step that runs. Nobody goes on with it, and the undo is right from any state.
 *
 * A hold may stand for months: of one guest, or one pool, there are a few steps at most, the first ones and the newest.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was found at first, and what its owner has made of it since. */
#define STEPS_MAX 4

/* A step that is being taken. The executor's token. */
struct engine_keeping {
	struct engine_keeping *next, **link;
	struct engine *engine;	    /* borrowed */
	struct operation *operation; /* borrowed, pinned: the drain's; owner of the locks */
	char drain[OPERATION_ID_SIZE];
	struct step_record taken;   /* owned; until it stands among the others */
	struct snapshot *snapshot;  /* owned */
	unsigned n;		    /* of the step there; 0: not yet */
	bool has_started;
	engine_kept_fn *answer;
	void *user;
};

bool engine_keep_may(const struct engine *engine, const char *id)
{
	const struct drain_record *drain = engine_drain_find(engine, id);

	return drain && engine_drain_is_held(drain) &&
	       (drain->state == DRAIN_STATE_HELD || drain->state == DRAIN_STATE_ATTENTION);
}

static struct operation *operation_of(struct engine *engine, const char *id)
{
	const struct drain_record *drain = engine_drain_find(engine, id);

	return drain ? engine_find_or_load(engine, drain->operation) : NULL;
}

/* ---- among the steps ---- */

/* Is there nothing left that its undo could put back? */
static bool is_void(const struct step_record *record, const struct snapshot *snapshot)
{
	if (record->state == STEP_STATE_RUNNING)
		return false;
	return !undo_bar_is_due(record) || (record->step.guest[0] && !snapshot_guest(snapshot, record->step.guest));
}

/*
 * One whose place the new step may take, behind all others that are about the same; NULL: none. Of many the newest goes: it
 * knows what there was before the next one, and that is known now.
 */
static struct step_record *place_for(struct operation_record *record, const struct step *step, const struct snapshot *snapshot)
{
	struct step_record *newest = NULL;
	size_t count = 0;

	for (size_t i = record->step_count; i-- > 0;) {
		struct step_record *old = &record->steps[i];
		bool is_same = step_is_of_same_object(&old->step, step);

		if (!step_is_of_newcomer(&old->step))
			continue;
		if (!count && is_void(old, snapshot))
			return old;
		if (!is_same || !undo_bar_is_due(old))
			continue;
		newest = newest ? newest : old;
		count++;
	}
	/* A slice stands in the step that took it alone. */
	if (step->kind == STEP_KIND_SLICE_CPUSETS)
		return NULL;
	/* A pool has the size that its owner has said last. */
	if (newest && newest->state != STEP_STATE_RUNNING &&
	    (count >= STEPS_MAX ||
	     (step->kind == STEP_KIND_HOST_POOL && newest == &record->steps[record->step_count - 1])))
		return newest;
	return NULL;
}

/* NULL where memory is short. */
static struct step_record *add_step(struct operation_record *record, const struct step *step, const struct snapshot *snapshot)
{
	struct step_record *place = place_for(record, step, snapshot), *added;
	struct step copy;
	unsigned n;

	if (!place) {
		added = operation_record_add_step(record, step);
		/* One that the journal has refused is missing there. */
		if (added && record->step_count > 1)
			added->n = added[-1].n + 1;
		return added;
	}
	if (step_copy(step, &copy) < 0)
		return NULL;
	n = place->n;
	step_record_done(place);
	*place = (struct step_record){.n = n, .step = copy};
	return place;
}

/* Along with the revision of the operation, by which callers know that it has changed. */
static int put_step(struct operation *drains, const struct step_record *step, journal_written_fn *written, void *user)
{
	struct journal *journal = drains->engine->options.journal;
	int r;

	drains->record->revision++;
	journal_begin(journal);
	r = journal_put_operation(journal, drains->record, NULL, NULL);
	if (r == 0)
		r = journal_put_step(journal, drains->record, step, written, user);
	journal_end(journal);
	return r;
}

/* ---- moves ---- */

static struct step_record *step_of(const struct operation *move)
{
	struct operation_record *record = move->kept_for ? move->kept_for->record : NULL;

	for (size_t i = record ? record->step_count : 0; i-- > 0;)
		if (step_is_of_newcomer(&record->steps[i].step) &&
		    strcmp(record->steps[i].child_operation, move->record->id) == 0)
			return &record->steps[i];
	return NULL;
}

static void hold_on(struct operation *move, struct operation *drains)
{
	move->kept_for = drains;
	drains->pins++;
}

void engine_keep_let_go(struct operation *move)
{
	if (move->kept_for)
		move->kept_for->pins--;
	move->kept_for = NULL;
}

int engine_keep_move(struct operation *move, const struct step *step, const struct snapshot *snapshot)
{
	struct operation *drains = operation_of(move->engine, move->record->wish.drain);
	struct step one = *step;
	struct step_record *added;

	if (!drains)
		return -ENOENT;
	one.child = &move->record->wish;
	added = add_step(drains->record, &one, snapshot);
	if (!added)
		return -ENOMEM;
	added->state = STEP_STATE_RUNNING;
	added->started_at_ms = engine_now(move->engine);
	snprintf(added->child_operation, sizeof(added->child_operation), "%s", move->record->id);
	hold_on(move, drains);
	return 0;
}

void engine_keep_find(struct operation *move)
{
	const struct operation_record *record = move->record;
	struct operation *drains = record->wish.kind == OPERATION_KIND_MOVE && record->wish.drain[0] && !record->parent[0]
					   ? operation_of(move->engine, record->wish.drain)
					   : NULL;

	if (!drains)
		return;
	hold_on(move, drains);
	if (!step_of(move))
		engine_keep_let_go(move);
}

int engine_keep_put(const struct operation *move)
{
	const struct step_record *step = step_of(move);

	return step ? put_step(move->kept_for, step, NULL, NULL) : 0;
}

void engine_keep_end(const struct operation *move)
{
	struct step_record *step = step_of(move);

	if (!step)
		return;
	operation_child_tell(step, move->record);
	step->ended_at_ms = move->record->ended_at_ms;
	/* Where memory is short it stays one that runs, which is undone as one that is done. */
	(void)engine_keep_put(move);
}

void engine_keep_forget(struct operation *move)
{
	struct step_record *step = step_of(move);

	if (step)
		step->state = STEP_STATE_FAILED;
	engine_keep_let_go(move);
}

bool engine_keep_is_awaited(struct operation *undrain)
{
	struct engine *engine = undrain->engine;
	struct operation_record *record = undrain->record;
	struct operation *move = NULL;

	for (size_t i = 0; i < engine->operation_count && undrain->subject; i++) {
		struct operation *other = engine->operations[i];

		if (other->kept_for != undrain->subject || other->phase == OPERATION_PHASE_ENDED)
			continue;
		move = other;
		/* Where it shall be is where it came from: the sooner the better. One that has just come to its end says so. */
		if (other->phase != OPERATION_PHASE_CREATING)
			(void)engine_cancel(engine, other->record->id, true, NULL);
	}
	if (!move) {
		if (undrain->waits_for_moves)
			record->waiting_for[0] = '\0';
		undrain->waits_for_moves = false;
		return false;
	}
	undrain->waits_for_moves = true;
	operation_run_park(undrain, OPERATION_PHASE_READY, 0);
	if (strcmp(record->waiting_for, move->record->id) != 0) {
		snprintf(record->waiting_for, sizeof(record->waiting_for), "%s", move->record->id);
		record->revision++;
		engine_tell(engine, undrain);
	}
	return true;
}

/* ---- other steps ---- */

static struct engine_keeping *keeping_free(struct engine_keeping *keeping)
{
	*keeping->link = keeping->next;
	if (keeping->next)
		keeping->next->link = keeping->link;
	step_record_done(&keeping->taken);
	snapshot_free(keeping->snapshot);
	free(keeping);
	return NULL;
}

static void refuse(engine_kept_fn *answer, void *user, int error, const char *object, const char *cause)
{
	struct failure failure = {0};

	failure_set(&failure, error, object, "cannot keep it empty");
	failure_set_cause(&failure, "%s", cause);
	answer(user, &failure);
}

static struct step_record *kept_step(const struct engine_keeping *keeping)
{
	struct operation_record *record = keeping->operation->record;
	size_t i = record->step_count;

	/* It is one of the last. */
	while (i-- > 0 && record->steps[i].n != keeping->n)
		;
	return &record->steps[i];
}

/* A worker that does not come back keeps the locks. failure: NULL: it is done. */
static void conclude(struct engine_keeping *keeping, const struct failure *failure)
{
	struct operation *operation = keeping->operation;
	struct engine *engine = keeping->engine;
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
	const struct step *step = keeping->n ? &kept_step(keeping)->step : &keeping->taken.step;
	size_t count = operation_lock_of_step(step, locks);

	if (!operation->keeps_locks && operation_lock_release_step(&engine->locks, operation, locks, count))
		operation_run_wake_parked(engine);
	operation->pins--;
	keeping->answer(keeping->user, failure);
	keeping_free(keeping);
	engine_wake(engine);
}

static void conclude_failed(struct engine_keeping *keeping, int error, const char *cause)
{
	struct failure failure = {0};

	failure_set(&failure, error, keeping->drain, "cannot keep its memory empty");
	failure_set_cause(&failure, "%s", cause);
	conclude(keeping, &failure);
}

static void result_written(void *user, int error, const struct failure *failure)
{
	struct engine_keeping *keeping = user;
	const struct step_record *step = kept_step(keeping);

	keeping->engine->calls--;
	/* What the journal does not hear stays a step that runs, which is undone as one that is done. */
	if (error)
		conclude_failed(keeping, error, failure ? failure->cause : "its end cannot be written down");
	else if (step->state == STEP_STATE_DONE)
		conclude(keeping, NULL);
	else
		conclude_failed(keeping, EBUSY, step->remainder.count ? step->remainder.items[0].detail : step->detail);
}

static void write_step(struct engine_keeping *keeping, journal_written_fn *written)
{
	struct engine *engine = keeping->engine;
	int r;

	engine->calls++;
	r = put_step(keeping->operation, kept_step(keeping), written, keeping);
	if (r < 0)
		written(keeping, r, NULL);
}

static void finished(void *token, const struct executor_outcome *outcome)
{
	struct engine_keeping *keeping = token;
	struct step_record *step = kept_step(keeping);

	keeping->engine->calls--;
	keeping->has_started = false;
	step->state = outcome->state;
	step->bytes_done = outcome->bytes_done;
	step->remainder = outcome->remainder;
	memcpy(step->detail, outcome->detail, sizeof(step->detail));
	step->ended_at_ms = engine_now(keeping->engine);
	engine_stuck_note(keeping->operation, outcome);
	write_step(keeping, result_written);
}

static void progressed(void *token, uint64_t done_bytes, uint64_t total_bytes, const char *detail)
{
}

static void ahead_written(void *user, int error, const struct failure *failure)
{
	struct engine_keeping *keeping = user;
	const struct executor *executor = keeping->engine->options.executor;

	keeping->engine->calls--;
	if (error || keeping->engine->stopping) {
		kept_step(keeping)->state = STEP_STATE_FAILED;
		conclude_failed(keeping, error ? error : ESHUTDOWN, failure ? failure->cause : "nothing was begun");
		return;
	}
	keeping->engine->calls++;
	keeping->has_started = true;
	executor->start(executor->user, keeping->operation->record, kept_step(keeping), keeping->snapshot, progressed, finished,
			keeping);
}

static void prepared(void *token, int error, const char *before, const struct failure *failure)
{
	struct engine_keeping *keeping = token;
	struct step_record *step;

	keeping->engine->calls--;
	if (error || !engine_keep_may(keeping->engine, keeping->drain)) {
		conclude_failed(keeping, error ? error : ESTALE, failure ? failure->cause : "it is being given back");
		return;
	}
	step = add_step(keeping->operation->record, &keeping->taken.step, keeping->snapshot);
	if (!step || (before && !(step->before = strdup(before)))) {
		if (step)
			step->state = STEP_STATE_FAILED;
		conclude_failed(keeping, ENOMEM, "memory is short");
		return;
	}
	keeping->n = step->n;
	step->state = STEP_STATE_RUNNING;
	step->started_at_ms = engine_now(keeping->engine);
	write_step(keeping, ahead_written);
}

static bool is_busy(const struct engine *engine, const char *drain)
{
	for (const struct engine_keeping *other = engine->keepings; other; other = other->next)
		if (strcmp(other->drain, drain) == 0)
			return true;
	return false;
}

static struct engine_keeping *keeping_new(struct engine *engine, const char *drain, const struct step *step,
					  const struct snapshot *snapshot)
{
	struct engine_keeping *keeping = calloc(1, sizeof(*keeping));

	if (!keeping)
		return NULL;
	keeping->engine = engine;
	keeping->next = engine->keepings;
	keeping->link = &engine->keepings;
	if (keeping->next)
		keeping->next->link = &keeping->next;
	engine->keepings = keeping;
	snprintf(keeping->drain, sizeof(keeping->drain), "%s", drain);
	keeping->snapshot = snapshot_copy(snapshot);
	if (!keeping->snapshot || step_copy(step, &keeping->taken.step) < 0)
		return keeping_free(keeping);
	return keeping;
}

void engine_keep(struct engine *engine, const char *drain, const struct step *step, const struct snapshot *snapshot,
		 engine_kept_fn *answer, void *user)
{
	const struct executor *executor = engine->options.executor;
	struct operation *operation = operation_of(engine, drain);
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
	const void *holder = NULL;
	struct engine_keeping *keeping;

	if (!operation || engine->stopping || engine->options.observe || is_busy(engine, drain) || !engine_keep_may(engine, drain)) {
		refuse(answer, user, EBUSY, drain, "the drain does not hold it, or something is done about it already");
		return;
	}
	keeping = keeping_new(engine, drain, step, snapshot);
	if (!keeping) {
		refuse(answer, user, ENOMEM, drain, "memory is short");
		return;
	}
	keeping->operation = operation;
	keeping->answer = answer;
	keeping->user = user;
	operation->pins++;
	if (operation_lock_take(&engine->locks, operation, locks, operation_lock_of_step(step, locks), true, &holder) < 0) {
		conclude_failed(keeping, EBUSY, "another operation works on it");
		return;
	}
	engine->calls++;
	executor->prepare(executor->user, operation->record, &keeping->taken, keeping->snapshot, prepared, keeping);
}

void engine_keep_stop(struct engine *engine)
{
	const struct executor *executor = engine->options.executor;
	struct engine_keeping *next;

	for (struct engine_keeping *keeping = engine->keepings; keeping; keeping = next) {
		/* It may end by that. */
		next = keeping->next;
		if (keeping->has_started)
			executor->cancel(executor->user, keeping);
	}
}

void engine_keep_free_all(struct engine *engine)
{
	while (engine->keepings)
		keeping_free(engine->keepings);
}
