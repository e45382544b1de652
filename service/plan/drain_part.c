/* SPDX-License-Identifier: Apache-2.0 */
#include "drain_part.h"

#include <stdlib.h>
#include <string.h>
#include "drain_priv.h"

/* The undo of it that this operation has tried; NULL: none yet. */
static const struct step_record *undo_of(const struct plan_input *input, const struct step_record *away)
{
	return undo_bar_undo_of(input, NULL, away->n);
}

/* Is it a move of what lay in ranges, and stands? */
static bool is_away(const struct step_record *record)
{
	return record->step.kind == STEP_KIND_CHILD && record->step.range_count && undo_bar_is_due(record);
}

/* ---- who keeps its node ---- */

/* How this operation has moved the guest first; NULL: not yet. */
static const struct step *first_move(const struct plan_input *input, const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_CHILD && record->state != STEP_STATE_UNDONE &&
		    !step_brings_home(&record->step) && !step_shrinks(&record->step) &&
		    strcmp(record->step.guest, guest->uuid) == 0)
			return &record->step;
	}
	return NULL;
}

/* May the guest have memory on no other node than this? */
static bool is_shut_in(const struct plan_input *input, const struct snapshot_guest *guest, int node)
{
	uint64_t others = plan_memory_nodes(input->snapshot) & ~plan_node_bit(node), nodes;

	if (guest->cpuset_mems && !(guest->cpuset_mems & others))
		return true;
	for (size_t i = 0; i < guest->backing_count; i++)
		if (snapshot_guest_part_policy(guest, i, &nodes) == POLICY_MODE_BIND && !(nodes & others))
			return true;
	return !guest->backing_count && guest->policy_mode == POLICY_MODE_BIND && !(guest->policy_nodes & others);
}

/* Of one that runs all of it is reckoned to have left (drain_foresee()). */
static uint64_t left_bytes(const struct step_record *away)
{
	return away->state == STEP_STATE_RUNNING ? away->step.bytes : away->bytes_done;
}

bool drain_part_holds_all(const struct plan_input *input, const struct drain_scope *scope, int node)
{
	uint64_t needs = scope->node_bytes[node];

	for (size_t i = 0; i < input->history_count; i++)
		if (is_away(&input->history[i]) && input->history[i].step.map[node] >= 0)
			needs += left_bytes(&input->history[i]);
	return plan_room(input, node, scope->whole_nodes) >= needs;
}

/*
 * Does another drain hold what stays of the node? Where nothing is brought there a mere cordon is in nobody's way: the guest
 * lives on as before.
 */
static bool is_held_beside(const struct plan_input *input, const struct drain_scope *scope, int node)
{
	const struct snapshot *snapshot = input->snapshot;
	bool brings = input->wish->drain_wish.finish >= DRAIN_FINISH_OFFLINE;

	for (size_t i = 0; i < snapshot->hold_count; i++) {
		const struct snapshot_hold *hold = &snapshot->holds[i];

		if (strcmp(hold->drain, input->wish->drain) == 0 || (!brings && snapshot_hold_only_cordons(hold)))
			continue;
		for (size_t b = 0; b < snapshot->block_count; b++)
			if (snapshot->blocks[b].node == node && snapshot_hold_has(hold, &snapshot->blocks[b]) &&
			    !drain_scope_has(scope, &snapshot->blocks[b]))
				return true;
	}
	return false;
}

static bool is_home(const struct plan_input *input, const struct drain_scope *scope, const struct snapshot_guest *guest,
		    int node)
{
	const struct snapshot_node *home = snapshot_node(input->snapshot, node);

	return home && home->total_bytes && !is_held_beside(input, scope, node) &&
	       (!guest->allowed_nodes || guest->allowed_nodes >> node & 1);
}

/* Has it a policy that the kernel rewrites by position, and a cpuset that must become wider? */
static bool would_rewrite(const struct plan_input *input, const struct drain_scope *scope,
			  const struct snapshot_guest *guest)
{
	uint64_t nodes;

	if (!guest->cpuset_mems || !(drain_scope_destinations(input, scope, guest) & ~guest->cpuset_mems))
		return false;
	for (size_t i = 0; i < guest->backing_count; i++)
		if (plan_part_is_rebound(guest, i) &&
		    snapshot_guest_part_policy(guest, i, &nodes) != POLICY_MODE_DEFAULT)
			return true;
	return !guest->backing_count && guest->policy_mode != POLICY_MODE_DEFAULT;
}

