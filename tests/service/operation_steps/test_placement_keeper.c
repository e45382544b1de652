/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that was moved to node 2, on a host that is a tree of files, with a worker that plays its cgroups.
 */
#include "placement_keeper.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fake_host.h"
#include "fake_kernel_worker.h"
#include "fake_libvirt.h"
#include "operation_record.h"
#include "scratch.h"
#include "unit.h"

#define GROUP	    "/machine/g1"
#define OWN_PROCESS "{\"process\":{\"pid\":4711,\"start_time\":4242}}"

static struct {
	struct fixture_tree tree;
	struct fake_domain *domain;
	struct event_base *base;
	struct event *watchdog;
	struct worker_pool *pool;
	struct look *look;
	struct placement_keeper *keeper;
	struct operation_record *move;
	bool is_busy;
	unsigned told, confirm_ms;
	char lock_path[64], groups_path[64];
} rig;

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	assert(!"a test waits for what does not come");
}

static void on_looked(void *user, int error, const struct failure *failure)
{
	CHECK_INT(error, 0);
}

static bool is_busy(void *user, const char *guest)
{
	return rig.is_busy;
}

static void on_change(void *user, enum look_change change, const char *guest)
{
	if (change == LOOK_CHANGE_GUEST)
		rig.told++;
}

static const struct snapshot_guest *guest(void)
{
	return snapshot_guest(look_snapshot(rig.look), "g1");
}

static void set_groups(const char *text)
{
	FILE *file = fopen(rig.groups_path, "w");

	fputs(text, file);
	fclose(file);
}

static void get_groups(char *text, size_t size)
{
	FILE *file = fopen(rig.groups_path, "r");
	size_t length = fread(text, 1, size - 1, file);

	text[length] = '\0';
	fclose(file);
}

/* Long enough for whatever is on its way to come: the keeper's pause and a worker. */
static void settle(void)
{
	struct timeval when = {.tv_usec = 150 * 1000};

	event_base_loopexit(rig.base, &when);
	event_base_loop(rig.base, 0);
}

static void wait_kept(const char *text)
{
	while (strcmp(guest()->kept, text) != 0)
		event_base_loop(rig.base, EVLOOP_ONCE);
}

static void write_file(const char *path, const char *text)
{
	char full[128];

	snprintf(full, sizeof(full), "/sys/fs/cgroup" GROUP "%s", path);
	fixture_tree_write(&rig.tree, full, "%s", text);
}

static void new_keeper(bool observe)
{
	rig.keeper = placement_keeper_new(&(struct placement_keeper_options){.base = rig.base,
									     .sysroot = rig.tree.sysroot,
									     .look = rig.look,
									     .pool = rig.pool,
									     .observe = observe,
									     .settle_ms = 1,
									     .confirm_ms = rig.confirm_ms,
									     .is_busy = is_busy});
}

static void learn(bool is_all)
{
	const struct operation_record *operations[] = {rig.move};

	placement_keeper_learn(rig.keeper, operations, 1, is_all);
}

static void add_step(enum step_kind kind, const char *before)
{
	struct step step;
	struct step_record *record;

	step_init(&step, kind);
	step.nodes = 1 << 2;
	record = operation_record_add_step(rig.move, &step);
	record->state = STEP_STATE_DONE;
	record->before = strdup(before);
}

static void start(bool observe)
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
	snprintf(rig.groups_path, sizeof(rig.groups_path), "%s/groups.json", scratch_folder());
	assert(setenv(FAKE_KERNEL_GROUPS, rig.groups_path, 1) == 0);
	set_groups("[{\"path\":\"" GROUP "/vcpu0\",\"inode\":7,\"mems\":\"2\"},"
		   "{\"path\":\"" GROUP "\",\"inode\":6,\"mems\":\"\"}]");
	fake_host_add_process(&rig.tree, 4711, 4242, "g1", FAKE_LIBVIRT_G1);
	fixture_tree_write(&rig.tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset\n");
	fixture_tree_write(&rig.tree, "/proc/4711/cgroup", "0::" GROUP "/libvirt/emulator\n");
	write_file("/cgroup.procs", "");
	write_file("/vcpu0/cgroup.procs", "");
	write_file("/vcpu0/cpuset.mems", "2\n");
	rig.domain = fake_libvirt_add(FAKE_LIBVIRT_G1, "g1");
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
					       .changed = on_change},
			&rig.look, &failure) == 0);
	while (!guest() || !guest()->surveyed)
		event_base_loop(rig.base, EVLOOP_ONCE);
	rig.move = operation_record_new();
	wish_init(&rig.move->wish, OPERATION_KIND_MOVE);
	memcpy(rig.move->wish.guest, FAKE_LIBVIRT_G1, sizeof(FAKE_LIBVIRT_G1));
	rig.move->wish.move.form = MOVE_FORM_TO;
	rig.move->wish.move.to_nodes = 1 << 2;
	rig.move->state = OPERATION_STATE_SUCCEEDED;
	add_step(STEP_KIND_CPUSET, "{\"groups\":[{\"path\":\"" GROUP "/vcpu0\",\"inode\":7,\"mems\":\"3\"}],"
				   "\"process\":{\"pid\":4711,\"start_time\":4242}}");
	add_step(STEP_KIND_MOVE_PAGES, OWN_PROCESS);
	rig.confirm_ms = 50;
	new_keeper(observe);
}

