/* SPDX-License-Identifier: Apache-2.0 */
#include "child_job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cleanup.h"

/* How often to look for the child's end where the kernel has no pidfd. */
#define LOOK_MS 50

void child_job_init(struct child_job *job, int close_fd)
{
	*job = (struct child_job){
		.pid_fd = -1, .result_fd = -1, .close_fd = close_fd, .close_listener = -1};
}

static void forget(struct child_job *job)
{
	cleanup_close(&job->pid_fd);
	cleanup_close(&job->result_fd);
	int close_listener = job->close_listener;

	child_job_init(job, job->close_fd);
	job->close_listener = close_listener;
}

/* A child that has not made its group yet, or died before, is reached by its own number. */
static void kill_all(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

void child_job_done(struct child_job *job)
{
	if (job->pid > 0) {
		kill_all(job->pid);
		/* A stuck child becomes init's. */
		waitpid(job->pid, NULL, WNOHANG);
	}
	forget(job);
}

static void run_child(struct child_job *job, pid_t parent, int result_fd,
		      struct child_job_result (*run)(void *argument), void *argument)
	__attribute__((noreturn));

static void run_child(struct child_job *job, pid_t parent, int result_fd,
		      struct child_job_result (*run)(void *argument), void *argument)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	if (job->close_fd >= 0)
		close(job->close_fd);
	if (job->close_listener >= 0)
		close(job->close_listener);
	struct child_job_result result = run(argument);

	_exit(write(result_fd, &result, sizeof(result)) == sizeof(result) ? 0 : 1);
}

int child_job_start(struct child_job *job, struct child_job_result (*run)(void *argument),
		    void *argument, uint64_t deadline_ms)
{
	int ends[2];
	pid_t parent = getpid();

	if (job->pid > 0)
		return -EBUSY;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid < 0) {
		int error = errno;

		close(ends[0]);
		close(ends[1]);
		return -error;
	}
	if (pid == 0)
		run_child(job, parent, ends[1], run, argument);
	close(ends[1]);
	job->pid = pid;
	job->result_fd = ends[0];
	job->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	job->deadline_ms = deadline_ms;
	job->killed = false;
	return 0;
}

void child_job_kill(struct child_job *job, uint64_t now_ms)
{
	if (job->pid == 0 || job->killed)
		return;
	kill_all(job->pid);
	job->killed = true;
	job->killed_ms = now_ms;
}

enum child_job_state child_job_poll(struct child_job *job, uint64_t now_ms,
				    struct child_job_result *ret_result)
{
	struct child_job_result result;

	if (job->pid == 0)
		return CHILD_JOB_IDLE;
	pid_t ended = waitpid(job->pid, NULL, WNOHANG);

	if (ended == job->pid || (ended < 0 && errno == ECHILD)) {
		bool killed = job->killed;
		/* A pipe takes a message of this size whole or not at all. */
		bool has_result = read(job->result_fd, &result, sizeof(result)) == sizeof(result);

		forget(job);
		if (!has_result)
			return killed ? CHILD_JOB_KILLED : CHILD_JOB_CRASHED;
		*ret_result = result;
		return CHILD_JOB_DONE;
	}
	if (now_ms >= job->deadline_ms)
		child_job_kill(job, now_ms);
	return job->killed && now_ms - job->killed_ms >= CHILD_JOB_STUCK_MS ? CHILD_JOB_STUCK
									    : CHILD_JOB_RUNNING;
}

bool child_job_is_idle(const struct child_job *job)
{
	return job->pid == 0;
}

uint64_t child_job_deadline(const struct child_job *job, uint64_t now_ms)
{
	if (job->pid == 0)
		return UINT64_MAX;
	if (job->pid_fd < 0)
		return now_ms + LOOK_MS;
	if (!job->killed)
		return job->deadline_ms;
	/* Once stuck, nothing but its end matters. */
	return now_ms - job->killed_ms < CHILD_JOB_STUCK_MS ? job->killed_ms + CHILD_JOB_STUCK_MS
							    : UINT64_MAX;
}
