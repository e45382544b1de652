/* SPDX-License-Identifier: Apache-2.0 */
#include "node_remap.h"

static unsigned weight(uint64_t nodes)
{
	return (unsigned)__builtin_popcountll(nodes);
}

/* The mask's bit with that many set bits below it. */
static uint64_t nth_bit(uint64_t nodes, unsigned n)
{
	while (n-- > 0)
		nodes &= nodes - 1;
	return nodes & -nodes;
}

uint64_t node_remap(uint64_t nodes, uint64_t old_nodes, uint64_t new_nodes)
{
	uint64_t result = 0;

	if (new_nodes == 0)
		return nodes;
	for (uint64_t rest = nodes; rest; rest &= rest - 1) {
		uint64_t bit = rest & -rest;

		if (old_nodes & bit)
			result |= nth_bit(new_nodes, weight(old_nodes & (bit - 1)) % weight(new_nodes));
		else
			result |= bit;
	}
	return result;
}

uint64_t node_remap_policy(uint64_t policy_nodes, uint64_t old_nodes, uint64_t new_nodes)
{
	uint64_t result = node_remap(policy_nodes, old_nodes, new_nodes);

	return result ? result : new_nodes;
}
