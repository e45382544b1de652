/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the executor and of the journal only note what happened and wake the engine; every
 * decision is taken in take_turns(), which the loop calls. So an executor may answer inside the
 * call that asks it, stacks do not grow, and nothing is freed inside its own callback.
 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "engine_priv.h"

/*
 * Ended operations in memory. A step takes some 14 KiB (its remainder list), so steps are bounded
 * too.
 */
#define ENGINE_ENDED_MAX       64
#define ENGINE_ENDED_STEPS_MAX 96
/* Released drains in memory; the journal keeps all. */
#define ENGINE_RELEASED_MAX 64
/* An armed timer is looked at again at least so often: the wall clock may be set. */
#define ENGINE_TIMER_MAX_MS 60000

uint64_t engine_now(const struct engine *engine)
{
	return engine->options.now_ms(engine->options.user);
}

void engine_wake(struct engine *engine)
{
	if (!engine->in_turn)
		event_active(engine->wake, EV_TIMEOUT, 0);
}

int engine_make_id(const char *prefix, char ret_id[OPERATION_ID_SIZE])
{
	unsigned char bytes[5];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	snprintf(ret_id, OPERATION_ID_SIZE, "%s-%02x%02x%02x%02x%02x", prefix, bytes[0], bytes[1],
		 bytes[2], bytes[3], bytes[4]);
	return 0;
}

void engine_text_target(struct operation_record *record)
{
	wish_target(&record->wish, record->target);
	if (record->wish.guest[0] && record->guest_name[0])
		snprintf(record->target, sizeof(record->target), "guest %s", record->guest_name);
}

uint64_t engine_default_timeout_ms(const struct engine *engine, const struct wish *wish,
				   uint32_t estimate_s)
{
	const struct plan_limits *limits = engine->options.limits;
	uint64_t seconds = 0;

	if (wish->timeout_s)
		return (uint64_t)wish->timeout_s * 1000;
	switch (wish->kind) {
	case OPERATION_KIND_RESIZE:
		seconds = limits->resize_timeout_s;
		break;
	case OPERATION_KIND_MOVE:
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		/* Nothing to go by: half an hour moves a terabyte at the rate of a slow host. */
		seconds = estimate_s == UINT32_MAX
				  ? 1800
				  : (uint64_t)estimate_s * limits->drain_timeout_factor;
		if (seconds < 60)
			seconds = 60;
		break;
	case OPERATION_KIND_CHECK:
		seconds = 300;
		break;
	case OPERATION_KIND_COUNT:
		break;
	}
	return seconds * 1000;
}

/* ---- the lists ---- */

struct operation *engine_find(const struct engine *engine, const char *id)
{
	for (size_t i = engine->operation_count; i-- > 0;)
		if (strcmp(engine->operations[i]->record->id, id) == 0)
			return engine->operations[i];
	return NULL;
}

struct operation *engine_add(struct engine *engine, struct operation_record *record, bool newest)
{
	struct operation **grown =
		reallocarray(engine->operations, engine->operation_count + 1, sizeof(*grown));
	struct operation *operation = calloc(1, sizeof(*operation));

	if (grown)
		engine->operations = grown;
	if (!grown || !operation) {
		free(operation);
		operation_record_free(record);
		return NULL;
	}
	operation->engine = engine;
	operation->record = record;
	operation->phase = operation_state_is_final(record->state) ? OPERATION_PHASE_ENDED
								   : OPERATION_PHASE_READY;
	operation->final_state = record->state;
	operation->step_index = record->step_count ? record->step_count - 1 : 0;
	if (newest) {
		grown[engine->operation_count++] = operation;
	} else {
		memmove(grown + 1, grown, engine->operation_count++ * sizeof(*grown));
		grown[0] = operation;
	}
	return operation;
}

static void free_operation(struct operation *operation)
{
	operation_undo_list_done(operation);
	operation_record_free(operation->record);
	snapshot_free(operation->snapshot);
	free(operation->before);
	free(operation);
}

