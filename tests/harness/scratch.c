/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[SCRATCH_FOLDER_SIZE];

static int remove_one(const char *path, const struct stat *data, int kind, struct FTW *walk)
{
	remove(path);
	return 0;
}

/* A process beside the test's, out of reach of what ends that one. It holds nothing else that anybody waits for. */
static _Noreturn void await_end(int pidfd)
{
	struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};

	setsid();
	dup2(pidfd, STDIN_FILENO);
	close_range(STDIN_FILENO + 1, UINT_MAX, 0);
	while (poll(&end, 1, -1) < 0 && errno == EINTR)
		;
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	_exit(0);
}

/* It is no child of the test's, which may count its own. */
static void arrange_removal(void)
{
	int pidfd = pidfd_open(getpid(), 0);
	pid_t child;

	assert(pidfd >= 0);
	child = fork();
	assert(child >= 0);
	if (child == 0) {
		if (fork() == 0)
			await_end(pidfd);
		_exit(0);
	}
	assert(waitpid(child, NULL, 0) == child);
	close(pidfd);
}

const char *scratch_folder(void)
{
	const char *directory = getenv("TMPDIR");

	if (folder[0])
		return folder;
	if (!directory || strlen(directory) > 32)
		directory = "/tmp";
	snprintf(folder, sizeof(folder), "%s/ballast-test.XXXXXX", directory);
	assert(mkdtemp(folder));
	arrange_removal();
	return folder;
}
