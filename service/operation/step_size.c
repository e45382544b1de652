/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that ask for a size.
 *
 *	WAITING --libvirt is there, no migration--> LOOKING --> ASKING --taken--> WATCHING --> ended
 *	   ^                                          |           |                  |
 *	   +-------------- the connection broke ------+-----------+                  |
 *	   +-------------- a migration that froze the size has ended ----------------+
 *
 * A size is asked for and then watched, because libvirt answers when the request is taken, not when it is done, and
 * nothing ever announces a failure: MEMORY_DEVICE_SIZE_CHANGE comes with progress only. Nor does anything announce that
 * somebody else has asked for another size: that stands in the XML, which is read again while the size is watched.
 */
#include "step_runner_priv.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include "clock.h"
#include "connection.h"
#include "domain_xml.h"

/* QEMU sends size events at most once a second (monitor/monitor.c, throttle table): anything below is no stall. */
#define FLAT_MIN_MS 2000u
/* How often it is tried whether libvirt is there, or the migration over. */
#define WAIT_MS 500u
/* libvirtd starts again within seconds, and is connected to again within 30 (connection.h, backoff_maximum_ms). */
#define WAIT_FALLBACK_MS 60000u
#define WAIT_LEAST_MS	 10000u
/* As many times longer than else stands a size still that is put back: the guest's driver is first to notice that it is. */
#define UNDO_PATIENCE 6u

enum size_phase { SIZE_PHASE_WAITING, SIZE_PHASE_LOOKING, SIZE_PHASE_ASKING, SIZE_PHASE_WATCHING };

static const struct snapshot_device *device_of(const struct step_run *run, const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (strcmp(guest->devices[i].alias, run->step.device) == 0)
			return &guest->devices[i];
	return NULL;
}

static uint64_t current_bytes(const struct step_run *run, const struct snapshot_guest *guest)
{
	const struct snapshot_device *device = device_of(run, guest);

	if (run->step.kind == STEP_KIND_BALLOON)
		return guest->balloon_bytes;
	return device ? device->current_bytes : 0;
}

uint64_t step_size_requested(const struct step_run *run, const struct snapshot_guest *guest)
{
	const struct snapshot_device *device = device_of(run, guest);

	if (run->step.kind == STEP_KIND_BALLOON)
		return guest->balloon_bytes;
	return device ? device->requested_bytes : 0;
}

static uint64_t difference(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void watch_ended(struct step_run *run, enum step_state state, bool flat, const char *detail)
{
	run->outcome.state = state;
	run->outcome.flat = flat;
	run->outcome.reached_bytes = run->last_bytes;
	run->outcome.bytes_done = difference(run->last_bytes, run->from_bytes);
	if (state == STEP_STATE_PARTIAL && run->outcome.bytes_done == 0)
		run->outcome.state = STEP_STATE_FAILED;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail), "%s", detail);
	step_run_finish(run);
}

uint32_t step_size_flat_ms(const struct step_run *run)
{
	uint32_t ms = run->runner->options.flat_ms;

	return ms < FLAT_MIN_MS ? FLAT_MIN_MS : ms;
}

static uint32_t wait_ms(const struct step_run *run)
{
	uint32_t pace_ms = run->runner->options.pace_ms;

	return pace_ms ? pace_ms : WAIT_MS;
}

/* Twice a flat period is often enough to notice one; events bring everything else at once. */
static uint32_t watch_ms(const struct step_run *run)
{
	uint32_t pace_ms = run->runner->options.pace_ms;

	return pace_ms ? pace_ms : step_size_flat_ms(run) / 2;
}

static void arm(struct step_run *run, uint32_t ms)
{
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(run->timer, &when);
}

/* Somebody has asked for another size since: theirs stands. What a balloon was asked for nobody tells. */
static bool is_overruled(struct step_run *run, const struct snapshot_guest *guest)
{
	uint64_t requested = step_size_requested(run, guest);

	if (run->step.kind == STEP_KIND_BALLOON || !device_of(run, guest))
		return false;
	if (requested == run->target_bytes)
		run->is_seen = true;
	/* When the undo began the step's own request may not have been seen yet. */
	if (run->undoing && requested == run->step.target_bytes)
		return false;
	return requested != run->target_bytes && (run->is_seen || (run->is_tried && requested != run->asked_bytes));
}

/* True once the run has finished. */
static bool end_overruled(struct step_run *run, const struct snapshot_guest *guest)
{
	char object[96];

	if (!is_overruled(run, guest))
		return false;
	if (run->undoing) {
		step_run_done(run, "another size has been asked for since");
		return true;
	}
	snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
	remainder_list_add(&run->outcome.remainder, REMAINDER_SUPERSEDED, object,
			   difference(run->last_bytes, run->target_bytes), NULL,
			   "somebody has asked for %llu MiB of %s meanwhile",
			   (unsigned long long)(step_size_requested(run, guest) >> 20), run->step.device);
	watch_ended(run, STEP_STATE_PARTIAL, false, "another size has been asked for meanwhile");
	return true;
}

