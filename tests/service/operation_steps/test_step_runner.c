/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps on a host that is a tree of files, with a libvirt, workers and an agent that do as told.
 * The clocks of the programs under test run ahead by what the test says, so that a size is flat
 * without anybody waiting.
 */
#include "step_runner.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent_link.h"
#include "clock.h"
#include "fake_agent.h"
#include "fake_host.h"
#include "fake_kernel_worker.h"
#include "fake_libvirt.h"
#include "scratch.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static time_t ahead_s, monotonic_ahead_s;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	int r = __real_clock_gettime(clock, now);

	if (clock == CLOCK_REALTIME)
		now->tv_sec += ahead_s;
	if (clock == CLOCK_MONOTONIC)
		now->tv_sec += monotonic_ahead_s;
	return r;
}

enum manner {
	MANNER_HONEST,
	MANNER_SILENT,
	MANNER_RESTARTS,
	MANNER_HANGS_UP,
	MANNER_VETOES,
	MANNER_NO_LEASE,
	MANNER_BAD_HOOK,
	MANNER_OLD
};

static struct {
	struct fixture_tree tree;
	struct event_base *base;
	struct event *watchdog;
	struct worker_pool *pool;
	struct look *look;
	struct step_runner *runner;
	const struct executor *executor;
	struct fake_agent *agent;
	struct fake_domain *domain;
	struct operation_record *operation;
	struct step_record record;
	char lock_path[64], agent_path[64];
	enum manner manner;
	char asked[512]; /* types of the requests, in order */
	uint64_t lease_id;
	uint32_t release_flags;
	uint64_t restore_limit;
	unsigned finished, prepared, progresses;
	int prepare_error;
	char before[512];
	struct executor_outcome outcome;
	char result[256];
	struct message_stalls stalls; /* told on a WATCH_STALLS; no samples: none */
	struct message_result reported;
	uint64_t available_bytes, floor_bytes;
	bool tells_region;
	unsigned reports;
	struct message_rung_gain rung; /* told of an evacuation; without: some huge pages */
	struct message_evacuate evacuate; /* as it was asked for last */
} rig;

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	assert(!"a test waits for what does not come");
}

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_ONCE);
}

static void evacuation(struct message *reply)
{
	struct message_evacuate_reply *done = &reply->evacuate_reply;

	reply->type = MESSAGE_EVACUATE_REPLY;
	done->code = MESSAGE_RESULT_PARTIAL;
	done->offlined_bytes = 128 * MIB;
	done->rung_count = 1;
	done->rungs[0] = (struct message_rung_gain){
		.rung = MESSAGE_RUNG_HUGE_PAGES, .gained_bytes = 64 * MIB, .elapsed_ms = 5};
	if (rig.rung.rung != MESSAGE_RUNG_UNKNOWN)
		done->rungs[0] = rig.rung;
	done->pool_count = 1;
	done->pools[0] = (struct message_pool_remainder){MESSAGE_NODE_ALL, 2 * MIB, 10,
							 MESSAGE_REASON_HUGE_PAGES_IN_USE};
	done->block_count = 2;
	done->blocks[0] =
		(struct message_block_outcome){36, 0, 128 * MIB, MESSAGE_REASON_OFFLINED, 0};
	done->blocks[1] =
		(struct message_block_outcome){40, 0, 128 * MIB, MESSAGE_REASON_PINNED, EBUSY};
	snprintf(done->text, sizeof(done->text), "some of it");
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id,
		       const struct message *message)
{
	static struct message reply;
	size_t used = strlen(rig.asked);

	memset(&reply, 0, sizeof(reply));
	if (message->type == MESSAGE_REPORT) {
		reply.type = MESSAGE_REPORT_REPLY;
		reply.report_reply.available_bytes = rig.available_bytes;
		reply.report_reply.floor_bytes = rig.floor_bytes;
		reply.report_reply.region_count = rig.tells_region;
		reply.report_reply.regions[0].size_bytes = 512 * MIB;
		rig.reports++;
		fake_agent_reply(agent, epoch, id, &reply);
		return;
	}
	snprintf(rig.asked + used, sizeof(rig.asked) - used, "%s%s", used ? " " : "",
		 message_type_name(message->type));
	if (message->type == MESSAGE_CANCEL) {
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "");
		fake_agent_reply_result(agent, epoch, message->cancel.request_id,
					MESSAGE_RESULT_CANCELLED, "as asked");
		return;
	}
	if (message->type == MESSAGE_RELEASE_LEASE) {
		rig.lease_id = message->release_lease.lease_id;
		rig.release_flags = message->release_lease.flags;
	}
	if (message->type == MESSAGE_RESTORE_POOLS)
		rig.restore_limit = message->restore_pools.limit_bytes;
	switch (rig.manner) {
	case MANNER_HONEST:
		if (message->type == MESSAGE_WATCH_STALLS && rig.stalls.samples) {
			/* As if it had watched for a second. */
			monotonic_ahead_s++;
			reply.type = MESSAGE_STALLS;
			reply.stalls = rig.stalls;
			fake_agent_reply(agent, epoch, id, &reply);
			return;
		}
		if (message->type == MESSAGE_REPORT_FREE) {
			CHECK_TRUE(message->report_free.deadline_ms <= 5000);
			reply.type = MESSAGE_RESULT;
			reply.result = rig.reported;
			fake_agent_reply(agent, epoch, id, &reply);
			return;
		}
		if (message->type == MESSAGE_PREPARE || message->type == MESSAGE_EVACUATE) {
			rig.lease_id = message->prepare.lease.id;
			rig.evacuate = message->prepare;
			evacuation(&reply);
			fake_agent_reply(agent, epoch, id, &reply);
			return;
		}
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "done");
		return;
	case MANNER_SILENT:
		return;
	case MANNER_RESTARTS:
		fake_agent_restart(agent);
		return;
	case MANNER_HANGS_UP:
		fake_agent_hang_up(agent);
		return;
	case MANNER_VETOES:
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_VETOED, "not now");
		return;
	case MANNER_BAD_HOOK:
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "hook 10-sleepy (after): killed");
		return;
	case MANNER_NO_LEASE:
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_NOT_FOUND,
					"no such lease");
		return;
	case MANNER_OLD:
		reply.type = MESSAGE_UNSUPPORTED;
		reply.unsupported.type = (uint16_t)message->type;
		fake_agent_reply(agent, epoch, id, &reply);
		return;
	}
}

/* A drain holds node 1. */
static void add_hold(void *user, struct snapshot *snapshot)
{
	struct snapshot_hold *hold = snapshot_add_hold(snapshot);

	(void)user;
	assert(hold);
	snprintf(hold->drain, sizeof(hold->drain), "d1");
	hold->node = 1;
}

static void start(bool with_agent)
{
	struct timeval limit = {.tv_sec = 30};
	struct failure failure = {0};
	const struct snapshot_guest *guest;

	memset(&rig, 0, sizeof(rig));
	ahead_s = monotonic_ahead_s = 0;
	fake_libvirt_reset();
	fake_host_init(&rig.tree);
	rig.base = event_base_new();
	rig.watchdog = evtimer_new(rig.base, on_watchdog, NULL);
	evtimer_add(rig.watchdog, &limit);
	snprintf(rig.lock_path, sizeof(rig.lock_path), "%s/workers", scratch_folder());
	snprintf(rig.agent_path, sizeof(rig.agent_path), "%s/agent", scratch_folder());
	fake_host_add_process(&rig.tree, 4711, 4242, "g1", FAKE_LIBVIRT_G1);
	rig.domain = fake_libvirt_add(FAKE_LIBVIRT_G1, "g1");
	if (with_agent) {
		rig.agent = fake_agent_new(rig.base, rig.agent_path, on_request, NULL);
		snprintf(rig.domain->channel, sizeof(rig.domain->channel), "%s", rig.agent_path);
	}
	assert(worker_pool_new(&(struct worker_pool_options){.base = rig.base,
							     .program = FAKE_WORKER,
							     .lock_path = rig.lock_path,
							     .limit = 2,
							     .kill_grace_ms = 5000},
			       0, &rig.pool, &failure) == 0);
	assert(look_new(&(struct look_options){.base = rig.base,
					       .sysroot = rig.tree.sysroot,
					       .pool = rig.pool,
					       .libvirt_uri = "fake:///",
					       .libvirt_ops = &fake_libvirt_ops,
					       .add_holds = add_hold},
			&rig.look, &failure) == 0);
	rig.runner = step_runner_new(&(struct step_runner_options){
		.base = rig.base, .look = rig.look, .pool = rig.pool, .flat_ms = 5000, .block_timeout_ms = 30000,
		.hook_directory = "/etc/hooks", .pace_ms = 20});
	rig.executor = step_runner_executor(rig.runner);
	rig.operation = operation_record_new();
	snprintf(rig.operation->id, sizeof(rig.operation->id), "op-1");
	rig.operation->wish.kind = OPERATION_KIND_RESIZE;
	memcpy(rig.operation->wish.guest, FAKE_LIBVIRT_G1, sizeof(FAKE_LIBVIRT_G1));
	do {
		turn();
		guest = snapshot_guest(look_snapshot(rig.look), "g1");
	} while (!guest || !guest->surveyed || look_snapshot(rig.look)->node_count == 0 ||
		 (with_agent && !guest->agent.reported));
}

