/* SPDX-License-Identifier: Apache-2.0 */
#include "hugepages.h"

#include <errno.h>
#include "agent_config.h"
#include "cleanup.h"
#include "sysroot.h"

/* Nodes beyond LIMIT_POOLS are left out: their pages stay counted in the total. */
static int read_nodes(const struct sysroot *sysroot, const struct sysroot_names *names,
		      uint64_t page_bytes, struct hugepages *hugepages)
{
	for (size_t i = 0; i < names->count && hugepages->count < LIMIT_POOLS; i++) {
		int64_t node = sysroot_name_number(names->names[i], "node", NULL);

		if (node < 0)
			continue;
		int error = hugepage_pool_read(sysroot, (int)node, page_bytes,
					       &hugepages->pools[hugepages->count]);

		if (error == -ENOENT)
			continue;
		if (error < 0)
			return error;
		hugepages->count++;
	}
	return 0;
}

int hugepages_read(const struct sysroot *sysroot, struct hugepages *ret_hugepages)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	struct hugepages hugepages = {0};
	uint64_t sizes[HUGEPAGE_POOL_SIZES_MAX];
	size_t size_count;
	int error = hugepage_pool_list_sizes(sysroot, sizes, &size_count);

	if (error == 0)
		error = sysroot_list(sysroot, &names, "/sys/devices/system/node");
	if (error < 0 && error != -ENOENT)
		return error;
	for (size_t i = 0; i < size_count && hugepages.count < LIMIT_POOLS; i++) {
		error = hugepage_pool_read(sysroot, HUGEPAGE_POOL_ALL_NODES, sizes[i],
					   &hugepages.pools[hugepages.count]);
		if (error == 0) {
			hugepages.count++;
			error = read_nodes(sysroot, &names, sizes[i], &hugepages);
		}
		if (error < 0)
			return error;
	}
	*ret_hugepages = hugepages;
	return 0;
}

const struct hugepage_pool *hugepages_find(const struct hugepages *hugepages, int node_id,
					   uint64_t page_bytes)
{
	for (size_t i = 0; i < hugepages->count; i++)
		if (hugepages->pools[i].node_id == node_id &&
		    hugepages->pools[i].page_bytes == page_bytes)
			return &hugepages->pools[i];
	return NULL;
}

