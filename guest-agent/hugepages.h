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

/* Of a size that is counted by node as well, the nodes say all and more; else its total does. */
bool hugepages_is_finest(const struct hugepages *hugepages, size_t index);

/* Pages that pools have lost to blocks that went offline: the kernel gives up free ones that lie there
 * (mm/hugetlb.c dissolve_free_huge_pages), and tells nobody. */
struct hugepages_loss {
	struct hugepages begin;
	uint64_t pages[LIMIT_POOLS]; /* of the pools of begin, those that are finest */
};

/*
 * Adds what was lost between two looks, node by node. Pages in use that went to another node's pool are
 * no loss: no size loses more than its total has lost. Pure.
 */
void hugepages_loss_add(struct hugepages_loss *loss, const struct hugepages *before,
			const struct hugepages *after);

/* Free pages of all nodes that are promised to nobody. */
uint64_t hugepages_idle(const struct hugepage_pool *total);

struct hugepages_step {
	int node_id;
	uint64_t page_bytes;
	uint64_t pages; /* to be asked for; more than old: so many surplus pages become the pool's own */
	uint64_t old;	/* asked for before, or by the steps before */
};

struct hugepages_plan {
	size_t count;
	/* Of each size the surplus first. */
	struct hugepages_step steps[LIMIT_POOLS + HUGEPAGE_POOL_SIZES_MAX];
};

/*
 * Which pools to shrink to win target_bytes (0: all that can be had), larger pages last: they are
 * hard to get back. Never takes a page that is in use or reserved, nor below the configured floor,
 * which is one of the pool's own pages. Where there are surplus pages they become the pool's own
 * first: the kernel keeps as many free pages as there are surplus ones in use, on whichever node, and calls
 * those surplus that it was asked for beyond (mm/hugetlb.c set_max_huge_pages). Pure. Returns the
 * bytes that the plan wins. Of each size the pools of first_nodes (a mask) give first: what is free where memory is to leave
 * stands in its way, and what is free elsewhere does not.
 */
uint64_t hugepages_plan(const struct hugepages *hugepages, const struct agent_config *config,
			uint64_t target_bytes, uint64_t first_nodes, struct hugepages_plan *ret_plan);

/*
 * Makes surplus pages the pool's own, nothing more: all, or only where the pool has free pages that
 * are promised to nobody. Linux 6.1 lets these go with a block without looking whether they are
 * surplus, and then has more surplus than pages, for ever (dissolve_free_huge_page). Pure.
 */
void hugepages_plan_surplus(const struct hugepages *hugepages, bool only_where_free,
			    struct hugepages_plan *ret_plan);

/*
 * Asks for each; the first error ends it. What was reached is for the caller to read. Pages that were
 * free when it was planned and are in use now stay the pool's own: surplus that the driver migrates
 * meanwhile would spoil the pool.
 */
int hugepages_apply(const struct sysroot *sysroot, const struct hugepages_plan *plan);

#endif
