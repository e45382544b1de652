/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large the pools of huge pages are when the kernel migrates none of their pages. While it does, and no free one is
 * there to take, it makes one that counts until the old one has gone (Linux 6.1 mm/hugetlb.c alloc_migrate_huge_page,
 * HPageTemporary; neither surplus nor free). A driver that empties memory with huge pages in use does so all the time:
 * the pool shows a page too many in most looks, and nothing says so. What was seen before it began tells.
 */
#ifndef BALLAST_AGENT_QUIET_POOLS_H
#define BALLAST_AGENT_QUIET_POOLS_H

#include <stddef.h>
#include <stdint.h>
#include "hugepage_pool.h"

/* So many may be on their way at once: one of each driver, and of each process that takes a block offline. */
#define QUIET_POOLS_SLACK 4
/* Whoever makes his pool larger by so few is believed after this time. */
#define QUIET_POOLS_MS	  60000

struct quiet_pool {
	uint64_t page_bytes, pages;
	uint64_t at_ms; /* when that was seen last */
};

/* Zeroed to begin. */
struct quiet_pools {
	size_t count;
	struct quiet_pool pools[HUGEPAGE_POOL_SIZES_MAX]; /* of the whole kernel, one of each size */
};

/* What was seen now, of all nodes together. Not while lease_book_has_pools(): what they were before counts. */
void quiet_pools_note(struct quiet_pools *quiet, uint64_t page_bytes, uint64_t pages, uint64_t now_ms);

/* Of a pool that shows so many pages now: how many it has, without any that is only on its way. */
uint64_t quiet_pools_pages(const struct quiet_pools *quiet, uint64_t page_bytes, uint64_t pages);

#endif
