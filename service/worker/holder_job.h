/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a piece of the host's memory: kinds of pages, cgroups, processes. The answer is a worker_holders.
 */
#ifndef BALLAST_SERVICE_HOLDER_JOB_H
#define BALLAST_SERVICE_HOLDER_JOB_H

struct job_context;

void holder_job_run(struct job_context *context);

#endif
