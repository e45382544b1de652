/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain:
 *
 *   cordon -> one child move for each guest, largest first -> pools -> offline -> bring home -> eject
 *                    ^                                                   |
 *                    +-------- once more, where guests came back <-------+
 *
 * Guests leave first, to nodes that the plan chose and that have room; what is left for the kernel
 * to move when the blocks go offline is then little, and lands in the cpuset of the worker, which
 * is the same nodes. Memory can be moved within a node only by offlining it from under its owner,
 * so a guest bound to a node of which only a part goes is moved away and brought back after.
 */
#include "drain_layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Moves of one guest: the first, one for what slipped, one after others came back. */
#define TRIES_MAX    3
#define OFFLINES_MAX 2

struct drainer {
	const struct plan_input *input;
	const struct wish_drain *wish;
	struct decision *decision;
	struct drain_scope scope;
	uint64_t guest_bytes; /* of all guests, in the scope */
	uint64_t rest_bytes;  /* the same, and what the host itself has there */
	bool is_stuck;	      /* a guest was never moved, because it has no place */
};

static bool emit(struct drainer *drainer, const struct step *step)
{
	plan_decide(drainer->decision, step);
	return true;
}

static bool cordon_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	struct step step;

	if (plan_count(input, STEP_KIND_CORDON))
		return false;
	plan_step_init(&step, STEP_KIND_CORDON, NULL);
	snprintf(step.text, sizeof(step.text), "%s", input->wish->drain);
	if (drainer->wish->target == DRAIN_TARGET_DIMM)
		memcpy(step.dimm, drainer->wish->dimm, sizeof(step.dimm));
	if (drainer->wish->target == DRAIN_TARGET_NODE)
		step.node = drainer->wish->node;
	step.range_count = drainer->scope.range_count;
	memcpy(step.ranges, drainer->scope.ranges, sizeof(step.ranges));
	step.undoable = true;
	return emit(drainer, &step);
}

/* The moves of this guest out of the scope; *ret_last is the latest of them. */
static size_t tries_of(const struct plan_input *input, const char *guest,
		       const struct step_record **ret_last)
{
	size_t tries = 0;

	*ret_last = NULL;
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind != STEP_KIND_CHILD || record->state == STEP_STATE_UNDONE ||
		    strcmp(record->step.guest, guest) != 0 || step_brings_home(&record->step))
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

static bool may_try(const struct plan_input *input, const struct snapshot_guest *guest)
{
	const struct step_record *last;
	size_t tries = tries_of(input, guest->uuid, &last);

	if (tries == 0)
		return true;
	return tries < TRIES_MAX && (last->bytes_done > 0 || since_offline(input, last));
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
	size_t tries = tries_of(drainer->input, guest->uuid, &last);

	if (plan_check_child(drainer->input, &drainer->scope, guest, child, &blockers) == 0)
		return false;
	for (size_t i = 0; i < blockers.count; i++)
		if (!tries || blockers.items[i].consent >= 0)
			remainder_list_add_copy(&why, &blockers.items[i]);
	*ret_why = why;
	return why.count > 0;
}

/* The same of a guest that has something in the scope, by the child that the layout has for it. */
static bool is_left_alone(const struct drainer *drainer, const struct drain_layout *layout, size_t index,
			  struct remainder_list *ret_why)
{
	const struct snapshot_guest *guest = &drainer->input->snapshot->guests[index];
	struct step step;
	struct wish child;
	bool fits = drain_layout_child(layout, index, &step, &child);

	return is_refused(drainer, guest, fits ? &child : NULL, ret_why);
}

static bool leaves_any_alone(const struct drainer *drainer)
{
	const struct snapshot *snapshot = drainer->input->snapshot;
	CLEANUP(drain_layout_done) struct drain_layout layout;
	struct remainder_list why;

	/* Without memory nobody can tell: no block is touched. */
	if (drain_layout_find(drainer->input, &drainer->scope, &layout) < 0)
		return true;
	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (drain_scope_guest_bytes(drainer->input, &drainer->scope, &snapshot->guests[i]) &&
		    is_left_alone(drainer, &layout, i, &why))
			return true;
	return false;
}

