/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_MEMORY_POLICY: the policy of a guest's shared memory, set from outside on the file behind it.
 *
 * cells[]: the ranges of a cell get mode on that node; map[]: each range's own nodes are mapped (a range without any
 * gets nodes, or else the destinations of the map); else all get mode on nodes. A mode of MIXED keeps each range's
 * own. With loose what is to be bound prefers its nodes for now. What lets no policy be set from outside (anonymous memory, hugetlb) is in the remainder.
 */
#ifndef BALLAST_SERVICE_POLICY_JOB_H
#define BALLAST_SERVICE_POLICY_JOB_H

#include <stdbool.h>

struct guest_range;
struct job_context;
struct memory_policy;

/* {"ranges":[{"inode":1,"device":2,"offset":0,"bytes":4096,"policy":"bind:2","cell":0},...]} */
void policy_job_before(struct job_context *context);
void policy_job_run(struct job_context *context);
void policy_job_undo(struct job_context *context);

/* Does this range let its policy be set from outside? hugetlbfs keeps none, and anonymous memory's is its process' own. */
bool policy_job_is_settable(const struct guest_range *range);
/* Sets it on the file behind the range. 0 or -errno. */
int policy_job_set(const struct job_context *context, const struct guest_range *range,
		   const struct memory_policy *policy);

#endif
