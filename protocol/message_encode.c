/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <errno.h>
#include <string.h>
#include "byte_cursor.h"

struct encoder {
	struct byte_writer out;
	bool invalid;
};

/* Bytes of one entry of each list: as much as the put functions below write. Readers skip what is
 * longer. */
enum {
	ZONE_BYTES = 28,
	POOL_BYTES = 60,
	REGION_BYTES = 42,
	BLOCK_BYTES = 76,
	RANGE_BYTES = 16,
	RUNG_BYTES = 16,
	POOL_REMAINDER_BYTES = 20,
	OUTCOME_BYTES = 30,
};

static void put_u8(struct encoder *e, uint8_t value)
{
	byte_writer_u8(&e->out, value);
}

static void put_u16(struct encoder *e, uint16_t value)
{
	byte_writer_u16(&e->out, value);
}

static void put_u32(struct encoder *e, uint32_t value)
{
	byte_writer_u32(&e->out, value);
}

static void put_u64(struct encoder *e, uint64_t value)
{
	byte_writer_u64(&e->out, value);
}

static void put_enum(struct encoder *e, int value, int count)
{
	if (value < 0 || value >= count)
		e->invalid = true;
	else
		put_u16(e, (uint16_t)value);
}

static void put_text(struct encoder *e, const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	if (length == size || !byte_cursor_is_text(text, length))
		e->invalid = true;
	else
		byte_writer_text(&e->out, text, size);
}

/* Returns how many entries follow: none where there are more than allowed. */
static uint16_t put_list(struct encoder *e, uint16_t count, uint16_t most, uint16_t entry_bytes)
{
	if (count > most) {
		e->invalid = true;
		return 0;
	}
	put_u16(e, count);
	put_u16(e, entry_bytes);
	return count;
}

static void put_lease(struct encoder *e, const struct message_lease *lease)
{
	put_u64(e, lease->id);
	put_u32(e, lease->lease_ms);
}

static void put_pressure(struct encoder *e, const struct message_pressure *pressure)
{
	put_u32(e, pressure->some_avg10_x100);
	put_u32(e, pressure->full_avg10_x100);
}

static void put_hello(struct encoder *e, const struct message_hello *m)
{
	put_u16(e, m->version_min);
	put_u16(e, m->version_max);
	put_u64(e, m->nonce);
	put_u64(e, m->features);
	put_u32(e, m->heartbeat_ms);
	put_text(e, m->host_version, sizeof(m->host_version));
}

static void put_hello_reply(struct encoder *e, const struct message_hello_reply *m)
{
	put_u16(e, m->version_min);
	put_u16(e, m->version_max);
	put_u16(e, m->version);
	put_u64(e, m->nonce);
	put_u64(e, m->guest_nonce);
	put_u64(e, m->features);
	put_u64(e, m->block_bytes);
	put_u32(e, m->page_bytes);
	byte_writer_bytes(&e->out, m->boot_id, sizeof(m->boot_id));
	put_u64(e, m->instance);
	put_text(e, m->agent_version, sizeof(m->agent_version));
}

static void put_report_reply(struct encoder *e, const struct message_report_reply *m)
{
	put_u32(e, m->flags);
	put_u64(e, m->total_bytes);
	put_u64(e, m->free_bytes);
	put_u64(e, m->available_bytes);
	put_pressure(e, &m->pressure);
	put_enum(e, (int)m->auto_online, MESSAGE_AUTO_ONLINE_COUNT);
	put_enum(e, (int)m->zone_policy, MESSAGE_ZONE_POLICY_COUNT);
	put_u32(e, m->auto_movable_ratio);
	put_u8(e, m->unplug_online);
	put_u16(e, m->leases);
	for (uint16_t i = 0, n = put_list(e, m->zone_count, LIMIT_ZONES, ZONE_BYTES); i < n; i++) {
		const struct message_report_zone *zone = &m->zones[i];

		put_u16(e, zone->node);
		put_enum(e, (int)zone->zone, MESSAGE_ZONE_COUNT);
		put_u64(e, zone->present_bytes);
		put_u64(e, zone->managed_bytes);
		put_u64(e, zone->free_bytes);
	}
	for (uint16_t i = 0, n = put_list(e, m->pool_count, LIMIT_POOLS, POOL_BYTES); i < n; i++) {
		const struct message_report_pool *pool = &m->pools[i];

		put_u16(e, pool->node);
		put_u16(e, 0);
		put_u64(e, pool->page_bytes);
		put_u64(e, pool->total);
		put_u64(e, pool->free);
		put_u64(e, pool->reserved);
		put_u64(e, pool->surplus);
		put_u64(e, pool->floor);
		put_u64(e, pool->taken);
	}
	for (uint16_t i = 0, n = put_list(e, m->region_count, LIMIT_REGIONS, REGION_BYTES); i < n;
	     i++) {
		const struct message_report_region *region = &m->regions[i];

		put_u64(e, region->start);
		put_u64(e, region->size_bytes);
		put_u64(e, region->plugged_bytes);
		put_u64(e, region->online_bytes);
		put_u64(e, region->movable_bytes);
		put_u16(e, region->node);
	}
	put_u32(e, m->word_flags);
	put_u64(e, m->floor_bytes);
	put_u64(e, m->limit_bytes);
	put_text(e, m->udev_rule, sizeof(m->udev_rule));
	put_u64(e, m->keep_bytes);
}

