/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest to which memory comes through a libvirt that does as told, and an agent that counts what it is asked.
 */
#include "grow_audit.h"

#include <stdio.h>
#include <string.h>
#include "guest_rig.h"
#include "operation_record.h"
#include "unit.h"

#define MIB	 (UINT64_C(1) << 20)
#define SETTLE_MS 6000

static struct {
	struct guest_rig host;
	struct grow_audit *audit;
	bool is_busy;
	unsigned reports, restores, repairs;
	uint64_t restore_bytes;
	/* What the guest says of its device's 256 MiB and of its kernel's memory, and to a repair. */
	uint64_t offline_mib, wrong_mib, kernel_mib;
	enum message_result_code repaired;
	struct message_repair repair;
} rig;

static bool is_busy(void *user, const char *guest)
{
	CHECK_STR(guest, FAKE_LIBVIRT_G1);
	return rig.is_busy;
}

static void on_change(void *user, enum look_change change, const char *guest)
{
	if (rig.audit && guest[0])
		grow_audit_check(rig.audit, guest);
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id, const struct message *message)
{
	static struct message reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = MESSAGE_REPORT_REPLY;
	if (message->type == MESSAGE_REPORT) {
		rig.reports++;
		reply.report_reply.zone_count = 1;
		reply.report_reply.zones[0] =
			(struct message_report_zone){.zone = MESSAGE_ZONE_NORMAL, .managed_bytes = rig.kernel_mib * MIB};
		reply.report_reply.region_count = 1;
		reply.report_reply.regions[0] =
			(struct message_report_region){.start = 4096 * MIB,
						       .size_bytes = 1024 * MIB,
						       .plugged_bytes = 256 * MIB,
						       .online_bytes = (256 - rig.offline_mib) * MIB,
						       .movable_bytes = (256 - rig.offline_mib - rig.wrong_mib) * MIB};
		fake_agent_reply(agent, epoch, id, &reply);
		return;
	}
	if (message->type == MESSAGE_REPAIR) {
		rig.repairs++;
		rig.repair = message->repair;
		if (rig.repaired == MESSAGE_RESULT_OK)
			rig.offline_mib = rig.wrong_mib = 0;
		fake_agent_reply_result(agent, epoch, id, rig.repaired, "what came of it");
		return;
	}
	CHECK_INT(message->type, MESSAGE_RESTORE_POOLS);
	rig.restores++;
	rig.restore_bytes = message->restore_pools.limit_bytes;
	fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "");
}

static void start_with(bool observe, bool repair, uint64_t offline_mib, uint64_t wrong_mib)
{
	memset(&rig, 0, sizeof(rig));
	rig.offline_mib = offline_mib;
	rig.wrong_mib = wrong_mib;
	rig.kernel_mib = 1024;
	rig.repaired = MESSAGE_RESULT_OK;
	guest_rig_start(&rig.host, on_request, on_change);
	rig.audit = grow_audit_new(&(struct grow_audit_options){
		.base = rig.host.base, .look = rig.host.look, .settle_ms = SETTLE_MS, .pace_ms = 10, .observe = observe,
		.repair = repair, .block_timeout_ms = 7000, .is_busy = is_busy});
	grow_audit_check(rig.audit, FAKE_LIBVIRT_G1);
	rig.reports = 0;
}

static void start(bool observe)
{
	start_with(observe, false, 0, 0);
}

static void finish(void)
{
	rig.audit = grow_audit_free(rig.audit);
	guest_rig_finish(&rig.host);
}

static void go_to(uint64_t mib)
{
	fake_libvirt_lock();
	rig.host.domain->current_mib = rig.host.domain->requested_mib = mib;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_MEMORY_SIZE_CHANGED, FAKE_LIBVIRT_G1, mib * MIB);
	while (guest_rig_guest(&rig.host)->devices[0].current_bytes != mib * MIB)
		guest_rig_turn(&rig.host);
}

static void pass(void)
{
	guest_rig_pass(&rig.host, SETTLE_MS + 1000);
}

