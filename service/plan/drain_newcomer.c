/* SPDX-License-Identifier: Apache-2.0 */
#include "drain_newcomer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "drain_priv.h"

static enum drain_newcomer_doubt doubt_of(const struct drain_scope *scope, const struct snapshot_guest *guest)
{
	const uint64_t *newest = snapshot_guest_newest_bytes(guest);
	uint64_t now = 0, seen = 0;

	if (!plan_guest_runs(guest))
		return DRAIN_NEWCOMER_SURE;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		now += scope->nodes >> node & 1 ? newest[node] : 0;
		seen += scope->nodes >> node & 1 ? guest->node_bytes[node] : 0;
	}
	/* A survey that has failed may fail again: no sooner than where nothing is counted. */
	if (guest->unsurveyed[0] || (guest->in_hugetlb && !guest->hugetlb_counted) ||
	    (guest->surveyed ? !guest->counted : !guest->overview_at_ms))
		return DRAIN_NEWCOMER_UNTOLD;
	if (!guest->surveyed)
		return now ? DRAIN_NEWCOMER_CHANGED : DRAIN_NEWCOMER_SURE;
	return drain_is_stray(guest, now > seen ? now - seen : seen - now) ? DRAIN_NEWCOMER_SURE : DRAIN_NEWCOMER_CHANGED;
}

/* By the rules that the drain has for its own guests; where it goes was planned for all of them together. */
static void judge(const struct plan_input *input, const struct drain_layout *layout, struct drain_newcomer *newcomer)
{
	const struct snapshot_guest *guest = &input->snapshot->guests[newcomer->guest];
	struct remainder_list why;
	bool fits = drain_layout_child(layout, newcomer->guest, &newcomer->step, &newcomer->move);
	char object[96];

	memcpy(newcomer->step.text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
	if (plan_check_child(input, layout->scope, guest, fits ? &newcomer->move : NULL, &why) == 0) {
		newcomer->may_move = fits;
		if (!fits)
			remainder_list_add(&newcomer->why, REMAINDER_NO_ROOM, plan_guest_object(guest, object),
					   newcomer->bytes, NULL, "no node that it may use has room for it");
		return;
	}
	for (size_t i = 0; i < why.count; i++) {
		why.items[i].bytes = i ? 0 : newcomer->bytes;
		/* The drain has ended, and can be allowed nothing more. */
		if (why.items[i].consent >= 0)
			snprintf(why.items[i].way_out, sizeof(why.items[i].way_out), "move it with --allow %s",
				 consent_name((enum consent)why.items[i].consent));
		remainder_list_add_copy(&newcomer->why, &why.items[i]);
	}
}

int drain_newcomers_find(const struct plan_input *input, struct drain_newcomers *ret_newcomers)
{
	const struct snapshot *snapshot = input->snapshot;
	/* Nothing of it comes home: what is online there is to stay empty. */
	struct wish empties = *input->wish;
	struct plan_input away = *input;
	struct drain_newcomers found = {0};
	CLEANUP(drain_layout_done) struct drain_layout layout = {0};
	struct drain_scope scope;
	bool is_any = false;

	memset(ret_newcomers, 0, sizeof(*ret_newcomers));
	empties.drain_wish.finish = DRAIN_FINISH_EMPTY;
	away.wish = &empties;
	away.history_count = 0;
	drain_scope_find(&away, &scope);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (scope.node_bytes[node])
			found.nodes |= plan_node_bit(node);
	if (!found.nodes)
		return 0;
	found.whole_nodes = found.nodes & scope.whole_nodes;
	found.items = calloc(snapshot->guest_count + 1, sizeof(*found.items));
	if (!found.items)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];
		uint64_t bytes = drain_scope_guest_bytes(&away, &scope, guest);
		struct drain_newcomer one = {.guest = i, .bytes = drain_is_stray(guest, bytes) ? 0 : bytes,
					     .doubt = doubt_of(&scope, guest)};

		if (one.bytes || one.doubt != DRAIN_NEWCOMER_SURE)
			found.items[found.count++] = one;
		is_any = is_any || one.bytes;
	}
	if (is_any && drain_layout_find(&away, &scope, &layout) < 0) {
		drain_newcomers_done(&found);
		return -ENOMEM;
	}
	for (size_t i = 0; i < found.count; i++)
		if (found.items[i].bytes)
			judge(input, &layout, &found.items[i]);
	*ret_newcomers = found;
	return 0;
}

void drain_newcomers_done(struct drain_newcomers *newcomers)
{
	free(newcomers->items);
	memset(newcomers, 0, sizeof(*newcomers));
}
