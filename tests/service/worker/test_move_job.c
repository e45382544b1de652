/* SPDX-License-Identifier: Apache-2.0 */
#include "move_job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "backing_window.h"
#include "guest_view.h"
#include "huge_pages.h"
#include "job_fixture.h"
#include "page_heat_priv.h"
#include "page_homes.h"
#include "page_move.h"

/* 16 MiB blocks of 4096 pages: block N is node N's, and has room for the whole guest. */
#define BLOCK_PAGES 4096
#define GUEST_START UINT64_C(0x7f0000000000)
#define GUEST_PAGES 2560
#define GUEST_BYTES (GUEST_PAGES * 4096)
#define ABSENT	    (-1)
#define SWAPPED	    (-2)
/* Several pieces for several threads. */
#define GUEST_PAGES_MAX 32768

/* A kernel with one guest of shared memory, whose pages it moves. */
struct kernel {
	struct job_fixture fixture;
	struct page_move_ops ops;
	pthread_mutex_t lock;	       /* several threads may call */
	int8_t nodes[GUEST_PAGES_MAX]; /* where each page is, or ABSENT */
	uint8_t busy[GUEST_PAGES_MAX]; /* so many tries fail */
	bool fixed[GUEST_PAGES_MAX];   /* of a kind that is not moved */
	bool marked[GUEST_PAGES_MAX];  /* by AutoNUMA: not seen until it is read */
	size_t pages;
	int refusal; /* of whole calls to node refused_node; 0: none */
	int refused_node;
	int full_node; /* has no room; -1: all have */
	size_t room;   /* then: pages that it has room for */
	size_t drifts; /* so many pages of the first that moved are taken back by AutoNUMA */
	bool opens_userfaultfd; /* with the first call */
	unsigned touched_late;	/* pages that were read although the guest had one */
	unsigned calls_at_once, most_at_once;
	unsigned wait_ms; /* each call waits so long for another beside it, as long as there was none */
	bool hot[GUEST_PAGES_MAX];
	size_t order[GUEST_PAGES_MAX]; /* in which pages moved: from 1 */
	size_t moves;
	bool is_huge;	   /* every 2 MiB are one transparent huge page */
	size_t huge_room;  /* of node 3, as /proc/buddyinfo tells */
	bool splits_pages; /* on the way */
	unsigned calls;
	unsigned cancel_at_call; /* 0: never */
	unsigned gone_at_call;
	unsigned absent_moves; /* of pages that must not be touched */
};

static uint64_t entry_of(const struct kernel *kernel, size_t page)
{
	int node = kernel->nodes[page];

	if (node < 0)
		return node == SWAPPED ? UINT64_C(1) << 62 : 0;
	if (kernel->is_huge)
		return UINT64_C(1) << 63 | ((uint64_t)node * BLOCK_PAGES + page);
	return UINT64_C(1) << 63 | (kernel->hot[page] ? UINT64_C(1) << 55 : 0) |
	       ((uint64_t)node * BLOCK_PAGES + 1 + page % (BLOCK_PAGES - 1));
}

static void write_pages(struct kernel *kernel, size_t first, size_t count)
{
	uint64_t *entries = calloc(count, sizeof(*entries));
	char path[64];

	for (size_t i = 0; i < count; i++)
		entries[i] = entry_of(kernel, first + i);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&kernel->fixture.tree, path,
			      (GUEST_START / 4096 + first) * sizeof(*entries), entries,
			      count * sizeof(*entries));
	free(entries);
}

static void write_pagemap(struct kernel *kernel)
{
	write_pages(kernel, 0, kernel->pages);
}

static void end_process(struct kernel *kernel)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	fixture_tree_write(&kernel->fixture.tree, path,
			   "%d (qemu) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0\n",
			   (int)getpid());
}

static void write_huge_room(struct kernel *kernel)
{
	fixture_tree_write(&kernel->fixture.tree, "/proc/buddyinfo",
			   "Node 1, zone Normal 9 9 9 9 9 9 9 9 9 9 9\nNode 3, zone Movable 7 7 7 7 7 7 7 7 7 %zu 0\n",
			   kernel->huge_room);
}

/* One address a huge page. */
static long move_huge(struct kernel *kernel, size_t count, void *const *addresses, const int *nodes, int *status)
{
	kernel->calls++;
	for (size_t i = 0; i < count; i++) {
		size_t page = ((uint64_t)(uintptr_t)addresses[i] - GUEST_START) / 4096;

		CHECK_INT(page % 512, 0);
		memset(kernel->nodes + page, nodes[i], 512);
		status[i] = nodes[i];
	}
	CHECK_TRUE(count <= kernel->huge_room || kernel->fixture.job.step.may_split);
	kernel->huge_room -= count < kernel->huge_room ? count : kernel->huge_room;
	write_huge_room(kernel);
	write_pagemap(kernel);
	return 0;
}

static int fake_is_huge(void *user, pid_t pid, uint64_t address)
{
	struct kernel *kernel = user;

	return !kernel->splits_pages;
}

static long move_locked(struct kernel *kernel, size_t count, void *const *addresses, const int *nodes,
			int *status)
{
	size_t first = ((uint64_t)(uintptr_t)addresses[0] - GUEST_START) / 4096, last = first;

	kernel->calls++;
	if (kernel->calls == kernel->cancel_at_call)
		kernel->fixture.control.is_cancelled = true;
	if (kernel->calls == kernel->gone_at_call)
		end_process(kernel);
	if (kernel->opens_userfaultfd && kernel->calls == 1) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/fd/9", (int)getpid());
		fixture_tree_link(&kernel->fixture.tree, path, "anon_inode:[userfaultfd]");
	}
	if (kernel->refusal && nodes[0] == kernel->refused_node)
		return kernel->refusal;
	for (size_t i = 0; i < count; i++) {
		size_t page = ((uint64_t)(uintptr_t)addresses[i] - GUEST_START) / 4096;

		last = page;
		if (kernel->nodes[page] < 0) {
			kernel->absent_moves++;
			status[i] = -ENOENT;
		} else if (kernel->marked[page]) {
			status[i] = -ENOENT;
		} else if (kernel->fixed[page]) {
			status[i] = -EFAULT;
		} else if (kernel->busy[page]) {
			kernel->busy[page]--;
			status[i] = -EBUSY;
		} else if (nodes[i] == kernel->full_node && !kernel->room) {
			status[i] = -ENOMEM;
		} else {
			kernel->room -= nodes[i] == kernel->full_node;
			status[i] = nodes[i];
			if (kernel->drifts)
				kernel->drifts--;
			else
				kernel->nodes[page] = (int8_t)nodes[i];
			kernel->order[page] = ++kernel->moves;
		}
	}
	write_pages(kernel, first, last - first + 1);
	return 0;
}

