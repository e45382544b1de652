/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose size somebody asks for through a libvirt that does as told, and an agent that is there or not.
 */
#include "size_assistant.h"

#include <string.h>
#include "guest_rig.h"
#include "operation_record.h"
#include "unit.h"

#define MIB	 (UINT64_C(1) << 20)
/* Less than after what a call of libvirt is given up. */
#define FLAT_MS	 6000
#define PAUSE_MS 15000

static struct {
	struct guest_rig host;
	struct size_assistant *assistant;
	bool is_busy, veto;
	unsigned helps;
	struct wish wish;
} rig;

static bool is_busy(void *user, const char *guest)
{
	CHECK_STR(guest, FAKE_LIBVIRT_G1);
	return rig.is_busy;
}

static void submit(void *user, const struct wish *wish)
{
	rig.helps++;
	rig.wish = *wish;
}

static void on_change(void *user, enum look_change change, const char *guest)
{
	if (rig.assistant && guest[0])
		size_assistant_check(rig.assistant, guest);
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id, const struct message *message)
{
	static struct message reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = MESSAGE_REPORT_REPLY;
	if (message->type == MESSAGE_REPORT)
		fake_agent_reply(agent, epoch, id, &reply);
}

static void start(bool with_agent)
{
	memset(&rig, 0, sizeof(rig));
	guest_rig_start(&rig.host, with_agent ? on_request : NULL, on_change);
	rig.assistant = size_assistant_new(&(struct size_assistant_options){.base = rig.host.base, .look = rig.host.look,
									    .flat_ms = FLAT_MS, .pace_ms = 10, .read_ms = 20,
									    .pause_ms = PAUSE_MS, .is_busy = is_busy,
									    .submit = submit});
}

static void finish(void)
{
	rig.assistant = size_assistant_free(rig.assistant);
	guest_rig_finish(&rig.host);
}

/* Nothing tells of it. */
static void ask(uint64_t mib)
{
	fake_libvirt_lock();
	rig.host.domain->requested_mib = mib;
	fake_libvirt_unlock();
}

static void go_to(uint64_t mib)
{
	fake_libvirt_lock();
	rig.host.domain->current_mib = mib;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_MEMORY_SIZE_CHANGED, FAKE_LIBVIRT_G1, mib * MIB);
}

static void wait_helps(unsigned helps)
{
	while (rig.helps < helps)
		guest_rig_turn(&rig.host);
	CHECK_INT(rig.helps, helps);
}

static void wait_agent(bool is_there)
{
	while ((guest_rig_guest(&rig.host)->agent.state == AGENT_STATE_READY) != is_there)
		guest_rig_turn(&rig.host);
}

static void ended(enum operation_state state, const char *superseded_by)
{
	struct operation_record *record = operation_record_new();

	record->state = state;
	record->wish = rig.wish;
	snprintf(record->actor, sizeof(record->actor), "%s", OPERATION_ACTOR_LIBVIRT);
	snprintf(record->superseded_by, sizeof(record->superseded_by), "%s", superseded_by);
	size_assistant_ended(rig.assistant, record);
	operation_record_free(record);
}

static void test_helped(void)
{
	start(true);
	guest_rig_pass(&rig.host, FLAT_MS);
	CHECK_INT(rig.helps, 0);
	ask(128);
	guest_rig_pass(&rig.host, FLAT_MS - 1000);
	CHECK_INT(rig.helps, 0);
	guest_rig_turn_clock(2000);
	wait_helps(1);
	CHECK_INT(rig.wish.kind, OPERATION_KIND_RESIZE);
	CHECK_STR(rig.wish.guest, FAKE_LIBVIRT_G1);
	CHECK_INT(rig.wish.on_timeout, ON_TIMEOUT_CONTINUE);
	CHECK_INT(rig.wish.resize.device_count, 1);
	CHECK_STR(rig.wish.resize.devices[0].alias, FAKE_LIBVIRT_ALIAS);
	CHECK_INT(rig.wish.resize.devices[0].requested_bytes, 128 * MIB);
	/* Done: nothing more to help. */
	go_to(128);
	guest_rig_pass(&rig.host, 2 * PAUSE_MS);
	CHECK_INT(rig.helps, 1);
	finish();
}

static void test_not_while_it_moves(void)
{
	start(true);
	ask(128);
	for (uint64_t mib = 250; mib > 220; mib -= 5) {
		go_to(mib);
		guest_rig_pass(&rig.host, FLAT_MS / 2);
	}
	CHECK_INT(rig.helps, 0);
	guest_rig_turn_clock(FLAT_MS);
	wait_helps(1);
	finish();
}

