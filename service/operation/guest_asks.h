/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests ask for themselves: more memory, by the word of their agents. It is granted as far as the guest's policy lets
 * it ask (request_limit_bytes) and a resize to that size is not refused; the agent hears which, and why not. A grant is an
 * operation like any other, of OPERATION_ACTOR_GUEST.
 */
#ifndef BALLAST_SERVICE_GUEST_ASKS_H
#define BALLAST_SERVICE_GUEST_ASKS_H

#include <stdbool.h>
#include <stdint.h>
#include "failure.h"
#include "look.h"
#include "wish.h"

struct event_base;
struct guest_asks;

struct guest_asks_options {
	struct event_base *base; /* borrowed, as look */
	struct look *look;
	uint32_t pause_ms;	 /* a guest is heard again so long after its last answer; 0: 30000 */
	bool observe;		 /* nothing is granted */
	/* An operation works on the guest: it is heard when that has ended. */
	bool (*is_busy)(void *user, const char *guest);
	/* Begins the operation; guest_asks_decided() is then called once, inside the call or later. */
	void (*submit)(void *user, const struct wish *wish);
	void *user;
};

struct guest_asks *guest_asks_new(const struct guest_asks_options *options);
struct guest_asks *guest_asks_free(struct guest_asks *asks);

/* The guest, or the word of its agent, may have changed. */
void guest_asks_check(struct guest_asks *asks, const char *guest);
/* What has been submitted for the guest was begun, or refused with this failure. */
void guest_asks_decided(struct guest_asks *asks, const char *guest, const struct failure *failure);

#endif
