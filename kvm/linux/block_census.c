/* SPDX-License-Identifier: Apache-2.0 */
#include "block_census.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>
#include "cleanup.h"
#include "page_kind.h"
#include "sysroot.h"

#define FLAGS_EMPTY   (PAGE_KIND_FLAG_BUDDY | PAGE_KIND_FLAG_NOPAGE | PAGE_KIND_FLAG_OFFLINE)
/* Of what the kernel can migrate. A page on its way to the list of its kind has the others. */
#define FLAGS_MOVABLE                                                                                         \
	(PAGE_KIND_FLAG_LRU | PAGE_KIND_FLAG_MMAP | PAGE_KIND_FLAG_ANON | PAGE_KIND_FLAG_SWAPBACKED |         \
	 PAGE_KIND_FLAG_HUGE | PAGE_KIND_FLAG_THP)

#define CHUNK 2048

struct piece {
	uint32_t pages;	   /* of it so far */
	bool head_is_held; /* of the compound page that the next tail belongs to */
	bool is_held;
};

static void end_piece(struct block_census *census, struct piece *piece)
{
	if (piece->is_held)
		census->held += piece->pages;
	piece->pages = 0;
	piece->is_held = false;
}

static void count_piece(struct piece *piece, uint64_t flags)
{
	if (!(flags & PAGE_KIND_FLAG_TAIL))
		piece->head_is_held = !(flags & (FLAGS_EMPTY | FLAGS_MOVABLE));
	/* The rest of a movable compound page has no flags of its own that would say so. */
	piece->is_held |= piece->head_is_held && !(flags & (FLAGS_EMPTY | FLAGS_MOVABLE));
	piece->pages++;
}

/*
 * What is not first of its page belongs to the one before, which may lie in an earlier block: 1 GiB pages are larger than
 * a block. Whoever wants a range of pages gives up at one, in use or free (mm/hugetlb.c, isolate_or_dissolve_huge_page).
 */
static void count_gigantic(struct block_census *census, uint32_t *huge_run, uint32_t run_most, uint64_t flags)
{
	if (!(flags & PAGE_KIND_FLAG_HUGE))
		*huge_run = 0;
	else if (!(flags & PAGE_KIND_FLAG_TAIL))
		*huge_run = 1;
	else
		++*huge_run;
	if (*huge_run == run_most + 1)
		census->gigantic += *huge_run;
	else if (*huge_run > run_most)
		census->gigantic++;
}

static void count(struct block_census *census, enum page_kind kind)
{
	census->pages++;
	census->empty += page_kind_is_empty(kind);
	census->huge_used += kind == PAGE_KIND_HUGE_USED;
	census->huge_free += kind == PAGE_KIND_HUGE_FREE;
	census->kernel += kind == PAGE_KIND_SLAB || kind == PAGE_KIND_PAGE_TABLE;
	census->writeback += kind == PAGE_KIND_WRITEBACK;
	census->poisoned += kind == PAGE_KIND_POISONED;
}

int block_census_read(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes,
		      struct block_census *ret_census)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), flags[CHUNK];
	uint64_t pfn = start / page_bytes, left = size_bytes / page_bytes;
	uint64_t piece_pages = BLOCK_CENSUS_PIECE_BYTES / page_bytes;
	struct block_census census = {0};
	struct page_kind_run kinds = {0};
	struct piece piece = {0};
	uint32_t huge_run = 0;
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/kpageflags");

	if (fd < 0)
		return fd;
	while (left > 0) {
		size_t want = left < CHUNK ? (size_t)left : CHUNK;
		size_t entries;
		int rc = page_kind_read_entries(fd, pfn, flags, want, &entries);

		if (rc)
			return rc;
		for (size_t i = 0; i < entries; i++) {
			count(&census, page_kind_next(&kinds, flags[i]));
			count_piece(&piece, flags[i]);
			count_gigantic(&census, &huge_run, (uint32_t)piece_pages, flags[i]);
			if ((pfn + i + 1) % piece_pages == 0)
				end_piece(&census, &piece);
		}
		if (entries < want)
			return -ENOENT;
		pfn += entries;
		left -= entries;
	}
	end_piece(&census, &piece);
	census.held += census.gigantic;
	*ret_census = census;
	return 0;
}
