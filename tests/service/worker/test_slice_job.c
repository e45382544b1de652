/* SPDX-License-Identifier: Apache-2.0 */
#include "slice_job.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "job_fixture.h"

#define CGROUP "/sys/fs/cgroup"
#define MEMS   CGROUP "/machine.slice/cpuset.mems"
#define LOG    "/log"
#define UNIT   "/unit"

/* A kernel that lets no set become none again, and a process below the slice. */
struct kernel {
	struct job_fixture fixture;
	char order[256]; /* of the writes: "machine.slice=0-2 " */
};

static void publish(struct kernel *kernel, const char *slice, const char *mems)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "/%s/cpuset.mems", slice);
	fixture_tree_write(&kernel->fixture.tree, path, "%s\n", mems);
	snprintf(path, sizeof(path), CGROUP "/%s/cpuset.mems.effective", slice);
	fixture_tree_write(&kernel->fixture.tree, path, "%s\n", mems[0] ? mems : "0-3");
	snprintf(path, sizeof(path), CGROUP "/%s/a.service/cpuset.mems.effective", slice);
	fixture_tree_write(&kernel->fixture.tree, path, "%s\n", mems[0] ? mems : "0-3");
}

static void add_slice(struct kernel *kernel, const char *slice, const char *mems)
{
	struct fixture_tree *tree = &kernel->fixture.tree;
	char path[128];

	publish(kernel, slice, mems);
	snprintf(path, sizeof(path), CGROUP "/%s/cgroup.procs", slice);
	fixture_tree_write(tree, path, "%s", "");
	snprintf(path, sizeof(path), CGROUP "/%s/a.service/cpuset.mems", slice);
	fixture_tree_write(tree, path, "\n");
	snprintf(path, sizeof(path), CGROUP "/%s/a.service/cgroup.procs", slice);
	fixture_tree_write(tree, path, "10\n");
}

static int on_write(void *user, const char *path, const char *text)
{
	struct kernel *kernel = user;
	char slice[64], full[96];

	if (sscanf(path, CGROUP "/%63[^/]/cpuset.mems", slice) != 1 || !strstr(path, "/cpuset.mems"))
		return -EACCES;
	/* kernel/cgroup/cpuset.c validate_change */
	if (text[0] == '\n' || !text[0])
		return -ENOSPC;
	snprintf(full, sizeof(full), "%s=%s ", slice, text);
	strncat(kernel->order, full, sizeof(kernel->order) - strlen(kernel->order) - 1);
	publish(kernel, slice, text);
	return 0;
}

static void write_process(struct kernel *kernel, const char *maps)
{
	fixture_tree_write(&kernel->fixture.tree, "/proc/10/status", "Name:\tdb\nTgid:\t10\n");
	fixture_tree_write(&kernel->fixture.tree, "/proc/10/numa_maps", "%s", maps);
}

static struct kernel *setup(const char *mems)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;

	job_fixture_init(fixture, STEP_KIND_SLICE_CPUSETS);
	fixture->job.step.guest_name[0] = '\0';
	fixture->job.step.nodes = 1 << 3;
	snprintf(fixture->job.step.slices, sizeof(fixture->job.step.slices), "machine.slice none.slice");
	fixture_tree_write(&fixture->tree, CGROUP "/cgroup.controllers", "cpuset memory\n");
	fixture_tree_write(&fixture->tree, CGROUP "/cgroup.subtree_control", "cpuset\n");
	fixture_tree_write(&fixture->tree, CGROUP "/cpuset.mems.effective", "0-3\n");
	fixture_tree_write(&fixture->tree, "/sys/devices/system/node/possible", "0-3\n");
	add_slice(kernel, "machine.slice", mems);
	write_process(kernel, "7f0 default anon=1 N1=1 kernelpagesize_kB=4\n");
	fixture_tree_set_hooks(&fixture->tree, on_write, kernel);
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

static void check_mems(struct kernel *kernel, const char *expected)
{
	char text[64];

	job_fixture_read(&kernel->fixture, MEMS, text, sizeof(text));
	CHECK_STR(text, expected);
}

static void run(struct kernel *kernel, enum worker_job_kind kind, enum worker_outcome outcome)
{
	job_fixture_run(&kernel->fixture, kind);
	CHECK_INT(kernel->fixture.result.outcome, outcome);
}

/* That it was left alone is told of the slice, and where nothing of the drain fails by it as a warning too. */
static void check_told(const struct kernel *kernel, uint64_t bytes, const char *detail)
{
	const struct remainder *told = job_fixture_remainder(&kernel->fixture, REMAINDER_SLICE_CPUSET);

	CHECK_TRUE(told != NULL);
	CHECK_STR(told->object, "slice machine.slice");
	CHECK_INT(told->bytes, bytes);
	CHECK_STR(told->detail, detail);
	CHECK_INT(json_array_size(json_object_get(kernel->fixture.result.values, "warnings")), 1);
}

