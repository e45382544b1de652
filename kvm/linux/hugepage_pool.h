/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of huge pages (hugetlb): per node and for the whole kernel.
 */
#ifndef BALLAST_KVM_HUGEPAGE_POOL_H
#define BALLAST_KVM_HUGEPAGE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct sysroot;

/* The whole kernel's pool, where a node is asked for. */
#define HUGEPAGE_POOL_ALL_NODES (-1)
/* HUGE_MAX_HSTATE is at most 4 (arm64: 64K, 2M, 32M, 1G); room for more. */
#define HUGEPAGE_POOL_SIZES_MAX 8

struct hugepage_pool {
	uint64_t page_bytes;
	int node_id;	/* or HUGEPAGE_POOL_ALL_NODES */
	uint64_t total; /* pages, surplus included */
	uint64_t free;
	uint64_t surplus;
	uint64_t reserved; /* promised, not yet taken; the kernel counts it for all nodes only, else
			      0 */
	uint64_t overcommit; /* likewise */
};

/* Fills sizes ascending. A kernel without hugetlb: 0 sizes. */
int hugepage_pool_list_sizes(const struct sysroot *sysroot, uint64_t sizes[HUGEPAGE_POOL_SIZES_MAX],
			     size_t *ret_count);
/* The size that plain huge page mappings get, from /proc/meminfo; -ENOENT without hugetlb. */
int hugepage_pool_read_default_size(const struct sysroot *sysroot, uint64_t *ret_page_bytes);

/* -ENOENT where the node or that size does not exist. */
int hugepage_pool_read(const struct sysroot *sysroot, int node_id, uint64_t page_bytes,
		       struct hugepage_pool *ret_pool);

/*
 * Asks for a pool of pages huge pages, surplus not counted, and reads back what it became, which is
 * what counts: the kernel takes the write without an error and gives what it can. Linux up to 6.6 leaves
 * a node as many more as the other nodes have surplus pages (mm/hugetlb.c set_max_huge_pages); where that
 * shows, it is asked once more, for that much less. *ret_pool is set whenever 0 is returned.
 */
int hugepage_pool_set(const struct sysroot *sysroot, int node_id, uint64_t page_bytes,
		      uint64_t pages, struct hugepage_pool *ret_pool);

#endif
