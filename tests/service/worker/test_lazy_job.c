/* SPDX-License-Identifier: Apache-2.0 */
#include "lazy_job.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include "job_fixture.h"
#include "lazy_job_priv.h"
#include "memory_policy.h"
#include "page_move.h"

#define BALANCING   (1 << 13) /* MPOL_F_NUMA_BALANCING, not in every header */
#define BLOCK_PAGES 4096      /* block N is node N's */
#define GUEST_START UINT64_C(0x7f0000000000)
#define GUEST_PAGES 512
#define GUEST_BYTES (GUEST_PAGES * 4096)
#define HOME	    1 /* where all pages are at first */
#define DESTINATION 0 /* the only node that every machine has: its policy is really set */

/* A guest whose memory is a real memfd of ours, while its page table is a file. */
struct kernel {
	struct job_fixture fixture;
	struct page_move_ops ops;
	void *memory; /* another mapping of the memfd, as QEMU's would be */
	int fd;
	int8_t nodes[GUEST_PAGES];
	/* What the touching vCPU does once balancing is on. */
	size_t follows;
	bool cancels, opens_userfaultfd;
	int seen_mode; /* of the policy at that moment */
	uint64_t seen_nodes;
};

static void write_pagemap(struct kernel *kernel)
{
	uint64_t entries[GUEST_PAGES];
	char path[64];

	for (size_t i = 0; i < GUEST_PAGES; i++)
		entries[i] = UINT64_C(1) << 63 |
			     ((uint64_t)kernel->nodes[i] * BLOCK_PAGES + 1 + i);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&kernel->fixture.tree, path, GUEST_START / 4096 * sizeof(*entries),
			      entries, sizeof(entries));
}

static int policy_of(const struct kernel *kernel, uint64_t *ret_nodes)
{
	unsigned long words[16] = {0};
	int mode = -1;

	if (syscall(SYS_get_mempolicy, &mode, words, 1024UL, kernel->memory, MPOL_F_ADDR) < 0)
		return -errno;
	if (ret_nodes)
		*ret_nodes = words[0];
	return mode;
}

/* Waits for the policy that lets pages follow, and then is what touches them. */
static int touch(void *user)
{
	struct kernel *kernel = user;
	char path[64];

	while (!((kernel->seen_mode = policy_of(kernel, &kernel->seen_nodes)) & BALANCING) ||
	       !(kernel->seen_nodes & 1 << HOME))
		sched_yield();
	for (size_t i = 0; i < kernel->follows; i++)
		kernel->nodes[i] = DESTINATION;
	write_pagemap(kernel);
	snprintf(path, sizeof(path), "/proc/%d/fd/9", (int)getpid());
	if (kernel->opens_userfaultfd)
		fixture_tree_link(&kernel->fixture.tree, path, "anon_inode:[userfaultfd]");
	if (kernel->cancels)
		kernel->fixture.control.is_cancelled = true;
	return 0;
}

static long fake_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		      int *status)
{
	struct kernel *kernel = user;

	for (size_t i = 0; i < count; i++) {
		kernel->nodes[((uint64_t)(uintptr_t)addresses[i] - GUEST_START) / 4096] =
			(int8_t)nodes[i];
		status[i] = nodes[i];
	}
	write_pagemap(kernel);
	return 0;
}

static int fake_look(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places)
{
	struct kernel *kernel = user;

	for (size_t i = 0; i < count; i++)
		places[i] = kernel->nodes[(addresses[i] - GUEST_START) / 4096];
	return 0;
}

static uint64_t fake_now(void *user)
{
	return 0;
}

static void write_guest(struct kernel *kernel, const char *file, const char *policy)
{
	struct fixture_tree *tree = &kernel->fixture.tree;
	struct stat data;
	char path[64];

	CHECK_INT(fstat(kernel->fd, &data), 0);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(tree, path, "%llx-%llx rw-s 00000000 %02x:%02x %llu %s\n",
			   (unsigned long long)GUEST_START,
			   (unsigned long long)GUEST_START + GUEST_BYTES, major(data.st_dev),
			   minor(data.st_dev), (unsigned long long)data.st_ino, file);
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(tree, path, "%llx %s file=%s\n", (unsigned long long)GUEST_START, policy,
			   file);
}

