/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for huge pages that are in use in memory that is to leave. A block goes offline only when the
 * kernel has a whole free huge page elsewhere for each of them: one of a pool, or a fresh one, for
 * which it does not try hard when memory is in pieces (mm/hugetlb.c alloc_huge_page_nodemask). So
 * the pool is grown elsewhere before.
 */
#ifndef BALLAST_AGENT_ROOM_H
#define BALLAST_AGENT_ROOM_H

#include <stddef.h>
#include <stdint.h>
#include "candidates.h"
#include "hugepages.h"

struct sysroot;

/* Pages of this size cannot be moved by the kernel that takes a block offline, unless there is a free
 * one of a pool; and no pool of them grows but by luck. They are left alone. */
#define ROOM_GIGANTIC_BYTES (UINT64_C(1) << 30)

struct room_order {
	const struct candidate *blocks; /* borrowed: those that are to leave */
	size_t block_count;
	uint64_t target_bytes; /* room for at most so much; 0: for all that is in use there */
	uint64_t budget_bytes; /* pools may grow by so much in all */
};

struct room_size {
	uint64_t page_bytes;
	uint64_t needed_pages; /* in use there and to be moved */
	uint64_t ready_pages;  /* for which there was room before */
	uint64_t made_pages;   /* for which there is more now */
};

struct room_result {
	size_t count;
	struct room_size sizes[HUGEPAGE_POOL_SIZES_MAX];
};

/*
 * Grows pools until there is room, or the budget is used up, or the kernel gives no more. On nodes
 * that lose nothing first: where there are any, offlining takes its free pages only from them
 * (mm/memory_hotplug.c do_migrate_range). Of a node's own memory the kernel may give pages that lie
 * in what is to leave: these are no room, and it is asked for more. Takes long: for a child. 0 or
 * -errno.
 */
int room_make(const struct sysroot *sysroot, const struct room_order *order,
	      struct room_result *ret_result);

#endif
