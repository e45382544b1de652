/* SPDX-License-Identifier: Apache-2.0 */
#include "drain_exchange.h"

#include <stdlib.h>
#include "size_text.h"

/* Costs are summed up in pages, so that no sum can overflow. */
#define COST_UNIT_SHIFT 12
/* How many demands make room for one. */
#define EVICT_MAX 8
/* How often those in turn need room made for them. */
#define FORCE_DEPTH 2
/* Demands looked at for each demand, on average: where very many are left over the last of them stay where they fit. */
#define LOOKS_EACH  256
#define LOOKS_LEAST 65536
#define ROUNDS_MAX  4

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- one demand on one node ---- */

static uint64_t pool_part(const struct drain_exchange *exchange, const struct drain_place_demand *demand, int node, size_t size)
{
	uint64_t page;

	if (!demand->huge_bytes[size])
		return 0;
	page = exchange->input->page_bytes[size];
	return least(demand->huge_bytes[size], exchange->pool[size][node] / page * page);
}

uint64_t drain_exchange_lacks(const struct drain_exchange *exchange, const struct drain_place_demand *demand, int node)
{
	uint64_t need = demand->bytes;

	for (size_t size = 0; size < exchange->input->size_count; size++)
		need -= pool_part(exchange, demand, node, size);
	return need - least(need, exchange->room[node]);
}

void drain_exchange_put(struct drain_exchange *exchange, uint32_t index, int node)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	struct drain_exchange_pools *from_pool = &exchange->from_pool[index];

	exchange->nodes[index] = (int8_t)node;
	from_pool->all = 0;
	for (size_t size = 0; size < exchange->input->size_count; size++) {
		from_pool->sizes[size] = pool_part(exchange, demand, node, size);
		from_pool->all += from_pool->sizes[size];
		exchange->pool[size][node] -= from_pool->sizes[size];
	}
	exchange->room[node] -= demand->bytes - from_pool->all;
}

void drain_exchange_take(struct drain_exchange *exchange, uint32_t index)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	struct drain_exchange_pools *from_pool = &exchange->from_pool[index];
	int node = exchange->nodes[index];

	for (size_t size = 0; size < exchange->input->size_count; size++)
		exchange->pool[size][node] += from_pool->sizes[size];
	exchange->room[node] += demand->bytes - from_pool->all;
	from_pool->all = 0;
	exchange->nodes[index] = -1;
}

bool drain_exchange_joins(const struct drain_exchange *exchange, uint32_t index, int node)
{
	const struct drain_place_input *input = exchange->input;
	const struct drain_place_demand *demand = &input->demands[index];

	if (demand->occupied >> node & 1)
		return true;
	if (!demand->is_apart)
		return false;
	for (size_t i = index; i-- > 0 && input->demands[i].guest == demand->guest;)
		if (input->demands[i].is_apart && exchange->nodes[i] == node)
			return true;
	for (size_t i = index + 1; i < input->demand_count && input->demands[i].guest == demand->guest; i++)
		if (input->demands[i].is_apart && exchange->nodes[i] == node)
			return true;
	return false;
}

bool drain_exchange_is_gigantic(uint64_t page_bytes)
{
	return page_bytes >= SIZE_TEXT_GIB;
}

/* Is there such a page of it that the pool there has not? */
static bool makes_gigantic(const struct drain_exchange *exchange, uint32_t index, int node)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];

	for (size_t size = 0; size < exchange->input->size_count; size++) {
		uint64_t given;

		if (!demand->huge_bytes[size] || !drain_exchange_is_gigantic(exchange->input->page_bytes[size]))
			continue;
		given = exchange->nodes[index] == node ? exchange->from_pool[index].sizes[size]
						       : pool_part(exchange, demand, node, size);
		if (given < demand->huge_bytes[size])
			return true;
	}
	return false;
}

static uint64_t cost_at(const struct drain_exchange *exchange, uint32_t index, int node)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	uint64_t cost = (uint64_t)exchange->input->distances[demand->home][node] * DRAIN_EXCHANGE_STEP;

	return cost + (drain_exchange_joins(exchange, index, node) ? DRAIN_EXCHANGE_MERGE : 0) +
	       (makes_gigantic(exchange, index, node) ? DRAIN_EXCHANGE_MAKE : 0);
}

