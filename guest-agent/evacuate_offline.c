/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last rung: blocks chosen, and taken offline one by one, each in a child with a deadline.
 */
#include "evacuate_priv.h"

#include "kernel_log.h"
#include "memory_block.h"
#include "report.h"
#include "zones.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Choosing. */

/* Of named ranges, when not less is asked for than they have: then the order is no matter. */
static bool all_must_go(const struct evacuate *evacuate)
{
	const struct message_evacuate *request = &evacuate->request;
	uint64_t bytes = evacuate->reply.evacuate_reply.offlined_bytes;

	for (size_t i = 0; i < evacuate->candidates.count; i++)
		bytes += evacuate->candidates.items[i].size_bytes;
	return request->range_count > 0 &&
	       (!request->target_bytes || (evacuate->candidates.left == 0 && request->target_bytes >= bytes));
}

static struct child_job_result run_census(void *argument)
{
	struct evacuate *evacuate = argument;
	int error = hugepages_apply(evacuate->sysroot, &evacuate->plan);

	return (struct child_job_result){
		.outcome = all_must_go(evacuate) ? 0
						 : candidates_count_pages(&evacuate->candidates,
									  evacuate->sysroot),
		.error = -error};
}

void evacuate_census_begin(struct evacuate *evacuate, uint64_t now_ms)
{
	struct lease *lease = evacuate_own_lease(evacuate);

	evacuate->work_began_ms = now_ms;
	evacuate->plan.count = 0;
	if (evacuate->candidates.left > 0) {
		candidates_choose_more(&evacuate->candidates, evacuate->sysroot, &evacuate->request);
	} else {
		evacuate->parts.began_ms = now_ms;
		candidates_choose(&evacuate->candidates, evacuate->sysroot, &evacuate->request);
	}
	if (evacuate->candidates.count == 0)
		return;
	if (!lease || !evacuate_surplus_begin(evacuate, lease, true) ||
	    (evacuate->plan.count > 0 && !evacuate_save(evacuate))) {
		evacuate->plan.count = 0;
		evacuate_fail_unwritten(evacuate);
		return;
	}
	if (evacuate->plan.count == 0 && all_must_go(evacuate))
		return;
	/* Without an answer the order stays as it is. */
	child_job_start(&evacuate->job, run_census, evacuate,
			least(evacuate->deadline_ms, now_ms + EVACUATE_CENSUS_MS));
}

/* Offlining. */

static bool target_is_reached(const struct evacuate *evacuate)
{
	return evacuate->request.target_bytes &&
	       evacuate->reply.evacuate_reply.offlined_bytes + candidates_out_bytes(&evacuate->candidates) >=
		       evacuate->request.target_bytes;
}

static struct child_job_result run_offline(void *argument)
{
	struct evacuate *evacuate = argument;
	enum memory_block_offline_result result;
	int error = memory_block_offline(evacuate->sysroot, evacuate->current->id, &result);

