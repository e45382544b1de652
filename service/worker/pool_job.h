/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_HOST_POOL: the huge page pool of a node, of pages of page_bytes, to target_bytes.
 */
#ifndef BALLAST_SERVICE_POOL_JOB_H
#define BALLAST_SERVICE_POOL_JOB_H

struct job_context;

/* {"node":1,"page_bytes":2097152,"pages":256}: without surplus pages, which come and go by themselves. */
void pool_job_before(struct job_context *context);
void pool_job_run(struct job_context *context);
void pool_job_undo(struct job_context *context);

#endif
