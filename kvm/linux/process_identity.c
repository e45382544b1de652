/* SPDX-License-Identifier: Apache-2.0 */
#include "process_identity.h"

#include <poll.h>
#include <sys/syscall.h>
#include "cleanup.h"
#include "process_stat.h"

int process_identity_read_start_time(const struct sysroot *sysroot, pid_t pid,
				     uint64_t *ret_start_time)
{
	struct process_stat stat;
	int error = process_stat_read(sysroot, pid, 0, &stat);

	if (error == 0)
		*ret_start_time = stat.start_time;
	return error;
}

int process_identity_open(const struct sysroot *sysroot, pid_t pid,
			  struct process_identity *ret_identity)
{
	struct process_identity identity = PROCESS_IDENTITY_NONE;
	struct process_stat stat;
	int error;

	identity.pid = pid;
	identity.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* Without the call (ENOSYS) the start time alone tells. */
	if (identity.pidfd < 0 && errno != ENOSYS)
		return -errno;
	/* After the descriptor: what is read now belongs to it or to a process that came later. */
	error = process_stat_read(sysroot, pid, 0, &stat);
	identity.start_time = error == 0 ? stat.start_time : 0;
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
	struct process_stat stat;
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
	error = process_stat_read(sysroot, identity->pid, 0, &stat);
	if (error < 0)
		return error;
	return stat.state == 'Z' || stat.state == 'X' || stat.start_time != identity->start_time ? -ESRCH : 0;
}

bool process_identity_is_same(const struct sysroot *sysroot,
			      const struct process_identity *identity)
{
	return process_identity_check(sysroot, identity) == 0;
}
