/* SPDX-License-Identifier: Apache-2.0 */
#include "step_runner.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "clock.h"
#include "stall_feed.h"
#include "step_runner_priv.h"

/* Which way a kind goes; the engine runs the rest itself. */
static const enum step_way ways[STEP_KIND_COUNT] = {
	[STEP_KIND_ONLINE_POLICY] = STEP_WAY_AGENT,
	[STEP_KIND_FREE_HUGE_PAGES] = STEP_WAY_AGENT,
	[STEP_KIND_RUN_HOOKS] = STEP_WAY_AGENT,
	[STEP_KIND_REQUEST] = STEP_WAY_LIBVIRT,
	[STEP_KIND_COMPACT] = STEP_WAY_AGENT,
	[STEP_KIND_MAKE_GUEST_ROOM] = STEP_WAY_AGENT,
	[STEP_KIND_RECLAIM] = STEP_WAY_AGENT,
	[STEP_KIND_OFFLINE_GUEST_BLOCKS] = STEP_WAY_AGENT,
	[STEP_KIND_KICK] = STEP_WAY_LIBVIRT,
	[STEP_KIND_AWAIT] = STEP_WAY_LIBVIRT,
	[STEP_KIND_SETTLE] = STEP_WAY_LIBVIRT,
	[STEP_KIND_AGENT_COMMIT] = STEP_WAY_AGENT,
	[STEP_KIND_AGENT_UNDO] = STEP_WAY_AGENT,
	[STEP_KIND_BALLOON] = STEP_WAY_LIBVIRT,
	[STEP_KIND_HOST_POOL] = STEP_WAY_WORKER,
	[STEP_KIND_CPUSET] = STEP_WAY_WORKER,
	[STEP_KIND_NUMATUNE] = STEP_WAY_LIBVIRT,
	[STEP_KIND_MEMORY_POLICY] = STEP_WAY_WORKER,
	[STEP_KIND_REPORT_FREE] = STEP_WAY_AGENT,
	[STEP_KIND_LAZY] = STEP_WAY_WORKER,
	[STEP_KIND_MOVE_PAGES] = STEP_WAY_WORKER,
	[STEP_KIND_CPUS] = STEP_WAY_LIBVIRT,
	[STEP_KIND_PERSIST] = STEP_WAY_LIBVIRT,
	[STEP_KIND_CORDON] = STEP_WAY_ENGINE,
	[STEP_KIND_UNCORDON] = STEP_WAY_ENGINE,
	[STEP_KIND_CHILD] = STEP_WAY_ENGINE,
	[STEP_KIND_HOST_HOOKS] = STEP_WAY_WORKER,
	[STEP_KIND_OFFLINE_BLOCKS] = STEP_WAY_WORKER,
	[STEP_KIND_ONLINE_BLOCKS] = STEP_WAY_WORKER,
	[STEP_KIND_SLICE_CPUSETS] = STEP_WAY_WORKER,
	[STEP_KIND_EJECT] = STEP_WAY_WORKER,
	[STEP_KIND_UNDO] = STEP_WAY_ENGINE,
	[STEP_KIND_PROBE] = STEP_WAY_WORKER,
	[STEP_KIND_PROOF] = STEP_WAY_WORKER,
};

enum step_way step_way_of(enum step_kind kind)
{
	return kind < STEP_KIND_COUNT ? ways[kind] : STEP_WAY_ENGINE;
}

uint32_t step_run_left_ms(const struct step_run *run, uint32_t fallback_ms)
{
	uint64_t now = wall_ms();

	if (run->deadline_ms == 0)
		return fallback_ms;
	if (run->deadline_ms < now + 1000)
		return 1000;
	return run->deadline_ms - now > UINT32_MAX ? UINT32_MAX : (uint32_t)(run->deadline_ms - now);
}

const struct snapshot_guest *step_run_guest(const struct step_run *run)
{
	return snapshot_guest(look_snapshot(run->runner->options.look), run->step.guest);
}

