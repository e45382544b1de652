/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages that pools lose because they lie in blocks that go offline, booked as taken.
 */
#include "evacuate_priv.h"

bool evacuate_loss_begin(struct evacuate *evacuate, struct lease *lease)
{
	struct hugepages_loss *loss = &evacuate->loss;

	*loss = (struct hugepages_loss){0};
	if (hugepages_read(evacuate->sysroot, &loss->begin) < 0)
		loss->begin.count = 0;
	for (size_t i = 0; i < loss->begin.count; i++) {
		const struct hugepage_pool *pool = &loss->begin.pools[i];
		/* An undo never makes a pool larger than it was, so that too many do no harm. */
		struct lease_entry entry = {.kind = LEASE_POOL,
					    .node_id = pool->node_id,
					    .key = pool->page_bytes,
					    .old = hugepages_persistent(pool),
					    .took = pool->free};

		if (hugepages_is_finest(&loss->begin, i) && pool->free > 0 &&
		    lease_entries_add(&lease->entries, &entry) < 0)
			return false;
	}
	return true;
}

void evacuate_loss_look(struct evacuate *evacuate)
{
	if (hugepages_read(evacuate->sysroot, &evacuate->before) < 0)
		evacuate->before.count = 0;
}

void evacuate_loss_count(struct evacuate *evacuate)
{
	struct hugepages after;

	if (evacuate->before.count > 0 && hugepages_read(evacuate->sysroot, &after) == 0)
		hugepages_loss_add(&evacuate->loss, &evacuate->before, &after);
}

void evacuate_loss_end(struct evacuate *evacuate)
{
	struct hugepages_loss *loss = &evacuate->loss;

	for (size_t i = 0; i < loss->begin.count; i++) {
		const struct hugepage_pool *begin = &loss->begin.pools[i];
		uint64_t page_bytes = begin->page_bytes, pages = loss->pages[i];

		if (!hugepages_is_finest(&loss->begin, i) || begin->free == 0)
			continue;
		pages = evacuate_pools_set_off(evacuate, LEASE_ROOM, page_bytes, pages);
		pages = evacuate_pools_set_off(evacuate, LEASE_SURPLUS, page_bytes, pages);
		evacuate_pools_book(evacuate, begin->node_id, page_bytes, begin->free, pages);
	}
	loss->begin.count = 0;
}
