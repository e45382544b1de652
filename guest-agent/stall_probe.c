/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. When the host moves a page of the guest, whoever touches it waits in the
 * host for the copy, and his virtual CPU with him. Two things of the probe wait likewise: its wake-up,
 * where the CPU it is to wake on stands still, and its writes to pages of its own, which lie spread
 * over guest memory and are moved with the rest. So a sample is the time from the end of the sample
 * before, less the sleep that was asked for. The pages stay from the first start on: each making of them
 * touches 32 times as many, which may be memory that the host never had to give before.
 *
 * A busy guest makes its threads wait too, and that is nobody's fault but its own. The scheduler
 * counts how long a thread was ready and did not run (/proc/thread-self/schedstat,
 * Documentation/scheduler/sched-stats.rst); that is subtracted. What stays in is what the guest
 * cannot tell from a stall: a host without a free CPU, and an interrupt that takes long.
 */
#include "stall_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "cleanup.h"
#include "clock.h"
#include "sysroot.h"

/*
 * The pages: one in 32 of 8 MiB, whose rest is given back. Pages that are asked for one after the
 * other lie one after the other, and a host moves what lies in one huge page of it together: 64
 * neighbours would feel what one page feels.
 */
#define PAGE_COUNT 64
#define STRIDE_PAGES 32

/* Less than the tick by far: a sleep is else rounded up by 50 us (prctl(2), PR_SET_TIMERSLACK). */
#define TIMER_SLACK_NS 1000

/* It sleeps, reads a file of a line, and counts; the rest is for a sanitizer. */
#define STACK_BYTES (256u << 10)

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static uint64_t read_now(void *user)
{
	return monotonic_ns();
}

