/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Demands that are alike for the nodes (same home, same nodes allowed, same pages) are one supply of a
 * transportation problem, whose cheapest solution drain_flow.c finds. That says how much of each kind
 * belongs on each node, and bounds what any placement can reach. Whole demands then fill these shares,
 * largest first. What is left over, a few of each kind, goes to the cheapest node that takes it whole,
 * where need be after others have made room, and changes places with others where that is cheaper.
 */
#include "drain_place.h"

#include <errno.h>
#include <string.h>
#include "drain_exchange.h"
#include "drain_flow.h"

/* What makes demands alike, and whose bytes they are. */
struct share {
	uint64_t allowed, occupied, bytes;
	uint32_t demand;
	uint8_t home;
	int8_t size; /* of huge pages; -1: none */
	bool is_loose;
	bool is_whole; /* the demand is placed by this one; else it is only the rest of its bytes */
};

/* Where room is: a node's memory, or its free huge pages of one size. */
struct bin {
	uint8_t node;
	int8_t size; /* -1: memory */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- shares ---- */

static int compare_kinds(const struct share *a, const struct share *b)
{
	if (a->is_loose != b->is_loose)
		return a->is_loose ? 1 : -1;
	if (a->home != b->home)
		return a->home < b->home ? -1 : 1;
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	if (a->allowed != b->allowed)
		return a->allowed < b->allowed ? -1 : 1;
	if (a->occupied != b->occupied)
		return a->occupied < b->occupied ? -1 : 1;
	return 0;
}

/* By kind, and in a kind the largest first. */
static int compare_shares(const void *left, const void *right)
{
	const struct share *a = left, *b = right;
	int kinds = compare_kinds(a, b);

	if (kinds)
		return kinds;
	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->demand < b->demand ? -1 : a->demand > b->demand;
}

/*
 * Of a demand one for each size of huge pages, and one for what is in none. What is in none tells where the demand goes; where
 * there is nothing of that, the most of it. Returns how many.
 */
static size_t list_shares(const struct drain_place_input *input, struct share *shares)
{
	size_t count = 0;

	for (size_t i = 0; i < input->demand_count; i++) {
		const struct drain_place_demand *demand = &input->demands[i];
		struct share share = {.allowed = demand->allowed,
				      .occupied = demand->occupied,
				      .bytes = demand->bytes,
				      .demand = (uint32_t)i,
				      .home = demand->home,
				      .size = -1,
				      .is_loose = demand->is_loose,
				      .is_whole = true};
		size_t whole = count;

		if (!demand->bytes)
			continue;
		for (size_t size = 0; size < input->size_count; size++) {
			struct share *huge = &shares[count];

			if (!demand->huge_bytes[size])
				continue;
			*huge = share;
			huge->bytes = demand->huge_bytes[size];
			huge->size = (int8_t)size;
			huge->is_whole = false;
			whole = huge->bytes > shares[whole].bytes ? count : whole;
			share.bytes -= huge->bytes;
			count++;
		}
		if (share.bytes)
			shares[count++] = share;
		else
			shares[whole].is_whole = true;
	}
	qsort(shares, count, sizeof(*shares), compare_shares);
	return count;
}

static size_t list_bins(const struct drain_place_input *input,
			struct bin bins[DRAIN_PLACE_NODES_MAX * (1 + DRAIN_PLACE_SIZES_MAX)])
{
	size_t count = 0;
	uint64_t used = 0;

