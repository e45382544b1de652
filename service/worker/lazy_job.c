/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: is AutoNUMA on? -> count what is to leave, from where to where -> bind and balancing on
 * those nodes -> (wait -> count) until nothing is left, the time is over or nothing follows any
 * more -> the policies as they were found
 */
#include "lazy_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "clock.h"
#include "guest_view.h"
#include "job_context.h"
#include "lazy_job_priv.h"
#include "move_job.h"
#include "node_mask.h"
#include "policy_job.h"
#include "size_text.h"
#include "sysroot.h"

/* kernel/sched/sched.h NUMA_BALANCING_NORMAL; the other mode is about tiers of memory alone */
#define BALANCING_NORMAL 1
/* A survey may take a hundredth of a CPU, and people want to see progress. */
#define COST_FACTOR	 100
#define PAUSE_MIN_US	 200000
/*
 * A process is looked at by AutoNUMA once in 60 s of its CPU time at the very least
 * (numa_balancing/scan_period_max_ms), and half as long again leaves room for what it finds.
 */
#define STILL_MS	 90000

void lazy_watch_begin(struct lazy_watch *watch, uint64_t left_bytes, uint64_t timeout_ms,
		      uint64_t now_ms)
{
	*watch = (struct lazy_watch){
		.began_ms = now_ms,
		.until_ms = timeout_ms ? now_ms + timeout_ms : UINT64_MAX,
		.gained_at_ms = now_ms,
		.start_bytes = left_bytes,
		.lowest_bytes = left_bytes,
	};
}

enum lazy_verdict lazy_watch_look(struct lazy_watch *watch, uint64_t left_bytes, uint64_t now_ms)
{
	if (left_bytes < watch->lowest_bytes) {
		watch->lowest_bytes = left_bytes;
		watch->gained_at_ms = now_ms;
	}
	if (left_bytes == 0)
		return LAZY_VERDICT_ALL;
	if (now_ms >= watch->until_ms)
		return LAZY_VERDICT_TIME;
	if (now_ms - watch->gained_at_ms >= STILL_MS)
		return LAZY_VERDICT_STILL;
	return LAZY_VERDICT_GO;
}

uint64_t lazy_watch_pause_us(const struct lazy_watch *watch, uint64_t survey_us, uint64_t now_ms)
{
	uint64_t pause = survey_us * COST_FACTOR, rest;

	if (pause < PAUSE_MIN_US)
		pause = PAUSE_MIN_US;
	if (watch->until_ms == UINT64_MAX)
		return pause;
	rest = watch->until_ms > now_ms ? (watch->until_ms - now_ms) * 1000 : 0;
	return pause < rest ? pause : rest;
}

/* What is known of a range beside its place in the view. */
struct lazy_range {
	uint64_t destinations, sources; /* of its pages that are to leave */
	bool can_follow;
	bool is_set; /* its policy is ours for the time */
};

struct lazy_work {
	struct job_context *context;
	struct guest_view view;
	struct page_survey *survey; /* owned */
	struct lazy_range *ranges;  /* owned; by range of the view */
	struct lazy_watch watch;
	uint64_t left_bytes;   /* of ranges that can follow */
	uint64_t behind_bytes; /* of those that cannot */
	uint64_t survey_us;    /* CPU time of the last count */
	uint64_t surveys;
};

static uint64_t cpu_us(void)
{
	return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

/* Counts what is to leave, by whether it can follow, and where each range's pages are to go. */
static int count(struct lazy_work *work)
{
	uint64_t began = cpu_us(), left = 0, behind = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < work->view.map.count; i++) {
		struct page_survey_range range = guest_view_range(&work->view, i);
		struct page_survey_run run;

		work->ranges[i].destinations = work->ranges[i].sources = 0;
		rc = page_survey_begin(work->survey, &range);
		while (!rc && (rc = page_survey_next(work->survey, &run)) > 0) {
			int node = move_job_destination(&work->context->job->step,
							work->view.cells[i], &run);

			rc = job_context_go(work->context) ? 0 : -ECANCELED;
			if (node < 0)
				continue;
			work->ranges[i].destinations |= node_mask_of(node);
			work->ranges[i].sources |= node_mask_of(run.node_id);
			if (work->ranges[i].can_follow)
				left += run.end - run.start;
			else
				behind += run.end - run.start;
		}
	}
	if (rc)
		return rc;
	work->left_bytes = left;
	work->behind_bytes = behind;
	work->survey_us = cpu_us() - began;
	work->surveys++;
	return 0;
}

/*
 * AutoNUMA leaves alone what has a policy that does not say that it may move it (kernel/sched/fair.c task_numa_work
 * asks vma_policy_mof), and all of hugetlb.
 */
static bool follows_by_itself(const struct guest_range *range)
{
	return range->backing != GUEST_BACKING_HUGETLB && range->has_policy &&
	       !range->has_mixed_policies &&
	       (range->policy.mode == MEMORY_POLICY_DEFAULT || range->policy.is_balancing);
}

