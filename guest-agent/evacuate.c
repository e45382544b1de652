/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   start ---> HUGE_PAGES ---> COMPACT ---> CENSUS ---> OFFLINE (block by block) ---> DONE --->
 * IDLE
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
#include "memory_block.h"
#include "report.h"
#include "sysroot.h"
#include "zones.h"

int evacuate_init(struct evacuate *evacuate, const struct sysroot *sysroot,
		  const struct agent_config *config, struct lease_book *book, int close_fd)
{
	memset(evacuate, 0, sizeof(*evacuate));
	evacuate->sysroot = sysroot;
	evacuate->config = config;
	evacuate->book = book;
	job_init(&evacuate->job, close_fd);
	return candidates_init(&evacuate->candidates);
}

void evacuate_done(struct evacuate *evacuate)
{
	job_done(&evacuate->job);
	candidates_done(&evacuate->candidates);
}

bool evacuate_is_idle(const struct evacuate *evacuate)
{
	return evacuate->stage == EVACUATE_STAGE_IDLE && job_is_idle(&evacuate->job);
}

void evacuate_clear(struct evacuate *evacuate)
{
	evacuate->stage = EVACUATE_STAGE_IDLE;
}

uint64_t evacuate_deadline(const struct evacuate *evacuate, uint64_t now_ms)
{
	return job_deadline(&evacuate->job, now_ms);
}

void evacuate_cancel(struct evacuate *evacuate, uint64_t now_ms)
{
	if (evacuate->stage == EVACUATE_STAGE_IDLE || evacuate->stage == EVACUATE_STAGE_DONE)
		return;
	evacuate->cancelled = true;
	job_kill(&evacuate->job, now_ms);
}

