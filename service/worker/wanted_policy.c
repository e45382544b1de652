/* SPDX-License-Identifier: Apache-2.0 */
#include "wanted_policy.h"

#include "memory_policy.h"
#include "node_mask.h"
#include "step.h"

static const enum memory_policy_mode kernel_modes[POLICY_MODE_COUNT] = {
	[POLICY_MODE_DEFAULT] = MEMORY_POLICY_DEFAULT,
	[POLICY_MODE_BIND] = MEMORY_POLICY_BIND,
	[POLICY_MODE_PREFERRED] = MEMORY_POLICY_PREFERRED,
	[POLICY_MODE_INTERLEAVE] = MEMORY_POLICY_INTERLEAVE,
	[POLICY_MODE_MIXED] = MEMORY_POLICY_DEFAULT, /* never looked up */
};

bool wanted_policy_is_loose(const struct memory_policy *policy)
{
	return policy->is_static &&
	       (policy->mode == MEMORY_POLICY_PREFERRED || policy->mode == MEMORY_POLICY_PREFERRED_MANY);
}

void wanted_policy_bind(struct memory_policy *policy)
{
	policy->mode = MEMORY_POLICY_BIND;
	policy->is_static = false;
}

static void loosen(struct memory_policy *policy)
{
	policy->mode = MEMORY_POLICY_PREFERRED_MANY;
	policy->is_static = true;
	policy->is_relative = false;
}

static uint64_t map_nodes(const struct step *step, uint64_t nodes)
{
	uint64_t mapped = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes & node_mask_of(node))
			mapped |= node_mask_of(step->map[node] >= 0 ? step->map[node] : node);
	return mapped;
}

static uint64_t map_destinations(const struct step *step)
{
	uint64_t mask = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		mask |= node_mask_of(step->map[node]);
	return mask;
}

bool wanted_policy_of_step(const struct step *step, const struct memory_policy *had, int cell,
			   struct memory_policy *ret_policy)
{
	uint64_t old = node_mask_from_set(&had->nodes), nodes = step->nodes;
	struct memory_policy policy = *had;

	if (wanted_policy_is_loose(&policy))
		wanted_policy_bind(&policy);
	if (step->by_cells) {
		if (cell < 0 || step->cells[cell] < 0)
			return false;
		nodes = node_mask_of(step->cells[cell]);
	} else if (step->by_map) {
		nodes = old	      ? map_nodes(step, old)
			: step->nodes ? step->nodes
				      : map_destinations(step);
	}
	if (step->mode != POLICY_MODE_MIXED)
		policy.mode = kernel_modes[step->mode];
	if (step->loose && policy.mode == MEMORY_POLICY_BIND)
		loosen(&policy);
	/* One node is what "preferred" takes; the kernel has another mode for several. */
	if (policy.mode == MEMORY_POLICY_PREFERRED && __builtin_popcountll(nodes) > 1)
		policy.mode = MEMORY_POLICY_PREFERRED_MANY;
	else if (policy.mode == MEMORY_POLICY_PREFERRED_MANY && __builtin_popcountll(nodes) == 1)
		policy.mode = MEMORY_POLICY_PREFERRED;
	if (policy.mode == MEMORY_POLICY_DEFAULT || policy.mode == MEMORY_POLICY_LOCAL)
		nodes = 0;
	policy.nodes = node_mask_to_set(nodes);
	/* Nobody but a lazy move sets it from outside, for its own time: it was cut off in the middle. */
	policy.is_balancing = false;
	*ret_policy = policy;
	return true;
}
