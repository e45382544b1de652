/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a host that is a tree of files, through a libvirt, workers and agents that do as told.
 */
#include "look.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent_link.h"
#include "fake_agent.h"
#include "fake_host.h"
#include "fake_libvirt.h"
#include "holders.h"
#include "scratch.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static struct {
	struct fixture_tree tree;
	struct event_base *base;
	struct event *watchdog;
	struct worker_pool *pool;
	struct look *look;
	struct fake_agent *agent;
	char lock_path[64], agent_path[64];
	bool hold, hold_block;
	unsigned changes[LOOK_CHANGE_HOST + 1];
	unsigned done, watched, found;
	int error;
	struct failure failure;
	struct holder_report holders;
	unsigned reports;
} rig;

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	assert(!"a test waits for what does not come");
}

static void add_holds(void *user, struct snapshot *snapshot)
{
	struct snapshot_hold *hold;

	if (!rig.hold)
		return;
	hold = snapshot_add_hold(snapshot);
	snprintf(hold->drain, sizeof(hold->drain), "dr-1");
	snprintf(hold->dimm, sizeof(hold->dimm), FAKE_HOST_DIMM);
	hold->node = -1;
	hold->range_count = 1;
	hold->ranges[0] = (struct snapshot_range){
		FAKE_HOST_DIMM_START,
		FAKE_HOST_DIMM_START + FAKE_HOST_DIMM_BLOCKS * FAKE_HOST_BLOCK_BYTES};
	if (rig.hold_block) {
		hold->dimm[0] = '\0';
		hold->ranges[0].end = FAKE_HOST_DIMM_START + FAKE_HOST_BLOCK_BYTES;
	}
}

static void on_change(void *user, enum look_change change, const char *guest)
{
	rig.changes[change]++;
}

static void on_done(void *user, int error, const struct failure *failure)
{
	rig.done++;
	rig.error = error;
	rig.failure = *failure;
}

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_ONCE);
}

