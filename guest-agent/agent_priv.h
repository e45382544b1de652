/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's inside, shared by its loop, its verbs and their tests.
 */
#ifndef BALLAST_AGENT_AGENT_PRIV_H
#define BALLAST_AGENT_AGENT_PRIV_H

#include "agent.h"
#include "ask.h"
#include "evacuate.h"
#include "free_report.h"
#include "hooks.h"
#include "child_job.h"
#include "lease.h"
#include "port.h"
#include "quiet_pools.h"
#include "repair.h"
#include "session_guest.h"
#include "stall_probe.h"

/* A request whose answer waits for an undo. */
struct agent_answer {
	bool pending;
	uint64_t epoch;
	uint32_t request_id;
};

enum agent_undo_kind {
	AGENT_UNDO_NONE,
	AGENT_UNDO_LEASE, /* lease_id ends */
	AGENT_UNDO_TAKEN, /* pools that were taken are given back */
};

struct agent_undo {
	enum agent_undo_kind kind;
	struct child_job job;
	uint64_t lease_id;
	struct lease_entries entries; /* owned: what is being undone */
	struct agent_answer answer;   /* AGENT_UNDO_TAKEN */
	struct hooks hooks;	      /* those after a lease, when all else is undone */
	bool in_hooks;
	uint64_t hooks_since_ms;
	struct child_job_result result; /* of all else */
};

struct agent_release {
	uint64_t lease_id;
	struct agent_answer answer;
};

/* A WATCH_STALLS under way. */
struct agent_watch {
	struct stall_probe probe;
	struct agent_answer answer; /* pending: it runs */
	uint32_t interval_ms;
	uint64_t next_ms, end_ms;
};

/* An evacuation that has been asked for and begins when the repair that it ended has let go of its block. */
struct agent_waiting {
	struct agent_answer answer; /* pending: there is one */
	enum message_type type;
	struct message_evacuate request;
};

struct agent {
	const struct sysroot *sysroot; /* borrowed */
	struct agent_options options;
	uint8_t boot_id[MESSAGE_BOOT_ID_BYTES];
	uint64_t instance, started_ms, heartbeat_at_ms;
	struct port port;
	struct session_guest session;
	bool must_greet; /* the host was told of other features than there are now */
	struct lease_book book;
	struct quiet_pools quiet_pools;
	char udev_rule[LIMIT_RULE];	/* that onlines memory; empty: none did when it was looked */
	uint64_t udev_read_at_ms;	/* 0: never */
	struct evacuate evacuate;
	struct free_report free_report;
	struct repair repair;
	struct agent_waiting waiting;
	struct agent_watch watch;
	struct ask ask;
	struct agent_undo undo;
	struct agent_release releases[LIMIT_LEASES];
	struct message out; /* the answer being made */
	uint8_t input[SESSION_INPUT_BYTES], output[SESSION_OUTPUT_BYTES];
};

uint64_t agent_now(const struct agent *agent);
/* One line to standard error, where the service manager collects it. */
void agent_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* agent_verbs.c: answers a request, at once or later. */
void agent_verbs_handle(struct agent *agent, const struct session_guest_event *event,
			uint64_t now_ms);
void agent_verbs_send_result(struct agent *agent, uint64_t epoch, uint32_t request_id,
			     enum message_result_code code, int error, uint64_t value_bytes,
			     const char *format, ...) __attribute__((format(printf, 7, 8)));

/* Begins the evacuation that waits, once it can; there may be none. */
void agent_verbs_go_on(struct agent *agent, uint64_t now_ms);

/* agent_watch.c */
void agent_watch_init(struct agent *agent);
void agent_watch_done(struct agent *agent);
/* Takes the place of one that runs, which is answered. */
void agent_watch_begin(struct agent *agent, const struct session_guest_event *event,
		       uint64_t now_ms);
/* Tells of stalls when it is time, and ends it when its time is over. */
void agent_watch_step(struct agent *agent, uint64_t now_ms);
/* Answers it and ends it; false where no such request runs. */
bool agent_watch_cancel(struct agent *agent, uint64_t epoch, uint32_t request_id);
/* Ends it without an answer: nobody listens any more. */
void agent_watch_drop(struct agent *agent);
/* When to call agent_watch_step(). */
uint64_t agent_watch_deadline(const struct agent *agent);

/* agent_undo.c */
void agent_undo_init(struct agent *agent);
void agent_undo_done(struct agent *agent);
bool agent_undo_is_idle(const struct agent *agent);
/* Begins with a lease that has ended, if nothing else runs. */
void agent_undo_begin(struct agent *agent, uint64_t now_ms);
/* Gives taken pools back; -EBUSY while anything else runs. */
int agent_undo_restore(struct agent *agent, uint64_t limit_bytes, const struct agent_answer *answer,
		       uint64_t now_ms);
/* Looks after the child. */
void agent_undo_step(struct agent *agent, uint64_t now_ms);

#endif
