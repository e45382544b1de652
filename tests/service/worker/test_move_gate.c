/* SPDX-License-Identifier: Apache-2.0 */
#include "move_gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "step.h"
#include "unit.h"
#include "worker_control.h"

#define MIB UINT64_C(1048576)

struct world {
	struct worker_control control;
	struct step step;
	struct move_gate *gate;
	atomic_uint entered;
};

static void setup(struct world *world, uint64_t bytes_per_s)
{
	memset(world, 0, sizeof(*world));
	worker_control_init(&world->control, NULL);
	step_init(&world->step, STEP_KIND_MOVE_PAGES);
	world->step.budget_bytes_per_s = bytes_per_s;
	world->step.budget_stall_us = 10000;
	CHECK_INT(move_gate_new(&world->control, &world->step, &world->gate), 0);
}

static void teardown(struct world *world)
{
	move_gate_free(world->gate);
	step_done(&world->step);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Goes through until it is shut. Returns what it was shut with. */
static void *go_through(void *argument)
{
	struct world *world = argument;
	int rc;

	while ((rc = move_gate_enter(world->gate, 1, 2, MIB)) == 0) {
		atomic_fetch_add(&world->entered, 1);
		move_gate_leave(world->gate, 1, 2, MIB, MIB);
	}
	return (void *)(intptr_t)rc;
}

static void start(struct world *world, pthread_t *threads, size_t count)
{
	for (size_t i = 0; i < count; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, go_through, world), 0);
}

static void join(pthread_t *threads, size_t count, int expected)
{
	for (size_t i = 0; i < count; i++) {
		void *result;

		pthread_join(threads[i], &result);
		CHECK_INT((intptr_t)result, expected);
	}
}

static void pause_and_resume(void)
{
	struct world world;
	pthread_t threads[4];

	setup(&world, 0);
	world.control.is_paused = true;
	move_gate_hear(world.gate);
	start(&world, threads, 4);
	sched_yield();
	CHECK_INT(world.entered, 0);
	world.control.is_paused = false;
	move_gate_hear(world.gate);
	while (world.entered < 1000)
		sched_yield();
	world.control.is_paused = true;
	move_gate_hear(world.gate);
	/* Who was on its way through comes through; then nobody does. */
	for (unsigned seen = world.entered + 1; seen != world.entered;) {
		seen = world.entered;
		for (int i = 0; i < 100; i++)
			sched_yield();
	}
	/* While it is paused it can be ended. */
	move_gate_shut(world.gate, -ESRCH);
	move_gate_shut(world.gate, -ECANCELED);
	join(threads, 4, -ESRCH);
	CHECK_INT(move_gate_moved_bytes(world.gate), world.entered * MIB);
	CHECK_TRUE(!move_gate_is_open(world.gate));
	CHECK_INT(move_gate_wait(world.gate, UINT32_MAX), -ESRCH);
	move_gate_reopen(world.gate);
	CHECK_TRUE(move_gate_is_open(world.gate));
	teardown(&world);
}

static void *pass(void *argument)
{
	return (void *)(intptr_t)move_gate_pass(((struct world *)argument)->gate);
}

/* Who does something long outside of a call hears of a pause, waits for its end, and hears of a cancel in it. */
static void who_asks_hears_of_pause_and_cancel(void)
{
	struct world world;
	pthread_t thread;
	void *rc;

	setup(&world, 0);
	CHECK_INT(move_gate_look(world.gate), 0);
	CHECK_INT(move_gate_pass(world.gate), 0);
	world.control.is_paused = true;
	CHECK_INT(move_gate_look(world.gate), 0);
	move_gate_hear(world.gate);
	CHECK_INT(move_gate_look(world.gate), -EAGAIN);
	pthread_create(&thread, NULL, pass, &world);
	world.control.is_paused = false;
	move_gate_hear(world.gate);
	pthread_join(thread, &rc);
	CHECK_INT((intptr_t)rc, 0);
	CHECK_INT(move_gate_look(world.gate), 0);
	world.control.is_paused = true;
	move_gate_hear(world.gate);
	pthread_create(&thread, NULL, pass, &world);
	move_gate_shut(world.gate, -ESRCH);
	pthread_join(thread, &rc);
	CHECK_INT((intptr_t)rc, -ESRCH);
	CHECK_INT(move_gate_look(world.gate), -ESRCH);
	move_gate_reopen(world.gate);
	world.control.is_cancelled = true;
	CHECK_INT(move_gate_look(world.gate), -ECANCELED);
	CHECK_INT(move_gate_pass(world.gate), -ECANCELED);
	teardown(&world);
}