static void turn_if_any(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

static void start(void)
{
	struct timeval limit = {.tv_sec = 30};
	struct failure failure = {0};

	memset(&rig, 0, sizeof(rig));
	fake_libvirt_reset();
	fake_host_init(&rig.tree);
	rig.base = event_base_new();
	rig.watchdog = evtimer_new(rig.base, on_watchdog, NULL);
	evtimer_add(rig.watchdog, &limit);
	snprintf(rig.lock_path, sizeof(rig.lock_path), "%s/workers", scratch_folder());
	snprintf(rig.agent_path, sizeof(rig.agent_path), "%s/agent", scratch_folder());
	assert(worker_pool_new(&(struct worker_pool_options){.base = rig.base,
							     .program = FAKE_WORKER,
							     .lock_path = rig.lock_path,
							     .limit = 2,
							     .kill_grace_ms = 5000},
			       0, &rig.pool, &failure) == 0);
}

static void start_look(void)
{
	struct failure failure = {0};

	assert(look_new(&(struct look_options){.base = rig.base,
					       .sysroot = rig.tree.sysroot,
					       .pool = rig.pool,
					       .libvirt_uri = "fake:///",
					       .libvirt_ops = &fake_libvirt_ops,
					       .reserve_min_bytes = 100 * MIB,
					       .reserve_percent = 10,
					       .safe_copy = true,
					       .add_holds = add_holds,
					       .changed = on_change},
			&rig.look, &failure) == 0);
}

static void finish(void)
{
	fake_libvirt_gate(NULL);
	look_free(rig.look);
	fake_libvirt_wait_closed();
	fake_agent_free(rig.agent);
	worker_pool_free(rig.pool);
	holder_report_done(&rig.holders);
	event_free(rig.watchdog);
	event_base_free(rig.base);
	fixture_tree_done(&rig.tree);
	unlink(rig.lock_path);
}

static void refresh(const char *guest, unsigned what)
{
	unsigned before = rig.done;

	look_refresh(rig.look, guest, what, on_done, NULL);
	while (rig.done == before)
		turn();
	CHECK_INT(rig.done, before + 1);
}

/* The first look at libvirt, and what it makes of g1. */
static void wait_survey(void)
{
	while (!snapshot_guest(look_snapshot(rig.look), "g1") ||
	       !snapshot_guest(look_snapshot(rig.look), "g1")->surveyed)
		turn();
}

static struct fake_domain *add_guest(int pid)
{
	fake_host_add_process(&rig.tree, pid, 4242, "g1", FAKE_LIBVIRT_G1);
	return fake_libvirt_add(FAKE_LIBVIRT_G1, "g1");
}

/* A look with one running guest, that has been looked at. */
static struct fake_domain *start_with_guest(void)
{
	struct fake_domain *domain;

	start();
	domain = add_guest(4711);
	start_look();
	wait_survey();
	return domain;
}

static void test_empty_then_host(void)
{
	start();
	fake_libvirt_set_reachable(false);
	start_look();
	CHECK_INT(look_snapshot(rig.look)->node_count, 0);
	CHECK_TRUE(!look_libvirt_is_up(rig.look, &rig.failure));
	CHECK_STR(rig.failure.code, "libvirt_down");
	/* The host's part is fresh also without libvirt, and guests are not asked for in vain. */
	refresh("", 0);
	CHECK_INT(rig.error, 0);
	CHECK_INT(look_snapshot(rig.look)->node_count, 3);
	CHECK_INT(look_snapshot(rig.look)->reserve_bytes, (UINT64_C(3) << 30) / 100 * 10);
	CHECK_TRUE(look_snapshot(rig.look)->safe_copy);
	CHECK_TRUE(look_snapshot(rig.look)->observed_at_ms > 0);
	refresh(NULL, 0);
	CHECK_INT(rig.error, -ENOTCONN);
	CHECK_STR(rig.failure.code, "libvirt_down");
	CHECK_INT(look_snapshot(rig.look)->node_count, 3);
	finish();
}

/* Between two steps the blocks are not read again; the first look and a whole one have them. */
static void test_nodes_alone(void)
{
	start();
	fixture_tree_write(&rig.tree, "/proc/815/status", "Name:\trdma\nVmPin:\t 4096 kB\n");
	fake_libvirt_set_reachable(false);
	start_look();
	refresh("", LOOK_NODES);
	CHECK_INT(snapshot_block(look_snapshot(rig.look), 5)->state, BLOCK_STATE_ONLINE);
	fixture_tree_write(&rig.tree, "/sys/devices/system/memory/memory5/state", "offline\n");
	fixture_tree_write(&rig.tree, "/sys/devices/system/node/node1/meminfo",
			   "Node 1 MemTotal: 1048576 kB\nNode 1 MemFree: 4096 kB\n");
	refresh("", LOOK_NODES);
	CHECK_INT(rig.error, 0);
	CHECK_INT(snapshot_node(look_snapshot(rig.look), 1)->free_bytes, 4 * MIB);
	CHECK_INT(snapshot_block(look_snapshot(rig.look), 5)->state, BLOCK_STATE_ONLINE);
	CHECK_INT(look_snapshot(rig.look)->dimm_count, 1);
	refresh("", 0);
	CHECK_INT(snapshot_block(look_snapshot(rig.look), 5)->state, BLOCK_STATE_OFFLINE);
	/* Nobody is asked what he has pinned but for a look that wants to know it, and that is known from then on. */
	CHECK_INT(look_snapshot(rig.look)->pinners.count, 0);
	refresh("", LOOK_PINNERS);
	CHECK_INT(look_snapshot(rig.look)->pinners.count, 1);
	CHECK_INT(look_snapshot(rig.look)->pinners.items[0].pid, 815);
	CHECK_INT(look_snapshot(rig.look)->pinners.items[0].pinned_bytes, 4 * MIB);
	refresh("", LOOK_NODES);
	CHECK_INT(look_snapshot(rig.look)->pinners.count, 1);
	fixture_tree_remove(&rig.tree, "/proc/815");
	refresh("", LOOK_PINNERS);
	CHECK_INT(look_snapshot(rig.look)->pinners.count, 0);
	finish();
}

static void test_host_failure(void)
{
	start();
	start_look();
	fixture_tree_remove(&rig.tree, "/sys/devices/system/node");
	refresh("", 0);
	CHECK_TRUE(rig.error < 0);
	CHECK_STR(rig.failure.object, "/sys/devices/system/node");
	finish();
}

static void test_guest(void)
{
	const struct snapshot_guest *guest;
	const struct snapshot *snapshot;

	start_with_guest();
	CHECK_TRUE(look_libvirt_is_up(rig.look, NULL));
	snapshot = look_snapshot(rig.look);
	CHECK_INT(snapshot->guest_count, 1);
	guest = snapshot_guest(snapshot, FAKE_LIBVIRT_G1);
	CHECK_INT(guest->pid, 4711);
	CHECK_INT(guest->start_time, 4242);
	CHECK_INT(guest->current_bytes, 768 * MIB);
	CHECK_INT(guest->node_bytes[1], 300 * MIB);
	CHECK_INT(guest->agent.state, AGENT_STATE_NONE);
	refresh(NULL, LOOK_SURVEY);
	CHECK_INT(rig.error, 0);
	snapshot = look_snapshot(rig.look);
	CHECK_INT(snapshot_node(snapshot, 1)->guest_bytes, 300 * MIB);
	CHECK_INT(snapshot_dimm(snapshot, FAKE_HOST_DIMM)->guest_bytes, 50 * MIB);
	CHECK_TRUE(!snapshot_dimm(snapshot, FAKE_HOST_DIMM)->guests_untold);
	CHECK_TRUE(look_agent(rig.look, FAKE_LIBVIRT_G1) != NULL);
	CHECK_TRUE(look_agent(rig.look, FAKE_LIBVIRT_G2) == NULL);
	finish();
}

/* A survey counts the bytes in each DIMM: it must not begin before the DIMMs are known. */
static void test_survey_after_host(void)
{
	static const char file[] = "/sys/devices/system/node/online";
	char path[128];
	int fd;

	start();
	add_guest(4711);
	snprintf(path, sizeof(path), "%s%s", rig.tree.root, file);
	fixture_tree_remove(&rig.tree, file);
	assert(mkfifo(path, 0600) == 0);
	start_look();
	/* The host's reader waits for a word, and everything else has gone as far as it can. */
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert(fd >= 0);
	while (look_snapshot(rig.look)->guest_count == 0)
		turn();
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	fixture_tree_remove(&rig.tree, file);
	fixture_tree_write(&rig.tree, file, "0-1,3\n");
	assert(write(fd, "0-1,3\n", 6) == 6);
	close(fd);
	while (!snapshot_guest(look_snapshot(rig.look), "g1")->surveyed ||
	       look_snapshot(rig.look)->node_count == 0)
		turn();
	CHECK_INT(snapshot_dimm(look_snapshot(rig.look), FAKE_HOST_DIMM)->guest_bytes, 50 * MIB);
	finish();
}

static void test_holds(void)
{
	const struct snapshot *snapshot;

	start();
	start_look();
	refresh("", 0);
	rig.hold = true;
	refresh("", 0);
	snapshot = look_snapshot(rig.look);
	CHECK_INT(snapshot_dimm(snapshot, FAKE_HOST_DIMM)->state, SNAPSHOT_DIMM_DRAINING);
	CHECK_TRUE(snapshot_dimm(snapshot, FAKE_HOST_DIMM)->held);
	CHECK_TRUE(snapshot_node(snapshot, 3)->held && !snapshot_node(snapshot, 0)->held);
	/* Absent under a hold is ejected. */
	fixture_tree_write(&rig.tree, "/sys/bus/acpi/devices/PNP0C80:00/status", "0\n");
	refresh("", 0);
	CHECK_INT(snapshot_dimm(look_snapshot(rig.look), FAKE_HOST_DIMM)->state,
		  SNAPSHOT_DIMM_EJECTED);
	finish();
}

/* What the guest has in the piece that begins there; NULL: that was not asked about. */
static const struct snapshot_guest_dimm *piece_at(uint64_t start)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(rig.look), "g1");

	for (size_t i = 0; i < guest->dimm_count; i++)
		if (snapshot_guest_dimm_is_piece(&guest->dimm_bytes[i]) && guest->dimm_bytes[i].range.start == start)
			return &guest->dimm_bytes[i];
	return NULL;
}

