/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placements against the least that any could cost: the transportation problem in which every demand
 * may be split at will, solved here by successive shortest paths, and its solution proven by there
 * being no way round that saves anything.
 */
#include "drain_place.h"

#include <stdio.h>
#include <string.h>
#include "unit.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define DEMANDS_MAX 400

struct problem {
	struct drain_place_input input;
	struct drain_place_demand demands[DEMANDS_MAX];
	uint64_t seed;
};

static uint64_t random_below(struct problem *problem, uint64_t limit)
{
	problem->seed ^= problem->seed << 13;
	problem->seed ^= problem->seed >> 7;
	problem->seed ^= problem->seed << 17;
	return problem->seed % limit;
}

/* ---- the bound ---- */

struct bound {
	const struct drain_place_input *input;
	int nodes;
	uint64_t (*bytes)[DRAIN_PLACE_NODES_MAX]; /* by demand and node */
	uint64_t room[DRAIN_PLACE_NODES_MAX];
	uint64_t byte_distance, short_bytes;
};

static int distance_of(const struct bound *bound, size_t demand, int node)
{
	return bound->input->distances[bound->input->demands[demand].home][node];
}

static bool may(const struct bound *bound, size_t demand, int node)
{
	return bound->input->demands[demand].allowed >> node & 1;
}

/* The demand that it is cheapest to shift from the one node to the other; -1: none. */
static int cheapest_shift(const struct bound *bound, int from, int to, int *ret_cost)
{
	int best = -1;

	for (size_t i = 0; i < bound->input->demand_count; i++) {
		int cost;

		if (!bound->bytes[i][from] || !may(bound, i, to))
			continue;
		cost = distance_of(bound, i, to) - distance_of(bound, i, from);
		if (best < 0 || cost < *ret_cost) {
			best = (int)i;
			*ret_cost = cost;
		}
	}
	return best;
}

/* Ways to all nodes; before[node] is the node before it, -1 where it is reached at once. Returns whether they settled.
 */
static bool find_ways(const struct bound *bound, int *way, int *before, int *shifted)
{
	bool changed = true;

	for (int round = 0; changed && round <= bound->nodes; round++) {
		changed = false;
		for (int from = 0; from < bound->nodes; from++)
			for (int to = 0; to < bound->nodes; to++) {
				int cost = 0, demand = to == from || way[from] == INT32_MAX
							       ? -1
							       : cheapest_shift(bound, from, to, &cost);

				if (demand < 0 || way[from] + cost >= way[to])
					continue;
				way[to] = way[from] + cost;
				before[to] = from;
				shifted[to] = demand;
				changed = true;
			}
	}
	return !changed;
}

static void find_bound(struct bound *bound)
{
	const struct drain_place_input *input = bound->input;

	memcpy(bound->room, input->room_bytes, sizeof(bound->room));
	for (size_t i = 0; i < input->demand_count; i++) {
		uint64_t left = input->demands[i].bytes;

		while (left) {
			int way[DRAIN_PLACE_NODES_MAX], before[DRAIN_PLACE_NODES_MAX], shifted[DRAIN_PLACE_NODES_MAX];
			int end = -1;
			uint64_t bytes = left;

			for (int node = 0; node < bound->nodes; node++) {
				way[node] = may(bound, i, node) ? distance_of(bound, i, node) : INT32_MAX;
				before[node] = -1;
			}
			CHECK_TRUE(find_ways(bound, way, before, shifted));
			for (int node = 0; node < bound->nodes; node++)
				if (bound->room[node] && way[node] < INT32_MAX && (end < 0 || way[node] < way[end]))
					end = node;
			if (end < 0) {
				bound->short_bytes += left;
				break;
			}
			bytes = bound->room[end] < bytes ? bound->room[end] : bytes;
			for (int to = end; before[to] >= 0; to = before[to])
				if (bound->bytes[shifted[to]][before[to]] < bytes)
					bytes = bound->bytes[shifted[to]][before[to]];
			bound->room[end] -= bytes;
			for (; before[end] >= 0; end = before[end]) {
				bound->bytes[shifted[end]][before[end]] -= bytes;
				bound->bytes[shifted[end]][end] += bytes;
			}
			bound->bytes[i][end] += bytes;
			left -= bytes;
		}
	}
}

