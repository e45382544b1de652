/* SPDX-License-Identifier: Apache-2.0 */
#include "block_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include "block_retry.h"
#include "job_fixture.h"

#define BLOCK_BYTES (16 << 20)

/* A kernel that takes blocks offline and online, with faults. */
struct kernel {
	struct job_fixture fixture;
	int busy[80];  /* by block: so many tries fail with EBUSY */
	int vanish;    /* this block goes at the first write; 0: none */
	int cancel_at; /* the cancel comes while this block is written; 0: none */
	unsigned writes;
	char order[256]; /* of the writes: "64 65 " */
	int comes_back; /* this block is onlined by somebody else while the next is written; 0: none */
	bool is_eject_ignored, is_eject_refused, is_eject_left_in_slot;
	const char *firmware_refuses; /* what the kernel's log says of the eject then; NULL: it does not */
	bool is_detached;
	unsigned looks; /* at the flags of pages */
	uint64_t busy_pfn; /* the page that it names in its log where a block is busy; 0: none */
	unsigned references;
	long alarms[80]; /* by block: milliseconds that its last try had */
	unsigned written_from;	/* look at which a page is under writeback; 0: as it was put */
	unsigned written_until; /* look at which it is so no more; 0: never */
};

static void set_block(struct kernel *kernel, unsigned id, const char *state, const char *zones)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", id);
	fixture_tree_write(&kernel->fixture.tree, path, "%s\n", state);
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/valid_zones", id);
	fixture_tree_write(&kernel->fixture.tree, path, "%s\n", zones);
}

static void complain(struct kernel *kernel)
{
	char lines[256];

	if (!kernel->busy_pfn)
		return;
	snprintf(lines, sizeof(lines),
		 "4,1,1,-;migrating pfn %" PRIx64 " failed ret:1\n"
		 "4,2,2,-;page:0 refcount:%u mapcount:1 mapping:0 index:0x0 pfn:%#" PRIx64 "\n",
		 kernel->busy_pfn, kernel->references, kernel->busy_pfn);
	fixture_tree_append(&kernel->fixture.tree, "/dev/kmsg", lines);
}

static long alarm_ms(void)
{
	struct itimerval timer;

	CHECK_INT(getitimer(ITIMER_REAL, &timer), 0);
	return timer.it_value.tv_sec * 1000 + timer.it_value.tv_usec / 1000;
}

static int write_block(struct kernel *kernel, unsigned id, const char *text)
{
	char path[96], word[16];

	kernel->writes++;
	kernel->alarms[id] = alarm_ms();
	snprintf(word, sizeof(word), "%u ", id);
	strncat(kernel->order, word, sizeof(kernel->order) - strlen(kernel->order) - 1);
	if ((int)id == kernel->vanish) {
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u", id);
		fixture_tree_remove(&kernel->fixture.tree, path);
		return -ENODEV;
	}
	if (kernel->comes_back && (int)id == kernel->comes_back + 1)
		set_block(kernel, id - 1, "online", "Movable");
	if ((int)id == kernel->cancel_at) {
		kernel->fixture.control.is_cancelled = true;
		return -EINTR;
	}
	if (strcmp(text, "offline") == 0) {
		if (kernel->busy[id]-- > 0) {
			complain(kernel);
			return -EBUSY;
		}
		set_block(kernel, id, "offline", "Movable Normal");
	} else {
		set_block(kernel, id, "online",
			  strcmp(text, "online_kernel") == 0 ? "Normal" : "Movable");
	}
	return 0;
}

