/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballast-worker: one job of kernel work, for ballastd, over the socket pair that it was started
 * with.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/prctl.h>
#include "job_context.h"
#include "model_json.h"
#include "size_text.h"
#include "sysroot.h"
#include "worker_channel.h"
#include "worker_control.h"
#include "worker_jobs.h"
#include "worker_spawn.h"

struct options {
	const char *root;
	uint64_t parent; /* 0: not checked */
};

static bool parse_options(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{"sysroot", required_argument, NULL, 'r'},
		{"parent", required_argument, NULL, 'p'},
		{NULL, 0, NULL, 0},
	};
	int option;

	*options = (struct options){.root = "/"};
	while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		if (option == 'r')
			options->root = optarg;
		else if (option != 'p' || size_text_parse_number(optarg, 10, &options->parent))
			return false;
	}
	return optind == argc;
}

/* False where the one who started us has ended already: then nobody may act in its name. */
static bool bind_to_parent(uint64_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0))
		return false;
	return !parent || (uint64_t)getppid() == parent;
}

/*
 * What a worker reads into lives for seconds. A huge page for it would have to be cleared, as a whole and perhaps after a
 * compaction: that moves other processes' pages, on the very nodes where room is being made. What hooks start would inherit it,
 * and is none of our business; a proof moves pages of its own of every kind.
 */
static void avoid_huge_pages(const struct worker_job *job)
{
	/* Where the kernel refuses, only time is lost. */
	if (job->step.kind != STEP_KIND_HOST_HOOKS && job->step.kind != STEP_KIND_PROOF)
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

static bool wait_start(struct worker_channel *channel, struct worker_message *message)
{
	struct pollfd ready = {.fd = worker_channel_fd(channel), .events = POLLIN};
	int rc;

	while ((rc = worker_channel_receive(channel, message, NULL)) == -EAGAIN)
		poll(&ready, 1, -1);
	if (rc == 1 && message->type == WORKER_MESSAGE_START)
		return true;
	if (rc == 1)
		worker_message_done(message);
	return false;
}

static void say(struct worker_channel *channel, const struct worker_message *message)
{
	struct pollfd ready = {.fd = worker_channel_fd(channel), .events = POLLOUT};

	worker_channel_send(channel, message);
	while (worker_channel_flush(channel) == -EAGAIN)
		poll(&ready, 1, -1);
}

static int work(const struct sysroot *sysroot, struct worker_channel *channel)
{
	struct worker_message *start = calloc(1, sizeof(*start)),
			      *answer = calloc(1, sizeof(*answer));
	struct worker_control control;
	int status = EXIT_FAILURE;

	if (!start || !answer)
		goto out;
	answer->type = WORKER_MESSAGE_HELLO;
	say(channel, answer);
	if (!wait_start(channel, start))
		goto out;
	avoid_huge_pages(&start->job);
	worker_control_init(&control, channel);
	answer->type = WORKER_MESSAGE_RESULT;
	struct job_context context = {
		.sysroot = sysroot,
		.control = &control,
		.job = &start->job,
		.result = &answer->result,
	};

	worker_jobs_run(&context);
	say(channel, answer);
	worker_message_done(answer);
	worker_message_done(start);
	status = EXIT_SUCCESS;
out:
	free(start);
	free(answer);
	return status;
}

int main(int argc, char **argv)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	CLEANUP(worker_channel_freep) struct worker_channel *channel = NULL;
	struct options options;

	worker_control_catch_signals();
	model_json_end_without_memory();
	if (!parse_options(argc, argv, &options) ||
	    fcntl(WORKER_SPAWN_CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    worker_channel_new(WORKER_SPAWN_CHANNEL_FD, &channel)) {
		fprintf(stderr, "ballast-worker: it is started by ballastd, not by hand\n");
		return 2;
	}
	/* Descriptor 4 is the lock that others wait for: it lives exactly as long as this process.
	 */
	fcntl(WORKER_SPAWN_LOCK_FD, F_SETFD, FD_CLOEXEC);
	if (!bind_to_parent(options.parent) || sysroot_new(options.root, &sysroot))
		return EXIT_FAILURE;
	return work(sysroot, channel);
}
