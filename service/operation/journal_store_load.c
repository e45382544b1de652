/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as records: every function reads the cells in the order of its table's columns, and trusts
 * none of them.
 */
#include "journal_store.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "journal_store_priv.h"
#include "model_json.h"

/* Reads the cells of a row in their order; the first that makes no sense is remembered. */
struct cell_reader {
	struct journal_store *store;
	sqlite3_stmt *statement;
	int column;
	int error;
	char row[OPERATION_ID_SIZE];
	struct failure *failure; /* borrowed; may be NULL */
};

static void reader_bad(struct cell_reader *reader, int error, const char *cause)
{
	if (reader->error)
		return;
	reader->error = failure_set(reader->failure, error, reader->store->object, "cannot read %s",
				    reader->row);
	failure_set_code(reader->failure, "journal_failed");
	failure_set_cause(reader->failure, "column %s: %s",
			  sqlite3_column_name(reader->statement, reader->column - 1), cause);
}

static uint64_t read_number(struct cell_reader *reader)
{
	return (uint64_t)sqlite3_column_int64(reader->statement, reader->column++);
}

static const char *read_text(struct cell_reader *reader)
{
	return (const char *)sqlite3_column_text(reader->statement, reader->column++);
}

static void read_string(struct cell_reader *reader, char *ret_text, size_t size)
{
	const char *text = read_text(reader);

	snprintf(ret_text, size, "%s", text ? text : "");
}

static int read_name(struct cell_reader *reader, int (*from_name)(const char *))
{
	const char *text = read_text(reader);
	int value = text ? from_name(text) : -1;

	if (value < 0) {
		reader_bad(reader, EUCLEAN, "not a known name");
		return 0;
	}
	return value;
}

static char *read_copy(struct cell_reader *reader)
{
	const char *text = read_text(reader);
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		reader_bad(reader, ENOMEM, "out of memory");
	return copy;
}

/* NULL only after reader_bad(), or where the cell is NULL. */
static json_t *read_json(struct cell_reader *reader)
{
	const char *text = read_text(reader);
	json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	if (text && !json)
		reader_bad(reader, EUCLEAN, "not JSON");
	return json;
}

static void read_remainders(struct cell_reader *reader, struct remainder_list *ret_list)
{
	json_t *json = read_json(reader);
	struct failure cause = {0};

	if (json && model_json_remainders_parse(json, ret_list, &cause) < 0)
		reader_bad(reader, EUCLEAN, cause.cause);
	json_decref(json);
}

static void read_wish(struct cell_reader *reader, struct wish *ret_wish)
{
	json_t *json = read_json(reader);
	struct failure cause = {0};

	if (!json || model_json_wish_parse(json, ret_wish, &cause) < 0)
		reader_bad(reader, EUCLEAN, cause.cause);
	json_decref(json);
}

static void read_failure(struct cell_reader *reader, struct failure *ret_failure)
{
	const char *code, *object, *action, *cause, *way_out;
	json_t *json = read_json(reader);
	int error;

	if (!json)
		return;
	if (json_unpack(json, "{s:i, s:s, s:s, s:s, s:s, s:s}", "error", &error, "code", &code,
			"object", &object, "action", &action, "cause", &cause, "way_out",
			&way_out) == 0) {
		failure_set(ret_failure, error, object, "%s", action);
		failure_set_code(ret_failure, code);
		failure_set_cause(ret_failure, "%s", cause);
		failure_set_way_out(ret_failure, "%s", way_out);
	} else {
		reader_bad(reader, EUCLEAN, "not a failure");
	}
	json_decref(json);
}

static struct operation_record *load_operation_row(struct cell_reader *reader)
{
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();

	if (!record) {
		reader_bad(reader, ENOMEM, "out of memory");
		return NULL;
	}
	read_string(reader, record->id, sizeof(record->id));
	snprintf(reader->row, sizeof(reader->row), "%s", record->id);
	read_string(reader, record->parent, sizeof(record->parent));
	read_name(reader, operation_kind_from_name);
	read_string(reader, record->target, sizeof(record->target));
	read_string(reader, record->guest_name, sizeof(record->guest_name));
	read_wish(reader, &record->wish);
	record->state = (enum operation_state)read_name(reader, operation_state_from_name);
	record->undo_wanted = read_number(reader) != 0;
	record->undone = read_number(reader) != 0;
	record->deadline_exceeded = read_number(reader) != 0;
	record->progress.done_bytes = read_number(reader);
	record->progress.total_bytes = read_number(reader);
	record->progress.bytes_per_s = read_number(reader);
	record->progress.eta_s = UINT32_MAX;
	read_remainders(reader, &record->remainder);
	read_remainders(reader, &record->warnings);
	read_failure(reader, &record->error);
	record->created_at_ms = read_number(reader);
	record->started_at_ms = read_number(reader);
	record->ended_at_ms = read_number(reader);
	record->deadline_ms = read_number(reader);
	record->revision = read_number(reader);
	record->snapshot_before_bytes = read_number(reader);
	record->snapshot_wanted_bytes = read_number(reader);
	record->snapshot_after_bytes = read_number(reader);
	read_string(reader, record->actor, sizeof(record->actor));
	read_string(reader, record->superseded_by, sizeof(record->superseded_by));
	read_string(reader, record->plan_digest, sizeof(record->plan_digest));
	read_string(reader, record->idempotency_key, sizeof(record->idempotency_key));
	read_string(reader, record->body_hash, sizeof(record->body_hash));
	record->snapshot_forecast_bytes = read_number(reader);
	record->snapshot_requested_bytes = read_number(reader);
	return reader->error ? NULL : TAKE_PTR(record);
}