static bool can_be_set(const struct guest_range *range)
{
	return policy_job_is_settable(range) && range->has_policy && !range->has_mixed_policies;
}

/* False with the result filled. */
static bool is_balancing_on(struct job_context *context)
{
	uint64_t mode = 0;
	int rc = sysroot_read_number(context->sysroot, 10, &mode,
				     "/proc/sys/kernel/numa_balancing");
	char object[96];

	if (!rc && mode & BALANCING_NORMAL)
		return true;
	job_context_fail(context, rc ? rc : EOPNOTSUPP, job_context_guest(context, object),
			 "cannot leave its pages to touch");
	if (!rc)
		failure_set_cause(&context->result->failure, "kernel.numa_balancing is %llu",
				  (unsigned long long)mode);
	failure_set_way_out(&context->result->failure,
			    "sysctl kernel.numa_balancing=1, or move without --lazy");
	return false;
}

/* False with the result filled. */
static bool open_work(struct lazy_work *work, struct job_context *context)
{
	struct page_survey_options options = {0};
	char object[96];
	int rc;

	work->context = context;
	if (!guest_view_open(&work->view, context, true) ||
	    !guest_view_is_touchable(&work->view, context))
		return false;
	work->ranges = calloc(work->view.map.count + 1, sizeof(*work->ranges));
	options.map = work->view.physical;
	rc = work->ranges ? page_survey_new(context->sysroot, context->job->process.pid, &options,
					    &work->survey)
			  : -ENOMEM;
	if (rc) {
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot read its page table");
		return false;
	}
	for (size_t i = 0; i < work->view.map.count; i++)
		work->ranges[i].can_follow = can_be_set(&work->view.map.ranges[i]) ||
					     follows_by_itself(&work->view.map.ranges[i]);
	return true;
}

/* Where the kernel does not take it the range stays behind, unless it needs no help. */
static void let_follow(struct lazy_work *work)
{
	char object[96];

	for (size_t i = 0; i < work->view.map.count; i++) {
		const struct guest_range *range = &work->view.map.ranges[i];
		struct lazy_range *state = &work->ranges[i];
		struct memory_policy policy = {.mode = MEMORY_POLICY_BIND, .is_balancing = true};
		int rc;

		if (!state->destinations || !can_be_set(range))
			continue;
		/*
		 * A page follows the CPU that touches it to any node of the policy (mm/mempolicy.c mpol_misplaced), and
		 * the CPUs are at the destination. With it alone a guest that fills it up would be killed for want of
		 * memory, who was never so bound.
		 */
		policy.nodes = node_mask_to_set(state->destinations | state->sources);
		/* Even where it fails: the last of several kernel mappings may be what refused. */
		state->is_set = true;
		rc = policy_job_set(work->context, range, &policy);
		if (!rc)
			continue;
		state->can_follow = follows_by_itself(range);
		job_context_warn(work->context, REMAINDER_POLICY_NOT_SETTABLE,
				 job_context_guest(work->context, object),
				 range->end - range->start, "bind with balancing: %s",
				 strerror(-rc));
	}
}

/* False where a policy is ours still, or may be. */
static bool put_back(struct lazy_work *work)
{
	bool is_back = true;
	char object[96];

	for (size_t i = 0; i < work->view.map.count; i++) {
		struct memory_policy policy = work->view.map.ranges[i].policy;
		int rc;

		if (!work->ranges[i].is_set)
			continue;
		policy.is_balancing = false;
		rc = policy_job_set(work->context, &work->view.map.ranges[i], &policy);
		is_back &= rc == 0;
		if (rc)
			remainder_list_add(&work->context->result->remainder,
					   REMAINDER_POLICY_NOT_SETTABLE,
					   job_context_guest(work->context, object), 0, NULL,
					   "it cannot be taken from balancing again: %s",
					   strerror(-rc));
	}
	return is_back;
}

static void tell_progress(struct lazy_work *work, uint64_t now_ms)
{
	const struct lazy_watch *watch = &work->watch;
	uint64_t done = watch->start_bytes > work->left_bytes
				? watch->start_bytes - work->left_bytes
				: 0;
	char rate[SIZE_TEXT_SIZE];

	size_text_format(now_ms > watch->began_ms ? done * 1000 / (now_ms - watch->began_ms) : 0,
			 rate);
	worker_control_progress(work->context->control, done, watch->start_bytes,
				"followed its CPUs, %s/s", rate);
}

/* 0 with the verdict, or what ended the watching. */
static int watch(struct lazy_work *work, enum lazy_verdict *ret_verdict)
{
	struct job_context *context = work->context;
	enum lazy_verdict verdict;
	int rc;

	while ((verdict = lazy_watch_look(&work->watch, work->left_bytes,
					  monotonic_ms())) == LAZY_VERDICT_GO) {
		if (!job_context_wait(context, lazy_watch_pause_us(&work->watch, work->survey_us,
								   monotonic_ms())))
			return -ECANCELED;
		if (!guest_view_is_same(&work->view, context))
			return -ESRCH;
		rc = guest_view_check_userfaultfd(&work->view, context->sysroot);
		if (!rc)
			rc = count(work);
		if (rc)
			return rc;
		tell_progress(work, monotonic_ms());
	}
	*ret_verdict = verdict;
	return 0;
}

