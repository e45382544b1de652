/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guests of a drain: out of its scope by child moves, the largest first and a few beside each other, and home again.
 */
#include "drain_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Moves of one guest: the first, one for what slipped, one after others came back. */
#define TRIES_MAX 3
/* So small a part of a guest are strays, which the kernel may take along. */
#define STRAY_SHARE 256

static bool is_move_out(const struct step_record *record, const char *guest)
{
	return record->step.kind == STEP_KIND_CHILD && record->state != STEP_STATE_UNDONE &&
	       strcmp(record->step.guest, guest) == 0 && !step_brings_home(&record->step) && !step_shrinks(&record->step);
}

size_t drain_tries(const struct plan_input *input, const char *guest,
		       const struct step_record **ret_last)
{
	size_t tries = 0;

	*ret_last = NULL;
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (!is_move_out(record, guest))
			continue;
		tries++;
		*ret_last = record;
	}
	return tries;
}

/* Is the last move of this guest older than the last attempt to offline? Then it has come back, or
 * slipped. */
static bool since_offline(const struct plan_input *input, const struct step_record *last)
{
	const struct step_record *offline = plan_last(input, STEP_KIND_OFFLINE_BLOCKS);

	return offline && offline > last;
}

struct tried {
	bool is_any;	/* there was a move of it out of the scope */
	bool has_begun;	/* one of them has changed something: where its policy lets it be, or where a page is */
	bool has_moved;	/* one of them has brought pages out */
};

static struct tried what_was_tried(const struct plan_input *input, const char *guest)
{
	struct tried tried = {0};

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (!is_move_out(record, guest))
			continue;
		tried.is_any = true;
		tried.has_begun |= record->state != STEP_STATE_FAILED;
		tried.has_moved |= record->bytes_done > 0;
	}
	return tried;
}

bool drain_is_stray(const struct snapshot_guest *guest, uint64_t bytes)
{
	return bytes <= guest->resident_bytes / STRAY_SHARE;
}

/* Would the kernel bring a guest away as it is, its policy with it, where no move of ours could? */
static bool is_whole(const struct drainer *drainer, const struct snapshot_guest *guest, uint64_t bytes, bool is_unplaced)
{
	struct tried tried = what_was_tried(drainer->input, guest->uuid);

	return tried.is_any ? !tried.has_begun && !drain_is_stray(guest, bytes) : is_unplaced;
}

/* It found no room where it went, and all of the guest is where it was. */
static bool found_no_room(const struct step_record *record)
{
	return (record->state == STEP_STATE_FAILED || record->state == STEP_STATE_PARTIAL) && !record->bytes_done &&
	       remainder_list_has(&record->remainder, REMAINDER_NO_ROOM);
}

uint64_t drain_full_nodes(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (found_no_room(record) && is_move_out(record, guest->uuid))
			nodes |= record->step.nodes;
	}
	return nodes;
}

static bool may_try(const struct plan_input *input, const struct snapshot_guest *guest)
{
	const struct step_record *last;
	size_t tries = drain_tries(input, guest->uuid, &last);

	if (tries == 0)
		return true;
	return tries < TRIES_MAX && (last->bytes_done > 0 || since_offline(input, last) || found_no_room(last));
}

/*
 * Is the guest not to be touched, be it by this child or (NULL) by the kernel? It may have come after the drain was asked for.
 * What cannot be moved of one that was tried is in its step's remainder, so then only the consents count.
 */
static bool is_refused(const struct drainer *drainer, const struct snapshot_guest *guest, const struct wish *child,
		       struct remainder_list *ret_why)
{
	const struct step_record *last;
	struct remainder_list blockers, why = {0};
	size_t tries = drain_tries(drainer->input, guest->uuid, &last);

	if (plan_check_child(drainer->input, &drainer->scope, guest, child, &blockers) == 0)
		return false;
	for (size_t i = 0; i < blockers.count; i++)
		if (!tries || blockers.items[i].consent >= 0)
			remainder_list_add_copy(&why, &blockers.items[i]);
	*ret_why = why;
	return why.count > 0;
}

