/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "journal_priv.h"
#include "scratch.h"
#include "unit.h"

static char folder[64], path[96];
static int written_count, last_error;
static char order[64];

static void setup(void)
{
	snprintf(folder, sizeof(folder), "%s/journal.XXXXXX", scratch_folder());
	assert(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/journal.db", folder);
	written_count = last_error = 0;
	order[0] = '\0';
}

static void teardown(void)
{
	static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm",
					    "link.db", "other.db"};
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
		unlink(name);
	}
	rmdir(folder);
}

static struct journal *open_journal(void)
{
	struct journal *journal = NULL;
	struct failure failure = {0};

	CHECK_INT(journal_open(path, &journal, &failure), 0);
	if (failure.cause[0])
		fprintf(stderr, "%s\n", failure.cause);
	assert(journal);
	return journal;
}

static void on_written(void *user, int error, const struct failure *failure)
{
	written_count++;
	last_error = error;
	CHECK_TRUE(!error == !failure);
	if (user)
		strcat(order, user);
}

static void wait_written(struct journal *journal, int count)
{
	struct pollfd fd = {.fd = journal_fd(journal), .events = POLLIN};

	while (written_count < count && poll(&fd, 1, 10000) == 1)
		journal_dispatch(journal);
	CHECK_INT(written_count, count);
}

static struct operation_record *make_operation(const char *id)
{
	struct operation_record *record = operation_record_new();

	snprintf(record->id, sizeof(record->id), "%s", id);
	wish_init(&record->wish, OPERATION_KIND_RESIZE);
	snprintf(record->wish.guest, sizeof(record->wish.guest),
		 "11111111-1111-1111-1111-111111111111");
	record->wish.resize.target_bytes = UINT64_C(1) << 40;
	record->wish.timeout_s = 7;
	snprintf(record->target, sizeof(record->target), "guest g1");
	snprintf(record->guest_name, sizeof(record->guest_name), "g1");
	record->state = OPERATION_STATE_RUNNING;
	record->created_at_ms = 1000;
	record->revision = 3;
	record->progress.total_bytes = UINT64_MAX;
	snprintf(record->actor, sizeof(record->actor), "uid 0");
	return record;
}

static void put_one(struct journal *journal, const char *id)
{
	struct operation_record *record = make_operation(id);
	int before = written_count;

	CHECK_INT(journal_put_operation(journal, record, on_written, NULL), 0);
	wait_written(journal, before + 1);
	CHECK_INT(last_error, 0);
	operation_record_free(record);
}

