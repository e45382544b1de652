/* SPDX-License-Identifier: Apache-2.0 */
#include "page_holder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "sysroot.h"

#define CHUNK 2048
/* The largest compound page but hugetlb's, whose tails say themselves what they are. */
#define COMPOUND_BYTES ((uint64_t)2 << 20)

struct page_holder {
	int flags_fd, groups_fd; /* owned; the second -1: the kernel counts no groups */
	uint64_t page_bytes;
	/* A hash of inodes, open addressing; capacity is a power of two, and never full. Groups are never 0 bytes. */
	struct page_holder_group *groups; /* owned */
	size_t capacity, count;
	uint64_t flags[CHUNK], inodes[CHUNK];
};

int page_holder_new(const struct sysroot *sysroot, struct page_holder **ret_holder)
{
	CLEANUP(page_holder_freep) struct page_holder *holder = calloc(1, sizeof(*holder));

	if (!holder)
		return -ENOMEM;
	holder->groups_fd = -1;
	holder->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	holder->flags_fd = sysroot_open(sysroot, O_RDONLY, "/proc/kpageflags");
	if (holder->flags_fd < 0)
		return holder->flags_fd;
	holder->groups_fd = sysroot_open(sysroot, O_RDONLY, "/proc/kpagecgroup");
	if (holder->groups_fd < 0 && holder->groups_fd != -ENOENT)
		return holder->groups_fd;
	holder->capacity = 64;
	holder->groups = calloc(holder->capacity, sizeof(*holder->groups));
	if (!holder->groups)
		return -ENOMEM;
	*ret_holder = holder;
	holder = NULL;
	return 0;
}

struct page_holder *page_holder_free(struct page_holder *holder)
{
	if (!holder)
		return NULL;
	if (holder->flags_fd >= 0)
		close(holder->flags_fd);
	if (holder->groups_fd >= 0)
		close(holder->groups_fd);
	free(holder->groups);
	free(holder);
	return NULL;
}

static struct page_holder_group *find(struct page_holder_group *groups, size_t capacity, uint64_t inode)
{
	/* Inodes of kernfs are numbered one after the other; other file systems' are spread by the multiplication. */
	size_t at = (size_t)((inode * UINT64_C(0x9e3779b97f4a7c15)) >> 32);

	while (groups[at & (capacity - 1)].bytes && groups[at & (capacity - 1)].inode != inode)
		at++;
	return &groups[at & (capacity - 1)];
}

static int grow(struct page_holder *holder)
{
	size_t capacity = holder->capacity * 2;
	struct page_holder_group *groups = calloc(capacity, sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	for (size_t i = 0; i < holder->capacity; i++)
		if (holder->groups[i].bytes)
			*find(groups, capacity, holder->groups[i].inode) = holder->groups[i];
	free(holder->groups);
	holder->groups = groups;
	holder->capacity = capacity;
	return 0;
}

static int add_to_group(struct page_holder *holder, uint64_t inode, enum page_kind kind)
{
	struct page_holder_group *group = find(holder->groups, holder->capacity, inode);

	if (!group->bytes) {
		group->inode = inode;
		if (++holder->count * 2 > holder->capacity) {
			holder->count--;
			if (grow(holder))
				return -ENOMEM;
			holder->count++;
			group = find(holder->groups, holder->capacity, inode);
			group->inode = inode;
		}
	}
	group->bytes += holder->page_bytes;
	group->kinds[kind] += holder->page_bytes;
	return 0;
}

/* Fills both arrays; *ret_read is less than want where there are no frames any more. */
static int read_chunk(struct page_holder *holder, uint64_t pfn, size_t want, size_t *ret_read)
{
	size_t told = 0;
	int rc = page_kind_read_entries(holder->flags_fd, pfn, holder->flags, want, ret_read);

	if (!rc && holder->groups_fd >= 0)
		rc = page_kind_read_entries(holder->groups_fd, pfn, holder->inodes, *ret_read, &told);
	if (!rc && told < *ret_read)
		memset(holder->inodes + told, 0, (*ret_read - told) * sizeof(*holder->inodes));
	return rc;
}

struct walk {
	struct page_kind_run run;
	uint64_t head_inode;
};

/* What is before first only tells whose the tails are that follow. */
static int count_chunk(struct page_holder *holder, struct walk *walk, size_t first, size_t count,
		       uint64_t kinds[PAGE_KIND_COUNT])
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		enum page_kind kind = page_kind_next(&walk->run, holder->flags[i]);
		uint64_t inode = holder->inodes[i];

		/* Only the first page of a compound one is charged. */
		if (!(holder->flags[i] & PAGE_KIND_FLAG_TAIL))
			walk->head_inode = inode;
		else if (!inode && walk->run.has_head)
			inode = walk->head_inode;
		if (i < first)
			continue;
		kinds[kind] += holder->page_bytes;
		if (page_kind_is_owned(kind))
			rc = add_to_group(holder, inode, kind);
	}
	return rc;
}

int page_holder_count(struct page_holder *holder, const struct physical_range *range, uint64_t kinds[PAGE_KIND_COUNT],
		      page_holder_go_fn *go, void *user)
{
	uint64_t page = holder->page_bytes, first = range->start / page;
	uint64_t end = range->end / page + (range->end % page != 0);
	uint64_t pfn = first - first % (COMPOUND_BYTES / page), asked_at = first;
	struct walk walk = {0};

	while (pfn < end) {
		size_t want = end - pfn < CHUNK ? (size_t)(end - pfn) : CHUNK, got;
		int rc = read_chunk(holder, pfn, want, &got);

		if (!rc)
			rc = count_chunk(holder, &walk, pfn < first ? (size_t)(first - pfn) : 0, got, kinds);
		if (rc)
			return rc;
		pfn += got;
		if (got < want) {
			/* The last frame of the machine. */
			kinds[PAGE_KIND_OFFLINE] += (end - (pfn > first ? pfn : first)) * page;
			return 0;
		}
		if (go && pfn - asked_at >= PAGE_HOLDER_PIECE_BYTES / page && pfn < end) {
			asked_at = pfn;
			rc = go(user, (pfn - first) * page);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int compare_groups(const void *a, const void *b)
{
	const struct page_holder_group *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

size_t page_holder_top(struct page_holder *holder, const struct page_holder_group **ret_groups)
{
	/* In its place, so that nothing can fail here: unused ones, with no bytes, come last. */
	qsort(holder->groups, holder->capacity, sizeof(*holder->groups), compare_groups);
	*ret_groups = holder->groups;
	return holder->count;
}
