/* SPDX-License-Identifier: Apache-2.0 */
#include "proof_job.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "job_fixture.h"
#include "page_move.h"
#include "proof_job_priv.h"

/* A kernel that says it moves pages. The microVM is a real one, where this machine has a KVM that runs guests. */
struct kernel {
	struct job_fixture fixture;
	struct page_move_ops ops;
	int node;      /* where all pages are */
	int full_node; /* -1: none */
	unsigned busy_calls; /* so many more find all pages held */
	uint64_t now_ns;
};

static long fake_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		      int *status)
{
	struct kernel *kernel = user;

	kernel->now_ns += 1000000;
	if (nodes[0] == kernel->full_node) {
		for (size_t i = 0; i < count; i++)
			status[i] = -ENOMEM;
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		status[i] = kernel->busy_calls ? -EBUSY : nodes[i];
	if (kernel->busy_calls)
		kernel->busy_calls--;
	else
		kernel->node = nodes[0];
	return 0;
}

static int fake_look(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places)
{
	struct kernel *kernel = user;

	for (size_t i = 0; i < count; i++)
		places[i] = kernel->node;
	return 0;
}

static uint64_t fake_now(void *user)
{
	struct kernel *kernel = user;

	return kernel->now_ns;
}

static struct kernel *setup(const char *backing, uint64_t page_bytes, uint64_t nodes)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct job_fixture *fixture = &kernel->fixture;
	struct step *step = &fixture->job.step;
	char path[64];

	job_fixture_init(fixture, STEP_KIND_PROOF);
	fixture_tree_write(&fixture->tree, "/proc/zoneinfo", "%s", "");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write(&fixture->tree, path, "%s", "");
	fixture_tree_write(&fixture->tree, "/sys/devices/system/node/online", "0-2\n");
	fixture_tree_write(&fixture->tree, "/sys/devices/system/node/has_memory", "0-2\n");
	for (unsigned node = 0; node < 3; node++) {
		fixture_tree_add_block(&fixture->tree, node, (int)node, "online", "Normal");
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
		fixture_tree_write(&fixture->tree, path,
				   "Node %u MemTotal: 16384 kB\nNode %u MemFree: 16384 kB\n", node,
				   node);
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/distance", node);
		fixture_tree_write(&fixture->tree, path, "10 20 20\n");
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
		fixture_tree_write(&fixture->tree, path, "%u\n", node);
	}
	kernel->full_node = -1;
	kernel->ops = (struct page_move_ops){
		.move = fake_move, .look = fake_look, .now_ns = fake_now, .user = kernel};
	fixture->context.move_ops = &kernel->ops;
	strcpy(step->text, backing);
	step->page_bytes = page_bytes;
	step->nodes = nodes;
	step->bytes = UINT64_C(1) << 20;
	return kernel;
}

static void teardown(struct kernel *kernel)
{
	job_fixture_done(&kernel->fixture);
	free(kernel);
}

/* False where no guest can run here: that is what the job says, too. */
static bool has_run(const struct kernel *kernel)
{
	const struct worker_result *result = &kernel->fixture.result;
	char text[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE];

	if (result->outcome != WORKER_OUTCOME_FAILED)
		return true;
	CHECK_TRUE(failure_is_set(&result->failure));
	printf("skip: %s\n", failure_format(&result->failure, text, sizeof(text)));
	return false;
}

static void test_pairs(void)
{
	struct proof_pair pairs[PROOF_PAIRS_MAX];
	size_t left_out;

	CHECK_INT(proof_job_pairs(0, pairs, &left_out), 0);
	CHECK_INT(proof_job_pairs(1 << 3, pairs, &left_out), 0);
	CHECK_INT(left_out, 0);
	CHECK_INT(proof_job_pairs(0x29, pairs, &left_out), 6);
	CHECK_INT(left_out, 0);
	/* There, and back at once: only the first of a pair may have to be made ready for. */
	CHECK_INT(pairs[0].from, 0);
	CHECK_INT(pairs[0].to, 3);
	CHECK_INT(pairs[1].from, 3);
	CHECK_INT(pairs[1].to, 0);
	CHECK_INT(pairs[5].from, 5);
	CHECK_INT(pairs[5].to, 3);
	CHECK_INT(proof_job_pairs(0xff, pairs, &left_out), 56);
	CHECK_INT(left_out, 0);
	CHECK_INT(proof_job_pairs(0x1ff, pairs, &left_out), 18);
	CHECK_INT(left_out, 72 - 18);
	CHECK_INT(proof_job_pairs(UINT64_MAX, pairs, &left_out), 128);
	CHECK_INT(left_out, 64 * 63 - 128);
}