static void put_blocks(struct encoder *e, const struct message_blocks *m)
{
	put_u32(e, m->flags);
	put_u64(e, m->first_block);
	put_u64(e, m->end_block);
	put_u16(e, m->max_count);
}

static void put_blocks_reply(struct encoder *e, const struct message_blocks_reply *m)
{
	put_u64(e, m->next_block);
	for (uint16_t i = 0, n = put_list(e, m->block_count, LIMIT_BLOCKS, BLOCK_BYTES); i < n;
	     i++) {
		const struct message_block *block = &m->blocks[i];

		put_u64(e, block->id);
		put_u64(e, block->start);
		put_u64(e, block->size_bytes);
		put_enum(e, (int)block->state, MESSAGE_BLOCK_STATE_COUNT);
		put_enum(e, (int)block->zone, MESSAGE_ZONE_COUNT);
		put_u16(e, block->node);
		put_u16(e, block->region);
		put_u32(e, block->flags);
		put_u64(e, block->free_bytes);
		put_u64(e, block->huge_free_bytes);
		put_u64(e, block->huge_used_bytes);
		put_u64(e, block->kernel_bytes);
		put_u64(e, block->pinned_bytes);
	}
}

static void put_set_online_policy(struct encoder *e, const struct message_set_online_policy *m)
{
	put_lease(e, &m->lease);
	put_enum(e, (int)m->policy, MESSAGE_ONLINE_POLICY_COUNT);
	put_u32(e, m->auto_movable_ratio);
}

static void put_evacuate(struct encoder *e, const struct message_evacuate *m)
{
	put_lease(e, &m->lease);
	put_u32(e, m->flags);
	put_u64(e, m->target_bytes);
	put_u32(e, m->deadline_ms);
	put_u32(e, m->block_deadline_ms);
	for (uint16_t i = 0, n = put_list(e, m->range_count, LIMIT_RANGES, RANGE_BYTES); i < n;
	     i++) {
		put_u64(e, m->ranges[i].start);
		put_u64(e, m->ranges[i].size_bytes);
	}
	put_u8(e, m->work_percent);
}

static void put_evacuate_reply(struct encoder *e, const struct message_evacuate_reply *m)
{
	put_enum(e, (int)m->code, MESSAGE_RESULT_COUNT);
	put_u64(e, m->offlined_bytes);
	for (uint16_t i = 0, n = put_list(e, m->rung_count, MESSAGE_RUNG_COUNT, RUNG_BYTES); i < n;
	     i++) {
		put_enum(e, (int)m->rungs[i].rung, MESSAGE_RUNG_COUNT);
		put_u64(e, m->rungs[i].gained_bytes);
		put_u32(e, m->rungs[i].elapsed_ms);
		put_enum(e, (int)m->rungs[i].reason, MESSAGE_REASON_COUNT);
	}
	for (uint16_t i = 0, n = put_list(e, m->pool_count, LIMIT_POOLS, POOL_REMAINDER_BYTES);
	     i < n; i++) {
		put_u16(e, m->pools[i].node);
		put_enum(e, (int)m->pools[i].reason, MESSAGE_REASON_COUNT);
		put_u64(e, m->pools[i].page_bytes);
		put_u64(e, m->pools[i].stayed_pages);
	}
	put_u32(e, m->blocks_total);
	for (uint16_t i = 0, n = put_list(e, m->block_count, LIMIT_BLOCKS, OUTCOME_BYTES); i < n;
	     i++) {
		const struct message_block_outcome *block = &m->blocks[i];

		put_u64(e, block->id);
		put_u64(e, block->start);
		put_u64(e, block->size_bytes);
		put_enum(e, (int)block->reason, MESSAGE_REASON_COUNT);
		put_u32(e, block->error);
	}
	put_text(e, m->text, sizeof(m->text));
}

