/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offline, round by round:
 *
 *   blocks, emptiest first -> each: write "offline" with a deadline -> gone from the list, or kept with its reason
 *        ^                                                                  |
 *        +------- the kept ones in reverse order, after a pause ------------+
 *
 * One with a page that has been under writeback for long is kept without a try. One of which the kernel has named a
 * page that does not move, because it is pinned or the kernel's own, is not tried again.
 *
 * The write blocks until the kernel has emptied the block. A signal ends it (the deadline's, or
 * that of a cancel), and the kernel then puts the block back online by itself (mm/memory_hotplug.c
 * offline_pages).
 */
#include "block_job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block_census.h"
#include "block_holder.h"
#include "block_refusals.h"
#include "block_retry.h"
#include "clock.h"
#include "job_context.h"
#include "kernel_log.h"
#include "memory_block.h"
#include "page_writeback.h"

#define BLOCK_TIMEOUT_MS 30000 /* where the step names none */
/* Each of so many blocks that stay is told of; of more it is told by their reasons. Others stand in the list, too. */
#define TOLD_MAX	 (REMAINDER_LIST_MAX - 8)
#define BLOCKS_MAX	 65536 /* of a step: 8 TiB in the smallest blocks */
/* A device that works has written a page by then; most have much sooner. */
#define WRITEBACK_WATCH_MS   2000
#define WRITEBACK_BETWEEN_US 20000
/* Of a block that cannot come back, because what was plugged in is smaller than what was pulled, or lies elsewhere. */
#define LOST_WAY_OUT "the block is lost; what else there is of the DIMM can be taken online (chmem -e)"

struct block_work {
	uint64_t id;
	uint64_t start, size_bytes;
	uint64_t load; /* pages in use, for the order */
	bool is_offline;
	bool is_fixed;	   /* it cannot go: a page in it does not move */
	uint64_t spent_us; /* on its tries */
	enum remainder_code code; /* why it stays; NONE: not tried */
	char reason[192];
	struct page_writeback writeback; /* pages that were being written when it was looked at, and still are */
	/* Who has it, once that was looked for: of which page, or (0) of most of it. */
	bool is_explained;
	uint64_t held_pfn;
	struct block_holder holder;
};

struct block_list {
	struct block_work *blocks; /* owned */
	size_t count;
	uint64_t bytes;
	uint64_t taken_bytes, taken_us; /* of those that went: how much, and how long that took */
};

static const enum memory_zone kernel_zones[BLOCK_ZONE_COUNT] = {
	[BLOCK_ZONE_NONE] = MEMORY_ZONE_NONE,
	[BLOCK_ZONE_DMA] =
		MEMORY_ZONE_NORMAL, /* online_kernel is the one word for all kernel zones */
	[BLOCK_ZONE_NORMAL] = MEMORY_ZONE_NORMAL,
	[BLOCK_ZONE_MOVABLE] = MEMORY_ZONE_MOVABLE,
};

static const char *block_object(uint64_t id, char object[96])
{
	snprintf(object, 96, "block %" PRIu64, id);
	return object;
}

static void stays(struct block_work *block, enum remainder_code code, const char *reason, ...)
	PRINTF_LIKE(3, 4);

static void stays(struct block_work *block, enum remainder_code code, const char *reason, ...)
{
	va_list arguments;

	block->code = code;
	va_start(arguments, reason);
	vsnprintf(block->reason, sizeof(block->reason), reason, arguments);
	va_end(arguments);
}

static void free_blocks(struct block_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		page_writeback_done(&list->blocks[i].writeback);
	free(list->blocks);
}

