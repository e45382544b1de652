/* SPDX-License-Identifier: Apache-2.0 */
#include "slow_write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sysroot_priv.h"

/* A tenth of what a cancel may take, for what comes before and after. */
#define ASK_MS 50
/* Longer than a compaction takes to see that it is to end; what does not see it is left to its end. */
#define END_MS 400

/* Of a process that may have had other threads: nothing but plain system calls. */
static _Noreturn void write_and_exit(int fd, pid_t parent, const char *text, size_t length)
{
	ssize_t written;

	/* Nobody else gives it up then. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(EINTR);
	/* It must not hold what tells others that its parent has ended: sockets and locks. */
	if (fd > 0)
		close_range(0, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, UINT_MAX, 0);
	written = write(fd, text, length);
	if (written < 0)
		_exit(errno > 0 && errno < 256 ? errno : EIO);
	_exit((size_t)written == length ? 0 : EIO);
}

/* What the child said, once it has ended. */
static int reap(int pidfd)
{
	siginfo_t info = {0};

	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED))
		return -errno;
	return info.si_code == CLD_EXITED ? -info.si_status : -EINTR;
}

static int wait_for(int pidfd, slow_write_go_on_fn *go_on, void *user)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	int rc = 0;

	while (!rc) {
		if (poll(&end, 1, go_on ? ASK_MS : -1) > 0)
			return reap(pidfd);
		rc = go_on ? go_on(user) : 0;
	}
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	if (poll(&end, 1, END_MS) > 0)
		reap(pidfd);
	return rc;
}

static pid_t start(int fd, const char *text)
{
	size_t length = strlen(text);
	sigset_t all, old;
	pid_t parent = getpid(), child;
	int error;

	/* A handler of ours must not run in it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	child = fork();
	if (child == 0)
		write_and_exit(fd, parent, text, length);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return child < 0 ? -error : child;
}

int slow_write_text(const struct sysroot *sysroot, const char *text, slow_write_go_on_fn *go_on, void *user,
		    const char *path, ...)
{
	char full[SYSROOT_PATH_SIZE];
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_CLOSE int pidfd = -1;
	va_list arguments;
	pid_t child;
	int length, error;

	va_start(arguments, path);
	length = vsnprintf(full, sizeof(full), path, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(full))
		return length < 0 ? -EINVAL : -ENAMETOOLONG;
	/* A fake keeps what it is told in this process. */
	if (sysroot_has_writer(sysroot))
		return sysroot_write_text(sysroot, text, "%s", full);
	fd = sysroot_open(sysroot, O_WRONLY, "%s", full);
	if (fd < 0)
		return fd;
	child = start(fd, text);
	if (child < 0)
		return child;
	pidfd = pidfd_open(child, 0);
	if (pidfd < 0) {
		error = errno;
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		return -error;
	}
	return wait_for(pidfd, go_on, user);
}
