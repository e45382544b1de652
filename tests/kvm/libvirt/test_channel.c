/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "failure.h"
#include "scratch.h"
#include "unit.h"

static char directory[64];

/* A listening socket called name in the directory, whatever the length of its path. */
static int listen_at(const char *name, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(chdir(directory) == 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	assert(listen(fd, backlog) == 0);
	return fd;
}

static void test_open(void)
{
	char path[256], byte;
	int listener = listen_at("agent", 4), fd = -1, peer;

	snprintf(path, sizeof(path), "%s/agent", directory);
	CHECK_INT(channel_open(path, &fd, NULL), CHANNEL_OPEN);
	peer = accept(listener, NULL, NULL);
	assert(peer >= 0);
	CHECK_INT(read(fd, &byte, 1), -1);
	CHECK_INT(errno, EAGAIN);
	CHECK_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK_INT(write(peer, "x", 1), 1);
	CHECK_INT(read(fd, &byte, 1), 1);
	close(peer);
	CHECK_INT(read(fd, &byte, 1), 0);
	close(fd);
	/* The listener is gone, its file stays. */
	close(listener);
	CHECK_INT(channel_open(path, &fd, NULL), CHANNEL_NOT_LISTENING);
	unlink(path);
}

static void test_busy(void)
{
	char path[256];
	int listener = listen_at("busy", 0), first = -1, second = -1;
	struct failure failure = {0};

	snprintf(path, sizeof(path), "%s/busy", directory);
	CHECK_INT(channel_open(path, &first, &failure), CHANNEL_OPEN);
	CHECK_INT(channel_open(path, &second, &failure), CHANNEL_BUSY);
	CHECK_INT(second, -1);
	CHECK_STR(failure.cause, "others are already waiting for it");
	close(first);
	close(listener);
	unlink(path);
}

static void test_absent(void)
{
	struct failure failure = {0};
	char path[256];
	int fd = -1;

	snprintf(path, sizeof(path), "%s/absent", directory);
	CHECK_INT(channel_open(path, &fd, &failure), CHANNEL_NO_SOCKET);
	CHECK_STR(failure.object, path);
	CHECK_INT(failure.error, ENOENT);
	CHECK_INT(channel_open("", &fd, NULL), CHANNEL_NOT_LISTENING);
	snprintf(path, sizeof(path), "%s", directory);
	CHECK_INT(channel_open(path, &fd, NULL), CHANNEL_NOT_LISTENING);
}

static void test_long_path(void)
{
	char name[100], path[320];
	int listener, fd = -1;

	memset(name, 'n', sizeof(name));
	name[90] = '\0';
	listener = listen_at(name, 1);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	CHECK_TRUE(strlen(path) >= 108);
	CHECK_INT(channel_open(path, &fd, NULL), CHANNEL_OPEN);
	close(fd);
	close(listener);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s%s", directory, name, name);
	CHECK_INT(channel_open(path, &fd, NULL), CHANNEL_FAILED);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"open", test_open},
		{"busy", test_busy},
		{"absent", test_absent},
		{"long_path", test_long_path},
	};
	int result;

	snprintf(directory, sizeof(directory), "%s/channel.XXXXXX", scratch_folder());
	assert(mkdtemp(directory));
	result = unit_main("channel", cases, sizeof(cases) / sizeof(cases[0]));
	rmdir(directory);
	return result;
}
