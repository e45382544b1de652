/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a lazy move looks again and when it ends: pure, so that tests need no time.
 */
#ifndef BALLAST_SERVICE_LAZY_JOB_PRIV_H
#define BALLAST_SERVICE_LAZY_JOB_PRIV_H

#include <stdint.h>

enum lazy_verdict {
	LAZY_VERDICT_GO,
	LAZY_VERDICT_ALL,   /* nothing is left */
	LAZY_VERDICT_TIME,  /* timeout_ms is over */
	LAZY_VERDICT_STILL, /* nothing has followed for a good while */
};

struct lazy_watch {
	uint64_t began_ms, until_ms, gained_at_ms;
	uint64_t start_bytes, lowest_bytes;
};

/* timeout_ms 0: no end of its own. */
void lazy_watch_begin(struct lazy_watch *watch, uint64_t left_bytes, uint64_t timeout_ms, uint64_t now_ms);
/* One more look at what is left. */
enum lazy_verdict lazy_watch_look(struct lazy_watch *watch, uint64_t left_bytes, uint64_t now_ms);
/* How long to wait before the next, after one that cost survey_us of a CPU. */
uint64_t lazy_watch_pause_us(const struct lazy_watch *watch, uint64_t survey_us, uint64_t now_ms);

#endif
