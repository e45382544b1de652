/* SPDX-License-Identifier: Apache-2.0 */
#include "placement_owed.h"

/* The first that moves pages, where none before it has set the one or the other. */
struct placement_owed placement_owed(const struct operation_record *operation, const struct step_record *record)
{
	struct placement_owed owed = {true, true};

	if (operation->wish.kind != OPERATION_KIND_MOVE || record->step.kind != STEP_KIND_MOVE_PAGES)
		return (struct placement_owed){0};
	for (size_t i = 0; i < operation->step_count && operation->steps[i].n < record->n; i++) {
		const struct step *step = &operation->steps[i].step;

		if (step->kind == STEP_KIND_MOVE_PAGES)
			return (struct placement_owed){0};
		owed.policies &= !step_sets_policy(step);
		owed.cpusets &= !step_sets_cpuset(step);
	}
	return owed;
}
