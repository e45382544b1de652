/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole demands of a placement on their nodes, and how those that have none yet come to one: others make
 * room, or change places with them.
 */
#ifndef BALLAST_SERVICE_DRAIN_EXCHANGE_H
#define BALLAST_SERVICE_DRAIN_EXCHANGE_H

#include "drain_place.h"

/* A step of distance; below it, that free huge pages are taken before room is made into such. */
#define DRAIN_EXCHANGE_STEP 16
/* To join other memory of the guest is worse than any distance. */
#define DRAIN_EXCHANGE_MERGE (256 * DRAIN_EXCHANGE_STEP)
/* So is to have a page of 1 GiB made: once a kernel runs it has few whole GiB left (mm/page_alloc.c alloc_contig_pages). */
#define DRAIN_EXCHANGE_MAKE DRAIN_EXCHANGE_MERGE

/* What pools have given a demand. */
struct drain_exchange_pools {
	uint64_t all, sizes[DRAIN_PLACE_SIZES_MAX];
};

struct drain_exchange {
	const struct drain_place_input *input; /* borrowed */
	/* What is left of the room and of the pools. */
	uint64_t room[DRAIN_PLACE_NODES_MAX];
	uint64_t pool[DRAIN_PLACE_SIZES_MAX][DRAIN_PLACE_NODES_MAX];
	int8_t *nodes;	     /* borrowed: of each demand; -1: none yet */
	struct drain_exchange_pools *from_pool; /* borrowed: of each demand that has a node */
	uint32_t *left_over; /* borrowed: demands that are still to be placed */
	size_t left_over_count;
	uint64_t looks; /* at demands, for what is left over: so many are left */
};

/* What is missing for it there; 0: it fits. */
uint64_t drain_exchange_lacks(const struct drain_exchange *exchange, const struct drain_place_demand *demand, int node);
void drain_exchange_put(struct drain_exchange *exchange, uint32_t index, int node);
void drain_exchange_take(struct drain_exchange *exchange, uint32_t index);
/* Does other memory of its guest, which it is to be apart from, stand there? */
bool drain_exchange_joins(const struct drain_exchange *exchange, uint32_t index, int node);
/* Is a page of this size one that is hardly to be had once a kernel runs? */
bool drain_exchange_is_gigantic(uint64_t page_bytes);
/* The nodes that it may have, cheapest first, of equal ones that with most room. Returns how many. */
size_t drain_exchange_list_nodes(const struct drain_exchange *exchange, uint32_t index,
				 uint8_t nodes[DRAIN_PLACE_NODES_MAX]);
/* Finds places for what is left over, as far as it can. */
void drain_exchange_run(struct drain_exchange *exchange);

#endif
