/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that are being written for long. Whoever takes their block offline waits for the device, and where that does not
 * answer, no signal ends it (mm/migrate.c folio_wait_writeback).
 */
#ifndef BALLAST_KVM_PAGE_WRITEBACK_H
#define BALLAST_KVM_PAGE_WRITEBACK_H

#include <stddef.h>
#include <stdint.h>

struct sysroot;

/* Zero-initialise. */
struct page_writeback {
	uint64_t *pfns; /* owned; of a large page its first */
	size_t count;
};

/* The pages of a range that are under writeback now. 0; -ENOENT without kpageflags; other -errno. */
int page_writeback_read(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes, struct page_writeback *ret_pages);
/*
 * Keeps those that are under writeback at this moment too. One that was written, changed and is written again looks the
 * same; one that cannot be read counts as it was. -errno where none can be: all are kept.
 */
int page_writeback_review(const struct sysroot *sysroot, struct page_writeback *pages);
void page_writeback_done(struct page_writeback *pages);

#endif