void engine_remove(struct engine *engine, struct operation *operation)
{
	size_t kept = 0, before = engine->operation_count;

	operation_lock_release_all(&engine->locks, operation);
	for (size_t i = 0; i < before; i++)
		if (engine->operations[i] != operation)
			engine->operations[kept++] = engine->operations[i];
	engine->operation_count = kept;
	if (operation->subject)
		operation->subject->pins--;
	engine_keep_let_go(operation);
	free_operation(operation);
}

struct operation *engine_find_or_load(struct engine *engine, const char *id)
{
	struct operation *operation = engine_find(engine, id);
	struct operation_record *record;

	if (operation || journal_load_operation(engine->options.journal, id, &record, NULL) < 0)
		return operation;
	/* The next turn forgets it again, where nobody has pinned it by then. */
	engine_wake(engine);
	return engine_add(engine, record, false);
}

/* The oldest that ended leave first. */
static void forget_ended(struct engine *engine)
{
	size_t ended = 0, steps = 0;

	for (size_t i = engine->operation_count; i-- > 0;) {
		struct operation *operation = engine->operations[i];

		if (operation->phase != OPERATION_PHASE_ENDED || operation->pins ||
		    operation->keeps_locks)
			continue;
		ended++;
		steps += operation->record->step_count;
		if (ended > ENGINE_ENDED_MAX || (ended > 1 && steps > ENGINE_ENDED_STEPS_MAX))
			engine_remove(engine, operation);
	}
}

static void forget_released(struct engine *engine)
{
	size_t released = 0;

	for (size_t i = engine->drain_count; i-- > 0;) {
		struct drain_record *drain = engine->drains[i];
		bool is_used =
			drain->state != DRAIN_STATE_RELEASED && drain->state != DRAIN_STATE_STOPPED;

		if (is_used || engine_drain_is_held(drain))
			continue;
		for (size_t j = 0; j < engine->operation_count; j++)
			is_used =
				is_used || (engine->operations[j]->drain == drain &&
					    engine->operations[j]->phase != OPERATION_PHASE_ENDED);
		if (!is_used && ++released > ENGINE_RELEASED_MAX)
			engine_drain_remove(engine, drain);
	}
}

void engine_tell(struct engine *engine, const struct operation *operation)
{
	if (engine->options.changed)
		engine->options.changed(engine->options.user, ENGINE_CHANGE_OPERATION,
					operation->record, operation->drain);
}

void engine_tell_drain(struct engine *engine, struct drain_record *drain)
{
	const struct operation *operation = engine_find(engine, drain_record_operation(drain));

	drain->revision++;
	if (engine->options.changed)
		engine->options.changed(engine->options.user, ENGINE_CHANGE_DRAIN,
					operation ? operation->record : NULL, drain);
}

/* ---- the turn of the loop and the clock ---- */

static void take_turns(evutil_socket_t fd, short events, void *user)
{
	struct engine *engine = user;
	bool again = true;

	engine->in_turn = true;
	while (again) {
		again = false;
		/*
		 * Oldest first: an older operation gets a free lock before a younger one. The list
		 * may grow.
		 */
		for (size_t i = 0; i < engine->operation_count; i++) {
			struct operation *operation = engine->operations[i];

			if (operation_run_has_turn(operation)) {
				operation_run_turn(operation);
				again = true;
			}
			again = operation_undo_take_turns(operation) || again;
		}
	}
	forget_ended(engine);
	forget_released(engine);
	engine->in_turn = false;
	engine_tick(engine);
	if (engine->stopping && engine->calls == 0 && engine->idle) {
		void (*idle)(void *) = engine->idle;

		engine->idle = NULL;
		idle(engine->idle_user);
	}
}