static int on_write(void *user, const char *path, const char *text)
{
	struct kernel *kernel = user;
	unsigned id;

	if (sscanf(path, "/sys/devices/system/memory/memory%u/state", &id) == 1)
		return write_block(kernel, id, text);
	if (strstr(path, "/eject")) {
		if (kernel->is_eject_refused)
			fixture_tree_append(&kernel->fixture.tree, "/dev/kmsg",
					    "4,7,7,-;memory memory64000: Offline failed.\n"
					    "4,8,8,-;memory memory65: Offline failed.\n");
		if (kernel->is_eject_ignored || kernel->is_eject_refused)
			return 0;
		if (kernel->is_detached)
			return -ENODEV;
		/* drivers/acpi/scan.c acpi_scan_hot_remove: the memory is gone by then, and the device is not. */
		kernel->is_detached = kernel->firmware_refuses != NULL;
		if (kernel->firmware_refuses) {
			char lines[192];

			snprintf(lines, sizeof(lines),
				 "4,8,8,-;ACPI: \\x5c_SB_.MHPC.MP01: Eject failed (0x6)\n"
				 "4,9,9,-;ACPI: \\x5c_SB_.MHPC.MP00: %s\n",
				 kernel->firmware_refuses);
			fixture_tree_append(&kernel->fixture.tree, "/dev/kmsg", lines);
		} else {
			fixture_tree_write(&kernel->fixture.tree, "/sys/bus/acpi/devices/PNP0C80:00/status",
					   kernel->is_eject_left_in_slot ? "13\n" : "0\n");
		}
		for (id = 64; id < 68; id++) {
			char block[96];

			snprintf(block, sizeof(block), "/sys/devices/system/memory/memory%u", id);
			fixture_tree_remove(&kernel->fixture.tree, block);
			snprintf(block, sizeof(block), "/sys/bus/acpi/devices/PNP0C80:00/physical_node%.0u", id - 64);
			fixture_tree_remove(&kernel->fixture.tree, block);
		}
		return 0;
	}
	return -EACCES;
}

/* Blocks 64 to 67 of node 3, movable but the first. */
static struct kernel *setup(enum step_kind kind)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;

	job_fixture_init(fixture, kind);
	fixture_tree_write(&fixture->tree, "/sys/devices/system/node/node3/cpulist", "\n");
	for (unsigned id = 64; id < 68; id++)
		fixture_tree_add_block(&fixture->tree, id, 3, "online",
				       id == 64 ? "Normal" : "Movable");
	fixture->job.step.block_run_count = 1;
	fixture->job.step.block_runs[0].first = 64;
	fixture->job.step.block_runs[0].last = 67;
	fixture_tree_set_hooks(&fixture->tree, on_write, kernel);
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

static void check_state(struct kernel *kernel, unsigned id, const char *state, const char *zones)
{
	char path[96], text[64];

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", id);
	job_fixture_read(&kernel->fixture, path, text, sizeof(text));
	CHECK_STR(text, state);
	if (!zones)
		return;
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/valid_zones", id);
	job_fixture_read(&kernel->fixture, path, text, sizeof(text));
	CHECK_STR(text, zones);
}

/* As model_json_operation.c reads it for the result of a drain. */
static void check_told_offline(struct kernel *kernel, unsigned blocks)
{
	const json_t *told = json_object_get(kernel->fixture.result.values, "blocks_offline");

	CHECK_TRUE(json_is_integer(told));
	CHECK_INT(json_integer_value(told), blocks);
}

/* As measured_rate.c reads it: of those that the step itself took. */
static void check_told_taken(struct kernel *kernel, unsigned blocks)
{
	const json_t *values = kernel->fixture.result.values;

	CHECK_INT(json_integer_value(json_object_get(values, "taken_bytes")), blocks * BLOCK_BYTES);
	CHECK_INT(json_integer_value(json_object_get(values, "taken_us")) > 0, blocks > 0);
}

/* More blocks stay than a list has lines: they are told by their reasons, and none is without its own. */
static void test_many_stay(void)
{
	enum { MANY = 60 };
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct remainder *left;
	json_t *runs;

	kernel->fixture.job.step.block_runs[0].last = 64 + MANY - 1;
	for (unsigned id = 68; id < 64 + MANY; id++)
		fixture_tree_add_block(&kernel->fixture.tree, id, 3, "online", "Movable");
	/* There are no cgroups in the tree: none of them is tried. */
	kernel->fixture.job.cpuset_nodes = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	left = job_fixture_remainder(&kernel->fixture, REMAINDER_NO_CPUSET);
	CHECK_TRUE(left != NULL);
	if (left) {
		CHECK_INT(left->bytes, MANY * BLOCK_BYTES);
		CHECK_STR(left->object, "blocks 64-123");
	}
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	runs = json_object_get(kernel->fixture.result.values, "stayed");
	CHECK_INT(json_array_size(runs), 1);
	CHECK_INT(json_integer_value(json_object_get(json_array_get(runs, 0), "first")), 64);
	CHECK_INT(json_integer_value(json_object_get(json_array_get(runs, 0), "last")), 64 + MANY - 1);
	CHECK_STR(json_string_value(json_object_get(json_array_get(runs, 0), "code")), "no_cpuset");
	teardown(kernel);
}

