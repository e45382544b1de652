/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start: directories and lock, journal, workers (those of a daemon before us are waited for), look, engine, API, and
 * then what the journal holds unfinished, once libvirt and the host have been looked at. Stop: the other way round;
 * running steps are cancelled softly and taken up by the next start.
 */
#include "daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>
#include <cap-ng.h>
#include "boot_record.h"
#include "cleanup.h"
#include "clock.h"
#include "connection.h"
#include "domain_xml.h"
#include "engine.h"
#include "grow_audit.h"
#include "guest_asks.h"
#include "guest_blocks.h"
#include "holders.h"
#include "journal.h"
#include "kernel_probe.h"
#include "look.h"
#include "memory_hints.h"
#include "model_json.h"
#include "movability.h"
#include "node_set.h"
#include "online_keeper.h"
#include "placement_keeper.h"
#include "rate_keeper.h"
#include "rest_server.h"
#include "step_runner.h"
#include "size_assistant.h"
#include "sysroot.h"
#include "worker_pool.h"

/* Workers of a killed daemon end with it; what a stuck kernel call holds longer is somebody's business to see. */
#define ORPHAN_WAIT_MS 15000
#define KILL_GRACE_MS  3000
/* Progress comes many times a second; a reader of events wants some. */
#define EVENT_INTERVAL_MS 200
/* Operations whose last event is remembered: no more are at work at once on a host that gets on with them. */
#define EVENT_OPERATIONS 16
/* After so many looks that failed the operations of the daemon before us go on all the same: each looks for itself. */
#define FIRST_LOOK_TRIES 5
/* Operations that are asked where they left their guests: several moves of each guest of a full host. */
#define LEARN_OPERATIONS 256

/* What was last told of an operation: only progress may be left out. */
struct told {
	char id[OPERATION_ID_SIZE];
	enum operation_state state;
	size_t step_count;
	uint64_t at_ms;
};

struct daemon {
	const struct config *config;
	struct plan_limits limits;
	struct event_base *base;
	struct sysroot *sysroot;
	struct journal *journal;
	struct worker_pool *pool;
	struct look *look;
	struct step_runner *runner;
	struct placement_keeper *keeper;
	struct rate_keeper *rates;
	struct size_assistant *assistant;	/* NULL: sizes that libvirt was asked for are left alone */
	struct grow_audit *audit;
	struct guest_asks *asks;
	struct online_keeper *onlining;
	struct engine *engine;
	struct memory_hints *hints;
	struct rest_backend backend;
	struct rest_server *rest;
	struct event *terminate, *interrupt, *look_timer, *watchdog, *learn;
	struct kernel_probe probe;
	struct told told[EVENT_OPERATIONS];
	size_t told_next;
	bool looking;		/* the timer's look is under way */
	bool acting;		/* the first look has been: operations take their steps */
	unsigned failed_looks;
	bool stopping;
	bool has_undone;	/* an operation that took something back has ended since the guests' places were learnt */
	int lock_fd;
};

static uint64_t time_of_day(void *user)
{
	return wall_ms();
}

/* Priorities as systemd reads them from standard error. */
static void say(const char *priority, const struct failure *failure, const char *what)
{
	char text[512];

	fprintf(stderr, "%s%s%s%s\n", priority, what, failure && failure_is_set(failure) ? ": " : "",
		failure && failure_is_set(failure) ? failure_format(failure, text, sizeof(text)) : "");
}

/* Looking and the engine's word */

static void add_holds(void *user, struct snapshot *snapshot)
{
	struct daemon *daemon = user;

	if (daemon->engine && engine_see_holds(daemon->engine, snapshot) < 0)
		say("<4>", NULL, "no memory to see all that drains hold");
	if (daemon->hints && memory_hints_see(daemon->hints, snapshot) < 0)
		say("<4>", NULL, "no memory to see all hints");
}

/* What the hint is about: a DIMM, or a node where it is in none. */
static void on_hint_changed(void *user, const struct snapshot_hint *hint)
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

static void on_look_changed(void *user, enum look_change change, const char *uuid)
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