static int64_t whole_cost(const struct drain_exchange *exchange, uint32_t index, int node)
{
	uint64_t units = (exchange->input->demands[index].bytes >> COST_UNIT_SHIFT) + 1;

	return (int64_t)(units * cost_at(exchange, index, node));
}

size_t drain_exchange_list_nodes(const struct drain_exchange *exchange, uint32_t index,
				 uint8_t nodes[DRAIN_PLACE_NODES_MAX])
{
	uint64_t costs[DRAIN_PLACE_NODES_MAX];
	size_t count = 0;

	for (uint64_t rest = exchange->input->demands[index].allowed; rest; rest &= rest - 1) {
		int node = __builtin_ctzll(rest);
		uint64_t cost = cost_at(exchange, index, node);
		size_t at = count++;

		for (; at > 0 && (costs[at - 1] > cost ||
				  (costs[at - 1] == cost && exchange->room[nodes[at - 1]] < exchange->room[node]));
		     at--) {
			costs[at] = costs[at - 1];
			nodes[at] = nodes[at - 1];
		}
		costs[at] = cost;
		nodes[at] = (uint8_t)node;
	}
	return count;
}

/* ---- what is left over ---- */

static bool put_cheapest(struct drain_exchange *exchange, uint32_t index)
{
	uint8_t nodes[DRAIN_PLACE_NODES_MAX];
	size_t count = drain_exchange_list_nodes(exchange, index, nodes);

	for (size_t i = 0; i < count; i++)
		if (!drain_exchange_lacks(exchange, &exchange->input->demands[index], nodes[i])) {
			drain_exchange_put(exchange, index, nodes[i]);
			return true;
		}
	return false;
}

/* Where this one fits, cheapest first, but on none of these nodes; -1: nowhere. */
static int other_node(const struct drain_exchange *exchange, uint32_t index, uint64_t except)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	int best = -1;

	for (uint64_t rest = demand->allowed & ~except; rest; rest &= rest - 1) {
		int node = __builtin_ctzll(rest);

		if (!drain_exchange_lacks(exchange, demand, node) &&
		    (best < 0 || cost_at(exchange, index, node) < cost_at(exchange, index, best)))
			best = node;
	}
	return best;
}

/*
 * One of those on the node that can go. By force the smallest that makes enough room, else the largest; else that whose
 * way costs least for what it makes. *ret_to: where to; -1: none.
 */
static uint32_t pick_evicted(struct drain_exchange *exchange, int node, uint64_t closed, uint64_t need, bool by_force,
			     int *ret_to)
{
	const struct drain_place_input *input = exchange->input;
	uint32_t best = 0;
	double best_score = 0;

	*ret_to = -1;
	for (uint32_t i = 0; i < input->demand_count && exchange->looks; i++) {
		uint64_t bytes = input->demands[i].bytes - exchange->from_pool[i].all;
		double score;
		int to;

		exchange->looks--;
		if (exchange->nodes[i] != node || !bytes)
			continue;
		score = bytes >= need ? (double)need / (double)bytes + 1 : (double)bytes / (double)need;
		if (by_force && *ret_to >= 0 && score <= best_score)
			continue;
		to = other_node(exchange, i, closed);
		if (to < 0)
			continue;
		if (!by_force)
			score = (double)(whole_cost(exchange, i, node) - whole_cost(exchange, i, to)) /
				(double)least(bytes, need);
		if (*ret_to >= 0 && score <= best_score)
			continue;
		*ret_to = to;
		best = i;
		best_score = score;
	}
	return best;
}

/* Were it empty. */
static bool could_ever_hold(const struct drain_exchange *exchange, const struct drain_place_demand *demand, int node)
{
	uint64_t bytes = exchange->input->room_bytes[node];

	for (size_t size = 0; size < exchange->input->size_count; size++)
		bytes += least(demand->huge_bytes[size], exchange->input->pool_bytes[size][node]);
	return bytes >= demand->bytes;
}

