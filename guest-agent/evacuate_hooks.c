/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rung before all others: the guest's hooks. That those after it are to run is written down
 * before the first one runs.
 */
#include "evacuate_priv.h"

#include <stdio.h>
#include "report.h"
#include "zones.h"

static uint64_t available_bytes(const struct evacuate *evacuate)
{
	uint64_t total, free_bytes, available;

	return report_read_memory(evacuate->sysroot, &total, &free_bytes, &available) == 0 ? available
											    : 0;
}

static bool write_down(struct evacuate *evacuate)
{
	const struct hooks_order *order = &evacuate->hooks.order;
	struct lease *lease = evacuate_own_lease(evacuate);
	struct lease_entry entry = {.kind = LEASE_HOOKS, .node_id = -1, .old = order->bytes};

	if (!lease || lease_entries_add(&lease->entries, &entry) < 0)
		return false;
	for (size_t i = 0; i < order->range_count; i++) {
		entry = (struct lease_entry){.kind = LEASE_HOOK_RANGE,
					     .node_id = -1,
					     .key = order->ranges[i].start,
					     .old = order->ranges[i].size_bytes};
		if (lease_entries_add(&lease->entries, &entry) < 0)
			return false;
	}
	return evacuate_save(evacuate);
}

/* Where the host names none, whatever leaves is in the memory devices. */
static void fill_ranges(const struct evacuate *evacuate, struct hooks_order *order)
{
	const struct message_evacuate *request = &evacuate->request;
	struct zones_regions regions;

	_Static_assert(LIMIT_REGIONS <= LIMIT_RANGES, "each region is a range");
	for (size_t i = 0; i < request->range_count; i++)
		order->ranges[order->range_count++] = request->ranges[i];
	if (order->range_count || zones_read_regions(evacuate->sysroot, &regions) < 0 ||
	    regions.total > regions.count)
		return;
	for (size_t i = 0; i < regions.count; i++)
		order->ranges[order->range_count++] =
			(struct message_range){regions.regions[i].start, regions.regions[i].size_bytes};
}

void evacuate_hooks_begin(struct evacuate *evacuate, uint64_t now_ms)
{
	struct hooks_order order = {.bytes = evacuate->request.target_bytes};

	fill_ranges(evacuate, &order);
	evacuate->available_bytes = available_bytes(evacuate);
	if (!hooks_begin(&evacuate->hooks, &order))
		return;
	if (!write_down(evacuate)) {
		evacuate_fail_unwritten(evacuate);
		return;
	}
	hooks_start_next(&evacuate->hooks, &evacuate->job, now_ms, evacuate->deadline_ms);
}

bool evacuate_hooks_step(struct evacuate *evacuate, enum child_job_state state,
			 const struct child_job_result *result, uint64_t now_ms)
{
	if (state == CHILD_JOB_IDLE)
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
	if (evacuate->hooks.untold > 0)
		snprintf(r->text, sizeof(r->text), "%.200s; %u more failed", evacuate->hooks.text,
			 evacuate->hooks.untold);
	else
		snprintf(r->text, sizeof(r->text), "%s", evacuate->hooks.text);
}