static void test_round_trip(void)
{
	struct operation_record *record, *loaded = NULL, **list;
	struct step_record *step_record;
	struct failure failure = {0};
	struct journal *journal;
	struct step step;
	struct stat stat_file;
	size_t count;

	setup();
	journal = open_journal();
	CHECK_INT(stat(path, &stat_file), 0);
	CHECK_INT(stat_file.st_mode & 07777, 0600);
	record = make_operation("op-1");
	record->state = OPERATION_STATE_CANCELLING;
	record->undo_wanted = true;
	record->deadline_exceeded = true;
	record->deadline_ms = 99;
	record->started_at_ms = 5;
	record->snapshot_before_bytes = 12345;
	record->snapshot_wanted_bytes = 23456;
	record->snapshot_forecast_bytes = 24567;
	record->snapshot_after_bytes = 34567;
	record->snapshot_requested_bytes = 33333;
	snprintf(record->parent, sizeof(record->parent), "op-0");
	snprintf(record->superseded_by, sizeof(record->superseded_by), "op-9");
	snprintf(record->plan_digest, sizeof(record->plan_digest), "7f2c");
	snprintf(record->idempotency_key, sizeof(record->idempotency_key), "k'1");
	snprintf(record->body_hash, sizeof(record->body_hash), "abc");
	failure_set(&record->error, EBUSY, "guest g1", "cannot resize");
	failure_set_way_out(&record->error, "wait");
	remainder_list_add(&record->remainder, REMAINDER_PINNED, "block 40", 64, NULL,
			   "pinned by \"x\"");
	remainder_list_add_consent(&record->warnings, REMAINDER_STORED_XML, CONSENT_STORED_XML,
				   "guest g1", 0, "stale");
	step_init(&step, STEP_KIND_REQUEST);
	step.target_bytes = 77;
	step.undoable = true;
	step_record = operation_record_add_step(record, &step);
	step_record->state = STEP_STATE_PARTIAL;
	step_record->before = strdup("{\"requested_bytes\":5}");
	step_record->bytes_done = 8;
	step_record->reached_bytes = 9;
	step_record->longest_pause_us = 10;
	step_record->flat = step_record->undo_failed = true;
	step_record->started_at_ms = 11;
	step_record->ended_at_ms = 12;
	snprintf(step_record->detail, sizeof(step_record->detail), "half");
	snprintf(step_record->child_operation, sizeof(step_record->child_operation), "op-7");
	remainder_list_add(&step_record->remainder, REMAINDER_PAGE_BUSY, "guest g1", 4096, NULL,
			   "busy");
	CHECK_INT(journal_put_operation(journal, record, on_written, NULL), 0);
	CHECK_INT(journal_put_step(journal, record, step_record, on_written, NULL), 0);
	wait_written(journal, 2);
	CHECK_INT(last_error, 0);
	journal_close(journal);

	journal = open_journal();
	CHECK_INT(journal_load_operation(journal, "op-1", &loaded, &failure), 0);
	assert(loaded);
	CHECK_STR(loaded->id, "op-1");
	CHECK_STR(loaded->parent, "op-0");
	CHECK_STR(loaded->target, "guest g1");
	CHECK_STR(loaded->guest_name, "g1");
	CHECK_INT(loaded->wish.kind, OPERATION_KIND_RESIZE);
	CHECK_INT(loaded->wish.timeout_s, 7);
	CHECK_TRUE(loaded->wish.resize.target_bytes == UINT64_C(1) << 40);
	CHECK_INT(loaded->state, OPERATION_STATE_CANCELLING);
	CHECK_TRUE(loaded->undo_wanted && loaded->deadline_exceeded && !loaded->undone);
	CHECK_TRUE(loaded->progress.total_bytes == UINT64_MAX);
	CHECK_INT(loaded->created_at_ms, 1000);
	CHECK_INT(loaded->started_at_ms, 5);
	CHECK_INT(loaded->deadline_ms, 99);
	CHECK_INT(loaded->snapshot_before_bytes, 12345);
	CHECK_INT(loaded->snapshot_wanted_bytes, 23456);
	CHECK_INT(loaded->snapshot_forecast_bytes, 24567);
	CHECK_INT(loaded->snapshot_after_bytes, 34567);
	CHECK_INT(loaded->snapshot_requested_bytes, 33333);
	CHECK_INT(loaded->revision, 3);
	CHECK_STR(loaded->superseded_by, "op-9");
	CHECK_STR(loaded->plan_digest, "7f2c");
	CHECK_STR(loaded->idempotency_key, "k'1");
	CHECK_STR(loaded->body_hash, "abc");
	CHECK_INT(loaded->error.error, EBUSY);
	CHECK_STR(loaded->error.object, "guest g1");
	CHECK_STR(loaded->error.way_out, "wait");
	CHECK_INT(loaded->remainder.count, 1);
	CHECK_STR(loaded->remainder.items[0].detail, "pinned by \"x\"");
	CHECK_INT(loaded->warnings.items[0].consent, CONSENT_STORED_XML);
	CHECK_INT(loaded->step_count, 1);
	CHECK_INT(loaded->steps[0].n, 1);
	CHECK_INT(loaded->steps[0].step.kind, STEP_KIND_REQUEST);
	CHECK_INT(loaded->steps[0].step.target_bytes, 77);
	CHECK_INT(loaded->steps[0].state, STEP_STATE_PARTIAL);
	CHECK_STR(loaded->steps[0].before, "{\"requested_bytes\":5}");
	CHECK_TRUE(loaded->steps[0].result == NULL);
	CHECK_TRUE(loaded->steps[0].flat && loaded->steps[0].undo_failed);
	CHECK_INT(loaded->steps[0].reached_bytes, 9);
	CHECK_INT(loaded->steps[0].longest_pause_us, 10);
	CHECK_STR(loaded->steps[0].child_operation, "op-7");
	CHECK_INT(loaded->steps[0].remainder.items[0].bytes, 4096);
	operation_record_free(loaded);
	loaded = NULL;
	CHECK_INT(journal_load_operation(journal, "op-2", &loaded, &failure), -ENOENT);
	CHECK_INT(journal_find_key(journal, "uid 0", "k'1", &loaded, &failure), 0);
	operation_record_free(loaded);
	CHECK_INT(journal_find_key(journal, "uid 1", "k'1", &loaded, &failure), -ENOENT);
	CHECK_INT(journal_load_operations(journal, true, NULL, 10, &list, &count, &failure), 0);
	CHECK_INT(count, 1);
	operation_record_free(list[0]);
	free(list);
	operation_record_free(record);
	journal_close(journal);
	teardown();
}