/* The blocks of the step, in its order. Blocks that do not exist are told at once. */
static int list_blocks(struct job_context *context, struct block_list *list)
{
	const struct step *step = &context->job->step;
	size_t count = 0;

	memset(list, 0, sizeof(*list));
	for (size_t r = 0; r < step->block_run_count; r++) {
		uint64_t first = step->block_runs[r].first, last = step->block_runs[r].last;

		if (last < first || last - first >= BLOCKS_MAX - count)
			return -EINVAL;
		count += (size_t)(last - first + 1);
	}
	list->blocks = calloc(count + 1, sizeof(*list->blocks));
	if (!list->blocks)
		return -ENOMEM;
	for (size_t r = 0; r < step->block_run_count; r++) {
		for (uint64_t id = step->block_runs[r].first; id <= step->block_runs[r].last;
		     id++) {
			struct memory_block block;
			char object[96];
			int rc = memory_block_read(context->sysroot, id, &block);

			if (rc == -ENOENT)
				remainder_list_add(&context->result->remainder,
						   REMAINDER_UNKNOWN_TARGET,
						   block_object(id, object), 0, NULL,
						   "there is no such block");
			else if (rc)
				return rc;
			else
				list->blocks[list->count++] = (struct block_work){
					.id = id,
					.start = block.start,
					.size_bytes = block.size_bytes,
					.is_offline = block.state == MEMORY_BLOCK_STATE_OFFLINE};
		}
	}
	for (size_t i = 0; i < list->count; i++)
		list->bytes += list->blocks[i].size_bytes;
	return 0;
}

static int compare_load(const void *a, const void *b)
{
	const struct block_work *x = a, *y = b;

	if (x->load != y->load)
		return x->load < y->load ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* What is under writeback in it, to be looked at again. */
static void note_writeback(struct job_context *context, struct block_work *block)
{
	int rc = page_writeback_read(context->sysroot, block->start, block->size_bytes, &block->writeback);
	char object[96];

	/* Without the flags nobody knows of any. */
	if (rc && rc != -ENOENT)
		job_context_detail(context, "%s: its pages under writeback cannot be watched: %s",
				   block_object(block->id, object), strerror(-rc));
}

/* The flags of a terabyte are 2 GiB to read: it tells how far it is, and can be stopped between two blocks. */
static void sort_by_load(struct job_context *context, struct block_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct block_work *block = &list->blocks[i];
		struct block_census census;
		char object[96];

		if (block->is_offline)
			continue;
		if (!job_context_go(context))
			return;
		worker_control_progress(context->control, 0, list->bytes, "%s: how full it is",
					block_object(block->id, object));
		/* Without the flags the order stays that of the step. */
		if (block_census_read(context->sysroot, block->start, block->size_bytes, &census))
			return;
		block->load = census.pages - census.empty;
		if (census.writeback)
			note_writeback(context, block);
		if (census.poisoned)
			job_context_warn(context, REMAINDER_POISONED, block_object(block->id, object),
					 census.poisoned * (block->size_bytes / census.pages),
					 "%u pages are out of use after a memory error", census.poisoned);
	}
	qsort(list->blocks, list->count, sizeof(*list->blocks), compare_load);
}

/* What the kernel said of a page of this block, since the last time it was asked. */
static bool read_log(struct kernel_log *log, const struct block_work *block,
		     struct kernel_log_page *page)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct kernel_log_page seen = {0};
	bool is_found = false;

	while (log && kernel_log_next_page(log, &seen) > 0) {
		if (seen.pfn * page_bytes < block->start ||
		    seen.pfn * page_bytes >= block->start + block->size_bytes)
			continue;
		*page = seen;
		is_found = true;
	}
	return is_found;
}

/*
 * To name the holder reads all flags of the block and walks the cgroups: once for what keeps it, however often it refuses,
 * and not for somebody who waits for the job to end.
 */
static struct block_holder find_holder(struct job_context *context, struct block_work *block, uint64_t pfn)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	if ((block->is_explained && block->held_pfn == pfn) || !job_context_go(context))
		return block->held_pfn == pfn ? block->holder : (struct block_holder){0};
	if (pfn)
		block_holder_find(context->sysroot, pfn * page_bytes, page_bytes, &block->holder);
	else
		block_holder_find(context->sysroot, block->start, block->size_bytes, &block->holder);
	block->is_explained = true;
	block->held_pfn = pfn;
	return block->holder;
}

