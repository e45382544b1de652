/* SPDX-License-Identifier: Apache-2.0 */
#include "eject_job.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "clock.h"
#include "dimm.h"
#include "job_context.h"
#include "kernel_log.h"
#include "memory_block.h"

#define EVERY_US 50000
/* Below the grace that the pool leaves to one that it has told to end. */
#define AFTER_CANCEL_MS 1500

/* *ret_dimm points into *list. 0, -ENOENT or -errno. */
static int find_dimm(const struct job_context *context, struct dimm_list *list,
		     const struct dimm **ret_dimm)
{
	struct memory_block_list blocks;
	int rc = memory_block_list_read(context->sysroot, &blocks);

	if (rc)
		return rc;
	rc = dimm_list_read(context->sysroot, &blocks, list);
	memory_block_list_done(&blocks);
	if (rc)
		return rc;
	*ret_dimm = dimm_list_find(list, context->job->step.dimm);
	return *ret_dimm ? 0 : -ENOENT;
}

static bool is_gone(const struct job_context *context, const struct dimm *dimm)
{
	struct memory_block block;
	bool is_enabled = true;
	int rc = dimm_is_enabled(context->sysroot, dimm, &is_enabled);

	/* The device itself may go with the eject. */
	if ((rc && rc != -ENOENT && rc != -ENODEV) || (!rc && is_enabled))
		return false;
	for (size_t i = 0; i < dimm->block_count; i++)
		if (memory_block_read(context->sysroot, dimm->blocks[i], &block) != -ENOENT)
			return false;
	return true;
}

/* A cancel does not stop what the kernel has taken up: a while longer, to say what became of it. */
static bool wait_more(struct job_context *context, uint64_t *until)
{
	uint64_t now = monotonic_ms();

	if (job_context_wait(context, EVERY_US))
		return true;
	if (*until == 0)
		*until = now + AFTER_CANCEL_MS;
	if (context->stop != WORKER_CONTROL_CANCELLED || now >= *until)
		return false;
	poll(NULL, 0, EVERY_US / 1000);
	return true;
}

/* Has the kernel said that nothing comes of it? */
static bool is_refused(struct kernel_log *log, const struct dimm *dimm, struct kernel_log_eject *ret_eject)
{
	while (log && kernel_log_next_eject_refused(log, ret_eject) > 0) {
		if (ret_eject->path[0] && strcmp(ret_eject->path, dimm->path) == 0)
			return true;
		for (size_t i = 0; i < dimm->block_count && !ret_eject->path[0]; i++)
			if (dimm->blocks[i] == ret_eject->block)
				return true;
	}
	return false;
}

/* No undo brings back what the kernel has taken away: so it is not FAILED, of which nothing is left to put back. */
static void tell_refused(struct job_context *context, const struct dimm *dimm, const char *object, const char *words)
{
	context->stop = WORKER_CONTROL_GO;
	remainder_list_add(&context->result->remainder, REMAINDER_EJECT_REFUSED, object, dimm->size_bytes, NULL,
			   "the firmware kept it%s%s; the kernel has taken its memory away by then", words[0] ? ": " : "",
			   words);
	context->result->outcome = WORKER_OUTCOME_PARTIAL;
}

/*
 * The kernel takes the blocks away and calls the firmware in a worker of its own, which may have to wait for the lock of
 * all hotplug first. A second is usual, but nothing takes it back: so it is waited for as long as there is time, and
 * only the kernel's own word says that it will not come any more.
 */
