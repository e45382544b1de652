/* SPDX-License-Identifier: Apache-2.0 */
#include "undo.h"

#include <errno.h>
#include <stdlib.h>
#include "hugepages.h"
#include "memory_block.h"
#include "zones.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void undo_prepare(const struct sysroot *sysroot, struct lease_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++) {
		struct lease_entry *entry = &entries->items[i];
		struct hugepage_pool pool;

		if (entry->kind != LEASE_POOL && entry->kind != LEASE_ROOM)
			continue;
		entry->goal = 0;
		if (hugepage_pool_read(sysroot, entry->node_id, entry->key, &pool) < 0)
			continue;
		uint64_t now = hugepages_persistent(&pool);

		/* What has left a block for the room is still there; of what the block had, the free
		 * copies went with it. */
		if (entry->kind == LEASE_ROOM && now > entry->old) {
			entry->goal = now - least(now - entry->old, entry->took);
			continue;
		}
		entry->goal = now + entry->took;
		if (entry->old && entry->goal > entry->old)
			entry->goal = entry->old > now ? entry->old : now;
	}
}

static int undo_pool(const struct sysroot *sysroot, const struct lease_entry *entry)
{
	struct hugepage_pool pool;
	int error = hugepage_pool_read(sysroot, entry->node_id, entry->key, &pool);

	/* The node went with its memory. */
	if (error == -ENOENT)
		return 0;
	if (error < 0 || hugepages_persistent(&pool) >= entry->goal)
		return error;
	return hugepage_pool_set(sysroot, entry->node_id, entry->key, entry->goal, &pool);
}

/* Larger or smaller. */
static int undo_room(const struct sysroot *sysroot, const struct lease_entry *entry)
{
	struct hugepage_pool pool;
	int error = hugepage_pool_read(sysroot, entry->node_id, entry->key, &pool);

	if (error == -ENOENT)
		return 0;
	if (error < 0 || entry->goal == 0 || hugepages_persistent(&pool) == entry->goal)
		return error;
	return hugepage_pool_set(sysroot, entry->node_id, entry->key, entry->goal, &pool);
}

/* The pool is still as the shrink left it, or on its way back; if not, its owner has set it since. */
static bool has_surplus_of_ours(const struct hugepage_pool *pool, const struct lease_entry *entry)
{
	uint64_t now = hugepages_persistent(pool);

	return now > entry->old && now - entry->old <= entry->took;
}

/* Smaller again, by what is free alone: in use they would be surplus, and while the kernel migrates
 * one of them that spoils the pool. The others later. */
static int undo_surplus(const struct sysroot *sysroot, const struct lease_entry *entry)
{
	struct hugepage_pool pool;
	int error = hugepage_pool_read(sysroot, HUGEPAGE_POOL_ALL_NODES, entry->key, &pool);

	if (error == -ENOENT)
		return 0;
	if (error < 0 || !has_surplus_of_ours(&pool, entry))
		return error;
	uint64_t needed = pool.total - least(hugepages_idle(&pool), pool.total);
	uint64_t goal = needed > entry->old ? needed : entry->old;

	if (goal >= hugepages_persistent(&pool))
		return 0;
	return hugepage_pool_set(sysroot, HUGEPAGE_POOL_ALL_NODES, entry->key, goal, &pool);
}

static int undo_block(const struct sysroot *sysroot, const struct lease_entry *entry)
{
	enum memory_block_online_result result;
	int error = memory_block_online(sysroot, entry->key, (enum memory_zone)entry->old, &result);

	if (error < 0)
		return error;
	switch (result) {
	case MEMORY_BLOCK_ONLINE_ONLINED:
	case MEMORY_BLOCK_ONLINE_ALREADY:
	case MEMORY_BLOCK_ONLINE_WRONG_ZONE:
	case MEMORY_BLOCK_ONLINE_GONE:
		return 0;
	case MEMORY_BLOCK_ONLINE_REFUSED:
	case MEMORY_BLOCK_ONLINE_COUNT:
		return -EBUSY;
	case MEMORY_BLOCK_ONLINE_INTERRUPTED:
		return -EINTR;
	}
	return -EBUSY;
}