static void finish(void)
{
	fake_libvirt_gate(NULL);
	step_runner_free(rig.runner);
	look_free(rig.look);
	fake_libvirt_wait_closed();
	fake_agent_free(rig.agent);
	worker_pool_free(rig.pool);
	step_record_done(&rig.record);
	operation_record_free(rig.operation);
	event_free(rig.watchdog);
	event_base_free(rig.base);
	fixture_tree_done(&rig.tree);
	unlink(rig.lock_path);
}

static struct step *new_step(enum step_kind kind)
{
	struct step *step = &rig.record.step;

	step_record_done(&rig.record);
	memset(&rig.record, 0, sizeof(rig.record));
	rig.record.n = 1;
	step_init(step, kind);
	memcpy(step->guest, FAKE_LIBVIRT_G1, sizeof(FAKE_LIBVIRT_G1));
	snprintf(step->guest_name, sizeof(step->guest_name), "g1");
	snprintf(step->device, sizeof(step->device), FAKE_LIBVIRT_ALIAS);
	return step;
}

static void on_prepared(void *token, int error, const char *before, const struct failure *failure)
{
	CHECK_TRUE(token == &rig);
	rig.prepared++;
	rig.prepare_error = error;
	snprintf(rig.before, sizeof(rig.before), "%s", before ? before : "none");
	if (error)
		CHECK_TRUE(failure_is_set(failure));
	else if (before)
		rig.record.before = strdup(before);
}

static void on_progress(void *token, uint64_t done_bytes, uint64_t total_bytes, const char *detail)
{
	rig.progresses++;
}

static void on_finished(void *token, const struct executor_outcome *outcome)
{
	CHECK_TRUE(token == &rig);
	rig.finished++;
	rig.outcome = *outcome;
	snprintf(rig.result, sizeof(rig.result), "%s", outcome->result ? outcome->result : "none");
}

static void prepare(void)
{
	unsigned before = rig.prepared;

	rig.executor->prepare(rig.executor->user, rig.operation, &rig.record,
			      look_snapshot(rig.look), on_prepared, &rig);
	while (rig.prepared == before)
		turn();
}

static void begin(void)
{
	rig.finished = 0;
	rig.executor->start(rig.executor->user, rig.operation, &rig.record, look_snapshot(rig.look),
			    on_progress, on_finished, &rig);
}

static void wait_finished(void)
{
	while (rig.finished == 0)
		turn();
	/* Once, also when what was asked for comes back later. */
	for (unsigned i = 0; i < 10; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 1);
}

static void run(void)
{
	begin();
	wait_finished();
}

static void begin_undo(void)
{
	rig.finished = 0;
	rig.executor->undo(rig.executor->user, rig.operation, &rig.record, on_progress, on_finished,
			   &rig);
}

static void undo(void)
{
	begin_undo();
	wait_finished();
}

static void check_remainder(enum remainder_code code)
{
	CHECK_INT(rig.outcome.remainder.count, 1);
	CHECK_STR(remainder_code_name(rig.outcome.remainder.items[0].code),
		  remainder_code_name(code));
}

/*
 * Hooks of the host: what they change nobody else knows, so an undo calls them whatever they did. Before the blocks go they
 * have as long as the drain; of its end they are told also where that was its deadline.
 */
static void test_host_hooks(void)
{
	struct step *step;

	start(false);
	rig.operation->deadline_ms = wall_ms() + 60000;
	step = new_step(STEP_KIND_HOST_HOOKS);
	step->guest[0] = step->guest_name[0] = '\0';
	step->timeout_ms = 10000;
	snprintf(step->text, sizeof(step->text), "before");
	prepare();
	CHECK_INT(rig.prepare_error, 0);
	CHECK_STR(rig.before, "{}");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.outcome.detail, "step before of op-1 in /etc/hooks, bounded");
	/* Past its time, where that goes on. */
	rig.operation->wish.kind = OPERATION_KIND_DRAIN;
	rig.operation->wish.on_timeout = ON_TIMEOUT_CONTINUE;
	run();
	CHECK_STR(rig.outcome.detail, "step before of op-1 in /etc/hooks, unbounded");
	rig.operation->wish.on_timeout = ON_TIMEOUT_STOP;
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.outcome.detail, "undo before of op-1 in /etc/hooks, unbounded");
	/* What one of them has against it is told all the same. */
	check_remainder(REMAINDER_HOOK_FAILED);
	rig.operation->deadline_ms = wall_ms() - 1000;
	snprintf(rig.record.step.text, sizeof(rig.record.step.text), STEP_TEXT_AFTER);
	run();
	CHECK_STR(rig.outcome.detail, "step after of op-1 in /etc/hooks, unbounded");
	finish();
}

/* What other drains have taken from slices meanwhile is theirs. */
static void test_slices(void)
{
	struct step *step;

	start(false);
	step = new_step(STEP_KIND_SLICE_CPUSETS);
	step->guest[0] = step->guest_name[0] = '\0';
	prepare();
	CHECK_INT(rig.prepare_error, 0);
	run();
	CHECK_STR(rig.outcome.detail, "step, 0 held");
	undo();
	CHECK_STR(rig.outcome.detail, "undo, 2 held");
	finish();
}

/* The guest's one cgroup, as it is now. */
static void set_groups(const char *mems)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/groups.json", scratch_folder());
	file = fopen(path, "w");
	assert(file);
	fprintf(file, "[{\"path\":\"/machine/g1\",\"inode\":5,\"mems\":\"%s\"}]", mems);
	fclose(file);
	assert(setenv(FAKE_KERNEL_GROUPS, path, 1) == 0);
}

/* A move that has set it from 1 to 2; its pages are what is undone first. */
static void begin_undo_of_move(const char *now, enum step_state narrow_state)
{
	struct step step;
	struct step_record *record;

	rig.operation->wish.kind = OPERATION_KIND_MOVE;
	set_groups(now);
	if (!rig.operation->step_count) {
		step_init(&step, STEP_KIND_CPUSET);
		memcpy(step.guest, FAKE_LIBVIRT_G1, sizeof(FAKE_LIBVIRT_G1));
		step.nodes = 1 << 2;
		record = operation_record_add_step(rig.operation, &step);
		record->before = strdup("{\"groups\":[{\"path\":\"/machine/g1\",\"inode\":5,\"mems\":\"1\"}],"
					"\"process\":{\"pid\":4711,\"start_time\":4242}}");
	}
	rig.operation->steps[0].n = 9;
	rig.operation->steps[0].state = narrow_state;
	new_step(STEP_KIND_MOVE_PAGES)->bytes = 5 * MIB;
	rig.record.before = strdup("{}");
}

/* The step is the operation's first, done. */
static void record_move(void)
{
	struct step_record *record = operation_record_add_step(rig.operation, &rig.record.step);

	record->state = STEP_STATE_DONE;
	record->before = strdup(rig.record.before);
}

/* What somebody else has changed since is not put back, and that is no failure. */
static void test_changed_since(void)
{
	start(false);
	begin_undo_of_move("2", STEP_STATE_DONE);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 5 * MIB);
	CHECK_INT(rig.outcome.remainder.count, 0);
	begin_undo_of_move("0", STEP_STATE_DONE);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 0);
	check_remainder(REMAINDER_CHANGED_SINCE);
	CHECK_STR(rig.outcome.remainder.items[0].object, "guest g1");
	CHECK_STR(rig.outcome.remainder.items[0].detail, "cpuset.mems of g1 is 0, set by somebody else: it is left so");
	/* Begun already, or tried before: what is there is no word of anybody else. */
	begin_undo_of_move("0", STEP_STATE_UNDONE);
	undo();
	CHECK_INT(rig.outcome.bytes_done, 5 * MIB);
	begin_undo_of_move("0", STEP_STATE_DONE);
	rig.record.undo_failed = true;
	undo();
	CHECK_INT(rig.outcome.bytes_done, 5 * MIB);
	/* It ends while it is looked at. */
	begin_undo_of_move("0", STEP_STATE_DONE);
	begin_undo();
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_CANCELLED);
	unsetenv(FAKE_KERNEL_GROUPS);
	finish();
}

