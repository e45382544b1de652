/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement as a pure problem: demands for memory, nodes with room, and which bytes go where, so that
 * the sum of bytes times distance is small. Knows no snapshot, keeps nothing, and the same problem
 * always has the same solution.
 *
 * A demand is whole on one node; it is split only where it fits no single one, and only if it may be.
 * Two demands of one guest that keep apart share a node only where there is no other way.
 */
#ifndef BALLAST_SERVICE_DRAIN_PLACE_H
#define BALLAST_SERVICE_DRAIN_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"

#define DRAIN_PLACE_NODES_MAX 64 /* a set of nodes is a mask */
#define DRAIN_PLACE_SIZES_MAX 4	 /* huge page sizes of one architecture */

struct drain_place_demand {
	uint64_t bytes;
	/*
	 * Of them in huge pages of each of page_bytes: what is free in that pool serves for these, in whole pages, and room
	 * else. Together no more than bytes.
	 */
	uint64_t huge_bytes[DRAIN_PLACE_SIZES_MAX];
	uint64_t allowed;  /* nodes */
	uint64_t occupied; /* nodes that keep other memory of the guest, which this is not to join without need */
	uint32_t guest;	   /* demands of one guest stand side by side */
	uint8_t home;	/* distances count from here */
	bool is_apart;	/* not with another demand of its guest, without need */
	bool may_split; /* where it fits no single node */
	/* Any byte of it may go anywhere: placed last, in what the others leave, and never told as split. */
	bool is_loose;
};

struct drain_place_input {
	uint64_t room_bytes[DRAIN_PLACE_NODES_MAX];
	size_t size_count;
	uint64_t page_bytes[DRAIN_PLACE_SIZES_MAX];
	uint64_t pool_bytes[DRAIN_PLACE_SIZES_MAX][DRAIN_PLACE_NODES_MAX]; /* free in the pools, beside the room */
	uint8_t distances[DRAIN_PLACE_NODES_MAX][DRAIN_PLACE_NODES_MAX];   /* from, to */
	size_t demand_count;
	const struct drain_place_demand *demands; /* borrowed */
};

struct drain_place_flow {
	uint32_t demand;
	uint8_t node;
	uint64_t bytes;
};

/* What became of one demand. */
struct drain_place_fate {
	uint32_t first_flow, flow_count; /* 0: it has no place, or no bytes */
	/* On the node that lacks least so much is missing; of a loose demand all that is; 0: nothing. */
	uint64_t missing_bytes;
	int8_t missing_node; /* -1: none, or no node is allowed */
	bool is_split;
	bool is_merged; /* with other memory of its guest that it should be apart from */
};

struct drain_place_result {
	size_t flow_count;
	struct drain_place_flow *flows; /* owned; those of a demand side by side, the cheapest first */
	struct drain_place_fate *fates; /* owned, one for each demand */
	uint64_t byte_distance;		/* sum over flows */
	uint64_t placed_bytes;
	/*
	 * So much does not fit even where everything could be split: the nodes that it may use, directly or by others'
	 * making room, have no more. 0: only whole demands do not fit.
	 */
	uint64_t short_bytes;
	size_t split_count, merged_count;
};

/* 0, or -ENOMEM with *ret_result untouched. */
int drain_place(const struct drain_place_input *input, struct drain_place_result *ret_result);
void drain_place_result_done(struct drain_place_result *result);

#endif
