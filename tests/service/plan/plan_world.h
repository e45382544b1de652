/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small host to plan in: three nodes of 2 GiB and a fourth with a 1 GiB DIMM, guests as a test
 * asks, and the loop that an engine would run.
 */
#ifndef BALLAST_TESTS_PLAN_WORLD_H
#define BALLAST_TESTS_PLAN_WORLD_H

#include "plan.h"

#define MIB	    (UINT64_C(1) << 20)
#define GIB	    (UINT64_C(1) << 30)
#define WORLD_BLOCK (128 * MIB)

struct world {
	struct snapshot *snapshot;
	struct plan_limits limits;
	struct wish wish;
	struct step_record *history;
	size_t history_count;
	struct plan_input input;
	struct decision decision;
};

/* Nodes 0 to 2 with 1.4 GiB free, kernel memory in their first half; node 3 all DIMM "acpi-MP00",
 * movable, all free. */
void world_init(struct world *world);
void world_done(struct world *world);
/* An undrain of what the world has just done, which stands in input.subject from then on. Its end frees that, too. */
void world_undrain(struct world *world);
void world_undrain_done(struct world *world);
/* A second DIMM of 1 GiB on node 3, "acpi-MP01". */
void world_add_second_dimm(struct world *world);

/* A running memfd guest of this name (its UUID is "uuid-NAME") with pages on one node. */
struct snapshot_guest *world_add_guest(struct world *world, const char *name, int node,
				       uint64_t bytes);
/* A virtio-mem device of size_bytes, of which current_bytes are plugged, in blocks of 2 MiB. */
struct snapshot_device *world_add_device(struct snapshot_guest *guest, const char *alias,
					 uint64_t size_bytes, uint64_t current_bytes);
/* An agent with the features of protocol 1.0 and a report in which all that is not huge pages is available. */
void world_add_agent(struct snapshot_guest *guest, uint64_t available_bytes,
		     uint64_t huge_free_bytes);

void world_wish_resize(struct world *world, const char *guest, uint64_t target_bytes);
void world_wish_move(struct world *world, const char *guest, uint64_t to_nodes);
void world_wish_map(struct world *world, const char *guest, int from, int to);
void world_wish_drain_dimm(struct world *world, enum drain_finish finish);

/* Checks that a wish is refused with that code, or, where it is empty, is not refused. */
void world_check_code(struct world *world, const char *code);
/* Asks the planner; releases the decision before. */
const struct decision *world_next(struct world *world);
/* Records the decided step with this outcome, and nothing else. The record may be filled further.
 */
struct step_record *world_record(struct world *world, enum step_state state, uint64_t bytes_done);
/*
 * The same, and lets it have gained so much of what it was for: devices change by it where it asks for a size, huge pages
 * and blocks leave the report where the agent was asked.
 */
struct step_record *world_gain(struct world *world, uint64_t bytes);
/* Performs the decided step as planned. */
void world_perform(struct world *world);
/* Performs step after step; the words of the kinds, separated by blanks, end with "done" or
 * "give_up". */
const char *world_run(struct world *world, char text[512]);

/* What operations of that kind were measured at; 0: nothing. */
void world_set_rate(struct world *world, enum rate_kind kind, uint64_t bytes_per_s);

uint64_t world_share(const struct world *world, int node, uint64_t without);

#endif