bool drain_leaves_alone(const struct drainer *drainer, const struct drain_layout *layout, size_t index,
			  struct remainder_list *ret_why)
{
	const struct snapshot_guest *guest = &drainer->input->snapshot->guests[index];
	struct step step;
	struct wish child;
	bool fits = drain_layout_child(layout, index, &step, &child);

	/* Of what its moves left nothing is asked anew: with that rest alone they would be other moves. */
	if (what_was_tried(drainer->input, guest->uuid).has_moved &&
	    drain_is_stray(guest, drain_scope_guest_bytes(drainer->input, &drainer->scope, guest)))
		return false;
	return is_refused(drainer, guest, fits ? &child : NULL, ret_why);
}

bool drain_leaves_any_alone(const struct drainer *drainer)
{
	const struct snapshot *snapshot = drainer->input->snapshot;
	CLEANUP(drain_layout_done) struct drain_layout layout;
	struct remainder_list why;

	/* Without memory nobody can tell: no block is touched. */
	if (drain_layout_find(drainer->input, &drainer->scope, &layout) < 0)
		return true;
	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (drain_scope_guest_bytes(drainer->input, &drainer->scope, &snapshot->guests[i]) &&
		    drain_leaves_alone(drainer, &layout, i, &why))
			return true;
	return false;
}

bool drain_memory_is_short(struct drainer *drainer)
{
	drainer->decision->kind = DECISION_KIND_GIVE_UP;
	remainder_list_add(&drainer->decision->remainder, REMAINDER_INVALID, "ballastd", 0, "ask again",
			   "memory is short");
	return true;
}

static bool child_step(struct drainer *drainer, struct step *step, const struct wish *child)
{
	step->child = malloc(sizeof(*step->child));
	if (!step->child)
		return drain_memory_is_short(drainer);
	*step->child = *child;
	drainer->decision->beside = drain_may_begin(drainer->input, 2);
	return drain_emit(drainer, step);
}

bool drain_child_of(const struct drainer *drainer, const struct drain_layout *layout, size_t index,
		    struct step *ret_step, struct wish *ret_child)
{
	const struct snapshot_guest *guest = &drainer->input->snapshot->guests[index];
	struct remainder_list why;

	return may_try(drainer->input, guest) && drain_layout_child(layout, index, ret_step, ret_child) &&
	       !is_refused(drainer, guest, ret_child, &why);
}

bool drain_guest_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP(drain_layout_done) struct drain_layout layout = {0};
	struct step step, best_step;
	struct wish child, best_child;
	uint64_t best = 0;

	if (!drain_may_begin(input, 1))
		return false;
	if (drain_layout_find(input, &drainer->scope, &layout) < 0)
		return drain_memory_is_short(drainer);
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];
		uint64_t bytes = drain_scope_guest_bytes(input, &drainer->scope, guest);
		bool is_unplaced = bytes && drain_layout_unplaced(&layout, i);

		drainer->is_stuck = drainer->is_stuck || (bytes && is_whole(drainer, guest, bytes, is_unplaced));
		if (is_unplaced)
			continue;
		if (bytes <= best || !drain_may_run_beside(input, guest) || !drain_child_of(drainer, &layout, i, &step, &child))
			continue;
		best = bytes;
		best_step = step;
		best_child = child;
	}
	return best && child_step(drainer, &best_step, &best_child);
}

/* Was it a move with all that the guest, bound to its node alone, had there, and does something of that node stay? */
static bool is_far_from_home(const struct drainer *drainer, const struct step_record *away)
{
	return away->step.kind == STEP_KIND_CHILD && away->state != STEP_STATE_UNDONE && !away->step.range_count &&
	       away->state != STEP_STATE_RUNNING && !step_brings_home(&away->step) &&
	       away->step.mode == POLICY_MODE_BIND && away->bytes_done &&
	       !(drainer->scope.whole_nodes >> away->step.node & 1);
}

