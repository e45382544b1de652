/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_pool.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cleanup.h"
#include "scratch.h"
#include "sysroot.h"
#include "unit.h"

/* Short, so that what must run into it does so at once; the rest never waits for it. */
#define GRACE_MS 150

struct fixture {
	struct event_base *base;
	struct worker_pool *pool;
	char lock_path[64];
	char order[16]; /* of the jobs that ended */
};

struct job_log {
	struct fixture *fixture;
	char name;
	unsigned results, progresses;
	struct worker_result result;
	char detail[WORKER_DETAIL_SIZE];
	uint64_t done_bytes;
	struct worker *worker;
};

static void setup(struct fixture *fixture, unsigned limit)
{
	struct failure failure = {0};
	struct worker_pool_options options = {
		.program = FAKE_WORKER, .limit = limit, .kill_grace_ms = GRACE_MS};

	memset(fixture, 0, sizeof(*fixture));
	snprintf(fixture->lock_path, sizeof(fixture->lock_path), "%s/workers", scratch_folder());
	fixture->base = event_base_new();
	options.base = fixture->base;
	options.lock_path = fixture->lock_path;
	CHECK_INT(worker_pool_new(&options, 0, &fixture->pool, &failure), 0);
}

static void teardown(struct fixture *fixture)
{
	worker_pool_free(fixture->pool);
	event_base_free(fixture->base);
	unlink(fixture->lock_path);
}

static void on_progress(void *user, uint64_t done_bytes, uint64_t total_bytes, const char *detail)
{
	struct job_log *log = user;

	(void)total_bytes;
	log->progresses++;
	log->done_bytes = done_bytes;
	snprintf(log->detail, sizeof(log->detail), "%s", detail);
	event_base_loopbreak(log->fixture->base);
}

static void on_result(void *user, const struct worker_result *result)
{
	struct job_log *log = user;

	log->results++;
	log->result = *result;
	if (result->values)
		json_incref(result->values);
	strncat(log->fixture->order, &log->name, 1);
	log->worker = NULL;
	event_base_loopbreak(log->fixture->base);
}

static void start_with(struct fixture *fixture, struct job_log *log, char name, const char *script,
		       const char *before, uint64_t deadline_ms, uint32_t silence_ms)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	struct failure failure = {0};
	char text[512];

	memset(log, 0, sizeof(*log));
	log->fixture = fixture;
	log->name = name;
	job->kind = before ? WORKER_JOB_UNDO : WORKER_JOB_STEP;
	job->deadline_ms = deadline_ms;
	job->silence_ms = silence_ms;
	step_init(&job->step, STEP_KIND_PROBE);
	snprintf(job->step.text, sizeof(job->step.text), "%s", script);
	job->before = before ? strdup(before) : NULL;
	if (worker_pool_start(fixture->pool, job, on_progress, on_result, log, &log->worker,
			      &failure))
		printf("  %s\n", failure_format(&failure, text, sizeof(text)));
	CHECK_TRUE(log->worker != NULL);
	worker_job_done(job);
	free(job);
}

static void start(struct fixture *fixture, struct job_log *log, char name, const char *script)
{
	start_with(fixture, log, name, script, NULL, 0, 0);
}

static void wait_result(struct fixture *fixture, struct job_log *log)
{
	while (log->worker)
		event_base_dispatch(fixture->base);
}

static void drop(struct job_log *log)
{
	if (log->result.values)
		json_decref(log->result.values);
}

static void test_result(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 2);
	start(&fixture, &log, 'a', "done");
	CHECK_TRUE(worker_pid(log.worker) > 0);
	CHECK_INT(log.results, 0);
	wait_result(&fixture, &log);
	CHECK_INT(log.results, 1);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(log.result.bytes_done, 7);
	teardown(&fixture);
}

static void test_long_values(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', "long");
	wait_result(&fixture, &log);
	CHECK_INT(json_array_size(log.result.values), 40000);
	CHECK_STR(json_string_value(json_array_get(log.result.values, 39999)), "\"item\" 39999");
	drop(&log);
	teardown(&fixture);
}

/* Larger than the socket's buffer in both directions. */
static void test_long_before(void)
{
	struct fixture fixture;
	struct job_log log;
	size_t length = 1 << 20;
	char *before = malloc(length + 1);

	for (size_t i = 0; i < length; i++)
		before[i] = (char)(i % 7 ? 'a' + i % 26 : '"');
	before[length] = '\0';
	setup(&fixture, 1);
	start_with(&fixture, &log, 'a', "echo_before", before, 0, 0);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(json_is_string(log.result.values) &&
		   strcmp(json_string_value(log.result.values), before) == 0);
	drop(&log);
	free(before);
	teardown(&fixture);
}

