/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains overlap, and end in any order. What one of them took away is given back by it unless another
 * still holds it; then it waits, and goes back along with the last of the holds that are in the way.
 *
 * Where a DIMM is out its blocks are waited for. Where another was plugged in instead what is there goes back, the rest is told as
 * lost, and guests come home as far as there is room.
 *
 * A block waits alone. A guest waits until all blocks of the drain that moved it are free, because it
 * lived there; while memory of its old node that is online is held, because its pages might land in
 * that; and while a later drain's move of the same guest stands, because moves are undone last first. A pool of huge pages
 * waits for the same: undone it is as large as its step found it, which for a later one is less. Hooks wait for the blocks.
 * Slices wait where another drain holds all memory of such a node, and for nothing else: guests could not come home before.
 *
 * A cordon is in the way of nobody that was drained since: it keeps away who is new there, and what comes back was there under
 * it. What was empty when the cordon came stays so while that stands. A drain that is announced is in nobody's way: when its time
 * comes it empties what is there by then.
 */
#include "drain_priv.h"

#include <stdio.h>
#include <string.h>
#include "plan_priv.h"
#include "size_text.h"

bool undo_bar_stands(const struct step_record *record)
{
	switch (record->state) {
	case STEP_STATE_RUNNING:
	case STEP_STATE_DONE:
	case STEP_STATE_PARTIAL:
	case STEP_STATE_UNDOING:
		return true;
	case STEP_STATE_PENDING:
	case STEP_STATE_FAILED:
	case STEP_STATE_UNDONE:
	case STEP_STATE_COUNT:
		break;
	}
	return false;
}

bool undo_bar_is_due(const struct step_record *record)
{
	return record->step.undoable && undo_bar_stands(record);
}

const struct step_record *undo_bar_undo_of(const struct plan_input *input, const char *operation, unsigned n)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (input->history[i].step.kind == STEP_KIND_UNDO && input->history[i].step.undo_n == n &&
		    strcmp(input->history[i].step.undo_operation, operation ? operation : "") == 0)
			return &input->history[i];
	return NULL;
}

static bool is_of_blocks(const struct step_record *record)
{
	return record->step.kind == STEP_KIND_OFFLINE_BLOCKS || record->step.kind == STEP_KIND_ONLINE_BLOCKS;
}

/* ---- in which order ---- */

struct undo_order undo_order_of(const struct step_record *steps, size_t count)
{
	struct undo_order order = {count, count, count};

	for (size_t i = count; i-- > 0;) {
		if (is_of_blocks(&steps[i]) && undo_bar_is_due(&steps[i]))
			order.blocks = i;
		if (step_is_of_newcomer(&steps[i].step))
			order.newcomers = i;
	}
	return order;
}

size_t undo_order_at(const struct undo_order *order, size_t number)
{
	size_t last = order->count - 1;
	size_t before = order->blocks < order->newcomers ? order->newcomers - order->blocks : 0;

	if (number < before)
		return order->newcomers - 1 - number;
	if (before && number < before + order->count - order->newcomers)
		return last - (number - before);
	return last - number;
}

struct undo_owner undo_owner_of(const struct plan_input *input, const struct plan_drain *drain)
{
	if (!drain)
		return (struct undo_owner){NULL, input->subject, input->subject_count, input->subject_operation};
	return (struct undo_owner){drain, drain->steps, drain->step_count, drain->operation};
}

/* ---- blocks ---- */

static bool is_newer(const struct plan_input *input, const char *drain)
{
	for (size_t i = 0; i < input->drain_count; i++)
		if (strcmp(input->drains[i].drain, drain) == 0)
			return input->drains[i].is_newer;
	return false;
}

/* Does another drain keep away by it what was there? Under a cordon that is older it was there. */
static bool is_of_another(const struct plan_input *input, const struct snapshot_hold *hold)
{
	if (strcmp(hold->drain, input->wish->drain) == 0)
		return false;
	if (!snapshot_hold_only_cordons(hold))
		return true;
	return hold->work == SNAPSHOT_HOLD_CORDONS && is_newer(input, hold->drain);
}

/* The hold of another drain under which the block is; NULL: none. */
static const struct snapshot_hold *hold_of(const struct plan_input *input, const struct snapshot_block *block)
{
	for (size_t i = 0; i < input->snapshot->hold_count; i++) {
		const struct snapshot_hold *hold = &input->snapshot->holds[i];

		if (is_of_another(input, hold) && snapshot_hold_has(hold, block))
			return hold;
	}
	return NULL;
}

