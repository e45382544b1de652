/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps memory empty that a drain has emptied and holds: what comes there while it is online is told with the drain, guests
 * are moved away again as far as the drain's own consents go, and huge pages that nobody uses are given back, until the drain is
 * undone. Slices that could not lose its node when the drain ended do so later. That a reboot has taken the drain's mark off the
 * cpusets of slices is told. On the loop's thread.
 */
#ifndef BALLAST_SERVICE_HOLD_KEEPER_H
#define BALLAST_SERVICE_HOLD_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include "engine.h"
#include "remainder.h"
#include "snapshot.h"

struct hold_keeper;

struct hold_keeper_options {
	struct engine *engine;			/* borrowed, as all here */
	const struct plan_limits *limits;
	bool moves;				/* else it is only told */
	bool observe;				/* likewise, because the daemon changes nothing at all */
	uint32_t pause_ms;			/* between two moves of one guest (or of a pool's pages), doubled each time; 0: 60000 */
	uint64_t (*now_ms)(void *user);		/* monotonic */
	/* The guest's memory is to be surveyed anew; what is seen then comes with the next hold_keeper_see(). */
	void (*survey)(void *user, const char *guest);
	/* A pool has given back what was to go, or (failure) not all of it: whoever is told looks at it. */
	void (*given_back)(void *user, const struct failure *failure);
	/* Something of that object has come, of which nothing stood there before: for the log. Borrowed for the call. */
	void (*came)(void *user, const struct drain_record *drain, const struct remainder *what);
	void *user;
};

/* NULL where memory is short. */
struct hold_keeper *hold_keeper_new(const struct hold_keeper_options *options);
/* Without callbacks. After the engine, which may answer until it has gone. */
struct hold_keeper *hold_keeper_free(struct hold_keeper *keeper);

/* This was seen. Not from inside a callback of the engine. */
void hold_keeper_see(struct hold_keeper *keeper, const struct snapshot *snapshot);

#endif