static void test_offline_and_back(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	CHECK_INT(json_array_size(json_object_get(kernel->fixture.before, "blocks")), 2);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, 4 * BLOCK_BYTES);
	for (unsigned id = 64; id < 68; id++)
		check_state(kernel, id, "offline", NULL);
	check_told_offline(kernel, 4);
	check_told_taken(kernel, 4);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->writes, 4);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_state(kernel, 64, "online", "Normal");
	check_state(kernel, 67, "online", "Movable");
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->writes, 8);
	teardown(kernel);
}

/* It counts what is, not what the writes said. */
static void test_comes_back(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct remainder *left;

	kernel->comes_back = 66;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(kernel->fixture.result.bytes_done, 3 * BLOCK_BYTES);
	check_told_offline(kernel, 3);
	left = job_fixture_remainder(&kernel->fixture, REMAINDER_BLOCK_BUSY);
	CHECK_TRUE(left != NULL);
	if (left) {
		CHECK_STR(left->object, "block 66");
		CHECK_INT(left->bytes, BLOCK_BYTES);
	}
	teardown(kernel);
}

/* Block 65 is the emptiest, then 67; the others are equal. */
static void test_emptiest_first(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	uint64_t *flags = calloc(4 * 4096, sizeof(*flags));

	for (size_t i = 0; i < 4 * 4096; i++)
		flags[i] = i / 4096 == 1 || (i / 4096 == 3 && i % 2) ? 1 << 10 : 1 << 5;
	fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", 64 * 4096 * sizeof(*flags),
			      flags, 4 * 4096 * sizeof(*flags));
	free(flags);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_STR(kernel->order, "65 67 64 66 ");
	teardown(kernel);
}

/* The cancel comes while the second block is looked at. */
static void cancel_at_flags(void *user, const char *path)
{
	struct kernel *kernel = user;

	if (strcmp(path, "/proc/kpageflags") == 0 && ++kernel->looks == 2)
		kernel->fixture.control.is_cancelled = true;
}

static void test_cancel_while_it_looks(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	uint64_t *flags = calloc(4 * 4096, sizeof(*flags));
	const struct sysroot_hooks hooks = {.on_write = on_write, .on_open = cancel_at_flags, .user = kernel};

	fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", 64 * 4096 * sizeof(*flags),
			      flags, 4 * 4096 * sizeof(*flags));
	free(flags);
	sysroot_set_hooks(kernel->fixture.tree.sysroot, &hooks);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(kernel->looks, 2);
	CHECK_INT(kernel->writes, 0);
	teardown(kernel);
}

static void put_page(struct kernel *kernel, uint64_t pfn, uint64_t flags, uint64_t inode)
{
	fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpageflags", pfn * 8, &flags, 8);
	fixture_tree_write_at(&kernel->fixture.tree, "/proc/kpagecgroup", pfn * 8, &inode, 8);
}

#define BIT(n)	   (UINT64_C(1) << (n))
#define ANON	   (BIT(5) | BIT(12))
#define FIRST(id)  ((id)*UINT64_C(4096))
#define PAST_BLOCKS FIRST(68)

