/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the dry run of a drain takes as guests grow from 10 to 10,000, on 16 nodes of which one is drained with all
 * the guests on it.
 *
 *   plan_rate [MOST [part]]
 *
 * Up to MOST guests (10,000); "part": the node has as much again, and all of the guests lies in the DIMM that is drained, so
 * that they come home. Guests have 64 MiB to 1 GiB, a tenth of them huge pages; the other nodes have a fifth more room
 * than is needed. Prints a line of JSON for each: the processor's time in milliseconds, the same for each guest in microseconds, its
 * growth against the line before (1: no more than guests grew), and what the plan has.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "plan.h"

#define MIB	(UINT64_C(1) << 20)
#define GIB	(UINT64_C(1) << 30)
#define NODES	16
#define DRAINED 0

static struct snapshot_guest *add_guest(struct snapshot *snapshot, size_t number, uint64_t bytes, bool is_part)
{
	struct snapshot_guest *guest = snapshot_add_guest(snapshot);
	bool is_huge = number % 10 == 0;

	if (!guest)
		return NULL;
	snprintf(guest->uuid, sizeof(guest->uuid), "00000000-0000-0000-0000-%012u", (unsigned)number);
	snprintf(guest->name, sizeof(guest->name), "guest%zu", number);
	guest->state = GUEST_STATE_RUNNING;
	guest->pid = 100;
	guest->base_bytes = guest->max_bytes = guest->current_bytes = guest->requested_bytes = bytes;
	guest->node_bytes[DRAINED] = guest->resident_bytes = bytes;
	guest->surveyed = true;
	guest->backing_count = 1;
	guest->backings[0] = (struct snapshot_backing){is_huge ? BACKING_KIND_HUGETLB : BACKING_KIND_MEMFD,
						       is_huge ? 2 * MIB : 4096, bytes, 0};
	guest->cpu_nodes = 1;
	guest->dimms_told = is_part;
	guest->dimm_count = is_part;
	snprintf(guest->dimm_bytes[0].id, sizeof(guest->dimm_bytes[0].id), "d0");
	guest->dimm_bytes[0].bytes = bytes;
	return guest;
}

/* Two DIMMs that are node 0 together: all blocks of the first half, and of the second. False where memory is short. */
static bool add_dimms(struct snapshot *snapshot, uint64_t bytes)
{
	for (unsigned i = 0; i < 2; i++) {
		struct snapshot_dimm *dimm = snapshot_add_dimm(snapshot);

		if (!dimm)
			return false;
		snprintf(dimm->id, sizeof(dimm->id), "d%u", i);
		dimm->node = DRAINED;
		dimm->range_count = 1;
		dimm->ranges[0] = (struct snapshot_range){i * bytes, (i + 1) * bytes};
	}
	return true;
}

/* NULL where memory is short. */
static struct snapshot *make_host(size_t guests, bool is_part)
{
	struct snapshot *snapshot = snapshot_new();
	uint64_t bytes = 0, blocks, drained;

	for (size_t i = 0; snapshot && i < guests; i++) {
		uint64_t each = 64 * MIB << i % 5;

		if (!add_guest(snapshot, i, each, is_part))
			return snapshot_free(snapshot);
		bytes += each;
	}
	if (!snapshot)
		return NULL;
	snapshot->block_bytes = 2 * GIB;
	drained = bytes / snapshot->block_bytes + 2;
	blocks = is_part ? 2 * drained : drained;
	if (is_part && !add_dimms(snapshot, drained * snapshot->block_bytes))
		return snapshot_free(snapshot);
	for (int id = 0; id < NODES; id++) {
		struct snapshot_node *node = snapshot_add_node(snapshot);

		if (!node)
			return snapshot_free(snapshot);
		node->id = id;
		node->has_memory = node->has_cpus = true;
		node->total_bytes = blocks * snapshot->block_bytes;
		node->free_bytes = id == DRAINED ? node->total_bytes - bytes : bytes * 6 / 5 / (NODES - 1) + 2 * GIB;
		node->pool_count = 1;
		node->pools[0].page_bytes = 2 * MIB;
		for (int other = 0; other < NODES; other++)
			node->distances[other] = other == id ? 10 : (uint8_t)(11 + (id ^ other));
		for (uint64_t i = 0; i < (id == DRAINED ? blocks : 1); i++) {
			struct snapshot_block *block = snapshot_add_block(snapshot);

			if (!block)
				return snapshot_free(snapshot);
			block->id = (uint64_t)id * blocks + i;
			block->start = block->id * snapshot->block_bytes;
			block->size_bytes = snapshot->block_bytes;
			block->node = id;
			block->state = BLOCK_STATE_ONLINE;
			block->zone = BLOCK_ZONE_MOVABLE;
		}
	}
	return snapshot;
}

int main(int argc, char **argv)
{
	static const size_t counts[] = {10, 30, 100, 300, 1000, 2000, 3000, 5000, 10000};
	size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
	bool is_part = argc > 2 && strcmp(argv[2], "part") == 0;
	double before = 0;

	for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]) && counts[n] <= most; n++) {
		CLEANUP(snapshot_freep) struct snapshot *snapshot = make_host(counts[n], is_part);
		CLEANUP(plan_freep) struct plan *plan = NULL;
		struct plan_limits limits;
		struct wish wish;
		uint64_t began, took;
		double each;

		if (!snapshot)
			return 1;
		plan_limits_init(&limits);
		wish_init(&wish, OPERATION_KIND_DRAIN);
		wish.drain_wish.target = is_part ? DRAIN_TARGET_DIMM : DRAIN_TARGET_NODE;
		wish.drain_wish.node = is_part ? -1 : DRAINED;
		if (is_part)
			snprintf(wish.drain_wish.dimm, sizeof(wish.drain_wish.dimm), "d0");
		wish.drain_wish.finish = DRAIN_FINISH_OFFLINE;
		began = clock_us(CLOCK_PROCESS_CPUTIME_ID);
		plan = plan_dry_run(&(struct plan_input){.wish = &wish, .snapshot = snapshot, .limits = &limits, .now_ms = 1});
		took = clock_us(CLOCK_PROCESS_CPUTIME_ID) - began;
		if (!plan)
			return 1;
		each = (double)took / (double)counts[n];
		printf("{\"guests\":%zu,\"ms\":%.1f,\"us_each\":%.1f,\"growth\":%.2f,\"steps\":%zu,\"blockers\":%zu,"
		       "\"stays\":%zu,\"digest\":\"%s\"}\n",
		       counts[n], (double)took / 1000, each, before > 0 ? each / before : 1, plan->step_count,
		       plan->blockers.count, plan->forecast.count, plan->digest);
		fflush(stdout);
		before = each;
	}
	return 0;
}