/* A move that only moves pages writes down where its guest belongs, and by that it is told. */
static void test_changed_since_pages(void)
{
	json_t *before;

	start(false);
	rig.operation->wish.kind = OPERATION_KIND_MOVE;
	set_groups("1");
	new_step(STEP_KIND_MOVE_PAGES)->bytes = 5 * MIB;
	prepare();
	CHECK_INT(rig.prepare_error, 0);
	before = json_loads(rig.before, 0, NULL);
	CHECK_STR(json_string_value(json_object_get(before, "mode")), "bind");
	CHECK_INT(json_integer_value(json_object_get(json_object_get(before, "process"), "pid")), 4711);
	CHECK_STR(json_string_value(json_object_get(json_array_get(json_object_get(before, "groups"), 0), "mems")), "1");
	CHECK_STR(json_string_value(json_object_get(json_array_get(json_object_get(before, "ranges"), 0), "policy")), "bind:1");
	json_decref(before);
	record_move();
	undo();
	CHECK_INT(rig.outcome.bytes_done, 5 * MIB);
	CHECK_INT(rig.outcome.remainder.count, 0);
	set_groups("0");
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 0);
	check_remainder(REMAINDER_CHANGED_SINCE);
	/* Whoever has set a policy knows what there was. */
	new_step(STEP_KIND_MOVE_PAGES)->bytes = 5 * MIB;
	rig.operation->steps[0].step.kind = STEP_KIND_MEMORY_POLICY;
	rig.record.n = 2;
	prepare();
	before = json_loads(rig.before, 0, NULL);
	CHECK_TRUE(!json_object_get(before, "ranges") && json_object_get(before, "groups"));
	json_decref(before);
	unsetenv(FAKE_KERNEL_GROUPS);
	finish();
}

/* Sizes */

static void request(uint64_t mib)
{
	struct step *step = new_step(STEP_KIND_REQUEST);

	step->target_bytes = mib * MIB;
	step->bytes = 100 * MIB;
	prepare();
}

/* Until the request, the first or a later one, has been taken and is being watched. */
static void wait_requested(unsigned count)
{
	fake_libvirt_wait("update", count);
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 0);
}

static void set_current(uint64_t mib)
{
	fake_libvirt_lock();
	rig.domain->current_mib = mib;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_MEMORY_SIZE_CHANGED, FAKE_LIBVIRT_G1, mib * MIB);
}

static void test_size_reached(void)
{
	start(false);
	rig.domain->follows = true;
	request(768);
	CHECK_STR(rig.before, "{\"requested_bytes\":268435456}");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.reached_bytes, 768 * MIB);
	CHECK_INT(rig.outcome.bytes_done, 512 * MIB);
	CHECK_TRUE(rig.progresses >= 1);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "update 768; update 256");
	finish();
}

static void later(unsigned seconds)
{
	monotonic_ahead_s = seconds;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

static void wait_seen(uint64_t mib)
{
	const struct snapshot_device *device;

	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	do {
		turn();
		device = &snapshot_guest(look_snapshot(rig.look), "g1")->devices[0];
	} while (device->current_bytes != mib * MIB || device->requested_bytes != mib * MIB);
}

/* A size that was reached is put back, by a driver that has not begun to. */
static void begin_late_undo(bool seen)
{
	start(false);
	rig.domain->follows = true;
	request(768);
	run();
	rig.domain->follows = false;
	if (seen)
		wait_seen(768);
	else
		set_current(768);
	begin_undo();
	wait_requested(2);
}

static void test_size_is_put_back_late(void)
{
	begin_late_undo(true);
	later(8);
	CHECK_INT(rig.finished, 0);
	set_current(256);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	finish();
}

static void test_size_never_put_back(void)
{
	begin_late_undo(true);
	/* It counts from libvirt's answer, which may still be on its way when the clock jumps. */
	for (unsigned seconds = 31; !rig.finished; seconds += 31)
		later(seconds);
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	finish();
}

/* What the step itself has asked for is nobody else's request. */
static void test_size_put_back_before_it_was_seen(void)
{
	begin_late_undo(false);
	set_current(256);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.outcome.detail, "");
	finish();
}

static void test_size_in_parts_then_flat(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	set_current(512);
	while (rig.progresses == 0)
		turn();
	monotonic_ahead_s = 4;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 0);
	monotonic_ahead_s = 6;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_TRUE(rig.outcome.flat);
	CHECK_INT(rig.outcome.reached_bytes, 512 * MIB);
	CHECK_INT(rig.outcome.bytes_done, 256 * MIB);
	finish();
}

static void test_flat_from_the_start(void)
{
	start(false);
	request(128);
	begin();
	wait_requested(1);
	monotonic_ahead_s = 6;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	CHECK_TRUE(rig.outcome.flat);
	finish();
}

static void test_size_timeout(void)
{
	start(false);
	request(128);
	rig.record.step.timeout_ms = 2500;
	begin();
	wait_requested(1);
	monotonic_ahead_s = 3;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "its time is over");
	CHECK_TRUE(!rig.outcome.flat);
	finish();
}

static void test_size_guest_gone(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	fake_libvirt_lock();
	rig.domain->exists = false;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_UNDEFINED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_GUEST_GONE);
	/* What was changed of it ended with it. */
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	begin();
	wait_finished();
	check_remainder(REMAINDER_GUEST_GONE);
	finish();
}

static void test_size_rebooted(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	set_current(512);
	fake_libvirt_emit(CONNECTION_EVENT_REBOOTED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	check_remainder(REMAINDER_GUEST_REBOOTED);
	finish();
}

static void test_size_refused(void)
{
	start(false);
	fake_libvirt_refuse("update", "the guest is busy");
	request(768);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_LIBVIRT_REFUSED);
	CHECK_TRUE(strstr(rig.outcome.detail, "the guest is busy") != NULL);
	fake_libvirt_refuse(NULL, NULL);
	request(769 * 1024);
	run();
	check_remainder(REMAINDER_LIBVIRT_REFUSED);
	CHECK_STR(fake_libvirt_changes(), "");
	finish();
}

static void test_size_libvirt_down(void)
{
	start(false);
	request(768);
	fake_libvirt_set_reachable(false);
	while (look_libvirt_is_up(rig.look, NULL))
		turn();
	/* It may be being restarted: it is waited for, but not for ever. */
	begin();
	turn();
	CHECK_INT(rig.finished, 0);
	monotonic_ahead_s = 120;
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_LIBVIRT_DOWN);
	/* Nor by somebody who has given it up. */
	begin();
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "cancelled");
	CHECK_STR(fake_libvirt_changes(), "");
	finish();
}

static void test_libvirt_comes_back(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	fake_libvirt_set_reachable(false);
	while (look_libvirt_is_up(rig.look, NULL))
		turn();
	/* Nothing changes, because nobody can tell of it: that is no stall. */
	monotonic_ahead_s = 6;
	for (unsigned i = 0; i < 3; i++)
		turn();
	CHECK_INT(rig.finished, 0);
	/* Of the time between two attempts to connect, too. */
	monotonic_ahead_s = 0;
	fake_libvirt_lock();
	rig.domain->current_mib = 768;
	fake_libvirt_unlock();
	fake_libvirt_set_reachable(true);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "update 768");
	finish();
}

/* Whether a request was taken before the connection broke is seen when libvirt is there again. */
static void test_asked_once(void)
{
	start(false);
	request(768);
	rig.record.is_taken_up = true;
	fake_libvirt_lock();
	rig.domain->requested_mib = 768;
	fake_libvirt_unlock();
	begin();
	while (snapshot_guest(look_snapshot(rig.look), "g1")->devices[0].requested_bytes != 768 * MIB)
		turn();
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 0);
	set_current(768);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "");
	/* It had not been taken. */
	request(512);
	rig.record.is_taken_up = true;
	rig.domain->follows = true;
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "update 512");
	/* Somebody else has asked for another size while no daemon ran. */
	request(640);
	rig.record.is_taken_up = true;
	fake_libvirt_lock();
	rig.domain->requested_mib = 896;
	fake_libvirt_unlock();
	run();
	check_remainder(REMAINDER_SUPERSEDED);
	CHECK_STR(fake_libvirt_changes(), "update 512");
	finish();
}

/* By virsh, say: nothing tells of it but the XML, which is read again while the size is flat. */
static void ask_elsewhere(uint64_t mib)
{
	fake_libvirt_lock();
	rig.domain->requested_mib = mib;
	fake_libvirt_unlock();
}

