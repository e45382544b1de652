/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done when somebody says that memory goes bad: by how bad it is said to be, what the configuration has for that.
 */
#ifndef BALLAST_SERVICE_HINT_POLICY_H
#define BALLAST_SERVICE_HINT_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include "name_table.h"
#include "snapshot.h"
#include "wish.h"

enum hint_action {
	HINT_ACTION_ALERT,	/* it is told, and nothing else */
	HINT_ACTION_MOVE_RANGE, /* guests leave the block that was named; of a DIMM as a whole: all of it */
	HINT_ACTION_DRAIN,	/* the DIMM is drained; memory that is in none: the block */
	HINT_ACTION_COUNT
};
NAME_TABLE_DECLARE(hint_action);

struct hint_policy {
	enum hint_action actions[HINT_RISK_COUNT];
	enum drain_finish finish; /* of DRAIN */
	uint32_t allow;		  /* mask of consents: nobody is asked */
};

/* Alerts alone, drains that only empty, and no consent. */
void hint_policy_init(struct hint_policy *policy);

/*
 * The operation that the policy makes of the hint, by its last risk; false: it is an alert. One that runs out of time leaves
 * what is done: to bring guests back to memory that goes bad helps nobody.
 */
bool hint_policy_wish(const struct hint_policy *policy, const struct snapshot_hint *hint, struct wish *ret_wish);

#endif