static void a_node_leaves_and_comes_back(void)
{
	static const struct {
		const char *before, *held, *after, *order;
	} table[] = {
		{"0-3", "0-2", "0-3", "machine.slice=0-2 machine.slice=0-3 "},
		/* What inherited cannot inherit again, and gets all that there can be. */
		{"", "0-2", "0-3", "machine.slice=0-2 machine.slice=0-3 "},
		{"1,3", "1", "1,3", "machine.slice=1 machine.slice=1,3 "},
		/* Nobody gets anything there. */
		{"0-1", "0-1", "0-1", ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct kernel *kernel = setup(table[i].before);

		run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
		run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
		check_mems(kernel, table[i].held);
		run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
		check_mems(kernel, table[i].after);
		CHECK_STR(kernel->order, table[i].order);
		/* Once more changes nothing. */
		run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
		CHECK_STR(kernel->order, table[i].order);
		CHECK_INT(kernel->fixture.result.remainder.count, 0);
		teardown(kernel);
	}
}

static void what_would_do_harm_is_left_alone(void)
{
	static const struct {
		const char *mems, *maps;
		uint64_t bytes;
		const char *detail;
	} table[] = {
		{"", "7f0 default anon=8192 N3=8192 kernelpagesize_kB=4\n", 32 << 20,
		 "its processes have 32 MiB on nodes that they would lose, and the kernel would move that at once"},
		{"", "7f0 interleave:0-3 anon=1 N0=1 kernelpagesize_kB=4\n", 0,
		 "the kernel would rewrite the policy interleave:0-3 of process 10"},
		{"3", "", 0, "without nodes 3 it would have no memory"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct kernel *kernel = setup(table[i].mems);

		write_process(kernel, table[i].maps);
		run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
		run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_FAILED);
		check_told(kernel, table[i].bytes, table[i].detail);
		CHECK_STR(kernel->order, "");
		teardown(kernel);
	}
}

/* Of what is tried again nothing is written down before something can be done. */
static void what_did_harm_is_tried_again(void)
{
	struct kernel *kernel = setup("");
	struct worker_result *result = &kernel->fixture.result;

	memcpy(kernel->fixture.job.step.text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
	write_process(kernel, "7f0 default anon=8192 N3=8192 kernelpagesize_kB=4\n");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_FAILED);
	CHECK_INT(result->failure.error, EBUSY);
	CHECK_STR(result->failure.cause, "slice machine.slice: its processes have 32 MiB on nodes that they would lose, and the "
					 "kernel would move that at once");
	CHECK_INT(result->remainder.count, 0);
	write_process(kernel, "7f0 default anon=1 N3=1 kernelpagesize_kB=4\n");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
	check_mems(kernel, "0-2");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
	check_mems(kernel, "0-3");
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
	/* There is none left that has the node. */
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_FAILED);
	CHECK_INT(result->failure.error, EBUSY);
	teardown(kernel);
}

/* One of two can lose it by now: what was taken of the other before stays its own step's. */
static void what_is_tried_again_is_given_back_once(void)
{
	struct kernel *kernel = setup("");
	struct job_fixture *fixture = &kernel->fixture;
	json_t *first, *second;

	snprintf(fixture->job.step.slices, sizeof(fixture->job.step.slices), "user.slice machine.slice");
	add_slice(kernel, "user.slice", "3");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	first = json_incref(fixture->before);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_PARTIAL);
	publish(kernel, "user.slice", "1,3");
	memcpy(fixture->job.step.text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	second = json_incref(fixture->before);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
	CHECK_STR(kernel->order, "machine.slice=0-2 user.slice=1 ");
	fixture->job.step.from_nodes = 1 << 3;
	for (int is_first = 0; is_first < 2; is_first++) {
		json_decref(fixture->before);
		fixture->before = json_incref(is_first ? first : second);
		run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
		CHECK_INT(fixture->result.remainder.count, 0);
	}
	CHECK_STR(kernel->order, "machine.slice=0-2 user.slice=1 user.slice=1,3 machine.slice=0-3 ");
	json_decref(first);
	json_decref(second);
	teardown(kernel);
}

/* As much as is moved in a moment. */
static void strays_are_moved_along(void)
{
	struct kernel *kernel = setup("");

	write_process(kernel, "7f0 default anon=4096 N3=4096 kernelpagesize_kB=4\n");
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
	CHECK_STR(kernel->order, "machine.slice=0-2 ");
	teardown(kernel);
}