static long fake_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		      int *status)
{
	struct kernel *kernel = user;
	long left;

	pthread_mutex_lock(&kernel->lock);
	if (++kernel->calls_at_once > kernel->most_at_once)
		kernel->most_at_once = kernel->calls_at_once;
	/* On a machine with much else to do the other threads come late. */
	for (unsigned ms = 0; kernel->most_at_once < 2 && ms < kernel->wait_ms; ms++) {
		pthread_mutex_unlock(&kernel->lock);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		pthread_mutex_lock(&kernel->lock);
	}
	left = kernel->is_huge ? move_huge(kernel, count, addresses, nodes, status)
			       : move_locked(kernel, count, addresses, nodes, status);
	kernel->calls_at_once--;
	pthread_mutex_unlock(&kernel->lock);
	return left;
}

static int fake_look(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places)
{
	struct kernel *kernel = user;

	pthread_mutex_lock(&kernel->lock);
	for (size_t i = 0; i < count; i++) {
		int node = kernel->nodes[(addresses[i] - GUEST_START) / 4096];

		places[i] = node < 0 ? PAGE_SURVEY_PLACE_ABSENT : node;
	}
	pthread_mutex_unlock(&kernel->lock);
	return 0;
}

static void fake_touch(void *user, pid_t pid, const uint64_t *addresses, size_t count)
{
	struct kernel *kernel = user;

	pthread_mutex_lock(&kernel->lock);
	for (size_t i = 0; i < count; i++) {
		kernel->marked[(addresses[i] - GUEST_START) / 4096] = false;
		kernel->touched_late += kernel->opens_userfaultfd;
	}
	pthread_mutex_unlock(&kernel->lock);
}

static uint64_t fake_now(void *user)
{
	struct kernel *kernel = user;
	uint64_t now;

	pthread_mutex_lock(&kernel->lock);
	now = (uint64_t)kernel->calls * 1000000;
	pthread_mutex_unlock(&kernel->lock);
	return now;
}

/* Half of the guest on node 1, half on node 2, every 50th page absent. Node 3 is free. */
static struct kernel *setup_pages(enum step_kind kind, size_t pages)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;
	struct fixture_tree *tree = &fixture->tree;
	char path[64];

	kernel->pages = pages;
	pthread_mutex_init(&kernel->lock, NULL);
	job_fixture_init(fixture, kind);
	for (unsigned node = 0; node < 4; node++)
		fixture_tree_add_block(tree, node, (int)node, "online", "Normal");
	fixture_tree_write(tree, "/proc/zoneinfo", "%s", "");
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(
		tree, path, "%llx-%llx rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd\n",
		(unsigned long long)GUEST_START, (unsigned long long)GUEST_START + pages * 4096);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)getpid());
	fixture_tree_write(tree, path, "Name:\tqemu\nVmLck:\t0 kB\nVmPin:\t0 kB\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)getpid());
	fixture_tree_link(tree, path, "/dev/null");
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(tree, path, "%llx bind:1-2 file=/memfd:memory-backend-memfd\n",
			   (unsigned long long)GUEST_START);
	for (size_t i = 0; i < pages; i++)
		kernel->nodes[i] = (int8_t)(i % 50 == 49 ? ABSENT : i < pages / 2 ? 1 : 2);
	write_pagemap(kernel);
	kernel->full_node = -1;
	kernel->ops = (struct page_move_ops){.move = fake_move,
					     .look = fake_look,
					     .touch = fake_touch,
					     .is_huge = fake_is_huge,
					     .now_ns = fake_now,
					     .user = kernel};
	fixture->context.move_ops = &kernel->ops;
	fixture->job.ram_size_count = 1;
	fixture->job.ram_sizes[0] = pages * 4096;
	fixture->job.ram_cells[0] = 0;
	fixture->job.step.by_map = true;
	fixture->job.step.map[1] = 3;
	return kernel;
}

static struct kernel *setup(enum step_kind kind)
{
	return setup_pages(kind, GUEST_PAGES);
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	pthread_mutex_destroy(&kernel->lock);
	free(kernel);
}

static uint64_t count_on(const struct kernel *kernel, int node)
{
	uint64_t count = 0;

	for (size_t i = 0; i < kernel->pages; i++)
		count += kernel->nodes[i] == node;
	return count;
}

static void test_map_and_back(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t on_1 = count_on(kernel, 1), on_2 = count_on(kernel, 2);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(json_array_size(json_object_get(kernel->fixture.before, "homes")), 1);
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

/* What the guest has touched first since comes home with the rest; what was there before the move stays there. */
static void test_newcomers_and_back(void)
{
	static const struct {
		bool is_old;	/* a record that does not tell what was there before */
		bool is_of_two; /* a move from two nodes to one */
	} rows[] = {{false, false}, {true, false}, {false, true}};

	for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
		struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
		bool goes_home = !rows[row].is_old && !rows[row].is_of_two;
		int8_t before[GUEST_PAGES_MAX];

		for (size_t i = 0; i < kernel->pages; i++)
			kernel->nodes[i] = (int8_t)(i % 4 == 0 ? 1 : i % 4 == 1 ? 2 : i % 4 == 2 ? 3 : ABSENT);
		if (rows[row].is_of_two)
			kernel->fixture.job.step.map[2] = 3;
		write_pagemap(kernel);
		memcpy(before, kernel->nodes, sizeof(before));
		job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
		CHECK_TRUE(json_is_true(json_object_get(kernel->fixture.before, "stays")));
		if (rows[row].is_old)
			json_object_del(kernel->fixture.before, "stays");
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(count_on(kernel, 1), 0);
		for (size_t i = 3; i < kernel->pages; i += 4) {
			kernel->nodes[i] = 3;
			before[i] = goes_home ? 1 : 3;
		}
		write_pagemap(kernel);
		job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
		CHECK_INT(memcmp(kernel->nodes, before, kernel->pages), 0);
		teardown(kernel);
	}
}

