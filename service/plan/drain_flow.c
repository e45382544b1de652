/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Successive shortest paths. One supply after the other goes the cheapest way to a bin with room; the
 * way may lead through bins that are full, out of which another supply then goes on to the next. What
 * lies there is at no time dearer than need be, so no way round ever costs less than nothing, and a
 * bin with room that is the supply's own cheapest needs no search.
 *
 * The graph is that of the bins, of which there are few: an edge is the supply that is cheapest to
 * shift from the one to the other. An edge is found anew only when its supply has left the bin.
 */
#include "drain_flow.h"

#include <errno.h>
#include <stdlib.h>
#include "cleanup.h"

#define NO_WAY INT64_MAX

struct edge {
	int64_t cost; /* of shifting a byte; NO_WAY: nothing there may go */
	uint32_t supply;
	bool is_stale; /* its supply has left: to be found anew */
};

/* Those with much to lose go first: then few must be shifted again. */
struct rank {
	uint32_t regret, supply;
};

struct solver {
	struct drain_flow *flow;
	struct edge *edges;   /* owned: from, to */
	uint32_t *members;    /* owned: by bin, the supplies that have bytes there, and some that had */
	size_t *member_count; /* owned: by bin */
	bool *is_member;      /* owned: by supply, then by bin */
	int64_t *way;	      /* owned: cost of the cheapest way to a bin */
	ptrdiff_t *before;    /* owned: the bin before it on that way; -1: straight there */
};

static uint32_t cost_of(const struct drain_flow *flow, size_t supply, size_t bin)
{
	return flow->costs[supply * flow->bin_count + bin];
}

static uint64_t *bytes_of(const struct drain_flow *flow, size_t supply, size_t bin)
{
	return &flow->bytes[supply * flow->bin_count + bin];
}

static void offer_edge(struct solver *solver, size_t supply, size_t from, size_t to)
{
	const struct drain_flow *flow = solver->flow;
	struct edge *edge = &solver->edges[from * flow->bin_count + to];
	int64_t cost;

	if (edge->is_stale || to == from || cost_of(flow, supply, to) == DRAIN_FLOW_NEVER)
		return;
	cost = (int64_t)cost_of(flow, supply, to) - cost_of(flow, supply, from);
	if (cost < edge->cost) {
		edge->cost = cost;
		edge->supply = (uint32_t)supply;
	}
}

static void find_edge(struct solver *solver, size_t from, size_t to)
{
	const struct drain_flow *flow = solver->flow;
	uint32_t *members = &solver->members[from * flow->supply_count];
	size_t kept = 0;

	solver->edges[from * flow->bin_count + to] = (struct edge){.cost = NO_WAY};
	for (size_t i = 0; i < solver->member_count[from]; i++) {
		uint32_t supply = members[i];

		if (!*bytes_of(flow, supply, from)) {
			solver->is_member[supply * flow->bin_count + from] = false;
			continue;
		}
		members[kept++] = supply;
		offer_edge(solver, supply, from, to);
	}
	solver->member_count[from] = kept;
}

static void put(struct solver *solver, size_t supply, size_t bin, uint64_t bytes)
{
	const struct drain_flow *flow = solver->flow;
	bool *is_member = &solver->is_member[supply * flow->bin_count + bin];
	bool was_there = *bytes_of(flow, supply, bin) > 0;

	*bytes_of(flow, supply, bin) += bytes;
	if (!*is_member) {
		*is_member = true;
		solver->members[bin * flow->supply_count + solver->member_count[bin]++] = (uint32_t)supply;
	}
	for (size_t to = 0; !was_there && to < flow->bin_count; to++)
		offer_edge(solver, supply, bin, to);
}

static void take(struct solver *solver, size_t supply, size_t bin, uint64_t bytes)
{
	const struct drain_flow *flow = solver->flow;
	struct edge *edges = &solver->edges[bin * flow->bin_count];

	*bytes_of(flow, supply, bin) -= bytes;
	for (size_t to = 0; !*bytes_of(flow, supply, bin) && to < flow->bin_count; to++)
		edges[to].is_stale = edges[to].is_stale || (edges[to].cost != NO_WAY && edges[to].supply == supply);
}

/* The cheapest ways of the supply to all bins (Bellman and Ford: shifts may save). */
static void find_ways(struct solver *solver, size_t supply)
{
	const struct drain_flow *flow = solver->flow;
	bool changed = true;

	for (size_t bin = 0; bin < flow->bin_count; bin++) {
		uint32_t cost = cost_of(flow, supply, bin);

		for (size_t to = 0; to < flow->bin_count; to++)
			if (solver->edges[bin * flow->bin_count + to].is_stale)
				find_edge(solver, bin, to);
		solver->way[bin] = cost == DRAIN_FLOW_NEVER ? NO_WAY : cost;
		solver->before[bin] = -1;
	}
	for (size_t round = 0; changed && round < flow->bin_count; round++) {
		changed = false;
		for (size_t from = 0; from < flow->bin_count; from++) {
			const struct edge *edges = &solver->edges[from * flow->bin_count];

			if (solver->way[from] == NO_WAY)
				continue;
			for (size_t to = 0; to < flow->bin_count; to++) {
				if (edges[to].cost == NO_WAY || solver->way[from] + edges[to].cost >= solver->way[to])
					continue;
				solver->way[to] = solver->way[from] + edges[to].cost;
				solver->before[to] = (ptrdiff_t)from;
				changed = true;
			}
		}
	}
}