/* False where it does not come, for want of room with a warning. */
static bool home_child(struct drainer *drainer, const struct step_record *away, const struct snapshot_guest *guest,
		       struct step *ret_step, struct wish *ret_child)
{
	const struct plan_input *input = drainer->input;
	int node = away->step.node, from = plan_first_node(away->step.nodes);
	const struct snapshot_node *home = snapshot_node(input->snapshot, node);
	struct wish *child = ret_child;
	struct step *step = ret_step;
	char object[96];

	/* A home without memory left (its last DIMM is out) is none, nor is one that
	 * another drain has begun to empty or that the guest's policy forbids. */
	if (!plan_guest_runs(guest) || !home || !home->total_bytes || plan_node_count(away->step.nodes) != 1 ||
	    snapshot_held_nodes(input->snapshot, input->wish->drain) >> node & 1 ||
	    (guest->allowed_nodes && !(guest->allowed_nodes >> node & 1)))
		return false;
	/* More than that node in its policy: it was not bound to the drained node alone,
	 * and may stay. */
	if (guest->policy_nodes != away->step.nodes || !guest->node_bytes[from])
		return false;
	if (plan_guest_room(input, guest, node, 0) < guest->node_bytes[from]) {
		remainder_list_add(&drainer->decision->warnings, REMAINDER_NO_ROOM, plan_guest_object(guest, object),
				   guest->node_bytes[from], NULL, "what stays of node %d has no room to bring it back",
				   node);
		return false;
	}
	plan_step_init(step, STEP_KIND_CHILD, guest);
	wish_init(child, OPERATION_KIND_MOVE);
	memcpy(child->guest, guest->uuid, sizeof(child->guest));
	memcpy(child->drain, input->wish->drain, sizeof(child->drain));
	child->allow = input->wish->allow;
	child->move.form = MOVE_FORM_MAP;
	child->move.map[from] = (int8_t)node;
	/* What the way out wrote into the stored XML goes back with it. */
	child->move.persist = drainer->wish->persist;
	step->node = from;
	step->nodes = plan_node_bit(node);
	step->bytes = guest->node_bytes[from];
	step->undoable = true;
	step->stall_ms = (input->limits->stall_us + 999) / 1000;
	memcpy(step->text, STEP_TEXT_HOME, sizeof(STEP_TEXT_HOME));
	return true;
}

/* Has this operation begun to bring the guest home? */
static bool is_back(const struct plan_input *input, const char *guest)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (step_brings_home(&input->history[i].step) && strcmp(input->history[i].step.guest, guest) == 0)
			return true;
	return false;
}

bool drain_home_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	struct wish child;
	struct step step;

	if (!drain_may_begin(input, 1))
		return false;
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *away = &input->history[i];
		const struct snapshot_guest *guest;

		if (!is_far_from_home(drainer, away) || is_back(input, away->step.guest))
			continue;
		guest = snapshot_guest(input->snapshot, away->step.guest);
		if (guest && drain_may_run_beside(input, guest) && home_child(drainer, away, guest, &step, &child))
			return child_step(drainer, &step, &child);
	}
	return false;
}

bool drain_home_all(struct drainer *drainer, const struct guest_index *guests, drain_take_fn *take, void *user)
{
	const struct plan_input *input = drainer->input;
	CLEANUP_FREE bool *back = calloc(input->snapshot->guest_count + 1, sizeof(*back));
	struct wish child;
	struct step step;

	for (size_t i = 0; back && i < input->history_count; i++) {
		const struct step_record *away = &input->history[i];
		const struct snapshot_guest *guest =
			is_far_from_home(drainer, away) ? guest_index_find(guests, away->step.guest) : NULL;

		if (!guest || back[guest - input->snapshot->guests] ||
		    !home_child(drainer, away, guest, &step, &child))
			continue;
		back[guest - input->snapshot->guests] = true;
		step.child = &child;
		if (!take(user, &step))
			return false;
	}
	return back != NULL;
}