static int undo_entry(const struct sysroot *sysroot, const struct lease_entry *entry)
{
	switch (entry->kind) {
	case LEASE_POOL:
		return undo_pool(sysroot, entry);
	case LEASE_ROOM:
		return undo_room(sysroot, entry);
	case LEASE_SURPLUS:
		return undo_surplus(sysroot, entry);
	case LEASE_BLOCK:
		return undo_block(sysroot, entry);
	case LEASE_AUTO_ONLINE:
		return memory_block_set_auto_online(sysroot,
						    (enum memory_block_auto_online)entry->old);
	case LEASE_ZONE_POLICY:
		return zones_set_zone_policy(sysroot, (enum message_zone_policy)entry->old);
	case LEASE_MOVABLE_RATIO:
		return zones_set_movable_ratio(sysroot, entry->old);
	case LEASE_UNPLUG_ONLINE:
		return zones_set_unplug_online(sysroot, entry->old != 0);
	/* The hooks after it are run when all else is done. */
	case LEASE_HOOKS:
	case LEASE_HOOK_RANGE:
		return 0;
	case LEASE_KIND_COUNT:
		break;
	}
	return -EINVAL;
}

/* Onlining a block and growing a pool may take long, or for ever; all else is a word in a file. */
static bool is_slow(const struct lease_entry *entry)
{
	return entry->kind == LEASE_POOL || entry->kind == LEASE_ROOM ||
	       entry->kind == LEASE_SURPLUS || entry->kind == LEASE_BLOCK;
}

static void undo_those(const struct sysroot *sysroot, const struct lease_entries *entries,
		       bool slow, struct child_job_result *result)
{
	for (size_t i = entries->count; i > 0; i--) {
		const struct lease_entry *entry = &entries->items[i - 1];
		int error = is_slow(entry) == slow ? undo_entry(sysroot, entry) : 0;

		if (error < 0) {
			result->outcome++;
			result->error = -error;
		}
	}
}

struct child_job_result undo_run(const struct sysroot *sysroot, const struct lease_entries *entries)
{
	struct child_job_result result = {0};

	/* First what cannot hang: a block that does must not keep the driver's switch turned. */
	undo_those(sysroot, entries, false, &result);
	undo_those(sysroot, entries, true, &result);
	return result;
}

bool undo_is_done(const struct sysroot *sysroot, const struct lease_entry *entry)
{
	enum memory_block_auto_online auto_online;
	enum memory_block_state state;
	struct zones_policy policy;
	struct hugepage_pool pool;

	zones_read_policy(sysroot, &policy);
	switch (entry->kind) {
	case LEASE_BLOCK:
		return memory_block_read_state(sysroot, entry->key, &state) < 0 ||
		       state == MEMORY_BLOCK_STATE_ONLINE;
	case LEASE_AUTO_ONLINE:
		return memory_block_read_auto_online(sysroot, &auto_online) < 0 ||
		       (uint64_t)auto_online == entry->old;
	case LEASE_ZONE_POLICY:
		return policy.zone_policy == MESSAGE_ZONE_POLICY_UNKNOWN ||
		       (uint64_t)policy.zone_policy == entry->old;
	case LEASE_MOVABLE_RATIO:
		return !policy.has_ratio || policy.auto_movable_ratio == entry->old;
	case LEASE_UNPLUG_ONLINE:
		return policy.unplug_online == MESSAGE_SWITCH_UNKNOWN ||
		       policy.unplug_online == entry->old;
	case LEASE_SURPLUS:
		return hugepage_pool_read(sysroot, HUGEPAGE_POOL_ALL_NODES, entry->key, &pool) < 0 ||
		       !has_surplus_of_ours(&pool, entry);
	case LEASE_POOL:
	case LEASE_ROOM:
	case LEASE_HOOKS:
	case LEASE_HOOK_RANGE:
	case LEASE_KIND_COUNT:
		break;
	}
	return true;
}

int undo_review(const struct sysroot *sysroot, const struct lease_entries *entries,
		struct lease_entries *taken, uint64_t *ret_gained, uint64_t *ret_short)
{
	uint64_t gained = 0, missing = 0;
	int result = 0;

	for (size_t i = 0; i < entries->count; i++) {
		const struct lease_entry *entry = &entries->items[i];
		struct hugepage_pool pool;

		if ((entry->kind != LEASE_POOL && entry->kind != LEASE_ROOM) || entry->goal == 0 ||
		    hugepage_pool_read(sysroot, entry->node_id, entry->key, &pool) < 0)
			continue;
		uint64_t now = hugepages_persistent(&pool);
		uint64_t lacks = now < entry->goal ? entry->goal - now : 0;

		if (lacks > entry->took)
			lacks = entry->took;
		if (entry->kind == LEASE_POOL)
			gained += (entry->took - lacks) * entry->key;
		missing += lacks * entry->key;
		if (taken && lacks > 0) {
			struct lease_entry owed = {.kind = LEASE_POOL,
						   .node_id = entry->node_id,
						   .key = entry->key,
						   .old = entry->old,
						   .took = lacks};
			int error = lease_entries_add(taken, &owed);

			if (error < 0)
				result = error;
		}
	}
	if (ret_gained)
		*ret_gained = gained;
	if (ret_short)
		*ret_short = missing;
	return result;
}