static void explain_busy(struct job_context *context, struct block_work *block, struct kernel_log *log, const char *how)
{
	struct kernel_log_page page;
	struct block_holder holder;

	if (!read_log(log, block, &page)) {
		holder = find_holder(context, block, 0);
		stays(block, REMAINDER_BLOCK_BUSY, "%s%s%s", how, holder.text[0] ? ": most of it is " : "", holder.text);
		return;
	}
	holder = find_holder(context, block, page.pfn);
	block->is_fixed = page.is_unmovable || kernel_log_page_is_pinned(&page);
	if (page.is_unmovable)
		stays(block, REMAINDER_KERNEL_MEMORY, "%s: page %#" PRIx64 " is the kernel's own%s%s", how, page.pfn,
		      holder.text[0] ? ", " : "", holder.text);
	else if (block->is_fixed)
		stays(block, holder.is_process ? REMAINDER_HOST_PROCESS : REMAINDER_PINNED,
		      "%s: page %#" PRIx64 " has %d references and %d mappings%s%s", how, page.pfn, page.references,
		      page.mappings, holder.text[0] ? ", " : "", holder.text);
	else
		stays(block, holder.is_process ? REMAINDER_HOST_PROCESS : REMAINDER_BLOCK_BUSY,
		      "%s: page %#" PRIx64 " would not move%s%s", how, page.pfn, holder.text[0] ? ", " : "", holder.text);
}

static uint32_t writeback_watch_ms(const struct job_context *context)
{
	return context->writeback_watch_ms ? context->writeback_watch_ms : WRITEBACK_WATCH_MS;
}

static uint32_t block_timeout(const struct job_context *context)
{
	return context->job->step.timeout_ms ? context->job->step.timeout_ms : BLOCK_TIMEOUT_MS;
}

/* Of the whole job; UINT64_MAX: there is no end. */
static uint64_t left_ms(const struct job_context *context)
{
	uint64_t now = monotonic_ms(), deadline = context->control->deadline_ms;

	if (!deadline)
		return UINT64_MAX;
	return deadline > now ? deadline - now : 1;
}

static void offline_one(struct job_context *context, struct block_work *block, uint32_t timeout_ms,
			struct kernel_log *log)
{
	enum memory_block_offline_result outcome = MEMORY_BLOCK_OFFLINE_BUSY;
	uint64_t left = left_ms(context);
	struct kernel_log_page old;
	char how[64];
	int rc;

	/* The whole job's deadline may come before the block's. */
	if (left < timeout_ms)
		timeout_ms = (uint32_t)left;
	read_log(log, block, &old);
	worker_control_set_alarm(timeout_ms);
	rc = memory_block_offline(context->sysroot, block->id, &outcome);
	worker_control_set_alarm(0);
	if (rc) {
		stays(block, REMAINDER_BLOCK_BUSY, "%s", strerror(-rc));
		return;
	}
	switch (outcome) {
	case MEMORY_BLOCK_OFFLINE_OFFLINED:
	case MEMORY_BLOCK_OFFLINE_ALREADY:
		block->is_offline = true;
		break;
	case MEMORY_BLOCK_OFFLINE_GONE:
		stays(block, REMAINDER_UNKNOWN_TARGET, "it is not there any more");
		break;
	case MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE:
		stays(block, REMAINDER_NOT_MOVABLE, "it has holes or spans several zones");
		break;
	case MEMORY_BLOCK_OFFLINE_INTERRUPTED:
		/* A cancel: told once, for all that was not done. */
		if (!job_context_go(context))
			break;
		snprintf(how, sizeof(how), "not within %u ms", timeout_ms);
		explain_busy(context, block, log, how);
		break;
	case MEMORY_BLOCK_OFFLINE_BUSY:
	case MEMORY_BLOCK_OFFLINE_COUNT:
		explain_busy(context, block, log, "the kernel gave up");
		break;
	}
}

static uint64_t offline_bytes(const struct block_list *list)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < list->count; i++)
		bytes += list->blocks[i].is_offline ? list->blocks[i].size_bytes : 0;
	return bytes;
}

