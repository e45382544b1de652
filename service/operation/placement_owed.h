/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step has to write down beside its own before it begins, because nothing else of its operation would tell what its guest
 * was found with: a move that only moves pages sets neither policies nor cpusets, and yet its undo asks whether somebody else
 * has changed them (placement_change.h).
 */
#ifndef BALLAST_SERVICE_PLACEMENT_OWED_H
#define BALLAST_SERVICE_PLACEMENT_OWED_H

#include <stdbool.h>
#include "operation_record.h"

struct placement_owed {
	bool policies;	/* "ranges" of a BEFORE of MEMORY_POLICY */
	bool cpusets;	/* "groups" of one of CPUSET */
};

/* Pure. The step is one of the operation's, or about to become its last. */
struct placement_owed placement_owed(const struct operation_record *operation, const struct step_record *record);

#endif