static void test_superseded(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	ask_elsewhere(512);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	CHECK_TRUE(!rig.outcome.flat);
	check_remainder(REMAINDER_SUPERSEDED);
	CHECK_INT(rig.outcome.remainder.items[0].bytes, 512 * MIB);
	/* What they want stands, also when ours is taken back. */
	*operation_record_add_step(rig.operation, &rig.record.step) = (struct step_record){.step = rig.record.step};
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.outcome.detail, "another size has been asked for since");
	CHECK_STR(fake_libvirt_changes(), "update 768");
	/* Of what the operation itself asked for nothing stands in the way. */
	operation_record_add_step(rig.operation, &rig.record.step)->step.target_bytes = 512 * MIB;
	rig.domain->follows = true;
	undo();
	CHECK_STR(fake_libvirt_changes(), "update 768; update 256");
	finish();
}

/* Who only helps a request that is there asks for nothing else. */
static void test_help_that_comes_late(void)
{
	start(false);
	snprintf(rig.operation->actor, sizeof(rig.operation->actor), "libvirt");
	request(768);
	run();
	check_remainder(REMAINDER_SUPERSEDED);
	CHECK_STR(fake_libvirt_changes(), "");
	request(256);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	finish();
}

/* As it was before: that too is another's request, once ours has been seen. */
static void test_superseded_by_the_old_size(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	set_current(512);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->devices[0].requested_bytes != 768 * MIB)
		turn();
	ask_elsewhere(256);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_INT(rig.outcome.bytes_done, 256 * MIB);
	check_remainder(REMAINDER_SUPERSEDED);
	finish();
}

static void set_job(bool has_job)
{
	fake_libvirt_lock();
	rig.domain->has_job = has_job;
	fake_libvirt_unlock();
	fake_libvirt_emit(has_job ? CONNECTION_EVENT_MIGRATION_ROUND : CONNECTION_EVENT_JOB_COMPLETED, FAKE_LIBVIRT_G1, 0);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->migrating != has_job)
		turn();
}

static void test_size_and_migration(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	set_job(true);
	/* Frozen is not flat. */
	ahead_s = monotonic_ahead_s = 20;
	fake_libvirt_emit(CONNECTION_EVENT_MIGRATION_ROUND, FAKE_LIBVIRT_G1, 0);
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 0);
	rig.domain->follows = true;
	set_job(false);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "update 768; update 768");
	finish();
}

static void test_size_after_migration(void)
{
	start(false);
	set_job(true);
	request(768);
	begin();
	for (unsigned i = 0; i < 3; i++)
		turn();
	CHECK_INT(rig.finished, 0);
	CHECK_STR(fake_libvirt_changes(), "");
	rig.domain->follows = true;
	set_job(false);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "update 768");
	finish();
}

/* Waiting */

static void await(uint32_t timeout_ms)
{
	struct step *step = new_step(STEP_KIND_AWAIT);

	step->bytes = 256 * MIB;
	step->timeout_ms = timeout_ms;
	prepare();
	CHECK_STR(rig.before, "none");
	begin();
	CHECK_INT(rig.finished, 0);
}

static void test_await_nothing(void)
{
	unsigned before;

	start(true);
	before = rig.reports;
	await(2500);
	while (rig.reports == before)
		turn();
	monotonic_ahead_s = 3;
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_INT(rig.outcome.bytes_done, 0);
	CHECK_STR(rig.outcome.detail, "nothing has changed");
	/* The guest is asked for nothing but what it has. */
	CHECK_TRUE(rig.reports >= before + 1);
	CHECK_STR(rig.asked, "");
	await(60000);
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	finish();
}

static void test_await_more_free(void)
{
	start(true);
	await(60000);
	/* So much comes and goes. */
	rig.available_bytes = 15 * MIB;
	for (unsigned seen = rig.reports; rig.reports < seen + 2;)
		turn();
	CHECK_INT(rig.finished, 0);
	rig.available_bytes = 100 * MIB;
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 100 * MIB);
	/* What has become free between two awaits is seen by the second. */
	struct step *step = new_step(STEP_KIND_AWAIT);

	step->bytes = 256 * MIB;
	step->target_bytes = 40 * MIB;
	step->timeout_ms = 60000;
	prepare();
	begin();
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 60 * MIB);
	finish();
}

static void test_await_agent(void)
{
	start(true);
	fake_agent_set_mute(rig.agent, true);
	fake_agent_hang_up(rig.agent);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->agent.state == AGENT_STATE_READY)
		turn();
	await(60000);
	fake_agent_set_mute(rig.agent, false);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "the agent is there");
	finish();
}

static void test_await_floor(void)
{
	start(true);
	await(60000);
	rig.floor_bytes = 300 * MIB;
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.outcome.detail, "the guest has come to keep more");
	finish();
}

static void test_await_size(void)
{
	start(false);
	ask_elsewhere(128);
	set_current(250);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->devices[0].requested_bytes != 128 * MIB)
		turn();
	await(60000);
	/* The driver has begun by itself, and is not disturbed. */
	set_current(200);
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 0);
	set_current(128);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 122 * MIB);
	/* It may stop again. */
	ask_elsewhere(64);
	set_current(120);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->devices[0].requested_bytes != 64 * MIB)
		turn();
	await(60000);
	set_current(100);
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	CHECK_INT(rig.finished, 0);
	monotonic_ahead_s = 6;
	wait_finished();
	CHECK_STR(rig.outcome.detail, "the size has changed, and stopped changing");
	CHECK_INT(rig.outcome.bytes_done, 20 * MIB);
	finish();
}

static void test_await_others(void)
{
	start(false);
	await(60000);
	ask_elsewhere(512);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "another size has been asked for");
	await(60000);
	fake_libvirt_emit(CONNECTION_EVENT_REBOOTED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "the guest rebooted");
	await(60000);
	set_job(true);
	CHECK_INT(rig.finished, 0);
	set_job(false);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "a migration has ended");
	await(60000);
	fake_libvirt_lock();
	rig.domain->exists = false;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_UNDEFINED, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_GUEST_GONE);
	finish();
}

static void test_size_cancelled(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "cancelled");
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	/* Before libvirt has answered it cannot be taken back; it ends as soon as it has. */
	fake_libvirt_gate("update");
	begin();
	fake_libvirt_wait("update", 2);
	rig.executor->cancel(rig.executor->user, &rig);
	CHECK_INT(rig.finished, 0);
	fake_libvirt_gate(NULL);
	wait_finished();
	CHECK_STR(rig.outcome.detail, "cancelled");
	finish();
}

static void test_settle_and_kick(void)
{
	start(false);
	new_step(STEP_KIND_SETTLE)->target_bytes = 256 * MIB;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	/* The same size again reaches the hypervisor. */
	new_step(STEP_KIND_KICK)->target_bytes = 256 * MIB;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "update 256; update 256");
	/* Not where it is another by now. */
	new_step(STEP_KIND_KICK)->target_bytes = 512 * MIB;
	prepare();
	run();
	check_remainder(REMAINDER_SUPERSEDED);
	CHECK_STR(fake_libvirt_changes(), "update 256; update 256");
	finish();
}

/* Placement */

static void test_numatune(void)
{
	start(false);
	fake_libvirt_lock();
	strcpy(rig.domain->nodes, "1");
	strcpy(rig.domain->mode, "restrictive");
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_DEFINED, FAKE_LIBVIRT_G1, 0);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->numatune_nodes != 2)
		turn();
	new_step(STEP_KIND_NUMATUNE)->nodes = 1 << 0 | 1 << 3;
	prepare();
	CHECK_STR(rig.before, "{\"nodes\":\"1\"}");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "numa 0,3; numa 1");
	finish();
}

static void test_cpus(void)
{
	start(false);
	strcpy(rig.domain->pins, "0");
	new_step(STEP_KIND_CPUS)->nodes = 1 << 1;
	prepare();
	CHECK_STR(rig.before, "{\"emulator\":\"\",\"iothreads\":[],\"process\":{\"pid\":4711,\"start_time\":4242},\"unpinned\":\"\","
			      "\"vcpus\":[{\"cpus\":\"0\",\"id\":0},{\"cpus\":\"\",\"id\":1}]}");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	undo();
	CHECK_STR(fake_libvirt_changes(), "pin 0:2-3; pin 1:2-3; pin emulator:2-3; pin 0:0; pin "
					  "1:0-1,2-3; pin emulator:0-1,2-3");
	/* A node without CPUs. */
	rig.record.step.nodes = 1 << 3;
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	rig.record.step.nodes = 1;
	fake_libvirt_refuse("pin", "no");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_TRUE(remainder_list_has(&rig.outcome.remainder, REMAINDER_LIBVIRT_REFUSED));
	finish();
}

