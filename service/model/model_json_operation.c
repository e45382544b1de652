/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations and drains as the API shows them, with the result that each kind of operation reports.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "model_json.h"
#include "model_json_priv.h"

json_t *model_json_step_record(const struct step_record *record)
{
	json_t *json = json_object();
	char text[160];

	model_json_put(&json, "n", json_integer((json_int_t)record->n));
	model_json_put(&json, "kind", json_string(step_word(&record->step)));
	model_json_put(&json, "target", model_json_text(step_describe(&record->step, text)));
	model_json_put(&json, "state", json_string(step_state_name(record->state)));
	model_json_put(&json, "detail", model_json_text(record->detail));
	model_json_put(&json, "undoable", json_boolean(record->step.undoable));
	model_json_put(&json, "bytes", model_json_u64(record->step.bytes));
	model_json_put(&json, "done_bytes", model_json_u64(record->bytes_done));
	model_json_put(&json, "stall_ms", json_integer(record->step.stall_ms));
	model_json_put(&json, "started_at", model_json_time(record->started_at_ms));
	model_json_put(&json, "ended_at", model_json_time(record->ended_at_ms));
	model_json_put(&json, "operation", model_json_text_or_null(record->child_operation));
	model_json_put(&json, "remainder", model_json_remainders(&record->remainder));
	return json;
}

/* The rungs of a shrink in the order of the ladder, by the names that a result uses. */
static const struct {
	enum step_kind kind;
	const char *name;
} rungs[] = {
	{STEP_KIND_FREE_HUGE_PAGES, "free huge pages"},
	{STEP_KIND_RUN_HOOKS, "hooks"},
	{STEP_KIND_REQUEST, "request"},
	{STEP_KIND_BALLOON, "balloon"},
	{STEP_KIND_COMPACT, "compact"},
	{STEP_KIND_MAKE_GUEST_ROOM, "make room"},
	{STEP_KIND_RECLAIM, "reclaim"},
	{STEP_KIND_OFFLINE_GUEST_BLOCKS, "offline"},
	{STEP_KIND_KICK, "kick"},
};

static uint64_t bytes_of_kind(const struct operation_record *record, enum step_kind kind,
			      bool *ret_ran)
{
	uint64_t bytes = 0;

	*ret_ran = false;
	for (size_t i = 0; i < record->step_count; i++) {
		if (record->steps[i].step.kind != kind ||
		    record->steps[i].state == STEP_STATE_PENDING)
			continue;
		*ret_ran = true;
		bytes += record->steps[i].bytes_done;
	}
	return bytes;
}

/* What the agent gained is its word: none of its steps can have gained more than was missing. */
static uint64_t gained_of_kind(const struct operation_record *record, enum step_kind kind, uint64_t missing)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < record->step_count; i++) {
		const struct step_record *step = &record->steps[i];
		uint64_t most = step->step.bytes && step->step.bytes < missing ? step->step.bytes : missing;

		if (step->step.kind != kind)
			continue;
		bytes += step->bytes_done < most ? step->bytes_done : most;
		if (bytes > missing)
			bytes = missing;
	}
	return bytes;
}

static bool kind_ran(const struct operation_record *record, enum step_kind kind)
{
	bool ran;

	bytes_of_kind(record, kind, &ran);
	return ran;
}

static uint64_t total_of_kind(const struct operation_record *record, enum step_kind kind)
{
	bool ran;

	return bytes_of_kind(record, kind, &ran);
}

static uint64_t resize_wanted(const struct operation_record *record)
{
	if (record->snapshot_wanted_bytes || record->wish.resize.device_count)
		return record->snapshot_wanted_bytes;
	return record->wish.resize.target_bytes;
}

static void put_seconds(json_t **json, const struct operation_record *record)
{
	uint64_t ms = record->ended_at_ms > record->started_at_ms
			      ? record->ended_at_ms - record->started_at_ms
			      : 0;

	model_json_put(json, "seconds", json_real((double)ms / 1000.0));
}

