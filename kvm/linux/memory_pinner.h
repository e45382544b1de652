/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that have memory pinned for long, as far as the kernel accounts for it (process_status.h), and on which nodes
 * that may lie. From counters alone: no page table is walked.
 */
#ifndef BALLAST_KVM_MEMORY_PINNER_H
#define BALLAST_KVM_MEMORY_PINNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "node_set.h"

struct sysroot;

/* Few programs pin at all; more than these are counted, not listed. */
#define MEMORY_PINNER_MAX 8

struct memory_pinner {
	pid_t pid;
	char name[16];
	uint64_t pinned_bytes;
	/*
	 * What its control group has by node: anonymous and shared memory, and huge pages. What another group touched first is
	 * not in it.
	 */
	uint64_t node_bytes[NODE_SET_MAX];
	bool has_nodes; /* that is told: not of one without a group of its own, nor of huge pages that no controller counts */
};

struct memory_pinner_list {
	struct memory_pinner pinners[MEMORY_PINNER_MAX]; /* those that have most first */
	size_t count;					 /* of pinners */
	size_t total;					 /* of processes, listed or not */
	uint64_t unlisted_bytes;			 /* pinned by those that are not listed */
};

/* Asks every process; one that ends meanwhile is no error. Large: put it on the heap. 0 or -errno. */
int memory_pinner_find(const struct sysroot *sysroot, struct memory_pinner_list *ret_list);

#endif
