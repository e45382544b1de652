/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_PROOF: moves the memory of a running microVM between nodes and lets it say whether it noticed.
 */
#ifndef BALLAST_SERVICE_PROOF_JOB_H
#define BALLAST_SERVICE_PROOF_JOB_H

struct job_context;

/*
 * From the step's node to its nodes and back (none given: the first two nodes with memory), in pages of page_bytes (0
 * or 4096: plain memory). Values: page_bytes from to memory_bytes moved_bytes rounds exits bytes_per_s longest_pause_us
 * quiet_pause_us. FAILED with the reason where KVM cannot run here, there is one node only, or a page was wrong.
 */
void proof_job_run(struct job_context *context);

#endif
