/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_HOST_HOOKS: the host's own programs, in the order of their names, each with the step's timeout_ms. One that
 * fails is told, and the next one runs all the same: PARTIAL, or of an undo DONE, with a reason for each that failed.
 */
#ifndef BALLAST_SERVICE_HOOK_JOB_H
#define BALLAST_SERVICE_HOOK_JOB_H

struct job_context;

void hook_job_run(struct job_context *context);
/* Calls them with "after", and what was done is undone. */
void hook_job_undo(struct job_context *context);

#endif
