/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's file: schema, rows in and rows out. Private to the journal; one connection is used
 * by one thread at a time.
 */
#ifndef BALLAST_SERVICE_JOURNAL_STORE_H
#define BALLAST_SERVICE_JOURNAL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "failure.h"
#include "hint_record.h"
#include "operation_record.h"

struct journal_store;

enum journal_table {
	JOURNAL_TABLE_OPERATIONS,
	JOURNAL_TABLE_STEPS,
	JOURNAL_TABLE_DRAINS,
	JOURNAL_TABLE_RATES,
	JOURNAL_TABLE_HINTS,
	JOURNAL_TABLE_COUNT
};

#define JOURNAL_ROW_CELLS_MAX 32 /* more than the columns of any table */

/*
 * A row taken from a record on the loop's thread, so that the journal's thread never looks at a
 * live record.
 */
struct journal_row {
	enum journal_table table;
	bool short_of_memory;
	size_t count;
	struct {
		bool is_number;
		int64_t number;
		char *text; /* owned; NULL is SQL's NULL */
	} cells[JOURNAL_ROW_CELLS_MAX];
};

/* 0, or -ENOMEM with nothing to release. */
int journal_row_operation(const struct operation_record *operation, struct journal_row *ret_row);
int journal_row_step(const struct operation_record *operation, const struct step_record *step,
		     struct journal_row *ret_row);
int journal_row_drain(const struct drain_record *drain, struct journal_row *ret_row);
int journal_row_rate(enum rate_kind kind, const struct measured_rate *rate, struct journal_row *ret_row);
int journal_row_hint(const struct hint_record *hint, struct journal_row *ret_row);
void journal_row_done(struct journal_row *row);

/*
 * The writer creates file and schema and checks them; a reader is opened after it. In both, nothing
 * that stands in the file can make SQLite run code (trusted_schema off, defensive).
 */
int journal_store_open(const char *path, bool writer, struct journal_store **ret_store,
		       struct failure *failure);
struct journal_store *journal_store_close(struct journal_store *store);
CLEANUP_DEFINE(struct journal_store *, journal_store_close)

int journal_store_begin(struct journal_store *store, struct failure *failure);
/*
 * -EEXIST: the actor has used this key already. After an error the transaction can only be rolled
 * back.
 */
int journal_store_write(struct journal_store *store, const struct journal_row *row,
			struct failure *failure);
int journal_store_commit(struct journal_store *store, struct failure *failure);
void journal_store_rollback(struct journal_store *store);

/* As the functions of the same name in journal.h. */
int journal_store_load_operations(struct journal_store *store, bool only_open,
				  const char *before_id, size_t count,
				  struct operation_record ***ret_records, size_t *ret_count,
				  struct failure *failure);
int journal_store_load_operation(struct journal_store *store, const char *id,
				 struct operation_record **ret_record, struct failure *failure);
int journal_store_load_key(struct journal_store *store, const char *actor, const char *key,
			   struct operation_record **ret_record, struct failure *failure);
int journal_store_load_drains(struct journal_store *store, struct drain_record **ret_drains,
			      size_t *ret_count, struct failure *failure);
int journal_store_load_rates(struct journal_store *store, struct measured_rates *ret_rates, struct failure *failure);
int journal_store_load_hints(struct journal_store *store, struct hint_record *ret_hints, size_t count, size_t *ret_count,
			     struct failure *failure);

#endif