static bool force_room(struct drain_exchange *exchange, uint32_t index, int node, uint64_t closed, int depth);

/* Nobody can leave the node just so: one that makes enough room goes where others make room for it in turn. */
static bool force_one(struct drain_exchange *exchange, int node, uint64_t closed, uint64_t need, int depth)
{
	const struct drain_place_input *input = exchange->input;

	for (uint32_t i = 0; depth > 0 && i < input->demand_count && exchange->looks; i++) {
		uint64_t rest = input->demands[i].allowed & ~closed;

		exchange->looks--;
		if (exchange->nodes[i] != node || input->demands[i].bytes - exchange->from_pool[i].all < need)
			continue;
		drain_exchange_take(exchange, i);
		for (; rest; rest &= rest - 1)
			if (force_room(exchange, i, __builtin_ctzll(rest), closed, depth - 1))
				return true;
		drain_exchange_put(exchange, i, node);
	}
	return false;
}

static void evict(struct drain_exchange *exchange, uint32_t index, int to)
{
	drain_exchange_take(exchange, index);
	drain_exchange_put(exchange, index, to);
}

/* Others leave the node until this one fits. Where they cannot, all is as before. closed: nodes to which none of them
 * may go. */
static bool force_room(struct drain_exchange *exchange, uint32_t index, int node, uint64_t closed, int depth)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	uint32_t evicted[EVICT_MAX];
	uint64_t need;
	size_t count = 0;

	if (!could_ever_hold(exchange, demand, node))
		return false;
	closed |= UINT64_C(1) << node;
	while ((need = drain_exchange_lacks(exchange, demand, node)) != 0) {
		int to = -1;
		uint32_t next = count < EVICT_MAX ? pick_evicted(exchange, node, closed, need, true, &to) : 0;

		if (to >= 0) {
			evict(exchange, next, to);
			evicted[count++] = next;
		} else if (!force_one(exchange, node, closed, need, depth)) {
			while (count-- > 0)
				evict(exchange, evicted[count], node);
			return false;
		}
	}
	drain_exchange_put(exchange, index, node);
	return true;
}

/* The same where the others can leave for less than this saves. */
static bool save_room(struct drain_exchange *exchange, uint32_t index, int node, int64_t saved)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];
	uint32_t evicted[EVICT_MAX];
	uint64_t need;
	size_t count = 0;

	if (!could_ever_hold(exchange, demand, node))
		return false;
	while ((need = drain_exchange_lacks(exchange, demand, node)) != 0) {
		int to = -1;
		uint32_t next =
			count < EVICT_MAX ? pick_evicted(exchange, node, UINT64_C(1) << node, need, false, &to) : 0;

		if (to >= 0)
			saved -= whole_cost(exchange, next, to) - whole_cost(exchange, next, node);
		if (to < 0 || saved <= 0) {
			while (count-- > 0)
				evict(exchange, evicted[count], node);
			return false;
		}
		evict(exchange, next, to);
		evicted[count++] = next;
	}
	drain_exchange_put(exchange, index, node);
	return true;
}

static bool put_by_force(struct drain_exchange *exchange, uint32_t index)
{
	uint8_t nodes[DRAIN_PLACE_NODES_MAX];
	size_t count = drain_exchange_list_nodes(exchange, index, nodes);

	for (size_t i = 0; i < count; i++)
		if (force_room(exchange, index, nodes[i], 0, FORCE_DEPTH))
			return true;
	return false;
}

/* To a cheaper node that has room for it, or from which others can go for less than that saves. */
static bool shift(struct drain_exchange *exchange, uint32_t index)
{
	int from = exchange->nodes[index];
	uint8_t nodes[DRAIN_PLACE_NODES_MAX];
	uint64_t cost;
	size_t count;

	drain_exchange_take(exchange, index);
	cost = cost_at(exchange, index, from);
	count = drain_exchange_list_nodes(exchange, index, nodes);
	for (size_t i = 0; i < count && cost_at(exchange, index, nodes[i]) < cost; i++)
		if (save_room(exchange, index, nodes[i],
			      whole_cost(exchange, index, from) - whole_cost(exchange, index, nodes[i])))
			return true;
	drain_exchange_put(exchange, index, from);
	return false;
}