static uint64_t next_of(const struct operation *operation)
{
	uint64_t next = operation_undo_next_ms(operation);

	if (operation->phase == OPERATION_PHASE_ENDED)
		return next;
	if (operation->not_before_ms && operation->not_before_ms < next)
		next = operation->not_before_ms;
	if (operation->cut_at_ms && operation->cut_at_ms < next)
		next = operation->cut_at_ms;
	if (operation->course == OPERATION_COURSE_FORWARD && operation->record->deadline_ms &&
	    !operation->record->deadline_exceeded && operation->record->deadline_ms < next)
		next = operation->record->deadline_ms;
	return next;
}

static void tick_operation(struct operation *operation, uint64_t now)
{
	struct operation_record *record = operation->record;

	operation_undo_tick(operation, now);
	if (operation->not_before_ms && operation->not_before_ms <= now) {
		operation->not_before_ms = 0;
		if (operation->phase == OPERATION_PHASE_PARKED)
			operation_run_ready(operation, operation->parked_phase);
	}
	if (operation->cut_at_ms && operation->cut_at_ms <= now) {
		operation->cut_at_ms = 0;
		if (!operation->cancel_asked && operation->phase == OPERATION_PHASE_ACTING) {
			operation->cancel_asked = true;
			operation->engine->options.executor->cancel(
				operation->engine->options.executor->user, operation);
		}
	}
	if (operation->course == OPERATION_COURSE_FORWARD && record->deadline_ms &&
	    !record->deadline_exceeded && record->deadline_ms <= now)
		operation_run_deadline(operation);
}

void engine_tick(struct engine *engine)
{
	uint64_t now = engine_now(engine), next = UINT64_MAX;
	struct timeval delay;

	if (!engine->stopping)
		for (size_t i = 0; i < engine->operation_count; i++)
			if (engine->operations[i]->phase != OPERATION_PHASE_ENDED)
				tick_operation(engine->operations[i], now);
	for (size_t i = 0; i < engine->operation_count && !engine->stopping; i++) {
		uint64_t at = next_of(engine->operations[i]);

		if (at < next)
			next = at;
	}
	if (next == UINT64_MAX) {
		event_del(engine->timer);
		return;
	}
	next = next > now ? next - now : 1;
	if (next > ENGINE_TIMER_MAX_MS)
		next = ENGINE_TIMER_MAX_MS;
	delay.tv_sec = (time_t)(next / 1000);
	delay.tv_usec = (suseconds_t)(next % 1000 * 1000);
	event_add(engine->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short events, void *user)
{
	engine_tick(user);
}

static void on_journal(evutil_socket_t fd, short events, void *user)
{
	struct engine *engine = user;

	journal_dispatch(engine->options.journal);
}

/* ---- life ---- */

int engine_new(const struct engine_options *options, struct engine **ret_engine,
	       struct failure *failure)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return failure_set(failure, ENOMEM, "engine", "cannot start");
	engine->options = *options;
	snprintf(engine->boot_id, sizeof(engine->boot_id), "%s", options->boot_id ? options->boot_id : "");
	engine->wake = event_new(options->base, -1, EV_PERSIST, take_turns, engine);
	engine->timer = event_new(options->base, -1, 0, on_timer, engine);
	engine->journal_event = event_new(options->base, journal_fd(options->journal),
					  EV_READ | EV_PERSIST, on_journal, engine);
	if (!engine->wake || !engine->timer || !engine->journal_event ||
	    event_add(engine->journal_event, NULL) < 0) {
		engine_free(engine);
		return failure_set(failure, ENOMEM, "engine", "cannot start");
	}
	*ret_engine = engine;
	return 0;
}

