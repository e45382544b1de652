/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check: what the kernel does, then the proof that backing moves under a running vCPU, for each
 * page size and pair of nodes that this host has.
 */
#include "plan_priv.h"

#include <string.h>
#include "size_text.h"

#define PAIRS_MAX   8			 /* a host with more nodes is proved by a sample */
#define PROOF_BYTES (16 * SIZE_TEXT_MIB) /* the microVM's memory */

static bool was_done(const struct plan_input *input, uint64_t page, int from, int to)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *step = &input->history[i].step;

		if (step->kind == STEP_KIND_PROOF && step->page_bytes == page &&
		    step->node == from && step->nodes == plan_node_bit(to))
			return true;
	}
	return false;
}

static bool has_room(const struct snapshot *snapshot, int node, uint64_t page)
{
	const struct snapshot_node *seen = snapshot_node(snapshot, node);
	const struct snapshot_pool *pool = plan_pool(snapshot, node, page);

	if (page == 4096)
		return seen->free_bytes >= 4 * PROOF_BYTES;
	return pool && pool->free * page >= PROOF_BYTES;
}

static bool proof_next(const struct plan_input *input, struct decision *decision)
{
	static const uint64_t pages[] = {4096, 2 * SIZE_TEXT_MIB};
	uint64_t nodes =
		plan_memory_nodes(input->snapshot) & ~snapshot_held_nodes(input->snapshot, NULL);
	struct step step;

	for (size_t p = 0; p < ARRAY_SIZE(pages); p++) {
		size_t pairs = 0;

		for (int from = 0; from < SNAPSHOT_NODES_MAX; from++) {
			for (int to = from + 1; to < SNAPSHOT_NODES_MAX; to++) {
				if (!(nodes >> from & 1) || !(nodes >> to & 1) ||
				    pairs++ >= PAIRS_MAX || was_done(input, pages[p], from, to) ||
				    !has_room(input->snapshot, from, pages[p]) ||
				    !has_room(input->snapshot, to, pages[p]))
					continue;
				plan_step_init(&step, STEP_KIND_PROOF, NULL);
				step.page_bytes = pages[p];
				step.node = from;
				step.nodes = plan_node_bit(to);
				step.bytes = PROOF_BYTES;
				plan_decide(decision, &step);
				return true;
			}
		}
	}
	return false;
}

void check_next(const struct plan_input *input, struct decision *ret_decision)
{
	struct step step;

	memset(ret_decision, 0, sizeof(*ret_decision));
	if (!plan_is_late(input)) {
		if (!plan_count(input, STEP_KIND_PROBE)) {
			plan_step_init(&step, STEP_KIND_PROBE, NULL);
			plan_decide(ret_decision, &step);
			return;
		}
		if (proof_next(input, ret_decision))
			return;
	}
	ret_decision->kind = DECISION_KIND_DONE;
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];
		char text[160];

		if (record->state != STEP_STATE_FAILED && record->state != STEP_STATE_PARTIAL)
			continue;
		if (record->remainder.count)
			remainder_list_append(&ret_decision->remainder, &record->remainder);
		else
			remainder_list_add(&ret_decision->remainder, REMAINDER_INVALID, "host", 0,
					   NULL, "%s %.100s: %s", step_word(&record->step),
					   step_describe(&record->step, text),
					   record->detail[0] ? record->detail : "it failed");
	}
	if (plan_is_late(input))
		remainder_list_add(&ret_decision->remainder, REMAINDER_DEADLINE, "host", 0, NULL,
				   "time ran out before every pair of nodes was proved");
	if (ret_decision->remainder.count)
		ret_decision->kind = DECISION_KIND_GIVE_UP;
	else if (!plan_count(input, STEP_KIND_PROOF))
		remainder_list_add(&ret_decision->warnings, REMAINDER_NO_ROOM, "host", 0,
				   "nothing: there is nowhere to move to",
				   "no two nodes with free memory: moving was not proved");
}
