/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a drain be begun? The target is looked at first: what can never go offline, or be ejected;
 * then every guest in it, one after the other, as the drain itself would move it.
 */
#include "plan_check_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "crash_risk.h"
#include "drain_layout.h"
#include "drain_part.h"
#include "drain_shrink.h"
#include "movability.h"
#include "size_text.h"

static bool same_target(const struct snapshot_hold *hold, const struct wish_drain *wish)
{
	switch (wish->target) {
	case DRAIN_TARGET_DIMM:
		return strcmp(hold->dimm, wish->dimm) == 0;
	case DRAIN_TARGET_NODE:
		return hold->node == wish->node;
	case DRAIN_TARGET_RANGE:
		return hold->node < 0 && !hold->dimm[0] && hold->range_count == 1 &&
		       hold->ranges[0].start == wish->range.start && hold->ranges[0].end == wish->range.end;
	case DRAIN_TARGET_COUNT:
		break;
	}
	return false;
}

/* Has the drain its own hold already? Then it was let in, and is only looked at once more before it begins. */
static bool has_own_hold(const struct plan_input *input)
{
	for (size_t i = 0; i < input->snapshot->hold_count; i++)
		if (strcmp(input->snapshot->holds[i].drain, input->wish->drain) == 0)
			return true;
	return false;
}

/*
 * Holds of the same target are counted like any that overlap. In the way is one whose drain does, has done or will do what is
 * asked for; not one that only keeps others away, nor one whose drain has ended before it was done.
 */
static bool is_in_the_way(const struct plan_input *input, const struct snapshot_hold *hold)
{
	const struct wish_drain *wish = &input->wish->drain_wish;

	if (!same_target(hold, wish))
		return false;
	if (wish->finish == DRAIN_FINISH_CORDON)
		return true;
	switch (hold->work) {
	case SNAPSHOT_HOLD_CORDONS:
	case SNAPSHOT_HOLD_STOPPED:
		return false;
	case SNAPSHOT_HOLD_ANNOUNCED:
		return wish->not_before_ms > input->now_ms;
	case SNAPSHOT_HOLD_EMPTIES:
		break;
	}
	return true;
}

static void check_holds(struct plan_check *check, const char *object)
{
	const struct plan_input *input = check->input;

	if (has_own_hold(input))
		return;
	for (size_t i = 0; i < input->snapshot->hold_count; i++)
		if (is_in_the_way(input, &input->snapshot->holds[i]))
			plan_check_block(check, "target_held", REMAINDER_HELD, object, 0, "undrain that one first",
					 "drain %s holds it already", input->snapshot->holds[i].drain);
}

/* False where there is nothing to look at any closer. */
static bool check_target(struct plan_check *check, const struct drain_scope *scope, const char *object)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	const struct snapshot *snapshot = check->input->snapshot;
	const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, wish->dimm);

	if (wish->target == DRAIN_TARGET_DIMM && !dimm) {
		plan_check_block(check, "unknown_dimm", REMAINDER_UNKNOWN_TARGET, object, 0,
				 "list them with ballastctl dimms", "there is no such DIMM");
		return false;
	}
	if (wish->target == DRAIN_TARGET_NODE && !snapshot_node(snapshot, wish->node)) {
		plan_check_block(check, "unknown_node", REMAINDER_UNKNOWN_TARGET, object, 0,
				 "list the nodes with ballastctl nodes", "there is no such node");
		return false;
	}
	if (wish->target == DRAIN_TARGET_DIMM && snapshot_dimm_is_out(dimm)) {
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0, "", "it is not there any more");
		return false;
	}
	if (wish->target == DRAIN_TARGET_DIMM && snapshot_dimm_is_detached(dimm)) {
		plan_check_block(check, "invalid_target", REMAINDER_EJECT_REFUSED, object, 0, NULL,
				 "the firmware has it, and the kernel no memory of it, as after an eject that was refused");
		return false;
	}
	if (wish->target == DRAIN_TARGET_RANGE) {
		uint64_t unit = snapshot->block_bytes;

		if (wish->range.start >= wish->range.end) {
			plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0,
					 "give a start below the end", "the range is empty");
			return false;
		}
		if (unit && (wish->range.start % unit || wish->range.end % unit))
			plan_check_block(check, "not_block_multiple", REMAINDER_INVALID, object, 0,
					 "give bounds of whole blocks",
					 "its bounds are no multiples of the block size 0x%" PRIx64, unit);
	}
	if (!scope->blocks) {
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0, "", "there is no memory in it");
		return false;
	}
	/* What is left out would stay, and the drain would be called done. */
	if (scope->is_cut)
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0,
				 "drain its DIMMs or ranges one by one", "its memory lies in more than %d pieces",
				 SNAPSHOT_RANGES_MAX);
	check_holds(check, object);
	return true;
}