static void one_that_cannot_be_changed_keeps_no_other(void)
{
	struct kernel *kernel = setup("");

	snprintf(kernel->fixture.job.step.slices, sizeof(kernel->fixture.job.step.slices), "user.slice machine.slice");
	add_slice(kernel, "user.slice", "3");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_PARTIAL);
	check_mems(kernel, "0-2");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
	/* Of this one nothing was taken, though it had the node. */
	CHECK_STR(kernel->order, "machine.slice=0-2 machine.slice=0-3 ");
	teardown(kernel);
}

/* Two drains hold a node each, and end in either order. */
static void drains_give_back_their_own(void)
{
	for (int is_first = 0; is_first < 2; is_first++) {
		struct kernel *kernel = setup("");
		struct job_fixture *fixture = &kernel->fixture;
		json_t *first, *second;

		run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
		first = json_incref(fixture->before);
		run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
		fixture->job.step.nodes = 1 << 1;
		run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
		second = json_incref(fixture->before);
		run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
		check_mems(kernel, "0,2");
		json_decref(fixture->before);
		fixture->before = json_incref(is_first ? first : second);
		fixture->job.step.nodes = is_first ? 1 << 3 : 1 << 1;
		fixture->job.step.from_nodes = 1 << 1 | 1 << 3;
		run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
		CHECK_INT(fixture->result.remainder.count, 0);
		check_mems(kernel, is_first ? "0,2-3" : "0-2");
		json_decref(fixture->before);
		fixture->before = json_incref(is_first ? second : first);
		fixture->job.step.nodes = is_first ? 1 << 1 : 1 << 3;
		fixture->job.step.from_nodes = fixture->job.step.nodes;
		run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
		CHECK_INT(fixture->result.remainder.count, 0);
		check_mems(kernel, "0-3");
		json_decref(first);
		json_decref(second);
		teardown(kernel);
	}
}

static void what_somebody_else_has_set_stays(void)
{
	struct kernel *kernel = setup("");

	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
	publish(kernel, "machine.slice", "0");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
	check_mems(kernel, "0");
	check_told(kernel, 0, "somebody has set it to nodes 0 since: it is left so");
	/* As after a reboot, which forgets what was set for this boot. */
	publish(kernel, "machine.slice", "");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.remainder.count, 0);
	fixture_tree_remove(&kernel->fixture.tree, CGROUP "/machine.slice");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.remainder.count, 0);
	CHECK_STR(kernel->order, "machine.slice=0-2 ");
	teardown(kernel);
}

/* It is tried again by another undrain. */
static void a_way_back_that_does_harm_is_not_taken(void)
{
	struct kernel *kernel = setup("");

	kernel->fixture.job.step.nodes = 1 << 1;
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
	check_mems(kernel, "0,2-3");
	write_process(kernel, "7f0 bind:3 anon=1 N3=1 kernelpagesize_kB=4\n");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_FAILED);
	check_told(kernel, 0, "the kernel would rewrite the policy bind:3 of process 10");
	check_mems(kernel, "0,2-3");
	write_process(kernel, "");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
	check_mems(kernel, "0-3");
	teardown(kernel);
}

static void what_cannot_be_read_is_not_begun(void)
{
	struct kernel *kernel = setup("");

	fixture_tree_write(&kernel->fixture.tree, MEMS, "nonsense\n");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_FAILED);
	fixture_tree_write(&kernel->fixture.tree, MEMS, "\n");
	snprintf(kernel->fixture.job.step.slices, sizeof(kernel->fixture.job.step.slices), "../etc");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_FAILED);
	kernel->fixture.before = json_pack("{s:[{s:s, s:s, s:s, s:s}]}", "slices", "name", "../etc", "mems", "", "wanted",
					   "0", "removed", "3");
	run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_FAILED);
	CHECK_STR(kernel->order, "");
	teardown(kernel);
}

/* ---- systemd ---- */

/* It keeps the setting, and writes the cgroup; that a set cannot become none again it does not tell. */
static void add_systemd(struct kernel *kernel, const char *unit)
{
	static const char path[] = "/usr/bin/systemctl";
	char full[256];

	fixture_tree_write(&kernel->fixture.tree, "/run/systemd/system/.keep", "%s", "");
	fixture_tree_write(&kernel->fixture.tree, UNIT, "%s\n", unit);
	fixture_tree_write(&kernel->fixture.tree, LOG, "%s", "");
	fixture_tree_write(&kernel->fixture.tree, path,
			   "#!/bin/sh\n"
			   "case $1 in\n"
			   "show) [ \"$2 $3 $4\" = '--property=AllowedMemoryNodes -- machine.slice' ] || exit 1\n"
			   "	echo \"AllowedMemoryNodes=$(cat ../..%s)\";;\n"
			   "set-property) [ \"$2 $3 $4\" = '--runtime -- machine.slice' ] || exit 1\n"
			   "	nodes=${5#AllowedMemoryNodes=}\n"
			   "	echo \"set $nodes\" >>../..%s\n"
			   "	[ -e ../../refuse ] && { echo 'Unit machine.slice is masked.' >&2; exit 4; }\n"
			   "	echo \"$nodes\" >../..%s\n"
			   "	[ -z \"$nodes\" ] || echo \"$nodes\" >../..%s;;\n"
			   "esac\n",
			   UNIT, LOG, UNIT, MEMS);
	snprintf(full, sizeof(full), "%s%s", kernel->fixture.tree.root, path);
	CHECK_INT(chmod(full, 0755), 0);
	snprintf(kernel->fixture.job.step.slices, sizeof(kernel->fixture.job.step.slices), "machine.slice");
}