/* Brings the guest away and back, and expects of it what the undo says. */
static void move_and_undo(struct kernel *kernel)
{
	static int8_t before[GUEST_PAGES_MAX];

	write_pagemap(kernel);
	memcpy(before, kernel->nodes, sizeof(before));
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 1) + count_on(kernel, 2), 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(memcmp(kernel->nodes, before, kernel->pages), 0);
	/* Each page once. */
	CHECK_INT(kernel->fixture.result.bytes_done, (kernel->pages - count_on(kernel, ABSENT)) * 4096);
}

/* Page by page on two nodes, regularly and without any order, with holes: each goes home, and none twice. */
static void test_interleaved_and_back(void)
{
	for (unsigned workers = 1; workers <= 3; workers += 2)
		for (int is_random = 0; is_random < 2; is_random++) {
			struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, GUEST_PAGES_MAX);
			unsigned state = 7;

			kernel->fixture.job.step.map[2] = 3;
			kernel->fixture.job.step.workers = workers;
			for (size_t i = 0; i < kernel->pages; i++) {
				kernel->nodes[i] = (int8_t)(1 + (is_random ? rand_r(&state) / 2 % 2 : (int)i % 2));
				if (is_random && rand_r(&state) % 100 == 0)
					kernel->nodes[i] = ABSENT;
			}
			move_and_undo(kernel);
			teardown(kernel);
		}
}

/* What cannot be read cannot be undone, and an undo says so. */
static void test_undo_of_nonsense(void)
{
	static const char *const texts[] = {"{}", "{\"nodes\": []}", "{\"homes\": [{}]}"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);

		kernel->fixture.before = json_loads(texts[i], 0, NULL);
		job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
		CHECK_INT(kernel->calls, 0);
		teardown(kernel);
	}
}

/* A cancelled undo says how much is not home. */
static void test_cancelled_undo(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	kernel->cancel_at_call = kernel->calls + 1;
	kernel->fixture.job.step.budget_bytes_per_s = 8 << 20;
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_TRUE(count_on(kernel, 3) > 0);
	CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), count_on(kernel, 3) * 4096);
	teardown(kernel);
}

/* Two huge pages that were small ones when it was written down where they lay: each goes to where the most of it was. */
static void test_home_of_what_has_become_huge(void)
{
	struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, 1024);
	uint64_t flags = UINT64_C(1) << 15 | UINT64_C(1) << 22;
	const struct remainder *remainder;

	kernel->fixture.job.step.map[2] = 3;
	for (size_t i = 0; i < kernel->pages; i++)
		kernel->nodes[i] = (int8_t)(i % 4 ? 1 : i < 512 ? 2 : ABSENT);
	write_pagemap(kernel);
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	kernel->is_huge = true;
	kernel->huge_room = 8;
	memset(kernel->nodes, 3, sizeof(kernel->nodes));
	write_huge_room(kernel);
	for (uint64_t pfn = BLOCK_PAGES; pfn < 4 * BLOCK_PAGES; pfn += 512)
		fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", pfn * 8, &flags, 8);
	write_pagemap(kernel);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(count_on(kernel, 1), 1024);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_HOME_UNKNOWN);
	CHECK_TRUE(remainder && remainder->bytes == 128 * 4096);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
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

/* Two nodes change places, a third takes part in a chain: every page goes where it was sent, and no further. */
static void test_nodes_that_change_places(void)
{
	for (unsigned workers = 1; workers <= 3; workers += 2) {
		struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, GUEST_PAGES_MAX);
		struct step *step = &kernel->fixture.job.step;
		uint64_t on_0, on_1, on_2, wrong = 0;
		static int8_t before[GUEST_PAGES_MAX];

		for (size_t i = 0; i < 100; i++)
			kernel->nodes[i * 300] = 0;
		/* Page by page, too: no two neighbours lie together. */
		for (size_t i = 1000; i < 2000; i++)
			kernel->nodes[i] = (int8_t)(i % 3);
		write_pagemap(kernel);
		memcpy(before, kernel->nodes, sizeof(before));
		on_0 = count_on(kernel, 0);
		on_1 = count_on(kernel, 1);
		on_2 = count_on(kernel, 2);
		step->workers = workers;
		step->map[0] = 1;
		step->map[1] = 2;
		step->map[2] = 1;
		/* One page is busy for good, another at first. */
		kernel->busy[1] = 255;
		kernel->busy[2] = 1;
		job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
		CHECK_INT(kernel->fixture.result.bytes_done, (on_0 + on_1 + on_2 - 1) * 4096);
		CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), 4096);
		for (size_t i = 0; i < kernel->pages; i++)
			wrong += kernel->nodes[i] != (before[i] < 0 || i == 1 ? before[i] : step->map[before[i]]);
		CHECK_INT(wrong, 0);
		job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
		for (size_t i = 0; i < kernel->pages; i++)
			wrong += kernel->nodes[i] != before[i];
		CHECK_INT(wrong, 0);
		teardown(kernel);
	}
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

