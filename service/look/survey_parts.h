/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a survey counts by: DIMMs, and the pieces that ranges cut of them, and of memory in none. Pure: no I/O.
 *
 * A piece lies in one DIMM, or in none, on one node, and all of it in the same of the ranges. A DIMM that a range has as a
 * whole is told as one, a node likewise: there the DIMMs' bytes and the node's say all.
 */
#ifndef BALLAST_SERVICE_SURVEY_PARTS_H
#define BALLAST_SERVICE_SURVEY_PARTS_H

#include "snapshot.h"
#include "worker_message.h"

/* More are not asked about. */
#define SURVEY_ASKS_MAX 64

/* What one drain holds, or one wish names. Borrowed, host-physical. */
struct survey_ask {
	const struct snapshot_range *ranges;
	size_t count;
};

/*
 * Makes job->dimms of the host's DIMMs and pieces. Where there are more pieces than SNAPSHOT_PIECES_MAX some are not told
 * apart. 0, or -ENOMEM: the job has none.
 */
int survey_parts_ask(const struct snapshot *host, const struct survey_ask *asks, size_t count, struct worker_job *job);

/*
 * Which of the job's parts a survey speaks of by this id, without its bytes. A DIMM may be in the job, and so in the
 * survey, more than once.
 */
struct snapshot_guest_dimm survey_parts_find(const struct snapshot *host, const char *id);

#endif
