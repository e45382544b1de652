/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rung that takes memory from the guest's own work, as far as its pressure allows. It needs no
 * lease: what was reclaimed comes back by itself when it is needed again.
 */
#include "evacuate_priv.h"

#include <errno.h>
#include "agent_config.h"
#include "reclaim.h"
#include "report.h"

static uint64_t free_bytes(const struct evacuate *evacuate)
{
	uint64_t total, bytes, available;

	return report_read_memory(evacuate->sysroot, &total, &bytes, &available) == 0 ? bytes : 0;
}

static struct child_job_result run_reclaim(void *argument)
{
	struct evacuate *evacuate = argument;
	enum reclaim_outcome outcome = RECLAIM_OUTCOME_COUNT;
	int error = reclaim_run(evacuate->sysroot, evacuate->request.target_bytes,
				evacuate->config->reclaim_pressure_percent, &reclaim_real_time,
				&outcome);

	return (struct child_job_result){.outcome = (int32_t)outcome, .error = -error};
}

void evacuate_reclaim_begin(struct evacuate *evacuate)
{
	evacuate->free_bytes = free_bytes(evacuate);
	if (child_job_start(&evacuate->job, run_reclaim, evacuate, evacuate->deadline_ms) < 0)
		evacuate_fail(evacuate, "cannot start a child process");
}

static enum message_reason reason_of(enum child_job_state state,
				     const struct child_job_result *result)
{
	if (state == CHILD_JOB_KILLED)
		return MESSAGE_REASON_TIMED_OUT;
	if (state == CHILD_JOB_STUCK)
		return MESSAGE_REASON_KERNEL_STUCK;
	if (state != CHILD_JOB_DONE || result->error)
		return MESSAGE_REASON_BUSY;
	switch ((enum reclaim_outcome)result->outcome) {
	case RECLAIM_REACHED:
		return MESSAGE_REASON_UNKNOWN;
	case RECLAIM_PRESSURE:
		return MESSAGE_REASON_PRESSURE;
	case RECLAIM_NOTHING_LEFT:
	case RECLAIM_OUTCOME_COUNT:
		break;
	}
	return MESSAGE_REASON_BUSY;
}

void evacuate_reclaim_end(struct evacuate *evacuate, enum child_job_state state,
			  const struct child_job_result *result, uint64_t now_ms)
{
	uint64_t now = free_bytes(evacuate),
		 gained = now > evacuate->free_bytes ? now - evacuate->free_bytes : 0;

	evacuate_add_rung(evacuate, MESSAGE_RUNG_RECLAIM, gained, reason_of(state, result), now_ms);
}
