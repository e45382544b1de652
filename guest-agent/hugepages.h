/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shrinking the guest's pools of huge pages by what is free, and growing them again.
 */
#ifndef BALLAST_AGENT_HUGEPAGES_H
#define BALLAST_AGENT_HUGEPAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "hugepage_pool.h"
#include "wire_limits.h"

struct agent_config;
struct sysroot;

struct hugepages {
	size_t count;
	/* Ascending by size; of each size the total first (HUGEPAGE_POOL_ALL_NODES), then its
	 * nodes. */
	struct hugepage_pool pools[LIMIT_POOLS];
};

int hugepages_read(const struct sysroot *sysroot, struct hugepages *ret_hugepages);
const struct hugepage_pool *hugepages_find(const struct hugepages *hugepages, int node_id,
					   uint64_t page_bytes);

/* What nr_hugepages counts: pages that were asked for, without surplus (mm/hugetlb.c
 * persistent_huge_pages). */
uint64_t hugepages_persistent(const struct hugepage_pool *pool);

struct hugepages_step {
	int node_id;
	uint64_t page_bytes;
	uint64_t pages; /* to be asked for */
	uint64_t old;	/* asked for before */
};

struct hugepages_plan {
	size_t count;
	struct hugepages_step steps[LIMIT_POOLS];
};

/*
 * Which pools to shrink to win target_bytes (0: all that can be had), larger pages last: they are
 * hard to get back. Never takes a page that is in use or reserved, nor below the configured floor;
 * surplus pages are not touched, they go by themselves. Pure. Returns the bytes that the plan wins.
 */
uint64_t hugepages_plan(const struct hugepages *hugepages, const struct agent_config *config,
			uint64_t target_bytes, struct hugepages_plan *ret_plan);

/* Asks for each; the first error ends it. What was reached is for the caller to read. */
int hugepages_apply(const struct sysroot *sysroot, const struct hugepages_plan *plan);

#endif
