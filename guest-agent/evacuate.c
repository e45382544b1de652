/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   start ---> HOOKS (one by one) ---> HUGE_PAGES ---> COMPACT ---> RECLAIM --->
 *   MAKE_ROOM ---> CENSUS ---> OFFLINE (block by block) ---> DONE ---> IDLE
 *                     ^---------- another part -+
 *
 * Each arrow is taken by step() when the child of the stage has ended, been killed at its deadline,
 * or there was nothing to do; a stage that was not asked for is passed over. Cancelling, the
 * overall deadline and a child that the kernel does not let go lead to DONE from everywhere. What
 * was reached is always read from the kernel afterwards, never concluded from the child's word.
 */
#include "evacuate_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent_config.h"
#include "failure.h"
#include "free_areas.h"
#include "kernel_log.h"
#include "sysroot.h"

#define KNOWN_RUNGS                                              \
	(MESSAGE_EVACUATE_HOOKS | MESSAGE_EVACUATE_HUGE_PAGES | \
	 MESSAGE_EVACUATE_COMPACT | MESSAGE_EVACUATE_RECLAIM |  \
	 MESSAGE_EVACUATE_MAKE_ROOM | MESSAGE_EVACUATE_OFFLINE)

int evacuate_init(struct evacuate *evacuate, const struct sysroot *sysroot,
		  const struct agent_config *config, const struct quiet_pools *quiet,
		  struct lease_book *book, int close_fd)
{
	memset(evacuate, 0, sizeof(*evacuate));
	evacuate->sysroot = sysroot;
	evacuate->config = config;
	evacuate->quiet = quiet;
	evacuate->book = book;
	child_job_init(&evacuate->job, close_fd);
	int error = hooks_init(&evacuate->hooks, sysroot, config);

	if (error == 0)
		error = evacuate_room_init(evacuate);
	return error < 0 ? error : candidates_init(&evacuate->candidates);
}

void evacuate_done(struct evacuate *evacuate)
{
	child_job_done(&evacuate->job);
	hooks_done(&evacuate->hooks);
	evacuate_room_done(evacuate);
	evacuate->log = kernel_log_free(evacuate->log);
	candidates_done(&evacuate->candidates);
}

bool evacuate_is_idle(const struct evacuate *evacuate)
{
	return evacuate->stage == EVACUATE_STAGE_IDLE && child_job_is_idle(&evacuate->job);
}

void evacuate_clear(struct evacuate *evacuate)
{
	evacuate->stage = EVACUATE_STAGE_IDLE;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t evacuate_deadline(const struct evacuate *evacuate, uint64_t now_ms)
{
	if (evacuate->rest_until_ms)
		return evacuate_must_end(evacuate, now_ms)
			       ? now_ms
			       : least(evacuate->rest_until_ms, evacuate->deadline_ms);
	return child_job_deadline(&evacuate->job, now_ms);
}

void evacuate_cancel(struct evacuate *evacuate, uint64_t now_ms)
{
	if (evacuate->stage == EVACUATE_STAGE_IDLE || evacuate->stage == EVACUATE_STAGE_DONE)
		return;
	evacuate->cancelled = true;
	child_job_kill(&evacuate->job, now_ms);
}

static struct message_evacuate_reply *reply(struct evacuate *evacuate)
{
	return &evacuate->reply.evacuate_reply;
}

void evacuate_add_rung(struct evacuate *evacuate, enum message_rung rung, uint64_t gained,
		       enum message_reason reason, uint64_t now_ms)
{
	struct message_evacuate_reply *r = reply(evacuate);

	if (r->rung_count < MESSAGE_RUNG_COUNT)
		r->rungs[r->rung_count++] = (struct message_rung_gain){
			.rung = rung,
			.gained_bytes = gained,
			.elapsed_ms =
				(uint32_t)least(now_ms - evacuate->stage_started_ms, UINT32_MAX),
			.reason = reason};
}

struct lease *evacuate_own_lease(struct evacuate *evacuate)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);

	return lease && !lease->ending ? lease : NULL;
}