uint64_t hugepages_persistent(const struct hugepage_pool *pool)
{
	return pool->total > pool->surplus ? pool->total - pool->surplus : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

bool hugepages_is_finest(const struct hugepages *hugepages, size_t index)
{
	const struct hugepage_pool *pool = &hugepages->pools[index];

	return pool->node_id != HUGEPAGE_POOL_ALL_NODES || index + 1 == hugepages->count ||
	       hugepages->pools[index + 1].page_bytes != pool->page_bytes;
}

/* A pool that is not there any more went with its node. */
static uint64_t lost_between(const struct hugepages *before, const struct hugepages *after,
			     int node_id, uint64_t page_bytes)
{
	const struct hugepage_pool *was = hugepages_find(before, node_id, page_bytes),
				   *is = hugepages_find(after, node_id, page_bytes);
	uint64_t had = was ? hugepages_persistent(was) : 0, has = is ? hugepages_persistent(is) : 0;

	return had > has ? had - has : 0;
}

void hugepages_loss_add(struct hugepages_loss *loss, const struct hugepages *before,
			const struct hugepages *after)
{
	uint64_t left = 0, page_bytes = 0;

	for (size_t i = 0; i < loss->begin.count; i++) {
		const struct hugepage_pool *pool = &loss->begin.pools[i];

		if (pool->page_bytes != page_bytes)
			left = lost_between(before, after, HUGEPAGE_POOL_ALL_NODES, pool->page_bytes);
		page_bytes = pool->page_bytes;
		if (!hugepages_is_finest(&loss->begin, i))
			continue;
		uint64_t lost = least(left, lost_between(before, after, pool->node_id, page_bytes));

		loss->pages[i] += lost;
		left -= lost;
	}
}

uint64_t hugepages_idle(const struct hugepage_pool *total)
{
	return total->free > total->reserved ? total->free - total->reserved : 0;
}

/* Nothing that is asked of it comes out as it should. */
static bool is_spoilt(const struct hugepage_pool *pool)
{
	return pool->surplus > pool->total;
}

/* What the whole of one size can give. */
static uint64_t available(const struct hugepage_pool *total, uint64_t floor)
{
	uint64_t persistent = hugepages_persistent(total);

	return is_spoilt(total) ? 0 :
				  least(hugepages_idle(total),
					total->surplus + (persistent > floor ? persistent - floor : 0));
}

static void add_surplus(struct hugepages_plan *plan, const struct hugepage_pool *total)
{
	if (total->surplus > 0)
		plan->steps[plan->count++] = (struct hugepages_step){
			.node_id = HUGEPAGE_POOL_ALL_NODES,
			.page_bytes = total->page_bytes,
			.pages = total->total,
			.old = hugepages_persistent(total),
		};
}

/* When there is no surplus any more. */
static void add_step(struct hugepages_plan *plan, const struct hugepage_pool *pool, uint64_t take)
{
	plan->steps[plan->count++] = (struct hugepages_step){
		.node_id = pool->node_id,
		.page_bytes = pool->page_bytes,
		.pages = pool->total - take,
		.old = pool->total,
	};
}

static bool is_node_in(const struct hugepage_pool *pool, uint64_t nodes)
{
	return pool->node_id >= 0 && pool->node_id < 64 && nodes >> pool->node_id & 1;
}

/* From the pools behind the total, those of these nodes or the others. Returns how many pages are left to take. */
static uint64_t take_of_nodes(const struct hugepages *hugepages, size_t total, uint64_t nodes, bool are_meant,
			      uint64_t take, struct hugepages_plan *plan)
{
	for (size_t i = total + 1; i < hugepages->count &&
				   hugepages->pools[i].page_bytes == hugepages->pools[total].page_bytes;
	     i++) {
		const struct hugepage_pool *node = &hugepages->pools[i];
		uint64_t part = least(take, least(node->free, node->total));

		if (part == 0 || is_node_in(node, nodes) != are_meant)
			continue;
		add_step(plan, node, part);
		take -= part;
	}
	return take;
}

uint64_t hugepages_plan(const struct hugepages *hugepages, const struct agent_config *config,
			uint64_t target_bytes, uint64_t first_nodes, struct hugepages_plan *ret_plan)
{
	uint64_t won = 0;

	ret_plan->count = 0;
	for (size_t i = 0; i < hugepages->count; i++) {
		const struct hugepage_pool *total = &hugepages->pools[i];
		uint64_t size = total->page_bytes;

		if (total->node_id != HUGEPAGE_POOL_ALL_NODES ||
		    (target_bytes && won >= target_bytes))
			continue;
		uint64_t take = available(total, agent_config_floor(config, size)), left;

		if (target_bytes)
			take = least(take, (target_bytes - won + size - 1) / size);
		if (take > 0)
			add_surplus(ret_plan, total);
		left = take_of_nodes(hugepages, i, first_nodes, true, take, ret_plan);
		left = take_of_nodes(hugepages, i, first_nodes, false, left, ret_plan);
		if (hugepages_is_finest(hugepages, i) && left > 0) {
			add_step(ret_plan, total, left);
			left = 0;
		}
		won += (take - left) * size;
	}
	return won;
}

void hugepages_plan_surplus(const struct hugepages *hugepages, bool only_where_free,
			    struct hugepages_plan *ret_plan)
{
	ret_plan->count = 0;
	for (size_t i = 0; i < hugepages->count; i++) {
		const struct hugepage_pool *total = &hugepages->pools[i];

		if (total->node_id == HUGEPAGE_POOL_ALL_NODES && !is_spoilt(total) &&
		    (!only_where_free || hugepages_idle(total) > 0))
			add_surplus(ret_plan, total);
	}
}

/* Surplus pages that were freed meanwhile are gone: no fresh ones for them. */
static int take_in_surplus(const struct sysroot *sysroot, const struct hugepages_step *step)
{
	struct hugepage_pool pool;
	int error = hugepage_pool_read(sysroot, step->node_id, step->page_bytes, &pool);

	if (error < 0 || hugepages_persistent(&pool) >= least(step->pages, pool.total))
		return error;
	return hugepage_pool_set(sysroot, step->node_id, step->page_bytes,
				 least(step->pages, pool.total), &pool);
}

static int give_up(const struct sysroot *sysroot, const struct hugepages_step *step)
{
	struct hugepage_pool before, after;
	int error = hugepage_pool_read(sysroot, step->node_id, step->page_bytes, &before);

	if (error == 0)
		error = hugepage_pool_set(sysroot, step->node_id, step->page_bytes, step->pages,
					  &after);
	if (error < 0 || after.surplus <= before.surplus)
		return error;
	return hugepage_pool_set(sysroot, step->node_id, step->page_bytes,
				 hugepages_persistent(&after) + after.surplus - before.surplus,
				 &after);
}

int hugepages_apply(const struct sysroot *sysroot, const struct hugepages_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct hugepages_step *step = &plan->steps[i];
		int error = step->pages > step->old ? take_in_surplus(sysroot, step)
						    : give_up(sysroot, step);

		if (error < 0)
			return error;
	}
	return 0;
}
