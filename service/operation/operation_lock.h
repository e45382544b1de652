/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may touch what: locks on targets, guests, huge page pools and memory hotplug, in that order.
 *
 * Target and guest are held for an operation's whole life, the others for one step. A step takes
 * all that it needs at once or nothing, and the holder of a pool or of hotplug never waits: so no
 * circle can close.
 */
#ifndef BALLAST_SERVICE_OPERATION_LOCK_H
#define BALLAST_SERVICE_OPERATION_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include "step.h"

enum operation_lock_kind {
	OPERATION_LOCK_TARGET,
	OPERATION_LOCK_GUEST,
	OPERATION_LOCK_POOL,
	OPERATION_LOCK_HOTPLUG,
};

struct operation_lock {
	enum operation_lock_kind kind;
	char name[96]; /* "node 3"; a guest's UUID; "1/2097152"; "" */
};

/* What is held, and by whom. Zero-initialise; operation_lock_table_done() at the end. */
struct operation_lock_table {
	size_t count;
	struct operation_lock_held {
		struct operation_lock lock;
		const void *owner; /* borrowed: compared, never followed */
		bool for_step;
	} * held; /* owned */
};

void operation_lock_table_done(struct operation_lock_table *table);

/* Who holds it, or NULL. */
const void *operation_lock_holder(const struct operation_lock_table *table,
				  const struct operation_lock *lock);

/*
 * Takes all locks or none. 0; -EBUSY with *ret_holder where another owner has one of them; -ENOMEM.
 * One that the owner holds already counts as taken.
 */
int operation_lock_take(struct operation_lock_table *table, const void *owner,
			const struct operation_lock *locks, size_t count, bool for_step,
			const void **ret_holder);

/* Of those taken for a step these: steps may run beside each other. Both return whether anything was released. */
bool operation_lock_release_step(struct operation_lock_table *table, const void *owner, const struct operation_lock *locks,
				 size_t count);
bool operation_lock_release_all(struct operation_lock_table *table, const void *owner);

/* What a step needs beside its operation's own locks. Returns how many. */
#define OPERATION_LOCK_STEP_MAX 3
size_t operation_lock_of_step(const struct step *step,
			      struct operation_lock locks[OPERATION_LOCK_STEP_MAX]);

#endif
