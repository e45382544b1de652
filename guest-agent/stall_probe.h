/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long this guest is kept from running, measured by a thread that does next to nothing but look
 * at the clock and touch a few pages of its own.
 */
#ifndef BALLAST_AGENT_STALL_PROBE_H
#define BALLAST_AGENT_STALL_PROBE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sysroot;

/* A sample each millisecond, so that a pause of one shows; that costs about 2 % of one CPU. */
#define STALL_PROBE_TICK_NS 1000000
/* Where it costs more, as under emulation, samples are rarer: the sleep is so many times what the
 * sample before cost, but no longer than this. */
#define STALL_PROBE_REST_FACTOR 50
#define STALL_PROBE_TICK_MOST_NS 20000000

/* Eight buckets for each power of two of microseconds, so that a percentile is right to an eighth;
 * 2^40 us are twelve days. */
#define STALL_PROBE_BUCKETS (8 * 39)

struct stall_probe_sample {
	uint64_t longest_us; /* since the taking before */
	uint32_t samples;
	uint64_t p99_us; /* since the start: 99 of 100 samples were no longer */
};

/* Where the probe gets its time from; tests have their own. */
struct stall_probe_clock {
	uint64_t (*now_ns)(void *user);
	void (*sleep_until)(void *user, uint64_t when_ns);
	/* How long the caller has run, and has waited for a CPU, in all its life by its own kernel's
	 * scheduler; 0 where that does not tell. */
	void (*read_scheduler)(void *user, uint64_t *ret_ran_ns, uint64_t *ret_waited_ns);
	void *user;
};

struct stall_probe_tally {
	uint64_t longest_us, longest_of_all_us, all_samples;
	uint32_t samples;
	uint32_t buckets[STALL_PROBE_BUCKETS];
};

struct stall_probe {
	const struct sysroot *sysroot; /* borrowed */
	struct stall_probe_clock clock;
	uint64_t last_ns, last_ran_ns, last_waited_ns, tick_ns;
	uint8_t *pages; /* owned: NULL until it is first started */
	int wait_fd;	/* owned by the thread while it runs; -1 */
	pthread_t thread;
	bool is_running, has_lock;
	_Atomic bool stop;
	pthread_mutex_t lock;	       /* of the tally */
	struct stall_probe_tally tally;
};

void stall_probe_init(struct stall_probe *probe, const struct sysroot *sysroot);
/* Stops it. */
void stall_probe_done(struct stall_probe *probe);

/* Starts the thread, with an empty tally. 0, -EBUSY where it runs, -errno. */
int stall_probe_start(struct stall_probe *probe);
/* Waits for the thread's end, a tick or as long as the thread is kept from running. */
void stall_probe_stop(struct stall_probe *probe);
bool stall_probe_is_running(const struct stall_probe *probe);

void stall_probe_take(struct stall_probe *probe, struct stall_probe_sample *ret_sample);

/*
 * One sample: sleeps a tick, touches the pages (none where there are none), and counts what it took
 * longer than the tick, less what the scheduler explains. stall_probe_begin() sets the first
 * tick's start.
 */
void stall_probe_begin(struct stall_probe *probe);
void stall_probe_tick(struct stall_probe *probe);

#endif