/* Gives what began to be written since the block was looked at the time to be done. */
static void watch_writeback(struct job_context *context, struct block_work *block)
{
	uint64_t until_us = monotonic_us() + UINT64_C(1000) * writeback_watch_ms(context);

	page_writeback_done(&block->writeback);
	note_writeback(context, block);
	while (block->writeback.count && monotonic_us() < until_us && job_context_wait(context, WRITEBACK_BETWEEN_US))
		page_writeback_review(context->sysroot, &block->writeback);
}

/*
 * An offline would wait for the device, which no signal ends. Asked at each try: the device may have answered, or another one
 * may have ceased to since all blocks were looked at, which is hours ago where many are taken. Once the job is to end, true
 * only says that it was not told.
 */
static bool is_written(struct job_context *context, struct block_work *block)
{
	if (block->writeback.count)
		page_writeback_review(context->sysroot, &block->writeback);
	else
		watch_writeback(context, block);
	if (!block->writeback.count)
		return false;
	if (context->stop == WORKER_CONTROL_GO)
		stays(block, REMAINDER_WRITEBACK, "%zu pages, the first %#" PRIx64 ", under writeback for %u ms: not tried",
		      block->writeback.count, block->writeback.pfns[0], writeback_watch_ms(context));
	return true;
}

/* Gives what is being written the time to be done. */
static void await_writeback(struct job_context *context, const struct block_list *list)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += list->blocks[i].writeback.count > 0;
	if (!count)
		return;
	worker_control_progress(context->control, 0, list->bytes, "waits for writeback in %zu blocks", count);
	job_context_wait(context, UINT64_C(1000) * writeback_watch_ms(context));
}

static void take_one(struct job_context *context, struct block_list *list, struct block_work *block,
		     uint32_t timeout_ms, struct kernel_log *log)
{
	uint64_t began_us = monotonic_us();

	offline_one(context, block, timeout_ms, log);
	block->spent_us += monotonic_us() - began_us;
	if (!block->is_offline)
		return;
	list->taken_bytes += block->size_bytes;
	list->taken_us += block->spent_us;
}

static bool may_go(const struct block_work *block)
{
	return !block->is_offline && !block->is_fixed && block->code != REMAINDER_NOT_MOVABLE &&
	       block->code != REMAINDER_UNKNOWN_TARGET;
}

static size_t count_left(const struct block_list *list)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += may_go(&list->blocks[i]);
	return count;
}

/* False where it is to end. */
static bool offline_round(struct job_context *context, struct block_list *list, unsigned round,
			  struct kernel_log *log)
{
	uint32_t timeout_ms =
		block_retry_timeout_ms(round, block_timeout(context), left_ms(context), count_left(list));

	for (size_t i = 0; i < list->count; i++) {
		struct block_work *block = &list->blocks[round % 2 ? list->count - 1 - i : i];
		char object[96];

		if (!may_go(block))
			continue;
		if (!job_context_go(context))
			return false;
		worker_control_progress(context->control, offline_bytes(list), list->bytes, "%s",
					block_object(block->id, object));
		if (!is_written(context, block))
			take_one(context, list, block, timeout_ms, log);
	}
	return true;
}

static bool await_round(struct job_context *context, const struct block_list *list, unsigned round)
{
	uint32_t pause_ms = block_retry_pause_ms(round, left_ms(context));

	if (context->retry_pause_ms && pause_ms > context->retry_pause_ms)
		pause_ms = context->retry_pause_ms;
	worker_control_progress(context->control, offline_bytes(list), list->bytes, "waits to try %zu blocks again",
				count_left(list));
	return job_context_wait(context, UINT64_C(1000) * pause_ms);
}

static void offline_all(struct job_context *context, struct block_list *list, struct kernel_log *log)
{
	for (unsigned round = 0; round < BLOCK_RETRY_ROUNDS && count_left(list); round++)
		if ((round && !await_round(context, list, round)) || !offline_round(context, list, round, log))
			return;
}