static void wait_reports(unsigned reports)
{
	while (rig.reports < reports)
		guest_rig_turn(&rig.host);
	CHECK_INT(rig.reports, reports);
}

static void test_plugged_by_others(void)
{
	start(false);
	pass();
	CHECK_INT(rig.reports, 0);
	go_to(512);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.reports, 0);
	go_to(640);
	pass();
	wait_reports(1);
	/* Once it has stood still, and all that came. */
	CHECK_INT(rig.restores, 1);
	CHECK_INT(rig.restore_bytes, 384 * MIB);
	pass();
	CHECK_INT(rig.reports, 1);
	/* What leaves is no growth, and what comes after it only that. */
	go_to(128);
	pass();
	CHECK_INT(rig.restores, 1);
	go_to(192);
	pass();
	while (rig.restores < 2)
		guest_rig_turn(&rig.host);
	CHECK_INT(rig.restore_bytes, 64 * MIB);
	finish();
}

static void test_an_operation_sees_to_it(void)
{
	start(false);
	rig.is_busy = true;
	go_to(512);
	pass();
	rig.is_busy = false;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	pass();
	CHECK_INT(rig.restores, 0);
	CHECK_INT(rig.reports, 0);
	finish();
}

/* The driver plugs before any agent runs. */
static void test_after_a_reboot(void)
{
	start(false);
	fake_libvirt_emit(CONNECTION_EVENT_REBOOTED, FAKE_LIBVIRT_G1, 0);
	pass();
	while (rig.restores == 0)
		guest_rig_turn(&rig.host);
	CHECK_INT(rig.restore_bytes, 256 * MIB);
	pass();
	/* That of the new connection, and ours. */
	CHECK_TRUE(rig.reports >= 2);
	CHECK_INT(rig.restores, 1);
	finish();
}

static void test_observing(void)
{
	start(true);
	go_to(512);
	pass();
	wait_reports(1);
	CHECK_INT(rig.restores, 0);
	finish();
}

static void wait_repairs(unsigned repairs)
{
	while (rig.repairs < repairs)
		guest_rig_turn(&rig.host);
	guest_rig_let_pass(&rig.host);
}

/* Also what was plugged before the daemon came. */
static void test_repaired(void)
{
	start_with(false, true, 128, 64);
	CHECK_INT(guest_rig_guest(&rig.host)->agent.offline_bytes, 128 * MIB);
	pass();
	wait_repairs(1);
	CHECK_TRUE(rig.repair.lease.id == GROW_AUDIT_LEASE);
	CHECK_TRUE(rig.repair.lease.lease_ms > rig.repair.deadline_ms);
	CHECK_INT(rig.repair.flags, MESSAGE_REPAIR_ALL);
	CHECK_INT(rig.repair.policy, MESSAGE_ONLINE_POLICY_MOVABLE);
	CHECK_INT(rig.repair.block_deadline_ms, 7000);
	CHECK_STR(guest_rig_guest(&rig.host)->agent.repair, "what came of it");
	CHECK_INT(guest_rig_guest(&rig.host)->agent.offline_bytes, 0);
	pass();
	CHECK_INT(rig.repairs, 1);
	/* What comes later, and after a reboot. */
	rig.offline_mib = 128;
	go_to(512);
	pass();
	wait_repairs(2);
	CHECK_INT(rig.restores, 1);
	rig.offline_mib = 256;
	fake_agent_restart(rig.host.agent);
	fake_libvirt_emit(CONNECTION_EVENT_REBOOTED, FAKE_LIBVIRT_G1, 0);
	pass();
	wait_repairs(3);
	finish();
}

