/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every job of a worker is given, and how it says how it ended.
 */
#ifndef BALLAST_SERVICE_JOB_CONTEXT_H
#define BALLAST_SERVICE_JOB_CONTEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "worker_control.h"
#include "worker_message.h"

struct page_move_ops;
struct sysroot;

struct job_context {
	const struct sysroot *sysroot;	      /* borrowed */
	struct worker_control *control;	      /* borrowed */
	const struct worker_job *job;	      /* borrowed */
	const struct page_move_ops *move_ops; /* borrowed; NULL: the kernel's own */
	uint32_t heat_watch_ms; /* how long a move in an order watches first; 0: the usual time */
	uint32_t writeback_watch_ms; /* how long a page must be under writeback to count as stuck; 0: the usual time */
	uint32_t retry_pause_ms; /* the longest pause between two tries of a block; 0: as block_retry.h has it */
	int cpuset_error; /* -errno: it is not in the cpuset that it was to work in */
	const json_t *before;		      /* borrowed; UNDO: what BEFORE gave, never NULL there */
	enum worker_control_state stop;	      /* why it ends early; GO: it does not */
	struct worker_result *result;	      /* borrowed; to be filled */
};

/* Asks whether to go on, and remembers the answer in stop. To be called between pieces of work. */
bool job_context_go(struct job_context *context);
/* The same, and waits. */
bool job_context_wait(struct job_context *context, uint64_t pause_us);

/*
 * For what takes long and asks (slow_write.h); the context is its argument. 0; -ECANCELED with stop; -EAGAIN where there is
 * a pause: job_context_go() waits for its end, and it is to be begun anew.
 */
int job_context_look(void *context);

/* FAILED, with the failure. error is an errno of either sign; 0 where none applies. */
void job_context_fail(struct job_context *context, int error, const char *object, const char *action,
		      ...) PRINTF_LIKE(4, 5);
/*
 * The guest's process is gone or is another one now: FAILED, but an undo is DONE, because what it would put back has
 * ended with the guest.
 */
void job_context_guest_gone(struct job_context *context);

/* DONE with these values, which become the result's; FAILED where they are NULL, because memory was
 * short. */
void job_context_give(struct job_context *context, const char *object, json_t *values);

/* The object of facts in the result. NULL where memory is short. */
json_t *job_context_values(struct job_context *context);
/* The sentence "detail" in it; a later one is appended. */
void job_context_detail(struct job_context *context, const char *detail, ...) PRINTF_LIKE(2, 3);
/* A warning in it: something to know that failed nothing. */
void job_context_warn(struct job_context *context, enum remainder_code code, const char *object,
		      uint64_t bytes, const char *detail, ...) PRINTF_LIKE(5, 6);

/*
 * The outcome from what is there: cancelled where it was stopped by a cancel; done without a remainder; else partial,
 * or failed where nothing was done at all. Where it was stopped the remainder gets left_bytes with the reason.
 */
void job_context_settle(struct job_context *context, const char *object, uint64_t left_bytes,
			bool is_any_done);

/* "guest g1" of the step, or "process 4711". Returns text. */
const char *job_context_guest(const struct job_context *context, char text[96]);

#endif