static void test_again_after_a_pause(void)
{
	start(true);
	ask(128);
	guest_rig_pass(&rig.host, FLAT_MS);
	wait_helps(1);
	rig.is_busy = true;
	guest_rig_pass(&rig.host, PAUSE_MS);
	CHECK_INT(rig.helps, 1);
	rig.is_busy = false;
	ended(OPERATION_STATE_INCOMPLETE, "");
	guest_rig_pass(&rig.host, PAUSE_MS - 1000);
	CHECK_INT(rig.helps, 1);
	guest_rig_turn_clock(2000);
	wait_helps(2);
	/* Somebody asks for something else: no pause. */
	ask(192);
	guest_rig_pass(&rig.host, FLAT_MS);
	wait_helps(3);
	CHECK_INT(rig.wish.resize.devices[0].requested_bytes, 192 * MIB);
	finish();
}

static void test_cancelled(void)
{
	start(true);
	ask(128);
	guest_rig_pass(&rig.host, FLAT_MS);
	wait_helps(1);
	ended(OPERATION_STATE_CANCELLED, "op-2");
	guest_rig_pass(&rig.host, PAUSE_MS);
	wait_helps(2);
	ended(OPERATION_STATE_CANCELLED, "");
	guest_rig_pass(&rig.host, PAUSE_MS);
	guest_rig_pass(&rig.host, PAUSE_MS);
	guest_rig_pass(&rig.host, PAUSE_MS);
	CHECK_INT(rig.helps, 2);
	ask(160);
	guest_rig_pass(&rig.host, FLAT_MS);
	wait_helps(3);
	finish();
}

static void test_not_helped(void)
{
	start(true);
	fake_libvirt_lock();
	rig.host.domain->has_job = true;
	rig.host.domain->requested_mib = 128;
	fake_libvirt_unlock();
	guest_rig_pass(&rig.host, 2 * FLAT_MS);
	CHECK_INT(rig.helps, 0);
	fake_libvirt_lock();
	rig.host.domain->has_job = false;
	fake_libvirt_unlock();
	wait_helps(1);
	finish();
}

/* Nobody inside can help, but its driver can be woken: by the same request, and rarer each time. */
static void test_without_an_agent(void)
{
	start(false);
	guest_rig_pass(&rig.host, FLAT_MS);
	ask(128);
	guest_rig_pass(&rig.host, FLAT_MS - 1000);
	go_to(200);
	guest_rig_pass(&rig.host, FLAT_MS - 1000);
	CHECK_INT(rig.helps, 0);
	guest_rig_turn_clock(2000);
	wait_helps(1);
	CHECK_INT(rig.wish.resize.devices[0].requested_bytes, 128 * MIB);
	CHECK_INT(rig.wish.on_timeout, ON_TIMEOUT_CONTINUE);
	ended(OPERATION_STATE_INCOMPLETE, "");
	guest_rig_pass(&rig.host, PAUSE_MS - 1000);
	CHECK_INT(rig.helps, 1);
	guest_rig_turn_clock(2000);
	wait_helps(2);
	ended(OPERATION_STATE_INCOMPLETE, "");
	guest_rig_pass(&rig.host, PAUSE_MS + 1000);
	CHECK_INT(rig.helps, 2);
	finish();
}

/* It is given the time to be back. */
static void test_agent_goes(void)
{
	start(true);
	ask(128);
	guest_rig_pass(&rig.host, FLAT_MS - 1000);
	fake_agent_hang_up(rig.host.agent);
	wait_agent(false);
	guest_rig_turn_clock(2000);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.helps, 0);
	guest_rig_turn_clock(FLAT_MS - 2000);
	wait_helps(1);
	finish();
}

/* What it can do is worth a try before the pause is over; once. */
static void test_agent_comes(void)
{
	start(false);
	ask(128);
	guest_rig_pass(&rig.host, FLAT_MS);
	wait_helps(1);
	ended(OPERATION_STATE_INCOMPLETE, "");
	rig.host.agent = fake_agent_new(rig.host.base, rig.host.agent_path, on_request, NULL);
	fake_libvirt_lock();
	snprintf(rig.host.domain->channel, sizeof(rig.host.domain->channel), "%s", rig.host.agent_path);
	fake_libvirt_unlock();
	wait_agent(true);
	guest_rig_pass(&rig.host, FLAT_MS);
	wait_helps(2);
	ended(OPERATION_STATE_INCOMPLETE, "");
	fake_agent_hang_up(rig.host.agent);
	wait_agent(false);
	wait_agent(true);
	guest_rig_pass(&rig.host, PAUSE_MS - 1000);
	CHECK_INT(rig.helps, 2);
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a request that stands still is helped", test_helped},
		{"one that moves is left alone", test_not_while_it_moves},
		{"again after a pause, or when another comes", test_again_after_a_pause},
		{"what was cancelled is left alone", test_cancelled},
		{"in a migration", test_not_helped},
		{"without an agent", test_without_an_agent},
		{"an agent that goes", test_agent_goes},
		{"an agent that comes", test_agent_comes},
	};

	return unit_main("service/operation/size_assistant", cases, sizeof(cases) / sizeof(cases[0]));
}
