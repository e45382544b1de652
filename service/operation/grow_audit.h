/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks after memory that came to a guest without an operation of ours: by a reboot, after which the driver plugs before
 * any agent runs, or by plain libvirt. The agent is asked what became of it, so that what is offline or in the wrong zone
 * stands in the guest's memory and is an event; huge pages that a shrink took from a pool are given back; and where the
 * guest's policy, or else the configuration, wants it the agent repairs what can be repaired without harm.
 */
#ifndef BALLAST_SERVICE_GROW_AUDIT_H
#define BALLAST_SERVICE_GROW_AUDIT_H

#include <stdbool.h>
#include <stdint.h>
#include "look.h"

struct event_base;
struct grow_audit;

/* Under which the agent keeps what it has offline in the middle of a repair. */
#define GROW_AUDIT_LEASE UINT64_C(0x7265706169720001)

struct grow_audit_options {
	struct event_base *base;	/* borrowed, as all here */
	struct look *look;
	uint32_t settle_ms;		/* a size unchanged for so long has come to its end; 0: 5000 */
	uint32_t pace_ms;		/* how often it is seen whether that is so; 0: twice in that time */
	bool repair;			/* where a guest's policy says nothing; also what was there, or an operation left so */
	uint32_t block_timeout_ms;	/* of a repair, for each block; 0: the agent's default */
	bool observe;			/* asks, and changes nothing */
	/* An operation works on the guest: it does all this itself. */
	bool (*is_busy)(void *user, const char *guest);
	void *user;
};

struct grow_audit *grow_audit_new(const struct grow_audit_options *options);
struct grow_audit *grow_audit_free(struct grow_audit *audit);

/* The guest may have changed. */
void grow_audit_check(struct grow_audit *audit, const char *guest);

#endif