struct engine *engine_free(struct engine *engine)
{
	if (!engine)
		return NULL;
	if (engine->wake)
		event_free(engine->wake);
	if (engine->timer)
		event_free(engine->timer);
	if (engine->journal_event)
		event_free(engine->journal_event);
	engine->submissions = engine_submit_free_all(engine->submissions);
	engine_keep_free_all(engine);
	/* The lists point at other operations. */
	for (size_t i = 0; i < engine->operation_count; i++)
		operation_undo_list_done(engine->operations[i]);
	for (size_t i = 0; i < engine->operation_count; i++)
		free_operation(engine->operations[i]);
	for (size_t i = 0; i < engine->drain_count; i++)
		free(engine->drains[i]);
	free(engine->operations);
	free(engine->drains);
	operation_lock_table_done(&engine->locks);
	engine_stuck_free_all(engine);
	free(engine);
	return NULL;
}

int engine_recover(struct engine *engine, struct failure *failure)
{
	int r = operation_recovery_run(engine, failure);

	engine_wake(engine);
	return r;
}

void engine_wait(struct engine *engine, bool wait)
{
	engine->waiting = wait;
	for (size_t i = 0; i < engine->operation_count && !wait; i++) {
		struct operation *operation = engine->operations[i];

		/* Those that were parked for something else are parked for it again. */
		if (operation->phase == OPERATION_PHASE_PARKED &&
		    operation->parked_phase == OPERATION_PHASE_READY)
			operation_run_ready(operation, OPERATION_PHASE_READY);
	}
}

void engine_stop(struct engine *engine, void (*idle)(void *user), void *user)
{
	const struct executor *executor = engine->options.executor;

	engine->stopping = true;
	engine->idle = idle;
	engine->idle_user = user;
	engine_keep_stop(engine);
	for (size_t i = 0; i < engine->operation_count; i++) {
		struct operation *operation = engine->operations[i];

		operation_undo_stop(operation);
		if (operation->phase == OPERATION_PHASE_ACTING && !operation->cancel_asked) {
			operation->cancel_asked = true;
			executor->cancel(executor->user, operation);
		}
	}
	engine_wake(engine);
}

/* ---- what callers ask ---- */

static int find_open(struct engine *engine, const char *id, const char *action,
		     struct operation **ret_operation, struct failure *failure)
{
	struct operation *operation = engine_find_or_load(engine, id);
	int r;

	if (!operation || operation->phase == OPERATION_PHASE_CREATING) {
		r = failure_set(failure, ENOENT, id, "%s", action);
		failure_set_code(failure, "unknown_operation");
		failure_set_cause(failure, "there is no such operation");
		return r;
	}
	if (operation_run_is_ending(operation)) {
		r = failure_set(failure, EALREADY, id, "%s", action);
		failure_set_code(failure, "operation_ended");
		failure_set_cause(failure, "it has ended: %s",
				  operation_state_name(operation->final_state));
		return r;
	}
	if (operation->record->state == OPERATION_STATE_CANCELLING) {
		r = failure_set(failure, EINPROGRESS, id, "%s", action);
		failure_set_code(failure, "operation_cancelling");
		failure_set_cause(failure, "it is being %s already",
				  operation->record->undo_wanted ? "undone" : "cancelled");
		return r;
	}
	*ret_operation = operation;
	return 0;
}

int engine_cancel(struct engine *engine, const char *id, bool undo, struct failure *failure)
{
	struct operation *operation = NULL;
	int r = find_open(engine, id, "cannot cancel", &operation, failure);

	if (r < 0)
		return r;
	if (undo && operation_end_is_past_return(operation->record)) {
		r = failure_set(failure, EOPNOTSUPP, id, "cannot undo");
		failure_set_code(failure, "past_point_of_no_return");
		failure_set_cause(failure, "its target is being ejected or is ejected");
		failure_set_way_out(failure,
				    "cancel without undo; plug the memory again to have it back");
		return r;
	}
	operation->is_cancelled = true;
	operation->record->undo_wanted = undo;
	operation_run_enter(operation, OPERATION_STATE_CANCELLING);
	/* What an undo takes back anyway need not be settled first. */
	operation_run_divert(operation, undo ? OPERATION_COURSE_UNDO : OPERATION_COURSE_SETTLE);
	return 0;
}

