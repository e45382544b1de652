/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's view of the world: how to look, and how to run one step. The daemon fills it with kernel workers,
 * libvirt and agents; a test fills it with a scripted world.
 *
 * All functions are called on the loop's thread. Each answer comes exactly once, through the function given, either
 * inside the call or later; after executor_cancel() it still comes.
 */
#ifndef BALLAST_SERVICE_EXECUTOR_H
#define BALLAST_SERVICE_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>
#include "failure.h"
#include "operation_record.h"
#include "remainder.h"
#include "snapshot.h"
#include "step.h"

struct executor_outcome {
	enum step_state state;		/* DONE, PARTIAL or FAILED */
	uint64_t bytes_done, reached_bytes, longest_pause_us;
	bool flat;
	bool kernel_stuck;		/* a worker outlived SIGKILL: the engine keeps the operation's locks */
	int stuck_pid;			/* that worker: engine_stuck_gone() tells of its end */
	char detail[160];
	struct remainder_list remainder;
	const char *result;		/* borrowed for the call; JSON text or NULL */
};

/* error 0, and before: JSON text of the values to be replaced (NULL: none to keep); else -errno with failure. */
typedef void executor_prepared_fn(void *token, int error, const char *before, const struct failure *failure);
typedef void executor_progress_fn(void *token, uint64_t done_bytes, uint64_t total_bytes, const char *detail);
typedef void executor_finished_fn(void *token, const struct executor_outcome *outcome);
/* error 0: snapshot is borrowed until the next turn of the loop. */
typedef void executor_looked_fn(void *token, int error, const struct snapshot *snapshot, const struct failure *failure);

struct executor {
	void *user;
	/* Looks afresh at what this operation is about (its guest's residency and agent, or the whole host). */
	void (*look)(void *user, const struct operation_record *operation, executor_looked_fn *looked, void *token);
	/* Reads the values that the step will replace. Touches nothing. */
	void (*prepare)(void *user, const struct operation_record *operation, const struct step_record *record,
			const struct snapshot *snapshot, executor_prepared_fn *prepared, void *token);
	void (*start)(void *user, const struct operation_record *operation, const struct step_record *record,
		      const struct snapshot *snapshot, executor_progress_fn *progress, executor_finished_fn *finished,
		      void *token);
	/* Puts record->before back; must be right from any state between "not begun" and "done", and twice. */
	void (*undo)(void *user, const struct operation_record *operation, const struct step_record *record,
		     executor_progress_fn *progress, executor_finished_fn *finished, void *token);
	/* Asks a running start or undo to end soon; also one that is paused. */
	void (*cancel)(void *user, void *token);
	void (*pause)(void *user, void *token, bool paused);
};

#endif
