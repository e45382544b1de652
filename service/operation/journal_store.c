/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "journal_store_priv.h"

#define JOURNAL_TEXT_OF(number) #number
#define JOURNAL_TEXT(number)	JOURNAL_TEXT_OF(number)

#define JOURNAL_SCHEMA_VERSION 6
/*
 * Ended operations beyond these are dropped when the journal is opened: a year of a busy host, some
 * 100 MiB.
 */
#define JOURNAL_KEPT_OPERATIONS 5000
/*
 * A reader and the writer are in one process, and WAL lets them pass each other; only a stray
 * sqlite3 shell waits.
 */
#define JOURNAL_BUSY_MS 2000

#define RATES_SCHEMA \
	"CREATE TABLE rates (kind TEXT NOT NULL PRIMARY KEY, amount INTEGER NOT NULL, ms INTEGER NOT NULL) STRICT;"
#define HINTS_SCHEMA                                                                                      \
	"CREATE TABLE hints (dimm TEXT NOT NULL, range_start INTEGER NOT NULL, range_end INTEGER NOT NULL," \
	" node INTEGER NOT NULL, address INTEGER NOT NULL, risk TEXT NOT NULL, worst TEXT NOT NULL,"        \
	" count INTEGER NOT NULL, at_ms INTEGER NOT NULL, tried_at_ms INTEGER NOT NULL,"                    \
	" tried_risk TEXT NOT NULL, tried_target TEXT NOT NULL, boot_id TEXT NOT NULL,"                     \
	" PRIMARY KEY (dimm, range_start, range_end)) STRICT;"

static const char schema[] =
	"CREATE TABLE operations (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
	" parent TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, guest_name TEXT NOT NULL,"
	" wish TEXT NOT NULL, state TEXT NOT NULL, undo_wanted INTEGER NOT NULL,"
	" undone INTEGER NOT NULL, deadline_exceeded INTEGER NOT NULL, done_bytes INTEGER NOT NULL,"
	" total_bytes INTEGER NOT NULL, bytes_per_s INTEGER NOT NULL, remainder TEXT NOT NULL,"
	" warnings TEXT NOT NULL, error TEXT, created_at_ms INTEGER NOT NULL,"
	" started_at_ms INTEGER NOT NULL, ended_at_ms INTEGER NOT NULL,"
	" deadline_ms INTEGER NOT NULL, revision INTEGER NOT NULL,"
	" start_bytes INTEGER NOT NULL, wanted_bytes INTEGER NOT NULL, reached_bytes INTEGER NOT NULL, actor TEXT NOT NULL,"
	" superseded_by TEXT NOT NULL, plan_digest TEXT NOT NULL, idempotency_key TEXT,"
	" body_hash TEXT NOT NULL, forecast_bytes INTEGER NOT NULL DEFAULT 0,"
	" requested_bytes INTEGER NOT NULL DEFAULT 0) STRICT;"
	"CREATE UNIQUE INDEX operations_key ON operations (actor, idempotency_key)"
	" WHERE idempotency_key IS NOT NULL;"
	"CREATE INDEX operations_ended ON operations (ended_at_ms);"
	"CREATE TABLE steps (operation TEXT NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL,"
	" step TEXT NOT NULL, state TEXT NOT NULL, started_at_ms INTEGER NOT NULL,"
	" ended_at_ms INTEGER NOT NULL, bytes_done INTEGER NOT NULL,"
	" reached_bytes INTEGER NOT NULL, longest_pause_us INTEGER NOT NULL,"
	" flat INTEGER NOT NULL, undo_failed INTEGER NOT NULL,"
	" child_operation TEXT NOT NULL, detail TEXT NOT NULL, remainder TEXT NOT NULL,"
	" before TEXT, result TEXT, PRIMARY KEY (operation, n)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE drains (id TEXT NOT NULL PRIMARY KEY, operation TEXT NOT NULL,"
	" undrain_operation TEXT NOT NULL, wish TEXT NOT NULL, target TEXT NOT NULL,"
	" state TEXT NOT NULL, stage TEXT NOT NULL, created_at_ms INTEGER NOT NULL,"
	" revision INTEGER NOT NULL, hold INTEGER NOT NULL, hold_node INTEGER NOT NULL,"
	" hold_dimm TEXT NOT NULL, hold_ranges TEXT NOT NULL, boot_id TEXT NOT NULL DEFAULT '',"
	" online_bytes INTEGER NOT NULL DEFAULT 0) STRICT;"
	RATES_SCHEMA
	HINTS_SCHEMA
	"PRAGMA user_version = " JOURNAL_TEXT(JOURNAL_SCHEMA_VERSION) ";";