/* I/O threads go along though nobody has pinned them, and back to where all threads of the guest may run. */
static void test_cpus_unpinned(void)
{
	start(false);
	strcpy(rig.domain->vcpu_cpus, "1");
	rig.domain->iothreads = 2;
	new_step(STEP_KIND_CPUS)->nodes = 1 << 1;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	undo();
	CHECK_STR(fake_libvirt_changes(), "pin 0:2-3; pin 1:2-3; pin iothread 1:2-3; pin iothread 2:2-3; pin emulator:2-3; "
					  "pin 0:1; pin 1:1; pin iothread 1:1; pin iothread 2:1; pin emulator:1");
	finish();
}

/* A vCPU that is not plugged yet has a pin, too, which it starts with; and it is put back like any other. */
static void test_cpus_to_come(void)
{
	start(false);
	strcpy(rig.domain->vcpu_cpus, "1");
	rig.domain->vcpus_now = 1;
	new_step(STEP_KIND_CPUS)->nodes = 1 << 1;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	undo();
	CHECK_STR(fake_libvirt_changes(), "pin 0:2-3; pin 1:2-3; pin emulator:2-3; pin 0:1; pin 1:1; pin emulator:1");
	finish();
}

/* With --persist the next start agrees: what is stored is pinned too, and put back by itself. */
static void test_cpus_stored(void)
{
	start(false);
	strcpy(rig.domain->pins, "0");
	rig.operation->wish.kind = OPERATION_KIND_MOVE;
	rig.operation->wish.move.persist = true;
	new_step(STEP_KIND_CPUS)->nodes = 1 << 1;
	prepare();
	CHECK_TRUE(strstr(rig.before, "\"stored\":{\"emulator\":\"\"") != NULL);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_TRUE(strstr(fake_libvirt_changes(), "pin 0:2-3; pin 1:2-3; pin emulator:2-3; pin stored 0:2-3") != NULL);
	CHECK_TRUE(strstr(fake_libvirt_changes(), "pin stored emulator:2-3") != NULL);
	undo();
	CHECK_TRUE(strstr(fake_libvirt_changes(), "pin stored emulator:0-1,2-3") != NULL);
	finish();
}

static void test_persist(void)
{
	struct step *step;

	start(false);
	strcpy(rig.domain->stored_nodes, "1,3");
	step = new_step(STEP_KIND_PERSIST);
	step->by_map = true;
	step->map[3] = 0;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "define 0-1; define 1,3");
	finish();
}

static void test_persist_transient(void)
{
	start(false);
	rig.domain->persistent = false;
	new_step(STEP_KIND_PERSIST)->nodes = 1;
	prepare();
	CHECK_STR(rig.before, "none");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	CHECK_TRUE(remainder_list_has(&rig.outcome.remainder, REMAINDER_STORED_XML));
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "");
	finish();
}

/* A guest without a numatune gets one, and loses it again. */
static void test_persist_unnamed(void)
{
	start(false);
	new_step(STEP_KIND_PERSIST)->nodes = 1 << 2;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(fake_libvirt_changes(), "define 2; define ");
	finish();
}

/* The agent */

static void agent_step(enum step_kind kind)
{
	struct step *step = new_step(kind);

	step->bytes = 256 * MIB;
	step->timeout_ms = 5000;
	prepare();
	CHECK_STR(rig.before, "none");
}

static void test_evacuate(void)
{
	uint64_t lease_id;

	start(true);
	agent_step(STEP_KIND_FREE_HUGE_PAGES);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_INT(rig.outcome.bytes_done, 64 * MIB);
	CHECK_INT(rig.outcome.remainder.count, 2);
	CHECK_INT(rig.outcome.remainder.items[0].code, REMAINDER_HUGE_PAGES_IN_USE);
	CHECK_INT(rig.outcome.remainder.items[0].bytes, 20 * MIB);
	CHECK_INT(rig.outcome.remainder.items[1].code, REMAINDER_PINNED);
	CHECK_STR(rig.outcome.remainder.items[1].object, "guest g1 block 40");
	CHECK_INT(rig.evacuate.block_deadline_ms, 0);
	/* Each of its blocks has what the configuration gives it, as long as others get their turn. */
	static const uint32_t deadlines[][2] = {{600000, 30000}, {60000, 15000}, {20000, 10000}};

	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++) {
		agent_step(STEP_KIND_OFFLINE_GUEST_BLOCKS);
		rig.record.step.timeout_ms = deadlines[i][0];
		run();
		CHECK_INT(rig.evacuate.block_deadline_ms, deadlines[i][1]);
	}
	CHECK_INT(rig.outcome.bytes_done, 128 * MIB);
	lease_id = rig.lease_id;
	CHECK_TRUE(lease_id != 0);
	agent_step(STEP_KIND_COMPACT);
	run();
	agent_step(STEP_KIND_ONLINE_POLICY);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	/* All of an operation stands under one lease, also for a daemon that has restarted
	 * meanwhile. */
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_TRUE(rig.lease_id == lease_id);
	CHECK_STR(rig.asked, "prepare evacuate evacuate evacuate prepare set_online_policy release_lease");
	finish();
}

/* What an agent of 1.1 can do besides. */
static void test_rungs(void)
{
	static const struct {
		enum step_kind kind;
		uint32_t flags;
		size_t ranges;
		struct message_rung_gain rung;
		enum remainder_code code;
	} cases[] = {
		{STEP_KIND_FREE_HUGE_PAGES, MESSAGE_EVACUATE_HUGE_PAGES, 1,
		 {.rung = MESSAGE_RUNG_HUGE_PAGES, .gained_bytes = 32 * MIB}, REMAINDER_HUGE_PAGES_IN_USE},
		{STEP_KIND_RUN_HOOKS, MESSAGE_EVACUATE_HOOKS, 1,
		 {.rung = MESSAGE_RUNG_HOOKS, .reason = MESSAGE_REASON_HOOK_FAILED}, REMAINDER_HOOK_FAILED},
		{STEP_KIND_MAKE_GUEST_ROOM, MESSAGE_EVACUATE_MAKE_ROOM, 1,
		 {.rung = MESSAGE_RUNG_MAKE_ROOM, .gained_bytes = 32 * MIB}, REMAINDER_HUGE_PAGES_IN_USE},
		{STEP_KIND_RECLAIM, MESSAGE_EVACUATE_RECLAIM, 0,
		 {.rung = MESSAGE_RUNG_RECLAIM, .gained_bytes = UINT64_MAX, .reason = MESSAGE_REASON_PRESSURE},
		 REMAINDER_GUEST_PRESSURE},
	};

	start(true);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		rig.rung = cases[i].rung;
		agent_step(cases[i].kind);
		rig.record.step.range_count = 1;
		rig.record.step.ranges[0] = (struct snapshot_range){128 * MIB, 256 * MIB};
		run();
		CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
		CHECK_INT(rig.evacuate.flags, cases[i].flags);
		CHECK_INT(rig.evacuate.target_bytes, 256 * MIB);
		CHECK_INT(rig.evacuate.range_count, cases[i].ranges);
		CHECK_INT(rig.outcome.remainder.items[0].code, cases[i].code);
		/* It has gained no more than it has. */
		CHECK_INT(rig.outcome.bytes_done, cases[i].rung.gained_bytes < 1024 * MIB ?
							  cases[i].rung.gained_bytes :
							  768 * MIB);
	}
	CHECK_STR(rig.asked, "prepare prepare prepare prepare");
	finish();
}

/* An agent that takes ranges for a word to give up all of its pools is told none. */
static void test_pools_of_an_old_agent(void)
{
	start(true);
	fake_agent_set_features(rig.agent, MESSAGE_FEATURE_POOL_NODES - 1);
	fake_agent_hang_up(rig.agent);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->agent.features >> AGENT_FEATURE_POOL_NODES & 1)
		turn();
	agent_step(STEP_KIND_FREE_HUGE_PAGES);
	rig.record.step.range_count = 1;
	rig.record.step.ranges[0] = (struct snapshot_range){128 * MIB, 256 * MIB};
	run();
	CHECK_INT(rig.evacuate.flags, MESSAGE_EVACUATE_HUGE_PAGES);
	CHECK_INT(rig.evacuate.range_count, 0);
	finish();
}

static void test_report_free(void)
{
	start(true);
	agent_step(STEP_KIND_REPORT_FREE);
	rig.reported = (struct message_result){.code = MESSAGE_RESULT_OK, .value_bytes = 100 * MIB};
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 100 * MIB);
	CHECK_INT(rig.outcome.remainder.count, 0);
	/* The rest comes by itself. A guest has no more free than it has. */
	rig.reported =
		(struct message_result){.code = MESSAGE_RESULT_PARTIAL, .value_bytes = UINT64_MAX};
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_TRUE(rig.outcome.bytes_done <= 1024 * MIB);
	CHECK_INT(rig.outcome.remainder.count, 0);
	rig.reported = (struct message_result){.code = MESSAGE_RESULT_NOT_SUPPORTED,
					       .value_bytes = 100 * MIB};
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	CHECK_INT(rig.outcome.bytes_done, 0);
	check_remainder(REMAINDER_NO_AGENT);
	CHECK_STR(rig.asked, "report_free report_free report_free");
	/* There is nothing to undo, and no lease to end. */
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.asked, "report_free report_free report_free");
	finish();
}

