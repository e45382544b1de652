/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   start ---> WORK (block by block: those offline, then those in a kernel zone) ---> DONE ---> IDLE
 *
 * A block of a kernel zone is written down under the lease before it goes offline: whatever ends its child, the lease's end
 * brings it back online where it was. What is reached is read from the kernel at the end, when another onliner has had its
 * turn too.
 */
#include "repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent_config.h"
#include "block_census.h"
#include "cleanup.h"
#include "evacuate.h"
#include "failure.h"
#include "lease.h"
#include "report.h"
#include "sysroot.h"
#include "zones.h"

void repair_init(struct repair *repair, const struct sysroot *sysroot, const struct agent_config *config,
		 struct lease_book *book)
{
	memset(repair, 0, sizeof(*repair));
	repair->sysroot = sysroot;
	repair->config = config;
	repair->book = book;
	child_job_init(&repair->job, -1);
}

void repair_done(struct repair *repair)
{
	child_job_done(&repair->job);
}

bool repair_is_idle(const struct repair *repair)
{
	return repair->stage == REPAIR_STAGE_IDLE && child_job_is_idle(&repair->job);
}

void repair_clear(struct repair *repair)
{
	repair->stage = REPAIR_STAGE_IDLE;
}

uint64_t repair_deadline(const struct repair *repair, uint64_t now_ms)
{
	return child_job_deadline(&repair->job, now_ms);
}

void repair_cancel(struct repair *repair, uint64_t now_ms)
{
	if (repair->stage != REPAIR_STAGE_WORK)
		return;
	repair->is_cancelled = true;
	child_job_kill(&repair->job, now_ms);
}

/* Tried before. */

static bool read_inode(const struct sysroot *sysroot, uint64_t id, uint64_t *ret_inode)
{
	struct stat status;
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_PATH | O_DIRECTORY, "/sys/devices/system/memory/memory%" PRIu64, id);

	if (fd < 0 || fstat(fd, &status) < 0)
		return false;
	*ret_inode = status.st_ino;
	return true;
}

/* One that was unplugged since is another one now. */
static void forget_unplugged(struct repair *repair)
{
	size_t kept = 0;

	for (size_t i = 0; i < repair->tried_count; i++) {
		uint64_t inode;

		if (read_inode(repair->sysroot, repair->tried[i].id, &inode) && inode == repair->tried[i].inode)
			repair->tried[kept++] = repair->tried[i];
	}
	repair->tried_count = kept;
}

static bool was_tried(const struct repair *repair, uint64_t id)
{
	for (size_t i = 0; i < repair->tried_count; i++)
		if (repair->tried[i].id == id)
			return true;
	return false;
}

/* Where there is no place to remember it, it is not tried at all. */
static bool remember_try(struct repair *repair, uint64_t id)
{
	uint64_t inode;

	if (repair->tried_count == REPAIR_TRIED_MAX || !read_inode(repair->sysroot, id, &inode))
		return false;
	repair->tried[repair->tried_count++] = (struct repair_tried){.id = id, .inode = inode};
	return true;
}

/* Choosing. */

static bool is_leased(struct repair *repair, uint64_t id)
{
	for (size_t i = 0; i < repair->book->count; i++)
		if (lease_entries_find(&repair->book->leases[i].entries, LEASE_BLOCK, -1, id))
			return true;
	return false;
}

static bool is_wanted(const struct repair *repair, const struct memory_block *block, bool offline)
{
	if (offline)
		return block->state == MEMORY_BLOCK_STATE_OFFLINE && (repair->request.flags & MESSAGE_REPAIR_ONLINE);
	return block->state == MEMORY_BLOCK_STATE_ONLINE && block->zone != MEMORY_ZONE_MOVABLE &&
	       block->zone != MEMORY_ZONE_DEVICE && (repair->request.flags & MESSAGE_REPAIR_ZONES) &&
	       repair->request.policy == MESSAGE_ONLINE_POLICY_MOVABLE;
}