static void test_nothing_to_repair(void)
{
	start_with(false, true, 0, 0);
	pass();
	go_to(512);
	pass();
	CHECK_INT(rig.repairs, 0);
	finish();
	/* Nobody wants it. */
	start_with(false, false, 128, 0);
	pass();
	go_to(512);
	pass();
	CHECK_INT(rig.repairs, 0);
	finish();
	start_with(true, true, 128, 0);
	pass();
	go_to(512);
	pass();
	CHECK_INT(rig.repairs, 0);
	finish();
	/* So much movable memory would starve its kernel: then no zone is wrong. */
	start_with(false, true, 0, 128);
	rig.kernel_mib = 140;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	pass();
	CHECK_INT(rig.repairs, 0);
	rig.offline_mib = 64;
	go_to(512);
	pass();
	wait_repairs(1);
	CHECK_INT(rig.repair.policy, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE);
	finish();
}

/* An agent of before, which does not know how. */
static void test_no_repair_by_an_old_agent(void)
{
	start_with(false, true, 128, 0);
	fake_agent_set_features(rig.host.agent, MESSAGE_FEATURE_REPAIR - 1);
	fake_agent_hang_up(rig.host.agent);
	guest_rig_pass(&rig.host, 1000);
	while (guest_rig_guest(&rig.host)->agent.features >> AGENT_FEATURE_REPAIR & 1)
		guest_rig_turn(&rig.host);
	while (!guest_rig_guest(&rig.host)->agent.reported)
		guest_rig_turn(&rig.host);
	pass();
	CHECK_INT(rig.repairs, 0);
	finish();
}

static void test_repair_after_an_operation(void)
{
	start_with(false, true, 128, 0);
	rig.is_busy = true;
	pass();
	CHECK_INT(rig.repairs, 0);
	rig.is_busy = false;
	pass();
	wait_repairs(1);
	/* One that gave way is begun again when the guest is left alone. */
	rig.offline_mib = 128;
	rig.repaired = MESSAGE_RESULT_CANCELLED;
	go_to(512);
	pass();
	wait_repairs(2);
	rig.repaired = MESSAGE_RESULT_OK;
	pass();
	wait_repairs(3);
	CHECK_INT(guest_rig_guest(&rig.host)->agent.offline_bytes, 0);
	/* What could not be repaired is not tried for ever. */
	rig.offline_mib = 128;
	rig.repaired = MESSAGE_RESULT_PARTIAL;
	go_to(640);
	pass();
	wait_repairs(4);
	pass();
	pass();
	CHECK_INT(rig.repairs, 4);
	finish();
}

static void say_policy(const char *text)
{
	fake_libvirt_lock();
	snprintf(rig.host.domain->policy, sizeof(rig.host.domain->policy), "%s", text);
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	guest_rig_let_pass(&rig.host);
}

/* The guest's own policy counts before the configuration, from when it is said. */
static void test_repair_by_policy(void)
{
	start_with(false, false, 128, 0);
	pass();
	CHECK_INT(rig.repairs, 0);
	say_policy("zone_repair='yes'");
	pass();
	wait_repairs(1);
	CHECK_INT(guest_rig_guest(&rig.host)->agent.offline_bytes, 0);
	say_policy("zone_repair='no'");
	rig.offline_mib = 128;
	rig.reports = 0;
	go_to(512);
	pass();
	wait_reports(1);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.repairs, 1);
	finish();
	start_with(false, true, 128, 0);
	say_policy("zone_repair='no'");
	pass();
	CHECK_INT(rig.repairs, 0);
	/* It is the configuration's affair again. */
	say_policy("priority='1'");
	pass();
	wait_repairs(1);
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"memory that others plugged", test_plugged_by_others},
		{"memory that an operation plugged", test_an_operation_sees_to_it},
		{"memory after a reboot", test_after_a_reboot},
		{"a daemon that only observes", test_observing},
		{"what was plugged is repaired", test_repaired},
		{"nothing to repair", test_nothing_to_repair},
		{"a policy that says whether to repair", test_repair_by_policy},
		{"an agent that cannot repair", test_no_repair_by_an_old_agent},
		{"repair after an operation", test_repair_after_an_operation},
	};

	return unit_main("service/operation/grow_audit", cases, sizeof(cases) / sizeof(cases[0]));
}
