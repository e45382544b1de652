/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of 512 MiB and a device of 1 GiB whose kernel leaves offline what is plugged, and an agent that keeps one lease.
 */
#include "online_keeper.h"

#include <stdio.h>
#include <string.h>
#include "guest_rig.h"
#include "unit.h"

#define GIB (UINT64_C(1) << 30)

static struct {
	struct guest_rig host;
	struct online_keeper *keeper;
	bool is_busy;
	/* The guest. */
	enum message_auto_online now, before;
	enum message_zone_policy zone_policy;
	bool is_leased;
	enum message_result_code setting;
	uint64_t kernel_bytes, offline_bytes;
	/* What it was asked. */
	unsigned sets, renewals, releases;
	struct message_set_online_policy set;
	uint32_t release_flags;
} rig;

static bool is_busy(void *user, const char *guest)
{
	CHECK_STR(guest, FAKE_LIBVIRT_G1);
	return rig.is_busy;
}

static void on_change(void *user, enum look_change change, const char *guest)
{
	if (rig.keeper && guest[0])
		online_keeper_check(rig.keeper, guest);
}

static void report(struct fake_agent *agent, uint64_t epoch, uint32_t id)
{
	static struct message reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = MESSAGE_REPORT_REPLY;
	reply.report_reply.auto_online = rig.now;
	reply.report_reply.zone_policy = rig.zone_policy;
	reply.report_reply.zone_count = 1;
	reply.report_reply.zones[0] = (struct message_report_zone){.zone = MESSAGE_ZONE_NORMAL,
								   .managed_bytes = rig.kernel_bytes};
	reply.report_reply.region_count = 1;
	reply.report_reply.regions[0] = (struct message_report_region){
		.start = 4 * GIB, .size_bytes = GIB, .plugged_bytes = rig.offline_bytes};
	fake_agent_reply(agent, epoch, id, &reply);
}

static void set(const struct message_set_online_policy *wish)
{
	if (!rig.is_leased)
		rig.before = rig.now;
	rig.is_leased = true;
	rig.now = wish->policy == MESSAGE_ONLINE_POLICY_MOVABLE ? MESSAGE_AUTO_ONLINE_MOVABLE : MESSAGE_AUTO_ONLINE_ONLINE;
	if (wish->policy == MESSAGE_ONLINE_POLICY_AUTO_MOVABLE)
		rig.zone_policy = MESSAGE_ZONE_POLICY_AUTO_MOVABLE;
}

static void on_looked(void *user, int error, const struct failure *failure)
{
	CHECK_INT(error, 0);
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id, const struct message *message)
{
	enum message_result_code code = rig.is_leased ? MESSAGE_RESULT_OK : MESSAGE_RESULT_NOT_FOUND;

	switch ((int)message->type) {
	case MESSAGE_REPORT:
		report(agent, epoch, id);
		return;
	case MESSAGE_RENEW_LEASE:
		rig.renewals++;
		CHECK_TRUE(message->renew_lease.lease.id == ONLINE_KEEPER_LEASE);
		break;
	case MESSAGE_RELEASE_LEASE:
		rig.releases++;
		rig.release_flags = message->release_lease.flags;
		if (rig.is_leased && !(rig.release_flags & MESSAGE_RELEASE_KEEP_POLICY))
			rig.now = rig.before;
		rig.is_leased = false;
		break;
	case MESSAGE_SET_ONLINE_POLICY:
		rig.sets++;
		rig.set = message->set_online_policy;
		code = rig.setting;
		if (code == MESSAGE_RESULT_OK)
			set(&rig.set);
		break;
	default:
		CHECK_TRUE(!"a verb that is expected");
	}
	fake_agent_reply_result(agent, epoch, id, code, "");
}

static void say_policy(const char *text)
{
	fake_libvirt_lock();
	snprintf(rig.host.domain->policy, sizeof(rig.host.domain->policy), "%s", text);
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	guest_rig_let_pass(&rig.host);
}

static void new_keeper(bool is_movable, bool observe)
{
	rig.keeper = online_keeper_new(&(struct online_keeper_options){.base = rig.host.base,
								       .look = rig.host.look,
								       .is_movable = is_movable,
								       .ratio_percent = 301,
								       .pace_ms = 10,
								       .observe = observe,
								       .is_busy = is_busy});
	online_keeper_check(rig.keeper, FAKE_LIBVIRT_G1);
	guest_rig_let_pass(&rig.host);
}

