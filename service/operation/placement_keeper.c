/* SPDX-License-Identifier: Apache-2.0 */
/*
 *           learn, check, cgroup changed                    threads or groups differ
 *   IDLE ------------------------------> WAITING -> LOOKING ------------> CORRECTING -> IDLE
 *     ^                            100 ms  ^           |
 *     |                                    +-10 s------+ somebody changed a group that was there
 *     +------------------ all is right, or it lasted --+
 *
 * libvirt makes a thread's group, writes its sets and moves the thread in, each a write of its own: it is let finish
 * before anybody looks. What happens meanwhile is looked at once more afterwards.
 *
 * A look is at threads without a pin first, in libvirt's XML, then at the groups, in a worker. A vCPU that comes has the
 * pin that it was given before it came; an I/O thread has none (qemu_driver.c qemuDomainHotplugAddIOThread), as none had
 * when all were pinned: so who has none came later.
 */
#include "placement_keeper.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cgroup_memory.h"
#include "cgroup_watch.h"
#include "clock.h"
#include "connection.h"
#include "domain_xml.h"
#include "guest_look.h"
#include "guest_records.h"
#include "node_set.h"
#include "operation_record.h"

/* libvirt is through with a new thread in a few milliseconds; memory that lands wrong meanwhile is some MiB at most. */
#define SETTLE_MS   100
#define DEADLINE_MS 60000
#define CONFIRM_MS  10000

enum keeper_state { KEEPER_STATE_IDLE, KEEPER_STATE_WAITING, KEEPER_STATE_LOOKING, KEEPER_STATE_CORRECTING };

struct kept {
	struct guest_record record;
	struct placement_keeper *keeper; /* borrowed */
	int pid;
	uint64_t start_time;
	struct kept_placement placement; /* owned */
	uint64_t overruled_at_ms;	 /* since when a group that was there says something else; 0: none does */
	size_t device_count;		 /* memory devices at the last look: a new one has libvirt's policy */
	size_t pins;			 /* calls on their way */
	struct failure pin_failure;
	enum keeper_state state;
	bool again;
	char detail[160];
	char told[160];			 /* the last word that is not said twice in a row */
	struct cgroup_watch *watch;	/* owned; NULL: changes are found by the look that time brings */
	struct event *watch_event;	/* owned */
	struct event *timer;		/* owned */
};

struct placement_keeper {
	struct placement_keeper_options options;
	struct guest_records guests;
};

static void release(void *record)
{
	struct kept *kept = record;

	if (kept->watch_event)
		event_free(kept->watch_event);
	cgroup_watch_free(kept->watch);
	if (kept->timer)
		event_free(kept->timer);
	kept_placement_done(&kept->placement);
}

/* One that a worker or libvirt works for is freed by its answer. */
static bool is_at_work(const struct kept *kept)
{
	return kept->state == KEEPER_STATE_LOOKING || kept->state == KEEPER_STATE_CORRECTING;
}

static const struct snapshot_guest *guest_of(const struct kept *kept)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(kept->keeper->options.look), kept->record.uuid);

	return guest && guest->pid == kept->pid && guest->start_time == kept->start_time ? guest : NULL;
}

static void drop(struct kept *kept)
{
	guest_records_forget(&kept->keeper->guests, kept->record.uuid);
}

static void arm_after(struct kept *kept, unsigned ms)
{
	struct timeval when = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (is_at_work(kept)) {
		kept->again = true;
		return;
	}
	if (kept->state == KEEPER_STATE_WAITING)
		return;
	kept->state = KEEPER_STATE_WAITING;
	evtimer_add(kept->timer, &when);
}

static void arm(struct kept *kept)
{
	/* What has just happened need not wait for a change to have lasted. */
	if (kept->state == KEEPER_STATE_WAITING && kept->overruled_at_ms) {
		evtimer_del(kept->timer);
		kept->state = KEEPER_STATE_IDLE;
	}
	arm_after(kept, kept->keeper->options.settle_ms);
}

static void on_cgroup(evutil_socket_t fd, short what, void *user)
{
	struct kept *kept = user;

	if (cgroup_watch_read(kept->watch))
		arm(kept);
}

