/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup of a worker's own, with the nodes that its work shall land on: the kernel sends the pages of a block that
 * goes offline where the cpuset of the writing process allows (mm/page_alloc.c __alloc_pages obeys the caller's).
 */
#ifndef BALLAST_SERVICE_WORKER_CGROUP_H
#define BALLAST_SERVICE_WORKER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "cgroup_memory.h"

struct sysroot;

#define WORKER_CGROUP_PREFIX "ballast.worker."

/* "/ballast.worker.4711". Returns path. */
const char *worker_cgroup_path(pid_t pid, char path[CGROUP_MEMORY_PATH_SIZE]);

struct worker_cgroup {
	bool is_inside;
	char home[CGROUP_MEMORY_PATH_SIZE]; /* where the process was before */
};

/* Makes the group of this process and moves it in. Returns 0 or -errno, with the process where it was. */
int worker_cgroup_enter(const struct sysroot *sysroot, uint64_t nodes, struct worker_cgroup *group);
/* Back home, and the group away. Does nothing where the process did not enter. */
void worker_cgroup_leave(const struct sysroot *sysroot, struct worker_cgroup *group);

#endif