/* UNTRIED: it is to be tried. */
static enum repair_outcome judge_block(struct repair *repair, const struct memory_block *block)
{
	if (is_leased(repair, block->id))
		return REPAIR_LEASED;
	if (was_tried(repair, block->id))
		return REPAIR_GIVEN_UP;
	return block->state != MEMORY_BLOCK_STATE_OFFLINE && block->removable == MEMORY_BLOCK_REMOVABLE_NO
		       ? REPAIR_UNMOVABLE
		       : REPAIR_UNTRIED;
}

static void add(struct repair *repair, const struct memory_block *block, enum repair_outcome outcome)
{
	repair->total++;
	if (repair->count == LIMIT_BLOCKS)
		return;
	repair->blocks[repair->count++] = (struct repair_block){
		.id = block->id,
		.start = block->start,
		.size_bytes = block->size_bytes,
		.was_offline = block->state == MEMORY_BLOCK_STATE_OFFLINE,
		.old_zone = block->zone,
		.outcome = outcome};
}

/* What is online gives room to what is taken offline after it. What is not tried is told where there is room for it. */
static int choose(struct repair *repair)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	struct zones_regions regions;
	int error = memory_block_list_read(repair->sysroot, &list);

	if (error == 0)
		error = zones_read_regions(repair->sysroot, &regions);
	if (error < 0)
		return error;
	for (int turn = 0; turn < 4; turn++)
		for (size_t i = 0; i < list.count; i++) {
			const struct memory_block *block = &list.blocks[i];

			if (zones_find_region(&regions, block) < 0 || !is_wanted(repair, block, turn % 2 == 0))
				continue;
			enum repair_outcome outcome = judge_block(repair, block);

			if ((outcome == REPAIR_UNTRIED) == (turn < 2))
				add(repair, block, outcome);
		}
	return 0;
}

/* In the child. */

static enum memory_zone wished_zone(const struct repair *repair)
{
	return repair->request.policy == MESSAGE_ONLINE_POLICY_MOVABLE ? MEMORY_ZONE_MOVABLE : MEMORY_ZONE_NONE;
}

static enum repair_outcome online(const struct repair *repair, uint64_t id, enum memory_zone zone)
{
	enum memory_block_online_result result;

	if (memory_block_online(repair->sysroot, id, zone, &result) < 0)
		return REPAIR_REFUSED;
	switch (result) {
	case MEMORY_BLOCK_ONLINE_ONLINED:
	case MEMORY_BLOCK_ONLINE_ALREADY:
		return REPAIR_REPAIRED;
	case MEMORY_BLOCK_ONLINE_WRONG_ZONE:
		return REPAIR_GIVEN_UP;
	case MEMORY_BLOCK_ONLINE_GONE:
		return REPAIR_GONE;
	case MEMORY_BLOCK_ONLINE_REFUSED:
	case MEMORY_BLOCK_ONLINE_INTERRUPTED:
	case MEMORY_BLOCK_ONLINE_COUNT:
		break;
	}
	return REPAIR_REFUSED;
}

static enum repair_outcome judge_pages(const struct repair *repair, const struct repair_block *block)
{
	struct block_census census;

	if (block_census_read(repair->sysroot, block->start, block->size_bytes, &census) < 0 || census.kernel > 0)
		return REPAIR_UNMOVABLE;
	return census.empty < census.pages / 2 ? REPAIR_IN_USE : REPAIR_UNTRIED;
}

static enum repair_outcome move_to_movable(const struct repair *repair, const struct repair_block *block)
{
	enum repair_outcome outcome = judge_pages(repair, block);
	enum memory_block_offline_result result;

	if (outcome != REPAIR_UNTRIED)
		return outcome;
	if (memory_block_offline(repair->sysroot, block->id, &result) < 0)
		return REPAIR_BUSY;
	switch (result) {
	case MEMORY_BLOCK_OFFLINE_OFFLINED:
	case MEMORY_BLOCK_OFFLINE_ALREADY:
		break;
	case MEMORY_BLOCK_OFFLINE_GONE:
		return REPAIR_GONE;
	case MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE:
		return REPAIR_UNMOVABLE;
	case MEMORY_BLOCK_OFFLINE_BUSY:
	case MEMORY_BLOCK_OFFLINE_INTERRUPTED:
	case MEMORY_BLOCK_OFFLINE_COUNT:
		return REPAIR_BUSY;
	}
	outcome = online(repair, block->id, MEMORY_ZONE_MOVABLE);
	/* Better where it was than offline. */
	if (outcome == REPAIR_REFUSED)
		online(repair, block->id, block->old_zone);
	return outcome;
}

