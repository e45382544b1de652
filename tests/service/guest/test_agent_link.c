/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_link.h"

#include <event2/event.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fake_agent.h"
#include "fake_channel.h"
#include "block_walk.h"
#include "region_census.h"
#include "scratch.h"
#include "session.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

enum manner {
	MANNER_HONEST,
	MANNER_SILENT,
	MANNER_LIAR,	 /* more memory than it was ever given */
	MANNER_REFUSER,	 /* RESULT to everything */
	MANNER_RESTARTS, /* in the middle of its work */
	MANNER_HANGS_UP,
};

static struct {
	struct event_base *base;
	struct event *watchdog;
	struct fake_agent *agent;
	struct agent_link *link;
	char path[64];
	enum manner manner;
	bool lies_in_parts; /* a liar's total is honest */
	bool is_old;	    /* it does not tell what it keeps */
	bool cuts_regions;  /* it has more than it tells */
	bool has_gigantic;
	struct message_report_pool gigantic;
	unsigned reports, requests, cancels, changes;
	bool tells_stalls;
	unsigned pages_of_blocks; /* so many are told, then it goes round in circles */
	uint64_t free_bytes;	  /* in each block */
	unsigned answers, progresses, stalls, refreshed;
	enum agent_answer_kind kind;
	struct message answer;
	bool ask_again;
	int again;
	bool is_owner; /* of its context id, by vsock */
	unsigned owner_asks;
} rig;

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	assert(!"a test waits for what does not come");
}

static void report(uint64_t epoch, uint32_t id)
{
	static struct message message;
	struct message_report_reply *reply = &message.report_reply;

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_REPORT_REPLY;
	reply->total_bytes =
		rig.manner == MANNER_LIAR && !rig.lies_in_parts ? 4096 * MIB : 700 * MIB;
	reply->free_bytes = 100 * MIB;
	reply->available_bytes = 200 * MIB;
	reply->auto_online = MESSAGE_AUTO_ONLINE_MOVABLE;
	reply->zone_count = 3;
	reply->zones[0] =
		(struct message_report_zone){0, MESSAGE_ZONE_DMA32, 400 * MIB, 400 * MIB, 0};
	reply->zones[1] =
		(struct message_report_zone){0, MESSAGE_ZONE_NORMAL, 100 * MIB, 100 * MIB, 0};
	reply->zones[2] =
		(struct message_report_zone){0, MESSAGE_ZONE_MOVABLE, 200 * MIB, 200 * MIB, 0};
	reply->pool_count = 3;
	reply->pools[0] = (struct message_report_pool){.node = MESSAGE_NODE_ALL,
						       .page_bytes = 2 * MIB,
						       .total = 50,
						       .free = 30,
						       .reserved = 10,
						       .surplus = 4,
						       .floor = 42};
	/* A node's share is in the total; a pool with more free than there are is nonsense. */
	reply->pools[1] = (struct message_report_pool){
		.node = 0, .page_bytes = 2 * MIB, .total = 50, .free = 30};
	reply->pools[2] = (struct message_report_pool){
		.node = MESSAGE_NODE_ALL, .page_bytes = 1024 * MIB, .free = 3};
	if (rig.has_gigantic)
		reply->pools[2] = rig.gigantic;
	reply->region_count = 1;
	reply->regions[0] = (struct message_report_region){.start = 4096 * MIB,
							   .size_bytes = 1024 * MIB,
							   .plugged_bytes = 256 * MIB,
							   .online_bytes = 192 * MIB,
							   .movable_bytes = 128 * MIB};
	reply->flags = MESSAGE_REPORT_UDEV_ONLINES;
	strcpy(reply->udev_rule, "/lib/udev/rules.d/1.rules");
	reply->word_flags = MESSAGE_WORD_VETO;
	reply->floor_bytes = 600 * MIB;
	reply->limit_bytes = 50 * MIB;
	if (!rig.is_old) {
		reply->flags |= MESSAGE_REPORT_KEEPS;
		reply->keep_bytes = 7 * MIB;
	}
	reply->pressure.some_avg10_x100 = 1234;
	/* Beyond all addresses. */
	reply->regions[reply->region_count++] =
		(struct message_report_region){.start = UINT64_MAX - 4096, .size_bytes = 8192};
	if (rig.cuts_regions)
		reply->flags |= MESSAGE_REPORT_CUT_REGIONS;
	if (rig.lies_in_parts)
		reply->regions[0].plugged_bytes = UINT64_MAX;
	fake_agent_reply(rig.agent, epoch, id, &message);
}

