/* SPDX-License-Identifier: Apache-2.0 */
#include "process_identity.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include "cleanup.h"
#include "sysroot.h"

/* The state letter and the start time: fields 3 and 22, counted after the name in parentheses. */
static int read_stat(const struct sysroot *sysroot, pid_t pid, char *ret_state,
		     uint64_t *ret_start_time)
{
	char text[2048], state;
	uint64_t start_time;
	const char *rest;
	int error = sysroot_read_text(sysroot, text, sizeof(text), "/proc/%d/stat", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	/* The name may hold blanks and parentheses itself: the last one ends it. */
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			    "%*s %*s %" SCNu64,
			    &state, &start_time) != 2)
		return -EBADMSG;
	*ret_state = state;
	*ret_start_time = start_time;
	return 0;
}

int process_identity_read_start_time(const struct sysroot *sysroot, pid_t pid,
				     uint64_t *ret_start_time)
{
	char state;

	return read_stat(sysroot, pid, &state, ret_start_time);
}

int process_identity_open(const struct sysroot *sysroot, pid_t pid,
			  struct process_identity *ret_identity)
{
	struct process_identity identity = PROCESS_IDENTITY_NONE;
	char state;
	int error;

	identity.pid = pid;
	identity.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* Without the call (ENOSYS) the start time alone tells. */
	if (identity.pidfd < 0 && errno != ENOSYS)
		return -errno;
	/* After the descriptor: what is read now belongs to it or to a process that came later. */
	error = read_stat(sysroot, pid, &state, &identity.start_time);
	if (error == 0 && (state == 'Z' || state == 'X'))
		error = -ESRCH;
	if (error == 0)
		error = process_identity_check(sysroot, &identity);
	if (error < 0) {
		process_identity_done(&identity);
		return error;
	}
	*ret_identity = identity;
	return 0;
}

int process_identity_open_expected(const struct sysroot *sysroot, pid_t pid, uint64_t start_time,
				   struct process_identity *ret_identity)
{
	struct process_identity identity;
	int error = process_identity_open(sysroot, pid, &identity);

	if (error < 0)
		return error;
	if (identity.start_time != start_time) {
		process_identity_done(&identity);
		return -ESTALE;
	}
	*ret_identity = identity;
	return 0;
}

void process_identity_done(struct process_identity *identity)
{
	if (identity->pidfd >= 0)
		close(identity->pidfd);
	*identity = (struct process_identity)PROCESS_IDENTITY_NONE;
}

int process_identity_check(const struct sysroot *sysroot, const struct process_identity *identity)
{
	uint64_t start_time;
	char state;
	int error;

	/* A pidfd becomes readable when its process ends. */
	if (identity->pidfd >= 0) {
		struct pollfd poll_entry = {.fd = identity->pidfd, .events = POLLIN};
		int ready = poll(&poll_entry, 1, 0);

		if (ready < 0)
			return -errno;
		if (ready > 0)
			return -ESRCH;
	}
	error = read_stat(sysroot, identity->pid, &state, &start_time);
	if (error < 0)
		return error;
	return state == 'Z' || state == 'X' || start_time != identity->start_time ? -ESRCH : 0;
}

bool process_identity_is_same(const struct sysroot *sysroot,
			      const struct process_identity *identity)
{
	return process_identity_check(sysroot, identity) == 0;
}
