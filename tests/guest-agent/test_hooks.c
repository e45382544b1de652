/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real scripts in a directory of their own; a clock that the test turns.
 */
#include "hooks.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "agent_config.h"
#include "fake_guest.h"
#include "unit.h"

#define DIRECTORY AGENT_CONFIG_HOOK_DIRECTORY
#define LOG	  "/etc/ballast/log"

static struct fake_guest guest;
static struct agent_config config;
static struct hooks hooks;
static struct hooks_order order;
static struct child_job job;
static uint64_t now;
static bool hangs; /* one of the test's hooks does */

static void start(void)
{
	fake_guest_start(&guest);
	agent_config_init(&config);
	config.hooks = true;
	order = (struct hooks_order){.bytes = 4096};
	CHECK_INT(hooks_init(&hooks, guest.sysroot, &config), 0);
	child_job_init(&job, -1);
	now = 1000;
	hangs = false;
}

static void stop(void)
{
	child_job_done(&job);
	hooks_done(&hooks);
	fake_guest_stop(&guest);
}

static void set_mode(const char *path, mode_t mode)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", guest.root, path);
	CHECK_INT(chmod(full, mode), 0);
}

static void add(const char *name, const char *text)
{
	fake_guest_add_hook(&guest, name, text);
}

/* Where a hook does not end the clock goes on to its deadline. */
static void run(uint64_t deadline_ms)
{
	if (!hooks_begin(&hooks, &order))
		return;
	while (hooks_start_next(&hooks, &job, now, deadline_ms)) {
		struct child_job_result result = {0};
		enum child_job_state state;

		for (int i = 0; (state = child_job_poll(&job, now, &result)) == CHILD_JOB_RUNNING;
		     i++) {
			struct pollfd child = {.fd = job.pid_fd, .events = POLLIN};

			if (poll(&child, 1, 50) == 0 && hangs && i >= 10)
				now = now < job.deadline_ms ? job.deadline_ms
							    : child_job_deadline(&job, now);
		}
		hooks_end_one(&hooks, state, &result);
	}
}

static void test_all_in_order(void)
{
	start();
	add("20-b", "echo b $1 $BALLAST_OUTCOME >> ../log");
	add("10-a", "echo a $BALLAST_HOOK $BALLAST_BYTES $BALLAST_RANGES >> ../log");
	add("30-c", "test -t 0 || cat >> ../log; cat /proc/self/oom_score_adj >> ../log");
	order.range_count = 2;
	order.ranges[0] = (struct message_range){0x100000000, 0x8000000};
	order.ranges[1] = (struct message_range){0x120000000, 0x1000};
	run(UINT64_MAX);
	CHECK_INT(hooks.ran, 3);
	CHECK_INT(hooks.failed, 0);
	CHECK_STR(fake_guest_read(&guest, LOG),
		  "a before 4096 100000000-108000000 120000000-120001000\nb before\n0");
	fake_guest_write(&guest, LOG, "");
	order.is_after = true;
	run(UINT64_MAX);
	CHECK_TRUE(strstr(fake_guest_read(&guest, LOG), "b after undone\n") != NULL);
	order.was_kept = true;
	run(UINT64_MAX);
	CHECK_TRUE(strstr(fake_guest_read(&guest, LOG), "b after kept\n") != NULL);
	stop();
}

static void test_failures_are_told(void)
{
	start();
	add("10-a", "echo one; echo 'no buffers \033[0m'; echo; exit 3");
	add("20-b", "kill -9 $$");
	add("30-c", "echo c >> ../log");
	run(UINT64_MAX);
	CHECK_INT(hooks.ran, 3);
	CHECK_INT(hooks.failed, 2);
	CHECK_STR(hooks.text, "hook 10-a: exit status 3: no buffers ?[0m; hook 20-b: killed by signal 9");
	/* The others have their turn all the same. */
	CHECK_STR(fake_guest_read(&guest, LOG), "c");
	stop();
}

/* As many as there is room for, none by half; the others are counted. */
static void test_more_failures_than_fit(void)
{
	start();
	add("10-a", "printf 'a%099d\\n' 0; exit 1");
	add("20-b", "printf 'b%099d\\n' 0; exit 1");
	add("30-c", "exit 1");
	run(UINT64_MAX);
	CHECK_INT(hooks.failed, 3);
	CHECK_INT(hooks.untold, 1);
	CHECK_TRUE(strstr(hooks.text, "10-a") && !strstr(hooks.text, "20-b"));
	CHECK_TRUE(strstr(hooks.text, "; hook 30-c: exit status 1") != NULL);
	stop();
}