static bool memory_is_short(struct drainer *drainer)
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
		return memory_is_short(drainer);
	*step->child = *child;
	return emit(drainer, step);
}

/* The largest guest that may be tried and has a place. */
static bool guest_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP(drain_layout_done) struct drain_layout layout;
	struct step step, best_step;
	struct wish child, best_child;
	struct remainder_list why;
	uint64_t best = 0;

	if (drain_layout_find(input, &drainer->scope, &layout) < 0)
		return memory_is_short(drainer);
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];
		uint64_t bytes = drain_scope_guest_bytes(input, &drainer->scope, guest);

		if (bytes && drain_layout_unplaced(&layout, i)) {
			const struct step_record *last;

			drainer->is_stuck = drainer->is_stuck || !tries_of(input, guest->uuid, &last);
			continue;
		}
		if (bytes <= best || !may_try(input, guest) || !drain_layout_child(&layout, i, &step, &child) ||
		    is_refused(drainer, guest, &child, &why))
			continue;
		best = bytes;
		best_step = step;
		best_child = child;
	}
	return best && child_step(drainer, &best_step, &best_child);
}

static uint64_t room_on(const struct drainer *drainer, uint64_t nodes)
{
	uint64_t room = 0;

	for (; nodes; nodes &= nodes - 1)
		room += plan_room(drainer->input, plan_first_node(nodes), drainer->scope.whole_nodes);
	return room;
}

/* The nearest of the nodes, of equally near ones that with most room; -1: there is none. */
static int nearest(const struct drainer *drainer, uint64_t nodes)
{
	const struct snapshot *snapshot = drainer->input->snapshot;
	int from = plan_first_node(drainer->scope.nodes), best = -1;

	for (; nodes; nodes &= nodes - 1) {
		int node = plan_first_node(nodes);
		uint8_t distance = plan_distance(snapshot, from, node);

		if (best < 0 || distance < plan_distance(snapshot, from, best) ||
		    (distance == plan_distance(snapshot, from, best) &&
		     room_on(drainer, plan_node_bit(node)) > room_on(drainer, plan_node_bit(best))))
			best = node;
	}
	return best;
}

/* Where the guests went, and what is left of them is to go; else the nearest node with room. */
static uint64_t guest_nodes(const struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	uint64_t nodes = 0, candidates = drain_scope_free_nodes(input, &drainer->scope);

	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_CHILD && !step_brings_home(&input->history[i].step))
			nodes |= input->history[i].step.nodes;
	nodes &= candidates;
	return nodes ? nodes : plan_node_bit(nearest(drainer, candidates));
}

/* Where what the kernel itself still has to move shall go: there, and to the nearest others as far as that has no room. */
static uint64_t planned_nodes(const struct drainer *drainer)
{
	uint64_t nodes = guest_nodes(drainer);
	uint64_t candidates = drain_scope_free_nodes(drainer->input, &drainer->scope) & ~nodes;

	while (candidates && room_on(drainer, nodes) < drainer->rest_bytes) {
		int next = nearest(drainer, candidates);

		candidates &= ~plan_node_bit(next);
		if (room_on(drainer, plan_node_bit(next)))
			nodes |= plan_node_bit(next);
	}
	return nodes;
}

/*
 * May the kernel take along what the moves left, and what is no guest's? It is not to bring a whole guest to where its policy
 * forbids it, nor to scatter it over nodes.
 */
static bool rest_fits(const struct drainer *drainer)
{
	return !drainer->is_stuck &&
	       room_on(drainer, guest_nodes(drainer)) >= drainer->guest_bytes &&
	       room_on(drainer, planned_nodes(drainer)) >= drainer->rest_bytes;
}