static void test_drain(void)
{
	struct drain_record drain = {
		.state = DRAIN_STATE_HELD, .stage = DRAIN_STAGE_OFFLINE, .created_at_ms = 5};
	struct drain_record *list;
	struct failure failure = {0};
	struct journal *journal;
	size_t count;

	setup();
	journal = open_journal();
	snprintf(drain.id, sizeof(drain.id), "dr-1");
	snprintf(drain.operation, sizeof(drain.operation), "op-1");
	snprintf(drain.target, sizeof(drain.target), "node 3");
	drain.wish.target = DRAIN_TARGET_NODE;
	drain.wish.node = 3;
	drain.wish.finish = DRAIN_FINISH_EJECT;
	snprintf(drain.wish.reason, sizeof(drain.wish.reason), "errors");
	snprintf(drain.hold.drain, sizeof(drain.hold.drain), "dr-1");
	snprintf(drain.boot_id, sizeof(drain.boot_id), "6c0e3d1c-12f5-4c0a-9b46-3f2a6a3ad3f0");
	drain.online_bytes = 4096;
	drain.hold.node = -1;
	snprintf(drain.hold.dimm, sizeof(drain.hold.dimm), "d1");
	drain.hold.range_count = 1;
	drain.hold.ranges[0] = (struct snapshot_range){1, UINT64_C(1) << 45};
	CHECK_INT(journal_put_drain(journal, &drain, on_written, NULL), 0);
	wait_written(journal, 1);
	CHECK_INT(journal_load_drains(journal, &list, &count, &failure), 0);
	CHECK_INT(count, 1);
	CHECK_STR(list[0].id, "dr-1");
	CHECK_STR(list[0].hold.drain, "dr-1");
	CHECK_INT(list[0].hold.node, -1);
	CHECK_STR(list[0].hold.dimm, "d1");
	CHECK_TRUE(list[0].hold.range_count == 1 && list[0].hold.ranges[0].end == UINT64_C(1)
											  << 45);
	CHECK_INT(list[0].wish.node, 3);
	CHECK_INT(list[0].wish.finish, DRAIN_FINISH_EJECT);
	CHECK_STR(list[0].wish.reason, "errors");
	CHECK_INT(list[0].state, DRAIN_STATE_HELD);
	CHECK_INT(list[0].stage, DRAIN_STAGE_OFFLINE);
	CHECK_STR(list[0].boot_id, "6c0e3d1c-12f5-4c0a-9b46-3f2a6a3ad3f0");
	CHECK_INT(list[0].online_bytes, 4096);
	free(list);
	drain.hold.drain[0] = '\0';
	drain.state = DRAIN_STATE_RELEASED;
	CHECK_INT(journal_put_drain(journal, &drain, on_written, NULL), 0);
	wait_written(journal, 2);
	CHECK_INT(journal_load_drains(journal, &list, &count, &failure), 0);
	CHECK_INT(count, 1);
	CHECK_STR(list[0].hold.drain, "");
	CHECK_INT(list[0].state, DRAIN_STATE_RELEASED);
	free(list);
	journal_close(journal);
	teardown();
}

