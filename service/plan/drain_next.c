/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain:
 *
 *   cordon -> shrink -> one child move for each guest, largest first -> hooks -> pools -> offline -> bring home -> slices ->
 *                              ^                                                             |            eject -> hooks
 *                              +-------- once more, where guests came back <-----------------+
 *
 * Guests leave first, to nodes that the plan chose and that have room; what is left for the kernel
 * to move when the blocks go offline is then little, and lands in the cpuset of the worker, which
 * is the same nodes. Memory can be moved within a node only by offlining it from under its owner,
 * so what a guest has in the part of a node that goes is moved away and brought back after
 * (drain_part.c).
 *
 * Moves of different guests run beside each other, those out of the scope and those home, and so do undos that bring them
 * home. All else waits until they have ended.
 *
 * Where there is no room for all, and the consent to it, guests become smaller first, by what lies in the target.
 */
#include "drain_priv.h"

#include <stdio.h>
#include <string.h>

bool drain_emit(struct drainer *drainer, const struct step *step)
{
	plan_decide(drainer->decision, step);
	return true;
}

static bool cordon_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	struct step step;

	if (plan_count(input, STEP_KIND_CORDON))
		return false;
	plan_step_init(&step, STEP_KIND_CORDON, NULL);
	snprintf(step.text, sizeof(step.text), "%s", input->wish->drain);
	if (drainer->wish->target == DRAIN_TARGET_DIMM)
		memcpy(step.dimm, drainer->wish->dimm, sizeof(step.dimm));
	if (drainer->wish->target == DRAIN_TARGET_NODE)
		step.node = drainer->wish->node;
	step.range_count = drainer->scope.range_count;
	memcpy(step.ranges, drainer->scope.ranges, sizeof(step.ranges));
	step.undoable = true;
	return drain_emit(drainer, &step);
}

/* A DIMM of the target that is still there and that nobody tried to eject yet; NULL: none. */
static const struct snapshot_dimm *dimm_to_eject(const struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;

	for (size_t i = 0; i < input->snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &input->snapshot->dimms[i];
		bool tried = false;

		if (!drain_scope_has_dimm(drainer->wish, dimm) || snapshot_dimm_is_out(dimm))
			continue;
		for (size_t j = 0; j < input->history_count; j++)
			/* One that a restart cut off was not refused: the DIMM that is still there
			 * says only that it had not begun. */
			tried = tried || (input->history[j].step.kind == STEP_KIND_EJECT &&
					  strcmp(input->history[j].step.dimm, dimm->id) == 0 &&
					  !plan_was_cut(&input->history[j]));
		if (!tried)
			return dimm;
	}
	return NULL;
}

/* Each DIMM of the target once. */
static bool eject_next(struct drainer *drainer)
{
	const struct snapshot_dimm *dimm = dimm_to_eject(drainer);
	struct step step;

	if (!dimm)
		return false;
	plan_step_init(&step, STEP_KIND_EJECT, NULL);
	memcpy(step.dimm, dimm->id, sizeof(step.dimm));
	step.node = dimm->node;
	return drain_emit(drainer, &step);
}

static bool eject_failed(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	bool failed = false;
	char object[96];

	for (size_t i = 0; i < input->snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &input->snapshot->dimms[i];
		const struct step_record *eject = NULL;

		for (size_t j = 0; j < input->history_count; j++)
			if (input->history[j].step.kind == STEP_KIND_EJECT &&
			    strcmp(input->history[j].step.dimm, dimm->id) == 0)
				eject = &input->history[j];
		if (!eject || eject->state == STEP_STATE_DONE)
			continue;
		failed = true;
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		if (eject->remainder.count)
			remainder_list_append(&drainer->decision->remainder, &eject->remainder);
		else
			remainder_list_add(
				&drainer->decision->remainder, REMAINDER_EJECT_FAILED, object, 0,
				NULL, "the eject was asked for, but the device is still there");
	}
	return failed;
}

/* A device that came to reach beyond the target since it was asked for: what was drained is no whole of it. */
static bool eject_is_cut(struct drainer *drainer)
{
	const struct snapshot *snapshot = drainer->input->snapshot;
	bool is_cut = false;
	char object[96];

	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &snapshot->dimms[i];

		if (snapshot_dimm_is_out(dimm) || !drain_scope_cuts_dimm(drainer->input, &drainer->scope, dimm))
			continue;
		is_cut = true;
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		remainder_list_add(&drainer->decision->remainder, REMAINDER_NOT_EJECTABLE, object, 0,
				   dimm->ejectable ? "drain it by its name with --eject" : NULL,
				   "offline, but it has memory on other nodes too, and is not ejected with one of them");
	}
	return is_cut;
}