static void watch_cgroup(struct kept *kept)
{
	const struct placement_keeper_options *options = &kept->keeper->options;
	char path[CGROUP_MEMORY_PATH_SIZE];

	if (kept->watch || (!kept->placement.mems && !kept->placement.cpu_nodes) ||
	    cgroup_memory_read_path(options->sysroot, kept->pid, path) < 0)
		return;
	cgroup_memory_guest_path(path);
	if (cgroup_watch_new(options->sysroot, path, &kept->watch) < 0)
		return;
	kept->watch_event = event_new(options->base, cgroup_watch_fd(kept->watch), EV_READ | EV_PERSIST, on_cgroup, kept);
	if (!kept->watch_event || event_add(kept->watch_event, NULL) < 0)
		kept->watch = cgroup_watch_free(kept->watch);
}

/* Workers */

/* 0, or -errno with nothing under way. */
static int start_job(struct kept *kept, const struct snapshot_guest *guest, enum worker_job_kind kind,
		     const struct step *step, worker_result_fn *result)
{
	struct worker_job job = {.kind = kind, .deadline_ms = DEADLINE_MS};
	struct failure failure = {0};
	int rc = step_copy(step, &job.step);

	if (rc == 0) {
		snprintf(job.step.guest, sizeof(job.step.guest), "%s", guest->uuid);
		snprintf(job.step.guest_name, sizeof(job.step.guest_name), "%s", guest->name);
		job.process = (struct worker_process){guest->pid, guest->start_time};
		guest_look_ram_sizes(guest, &job);
		rc = worker_pool_start(kept->keeper->options.pool, &job, NULL, result, kept, NULL, &failure);
	}
	worker_job_done(&job);
	return rc;
}

/* The end of a look or a correction. The guest may have gone meanwhile, and the entry with it. */
static void rest(struct kept *kept)
{
	kept->state = KEEPER_STATE_IDLE;
	if (!guest_of(kept)) {
		drop(kept);
		return;
	}
	if (kept->again) {
		kept->again = false;
		arm(kept);
	}
}

/* What stays as it is is said once, not at every look. */
static void tell_once(struct kept *kept, const char *text)
{
	if (strcmp(kept->told, text) == 0)
		return;
	snprintf(kept->told, sizeof(kept->told), "%s", text);
	look_set_kept(kept->keeper->options.look, kept->record.uuid, text);
}

/* cause: why it is not as it should be; NULL: it is. */
static void tell_corrected(struct kept *kept, const char *cause)
{
	char text[160];

	/* The same once more is news: it was right in between. */
	if (!cause) {
		kept->told[0] = '\0';
		snprintf(text, sizeof(text), "put right: %.140s", kept->detail);
	} else {
		snprintf(text, sizeof(text), "could not be put right (%.60s): %.70s", cause, kept->detail);
	}
	tell_once(kept, text);
	if (!cause)
		kept->told[0] = '\0';
}

static void tell_observing(struct kept *kept)
{
	char text[160];

	snprintf(text, sizeof(text), "observing only, so not put right: %.110s", kept->detail);
	tell_once(kept, text);
}

static void on_corrected(void *user, const struct worker_result *result)
{
	struct kept *kept = user;
	const char *cause = NULL;
	char text[96];

	if (guest_of(kept)) {
		if (result->outcome != WORKER_OUTCOME_DONE)
			cause = result->remainder.count ? result->remainder.items[0].detail :
							  failure_format(&result->failure, text, sizeof(text));
		tell_corrected(kept, cause);
	}
	rest(kept);
}

static void correct(struct kept *kept, const struct snapshot_guest *guest, const struct step *step)
{
	if (kept->keeper->options.observe) {
		tell_observing(kept);
		rest(kept);
		return;
	}
	kept->state = KEEPER_STATE_CORRECTING;
	if (start_job(kept, guest, WORKER_JOB_STEP, step, on_corrected) < 0)
		rest(kept);
}

/* A new memory device has the policy that libvirt's XML gives it. */
static bool correct_policy(struct kept *kept, const struct snapshot_guest *guest)
{
	bool is_new = guest->device_count > kept->device_count;
	struct step step;
	int error;

	kept->device_count = guest->device_count;
	if (!is_new || !kept->placement.has_policy)
		return false;
	if (!kept_placement_new_policy(&kept->placement, &step, &error)) {
		if (!error)
			tell_once(kept, "a new memory device has libvirt's policy, and where its cell belongs is not known: move "
					"the guest again");
		return false;
	}
	snprintf(kept->detail, sizeof(kept->detail), "memory policy of a new memory device");
	correct(kept, guest, &step);
	step_done(&step);
	return true;
}