static void sleep_until(void *user, uint64_t when_ns)
{
	struct timespec when = {.tv_sec = (time_t)(when_ns / 1000000000),
				.tv_nsec = (long)(when_ns % 1000000000)};

	/* No signal comes here: all are blocked. */
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static void read_scheduler(void *user, uint64_t *ret_ran_ns, uint64_t *ret_waited_ns)
{
	struct stall_probe *probe = user;
	uint64_t ran, waited;
	char text[96];

	*ret_ran_ns = *ret_waited_ns = 0;
	if (probe->wait_fd < 0)
		return;
	ssize_t count = pread(probe->wait_fd, text, sizeof(text) - 1, 0);

	if (count <= 0)
		return;
	text[count] = '\0';
	if (sscanf(text, "%" SCNu64 " %" SCNu64, &ran, &waited) != 2)
		return;
	*ret_ran_ns = ran;
	*ret_waited_ns = waited;
}

void stall_probe_init(struct stall_probe *probe, const struct sysroot *sysroot)
{
	memset(probe, 0, sizeof(*probe));
	probe->sysroot = sysroot;
	probe->wait_fd = -1;
	probe->clock = (struct stall_probe_clock){.now_ns = read_now,
						  .sleep_until = sleep_until,
						  .read_scheduler = read_scheduler,
						  .user = probe};
	pthread_mutex_init(&probe->lock, NULL);
	probe->has_lock = true;
}

static void free_pages(struct stall_probe *probe)
{
	if (probe->pages)
		munmap(probe->pages, PAGE_COUNT * STRIDE_PAGES * page_bytes());
	probe->pages = NULL;
}

void stall_probe_done(struct stall_probe *probe)
{
	stall_probe_stop(probe);
	free_pages(probe);
	if (probe->has_lock)
		pthread_mutex_destroy(&probe->lock);
	probe->has_lock = false;
}

/* Below 8 each number has its own; from there on the power of two and the next three bits. */
static size_t bucket_of(uint64_t us)
{
	if (us < 8)
		return (size_t)us;
	unsigned power = 63u - (unsigned)__builtin_clzll(us);
	size_t bucket = (size_t)(power - 2) * 8 + (size_t)(us >> (power - 3) & 7);

	return bucket < STALL_PROBE_BUCKETS ? bucket : STALL_PROBE_BUCKETS - 1;
}

/* The largest number in the bucket; the last has no end. */
static uint64_t bucket_end(size_t bucket)
{
	if (bucket < 8)
		return bucket;
	if (bucket == STALL_PROBE_BUCKETS - 1)
		return UINT64_MAX;
	return ((8 + (uint64_t)bucket % 8 + 1) << (bucket / 8 - 1)) - 1;
}

static void count(struct stall_probe_tally *tally, uint64_t us)
{
	tally->samples++;
	tally->all_samples++;
	tally->buckets[bucket_of(us)]++;
	if (us > tally->longest_us)
		tally->longest_us = us;
	if (us > tally->longest_of_all_us)
		tally->longest_of_all_us = us;
}

static uint64_t percentile_99(const struct stall_probe_tally *tally)
{
	uint64_t wanted = (tally->all_samples * 99 + 99) / 100, seen = 0;

	for (size_t i = 0; i < STALL_PROBE_BUCKETS; i++) {
		seen += tally->buckets[i];
		if (seen >= wanted)
			return bucket_end(i) < tally->longest_of_all_us ? bucket_end(i)
									: tally->longest_of_all_us;
	}
	return tally->longest_of_all_us;
}

void stall_probe_take(struct stall_probe *probe, struct stall_probe_sample *ret_sample)
{
	struct stall_probe_tally tally;

	pthread_mutex_lock(&probe->lock);
	tally = probe->tally;
	probe->tally.longest_us = 0;
	probe->tally.samples = 0;
	pthread_mutex_unlock(&probe->lock);
	*ret_sample = (struct stall_probe_sample){.longest_us = tally.longest_us,
						  .p99_us = percentile_99(&tally),
						  .samples = tally.samples};
}

void stall_probe_begin(struct stall_probe *probe)
{
	probe->clock.read_scheduler(probe->clock.user, &probe->last_ran_ns,
				    &probe->last_waited_ns);
	probe->tick_ns = STALL_PROBE_TICK_NS;
	probe->last_ns = probe->clock.now_ns(probe->clock.user);
}

static void touch(struct stall_probe *probe)
{
	size_t stride = STRIDE_PAGES * page_bytes();

	for (size_t i = 0; probe->pages && i < PAGE_COUNT; i++) {
		volatile uint8_t *byte = probe->pages + i * stride;

		(*byte)++;
	}
}

static uint64_t rest_after(uint64_t cost_ns)
{
	if (cost_ns < STALL_PROBE_TICK_NS / STALL_PROBE_REST_FACTOR)
		return STALL_PROBE_TICK_NS;
	return cost_ns < STALL_PROBE_TICK_MOST_NS / STALL_PROBE_REST_FACTOR
		       ? cost_ns * STALL_PROBE_REST_FACTOR
		       : STALL_PROBE_TICK_MOST_NS;
}

void stall_probe_tick(struct stall_probe *probe)
{
	const struct stall_probe_clock *clock = &probe->clock;
	uint64_t wanted = probe->last_ns + probe->tick_ns, ran, waited;

	clock->sleep_until(clock->user, wanted);
	touch(probe);
	/* What follows is part of the next sample, so that no time is without one. */
	uint64_t now = clock->now_ns(clock->user);

	clock->read_scheduler(clock->user, &ran, &waited);
	uint64_t late = now > wanted ? now - wanted : 0;
	uint64_t explained =
		waited > probe->last_waited_ns ? waited - probe->last_waited_ns : 0;

	probe->tick_ns = rest_after(ran > probe->last_ran_ns ? ran - probe->last_ran_ns : 0);
	probe->last_ns = now;
	probe->last_ran_ns = ran;
	probe->last_waited_ns = waited;
	pthread_mutex_lock(&probe->lock);
	count(&probe->tally, late > explained ? (late - explained) / 1000 : 0);
	pthread_mutex_unlock(&probe->lock);
}

static void *run(void *user)
{
	struct stall_probe *probe = user;

	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	/* Opened by the thread itself: thread-self is whoever opens. */
	probe->wait_fd = sysroot_open(probe->sysroot, O_RDONLY, "/proc/thread-self/schedstat");
	stall_probe_begin(probe);
	while (!probe->stop)
		stall_probe_tick(probe);
	cleanup_close(&probe->wait_fd);
	probe->wait_fd = -1;
	return NULL;
}

static int make_pages(struct stall_probe *probe)
{
	size_t page = page_bytes(), stride = STRIDE_PAGES * page, size = PAGE_COUNT * stride;
	uint8_t *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return -errno;
	/* A huge page would be one place and not 64; a child's copy would make each write a fault. */
	madvise(pages, size, MADV_NOHUGEPAGE);
	madvise(pages, size, MADV_DONTFORK);
	for (size_t at = 0; at < size; at += page)
		pages[at] = 1;
	for (size_t at = 0; at < size; at += stride) {
		madvise(pages + at + page, stride - page, MADV_DONTNEED);
		/* Swapping is no stall of the host's. Where it is not allowed the pages are still in use. */
		mlock(pages + at, page);
	}
	probe->pages = pages;
	return 0;
}

static int start_thread(struct stall_probe *probe)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int error = pthread_attr_init(&attributes);

	if (error)
		return -error;
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	/* The agent's signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&probe->thread, &attributes, run, probe);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -error;
}

int stall_probe_start(struct stall_probe *probe)
{
	int error;

	if (probe->is_running)
		return -EBUSY;
	error = probe->pages ? 0 : make_pages(probe);
	if (error < 0)
		return error;
	memset(&probe->tally, 0, sizeof(probe->tally));
	probe->stop = false;
	error = start_thread(probe);
	probe->is_running = error == 0;
	return error;
}

void stall_probe_stop(struct stall_probe *probe)
{
	if (!probe->is_running)
		return;
	probe->stop = true;
	pthread_join(probe->thread, NULL);
	probe->is_running = false;
}

bool stall_probe_is_running(const struct stall_probe *probe)
{
	return probe->is_running;
}