/* Pinned by a device: where it is plugged again its policy says, so it keeps none that names the node. */
static bool is_replugged(const struct plan_input *input, const struct drain_scope *scope,
			 const struct snapshot_guest *guest)
{
	uint64_t bytes = guest->vfio ? drain_scope_guest_bytes(input, scope, guest) : 0;
	enum remainder_code code;

	return bytes && move_remainder_pinned(guest, bytes, &code) == bytes;
}

bool drain_part_keeps(const struct plan_input *input, const struct drain_scope *scope,
		      const struct snapshot_guest *guest)
{
	/* What is only emptied stays online: the node has its room, the target's included. */
	bool shrinks = input->wish->drain_wish.finish >= DRAIN_FINISH_OFFLINE;
	const struct step *first;
	uint64_t leaves = 0;

	if (input->wish->drain_wish.finish < DRAIN_FINISH_EMPTY)
		return false;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (drain_scope_guest_leaves(input, scope, guest, node))
			leaves |= plan_node_bit(node);
	if (!leaves || leaves & scope->whole_nodes || is_replugged(input, scope, guest))
		return false;
	first = first_move(input, guest);
	if (first)
		return first->range_count > 0;
	for (; leaves; leaves &= leaves - 1) {
		int node = plan_first_node(leaves);

		if (!drain_scope_is_exact(input->snapshot, scope, guest, node) || !is_home(input, scope, guest, node) ||
		    (shrinks && is_shut_in(input, guest, node) && !drain_part_holds_all(input, scope, node)))
			return false;
	}
	return !would_rewrite(input, scope, guest);
}

/* ---- home ---- */

static uint64_t homes_of(const struct step_record *away)
{
	uint64_t nodes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (away->step.map[node] >= 0)
			nodes |= plan_node_bit(node);
	return nodes;
}

/* What it brought away, as far as the guest still has so much where it went. */
static uint64_t bytes_of(const struct step_record *away, const struct snapshot_guest *guest)
{
	uint64_t there = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (away->step.nodes >> node & 1)
			there += guest->node_bytes[node];
	return plan_min(away->bytes_done, there);
}

/* Of all moves of the guest that are still to be undone: the one without the other would leave it in between. */
static uint64_t all_bytes(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < input->history_count; i++)
		if (is_away(&input->history[i]) && strcmp(input->history[i].step.guest, guest->uuid) == 0 &&
		    !undo_of(input, &input->history[i]))
			bytes += bytes_of(&input->history[i], guest);
	return bytes;
}

static uint64_t home_room(const struct plan_input *input, const struct snapshot_guest *guest, uint64_t homes)
{
	uint64_t room = 0;

	for (; homes; homes &= homes - 1)
		room += plan_guest_room(input, guest, plan_first_node(homes), 0);
	return room;
}

static bool are_homes(const struct plan_input *input, const struct drain_scope *scope, const struct snapshot_guest *guest,
		      uint64_t homes)
{
	for (; homes; homes &= homes - 1)
		if (!is_home(input, scope, guest, plan_first_node(homes)))
			return false;
	return true;
}

/* What its undo left, by the reasons that it had. */
static void tell_undo(struct drainer *drainer, const struct step_record *undo, const char *object, uint64_t rest)
{
	struct remainder_list *list = &drainer->decision->warnings;
	char nodes[32];

	for (size_t i = 0; i < undo->remainder.count; i++)
		if (undo->remainder.items[i].bytes)
			plan_take_entry(list, &undo->remainder.items[i], &rest);
		else
			remainder_list_add_copy(list, &undo->remainder.items[i]);
	if (rest)
		remainder_list_add(list, REMAINDER_UNDO_FAILED, object, rest, "undrain, or move it there",
				   "could not be brought back to node %s", plan_nodes_text(undo->step.nodes, nodes));
}

