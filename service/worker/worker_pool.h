/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of its workers: one ballast-worker process a job, forked and executed over a socket pair.
 * A process and not a thread, because a kernel call that does not come back can be ended only by a signal.
 *
 * Everything runs on the loop's thread; callbacks come from the loop, never from inside worker_pool_start().
 */
#ifndef BALLAST_SERVICE_WORKER_POOL_H
#define BALLAST_SERVICE_WORKER_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include "failure.h"
#include "worker_lock.h"
#include "worker_message.h"

struct event_base;
struct sysroot;
struct worker_pool;
struct worker;

/* A worker of ours has become stuck, or a stuck one, of ours or of a daemon before us, has ended (is_gone). */
typedef void worker_pool_stuck_fn(void *user, const struct worker_stuck *stuck, bool is_gone);

struct worker_pool_options {
	struct event_base *base;	/* borrowed: lives as long as the pool */
	const char *program;		/* path of ballast-worker */
	const char *lock_path;		/* every worker holds a shared lock on it while it lives */
	unsigned limit;			/* at the same time; further jobs wait in order */
	uint32_t kill_grace_ms;		/* after a cancel without an answer: SIGKILL; after that long again: stuck */
	/*
	 * Borrowed: lives as long as the pool; NULL: not used. Serves to take away the cgroups that killed workers
	 * leave behind, to say where in the kernel a stuck one is, and to know it when it has outlived its daemon.
	 */
	const struct sysroot *sysroot;
	worker_pool_stuck_fn *on_stuck; /* NULL: nobody asks */
	void *user;
};

/*
 * Waits (blocking) up to wait_ms for another daemon and for workers of one before us to be gone. A worker that does not
 * go is one of worker_pool_stuck() then; -EBUSY where it is not known what it does, or who it is.
 */
int worker_pool_new(const struct worker_pool_options *options, uint32_t wait_ms, struct worker_pool **ret_pool,
		    struct failure *failure);
/* Kills what runs and waits a moment for its end, without callbacks. */
struct worker_pool *worker_pool_free(struct worker_pool *pool);

typedef void worker_progress_fn(void *user, uint64_t done_bytes, uint64_t total_bytes, const char *detail);
/*
 * Once, last; the worker is gone afterwards. result is borrowed for the call (take values with json_incref).
 * A worker that was cancelled and ended without a result is CANCELLED, with *failure saying that it was killed: how
 * far it had come is then not known.
 */
typedef void worker_result_fn(void *user, const struct worker_result *result);

/*
 * Returns 0 or -errno; no callback after an error. The job is copied; ret_worker may be NULL. Past the job's deadline
 * plus the grace it is cancelled as worker_cancel() does.
 */
int worker_pool_start(struct worker_pool *pool, const struct worker_job *job, worker_progress_fn *progress,
		      worker_result_fn *result, void *user, struct worker **ret_worker, struct failure *failure);

void worker_cancel(struct worker *worker);
void worker_pause(struct worker *worker);
void worker_resume(struct worker *worker);
/*
 * Budgets from now on, and what the guest felt since the last word, for pacing. It hears the newest word as soon as it can,
 * also where it waits for a place; those before it may be left out.
 */
void worker_limit(struct worker *worker, uint64_t bytes_per_s, uint32_t stall_us, uint64_t guest_pause_us);
int worker_pid(const struct worker *worker);	/* 0 while it waits for a place */

/*
 * The stuck worker of that index, from 0: those of daemons before this one first. Borrowed until the next turn of the
 * loop; NULL: there are no more.
 */
const struct worker_stuck *worker_pool_stuck(const struct worker_pool *pool, size_t index);

#endif
