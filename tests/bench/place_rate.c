/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a drain's placement takes as guests grow from 10 to 10,000, on 16 nodes of which four are drained.
 *
 *   place_rate [ROUNDS]
 *
 * A tenth of the guests is in huge pages, a tenth has two cells; of the others some may not use all nodes: in "alike"
 * by one of eight sets of nodes, in "unlike" each by a set of its own, which leaves nothing to be planned in common.
 * The nodes that stay have a fifth more room than is needed. Prints a line of JSON for each: the best of ROUNDS (5) in
 * microseconds, the same for each guest, the growth against the line before (of time by that of guests), and what came
 * of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "drain_place.h"

#define MIB	(UINT64_C(1) << 20)
#define NODES	16
#define DRAINED 4
#define SIZE	0

static uint64_t seed;

static uint64_t random_below(uint64_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % limit;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t some_nodes(void)
{
	uint64_t stays = ((UINT64_C(1) << NODES) - 1) & ~((UINT64_C(1) << DRAINED) - 1);

	return (random_below(UINT64_C(1) << NODES) | UINT64_C(1) << (DRAINED + random_below(NODES - DRAINED))) & stays;
}

/* Returns how many demands there are. */
static size_t make_demands(struct drain_place_demand *demands, size_t guests, bool is_unlike, uint64_t *ret_bytes)
{
	uint64_t sets[8], all = ((UINT64_C(1) << NODES) - 1) & ~((UINT64_C(1) << DRAINED) - 1), bytes = 0;
	size_t count = 0;

	for (size_t i = 0; i < 8; i++)
		sets[i] = some_nodes();
	for (size_t guest = 0; guest < guests; guest++) {
		uint64_t allowed = random_below(3) ? all : sets[random_below(8)];
		size_t cells = guest % 10 == 1 ? 2 : 1, home = random_below(DRAINED);

		for (size_t cell = 0; cell < cells; cell++) {
			struct drain_place_demand *demand = &demands[count++];

			*demand = (struct drain_place_demand){.bytes = 64 * MIB << random_below(8),
							      .allowed = is_unlike ? some_nodes() : allowed,
							      .guest = (uint32_t)guest,
							      .home = (uint8_t)((home + cell) % DRAINED),
							      .is_apart = cells > 1,
							      .may_split = true};
			if (guest % 10 == 0)
				demand->huge_bytes[0] = demand->bytes;
			bytes += demand->bytes;
		}
	}
	*ret_bytes = bytes;
	return count;
}

static void make_nodes(struct drain_place_input *input, uint64_t bytes)
{
	for (int from = 0; from < NODES; from++)
		for (int to = 0; to < NODES; to++)
			input->distances[from][to] = from == to ? 10 : (uint8_t)(11 + (from ^ to));
	input->size_count = 1;
	input->page_bytes[SIZE] = 2 * MIB;
	for (int node = DRAINED; node < NODES; node++) {
		input->room_bytes[node] = bytes * 6 / 5 / (NODES - DRAINED);
		input->pool_bytes[SIZE][node] = bytes / 400 / (2 * MIB) * (2 * MIB);
	}
}

int main(int argc, char **argv)
{
	static const size_t counts[] = {10, 30, 100, 300, 1000, 3000, 10000};
	int rounds = argc > 1 ? atoi(argv[1]) : 5;

	if (rounds < 1) {
		fprintf(stderr, "usage: place_rate [ROUNDS]\n");
		return 2;
	}
	for (int is_unlike = 0; is_unlike < 2; is_unlike++) {
		double before = 0;

		for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
			CLEANUP_FREE struct drain_place_demand *demands = calloc(2 * counts[n], sizeof(*demands));
			struct drain_place_input input = {.demands = demands};
			struct drain_place_result result = {0};
			uint64_t bytes, best = UINT64_MAX;
			double each;

			if (!demands)
				return 1;
			seed = UINT64_C(88172645463325252);
			input.demand_count = make_demands(demands, counts[n], is_unlike, &bytes);
			make_nodes(&input, bytes);
			for (int i = 0; i < rounds; i++) {
				uint64_t began = now_us(), took;

				drain_place_result_done(&result);
				if (drain_place(&input, &result) < 0)
					return 1;
				took = now_us() - began;
				best = took < best ? took : best;
			}
			each = (double)best / (double)counts[n];
			printf("{\"guests\":%zu,\"kinds\":\"%s\",\"us\":%" PRIu64
			       ",\"us_each\":%.2f,\"growth\":%.2f,\"placed\":%.4f,\"distance\":%.2f,\"split\":%zu,"
			       "\"merged\":%zu}\n",
			       counts[n], is_unlike ? "unlike" : "alike", best, each, before > 0 ? each / before : 1,
			       (double)result.placed_bytes / (double)bytes,
			       (double)result.byte_distance / (double)result.placed_bytes, result.split_count,
			       result.merged_count);
			before = each;
			drain_place_result_done(&result);
		}
	}
	return 0;
}