static void start(enum message_auto_online now, bool is_movable, bool observe)
{
	memset(&rig, 0, sizeof(rig));
	rig.now = now;
	rig.zone_policy = MESSAGE_ZONE_POLICY_CONTIG_ZONES;
	rig.setting = MESSAGE_RESULT_OK;
	rig.kernel_bytes = GIB;
	guest_rig_start(&rig.host, on_request, on_change);
	new_keeper(is_movable, observe);
}

static void finish(void)
{
	rig.keeper = online_keeper_free(rig.keeper);
	guest_rig_finish(&rig.host);
}

static enum agent_onlining onlining(void)
{
	return guest_rig_guest(&rig.host)->agent.onlining;
}

/* The guest's kernel begins anew, and its agent with it. */
static void reboot(void)
{
	rig.now = MESSAGE_AUTO_ONLINE_OFFLINE;
	rig.zone_policy = MESSAGE_ZONE_POLICY_CONTIG_ZONES;
	rig.is_leased = false;
	fake_agent_restart(rig.host.agent);
	fake_libvirt_emit(CONNECTION_EVENT_REBOOTED, FAKE_LIBVIRT_G1, 0);
	guest_rig_let_pass(&rig.host);
}

static void test_set_and_given_back(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, true, false);
	CHECK_INT(rig.sets, 1);
	CHECK_TRUE(rig.set.lease.id == ONLINE_KEEPER_LEASE);
	CHECK_INT(rig.set.lease.lease_ms, ONLINE_KEEPER_LEASE_MS);
	CHECK_INT(rig.set.policy, MESSAGE_ONLINE_POLICY_MOVABLE);
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	/* The guest's own policy counts before the configuration. */
	say_policy("online_policy='leave'");
	CHECK_INT(rig.releases, 1);
	CHECK_INT(rig.release_flags, 0);
	CHECK_INT(rig.now, MESSAGE_AUTO_ONLINE_OFFLINE);
	CHECK_INT(onlining(), AGENT_ONLINING_LEFT);
	say_policy("online_policy='movable'");
	CHECK_INT(rig.sets, 2);
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	finish();
}

static void test_after_a_reboot(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, true, false);
	CHECK_INT(rig.sets, 1);
	reboot();
	while (rig.sets < 2)
		guest_rig_turn(&rig.host);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.now, MESSAGE_AUTO_ONLINE_MOVABLE);
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	CHECK_INT(rig.sets, 2);
	finish();
}

static void test_renewed(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, true, false);
	unsigned before = rig.renewals;

	guest_rig_pass(&rig.host, ONLINE_KEEPER_LEASE_MS / 2);
	CHECK_INT(rig.renewals, before + 1);
	CHECK_INT(rig.sets, 1);
	/* It ran out all the same: the guest was stopped for hours. */
	rig.is_leased = false;
	rig.now = MESSAGE_AUTO_ONLINE_OFFLINE;
	guest_rig_pass(&rig.host, ONLINE_KEEPER_LEASE_MS / 2);
	CHECK_INT(rig.sets, 2);
	CHECK_INT(rig.releases, 0);
	/* The same, and its report is sooner than the renewal. */
	rig.is_leased = false;
	rig.now = MESSAGE_AUTO_ONLINE_OFFLINE;
	look_refresh(rig.host.look, FAKE_LIBVIRT_G1, LOOK_AGENT, on_looked, NULL);
	while (rig.sets < 3)
		guest_rig_turn(&rig.host);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	finish();
}

static void test_more_than_its_kernel_bears(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, false, false);
	CHECK_INT(rig.sets, 0);
	rig.kernel_bytes = GIB / 8;
	say_policy("online_policy='movable'");
	CHECK_INT(rig.set.policy, MESSAGE_ONLINE_POLICY_AUTO_MOVABLE);
	CHECK_INT(rig.set.auto_movable_ratio, 301);
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	finish();
}

