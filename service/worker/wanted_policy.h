/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a STEP_KIND_MEMORY_POLICY makes of the policy that it finds: policy_job.h says how. Pure.
 */
#ifndef BALLAST_SERVICE_WANTED_POLICY_H
#define BALLAST_SERVICE_WANTED_POLICY_H

#include <stdbool.h>

struct memory_policy;
struct step;

/* Of a range of that cell (-1: not known) that had this policy. False: it keeps it. */
bool wanted_policy_of_step(const struct step *step, const struct memory_policy *had, int cell,
			   struct memory_policy *ret_policy);
/*
 * Is it a policy that a step with loose has set? What belongs bound is preferred then, and bears MPOL_F_STATIC_NODES, which
 * nobody else sets on a file, so that whoever looks knows it. Bound memory for which its nodes have no page ends in the
 * host's OOM killer, however much other nodes have (mm/mempolicy.c policy_nodemask, mm/oom_kill.c constrained_alloc).
 */
bool wanted_policy_is_loose(const struct memory_policy *policy);
/* What it is bound to then, once it is loose no more. */
void wanted_policy_bind(struct memory_policy *policy);

#endif
