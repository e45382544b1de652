/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_CPUSET: cpuset.mems of all cgroups of a guest := nodes, parents first where that widens, children first
 * where it narrows. What the kernel made of the guest's policies is compared afterwards, and told as a warning.
 */
#ifndef BALLAST_SERVICE_CPUSET_JOB_H
#define BALLAST_SERVICE_CPUSET_JOB_H

struct job_context;

/*
 * {"groups":[{"path":"/machine.slice/...","inode":7,"mems":"0-1","inherits":"0-3"},...]}; an empty text where a group inherits.
 * The first is the guest's own, and what it would inherit is told of that alone.
 */
void cpuset_job_before(struct job_context *context);
void cpuset_job_run(struct job_context *context);
/* An equivalent set where the kernel refuses the old one. */
void cpuset_job_undo(struct job_context *context);

#endif
