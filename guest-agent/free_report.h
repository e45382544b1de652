/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the guest's free pages ready for its balloon to report them to the host, and waiting until
 * the kernel had the time to. A host that moves the guest then need not copy them.
 */
#ifndef BALLAST_AGENT_FREE_REPORT_H
#define BALLAST_AGENT_FREE_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include "child_job.h"
#include "message.h"

struct agent_config;
struct failure;
struct sysroot;

/* mm/page_reporting.c PAGE_REPORTING_DELAY: after a page was freed, and from one round to the next. */
#define FREE_REPORT_ROUND_MS 2000
/* Two rounds in which nothing was reported, and what a busy guest's timers are late: all is. */
#define FREE_REPORT_QUIET_MS (2 * FREE_REPORT_ROUND_MS + 500)
/* How often to look whether it still reports. */
#define FREE_REPORT_LOOK_MS 500
/* Compaction helps or does not within this time. */
#define FREE_REPORT_COMPACT_MS 20000

enum free_report_stage {
	FREE_REPORT_STAGE_IDLE,
	FREE_REPORT_STAGE_COMPACT, /* a child drops caches, where it may, and compacts */
	FREE_REPORT_STAGE_WAIT,
	FREE_REPORT_STAGE_DONE, /* the result is ready */
};

struct free_report {
	const struct sysroot *sysroot; /* borrowed, as the next */
	const struct agent_config *config;
	enum free_report_stage stage;
	struct child_job job;
	uint64_t epoch;
	uint32_t request_id;
	uint64_t deadline_ms, latest_ms; /* the host's; by when all has been reported for certain */
	uint64_t quiet_since_ms, look_at_ms;
	uint64_t interrupts;
	bool cancelled, has_interrupts;
	char device[32]; /* the balloon, "virtio1" */
	struct message_result result;
};

enum free_report_step {
	FREE_REPORT_STEP_NOTHING,
	FREE_REPORT_STEP_PROGRESS, /* another stage has begun */
	FREE_REPORT_STEP_FINISHED, /* result is to be sent, then free_report_clear() */
};

void free_report_init(struct free_report *report, const struct sysroot *sysroot,
		      const struct agent_config *config);
void free_report_done(struct free_report *report);

/* Whether a balloon of this guest reports free pages: driver and device have agreed on it. */
bool free_report_is_supported(const struct sysroot *sysroot);

/* OK: it runs. Otherwise it does not, and *failure says why. */
enum message_result_code free_report_start(struct free_report *report, uint32_t deadline_ms,
					   uint64_t epoch, uint32_t request_id, uint64_t now_ms,
					   struct failure *failure);
/* Call when the job's pidfd is readable and at free_report_deadline(). */
enum free_report_step free_report_step(struct free_report *report, uint64_t now_ms);
uint64_t free_report_deadline(const struct free_report *report, uint64_t now_ms);
/* Ends it soon; step() then says FINISHED. */
void free_report_cancel(struct free_report *report, uint64_t now_ms);
bool free_report_is_idle(const struct free_report *report);
/* Forgets a finished one. */
void free_report_clear(struct free_report *report);

#endif
