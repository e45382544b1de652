/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real scripts in a directory of their own.
 */
#include "hook_job.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "clock.h"
#include "job_fixture.h"

#define DIRECTORY "/etc/ballast/drain.d"
#define LOG	  "/etc/ballast/log"

static struct job_fixture fixture;

static void start(void)
{
	struct step *step = &fixture.job.step;

	job_fixture_init(&fixture, STEP_KIND_HOST_HOOKS);
	step->guest_name[0] = '\0';
	snprintf(step->text, sizeof(step->text), "before");
	step->timeout_ms = 60000;
	step->nodes = 1 << 1 | 1 << 3;
	step->bytes = 4096;
	step->target_bytes = 8192;
	step->range_count = 2;
	step->ranges[0] = (struct snapshot_range){0x100000000, 0x140000000};
	step->ranges[1] = (struct snapshot_range){0x180000000, 0x180001000};
	snprintf(fixture.job.hook_directory, sizeof(fixture.job.hook_directory), DIRECTORY);
	snprintf(fixture.job.operation, sizeof(fixture.job.operation), "op-7");
	/* As the runner writes it ahead. */
	fixture.before = json_object();
}

static void stop(void)
{
	job_fixture_done(&fixture);
}

static void set_mode(const char *path, mode_t mode)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", fixture.tree.root, path);
	CHECK_INT(chmod(full, mode), 0);
}

static void add(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), DIRECTORY "/%s", name);
	fixture_tree_write(&fixture.tree, path, "#!/bin/sh\n%s\n", text);
	set_mode(path, 0755);
	set_mode(DIRECTORY, 0755);
}

static const char *log_text(void)
{
	static char text[1024];

	job_fixture_read(&fixture, LOG, text, sizeof(text));
	return text;
}

static const char *detail(void)
{
	const char *text = json_string_value(json_object_get(fixture.result.values, "detail"));

	return text ? text : "";
}

static void check_failure(size_t index, const char *object, const char *text)
{
	const struct remainder *entry = &fixture.result.remainder.items[index];

	CHECK_TRUE(index < fixture.result.remainder.count);
	CHECK_INT(entry->code, REMAINDER_HOOK_FAILED);
	CHECK_STR(entry->object, object);
	CHECK_STR(entry->detail, text);
	CHECK_INT(entry->bytes, 0);
}

static void test_before_and_after(void)
{
	start();
	add("20-b", "echo b $1 $BALLAST_OUTCOME$BALLAST_DIMM >> ../log");
	add("10-a", "echo a $BALLAST_HOOK $BALLAST_OPERATION $BALLAST_BYTES $BALLAST_HELD_BYTES $BALLAST_NODES $BALLAST_RANGES >> ../log");
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(fixture.result.remainder.count, 0);
	CHECK_STR(detail(), "2 hooks");
	CHECK_STR(log_text(), "a before op-7 8192 4096 1,3 100000000-140000000 180000000-180001000\nb before");
	fixture_tree_write(&fixture.tree, LOG, "%s", "");
	snprintf(fixture.job.step.dimm, sizeof(fixture.job.step.dimm), "acpi-MP00");
	job_fixture_run(&fixture, WORKER_JOB_UNDO);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(strstr(log_text(), "a after op-7 8192"));
	CHECK_TRUE(strstr(log_text(), "b after undoneacpi-MP00"));
	snprintf(fixture.job.step.text, sizeof(fixture.job.step.text), STEP_TEXT_AFTER);
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(strstr(log_text(), "b after keptacpi-MP00"));
	stop();
}

/* And the next one has its turn. */
static void test_failures_are_told(void)
{
	start();
	fixture.job.step.timeout_ms = 1000;
	add("10-a", "echo one; echo 'cannot let go \033[0m'; exit 3");
	add("20-b", "sleep 1000 & echo $! > ../log; echo waiting; wait");
	add("30-c", "seq 1 100000; exit 1");
	add("40-d", "echo d >> ../log");
	set_mode(DIRECTORY "/40-d", 0757);
	add("50-e", "kill -9 $$");
	add("60-f", "echo f >> ../log");
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(fixture.result.remainder.count, 5);
	check_failure(0, "hook 10-a", "before: exit status 3: cannot let go ?[0m");
	check_failure(1, "hook 20-b", "before: killed at its deadline: waiting");
	check_failure(2, "hook 30-c", "before: exit status 1: 100000");
	check_failure(3, "hook 40-d", "before: not run: others can write it");
	check_failure(4, "hook 50-e", "before: killed by signal 9");
	CHECK_INT(json_array_size(json_object_get(fixture.result.values, "warnings")), 5);
	CHECK_TRUE(strstr(log_text(), "\nf") != NULL);
	CHECK_TRUE(strstr(log_text(), "d") == NULL);
	CHECK_TRUE(strncmp(detail(), "10-a: exit status 3: cannot let go", 34) == 0);
	/* What was done is undone all the same. */
	add("20-b", "exit 4");
	job_fixture_run(&fixture, WORKER_JOB_UNDO);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_DONE);
	check_failure(1, "hook 20-b", "after: exit status 4");
	stop();
}

static void test_nothing_to_run(void)
{
	start();
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_DONE);
	CHECK_STR(detail(), "0 hooks");
	add("10-a", "echo a >> ../log");
	set_mode(DIRECTORY, 0777);
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	check_failure(0, "hook " DIRECTORY, "before: not run: others can write the directory");
	CHECK_STR(log_text(), "");
	fixture_tree_remove(&fixture.tree, DIRECTORY);
	fixture_tree_write(&fixture.tree, DIRECTORY, "a file");
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	check_failure(0, "hook " DIRECTORY, "before: Not a directory");
	stop();
}

/* Ended long before its time, the rest is not begun, and an undo is owed. */
static void test_cancelled(void)
{
	const struct remainder *remainder;

	start();
	fixture.job.step.timeout_ms = 600000;
	add("10-a", "echo a >> ../log; sleep 1000");
	add("20-b", "echo b >> ../log");
	CHECK_TRUE(job_fixture_run_cancelled(&fixture) < 60000);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(fixture.result.remainder.count, 1);
	remainder = job_fixture_remainder(&fixture, REMAINDER_CANCELLED);
	CHECK_TRUE(remainder != NULL);
	CHECK_STR(detail(), "10-a: ended while it ran");
	CHECK_TRUE(strstr(log_text(), "b") == NULL);
	stop();
}

/* Of the whole job, as the drain's own is. */
static void test_deadline(void)
{
	uint64_t began = monotonic_ms();

	start();
	fixture.job.step.timeout_ms = 600000;
	fixture.job.deadline_ms = 500;
	add("10-a", "sleep 1000");
	job_fixture_run(&fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_TRUE(job_fixture_remainder(&fixture, REMAINDER_DEADLINE) != NULL);
	/* Not done, so that it is tried again. */
	job_fixture_run(&fixture, WORKER_JOB_UNDO);
	CHECK_INT(fixture.result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_TRUE(monotonic_ms() - began < 120000);
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"before and after", test_before_and_after},
		{"failures are told", test_failures_are_told},
		{"nothing to run", test_nothing_to_run},
		{"cancelled", test_cancelled},
		{"deadline", test_deadline},
	};

	return unit_main("hook_job", cases, sizeof(cases) / sizeof(cases[0]));
}
