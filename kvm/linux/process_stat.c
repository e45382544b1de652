/* SPDX-License-Identifier: Apache-2.0 */
#include "process_stat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "sysroot.h"

int process_stat_read(const struct sysroot *sysroot, pid_t pid, pid_t thread, struct process_stat *ret_stat)
{
	char text[2048];
	struct process_stat stat;
	const char *rest, *name;
	uint64_t resident = 0;
	int error = thread ? sysroot_read_text(sysroot, text, sizeof(text), "/proc/%d/task/%d/stat", (int)pid, (int)thread)
			   : sysroot_read_text(sysroot, text, sizeof(text), "/proc/%d/stat", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	/* The name may hold blanks and parentheses itself: the last one ends it. */
	rest = strrchr(text, ')');
	name = strchr(text, '(');
	if (!rest || !name || name > rest || sscanf(rest + 1,
			    " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
			    " %*s %*s %*s %*s %*s %*s %" SCNu64 " %*s %" SCNu64,
			    &stat.state, &stat.user_ticks, &stat.kernel_ticks, &stat.start_time, &resident) != 5)
		return -EBADMSG;
	snprintf(stat.name, sizeof(stat.name), "%.*s", (int)(rest - name - 1), name + 1);
	stat.resident_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
	*ret_stat = stat;
	return 0;
}