static struct message_evacuate_reply *reply(struct evacuate *evacuate)
{
	return &evacuate->reply.evacuate_reply;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void evacuate_add_rung(struct evacuate *evacuate, enum message_rung rung, uint64_t gained,
		       uint64_t now_ms)
{
	struct message_evacuate_reply *r = reply(evacuate);

	if (r->rung_count < MESSAGE_RUNG_COUNT)
		r->rungs[r->rung_count++] = (struct message_rung_gain){
			.rung = rung,
			.gained_bytes = gained,
			.elapsed_ms =
				(uint32_t)least(now_ms - evacuate->stage_started_ms, UINT32_MAX)};
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

static struct job_result run_compact(void *argument)
{
	struct evacuate *evacuate = argument;

	return (struct job_result){.error = -sysroot_write_text(evacuate->sysroot, "1",
								"/proc/sys/vm/compact_memory")};
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
	if (job_start(&evacuate->job, run_compact, evacuate,
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
			  now_ms);
}

/* Choosing. */

static struct job_result run_census(void *argument)
{
	struct evacuate *evacuate = argument;

	return (struct job_result){
		.outcome = candidates_count_pages(&evacuate->candidates, evacuate->sysroot)};
}

/* Of named ranges, when not less is asked for than they have: then the order is no matter. */
static bool all_must_go(const struct evacuate *evacuate)
{
	const struct message_evacuate *request = &evacuate->request;
	uint64_t bytes = 0;

	for (size_t i = 0; i < evacuate->candidates.count; i++)
		bytes += evacuate->candidates.items[i].size_bytes;
	return request->range_count > 0 && (!request->target_bytes || request->target_bytes >= bytes);
}

static void begin_census(struct evacuate *evacuate, uint64_t now_ms)
{
	candidates_choose(&evacuate->candidates, evacuate->sysroot, &evacuate->request);
	if (evacuate->candidates.count == 0 || all_must_go(evacuate))
		return;
	/* Without an answer the order stays as it is. */
	job_start(&evacuate->job, run_census, evacuate,
		  least(evacuate->deadline_ms, now_ms + EVACUATE_CENSUS_MS));
}

/* Offlining. */

static bool target_is_reached(const struct evacuate *evacuate)
{
	return evacuate->request.target_bytes &&
	       candidates_out_bytes(&evacuate->candidates) >= evacuate->request.target_bytes;
}

static struct job_result run_offline(void *argument)
{
	struct evacuate *evacuate = argument;
	enum memory_block_offline_result result;
	int error = memory_block_offline(evacuate->sysroot, evacuate->current->id, &result);

	if (error < 0)
		return (struct job_result){.outcome = MEMORY_BLOCK_OFFLINE_COUNT, .error = -error};
	return (struct job_result){.outcome = (int32_t)result};
}

/* While the driver may take online blocks, it and we would work on the same ones under its lock. */
static bool hold_driver(struct evacuate *evacuate, struct lease *lease)
{
	struct zones_policy policy;
	struct lease_entry entry = {.kind = LEASE_UNPLUG_ONLINE, .node_id = -1, .old = 1};

	zones_read_policy(evacuate->sysroot, &policy);
	if (policy.unplug_online != 1)
		return true;
	if (lease_entries_add(&lease->entries, &entry) < 0 || !evacuate_save(evacuate))
		return false;
	evacuate->unplug_online_changed = zones_set_unplug_online(evacuate->sysroot, false) == 0;
	return true;
}

/* Written down in one go for all blocks: an undo leaves alone those that are online. */
static bool write_blocks_down(struct evacuate *evacuate, struct lease *lease)
{
	for (size_t i = 0; i < evacuate->candidates.count; i++) {
		const struct candidate *candidate = &evacuate->candidates.items[i];
		struct lease_entry entry = {.kind = LEASE_BLOCK,
					    .node_id = -1,
					    .key = candidate->id,
					    .old = (uint64_t)candidate->zone};

		if (candidate->reason == MESSAGE_REASON_UNKNOWN &&
		    lease_entries_add(&lease->entries, &entry) < 0)
			return false;
	}
	return evacuate_save(evacuate);
}

/* Every byte of the block is gone from the guest afterwards, used or not. What must be left: a 32nd
 * of it all, for an evacuation that brings the OOM killer has helped nobody. */
static bool has_memory_for(const struct evacuate *evacuate, const struct candidate *candidate)
{
	uint64_t total, free_bytes, available;

	if (report_read_memory(evacuate->sysroot, &total, &free_bytes, &available) < 0)
		return true;
	return available >= candidate->size_bytes &&
	       available - candidate->size_bytes >= total / 32;
}

/* Starts the next block that was not tried. False where none is left, or none is needed. */
static bool offline_next(struct evacuate *evacuate, uint64_t now_ms)
{
	uint32_t block_ms = evacuate->request.block_deadline_ms
				    ? evacuate->request.block_deadline_ms
				    : EVACUATE_BLOCK_DEADLINE_MS;

	if (target_is_reached(evacuate) || evacuate->cancelled || evacuate->stuck ||
	    now_ms >= evacuate->deadline_ms)
		return false;
	evacuate->current = candidates_next(&evacuate->candidates);
	if (!evacuate->current)
		return false;
	if (!has_memory_for(evacuate, evacuate->current)) {
		evacuate->no_memory = true;
		return false;
	}
	return job_start(&evacuate->job, run_offline, evacuate,
			 least(evacuate->deadline_ms, now_ms + block_ms)) == 0;
}

static void begin_offline(struct evacuate *evacuate, uint64_t now_ms)
{
	struct lease *lease = evacuate_own_lease(evacuate);

	if (evacuate->candidates.count == 0 || target_is_reached(evacuate))
		return;
	if (!lease || !hold_driver(evacuate, lease) || !write_blocks_down(evacuate, lease)) {
		if (reply(evacuate)->code != MESSAGE_RESULT_FAILED)
			evacuate_fail(evacuate, "the lease has ended");
		return;
	}
	offline_next(evacuate, now_ms);
}

static void end_block(struct evacuate *evacuate, enum job_state state,
		      const struct job_result *result)
{
	struct candidate *candidate = evacuate->current;
	enum message_reason reason = MESSAGE_REASON_BUSY;

	switch (state) {
	case JOB_DONE:
		reason = candidates_reason((enum memory_block_offline_result)result->outcome);
		candidate->error = (uint32_t)result->error;
		break;
	case JOB_KILLED:
		reason = evacuate->cancelled ? MESSAGE_REASON_CANCELLED : MESSAGE_REASON_TIMED_OUT;
		break;
	case JOB_STUCK:
		reason = MESSAGE_REASON_KERNEL_STUCK;
		evacuate->stuck = true;
		break;
	case JOB_CRASHED:
	case JOB_IDLE:
	case JOB_RUNNING:
		break;
	}
	candidates_judge(candidate, evacuate->sysroot, reason);
}

/* Blocks that did not go offline are nothing to undo. */
static void forget_blocks(struct evacuate *evacuate, struct lease *lease)
{
	for (size_t i = 0; i < evacuate->candidates.count; i++) {
		const struct candidate *candidate = &evacuate->candidates.items[i];
		struct lease_entry *entry =
			lease_entries_find(&lease->entries, LEASE_BLOCK, -1, candidate->id);

		/* A stuck one may still go. */
		if (entry && candidate->reason != MESSAGE_REASON_OFFLINED &&
		    candidate->reason != MESSAGE_REASON_KERNEL_STUCK)
			lease_entries_remove(&lease->entries, entry);
	}
}

/* A chosen shrink needs the driver's own work again for what is smaller than a block; named ranges
 * must be the only ones to go until the lease ends. */
static void release_driver(struct evacuate *evacuate, struct lease *lease)
{
	struct lease_entry *entry = lease_entries_find(&lease->entries, LEASE_UNPLUG_ONLINE, -1, 0);

	if (!evacuate->unplug_online_changed || evacuate->request.range_count > 0)
		return;
	evacuate->unplug_online_changed = false;
	if (zones_set_unplug_online(evacuate->sysroot, true) == 0 && entry)
		lease_entries_remove(&lease->entries, entry);
}

/* UNKNOWN: not needed. */
static enum message_reason untried_reason(const struct evacuate *evacuate)
{
	if (target_is_reached(evacuate))
		return MESSAGE_REASON_UNKNOWN;
	if (evacuate->cancelled || evacuate->stuck)
		return MESSAGE_REASON_CANCELLED;
	return evacuate->no_memory ? MESSAGE_REASON_NO_MEMORY : MESSAGE_REASON_TIMED_OUT;
}

static void end_offline(struct evacuate *evacuate, uint64_t now_ms)
{
	struct message_evacuate_reply *r = reply(evacuate);
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);
	uint64_t won = 0;

	for (size_t i = 0; i < evacuate->candidates.count; i++) {
		struct candidate *candidate = &evacuate->candidates.items[i];

		if (candidate->reason == MESSAGE_REASON_UNKNOWN)
			candidate->reason = untried_reason(evacuate);
		if (candidate->reason == MESSAGE_REASON_OFFLINED ||
		    candidate->reason == MESSAGE_REASON_GONE)
			won += candidate->size_bytes;
	}
	if (lease) {
		forget_blocks(evacuate, lease);
		release_driver(evacuate, lease);
		lease_book_save(evacuate->book, NULL);
	}
	for (size_t i = 0; i < evacuate->candidates.count; i++) {
		const struct candidate *candidate = &evacuate->candidates.items[i];

		/* Not needed, so not tried. */
		if (candidate->reason == MESSAGE_REASON_UNKNOWN)
			continue;
		r->blocks[r->block_count++] =
			(struct message_block_outcome){.id = candidate->id,
						       .start = candidate->start,
						       .size_bytes = candidate->size_bytes,
						       .reason = candidate->reason,
						       .error = candidate->error};
	}
	r->blocks_total = (uint32_t)(r->block_count + evacuate->candidates.total -
				     evacuate->candidates.count);
	r->offlined_bytes = candidates_out_bytes(&evacuate->candidates);
	evacuate_add_rung(evacuate, MESSAGE_RUNG_OFFLINE, won, now_ms);
}

/* The whole. */

static enum message_result_code judge(const struct evacuate *evacuate, uint64_t now_ms)
{
	const struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;
	bool offline = evacuate->request.flags & MESSAGE_EVACUATE_OFFLINE;
	bool all = true, any = r->offlined_bytes > 0 || evacuate_pools_gained(evacuate) > 0;

	if (r->code == MESSAGE_RESULT_FAILED || evacuate->cancelled)
		return evacuate->cancelled ? MESSAGE_RESULT_CANCELLED : MESSAGE_RESULT_FAILED;
	for (size_t i = 0; i < r->block_count; i++)
		all &= candidates_is_out(r->blocks[i].reason);
	if (offline && evacuate->request.target_bytes)
		all = r->offlined_bytes >= evacuate->request.target_bytes;
	else if (!offline && evacuate->request.target_bytes)
		all = evacuate_pools_gained(evacuate) >= evacuate->request.target_bytes;
	if (all && !evacuate->vetoed)
		return MESSAGE_RESULT_OK;
	if (any)
		return MESSAGE_RESULT_PARTIAL;
	return now_ms >= evacuate->deadline_ms ? MESSAGE_RESULT_TIMED_OUT : MESSAGE_RESULT_PARTIAL;
}

static void describe(struct evacuate *evacuate)
{
	struct message_evacuate_reply *r = reply(evacuate);
	size_t out = 0;

	if (r->text[0])
		return;
	if (evacuate->vetoed)
		snprintf(r->text, sizeof(r->text), "the guest's configuration forbids some of it");
	if (evacuate->vetoed || r->block_count == 0)
		return;
	for (size_t i = 0; i < r->block_count; i++)
		out += candidates_is_out(r->blocks[i].reason);
	snprintf(r->text, sizeof(r->text), "%zu of %u blocks are offline%s", out, r->block_count,
		 evacuate->stuck ? "; the kernel does not end the offlining of one" : "");
}

static bool wants(const struct evacuate *evacuate, uint32_t flag)
{
	return evacuate->request.flags & flag;
}

static bool must_end(const struct evacuate *evacuate, uint64_t now_ms)
{
	return evacuate->cancelled || evacuate->stuck || now_ms >= evacuate->deadline_ms ||
	       evacuate->reply.evacuate_reply.code == MESSAGE_RESULT_FAILED;
}

/* Goes on until a stage has a child to wait for, or all is done. */
static void enter(struct evacuate *evacuate, enum evacuate_stage stage, uint64_t now_ms)
{
	if (must_end(evacuate, now_ms))
		stage = EVACUATE_STAGE_DONE;
	evacuate->stage = stage;
	evacuate->stage_started_ms = now_ms;
	switch (stage) {
	case EVACUATE_STAGE_HUGE_PAGES:
		if (wants(evacuate, MESSAGE_EVACUATE_HUGE_PAGES))
			evacuate_pools_begin(evacuate);
		return;
	case EVACUATE_STAGE_COMPACT:
		if (wants(evacuate, MESSAGE_EVACUATE_COMPACT))
			begin_compact(evacuate, now_ms);
		return;
	case EVACUATE_STAGE_CENSUS:
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE))
			begin_census(evacuate, now_ms);
		return;
	case EVACUATE_STAGE_OFFLINE:
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE))
			begin_offline(evacuate, now_ms);
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
static void leave(struct evacuate *evacuate, enum job_state state, const struct job_result *result,
		  uint64_t now_ms)
{
	switch (evacuate->stage) {
	case EVACUATE_STAGE_HUGE_PAGES:
		if (wants(evacuate, MESSAGE_EVACUATE_HUGE_PAGES))
			evacuate_pools_end(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_COMPACT, now_ms);
		return;
	case EVACUATE_STAGE_COMPACT:
		if (wants(evacuate, MESSAGE_EVACUATE_COMPACT))
			end_compact(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_CENSUS, now_ms);
		return;
	case EVACUATE_STAGE_CENSUS:
		if (state == JOB_DONE)
			candidates_sort(&evacuate->candidates);
		enter(evacuate, EVACUATE_STAGE_OFFLINE, now_ms);
		return;
	case EVACUATE_STAGE_OFFLINE:
		if (state != JOB_IDLE)
			end_block(evacuate, state, result);
		if (state != JOB_IDLE &&
		    (offline_next(evacuate, now_ms) ||
		     (!must_end(evacuate, now_ms) && !target_is_reached(evacuate) &&
		      candidates_retry(&evacuate->candidates) && offline_next(evacuate, now_ms))))
			return;
		if (wants(evacuate, MESSAGE_EVACUATE_OFFLINE))
			end_offline(evacuate, now_ms);
		enter(evacuate, EVACUATE_STAGE_DONE, now_ms);
		return;
	case EVACUATE_STAGE_DONE:
	case EVACUATE_STAGE_IDLE:
		return;
	}
}

