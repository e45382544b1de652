/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <errno.h>
#include <string.h>
#include "byte_cursor.h"

/* A newer peer may say what this version has no word for. */
static int take_enum(struct byte_reader *in, int count)
{
	uint16_t value = byte_reader_u16(in);

	return value < count ? value : 0;
}

struct list {
	uint16_t count, entry_bytes;
};

/* Checked before use: not more entries than there is room for, not more bytes than have come. */
static struct list take_list(struct byte_reader *in, uint16_t most)
{
	struct list list;

	list.count = byte_reader_u16(in);
	list.entry_bytes = byte_reader_u16(in);
	if (list.count > most || (size_t)list.count * list.entry_bytes > byte_reader_left(in))
		byte_reader_fail(in);
	if (in->failed)
		list = (struct list){0};
	return list;
}

/* One entry: a reader of its own, so that a short entry cannot reach into the next one. */
static struct byte_reader take_entry(struct byte_reader *in, const struct list *list)
{
	struct byte_reader entry;

	byte_reader_init(&entry, in->data + in->offset, list->entry_bytes);
	byte_reader_skip(in, list->entry_bytes);
	return entry;
}

static void end_entry(struct byte_reader *in, const struct byte_reader *entry)
{
	if (entry->failed)
		byte_reader_fail(in);
}

/* Fields that a peer of an older version does not send, at the end of a payload or of an entry: not
 * there at all, and then they stay 0, or whole. */
static bool has_tail(const struct byte_reader *in)
{
	return !in->failed && byte_reader_left(in) > 0;
}

static void take_lease(struct byte_reader *in, struct message_lease *lease)
{
	lease->id = byte_reader_u64(in);
	lease->lease_ms = byte_reader_u32(in);
}

static void take_pressure(struct byte_reader *in, struct message_pressure *pressure)
{
	pressure->some_avg10_x100 = byte_reader_u32(in);
	pressure->full_avg10_x100 = byte_reader_u32(in);
}

static void take_hello(struct byte_reader *in, struct message_hello *m)
{
	m->version_min = byte_reader_u16(in);
	m->version_max = byte_reader_u16(in);
	m->nonce = byte_reader_u64(in);
	m->features = byte_reader_u64(in);
	m->heartbeat_ms = byte_reader_u32(in);
	byte_reader_text(in, m->host_version, sizeof(m->host_version));
}

static void take_hello_reply(struct byte_reader *in, struct message_hello_reply *m)
{
	m->version_min = byte_reader_u16(in);
	m->version_max = byte_reader_u16(in);
	m->version = byte_reader_u16(in);
	m->nonce = byte_reader_u64(in);
	m->guest_nonce = byte_reader_u64(in);
	m->features = byte_reader_u64(in);
	m->block_bytes = byte_reader_u64(in);
	m->page_bytes = byte_reader_u32(in);
	byte_reader_bytes(in, m->boot_id, sizeof(m->boot_id));
	m->instance = byte_reader_u64(in);
	byte_reader_text(in, m->agent_version, sizeof(m->agent_version));
}

static void take_zones(struct byte_reader *in, struct message_report_reply *m)
{
	struct list list = take_list(in, LIMIT_ZONES);

	m->zone_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);
		struct message_report_zone *zone = &m->zones[i];

		zone->node = byte_reader_u16(&entry);
		zone->zone = (enum message_zone)take_enum(&entry, MESSAGE_ZONE_COUNT);
		zone->present_bytes = byte_reader_u64(&entry);
		zone->managed_bytes = byte_reader_u64(&entry);
		zone->free_bytes = byte_reader_u64(&entry);
		end_entry(in, &entry);
	}
}

static void take_pools(struct byte_reader *in, struct message_report_reply *m)
{
	struct list list = take_list(in, LIMIT_POOLS);

	m->pool_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);
		struct message_report_pool *pool = &m->pools[i];

		pool->node = byte_reader_u16(&entry);
		byte_reader_skip(&entry, 2);
		pool->page_bytes = byte_reader_u64(&entry);
		pool->total = byte_reader_u64(&entry);
		pool->free = byte_reader_u64(&entry);
		pool->reserved = byte_reader_u64(&entry);
		pool->surplus = byte_reader_u64(&entry);
		pool->floor = byte_reader_u64(&entry);
		pool->taken = byte_reader_u64(&entry);
		end_entry(in, &entry);
	}
}

