/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_rig.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "scratch.h"

/* The time of the program under test is the test's: nothing waits for a size to be flat, and no load makes it so. */
static uint64_t ahead_ms;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	int r = __real_clock_gettime(clock, now);

	if (clock == CLOCK_MONOTONIC)
		now->tv_sec += (time_t)(ahead_ms / 1000);
	return r;
}

void guest_rig_turn_clock(uint64_t ms)
{
	ahead_ms += ms;
}

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	assert(!"a test waits for what does not come");
}

const struct snapshot_guest *guest_rig_guest(const struct guest_rig *rig)
{
	return snapshot_guest(look_snapshot(rig->look), "g1");
}

static bool is_ready(const struct guest_rig *rig)
{
	const struct snapshot_guest *guest = guest_rig_guest(rig);

	return guest && guest->surveyed && (!rig->agent || guest->agent.reported);
}

void guest_rig_start(struct guest_rig *rig, fake_agent_request_fn *requests,
		     void (*changed)(void *user, enum look_change change, const char *guest))
{
	struct timeval limit = {.tv_sec = 20};
	struct failure failure = {0};

	memset(rig, 0, sizeof(*rig));
	ahead_ms = 0;
	fake_libvirt_reset();
	fake_host_init(&rig->tree);
	rig->base = event_base_new();
	rig->watchdog = evtimer_new(rig->base, on_watchdog, NULL);
	evtimer_add(rig->watchdog, &limit);
	snprintf(rig->lock_path, sizeof(rig->lock_path), "%s/workers", scratch_folder());
	snprintf(rig->agent_path, sizeof(rig->agent_path), "%s/agent", scratch_folder());
	fake_host_add_process(&rig->tree, 4711, 4242, "g1", FAKE_LIBVIRT_G1);
	rig->domain = fake_libvirt_add(FAKE_LIBVIRT_G1, "g1");
	if (requests) {
		rig->agent = fake_agent_new(rig->base, rig->agent_path, requests, NULL);
		snprintf(rig->domain->channel, sizeof(rig->domain->channel), "%s", rig->agent_path);
	}
	assert(worker_pool_new(&(struct worker_pool_options){.base = rig->base, .program = FAKE_WORKER,
							     .lock_path = rig->lock_path, .limit = 2, .kill_grace_ms = 5000},
			       0, &rig->pool, &failure) == 0);
	assert(look_new(&(struct look_options){.base = rig->base, .sysroot = rig->tree.sysroot, .pool = rig->pool,
					       .libvirt_uri = "fake:///", .libvirt_ops = &fake_libvirt_ops,
					       .changed = changed},
			&rig->look, &failure) == 0);
	while (!is_ready(rig))
		guest_rig_turn(rig);
}

void guest_rig_finish(struct guest_rig *rig)
{
	worker_pool_free(rig->pool);
	look_free(rig->look);
	fake_libvirt_wait_closed();
	fake_agent_free(rig->agent);
	event_free(rig->watchdog);
	event_base_free(rig->base);
	fixture_tree_done(&rig->tree);
	unlink(rig->lock_path);
}

void guest_rig_turn(struct guest_rig *rig)
{
	event_base_loop(rig->base, EVLOOP_ONCE);
}

void guest_rig_let_pass(struct guest_rig *rig)
{
	struct timeval when = {.tv_usec = 120 * 1000};

	event_base_loopexit(rig->base, &when);
	event_base_loop(rig->base, 0);
}

void guest_rig_pass(struct guest_rig *rig, uint64_t ms)
{
	guest_rig_let_pass(rig);
	ahead_ms += ms;
	guest_rig_let_pass(rig);
}
