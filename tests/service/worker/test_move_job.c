/* SPDX-License-Identifier: Apache-2.0 */
#include "move_job.h"

#include <stdio.h>
#include <string.h>
#include "guest_view.h"
#include "job_fixture.h"
#include "page_move.h"
#include "page_runs.h"

/* 16 MiB blocks of 4096 pages: block N is node N's, and has room for the whole guest. */
#define BLOCK_PAGES 4096
#define GUEST_START UINT64_C(0x7f0000000000)
#define GUEST_PAGES 2560
#define GUEST_BYTES (GUEST_PAGES * 4096)
#define ABSENT	    (-1)

/* A kernel with one guest of shared memory, whose pages it moves. */
struct kernel {
	struct job_fixture fixture;
	struct page_move_ops ops;
	int8_t nodes[GUEST_PAGES]; /* where each page is, or ABSENT */
	uint8_t busy[GUEST_PAGES]; /* so many tries fail */
	int refusal;		   /* of whole calls to node refused_node; 0: none */
	int refused_node;
	int full_node; /* has no room; -1: all have */
	unsigned calls;
	unsigned cancel_at_call; /* 0: never */
	unsigned gone_at_call;
	unsigned absent_moves; /* of pages that must not be touched */
};

static void write_pagemap(struct kernel *kernel)
{
	uint64_t *entries = calloc(GUEST_PAGES, sizeof(*entries));
	char path[64];

	for (size_t i = 0; i < GUEST_PAGES; i++)
		if (kernel->nodes[i] != ABSENT)
			entries[i] = UINT64_C(1) << 63 |
				     ((uint64_t)kernel->nodes[i] * BLOCK_PAGES + 1 + i);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&kernel->fixture.tree, path, GUEST_START / 4096 * sizeof(*entries),
			      entries, GUEST_PAGES * sizeof(*entries));
	free(entries);
}

static void end_process(struct kernel *kernel)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	fixture_tree_write(&kernel->fixture.tree, path,
			   "%d (qemu) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0\n",
			   (int)getpid());
}

static long fake_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		      int *status)
{
	struct kernel *kernel = user;

	kernel->calls++;
	if (kernel->calls == kernel->cancel_at_call)
		kernel->fixture.control.is_cancelled = true;
	if (kernel->calls == kernel->gone_at_call)
		end_process(kernel);
	if (kernel->refusal && nodes[0] == kernel->refused_node)
		return kernel->refusal;
	for (size_t i = 0; i < count; i++) {
		size_t page = ((uint64_t)(uintptr_t)addresses[i] - GUEST_START) / 4096;

		if (kernel->nodes[page] == ABSENT) {
			kernel->absent_moves++;
			status[i] = -ENOENT;
		} else if (kernel->busy[page]) {
			kernel->busy[page]--;
			status[i] = -EBUSY;
		} else if (nodes[i] == kernel->full_node) {
			status[i] = -ENOMEM;
		} else {
			kernel->nodes[page] = (int8_t)nodes[i];
			status[i] = nodes[i];
		}
	}
	write_pagemap(kernel);
	return 0;
}

static int fake_look(void *user, pid_t pid, uint64_t address, int *ret_node)
{
	struct kernel *kernel = user;
	int node = kernel->nodes[(address - GUEST_START) / 4096];

	*ret_node = node;
	return node != ABSENT;
}

static int fake_touch(void *user, pid_t pid, uint64_t address)
{
	return 0;
}

static uint64_t fake_now(void *user)
{
	struct kernel *kernel = user;

	return (uint64_t)kernel->calls * 1000000;
}