/* Blocks that can never go offline, as runs. */
static void check_blocks(struct plan_check *check, const struct drain_scope *scope)
{
	const struct snapshot *snapshot = check->input->snapshot;

	for (size_t i = 0; i < snapshot->block_count;) {
		const struct snapshot_block *first = &snapshot->blocks[i];
		struct movability movability = {0};
		uint64_t last = first->id;
		const char *way_out;
		size_t next = i;
		char object[96];

		if (first->state == BLOCK_STATE_OFFLINE || first->zone == BLOCK_ZONE_MOVABLE ||
		    !drain_scope_has(scope, first)) {
			i++;
			continue;
		}
		while (next < snapshot->block_count && snapshot->blocks[next].zone == first->zone &&
		       snapshot->blocks[next].state == first->state &&
		       snapshot->blocks[next].hotpluggable == first->hotpluggable &&
		       snapshot->blocks[next].id == first->id + (next - i) &&
		       drain_scope_has(scope, &snapshot->blocks[next])) {
			movability_add(&movability, &snapshot->blocks[next]);
			last = snapshot->blocks[next++].id;
		}
		way_out = movability_way_out(snapshot, &movability);
		if (last == first->id)
			snprintf(object, sizeof(object), "block %" PRIu64, last);
		else
			snprintf(object, sizeof(object), "blocks %" PRIu64 "-%" PRIu64, first->id, last);
		if (first->zone == BLOCK_ZONE_NONE)
			plan_check_block(check, "not_movable", REMAINDER_NOT_MOVABLE, object, movability.fixed_bytes, NULL,
					 "they span zones or nodes and can never go offline");
		else
			plan_check_block(check, "kernel_memory", REMAINDER_KERNEL_MEMORY, object, movability.fixed_bytes, way_out,
					 "in zone %s, where the kernel keeps its own memory",
					 block_zone_name(first->zone));
		i = next;
	}
}

/* Guests would be moved for nothing. */
static void check_hotplug(struct plan_check *check)
{
	const char *text = check->input->snapshot->hotplug_stuck;

	if (text[0])
		plan_check_block(check, "kernel_stuck", REMAINDER_KERNEL_STUCK, "host", 0, NULL, "%s", text);
}

static void check_eject(struct plan_check *check, const struct drain_scope *scope)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	if (wish->target == DRAIN_TARGET_RANGE) {
		plan_check_block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE,
				 wish_target(check->input->wish, object), 0, "drain the DIMM by its name",
				 "a range is no device that could be ejected");
		return;
	}
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &snapshot->dimms[i];

		if (snapshot_dimm_is_out(dimm))
			continue;
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		/* The drain would have no device to eject, and would be called done. */
		if (drain_scope_cuts_dimm(check->input, scope, dimm)) {
			plan_check_block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE, object, 0,
					 dimm->ejectable ? "drain it by its name with --eject, or the node with --offline"
							 : NULL,
					 "it has memory on other nodes too, and is not ejected with one of them");
			continue;
		}
		if (!drain_scope_has_dimm(wish, dimm) || dimm->ejectable)
			continue;
		plan_check_block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE, object, 0, NULL,
				 "the firmware offers no eject for it");
	}
	/* A node whose memory is no device at all. */
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *seen = &snapshot->blocks[i];
		bool inside = false;

		if (!drain_scope_has(scope, seen))
			continue;
		for (size_t d = 0; d < snapshot->dimm_count; d++)
			inside = inside || snapshot_block_is_in(seen, snapshot->dimms[d].ranges,
								snapshot->dimms[d].range_count);
		if (inside)
			continue;
		plan_check_block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE,
				 wish_target(check->input->wish, object), 0, NULL,
				 "block %" PRIu64 " belongs to no device that could be ejected", seen->id);
		return;
	}
}