/* A cgroup with one process; returns its inode. */
static uint64_t add_holder(struct kernel *kernel)
{
	struct fixture_tree *tree = &kernel->fixture.tree;
	struct stat status = {0};
	char path[128];

	fixture_tree_write(tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(tree, "/sys/fs/cgroup/db/cgroup.procs", "80\n");
	fixture_tree_write(tree, "/proc/80/stat",
			   "80 (db) S 1 1 1 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 3 0 77 999 5 0\n");
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/db", tree->root);
	CHECK_INT(stat(path, &status), 0);
	put_page(kernel, PAST_BLOCKS, 0, 0);
	return status.st_ino;
}

static void check_stays(struct kernel *kernel, enum remainder_code code, const char *detail)
{
	const struct remainder *left;

	kernel->busy[66] = 99;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	left = job_fixture_remainder(&kernel->fixture, code);
	CHECK_TRUE(left != NULL);
	if (!left)
		return;
	CHECK_STR(left->object, "block 66");
	CHECK_INT(left->bytes, BLOCK_BYTES);
	CHECK_STR(left->detail, detail);
	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "online", "Movable");
}

static void test_holder_is_named(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	uint64_t pfn = FIRST(66) + 7, inode = add_holder(kernel);

	fixture_tree_write(&kernel->fixture.tree, "/dev/kmsg", "4,0,0,-;up\n");
	/* No page in the log: who has most of this block, not of its neighbours. */
	put_page(kernel, FIRST(66) - 1, ANON, 4242);
	put_page(kernel, FIRST(66) + 4096, ANON, 4242);
	put_page(kernel, pfn, ANON, inode);
	check_stays(kernel, REMAINDER_BLOCK_BUSY, "the kernel gave up: most of it is of process 80 (db) of cgroup /db");
	/* The page, which is another's than most of the block. */
	put_page(kernel, pfn + 1, ANON, 4242);
	put_page(kernel, pfn + 2, ANON, 4242);
	kernel->busy_pfn = pfn;
	kernel->references = 5;
	check_stays(kernel, REMAINDER_HOST_PROCESS,
		    "the kernel gave up: page 0x42007 has 5 references and 1 mappings, of process 80 (db) of cgroup /db");
	kernel->references = 2;
	check_stays(kernel, REMAINDER_HOST_PROCESS,
		    "the kernel gave up: page 0x42007 would not move, of process 80 (db) of cgroup /db");
	/* A guest's is pinned, and not a process' of the host. */
	fixture_tree_link(&kernel->fixture.tree, "/proc/80/fd/9", "anon_inode:kvm-vm");
	kernel->references = 5;
	check_stays(kernel, REMAINDER_PINNED,
		    "the kernel gave up: page 0x42007 has 5 references and 1 mappings, of process 80 (db) of cgroup /db");
	put_page(kernel, pfn, BIT(7), 0);
	check_stays(kernel, REMAINDER_PINNED,
		    "the kernel gave up: page 0x42007 has 5 references and 1 mappings, of the kernel's slab");
	/* A kernel that shows no flags. */
	fixture_tree_remove(&kernel->fixture.tree, "/proc/kpageflags");
	check_stays(kernel, REMAINDER_PINNED, "the kernel gave up: page 0x42007 has 5 references and 1 mappings");
	teardown(kernel);
}

/* The flags are looked at once for each block, once more for one with writeback, and then at each try. */
static void write_ends(void *user, const char *path)
{
	struct kernel *kernel = user;

	if (strcmp(path, "/proc/kpageflags") != 0)
		return;
	kernel->looks++;
	if (kernel->looks == kernel->written_from)
		put_page(kernel, FIRST(66) + 9, BIT(5) | BIT(8), 0);
	if (kernel->looks == kernel->written_until)
		put_page(kernel, FIRST(66) + 9, BIT(5), 0);
}

