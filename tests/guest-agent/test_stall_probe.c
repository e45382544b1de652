/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe by a clock that jumps as told, and its thread by the real one.
 */
#include "stall_probe.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include "fake_guest.h"
#include "unit.h"

static struct fake_guest guest;
static struct stall_probe probe;
static uint64_t now_ns, ran_ns, waited_ns, late_ns, slept, asked_ns;

static uint64_t read_now(void *user)
{
	return now_ns;
}

static void sleep_until(void *user, uint64_t when_ns)
{
	asked_ns = when_ns - now_ns;
	if (when_ns > now_ns)
		now_ns = when_ns;
	now_ns += late_ns;
	slept++;
}

static void read_scheduler(void *user, uint64_t *ret_ran_ns, uint64_t *ret_waited_ns)
{
	*ret_ran_ns = ran_ns;
	*ret_waited_ns = waited_ns;
}

static void start(void)
{
	fake_guest_start(&guest);
	stall_probe_init(&probe, guest.sysroot);
	probe.clock = (struct stall_probe_clock){
		.now_ns = read_now, .sleep_until = sleep_until, .read_scheduler = read_scheduler};
	now_ns = 77000000;
	waited_ns = 5000;
	ran_ns = 3000;
	late_ns = slept = 0;
	stall_probe_begin(&probe);
}

static void stop(void)
{
	stall_probe_done(&probe);
	fake_guest_stop(&guest);
}

static void ticks(unsigned count, uint64_t late_us, uint64_t waited_us)
{
	late_ns = late_us * 1000;
	for (unsigned i = 0; i < count; i++) {
		waited_ns += waited_us * 1000;
		stall_probe_tick(&probe);
	}
}

static struct stall_probe_sample take(void)
{
	struct stall_probe_sample sample;

	stall_probe_take(&probe, &sample);
	return sample;
}

static void test_longest_and_percentile(void)
{
	struct stall_probe_sample sample;

	start();
	ticks(990, 5, 0);
	ticks(9, 2000, 0);
	ticks(1, 123456, 0);
	CHECK_INT(slept, 1000);
	sample = take();
	CHECK_INT(sample.samples, 1000);
	CHECK_INT(sample.longest_us, 123456);
	/* 990 of 1000 is just 99 of 100. */
	CHECK_INT(sample.p99_us, 5);
	/* The percentile is of all of them: 11 of 1001 are longer. */
	ticks(1, 2000, 0);
	sample = take();
	CHECK_INT(sample.samples, 1);
	CHECK_INT(sample.longest_us, 2000);
	CHECK_INT(sample.p99_us, 2047);
	stop();
}

static void test_taking_begins_anew(void)
{
	struct stall_probe_sample sample;

	start();
	sample = take();
	CHECK_INT(sample.samples, 0);
	CHECK_INT(sample.longest_us, 0);
	CHECK_INT(sample.p99_us, 0);
	ticks(3, 900, 0);
	take();
	ticks(1, 1, 0);
	sample = take();
	CHECK_INT(sample.samples, 1);
	CHECK_INT(sample.longest_us, 1);
	CHECK_INT(sample.p99_us, 900);
	stop();
}

/* A guest whose own threads push each other aside has no stall. */
static void test_scheduling_is_no_stall(void)
{
	struct stall_probe_sample sample;

	start();
	ticks(10, 4000, 4000);
	sample = take();
	CHECK_INT(sample.samples, 10);
	CHECK_INT(sample.longest_us, 0);
	ticks(1, 4000, 1500);
	CHECK_INT(take().longest_us, 2500);
	/* The kernel's two clocks need not agree to the nanosecond. */
	ticks(1, 10, 12);
	CHECK_INT(take().longest_us, 0);
	/* A count that falls back explains nothing. */
	waited_ns = 0;
	ticks(1, 700, 0);
	CHECK_INT(take().longest_us, 700);
	stop();
}