/* What both would cost less; less than 0 where they do not fit. Both are where they were. */
static int64_t gain_of_swap(struct drain_exchange *exchange, uint32_t a, uint32_t b)
{
	const struct drain_place_demand *demands = exchange->input->demands;
	int at_a = exchange->nodes[a], at_b = exchange->nodes[b];
	int64_t before = whole_cost(exchange, a, at_a) + whole_cost(exchange, b, at_b), gain = -1;

	drain_exchange_take(exchange, a);
	drain_exchange_take(exchange, b);
	if (!drain_exchange_lacks(exchange, &demands[a], at_b) && !drain_exchange_lacks(exchange, &demands[b], at_a)) {
		drain_exchange_put(exchange, a, at_b);
		drain_exchange_put(exchange, b, at_a);
		gain = before - whole_cost(exchange, a, at_b) - whole_cost(exchange, b, at_a);
		drain_exchange_take(exchange, a);
		drain_exchange_take(exchange, b);
	}
	drain_exchange_put(exchange, a, at_a);
	drain_exchange_put(exchange, b, at_b);
	return gain;
}

/* With the one with which that saves most. */
static bool swap(struct drain_exchange *exchange, uint32_t a)
{
	const struct drain_place_input *input = exchange->input;
	int64_t best_gain = 0;
	uint32_t best = 0;

	for (uint32_t b = 0; b < input->demand_count && exchange->looks; b++) {
		int at_a = exchange->nodes[a], at_b = exchange->nodes[b];
		int64_t gain;

		exchange->looks--;
		if (at_b < 0 || at_a == at_b || !(input->demands[a].allowed >> at_b & 1) ||
		    !(input->demands[b].allowed >> at_a & 1) ||
		    cost_at(exchange, a, at_b) >= cost_at(exchange, a, at_a))
			continue;
		gain = gain_of_swap(exchange, a, b);
		if (gain <= best_gain)
			continue;
		best_gain = gain;
		best = b;
	}
	if (best_gain > 0) {
		int at_a = exchange->nodes[a], at_b = exchange->nodes[best];

		drain_exchange_take(exchange, a);
		drain_exchange_take(exchange, best);
		drain_exchange_put(exchange, a, at_b);
		drain_exchange_put(exchange, best, at_a);
	}
	return best_gain > 0;
}

static int compare_left_over(const void *left, const void *right, void *user)
{
	const struct drain_place_input *input = user;
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	if (input->demands[a].bytes != input->demands[b].bytes)
		return input->demands[a].bytes > input->demands[b].bytes ? -1 : 1;
	return a < b ? -1 : a > b;
}

static bool better(struct drain_exchange *exchange, uint32_t index)
{
	const struct drain_place_demand *demand = &exchange->input->demands[index];

	if (demand->is_loose || !demand->bytes)
		return false;
	if (exchange->nodes[index] < 0)
		return put_cheapest(exchange, index) || put_by_force(exchange, index);
	return shift(exchange, index) || swap(exchange, index);
}

void drain_exchange_run(struct drain_exchange *exchange)
{
	bool changed = true;

	exchange->looks = LOOKS_LEAST + LOOKS_EACH * exchange->input->demand_count;
	qsort_r(exchange->left_over, exchange->left_over_count, sizeof(*exchange->left_over), compare_left_over,
		(void *)exchange->input);
	for (size_t i = 0; i < exchange->left_over_count; i++)
		if (!put_cheapest(exchange, exchange->left_over[i]))
			put_by_force(exchange, exchange->left_over[i]);
	for (int round = 0; changed && round < ROUNDS_MAX; round++) {
		changed = false;
		for (size_t i = 0; i < exchange->left_over_count; i++)
			changed = better(exchange, exchange->left_over[i]) || changed;
		for (uint32_t i = 0; i < exchange->input->demand_count && exchange->looks; i++)
			changed = better(exchange, i) || changed;
	}
}
