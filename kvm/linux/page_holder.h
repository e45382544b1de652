/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds physical memory: what each page is used for (/proc/kpageflags), and which memory cgroup it is charged to
 * (/proc/kpagecgroup).
 */
#ifndef BALLAST_KVM_PAGE_HOLDER_H
#define BALLAST_KVM_PAGE_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "page_kind.h"
#include "physical_map.h"

struct sysroot;
struct page_holder;

/* Opens the kernel's files. -ENOENT where the kernel does not show flags; without kpagecgroup no group is told. */
int page_holder_new(const struct sysroot *sysroot, struct page_holder **ret_holder);
struct page_holder *page_holder_free(struct page_holder *holder);
CLEANUP_DEFINE(struct page_holder *, page_holder_free)

/* Asked between two pieces of PAGE_HOLDER_PIECE_BYTES; anything but 0 ends the count with it. */
typedef int page_holder_go_fn(void *user, uint64_t done_bytes);
#define PAGE_HOLDER_PIECE_BYTES (UINT64_C(64) << 20)

/*
 * Adds the bytes of a range, in whole pages, by kind to kinds, and those that are somebody's (page_kind_is_owned()) by
 * cgroup to the holder. Frames that the kernel has nothing of are offline. The pages are looked at one after the other
 * while the machine goes on: 0.1 s for a GiB where it was measured, in a virtual machine. 0 or -errno, with what had been
 * counted by then.
 */
int page_holder_count(struct page_holder *holder, const struct physical_range *range, uint64_t kinds[PAGE_KIND_COUNT],
		      page_holder_go_fn *go, void *user);

struct page_holder_group {
	uint64_t inode; /* of the cgroup's directory; 0: charged to none (all of hugetlb is, fs/proc/page.c) */
	uint64_t bytes;
	uint64_t kinds[PAGE_KIND_COUNT];
};

/*
 * The groups, those that have most first. Borrowed from the holder, which can count no more afterwards. Returns how many
 * they are.
 */
size_t page_holder_top(struct page_holder *holder, const struct page_holder_group **ret_groups);

#endif
