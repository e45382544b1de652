/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a passed-through device pins went away by being unplugged and plugged again (move_replug.c). The undo of that move gives
 * back the policies, by which memory would come to its old node again, and moves nothing. So a move home follows, the same
 * way and by the consents that the drain had, before the cordon goes.
 *
 * By its policies it is told what is not at home. A guest whose policies name that node as well is left as it is, and told:
 * such a move would bring along what it has there by right. So is one that somebody else has changed or moved since.
 */
#include "drain_priv.h"

#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"

/* Of the wish's own drain (0), or of one of the others. */
static struct undo_owner owner_at(const struct plan_input *input, size_t which)
{
	return undo_owner_of(input, which ? &input->drains[which - 1] : NULL);
}

/* Was it a move of all that the guest had on a node, and are its policies back, and nobody else's? */
static bool is_undone(const struct plan_input *input, const char *operation, const struct step_record *away)
{
	const struct step_record *undo = undo_bar_undo_of(input, operation, away->n);
	const struct wish *child = away->step.child;

	return away->step.kind == STEP_KIND_CHILD && child && child->kind == OPERATION_KIND_MOVE &&
	       child->move.form == MOVE_FORM_MAP && !child->move.range_count && !step_brings_home(&away->step) &&
	       !remainder_list_has(&away->remainder, REMAINDER_CHANGED_SINCE) &&
	       (away->state == STEP_STATE_UNDONE || (undo && undo->state == STEP_STATE_DONE));
}

/* The first of its guest: later ones brought away what had slipped. */
static bool is_first(const struct plan_input *input, const struct undo_owner *owner, size_t index)
{
	if (!is_undone(input, owner->operation, &owner->steps[index]))
		return false;
	for (size_t i = 0; i < index; i++)
		if (strcmp(owner->steps[i].step.guest, owner->steps[index].step.guest) == 0 &&
		    is_undone(input, owner->operation, &owner->steps[i]))
			return false;
	return true;
}

/* On most hosts there is none, and steps need not be gone through. */
static bool is_any_passed(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (snapshot->guests[i].vfio)
			return true;
	return false;
}

struct pinned_away {
	const struct snapshot_guest *guest;
	int node;	/* where most of it is */
	uint64_t bytes;
	struct wish home; /* the move */
};

/* What its policies have elsewhere. False: nothing. */
static bool find_pinned(const struct plan_input *input, const struct step_record *away, struct pinned_away *ret_pinned)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, away->step.guest);
	struct pinned_away pinned = {.guest = guest};
	uint64_t most = 0;

	if (!guest || !guest->vfio || !plan_guest_runs(guest) || guest->policy_mode == POLICY_MODE_DEFAULT)
		return false;
	wish_init(&pinned.home, OPERATION_KIND_MOVE);
	memcpy(pinned.home.guest, guest->uuid, sizeof(pinned.home.guest));
	pinned.home.allow = away->step.child->allow;
	pinned.home.move.form = MOVE_FORM_MAP;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		int there = away->step.child->move.map[node];

		if (there < 0 || !guest->node_bytes[there] || guest->policy_nodes >> there & 1)
			continue;
		if (pinned.home.move.map[there] < 0)
			pinned.bytes += guest->node_bytes[there];
		if (guest->node_bytes[there] > most) {
			most = guest->node_bytes[there];
			pinned.node = there;
		}
		pinned.home.move.map[there] = (int8_t)node;
	}
	*ret_pinned = pinned;
	return pinned.bytes > 0;
}

static bool can_leave(const struct plan_input *input, const struct pinned_away *pinned)
{
	struct plan_input child = {
		.wish = &pinned->home, .snapshot = input->snapshot, .limits = input->limits, .now_ms = input->now_ms};
	struct move_replug replug;
	struct move_goal goal;

	if (!(pinned->home.allow >> CONSENT_SHRINK_GUESTS & 1))
		return false;
	move_goal_find(&child, pinned->guest, &goal);
	move_replug_find(&child, pinned->guest, &goal, NULL, &replug);
	return replug.portion_bytes > 0;
}

static const struct step_record *move_home(const struct plan_input *input, const char *guest)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (step_brings_home(&input->history[i].step) && strcmp(input->history[i].step.guest, guest) == 0)
			return &input->history[i];
	return NULL;
}

static bool home_step(const struct plan_input *input, const struct step_record *away, const struct pinned_away *pinned,
		      struct decision *decision)
{
	struct step step;

	plan_step_init(&step, STEP_KIND_CHILD, pinned->guest);
	step.child = malloc(sizeof(*step.child));
	/* Then it is told as what stays away. */
	if (!step.child)
		return false;
	*step.child = pinned->home;
	memcpy(step.child->drain, input->wish->drain, sizeof(step.child->drain));
	step.node = pinned->node;
	step.nodes = plan_node_bit(away->step.node);
	step.bytes = pinned->bytes;
	memcpy(step.text, STEP_TEXT_HOME, sizeof(STEP_TEXT_HOME));
	plan_decide(decision, &step);
	return true;
}

bool undrain_home_next(const struct plan_input *input, struct decision *decision)
{
	bool is_any = is_any_passed(input->snapshot);
	struct pinned_away pinned;

	for (size_t which = 0; is_any && which <= input->drain_count; which++) {
		struct undo_owner owner = owner_at(input, which);

		for (size_t i = undrain_keep_has(input, owner.drain) ? 0 : owner.count; i-- > 0;)
			if (is_first(input, &owner, i) && find_pinned(input, &owner.steps[i], &pinned) &&
			    !move_home(input, pinned.guest->uuid) && can_leave(input, &pinned) &&
			    home_step(input, &owner.steps[i], &pinned, decision))
				return true;
	}
	return false;
}

/* It came where the guest has other memory by its policies, from which nothing tells it. */
static void warn_of_mixed(const struct plan_input *input, const struct step_record *away, struct remainder_list *warnings)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, away->step.guest);
	uint64_t there = 0;
	char object[96], nodes[32];

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (away->step.child->move.map[node] >= 0)
			there |= plan_node_bit(away->step.child->move.map[node]);
	if (guest && guest->vfio && plan_guest_runs(guest) && away->bytes_done && guest->policy_nodes & there)
		remainder_list_add(warnings, REMAINDER_VFIO_PINNED, plan_guest_object(guest, object), away->bytes_done,
				   "resize it down and up again, or detach the device and move it",
				   "may still be on node %s, where it has other memory too: a passed-through device pins it",
				   plan_nodes_text(there, nodes));
}

void undrain_home_tell(const struct plan_input *input, struct remainder_list *list, struct remainder_list *warnings)
{
	bool is_any = is_any_passed(input->snapshot);
	struct pinned_away pinned;
	char object[96];

	for (size_t which = 0; is_any && which <= input->drain_count; which++) {
		struct undo_owner owner = owner_at(input, which);

		for (size_t i = 0; i < owner.count; i++) {
			if (undrain_keep_has(input, owner.drain) || !is_first(input, &owner, i))
				continue;
			if (find_pinned(input, &owner.steps[i], &pinned))
				remainder_list_add(list, REMAINDER_VFIO_PINNED, plan_guest_object(pinned.guest, object),
						   pinned.bytes, "move it with --allow shrink_guests, or detach the device first",
						   "still on node %d: a passed-through device pins it", pinned.node);
			else
				warn_of_mixed(input, &owner.steps[i], warnings);
		}
	}
}