/* True once the change has lasted: from then on it is theirs. */
static bool is_overruled(struct kept *kept)
{
	uint64_t now = monotonic_ms();

	if (!kept->overruled_at_ms)
		kept->overruled_at_ms = now;
	return now >= kept->overruled_at_ms + kept->keeper->options.confirm_ms;
}

static void on_groups(void *user, const struct worker_result *result)
{
	struct kept *kept = user;
	const struct snapshot_guest *guest = guest_of(kept);
	const json_t *groups = json_object_get(result->values, "groups");
	struct look *look = kept->keeper->options.look;
	char text[160];
	struct step step;

	if (!guest || result->outcome != WORKER_OUTCOME_DONE || !json_is_array(groups) ||
	    kept->keeper->options.is_busy(kept->keeper->options.user, kept->record.uuid)) {
		rest(kept);
		return;
	}
	enum kept_placement_verdict verdict = kept_placement_judge(&kept->placement, groups, kept->detail);

	/* A group that is not right yet is not known yet: the next look finds it new again. */
	if (verdict != KEPT_PLACEMENT_OVERRULED)
		kept->overruled_at_ms = 0;
	if (verdict == KEPT_PLACEMENT_RIGHT) {
		json_decref(kept->placement.groups);
		kept->placement.groups = json_incref((json_t *)(uintptr_t)groups);
	}
	switch (verdict) {
	case KEPT_PLACEMENT_NEW_GROUPS:
		step_init(&step, STEP_KIND_CPUSET);
		step.nodes = kept->placement.mems;
		correct(kept, guest, &step);
		return;
	case KEPT_PLACEMENT_OVERRULED:
		if (!is_overruled(kept)) {
			kept->state = KEEPER_STATE_IDLE;
			kept->again = false;
			arm_after(kept, kept->keeper->options.confirm_ms);
			return;
		}
		kept->placement.mems = 0;
		snprintf(text, sizeof(text), "changed by somebody else, so left: %.120s", kept->detail);
		look_set_managed(look, kept->record.uuid, false);
		look_set_kept(look, kept->record.uuid, text);
		break;
	case KEPT_PLACEMENT_RIGHT:
	case KEPT_PLACEMENT_VERDICT_COUNT:
		break;
	}
	if (!correct_policy(kept, guest))
		rest(kept);
}

static void look_at_groups(struct kept *kept)
{
	const struct snapshot_guest *guest = guest_of(kept);
	struct step step;

	kept->state = KEEPER_STATE_LOOKING;
	if (!guest) {
		rest(kept);
		return;
	}
	if (!kept->placement.mems) {
		if (!correct_policy(kept, guest))
			rest(kept);
		return;
	}
	step_init(&step, STEP_KIND_CPUSET);
	step.nodes = kept->placement.mems;
	if (start_job(kept, guest, WORKER_JOB_BEFORE, &step, on_groups) < 0)
		rest(kept);
}

/* Threads */

/* Whether the emulator's thread is on all the CPUs of the nodes, and on no other. */
static bool is_pinned_to(const struct snapshot *snapshot, uint64_t nodes, const struct domain_xml *xml)
{
	struct node_set wanted = {0}, pinned, one;

	for (size_t i = 0; i < snapshot->node_count; i++) {
		if (!(nodes >> snapshot->nodes[i].id & 1))
			continue;
		if (node_set_parse(snapshot->nodes[i].cpus, &one) < 0)
			return false;
		wanted = node_set_union(&wanted, &one);
	}
	return !node_set_is_empty(&wanted) && node_set_parse(xml->emulator_pin, &pinned) == 0 &&
	       node_set_is_equal(&wanted, &pinned);
}

static bool has_pin(const struct domain_xml *xml, unsigned id)
{
	for (size_t i = 0; i < xml->iothread_pin_count; i++)
		if (xml->iothread_pins[i].id == id)
			return true;
	return false;
}