/* What lay in the range comes home, and nothing else: what was at the destination before stays there. */
static void test_physical_range_and_back(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	struct step *step = &kernel->fixture.job.step;
	static int8_t before[GUEST_PAGES_MAX];
	uint64_t moved, own;

	for (size_t i = 10; i < 60; i += 7)
		kernel->nodes[i] = 3;
	write_pagemap(kernel);
	memcpy(before, kernel->nodes, sizeof(before));
	own = count_on(kernel, 3);
	step->range_count = 1;
	step->ranges[0].start = (uint64_t)BLOCK_PAGES * 4096;
	step->ranges[0].end = step->ranges[0].start + 101 * 4096;
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	moved = count_on(kernel, 3) - own;
	CHECK_TRUE(own > 0 && moved > 0 && count_on(kernel, 1) > 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, moved * 4096);
	CHECK_INT(memcmp(kernel->nodes, before, kernel->pages), 0);
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

static void test_not_migratable(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	const struct remainder *remainder;

	kernel->fixed[5] = true;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_NOT_MIGRATABLE);
	CHECK_TRUE(remainder && remainder->bytes == 4096);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	teardown(kernel);
}

/* What moved is there again at each look. AutoNUMA is spoken of only where it is on. */
static void test_came_meanwhile(void)
{
	for (int is_on = 0; is_on < 2; is_on++) {
		struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
		const struct remainder *remainder;

		fixture_tree_write(&kernel->fixture.tree, "/proc/sys/kernel/numa_balancing", "%d\n", is_on);
		kernel->drifts = SIZE_MAX;
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
		remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_CAME_MEANWHILE);
		CHECK_TRUE(remainder && remainder->bytes == remainder_list_bytes(&kernel->fixture.result.remainder));
		CHECK_INT(remainder && strstr(remainder->detail, "balancing is on") != NULL, is_on);
		teardown(kernel);
	}
}

/* Another process maps the guest's file and has pinned one page, as its status says: of two that stay one is taken for it. */
static void test_pinned_by_another(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	struct fixture_tree *tree = &kernel->fixture.tree;
	const struct remainder *remainder;

	fixture_tree_write(tree, "/proc/999999/status", "Name:\tbackend\nVmSize: 9 kB\nVmPin: 4 kB\nRssShmem: 4 kB\n");
	fixture_tree_write(tree, "/proc/999999/maps",
			   "7f1000000000-7f1000400000 rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd\n");
	kernel->busy[5] = 200;
	kernel->busy[7] = 200;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_PINNED);
	CHECK_TRUE(remainder && remainder->bytes == 4096);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_PAGE_BUSY);
	CHECK_TRUE(remainder && remainder->bytes == 4096);
	CHECK_INT(kernel->fixture.result.remainder.count, 2);
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
	/* Makes calls of 2 MiB. */
	kernel->fixture.job.step.budget_bytes_per_s = 8 << 20;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(kernel->calls, 1);
	CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), count_on(kernel, 1) * 4096);
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
	kernel->fixture.before = json_pack("{s:[]}", "homes");
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

/* It is opened while pages are on their way: what is marked is not read any more. */
static void test_userfaultfd_meanwhile(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);

	memset(kernel->marked, true, sizeof(kernel->marked));
	kernel->opens_userfaultfd = true;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->calls, 1);
	CHECK_INT(kernel->touched_late, 0);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_USERFAULTFD) != NULL);
	CHECK_TRUE(kernel->fixture.result.outcome != WORKER_OUTCOME_DONE);
	teardown(kernel);
}

static uint64_t fact(const struct kernel *kernel, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(kernel->fixture.result.values, name));
}

/* All of them at work, and together they do what one does. */
static void test_several_workers(void)
{
	struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, GUEST_PAGES_MAX);
	uint64_t on_1 = count_on(kernel, 1), on_2 = count_on(kernel, 2);

	kernel->fixture.job.step.workers = 4;
	/* One begins; so long a call, and another one is tried beside it. */
	kernel->wait_ms = 300;
	kernel->fixture.job.step.map[2] = 0;
	memset(kernel->marked, true, sizeof(kernel->marked));
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, (on_1 + on_2) * 4096);
	CHECK_INT(fact(kernel, "bytes"), (on_1 + on_2) * 4096);
	CHECK_INT(fact(kernel, "workers"), 4);
	CHECK_INT(fact(kernel, "calls"), kernel->calls);
	CHECK_INT(fact(kernel, "pages_read"), on_1 + on_2);
	CHECK_INT(count_on(kernel, 3), on_1);
	CHECK_INT(count_on(kernel, 0), on_2);
	CHECK_INT(kernel->absent_moves, 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 1), on_1);
	CHECK_INT(count_on(kernel, 2), on_2);
	CHECK_TRUE(kernel->most_at_once > 1);
	/* One of them is told to stop: all do. */
	kernel->cancel_at_call = kernel->calls + 3;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_TRUE(kernel->calls <= kernel->cancel_at_call + 3);
	CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder),
		  (count_on(kernel, 1) + count_on(kernel, 2)) * 4096);
	CHECK_INT(kernel->fixture.result.bytes_done, (count_on(kernel, 3) + count_on(kernel, 0)) * 4096);
	teardown(kernel);
}

/* A guest that suffers, as the daemon tells of it. */
static void test_what_the_guest_felt(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);

	kernel->fixture.control.has_limit = true;
	kernel->fixture.control.stall_us = 10000;
	kernel->fixture.control.guest_pause_us = 70000;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(fact(kernel, "guest_pause_us"), 70000);
	CHECK_INT(fact(kernel, "slowed_down"), 1);
	CHECK_INT(fact(kernel, "longest_call_us"), 1000);
	teardown(kernel);
}

