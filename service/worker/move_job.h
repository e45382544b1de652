/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_MOVE_PAGES: a guest's pages to other nodes, with a reason for every byte that stayed.
 *
 * The step says where to: map[] from source to destination node, cells[] for the ranges of a cell, or else nodes (all
 * that is elsewhere goes to the lowest of them). With ranges[] only pages that lie in these physical ranges go.
 */
#ifndef BALLAST_SERVICE_MOVE_JOB_H
#define BALLAST_SERVICE_MOVE_JOB_H

#include <stdint.h>

struct job_context;
struct page_survey_run;
struct step;

/* {"homes":[...], "stays":true}: page_homes.h, with PAGE_HOMES_STAYS told; without "stays" it is not. */
void move_job_before(struct job_context *context);
void move_job_run(struct job_context *context);
/* Moves each page back to the node that it was on, and with these what the guest has touched first since (move_record.h). */
void move_job_undo(struct job_context *context);

/* The node to which the step sends a run of pages in a range of this cell (-1: not known), or -1: it may stay. Pure. */
int move_job_destination(const struct step *step, int cell, const struct page_survey_run *run);
/* All nodes to which it may send any. Pure. */
uint64_t move_job_destinations(const struct step *step);

#endif