/* A block of 64 MiB in each page; the second page ends it. */
static void blocks(uint64_t epoch, uint32_t id, const struct message_blocks *asked)
{
	static struct message message;
	struct message_blocks_reply *reply = &message.blocks_reply;

	CHECK_INT(asked->flags, MESSAGE_BLOCKS_REGIONS_ONLY | MESSAGE_BLOCKS_HOLDERS);
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_BLOCKS_REPLY;
	reply->next_block = asked->first_block + 1 < rig.pages_of_blocks ? asked->first_block + 1 : MESSAGE_BLOCK_END;
	if (rig.pages_of_blocks == 0)
		reply->next_block = asked->first_block;
	reply->block_count = 1;
	reply->blocks[0] = (struct message_block){.id = asked->first_block,
						  .size_bytes = 64 * MIB,
						  .free_bytes = rig.free_bytes,
						  .huge_used_bytes = 4 * MIB,
						  .kernel_bytes = 2 * MIB};
	fake_agent_reply(rig.agent, epoch, id, &message);
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id,
		       const struct message *message)
{
	static struct message progress = {.type = MESSAGE_PROGRESS,
					  .progress = {MESSAGE_STAGE_COMPACT, 1, 2}};
	static const struct message stalls = {
		.type = MESSAGE_STALLS,
		.stalls = {.longest_us = 3200, .p99_us = 40, .samples = 100}};

	rig.requests++;
	if (message->type == MESSAGE_CANCEL) {
		rig.cancels++;
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "");
		fake_agent_reply_result(agent, epoch, message->cancel.request_id,
					MESSAGE_RESULT_CANCELLED, "as asked");
		return;
	}
	if (message->type == MESSAGE_REPORT)
		rig.reports++;
	if (rig.tells_stalls) {
		fake_agent_reply(agent, epoch, id, &stalls);
		fake_agent_reply(agent, epoch, id, &stalls);
	}
	switch (rig.manner) {
	case MANNER_HONEST:
	case MANNER_LIAR:
		if (message->type == MESSAGE_REPORT) {
			report(epoch, id);
			return;
		}
		if (message->type == MESSAGE_BLOCKS) {
			blocks(epoch, id, &message->blocks);
			return;
		}
		fake_agent_reply(agent, epoch, id, &progress);
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "done");
		return;
	case MANNER_SILENT:
		return;
	case MANNER_REFUSER:
		fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_FAILED, "no");
		return;
	case MANNER_RESTARTS:
		fake_agent_restart(agent);
		return;
	case MANNER_HANGS_UP:
		fake_agent_hang_up(agent);
		return;
	}
}

static void on_changed(void *user, struct agent_link *link)
{
	struct snapshot_agent agent;

	rig.changes++;
	agent_link_describe(link, &agent);
	CHECK_TRUE(agent_link_is_ready(link) == (agent.state == AGENT_STATE_READY));
}

static bool is_owner(void *user)
{
	rig.owner_asks++;
	return rig.is_owner;
}

static void setup(enum manner manner)
{
	struct timeval limit = {.tv_sec = 20};

	memset(&rig, 0, sizeof(rig));
	rig.manner = manner;
	rig.base = event_base_new();
	rig.watchdog = evtimer_new(rig.base, on_watchdog, NULL);
	evtimer_add(rig.watchdog, &limit);
	snprintf(rig.path, sizeof(rig.path), "%s/agent", scratch_folder());
	rig.agent = fake_agent_new(rig.base, rig.path, on_request, NULL);
	rig.link = agent_link_new(
		&(struct agent_link_options){.base = rig.base, .changed = on_changed, .is_owner = is_owner});
	assert(rig.link);
	fake_channel_reset();
}

static void teardown(void)
{
	agent_link_free(rig.link);
	fake_agent_free(rig.agent);
	event_free(rig.watchdog);
	event_base_free(rig.base);
}

static enum agent_state state(void)
{
	struct snapshot_agent agent;

	agent_link_describe(rig.link, &agent);
	return agent.state;
}

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_ONCE);
}