static void load_step_row(struct cell_reader *reader, struct operation_record *record)
{
	struct failure cause = {0};
	struct step_record *into;
	struct step step;
	unsigned n;
	json_t *json;

	reader->column = 1;
	n = (unsigned)read_number(reader);
	read_name(reader, step_kind_from_name);
	json = read_json(reader);
	if (!json || model_json_step_parse(json, &step, &cause) < 0) {
		json_decref(json);
		reader_bad(reader, EUCLEAN, cause.cause);
		return;
	}
	json_decref(json);
	into = operation_record_add_step(record, &step);
	step_done(&step);
	if (!into) {
		reader_bad(reader, ENOMEM, "out of memory");
		return;
	}
	into->n = n;
	into->state = (enum step_state)read_name(reader, step_state_from_name);
	into->started_at_ms = read_number(reader);
	into->ended_at_ms = read_number(reader);
	into->bytes_done = read_number(reader);
	into->reached_bytes = read_number(reader);
	into->longest_pause_us = read_number(reader);
	into->flat = read_number(reader) != 0;
	into->undo_failed = read_number(reader) != 0;
	read_string(reader, into->child_operation, sizeof(into->child_operation));
	read_string(reader, into->detail, sizeof(into->detail));
	read_remainders(reader, &into->remainder);
	into->before = read_copy(reader);
	into->result = read_copy(reader);
}

static int load_steps(struct journal_store *store, struct operation_record *record,
		      struct failure *failure)
{
	struct cell_reader reader = {.store = store, .failure = failure};
	int code = sqlite3_prepare_v2(store->db,
				      "SELECT " JOURNAL_STEP_COLUMNS
				      " FROM steps WHERE operation = ? ORDER BY n",
				      -1, &reader.statement, NULL);
	int r = 0;

	snprintf(reader.row, sizeof(reader.row), "%s", record->id);
	if (code == SQLITE_OK)
		code = sqlite3_bind_text(reader.statement, 1, record->id, -1, SQLITE_STATIC);
	while (code == SQLITE_OK || code == SQLITE_ROW) {
		code = sqlite3_step(reader.statement);
		if (code == SQLITE_ROW)
			load_step_row(&reader, record);
		if (reader.error)
			break;
	}
	if (reader.error)
		r = reader.error;
	else if (code != SQLITE_DONE)
		r = journal_store_fail(store, code, failure, "cannot read");
	sqlite3_finalize(reader.statement);
	return r;
}

static void free_records(struct operation_record **records, size_t count)
{
	for (size_t i = 0; i < count; i++)
		operation_record_free(records[i]);
	free(records);
}

/* The statement is bound; it is released here. */
static int load_operations(struct journal_store *store, sqlite3_stmt *statement, int code,
			   struct operation_record ***ret_records, size_t *ret_count,
			   struct failure *failure)
{
	struct cell_reader reader = {.store = store, .statement = statement, .failure = failure};
	struct operation_record **records = NULL;
	size_t count = 0;
	int r = 0;

	while (code == SQLITE_OK || code == SQLITE_ROW) {
		struct operation_record **grown, *record;

		code = sqlite3_step(statement);
		if (code != SQLITE_ROW)
			break;
		reader.column = 0;
		record = load_operation_row(&reader);
		r = record ? load_steps(store, record, failure) : reader.error;
		grown = r == 0 ? reallocarray(records, count + 1, sizeof(*records)) : NULL;
		if (r == 0 && !grown)
			r = failure_set(failure, ENOMEM, store->object, "cannot read");
		if (r < 0) {
			operation_record_free(record);
			break;
		}
		records = grown;
		records[count++] = record;
	}
	if (r == 0 && code != SQLITE_DONE)
		r = journal_store_fail(store, code, failure, "cannot read");
	sqlite3_finalize(statement);
	if (r < 0) {
		free_records(records, count);
		return r;
	}
	*ret_records = records;
	*ret_count = count;
	return 0;
}

