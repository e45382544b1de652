/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caller -- job's child, which reads what is said and waits -- the hook, and what it starts
 *
 * The child between keeps the caller from reading a pipe whose writer may outlive the hook; all three generations but the
 * caller are one process group. Where the caller is killed, that child takes the group along.
 */
#include "hook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cleanup.h"

/* How often to look for the hook's end where the kernel has no pidfd. */
#define LOOK_MS		 50
#define ENVIRONMENT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Root's, or whoever runs this, and written by nobody else: what runs here runs with all rights. */
static bool is_trusted(const struct stat *status)
{
	return (status->st_uid == 0 || status->st_uid == geteuid()) && !(status->st_mode & (S_IWGRP | S_IWOTH));
}

/* The kinds of names that editors and package managers leave beside a file. */
static bool is_leftover(const char *name)
{
	return name[0] == '.' || name[strlen(name) - 1] == '~' || strstr(name, ".dpkg-") || strstr(name, ".rpm");
}

static int add(struct hook_list *list, const char *name, const struct stat *status)
{
	struct hook_entry *grown = reallocarray(list->entries, list->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->entries = grown;
	grown[list->count] = (struct hook_entry){.name = strdup(name), .is_trusted = is_trusted(status)};
	if (!grown[list->count].name)
		return -ENOMEM;
	list->count++;
	return 0;
}

static int compare(const void *left, const void *right)
{
	return strcmp(((const struct hook_entry *)left)->name, ((const struct hook_entry *)right)->name);
}

void hook_list_done(struct hook_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->entries[i].name);
	free(list->entries);
	*list = (struct hook_list){0};
}

int hook_list_read(int directory_fd, struct hook_list *ret_list)
{
	CLEANUP(hook_list_done) struct hook_list list = {0};
	CLEANUP(cleanup_closedir) DIR *directory = NULL;
	struct stat status;
	/* Its own, whose place nobody else moves. */
	int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	directory = fdopendir(fd);
	if (!directory || fstat(fd, &status) < 0) {
		error = -errno;
		if (!directory)
			close(fd);
		return error;
	}
	list.is_trusted = is_trusted(&status);
	for (;;) {
		errno = 0;
		struct dirent *entry = readdir(directory);

		if (!entry && errno)
			return -errno;
		if (!entry)
			break;
		if (is_leftover(entry->d_name) || fstatat(fd, entry->d_name, &status, 0) < 0 ||
		    !S_ISREG(status.st_mode) || !(status.st_mode & S_IXUSR))
			continue;
		error = add(&list, entry->d_name, &status);
		if (error < 0)
			return error;
	}
	if (list.count)
		qsort(list.entries, list.count, sizeof(*list.entries), compare);
	*ret_list = list;
	list = (struct hook_list){0};
	return 0;
}

int hook_init(struct hook *hook)
{
	void *shared = mmap(NULL, HOOK_LINE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return -errno;
	hook->line = shared;
	return 0;
}

void hook_done(struct hook *hook)
{
	if (hook->line)
		munmap(hook->line, HOOK_LINE_SIZE);
	hook->line = NULL;
}

/* ---- in the child ---- */

struct run {
	const struct hook *hook;
	const struct hook_order *order;
	const char *name;
};

static void run_program(const struct run *run, int output) __attribute__((noreturn));

static void run_program(const struct run *run, int output)
{
	char program[300];
	const char *argv[HOOK_MORE_MAX + 3] = {program, run->order->argument};
	const char *environment[HOOK_ENVIRONMENT_MAX + 2] = {ENVIRONMENT_PATH};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* The caller's own protection from the OOM killer is not for whatever this starts. */
	int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (score >= 0 && write(score, "0", 1) < 0)
		close(score);
	for (size_t i = 0; i < HOOK_MORE_MAX && run->order->more && run->order->more[i]; i++)
		argv[i + 2] = run->order->more[i];
	for (size_t i = 0; i < HOOK_ENVIRONMENT_MAX && run->order->environment[i]; i++)
		environment[i + 1] = run->order->environment[i];
	snprintf(program, sizeof(program), "./%s", run->name);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	/* From its directory: so a script's interpreter finds it whatever the root is. */
	if (fchdir(run->order->directory_fd) == 0)
		execve(program, (char *const *)argv, (char *const *)environment);
	dprintf(STDERR_FILENO, "cannot be executed: %s\n", strerror(errno));
	_exit(127);
}

/* Keeps the last line that is not empty. */
struct last_line {
	char *to;
	char now[HOOK_LINE_SIZE];
	size_t length;
};

static void take_output(struct last_line *last, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\n') {
			last->length = 0;
			continue;
		}
		if (last->length == HOOK_LINE_SIZE - 1)
			continue;
		last->now[last->length++] = data[i];
		last->now[last->length] = '\0';
		memcpy(last->to, last->now, last->length + 1);
	}
}

