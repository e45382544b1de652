/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first rung: free huge pages given up, each pool's loss under the lease.
 */
#include "evacuate_priv.h"

#include "agent_config.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t evacuate_pools_gained(const struct evacuate *evacuate)
{
	const struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;
	uint64_t sum = 0;

	for (size_t i = 0; i < r->rung_count; i++)
		if (r->rungs[i].rung == MESSAGE_RUNG_HUGE_PAGES)
			sum += r->rungs[i].gained_bytes;
	return sum;
}

static struct child_job_result run_huge_pages(void *argument)
{
	struct evacuate *evacuate = argument;

	return (struct child_job_result){
		.error = -hugepages_apply(evacuate->sysroot, &evacuate->plan)};
}

static void remember_remainder(struct evacuate *evacuate, const struct hugepage_pool *pool,
			       enum message_reason reason, uint64_t pages)
{
	struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;

	if (pages > 0 && r->pool_count < LIMIT_POOLS)
		r->pools[r->pool_count++] =
			(struct message_pool_remainder){.node = MESSAGE_NODE_ALL,
							.page_bytes = pool->page_bytes,
							.stayed_pages = pages,
							.reason = reason};
}

/* What is free because room was made for what is in use is not to be given away. */
static void keep_room(struct evacuate *evacuate, struct lease *lease)
{
	struct hugepages_plan *plan = &evacuate->plan;
	size_t count = 0;

	for (size_t i = 0; lease && i < plan->count; i++)
		if (!lease_entries_find(&lease->entries, LEASE_ROOM, -1, plan->steps[i].page_bytes))
			plan->steps[count++] = plan->steps[i];
	plan->count = count;
}

void evacuate_pools_begin(struct evacuate *evacuate)
{
	struct lease *lease = evacuate_own_lease(evacuate);
	const struct message_evacuate *request = &evacuate->request;
	/* What is to go offline may need every page that lies there. */
	bool all = request->range_count && (request->flags & MESSAGE_EVACUATE_OFFLINE);

	evacuate->plan.count = 0;
	if (hugepages_read(evacuate->sysroot, &evacuate->before) < 0)
		evacuate->before.count = 0;
	hugepages_plan(&evacuate->before, evacuate->config, all ? 0 : request->target_bytes,
		       candidates_find_nodes(evacuate->sysroot, request), &evacuate->plan);
	keep_room(evacuate, lease);
	for (size_t i = 0; lease && i < evacuate->plan.count; i++) {
		const struct hugepages_step *step = &evacuate->plan.steps[i];
		bool is_surplus = step->pages > step->old;
		struct lease_entry entry = {.kind = is_surplus ? LEASE_SURPLUS : LEASE_POOL,
					    .node_id = step->node_id,
					    .key = step->page_bytes,
					    .old = step->old,
					    .took = is_surplus ? step->pages - step->old
							       : step->old - step->pages};

		if (lease_entries_add(&lease->entries, &entry) < 0)
			lease = NULL;
	}
	if (evacuate->plan.count == 0)
		return;
	if (!lease || !evacuate_save(evacuate)) {
		evacuate->plan.count = 0;
		evacuate_fail_unwritten(evacuate);
		return;
	}
	if (child_job_start(&evacuate->job, run_huge_pages, evacuate, evacuate->deadline_ms) < 0)
		evacuate_fail(evacuate, "cannot start a child process");
}

void evacuate_pools_book(struct evacuate *evacuate, int node_id, uint64_t page_bytes, uint64_t planned,
			 uint64_t took)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);
	struct lease_entries *entries = lease ? &lease->entries : &evacuate->book->taken;
	struct lease_entry *entry = lease_entries_find(entries, LEASE_POOL, node_id, page_bytes);
	struct hugepage_pool pool;

	if (!entry) {
		entries = &evacuate->book->taken;
		entry = lease_entries_find(entries, LEASE_POOL, node_id, page_bytes);
	}
	if (!entry)
		return;
	entry->took = entry->took - planned + took;
	/* Not by all that has gone it is smaller now: surplus is nobody's, and what is in use may have moved to another
	 * node's pool. */
	if (hugepage_pool_read(evacuate->sysroot, node_id, page_bytes, &pool) == 0)
		entry->old = least(entry->old, hugepages_persistent(&pool) + entry->took);
	if (entry->took == 0)
		lease_entries_remove(entries, entry);
}

uint64_t evacuate_pools_set_off(struct evacuate *evacuate, enum lease_kind kind, uint64_t page_bytes,
				uint64_t pages)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);
	struct lease_entry *added =
		lease ? lease_entries_find(&lease->entries, kind, -1, page_bytes) : NULL;
	uint64_t part = added ? least(added->took, pages) : 0;

	if (added) {
		added->took -= part;
		if (added->took == 0)
			lease_entries_remove(&lease->entries, added);
	}
	return pages - part;
}

static uint64_t total_of(const struct hugepages *hugepages, int node_id, uint64_t page_bytes)
{
	const struct hugepage_pool *pool = hugepages_find(hugepages, node_id, page_bytes);

	return pool ? pool->total : 0;
}

/* Surplus that was taken in goes first: only what the pools have lost beyond that is owed. */
static uint64_t book_taken(struct evacuate *evacuate, const struct hugepages *after)
{
	const struct hugepages_plan *plan = &evacuate->plan;
	uint64_t gained = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct hugepages_step *step = &plan->steps[i];
		uint64_t size = step->page_bytes;

		if (step->pages > step->old)
			continue;
		uint64_t had = total_of(&evacuate->before, step->node_id, size);
		uint64_t took = had - least(had, total_of(after, step->node_id, size));

		gained += took * size;
		evacuate_pools_book(evacuate, step->node_id, size, step->old - step->pages,
				    evacuate_pools_set_off(evacuate, LEASE_SURPLUS, size, took));
	}
	return gained;
}

void evacuate_pools_end(struct evacuate *evacuate, uint64_t now_ms)
{
	struct hugepages after;
	uint64_t gained;

	if (hugepages_read(evacuate->sysroot, &after) < 0)
		after.count = 0;
	evacuate_surplus_end(evacuate);
	gained = book_taken(evacuate, &after);
	if (evacuate->plan.count > 0)
		evacuate_save(evacuate);
	evacuate->plan.count = 0;
	for (size_t i = 0; i < after.count; i++) {
		const struct hugepage_pool *pool = &after.pools[i];

		if (pool->node_id != HUGEPAGE_POOL_ALL_NODES)
			continue;
		uint64_t idle = hugepages_idle(pool);
		uint64_t floor = agent_config_floor(evacuate->config, pool->page_bytes);

		remember_remainder(evacuate, pool, MESSAGE_REASON_HUGE_PAGES_IN_USE,
				   pool->total > idle ? pool->total - idle : 0);
		if (floor > 0)
			remember_remainder(evacuate, pool, MESSAGE_REASON_HUGE_PAGES_FLOOR,
					   least(idle, floor));
	}
	evacuate_add_rung(evacuate, MESSAGE_RUNG_HUGE_PAGES, gained, MESSAGE_REASON_UNKNOWN, now_ms);
}