void evacuate_fail(struct evacuate *evacuate, const char *text)
{
	reply(evacuate)->code = MESSAGE_RESULT_FAILED;
	snprintf(reply(evacuate)->text, sizeof(reply(evacuate)->text), "%s", text);
}

void evacuate_fail_unwritten(struct evacuate *evacuate)
{
	const struct lease *lease = evacuate_own_lease(evacuate);

	if (reply(evacuate)->code == MESSAGE_RESULT_FAILED)
		return;
	if (!lease)
		evacuate_fail(evacuate, "the lease has ended");
	else if (lease->entries.count == LEASE_ENTRIES_MAX)
		evacuate_fail(evacuate, "the lease has no room for another change");
	else
		evacuate_fail(evacuate, "there is no memory to write a change down");
}

bool evacuate_save(struct evacuate *evacuate)
{
	struct failure failure;
	char text[512];

	if (lease_book_save(evacuate->book, &failure) == 0)
		return true;
	evacuate_fail(evacuate, failure_format(&failure, text, sizeof(text)));
	return false;
}

/* Compaction. */

static struct child_job_result run_compact(void *argument)
{
	struct evacuate *evacuate = argument;

	return (struct child_job_result){
		.error =
			-sysroot_write_text(evacuate->sysroot, "1", "/proc/sys/vm/compact_memory")};
}

/* What is free in whole pageblocks, or 0 where the kernel does not tell. */
static uint64_t large_bytes(const struct evacuate *evacuate)
{
	struct free_areas areas = {0};

	free_areas_read(evacuate->sysroot, free_areas_block_order(evacuate->sysroot), &areas);
	return areas.bytes;
}

static void begin_compact(struct evacuate *evacuate, uint64_t now_ms)
{
	evacuate->large_bytes = large_bytes(evacuate);
	if (!sysroot_exists(evacuate->sysroot, "/proc/sys/vm/compact_memory"))
		return;
	if (child_job_start(&evacuate->job, run_compact, evacuate,
			    least(evacuate->deadline_ms, now_ms + EVACUATE_COMPACT_MS)) < 0)
		evacuate_fail(evacuate, "cannot start a child process");
}

/* Not memory that was not free before, but free memory that a block can be emptied into, or that
 * the driver can take as it is. What others allocated meanwhile is no loss of compaction's. */
static void end_compact(struct evacuate *evacuate, uint64_t now_ms)
{
	uint64_t now_large = large_bytes(evacuate);

	evacuate_add_rung(evacuate, MESSAGE_RUNG_COMPACT,
			  now_large > evacuate->large_bytes ? now_large - evacuate->large_bytes : 0,
			  MESSAGE_REASON_UNKNOWN, now_ms);
}

/* The whole. */

static enum message_result_code judge(const struct evacuate *evacuate, uint64_t now_ms)
{
	const struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;
	bool offline = evacuate->request.flags & MESSAGE_EVACUATE_OFFLINE;
	bool all = evacuate->parts.stayed == 0, any = r->offlined_bytes > 0;
	bool frees = evacuate->request.flags & MESSAGE_EVACUATE_HUGE_PAGES;

	if (r->code == MESSAGE_RESULT_FAILED || evacuate->cancelled)
		return evacuate->cancelled ? MESSAGE_RESULT_CANCELLED : MESSAGE_RESULT_FAILED;
	if (offline && evacuate->request.target_bytes)
		all = r->offlined_bytes >= evacuate->request.target_bytes;
	else if (frees && evacuate->request.target_bytes)
		all = evacuate_pools_gained(evacuate) >= evacuate->request.target_bytes;
	for (size_t i = 0; i < r->rung_count; i++) {
		all &= r->rungs[i].reason == MESSAGE_REASON_UNKNOWN;
		any |= r->rungs[i].gained_bytes > 0;
	}
	if (all && !evacuate->vetoed)
		return MESSAGE_RESULT_OK;
	if (any)
		return MESSAGE_RESULT_PARTIAL;
	return now_ms >= evacuate->deadline_ms ? MESSAGE_RESULT_TIMED_OUT : MESSAGE_RESULT_PARTIAL;
}

