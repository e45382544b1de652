/* SPDX-License-Identifier: Apache-2.0 */
#include "hint_policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const actions[HINT_ACTION_COUNT] = {
	[HINT_ACTION_ALERT] = "alert",
	[HINT_ACTION_MOVE_RANGE] = "move_range",
	[HINT_ACTION_DRAIN] = "drain",
};
NAME_TABLE_DEFINE(hint_action, actions)

void hint_policy_init(struct hint_policy *policy)
{
	*policy = (struct hint_policy){.finish = DRAIN_FINISH_EMPTY};
}

bool hint_policy_wish(const struct hint_policy *policy, const struct snapshot_hint *hint, struct wish *ret_wish)
{
	enum hint_action action = policy->actions[hint->risk];
	bool has_range = hint->range.start < hint->range.end;
	struct wish_drain *drain = &ret_wish->drain_wish;

	if (action == HINT_ACTION_ALERT)
		return false;
	wish_init(ret_wish, OPERATION_KIND_DRAIN);
	ret_wish->allow = policy->allow;
	ret_wish->on_timeout = ON_TIMEOUT_STOP;
	if (hint->dimm[0] && (action == HINT_ACTION_DRAIN || !has_range)) {
		drain->target = DRAIN_TARGET_DIMM;
		memcpy(drain->dimm, hint->dimm, sizeof(drain->dimm));
	} else {
		drain->target = DRAIN_TARGET_RANGE;
		drain->range = hint->range;
	}
	drain->finish = action == HINT_ACTION_DRAIN ? policy->finish : DRAIN_FINISH_EMPTY;
	if (has_range)
		snprintf(drain->reason, sizeof(drain->reason), "hint: risk %s at 0x%" PRIx64, hint_risk_name(hint->risk),
			 hint->address);
	else
		snprintf(drain->reason, sizeof(drain->reason), "hint: risk %s", hint_risk_name(hint->risk));
	return true;
}