/* No way round, nor any to a node with room, that would save anything: what is placed could not be placed for less. */
static void prove_bound(const struct bound *bound)
{
	int way[DRAIN_PLACE_NODES_MAX] = {0}, before[DRAIN_PLACE_NODES_MAX], shifted[DRAIN_PLACE_NODES_MAX];

	CHECK_TRUE(find_ways(bound, way, before, shifted));
	for (int from = 0; from < bound->nodes; from++) {
		for (int node = 0; node < bound->nodes; node++)
			way[node] = node == from ? 0 : INT32_MAX;
		find_ways(bound, way, before, shifted);
		for (int node = 0; node < bound->nodes; node++)
			CHECK_TRUE(!bound->room[node] || way[node] >= 0);
	}
}

static void bound_of(const struct problem *problem, int nodes, struct bound *ret_bound)
{
	*ret_bound = (struct bound){.input = &problem->input, .nodes = nodes};
	ret_bound->bytes = calloc(DEMANDS_MAX, sizeof(*ret_bound->bytes));
	assert(ret_bound->bytes);
	find_bound(ret_bound);
	prove_bound(ret_bound);
	for (size_t i = 0; i < problem->input.demand_count; i++)
		for (int node = 0; node < nodes; node++)
			ret_bound->byte_distance +=
				ret_bound->bytes[i][node] * (uint64_t)distance_of(ret_bound, i, node);
}

/* ---- what holds for every placement ---- */

static void check_placement(const struct problem *problem, const struct drain_place_result *result)
{
	const struct drain_place_input *input = &problem->input;
	uint64_t plain[DRAIN_PLACE_NODES_MAX] = {0}, huge[DRAIN_PLACE_SIZES_MAX][DRAIN_PLACE_NODES_MAX] = {{0}};
	uint64_t placed = 0, distance = 0;
	size_t split = 0;

	for (size_t i = 0; i < input->demand_count; i++) {
		const struct drain_place_demand *demand = &input->demands[i];
		const struct drain_place_fate *fate = &result->fates[i];
		uint64_t bytes = 0;

		for (size_t n = 0; n < fate->flow_count; n++) {
			const struct drain_place_flow *flow = &result->flows[fate->first_flow + n];

			CHECK_INT(flow->demand, i);
			CHECK_TRUE(flow->bytes > 0);
			CHECK_TRUE(demand->allowed >> flow->node & 1);
			plain[flow->node] += flow->bytes;
			for (size_t size = 0; size < input->size_count; size++) {
				uint64_t from = demand->huge_bytes[size];

				/* Pieces of what is only partly in pages of one size need room. */
				if (flow->bytes < demand->bytes)
					from = from == demand->bytes ? flow->bytes : 0;
				huge[size][flow->node] += from;
				plain[flow->node] -= from;
			}
			bytes += flow->bytes;
			distance += flow->bytes * input->distances[demand->home][flow->node];
		}
		placed += bytes;
		split += fate->is_split;
		/* All of it or nothing, and with nothing it is said how much is missing. */
		if (demand->is_loose)
			CHECK_INT(bytes + fate->missing_bytes, demand->bytes);
		else
			CHECK_TRUE(bytes == demand->bytes || (!bytes && fate->missing_bytes));
		CHECK_TRUE(fate->flow_count <= 1 || demand->is_loose || fate->is_split);
	}
	for (int node = 0; node < DRAIN_PLACE_NODES_MAX; node++) {
		uint64_t used = plain[node];

		for (size_t size = 0; size < input->size_count; size++)
			used += huge[size][node] > input->pool_bytes[size][node]
					? huge[size][node] - input->pool_bytes[size][node]
					: 0;
		CHECK_TRUE(used <= input->room_bytes[node]);
	}
	CHECK_INT(result->placed_bytes, placed);
	CHECK_INT(result->byte_distance, distance);
	CHECK_INT(result->split_count, split);
}

/* ---- instances ---- */

