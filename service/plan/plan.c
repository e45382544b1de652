/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planners by kind, and the dry run: the same next() against a copy of the snapshot in which
 * each step has worked.
 */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "guest_index.h"
#include "resize_priv.h"
#include "size_text.h"

/* Of fewer guests a dry run chooses among equally good places exactly as the drain will, in a tenth of a second. */
#define BATCH_GUESTS_MIN 256

void plan_limits_init(struct plan_limits *limits)
{
	*limits = (struct plan_limits){
		.reserve_bytes = SIZE_TEXT_GIB,
		.flat_ms = 5000,
		.block_timeout_ms = 30000,
		.hook_timeout_ms = 10000,
		.stall_us = 10000,
		.bytes_per_s = 0,
		.online_ratio_percent = 301,
		.resize_timeout_s = 120,
		.drain_timeout_factor = 2,
		.drain_moves = 2,
		/* One thread, 4 KiB pages: the slowest of what was measured. */
		.assumed_bytes_per_s = 100 * SIZE_TEXT_MIB,
	};
}

void plan_next(const struct plan_input *input, struct decision *ret_decision)
{
	switch (input->wish->kind) {
	case OPERATION_KIND_RESIZE:
		resize_next(input, ret_decision);
		return;
	case OPERATION_KIND_MOVE:
		move_next(input, ret_decision);
		return;
	case OPERATION_KIND_DRAIN:
		drain_next(input, ret_decision);
		return;
	case OPERATION_KIND_UNDRAIN:
		undrain_next(input, ret_decision);
		return;
	case OPERATION_KIND_CHECK:
		check_next(input, ret_decision);
		return;
	case OPERATION_KIND_COUNT:
		break;
	}
	memset(ret_decision, 0, sizeof(*ret_decision));
	ret_decision->kind = DECISION_KIND_GIVE_UP;
	remainder_list_add(&ret_decision->remainder, REMAINDER_INVALID, "host", 0, NULL,
			   "no such kind of operation");
}

/* FNV-1a, 64 bits: short, the same everywhere, and nobody gains by a collision with his own plan.
 */
static void digest_bytes(uint64_t *hash, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		*hash = (*hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static void digest_text(uint64_t *hash, const char *text)
{
	/* With its end, so that "a" "bc" and "ab" "c" differ. */
	digest_bytes(hash, text, strlen(text) + 1);
}

static void digest_number(uint64_t *hash, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	digest_text(hash, text);
}

static void digest_map(uint64_t *hash, const int8_t *map, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (map[i] < 0)
			continue;
		digest_number(hash, i);
		digest_number(hash, (uint64_t)map[i]);
	}
	digest_text(hash, ";");
}

/*
 * What a step would change, not how much there happens to be at this moment: a guest that touches
 * one more page must not make a plan that somebody has just read another one.
 */
static void digest_step(uint64_t *hash, const struct step *step)
{
	digest_text(hash, step_kind_name(step->kind));
	digest_text(hash, step->guest);
	digest_text(hash, step->device);
	digest_text(hash, step->dimm);
	digest_number(hash, (uint64_t)(step->node + 1));
	digest_number(hash, step->nodes);
	digest_number(hash, step->page_bytes);
	digest_map(hash, step->map, SNAPSHOT_NODES_MAX);
	digest_map(hash, step->cells, SNAPSHOT_CELLS_MAX);
	digest_number(hash, step->mode);
	digest_number(hash, step->loose);
	if (step->kind == STEP_KIND_ONLINE_POLICY || step->kind == STEP_KIND_HOST_HOOKS)
		digest_text(hash, step->text);
	digest_text(hash, step->hook_names);
	digest_text(hash, step->slices);
	/* A move asks for what happens to be free, wherever that lies: that it asks is the plan. */
	if ((step->kind == STEP_KIND_REQUEST || step->kind == STEP_KIND_BALLOON) && !step->text[0])
		digest_number(hash, step->target_bytes);
	digest_number(hash, step->order);
	for (size_t i = 0; i < step->block_run_count; i++) {
		digest_number(hash, step->block_runs[i].first);
		digest_number(hash, step->block_runs[i].last);
	}
	/* Of a move the agent's blocks are those that happen to be free. */
	for (size_t i = 0; !(step->kind == STEP_KIND_OFFLINE_GUEST_BLOCKS && step->text[0]) && i < step->range_count;
	     i++) {
		digest_number(hash, step->ranges[i].start);
		digest_number(hash, step->ranges[i].end);
	}
	digest_number(hash, step->undo_n);
	if (step->child) {
		digest_text(hash, operation_kind_name(step->child->kind));
		/* Of a shrink how much, and where, is what happens to be there. */
		if (step->child->kind == OPERATION_KIND_MOVE)
			digest_map(hash, step->child->move.map, SNAPSHOT_NODES_MAX);
	}
}

static void make_digest(struct plan *plan)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < plan->step_count; i++)
		digest_step(&hash, &plan->steps[i]);
	digest_number(&hash, plan->consents_needed);
	for (size_t i = 0; i < plan->blockers.count; i++) {
		if (plan->blockers.items[i].consent >= 0)
			continue;
		digest_text(&hash, remainder_code_name(plan->blockers.items[i].code));
		digest_text(&hash, plan->blockers.items[i].object);
	}
	snprintf(plan->digest, sizeof(plan->digest), "%016" PRIx64, hash);
}

