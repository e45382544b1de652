/* SPDX-License-Identifier: Apache-2.0 */
#include "process_stat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "sysroot.h"

int process_stat_read(const struct sysroot *sysroot, pid_t pid, pid_t thread, struct process_stat *ret_stat)
{
	char text[2048];
	struct process_stat stat;
	const char *rest;
	int error = thread ? sysroot_read_text(sysroot, text, sizeof(text), "/proc/%d/task/%d/stat", (int)pid, (int)thread)
			   : sysroot_read_text(sysroot, text, sizeof(text), "/proc/%d/stat", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	/* The name may hold blanks and parentheses itself: the last one ends it. */
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
			    " %*s %*s %*s %*s %*s %*s %" SCNu64,
			    &stat.state, &stat.user_ticks, &stat.kernel_ticks, &stat.start_time) != 4)
		return -EBADMSG;
	*ret_stat = stat;
	return 0;
}