static void test_limit_keeps_order(void)
{
	struct fixture fixture;
	struct job_log first, second, third;

	setup(&fixture, 1);
	start(&fixture, &first, 'a', "listen");
	start(&fixture, &second, 'b', "done");
	start(&fixture, &third, 'c', "done");
	CHECK_INT(worker_pid(second.worker), 0);
	worker_cancel(first.worker);
	wait_result(&fixture, &third);
	CHECK_STR(fixture.order, "abc");
	CHECK_INT(first.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_INT(first.result.bytes_done, 7);
	teardown(&fixture);
}

static void test_cancel_waiting(void)
{
	struct fixture fixture;
	struct job_log first, second;

	setup(&fixture, 1);
	start(&fixture, &first, 'a', "listen");
	start(&fixture, &second, 'b', "done");
	worker_cancel(second.worker);
	worker_cancel(second.worker);
	CHECK_INT(second.results, 0);
	wait_result(&fixture, &second);
	CHECK_INT(second.results, 1);
	CHECK_INT(second.result.outcome, WORKER_OUTCOME_CANCELLED);
	worker_cancel(first.worker);
	wait_result(&fixture, &first);
	teardown(&fixture);
}

/* Until it has told so many times how far it is; the last time so. */
static void wait_progress(struct fixture *fixture, const struct job_log *log, unsigned times, const char *detail)
{
	while (log->progresses < times)
		event_base_dispatch(fixture->base);
	CHECK_STR(log->detail, detail);
}

static void test_talk(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', "listen");
	worker_limit(log.worker, 42, 10, 3);
	wait_progress(&fixture, &log, 1, "limit");
	CHECK_INT(log.done_bytes, 42);
	worker_pause(log.worker);
	wait_progress(&fixture, &log, 2, "pause");
	worker_resume(log.worker);
	wait_progress(&fixture, &log, 3, "resume");
	worker_cancel(log.worker);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_CANCELLED);
	teardown(&fixture);
}

/* Where it waits for a place it begins with the newest word. */
static void test_limit_before_its_turn(void)
{
	struct fixture fixture;
	struct job_log first, second;

	setup(&fixture, 1);
	start(&fixture, &first, 'a', "listen");
	start(&fixture, &second, 'b', "listen");
	worker_limit(second.worker, 42, 10, 7);
	worker_limit(second.worker, 21, 10, 3);
	worker_cancel(first.worker);
	wait_result(&fixture, &first);
	wait_progress(&fixture, &second, 1, "limit");
	CHECK_INT(second.done_bytes, 21);
	worker_pause(second.worker);
	wait_progress(&fixture, &second, 2, "pause");
	worker_cancel(second.worker);
	wait_result(&fixture, &second);
	teardown(&fixture);
}

static void check_died(const char *script, int error)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', script);
	wait_result(&fixture, &log);
	CHECK_INT(log.results, 1);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DIED);
	CHECK_INT(log.result.failure.error, error);
	CHECK_TRUE(remainder_list_has(&log.result.remainder, REMAINDER_WORKER_DIED));
	teardown(&fixture);
}

static void test_dies(void)
{
	check_died("die", EIO);
}

static void test_garbage(void)
{
	check_died("garbage", EINVAL);
}

static void test_too_large(void)
{
	check_died("large", EMSGSIZE);
}

static void test_killed_from_outside(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', "listen");
	kill(worker_pid(log.worker), SIGKILL);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DIED);
	CHECK_STR(log.result.failure.cause, "signal 9");
	teardown(&fixture);
}

static void test_ignores_terminate(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', "deaf");
	worker_cancel(log.worker);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_CANCELLED);
	CHECK_STR(log.result.failure.cause, "signal 9");
	teardown(&fixture);
}

static void test_lingers_after_result(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', "linger");
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DONE);
	teardown(&fixture);
}

static void test_deadline(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start_with(&fixture, &log, 'a', "deaf", NULL, 1, 0);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_CANCELLED);
	teardown(&fixture);
}

/* Its kernel call is stuck, for all that is known: it is killed, although it has all the time. */
static void test_silent(void)
{
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start_with(&fixture, &log, 'a', "deaf", NULL, 0, 30);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DIED);
	CHECK_STR(log.result.failure.cause, "it has said nothing for 30 ms");
	CHECK_TRUE(remainder_list_has(&log.result.remainder, REMAINDER_WORKER_DIED));
	/* Its time is over first. */
	start_with(&fixture, &log, 'a', "deaf", NULL, 1, 60000);
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_CANCELLED);
	teardown(&fixture);
}

