/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kinds of pages fill a memory block, from /proc/kpageflags: which block is emptiest, and why
 * one stays.
 */
#ifndef BALLAST_KVM_BLOCK_CENSUS_H
#define BALLAST_KVM_BLOCK_CENSUS_H

#include <stdint.h>

struct sysroot;

/* In base pages. */
struct block_census {
	uint32_t pages;
	uint32_t empty;	    /* in the page allocator, given back to the device, or no page at all */
	uint32_t huge_free; /* of a hugetlb pool, not mapped */
	uint32_t huge_used;
	uint32_t gigantic; /* of these: in pages larger than a piece (1 GiB), which stay where they are */
	uint32_t kernel; /* slab and page tables */
	uint32_t writeback;
	uint32_t poisoned; /* out of use after a memory error; keeps no block */
	/*
	 * In pieces of BLOCK_CENSUS_PIECE_BYTES that have a page which neither a process nor the page
	 * cache nor a pool has: what a driver that takes piece by piece cannot get. A page that a
	 * processor has ready to give out looks the same, so this is an upper bound. Says nothing of a
	 * block in the movable zone, where what looks so is movable all the same, but for the gigantic
	 * pages, which count too.
	 */
	uint32_t held;
};

/* A pageblock (x86), the least that virtio-mem takes. */
#define BLOCK_CENSUS_PIECE_BYTES ((uint64_t)2 << 20)

/* 0; -ENOENT where the kernel does not show flags or that range; other -errno. Some milliseconds
 * for 128 MiB. */
int block_census_read(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes,
		      struct block_census *ret_census);

#endif