static void check_systemd(struct kernel *kernel, const char *unit, const char *log)
{
	char text[128];

	job_fixture_read(&kernel->fixture, UNIT, text, sizeof(text));
	CHECK_STR(text, unit);
	job_fixture_read(&kernel->fixture, LOG, text, sizeof(text));
	CHECK_STR(text, log);
	CHECK_STR(kernel->order, "");
}

static void systemd_sets_what_it_owns(void)
{
	static const struct {
		const char *unit, *held, *log;
	} table[] = {
		/* A set that says the same comes before none. */
		{"", "0-2", "set 0-2\nset 0-3\nset"},
		{"0-3", "0-2", "set 0-2\nset 0-3"},
		{"0-1 3", "0-1", "set 0-1\nset 0-1,3"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct kernel *kernel = setup(i == 2 ? "0-1,3" : table[i].unit);

		add_systemd(kernel, table[i].unit);
		run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
		run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_DONE);
		check_mems(kernel, table[i].held);
		run(kernel, WORKER_JOB_UNDO, WORKER_OUTCOME_DONE);
		check_systemd(kernel, i == 2 ? "0-1,3" : table[i].unit, table[i].log);
		teardown(kernel);
	}
}

static void what_systemd_refuses_is_told(void)
{
	struct kernel *kernel = setup("");

	add_systemd(kernel, "");
	fixture_tree_write(&kernel->fixture.tree, "/refuse", "%s", "");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	run(kernel, WORKER_JOB_STEP, WORKER_OUTCOME_FAILED);
	check_told(kernel, 0, "nodes 3 could not be taken out: exit status 4: Unit machine.slice is masked.");
	check_systemd(kernel, "", "set 0-2");
	/* One that is too old for the property. */
	fixture_tree_write(&kernel->fixture.tree, "/usr/bin/systemctl", "#!/bin/sh\n");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_FAILED);
	fixture_tree_remove(&kernel->fixture.tree, "/usr/bin/systemctl");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_FAILED);
	teardown(kernel);
}

static void slices_lie_in_one_another(void)
{
	struct kernel *kernel = setup("");

	snprintf(kernel->fixture.job.step.slices, sizeof(kernel->fixture.job.step.slices), "machine-db.slice machine");
	fixture_tree_write(&kernel->fixture.tree, CGROUP "/machine.slice/machine-db.slice/cpuset.mems", "0-3\n");
	fixture_tree_write(&kernel->fixture.tree, CGROUP "/machine/cpuset.mems", "1-3\n");
	run(kernel, WORKER_JOB_BEFORE, WORKER_OUTCOME_DONE);
	const json_t *slices = json_object_get(kernel->fixture.before, "slices");

	CHECK_INT(json_array_size(slices), 2);
	CHECK_STR(json_string_value(json_object_get(json_array_get(slices, 0), "path")), "/machine.slice/machine-db.slice");
	CHECK_STR(json_string_value(json_object_get(json_array_get(slices, 1), "path")), "/machine");
	CHECK_STR(json_string_value(json_object_get(json_array_get(slices, 1), "wanted")), "1-2");
	teardown(kernel);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a node leaves and comes back", a_node_leaves_and_comes_back},
		{"what would do harm is left alone", what_would_do_harm_is_left_alone},
		{"what would have done harm is tried again", what_did_harm_is_tried_again},
		{"what is tried again is given back once", what_is_tried_again_is_given_back_once},
		{"strays are moved along", strays_are_moved_along},
		{"one that cannot be changed keeps no other", one_that_cannot_be_changed_keeps_no_other},
		{"drains give back their own", drains_give_back_their_own},
		{"what somebody else has set stays", what_somebody_else_has_set_stays},
		{"a way back that does harm is not taken", a_way_back_that_does_harm_is_not_taken},
		{"what cannot be read is not begun", what_cannot_be_read_is_not_begun},
		{"systemd sets what it owns", systemd_sets_what_it_owns},
		{"what systemd refuses is told", what_systemd_refuses_is_told},
		{"slices lie in one another", slices_lie_in_one_another},
	};

	return unit_main("slice_job", cases, sizeof(cases) / sizeof(cases[0]));
}