static void take_regions(struct byte_reader *in, struct message_report_reply *m)
{
	struct list list = take_list(in, LIMIT_REGIONS);

	m->region_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);
		struct message_report_region *region = &m->regions[i];

		region->start = byte_reader_u64(&entry);
		region->size_bytes = byte_reader_u64(&entry);
		region->plugged_bytes = byte_reader_u64(&entry);
		region->online_bytes = byte_reader_u64(&entry);
		region->movable_bytes = byte_reader_u64(&entry);
		region->node = byte_reader_u16(&entry);
		end_entry(in, &entry);
	}
}

static void take_report_reply(struct byte_reader *in, struct message_report_reply *m)
{
	m->flags = byte_reader_u32(in);
	m->total_bytes = byte_reader_u64(in);
	m->free_bytes = byte_reader_u64(in);
	m->available_bytes = byte_reader_u64(in);
	take_pressure(in, &m->pressure);
	m->auto_online = (enum message_auto_online)take_enum(in, MESSAGE_AUTO_ONLINE_COUNT);
	m->zone_policy = (enum message_zone_policy)take_enum(in, MESSAGE_ZONE_POLICY_COUNT);
	m->auto_movable_ratio = byte_reader_u32(in);
	m->unplug_online = byte_reader_u8(in);
	m->leases = byte_reader_u16(in);
	take_zones(in, m);
	take_pools(in, m);
	take_regions(in, m);
	if (has_tail(in)) {
		m->word_flags = byte_reader_u32(in);
		m->floor_bytes = byte_reader_u64(in);
		m->limit_bytes = byte_reader_u64(in);
	}
	if (has_tail(in))
		byte_reader_text(in, m->udev_rule, sizeof(m->udev_rule));
	if (has_tail(in))
		m->keep_bytes = byte_reader_u64(in);
}

static void take_blocks(struct byte_reader *in, struct message_blocks *m)
{
	m->flags = byte_reader_u32(in);
	m->first_block = byte_reader_u64(in);
	m->end_block = byte_reader_u64(in);
	m->max_count = byte_reader_u16(in);
}

static void take_blocks_reply(struct byte_reader *in, struct message_blocks_reply *m)
{
	m->next_block = byte_reader_u64(in);
	struct list list = take_list(in, LIMIT_BLOCKS);

	m->block_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);
		struct message_block *block = &m->blocks[i];

		block->id = byte_reader_u64(&entry);
		block->start = byte_reader_u64(&entry);
		block->size_bytes = byte_reader_u64(&entry);
		block->state =
			(enum message_block_state)take_enum(&entry, MESSAGE_BLOCK_STATE_COUNT);
		block->zone = (enum message_zone)take_enum(&entry, MESSAGE_ZONE_COUNT);
		block->node = byte_reader_u16(&entry);
		block->region = byte_reader_u16(&entry);
		block->flags = byte_reader_u32(&entry);
		if (has_tail(&entry)) {
			block->free_bytes = byte_reader_u64(&entry);
			block->huge_free_bytes = byte_reader_u64(&entry);
			block->huge_used_bytes = byte_reader_u64(&entry);
			block->kernel_bytes = byte_reader_u64(&entry);
			block->pinned_bytes = byte_reader_u64(&entry);
		}
		end_entry(in, &entry);
	}
}

static void take_set_online_policy(struct byte_reader *in, struct message_set_online_policy *m)
{
	take_lease(in, &m->lease);
	m->policy = (enum message_online_policy)take_enum(in, MESSAGE_ONLINE_POLICY_COUNT);
	m->auto_movable_ratio = byte_reader_u32(in);
}

