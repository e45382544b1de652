/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent -- job's child, which reads what is said and waits -- the hook, and what it starts
 *
 * The child between keeps the agent from reading a pipe whose writer may outlive the hook; all three
 * generations but the agent are one process group.
 */
#include "hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent_config.h"
#include "byte_cursor.h"
#include "cleanup.h"

/* How often to look for the hook's end where the kernel has no pidfd. */
#define LOOK_MS 50
/* "0123456789abcdef-0123456789abcdef " */
#define RANGE_TEXT_SIZE 40

int hooks_init(struct hooks *hooks, const struct sysroot *sysroot,
	       const struct agent_config *config)
{
	*hooks = (struct hooks){.sysroot = sysroot, .config = config};
	void *shared = mmap(NULL, HOOKS_LINE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return -errno;
	hooks->line = shared;
	return 0;
}

void hooks_done(struct hooks *hooks)
{
	sysroot_names_done(&hooks->names);
	if (hooks->line)
		munmap(hooks->line, HOOKS_LINE_SIZE);
	hooks->line = NULL;
}

static void note_failure(struct hooks *hooks, const char *name, const char *what)
{
	hooks->failed++;
	if (hooks->text[0])
		return;
	snprintf(hooks->text, sizeof(hooks->text), "hook %.80s%s: %.120s", name,
		 hooks->order.is_after ? " (after)" : "", what);
	byte_cursor_make_text(hooks->text);
}

/* Root's, or whoever runs this, and written by nobody else: what runs here runs with all rights. */
static bool is_trusted(const struct stat *status)
{
	return (status->st_uid == 0 || status->st_uid == geteuid()) &&
	       !(status->st_mode & (S_IWGRP | S_IWOTH));
}

static int read_status(const struct sysroot *sysroot, const char *directory, const char *name,
		       struct stat *ret_status)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_PATH, "%s/%s", directory, name);

	if (fd < 0)
		return fd;
	return fstat(fd, ret_status) < 0 ? -errno : 0;
}

bool hooks_begin(struct hooks *hooks, const struct hooks_order *order)
{
	struct stat status;

	sysroot_names_done(&hooks->names);
	hooks->order = *order;
	hooks->next = hooks->ran = hooks->failed = 0;
	hooks->text[0] = '\0';
	if (!hooks->config->hooks)
		return false;
	const char *directory = hooks->config->hook_directory;
	int error = sysroot_list(hooks->sysroot, &hooks->names, "%s", directory);

	if (error == -ENOENT)
		return false;
	if (error == 0)
		error = read_status(hooks->sysroot, directory, "", &status);
	if (error < 0) {
		note_failure(hooks, directory, strerror(-error));
	} else if (!is_trusted(&status)) {
		note_failure(hooks, directory, "not run: others can write the directory");
		sysroot_names_done(&hooks->names);
	}
	return hooks->names.count > 0;
}

/* The kinds of names that editors and package managers leave beside a file. */
static bool is_leftover(const char *name)
{
	size_t length = strlen(name);

	return name[length - 1] == '~' || strstr(name, ".dpkg-") || strstr(name, ".rpm");
}

/* Skips what is no hook; says what is one and must not run. */
static const char *find_next(struct hooks *hooks)
{
	while (hooks->next < hooks->names.count) {
		const char *name = hooks->names.names[hooks->next++];
		struct stat status;

		if (is_leftover(name) ||
		    read_status(hooks->sysroot, hooks->config->hook_directory, name, &status) < 0 ||
		    !S_ISREG(status.st_mode) || !(status.st_mode & S_IXUSR))
			continue;
		if (is_trusted(&status))
			return name;
		note_failure(hooks, name, "not run: others can write it");
	}
	return NULL;
}

static void print_ranges(char *text, size_t size, const struct hooks_order *order)
{
	size_t used = (size_t)snprintf(text, size, "BALLAST_RANGES=");

	for (size_t i = 0; i < order->range_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%" PRIx64 "-%" PRIx64,
					 i ? " " : "", order->ranges[i].start,
					 order->ranges[i].start + order->ranges[i].size_bytes);
}

static void run_program(const struct hooks *hooks, const char *name, int output)
	__attribute__((noreturn));

