/* SPDX-License-Identifier: Apache-2.0 */
#include "page_kind.h"

#include <errno.h>
#include <unistd.h>

static const char *const names[PAGE_KIND_COUNT] = {
	[PAGE_KIND_FREE] = "free",	     [PAGE_KIND_OFFLINE] = "offline",
	[PAGE_KIND_POISONED] = "poisoned",   [PAGE_KIND_HUGE_FREE] = "huge_free",
	[PAGE_KIND_HUGE_USED] = "huge_used", [PAGE_KIND_SLAB] = "slab",
	[PAGE_KIND_PAGE_TABLE] = "page_table", [PAGE_KIND_WRITEBACK] = "writeback",
	[PAGE_KIND_ANON] = "anonymous",	     [PAGE_KIND_SHMEM] = "shared",
	[PAGE_KIND_FILE] = "file",	     [PAGE_KIND_OTHER] = "other",
};
NAME_TABLE_DEFINE(page_kind, names)

/* The first row all of whose flags are there, one of any at least, decides. */
static const struct {
	uint64_t all, any;
	enum page_kind kind;
} rows[] = {
	{PAGE_KIND_FLAG_HWPOISON, 0, PAGE_KIND_POISONED},
	{PAGE_KIND_FLAG_BUDDY, 0, PAGE_KIND_FREE},
	{0, PAGE_KIND_FLAG_NOPAGE | PAGE_KIND_FLAG_OFFLINE, PAGE_KIND_OFFLINE},
	{PAGE_KIND_FLAG_HUGE | PAGE_KIND_FLAG_MMAP, 0, PAGE_KIND_HUGE_USED},
	{PAGE_KIND_FLAG_HUGE, 0, PAGE_KIND_HUGE_FREE},
	{PAGE_KIND_FLAG_SLAB, 0, PAGE_KIND_SLAB},
	{PAGE_KIND_FLAG_PGTABLE, 0, PAGE_KIND_PAGE_TABLE},
	{PAGE_KIND_FLAG_WRITEBACK, 0, PAGE_KIND_WRITEBACK},
	{PAGE_KIND_FLAG_ANON, 0, PAGE_KIND_ANON},
	{PAGE_KIND_FLAG_SWAPBACKED, 0, PAGE_KIND_SHMEM},
	{0, PAGE_KIND_FLAG_LRU | PAGE_KIND_FLAG_THP, PAGE_KIND_FILE},
};

enum page_kind page_kind_of(uint64_t flags)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((flags & rows[i].all) == rows[i].all && (!rows[i].any || flags & rows[i].any))
			return rows[i].kind;
	return PAGE_KIND_OTHER;
}

enum page_kind page_kind_next(struct page_kind_run *run, uint64_t flags)
{
	enum page_kind kind = page_kind_of(flags);

	if (!(flags & PAGE_KIND_FLAG_TAIL)) {
		run->has_head = flags & PAGE_KIND_FLAG_HEAD;
		run->head = kind;
		return kind;
	}
	return run->has_head && kind != PAGE_KIND_POISONED ? run->head : kind;
}

bool page_kind_is_owned(enum page_kind kind)
{
	return kind == PAGE_KIND_ANON || kind == PAGE_KIND_SHMEM || kind == PAGE_KIND_FILE || kind == PAGE_KIND_WRITEBACK;
}

bool page_kind_is_empty(enum page_kind kind)
{
	return kind == PAGE_KIND_FREE || kind == PAGE_KIND_OFFLINE;
}

int page_kind_read_entries(int fd, uint64_t pfn, uint64_t *entries, size_t count, size_t *ret_read)
{
	size_t done = 0;

	while (done < count) {
		ssize_t got = pread(fd, entries + done, (count - done) * sizeof(*entries),
				    (off_t)((pfn + done) * sizeof(*entries)));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		if ((size_t)got < sizeof(*entries))
			return -EIO;
		done += (size_t)got / sizeof(*entries);
	}
	*ret_read = done;
	return 0;
}
