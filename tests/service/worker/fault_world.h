/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host with one guest of two cells, as a worker's jobs see and change it: page tables, cpusets, the policies of the
 * guest's two memory files, pools of huge pages. Any call that the jobs make of it can be made to fail.
 */
#ifndef BALLAST_TESTS_FAULT_WORLD_H
#define BALLAST_TESTS_FAULT_WORLD_H

#include <pthread.h>
#include "job_fixture.h"
#include "page_move.h"

#define FAULT_WORLD_PARTS      2
#define FAULT_WORLD_PART_PAGES 1536 /* three huge pages; more than the mover's first batch of small ones */
#define FAULT_WORLD_PAGES      (FAULT_WORLD_PARTS * FAULT_WORLD_PART_PAGES)
#define FAULT_WORLD_NODES      4
#define FAULT_WORLD_GROUPS     3 /* with a set of their own */
#define FAULT_WORLD_ABSENT     (-1)

#define FAULT_WORLD_WINDOWS    8

/* What the guest's memory is of. */
enum fault_memory {
	FAULT_MEMORY_SMALL,
	FAULT_MEMORY_TOUCHED,	  /* small pages, and the kernel tells which were written lately */
	FAULT_MEMORY_UNMAPPED,	  /* likewise, and the guest's files have some that no page table of its has */
	FAULT_MEMORY_TRANSPARENT, /* huge pages, for which free memory must be compacted */
	FAULT_MEMORY_HUGETLB,
};

/* What a move may change, and so what its undo must put back. */
struct fault_state {
	int8_t nodes[FAULT_WORLD_PAGES]; /* where each page is, or FAULT_WORLD_ABSENT: in no page table of the guest */
	int8_t file_nodes[FAULT_WORLD_PAGES]; /* likewise of what only its files have */
	char mems[FAULT_WORLD_GROUPS][16];
	int policy_modes[FAULT_WORLD_PARTS]; /* as mbind(2) counts them */
	uint64_t policy_nodes[FAULT_WORLD_PARTS];
	unsigned pools[FAULT_WORLD_NODES]; /* pages of 2 MiB */
};

/* Where this process has mapped a part of the guest's files. */
struct fault_window {
	int part;
	uint64_t offset, address, length; /* length 0: free */
};

struct fault_world {
	struct job_fixture fixture;
	enum fault_memory memory;
	struct fault_window windows[FAULT_WORLD_WINDOWS];
	unsigned huge_room[FAULT_WORLD_NODES]; /* free memory in whole pieces of 2 MiB, as the kernel tells */
	struct fault_state state, initial;
	struct fault_state shown; /* what the tree tells */
	bool has_shown;
	struct page_move_ops ops;
	pthread_mutex_t lock; /* the mover has threads */
	uint64_t inodes[FAULT_WORLD_PARTS];
	unsigned moves;	       /* calls of move_pages */
	unsigned writes;       /* to the tree, and policies set */
	unsigned absent_moves; /* of pages that must not be touched */
};

/* Part 0, at the higher address, is cell 0, on node 2; part 1 is cell 1, on node 1. Nodes 0 and 3 are free. */
void fault_world_init(struct fault_world *world, enum fault_memory memory);
void fault_world_done(struct fault_world *world);
/* Everything as in the beginning, but the job and its "before". */
void fault_world_reset(struct fault_world *world);
bool fault_world_is_initial(const struct fault_world *world);
/* Where a page is, mapped or not, or FAULT_WORLD_ABSENT. */
int fault_world_node(const struct fault_state *state, size_t page);
uint64_t fault_world_bytes_on(const struct fault_world *world, const int8_t *nodes, int part, int node);
/* A group with one process, ours, which has a virtual machine. Returns the inode of its directory. */
uint64_t fault_world_add_holder(struct fault_world *world);
void fault_world_add_userfaultfd(struct fault_world *world);
/* Another process has its number. */
void fault_world_reuse_pid(struct fault_world *world, bool is_other);

#endif
