/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel can do: tried or read, never concluded from a version.
 */
#ifndef BALLAST_KVM_KERNEL_PROBE_H
#define BALLAST_KVM_KERNEL_PROBE_H

#include "name_table.h"

struct sysroot;

enum kernel_feature {
	KERNEL_FEATURE_NUMA_NODES,   /* more than one node with memory */
	KERNEL_FEATURE_MOVE_PAGES,   /* move_pages(2) answers for our own page */
	KERNEL_FEATURE_MOVE_BETWEEN, /* a page of ours went to another node, and back */
	KERNEL_FEATURE_MBIND,
	KERNEL_FEATURE_SHARED_POLICY, /* mbind on a memfd from a second mapping shows in the first
				       */
	KERNEL_FEATURE_MOVE_MARKED,   /* move_pages(2) sees pages that AutoNUMA has taken the rights of
				       */
	KERNEL_FEATURE_BATCH_STATUS,  /* every page of a call has a status, also where one is held */
	KERNEL_FEATURE_HUGE_PAGE_MOVE,	 /* a page of a pool goes to another node, and back */
	KERNEL_FEATURE_BALANCING_POLICY, /* bind with balancing stays on a memfd, set from a second
					    mapping */
	KERNEL_FEATURE_CPUSET_REMAP, /* a cpuset that changes rewrites policies by position */
	KERNEL_FEATURE_SOFT_DIRTY,   /* a write shows in pagemap */
	KERNEL_FEATURE_NODE_COMPACTION,
	KERNEL_FEATURE_PAGEMAP_PFN,   /* physical addresses are shown to us */
	KERNEL_FEATURE_PAGE_FLAGS,    /* /proc/kpageflags */
	KERNEL_FEATURE_PAGE_CGROUP,   /* /proc/kpagecgroup */
	KERNEL_FEATURE_PROCESS_READ,  /* process_vm_readv(2) */
	KERNEL_FEATURE_PIDFD,
	KERNEL_FEATURE_NUMA_BALANCING, /* is on */
	KERNEL_FEATURE_CGROUP2,
	KERNEL_FEATURE_CGROUP_CPUSET, /* the cpuset controller of cgroup v2 */
	KERNEL_FEATURE_MEMORY_HOTREMOVE,
	KERNEL_FEATURE_MOVABLE_MEMORY, /* some block is in, or may go to, the movable zone */
	KERNEL_FEATURE_HUGEPAGES,
	KERNEL_FEATURE_TRANSPARENT_HUGEPAGES,
	KERNEL_FEATURE_USERFAULTFD,
	KERNEL_FEATURE_IDLE_TRACKING,
	KERNEL_FEATURE_SAFE_COPY,  /* the migration copy survives an uncorrected memory error */
	KERNEL_FEATURE_KERNEL_LOG, /* /dev/kmsg can be read */
	KERNEL_FEATURE_KVM,	   /* /dev/kvm opens */
	KERNEL_FEATURE_FIRMWARE_SLOTS, /* the SMBIOS table says which addresses slots have */
	KERNEL_FEATURE_ERROR_COUNTS,   /* an EDAC driver counts memory errors */
	KERNEL_FEATURE_HOTPLUG_RANGES, /* the SRAT says which memory is hot-pluggable */
	KERNEL_FEATURE_MEMORY_LATENCY, /* the HMAT says how long processors wait for memory */
	KERNEL_FEATURE_COUNT
};
NAME_TABLE_DECLARE(kernel_feature);

/* What it is good for, in words for people: true of "yes" unless it says otherwise. */
const char *kernel_feature_meaning(enum kernel_feature feature);

enum kernel_probe_state {
	KERNEL_PROBE_UNKNOWN,
	KERNEL_PROBE_NO,
	KERNEL_PROBE_YES,
	KERNEL_PROBE_COUNT
};
NAME_TABLE_DECLARE(kernel_probe_state);

struct kernel_probe_entry {
	enum kernel_probe_state state;
	char detail[160]; /* what was seen, for a person; may be empty */
};

struct kernel_probe {
	struct kernel_probe_entry entries[KERNEL_FEATURE_COUNT]; /* by enum kernel_feature */
};

/*
 * Tries everything once. Only pages and files of our own are touched. Takes some ms, and as long
 * again as it takes to read /proc/kallsyms: not for the loop thread. Never fails: what cannot be
 * told is UNKNOWN.
 */
void kernel_probe_run(const struct sysroot *sysroot, struct kernel_probe *ret_probe);

/*
 * Tries CPUSET_REMAP, which run() leaves UNKNOWN: it takes a cgroup of its own (group, such as "/name", which is made
 * and removed again) and a child process, so it is for a process with one thread.
 */
void kernel_probe_try_cpuset(const struct sysroot *sysroot, const char *group,
			     struct kernel_probe *probe);

#endif
