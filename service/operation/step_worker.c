/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that a worker process runs.
 */
#include "step_runner_priv.h"

#include <errno.h>
#include <string.h>
#include "budget_share.h"
#include "guest_look.h"
#include "stall_feed.h"

/*
 * An undo has as long as it takes, and only moving pages back takes long. What hangs in the kernel beyond this is ended,
 * or named as stuck.
 */
#define UNDO_DEADLINE_MS 600000

/*
 * A worker says which block it begins with. When the block's time is over a signal ends its write, and it finds out who holds
 * the block. One that says nothing for so much longer is one that the signal does not reach.
 */
#define BLOCK_SILENCE_MS 30000

static enum remainder_code code_of(enum worker_outcome outcome)
{
	switch (outcome) {
	case WORKER_OUTCOME_DIED:
		return REMAINDER_WORKER_DIED;
	case WORKER_OUTCOME_STUCK:
		return REMAINDER_KERNEL_STUCK;
	case WORKER_OUTCOME_CANCELLED:
		return REMAINDER_CANCELLED;
	case WORKER_OUTCOME_DONE:
	case WORKER_OUTCOME_PARTIAL:
	case WORKER_OUTCOME_FAILED:
	case WORKER_OUTCOME_COUNT:
		break;
	}
	return REMAINDER_INVALID;
}

/* Fills a job from the step and from what is known of the guest. -ESRCH where the guest does not run. */
static int fill_job(struct step_run *run, struct worker_job *job)
{
	if (step_copy(&run->step, &job->step) < 0)
		return -ENOMEM;
	if (run->step.kind == STEP_KIND_HOST_HOOKS) {
		snprintf(job->hook_directory, sizeof(job->hook_directory), "%s",
			 run->runner->options.hook_directory ? run->runner->options.hook_directory : "");
		memcpy(job->operation, run->operation, sizeof(job->operation));
	}
	if (run->step.kind == STEP_KIND_SLICE_CPUSETS && run->undoing)
		job->step.from_nodes = snapshot_held_nodes(look_snapshot(run->runner->options.look), NULL);
	/* A pool is the host's, though it serves a guest: it is put right also when that has ended. */
	if (!run->step.guest[0] || run->step.kind == STEP_KIND_HOST_POOL)
		return 0;
	const struct snapshot_guest *guest = step_run_guest(run);

	if (!guest || guest->pid <= 0)
		return -ESRCH;
	job->process = (struct worker_process){guest->pid, guest->start_time};
	guest_look_ram_sizes(guest, job);
	return 0;
}

static void on_before(void *user, const struct worker_result *result)
{
	struct step_run *run = user;

	run->worker = NULL;
	if (result->outcome != WORKER_OUTCOME_DONE) {
		step_run_prepared(run, result->failure.error ? -result->failure.error : -EIO, &result->failure);
		return;
	}
	run->before = json_incref(result->values);
	step_run_note_process(run);
	step_changed_prepared(run);
}

void step_worker_prepare(struct step_run *run)
{
	struct worker_job job = {.kind = WORKER_JOB_BEFORE, .deadline_ms = step_run_left_ms(run, 60000)};
	struct failure failure = {0};
	int r;

	/* Looking at the host's own fitness replaces nothing. */
	if (run->step.kind == STEP_KIND_PROBE || run->step.kind == STEP_KIND_PROOF) {
		step_run_prepared(run, 0, NULL);
		return;
	}
	/* What they change nobody but they can tell, and put back: by being run once more. */
	if (run->step.kind == STEP_KIND_HOST_HOOKS) {
		run->before = json_object();
		step_run_prepared(run, run->before ? 0 : -ENOMEM, NULL);
		return;
	}
	r = fill_job(run, &job);
	if (r < 0)
		failure_set(&failure, r, run->step.guest_name, "cannot read what the step would replace");
	else
		r = worker_pool_start(run->runner->options.pool, &job, NULL, on_before, run, &run->worker, &failure);
	worker_job_done(&job);
	if (r < 0)
		step_run_prepared(run, r, &failure);
}

static void on_progress(void *user, uint64_t done_bytes, uint64_t total_bytes, const char *detail)
{
	struct step_run *run = user;

	if (run->progress)
		run->progress(run->token, done_bytes, total_bytes, detail);
}

static void on_felt(void *user, uint64_t longest_us)
{
	struct step_run *run = user;

	if (run->worker)
		worker_limit(run->worker, run->bytes_per_s, run->step.budget_stall_us, longest_us);
}

