/* SPDX-License-Identifier: Apache-2.0 */
#include "process_status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "sysroot.h"

/* Two lines are lists of CPUs and nodes: a few KiB on the largest hosts. */
#define STATUS_LIMIT ((size_t)64 << 10)

static uint64_t bytes_of(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	uint64_t kib;

	return line && sscanf(line + strlen(key), " %" SCNu64 " kB", &kib) == 1 ? kib * 1024 : 0;
}

/* "Name:\tqemu-system-x86\n", the first line. */
static void read_name(const char *text, char name[16])
{
	int length = 0;

	if (strncmp(text, "Name:\t", 6) == 0)
		length = (int)strcspn(text + 6, "\n");
	snprintf(name, 16, "%.*s", length > 15 ? 15 : length, text + (length ? 6 : 0));
}

int process_status_read(const struct sysroot *sysroot, pid_t pid, struct process_status *ret_status)
{
	CLEANUP_FREE char *text = NULL;
	struct process_status status = {0};
	int error = sysroot_read_all(sysroot, STATUS_LIMIT, &text, NULL, "/proc/%d/status", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	read_name(text, status.name);
	status.has_memory = strstr(text, "\nVmSize:") != NULL;
	status.locked_bytes = bytes_of(text, "\nVmLck:");
	status.pinned_bytes = bytes_of(text, "\nVmPin:");
	status.shared_bytes = bytes_of(text, "\nRssShmem:");
	status.huge_bytes = bytes_of(text, "\nHugetlbPages:");
	*ret_status = status;
	return 0;
}
