/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fixture_tree.h"
#include "scratch.h"
#include "unit.h"

/* The kernel's word on three processes: a worker, one that was given a worker's number, and one that is reaped late. */
static void write_process(struct fixture_tree *tree, int pid, const char *name, char state, unsigned start_time)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fixture_tree_write(tree, path, "%d (%s) %c 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0 0\n", pid, name, state,
			   start_time);
}

static const char *lock_path(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/workers.lock", scratch_folder());
	return path;
}

static bool is_there(int pid)
{
	char path[160];

	snprintf(path, sizeof(path), "%s.%d", lock_path(), pid);
	return access(path, F_OK) == 0;
}

static void write_text(int pid, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s.%d", lock_path(), pid);
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static struct worker_job *job_of(enum worker_job_kind kind, enum step_kind step)
{
	struct worker_job *job = calloc(1, sizeof(*job));

	job->kind = kind;
	step_init(&job->step, step);
	return job;
}

static void test_what_a_worker_does(void)
{
	struct fixture_tree tree;
	struct worker_job *job = job_of(WORKER_JOB_UNDO, STEP_KIND_HOST_POOL);
	struct worker_record record, *records = NULL;
	struct failure failure = {0};
	size_t count = 0;

	fixture_tree_init(&tree);
	write_process(&tree, 71, "ballast-worker", 'D', 1234);
	strcpy(job->step.guest, "11111111-1111-1111-1111-111111111111");
	job->step.node = 3;
	job->step.page_bytes = 2 << 20;
	CHECK_INT(worker_record_of(tree.sysroot, 70, job, &record), -ESRCH);
	CHECK_INT(worker_record_of(tree.sysroot, 71, job, &record), 0);
	CHECK_TRUE(worker_record_changes(&record));
	CHECK_INT(worker_record_write(lock_path(), &record), 0);
	CHECK_INT(worker_record_list(lock_path(), tree.sysroot, &records, &count, &failure), 0);
	CHECK_INT(count, 1);
	if (count == 1) {
		CHECK_INT(records[0].pid, 71);
		CHECK_INT(records[0].start_time, 1234);
		CHECK_INT(records[0].job, WORKER_JOB_UNDO);
		CHECK_INT(records[0].step, STEP_KIND_HOST_POOL);
		CHECK_STR(records[0].guest, job->step.guest);
		CHECK_INT(records[0].node, 3);
		CHECK_INT(records[0].page_bytes, 2 << 20);
		CHECK_TRUE(strstr(records[0].text, "undo of host_pool") == records[0].text);
	}
	free(records);
	worker_record_remove(lock_path(), 71);
	CHECK_TRUE(!is_there(71));
	/* One that only looks. */
	job->kind = WORKER_JOB_SURVEY;
	CHECK_INT(worker_record_of(tree.sysroot, 71, job, &record), 0);
	CHECK_INT(record.step, STEP_KIND_COUNT);
	CHECK_TRUE(!worker_record_changes(&record));
	CHECK_INT(worker_record_write(lock_path(), &record), 0);
	CHECK_INT(worker_record_list(lock_path(), tree.sysroot, &records, &count, &failure), 0);
	CHECK_INT(count, 1);
	if (count == 1)
		CHECK_INT(records[0].step, STEP_KIND_COUNT);
	free(records);
	worker_record_remove(lock_path(), 71);
	free(job);
	fixture_tree_done(&tree);
}

/* A number says nothing: it was given to another, or its process waits to be reaped. */
static void test_those_that_have_gone(void)
{
	struct fixture_tree tree;
	struct worker_job *job = job_of(WORKER_JOB_STEP, STEP_KIND_OFFLINE_BLOCKS);
	struct worker_record record, *records = NULL;
	struct failure failure = {0};
	size_t count = 7;

	fixture_tree_init(&tree);
	for (int pid = 71; pid < 74; pid++) {
		write_process(&tree, pid, "ballast-worker", 'D', 1000);
		CHECK_INT(worker_record_of(tree.sysroot, pid, job, &record), 0);
		CHECK_INT(worker_record_write(lock_path(), &record), 0);
	}
	write_process(&tree, 71, "ballast-worker", 'D', 1001);
	write_process(&tree, 72, "ballast-worker", 'Z', 1000);
	fixture_tree_remove(&tree, "/proc/73");
	CHECK_INT(worker_record_list(lock_path(), tree.sysroot, &records, &count, &failure), 0);
	CHECK_INT(count, 0);
	for (int pid = 71; pid < 74; pid++)
		CHECK_TRUE(!is_there(pid));
	free(records);
	free(job);
	fixture_tree_done(&tree);
}

/* The daemon was killed before it had written all of it, or was another version. */
static void test_what_cannot_be_read(void)
{
	static const char *const texts[] = {
		"", "{", "{\"pid\":71}",
		"{\"pid\":72,\"start_time\":5,\"job\":\"step\",\"step\":\"eject\",\"guest\":\"\",\"node\":-1,"
		"\"page_bytes\":0,\"text\":\"x\"}",
		"{\"pid\":71,\"start_time\":5,\"job\":\"step\",\"step\":\"dance\",\"guest\":\"\",\"node\":-1,"
		"\"page_bytes\":0,\"text\":\"x\"}",
	};
	struct fixture_tree tree;

	fixture_tree_init(&tree);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct worker_record *records = NULL;
		struct failure failure = {0};
		size_t count = 7;

		write_process(&tree, 71, "bash", 'S', 5);
		write_text(71, texts[i]);
		CHECK_INT(worker_record_list(lock_path(), tree.sysroot, &records, &count, &failure), 0);
		CHECK_TRUE(count == 0 && !is_there(71));
		free(records);
		/* It may be at anything. */
		write_process(&tree, 71, "ballast-worker", 'D', 5);
		write_text(71, texts[i]);
		CHECK_INT(worker_record_list(lock_path(), tree.sysroot, &records, &count, &failure), -EBADMSG);
		CHECK_TRUE(is_there(71) && failure.way_out[0]);
		worker_record_remove(lock_path(), 71);
	}
	/* A key more is no matter. */
	write_text(71, "{\"pid\":71,\"start_time\":5,\"job\":\"step\",\"step\":\"eject\",\"guest\":\"\",\"node\":-1,"
		       "\"page_bytes\":0,\"text\":\"x\",\"more\":1}");
	struct worker_record *records = NULL;
	struct failure failure = {0};
	size_t count = 0;

	CHECK_INT(worker_record_list(lock_path(), tree.sysroot, &records, &count, &failure), 0);
	CHECK_INT(count, 1);
	free(records);
	worker_record_remove(lock_path(), 71);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"what_a_worker_does", test_what_a_worker_does},
		{"those_that_have_gone", test_those_that_have_gone},
		{"what_cannot_be_read", test_what_cannot_be_read},
	};

	return unit_main("worker_record", cases, sizeof(cases) / sizeof(cases[0]));
}
