/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole agent over a socket pair, with the host's session in the test and a scripted guest
 * under it.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agent_priv.h"
#include "failure.h"
#include "fake_guest.h"
#include "session_host.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)
#define RUNGS (MESSAGE_EVACUATE_HUGE_PAGES | MESSAGE_EVACUATE_COMPACT | MESSAGE_EVACUATE_OFFLINE)

static struct fake_guest guest;
static struct agent *agent;
static struct session_host host;
static uint8_t host_in[SESSION_INPUT_BYTES], host_out[SESSION_OUTPUT_BYTES];
static struct message message;
static struct message_evacuate_reply evacuated;
static int host_fd;
static uint64_t now, epoch;
static unsigned progress_count, heartbeat_count;
static bool hooks; /* the guest's configuration lets them run */

static uint64_t read_clock(void *user)
{
	return now;
}

static void new_agent(void)
{
	struct agent_options options = {.adopt_fd = -1, .stop_fd = -1, .now_ms = read_clock};
	struct failure failure;
	int ends[2];

	agent_config_init(&options.config);
	options.config.hooks = hooks;
	strcpy(options.config.lease_directory, guest.lease_directory);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	host_fd = ends[0];
	options.adopt_fd = ends[1];
	CHECK_INT(agent_new(guest.sysroot, &options, &agent, &failure), 0);
	progress_count = heartbeat_count = 0;
}

/* As if the agent had been killed. */
static void kill_agent(void)
{
	agent = agent_free(agent);
	close(host_fd);
}

static void start(void)
{
	now = 100000;
	fake_guest_start(&guest);
	session_host_init(&host, "test", host_in, sizeof(host_in), host_out, sizeof(host_out));
	new_agent();
}

static void stop(void)
{
	hooks = false;
	kill_agent();
	fake_guest_stop(&guest);
}

/* One turn of the agent and all bytes both ways. */
static void turn(int timeout_ms)
{
	const uint8_t *data;
	uint8_t *space;
	size_t size = session_host_output(&host, &data);
	ssize_t count = size ? write(host_fd, data, size) : 0;

	if (count > 0)
		session_host_sent(&host, (size_t)count);
	agent_turn(agent, timeout_ms);
	size = session_host_space(&host, &space);
	count = read(host_fd, space, size);
	if (count > 0)
		session_host_received(&host, (size_t)count);
}

/* Turns until an event of that kind; anything that a test does not wait for is counted or wrong. */
static bool await(enum session_host_event_kind kind, struct session_host_event *event)
{
	for (int i = 0; i < 2000; i++) {
		while (session_host_next(&host, now, event)) {
			if (event->kind == kind)
				return true;
			progress_count += event->kind == SESSION_HOST_EVENT_PROGRESS;
			heartbeat_count += event->kind == SESSION_HOST_EVENT_HEARTBEAT;
			CHECK_TRUE(event->kind == SESSION_HOST_EVENT_PROGRESS ||
				   event->kind == SESSION_HOST_EVENT_HEARTBEAT);
		}
		turn(20);
	}
	CHECK_TRUE(!"what was awaited came");
	memset(event, 0, sizeof(*event));
	return false;
}

static void connect_host(void)
{
	struct session_host_event event;

	epoch++;
	session_host_connect(&host, epoch * 77, epoch, now);
	CHECK_TRUE(await(SESSION_HOST_EVENT_READY, &event));
	/* The CONFIRM goes with the next bytes. */
	turn(0);
}

static uint32_t ask(enum message_type type)
{
	uint32_t id = 0;

	message.type = type;
	CHECK_INT(session_host_request(&host, &message, 1000000, now, &id), 0);
	memset(&message, 0, sizeof(message));
	return id;
}

/* The answer's message, or one without a type. */
static const struct message *answer(uint32_t id)
{
	static const struct message none;
	struct session_host_event event;

	if (!await(SESSION_HOST_EVENT_REPLY, &event))
		return &none;
	CHECK_INT(event.request_id, id);
	return event.message;
}

static enum message_result_code result(uint32_t id)
{
	const struct message *reply = answer(id);

	CHECK_INT(reply->type, MESSAGE_RESULT);
	return reply->result.code;
}

static uint32_t ask_evacuate(uint32_t flags, uint64_t target_bytes)
{
	message.evacuate = (struct message_evacuate){.lease = {.id = 5, .lease_ms = 60000},
						     .flags = flags,
						     .target_bytes = target_bytes,
						     .deadline_ms = 50000,
						     .block_deadline_ms = 40000};
	return ask(MESSAGE_EVACUATE);
}

static void evacuate(uint32_t flags, uint64_t target_bytes)
{
	const struct message *reply = answer(ask_evacuate(flags, target_bytes));

	CHECK_INT(reply->type, MESSAGE_EVACUATE_REPLY);
	evacuated = reply->evacuate_reply;
}

/* Named blocks, so that the driver's switch stays turned. */
static uint32_t ask_evacuate_blocks(uint32_t flags, unsigned first_id, unsigned count)
{
	message.evacuate = (struct message_evacuate){
		.lease = {.id = 5, .lease_ms = 60000},
		.flags = flags,
		.deadline_ms = 50000,
		.range_count = 1,
		.ranges = {{first_id * FAKE_GUEST_BLOCK_BYTES, count * FAKE_GUEST_BLOCK_BYTES}}};
	return ask(MESSAGE_EVACUATE);
}

static uint32_t ask_policy(uint64_t lease, enum message_online_policy policy)
{
	message.set_online_policy.lease = (struct message_lease){.id = lease, .lease_ms = 60000};
	message.set_online_policy.policy = policy;
	return ask(MESSAGE_SET_ONLINE_POLICY);
}

static const char *policy_now(void)
{
	return fake_guest_read(&guest, "/sys/devices/system/memory/auto_online_blocks");
}

static const char *zone_policy_now(void)
{
	return fake_guest_read(&guest, "/sys/module/memory_hotplug/parameters/online_policy");
}

/* Until no lease is open any more, or it takes too long. */
static void await_undone(void)
{
	for (int i = 0; i < 500 && agent->book.count > 0; i++)
		turn(20);
}

/* The same by an agent that nobody is connected to. */
static void await_undone_alone(void)
{
	for (int i = 0; i < 500 && agent->book.count > 0; i++)
		agent_turn(agent, 20);
}

/* Until it takes that block offline. */
static void await_try(unsigned id)
{
	for (int i = 0; i < 100 && !guest.state->tries[id]; i++)
		turn(20);
}

static uint32_t ask_release(uint32_t flags)
{
	message.release_lease = (struct message_release_lease){.lease_id = 5, .flags = flags};
	return ask(MESSAGE_RELEASE_LEASE);
}

static uint32_t ask_release_of(uint64_t lease)
{
	message.release_lease.lease_id = lease;
	return ask(MESSAGE_RELEASE_LEASE);
}

