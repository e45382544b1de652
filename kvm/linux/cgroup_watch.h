/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices when threads' groups come and go below a guest's cgroup, and when somebody writes a cpuset.mems there.
 * libvirt has no event for a vCPU or I/O thread that was added to a running guest, but it makes a group for each, and
 * writes what it believes into it.
 */
#ifndef BALLAST_KVM_CGROUP_WATCH_H
#define BALLAST_KVM_CGROUP_WATCH_H

#include <stdbool.h>
#include "cleanup.h"

struct cgroup_watch;
struct sysroot;

/* Watches the group at this path and all below it. -ENOENT where there is none. */
int cgroup_watch_new(const struct sysroot *sysroot, const char *path, struct cgroup_watch **ret_watch);
struct cgroup_watch *cgroup_watch_free(struct cgroup_watch *watch);
CLEANUP_DEFINE(struct cgroup_watch *, cgroup_watch_free)

/* Readable when something has happened: call cgroup_watch_read(). */
int cgroup_watch_fd(const struct cgroup_watch *watch);

/*
 * Takes up what has happened, new groups included. True where a group came or went, a cpuset.mems was written (by
 * whomever, the caller too), or more happened than could be kept. Never blocks.
 */
bool cgroup_watch_read(struct cgroup_watch *watch);

#endif