/* Guests of 64 MiB to 16 GiB on up to three nodes that are drained; the others have room for them and some more. */
static void make_random(struct problem *problem, uint64_t seed, int nodes, size_t demands, unsigned fill_percent)
{
	unsigned homes = 1 + (unsigned)(seed % 3);
	uint64_t all = 0, shares[DRAIN_PLACE_NODES_MAX], share_sum = 0;

	memset(problem, 0, sizeof(*problem));
	problem->seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	problem->input.demands = problem->demands;
	problem->input.demand_count = demands;
	for (int from = 0; from < DRAIN_PLACE_NODES_MAX; from++)
		for (int to = 0; to < DRAIN_PLACE_NODES_MAX; to++)
			problem->input.distances[from][to] =
				from == to ? 10 : (uint8_t)(11 + random_below(problem, 30));
	for (size_t i = 0; i < demands; i++) {
		struct drain_place_demand *demand = &problem->demands[i];

		demand->guest = (uint32_t)i;
		/* The homes are behind the nodes with room. */
		demand->home = (uint8_t)((unsigned)nodes + random_below(problem, homes));
		demand->bytes = (64 * MIB << random_below(problem, 8)) + random_below(problem, 64) * MIB;
		demand->allowed = (UINT64_C(1) << nodes) - 1;
		demand->may_split = true;
		if (random_below(problem, 5) == 0) {
			demand->allowed &= random_below(problem, UINT64_C(1) << nodes);
			demand->allowed |= UINT64_C(1) << random_below(problem, (uint64_t)nodes);
		}
		all += demand->bytes;
	}
	for (int node = 0; node < nodes; node++)
		share_sum += shares[node] = 2 + random_below(problem, 6);
	for (int node = 0; node < nodes; node++)
		problem->input.room_bytes[node] = all / share_sum * shares[node] / fill_percent * 100 / 4096 * 4096;
}

static void place(const struct problem *problem, struct drain_place_result *ret_result)
{
	CHECK_INT(drain_place(&problem->input, ret_result), 0);
	check_placement(problem, ret_result);
}

static void it_is_within_5_percent_of_the_bound(void)
{
	static const unsigned fills[] = {50, 80, 90, 97};
	static struct problem problem;
	unsigned compared = 0;
	double worst = 1;

	for (uint64_t seed = 1; seed <= 240; seed++) {
		int nodes = 2 + (int)(seed / 4 % 15);
		size_t demands = (size_t)nodes * (8 + seed % 17);
		struct drain_place_result result;
		struct bound bound;

		make_random(&problem, seed, nodes, demands, fills[seed % 4]);
		place(&problem, &result);
		bound_of(&problem, nodes, &bound);
		CHECK_INT(result.short_bytes, bound.short_bytes);
		/* With room for all of it nothing is left out, nor cut. */
		if (!bound.short_bytes) {
			double ratio = (double)result.byte_distance / (double)bound.byte_distance;

			for (size_t i = 0; i < demands; i++)
				CHECK_INT(result.fates[i].flow_count, 1);
			worst = ratio > worst ? ratio : worst;
			compared++;
		}
		free(bound.bytes);
		drain_place_result_done(&result);
	}
	printf("%u placements, the worst is %.4f times the bound\n", compared, worst);
	CHECK_TRUE(compared >= 200);
	CHECK_TRUE(worst <= 1.05);
}

/* Few large ones, where no bound is near: the best of all placements of whole demands. UINT64_MAX: there is none. */
static uint64_t best_of_all(const struct problem *problem, int nodes, size_t at, uint64_t *room)
{
	const struct drain_place_demand *demand = &problem->demands[at];
	uint64_t best = UINT64_MAX;

	if (at == problem->input.demand_count)
		return 0;
	for (int node = 0; node < nodes; node++) {
		uint64_t rest, cost = demand->bytes * problem->input.distances[demand->home][node];

		if (!(demand->allowed >> node & 1) || room[node] < demand->bytes)
			continue;
		room[node] -= demand->bytes;
		rest = best_of_all(problem, nodes, at + 1, room);
		room[node] += demand->bytes;
		if (rest != UINT64_MAX && rest + cost < best)
			best = rest + cost;
	}
	return best;
}

