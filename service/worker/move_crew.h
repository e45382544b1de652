/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a move. The caller's thread listens to the daemon and watches the guest; the others take pieces of the
 * guest's memory from a queue, look at them, and move what has to go.
 */
#ifndef BALLAST_SERVICE_MOVE_CREW_H
#define BALLAST_SERVICE_MOVE_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "page_mover.h"
#include "page_survey.h"
#include "snapshot.h"

struct guest_view;
struct job_context;

/* Threads of one worker at most: more meet in the kernel's locks (mm/swap.c lru_cache_disable). */
#define MOVE_CREW_MAX 16

/* A part of the guest's memory that one thread works on. */
struct move_piece {
	struct page_survey_range range;
	size_t index; /* of the guest's range that it is a part of */
};

/* Where the first pages of a run shall go. */
struct move_place {
	int node;	      /* -1: they may stay */
	uint64_t end;	      /* up to where that holds: whole pages, at least one, at most the run */
	uint64_t stray_bytes; /* of these, what does not come to where it belongs */
};
/* Called by several threads. */
typedef struct move_place move_destination_fn(void *user, const struct move_piece *piece,
					      const struct page_survey_run *run);

/* Which pages of its pieces a move takes. */
enum move_heat { MOVE_HEAT_ANY, MOVE_HEAT_COLD, MOVE_HEAT_HOT };

/* What a look found, by node. */
struct move_found {
	uint64_t left_bytes[SNAPSHOT_NODES_MAX];   /* has a destination, and is not there */
	uint64_t shared_bytes[SNAPSHOT_NODES_MAX]; /* all of the guest's memfd memory */
	uint64_t hugetlb_bytes; /* all of its hugetlb memory that is shared */
	uint64_t swapped_bytes;
	uint64_t stray_bytes; /* see move_place */
	/* Of move_crew_move_unmapped(): in memory, has a destination, and is not there. */
	uint64_t unmapped_bytes[SNAPSHOT_NODES_MAX];
};

struct move_crew_options {
	struct job_context *context;  /* borrowed, as all of these */
	const struct guest_view *view;
	const struct physical_range *targets; /* run.target; may be NULL */
	size_t target_count;
	move_destination_fn *destination;
	void *user;
	unsigned threads;    /* 0: one */
	uint64_t nodes;	     /* mask of destinations: near them the threads run, where they can */
	uint64_t total_bytes; /* for progress */
};

struct move_crew;

/* 0 or -errno of page_survey_new(), or -ENOMEM. */
int move_crew_new(const struct move_crew_options *options, struct move_crew **ret_crew);
struct move_crew *move_crew_free(struct move_crew *crew);
CLEANUP_DEFINE(struct move_crew *, move_crew_free)

/*
 * From now on pages that are used are told from those that are not (page_heat.h says what that costs). -EOPNOTSUPP where
 * this kernel tells nobody. Not while threads are at work.
 */
int move_crew_watch_heat(struct move_crew *crew, const struct move_piece *pieces, size_t count);

/*
 * Looks at all pieces, and moves what has a destination and that heat. Returns when all of it is done: 0; -ECANCELED with the context's
 * stop saying why; -ESRCH where the guest is gone; -EBUSY where it has a userfaultfd now; -ENOMEM, -EAGAIN (no thread).
 */
int move_crew_move(struct move_crew *crew, const struct move_piece *pieces, size_t count, enum move_heat heat);
/*
 * Of the guest's shared memory, what is in memory and in no page table of it: through a mapping of our own
 * (backing_window.h). Likewise, and -EOPNOTSUPP where this kernel offers no safe way.
 */
int move_crew_move_unmapped(struct move_crew *crew, const struct move_piece *pieces, size_t count);
/* Only looks. Likewise; -ETIME where it took longer than limit_ms (0: no limit), which also heeds no cancel. */
int move_crew_count(struct move_crew *crew, const struct move_piece *pieces, size_t count, uint32_t limit_ms);

/* What the last look found, whole or not. */
const struct move_found *move_crew_found(const struct move_crew *crew);
/* What became of the pages in the last move_crew_move() or move_crew_move_unmapped(). */
const struct page_mover_tally *move_crew_tally(const struct move_crew *crew);
/* Of all calls so far. */
struct page_move_counts move_crew_counts(const struct move_crew *crew);
/* In transparent huge pages that were split on the way. */
uint64_t move_crew_split_bytes(const struct move_crew *crew);
uint64_t move_crew_moved_bytes(const struct move_crew *crew);
struct move_gate *move_crew_gate(const struct move_crew *crew);
void move_crew_set_total(struct move_crew *crew, uint64_t total_bytes);

#endif
