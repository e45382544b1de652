/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves runs of a guest's pages, paced: gathers them by destination, one call at a time, and between two calls looks
 * whether the guest is still the same, nothing forbids to go on, and nobody asked to stop.
 */
#ifndef BALLAST_SERVICE_PAGE_MOVER_H
#define BALLAST_SERVICE_PAGE_MOVER_H

#include <stdint.h>
#include "cleanup.h"
#include "page_move.h"
#include "snapshot.h"

struct guest_view;
struct job_context;
struct page_survey_run;

/* What became of the pages, by the node they came from. */
struct page_mover_tally {
	uint64_t bytes[PAGE_MOVE_COUNT][SNAPSHOT_NODES_MAX];
};

struct page_mover;

/* Both are borrowed for the mover's life. total_bytes: for progress. Budgets are those of the job's step. */
int page_mover_new(struct job_context *context, const struct guest_view *view, uint64_t total_bytes,
		   struct page_mover **ret_mover);
struct page_mover *page_mover_free(struct page_mover *mover);
CLEANUP_DEFINE(struct page_mover *, page_mover_free)

/*
 * Takes a run of present pages that shall go to node_id; moves whenever enough of them are there.
 * 0; -ECANCELED where the context's stop says why; -ESRCH where the guest is gone; -EBUSY where it has a userfaultfd
 * now; -ENOMEM. What a node or page refuses is in the tally, and no error.
 */
int page_mover_add(struct page_mover *mover, const struct page_survey_run *run, int node_id);
/* Moves what is still waiting. Likewise. */
int page_mover_flush(struct page_mover *mover);

/* Since the last reset. */
const struct page_mover_tally *page_mover_tally(const struct page_mover *mover);
void page_mover_reset_tally(struct page_mover *mover);

uint64_t page_mover_moved_bytes(const struct page_mover *mover);
const struct page_move_counts *page_mover_counts(const struct page_mover *mover);

#endif
