/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is under way while a drain is asked for more: moves of guests, and undos of them, that have begun and not ended. They
 * are planned around as if they had come to their ends, so that no guest is chosen twice and none gets the room that another
 * was promised.
 */
#include "drain_priv.h"

#include <string.h>

static bool runs(const struct step_record *record)
{
	return (record->step.kind == STEP_KIND_CHILD || record->step.kind == STEP_KIND_UNDO) &&
	       record->state == STEP_STATE_RUNNING;
}

size_t drain_running(const struct plan_input *input)
{
	size_t count = 0;

	for (size_t i = 0; i < input->history_count; i++)
		count += runs(&input->history[i]);
	return count;
}

bool drain_may_begin(const struct plan_input *input, size_t more)
{
	size_t most = input->limits->drain_moves ? input->limits->drain_moves : 1;

	/* Who has room is known when a guest has become smaller. */
	for (size_t i = 0; i < input->history_count; i++)
		if (runs(&input->history[i]) && step_shrinks(&input->history[i].step))
			return false;
	return drain_running(input) + more <= most;
}

bool drain_may_run_beside(const struct plan_input *input, const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];
		const struct snapshot_guest *other;

		if (!runs(record))
			continue;
		other = snapshot_guest(input->snapshot, record->step.guest);
		/*
		 * Moves of huge pages make pools larger and smaller, and an undo makes each as large as its step found
		 * it: that of one guest has to be over before the next begins.
		 */
		if (strcmp(record->step.guest, guest->uuid) == 0 ||
		    (plan_guest_huge_page(guest) && (!other || !other->surveyed || plan_guest_huge_page(other))))
			return false;
	}
	return true;
}

/*
 * Guests are surveyed after the host was read. What came to a node in between has taken no room by what the host says, and is
 * not to come any more by what the survey says. Without a survey nobody knows what has come at all.
 */
static uint64_t unseen_bytes(const struct plan_input *input, const struct step_record *record)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, record->step.guest);
	uint64_t rate, read_at_ms = input->snapshot->observed_at_ms;
	/* An undo does not tell how far it is. */
	uint64_t done = record->step.kind == STEP_KIND_UNDO ? record->step.bytes : record->bytes_done;

	if (!guest)
		return 0;
	if (!guest->surveyed)
		return record->step.bytes;
	rate = plan_measured_rate(input->snapshot, guest);
	if (rate < input->limits->assumed_bytes_per_s)
		rate = input->limits->assumed_bytes_per_s;
	return guest->surveyed_at_ms <= read_at_ms
		       ? 0
		       : plan_min((guest->surveyed_at_ms - read_at_ms) * (rate / 1000), done);
}

/* From each of its destinations: which of them it came to is not told. */
static void take_unseen(struct snapshot *snapshot, const struct plan_input *input, const struct step_record *record)
{
	uint64_t unseen = unseen_bytes(input, record);

	for (size_t i = 0; i < snapshot->node_count; i++)
		if (record->step.nodes & plan_node_bit(snapshot->nodes[i].id))
			snapshot->nodes[i].free_bytes -= plan_min(snapshot->nodes[i].free_bytes, unseen);
}

struct snapshot *drain_foresee(const struct plan_input *input)
{
	struct snapshot *snapshot = snapshot_copy(input->snapshot);

	for (size_t i = 0; snapshot && i < input->history_count; i++) {
		struct step_record ended;

		if (!runs(&input->history[i]))
			continue;
		plan_apply(snapshot, &input->history[i].step, input->now_ms, &ended);
		step_record_done(&ended);
		take_unseen(snapshot, input, &input->history[i]);
	}
	return snapshot;
}