static void finish(void)
{
	fake_libvirt_gate(NULL);
	worker_pool_free(rig.pool);
	placement_keeper_free(rig.keeper);
	look_free(rig.look);
	fake_libvirt_wait_closed();
	operation_record_free(rig.move);
	event_free(rig.watchdog);
	event_base_free(rig.base);
	fixture_tree_done(&rig.tree);
	unlink(rig.lock_path);
	unlink(rig.groups_path);
}

/* A vCPU is added: libvirt makes its group and gives it the nodes that its XML has. */
static void add_vcpu1(void)
{
	set_groups("[{\"path\":\"" GROUP "/vcpu0\",\"inode\":7,\"mems\":\"2\"},"
		   "{\"path\":\"" GROUP "/vcpu1\",\"inode\":8,\"mems\":\"3\"}]");
	write_file("/vcpu1/cgroup.procs", "");
	write_file("/vcpu1/cpuset.mems", "3\n");
}

static void test_new_thread(void)
{
	char text[256];

	start(false);
	learn(true);
	CHECK_TRUE(guest()->managed_by_ballast);
	CHECK_INT(guest()->wanted_nodes, 1 << 2);
	settle();
	CHECK_STR(guest()->kept, "");
	rig.told = 0;
	add_vcpu1();
	wait_kept("put right: vcpu1: cpuset.mems 3");
	CHECK_INT(rig.told, 1);
	get_groups(text, sizeof(text));
	CHECK_TRUE(strstr(text, "\"mems\":\"3\"") == NULL);
	settle();
	CHECK_INT(rig.told, 1);
	/* It goes and another of its name comes: that is no change that anybody made to the first one. */
	set_groups("[{\"path\":\"" GROUP "/vcpu1\",\"inode\":9,\"mems\":\"3\"}]");
	placement_keeper_check(rig.keeper, "");
	while (rig.told == 1)
		event_base_loop(rig.base, EVLOOP_ONCE);
	CHECK_STR(guest()->kept, "put right: vcpu1: cpuset.mems 3");
	finish();
}

/* An administrator who changes a group that was there means it. */
static void test_overruled(void)
{
	char text[256];

	start(false);
	learn(true);
	settle();
	set_groups("[{\"path\":\"" GROUP "/vcpu0\",\"inode\":7,\"mems\":\"0-1\"}]");
	write_file("/vcpu0/cpuset.mems", "0-1\n");
	wait_kept("changed by somebody else, so left: vcpu0: cpuset.mems 0-1");
	CHECK_TRUE(!guest()->managed_by_ballast);
	/* It is theirs from now on. */
	add_vcpu1();
	settle();
	get_groups(text, sizeof(text));
	CHECK_TRUE(strstr(text, "\"mems\":\"3\"") != NULL);
	finish();
}

/* While libvirt plugs a vCPU the emulator may use all nodes: that is nobody's wish. */
static void test_changed_for_a_moment(void)
{
	start(false);
	placement_keeper_free(rig.keeper);
	rig.confirm_ms = 3600 * 1000;
	new_keeper(false);
	learn(true);
	settle();
	set_groups("[{\"path\":\"" GROUP "/vcpu0\",\"inode\":7,\"mems\":\"0-3\"},"
		   "{\"path\":\"" GROUP "/vcpu1\",\"inode\":8,\"mems\":\"3\"}]");
	write_file("/vcpu0/cpuset.mems", "0-3\n");
	settle();
	CHECK_STR(guest()->kept, "");
	add_vcpu1();
	wait_kept("put right: vcpu1: cpuset.mems 3");
	CHECK_TRUE(guest()->managed_by_ballast);
	finish();
}

static void test_busy_then_ended(void)
{
	start(false);
	learn(true);
	settle();
	rig.is_busy = true;
	add_vcpu1();
	settle();
	CHECK_STR(guest()->kept, "");
	/* The operation has ended: what it left is learnt, and what it did not see is put right. */
	rig.is_busy = false;
	learn(false);
	wait_kept("put right: vcpu1: cpuset.mems 3");
	finish();
}

static void test_only_observes(void)
{
	char text[256];

	start(true);
	learn(true);
	add_vcpu1();
	wait_kept("observing only, so not put right: vcpu1: cpuset.mems 3");
	rig.told = 0;
	placement_keeper_check(rig.keeper, "");
	settle();
	/* Said once, and not taken for somebody's change of a group that is known. */
	CHECK_INT(rig.told, 0);
	CHECK_TRUE(guest()->managed_by_ballast);
	get_groups(text, sizeof(text));
	CHECK_TRUE(strstr(text, "\"mems\":\"3\"") != NULL);
	finish();
}

