/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rung before blocks go offline: room elsewhere for huge pages in use in them. How large each
 * pool was is written down, so that it is again when the lease ends, kept or not.
 */
#include "evacuate_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include "quiet_pools.h"
#include "report.h"

int evacuate_room_init(struct evacuate *evacuate)
{
	void *shared = mmap(NULL, sizeof(*evacuate->room), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return -errno;
	evacuate->room = shared;
	return 0;
}

void evacuate_room_done(struct evacuate *evacuate)
{
	if (evacuate->room)
		munmap(evacuate->room, sizeof(*evacuate->room));
	evacuate->room = NULL;
}

/* Pools may take what the guest's work can do without, but for what is kept for it, and no more than
 * half of that: much of it may come to lie in what is to leave. */
static uint64_t budget_bytes(const struct evacuate *evacuate)
{
	uint64_t total, free_bytes, available;

	if (report_read_memory(evacuate->sysroot, &total, &free_bytes, &available) < 0)
		return 0;
	uint64_t keep = report_keep_bytes(evacuate->config, total);

	return available > keep ? (available - keep) / 2 : 0;
}

static struct child_job_result run_room(void *argument)
{
	struct evacuate *evacuate = argument;
	struct room_order order = {.blocks = evacuate->candidates.items,
				   .block_count = evacuate->candidates.count,
				   .target_bytes = evacuate->request.target_bytes,
				   .budget_bytes = evacuate->room_bytes};
	int error = hugepages_apply(evacuate->sysroot, &evacuate->plan);

	if (error == 0)
		error = room_make(evacuate->sysroot, &order, evacuate->room);
	return (struct child_job_result){.error = -error};
}

static bool is_movable_size(const struct hugepage_pool *pool)
{
	return pool->node_id == HUGEPAGE_POOL_ALL_NODES && pool->page_bytes < ROOM_GIGANTIC_BYTES &&
	       pool->total > pool->free;
}

/* False: there is nothing to do. */
static bool write_down(struct evacuate *evacuate)
{
	struct lease *lease = evacuate_own_lease(evacuate);
	bool any = false;

	if (!lease || !evacuate_surplus_begin(evacuate, lease, false)) {
		evacuate_fail_unwritten(evacuate);
		return false;
	}
	for (size_t i = 0; i < evacuate->before.count; i++) {
		const struct hugepage_pool *pool = &evacuate->before.pools[i];
		struct lease_entry entry = {.kind = LEASE_ROOM,
					    .node_id = -1,
					    .key = pool->page_bytes,
					    /* The surplus is its own by then. */
					    .old = quiet_pools_pages(evacuate->quiet, pool->page_bytes,
								     pool->total),
					    .took = evacuate->room_bytes / pool->page_bytes};

		if (!is_movable_size(pool) || entry.took == 0)
			continue;
		any = true;
		if (lease_entries_add(&lease->entries, &entry) < 0) {
			evacuate_fail_unwritten(evacuate);
			return false;
		}
	}
	return any && evacuate_save(evacuate);
}

void evacuate_room_begin(struct evacuate *evacuate)
{
	*evacuate->room = (struct room_result){0};
	candidates_choose(&evacuate->candidates, evacuate->sysroot, &evacuate->request);
	evacuate->room_bytes = budget_bytes(evacuate);
	if (!write_down(evacuate))
		return;
	if (child_job_start(&evacuate->job, run_room, evacuate, evacuate->deadline_ms) < 0)
		evacuate_fail(evacuate, "cannot start a child process");
}

/* How much each pool has really grown is what may be taken from it again. */
static void book(struct evacuate *evacuate)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);

	for (size_t i = 0; lease && i < evacuate->before.count; i++) {
		const struct hugepage_pool *before = &evacuate->before.pools[i];
		struct hugepage_pool now;
		struct lease_entry *entry =
			before->node_id == HUGEPAGE_POOL_ALL_NODES
				? lease_entries_find(&lease->entries, LEASE_ROOM, -1, before->page_bytes)
				: NULL;

		if (!entry || hugepage_pool_read(evacuate->sysroot, HUGEPAGE_POOL_ALL_NODES,
						 before->page_bytes, &now) < 0)
			continue;
		uint64_t planned = evacuate->room_bytes / before->page_bytes,
			 had = quiet_pools_pages(evacuate->quiet, before->page_bytes, before->total),
			 grown = now.total > had ? now.total - had : 0;

		entry->took = entry->took - planned + grown;
		if (entry->took == 0)
			lease_entries_remove(&lease->entries, entry);
	}
	evacuate_save(evacuate);
}

void evacuate_room_end(struct evacuate *evacuate, enum child_job_state state, uint64_t now_ms)
{
	struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;
	uint64_t made = 0, missing = 0;

	evacuate_surplus_end(evacuate);
	evacuate->plan.count = 0;
	if (state != CHILD_JOB_IDLE)
		book(evacuate);
	for (size_t i = 0; i < evacuate->room->count; i++) {
		const struct room_size *size = &evacuate->room->sizes[i];
		uint64_t have = size->ready_pages + size->made_pages;
		uint64_t stays = have < size->needed_pages ? size->needed_pages - have : 0;

		made += size->made_pages * size->page_bytes;
		missing += stays;
		if (stays > 0 && r->pool_count < LIMIT_POOLS)
			r->pools[r->pool_count++] = (struct message_pool_remainder){
				.node = MESSAGE_NODE_ALL,
				.page_bytes = size->page_bytes,
				.stayed_pages = stays,
				.reason = MESSAGE_REASON_HUGE_PAGES_IN_USE};
	}
	evacuate_add_rung(evacuate, MESSAGE_RUNG_MAKE_ROOM, made,
			  state == CHILD_JOB_KILLED    ? MESSAGE_REASON_TIMED_OUT
			  : state == CHILD_JOB_CRASHED ? MESSAGE_REASON_BUSY
			  : missing > 0		       ? MESSAGE_REASON_NO_MEMORY
						       : MESSAGE_REASON_UNKNOWN,
			  now_ms);
	/* The blocks are chosen anew, and their fate told, only where they are to go. */
	evacuate->candidates.count = evacuate->candidates.left = 0;
}