/* Farther from the vCPUs than it was, and the vCPUs cannot follow. */
static void check_remote(struct plan_check *check, const struct drain_scope *scope, const struct snapshot_guest *guest,
			 const struct wish *child)
{
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	if (!guest->cpus_pinned || !guest->cpu_nodes)
		return;
	for (int from = 0; from < SNAPSHOT_NODES_MAX; from++) {
		uint8_t before, after;

		if (child->move.map[from] < 0)
			continue;
		before = plan_cpu_distance(snapshot, guest, from);
		after = plan_cpu_distance(snapshot, guest, child->move.map[from]);
		if (after > before)
			plan_check_ask(check, CONSENT_REMOTE_MEMORY, REMAINDER_CONSENT_REQUIRED,
				       plan_guest_object(guest, object),
				       child->move.range_count
					       ? drain_scope_node_bytes(snapshot, scope, guest, from)
					       : guest->node_bytes[from],
				       "its memory would be at distance %u from its pinned vCPUs instead of "
				       "%u",
				       after, before);
	}
}

static void check_stored(struct plan_check *check, const struct snapshot_guest *guest, const struct drain_scope *scope)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	char object[96], nodes[32];
	uint64_t gone = guest->stored_numatune_nodes & scope->whole_nodes;

	if (!gone || wish->persist || wish->finish == DRAIN_FINISH_EMPTY ||
	    (guest->numatune_mode != NUMATUNE_MODE_STRICT && guest->numatune_mode != NUMATUNE_MODE_RESTRICTIVE))
		return;
	plan_check_ask(check, CONSENT_STORED_XML, REMAINDER_STORED_XML, plan_guest_object(guest, object), 0,
		       "stored XML still says node %s, which will have no memory: it could not start again "
		       "(--persist changes it)",
		       plan_nodes_text(gone, nodes));
}

/* What shrinking guests comes to, for a refusal: it would be enough, or not even that is. */
static const char *shrink_text(const struct plan_check *check, const struct drain_shrink *shrink, char text[96])
{
	bool allowed = check->input->wish->allow >> CONSENT_SHRINK_GUESTS & 1;
	char bytes[SIZE_TEXT_SIZE];

	text[0] = '\0';
	if (shrink->is_enough)
		snprintf(text, 96, "; shrinking guests by %s makes room",
			 size_text_format(shrink->bytes, bytes));
	else if (shrink->could_bytes)
		snprintf(text, 96, "; of guests that can spare it no more than %s could be shrunk there",
			 size_text_format(shrink->could_bytes, bytes));
	else if (allowed)
		snprintf(text, 96, "; no guest can spare any that lies there");
	return text;
}

/* A lack of room, which a consent lifts where shrinking guests is enough. */
static void block_no_room(struct plan_check *check, const struct drain_shrink *shrink, const char *object,
			  uint64_t bytes, const char *way_out, const char *text)
{
	if (shrink->is_enough)
		plan_check_ask(check, CONSENT_SHRINK_GUESTS, REMAINDER_NO_ROOM, object, bytes, "%s", text);
	else
		plan_check_block(check, "no_room", REMAINDER_NO_ROOM, object, bytes, way_out, "%s", text);
}

/* What a node would have for the guest were none of it there: pieces of it are no place. */
static void add_own_pieces(const struct drain_layout *layout, size_t index, uint64_t room[SNAPSHOT_NODES_MAX])
{
	for (size_t i = layout->firsts[index]; i < layout->firsts[index + 1]; i++) {
		const struct drain_place_fate *fate = &layout->placed.fates[i];

		for (size_t j = fate->first_flow; j < fate->first_flow + fate->flow_count && fate->is_split; j++)
			room[layout->placed.flows[j].node] += layout->placed.flows[j].bytes;
	}
}

/* Only in pieces it would have room: what is missing for all of it on the node that has most. */
static void split_way_out(const struct drain_layout *layout, const struct drain_place_fate *fate,
			  const uint64_t room[SNAPSHOT_NODES_MAX], char text[160])
{
	uint64_t bytes = 0, nodes = 0;
	char missing[SIZE_TEXT_SIZE], names[32];
	int most = layout->placed.flows[fate->first_flow].node;

	for (size_t i = fate->first_flow; i < fate->first_flow + fate->flow_count; i++) {
		const struct drain_place_flow *flow = &layout->placed.flows[i];

		bytes += flow->bytes;
		nodes |= plan_node_bit(flow->node);
		most = room[flow->node] > room[most] ? flow->node : most;
	}
	snprintf(text, 160, "free %s more on node %d, or make it smaller: nodes %s have room for pieces, but a move takes what a "
		 "node has to one other", size_text_format(bytes - plan_min(bytes, room[most]), missing), most,
		 plan_nodes_text(nodes, names));
}