/* Its move pinned all of its threads to the CPUs of node 1; then an I/O thread is added to the one that it has. */
static void start_pinned(bool observe, const char *emulator)
{
	start(observe);
	add_step(STEP_KIND_CPUS, OWN_PROCESS);
	rig.move->steps[2].step.nodes = 1 << 1;
	fake_libvirt_lock();
	snprintf(rig.domain->emulator, sizeof(rig.domain->emulator), "%s", emulator);
	snprintf(rig.domain->iothread_pins[0], sizeof(rig.domain->iothread_pins[0]), "2-3");
	rig.domain->iothreads = 1;
	fake_libvirt_unlock();
	learn(true);
	settle();
	CHECK_STR(fake_libvirt_changes(), "");
	fake_libvirt_lock();
	rig.domain->iothreads = 2;
	fake_libvirt_unlock();
	write_file("/iothread2/cgroup.procs", "");
}

static void test_new_iothread(void)
{
	start_pinned(false, "2-3");
	wait_kept("put right: iothread2: no pin");
	CHECK_STR(fake_libvirt_changes(), "pin iothread 2:2-3");
	placement_keeper_check(rig.keeper, "");
	settle();
	CHECK_STR(fake_libvirt_changes(), "pin iothread 2:2-3");
	finish();
}

/* Its group is put right after its pin. */
static void test_new_iothread_and_group(void)
{
	char text[256];

	start_pinned(false, "2-3");
	set_groups("[{\"path\":\"" GROUP "/vcpu0\",\"inode\":7,\"mems\":\"2\"},"
		   "{\"path\":\"" GROUP "/iothread2\",\"inode\":8,\"mems\":\"3\"}]");
	write_file("/iothread2/cpuset.mems", "3\n");
	wait_kept("put right: iothread2: cpuset.mems 3");
	CHECK_STR(fake_libvirt_changes(), "pin iothread 2:2-3");
	get_groups(text, sizeof(text));
	CHECK_TRUE(strstr(text, "\"mems\":\"3\"") == NULL);
	finish();
}

static void test_new_iothread_refused(void)
{
	start_pinned(false, "2-3");
	fake_libvirt_refuse("pin", "no");
	placement_keeper_check(rig.keeper, "");
	while (strncmp(guest()->kept, "could not be put right", 22) != 0)
		event_base_loop(rig.base, EVLOOP_ONCE);
	CHECK_TRUE(strstr(guest()->kept, "iothread2: no pin") != NULL);
	/* Once it is let, it is done. */
	fake_libvirt_refuse(NULL, NULL);
	placement_keeper_check(rig.keeper, "");
	wait_kept("put right: iothread2: no pin");
	finish();
}

/* Somebody has pinned the emulator elsewhere since: where its I/O threads belong is theirs to say. */
static void test_threads_overruled(void)
{
	start_pinned(false, "0");
	placement_keeper_check(rig.keeper, "");
	settle();
	CHECK_STR(fake_libvirt_changes(), "");
	CHECK_STR(guest()->kept, "");
	finish();
}

static void test_threads_observed(void)
{
	start_pinned(true, "2-3");
	wait_kept("observing only, so not put right: iothread2: no pin");
	settle();
	CHECK_STR(fake_libvirt_changes(), "");
	finish();
}

/* A move that was undone leaves nothing to keep. */
static void test_undone(void)
{
	char text[256];

	start(false);
	learn(true);
	settle();
	rig.move->steps[0].state = rig.move->steps[1].state = STEP_STATE_UNDONE;
	learn(true);
	CHECK_TRUE(!guest()->managed_by_ballast);
	CHECK_INT(guest()->wanted_nodes, 0);
	add_vcpu1();
	settle();
	get_groups(text, sizeof(text));
	CHECK_TRUE(strstr(text, "\"mems\":\"3\"") != NULL);
	finish();
}

/* What was set for one process ends with it. */
static void test_started_anew(void)
{
	start(false);
	learn(true);
	settle();
	fake_host_add_process(&rig.tree, 4711, 5000, "g1", FAKE_LIBVIRT_G1);
	look_refresh(rig.look, FAKE_LIBVIRT_G1, 0, on_looked, NULL);
	while (guest()->start_time != 5000)
		event_base_loop(rig.base, EVLOOP_ONCE);
	CHECK_TRUE(!guest()->managed_by_ballast);
	rig.told = 0;
	add_vcpu1();
	settle();
	learn(true);
	settle();
	CHECK_STR(guest()->kept, "");
	CHECK_TRUE(!guest()->managed_by_ballast);
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a new thread", test_new_thread},
		{"overruled", test_overruled},
		{"changed for a moment", test_changed_for_a_moment},
		{"busy, then ended", test_busy_then_ended},
		{"only observes", test_only_observes},
		{"a new I/O thread", test_new_iothread},
		{"a new I/O thread and its group", test_new_iothread_and_group},
		{"a new I/O thread, refused", test_new_iothread_refused},
		{"threads that were pinned elsewhere", test_threads_overruled},
		{"only observes threads", test_threads_observed},
		{"undone", test_undone},
		{"started anew", test_started_anew},
	};

	return unit_main("service/operation/placement_keeper", cases, sizeof(cases) / sizeof(cases[0]));
}
