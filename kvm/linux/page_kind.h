/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page is used for, from its flags in /proc/kpageflags.
 */
#ifndef BALLAST_KVM_PAGE_KIND_H
#define BALLAST_KVM_PAGE_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "name_table.h"

/* Bits of include/uapi/linux/kernel-page-flags.h and, from 26 on, of its neighbours: they never change. */
#define PAGE_KIND_FLAG_LRU	  (UINT64_C(1) << 5)
#define PAGE_KIND_FLAG_SLAB	  (UINT64_C(1) << 7)
#define PAGE_KIND_FLAG_WRITEBACK  (UINT64_C(1) << 8)
#define PAGE_KIND_FLAG_BUDDY	  (UINT64_C(1) << 10)
#define PAGE_KIND_FLAG_MMAP	  (UINT64_C(1) << 11)
#define PAGE_KIND_FLAG_ANON	  (UINT64_C(1) << 12)
#define PAGE_KIND_FLAG_SWAPBACKED (UINT64_C(1) << 14)
#define PAGE_KIND_FLAG_HEAD	  (UINT64_C(1) << 15)
#define PAGE_KIND_FLAG_TAIL	  (UINT64_C(1) << 16)
#define PAGE_KIND_FLAG_HUGE	  (UINT64_C(1) << 17)
#define PAGE_KIND_FLAG_HWPOISON	  (UINT64_C(1) << 19)
#define PAGE_KIND_FLAG_NOPAGE	  (UINT64_C(1) << 20)
#define PAGE_KIND_FLAG_THP	  (UINT64_C(1) << 22)
#define PAGE_KIND_FLAG_OFFLINE	  (UINT64_C(1) << 23)
#define PAGE_KIND_FLAG_PGTABLE	  (UINT64_C(1) << 26)

enum page_kind {
	PAGE_KIND_FREE,		/* in the page allocator */
	PAGE_KIND_OFFLINE,	/* given back to a device, or no page at all */
	PAGE_KIND_POISONED,	/* taken out of use after a memory error */
	PAGE_KIND_HUGE_FREE,	/* of a hugetlb pool, not mapped */
	PAGE_KIND_HUGE_USED,
	PAGE_KIND_SLAB,
	PAGE_KIND_PAGE_TABLE,
	PAGE_KIND_WRITEBACK,	/* a file's, or one on its way to swap, being written at this moment */
	PAGE_KIND_ANON,
	PAGE_KIND_SHMEM,
	PAGE_KIND_FILE,
	PAGE_KIND_OTHER,	/* no kind is told: the kernel's own, or one that a processor has ready to give out */
	PAGE_KIND_COUNT
};
NAME_TABLE_DECLARE(page_kind);

/* By the page's own flags. Those of a compound page but for its first have not all that say it: see page_kind_next(). */
enum page_kind page_kind_of(uint64_t flags);

/* Pages one after the other. Zero-initialise; a break between pages needs a new one. */
struct page_kind_run {
	bool has_head; /* of the compound page that the next tail belongs to */
	enum page_kind head;
};

/* The rest of a compound page is what its first page is, but where memory is bad. */
enum page_kind page_kind_next(struct page_kind_run *run, uint64_t flags);

/* One that a process, the page cache or a tmpfs has: its memory cgroup is told. */
bool page_kind_is_owned(enum page_kind kind);
/* Nothing is in it. */
bool page_kind_is_empty(enum page_kind kind);

/*
 * Fills entries from /proc/kpageflags, kpagecgroup or kpagecount, which have 8 bytes for each page frame, from this one on.
 * *ret_read is less than count only where the file ends. 0 or -errno.
 */
int page_kind_read_entries(int fd, uint64_t pfn, uint64_t *entries, size_t count, size_t *ret_read);

#endif
