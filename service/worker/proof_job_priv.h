/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pairs of nodes a proof goes through, and with how much memory: pure.
 */
#ifndef BALLAST_SERVICE_PROOF_JOB_PRIV_H
#define BALLAST_SERVICE_PROOF_JOB_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "page_move.h"
#include "snapshot.h"

/* Where the step names no size: a few calls of move_pages(2), and a moment on any processor. */
#define PROOF_BYTES	(UINT64_C(16) << 20)
/* So many nodes have every pair proved. Of more, neighbours in the order of their numbers: their pairs grow as a square. */
#define PROOF_NODES_MAX 8
#define PROOF_PAIRS_MAX (2 * SNAPSHOT_NODES_MAX)

struct proof_pair {
	int from, to;
	bool is_tried;
	bool is_split; /* transparent huge pages were, on the way */
	int error; /* of the whole call, 0 or -errno */
	uint64_t moved_bytes, left_bytes;
	uint64_t left_pages[PAGE_MOVE_COUNT]; /* what became of them in the last try */
	uint64_t call_us;  /* in the kernel */
	uint64_t pause_us; /* the vCPU's longest, from the move until it had seen every page again */
};

/*
 * Fills pairs (PROOF_PAIRS_MAX of them) with the ordered pairs of nodes, there and back next to each other. Returns
 * their number; *ret_left_out is that of the pairs for which there are too many nodes.
 */
size_t proof_job_pairs(uint64_t nodes, struct proof_pair *pairs, size_t *ret_left_out);

/* Whole pages for a guest whose pairs take half a second each, where one of tried_bytes took so long; never fewer than
 * were tried, nor more than most_bytes. */
uint64_t proof_job_fit(uint64_t tried_bytes, uint64_t took_ms, uint64_t page_bytes, uint64_t most_bytes);

#endif
