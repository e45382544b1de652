/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view of a part of a guest's memory file in this process: of the pages that are in memory, and of no others.
 *
 * Pages can be in the file and in no page table of the guest: move_pages(2) on its process passes them by. Here they are
 * mapped once more, so that they can be moved through our own page table. Reading a hole of such a file would fill it,
 * and a page that went away between a look and the read would come back as zeros. So nothing is read: the pages are
 * mapped by UFFDIO_CONTINUE of a userfaultfd of our own, which maps what is there and fails on what is not
 * (mm/userfaultfd.c mcontinue_atomic_pte, SGP_NOALLOC; mm/hugetlb.c hugetlb_mcopy_atomic_pte).
 */
#ifndef BALLAST_KVM_BACKING_WINDOW_H
#define BALLAST_KVM_BACKING_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include "cleanup.h"

struct backing_window;
struct page_survey;
struct page_survey_range;

/* -EOPNOTSUPP where the kernel has no such userfaultfd (CONFIG_HAVE_ARCH_USERFAULTFD_MINOR), or forbids it. */
int backing_window_new(struct backing_window **ret_window);
/* Unmaps, too. */
struct backing_window *backing_window_free(struct backing_window *window);
CLEANUP_DEFINE(struct backing_window *, backing_window_free)

/*
 * Maps length bytes of the file, a memfd or one of hugetlbfs with pages of page_bytes, at offset (both whole pages) in place
 * of what was mapped before. Nothing of it is in the page table yet. *ret_address is where. -errno of mmap(2) or of the
 * ioctl.
 */
int backing_window_map(struct backing_window *window, int fd, uint64_t page_bytes, uint64_t offset, uint64_t length,
		       uint64_t *ret_address);
void backing_window_unmap(struct backing_window *window);

struct backing_window_found {
	uint64_t mapped_bytes;	/* in the page table now */
	uint64_t swapped_bytes; /* in the file, and not in memory; of hugetlbfs none */
};

/*
 * Of the part at offset that lies within the window: brings into the page table what is in memory. Adds to *found.
 * 0, or -errno where that cannot be told; pages that come and go meanwhile are no error.
 */
int backing_window_fill(struct backing_window *window, uint64_t offset, uint64_t length,
			struct backing_window_found *found);

/*
 * Likewise for what a process' page table lacks of a range of its memory (whole pages), whose first byte is at offset of the
 * file. Asks go_on before each stretch, and ends with what it says if that is not 0.
 */
int backing_window_fill_absent(struct backing_window *window, struct page_survey *survey,
			       const struct page_survey_range *range, uint64_t offset, int (*go_on)(void *user), void *user,
			       struct backing_window_found *found);

#endif