/* Eight transparent huge pages, and room for some of them. */
static void test_huge_pages_stay_whole(void)
{
	for (size_t room = 0; room <= 8; room += 4) {
		struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, 4096);
		uint64_t flags = UINT64_C(1) << 15 | UINT64_C(1) << 22;
		const struct remainder *remainder;
		const char *detail;
		json_t *warnings;
		char text[8];

		for (uint64_t pfn = BLOCK_PAGES; pfn < 4 * BLOCK_PAGES; pfn += 512)
			fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", pfn * 8, &flags, 8);
		kernel->is_huge = true;
		kernel->splits_pages = room == 4;
		kernel->huge_room = room;
		memset(kernel->nodes, 1, sizeof(kernel->nodes));
		write_pagemap(kernel);
		write_huge_room(kernel);
		fixture_tree_write(&kernel->fixture.tree, "/sys/devices/system/node/node3/compact", "%s", "");
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.bytes_done, room << 21);
		CHECK_INT(count_on(kernel, 3), room * 512);
		remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_WOULD_SPLIT);
		CHECK_INT(remainder ? remainder->bytes : 0, (8 - room) << 21);
		CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), (8 - room) << 21);
		/* The kernel is asked to compact where there is too little, and only there. */
		job_fixture_read(&kernel->fixture, "/sys/devices/system/node/node3/compact", text, sizeof(text));
		CHECK_STR(text, room < 8 ? "1" : "");
		CHECK_INT(fact(kernel, "compactions"), room < 8);
		detail = json_string_value(json_object_get(kernel->fixture.result.values, "detail"));
		CHECK_INT(detail && strstr(detail, "compactions of free memory there: 1") != NULL, room < 8);
		warnings = json_object_get(kernel->fixture.result.values, "warnings");
		CHECK_INT(json_array_size(warnings), kernel->splits_pages);
		if (kernel->splits_pages)
			CHECK_INT(json_integer_value(json_object_get(json_array_get(warnings, 0), "bytes")),
				  4 << 21);
		teardown(kernel);
	}
}

/* The kernel compacts for long: a cancel is heard meanwhile, what moved is told, and each byte that did not. */
static void test_cancelled_while_it_compacts(void)
{
	struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, 4096);
	uint64_t flags = UINT64_C(1) << 15 | UINT64_C(1) << 22;
	uint64_t moved;
	int fd;

	for (uint64_t pfn = BLOCK_PAGES; pfn < 4 * BLOCK_PAGES; pfn += 512)
		fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", pfn * 8, &flags, 8);
	kernel->is_huge = true;
	kernel->huge_room = 4;
	memset(kernel->nodes, 1, sizeof(kernel->nodes));
	write_pagemap(kernel);
	write_huge_room(kernel);
	fd = fixture_tree_add_blocking(&kernel->fixture.tree, "/sys/devices/system/node/node3/compact");
	CHECK_TRUE(job_fixture_run_cancelled(&kernel->fixture) < 1000);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	moved = count_on(kernel, 3) * 4096;
	CHECK_INT(kernel->fixture.result.bytes_done, moved);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_CANCELLED) != NULL);
	CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), (UINT64_C(8) << 21) - moved);
	close(fd);
	teardown(kernel);
}

/* Whoever agreed gets them all moved, and is told what became of them. */
static void test_huge_pages_may_be_split(void)
{
	struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, 4096);
	uint64_t flags = UINT64_C(1) << 15 | UINT64_C(1) << 22;
	json_t *warnings;

	for (uint64_t pfn = BLOCK_PAGES; pfn < 4 * BLOCK_PAGES; pfn += 512)
		fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", pfn * 8, &flags, 8);
	kernel->is_huge = kernel->splits_pages = true;
	kernel->huge_room = 2;
	kernel->fixture.job.step.may_split = true;
	memset(kernel->nodes, 1, sizeof(kernel->nodes));
	write_pagemap(kernel);
	write_huge_room(kernel);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 3), 4096);
	/* This kernel cannot compact one node. */
	CHECK_INT(fact(kernel, "compactions"), 0);
	warnings = json_object_get(kernel->fixture.result.values, "warnings");
	CHECK_INT(json_array_size(warnings), 1);
	CHECK_INT(json_integer_value(json_object_get(json_array_get(warnings, 0), "bytes")), 8 << 21);
	teardown(kernel);
}

/* The kernel has soft-dirty, or it has nothing. */
static void test_order(void)
{
	static const enum move_order orders[] = {MOVE_ORDER_COLD_FIRST, MOVE_ORDER_HOT_FIRST};

	for (size_t o = 0; o < ARRAY_SIZE(orders); o++) {
		struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
		uint64_t on_1 = count_on(kernel, 1), entry = UINT64_C(1) << 63 | UINT64_C(1) << 55 | 1;
		size_t last_first = 0, first_last = SIZE_MAX;
		char path[64];

		kernel->fixture.job.step.order = orders[o];
		kernel->fixture.context.heat_watch_ms = 1;
		for (size_t i = 0; i < kernel->pages; i++)
			kernel->hot[i] = i / 100 % 2;
		write_pagemap(kernel);
		snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
		fixture_tree_write_at(&kernel->fixture.tree, path, (uintptr_t)page_heat_probe_page() / 4096 * 8,
				      &entry, sizeof(entry));
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)getpid());
		fixture_tree_write(&kernel->fixture.tree, path, "%s", "");
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
		CHECK_INT(count_on(kernel, 3), on_1);
		CHECK_INT(kernel->moves, on_1);
		CHECK_TRUE(!json_object_get(kernel->fixture.result.values, "warnings"));
		for (size_t i = 0; i < kernel->pages; i++) {
			if (!kernel->order[i])
				continue;
			if (kernel->hot[i] == (orders[o] == MOVE_ORDER_HOT_FIRST))
				last_first = kernel->order[i] > last_first ? kernel->order[i] : last_first;
			else
				first_last = kernel->order[i] < first_last ? kernel->order[i] : first_last;
		}
		CHECK_TRUE(last_first < first_last);
		teardown(kernel);
	}
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	json_t *warnings;

	kernel->fixture.job.step.order = MOVE_ORDER_COLD_FIRST;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(count_on(kernel, 1), 0);
	warnings = json_object_get(kernel->fixture.result.values, "warnings");
	CHECK_INT(json_array_size(warnings), 1);
	CHECK_STR(json_string_value(json_object_get(json_array_get(warnings, 0), "code")), "order_not_kept");
	teardown(kernel);
}