static void test_hello_and_report(void)
{
	start();
	connect_host();
	CHECK_INT(host.peer.block_bytes, FAKE_GUEST_BLOCK_BYTES);
	CHECK_INT(host.peer.features,
		  (MESSAGE_FEATURE_HOOKS - 1) | MESSAGE_FEATURE_MAKE_ROOM | MESSAGE_FEATURE_WORD |
			  MESSAGE_FEATURE_WORK_SHARE | MESSAGE_FEATURE_WISH | MESSAGE_FEATURE_REPAIR |
			  MESSAGE_FEATURE_POOL_NODES);
	CHECK_INT(host.peer.boot_id[0], 0x0f);
	CHECK_STR(host.peer.agent_version, BALLAST_VERSION);
	const struct message *reply = answer(ask(MESSAGE_REPORT));

	CHECK_INT(reply->type, MESSAGE_REPORT_REPLY);
	const struct message_report_reply *report = &reply->report_reply;

	CHECK_INT(report->total_bytes, 1500000ull * 1024);
	CHECK_INT(report->available_bytes, 1000000ull * 1024);
	CHECK_INT(report->pressure.some_avg10_x100, 153);
	CHECK_INT(report->pressure.full_avg10_x100, 25);
	CHECK_INT(report->auto_online, MESSAGE_AUTO_ONLINE_OFFLINE);
	CHECK_INT(report->zone_policy, MESSAGE_ZONE_POLICY_CONTIG_ZONES);
	CHECK_INT(report->auto_movable_ratio, 301);
	CHECK_INT(report->unplug_online, 1);
	CHECK_INT(report->pool_count, 2);
	CHECK_INT(report->pools[0].node, MESSAGE_NODE_ALL);
	CHECK_INT(report->pools[0].total, 100);
	CHECK_INT(report->region_count, 1);
	CHECK_INT(report->regions[0].start, UINT64_C(0x100000000));
	CHECK_INT(report->regions[0].size_bytes, 2048 * MIB);
	CHECK_INT(report->regions[0].plugged_bytes, 1024 * MIB);
	CHECK_INT(report->regions[0].movable_bytes, 1024 * MIB);
	CHECK_INT(report->flags, MESSAGE_REPORT_KEEPS);
	CHECK_INT(report->keep_bytes, report->total_bytes / 100 * 3);
	CHECK_STR(report->udev_rule, "");
	/* Not looked for twice in a moment. */
	fake_guest_write(&guest, "/etc/udev/rules.d/9-memory.rules",
			 "SUBSYSTEM==\"memory\", ACTION==\"add\", ATTR{state}=\"online\"");
	CHECK_STR(answer(ask(MESSAGE_REPORT))->report_reply.udev_rule, "");
	now += 10000;
	reply = answer(ask(MESSAGE_REPORT));
	CHECK_STR(reply->report_reply.udev_rule, "/etc/udev/rules.d/9-memory.rules");
	CHECK_INT(reply->report_reply.flags, MESSAGE_REPORT_UDEV_ONLINES | MESSAGE_REPORT_KEEPS);
	stop();
}

static void test_blocks_in_pages(void)
{
	uint64_t next = 0;
	unsigned seen = 0, pages = 0;

	start();
	connect_host();
	while (next != MESSAGE_BLOCK_END && pages < 10) {
		message.blocks = (struct message_blocks){
			.first_block = next, .end_block = UINT64_MAX, .max_count = 5};
		const struct message *reply = answer(ask(MESSAGE_BLOCKS));

		CHECK_INT(reply->type, MESSAGE_BLOCKS_REPLY);
		for (unsigned i = 0; i < reply->blocks_reply.block_count; i++) {
			const struct message_block *block = &reply->blocks_reply.blocks[i];

			CHECK_INT(block->region, block->id >= 32 ? 0 : MESSAGE_REGION_NONE);
			CHECK_INT(block->zone,
				  block->id >= 32 ? MESSAGE_ZONE_MOVABLE : MESSAGE_ZONE_UNKNOWN);
			CHECK_INT(block->flags, block->id >= 32 ? MESSAGE_BLOCK_REMOVABLE : 0);
			seen++;
		}
		next = reply->blocks_reply.next_block;
		pages++;
	}
	CHECK_INT(seen, 12);
	CHECK_INT(pages, 3);
	stop();
}

static void test_shrink_and_keep(void)
{
	start();
	connect_host();
	evacuate(RUNGS, 256 * MIB);
	CHECK_INT(evacuated.code, MESSAGE_RESULT_OK);
	CHECK_INT(evacuated.offlined_bytes, 256 * MIB);
	CHECK_TRUE(progress_count >= 2);
	CHECK_INT(fake_guest_pool(&guest), 0);
	CHECK_INT(result(ask_release(MESSAGE_RELEASE_KEEP_POOLS)), MESSAGE_RESULT_OK);
	/* Nobody unplugged the blocks: they are memory again. The pool stays small. */
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	CHECK_INT(fake_guest_pool(&guest), 0);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "taken 0 2097152 100 100\n") != NULL);
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_NOT_FOUND);
	/* Memory returns, not all of it at once. */
	guest.state->pool_most = 60;
	const struct message *reply = answer(ask(MESSAGE_RESTORE_POOLS));

	CHECK_INT(reply->result.code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(reply->result.value_bytes, 120 * MIB);
	guest.state->pool_most = 1000;
	reply = answer(ask(MESSAGE_RESTORE_POOLS));
	CHECK_INT(reply->result.code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->result.value_bytes, 80 * MIB);
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "taken") == NULL);
	reply = answer(ask(MESSAGE_RESTORE_POOLS));
	CHECK_INT(reply->result.value_bytes, 0);
	CHECK_INT(fake_guest_pool(&guest), 100);
	stop();
}

static void test_owner_changes_a_taken_pool(void)
{
	start();
	connect_host();
	evacuate(MESSAGE_EVACUATE_HUGE_PAGES, 100 * MIB);
	uint64_t left = fake_guest_pool(&guest);

	CHECK_TRUE(left > 0 && left < 100);
	CHECK_INT(result(ask_release(MESSAGE_RELEASE_KEEP_POOLS)), MESSAGE_RESULT_OK);
	/* Its owner wants none of it: what he set counts, also when memory returns. */
	fake_guest_set_pool(&guest, left / 2, left / 2, 0, 0);
	const struct message *reply = answer(ask(MESSAGE_RESTORE_POOLS));

	CHECK_INT(reply->result.code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->result.value_bytes, 0);
	CHECK_INT(fake_guest_pool(&guest), left / 2);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "taken") == NULL);
	stop();
}

static void test_release_undoes(void)
{
	start();
	connect_host();
	evacuate(RUNGS, 128 * MIB);
	CHECK_INT(fake_guest_pool(&guest), 36);
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_OK);
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease") ==
		   strstr(fake_guest_leases(&guest), "leases 1"));
	stop();
}