/* Until nothing is on its way any more: what both ends of a socket on this loop say arrives at
 * once. */
static void settle(void)
{
	for (unsigned i = 0; i < 50; i++)
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

static void connect_ready(void)
{
	agent_link_set_channel(rig.link, rig.path, 1536 * MIB);
	while (state() != AGENT_STATE_READY)
		turn();
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message)
{
	static struct message question = {.type = MESSAGE_RENEW_LEASE, .renew_lease = {{1, 1000}}};

	rig.answers++;
	rig.kind = kind;
	if (message)
		rig.answer = *message;
	if (rig.ask_again) {
		rig.ask_again = false;
		rig.again =
			agent_link_request(rig.link, &question, 1000, on_answer, NULL, NULL, NULL);
	}
}

static void on_progress(void *user, const struct message *message)
{
	if (message->type == MESSAGE_STALLS) {
		CHECK_INT(message->stalls.longest_us, 3200);
		rig.stalls++;
		return;
	}
	CHECK_INT(message->type, MESSAGE_PROGRESS);
	CHECK_INT(message->progress.stage, MESSAGE_STAGE_COMPACT);
	CHECK_INT(message->progress.total_bytes, 2);
	rig.progresses++;
}

static uint32_t ask(uint32_t timeout_ms)
{
	static struct message message = {.type = MESSAGE_PREPARE,
					 .prepare = {.lease = {1, 1000},
						     .flags = MESSAGE_EVACUATE_COMPACT,
						     .target_bytes = 1,
						     .deadline_ms = 1000}};
	uint32_t id = 0;

	CHECK_INT(agent_link_request(rig.link, &message, timeout_ms, on_answer, on_progress, NULL,
				     &id),
		  0);
	return id;
}

static void on_refreshed(void *user)
{
	rig.refreshed++;
}

static struct snapshot_region census(unsigned pages, uint64_t free_bytes)
{
	struct snapshot_agent agent;
	unsigned before = rig.refreshed;

	rig.pages_of_blocks = pages;
	rig.free_bytes = free_bytes;
	region_census(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed == before)
		turn();
	agent_link_describe(rig.link, &agent);
	CHECK_INT(agent.region_count, 1);
	return agent.regions[0];
}

static void test_census(void)
{
	struct snapshot_region region;

	setup(MANNER_HONEST);
	fake_agent_set_features(rig.agent, MESSAGE_FEATURE_ALL & ~MESSAGE_FEATURE_BLOCK_HOLDERS);
	/* Nobody there. */
	region_census(rig.link, 5000, on_refreshed, NULL);
	CHECK_INT(rig.refreshed, 1);
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed < 2)
		turn();
	/* An agent that cannot tell is not asked. */
	rig.requests = 0;
	CHECK_TRUE(!census(2, MIB).has_holders);
	CHECK_INT(rig.requests, 0);
	teardown();

	setup(MANNER_HONEST);
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed < 1)
		turn();
	/* A part larger than its block; the same page for ever; more blocks than are plugged. */
	CHECK_TRUE(!census(2, 65 * MIB).has_holders);
	CHECK_TRUE(!census(0, MIB).has_holders);
	CHECK_TRUE(!census(5, MIB).has_holders);
	region = census(2, 10 * MIB);
	CHECK_TRUE(region.has_holders);
	CHECK_INT(region.holders.counted_bytes, 128 * MIB);
	CHECK_INT(region.holders.free_bytes, 20 * MIB);
	CHECK_INT(region.holders.huge_used_bytes, 8 * MIB);
	CHECK_INT(region.holders.kernel_bytes, 4 * MIB);
	/* The next report knows nothing of it. */
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	unsigned before = rig.refreshed;

	while (rig.refreshed == before)
		turn();
	struct snapshot_agent agent;

	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(!agent.regions[0].has_holders);
	/* Silence costs its time and no more. */
	rig.manner = MANNER_SILENT;
	before = rig.refreshed;
	region_census(rig.link, 50, on_refreshed, NULL);
	while (rig.refreshed == before)
		turn();
	teardown();
}

static unsigned walked, walks;
static int walk_error;
static uint64_t walk_next;