/* A survey tells what lies in ranges that somebody waits for, whose ever it is, and in those that are held. */
static void test_pieces(void)
{
	const uint64_t second = FAKE_HOST_DIMM_START + FAKE_HOST_BLOCK_BYTES;
	const struct snapshot_range range = {second, second + FAKE_HOST_BLOCK_BYTES};

	start_with_guest();
	refresh("", 0);
	CHECK_TRUE(!piece_at(second));
	look_refresh_ranges(rig.look, NULL, LOOK_SURVEY, &range, 1, on_done, NULL);
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	while (rig.done < 3)
		turn();
	CHECK_TRUE(piece_at(second) && piece_at(second)->bytes == 50 * MIB);
	CHECK_STR(piece_at(second)->id, FAKE_HOST_DIMM);
	CHECK_INT(piece_at(second)->range.end, range.end);
	CHECK_INT(snapshot_dimm(look_snapshot(rig.look), FAKE_HOST_DIMM)->guest_bytes, 50 * MIB);
	rig.hold = rig.hold_block = true;
	refresh("", 0);
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_TRUE(!piece_at(second));
	CHECK_TRUE(piece_at(FAKE_HOST_DIMM_START) && piece_at(FAKE_HOST_DIMM_START)->bytes == 50 * MIB);
	finish();
}

static void test_survey_fails(void)
{
	start_with_guest();
	fake_host_add_process(&rig.tree, 4711, 666, "g1", FAKE_LIBVIRT_G1);
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_INT(rig.error, -EIO);
	/* It is another process now: what was seen of the one before does not count. */
	CHECK_TRUE(!snapshot_guest(look_snapshot(rig.look), "g1")->surveyed);
	CHECK_TRUE(snapshot_dimm(look_snapshot(rig.look), FAKE_HOST_DIMM)->guests_untold);
	finish();
}

static void test_guest_goes(void)
{
	struct fake_domain *domain = start_with_guest();

	fake_libvirt_lock();
	domain->running = false;
	fake_libvirt_unlock();
	fake_host_remove_process(&rig.tree, 4711);
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY | LOOK_AGENT);
	CHECK_INT(rig.error, 0);
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->state, GUEST_STATE_SHUT_OFF);
	CHECK_TRUE(!snapshot_guest(look_snapshot(rig.look), "g1")->surveyed);
	fake_libvirt_lock();
	domain->exists = false;
	fake_libvirt_unlock();
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_INT(rig.error, 0);
	CHECK_INT(look_snapshot(rig.look)->guest_count, 0);
	CHECK_INT(rig.changes[LOOK_CHANGE_GUEST_GONE], 1);
	finish();
}

/* Listed no more, without an event. */
static void test_guest_missing_in_list(void)
{
	struct fake_domain *domain = start_with_guest();

	fake_libvirt_lock();
	domain->exists = false;
	fake_libvirt_unlock();
	refresh(NULL, 0);
	CHECK_INT(look_snapshot(rig.look)->guest_count, 0);
	CHECK_INT(rig.changes[LOOK_CHANGE_GUEST_GONE], 1);
	finish();
}

static void on_watch(void *user)
{
	rig.watched++;
}

static void test_size_event(void)
{
	struct look_watch *watch;
	const struct snapshot_guest *guest;

	/* libvirt's XML lags behind: it is read too, but the number counts at once. */
	struct fake_domain *domain = start_with_guest();

	watch = look_watch_new(rig.look, FAKE_LIBVIRT_G1, on_watch, NULL);
	fake_libvirt_gate("get");
	fake_libvirt_lock();
	domain->current_mib = 512;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_MEMORY_SIZE_CHANGED, FAKE_LIBVIRT_G1, 512 * MIB);
	while (rig.watched == 0)
		turn();
	guest = snapshot_guest(look_snapshot(rig.look), "g1");
	CHECK_INT(guest->devices[0].current_bytes, 512 * MIB);
	CHECK_INT(guest->current_bytes, 1024 * MIB);
	/* More than the device has is nonsense. */
	rig.watched = 0;
	fake_libvirt_emit(CONNECTION_EVENT_MEMORY_SIZE_CHANGED, FAKE_LIBVIRT_G1, 5000 * MIB);
	while (rig.watched == 0)
		turn();
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->current_bytes, 1024 * MIB);
	CHECK_TRUE(look_watch_free(watch) == NULL);
	finish();
}

