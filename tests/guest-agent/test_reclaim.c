/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reclaiming from a scripted guest, in a time that passes only in pauses.
 */
#include "reclaim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fake_guest.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static struct fake_guest guest;
static uint64_t now_us, rested_ms;
static enum reclaim_outcome outcome;

static uint64_t read_clock(void *user)
{
	return now_us;
}

static void pass(void *user, uint32_t ms)
{
	now_us += ms * UINT64_C(1000);
	rested_ms += ms == RECLAIM_REST_MS ? ms : 0;
}

static const struct reclaim_time time_that_passes = {.now_us = read_clock, .pause = pass};

static void start(uint64_t reclaimable_mib)
{
	fake_guest_start(&guest);
	fake_guest_add_reclaim(&guest, reclaimable_mib << 10);
	outcome = RECLAIM_OUTCOME_COUNT;
	rested_ms = 0;
}

static int run(uint64_t mib)
{
	return reclaim_run(guest.sysroot, mib * MIB, 10, &time_that_passes, &outcome);
}

static uint64_t gained_mib(void)
{
	return (fake_guest_free_kib(&guest) - 900000) >> 10;
}

static void test_until_the_target(void)
{
	start(10000);
	CHECK_INT(run(500), 0);
	CHECK_INT(outcome, RECLAIM_REACHED);
	CHECK_INT(gained_mib(), 500);
	/* Harmless: larger bites, and no more than was asked for. */
	CHECK_INT(guest.state->largest_bite, RECLAIM_BITE_MOST_BYTES);
	CHECK_TRUE(guest.state->bites < 10);
	fake_guest_stop(&guest);
}

static void test_nothing_left(void)
{
	start(40);
	CHECK_INT(run(500), 0);
	CHECK_INT(outcome, RECLAIM_NOTHING_LEFT);
	CHECK_INT(gained_mib(), 40);
	fake_guest_stop(&guest);
}

/* 16 MiB make some task wait 40 of 100 ms, and then no more. */
static void test_smaller_bites(void)
{
	start(10000);
	guest.state->harm_us = 2500;
	CHECK_INT(run(500), 0);
	/* In the rest nobody waits, so it goes on with smaller bites. */
	CHECK_TRUE(rested_ms > 0);
	CHECK_INT(outcome, RECLAIM_REACHED);
	CHECK_INT(guest.state->largest_bite, RECLAIM_BITE_BYTES);
	fake_guest_stop(&guest);
}

/* The work waits whether or not anything is taken. */
static void pass_with_pressure(void *user, uint32_t ms)
{
	char text[128];
	uint64_t *waited_us = user;

	pass(NULL, ms);
	*waited_us += ms * UINT64_C(200);
	snprintf(text, sizeof(text), "some avg10=20.00 avg60=0.00 avg300=0.00 total=%llu",
		 (unsigned long long)*waited_us);
	fake_guest_write(&guest, "/proc/pressure/memory", text);
}

static void test_a_guest_under_pressure(void)
{
	uint64_t waited_us = 12;
	struct reclaim_time time = {.now_us = read_clock, .pause = pass_with_pressure, .user = &waited_us};

	start(10000);
	CHECK_INT(reclaim_run(guest.sysroot, 500 * MIB, 10, &time, &outcome), 0);
	CHECK_INT(outcome, RECLAIM_PRESSURE);
	CHECK_INT(guest.state->bites, 0);
	/* A fifth of the time is allowed. */
	CHECK_INT(reclaim_run(guest.sysroot, 50 * MIB, 20, &time, &outcome), 0);
	CHECK_INT(outcome, RECLAIM_REACHED);
	fake_guest_stop(&guest);
}

/* It begins with the first bite and does not end: what was taken is missed. */
static void pass_with_harm(void *user, uint32_t ms)
{
	if (guest.state->bites > 0)
		pass_with_pressure(user, ms);
	else
		pass(NULL, ms);
}

