/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must survive a crash: operations, their steps with the values they replaced, drains and their holds, and hints.
 * SQLite (WAL, synchronous=FULL) in a thread of its own; a change is durable when its callback comes.
 *
 * Writes are applied in the order in which they were submitted; several may share a transaction, and those between
 * journal_begin() and journal_end() always do. When the disk refuses
 * (full, I/O error) the callback says so and every later write fails with the same failure until one succeeds:
 * the engine then begins no new step.
 */
#ifndef BALLAST_SERVICE_JOURNAL_H
#define BALLAST_SERVICE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "failure.h"
#include "hint_record.h"
#include "operation_record.h"

struct journal;

/*
 * Opens or creates the file (mode 0600) and checks its schema and, after an unclean end, its integrity.
 * A damaged or newer file is refused with a way out; it is never replaced.
 */
int journal_open(const char *path, struct journal **ret_journal, struct failure *failure);
/* Finishes what was submitted, without callbacks. */
struct journal *journal_close(struct journal *journal);

/* Readable when callbacks wait: call journal_dispatch() on the loop's thread. */
int journal_fd(const struct journal *journal);
void journal_dispatch(struct journal *journal);

typedef void journal_written_fn(void *user, int error, const struct failure *failure);

/*
 * Each copies what it is given before it returns. written may be NULL.
 * journal_put_operation() writes the operation's own columns (insert or update), journal_put_step() one step of it.
 */
int journal_put_operation(struct journal *journal, const struct operation_record *operation,
			  journal_written_fn *written, void *user);
int journal_put_step(struct journal *journal, const struct operation_record *operation,
		     const struct step_record *step, journal_written_fn *written, void *user);
/* A drain and its hold; a released one stays for the record, without a hold. */
int journal_put_drain(struct journal *journal, const struct drain_record *drain, journal_written_fn *written, void *user);

/* How fast this host has been at something; the latest stands. */
int journal_put_rate(struct journal *journal, enum rate_kind kind, const struct measured_rate *rate,
		     journal_written_fn *written, void *user);

/* What was said of a piece of memory; the latest stands. With a count of 0 it is forgotten. */
int journal_put_hint(struct journal *journal, const struct hint_record *hint, journal_written_fn *written, void *user);

/*
 * Writes between begin and end are one transaction: all of them, or none. They may be nested; the outermost counts.
 */
void journal_begin(struct journal *journal);
void journal_end(struct journal *journal);

/*
 * Blocking reads, for the start of the daemon and for history, of what is durable: a write whose callback has not come
 * may be missing. Operations come newest first, at most count, older than before_id (NULL: from the newest); only those
 * not final with only_open.
 */
int journal_load_operations(struct journal *journal, bool only_open, const char *before_id, size_t count,
			    struct operation_record ***ret_records, size_t *ret_count, struct failure *failure);
int journal_load_operation(struct journal *journal, const char *id, struct operation_record **ret_record,
			   struct failure *failure);	/* -ENOENT */
int journal_load_drains(struct journal *journal, struct drain_record **ret_drains, size_t *ret_count,
			struct failure *failure);
/* Kinds that this version does not know are left out. */
int journal_load_rates(struct journal *journal, struct measured_rates *ret_rates, struct failure *failure);
/* At most count, those that were said last. */
int journal_load_hints(struct journal *journal, struct hint_record *ret_hints, size_t count, size_t *ret_count,
		       struct failure *failure);
/* The operation that was created with this key, or -ENOENT. */
int journal_find_key(struct journal *journal, const char *actor, const char *key,
		     struct operation_record **ret_record, struct failure *failure);

#endif
