/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that no signal ends, because the kernel does not let go of them: what they may still do nobody may do beside
 * them.
 *
 * One that an operation of this daemon has begun: that has ended by then, and keeps its locks. One of a daemon before this
 * one: its operation was taken up from the journal and goes on as far as it can, so the locks are the worker's own, like
 * those of one without an operation. Either ends with the worker: then who waits for them goes on.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct engine_stuck *engine_stuck_of(const struct engine *engine, const void *holder)
{
	for (size_t i = 0; i < engine->stuck_count; i++)
		if (engine->stuck[i] == holder)
			return engine->stuck[i];
	return NULL;
}

const char *engine_stuck_holder_name(const struct engine *engine, const void *holder)
{
	const struct engine_stuck *stuck = engine_stuck_of(engine, holder);
	const struct operation *operation = holder;

	return stuck ? stuck->name : operation->record->id;
}

static const void *guest_holder(const struct engine *engine, const char *guest)
{
	struct operation_lock lock = {.kind = OPERATION_LOCK_GUEST};

	snprintf(lock.name, sizeof(lock.name), "%s", guest);
	return guest[0] ? operation_lock_holder(&engine->locks, &lock) : NULL;
}

const struct engine_stuck *engine_stuck_of_guest(const struct engine *engine, const char *guest)
{
	return engine_stuck_of(engine, guest_holder(engine, guest));
}

bool engine_guest_is_busy(const struct engine *engine, const char *uuid)
{
	return engine_guest_operation(engine, uuid) || guest_holder(engine, uuid);
}

static int first_stuck(const struct operation *operation)
{
	for (size_t i = 0; i < OPERATION_STUCK_MAX; i++)
		if (operation->stuck_pids[i])
			return operation->stuck_pids[i];
	return 0;
}

static void forget(struct operation *operation, int pid)
{
	for (size_t i = 0; i < OPERATION_STUCK_MAX; i++)
		if (operation->stuck_pids[i] == pid)
			operation->stuck_pids[i] = 0;
}

void engine_stuck_note(struct operation *operation, const struct executor_outcome *outcome)
{
	if (!outcome->kernel_stuck)
		return;
	operation->keeps_locks = true;
	for (size_t i = 0; i < OPERATION_STUCK_MAX; i++) {
		if (operation->stuck_pids[i])
			continue;
		operation->stuck_pids[i] = outcome->stuck_pid;
		return;
	}
}

void engine_stuck_see(const struct engine *engine, struct snapshot *snapshot)
{
	const struct operation_lock hotplug = {.kind = OPERATION_LOCK_HOTPLUG};
	const void *holder = operation_lock_holder(&engine->locks, &hotplug);
	const struct engine_stuck *stuck = engine_stuck_of(engine, holder);
	const struct operation *operation = stuck ? NULL : holder;
	char *text = snapshot->hotplug_stuck;

	text[0] = '\0';
	if (stuck)
		snprintf(text, sizeof(snapshot->hotplug_stuck), "%s", stuck->text);
	else if (operation && operation->keeps_locks)
		snprintf(text, sizeof(snapshot->hotplug_stuck), "worker %d of operation %s does not come back from the kernel",
			 first_stuck(operation), operation->record->id);
}

/* One by one: another stuck one may have some of them. 0 or -ENOMEM. */
static int take_locks(struct engine *engine, const struct engine_stuck *stuck)
{
	for (size_t i = 0; i < stuck->lock_count; i++) {
		const void *holder = NULL;

		if (operation_lock_take(&engine->locks, stuck, &stuck->locks[i], 1, false, &holder) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

int engine_stuck_add(struct engine *engine, int pid, const struct step *step, const char *text)
{
	struct engine_stuck **grown = reallocarray(engine->stuck, engine->stuck_count + 1, sizeof(struct engine_stuck *));
	struct engine_stuck *stuck = calloc(1, sizeof(*stuck));

	if (grown)
		engine->stuck = grown;
	if (!grown || !stuck) {
		free(stuck);
		return -ENOMEM;
	}
	stuck->pid = pid;
	snprintf(stuck->name, sizeof(stuck->name), "worker %d", pid);
	snprintf(stuck->text, sizeof(stuck->text), "%s", text);
	stuck->lock_count = operation_lock_of_step(step, stuck->locks);
	grown[engine->stuck_count++] = stuck;
	return take_locks(engine, stuck);
}

/* One of its own, or of a child of it. */
static bool is_stuck(const struct operation *operation)
{
	const struct operation_record *record = operation->record;

	if (first_stuck(operation))
		return true;
	for (size_t i = 0; i < record->step_count; i++) {
		const struct operation *child = record->steps[i].child_operation[0]
							? engine_find(operation->engine, record->steps[i].child_operation)
							: NULL;

		if (child && first_stuck(child))
			return true;
	}
	return false;
}

static bool free_own(struct engine *engine, int pid)
{
	bool is_released = false;

	for (size_t i = 0; i < engine->operation_count; i++)
		forget(engine->operations[i], pid);
	for (size_t i = 0; i < engine->operation_count; i++) {
		struct operation *operation = engine->operations[i];

		if (!operation->keeps_locks || is_stuck(operation))
			continue;
		operation->keeps_locks = false;
		if (operation->phase == OPERATION_PHASE_ENDED && operation_lock_release_all(&engine->locks, operation))
			is_released = true;
	}
	return is_released;
}

static bool free_orphans(struct engine *engine, int pid)
{
	size_t kept = 0, before = engine->stuck_count;
	bool is_released = false;

	for (size_t i = 0; i < before; i++) {
		struct engine_stuck *stuck = engine->stuck[i];

		if (stuck->pid != pid) {
			engine->stuck[kept++] = stuck;
			continue;
		}
		is_released = operation_lock_release_all(&engine->locks, stuck) || is_released;
		free(stuck);
	}
	engine->stuck_count = kept;
	/* What another of them has in its hands as well is that one's now. There is room in the table: something has gone. */
	for (size_t i = 0; is_released && i < kept; i++)
		take_locks(engine, engine->stuck[i]);
	return is_released;
}

void engine_stuck_gone(struct engine *engine, int pid)
{
	bool is_released = free_own(engine, pid);

	is_released = free_orphans(engine, pid) || is_released;
	if (is_released)
		operation_run_wake_parked(engine);
}

void engine_stuck_free_all(struct engine *engine)
{
	for (size_t i = 0; i < engine->stuck_count; i++)
		free(engine->stuck[i]);
	free(engine->stuck);
	engine->stuck = NULL;
	engine->stuck_count = 0;
}