static void test_lease_runs_out(void)
{
	start();
	connect_host();
	evacuate(RUNGS, 128 * MIB);
	now += 59000;
	message.renew_lease.lease = (struct message_lease){.id = 5, .lease_ms = 60000};
	CHECK_INT(result(ask(MESSAGE_RENEW_LEASE)), MESSAGE_RESULT_OK);
	now += 59000;
	turn(0);
	CHECK_INT(fake_guest_pool(&guest), 36);
	/* The host is gone and does not renew. */
	now += 2000;
	await_undone();
	CHECK_INT(agent->book.count, 0);
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	stop();
}

static const char *unplug_online_now(void)
{
	return fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online");
}

/* The kernel does not let go of a child: settings go back all the same, blocks when it has ended. */
static void test_settings_beside_a_stuck_child(void)
{
	start();
	connect_host();
	CHECK_INT(result(ask_policy(9, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_OK);
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	guest.state->scripts[38] = FAKE_GUEST_GOES;
	uint32_t id = ask_evacuate_blocks(MESSAGE_EVACUATE_OFFLINE, 38, 2);

	await_try(39);
	/* As if it had been killed in vain so long ago. */
	agent->evacuate.job.killed = true;
	agent->evacuate.job.killed_ms = now - CHILD_JOB_STUCK_MS;
	CHECK_INT(answer(id)->evacuate_reply.blocks[0].reason, MESSAGE_REASON_KERNEL_STUCK);
	CHECK_TRUE(!evacuate_is_idle(&agent->evacuate));
	CHECK_STR(policy_now(), "online_movable");
	CHECK_INT(result(ask_release_of(9)), MESSAGE_RESULT_OK);
	CHECK_STR(policy_now(), "offline");
	CHECK_STR(unplug_online_now(), "N");
	id = ask_release(0);
	for (int i = 0; i < 5; i++)
		turn(0);
	CHECK_STR(unplug_online_now(), "Y");
	CHECK_TRUE(agent->releases[0].answer.pending);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease 5\nblock 39 Movable\nend") != NULL);
	kill(agent->evacuate.job.pid, SIGKILL);
	CHECK_INT(result(id), MESSAGE_RESULT_OK);
	CHECK_INT(agent->book.count, 0);
	stop();
}

/* The kernel takes a block back only at the third try. */
static void test_what_cannot_be_undone_stays_owed(void)
{
	start();
	connect_host();
	evacuate(MESSAGE_EVACUATE_OFFLINE, 256 * MIB);
	CHECK_STR(fake_guest_block_state(&guest, 39), "offline");
	guest.state->refusals = 3;
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_PARTIAL);
	CHECK_INT(agent->book.count, 1);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "lease 5\nblock 39 Movable\nblock 38 Movable\nend") != NULL);
	/* Not at once. */
	turn(0);
	CHECK_INT(guest.state->refusals, 1);
	now += LEASE_RETRY_MS;
	for (int i = 0; i < 100 && guest.state->refusals; i++)
		turn(20);
	turn(20);
	CHECK_INT(agent->book.count, 1);
	/* One of them is back, the other one is asked for at its time, also by an agent that begins anew. */
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "block 39") != NULL ||
		   strstr(fake_guest_leases(&guest), "block 38") != NULL);
	kill_agent();
	new_agent();
	connect_host();
	await_undone();
	CHECK_INT(agent->book.count, 0);
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	CHECK_STR(fake_guest_block_state(&guest, 38), "online");
	stop();
}

/* Asked again it is tried at once. */
static void test_release_once_more(void)
{
	start();
	connect_host();
	evacuate(MESSAGE_EVACUATE_OFFLINE, 128 * MIB);
	guest.state->refusals = 1;
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_PARTIAL);
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_OK);
	CHECK_INT(agent->book.count, 0);
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	stop();
}

static void test_agent_is_stopped(void)
{
	start();
	connect_host();
	evacuate(RUNGS, 128 * MIB);
	CHECK_INT(fake_guest_pool(&guest), 36);
	agent_give_back(agent, 5000);
	CHECK_INT(agent->book.count, 0);
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	stop();
}

/* A child that the end interrupts is killed, and what it was doing is undone. */
static void test_agent_is_stopped_in_its_work(void)
{
	start();
	connect_host();
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	ask_evacuate_blocks(MESSAGE_EVACUATE_OFFLINE, 38, 2);
	await_try(39);
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "N");
	agent_give_back(agent, 5000);
	CHECK_INT(agent->book.count, 0);
	CHECK_STR(fake_guest_block_state(&guest, 38), "online");
	CHECK_TRUE(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online")[0] ==
		   'Y');
	stop();
}

static const char hook[] =
	"echo $1 $BALLAST_BYTES $BALLAST_RANGES $BALLAST_OUTCOME $(cat $PWD/../../../sys/devices/system/memory/"
	"memory39/state) >> ../log; test $1 = before || { echo tired; exit 1; }";

static void evacuate_with_hooks(void)
{
	hooks = true;
	start();
	fake_guest_add_hook(&guest, "10-a", hook);
	connect_host();
	CHECK_INT(host.peer.features & MESSAGE_FEATURE_HOOKS, MESSAGE_FEATURE_HOOKS);
	const struct message *reply = answer(ask_evacuate_blocks(MESSAGE_EVACUATE_HOOKS | MESSAGE_EVACUATE_OFFLINE, 39, 1));

	CHECK_INT(reply->evacuate_reply.code, MESSAGE_RESULT_OK);
	CHECK_STR(fake_guest_block_state(&guest, 39), "offline");
}

static void test_hooks_after_a_shrink(void)
{
	evacuate_with_hooks();
	const struct message *reply = answer(ask_release(MESSAGE_RELEASE_KEEP_POOLS));

	/* A hook that fails undoes nothing and keeps nothing: it is told. */
	CHECK_INT(reply->result.code, MESSAGE_RESULT_OK);
	CHECK_STR(reply->result.text, "hook 10-a (after): exit status 1: tired");
	CHECK_STR(fake_guest_read(&guest, "/etc/ballast/log"),
		  "before 0 138000000-140000000 online\nafter 0 138000000-140000000 kept online");
	CHECK_INT(agent->book.count, 0);
	stop();
}

/* By an owner who reads the configuration anew in between: the application would stay let go. */
static void test_hooks_turned_off_before_their_end(void)
{
	evacuate_with_hooks();
	agent->options.config.hooks = false;
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_OK);
	CHECK_STR(fake_guest_read(&guest, "/etc/ballast/log"),
		  "before 0 138000000-140000000 online\nafter 0 138000000-140000000 undone online");
	/* Nothing that begins now runs one. */
	CHECK_INT(result(ask_evacuate(MESSAGE_EVACUATE_HOOKS, 128 * MIB)), MESSAGE_RESULT_VETOED);
	stop();
}