/* A guest that has no place: what it needs, what there is, and what is missing where. */
static void tell_no_room(struct plan_check *check, const struct drain_shrink *shrink, size_t index, uint64_t bytes)
{
	const struct drain_layout *layout = &shrink->plain;
	const struct snapshot_guest *guest = &check->input->snapshot->guests[index];
	const struct drain_place_fate *fate = drain_layout_unplaced(layout, index);
	char object[96], rooms[112], needs[SIZE_TEXT_SIZE], missing[SIZE_TEXT_SIZE], lacks[48] = "";
	char text[256], shrinking[96], way_out[160] = "";
	uint64_t room[SNAPSHOT_NODES_MAX];

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		room[node] = drain_layout_room(layout, guest, node);
	add_own_pieces(layout, index, room);
	if (guest->cpuset_limit)
		snprintf(way_out, sizeof(way_out), "free memory there, or give its slice (AllowedMemoryNodes=) more nodes");
	else if (fate->is_split)
		split_way_out(layout, fate, room, way_out);
	plan_check_rooms_text(room, drain_scope_destinations(check->input, layout->scope, guest), rooms);
	if (fate->is_split)
		snprintf(lacks, sizeof(lacks), ", on one node");
	else if (fate->missing_node >= 0)
		snprintf(lacks, sizeof(lacks), ", and node %d lacks %s for it", fate->missing_node,
			 size_text_format(fate->missing_bytes, missing));
	snprintf(text, sizeof(text), "it needs %s%s%s; beyond the reserve and all others: %s", size_text_format(bytes, needs),
		 lacks, shrink_text(check, shrink, shrinking), rooms);
	block_no_room(check, shrink, plan_guest_object(guest, object), bytes, way_out[0] ? way_out : NULL, text);
}

/* As the drain itself would move it, with guests as they are by then. */
static void check_guest(struct plan_check *check, const struct drain_shrink *shrink, size_t index, uint64_t bytes)
{
	const struct drain_layout *layout = shrink->is_enough ? &shrink->shrunk : &shrink->plain;
	const struct plan_input *input = check->input;
	const struct snapshot_guest *guest = &input->snapshot->guests[index];
	struct plan_input child_input = *input;
	struct wish child;
	struct step step;

	if (drain_layout_unplaced(&shrink->plain, index)) {
		if (!shrink->is_enough)
			plan_check_movable(check, guest, bytes);
		tell_no_room(check, shrink, index, bytes);
	}
	if (drain_scope_stays_within(input, layout->scope))
		plan_check_movable(check, guest, bytes);
	/* Without a place, or it goes by becoming smaller, or with its blocks. */
	if (!drain_layout_child(layout, index, &step, &child))
		return;
	child_input.wish = &child;
	child_input.history_count = 0;
	check->input = &child_input;
	plan_check_move_of(check, guest, false);
	check->input = input;
	check_remote(check, layout->scope, guest, &child);
	check_stored(check, guest, layout->scope);
}

/* What no guest has goes along with the blocks, and must have room as well. */
static void check_host(struct plan_check *check, const struct drain_shrink *shrink)
{
	const struct drain_layout *layout = &shrink->plain;
	const struct snapshot *snapshot = check->input->snapshot;
	uint64_t nodes = drain_scope_free_nodes(check->input, layout->scope);

	for (size_t i = 0; i < snapshot->node_count; i++) {
		uint64_t missing = drain_layout_host_missing(layout, snapshot->nodes[i].id), room[SNAPSHOT_NODES_MAX];
		char object[96], rooms[112], bytes[SIZE_TEXT_SIZE], text[256], shrinking[96];

		if (!missing)
			continue;
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
			room[node] = plan_room(check->input, node, layout->scope->whole_nodes);
		plan_check_rooms_text(room, nodes, rooms);
		snprintf(object, sizeof(object), "node %d", snapshot->nodes[i].id);
		size_text_format(drain_scope_host_bytes(check->input, layout->scope, snapshot->nodes[i].id), bytes);
		snprintf(text, sizeof(text),
			 "processes and page cache have %s there%s; beyond the reserve, for guests and that: %s", bytes,
			 shrink_text(check, shrink, shrinking), rooms);
		block_no_room(check, shrink, object, missing, NULL, text);
	}
}

