/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One piece of work in a child process with a deadline. Writes to sysfs may block for ever
 * (mm/memory_hotplug.c offline_pages tries without limit) and end only by a signal, which must not
 * be the end of whoever wants it done.
 */
#ifndef BALLAST_BASE_CHILD_JOB_H
#define BALLAST_BASE_CHILD_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A child that is still there so long after SIGKILL is in the kernel and no signal reaches it. */
#define CHILD_JOB_STUCK_MS 10000

struct child_job_result {
	int32_t outcome; /* the job's own */
	int32_t error;	 /* errno or 0 */
};

enum child_job_state {
	CHILD_JOB_IDLE,
	CHILD_JOB_RUNNING,
	CHILD_JOB_DONE,	  /* *ret_result is set */
	CHILD_JOB_KILLED, /* at its deadline, or by child_job_kill() */
	CHILD_JOB_CRASHED,
	CHILD_JOB_STUCK, /* killed in vain; stays until the kernel lets go */
};

struct child_job {
	pid_t pid;     /* 0: none */
	int pid_fd;    /* owned; readable when the child ends; -1 where the kernel has none */
	int result_fd; /* owned */
	/* Borrowed; the child closes them, so that it does not hold the port; -1. */
	int close_fd, close_listener;
	uint64_t deadline_ms, killed_ms;
	bool killed;
};

void child_job_init(struct child_job *job, int close_fd);
/* Kills what runs and does not wait for what does not die. */
void child_job_done(struct child_job *job);

/* Runs run(argument) in a child until deadline_ms; what that child starts is in its process group and ends with it when
 * it is killed. 0, -EBUSY with one running, -errno. */
int child_job_start(struct child_job *job, struct child_job_result (*run)(void *argument),
		    void *argument, uint64_t deadline_ms);

/* Looks; kills at the deadline. DONE, KILLED and CRASHED are said once, then the job is idle. */
enum child_job_state child_job_poll(struct child_job *job, uint64_t now_ms,
				    struct child_job_result *ret_result);
void child_job_kill(struct child_job *job, uint64_t now_ms);
bool child_job_is_idle(const struct child_job *job);
/* When to call child_job_poll() if job->pid_fd does not say so before. */
uint64_t child_job_deadline(const struct child_job *job, uint64_t now_ms);

#endif
