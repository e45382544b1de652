/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuset_job.h"

#include <stdio.h>
#include <string.h>
#include "job_fixture.h"

#define SCOPE "/machine.slice/machine-qemu-1.scope"
#define GROUP SCOPE "/libvirt"

/* A kernel that keeps the rules of cpuset.mems, and rewrites a policy when it changes. */
struct kernel {
	struct job_fixture fixture;
	char order[512]; /* of the writes: "vcpu0=2-3 " */
	bool is_shifting;
	const char *refused; /* writes to this group fail with EBUSY */
};

static void write_group(struct kernel *kernel, const char *path, const char *mems,
			const char *effective)
{
	char full[256];

	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems", path);
	fixture_tree_write(&kernel->fixture.tree, full, "%s\n", mems);
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems.effective", path);
	fixture_tree_write(&kernel->fixture.tree, full, "%s\n", effective);
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cgroup.procs", path);
	fixture_tree_write(&kernel->fixture.tree, full, "%s", "");
}

static void write_policy(struct kernel *kernel, const char *policy)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(&kernel->fixture.tree, path, "7f0000000000 %s anon=1\n", policy);
}

static int on_write(void *user, const char *path, const char *text)
{
	struct kernel *kernel = user;
	char full[256], group[160] = "";
	const char *name;

	if (sscanf(path, "/sys/fs/cgroup%159[^\n]", group) != 1 || !strstr(group, "/cpuset.mems"))
		return -EACCES;
	*strstr(group, "/cpuset.mems") = '\0';
	name = strrchr(group, '/') + 1;
	if (kernel->refused && strcmp(name, kernel->refused) == 0)
		return -EBUSY;
	/* kernel/cgroup/cpuset.c validate_change */
	if (text[0] == '\n' || !text[0])
		return -ENOSPC;
	snprintf(full, sizeof(full), "%s=%s ", name, text);
	strncat(kernel->order, full, sizeof(kernel->order) - strlen(kernel->order) - 1);
	write_group(kernel, group, text, text);
	if (kernel->is_shifting)
		write_policy(kernel, "bind:2");
	return 0;
}

/* A guest that is bound strictly to node 3: each of its threads' groups says so. */
static struct kernel *setup(const char *mems)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;
	char path[64];

	job_fixture_init(fixture, STEP_KIND_CPUSET);
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset memory\n");
	write_group(kernel, "/machine.slice", "", "0-3");
	write_group(kernel, SCOPE, mems, mems[0] ? mems : "0-3");
	write_group(kernel, GROUP, "", mems[0] ? mems : "0-3");
	write_group(kernel, GROUP "/emulator", mems, mems[0] ? mems : "0-3");
	write_group(kernel, GROUP "/vcpu0", mems, mems[0] ? mems : "0-3");
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
	fixture_tree_write(&fixture->tree, path, "0::" GROUP "/emulator\n");
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(&fixture->tree, path,
			   "7f0000000000-7f0010000000 rw-p 00000000 00:00 0 \n");
	snprintf(path, sizeof(path), "/proc/%d/status", (int)getpid());
	fixture_tree_write(&fixture->tree, path, "VmLck:\t0 kB\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)getpid());
	fixture_tree_link(&fixture->tree, path, "/dev/null");
	write_policy(kernel, "bind:3");
	fixture->job.ram_size_count = 1;
	fixture->job.ram_sizes[0] = 0x10000000;
	fixture_tree_set_hooks(&fixture->tree, on_write, kernel);
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

static void test_widen_narrow_back(void)
{
	struct kernel *kernel = setup("3");

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	CHECK_INT(json_array_size(json_object_get(kernel->fixture.before, "groups")), 4);
	/* Of the first alone. */
	CHECK_STR(json_string_value(json_object_get(json_array_get(json_object_get(kernel->fixture.before, "groups"), 0), "inherits")),
		  "0-3");
	CHECK_TRUE(!json_object_get(json_array_get(json_object_get(kernel->fixture.before, "groups"), 1), "inherits"));
	kernel->fixture.job.step.nodes = 1 << 2 | 1 << 3;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_STR(kernel->order, "machine-qemu-1.scope=2-3 emulator=2-3 vcpu0=2-3 ");
	kernel->order[0] = '\0';
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_STR(kernel->order, "");
	kernel->fixture.job.step.nodes = 1 << 2;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_STR(kernel->order, "vcpu0=2 emulator=2 machine-qemu-1.scope=2 ");
	kernel->order[0] = '\0';
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_STR(kernel->order, "vcpu0=3 emulator=3 machine-qemu-1.scope=3 ");
	teardown(kernel);
}

/* What inherited cannot be made to inherit again: it gets all that it would inherit. */
static void test_undo_to_inherited(void)
{
	struct kernel *kernel = setup("");

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	kernel->fixture.job.step.nodes = 1 << 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_STR(kernel->order, "machine-qemu-1.scope=1 ");
	kernel->order[0] = '\0';
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_STR(kernel->order, "machine-qemu-1.scope=0-3 ");
	kernel->order[0] = '\0';
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_STR(kernel->order, "");
	teardown(kernel);
}

static void test_tells_a_shift(void)
{
	struct kernel *kernel = setup("3");
	const json_t *warnings;

	kernel->is_shifting = true;
	kernel->fixture.job.step.nodes = 1 << 2 | 1 << 3;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	warnings = json_object_get(kernel->fixture.result.values, "warnings");
	CHECK_INT(json_array_size(warnings), 1);
	CHECK_STR(json_string_value(json_object_get(json_array_get(warnings, 0), "code")),
		  "policy_would_shift");
	CHECK_STR(json_string_value(json_object_get(json_array_get(warnings, 0), "detail")),
		  "bind:3 became bind:2");
	teardown(kernel);
}

static void test_refused_group(void)
{
	struct kernel *kernel = setup("3");

	kernel->refused = "vcpu0";
	kernel->fixture.job.step.nodes = 1 << 2 | 1 << 3;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_CPUSET_CANNOT_CHANGE) != NULL);
	teardown(kernel);
}

static void test_no_cpuset(void)
{
	struct kernel *kernel = setup("3");
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
	fixture_tree_write(&kernel->fixture.tree, path, "0::/\n");
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_STR(json_string_value(json_object_get(kernel->fixture.result.values, "detail")),
		  "no cpuset");
	kernel->fixture.job.process.start_time++;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_GUEST_GONE) != NULL);
	teardown(kernel);
}

static void test_damaged_before(void)
{
	struct kernel *kernel = setup("3");

	kernel->fixture.before = json_pack("{s:[{s:s, s:s}, {s:s}]}", "groups", "path", "/../etc",
					   "mems", "1", "path", GROUP);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_STR(kernel->order, "");
	teardown(kernel);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"widen_narrow_back", test_widen_narrow_back},
		{"undo_to_inherited", test_undo_to_inherited},
		{"tells_a_shift", test_tells_a_shift},
		{"refused_group", test_refused_group},
		{"no_cpuset", test_no_cpuset},
		{"damaged_before", test_damaged_before},
	};

	return unit_main("cpuset_job", cases, sizeof(cases) / sizeof(cases[0]));
}
