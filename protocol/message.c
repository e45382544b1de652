/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types and names. What encodes stands in message_encode.c, what decodes in message_decode.c, in
 * the same order.
 */
#include "message.h"

struct type_row {
	uint16_t type;
	const char *name;
	enum message_sender sender;
	enum message_kind kind;
};

static const struct type_row types[] = {
#define MESSAGE(number, NAME, name, sender, kind) \
	{number, #name, MESSAGE_SENDER_##sender, MESSAGE_KIND_##kind},
#include "message_list.h"
#undef MESSAGE
};

static const struct type_row *find(uint16_t type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return &types[i];
	return NULL;
}

bool message_type_is_known(uint16_t type)
{
	return find(type) != NULL;
}

const char *message_type_name(uint16_t type)
{
	const struct type_row *row = find(type);

	return row ? row->name : "unknown";
}

enum message_sender message_type_sender(uint16_t type)
{
	const struct type_row *row = find(type);

	return row ? row->sender : MESSAGE_SENDER_GUEST;
}

enum message_kind message_type_kind(uint16_t type)
{
	const struct type_row *row = find(type);

	return row ? row->kind : MESSAGE_KIND_EVENT;
}

bool message_type_answers(uint16_t reply, uint16_t request)
{
	if (reply == MESSAGE_RESULT || reply == MESSAGE_UNSUPPORTED)
		return true;
	switch (request) {
	case MESSAGE_HELLO:
		return reply == MESSAGE_HELLO_REPLY;
	case MESSAGE_REPORT:
		return reply == MESSAGE_REPORT_REPLY;
	case MESSAGE_BLOCKS:
		return reply == MESSAGE_BLOCKS_REPLY;
	case MESSAGE_PREPARE:
	case MESSAGE_EVACUATE:
		return reply == MESSAGE_EVACUATE_REPLY;
	}
	return false;
}

bool message_type_tells(uint16_t event, uint16_t request)
{
	return event == MESSAGE_PROGRESS ||
	       (event == MESSAGE_STALLS && request == MESSAGE_WATCH_STALLS);
}

#define NAME_FUNCTION(function, type, count, ...)                                      \
	const char *function(enum type value)                                          \
	{                                                                              \
		static const char *const names[count] = {__VA_ARGS__};                 \
                                                                                       \
		return (unsigned)value < (unsigned)(count) ? names[value] : "unknown"; \
	}

NAME_FUNCTION(message_auto_online_name, message_auto_online,
	      MESSAGE_AUTO_ONLINE_COUNT, [MESSAGE_AUTO_ONLINE_UNKNOWN] = "unknown",
	      [MESSAGE_AUTO_ONLINE_OFFLINE] = "offline", [MESSAGE_AUTO_ONLINE_ONLINE] = "online",
	      [MESSAGE_AUTO_ONLINE_KERNEL] = "online_kernel",
	      [MESSAGE_AUTO_ONLINE_MOVABLE] = "online_movable")
NAME_FUNCTION(message_zone_policy_name, message_zone_policy,
	      MESSAGE_ZONE_POLICY_COUNT, [MESSAGE_ZONE_POLICY_UNKNOWN] = "unknown",
	      [MESSAGE_ZONE_POLICY_CONTIG_ZONES] = "contig-zones",
	      [MESSAGE_ZONE_POLICY_AUTO_MOVABLE] = "auto-movable")
NAME_FUNCTION(message_online_policy_name, message_online_policy,
	      MESSAGE_ONLINE_POLICY_COUNT, [MESSAGE_ONLINE_POLICY_UNKNOWN] = "unknown",
	      [MESSAGE_ONLINE_POLICY_MOVABLE] = "movable",
	      [MESSAGE_ONLINE_POLICY_AUTO_MOVABLE] = "auto_movable",
	      [MESSAGE_ONLINE_POLICY_LEAVE] = "leave")
NAME_FUNCTION(message_zone_name, message_zone,
	      MESSAGE_ZONE_COUNT, [MESSAGE_ZONE_UNKNOWN] = "unknown", [MESSAGE_ZONE_DMA] = "DMA",
	      [MESSAGE_ZONE_DMA32] = "DMA32", [MESSAGE_ZONE_NORMAL] = "Normal",
	      [MESSAGE_ZONE_MOVABLE] = "Movable", [MESSAGE_ZONE_DEVICE] = "Device")
NAME_FUNCTION(message_block_state_name, message_block_state,
	      MESSAGE_BLOCK_STATE_COUNT, [MESSAGE_BLOCK_STATE_UNKNOWN] = "unknown",
	      [MESSAGE_BLOCK_STATE_ONLINE] = "online", [MESSAGE_BLOCK_STATE_OFFLINE] = "offline",
	      [MESSAGE_BLOCK_STATE_GOING_OFFLINE] = "going_offline")
NAME_FUNCTION(message_rung_name, message_rung, MESSAGE_RUNG_COUNT,
	      [MESSAGE_RUNG_UNKNOWN] = "unknown", [MESSAGE_RUNG_HUGE_PAGES] = "huge_pages",
	      [MESSAGE_RUNG_COMPACT] = "compact", [MESSAGE_RUNG_OFFLINE] = "offline",
	      [MESSAGE_RUNG_HOOKS] = "hooks", [MESSAGE_RUNG_MAKE_ROOM] = "make_room",
	      [MESSAGE_RUNG_RECLAIM] = "reclaim")
NAME_FUNCTION(
	message_reason_name, message_reason, MESSAGE_REASON_COUNT,
	[MESSAGE_REASON_UNKNOWN] = "unknown", [MESSAGE_REASON_OFFLINED] = "offlined",
	[MESSAGE_REASON_ALREADY_OFFLINE] = "already_offline", [MESSAGE_REASON_GONE] = "gone",
	[MESSAGE_REASON_BUSY] = "busy", [MESSAGE_REASON_TIMED_OUT] = "timed_out",
	[MESSAGE_REASON_NOT_REMOVABLE] = "not_removable", [MESSAGE_REASON_CANCELLED] = "cancelled",
	[MESSAGE_REASON_HUGE_PAGES_IN_USE] = "huge_pages_in_use",
	[MESSAGE_REASON_HUGE_PAGES_FLOOR] = "huge_pages_floor", [MESSAGE_REASON_PINNED] = "pinned",
	[MESSAGE_REASON_KERNEL_MEMORY] = "kernel_memory", [MESSAGE_REASON_WRITEBACK] = "writeback",
	[MESSAGE_REASON_NOT_CANDIDATE] = "not_candidate",
	[MESSAGE_REASON_KERNEL_STUCK] = "kernel_stuck", [MESSAGE_REASON_NO_MEMORY] = "no_memory",
	[MESSAGE_REASON_HOOK_FAILED] = "hook_failed", [MESSAGE_REASON_PRESSURE] = "pressure")
NAME_FUNCTION(message_result_code_name, message_result_code,
	      MESSAGE_RESULT_COUNT, [MESSAGE_RESULT_UNKNOWN] = "unknown",
	      [MESSAGE_RESULT_OK] = "ok", [MESSAGE_RESULT_PARTIAL] = "partial",
	      [MESSAGE_RESULT_BUSY] = "busy", [MESSAGE_RESULT_VETOED] = "vetoed",
	      [MESSAGE_RESULT_INVALID] = "invalid", [MESSAGE_RESULT_NOT_FOUND] = "not_found",
	      [MESSAGE_RESULT_NOT_SUPPORTED] = "not_supported", [MESSAGE_RESULT_FAILED] = "failed",
	      [MESSAGE_RESULT_CANCELLED] = "cancelled", [MESSAGE_RESULT_TIMED_OUT] = "timed_out")
NAME_FUNCTION(message_stage_name, message_stage,
	      MESSAGE_STAGE_COUNT, [MESSAGE_STAGE_UNKNOWN] = "unknown",
	      [MESSAGE_STAGE_HUGE_PAGES] = "huge_pages", [MESSAGE_STAGE_COMPACT] = "compact",
	      [MESSAGE_STAGE_OFFLINE] = "offline", [MESSAGE_STAGE_RESTORE] = "restore",
	      [MESSAGE_STAGE_REPORT] = "report", [MESSAGE_STAGE_HOOKS] = "hooks",
	      [MESSAGE_STAGE_MAKE_ROOM] = "make_room", [MESSAGE_STAGE_RECLAIM] = "reclaim")
