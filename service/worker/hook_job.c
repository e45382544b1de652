/* SPDX-License-Identifier: Apache-2.0 */
#include "hook_job.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "clock.h"
#include "hook.h"
#include "job_context.h"
#include "node_mask.h"
#include "sysroot.h"

/* How often to look at a hook that was killed, and at one that runs, though its end is told. */
#define LOOK_MS	  20
#define LISTEN_MS 1000
/* "0123456789abcdef-0123456789abcdef " */
#define RANGE_TEXT_SIZE 40
#define VALUE_SIZE	(SNAPSHOT_NAME_SIZE + 24)

struct hook_run {
	struct job_context *context;
	struct hook hook;
	struct hook_order order;
	unsigned ran;
};

/* What they are told beside the argument. Named as in a guest, where the same thing is meant. */
struct told {
	char when[VALUE_SIZE], operation[VALUE_SIZE], nodes[NODE_SET_TEXT_SIZE + 24], dimm[VALUE_SIZE], bytes[VALUE_SIZE],
		held[VALUE_SIZE], outcome[VALUE_SIZE], ranges[32 + SNAPSHOT_RANGES_MAX * RANGE_TEXT_SIZE];
	const char *list[HOOK_ENVIRONMENT_MAX + 1];
};

static void print_ranges(char *text, size_t size, const struct step *step)
{
	size_t used = (size_t)snprintf(text, size, "BALLAST_RANGES=");

	for (size_t i = 0; i < step->range_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%" PRIx64 "-%" PRIx64, i ? " " : "",
					 step->ranges[i].start, step->ranges[i].end);
}

static void tell(const struct job_context *context, const char *when, const char *outcome, struct told *told)
{
	const struct step *step = &context->job->step;
	struct node_set nodes = node_mask_to_set(step->nodes);
	char text[NODE_SET_TEXT_SIZE];
	size_t count = 0;

	snprintf(told->when, sizeof(told->when), "BALLAST_HOOK=%s", when);
	snprintf(told->operation, sizeof(told->operation), "BALLAST_OPERATION=%s", context->job->operation);
	snprintf(told->nodes, sizeof(told->nodes), "BALLAST_NODES=%s", node_set_format(&nodes, text, sizeof(text)));
	snprintf(told->dimm, sizeof(told->dimm), "BALLAST_DIMM=%s", step->dimm);
	snprintf(told->bytes, sizeof(told->bytes), "BALLAST_BYTES=%" PRIu64, step->target_bytes);
	snprintf(told->held, sizeof(told->held), "BALLAST_HELD_BYTES=%" PRIu64, step->bytes);
	snprintf(told->outcome, sizeof(told->outcome), "BALLAST_OUTCOME=%s", outcome ? outcome : "");
	print_ranges(told->ranges, sizeof(told->ranges), step);
	told->list[count++] = told->when;
	told->list[count++] = told->operation;
	told->list[count++] = told->ranges;
	told->list[count++] = told->nodes;
	told->list[count++] = told->bytes;
	told->list[count++] = told->held;
	if (step->dimm[0])
		told->list[count++] = told->dimm;
	if (outcome)
		told->list[count++] = told->outcome;
	told->list[count] = NULL;
}

static void note_failure(struct hook_run *run, const char *name, const char *what)
{
	char object[96];

	snprintf(object, sizeof(object), "hook %.80s", name);
	remainder_list_add(&run->context->result->remainder, REMAINDER_HOOK_FAILED, object, 0, NULL, "%s: %s",
			   run->order.argument, what);
	/* Where it keeps nothing from being done, it is to be known all the same. */
	job_context_warn(run->context, REMAINDER_HOOK_FAILED, object, 0, "%s: %s", run->order.argument, what);
	job_context_detail(run->context, "%.40s: %.100s", name, what);
}

enum child_job_state hook_job_wait(struct job_context *context, struct child_job *job, struct child_job_result *ret_result)
{
	enum child_job_state state;

