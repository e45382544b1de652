/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel would do to processes if cpuset.mems of a group above them were another: it moves what they have on nodes
 * that they would lose, at once and without limit, and rewrites their policies by position (node_remap.h).
 */
#ifndef BALLAST_KVM_CPUSET_EFFECT_H
#define BALLAST_KVM_CPUSET_EFFECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "memory_policy.h"
#include "node_set.h"

struct sysroot;

struct cpuset_effect {
	size_t group_count;   /* the group and those below it whose nodes would be others */
	uint64_t moved_bytes; /* mapped on nodes that are lost; what several processes map counts for each of them */
	/* One process with a policy that would be rewritten; pid 0: there is none. It may come back as another, too. */
	pid_t pid;
	struct memory_policy policy;
};

/*
 * Of the group at path with the set mems; empty: it inherits. Where nobody's nodes would change, as those of a node that has
 * no memory online, no process is looked at; else each below the group is, in numa_maps, which walks its page tables.
 * Policies that a thread has for itself alone are not seen there. look is asked before each process, and what it returns
 * other than 0 ends all of it. 0 or -errno.
 */
int cpuset_effect_read(const struct sysroot *sysroot, const char *path, const struct node_set *mems,
		       int (*look)(void *user), void *user, struct cpuset_effect *ret_effect);

#endif