/* A part of the only node: all that is in it has to find room in what stays. */
static void check_within(struct plan_check *check, const struct drain_scope *scope)
{
	int node = plan_first_node(scope->nodes);
	char object[96], bytes[SIZE_TEXT_SIZE], room[SIZE_TEXT_SIZE];

	if (!drain_scope_stays_within(check->input, scope) || drain_part_holds_all(check->input, scope, node))
		return;
	snprintf(object, sizeof(object), "node %d", node);
	size_text_format(scope->node_bytes[node], bytes);
	size_text_format(plan_room(check->input, node, scope->whole_nodes), room);
	plan_check_block(check, "no_room", REMAINDER_NO_ROOM, object, scope->node_bytes[node], NULL,
			 "no other node has memory, and of this one %s are to go, where %s are free beyond the reserve", bytes,
			 room);
}

/* False where memory is short. */
static bool check_guests(struct plan_check *check, const struct drain_scope *scope)
{
	size_t count = 0;
	/* In the order in which they go. */
	CLEANUP_FREE struct drain_scope_guest *guests = drain_scope_guests(check->input, scope, &count);
	CLEANUP(drain_shrink_done) struct drain_shrink shrink = {0};

	if (!guests || drain_shrink_find(check->input, scope, &shrink) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		check_guest(check, &shrink, guests[i].index, guests[i].bytes);
	check_host(check, &shrink);
	check_within(check, scope);
	return true;
}

int plan_check_child(const struct plan_input *input, const struct drain_scope *scope,
		     const struct snapshot_guest *guest, const struct wish *child, struct remainder_list *ret_blockers)
{
	struct remainder_list blockers = {0}, all = {0};
	struct failure failure = {0};
	struct plan_input child_input = *input;
	struct plan_check check = {
		.input = input, .blockers = &all, .failure = &failure, .action = "cannot move", .scope = scope};

	if (child) {
		child_input.wish = child;
		child_input.history_count = 0;
		check.input = &child_input;
		plan_check_move_of(&check, guest, false);
		check.input = input;
		check_remote(&check, scope, guest, child);
		check_stored(&check, guest, scope);
	} else {
		plan_check_movable(&check, guest, drain_scope_guest_bytes(input, scope, guest));
	}
	crash_risk_check_guest(&check, scope, guest);
	/* Without that consent the move itself leaves whatever it would have to split. */
	for (size_t i = 0; i < all.count; i++)
		if (all.items[i].code != REMAINDER_WOULD_SPLIT)
			remainder_list_add_copy(&blockers, &all.items[i]);
	*ret_blockers = blockers;
	return blockers.count ? -EPERM : 0;
}

void plan_check_drain(struct plan_check *check)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	struct drain_scope scope;
	char object[96];

	drain_scope_find(check->input, &scope);
	if (!check_target(check, &scope, wish_target(check->input->wish, object)) ||
	    wish->finish == DRAIN_FINISH_CORDON)
		return;
	if (wish->finish != DRAIN_FINISH_EMPTY) {
		check_blocks(check, &scope);
		check_hotplug(check);
	}
	if (wish->finish == DRAIN_FINISH_EJECT)
		check_eject(check, &scope);
	crash_risk_check_drain(check, &scope);
	check->scope = &scope;
	if (!check_guests(check, &scope))
		plan_check_block(check, "no_memory", REMAINDER_INVALID, "ballastd", 0, "ask again", "memory is short");
	check->scope = NULL;
}

/* What a device pins leaves the guest for a while. */
static void warn_of_replugged(const struct plan_input *input, const struct drain_layout *layout, size_t index,
			      struct remainder_list *warnings)
{
	const struct snapshot_guest *guest = &input->snapshot->guests[index];
	struct plan_input child_input = *input;
	char object[96], portion[SIZE_TEXT_SIZE];
	struct move_replug replug;
	struct move_goal goal;
	struct wish child;
	struct step step;

