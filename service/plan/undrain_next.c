/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undrain: the drain's undoable steps in reverse order, each once, so that the cordon goes last.
 * What cannot be undone any more does not keep the hold: after an eject there are no blocks to
 * online until the DIMM is plugged in again, so only the cordon is lifted, guests stay where they
 * are, and the remainder says what is missing.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>

static bool may_need_undo(const struct step_record *record)
{
	if (!record->step.undoable)
		return false;
	switch (record->state) {
	case STEP_STATE_RUNNING:
	case STEP_STATE_DONE:
	case STEP_STATE_PARTIAL:
	case STEP_STATE_UNDOING:
		return true;
	case STEP_STATE_PENDING:
	case STEP_STATE_FAILED:
	case STEP_STATE_UNDONE:
	case STEP_STATE_COUNT:
		break;
	}
	return false;
}

static const struct step_record *undo_of(const struct plan_input *input, unsigned n)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (input->history[i].step.kind == STEP_KIND_UNDO &&
		    input->history[i].step.undo_n == n)
			return &input->history[i];
	return NULL;
}

static bool is_absent(const struct plan_input *input, const char *dimm_id)
{
	const struct snapshot_dimm *dimm = snapshot_dimm(input->snapshot, dimm_id);

	return !dimm || dimm->state == SNAPSHOT_DIMM_EJECTED || dimm->state == SNAPSHOT_DIMM_ABSENT;
}

/* The DIMM that was ejected and has not come back; NULL: none. */
static const char *missing_dimm(const struct plan_input *input)
{
	for (size_t i = 0; i < input->subject_count; i++) {
		const struct step_record *record = &input->subject[i];

		if (record->step.kind == STEP_KIND_EJECT &&
		    (record->state == STEP_STATE_DONE || record->state == STEP_STATE_RUNNING) &&
		    is_absent(input, record->step.dimm))
			return record->step.dimm;
	}
	return NULL;
}

static void undo_step(const struct plan_input *input, const struct step_record *record,
		      struct decision *decision)
{
	struct step step = record->step;

	/* Like its subject, so that locks and people see what it is about; the child is not run
	 * again. */
	step.kind = STEP_KIND_UNDO;
	step.child = NULL;
	step.undoable = false;
	step.undo_n = record->n;
	snprintf(step.text, sizeof(step.text), "%s", step_word(&record->step));
	snprintf(step.undo_operation, sizeof(step.undo_operation), "%s",
		 input->subject_operation ? input->subject_operation : "");
	step.bytes = record->step.kind == STEP_KIND_CHILD ? record->bytes_done : 0;
	plan_decide(decision, &step);
}

static void finish(const struct plan_input *input, const char *missing, struct decision *decision)
{
	char object[96];

	decision->kind = DECISION_KIND_DONE;
	if (missing) {
		snprintf(object, sizeof(object), "dimm %s", missing);
		remainder_list_add(&decision->remainder, REMAINDER_UNDO_FAILED, object, 0,
				   "plug the DIMM in again",
				   "it was ejected: its blocks cannot be onlined; the hold is "
				   "released, guests stay");
	}
	for (size_t i = 0; i < input->subject_count; i++) {
		const struct step_record *undo = undo_of(input, input->subject[i].n);
		char text[160];

		if (!undo ||
		    (undo->state != STEP_STATE_FAILED && undo->state != STEP_STATE_PARTIAL))
			continue;
		snprintf(object, sizeof(object), "step %u", input->subject[i].n);
		if (undo->remainder.count)
			remainder_list_append(&decision->remainder, &undo->remainder);
		else
			remainder_list_add(&decision->remainder, REMAINDER_UNDO_FAILED, object,
					   undo->step.bytes, NULL,
					   "could not be put back: %s %.100s",
					   step_word(&input->subject[i].step),
					   step_describe(&input->subject[i].step, text));
	}
	if (decision->remainder.count)
		decision->kind = DECISION_KIND_GIVE_UP;
}

void undrain_next(const struct plan_input *input, struct decision *ret_decision)
{
	const char *missing = missing_dimm(input);

	memset(ret_decision, 0, sizeof(*ret_decision));
	for (size_t i = input->subject_count; i-- > 0;) {
		const struct step_record *record = &input->subject[i];

		if (!may_need_undo(record) || undo_of(input, record->n))
			continue;
		if (missing && record->step.kind != STEP_KIND_CORDON)
			continue;
		undo_step(input, record, ret_decision);
		return;
	}
	finish(input, missing, ret_decision);
}
