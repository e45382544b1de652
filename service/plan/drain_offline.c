/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a drain: offline, once the guests are gone and there is room for what the kernel has to move itself.
 */
#include "drain_priv.h"

#include <string.h>
#include "crash_risk.h"
#include "drain_part.h"

#define OFFLINES_MAX 2

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

	if (drain_scope_stays_within(input, &drainer->scope))
		return drainer->scope.nodes;
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
	if (drain_scope_stays_within(drainer->input, &drainer->scope))
		return drain_part_holds_all(drainer->input, &drainer->scope, plan_first_node(drainer->scope.nodes));
	return !drainer->is_stuck &&
	       room_on(drainer, guest_nodes(drainer)) >= drainer->guest_bytes &&
	       room_on(drainer, planned_nodes(drainer)) >= drainer->rest_bytes;
}

size_t drain_offlines(const struct plan_input *input, uint64_t block, const struct step_record **ret_last)
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

enum remainder_code drain_refusal(struct drain_refusals *refusals, const struct step_record *record, uint64_t block)
{
	if (refusals->of != record) {
		drain_refusals_done(refusals);
		if (block_refusals_of_step(record, &refusals->told))
			return REMAINDER_NONE;
		refusals->of = record;
	}
	return block_refusals_code(&refusals->told, block);
}

void drain_refusals_done(struct drain_refusals *refusals)
{
	block_refusals_done(&refusals->told);
	refusals->of = NULL;
}

/* Does it stay whatever guests do? */
static bool is_no_guests(enum remainder_code code)
{
	return code == REMAINDER_KERNEL_MEMORY || code == REMAINDER_NOT_MOVABLE || code == REMAINDER_HOST_PROCESS;
}

/*
 * Again only after guests that were in the way have been moved since. One with a pinned page not where such pages of
 * theirs have stayed: a try takes it from its owner again and again, and cannot come to anything.
 */
static bool may_offline(const struct plan_input *input, const struct snapshot_block *block, struct drain_refusals *refusals)
{
	const struct step_record *last;
	size_t tries = drain_offlines(input, block->id, &last);
	enum remainder_code code = tries ? drain_refusal(refusals, last, block->id) : REMAINDER_NONE;
	bool is_moved = false;

	if (tries == 0)
		return true;
	for (last++; last < input->history + input->history_count; last++) {
		if (last->step.kind != STEP_KIND_CHILD || last->state == STEP_STATE_UNDONE)
			continue;
		if (code == REMAINDER_PINNED && (remainder_list_has(&last->remainder, REMAINDER_PINNED) ||
						 remainder_list_has(&last->remainder, REMAINDER_VFIO_PINNED)))
			return false;
		is_moved = is_moved || last->bytes_done > 0;
	}
	return is_moved && tries < OFFLINES_MAX && !is_no_guests(code);
}

bool drain_offline_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	const struct snapshot *snapshot = input->snapshot;
	CLEANUP(drain_refusals_done) struct drain_refusals refusals = {0};
	struct step step;

	if (!drainer->scope.online_blocks || !rest_fits(drainer) || drain_leaves_any_alone(drainer) ||
	    crash_risk_bars(input, &drainer->scope) || drain_pool_failed(input))
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
		    !may_offline(input, block, &refusals))
			continue;
		if (!step_add_block(&step, block->id))
			break;
		step.bytes += block->size_bytes;
	}
	return step.block_run_count &&
	       (drain_hooks_next(drainer) || drain_pool_next(input, &drainer->scope, drainer->decision) ||
		drain_emit(drainer, &step));
}