static bool is_guest_busy(void *user, const char *guest)
{
	return engine_guest_operation(((struct daemon *)user)->engine, guest) != NULL;
}

/* The operation is told of as any other; what refuses it now is tried again by the assistant, after a pause. */
static void on_assist_answer(void *user, const struct engine_answer *answer)
{
	if (answer->result == ENGINE_SUBMIT_REFUSED || answer->result == ENGINE_SUBMIT_FAILED)
		say("<5>", answer->failure, "a size that libvirt was asked for is not helped");
}

static void on_assist(void *user, const struct wish *wish)
{
	struct daemon *daemon = user;

	engine_submit(daemon->engine, &(struct engine_submission){.wish = wish, .actor = OPERATION_ACTOR_LIBVIRT},
		      on_assist_answer, NULL);
}

struct ask_to {
	struct daemon *daemon;
	char guest[SNAPSHOT_UUID_SIZE];
};

static void on_ask_answer(void *user, const struct engine_answer *answer)
{
	struct ask_to *ask = user;
	bool granted = answer->result == ENGINE_SUBMIT_ACCEPTED || answer->result == ENGINE_SUBMIT_ALREADY ||
		       answer->result == ENGINE_SUBMIT_REPLAYED;
	struct failure failure;

	if (!granted && answer->failure)
		failure = *answer->failure;
	else if (!granted)
		failure_set(&failure, EBUSY, ask->guest, "cannot grow now");
	if (ask->daemon->asks)
		guest_asks_decided(ask->daemon->asks, ask->guest, granted ? NULL : &failure);
	free(ask);
}

static void on_ask(void *user, const struct wish *wish)
{
	struct daemon *daemon = user;
	struct ask_to *ask = calloc(1, sizeof(*ask));
	struct failure failure;

	if (!ask) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot grant it now");
		guest_asks_decided(daemon->asks, wish->guest, &failure);
		return;
	}
	*ask = (struct ask_to){.daemon = daemon};
	memcpy(ask->guest, wish->guest, sizeof(ask->guest));
	engine_submit(daemon->engine, &(struct engine_submission){.wish = wish, .actor = OPERATION_ACTOR_GUEST},
		      on_ask_answer, ask);
}

static int start_assistant(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	if (!config->assist_after_s || config->observe)
		return 0;
	daemon->assistant = size_assistant_new(&(struct size_assistant_options){
		.base = daemon->base, .look = daemon->look, .flat_ms = config->assist_after_s * 1000,
		.read_ms = config->look_interval_s * 1000, .is_busy = is_guest_busy, .submit = on_assist, .user = daemon});
	return daemon->assistant ? 0 : -ENOMEM;
}

/* What the operations in memory left their guests with. An undo takes some of it back: then these alone say what stands. */
static void on_learn(evutil_socket_t fd, short what, void *user)
{
	struct daemon *daemon = user;
	const struct operation_record *operations[LEARN_OPERATIONS];
	size_t count = engine_operations(daemon->engine, operations, ARRAY_SIZE(operations));

	placement_keeper_learn(daemon->keeper, operations, count, daemon->has_undone);
	daemon->has_undone = false;
}

/* What operations of daemons before this one left: the journal has them, newest first. */
static void learn_from_journal(struct daemon *daemon)
{
	struct operation_record **operations = NULL;
	struct failure failure = {0};
	size_t count = 0;

	if (journal_load_operations(daemon->journal, false, NULL, LEARN_OPERATIONS, &operations, &count, &failure) < 0) {
		say("<4>", &failure, "cannot tell which guests are to be kept in their place");
		return;
	}
	placement_keeper_learn(daemon->keeper, (const struct operation_record *const *)operations, count, true);
	for (size_t i = 0; i < count; i++)
		operation_record_free(operations[i]);
	free(operations);
}

static void on_rates_changed(void *user, const struct measured_rates *rates)
{
	look_set_rates(((struct daemon *)user)->look, rates);
}