struct block_cut {
	struct step *step; /* its runs become those that may go back */
	uint64_t free, held, held_bytes, seen;
	const struct snapshot_hold *holder; /* of the first that is held */
};

/* Blocks that are not there just now are in no run. Returns how many are. */
static uint64_t cut_blocks(const struct plan_input *input, const struct step *step, struct block_cut *cut)
{
	cut->step->block_run_count = 0;
	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];
		const struct snapshot_hold *hold;

		if (!step_has_block(step, block->id))
			continue;
		cut->seen++;
		hold = hold_of(input, block);
		if (!hold) {
			/* Where no run more fits it waits, too. */
			cut->free += step_add_block(cut->step, block->id);
			continue;
		}
		cut->held++;
		cut->held_bytes += block->size_bytes;
		cut->holder = cut->holder ? cut->holder : hold;
	}
	return cut->seen;
}

/* The first DIMM of the step, or that the drain has ejected, that the kernel has no memory of; NULL: none. */
static const struct snapshot_dimm *find_gone(const struct plan_input *input, const struct undo_owner *owner,
					     const struct step_record *record)
{
	const struct snapshot_dimm *dimm = snapshot_dimm(input->snapshot, record->step.dimm);

	if (dimm && (snapshot_dimm_is_out(dimm) || snapshot_dimm_is_detached(dimm)))
		return dimm;
	for (size_t i = 0; i < owner->count; i++) {
		dimm = owner->steps[i].step.kind == STEP_KIND_EJECT
			       ? snapshot_dimm(input->snapshot, owner->steps[i].step.dimm)
			       : NULL;
		if (dimm && (snapshot_dimm_is_out(dimm) || snapshot_dimm_is_detached(dimm)))
			return dimm;
	}
	return NULL;
}

/*
 * Are all DIMMs that the drain names there, with memory? Blocks of theirs that are not there then come back by no waiting: what
 * was plugged in is smaller, or lies at other addresses.
 */
static bool is_replaced(const struct plan_input *input, const struct undo_owner *owner)
{
	bool is_known = false;

	for (size_t i = 0; i < owner->count; i++) {
		const struct snapshot_dimm *dimm;

		if (!owner->steps[i].step.dimm[0])
			continue;
		dimm = snapshot_dimm(input->snapshot, owner->steps[i].step.dimm);
		if (snapshot_dimm_is_out(dimm) || snapshot_dimm_is_detached(dimm) || dimm->kind != DIMM_KIND_ACPI)
			return false;
		is_known = true;
	}
	return is_known;
}

/* Somebody has to plug a DIMM in again, or where the firmware has kept it, to have it announced once more. */
static void tell_missing(const struct plan_input *input, const struct undo_owner *owner, const struct step_record *record,
			 uint64_t count, struct remainder_list *left)
{
	const struct snapshot_dimm *dimm = find_gone(input, owner, record);
	char object[96];

	if (dimm)
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
	else
		snprintf(object, sizeof(object), "step %u", record->n);
	if (snapshot_dimm_is_detached(dimm))
		remainder_list_add(left, REMAINDER_EJECT_REFUSED, object, 0,
				   "reboot, or have the firmware announce it again (pull it and plug it in); then undrain once "
				   "more, or with keep to give it up",
				   "%llu blocks were taken away for an eject that was refused; guests stay until they are back",
				   (unsigned long long)count);
	else
		remainder_list_add(left, REMAINDER_UNDO_FAILED, object, 0,
				   "plug the DIMM in again, then undrain once more; or give it up: undrain with keep",
				   "%llu blocks are not there and cannot be onlined; guests stay until they can",
				   (unsigned long long)count);
}

static enum undo_bar judge_blocks(const struct plan_input *input, const struct undo_owner *owner,
				  const struct step_record *record, struct step *ret_step, struct remainder_list *left)
{
	struct block_cut cut = {.step = ret_step};
	uint64_t count = step_block_count(&record->step);
	char object[96];

	bool rest_is_lost = cut_blocks(input, &record->step, &cut) < count && is_replaced(input, owner);

	/* With what is lost: nothing else would say so, and no later undrain find it. */
	if (cut.free == count || (rest_is_lost && cut.free == cut.seen)) {
		*ret_step = record->step;
		return UNDO_BAR_NONE;
	}
	if (left && cut.seen < count && !rest_is_lost)
		tell_missing(input, owner, record, count - cut.seen, left);
	snprintf(object, sizeof(object), "step %u", record->n);
	if (left && cut.holder)
		remainder_list_add(left, REMAINDER_HELD, object, cut.held_bytes, NULL,
				   "drain %s holds %llu of its blocks", cut.holder->drain,
				   (unsigned long long)cut.held);
	return cut.free ? UNDO_BAR_PART : UNDO_BAR_ALL;
}