static const char *const table_inserts[JOURNAL_TABLE_COUNT] = {
	[JOURNAL_TABLE_OPERATIONS] =
		"INSERT INTO operations (" JOURNAL_OPERATION_COLUMNS ") VALUES (",
	[JOURNAL_TABLE_STEPS] = "INSERT INTO steps (" JOURNAL_STEP_COLUMNS ") VALUES (",
	[JOURNAL_TABLE_DRAINS] = "INSERT INTO drains (" JOURNAL_DRAIN_COLUMNS ") VALUES (",
	[JOURNAL_TABLE_RATES] = "INSERT INTO rates (" JOURNAL_RATE_COLUMNS ") VALUES (",
	[JOURNAL_TABLE_HINTS] = "INSERT INTO hints (" JOURNAL_HINT_COLUMNS ") VALUES (",
};
static const char *const table_columns[JOURNAL_TABLE_COUNT] = {
	[JOURNAL_TABLE_OPERATIONS] = JOURNAL_OPERATION_COLUMNS,
	[JOURNAL_TABLE_STEPS] = JOURNAL_STEP_COLUMNS,
	[JOURNAL_TABLE_DRAINS] = JOURNAL_DRAIN_COLUMNS,
	[JOURNAL_TABLE_RATES] = JOURNAL_RATE_COLUMNS,
	[JOURNAL_TABLE_HINTS] = JOURNAL_HINT_COLUMNS,
};
static const char *const table_keys[JOURNAL_TABLE_COUNT] = {
	[JOURNAL_TABLE_OPERATIONS] = "id",
	[JOURNAL_TABLE_STEPS] = "operation, n",
	[JOURNAL_TABLE_DRAINS] = "id",
	[JOURNAL_TABLE_RATES] = "kind",
	[JOURNAL_TABLE_HINTS] = "dimm, range_start, range_end",
};
static const int table_column_counts[JOURNAL_TABLE_COUNT] = {
	[JOURNAL_TABLE_OPERATIONS] = JOURNAL_OPERATION_COLUMN_COUNT,
	[JOURNAL_TABLE_STEPS] = JOURNAL_STEP_COLUMN_COUNT,
	[JOURNAL_TABLE_DRAINS] = JOURNAL_DRAIN_COLUMN_COUNT,
	[JOURNAL_TABLE_RATES] = JOURNAL_RATE_COLUMN_COUNT,
	[JOURNAL_TABLE_HINTS] = JOURNAL_HINT_COLUMN_COUNT,
};

static int store_errno(int code)
{
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return -EUCLEAN;
	default:
		return -EIO;
	}
}

int journal_store_fail(struct journal_store *store, int code, struct failure *failure,
		       const char *action)
{
	int r = failure_set(failure, store_errno(code), store->object, "%s", action);

	failure_set_code(failure, "journal_failed");
	failure_set_cause(failure, "%s",
			  store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code));
	if (r == -ENOSPC)
		failure_set_way_out(failure, "make room on the file system of the journal");
	if (r == -EUCLEAN)
		failure_set_way_out(
			failure,
			"stop ballastd, move the file away and look at the host's blocks and "
			"the guests' placement by hand: what was unfinished is not known");
	return r;
}

static int store_exec(struct journal_store *store, const char *sql, struct failure *failure,
		      const char *action)
{
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : journal_store_fail(store, code, failure, action);
}

static int store_pragma_number(struct journal_store *store, const char *sql, int64_t *ret_number,
			       struct failure *failure)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code != SQLITE_ROW) {
		int r = journal_store_fail(store, code, failure, "cannot read");

		sqlite3_finalize(statement);
		return r;
	}
	*ret_number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return 0;
}

static int store_check_integrity(struct journal_store *store, struct failure *failure)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(store->db, "PRAGMA integrity_check(1)", -1, &statement, NULL);
	int r = 0;

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code != SQLITE_ROW) {
		r = journal_store_fail(store, code, failure, "cannot check");
	} else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0) {
		journal_store_fail(store, SQLITE_CORRUPT, failure, "is damaged");
		failure_set_cause(failure, "%s", (const char *)sqlite3_column_text(statement, 0));
		r = -EUCLEAN;
	}
	sqlite3_finalize(statement);
	return r;
}

/*
 * Version 1 knew no forecast, version 2 no boots, version 3 no rates, version 4 not what was asked for at the end, and version 5
 * no hints.
 */