/* The host does not wait for ever, and the lease is not over before its hooks are. */
static void test_slow_hooks_after_a_shrink(void)
{
	evacuate_with_hooks();
	fake_guest_add_hook(&guest, "10-a", "echo $1 >> ../log; sleep 1000");
	uint32_t id = ask_release(0);

	for (int i = 0; i < 500 && !strstr(fake_guest_read(&guest, "/etc/ballast/log"), "after"); i++)
		turn(20);
	now += 9000;
	turn(0);
	CHECK_TRUE(agent->releases[0].answer.pending);
	agent->undo.job.deadline_ms = now + 60000;
	now += 6000;
	CHECK_INT(result(id), MESSAGE_RESULT_OK);
	CHECK_INT(agent->book.count, 1);
	now += 60000;
	await_undone();
	CHECK_INT(agent->book.count, 0);
	stop();
}

static void test_hooks_after_a_kill(void)
{
	evacuate_with_hooks();
	kill_agent();
	new_agent();
	await_undone_alone();
	CHECK_STR(fake_guest_read(&guest, "/etc/ballast/log"),
		  "before 0 138000000-140000000 online\nafter 0 138000000-140000000 undone online");
	CHECK_INT(agent->book.count, 0);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "hook") == NULL);
	stop();
}

static void test_agent_is_killed(void)
{
	start();
	connect_host();
	answer(ask_evacuate_blocks(RUNGS, 38, 2));
	message.set_online_policy.auto_movable_ratio = 200;
	CHECK_INT(result(ask_policy(5, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE)), MESSAGE_RESULT_OK);
	CHECK_STR(policy_now(), "online");
	CHECK_STR(zone_policy_now(), "auto-movable");
	CHECK_STR(
		fake_guest_read(&guest, "/sys/module/memory_hotplug/parameters/auto_movable_ratio"),
		"200");
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "N");
	kill_agent();
	CHECK_STR(fake_guest_block_state(&guest, 39), "offline");
	CHECK_INT(fake_guest_pool(&guest), 0);
	new_agent();
	await_undone_alone();
	CHECK_STR(fake_guest_block_state(&guest, 38), "online");
	CHECK_STR(fake_guest_block_state(&guest, 39), "online");
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_STR(policy_now(), "offline");
	CHECK_STR(zone_policy_now(), "contig-zones");
	CHECK_STR(
		fake_guest_read(&guest, "/sys/module/memory_hotplug/parameters/auto_movable_ratio"),
		"301");
	CHECK_STR(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online"), "Y");
	/* Once more does no more. */
	unsigned writes = guest.state->writes;

	kill_agent();
	new_agent();
	agent_turn(agent, 0);
	CHECK_INT(guest.state->writes, writes);
	stop();
}

/* As it was before anything was asked. */
static void check_untouched(uint64_t pool_pages)
{
	for (unsigned id = 38; id <= 39; id++)
		CHECK_STR(fake_guest_block_state(&guest, id), "online");
	/* Its own ones: surplus ones may have gone. */
	CHECK_INT(fake_guest_pool(&guest) -
			  strtoull(fake_guest_read(&guest, "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages"),
				   NULL, 10),
		  pool_pages);
	CHECK_TRUE(fake_guest_read(&guest, "/sys/module/virtio_mem/parameters/unplug_online")[0] == 'Y');
	CHECK_STR(policy_now(), "offline");
	CHECK_STR(zone_policy_now(), "contig-zones");
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "\nlease") == NULL);
}

/* All that it changes and all that it puts back; false where it died meanwhile. */
static bool live_and_die(unsigned dies_at, bool dies_after)
{
	guest.state->dies_at = dies_at;
	guest.state->dies_after = dies_after;
	message.set_online_policy.auto_movable_ratio = 200;
	answer(ask_policy(5, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE));
	answer(ask_evacuate_blocks(RUNGS | MESSAGE_EVACUATE_MAKE_ROOM, 38, 2));
	if (!guest.state->is_dead)
		CHECK_STR(fake_guest_block_state(&guest, 38), "offline");
	answer(ask_release(0));
	return !guest.state->is_dead;
}

/* Before and after every write that it does: the next one puts all back. */
static void test_killed_at_every_write(void)
{
	for (int round = 0; round < 4; round++) {
		int after = round & 1;
		unsigned surplus = round & 2 ? 20 : 0;
		bool survived = false;
		unsigned writes = 0;

		for (unsigned n = 1; !survived && n < 100; n++) {
			start();
			/* 40 in use, for which room is made; of what is free some goes with its block. */
			fake_guest_set_pool(&guest, 100, 60, 0, surplus);
			guest.state->free_inside[39] = 15;
			guest.state->free_inside[38] = 50;
			connect_host();
			survived = live_and_die(n, after != 0);
			writes = n;
			kill_agent();
			fake_guest_bury(&guest);
			new_agent();
			await_undone_alone();
			CHECK_INT(agent->book.count, 0);
			check_untouched(100 - surplus);
			stop();
		}
		CHECK_TRUE(survived && writes > 14);
	}
}

static void veto_all(void *user, struct agent_config *settings)
{
	char byte;

	CHECK_INT(read(agent->options.reload_fd, &byte, 1), 1);
	settings->veto = AGENT_CONFIG_VETO_SHRINK;
}

/* The guest's owner says in the middle of it that nothing may leave. */
static void test_veto_at_run_time(void)
{
	int ends[2];

	start();
	connect_host();
	CHECK_INT(pipe(ends), 0);
	agent->options.reload = veto_all;
	agent->options.reload_fd = ends[0];
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	uint32_t id = ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 128 * MIB);

	await_try(39);
	CHECK_INT(write(ends[1], "x", 1), 1);
	const struct message *reply = answer(id);

	CHECK_INT(reply->evacuate_reply.code, MESSAGE_RESULT_CANCELLED);
	reply = answer(ask(MESSAGE_REPORT));
	CHECK_INT(reply->report_reply.word_flags, MESSAGE_WORD_VETO);
	CHECK_INT(result(ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 0)), MESSAGE_RESULT_VETOED);
	close(ends[0]);
	close(ends[1]);
	stop();
}

static void allow_hooks(void *user, struct agent_config *settings)
{
	veto_all(user, settings);
	settings->veto = AGENT_CONFIG_VETO_REPAIR;
	settings->hooks = true;
}

/* What the host may ask for stands in its greeting: it is brought to greet anew, but not in the middle of something. */
static void test_features_at_run_time(void)
{
	const uint64_t changing = MESSAGE_FEATURE_HOOKS | MESSAGE_FEATURE_REPAIR;
	struct session_host_event event;
	int ends[2];

	start();
	connect_host();
	CHECK_INT(host.peer.features & changing, MESSAGE_FEATURE_REPAIR);
	CHECK_INT(pipe(ends), 0);
	agent->options.reload = allow_hooks;
	agent->options.reload_fd = ends[0];
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	uint32_t id = ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 128 * MIB);

	await_try(39);
	CHECK_INT(write(ends[1], "x", 1), 1);
	for (int i = 0; i < 5; i++)
		turn(20);
	now += 40000;
	CHECK_INT(answer(id)->evacuate_reply.offlined_bytes, 128 * MIB);
	for (int i = 0; i < 5; i++)
		turn(0);
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_OK);
	CHECK_TRUE(await(SESSION_HOST_EVENT_READY, &event));
	CHECK_INT(host.peer.features & changing, MESSAGE_FEATURE_HOOKS);
	turn(0);
	CHECK_INT(answer(ask(MESSAGE_REPORT))->type, MESSAGE_REPORT_REPLY);
	/* The same once more is no news. */
	CHECK_INT(write(ends[1], "x", 1), 1);
	turn(0);
	turn(0);
	CHECK_INT(agent->session.state, SESSION_GUEST_OPEN);
	close(ends[0]);
	close(ends[1]);
	stop();
}

