/* SPDX-License-Identifier: Apache-2.0 */
#include "eject_job.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include "clock.h"
#include "dimm.h"
#include "job_context.h"
#include "memory_block.h"

/* The kernel takes the blocks away and calls the firmware in a worker of its own; a second is
 * usual. */
#define WAIT_MS	 10000
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
	bool is_present = true;
	int rc = dimm_is_present(context->sysroot, dimm, &is_present);

	/* The device itself may go with the eject. */
	if ((rc && rc != -ENOENT && rc != -ENODEV) || (!rc && is_present))
		return false;
	for (size_t i = 0; i < dimm->block_count; i++)
		if (memory_block_read(context->sysroot, dimm->blocks[i], &block) != -ENOENT)
			return false;
	return true;
}

/* A cancel does not stop what the kernel has taken up: a while longer, to say what became of it. */
static bool wait_more(struct job_context *context, uint64_t *until)
{
	bool is_cancelled = context->stop == WORKER_CONTROL_CANCELLED;
	uint64_t now = monotonic_ms();

	if (now >= *until)
		return false;
	if (is_cancelled) {
		poll(NULL, 0, EVERY_US / 1000);
		return true;
	}
	if (job_context_wait(context, EVERY_US))
		return true;
	if (*until > now + AFTER_CANCEL_MS)
		*until = now + AFTER_CANCEL_MS;
	return context->stop == WORKER_CONTROL_CANCELLED;
}

static void wait_gone(struct job_context *context, const struct dimm *dimm, const char *object)
{
	uint64_t until = monotonic_ms() + WAIT_MS;

	while (!is_gone(context, dimm)) {
		if (!wait_more(context, &until)) {
			remainder_list_add(&context->result->remainder, REMAINDER_EJECT_FAILED,
					   object, dimm->size_bytes, NULL,
					   "it is still there; the kernel's log may say why");
			job_context_settle(context, object, 0, false);
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
	int rc = dimm_eject(context->sysroot, dimm, &outcome, &failure);

	if (rc) {
		job_context_fail(context, rc, object, "cannot eject it");
		remainder_list_add(list, REMAINDER_EJECT_FAILED, object, dimm->size_bytes, NULL,
				   "%s", context->result->failure.cause);
		return;
	}
	switch (outcome) {
	case DIMM_EJECT_REQUESTED:
		wait_gone(context, dimm, object);
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
	if (!dimm || !dimm->is_present)
		remainder_list_add(&context->result->remainder, REMAINDER_UNDO_FAILED, object, 0,
				   "plug it in again", "it has been ejected");
	if (!failure_is_set(&context->result->failure))
		job_context_settle(context, object, 0, false);
	dimm_list_done(&list);
}