static void tell_end(struct lazy_work *work, enum lazy_verdict verdict)
{
	static const char *const ends[] = {
		[LAZY_VERDICT_GO] = "",
		[LAZY_VERDICT_ALL] = "nothing is left",
		[LAZY_VERDICT_TIME] = "its time is over",
		[LAZY_VERDICT_STILL] = "nothing has followed for 90 s",
	};
	struct job_context *context = work->context;
	uint64_t ms = monotonic_ms() - work->watch.began_ms;
	char done[SIZE_TEXT_SIZE], all[SIZE_TEXT_SIZE];

	size_text_format(context->result->bytes_done, done);
	size_text_format(work->watch.start_bytes + work->behind_bytes, all);
	job_context_detail(context, "%s of %s followed its CPUs in %llu s: %s", done, all,
			   (unsigned long long)ms / 1000, ends[verdict]);
	if (work->behind_bytes)
		job_context_detail(context, "%s cannot follow",
				   size_text_format(work->behind_bytes, all));
	json_object_update_new(
		job_context_values(context),
		json_pack("{s:I, s:I, s:I, s:I, s:I}", "followed_bytes",
			  (json_int_t)context->result->bytes_done, "left_bytes",
			  (json_int_t)(work->left_bytes + work->behind_bytes), "ms", (json_int_t)ms,
			  "surveys", (json_int_t)work->surveys, "survey_cpu_us",
			  (json_int_t)work->survey_us));
}

static void tell_error(struct lazy_work *work, int error)
{
	struct job_context *context = work->context;
	char object[96];

	if (error == -EBUSY)
		remainder_list_add(&context->result->remainder, REMAINDER_USERFAULTFD,
				   job_context_guest(context, object), 0, NULL,
				   "a userfaultfd was opened meanwhile");
	else if (error != -ECANCELED && error != -ESRCH)
		job_context_fail(context, error, job_context_guest(context, object),
				 "cannot watch its pages");
}

static void run(struct lazy_work *work)
{
	struct job_context *context = work->context;
	enum lazy_verdict verdict = LAZY_VERDICT_GO;
	uint64_t left = 0, all;
	char object[96];
	int rc = count(work);
	bool is_back;

	all = work->left_bytes + work->behind_bytes;
	if (!rc && work->left_bytes) {
		let_follow(work);
		/* What the kernel refused is no more among those that can follow; some have followed by now. */
		rc = count(work);
	}
	lazy_watch_begin(&work->watch, all > work->behind_bytes ? all - work->behind_bytes : 0,
			 context->job->step.timeout_ms, monotonic_ms());
	if (!rc)
		rc = watch(work, &verdict);
	is_back = put_back(work);
	if (work->watch.start_bytes > work->left_bytes)
		context->result->bytes_done = work->watch.start_bytes - work->left_bytes;
	if (rc)
		tell_error(work, rc);
	else
		tell_end(work, verdict);
	if (guest_view_is_gone(&work->view, context))
		return;
	if (failure_is_set(&context->result->failure)) {
		/* What has failed is not undone. */
		if (!is_back)
			context->result->outcome = WORKER_OUTCOME_PARTIAL;
		return;
	}
	if (context->stop != WORKER_CONTROL_GO)
		left = work->left_bytes + work->behind_bytes;
	job_context_settle(context, job_context_guest(context, object), left,
			   context->result->bytes_done > 0 || !is_back);
}

void lazy_job_run(struct job_context *context)
{
	struct lazy_work *work = calloc(1, sizeof(*work));

	if (!work) {
		job_context_fail(context, ENOMEM, "lazy move", "cannot begin");
		return;
	}
	work->view = (struct guest_view){.identity = PROCESS_IDENTITY_NONE};
	if (is_balancing_on(context) && open_work(work, context))
		run(work);
	page_survey_free(work->survey);
	guest_view_done(&work->view);
	free(work->ranges);
	free(work);
}

void lazy_job_before(struct job_context *context)
{
	json_t *policies;

	policy_job_before(context);
	if (context->result->outcome != WORKER_OUTCOME_DONE || !context->result->values)
		return;
	policies = context->result->values;
	context->result->values = NULL;
	move_job_before(context);
	if (context->result->values && json_object_update(context->result->values, policies))
		job_context_fail(context, ENOMEM, "lazy move", "cannot tell what was before");
	json_decref(policies);
}

void lazy_job_undo(struct job_context *context)
{
	policy_job_undo(context);
	if (context->stop == WORKER_CONTROL_GO && !failure_is_set(&context->result->failure))
		move_job_undo(context);
}