static void on_engine_changed(void *user, enum engine_change change, const struct operation_record *operation,
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

/* The API's other questions */

static const struct snapshot *backend_snapshot(void *user)
{
	return look_snapshot(((struct daemon *)user)->look);
}

struct answer_to {
	rest_done_fn *done;
	void *user;
	struct daemon *daemon;
	char guest[SNAPSHOT_UUID_SIZE];
};

static struct answer_to *answer_new(struct daemon *daemon, const char *guest, rest_done_fn *done, void *user)
{
	struct answer_to *answer = calloc(1, sizeof(*answer));
	struct failure failure;

	if (!answer) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot answer");
		done(user, -ENOMEM, &failure, NULL);
		return NULL;
	}
	*answer = (struct answer_to){.done = done, .user = user, .daemon = daemon};
	snprintf(answer->guest, sizeof(answer->guest), "%s", guest ? guest : "");
	return answer;
}

static void on_refreshed(void *user, int error, const struct failure *failure)
{
	struct answer_to answer = *(struct answer_to *)user;

	free(user);
	/* Without libvirt the host's part is fresh, and the guests' says when it was seen. */
	answer.done(answer.user, error == -ENOTCONN ? 0 : error, failure, NULL);
}

static void backend_refresh(void *user, const char *guest, rest_done_fn *done, void *done_user)
{
	struct daemon *daemon = user;
	struct answer_to *answer = answer_new(daemon, guest, done, done_user);

	if (answer)
		look_refresh(daemon->look, guest, LOOK_SURVEY | LOOK_POLICY | LOOK_AGENT, on_refreshed, answer);
}

static void backend_hint(void *user, const struct memory_hint *hint, const char *actor, memory_hints_answer_fn *done,
			 void *done_user)
{
	struct daemon *daemon = user;

	memory_hints_take(daemon->hints, look_snapshot(daemon->look), hint, actor, done, done_user);
}

static bool backend_libvirt_up(void *user, struct failure *failure)
{
	return look_libvirt_is_up(((struct daemon *)user)->look, failure);
}

/* nodes: on which it can be done. */
static json_t *able(uint64_t nodes, const char *reason)
{
	if (!nodes)
		return json_pack("{s:s, s:s}", "able", "no", "reason", reason);
	return json_pack("{s:s, s:o}", "able", "yes", "nodes", model_json_nodes(nodes));
}

static json_t *probes_json(const struct kernel_probe *probe)
{
	json_t *probes = json_object();

	for (int i = 0; i < KERNEL_FEATURE_COUNT; i++)
		json_object_set_new(probes, kernel_feature_name((enum kernel_feature)i),
				    json_pack("{s:s, s:s}", "state", kernel_probe_state_name(probe->entries[i].state),
					      "detail", probe->entries[i].detail));
	return probes;
}

static json_t *can_json(const struct snapshot *snapshot, bool libvirt_is_up)
{
	struct movability movability = {0};
	uint64_t with_memory = 0, movable = 0;
	const char *way_out;
	unsigned count = 0;
	char reason[256];

	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_node *node = &snapshot->nodes[i];

		if (!node->total_bytes)
			continue;
		with_memory |= UINT64_C(1) << node->id;
		count++;
		if (node->movable_bytes)
			movable |= UINT64_C(1) << node->id;
	}
	for (size_t i = 0; i < snapshot->block_count; i++)
		movability_add(&movability, &snapshot->blocks[i]);
	way_out = movability_way_out(snapshot, &movability);
	snprintf(reason, sizeof(reason), "no node has movable memory; %s",
		 way_out ? way_out : "how zones are cut is decided at boot (movable_node, kernelcore=)");
	return json_pack("{s:o, s:o, s:o}", "resize",
			 able(libvirt_is_up ? with_memory : 0, "libvirt is not there"), "move",
			 able(libvirt_is_up && count > 1 ? with_memory : 0,
			      libvirt_is_up ? "only one node has memory" : "libvirt is not there"),
			 "drain", able(movable, reason));
}