static void test_writeback(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct sysroot_hooks hooks = {.on_write = on_write, .on_open = write_ends, .user = kernel};
	const struct remainder *left;

	sysroot_set_hooks(kernel->fixture.tree.sysroot, &hooks);
	kernel->fixture.context.writeback_watch_ms = 1;
	put_page(kernel, PAST_BLOCKS, 0, 0);
	put_page(kernel, FIRST(66) + 9, BIT(5) | BIT(8), 0);
	put_page(kernel, FIRST(66) + 12, BIT(5) | BIT(8), 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_STR(kernel->order, "64 65 67 ");
	left = job_fixture_remainder(&kernel->fixture, REMAINDER_WRITEBACK);
	CHECK_TRUE(left != NULL);
	if (left)
		CHECK_STR(left->detail, "2 pages, the first 0x42009, under writeback for 1 ms: not tried");
	/* It is done while it is waited for: four looks at blocks, one at the pages, then one at each try. */
	put_page(kernel, FIRST(66) + 12, BIT(5), 0);
	for (unsigned again = 0; again < 2; again++) {
		for (unsigned id = 64; id < 68; id++)
			set_block(kernel, id, "online", "Movable");
		put_page(kernel, FIRST(66) + 9, BIT(5) | BIT(8), 0);
		kernel->order[0] = '\0';
		kernel->looks = 0;
		/* The second time not before the second round. */
		kernel->written_until = again ? 10 : 8;
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
		CHECK_STR(kernel->order, again ? "64 65 67 66 " : "64 65 66 67 ");
		CHECK_INT(kernel->looks, again ? 10 : 9);
	}
	teardown(kernel);
}

/* It begins when the block was looked at, and before its turn: four looks at blocks, and this is the third to be tried. */
static void test_writeback_that_comes_late(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct sysroot_hooks hooks = {.on_write = on_write, .on_open = write_ends, .user = kernel};

	sysroot_set_hooks(kernel->fixture.tree.sysroot, &hooks);
	kernel->fixture.context.writeback_watch_ms = 1;
	kernel->written_from = 7;
	put_page(kernel, PAST_BLOCKS, 0, 0);
	put_page(kernel, FIRST(66) + 9, BIT(5), 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_STR(kernel->order, "64 65 67 ");
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_WRITEBACK) != NULL);
	/* Most devices answer at once. */
	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "online", "Movable");
	put_page(kernel, FIRST(66) + 9, BIT(5), 0);
	kernel->order[0] = '\0';
	kernel->looks = 0;
	kernel->written_until = 8;
	kernel->fixture.context.writeback_watch_ms = 60000;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_STR(kernel->order, "64 65 66 67 ");
	teardown(kernel);
}

/* It refuses in each round. */
static void test_holder_is_looked_for_once(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct sysroot_hooks hooks = {.on_write = on_write, .on_open = write_ends, .user = kernel};
	uint64_t inode = add_holder(kernel);

	sysroot_set_hooks(kernel->fixture.tree.sysroot, &hooks);
	put_page(kernel, PAST_BLOCKS, 0, 0);
	put_page(kernel, FIRST(66) + 7, ANON, inode);
	kernel->busy[66] = 9;
	kernel->busy[65] = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_STR(kernel->order, "64 65 66 67 66 65 66 66 ");
	CHECK_TRUE(strstr(job_fixture_remainder(&kernel->fixture, REMAINDER_BLOCK_BUSY)->detail, "process 80 (db)") != NULL);
	/* Four blocks are looked at for their order, each at each of eight tries, and then the two that refuse. */
	CHECK_INT(kernel->looks, 14);
	teardown(kernel);
}

/* What is to be offline again waits for no device either. */
static void test_undo_with_writeback(void)
{
	struct kernel *kernel = setup(STEP_KIND_ONLINE_BLOCKS);

	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	kernel->fixture.job.step.zone = BLOCK_ZONE_MOVABLE;
	kernel->fixture.context.writeback_watch_ms = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	put_page(kernel, PAST_BLOCKS, 0, 0);
	put_page(kernel, FIRST(66) + 9, BIT(5) | BIT(8), 0);
	kernel->order[0] = '\0';
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_STR(kernel->order, "64 65 67 ");
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_WRITEBACK) != NULL);
	/* It has been written. */
	put_page(kernel, FIRST(66) + 9, BIT(5), 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_state(kernel, 66, "offline", NULL);
	teardown(kernel);
}

static void test_poisoned(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const json_t *warning;

	put_page(kernel, PAST_BLOCKS, 0, 0);
	put_page(kernel, FIRST(65) + 3, BIT(19), 0);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	warning = json_array_get(json_object_get(kernel->fixture.result.values, "warnings"), 0);
	CHECK_STR(json_string_value(json_object_get(warning, "code")), "poisoned");
	CHECK_STR(json_string_value(json_object_get(warning, "object")), "block 65");
	CHECK_INT(json_integer_value(json_object_get(warning, "bytes")), 4096);
	teardown(kernel);
}