static void few_large_ones_are_near_the_best_of_all(void)
{
	static struct problem problem;
	unsigned possible = 0, found = 0;
	double sum = 0;

	for (uint64_t seed = 1; seed <= 300; seed++) {
		int nodes = 3;
		struct drain_place_result result;
		uint64_t best;

		make_random(&problem, seed, nodes, 8, 70 + (unsigned)(seed % 3) * 10);
		best = best_of_all(&problem, nodes, 0, problem.input.room_bytes);
		place(&problem, &result);
		if (best != UINT64_MAX) {
			bool all = true;

			for (size_t i = 0; i < 8; i++)
				all = all && result.fates[i].flow_count == 1;
			possible++;
			found += all;
			if (all)
				sum += (double)result.byte_distance / (double)best;
		}
		drain_place_result_done(&result);
	}
	printf("%u of %u found, %.4f times the best\n", found, possible, sum / found);
	CHECK_TRUE(possible >= 100);
	CHECK_TRUE(found * 100 >= possible * 95);
	CHECK_TRUE(sum <= found * 1.05);
}

/* Whoever has gone as planned is room less, and what is left is planned again: nobody is without a place then. */
static void what_is_planned_again_half_way_still_fits(void)
{
	static struct problem problem;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		make_random(&problem, seed, 3 + (int)(seed % 6), 60, 90);
		for (;;) {
			struct drain_place_result result;
			uint32_t largest = 0;
			bool all = true;

			place(&problem, &result);
			for (uint32_t i = 0; i < problem.input.demand_count; i++) {
				all = all && (!problem.demands[i].bytes || result.fates[i].flow_count == 1);
				if (problem.demands[i].bytes > problem.demands[largest].bytes)
					largest = i;
			}
			if (problem.demands[largest].bytes && !result.short_bytes) {
				CHECK_TRUE(all);
				problem.input.room_bytes[result.flows[result.fates[largest].first_flow].node] -=
					problem.demands[largest].bytes;
				problem.demands[largest].bytes = 0;
			} else {
				all = false;
			}
			drain_place_result_done(&result);
			if (!all)
				break;
		}
	}
}

static void the_same_problem_has_the_same_solution(void)
{
	static struct problem problem;
	struct drain_place_result first, second;

	make_random(&problem, 7, 12, DEMANDS_MAX, 95);
	place(&problem, &first);
	place(&problem, &second);
	CHECK_INT(first.flow_count, second.flow_count);
	for (size_t i = 0; i < first.flow_count; i++)
		CHECK_TRUE(first.flows[i].demand == second.flows[i].demand &&
			   first.flows[i].node == second.flows[i].node &&
			   first.flows[i].bytes == second.flows[i].bytes);
	drain_place_result_done(&first);
	drain_place_result_done(&second);
}

/* ---- by hand: node 3 is drained, 1 is near, 0 and 2 are far ---- */

static void make_host(struct problem *problem, uint64_t room0, uint64_t room1, uint64_t room2)
{
	static const uint8_t distances[4][4] = {{10, 20, 20, 25}, {20, 10, 20, 12}, {20, 20, 10, 20}, {25, 12, 20, 10}};

	memset(problem, 0, sizeof(*problem));
	problem->input.demands = problem->demands;
	problem->input.room_bytes[0] = room0;
	problem->input.room_bytes[1] = room1;
	problem->input.room_bytes[2] = room2;
	problem->input.size_count = 1;
	problem->input.page_bytes[0] = 2 * MIB;
	for (int from = 0; from < 4; from++)
		memcpy(problem->input.distances[from], distances[from], sizeof(distances[from]));
}

static struct drain_place_demand *add_demand(struct problem *problem, uint64_t bytes)
{
	size_t index = problem->input.demand_count++;

	problem->demands[index] =
		(struct drain_place_demand){.bytes = bytes, .allowed = 7, .guest = (uint32_t)index, .home = 3};
	return &problem->demands[index];
}

static int node_of(const struct drain_place_result *result, size_t demand)
{
	return result->fates[demand].flow_count ? result->flows[result->fates[demand].first_flow].node : -1;
}