/* The guest's map lock is not to be had, or its memory is large: a cancel is heard before a page has moved. */
static void test_cancelled_while_heat_begins(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	uint64_t on_1 = count_on(kernel, 1), entry = UINT64_C(1) << 63 | UINT64_C(1) << 55 | 1;
	char path[64];
	int fd;

	kernel->fixture.job.step.order = MOVE_ORDER_COLD_FIRST;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&kernel->fixture.tree, path, (uintptr_t)page_heat_probe_page() / 4096 * 8, &entry,
			      sizeof(entry));
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)getpid());
	fd = fixture_tree_add_blocking(&kernel->fixture.tree, path);
	CHECK_TRUE(job_fixture_run_cancelled(&kernel->fixture) < 1000);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(count_on(kernel, 1), on_1);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_CANCELLED) != NULL);
	CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), on_1 * 4096);
	close(fd);
	teardown(kernel);
}

static void test_swapped(void)
{
	struct kernel *kernel = setup(STEP_KIND_MOVE_PAGES);
	const struct remainder *remainder;

	for (size_t i = 100; i < 130; i++)
		kernel->nodes[i] = SWAPPED;
	write_pagemap(kernel);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_SWAPPED);
	CHECK_TRUE(remainder && remainder->bytes == 30 * 4096);
	CHECK_INT(kernel->absent_moves, 0);
	CHECK_INT(count_on(kernel, 1), 0);
	teardown(kernel);
}

/*
 * Whatever a host does to a move: nothing is touched that must not be, what moved is counted, and the reasons add up to
 * what is not where it was sent.
 */
static void test_no_byte_without_a_reason(void)
{
	for (unsigned seed = 1; seed <= 60; seed++) {
		unsigned state = seed;
		struct kernel *kernel = setup_pages(STEP_KIND_MOVE_PAGES, 500 + (size_t)rand_r(&state) % 12000);
		struct step *step = &kernel->fixture.job.step;
		uint64_t stayed = 0, moved = 0;
		int8_t *before = malloc(kernel->pages);

		step->workers = (unsigned)rand_r(&state) % 5;
		step->map[1] = rand_r(&state) % 2 ? 3 : 0;
		step->map[2] = rand_r(&state) % 3 ? 3 : -1;
		if (rand_r(&state) % 3 == 0) {
			kernel->refusal = rand_r(&state) % 2 ? -EACCES : -ENODEV;
			kernel->refused_node = 3;
		}
		if (rand_r(&state) % 3 == 0) {
			kernel->full_node = rand_r(&state) % 2 ? 3 : 0;
			kernel->room = (size_t)rand_r(&state) % kernel->pages;
		}
		if (rand_r(&state) % 4 == 0)
			kernel->drifts = (size_t)rand_r(&state) % 3000;
		for (size_t i = 0; i < kernel->pages; i++) {
			/* In stretches, as real memory is. */
			if (i && rand_r(&state) % 20) {
				kernel->nodes[i] = kernel->nodes[i - 1];
				kernel->busy[i] = 0;
			} else {
				kernel->nodes[i] = (int8_t)(rand_r(&state) % 5 - 1);
				kernel->nodes[i] = kernel->nodes[i] < 0 && rand_r(&state) % 3 == 0
							   ? SWAPPED
							   : kernel->nodes[i];
			}
			if (rand_r(&state) % 200 == 0)
				kernel->busy[i] = (uint8_t)(rand_r(&state) % 3 ? 2 : 255);
			kernel->marked[i] = rand_r(&state) % 10 == 0;
		}
		write_pagemap(kernel);
		memcpy(before, kernel->nodes, kernel->pages);
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		for (size_t i = 0; i < kernel->pages; i++) {
			int node = kernel->nodes[i];

			moved += node != before[i];
			stayed += node == SWAPPED || (node >= 0 && step->map[node] >= 0);
			/* Only what was sent away went, and where it was sent. */
			if (node != before[i] && (before[i] < 0 || step->map[before[i]] != node))
				CHECK_INT(i, -1);
		}
		CHECK_INT(remainder_list_bytes(&kernel->fixture.result.remainder), stayed * 4096);
		/* What AutoNUMA took back had moved. */
		CHECK_TRUE(kernel->fixture.result.bytes_done >= moved * 4096);
		CHECK_INT(kernel->absent_moves, 0);
		CHECK_INT(kernel->fixture.result.outcome == WORKER_OUTCOME_DONE, stayed == 0);
		for (size_t i = 0; i < kernel->fixture.result.remainder.count; i++)
			CHECK_TRUE(kernel->fixture.result.remainder.items[i].detail[0]);
		free(before);
		teardown(kernel);
	}
}

/* A guest of this machine's own kernel: its memory has pages that it has mapped, pages that only the file has, and holes. */
struct file_shape {
	uint64_t page_bytes;
	size_t pages; /* a size that no other mapping of the process has */
	size_t mapped, unmapped; /* pages: the first ones, and every other one from unmapped_at on */
	size_t unmapped_at;
};

static const struct file_shape small_pages = {4096, 4099, 700, 300, 2000};
static const struct file_shape huge_pages = {2 << 20, 13, 3, 2, 5};

struct file_guest {
	const struct file_shape *shape;
	struct job_fixture fixture;
	struct page_move_ops ops;
	pthread_mutex_t lock;
	struct sysroot *sysroot; /* owned */
	int fd;			 /* owned */
	pid_t pid;
	bool cancels; /* with the first call for pages that only the file has */
	uint64_t guest_pages, own_pages;
};