void step_run_note_process(struct step_run *run)
{
	const struct snapshot_guest *guest = run->step.guest[0] ? step_run_guest(run) : NULL;

	if (guest && json_is_object(run->before))
		json_object_set_new(run->before, "process",
				    json_pack("{s:i, s:I}", "pid", guest->pid, "start_time",
					      (json_int_t)guest->start_time));
}

/* Lives until look has answered, though the run that wanted it may have finished. */
struct step_look {
	struct step_runner *runner;
	struct step_run *run;		/* NULL: nobody waits any more */
	void (*looked)(struct step_run *run, int error);
	struct step_look *next, **link;	/* in runner->looks */
};

static void step_look_free(struct step_look *look)
{
	*look->link = look->next;
	if (look->next)
		look->next->link = look->link;
	free(look);
}

static void on_step_looked(void *user, int error, const struct failure *failure)
{
	struct step_look *look = user;
	struct step_run *run = look->run;
	void (*looked)(struct step_run *run, int error) = look->looked;

	step_look_free(look);
	if (!run)
		return;
	run->look = NULL;
	looked(run, error);
}

void step_run_look(struct step_run *run, unsigned what, void (*looked)(struct step_run *run, int error))
{
	struct step_runner *runner = run->runner;
	struct step_look *look;

	if (run->look)
		return;
	look = calloc(1, sizeof(*look));
	if (!look) {
		looked(run, -ENOMEM);
		return;
	}
	*look = (struct step_look){.runner = runner, .run = run, .looked = looked, .next = runner->looks, .link = &runner->looks};
	if (look->next)
		look->next->link = &look->next;
	runner->looks = look;
	run->look = look;
	look_refresh(runner->options.look, run->step.guest, what, on_step_looked, look);
}

static void run_free(struct step_run *run)
{
	look_watch_free(run->watch);
	stall_feed_end(run->feed, NULL);
	if (run->timer)
		event_free(run->timer);
	json_decref(run->before);
	placement_change_free(run->changes);
	step_done(&run->step);
	free(run->result);
	free(run);
}

static void on_reap(evutil_socket_t fd, short what, void *user)
{
	struct step_runner *runner = user;

	while (runner->finished) {
		struct step_run *run = runner->finished;

		runner->finished = run->next;
		run_free(run);
	}
}

/* Takes the run off the list of those that can be cancelled; freed when nobody is inside it any more. */
static void retire(struct step_run *run)
{
	struct step_runner *runner = run->runner;

	for (struct step_run **link = &runner->runs; *link; link = &(*link)->next)
		if (*link == run) {
			*link = run->next;
			break;
		}
	run->watch = look_watch_free(run->watch);
	if (run->timer)
		event_free(run->timer);
	run->timer = NULL;
	if (run->look)
		run->look->run = NULL;
	run->look = NULL;
	run->is_finished = true;
	run->next = runner->finished;
	runner->finished = run;
	if (run->shares)
		step_worker_share(runner);
	event_active(runner->reap, EV_TIMEOUT, 0);
}

void step_run_finish(struct step_run *run)
{
	executor_finished_fn *finished = run->finished;

	retire(run);
	run->outcome.result = run->result;
	finished(run->token, &run->outcome);
}

void step_run_done(struct step_run *run, const char *detail)
{
	run->outcome.state = STEP_STATE_DONE;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail), "%s", detail);
	step_run_finish(run);
}

void step_run_fail(struct step_run *run, enum remainder_code code, uint64_t bytes, const char *detail, ...)
{
	char object[96], text[192];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	if (run->step.guest_name[0])
		snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
	else if (run->step.dimm[0])
		snprintf(object, sizeof(object), "dimm %s", run->step.dimm);
	else
		snprintf(object, sizeof(object), "host");
	run->outcome.state = run->outcome.bytes_done ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail), "%.159s", text);
	remainder_list_add(&run->outcome.remainder, code, object, bytes, NULL, "%s", text);
	step_run_finish(run);
}