/* Percentiles are never below the truth, and above it by an eighth at most. */
static void test_percentiles_are_near(void)
{
	for (uint64_t us = 1; us < UINT64_C(1) << 39; us += us / 3 + 1) {
		struct stall_probe_sample sample;

		start();
		ticks(99, us, 0);
		ticks(1, us * 2, 0);
		sample = take();
		CHECK_INT(sample.longest_us, us * 2);
		CHECK_TRUE(sample.p99_us >= us);
		CHECK_TRUE(sample.p99_us <= us + us / 8);
		stop();
	}
	/* Beyond all buckets it is the longest. */
	start();
	ticks(1, UINT64_C(1) << 44, 0);
	CHECK_INT(take().p99_us, UINT64_C(1) << 44);
	stop();
}

/* As when the page with the counts is on its way itself. */
static void test_no_time_is_without_a_sample(void)
{
	start();
	stall_probe_tick(&probe);
	CHECK_INT(take().longest_us, 0);
	now_ns += STALL_PROBE_TICK_NS + 300000;
	stall_probe_tick(&probe);
	CHECK_INT(take().longest_us, 300);
	stop();
}

/* What a sample costs decides how soon the next one is. */
static void test_costs_little(void)
{
	start();
	ticks(2, 0, 0);
	CHECK_INT(asked_ns, STALL_PROBE_TICK_NS);
	ran_ns += 100000;
	ticks(1, 0, 0);
	ticks(1, 70, 0);
	CHECK_INT(asked_ns, 5000000);
	/* A longer sleep is no pause. */
	CHECK_INT(take().longest_us, 70);
	ran_ns += 10000000;
	ticks(1, 0, 0);
	ticks(1, 0, 0);
	CHECK_INT(asked_ns, STALL_PROBE_TICK_MOST_NS);
	stop();
}

static void test_thread(void)
{
	struct stall_probe_sample sample = {0};
	uint64_t longest_us = 0;
	uint32_t samples = 0;
	const uint8_t *pages = NULL;

	fake_guest_start(&guest);
	stall_probe_init(&probe, guest.sysroot);
	CHECK_TRUE(!stall_probe_is_running(&probe));
	for (int round = 0; round < 2; round++) {
		CHECK_INT(stall_probe_start(&probe), 0);
		CHECK_INT(stall_probe_start(&probe), -EBUSY);
		CHECK_TRUE(stall_probe_is_running(&probe));
		for (samples = 0; samples < 5; samples += sample.samples) {
			sched_yield();
			stall_probe_take(&probe, &sample);
			longest_us = sample.longest_us > longest_us ? sample.longest_us : longest_us;
		}
		CHECK_TRUE(sample.p99_us <= longest_us);
		stall_probe_stop(&probe);
		CHECK_TRUE(!stall_probe_is_running(&probe));
		/* Made once: the next start needs no memory that the guest has not had. */
		CHECK_TRUE(probe.pages != NULL && (!pages || probe.pages == pages));
		pages = probe.pages;
		stall_probe_stop(&probe);
	}
	stall_probe_done(&probe);
	CHECK_TRUE(probe.pages == NULL);
	fake_guest_stop(&guest);
}

/* What the scheduler says is read from the thread's own file. */
static void test_schedstat(void)
{
	fake_guest_start(&guest);
	fake_guest_write(&guest, "/proc/thread-self/schedstat", "12345 987654321 77");
	stall_probe_init(&probe, guest.sysroot);
	CHECK_INT(stall_probe_start(&probe), 0);
	while (take().samples == 0)
		sched_yield();
	uint64_t ran = 0, waited = 0;

	probe.clock.read_scheduler(probe.clock.user, &ran, &waited);
	CHECK_INT(ran, 12345);
	CHECK_INT(waited, 987654321);
	stall_probe_stop(&probe);
	probe.clock.read_scheduler(probe.clock.user, &ran, &waited);
	CHECK_INT(ran, 0);
	CHECK_INT(waited, 0);
	stall_probe_done(&probe);
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"longest and 99th percentile", test_longest_and_percentile},
		{"taking begins anew", test_taking_begins_anew},
		{"scheduling is no stall", test_scheduling_is_no_stall},
		{"percentiles are near", test_percentiles_are_near},
		{"no time is without a sample", test_no_time_is_without_a_sample},
		{"costs little", test_costs_little},
		{"the thread", test_thread},
		{"what the scheduler says", test_schedstat},
	};

	return unit_main("stall_probe", cases, sizeof(cases) / sizeof(cases[0]));
}