/* What the pool had in the report before the shrink is what it has again, whatever is on its way when room is made. */
static void test_room_beside_a_page_on_its_way(void)
{
	start();
	fake_guest_set_pool(&guest, 20, 0, 0, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	connect_host();
	answer(ask(MESSAGE_REPORT));
	fake_guest_set_pool(&guest, 21, 0, 0, 0);
	answer(ask(MESSAGE_REPORT));
	answer(ask_evacuate(MESSAGE_EVACUATE_MAKE_ROOM, 0));
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "room 2097152 20 21\n") != NULL);
	stop();
}

static void test_busy_but_alive(void)
{
	struct session_host_event event;

	start();
	connect_host();
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	uint32_t id = ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 128 * MIB);

	/* While a child hangs in the kernel: heartbeats, reports, a refusal, a cancel. */
	await_try(39);
	now += LIMIT_HEARTBEAT_MS;
	CHECK_TRUE(await(SESSION_HOST_EVENT_HEARTBEAT, &event));
	CHECK_INT(event.message->heartbeat.wanted_bytes, 0);
	CHECK_INT(event.message->heartbeat.busy, 1);
	CHECK_INT(event.message->heartbeat.leases, 1);
	CHECK_INT(answer(ask(MESSAGE_REPORT))->type, MESSAGE_REPORT_REPLY);
	CHECK_INT(result(ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 0)), MESSAGE_RESULT_BUSY);
	message.cancel.request_id = id + 100;
	CHECK_INT(result(ask(MESSAGE_CANCEL)), MESSAGE_RESULT_NOT_FOUND);
	message.cancel.request_id = id;
	CHECK_INT(result(ask(MESSAGE_CANCEL)), MESSAGE_RESULT_OK);
	const struct message *reply = answer(id);

	CHECK_INT(reply->type, MESSAGE_EVACUATE_REPLY);
	CHECK_INT(reply->evacuate_reply.code, MESSAGE_RESULT_CANCELLED);
	stop();
}

static void watch(uint32_t interval_ms, uint32_t duration_ms)
{
	message.watch_stalls = (struct message_watch_stalls){.interval_ms = interval_ms,
							     .duration_ms = duration_ms};
}

/* The next STALLS, after so much of the agent's time. */
static struct message_stalls stalls(uint32_t id, uint64_t after_ms)
{
	struct session_host_event event;

	now += after_ms;
	CHECK_TRUE(await(SESSION_HOST_EVENT_PROGRESS, &event));
	CHECK_INT(event.request_id, id);
	CHECK_INT(event.message->type, MESSAGE_STALLS);
	return event.message->stalls;
}

/* The probe's thread has a clock of its own, and its turn when the machine has one for it. */
static bool has_sample(void)
{
	struct stall_probe *probe = &agent->watch.probe;

	pthread_mutex_lock(&probe->lock);
	bool has = probe->tally.samples > 0;

	pthread_mutex_unlock(&probe->lock);
	return has;
}

static void test_watch_stalls(void)
{
	start();
	connect_host();
	watch(250, 1000);
	uint32_t id = ask(MESSAGE_WATCH_STALLS), samples = 0;
	uint64_t longest_us = 0;

	for (int i = 0; i < 2000 && !has_sample(); i++)
		turn(5);
	CHECK_TRUE(stall_probe_is_running(&agent->watch.probe));
	CHECK_INT(agent_watch_deadline(agent), now + 250);
	for (int i = 0; i < 4; i++) {
		struct message_stalls felt = stalls(id, 250);

		samples += felt.samples;
		longest_us = felt.longest_us > longest_us ? felt.longest_us : longest_us;
		CHECK_TRUE(felt.p99_us <= longest_us);
	}
	CHECK_TRUE(samples > 0);
	/* Its time is over. */
	CHECK_INT(result(id), MESSAGE_RESULT_OK);
	CHECK_TRUE(!stall_probe_is_running(&agent->watch.probe));
	CHECK_INT(agent_watch_deadline(agent), UINT64_MAX);
	stop();
}

static void test_watch_ends(void)
{
	uint32_t id;

	start();
	connect_host();
	watch(60000, 60000);
	id = ask(MESSAGE_WATCH_STALLS);
	turn(1);
	/* A second one takes the first one's place. */
	watch(100, 60000);
	uint32_t second = ask(MESSAGE_WATCH_STALLS);

	CHECK_INT(result(id), MESSAGE_RESULT_CANCELLED);
	stalls(second, 100);
	/* A cancel tells what was felt up to it. */
	progress_count = 0;
	message.cancel.request_id = second;
	id = ask(MESSAGE_CANCEL);
	CHECK_INT(result(second), MESSAGE_RESULT_CANCELLED);
	CHECK_INT(progress_count, 1);
	CHECK_INT(result(id), MESSAGE_RESULT_OK);
	CHECK_TRUE(!stall_probe_is_running(&agent->watch.probe));
	message.cancel.request_id = second;
	CHECK_INT(result(ask(MESSAGE_CANCEL)), MESSAGE_RESULT_NOT_FOUND);
	/* The same daemon anew. */
	watch(100, 60000);
	ask(MESSAGE_WATCH_STALLS);
	turn(1);
	CHECK_TRUE(stall_probe_is_running(&agent->watch.probe));
	connect_host();
	CHECK_TRUE(!stall_probe_is_running(&agent->watch.probe));
	/* The host goes away. */
	watch(100, 60000);
	ask(MESSAGE_WATCH_STALLS);
	turn(1);
	CHECK_TRUE(stall_probe_is_running(&agent->watch.probe));
	CHECK_INT(shutdown(host_fd, SHUT_RDWR), 0);
	agent_turn(agent, 20);
	CHECK_TRUE(!stall_probe_is_running(&agent->watch.probe));
	stop();
}

static void test_watch_refusals(void)
{
	start();
	connect_host();
	watch(LIMIT_STALLS_INTERVAL_MS - 1, 1000);
	CHECK_INT(result(ask(MESSAGE_WATCH_STALLS)), MESSAGE_RESULT_INVALID);
	watch(LIMIT_STALLS_WATCH_MS + 1, 1000);
	CHECK_INT(result(ask(MESSAGE_WATCH_STALLS)), MESSAGE_RESULT_INVALID);
	watch(1000, 0);
	CHECK_INT(result(ask(MESSAGE_WATCH_STALLS)), MESSAGE_RESULT_INVALID);
	watch(1000, LIMIT_STALLS_WATCH_MS + 1);
	CHECK_INT(result(ask(MESSAGE_WATCH_STALLS)), MESSAGE_RESULT_INVALID);
	agent->options.config.veto = AGENT_CONFIG_VETO_STALL_PROBE;
	watch(1000, 1000);
	CHECK_INT(result(ask(MESSAGE_WATCH_STALLS)), MESSAGE_RESULT_VETOED);
	CHECK_TRUE(!stall_probe_is_running(&agent->watch.probe));
	stop();
}