/* ---- what was plugged in instead ---- */

/* A block of the drain's DIMMs that was not theirs when it began, and that no other drain holds. */
static bool is_added(const struct plan_input *input, const struct undo_owner *owner, const struct snapshot_block *block)
{
	bool is_theirs = false;

	for (size_t i = 0; i < owner->count; i++) {
		const struct step *step = &owner->steps[i].step;
		const struct snapshot_dimm *dimm = step->dimm[0] ? snapshot_dimm(input->snapshot, step->dimm) : NULL;

		if (step->kind == STEP_KIND_CORDON && snapshot_block_is_in(block, step->ranges, step->range_count))
			return false;
		is_theirs = is_theirs || (dimm && dimm->kind == DIMM_KIND_ACPI &&
					  snapshot_block_is_in(block, dimm->ranges, dimm->range_count));
	}
	return is_theirs && !hold_of(input, block);
}

/* Blocks that were taken away and are not there, less those that are online in their stead. */
static uint64_t count_lost(const struct plan_input *input, const struct undo_owner *owner)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < owner->count; i++) {
		struct step step = {0};
		struct block_cut cut = {.step = &step};

		if (is_of_blocks(&owner->steps[i]) && undo_bar_is_due(&owner->steps[i]))
			lost += step_block_count(&owner->steps[i].step) - cut_blocks(input, &owner->steps[i].step, &cut);
	}
	for (size_t i = 0; i < input->snapshot->block_count && lost; i++)
		lost -= input->snapshot->blocks[i].state == BLOCK_STATE_ONLINE &&
			is_added(input, owner, &input->snapshot->blocks[i]);
	return lost;
}

bool undo_bar_replace(const struct plan_input *input, struct step *ret_step)
{
	struct undo_owner owner = undo_owner_of(input, NULL);
	uint64_t lost = is_replaced(input, &owner) ? count_lost(input, &owner) : 0;
	struct step step;

	plan_step_init(&step, STEP_KIND_ONLINE_BLOCKS, NULL);
	/* It left a movable zone: else it could not have been drained. */
	step.zone = BLOCK_ZONE_MOVABLE;
	for (size_t i = 0; i < input->snapshot->block_count && lost; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];

		if (block->state != BLOCK_STATE_OFFLINE || !is_added(input, &owner, block) ||
		    !step_add_block(&step, block->id))
			continue;
		step.node = block->node;
		lost--;
	}
	if (!step.block_run_count)
		return false;
	*ret_step = step;
	return true;
}

void undo_bar_tell_added(const struct plan_input *input, struct remainder_list *list)
{
	struct undo_owner owner = undo_owner_of(input, NULL);
	uint64_t count = 0, bytes = 0;
	char object[96];

	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];

		if (block->state != BLOCK_STATE_OFFLINE || !is_added(input, &owner, block))
			continue;
		count++;
		bytes += block->size_bytes;
	}
	if (count)
		remainder_list_add(list, REMAINDER_NOT_ONLINED, wish_target(input->wish, object), bytes,
				   "take them online where they are wanted (chmem -e)",
				   "%llu blocks were not there when it was drained, and stay offline",
				   (unsigned long long)count);
}

/* ---- guests ---- */

/* Is a block that it took away not free, or not there although it may come again? */
static const char *blocked_by(const struct plan_input *input, const struct undo_owner *owner)
{
	bool rest_is_lost = is_replaced(input, owner);

	for (size_t i = 0; i < owner->count; i++) {
		struct step step = {0};
		struct block_cut cut = {.step = &step};

		if (!is_of_blocks(&owner->steps[i]) || !undo_bar_is_due(&owner->steps[i]))
			continue;
		cut_blocks(input, &owner->steps[i].step, &cut);
		if (cut.free != (rest_is_lost ? cut.seen : step_block_count(&owner->steps[i].step)))
			return cut.holder ? cut.holder->drain : "";
	}
	return NULL;
}

