/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a drain that gives up says of every byte that stayed.
 */
#include "drain_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "crash_risk.h"

/* Of a block that went offline since, or was tried once more. */
static bool is_stale(const struct plan_input *input, const struct step_record *record, const struct remainder *entry)
{
	const struct snapshot_block *block;
	const struct step_record *last;
	uint64_t id;

	if (sscanf(entry->object, "block %" SCNu64, &id) != 1)
		return false;
	block = snapshot_block(input->snapshot, id);
	drain_offlines(input, id, &last);
	return !block || block->state == BLOCK_STATE_OFFLINE || last != record;
}

/* Those blocks of that try, with that code, which are online still, and have not been tried since. Returns their bytes. */
static uint64_t still_there(const struct plan_input *input, const struct step_record *record, enum remainder_code code,
			    struct drain_refusals *refusals, struct block_refusals *ret_there)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];
		const struct step_record *last;

		if (block->state == BLOCK_STATE_OFFLINE || drain_refusal(refusals, record, block->id) != code)
			continue;
		drain_offlines(input, block->id, &last);
		if (last != record)
			continue;
		bytes += block->size_bytes;
		/* Without memory the name is shorter than it might be. */
		(void)block_refusals_add(ret_there, block->id, code);
	}
	return bytes;
}

/* Of several blocks at once; false where the entry is of none. */
static bool tell_several(struct drainer *drainer, const struct step_record *record, const struct remainder *entry,
			 struct drain_refusals *refusals, uint64_t *rest)
{
	struct block_refusals there = {0};
	struct remainder told = *entry;
	uint64_t id;

	drain_refusal(refusals, record, 0);
	if (strncmp(entry->object, "block", 5) != 0 || sscanf(entry->object, "block %" SCNu64, &id) == 1 ||
	    !block_refusals_count(&refusals->told, entry->code))
		return false;
	told.bytes = still_there(drainer->input, record, entry->code, refusals, &there);
	if (told.bytes) {
		block_refusals_describe(&there, entry->code, told.object, sizeof(told.object));
		plan_take_entry(&drainer->decision->remainder, &told, rest);
	}
	block_refusals_done(&there);
	return true;
}

/* What the attempts told of the blocks that are still online. */
static void tell_attempts(struct drainer *drainer, struct drain_refusals *refusals, uint64_t *rest)
{
	const struct plan_input *input = drainer->input;

	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind != STEP_KIND_OFFLINE_BLOCKS || record->state == STEP_STATE_UNDONE)
			continue;
		for (size_t n = 0; n < record->remainder.count; n++)
			if (!tell_several(drainer, record, &record->remainder.items[n], refusals, rest) &&
			    !is_stale(input, record, &record->remainder.items[n]))
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

/* A move that came to nothing may tell why without bytes: then that is why all of them stayed. */
static void tell_failure(struct remainder_list *list, const struct step_record *last, uint64_t *left)
{
	if (!last || last->state == STEP_STATE_DONE || last->bytes_done)
		return;
	for (size_t i = 0; *left && i < last->remainder.count; i++) {
		struct remainder entry = last->remainder.items[i];

		if (entry.bytes)
			continue;
		entry.bytes = *left;
		remainder_list_add_copy(list, &entry);
		*left = 0;
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

/* Each of so many blocks is told by itself, more of them in one entry. */
#define UNTOLD_MAX 16

static void tell_alike(struct remainder_list *list, const struct snapshot *snapshot, const struct block_refusals *blocks,
		       enum remainder_code code, const char *why, uint64_t bytes)
{
	bool is_each = block_refusals_count(blocks, code) <= UNTOLD_MAX;
	char object[96];

	for (size_t i = 0; is_each && i < blocks->count; i++)
		for (uint64_t id = blocks->runs[i].first; bytes && id <= blocks->runs[i].last; id++) {
			uint64_t share = plan_min(snapshot_block(snapshot, id)->size_bytes, bytes);

			snprintf(object, sizeof(object), "block %" PRIu64, id);
			remainder_list_add(list, code, object, share, NULL, "%s", why);
			bytes -= share;
		}
	if (bytes)
		remainder_list_add(list, code, block_refusals_describe(blocks, code, object, sizeof(object)), bytes, NULL,
				   "%s", why);
}

/* The blocks of which nothing has been said yet: those that were tried, and those that were not. */
static void tell_untold(struct drainer *drainer, struct drain_refusals *refusals, uint64_t rest)
{
	const struct plan_input *input = drainer->input;
	struct remainder_list *list = &drainer->decision->remainder;
	enum remainder_code codes[2] = {REMAINDER_BLOCK_BUSY};
	const char *whys[2] = {"it did not go offline", why_not_tried(drainer, &codes[1])};
	struct block_refusals untold[2] = {0};
	uint64_t bytes[2] = {0};

	if (plan_is_late(input)) {
		codes[0] = codes[1] = REMAINDER_DEADLINE;
		whys[0] = whys[1] = "time ran out";
	}
	for (size_t i = 0; i < input->snapshot->block_count && rest; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];
		uint64_t share = plan_min(block->size_bytes, rest);
		const struct step_record *last;
		bool is_untried;
		char object[32];

		if (block->state == BLOCK_STATE_OFFLINE || !drain_scope_has(&drainer->scope, block))
			continue;
		snprintf(object, sizeof(object), "block %" PRIu64, block->id);
		is_untried = !drain_offlines(input, block->id, &last);
		if (is_told(list, object) || (!is_untried && drain_refusal(refusals, last, block->id) != REMAINDER_NONE))
			continue;
		rest -= share;
		bytes[is_untried] += share;
		/* Without memory for its name it is in the sum alone. */
		(void)block_refusals_add(&untold[is_untried], block->id, codes[is_untried]);
	}
	for (size_t i = 0; i < 2; i++) {
		tell_alike(list, input->snapshot, &untold[i], codes[i], whys[i], bytes[i]);
		block_refusals_done(&untold[i]);
	}
}

void drain_give_up(struct drainer *drainer, bool blocks)
{
	const struct plan_input *input = drainer->input;
	struct remainder_list *list = &drainer->decision->remainder;
	uint64_t rest = blocks ? drainer->scope.online_bytes : drainer->guest_bytes;
	CLEANUP(drain_layout_done) struct drain_layout layout;
	CLEANUP(drain_refusals_done) struct drain_refusals refusals = {0};
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
		if (drain_tries(input, guest->uuid, &last))
			plan_take_remainder(list, &last->remainder, &left);
		tell_failure(list, last, &left);
		if (left && is_planned && drain_leaves_alone(drainer, &layout, i, &refusal)) {
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
	drain_shrink_tell(drainer, list);
	if (blocks) {
		crash_risk_tell(input, &drainer->scope, list, &rest);
		drain_pool_tell(input, &drainer->scope, list, &rest);
		tell_attempts(drainer, &refusals, &rest);
		tell_untold(drainer, &refusals, rest);
	}
}