int journal_store_load_operations(struct journal_store *store, bool only_open,
				  const char *before_id, size_t count,
				  struct operation_record ***ret_records, size_t *ret_count,
				  struct failure *failure)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(
		store->db,
		"SELECT " JOURNAL_OPERATION_COLUMNS
		" FROM operations WHERE (?1 = 0 OR ended_at_ms = 0)"
		" AND (?2 IS NULL OR seq < (SELECT seq FROM operations WHERE id = ?2))"
		" ORDER BY seq DESC LIMIT ?3",
		-1, &statement, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_bind_int(statement, 1, only_open);
	if (code == SQLITE_OK)
		code = before_id ? sqlite3_bind_text(statement, 2, before_id, -1, SQLITE_STATIC)
				 : sqlite3_bind_null(statement, 2);
	if (code == SQLITE_OK)
		code = sqlite3_bind_int64(statement, 3, count > INT_MAX ? INT_MAX : (int64_t)count);
	return load_operations(store, statement, code, ret_records, ret_count, failure);
}

static int load_one(struct journal_store *store, const char *sql, const char *first,
		    const char *second, struct operation_record **ret_record,
		    struct failure *failure)
{
	sqlite3_stmt *statement = NULL;
	struct operation_record **records;
	size_t count;
	int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
	int r;

	if (code == SQLITE_OK)
		code = sqlite3_bind_text(statement, 1, first, -1, SQLITE_STATIC);
	if (code == SQLITE_OK && second)
		code = sqlite3_bind_text(statement, 2, second, -1, SQLITE_STATIC);
	r = load_operations(store, statement, code, &records, &count, failure);
	if (r < 0)
		return r;
	if (count == 0)
		return -ENOENT;
	*ret_record = records[0];
	free(records);
	return 0;
}

int journal_store_load_operation(struct journal_store *store, const char *id,
				 struct operation_record **ret_record, struct failure *failure)
{
	int r = load_one(store, "SELECT " JOURNAL_OPERATION_COLUMNS " FROM operations WHERE id = ?",
			 id, NULL, ret_record, failure);

	if (r == -ENOENT) {
		failure_set(failure, ENOENT, id, "cannot find this operation");
		failure_set_code(failure, "unknown_operation");
	}
	return r;
}

int journal_store_load_key(struct journal_store *store, const char *actor, const char *key,
			   struct operation_record **ret_record, struct failure *failure)
{
	return load_one(store,
			"SELECT " JOURNAL_OPERATION_COLUMNS
			" FROM operations WHERE actor = ? AND idempotency_key = ?",
			actor, key, ret_record, failure);
}

static void load_drain_row(struct cell_reader *reader, struct drain_record *drain)
{
	bool held;
	struct wish wish = {0};
	json_t *ranges, *range;
	size_t i;

	memset(drain, 0, sizeof(*drain));
	read_string(reader, drain->id, sizeof(drain->id));
	snprintf(reader->row, sizeof(reader->row), "%s", drain->id);
	read_string(reader, drain->operation, sizeof(drain->operation));
	read_string(reader, drain->undrain_operation, sizeof(drain->undrain_operation));
	read_wish(reader, &wish);
	drain->wish = wish.drain_wish;
	read_string(reader, drain->target, sizeof(drain->target));
	drain->state = (enum drain_state)read_name(reader, drain_state_from_name);
	drain->stage = (enum drain_stage)read_name(reader, drain_stage_from_name);
	drain->created_at_ms = read_number(reader);
	drain->revision = read_number(reader);
	held = read_number(reader) != 0;
	if (held)
		snprintf(drain->hold.drain, sizeof(drain->hold.drain), "%s", drain->id);
	drain->hold.node = (int)(int64_t)read_number(reader);
	read_string(reader, drain->hold.dimm, sizeof(drain->hold.dimm));
	ranges = read_json(reader);
	json_array_foreach(ranges, i, range)
	{
		json_int_t start, end;

		if (i == SNAPSHOT_RANGES_MAX || json_unpack(range, "[I, I]", &start, &end) < 0) {
			reader_bad(reader, EUCLEAN, "not a list of ranges");
			break;
		}
		drain->hold.ranges[i] = (struct snapshot_range){(uint64_t)start, (uint64_t)end};
		drain->hold.range_count = i + 1;
	}
	json_decref(ranges);
	read_string(reader, drain->boot_id, sizeof(drain->boot_id));
	drain->online_bytes = read_number(reader);
}