/* Until the hook has ended. What it left running may hold the pipe open for ever. */
static int wait_for(pid_t pid, int output, struct last_line *last)
{
	int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
	char data[1024];

	for (;;) {
		struct pollfd polls[] = {{.fd = output, .events = POLLIN}, {.fd = pid_fd, .events = POLLIN}};

		poll(polls, 2, pid_fd < 0 ? LOOK_MS : -1);
		ssize_t count = read(output, data, sizeof(data));

		if (count > 0) {
			take_output(last, data, (size_t)count);
			continue;
		}
		if (count == 0) {
			/* It has closed its output, and may go on. */
			close(output);
			output = -1;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
	}
}

/* Whoever started us was killed: nobody would end what runs here any more. */
static void on_orphaned(int signal_number)
{
	(void)signal_number;
	kill(0, SIGKILL);
}

static struct child_job_result run_hook(void *argument)
{
	const struct run *run = argument;
	struct last_line last = {.to = run->hook->line};
	struct sigaction orphaned = {.sa_handler = on_orphaned};
	int ends[2];

	/* In place of the job's own SIGKILL, which would end this process alone. */
	if (sigaction(SIGTERM, &orphaned, NULL) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 ||
	    pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return (struct child_job_result){.error = errno};
	pid_t pid = fork();

	if (pid < 0)
		return (struct child_job_result){.error = errno};
	if (pid == 0) {
		/* The hook itself may write as if to a terminal. */
		fcntl(ends[1], F_SETFL, 0);
		run_program(run, ends[1]);
	}
	close(ends[1]);
	int status = wait_for(pid, ends[0], &last);

	return (struct child_job_result){.outcome = WIFEXITED(status) ? WEXITSTATUS(status)
								      : 128 + WTERMSIG(status)};
}

/* ---- the caller ---- */

int hook_start(struct hook *hook, struct child_job *job, const struct hook_order *order, const char *name,
	       uint64_t deadline_ms)
{
	struct run run = {.hook = hook, .order = order, .name = name};

	hook->line[0] = '\0';
	return child_job_start(job, run_hook, &run, deadline_ms);
}

static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

bool hook_worked(const struct hook *hook, enum child_job_state state, const struct child_job_result *result,
		 char text[HOOK_TEXT_SIZE])
{
	char line[HOOK_LINE_SIZE];
	size_t length;

	/* The child may have been killed in the middle of a line. */
	memcpy(line, hook->line, sizeof(line));
	line[sizeof(line) - 1] = '\0';
	text[0] = '\0';
	if (state == CHILD_JOB_DONE && result->error == 0 && result->outcome == 0)
		return true;
	if (state == CHILD_JOB_DONE && result->error)
		snprintf(text, HOOK_TEXT_SIZE, "%s", strerror(result->error));
	else if (state == CHILD_JOB_DONE && result->outcome > 128)
		snprintf(text, HOOK_TEXT_SIZE, "killed by signal %d", result->outcome - 128);
	else if (state == CHILD_JOB_DONE)
		snprintf(text, HOOK_TEXT_SIZE, "exit status %d", result->outcome);
	else if (state == CHILD_JOB_STUCK)
		snprintf(text, HOOK_TEXT_SIZE, "does not end, not even when killed");
	else
		snprintf(text, HOOK_TEXT_SIZE, "killed at its deadline");
	length = strlen(text);
	if (line[0])
		snprintf(text + length, HOOK_TEXT_SIZE - length, ": %s", line);
	make_printable(text);
	return false;
}