static void test_reboot(void)
{
	struct look_watch *watch;

	start_with_guest();
	watch = look_watch_new(rig.look, FAKE_LIBVIRT_G1, on_watch, NULL);
	fake_libvirt_emit(CONNECTION_EVENT_REBOOTED, FAKE_LIBVIRT_G1, 0);
	while (rig.watched == 0)
		turn();
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->boot_count, 1);
	look_watch_free(watch);
	finish();
}

/*
 * An event that comes while a read is on its way may speak of what that read saw no more: it must
 * be read again.
 */
static void test_event_during_read(void)
{
	struct fake_domain *domain = start_with_guest();
	unsigned reads = fake_libvirt_count("get");

	fake_libvirt_gate("get");
	fake_libvirt_emit(CONNECTION_EVENT_DEVICE_REMOVED, FAKE_LIBVIRT_G1, 0);
	while (fake_libvirt_count("get") == reads)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	/* That read has seen the guest as it was. */
	fake_libvirt_lock();
	domain->has_device = false;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_DEVICE_REMOVED, FAKE_LIBVIRT_G1, 0);
	fake_libvirt_emit(CONNECTION_EVENT_DEVICE_REMOVED, FAKE_LIBVIRT_G1, 0);
	for (unsigned i = 0; i < 20; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	fake_libvirt_gate(NULL);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->device_count)
		turn();
	CHECK_INT(fake_libvirt_count("get"), reads + 2);
	finish();
}

/* A size that an event told must not be overwritten by a read that began before it. */
static void test_size_event_during_read(void)
{
	struct fake_domain *domain = start_with_guest();
	unsigned reads = fake_libvirt_count("get"), told;

	fake_libvirt_gate("get");
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	while (fake_libvirt_count("get") == reads)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	fake_libvirt_lock();
	domain->current_mib = 512;
	fake_libvirt_unlock();
	told = rig.changes[LOOK_CHANGE_GUEST];
	fake_libvirt_emit(CONNECTION_EVENT_MEMORY_SIZE_CHANGED, FAKE_LIBVIRT_G1, 512 * MIB);
	while (rig.changes[LOOK_CHANGE_GUEST] == told)
		turn();
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->current_bytes, 1024 * MIB);
	fake_libvirt_gate(NULL);
	while (fake_libvirt_count("get") < reads + 2)
		turn();
	while (snapshot_guest(look_snapshot(rig.look), "g1")->current_bytes != 1024 * MIB)
		turn();
	finish();
}

static void test_libvirt_restarts(void)
{
	struct fake_domain *domain = start_with_guest();

	fake_libvirt_set_reachable(false);
	while (look_libvirt_is_up(rig.look, NULL))
		turn();
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_INT(rig.error, -ENOTCONN);
	CHECK_INT(look_snapshot(rig.look)->guest_count, 1);
	fake_libvirt_lock();
	domain->current_mib = 128;
	fake_libvirt_unlock();
	fake_libvirt_set_reachable(true);
	while (snapshot_guest(look_snapshot(rig.look), "g1")->current_bytes != 640 * MIB)
		turn();
	CHECK_TRUE(look_libvirt_is_up(rig.look, NULL));
	finish();
}

static void test_list_refused(void)
{
	start_with_guest();
	fake_libvirt_refuse("list", "not now");
	refresh(NULL, 0);
	CHECK_TRUE(rig.error < 0);
	CHECK_INT(look_snapshot(rig.look)->guest_count, 1);
	finish();
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id,
		       const struct message *message)
{
	static struct message reply;

	CHECK_INT(message->type, MESSAGE_REPORT);
	rig.reports++;
	memset(&reply, 0, sizeof(reply));
	reply.type = MESSAGE_REPORT_REPLY;
	reply.report_reply.total_bytes = 700 * MIB;
	reply.report_reply.free_bytes = 99 * MIB;
	fake_agent_reply(agent, epoch, id, &reply);
}

static void test_agent(void)
{
	struct fake_domain *domain;
	const struct snapshot_guest *guest;

	start();
	rig.agent = fake_agent_new(rig.base, rig.agent_path, on_request, NULL);
	domain = add_guest(4711);
	snprintf(domain->channel, sizeof(domain->channel), "%s", rig.agent_path);
	start_look();
	/* Greeted and asked without anybody wanting it. */
	while (!snapshot_guest(look_snapshot(rig.look), "g1") ||
	       !snapshot_guest(look_snapshot(rig.look), "g1")->agent.reported)
		turn();
	guest = snapshot_guest(look_snapshot(rig.look), "g1");
	CHECK_INT(guest->agent.state, AGENT_STATE_READY);
	CHECK_INT(guest->agent.memory_free_bytes, 99 * MIB);
	refresh(FAKE_LIBVIRT_G1, LOOK_AGENT);
	CHECK_INT(rig.error, 0);
	CHECK_TRUE(rig.reports >= 2);
	/* A shut-off guest has no agent. */
	fake_libvirt_lock();
	domain->running = false;
	fake_libvirt_unlock();
	refresh(FAKE_LIBVIRT_G1, LOOK_AGENT);
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->agent.state, AGENT_STATE_NONE);
	finish();
}