static void test_fit(void)
{
	const uint64_t mib = UINT64_C(1) << 20;

	/* So quick that it cannot be measured, quick, as slow as may be, slower. */
	CHECK_INT(proof_job_fit(mib, 0, 4096, 16 * mib), 16 * mib);
	CHECK_INT(proof_job_fit(mib, 100, 4096, 16 * mib), 5 * mib);
	CHECK_INT(proof_job_fit(mib, 500, 4096, 16 * mib), mib);
	CHECK_INT(proof_job_fit(mib, 60000, 4096, 16 * mib), mib);
	/* 2.5 MiB, in whole pages. */
	CHECK_INT(proof_job_fit(2 * mib, 400, 2 * mib, 16 * mib), 2 * mib);
	CHECK_INT(proof_job_fit(mib, 300, 4096, 16 * mib) % 4096, 0);
}

/* What was asked for is tried small first; what the proof had is said, and each pair moved all of it. */
static void test_fitted(void)
{
	struct kernel *kernel = setup("memfd", 4096, 0x3);
	const json_t *values, *pairs;
	json_int_t bytes;

	kernel->fixture.job.step.bytes = UINT64_C(3) << 20;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	if (has_run(kernel)) {
		values = kernel->fixture.result.values;
		bytes = json_integer_value(json_object_get(values, "memory_bytes"));
		CHECK_TRUE(bytes >= 1 << 20 && bytes <= 3 << 20);
		CHECK_INT(bytes % 4096, 0);
		CHECK_INT(json_integer_value(json_object_get(values, "torn_words")), 0);
		pairs = json_object_get(values, "pairs");
		CHECK_INT(json_array_size(pairs), 2);
		for (size_t i = 0; i < 2; i++)
			CHECK_INT(json_integer_value(json_object_get(json_array_get(pairs, i),
								     "moved_bytes")),
				  bytes);
		CHECK_INT(kernel->fixture.result.bytes_done, 2 * (uint64_t)bytes);
	}
	teardown(kernel);
}

static void test_every_pair(void)
{
	struct kernel *kernel = setup("memfd", 4096, 0x5);
	const json_t *values, *pairs;

	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	if (has_run(kernel)) {
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
		values = kernel->fixture.result.values;
		CHECK_STR(json_string_value(json_object_get(values, "backing")), "memfd");
		CHECK_INT(json_integer_value(json_object_get(values, "torn_words")), 0);
		CHECK_TRUE(json_integer_value(json_object_get(values, "rounds")) >= 3);
		pairs = json_object_get(values, "pairs");
		CHECK_INT(json_array_size(pairs), 2);
		for (size_t i = 0; i < 2; i++) {
			const json_t *pair = json_array_get(pairs, i);

			CHECK_INT(json_integer_value(json_object_get(pair, "from")), i ? 2 : 0);
			CHECK_INT(json_integer_value(json_object_get(pair, "to")), i ? 0 : 2);
			CHECK_INT(json_integer_value(json_object_get(pair, "moved_bytes")), 1 << 20);
			CHECK_INT(json_integer_value(json_object_get(pair, "left_bytes")), 0);
			/* 1 MiB in one call of 1 ms. */
			CHECK_INT(json_integer_value(json_object_get(pair, "bytes_per_s")),
				  (1 << 20) * 1000);
			CHECK_TRUE(json_integer_value(json_object_get(pair, "longest_pause_us")) >
				   0);
		}
		CHECK_INT(json_integer_value(
				  json_array_get(json_object_get(values, "left_out_nodes"), 0)),
			  1);
		CHECK_INT(kernel->fixture.result.bytes_done, 2 << 20);
	}
	teardown(kernel);
}