/* True where time ran out before the last of the ejects. */
static bool eject_missed(struct drainer *drainer, bool late)
{
	const struct snapshot_dimm *dimm = late ? dimm_to_eject(drainer) : NULL;
	char object[96];

	if (!dimm)
		return false;
	snprintf(object, sizeof(object), "dimm %s", dimm->id);
	remainder_list_add(&drainer->decision->remainder, REMAINDER_DEADLINE, object, 0, NULL,
			   "offline, but time ran out before the eject");
	return true;
}

static bool cordon_failed(const struct plan_input *input)
{
	const struct step_record *cordon = plan_last(input, STEP_KIND_CORDON);

	return cordon && cordon->state == STEP_STATE_FAILED;
}

/* Without a hold nothing else is begun. */
static void tell_cordon(struct drainer *drainer)
{
	const struct step_record *cordon = plan_last(drainer->input, STEP_KIND_CORDON);
	uint64_t rest = drainer->wish->finish == DRAIN_FINISH_EMPTY ? drainer->guest_bytes
								    : drainer->scope.online_bytes;
	struct remainder_list *list = &drainer->decision->remainder;
	char object[96];

	drainer->decision->kind = DECISION_KIND_GIVE_UP;
	if (cordon)
		plan_take_remainder(list, &cordon->remainder, &rest);
	if (rest || !list->count)
		remainder_list_add(list, cordon ? REMAINDER_HELD : REMAINDER_DEADLINE,
				   wish_target(drainer->input->wish, object), rest, "ask again",
				   cordon ? "the hold could not be taken, so nothing was begun"
					  : "time ran out before anything was begun");
}

static void decide(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	bool late = plan_is_late(input);

	if (!late && cordon_next(drainer))
		return;
	if (cordon_failed(input) || (late && !plan_count(input, STEP_KIND_CORDON))) {
		tell_cordon(drainer);
		return;
	}
	if (drainer->wish->finish == DRAIN_FINISH_CORDON) {
		drainer->decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (!late && (drain_shrink_next(drainer) || drain_guest_next(drainer)))
		return;
	if (drainer->wish->finish == DRAIN_FINISH_EMPTY) {
		if (drainer->guest_bytes)
			drain_give_up(drainer, false);
		else if (late || !drain_slices_next(drainer))
			drainer->decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (!late && drain_offline_next(drainer))
		return;
	if (drainer->scope.online_blocks) {
		drain_give_up(drainer, true);
		return;
	}
	if (drain_part_home_next(drainer) || (!late && (drain_home_next(drainer) || drain_slices_next(drainer))))
		return;
	if (drainer->wish->finish == DRAIN_FINISH_EJECT) {
		if (!late && eject_next(drainer))
			return;
		bool failed = eject_failed(drainer), missed = eject_missed(drainer, late), is_cut = eject_is_cut(drainer);

		if (failed || missed || is_cut) {
			drainer->decision->kind = DECISION_KIND_GIVE_UP;
			return;
		}
	}
	drainer->decision->kind = DECISION_KIND_DONE;
}

/* What may begin beside the moves that run; else they are waited for. */
static void beside_next(struct drainer *drainer)
{
	bool is_offline = drainer->wish->finish >= DRAIN_FINISH_OFFLINE && !drainer->scope.online_blocks;

	if (!drain_guest_next(drainer) && !(is_offline && (drain_part_home_next(drainer) || drain_home_next(drainer))))
		drainer->decision->kind = DECISION_KIND_WAIT;
	/* Who does not come home is told when all have ended. */
	drainer->decision->warnings.count = 0;
}

void drain_next(const struct plan_input *seen, struct decision *ret_decision)
{
	CLEANUP(snapshot_freep) struct snapshot *foreseen = NULL;
	struct plan_input ahead = *seen;
	const struct plan_input *input = &ahead;
	struct drainer drainer = {
		.input = input, .wish = &input->wish->drain_wish, .decision = ret_decision};
	bool late = plan_is_late(input), runs = drain_running(input) > 0;

	memset(ret_decision, 0, sizeof(*ret_decision));
	ret_decision->kind = runs ? DECISION_KIND_WAIT : DECISION_KIND_COUNT;
	if (runs) {
		foreseen = !late && drain_may_begin(seen, 1) ? drain_foresee(seen) : NULL;
		if (!foreseen)
			return;
		ahead.snapshot = foreseen;
	}
	drain_scope_find(input, &drainer.scope);
	for (size_t i = 0; i < input->snapshot->guest_count; i++)
		drainer.guest_bytes +=
			drain_scope_guest_bytes(input, &drainer.scope, &input->snapshot->guests[i]);
	drainer.rest_bytes = drainer.guest_bytes;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		drainer.rest_bytes += drain_scope_host_bytes(input, &drainer.scope, node);
	if (runs) {
		beside_next(&drainer);
		return;
	}
	decide(&drainer);
	/* Also where it is late: they have a deadline of their own. */
	if (ret_decision->kind != DECISION_KIND_STEP)
		drain_hooks_after_next(&drainer);
}