static struct child_job_result run(void *argument)
{
	struct repair *repair = argument;
	const struct repair_block *block = &repair->blocks[repair->current];

	return (struct child_job_result){
		.outcome = (int32_t)(block->was_offline
					     ? online(repair, block->id, wished_zone(repair))
					     : move_to_movable(repair, block))};
}

/* One block after the other. */

/* REPAIR_UNTRIED: nothing speaks against taking it offline now. */
static enum repair_outcome judge_guest(const struct repair *repair, const struct repair_block *block)
{
	uint64_t total, free_bytes, available;
	struct message_pressure pressure;

	report_read_pressure(repair->sysroot, &pressure);
	if (pressure.some_avg10_x100 != MESSAGE_PRESSURE_NONE &&
	    pressure.some_avg10_x100 > repair->config->reclaim_pressure_percent * 100)
		return REPAIR_PRESSURE;
	/* As where an evacuation takes blocks offline. */
	if (report_read_memory(repair->sysroot, &total, &free_bytes, &available) == 0 &&
	    available < block->size_bytes + report_keep_bytes(repair->config, total))
		return REPAIR_NO_MEMORY;
	return REPAIR_UNTRIED;
}

static bool write_down(struct repair *repair, const struct repair_block *block)
{
	struct lease *lease = lease_book_find(repair->book, repair->request.lease.id);
	struct lease_entry entry = {
		.kind = LEASE_BLOCK, .node_id = -1, .key = block->id, .old = (uint64_t)block->old_zone};

	return lease && !lease->ending && lease_entries_add(&lease->entries, &entry) == 0 &&
	       lease_book_save(repair->book, NULL) == 0;
}

static void end_rest(struct repair *repair, enum repair_outcome outcome)
{
	for (size_t i = 0; i < repair->count; i++)
		if (repair->blocks[i].outcome == REPAIR_UNTRIED)
			repair->blocks[i].outcome = outcome;
	repair->has_ended = true;
}

/* Starts the next block that is to be tried; false where none is left. */
static bool start_next(struct repair *repair, uint64_t now_ms)
{
	uint32_t block_ms = repair->request.block_deadline_ms ? repair->request.block_deadline_ms : REPAIR_BLOCK_DEADLINE_MS;
	uint64_t until_ms = now_ms + block_ms < repair->deadline_ms ? now_ms + block_ms : repair->deadline_ms;

	if (repair->is_cancelled || repair->is_stuck)
		end_rest(repair, REPAIR_CANCELLED);
	else if (now_ms >= repair->deadline_ms)
		end_rest(repair, REPAIR_TIMED_OUT);
	for (size_t i = 0; i < repair->count && !repair->has_ended; i++) {
		struct repair_block *block = &repair->blocks[i];
		enum repair_outcome outcome;

		if (block->outcome != REPAIR_UNTRIED)
			continue;
		outcome = block->was_offline ? REPAIR_UNTRIED : judge_guest(repair, block);
		if (outcome != REPAIR_UNTRIED) {
			end_rest(repair, outcome);
			return false;
		}
		repair->current = i;
		if (!remember_try(repair, block->id))
			block->outcome = REPAIR_GONE;
		else if ((!block->was_offline && !write_down(repair, block)) ||
			 child_job_start(&repair->job, run, repair, until_ms) < 0)
			block->outcome = REPAIR_BUSY;
		else
			return true;
	}
	return false;
}