/* With each heartbeat, until the host has answered just that. */
static void test_asks_for_more(void)
{
	struct session_host_event event;

	start();
	agent->options.config.memory_wanted_bytes = UINT64_C(64) << 30;
	connect_host();
	for (int i = 0; i < 2; i++) {
		now += LIMIT_HEARTBEAT_MS;
		CHECK_TRUE(await(SESSION_HOST_EVENT_HEARTBEAT, &event));
		CHECK_INT(event.message->heartbeat.wanted_bytes, UINT64_C(64) << 30);
	}
	message.answer_wish = (struct message_answer_wish){.wanted_bytes = UINT64_C(64) << 30,
							   .code = MESSAGE_RESULT_VETOED,
							   .text = "no"};
	CHECK_INT(result(ask(MESSAGE_ANSWER_WISH)), MESSAGE_RESULT_OK);
	now += LIMIT_HEARTBEAT_MS;
	CHECK_TRUE(await(SESSION_HOST_EVENT_HEARTBEAT, &event));
	CHECK_INT(event.message->heartbeat.wanted_bytes, 0);
	now += ASK_PAUSE_MS;
	CHECK_TRUE(await(SESSION_HOST_EVENT_HEARTBEAT, &event));
	CHECK_INT(event.message->heartbeat.wanted_bytes, UINT64_C(64) << 30);
	stop();
}

static void test_report_free(void)
{
	struct session_host_event event;

	start();
	connect_host();
	message.report_free.deadline_ms = 60000;
	uint32_t id = ask(MESSAGE_REPORT_FREE);

	CHECK_TRUE(await(SESSION_HOST_EVENT_PROGRESS, &event));
	CHECK_INT(event.message->progress.stage, MESSAGE_STAGE_REPORT);
	now += LIMIT_HEARTBEAT_MS;
	const struct message *reply = answer(id);

	CHECK_INT(reply->type, MESSAGE_RESULT);
	CHECK_INT(reply->result.code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->result.value_bytes, 660 * MIB);
	/* Cancelled while it waits. */
	message.report_free.deadline_ms = 60000;
	id = ask(MESSAGE_REPORT_FREE);
	CHECK_TRUE(await(SESSION_HOST_EVENT_PROGRESS, &event));
	message.cancel.request_id = id;
	CHECK_INT(result(ask(MESSAGE_CANCEL)), MESSAGE_RESULT_OK);
	CHECK_INT(result(id), MESSAGE_RESULT_CANCELLED);
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 128 * MIB);
	message.report_free.deadline_ms = 60000;
	CHECK_INT(result(ask(MESSAGE_REPORT_FREE)), MESSAGE_RESULT_BUSY);
	stop();
}

static void test_another_host(void)
{
	start();
	connect_host();
	guest.state->scripts[39] = FAKE_GUEST_HANGS;
	ask_evacuate(RUNGS, 128 * MIB);
	await_try(39);
	/* The daemon restarts: the work of the old session ends, its lease stays until it is
	 * released or runs out. */
	connect_host();
	for (int i = 0; i < 100 && !evacuate_is_idle(&agent->evacuate); i++)
		turn(20);
	CHECK_INT(fake_guest_pool(&guest), 36);
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_OK);
	CHECK_INT(fake_guest_pool(&guest), 100);
	CHECK_INT(host.counters.stale_frames <= 1, 1);
	stop();
}

/* The agent did not run while one daemon asked for something, ended, and another came. */
static void test_asked_by_a_host_before(void)
{
	const uint8_t *data;

	start();
	connect_host();
	ask_evacuate(RUNGS, 128 * MIB);
	size_t size = session_host_output(&host, &data);

	CHECK_INT(write(host_fd, data, size), (ssize_t)size);
	connect_host();
	CHECK_TRUE(evacuate_is_idle(&agent->evacuate));
	CHECK_INT(agent->book.count, 0);
	CHECK_INT(agent->session.counters.requests, 0);
	CHECK_INT(fake_guest_pool(&guest), 100);
	stop();
}

static void test_host_goes_away(void)
{
	start();
	connect_host();
	close(host_fd);
	agent_turn(agent, 0);
	CHECK_INT(agent->port.state, PORT_CLOSED);
	CHECK_INT(agent->session.state, SESSION_GUEST_CLOSED);
	/* No spinning: the next look is a second away. */
	CHECK_INT(agent->port.retry_at_ms, now + PORT_RETRY_MS);
	host_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	stop();
}