static json_t *backend_host(void *user)
{
	struct daemon *daemon = user;
	const struct snapshot *snapshot = look_snapshot(daemon->look);
	struct failure failure = {0};
	bool up = look_libvirt_is_up(daemon->look, &failure);
	struct utsname kernel;
	json_t *libvirt, *json;
	char text[512];

	uname(&kernel);
	libvirt = up ? json_pack("{s:s}", "state", "up") :
		       json_pack("{s:s, s:s}", "state", "down", "reason", failure_format(&failure, text, sizeof(text)));
	json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:{s:I, s:i, s:I}, s:I, s:o}", "version", BALLAST_VERSION,
			 "mode", daemon->config->observe ? "observe" : "act", "kernel", kernel.release, "libvirt", libvirt,
			 "probes", probes_json(&daemon->probe), "can", can_json(snapshot, up), "memory_controllers",
			 model_json_controllers(snapshot), "limits", "reserve_bytes",
			 (json_int_t)snapshot->reserve_bytes, "stall_us", (int)daemon->limits.stall_us, "bytes_per_s",
			 (json_int_t)daemon->limits.bytes_per_s, "revision", (json_int_t)snapshot->revision,
			 "observed_at", model_json_time(snapshot->observed_at_ms));
	model_json_add_reboot(json, &snapshot->reboot);
	return json;
}

static void backend_holders(void *user, const struct snapshot_range *ranges, size_t count, rest_holders_fn *done,
			    void *done_user)
{
	struct daemon *daemon = user;

	holders_find(daemon->look, daemon->pool, ranges, count, done, done_user);
}

static void backend_guest_blocks(void *user, const char *guest, uint64_t first_block, size_t count,
				 rest_guest_blocks_fn *done, void *done_user)
{
	guest_blocks_ask(((struct daemon *)user)->look, guest, first_block, count, done, done_user);
}

static void on_called(void *user, const struct connection_result *result)
{
	struct answer_to *answer = user;
	int error = 0;

	switch (result->outcome) {
	case CONNECTION_DONE:
		/* Seen by whoever asks next. */
		look_refresh(answer->daemon->look, answer->guest, 0, on_refreshed, answer);
		return;
	case CONNECTION_NO_DOMAIN:
		error = -ENOENT;
		break;
	case CONNECTION_NOT_UP:
		error = -ENOTCONN;
		break;
	case CONNECTION_TIMED_OUT:
		error = -ETIMEDOUT;
		break;
	case CONNECTION_REFUSED:
	case CONNECTION_OUTCOME_COUNT:
		/* What a check before libvirt refused has a code of its own: it is the caller's to mend. */
		error = result->failure.code[0] ? -EPERM : -EIO;
		break;
	}
	answer->done(answer->user, error, &result->failure, NULL);
	free(answer);
}

static void call(struct answer_to *answer, struct connection_call *request)
{
	struct failure failure;

	request->uuid = answer->guest;
	request->on_done = on_called;
	request->userdata = answer;
	int r = connection_submit(look_connection(answer->daemon->look), request, NULL);

	if (r == 0)
		return;
	failure_set(&failure, r, "libvirt", "cannot be asked");
	answer->done(answer->user, -EBUSY, &failure, NULL);
	free(answer);
}

static void backend_attach_agent(void *user, const char *guest, rest_done_fn *done, void *done_user)
{
	struct answer_to *answer = answer_new(user, guest, done, done_user);
	struct connection_call request = {.kind = CONNECTION_CALL_ATTACH_CHANNEL,
					  .scope = CONNECTION_SCOPE_LIVE,
					  .channel_name = DOMAIN_XML_AGENT_CHANNEL};

	if (answer)
		call(answer, &request);
}

