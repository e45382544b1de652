/* SPDX-License-Identifier: Apache-2.0 */
#include "survey_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In a job a DIMM is named by its id, and a piece by its range. */
#define PIECE_FORMAT "0x%" PRIx64 "-0x%" PRIx64

struct pieces {
	size_t count;
	struct snapshot_range ranges[SNAPSHOT_PIECES_MAX];
};

/* ---- which pieces there are ---- */

/* Does the range ask about part of the DIMM, and not about all of it? */
static bool cuts_dimm(const struct survey_ask *ask, const struct snapshot_dimm *dimm)
{
	uint64_t inside = snapshot_ranges_shared(ask->ranges, ask->count, dimm->ranges, dimm->range_count);
	uint64_t size = snapshot_ranges_bytes(dimm->ranges, dimm->range_count);

	return inside && (inside < size || dimm->ranges_cut);
}

static bool cuts_node(const struct survey_ask *ask, const struct snapshot *host, int node)
{
	for (size_t i = 0; i < host->block_count; i++)
		if (host->blocks[i].node == node && host->blocks[i].state != BLOCK_STATE_OFFLINE &&
		    !snapshot_block_is_in(&host->blocks[i], ask->ranges, ask->count))
			return true;
	return false;
}

/* The next place above at where one of these ranges begins or ends; *ret_is_inside: at is in one of them. */
static uint64_t next_border(const struct survey_ask *asks, size_t count, uint64_t which, uint64_t at, uint64_t end,
			    bool *ret_is_inside)
{
	*ret_is_inside = false;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; which >> i & 1 && j < asks[i].count; j++) {
			const struct snapshot_range *range = &asks[i].ranges[j];

			*ret_is_inside = *ret_is_inside || (range->start <= at && at < range->end);
			if (range->start > at && range->start < end)
				end = range->start;
			if (range->end > at && range->end < end)
				end = range->end;
		}
	return end;
}

/* Of memory that is all in one DIMM, or in none, and on one node. which: a bit for each of asks. */
static void cut(const struct survey_ask *asks, size_t count, uint64_t which, struct snapshot_range memory,
		struct pieces *pieces)
{
	uint64_t at = memory.start, next;
	bool is_inside;

	while (at < memory.end && which) {
		next = next_border(asks, count, which, at, memory.end, &is_inside);
		if (is_inside && pieces->count < SNAPSHOT_PIECES_MAX)
			pieces->ranges[pieces->count++] = (struct snapshot_range){at, next};
		at = next;
	}
}

static void cut_dimms(const struct snapshot *host, const struct survey_ask *asks, size_t count, struct pieces *pieces)
{
	for (size_t i = 0; i < host->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &host->dimms[i];
		uint64_t which = 0;

		for (size_t j = 0; j < count && dimm->node >= 0; j++)
			which |= (uint64_t)cuts_dimm(&asks[j], dimm) << j;
		for (size_t j = 0; j < dimm->range_count; j++)
			cut(asks, count, which, dimm->ranges[j], pieces);
	}
}

/* Online, in no DIMM of its node, and asked about. */
static bool is_loose(const struct snapshot *host, const struct survey_ask *asks, size_t count,
		     const struct snapshot_block *block)
{
	bool is_asked = false;

	if (block->node < 0 || block->state == BLOCK_STATE_OFFLINE)
		return false;
	for (size_t i = 0; i < count && !is_asked; i++)
		is_asked = snapshot_block_is_in(block, asks[i].ranges, asks[i].count);
	for (size_t i = 0; i < host->dimm_count && is_asked; i++)
		if (host->dimms[i].node == block->node &&
		    snapshot_block_is_in(block, host->dimms[i].ranges, host->dimms[i].range_count))
			return false;
	return is_asked;
}

