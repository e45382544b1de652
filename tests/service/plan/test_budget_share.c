/* SPDX-License-Identifier: Apache-2.0 */
#include "budget_share.h"

#include "step.h"
#include "unit.h"

static struct step move(uint64_t from_nodes)
{
	struct step step;

	step_init(&step, STEP_KIND_MOVE_PAGES);
	step.from_nodes = from_nodes;
	return step;
}

/* All that is on the given nodes to one. */
static struct step move_to(uint64_t from_nodes, int to)
{
	struct step step = move(from_nodes);

	step.by_map = true;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		step.map[node] = (int8_t)to;
	return step;
}

static void same_pair(void)
{
	struct step one = move_to(1 << 0, 2), other = move_to(1 << 0 | 1 << 1, 2);

	CHECK_TRUE(budget_share_meets(&one, false, &other, false));
	CHECK_TRUE(budget_share_meets(&other, false, &one, false));
	CHECK_TRUE(budget_share_meets(&one, true, &other, true));
}

/* The other way is another pair; an undo goes the other way. */
static void other_pairs(void)
{
	struct step one = move_to(1 << 0, 2), source = move_to(1 << 1, 2), goal = move_to(1 << 0, 3),
		    back = move_to(1 << 2, 0);

	CHECK_TRUE(!budget_share_meets(&one, false, &source, false));
	CHECK_TRUE(!budget_share_meets(&one, false, &goal, false));
	CHECK_TRUE(!budget_share_meets(&one, false, &back, false));
	CHECK_TRUE(!budget_share_meets(&one, true, &one, false));
	CHECK_TRUE(budget_share_meets(&one, true, &back, false));
	CHECK_TRUE(budget_share_meets(&back, false, &one, true));
}

/* A map that names one node alone, and pages of other nodes that stay. */
static void maps(void)
{
	struct step one = move(1 << 0 | 1 << 1), other = move_to(1 << 1, 3);

	one.by_map = true;
	one.map[0] = 3;
	CHECK_TRUE(!budget_share_meets(&one, false, &other, false));
	one.map[1] = 3;
	CHECK_TRUE(budget_share_meets(&one, false, &other, false));
	/* What is there already goes nowhere. */
	one = move_to(1 << 3, 3);
	CHECK_TRUE(!budget_share_meets(&one, false, &one, false));
}

/* By cells a page of any node may go to any cell's. */
static void cells(void)
{
	struct step one = move(1 << 0 | 1 << 1), other = move_to(1 << 0, 1);

	one.by_cells = true;
	one.cells[0] = 2;
	CHECK_TRUE(!budget_share_meets(&one, false, &other, false));
	one.cells[1] = 1;
	CHECK_TRUE(budget_share_meets(&one, false, &other, false));
}

/* Where nothing is mapped it may come from anywhere. */
static void unknown_sources(void)
{
	struct step one = move_to(0, 2), other = move_to(1 << 3, 2), bare = move(1 << 3);

	CHECK_TRUE(budget_share_meets(&one, false, &other, false));
	bare.nodes = 1 << 2;
	CHECK_TRUE(budget_share_meets(&bare, false, &other, false));
	bare.nodes = 1 << 1;
	CHECK_TRUE(!budget_share_meets(&bare, false, &other, false));
}

static void parts(void)
{
	CHECK_INT(budget_share_part(90, 1), 90);
	CHECK_INT(budget_share_part(90, 2), 45);
	CHECK_INT(budget_share_part(100, 3), 33);
	CHECK_INT(budget_share_part(2, 3), 1);
	CHECK_INT(budget_share_part(0, 3), 0);
}

static const struct unit_case cases[] = {
	{"same pair", same_pair},
	{"other pairs", other_pairs},
	{"maps", maps},
	{"cells", cells},
	{"unknown sources", unknown_sources},
	{"parts", parts},
};

int main(void)
{
	return unit_main("budget_share", cases, sizeof(cases) / sizeof(cases[0]));
}
