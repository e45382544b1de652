/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

extern char **environ;

/* The lowest descriptor that the ends may have before they are put in their places: dup2(3, 3)
 * keeps CLOEXEC. */
#define FIRST_FREE_FD (WORKER_SPAWN_LOCK_FD + 1)

static int raise_fd(int *fd)
{
	int raised = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

	if (raised < 0)
		return -errno;
	close(*fd);
	*fd = raised;
	return 0;
}

static int spawn(const char *program, int channel_fd, int lock_fd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t blocked, all;
	char parent[24];
	char *const arguments[] = {(char *)program, (char *)"--parent", parent, NULL};
	int rc;

	snprintf(parent, sizeof(parent), "%d", (int)getpid());
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigfillset(&all);
	rc = posix_spawn_file_actions_init(&actions);
	if (rc)
		return -rc;
	rc = posix_spawnattr_init(&attributes);
	if (rc) {
		posix_spawn_file_actions_destroy(&actions);
		return -rc;
	}
	rc = posix_spawn_file_actions_adddup2(&actions, channel_fd, WORKER_SPAWN_CHANNEL_FD);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&actions, lock_fd, WORKER_SPAWN_LOCK_FD);
	/*
	 * The daemon blocks and ignores signals of its own; a worker must be ended by them. SIGTERM
	 * waits until the worker has its handler, so that a cancel in the first instant is answered
	 * like any other.
	 */
	if (!rc)
		rc = posix_spawnattr_setsigmask(&attributes, &blocked);
	if (!rc)
		rc = posix_spawnattr_setsigdefault(&attributes, &all);
	if (!rc)
		rc = posix_spawnattr_setflags(&attributes,
					      POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!rc)
		rc = posix_spawn(ret_pid, program, &actions, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

int worker_spawn_start(const char *program, const char *lock_path, struct worker_spawn *ret_spawn,
		       struct failure *failure)
{
	CLEANUP_CLOSE int lock_fd =
		open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	CLEANUP_CLOSE int ours = -1;
	CLEANUP_CLOSE int theirs = -1;
	int pair[2], pidfd, rc;
	pid_t pid;

	if (lock_fd < 0)
		return failure_set(failure, errno, lock_path, "cannot open the workers' lock file");
	if (flock(lock_fd, LOCK_SH | LOCK_NB))
		return failure_set(failure, errno, lock_path, "cannot lock for a new worker");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return failure_set(failure, errno, program, "cannot make its socket pair");
	ours = pair[0];
	theirs = pair[1];
	rc = raise_fd(&theirs);
	if (!rc)
		rc = raise_fd(&lock_fd);
	if (!rc)
		rc = spawn(program, theirs, lock_fd, &pid);
	if (rc)
		return failure_set(failure, rc, program, "cannot start a worker");
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		rc = failure_set(failure, errno, program, "cannot watch the worker");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return rc;
	}
	*ret_spawn = (struct worker_spawn){
		.pid = pid,
		.pidfd = pidfd,
		.channel_fd = TAKE_FD(ours),
	};
	return 0;
}