static void cut_loose(const struct snapshot *host, const struct survey_ask *asks, size_t count, struct pieces *pieces)
{
	for (size_t i = 0; i < host->block_count;) {
		const struct snapshot_block *first = &host->blocks[i++];
		struct snapshot_range run = {first->start, first->start + first->size_bytes};
		uint64_t which = 0;

		if (!is_loose(host, asks, count, first))
			continue;
		while (i < host->block_count && host->blocks[i].start == run.end && host->blocks[i].node == first->node &&
		       is_loose(host, asks, count, &host->blocks[i]))
			run.end += host->blocks[i++].size_bytes;
		for (size_t j = 0; j < count; j++)
			which |= (uint64_t)cuts_node(&asks[j], host, first->node) << j;
		cut(asks, count, which, run, pieces);
	}
}

/* ---- what the job counts ---- */

static void add_range(struct worker_job *job, const char *id, bool is_new, struct snapshot_range range)
{
	if (is_new || job->dimms[job->dimm_count - 1].range_count == SNAPSHOT_RANGES_MAX)
		snprintf(job->dimms[job->dimm_count++].id, SNAPSHOT_NAME_SIZE, "%s", id);
	job->dimms[job->dimm_count - 1].ranges[job->dimms[job->dimm_count - 1].range_count++] = range;
}

/* What of the DIMM is in no piece. */
static void add_dimm(struct worker_job *job, const struct snapshot_dimm *dimm, const struct pieces *pieces)
{
	const struct survey_ask all = {pieces->ranges, pieces->count};
	bool is_new = true, is_inside;

	for (size_t i = 0; i < dimm->range_count; i++)
		for (uint64_t at = dimm->ranges[i].start, next; at < dimm->ranges[i].end; at = next) {
			next = next_border(&all, 1, 1, at, dimm->ranges[i].end, &is_inside);
			if (is_inside)
				continue;
			add_range(job, dimm->id, is_new, (struct snapshot_range){at, next});
			is_new = false;
		}
}

int survey_parts_ask(const struct snapshot *host, const struct survey_ask *asks, size_t count, struct worker_job *job)
{
	struct pieces pieces = {0};

	if (count > SURVEY_ASKS_MAX)
		count = SURVEY_ASKS_MAX;
	if (count) {
		cut_dimms(host, asks, count, &pieces);
		cut_loose(host, asks, count, &pieces);
	}
	/* A piece makes at most one entry of its own, and one more of a DIMM. */
	if (host->dimm_count + 2 * pieces.count > WORKER_DIMMS_MAX)
		pieces.count = 0;
	job->dimm_count = 0;
	job->dimms = calloc(host->dimm_count + 2 * pieces.count + 1, sizeof(*job->dimms));
	if (!job->dimms)
		return -ENOMEM;
	/* First, so that each has a number by which the places of its pages can name it. */
	for (size_t i = 0; i < pieces.count; i++) {
		char id[SNAPSHOT_NAME_SIZE];

		snprintf(id, sizeof(id), PIECE_FORMAT, pieces.ranges[i].start, pieces.ranges[i].end);
		add_range(job, id, true, pieces.ranges[i]);
	}
	for (size_t i = 0; i < host->dimm_count; i++)
		add_dimm(job, &host->dimms[i], &pieces);
	return 0;
}

struct snapshot_guest_dimm survey_parts_find(const struct snapshot *host, const char *id)
{
	struct snapshot_guest_dimm part = {.node = -1};
	uint64_t start, end;
	int length = 0;

	if (sscanf(id, PIECE_FORMAT "%n", &start, &end, &length) != 2 || id[length] || start >= end) {
		snprintf(part.id, sizeof(part.id), "%s", id);
		return part;
	}
	part.range = (struct snapshot_range){start, end};
	for (size_t i = 0; host && i < host->block_count; i++)
		if (snapshot_block_meets(&host->blocks[i], start, start + 1))
			part.node = host->blocks[i].node;
	for (size_t i = 0; host && i < host->dimm_count; i++)
		for (size_t j = 0; j < host->dimms[i].range_count; j++)
			if (host->dimms[i].ranges[j].start <= start && end <= host->dimms[i].ranges[j].end) {
				memcpy(part.id, host->dimms[i].id, sizeof(part.id));
				part.node = host->dimms[i].node;
			}
	return part;
}
