/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All guests of a drain at once. The drain itself places all of them anew before each move, by what it then sees; a dry
 * run, in which every move has worked, would only come to places as good as these, as many times as there are guests.
 */
#include "drain_priv.h"

#include <stdlib.h>

struct guest_size {
	uint64_t bytes;
	size_t index;
};

/* As drain_guest_next() chooses: the largest, of equal ones the first. */
static int compare_sizes(const void *left, const void *right)
{
	const struct guest_size *a = left, *b = right;

	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static bool add_child(struct drain_batch *batch, struct step *step, const struct wish *child)
{
	step->child = malloc(sizeof(*step->child));
	if (!step->child)
		return false;
	*step->child = *child;
	batch->steps[batch->count++] = *step;
	return true;
}

bool drain_batch_find(const struct plan_input *input, struct drain_batch *ret_batch)
{
	const struct snapshot *snapshot = input->snapshot;
	struct drainer drainer = {.input = input, .wish = &input->wish->drain_wish};
	struct drain_batch batch = {.steps = calloc(snapshot->guest_count + 1, sizeof(*batch.steps))};
	CLEANUP_FREE struct guest_size *sizes = calloc(snapshot->guest_count + 1, sizeof(*sizes));
	CLEANUP(drain_layout_done) struct drain_layout layout = {0};
	struct wish child;
	struct step step;
	bool enough;

	drain_scope_find(input, &drainer.scope);
	enough = batch.steps && sizes && drain_layout_find(input, &drainer.scope, &layout) == 0;
	for (size_t i = 0; enough && i < snapshot->guest_count; i++)
		sizes[i] = (struct guest_size){drain_scope_guest_bytes(input, &drainer.scope, &snapshot->guests[i]), i};
	if (enough)
		qsort(sizes, snapshot->guest_count, sizeof(*sizes), compare_sizes);
	for (size_t i = 0; enough && i < snapshot->guest_count && sizes[i].bytes; i++)
		if (drain_child_of(&drainer, &layout, sizes[i].index, &step, &child))
			enough = add_child(&batch, &step, &child);
	if (enough)
		*ret_batch = batch;
	else
		drain_batch_done(&batch);
	return enough;
}

void drain_batch_done(struct drain_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		step_done(&batch->steps[i]);
	free(batch->steps);
	*batch = (struct drain_batch){0};
}
