/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves pages of a process to a node with move_pages(2), and says of each page what became of it.
 */
#ifndef BALLAST_KVM_PAGE_MOVE_H
#define BALLAST_KVM_PAGE_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "cleanup.h"
#include "name_table.h"

struct page_survey;

enum page_move_outcome {
	PAGE_MOVE_NOT_TRIED, /* stopped, or the call budget was used up */
	PAGE_MOVE_MOVED,     /* is on the destination now and was not seen there before */
	PAGE_MOVE_ALREADY_THERE,
	PAGE_MOVE_ABSENT,	 /* not in the page table; not touched */
	PAGE_MOVE_BUSY,		 /* held, pinned, or taken off the lists by somebody else */
	PAGE_MOVE_NOT_PERMITTED, /* shared without the right to move it, or a node outside the
				    cpuset */
	PAGE_MOVE_NO_ROOM,	 /* no page of that size on the destination */
	PAGE_MOVE_FAULT,	 /* cannot be moved at all: zero page, device memory, no mapping */
	PAGE_MOVE_COUNT
};
NAME_TABLE_DECLARE(page_move_outcome);

/* The kernel as this module sees it; tests script it. Every function returns -errno on failure. */
struct page_move_ops {
	/* move_pages(2) with MPOL_MF_MOVE_ALL. Returns 0, a positive count, or -errno. */
	long (*move)(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		     int *status);
	/* Where each page is: its node, PAGE_SURVEY_PLACE_UNKNOWN or _ABSENT. Touches nothing. 0 or -errno. */
	int (*look)(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places);
	/* Reads one byte of each page; they are known to be present. What cannot be read is passed over. */
	void (*touch)(void *user, pid_t pid, const uint64_t *addresses, size_t count);
	/* Whether what was one transparent huge page is one still: 1, 0, or -errno. May be NULL. */
	int (*is_huge)(void *user, pid_t pid, uint64_t address);
	/* CLOCK_MONOTONIC */
	uint64_t (*now_ns)(void *user);
	void *user;
};

/* The real kernel; survey (borrowed, may be NULL: no cure, no second look) is that of the same
 * process. */
struct page_move_ops page_move_kernel_ops(struct page_survey *survey);

struct page_move_options {
	pid_t pid; /* 0: this process' own mappings */
	struct page_move_ops ops;
	/* Most addresses of one call, 1 to PAGE_MOVE_BATCH_MAX; 0: 1024. Each call drains every
	 * CPU's page caches (mm/swap.c lru_cache_disable), so several MiB a call, not 64 pages. */
	size_t batch_pages;
	/* Most calls of one page_move_run(), finding out which pages fail included; 0: 64, and 4 a
	 * batch. */
	size_t call_limit;
	/* Looks where each page is before the first call and leaves out those already there or
	 * absent. */
	bool look_first;
	/* Asked between calls; true: stop. May be NULL. */
	bool (*should_stop)(void *user);
	void *stop_user;
	/*
	 * Asked right before pages are read for the sake of AutoNUMA's marks, once for all of a call's: 0, or the
	 * error with which the work ends. A guest with a userfaultfd must not be touched at all: a page that became
	 * absent meanwhile would be filled behind its back. May be NULL.
	 */
	int (*may_touch)(void *user);
	void *touch_user;
};

#define PAGE_MOVE_BATCH_MAX 65536

struct page_move_counts {
	uint64_t pages[PAGE_MOVE_COUNT];
	uint64_t calls;	  /* move_pages calls */
	uint64_t touched; /* pages read for the sake of AutoNUMA's PROT_NONE marks */
	uint64_t call_ns; /* sum */
	uint64_t longest_call_ns;
	int last_error; /* the last negative return of a call, 0: none */
};

struct page_move;

int page_move_new(const struct page_move_options *options, struct page_move **ret_move);
struct page_move *page_move_free(struct page_move *move);
CLEANUP_DEFINE(struct page_move *, page_move_free)

/*
 * Moves count pages to node_id. addresses: one per page, ascending, aligned to the page's own size
 * (a hugetlb page and a transparent huge page appear once: kernels up to 6.5 refuse a tail).
 * outcomes (may be NULL) gets one entry per address, and *counts, which the caller zeroes once, is
 * added to.
 *
 * One page that fails ends a whole call and leaves statuses unwritten (mm/migrate.c do_pages_move):
 * what is unwritten is looked at again and tried again in smaller parts, so that each page ends
 * with an outcome of its own. A page that the kernel calls absent but pagemap shows present is
 * marked by AutoNUMA: one byte of it is read and it is tried again. An absent page is never
 * touched: where they are is looked at between may_touch and the read.
 *
 * Returns 0 however many pages stayed, or -errno where the whole work is refused: -ESRCH, -EPERM,
 * -EACCES (the node lies outside the process' cpuset), -ENODEV (node without memory), -ENOSYS, or what
 * may_touch said.
 */
int page_move_run(struct page_move *move, const uint64_t *addresses, size_t count, int node_id,
		  enum page_move_outcome *outcomes, struct page_move_counts *counts);

/* Changes the batch between runs (pacing); the same bounds as in the options. */
void page_move_set_batch(struct page_move *move, size_t batch_pages);

#endif