static void backend_set_policy(void *user, const char *guest, const struct rest_guest_policy *policy,
			       rest_done_fn *done, void *done_user)
{
	struct daemon *daemon = user;
	struct answer_to *answer = answer_new(daemon, guest, done, done_user);
	const struct snapshot_guest *seen = snapshot_guest(look_snapshot(daemon->look), guest);
	struct domain_xml_policy element = {
		.has_minimum = policy->minimum_bytes > 0,
		.minimum_bytes = policy->minimum_bytes,
		.has_maximum = policy->maximum_bytes > 0,
		.maximum_bytes = policy->maximum_bytes,
		.has_request_limit = policy->request_limit_bytes > 0,
		.request_limit_bytes = policy->request_limit_bytes,
		.has_zone_repair = policy->zone_repair != GUEST_ZONE_REPAIR_UNSET,
		.zone_repair = policy->zone_repair == GUEST_ZONE_REPAIR_YES,
		.has_priority = policy->priority > 0,
		.priority = (unsigned)policy->priority,
	};
	struct connection_call request = {.kind = CONNECTION_CALL_SET_METADATA, .scope = CONNECTION_SCOPE_LIVE};
	CLEANUP_FREE char *xml = NULL;
	struct failure failure;
	struct node_set nodes;

	if (!answer)
		return;
	node_set_clear(&nodes);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (policy->allowed_nodes >> node & 1)
			node_set_add(&nodes, node);
	node_set_format(&nodes, element.allowed_nodes, sizeof(element.allowed_nodes));
	if (policy->online_policy != GUEST_ONLINE_POLICY_UNSET)
		snprintf(element.online_policy, sizeof(element.online_policy), "%s",
			 guest_online_policy_name(policy->online_policy));
	int r = domain_xml_policy_format(&element, &xml);

	if (r < 0) {
		failure_set(&failure, r, guest, "cannot set its policy");
		done(done_user, r, &failure, NULL);
		free(answer);
		return;
	}
	if (seen && seen->persistent)
		request.scope = seen->pid > 0 ? CONNECTION_SCOPE_BOTH : CONNECTION_SCOPE_STORED;
	request.metadata = xml;
	call(answer, &request);
}

/* Life */

static void on_idle(void *user)
{
	event_base_loopbreak(((struct daemon *)user)->base);
}

static void on_signal(evutil_socket_t number, short what, void *user)
{
	struct daemon *daemon = user;

	if (daemon->stopping) {
		event_base_loopbreak(daemon->base);
		return;
	}
	daemon->stopping = true;
	sd_notify(0, "STOPPING=1");
	engine_stop(daemon->engine, on_idle, daemon);
}

static void on_first_look(void *user, int error, const struct failure *failure)
{
	struct daemon *daemon = user;

	daemon->looking = false;
	/* A guest that cannot be looked at must not keep all others' operations from going on for ever. */
	if (error && (!look_libvirt_is_up(daemon->look, NULL) || ++daemon->failed_looks < FIRST_LOOK_TRIES))
		return;
	if (error)
		say("<4>", failure, "cannot look at everything");
	daemon->acting = true;
	/* Of guests that do not change nothing else tells. */
	const struct snapshot *snapshot = look_snapshot(daemon->look);

	for (size_t i = 0; i < snapshot->guest_count; i++) {
		grow_audit_check(daemon->audit, snapshot->guests[i].uuid);
		online_keeper_check(daemon->onlining, snapshot->guests[i].uuid);
	}
	learn_from_journal(daemon);
	engine_wait(daemon->engine, false);
}

static void on_looked_at_host(void *user, int error, const struct failure *failure)
{
	struct daemon *daemon = user;

	daemon->looking = false;
	if (error)
		say("<4>", failure, "cannot look at the host");
	else
		engine_see(daemon->engine, look_snapshot(daemon->look));
	placement_keeper_check(daemon->keeper, "");
}

static void schedule_look(struct daemon *daemon)
{
	/* Until the operations may go on, libvirt is waited for more eagerly. */
	struct timeval when = {.tv_sec = daemon->acting ? (time_t)daemon->config->look_interval_s : 1};

	evtimer_add(daemon->look_timer, &when);
}

static void on_look_timer(evutil_socket_t fd, short what, void *user)
{
	struct daemon *daemon = user;
	bool is_first = !daemon->acting && look_libvirt_is_up(daemon->look, NULL);

	/* One that takes longer than the interval is not asked for again meanwhile. */
	if (!daemon->looking) {
		daemon->looking = true;
		if (is_first)
			look_refresh(daemon->look, NULL, LOOK_SURVEY | LOOK_POLICY | LOOK_AGENT, on_first_look, daemon);
		else
			look_refresh(daemon->look, "", 0, on_looked_at_host, daemon);
	}
	schedule_look(daemon);
}

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	sd_notify(0, "WATCHDOG=1");
}

