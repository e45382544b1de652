/* SPDX-License-Identifier: Apache-2.0 */
#include "free_report.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "agent_config.h"
#include "failure.h"
#include "fake_guest.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)
#define FREE_BYTES (660 * MIB)

static struct fake_guest guest;
static struct agent_config config;
static struct free_report report;
static struct failure failure;
static uint64_t now;

static void start(void)
{
	fake_guest_start(&guest);
	agent_config_init(&config);
	free_report_init(&report, guest.sysroot, &config);
	now = 1000;
}

static void stop(void)
{
	free_report_done(&report);
	fake_guest_stop(&guest);
}

static enum message_result_code begin(uint32_t deadline_ms)
{
	return free_report_start(&report, deadline_ms, 3, 4, now, &failure);
}

/* Until the child has ended. */
static void end_compaction(void)
{
	struct pollfd child = {.fd = report.job.pid_fd, .events = POLLIN};
	enum free_report_step step = FREE_REPORT_STEP_NOTHING;

	CHECK_INT(report.stage, FREE_REPORT_STAGE_COMPACT);
	for (int i = 0; i < 500 && step == FREE_REPORT_STEP_NOTHING; i++) {
		poll(&child, 1, 20);
		step = free_report_step(&report, now);
	}
	CHECK_INT(step, FREE_REPORT_STEP_PROGRESS);
	CHECK_INT(report.stage, FREE_REPORT_STAGE_WAIT);
}

/* Goes on from deadline to deadline; the time it took. */
static uint64_t wait_finished(void)
{
	uint64_t began = now;

	for (int i = 0; i < 1000; i++) {
		uint64_t next = free_report_deadline(&report, now);

		CHECK_TRUE(next != UINT64_MAX);
		now = next > now ? next : now;
		if (free_report_step(&report, now) == FREE_REPORT_STEP_FINISHED)
			return now - began;
	}
	CHECK_TRUE(!"it finished");
	return 0;
}

static void test_nothing_left_to_report(void)
{
	start();
	CHECK_TRUE(free_report_is_idle(&report));
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	CHECK_INT(begin(60000), MESSAGE_RESULT_BUSY);
	end_compaction();
	CHECK_TRUE(strstr(guest.state->log, "compact_memory=1\n") != NULL);
	CHECK_TRUE(strstr(guest.state->log, "drop_caches") == NULL);
	CHECK_INT(wait_finished(), FREE_REPORT_QUIET_MS);
	CHECK_INT(report.result.code, MESSAGE_RESULT_OK);
	CHECK_INT(report.result.value_bytes, FREE_BYTES);
	CHECK_TRUE(!free_report_is_idle(&report));
	free_report_clear(&report);
	CHECK_TRUE(free_report_is_idle(&report));
	stop();
}

/* While the balloon's interrupts go on there is something to report. */
static void test_waits_for_quiet(void)
{
	start();
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	end_compaction();
	now += 2000;
	fake_guest_set_balloon(&guest, true, 101);
	CHECK_INT(free_report_step(&report, now), FREE_REPORT_STEP_NOTHING);
	now += 2000;
	fake_guest_set_balloon(&guest, true, 102);
	CHECK_INT(free_report_step(&report, now), FREE_REPORT_STEP_NOTHING);
	CHECK_INT(wait_finished(), FREE_REPORT_QUIET_MS);
	CHECK_INT(report.result.code, MESSAGE_RESULT_OK);
	stop();
}

/* A guest that frees all the time does not keep the host for ever. */
static void test_not_for_ever(void)
{
	start();
	CHECK_INT(begin(3600000), MESSAGE_RESULT_OK);
	end_compaction();
	uint64_t began = now;

	for (unsigned i = 0; i < 1000; i++) {
		now += 500;
		fake_guest_set_balloon(&guest, true, 101 + i);
		if (free_report_step(&report, now) == FREE_REPORT_STEP_FINISHED)
			break;
	}
	/* Two rounds for its lists. */
	CHECK_INT(now - began, 3 * FREE_REPORT_ROUND_MS + FREE_REPORT_QUIET_MS);
	CHECK_INT(report.result.code, MESSAGE_RESULT_OK);
	stop();
}

/* Other queues' interrupts and another device's are not looked at; without any the longest time is
 * waited. */
