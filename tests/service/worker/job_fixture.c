/* SPDX-License-Identifier: Apache-2.0 */
#include "job_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "clock.h"
#include "worker_jobs.h"

void job_fixture_init(struct job_fixture *fixture, enum step_kind kind)
{
	char path[64];

	memset(fixture, 0, sizeof(*fixture));
	fixture_tree_init(&fixture->tree);
	fixture_tree_write(&fixture->tree, "/sys/devices/system/memory/block_size_bytes",
			   "1000000\n");
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	fixture_tree_write(&fixture->tree, path,
			   "%d (qemu) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n",
			   (int)getpid(), JOB_FIXTURE_START_TIME);
	worker_control_init(&fixture->control, NULL);
	step_init(&fixture->job.step, kind);
	strcpy(fixture->job.step.guest_name, "g1");
	fixture->job.process = (struct worker_process){getpid(), JOB_FIXTURE_START_TIME};
	fixture->context = (struct job_context){
		.sysroot = fixture->tree.sysroot,
		.control = &fixture->control,
		.job = &fixture->job,
		.result = &fixture->result,
		.retry_pause_ms = 1,
	};
}

void job_fixture_done(struct job_fixture *fixture)
{
	fixture_tree_done(&fixture->tree);
	worker_result_done(&fixture->result);
	worker_job_done(&fixture->job);
	json_decref(fixture->before);
}

/* As service/operation/step_worker.c gives it back, which adds whose values they are. */
static char *write_before(const struct job_fixture *fixture)
{
	const struct worker_process *process = &fixture->job.process;
	json_t *before = json_copy(fixture->before);
	char *text;

	if (json_is_object(before))
		json_object_set_new(before, "process", json_pack("{s:i, s:I}", "pid", (int)process->pid, "start_time",
								 (json_int_t)process->start_time));
	text = json_dumps(before, 0);
	json_decref(before);
	return text;
}

void job_fixture_prepare(struct job_fixture *fixture, enum worker_job_kind kind)
{
	worker_result_done(&fixture->result);
	memset(&fixture->result, 0, sizeof(fixture->result));
	free(fixture->job.before);
	fixture->job.before = kind == WORKER_JOB_UNDO ? write_before(fixture) : NULL;
	fixture->job.kind = kind;
	fixture->context.stop = WORKER_CONTROL_GO;
}

void job_fixture_run(struct job_fixture *fixture, enum worker_job_kind kind)
{
	job_fixture_prepare(fixture, kind);
	worker_jobs_run(&fixture->context);
	if (kind == WORKER_JOB_BEFORE) {
		json_decref(fixture->before);
		fixture->before = json_incref(fixture->result.values);
	}
}

static void *cancel_in_child(void *argument)
{
	struct worker_control *control = argument;
	siginfo_t info;

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && errno == ECHILD)
		sched_yield();
	control->is_cancelled = true;
	return (void *)(uintptr_t)monotonic_ms();
}

uint64_t job_fixture_run_cancelled(struct job_fixture *fixture)
{
	pthread_t thread;
	void *cancelled_at_ms;

	CHECK_INT(pthread_create(&thread, NULL, cancel_in_child, &fixture->control), 0);
	job_fixture_run(fixture, WORKER_JOB_STEP);
	CHECK_INT(pthread_join(thread, &cancelled_at_ms), 0);
	return monotonic_ms() - (uintptr_t)cancelled_at_ms;
}

const struct remainder *job_fixture_remainder(const struct job_fixture *fixture,
					      enum remainder_code code)
{
	const struct remainder_list *list = &fixture->result.remainder;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].code == code)
			return &list->items[i];
	return NULL;
}

void job_fixture_read(struct job_fixture *fixture, const char *path, char *text, size_t size)
{
	struct sysroot *plain;

	CHECK_INT(sysroot_new(fixture->tree.root, &plain), 0);
	text[0] = '\0';
	sysroot_read_text(plain, text, size, "%s", path);
	sysroot_free(plain);
}
