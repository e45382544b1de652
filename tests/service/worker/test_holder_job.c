/* SPDX-License-Identifier: Apache-2.0 */
#include "holder_job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "job_fixture.h"
#include "worker_holders.h"

#define BIT(n)	 (UINT64_C(1) << (n))
#define FRAME	 UINT64_C(4096)
#define ANON	 (BIT(5) | BIT(12) | BIT(14))
/* More than stand alone. */
#define GROUPS	 (WORKER_HOLDERS_MAX + 4)
#define MOVABLE_PAGES 2048
#define KERNEL_AT  1024
#define MOVABLE_AT 8192

static uint64_t group_inode(struct job_fixture *fixture, const char *path, int pid)
{
	char file[128], full[256];
	struct stat status = {0};

	snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cgroup.procs", path);
	fixture_tree_write(&fixture->tree, file, "%d\n", pid);
	snprintf(full, sizeof(full), "%s/sys/fs/cgroup%s", fixture->tree.root, path);
	CHECK_INT(stat(full, &status), 0);
	return status.st_ino;
}

static void put(struct job_fixture *fixture, uint64_t pfn, uint64_t flags, uint64_t inode)
{
	fixture_tree_write_at(&fixture->tree, "/proc/kpageflags", pfn * 8, &flags, 8);
	fixture_tree_write_at(&fixture->tree, "/proc/kpagecgroup", pfn * 8, &inode, 8);
}

/* 32 pages of a kernel zone, and MOVABLE_PAGES. */
static struct job_fixture *setup(void)
{
	struct job_fixture *fixture = calloc(1, sizeof(*fixture));

	job_fixture_init(fixture, STEP_KIND_PROBE);
	fixture->job.dimm_count = 2;
	fixture->job.dimms = calloc(2, sizeof(*fixture->job.dimms));
	strcpy(fixture->job.dimms[0].id, "kernel");
	strcpy(fixture->job.dimms[1].id, WORKER_HOLDERS_MOVABLE);
	for (size_t i = 0; i < 2; i++) {
		uint64_t at = i ? MOVABLE_AT : KERNEL_AT;

		fixture->job.dimms[i].range_count = 1;
		fixture->job.dimms[i].ranges[0] = (struct snapshot_range){at * FRAME, (at + (i ? MOVABLE_PAGES : 32)) * FRAME};
	}
	put(fixture, MOVABLE_AT + MOVABLE_PAGES - 1, BIT(10), 0);
	return fixture;
}

static void teardown(struct job_fixture *fixture)
{
	job_fixture_done(fixture);
	free(fixture);
}

static void test_groups(void)
{
	struct worker_holders *holders = calloc(1, sizeof(*holders));
	struct job_fixture *fixture = setup();
	struct failure failure = {0};
	uint64_t rest = 0;

	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(&fixture->tree, "/proc/80/stat",
			   "80 (holder) S 1 1 1 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 3 0 77 999 5 0\n");
	fixture_tree_write(&fixture->tree, "/proc/80/status", "Name:\tholder\nVmPin:\t 12 kB\n");
	put(fixture, KERNEL_AT, BIT(7), 0);
	for (size_t i = 0; i < GROUPS; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/g%zu", i);
		put(fixture, MOVABLE_AT + i, ANON, group_inode(fixture, path, 80));
	}
	put(fixture, MOVABLE_AT + GROUPS, ANON, group_inode(fixture, "/g7", 80));
	job_fixture_run(fixture, WORKER_JOB_HOLDERS);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(worker_holders_parse(fixture->result.values, holders, &failure), 0);
	CHECK_INT(holders->kernel[PAGE_KIND_SLAB], FRAME);
	CHECK_INT(holders->kernel[PAGE_KIND_OTHER], 31 * FRAME);
	CHECK_INT(holders->movable[PAGE_KIND_ANON], (GROUPS + 1) * FRAME);
	CHECK_INT(holders->movable[PAGE_KIND_FREE], FRAME);
	CHECK_INT(holders->count, WORKER_HOLDERS_MAX);
	CHECK_STR(holders->groups[0].owner.path, "/g7");
	CHECK_STR(holders->groups[0].owner.name, "holder");
	CHECK_INT(holders->groups[0].owner.pid, 80);
	CHECK_INT(holders->groups[0].owner.process_count, 1);
	CHECK_INT(holders->groups[0].owner.pinned_bytes, 12 * 1024);
	CHECK_INT(holders->groups[0].owner.pinner_pid, 80);
	CHECK_STR(holders->groups[0].owner.pinner_name, "holder");
	CHECK_INT(holders->groups[0].kinds[PAGE_KIND_ANON], 2 * FRAME);
	CHECK_INT(holders->rest_count, GROUPS - WORKER_HOLDERS_MAX);
	for (size_t i = 0; i < PAGE_KIND_COUNT; i++)
		rest += holders->rest[i];
	CHECK_INT(rest, (GROUPS - WORKER_HOLDERS_MAX) * FRAME);
	teardown(fixture);
	free(holders);
}