void step_run_prepared(struct step_run *run, int error, const struct failure *failure)
{
	CLEANUP_FREE char *text = run->before ? json_dumps(run->before, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	executor_prepared_fn *prepared = run->prepared;
	struct failure short_of_memory = {0};

	/* Without the old values there would be no way back. */
	if (!error && run->before && !text) {
		error = failure_set(&short_of_memory, ENOMEM, "ballastd", "cannot write down what the step would replace");
		failure = &short_of_memory;
	}
	retire(run);
	prepared(run->token, error, text, failure);
}

/*
 * Blocks and hooks have a deadline each: what a drain goes on with past its time is not cut short by that. Nor is what keeps its
 * memory empty when it has ended.
 */
static bool goes_on(const struct operation_record *operation)
{
	return operation_state_is_final(operation->state) ||
	       (operation->wish.kind == OPERATION_KIND_DRAIN && operation->wish.on_timeout == ON_TIMEOUT_CONTINUE);
}

static struct step_run *run_new(struct step_runner *runner, const struct operation_record *operation,
				const struct step_record *record, void *token)
{
	struct step_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->runner = runner;
	run->token = token;
	if (step_copy(&record->step, &run->step) < 0) {
		free(run);
		return NULL;
	}
	snprintf(run->operation, sizeof(run->operation), "%s", operation->id);
	run->persists = operation->wish.kind == OPERATION_KIND_MOVE && operation->wish.move.persist;
	run->start_bytes = operation->snapshot_before_bytes;
	run->deadline_ms = goes_on(operation) ? 0 : operation->deadline_ms;
	run->is_taken_up = record->is_taken_up;
	run->is_help = strcmp(operation->actor, OPERATION_ACTOR_LIBVIRT) == 0;
	if (record->before)
		run->before = json_loads(record->before, JSON_REJECT_DUPLICATES, NULL);
	run->next = runner->runs;
	runner->runs = run;
	return run;
}

static void out_of_memory(executor_finished_fn *finished, void *token)
{
	struct executor_outcome outcome = {.state = STEP_STATE_FAILED};

	snprintf(outcome.detail, sizeof(outcome.detail), "out of memory");
	remainder_list_add(&outcome.remainder, REMAINDER_INVALID, "ballastd", 0, NULL, "out of memory");
	finished(token, &outcome);
}

/* A run that tells how it goes and how it ended; NULL where memory is short, which it has told. */
static struct step_run *run_new_told(struct step_runner *runner, const struct operation_record *operation,
				     const struct step_record *record, executor_progress_fn *progress,
				     executor_finished_fn *finished, void *token)
{
	struct step_run *run = run_new(runner, operation, record, token);

	if (!run) {
		out_of_memory(finished, token);
		return NULL;
	}
	run->progress = progress;
	run->finished = finished;
	return run;
}

/* Looking */

struct look_token {
	struct step_runner *runner;
	executor_looked_fn *looked;
	void *token;
};

static void on_looked(void *user, int error, const struct failure *failure)
{
	struct look_token look = *(struct look_token *)user;

	free(user);
	look.looked(look.token, error, error ? NULL : look_snapshot(look.runner->options.look), failure);
}

/* Of a move: where its pages lie, unless the last step can have changed nothing of that; and what is free in the guest. */
static unsigned to_look_at(const struct operation_record *operation)
{
	const struct step_record *last = operation->step_count ? &operation->steps[operation->step_count - 1] : NULL;
	unsigned what = LOOK_SURVEY | (last ? LOOK_NODES : 0);

	if (last && last->state == STEP_STATE_DONE &&
	    (last->step.kind == STEP_KIND_OFFLINE_GUEST_BLOCKS || last->step.kind == STEP_KIND_SETTLE))
		what = LOOK_NODES;
	if (!last || last->state == STEP_STATE_UNDONE || last->step.kind == STEP_KIND_CPUSET || last->step.kind == STEP_KIND_NUMATUNE ||
	    last->step.kind == STEP_KIND_MEMORY_POLICY || last->step.kind == STEP_KIND_LAZY)
		what |= LOOK_POLICY;
	/* An agent that does not answer would delay each look of a move that has no use for it. */
	if (operation->wish.allow >> CONSENT_SHRINK_GUESTS & 1)
		what |= LOOK_AGENT;
	return what;
}

/* Has an undrain given its policies back to a guest whose pages no undo moves? Whether it is at home is told by these. */
static bool has_undone_pinned(const struct operation_record *operation, const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->guest_count; i++)
		for (size_t j = 0; snapshot->guests[i].vfio && j < operation->step_count; j++)
			if (operation->steps[j].step.kind == STEP_KIND_UNDO &&
			    strcmp(operation->steps[j].step.guest, snapshot->guests[i].uuid) == 0)
				return true;
	return false;
}

