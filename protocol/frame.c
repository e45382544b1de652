/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The buffer holds [start, end). At start there is either the magic of a frame
 * or nothing decided yet. A frame whose checksum is wrong loses only its magic, and the search goes
 * on behind it: a length that lies must not swallow the whole frames that stand in what it claims.
 * A frame that is not complete is waited for, except that a whole HELLO in its body supersedes it:
 * its sender died, and a new one has connected.
 *
 * Bounded work: every byte received buys LIMIT_CHECK_FACTOR bytes of checksum. An honest stream
 * spends one for one; when a hostile one has spent all, everything buffered is dropped.
 */
#include "frame.h"

#include <errno.h>
#include <string.h>
#include "byte_cursor.h"
#include "message.h"

enum {
	OFFSET_VERSION = 4,
	OFFSET_PAYLOAD_LENGTH = 12,
	OFFSET_CHECKSUM = 28,
};

/* The first byte is no ASCII and no start of a UTF-8 character: text in the channel is never a
 * magic. */
static const uint8_t magic[FRAME_MAGIC_BYTES] = {0xb5, 'B', 'L', 'S'};

/* Four bits at a time: a table of 64 bytes, made by hand from the reversed polynomial 0x82f63b78.
 */
static const uint32_t crc_table[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t frame_crc32c(uint32_t crc, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	crc = ~crc;
	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		crc = (crc >> 4) ^ crc_table[crc & 15];
		crc = (crc >> 4) ^ crc_table[crc & 15];
	}
	return ~crc;
}

/* Header up to the checksum, then payload. */
static uint32_t checksum(const uint8_t *header, const uint8_t *payload, size_t length)
{
	return frame_crc32c(frame_crc32c(0, header, OFFSET_CHECKSUM), payload, length);
}

int frame_encode(const struct frame *frame, uint8_t *buffer, size_t size, size_t *ret_length)
{
	struct byte_writer writer;
	size_t length = frame->payload_length;

	if (length > LIMIT_PAYLOAD_BYTES)
		return -EMSGSIZE;
	if (size < FRAME_HEADER_BYTES || size - FRAME_HEADER_BYTES < length)
		return -ENOBUFS;
	byte_writer_init(&writer, buffer, FRAME_HEADER_BYTES);
	byte_writer_bytes(&writer, magic, sizeof(magic));
	byte_writer_u16(&writer, frame->version);
	byte_writer_u16(&writer, frame->type);
	byte_writer_u16(&writer, frame->flags);
	byte_writer_u16(&writer, 0);
	byte_writer_u32(&writer, (uint32_t)length);
	byte_writer_u64(&writer, frame->epoch);
	byte_writer_u32(&writer, frame->request_id);
	if (length > 0 && frame->payload != buffer + FRAME_HEADER_BYTES)
		memcpy(buffer + FRAME_HEADER_BYTES, frame->payload, length);
	byte_writer_u32(&writer, checksum(buffer, buffer + FRAME_HEADER_BYTES, length));
	*ret_length = FRAME_HEADER_BYTES + length;
	return 0;
}

void frame_reader_init(struct frame_reader *reader, uint8_t *buffer, size_t size)
{
	*reader = (struct frame_reader){.buffer = buffer,
					.size = size,
					.credit = LIMIT_CHECK_FACTOR * (uint64_t)FRAME_MAX_BYTES};
}

size_t frame_reader_space(struct frame_reader *reader, uint8_t **ret_space)
{
	if (reader->start > 0) {
		memmove(reader->buffer, reader->buffer + reader->start,
			reader->end - reader->start);
		reader->scanned -=
			reader->scanned < reader->start ? reader->scanned : reader->start;
		reader->end -= reader->start;
		reader->start = 0;
	}
	*ret_space = reader->buffer + reader->end;
	return reader->size - reader->end;
}

void frame_reader_received(struct frame_reader *reader, size_t count)
{
	uint64_t most = LIMIT_CHECK_FACTOR * (uint64_t)FRAME_MAX_BYTES;

	reader->end += count;
	reader->credit += LIMIT_CHECK_FACTOR * (uint64_t)count;
	if (reader->credit > most)
		reader->credit = most;
}

static void discard(struct frame_reader *reader, size_t count)
{
	reader->start += count;
	reader->counters.garbage_bytes += count;
	reader->garbage_run += count;
}

/* Where in [from, end) a magic begins, or what may become one when more bytes come; end where there
 * is neither. */
static size_t find_magic(const struct frame_reader *reader, size_t from)
{
	while (from < reader->end) {
		const uint8_t *hit = memchr(reader->buffer + from, magic[0], reader->end - from);

		if (!hit)
			return reader->end;
		from = (size_t)(hit - reader->buffer);
		size_t left = reader->end - from;

		if (memcmp(hit, magic, left < sizeof(magic) ? left : sizeof(magic)) == 0)
			return from;
		from++;
	}
	return reader->end;
}