	for (size_t i = 0; i < input->demand_count; i++)
		used |= input->demands[i].allowed;
	for (; used; used &= used - 1) {
		int node = __builtin_ctzll(used);

		bins[count++] = (struct bin){(uint8_t)node, -1};
		for (size_t size = 0; size < input->size_count; size++)
			if (input->pool_bytes[size][node])
				bins[count++] = (struct bin){(uint8_t)node, (int8_t)size};
	}
	return count;
}

static uint32_t bin_cost(const struct drain_place_input *input, const struct share *share, const struct bin *bin)
{
	uint32_t cost = (uint32_t)input->distances[share->home][bin->node] * DRAIN_EXCHANGE_STEP;

	if (!(share->allowed >> bin->node & 1) || (bin->size >= 0 && bin->size != share->size))
		return DRAIN_FLOW_NEVER;
	if (share->occupied >> bin->node & 1)
		cost += DRAIN_EXCHANGE_MERGE;
	if (share->size < 0 || bin->size >= 0)
		return cost;
	return cost + (drain_exchange_is_gigantic(input->page_bytes[share->size]) ? DRAIN_EXCHANGE_MAKE : 1);
}

/* The demands of one kind into what the flow gives their kind on each node. */
static void fill_shares(struct drain_exchange *exchange, const struct share *shares, size_t count,
			uint64_t given[DRAIN_PLACE_NODES_MAX])
{
	for (size_t i = 0; i < count; i++) {
		const struct drain_place_demand *demand = &exchange->input->demands[shares[i].demand];
		int best = -1;

		if (!shares[i].is_whole || demand->is_loose)
			continue;
		for (uint64_t rest = demand->allowed; rest; rest &= rest - 1) {
			int node = __builtin_ctzll(rest);

			if (given[node] >= shares[i].bytes && (best < 0 || given[node] > given[best]) &&
			    !drain_exchange_lacks(exchange, demand, node) &&
			    ((demand->occupied >> node & 1) || !drain_exchange_joins(exchange, shares[i].demand, node)))
				best = node;
		}
		if (best < 0) {
			exchange->left_over[exchange->left_over_count++] = shares[i].demand;
			continue;
		}
		given[best] -= shares[i].bytes;
		drain_exchange_put(exchange, shares[i].demand, best);
	}
}

static int place_shares(struct drain_exchange *exchange, const struct share *shares, size_t count,
			struct drain_place_result *result)
{
	const struct drain_place_input *input = exchange->input;
	struct bin bins[DRAIN_PLACE_NODES_MAX * (1 + DRAIN_PLACE_SIZES_MAX)];
	size_t bin_count = list_bins(input, bins), kinds = 0;
	CLEANUP_FREE size_t *first = calloc(count + 1, sizeof(*first));
	CLEANUP_FREE uint64_t *supplies = calloc(count + 1, sizeof(*supplies));
	CLEANUP_FREE uint64_t *rooms = calloc(bin_count + 1, sizeof(*rooms));
	CLEANUP_FREE uint32_t *costs = NULL;
	CLEANUP_FREE uint64_t *bytes = NULL;
	struct drain_flow flow;

	if (!first || !supplies || !rooms)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || compare_kinds(&shares[i - 1], &shares[i]) != 0)
			first[kinds++] = i;
		supplies[kinds - 1] += shares[i].bytes;
	}
	first[kinds] = count;
	costs = calloc(kinds * bin_count + 1, sizeof(*costs));
	bytes = calloc(kinds * bin_count + 1, sizeof(*bytes));
	if (!costs || !bytes)
		return -ENOMEM;
	for (size_t bin = 0; bin < bin_count; bin++) {
		rooms[bin] = bins[bin].size < 0 ? input->room_bytes[bins[bin].node]
						: input->pool_bytes[bins[bin].size][bins[bin].node];
		for (size_t kind = 0; kind < kinds; kind++)
			costs[kind * bin_count + bin] = bin_cost(input, &shares[first[kind]], &bins[bin]);
	}
	flow = (struct drain_flow){kinds, bin_count, supplies, costs, rooms, bytes, 0};
	if (drain_flow_solve(&flow) < 0)
		return -ENOMEM;
	for (size_t kind = 0; kind < kinds; kind++) {
		uint64_t given[DRAIN_PLACE_NODES_MAX] = {0};

		for (size_t bin = 0; bin < bin_count; bin++)
			given[bins[bin].node] += bytes[kind * bin_count + bin];
		fill_shares(exchange, &shares[first[kind]], first[kind + 1] - first[kind], given);
	}
	result->short_bytes = flow.short_bytes;
	return 0;
}

/* ---- the result ---- */

static void add_flow(const struct drain_exchange *exchange, struct drain_place_result *result, uint32_t index, int node,
		     uint64_t bytes)
{
	result->flows[result->flow_count++] = (struct drain_place_flow){index, (uint8_t)node, bytes};
	result->fates[index].flow_count++;
	result->placed_bytes += bytes;
	result->byte_distance += bytes * exchange->input->distances[exchange->input->demands[index].home][node];
	result->fates[index].is_merged = result->fates[index].is_merged || drain_exchange_joins(exchange, index, node);
}

/* The size of the huge pages that all of it is in; -1: there is none. */
static int only_size(const struct drain_place_input *input, const struct drain_place_demand *demand)
{
	for (size_t size = 0; size < input->size_count; size++)
		if (demand->huge_bytes[size])
			return demand->huge_bytes[size] == demand->bytes ? (int)size : -1;
	return -1;
}

/*
 * How much of a demand in pieces the node would take, of what is still needed: whole pages. One that is only partly in
 * huge pages of one size leaves the pools alone: which piece has them is not known.
 */
static uint64_t takes(const struct drain_exchange *exchange, const struct drain_place_demand *demand, int node,
		      uint64_t need, uint64_t *ret_from_pool)
{
	int size = only_size(exchange->input, demand);
	uint64_t page = size >= 0 ? exchange->input->page_bytes[size] : 1;

	*ret_from_pool = size >= 0 ? least(need, exchange->pool[size][node] / page * page) : 0;
	return *ret_from_pool + least(need - *ret_from_pool, exchange->room[node] / page * page);
}

