/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a worker process: its end of a socket pair as descriptor 3, its shared lock as descriptor 4, SIGTERM blocked
 * until it unblocks it, "--parent PID" as its arguments.
 */
#ifndef BALLAST_SERVICE_WORKER_SPAWN_H
#define BALLAST_SERVICE_WORKER_SPAWN_H

#include <sys/types.h>
#include "failure.h"

#define WORKER_SPAWN_CHANNEL_FD 3
#define WORKER_SPAWN_LOCK_FD	4

struct worker_spawn {
	pid_t pid;
	int pidfd;	/* owned by the caller; readable when the process has ended */
	int channel_fd;	/* owned by the caller */
};

/*
 * The lock on lock_path is taken here, on a file description of its own that only the child keeps: so it holds from
 * the child's first instant to its last, whatever becomes of us in between. -EWOULDBLOCK where another daemon has
 * the lock exclusively.
 */
int worker_spawn_start(const char *program, const char *lock_path, struct worker_spawn *ret_spawn,
		       struct failure *failure);

#endif