	if (!guest->vfio || !drain_layout_child(layout, index, &step, &child))
		return;
	child_input.wish = &child;
	child_input.history_count = 0;
	move_goal_find(&child_input, guest, &goal);
	move_replug_find(&child_input, guest, &goal, layout->scope, &replug);
	if (replug.covered_bytes)
		remainder_list_add(warnings, REMAINDER_VFIO_PINNED, plan_guest_object(guest, object), replug.covered_bytes,
				   "",
				   "unplugged and plugged again elsewhere, %s at a time: an undrain brings it home the same "
				   "way",
				   size_text_format(replug.portion_bytes, portion));
}

/* Huge pages that a move will have to make, where that may fail: its own plan tells it only once the drain has begun. */
static void warn_of_pages(const struct plan_input *input, const struct drain_layout *layout, size_t index,
			  struct remainder_list *warnings)
{
	const struct snapshot_guest *guest = &input->snapshot->guests[index];
	struct plan_input child_input = *input;
	struct decision decision = {0};
	struct mover mover = {.input = &child_input, .guest = guest, .decision = &decision};
	struct wish child;
	struct step step;

	if (!plan_guest_next_size(guest, 0) || !drain_layout_child(layout, index, &step, &child))
		return;
	child_input.wish = &child;
	child_input.history_count = 0;
	move_goal_find(&child_input, guest, &mover.goal);
	plan_guest_object(guest, mover.object);
	move_pool_warn(&mover);
	remainder_list_append(warnings, &decision.warnings);
}

/* No move of ours goes before the blocks, none that keeps a pace. */
static void warn_of_within(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *warnings)
{
	uint64_t bytes = 0;

	if (!drain_scope_stays_within(input, scope))
		return;
	for (size_t i = 0; i < input->snapshot->guest_count; i++)
		bytes += drain_scope_guest_bytes(input, scope, &input->snapshot->guests[i]);
	if (bytes)
		remainder_list_add(warnings, REMAINDER_INVALID, "host", bytes, "",
				   "no other node has memory: what guests have there the kernel moves itself, within the node, at "
				   "its own pace");
}

/* Cells that are apart now, and will not be; and memory that cannot be moved. */
static void warn_of_layout(const struct plan_input *input, const struct drain_scope *scope,
			   struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP(drain_layout_done) struct drain_layout layout = {0};
	char object[96];

	warn_of_within(input, scope, warnings);
	/* The check beside it has told that memory is short. */
	if (drain_layout_find(input, scope, &layout) < 0)
		return;
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		int node = drain_layout_merged(&layout, i);

		warn_of_replugged(input, &layout, i, warnings);
		warn_of_pages(input, &layout, i, warnings);
		if (node >= 0)
			remainder_list_add(warnings, REMAINDER_NO_ROOM, plan_guest_object(&snapshot->guests[i], object),
					   0, NULL, "its cells come together on node %d: no other has room for them",
					   node);
	}
}

/* More than one slot of the board: nobody shall pull the one whose name he knows. */
static void warn_of_slots(const struct snapshot_dimm *dimm, const char *object, struct remainder_list *warnings)
{
	char names[80];

	if (dimm->slot_count < 2 && (dimm->slot_count == 0 || dimm->interleaved != ANSWER_YES))
		return;
	snapshot_dimm_slot_names(dimm, names, sizeof(names));
	remainder_list_add(warnings, REMAINDER_INTERLEAVED, object, 0, "pull none of them before all of it is drained",
			   dimm->interleaved == ANSWER_YES ? "its addresses are interleaved over slots %s (%s)"
							   : "its addresses are those of slots %s (%s)",
			   names, confidence_name(dimm->confidence));
}

/* Pages that the kernel can move nowhere. Where they are a guest's it is also asked for its consent and for room. */
static void warn_of_pools(const struct snapshot *snapshot, const struct drain_scope *scope, struct remainder_list *warnings)
{
	for (size_t i = 0; i < snapshot->node_count; i++) {
		int node = snapshot->nodes[i].id;
		char object[32];

		if (!(scope->nodes & plan_node_bit(node)) || !movability_is_barred_by_pools(snapshot, node))
			continue;
		snprintf(object, sizeof(object), "node %d", node);
		movability_remain_pools(snapshot, node, object, warnings);
	}
}