/*
 * How often it was tried to take this block offline, but for what a restart cut off; *ret_last is the latest of them, or
 * NULL.
 */
static size_t offlines_of(const struct plan_input *input, uint64_t block, const struct step_record **ret_last)
{
	size_t tries = 0;

	*ret_last = NULL;
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind != STEP_KIND_OFFLINE_BLOCKS || record->state == STEP_STATE_UNDONE ||
		    plan_was_cut(record) || !step_has_block(&record->step, block))
			continue;
		tries++;
		*ret_last = record;
	}
	return tries;
}

/* Again only after guests that were in the way have been moved since. */
static bool may_offline(const struct plan_input *input, const struct snapshot_block *block)
{
	const struct step_record *last;
	size_t tries = offlines_of(input, block->id, &last);

	if (tries == 0)
		return true;
	for (last++; last < input->history + input->history_count; last++)
		if (last->step.kind == STEP_KIND_CHILD && last->state != STEP_STATE_UNDONE && last->bytes_done > 0)
			return tries < OFFLINES_MAX;
	return false;
}

/* As many blocks as a step can name; the next step has the next. */
static bool offline_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	const struct snapshot *snapshot = input->snapshot;
	struct step step;

	if (!drainer->scope.online_blocks || !rest_fits(drainer) || leaves_any_alone(drainer) || drain_pool_failed(input))
		return false;
	plan_step_init(&step, STEP_KIND_OFFLINE_BLOCKS, NULL);
	memcpy(step.dimm, drainer->wish->dimm, sizeof(step.dimm));
	step.nodes = planned_nodes(drainer);
	step.zone = BLOCK_ZONE_MOVABLE;
	step.timeout_ms = input->limits->block_timeout_ms;
	step.undoable = true;
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (block->state == BLOCK_STATE_OFFLINE || !drain_scope_has(&drainer->scope, block) ||
		    !may_offline(input, block))
			continue;
		if (!step_add_block(&step, block->id))
			break;
		step.bytes += block->size_bytes;
	}
	return step.block_run_count &&
	       (drain_pool_next(input, &drainer->scope, drainer->decision) || emit(drainer, &step));
}

/* A guest that was bound to the node alone, of which a part stays, goes back there. */
static bool home_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	struct wish child;
	struct step step;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *away = &input->history[i];
		const struct snapshot_guest *guest;
		int node = away->step.node, from;
		bool back = false;

		if (away->step.kind != STEP_KIND_CHILD || away->state == STEP_STATE_UNDONE ||
		    step_brings_home(&away->step) || away->step.mode != POLICY_MODE_BIND ||
		    !away->bytes_done || drainer->scope.whole_nodes >> node & 1)
			continue;
		for (size_t j = 0; j < input->history_count; j++)
			back = back ||
			       (step_brings_home(&input->history[j].step) &&
				strcmp(input->history[j].step.guest, away->step.guest) == 0);
		guest = snapshot_guest(input->snapshot, away->step.guest);
		const struct snapshot_node *home = snapshot_node(input->snapshot, node);

		/* A home without memory left (its last DIMM is out) is none, nor is one that
		 * another drain has begun to empty or that the guest's policy forbids. */
		if (back || !guest || !plan_guest_runs(guest) || !home || !home->total_bytes ||
		    plan_node_count(away->step.nodes) != 1 ||
		    snapshot_held_nodes(input->snapshot, input->wish->drain) >> node & 1 ||
		    (guest->allowed_nodes && !(guest->allowed_nodes >> node & 1)))
			continue;
		from = plan_first_node(away->step.nodes);
		/* More than that node in its policy: it was not bound to the drained node alone,
		 * and may stay. */
		if (guest->policy_nodes != away->step.nodes || !guest->node_bytes[from])
			continue;
		if (plan_guest_room(input, guest, node, 0) < guest->node_bytes[from]) {
			char object[96];

			remainder_list_add(
				&drainer->decision->warnings, REMAINDER_NO_ROOM,
				plan_guest_object(guest, object), guest->node_bytes[from], NULL,
				"what stays of node %d has no room to bring it back", node);
			continue;
		}
		plan_step_init(&step, STEP_KIND_CHILD, guest);
		wish_init(&child, OPERATION_KIND_MOVE);
		memcpy(child.guest, guest->uuid, sizeof(child.guest));
		memcpy(child.drain, input->wish->drain, sizeof(child.drain));
		child.allow = input->wish->allow;
		child.move.form = MOVE_FORM_MAP;
		child.move.map[from] = (int8_t)node;
		/* What the way out wrote into the stored XML goes back with it. */
		child.move.persist = drainer->wish->persist;
		step.node = from;
		step.nodes = plan_node_bit(node);
		step.bytes = guest->node_bytes[from];
		step.undoable = true;
		step.stall_ms = (input->limits->stall_us + 999) / 1000;
		memcpy(step.text, STEP_TEXT_HOME, sizeof(STEP_TEXT_HOME));
		return child_step(drainer, &step, &child);
	}
	return false;
}

