/* SPDX-License-Identifier: Apache-2.0 */
#include "operation_record.h"

#include <stdint.h>
#include <string.h>

static const char *const operation_states[OPERATION_STATE_COUNT] = {
	[OPERATION_STATE_PENDING] = "pending",	   [OPERATION_STATE_RUNNING] = "running",
	[OPERATION_STATE_PAUSED] = "paused",	   [OPERATION_STATE_CANCELLING] = "cancelling",
	[OPERATION_STATE_SUCCEEDED] = "succeeded", [OPERATION_STATE_INCOMPLETE] = "incomplete",
	[OPERATION_STATE_FAILED] = "failed",	   [OPERATION_STATE_CANCELLED] = "cancelled",
};
NAME_TABLE_DEFINE(operation_state, operation_states)

static const char *const drain_states[DRAIN_STATE_COUNT] = {
	[DRAIN_STATE_DRAINING] = "draining", [DRAIN_STATE_HELD] = "held",
	[DRAIN_STATE_STOPPED] = "stopped",   [DRAIN_STATE_UNDRAINING] = "undraining",
	[DRAIN_STATE_RELEASED] = "released", [DRAIN_STATE_ATTENTION] = "attention",
	[DRAIN_STATE_DEFERRED] = "deferred",
};
NAME_TABLE_DEFINE(drain_state, drain_states)

static const char *const drain_stages[DRAIN_STAGE_COUNT] = {
	[DRAIN_STAGE_CORDON] = "cordon",
	[DRAIN_STAGE_SHRINK] = "shrink",
	[DRAIN_STAGE_MOVE] = "move",
	[DRAIN_STAGE_OFFLINE] = "offline",
	[DRAIN_STAGE_BRING_HOME] = "bring_home",
	[DRAIN_STAGE_EJECT] = "eject",
};
NAME_TABLE_DEFINE(drain_stage, drain_stages)

bool operation_state_is_final(enum operation_state state)
{
	switch (state) {
	case OPERATION_STATE_SUCCEEDED:
	case OPERATION_STATE_INCOMPLETE:
	case OPERATION_STATE_FAILED:
	case OPERATION_STATE_CANCELLED:
		return true;
	case OPERATION_STATE_PENDING:
	case OPERATION_STATE_RUNNING:
	case OPERATION_STATE_PAUSED:
	case OPERATION_STATE_CANCELLING:
	case OPERATION_STATE_COUNT:
		break;
	}
	return false;
}

struct operation_record *operation_record_new(void)
{
	struct operation_record *record = calloc(1, sizeof(*record));

	if (record)
		record->progress.eta_s = UINT32_MAX;
	return record;
}

struct operation_record *operation_record_free(struct operation_record *record)
{
	if (!record)
		return NULL;
	for (size_t i = 0; i < record->step_count; i++)
		step_record_done(&record->steps[i]);
	free(record->steps);
	free(record);
	return NULL;
}

struct step_record *operation_record_add_step(struct operation_record *record,
					      const struct step *step)
{
	struct step_record *grown, *added;
	struct step copy;

	if (step_copy(step, &copy) < 0)
		return NULL;
	grown = reallocarray(record->steps, record->step_count + 1, sizeof(*grown));
	if (!grown) {
		step_done(&copy);
		return NULL;
	}
	record->steps = grown;
	added = &grown[record->step_count++];
	*added = (struct step_record){.n = (unsigned)record->step_count, .step = copy};
	return added;
}

const char *drain_record_operation(const struct drain_record *drain)
{
	return drain->undrain_operation[0] ? drain->undrain_operation : drain->operation;
}

static struct remainder *said(struct remainder_list *list, const struct remainder *entry)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].object, entry->object) == 0 && strcmp(list->items[i].detail, entry->detail) == 0)
			return &list->items[i];
	return NULL;
}

void operation_record_warn(struct operation_record *record, const struct remainder_list *warnings)
{
	if (record->wish.kind != OPERATION_KIND_DRAIN) {
		if (warnings->count)
			record->warnings = *warnings;
		return;
	}
	for (size_t i = 0; i < warnings->count; i++) {
		struct remainder *before = said(&record->warnings, &warnings->items[i]);

		if (before)
			*before = warnings->items[i];
		else
			remainder_list_add_copy(&record->warnings, &warnings->items[i]);
	}
}
