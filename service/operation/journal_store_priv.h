/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The columns of the journal's tables, and what its store is made of.
 *
 * Each table has one list of columns; the function of journal_row.c that fills a row and the one of
 * journal_store_load.c that reads it name the cells in that list's order, one below the other. A
 * column that is added goes to the end of all three, with a new schema version and its ALTER TABLE.
 *
 * uint64_t is kept in SQLite's signed 64 bits by its bit pattern: every value comes back as it was.
 */
#ifndef BALLAST_SERVICE_JOURNAL_STORE_PRIV_H
#define BALLAST_SERVICE_JOURNAL_STORE_PRIV_H

#include <sqlite3.h>
#include "journal_store.h"

#define JOURNAL_OPERATION_COLUMNS                                                                \
	"id, parent, kind, target, guest_name, wish, state, undo_wanted, undone, "               \
	"deadline_exceeded, done_bytes, total_bytes, bytes_per_s, remainder, warnings, error, "  \
	"created_at_ms, started_at_ms, ended_at_ms, deadline_ms, revision, start_bytes, wanted_bytes, reached_bytes, actor, " \
	"superseded_by, plan_digest, idempotency_key, body_hash, forecast_bytes, requested_bytes"
#define JOURNAL_OPERATION_COLUMN_COUNT 31

#define JOURNAL_STEP_COLUMNS                                                                       \
	"operation, n, kind, step, state, started_at_ms, ended_at_ms, bytes_done, reached_bytes, " \
	"longest_pause_us, flat, undo_failed, child_operation, detail, remainder, before, result"
#define JOURNAL_STEP_COLUMN_COUNT 17

#define JOURNAL_DRAIN_COLUMNS                                                                     \
	"id, operation, undrain_operation, wish, target, state, stage, created_at_ms, revision, " \
	"hold, hold_node, hold_dimm, hold_ranges, boot_id, online_bytes"
#define JOURNAL_DRAIN_COLUMN_COUNT 15

#define JOURNAL_RATE_COLUMNS	  "kind, amount, ms"
#define JOURNAL_RATE_COLUMN_COUNT 3

#define JOURNAL_HINT_COLUMNS                                                                \
	"dimm, range_start, range_end, node, address, risk, worst, count, at_ms, tried_at_ms, " \
	"tried_risk, tried_target, boot_id"
#define JOURNAL_HINT_COLUMN_COUNT 13

struct journal_store {
	sqlite3 *db;				    /* owned */
	sqlite3_stmt *upserts[JOURNAL_TABLE_COUNT]; /* owned */
	char object[FAILURE_OBJECT_SIZE];
};

/* Says in *failure why SQLite refused; returns the -errno that fits. */
int journal_store_fail(struct journal_store *store, int code, struct failure *failure,
		       const char *action);

#endif