static void set_paused(struct operation *operation, bool paused)
{
	const struct executor *executor = operation->engine->options.executor;

	/* One that had not begun has not by having been paused. */
	operation_run_enter(operation, paused				? OPERATION_STATE_PAUSED
				       : operation->record->started_at_ms ? OPERATION_STATE_RUNNING
									   : OPERATION_STATE_PENDING);
	for (struct operation *child = NULL; (child = operation_child_next(operation, child));) {
		enum operation_state state = child->record->state;

		if (paused ? state == OPERATION_STATE_RUNNING || state == OPERATION_STATE_PENDING
			   : state == OPERATION_STATE_PAUSED)
			set_paused(child, paused);
	}
	if (operation->phase == OPERATION_PHASE_ACTING)
		executor->pause(executor->user, operation, paused);
	if (!paused && operation->phase == OPERATION_PHASE_PARKED &&
	    operation->parked_phase == OPERATION_PHASE_READY)
		operation_run_ready(operation, OPERATION_PHASE_READY);
}

int engine_pause(struct engine *engine, const char *id, struct failure *failure)
{
	struct operation *operation = NULL;
	int r = find_open(engine, id, "cannot pause", &operation, failure);

	if (r == 0 && operation->record->state != OPERATION_STATE_PAUSED)
		set_paused(operation, true);
	return r;
}

int engine_resume(struct engine *engine, const char *id, struct failure *failure)
{
	struct operation *operation = NULL;
	int r = find_open(engine, id, "cannot resume", &operation, failure);

	if (r == 0 && operation->record->state == OPERATION_STATE_PAUSED)
		set_paused(operation, false);
	return r;
}

size_t engine_operations(const struct engine *engine, const struct operation_record **ret_records,
			 size_t count)
{
	size_t filled = 0;

	for (size_t i = engine->operation_count; i-- > 0 && filled < count;)
		if (engine->operations[i]->phase != OPERATION_PHASE_CREATING)
			ret_records[filled++] = engine->operations[i]->record;
	return filled;
}

const struct operation_record *engine_operation(const struct engine *engine, const char *id)
{
	const struct operation *operation = engine_find(engine, id);

	return operation && operation->phase != OPERATION_PHASE_CREATING ? operation->record : NULL;
}

size_t engine_drains(const struct engine *engine, const struct drain_record **ret_drains,
		     size_t count)
{
	size_t filled = 0;

	for (size_t i = engine->drain_count; i-- > 0 && filled < count;)
		ret_drains[filled++] = engine->drains[i];
	return filled;
}

int engine_see_holds(const struct engine *engine, struct snapshot *snapshot)
{
	engine_stuck_see(engine, snapshot);
	snapshot->hold_count = 0;
	for (size_t i = engine->drain_count; i-- > 0;) {
		struct snapshot_hold *hold;

		/* What a drain covers stays written down when its hold has ended. */
		if (!engine_drain_is_held(engine->drains[i]))
			continue;
		hold = snapshot_add_hold(snapshot);
		if (!hold)
			return -ENOMEM;
		*hold = engine->drains[i]->hold;
		hold->work = engine_drain_work(engine, engine->drains[i]);
	}
	return 0;
}

const struct drain_record *engine_drain(const struct engine *engine, const char *id)
{
	return engine_drain_find(engine, id);
}

const struct operation_record *engine_guest_operation(const struct engine *engine, const char *uuid)
{
	/* Of two, the younger waits for the older to end: the older works on the guest. */
	for (size_t i = 0; i < engine->operation_count; i++)
		if (engine->operations[i]->phase != OPERATION_PHASE_ENDED &&
		    strcmp(engine->operations[i]->record->wish.guest, uuid) == 0)
			return engine->operations[i]->record;
	return NULL;
}
