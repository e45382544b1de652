/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has somebody else changed where a guest's memory belongs, since an operation set it? By what its steps have written down and
 * what they made of that, against what there is now: to be asked before any of it is put back. Pure.
 *
 * What the operation itself can have left is known at each of its steps, done or undone: who was killed in the middle has
 * changed nothing. Where there is nothing to judge by, nobody has.
 */
#ifndef BALLAST_SERVICE_PLACEMENT_CHANGE_H
#define BALLAST_SERVICE_PLACEMENT_CHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "operation_record.h"
#include "snapshot.h"

struct placement_change;

/* Of the guest's process as it runs now: what an operation changed of another ended with that. NULL where memory is short. */
struct placement_change *placement_change_new(const struct operation_record *operation, const struct snapshot_guest *guest);
struct placement_change *placement_change_free(struct placement_change *change);

/* The last of its steps that tells of cpusets, or of policies. Borrowed; NULL: none does. */
const struct step *placement_change_cpuset_step(const struct placement_change *change);
const struct step *placement_change_policy_step(const struct placement_change *change);

/*
 * values are what a BEFORE of such a step gives now. memory_nodes have memory; held_nodes may have been without since. True:
 * *ret_detail says what it is now.
 */
bool placement_change_in_cpusets(const struct placement_change *change, const json_t *values, uint64_t memory_nodes,
				 uint64_t held_nodes, char ret_detail[160]);
bool placement_change_in_policies(const struct placement_change *change, const json_t *values, uint64_t memory_nodes,
				  char ret_detail[160]);

#endif