static void on_silent_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id,
			      const struct message *message)
{
	rig.reports++;
}

/* Nobody is told of a look that has gone, whatever its pieces wait for. */
static void test_freed_while_looking(void)
{
	struct fake_domain *domain;

	start();
	domain = add_guest(4711);
	rig.agent = fake_agent_new(rig.base, rig.agent_path, on_silent_request, NULL);
	snprintf(domain->channel, sizeof(domain->channel), "%s", rig.agent_path);
	start_look();
	while (!rig.reports)
		turn();
	look_refresh(rig.look, FAKE_LIBVIRT_G1, LOOK_AGENT, on_done, NULL);
	for (unsigned i = 0; i < 50; i++)
		turn_if_any();
	CHECK_INT(rig.done, 0);
	rig.look = look_free(rig.look);
	CHECK_INT(rig.done, 0);
	finish();
}

static void on_found(void *user, int error, const struct failure *failure,
		     const struct holder_report *report)
{
	rig.found++;
	rig.error = error;
	rig.failure = *failure;
	holder_report_done(&rig.holders);
	rig.holders = *report;
	rig.holders.holders = calloc(report->count + 1, sizeof(*report->holders));
	assert(rig.holders.holders);
	for (size_t i = 0; i < report->count; i++)
		rig.holders.holders[i] = report->holders[i];
}

static void find(uint64_t start, uint64_t end)
{
	struct snapshot_range range = {start, end};
	unsigned before = rig.found;

	holders_find(rig.look, rig.pool, &range, 1, on_found, NULL);
	while (rig.found == before)
		turn();
	CHECK_INT(rig.found, before + 1);
}

static const struct remainder *holder(enum remainder_code code, const char *object)
{
	for (size_t i = 0; i < rig.holders.count; i++)
		if (rig.holders.holders[i].entry.code == code && strcmp(rig.holders.holders[i].entry.object, object) == 0)
			return &rig.holders.holders[i].entry;
	return NULL;
}

static void check_holder(enum remainder_code code, const char *object, uint64_t bytes, const char *detail)
{
	const struct remainder *found = holder(code, object);

	CHECK_TRUE(found != NULL);
	if (!found)
		return;
	CHECK_INT(found->bytes, bytes);
	CHECK_STR(found->detail, detail);
}

/* 50 MiB of the guest are in the DIMM: 45 of its group's shared memory, and 5 that another has touched first. */
/* -1: it is not told. */
static void check_pinned(const char *object, int64_t bytes)
{
	for (size_t i = 0; i < rig.holders.count; i++) {
		const struct holder *found = &rig.holders.holders[i];

		if (strcmp(found->entry.object, object) != 0)
			continue;
		CHECK_INT(found->has_pinned ? (int64_t)found->pinned_bytes : -1, bytes);
		return;
	}
	CHECK_STR(object, "a holder");
}

