/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the kernel rewrites a set of nodes when a cpuset's mems change: by position, not by name.
 * Sets are masks of node ids 0 to 63.
 */
#ifndef BALLAST_BASE_NODE_REMAP_H
#define BALLAST_BASE_NODE_REMAP_H

#include <stdint.h>

/*
 * The n-th node of old_nodes becomes the n-th of new_nodes, counted again from the first where new_nodes has fewer.
 * A node outside old_nodes stays, and so does everything where new_nodes is empty (lib/bitmap.c bitmap_remap).
 */
uint64_t node_remap(uint64_t nodes, uint64_t old_nodes, uint64_t new_nodes);

/* The same for the nodes of a memory policy, which never end up empty (mm/mempolicy.c mpol_rebind_nodemask). */
uint64_t node_remap_policy(uint64_t policy_nodes, uint64_t old_nodes, uint64_t new_nodes);

#endif
