/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_jobs.h"

#include <errno.h>
#include "block_job.h"
#include "cpuset_job.h"
#include "eject_job.h"
#include "holder_job.h"
#include "hook_job.h"
#include "job_context.h"
#include "lazy_job.h"
#include "move_job.h"
#include "policy_job.h"
#include "pool_job.h"
#include "probe_job.h"
#include "proof_job.h"
#include "slice_job.h"
#include "survey_job.h"
#include "worker_cgroup.h"

typedef void job_fn(struct job_context *context);

struct job {
	job_fn *before; /* NULL: it replaces nothing */
	job_fn *run;	/* NULL: no work of a worker */
	job_fn *undo;	/* NULL: nothing to put back */
};

static const struct job jobs[STEP_KIND_COUNT] = {
	[STEP_KIND_HOST_POOL] = {pool_job_before, pool_job_run, pool_job_undo},
	[STEP_KIND_CPUSET] = {cpuset_job_before, cpuset_job_run, cpuset_job_undo},
	[STEP_KIND_MEMORY_POLICY] = {policy_job_before, policy_job_run, policy_job_undo},
	[STEP_KIND_LAZY] = {lazy_job_before, lazy_job_run, lazy_job_undo},
	[STEP_KIND_MOVE_PAGES] = {move_job_before, move_job_run, move_job_undo},
	[STEP_KIND_HOST_HOOKS] = {NULL, hook_job_run, hook_job_undo},
	[STEP_KIND_OFFLINE_BLOCKS] = {block_job_before, block_job_offline, block_job_undo},
	[STEP_KIND_ONLINE_BLOCKS] = {block_job_before, block_job_online, block_job_undo},
	[STEP_KIND_SLICE_CPUSETS] = {slice_job_before, slice_job_run, slice_job_undo},
	[STEP_KIND_EJECT] = {NULL, eject_job_run, eject_job_undo},
	[STEP_KIND_PROBE] = {NULL, probe_job_run, NULL},
	[STEP_KIND_PROOF] = {NULL, proof_job_run, NULL},
};

static void undo(struct job_context *context, const struct job *job)
{
	const char *text = context->job->before;
	json_error_t error;
	json_t *before;

	if (!job->undo) {
		context->result->outcome = WORKER_OUTCOME_DONE;
		return;
	}
	before = text ? json_loads(text, JSON_REJECT_DUPLICATES, &error) : json_object();
	if (!json_is_object(before)) {
		job_context_fail(context, EINVAL, step_kind_name(context->job->step.kind),
				 "cannot read what was before");
		json_decref(before);
		return;
	}
	context->before = before;
	job->undo(context);
	context->before = NULL;
	json_decref(before);
}

static void run_step(struct job_context *context)
{
	const struct job *job = &jobs[context->job->step.kind];

	if (!job->run) {
		job_context_fail(context, EOPNOTSUPP, step_kind_name(context->job->step.kind),
				 "cannot run it: it is no work for a worker");
		return;
	}
	switch (context->job->kind) {
	case WORKER_JOB_BEFORE:
		if (job->before)
			job->before(context);
		else
			context->result->outcome = WORKER_OUTCOME_DONE;
		break;
	case WORKER_JOB_STEP:
		job->run(context);
		break;
	case WORKER_JOB_UNDO:
		undo(context, job);
		break;
	case WORKER_JOB_SURVEY:
	case WORKER_JOB_HOLDERS:
	case WORKER_JOB_COUNT:
		break;
	}
}

void worker_jobs_run(struct job_context *context)
{
	struct worker_cgroup group = {0};
	uint64_t nodes = context->job->cpuset_nodes;

	context->cpuset_error = nodes ? worker_cgroup_enter(context->sysroot, nodes, &group) : 0;
	worker_control_set_deadline(context->control, context->job->deadline_ms);
	if (context->job->kind == WORKER_JOB_SURVEY)
		survey_job_run(context);
	else if (context->job->kind == WORKER_JOB_HOLDERS)
		holder_job_run(context);
	else
		run_step(context);
	worker_cgroup_leave(context->sysroot, &group);
}