/*
 * Of a drain: all guests. What each can spare they are asked when it is checked, and where the next of them may have to
 * become smaller. Its moves look at their own guests.
 */
static unsigned to_look_at_all(const struct operation_record *operation, const struct snapshot *snapshot)
{
	const struct step_record *last = operation->step_count ? &operation->steps[operation->step_count - 1] : NULL;
	bool may_shrink = operation->wish.kind == OPERATION_KIND_DRAIN &&
			  operation->wish.drain_wish.finish != DRAIN_FINISH_CORDON;
	bool goes_offline = operation->wish.kind == OPERATION_KIND_DRAIN &&
			    operation->wish.drain_wish.finish >= DRAIN_FINISH_OFFLINE;
	bool shrinks = may_shrink && operation->wish.allow >> CONSENT_SHRINK_GUESTS & 1;

	if (!last)
		return LOOK_SURVEY | LOOK_POLICY | (may_shrink ? LOOK_AGENT : 0) | (goes_offline ? LOOK_PINNERS : 0);
	return LOOK_SURVEY | (has_undone_pinned(operation, snapshot) ? LOOK_POLICY : 0) |
	       (shrinks && (last->step.kind == STEP_KIND_CORDON || step_shrinks(&last->step)) ? LOOK_AGENT : 0);
}

/* A shrink that has ended before its goal. */
static bool is_to_explain(const struct operation_record *operation, const struct snapshot_guest *guest)
{
	const struct step *last = operation->step_count ? &operation->steps[operation->step_count - 1].step : NULL;

	return last && (last->kind == STEP_KIND_SETTLE || last->kind == STEP_KIND_AGENT_COMMIT) && guest &&
	       guest->current_bytes > operation->snapshot_wanted_bytes;
}

/*
 * Of a resize: what the guest says, each time. What is in its blocks a forecast needs, and the reasons for what stayed; how
 * its memory is bound the question whether a grow has room: no step changes anything about that.
 */
static unsigned to_look_at_size(const struct operation_record *operation, const struct snapshot *snapshot)
{
	bool is_submitted = operation->id[0];
	bool holders = !operation->step_count ||
		       is_to_explain(operation, snapshot_guest(snapshot, operation->wish.guest));

	return LOOK_AGENT | (operation->step_count ? LOOK_NODES : 0) | (holders ? LOOK_HOLDERS : 0) |
	       (is_submitted ? 0 : LOOK_SURVEY);
}

