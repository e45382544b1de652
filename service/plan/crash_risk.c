/* SPDX-License-Identifier: Apache-2.0 */
#include "crash_risk.h"

#include <inttypes.h>
#include <stdio.h>

static bool needs_consent(const struct plan_input *input)
{
	return !input->snapshot->safe_copy && !(input->wish->allow >> CONSENT_MAY_CRASH_HOST & 1);
}

static bool dimm_has(const struct snapshot_dimm *dimm, const struct snapshot_block *block)
{
	for (size_t i = 0; i < dimm->range_count; i++)
		if (dimm->ranges[i].start < block->start + block->size_bytes && block->start < dimm->ranges[i].end)
			return true;
	return false;
}

/* What of the DIMM a drain would take offline. */
static uint64_t online_bytes(const struct plan_input *input, const struct drain_scope *scope,
			     const struct snapshot_dimm *dimm)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < input->snapshot->block_count; i++) {
		const struct snapshot_block *block = &input->snapshot->blocks[i];

		if (block->state != BLOCK_STATE_OFFLINE && drain_scope_has(scope, block) && dimm_has(dimm, block))
			bytes += block->size_bytes;
	}
	return bytes;
}

/* What the guest may have in the DIMM, where of these nodes all of it is copied. One over several nodes may be on any. */
static uint64_t guest_bytes(const struct snapshot_guest *guest, const struct snapshot_dimm *dimm, uint64_t nodes)
{
	uint64_t bytes = 0, size = 0;

	if (dimm->node >= 0 && !(nodes & plan_node_bit(dimm->node)))
		return 0;
	if (guest->dimms_told)
		return nodes ? snapshot_guest_dimm_bytes(guest, dimm->id) : 0;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes >> node & 1 && (dimm->node < 0 || dimm->node == node))
			bytes += guest->node_bytes[node];
	for (size_t i = 0; i < dimm->range_count; i++)
		size += dimm->ranges[i].end - dimm->ranges[i].start;
	return plan_min(bytes, size);
}

/* Nodes from which a drain moves all that the guest has there. */
static uint64_t left_nodes(const struct plan_input *input, const struct drain_scope *scope,
			   const struct snapshot_guest *guest)
{
	uint64_t nodes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (drain_scope_guest_leaves(input, scope, guest, node))
			nodes |= plan_node_bit(node);
	return nodes;
}

static void ask(struct plan_check *check, const struct snapshot_dimm *dimm, const char *object, uint64_t bytes)
{
	plan_check_ask(check, CONSENT_MAY_CRASH_HOST, REMAINDER_UNCORRECTED_ERRORS, object, bytes,
		       "DIMM %s has counted %" PRIu64 " uncorrected errors: to copy what lies there may stop the host; to "
		       "unplug it from its guests reads nothing",
		       dimm->id, snapshot_dimm_uncorrected(dimm));
}

void crash_risk_check_drain(struct plan_check *check, const struct drain_scope *scope)
{
	const struct plan_input *input = check->input;
	char object[96];

	if (!needs_consent(input))
		return;
	for (size_t i = 0; i < input->snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &input->snapshot->dimms[i];
		uint64_t bytes = 0;

		if (!snapshot_dimm_uncorrected(dimm))
			continue;
		if (input->wish->drain_wish.finish != DRAIN_FINISH_EMPTY)
			bytes = online_bytes(input, scope, dimm);
		/* A DIMM beside the target counts for the guests that leave its node. */
		for (size_t g = 0; g < input->snapshot->guest_count && !bytes; g++) {
			const struct snapshot_guest *guest = &input->snapshot->guests[g];

			bytes = guest_bytes(guest, dimm, left_nodes(input, scope, guest));
		}
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		if (bytes)
			ask(check, dimm, object, bytes);
	}
}

static void check_guest(struct plan_check *check, const struct snapshot_guest *guest, uint64_t nodes)
{
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	plan_guest_object(guest, object);
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		uint64_t bytes = guest_bytes(guest, &snapshot->dimms[i], nodes);

		if (bytes && snapshot_dimm_uncorrected(&snapshot->dimms[i]))
			ask(check, &snapshot->dimms[i], object, bytes);
	}
}

void crash_risk_check_guest(struct plan_check *check, const struct drain_scope *scope, const struct snapshot_guest *guest)
{
	if (needs_consent(check->input))
		check_guest(check, guest, left_nodes(check->input, scope, guest));
}

void crash_risk_check_move(struct plan_check *check, const struct snapshot_guest *guest)
{
	struct move_goal goal;

	if (!needs_consent(check->input))
		return;
	move_goal_find(check->input, guest, &goal);
	check_guest(check, guest, goal.sources);
}

bool crash_risk_bars(const struct plan_input *input, const struct drain_scope *scope)
{
	if (!needs_consent(input))
		return false;
	for (size_t i = 0; i < input->snapshot->dimm_count; i++)
		if (snapshot_dimm_uncorrected(&input->snapshot->dimms[i]) &&
		    online_bytes(input, scope, &input->snapshot->dimms[i]))
			return true;
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
	char object[96];

	if (!guest)
		return;
	move_goal_find(input, guest, &goal);
	for (size_t i = 0; i < input->snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &input->snapshot->dimms[i];

		if (dimm->node < 0 || !goal.needs_bytes[dimm->node] || snapshot_dimm_is_out(dimm) ||
		    !snapshot_dimm_uncorrected(dimm))
			continue;
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		remainder_list_add(warnings, REMAINDER_UNCORRECTED_ERRORS, object, 0, "choose another node, or drain it first",
				   "it is on node %d, to which the guest goes, and has counted %" PRIu64
				   " uncorrected errors",
				   dimm->node, snapshot_dimm_uncorrected(dimm));
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
			is_told = is_told || (input->snapshot->dimms[d].uncorrected_errors >= 0 &&
					      dimm_has(&input->snapshot->dimms[d], block));
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