/* Says that all of it went: what it was asked for is what counts. */
static long note_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes, int *status)
{
	struct file_guest *guest = user;
	const volatile enum worker_control_state *stop = &guest->fixture.context.stop;

	pthread_mutex_lock(&guest->lock);
	if (pid)
		guest->guest_pages += count;
	else
		guest->own_pages += count;
	pthread_mutex_unlock(&guest->lock);
	if (!pid && guest->cancels) {
		guest->fixture.control.is_cancelled = true;
		while (*stop == WORKER_CONTROL_GO)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	for (size_t i = 0; i < count; i++)
		status[i] = !pid && guest->cancels ? -EBUSY : nodes[i];
	return 0;
}

static uint64_t no_time(void *user)
{
	return 0;
}

static uint64_t bytes_of(const struct file_guest *guest, size_t pages)
{
	return pages * guest->shape->page_bytes;
}

static pid_t start_file_guest(const struct file_guest *guest)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	CHECK_INT(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		volatile char *memory =
			mmap(NULL, bytes_of(guest, guest->shape->pages), PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0; i < guest->shape->mapped; i++)
			memory[bytes_of(guest, i)] = 'g';
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(0);
	}
	/* Whoever dies closes it. */
	close(ready[1]);
	CHECK_INT(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

/* NULL where this machine does not let us. */
static struct file_guest *setup_file_guest(const struct file_shape *shape)
{
	CLEANUP(backing_window_freep) struct backing_window *window = NULL;
	bool is_huge = shape->page_bytes > 4096;
	struct file_guest *guest;
	uint64_t start_time;
	char page[4096] = "file";

	if (geteuid() != 0 || backing_window_new(&window)) {
		printf("# pages in no page table: needs root and a userfaultfd\n");
		return NULL;
	}
	/* The guest must not inherit it. */
	window = backing_window_free(window);
	guest = calloc(1, sizeof(*guest));
	job_fixture_init(&guest->fixture, STEP_KIND_MOVE_PAGES);
	guest->ops = (struct page_move_ops){.move = note_move, .now_ns = no_time, .user = guest};
	pthread_mutex_init(&guest->lock, NULL);
	guest->shape = shape;
	guest->fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC | (is_huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	CHECK_INT(ftruncate(guest->fd, (off_t)bytes_of(guest, shape->pages)), 0);
	guest->pid = start_file_guest(guest);
	/* hugetlbfs cannot be written to; of a memfd what was not written counts as a hole. */
	for (size_t i = 0; i < shape->unmapped; i++) {
		off_t offset = (off_t)bytes_of(guest, shape->unmapped_at + 2 * i);

		if (is_huge)
			CHECK_INT(fallocate(guest->fd, 0, offset, (off_t)shape->page_bytes), 0);
		else
			CHECK_INT(pwrite(guest->fd, page, sizeof(page), offset), sizeof(page));
	}
	CHECK_INT(sysroot_new("/", &guest->sysroot), 0);
	CHECK_INT(process_identity_read_start_time(guest->sysroot, guest->pid, &start_time), 0);
	guest->fixture.context.sysroot = guest->sysroot;
	guest->fixture.context.move_ops = &guest->ops;
	guest->fixture.job.process = (struct worker_process){guest->pid, start_time};
	guest->fixture.job.ram_size_count = 1;
	guest->fixture.job.ram_sizes[0] = bytes_of(guest, shape->pages);
	guest->fixture.job.step.by_map = true;
	/* From wherever this machine has put them. */
	for (int node = 0; node < 8; node++)
		guest->fixture.job.step.map[node] = 60;
	guest->fixture.job.step.workers = 2;
	return guest;
}

static void teardown_file_guest(struct file_guest *guest)
{
	kill(guest->pid, SIGKILL);
	waitpid(guest->pid, NULL, 0);
	pthread_mutex_destroy(&guest->lock);
	job_fixture_done(&guest->fixture);
	sysroot_free(guest->sysroot);
	close(guest->fd);
	free(guest);
}

static void move_pages_in_no_page_table(const struct file_shape *shape)
{
	struct file_guest *guest = setup_file_guest(shape);
	struct stat status;

	if (!guest)
		return;
	job_fixture_run(&guest->fixture, WORKER_JOB_STEP);
	/* The same pages in each of the passes; those of the file once. */
	CHECK_TRUE(guest->guest_pages > 0 && guest->guest_pages % guest->shape->mapped == 0);
	CHECK_INT(guest->own_pages, guest->shape->unmapped);
	CHECK_INT(fstat(guest->fd, &status), 0);
	CHECK_INT(status.st_blocks * 512, bytes_of(guest, guest->shape->mapped + guest->shape->unmapped));
	/* They lie where they lay: that is said of both. */
	CHECK_INT(guest->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(remainder_list_bytes(&guest->fixture.result.remainder), bytes_of(guest, guest->shape->mapped + guest->shape->unmapped));
	teardown_file_guest(guest);
}

static void test_pages_in_no_page_table(void)
{
	move_pages_in_no_page_table(&small_pages);
}

/* What only the file has is written down, and brought home, as what is mapped. */
static void undo_in_the_file(const struct file_shape *shape)
{
	struct file_guest *guest = setup_file_guest(shape);
	struct page_homes homes, elsewhere;
	uint64_t end, start;

	if (!guest)
		return;
	job_fixture_run(&guest->fixture, WORKER_JOB_BEFORE);
	CHECK_INT(guest->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(page_homes_parse(json_object_get(guest->fixture.before, "homes"), &homes), 0);
	CHECK_INT(homes.bytes, bytes_of(guest, guest->shape->mapped + guest->shape->unmapped));
	start = (uint64_t)json_integer_value(json_object_get(
			json_array_get(json_object_get(guest->fixture.before, "homes"), 0), "first")) * 4096;
	/* Each where it is in the guest. */
	for (size_t i = 0; i < guest->shape->unmapped; i++) {
		CHECK_TRUE(page_homes_find(&homes, start + bytes_of(guest, guest->shape->unmapped_at + 2 * i), &end) >= 0);
		CHECK_INT(end, start + bytes_of(guest, guest->shape->unmapped_at + 2 * i + 1));
	}
	page_homes_done(&homes);
	job_fixture_run(&guest->fixture, WORKER_JOB_UNDO);
	CHECK_INT(guest->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(guest->guest_pages + guest->own_pages, 0);
	/* As if they had come from elsewhere, but every other one of the file's. */
	page_homes_init(&elsewhere, PAGE_HOMES_BYTES);
	CHECK_INT(page_homes_begin(&elsewhere, start, start + bytes_of(guest, guest->shape->pages)), 0);
	for (size_t i = 0; i < guest->shape->unmapped; i += 2)
		page_homes_add(&elsewhere, start + bytes_of(guest, guest->shape->unmapped_at + 2 * i), start + bytes_of(guest, guest->shape->unmapped_at + 2 * i + 1), 60);
	json_object_set_new(guest->fixture.before, "homes", page_homes_to_json(&elsewhere));
	page_homes_done(&elsewhere);
	job_fixture_run(&guest->fixture, WORKER_JOB_UNDO);
	CHECK_INT(guest->own_pages, guest->shape->unmapped / 2);
	CHECK_INT(guest->guest_pages, 0);
	/* They lie where they lay. */
	CHECK_INT(guest->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(remainder_list_bytes(&guest->fixture.result.remainder), bytes_of(guest, guest->shape->unmapped / 2));
	teardown_file_guest(guest);
}

static void test_undo_in_the_file(void)
{
	undo_in_the_file(&small_pages);
}

static void test_huge_pages_in_the_file(void)
{
	long before = huge_pages_allow((long)huge_pages.pages);

	if (before < 0) {
		printf("# huge pages in no page table: needs root and hugetlbfs\n");
		return;
	}
	move_pages_in_no_page_table(&huge_pages);
	undo_in_the_file(&huge_pages);
	CHECK_TRUE(huge_pages_allow(before) >= 0);
}

/* Cancelled after what is mapped has been told: that is not told again, and what the file has is told too. */
static void test_cancelled_in_the_file(void)
{
	struct file_guest *guest = setup_file_guest(&small_pages);
	const struct remainder *remainder;

	if (!guest)
		return;
	guest->cancels = true;
	job_fixture_run(&guest->fixture, WORKER_JOB_STEP);
	CHECK_INT(guest->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	remainder = job_fixture_remainder(&guest->fixture, REMAINDER_CANCELLED);
	CHECK_TRUE(remainder && remainder->bytes == 0);
	remainder = job_fixture_remainder(&guest->fixture, REMAINDER_NOT_MAPPED);
	CHECK_TRUE(remainder && remainder->bytes == bytes_of(guest, guest->shape->unmapped));
	CHECK_INT(remainder_list_bytes(&guest->fixture.result.remainder), bytes_of(guest, guest->shape->mapped + guest->shape->unmapped));
	teardown_file_guest(guest);
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
	int8_t entries[3], cells[3];

	job->ram_size_count = 3;
	job->ram_sizes[0] = job->ram_sizes[1] = 0x1000000;
	job->ram_sizes[2] = 0x3000000;
	job->ram_cells[0] = 0;
	job->ram_cells[1] = 1;
	job->ram_cells[2] = 2;
	/* The first cell's memory was made first: the higher address, the lower descriptor. */
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], 1);
	CHECK_INT(cells[1], 0);
	CHECK_INT(cells[2], 2);
	CHECK_INT(entries[0], 1);
	CHECK_INT(entries[2], 2);
	/* The traces disagree. */
	fds[0] = 19;
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], -1);
	CHECK_INT(cells[1], -1);
	CHECK_INT(cells[2], 2);
	/* Both belong to one cell: nothing to mistake. */
	job->ram_cells[1] = 0;
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], 0);
	CHECK_INT(entries[0], -1);
	/* One is missing. */
	map.count = 2;
	job->ram_size_count = 4;
	job->ram_sizes[3] = 0x1000000;
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], -1);
	free(job);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"map_and_back", test_map_and_back},
		{"newcomers_and_back", test_newcomers_and_back},
		{"interleaved_and_back", test_interleaved_and_back},
		{"undo_of_nonsense", test_undo_of_nonsense},
		{"cancelled_undo", test_cancelled_undo},
		{"home_of_what_has_become_huge", test_home_of_what_has_become_huge},
		{"crossing_map", test_crossing_map},
		{"nodes_that_change_places", test_nodes_that_change_places},
		{"cells", test_cells},
		{"physical_range", test_physical_range},
		{"physical_range_and_back", test_physical_range_and_back},
		{"busy_once_and_for_ever", test_busy_once_and_for_ever},
		{"of a kind that is not moved", test_not_migratable},
		{"came meanwhile", test_came_meanwhile},
		{"pinned_by_another", test_pinned_by_another},
		{"no_room", test_no_room},
		{"refused_node", test_refused_node},
		{"cancel", test_cancel},
		{"guest_gone", test_guest_gone},
		{"userfaultfd", test_userfaultfd},
		{"userfaultfd_meanwhile", test_userfaultfd_meanwhile},
		{"several_workers", test_several_workers},
		{"cancelled_while_it_compacts", test_cancelled_while_it_compacts},
		{"cancelled_while_heat_begins", test_cancelled_while_heat_begins},
		{"what_the_guest_felt", test_what_the_guest_felt},
		{"huge_pages_stay_whole", test_huge_pages_stay_whole},
		{"huge_pages_may_be_split", test_huge_pages_may_be_split},
		{"order", test_order},
		{"swapped", test_swapped},
		{"no_byte_without_a_reason", test_no_byte_without_a_reason},
		{"pages_in_no_page_table", test_pages_in_no_page_table},
		{"undo_in_the_file", test_undo_in_the_file},
		{"huge_pages_in_the_file", test_huge_pages_in_the_file},
		{"cancelled_in_the_file", test_cancelled_in_the_file},
		{"survey", test_survey},
		{"cells_by_size_and_order", test_cells_by_size_and_order},
	};

	return unit_main("move_job", cases, sizeof(cases) / sizeof(cases[0]));
}
