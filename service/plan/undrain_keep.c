/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undrain for good: of a DIMM that is out and does not come again, or where guests are better off than at home. Guests with
 * their policies and sizes, blocks and pools stay as they are now, and nothing of it is due any more: not for this drain, nor
 * for one of the same target that has deferred what this one's hold stood for.
 *
 * What stands around a hold goes with it, because it is of use with that alone and nobody would come for it later: the cordon,
 * and what slices were kept from. Hooks are told how it ended. What others have deferred until this hold goes comes back, as
 * with any undrain.
 *
 * The last step is UNCORDON: with that the hold goes and the steps are forgotten, in one transaction.
 */
#include "drain_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"
#include "size_text.h"

bool undrain_keep_has(const struct plan_input *input, const struct plan_drain *drain)
{
	return input->wish->keep && (!drain || (drain->is_same_target && !drain->is_held));
}

static bool takes_blocks(const struct undo_owner *owner)
{
	for (size_t i = 0; i < owner->count; i++)
		if (owner->steps[i].step.kind == STEP_KIND_OFFLINE_BLOCKS && undo_bar_is_due(&owner->steps[i]))
			return true;
	return false;
}

bool undrain_keep_gives_back(const struct plan_input *input, const struct plan_drain *drain, const struct step_record *record)
{
	struct undo_owner owner = undo_owner_of(input, drain);

	if (!undrain_keep_has(input, drain) || record->step.kind == STEP_KIND_SLICE_CPUSETS)
		return true;
	/* Where no memory stays away they are told that it is there again, which is their undo. */
	return record->step.kind == STEP_KIND_HOST_HOOKS && !takes_blocks(&owner);
}

/* ---- the steps ---- */

static bool is_told_of_after(const struct step_record *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (step_is_after(&steps[i].step) && steps[i].state != STEP_STATE_UNDONE && !plan_was_cut(&steps[i]))
			return true;
	return false;
}

/* A drain that was stopped in the middle has not told them that it is over. */
static const struct step_record *find_asked_hooks(const struct plan_input *input, const struct undo_owner *owner)
{
	if (!undrain_keep_has(input, owner->drain) || !takes_blocks(owner) || is_told_of_after(owner->steps, owner->count))
		return NULL;
	for (size_t i = 0; i < owner->count; i++)
		if (owner->steps[i].step.kind == STEP_KIND_HOST_HOOKS && undo_bar_is_due(&owner->steps[i]))
			return &owner->steps[i];
	return NULL;
}

static bool hooks_next(const struct plan_input *input, struct decision *decision)
{
	const struct snapshot_hooks *hooks = &input->snapshot->hooks;
	const struct step_record *asked = NULL;
	struct step step;

	if (!hooks->count || is_told_of_after(input->history, input->history_count))
		return false;
	for (size_t which = 0; which <= input->drain_count && !asked; which++) {
		struct undo_owner owner = undo_owner_of(input, which ? &input->drains[which - 1] : NULL);

		asked = find_asked_hooks(input, &owner);
	}
	if (!asked)
		return false;
	step = asked->step;
	step.undoable = false;
	snprintf(step.text, sizeof(step.text), STEP_TEXT_AFTER);
	step.hook_count = (unsigned)hooks->count;
	memcpy(step.hook_names, hooks->names, sizeof(step.hook_names));
	plan_decide(decision, &step);
	return true;
}

bool undrain_keep_is_done(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_UNCORDON && input->history[i].state == STEP_STATE_DONE)
			return true;
	return false;
}

bool undrain_keep_next(const struct plan_input *input, struct decision *decision)
{
	struct step step;

	/* Who has cancelled it wants the drain as it was. */
	if (undrain_keep_is_done(input) || plan_is_late(input))
		return false;
	if (hooks_next(input, decision))
		return true;
	plan_step_init(&step, STEP_KIND_UNCORDON, NULL);
	for (size_t i = 0; i < input->subject_count; i++) {
		if (input->subject[i].step.kind != STEP_KIND_CORDON)
			continue;
		/* Of the same hold. */
		step = input->subject[i].step;
		step.kind = STEP_KIND_UNCORDON;
		step.undoable = false;
	}
	plan_decide(decision, &step);
	return true;
}

/* ---- what stays ---- */

/* The steps of all drains that are given up, one after the other: from (0, 0) on. NULL: there are no more. */
struct kept_step {
	size_t which, next;
};

static const struct step_record *next_kept(const struct plan_input *input, enum step_kind kind, struct kept_step *at)
{
	for (; at->which <= input->drain_count; at->which++, at->next = 0) {
		struct undo_owner owner = undo_owner_of(input, at->which ? &input->drains[at->which - 1] : NULL);

		while (undrain_keep_has(input, owner.drain) && at->next < owner.count) {
			const struct step_record *record = &owner.steps[at->next++];

			/* Also once it is forgotten. */
			if (record->step.kind == kind && undo_bar_stands(record))
				return record;
		}
	}
	return NULL;
}

struct kept_guest {
	uint64_t from, to; /* nodes */
	uint64_t moved_bytes, home_bytes, shrunk_bytes;
};