/* What ends it whatever it waits for. True once the run has finished. */
static bool end_anyway(struct step_run *run, const struct snapshot_guest *guest)
{
	bool is_gone = !guest || guest->state == GUEST_STATE_SHUT_OFF;

	if (is_gone && run->undoing) {
		step_run_done(run, "the guest is gone");
		return true;
	}
	if (is_gone) {
		remainder_list_add(&run->outcome.remainder, REMAINDER_GUEST_GONE, run->step.guest_name,
				   run->step.bytes, NULL, "it ended meanwhile");
		watch_ended(run, STEP_STATE_PARTIAL, false, "the guest ended meanwhile");
		return true;
	}
	return false;
}

static void take_size(struct step_run *run, uint64_t bytes, uint64_t now)
{
	if (bytes == run->last_bytes)
		return;
	run->last_bytes = bytes;
	run->changed_at_ms = now;
	if (run->progress)
		run->progress(run->token, difference(bytes, run->from_bytes),
			      difference(run->target_bytes, run->from_bytes), step_kind_name(run->step.kind));
}

static void wait_to_ask(struct step_run *run)
{
	run->phase = SIZE_PHASE_WAITING;
	arm(run, wait_ms(run));
}

/* Neither can change while it lasts: what would be taken for a stall is none. */
static bool is_frozen(const struct step_run *run, const struct snapshot_guest *guest)
{
	return guest->migrating || !look_libvirt_is_up(run->runner->options.look, NULL);
}

/* True once the run has finished, or waits for something else than a change of the size. */
static bool watch_size(struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	uint64_t now = monotonic_ms();

	if (end_anyway(run, guest))
		return true;
	uint64_t bytes = current_bytes(run, guest);

	take_size(run, bytes, now);
	if (guest->boot_count != run->boot_count) {
		remainder_list_add(&run->outcome.remainder, REMAINDER_GUEST_REBOOTED, run->step.guest_name, 0, NULL,
				   "it rebooted meanwhile, which gives every plugged block back");
		watch_ended(run, STEP_STATE_PARTIAL, false, "the guest rebooted meanwhile");
		return true;
	}
	if (end_overruled(run, guest))
		return true;
	if (bytes == run->target_bytes) {
		watch_ended(run, STEP_STATE_DONE, false, "");
		return true;
	}
	if (run->cancelled) {
		watch_ended(run, STEP_STATE_PARTIAL, false, "cancelled");
		return true;
	}
	if (is_frozen(run, guest)) {
		run->changed_at_ms = now;
		run->is_frozen = run->is_frozen || guest->migrating;
	} else if (run->is_frozen) {
		/* The driver waits its timer out (virtio_mem.c virtio_mem_run_wq, -EAGAIN while migrating) unless asked again. */
		run->is_frozen = false;
		run->is_again = true;
		wait_to_ask(run);
		return true;
	}
	if (now >= run->changed_at_ms + step_size_flat_ms(run) * (run->undoing ? UNDO_PATIENCE : 1)) {
		watch_ended(run, STEP_STATE_PARTIAL, true, "the size has stopped changing");
		return true;
	}
	if (run->step.timeout_ms && now >= run->began_at_ms + run->step.timeout_ms) {
		watch_ended(run, STEP_STATE_PARTIAL, false, "its time is over");
		return true;
	}
	return false;
}

static void begin_watching(struct step_run *run)
{
	run->phase = SIZE_PHASE_WATCHING;
	run->changed_at_ms = monotonic_ms();
	if (!watch_size(run))
		arm(run, watch_ms(run));
}

static void on_requested(void *user, const struct connection_result *result)
{
	struct step_run *run = user;

	if (result->outcome == CONNECTION_NOT_UP) {
		/* Done or not: what is requested says so when libvirt is there again. */
		wait_to_ask(run);
		return;
	}
	if (!step_libvirt_worked(run, result))
		return;
	/* To settle is to say what is, not to wait for anything. */
	if (run->step.kind == STEP_KIND_SETTLE && !run->undoing) {
		step_run_done(run, "");
		return;
	}
	begin_watching(run);
}

static void ask(struct step_run *run)
{
	struct connection_call call = {.scope = CONNECTION_SCOPE_LIVE};

	if (run->step.kind == STEP_KIND_BALLOON) {
		call.kind = CONNECTION_CALL_SET_BALLOON;
		call.balloon_bytes = run->target_bytes;
	} else {
		call.kind = CONNECTION_CALL_UPDATE_VIRTIO_MEM;
		call.virtio_mem.alias = run->step.device;
		call.virtio_mem.requested_bytes = run->target_bytes;
	}
	run->phase = SIZE_PHASE_ASKING;
	run->is_tried = true;
	step_libvirt_submit(run, &call, on_requested);
}

