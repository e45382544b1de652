/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's hooks around a drain. "before" is a step that an undo takes back by calling them with "after": so whatever they
 * stopped is told once the memory is there again. A drain that is not undone when it ends calls them with "after" itself, as
 * its last step, for them to go on without that memory.
 */
#include "drain_priv.h"

#include <stdio.h>
#include <string.h>

/* Were they called then, or can at least not be called then? One that a restart cut off may not have come to it. */
static bool is_called(const struct plan_input *input, bool after)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_HOST_HOOKS && step_is_after(&record->step) == after &&
		    record->state != STEP_STATE_UNDONE && !plan_was_cut(record))
			return true;
	}
	return false;
}

/* What undoes one of these steps undoes all of them. */
static bool has_undoable(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_HOST_HOOKS && undo_bar_is_due(&input->history[i]))
			return true;
	return false;
}

/* What was to go, before it went. */
static void take_bytes(const struct drainer *drainer, struct step *step)
{
	const struct plan_input *input = drainer->input;

	step->bytes = drainer->rest_bytes - drainer->guest_bytes;
	step->target_bytes = drainer->scope.online_bytes;
	for (size_t i = 0; i < input->history_count; i++) {
		if (input->history[i].step.kind != STEP_KIND_HOST_HOOKS)
			continue;
		step->bytes = input->history[i].step.bytes;
		step->target_bytes = input->history[i].step.target_bytes;
		return;
	}
}

static bool hooks_step(struct drainer *drainer, const char *when)
{
	const struct plan_input *input = drainer->input;
	const struct snapshot_hooks *hooks = &input->snapshot->hooks;
	struct step step;

	plan_step_init(&step, STEP_KIND_HOST_HOOKS, NULL);
	snprintf(step.text, sizeof(step.text), "%s", when);
	step.hook_count = (unsigned)hooks->count;
	memcpy(step.hook_names, hooks->names, sizeof(step.hook_names));
	step.timeout_ms = input->limits->hook_timeout_ms;
	if (drainer->wish->target == DRAIN_TARGET_DIMM)
		memcpy(step.dimm, drainer->wish->dimm, sizeof(step.dimm));
	step.nodes = drainer->scope.nodes;
	step.range_count = drainer->scope.range_count;
	memcpy(step.ranges, drainer->scope.ranges, sizeof(step.ranges));
	take_bytes(drainer, &step);
	step.undoable = !step_is_after(&step) && !has_undoable(input);
	return drain_emit(drainer, &step);
}

bool drain_hooks_next(struct drainer *drainer)
{
	if (!drainer->input->snapshot->hooks.count || is_called(drainer->input, false))
		return false;
	return hooks_step(drainer, "before");
}

/*
 * Will the engine undo what was done, when it is told to give up? Not past an eject. Where this is wrong they are called
 * twice, which they have to bear.
 */
static bool is_undone_after(const struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;

	if (drainer->decision->kind != DECISION_KIND_GIVE_UP)
		return false;
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_EJECT && input->history[i].state != STEP_STATE_FAILED)
			return false;
	return input->wish->on_timeout == ON_TIMEOUT_DEFAULT || input->wish->on_timeout == ON_TIMEOUT_RESTORE;
}

bool drain_hooks_after_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;

	if (!input->snapshot->hooks.count || !plan_count(input, STEP_KIND_HOST_HOOKS) || is_called(input, true) ||
	    is_undone_after(drainer))
		return false;
	drainer->decision->remainder.count = 0;
	return hooks_step(drainer, STEP_TEXT_AFTER);
}