static struct kernel *setup(void)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;
	struct fixture_tree *tree = &fixture->tree;
	char path[64], target[64];

	job_fixture_init(fixture, STEP_KIND_LAZY);
	for (unsigned node = 0; node < 3; node++)
		fixture_tree_add_block(tree, node, (int)node, "online", "Normal");
	fixture_tree_write(tree, "/proc/zoneinfo", "%s", "");
	fixture_tree_write(tree, "/proc/sys/kernel/numa_balancing", "1\n");
	snprintf(path, sizeof(path), "/proc/%d/status", (int)getpid());
	fixture_tree_write(tree, path, "Name:\tqemu\nVmLck:\t0 kB\nVmPin:\t0 kB\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)getpid());
	fixture_tree_link(tree, path, "/dev/null");
	kernel->fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
	CHECK_INT(ftruncate(kernel->fd, GUEST_BYTES), 0);
	kernel->memory = mmap(NULL, GUEST_BYTES, PROT_READ, MAP_SHARED, kernel->fd, 0);
	CHECK_TRUE(kernel->memory != MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/%d/fd/5", (int)getpid());
	snprintf(target, sizeof(target), "/proc/%d/fd/%d", (int)getpid(), kernel->fd);
	fixture_tree_link(tree, path, target);
	write_guest(kernel, "/memfd:memory-backend-memfd (deleted)", "default");
	memset(kernel->nodes, HOME, sizeof(kernel->nodes));
	write_pagemap(kernel);
	kernel->ops = (struct page_move_ops){
		.move = fake_move, .look = fake_look, .now_ns = fake_now, .user = kernel};
	fixture->context.move_ops = &kernel->ops;
	fixture->job.ram_size_count = 1;
	fixture->job.ram_sizes[0] = GUEST_BYTES;
	fixture->job.step.by_map = true;
	fixture->job.step.map[HOME] = DESTINATION;
	fixture->job.step.timeout_ms = 20000;
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	munmap(kernel->memory, GUEST_BYTES);
	close(kernel->fd);
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

/* False where this kernel does not take the flag for shared memory: then nothing can follow. */
static bool can_balance(const struct kernel *kernel)
{
	unsigned long node = 1UL << DESTINATION;
	bool can = syscall(SYS_mbind, kernel->memory, 4096UL, MPOL_BIND | BALANCING, &node, 64UL,
			   0) == 0;

	if (!can)
		printf("skip: this kernel balances no bound memory\n");
	CHECK_INT(syscall(SYS_mbind, kernel->memory, 4096UL, MPOL_DEFAULT, NULL, 0UL, 0), 0);
	return can;
}

static void run_touched(struct kernel *kernel)
{
	thrd_t thread;

	CHECK_INT(thrd_create(&thread, touch, kernel), thrd_success);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	thrd_join(thread, NULL);
}

static const char *detail_of(const struct kernel *kernel)
{
	const char *text =
		json_string_value(json_object_get(kernel->fixture.result.values, "detail"));

	return text ? text : "";
}

static void test_all_follow(void)
{
	struct kernel *kernel = setup();

	if (can_balance(kernel)) {
		kernel->follows = GUEST_PAGES;
		run_touched(kernel);
		CHECK_INT(kernel->seen_mode, MPOL_BIND | BALANCING);
		CHECK_INT(kernel->seen_nodes, 1 << DESTINATION | 1 << HOME);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
		CHECK_INT(kernel->fixture.result.bytes_done, GUEST_BYTES);
		CHECK_INT(kernel->fixture.result.remainder.count, 0);
		CHECK_TRUE(strstr(detail_of(kernel), "nothing is left") != NULL);
		CHECK_INT(policy_of(kernel, NULL), MPOL_DEFAULT);
	}
	teardown(kernel);
}

static void test_time_over(void)
{
	struct kernel *kernel = setup();

	if (can_balance(kernel)) {
		struct memory_policy left = {.mode = MEMORY_POLICY_BIND, .is_balancing = true, .nodes = node_set_of(0)};

		/* The file's own word counts, whatever numa_maps says. */
		CHECK_INT(memory_policy_set_shared(kernel->fd, 0, GUEST_BYTES, &left), 0);
		/* Long enough for the thread that follows to get its turn on any machine. */
		kernel->fixture.job.step.timeout_ms = 2000;
		kernel->follows = 12;
		run_touched(kernel);
		/* What stayed is for the move that comes after. */
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
		CHECK_INT(kernel->fixture.result.bytes_done, 12 * 4096);
		CHECK_INT(kernel->fixture.result.remainder.count, 0);
		CHECK_TRUE(strstr(detail_of(kernel), "48 KiB of 2 MiB") != NULL);
		CHECK_TRUE(strstr(detail_of(kernel), "its time is over") != NULL);
		/* A flag that an earlier attempt had to leave behind does not stay either. */
		CHECK_INT(policy_of(kernel, NULL), MPOL_BIND);
	}
	teardown(kernel);
}

static void test_cancelled(void)
{
	struct kernel *kernel = setup();
	const struct remainder *left;

	if (can_balance(kernel)) {
		kernel->cancels = true;
		run_touched(kernel);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
		left = job_fixture_remainder(&kernel->fixture, REMAINDER_CANCELLED);
		CHECK_TRUE(left != NULL);
		CHECK_INT(left ? left->bytes : 0, GUEST_BYTES);
		CHECK_INT(policy_of(kernel, NULL), MPOL_DEFAULT);
	}
	teardown(kernel);
}

static void test_userfaultfd_meanwhile(void)
{
	struct kernel *kernel = setup();

	if (can_balance(kernel)) {
		kernel->opens_userfaultfd = true;
		run_touched(kernel);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
		CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_USERFAULTFD) != NULL);
		CHECK_INT(policy_of(kernel, NULL), MPOL_DEFAULT);
	}
	teardown(kernel);
}