static void describe(struct evacuate *evacuate)
{
	struct message_evacuate_reply *r = reply(evacuate);

	if (r->text[0])
		return;
	if (evacuate->vetoed)
		snprintf(r->text, sizeof(r->text), "the guest's configuration forbids some of it");
	if (evacuate->vetoed || r->block_count == 0)
		return;
	snprintf(r->text, sizeof(r->text), "%u of %u blocks are offline%s", evacuate->parts.out, r->blocks_total,
		 evacuate->stuck ? "; the kernel does not end the offlining of one" : "");
}

static bool wants(const struct evacuate *evacuate, uint32_t flag)
{
	return evacuate->request.flags & flag;
}

bool evacuate_must_end(const struct evacuate *evacuate, uint64_t now_ms)
{
	return evacuate->cancelled || evacuate->stuck || now_ms >= evacuate->deadline_ms ||
	       evacuate->reply.evacuate_reply.code == MESSAGE_RESULT_FAILED;
}

/* Goes on until a stage has a child to wait for, or all is done. */
static void enter(struct evacuate *evacuate, enum evacuate_stage stage, uint64_t now_ms)
{
	if (evacuate_must_end(evacuate, now_ms))
		stage = EVACUATE_STAGE_DONE;
	evacuate->stage = stage;
	evacuate->stage_started_ms = now_ms;
	switch (stage) {
	case EVACUATE_STAGE_HOOKS:
		if (wants(evacuate, MESSAGE_EVACUATE_HOOKS))
			evacuate_hooks_begin(evacuate, now_ms);
		return;
	case EVACUATE_STAGE_HUGE_PAGES:
		if (wants(evacuate, MESSAGE_EVACUATE_HUGE_PAGES))
			evacuate_pools_begin(evacuate);
		return;
	case EVACUATE_STAGE_COMPACT:
		if (wants(evacuate, MESSAGE_EVACUATE_COMPACT))
			begin_compact(evacuate, now_ms);
		return;
	case EVACUATE_STAGE_RECLAIM:
		if (wants(evacuate, MESSAGE_EVACUATE_RECLAIM))
			evacuate_reclaim_begin(evacuate);
		return;
	case EVACUATE_STAGE_MAKE_ROOM:
		if (wants(evacuate, MESSAGE_EVACUATE_MAKE_ROOM))
			evacuate_room_begin(evacuate);
		return;
	case EVACUATE_STAGE_CENSUS:
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE))
			evacuate_census_begin(evacuate, now_ms);
		return;
	case EVACUATE_STAGE_OFFLINE:
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE))
			evacuate_offline_begin(evacuate, now_ms);
		return;
	case EVACUATE_STAGE_DONE:
		reply(evacuate)->code = judge(evacuate, now_ms);
		describe(evacuate);
		return;
	case EVACUATE_STAGE_IDLE:
		return;
	}
}