static void test_busy_then_goes(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	kernel->busy[65] = 2;
	kernel->busy[66] = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	/* Changed order; a third round because the second got one. */
	CHECK_STR(kernel->order, "64 65 66 67 66 65 65 ");
	teardown(kernel);
}

static void test_stays_busy(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct remainder *remainder;

	kernel->busy[66] = 99;
	kernel->vanish = 67;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	/* The one that vanished is not online either. */
	CHECK_INT(kernel->fixture.result.bytes_done, 3 * BLOCK_BYTES);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	remainder = job_fixture_remainder(&kernel->fixture, REMAINDER_BLOCK_BUSY);
	CHECK_TRUE(remainder && remainder->bytes == BLOCK_BYTES);
	CHECK_STR(remainder ? remainder->object : NULL, "block 66");
	teardown(kernel);
}

static void test_cancel(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	kernel->cancel_at = 66;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(kernel->fixture.result.bytes_done, 2 * BLOCK_BYTES);
	CHECK_STR(kernel->order, "64 65 66 ");
	check_told_offline(kernel, 2);
	check_told_taken(kernel, 2);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	CHECK_INT(kernel->fixture.result.remainder.items[0].bytes, 2 * BLOCK_BYTES);
	teardown(kernel);
}

static void test_all_busy(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	kernel->busy[64] = kernel->busy[65] = kernel->busy[66] = kernel->busy[67] = 99;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_STR(kernel->fixture.result.failure.code, "block_busy");
	/* All may be let go of. */
	CHECK_INT(kernel->writes, 4 * BLOCK_RETRY_ROUNDS);
	check_told_offline(kernel, 0);
	check_told_taken(kernel, 0);
	teardown(kernel);
}

/* The kernel has named a page that does not move: no further try, while the other busy one has them. */
static void test_what_cannot_go_is_tried_once(void)
{
	for (unsigned again = 0; again < 2; again++) {
		struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

		fixture_tree_write(&kernel->fixture.tree, "/dev/kmsg", "4,0,0,-;up\n");
		kernel->busy_pfn = FIRST(66) + 7;
		kernel->references = again ? 2 : 5;
		kernel->busy[65] = 3;
		kernel->busy[66] = 99;
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
		CHECK_STR(kernel->order, again ? "64 65 66 67 66 65 65 66 66 65 " : "64 65 66 67 65 65 65 ");
		CHECK_TRUE(job_fixture_remainder(&kernel->fixture, again ? REMAINDER_BLOCK_BUSY : REMAINDER_PINNED) !=
			   NULL);
		teardown(kernel);
	}
}

/* A page that stays is named long before the time of a block is over. */
static void test_first_try_is_short(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	kernel->fixture.job.step.timeout_ms = 80000;
	kernel->busy[66] = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(kernel->alarms[65] > 0 && kernel->alarms[65] <= 10000);
	CHECK_TRUE(kernel->alarms[66] > 10000 && kernel->alarms[66] <= 80000);
	teardown(kernel);
}

/* There are no cgroups in the tree. To bring blocks online takes none. */
static void test_without_its_cpuset(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	kernel->fixture.job.cpuset_nodes = 1;
	set_block(kernel, 67, "offline", "Movable Normal");
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->writes, 0);
	CHECK_INT(kernel->fixture.result.remainder.count, 3);
	for (size_t i = 0; i < 3; i++) {
		CHECK_INT(kernel->fixture.result.remainder.items[i].code, REMAINDER_NO_CPUSET);
		CHECK_INT(kernel->fixture.result.remainder.items[i].bytes, BLOCK_BYTES);
	}
	set_block(kernel, 66, "offline", "Movable Normal");
	set_block(kernel, 67, "online", "Movable");
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_STR(kernel->order, "66 ");
	check_state(kernel, 66, "online", "Movable");
	check_state(kernel, 67, "online", NULL);
	CHECK_INT(kernel->fixture.result.remainder.count, 1);
	CHECK_INT(kernel->fixture.result.remainder.items[0].code, REMAINDER_NO_CPUSET);
	/* And none of it where nothing is planned. */
	kernel->fixture.job.cpuset_nodes = 0;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	teardown(kernel);
}