static int on_block(void *user, const struct snapshot_guest_block *block)
{
	CHECK_INT(block->block.id, 7 + walked++);
	CHECK_INT(block->holders.huge_used_bytes, 4 * MIB);
	return walked == 6 ? -ENOSPC : 0;
}

static void on_walked(void *user, int error, uint64_t next_block)
{
	walks++;
	walk_error = error;
	walk_next = next_block;
}

static void walk(size_t most)
{
	unsigned before = walks;

	walked = 0;
	block_walk(&(struct block_walk_options){.link = rig.link,
						.first_block = 7,
						.most = most,
						.timeout_ms = 5000,
						.block = on_block,
						.done = on_walked});
	while (walks == before)
		turn();
}

/* A page of blocks, and where the next one begins. */
static void test_block_walk(void)
{
	setup(MANNER_HONEST);
	walk(3);
	CHECK_INT(walk_error, -ENOTCONN);
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed < 1)
		turn();
	rig.pages_of_blocks = 12;
	rig.free_bytes = MIB;
	rig.requests = 0;
	walk(3);
	CHECK_INT(walk_error, 0);
	CHECK_INT(walked, 3);
	CHECK_INT(walk_next, 10);
	CHECK_INT(rig.requests, 3);
	walk(5);
	CHECK_INT(walk_error, 0);
	CHECK_INT(walked, 5);
	/* Whether more come only the next one knows. */
	CHECK_INT(walk_next, 12);
	rig.pages_of_blocks = 11;
	walk(0);
	CHECK_INT(walk_error, 0);
	CHECK_INT(walked, 4);
	CHECK_TRUE(walk_next == BLOCK_WALK_END);
	/* Who takes them may have enough. */
	rig.pages_of_blocks = 20;
	walk(0);
	CHECK_INT(walk_error, -ENOSPC);
	CHECK_INT(walked, 6);
	/* The same page for ever. */
	rig.pages_of_blocks = 0;
	walk(0);
	CHECK_INT(walk_error, -EPROTO);
	/* A part larger than its block. */
	rig.free_bytes = 65 * MIB;
	walk(1);
	CHECK_INT(walk_error, -EPROTO);
	CHECK_INT(walked, 0);
	teardown();
}

static void test_states(void)
{
	static struct message message = {.type = MESSAGE_REPORT};

	setup(MANNER_HONEST);
	CHECK_INT(state(), AGENT_STATE_NONE);
	CHECK_INT(agent_link_request(rig.link, &message, 10, on_answer, NULL, NULL, NULL),
		  -ENOTCONN);
	agent_link_refresh(rig.link, 10, on_refreshed, NULL);
	CHECK_INT(rig.refreshed, 1);
	agent_link_set_channel(rig.link, "/nonexistent/agent.sock", MIB);
	CHECK_INT(state(), AGENT_STATE_DISCONNECTED);
	agent_link_set_channel(rig.link, rig.path, MIB);
	CHECK_INT(state(), AGENT_STATE_CONNECTING);
	while (state() != AGENT_STATE_READY)
		turn();
	/* The same path again is no news. */
	agent_link_set_channel(rig.link, rig.path, 2 * MIB);
	CHECK_INT(state(), AGENT_STATE_READY);
	agent_link_set_channel(rig.link, NULL, 0);
	CHECK_INT(state(), AGENT_STATE_NONE);
	CHECK_INT(fake_agent_connections(rig.agent), 1);
	teardown();
}