/* The stage's child has ended, or it had none. */
static void leave(struct evacuate *evacuate, enum child_job_state state,
		  const struct child_job_result *result, uint64_t now_ms)
{
	switch (evacuate->stage) {
	case EVACUATE_STAGE_HOOKS:
		if (evacuate_hooks_step(evacuate, state, result, now_ms))
			return;
		if (wants(evacuate, MESSAGE_EVACUATE_HOOKS))
			evacuate_hooks_end(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_HUGE_PAGES, now_ms);
		return;
	case EVACUATE_STAGE_HUGE_PAGES:
		if (wants(evacuate, MESSAGE_EVACUATE_HUGE_PAGES))
			evacuate_pools_end(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_COMPACT, now_ms);
		return;
	case EVACUATE_STAGE_COMPACT:
		if (wants(evacuate, MESSAGE_EVACUATE_COMPACT))
			end_compact(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_RECLAIM, now_ms);
		return;
	case EVACUATE_STAGE_RECLAIM:
		if (wants(evacuate, MESSAGE_EVACUATE_RECLAIM))
			evacuate_reclaim_end(evacuate, state, result, now_ms);
		enter(evacuate, EVACUATE_STAGE_MAKE_ROOM, now_ms);
		return;
	case EVACUATE_STAGE_MAKE_ROOM:
		if (wants(evacuate, MESSAGE_EVACUATE_MAKE_ROOM))
			evacuate_room_end(evacuate, state, now_ms);
		enter(evacuate, EVACUATE_STAGE_CENSUS, now_ms);
		return;
	case EVACUATE_STAGE_CENSUS:
		evacuate_census_end(evacuate, state);
		/* Out of time between two parts: what came of the first one is told. */
		if (evacuate->parts.out + evacuate->parts.stayed > 0 && evacuate_must_end(evacuate, now_ms)) {
			evacuate_offline_end_part(evacuate, now_ms);
			evacuate_offline_end(evacuate, now_ms);
		}
		enter(evacuate, EVACUATE_STAGE_OFFLINE, now_ms);
		return;
	case EVACUATE_STAGE_OFFLINE:
		if (evacuate_offline_step(evacuate, state, result, now_ms))
			return;
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE) && evacuate_offline_end_part(evacuate, now_ms)) {
			enter(evacuate, EVACUATE_STAGE_CENSUS, now_ms);
			return;
		}
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE))
			evacuate_offline_end(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_DONE, now_ms);
		return;
	case EVACUATE_STAGE_DONE:
	case EVACUATE_STAGE_IDLE:
		return;
	}
}

static bool is_resting(const struct evacuate *evacuate, uint64_t now_ms)
{
	return evacuate->rest_until_ms > now_ms && !evacuate_must_end(evacuate, now_ms);
}

enum evacuate_step evacuate_step(struct evacuate *evacuate, uint64_t now_ms)
{
	enum evacuate_step news = EVACUATE_STEP_NOTHING;

	for (;;) {
		struct child_job_result result = {0};

		if (evacuate->stage == EVACUATE_STAGE_DONE)
			return EVACUATE_STEP_FINISHED;
		enum child_job_state state = child_job_poll(&evacuate->job, now_ms, &result);

		/* Once the reply is out, a stuck child only keeps the place occupied. */
		if (evacuate->stage == EVACUATE_STAGE_IDLE || state == CHILD_JOB_RUNNING ||
		    is_resting(evacuate, now_ms))
			return news;
		if (state == CHILD_JOB_STUCK)
			evacuate->stuck = true;
		leave(evacuate, state, &result, now_ms);
		news = EVACUATE_STEP_PROGRESS;
	}
}

static bool ranges_are_valid(const struct message_evacuate *request)
{
	for (size_t i = 0; i < request->range_count; i++)
		if (request->ranges[i].size_bytes == 0 ||
		    request->ranges[i].start > UINT64_MAX - request->ranges[i].size_bytes)
			return false;
	return true;
}

static enum message_result_code refuse(struct failure *failure, enum message_result_code code,
				       int error, const char *cause)
{
	failure_set(failure, error, "evacuation", "refused");
	failure_set_cause(failure, "%s", cause);
	return code;
}

enum message_result_code evacuate_start(struct evacuate *evacuate, enum message_type type,
					const struct message_evacuate *request, uint64_t epoch,
					uint32_t request_id, uint64_t now_ms,
					struct failure *failure)
{
	unsigned veto = evacuate->config->veto;
	uint32_t flags = request->flags;
	uint32_t allowed = type == MESSAGE_PREPARE
				   ? KNOWN_RUNGS & ~MESSAGE_EVACUATE_OFFLINE
				   : KNOWN_RUNGS;