/* In pieces, on the cheapest nodes. *ret_left: what has no place there. */
static void add_pieces(struct drain_exchange *exchange, struct drain_place_result *result, uint32_t index,
		       uint64_t *ret_left)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	uint64_t left = demand->bytes;
	uint8_t nodes[DRAIN_PLACE_NODES_MAX];
	size_t count = drain_exchange_list_nodes(exchange, index, nodes);

	for (size_t i = 0; i < count && left; i++) {
		uint64_t from_pool, bytes = takes(exchange, demand, nodes[i], left, &from_pool);

		if (!bytes)
			continue;
		if (from_pool)
			exchange->pool[only_size(exchange->input, demand)][nodes[i]] -= from_pool;
		exchange->room[nodes[i]] -= bytes - from_pool;
		add_flow(exchange, result, index, nodes[i], bytes);
		left -= bytes;
	}
	*ret_left = left;
}

static uint64_t all_rooms(const struct drain_exchange *exchange, uint32_t index)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	uint64_t bytes = 0, from_pool;

	for (uint64_t rest = demand->allowed; rest && bytes < demand->bytes; rest &= rest - 1)
		bytes += takes(exchange, demand, __builtin_ctzll(rest), demand->bytes - bytes, &from_pool);
	return bytes;
}

static void tell_missing(const struct drain_exchange *exchange, uint32_t index, struct drain_place_fate *fate)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];

	fate->missing_bytes = demand->bytes;
	for (uint64_t rest = demand->allowed; rest; rest &= rest - 1) {
		int node = __builtin_ctzll(rest);
		uint64_t bytes = drain_exchange_lacks(exchange, demand, node);

		if (fate->missing_node >= 0 && bytes >= fate->missing_bytes)
			continue;
		fate->missing_bytes = bytes;
		fate->missing_node = (int8_t)node;
	}
}

/* Those that are whole have their places before any is cut up, and what is loose goes into what all others leave. */
static void tell_fates(struct drain_exchange *exchange, struct drain_place_result *result)
{
	const struct drain_place_input *input = exchange->input;

	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < input->demand_count; i++) {
			const struct drain_place_demand *demand = &input->demands[i];
			struct drain_place_fate *fate = &result->fates[i];
			uint64_t left = 0;

			if (demand->is_loose != (pass == 1))
				continue;
			fate->first_flow = (uint32_t)result->flow_count;
			fate->missing_node = -1;
			if (!demand->bytes)
				continue;
			if (exchange->nodes[i] >= 0) {
				add_flow(exchange, result, i, exchange->nodes[i], demand->bytes);
			} else if (demand->is_loose) {
				add_pieces(exchange, result, i, &left);
				fate->missing_bytes = left;
			} else if (demand->may_split && all_rooms(exchange, i) == demand->bytes) {
				add_pieces(exchange, result, i, &left);
				fate->is_split = fate->flow_count > 1;
			} else {
				tell_missing(exchange, i, fate);
			}
			result->split_count += fate->is_split;
			result->merged_count += fate->is_merged;
		}
}

int drain_place(const struct drain_place_input *input, struct drain_place_result *ret_result)
{
	size_t count = input->demand_count + 1;
	CLEANUP(drain_place_result_done) struct drain_place_result result = {0};
	CLEANUP_FREE struct share *shares = calloc((1 + input->size_count) * count, sizeof(*shares));
	CLEANUP_FREE int8_t *nodes = malloc(count);
	CLEANUP_FREE struct drain_exchange_pools *from_pool = calloc(count, sizeof(*from_pool));
	CLEANUP_FREE uint32_t *left_over = calloc(count, sizeof(*left_over));
	struct drain_exchange exchange = {
		.input = input, .nodes = nodes, .from_pool = from_pool, .left_over = left_over};
	size_t pieces = 0;

	for (size_t i = 0; i < input->demand_count; i++)
		if (input->demands[i].may_split || input->demands[i].is_loose)
			pieces += (size_t)__builtin_popcountll(input->demands[i].allowed);
	result.flows = calloc(count + pieces, sizeof(*result.flows));
	result.fates = calloc(count, sizeof(*result.fates));
	if (!shares || !nodes || !from_pool || !left_over || !result.flows || !result.fates)
		return -ENOMEM;
	memset(nodes, -1, count);
	memcpy(exchange.room, input->room_bytes, sizeof(exchange.room));
	memcpy(exchange.pool, input->pool_bytes, sizeof(exchange.pool));
	if (place_shares(&exchange, shares, list_shares(input, shares), &result) < 0)
		return -ENOMEM;
	drain_exchange_run(&exchange);
	tell_fates(&exchange, &result);
	*ret_result = result;
	result = (struct drain_place_result){0};
	return 0;
}

void drain_place_result_done(struct drain_place_result *result)
{
	free(result->flows);
	free(result->fates);
	*result = (struct drain_place_result){0};
}
