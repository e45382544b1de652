/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>
#include "failure.h"

#define VSOCK_PORT_MIN 600
#define VSOCK_PORT_MAX 1023

static const char *const outcome_names[CHANNEL_OUTCOME_COUNT] = {
	[CHANNEL_OPEN] = "open",
	[CHANNEL_CONNECTING] = "connecting",
	[CHANNEL_NO_SOCKET] = "no_socket",
	[CHANNEL_NOT_LISTENING] = "not_listening",
	[CHANNEL_BUSY] = "busy",
	[CHANNEL_FAILED] = "failed",
};
NAME_TABLE_DEFINE(channel_outcome, outcome_names)

/*
 * A path of 108 characters and more does not fit into the address: then through /proc/self/fd of
 * its directory, which *directory_fd keeps open until the connect is done. Returns 0 or -errno.
 */
static int make_address(const char *path, struct sockaddr_un *address, int *directory_fd)
{
	const char *slash = strrchr(path, '/');
	char directory[4096];
	int length;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) < sizeof(address->sun_path)) {
		memcpy(address->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (!slash || (size_t)(slash - path) >= sizeof(directory))
		return -ENAMETOOLONG;
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
	*directory_fd = open(directory[0] ? directory : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*directory_fd < 0)
		return -errno;
	length = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s",
			  *directory_fd, slash + 1);
	return (size_t)length < sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

static enum channel_outcome fail(struct failure *failure, int error, const char *path)
{
	char object[FAILURE_OBJECT_SIZE];

	snprintf(object, sizeof(object), "%.90s", path);
	failure_set(failure, error, object, "cannot connect to the agent's channel");
	switch (error) {
	case ENOENT:
		return CHANNEL_NO_SOCKET;
	case ECONNREFUSED:
		return CHANNEL_NOT_LISTENING;
	case EAGAIN:
		/* A nonblocking connect to a unix socket never goes on later: net/unix/af_unix.c.
		 */
		failure_set_cause(failure, "others are already waiting for it");
		return CHANNEL_BUSY;
	default:
		return CHANNEL_FAILED;
	}
}

/* Below 1024, from the end that nobody has a reason to take. */
static int bind_privileged(int fd)
{
	for (unsigned port = VSOCK_PORT_MAX; port >= VSOCK_PORT_MIN; port--) {
		struct sockaddr_vm address = {
			.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};

		if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return -errno;
	}
	return -EADDRINUSE;
}

static enum channel_outcome open_vsock(const char *path, unsigned cid, unsigned port, int *ret_fd,
				       struct failure *failure)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	CLEANUP_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return fail(failure, errno, path);
	error = bind_privileged(fd);
	if (error < 0)
		return fail(failure, -error, path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
		return fail(failure, errno, path);
	*ret_fd = TAKE_FD(fd);
	return CHANNEL_CONNECTING;
}

enum channel_outcome channel_open(const char *path, int *ret_fd, struct failure *failure)
{
	unsigned cid, port;

	if (sscanf(path, CHANNEL_VSOCK_FORMAT, &cid, &port) == 2)
		return open_vsock(path, cid, port, ret_fd, failure);
	CLEANUP_CLOSE int fd = -1, directory_fd = -1;
	struct sockaddr_un address;
	int error = make_address(path, &address, &directory_fd);

	if (error < 0)
		return fail(failure, -error, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(failure, errno, path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fail(failure, errno, path);
	*ret_fd = TAKE_FD(fd);
	return CHANNEL_OPEN;
}
