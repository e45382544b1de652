/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undrain: the drain's undoable steps in reverse order (undo_bar.c), each once, so that the cordon goes last. Of a step of blocks that is
 * each part that may go back: the rest may follow it when another hold has gone meanwhile.
 *
 * What another drain still holds stays as it is (undo_bar.c): the hold goes all the same, and the rest
 * is deferred. So whatever earlier drains have deferred is undone here too, where nothing bars it any
 * more: last first, and before the cordon goes, so that a hold stands until all is back.
 *
 * Moves of guests are undone as they were done, several beside each other (undo_beside.c); everything else waits for all that
 * comes before it, and is waited for. What no undo brings home, because a device pins it, comes after them (undrain_home.c).
 * Of a drain that is given up for good next to nothing is undone (undrain_keep.c).
 *
 * A DIMM that is out just now is waited for likewise: there are no blocks to online, and guests stay
 * where they are, but the hold goes, and after the DIMM was plugged in again another undrain of the
 * same drain does the rest. Where another was plugged in instead what is there serves, as far as it goes (undo_bar.c).
 */
#include "drain_priv.h"

#include <stdio.h>
#include <string.h>

static bool is_move(const struct step_record *record)
{
	return record->step.kind == STEP_KIND_CHILD && record->step.child &&
	       record->step.child->kind == OPERATION_KIND_MOVE;
}

static void undo_step(const struct step_record *record, const struct step *part, const char *operation,
		      struct decision *decision)
{
	struct step step = *part;

	/* Like its subject, so that locks and people see what it is about; the child is not run
	 * again. */
	step.kind = STEP_KIND_UNDO;
	step.undoable = false;
	step.undo_n = record->n;
	snprintf(step.text, sizeof(step.text), "%s", step_word(&record->step));
	snprintf(step.undo_operation, sizeof(step.undo_operation), "%s", operation ? operation : "");
	step.bytes = record->step.kind == STEP_KIND_CHILD ? record->bytes_done : 0;
	/* Which way its pages went, for who foresees where they will be. */
	if (is_move(record) && record->step.child->move.form == MOVE_FORM_MAP)
		memcpy(step.map, record->step.child->move.map, sizeof(step.map));
	plan_decide(decision, &step);
}

/* ---- beside each other ---- */

static bool runs(const struct step_record *record)
{
	return record->step.kind == STEP_KIND_UNDO && record->state == STEP_STATE_RUNNING;
}

/* The step of the drain, or of another, that this one puts back; NULL: it is not there any more. */
static const struct step_record *undone_by(const struct plan_input *input, const struct step_record *undo)
{
	const char *own = input->subject_operation ? input->subject_operation : "";
	const struct step_record *steps = strcmp(undo->step.undo_operation, own) == 0 ? input->subject : NULL;
	size_t count = steps ? input->subject_count : 0;

	for (size_t i = 0; i < input->drain_count && !steps; i++)
		if (strcmp(undo->step.undo_operation, input->drains[i].operation) == 0) {
			steps = input->drains[i].steps;
			count = input->drains[i].step_count;
		}
	for (size_t i = 0; i < count; i++)
		if (steps[i].n == undo->step.undo_n)
			return &steps[i];
	return NULL;
}

/* What runs, and moves that come before all others but have to wait. */
struct beside {
	size_t running, count;
	const struct step_record *moves[UNDO_BESIDE_MAX]; /* the first of them run */
	bool is_full;	/* no other may begin */
};

static void find_running(const struct plan_input *input, struct beside *ret_beside)
{
	struct beside beside = {0};

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = runs(&input->history[i]) ? undone_by(input, &input->history[i]) : NULL;

		if (!runs(&input->history[i]))
			continue;
		beside.running++;
		if (record && is_move(record) && beside.count < UNDO_BESIDE_MAX)
			beside.moves[beside.count++] = record;
	}
	/* Something else runs alone. */
	beside.is_full = beside.running && (beside.count < beside.running || !drain_may_begin(input, 1));
	*ret_beside = beside;
}

static bool may_begin(const struct plan_input *input, const struct beside *beside, const struct step_record *record)
{
	if (!beside->running)
		return true;
	for (size_t i = beside->running; i < beside->count; i++)
		if (undo_beside_excludes(input, beside->moves[i], record))
			return false;
	return undo_beside_may(input, record, beside->moves, beside->running);
}

/* ---- in their order ---- */

/* The cordon, or all but that. drain: NULL for the wish's own. False: nothing of it is left to begin, but what has to wait. */
static bool steps_next(const struct plan_input *input, const struct plan_drain *drain, bool cordon,
		       struct beside *beside, struct decision *decision)
{
	struct undo_owner owner = undo_owner_of(input, drain);
	const struct step_record *steps = owner.steps;
	struct undo_order order = undo_order_of(steps, owner.count);
	struct step part;

