/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real program under the real pool, on this machine, with jobs that change nothing.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "process_identity.h"
#include "scratch.h"
#include "unit.h"
#include "worker_pool.h"

struct reply {
	struct event_base *base;
	struct worker_result result;
	bool is_there;
};

static void on_result(void *user, const struct worker_result *result)
{
	struct reply *reply = user;

	reply->result = *result;
	if (result->values)
		json_incref(result->values);
	reply->is_there = true;
	event_base_loopbreak(reply->base);
}

static void run(struct worker_job *job, struct reply *reply)
{
	struct worker_pool *pool = NULL;
	struct worker *worker = NULL;
	struct failure failure = {0};
	char lock_path[64];

	snprintf(lock_path, sizeof(lock_path), "%s/workers", scratch_folder());
	memset(reply, 0, sizeof(*reply));
	reply->base = event_base_new();
	struct worker_pool_options options = {.base = reply->base,
					      .program = BALLAST_WORKER,
					      .lock_path = lock_path,
					      .limit = 1,
					      .kill_grace_ms = 20000};

	CHECK_INT(worker_pool_new(&options, 0, &pool, &failure), 0);
	CHECK_INT(worker_pool_start(pool, job, NULL, on_result, reply, &worker, &failure), 0);
	while (worker && !reply->is_there)
		event_base_dispatch(reply->base);
	worker_pool_free(pool);
	event_base_free(reply->base);
	unlink(lock_path);
	worker_job_done(job);
	free(job);
}

static void test_probe(void)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	struct reply reply;

	job->kind = WORKER_JOB_STEP;
	step_init(&job->step, STEP_KIND_PROBE);
	run(job, &reply);
	CHECK_INT(reply.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(json_is_object(
		json_object_get(json_object_get(reply.result.values, "features"), "move_pages")));
	json_decref(reply.result.values);
}

/* Also a process that is gone, and one whose number was reused, end with that reason and nothing
 * else. */
static void test_survey_of_nobody(void)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	struct reply reply;

	job->kind = WORKER_JOB_SURVEY;
	job->process = (struct worker_process){getpid(), 1};
	run(job, &reply);
	CHECK_INT(reply.result.outcome, WORKER_OUTCOME_FAILED);
	CHECK_TRUE(remainder_list_has(&reply.result.remainder, REMAINDER_GUEST_GONE));
	CHECK_TRUE(!reply.result.values);
}

static void write_hook(const char *folder, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/10-a", folder);
	FILE *file = fopen(path, "we");

	CHECK_TRUE(file != NULL);
	fprintf(file, "#!/bin/sh\n%s\n", text);
	fclose(file);
	CHECK_INT(chmod(path, 0755), 0);
}

/* With the worker, as with a daemon that is killed, all that the hook has started ends, before another may begin. */
static void test_killed_with_a_hook(void)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	char folder[64], fifo[80], lock_path[64], command[80], byte = 0;
	struct reply reply = {.base = event_base_new()};
	struct worker_pool *pool = NULL;
	struct worker *worker = NULL;
	struct failure failure = {0};

	snprintf(folder, sizeof(folder), "/tmp/test-worker.XXXXXX");
	CHECK_TRUE(mkdtemp(folder) != NULL);
	snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
	CHECK_INT(mkfifo(fifo, 0600), 0);
	write_hook(folder, "exec 9>fifo; sleep 1000 & printf x >&9; wait");
	int reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	snprintf(lock_path, sizeof(lock_path), "%s/workers", scratch_folder());
	CHECK_INT(worker_pool_new(&(struct worker_pool_options){.base = reply.base,
								.program = BALLAST_WORKER,
								.lock_path = lock_path,
								.limit = 1,
								.kill_grace_ms = 20000},
				  0, &pool, &failure),
		  0);
	job->kind = WORKER_JOB_STEP;
	step_init(&job->step, STEP_KIND_HOST_HOOKS);
	snprintf(job->step.text, sizeof(job->step.text), "before");
	job->step.timeout_ms = 600000;
	snprintf(job->hook_directory, sizeof(job->hook_directory), "%s", folder);
	CHECK_INT(worker_pool_start(pool, job, NULL, on_result, &reply, &worker, &failure), 0);

	struct pollfd ready = {.fd = reader, .events = POLLIN};

	CHECK_INT(poll(&ready, 1, 60000), 1);
	CHECK_INT(read(reader, &byte, 1), 1);
	CHECK_INT(byte, 'x');
	CHECK_INT(kill(worker_pid(worker), SIGKILL), 0);
	while (!reply.is_there)
		event_base_dispatch(reply.base);
	CHECK_INT(reply.result.outcome, WORKER_OUTCOME_DIED);
	worker_pool_free(pool);
	/* What a daemon after this one waits for. */
	int lock = open(lock_path, O_RDWR | O_CLOEXEC);

	CHECK_INT(flock(lock, LOCK_EX), 0);
	close(lock);
	ready.events = 0;
	CHECK_INT(poll(&ready, 1, 60000), 1);
	CHECK_INT(ready.revents, POLLHUP);
	close(reader);
	event_base_free(reply.base);
	worker_job_done(job);
	free(job);
	unlink(lock_path);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	CHECK_INT(system(command), 0);
}

/* A worker does without huge pages; what its hooks start is not to inherit that. Whatever this process has, they have. */
static void test_hooks_have_huge_pages(void)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	char folder[64], command[128];
	struct reply reply;

	snprintf(folder, sizeof(folder), "/tmp/test-worker.XXXXXX");
	CHECK_TRUE(mkdtemp(folder) != NULL);
	write_hook(folder, "grep THP_enabled /proc/self/status >found");
	job->kind = WORKER_JOB_STEP;
	step_init(&job->step, STEP_KIND_HOST_HOOKS);
	snprintf(job->step.text, sizeof(job->step.text), "before");
	job->step.timeout_ms = 60000;
	snprintf(job->hook_directory, sizeof(job->hook_directory), "%s", folder);
	run(job, &reply);
	CHECK_INT(reply.result.outcome, WORKER_OUTCOME_DONE);
	snprintf(command, sizeof(command), "grep THP_enabled /proc/%d/status | cmp - %s/found", (int)getpid(), folder);
	CHECK_INT(system(command), 0);
	json_decref(reply.result.values);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	CHECK_INT(system(command), 0);
}

static void test_by_hand(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 2);
		close(3);
		execl(BALLAST_WORKER, BALLAST_WORKER, (char *)NULL);
		_exit(9);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 2);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"probe", test_probe},
		{"survey_of_nobody", test_survey_of_nobody},
		{"killed with a hook", test_killed_with_a_hook},
		{"hooks have huge pages", test_hooks_have_huge_pages},
		{"by_hand", test_by_hand},
	};

	return unit_main("worker_program", cases, sizeof(cases) / sizeof(cases[0]));
}