static int store_upgrade(struct journal_store *store, int64_t version, struct failure *failure)
{
	static const char *const changes[JOURNAL_SCHEMA_VERSION] = {
		[1] = "ALTER TABLE operations ADD COLUMN forecast_bytes INTEGER NOT NULL DEFAULT 0;",
		[2] = "ALTER TABLE drains ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';"
		      "ALTER TABLE drains ADD COLUMN online_bytes INTEGER NOT NULL DEFAULT 0;",
		[3] = RATES_SCHEMA,
		[4] = "ALTER TABLE operations ADD COLUMN requested_bytes INTEGER NOT NULL DEFAULT 0;",
		[5] = HINTS_SCHEMA,
	};
	static const char action[] = "cannot bring the schema up to date";
	int r = store_exec(store, "BEGIN IMMEDIATE", failure, action);

	for (; r == 0 && version < JOURNAL_SCHEMA_VERSION; version++)
		r = store_exec(store, changes[version], failure, action);
	if (r == 0)
		r = store_exec(store, "PRAGMA user_version = " JOURNAL_TEXT(JOURNAL_SCHEMA_VERSION) "; COMMIT", failure,
			       action);
	return r;
}

static int store_prepare_schema(struct journal_store *store, bool unclean, struct failure *failure)
{
	int64_t version = 0;
	int r = store_exec(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", failure,
			   "cannot open as a journal");

	if (r < 0)
		return r;
	if (unclean) {
		r = store_check_integrity(store, failure);
		if (r < 0)
			return r;
	}
	r = store_pragma_number(store, "PRAGMA user_version", &version, failure);
	if (r < 0)
		return r;
	if (version > JOURNAL_SCHEMA_VERSION) {
		r = failure_set(failure, EPROTONOSUPPORT, store->object, "cannot use this journal");
		failure_set_code(failure, "journal_newer");
		failure_set_cause(failure,
				  "it was written by a newer ballastd (schema %lld, known is %d)",
				  (long long)version, JOURNAL_SCHEMA_VERSION);
		failure_set_way_out(failure, "start that version, or move the file away");
		return r;
	}
	if (version > 0 && version < JOURNAL_SCHEMA_VERSION) {
		r = store_upgrade(store, version, failure);
		if (r < 0)
			return r;
	}
	if (version == 0) {
		r = store_exec(store, "BEGIN IMMEDIATE", failure, "cannot create the schema");
		if (r == 0)
			r = store_exec(store, schema, failure, "cannot create the schema");
		if (r == 0)
			r = store_exec(store, "COMMIT", failure, "cannot create the schema");
		return r;
	}
	return store_exec(
		store,
		"BEGIN IMMEDIATE;"
		"DELETE FROM operations WHERE ended_at_ms > 0 AND seq <= (SELECT max(seq) FROM "
		"operations) - "
		/* An undrain needs the steps of its drain, of the drain's children, and of what its steps name else. */
		JOURNAL_TEXT(JOURNAL_KEPT_OPERATIONS) " AND id NOT IN (SELECT operation FROM "
						      "drains WHERE hold OR state IN ('deferred', 'attention'))"
						      " AND parent NOT IN (SELECT operation FROM"
						      " drains WHERE hold OR state IN ('deferred', 'attention'))"
						      " AND id NOT IN (SELECT child_operation FROM steps WHERE operation IN"
						      " (SELECT operation FROM drains WHERE hold OR state IN"
						      " ('deferred', 'attention')));"
						      "DELETE FROM steps WHERE operation NOT IN "
						      "(SELECT id FROM operations);"
						      "DELETE FROM hints WHERE count = 0;"
						      "COMMIT",
		failure, "cannot drop what is too old");
}

static int store_prepare_upserts(struct journal_store *store, struct failure *failure)
{
	for (int table = 0; table < JOURNAL_TABLE_COUNT; table++) {
		CLEANUP_FREE char *sql = NULL;
		CLEANUP_FREE char *columns = strdup(table_columns[table]);
		size_t size = 0;
		FILE *stream = columns ? open_memstream(&sql, &size) : NULL;
		char *rest = NULL;
		bool first = true;
		int code;

		if (!stream)
			return journal_store_fail(store, SQLITE_NOMEM, failure, "cannot open");
		fprintf(stream, "%s", table_inserts[table]);
		for (int i = 0; i < table_column_counts[table]; i++)
			fprintf(stream, i ? ", ?" : "?");
		fprintf(stream, ") ON CONFLICT (%s) DO UPDATE SET ", table_keys[table]);
		for (char *name = strtok_r(columns, ", ", &rest); name;
		     name = strtok_r(NULL, ", ", &rest)) {
			fprintf(stream, "%s%s = excluded.%s", first ? "" : ", ", name, name);
			first = false;
		}
		if (fclose(stream) != 0)
			return journal_store_fail(store, SQLITE_NOMEM, failure, "cannot open");
		code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
					  &store->upserts[table], NULL);
		if (code != SQLITE_OK)
			return journal_store_fail(store, code, failure, "cannot open");
	}
	return 0;
}