static void test_order_and_pages(void)
{
	struct operation_record **list;
	struct failure failure = {0};
	struct journal *journal;
	size_t count;

	setup();
	journal = open_journal();
	for (int i = 0; i < 20; i++) {
		static char names[20][2];
		char id[16];
		struct operation_record *record;

		snprintf(id, sizeof(id), "op-%02d", i);
		names[i][0] = (char)('a' + i);
		record = make_operation(id);
		if (i % 2) {
			record->state = OPERATION_STATE_SUCCEEDED;
			record->ended_at_ms = 9;
		}
		journal_put_operation(journal, record, on_written, names[i]);
		operation_record_free(record);
	}
	wait_written(journal, 20);
	CHECK_STR(order, "abcdefghijklmnopqrst");
	CHECK_INT(journal_load_operations(journal, false, "op-15", 3, &list, &count, &failure), 0);
	CHECK_INT(count, 3);
	CHECK_STR(list[0]->id, "op-14");
	CHECK_STR(list[2]->id, "op-12");
	for (size_t i = 0; i < count; i++)
		operation_record_free(list[i]);
	free(list);
	CHECK_INT(journal_load_operations(journal, true, NULL, SIZE_MAX, &list, &count, &failure),
		  0);
	CHECK_INT(count, 10);
	for (size_t i = 0; i < count; i++)
		operation_record_free(list[i]);
	free(list);
	journal_close(journal);
	teardown();
}

/* One write of a batch that the table refuses takes only its own transaction with it. */
static void test_key_is_unique(void)
{
	struct operation_record *first = make_operation("op-1"), *second = make_operation("op-2"),
				*third = make_operation("op-3"), *loaded;
	struct failure failure = {0};
	struct journal *journal;

	setup();
	journal = open_journal();
	snprintf(first->idempotency_key, sizeof(first->idempotency_key), "k");
	snprintf(second->idempotency_key, sizeof(second->idempotency_key), "k");
	journal_put_operation(journal, first, on_written, NULL);
	wait_written(journal, 1);
	journal_begin(journal);
	journal_put_operation(journal, third, NULL, NULL);
	journal_put_operation(journal, second, on_written, NULL);
	journal_end(journal);
	wait_written(journal, 2);
	CHECK_INT(last_error, -EEXIST);
	CHECK_INT(journal_load_operation(journal, "op-3", &loaded, &failure), -ENOENT);
	journal_put_operation(journal, third, on_written, NULL);
	wait_written(journal, 3);
	CHECK_INT(last_error, 0);
	/* The same operation again is an update and no misuse of its key. */
	first->state = OPERATION_STATE_PAUSED;
	journal_put_operation(journal, first, on_written, NULL);
	wait_written(journal, 4);
	CHECK_INT(last_error, 0);
	journal_close(journal);
	operation_record_free(first);
	operation_record_free(second);
	operation_record_free(third);
	teardown();
}

static atomic_int refusals;

static enum journal_gate refuse_two(void *user, unsigned long number)
{
	return atomic_fetch_sub(&refusals, 1) > 0 ? JOURNAL_GATE_REFUSE : JOURNAL_GATE_PASS;
}