/* Without either a plan says that it is not known. */
static void find_reboot(struct daemon *daemon)
{
	struct snapshot_reboot reboot = {.s = daemon->config->reboot_s, .is_configured = daemon->config->reboot_s > 0};
	int r = reboot.s ? 0 : boot_record_read(daemon->sysroot, &reboot.s);
	struct failure failure;

	if (r < 0) {
		failure_set(&failure, r, "/var/log/wtmp", "cannot read how long reboots took");
		say("<5>", &failure, "the time that a reboot takes is not known");
	}
	look_set_reboot(daemon->look, &reboot);
}

static int make_directory(const char *path, mode_t mode, struct failure *failure)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	return failure_set(failure, errno, path, "cannot make the directory");
}

/* One daemon at a time: two would act beside each other. */
static int take_lock(struct daemon *daemon, struct failure *failure)
{
	char path[CONFIG_PATH_SIZE + 32];

	snprintf(path, sizeof(path), "%s/ballastd.lock", daemon->config->run_directory);
	daemon->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (daemon->lock_fd < 0)
		return failure_set(failure, errno, path, "cannot open the lock");
	if (flock(daemon->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	int error = errno;

	failure_set(failure, error, path, "cannot take the lock");
	if (error == EWOULDBLOCK) {
		failure_set_cause(failure, "another ballastd runs");
		failure_set_way_out(failure, "stop it first");
	}
	return -error;
}

/* Keeps what moving, surveying, offlining and opening the sockets takes, and nothing else. */
static int drop_capabilities(struct failure *failure)
{
	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_SYS_NICE, CAP_SYS_PTRACE,
		      CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_SYSLOG, CAP_NET_BIND_SERVICE, -1);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		return failure_set(failure, EPERM, "ballastd", "cannot drop capabilities");
	return 0;
}

static void find_worker(const struct config *config, char path[CONFIG_PATH_SIZE])
{
	ssize_t length;
	char *slash;

	if (config->worker[0]) {
		memcpy(path, config->worker, CONFIG_PATH_SIZE);
		return;
	}
	/* Beside the daemon in a build tree, in libexec once installed. */
	length = readlink("/proc/self/exe", path, CONFIG_PATH_SIZE - 32);
	if (length > 0) {
		path[length] = '\0';
		slash = strrchr(path, '/');
		if (slash) {
			strcpy(slash, "/worker/ballast-worker");
			if (access(path, X_OK) == 0)
				return;
			strcpy(slash, "/ballast-worker");
			if (access(path, X_OK) == 0)
				return;
		}
	}
	snprintf(path, CONFIG_PATH_SIZE, "%s", BALLAST_LIBEXECDIR "/ballast-worker");
}

static int listen_fd(void)
{
	return sd_listen_fds(1) >= 1 ? SD_LISTEN_FDS_START : -1;
}

static int start(struct daemon *daemon, struct failure *failure)
{
	const struct config *config = daemon->config;
	char journal[CONFIG_PATH_SIZE + 32], lock[CONFIG_PATH_SIZE + 32], worker[CONFIG_PATH_SIZE];
	uint64_t watchdog_us;
	char boot_id[64];
	int r;

	if (geteuid() != 0) {
		r = failure_set(failure, EPERM, "ballastd", "cannot run");
		failure_set_way_out(failure, "run it as root: it moves other processes' memory");
		return r;
	}
	r = make_directory(config->run_directory, 0755, failure);
	if (r == 0)
		r = make_directory(config->state_directory, 0700, failure);
	if (r == 0)
		r = take_lock(daemon, failure);
	if (r == 0)
		r = drop_capabilities(failure);
	if (r < 0)
		return r;
	if (evthread_use_pthreads() < 0)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start the loop");
	daemon->base = event_base_new();
	if (!daemon->base)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start the loop");
	r = sysroot_new("/", &daemon->sysroot);
	if (r < 0)
		return failure_set(failure, r, "/", "cannot open");
	kernel_probe_run(daemon->sysroot, &daemon->probe);
	snprintf(journal, sizeof(journal), "%s/journal.db", config->state_directory);
	r = journal_open(journal, &daemon->journal, failure);
	if (r < 0)
		return r;
	find_worker(config, worker);
	snprintf(lock, sizeof(lock), "%s/workers.lock", config->run_directory);
	r = worker_pool_new(&(struct worker_pool_options){.base = daemon->base, .program = worker, .lock_path = lock,
							  .limit = config->workers, .kill_grace_ms = KILL_GRACE_MS,
							  .sysroot = daemon->sysroot},
			    ORPHAN_WAIT_MS, &daemon->pool, failure);
	if (r < 0)
		return r;
	r = look_new(&(struct look_options){.base = daemon->base, .sysroot = daemon->sysroot, .pool = daemon->pool,
					    .libvirt_uri = config->libvirt_uri[0] ? config->libvirt_uri : NULL,
					    .hook_directory = config->hook_directory,
					    .reserve_min_bytes = config->reserve_bytes,
					    .reserve_percent = config->reserve_percent,
					    .safe_copy = daemon->probe.entries[KERNEL_FEATURE_SAFE_COPY].state == KERNEL_PROBE_YES,
					    .add_holds = add_holds,
					    .changed = on_look_changed, .user = daemon},
		     &daemon->look, failure);
	if (r < 0)
		return r;
	find_reboot(daemon);
	r = rate_keeper_new(&(struct rate_keeper_options){.journal = daemon->journal, .changed = on_rates_changed, .user = daemon},
			    &daemon->rates, failure);
	if (r < 0)
		return r;
	daemon->runner = step_runner_new(&(struct step_runner_options){
		.base = daemon->base, .look = daemon->look, .pool = daemon->pool, .flat_ms = config->flat_ms,
		.block_timeout_ms = config->block_timeout_ms, .hook_directory = config->hook_directory});
	daemon->terminate = evsignal_new(daemon->base, SIGTERM, on_signal, daemon);
	daemon->interrupt = evsignal_new(daemon->base, SIGINT, on_signal, daemon);
	daemon->look_timer = evtimer_new(daemon->base, on_look_timer, daemon);
	daemon->learn = event_new(daemon->base, -1, 0, on_learn, daemon);
	daemon->keeper = placement_keeper_new(&(struct placement_keeper_options){
		.base = daemon->base, .sysroot = daemon->sysroot, .look = daemon->look, .pool = daemon->pool,
		.observe = config->observe, .is_busy = is_guest_busy, .user = daemon});
	daemon->audit = grow_audit_new(&(struct grow_audit_options){
		.base = daemon->base, .look = daemon->look, .repair = config->zone_repair,
		.block_timeout_ms = config->block_timeout_ms, .observe = config->observe, .is_busy = is_guest_busy, .user = daemon});
	if (!daemon->runner || !daemon->keeper || !daemon->audit || !daemon->learn || !daemon->terminate || !daemon->interrupt || !daemon->look_timer ||
	    event_add(daemon->terminate, NULL) < 0 || event_add(daemon->interrupt, NULL) < 0)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start");
	/* Without it a reboot goes unseen, and nothing else. */
	if (sysroot_read_text(daemon->sysroot, boot_id, sizeof(boot_id), "/proc/sys/kernel/random/boot_id") < 0)
		boot_id[0] = '\0';
	r = engine_new(&(struct engine_options){.base = daemon->base, .journal = daemon->journal,
						.executor = step_runner_executor(daemon->runner),
						.limits = &daemon->limits, .observe = config->observe, .now_ms = time_of_day,
						.boot_id = boot_id, .changed = on_engine_changed, .user = daemon},
		       &daemon->engine, failure);
	if (r < 0)
		return r;
	daemon->asks = guest_asks_new(&(struct guest_asks_options){.base = daemon->base,
								   .look = daemon->look,
								   .observe = config->observe,
								   .is_busy = is_guest_busy,
								   .submit = on_ask,
								   .user = daemon});
	daemon->onlining = online_keeper_new(&(struct online_keeper_options){.base = daemon->base,
									   .look = daemon->look,
									   .observe = config->observe,
									   .is_movable = config->online_movable,
									   .ratio_percent = config->online_ratio_percent,
									   .is_busy = is_guest_busy,
									   .user = daemon});
	daemon->hints = memory_hints_new(&(struct memory_hints_options){.engine = daemon->engine,
									.policy = &config->hints,
									.now_ms = time_of_day,
									.changed = on_hint_changed,
									.user = daemon});
	if (!daemon->hints || !daemon->asks || !daemon->onlining || start_assistant(daemon) < 0)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start");
	/* From the first request on callers see what is unfinished and held; it goes on after the first look. */
	engine_wait(daemon->engine, true);
	r = engine_recover(daemon->engine, failure);
	if (r < 0)
		return r;
	daemon->backend = (struct rest_backend){
		.user = daemon,
		.engine = daemon->engine,
		.journal = daemon->journal,
		.snapshot = backend_snapshot,
		.refresh = backend_refresh,
		.libvirt_up = backend_libvirt_up,
		.host = backend_host,
		.holders = backend_holders,
		.hint = backend_hint,
		.guest_blocks = backend_guest_blocks,
		.attach_agent = backend_attach_agent,
		.set_policy = backend_set_policy,
		.now_ms = time_of_day,
	};
	r = rest_server_new(&(struct rest_server_options){.base = daemon->base, .backend = &daemon->backend,
							  .listen_fd = listen_fd(), .socket_path = config->socket,
							  .socket_group = config->socket_group},
			    &daemon->rest, failure);
	if (r < 0)
		return r;
	if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
		struct timeval half = {.tv_sec = (time_t)(watchdog_us / 2 / 1000000),
				       .tv_usec = (suseconds_t)(watchdog_us / 2 % 1000000)};

		daemon->watchdog = event_new(daemon->base, -1, EV_PERSIST, on_watchdog, daemon);
		if (!daemon->watchdog || event_add(daemon->watchdog, &half) < 0)
			return failure_set(failure, ENOMEM, "ballastd", "cannot serve the watchdog");
	}
	daemon->looking = true;
	look_refresh(daemon->look, "", 0, on_looked_at_host, daemon);
	schedule_look(daemon);
	return 0;
}

