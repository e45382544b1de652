/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rung before all others: the guest's hooks. That those after it are to run is written down
 * before the first one runs.
 */
#include "evacuate_priv.h"

#include <stdio.h>
#include "report.h"

static uint64_t available_bytes(const struct evacuate *evacuate)
{
	uint64_t total, free_bytes, available;

	return report_read_memory(evacuate->sysroot, &total, &free_bytes, &available) == 0 ? available
											    : 0;
}

static bool write_down(struct evacuate *evacuate)
{
	const struct message_evacuate *request = &evacuate->request;
	struct lease *lease = evacuate_own_lease(evacuate);
	struct lease_entry entry = {
		.kind = LEASE_HOOKS, .node_id = -1, .old = request->target_bytes};

	if (!lease || lease_entries_add(&lease->entries, &entry) < 0)
		return false;
	for (size_t i = 0; i < request->range_count; i++) {
		entry = (struct lease_entry){.kind = LEASE_HOOK_RANGE,
					     .node_id = -1,
					     .key = request->ranges[i].start,
					     .old = request->ranges[i].size_bytes};
		if (lease_entries_add(&lease->entries, &entry) < 0)
			return false;
	}
	return evacuate_save(evacuate);
}

void evacuate_hooks_begin(struct evacuate *evacuate, uint64_t now_ms)
{
	const struct message_evacuate *request = &evacuate->request;
	struct hooks_order order = {.bytes = request->target_bytes,
				    .range_count = request->range_count};

	for (size_t i = 0; i < request->range_count; i++)
		order.ranges[i] = request->ranges[i];
	evacuate->available_bytes = available_bytes(evacuate);
	if (!hooks_begin(&evacuate->hooks, &order))
		return;
	if (!write_down(evacuate)) {
		if (evacuate->reply.evacuate_reply.code != MESSAGE_RESULT_FAILED)
			evacuate_fail(evacuate, "the lease has ended");
		return;
	}
	hooks_start_next(&evacuate->hooks, &evacuate->job, now_ms, evacuate->deadline_ms);
}

bool evacuate_hooks_step(struct evacuate *evacuate, enum job_state state,
			 const struct job_result *result, uint64_t now_ms)
{
	if (state == JOB_IDLE)
		return false;
	if (!evacuate->cancelled)
		hooks_end_one(&evacuate->hooks, state, result);
	return !evacuate_must_end(evacuate, now_ms) &&
	       hooks_start_next(&evacuate->hooks, &evacuate->job, now_ms, evacuate->deadline_ms);
}

/* What hooks free is seen as memory that others may have; what they unpin is not seen at all. */
void evacuate_hooks_end(struct evacuate *evacuate, uint64_t now_ms)
{
	struct message_evacuate_reply *r = &evacuate->reply.evacuate_reply;
	uint64_t available = available_bytes(evacuate);

	evacuate_add_rung(evacuate, MESSAGE_RUNG_HOOKS,
			  available > evacuate->available_bytes ? available - evacuate->available_bytes
								: 0,
			  evacuate->hooks.failed ? MESSAGE_REASON_HOOK_FAILED : MESSAGE_REASON_UNKNOWN,
			  now_ms);
	if (evacuate->hooks.failed > 1)
		snprintf(r->text, sizeof(r->text), "%.200s; %u more failed", evacuate->hooks.text,
			 evacuate->hooks.failed - 1);
	else
		snprintf(r->text, sizeof(r->text), "%s", evacuate->hooks.text);
}
