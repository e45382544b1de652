/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the guest's work can do without, taken back bite by bite through cgroup v2's
 * memory.reclaim: the page cache first, idle anonymous memory where there is swap. After each bite
 * the kernel's pressure tells what it did to that work.
 */
#ifndef BALLAST_AGENT_RECLAIM_H
#define BALLAST_AGENT_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct sysroot;

/*
 * A bite is as much as is gone in some milliseconds; one that did no harm is followed by one twice as
 * large, one that did half of what is allowed by one half as large.
 */
#define RECLAIM_BITE_BYTES	 (UINT64_C(16) << 20)
#define RECLAIM_BITE_LEAST_BYTES (UINT64_C(4) << 20)
#define RECLAIM_BITE_MOST_BYTES	 (UINT64_C(128) << 20)
/* What was taken and is missed is missed soon after: so long each bite's harm is looked at. */
#define RECLAIM_PAUSE_MS 100
/* After harm so long is waited, and looked again, before it is given up. */
#define RECLAIM_REST_MS 1000
/* So many bites in a row that got nothing: there is nothing more. So many that did harm, and of which not half was left
 * after the rest: there is nothing that the work does not want back at once. */
#define RECLAIM_TRIES 3

enum reclaim_outcome {
	RECLAIM_REACHED,
	RECLAIM_PRESSURE,     /* the guest's work is held up more than is allowed */
	RECLAIM_NOTHING_LEFT, /* the kernel finds no more that it could do without */
	RECLAIM_OUTCOME_COUNT
};

/* What passes while it works: the kernel's clock, or a test's. */
struct reclaim_time {
	uint64_t (*now_us)(void *user);
	void (*pause)(void *user, uint32_t ms);
	void *user;
};

/* Whether the kernel can, and where: the whole guest's cgroup. */
bool reclaim_is_supported(const struct sysroot *sysroot);

/*
 * Until target_bytes more are free than before, or as above. most_percent: how much of the time
 * some of the guest's work may wait for memory; where the kernel does not tell, bites stay small.
 * Takes long: for a child. 0, or -errno where it cannot even begin.
 */
int reclaim_run(const struct sysroot *sysroot, uint64_t target_bytes, uint32_t most_percent,
		const struct reclaim_time *time, enum reclaim_outcome *ret_outcome);

/* The real clock. */
extern const struct reclaim_time reclaim_real_time;

#endif