/* The host's rate holds for each pair of nodes, whoever moves between them: those that do have it in equal parts. */
static uint64_t part_of(const struct step_run *run)
{
	unsigned sharers = 1;

	for (const struct step_run *other = run->runner->runs; other; other = other->next)
		if (other != run && other->shares && !other->paused &&
		    budget_share_meets(&run->step, run->undoing, &other->step, other->undoing))
			sharers++;
	return budget_share_part(run->step.budget_bytes_per_s, sharers);
}

void step_worker_share(struct step_runner *runner)
{
	for (struct step_run *run = runner->runs; run; run = run->next) {
		uint64_t part;

		if (!run->shares || !run->worker)
			continue;
		part = part_of(run);
		if (part == run->bytes_per_s)
			continue;
		run->bytes_per_s = part;
		worker_limit(run->worker, part, run->step.budget_stall_us, 0);
	}
}

/*
 * libvirt moves, saves or dumps the guest: its pages are left alone from now on. An undo goes on, because nobody would
 * put back later what it leaves.
 */
static void on_guest_changed(void *user)
{
	struct step_run *run = user;
	const struct snapshot_guest *guest = step_run_guest(run);

	if (!run->worker || run->gives_way || !guest || !guest->migrating)
		return;
	run->gives_way = true;
	worker_cancel(run->worker);
}

static void begin_feed(struct step_run *run)
{
	/* Without one the move is paced by its own calls. */
	run->feed = stall_feed_new(&(struct stall_feed_options){.base = run->runner->options.base,
								.look = run->runner->options.look,
								.guest = run->step.guest,
								.felt = on_felt,
								.user = run});
}

