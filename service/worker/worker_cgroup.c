/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_cgroup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "node_mask.h"

const char *worker_cgroup_path(pid_t pid, char path[CGROUP_MEMORY_PATH_SIZE])
{
	snprintf(path, CGROUP_MEMORY_PATH_SIZE, "/" WORKER_CGROUP_PREFIX "%d", (int)pid);
	return path;
}

int worker_cgroup_enter(const struct sysroot *sysroot, uint64_t nodes, struct worker_cgroup *group)
{
	char path[CGROUP_MEMORY_PATH_SIZE];
	struct node_set mems = node_mask_to_set(nodes);
	pid_t pid = getpid();
	int rc;

	memset(group, 0, sizeof(*group));
	rc = cgroup_memory_read_path(sysroot, pid, group->home);
	if (rc)
		return rc;
	worker_cgroup_path(pid, path);
	rc = cgroup_memory_make(sysroot, path, &mems);
	if (!rc)
		rc = cgroup_memory_attach(sysroot, path, pid);
	if (rc)
		cgroup_memory_remove(sysroot, path);
	else
		group->is_inside = true;
	return rc;
}

void worker_cgroup_leave(const struct sysroot *sysroot, struct worker_cgroup *group)
{
	char path[CGROUP_MEMORY_PATH_SIZE];

	if (!group->is_inside)
		return;
	if (!cgroup_memory_attach(sysroot, group->home, getpid()))
		cgroup_memory_remove(sysroot, worker_cgroup_path(getpid(), path));
	group->is_inside = false;
}
