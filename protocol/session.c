/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <string.h>

void session_link_init(struct session_link *link, uint8_t *input, size_t input_size,
		       uint8_t *output, size_t output_size)
{
	*link = (struct session_link){.output = output, .output_size = output_size};
	frame_reader_init(&link->reader, input, input_size);
}

void session_link_reset(struct session_link *link)
{
	frame_reader_reset(&link->reader);
	link->partial_since_ms = 0;
	link->output_start = link->output_end = 0;
}

bool session_link_next(struct session_link *link, uint64_t now_ms, struct frame *ret_frame)
{
	uint64_t now = now_ms ? now_ms : 1; /* 0 means that nothing is unfinished */

	while (!frame_reader_next(&link->reader, ret_frame)) {
		if (!frame_reader_is_partial(&link->reader)) {
			link->partial_since_ms = 0;
			return false;
		}
		if (link->partial_since_ms == 0 || link->partial_since_ms > now)
			link->partial_since_ms = now;
		if (now - link->partial_since_ms < LIMIT_FRAME_MS)
			return false;
		frame_reader_skip(&link->reader);
	}
	link->partial_since_ms = 0;
	return true;
}

static void make_room(struct session_link *link)
{
	if (link->output_start == 0)
		return;
	memmove(link->output, link->output + link->output_start,
		link->output_end - link->output_start);
	link->output_end -= link->output_start;
	link->output_start = 0;
}

int session_link_put(struct session_link *link, uint64_t epoch, uint32_t request_id,
		     const struct message *message)
{
	struct frame frame = {
		.version = SESSION_VERSION_MAX,
		.type = (uint16_t)message->type,
		.request_id = request_id,
		.epoch = epoch,
	};
	size_t length;

	make_room(link);
	size_t room = link->output_size - link->output_end;
	uint8_t *header = link->output + link->output_end;

	if (room < FRAME_HEADER_BYTES)
		return -EAGAIN;
	room -= FRAME_HEADER_BYTES;
	frame.payload = header + FRAME_HEADER_BYTES;
	int result = message_encode(message, header + FRAME_HEADER_BYTES,
				    room < LIMIT_PAYLOAD_BYTES ? room : LIMIT_PAYLOAD_BYTES,
				    &frame.payload_length);
	if (result == -ENOBUFS)
		return -EAGAIN;
	if (result < 0)
		return result;
	result = frame_encode(&frame, header, room + FRAME_HEADER_BYTES, &length);
	if (result < 0)
		return result;
	link->output_end += length;
	return 0;
}

size_t session_link_output(const struct session_link *link, const uint8_t **ret_data)
{
	*ret_data = link->output + link->output_start;
	return link->output_end - link->output_start;
}

void session_link_sent(struct session_link *link, size_t count)
{
	link->output_start += count;
	if (link->output_start == link->output_end)
		link->output_start = link->output_end = 0;
}

uint16_t session_version_choose(uint16_t min_a, uint16_t max_a, uint16_t min_b, uint16_t max_b)
{
	uint16_t low = min_a > min_b ? min_a : min_b;
	uint16_t high = max_a < max_b ? max_a : max_b;

	return low <= high ? high : 0;
}