static void test_unknown_block(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	kernel->fixture.job.step.block_runs[0].last = 68;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_UNKNOWN_TARGET) != NULL);
	kernel->fixture.job.step.block_runs[0].last = UINT64_C(1) << 40;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	teardown(kernel);
}

/* Half-way, as after a crash. */
static void test_undo_of_a_part(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	set_block(kernel, 65, "offline", "Movable Normal");
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_state(kernel, 65, "online", "Movable");
	CHECK_INT(kernel->writes, 1);
	teardown(kernel);
}

/* Of which the step names only some by now. */
static void test_undo_of_some(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	kernel->fixture.job.step.block_runs[0].first = 66;
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_state(kernel, 65, "offline", NULL);
	check_state(kernel, 66, "online", "Movable");
	check_state(kernel, 67, "online", "Movable");
	CHECK_INT(kernel->writes, 2);
	teardown(kernel);
}

static void test_online(void)
{
	struct kernel *kernel = setup(STEP_KIND_ONLINE_BLOCKS);

	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	kernel->fixture.job.step.zone = BLOCK_ZONE_MOVABLE;
	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_state(kernel, 64, "online", "Movable");
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_state(kernel, 67, "offline", NULL);
	teardown(kernel);
}

/* A smaller DIMM was plugged in instead: what is there is online, and the rest is told by its bytes. */
static void test_undo_of_what_is_not_there(void)
{
	struct kernel *kernel = setup(STEP_KIND_OFFLINE_BLOCKS);
	const struct remainder *left;

	job_fixture_run(&kernel->fixture, WORKER_JOB_BEFORE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	fixture_tree_remove(&kernel->fixture.tree, "/sys/devices/system/memory/memory67");
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	check_state(kernel, 66, "online", "Movable");
	left = job_fixture_remainder(&kernel->fixture, REMAINDER_UNDO_FAILED);
	CHECK_STR(left ? left->object : "", "block 67");
	CHECK_INT(left ? left->bytes : 0, BLOCK_BYTES);
	/* Nobody can put it back by hand either. */
	CHECK_TRUE(left && strstr(left->way_out, "the block is lost"));
	teardown(kernel);
}

static struct kernel *setup_dimm(void)
{
	struct kernel *kernel = setup(STEP_KIND_EJECT);
	struct fixture_tree *tree = &kernel->fixture.tree;

	fixture_tree_write(tree, "/sys/bus/acpi/devices/PNP0C80:00/status", "15\n");
	fixture_tree_write(tree, "/sys/bus/acpi/devices/PNP0C80:00/path", "\\_SB_.MHPC.MP00\n");
	fixture_tree_write(tree, "/sys/bus/acpi/devices/PNP0C80:00/eject", "%s", "");
	for (unsigned i = 0; i < 4; i++) {
		char path[96], target[96];

		snprintf(path, sizeof(path), "/sys/bus/acpi/devices/PNP0C80:00/physical_node%.0u",
			 i);
		snprintf(target, sizeof(target), "../../../devices/system/memory/memory%u", 64 + i);
		fixture_tree_link(tree, path, target);
	}
	strcpy(kernel->fixture.job.step.dimm, "acpi-MP00");
	return kernel;
}

static void test_eject(void)
{
	struct kernel *kernel = setup_dimm();

	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_BLOCK_BUSY) != NULL);
	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(kernel->fixture.result.bytes_done, 4 * BLOCK_BYTES);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	job_fixture_run(&kernel->fixture, WORKER_JOB_UNDO);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_UNDO_FAILED) != NULL);
	strcpy(kernel->fixture.job.step.dimm, "acpi-MP07");
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_STR(kernel->fixture.result.failure.code, "unknown_target");
	teardown(kernel);
}

static void test_eject_without_effect(void)
{
	struct kernel *kernel = setup_dimm();

	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	kernel->is_eject_ignored = true;
	kernel->fixture.job.deadline_ms = 60;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	/* It may still come. */
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_EJECT_FAILED) != NULL);
	kernel->fixture.job.deadline_ms = 0;
	kernel->fixture.control.is_cancelled = true;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	/* Not even asked for. */
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	teardown(kernel);
}