static void run_program(const struct hooks *hooks, const char *name, int output)
{
	const struct hooks_order *order = &hooks->order;
	char ranges[32 + LIMIT_RANGES * RANGE_TEXT_SIZE], bytes[40], program[300];
	const char *const argv[] = {program, order->is_after ? "after" : "before", NULL};
	const char *const environment[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		order->is_after ? "BALLAST_HOOK=after" : "BALLAST_HOOK=before",
		bytes,
		ranges,
		!order->is_after  ? NULL :
		order->was_kept ? "BALLAST_OUTCOME=kept" :
				  "BALLAST_OUTCOME=undone",
		NULL,
	};
	int directory = sysroot_open(hooks->sysroot, O_RDONLY | O_DIRECTORY, "%s",
				     hooks->config->hook_directory);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* The agent's own protection from the OOM killer is not for whatever this starts. */
	int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (score >= 0 && write(score, "0", 1) < 0)
		close(score);
	print_ranges(ranges, sizeof(ranges), order);
	snprintf(bytes, sizeof(bytes), "BALLAST_BYTES=%" PRIu64, order->bytes);
	snprintf(program, sizeof(program), "./%s", name);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	/* From its directory: so a script's interpreter finds it whatever the root is. */
	if (directory >= 0 && fchdir(directory) == 0)
		execve(program, (char *const *)argv, (char *const *)environment);
	dprintf(STDERR_FILENO, "cannot be executed: %s\n", strerror(errno));
	_exit(127);
}

/* Keeps the last line that is not empty. */
struct last_line {
	char *to;
	char now[HOOKS_LINE_SIZE];
	size_t length;
};

static void take_output(struct last_line *last, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\n') {
			last->length = 0;
			continue;
		}
		if (last->length == HOOKS_LINE_SIZE - 1)
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
		struct pollfd polls[] = {{.fd = output, .events = POLLIN},
					 {.fd = pid_fd, .events = POLLIN}};

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

struct hook_run {
	const struct hooks *hooks;
	const char *name;
};

static struct job_result run_hook(void *argument)
{
	const struct hook_run *run = argument;
	struct last_line last = {.to = run->hooks->line};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return (struct job_result){.error = errno};
	pid_t pid = fork();

	if (pid < 0)
		return (struct job_result){.error = errno};
	if (pid == 0) {
		/* The hook itself may write as if to a terminal. */
		fcntl(ends[1], F_SETFL, 0);
		run_program(run->hooks, run->name, ends[1]);
	}
	close(ends[1]);
	int status = wait_for(pid, ends[0], &last);

	return (struct job_result){.outcome = WIFEXITED(status) ? WEXITSTATUS(status)
								 : 128 + WTERMSIG(status)};
}

bool hooks_start_next(struct hooks *hooks, struct job *job, uint64_t now_ms, uint64_t deadline_ms)
{
	for (;;) {
		struct hook_run run = {.hooks = hooks, .name = find_next(hooks)};
		uint64_t end_ms = now_ms + (uint64_t)hooks->config->hook_timeout_s * 1000;

		if (!run.name)
			return false;
		hooks->line[0] = '\0';
		int error = job_start(job, run_hook, &run, end_ms < deadline_ms ? end_ms : deadline_ms);

		if (error == 0) {
			hooks->ran++;
			return true;
		}
		note_failure(hooks, run.name, strerror(-error));
	}
}

void hooks_end_one(struct hooks *hooks, enum job_state state, const struct job_result *result)
{
	const char *name = hooks->names.names[hooks->next - 1];
	char line[HOOKS_LINE_SIZE], what[HOOKS_LINE_SIZE + 64];

	/* The child may have been killed in the middle of a line. */
	memcpy(line, hooks->line, sizeof(line));
	line[sizeof(line) - 1] = '\0';
	if (state == JOB_DONE && result->error == 0 && result->outcome == 0)
		return;
	if (state == JOB_DONE && result->error)
		snprintf(what, sizeof(what), "%s", strerror(result->error));
	else if (state == JOB_DONE && result->outcome > 128)
		snprintf(what, sizeof(what), "killed by signal %d", result->outcome - 128);
	else if (state == JOB_DONE)
		snprintf(what, sizeof(what), "exit status %d", result->outcome);
	else if (state == JOB_STUCK)
		snprintf(what, sizeof(what), "does not end, not even when killed");
	else
		snprintf(what, sizeof(what), "killed at its deadline");
	if (line[0])
		snprintf(what + strlen(what), sizeof(what) - strlen(what), ": %s", line);
	note_failure(hooks, name, what);
}
