/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_HOST_HOOKS: the host's own programs, in the order of their names, each with the step's timeout_ms. One that
 * fails is told, and the next one runs all the same: PARTIAL, or of an undo DONE, with a reason for each that failed.
 */
#ifndef BALLAST_SERVICE_HOOK_JOB_H
#define BALLAST_SERVICE_HOOK_JOB_H

#include "child_job.h"

struct job_context;

void hook_job_run(struct job_context *context);
/* Calls them with "after", and what was done is undone. */
void hook_job_undo(struct job_context *context);

/* Waits for a program until its own deadline, the step's, or until whoever wants it to end says so: then it is killed. */
enum child_job_state hook_job_wait(struct job_context *context, struct child_job *job, struct child_job_result *ret_result);

#endif
