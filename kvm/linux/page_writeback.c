/* SPDX-License-Identifier: Apache-2.0 */
#include "page_writeback.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "cleanup.h"
#include "page_kind.h"
#include "sysroot.h"

#define CHUNK 2048

static int add(struct page_writeback *pages, uint64_t pfn)
{
	/* There is room for the next power of two. */
	if (pages->count == 0 || (pages->count & (pages->count - 1)) == 0) {
		uint64_t *larger = reallocarray(pages->pfns, pages->count ? 2 * pages->count : 1, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		pages->pfns = larger;
	}
	pages->pfns[pages->count++] = pfn;
	return 0;
}

int page_writeback_read(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes, struct page_writeback *ret_pages)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), flags[CHUNK];
	uint64_t pfn = start / page_bytes, end = (start + size_bytes) / page_bytes;
	struct page_writeback pages = {0};
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/kpageflags");
	int rc = fd < 0 ? fd : 0;

	while (!rc && pfn < end) {
		size_t want = end - pfn < CHUNK ? (size_t)(end - pfn) : CHUNK, got = 0;

		rc = page_kind_read_entries(fd, pfn, flags, want, &got);
		for (size_t i = 0; !rc && i < got; i++)
			if (flags[i] & PAGE_KIND_FLAG_WRITEBACK)
				rc = add(&pages, pfn + i);
		pfn += got;
		if (got < want)
			break;
	}
	if (rc)
		page_writeback_done(&pages);
	else
		*ret_pages = pages;
	return rc;
}

int page_writeback_review(const struct sysroot *sysroot, struct page_writeback *pages)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/kpageflags");
	size_t kept = 0;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < pages->count; i++) {
		uint64_t flags = 0;
		size_t got = 0;

		/* One that cannot be seen counts as it was. */
		if (page_kind_read_entries(fd, pages->pfns[i], &flags, 1, &got) ||
		    (got && flags & PAGE_KIND_FLAG_WRITEBACK))
			pages->pfns[kept++] = pages->pfns[i];
	}
	pages->count = kept;
	return 0;
}

void page_writeback_done(struct page_writeback *pages)
{
	free(pages->pfns);
	*pages = (struct page_writeback){0};
}
