/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a cgroup is that the kernel names by its inode alone: its path, and the processes in it.
 */
#ifndef BALLAST_KVM_CGROUP_OWNER_H
#define BALLAST_KVM_CGROUP_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "cgroup_memory.h"

struct sysroot;

struct cgroup_owner {
	uint64_t inode;
	char path[CGROUP_MEMORY_PATH_SIZE]; /* empty: there is none of that inode (any more), or none in sight */
	size_t process_count;		    /* in the group itself, threads of the kernel left out */
	/* Of these the one with most resident memory; pid 0: there is none. It need not be the one whose page it is. */
	pid_t pid;
	char name[16];
	bool is_guest; /* it has a virtual machine of KVM */
	/* What its processes have pinned, by VmPin: anywhere, whosever pages they are (process_status.h). */
	uint64_t pinned_bytes;
	pid_t pinner_pid; /* who has most of that; 0: nobody has any */
	char pinner_name[16];
};

/*
 * Fills owners by their inodes; one look at the tree of groups serves all of them. Groups and processes that end meanwhile
 * are no error. 0 or -errno; -ENOENT without cgroup v2.
 */
int cgroup_owner_find(const struct sysroot *sysroot, struct cgroup_owner *owners, size_t count);

/*
 * "process 4711 (mysqld) of cgroup /x", "cgroup /x, 12 processes, the largest 4711 (mysqld)", "cgroup /x"; with what is
 * pinned, where that is any: "process 4711 (mysqld, 4 MiB pinned) of cgroup /x". Returns text.
 */
const char *cgroup_owner_describe(const struct cgroup_owner *owner, char *text, size_t size);

#endif