static void test_holders(void)
{
	start_with_guest();
	refresh(NULL, 0);
	find(FAKE_HOST_DIMM_START, FAKE_HOST_DIMM_START + FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(rig.error, 0);
	CHECK_TRUE(rig.holders.is_counted);
	CHECK_INT(rig.holders.size_bytes, FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(rig.holders.free_bytes, 0);
	CHECK_INT(holder_report_bytes(&rig.holders) + rig.holders.offline_bytes, FAKE_HOST_BLOCK_BYTES);
	check_holder(REMAINDER_GUEST_MEMORY, "guest g1", 50 * MIB, "resident by its page table");
	check_holder(REMAINDER_HOST_PROCESS, "process 4711", 3 * MIB,
		     "what QEMU of guest g1 has beside its memory: 3 MiB anonymous");
	/* Its name begins as the guest's does. */
	check_holder(REMAINDER_HOST_PROCESS, "process 80 (program)", 7 * MIB,
		     "up to 7 MiB pinned; cgroup /machine/g10: 7 MiB anonymous");
	check_holder(REMAINDER_HOST_PROCESS, "cgroup /system/store", 4 * MIB,
		     "up to 1 MiB pinned, by 93 (rdma) most; 12 processes, the largest 90 (program): 4 MiB shared");
	check_pinned("guest g1", 0);
	check_pinned("process 4711", -1);
	check_pinned("process 80 (program)", 7 * MIB);
	check_pinned("cgroup /system/store", MIB);
	check_pinned("no cgroup", -1);
	CHECK_TRUE(strstr(holder(REMAINDER_HOST_PROCESS, "process 80 (program)")->way_out, "drain.d") != NULL);
	CHECK_TRUE(strstr(holder(REMAINDER_HOST_PROCESS, "no cgroup")->way_out, "unless it is pinned") != NULL);
	check_holder(REMAINDER_HOST_PROCESS, "no cgroup", 2 * MIB, "2 MiB file");
	check_holder(REMAINDER_HOST_PROCESS, "other cgroups", 8 * MIB, "30 of them: 8 MiB file");
	check_holder(REMAINDER_UNKNOWN_PAGES, "movable zone", MIB, "the kernel tells no kind of them");
	check_holder(REMAINDER_POISONED, "pages", 4096, "out of use after a memory error");
	/* Two blocks of the kernel's zones, cut; of their bytes only those that the kernel has are its. */
	find(2 * FAKE_HOST_BLOCK_BYTES, 3 * FAKE_HOST_BLOCK_BYTES + 8 * MIB);
	check_holder(REMAINDER_KERNEL_MEMORY, "slab", 4 * MIB, "small objects of the kernel");
	CHECK_INT(rig.holders.free_bytes, FAKE_HOST_BLOCK_BYTES + 4 * MIB);
	CHECK_INT(rig.holders.offline_bytes, 0);
	/* One range, over the end of the kernel's blocks. */
	find(7 * FAKE_HOST_BLOCK_BYTES, 9 * FAKE_HOST_BLOCK_BYTES);
	check_holder(REMAINDER_KERNEL_MEMORY, "slab", 4 * MIB, "small objects of the kernel");
	CHECK_INT(rig.holders.offline_bytes, FAKE_HOST_BLOCK_BYTES - MIB - 4096);
	fake_host_add_process(&rig.tree, 4711, 666, "g1", FAKE_LIBVIRT_G1);
	refresh(NULL, 0);
	/* It cannot be surveyed: told, beside what is known of the range. */
	find(2 * FAKE_HOST_BLOCK_BYTES, 3 * FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(rig.error, 0);
	CHECK_INT(rig.holders.count, 2);
	CHECK_TRUE(holder(REMAINDER_KERNEL_MEMORY, "slab") != NULL);
	check_holder(REMAINDER_NOT_SURVEYED, "guest g1", 0, "not surveyed: process: cannot survey: No such process");
	/* Nor can the pages. */
	find(0, FAKE_HOST_BLOCK_BYTES);
	CHECK_TRUE(!rig.holders.is_counted);
	check_holder(REMAINDER_NOT_SURVEYED, "pages", 0,
		     "not surveyed: pages: cannot see who holds them: No such file or directory");
	/* Hugetlb is not of its cgroup: all that the group has is QEMU's. */
	fake_host_add_process(&rig.tree, 4711, 669, "g1", FAKE_LIBVIRT_G1);
	refresh(NULL, 0);
	find(FAKE_HOST_DIMM_START + 4 * FAKE_HOST_BLOCK_BYTES, FAKE_HOST_DIMM_START + 5 * FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(holder_report_bytes(&rig.holders) + rig.holders.offline_bytes, FAKE_HOST_BLOCK_BYTES);
	check_holder(REMAINDER_GUEST_MEMORY, "guest g1", 50 * MIB, "resident by its page table");
	check_holder(REMAINDER_HOST_PROCESS, "process 4711", 45 * MIB,
		     "what QEMU of guest g1 has beside its memory: 45 MiB shared");
	check_holder(REMAINDER_HUGE_PAGE_POOL, "huge pages", 10 * MIB, "in use, by no guest");
	/* One that has ended holds nothing. */
	fake_host_add_process(&rig.tree, 4711, 667, "g1", FAKE_LIBVIRT_G1);
	refresh(NULL, 0);
	find(2 * FAKE_HOST_BLOCK_BYTES, 3 * FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(rig.error, 0);
	CHECK_INT(rig.holders.count, 1);
	finish();
}

/* Of guests whose processes are known by now. */
static size_t count_running(void)
{
	const struct snapshot *snapshot = look_snapshot(rig.look);
	size_t count = 0;

	for (size_t i = 0; i < snapshot->guest_count; i++)
		count += snapshot->guests[i].pid > 0;
	return count;
}

/* A host has more guests than a list of reasons has lines: each is told by its name, with its bytes. */
static void test_holders_of_many_guests(void)
{
	enum { MANY = 30 };

	start();
	for (int i = 0; i < MANY; i++) {
		char uuid[DOMAIN_XML_UUID_SIZE], name[16];

		snprintf(uuid, sizeof(uuid), "33333333-0000-0000-0000-%012d", i);
		snprintf(name, sizeof(name), "many%d", i);
		fake_host_add_process(&rig.tree, 5000 + i, 4242, name, uuid);
		assert(fake_libvirt_add(uuid, name));
	}
	start_look();
	while (count_running() < MANY)
		turn();
	refresh(NULL, 0);
	find(FAKE_HOST_DIMM_START, FAKE_HOST_DIMM_START + FAKE_HOST_BLOCK_BYTES);
	for (int i = 0; i < MANY; i++) {
		char object[32];

		snprintf(object, sizeof(object), "guest many%d", i);
		CHECK_TRUE(holder(REMAINDER_GUEST_MEMORY, object) != NULL);
	}
	/* Nor does it cost the others their names. Shared memory may be of guests that another has touched first. */
	CHECK_TRUE(holder(REMAINDER_HOST_PROCESS, "cgroup /system/store") == NULL);
	check_holder(REMAINDER_HOST_PROCESS, "process 80 (program)", 7 * MIB,
		     "up to 7 MiB pinned; cgroup /machine/g10: 7 MiB anonymous");
	check_holder(REMAINDER_HOST_PROCESS, "no cgroup", 2 * MIB, "2 MiB file");
	check_holder(REMAINDER_HOST_PROCESS, "other cgroups", 8 * MIB, "30 of them: 8 MiB file");
	finish();
}

/* Its group is not one of those that stand alone: what it has is taken off their sum, and nobody else's. */
static void test_holders_of_many_groups(void)
{
	static const struct {
		uint64_t start_time;
		const char *rest;
		uint64_t rest_bytes;
	} table[] = {
		{0, "30 of them: 54 MiB anonymous", 54 * MIB},
		{670, "30 of them: 4 MiB anonymous, 50 MiB shared", 54 * MIB},
	};

	start_with_guest();
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].start_time)
			fake_host_add_process(&rig.tree, 4711, table[i].start_time, "g1", FAKE_LIBVIRT_G1);
		refresh(NULL, 0);
		find(FAKE_HOST_DIMM_START + 6 * FAKE_HOST_BLOCK_BYTES, FAKE_HOST_DIMM_START + 7 * FAKE_HOST_BLOCK_BYTES);
		CHECK_INT(holder_report_bytes(&rig.holders) + rig.holders.offline_bytes, FAKE_HOST_BLOCK_BYTES);
		check_holder(REMAINDER_GUEST_MEMORY, "guest g1", 50 * MIB, "resident by its page table");
		check_holder(REMAINDER_HOST_PROCESS, "cgroup /system/store", 10 * MIB,
			     "12 processes, the largest 90 (program): 10 MiB shared");
		check_holder(REMAINDER_HOST_PROCESS, "other cgroups", table[i].rest_bytes, table[i].rest);
	}
	finish();
}

/* Every other 16 MiB: more pieces than one entry of a job has. Then more than there are entries. */
static void test_holders_of_many_ranges(void)
{
	enum { MANY = WORKER_DIMMS_MAX * SNAPSHOT_RANGES_MAX + 1 };
	static struct snapshot_range ranges[MANY];

	start_with_guest();
	refresh(NULL, 0);
	for (size_t i = 0; i < MANY; i++)
		ranges[i] = (struct snapshot_range){(UINT64_C(1) << 40) + i * 32 * MIB, (UINT64_C(1) << 40) + i * 32 * MIB + 16 * MIB};
	for (unsigned round = 0; round < 2; round++) {
		unsigned before = rig.found;

		holders_find(rig.look, rig.pool, ranges, round ? MANY : 40, on_found, NULL);
		while (rig.found == before)
			turn();
		if (round == 0) {
			CHECK_INT(rig.holders.size_bytes, 40 * 16 * MIB);
			check_holder(REMAINDER_UNKNOWN_PAGES, "movable zone", 40 * MIB, "the kernel tells no kind of them");
			continue;
		}
		CHECK_TRUE(!rig.holders.is_counted);
		check_holder(REMAINDER_NOT_SURVEYED, "pages", 0,
			     "not surveyed: pages: cannot count so many pieces: Argument list too long");
		CHECK_TRUE(holder(REMAINDER_NOT_SURVEYED, "guest g1") != NULL);
	}
	finish();
}

static void test_free_in_the_middle(void)
{
	start_with_guest();
	fake_libvirt_gate("get");
	look_refresh(rig.look, NULL, LOOK_SURVEY | LOOK_AGENT, on_done, NULL);
	for (unsigned i = 0; i < 10; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	rig.pool = worker_pool_free(rig.pool);
	finish();
	CHECK_INT(rig.done, 0);
}

static void test_managed_and_rate(void)
{
	start_with_guest();
	look_set_managed(rig.look, FAKE_LIBVIRT_G1, true);
	look_set_managed(rig.look, FAKE_LIBVIRT_G2, true);
	look_set_rates(rig.look, &(struct measured_rates){.of[RATE_KIND_EJECT] = {7, 8}});
	look_set_reboot(rig.look, &(struct snapshot_reboot){.s = 9});
	CHECK_TRUE(snapshot_guest(look_snapshot(rig.look), "g1")->managed_by_ballast);
	CHECK_INT(look_snapshot(rig.look)->rates.of[RATE_KIND_EJECT].amount, 7);
	CHECK_INT(look_snapshot(rig.look)->reboot.s, 9);
	finish();
}

static void write_counters(uint64_t mib)
{
	fixture_tree_write(&rig.tree, "/proc/4711/cgroup", "0::/g1/emulator\n");
	fixture_tree_write(&rig.tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(&rig.tree, "/sys/fs/cgroup/g1/memory.numa_stat", "anon N1=0\nshmem N3=%llu\n",
			   (unsigned long long)(mib * MIB));
}

/* One guest that cannot be surveyed hides neither the others nor what is roughly known of itself. */
static void test_one_cannot_be_surveyed(void)
{
	const struct snapshot_guest *guest;

	start();
	fake_host_add_process(&rig.tree, 4712, 666, "g2", FAKE_LIBVIRT_G2);
	fake_libvirt_add(FAKE_LIBVIRT_G2, "g2");
	add_guest(4711);
	start_look();
	while (!snapshot_guest(look_snapshot(rig.look), "g1") || !snapshot_guest(look_snapshot(rig.look), "g2"))
		turn();
	/* Of g2 nothing at all is known. */
	refresh(NULL, LOOK_SURVEY);
	CHECK_INT(rig.error, -EIO);
	fixture_tree_write(&rig.tree, "/proc/4712/cgroup", "0::/g2/libvirt/emulator\n");
	fixture_tree_write(&rig.tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(&rig.tree, "/sys/fs/cgroup/g2/memory.numa_stat", "shmem N3=%llu\n",
			   (unsigned long long)(70 * MIB));
	refresh(NULL, LOOK_SURVEY);
	CHECK_INT(rig.error, 0);
	CHECK_TRUE(snapshot_guest(look_snapshot(rig.look), "g1")->surveyed);
	guest = snapshot_guest(look_snapshot(rig.look), "g2");
	CHECK_TRUE(!guest->surveyed && guest->unmovable && guest->unsurveyed[0]);
	CHECK_INT(guest->node_bytes[3], 70 * MIB);
	/* Who asks for this one alone is told. */
	refresh(FAKE_LIBVIRT_G2, LOOK_SURVEY);
	CHECK_INT(rig.error, -EIO);
	finish();
}

/* Between surveys the counters tell, without a worker; of a process that took the number they tell nothing. */
static void test_overview(void)
{
	start();
	add_guest(4711);
	write_counters(10);
	start_look();
	/* Its first survey is through: a later one would stand for the counters. */
	while (!snapshot_guest(look_snapshot(rig.look), "g1") ||
	       !snapshot_guest(look_snapshot(rig.look), "g1")->surveyed)
		turn();
	refresh("", 0);
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->overview_bytes[3], 10 * MIB);
	CHECK_INT(look_snapshot(rig.look)->guest_count, 1);
	fake_host_add_process(&rig.tree, 4711, 99, "other", FAKE_LIBVIRT_G2);
	write_counters(20);
	refresh("", 0);
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->overview_bytes[3], 10 * MIB);
	finish();
}

/* It lies elsewhere than where it was moved to: told once, not at every survey. */
static void test_drift(void)
{
	unsigned told;

	start();
	add_guest(4711);
	start_look();
	while (!snapshot_guest(look_snapshot(rig.look), "g1"))
		turn();
	CHECK_TRUE(!snapshot_guest(look_snapshot(rig.look), "g1")->surveyed);
	look_set_wanted(rig.look, FAKE_LIBVIRT_G1, 1 << 3, ~UINT64_C(8));
	told = rig.changes[LOOK_CHANGE_GUEST];
	while (!snapshot_guest(look_snapshot(rig.look), "g1")->surveyed)
		turn();
	CHECK_INT(rig.changes[LOOK_CHANGE_GUEST], told + 1);
	CHECK_INT(snapshot_guest_drift_bytes(snapshot_guest(look_snapshot(rig.look), "g1")), 300 * MIB);
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	/* One for the read of the domain. */
	CHECK_INT(rig.changes[LOOK_CHANGE_GUEST], told + 2);
	/* A new move leaves it where it is: what the move's own remainder told is no drift. */
	look_set_wanted(rig.look, FAKE_LIBVIRT_G1, 1 << 0, ~UINT64_C(1));
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_INT(rig.changes[LOOK_CHANGE_GUEST], told + 3);
	look_set_kept(rig.look, FAKE_LIBVIRT_G1, "put right");
	CHECK_INT(rig.changes[LOOK_CHANGE_GUEST], told + 4);
	CHECK_STR(snapshot_guest(look_snapshot(rig.look), "g1")->kept, "put right");
	/* Another process knows nothing of all that. */
	fake_host_add_process(&rig.tree, 4711, 4243, "g1", FAKE_LIBVIRT_G1);
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->wanted_nodes, 0);
	CHECK_STR(snapshot_guest(look_snapshot(rig.look), "g1")->kept, "");
	finish();
}

static unsigned told_of_guest(uint64_t start_time)
{
	unsigned told;

	start();
	add_guest(4711);
	fake_host_add_process(&rig.tree, 4711, start_time, "g1", FAKE_LIBVIRT_G1);
	start_look();
	wait_survey();
	refresh(FAKE_LIBVIRT_G1, LOOK_SURVEY);
	CHECK_INT(snapshot_guest(look_snapshot(rig.look), "g1")->policy_loose, start_time == 668);
	told = rig.changes[LOOK_CHANGE_GUEST];
	finish();
	return told;
}

/* Its memory is bound loosely: told once, not at every survey. */
static void test_loose(void)
{
	unsigned told = told_of_guest(4242);

	CHECK_INT(told_of_guest(668), told + 1);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"nothing, then the host", test_empty_then_host},
		{"the host cannot be read", test_host_failure},
		{"the nodes alone", test_nodes_alone},
		{"a guest", test_guest},
		{"a survey waits for the host", test_survey_after_host},
		{"holds", test_holds},
		{"pieces", test_pieces},
		{"a survey fails", test_survey_fails},
		{"a guest stops and goes", test_guest_goes},
		{"a guest is listed no more", test_guest_missing_in_list},
		{"a size by event", test_size_event},
		{"a reboot", test_reboot},
		{"an event during a read", test_event_during_read},
		{"a size by event during a read", test_size_event_during_read},
		{"libvirt restarts", test_libvirt_restarts},
		{"the list is refused", test_list_refused},
		{"an agent", test_agent},
		{"freed while it looks", test_freed_while_looking},
		{"holders", test_holders},
		{"holders of many guests", test_holders_of_many_guests},
		{"holders of many groups", test_holders_of_many_groups},
		{"holders of many ranges", test_holders_of_many_ranges},
		{"freed in the middle", test_free_in_the_middle},
		{"managed, and a rate", test_managed_and_rate},
		{"one cannot be surveyed", test_one_cannot_be_surveyed},
		{"an overview", test_overview},
		{"drift", test_drift},
		{"bound loosely", test_loose},
	};

	return unit_main("service/look", cases, sizeof(cases) / sizeof(cases[0]));
}
