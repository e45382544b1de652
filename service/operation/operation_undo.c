/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps put back, the last first, but a guest's policies before its pages; a child's steps stand in for the child (undo_run.c has
 * how each is). Children that move guests go back as they went, several beside each other; everything else waits for all before
 * it, and is waited for.
 *
 *	items:	blocks | pool | guest a, guest b, guest c | cordon
 *	runs:	------   ----   -------  -------            ------
 *	                                          -------
 *
 * Whether there is room where they go back to is looked at once what comes before them is back. Where that cannot be seen they
 * go one after the other.
 *
 * An operation has a list of its own, when all of it is undone, or one for each of its undo steps that run.
 */
#include "undo_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool operation_undo_is_due(const struct step_record *step)
{
	switch (step->state) {
	case STEP_STATE_RUNNING:
	case STEP_STATE_DONE:
	case STEP_STATE_PARTIAL:
	case STEP_STATE_UNDOING:
		break;
	case STEP_STATE_FAILED:
		/*
		 * A child that failed may have done some of its steps all the same, and a size that was
		 * asked for stands although nothing has come of it yet.
		 */
		if (step->step.kind == STEP_KIND_CHILD || step->step.kind == STEP_KIND_REQUEST ||
		    step->step.kind == STEP_KIND_BALLOON)
			break;
		return false;
	case STEP_STATE_PENDING:
	case STEP_STATE_UNDONE:
	case STEP_STATE_COUNT:
		return false;
	}
	if (step->step.kind == STEP_KIND_CHILD)
		return step->child_operation[0] != '\0';
	return step->step.undoable || step->step.kind == STEP_KIND_CORDON;
}

bool operation_undo_has_any(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (operation_undo_is_due(&record->steps[i]))
			return true;
	return false;
}

/* ---- lists ---- */