/* Only what is offline now is still to be put back. */
static void forget_written(struct repair *repair, const struct repair_block *block)
{
	struct lease *lease = lease_book_find(repair->book, repair->request.lease.id);
	struct lease_entry *entry = lease ? lease_entries_find(&lease->entries, LEASE_BLOCK, -1, block->id) : NULL;
	enum memory_block_state state;

	if (entry && block->outcome != REPAIR_STUCK &&
	    (memory_block_read_state(repair->sysroot, block->id, &state) < 0 || state == MEMORY_BLOCK_STATE_ONLINE))
		lease_entries_remove(&lease->entries, entry);
}

static void end_block(struct repair *repair, enum child_job_state state,
		      const struct child_job_result *result)
{
	struct repair_block *block = &repair->blocks[repair->current];

	switch (state) {
	case CHILD_JOB_DONE:
		block->outcome = (enum repair_outcome)result->outcome;
		break;
	case CHILD_JOB_KILLED:
		block->outcome = repair->is_cancelled ? REPAIR_CANCELLED : REPAIR_TIMED_OUT;
		break;
	case CHILD_JOB_STUCK:
		block->outcome = REPAIR_STUCK;
		repair->is_stuck = true;
		break;
	case CHILD_JOB_CRASHED:
	case CHILD_JOB_IDLE:
	case CHILD_JOB_RUNNING:
		block->outcome = REPAIR_BUSY;
		break;
	}
	/* Only looked at, or disturbed by us: that was no try. */
	if (block->outcome == REPAIR_UNMOVABLE || block->outcome == REPAIR_IN_USE || block->outcome == REPAIR_CANCELLED)
		repair->tried_count--;
	forget_written(repair, block);
}

/* The end. */

static const char *outcome_words(enum repair_outcome outcome)
{
	static const char *const words[REPAIR_OUTCOME_COUNT] = {
		[REPAIR_LEASED] = "offline for an operation",
		[REPAIR_GIVEN_UP] = "given up after one try",
		[REPAIR_UNMOVABLE] = "cannot be moved",
		[REPAIR_IN_USE] = "in use",
		[REPAIR_BUSY] = "busy",
		[REPAIR_REFUSED] = "refused by the kernel",
		[REPAIR_TIMED_OUT] = "out of time",
		[REPAIR_STUCK] = "stuck in the kernel",
		[REPAIR_NO_MEMORY] = "too little memory",
		[REPAIR_PRESSURE] = "the guest is under pressure",
		[REPAIR_CANCELLED] = "cancelled",
	};

	return words[outcome];
}

/* Another onliner, or the guest's owner, may have undone it. */
static void look_again(struct repair *repair, struct repair_block *block)
{
	struct memory_block now;

	if (block->outcome != REPAIR_REPAIRED)
		return;
	if (memory_block_read(repair->sysroot, block->id, &now) < 0)
		block->outcome = REPAIR_GONE;
	else if (now.state != MEMORY_BLOCK_STATE_ONLINE ||
		 (wished_zone(repair) == MEMORY_ZONE_MOVABLE && now.zone != MEMORY_ZONE_MOVABLE))
		block->outcome = REPAIR_GIVEN_UP;
}

/* "block 36-38, 40 in use; 41 given up after one try" */
static void describe(struct repair *repair, size_t stayed)
{
	struct message_result *result = &repair->result;
	size_t used = (size_t)snprintf(result->text, sizeof(result->text), "%" PRIu64 " MiB repaired", result->value_bytes >> 20);

	if (stayed)
		used += (size_t)snprintf(result->text + used, sizeof(result->text) - used, ", %zu blocks not:", stayed);
	for (int outcome = 0; outcome < REPAIR_OUTCOME_COUNT; outcome++) {
		unsigned named = 0;

		if (!outcome_words((enum repair_outcome)outcome))
			continue;
		for (size_t i = 0; i < repair->count && used < sizeof(result->text); i++)
			if ((int)repair->blocks[i].outcome == outcome && named++ < 4)
				used += (size_t)snprintf(result->text + used, sizeof(result->text) - used, " %" PRIu64,
							 repair->blocks[i].id);
		if (named && used < sizeof(result->text))
			used += (size_t)snprintf(result->text + used, sizeof(result->text) - used, "%s %s;",
						 named > 4 ? " ..." : "", outcome_words((enum repair_outcome)outcome));
	}
	if (used < sizeof(result->text) && result->text[used - 1] == ';')
		result->text[used - 1] = '\0';
}

