/* SPDX-License-Identifier: Apache-2.0 */
#include "message_sample.h"

#include <stdio.h>
#include <string.h>

const uint16_t message_sample_types[] = {
#define MESSAGE(number, NAME, name, sender, kind) number,
#include "message_list.h"
#undef MESSAGE
};
const size_t message_sample_type_count =
	sizeof(message_sample_types) / sizeof(message_sample_types[0]);

struct source {
	uint64_t state, count;
	bool plain; /* seed 0: numbers that a reader of the golden files recognises */
};

/* splitmix64 */
static uint64_t number(struct source *source)
{
	uint64_t z = source->state += UINT64_C(0x9e3779b97f4a7c15);

	if (source->plain)
		return ++source->count * 0x11;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint32_t number32(struct source *source)
{
	return (uint32_t)number(source);
}

static uint16_t number16(struct source *source)
{
	return (uint16_t)number(source);
}

static int choice(struct source *source, int count)
{
	/* The golden files must not change when an enumeration grows. */
	return (int)(number(source) % (unsigned)(source->plain && count > 3 ? 3 : count));
}

static uint16_t list_length(struct source *source, uint16_t most)
{
	if (source->plain)
		return 2;
	uint64_t length = number(source) % (most + 3u);

	return length > most ? most : (uint16_t)length;
}

static void text(struct source *source, char *to, size_t size, const char *plain)
{
	if (source->plain) {
		snprintf(to, size, "%s", plain);
		return;
	}
	size_t length = number(source) % size;

	for (size_t i = 0; i < length; i++)
		to[i] = (char)(' ' + choice(source, 0x7f - ' '));
}

static void bytes(struct source *source, uint8_t *to, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = source->plain ? (uint8_t)(0xa0 + i) : (uint8_t)number(source);
}

static void lease(struct source *s, struct message_lease *m)
{
	m->id = number(s);
	m->lease_ms = number32(s);
}

static void pressure(struct source *s, struct message_pressure *m)
{
	m->some_avg10_x100 = number32(s);
	m->full_avg10_x100 = number32(s);
}

static void report_reply(struct source *s, struct message_report_reply *m)
{
	m->flags = number32(s);
	m->total_bytes = number(s);
	m->free_bytes = number(s);
	m->available_bytes = number(s);
	pressure(s, &m->pressure);
	m->auto_online = (enum message_auto_online)choice(s, MESSAGE_AUTO_ONLINE_COUNT);
	m->zone_policy = (enum message_zone_policy)choice(s, MESSAGE_ZONE_POLICY_COUNT);
	m->auto_movable_ratio = number32(s);
	m->unplug_online = (uint8_t)choice(s, 3);
	m->leases = number16(s);
	m->zone_count = list_length(s, LIMIT_ZONES);
	/* Field by field: what lies between them is compared too. */
	for (unsigned i = 0; i < m->zone_count; i++) {
		struct message_report_zone *zone = &m->zones[i];

		zone->node = number16(s);
		zone->zone = (enum message_zone)choice(s, MESSAGE_ZONE_COUNT);
		zone->present_bytes = number(s);
		zone->managed_bytes = number(s);
		zone->free_bytes = number(s);
	}
	m->pool_count = list_length(s, LIMIT_POOLS);
	for (unsigned i = 0; i < m->pool_count; i++) {
		struct message_report_pool *pool = &m->pools[i];

		pool->node = number16(s);
		pool->page_bytes = number(s);
		pool->total = number(s);
		pool->free = number(s);
		pool->reserved = number(s);
		pool->surplus = number(s);
		pool->floor = number(s);
		pool->taken = number(s);
	}
	m->region_count = list_length(s, LIMIT_REGIONS);
	for (unsigned i = 0; i < m->region_count; i++) {
		struct message_report_region *region = &m->regions[i];

		region->start = number(s);
		region->size_bytes = number(s);
		region->plugged_bytes = number(s);
		region->online_bytes = number(s);
		region->movable_bytes = number(s);
		region->node = number16(s);
	}
	m->word_flags = number32(s);
	m->floor_bytes = number(s);
	m->limit_bytes = number(s);
	text(s, m->udev_rule, sizeof(m->udev_rule), "/usr/lib/udev/rules.d/40-redhat.rules");
	m->keep_bytes = number(s);
}

static void blocks_reply(struct source *s, struct message_blocks_reply *m)
{
	m->next_block = number(s);
	m->block_count = list_length(s, LIMIT_BLOCKS);
	for (unsigned i = 0; i < m->block_count; i++) {
		struct message_block *block = &m->blocks[i];

		block->id = number(s);
		block->start = number(s);
		block->size_bytes = number(s);
		block->state = (enum message_block_state)choice(s, MESSAGE_BLOCK_STATE_COUNT);
		block->zone = (enum message_zone)choice(s, MESSAGE_ZONE_COUNT);
		block->node = number16(s);
		block->region = number16(s);
		block->flags = number32(s);
	}
	/* What came with 1.1 is counted after all else, so that the rest is as in 1.0. */
	for (unsigned i = 0; i < m->block_count; i++) {
		struct message_block *block = &m->blocks[i];

		block->free_bytes = number(s);
		block->huge_free_bytes = number(s);
		block->huge_used_bytes = number(s);
		block->kernel_bytes = number(s);
		block->pinned_bytes = number(s);
	}
}

static void evacuate(struct source *s, struct message_evacuate *m)
{
	lease(s, &m->lease);
	m->flags = number32(s);
	m->target_bytes = number(s);
	m->deadline_ms = number32(s);
	m->block_deadline_ms = number32(s);
	m->range_count = list_length(s, LIMIT_RANGES);
	for (unsigned i = 0; i < m->range_count; i++) {
		m->ranges[i].start = number(s);
		m->ranges[i].size_bytes = number(s);
	}
	m->work_percent = (uint8_t)number(s);
}

static void evacuate_reply(struct source *s, struct message_evacuate_reply *m)
{
	m->code = (enum message_result_code)choice(s, MESSAGE_RESULT_COUNT);
	m->offlined_bytes = number(s);
	m->rung_count = list_length(s, MESSAGE_RUNG_COUNT);
	for (unsigned i = 0; i < m->rung_count; i++) {
		m->rungs[i].rung = (enum message_rung)choice(s, MESSAGE_RUNG_COUNT);
		m->rungs[i].gained_bytes = number(s);
		m->rungs[i].elapsed_ms = number32(s);
	}
	m->pool_count = list_length(s, LIMIT_POOLS);
	for (unsigned i = 0; i < m->pool_count; i++) {
		m->pools[i].node = number16(s);
		m->pools[i].page_bytes = number(s);
		m->pools[i].stayed_pages = number(s);
		m->pools[i].reason = (enum message_reason)choice(s, MESSAGE_REASON_COUNT);
	}
	m->blocks_total = number32(s);
	m->block_count = list_length(s, LIMIT_BLOCKS);
	for (unsigned i = 0; i < m->block_count; i++) {
		m->blocks[i].id = number(s);
		m->blocks[i].start = number(s);
		m->blocks[i].size_bytes = number(s);
		m->blocks[i].reason = (enum message_reason)choice(s, MESSAGE_REASON_COUNT);
		m->blocks[i].error = number32(s);
	}
	for (unsigned i = 0; i < m->rung_count; i++)
		m->rungs[i].reason = (enum message_reason)choice(s, MESSAGE_REASON_COUNT);
	text(s, m->text, sizeof(m->text), "1 of 2 blocks stayed");
}

static void hello_reply(struct source *s, struct message_hello_reply *m)
{
	m->version_min = number16(s);
	m->version_max = number16(s);
	m->version = number16(s);
	m->nonce = number(s);
	m->guest_nonce = number(s);
	m->features = number(s);
	m->block_bytes = number(s);
	m->page_bytes = number32(s);
	bytes(s, m->boot_id, sizeof(m->boot_id));
	m->instance = number(s);
	text(s, m->agent_version, sizeof(m->agent_version), "0.1.0");
}

static void heartbeat(struct source *s, struct message_heartbeat *m)
{
	bytes(s, m->boot_id, sizeof(m->boot_id));
	m->instance = number(s);
	m->uptime_ms = number(s);
	m->available_bytes = number(s);
	pressure(s, &m->pressure);
	m->leases = number16(s);
	m->busy = (uint8_t)choice(s, 2);
	m->wanted_bytes = number(s);
}

bool message_sample(uint16_t type, uint32_t seed, struct message *m)
{
	struct source source = {.state = (uint64_t)seed << 32, .plain = seed == 0};
	struct source *s = &source;

	memset(m, 0, sizeof(*m));
	m->type = (enum message_type)type;
	switch (m->type) {
	case MESSAGE_HELLO:
		m->hello.version_min = number16(s);
		m->hello.version_max = number16(s);
		m->hello.nonce = number(s);
		m->hello.features = number(s);
		m->hello.heartbeat_ms = number32(s);
		text(s, m->hello.host_version, sizeof(m->hello.host_version), "0.1.0");
		return true;
	case MESSAGE_HELLO_REPLY:
		hello_reply(s, &m->hello_reply);
		return true;
	case MESSAGE_HELLO_CONFIRM:
		m->hello_confirm.guest_nonce = number(s);
		return true;
	case MESSAGE_REPORT:
		m->report.flags = number32(s);
		return true;
	case MESSAGE_REPORT_REPLY:
		report_reply(s, &m->report_reply);
		return true;
	case MESSAGE_BLOCKS:
		m->blocks.flags = number32(s);
		m->blocks.first_block = number(s);
		m->blocks.end_block = number(s);
		m->blocks.max_count = number16(s);
		return true;
	case MESSAGE_BLOCKS_REPLY:
		blocks_reply(s, &m->blocks_reply);
		return true;
	case MESSAGE_SET_ONLINE_POLICY:
		lease(s, &m->set_online_policy.lease);
		m->set_online_policy.policy =
			(enum message_online_policy)choice(s, MESSAGE_ONLINE_POLICY_COUNT);
		m->set_online_policy.auto_movable_ratio = number32(s);
		return true;
	case MESSAGE_PREPARE:
		evacuate(s, &m->prepare);
		return true;
	case MESSAGE_EVACUATE:
		evacuate(s, &m->evacuate);
		return true;
	case MESSAGE_EVACUATE_REPLY:
		evacuate_reply(s, &m->evacuate_reply);
		return true;
	case MESSAGE_REPAIR:
		lease(s, &m->repair.lease);
		m->repair.flags = number32(s);
		m->repair.policy = (enum message_online_policy)choice(s, MESSAGE_ONLINE_POLICY_COUNT);
		m->repair.deadline_ms = number32(s);
		m->repair.block_deadline_ms = number32(s);
		return true;
	case MESSAGE_RENEW_LEASE:
		lease(s, &m->renew_lease.lease);
		return true;
	case MESSAGE_RELEASE_LEASE:
		m->release_lease.lease_id = number(s);
		m->release_lease.flags = number32(s);
		return true;
	case MESSAGE_RESTORE_POOLS:
		m->restore_pools.limit_bytes = number(s);
		return true;
	case MESSAGE_WATCH_STALLS:
		m->watch_stalls.interval_ms = number32(s);
		m->watch_stalls.duration_ms = number32(s);
		return true;
	case MESSAGE_REPORT_FREE:
		m->report_free.deadline_ms = number32(s);
		return true;
	case MESSAGE_ANSWER_WISH:
		m->answer_wish.wanted_bytes = number(s);
		m->answer_wish.code = (enum message_result_code)choice(s, MESSAGE_RESULT_COUNT);
		text(s, m->answer_wish.text, sizeof(m->answer_wish.text), "its policy lets it ask for nothing");
		return true;
	case MESSAGE_CANCEL:
		m->cancel.request_id = number32(s);
		return true;
	case MESSAGE_PROGRESS:
		m->progress.stage = (enum message_stage)choice(s, MESSAGE_STAGE_COUNT);
		m->progress.done_bytes = number(s);
		m->progress.total_bytes = number(s);
		return true;
	case MESSAGE_STALLS:
		m->stalls.longest_us = number(s);
		m->stalls.p99_us = number(s);
		m->stalls.samples = number32(s);
		return true;
	case MESSAGE_RESULT:
		m->result.code = (enum message_result_code)choice(s, MESSAGE_RESULT_COUNT);
		m->result.error = number32(s);
		m->result.value_bytes = number(s);
		text(s, m->result.text, sizeof(m->result.text), "one evacuation at a time");
		return true;
	case MESSAGE_UNSUPPORTED:
		m->unsupported.type = number16(s);
		return true;
	case MESSAGE_HEARTBEAT:
		heartbeat(s, &m->heartbeat);
		return true;
	case MESSAGE_GUEST_REQUEST:
		return false;
	}
	return false;
}
