/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves runs of a guest's pages, paced: gathers them by source, destination and size, one call at a time, and asks the
 * gate before each. One thread's; several share a gate.
 */
#ifndef BALLAST_SERVICE_PAGE_MOVER_H
#define BALLAST_SERVICE_PAGE_MOVER_H

#include <stdbool.h>
#include <stdint.h>
#include "cleanup.h"
#include "page_move.h"
#include "snapshot.h"

struct guest_view;
struct move_gate;
struct page_survey_run;
struct sysroot;

/* Sizes of pages that are told apart: small, huge, gigantic. */
#define PAGE_MOVER_CLASSES 3

/* What became of the pages, by the node they came from. */
struct page_mover_tally {
	uint64_t bytes[PAGE_MOVER_CLASSES][PAGE_MOVE_COUNT][SNAPSHOT_NODES_MAX];
	/* Transparent huge pages that were left alone: moving them would have split them. */
	uint64_t withheld_bytes[SNAPSHOT_NODES_MAX];
	/* Those that were split all the same. */
	uint64_t split_bytes;
};

/* Adds one to another. */
void page_mover_tally_add(struct page_mover_tally *to, const struct page_mover_tally *from);

struct page_mover_options {
	const struct sysroot *sysroot; /* borrowed, as all of these */
	const struct guest_view *view;
	struct move_gate *gate;
	const struct page_move_ops *ops; /* NULL: the kernel's own */
	bool may_split; /* transparent huge pages, where the destination has no whole ones free */
	/* The addresses are of our own mapping of the guest's memory: they are never read. */
	bool is_own;
};

struct page_mover;

/* 0 or -errno of page_survey_new(). */
int page_mover_new(const struct page_mover_options *options, struct page_mover **ret_mover);
struct page_mover *page_mover_free(struct page_mover *mover);
CLEANUP_DEFINE(struct page_mover *, page_mover_free)

/*
 * Takes a run of present pages that shall go to node_id; moves whenever enough of them are there.
 * 0; what the gate was shut with; -ESRCH where the guest is gone; -EBUSY where it has a userfaultfd now; -ENOMEM. What a
 * node or page refuses is in the tally, and no error.
 */
int page_mover_add(struct page_mover *mover, const struct page_survey_run *run, int node_id);
/* Moves what is still waiting. Likewise. */
int page_mover_flush(struct page_mover *mover);

/* Since the last reset, which also forgets what was waiting. */
const struct page_mover_tally *page_mover_tally(const struct page_mover *mover);
void page_mover_reset(struct page_mover *mover);

const struct page_move_counts *page_mover_counts(const struct page_mover *mover);

#endif