static void test_lease_release(void)
{
	start(true);
	agent_step(STEP_KIND_AGENT_COMMIT);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.release_flags, MESSAGE_RELEASE_KEEP_POOLS);
	/* A guest that has not grown gets no pools back. */
	rig.operation->snapshot_before_bytes = 768 * MIB;
	agent_step(STEP_KIND_AGENT_UNDO);
	run();
	CHECK_INT(rig.release_flags, 0);
	CHECK_STR(rig.asked, "release_lease release_lease");
	rig.operation->snapshot_before_bytes = 512 * MIB;
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.restore_limit, 256 * MIB);
	CHECK_STR(rig.asked, "release_lease release_lease release_lease restore_pools");
	CHECK_INT(rig.outcome.remainder.count, 0);
	/* It has ended whatever its hooks made of that. */
	rig.manner = MANNER_BAD_HOOK;
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	check_remainder(REMAINDER_HOOK_FAILED);
	/* A lease that has ended already is what was wanted. */
	rig.manner = MANNER_NO_LEASE;
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	agent_step(STEP_KIND_AGENT_COMMIT);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	finish();
}

/* An undo of a shrink that was committed: its lease is over, and the huge pages that were kept come back all the same. */
static void test_kept_pools(void)
{
	struct step commit;

	start(true);
	agent_step(STEP_KIND_FREE_HUGE_PAGES);
	rig.record.bytes_done = 64 * MIB;
	undo();
	CHECK_STR(rig.asked, "release_lease");
	step_init(&commit, STEP_KIND_AGENT_COMMIT);
	CHECK_TRUE(operation_record_add_step(rig.operation, &commit) != NULL);
	rig.operation->steps[0].state = STEP_STATE_FAILED;
	undo();
	CHECK_STR(rig.asked, "release_lease release_lease");
	rig.operation->steps[0].state = STEP_STATE_DONE;
	rig.manner = MANNER_NO_LEASE;
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.restore_limit, 64 * MIB);
	CHECK_STR(rig.asked, "release_lease release_lease release_lease restore_pools");
	/* Cut short by a restart, it has taken nobody knows how much of this. */
	remainder_list_add(&rig.record.remainder, REMAINDER_RESTARTED, "ballastd", 0, NULL, "restarted");
	undo();
	CHECK_INT(rig.restore_limit, 256 * MIB);
	/* What is only the lease's is undone as before. */
	agent_step(STEP_KIND_COMPACT);
	undo();
	CHECK_STR(rig.asked, "release_lease release_lease release_lease restore_pools release_lease restore_pools release_lease");
	/* Without the agent nobody gives them back. */
	agent_step(STEP_KIND_FREE_HUGE_PAGES);
	rig.record.bytes_done = 64 * MIB;
	rig.manner = MANNER_HANGS_UP;
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_AGENT_LOST);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_AGENT_LOST);
	finish();
}

static void test_agent_refuses(void)
{
	start(true);
	rig.manner = MANNER_VETOES;
	agent_step(STEP_KIND_FREE_HUGE_PAGES);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_VETOED);
	rig.manner = MANNER_OLD;
	run();
	check_remainder(REMAINDER_NO_AGENT);
	finish();
}

static void test_agent_lost(void)
{
	start(true);
	rig.manner = MANNER_RESTARTS;
	agent_step(STEP_KIND_COMPACT);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_AGENT_LOST);
	/* An agent that restarts undoes what it did: nothing is left to be undone. */
	while (!agent_link_is_ready(look_agent(rig.look, FAKE_LIBVIRT_G1)))
		turn();
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	while (!agent_link_is_ready(look_agent(rig.look, FAKE_LIBVIRT_G1)))
		turn();
	rig.manner = MANNER_HANGS_UP;
	run();
	check_remainder(REMAINDER_AGENT_LOST);
	/* Not connected: a start is refused, an undo is the agent's own. */
	run();
	check_remainder(REMAINDER_AGENT_LOST);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	finish();
}

static void test_agent_cancelled(void)
{
	start(true);
	rig.manner = MANNER_SILENT;
	agent_step(STEP_KIND_COMPACT);
	begin();
	while (!rig.asked[0])
		turn();
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_STR(rig.asked, "prepare cancel");
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_CANCELLED);
	finish();
}

/* It is asked for a word that takes no time: it does not get the whole operation's. */
static void test_agent_mute(void)
{
	start(true);
	rig.manner = MANNER_SILENT;
	new_step(STEP_KIND_ONLINE_POLICY)->timeout_ms = 50;
	prepare();
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_AGENT_LOST);
	finish();
}

static void test_no_agent(void)
{
	start(false);
	agent_step(STEP_KIND_COMPACT);
	run();
	check_remainder(REMAINDER_AGENT_LOST);
	finish();
}

/* Workers */

static void worker_step(const char *script)
{
	struct step *step = new_step(STEP_KIND_MOVE_PAGES);

	step->bytes = 64 * MIB;
	snprintf(step->text, sizeof(step->text), "%s", script);
	prepare();
}

static void test_worker(void)
{
	start(false);
	worker_step("");
	CHECK_STR(rig.before, "{\"mode\":\"bind\",\"process\":{\"pid\":4711,\"start_time\":4242}}");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_INT(rig.outcome.bytes_done, 64 * MIB);
	CHECK_INT(rig.outcome.longest_pause_us, 1500);
	CHECK_STR(rig.result, "{\"detail\":\"all of it\"}");
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.result, "{\"detail\":\"{\\\"mode\\\":\\\"bind\\\",\\\"process\\\":{\\\"pid\\\":4711,"
			      "\\\"start_time\\\":4242}}\"}");
	worker_step("partial");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	CHECK_INT(rig.outcome.bytes_done, 32 * MIB);
	check_remainder(REMAINDER_PAGE_BUSY);
	worker_step("die");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	check_remainder(REMAINDER_WORKER_DIED);
	finish();
}

/* The worker hears what the guest felt, with the step's own budgets, and the result tells of it. */
static void test_feed(void)
{
	start(true);
	rig.stalls = (struct message_stalls){.longest_us = 3200, .p99_us = 40, .samples = 100};
	worker_step("limit");
	rig.record.step.budget_bytes_per_s = 1000000;
	rig.record.step.budget_stall_us = 10000;
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.result,
		  "{\"bytes_per_s\":1000000,\"felt_us\":3200,\"guest\":{\"longest_pause_us\":3200,"
		  "\"p99_us\":40,\"samples\":100},\"stall_us\":10000}");
	/* The watch ended with the step. */
	CHECK_STR(rig.asked, "watch_stalls cancel");
	finish();
}

/* Pauses are no longer and samples no more than there was time for. */
static void test_feed_lies(void)
{
	json_t *result, *guest;

	start(true);
	rig.stalls = (struct message_stalls){
		.longest_us = UINT64_MAX, .p99_us = UINT64_MAX, .samples = UINT32_MAX};
	worker_step("limit");
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	result = json_loads(rig.result, 0, NULL);
	guest = json_object_get(result, "guest");
	json_int_t longest = json_integer_value(json_object_get(guest, "longest_pause_us"));

	CHECK_TRUE(longest >= 1000000 && longest < 30000000);
	CHECK_INT(json_integer_value(json_object_get(guest, "p99_us")), longest);
	CHECK_TRUE(json_integer_value(json_object_get(guest, "samples")) <= longest / 100 + 1);
	CHECK_INT(json_integer_value(json_object_get(result, "felt_us")), longest);
	json_decref(result);
	/* The 99th of a hundred is no longer than the longest. */
	rig.stalls = (struct message_stalls){.longest_us = 7, .p99_us = 8, .samples = 1};
	worker_step("limit");
	run();
	CHECK_STR(rig.result,
		  "{\"bytes_per_s\":0,\"felt_us\":7,\"guest\":{\"longest_pause_us\":7,"
		  "\"p99_us\":7,\"samples\":1},\"stall_us\":0}");
	finish();
}

/* A move beside others, and the rate that its worker was told last. */
struct mover {
	struct step_record record;
	uint64_t bytes_per_s;
	bool finished;
};

static void on_rate(void *token, uint64_t done_bytes, uint64_t total_bytes, const char *detail)
{
	((struct mover *)token)->bytes_per_s = done_bytes;
}

static void on_mover_finished(void *token, const struct executor_outcome *outcome)
{
	((struct mover *)token)->finished = true;
}