/* Nodes to which undoing the guest's moves, from this step on, takes it. */
static uint64_t homes_of(const struct undo_owner *owner, const struct step_record *record)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < owner->count; i++) {
		const struct step_record *other = &owner->steps[i];
		const struct wish *child = other->step.child;

		if (other->n < record->n || other->step.kind != STEP_KIND_CHILD || !undo_bar_is_due(other) ||
		    strcmp(other->step.guest, record->step.guest) != 0)
			continue;
		nodes |= plan_node_bit(other->step.node);
		if (!child || child->kind != OPERATION_KIND_MOVE || child->move.form != MOVE_FORM_MAP)
			continue;
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
			if (child->move.map[node] >= 0)
				nodes |= plan_node_bit(node);
	}
	return nodes;
}

/* Has it taken away blocks that are not there now? */
static bool has_missing(const struct plan_input *input, const struct undo_owner *owner)
{
	for (size_t i = 0; i < owner->count; i++) {
		struct step step = {0};
		struct block_cut cut = {.step = &step};

		if (is_of_blocks(&owner->steps[i]) && undo_bar_is_due(&owner->steps[i]) &&
		    cut_blocks(input, &owner->steps[i].step, &cut) < step_block_count(&owner->steps[i].step))
			return true;
	}
	return false;
}

/* With less memory at home than it left there may be no room for all who lived there: who has none waits for it. */
static bool has_room(const struct plan_input *input, const struct undo_owner *owner, const struct step_record *record,
		     uint64_t *ret_room)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, record->step.guest);

	*ret_room = 0;
	if (!guest || !plan_guest_runs(guest) || !has_missing(input, owner))
		return true;
	for (uint64_t rest = homes_of(owner, record); rest; rest &= rest - 1)
		*ret_room += plan_guest_room(input, guest, plan_first_node(rest), 0);
	return *ret_room >= record->bytes_done;
}

/* Another drain that holds one of the nodes, or memory of it in which pages might land. */
static const char *home_held_by(const struct plan_input *input, uint64_t nodes)
{
	for (size_t i = 0; i < input->snapshot->hold_count; i++)
		if (is_of_another(input, &input->snapshot->holds[i]) &&
		    (plan_node_bit(input->snapshot->holds[i].node) & nodes))
			return input->snapshot->holds[i].drain;
	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];
		const struct snapshot_hold *hold;

		if (block->state == BLOCK_STATE_OFFLINE || !(plan_node_bit(block->node) & nodes))
			continue;
		hold = hold_of(input, block);
		if (hold)
			return hold->drain;
	}
	return NULL;
}

static bool has_such(const struct plan_input *input, const struct undo_owner *owner, const struct step *step)
{
	for (size_t i = 0; i < owner->count; i++)
		if (undrain_keep_gives_back(input, owner->drain, &owner->steps[i]) &&
		    step_is_of_same_object(&owner->steps[i].step, step) && undo_bar_is_due(&owner->steps[i]) &&
		    !owner->steps[i].undo_failed &&
		    !undo_bar_undo_of(input, owner->operation, owner->steps[i].n))
			return true;
	return false;
}

/* A newer drain whose move of the guest, or step of the pool, stands. */
static const char *changed_since_by(const struct plan_input *input, const struct undo_owner *owner, const struct step *step)
{
	struct undo_owner own = undo_owner_of(input, NULL);

	for (size_t i = 0; i < input->drain_count && &input->drains[i] != owner->drain; i++) {
		struct undo_owner other = undo_owner_of(input, &input->drains[i]);

		if ((owner->drain || other.drain->is_newer) && has_such(input, &other, step))
			return other.drain->drain;
	}
	if (owner->drain && !owner->drain->is_newer && has_such(input, &own, step))
		return input->wish->drain;
	return NULL;
}

/* They let go of memory that is not there again before the blocks are. */
static enum undo_bar judge_hooks(const struct plan_input *input, const struct undo_owner *owner,
				 const struct step_record *record, struct remainder_list *left)
{
	const char *by = blocked_by(input, owner);
	char object[96];

	if (!by)
		return UNDO_BAR_NONE;
	if (left && by[0]) {
		snprintf(object, sizeof(object), "step %u", record->n);
		remainder_list_add(left, REMAINDER_HELD, object, 0, NULL,
				   "drain %s holds memory that the hooks let go of", by);
	}
	return UNDO_BAR_ALL;
}