static void add_child(const struct step_record *record, struct kept_guest *kept)
{
	const struct wish *child = record->step.child;

	if (child && child->kind == OPERATION_KIND_RESIZE)
		kept->shrunk_bytes += record->bytes_done;
	else if (step_brings_home(&record->step))
		kept->home_bytes += record->bytes_done;
	else
		kept->moved_bytes += record->bytes_done;
	if (!child || child->kind != OPERATION_KIND_MOVE || step_brings_home(&record->step))
		return;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (child->move.map[node] < 0)
			continue;
		kept->from |= plan_node_bit(node);
		kept->to |= plan_node_bit(child->move.map[node]);
	}
}

static void tell_guest(const struct snapshot_guest *guest, const struct kept_guest *kept, struct remainder_list *warnings)
{
	uint64_t bytes = kept->moved_bytes - plan_min(kept->moved_bytes, kept->home_bytes), there = 0;
	char object[96], from[32], to[32];

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		there += kept->to >> node & 1 ? guest->node_bytes[node] : 0;
	/* It may have been moved, or have become smaller, since. */
	if (!guest->unsurveyed[0])
		bytes = plan_min(bytes, there);
	plan_guest_object(guest, object);
	if (bytes)
		remainder_list_add(warnings, REMAINDER_KEPT, object, bytes,
				   "ballastctl move takes it elsewhere; its next start is by its stored XML",
				   "stays on node %s, to which it was moved from node %s", plan_nodes_text(kept->to, to),
				   plan_nodes_text(kept->from, from));
	if (kept->shrunk_bytes)
		remainder_list_add(warnings, REMAINDER_KEPT, object, kept->shrunk_bytes, "ballastctl resize makes it larger",
				   "stays as small as it was made for want of room");
}

static void tell_guests(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP_FREE struct kept_guest *kept = calloc(snapshot->guest_count + 1, sizeof(*kept));
	CLEANUP(guest_index_done) struct guest_index guests = {0};
	const struct step_record *record;
	struct kept_step at = {0};
	char object[96];

	if (!kept || guest_index_init(&guests, snapshot) < 0) {
		remainder_list_add(warnings, REMAINDER_KEPT, wish_target(input->wish, object), 0, NULL,
				   "memory is short: which guests stay where they are is not told");
		return;
	}
	while ((record = next_kept(input, STEP_KIND_CHILD, &at))) {
		const struct snapshot_guest *guest = guest_index_find(&guests, record->step.guest);

		/* What was changed of a guest that has ended has ended with it. */
		if (guest && plan_guest_runs(guest))
			add_child(record, &kept[guest - snapshot->guests]);
	}
	for (size_t i = 0; i < snapshot->guest_count; i++)
		tell_guest(&snapshot->guests[i], &kept[i], warnings);
}

static void tell_blocks(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;
	uint64_t offline_bytes = 0, missing = 0;
	const struct step_record *record;
	struct kept_step at = {0};
	char object[96];

	while ((record = next_kept(input, STEP_KIND_OFFLINE_BLOCKS, &at))) {
		missing += step_block_count(&record->step);
		for (size_t i = 0; i < snapshot->block_count; i++) {
			const struct snapshot_block *block = &snapshot->blocks[i];

			if (!step_has_block(&record->step, block->id))
				continue;
			missing--;
			offline_bytes += block->state == BLOCK_STATE_OFFLINE ? block->size_bytes : 0;
		}
	}
	wish_target(input->wish, object);
	if (offline_bytes)
		remainder_list_add(warnings, REMAINDER_KEPT, object, offline_bytes,
				   "take it online where it is wanted (chmem -e); the next boot may do so by itself",
				   "its memory stays offline");
	if (missing)
		remainder_list_add(warnings, REMAINDER_KEPT, object, 0,
				   "what is plugged in there is new memory: take it online where it is wanted (chmem -e)",
				   "%llu blocks are not there, and nothing waits for them any more", (unsigned long long)missing);
}

/* By the largest that a step has found it: of several that is the first. */
static void tell_pool(const struct plan_input *input, const struct snapshot_node *node, const struct snapshot_pool *pool,
		      struct remainder_list *warnings)
{
	uint64_t now = (pool->total - plan_min(pool->total, pool->surplus)) * pool->page_bytes, before = 0;
	const struct step_record *record;
	struct kept_step at = {0};
	char object[96], page[SIZE_TEXT_SIZE];

	while ((record = next_kept(input, STEP_KIND_HOST_POOL, &at))) {
		uint64_t found = record->step.target_bytes + record->step.bytes;

		if (record->step.node == node->id && record->step.page_bytes == pool->page_bytes && found > before)
			before = found;
	}
	snprintf(object, sizeof(object), "node %d", node->id);
	if (before > now)
		remainder_list_add(warnings, REMAINDER_KEPT, object, before - now, "raise nr_hugepages of the node",
				   "its pool of huge pages of %s stays smaller than it was",
				   size_text_format(pool->page_bytes, page));
}

void undrain_keep_tell(const struct plan_input *input, struct remainder_list *warnings)
{
	tell_guests(input, warnings);
	tell_blocks(input, warnings);
	for (size_t i = 0; i < input->snapshot->node_count; i++)
		for (size_t j = 0; j < input->snapshot->nodes[i].pool_count; j++)
			tell_pool(input, &input->snapshot->nodes[i], &input->snapshot->nodes[i].pools[j], warnings);
}
