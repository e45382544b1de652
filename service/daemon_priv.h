/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's parts and what its files share: daemon.c starts and stops them, daemon_events.c tells the API's readers of what
 * happens, and daemon_backend.c answers what the API asks.
 */
#ifndef BALLAST_SERVICE_DAEMON_PRIV_H
#define BALLAST_SERVICE_DAEMON_PRIV_H

#include <jansson.h>
#include "daemon.h"
#include "engine.h"
#include "kernel_probe.h"
#include "look.h"
#include "rest_backend.h"

struct event;
struct event_base;
struct grow_audit;
struct guest_asks;
struct hold_keeper;
struct journal;
struct memory_hints;
struct online_keeper;
struct placement_keeper;
struct rate_keeper;
struct rest_server;
struct size_assistant;
struct step_runner;
struct sysroot;
struct worker_pool;
struct worker_stuck;

/* Operations whose last event is remembered: no more are at work at once on a host that gets on with them. */
#define EVENT_OPERATIONS 16

/* What was last told of an operation: only progress may be left out. */
struct told {
	char id[OPERATION_ID_SIZE];
	enum operation_state state;
	size_t step_count;
	uint64_t at_ms;
};

struct daemon {
	const struct config *config;
	struct plan_limits limits;
	struct event_base *base;
	struct sysroot *sysroot;
	struct journal *journal;
	struct worker_pool *pool;
	struct look *look;
	struct step_runner *runner;
	struct placement_keeper *keeper;
	struct rate_keeper *rates;
	struct size_assistant *assistant;	/* NULL: sizes that libvirt was asked for are left alone */
	struct grow_audit *audit;
	struct guest_asks *asks;
	struct online_keeper *onlining;
	struct engine *engine;
	struct memory_hints *hints;
	struct hold_keeper *holds;
	struct rest_backend backend;
	struct rest_server *rest;
	struct event *terminate, *interrupt, *look_timer, *watchdog, *learn, *keep_holds;
	struct kernel_probe probe;
	struct told told[EVENT_OPERATIONS];
	size_t told_next;
	bool looking;		/* the timer's look is under way */
	bool acting;		/* the first look has been: operations take their steps */
	unsigned failed_looks;
	bool stopping;
	bool has_undone;	/* an operation that took something back has ended since the guests' places were learnt */
	int lock_fd;
};

/* Wall clock. */
uint64_t daemon_now_ms(void *user);
/* Priorities as systemd reads them from standard error. failure: NULL where there is nothing more to say. */
void daemon_say(const char *priority, const struct failure *failure, const char *what);

/* As hints, the look and the engine call them; user is the daemon. What else follows from a change follows here. */
void daemon_events_hint(void *user, const struct snapshot_hint *hint);
/* As the keeper of what drains hold calls it. */
void daemon_events_came(void *user, const struct drain_record *drain, const struct remainder *what);
void daemon_events_look(void *user, enum look_change change, const char *uuid);
void daemon_events_engine(void *user, enum engine_change change, const struct operation_record *operation,
			  const struct drain_record *drain);

/* A worker is stuck: what it may still do nobody does beside it. 0 or -ENOMEM. */
int daemon_take_stuck(struct daemon *daemon, const struct worker_stuck *stuck);
/* A worker has become stuck in the kernel, or is so no more: a worker_pool_stuck_fn. */
void daemon_events_stuck(void *user, const struct worker_stuck *stuck, bool is_gone);
/* What systemctl status shows. */
void daemon_tell_status(const struct daemon *daemon);

/* Fills daemon->backend. */
void daemon_backend_init(struct daemon *daemon);
/* The object of GET /v1/host; a new reference. */
json_t *daemon_backend_host(void *user);

#endif