static int add_item(struct undo_list *list, struct operation *owner, size_t index, struct operation *top, size_t top_index)
{
	struct undo_item *grown = reallocarray(list->items, list->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown[list->count++] = (struct undo_item){.owner = owner, .index = index, .top = top, .top_index = top_index};
	owner->pins++;
	top->pins++;
	return 0;
}

/* top: whose child it is; NULL: it is undone for itself. */
static int add_due(struct undo_list *list, struct operation *operation, size_t index, struct operation *top, size_t top_index)
{
	if (!operation_undo_is_due(&operation->record->steps[index]))
		return 0;
	return add_item(list, operation, index, top ? top : operation, top ? top_index : index);
}

/* Of the steps before this one. */
static int add_policies(struct undo_list *list, struct operation *operation, size_t index, struct operation *top,
			size_t top_index)
{
	while (index-- > 0)
		if (step_sets_policy(&operation->record->steps[index].step) && add_due(list, operation, index, top, top_index) < 0)
			return -ENOMEM;
	return 0;
}

/*
 * A guest's policies go back before its pages do: what it touches first on the way comes home at once then, and what has come in
 * between goes with the rest. Else that would stay behind, for the kernel to take along by position when the cpuset gets narrow
 * (kernel/cgroup/cpuset.c cpuset_migrate_mm), to any of the guest's nodes.
 */
static int add_guest_steps(struct undo_list *list, struct operation *operation, struct operation *top, size_t top_index)
{
	bool has_policies = false;

	for (size_t i = operation->record->step_count; i-- > 0;) {
		const struct step *step = &operation->record->steps[i].step;

		if (step->kind == STEP_KIND_MOVE_PAGES && !has_policies) {
			has_policies = true;
			if (add_policies(list, operation, i, top, top_index) < 0)
				return -ENOMEM;
		}
		if (!(has_policies && step_sets_policy(step)) && add_due(list, operation, i, top, top_index) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_step(struct undo_list *list, struct operation *owner, size_t index)
{
	const struct step_record *step = &owner->record->steps[index];
	struct operation *child;

	if (!operation_undo_is_due(step))
		return 0;
	child = step->step.kind == STEP_KIND_CHILD
			? engine_find_or_load(list->operation->engine, step->child_operation)
			: NULL;
	if (child && add_guest_steps(list, child, owner, index) < 0)
		return -ENOMEM;
	return add_item(list, owner, index, owner, index);
}

/* The cordon, or all but that. */
static int add_kind(struct undo_list *list, struct operation *owner, bool cordon)
{
	struct undo_order order = undo_order_of(owner->record->steps, owner->record->step_count);

	if (owner->record->wish.kind == OPERATION_KIND_MOVE)
		return cordon ? 0 : add_guest_steps(list, owner, NULL, 0);
	for (size_t number = 0; number < order.count; number++) {
		size_t i = undo_order_at(&order, number);

		if ((owner->record->steps[i].step.kind == STEP_KIND_CORDON) == cordon && add_step(list, owner, i) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_all(struct undo_list *list, struct operation *owner)
{
	int r = add_kind(list, owner, false);

	return r < 0 ? r : add_kind(list, owner, true);
}

static int add_deferred(struct undo_list *list, const struct plan_drain *drains, size_t count, bool newer)
{
	for (size_t i = 0; i < count; i++) {
		struct operation *owner = drains[i].is_held || drains[i].is_newer != newer
						  ? NULL
						  : engine_find_or_load(list->operation->engine, drains[i].operation);

		if (owner && add_kind(list, owner, false) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* A drain's own steps, and those that earlier ones have deferred, in the order of an undrain. */
static int add_drain(struct undo_list *list)
{
	struct operation *operation = list->operation;
	CLEANUP_FREE struct plan_drain *drains = NULL;
	size_t count;

	if (engine_drain_others(operation->engine, operation->drain, &drains, &count) < 0 ||
	    add_deferred(list, drains, count, true) < 0 || add_kind(list, operation, false) < 0 ||
	    add_deferred(list, drains, count, false) < 0)
		return -ENOMEM;
	return add_kind(list, operation, true);
}

static struct undo_list *list_free(struct undo_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		list->items[i].owner->pins--;
		list->items[i].top->pins--;
	}
	free(list->items);
	free(list->remainder);
	free(list->runs);
	free(list);
	return NULL;
}

static struct undo_list *list_new(struct operation *operation, size_t step_index)
{
	uint32_t moves = operation->engine->options.limits->drain_moves;
	struct undo_list *list = calloc(1, sizeof(*list));

	if (!list)
		return NULL;
	list->operation = operation;
	list->step_index = step_index;
	list->begins = true;
	/* What an undo step names is put back alone: its planner asks for others beside it. */
	list->run_count = step_index == UNDO_LIST_WHOLE && moves > 1 ? moves : 1;
	list->runs = calloc(list->run_count, sizeof(*list->runs));
	list->remainder = calloc(1, sizeof(*list->remainder));
	return list->runs && list->remainder ? list : list_free(list);
}

static int list_begin(struct undo_list *list, int error)
{
	if (error < 0) {
		list_free(list);
		return error;
	}
	list->next = list->operation->undos;
	list->operation->undos = list;
	engine_wake(list->operation->engine);
	return 0;
}

void operation_undo_list_done(struct operation *operation)
{
	while (operation->undos) {
		struct undo_list *list = operation->undos;

		operation->undos = list->next;
		list_free(list);
	}
}

/* Of a drain, by itself: what others hold stays as it is. */
bool operation_undo_is_restore(const struct operation *operation)
{
	return operation->drain && operation->record->wish.kind == OPERATION_KIND_DRAIN;
}

int operation_undo_list_all(struct operation *operation)
{
	struct undo_list *list = list_new(operation, UNDO_LIST_WHOLE);

	if (!list)
		return -ENOMEM;
	if (!operation_undo_is_restore(operation))
		return list_begin(list, add_all(list, operation));
	if (operation->snapshot && engine_see_holds(operation->engine, operation->snapshot) < 0)
		return list_begin(list, -ENOMEM);
	return list_begin(list, add_drain(list));
}

bool operation_undo_must_look(const struct operation *operation)
{
	return operation_undo_is_restore(operation) && !operation->snapshot &&
	       operation->look_failures < OPERATION_LOOK_TRIES &&
	       engine_drain_stands_beside(operation->engine, operation->drain);
}

static int add_named(struct undo_list *list, const struct step *step)
{
	/* A drain that brings home undoes a step of its own. */
	struct operation *operation = list->operation,
			 *own = operation->record->wish.kind == OPERATION_KIND_DRAIN ? operation : operation->subject;
	struct operation *owner =
		step->undo_operation[0] ? engine_find_or_load(operation->engine, step->undo_operation) : own;

	if (!owner)
		return -ENOENT;
	if (step->undo_n == 0)
		return add_all(list, owner);
	for (size_t i = 0; i < owner->record->step_count; i++)
		if (owner->record->steps[i].n == step->undo_n)
			return add_step(list, owner, i);
	return -ENOENT;
}

int operation_undo_list_step(struct operation *operation, size_t step_index)
{
	struct undo_list *list = list_new(operation, step_index);

	return list ? list_begin(list, add_named(list, &operation->record->steps[step_index].step)) : -ENOMEM;
}

static struct undo_list *find_list(const struct operation *operation, size_t step_index)
{
	struct undo_list *list = operation->undos;

	while (list && list->step_index != step_index)
		list = list->next;
	return list;
}

bool operation_undo_has_list(const struct operation *operation, size_t step_index)
{
	return find_list(operation, step_index) != NULL;
}

bool operation_undo_is_awaited(const struct operation *operation)
{
	return operation->undos && (operation->undos->next || operation->undos->step_index != UNDO_LIST_WHOLE);
}

/* ---- the end of a list ---- */

static void finish_step(struct undo_list *list)
{
	struct operation *operation = list->operation;
	struct step_record *step = &operation->record->steps[list->step_index];
	bool is_cut = list->ended < list->count;

	step->state = STEP_STATE_DONE;
	if (list->failures || is_cut)
		step->state = list->ended > list->failures ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
	step->remainder = *list->remainder;
	if (list->is_stuck)
		remainder_list_add(&step->remainder, REMAINDER_KERNEL_STUCK, operation->record->target, 0, NULL,
				   "a kernel call of its undoing does not come back");
	if (is_cut)
		remainder_list_add(
			&step->remainder,
			operation->is_cancelled ? REMAINDER_CANCELLED : REMAINDER_DEADLINE,
			operation->record->target, 0, NULL, "%zu steps are not undone yet",
			list->count - list->ended);
	operation_child_come_by(operation);
}

static void finish_all(struct undo_list *list)
{
	struct operation *operation = list->operation;
	struct operation_record *record = operation->record;

	/* What had to wait for another hold goes along with that, and would be missed if it has just gone. */
	if (list->waits && operation->snapshot && !operation->keeps_locks &&
	    engine_drain_hold_went(operation->engine, operation->snapshot)) {
		operation_run_ready(operation, OPERATION_PHASE_READY);
		return;
	}
	record->undone = list->failures == 0 && list->deferred == 0 && !list->is_left;
	remainder_list_append(&record->remainder, list->remainder);
	if (operation->keeps_locks && !remainder_list_has(&record->remainder, REMAINDER_KERNEL_STUCK))
		remainder_list_add(&record->remainder, REMAINDER_KERNEL_STUCK, record->target, 0, NULL,
				   "a kernel call of its undoing does not come back");
	if (list->failures == 0) {
		if (record->undone)
			record->progress.done_bytes = 0;
		operation_end_as(operation, operation->is_cancelled ? OPERATION_STATE_CANCELLED
								    : OPERATION_STATE_FAILED);
		return;
	}
	failure_set(&record->error, EIO, record->target, "cannot undo everything");
	failure_set_code(&record->error, "undo_failed");
	failure_set_cause(&record->error, "%s: %s", list->remainder->items[0].object, list->remainder->items[0].detail);
	failure_set_way_out(&record->error, "%s", list->remainder->items[0].way_out);
	operation_end_as(operation, OPERATION_STATE_FAILED);
}

/* ---- runs ---- */

static const struct step_record *top_of(const struct undo_list *list, size_t item)
{
	return &list->items[item].top->record->steps[list->items[item].top_index];
}

/* Behind the last item of the same child, or of none. */
static size_t end_of(const struct undo_list *list, size_t first)
{
	size_t end = first + 1;

	while (end < list->count && top_of(list, end) == top_of(list, first))
		end++;
	return end;
}

static bool is_move(const struct undo_list *list, size_t item)
{
	const struct step *step = &top_of(list, item)->step;

	return step->kind == STEP_KIND_CHILD && step->child && step->child->kind == OPERATION_KIND_MOVE;
}

static struct undo_run *free_run(struct undo_list *list)
{
	for (size_t i = 0; i < list->run_count; i++)
		if (list->runs[i].phase == UNDO_PHASE_ENDED)
			return &list->runs[i];
	return NULL;
}

static bool has_runs(const struct undo_list *list)
{
	for (size_t i = 0; i < list->run_count; i++)
		if (list->runs[i].phase != UNDO_PHASE_ENDED)
			return true;
	return false;
}

/* May this move go back beside those that do, and before others that wait for their turn? */
static bool may_run_beside(const struct undo_list *list, size_t first)
{
	struct operation *operation = list->operation;
	const struct plan_input input = {.wish = &operation->record->wish,
					 .snapshot = operation->snapshot,
					 .limits = operation->engine->options.limits};
	const struct step_record *beside[UNDO_BESIDE_MAX];
	size_t count = 0;

	if (!list->is_seen)
		return false;
	for (size_t i = 0; i < list->run_count; i++) {
		if (list->runs[i].phase == UNDO_PHASE_ENDED)
			continue;
		if (!is_move(list, list->runs[i].first) || count == UNDO_BESIDE_MAX)
			return false;
		beside[count++] = top_of(list, list->runs[i].first);
	}
	for (size_t i = list->begun; i < first; i = end_of(list, i))
		if (!list->items[i].is_begun && undo_beside_excludes(&input, top_of(list, i), top_of(list, first)))
			return false;
	return undo_beside_may(&input, top_of(list, first), beside, count);
}

/* Several moves are to go back, and what was seen is from before their home was there again. */
static bool must_see(const struct undo_list *list, size_t first, size_t end)
{
	return list->run_count > 1 && !list->was_looked && end < list->count && is_move(list, first) && is_move(list, end) &&
	       operation_undo_is_restore(list->operation);
}

/* What is to be put back next. False: nothing now. */
static bool find_next(struct undo_list *list, size_t *ret_first, size_t *ret_end)
{
	bool is_first = !has_runs(list);
	size_t end;

	for (size_t first = list->begun; first < list->count; first = end) {
		end = end_of(list, first);
		if (list->items[first].is_begun) {
			list->begun = first == list->begun ? end : list->begun;
			continue;
		}
		*ret_first = first;
		*ret_end = end;
		if (is_first && must_see(list, first, end)) {
			list->was_looked = true;
			operation_run_look(list->operation);
			return false;
		}
		if (is_first || (is_move(list, first) && may_run_beside(list, first)))
			return true;
		if (!is_move(list, first))
			return false;
	}
	return false;
}

static void begin_runs(struct undo_list *list)
{
	struct undo_run *run;
	size_t first, end;

	while ((run = free_run(list)) && !undo_list_is_cut(list) && !list->operation->engine->stopping &&
	       find_next(list, &first, &end)) {
		if (!is_move(list, first))
			list->is_seen = list->was_looked = false;
		undo_run_begin(run, list, first, end);
	}
}

bool operation_undo_goes_on(struct operation *operation)
{
	struct undo_list *list = find_list(operation, UNDO_LIST_WHOLE);

	if (!list)
		return false;
	list->begins = true;
	list->is_seen = operation->error == 0 && operation->snapshot &&
			engine_see_holds(operation->engine, operation->snapshot) == 0;
	operation->phase = OPERATION_PHASE_UNDOING;
	engine_wake(operation->engine);
	return true;
}

static bool take_turns(struct undo_list *list)
{
	bool any = list->begins;

	if (list->begins)
		begin_runs(list);
	list->begins = false;
	for (size_t i = 0; i < list->run_count; i++) {
		if (!undo_run_has_turn(&list->runs[i]))
			continue;
		undo_run_turn(&list->runs[i]);
		list->begins = list->begins || list->runs[i].phase == UNDO_PHASE_ENDED;
		any = true;
	}
	return any;
}

/* All of it is put back, or what is left is not any more. */
static bool is_over(const struct undo_list *list)
{
	bool is_all = true;

	if (has_runs(list) || list->begins)
		return false;
	for (size_t i = list->begun; i < list->count; i++)
		is_all = is_all && list->items[i].is_begun;
	return is_all || undo_list_is_cut(list);
}

bool operation_undo_take_turns(struct operation *operation)
{
	bool any = false;

	for (struct undo_list **at = &operation->undos; *at;) {
		struct undo_list *list = *at;

		any = take_turns(list) || any;
		if (!is_over(list)) {
			at = &list->next;
			continue;
		}
		*at = list->next;
		if (list->step_index == UNDO_LIST_WHOLE)
			finish_all(list);
		else
			finish_step(list);
		list_free(list);
		any = true;
	}
	return any;
}

/* ---- from the engine ---- */

void operation_undo_wake(struct operation *operation)
{
	for (struct undo_list *list = operation->undos; list; list = list->next)
		for (size_t i = 0; i < list->run_count; i++)
			undo_run_wake(&list->runs[i]);
}

void operation_undo_tick(struct operation *operation, uint64_t now_ms)
{
	for (struct undo_list *list = operation->undos; list; list = list->next)
		for (size_t i = 0; i < list->run_count; i++)
			undo_run_tick(&list->runs[i], now_ms);
}

uint64_t operation_undo_next_ms(const struct operation *operation)
{
	uint64_t next = UINT64_MAX;

	for (const struct undo_list *list = operation->undos; list; list = list->next)
		for (size_t i = 0; i < list->run_count; i++)
			if (list->runs[i].phase == UNDO_PHASE_PARKED && list->runs[i].not_before_ms &&
			    list->runs[i].not_before_ms < next)
				next = list->runs[i].not_before_ms;
	return next;
}

void operation_undo_stop(struct operation *operation)
{
	for (struct undo_list *list = operation->undos; list; list = list->next)
		for (size_t i = 0; i < list->run_count; i++)
			undo_run_stop(&list->runs[i]);
}
