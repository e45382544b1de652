/* SPDX-License-Identifier: Apache-2.0 */
#include "pinned_pages.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "block_census.h"

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void drop(struct pinned_pages *pinned, size_t index)
{
	pinned->count--;
	memmove(&pinned->pfns[index], &pinned->pfns[index + 1],
		(pinned->count - index) * sizeof(pinned->pfns[0]));
}

void pinned_pages_note(struct pinned_pages *pinned, uint64_t pfn)
{
	for (size_t i = 0; i < pinned->count; i++)
		if (pinned->pfns[i] == pfn)
			return;
	if (pinned->count == PINNED_PAGES_MAX)
		drop(pinned, 0);
	pinned->pfns[pinned->count++] = pfn;
}

static bool is_within(uint64_t pfn, uint64_t start, uint64_t size_bytes)
{
	return pfn >= start / page_bytes() &&
	       pfn - start / page_bytes() < size_bytes / page_bytes();
}

void pinned_pages_forget(struct pinned_pages *pinned, uint64_t start, uint64_t size_bytes)
{
	for (size_t i = pinned->count; i-- > 0;)
		if (is_within(pinned->pfns[i], start, size_bytes))
			drop(pinned, i);
}

/* A page of a process or of the page cache, as it was when it was named. One on its way to be free
 * has no flags at all. Where the kernel shows none its word stands. */
static bool is_in_use(const struct sysroot *sysroot, uint64_t pfn)
{
	struct block_census census;

	return block_census_read(sysroot, pfn * page_bytes(), page_bytes(), &census) < 0 ||
	       (census.empty == 0 && census.held == 0);
}

uint64_t pinned_pages_bytes(struct pinned_pages *pinned, const struct sysroot *sysroot,
			    uint64_t start, uint64_t size_bytes)
{
	uint64_t pieces[PINNED_PAGES_MAX], piece_pages = BLOCK_CENSUS_PIECE_BYTES / page_bytes();
	size_t count = 0;

	for (size_t i = pinned->count; i-- > 0;) {
		uint64_t piece = pinned->pfns[i] / piece_pages;
		bool is_new = true;

		if (!is_within(pinned->pfns[i], start, size_bytes))
			continue;
		if (!is_in_use(sysroot, pinned->pfns[i])) {
			drop(pinned, i);
			continue;
		}
		for (size_t n = 0; n < count; n++)
			is_new = is_new && pieces[n] != piece;
		if (is_new)
			pieces[count++] = piece;
	}
	return count * BLOCK_CENSUS_PIECE_BYTES;
}
