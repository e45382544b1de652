/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <stdio.h>
#include <string.h>
#include "fake_channel.h"
#include "guest_rig.h"
#include "unit.h"

/* Agents by vsock: what is at a context id is a guest's only as long as its QEMU lives. */

#define CID 5

static struct guest_rig rig;
static unsigned reports;

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id, const struct message *message)
{
	static struct message reply = {.type = MESSAGE_REPORT_REPLY, .report_reply.total_bytes = UINT64_C(500) << 20};

	CHECK_INT(message->type, MESSAGE_REPORT);
	reports++;
	fake_agent_reply(agent, epoch, id, &reply);
}

static void on_change(void *user, enum look_change change, const char *guest)
{
}

/* The guest has been looked at; an agent is there, and nobody at any id. */
static void start(void)
{
	reports = 0;
	fake_channel_reset();
	guest_rig_start(&rig, NULL, on_change);
	rig.agent = fake_agent_new(rig.base, rig.agent_path, on_request, NULL);
}

static void give_id(struct fake_domain *domain, unsigned cid)
{
	fake_libvirt_lock();
	domain->vsock_cid = cid;
	fake_libvirt_unlock();
	look_read_guest(rig.look, domain->uuid);
}

static enum agent_state state_of(const char *name)
{
	return snapshot_guest(look_snapshot(rig.look), name)->agent.state;
}

static void an_agent_by_vsock(void)
{
	start();
	fake_channel_set(CID, rig.agent_path);
	give_id(rig.domain, CID);
	while (!guest_rig_guest(&rig)->agent.reported)
		guest_rig_turn(&rig);
	CHECK_INT(state_of("g1"), AGENT_STATE_READY);
	/* Where its guest has a port as well, that is the better one. */
	give_id(rig.domain, 0);
	while (state_of("g1") != AGENT_STATE_NONE)
		guest_rig_turn(&rig);
	guest_rig_let_pass(&rig);
	fake_libvirt_lock();
	snprintf(rig.domain->channel, sizeof(rig.domain->channel), "%s", rig.agent_path);
	fake_libvirt_unlock();
	give_id(rig.domain, CID);
	while (fake_agent_connections(rig.agent) < 2)
		guest_rig_turn(&rig);
	CHECK_INT(fake_channel_tries(CID), 1);
	guest_rig_finish(&rig);
}

/* Until another connection has been made, and what it brings has come. */
static void wait_connection(void)
{
	unsigned before = fake_agent_connections(rig.agent);

	while (fake_agent_connections(rig.agent) == before)
		guest_rig_turn(&rig);
	guest_rig_let_pass(&rig);
}

/* Its QEMU has ended, and the id is another's, before libvirt has told of either. */
static void an_id_that_changed_hands(void)
{
	start();
	give_id(rig.domain, CID);
	while (!fake_channel_tries(CID))
		guest_rig_turn(&rig);
	fake_host_remove_process(&rig.tree, 4711);
	fake_channel_set(CID, rig.agent_path);
	wait_connection();
	CHECK_INT(state_of("g1"), AGENT_STATE_DISCONNECTED);
	/* Nor is a process of the same number the one that had it. */
	fake_host_add_process(&rig.tree, 4711, 5000, "g2", FAKE_LIBVIRT_G2);
	wait_connection();
	CHECK_INT(state_of("g1"), AGENT_STATE_DISCONNECTED);
	CHECK_INT(reports, 0);
	/* Now it is told whose it is. */
	fake_libvirt_lock();
	rig.domain->running = false;
	fake_libvirt_unlock();
	look_read_guest(rig.look, FAKE_LIBVIRT_G1);
	while (state_of("g1") != AGENT_STATE_NONE)
		guest_rig_turn(&rig);
	give_id(fake_libvirt_add(FAKE_LIBVIRT_G2, "g2"), CID);
	while (!snapshot_guest(look_snapshot(rig.look), "g2") || state_of("g2") != AGENT_STATE_READY || !reports)
		guest_rig_turn(&rig);
	guest_rig_finish(&rig);
}

/* What it said before is not taken for the word of who has the id next. */
static void an_id_that_is_given_up(void)
{
	start();
	fake_channel_set(CID, rig.agent_path);
	give_id(rig.domain, CID);
	while (!guest_rig_guest(&rig)->agent.reported)
		guest_rig_turn(&rig);
	give_id(rig.domain, CID + 1);
	while (!fake_channel_tries(CID + 1))
		guest_rig_turn(&rig);
	CHECK_INT(state_of("g1"), AGENT_STATE_DISCONNECTED);
	CHECK_TRUE(!guest_rig_guest(&rig)->agent.reported);
	guest_rig_finish(&rig);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"an agent by vsock", an_agent_by_vsock},
		{"an id that changed hands", an_id_that_changed_hands},
		{"an id that is given up", an_id_that_is_given_up},
	};

	return unit_main("look_vsock", cases, ARRAY_SIZE(cases));
}
