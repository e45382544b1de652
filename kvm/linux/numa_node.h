/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA nodes of this kernel: memory, processors, distances.
 */
#ifndef BALLAST_KVM_NUMA_NODE_H
#define BALLAST_KVM_NUMA_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "node_set.h"

struct sysroot;

#define NUMA_NODE_CPUS_SIZE 1024

struct numa_node {
	int id;
	bool has_memory;
	bool has_cpu;
	char cpus[NUMA_NODE_CPUS_SIZE]; /* the kernel's list format; empty: none */
	uint64_t total_bytes;		/* online */
	uint64_t free_bytes;
	uint64_t file_bytes; /* page cache, shared memory included */
	uint64_t anon_bytes;
	uint64_t shmem_bytes;
	uint64_t slab_bytes;
	uint64_t unevictable_bytes;
	uint64_t movable_bytes; /* managed by the movable zone */
	uint64_t movable_free_bytes;
	uint64_t kernel_zone_bytes; /* managed by the other zones */
	uint64_t kernel_zone_free_bytes;
	uint64_t start;			/* an address of its memory, the first in a zone; UINT64_MAX: it has none */
	uint32_t read_latency_ns;	/* from its nearest processors, by node_latency_fill(); 0: not told */
	uint64_t read_bytes_per_s;	/* the same */
	bool has_latency_distances;	/* from it to nodes with memory, by the same */
};

struct numa_node_list {
	struct numa_node
		*nodes; /* owned; ascending by id; online nodes, those without memory too */
	size_t count;
	int *distances; /* owned; [from * count + to] by index, -1 where unknown */
	struct node_set with_memory;
};

/* The caller calls numa_node_list_done(). A kernel without NUMA shows as one node 0. */
int numa_node_list_read(const struct sysroot *sysroot, struct numa_node_list *ret_list);
void numa_node_list_done(struct numa_node_list *list);
const struct numa_node *numa_node_list_find(const struct numa_node_list *list, int node_id);

/* By node id; -1 where one of them is unknown. */
int numa_node_list_distance(const struct numa_node_list *list, int from, int to);

/*
 * Is it known that nothing pulls pages to the CPUs that touch them? A kernel without AutoNUMA has no such file; what cannot be
 * read is taken to be on, which is what is warned of.
 */
bool numa_node_balancing_is_off(const struct sysroot *sysroot);

#endif
