/* SPDX-License-Identifier: Apache-2.0 */
#include "budget_share.h"

#include <string.h>
#include "plan_priv.h"

/* Where pages of this node go; 0: nowhere. */
static uint64_t goals_of(const struct step *step, int node)
{
	uint64_t goals = 0;

	/* Where nothing is known to lie it may come from anywhere: from memory files that nobody has mapped. */
	if (step->from_nodes && !(step->from_nodes & plan_node_bit(node)))
		return 0;
	for (int cell = 0; step->by_cells && cell < SNAPSHOT_CELLS_MAX; cell++)
		if (step->cells[cell] >= 0)
			goals |= plan_node_bit(step->cells[cell]);
	if (step->by_map && step->map[node] >= 0)
		goals = plan_node_bit(step->map[node]);
	if (!step->by_map && !step->by_cells)
		goals = step->nodes;
	return goals & ~plan_node_bit(node);
}

static void find_pairs(const struct step *step, bool undoes, uint64_t ret_goals[SNAPSHOT_NODES_MAX])
{
	memset(ret_goals, 0, SNAPSHOT_NODES_MAX * sizeof(*ret_goals));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t goals = goals_of(step, node);

		if (!undoes)
			ret_goals[node] = goals;
		for (; undoes && goals; goals &= goals - 1)
			ret_goals[__builtin_ctzll(goals)] |= plan_node_bit(node);
	}
}

bool budget_share_meets(const struct step *one, bool one_undoes, const struct step *other, bool other_undoes)
{
	uint64_t goals[SNAPSHOT_NODES_MAX], other_goals[SNAPSHOT_NODES_MAX];
	bool meets = false;

	find_pairs(one, one_undoes, goals);
	find_pairs(other, other_undoes, other_goals);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		meets = meets || goals[node] & other_goals[node];
	return meets;
}

uint64_t budget_share_part(uint64_t bytes_per_s, unsigned sharers)
{
	uint64_t part = sharers > 1 ? bytes_per_s / sharers : bytes_per_s;

	return part || !bytes_per_s ? part : 1;
}