static json_t *resize_result(const struct operation_record *record)
{
	uint64_t start = record->snapshot_before_bytes, wanted = resize_wanted(record);
	uint64_t reached = record->snapshot_after_bytes ? record->snapshot_after_bytes : start;
	json_t *json = json_object(), *climbed = json_array();

	/* Only a shrink climbs; a grow has one way. */
	for (size_t i = 0; wanted < start && i < ARRAY_SIZE(rungs); i++) {
		json_t *rung;

		if (!kind_ran(record, rungs[i].kind))
			continue;
		rung = json_object();
		model_json_put(&rung, "rung", json_string(rungs[i].name));
		model_json_put(&rung, "gained_bytes",
			       model_json_u64(gained_of_kind(record, rungs[i].kind, start - wanted)));
		model_json_append(&climbed, rung);
	}
	model_json_put(&json, "start_bytes", model_json_u64(start));
	model_json_put(&json, "reached_bytes", model_json_u64(reached));
	model_json_put(&json, "wanted_bytes", model_json_u64(wanted));
	if (record->snapshot_requested_bytes)
		model_json_put(&json, "requested_bytes", model_json_u64(record->snapshot_requested_bytes));
	if (wanted < start && record->snapshot_forecast_bytes)
		model_json_put(&json, "forecast_bytes", model_json_u64(record->snapshot_forecast_bytes));
	model_json_put(&json, "climbed", climbed);
	put_seconds(&json, record);
	return json;
}

static uint64_t number_of(const json_t *json, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return value > 0 ? (uint64_t)value : 0;
}

uint64_t model_json_step_felt_us(const struct step_record *record)
{
	json_t *result = record->result ? json_loads(record->result, 0, NULL) : NULL;
	uint64_t felt_us = number_of(json_object_get(result, "guest"), "longest_pause_us");

	json_decref(result);
	return felt_us;
}

json_t *model_json_felt(const struct operation_record *record)
{
	uint64_t longest_us = 0, p99_us = 0, samples = 0;
	json_t *json = NULL;

	for (size_t i = 0; i < record->step_count; i++) {
		json_t *result = record->steps[i].result
					 ? json_loads(record->steps[i].result, 0, NULL)
					 : NULL;
		const json_t *felt = json_object_get(result, "guest");

		if (number_of(felt, "longest_pause_us") > longest_us)
			longest_us = number_of(felt, "longest_pause_us");
		if (number_of(felt, "p99_us") > p99_us)
			p99_us = number_of(felt, "p99_us");
		samples += number_of(felt, "samples");
		json_decref(result);
	}
	if (samples == 0)
		return NULL;
	json = json_object();
	model_json_put(&json, "longest_pause_us", model_json_u64(longest_us));
	model_json_put(&json, "p99_us", model_json_u64(p99_us));
	model_json_put(&json, "samples", model_json_u64(samples));
	return json;
}

/* The longest kernel call, and what guests said of it. */
static void put_pauses(json_t **json, const struct operation_record *record)
{
	json_t *felt = model_json_felt(record);
	uint64_t longest_us = 0;

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].longest_pause_us > longest_us)
			longest_us = record->steps[i].longest_pause_us;
	model_json_put(json, "longest_call_us", model_json_u64(longest_us));
	if (felt)
		model_json_put(json, "guest", felt);
}

static json_t *move_result(const struct operation_record *record)
{
	json_t *json = json_object();
	uint64_t replugged = 0;

	for (size_t i = 0; i < record->step_count; i++)
		replugged += step_replugs(&record->steps[i].step) ? record->steps[i].bytes_done : 0;
	model_json_put(&json, "moved_bytes",
		       model_json_u64(total_of_kind(record, STEP_KIND_MOVE_PAGES) +
				      total_of_kind(record, STEP_KIND_LAZY) + replugged));
	model_json_put(&json, "left_bytes",
		       model_json_u64(remainder_list_bytes(&record->remainder)));
	put_pauses(&json, record);
	put_seconds(&json, record);
	return json;
}

/* A partial step tells its own count in its result; a finished one did all its blocks. */
static uint64_t blocks_of(const struct step_record *record)
{
	uint64_t blocks = 0;

	if (record->result) {
		json_t *result = json_loads(record->result, 0, NULL);
		json_t *count = json_object_get(result, "blocks_offline");
		bool told = json_is_integer(count) && json_integer_value(count) >= 0;

		if (told)
			blocks = (uint64_t)json_integer_value(count);
		json_decref(result);
		if (told)
			return blocks;
	}
	return record->state == STEP_STATE_DONE ? step_block_count(&record->step) : 0;
}

