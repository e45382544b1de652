/* SPDX-License-Identifier: Apache-2.0 */
#include "candidates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "block_census.h"
#include "cleanup.h"
#include "kernel_log.h"
#include "pinned_pages.h"
#include "zones.h"

#define CENSUS_BYTES (LIMIT_BLOCKS * sizeof(uint32_t))

int candidates_init(struct candidates *candidates)
{
	void *shared =
		mmap(NULL, CENSUS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return -errno;
	candidates->count = candidates->left = 0;
	candidates->begin = candidates->begin_next = UINT64_MAX;
	candidates->used_pages = shared;
	return 0;
}

void candidates_done(struct candidates *candidates)
{
	if (candidates->used_pages)
		munmap(candidates->used_pages, CENSUS_BYTES);
	candidates->used_pages = NULL;
}

static bool in_ranges(const struct message_evacuate *request, const struct memory_block *block)
{
	for (size_t i = 0; i < request->range_count; i++) {
		const struct message_range *range = &request->ranges[i];

		/* Neither end wraps: the request was checked, and the kernel's addresses are far
		 * below. */
		if (range->start < block->start + block->size_bytes &&
		    range->start + range->size_bytes > block->start)
			return true;
	}
	return false;
}

static void add(struct candidates *candidates, const struct memory_block *block,
		enum message_reason reason)
{
	candidates->last = block->id;
	candidates->items[candidates->count++] = (struct candidate){
		.id = block->id,
		.start = block->start,
		.size_bytes = block->size_bytes,
		.zone = block->zone,
		.node_id = block->node_id,
		.used_pages = UINT32_MAX,
		.reason = reason,
	};
}

/* UNKNOWN: it may go, if it is tried. COUNT: it is not meant. */
static enum message_reason judge_block(const struct message_evacuate *request, const struct zones_regions *regions,
				       const struct memory_block *block)
{
	bool named = request->range_count > 0, plugged = zones_find_region(regions, block) >= 0;

	if (named ? !in_ranges(request, block) : !plugged)
		return MESSAGE_REASON_COUNT;
	if (!plugged)
		return MESSAGE_REASON_NOT_CANDIDATE;
	if (block->state == MEMORY_BLOCK_STATE_OFFLINE)
		return MESSAGE_REASON_ALREADY_OFFLINE;
	if (block->removable == MEMORY_BLOCK_REMOVABLE_NO)
		return MESSAGE_REASON_NOT_REMOVABLE;
	return named || block->zone == MEMORY_ZONE_MOVABLE ? MESSAGE_REASON_UNKNOWN : MESSAGE_REASON_COUNT;
}

/* Whether it comes after the last one chosen: from begin downwards, and then from the top down to begin. */
static bool is_behind(const struct candidates *candidates, uint64_t id)
{
	bool id_is_below = id < candidates->begin, last_is_below = candidates->last < candidates->begin;

	return id_is_below == last_is_below ? id < candidates->last : last_is_below;
}

static void choose(struct candidates *candidates, const struct sysroot *sysroot,
		   const struct message_evacuate *request, bool only_behind)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	struct zones_regions regions;
	size_t below = 0;

	candidates->count = candidates->left = 0;
	memset(candidates->used_pages, 0xff, CENSUS_BYTES); /* UINT32_MAX */
	if (memory_block_list_read(sysroot, &list) < 0 || zones_read_regions(sysroot, &regions) < 0)
		return;
	while (below < list.count && list.blocks[below].id < candidates->begin)
		below++;
	for (size_t i = 0; i < list.count; i++) {
		const struct memory_block *block = &list.blocks[(below + list.count - 1 - i) % list.count];
		enum message_reason reason = judge_block(request, &regions, block);

		if (reason == MESSAGE_REASON_COUNT || (only_behind && !is_behind(candidates, block->id)))
			continue;
		/* A part ends at the bottom: what was tried before is at the top, and would come first. */
		if (candidates->count == LIMIT_BLOCKS || (candidates->count > 0 && block->id > candidates->last))
			candidates->left++;
		else
			add(candidates, block, reason);
	}
}

