/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_LAZY: leaves the moving of a guest's pages to touch. The kernel moves a page to the node of the CPU that
 * touches it (AutoNUMA), where the memory's policy lets it: anonymous memory without a binding does by itself; shared
 * memory gets bind with balancing on the destinations for as long as this lasts. Who else touches no page costs nothing.
 *
 * The step says where to as that of a move does (move_job.h). What stayed on its sources when timeout_ms is over, or
 * when nothing has followed for a good while, is no failure: the step is done, and a move takes the rest.
 */
#ifndef BALLAST_SERVICE_LAZY_JOB_H
#define BALLAST_SERVICE_LAZY_JOB_H

struct job_context;

/* What a policy's step and a move's write down, in one object: both are undone. */
void lazy_job_before(struct job_context *context);
void lazy_job_run(struct job_context *context);
void lazy_job_undo(struct job_context *context);

#endif
