/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three ways of running a step share: one run, from its start or undo until it has finished.
 */
#ifndef BALLAST_SERVICE_STEP_RUNNER_PRIV_H
#define BALLAST_SERVICE_STEP_RUNNER_PRIV_H

#include <jansson.h>
#include "connection.h"
#include "placement_change.h"
#include "placement_owed.h"
#include "step_runner.h"

struct event;
struct look_watch;
struct step_look;
struct stall_feed;

enum step_way { STEP_WAY_WORKER, STEP_WAY_LIBVIRT, STEP_WAY_AGENT, STEP_WAY_ENGINE };

struct step_run {
	struct step_runner *runner;	/* borrowed */
	void *token;
	bool undoing, cancelled;
	struct step step;		/* a copy */
	char operation[OPERATION_ID_SIZE];
	bool persists;			/* the operation wants the next start of the guest to agree */
	uint64_t start_bytes;		/* the guest's size when the operation began */
	uint64_t deadline_ms;		/* the operation's, wall clock; 0: none */
	json_t *before;			/* owned; NULL: none */
	struct placement_owed owed;	/* prepare: what is still to be written down of where its guest belongs */
	executor_prepared_fn *prepared;	/* one of these three */
	executor_finished_fn *finished;
	executor_progress_fn *progress;
	struct executor_outcome outcome;
	char *result;			/* owned, JSON text */
	/* worker */
	struct worker *worker;		/* borrowed until its result */
	uint64_t bytes_per_s;		/* MOVE_PAGES: what it may move now; of a rate that is shared its part */
	bool shares, paused;
	bool gives_way;			/* ended because a migration of the guest began */
	struct stall_feed *feed;	/* owned; NULL: nobody listens to what the guest feels */
	/* agent */
	uint32_t request;
	bool restoring;			/* the lease is released, pools are being given back */
	struct placement_change *changes; /* owned; undo: while it is looked for what somebody else has changed */
	uint64_t kept_bytes;		/* undo of FREE_HUGE_PAGES: what a commit has kept of it */
	struct look_watch *watch;	/* owned; for libvirt too */
	/* libvirt */
	struct event *timer;		/* owned */
	struct step_look *look;		/* on its way; owned by the runner */
	unsigned phase;			/* of a size: step_size.c */
	bool is_tried, is_seen;		/* the size was asked for, at least perhaps; and has been seen to be requested */
	bool is_frozen, is_again;	/* by a migration; to be asked for again after it */
	bool is_taken_up;		/* a daemon before this one has begun the step */
	bool is_help;			/* the operation helps a request that is there: it has none of its own */
	bool is_foreign;		/* undo: what is requested now is of nobody here */
	uint64_t asked_bytes;		/* requested when it began */
	uint64_t target_bytes, from_bytes, last_bytes, changed_at_ms, began_at_ms, give_up_at_ms, boot_count;
	struct {
		bool is_reported, veto;
		uint64_t spare_bytes, floor_bytes;
		unsigned reports;
	} await;			/* the agent's word when the waiting began */
	size_t calls;			/* on their way */
	bool is_finished;
	struct step_run *next;
};

struct step_runner {
	struct step_runner_options options;
	struct executor executor;
	struct step_run *runs;		/* owned */
	struct step_run *finished;	/* owned: told, to be freed in the next turn */
	struct event *reap;		/* owned */
	struct step_look *looks;	/* owned */
};

enum step_way step_way_of(enum step_kind kind);

/* Tells the engine and gives the run up. Nothing may touch it afterwards in this turn but to return. */
void step_run_finish(struct step_run *run);
void step_run_fail(struct step_run *run, enum remainder_code code, uint64_t bytes, const char *detail, ...)
	PRINTF_LIKE(4, 5);
void step_run_prepared(struct step_run *run, int error, const struct failure *failure);
/* Milliseconds left until the operation's deadline, at least 1000; fallback_ms without one. */
uint32_t step_run_left_ms(const struct step_run *run, uint32_t fallback_ms);
const struct snapshot_guest *step_run_guest(const struct step_run *run);
/* Adds to the values before whose they are: a guest that was started anew has none of them. */
void step_run_note_process(struct step_run *run);
/* Goes the way of its kind. */
void step_run_begin(struct step_run *run);
/* All of it is done. */
void step_run_done(struct step_run *run, const char *detail);
/*
 * Looks afresh at the run's guest (LOOK_*); looked comes later, and not at all once the run has finished. One at a time.
 */
void step_run_look(struct step_run *run, unsigned what, void (*looked)(struct step_run *run, int error));

/* Ends a prepare whose own values are there: with what the step owes beside them, where that can be looked at. */
void step_changed_prepared(struct step_run *run);
/* Begins an undo, unless somebody else has changed what it would put back: then it is done, with that as its remainder. */
void step_changed_begin(struct step_run *run, const struct operation_record *operation, const struct step_record *record);

void step_worker_prepare(struct step_run *run);
void step_worker_start(struct step_run *run);
void step_worker_cancel(struct step_run *run);
/* A move has begun, ended or paused: tells the others what they may move now. */
void step_worker_share(struct step_runner *runner);

void step_libvirt_prepare(struct step_run *run);
void step_libvirt_start(struct step_run *run);
void step_libvirt_cancel(struct step_run *run);
/* False once the run has failed for it. */
bool step_libvirt_worked(struct step_run *run, const struct connection_result *result);
/* Of the run's guest, with the run as userdata. False where it cannot be submitted: the run has failed. */
bool step_libvirt_submit(struct step_run *run, struct connection_call *call, connection_done_fn *done);

void step_size_start(struct step_run *run);
void step_size_cancel(struct step_run *run);
uint64_t step_size_requested(const struct step_run *run, const struct snapshot_guest *guest);
/* A size unchanged for so long has stopped changing. */
uint32_t step_size_flat_ms(const struct step_run *run);

void step_await_start(struct step_run *run);
void step_await_cancel(struct step_run *run);

void step_agent_start(struct step_run *run);
void step_agent_cancel(struct step_run *run);

#endif