static bool undo_step(struct drainer *drainer, const struct step_record *away, const struct snapshot_guest *guest)
{
	struct step step;

	plan_step_init(&step, STEP_KIND_UNDO, guest);
	step.undo_n = away->n;
	step.nodes = homes_of(away);
	step.node = plan_first_node(step.nodes);
	memcpy(step.map, away->step.map, sizeof(step.map));
	step.bytes = bytes_of(away, guest);
	step.stall_ms = (drainer->input->limits->stall_us + 999) / 1000;
	memcpy(step.text, STEP_TEXT_HOME, sizeof(STEP_TEXT_HOME));
	return drain_emit(drainer, &step);
}

/* Decides to bring it home, or tells why it stays away. undo: what was tried; all: of all its moves that are to be undone. */
static bool home_next(struct drainer *drainer, const struct step_record *away, const struct step_record *undo,
		      const struct snapshot_guest *guest, uint64_t all)
{
	const struct plan_input *input = drainer->input;
	uint64_t homes = homes_of(away), bytes = bytes_of(away, guest);
	struct remainder_list *warnings = &drainer->decision->warnings;
	uint64_t held = snapshot_held_nodes(input->snapshot, input->wish->drain) & away->step.nodes;
	char object[96], nodes[32];

	plan_guest_object(guest, object);
	plan_nodes_text(homes, nodes);
	if (undo)
		tell_undo(drainer, undo, object, bytes);
	/* It may have moved the guest since, and moves are undone last first (undo_bar.c). */
	else if (held)
		remainder_list_add(warnings, REMAINDER_HELD, object, bytes, NULL,
				   "another drain holds node %s, where it is: an undrain brings it back",
				   plan_nodes_text(held, nodes));
	else if (!are_homes(input, &drainer->scope, guest, homes))
		remainder_list_add(warnings, REMAINDER_HELD, object, bytes, NULL,
				   "node %s is none that it may be brought back to just now", nodes);
	else if (home_room(input, guest, homes) < all)
		remainder_list_add(warnings, REMAINDER_NO_ROOM, object, bytes, NULL,
				   "what stays of node %s has no room to bring it back", nodes);
	else if (plan_is_late(input))
		remainder_list_add(warnings, REMAINDER_DEADLINE, object, bytes, "undrain, or move it there",
				   "time ran out before it was brought back to node %s", nodes);
	else
		return undo_step(drainer, away, guest);
	return false;
}

/* Somebody else has changed or moved it since, so that it stays there. */
static void tell_changed(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;

	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_UNDO && input->history[i].state == STEP_STATE_DONE &&
		    remainder_list_has(&input->history[i].remainder, REMAINDER_CHANGED_SINCE))
			remainder_list_append(&drainer->decision->warnings, &input->history[i].remainder);
}

bool drain_part_home_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;

	tell_changed(drainer);
	/* Moves are undone last first. */
	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *away = &input->history[i];
		const struct snapshot_guest *guest =
			is_away(away) ? snapshot_guest(input->snapshot, away->step.guest) : NULL;

		if (guest && plan_guest_runs(guest) && drain_may_run_beside(input, guest) &&
		    home_next(drainer, away, undo_of(input, away), guest, all_bytes(input, guest))) {
			drainer->decision->beside = drain_may_begin(input, 2);
			return true;
		}
	}
	return false;
}

bool drain_part_home_all(struct drainer *drainer, const struct guest_index *guests, drain_take_fn *take, void *user)
{
	const struct plan_input *input = drainer->input;
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP_FREE uint64_t *all = calloc(snapshot->guest_count + 1, sizeof(*all));

	for (size_t i = 0; all && i < input->history_count; i++) {
		const struct step_record *away = &input->history[i];
		const struct snapshot_guest *guest = is_away(away) ? guest_index_find(guests, away->step.guest) : NULL;

		if (guest)
			all[guest - snapshot->guests] += bytes_of(away, guest);
	}
	for (size_t i = input->history_count; all && i-- > 0;) {
		const struct step_record *away = &input->history[i];
		const struct snapshot_guest *guest = is_away(away) ? guest_index_find(guests, away->step.guest) : NULL;
		uint64_t bytes = guest ? bytes_of(away, guest) : 0;

		if (!guest || !plan_guest_runs(guest) ||
		    !home_next(drainer, away, NULL, guest, all[guest - snapshot->guests]))
			continue;
		if (!take(user, &drainer->decision->step))
			return false;
		all[guest - snapshot->guests] -= bytes;
	}
	return all != NULL;
}
