/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "job_fixture.h"

#define POOL "/sys/devices/system/node/node1/hugepages/hugepages-2048kB"
#define PAGE (UINT64_C(2) << 20)

struct kernel {
	struct job_fixture fixture;
	unsigned total, in_use, surplus, room; /* pages */
	unsigned room_after_compaction;
	unsigned writes;
};

static void publish(struct kernel *kernel)
{
	struct fixture_tree *tree = &kernel->fixture.tree;
	unsigned all = kernel->total + kernel->surplus;

	fixture_tree_write(tree, POOL "/nr_hugepages", "%u\n", all);
	fixture_tree_write(tree, POOL "/free_hugepages", "%u\n", all - kernel->in_use);
	fixture_tree_write(tree, POOL "/surplus_hugepages", "%u\n", kernel->surplus);
}

static int on_write(void *user, const char *path, const char *text)
{
	struct kernel *kernel = user;
	unsigned wanted;

	if (strcmp(path, "/sys/devices/system/node/node1/compact") == 0) {
		kernel->room = kernel->room_after_compaction;
		return 0;
	}
	if (strcmp(path, POOL "/nr_hugepages") != 0 || sscanf(text, "%u", &wanted) != 1)
		return -EACCES;
	kernel->writes++;
	if (wanted > kernel->room)
		wanted = kernel->room > kernel->total ? kernel->room : kernel->total;
	kernel->surplus = wanted < kernel->in_use ? kernel->in_use - wanted : 0;
	kernel->total = wanted;
	publish(kernel);
	return 0;
}

static struct kernel *setup(unsigned total, unsigned in_use, unsigned room)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));

	job_fixture_init(&kernel->fixture, STEP_KIND_HOST_POOL);
	fixture_tree_write(&kernel->fixture.tree, "/proc/meminfo", "Hugepagesize: 2048 kB\n");
	kernel->total = total;
	kernel->in_use = in_use;
	kernel->room = kernel->room_after_compaction = room;
	publish(kernel);
	kernel->fixture.job.step.node = 1;
	kernel->fixture.job.step.page_bytes = PAGE;
	fixture_tree_set_hooks(&kernel->fixture.tree, on_write, kernel);
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

static void test_grow_and_back(void)
{
	struct kernel *kernel = setup(10, 0, 5000);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	kernel->fixture.job.step.target_bytes = 1200 * PAGE;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, 1190 * PAGE);
	CHECK_INT(kernel->total, 1200);
	CHECK_INT(kernel->writes, 3);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->total, 10);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->writes, 4);
	teardown(kernel);
}

static void test_compaction_helps(void)
{
	struct kernel *kernel = setup(0, 0, 100);

	kernel->room_after_compaction = 400;
	kernel->fixture.job.step.target_bytes = 300 * PAGE;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->total, 300);
	teardown(kernel);
}

/* The kernel compacts for long: a cancel is heard meanwhile, and what there is is told. */
static void test_cancelled_while_it_compacts(void)
{
	struct kernel *kernel = setup(0, 0, 0);
	const struct remainder *remainder;
	int fd;

	/* Without a kernel behind the files: half of what is asked for counts as surplus. */
	fixture_tree_set_hooks(&kernel->fixture.tree, NULL, NULL);
	kernel->total = kernel->surplus = 200;
	publish(kernel);
	fixture_tree_write(&kernel->fixture.tree, POOL "/nr_hugepages", "200\n");
	fd = fixture_tree_add_blocking(&kernel->fixture.tree, "/sys/devices/system/node/node1/compact");
	kernel->fixture.job.step.target_bytes = 300 * PAGE;
	CHECK_TRUE(job_fixture_run_cancelled(&kernel->fixture) < 1000);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(kernel->fixture.result.bytes_done, 100 * PAGE);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_CANCELLED);
	CHECK_TRUE(remainder && remainder->bytes == 200 * PAGE);
	close(fd);
	teardown(kernel);
}

static void test_no_room(void)
{
	struct kernel *kernel = setup(0, 0, 100);
	const struct remainder *remainder;

	kernel->fixture.job.step.target_bytes = 300 * PAGE;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_NO_ROOM);
	CHECK_TRUE(remainder && remainder->bytes == 200 * PAGE);
	teardown(kernel);
}

static void test_shrink_below_use(void)
{
	struct kernel *kernel = setup(300, 120, 1000);
	const struct remainder *remainder;

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	kernel->fixture.job.step.target_bytes = 100 * PAGE;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_HUGE_PAGE_POOL);
	CHECK_TRUE(remainder && remainder->bytes == 20 * PAGE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->total, 300);
	teardown(kernel);
}

static void test_refuses(void)
{
	struct kernel *kernel = setup(10, 0, 100);

	kernel->fixture.job.step.node = 7;
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	kernel->fixture.job.step.page_bytes = 0;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	kernel->fixture.before = json_pack("{s:s}", "node", "x");
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_INT(kernel->writes, 0);
	/* A step that is no work for a worker. */
	kernel->fixture.job.step.kind = STEP_KIND_KICK;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_INT(kernel->fixture.result.failure.error, EOPNOTSUPP);
	teardown(kernel);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"grow_and_back", test_grow_and_back},
		{"compaction_helps", test_compaction_helps},
		{"cancelled_while_it_compacts", test_cancelled_while_it_compacts},
		{"no_room", test_no_room},
		{"shrink_below_use", test_shrink_below_use},
		{"refuses", test_refuses},
	};

	return unit_main("pool_job", cases, sizeof(cases) / sizeof(cases[0]));
}
