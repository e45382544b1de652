/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_priv.h"

#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include "clock.h"
#include "grow_audit.h"
#include "guest_asks.h"
#include "memory_hints.h"
#include "model_json.h"
#include "online_keeper.h"
#include "placement_keeper.h"
#include "rate_keeper.h"
#include "rest_server.h"
#include "size_assistant.h"
#include "worker_pool.h"

/* Progress comes many times a second; a reader of events wants some. */
#define EVENT_INTERVAL_MS 200

/* What the hint is about: a DIMM, or a node where it is in none. */
void daemon_events_hint(void *user, const struct snapshot_hint *hint)
{
	struct daemon *daemon = user;
	const struct snapshot *snapshot;
	const struct snapshot_dimm *dimm;
	const struct snapshot_node *node;
	json_t *object = NULL;
	char where[32] = "";

	if (hint->range.start < hint->range.end)
		snprintf(where, sizeof(where), " at 0x%" PRIx64, hint->address);
	fprintf(stderr, "<4>memory goes bad, says a hint: risk %s%s, %s%s\n", hint_risk_name(hint->risk), where,
		hint->dimm[0] ? "dimm " : "in no DIMM", hint->dimm);
	look_renew(daemon->look);
	snapshot = look_snapshot(daemon->look);
	dimm = snapshot_dimm(snapshot, hint->dimm);
	node = dimm ? NULL : snapshot_node(snapshot, hint->node);
	if (dimm)
		object = model_json_dimm(snapshot, dimm);
	else if (node)
		object = model_json_node(snapshot, node);
	if (object && daemon->rest)
		rest_server_event(daemon->rest, dimm ? "dimm" : "node", object);
	json_decref(object);
}

void daemon_events_came(void *user, const struct drain_record *drain, const struct remainder *what)
{
	fprintf(stderr, "<4>drain %s: something has come into %s, which it had emptied: %s, %s\n", drain->id, drain->target,
		what->object, what->detail);
}

void daemon_events_look(void *user, enum look_change change, const char *uuid)
{
	struct daemon *daemon = user;
	const char *kind = change == LOOK_CHANGE_AGENT ? "agent" : "guest";
	const struct snapshot_guest *guest;

	if (daemon->keeper && change == LOOK_CHANGE_GUEST)
		placement_keeper_check(daemon->keeper, uuid);
	if (daemon->audit && daemon->acting && uuid[0])
		grow_audit_check(daemon->audit, uuid);
	if (daemon->onlining && daemon->acting && uuid[0])
		online_keeper_check(daemon->onlining, uuid);
	if (daemon->assistant && daemon->acting && uuid[0])
		size_assistant_check(daemon->assistant, uuid);
	if (daemon->asks && daemon->acting && uuid[0])
		guest_asks_check(daemon->asks, uuid);
	if (!daemon->rest || !uuid[0])
		return;
	if (change == LOOK_CHANGE_GUEST_GONE) {
		json_t *object = json_pack("{s:s, s:s}", "uuid", uuid, "state", "gone");

		rest_server_event(daemon->rest, kind, object);
		json_decref(object);
		return;
	}
	guest = snapshot_guest(look_snapshot(daemon->look), uuid);
	if (guest) {
		json_t *object = model_json_guest(look_snapshot(daemon->look), guest);

		rest_server_event(daemon->rest, kind, object);
		json_decref(object);
	}
}

/* Is it progress alone, so soon after the last event of the same operation that nobody misses it? */
static bool is_too_soon(struct daemon *daemon, const struct operation_record *operation)
{
	uint64_t now = monotonic_ms();
	struct told *told = NULL;

	for (size_t i = 0; i < EVENT_OPERATIONS && !told; i++)
		if (strcmp(daemon->told[i].id, operation->id) == 0)
			told = &daemon->told[i];
	if (told && told->state == operation->state && told->step_count == operation->step_count &&
	    now < told->at_ms + EVENT_INTERVAL_MS)
		return true;
	if (!told)
		told = &daemon->told[daemon->told_next++ % EVENT_OPERATIONS];
	*told = (struct told){.state = operation->state, .step_count = operation->step_count, .at_ms = now};
	memcpy(told->id, operation->id, sizeof(told->id));
	return false;
}

void daemon_events_engine(void *user, enum engine_change change, const struct operation_record *operation,
			  const struct drain_record *drain)
{
	struct daemon *daemon = user;
	bool final = operation && operation_state_is_final(operation->state);
	json_t *object;

	if (operation && change == ENGINE_CHANGE_OPERATION)
		rate_keeper_see(daemon->rates, operation, look_snapshot(daemon->look));
	if (final && daemon->assistant && operation->wish.kind == OPERATION_KIND_RESIZE)
		size_assistant_ended(daemon->assistant, operation);
	if (final && daemon->acting &&
	    (operation->wish.kind == OPERATION_KIND_MOVE || operation->wish.kind == OPERATION_KIND_UNDRAIN)) {
		daemon->has_undone |= operation->undone || operation->wish.kind == OPERATION_KIND_UNDRAIN;
		event_active(daemon->learn, EV_TIMEOUT, 0);
	}
	/* Whether it has left now what a drain has emptied, or, grown, has come there. */
	if (final && daemon->acting && !operation->parent[0])
		event_active(daemon->keep_holds, EV_TIMEOUT, 0);
	if (!daemon->rest)
		return;
	if (change == ENGINE_CHANGE_DRAIN) {
		object = model_json_drain(drain, operation);
		rest_server_event(daemon->rest, "drain", object);
		json_decref(object);
		return;
	}
	if (is_too_soon(daemon, operation))
		return;
	object = model_json_operation(operation);
	rest_server_event(daemon->rest, "operation", object);
	json_decref(object);
}

void daemon_tell_status(const struct daemon *daemon)
{
	size_t stuck = daemon->backend.stuck_workers(daemon->backend.user);

	if (stuck)
		sd_notifyf(0, "STATUS=Serving %s%s; %zu workers are stuck in the kernel: ballastctl status", daemon->config->socket,
			   daemon->config->observe ? ", observing only" : "", stuck);
	else
		sd_notifyf(0, "STATUS=Serving %s%s", daemon->config->socket, daemon->config->observe ? ", observing only" : "");
}

int daemon_take_stuck(struct daemon *daemon, const struct worker_stuck *stuck)
{
	const struct worker_record *record = &stuck->record;
	char text[WORKER_STUCK_TEXT_SIZE];
	struct step step;

	daemon_say("<3>", NULL, worker_stuck_describe(stuck, text));
	if (!worker_record_changes(record))
		return 0;
	step_init(&step, record->step);
	memcpy(step.guest, record->guest, sizeof(step.guest));
	step.node = record->node;
	step.page_bytes = record->page_bytes;
	return engine_stuck_add(daemon->engine, record->pid, &step, text);
}

void daemon_events_stuck(void *user, const struct worker_stuck *stuck, bool is_gone)
{
	struct daemon *daemon = user;
	json_t *object;

	if (is_gone) {
		fprintf(stderr, "<5>worker %d, which was stuck in the kernel, has ended: %s\n", stuck->record.pid,
			stuck->record.text);
		engine_stuck_gone(daemon->engine, stuck->record.pid);
	} else if (daemon_take_stuck(daemon, stuck) < 0) {
		daemon_say("<3>", NULL, "no memory to keep others from what it works on");
	}
	look_renew(daemon->look);
	daemon_tell_status(daemon);
	object = daemon_backend_host(daemon);
	rest_server_event(daemon->rest, "host", object);
	json_decref(object);
}
