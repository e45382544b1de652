/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   start ---> COMPACT ---> WAIT ---> DONE ---> IDLE
 *
 * COMPACT ends with its child, WAIT when reporting has come to rest. Cancelling and the deadline
 * lead to DONE from everywhere.
 *
 * The kernel reports by itself what is free in large pieces, some seconds after it became so, and
 * says nowhere how far it has come. But each call of the balloon for up to 32 pieces is answered by
 * an interrupt of the device (drivers/virtio/virtio_balloon.c virtballoon_free_page_report), and
 * while anything is left to report there is a call in every round. So where its interrupts stand
 * still for two rounds all has been reported. Where they cannot be told apart from those of other
 * queues, the time is waited that the longest list of free pieces can take.
 */
#include "free_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent_config.h"
#include "cleanup.h"
#include "failure.h"
#include "free_areas.h"
#include "sysroot.h"

#define DEVICES "/sys/bus/virtio/devices"
/* VIRTIO_ID_BALLOON and VIRTIO_BALLOON_F_REPORTING. */
#define BALLOON_ID	  5
#define BALLOON_REPORTING 5

/* A line of 11 bytes a CPU for each interrupt: thousands of each are some MiB. */
#define INTERRUPTS_LIMIT (16u << 20)

void free_report_init(struct free_report *report, const struct sysroot *sysroot,
		      const struct agent_config *config)
{
	memset(report, 0, sizeof(*report));
	report->sysroot = sysroot;
	report->config = config;
	child_job_init(&report->job, -1);
}

void free_report_done(struct free_report *report)
{
	child_job_done(&report->job);
}

bool free_report_is_idle(const struct free_report *report)
{
	return report->stage == FREE_REPORT_STAGE_IDLE && child_job_is_idle(&report->job);
}

void free_report_clear(struct free_report *report)
{
	report->stage = FREE_REPORT_STAGE_IDLE;
}

/* "0x0005" */
static bool is_balloon(const struct sysroot *sysroot, const char *name)
{
	char text[32];

	return sysroot_read_text(sysroot, text, sizeof(text), DEVICES "/%s/device", name) == 0 &&
	       strtoul(text, NULL, 16) == BALLOON_ID;
}

/* A digit for each feature, the first being number 0; what driver and device have agreed on
 * (drivers/virtio/virtio.c features_show). */
static bool does_report(const struct sysroot *sysroot, const char *name)
{
	char text[256];

	return sysroot_read_text(sysroot, text, sizeof(text), DEVICES "/%s/features", name) == 0 &&
	       strlen(text) > BALLOON_REPORTING && text[BALLOON_REPORTING] == '1';
}

/* The first balloon that reports: the kernel takes one only (page_reporting_register). */
static bool find_balloon(const struct sysroot *sysroot, char *name, size_t size)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	bool found = false;

	if (sysroot_list(sysroot, &names, DEVICES) < 0)
		return false;
	for (size_t i = 0; i < names.count && !found; i++) {
		found = strlen(names.names[i]) < size && is_balloon(sysroot, names.names[i]) &&
			does_report(sysroot, names.names[i]);
		if (found)
			strcpy(name, names.names[i]);
	}
	return found;
}

bool free_report_is_supported(const struct sysroot *sysroot)
{
	char name[32];

	return find_balloon(sysroot, name, sizeof(name));
}

/* "virtio1-reporting_vq" where each queue has its own, "virtio1-virtqueues" or "virtio1" where they
 * share one (drivers/virtio/virtio_pci_common.c). */
static bool is_action(const struct free_report *report, const char *action)
{
	size_t length = strlen(report->device);

	if (strncmp(action, report->device, length) != 0)
		return false;
	return action[length] == '\0' || strcmp(action + length, "-reporting_vq") == 0 ||
	       strcmp(action + length, "-virtqueues") == 0;
}