/* Without the cpuset their pages would come where nobody has planned them. */
static void refuse_without_cpuset(const struct job_context *context, struct block_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (!list->blocks[i].is_offline)
			stays(&list->blocks[i], REMAINDER_NO_CPUSET, "not tried: %s", strerror(-context->cpuset_error));
}

static int compare_ids(const void *a, const void *b)
{
	const struct block_work *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* What was not tried is told of once, for all of it. */
static bool is_told(const struct block_work *block)
{
	return !block->is_offline && block->code != REMAINDER_NONE;
}

/* All blocks with the first one's code in one entry, with what the first one is kept by. */
static void tell_code(struct job_context *context, const struct block_list *list, const struct block_work *first,
		      const struct block_refusals *refusals)
{
	uint64_t bytes = 0;
	char object[96];

	for (const struct block_work *block = first; block < list->blocks + list->count; block++)
		if (is_told(block) && block->code == first->code)
			bytes += block->size_bytes;
	remainder_list_add(&context->result->remainder, first->code,
			   block_refusals_describe(refusals, first->code, object, sizeof(object)), bytes, NULL,
			   "block %" PRIu64 ": %s", first->id, first->reason);
}

static void tell_kept(struct job_context *context, struct block_list *list)
{
	struct block_refusals refusals = {0};
	bool is_code_told[REMAINDER_CODE_COUNT] = {false};
	size_t count = 0;
	int rc = 0;

	qsort(list->blocks, list->count, sizeof(*list->blocks), compare_ids);
	for (size_t i = 0; !rc && i < list->count; i++) {
		if (!is_told(&list->blocks[i]))
			continue;
		count++;
		rc = block_refusals_add(&refusals, list->blocks[i].id, list->blocks[i].code);
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct block_work *block = &list->blocks[i];
		char object[96];

		if (!is_told(block))
			continue;
		if (count <= TOLD_MAX || rc)
			remainder_list_add(&context->result->remainder, block->code, block_object(block->id, object),
					   block->size_bytes, NULL, "%s", block->reason);
		else if (!is_code_told[block->code])
			tell_code(context, list, block, &refusals);
		is_code_told[block->code] = true;
	}
	/* Without memory for them the entries of the list are all that is known. */
	if (!rc && count)
		json_object_set_new(job_context_values(context), BLOCK_REFUSALS_KEY, block_refusals_to_json(&refusals));
	block_refusals_done(&refusals);
}

/* Every block's state as it is now decides, not what the writes said. */
static void tell_states(struct job_context *context, struct block_list *list)
{
	json_int_t offline = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct block_work *block = &list->blocks[i];
		enum memory_block_state state;
		int rc = memory_block_read_state(context->sysroot, block->id, &state);

		bool was_offline = block->is_offline;

		block->is_offline = rc == -ENOENT || rc == -ENODEV ||
				    (!rc && state == MEMORY_BLOCK_STATE_OFFLINE);
		if (was_offline && !block->is_offline)
			stays(block, REMAINDER_BLOCK_BUSY, "%s",
			      rc ? strerror(-rc)
				 : "it is online again: something else brought it online");
		offline += block->is_offline;
	}
	tell_kept(context, list);
	json_object_set_new(job_context_values(context), "blocks_offline", json_integer(offline));
	json_object_set_new(job_context_values(context), "taken_bytes", json_integer((json_int_t)list->taken_bytes));
	json_object_set_new(job_context_values(context), "taken_us", json_integer((json_int_t)list->taken_us));
}

static void tell_total(struct job_context *context, struct block_list *list, uint64_t done_bytes)
{
	char object[96] = "blocks";

	context->result->bytes_done = done_bytes;
	if (list->count)
		snprintf(
			object, sizeof(object), "blocks %" PRIu64 "-%" PRIu64,
			context->job->step.block_runs[0].first,
			context->job->step.block_runs[context->job->step.block_run_count - 1].last);
	job_context_settle(context, object, list->bytes - done_bytes, done_bytes > 0);
}