static void count_needs(struct plan *plan, const struct plan_input *input, const struct snapshot_guest *guest,
			const struct step *step)
{
	const int8_t *map =
		step->kind == STEP_KIND_CHILD && step->child && !step_shrinks(step) ? step->child->move.map : step->map;
	bool is_move = input->wish->kind == OPERATION_KIND_MOVE;
	struct drain_scope scope;
	uint64_t growth;
	int node;

	if (step->kind == STEP_KIND_MOVE_PAGES || step->kind == STEP_KIND_CHILD ||
	    (step->kind == STEP_KIND_REQUEST && guest && (!is_move || step_replugs(step))))
		plan->bytes += step->bytes;
	else if (step->kind == STEP_KIND_OFFLINE_BLOCKS)
		plan->work_bytes += step->bytes;
	if (!guest || step_shrinks(step))
		return;
	if (step->kind == STEP_KIND_MOVE_PAGES || step->kind == STEP_KIND_CHILD) {
		drain_scope_of_ranges(input->snapshot, step->ranges, step->range_count, &scope);
		for (int from = 0; from < SNAPSHOT_NODES_MAX; from++)
			if (map[from] >= 0)
				plan->needs_bytes[map[from]] +=
					step->range_count
						? drain_scope_node_bytes(input->snapshot, &scope, guest, from)
						: guest->node_bytes[from];
		return;
	}
	if (step->kind != STEP_KIND_REQUEST)
		return;
	growth = 0;
	for (size_t i = 0; i < guest->device_count; i++)
		if (strcmp(guest->devices[i].alias, step->device) == 0 &&
		    step->target_bytes > guest->devices[i].current_bytes)
			growth = step->target_bytes - guest->devices[i].current_bytes;
	node = plan_first_node(step->nodes ? step->nodes
			       : is_move   ? guest->policy_nodes & plan_guest_nodes(guest)
					   : plan_growth_nodes(input, guest));
	if (node >= 0)
		plan->needs_bytes[node] += growth;
}

static void forecast(struct plan *plan, const struct plan_input *input)
{
	const struct snapshot_guest *guest;
	struct resize_forecast resize;

	if (input->wish->kind == OPERATION_KIND_MOVE && plan->blockers.count == 0)
		move_remainder_forecast(input, &plan->forecast);
	if (input->wish->kind != OPERATION_KIND_RESIZE)
		return;
	guest = snapshot_guest(input->snapshot, input->wish->guest);
	if (!guest || plan_wanted_bytes(input->wish, guest) >= guest->current_bytes ||
	    !resize_forecast(input, guest, &resize))
		return;
	/* The steps' own end says less, and some of it would be told twice. */
	plan->forecast.count = 0;
	plan->leave_count = resize.device_count;
	memcpy(plan->leaves, resize.devices, sizeof(plan->leaves));
	resize_remainder_forecast(input, guest, &resize, &plan->forecast);
}

/* Only what a consent would lift stands in the way? */
static bool only_consents(const struct remainder_list *blockers)
{
	for (size_t i = 0; i < blockers->count; i++)
		if (blockers->items[i].consent < 0)
			return false;
	return true;
}

static bool add_step(struct plan *plan, const struct step *step)
{
	struct step *grown = reallocarray(plan->steps, plan->step_count + 1, sizeof(*grown));

	if (!grown)
		return false;
	plan->steps = grown;
	if (step_copy(step, &grown[plan->step_count]) < 0)
		return false;
	plan->step_count++;
	return true;
}

struct simulation {
	struct snapshot *snapshot;   /* owned */
	struct guest_index guests;   /* of that */
	struct step_record *history; /* owned */
	size_t history_count;
	struct decision *decision; /* owned: too large for the stack of a small thread */
};

static void simulation_done(struct simulation *simulation)
{
	for (size_t i = 0; i < simulation->history_count; i++)
		step_record_done(&simulation->history[i]);
	free(simulation->history);
	free(simulation->decision);
	guest_index_done(&simulation->guests);
	snapshot_free(simulation->snapshot);
}

/* The step has worked. False where memory is short. */
static bool simulate_step(struct plan *plan, const struct plan_input *input, struct simulation *simulation,
			  const struct step *step)
{
	struct snapshot_guest *guest = guest_index_find(&simulation->guests, step->guest);
	struct step_record *grown =
		reallocarray(simulation->history, simulation->history_count + 1, sizeof(*grown));

	if (!grown)
		return false;
	simulation->history = grown;
	if (!add_step(plan, step))
		return false;
	count_needs(plan, input, guest, step);
	plan_apply_to(simulation->snapshot, guest, step, input->now_ms, &grown[simulation->history_count]);
	/* Of this operation itself, as the engine writes it down. */
	if (step->kind == STEP_KIND_UNDO && !step->undo_operation[0] && step->undo_n &&
	    step->undo_n <= simulation->history_count)
		grown[step->undo_n - 1].state = STEP_STATE_UNDONE;
	grown[simulation->history_count].n = (unsigned)simulation->history_count + 1;
	simulation->history_count++;
	return true;
}