/* Half of the guest on node 1, half on node 2, every 50th page absent. Node 3 is free. */
static struct kernel *setup(enum step_kind kind)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;
	struct fixture_tree *tree = &fixture->tree;
	char path[64];

	job_fixture_init(fixture, kind);
	for (unsigned node = 0; node < 4; node++)
		fixture_tree_add_block(tree, node, (int)node, "online", "Normal");
	fixture_tree_write(tree, "/proc/zoneinfo", "%s", "");
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(
		tree, path, "%llx-%llx rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd\n",
		(unsigned long long)GUEST_START, (unsigned long long)GUEST_START + GUEST_BYTES);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)getpid());
	fixture_tree_write(tree, path, "Name:\tqemu\nVmLck:\t0 kB\nVmPin:\t0 kB\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)getpid());
	fixture_tree_link(tree, path, "/dev/null");
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(tree, path, "%llx bind:1-2 file=/memfd:memory-backend-memfd\n",
			   (unsigned long long)GUEST_START);
	for (size_t i = 0; i < GUEST_PAGES; i++)
		kernel->nodes[i] = (int8_t)(i % 50 == 49 ? ABSENT : i < GUEST_PAGES / 2 ? 1 : 2);
	write_pagemap(kernel);
	kernel->full_node = -1;
	kernel->ops = (struct page_move_ops){fake_move, fake_look, fake_touch, fake_now, kernel};
	fixture->context.move_ops = &kernel->ops;
	fixture->job.ram_size_count = 1;
	fixture->job.ram_sizes[0] = GUEST_BYTES;
	fixture->job.ram_cells[0] = 0;
	fixture->job.step.by_map = true;
	fixture->job.step.map[1] = 3;
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

static uint64_t count_on(const struct kernel *kernel, int node)
{
	uint64_t count = 0;

	for (size_t i = 0; i < GUEST_PAGES; i++)
		count += kernel->nodes[i] == node;
	return count;
}

static void test_map_and_back(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t on_1 = count_on(kernel, 1), on_2 = count_on(kernel, 2);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(json_array_size(json_object_get(kernel->fixture.before, "nodes")), 1);
	CHECK_INT(kernel->calls, 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, on_1 * 4096);
	CHECK_INT(count_on(kernel, 1), 0);
	CHECK_INT(count_on(kernel, 3), on_1);
	CHECK_INT(kernel->absent_moves, 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 1), on_1);
	CHECK_INT(count_on(kernel, 2), on_2);
	unsigned calls = kernel->calls;

	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->calls, calls);
	teardown(kernel);
}

static void test_crossing_map(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t on_1 = count_on(kernel, 1), on_2 = count_on(kernel, 2);

	kernel->fixture.job.step.map[2] = 0;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 3), on_1);
	CHECK_INT(count_on(kernel, 0), on_2);
	teardown(kernel);
}

static void test_cells(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t present = count_on(kernel, 1) + count_on(kernel, 2);

	kernel->fixture.job.step.by_map = false;
	kernel->fixture.job.step.by_cells = true;
	kernel->fixture.job.step.cells[0] = 2;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 2), present);
	/* Which cell it is cannot be told: said, not guessed. */
	kernel->fixture.job.ram_cells[0] = -1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	teardown(kernel);
}

static void test_physical_range(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	struct step *step = &kernel->fixture.job.step;

	/* The first 101 pages of node 1's block, of which page 0 is nobody's. */
	step->range_count = 1;
	step->ranges[0].start = (uint64_t)BLOCK_PAGES * 4096;
	step->ranges[0].end = step->ranges[0].start + 101 * 4096;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 3), 98);
	teardown(kernel);
}

static void test_busy_once_and_for_ever(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	const struct remainder *remainder;

	kernel->busy[5] = 3;
	kernel->busy[7] = 200;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(kernel->nodes[5], 3);
	CHECK_INT(kernel->nodes[7], 1);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_PAGE_BUSY);
	CHECK_TRUE(remainder && remainder->bytes == 4096);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	teardown(kernel);
}

static void test_no_room(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t on_1 = count_on(kernel, 1);
	const struct remainder *remainder;

	kernel->full_node = 3;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_NO_ROOM);
	CHECK_TRUE(remainder && remainder->bytes == on_1 * 4096);
	CHECK_STR(remainder ? remainder->object : NULL, "node 1");
	teardown(kernel);
}