	while ((state = child_job_poll(job, monotonic_ms(), ret_result)) == CHILD_JOB_RUNNING) {
		uint64_t now = monotonic_ms(), look = child_job_deadline(job, now);
		struct pollfd ended = {.fd = job->pid_fd, .events = POLLIN};

		if (context->stop != WORKER_CONTROL_GO) {
			child_job_kill(job, now);
			poll(&ended, 1, LOOK_MS);
			continue;
		}
		look = look > now ? look - now : 0;
		context->stop = worker_control_listen(context->control, job->pid_fd,
						      (look < LISTEN_MS ? look : LISTEN_MS) * 1000);
	}
	return state;
}

static void run_one(struct hook_run *run, const char *name)
{
	struct job_context *context = run->context;
	struct worker_channel *channel = context->control->channel;
	struct child_job_result result = {0};
	struct child_job job;
	char text[HOOK_TEXT_SIZE];
	int rc;

	/* It keeps the worker's lock: before it is gone no other daemon begins. */
	child_job_init(&job, channel ? worker_channel_fd(channel) : -1);
	worker_control_progress(context->control, 0, 0, "hook %s", name);
	rc = hook_start(&run->hook, &job, &run->order, name, monotonic_ms() + context->job->step.timeout_ms);
	if (rc < 0) {
		note_failure(run, name, strerror(-rc));
		return;
	}
	run->ran++;

	bool worked = hook_worked(&run->hook, hook_job_wait(context, &job, &result), &result, text);

	child_job_done(&job);
	if (worked)
		return;
	if (context->stop == WORKER_CONTROL_GO)
		note_failure(run, name, text);
	else
		job_context_detail(context, "%.40s: ended while it ran", name);
}

static void run_list(struct hook_run *run, const struct hook_list *list)
{
	if (!list->is_trusted) {
		note_failure(run, run->context->job->hook_directory, "not run: others can write the directory");
		return;
	}
	for (size_t i = 0; i < list->count && job_context_go(run->context); i++) {
		if (list->entries[i].is_trusted)
			run_one(run, list->entries[i].name);
		else
			note_failure(run, list->entries[i].name, "not run: others can write it");
	}
}

static void run_directory(struct job_context *context, const char *when, const char *outcome)
{
	struct hook_run run = {.context = context};
	struct told told;
	struct hook_list list = {0};
	CLEANUP_CLOSE int directory =
		sysroot_open(context->sysroot, O_RDONLY | O_DIRECTORY, "%s", context->job->hook_directory);
	int rc = directory < 0 ? directory : hook_list_read(directory, &list);

	tell(context, when, outcome, &told);
	run.order = (struct hook_order){.directory_fd = directory, .argument = when, .environment = told.list};
	/* They were there when it was planned, and their owner may take them away. */
	if (rc == 0)
		rc = hook_init(&run.hook);
	if (rc == 0)
		run_list(&run, &list);
	else if (rc != -ENOENT)
		note_failure(&run, context->job->hook_directory, strerror(-rc));
	if (!context->result->remainder.count && context->stop == WORKER_CONTROL_GO)
		job_context_detail(context, "%u hook%s", run.ran, run.ran == 1 ? "" : "s");
	hook_done(&run.hook);
	hook_list_done(&list);
}

void hook_job_run(struct job_context *context)
{
	bool is_after = step_is_after(&context->job->step);

	run_directory(context, is_after ? "after" : "before", is_after ? "kept" : NULL);
	job_context_settle(context, "hooks", 0, true);
	/* Some may have run: whatever they did is to be undone by an undo. */
	if (context->result->outcome == WORKER_OUTCOME_CANCELLED)
		context->result->outcome = WORKER_OUTCOME_PARTIAL;
}

void hook_job_undo(struct job_context *context)
{
	run_directory(context, "after", "undone");
	if (context->stop == WORKER_CONTROL_GO)
		context->result->outcome = WORKER_OUTCOME_DONE;
	else
		job_context_settle(context, "hooks", 0, true);
}
