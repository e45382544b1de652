/* SPDX-License-Identifier: Apache-2.0 */
#include "crash_risk.h"

#include <inttypes.h>
#include <stdio.h>
#include "drain_part.h"

static bool needs_consent(const struct plan_input *input)
{
	return !input->snapshot->safe_copy && !(input->wish->allow >> CONSENT_MAY_CRASH_HOST & 1);
}

/* Memory that is known to have such errors, or said to. */
struct bad_memory {
	char name[80];			    /* "dimm acpi-MP00", "block 65" */
	const struct snapshot_dimm *dimm;   /* in which it is; NULL: in none */
	const struct snapshot_range *range; /* a part of that, or of its node; NULL: all of the DIMM */
	int node;			    /* -1: not of one alone */
	uint64_t errors;		    /* as counted; 0: it is said in a hint */
};

static void name_block(const struct snapshot *snapshot, uint64_t start, char *text, size_t size)
{
	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].start == start) {
			snprintf(text, size, "block %" PRIu64, snapshot->blocks[i].id);
			return;
		}
	snprintf(text, size, "block at 0x%" PRIx64, start);
}

/* False where what is known by that number is not bad: first all DIMMs by their counts, then all hints. */
static bool find_bad(const struct snapshot *snapshot, size_t number, struct bad_memory *ret_bad)
{
	struct bad_memory bad = {0};
	const struct snapshot_hint *hint;

	if (number < snapshot->dimm_count) {
		bad.dimm = &snapshot->dimms[number];
		bad.node = bad.dimm->node;
		bad.errors = snapshot_dimm_uncorrected(bad.dimm);
		snprintf(bad.name, sizeof(bad.name), "dimm %s", bad.dimm->id);
		*ret_bad = bad;
		return bad.errors > 0;
	}
	hint = &snapshot->hints[number - snapshot->dimm_count];
	bad.dimm = hint->dimm[0] ? snapshot_dimm(snapshot, hint->dimm) : NULL;
	bad.node = hint->node;
	/* Of a DIMM that has counted errors nothing need be said twice. */
	if (hint->worst != HINT_RISK_UNCORRECTED || (bad.dimm && snapshot_dimm_uncorrected(bad.dimm)))
		return false;
	if (hint->range.start < hint->range.end) {
		bad.range = &hint->range;
		name_block(snapshot, hint->range.start, bad.name, sizeof(bad.name));
	} else {
		snprintf(bad.name, sizeof(bad.name), "dimm %s", hint->dimm);
	}
	*ret_bad = bad;
	return bad.dimm || bad.range;
}

static size_t bad_numbers(const struct snapshot *snapshot)
{
	return snapshot->dimm_count + snapshot->hint_count;
}

static bool bad_has(const struct bad_memory *bad, const struct snapshot_block *block)
{
	if (bad->range)
		return snapshot_block_is_in(block, bad->range, 1);
	return snapshot_block_is_in(block, bad->dimm->ranges, bad->dimm->range_count);
}

/* What of it a drain would take offline. */
static uint64_t online_bytes(const struct plan_input *input, const struct drain_scope *scope, const struct bad_memory *bad)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];

		if (block->state != BLOCK_STATE_OFFLINE && drain_scope_has(scope, block) && bad_has(bad, block))
			bytes += block->size_bytes;
	}
	return bytes;
}

static uint64_t size_of(const struct bad_memory *bad)
{
	return bad->range ? snapshot_ranges_bytes(bad->range, 1)
			  : snapshot_ranges_bytes(bad->dimm->ranges, bad->dimm->range_count);
}

/*
 * What the guest may have there, where of these nodes all of it is copied. Memory over several nodes may be on any, and a
 * guest's pages in any block of a DIMM: only a survey that was asked about it knows better.
 */
static uint64_t guest_bytes(const struct snapshot_guest *guest, const struct bad_memory *bad, uint64_t nodes)
{
	uint64_t bytes = 0;

	if (!nodes || (bad->node >= 0 && !(nodes & plan_node_bit(bad->node))))
		return 0;
	if (bad->dimm && guest->dimms_told)
		return plan_min(snapshot_guest_dimm_bytes(guest, bad->dimm->id), size_of(bad));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes >> node & 1 && (bad->node < 0 || bad->node == node))
			bytes += guest->node_bytes[node];
	return plan_min(bytes, size_of(bad));
}

/* Nodes that a drain moves the guest away from. */
static uint64_t left_nodes(const struct plan_input *input, const struct drain_scope *scope,
			   const struct snapshot_guest *guest)
{
	uint64_t nodes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (drain_scope_guest_leaves(input, scope, guest, node))
			nodes |= plan_node_bit(node);
	return nodes;
}

/* Does the guest keep its node, so that of this, which lies beside what goes, nothing of it is copied? */
static bool stays_beside(const struct plan_input *input, const struct drain_scope *scope,
			 const struct snapshot_guest *guest, const struct bad_memory *bad)
{
	return !online_bytes(input, scope, bad) && drain_part_keeps(input, scope, guest);
}

/* What the guest has there that a drain copies. */
static uint64_t left_bytes(const struct plan_input *input, const struct drain_scope *scope,
			   const struct snapshot_guest *guest, const struct bad_memory *bad)
{
	uint64_t bytes = guest_bytes(guest, bad, left_nodes(input, scope, guest));

	return bytes && !stays_beside(input, scope, guest, bad) ? bytes : 0;
}

static void ask(struct plan_check *check, const struct bad_memory *bad, const char *object, uint64_t bytes)
{
	char why[48] = "is said to have";

	if (bad->errors)
		snprintf(why, sizeof(why), "has counted %" PRIu64, bad->errors);
	plan_check_ask(check, CONSENT_MAY_CRASH_HOST, REMAINDER_UNCORRECTED_ERRORS, object, bytes,
		       "%s %s uncorrected errors: to copy what lies there may stop the host; to unplug it from its guests "
		       "reads nothing",
		       bad->name, why);
}