static void others_make_room_where_that_is_cheaper(void)
{
	static struct problem problem;
	struct drain_place_result result;

	/* Both would have the near node, and only the small one may have another. */
	make_host(&problem, 0, 6 * GIB, 6 * GIB);
	add_demand(&problem, 4 * GIB);
	add_demand(&problem, 5 * GIB)->allowed = 2;
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), 2);
	CHECK_INT(node_of(&result, 1), 1);
	drain_place_result_done(&result);
	/* The large one gains more by it. */
	make_host(&problem, 0, 6 * GIB, 6 * GIB);
	add_demand(&problem, 4 * GIB);
	add_demand(&problem, 5 * GIB);
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), 2);
	CHECK_INT(node_of(&result, 1), 1);
	drain_place_result_done(&result);
}

static void only_what_fits_no_single_node_is_split(void)
{
	static struct problem problem;
	struct drain_place_result result;

	make_host(&problem, GIB, 3 * GIB, 2 * GIB);
	add_demand(&problem, 4 * GIB)->may_split = true;
	place(&problem, &result);
	CHECK_INT(result.split_count, 1);
	CHECK_INT(result.fates[0].flow_count, 2);
	CHECK_INT(result.flows[0].node, 1);
	CHECK_INT(result.flows[0].bytes, 3 * GIB);
	CHECK_INT(result.flows[1].node, 2);
	drain_place_result_done(&result);
	/* One that has a node for itself is whole, although a part of it would be nearer. */
	make_host(&problem, 0, 3 * GIB, 4 * GIB);
	add_demand(&problem, 4 * GIB)->may_split = true;
	place(&problem, &result);
	CHECK_INT(result.split_count, 0);
	CHECK_INT(node_of(&result, 0), 2);
	drain_place_result_done(&result);
	/* One that may not be split is told with the least that is missing, and where; there is room for all bytes. */
	make_host(&problem, GIB, 3 * GIB, 2 * GIB);
	add_demand(&problem, 4 * GIB);
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), -1);
	CHECK_INT(result.fates[0].missing_bytes, GIB);
	CHECK_INT(result.fates[0].missing_node, 1);
	CHECK_INT(result.short_bytes, 0);
	drain_place_result_done(&result);
}

static void what_fits_nowhere_is_told_with_the_numbers(void)
{
	static struct problem problem;
	struct drain_place_result result;

	/* Those of node 1 alone need 2 GiB more than it has; what node 2 has helps only the third. */
	make_host(&problem, 8 * GIB, 3 * GIB, 9 * GIB);
	add_demand(&problem, 2 * GIB)->allowed = 2;
	add_demand(&problem, 3 * GIB)->allowed = 2;
	add_demand(&problem, GIB)->allowed = 2 | 4;
	place(&problem, &result);
	CHECK_INT(result.short_bytes, 2 * GIB);
	CHECK_INT(result.fates[0].flow_count + result.fates[1].flow_count, 1);
	CHECK_INT(node_of(&result, 2), 2);
	CHECK_INT(result.fates[0].missing_bytes + result.fates[1].missing_bytes,
		  node_of(&result, 0) < 0 ? 2 * GIB : GIB);
	drain_place_result_done(&result);
	/* No node at all. */
	make_host(&problem, GIB, GIB, GIB);
	add_demand(&problem, MIB)->allowed = 0;
	place(&problem, &result);
	CHECK_INT(result.fates[0].missing_bytes, MIB);
	CHECK_INT(result.fates[0].missing_node, -1);
	CHECK_INT(result.short_bytes, MIB);
	drain_place_result_done(&result);
	/* Nothing to place. */
	make_host(&problem, GIB, GIB, GIB);
	place(&problem, &result);
	CHECK_INT(result.flow_count, 0);
	drain_place_result_done(&result);
}

static void cells_stay_apart_unless_they_cannot(void)
{
	static struct problem problem;
	struct drain_place_result result;

	for (int tight = 0; tight < 2; tight++) {
		make_host(&problem, tight ? MIB : 4 * GIB, 8 * GIB, tight ? MIB : 4 * GIB);
		for (int cell = 0; cell < 2; cell++) {
			struct drain_place_demand *demand = add_demand(&problem, GIB + (uint64_t)cell * MIB);

			demand->guest = 0;
			demand->is_apart = true;
		}
		place(&problem, &result);
		CHECK_INT(node_of(&result, 0) == node_of(&result, 1), tight);
		CHECK_INT(result.merged_count, tight ? 2 : 0);
		drain_place_result_done(&result);
		/* The guest's other cell stays on the near node. */
		make_host(&problem, tight ? MIB : 4 * GIB, 8 * GIB, tight ? MIB : 4 * GIB);
		add_demand(&problem, GIB)->occupied = 2;
		place(&problem, &result);
		CHECK_INT(node_of(&result, 0), tight ? 1 : 2);
		CHECK_INT(result.fates[0].is_merged, tight);
		drain_place_result_done(&result);
	}
}

