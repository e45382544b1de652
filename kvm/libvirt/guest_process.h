/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process is a guest's QEMU. libvirt has no call for it.
 */
#ifndef BALLAST_KVM_LIBVIRT_GUEST_PROCESS_H
#define BALLAST_KVM_LIBVIRT_GUEST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct sysroot;

/*
 * Reads run/libvirt/qemu/NAME.pid and believes it only where that process's command line is of this
 * guest; where the file is missing, stale or of another guest, looks through proc for one whose is.
 * Returns 0; -ESRCH where there is none; -EINVAL for a name with a slash; -errno.
 * The number may be reused at any time: whoever acts on it holds a pidfd and asks again.
 */
int guest_process_find(const struct sysroot *sysroot, const char *name, const char *uuid,
		       pid_t *ret_pid);

/*
 * Whether the arguments (each ended by a NUL, as proc/PID/cmdline has them) are those libvirt gives
 * to QEMU for this guest: "-uuid" followed by uuid, or "-name" followed by "guest=NAME" with its
 * commas doubled. Where both stand there, both must agree.
 */
bool guest_process_cmdline_matches(const char *cmdline, size_t size, const char *name,
				   const char *uuid);

#endif