static void test_without(void)
{
	struct worker_holders *holders = calloc(1, sizeof(*holders));
	struct job_fixture *fixture = setup();
	struct failure failure = {0};

	/* No cgroup v2: the inode stands for the group. */
	put(fixture, MOVABLE_AT, ANON, 4242);
	job_fixture_run(fixture, WORKER_JOB_HOLDERS);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(worker_holders_parse(fixture->result.values, holders, &failure), 0);
	CHECK_INT(holders->count, 1);
	CHECK_INT(holders->groups[0].owner.inode, 4242);
	CHECK_STR(holders->groups[0].owner.path, "");
	fixture_tree_remove(&fixture->tree, "/proc/kpageflags");
	job_fixture_run(fixture, WORKER_JOB_HOLDERS);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_INT(fixture->result.failure.error, ENOENT);
	teardown(fixture);
	free(holders);
}

/* Some TiB of nothing: it ends all the same when it is told to. */
static void test_cancelled(void)
{
	struct job_fixture *fixture = setup();

	put(fixture, (UINT64_C(1) << 40) / FRAME, BIT(10), 0);
	fixture->job.dimms[1].ranges[0].end = UINT64_C(1) << 40;
	fixture->control.is_cancelled = true;
	job_fixture_run(fixture, WORKER_JOB_HOLDERS);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_TRUE(fixture->result.values == NULL);
	teardown(fixture);
}

static void test_malformed(void)
{
	static const char *const bad[] = {
		"[]",
		"{\"kernel\":{},\"movable\":{},\"groups\":[],\"rest_count\":0}",
		"{\"kernel\":{},\"movable\":{},\"groups\":[],\"rest_count\":-1,\"rest\":{}}",
		"{\"kernel\":{\"tin\":1},\"movable\":{},\"groups\":[],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{\"slab\":-1},\"movable\":{},\"groups\":[],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":[],\"groups\":[],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":{},\"groups\":{},\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":{},\"groups\":[{}],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":{},\"groups\":[{\"inode\":1,\"path\":\"/\",\"processes\":1,\"pid\":1,"
		"\"name\":\"longer than any name is\",\"is_guest\":false,\"pinned_bytes\":0,\"pinner_pid\":0,"
		"\"pinner_name\":\"\",\"kinds\":{}}],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":{},\"groups\":[{\"inode\":1,\"path\":\"/\",\"processes\":1,\"pid\":-1,"
		"\"name\":\"x\",\"is_guest\":false,\"pinned_bytes\":0,\"pinner_pid\":0,\"pinner_name\":\"\","
		"\"kinds\":{}}],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":{},\"groups\":[{\"inode\":1,\"path\":\"/\",\"processes\":1,\"pid\":1,"
		"\"name\":\"x\",\"is_guest\":false,\"pinned_bytes\":-1,\"pinner_pid\":0,\"pinner_name\":\"\","
		"\"kinds\":{}}],\"rest_count\":0,\"rest\":{}}",
		"{\"kernel\":{},\"movable\":{},\"groups\":[{\"inode\":1,\"path\":\"/\",\"processes\":1,\"pid\":1,"
		"\"name\":\"x\",\"is_guest\":false,\"pinned_bytes\":1,\"pinner_pid\":1,"
		"\"pinner_name\":\"longer than any name is\",\"kinds\":{}}],\"rest_count\":0,\"rest\":{}}",
	};
	struct worker_holders *holders = calloc(1, sizeof(*holders));

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *json = json_loads(bad[i], 0, NULL);
		struct failure failure = {0};

		CHECK_TRUE(json != NULL);
		CHECK_INT(worker_holders_parse(json, holders, &failure), -EINVAL);
		CHECK_TRUE(failure_is_set(&failure));
		json_decref(json);
	}
	free(holders);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"groups", test_groups},
		{"without groups, without flags", test_without},
		{"cancelled", test_cancelled},
		{"malformed answers", test_malformed},
	};

	return unit_main("service/holder_job", cases, sizeof(cases) / sizeof(cases[0]));
}