/* Before it is asked for once more: what is requested now? */
static void on_looked(struct step_run *run, int error)
{
	const struct snapshot_guest *guest = step_run_guest(run);

	if (run->phase != SIZE_PHASE_LOOKING)
		return;
	if (error) {
		wait_to_ask(run);
		return;
	}
	if (end_anyway(run, guest) || end_overruled(run, guest))
		return;
	if (guest->migrating) {
		wait_to_ask(run);
		return;
	}
	/* It was taken before the connection broke: asked for again it would abort the driver's pass. */
	if (run->step.kind != STEP_KIND_SETTLE && run->is_tried && !run->is_again &&
	    step_size_requested(run, guest) == run->target_bytes) {
		begin_watching(run);
		return;
	}
	run->is_again = false;
	ask(run);
}

static void try_to_ask(struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	uint64_t now = monotonic_ms();

	if (end_anyway(run, guest))
		return;
	if (run->cancelled) {
		watch_ended(run, STEP_STATE_PARTIAL, false, "cancelled");
		return;
	}
	if (!is_frozen(run, guest)) {
		run->phase = SIZE_PHASE_LOOKING;
		step_run_look(run, LOOK_NODES, on_looked);
		return;
	}
	if (now < run->give_up_at_ms) {
		arm(run, wait_ms(run));
		return;
	}
	run->outcome.bytes_done = difference(run->last_bytes, run->from_bytes);
	if (guest->migrating)
		step_run_fail(run, REMAINDER_MIGRATION_JOB, run->step.bytes, "a migration of the guest did not end in time");
	else
		step_run_fail(run, REMAINDER_LIBVIRT_DOWN, run->step.bytes, "libvirt did not come back in time");
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct step_run *run = user;

	if (run->phase == SIZE_PHASE_WAITING) {
		try_to_ask(run);
	} else if (run->phase == SIZE_PHASE_WATCHING && !watch_size(run)) {
		arm(run, watch_ms(run));
		/* What comes of it is told to on_watch(). */
		look_read_guest(run->runner->options.look, run->step.guest);
	}
}

static void on_watch(void *user)
{
	struct step_run *run = user;

	/* Until libvirt has answered the request only what it does counts. */
	if (run->phase == SIZE_PHASE_WATCHING)
		(void)watch_size(run);
}

void step_size_start(struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	const json_t *old = json_object_get(run->before, "requested_bytes");
	bool settles = run->step.kind == STEP_KIND_SETTLE || run->undoing;
	uint32_t patience_ms = settles ? WAIT_FALLBACK_MS : step_run_left_ms(run, WAIT_FALLBACK_MS);

	if (!guest || guest->pid <= 0) {
		step_run_fail(run, REMAINDER_GUEST_GONE, run->step.bytes, "it does not run any more");
		return;
	}
	run->target_bytes = run->step.target_bytes;
	if (run->undoing) {
		if (!json_is_integer(old)) {
			step_run_done(run, "nothing was replaced");
			return;
		}
		run->target_bytes = (uint64_t)json_integer_value(old);
		if (run->is_foreign) {
			step_run_done(run, "another size has been asked for since");
			return;
		}
	}
	run->from_bytes = run->last_bytes = current_bytes(run, guest);
	run->asked_bytes = json_is_integer(old) && !run->undoing ? (uint64_t)json_integer_value(old) :
								    step_size_requested(run, guest);
	/* What is to be asked for again, or helped, has been replaced since it was planned. */
	run->is_seen = !run->undoing && (run->is_help || run->step.kind == STEP_KIND_KICK);
	if (run->is_seen && end_overruled(run, guest))
		return;
	run->boot_count = guest->boot_count;
	run->began_at_ms = monotonic_ms();
	run->give_up_at_ms = run->began_at_ms + (patience_ms < WAIT_LEAST_MS ? WAIT_LEAST_MS : patience_ms);
	run->timer = evtimer_new(run->runner->options.base, on_timer, run);
	run->watch = look_watch_new(run->runner->options.look, run->step.guest, on_watch, run);
	if (!run->timer || !run->watch) {
		step_run_fail(run, REMAINDER_INVALID, run->step.bytes, "out of memory");
		return;
	}
	/* A daemon before this one has begun it, and may have asked: that is looked at first. */
	run->is_tried = run->is_taken_up;
	if (run->is_taken_up || is_frozen(run, guest))
		wait_to_ask(run);
	else
		ask(run);
}

void step_size_cancel(struct step_run *run)
{
	/* A call on its way cannot be taken back. */
	if (run->phase == SIZE_PHASE_WATCHING)
		(void)watch_size(run);
	else if (run->phase != SIZE_PHASE_ASKING)
		watch_ended(run, STEP_STATE_PARTIAL, false, "cancelled");
}
