/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surplus huge pages, while a shrink works on their pool: they are the pool's own, and cease to be when they are free and
 * the lease has ended, kept or not.
 */
#include "evacuate_priv.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

bool evacuate_surplus_begin(struct evacuate *evacuate, struct lease *lease, bool only_where_free)
{
	evacuate->plan.count = 0;
	if (hugepages_read(evacuate->sysroot, &evacuate->before) < 0)
		evacuate->before.count = 0;
	hugepages_plan_surplus(&evacuate->before, only_where_free, &evacuate->plan);
	for (size_t i = 0; i < evacuate->plan.count; i++) {
		const struct hugepages_step *step = &evacuate->plan.steps[i];
		struct lease_entry entry = {.kind = LEASE_SURPLUS,
					    .node_id = -1,
					    .key = step->page_bytes,
					    .old = step->old,
					    .took = step->pages - step->old};

		if (lease_entries_add(&lease->entries, &entry) < 0)
			return false;
	}
	return true;
}

void evacuate_surplus_end(struct evacuate *evacuate)
{
	struct lease *lease = lease_book_find(evacuate->book, evacuate->request.lease.id);

	for (size_t i = 0; lease && i < evacuate->plan.count; i++) {
		const struct hugepages_step *step = &evacuate->plan.steps[i];
		struct lease_entry *entry =
			lease_entries_find(&lease->entries, LEASE_SURPLUS, -1, step->page_bytes);
		struct hugepage_pool now;

		if (step->pages <= step->old || !entry || hugepage_pool_read(evacuate->sysroot, HUGEPAGE_POOL_ALL_NODES,
						 step->page_bytes, &now) < 0)
			continue;
		entry->took -= least(least(now.surplus, step->pages - step->old), entry->took);
		if (entry->took == 0)
			lease_entries_remove(&lease->entries, entry);
	}
}

void evacuate_surplus_adopt(struct evacuate *evacuate)
{
	struct lease *own = lease_book_find(evacuate->book, evacuate->request.lease.id);

	for (size_t i = 0; i < evacuate->book->count; i++) {
		struct lease *lease = &evacuate->book->leases[i];

		for (size_t j = 0; lease != own && j < lease->entries.count;) {
			struct lease_entry *entry = &lease->entries.items[j];

			if (entry->kind == LEASE_SURPLUS && lease_entries_add(&own->entries, entry) == 0)
				lease_entries_remove(&lease->entries, entry);
			else
				j++;
		}
	}
}