static bool is_of_guest(const struct snapshot *snapshot, int pid)
{
	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (snapshot->guests[i].pid == pid)
			return true;
	return false;
}

/*
 * How much of it may lie in the target, at most: it is pinned by the process, and its control group has that much on the nodes
 * of the target. 0: nothing.
 */
static uint64_t pinned_there(const struct drain_scope *scope, const struct snapshot_pinner *pinner)
{
	uint64_t target = 0, there = 0;

	for (uint64_t rest = scope->nodes; rest; rest &= rest - 1) {
		int node = plan_first_node(rest);

		target += scope->node_bytes[node];
		there += pinner->node_bytes[node];
	}
	return plan_min(plan_min(pinner->pinned_bytes, target), pinner->has_nodes ? there : UINT64_MAX);
}

/* What the kernel counts as pinned goes with no block. Of guests their moves tell it. */
static void warn_of_pinners(const struct snapshot *snapshot, const struct drain_scope *scope, struct remainder_list *warnings)
{
	static const char way_out[] = "have a hook in drain.d see to it that it lets go, or stop it";
	const struct snapshot_pinners *pinners = &snapshot->pinners;
	char object[96], bytes[SIZE_TEXT_SIZE], nodes[32];

	plan_nodes_text(scope->nodes, nodes);
	for (size_t i = 0; i < pinners->count; i++) {
		const struct snapshot_pinner *pinner = &pinners->items[i];
		uint64_t there = is_of_guest(snapshot, pinner->pid) ? 0 : pinned_there(scope, pinner);

		if (!there)
			continue;
		snprintf(object, sizeof(object), "process %d (%s)", pinner->pid, pinner->name);
		remainder_list_add(warnings, REMAINDER_PINNED, object, there, way_out,
				   "up to that much of the %s that it has pinned may lie in the target, on node %s%s: no block "
				   "goes offline with such a page",
				   size_text_format(pinner->pinned_bytes, bytes), nodes,
				   pinner->has_nodes ? "" : " as on any other");
	}
	if (pinners->unlisted)
		remainder_list_add(warnings, REMAINDER_PINNED, "other processes", 0, way_out,
				   "%" PRIu64 " more have %s pinned, which may lie in the target", pinners->unlisted,
				   size_text_format(pinners->unlisted_bytes, bytes));
	if (pinners->untold[0])
		remainder_list_add(warnings, REMAINDER_NOT_SURVEYED, "processes", 0, NULL,
				   "which of them have memory pinned is not known: %s", pinners->untold);
}

/* Who may run there among others is told at once: on most hosts that is every guest. */
static void warn_of_unpinned(const struct plan_input *input, const struct drain_scope *scope,
			     struct remainder_list *warnings)
{
	uint64_t may_run = 0;
	size_t count = 0;
	char nodes[32];

	for (size_t i = 0; i < input->snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &input->snapshot->guests[i];

		if (!plan_guest_runs(guest) || guest->cpus_pinned || !(guest->cpu_nodes & scope->whole_nodes))
			continue;
		may_run |= guest->cpu_nodes & scope->whole_nodes;
		count++;
	}
	if (count)
		remainder_list_add(warnings, REMAINDER_REMOTE_MEMORY, "guests", 0,
				   "pin them elsewhere, or leave them: the CPUs stay usable",
				   "%zu guest%s without CPU pins may run on CPUs of node %s, which will have no memory", count,
				   count == 1 ? "" : "s", plan_nodes_text(may_run, nodes));
}

/* Nodes that keep their CPUs and lose their memory: what runs there has it far away from then on. */
static void warn_of_far_memory(const struct plan_input *input, const struct drain_scope *scope,
			       struct remainder_list *warnings)
{
	char object[96], nodes[32];

	/* First, so that it stands by itself where the others fill the list. */
	warn_of_unpinned(input, scope, warnings);
	for (size_t i = 0; i < input->snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &input->snapshot->guests[i];
		uint64_t vcpus = guest->cpus_pinned ? guest->cpu_nodes & scope->whole_nodes : 0;
		uint64_t emulator = guest->emulator_nodes & scope->whole_nodes;

		if (!plan_guest_runs(guest) || !(vcpus | emulator))
			continue;
		remainder_list_add(warnings, REMAINDER_REMOTE_MEMORY, plan_guest_object(guest, object), 0,
				   "pin them elsewhere, or leave them: the CPUs stay usable",
				   "its %s pinned to CPUs of node %s, which will have no memory",
				   !emulator ? "vCPUs are" :
				   !vcpus    ? "emulator threads are" :
					       "vCPUs and emulator threads are",
				   plan_nodes_text(vcpus | emulator, nodes));
	}
}