static void wait_gone(struct job_context *context, const struct dimm *dimm, struct kernel_log *log,
		      const char *object)
{
	struct remainder_list *list = &context->result->remainder;
	struct kernel_log_eject refused = {0};
	uint64_t until = 0;

	while (!is_gone(context, dimm)) {
		if (is_refused(log, dimm, &refused)) {
			/* It is said a moment after the look, and a slow firmware may have done it by now. */
			if (is_gone(context, dimm))
				break;
			if (refused.path[0]) {
				tell_refused(context, dimm, object, refused.text);
				return;
			}
			context->stop = WORKER_CONTROL_GO;
			remainder_list_add(list, REMAINDER_EJECT_FAILED, object, dimm->size_bytes, NULL,
					   "the kernel gave it up: block %" PRIu64 " did not stay offline",
					   refused.block);
			job_context_settle(context, object, 0, false);
			return;
		}
		if (!wait_more(context, &until)) {
			remainder_list_add(list, REMAINDER_EJECT_FAILED, object, dimm->size_bytes, NULL,
					   "it is still there, and may go at any time: the eject was begun and "
					   "nothing takes it back");
			context->result->outcome = WORKER_OUTCOME_PARTIAL;
			return;
		}
	}
	context->stop = WORKER_CONTROL_GO;
	context->result->bytes_done = dimm->size_bytes;
	context->result->outcome = WORKER_OUTCOME_DONE;
}

static void eject(struct job_context *context, const struct dimm *dimm, const char *object)
{
	enum dimm_eject_result outcome = DIMM_EJECT_ABSENT;
	struct failure failure = {0};
	struct remainder_list *list = &context->result->remainder;
	CLEANUP(kernel_log_freep) struct kernel_log *log = NULL;
	int rc;

	/* From before the write; without it there is no word, only the device itself. */
	kernel_log_new(context->sysroot, &log);
	rc = dimm_eject(context->sysroot, dimm, &outcome, &failure);
	if (rc) {
		job_context_fail(context, rc, object, "cannot eject it");
		remainder_list_add(list, REMAINDER_EJECT_FAILED, object, dimm->size_bytes, NULL,
				   "%s", context->result->failure.cause);
		return;
	}
	switch (outcome) {
	case DIMM_EJECT_REQUESTED:
		wait_gone(context, dimm, log, object);
		return;
	case DIMM_EJECT_NOT_OFFLINE:
		remainder_list_add(list, REMAINDER_BLOCK_BUSY,
				   failure.object[0] ? failure.object : object, dimm->size_bytes,
				   "take its blocks offline first", "%s",
				   failure.cause[0] ? failure.cause : "a block is not offline");
		break;
	case DIMM_EJECT_NOT_EJECTABLE:
		remainder_list_add(list, REMAINDER_NOT_EJECTABLE, object, dimm->size_bytes, NULL,
				   "the firmware has no eject method for it");
		break;
	case DIMM_EJECT_DETACHED:
		/* Asked again after a crash. */
		tell_refused(context, dimm, object, "");
		return;
	case DIMM_EJECT_ABSENT:
	case DIMM_EJECT_COUNT:
		/* Asked again after a crash: it has gone. */
		job_context_detail(context, "it was gone already");
		break;
	}
	job_context_settle(context, object, 0, false);
}

void eject_job_run(struct job_context *context)
{
	struct dimm_list list = {0};
	const struct dimm *dimm = NULL;
	char object[96];
	int rc = find_dimm(context, &list, &dimm);

	snprintf(object, sizeof(object), "dimm %s", context->job->step.dimm);
	if (rc == -ENOENT) {
		remainder_list_add(&context->result->remainder, REMAINDER_UNKNOWN_TARGET, object, 0,
				   NULL, "there is no such DIMM");
		job_context_settle(context, object, 0, false);
	} else if (rc) {
		job_context_fail(context, rc, object, "cannot look at it");
	} else if (!job_context_go(context)) {
		job_context_settle(context, object, dimm->size_bytes, false);
	} else {
		eject(context, dimm, object);
	}
	dimm_list_done(&list);
}

void eject_job_undo(struct job_context *context)
{
	struct dimm_list list = {0};
	const struct dimm *dimm = NULL;
	char object[96];
	int rc = find_dimm(context, &list, &dimm);

	snprintf(object, sizeof(object), "dimm %s", context->job->step.dimm);
	if (rc && rc != -ENOENT)
		job_context_fail(context, rc, object, "cannot look at it");
	if (!dimm || !dimm->is_enabled)
		remainder_list_add(&context->result->remainder, REMAINDER_UNDO_FAILED, object, 0,
				   "plug it in again", "it has been ejected");
	if (!failure_is_set(&context->result->failure))
		job_context_settle(context, object, 0, false);
	dimm_list_done(&list);
}