int journal_store_load_drains(struct journal_store *store, struct drain_record **ret_drains,
			      size_t *ret_count, struct failure *failure)
{
	struct cell_reader reader = {.store = store, .failure = failure};
	CLEANUP_FREE struct drain_record *drains = NULL;
	size_t count = 0;
	int code = sqlite3_prepare_v2(store->db,
				      "SELECT " JOURNAL_DRAIN_COLUMNS
				      " FROM drains ORDER BY created_at_ms DESC, id",
				      -1, &reader.statement, NULL);
	int r = 0;

	while (code == SQLITE_OK || code == SQLITE_ROW) {
		struct drain_record *grown;

		code = sqlite3_step(reader.statement);
		if (code != SQLITE_ROW)
			break;
		grown = reallocarray(drains, count + 1, sizeof(*drains));
		if (!grown) {
			reader_bad(&reader, ENOMEM, "out of memory");
			break;
		}
		drains = grown;
		reader.column = 0;
		load_drain_row(&reader, &drains[count]);
		if (reader.error)
			break;
		count++;
	}
	if (reader.error)
		r = reader.error;
	else if (code != SQLITE_DONE)
		r = journal_store_fail(store, code, failure, "cannot read");
	sqlite3_finalize(reader.statement);
	if (r < 0)
		return r;
	*ret_drains = TAKE_PTR(drains);
	*ret_count = count;
	return 0;
}

int journal_store_load_rates(struct journal_store *store, struct measured_rates *ret_rates, struct failure *failure)
{
	struct cell_reader reader = {.store = store, .failure = failure};
	struct measured_rates rates = {0};
	int code = sqlite3_prepare_v2(store->db, "SELECT " JOURNAL_RATE_COLUMNS " FROM rates", -1, &reader.statement, NULL);
	int r = 0;

	while (code == SQLITE_OK || code == SQLITE_ROW) {
		const char *name;
		int kind;

		code = sqlite3_step(reader.statement);
		if (code != SQLITE_ROW)
			break;
		reader.column = 0;
		name = read_text(&reader);
		kind = name ? rate_kind_from_name(name) : -1;
		if (kind < 0)
			continue;
		rates.of[kind].amount = read_number(&reader);
		rates.of[kind].ms = read_number(&reader);
	}
	if (code != SQLITE_DONE)
		r = journal_store_fail(store, code, failure, "cannot read");
	sqlite3_finalize(reader.statement);
	if (r == 0)
		*ret_rates = rates;
	return r;
}

static void read_hint(struct cell_reader *reader, struct hint_record *ret_hint)
{
	struct hint_record hint = {0};

	reader->column = 0;
	snprintf(reader->row, sizeof(reader->row), "a hint");
	read_string(reader, hint.hint.dimm, sizeof(hint.hint.dimm));
	hint.hint.range.start = read_number(reader);
	hint.hint.range.end = read_number(reader);
	hint.hint.node = (int)read_number(reader);
	hint.hint.address = read_number(reader);
	hint.hint.risk = (enum hint_risk)read_name(reader, hint_risk_from_name);
	hint.hint.worst = (enum hint_risk)read_name(reader, hint_risk_from_name);
	hint.hint.count = read_number(reader);
	hint.hint.at_ms = read_number(reader);
	hint.tried_at_ms = read_number(reader);
	hint.tried_risk = (enum hint_risk)read_name(reader, hint_risk_from_name);
	read_string(reader, hint.tried_target, sizeof(hint.tried_target));
	read_string(reader, hint.boot_id, sizeof(hint.boot_id));
	*ret_hint = hint;
}

int journal_store_load_hints(struct journal_store *store, struct hint_record *ret_hints, size_t count, size_t *ret_count,
			     struct failure *failure)
{
	struct cell_reader reader = {.store = store, .failure = failure};
	int code = sqlite3_prepare_v2(store->db,
				      "SELECT " JOURNAL_HINT_COLUMNS " FROM hints WHERE count > 0 ORDER BY at_ms DESC", -1,
				      &reader.statement, NULL);
	size_t filled = 0;
	int r = 0;

	while ((code == SQLITE_OK || code == SQLITE_ROW) && filled < count && !reader.error) {
		code = sqlite3_step(reader.statement);
		if (code == SQLITE_ROW)
			read_hint(&reader, &ret_hints[filled++]);
	}
	if (reader.error)
		r = reader.error;
	else if (code != SQLITE_DONE && code != SQLITE_ROW)
		r = journal_store_fail(store, code, failure, "cannot read");
	sqlite3_finalize(reader.statement);
	if (r == 0)
		*ret_count = filled;
	return r;
}
