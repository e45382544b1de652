/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a process' pages are, read from /proc/PID/pagemap: by node, and as runs for the mover.
 * Only looks: no page is touched, held or asked for through move_pages(2).
 */
#ifndef BALLAST_KVM_PAGE_SURVEY_H
#define BALLAST_KVM_PAGE_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "cleanup.h"
#include "name_table.h"
#include "node_set.h"
#include "physical_map.h"

struct page_heat;
struct sysroot;

/* A transparent huge page (x86). A range that cuts one in two shows its halves as small pages. */
#define PAGE_SURVEY_THP_BYTES ((uint64_t)2 << 20)

enum page_survey_state {
	PAGE_SURVEY_ABSENT, /* nothing of its own in the page table (the kernel's page of zeros is
			       not): never touch it */
	PAGE_SURVEY_SWAPPED,
	PAGE_SURVEY_PRESENT,
	PAGE_SURVEY_COUNT
};
NAME_TABLE_DECLARE(page_survey_state);

struct page_survey_range {
	uint64_t start;
	uint64_t end;
	uint64_t page_bytes; /* 4096 or the hugetlb page size; start and end are multiples of it */
};

/* Consecutive addresses whose pages are alike. */
struct page_survey_run {
	uint64_t start;
	uint64_t end;
	uint64_t page_bytes; /* the step from one page to the next: 2 MiB for a transparent huge
				page too */
	bool is_transparent; /* of transparent huge pages */
	bool is_hot;	     /* used lately, see page_survey_set_heat() */
	enum page_survey_state state;
	int node_id;	   /* -1: not present, PFN hidden, or a border block that cannot be told */
	int target;	   /* index of the physical target that holds its pages, -1: none */
	uint64_t physical; /* address of the first page; 0 where not present or hidden */
};

struct page_survey_options {
	const struct physical_map *map; /* borrowed: outlives the survey */
	const struct physical_range
		*targets; /* borrowed likewise; DIMMs under question; may be NULL */
	size_t target_count;
};

struct page_survey;

/*
 * Opens the pagemap of a process. -EPERM where this process may not look at it.
 * PFNs need CAP_SYS_ADMIN (fs/proc/task_mmu.c pagemap_read shows zero without):
 * page_survey_has_pfn().
 */
int page_survey_new(const struct sysroot *sysroot, pid_t pid,
		    const struct page_survey_options *options, struct page_survey **ret_survey);
struct page_survey *page_survey_free(struct page_survey *survey);
CLEANUP_DEFINE(struct page_survey *, page_survey_free)

/* False once a present page showed PFN 0: nodes are then unknown. True before anything was read. */
bool page_survey_has_pfn(const struct page_survey *survey);

/* From the next walk on runs are told apart by heat (borrowed: outlives the survey), NULL: they are not. */
void page_survey_set_heat(struct page_survey *survey, struct page_heat *heat);

/* Sets the range that page_survey_next() walks. Runs never cross its ends. */
int page_survey_begin(struct page_survey *survey, const struct page_survey_range *range);

/*
 * The next run: 1 with *ret_run, 0 at the end of the range, -errno.
 * Where the process is gone its pagemap reads empty: 0 too, so compare its identity around a
 * survey.
 */
int page_survey_next(struct page_survey *survey, struct page_survey_run *ret_run);

/* The next run of present pages that lies on one of nodes, or (nodes NULL) in one of the targets.
 * Likewise. */
int page_survey_next_on(struct page_survey *survey, const struct node_set *nodes,
			struct page_survey_run *ret_run);

/* One page, now. *ret_node (may be NULL) is -1 unless it is present and its node known. */
int page_survey_look(struct page_survey *survey, uint64_t address,
		     enum page_survey_state *ret_state, int *ret_node);

/* Where one of several pages is, if it is not the number of a node. */
#define PAGE_SURVEY_PLACE_UNKNOWN (-1) /* present, and the node not known */
#define PAGE_SURVEY_PLACE_ABSENT  (-2) /* not in the page table, or swapped out */

/* Likewise for many, ascending: neighbours are read together. An ongoing walk goes on undisturbed. 0 or -errno. */
int page_survey_places(struct page_survey *survey, const uint64_t *addresses, size_t count,
		       int *places);

/* The page frames of count pages from address on, page_bytes apart; 0 for one that is not present. Likewise. */
int page_survey_frames(struct page_survey *survey, uint64_t address, uint64_t page_bytes, size_t count,
		       uint64_t *frames);

/* Whether the 2 MiB at address are, now, one transparent huge page mapped as a whole. 1, 0 or -errno. */
int page_survey_is_huge(struct page_survey *survey, uint64_t address);

struct page_survey_totals {
	uint64_t node_bytes[NODE_SET_MAX];
	uint64_t unknown_bytes; /* present, node not known */
	uint64_t present_bytes; /* all of the present */
	uint64_t huge_bytes;	/* of the present: in pages larger than 4096 */
	uint64_t swapped_bytes;
	uint64_t absent_bytes;
	uint64_t *target_bytes; /* borrowed: target_count counters, or NULL */
};

/* Adds the pages of ranges to *totals, which the caller has zeroed. */
int page_survey_count(struct page_survey *survey, const struct page_survey_range *ranges,
		      size_t count, struct page_survey_totals *totals);

#endif
