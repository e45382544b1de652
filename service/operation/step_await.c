/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing more can be tried just now: waits until something has changed that may help.
 *
 * Nothing is asked of the guest but a report twice a second. What counts as done is how much more is available or free in
 * huge pages than when the waiting began, or how far the size came by itself. Done means that something has changed,
 * and partial that nothing has: the planner opens rungs again by that.
 */
#include "step_runner_priv.h"

#include <event2/event.h>
#include <stdio.h>
#include "agent_link.h"
#include "clock.h"

/* An obstacle that goes away is to be made use of within two seconds. */
#define AWAIT_REPORT_MS	  500u
#define REPORT_TIMEOUT_MS 2000u
/* What somebody else requests is in the XML alone: it is read every so many reports. */
#define AWAIT_LOOK_EVERY 8
/* What is available comes and goes by some MiB while nothing happens. */
#define AWAIT_LEAST_BYTES (UINT64_C(2) << 20)
#define AWAIT_MOST_BYTES  (UINT64_C(16) << 20)

static void ended(struct step_run *run, enum step_state state, uint64_t bytes, const char *detail)
{
	const struct snapshot_guest *guest = step_run_guest(run);

	run->outcome.state = state;
	run->outcome.bytes_done = bytes;
	run->outcome.reached_bytes = guest ? guest->current_bytes : 0;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail), "%s", detail);
	step_run_finish(run);
}

static uint64_t spare_bytes(const struct snapshot_agent *agent)
{
	return agent->memory_available_bytes + agent->huge_free_bytes;
}

static bool is_reported(const struct snapshot_agent *agent)
{
	return agent->state == AGENT_STATE_READY && agent->reported && !agent->overdue;
}

/* An eighth of what is missing is worth another try. */
static uint64_t worthwhile_bytes(const struct step_run *run)
{
	uint64_t bytes = run->step.bytes / 8;

	if (bytes < AWAIT_LEAST_BYTES)
		return AWAIT_LEAST_BYTES;
	return bytes < AWAIT_MOST_BYTES ? bytes : AWAIT_MOST_BYTES;
}

/* The driver works by itself: it is left to, until it has done what was requested or stops. */
static bool watch_progress(struct step_run *run, const struct snapshot_guest *guest, uint64_t now)
{
	uint64_t gone = guest->current_bytes > run->from_bytes ? guest->current_bytes - run->from_bytes :
								 run->from_bytes - guest->current_bytes;

	if (guest->current_bytes != run->last_bytes) {
		run->last_bytes = guest->current_bytes;
		run->changed_at_ms = now;
	}
	if (!gone)
		return false;
	if (guest->current_bytes == guest->requested_bytes)
		ended(run, STEP_STATE_DONE, gone, "the guest has done what was requested");
	else if (now >= run->changed_at_ms + step_size_flat_ms(run))
		ended(run, STEP_STATE_DONE, gone, "the size has changed, and stopped changing");
	return true;
}

static void take_agent(struct step_run *run, const struct snapshot_agent *agent)
{
	if (!is_reported(agent))
		return;
	if (!run->await.is_reported) {
		ended(run, STEP_STATE_DONE, 0, "the agent is there");
		return;
	}
	if (run->await.veto && !agent->veto) {
		ended(run, STEP_STATE_DONE, 0, "the guest lets itself be shrunk again");
		return;
	}
	if (agent->shrink_limit_bytes > run->await.floor_bytes) {
		ended(run, STEP_STATE_DONE, 0, "the guest has come to keep more");
		return;
	}
	if (spare_bytes(agent) >= run->await.spare_bytes + worthwhile_bytes(run))
		ended(run, STEP_STATE_DONE, spare_bytes(agent) - run->await.spare_bytes, "more became free in the guest");
}

/* May finish the run. */
static void examine(struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	uint64_t now = monotonic_ms();

	if (!guest || guest->state == GUEST_STATE_SHUT_OFF) {
		step_run_fail(run, REMAINDER_GUEST_GONE, run->step.bytes, "it ended meanwhile");
		return;
	}
	if (run->cancelled) {
		ended(run, STEP_STATE_PARTIAL, 0, "cancelled");
		return;
	}
	if (guest->boot_count != run->boot_count) {
		ended(run, STEP_STATE_DONE, 0, "the guest rebooted");
		return;
	}
	/* What a balloon was asked for nobody tells. */
	if (guest->device_count && guest->requested_bytes != run->asked_bytes) {
		ended(run, STEP_STATE_DONE, 0, "another size has been asked for");
		return;
	}
	run->is_frozen = run->is_frozen || guest->migrating;
	if (run->is_frozen && !guest->migrating) {
		ended(run, STEP_STATE_DONE, 0, "a migration has ended");
		return;
	}
	if (!watch_progress(run, guest, now))
		take_agent(run, &guest->agent);
	if (run->is_finished)
		return;
	if (run->step.timeout_ms && now >= run->began_at_ms + run->step.timeout_ms)
		ended(run, STEP_STATE_PARTIAL, 0, "nothing has changed");
}

static void on_watch(void *user)
{
	examine(user);
}

static void arm(struct step_run *run)
{
	uint32_t pace_ms = run->runner->options.pace_ms, ms = pace_ms ? pace_ms : AWAIT_REPORT_MS;

	if (run->step.timeout_ms) {
		uint64_t end = run->began_at_ms + run->step.timeout_ms, now = monotonic_ms();

		if (end < now + ms)
			ms = end > now ? (uint32_t)(end - now) : 0;
	}
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(run->timer, &when);
}

/* The watch is told of what comes. */
static void ignore(void *user)
{
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct step_run *run = user;
	struct agent_link *link;

	examine(run);
	if (run->is_finished)
		return;
	arm(run);
	if (++run->await.reports % AWAIT_LOOK_EVERY == 0)
		look_read_guest(run->runner->options.look, run->step.guest);
	link = look_agent(run->runner->options.look, run->step.guest);
	if (link && agent_link_is_ready(link))
		agent_link_refresh(link, REPORT_TIMEOUT_MS, ignore, NULL);
}

void step_await_start(struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);

	if (run->undoing) {
		step_run_done(run, "it changed nothing");
		return;
	}
	if (!guest || guest->pid <= 0) {
		step_run_fail(run, REMAINDER_GUEST_GONE, run->step.bytes, "it does not run any more");
		return;
	}
	run->from_bytes = run->last_bytes = guest->current_bytes;
	run->asked_bytes = guest->requested_bytes;
	run->boot_count = guest->boot_count;
	run->began_at_ms = monotonic_ms();
	run->is_frozen = guest->migrating;
	run->await.is_reported = is_reported(&guest->agent);
	run->await.veto = guest->agent.veto;
	run->await.floor_bytes = guest->agent.shrink_limit_bytes;
	/* Since an await before this one, where that saw nothing. */
	run->await.spare_bytes = run->step.target_bytes ? run->step.target_bytes : spare_bytes(&guest->agent);
	run->timer = evtimer_new(run->runner->options.base, on_timer, run);
	run->watch = look_watch_new(run->runner->options.look, run->step.guest, on_watch, run);
	if (!run->timer || !run->watch) {
		step_run_fail(run, REMAINDER_INVALID, run->step.bytes, "out of memory");
		return;
	}
	arm(run);
}

void step_await_cancel(struct step_run *run)
{
	examine(run);
}
