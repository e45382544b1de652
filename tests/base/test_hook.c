/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real scripts in a directory of their own.
 */
#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "unit.h"

static char directory[64];
static int directory_fd;
static struct hook hook;
static struct child_job job;
static const char *const nothing[] = {NULL};

static void start(void)
{
	snprintf(directory, sizeof(directory), "/tmp/test-hook.XXXXXX");
	CHECK_TRUE(mkdtemp(directory) != NULL);
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_TRUE(directory_fd >= 0);
	CHECK_INT(hook_init(&hook), 0);
	child_job_init(&job, -1);
}

static void stop(void)
{
	char command[128];

	child_job_done(&job);
	hook_done(&hook);
	close(directory_fd);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	CHECK_INT(system(command), 0);
}

static void add(const char *name, const char *text, mode_t mode)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = fopen(path, "we");

	CHECK_TRUE(file != NULL);
	fprintf(file, "#!/bin/sh\n%s\n", text);
	fclose(file);
	CHECK_INT(chmod(path, mode), 0);
}

static void begin(const char *name, const char *const *environment)
{
	struct hook_order order = {.directory_fd = directory_fd, .argument = "before", .environment = environment};

	CHECK_INT(hook_start(&hook, &job, &order, name, UINT64_MAX), 0);
}

static bool run(const char *name, const char *const *environment, char text[HOOK_TEXT_SIZE])
{
	struct child_job_result result = {0};
	enum child_job_state state;

	begin(name, environment);
	while ((state = child_job_poll(&job, 0, &result)) == CHILD_JOB_RUNNING) {
		struct pollfd child = {.fd = job.pid_fd, .events = POLLIN};

		poll(&child, 1, 50);
	}
	return hook_worked(&hook, state, &result, text);
}

static void test_list(void)
{
	struct hook_list list;

	start();
	CHECK_INT(hook_list_read(directory_fd, &list), 0);
	CHECK_INT(list.count, 0);
	CHECK_TRUE(list.is_trusted);
	hook_list_done(&list);
	add("20-b", "", 0755);
	add("10-a", "", 0700);
	add("30-c", "", 0757);
	add("40-d", "", 0644);
	add("50-e~", "", 0755);
	add(".60-f", "", 0755);
	add("70-g.dpkg-dist", "", 0755);
	CHECK_INT(mkdirat(directory_fd, "80-h", 0755), 0);
	CHECK_INT(hook_list_read(directory_fd, &list), 0);
	CHECK_INT(list.count, 3);
	CHECK_STR(list.entries[0].name, "10-a");
	CHECK_TRUE(list.entries[0].is_trusted);
	CHECK_STR(list.entries[1].name, "20-b");
	CHECK_STR(list.entries[2].name, "30-c");
	CHECK_TRUE(!list.entries[2].is_trusted);
	hook_list_done(&list);
	CHECK_INT(fchmod(directory_fd, 0775), 0);
	CHECK_INT(hook_list_read(directory_fd, &list), 0);
	CHECK_TRUE(!list.is_trusted);
	hook_list_done(&list);
	CHECK_INT(hook_list_read(-1, &list), -EBADF);
	stop();
}

static void test_what_it_is_given(void)
{
	static const char *const environment[] = {"ONE=1", "TWO=2 3", NULL};
	char text[HOOK_TEXT_SIZE];

	start();
	add("10-a", "unset PWD; echo $0 $1 $# $ONE $TWO $(env | grep -cv -e ^ONE -e ^TWO -e ^PATH -e ^PWD -e ^_ -e ^SHLVL); exit 9",
	    0755);
	CHECK_TRUE(!run("10-a", environment, text));
	CHECK_STR(text, "exit status 9: ./10-a before 1 1 2 3 0");
	stop();
}

/* The hook is never held up by what nobody reads, and its last line is told, cut. */
static void test_much_output(void)
{
	char text[HOOK_TEXT_SIZE];

	start();
	add("10-a", "seq 1 200000; printf 'x%.0s' $(seq 1 1000); exit 1", 0755);
	CHECK_TRUE(!run("10-a", nothing, text));
	CHECK_INT(strlen(text), strlen("exit status 1: ") + HOOK_LINE_SIZE - 1);
	CHECK_INT(strspn(text + strlen("exit status 1: "), "x"), HOOK_LINE_SIZE - 1);
	add("10-a", "seq 1 200000", 0755);
	CHECK_TRUE(run("10-a", nothing, text));
	CHECK_STR(text, "");
	/* Of the one before there is nothing left. */
	add("10-a", "exit 2", 0755);
	CHECK_TRUE(!run("10-a", nothing, text));
	CHECK_STR(text, "exit status 2");
	stop();
}

/* As a daemon that is killed: nobody is left who could end the hook. */
static void test_caller_is_killed(void)
{
	char fifo[128], byte;
	int reader;

	start();
	snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
	CHECK_INT(mkfifo(fifo, 0600), 0);
	/* Each of them holds the writing end until it is dead. */
	add("10-a", "exec 9>fifo; sleep 1000 & echo x >&9; wait", 0755);
	reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	CHECK_TRUE(reader >= 0);
	pid_t caller = fork();

	if (caller == 0) {
		begin("10-a", nothing);
		for (;;)
			pause();
	}
	CHECK_TRUE(caller > 0);

	struct pollfd ready = {.fd = reader, .events = POLLIN};

	CHECK_INT(poll(&ready, 1, 60000), 1);
	CHECK_INT(read(reader, &byte, 1), 1);
	CHECK_INT(byte, 'x');
	CHECK_INT(kill(caller, SIGKILL), 0);
	CHECK_INT(waitpid(caller, NULL, 0), caller);
	/* The line's end, and then that of the last writer. */
	CHECK_INT(read(reader, &byte, 1), 1);
	ready.events = 0;
	CHECK_INT(poll(&ready, 1, 60000), 1);
	CHECK_INT(ready.revents, POLLHUP);
	close(reader);
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"which there are", test_list},
		{"what it is given", test_what_it_is_given},
		{"much output", test_much_output},
		{"its caller is killed", test_caller_is_killed},
	};

	return unit_main("hook", cases, sizeof(cases) / sizeof(cases[0]));
}
