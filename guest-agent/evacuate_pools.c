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

static struct job_result run_huge_pages(void *argument)
{
	struct evacuate *evacuate = argument;

	return (struct job_result){.error = -hugepages_apply(evacuate->sysroot, &evacuate->plan)};
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

void evacuate_pools_begin(struct evacuate *evacuate)
{
	struct lease *lease = evacuate_own_lease(evacuate);
	/* A plan for named ranges may need every page that lies there. */
	uint64_t target = evacuate->request.range_count ? 0 : evacuate->request.target_bytes;

	evacuate->plan.count = 0;
	if (hugepages_read(evacuate->sysroot, &evacuate->before) < 0)
		evacuate->before.count = 0;
	hugepages_plan(&evacuate->before, evacuate->config, target, &evacuate->plan);
	for (size_t i = 0; lease && i < evacuate->plan.count; i++) {
		const struct hugepages_step *step = &evacuate->plan.steps[i];
		struct lease_entry entry = {.kind = LEASE_POOL,
					    .node_id = step->node_id,
					    .key = step->page_bytes,
					    .old = step->old,
					    .took = step->old - step->pages};

		if (lease_entries_add(&lease->entries, &entry) < 0)
			lease = NULL;
	}
	if (evacuate->plan.count == 0)
		return;
	if (!lease || !evacuate_save(evacuate)) {
		evacuate->plan.count = 0;
		return;
	}
	if (job_start(&evacuate->job, run_huge_pages, evacuate, evacuate->deadline_ms) < 0)
		evacuate_fail(evacuate, "cannot start a child process");
}

void evacuate_pools_end(struct evacuate *evacuate, uint64_t now_ms)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);
	struct hugepages after;
	uint64_t gained = 0;

	if (hugepages_read(evacuate->sysroot, &after) < 0)
		after.count = 0;
	for (size_t i = 0; i < evacuate->plan.count; i++) {
		const struct hugepages_step *step = &evacuate->plan.steps[i];
		const struct hugepage_pool *pool =
			hugepages_find(&after, step->node_id, step->page_bytes);
		struct lease_entry *entry =
			lease ? lease_entries_find(&lease->entries, LEASE_POOL, step->node_id,
						   step->page_bytes)
			      : NULL;
		uint64_t now = pool ? hugepages_persistent(pool) : 0,
			 planned = step->old - step->pages;
		uint64_t took = now < step->old ? step->old - now : 0;

		gained += took * step->page_bytes;
		if (entry)
			entry->took = entry->took - planned + took;
		if (entry && entry->took == 0)
			lease_entries_remove(&lease->entries, entry);
	}
	if (evacuate->plan.count > 0)
		evacuate_save(evacuate);
	for (size_t i = 0; i < after.count; i++) {
		const struct hugepage_pool *pool = &after.pools[i];

		if (pool->node_id != HUGEPAGE_POOL_ALL_NODES)
			continue;
		uint64_t idle = pool->free > pool->reserved ? pool->free - pool->reserved : 0;
		uint64_t floor = agent_config_floor(evacuate->config, pool->page_bytes);

		remember_remainder(evacuate, pool, MESSAGE_REASON_HUGE_PAGES_IN_USE,
				   pool->total > idle ? pool->total - idle : 0);
		if (floor > 0)
			remember_remainder(evacuate, pool, MESSAGE_REASON_HUGE_PAGES_FLOOR,
					   least(idle, floor));
	}
	evacuate_add_rung(evacuate, MESSAGE_RUNG_HUGE_PAGES, gained, now_ms);
}