	for (size_t number = 0; number < order.count && !beside->is_full; number++) {
		size_t i = undo_order_at(&order, number);
		const struct step_record *undo = undo_bar_undo_of(input, owner.operation, steps[i].n);

		if ((steps[i].step.kind == STEP_KIND_CORDON) != cordon || !undo_bar_is_due(&steps[i]) ||
		    !undrain_keep_gives_back(input, drain, &steps[i]) ||
		    undo_bar_judge(input, drain, &steps[i], &part, NULL) == UNDO_BAR_ALL ||
		    (undo && step_is_of_same_blocks(&undo->step, &part)))
			continue;
		if (beside->running && (!is_move(&steps[i]) || beside->count == UNDO_BESIDE_MAX)) {
			beside->is_full = true;
		} else if (may_begin(input, beside, &steps[i])) {
			undo_step(&steps[i], &part, owner.operation, decision);
			decision->beside = is_move(&steps[i]) && drain_may_begin(input, 2);
			return true;
		} else {
			beside->moves[beside->count++] = &steps[i];
		}
	}
	return false;
}

static bool deferred_next(const struct plan_input *input, bool newer, struct beside *beside, struct decision *decision)
{
	for (size_t i = 0; i < input->drain_count; i++)
		if (input->drains[i].is_newer == newer && !input->drains[i].is_held &&
		    steps_next(input, &input->drains[i], false, beside, decision))
			return true;
	return false;
}

/* What became of the steps of one drain; drain: NULL for the wish's own. */
static void tell_steps(const struct plan_input *input, const struct plan_drain *drain, struct remainder_list *list)
{
	struct undo_owner owner = undo_owner_of(input, drain);
	const struct step_record *steps = owner.steps;
	char object[96], text[160];
	struct step part;

	for (size_t i = 0; i < owner.count; i++) {
		const struct step_record *undo = undo_bar_undo_of(input, owner.operation, steps[i].n);

		/* Another's steps that still wait are not this one's affair. */
		if (!drain && undo_bar_is_due(&steps[i]) && undrain_keep_gives_back(input, NULL, &steps[i]))
			undo_bar_judge(input, NULL, &steps[i], &part, list);
		if (!undo || (undo->state != STEP_STATE_FAILED && undo->state != STEP_STATE_PARTIAL))
			continue;
		snprintf(object, sizeof(object), "step %u", steps[i].n);
		if (undo->remainder.count)
			remainder_list_append(list, &undo->remainder);
		else
			remainder_list_add(list, REMAINDER_UNDO_FAILED, object, undo->step.bytes, NULL,
					   "could not be put back: %s %.100s", step_word(&steps[i].step),
					   step_describe(&steps[i].step, text));
	}
}

/* What the host's hooks have against it, or somebody has made of a slice or of a guest since, failed nothing. */
static void warn_of_done(const struct plan_input *input, struct remainder_list *warnings)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->state == STEP_STATE_DONE && (remainder_list_has(&record->remainder, REMAINDER_HOOK_FAILED) ||
							 remainder_list_has(&record->remainder, REMAINDER_SLICE_CPUSET) ||
							 remainder_list_has(&record->remainder, REMAINDER_CHANGED_SINCE)))
			remainder_list_append(warnings, &record->remainder);
	}
}

/* Once, before guests come home to it. */
static bool replace_next(const struct plan_input *input, struct decision *decision)
{
	struct step step;

	if (input->wish->keep || plan_count(input, STEP_KIND_ONLINE_BLOCKS) || !undo_bar_replace(input, &step))
		return false;
	plan_decide(decision, &step);
	return true;
}

static void tell_replaced(const struct plan_input *input, struct decision *decision)
{
	const struct step_record *online = plan_last(input, STEP_KIND_ONLINE_BLOCKS);

	if (online)
		remainder_list_append(&decision->remainder, &online->remainder);
	undo_bar_tell_added(input, &decision->warnings);
}

static void finish(const struct plan_input *input, struct decision *decision)
{
	char object[96];

	warn_of_done(input, &decision->warnings);
	if (!input->wish->keep)
		tell_replaced(input, decision);
	else if (undrain_keep_is_done(input))
		undrain_keep_tell(input, &decision->warnings);
	else
		remainder_list_add(&decision->remainder, REMAINDER_DEADLINE, wish_target(input->wish, object), 0, NULL,
				   "its time ended before the drain was given up");
	tell_steps(input, NULL, &decision->remainder);
	for (size_t i = 0; i < input->drain_count; i++)
		tell_steps(input, &input->drains[i], &decision->remainder);
	undrain_home_tell(input, &decision->remainder, &decision->warnings);
	decision->kind = decision->remainder.count ? DECISION_KIND_GIVE_UP : DECISION_KIND_DONE;
}

void undrain_next(const struct plan_input *input, struct decision *ret_decision)
{
	struct beside beside;

	memset(ret_decision, 0, sizeof(*ret_decision));
	/* What is to be known before it begins; the end says it anew. */
	if (input->wish->keep && !input->history_count)
		undrain_keep_tell(input, &ret_decision->warnings);
	find_running(input, &beside);
	if (!beside.running && replace_next(input, ret_decision))
		return;
	if (deferred_next(input, true, &beside, ret_decision) || steps_next(input, NULL, false, &beside, ret_decision) ||
	    deferred_next(input, false, &beside, ret_decision) ||
	    (!beside.running && undrain_home_next(input, ret_decision)) ||
	    steps_next(input, NULL, true, &beside, ret_decision) ||
	    (!beside.running && input->wish->keep && undrain_keep_next(input, ret_decision)))
		return;
	if (beside.running)
		ret_decision->kind = DECISION_KIND_WAIT;
	else
		finish(input, ret_decision);
}