static void test_no_room(void)
{
	struct kernel *kernel = setup("anon", 4096, 0x7);
	const struct remainder *left;
	const json_t *pairs;

	kernel->full_node = 1;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	if (has_run(kernel)) {
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
		left = job_fixture_remainder(&kernel->fixture, REMAINDER_NO_ROOM);
		CHECK_TRUE(left != NULL);
		CHECK_STR(left ? left->object : "", "node 0 to 1, anon");
		/* The other pairs are proved all the same. */
		pairs = json_object_get(kernel->fixture.result.values, "pairs");
		CHECK_INT(json_array_size(pairs), 6);
		CHECK_INT(json_integer_value(json_object_get(json_array_get(pairs, 0), "left_bytes")),
			  1 << 20);
		CHECK_INT(json_integer_value(json_object_get(json_array_get(pairs, 2), "left_bytes")),
			  0);
	}
	teardown(kernel);
}

/* What is held for a moment moves with a later try; what stays so is told, all of it. */
static void test_held(void)
{
	struct kernel *kernel = setup("memfd", 4096, 0x3);
	const struct worker_result *result = &kernel->fixture.result;

	/* Two for each try. */
	kernel->busy_calls = 7;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	if (has_run(kernel)) {
		CHECK_INT(kernel->busy_calls, 0);
		CHECK_INT(result->outcome, WORKER_OUTCOME_DONE);
		CHECK_INT(result->bytes_done, 2 << 20);
	}
	teardown(kernel);
	kernel = setup("memfd", 4096, 0x3);
	result = &kernel->fixture.result;
	kernel->busy_calls = UINT_MAX;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	/* Nothing is done of it: failed, but not for want of a guest. */
	if (result->remainder.count || has_run(kernel)) {
		CHECK_TRUE(job_fixture_remainder(&kernel->fixture, REMAINDER_PAGE_BUSY) != NULL);
		/* All is at node 0: to node 1 nothing goes. */
		CHECK_INT(remainder_list_bytes(&result->remainder), 1 << 20);
	}
	teardown(kernel);
}

static const char *skipped(const struct kernel *kernel)
{
	const char *text =
		json_string_value(json_object_get(kernel->fixture.result.values, "skipped"));

	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_DONE);
	return text ? text : "";
}

static void test_skipped(void)
{
	struct kernel *kernel = setup("hugetlb", UINT64_C(1) << 30, 0x4);

	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_STR(skipped(kernel), "no two nodes have free pages of 1 GiB, or room for them");
	teardown(kernel);
	/* Node 5 has no memory, whatever the step says. */
	kernel = setup("memfd", 4096, 0x21);
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_STR(skipped(kernel), "no two nodes have room");
	teardown(kernel);
	/* The page table in the tree shows no huge page. */
	kernel = setup("thp", UINT64_C(2) << 20, 0x7);
	kernel->fixture.job.step.bytes = UINT64_C(4) << 20;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	if (has_run(kernel))
		CHECK_STR(skipped(kernel), "the kernel gave 0 B of it as transparent huge pages");
	teardown(kernel);
}

static void test_unknown_backing(void)
{
	struct kernel *kernel = setup("floppy", 4096, 0x7);

	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_STR(kernel->fixture.result.failure.action, "cannot be made of \"floppy\"");
	teardown(kernel);
}

static void test_cancelled(void)
{
	struct kernel *kernel = setup("memfd", 4096, 0x7);

	kernel->fixture.control.is_cancelled = true;
	job_fixture_run(&kernel->fixture, WORKER_JOB_STEP);
	if (has_run(kernel))
		CHECK_INT(kernel->fixture.result.outcome, WORKER_OUTCOME_CANCELLED);
	teardown(kernel);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"pairs", test_pairs},
		{"fit", test_fit},
		{"fitted", test_fitted},
		{"every_pair", test_every_pair},
		{"no_room", test_no_room},
		{"held", test_held},
		{"skipped", test_skipped},
		{"unknown_backing", test_unknown_backing},
		{"cancelled", test_cancelled},
	};

	return unit_main("proof_job", cases, ARRAY_SIZE(cases));
}
