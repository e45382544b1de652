/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything in a drain's scope is to go, planned together: the placement problem made of a
 * snapshot, and the child moves made of its solution. Asked again after each move it plans what is left;
 * what has moved stays where it went.
 */
#ifndef BALLAST_SERVICE_DRAIN_LAYOUT_H
#define BALLAST_SERVICE_DRAIN_LAYOUT_H

#include "drain_place.h"
#include "plan_priv.h"

struct drain_layout {
	const struct plan_input *input;	 /* borrowed */
	const struct drain_scope *scope; /* borrowed */
	const uint64_t *less;		 /* borrowed: by demand, what it will have come down by; NULL: nothing */
	/* One for each guest and node that it leaves, then one for each node's memory of nobody that is known. */
	struct drain_place_demand *demands; /* owned */
	size_t demand_count;
	size_t *firsts; /* owned: a guest's first demand, by its place in the snapshot; after the last guest the end of
			   all */
	struct drain_place_result placed; /* owned */
	uint64_t comes[SNAPSHOT_NODES_MAX]; /* the sum of that, by node */
};

/* 0, or -ENOMEM with *ret_layout empty. A layout is to be given to drain_layout_done(). */
int drain_layout_find(const struct plan_input *input, const struct drain_scope *scope, struct drain_layout *ret_layout);
/* The same, were each demand of guests smaller by so much: by its place in a layout of the same input. */
int drain_layout_find_less(const struct plan_input *input, const struct drain_scope *scope, const uint64_t *less,
			   struct drain_layout *ret_layout);
void drain_layout_done(struct drain_layout *layout);

/* The child move that takes the guest out of the scope. false: nothing of it is there, or not all of it has a place. */
bool drain_layout_child(const struct drain_layout *layout, size_t guest, struct step *ret_step, struct wish *ret_child);
/* The first demand of the guest that has no place on one node; NULL: there is none. */
const struct drain_place_fate *drain_layout_unplaced(const struct drain_layout *layout, size_t guest);
/* The node where cells of the guest that are apart now come together, because there is no other way; -1: none. */
int drain_layout_merged(const struct drain_layout *layout, size_t guest);
/* What a node could still give this guest beyond the reserve, with all others where they are to go. */
uint64_t drain_layout_room(const struct drain_layout *layout, const struct snapshot_guest *guest, int node);
/*
 * Of what the scope holds beside guests' memory, by node: how much of it has no room anywhere. 0: it has, or there is
 * none.
 */
uint64_t drain_layout_host_missing(const struct drain_layout *layout, int node);

#endif