static void put_result(struct encoder *e, const struct message_result *m)
{
	put_enum(e, (int)m->code, MESSAGE_RESULT_COUNT);
	put_u32(e, m->error);
	put_u64(e, m->value_bytes);
	put_text(e, m->text, sizeof(m->text));
}

static void put_heartbeat(struct encoder *e, const struct message_heartbeat *m)
{
	byte_writer_bytes(&e->out, m->boot_id, sizeof(m->boot_id));
	put_u64(e, m->instance);
	put_u64(e, m->uptime_ms);
	put_u64(e, m->available_bytes);
	put_pressure(e, &m->pressure);
	put_u16(e, m->leases);
	put_u8(e, m->busy);
	put_u64(e, m->wanted_bytes);
}

static void put_message(struct encoder *e, const struct message *message)
{
	switch (message->type) {
	case MESSAGE_HELLO:
		put_hello(e, &message->hello);
		break;
	case MESSAGE_HELLO_REPLY:
		put_hello_reply(e, &message->hello_reply);
		break;
	case MESSAGE_HELLO_CONFIRM:
		put_u64(e, message->hello_confirm.guest_nonce);
		break;
	case MESSAGE_REPORT:
		put_u32(e, message->report.flags);
		break;
	case MESSAGE_REPORT_REPLY:
		put_report_reply(e, &message->report_reply);
		break;
	case MESSAGE_BLOCKS:
		put_blocks(e, &message->blocks);
		break;
	case MESSAGE_BLOCKS_REPLY:
		put_blocks_reply(e, &message->blocks_reply);
		break;
	case MESSAGE_SET_ONLINE_POLICY:
		put_set_online_policy(e, &message->set_online_policy);
		break;
	case MESSAGE_PREPARE:
		put_evacuate(e, &message->prepare);
		break;
	case MESSAGE_EVACUATE:
		put_evacuate(e, &message->evacuate);
		break;
	case MESSAGE_EVACUATE_REPLY:
		put_evacuate_reply(e, &message->evacuate_reply);
		break;
	case MESSAGE_REPAIR:
		put_lease(e, &message->repair.lease);
		put_u32(e, message->repair.flags);
		put_enum(e, (int)message->repair.policy, MESSAGE_ONLINE_POLICY_COUNT);
		put_u32(e, message->repair.deadline_ms);
		put_u32(e, message->repair.block_deadline_ms);
		break;
	case MESSAGE_RENEW_LEASE:
		put_lease(e, &message->renew_lease.lease);
		break;
	case MESSAGE_RELEASE_LEASE:
		put_u64(e, message->release_lease.lease_id);
		put_u32(e, message->release_lease.flags);
		break;
	case MESSAGE_RESTORE_POOLS:
		put_u64(e, message->restore_pools.limit_bytes);
		break;
	case MESSAGE_WATCH_STALLS:
		put_u32(e, message->watch_stalls.interval_ms);
		put_u32(e, message->watch_stalls.duration_ms);
		break;
	case MESSAGE_ANSWER_WISH:
		put_u64(e, message->answer_wish.wanted_bytes);
		put_enum(e, (int)message->answer_wish.code, MESSAGE_RESULT_COUNT);
		put_text(e, message->answer_wish.text, sizeof(message->answer_wish.text));
		break;
	case MESSAGE_REPORT_FREE:
		put_u32(e, message->report_free.deadline_ms);
		break;
	case MESSAGE_CANCEL:
		put_u32(e, message->cancel.request_id);
		break;
	case MESSAGE_PROGRESS:
		put_enum(e, (int)message->progress.stage, MESSAGE_STAGE_COUNT);
		put_u64(e, message->progress.done_bytes);
		put_u64(e, message->progress.total_bytes);
		break;
	case MESSAGE_STALLS:
		put_u64(e, message->stalls.longest_us);
		put_u64(e, message->stalls.p99_us);
		put_u32(e, message->stalls.samples);
		break;
	case MESSAGE_RESULT:
		put_result(e, &message->result);
		break;
	case MESSAGE_UNSUPPORTED:
		put_u16(e, message->unsupported.type);
		break;
	case MESSAGE_HEARTBEAT:
		put_heartbeat(e, &message->heartbeat);
		break;
	case MESSAGE_GUEST_REQUEST:
		e->invalid = true;
		break;
	}
}

int message_encode(const struct message *message, uint8_t *buffer, size_t size, size_t *ret_length)
{
	struct encoder e = {.invalid = !message_type_is_known((uint16_t)message->type)};

	byte_writer_init(&e.out, buffer, size);
	if (!e.invalid)
		put_message(&e, message);
	if (e.invalid)
		return -EINVAL;
	if (e.out.failed)
		return -ENOBUFS;
	*ret_length = e.out.offset;
	return 0;
}