static void test_report(void)
{
	struct snapshot_agent agent;

	setup(MANNER_HONEST);
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	CHECK_INT(rig.refreshed, 0);
	while (rig.refreshed < 2)
		turn();
	CHECK_INT(rig.reports, 1);
	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(agent.reported && agent.last_seen_ms > 0);
	CHECK_STR(agent.version, "0.1.0-fake");
	CHECK_INT(agent.features, MESSAGE_FEATURE_ALL);
	CHECK_INT(agent.memory_total_bytes, 700 * MIB);
	CHECK_INT(agent.memory_available_bytes, 200 * MIB);
	CHECK_INT(agent.normal_bytes, 500 * MIB);
	CHECK_INT(agent.movable_bytes, 200 * MIB);
	CHECK_INT(agent.huge_free_bytes, 40 * MIB);
	CHECK_INT(agent.huge_used_bytes, 60 * MIB);
	/* Of 20 that are free and unreserved 4 are surplus, and of the pool's own 46 as many are above the floor. */
	CHECK_INT(agent.huge_floor_bytes, 24 * MIB);
	CHECK_INT(agent.region_count, 1);
	CHECK_INT(agent.regions[0].plugged_bytes, 256 * MIB);
	CHECK_INT(agent.regions[0].online_bytes, 192 * MIB);
	CHECK_INT(agent.regions[0].movable_bytes, 128 * MIB);
	CHECK_TRUE(agent.veto && agent.udev_onlines);
	CHECK_STR(agent.udev_rule, "/lib/udev/rules.d/1.rules");
	CHECK_INT(agent.shrink_limit_bytes, 600 * MIB);
	CHECK_INT(agent.keep_bytes, 7 * MIB);
	CHECK_INT(agent.shrink_most_bytes, 50 * MIB);
	CHECK_INT(agent.pressure_percent, 12);
	CHECK_INT(agent.gigantic_bytes, 0);
	CHECK_INT(agent.offline_bytes, 64 * MIB);
	CHECK_INT(agent.wrong_zone_bytes, 64 * MIB);
	CHECK_STR(agent.online_policy, "online_movable");
	CHECK_INT(agent.regions[0].start, 4096 * MIB);
	CHECK_INT(agent.regions[0].end, 5120 * MIB);
	rig.cuts_regions = rig.is_old = true;
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed < 3)
		turn();
	agent_link_describe(rig.link, &agent);
	CHECK_INT(agent.offline_bytes, 64 * MIB);
	CHECK_INT(agent.region_count, 0);
	CHECK_INT(agent.keep_bytes, 700 * MIB / 32);
	teardown();
}

/* One that the guest gives up when it is asked to is in nobody's way. */
static void test_gigantic_pages(void)
{
	static const struct {
		uint64_t free, reserved, floor, stay_mib;
	} rows[] = {{0, 0, 0, 1024}, {1, 0, 0, 0}, {1, 1, 0, 1024}, {1, 0, 1, 1024}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct snapshot_agent agent;

		setup(MANNER_HONEST);
		rig.has_gigantic = true;
		rig.gigantic = (struct message_report_pool){.node = MESSAGE_NODE_ALL,
							    .page_bytes = 1024 * MIB,
							    .total = 1,
							    .free = rows[i].free,
							    .reserved = rows[i].reserved,
							    .floor = rows[i].floor};
		connect_ready();
		agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
		while (rig.refreshed < 1)
			turn();
		agent_link_describe(rig.link, &agent);
		CHECK_INT(agent.gigantic_bytes / MIB, rows[i].stay_mib);
		teardown();
	}
}

/* What is asked of a link often, without the whole description. */
static void test_features_and_wish(void)
{
	setup(MANNER_HONEST);
	fake_agent_set_features(rig.agent, MESSAGE_FEATURE_ALL & ~MESSAGE_FEATURE_STALL_PROBE);
	CHECK_TRUE(!agent_link_has_feature(rig.link, AGENT_FEATURE_WISH));
	connect_ready();
	CHECK_TRUE(agent_link_has_feature(rig.link, AGENT_FEATURE_WISH));
	CHECK_TRUE(!agent_link_has_feature(rig.link, AGENT_FEATURE_STALL_PROBE));
	CHECK_INT(agent_link_wanted_bytes(rig.link), 0);
	settle();
	fake_agent_ask(rig.agent, 900 * MIB);
	while (!agent_link_wanted_bytes(rig.link))
		turn();
	CHECK_INT(agent_link_wanted_bytes(rig.link), 900 * MIB);
	/* Of one that is gone nothing is said. */
	fake_agent_hang_up(rig.agent);
	while (agent_link_is_ready(rig.link))
		turn();
	CHECK_TRUE(!agent_link_has_feature(rig.link, AGENT_FEATURE_WISH));
	CHECK_INT(agent_link_wanted_bytes(rig.link), 0);
	teardown();
}

static void test_request(void)
{
	setup(MANNER_HONEST);
	connect_ready();
	rig.ask_again = true;
	ask(5000);
	CHECK_INT(rig.answers, 0);
	while (rig.answers < 2)
		turn();
	CHECK_INT(rig.again, 0);
	CHECK_INT(rig.progresses, 1);
	CHECK_INT(rig.kind, AGENT_ANSWER_REPLY);
	CHECK_INT(rig.answer.type, MESSAGE_RESULT);
	CHECK_STR(rig.answer.result.text, "done");
	teardown();
}

