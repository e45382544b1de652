/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_PROBE: what this kernel can do.
 */
#ifndef BALLAST_SERVICE_PROBE_JOB_H
#define BALLAST_SERVICE_PROBE_JOB_H

struct job_context;

/* Values: {"features":{"move_pages":{"state":"yes","detail":"..."},...}} */
void probe_job_run(struct job_context *context);

#endif