static json_t *drain_result(const struct operation_record *record)
{
	json_t *json = json_object();
	uint64_t blocks = 0, emptied = 0, shrunk = 0;
	bool ejected = false;

	for (size_t i = 0; i < record->step_count; i++) {
		/* That is not what it has emptied, but what keeps it so. */
		if (step_is_of_newcomer(&record->steps[i].step))
			continue;
		if (step_shrinks(&record->steps[i].step))
			shrunk += record->steps[i].bytes_done;
		else if (record->steps[i].step.kind == STEP_KIND_CHILD && !step_brings_home(&record->steps[i].step))
			emptied += record->steps[i].bytes_done;
		if (record->steps[i].step.kind == STEP_KIND_OFFLINE_BLOCKS)
			blocks += blocks_of(&record->steps[i]);
		if (record->steps[i].step.kind == STEP_KIND_EJECT &&
		    record->steps[i].state == STEP_STATE_DONE)
			ejected = true;
	}
	model_json_put(&json, "emptied_bytes", model_json_u64(emptied));
	model_json_put(&json, "shrunk_bytes", model_json_u64(shrunk));
	model_json_put(&json, "blocks_offline", model_json_u64(blocks));
	model_json_put(&json, "ejected", json_boolean(ejected));
	put_pauses(&json, record);
	put_seconds(&json, record);
	return json;
}

static json_t *undrain_result(const struct operation_record *record)
{
	json_t *json = json_object();
	uint64_t undone = 0;

	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind == STEP_KIND_UNDO &&
		    record->steps[i].state == STEP_STATE_DONE)
			undone++;
	model_json_put(&json, "undone_steps", model_json_u64(undone));
	put_seconds(&json, record);
	return json;
}

/* The facts that each probe and proof found, as their workers told them. */
static json_t *check_result(const struct operation_record *record)
{
	json_t *json = json_object(), *facts = json_array();

	for (size_t i = 0; i < record->step_count; i++) {
		json_t *fact = record->steps[i].result
				       ? json_loads(record->steps[i].result, 0, NULL)
				       : NULL;

		if (fact)
			model_json_append(&facts, fact);
	}
	model_json_put(&json, "facts", facts);
	put_seconds(&json, record);
	return json;
}

static json_t *result_json(const struct operation_record *record)
{
	if (!operation_state_is_final(record->state))
		return json_null();
	switch (record->wish.kind) {
	case OPERATION_KIND_RESIZE:
		return resize_result(record);
	case OPERATION_KIND_MOVE:
		return move_result(record);
	case OPERATION_KIND_DRAIN:
		return drain_result(record);
	case OPERATION_KIND_UNDRAIN:
		return undrain_result(record);
	case OPERATION_KIND_CHECK:
		return check_result(record);
	case OPERATION_KIND_COUNT:
		break;
	}
	return json_null();
}

static json_t *error_json(const struct failure *failure)
{
	char detail[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE];
	json_t *json;

	if (!failure_is_set(failure))
		return json_null();
	json = json_object();
	model_json_put(&json, "code", model_json_text(failure->code[0] ? failure->code : "failed"));
	model_json_put(&json, "object", model_json_text(failure->object));
	model_json_put(&json, "detail",
		       model_json_text(failure_format(failure, detail, sizeof(detail))));
	model_json_put(&json, "way_out", model_json_text(failure->way_out));
	return json;
}

static json_t *progress_json(const struct operation_progress *progress)
{
	json_t *json = json_object();

	model_json_put(&json, "done_bytes", model_json_u64(progress->done_bytes));
	model_json_put(&json, "total_bytes", model_json_u64(progress->total_bytes));
	model_json_put(&json, "bytes_per_s", model_json_u64(progress->bytes_per_s));
	model_json_put(&json, "eta_s",
		       progress->eta_s == UINT32_MAX ? json_null() : json_integer(progress->eta_s));
	return json;
}

static const char *undo_word(const struct operation_record *record)
{
	if (record->undone)
		return "done";
	return record->undo_wanted ? "wanted" : "no";
}

/* What the planner warned of last, and what each step noticed while it ran. */
static json_t *warnings_json(const struct operation_record *record)
{
	struct remainder_list list = record->warnings;

	for (size_t i = 0; i < record->step_count; i++) {
		const char *text = record->steps[i].result;
		json_t *result = text ? json_loads(text, 0, NULL) : NULL;
		struct remainder_list noticed;
		struct failure failure;

		if (json_object_get(result, "warnings") &&
		    model_json_remainders_parse(json_object_get(result, "warnings"), &noticed, &failure) == 0)
			remainder_list_append(&list, &noticed);
		json_decref(result);
	}
	return model_json_remainders(&list);
}

