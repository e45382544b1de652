/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel tells of a process, or of one of its threads, in /proc/PID/stat (proc(5)).
 */
#ifndef BALLAST_KVM_PROCESS_STAT_H
#define BALLAST_KVM_PROCESS_STAT_H

#include <stdint.h>
#include <sys/types.h>

struct sysroot;

struct process_stat {
	char name[16];			    /* field 2, cut as the kernel cuts it */
	char state;			    /* field 3 */
	uint64_t user_ticks, kernel_ticks; /* fields 14 and 15: clock ticks, guest's time in the former */
	uint64_t start_time;		    /* field 22: clock ticks after boot */
	uint64_t resident_bytes;	    /* field 24, without hugetlb; 0 for a thread of the kernel */
};

/* thread 0: of the process as a whole. -ESRCH where there is none; -EBADMSG; another -errno. */
int process_stat_read(const struct sysroot *sysroot, pid_t pid, pid_t thread, struct process_stat *ret_stat);

#endif