static void on_pinned(void *user, const struct connection_result *result)
{
	struct kept *kept = user;
	char cause[96];

	if (result->outcome != CONNECTION_DONE && !failure_is_set(&kept->pin_failure))
		kept->pin_failure = result->failure;
	if (--kept->pins)
		return;
	if (guest_of(kept))
		tell_corrected(kept, failure_is_set(&kept->pin_failure)
					     ? failure_format(&kept->pin_failure, cause, sizeof(cause))
					     : NULL);
	look_at_groups(kept);
}

static void pin_iothread(struct kept *kept, unsigned id, const char *cpus)
{
	struct connection_call call = {.kind = CONNECTION_CALL_PIN_IOTHREAD, .scope = CONNECTION_SCOPE_LIVE,
				       .uuid = kept->record.uuid, .on_done = on_pinned, .userdata = kept,
				       .pin = {.id = id, .cpus = cpus}};
	int r = connection_submit(look_connection(kept->keeper->options.look), &call, NULL);

	if (r == 0)
		kept->pins++;
	else if (!failure_is_set(&kept->pin_failure))
		failure_set(&kept->pin_failure, r, kept->record.uuid, "cannot pin a thread");
}

/* I/O threads that have come since all were pinned. False where there is none to be pinned. */
static bool pin_new(struct kept *kept, const struct domain_xml *xml)
{
	const struct snapshot *snapshot = look_snapshot(kept->keeper->options.look);
	char cpus[DOMAIN_XML_CPUS_SIZE], cause[96];
	size_t length = 0;

	/* Where somebody has pinned the emulator elsewhere since, its new threads are theirs, too. */
	if (!is_pinned_to(snapshot, kept->placement.cpu_nodes, xml))
		return false;
	snapshot_cpus_of_nodes(snapshot, kept->placement.cpu_nodes, cpus, sizeof(cpus));
	failure_clear(&kept->pin_failure);
	for (size_t i = 0; i < xml->iothread_count; i++) {
		if (has_pin(xml, xml->iothreads[i]))
			continue;
		if (length + 1 < sizeof(kept->detail))
			length += (size_t)snprintf(kept->detail + length, sizeof(kept->detail) - length,
						   "%siothread%u: no pin", length ? ", " : "", xml->iothreads[i]);
		if (!kept->keeper->options.observe)
			pin_iothread(kept, xml->iothreads[i], cpus);
	}
	if (length && kept->keeper->options.observe)
		tell_observing(kept);
	else if (length && !kept->pins)
		tell_corrected(kept, failure_format(&kept->pin_failure, cause, sizeof(cause)));
	if (kept->pins)
		kept->state = KEEPER_STATE_CORRECTING;
	return kept->pins;
}

static void on_threads(void *user, const struct connection_result *result)
{
	struct kept *kept = user;
	struct domain_xml xml;

	/* Whoever else is at work may be pinning: when an operation ends, what it left is learnt and looked at. */
	if (!guest_of(kept) || kept->keeper->options.is_busy(kept->keeper->options.user, kept->record.uuid)) {
		rest(kept);
		return;
	}
	if (result->outcome == CONNECTION_DONE && result->domain_count && result->domains[0].live_xml &&
	    domain_xml_parse(result->domains[0].live_xml, strlen(result->domains[0].live_xml), &xml, NULL) == 0) {
		bool is_pinning = pin_new(kept, &xml);

		domain_xml_done(&xml);
		if (is_pinning)
			return;
	}
	look_at_groups(kept);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct kept *kept = user;
	struct connection_call call = {.kind = CONNECTION_CALL_GET_DOMAIN, .uuid = kept->record.uuid,
				       .on_done = on_threads, .userdata = kept};

	kept->state = KEEPER_STATE_IDLE;
	if (!guest_of(kept)) {
		drop(kept);
		return;
	}
	/* An operation's own changes are no news; when it ends, what it left is learnt. */
	if (kept->keeper->options.is_busy(kept->keeper->options.user, kept->record.uuid))
		return;
	kept->state = KEEPER_STATE_LOOKING;
	if (!kept->placement.cpu_nodes ||
	    connection_submit(look_connection(kept->keeper->options.look), &call, NULL) < 0)
		look_at_groups(kept);
}