/*
 * SQLite refuses a symbolic link anywhere in the name (SQLITE_OPEN_NOFOLLOW): the folder may be one
 * (/var/run), the file may not.
 */
static char *resolved_path(const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	CLEANUP_FREE char *folder = NULL;
	char *slash = copy ? strrchr(copy, '/') : NULL;
	char *resolved = NULL;

	if (!copy)
		return NULL;
	if (slash)
		*slash = '\0';
	folder = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (!folder || asprintf(&resolved, "%s/%s", folder, slash ? slash + 1 : copy) < 0)
		return NULL;
	return resolved;
}

/*
 * The file before SQLite, so that it never exists with any other mode; -wal and -shm take theirs
 * from it.
 */
static int create_file(const char *path, const char *object, struct failure *failure)
{
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat stat;

	if (fd < 0)
		return failure_set(failure, errno, object, "cannot open the journal");
	if (fstat(fd, &stat) < 0)
		return failure_set(failure, errno, object, "cannot open the journal");
	if (!S_ISREG(stat.st_mode))
		return failure_set(failure, EINVAL, object,
				   "cannot open the journal: it is no regular file");
	if (fchmod(fd, 0600) < 0)
		return failure_set(failure, errno, object, "cannot set the journal's mode");
	return 0;
}

int journal_store_open(const char *path, bool writer, struct journal_store **ret_store,
		       struct failure *failure)
{
	CLEANUP(journal_store_closep) struct journal_store *store = calloc(1, sizeof(*store));
	CLEANUP_FREE char *resolved = resolved_path(path);
	CLEANUP_FREE char *wal = NULL;
	struct stat stat_wal;
	bool unclean;
	int code, r;

	if (!resolved)
		return failure_set(failure, errno, path, "cannot find the folder of the journal");
	if (!store || asprintf(&wal, "%s-wal", resolved) < 0)
		return failure_set(failure, ENOMEM, path, "cannot open the journal");
	snprintf(store->object, sizeof(store->object), "%s", path);
	if (writer) {
		r = create_file(resolved, path, failure);
		if (r < 0)
			return r;
	}
	/*
	 * The last connection removes the log when it closes: one with content is left only by an
	 * unclean end.
	 */
	unclean = lstat(wal, &stat_wal) == 0 && stat_wal.st_size > 0;
	code = sqlite3_open_v2(resolved, &store->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
				       SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
			       NULL);
	if (code != SQLITE_OK)
		return journal_store_fail(store, code, failure, "cannot open the journal");
	sqlite3_busy_timeout(store->db, JOURNAL_BUSY_MS);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (writer) {
		r = store_prepare_schema(store, unclean, failure);
		if (r == 0)
			r = store_prepare_upserts(store, failure);
	} else {
		r = store_exec(store, "PRAGMA query_only = 1", failure, "cannot open the journal");
	}
	if (r < 0)
		return r;
	*ret_store = TAKE_PTR(store);
	return 0;
}

struct journal_store *journal_store_close(struct journal_store *store)
{
	if (!store)
		return NULL;
	for (int table = 0; table < JOURNAL_TABLE_COUNT; table++)
		sqlite3_finalize(store->upserts[table]);
	sqlite3_close(store->db);
	free(store);
	return NULL;
}

int journal_store_begin(struct journal_store *store, struct failure *failure)
{
	return store_exec(store, "BEGIN IMMEDIATE", failure, "cannot write");
}

int journal_store_commit(struct journal_store *store, struct failure *failure)
{
	return store_exec(store, "COMMIT", failure, "cannot write");
}

void journal_store_rollback(struct journal_store *store)
{
	/* A full disk may have rolled it back already. */
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int journal_store_write(struct journal_store *store, const struct journal_row *row,
			struct failure *failure)
{
	sqlite3_stmt *statement = store->upserts[row->table];
	int code = SQLITE_OK, r = 0;

	for (size_t i = 0; i < row->count && code == SQLITE_OK; i++) {
		int place = (int)i + 1;

		if (row->cells[i].is_number)
			code = sqlite3_bind_int64(statement, place, row->cells[i].number);
		else if (row->cells[i].text)
			code = sqlite3_bind_text(statement, place, row->cells[i].text, -1,
						 SQLITE_STATIC);
		else
			code = sqlite3_bind_null(statement, place);
	}
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code != SQLITE_DONE)
		r = journal_store_fail(store, code, failure, "cannot write");
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return r;
}