static void take_evacuate(struct byte_reader *in, struct message_evacuate *m)
{
	take_lease(in, &m->lease);
	m->flags = byte_reader_u32(in);
	m->target_bytes = byte_reader_u64(in);
	m->deadline_ms = byte_reader_u32(in);
	m->block_deadline_ms = byte_reader_u32(in);
	struct list list = take_list(in, LIMIT_RANGES);

	m->range_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);

		m->ranges[i].start = byte_reader_u64(&entry);
		m->ranges[i].size_bytes = byte_reader_u64(&entry);
		end_entry(in, &entry);
	}
	if (has_tail(in))
		m->work_percent = byte_reader_u8(in);
}

static void take_rungs(struct byte_reader *in, struct message_evacuate_reply *m)
{
	struct list list = take_list(in, MESSAGE_RUNG_COUNT);

	m->rung_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);

		m->rungs[i].rung = (enum message_rung)take_enum(&entry, MESSAGE_RUNG_COUNT);
		m->rungs[i].gained_bytes = byte_reader_u64(&entry);
		m->rungs[i].elapsed_ms = byte_reader_u32(&entry);
		if (has_tail(&entry))
			m->rungs[i].reason =
				(enum message_reason)take_enum(&entry, MESSAGE_REASON_COUNT);
		end_entry(in, &entry);
	}
}

static void take_pool_remainders(struct byte_reader *in, struct message_evacuate_reply *m)
{
	struct list list = take_list(in, LIMIT_POOLS);

	m->pool_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);

		m->pools[i].node = byte_reader_u16(&entry);
		m->pools[i].reason = (enum message_reason)take_enum(&entry, MESSAGE_REASON_COUNT);
		m->pools[i].page_bytes = byte_reader_u64(&entry);
		m->pools[i].stayed_pages = byte_reader_u64(&entry);
		end_entry(in, &entry);
	}
}

static void take_outcomes(struct byte_reader *in, struct message_evacuate_reply *m)
{
	struct list list = take_list(in, LIMIT_BLOCKS);

	m->block_count = list.count;
	for (uint16_t i = 0; i < list.count; i++) {
		struct byte_reader entry = take_entry(in, &list);
		struct message_block_outcome *block = &m->blocks[i];

		block->id = byte_reader_u64(&entry);
		block->start = byte_reader_u64(&entry);
		block->size_bytes = byte_reader_u64(&entry);
		block->reason = (enum message_reason)take_enum(&entry, MESSAGE_REASON_COUNT);
		block->error = byte_reader_u32(&entry);
		end_entry(in, &entry);
	}
}

static void take_evacuate_reply(struct byte_reader *in, struct message_evacuate_reply *m)
{
	m->code = (enum message_result_code)take_enum(in, MESSAGE_RESULT_COUNT);
	m->offlined_bytes = byte_reader_u64(in);
	take_rungs(in, m);
	take_pool_remainders(in, m);
	m->blocks_total = byte_reader_u32(in);
	take_outcomes(in, m);
	byte_reader_text(in, m->text, sizeof(m->text));
}

static void take_result(struct byte_reader *in, struct message_result *m)
{
	m->code = (enum message_result_code)take_enum(in, MESSAGE_RESULT_COUNT);
	m->error = byte_reader_u32(in);
	m->value_bytes = byte_reader_u64(in);
	byte_reader_text(in, m->text, sizeof(m->text));
}

static void take_heartbeat(struct byte_reader *in, struct message_heartbeat *m)
{
	byte_reader_bytes(in, m->boot_id, sizeof(m->boot_id));
	m->instance = byte_reader_u64(in);
	m->uptime_ms = byte_reader_u64(in);
	m->available_bytes = byte_reader_u64(in);
	take_pressure(in, &m->pressure);
	m->leases = byte_reader_u16(in);
	m->busy = byte_reader_u8(in);
	if (has_tail(in))
		m->wanted_bytes = byte_reader_u64(in);
}

