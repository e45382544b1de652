/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_priv.h"

#include <string.h>

static const struct snapshot_guest *guest_of(const struct plan_input *input, const struct step_record *record)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, record->step.guest);

	return guest && plan_guest_runs(guest) ? guest : NULL;
}

/* One without a survey may have any. */
static bool may_have_huge_pages(const struct snapshot_guest *guest)
{
	return !guest->surveyed || plan_guest_huge_page(guest);
}

bool undo_beside_excludes(const struct plan_input *input, const struct step_record *first, const struct step_record *second)
{
	const struct snapshot_guest *a = guest_of(input, first), *b = guest_of(input, second);

	if (strcmp(first->step.guest, second->step.guest) == 0)
		return true;
	/* An undo makes each pool as large as its step found it, which is right in their order only. */
	return a && b && may_have_huge_pages(a) && may_have_huge_pages(b);
}

/* Nodes that it left. */
static uint64_t homes_of(const struct step_record *record)
{
	const struct wish *child = record->step.child;
	uint64_t nodes = 0;

	for (int node = 0; child && child->move.form == MOVE_FORM_MAP && node < SNAPSHOT_NODES_MAX; node++)
		if (child->move.map[node] >= 0)
			nodes |= plan_node_bit(node);
	return nodes ? nodes : plan_node_bit(record->step.node);
}

bool undo_beside_may(const struct plan_input *input, const struct step_record *record,
		     const struct step_record *const *running, size_t count)
{
	const struct snapshot_guest *guest = guest_of(input, record);
	uint64_t homes = homes_of(record), needs = record->bytes_done, room = 0;

	for (size_t i = 0; i < count; i++) {
		if (undo_beside_excludes(input, running[i], record))
			return false;
		/* What of it has come by now counts twice: how much that is nobody tells. */
		if (guest_of(input, running[i]) && homes_of(running[i]) & homes)
			needs += running[i]->bytes_done;
	}
	for (uint64_t rest = homes; guest && rest; rest &= rest - 1)
		room += plan_guest_room(input, guest, plan_first_node(rest), 0);
	return !guest || room >= needs;
}
