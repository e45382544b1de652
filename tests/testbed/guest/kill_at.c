/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills ballast-agent in the middle of its work.
 *
 *   kill_at WORD [COUNT]
 *       as soon as a child of the process in /run/agent.pid writes a file whose path contains WORD,
 *       or, with COUNT, as many different ones have been written; prints the path
 *
 * What a child does is looked at through /proc, each quarter of a millisecond and with real-time
 * priority: a child that works in the kernel on the guest's only processor is interrupted where the
 * kernel lets itself be. /run/no-agent is made before the kill, so that no next agent starts by
 * itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_US	  250
#define PATHS_MAX 64
#define PATH_SIZE 256

struct watch {
	const char *word;
	unsigned wanted, count;
	char paths[PATHS_MAX][PATH_SIZE];
};

static int complain(const char *what)
{
	fprintf(stderr, "kill_at: %s: %s\n", what, strerror(errno));
	return 1;
}

/* The first line; false where there is none. */
static bool read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");
	bool any = file && fgets(line, size, file);

	if (file)
		fclose(file);
	return any;
}

/* Opened for writing: the agent's children read the same files. */
static bool is_written(pid_t pid, const char *number)
{
	char path[64 + NAME_MAX], line[64];
	unsigned long flags = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)pid, number);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "flags:", 6) == 0)
			flags = strtoul(line + 6, NULL, 8);
	fclose(file);
	return (flags & O_ACCMODE) != O_RDONLY;
}

static void note(struct watch *watch, const char *path)
{
	for (unsigned i = 0; i < watch->count; i++)
		if (strcmp(watch->paths[i], path) == 0)
			return;
	if (watch->count < PATHS_MAX)
		strcpy(watch->paths[watch->count++], path);
}

/* A process may end while it is looked at. */
static void look_at(struct watch *watch, pid_t pid)
{
	char name[64], path[sizeof(name) + 1 + NAME_MAX], target[PATH_SIZE];
	struct dirent *entry;
	DIR *directory;

	snprintf(name, sizeof(name), "/proc/%d/fd", (int)pid);
	directory = opendir(name);
	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
		ssize_t length = readlink(path, target, sizeof(target) - 1);

		if (length <= 0)
			continue;
		target[length] = '\0';
		if (strstr(target, watch->word) && is_written(pid, entry->d_name))
			note(watch, target);
	}
	closedir(directory);
}

static void look(struct watch *watch, pid_t agent)
{
	char path[64], line[256];
	char *rest = line;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)agent, (int)agent);
	if (!read_line(path, line, sizeof(line)))
		return;
	for (long pid = strtol(rest, &rest, 10); pid > 0; pid = strtol(rest, &rest, 10))
		look_at(watch, (pid_t)pid);
}

int main(int argc, char **argv)
{
	static struct watch watch = {.wanted = 1};
	struct sched_param priority = {.sched_priority = 1};
	char line[32];

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: kill_at WORD [COUNT]\n");
		return 2;
	}
	watch.word = argv[1];
	if (argc == 3)
		watch.wanted = (unsigned)strtoul(argv[2], NULL, 10);
	if (!read_line("/run/agent.pid", line, sizeof(line)))
		return complain("/run/agent.pid");
	pid_t agent = (pid_t)strtol(line, NULL, 10);

	if (agent <= 1 || kill(agent, 0) < 0)
		return complain("the agent");
	if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
		return complain("sched_setscheduler");
	while (watch.count < watch.wanted) {
		if (kill(agent, 0) < 0)
			return complain("the agent ended by itself");
		look(&watch, agent);
		if (watch.count < watch.wanted)
			usleep(LOOK_US);
	}
	int fd = open("/run/no-agent", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return complain("/run/no-agent");
	close(fd);
	if (kill(agent, SIGKILL) < 0)
		return complain("kill");
	printf("%s\n", watch.paths[watch.count - 1]);
	return 0;
}
