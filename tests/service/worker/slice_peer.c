/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of slices on the host that it runs on, as a worker does it, without a daemon: for the story in which systemd, the
 * real one, owns the slices.
 *
 *	slice_peer before SLICE NODE >FILE
 *	slice_peer run SLICE NODE
 *	slice_peer undo SLICE NODE <FILE
 *
 * Says why it was not, or not all of it, done; exits with 0 where it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "job_context.h"
#include "slice_job.h"
#include "sysroot.h"

static int tell(const struct worker_result *result)
{
	char text[FAILURE_TEXT_SIZE];

	if (failure_is_set(&result->failure))
		fprintf(stderr, "%s\n", failure_format(&result->failure, text, sizeof(text)));
	for (size_t i = 0; i < result->remainder.count; i++)
		fprintf(stderr, "%s: %s\n", result->remainder.items[i].object, result->remainder.items[i].detail);
	return result->outcome == WORKER_OUTCOME_DONE ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	struct worker_control control;
	struct worker_result result = {0};
	struct job_context context = {.control = &control, .job = job, .result = &result};
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	json_t *before = NULL;

	if (argc != 4 || !job || sysroot_new("/", &sysroot) < 0)
		return 2;
	worker_control_init(&control, NULL);
	context.sysroot = sysroot;
	step_init(&job->step, STEP_KIND_SLICE_CPUSETS);
	snprintf(job->step.slices, sizeof(job->step.slices), "%s", argv[2]);
	job->step.nodes = UINT64_C(1) << atoi(argv[3]);
	if (strcmp(argv[1], "before") == 0) {
		slice_job_before(&context);
		if (result.values)
			json_dumpf(result.values, stdout, 0);
	} else if (strcmp(argv[1], "undo") == 0) {
		context.before = before = json_loadf(stdin, 0, NULL);
		slice_job_undo(&context);
	} else {
		slice_job_run(&context);
	}
	int status = tell(&result);

	json_decref(before);
	worker_result_done(&result);
	free(job);
	return status;
}
