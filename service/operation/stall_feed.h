/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest feels while a step works on its memory: its agent is asked to watch, and what it says is passed on, as
 * advice. Nothing waits for it. An agent that is not there, cannot, stays silent or lies costs the step nothing but
 * the pace that it asks for.
 */
#ifndef BALLAST_SERVICE_STALL_FEED_H
#define BALLAST_SERVICE_STALL_FEED_H

#include <stdint.h>

struct event_base;
struct look;
struct stall_feed;

/* No pause is longer, and there are no more samples, than the watch had time for, whatever the agent says. */
struct stall_feed_felt {
	uint64_t longest_us;
	uint64_t p99_us;	/* 99 of 100 samples were no longer; the worst of several watches */
	uint64_t samples;	/* 0: nothing was heard */
};

struct stall_feed_options {
	struct event_base *base;	/* borrowed, as the next two: live longer than the feed */
	struct look *look;
	const char *guest;		/* its UUID; copied */
	/* The longest pause since the last call. From the loop, never from inside stall_feed_new(). */
	void (*felt)(void *user, uint64_t longest_us);
	void *user;
};

/* Begins as soon as there is an agent that can, and again after its restart. NULL where memory is short. */
struct stall_feed *stall_feed_new(const struct stall_feed_options *options);
/* No call comes any more; tells what was felt (ret_felt may be NULL). Accepts NULL, and returns it. */
struct stall_feed *stall_feed_end(struct stall_feed *feed, struct stall_feed_felt *ret_felt);

#endif