static void test_without_interrupts(void)
{
	start();
	fake_guest_write(&guest, "/proc/interrupts",
			 "  28:  2  7  PCI-MSI 32772-edge  virtio10-reporting_vq\n"
			 "  29:  2  7  PCI-MSI 32772-edge  virtio1-stats");
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	end_compaction();
	CHECK_INT(wait_finished(), 3 * FREE_REPORT_ROUND_MS + FREE_REPORT_QUIET_MS);
	CHECK_INT(report.result.code, MESSAGE_RESULT_OK);
	stop();
}

static void test_deadline(void)
{
	start();
	CHECK_INT(begin(3000), MESSAGE_RESULT_OK);
	end_compaction();
	CHECK_INT(wait_finished(), 3000);
	CHECK_INT(report.result.code, MESSAGE_RESULT_PARTIAL);
	CHECK_INT(report.result.value_bytes, FREE_BYTES);
	CHECK_TRUE(report.result.text[0] != '\0');
	stop();
}

static void test_cancel(void)
{
	start();
	free_report_cancel(&report, now);
	CHECK_TRUE(free_report_is_idle(&report));
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	end_compaction();
	free_report_cancel(&report, now);
	CHECK_INT(free_report_step(&report, now), FREE_REPORT_STEP_FINISHED);
	CHECK_INT(report.result.code, MESSAGE_RESULT_CANCELLED);
	free_report_clear(&report);
	/* In the middle of compaction. */
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	free_report_cancel(&report, now);
	for (int i = 0; i < 500 && free_report_step(&report, now) != FREE_REPORT_STEP_FINISHED; i++)
		poll(NULL, 0, 2);
	CHECK_INT(report.result.code, MESSAGE_RESULT_CANCELLED);
	stop();
}

static void test_configuration(void)
{
	start();
	config.drop_caches = true;
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	end_compaction();
	CHECK_TRUE(strstr(guest.state->log, "drop_caches=1\n") != NULL);
	wait_finished();
	free_report_clear(&report);
	guest.state->log[0] = '\0';
	config.drop_caches = false;
	config.veto = AGENT_CONFIG_VETO_COMPACT;
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	end_compaction();
	CHECK_STR(guest.state->log, "");
	wait_finished();
	free_report_clear(&report);
	config.veto = AGENT_CONFIG_VETO_REPORT_FREE;
	CHECK_INT(begin(60000), MESSAGE_RESULT_VETOED);
	stop();
}

static void test_refusals(void)
{
	start();
	CHECK_INT(begin(0), MESSAGE_RESULT_INVALID);
	CHECK_INT(begin(LIMIT_DEADLINE_MS + 1), MESSAGE_RESULT_INVALID);
	CHECK_TRUE(free_report_is_supported(guest.sysroot));
	fake_guest_set_balloon(&guest, false, 0);
	CHECK_TRUE(!free_report_is_supported(guest.sysroot));
	CHECK_INT(begin(60000), MESSAGE_RESULT_NOT_SUPPORTED);
	fake_guest_write(&guest, "/sys/bus/virtio/devices/virtio1/features", "0100");
	CHECK_INT(begin(60000), MESSAGE_RESULT_NOT_SUPPORTED);
	CHECK_TRUE(free_report_is_idle(&report));
	stop();
}

static void test_unreadable(void)
{
	start();
	config.veto = AGENT_CONFIG_VETO_COMPACT;
	fake_guest_write(&guest, "/proc/buddyinfo", "what?");
	CHECK_INT(begin(60000), MESSAGE_RESULT_OK);
	end_compaction();
	wait_finished();
	CHECK_INT(report.result.code, MESSAGE_RESULT_FAILED);
	CHECK_INT(report.result.error, EBADMSG);
	CHECK_INT(report.result.value_bytes, 0);
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"nothing left to report", test_nothing_left_to_report},
		{"waits for quiet", test_waits_for_quiet},
		{"not for ever", test_not_for_ever},
		{"without interrupts", test_without_interrupts},
		{"deadline", test_deadline},
		{"cancel", test_cancel},
		{"configuration", test_configuration},
		{"refusals", test_refusals},
		{"unreadable", test_unreadable},
	};

	return unit_main("free_report", cases, sizeof(cases) / sizeof(cases[0]));
}