static void test_outstanding(void)
{
	static struct message message = {.type = MESSAGE_REPORT};

	setup(MANNER_SILENT);
	connect_ready();
	for (unsigned i = 0; i < LIMIT_OUTSTANDING; i++)
		ask(60000);
	CHECK_INT(agent_link_request(rig.link, &message, 10, on_answer, NULL, NULL, NULL), -EBUSY);
	/* All are told before the link is gone. */
	rig.link = agent_link_free(rig.link);
	CHECK_INT(rig.answers, LIMIT_OUTSTANDING);
	CHECK_INT(rig.kind, AGENT_ANSWER_LOST);
	teardown();
}

/* Who speaks what is told, and which of the two is to be replaced. */
static void test_incompatible(void)
{
	static const struct {
		uint16_t version;
		const char *reason;
	} rows[] = {
		{0x0203, "it speaks 2.3 to 2.3, ballastd 1.0 to 1.1: update ballastd, or install its own ballast-agent in the guest"},
		{0x0009, "it speaks 0.9 to 0.9, ballastd 1.0 to 1.1: update ballast-agent in the guest"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct snapshot_agent agent;

		setup(MANNER_HONEST);
		fake_agent_set_foreign(rig.agent, rows[i].version);
		agent_link_set_channel(rig.link, rig.path, MIB);
		while (state() != AGENT_STATE_INCOMPATIBLE)
			turn();
		agent_link_describe(rig.link, &agent);
		CHECK_STR(agent.version, "9.9-fake");
		CHECK_STR(agent.incompatible_reason, rows[i].reason);
		/* Gone with its QEMU. */
		fake_agent_hang_up(rig.agent);
		while (state() == AGENT_STATE_INCOMPATIBLE)
			turn();
		agent_link_describe(rig.link, &agent);
		CHECK_STR(agent.incompatible_reason, "");
		teardown();
	}
}

static void test_timeout(void)
{
	struct snapshot_agent agent;

	setup(MANNER_HONEST);
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed == 0)
		turn();
	rig.manner = MANNER_SILENT;
	ask(20);
	while (rig.answers == 0)
		turn();
	CHECK_INT(rig.kind, AGENT_ANSWER_TIMED_OUT);
	CHECK_INT(state(), AGENT_STATE_READY);
	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(agent.reported && !agent.overdue);
	/* A report that does not come leaves what is known, and that it is old. */
	agent_link_refresh(rig.link, 20, on_refreshed, NULL);
	while (rig.refreshed == 1)
		turn();
	CHECK_INT(state(), AGENT_STATE_READY);
	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(agent.reported && agent.overdue);
	rig.manner = MANNER_HONEST;
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed == 2)
		turn();
	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(agent.reported && !agent.overdue);
	teardown();
}

static void test_cancel(void)
{
	uint32_t id;

	setup(MANNER_SILENT);
	connect_ready();
	id = ask(60000);
	settle();
	agent_link_cancel(rig.link, id);
	while (rig.answers == 0)
		turn();
	CHECK_INT(rig.cancels, 1);
	CHECK_INT(rig.kind, AGENT_ANSWER_REPLY);
	CHECK_INT(rig.answer.result.code, MESSAGE_RESULT_CANCELLED);
	teardown();
}

static void test_stalls(void)
{
	struct message watch = {.type = MESSAGE_WATCH_STALLS,
				.watch_stalls = {.interval_ms = 100, .duration_ms = 1000}};
	struct snapshot_agent agent;

	setup(MANNER_HONEST);
	connect_ready();
	rig.tells_stalls = true;
	CHECK_INT(agent_link_request(rig.link, &watch, 5000, on_answer, on_progress, NULL, NULL), 0);
	while (rig.answers == 0)
		turn();
	CHECK_INT(rig.kind, AGENT_ANSWER_REPLY);
	CHECK_INT(rig.answer.type, MESSAGE_RESULT);
	CHECK_INT(rig.stalls, 2);
	/* Of another request they cannot be explained. */
	ask(60000);
	while (rig.answers == 1)
		turn();
	CHECK_INT(rig.kind, AGENT_ANSWER_LOST);
	CHECK_INT(rig.stalls, 2);
	agent_link_describe(rig.link, &agent);
	CHECK_INT(agent.state, AGENT_STATE_SUSPECT);
	CHECK_STR(agent.suspect_reason, "wrong_reply_type");
	teardown();
}

