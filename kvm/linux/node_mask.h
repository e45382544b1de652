/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two forms of a set of nodes: a mask of 64, as the service's model and node_remap.h have it, and the kernel's set.
 */
#ifndef BALLAST_KVM_NODE_MASK_H
#define BALLAST_KVM_NODE_MASK_H

#include <stdint.h>
#include "node_set.h"

static inline struct node_set node_mask_to_set(uint64_t mask)
{
	struct node_set set;

	node_set_clear(&set);
	for (int node = 0; node < 64; node++)
		if (mask & (UINT64_C(1) << node))
			node_set_add(&set, node);
	return set;
}

/* Nodes beyond the mask are left out: a host that has them is refused at start. */
static inline uint64_t node_mask_from_set(const struct node_set *set)
{
	uint64_t mask = 0;

	for (int node = 0; node < 64; node++)
		if (node_set_has(set, node))
			mask |= UINT64_C(1) << node;
	return mask;
}

static inline uint64_t node_mask_of(int node)
{
	return node >= 0 && node < 64 ? UINT64_C(1) << node : 0;
}

#endif