/* "  27:   0   12   PCI-MSI 65538-edge      virtio1-reporting_vq": the counts' sum, if it is ours. */
static bool add_line(const struct free_report *report, char *line, uint64_t *sum)
{
	char *word = strrchr(line, ' '), *rest = NULL, *end;
	uint64_t total = 0;

	if (!word || !is_action(report, word + 1))
		return false;
	/* The number of the interrupt. */
	strtok_r(line, " ", &rest);
	for (word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		uint64_t count = strtoull(word, &end, 10);

		if (*end != '\0')
			break;
		total += count;
	}
	*sum += total;
	return true;
}

static bool read_interrupts(const struct free_report *report, uint64_t *ret_count)
{
	CLEANUP_FREE char *text = NULL;
	char *rest = NULL;
	bool found = false;

	if (sysroot_read_all(report->sysroot, INTERRUPTS_LIMIT, &text, NULL, "/proc/interrupts") < 0)
		return false;
	*ret_count = 0;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		found |= add_line(report, line, ret_count);
	return found;
}

static struct child_job_result run_compact(void *argument)
{
	struct free_report *report = argument;
	int error = 0;

	/* 1: the page cache alone; what is dirty stays. */
	if (report->config->drop_caches)
		error = sysroot_write_text(report->sysroot, "1", "/proc/sys/vm/drop_caches");
	if (!(report->config->veto & AGENT_CONFIG_VETO_COMPACT) &&
	    sysroot_exists(report->sysroot, "/proc/sys/vm/compact_memory")) {
		int compacted = sysroot_write_text(report->sysroot, "1",
						   "/proc/sys/vm/compact_memory");

		error = error ? error : compacted;
	}
	return (struct child_job_result){.error = -error};
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void finish(struct free_report *report, enum message_result_code code, const char *text)
{
	struct free_areas areas = {0};
	int error = free_areas_read(report->sysroot, free_areas_report_order(report->sysroot),
				    &areas);

	report->stage = FREE_REPORT_STAGE_DONE;
	report->result = (struct message_result){.code = code, .value_bytes = areas.bytes};
	snprintf(report->result.text, sizeof(report->result.text), "%s", text);
	if (error < 0 && code == MESSAGE_RESULT_OK) {
		report->result.code = MESSAGE_RESULT_FAILED;
		report->result.error = (uint32_t)-error;
		snprintf(report->result.text, sizeof(report->result.text),
			 "cannot read /proc/buddyinfo");
	}
}

static void begin_wait(struct free_report *report, uint64_t now_ms)
{
	struct free_areas areas = {0};

	/* Without it, as long as the longest list takes. */
	if (free_areas_read(report->sysroot, free_areas_report_order(report->sysroot), &areas) < 0)
		areas.rounds = 16;
	report->stage = FREE_REPORT_STAGE_WAIT;
	report->has_interrupts = read_interrupts(report, &report->interrupts);
	report->quiet_since_ms = now_ms;
	report->look_at_ms = now_ms + FREE_REPORT_LOOK_MS;
	/* One more round for what is freed meanwhile, and the quiet at the end. */
	report->latest_ms = now_ms + (uint64_t)(areas.rounds + 1) * FREE_REPORT_ROUND_MS +
			    FREE_REPORT_QUIET_MS;
}

static bool has_come_to_rest(struct free_report *report, uint64_t now_ms)
{
	uint64_t interrupts;

	if (now_ms >= report->latest_ms)
		return true;
	if (now_ms >= report->look_at_ms) {
		report->look_at_ms = now_ms + FREE_REPORT_LOOK_MS;
		if (read_interrupts(report, &interrupts) && interrupts != report->interrupts) {
			report->interrupts = interrupts;
			report->quiet_since_ms = now_ms;
		}
	}
	return report->has_interrupts && now_ms - report->quiet_since_ms >= FREE_REPORT_QUIET_MS;
}

enum free_report_step free_report_step(struct free_report *report, uint64_t now_ms)
{
	struct child_job_result result = {0};