/* False where the type is reserved. */
static bool take_message(struct byte_reader *in, struct message *message)
{
	switch (message->type) {
	case MESSAGE_HELLO:
		take_hello(in, &message->hello);
		return true;
	case MESSAGE_HELLO_REPLY:
		take_hello_reply(in, &message->hello_reply);
		return true;
	case MESSAGE_HELLO_CONFIRM:
		message->hello_confirm.guest_nonce = byte_reader_u64(in);
		return true;
	case MESSAGE_REPORT:
		message->report.flags = byte_reader_u32(in);
		return true;
	case MESSAGE_REPORT_REPLY:
		take_report_reply(in, &message->report_reply);
		return true;
	case MESSAGE_BLOCKS:
		take_blocks(in, &message->blocks);
		return true;
	case MESSAGE_BLOCKS_REPLY:
		take_blocks_reply(in, &message->blocks_reply);
		return true;
	case MESSAGE_SET_ONLINE_POLICY:
		take_set_online_policy(in, &message->set_online_policy);
		return true;
	case MESSAGE_PREPARE:
		take_evacuate(in, &message->prepare);
		return true;
	case MESSAGE_EVACUATE:
		take_evacuate(in, &message->evacuate);
		return true;
	case MESSAGE_EVACUATE_REPLY:
		take_evacuate_reply(in, &message->evacuate_reply);
		return true;
	case MESSAGE_REPAIR:
		take_lease(in, &message->repair.lease);
		message->repair.flags = byte_reader_u32(in);
		message->repair.policy = (enum message_online_policy)take_enum(in, MESSAGE_ONLINE_POLICY_COUNT);
		message->repair.deadline_ms = byte_reader_u32(in);
		message->repair.block_deadline_ms = byte_reader_u32(in);
		return true;
	case MESSAGE_RENEW_LEASE:
		take_lease(in, &message->renew_lease.lease);
		return true;
	case MESSAGE_RELEASE_LEASE:
		message->release_lease.lease_id = byte_reader_u64(in);
		message->release_lease.flags = byte_reader_u32(in);
		return true;
	case MESSAGE_RESTORE_POOLS:
		message->restore_pools.limit_bytes = byte_reader_u64(in);
		return true;
	case MESSAGE_WATCH_STALLS:
		message->watch_stalls.interval_ms = byte_reader_u32(in);
		message->watch_stalls.duration_ms = byte_reader_u32(in);
		return true;
	case MESSAGE_ANSWER_WISH:
		message->answer_wish.wanted_bytes = byte_reader_u64(in);
		message->answer_wish.code = (enum message_result_code)take_enum(in, MESSAGE_RESULT_COUNT);
		byte_reader_text(in, message->answer_wish.text, sizeof(message->answer_wish.text));
		return true;
	case MESSAGE_REPORT_FREE:
		message->report_free.deadline_ms = byte_reader_u32(in);
		return true;
	case MESSAGE_CANCEL:
		message->cancel.request_id = byte_reader_u32(in);
		return true;
	case MESSAGE_PROGRESS:
		message->progress.stage = (enum message_stage)take_enum(in, MESSAGE_STAGE_COUNT);
		message->progress.done_bytes = byte_reader_u64(in);
		message->progress.total_bytes = byte_reader_u64(in);
		return true;
	case MESSAGE_STALLS:
		message->stalls.longest_us = byte_reader_u64(in);
		message->stalls.p99_us = byte_reader_u64(in);
		message->stalls.samples = byte_reader_u32(in);
		return true;
	case MESSAGE_RESULT:
		take_result(in, &message->result);
		return true;
	case MESSAGE_UNSUPPORTED:
		message->unsupported.type = byte_reader_u16(in);
		return true;
	case MESSAGE_HEARTBEAT:
		take_heartbeat(in, &message->heartbeat);
		return true;
	case MESSAGE_GUEST_REQUEST:
		return false;
	}
	return false;
}

int message_decode(uint16_t type, const uint8_t *payload, size_t length,
		   struct message *ret_message)
{
	struct byte_reader in;

	if (!message_type_is_known(type))
		return -EOPNOTSUPP;
	memset(ret_message, 0, sizeof(*ret_message));
	ret_message->type = (enum message_type)type;
	byte_reader_init(&in, payload, length);
	if (!take_message(&in, ret_message))
		return -EOPNOTSUPP;
	return in.failed ? -EBADMSG : 0;
}