/* After a boot the guest may know of what its driver has plugged before libvirt does: that is no more than its device. */
static void test_plugged_sooner_than_told(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, false, false);
	rig.kernel_bytes = GIB * 2 / 5;
	rig.offline_bytes = GIB;
	say_policy("online_policy='movable'");
	CHECK_INT(rig.sets, 1);
	CHECK_INT(rig.set.policy, MESSAGE_ONLINE_POLICY_MOVABLE);
	finish();
}

static void test_its_own(void)
{
	start(MESSAGE_AUTO_ONLINE_MOVABLE, true, false);
	CHECK_INT(rig.sets, 0);
	CHECK_INT(onlining(), AGENT_ONLINING_OWN);
	finish();
}

static void test_refused(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, false, false);
	rig.setting = MESSAGE_RESULT_VETOED;
	say_policy("online_policy='movable'");
	CHECK_INT(rig.sets, 1);
	CHECK_INT(onlining(), AGENT_ONLINING_REFUSED);
	guest_rig_pass(&rig.host, ONLINE_KEEPER_LEASE_MS);
	CHECK_INT(rig.sets, 1);
	/* Its next boot may be another one's. */
	rig.setting = MESSAGE_RESULT_OK;
	reboot();
	while (rig.sets < 2)
		guest_rig_turn(&rig.host);
	finish();
}

/* Somebody in the guest wants it otherwise. */
static void test_overruled(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, true, false);
	rig.now = MESSAGE_AUTO_ONLINE_KERNEL;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	look_refresh(rig.host.look, FAKE_LIBVIRT_G1, LOOK_AGENT, on_looked, NULL);
	while (rig.releases == 0)
		guest_rig_turn(&rig.host);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.release_flags, MESSAGE_RELEASE_KEEP_POLICY);
	CHECK_INT(rig.now, MESSAGE_AUTO_ONLINE_KERNEL);
	CHECK_INT(rig.sets, 1);
	CHECK_INT(onlining(), AGENT_ONLINING_OVERRULED);
	finish();
}

static void test_another_daemon(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, true, false);
	CHECK_INT(rig.sets, 1);
	online_keeper_free(rig.keeper);
	new_keeper(true, false);
	CHECK_INT(rig.sets, 1);
	CHECK_INT(rig.releases, 0);
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	/* One whose configuration says something else. */
	online_keeper_free(rig.keeper);
	new_keeper(false, false);
	CHECK_INT(rig.releases, 1);
	CHECK_INT(rig.now, MESSAGE_AUTO_ONLINE_OFFLINE);
	CHECK_INT(onlining(), AGENT_ONLINING_LEFT);
	finish();
}

static void test_beside_an_operation(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, false, false);
	rig.is_busy = true;
	say_policy("online_policy='movable'");
	CHECK_INT(rig.sets, 0);
	rig.is_busy = false;
	while (rig.sets == 0)
		guest_rig_turn(&rig.host);
	guest_rig_let_pass(&rig.host);
	/* What an operation sets for its own time is not somebody's in the guest. */
	rig.is_busy = true;
	rig.now = MESSAGE_AUTO_ONLINE_ONLINE;
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	look_refresh(rig.host.look, FAKE_LIBVIRT_G1, LOOK_AGENT, on_looked, NULL);
	guest_rig_let_pass(&rig.host);
	rig.now = MESSAGE_AUTO_ONLINE_MOVABLE;
	rig.is_busy = false;
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.releases, 1); /* that of the start, when nobody knew */
	CHECK_INT(onlining(), AGENT_ONLINING_KEPT);
	finish();
}

static void test_observing(void)
{
	start(MESSAGE_AUTO_ONLINE_OFFLINE, true, true);
	CHECK_INT(rig.sets + rig.renewals + rig.releases, 0);
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"set and given back", test_set_and_given_back},
		{"after a reboot", test_after_a_reboot},
		{"renewed", test_renewed},
		{"more than its kernel bears", test_more_than_its_kernel_bears},
		{"plugged sooner than told", test_plugged_sooner_than_told},
		{"its own", test_its_own},
		{"refused", test_refused},
		{"overruled", test_overruled},
		{"another daemon", test_another_daemon},
		{"beside an operation", test_beside_an_operation},
		{"a daemon that only observes", test_observing},
	};

	return unit_main("service/operation/online_keeper", cases, sizeof(cases) / sizeof(cases[0]));
}
