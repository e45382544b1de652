/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transportation problem: supplies that may be split at will, bins with room, a cost for each byte
 * of a supply in a bin. What comes out is the cheapest there is, and as much as fits.
 */
#ifndef BALLAST_SERVICE_DRAIN_FLOW_H
#define BALLAST_SERVICE_DRAIN_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRAIN_FLOW_NEVER UINT32_MAX /* a cost: this supply may not have that bin */

struct drain_flow {
	size_t supply_count, bin_count;
	const uint64_t *supplies; /* borrowed: bytes */
	const uint32_t *costs;	  /* borrowed: by supply, then by bin; less than 2^31 or DRAIN_FLOW_NEVER */
	uint64_t *rooms;	  /* borrowed: bytes by bin; what is left, after */
	uint64_t *bytes;	  /* borrowed: the result, by supply, then by bin; zeroed by the caller */
	uint64_t short_bytes;	  /* the result: of all supplies, what fits nowhere */
};

/* 0, or -ENOMEM. */
int drain_flow_solve(struct drain_flow *flow);

#endif