/* The worker's values, and what the guest felt if it told. NULL: neither. */
static char *result_text(struct step_run *run, const json_t *values)
{
	struct stall_feed_felt felt;
	json_t *guest, *json;
	char *text;

	run->feed = stall_feed_end(run->feed, &felt);
	if (felt.samples == 0)
		return values ? json_dumps(values, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json = json_is_object(values) ? json_copy((json_t *)values) : json_object();
	guest = json_pack("{s:I, s:I, s:I}", "longest_pause_us", (json_int_t)felt.longest_us, "p99_us",
			  (json_int_t)felt.p99_us, "samples", (json_int_t)felt.samples);
	json_object_set_new(json, "guest", guest);
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(json);
	return text;
}

static void on_result(void *user, const struct worker_result *result)
{
	struct step_run *run = user;
	struct executor_outcome *outcome = &run->outcome;

	outcome->stuck_pid = result->outcome == WORKER_OUTCOME_STUCK ? worker_pid(run->worker) : 0;
	run->worker = NULL;
	outcome->bytes_done = result->bytes_done;
	outcome->longest_pause_us = result->longest_pause_us;
	remainder_list_append(&outcome->remainder, &result->remainder);
	run->result = result_text(run, result->values);
	failure_format(&result->failure, outcome->detail, sizeof(outcome->detail));
	const char *said = json_string_value(json_object_get(result->values, "detail"));

	if (!outcome->detail[0] && said)
		snprintf(outcome->detail, sizeof(outcome->detail), "%.159s", said);
	switch (result->outcome) {
	case WORKER_OUTCOME_DONE:
		outcome->state = STEP_STATE_DONE;
		break;
	case WORKER_OUTCOME_PARTIAL:
		outcome->state = STEP_STATE_PARTIAL;
		break;
	case WORKER_OUTCOME_STUCK:
		outcome->kernel_stuck = true;
		outcome->state = STEP_STATE_PARTIAL;
		break;
	case WORKER_OUTCOME_DIED:
		/* It may have done any part of it: only the next look can say. */
		outcome->state = STEP_STATE_PARTIAL;
		break;
	case WORKER_OUTCOME_CANCELLED:
		/* So has one that was killed after a cancel, which is the pool's word and no worker's. */
		outcome->state = result->bytes_done || failure_is_set(&result->failure) ? STEP_STATE_PARTIAL
											: STEP_STATE_FAILED;
		break;
	case WORKER_OUTCOME_FAILED:
	case WORKER_OUTCOME_COUNT:
		outcome->state = result->bytes_done ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
		break;
	}
	if (outcome->state != STEP_STATE_DONE && outcome->remainder.count == 0) {
		char object[96];

		snprintf(object, sizeof(object), "%s%s", run->step.guest_name[0] ? "guest " : "",
			 run->step.guest_name[0] ? run->step.guest_name :
			 run->step.dimm[0]	 ? run->step.dimm :
						   "host");
		remainder_list_add(&outcome->remainder, code_of(result->outcome), object, 0, NULL, "%s",
				   outcome->detail[0] ? outcome->detail : worker_outcome_name(result->outcome));
	}
	if (run->gives_way && !run->cancelled)
		/* Cancelled, but nobody asked for that. */
		remainder_list_recode(&outcome->remainder, REMAINDER_CANCELLED, REMAINDER_MIGRATION_JOB,
				      "libvirt began to migrate, save or dump it meanwhile");
	if (run->step.kind == STEP_KIND_MEMORY_POLICY || run->step.kind == STEP_KIND_CPUSET)
		look_set_managed(run->runner->options.look, run->step.guest, !run->undoing);
	step_run_finish(run);
}

void step_worker_start(struct step_run *run)
{
	struct worker_job job = {.kind = run->undoing ? WORKER_JOB_UNDO : WORKER_JOB_STEP};
	struct failure failure = {0};
	int r;

	if (run->undoing) {
		/* Nothing was written down, so nothing was begun. */
		if (!run->before) {
			run->outcome.state = STEP_STATE_DONE;
			step_run_finish(run);
			return;
		}
		job.before = json_dumps(run->before, JSON_COMPACT | JSON_SORT_KEYS);
		/* Hooks have a deadline each. */
		if (run->step.kind != STEP_KIND_MOVE_PAGES && run->step.kind != STEP_KIND_LAZY &&
		    run->step.kind != STEP_KIND_HOST_HOOKS)
			job.deadline_ms = UNDO_DEADLINE_MS;
	} else {
		job.deadline_ms = step_timeout_ms(&run->step);
		/*
		 * A lazy move ends in its own time and calls that done: the deadline that cuts it short is that of
		 * the operation. Hooks that are told of its end are run also where that was the deadline.
		 */
		if (run->step.kind == STEP_KIND_LAZY || (job.deadline_ms == 0 && !step_is_after(&run->step)))
			job.deadline_ms = step_run_left_ms(run, 0);
	}
	if (run->step.kind == STEP_KIND_OFFLINE_BLOCKS) {
		job.cpuset_nodes = run->step.nodes;
		if (run->step.timeout_ms && !run->undoing)
			job.silence_ms = run->step.timeout_ms + BLOCK_SILENCE_MS;
	}
	r = fill_job(run, &job);
	if (r == -ESRCH && run->undoing) {
		/* The guest has ended: what was changed of it ended with it. */
		run->outcome.state = STEP_STATE_DONE;
		snprintf(run->outcome.detail, sizeof(run->outcome.detail), "the guest is gone");
		worker_job_done(&job);
		step_run_finish(run);
		return;
	}
	run->shares = r == 0 && run->step.kind == STEP_KIND_MOVE_PAGES && run->step.budget_is_shared;
	run->bytes_per_s = run->shares ? part_of(run) : run->step.budget_bytes_per_s;
	job.step.budget_bytes_per_s = run->bytes_per_s;
	if (r == 0)
		r = worker_pool_start(run->runner->options.pool, &job, on_progress, on_result, run, &run->worker,
				      &failure);
	worker_job_done(&job);
	if (r == 0 && run->shares)
		step_worker_share(run->runner);
	if (r == 0 && run->step.kind == STEP_KIND_MOVE_PAGES)
		begin_feed(run);
	if (r == 0 && !run->undoing &&
	    (run->step.kind == STEP_KIND_MOVE_PAGES || run->step.kind == STEP_KIND_LAZY))
		run->watch = look_watch_new(run->runner->options.look, run->step.guest, on_guest_changed, run);
	if (r == -ESRCH) {
		step_run_fail(run, REMAINDER_GUEST_GONE, run->step.bytes, "it does not run any more");
	} else if (r < 0) {
		char text[160];

		step_run_fail(run, REMAINDER_WORKER_DIED, run->step.bytes, "no worker could be started: %s",
			      failure_is_set(&failure) ? failure_format(&failure, text, sizeof(text)) : strerror(-r));
	}
}

void step_worker_cancel(struct step_run *run)
{
	if (run->worker)
		worker_cancel(run->worker);
}
