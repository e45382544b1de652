/* SPDX-License-Identifier: Apache-2.0 */
#include "quiet_pools.h"

#include <stdbool.h>

/* A little more than that, which may be on its way. */
static bool is_near(uint64_t pages, uint64_t quiet_pages)
{
	return pages > quiet_pages && pages - quiet_pages <= QUIET_POOLS_SLACK;
}

/* quiet->count where the size is not known. */
static size_t find(const struct quiet_pools *quiet, uint64_t page_bytes)
{
	size_t i = 0;

	while (i < quiet->count && quiet->pools[i].page_bytes != page_bytes)
		i++;
	return i;
}

void quiet_pools_note(struct quiet_pools *quiet, uint64_t page_bytes, uint64_t pages, uint64_t now_ms)
{
	size_t i = find(quiet, page_bytes);

	if (i == HUGEPAGE_POOL_SIZES_MAX)
		return;
	if (i < quiet->count && is_near(pages, quiet->pools[i].pages) &&
	    now_ms - quiet->pools[i].at_ms < QUIET_POOLS_MS)
		return;
	quiet->pools[i] = (struct quiet_pool){.page_bytes = page_bytes, .pages = pages, .at_ms = now_ms};
	if (i == quiet->count)
		quiet->count++;
}

uint64_t quiet_pools_pages(const struct quiet_pools *quiet, uint64_t page_bytes, uint64_t pages)
{
	size_t i = find(quiet, page_bytes);

	return i < quiet->count && is_near(pages, quiet->pools[i].pages) ? quiet->pools[i].pages : pages;
}