static void test_agent_restarts(void)
{
	struct snapshot_agent agent;

	setup(MANNER_HONEST);
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed == 0)
		turn();
	rig.manner = MANNER_RESTARTS;
	ask(60000);
	while (rig.answers == 0)
		turn();
	CHECK_INT(rig.kind, AGENT_ANSWER_LOST);
	while (state() != AGENT_STATE_READY)
		turn();
	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(!agent.reported);
	CHECK_INT(fake_agent_connections(rig.agent), 1);
	teardown();
}

/* libvirt has told of a reboot, which the channel does not: requests end at once, and the guest is
 * greeted anew. */
static void test_guest_reboots(void)
{
	setup(MANNER_SILENT);
	connect_ready();
	ask(60000);
	settle();
	agent_link_restart(rig.link);
	CHECK_INT(rig.answers, 1);
	CHECK_INT(rig.kind, AGENT_ANSWER_LOST);
	CHECK_INT(state(), AGENT_STATE_CONNECTING);
	while (state() != AGENT_STATE_READY)
		turn();
	rig.manner = MANNER_HONEST;
	ask(5000);
	while (rig.answers < 2)
		turn();
	CHECK_INT(rig.kind, AGENT_ANSWER_REPLY);
	teardown();
}

static void test_qemu_ends(void)
{
	setup(MANNER_HANGS_UP);
	connect_ready();
	ask(60000);
	while (rig.answers == 0)
		turn();
	CHECK_INT(rig.kind, AGENT_ANSWER_LOST);
	CHECK_INT(state(), AGENT_STATE_DISCONNECTED);
	/* It is back, at the same path. */
	while (state() != AGENT_STATE_READY)
		turn();
	CHECK_INT(fake_agent_connections(rig.agent), 2);
	teardown();
}

static void test_vsock(void)
{
	setup(MANNER_HONEST);
	rig.is_owner = true;
	fake_channel_set(5, rig.path);
	agent_link_set_vsock(rig.link, 5, 1536 * MIB);
	while (state() != AGENT_STATE_READY)
		turn();
	CHECK_INT(rig.owner_asks, 1);
	/* The same again changes nothing. */
	agent_link_set_vsock(rig.link, 5, 1536 * MIB);
	settle();
	CHECK_INT(fake_agent_connections(rig.agent), 1);
	CHECK_INT(fake_channel_tries(5), 1);
	/* Another id is another guest: what was said at this one is nothing to it. */
	agent_link_set_vsock(rig.link, 6, 1536 * MIB);
	CHECK_INT(state(), AGENT_STATE_DISCONNECTED);
	CHECK_INT(fake_channel_tries(6), 1);
	settle();
	/* A port needs no such word: only QEMU's owner has it. */
	agent_link_set_channel(rig.link, rig.path, 1536 * MIB);
	rig.is_owner = false;
	while (state() != AGENT_STATE_READY)
		turn();
	CHECK_INT(rig.owner_asks, 1);
	teardown();
}

/* Whoever has the id by now is not greeted, nor heard. */
static void test_vsock_of_another(void)
{
	setup(MANNER_HONEST);
	fake_channel_set(5, rig.path);
	agent_link_set_vsock(rig.link, 5, 1536 * MIB);
	while (rig.owner_asks < 2)
		turn();
	settle();
	CHECK_INT(state(), AGENT_STATE_DISCONNECTED);
	CHECK_INT(rig.requests, 0);
	/* It was asked again, and is told when that is so. */
	rig.is_owner = true;
	while (state() != AGENT_STATE_READY)
		turn();
	CHECK_INT(rig.owner_asks, 3);
	teardown();
}

