/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of whose node only a part is drained: what lies in that part leaves for a while and comes home, to what stays of
 * the node, by the undo of the move that took it away. The kernel moves no page within a node, but from there and back it
 * does. What is only emptied stays online and would take it in again: then the undrain brings it home.
 */
#ifndef BALLAST_SERVICE_DRAIN_PART_H
#define BALLAST_SERVICE_DRAIN_PART_H

#include "plan_priv.h"

/*
 * Does the guest keep its node, so that only what lies in the scope leaves it? False where all that it has on the node
 * goes, with its policies, because
 *  - nothing of the node stays;
 *  - it cannot be told how much of it lies in the scope;
 *  - the node is no home for it afterwards: another drain has begun to empty it, or its owner's policy forbids it;
 *  - it may have its memory there only, and what stays of the node may not hold all guests that come home: the next page
 *    that it touches would find none (mm/oom_kill.c constrained_alloc);
 *  - the wider cpuset that its pages need on the way would rewrite policies.
 * Whoever has been moved out by this operation once leaves that way again.
 */
bool drain_part_keeps(const struct plan_input *input, const struct drain_scope *scope,
		      const struct snapshot_guest *guest);

/*
 * Has what stays of the node room for all that is in the scope and for all that has left it? What is free in the scope
 * itself goes with it. What the host has there finds its place elsewhere, where there is one, and is counted all the same.
 */
bool drain_part_holds_all(const struct plan_input *input, const struct drain_scope *scope, int node);

#endif
