/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs operations: look, decide, journal, act, look again; one at a time for each guest, in lock order
 * target, guest, pool, hotplug; undoes; goes on or undoes after a crash. On the loop's thread throughout.
 */
#ifndef BALLAST_SERVICE_ENGINE_H
#define BALLAST_SERVICE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "executor.h"
#include "failure.h"
#include "journal.h"
#include "operation_record.h"
#include "plan.h"
#include "snapshot.h"
#include "wish.h"

struct event_base;
struct engine;

enum engine_change {
	ENGINE_CHANGE_OPERATION,	/* state, progress or a step of an operation */
	ENGINE_CHANGE_DRAIN,
};

struct engine_options {
	struct event_base *base;	/* borrowed */
	struct journal *journal;	/* borrowed */
	const struct executor *executor;	/* borrowed */
	const struct plan_limits *limits;	/* borrowed */
	bool observe;			/* plan everything, change nothing */
	uint64_t (*now_ms)(void *user);	/* wall clock; a test gives its own */
	const char *boot_id;		/* of the running kernel, copied; NULL: not known, then no reboot is seen */
	/*
	 * Called after every change; for events and metrics. The records are borrowed for the call, and operation is
	 * NULL where a drain's has left memory. It may read the engine, not change it.
	 */
	void (*changed)(void *user, enum engine_change change, const struct operation_record *operation,
			const struct drain_record *drain);
	void *user;
};

int engine_new(const struct engine_options *options, struct engine **ret_engine, struct failure *failure);
/* Without callbacks. The executor answers nothing afterwards: it goes first, or engine_stop() has said idle. */
struct engine *engine_free(struct engine *engine);

/*
 * Takes up what the journal holds unfinished: goes on with it, or undoes it where its on_timeout or its being cancelled
 * says so. Call once; with engine_wait() before it where the executor cannot look yet. An operation whose guest is gone
 * ends with that reason.
 */
int engine_recover(struct engine *engine, struct failure *failure);

/*
 * A worker does not end, be it of a daemon before this one (then before engine_recover()) or of this: what that step locks is
 * its own until engine_stuck_gone(), as far as no operation has it, and who needs it waits, or is refused. step: its kind,
 * guest, node and size of pages count. text: what to say of it to people. 0 or -ENOMEM.
 */
int engine_stuck_add(struct engine *engine, int pid, const struct step *step, const char *text);
/* A stuck worker has ended, of whatever daemon: who waits for what it had goes on. */
void engine_stuck_gone(struct engine *engine, int pid);

/*
 * Tells the engine what was seen of the host, for drains that have left memory offline: one of which it is as it was left is
 * held, any other says attention with the bytes that are online, until they are offline again. After a reboot memory is, and
 * where somebody takes it online. A snapshot without blocks says nothing.
 */
void engine_see(struct engine *engine, const struct snapshot *snapshot);

/*
 * While it waits no operation but a check takes a step: all of them and their holds can be seen, and new ones be
 * accepted.
 */
void engine_wait(struct engine *engine, bool wait);

/* Begins no further step, lets running ones be cancelled, and calls idle when nothing runs. State is resumed later. */
void engine_stop(struct engine *engine, void (*idle)(void *user), void *user);

enum engine_submit_result {
	ENGINE_SUBMIT_ACCEPTED,		/* journalled; record is the operation */
	ENGINE_SUBMIT_ALREADY,		/* the wish is true as it stands: nothing to do */
	ENGINE_SUBMIT_REPLAYED,		/* the same idempotency key and body: record is that operation */
	ENGINE_SUBMIT_BUSY,		/* another operation has the target: 409; record is that one */
	ENGINE_SUBMIT_PLAN_CHANGED,	/* 412 */
	ENGINE_SUBMIT_REFUSED,		/* plan_check() said no: failure and blockers */
	ENGINE_SUBMIT_KEY_MISUSED,	/* 422: the key was used with another body */
	ENGINE_SUBMIT_OBSERVE_ONLY,	/* 409: the daemon only observes */
	ENGINE_SUBMIT_FAILED,		/* failure: could not look, or the journal refused */
};

struct engine_submission {
	const struct wish *wish;
	const char *actor;
	const char *expect_plan;	/* NULL: any */
	const char *idempotency_key;	/* NULL: none */
	const char *body_hash;		/* of the request's body, for the key */
	/*
	 * Of a move that keeps memory empty which the drain of its wish holds: how it stands among that drain's steps, so that
	 * whoever undoes these undoes it, too. Without its child, copied. NULL: it stands for itself.
	 */
	const struct step *newcomer;
};

