/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is still the same one: move_pages(2) takes a number, and numbers are reused.
 */
#ifndef BALLAST_KVM_PROCESS_IDENTITY_H
#define BALLAST_KVM_PROCESS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sysroot;

struct process_identity {
	pid_t pid;
	int pidfd;	     /* owned; -1 where the kernel has no pidfd_open(2) */
	uint64_t start_time; /* clock ticks after boot, field 22 of /proc/PID/stat */
};

#define PROCESS_IDENTITY_NONE          \
	{                              \
		.pid = -1, .pidfd = -1 \
	}

/* -ESRCH where there is no such process; another -errno where it cannot be told. The caller calls
 * process_identity_done(). */
int process_identity_open(const struct sysroot *sysroot, pid_t pid,
			  struct process_identity *ret_identity);
/* The same, and -ESTALE where the process at pid did not start at start_time. */
int process_identity_open_expected(const struct sysroot *sysroot, pid_t pid, uint64_t start_time,
				   struct process_identity *ret_identity);
void process_identity_done(struct process_identity *identity);

/*
 * 0 while the process lives (a zombie does not) and is the one that was opened; -ESRCH where it is
 * not; another -errno where that could not be found out, which says nothing about it.
 */
int process_identity_check(const struct sysroot *sysroot, const struct process_identity *identity);
/* process_identity_check() gave 0. */
bool process_identity_is_same(const struct sysroot *sysroot,
			      const struct process_identity *identity);

int process_identity_read_start_time(const struct sysroot *sysroot, pid_t pid,
				     uint64_t *ret_start_time);

#endif