/*
 * A guest of a drain leaves or comes home, and with it all that are to: where they are so many that one by one takes too
 * long.
 */
static bool is_batch(const struct plan_input *input, const struct step *step)
{
	return input->wish->kind == OPERATION_KIND_DRAIN && input->snapshot->guest_count >= BATCH_GUESTS_MIN &&
	       (step->kind == STEP_KIND_UNDO ||
		(step->kind == STEP_KIND_CHILD && step->child && step->child->kind == OPERATION_KIND_MOVE));
}

static bool find_batch(const struct plan_input *input, const struct step *first, struct drain_batch *ret_batch)
{
	if (first->kind == STEP_KIND_UNDO || step_brings_home(first))
		return drain_batch_home(input, first->kind == STEP_KIND_UNDO, ret_batch);
	return drain_batch_find(input, ret_batch);
}

static bool simulate_batch(struct plan *plan, const struct plan_input *input, struct simulation *simulation,
			   const struct step *first)
{
	CLEANUP(drain_batch_done) struct drain_batch batch = {0};

	if (!find_batch(input, first, &batch))
		return false;
	for (size_t i = 0; i < batch.count; i++)
		if (!simulate_step(plan, input, simulation, &batch.steps[i]))
			return false;
	return batch.count > 0;
}

/* False where memory is short. */
static bool simulate(struct plan *plan, struct plan_input input, struct simulation *simulation)
{
	struct decision *decision = simulation->decision;

	input.snapshot = simulation->snapshot;
	for (;;) {
		bool enough;

		input.history = simulation->history;
		input.history_count = simulation->history_count;
		plan_next(&input, decision);
		if (decision->kind != DECISION_KIND_STEP || plan->step_count >= plan_steps_max(&input))
			break;
		enough = is_batch(&input, &decision->step) ?
				 simulate_batch(plan, &input, simulation, &decision->step) :
				 simulate_step(plan, &input, simulation, &decision->step);
		step_done(&decision->step);
		remainder_list_append(&plan->warnings, &decision->warnings);
		if (!enough)
			return false;
	}
	if (decision->kind == DECISION_KIND_STEP)
		step_done(&decision->step);
	remainder_list_append(&plan->warnings, &decision->warnings);
	if (decision->kind == DECISION_KIND_GIVE_UP)
		remainder_list_append(&plan->forecast, &decision->remainder);
	plan->already_done = decision->kind == DECISION_KIND_DONE && plan->step_count == 0;
	plan->work_bytes += plan->bytes;
	return true;
}

/* The same warning comes with every step; bytes were summed up on the way. */
static void settle_warnings(struct plan *plan, const struct plan_input *input)
{
	struct decision *decision = calloc(1, sizeof(*decision));

	if (!decision)
		return;
	plan_next(input, decision);
	for (size_t i = 0; i < plan->warnings.count; i++)
		for (size_t j = 0; j < decision->warnings.count; j++)
			if (strcmp(plan->warnings.items[i].detail,
				   decision->warnings.items[j].detail) == 0 &&
			    strcmp(plan->warnings.items[i].object,
				   decision->warnings.items[j].object) == 0)
				plan->warnings.items[i].bytes = decision->warnings.items[j].bytes;
	if (decision->kind == DECISION_KIND_STEP)
		step_done(&decision->step);
	free(decision);
}

struct plan *plan_dry_run(const struct plan_input *input)
{
	CLEANUP(plan_freep) struct plan *plan = calloc(1, sizeof(*plan));
	struct simulation simulation = {0};
	struct plan_input planned = *input;
	struct failure failure;
	struct wish wish = *input->wish;
	bool enough = true;

	if (!plan)
		return NULL;
	plan_check(input, &plan->blockers, &failure);
	for (size_t i = 0; i < plan->blockers.count; i++)
		if (plan->blockers.items[i].consent >= 0)
			plan->consents_needed |= UINT32_C(1) << plan->blockers.items[i].consent;
	plan_check_warnings(input, &plan->warnings);
	if (only_consents(&plan->blockers)) {
		/* What would happen once they are given. */
		wish.allow |= plan->consents_needed;
		planned.wish = &wish;
		planned.deadline_ms = 0;
		simulation.snapshot = snapshot_copy(input->snapshot);
		simulation.decision = calloc(1, sizeof(*simulation.decision));
		enough = simulation.snapshot && simulation.decision &&
			 guest_index_init(&simulation.guests, simulation.snapshot) == 0 &&
			 simulate(plan, planned, &simulation);
		settle_warnings(plan, &planned);
		simulation_done(&simulation);
	}
	if (!enough)
		return NULL;
	forecast(plan, input);
	plan_estimate(plan, input);
	make_digest(plan);
	return TAKE_PTR(plan);
}

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	for (size_t i = 0; i < plan->step_count; i++)
		step_done(&plan->steps[i]);
	free(plan->steps);
	free(plan->costs);
	free(plan);
	return NULL;
}