static void a_budget_for_each_pair(void)
{
	struct world world;
	uint64_t began;

	setup(&world, 20 * MIB);
	began = now_us();
	/* The first of each pair goes at once, whatever has gone between others. */
	for (int destination = 2; destination < 10; destination++) {
		CHECK_INT(move_gate_enter(world.gate, 1, destination, 10 * MIB), 0);
		CHECK_INT(move_gate_enter(world.gate, destination, 1, 10 * MIB), 0);
	}
	CHECK_TRUE(now_us() - began < 400000);
	/* The second waits until the first is paid. What did not move is given back. */
	move_gate_leave(world.gate, 1, 2, 10 * MIB, 9 * MIB);
	began = now_us();
	CHECK_INT(move_gate_enter(world.gate, 1, 2, MIB), 0);
	CHECK_TRUE(now_us() - began < 500000);
	/* Whoever waits hears of another budget. */
	world.control.has_limit = true;
	move_gate_hear(world.gate);
	CHECK_INT(move_gate_bytes_per_s(world.gate), 0);
	CHECK_INT(move_gate_enter(world.gate, 1, 3, 1000 * MIB), 0);
	teardown(&world);
}

/* Four threads on one pair: together they keep it. */
static void threads_share_a_budget(void)
{
	struct world world;
	pthread_t threads[4];
	uint64_t began = now_us(), took;
	unsigned entered;

	setup(&world, 200 * MIB);
	start(&world, threads, 4);
	while (world.entered < 30)
		sched_yield();
	took = now_us() - began;
	entered = world.entered;
	CHECK_TRUE((double)entered <= (double)took * 200 / 1e6 + 1);
	move_gate_shut(world.gate, -ECANCELED);
	join(threads, 4, -ECANCELED);
	teardown(&world);
}

static void a_cancel_is_heard_by_whoever_enters(void)
{
	struct world world;
	pthread_t threads[2];

	setup(&world, 1);
	start(&world, threads, 2);
	while (world.entered < 1)
		sched_yield();
	world.control.is_cancelled = true;
	/* As the listening thread does after every word; the other waits for days. */
	move_gate_hear(world.gate);
	join(threads, 2, -ECANCELED);
	CHECK_INT(world.entered, 1);
	teardown(&world);
}

static void what_the_guest_felt_counts_once(void)
{
	struct world world;

	setup(&world, 0);
	world.control.guest_pause_us = 50000;
	move_gate_hear(world.gate);
	CHECK_INT(move_gate_ease(world.gate).level, 1);
	move_gate_hear(world.gate);
	CHECK_INT(move_gate_ease(world.gate).level, 1);
	CHECK_INT(move_gate_ease(world.gate).worst_us, 50000);
	CHECK_INT(move_gate_ease(world.gate).slowed, 1);
	CHECK_TRUE(move_gate_may_compact(world.gate, 3));
	CHECK_TRUE(!move_gate_may_compact(world.gate, 3));
	CHECK_TRUE(move_gate_may_compact(world.gate, 2));
	teardown(&world);
}

/* Enters once, and stays for a moment. */
static void *stay_a_moment(void *argument)
{
	struct world *world = argument;
	struct timespec moment = {.tv_nsec = 20000000};
	unsigned inside;

	CHECK_INT(move_gate_enter(world->gate, 1, 2, MIB), 0);
	inside = atomic_fetch_add(&world->entered, 1) + 1;
	nanosleep(&moment, NULL);
	atomic_fetch_sub(&world->entered, 1);
	move_gate_leave(world->gate, 1, 2, MIB, MIB);
	return (void *)(intptr_t)inside;
}

static void one_at_a_time_while_the_guest_is_spared(void)
{
	struct world world;
	pthread_t threads[4];

	setup(&world, 0);
	/* Without a reason nobody waits for another. */
	CHECK_INT(move_gate_enter(world.gate, 1, 2, MIB), 0);
	CHECK_INT(move_gate_enter(world.gate, 1, 2, MIB), 0);
	move_gate_leave(world.gate, 1, 2, MIB, MIB);
	move_gate_leave(world.gate, 1, 2, MIB, MIB);
	world.control.guest_pause_us = 50000;
	move_gate_hear(world.gate);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, stay_a_moment, &world), 0);
	join(threads, ARRAY_SIZE(threads), 1);
	CHECK_INT(move_gate_moved_bytes(world.gate), 6 * MIB);
	teardown(&world);
}

static void one_of_several_begins(void)
{
	struct world world;
	pthread_t threads[4];

	setup(&world, 0);
	move_gate_free(world.gate);
	world.step.workers = 4;
	CHECK_INT(move_gate_new(&world.control, &world.step, &world.gate), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, stay_a_moment, &world), 0);
	join(threads, ARRAY_SIZE(threads), 1);
	teardown(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"pause_and_resume", pause_and_resume},
		{"who_asks_hears_of_pause_and_cancel", who_asks_hears_of_pause_and_cancel},
		{"a_budget_for_each_pair", a_budget_for_each_pair},
		{"threads_share_a_budget", threads_share_a_budget},
		{"a_cancel_is_heard_by_whoever_enters", a_cancel_is_heard_by_whoever_enters},
		{"what_the_guest_felt_counts_once", what_the_guest_felt_counts_once},
		{"one_at_a_time_while_the_guest_is_spared", one_at_a_time_while_the_guest_is_spared},
		{"one_of_several_begins", one_of_several_begins},
	};

	return unit_main("move_gate", cases, sizeof(cases) / sizeof(cases[0]));
}
