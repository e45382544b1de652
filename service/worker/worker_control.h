/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running job's ear and voice: between two pieces of work it asks here whether to go on, and says how far it is.
 */
#ifndef BALLAST_SERVICE_WORKER_CONTROL_H
#define BALLAST_SERVICE_WORKER_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include "cleanup.h"
#include "worker_channel.h"

/* Progress is for people: more often than this only costs. */
#define WORKER_CONTROL_PROGRESS_MS 200

enum worker_control_state {
	WORKER_CONTROL_GO,
	WORKER_CONTROL_CANCELLED, /* asked to end, or nobody is there any more to work for */
	WORKER_CONTROL_DEADLINE,
};

struct worker_control {
	struct worker_channel *channel; /* borrowed; NULL: nobody to listen to (tests) */
	/* Any thread may read them; only the one that listens learns of them. */
	_Atomic bool is_cancelled, is_paused;
	uint64_t deadline_ms;		/* of the monotonic clock; 0: none */
	/*
	 * The newest word on pacing; has_limit says that there was one. guest_pause_us is the worst since whoever used
	 * it last set it to 0.
	 */
	bool has_limit;
	uint64_t bytes_per_s, guest_pause_us;
	uint32_t stall_us;
	uint64_t progress_at_ms;
};


void worker_control_init(struct worker_control *control, struct worker_channel *channel);
/* From now on; 0: none. */
void worker_control_set_deadline(struct worker_control *control, uint64_t deadline_ms);

/* Takes what was said meanwhile. Returns at once, unless paused: then it waits for resume, cancel or the deadline. */
enum worker_control_state worker_control_poll(struct worker_control *control);
/* The same, and waits pause_us, shorter where there is a reason to end. */
enum worker_control_state worker_control_wait(struct worker_control *control, uint64_t pause_us);

/*
 * Takes what is said within wait_us, and returns at the first word, or as soon as wake_fd (-1: none) can be read. Also
 * while paused: is_paused then says so. For a job whose work is done by other threads.
 */
enum worker_control_state worker_control_listen(struct worker_control *control, int wake_fd, uint64_t wait_us);

/* Dropped where the last one was a moment ago or has not been read yet. */
void worker_control_progress(struct worker_control *control, uint64_t done_bytes, uint64_t total_bytes,
			     const char *detail, ...) PRINTF_LIKE(4, 5);

/*
 * Makes SIGTERM and SIGALRM interrupt a system call and do nothing else: the reason is then found by polling. After
 * a SIGTERM the alarm comes once a second, so that a signal that came just before the call does not get lost.
 */
void worker_control_catch_signals(void);
/* Alarms after timeout_ms, then every 100 ms until it is called with 0. */
void worker_control_set_alarm(uint32_t timeout_ms);

#endif