static void finish(struct repair *repair)
{
	struct lease *lease = lease_book_find(repair->book, repair->request.lease.id);
	size_t stayed = repair->total - repair->count;

	for (size_t i = 0; i < repair->count; i++) {
		struct repair_block *block = &repair->blocks[i];

		look_again(repair, block);
		if (block->outcome == REPAIR_REPAIRED)
			repair->result.value_bytes += block->size_bytes;
		else if (block->outcome != REPAIR_GONE)
			stayed++;
	}
	/* What it still has is put back at once; without anything it is gone. */
	if (lease)
		lease->ending = true;
	repair->result.code = repair->is_cancelled ? MESSAGE_RESULT_CANCELLED :
			      stayed		   ? MESSAGE_RESULT_PARTIAL :
						     MESSAGE_RESULT_OK;
	describe(repair, stayed);
	repair->stage = REPAIR_STAGE_DONE;
}

enum repair_step repair_step(struct repair *repair, uint64_t now_ms)
{
	struct child_job_result result = {0};

	if (repair->stage == REPAIR_STAGE_DONE)
		return REPAIR_STEP_FINISHED;
	enum child_job_state state = child_job_poll(&repair->job, now_ms, &result);

	/* Once the result is out, a stuck child only keeps the place occupied. */
	if (repair->stage == REPAIR_STAGE_IDLE || state == CHILD_JOB_RUNNING)
		return REPAIR_STEP_NOTHING;
	if (state != CHILD_JOB_IDLE)
		end_block(repair, state, &result);
	if (start_next(repair, now_ms))
		return REPAIR_STEP_NOTHING;
	finish(repair);
	return REPAIR_STEP_FINISHED;
}

static enum message_result_code refuse(struct failure *failure, enum message_result_code code, int error, const char *cause)
{
	failure_set(failure, error, "repair", "refused");
	failure_set_cause(failure, "%s", cause);
	return code;
}

enum message_result_code repair_start(struct repair *repair, const struct message_repair *request, uint64_t epoch,
				      uint32_t request_id, uint64_t now_ms, struct failure *failure)
{
	if (!repair_is_idle(repair))
		return refuse(failure, MESSAGE_RESULT_BUSY, EBUSY, "one repair at a time");
	if (request->flags == 0 || (request->flags & ~MESSAGE_REPAIR_ALL) ||
	    (request->policy != MESSAGE_ONLINE_POLICY_MOVABLE && request->policy != MESSAGE_ONLINE_POLICY_AUTO_MOVABLE) ||
	    request->deadline_ms == 0 || request->deadline_ms > LIMIT_DEADLINE_MS || request->lease.lease_ms == 0 ||
	    request->lease.lease_ms > LIMIT_LEASE_MS)
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL, "flags, policy, deadline or lease out of bounds");
	if (repair->config->veto & AGENT_CONFIG_VETO_REPAIR)
		return refuse(failure, MESSAGE_RESULT_VETOED, EPERM, "the guest's configuration forbids it");
	if (!lease_book_open(repair->book, request->lease.id, request->lease.lease_ms, now_ms))
		return refuse(failure, MESSAGE_RESULT_BUSY, EBUSY, "too many leases, or this one is being undone");
	repair->epoch = epoch;
	repair->request_id = request_id;
	repair->request = *request;
	repair->deadline_ms = now_ms + request->deadline_ms;
	repair->is_cancelled = repair->is_stuck = repair->has_ended = false;
	repair->count = repair->total = 0;
	memset(&repair->result, 0, sizeof(repair->result));
	forget_unplugged(repair);
	int error = choose(repair);

	if (error < 0) {
		lease_book_find(repair->book, request->lease.id)->ending = true;
		return refuse(failure, MESSAGE_RESULT_FAILED, -error, "cannot read the memory blocks");
	}
	repair->stage = REPAIR_STAGE_WORK;
	return MESSAGE_RESULT_OK;
}