bool drain_scope_has_dimm(const struct wish_drain *wish, const struct snapshot_dimm *dimm)
{
	if (wish->target == DRAIN_TARGET_DIMM)
		return strcmp(dimm->id, wish->dimm) == 0;
	return wish->target == DRAIN_TARGET_NODE && dimm->node == wish->node;
}

/* A DIMM of the target that is still there and that nobody tried to eject yet; NULL: none. */
static const struct snapshot_dimm *dimm_to_eject(const struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;

	for (size_t i = 0; i < input->snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &input->snapshot->dimms[i];
		bool tried = false;

		if (!drain_scope_has_dimm(drainer->wish, dimm) || snapshot_dimm_is_out(dimm))
			continue;
		for (size_t j = 0; j < input->history_count; j++)
			/* One that a restart cut off was not refused: the DIMM that is still there
			 * says only that it had not begun. */
			tried = tried || (input->history[j].step.kind == STEP_KIND_EJECT &&
					  strcmp(input->history[j].step.dimm, dimm->id) == 0 &&
					  !plan_was_cut(&input->history[j]));
		if (!tried)
			return dimm;
	}
	return NULL;
}

/* Each DIMM of the target once. */
static bool eject_next(struct drainer *drainer)
{
	const struct snapshot_dimm *dimm = dimm_to_eject(drainer);
	struct step step;

	if (!dimm)
		return false;
	plan_step_init(&step, STEP_KIND_EJECT, NULL);
	memcpy(step.dimm, dimm->id, sizeof(step.dimm));
	step.node = dimm->node;
	return emit(drainer, &step);
}

/* Of a block that went offline since, or was tried once more. */
static bool is_stale(const struct plan_input *input, const struct step_record *record, const struct remainder *entry)
{
	const struct snapshot_block *block;
	const struct step_record *last;
	uint64_t id;

	if (sscanf(entry->object, "block %" SCNu64, &id) != 1)
		return false;
	block = snapshot_block(input->snapshot, id);
	offlines_of(input, id, &last);
	return !block || block->state == BLOCK_STATE_OFFLINE || last != record;
}

/* What the attempts told of the blocks that are still online. */
static void tell_attempts(struct drainer *drainer, uint64_t *rest)
{
	const struct plan_input *input = drainer->input;

	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind != STEP_KIND_OFFLINE_BLOCKS || record->state == STEP_STATE_UNDONE)
			continue;
		for (size_t n = 0; n < record->remainder.count; n++)
			if (!is_stale(input, record, &record->remainder.items[n]))
				plan_take_entry(&drainer->decision->remainder, &record->remainder.items[n], rest);
	}
}

static bool is_told(const struct remainder_list *list, const char *object)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].object, object) == 0)
			return true;
	return false;
}