static void test_balancing_is_off(void)
{
	static const char *const modes[] = {"0\n", "2\n"};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct kernel *kernel = setup();

		fixture_tree_write(&kernel->fixture.tree, "/proc/sys/kernel/numa_balancing", "%s",
				   modes[i]);
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
		CHECK_STR(kernel->fixture.result.failure.way_out,
			  "sysctl kernel.numa_balancing=1, or move without --lazy");
		CHECK_INT(policy_of(kernel, NULL), MPOL_DEFAULT);
		teardown(kernel);
	}
}

/* Bound by its own process: nothing outside can let it follow, so nobody waits for it. */
static void test_cannot_follow(void)
{
	struct kernel *kernel = setup();
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(&kernel->fixture.tree, path, "%llx-%llx rw-p 00000000 00:00 0\n",
			   (unsigned long long)GUEST_START,
			   (unsigned long long)GUEST_START + GUEST_BYTES);
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(&kernel->fixture.tree, path, "%llx bind:1\n",
			   (unsigned long long)GUEST_START);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, 0);
	CHECK_TRUE(strstr(detail_of(kernel), "2 MiB cannot follow") != NULL);
	teardown(kernel);
}

static void test_undo(void)
{
	struct kernel *kernel = setup();
	struct job_fixture *fixture = &kernel->fixture;
	unsigned long node = 1UL << DESTINATION;

	job_fixture_run(fixture, WORKER_JOB_BEFORE);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(json_array_size(json_object_get(fixture->before, "ranges")), 1);
	CHECK_INT(json_array_size(json_object_get(fixture->before, "homes")), 1);
	/* As a worker leaves it that was ended in the middle; twice, as an undo may have to be. */
	CHECK_INT(syscall(SYS_mbind, kernel->memory, (unsigned long)GUEST_BYTES, MPOL_BIND, &node,
			  64UL, 0),
		  0);
	memset(kernel->nodes, DESTINATION, sizeof(kernel->nodes) / 2);
	write_pagemap(kernel);
	for (int i = 0; i < 2; i++) {
		job_fixture_run(fixture, WORKER_JOB_UNDO);
		CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
		CHECK_INT(policy_of(kernel, NULL), MPOL_DEFAULT);
		for (size_t page = 0; page < GUEST_PAGES; page++)
			CHECK_INT(kernel->nodes[page], HOME);
	}
	teardown(kernel);
}

static void test_watch(void)
{
	struct lazy_watch watch;

	lazy_watch_begin(&watch, 1000, 200000, 5000);
	CHECK_INT(lazy_watch_look(&watch, 1000, 5000), LAZY_VERDICT_GO);
	CHECK_INT(lazy_watch_look(&watch, 1000, 94999), LAZY_VERDICT_GO);
	CHECK_INT(lazy_watch_look(&watch, 900, 94999), LAZY_VERDICT_GO);
	/* More than before is no gain. */
	CHECK_INT(lazy_watch_look(&watch, 950, 180000), LAZY_VERDICT_GO);
	CHECK_INT(lazy_watch_look(&watch, 900, 184999), LAZY_VERDICT_STILL);
	CHECK_INT(lazy_watch_look(&watch, 900, 205000), LAZY_VERDICT_TIME);
	CHECK_INT(lazy_watch_look(&watch, 0, 205000), LAZY_VERDICT_ALL);
	/* A hundredth of a CPU, a moment at least, and never past the end. */
	CHECK_INT(lazy_watch_pause_us(&watch, 10, 5000), 200000);
	CHECK_INT(lazy_watch_pause_us(&watch, 30000, 5000), 3000000);
	CHECK_INT(lazy_watch_pause_us(&watch, 30000, 204990), 10000);
	CHECK_INT(lazy_watch_pause_us(&watch, 30000, 300000), 0);
	lazy_watch_begin(&watch, 1000, 0, 5000);
	CHECK_INT(lazy_watch_pause_us(&watch, 30000, 300000), 3000000);
	CHECK_INT(lazy_watch_look(&watch, 10, 300000), LAZY_VERDICT_GO);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"all_follow", test_all_follow},
		{"time_over", test_time_over},
		{"cancelled", test_cancelled},
		{"userfaultfd_meanwhile", test_userfaultfd_meanwhile},
		{"balancing_is_off", test_balancing_is_off},
		{"cannot_follow", test_cannot_follow},
		{"undo", test_undo},
		{"watch", test_watch},
	};

	return unit_main("lazy_job", cases, ARRAY_SIZE(cases));
}
