/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All guests of a drain at once. The drain itself places all of them anew before each move, by what it then sees; a dry
 * run, in which every move has worked, would only come to places as good as these, as many times as there are guests. The
 * same on the way home.
 */
#include "drain_priv.h"

#include <stdlib.h>

static bool add_step(struct drain_batch *batch, const struct step *step)
{
	return step_copy(step, &batch->steps[batch->count]) == 0 && ++batch->count;
}

/* With room for so many steps. */
static bool batch_init(struct drain_batch *batch, size_t most)
{
	*batch = (struct drain_batch){.steps = calloc(most + 1, sizeof(*batch->steps))};
	return batch->steps != NULL;
}

static bool hand_over(struct drain_batch *batch, bool enough, struct drain_batch *ret_batch)
{
	if (enough)
		*ret_batch = *batch;
	else
		drain_batch_done(batch);
	return enough;
}

bool drain_batch_find(const struct plan_input *input, struct drain_batch *ret_batch)
{
	struct drainer drainer = {.input = input, .wish = &input->wish->drain_wish};
	CLEANUP_FREE struct drain_scope_guest *guests = NULL;
	CLEANUP(drain_layout_done) struct drain_layout layout = {0};
	struct drain_batch batch;
	size_t count = 0;
	struct wish child;
	struct step step;
	bool enough;

	drain_scope_find(input, &drainer.scope);
	guests = drain_scope_guests(input, &drainer.scope, &count);
	enough = batch_init(&batch, count) && guests && drain_layout_find(input, &drainer.scope, &layout) == 0;
	for (size_t i = 0; enough && i < count; i++) {
		if (!drain_child_of(&drainer, &layout, guests[i].index, &step, &child))
			continue;
		step.child = &child;
		enough = add_step(&batch, &step);
	}
	return hand_over(&batch, enough, ret_batch);
}

struct homing {
	struct drain_batch *batch;
	struct snapshot *snapshot;	/* of what has come home so far */
	const struct guest_index *guests;
};

static bool take_home(void *user, const struct step *step)
{
	struct homing *homing = user;
	struct step_record ended;

	if (!add_step(homing->batch, step))
		return false;
	plan_apply_to(homing->snapshot, guest_index_find(homing->guests, step->guest), step, 0, &ended);
	step_record_done(&ended);
	return true;
}

bool drain_batch_home(const struct plan_input *input, bool by_undo, struct drain_batch *ret_batch)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_copy(input->snapshot);
	CLEANUP_FREE struct decision *decision = calloc(1, sizeof(*decision));
	CLEANUP(guest_index_done) struct guest_index guests = {0};
	struct plan_input seen = *input;
	struct drainer drainer = {.input = &seen, .wish = &input->wish->drain_wish, .decision = decision};
	struct drain_batch batch;
	struct homing homing = {&batch, snapshot, &guests};
	bool enough = batch_init(&batch, input->history_count) && snapshot && decision &&
		      guest_index_init(&guests, snapshot) == 0;

	if (enough) {
		seen.snapshot = snapshot;
		drain_scope_find(&seen, &drainer.scope);
		enough = by_undo ? drain_part_home_all(&drainer, &guests, take_home, &homing)
				 : drain_home_all(&drainer, &guests, take_home, &homing);
	}
	return hand_over(&batch, enough, ret_batch);
}

void drain_batch_done(struct drain_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		step_done(&batch->steps[i]);
	free(batch->steps);
	*batch = (struct drain_batch){0};
}