static void test_full_disk(void)
{
	struct operation_record *record = make_operation("op-1");
	struct journal *journal;

	setup();
	journal = open_journal();
	atomic_store(&refusals, 2);
	journal_set_gate(journal, refuse_two, NULL);
	for (int i = 1; i <= 3; i++) {
		journal_put_operation(journal, record, on_written, NULL);
		wait_written(journal, i);
		CHECK_INT(last_error, i < 3 ? -ENOSPC : 0);
	}
	journal_close(journal);
	operation_record_free(record);
	teardown();
}

static void test_close_finishes(void)
{
	struct operation_record *record = make_operation("op-1"), *loaded = NULL;
	struct failure failure = {0};
	struct journal *journal;

	setup();
	journal = open_journal();
	for (int i = 0; i < 100; i++) {
		record->revision = (uint64_t)i;
		journal_put_operation(journal, record, on_written, NULL);
	}
	journal_close(journal);
	CHECK_INT(written_count, 0);
	journal = open_journal();
	CHECK_INT(journal_load_operation(journal, "op-1", &loaded, &failure), 0);
	CHECK_INT(loaded->revision, 99);
	operation_record_free(loaded);
	operation_record_free(record);
	journal_close(journal);
	teardown();
}

static void check_refused(int expected)
{
	struct journal *journal = NULL;
	struct failure failure = {0};

	CHECK_INT(journal_open(path, &journal, &failure), expected);
	CHECK_TRUE(journal == NULL);
	CHECK_TRUE(failure.cause[0] != '\0');
}