enum evacuate_step evacuate_step(struct evacuate *evacuate, uint64_t now_ms)
{
	enum evacuate_step news = EVACUATE_STEP_NOTHING;

	for (;;) {
		struct job_result result = {0};

		if (evacuate->stage == EVACUATE_STAGE_DONE)
			return EVACUATE_STEP_FINISHED;
		enum job_state state = job_poll(&evacuate->job, now_ms, &result);

		/* Once the reply is out, a stuck child only keeps the place occupied. */
		if (evacuate->stage == EVACUATE_STAGE_IDLE || state == JOB_RUNNING)
			return news;
		if (state == JOB_STUCK)
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
				   ? MESSAGE_EVACUATE_HUGE_PAGES | MESSAGE_EVACUATE_COMPACT
				   : MESSAGE_EVACUATE_ALL;

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
	if (!ranges_are_valid(request))
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL,
			      "a range is empty or beyond all addresses");
	if (veto & AGENT_CONFIG_VETO_HUGE_PAGES)
		flags &= ~MESSAGE_EVACUATE_HUGE_PAGES;
	if (veto & AGENT_CONFIG_VETO_COMPACT)
		flags &= ~MESSAGE_EVACUATE_COMPACT;
	if (veto & AGENT_CONFIG_VETO_OFFLINE)
		flags &= ~MESSAGE_EVACUATE_OFFLINE;
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
	evacuate->candidates.count = evacuate->candidates.total = 0;
	evacuate->current = NULL;
	memset(&evacuate->reply, 0, sizeof(evacuate->reply));
	evacuate->reply.type = MESSAGE_EVACUATE_REPLY;
	enter(evacuate, EVACUATE_STAGE_HUGE_PAGES, now_ms);
	return MESSAGE_RESULT_OK;
}

void evacuate_progress(const struct evacuate *evacuate, struct message_progress *ret_progress)
{
	*ret_progress = (struct message_progress){.total_bytes = evacuate->request.target_bytes};
	switch (evacuate->stage) {
	case EVACUATE_STAGE_HUGE_PAGES:
		ret_progress->stage = MESSAGE_STAGE_HUGE_PAGES;
		break;
	case EVACUATE_STAGE_COMPACT:
		ret_progress->stage = MESSAGE_STAGE_COMPACT;
		ret_progress->done_bytes = evacuate_pools_gained(evacuate);
		break;
	case EVACUATE_STAGE_CENSUS:
	case EVACUATE_STAGE_OFFLINE:
	case EVACUATE_STAGE_DONE:
		ret_progress->stage = MESSAGE_STAGE_OFFLINE;
		ret_progress->done_bytes = candidates_out_bytes(&evacuate->candidates);
		break;
	case EVACUATE_STAGE_IDLE:
		break;
	}
}