static void test_policies(void)
{
	start();
	connect_host();
	CHECK_INT(result(ask_policy(9, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_OK);
	CHECK_STR(policy_now(), "online_movable");
	message.set_online_policy.lease.id = 9;
	message.set_online_policy.policy = MESSAGE_ONLINE_POLICY_LEAVE;
	CHECK_INT(result(ask(MESSAGE_SET_ONLINE_POLICY)), MESSAGE_RESULT_OK);
	CHECK_STR(policy_now(), "offline");
	/* Kept beyond its lease. */
	CHECK_INT(result(ask_policy(5, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_OK);
	CHECK_INT(result(ask_release(MESSAGE_RELEASE_KEEP_POLICY)), MESSAGE_RESULT_OK);
	CHECK_STR(policy_now(), "online_movable");
	message.set_online_policy.policy = MESSAGE_ONLINE_POLICY_MOVABLE;
	CHECK_INT(result(ask(MESSAGE_SET_ONLINE_POLICY)), MESSAGE_RESULT_INVALID);
	stop();
}

/* One policy for good, and in the middle of it that of an operation: whichever ends first. */
static void test_a_policy_within_another(void)
{
	start();
	connect_host();
	for (int first = 1; first <= 2; first++) {
		CHECK_STR(policy_now(), "offline");
		CHECK_INT(result(ask_policy(1, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE)), MESSAGE_RESULT_OK);
		CHECK_INT(result(ask_policy(2, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_OK);
		CHECK_INT(result(ask_release_of((uint64_t)first)), MESSAGE_RESULT_OK);
		CHECK_STR(policy_now(), first == 1 ? "online_movable" : "online");
		CHECK_INT(result(ask_release_of((uint64_t)(3 - first))), MESSAGE_RESULT_OK);
		CHECK_STR(policy_now(), "offline");
		CHECK_STR(zone_policy_now(), "contig-zones");
	}
	/* Both at once. */
	CHECK_INT(result(ask_policy(1, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE)), MESSAGE_RESULT_OK);
	CHECK_INT(result(ask_policy(2, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_OK);
	agent_give_back(agent, 2000);
	CHECK_STR(policy_now(), "offline");
	stop();
}

/* Repair: blocks 40 and 41 are plugged and offline, 37 to 39 were onlined into the kernel's zone and are empty. */

#define KPF_SLAB  (UINT64_C(1) << 7)
#define KPF_BUDDY (UINT64_C(1) << 10)
#define BLOCK_PAGES (FAKE_GUEST_BLOCK_BYTES / (uint64_t)sysconf(_SC_PAGESIZE))

static void start_broken(void)
{
	start();
	for (unsigned id = 37; id <= 39; id++) {
		fake_guest_set_block(&guest, id, "online", "Normal");
		fake_guest_set_pages(&guest, id, 0, BLOCK_PAGES, KPF_BUDDY);
	}
	fake_guest_set_block(&guest, 40, "offline", "Normal Movable");
	fake_guest_set_block(&guest, 41, "offline", "Normal Movable");
	connect_host();
}

static uint32_t ask_repair(uint32_t flags, enum message_online_policy policy)
{
	message.repair = (struct message_repair){.lease = {.id = 6, .lease_ms = 60000},
						 .flags = flags,
						 .policy = policy,
						 .deadline_ms = 50000,
						 .block_deadline_ms = 40000};
	return ask(MESSAGE_REPAIR);
}

static struct message_result repair(void)
{
	const struct message *reply = answer(ask_repair(MESSAGE_REPAIR_ALL, MESSAGE_ONLINE_POLICY_MOVABLE));

	CHECK_INT(reply->type, MESSAGE_RESULT);
	return reply->result;
}

static void check_block(unsigned id, const char *state, const char *zones)
{
	CHECK_STR(fake_guest_block_state(&guest, id), state);
	CHECK_STR(fake_guest_block_zones(&guest, id), zones);
}

static void test_repair(void)
{
	start_broken();
	struct message_result done = repair();

	CHECK_INT(done.code, MESSAGE_RESULT_OK);
	CHECK_INT(done.value_bytes, 5 * FAKE_GUEST_BLOCK_BYTES);
	CHECK_STR(done.text, "640 MiB repaired");
	for (unsigned id = 32; id <= 41; id++)
		check_block(id, "online", "Movable");
	/* Boot memory is no matter of it. */
	check_block(0, "online", "none");
	/* Nothing is left of its lease. */
	for (int i = 0; i < 100 && agent->book.count > 0; i++)
		turn(0);
	CHECK_TRUE(strstr(fake_guest_leases(&guest), "\nlease") == NULL);
	unsigned writes = guest.state->writes;

	CHECK_INT(repair().value_bytes, 0);
	CHECK_INT(guest.state->writes, writes);
	stop();
}

/* What the kernel shall choose has no wrong zone. */
static void test_repair_by_ratio(void)
{
	start_broken();
	const struct message *reply = answer(ask_repair(MESSAGE_REPAIR_ALL, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE));

	CHECK_INT(reply->result.code, MESSAGE_RESULT_OK);
	CHECK_INT(reply->result.value_bytes, 2 * FAKE_GUEST_BLOCK_BYTES);
	CHECK_TRUE(strstr(guest.state->log, "memory40/state=online\n") != NULL);
	check_block(39, "online", "Normal");
	stop();
}

static void test_what_is_not_repaired(void)
{
	start_broken();
	/* One has something of the kernel's in it, one is in use by more than a half, one is pinned. */
	fake_guest_set_pages(&guest, 37, 100, 1, KPF_SLAB);
	fake_guest_set_pages(&guest, 38, 0, BLOCK_PAGES / 2 + 1, UINT64_C(1) << 5);
	guest.state->scripts[39] = FAKE_GUEST_BUSY;
	struct message_result done = repair();

	CHECK_INT(done.code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(done.value_bytes, 2 * FAKE_GUEST_BLOCK_BYTES);
	CHECK_STR(done.text, "256 MiB repaired, 3 blocks not: 37 cannot be moved; 38 in use; 39 busy");
	CHECK_INT(guest.state->tries[37] + guest.state->tries[38], 0);
	CHECK_INT(guest.state->tries[39], 1);
	for (unsigned id = 37; id <= 39; id++)
		check_block(id, "online", "Normal");
	/* Once is enough for what was tried; the others may be free by now. */
	guest.state->scripts[39] = FAKE_GUEST_GOES;
	fake_guest_set_pages(&guest, 38, 0, BLOCK_PAGES, KPF_BUDDY);
	done = repair();
	CHECK_STR(done.text, "128 MiB repaired, 2 blocks not: 39 given up after one try; 37 cannot be moved");
	/* Plugged anew it is another one. */
	fake_guest_unplug(&guest, 39);
	fake_guest_set_block(&guest, 45, "offline", "Normal Movable");
	fake_guest_set_block(&guest, 39, "offline", "Normal Movable");
	CHECK_STR(repair().text, "256 MiB repaired, 1 blocks not: 37 cannot be moved");
	check_block(39, "online", "Movable");
	stop();
}

/* More than are tried at once: those that were given up do not stand before the others. */
static void test_repair_of_many(void)
{
	const unsigned first = 64, others = 10;

	start();
	fake_guest_set_region(&guest, first, LIMIT_BLOCKS + others, "offline", "Normal Movable");
	connect_host();
	guest.state->refusals = LIMIT_BLOCKS;
	struct message_result done = repair();

	CHECK_INT(done.code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(done.value_bytes, 0);
	done = repair();
	CHECK_INT(done.code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(done.value_bytes, others * FAKE_GUEST_BLOCK_BYTES);
	check_block(first + LIMIT_BLOCKS, "online", "Movable");
	stop();
}

/* Whoever onlines blocks against it wins at the second turn. */
static void test_repair_against_others(void)
{
	start_broken();
	guest.state->is_onlined_by_others = true;
	struct message_result done = repair();

	CHECK_INT(done.code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(done.value_bytes, 0);
	CHECK_STR(done.text, "0 MiB repaired, 5 blocks not: 40 41 37 38 ... given up after one try");
	unsigned writes = guest.state->writes;

	CHECK_INT(repair().value_bytes, 0);
	CHECK_INT(guest.state->writes, writes);
	stop();
	/* Its owner takes one offline again. */
	start_broken();
	CHECK_INT(repair().value_bytes, 5 * FAKE_GUEST_BLOCK_BYTES);
	fake_guest_set_block(&guest, 41, "offline", "Movable Normal");
	CHECK_STR(repair().text, "0 MiB repaired, 1 blocks not: 41 given up after one try");
	check_block(41, "offline", "Movable Normal");
	stop();
}

/* What an operation has taken offline is not onlined behind its back. */
static void test_repair_and_leases(void)
{
	start_broken();
	CHECK_INT(answer(ask_evacuate_blocks(MESSAGE_EVACUATE_OFFLINE, 36, 1))->evacuate_reply.offlined_bytes, 128 * MIB);
	struct message_result done = repair();

	CHECK_STR(done.text, "640 MiB repaired, 1 blocks not: 36 offline for an operation");
	CHECK_STR(fake_guest_block_state(&guest, 36), "offline");
	CHECK_INT(result(ask_release(0)), MESSAGE_RESULT_OK);
	check_block(36, "online", "Movable");
	stop();
}

static void test_repair_without_harm(void)
{
	start_broken();
	fake_guest_set_pressure(&guest, 30);
	CHECK_STR(repair().text, "256 MiB repaired, 3 blocks not: 37 38 39 the guest is under pressure");
	fake_guest_set_pressure(&guest, 1);
	fake_guest_write(&guest, "/proc/meminfo", "MemTotal: 1500000 kB\nMemFree: 90000 kB\nMemAvailable: 150000 kB");
	CHECK_STR(repair().text, "0 MiB repaired, 3 blocks not: 37 38 39 too little memory");
	CHECK_INT(guest.state->tries[37], 0);
	/* Neither was a try. */
	fake_guest_write(&guest, "/proc/meminfo", "MemTotal: 1500000 kB\nMemFree: 900000 kB\nMemAvailable: 900000 kB");
	CHECK_INT(repair().value_bytes, 3 * FAKE_GUEST_BLOCK_BYTES);
	stop();
	/* Better in the kernel's zone than offline. */
	start_broken();
	fake_guest_set_block(&guest, 40, "online", "Movable");
	fake_guest_set_block(&guest, 41, "online", "Movable");
	guest.state->refusals = 1;
	CHECK_STR(repair().text, "256 MiB repaired, 1 blocks not: 37 refused by the kernel");
	check_block(37, "online", "Normal");
	stop();
}

/* It gives way to whoever wants something of the guest. */
static void test_repair_gives_way(void)
{
	start_broken();
	guest.state->scripts[37] = FAKE_GUEST_HANGS;
	uint32_t id = ask_repair(MESSAGE_REPAIR_ALL, MESSAGE_ONLINE_POLICY_MOVABLE);

	for (int i = 0; i < 200 && !guest.state->hangs; i++)
		turn(20);
	CHECK_TRUE(guest.state->hangs);
	CHECK_INT(result(ask_repair(MESSAGE_REPAIR_ALL, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_BUSY);
	message.restore_pools.limit_bytes = 0;
	CHECK_INT(result(ask(MESSAGE_RESTORE_POOLS)), MESSAGE_RESULT_BUSY);
	uint32_t shrink = ask_evacuate(MESSAGE_EVACUATE_OFFLINE, 128 * MIB);

	const struct message *reply = answer(id);

	CHECK_INT(reply->result.code, MESSAGE_RESULT_CANCELLED);
	CHECK_STR(reply->result.text, "256 MiB repaired, 3 blocks not: 37 38 39 cancelled");
	reply = answer(shrink);
	CHECK_INT(reply->type, MESSAGE_EVACUATE_REPLY);
	CHECK_INT(reply->evacuate_reply.offlined_bytes, 128 * MIB);
	/* It goes on with what it had not tried; the shrink's is not its own to touch. */
	guest.state->scripts[37] = FAKE_GUEST_GOES;
	CHECK_INT(result(ask_repair(MESSAGE_REPAIR_ALL, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_PARTIAL);
	check_block(37, "online", "Movable");
	stop();
}

static void test_repairs_that_are_refused(void)
{
	start_broken();
	CHECK_INT(result(ask_repair(0, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_INVALID);
	CHECK_INT(result(ask_repair(4, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_INVALID);
	CHECK_INT(result(ask_repair(1, MESSAGE_ONLINE_POLICY_LEAVE)), MESSAGE_RESULT_INVALID);
	agent->options.config.veto = AGENT_CONFIG_VETO_REPAIR;
	CHECK_INT(result(ask_repair(1, MESSAGE_ONLINE_POLICY_MOVABLE)), MESSAGE_RESULT_VETOED);
	check_block(40, "offline", "Normal Movable");
	stop();
}

/* Before and after every write: the next agent leaves nothing offline that was online. */
static void test_killed_in_a_repair(void)
{
	for (int after = 0; after < 2; after++) {
		bool survived = false;
		unsigned writes = 0;

		for (unsigned n = 1; !survived && n < 20; n++) {
			start_broken();
			guest.state->dies_at = writes = n;
			guest.state->dies_after = after != 0;
			repair();
			survived = !guest.state->is_dead;
			kill_agent();
			fake_guest_bury(&guest);
			new_agent();
			await_undone_alone();
			CHECK_INT(agent->book.count, 0);
			for (unsigned id = 32; id <= 39; id++)
				CHECK_STR(fake_guest_block_state(&guest, id), "online");
			stop();
		}
		CHECK_TRUE(survived && writes > 8);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"hello and report", test_hello_and_report},
		{"blocks in pages", test_blocks_in_pages},
		{"a policy within another", test_a_policy_within_another},
		{"repair", test_repair},
		{"repair by ratio", test_repair_by_ratio},
		{"what is not repaired", test_what_is_not_repaired},
		{"repair of many", test_repair_of_many},
		{"repair against others", test_repair_against_others},
		{"repair and leases", test_repair_and_leases},
		{"repair without harm", test_repair_without_harm},
		{"a repair gives way", test_repair_gives_way},
		{"repairs that are refused", test_repairs_that_are_refused},
		{"killed in a repair", test_killed_in_a_repair},
		{"shrink and keep", test_shrink_and_keep},
		{"owner changes a taken pool", test_owner_changes_a_taken_pool},
		{"release undoes", test_release_undoes},
		{"the lease runs out", test_lease_runs_out},
		{"agent_is_stopped", test_agent_is_stopped},
		{"agent_is_stopped_in_its_work", test_agent_is_stopped_in_its_work},
		{"hooks after a shrink", test_hooks_after_a_shrink},
		{"hooks turned off before their end", test_hooks_turned_off_before_their_end},
		{"slow hooks after a shrink", test_slow_hooks_after_a_shrink},
		{"hooks after a kill", test_hooks_after_a_kill},
		{"settings beside a stuck child", test_settings_beside_a_stuck_child},
		{"what cannot be undone stays owed", test_what_cannot_be_undone_stays_owed},
		{"release once more", test_release_once_more},
		{"the agent is killed", test_agent_is_killed},
		{"killed at every write", test_killed_at_every_write},
		{"a veto at run time", test_veto_at_run_time},
		{"features at run time", test_features_at_run_time},
		{"room beside a page on its way", test_room_beside_a_page_on_its_way},
		{"busy but alive", test_busy_but_alive},
		{"stalls are watched", test_watch_stalls},
		{"a watch ends", test_watch_ends},
		{"watches that are refused", test_watch_refusals},
		{"it asks for more", test_asks_for_more},
		{"free pages are reported", test_report_free},
		{"another host", test_another_host},
		{"asked by a host before", test_asked_by_a_host_before},
		{"the host goes away", test_host_goes_away},
		{"onlining policies", test_policies},
	};

	return unit_main("agent", cases, sizeof(cases) / sizeof(cases[0]));
}
