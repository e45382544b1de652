/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "size_text.h"
#include "sysroot.h"

/* A guest of a thousand disks has some hundred KiB of arguments; the kernel allows 6 MiB. */
#define CMDLINE_MAX_BYTES (6u << 20)

/* What follows "guest=", up to the next single comma, against name; QEMU doubles the commas in a
 * value. */
static bool value_is_name(const char *value, const char *name)
{
	for (; *name; name++) {
		if (*value++ != *name)
			return false;
		if (*name == ',' && *value++ != ',')
			return false;
	}
	return *value == '\0' || (*value == ',' && value[1] != ',');
}

bool guest_process_cmdline_matches(const char *cmdline, size_t size, const char *name,
				   const char *uuid)
{
	const char *end = cmdline + size, *option = "";
	bool matches = false;

	for (const char *argument = cmdline; argument < end;) {
		size_t length = strnlen(argument, (size_t)(end - argument));

		if (argument + length == end)
			return false; /* cut off: the last one has no end */
		if (strcmp(option, "-uuid") == 0) {
			if (strcasecmp(argument, uuid) != 0)
				return false;
			matches = true;
		} else if (strcmp(option, "-name") == 0) {
			if (strncmp(argument, "guest=", 6) != 0 ||
			    !value_is_name(argument + 6, name))
				return false;
			matches = true;
		}
		option = argument;
		argument += length + 1;
	}
	return matches;
}

static bool process_matches(const struct sysroot *sysroot, uint64_t pid, const char *name,
			    const char *uuid)
{
	CLEANUP_FREE char *cmdline = NULL;
	size_t length;

	if (sysroot_read_all(sysroot, CMDLINE_MAX_BYTES, &cmdline, &length, "/proc/%llu/cmdline",
			     (unsigned long long)pid) < 0)
		return false;
	return guest_process_cmdline_matches(cmdline, length, name, uuid);
}

static int find_by_scan(const struct sysroot *sysroot, const char *name, const char *uuid,
			pid_t *ret_pid)
{
	struct sysroot_names names;
	int found = -ESRCH, error = sysroot_list(sysroot, &names, "/proc");

	if (error < 0)
		return error;
	for (size_t i = 0; found < 0 && i < names.count; i++) {
		int64_t pid = sysroot_name_number(names.names[i], "", "");

		if (pid > 0 && pid <= INT32_MAX &&
		    process_matches(sysroot, (uint64_t)pid, name, uuid)) {
			*ret_pid = (pid_t)pid;
			found = 0;
		}
	}
	sysroot_names_done(&names);
	return found;
}

int guest_process_find(const struct sysroot *sysroot, const char *name, const char *uuid,
		       pid_t *ret_pid)
{
	uint64_t pid;

	if (!name[0] || strchr(name, '/'))
		return -EINVAL;
	if (sysroot_read_number(sysroot, 10, &pid, "/run/libvirt/qemu/%s.pid", name) == 0 &&
	    pid > 0 && pid <= INT32_MAX && process_matches(sysroot, pid, name, uuid)) {
		*ret_pid = (pid_t)pid;
		return 0;
	}
	return find_by_scan(sysroot, name, uuid, ret_pid);
}