	if (error < 0)
		return (struct child_job_result){.outcome = MEMORY_BLOCK_OFFLINE_COUNT,
						 .error = -error};
	return (struct child_job_result){.outcome = (int32_t)result};
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

/* Free huge pages that are there for those in use in the blocks: no available memory to the kernel,
 * but what these need no other for. */
static uint64_t room_bytes(struct evacuate *evacuate)
{
	struct lease *lease = evacuate_own_lease(evacuate);
	uint64_t bytes = 0;

	for (size_t i = 0; lease && i < lease->entries.count; i++) {
		const struct lease_entry *entry = &lease->entries.items[i];
		struct hugepage_pool pool;

		if (entry->kind == LEASE_ROOM &&
		    hugepage_pool_read(evacuate->sysroot, HUGEPAGE_POOL_ALL_NODES, entry->key,
				       &pool) == 0)
			bytes += least(pool.free, entry->took) * entry->key;
	}
	return bytes;
}

/* Every byte of the block is gone from the guest afterwards, used or not. Something must
 * be left, for an evacuation that brings the OOM killer has helped nobody. */
static bool has_memory_for(struct evacuate *evacuate, const struct candidate *candidate)
{
	uint64_t total, free_bytes, available;

	if (report_read_memory(evacuate->sysroot, &total, &free_bytes, &available) < 0)
		return true;
	available += room_bytes(evacuate);
	return available >= candidate->size_bytes &&
	       available - candidate->size_bytes >= report_keep_bytes(evacuate->config, total);
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
	evacuate->work_began_ms = now_ms;
	evacuate_loss_look(evacuate);
	return child_job_start(&evacuate->job, run_offline, evacuate,
			       least(evacuate->deadline_ms, now_ms + block_ms)) == 0;
}

/* What has just been worked is to be no more than its share of the time until the guest is disturbed again. */
static bool rest(struct evacuate *evacuate, uint64_t now_ms)
{
	unsigned percent = evacuate->request.work_percent;
	uint64_t worked_ms = now_ms - evacuate->work_began_ms;

	if (!percent || percent >= 100 || !worked_ms || target_is_reached(evacuate))
		return false;
	evacuate->rest_until_ms = now_ms + worked_ms * (100 - percent) / percent;
	return true;
}

void evacuate_census_end(struct evacuate *evacuate, enum child_job_state state)
{
	if (state == CHILD_JOB_DONE || state == CHILD_JOB_KILLED)
		candidates_sort(&evacuate->candidates);
	evacuate_surplus_end(evacuate);
	evacuate->plan.count = 0;
}

void evacuate_offline_begin(struct evacuate *evacuate, uint64_t now_ms)
{
	struct lease *lease = evacuate_own_lease(evacuate);

	evacuate->loss.begin.count = 0;
	if (evacuate->candidates.count == 0 || target_is_reached(evacuate))
		return;
	/* An undo begins with what came last: pools grow when the blocks are back. */
	if (!lease || !evacuate_loss_begin(evacuate, lease) || !hold_driver(evacuate, lease) ||
	    !write_blocks_down(evacuate, lease)) {
		evacuate_fail_unwritten(evacuate);
		return;
	}
	/* Without it there is only less to say. */
	kernel_log_new(evacuate->sysroot, &evacuate->log);
	if (!rest(evacuate, now_ms))
		offline_next(evacuate, now_ms);
}

static void end_block(struct evacuate *evacuate, enum child_job_state state,
		      const struct child_job_result *result)
{
	struct candidate *candidate = evacuate->current;
	enum message_reason reason = MESSAGE_REASON_BUSY;

	switch (state) {
	case CHILD_JOB_DONE:
		reason = candidates_reason((enum memory_block_offline_result)result->outcome);
		candidate->error = (uint32_t)result->error;
		break;
	case CHILD_JOB_KILLED:
		reason = evacuate->cancelled ? MESSAGE_REASON_CANCELLED : MESSAGE_REASON_TIMED_OUT;
		break;
	case CHILD_JOB_STUCK:
		reason = MESSAGE_REASON_KERNEL_STUCK;
		evacuate->stuck = true;
		break;
	case CHILD_JOB_CRASHED:
	case CHILD_JOB_IDLE:
	case CHILD_JOB_RUNNING:
		break;
	}
	candidates_judge(candidate, evacuate->sysroot, evacuate->log, &evacuate->pinned, reason);
}

bool evacuate_offline_step(struct evacuate *evacuate, enum child_job_state state,
			   const struct child_job_result *result, uint64_t now_ms)
{
	if (state == CHILD_JOB_IDLE && !evacuate->rest_until_ms)
		return false;
	if (state != CHILD_JOB_IDLE) {
		evacuate_loss_count(evacuate);
		end_block(evacuate, state, result);
		if (rest(evacuate, now_ms))
			return true;
	}
	evacuate->rest_until_ms = 0;
	return offline_next(evacuate, now_ms) ||
	       (!evacuate_must_end(evacuate, now_ms) && !target_is_reached(evacuate) &&
		candidates_retry(&evacuate->candidates) && offline_next(evacuate, now_ms));
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

/* A chosen shrink needs the driver's own work again for what is smaller than a block, also where the choice was within
 * ranges; where all that is named must go, these blocks must be the only ones until the lease ends. */
static void release_driver(struct evacuate *evacuate, struct lease *lease)
{
	struct lease_entry *entry = lease_entries_find(&lease->entries, LEASE_UNPLUG_ONLINE, -1, 0);

	if (!evacuate->unplug_online_changed ||
	    (evacuate->request.range_count > 0 && evacuate->request.target_bytes == 0))
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

/* Where not all can be told, what stays matters more than what is out. */
static void tell_block(struct message_evacuate_reply *r, const struct candidate *candidate)
{
	size_t place = r->block_count;

	if (place == LIMIT_BLOCKS)
		for (place = 0; place < LIMIT_BLOCKS; place++)
			if (!candidates_is_out(candidate->reason) && candidates_is_out(r->blocks[place].reason))
				break;
	if (place == LIMIT_BLOCKS)
		return;
	r->blocks[place] = (struct message_block_outcome){.id = candidate->id,
							  .start = candidate->start,
							  .size_bytes = candidate->size_bytes,
							  .reason = candidate->reason,
							  .error = candidate->error};
	if (place == r->block_count)
		r->block_count++;
}

static void book_block(struct evacuate *evacuate, struct candidate *candidate)
{
	struct evacuate_parts *parts = &evacuate->parts;

	if (candidate->reason == MESSAGE_REASON_UNKNOWN)
		candidate->reason = untried_reason(evacuate);
	/* Not needed, so not tried. */
	if (candidate->reason == MESSAGE_REASON_UNKNOWN)
		return;
	if (candidate->reason == MESSAGE_REASON_OFFLINED || candidate->reason == MESSAGE_REASON_GONE)
		parts->won_bytes += candidate->size_bytes;
	if (candidates_is_out(candidate->reason))
		parts->out++;
	else
		parts->stayed++;
	tell_block(&evacuate->reply.evacuate_reply, candidate);
}

bool evacuate_offline_end_part(struct evacuate *evacuate, uint64_t now_ms)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);
	bool is_reached = target_is_reached(evacuate);

	for (size_t i = 0; i < evacuate->candidates.count; i++)
		book_block(evacuate, &evacuate->candidates.items[i]);
	evacuate_loss_end(evacuate);
	if (lease) {
		forget_blocks(evacuate, lease);
		release_driver(evacuate, lease);
	}
	lease_book_save(evacuate->book, NULL);
	evacuate->reply.evacuate_reply.offlined_bytes += candidates_out_bytes(&evacuate->candidates);
	evacuate->log = kernel_log_free(evacuate->log);
	evacuate->candidates.count = 0;
	return evacuate->candidates.left > 0 && !is_reached && !evacuate->no_memory && !evacuate_must_end(evacuate, now_ms);
}

void evacuate_offline_end(struct evacuate *evacuate, uint64_t now_ms)
{
	struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;
	struct evacuate_parts *parts = &evacuate->parts;

	if (!target_is_reached(evacuate)) {
		parts->stayed += (uint32_t)evacuate->candidates.left;
		candidates_give_up(&evacuate->candidates);
	}
	r->blocks_total = parts->out + parts->stayed;
	evacuate->stage_started_ms = parts->began_ms;
	evacuate_add_rung(evacuate, MESSAGE_RUNG_OFFLINE, parts->won_bytes, MESSAGE_REASON_UNKNOWN, now_ms);
}
