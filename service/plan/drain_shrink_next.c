/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that become smaller before anything moves, because there is no room for all of them: child resizes, one after
 * the other, and after each the placement is looked at again.
 */
#include "drain_shrink.h"

#include <stdlib.h>
#include <string.h>
#include "drain_priv.h"

/* What cannot be had in so much of the drain's time is not waited for: it may be had of another guest. */
#define TIME_SHARE 4

static uint32_t timeout_s(const struct plan_input *input)
{
	uint64_t left = input->deadline_ms > input->now_ms ? input->deadline_ms - input->now_ms : 0;
	uint64_t most = input->deadline_ms ? left / 1000 / TIME_SHARE + 1 : UINT32_MAX;

	return (uint32_t)plan_min(most, input->limits->resize_timeout_s);
}

/* One of those without a place may not be moved anyhow: nobody is made smaller for it. */
static bool is_for_nobody(const struct drainer *drainer, const struct drain_shrink *shrink)
{
	struct remainder_list why;

	for (size_t i = 0; i < drainer->input->snapshot->guest_count; i++)
		if (drain_layout_unplaced(&shrink->plain, i) && drain_leaves_alone(drainer, &shrink->plain, i, &why))
			return true;
	return false;
}

static struct wish *child_of(const struct drainer *drainer, const struct snapshot_guest *guest,
			     const struct drain_shrink_part *part)
{
	const struct plan_input *input = drainer->input;
	struct wish *child = malloc(sizeof(*child));
	struct wish_resize *resize;

	if (!child)
		return NULL;
	wish_init(child, OPERATION_KIND_RESIZE);
	memcpy(child->guest, guest->uuid, sizeof(child->guest));
	memcpy(child->drain, input->wish->drain, sizeof(child->drain));
	child->allow = input->wish->allow;
	child->timeout_s = timeout_s(input);
	child->on_timeout = ON_TIMEOUT_STOP;
	resize = &child->resize;
	for (size_t i = 0; i < guest->device_count; i++) {
		if (!part->device_bytes[i])
			continue;
		memcpy(resize->devices[resize->device_count].alias, guest->devices[i].alias,
		       sizeof(resize->devices[0].alias));
		resize->devices[resize->device_count++].requested_bytes =
			guest->devices[i].current_bytes - part->device_bytes[i];
	}
	resize->range_count = part->range_count;
	memcpy(resize->ranges, part->ranges, sizeof(resize->ranges));
	return child;
}

bool drain_shrink_next(struct drainer *drainer)
{
	const struct plan_input *input = drainer->input;
	CLEANUP(drain_shrink_done) struct drain_shrink shrink = {0};
	const struct snapshot_guest *guest;
	struct step step;

	if (!(input->wish->allow >> CONSENT_SHRINK_GUESTS & 1))
		return false;
	if (drain_shrink_find(input, &drainer->scope, &shrink) < 0)
		return drain_memory_is_short(drainer);
	/* Where it would not be enough nobody becomes smaller for nothing. */
	if (!shrink.is_enough || !shrink.part_count || is_for_nobody(drainer, &shrink))
		return false;
	guest = &input->snapshot->guests[shrink.parts[0].guest];
	plan_step_init(&step, STEP_KIND_CHILD, guest);
	step.bytes = shrink.parts[0].bytes;
	step.undoable = true;
	memcpy(step.text, STEP_TEXT_SHRINK, sizeof(STEP_TEXT_SHRINK));
	step.child = child_of(drainer, guest, &shrink.parts[0]);
	return step.child ? drain_emit(drainer, &step) : drain_memory_is_short(drainer);
}

void drain_shrink_tell(const struct drainer *drainer, struct remainder_list *list)
{
	const struct plan_input *input = drainer->input;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (!step_shrinks(&record->step) || record->state == STEP_STATE_UNDONE)
			continue;
		for (size_t n = 0; n < record->remainder.count; n++) {
			struct remainder entry = record->remainder.items[n];

			/* It is why a guest has no place, and no memory beside those. */
			entry.bytes = 0;
			remainder_list_add_copy(list, &entry);
		}
	}
}