static void begin_mover(struct mover *mover, uint64_t bytes_per_s, bool is_shared, int from, int to)
{
	struct step *step = new_step(STEP_KIND_MOVE_PAGES);

	snprintf(step->text, sizeof(step->text), "rates");
	step->budget_bytes_per_s = bytes_per_s;
	step->budget_is_shared = is_shared;
	step->from_nodes = UINT64_C(1) << from;
	step->by_map = true;
	step->map[from] = (int8_t)to;
	*mover = (struct mover){.record = {.n = 1, .step = *step}};
	rig.executor->start(rig.executor->user, rig.operation, &mover->record, look_snapshot(rig.look), on_rate,
			    on_mover_finished, mover);
}

static void end_mover(struct mover *mover)
{
	rig.executor->cancel(rig.executor->user, mover);
	while (!mover->finished)
		turn();
}

/* The host's rate is shared by the moves between the same nodes, as they come and go; a caller's own is not. */
static void test_rate_is_shared(void)
{
	struct mover first, second;

	start(false);
	begin_mover(&first, 90 * MIB, true, 0, 2);
	while (first.bytes_per_s != 90 * MIB)
		turn();
	begin_mover(&second, 90 * MIB, true, 0, 2);
	while (first.bytes_per_s != 45 * MIB || second.bytes_per_s != 45 * MIB)
		turn();
	rig.executor->pause(rig.executor->user, &second, true);
	while (first.bytes_per_s != 90 * MIB)
		turn();
	rig.executor->pause(rig.executor->user, &second, false);
	while (first.bytes_per_s != 45 * MIB)
		turn();
	CHECK_INT(second.bytes_per_s, 45 * MIB);
	end_mover(&second);
	while (first.bytes_per_s != 90 * MIB)
		turn();
	/* Between other nodes. */
	begin_mover(&second, 80 * MIB, true, 2, 0);
	while (second.bytes_per_s != 80 * MIB)
		turn();
	end_mover(&second);
	begin_mover(&second, 10 * MIB, false, 0, 2);
	while (second.bytes_per_s != 10 * MIB)
		turn();
	end_mover(&second);
	CHECK_INT(first.bytes_per_s, 90 * MIB);
	end_mover(&first);
	finish();
}

/* Whatever the agent does instead, the step is what it is without one. */
static void test_feed_without_use(void)
{
	static const enum manner manners[] = {MANNER_SILENT, MANNER_RESTARTS, MANNER_HANGS_UP,
					      MANNER_VETOES, MANNER_OLD,      MANNER_HONEST};

	for (size_t i = 0; i < sizeof(manners) / sizeof(manners[0]); i++) {
		start(true);
		rig.manner = manners[i];
		worker_step("wait");
		begin();
		while (rig.progresses == 0 || !rig.asked[0])
			turn();
		for (unsigned j = 0; j < 50; j++)
			event_base_loop(rig.base, EVLOOP_NONBLOCK);
		/* One that ends each watch at once is not asked without end. */
		CHECK_STR(rig.asked, "watch_stalls");
		rig.executor->cancel(rig.executor->user, &rig);
		wait_finished();
		CHECK_STR(rig.result, "none");
		finish();
	}
	/* Another kind of step asks nothing. */
	start(true);
	new_step(STEP_KIND_MEMORY_POLICY);
	prepare();
	run();
	CHECK_STR(rig.asked, "");
	finish();
}

/* What is under way when the daemon ends is left without harm. */
static void test_feed_at_the_end(void)
{
	start(true);
	rig.stalls = (struct message_stalls){.longest_us = 1, .p99_us = 1, .samples = 1};
	worker_step("wait");
	begin();
	while (rig.progresses == 0 || !rig.asked[0])
		turn();
	finish();
}

static void test_worker_cancelled(void)
{
	start(false);
	worker_step("wait");
	begin();
	while (rig.progresses == 0)
		turn();
	rig.executor->pause(rig.executor->user, &rig, true);
	rig.executor->pause(rig.executor->user, &rig, false);
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_CANCELLED);
	finish();
	/* What ends without a word may have done anything. */
	start(false);
	worker_step("give way");
	begin();
	while (rig.progresses == 0)
		turn();
	rig.executor->cancel(rig.executor->user, &rig);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_PARTIAL);
	check_remainder(REMAINDER_CANCELLED);
	finish();
}

static void test_worker_gives_way(void)
{
	start(false);
	worker_step("wait");
	begin();
	while (rig.progresses == 0)
		turn();
	fake_libvirt_lock();
	rig.domain->has_job = true;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_MIGRATION_ROUND, FAKE_LIBVIRT_G1, 0);
	wait_finished();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_MIGRATION_JOB);
	CHECK_TRUE(!remainder_list_has(&rig.outcome.remainder, REMAINDER_CANCELLED));
	finish();
}

static void test_worker_without_guest(void)
{
	start(false);
	worker_step("");
	fake_libvirt_lock();
	rig.domain->exists = false;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_UNDEFINED, FAKE_LIBVIRT_G1, 0);
	while (look_snapshot(rig.look)->guest_count)
		turn();
	run();
	check_remainder(REMAINDER_GUEST_GONE);
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	prepare();
	CHECK_INT(rig.prepare_error, -ESRCH);
	finish();
}

static void test_nothing_written_down(void)
{
	start(false);
	worker_step("");
	free(rig.record.before);
	rig.record.before = NULL;
	undo();
	CHECK_INT(rig.outcome.state, STEP_STATE_DONE);
	CHECK_STR(rig.result, "none");
	finish();
}

static void test_managed(void)
{
	start(false);
	new_step(STEP_KIND_MEMORY_POLICY);
	prepare();
	run();
	CHECK_TRUE(snapshot_guest(look_snapshot(rig.look), "g1")->managed_by_ballast);
	undo();
	CHECK_TRUE(!snapshot_guest(look_snapshot(rig.look), "g1")->managed_by_ballast);
	finish();
}

static void test_no_step_of_a_host(void)
{
	start(false);
	new_step(STEP_KIND_CORDON);
	prepare();
	CHECK_INT(rig.prepare_error, 0);
	run();
	CHECK_INT(rig.outcome.state, STEP_STATE_FAILED);
	check_remainder(REMAINDER_INVALID);
	finish();
}

static unsigned looked;

static void on_looked(void *token, int error, const struct snapshot *snapshot,
		      const struct failure *failure)
{
	CHECK_INT(error, 0);
	CHECK_TRUE(snapshot && snapshot->node_count == 3);
	looked++;
}

static void test_look(void)
{
	start(false);
	looked = 0;
	for (int kind = 0; kind < OPERATION_KIND_COUNT; kind++) {
		rig.operation->wish.kind = (enum operation_kind)kind;
		rig.executor->look(rig.executor->user, rig.operation, on_looked, &rig);
		while (looked < (unsigned)kind + 1)
			turn();
	}
	finish();
}

static uint64_t surveyed_after_look(void)
{
	unsigned before = looked;

	rig.executor->look(rig.executor->user, rig.operation, on_looked, &rig);
	while (looked == before)
		turn();
	return snapshot_guest(look_snapshot(rig.look), "g1")->surveyed_at_ms;
}

/* In a move: what changes nothing of where pages lie costs no survey. */
static void test_look_between_steps(void)
{
	static const struct {
		enum step_kind kind;
		enum step_state state;
		bool is_surveyed;
	} rows[] = {
		{STEP_KIND_REQUEST, STEP_STATE_DONE, true},
		{STEP_KIND_OFFLINE_GUEST_BLOCKS, STEP_STATE_DONE, false},
		{STEP_KIND_OFFLINE_GUEST_BLOCKS, STEP_STATE_PARTIAL, true},
		{STEP_KIND_SETTLE, STEP_STATE_DONE, false},
		{STEP_KIND_MOVE_PAGES, STEP_STATE_DONE, true},
	};

	start(false);
	rig.operation->wish.kind = OPERATION_KIND_MOVE;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before = surveyed_after_look();
		struct step step;
		struct step_record *record;

		step_init(&step, rows[i].kind);
		record = operation_record_add_step(rig.operation, &step);
		record->state = rows[i].state;
		CHECK_INT(surveyed_after_look() > before, rows[i].is_surveyed);
		operation_record_add_step(rig.operation, &step)->state = STEP_STATE_PARTIAL;
	}
	finish();
}