/* Of two destinations one is outside the cpuset: the other's pages go all the same. */
static void test_refused_node(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t on_1 = count_on(kernel, 1), on_2 = count_on(kernel, 2);
	const struct remainder *remainder;

	kernel->fixture.job.step.map[2] = 0;
	kernel->refusal = -EACCES;
	kernel->refused_node = 3;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(count_on(kernel, 0), on_2);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_NOT_PERMITTED);
	CHECK_TRUE(remainder && remainder->bytes == on_1 * 4096);
	teardown(kernel);
}

static void test_cancel(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	kernel->cancel_at_call = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(kernel->calls, 1);
	CHECK_INT(kernel->fixture.result.bytes_done, count_on(kernel, 3) * 4096);
	CHECK_TRUE(count_on(kernel, 1) > 0 && count_on(kernel, 3) > 0);
	/* An undo of the half that was done. */
	kernel->fixture.control.is_cancelled = false;
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 3), 0);
	teardown(kernel);
}

static void test_guest_gone(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);

	kernel->gone_at_call = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_GUEST_GONE) != NULL);
	unsigned calls = kernel->calls;

	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->calls, calls);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_GUEST_GONE) != NULL);
	/* What an undo would put back has gone too. */
	kernel->fixture.before = json_pack("{s:[], s:b}", "nodes", "merged", 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	teardown(kernel);
}

static void test_userfaultfd(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/9", (int)getpid());
	fixture_tree_link(&kernel->fixture.tree, path, "anon_inode:[userfaultfd]");
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_INT(kernel->calls, 0);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_USERFAULTFD) != NULL);
	teardown(kernel);
}

static void test_survey(void)
{
	struct kernel *kernel = setup(STEP_KIND_PROBE);
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct worker_job *job = &kernel->fixture.job;
	struct failure failure = {0};

	job->dimms = calloc(1, sizeof(*job->dimms));
	job->dimm_count = 1;
	strcpy(job->dimms[0].id, "acpi-MP00");
	job->dimms[0].range_count = 1;
	job->dimms[0].ranges[0] =
		(struct snapshot_range){2 * BLOCK_PAGES * 4096, 3 * BLOCK_PAGES * 4096};
	job_fixture_run(&kernel->fixture, WORKER_JOB_SURVEY);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(worker_survey_parse(kernel->fixture.result.values, survey, &failure), 0);
	CHECK_INT(survey->node_bytes[1], count_on(kernel, 1) * 4096);
	CHECK_INT(survey->node_bytes[2], count_on(kernel, 2) * 4096);
	CHECK_INT(survey->resident_bytes, survey->node_bytes[1] + survey->node_bytes[2]);
	CHECK_INT(survey->backing_count, 1);
	CHECK_INT(survey->backings[0].kind, BACKING_KIND_MEMFD);
	CHECK_INT(survey->backings[0].cell, 0);
	CHECK_INT(survey->backings[0].policy_mode, POLICY_MODE_BIND);
	CHECK_INT(survey->backings[0].policy_nodes, 6);
	CHECK_INT(survey->policy_mode, POLICY_MODE_BIND);
	CHECK_INT(survey->policy_nodes, 6);
	CHECK_INT(survey->dimm_count, 1);
	CHECK_INT(survey->dimms[0].bytes, survey->node_bytes[2]);
	CHECK_INT(survey->cpuset_mems, 0);
	CHECK_TRUE(!survey->vfio && !survey->userfaultfd && !survey->locked);
	free(survey);
	teardown(kernel);
}