/* What the wish names of the host's memory beside DIMMs and nodes. Borrowed from it. */
static size_t named_ranges(const struct wish *wish, const struct snapshot_range **ret_ranges)
{
	switch (wish->kind) {
	case OPERATION_KIND_MOVE:
		*ret_ranges = wish->move.ranges;
		return wish->move.range_count;
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		*ret_ranges = &wish->drain_wish.range;
		return wish->drain_wish.target == DRAIN_TARGET_RANGE;
	case OPERATION_KIND_RESIZE:
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
	*ret_ranges = NULL;
	return 0;
}

static void runner_look(void *user, const struct operation_record *operation, executor_looked_fn *looked, void *token)
{
	struct step_runner *runner = user;
	struct look_token *look = malloc(sizeof(*look));
	const struct snapshot_range *ranges;
	size_t count = named_ranges(&operation->wish, &ranges);
	struct failure failure;

	if (!look) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot look");
		looked(token, -ENOMEM, NULL, &failure);
		return;
	}
	*look = (struct look_token){.runner = runner, .looked = looked, .token = token};
	switch (operation->wish.kind) {
	case OPERATION_KIND_RESIZE:
		look_refresh(runner->options.look, operation->wish.guest,
			     to_look_at_size(operation, look_snapshot(runner->options.look)), on_looked, look);
		return;
	case OPERATION_KIND_MOVE:
		look_refresh_ranges(runner->options.look, operation->wish.guest, to_look_at(operation), ranges, count,
				    on_looked, look);
		return;
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		look_refresh_ranges(runner->options.look, NULL,
				    to_look_at_all(operation, look_snapshot(runner->options.look)), ranges, count, on_looked,
				    look);
		return;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
	look_refresh(runner->options.look, "", 0, on_looked, look);
}

/* Steps */

static void runner_prepare(void *user, const struct operation_record *operation, const struct step_record *record,
			   const struct snapshot *snapshot, executor_prepared_fn *prepared, void *token)
{
	struct step_run *run = run_new(user, operation, record, token);
	struct failure failure;

	if (!run) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot prepare a step");
		prepared(token, -ENOMEM, NULL, &failure);
		return;
	}
	run->prepared = prepared;
	run->owed = placement_owed(operation, record);
	json_decref(run->before);
	run->before = NULL;
	switch (step_way_of(run->step.kind)) {
	case STEP_WAY_WORKER:
		step_worker_prepare(run);
		return;
	case STEP_WAY_LIBVIRT:
		step_libvirt_prepare(run);
		return;
	case STEP_WAY_AGENT:
		/* What the agent changes it writes down itself, under the operation's lease. */
	case STEP_WAY_ENGINE:
		step_run_prepared(run, 0, NULL);
		return;
	}
}

void step_run_begin(struct step_run *run)
{
	switch (step_way_of(run->step.kind)) {
	case STEP_WAY_WORKER:
		step_worker_start(run);
		return;
	case STEP_WAY_LIBVIRT:
		step_libvirt_start(run);
		return;
	case STEP_WAY_AGENT:
		step_agent_start(run);
		return;
	case STEP_WAY_ENGINE:
		step_run_fail(run, REMAINDER_INVALID, 0, "%s is no step of a host", step_kind_name(run->step.kind));
		return;
	}
}

static void runner_start(void *user, const struct operation_record *operation, const struct step_record *record,
			 const struct snapshot *snapshot, executor_progress_fn *progress,
			 executor_finished_fn *finished, void *token)
{
	struct step_run *run = run_new_told(user, operation, record, progress, finished, token);

	if (run)
		step_run_begin(run);
}

/* Is the size that is requested of the step's device one that neither the operation nor what was before it has asked for? */
static bool is_foreign(const struct step_run *run, const struct operation_record *operation)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	const json_t *old = json_object_get(run->before, "requested_bytes");
	uint64_t requested = guest ? step_size_requested(run, guest) : 0;

	if (!guest || run->step.kind != STEP_KIND_REQUEST ||
	    (json_is_integer(old) && (uint64_t)json_integer_value(old) == requested))
		return false;
	for (size_t i = 0; i < operation->step_count; i++) {
		const struct step *step = &operation->steps[i].step;

		if ((step->kind == STEP_KIND_REQUEST || step->kind == STEP_KIND_KICK || step->kind == STEP_KIND_SETTLE) &&
		    strcmp(step->device, run->step.device) == 0 && step->target_bytes == requested)
			return false;
	}
	return run->step.target_bytes != requested;
}

