/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of huge pages under a drain. A block that goes offline takes the free pages in it out of their pool (mm/hugetlb.c
 * dissolve_free_huge_pages), and one that comes back brings none along. So there is a step for each pool before the first
 * block goes, which keeps what the pool was and by whose undo it becomes so again. Where the whole node goes that step also
 * takes the free pages out, so that nobody gets them in between; elsewhere only the kernel knows which of them have to go.
 */
#include "plan_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include "size_text.h"

/* The step of this pool, a failed one only where there is no other; NULL: none yet. */
static const struct step_record *step_of(const struct plan_input *input, int node, uint64_t page_bytes)
{
	const struct step_record *found = NULL;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_HOST_POOL && record->step.node == node &&
		    record->step.page_bytes == page_bytes && record->state != STEP_STATE_UNDONE &&
		    (!found || record->state != STEP_STATE_FAILED))
			found = record;
	}
	return found;
}

static void decide(const struct snapshot_pool *pool, int node, bool is_whole, struct decision *decision)
{
	uint64_t lasting = pool->total - plan_min(pool->total, pool->surplus);
	/* Of a pool with surplus the kernel may take other pages than the free ones. */
	uint64_t gone = is_whole && !pool->surplus ? plan_min(pool->free, lasting) : 0;
	struct step step;

	plan_step_init(&step, STEP_KIND_HOST_POOL, NULL);
	step.node = node;
	step.page_bytes = pool->page_bytes;
	step.bytes = gone * pool->page_bytes;
	step.target_bytes = (lasting - gone) * pool->page_bytes;
	step.undoable = true;
	plan_decide(decision, &step);
}

bool drain_pool_next(const struct plan_input *input, const struct drain_scope *scope, struct decision *decision)
{
	for (size_t i = 0; i < input->snapshot->node_count; i++) {
		const struct snapshot_node *node = &input->snapshot->nodes[i];

		if (!(scope->nodes & plan_node_bit(node->id)))
			continue;
		for (size_t j = 0; j < node->pool_count; j++) {
			const struct snapshot_pool *pool = &node->pools[j];

			if (pool->total <= pool->surplus || step_of(input, node->id, pool->page_bytes))
				continue;
			decide(pool, node->id, scope->whole_nodes & plan_node_bit(node->id), decision);
			return true;
		}
	}
	return false;
}

/* NULL: it has not failed, or not in the end. */
static const struct step_record *failed_step_of(const struct plan_input *input, int node, uint64_t page_bytes)
{
	const struct step_record *record = step_of(input, node, page_bytes);

	return record && record->state == STEP_STATE_FAILED ? record : NULL;
}

static bool is_failure(const struct plan_input *input, const struct step_record *record)
{
	return record->step.kind == STEP_KIND_HOST_POOL &&
	       failed_step_of(input, record->step.node, record->step.page_bytes) == record;
}

bool drain_pool_failed(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (is_failure(input, &input->history[i]))
			return true;
	return false;
}

/* All that are free are promised to somebody, wherever they will be taken from: no block that has one goes. */
static bool is_reserved(const struct snapshot *snapshot, const struct snapshot_pool *pool)
{
	uint64_t free = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		for (size_t j = 0; j < snapshot->nodes[i].pool_count; j++)
			if (snapshot->nodes[i].pools[j].page_bytes == pool->page_bytes)
				free += snapshot->nodes[i].pools[j].free;
	return pool->free && free <= pool->reserved;
}

/* What cannot be looked at has a reason, and no bytes. */
static void tell_failure(const struct step_record *record, struct remainder_list *list, uint64_t *rest)
{
	for (size_t i = 0; i < record->remainder.count; i++)
		if (record->remainder.items[i].bytes)
			plan_take_entry(list, &record->remainder.items[i], rest);
		else
			remainder_list_add_copy(list, &record->remainder.items[i]);
}

/* The step has found the same pages. */
static bool is_told(const struct plan_input *input, int node, uint64_t page_bytes)
{
	const struct step_record *record = failed_step_of(input, node, page_bytes);

	return record && remainder_list_bytes(&record->remainder);
}

void drain_pool_tell(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *list,
		     uint64_t *rest)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (is_failure(input, &input->history[i]))
			tell_failure(&input->history[i], list, rest);
	for (size_t i = 0; i < input->snapshot->node_count; i++) {
		const struct snapshot_node *node = &input->snapshot->nodes[i];

		for (size_t j = 0; j < node->pool_count && scope->nodes & plan_node_bit(node->id); j++) {
			const struct snapshot_pool *pool = &node->pools[j];
			uint64_t bytes = plan_min(pool->free * pool->page_bytes, *rest);
			char object[96], size[SIZE_TEXT_SIZE];

			if (!bytes || !is_reserved(input->snapshot, pool) || is_told(input, node->id, pool->page_bytes))
				continue;
			snprintf(object, sizeof(object), "node %d, pool of %s pages", node->id,
				 size_text_format(pool->page_bytes, size));
			remainder_list_add(list, REMAINDER_HUGE_PAGE_POOL, object, bytes,
					   "raise nr_hugepages of another node by as many pages",
					   "%" PRIu64 " free pages are reserved: the kernel keeps their blocks",
					   pool->free);
			*rest -= bytes;
		}
	}
}