json_t *model_json_operation(const struct operation_record *record)
{
	json_t *json = json_object(), *steps = json_array();

	for (size_t i = 0; i < record->step_count; i++)
		model_json_append(&steps, model_json_step_record(&record->steps[i]));
	model_json_put(&json, "id", model_json_text(record->id));
	model_json_put(&json, "kind", json_string(operation_kind_name(record->wish.kind)));
	model_json_put(&json, "parent", model_json_text_or_null(record->parent));
	model_json_put(&json, "target", model_json_text(record->target));
	model_json_put(&json, "guest", model_json_text_or_null(record->wish.guest));
	model_json_put(&json, "drain", model_json_text_or_null(record->wish.drain));
	model_json_put(&json, "state", json_string(operation_state_name(record->state)));
	model_json_put(&json, "progress", progress_json(&record->progress));
	model_json_put(&json, "steps", steps);
	model_json_put(&json, "remainder", model_json_remainders(&record->remainder));
	model_json_put(&json, "warnings", warnings_json(record));
	model_json_put(&json, "result", result_json(record));
	model_json_put(&json, "error", error_json(&record->error));
	model_json_put(&json, "created_at", model_json_time(record->created_at_ms));
	model_json_put(&json, "started_at", model_json_time(record->started_at_ms));
	model_json_put(&json, "ended_at", model_json_time(record->ended_at_ms));
	model_json_put(&json, "deadline_at", model_json_time(record->deadline_ms));
	model_json_put(&json, "deadline_exceeded", json_boolean(record->deadline_exceeded));
	model_json_put(&json, "actor", model_json_text(record->actor));
	model_json_put(&json, "waiting_for", model_json_text_or_null(record->waiting_for));
	model_json_put(&json, "superseded_by", model_json_text_or_null(record->superseded_by));
	model_json_put(&json, "undo", json_string(undo_word(record)));
	model_json_put(&json, "plan_digest", model_json_text_or_null(record->plan_digest));
	model_json_put(&json, "revision", model_json_u64(record->revision));
	return json;
}

/* As a caller wrote it in POST /v1/drains. */
static json_t *drain_target_json(const struct wish_drain *wish)
{
	json_t *json = json_object();

	switch (wish->target) {
	case DRAIN_TARGET_DIMM:
		model_json_put(&json, "dimm", model_json_text(wish->dimm));
		break;
	case DRAIN_TARGET_NODE:
		model_json_put(&json, "node", json_integer(wish->node));
		break;
	case DRAIN_TARGET_RANGE:
		model_json_put(&json, "start", model_json_u64(wish->range.start));
		model_json_put(&json, "end", model_json_u64(wish->range.end));
		break;
	case DRAIN_TARGET_COUNT:
		break;
	}
	return json;
}

json_t *model_json_drain(const struct drain_record *drain, const struct operation_record *operation)
{
	static const struct operation_progress none = {.eta_s = UINT32_MAX};
	static const struct remainder_list nothing;
	json_t *json = json_object();

	model_json_put(&json, "id", model_json_text(drain->id));
	model_json_put(&json, "target", drain_target_json(&drain->wish));
	model_json_put(&json, "target_text", model_json_text(drain->target));
	model_json_put(&json, "finish", json_string(drain_finish_name(drain->wish.finish)));
	model_json_put(&json, "reason", model_json_text(drain->wish.reason));
	model_json_put(&json, "state", json_string(drain_state_name(drain->state)));
	model_json_put(&json, "stage", json_string(drain_stage_name(drain->stage)));
	model_json_put(&json, "online_bytes", model_json_u64(drain->online_bytes));
	model_json_put(&json, "newcomers", model_json_remainders(&drain->newcomers));
	model_json_put(&json, "progress", progress_json(operation ? &operation->progress : &none));
	model_json_put(&json, "remainder",
		       model_json_remainders(operation ? &operation->remainder : &nothing));
	model_json_put(&json, "operation", model_json_text_or_null(drain->operation));
	model_json_put(&json, "undrain_operation",
		       model_json_text_or_null(drain->undrain_operation));
	model_json_put(&json, "not_before", model_json_time(drain->wish.not_before_ms));
	model_json_put(&json, "created_at", model_json_time(drain->created_at_ms));
	model_json_put(&json, "revision", model_json_u64(drain->revision));
	return json;
}