static void test_no_interpreter(void)
{
	start();
	fake_guest_write(&guest, DIRECTORY "/10-a", "#!/nowhere/sh");
	set_mode(DIRECTORY "/10-a", 0755);
	run(UINT64_MAX);
	CHECK_INT(hooks.failed, 1);
	CHECK_STR(hooks.text,
		  "hook 10-a: exit status 127: cannot be executed: No such file or directory");
	stop();
}

/* Dead, or nobody's but the reaper's. */
static bool is_dead(pid_t pid)
{
	char path[64], text[512] = "", *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");

	if (!file)
		return true;
	size_t length = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[length] = '\0';
	state = strrchr(text, ')');
	return state && state[1] && (state[2] == 'Z' || state[2] == 'X');
}

static void test_a_hook_that_hangs(void)
{
	start();
	config.hook_timeout_s = 7;
	hangs = true;
	add("10-a", "sleep 1000 & echo $! > ../log; echo waiting; wait");
	add("20-b", "echo after it; exit 1");
	run(UINT64_MAX);
	CHECK_INT(now, 8000);
	CHECK_INT(hooks.failed, 2);
	CHECK_STR(hooks.text, "hook 10-a: killed at its deadline: waiting; hook 20-b: exit status 1: after it");
	/* And what it had started is gone with it. */
	pid_t pid = (pid_t)strtol(fake_guest_read(&guest, LOG), NULL, 10);

	CHECK_TRUE(pid > 1);
	for (int i = 0; i < 1000 && !is_dead(pid); i++)
		poll(NULL, 0, 1);
	CHECK_TRUE(is_dead(pid));
	stop();
}

static void test_the_whole_has_a_deadline(void)
{
	start();
	hangs = true;
	add("10-a", "sleep 1000");
	run(3000);
	CHECK_INT(now, 3000);
	CHECK_INT(hooks.failed, 1);
	stop();
}

/* What it leaves in the background may hold its output, but not the agent. */
static void test_a_hook_that_leaves_something(void)
{
	start();
	add("10-a", "sleep 1000 & echo $! > ../log");
	run(UINT64_MAX);
	CHECK_INT(now, 1000);
	CHECK_INT(hooks.failed, 0);
	pid_t pid = (pid_t)strtol(fake_guest_read(&guest, LOG), NULL, 10);

	CHECK_TRUE(pid > 1 && !is_dead(pid));
	kill(pid, SIGKILL);
	stop();
}

static void test_what_is_not_run(void)
{
	start();
	CHECK_TRUE(!hooks_begin(&hooks, &order));
	add("10-a~", "echo a >> ../log");
	add("20-b.dpkg-old", "echo b >> ../log");
	add("30-c", "echo c >> ../log");
	set_mode(DIRECTORY "/30-c", 0644);
	add(".40-d", "echo d >> ../log");
	run(UINT64_MAX);
	CHECK_INT(hooks.ran, 0);
	CHECK_INT(hooks.failed, 0);
	/* Everybody could have written it: not with all rights. */
	add("50-e", "echo e >> ../log");
	set_mode(DIRECTORY "/50-e", 0757);
	run(UINT64_MAX);
	CHECK_INT(hooks.ran, 0);
	CHECK_STR(hooks.text, "hook 50-e: not run: others can write it");
	set_mode(DIRECTORY "/50-e", 0755);
	set_mode(DIRECTORY, 0777);
	run(UINT64_MAX);
	CHECK_INT(hooks.ran, 0);
	CHECK_INT(hooks.failed, 1);
	set_mode(DIRECTORY, 0755);
	config.hooks = false;
	run(UINT64_MAX);
	CHECK_INT(hooks.ran, 0);
	CHECK_INT(hooks.failed, 0);
	CHECK_STR(fake_guest_read(&guest, LOG), "");
	config.hooks = true;
	run(UINT64_MAX);
	CHECK_STR(fake_guest_read(&guest, LOG), "e");
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"all of them, in order", test_all_in_order},
		{"failures are told", test_failures_are_told},
		{"more failures than fit", test_more_failures_than_fit},
		{"no interpreter", test_no_interpreter},
		{"a hook that hangs", test_a_hook_that_hangs},
		{"the whole has a deadline", test_the_whole_has_a_deadline},
		{"a hook that leaves something behind", test_a_hook_that_leaves_something},
		{"what is not run", test_what_is_not_run},
	};

	return unit_main("hooks", cases, sizeof(cases) / sizeof(cases[0]));
}