static void stop(struct daemon *daemon)
{
	/*
	 * What answers goes before who is answered: agents that are given up answer the runner, and the runner the
	 * engine, which takes no turn any more.
	 */
	daemon->rest = rest_server_free(daemon->rest);
	worker_pool_free(daemon->pool);
	daemon->keeper = placement_keeper_free(daemon->keeper);
	daemon->assistant = size_assistant_free(daemon->assistant);
	daemon->audit = grow_audit_free(daemon->audit);
	daemon->asks = guest_asks_free(daemon->asks);
	daemon->onlining = online_keeper_free(daemon->onlining);
	look_free(daemon->look);
	step_runner_free(daemon->runner);
	daemon->engine = engine_free(daemon->engine);
	daemon->hints = memory_hints_free(daemon->hints);
	daemon->rates = rate_keeper_free(daemon->rates);
	journal_close(daemon->journal);
	if (daemon->terminate)
		event_free(daemon->terminate);
	if (daemon->interrupt)
		event_free(daemon->interrupt);
	if (daemon->look_timer)
		event_free(daemon->look_timer);
	if (daemon->watchdog)
		event_free(daemon->watchdog);
	if (daemon->learn)
		event_free(daemon->learn);
	if (daemon->base)
		event_base_free(daemon->base);
	sysroot_free(daemon->sysroot);
	if (daemon->lock_fd >= 0)
		close(daemon->lock_fd);
}

int daemon_run(const struct config *config, struct failure *failure)
{
	struct daemon daemon = {.config = config, .lock_fd = -1};
	int r;

	config_limits(config, &daemon.limits);
	r = start(&daemon, failure);
	if (r == 0) {
		sd_notifyf(0, "READY=1\nSTATUS=Serving %s%s", config->socket, config->observe ? ", observing only" : "");
		if (event_base_dispatch(daemon.base) < 0)
			r = failure_set(failure, EIO, "ballastd", "the loop failed");
	}
	stop(&daemon);
	return r;
}