/* Each of the reasons, with the bytes once. */
static void tell_refusal(struct remainder_list *list, const struct remainder_list *refusal, uint64_t bytes)
{
	for (size_t i = 0; i < refusal->count; i++) {
		struct remainder entry = refusal->items[i];

		entry.bytes = i == 0 ? bytes : 0;
		remainder_list_add_copy(list, &entry);
	}
}

static const char *why_not_tried(const struct drainer *drainer, enum remainder_code *ret_code)
{
	*ret_code = REMAINDER_BLOCK_BUSY;
	if (drain_pool_failed(drainer->input))
		return "it was not tried: a pool of huge pages could not be taken care of first";
	if (drainer->guest_bytes)
		return "it was not tried: guests are still there";
	*ret_code = REMAINDER_NO_ROOM;
	return "it was not tried: other nodes have no room for what the host has there";
}

/* Why what is online, or what guests have, did not go; the sum is exactly that. */
static void give_up(struct drainer *drainer, bool blocks)
{
	const struct plan_input *input = drainer->input;
	struct remainder_list *list = &drainer->decision->remainder;
	uint64_t rest = blocks ? drainer->scope.online_bytes : drainer->guest_bytes;
	CLEANUP(drain_layout_done) struct drain_layout layout;
	bool is_planned = drain_layout_find(input, &drainer->scope, &layout) == 0;
	char object[96];

	drainer->decision->kind = DECISION_KIND_GIVE_UP;
	for (size_t i = 0; i < input->snapshot->guest_count && rest; i++) {
		const struct snapshot_guest *guest = &input->snapshot->guests[i];
		uint64_t bytes = plan_min(drain_scope_guest_bytes(input, &drainer->scope, guest),
					  rest),
			 left = bytes;
		const struct step_record *last;
		struct remainder_list refusal;
		enum remainder_code code;
		const char *why;

		if (!bytes)
			continue;
		plan_guest_object(guest, object);
		if (tries_of(input, guest->uuid, &last))
			plan_take_remainder(list, &last->remainder, &left);
		if (left && is_planned && is_left_alone(drainer, &layout, i, &refusal)) {
			tell_refusal(list, &refusal, left);
			left = 0;
		}
		code = plan_unexplained(last, &why);
		if (left && plan_is_late(input))
			remainder_list_add(list, REMAINDER_DEADLINE, object, left, NULL,
					   "time ran out");
		else if (left && !last)
			remainder_list_add(list, REMAINDER_NO_ROOM, object, left, NULL,
					   "no node that it may use has room for it");
		else if (left)
			remainder_list_add(list, code, object, left, NULL, "%s", why);
		rest -= bytes;
	}
	if (blocks) {
		drain_pool_tell(input, &drainer->scope, list, &rest);
		tell_attempts(drainer, &rest);
	}
	for (size_t i = 0; i < input->snapshot->block_count && rest; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];
		uint64_t bytes = plan_min(block->size_bytes, rest);
		enum remainder_code code = REMAINDER_BLOCK_BUSY;
		const struct step_record *last;
		const char *why = "it did not go offline";

		if (block->state == BLOCK_STATE_OFFLINE || !drain_scope_has(&drainer->scope, block))
			continue;
		snprintf(object, sizeof(object), "block %" PRIu64, block->id);
		if (is_told(list, object))
			continue;
		if (!offlines_of(input, block->id, &last))
			why = why_not_tried(drainer, &code);
		if (plan_is_late(input))
			remainder_list_add(list, REMAINDER_DEADLINE, object, bytes, NULL,
					   "time ran out");
		else
			remainder_list_add(list, code, object, bytes, NULL, "%s", why);
		rest -= bytes;
	}
}

