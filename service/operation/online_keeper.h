/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks after how guests online what is plugged, where the daemon's configuration or the guest's policy asks for it: also
 * for memory that comes without an operation of ours. The agent sets it under a lease that is renewed; after a reboot it
 * is set again, and what it was before is back when nobody asks for it any more, or when nobody renews it.
 */
#ifndef BALLAST_SERVICE_ONLINE_KEEPER_H
#define BALLAST_SERVICE_ONLINE_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include "look.h"

struct event_base;
struct online_keeper;

/* The same for every guest and every daemon, so that a daemon that was restarted finds what the one before it set. */
#define ONLINE_KEEPER_LEASE UINT64_C(0x6f6e6c696e650001)
#define ONLINE_KEEPER_LEASE_MS 3600000u

struct online_keeper_options {
	struct event_base *base; /* borrowed, as look */
	struct look *look;
	bool is_movable;	 /* of guests whose policy says nothing */
	uint32_t ratio_percent;	 /* of auto-movable */
	uint32_t pace_ms;	 /* between looks while something stands under a lease; 0: 30000 */
	bool observe;		 /* nothing is set or given back */
	/* An operation works on the guest, and may have a policy of its own there for its time. */
	bool (*is_busy)(void *user, const char *guest);
	void *user;
};

struct online_keeper *online_keeper_new(const struct online_keeper_options *options);
/* What it has set stays under its lease. */
struct online_keeper *online_keeper_free(struct online_keeper *keeper);

/* The guest, its policy or its agent may have changed. */
void online_keeper_check(struct online_keeper *keeper, const char *guest);

#endif