void block_job_offline(struct job_context *context)
{
	CLEANUP(kernel_log_freep) struct kernel_log *log = NULL;
	struct block_list list;
	int rc = list_blocks(context, &list);

	if (rc) {
		free_blocks(&list);
		job_context_fail(context, rc, "blocks", "cannot look at them");
		return;
	}
	kernel_log_new(context->sysroot, &log);
	if (context->cpuset_error) {
		refuse_without_cpuset(context, &list);
	} else {
		sort_by_load(context, &list);
		await_writeback(context, &list);
		offline_all(context, &list, log);
	}
	job_context_go(context);
	tell_states(context, &list);
	tell_total(context, &list, offline_bytes(&list));
	free_blocks(&list);
}

/* True where the block is online, in the zone. Else why not is told, with the code given. */
static bool online_one(struct job_context *context, uint64_t id, uint64_t bytes,
		       enum memory_zone zone, enum remainder_code code)
{
	enum memory_block_online_result outcome = MEMORY_BLOCK_ONLINE_REFUSED;
	int rc = memory_block_online(context->sysroot, id, zone, &outcome);
	const char *why = "the kernel refused", *way_out = NULL;
	char object[96];

	if (rc) {
		why = strerror(-rc);
	} else {
		switch (outcome) {
		case MEMORY_BLOCK_ONLINE_ONLINED:
		case MEMORY_BLOCK_ONLINE_ALREADY:
			return true;
		case MEMORY_BLOCK_ONLINE_WRONG_ZONE:
			why = "it is online in another zone: something else brought it online";
			code = REMAINDER_WRONG_ZONE;
			break;
		case MEMORY_BLOCK_ONLINE_GONE:
			why = "it is not there any more";
			way_out = LOST_WAY_OUT;
			break;
		case MEMORY_BLOCK_ONLINE_INTERRUPTED:
			why = "interrupted";
			break;
		case MEMORY_BLOCK_ONLINE_REFUSED:
		case MEMORY_BLOCK_ONLINE_COUNT:
			break;
		}
	}
	remainder_list_add(&context->result->remainder, code, block_object(id, object), bytes, way_out, "%s", why);
	return false;
}

void block_job_online(struct job_context *context)
{
	enum memory_zone zone = kernel_zones[context->job->step.zone];
	struct block_list list;
	uint64_t done = 0;
	int rc = list_blocks(context, &list);

	if (rc) {
		free_blocks(&list);
		job_context_fail(context, rc, "blocks", "cannot look at them");
		return;
	}
	for (size_t i = 0; i < list.count && job_context_go(context); i++) {
		if (online_one(context, list.blocks[i].id, list.blocks[i].size_bytes, zone,
			       REMAINDER_NOT_ONLINED))
			done += list.blocks[i].size_bytes;
		worker_control_progress(context->control, done, list.bytes, "%zu of %zu blocks",
					i + 1, list.count);
	}
	tell_total(context, &list, done);
	free_blocks(&list);
}

void block_job_before(struct job_context *context)
{
	const struct step *step = &context->job->step;
	json_t *runs = json_array(), *run = NULL;
	struct memory_block last = {0};

	for (size_t r = 0; r < step->block_run_count; r++) {
		for (uint64_t id = step->block_runs[r].first; id <= step->block_runs[r].last;
		     id++) {
			struct memory_block block;
			int rc = memory_block_read(context->sysroot, id, &block);

			if (rc == -ENOENT)
				continue;
			if (rc) {
				job_context_fail(context, rc, "blocks", "cannot look at them");
				json_decref(runs);
				return;
			}
			if (run && block.id == last.id + 1 && block.state == last.state &&
			    block.zone == last.zone) {
				json_object_set_new(run, "last", json_integer((json_int_t)id));
			} else {
				run = json_pack("{s:I, s:I, s:s, s:s}", "first", (json_int_t)id,
						"last", (json_int_t)id, "state",
						memory_block_state_name(block.state), "zone",
						memory_zone_name(block.zone));
				json_array_append_new(runs, run);
			}
			last = block;
		}
	}
	context->result->values = json_pack("{s:o}", "blocks", runs);
	context->result->outcome = WORKER_OUTCOME_DONE;
}

