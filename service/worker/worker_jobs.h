/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which job does what: a row for each kind of step that is kernel work.
 */
#ifndef BALLAST_SERVICE_WORKER_JOBS_H
#define BALLAST_SERVICE_WORKER_JOBS_H

struct job_context;

/* Runs the context's job; the result is always filled. */
void worker_jobs_run(struct job_context *context);

#endif