/* What pauses need not say anything, and has as long again from when it goes on. */
static void test_silent_in_a_pause(void)
{
	struct timeval longer = {.tv_usec = 100000};
	struct fixture fixture;
	struct job_log log;

	setup(&fixture, 1);
	start_with(&fixture, &log, 'a', "deaf", NULL, 0, 30);
	worker_pause(log.worker);
	event_base_loopexit(fixture.base, &longer);
	event_base_dispatch(fixture.base);
	CHECK_INT(log.results, 0);
	worker_resume(log.worker);
	wait_result(&fixture, &log);
	CHECK_STR(log.result.failure.cause, "it has said nothing for 30 ms");
	teardown(&fixture);
}

/* The lock lives as long as a worker does, and a second daemon does not begin beside it. */
static void test_lock(void)
{
	struct fixture fixture;
	struct job_log log;
	struct worker_pool *second = NULL;
	struct failure failure = {0};
	int fd;

	setup(&fixture, 1);
	start(&fixture, &log, 'a', "lock");
	wait_result(&fixture, &log);
	CHECK_TRUE(json_is_true(log.result.values));
	drop(&log);
	struct worker_pool_options options = {.base = fixture.base,
					      .program = FAKE_WORKER,
					      .lock_path = fixture.lock_path,
					      .kill_grace_ms = GRACE_MS};
	CHECK_INT(worker_pool_new(&options, 1, &second, &failure), -EBUSY);
	CHECK_TRUE(second == NULL && failure_is_set(&failure));
	worker_pool_free(fixture.pool);
	fixture.pool = NULL;
	fd = open(fixture.lock_path, O_RDWR | O_CLOEXEC);
	CHECK_INT(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
	teardown(&fixture);
}

/* The kernel's processes, and no cgroups. */
static struct sysroot *processes(void)
{
	struct sysroot *sysroot = NULL;
	char root[96], link[128];

	snprintf(root, sizeof(root), "%s/root", scratch_folder());
	snprintf(link, sizeof(link), "%s/proc", root);
	CHECK_TRUE(mkdir(root, 0700) == 0 || errno == EEXIST);
	CHECK_TRUE(symlink("/proc", link) == 0 || errno == EEXIST);
	CHECK_INT(sysroot_new(root, &sysroot), 0);
	return sysroot;
}

struct gone {
	struct event_base *base;
	int pid;
	bool is_orphan;
};

static void on_stuck(void *user, const struct worker_stuck *stuck, bool is_gone)
{
	struct gone *gone = user;

	CHECK_TRUE(is_gone);
	gone->pid = stuck->record.pid;
	gone->is_orphan = stuck->is_orphan;
	event_base_loopbreak(gone->base);
}

/* A daemon that is killed while its worker is deaf to the end of the channel, as one in the kernel's hands is. */
static void leave_orphan(const struct sysroot *sysroot, const char *path)
{
	pid_t daemon = fork();

	if (daemon == 0) {
		struct fixture fixture = {.base = event_base_new()};
		struct worker_pool_options options = {.base = fixture.base, .program = FAKE_WORKER, .lock_path = path,
						      .limit = 1, .kill_grace_ms = GRACE_MS, .sysroot = sysroot};
		struct failure failure = {0};
		struct job_log log;

		if (worker_pool_new(&options, 1000, &fixture.pool, &failure))
			_exit(1);
		start(&fixture, &log, 'a', "deaf");
		_exit(log.worker ? 0 : 1);
	}
	int status = -1;

	CHECK_TRUE(waitpid(daemon, &status, 0) == daemon && status == 0);
}

static void touch(const char *path)
{
	CHECK_INT(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
}

static void test_orphan(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = processes();
	struct gone gone = {0};
	struct fixture fixture = {0};
	struct failure failure = {0};
	struct worker_pool_options options = {.program = FAKE_WORKER, .limit = 1, .kill_grace_ms = GRACE_MS,
					      .on_stuck = on_stuck, .user = &gone};
	const struct worker_stuck *stuck;
	struct job_log log;
	char record[128];
	int pid = 0;

	snprintf(fixture.lock_path, sizeof(fixture.lock_path), "%s/workers", scratch_folder());
	leave_orphan(sysroot, fixture.lock_path);
	fixture.base = gone.base = event_base_new();
	options.base = fixture.base;
	options.lock_path = fixture.lock_path;
	/* Who does not know what it does does not begin beside it. */
	CHECK_INT(worker_pool_new(&options, 1, &fixture.pool, &failure), -EBUSY);
	options.sysroot = sysroot;
	/* A daemon after a daemon. */
	for (int again = 0; again < 2; again++) {
		CHECK_INT(worker_pool_new(&options, 1, &fixture.pool, &failure), 0);
		stuck = worker_pool_stuck(fixture.pool, 0);
		CHECK_TRUE(stuck && stuck->is_orphan && !worker_pool_stuck(fixture.pool, 1));
		if (stuck) {
			CHECK_INT(stuck->record.step, STEP_KIND_PROBE);
			pid = stuck->record.pid;
		}
		if (!again)
			worker_pool_free(fixture.pool);
	}
	start(&fixture, &log, 'b', "done");
	wait_result(&fixture, &log);
	CHECK_INT(log.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(gone.pid, 0);
	snprintf(record, sizeof(record), "%s.%d", fixture.lock_path, pid);
	CHECK_INT(access(record, F_OK), 0);
	CHECK_INT(kill(pid, SIGKILL), 0);
	while (!gone.pid)
		event_base_dispatch(fixture.base);
	CHECK_TRUE(gone.pid == pid && gone.is_orphan);
	CHECK_TRUE(!worker_pool_stuck(fixture.pool, 0));
	CHECK_TRUE(access(record, F_OK) < 0);
	teardown(&fixture);
}

/* Of one that has ended nothing is left to be taken for a worker. */
static void test_record_goes(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = processes();
	struct fixture fixture;
	struct failure failure = {0};
	struct job_log log;
	char record[128];

	setup(&fixture, 1);
	worker_pool_free(fixture.pool);
	/* Nobody has the lock, so it is no worker's, though there is such a process. */
	snprintf(record, sizeof(record), "%s.%d", fixture.lock_path, (int)getpid());
	touch(record);
	CHECK_INT(worker_pool_new(&(struct worker_pool_options){.base = fixture.base, .program = FAKE_WORKER,
								.lock_path = fixture.lock_path, .limit = 1,
								.kill_grace_ms = GRACE_MS, .sysroot = sysroot},
				  0, &fixture.pool, &failure),
		  0);
	CHECK_TRUE(access(record, F_OK) < 0);
	for (int killed = 0; killed < 2; killed++) {
		start(&fixture, &log, 'a', "listen");
		snprintf(record, sizeof(record), "%s.%d", fixture.lock_path, worker_pid(log.worker));
		CHECK_INT(access(record, F_OK), 0);
		if (killed) {
			worker_pool_free(fixture.pool);
			fixture.pool = NULL;
		} else {
			worker_cancel(log.worker);
			wait_result(&fixture, &log);
		}
		CHECK_TRUE(access(record, F_OK) < 0);
	}
	teardown(&fixture);
}

static void test_free_kills(void)
{
	struct fixture fixture;
	struct job_log first, second;
	int pid;

	setup(&fixture, 1);
	start(&fixture, &first, 'a', "deaf");
	start(&fixture, &second, 'b', "done");
	pid = worker_pid(first.worker);
	worker_pool_free(fixture.pool);
	fixture.pool = NULL;
	CHECK_INT(first.results + second.results, 0);
	CHECK_TRUE(kill(pid, 0) < 0 && errno == ESRCH);
	teardown(&fixture);
}

static void test_no_program(void)
{
	struct fixture fixture;
	struct worker_job *job = calloc(1, sizeof(*job));
	struct worker *worker = NULL;
	struct failure failure = {0};
	struct worker_pool_options options = {.program = "/nonexistent/worker", .limit = 1};

	setup(&fixture, 1);
	worker_pool_free(fixture.pool);
	options.base = fixture.base;
	options.lock_path = fixture.lock_path;
	CHECK_INT(worker_pool_new(&options, 0, &fixture.pool, &failure), 0);
	CHECK_INT(worker_pool_start(fixture.pool, job, on_progress, on_result, NULL, &worker,
				    &failure),
		  -ENOENT);
	CHECK_STR(failure.object, "/nonexistent/worker");
	free(job);
	teardown(&fixture);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"result", test_result},
		{"long_values", test_long_values},
		{"long_before", test_long_before},
		{"limit_keeps_order", test_limit_keeps_order},
		{"limit_before_its_turn", test_limit_before_its_turn},
		{"cancel_waiting", test_cancel_waiting},
		{"talk", test_talk},
		{"dies", test_dies},
		{"garbage", test_garbage},
		{"too_large", test_too_large},
		{"killed_from_outside", test_killed_from_outside},
		{"ignores_terminate", test_ignores_terminate},
		{"lingers_after_result", test_lingers_after_result},
		{"deadline", test_deadline},
		{"silent", test_silent},
		{"silent_in_a_pause", test_silent_in_a_pause},
		{"lock", test_lock},
		{"orphan", test_orphan},
		{"record_goes", test_record_goes},
		{"free_kills", test_free_kills},
		{"no_program", test_no_program},
	};

	return unit_main("worker_pool", cases, sizeof(cases) / sizeof(cases[0]));
}