struct engine_answer {
	enum engine_submit_result result;
	const struct operation_record *operation;	/* borrowed for the call; NULL where there is none */
	const struct drain_record *drain;		/* likewise; a drain's */
	const struct failure *failure;
	const struct remainder_list *blockers;
	const struct plan *plan;			/* PLAN_CHANGED, and dry runs */
};
typedef void engine_answer_fn(void *user, const struct engine_answer *answer);

/*
 * Looks, checks, plans, journals; answers once, when durable; a refusal may come inside the call. A newer resize of a
 * guest supersedes an older one.
 */
void engine_submit(struct engine *engine, const struct engine_submission *submission, engine_answer_fn *answer, void *user);
/* Looks and plans only. result is ACCEPTED with plan (also one with blockers), ALREADY, REFUSED or FAILED. */
void engine_dry_run(struct engine *engine, const struct wish *wish, engine_answer_fn *answer, void *user);
/* DELETE of a drain: an undrain operation. keep: for good, as in its wish. timeout_s 0: as long as its plan says. */
void engine_undrain(struct engine *engine, const char *drain, bool keep, uint32_t timeout_s, const char *actor, engine_answer_fn *answer,
		    void *user);

/* -ENOENT: no such operation. -EALREADY: it has ended. -EINPROGRESS: cancelling already. -EOPNOTSUPP: past its point of no return. */
int engine_cancel(struct engine *engine, const char *id, bool undo, struct failure *failure);
int engine_pause(struct engine *engine, const char *id, struct failure *failure);
int engine_resume(struct engine *engine, const char *id, struct failure *failure);

/* Those in memory (open ones and the last that ended), newest first; borrowed until the next turn of the loop. */
size_t engine_operations(const struct engine *engine, const struct operation_record **ret_records, size_t count);
const struct operation_record *engine_operation(const struct engine *engine, const char *id);
size_t engine_drains(const struct engine *engine, const struct drain_record **ret_drains, size_t count);
/* Its hold stands where hold.drain is not empty; what it covers is told from the start, held or not. */
const struct drain_record *engine_drain(const struct engine *engine, const char *id);
/*
 * Has it its hold, and was it told to begin later, and has not begun? So it is also while it waits for who works there when its
 * time has come.
 */
bool engine_drain_is_announced(const struct engine *engine, const struct drain_record *drain);
/* What the drain was begun with, its consents among it. 0, or -ENOENT where the journal has it no more. */
int engine_drain_wish(struct engine *engine, const char *id, struct wish *ret_wish);
/* Nodes that slices have back by a reboot of the host, of those that the drain has taken from them. 0: none. */
uint64_t engine_drain_lost_slices(struct engine *engine, const char *id);
/*
 * Could its nodes not be taken from all slices when that was tried last? Asks the journal where the drain has ended long ago.
 * Tried too often counts as no.
 */
bool engine_drain_left_slices(struct engine *engine, const char *id);
/*
 * A step that keeps memory empty which the drain holds, taken now: it is written down among the drain's own, and so undone with
 * them. The step is copied, the snapshot is of the last look. Answers once, failure NULL: it is done; else (its object is the
 * drain) it may be in part, but for a step that could not be prepared: of that nothing is written. It may come inside the call.
 */
typedef void engine_kept_fn(void *user, const struct failure *failure);
void engine_keep(struct engine *engine, const char *drain, const struct step *step, const struct snapshot *snapshot,
		 engine_kept_fn *answer, void *user);
/* What has come into memory that it has emptied. It is told as a change of the drain where it is another than before. */
void engine_drain_set_newcomers(struct engine *engine, const char *id, const struct remainder_list *newcomers);
/* The holds of the snapshot become those that stand now, and what is stuck there what is so now. 0 or -ENOMEM. */
int engine_see_holds(const struct engine *engine, struct snapshot *snapshot);
/* Which open operation works on this guest, or NULL. */
const struct operation_record *engine_guest_operation(const struct engine *engine, const char *uuid);
/* Does one, or may a worker that is stuck in the kernel still? */
bool engine_guest_is_busy(const struct engine *engine, const char *uuid);

#endif
