/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before ballastd (LD_PRELOAD): kills it at an instant of its journal.
 *
 * There are two instants to each time that the journal is made durable: before the first write since the last time (what was
 * done by then is not written down yet), and before the sync (it is written down, and nobody has acted upon that). The file that
 * DIE_AT names holds a number of eight digits. Each instant takes one off it, and where none is left the file is removed and the
 * process gets SIGKILL. Without the file nothing is counted.
 *
 * What a process has written outlives it, synced or not: a loss of power is something else (VirtualHost.lose_power()).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOURNAL "/journal.db"

/* What SQLite writes and syncs with. */
static ssize_t (*next_pwrite64)(int, const void *, size_t, off64_t);
static int (*next_fdatasync)(int);
static _Atomic bool is_written;

__attribute__((constructor)) static void begin(void)
{
	next_pwrite64 = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
	next_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	/* Workers are as ever. */
	unsetenv("LD_PRELOAD");
}

static bool is_journal(int fd)
{
	char name[32], path[512];
	ssize_t length;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	length = readlink(name, path, sizeof(path) - 1);
	if (length <= 0)
		return false;
	path[length] = '\0';
	return strstr(path, JOURNAL) != NULL;
}

static void pass_instant(void)
{
	const char *name = getenv("DIE_AT");
	char text[24] = "";
	int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0) {
		unsigned long left = strtoul(text, NULL, 10);

		if (left <= 1) {
			unlink(name);
			kill(getpid(), SIGKILL);
		}
		snprintf(text, sizeof(text), "%08lu\n", left - 1);
		if (next_pwrite64(fd, text, strlen(text), 0) < 0)
			abort();
	}
	close(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	if (is_journal(fd) && !atomic_exchange(&is_written, true))
		pass_instant();
	return next_pwrite64(fd, data, size, offset);
}

int fdatasync(int fd)
{
	if (is_journal(fd) && atomic_exchange(&is_written, false))
		pass_instant();
	return next_fdatasync(fd);
}