void candidates_choose(struct candidates *candidates, const struct sysroot *sysroot,
		       const struct message_evacuate *request)
{
	candidates->begin = candidates->begin_next;
	choose(candidates, sysroot, request, false);
	if (candidates->count + candidates->left > LIMIT_BLOCKS || candidates->begin == UINT64_MAX)
		return;
	/* One part has room for all of them. */
	candidates->begin = UINT64_MAX;
	choose(candidates, sysroot, request, false);
}

void candidates_choose_more(struct candidates *candidates, const struct sysroot *sysroot,
			    const struct message_evacuate *request)
{
	choose(candidates, sysroot, request, true);
}

void candidates_give_up(struct candidates *candidates)
{
	if (candidates->left > 0)
		candidates->begin_next = candidates->last;
	else if (candidates->begin == candidates->begin_next)
		candidates->begin_next = UINT64_MAX;
}

uint64_t candidates_find_nodes(const struct sysroot *sysroot, const struct message_evacuate *request)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	struct zones_regions regions;
	uint64_t nodes = 0;

	if (memory_block_list_read(sysroot, &list) < 0 || zones_read_regions(sysroot, &regions) < 0)
		return 0;
	for (size_t i = 0; i < list.count; i++) {
		const struct memory_block *block = &list.blocks[i];

		if (block->state == MEMORY_BLOCK_STATE_ONLINE && block->node_id >= 0 && block->node_id < 64 &&
		    zones_find_region(&regions, block) >= 0 && (request->range_count == 0 || in_ranges(request, block)))
			nodes |= UINT64_C(1) << block->node_id;
	}
	return nodes;
}

int candidates_count_pages(struct candidates *candidates, const struct sysroot *sysroot)
{
	int counted = 0;

	for (size_t i = 0; i < candidates->count; i++) {
		const struct candidate *candidate = &candidates->items[i];
		struct block_census census;

		if (candidate->reason != MESSAGE_REASON_UNKNOWN ||
		    block_census_read(sysroot, candidate->start, candidate->size_bytes, &census) <
			    0)
			continue;
		candidates->used_pages[i] = census.pages - census.empty;
		counted++;
	}
	return counted;
}

static int compare(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (left->used_pages != right->used_pages)
		return left->used_pages < right->used_pages ? -1 : 1;
	return left->id > right->id ? -1 : left->id < right->id;
}

void candidates_sort(struct candidates *candidates)
{
	for (size_t i = 0; i < candidates->count; i++)
		candidates->items[i].used_pages = candidates->used_pages[i];
	qsort(candidates->items, candidates->count, sizeof(candidates->items[0]), compare);
}

bool candidates_is_out(enum message_reason reason)
{
	return reason == MESSAGE_REASON_OFFLINED || reason == MESSAGE_REASON_ALREADY_OFFLINE ||
	       reason == MESSAGE_REASON_GONE;
}

uint64_t candidates_out_bytes(const struct candidates *candidates)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < candidates->count; i++)
		if (candidates_is_out(candidates->items[i].reason))
			sum += candidates->items[i].size_bytes;
	return sum;
}

struct candidate *candidates_next(struct candidates *candidates)
{
	for (size_t i = 0; i < candidates->count; i++)
		if (candidates->items[i].reason == MESSAGE_REASON_UNKNOWN)
			return &candidates->items[i];
	return NULL;
}

bool candidates_retry(struct candidates *candidates)
{
	bool any = false;

	for (size_t i = 0; i < candidates->count; i++) {
		struct candidate *candidate = &candidates->items[i];

		if (!candidate->may_retry || candidate->retried)
			continue;
		candidate->retried = true;
		candidate->reason = MESSAGE_REASON_UNKNOWN;
		any = true;
	}
	return any;
}