/* Along the way to this bin, as much as there is room, and as each supply on the way has to shift. */
static uint64_t send(struct solver *solver, size_t supply, size_t end, uint64_t bytes)
{
	struct drain_flow *flow = solver->flow;

	if (bytes > flow->rooms[end])
		bytes = flow->rooms[end];
	for (size_t to = end; solver->before[to] >= 0; to = (size_t)solver->before[to]) {
		size_t from = (size_t)solver->before[to];
		uint64_t there = *bytes_of(flow, solver->edges[from * flow->bin_count + to].supply, from);

		if (bytes > there)
			bytes = there;
	}
	flow->rooms[end] -= bytes;
	while (solver->before[end] >= 0) {
		size_t from = (size_t)solver->before[end];
		uint32_t shifted = solver->edges[from * flow->bin_count + end].supply;

		take(solver, shifted, from, bytes);
		put(solver, shifted, end, bytes);
		end = from;
	}
	put(solver, supply, end, bytes);
	return bytes;
}

/* The supply's cheapest bin, if it has room; else -1. */
static ptrdiff_t own_bin(const struct drain_flow *flow, size_t supply)
{
	ptrdiff_t best = -1;

	for (size_t bin = 0; bin < flow->bin_count; bin++) {
		uint32_t cost = cost_of(flow, supply, bin);

		/* Of equal ones that with most room. */
		if (cost != DRAIN_FLOW_NEVER &&
		    (best < 0 || cost < cost_of(flow, supply, (size_t)best) ||
		     (cost == cost_of(flow, supply, (size_t)best) && flow->rooms[bin] > flow->rooms[best])))
			best = (ptrdiff_t)bin;
	}
	return best >= 0 && flow->rooms[best] ? best : -1;
}

static void place(struct solver *solver, size_t supply)
{
	struct drain_flow *flow = solver->flow;
	uint64_t left = flow->supplies[supply];

	while (left) {
		ptrdiff_t end = own_bin(flow, supply);

		if (end >= 0) {
			solver->before[end] = -1;
			left -= send(solver, supply, (size_t)end, left);
			continue;
		}
		find_ways(solver, supply);
		for (size_t bin = 0; bin < flow->bin_count; bin++)
			if (flow->rooms[bin] && solver->way[bin] != NO_WAY &&
			    (end < 0 || solver->way[bin] < solver->way[end]))
				end = (ptrdiff_t)bin;
		if (end < 0) {
			flow->short_bytes += left;
			return;
		}
		left -= send(solver, supply, (size_t)end, left);
	}
}

/* What it would cost a byte of the supply not to have its cheapest bin; much where it has no other. */
static uint32_t regret_of(const struct drain_flow *flow, size_t supply)
{
	uint32_t best = DRAIN_FLOW_NEVER, second = DRAIN_FLOW_NEVER;

	for (size_t bin = 0; bin < flow->bin_count; bin++) {
		uint32_t cost = cost_of(flow, supply, bin);

		if (cost < best) {
			second = best;
			best = cost;
		} else if (cost < second) {
			second = cost;
		}
	}
	return second - best;
}

static int compare_ranks(const void *left, const void *right)
{
	const struct rank *a = left, *b = right;

	if (a->regret != b->regret)
		return a->regret > b->regret ? -1 : 1;
	return a->supply < b->supply ? -1 : a->supply > b->supply;
}

int drain_flow_solve(struct drain_flow *flow)
{
	size_t bins = flow->bin_count ? flow->bin_count : 1, supplies = flow->supply_count ? flow->supply_count : 1;
	CLEANUP_FREE struct edge *edges = calloc(bins * bins, sizeof(*edges));
	CLEANUP_FREE uint32_t *members = calloc(bins * supplies, sizeof(*members));
	CLEANUP_FREE size_t *member_count = calloc(bins, sizeof(*member_count));
	CLEANUP_FREE bool *is_member = calloc(bins * supplies, sizeof(*is_member));
	CLEANUP_FREE int64_t *way = calloc(bins, sizeof(*way));
	CLEANUP_FREE ptrdiff_t *before = calloc(bins, sizeof(*before));
	CLEANUP_FREE struct rank *ranks = calloc(supplies, sizeof(*ranks));
	struct solver solver = {flow, edges, members, member_count, is_member, way, before};

	if (!edges || !members || !member_count || !is_member || !way || !before || !ranks)
		return -ENOMEM;
	for (size_t i = 0; i < bins * bins; i++)
		edges[i].cost = NO_WAY;
	flow->short_bytes = 0;
	for (size_t supply = 0; supply < flow->supply_count; supply++)
		ranks[supply] = (struct rank){regret_of(flow, supply), (uint32_t)supply};
	qsort(ranks, flow->supply_count, sizeof(*ranks), compare_ranks);
	for (size_t i = 0; i < flow->supply_count; i++)
		place(&solver, ranks[i].supply);
	return 0;
}
