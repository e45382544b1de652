/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file on which every worker holds a shared lock while it lives, and the workers of daemons before this one that do
 * not end: no signal reaches a process that waits in the kernel for a page, or for a device. A daemon that starts beside
 * such a one knows by its record (worker_record.h) what it still has in its hands, and hears by its pidfd when it has gone.
 */
#ifndef BALLAST_SERVICE_WORKER_LOCK_H
#define BALLAST_SERVICE_WORKER_LOCK_H

#include <stdbool.h>
#include "failure.h"
#include "worker_record.h"

struct event_base;
struct sysroot;
struct worker_lock;

#define WORKER_STUCK_TEXT_SIZE 256

/* A worker that has outlived SIGKILL. */
struct worker_stuck {
	struct worker_record record;
	char place[64]; /* where in the kernel, as /proc/PID/wchan had it then; empty: not told */
	bool is_orphan; /* of a daemon before this one */
};

/* sysroot NULL: nothing is known. */
void worker_stuck_fill(const struct sysroot *sysroot, const struct worker_record *record, bool is_orphan,
		       struct worker_stuck *ret_stuck);

/* "worker 4711 of a ballastd before this one does not come back from the kernel (msleep): offline blocks 64-71". */
const char *worker_stuck_describe(const struct worker_stuck *stuck, char text[WORKER_STUCK_TEXT_SIZE]);

/* It has ended, and is none of the orphans any more. From the loop. */
typedef void worker_lock_gone_fn(void *user, const struct worker_stuck *stuck);

struct worker_lock_options {
	struct event_base *base;       /* borrowed, as all here */
	const char *path;
	const struct sysroot *sysroot; /* NULL: what a worker that does not end is at is not known */
	uint32_t wait_ms;
	worker_lock_gone_fn *gone;
	void *user;
};

/*
 * Waits (blocking) up to wait_ms for another daemon and for workers of one before us to be gone: takes the lock
 * exclusively, then keeps it shared. Workers with a record that are still there then become orphans. -EBUSY where
 * whoever is still there has none.
 */
int worker_lock_take(const struct worker_lock_options *options, struct worker_lock **ret_lock, struct failure *failure);
struct worker_lock *worker_lock_free(struct worker_lock *lock);

/* The orphan of that index, from 0, borrowed until the next turn of the loop; NULL: there are no more. */
const struct worker_stuck *worker_lock_orphan(const struct worker_lock *lock, size_t index);

#endif
