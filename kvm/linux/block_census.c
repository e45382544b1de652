/* SPDX-License-Identifier: Apache-2.0 */
#include "block_census.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>
#include "cleanup.h"
#include "sysroot.h"

/* Bits of include/uapi/linux/kernel-page-flags.h and, from 26 on, of its neighbours: they never
 * change. */
#define FLAG_LRU	(UINT64_C(1) << 5)
#define FLAG_SLAB	(UINT64_C(1) << 7)
#define FLAG_WRITEBACK	(UINT64_C(1) << 8)
#define FLAG_BUDDY	(UINT64_C(1) << 10)
#define FLAG_MMAP	(UINT64_C(1) << 11)
#define FLAG_ANON	(UINT64_C(1) << 12)
#define FLAG_SWAPBACKED (UINT64_C(1) << 14)
#define FLAG_TAIL	(UINT64_C(1) << 16)
#define FLAG_HUGE	(UINT64_C(1) << 17)
#define FLAG_NOPAGE	(UINT64_C(1) << 20)
#define FLAG_THP	(UINT64_C(1) << 22)
#define FLAG_OFFLINE	(UINT64_C(1) << 23)
#define FLAG_PGTABLE	(UINT64_C(1) << 26)

#define FLAGS_EMPTY   (FLAG_BUDDY | FLAG_NOPAGE | FLAG_OFFLINE)
/* Of what the kernel can migrate. A page on its way to the list of its kind has the others. */
#define FLAGS_MOVABLE (FLAG_LRU | FLAG_MMAP | FLAG_ANON | FLAG_SWAPBACKED | FLAG_HUGE | FLAG_THP)

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
	if (!(flags & FLAG_TAIL))
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
	if (!(flags & FLAG_HUGE))
		*huge_run = 0;
	else if (!(flags & FLAG_TAIL))
		*huge_run = 1;
	else
		++*huge_run;
	if (*huge_run == run_most + 1)
		census->gigantic += *huge_run;
	else if (*huge_run > run_most)
		census->gigantic++;
}

static void count(struct block_census *census, uint64_t flags)
{
	census->pages++;
	if (flags & FLAGS_EMPTY)
		census->empty++;
	else if (flags & FLAG_HUGE)
		*(flags & FLAG_MMAP ? &census->huge_used : &census->huge_free) += 1;
	else if (flags & (FLAG_SLAB | FLAG_PGTABLE))
		census->kernel++;
	else if (flags & FLAG_WRITEBACK)
		census->writeback++;
}

int block_census_read(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes,
		      struct block_census *ret_census)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), flags[CHUNK];
	uint64_t pfn = start / page_bytes, left = size_bytes / page_bytes;
	uint64_t piece_pages = BLOCK_CENSUS_PIECE_BYTES / page_bytes;
	struct block_census census = {0};
	struct piece piece = {0};
	uint32_t huge_run = 0;
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/kpageflags");

	if (fd < 0)
		return fd;
	while (left > 0) {
		size_t want = left < CHUNK ? (size_t)left : CHUNK;
		ssize_t got =
			pread(fd, flags, want * sizeof(flags[0]), (off_t)(pfn * sizeof(flags[0])));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ENOENT;
		size_t entries = (size_t)got / sizeof(flags[0]);

		for (size_t i = 0; i < entries; i++) {
			count(&census, flags[i]);
			count_piece(&piece, flags[i]);
			count_gigantic(&census, &huge_run, (uint32_t)piece_pages, flags[i]);
			if ((pfn + i + 1) % piece_pages == 0)
				end_piece(&census, &piece);
		}
		if (entries == 0)
			return -EIO;
		pfn += entries;
		left -= entries;
	}
	end_piece(&census, &piece);
	census.held += census.gigantic;
	*ret_census = census;
	return 0;
}