static void test_harm_that_stays(void)
{
	uint64_t waited_us = 12;
	struct reclaim_time time = {.now_us = read_clock, .pause = pass_with_harm, .user = &waited_us};

	start(10000);
	CHECK_INT(reclaim_run(guest.sysroot, 500 * MIB, 10, &time, &outcome), 0);
	CHECK_INT(outcome, RECLAIM_PRESSURE);
	CHECK_INT(guest.state->bites, 1);
	CHECK_INT(gained_mib(), 16);
	CHECK_INT(rested_ms, RECLAIM_REST_MS);
	fake_guest_stop(&guest);
}

/* What was taken is missed at once, and nobody waits any more when it is back. */
static void pass_with_return(void *user, uint32_t ms)
{
	pass(NULL, ms);
	if (ms == RECLAIM_REST_MS)
		fake_guest_write(&guest, "/proc/meminfo", user);
}

static void test_work_that_wants_it_back(void)
{
	char before[256];
	struct reclaim_time time = {.now_us = read_clock, .pause = pass_with_return, .user = before};

	start(100);
	guest.state->harm_us = 5000;
	snprintf(before, sizeof(before), "%s", fake_guest_read(&guest, "/proc/meminfo"));
	CHECK_INT(reclaim_run(guest.sysroot, 500 * MIB, 10, &time, &outcome), 0);
	CHECK_INT(outcome, RECLAIM_PRESSURE);
	CHECK_INT(guest.state->bites, RECLAIM_TRIES);
	CHECK_INT(gained_mib(), 0);
	fake_guest_stop(&guest);
}

/* Every other bite does harm and comes back; those between do none, and stay. */
static void pass_with_some_return(void *user, uint32_t ms)
{
	bool was_harm = guest.state->bites % 2;

	pass(NULL, ms);
	guest.state->harm_us = was_harm ? 0 : 5000;
	if (ms == RECLAIM_REST_MS)
		fake_guest_write(&guest, "/proc/meminfo", user);
	else if (!was_harm)
		snprintf(user, 256, "%s", fake_guest_read(&guest, "/proc/meminfo"));
}

static void test_harm_now_and_then(void)
{
	char before[256] = "";
	struct reclaim_time time = {.now_us = read_clock, .pause = pass_with_some_return, .user = before};

	start(10000);
	CHECK_INT(reclaim_run(guest.sysroot, 200 * MIB, 10, &time, &outcome), 0);
	CHECK_INT(outcome, RECLAIM_REACHED);
	CHECK_TRUE(guest.state->bites > 2 * RECLAIM_TRIES);
	CHECK_INT(gained_mib(), 200);
	fake_guest_stop(&guest);
}

static void test_no_word_of_pressure(void)
{
	char path[128];

	start(10000);
	guest.state->harm_us = UINT64_MAX;
	snprintf(path, sizeof(path), "%s/proc/pressure/memory", guest.root);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(run(64), 0);
	CHECK_INT(outcome, RECLAIM_REACHED);
	CHECK_INT(guest.state->largest_bite, RECLAIM_BITE_LEAST_BYTES);
	fake_guest_stop(&guest);
}

static void test_no_cgroup(void)
{
	fake_guest_start(&guest);
	CHECK_TRUE(!reclaim_is_supported(guest.sysroot));
	CHECK_INT(run(64), -EOPNOTSUPP);
	/* Beside cgroup v1. */
	fake_guest_write(&guest, "/sys/fs/cgroup/unified/memory.reclaim", "");
	CHECK_TRUE(reclaim_is_supported(guest.sysroot));
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"until the target", test_until_the_target},
		{"nothing left", test_nothing_left},
		{"smaller bites under pressure", test_smaller_bites},
		{"a guest that is under pressure", test_a_guest_under_pressure},
		{"harm that stays", test_harm_that_stays},
		{"work that wants it back", test_work_that_wants_it_back},
		{"harm now and then", test_harm_now_and_then},
		{"no word of pressure", test_no_word_of_pressure},
		{"no cgroup", test_no_cgroup},
	};

	return unit_main("reclaim", cases, sizeof(cases) / sizeof(cases[0]));
}