/* Of whom more may leave than lies in the target, because no survey has told that apart. */
static void warn_of_untold(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *warnings)
{
	char object[96];

	for (size_t i = 0; i < input->snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &input->snapshot->guests[i];

		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
			if (drain_scope_guest_leaves(input, scope, guest, node) &&
			    !drain_scope_is_exact(input->snapshot, scope, guest, node))
				remainder_list_add(warnings, REMAINDER_NOT_SURVEYED, plan_guest_object(guest, object),
						   guest->node_bytes[node], NULL,
						   "how much of it lies in the target is not known: all that it has on node "
						   "%d leaves",
						   node);
	}
}

/* Does it have huge pages of more than one size on the node? */
static bool has_several_sizes(const struct snapshot_guest *guest, int node)
{
	size_t sizes = 0;

	for (uint64_t page = plan_guest_next_size(guest, 0); page; page = plan_guest_next_size(guest, page))
		sizes += plan_guest_size_bytes(guest, node, guest->node_bytes[node], page) != 0;
	return sizes > 1;
}

/* A part of a node: which of the sizes lie in it no survey tells. */
static void warn_of_sizes(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *warnings)
{
	char object[96];

	for (size_t i = 0; i < input->snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &input->snapshot->guests[i];
		uint64_t smallest = plan_guest_next_size(guest, 0);
		bool keeps;

		/* Nearly no guest has. */
		if (!smallest || !plan_guest_next_size(guest, smallest))
			continue;
		keeps = drain_part_keeps(input, scope, guest);
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			uint64_t bytes = guest->node_bytes[node];

			if (keeps)
				bytes = drain_scope_node_bytes(input->snapshot, scope, guest, node);
			if (drain_scope_guest_leaves(input, scope, guest, node) && has_several_sizes(guest, node) &&
			    (!guest->huge_count || bytes < guest->node_bytes[node]))
				remainder_list_add(warnings, REMAINDER_NOT_SURVEYED, plan_guest_object(guest, object), bytes,
						   "have free huge pages of each of its sizes, or room for them, where it goes",
						   "how many of its huge pages of each size leave node %d is not known: each "
						   "size is taken for its share",
						   node);
		}
	}
}

void plan_check_drain_warnings(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;
	const struct snapshot_dimm *dimm;
	struct drain_scope scope;
	char object[96], nodes[32];

	drain_scope_find(input, &scope);
	dimm = snapshot_dimm(snapshot, input->wish->drain_wish.dimm);
	if (dimm)
		warn_of_slots(dimm, wish_target(input->wish, object), warnings);
	if (input->wish->drain_wish.finish != DRAIN_FINISH_CORDON) {
		warn_of_untold(input, &scope, warnings);
		warn_of_sizes(input, &scope, warnings);
		warn_of_layout(input, &scope, warnings);
	}
	if (input->wish->drain_wish.finish >= DRAIN_FINISH_OFFLINE) {
		warn_of_pools(snapshot, &scope, warnings);
		warn_of_pinners(snapshot, &scope, warnings);
		warn_of_far_memory(input, &scope, warnings);
	}
	if (input->wish->drain_wish.finish >= DRAIN_FINISH_OFFLINE && snapshot->hooks.trouble[0])
		remainder_list_add(warnings, REMAINDER_HOOK_FAILED, "hooks of the host", 0, NULL, "%s",
				   snapshot->hooks.trouble);
	crash_risk_warn_drain(input, &scope, warnings);
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];

		if (!drain_scope_guest_bytes(input, &scope, guest) || input->wish->drain_wish.persist ||
		    !(guest->stored_numatune_nodes & scope.nodes) || drain_part_keeps(input, &scope, guest))
			continue;
		remainder_list_add(warnings, REMAINDER_STORED_XML, plan_guest_object(guest, object), 0, NULL,
				   "stored XML still says node %s (--persist changes it)",
				   plan_nodes_text(guest->stored_numatune_nodes & scope.nodes, nodes));
	}
}