/* As where a step takes it offline: with a page under writeback for long it is not tried. */
static void take_back(struct job_context *context, struct block_work *block, struct kernel_log *log)
{
	if (context->cpuset_error) {
		stays(block, REMAINDER_NO_CPUSET, "not tried: %s", strerror(-context->cpuset_error));
		return;
	}
	if (!is_written(context, block))
		offline_one(context, block, block_timeout(context), log);
	page_writeback_done(&block->writeback);
}

/* A block in its recorded state and zone. What is so already is left alone. */
static void restore_one(struct job_context *context, uint64_t id, enum memory_block_state state,
			enum memory_zone zone, struct kernel_log *log)
{
	struct block_work work = {.id = id};
	struct memory_block block;
	char object[96];
	int rc = memory_block_read(context->sysroot, id, &block);

	if (rc) {
		uint64_t bytes = 0;

		/* Not known: 0. */
		memory_block_read_size(context->sysroot, &bytes);
		remainder_list_add(&context->result->remainder, REMAINDER_UNDO_FAILED, block_object(id, object), bytes,
				   rc == -ENOENT ? LOST_WAY_OUT : NULL, "%s",
				   rc == -ENOENT ? "it is not there any more" : strerror(-rc));
		return;
	}
	work.start = block.start;
	work.size_bytes = block.size_bytes;
	if (state == MEMORY_BLOCK_STATE_ONLINE) {
		if (online_one(context, id, block.size_bytes, zone, REMAINDER_UNDO_FAILED))
			context->result->bytes_done += block.size_bytes;
		return;
	}
	if (block.state != MEMORY_BLOCK_STATE_OFFLINE) {
		take_back(context, &work, log);
		/* Ended by a cancel or the deadline: told once, for all. */
		if (!work.is_offline && work.code == REMAINDER_NONE)
			return;
		if (!work.is_offline) {
			remainder_list_add(&context->result->remainder, work.code,
					   block_object(id, object), block.size_bytes, NULL, "%s",
					   work.reason);
			return;
		}
	}
	context->result->bytes_done += block.size_bytes;
}

void block_job_undo(struct job_context *context)
{
	const json_t *runs = json_object_get(context->before, "blocks");
	CLEANUP(kernel_log_freep) struct kernel_log *log = NULL;

	kernel_log_new(context->sysroot, &log);
	for (size_t i = 0; i < json_array_size(runs); i++) {
		json_int_t first, last;
		const char *state_name, *zone_name;
		int state = -1, zone = -1;

		if (!json_unpack_ex(json_array_get(runs, i), NULL, JSON_STRICT,
				    "{s:I, s:I, s:s, s:s}", "first", &first, "last", &last, "state",
				    &state_name, "zone", &zone_name)) {
			state = memory_block_state_from_name(state_name);
			zone = memory_zone_from_name(zone_name);
		}
		if (state < 0 || zone < 0 || first < 0 || last < first ||
		    last - first >= BLOCKS_MAX) {
			job_context_fail(context, EINVAL, "blocks",
					 "cannot read what they were before");
			return;
		}
		for (json_int_t id = first; id <= last && job_context_go(context); id++) {
			/* Of what was done only a part may be put back, where others hold the rest. */
			if (!step_has_block(&context->job->step, (uint64_t)id))
				continue;
			/* Going offline was somebody else's try, and a state that cannot be asked
			 * for. */
			restore_one(context, (uint64_t)id,
				    state == MEMORY_BLOCK_STATE_OFFLINE ? MEMORY_BLOCK_STATE_OFFLINE
									: MEMORY_BLOCK_STATE_ONLINE,
				    (enum memory_zone)zone, log);
		}
	}
	job_context_settle(context, "blocks", 0, context->result->bytes_done > 0);
}