static void test_lie(void)
{
	struct snapshot_agent agent;

	setup(MANNER_LIAR);
	connect_ready();
	ask(60000);
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (state() != AGENT_STATE_SUSPECT)
		turn();
	CHECK_INT(rig.refreshed, 1);
	agent_link_describe(rig.link, &agent);
	CHECK_TRUE(!agent.reported);
	CHECK_TRUE(strstr(agent.suspect_reason, "lied") != NULL);
	teardown();
	setup(MANNER_LIAR);
	rig.lies_in_parts = true;
	connect_ready();
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (state() != AGENT_STATE_SUSPECT)
		turn();
	teardown();
}

static void test_garbage(void)
{
	static char junk[LIMIT_GARBAGE_BYTES / 16];

	setup(MANNER_SILENT);
	connect_ready();
	ask(60000);
	memset(junk, 'x', sizeof(junk));
	while (state() != AGENT_STATE_SUSPECT) {
		fake_agent_send_bytes(rig.agent, junk, sizeof(junk));
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	}
	CHECK_INT(rig.answers, 1);
	CHECK_INT(rig.kind, AGENT_ANSWER_LOST);
	/* Nothing is read from it any more; that its QEMU ends is seen all the same. */
	settle();
	while (fake_agent_send_bytes(rig.agent, junk, sizeof(junk)) == sizeof(junk))
		;
	settle();
	CHECK_INT(fake_agent_send_bytes(rig.agent, junk, 1), 0);
	fake_agent_hang_up(rig.agent);
	while (state() == AGENT_STATE_SUSPECT)
		turn();
	rig.manner = MANNER_HONEST;
	while (state() != AGENT_STATE_READY)
		turn();
	teardown();
}

/* Heartbeats without a session, as many as fit: what is read of them is a budget. */
static void test_beggar(void)
{
	static uint8_t beat[FRAME_MAX_BYTES];
	uint8_t payload[LIMIT_HELLO_BYTES];
	static struct message message = {.type = MESSAGE_HEARTBEAT};
	struct frame frame = {.version = SESSION_VERSION_MAX, .type = MESSAGE_HEARTBEAT};
	size_t length, at = 0, total = 0;

	setup(MANNER_SILENT);
	fake_agent_set_mute(rig.agent, true);
	agent_link_set_channel(rig.link, rig.path, 1536 * MIB);
	settle();
	CHECK_INT(message_encode(&message, payload, sizeof(payload), &frame.payload_length), 0);
	frame.payload = payload;
	CHECK_INT(frame_encode(&frame, beat, sizeof(beat), &length), 0);
	for (unsigned full = 0; full < 500;) {
		size_t sent = fake_agent_send_bytes(rig.agent, beat + at, length - at);

		total += sent;
		at = (at + sent) % length;
		if (sent == 0) {
			event_base_loop(rig.base, EVLOOP_NONBLOCK);
			full++;
		}
	}
	/* Without a budget each turn of the loop would have read 64 KiB. */
	CHECK_TRUE(total < 8 * MIB);
	CHECK_INT(state(), AGENT_STATE_CONNECTING);
	teardown();
}

/* Whoever asks for a report on each change must not be kept busy by an agent that gives none. */
static void test_refusal_is_no_change(void)
{
	unsigned changes;

	setup(MANNER_REFUSER);
	connect_ready();
	changes = rig.changes;
	agent_link_refresh(rig.link, 5000, on_refreshed, NULL);
	while (rig.refreshed == 0)
		turn();
	CHECK_INT(rig.changes, changes);
	teardown();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"what is in the regions", test_census},
		{"blocks in pages", test_block_walk},
		{"states", test_states},
		{"a report", test_report},
		{"gigantic pages", test_gigantic_pages},
		{"features and a wish", test_features_and_wish},
		{"a request with progress, and one from its answer", test_request},
		{"as many as may wait", test_outstanding},
		{"an answer that does not come", test_timeout},
		{"an agent of another version", test_incompatible},
		{"cancel", test_cancel},
		{"stalls", test_stalls},
		{"the agent restarts", test_agent_restarts},
		{"the guest reboots", test_guest_reboots},
		{"QEMU ends and comes back", test_qemu_ends},
		{"by vsock", test_vsock},
		{"by vsock, another guest's", test_vsock_of_another},
		{"a lie", test_lie},
		{"garbage", test_garbage},
		{"begging", test_beggar},
		{"a refused report is no change", test_refusal_is_no_change},
	};

	return unit_main("service/guest", cases, sizeof(cases) / sizeof(cases[0]));
}