enum message_reason candidates_reason(enum memory_block_offline_result result)
{
	switch (result) {
	case MEMORY_BLOCK_OFFLINE_OFFLINED:
		return MESSAGE_REASON_OFFLINED;
	case MEMORY_BLOCK_OFFLINE_ALREADY:
		return MESSAGE_REASON_ALREADY_OFFLINE;
	case MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE:
		return MESSAGE_REASON_NOT_REMOVABLE;
	case MEMORY_BLOCK_OFFLINE_GONE:
		return MESSAGE_REASON_GONE;
	case MEMORY_BLOCK_OFFLINE_BUSY:
	case MEMORY_BLOCK_OFFLINE_INTERRUPTED:
	case MEMORY_BLOCK_OFFLINE_COUNT:
		break;
	}
	return MESSAGE_REASON_BUSY;
}

static enum message_reason look_again(const struct sysroot *sysroot, uint64_t id,
				      enum message_reason otherwise)
{
	enum memory_block_state state;
	int error = memory_block_read_state(sysroot, id, &state);

	if (error == -ENOENT || error == -ENODEV)
		return MESSAGE_REASON_GONE;
	if (error == 0 && state == MEMORY_BLOCK_STATE_OFFLINE)
		return otherwise == MESSAGE_REASON_ALREADY_OFFLINE ? otherwise
								   : MESSAGE_REASON_OFFLINED;
	return candidates_is_out(otherwise) ? MESSAGE_REASON_BUSY : otherwise;
}

/* UNKNOWN where the kernel named no page of the block. */
static enum message_reason read_log(struct kernel_log *log, const struct candidate *candidate, struct pinned_pages *pinned)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	enum message_reason reason = MESSAGE_REASON_UNKNOWN;
	struct kernel_log_page page = {0};

	while (log && kernel_log_next_page(log, &page) > 0) {
		uint64_t address = page.pfn * page_bytes;

		if (address < candidate->start ||
		    address >= candidate->start + candidate->size_bytes)
			continue;
		if (page.is_unmovable) {
			/* Its counts, which came first, looked like those of one that is held. */
			pinned_pages_forget(pinned, address, page_bytes);
			reason = MESSAGE_REASON_KERNEL_MEMORY;
		} else if (kernel_log_page_is_pinned(&page)) {
			/* What was named at an earlier try may have been let go. */
			if (reason != MESSAGE_REASON_PINNED)
				pinned_pages_forget(pinned, candidate->start, candidate->size_bytes);
			pinned_pages_note(pinned, page.pfn);
			reason = MESSAGE_REASON_PINNED;
		}
	}
	return reason;
}

static enum message_reason explain(const struct sysroot *sysroot, const struct candidate *candidate)
{
	struct block_census census;

	if (block_census_read(sysroot, candidate->start, candidate->size_bytes, &census) < 0)
		return candidate->reason;
	if (census.kernel > 0)
		return MESSAGE_REASON_KERNEL_MEMORY;
	if (census.huge_used > 0)
		return MESSAGE_REASON_HUGE_PAGES_IN_USE;
	if (census.writeback > 0)
		return MESSAGE_REASON_WRITEBACK;
	return candidate->reason;
}

void candidates_judge(struct candidate *candidate, const struct sysroot *sysroot,
		      struct kernel_log *log, struct pinned_pages *pinned, enum message_reason reason)
{
	enum message_reason told = read_log(log, candidate, pinned);

	candidate->reason = look_again(sysroot, candidate->id, reason);
	if (candidates_is_out(candidate->reason))
		pinned_pages_forget(pinned, candidate->start, candidate->size_bytes);
	candidate->may_retry = candidate->reason == MESSAGE_REASON_BUSY;
	if (candidate->reason == MESSAGE_REASON_BUSY ||
	    candidate->reason == MESSAGE_REASON_TIMED_OUT)
		candidate->reason = told != MESSAGE_REASON_UNKNOWN ? told
								   : explain(sysroot, candidate);
}