	if (!evacuate_is_idle(evacuate))
		return refuse(failure, MESSAGE_RESULT_BUSY, EBUSY,
			      evacuate->stage == EVACUATE_STAGE_IDLE
				      ? "the kernel does not end an offlining"
				      : "one evacuation at a time");
	if (flags == 0 || (flags & ~allowed))
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL, "unknown or no rungs");
	if (request->deadline_ms == 0 || request->deadline_ms > LIMIT_DEADLINE_MS)
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL, "deadline out of bounds");
	if (request->lease.lease_ms == 0 || request->lease.lease_ms > LIMIT_LEASE_MS)
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL, "lease out of bounds");
	if ((flags & MESSAGE_EVACUATE_RECLAIM) && request->target_bytes == 0)
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL,
			      "reclaiming needs an amount");
	if (request->work_percent > 100)
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL, "a share beyond 100 %");
	if (!ranges_are_valid(request))
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL,
			      "a range is empty or beyond all addresses");
	if (!evacuate->config->hooks)
		flags &= ~MESSAGE_EVACUATE_HOOKS;
	if (veto & AGENT_CONFIG_VETO_HUGE_PAGES)
		flags &= ~(MESSAGE_EVACUATE_HUGE_PAGES | MESSAGE_EVACUATE_MAKE_ROOM);
	if (veto & AGENT_CONFIG_VETO_COMPACT)
		flags &= ~MESSAGE_EVACUATE_COMPACT;
	if (veto & AGENT_CONFIG_VETO_RECLAIM)
		flags &= ~MESSAGE_EVACUATE_RECLAIM;
	if (veto & AGENT_CONFIG_VETO_OFFLINE)
		flags &= ~MESSAGE_EVACUATE_OFFLINE;
	if (veto & AGENT_CONFIG_VETO_SHRINK)
		flags = 0;
	if (flags == 0)
		return refuse(failure, MESSAGE_RESULT_VETOED, EPERM,
			      "the guest's configuration forbids it");
	if (!lease_book_open(evacuate->book, request->lease.id, request->lease.lease_ms, now_ms))
		return refuse(failure, MESSAGE_RESULT_BUSY, EBUSY,
			      "too many leases, or this one is being undone");
	evacuate->type = type;
	evacuate->epoch = epoch;
	evacuate->request_id = request_id;
	evacuate->request = *request;
	evacuate->request.flags = flags;
	evacuate->vetoed = flags != request->flags;
	evacuate->deadline_ms = now_ms + request->deadline_ms;
	evacuate->no_memory = evacuate->cancelled = evacuate->stuck =
		evacuate->unplug_online_changed = false;
	evacuate->candidates.count = evacuate->candidates.left = 0;
	evacuate->parts = (struct evacuate_parts){0};
	evacuate->current = NULL;
	evacuate->rest_until_ms = 0;
	evacuate->plan.count = 0;
	evacuate_surplus_adopt(evacuate);
	memset(&evacuate->reply, 0, sizeof(evacuate->reply));
	evacuate->reply.type = MESSAGE_EVACUATE_REPLY;
	enter(evacuate, EVACUATE_STAGE_HOOKS, now_ms);
	return MESSAGE_RESULT_OK;
}

void evacuate_progress(const struct evacuate *evacuate, struct message_progress *ret_progress)
{
	*ret_progress = (struct message_progress){.total_bytes = evacuate->request.target_bytes};
	switch (evacuate->stage) {
	case EVACUATE_STAGE_HOOKS:
		ret_progress->stage = MESSAGE_STAGE_HOOKS;
		break;
	case EVACUATE_STAGE_HUGE_PAGES:
		ret_progress->stage = MESSAGE_STAGE_HUGE_PAGES;
		break;
	case EVACUATE_STAGE_COMPACT:
		ret_progress->stage = MESSAGE_STAGE_COMPACT;
		ret_progress->done_bytes = evacuate_pools_gained(evacuate);
		break;
	case EVACUATE_STAGE_RECLAIM:
		ret_progress->stage = MESSAGE_STAGE_RECLAIM;
		break;
	case EVACUATE_STAGE_MAKE_ROOM:
		ret_progress->stage = MESSAGE_STAGE_MAKE_ROOM;
		break;
	case EVACUATE_STAGE_CENSUS:
	case EVACUATE_STAGE_OFFLINE:
	case EVACUATE_STAGE_DONE:
		ret_progress->stage = MESSAGE_STAGE_OFFLINE;
		ret_progress->done_bytes = evacuate->reply.evacuate_reply.offlined_bytes +
					   candidates_out_bytes(&evacuate->candidates);
		break;
	case EVACUATE_STAGE_IDLE:
		break;
	}
}