void crash_risk_check_drain(struct plan_check *check, const struct drain_scope *scope)
{
	const struct plan_input *input = check->input;
	const struct snapshot *snapshot = input->snapshot;

	for (size_t i = 0; needs_consent(input) && i < bad_numbers(snapshot); i++) {
		struct bad_memory bad;
		uint64_t bytes = 0;

		if (!find_bad(snapshot, i, &bad))
			continue;
		if (input->wish->drain_wish.finish != DRAIN_FINISH_EMPTY)
			bytes = online_bytes(input, scope, &bad);
		/* Memory beside the target counts for the guests that leave its node with all they have there. */
		for (size_t g = 0; g < snapshot->guest_count && !bytes; g++)
			bytes = left_bytes(input, scope, &snapshot->guests[g], &bad);
		if (bytes)
			ask(check, &bad, bad.name, bytes);
	}
}

void crash_risk_check_guest(struct plan_check *check, const struct drain_scope *scope, const struct snapshot_guest *guest)
{
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	plan_guest_object(guest, object);
	for (size_t i = 0; needs_consent(check->input) && i < bad_numbers(snapshot); i++) {
		struct bad_memory bad;
		uint64_t bytes = find_bad(snapshot, i, &bad) ? left_bytes(check->input, scope, guest, &bad) : 0;

		if (bytes)
			ask(check, &bad, object, bytes);
	}
}

void crash_risk_check_move(struct plan_check *check, const struct snapshot_guest *guest)
{
	const struct snapshot *snapshot = check->input->snapshot;
	struct move_goal goal;
	char object[96];

	if (!needs_consent(check->input))
		return;
	plan_guest_object(guest, object);
	move_goal_find(check->input, guest, &goal);
	for (size_t i = 0; i < bad_numbers(snapshot); i++) {
		struct bad_memory bad;
		uint64_t bytes = find_bad(snapshot, i, &bad) ? guest_bytes(guest, &bad, goal.sources) : 0;

		if (bytes)
			ask(check, &bad, object, bytes);
	}
}

bool crash_risk_bars(const struct plan_input *input, const struct drain_scope *scope)
{
	for (size_t i = 0; needs_consent(input) && i < bad_numbers(input->snapshot); i++) {
		struct bad_memory bad;

		if (find_bad(input->snapshot, i, &bad) && online_bytes(input, scope, &bad))
			return true;
	}
	return false;
}

void crash_risk_tell(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *list,
		     uint64_t *rest)
{
	struct failure failure = {0};
	struct remainder_list told = {0};
	struct plan_check check = {.input = input, .blockers = &told, .failure = &failure, .action = "cannot drain"};

	if (!crash_risk_bars(input, scope))
		return;
	crash_risk_check_drain(&check, scope);
	/* No block goes as long as one of them must not, so the last has what is left. */
	for (size_t i = 0; i < told.count && *rest; i++) {
		struct remainder entry = told.items[i];

		entry.bytes = i + 1 < told.count ? plan_min(entry.bytes, *rest) : *rest;
		remainder_list_add_copy(list, &entry);
		*rest -= entry.bytes;
	}
}

void crash_risk_warn_move(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, input->wish->guest);
	struct move_goal goal;

	if (!guest)
		return;
	move_goal_find(input, guest, &goal);
	for (size_t i = 0; i < bad_numbers(input->snapshot); i++) {
		struct bad_memory bad;
		char count[24] = "";

		if (!find_bad(input->snapshot, i, &bad) || bad.node < 0 || !goal.needs_bytes[bad.node] ||
		    (bad.dimm && snapshot_dimm_is_out(bad.dimm)))
			continue;
		if (bad.errors)
			snprintf(count, sizeof(count), "%" PRIu64 " ", bad.errors);
		remainder_list_add(warnings, REMAINDER_UNCORRECTED_ERRORS, bad.name, 0,
				   "choose another node, or drain it first",
				   "it is on node %d, to which the guest goes, and has had %suncorrected errors, as %s",
				   bad.node, count, bad.errors ? "EDAC has counted" : "a hint says");
	}
}

/* Is any of the scope in no DIMM whose errors are all told? */
static bool is_untold(const struct plan_input *input, const struct drain_scope *scope)
{
	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];
		bool is_told = false;

		if (!drain_scope_has(scope, block))
			continue;
		for (size_t d = 0; d < input->snapshot->dimm_count; d++)
			is_told = is_told ||
				  (input->snapshot->dimms[d].uncorrected_errors >= 0 &&
				   snapshot_block_is_in(block, input->snapshot->dimms[d].ranges,
							input->snapshot->dimms[d].range_count));
		if (!is_told)
			return true;
	}
	return false;
}

void crash_risk_warn_drain(const struct plan_input *input, const struct drain_scope *scope,
			   struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;
	uint64_t errors = 0;
	char object[96];

	for (size_t i = 0; i < snapshot->controller_count; i++)
		errors += snapshot->controllers[i].unplaced_uncorrected;
	if (!errors || snapshot->safe_copy || input->wish->drain_wish.finish == DRAIN_FINISH_CORDON ||
	    !is_untold(input, scope))
		return;
	remainder_list_add(warnings, REMAINDER_UNCORRECTED_ERRORS, wish_target(input->wish, object), 0,
			   "look at the kernel's log for where they were",
			   "memory controllers have counted %" PRIu64
			   " uncorrected errors in no slot that is known: if they are here, to copy it may stop the host",
			   errors);
}
