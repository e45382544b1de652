/* SPDX-License-Identifier: Apache-2.0 */
/* Records as rows: every function names the cells in the order of its table's columns. */
#include "journal_store.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "model_json.h"

static void cell_number(struct journal_row *row, uint64_t number)
{
	row->cells[row->count].is_number = true;
	row->cells[row->count++].number = (int64_t)number;
}

static void cell_text(struct journal_row *row, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		row->short_of_memory = true;
	row->cells[row->count++].text = copy;
}

/* Takes over json. */
static void cell_json(struct journal_row *row, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!text)
		row->short_of_memory = true;
	row->cells[row->count++].text = text;
}

static json_t *failure_to_json(const struct failure *failure)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "error", failure->error, "code",
			 failure->code, "object", failure->object, "action", failure->action,
			 "cause", failure->cause, "way_out", failure->way_out);
}

void journal_row_done(struct journal_row *row)
{
	for (size_t i = 0; i < row->count; i++)
		free(row->cells[i].text);
	row->count = 0;
}

static int row_finish(struct journal_row *row)
{
	if (!row->short_of_memory)
		return 0;
	journal_row_done(row);
	return -ENOMEM;
}

int journal_row_operation(const struct operation_record *operation, struct journal_row *ret_row)
{
	struct journal_row row = {.table = JOURNAL_TABLE_OPERATIONS};
	int r;

	cell_text(&row, operation->id);
	cell_text(&row, operation->parent);
	cell_text(&row, operation_kind_name(operation->wish.kind));
	cell_text(&row, operation->target);
	cell_text(&row, operation->guest_name);
	cell_json(&row, model_json_wish(&operation->wish));
	cell_text(&row, operation_state_name(operation->state));
	cell_number(&row, operation->undo_wanted);
	cell_number(&row, operation->undone);
	cell_number(&row, operation->deadline_exceeded);
	cell_number(&row, operation->progress.done_bytes);
	cell_number(&row, operation->progress.total_bytes);
	cell_number(&row, operation->progress.bytes_per_s);
	cell_json(&row, model_json_remainders(&operation->remainder));
	cell_json(&row, model_json_remainders(&operation->warnings));
	if (failure_is_set(&operation->error))
		cell_json(&row, failure_to_json(&operation->error));
	else
		cell_text(&row, NULL);
	cell_number(&row, operation->created_at_ms);
	cell_number(&row, operation->started_at_ms);
	cell_number(&row, operation->ended_at_ms);
	cell_number(&row, operation->deadline_ms);
	cell_number(&row, operation->revision);
	cell_number(&row, operation->snapshot_before_bytes);
	cell_number(&row, operation->snapshot_wanted_bytes);
	cell_number(&row, operation->snapshot_after_bytes);
	cell_text(&row, operation->actor);
	cell_text(&row, operation->superseded_by);
	cell_text(&row, operation->plan_digest);
	cell_text(&row, operation->idempotency_key[0] ? operation->idempotency_key : NULL);
	cell_text(&row, operation->body_hash);
	cell_number(&row, operation->snapshot_forecast_bytes);
	cell_number(&row, operation->snapshot_requested_bytes);
	r = row_finish(&row);
	if (r == 0)
		*ret_row = row;
	return r;
}

int journal_row_step(const struct operation_record *operation, const struct step_record *step,
		     struct journal_row *ret_row)
{
	struct journal_row row = {.table = JOURNAL_TABLE_STEPS};
	int r;

	cell_text(&row, operation->id);
	cell_number(&row, step->n);
	cell_text(&row, step_kind_name(step->step.kind));
	cell_json(&row, model_json_step(&step->step));
	cell_text(&row, step_state_name(step->state));
	cell_number(&row, step->started_at_ms);
	cell_number(&row, step->ended_at_ms);
	cell_number(&row, step->bytes_done);
	cell_number(&row, step->reached_bytes);
	cell_number(&row, step->longest_pause_us);
	cell_number(&row, step->flat);
	cell_number(&row, step->undo_failed);
	cell_text(&row, step->child_operation);
	cell_text(&row, step->detail);
	cell_json(&row, model_json_remainders(&step->remainder));
	cell_text(&row, step->before);
	cell_text(&row, step->result);
	r = row_finish(&row);
	if (r == 0)
		*ret_row = row;
	return r;
}

int journal_row_drain(const struct drain_record *drain, struct journal_row *ret_row)
{
	struct journal_row row = {.table = JOURNAL_TABLE_DRAINS};
	struct wish wish = {.kind = OPERATION_KIND_DRAIN, .drain_wish = drain->wish};
	json_t *ranges = json_array();
	int r;

	for (size_t i = 0; i < drain->hold.range_count; i++)
		if (json_array_append_new(
			    ranges, json_pack("[I, I]", (json_int_t)drain->hold.ranges[i].start,
					      (json_int_t)drain->hold.ranges[i].end)) < 0)
			row.short_of_memory = true;
	cell_text(&row, drain->id);
	cell_text(&row, drain->operation);
	cell_text(&row, drain->undrain_operation);
	cell_json(&row, model_json_wish(&wish));
	cell_text(&row, drain->target);
	cell_text(&row, drain_state_name(drain->state));
	cell_text(&row, drain_stage_name(drain->stage));
	cell_number(&row, drain->created_at_ms);
	cell_number(&row, drain->revision);
	cell_number(&row, drain->hold.drain[0] != '\0');
	cell_number(&row, (uint64_t)(int64_t)drain->hold.node);
	cell_text(&row, drain->hold.dimm);
	cell_json(&row, ranges);
	cell_text(&row, drain->boot_id);
	cell_number(&row, drain->online_bytes);
	r = row_finish(&row);
	if (r == 0)
		*ret_row = row;
	return r;
}

int journal_row_rate(enum rate_kind kind, const struct measured_rate *rate, struct journal_row *ret_row)
{
	struct journal_row row = {.table = JOURNAL_TABLE_RATES};
	int r;

	cell_text(&row, rate_kind_name(kind));
	cell_number(&row, rate->amount);
	cell_number(&row, rate->ms);
	r = row_finish(&row);
	if (r == 0)
		*ret_row = row;
	return r;
}

int journal_row_hint(const struct hint_record *hint, struct journal_row *ret_row)
{
	struct journal_row row = {.table = JOURNAL_TABLE_HINTS};
	int r;

	cell_text(&row, hint->hint.dimm);
	cell_number(&row, hint->hint.range.start);
	cell_number(&row, hint->hint.range.end);
	cell_number(&row, (uint64_t)(int64_t)hint->hint.node);
	cell_number(&row, hint->hint.address);
	cell_text(&row, hint_risk_name(hint->hint.risk));
	cell_text(&row, hint_risk_name(hint->hint.worst));
	cell_number(&row, hint->hint.count);
	cell_number(&row, hint->hint.at_ms);
	cell_number(&row, hint->tried_at_ms);
	cell_text(&row, hint_risk_name(hint->tried_risk));
	cell_text(&row, hint->tried_target);
	cell_text(&row, hint->boot_id);
	r = row_finish(&row);
	if (r == 0)
		*ret_row = row;
	return r;
}
