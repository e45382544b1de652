/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <jansson.h>
#include <string.h>

static bool is_later_move(const struct operation *other, const struct operation *move)
{
	return other != move && other->record->wish.kind == OPERATION_KIND_MOVE &&
	       other->record->created_at_ms > move->record->created_at_ms &&
	       strcmp(other->record->wish.guest, move->record->wish.guest) == 0;
}

/* Whose process a step has written down: its own reference. NULL: none. */
static json_t *process_of(const struct operation_record *record)
{
	json_t *process = NULL;

	for (size_t i = record->step_count; i-- > 0 && !process;) {
		json_t *before = record->steps[i].before ? json_loads(record->steps[i].before, JSON_REJECT_DUPLICATES, NULL)
							 : NULL;

		process = json_incref(json_object_get(before, "process"));
		json_decref(before);
	}
	return process;
}

/* What was changed of a process ended with it; where nothing tells of another one it was this one. */
static bool is_of_same_process(const struct operation_record *a, const struct operation_record *b)
{
	json_t *first = process_of(a), *second = process_of(b);
	bool is_same = !first || !second || json_equal(first, second);

	json_decref(first);
	json_decref(second);
	return is_same;
}

static bool stands(const struct operation_record *record, bool persist)
{
	for (size_t i = 0; i < record->step_count; i++) {
		const struct step_record *step = &record->steps[i];

		if ((step->state == STEP_STATE_DONE || step->state == STEP_STATE_PARTIAL) &&
		    (persist ? step->step.kind == STEP_KIND_PERSIST : step_places_guest(&step->step)))
			return true;
	}
	return false;
}

const struct operation *undo_since_moved(const struct operation *move, bool persist)
{
	const struct engine *engine = move->engine;

	for (size_t i = engine->operation_count; i-- > 0;) {
		const struct operation_record *record = engine->operations[i]->record;

		if (is_later_move(engine->operations[i], move) && !record->parent[0] && !record->wish.drain[0] &&
		    operation_state_is_final(record->state) && stands(record, persist) &&
		    (persist || is_of_same_process(record, move->record)))
			return engine->operations[i];
	}
	return NULL;
}

bool undo_since_failed(const struct operation *move)
{
	const struct engine *engine = move->engine;

	for (size_t i = 0; i < engine->operation_count; i++) {
		const struct operation_record *record = engine->operations[i]->record;

		for (size_t s = 0; is_later_move(engine->operations[i], move) && s < record->step_count; s++)
			if (record->steps[s].undo_failed)
				return true;
	}
	return false;
}