static void check_older_schema(const char *changes, bool has_boots, bool has_rates)
{
	struct drain_record drain = {.state = DRAIN_STATE_HELD, .created_at_ms = 5}, *drains = NULL;
	const struct measured_rate rate = {.amount = 7, .ms = 8};
	struct measured_rates rates;
	const struct hint_record hint = {.hint = {.count = 1}};
	struct hint_record hints[2];
	size_t count = 0;
	CLEANUP(operation_record_freep) struct operation_record *loaded = NULL;
	struct failure failure = {0};
	struct journal *journal;
	sqlite3 *db;

	setup();
	journal = open_journal();
	put_one(journal, "op-1");
	snprintf(drain.id, sizeof(drain.id), "dr-1");
	snprintf(drain.boot_id, sizeof(drain.boot_id), "boot");
	drain.online_bytes = 4096;
	CHECK_INT(journal_put_drain(journal, &drain, NULL, NULL), 0);
	CHECK_INT(journal_put_rate(journal, RATE_KIND_MOVE, &rate, NULL, NULL), 0);
	journal_close(journal);
	sqlite3_open(path, &db);
	CHECK_INT(sqlite3_exec(db, changes, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	for (int i = 0; i < 2; i++) {
		loaded = operation_record_free(loaded);
		journal = open_journal();
		CHECK_INT(journal_load_operation(journal, "op-1", &loaded, &failure), 0);
		CHECK_TRUE(loaded && loaded->snapshot_forecast_bytes == 0 && loaded->snapshot_requested_bytes == 0);
		CHECK_INT(journal_load_drains(journal, &drains, &count, &failure), 0);
		CHECK_INT(count, 1);
		CHECK_STR(drains[0].boot_id, has_boots ? "boot" : "");
		CHECK_INT(drains[0].online_bytes, has_boots ? 4096 : 0);
		free(drains);
		/* Where none were kept, from now on they are. */
		CHECK_INT(journal_load_rates(journal, &rates, &failure), 0);
		CHECK_INT(rates.of[RATE_KIND_MOVE].amount, i || has_rates ? 7 : 0);
		CHECK_INT(journal_put_rate(journal, RATE_KIND_MOVE, &rate, NULL, NULL), 0);
		CHECK_INT(journal_load_hints(journal, hints, 2, &count, &failure), 0);
		CHECK_INT(count, i);
		CHECK_INT(journal_put_hint(journal, &hint, NULL, NULL), 0);
		put_one(journal, "op-2");
		journal_close(journal);
	}
	teardown();
}

#define WITHOUT_HINTS	 "DROP TABLE hints;"
#define WITHOUT_REQUESTS WITHOUT_HINTS "ALTER TABLE operations DROP COLUMN requested_bytes;"
#define WITHOUT_RATES	 WITHOUT_REQUESTS "DROP TABLE rates;"
#define WITHOUT_BOOTS                                                                      \
	WITHOUT_RATES "ALTER TABLE drains DROP COLUMN boot_id; ALTER TABLE drains DROP COLUMN online_bytes;"

/*
 * One of version 1 knows no forecast, of version 2 no boots, of version 3 no rates, of version 4 no sizes asked for, of version
 * 5 no hints; nothing gets lost over that.
 */
static void test_older_schemas(void)
{
	check_older_schema(WITHOUT_HINTS "PRAGMA user_version = 5", true, true);
	check_older_schema(WITHOUT_REQUESTS "PRAGMA user_version = 4", true, true);
	check_older_schema(WITHOUT_RATES "PRAGMA user_version = 3", true, false);
	check_older_schema(WITHOUT_BOOTS "PRAGMA user_version = 2", false, false);
	check_older_schema(WITHOUT_BOOTS "ALTER TABLE operations DROP COLUMN forecast_bytes; PRAGMA user_version = 1", false, false);
}

static int count_rows(const char *table)
{
	char sql[64];
	sqlite3_stmt *statement;
	sqlite3 *db;
	int count;

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_INT(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	CHECK_INT(sqlite3_step(statement), SQLITE_ROW);
	count = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return count;
}

static void test_hints(void)
{
	struct hint_record hint = {.hint = {.dimm = "d1",
					    .range = {UINT64_C(1) << 63, UINT64_MAX},
					    .node = -1,
					    .address = UINT64_MAX - 1,
					    .risk = HINT_RISK_LOW,
					    .worst = HINT_RISK_UNCORRECTED,
					    .count = 7,
					    .at_ms = 8},
				   .tried_at_ms = 9,
				   .tried_risk = HINT_RISK_HIGH,
				   .tried_target = "dimm d1",
				   .boot_id = "boot"};
	struct hint_record loaded[4], other = {.hint = {.dimm = "d1", .count = 1, .at_ms = 9}};
	struct failure failure = {0};
	struct journal *journal;
	size_t count = 9;

	setup();
	journal = open_journal();
	CHECK_INT(journal_load_hints(journal, loaded, ARRAY_SIZE(loaded), &count, &failure), 0);
	CHECK_INT(count, 0);
	CHECK_INT(journal_put_hint(journal, &hint, NULL, NULL), 0);
	hint.hint.count++;
	CHECK_INT(journal_put_hint(journal, &hint, NULL, NULL), 0);
	CHECK_INT(journal_put_hint(journal, &other, NULL, NULL), 0);
	journal_close(journal);
	journal = open_journal();
	CHECK_INT(journal_load_hints(journal, loaded, 1, &count, &failure), 0);
	CHECK_INT(count, 1);
	CHECK_INT(loaded[0].hint.at_ms, 9);
	CHECK_INT(journal_load_hints(journal, loaded, ARRAY_SIZE(loaded), &count, &failure), 0);
	CHECK_INT(count, 2);
	CHECK_STR(loaded[1].hint.dimm, "d1");
	CHECK_TRUE(loaded[1].hint.range.start == hint.hint.range.start && loaded[1].hint.range.end == hint.hint.range.end);
	CHECK_INT(loaded[1].hint.node, -1);
	CHECK_TRUE(loaded[1].hint.address == hint.hint.address);
	CHECK_INT(loaded[1].hint.risk, HINT_RISK_LOW);
	CHECK_INT(loaded[1].hint.worst, HINT_RISK_UNCORRECTED);
	CHECK_INT(loaded[1].hint.count, 8);
	CHECK_INT(loaded[1].hint.at_ms, 8);
	CHECK_INT(loaded[1].tried_at_ms, 9);
	CHECK_INT(loaded[1].tried_risk, HINT_RISK_HIGH);
	CHECK_STR(loaded[1].tried_target, "dimm d1");
	CHECK_STR(loaded[1].boot_id, "boot");
	/* Forgotten: it is not there, and takes no room. */
	hint.hint.count = 0;
	CHECK_INT(journal_put_hint(journal, &hint, NULL, NULL), 0);
	for (int i = 0; i < 2; i++) {
		journal_close(journal);
		journal = open_journal();
		CHECK_INT(journal_load_hints(journal, loaded, ARRAY_SIZE(loaded), &count, &failure), 0);
		CHECK_INT(count, 1);
	}
	journal_close(journal);
	CHECK_INT(count_rows("hints"), 1);
	teardown();
}

static void test_rates(void)
{
	struct measured_rates rates;
	struct failure failure = {0};
	struct journal *journal;
	sqlite3 *db;

	setup();
	journal = open_journal();
	CHECK_INT(journal_load_rates(journal, &rates, &failure), 0);
	for (int kind = 0; kind < RATE_KIND_COUNT; kind++)
		CHECK_INT(rates.of[kind].amount, 0);
	for (uint64_t i = 1; i < 3; i++) {
		CHECK_INT(journal_put_rate(journal, RATE_KIND_OFFLINE, &(struct measured_rate){i << 40, i}, NULL, NULL), 0);
		CHECK_INT(journal_put_rate(journal, RATE_KIND_EJECT, &(struct measured_rate){1000, 9}, NULL, NULL), 0);
	}
	journal_close(journal);
	sqlite3_open(path, &db);
	CHECK_INT(sqlite3_exec(db, "INSERT INTO rates VALUES ('of_tomorrow', 1, 1)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	journal = open_journal();
	CHECK_INT(journal_load_rates(journal, &rates, &failure), 0);
	CHECK_INT(rates.of[RATE_KIND_OFFLINE].amount, UINT64_C(2) << 40);
	CHECK_INT(rates.of[RATE_KIND_OFFLINE].ms, 2);
	CHECK_INT(rates.of[RATE_KIND_EJECT].ms, 9);
	CHECK_INT(rates.of[RATE_KIND_MOVE].amount, 0);
	journal_close(journal);
	teardown();
}

static bool has_operation(struct journal *journal, const char *id)
{
	CLEANUP(operation_record_freep) struct operation_record *loaded = NULL;

	return journal_load_operation(journal, id, &loaded, NULL) == 0;
}

/* What is too old is dropped, but for the operations that a drain still has to undo. */
static void check_kept(enum drain_state state)
{
	struct drain_record drain = {.state = state, .created_at_ms = 5};
	struct step_record moved = {.n = 40, .state = STEP_STATE_DONE};
	struct operation_record own = {0};
	struct journal *journal;
	sqlite3 *db;

	setup();
	step_init(&moved.step, STEP_KIND_CHILD);
	journal = open_journal();
	for (const char *id = "1234"; *id; id++)
		put_one(journal, (char[]){'o', 'p', '-', *id, '\0'});
	/* What kept its memory empty has no parent. */
	snprintf(own.id, sizeof(own.id), "op-1");
	snprintf(moved.child_operation, sizeof(moved.child_operation), "op-4");
	CHECK_INT(journal_put_step(journal, &own, &moved, on_written, NULL), 0);
	snprintf(drain.id, sizeof(drain.id), "dr-1");
	snprintf(drain.operation, sizeof(drain.operation), "op-1");
	CHECK_INT(journal_put_drain(journal, &drain, on_written, NULL), 0);
	journal_close(journal);
	sqlite3_open(path, &db);
	CHECK_INT(sqlite3_exec(db,
			       "UPDATE operations SET ended_at_ms = 9;"
			       "UPDATE operations SET parent = 'op-1' WHERE id = 'op-2'",
			       NULL, NULL, NULL),
		  SQLITE_OK);
	for (int i = 0; i < 2; i++) {
		/* One that is much younger than the three. */
		journal = open_journal();
		put_one(journal, i ? "op-6" : "op-5");
		journal_close(journal);
		CHECK_INT(sqlite3_exec(db, "UPDATE operations SET seq = seq + 100000 WHERE id IN ('op-5', 'op-6')",
				       NULL, NULL, NULL),
			  SQLITE_OK);
		journal = open_journal();
		CHECK_INT(has_operation(journal, "op-1"), !i);
		CHECK_INT(has_operation(journal, "op-2"), !i);
		CHECK_INT(has_operation(journal, "op-4"), !i);
		CHECK_TRUE(!has_operation(journal, "op-3"));
		drain.state = DRAIN_STATE_RELEASED;
		CHECK_INT(journal_put_drain(journal, &drain, on_written, NULL), 0);
		journal_close(journal);
	}
	sqlite3_close(db);
	teardown();
}

static void test_what_is_kept(void)
{
	check_kept(DRAIN_STATE_DEFERRED);
	check_kept(DRAIN_STATE_ATTENTION);
}

static void test_refused_files(void)
{
	struct failure failure = {0};
	struct journal *journal = NULL;
	char other[128], text[4096];
	struct stat stat_file;
	sqlite3 *db;
	FILE *stream;

	setup();
	journal_close(open_journal());
	sqlite3_open(path, &db);
	sqlite3_exec(db, "PRAGMA user_version = 7", NULL, NULL, NULL);
	sqlite3_close(db);
	check_refused(-EPROTONOSUPPORT);
	stream = fopen(path, "w");
	memset(text, 'x', sizeof(text));
	fwrite(text, 1, sizeof(text), stream);
	fclose(stream);
	check_refused(-EUCLEAN);
	CHECK_INT(stat(path, &stat_file), 0);
	CHECK_INT(stat_file.st_size, sizeof(text));
	unlink(path);
	snprintf(other, sizeof(other), "%s/other.db", folder);
	CHECK_INT(symlink(other, path), 0);
	check_refused(-ELOOP);
	CHECK_INT(access(other, F_OK), -1);
	unlink(path);
	CHECK_INT(journal_open("/nonexistent/journal.db", &journal, &failure), -ENOENT);
	teardown();
}

/* A page in the middle overwritten, and a log left behind: what an unclean end may leave. */
static void test_damage_after_unclean_end(void)
{
	struct operation_record *record = make_operation("op-1");
	char wal[128], page[4096];
	struct journal *journal;
	int fd;

	setup();
	journal = open_journal();
	for (int i = 0; i < 50; i++) {
		snprintf(record->id, sizeof(record->id), "op-%d", i);
		journal_put_operation(journal, record, NULL, NULL);
	}
	journal_close(journal);
	operation_record_free(record);
	fd = open(path, O_RDWR | O_CLOEXEC);
	memset(page, 0xa5, sizeof(page));
	CHECK_INT(pwrite(fd, page, sizeof(page), 4096 * 4), sizeof(page));
	close(fd);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	fd = open(wal, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(write(fd, page, 32), 32);
	close(fd);
	check_refused(-EUCLEAN);
	teardown();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"an operation and its steps come back as they were", test_round_trip},
		{"a drain and its hold come back as they were", test_drain},
		{"rates come back as they were", test_rates},
		{"hints", test_hints},
		{"order is kept, history comes in pages", test_order_and_pages},
		{"a key is used once, and a refused group changes nothing", test_key_is_unique},
		{"a full disk is told until it is no longer full", test_full_disk},
		{"closing finishes what was submitted, without callbacks", test_close_finishes},
		{"an older schema is brought up to date", test_older_schemas},
		{"what is too old is dropped, but not what a drain has to undo", test_what_is_kept},
		{"newer, foreign and linked files are refused and kept", test_refused_files},
		{"damage after an unclean end is found", test_damage_after_unclean_end},
	};

	return unit_main("journal", cases, ARRAY_SIZE(cases));
}