	switch (report->stage) {
	case FREE_REPORT_STAGE_IDLE:
		/* A child that was stuck may have ended. */
		child_job_poll(&report->job, now_ms, &result);
		return FREE_REPORT_STEP_NOTHING;
	case FREE_REPORT_STAGE_DONE:
		return FREE_REPORT_STEP_FINISHED;
	case FREE_REPORT_STAGE_COMPACT:
		switch (child_job_poll(&report->job, now_ms, &result)) {
		case CHILD_JOB_RUNNING:
			return FREE_REPORT_STEP_NOTHING;
		case CHILD_JOB_IDLE:
		case CHILD_JOB_DONE:
		case CHILD_JOB_KILLED:
		case CHILD_JOB_CRASHED:
		case CHILD_JOB_STUCK:
			/* Compaction is a help; what it did not do is no harm. */
			break;
		}
		if (!report->cancelled && now_ms < report->deadline_ms) {
			begin_wait(report, now_ms);
			return FREE_REPORT_STEP_PROGRESS;
		}
		break;
	case FREE_REPORT_STAGE_WAIT:
		break;
	}
	if (report->cancelled)
		finish(report, MESSAGE_RESULT_CANCELLED, "");
	else if (report->stage == FREE_REPORT_STAGE_WAIT && has_come_to_rest(report, now_ms))
		finish(report, MESSAGE_RESULT_OK, "");
	else if (now_ms >= report->deadline_ms)
		finish(report, MESSAGE_RESULT_PARTIAL, "the time was too short to report all of it");
	return report->stage == FREE_REPORT_STAGE_DONE ? FREE_REPORT_STEP_FINISHED
						       : FREE_REPORT_STEP_NOTHING;
}

uint64_t free_report_deadline(const struct free_report *report, uint64_t now_ms)
{
	uint64_t next = child_job_deadline(&report->job, now_ms);

	if (report->stage == FREE_REPORT_STAGE_WAIT)
		next = least(least(next, report->look_at_ms),
			     least(report->latest_ms, report->deadline_ms));
	return next;
}

void free_report_cancel(struct free_report *report, uint64_t now_ms)
{
	if (report->stage == FREE_REPORT_STAGE_IDLE || report->stage == FREE_REPORT_STAGE_DONE)
		return;
	report->cancelled = true;
	report->look_at_ms = now_ms;
	child_job_kill(&report->job, now_ms);
}

static enum message_result_code refuse(struct failure *failure, enum message_result_code code,
				       int error, const char *cause)
{
	failure_set(failure, error, "report of free pages", "refused");
	failure_set_cause(failure, "%s", cause);
	return code;
}

enum message_result_code free_report_start(struct free_report *report, uint32_t deadline_ms,
					   uint64_t epoch, uint32_t request_id, uint64_t now_ms,
					   struct failure *failure)
{
	if (!free_report_is_idle(report))
		return refuse(failure, MESSAGE_RESULT_BUSY, EBUSY, "one report at a time");
	if (deadline_ms == 0 || deadline_ms > LIMIT_DEADLINE_MS)
		return refuse(failure, MESSAGE_RESULT_INVALID, EINVAL, "deadline out of bounds");
	if (report->config->veto & AGENT_CONFIG_VETO_REPORT_FREE)
		return refuse(failure, MESSAGE_RESULT_VETOED, EPERM,
			      "the guest's configuration forbids it");
	if (!find_balloon(report->sysroot, report->device, sizeof(report->device)))
		return refuse(failure, MESSAGE_RESULT_NOT_SUPPORTED, EOPNOTSUPP,
			      "no balloon of this guest reports free pages");
	report->epoch = epoch;
	report->request_id = request_id;
	report->deadline_ms = now_ms + deadline_ms;
	report->cancelled = false;
	report->stage = FREE_REPORT_STAGE_COMPACT;
	/* Without the child there is nothing to wait for, and step() goes on at once. */
	int error = child_job_start(&report->job, run_compact, report,
				    least(report->deadline_ms, now_ms + FREE_REPORT_COMPACT_MS));

	if (error < 0) {
		report->stage = FREE_REPORT_STAGE_IDLE;
		return refuse(failure, MESSAGE_RESULT_FAILED, -error, "cannot start a child process");
	}
	return MESSAGE_RESULT_OK;
}
