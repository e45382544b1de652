/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_OFFLINE_BLOCKS and STEP_KIND_ONLINE_BLOCKS: memory blocks of the host.
 *
 * Offline: emptiest first, each with the step's timeout_ms as its own deadline, from a cpuset of the step's nodes, and
 * again up to three times while others succeed. A block that has a page which is being written when it is first looked at,
 * and two seconds later and at each try still is, is not tried. One that stays is told with who holds it.
 * The values say "blocks_offline": how many of its blocks are, in the end; and "taken_bytes" and "taken_us": of those that
 * went, how much that is and how long the kernel took for it.
 */
#ifndef BALLAST_SERVICE_BLOCK_JOB_H
#define BALLAST_SERVICE_BLOCK_JOB_H

struct job_context;

/* {"blocks":[{"first":64,"last":71,"state":"online","zone":"Movable"},...]} */
void block_job_before(struct job_context *context);
void block_job_offline(struct job_context *context);
void block_job_online(struct job_context *context);
/* Of both: every recorded block that the step still names into its old state and zone. */
void block_job_undo(struct job_context *context);

#endif