/* In a resize: what is in the guest's blocks is asked for a forecast, and for the reasons at a shrink's end. */
static void test_look_into_blocks(void)
{
	static const struct {
		enum step_kind kind;
		uint64_t wanted_bytes;
		const char *asked;
	} rows[] = {
		{STEP_KIND_COUNT, 128 * MIB, "blocks"},
		{STEP_KIND_REQUEST, 128 * MIB, ""},
		{STEP_KIND_SETTLE, 128 * MIB, "blocks"},
		{STEP_KIND_AGENT_COMMIT, 128 * MIB, "blocks"},
		{STEP_KIND_AGENT_COMMIT, UINT64_MAX, ""},
	};

	start(true);
	rig.tells_region = true;
	rig.operation->wish.kind = OPERATION_KIND_RESIZE;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned before = looked;
		struct step step;

		if (rows[i].kind < STEP_KIND_COUNT) {
			step_init(&step, rows[i].kind);
			operation_record_add_step(rig.operation, &step)->state = STEP_STATE_DONE;
		}
		rig.operation->snapshot_wanted_bytes = rows[i].wanted_bytes;
		rig.asked[0] = '\0';
		rig.executor->look(rig.executor->user, rig.operation, on_looked, &rig);
		while (looked == before)
			turn();
		CHECK_STR(rig.asked, rows[i].asked);
	}
	finish();
}

/* In a drain: what guests can spare is asked where one of them may have to become smaller. */
static void test_look_for_room(void)
{
	static const struct {
		enum step_kind kind;
		const char *text;
		enum drain_finish finish;
		bool agreed, is_asked;
	} rows[] = {
		{STEP_KIND_COUNT, "", DRAIN_FINISH_CORDON, true, false},
		{STEP_KIND_COUNT, "", DRAIN_FINISH_EMPTY, false, true},
		{STEP_KIND_CORDON, "", DRAIN_FINISH_EMPTY, false, false},
		{STEP_KIND_CORDON, "", DRAIN_FINISH_EMPTY, true, true},
		{STEP_KIND_CHILD, STEP_TEXT_SHRINK, DRAIN_FINISH_EMPTY, true, true},
		{STEP_KIND_CHILD, "", DRAIN_FINISH_EMPTY, true, false},
		{STEP_KIND_OFFLINE_BLOCKS, "", DRAIN_FINISH_OFFLINE, true, false},
	};

	start(true);
	wish_init(&rig.operation->wish, OPERATION_KIND_DRAIN);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned before = looked;
		struct step step;

		if (rows[i].kind < STEP_KIND_COUNT) {
			step_init(&step, rows[i].kind);
			snprintf(step.text, sizeof(step.text), "%s", rows[i].text);
			operation_record_add_step(rig.operation, &step)->state = STEP_STATE_DONE;
		}
		rig.operation->wish.drain_wish.finish = rows[i].finish;
		rig.operation->wish.allow = rows[i].agreed ? 1u << CONSENT_SHRINK_GUESTS : 0;
		rig.reports = 0;
		rig.executor->look(rig.executor->user, rig.operation, on_looked, &rig);
		while (looked == before)
			turn();
		CHECK_INT(rig.reports, rows[i].is_asked);
	}
	finish();
}

/* Of a part of the DIMM that a drain, or one of its moves, is about the survey tells what lies in it. */
static void test_look_for_range(void)
{
	const struct snapshot_range range = {FAKE_HOST_DIMM_START, FAKE_HOST_DIMM_START + FAKE_HOST_BLOCK_BYTES};
	const struct snapshot_guest *guest;

	start(true);
	for (int is_move = 0; is_move < 2; is_move++) {
		wish_init(&rig.operation->wish, is_move ? OPERATION_KIND_MOVE : OPERATION_KIND_DRAIN);
		if (is_move) {
			snprintf(rig.operation->wish.guest, sizeof(rig.operation->wish.guest), FAKE_LIBVIRT_G1);
			rig.operation->wish.move.form = MOVE_FORM_MAP;
			rig.operation->wish.move.range_count = 1;
			rig.operation->wish.move.ranges[0] = range;
		} else {
			rig.operation->wish.drain_wish.target = DRAIN_TARGET_RANGE;
			rig.operation->wish.drain_wish.range = range;
		}
		surveyed_after_look();
		guest = snapshot_guest(look_snapshot(rig.look), "g1");
		CHECK_INT(guest->dimm_bytes[0].range.start, range.start);
		CHECK_INT(guest->dimm_bytes[0].range.end, range.end);
		CHECK_STR(guest->dimm_bytes[0].id, FAKE_HOST_DIMM);
		/* No other look has been asked about it. */
		wish_init(&rig.operation->wish, OPERATION_KIND_DRAIN);
		surveyed_after_look();
		guest = snapshot_guest(look_snapshot(rig.look), "g1");
		CHECK_INT(guest->dimm_bytes[0].range.end, 0);
	}
	finish();
}

static void test_freed_while_running(void)
{
	start(true);
	rig.manner = MANNER_SILENT;
	agent_step(STEP_KIND_COMPACT);
	begin();
	while (!rig.asked[0])
		turn();
	/* As at the end of the daemon: the pieces go before what they report to. */
	rig.pool = worker_pool_free(rig.pool);
	rig.look = look_free(rig.look);
	CHECK_INT(rig.finished, 1);
	finish();
}

static void test_freed_while_watching(void)
{
	start(false);
	request(768);
	begin();
	wait_requested(1);
	rig.pool = worker_pool_free(rig.pool);
	rig.look = look_free(rig.look);
	CHECK_INT(rig.finished, 0);
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"an undo leaves what somebody else has changed since", test_changed_since},
		{"and so does that of a move that only moved pages", test_changed_since_pages},
		{"hooks of the host", test_host_hooks},
		{"slices of the host", test_slices},
		{"a size is reached", test_size_reached},
		{"a size is put back late", test_size_is_put_back_late},
		{"a size is never put back", test_size_never_put_back},
		{"a size is put back before it was seen", test_size_put_back_before_it_was_seen},
		{"a size comes in parts, then no more", test_size_in_parts_then_flat},
		{"a size that never changes", test_flat_from_the_start},
		{"a size and its time", test_size_timeout},
		{"a size, and the guest is gone", test_size_guest_gone},
		{"a size, and the guest reboots", test_size_rebooted},
		{"a size is refused", test_size_refused},
		{"a size without libvirt", test_size_libvirt_down},
		{"a size is cancelled", test_size_cancelled},
		{"a size, and libvirt goes and comes", test_libvirt_comes_back},
		{"a size that was asked for already", test_asked_once},
		{"a size, and somebody asks for another", test_superseded},
		{"a size, and somebody asks for the old one", test_superseded_by_the_old_size},
		{"help that comes late", test_help_that_comes_late},
		{"a size in a migration", test_size_and_migration},
		{"a size after a migration", test_size_after_migration},
		{"waiting in vain", test_await_nothing},
		{"waiting for free memory", test_await_more_free},
		{"waiting for the agent", test_await_agent},
		{"waiting for less that may leave", test_await_floor},
		{"waiting for the size", test_await_size},
		{"waiting for what others do", test_await_others},
		{"settle and kick", test_settle_and_kick},
		{"numatune", test_numatune},
		{"CPUs", test_cpus},
		{"threads without a pin", test_cpus_unpinned},
		{"vCPUs to come", test_cpus_to_come},
		{"stored pins", test_cpus_stored},
		{"stored XML", test_persist},
		{"no stored XML", test_persist_transient},
		{"stored XML without nodes", test_persist_unnamed},
		{"evacuate", test_evacuate},
		{"the rungs of 1.1", test_rungs},
		{"pools of an old agent", test_pools_of_an_old_agent},
		{"free pages reported", test_report_free},
		{"leases are released", test_lease_release},
		{"kept pools come back", test_kept_pools},
		{"the agent refuses", test_agent_refuses},
		{"the agent is lost", test_agent_lost},
		{"the agent is told to stop", test_agent_cancelled},
		{"the agent is mute", test_agent_mute},
		{"no agent", test_no_agent},
		{"a worker", test_worker},
		{"a feed of stalls", test_feed},
		{"a rate is shared", test_rate_is_shared},
		{"a feed of lies", test_feed_lies},
		{"a feed without use", test_feed_without_use},
		{"a feed at the end", test_feed_at_the_end},
		{"a worker is cancelled", test_worker_cancelled},
		{"a worker gives way to a migration", test_worker_gives_way},
		{"a worker without its guest", test_worker_without_guest},
		{"nothing written down", test_nothing_written_down},
		{"managed by ballast", test_managed},
		{"no step of a host", test_no_step_of_a_host},
		{"looking", test_look},
		{"looking between the steps of a move", test_look_between_steps},
		{"looking into the blocks of a guest", test_look_into_blocks},
		{"looking for what guests can spare", test_look_for_room},
		{"a look for a range", test_look_for_range},
		{"freed while running", test_freed_while_running},
		{"freed while a size is watched", test_freed_while_watching},
	};

	return unit_main("service/operation/step_runner", cases, sizeof(cases) / sizeof(cases[0]));
}
