/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest without memory devices has a balloon: one size, no blocks, and no kick, because its driver tries again five
 * times a second by itself (virtio_balloon.c, fill_balloon).
 *
 *   free huge pages -> hooks -> balloon -> (flat) free huge pages -> hooks -> reclaim -> balloon -> await ...
 *
 * What it could not get in time it would go on taking for ever: so stopping asks for what was reached.
 */
#include "resize_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

/* What was reached is asked for, so that nothing leaves later. */
static const char settle_mark[] = "settle";

bool resize_is_balloon(const struct snapshot_guest *guest)
{
	return guest->device_count == 0 && guest->has_balloon;
}

uint64_t resize_balloon_target(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t target = input->wish->resize.target_bytes, least = resize_least_bytes(input, guest);

	/* What had left before the guest said so is no reason to grow. */
	least = plan_min(least, guest->balloon_bytes);
	return least > target ? least : target;
}

static void emit_balloon(struct resize *resize, uint64_t target, const char *text)
{
	uint64_t now = resize->guest->balloon_bytes;
	struct step step;

	plan_step_init(&step, STEP_KIND_BALLOON, resize->guest);
	step.target_bytes = target;
	step.bytes = target > now ? target - now : now - target;
	step.undoable = true;
	snprintf(step.text, sizeof(step.text), "%s", text);
	plan_decide(resize->decision, &step);
}

/* The last one with this text (NULL: any). */
static const struct step_record *last_balloon(const struct plan_input *input, const char *text)
{
	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_BALLOON && record->state != STEP_STATE_UNDONE &&
		    (!text || strcmp(record->step.text, text) == 0))
			return record;
	}
	return NULL;
}

static bool is_ending(const struct plan_input *input)
{
	return last_balloon(input, RESIZE_RESTORE_MARK) || last_balloon(input, settle_mark) ||
	       last_balloon(input, RESIZE_STAND_MARK) ||
	       plan_count(input, STEP_KIND_AGENT_COMMIT) || plan_count(input, STEP_KIND_AGENT_UNDO);
}

static bool refused(const struct plan_input *input)
{
	const struct step_record *last = last_balloon(input, NULL);

	return last && last->state == STEP_STATE_FAILED && !last->flat;
}

/* As of memory devices (resize_next.c): what memory covers by now, and no more, is asked for to stand. */
static bool stand_next(struct resize *resize)
{
	const struct step_record *last = last_balloon(resize->input, NULL);
	uint64_t now = resize->guest->balloon_bytes, covered = resize_covered_bytes(resize->input, resize->guest);
	uint64_t target = resize_covered_target(resize, now, resize_balloon_target(resize->input, resize->guest),
						SIZE_TEXT_MIB, &covered);

	if (!resize_may_stand(resize) || refused(resize->input) || target >= now ||
	    (last && target >= last->step.target_bytes) || last_balloon(resize->input, RESIZE_STAND_MARK))
		return false;
	emit_balloon(resize, target, RESIZE_STAND_MARK);
	return true;
}

static void end(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct step_record *last = last_balloon(input, NULL);
	enum on_timeout how = input->wish->on_timeout;
	uint64_t now = resize->guest->balloon_bytes;

	if (how == ON_TIMEOUT_RESTORE && last && now != input->start_bytes &&
	    !last_balloon(input, RESIZE_RESTORE_MARK)) {
		emit_balloon(resize, input->start_bytes, RESIZE_RESTORE_MARK);
		return;
	}
	if (how != ON_TIMEOUT_RESTORE && how != ON_TIMEOUT_CONTINUE && last && last->step.target_bytes != now &&
	    !last_balloon(input, settle_mark)) {
		emit_balloon(resize, now, settle_mark);
		return;
	}
	if (how == ON_TIMEOUT_CONTINUE && stand_next(resize))
		return;
	if (resize_end_lease_next(resize, (resize->shrink_gap || resize->withheld_bytes) && how != ON_TIMEOUT_RESTORE
						  ? STEP_KIND_AGENT_COMMIT
						  : STEP_KIND_AGENT_UNDO))
		return;
	resize->decision->kind = DECISION_KIND_GIVE_UP;
	resize_remainder(resize, &resize->decision->remainder);
}

/* Not asked for yet, or something has changed since, or the part that was asked for has left. */
static bool ask_next(struct resize *resize)
{
	const struct step_record *last = last_balloon(resize->input, NULL);
	uint64_t now = resize->guest->balloon_bytes, whole = resize_balloon_target(resize->input, resize->guest);
	uint64_t covered = resize_covered_bytes(resize->input, resize->guest);
	uint64_t target = resize_covered_target(resize, now, whole, SIZE_TEXT_MIB, &covered);

	if (last && resize_last_work(resize->input) < 0 && (last->step.target_bytes != now || target == now))
		return false;
	if (target != whole && !resize_is_worth_asking(now - target, now - whole))
		return false;
	emit_balloon(resize, target, "");
	return true;
}

static bool shrink_next(struct resize *resize)
{
	if (resize_wait_next(resize))
		return true;
	if (resize_is_vetoed(resize) || resize->is_revoked)
		return false;
	if (resize_prepare_next(resize))
		return true;
	if (ask_next(resize) || resize_silence_next(resize))
		return true;
	return resize_free_huge_pages_next(resize, resize->shrink_gap) || resize_hooks_next(resize) ||
	       resize_reclaim_next(resize) || resize_await_next(resize);
}

void resize_balloon_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_guest *guest = resize->guest;
	uint64_t target = resize_balloon_target(input, guest), now = guest->balloon_bytes;
	bool shrinks = input->start_bytes > input->wish->resize.target_bytes;
	const struct step_record *last = last_balloon(input, NULL);

	resize->withheld_bytes = target - input->wish->resize.target_bytes;
	resize->is_revoked = now > input->wish->resize.target_bytes &&
			     (input->wish->resize.target_bytes < plan_guest_floor(guest) ||
			      (last && last->step.target_bytes < resize_least_bytes(input, guest)));
	resize->shrink_gap = now > target ? now - target : 0;
	resize->grow_gap = target > now ? target - now : 0;
	resize_tell_of_hooks(resize);
	resize_warn_of_holds(resize);
	if (now == target && !last_balloon(input, settle_mark) && !last_balloon(input, RESIZE_RESTORE_MARK) &&
	    !resize->is_revoked) {
		if (!resize_end_lease_next(resize, shrinks ? STEP_KIND_AGENT_COMMIT : STEP_KIND_AGENT_UNDO))
			resize_finish(resize);
		return;
	}
	if (is_ending(input) || plan_is_late(input) || refused(input) || resize_is_worn_out(input)) {
		end(resize);
		return;
	}
	if (resize->shrink_gap && shrink_next(resize))
		return;
	/* Nothing in the guest stands in the way of its growing. */
	if (resize->grow_gap && !last_balloon(input, NULL)) {
		emit_balloon(resize, target, "");
		return;
	}
	end(resize);
}