/* Of the huge pages that the step has freed: these no lease gives back any more. */
static uint64_t kept_bytes(const struct operation_record *operation, const struct step_record *record)
{
	if (record->step.kind != STEP_KIND_FREE_HUGE_PAGES)
		return 0;
	for (size_t i = 0; i < operation->step_count; i++) {
		const struct step_record *commit = &operation->steps[i];

		if (commit->step.kind != STEP_KIND_AGENT_COMMIT || commit->n < record->n ||
		    (commit->state != STEP_STATE_DONE && commit->state != STEP_STATE_PARTIAL))
			continue;
		/* How far it had come when a restart cut it short nobody knows; no more is given back than is owed. */
		return remainder_list_has(&record->remainder, REMAINDER_RESTARTED) ? record->step.bytes : record->bytes_done;
	}
	return 0;
}

static void runner_undo(void *user, const struct operation_record *operation, const struct step_record *record,
			executor_progress_fn *progress, executor_finished_fn *finished, void *token)
{
	struct step_run *run = run_new_told(user, operation, record, progress, finished, token);

	if (!run)
		return;
	run->undoing = true;
	run->is_taken_up = false;
	run->is_foreign = is_foreign(run, operation);
	run->kept_bytes = kept_bytes(operation, record);
	/* An undo has as long as it takes: the operation's deadline is what led here. */
	run->deadline_ms = 0;
	step_changed_begin(run, operation, record);
}

static void runner_cancel(void *user, void *token)
{
	struct step_runner *runner = user;

	for (struct step_run *run = runner->runs; run; run = run->next) {
		if (run->token != token || run->cancelled || !run->finished)
			continue;
		run->cancelled = true;
		if (run->changes) {
			step_worker_cancel(run);
			return;
		}
		switch (step_way_of(run->step.kind)) {
		case STEP_WAY_WORKER:
			step_worker_cancel(run);
			return;
		case STEP_WAY_LIBVIRT:
			step_libvirt_cancel(run);
			return;
		case STEP_WAY_AGENT:
			step_agent_cancel(run);
			return;
		case STEP_WAY_ENGINE:
			return;
		}
	}
}

static void runner_pause(void *user, void *token, bool paused)
{
	struct step_runner *runner = user;

	for (struct step_run *run = runner->runs; run; run = run->next) {
		if (run->token != token || !run->worker)
			continue;
		run->paused = paused;
		if (paused)
			worker_pause(run->worker);
		else
			worker_resume(run->worker);
		if (run->shares)
			step_worker_share(runner);
	}
}

struct step_runner *step_runner_new(const struct step_runner_options *options)
{
	struct step_runner *runner = calloc(1, sizeof(*runner));

	if (!runner)
		return NULL;
	runner->options = *options;
	runner->executor = (struct executor){
		.user = runner,
		.look = runner_look,
		.prepare = runner_prepare,
		.start = runner_start,
		.undo = runner_undo,
		.cancel = runner_cancel,
		.pause = runner_pause,
	};
	runner->reap = event_new(options->base, -1, 0, on_reap, runner);
	if (!runner->reap)
		return step_runner_free(runner);
	return runner;
}

struct step_runner *step_runner_free(struct step_runner *runner)
{
	if (!runner)
		return NULL;
	on_reap(-1, 0, runner);
	/* Their answers do not come any more: look goes before. */
	while (runner->looks)
		step_look_free(runner->looks);
	while (runner->runs) {
		struct step_run *run = runner->runs;

		runner->runs = run->next;
		run_free(run);
	}
	if (runner->reap)
		event_free(runner->reap);
	free(runner);
	return NULL;
}

const struct executor *step_runner_executor(struct step_runner *runner)
{
	return &runner->executor;
}
