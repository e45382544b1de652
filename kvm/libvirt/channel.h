/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the agent's port: the unix socket that QEMU listens on, as the live XML names
 * it.
 *
 * QEMU's chardev/char-socket.c shapes what a caller must expect:
 * - it serves one client. A second one connects (the backlog takes it) and hears nothing, so
 * silence after the greeting means that the channel is busy, and connecting proves nothing.
 * - a reset or reboot of the guest gives no end of file here. What is written while no agent has
 * the port open is kept and given to the next one, from its first byte.
 * - end of file means that QEMU is gone.
 */
#ifndef BALLAST_KVM_LIBVIRT_CHANNEL_H
#define BALLAST_KVM_LIBVIRT_CHANNEL_H

#include "name_table.h"

struct failure;

enum channel_outcome {
	CHANNEL_OPEN,
	CHANNEL_CONNECTING, /* by vsock: the descriptor is writable when it is decided, and SO_ERROR says how */
	CHANNEL_NO_SOCKET, /* nothing there: the guest stopped, or the path is from an older run */
	CHANNEL_NOT_LISTENING, /* a socket file without a listener */
	CHANNEL_BUSY,	       /* even the backlog is full: others are waiting before us */
	CHANNEL_FAILED,	       /* see failure->error */
	CHANNEL_OUTCOME_COUNT
};
NAME_TABLE_DECLARE(channel_outcome);

/* A guest's context id and the port there, in place of a path. */
#define CHANNEL_VSOCK_FORMAT "vsock:%u:%u"

/*
 * Connects to the socket at path without blocking. By vsock it comes from a port that only a privileged process has, which
 * is how the agent knows its host. *ret_fd, written only with CHANNEL_OPEN and CHANNEL_CONNECTING, is
 * nonblocking and CLOEXEC and the caller's. Paths longer than a socket address are reached through
 * their directory. failure may be NULL.
 */
enum channel_outcome channel_open(const char *path, int *ret_fd, struct failure *failure);

#endif
