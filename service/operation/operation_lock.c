/* SPDX-License-Identifier: Apache-2.0 */
#include "operation_lock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void operation_lock_table_done(struct operation_lock_table *table)
{
	free(table->held);
	*table = (struct operation_lock_table){0};
}

static bool is_same(const struct operation_lock *a, const struct operation_lock *b)
{
	return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

const void *operation_lock_holder(const struct operation_lock_table *table,
				  const struct operation_lock *lock)
{
	for (size_t i = 0; i < table->count; i++)
		if (is_same(&table->held[i].lock, lock))
			return table->held[i].owner;
	return NULL;
}

int operation_lock_take(struct operation_lock_table *table, const void *owner,
			const struct operation_lock *locks, size_t count, bool for_step,
			const void **ret_holder)
{
	struct operation_lock_held *grown;

	for (size_t i = 0; i < count; i++) {
		const void *holder = operation_lock_holder(table, &locks[i]);

		if (holder && holder != owner) {
			*ret_holder = holder;
			return -EBUSY;
		}
	}
	grown = reallocarray(table->held, table->count + count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	table->held = grown;
	for (size_t i = 0; i < count; i++)
		if (!operation_lock_holder(table, &locks[i]))
			table->held[table->count++] =
				(struct operation_lock_held){locks[i], owner, for_step};
	return 0;
}

static bool is_among(const struct operation_lock *locks, size_t count, const struct operation_lock *lock)
{
	for (size_t i = 0; i < count; i++)
		if (is_same(&locks[i], lock))
			return true;
	return false;
}

bool operation_lock_release_step(struct operation_lock_table *table, const void *owner, const struct operation_lock *locks,
				 size_t count)
{
	size_t kept = 0, before = table->count;

	for (size_t i = 0; i < before; i++)
		if (table->held[i].owner != owner || !table->held[i].for_step ||
		    !is_among(locks, count, &table->held[i].lock))
			table->held[kept++] = table->held[i];
	table->count = kept;
	return kept != before;
}

bool operation_lock_release_all(struct operation_lock_table *table, const void *owner)
{
	size_t kept = 0, before = table->count;

	for (size_t i = 0; i < before; i++)
		if (table->held[i].owner != owner)
			table->held[kept++] = table->held[i];
	table->count = kept;
	return kept != before;
}

size_t operation_lock_of_step(const struct step *step,
			      struct operation_lock locks[OPERATION_LOCK_STEP_MAX])
{
	size_t count = 0;

	/* A child takes its guest's lock for its whole life, as its own. */
	if (step->guest[0] && step->kind != STEP_KIND_CHILD) {
		locks[count].kind = OPERATION_LOCK_GUEST;
		snprintf(locks[count++].name, sizeof(locks->name), "%s", step->guest);
	}
	if (step->kind == STEP_KIND_HOST_POOL) {
		locks[count].kind = OPERATION_LOCK_POOL;
		snprintf(locks[count++].name, sizeof(locks->name), "%d/%" PRIu64, step->node,
			 step->page_bytes);
	}
	/* Sets of slices are read, judged and written while no node comes or goes, and by one drain at a time. */
	if (step->kind == STEP_KIND_OFFLINE_BLOCKS || step->kind == STEP_KIND_ONLINE_BLOCKS ||
	    step->kind == STEP_KIND_EJECT || step->kind == STEP_KIND_SLICE_CPUSETS) {
		locks[count].kind = OPERATION_LOCK_HOTPLUG;
		locks[count++].name[0] = '\0';
	}
	return count;
}
