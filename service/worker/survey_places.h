/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which DIMM each unit of a guest's memory devices lies in, counted while a survey goes from unit to unit.
 */
#ifndef BALLAST_SERVICE_SURVEY_PLACES_H
#define BALLAST_SERVICE_SURVEY_PLACES_H

#include <stddef.h>
#include <stdint.h>
#include "page_survey.h"
#include "worker_message.h"

/* A target of the survey: of a DIMM the part that is on one node. */
struct survey_target {
	size_t dimm;	/* by its place in the job */
	int node;	/* -1: not known */
};

struct survey_places {
	const struct survey_target *targets;	/* borrowed */
	size_t target_count;
	uint64_t node_before[SNAPSHOT_NODES_MAX];
	uint64_t *target_before;	/* owned */
};

/* targets: as many as the survey has, those of a DIMM one after the other. 0 or -ENOMEM. */
int survey_places_init(struct survey_places *places, const struct survey_target *targets, size_t target_count);
void survey_places_done(struct survey_places *places);

/* Right before a unit is counted into totals. */
void survey_places_mark(struct survey_places *places, const struct page_survey_totals *totals);
/* Right after it: what has come on belongs to that unit. Those that have most stay where they are too many. */
void survey_places_take(const struct survey_places *places, const struct page_survey_totals *totals, size_t device,
			size_t unit, struct worker_survey *survey);

#endif