static void huge_pages_that_are_free_serve_before_room(void)
{
	static struct problem problem;
	struct drain_place_result result;

	/* 64 MiB free in the pool of node 1, and 32 MiB and a bit beside it. */
	make_host(&problem, 0, 33 * MIB, 0);
	problem.input.pool_bytes[0][1] = 64 * MIB;
	add_demand(&problem, 96 * MIB)->huge_bytes[0] = 96 * MIB;
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), 1);
	drain_place_result_done(&result);
	/* The odd MiB is no page. */
	problem.demands[0].bytes = problem.demands[0].huge_bytes[0] = 98 * MIB;
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), -1);
	drain_place_result_done(&result);
	/* Others have nothing of the pool, and who is only partly in such pages has no more of it than that. */
	make_host(&problem, 0, 33 * MIB, 0);
	problem.input.pool_bytes[0][1] = 64 * MIB;
	add_demand(&problem, 34 * MIB);
	place(&problem, &result);
	CHECK_INT(result.short_bytes, MIB);
	drain_place_result_done(&result);
	problem.demands[0].huge_bytes[0] = 2 * MIB;
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), 1);
	CHECK_INT(result.short_bytes, 0);
	drain_place_result_done(&result);
}

/* Each size has its own pool, and none is a place for another. */
static void each_size_of_huge_pages_has_its_pool(void)
{
	static const struct {
		uint64_t small, large, rest;	     /* of the demand, in MiB: pages of 2 and of 32, and none */
		uint64_t small_pool, large_pool, room; /* of node 1 */
		int node;
	} table[] = {
		{64, 128, 0, 64, 128, 0, 1},	{64, 128, 0, 192, 0, 0, -1}, {64, 128, 0, 0, 192, 0, -1},
		{64, 128, 32, 64, 128, 32, 1},	{64, 128, 32, 64, 128, 31, -1}, {64, 128, 0, 62, 128, 2, 1},
		{64, 128, 0, 64, 96, 32, 1},	{64, 128, 0, 64, 127, 31, -1}, {128, 64, 8, 512, 512, 7, -1},
		{128, 64, 8, 512, 512, 8, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		static struct problem problem;
		struct drain_place_result result;
		struct drain_place_demand *demand;

		make_host(&problem, 0, table[i].room * MIB, 0);
		problem.input.size_count = 2;
		problem.input.page_bytes[0] = 2 * MIB;
		problem.input.page_bytes[1] = 32 * MIB;
		problem.input.pool_bytes[0][1] = table[i].small_pool * MIB;
		problem.input.pool_bytes[1][1] = table[i].large_pool * MIB;
		demand = add_demand(&problem, (table[i].small + table[i].large + table[i].rest) * MIB);
		demand->huge_bytes[0] = table[i].small * MIB;
		demand->huge_bytes[1] = table[i].large * MIB;
		place(&problem, &result);
		CHECK_INT(node_of(&result, 0), table[i].node);
		drain_place_result_done(&result);
	}
}

/* A running host seldom has a whole GiB to make a page of: a node that has one free is better, however far it is. */
static void pages_of_1_gib_are_not_made_without_need(void)
{
	static const struct {
		uint64_t gigantic, far_pool; /* pages of 1 GiB: of the demand, and free on node 2, which is farther than node 1 */
		uint64_t far_room;	     /* beside it, in MiB */
		int node;
	} table[] = {
		{1, 1, 128, 2}, {1, 0, 4096, 1}, {2, 1, 4096, 1}, {2, 2, 128, 2},
		/* The rest of it has no room there. */
		{1, 1, 127, 1},
		{0, 1, 128, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		static struct problem problem;
		struct drain_place_result result;
		struct drain_place_demand *demand;

		make_host(&problem, 0, 4096 * MIB, table[i].far_room * MIB);
		problem.input.size_count = 2;
		problem.input.page_bytes[0] = 2 * MIB;
		problem.input.page_bytes[1] = 1024 * MIB;
		problem.input.pool_bytes[1][2] = table[i].far_pool * 1024 * MIB;
		demand = add_demand(&problem, (table[i].gigantic * 1024 + 128) * MIB);
		demand->huge_bytes[0] = 128 * MIB;
		demand->huge_bytes[1] = table[i].gigantic * 1024 * MIB;
		CHECK_TRUE(problem.input.distances[demand->home][1] < problem.input.distances[demand->home][2]);
		place(&problem, &result);
		CHECK_INT(node_of(&result, 0), table[i].node);
		drain_place_result_done(&result);
	}
}

/* One makes room for another: what pools have given goes back to them. */
static void who_makes_room_gives_back_its_pages(void)
{
	static struct problem problem;
	struct drain_place_result result;

	/* Both would fit on node 1 alone, which is nearest; the second only there. */
	make_host(&problem, 64 * MIB, 64 * MIB, 0);
	problem.input.size_count = 2;
	problem.input.page_bytes[0] = 2 * MIB;
	problem.input.page_bytes[1] = 32 * MIB;
	for (int node = 0; node < 2; node++) {
		problem.input.pool_bytes[0][node] = 32 * MIB;
		problem.input.pool_bytes[1][node] = 64 * MIB;
	}
	for (int i = 0; i < 2; i++) {
		struct drain_place_demand *demand = add_demand(&problem, 160 * MIB - (uint64_t)i * MIB);

		demand->huge_bytes[0] = 32 * MIB;
		demand->huge_bytes[1] = 64 * MIB;
		if (i)
			demand->allowed = 2;
	}
	place(&problem, &result);
	CHECK_INT(node_of(&result, 0), 0);
	CHECK_INT(node_of(&result, 1), 1);
	drain_place_result_done(&result);
}

static void what_is_loose_goes_where_the_others_leave_room(void)
{
	static struct problem problem;
	struct drain_place_result result;

	make_host(&problem, 0, 3 * GIB, 3 * GIB);
	add_demand(&problem, 2 * GIB)->is_loose = true;
	add_demand(&problem, 2 * GIB);
	place(&problem, &result);
	CHECK_INT(result.fates[0].flow_count, 2);
	CHECK_INT(result.fates[0].missing_bytes, 0);
	CHECK_INT(result.split_count, 0);
	CHECK_INT(result.fates[1].flow_count, 1);
	drain_place_result_done(&result);
	problem.input.room_bytes[2] = 512 * MIB;
	place(&problem, &result);
	CHECK_INT(node_of(&result, 1), 1);
	CHECK_INT(result.fates[0].missing_bytes, 512 * MIB);
	CHECK_INT(result.short_bytes, 512 * MIB);
	drain_place_result_done(&result);
}

static const struct unit_case cases[] = {
	{"it is within 5 % of the bound", it_is_within_5_percent_of_the_bound},
	{"few large ones are near the best of all", few_large_ones_are_near_the_best_of_all},
	{"what is planned again half-way still fits", what_is_planned_again_half_way_still_fits},
	{"the same problem has the same solution", the_same_problem_has_the_same_solution},
	{"others make room where that is cheaper", others_make_room_where_that_is_cheaper},
	{"only what fits no single node is split", only_what_fits_no_single_node_is_split},
	{"what fits nowhere is told with the numbers", what_fits_nowhere_is_told_with_the_numbers},
	{"cells stay apart unless they cannot", cells_stay_apart_unless_they_cannot},
	{"huge pages that are free serve before room", huge_pages_that_are_free_serve_before_room},
	{"each size of huge pages has its pool", each_size_of_huge_pages_has_its_pool},
	{"pages of 1 GiB are not made without need", pages_of_1_gib_are_not_made_without_need},
	{"who makes room gives back its pages", who_makes_room_gives_back_its_pages},
	{"what is loose goes where the others leave room", what_is_loose_goes_where_the_others_leave_room},
};

int main(void)
{
	return unit_main("drain_place", cases, sizeof(cases) / sizeof(cases[0]));
}