static void parse_header(const uint8_t *header, struct frame *ret_frame, uint32_t *ret_length,
			 uint32_t *ret_checksum)
{
	struct byte_reader cursor;

	byte_reader_init(&cursor, header + OFFSET_VERSION, FRAME_HEADER_BYTES - OFFSET_VERSION);
	ret_frame->version = byte_reader_u16(&cursor);
	ret_frame->type = byte_reader_u16(&cursor);
	ret_frame->flags = byte_reader_u16(&cursor);
	byte_reader_skip(&cursor, 2);
	*ret_length = byte_reader_u32(&cursor);
	ret_frame->epoch = byte_reader_u64(&cursor);
	ret_frame->request_id = byte_reader_u32(&cursor);
	*ret_checksum = byte_reader_u32(&cursor);
	ret_frame->payload = header + FRAME_HEADER_BYTES;
	ret_frame->payload_length = *ret_length;
}

enum verdict { WHOLE, INCOMPLETE, TOO_LONG, DAMAGED, NO_CREDIT };

static enum verdict examine(struct frame_reader *reader, size_t at, struct frame *ret_frame)
{
	size_t left = reader->end - at;
	uint32_t length, expected;

	if (left < FRAME_HEADER_BYTES)
		return INCOMPLETE;
	parse_header(reader->buffer + at, ret_frame, &length, &expected);
	if (length > LIMIT_PAYLOAD_BYTES)
		return TOO_LONG;
	if (left - FRAME_HEADER_BYTES < length)
		return INCOMPLETE;
	if (reader->credit < FRAME_HEADER_BYTES + (uint64_t)length)
		return NO_CREDIT;
	reader->credit -= FRAME_HEADER_BYTES + (uint64_t)length;
	if (checksum(reader->buffer + at, ret_frame->payload, length) != expected)
		return DAMAGED;
	return WHOLE;
}

/* A HELLO is sent first on every connection: whole in the body of an unfinished frame, it proves
 * that frame dead. */
static bool find_hello(struct frame_reader *reader)
{
	size_t from = reader->start + 1;
	struct frame frame;

	if (reader->scanned > from)
		from = reader->scanned;
	for (size_t at = find_magic(reader, from); at < reader->end;
	     at = find_magic(reader, at + 1)) {
		if (reader->end - at < FRAME_HEADER_BYTES) {
			reader->scanned = at;
			return false;
		}
		uint32_t length, unused;

		parse_header(reader->buffer + at, &frame, &length, &unused);
		if ((frame.type != MESSAGE_HELLO && frame.type != MESSAGE_HELLO_REPLY) ||
		    length > LIMIT_HELLO_BYTES)
			continue;
		switch (examine(reader, at, &frame)) {
		case WHOLE:
			reader->counters.truncated++;
			discard(reader, at - reader->start);
			return true;
		case INCOMPLETE:
			reader->scanned = at;
			return false;
		case TOO_LONG:
		case DAMAGED:
		case NO_CREDIT:
			break;
		}
	}
	reader->scanned = reader->end;
	return false;
}

bool frame_reader_next(struct frame_reader *reader, struct frame *ret_frame)
{
	for (;;) {
		struct frame frame;
		size_t at = find_magic(reader, reader->start);

		if (at > reader->start)
			discard(reader, at - reader->start);
		if (at == reader->end)
			return false;
		switch (examine(reader, at, &frame)) {
		case WHOLE:
			reader->start += FRAME_HEADER_BYTES + frame.payload_length;
			reader->garbage_run = 0;
			reader->counters.frames++;
			*ret_frame = frame;
			return true;
		case INCOMPLETE:
			if (find_hello(reader))
				continue;
			return false;
		case TOO_LONG:
			reader->counters.oversize++;
			discard(reader, sizeof(magic));
			break;
		case DAMAGED:
			reader->counters.bad_checksums++;
			discard(reader, sizeof(magic));
			break;
		case NO_CREDIT:
			reader->counters.floods++;
			discard(reader, reader->end - reader->start);
			break;
		}
	}
}

bool frame_reader_is_partial(const struct frame_reader *reader)
{
	return reader->end > reader->start;
}

void frame_reader_skip(struct frame_reader *reader)
{
	size_t left = reader->end - reader->start;

	if (left == 0)
		return;
	reader->counters.truncated++;
	discard(reader, left < sizeof(magic) ? left : sizeof(magic));
}

void frame_reader_reset(struct frame_reader *reader)
{
	reader->start = reader->end = reader->scanned = 0;
	reader->garbage_run = 0;
}