/* Learning */

static struct kept *add(struct placement_keeper *keeper, const struct snapshot_guest *guest)
{
	struct kept *kept = guest_records_add(&keeper->guests, guest->uuid);

	if (!kept)
		return NULL;
	kept->keeper = keeper;
	kept->pid = guest->pid;
	kept->start_time = guest->start_time;
	kept->device_count = guest->device_count;
	kept->timer = evtimer_new(keeper->options.base, on_timer, kept);
	if (!kept->timer) {
		drop(kept);
		return NULL;
	}
	return kept;
}

static bool is_anything(const struct kept_placement *placement)
{
	return placement->mems || placement->has_policy || placement->cpu_nodes || placement->wanted_nodes;
}

static void learn_guest(struct placement_keeper *keeper, const struct snapshot_guest *guest,
			const struct operation_record *const *operations, size_t count, bool is_all)
{
	struct kept_placement placement = {0};
	struct kept *kept = guest_records_find(&keeper->guests, guest->uuid);
	char uuid[SNAPSHOT_UUID_SIZE];
	int rc = 0;

	/* A guest that was started anew keeps nothing. */
	if (kept && !guest_of(kept)) {
		/* A worker still answers for the one before: it drops it then. */
		if (is_at_work(kept))
			return;
		drop(kept);
		kept = NULL;
	}
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = kept_placement_take(&placement, operations[i], guest);
	if (rc == 0 && kept && !is_all)
		rc = kept_placement_inherit(&placement, &kept->placement);
	if (rc || (!kept && !is_anything(&placement))) {
		kept_placement_done(&placement);
		return;
	}
	if (!kept)
		kept = add(keeper, guest);
	if (!kept) {
		kept_placement_done(&placement);
		return;
	}
	/* A device that has come since the last word is not looked at yet. */
	if (guest->surveyed && guest->device_count == kept->device_count)
		kept_placement_see_cells(&placement, guest);
	kept_placement_done(&kept->placement);
	kept->placement = placement;
	/* Telling look makes a new snapshot: the guest is not touched afterwards. */
	memcpy(uuid, guest->uuid, sizeof(uuid));
	look_set_managed(keeper->options.look, uuid, placement.mems || placement.has_policy);
	look_set_wanted(keeper->options.look, uuid, placement.wanted_nodes, placement.left_nodes);
	watch_cgroup(kept);
	arm(kept);
}

void placement_keeper_learn(struct placement_keeper *keeper, const struct operation_record *const *operations,
			    size_t count, bool is_all)
{
	/* Borrowed until the next turn of the loop, whatever is set meanwhile. */
	const struct snapshot *snapshot = look_snapshot(keeper->options.look);

	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (snapshot->guests[i].pid > 0)
			learn_guest(keeper, &snapshot->guests[i], operations, count, is_all);
}

static void arm_one(void *user, const char *uuid)
{
	struct placement_keeper *keeper = user;

	arm(guest_records_find(&keeper->guests, uuid));
}

void placement_keeper_check(struct placement_keeper *keeper, const char *guest)
{
	struct kept *kept = guest_records_find(&keeper->guests, guest);

	if (!guest[0])
		guest_records_visit(&keeper->guests, arm_one, keeper);
	if (!kept)
		return;
	/* The watch tells of groups; a device that came is seen in the guest itself. */
	const struct snapshot_guest *now = guest_of(kept);

	if (!kept->watch || !now || now->device_count != kept->device_count)
		arm(kept);
}

struct placement_keeper *placement_keeper_new(const struct placement_keeper_options *options)
{
	struct placement_keeper *keeper = calloc(1, sizeof(*keeper));

	if (!keeper)
		return NULL;
	guest_records_init(&keeper->guests, sizeof(struct kept), release);
	keeper->options = *options;
	if (!keeper->options.settle_ms)
		keeper->options.settle_ms = SETTLE_MS;
	if (!keeper->options.confirm_ms)
		keeper->options.confirm_ms = CONFIRM_MS;
	return keeper;
}

struct placement_keeper *placement_keeper_free(struct placement_keeper *keeper)
{
	if (!keeper)
		return NULL;
	guest_records_done(&keeper->guests);
	free(keeper);
	return NULL;
}