static enum undo_bar judge_guest(const struct plan_input *input, const struct undo_owner *owner,
				 const struct step_record *record, struct remainder_list *left)
{
	const char *by = blocked_by(input, owner), *why = "holds memory that it lived in";
	char object[96], bytes[SIZE_TEXT_SIZE];
	uint64_t room;

	if (!by) {
		why = "holds memory of the node that it goes back to";
		by = home_held_by(input, homes_of(owner, record));
	}
	if (!by) {
		why = "has moved it since";
		by = changed_since_by(input, owner, &record->step);
	}
	snprintf(object, sizeof(object), "guest %s", record->step.guest_name);
	if (!by && !has_room(input, owner, record, &room)) {
		if (left)
			remainder_list_add(left, REMAINDER_NO_ROOM, object, record->bytes_done,
					   "free memory there, or plug in more, then undrain once more; or give it up: undrain with keep",
					   "what was plugged in is not what it lived in; beyond the reserve its nodes have %s",
					   size_text_format(room, bytes));
		return UNDO_BAR_ALL;
	}
	if (!by)
		return UNDO_BAR_NONE;
	if (left && by[0]) {
		remainder_list_add(left, REMAINDER_HELD, object, record->bytes_done, NULL, "drain %s %s", by, why);
	}
	return UNDO_BAR_ALL;
}

/* Its pages come from blocks that are back, none is made on a node that another holds, and steps are undone last first. */
static enum undo_bar judge_pool(const struct plan_input *input, const struct undo_owner *owner,
				const struct step_record *record, struct remainder_list *left)
{
	const char *by = blocked_by(input, owner);
	char object[96];

	if (!by)
		by = home_held_by(input, plan_node_bit(record->step.node));
	if (!by)
		by = changed_since_by(input, owner, &record->step);
	if (!by)
		return UNDO_BAR_NONE;
	if (left && by[0]) {
		snprintf(object, sizeof(object), "step %u", record->n);
		remainder_list_add(left, REMAINDER_HELD, object, 0, NULL,
				   "drain %s holds memory of node %d, or took some of it later: its pool of huge pages waits",
				   by, record->step.node);
	}
	return UNDO_BAR_ALL;
}

/* Another drain by which alone all memory of this node is held. Of a node without memory: all that it had, as far as is known. */
static const char *wholly_held_by(const struct plan_input *input, int node)
{
	const struct snapshot *snapshot = input->snapshot;

	for (size_t i = 0; i < snapshot->hold_count; i++) {
		const struct snapshot_hold *hold = &snapshot->holds[i];
		const struct snapshot_dimm *dimm = hold->dimm[0] ? snapshot_dimm(snapshot, hold->dimm) : NULL;
		size_t inside = 0, all = 0;

		if (!is_of_another(input, hold))
			continue;
		for (size_t b = 0; b < snapshot->block_count; b++) {
			if (snapshot->blocks[b].node != node)
				continue;
			all++;
			inside += snapshot_hold_has(hold, &snapshot->blocks[b]);
		}
		if (hold->node == node || (all ? inside == all : dimm && dimm->node == node))
			return hold->drain;
	}
	return NULL;
}

static enum undo_bar judge_slices(const struct plan_input *input, const struct step_record *record,
				  struct remainder_list *left)
{
	const char *by = NULL;
	char object[96];

	for (int node = 0; node < SNAPSHOT_NODES_MAX && !by; node++)
		if (record->step.nodes & plan_node_bit(node))
			by = wholly_held_by(input, node);
	if (!by)
		return UNDO_BAR_NONE;
	if (left) {
		snprintf(object, sizeof(object), "step %u", record->n);
		remainder_list_add(left, REMAINDER_HELD, object, 0, NULL, "drain %s holds a node that slices are kept from", by);
	}
	return UNDO_BAR_ALL;
}

enum undo_bar undo_bar_judge(const struct plan_input *input, const struct plan_drain *drain,
			     const struct step_record *record, struct step *ret_step, struct remainder_list *left)
{
	struct undo_owner owner = undo_owner_of(input, drain);

	*ret_step = record->step;
	ret_step->child = NULL;
	/* A step of blocks has no child. */
	if (is_of_blocks(record))
		return judge_blocks(input, &owner, record, ret_step, left);
	if (record->step.kind == STEP_KIND_CHILD)
		return judge_guest(input, &owner, record, left);
	if (record->step.kind == STEP_KIND_HOST_HOOKS)
		return judge_hooks(input, &owner, record, left);
	if (record->step.kind == STEP_KIND_HOST_POOL)
		return judge_pool(input, &owner, record, left);
	if (record->step.kind == STEP_KIND_SLICE_CPUSETS)
		return judge_slices(input, record, left);
	return UNDO_BAR_NONE;
}