static void test_page_runs(void)
{
	struct page_runs runs = {0}, copy = {0};
	json_t *json;

	/* Three pages, one hole of one page, one of three, one of two. */
	CHECK_INT(page_runs_add(&runs, 0, 4096), 0);
	CHECK_INT(page_runs_add(&runs, 4096, 8192), 0);
	CHECK_INT(page_runs_add(&runs, 3 * 4096, 4 * 4096), 0);
	CHECK_INT(page_runs_add(&runs, 7 * 4096, 8 * 4096), 0);
	CHECK_INT(page_runs_add(&runs, 10 * 4096, 11 * 4096), 0);
	CHECK_INT(runs.count, 4);
	CHECK_INT(page_runs_limit(&runs, 2), 0);
	CHECK_TRUE(runs.is_merged);
	json = page_runs_to_json(&runs);
	CHECK_INT(page_runs_parse(json, &copy), 0);
	json_decref(json);
	CHECK_INT(copy.count, 2);
	CHECK_INT(copy.runs[0].first, 0);
	CHECK_INT(copy.runs[0].count, 4);
	CHECK_INT(copy.runs[1].first, 7);
	CHECK_INT(copy.runs[1].count, 4);
	page_runs_done(&copy);
	page_runs_done(&runs);
	/* Many more than are kept at once. */
	for (uint64_t i = 0; i < 200000; i++)
		CHECK_INT(page_runs_add(&runs, 2 * i * 4096, (2 * i + 1) * 4096), 0);
	CHECK_INT(page_runs_limit(&runs, PAGE_RUNS_MAX), 0);
	CHECK_TRUE(runs.count <= PAGE_RUNS_MAX);
	CHECK_INT(runs.runs[runs.count - 1].first + runs.runs[runs.count - 1].count, 399999);
	page_runs_done(&runs);
}

static void test_page_runs_refuses(void)
{
	static const char *const texts[] = {
		"{}",
		"[[1]]",
		"[[1,0]]",
		"[[-1,1]]",
		"[[5,2],[6,1]]",
		"[[1,2,3]]",
		"[[9007199254740992,1]]",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct page_runs runs = {0};
		json_t *json = json_loads(texts[i], 0, NULL);

		CHECK_INT(page_runs_parse(json, &runs), -EINVAL);
		json_decref(json);
	}
}

static void test_cells_by_size_and_order(void)
{
	struct guest_range ranges[] = {
		{.start = 0x1000000, .end = 0x2000000},
		{.start = 0x4000000, .end = 0x5000000},
		{.start = 0x6000000, .end = 0x9000000},
	};
	struct guest_map map = {.ranges = ranges, .count = 3};
	struct worker_job *job = calloc(1, sizeof(*job));
	int fds[] = {21, 20, -1};
	int8_t cells[3];

	job->ram_size_count = 3;
	job->ram_sizes[0] = job->ram_sizes[1] = 0x1000000;
	job->ram_sizes[2] = 0x3000000;
	job->ram_cells[0] = 0;
	job->ram_cells[1] = 1;
	job->ram_cells[2] = 2;
	/* The first cell's memory was made first: the higher address, the lower descriptor. */
	guest_view_assign_cells(job, &map, fds, cells);
	CHECK_INT(cells[0], 1);
	CHECK_INT(cells[1], 0);
	CHECK_INT(cells[2], 2);
	/* The traces disagree. */
	fds[0] = 19;
	guest_view_assign_cells(job, &map, fds, cells);
	CHECK_INT(cells[0], -1);
	CHECK_INT(cells[1], -1);
	CHECK_INT(cells[2], 2);
	/* Both belong to one cell: nothing to mistake. */
	job->ram_cells[1] = 0;
	guest_view_assign_cells(job, &map, fds, cells);
	CHECK_INT(cells[0], 0);
	/* One is missing. */
	map.count = 2;
	job->ram_size_count = 4;
	job->ram_sizes[3] = 0x1000000;
	guest_view_assign_cells(job, &map, fds, cells);
	CHECK_INT(cells[0], -1);
	free(job);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"map_and_back", test_map_and_back},
		{"crossing_map", test_crossing_map},
		{"cells", test_cells},
		{"physical_range", test_physical_range},
		{"busy_once_and_for_ever", test_busy_once_and_for_ever},
		{"no_room", test_no_room},
		{"refused_node", test_refused_node},
		{"cancel", test_cancel},
		{"guest_gone", test_guest_gone},
		{"userfaultfd", test_userfaultfd},
		{"survey", test_survey},
		{"page_runs", test_page_runs},
		{"page_runs_refuses", test_page_runs_refuses},
		{"cells_by_size_and_order", test_cells_by_size_and_order},
	};

	return unit_main("move_job", cases, sizeof(cases) / sizeof(cases[0]));
}