static bool eject_failed(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	bool failed = false;
	char object[96];

	for (size_t i = 0; i < input->snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &input->snapshot->dimms[i];
		const struct step_record *eject = NULL;

		for (size_t j = 0; j < input->history_count; j++)
			if (input->history[j].step.kind == STEP_KIND_EJECT &&
			    strcmp(input->history[j].step.dimm, dimm->id) == 0)
				eject = &input->history[j];
		if (!eject || eject->state == STEP_STATE_DONE)
			continue;
		failed = true;
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		if (eject->remainder.count)
			remainder_list_append(&drainer->decision->remainder, &eject->remainder);
		else
			remainder_list_add(
				&drainer->decision->remainder, REMAINDER_EJECT_FAILED, object, 0,
				NULL, "the eject was asked for, but the device is still there");
	}
	return failed;
}

/* True where time ran out before the last of the ejects. */
static bool eject_missed(struct drainer *drainer, bool late)
{
	const struct snapshot_dimm *dimm = late ? dimm_to_eject(drainer) : NULL;
	char object[96];

	if (!dimm)
		return false;
	snprintf(object, sizeof(object), "dimm %s", dimm->id);
	remainder_list_add(&drainer->decision->remainder, REMAINDER_DEADLINE, object, 0, NULL,
			   "offline, but time ran out before the eject");
	return true;
}

static bool cordon_failed(const struct plan_input *input)
{
	const struct step_record *cordon = plan_last(input, STEP_KIND_CORDON);

	return cordon && cordon->state == STEP_STATE_FAILED;
}

/* Without a hold nothing else is begun. */
static void tell_cordon(struct drainer *drainer)
{
	const struct step_record *cordon = plan_last(drainer->input, STEP_KIND_CORDON);
	uint64_t rest = drainer->wish->finish == DRAIN_FINISH_EMPTY ? drainer->guest_bytes
								    : drainer->scope.online_bytes;
	struct remainder_list *list = &drainer->decision->remainder;
	char object[96];

	drainer->decision->kind = DECISION_KIND_GIVE_UP;
	if (cordon)
		plan_take_remainder(list, &cordon->remainder, &rest);
	if (rest || !list->count)
		remainder_list_add(list, cordon ? REMAINDER_HELD : REMAINDER_DEADLINE,
				   wish_target(drainer->input->wish, object), rest, "ask again",
				   cordon ? "the hold could not be taken, so nothing was begun"
					  : "time ran out before anything was begun");
}

void drain_next(const struct plan_input *input, struct decision *ret_decision)
{
	struct drainer drainer = {
		.input = input, .wish = &input->wish->drain_wish, .decision = ret_decision};
	bool late = plan_is_late(input);

	memset(ret_decision, 0, sizeof(*ret_decision));
	ret_decision->kind = DECISION_KIND_COUNT;
	drain_scope_find(input, &drainer.scope);
	for (size_t i = 0; i < input->snapshot->guest_count; i++)
		drainer.guest_bytes +=
			drain_scope_guest_bytes(input, &drainer.scope, &input->snapshot->guests[i]);
	drainer.rest_bytes = drainer.guest_bytes;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		drainer.rest_bytes += drain_scope_host_bytes(input, &drainer.scope, node);
	if (!late && cordon_next(&drainer))
		return;
	if (cordon_failed(input) || (late && !plan_count(input, STEP_KIND_CORDON))) {
		tell_cordon(&drainer);
		return;
	}
	if (drainer.wish->finish == DRAIN_FINISH_CORDON) {
		ret_decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (!late && guest_next(&drainer))
		return;
	if (drainer.wish->finish == DRAIN_FINISH_EMPTY) {
		if (drainer.guest_bytes)
			give_up(&drainer, false);
		else
			ret_decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (!late && offline_next(&drainer))
		return;
	if (drainer.scope.online_blocks) {
		give_up(&drainer, true);
		return;
	}
	if (!late && home_next(&drainer))
		return;
	if (drainer.wish->finish == DRAIN_FINISH_EJECT) {
		if (!late && eject_next(&drainer))
			return;
		bool failed = eject_failed(&drainer), missed = eject_missed(&drainer, late);

		if (failed || missed) {
			ret_decision->kind = DECISION_KIND_GIVE_UP;
			return;
		}
	}
	ret_decision->kind = DECISION_KIND_DONE;
}