/* The kernel's own word ends the waiting: it will not come. */
static void test_eject_refused(void)
{
	struct kernel *kernel = setup_dimm();
	const struct remainder *left;

	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	fixture_tree_write(&kernel->fixture.tree, "/dev/kmsg", "4,1,1,-;memory memory64: Offline failed.\n");
	kernel->is_eject_refused = true;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	left = job_fixture_remainder(&kernel->fixture, REMAINDER_EJECT_FAILED);
	CHECK_TRUE(left && strstr(left->detail, "block 65 ") != NULL);
	teardown(kernel);
}

/* Nor where the firmware keeps the device, which the kernel tells in other words: nothing is waited for then. */
static void test_eject_refused_by_firmware(void)
{
	static const char *const words[] = {"Eject incomplete - status 0xf", "Eject failed (0x5)", "No _EJ0 support for device"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct kernel *kernel = setup_dimm();
		const struct remainder *left;

		for (unsigned id = 64; id < 68; id++)
			set_block(kernel, id, "offline", "Movable Normal");
		fixture_tree_write(&kernel->fixture.tree, "/dev/kmsg", "4,1,1,-;memory memory64: online\n");
		kernel->firmware_refuses = words[i];
		/* No deadline: it would wait for ever. */
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		/* Not failed, which would have the blocks put back that are not there any more. */
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
		CHECK_INT(kernel->fixture.result.bytes_done, 0);
		left = job_fixture_remainder(&kernel->fixture, REMAINDER_EJECT_REFUSED);
		CHECK_TRUE(left && strstr(left->detail, words[i]) != NULL);
		CHECK_INT(left ? left->bytes : 0, 4 * BLOCK_BYTES);
		CHECK_TRUE(!job_fixture_remainder(&kernel->fixture, REMAINDER_EJECT_FAILED));
		/* As a worker finds it that is started again. */
		job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
		CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_EJECT_REFUSED) != NULL);
		teardown(kernel);
	}
}

/* By the kernel's own measure a device is out that is not enabled any more, whether or not it stands in its slot. */
static void test_eject_still_in_its_slot(void)
{
	struct kernel *kernel = setup_dimm();

	for (unsigned id = 64; id < 68; id++)
		set_block(kernel, id, "offline", "Movable Normal");
	kernel->is_eject_left_in_slot = true;
	kernel->fixture.job.deadline_ms = 500;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	teardown(kernel);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"eject_refused_by_firmware", test_eject_refused_by_firmware},
		{"eject_still_in_its_slot", test_eject_still_in_its_slot},
		{"many_stay", test_many_stay},
		{"offline_and_back", test_offline_and_back},
		{"undo_of_what_is_not_there", test_undo_of_what_is_not_there},
		{"comes_back", test_comes_back},
		{"emptiest_first", test_emptiest_first},
		{"cancel_while_it_looks", test_cancel_while_it_looks},
		{"holder_is_named", test_holder_is_named},
		{"writeback", test_writeback},
		{"writeback_that_comes_late", test_writeback_that_comes_late},
		{"holder_is_looked_for_once", test_holder_is_looked_for_once},
		{"undo_with_writeback", test_undo_with_writeback},
		{"poisoned", test_poisoned},
		{"busy_then_goes", test_busy_then_goes},
		{"stays_busy", test_stays_busy},
		{"cancel", test_cancel},
		{"all_busy", test_all_busy},
		{"what_cannot_go_is_tried_once", test_what_cannot_go_is_tried_once},
		{"first_try_is_short", test_first_try_is_short},
		{"without_its_cpuset", test_without_its_cpuset},
		{"unknown_block", test_unknown_block},
		{"undo_of_a_part", test_undo_of_a_part},
		{"undo_of_some", test_undo_of_some},
		{"online", test_online},
		{"eject", test_eject},
		{"eject_without_effect", test_eject_without_effect},
		{"eject_refused", test_eject_refused},
	};

	return unit_main("block_job", cases, sizeof(cases) / sizeof(cases[0]));
}
