/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <errno.h>
#include <string.h>
#include "byte_cursor.h"
#include "message.h"
#include "unit.h"

static uint8_t input[FRAME_MAX_BYTES], stream[4 * FRAME_MAX_BYTES], body[LIMIT_PAYLOAD_BYTES];
static struct frame_reader reader;

static void start(void)
{
	frame_reader_init(&reader, input, sizeof(input));
}

static size_t build(uint8_t *to, uint16_t type, uint32_t request_id, const void *payload,
		    size_t length)
{
	struct frame frame = {.version = 0x0100,
			      .type = type,
			      .request_id = request_id,
			      .epoch = 7,
			      .payload = payload,
			      .payload_length = length};
	size_t total = 0;

	CHECK_INT(frame_encode(&frame, to, FRAME_MAX_BYTES, &total), 0);
	return total;
}

/* As much as fits. */
static size_t feed(const uint8_t *data, size_t length)
{
	uint8_t *space;
	size_t room = frame_reader_space(&reader, &space);

	if (length > room)
		length = room;
	memcpy(space, data, length);
	frame_reader_received(&reader, length);
	return length;
}

/* Feeds it all in pieces; returns the number of frames; ids of the last 16 in ids. */
static size_t run(const uint8_t *data, size_t length, size_t piece, uint32_t ids[16])
{
	size_t count = 0;
	struct frame frame;

	while (length > 0) {
		size_t taken = feed(data, piece < length ? piece : length);

		CHECK_TRUE(taken > 0);
		if (taken == 0)
			return count;
		data += taken;
		length -= taken;
		while (frame_reader_next(&reader, &frame))
			ids[count++ % 16] = frame.request_id;
	}
	return count;
}

static void test_crc(void)
{
	/* RFC 3720, B.4 */
	uint8_t bytes[32];

	CHECK_INT(frame_crc32c(0, "123456789", 9), 0xe3069283u);
	memset(bytes, 0, sizeof(bytes));
	CHECK_INT(frame_crc32c(0, bytes, sizeof(bytes)), 0x8a9136aau);
	memset(bytes, 0xff, sizeof(bytes));
	CHECK_INT(frame_crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43u);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	CHECK_INT(frame_crc32c(0, bytes, sizeof(bytes)), 0x46dd794eu);
	CHECK_INT(frame_crc32c(frame_crc32c(0, bytes, 5), bytes + 5, 27), 0x46dd794eu);
}

static void test_round_trip(void)
{
	struct frame frame;
	size_t length = build(stream, MESSAGE_REPORT, 5, "abc", 3);

	start();
	CHECK_INT(length, FRAME_HEADER_BYTES + 3);
	feed(stream, length);
	CHECK_TRUE(frame_reader_next(&reader, &frame));
	CHECK_INT(frame.version, 0x0100);
	CHECK_INT(frame.type, MESSAGE_REPORT);
	CHECK_INT(frame.request_id, 5);
	CHECK_INT(frame.epoch, 7);
	CHECK_INT(frame.payload_length, 3);
	CHECK_TRUE(memcmp(frame.payload, "abc", 3) == 0);
	CHECK_TRUE(!frame_reader_next(&reader, &frame));
	CHECK_TRUE(!frame_reader_is_partial(&reader));
	CHECK_INT(reader.counters.garbage_bytes, 0);
}

static void test_encode_limits(void)
{
	struct frame frame = {.payload = body, .payload_length = LIMIT_PAYLOAD_BYTES + 1};
	size_t length;

	CHECK_INT(frame_encode(&frame, stream, sizeof(stream), &length), -EMSGSIZE);
	frame.payload_length = LIMIT_PAYLOAD_BYTES;
	CHECK_INT(frame_encode(&frame, stream, FRAME_MAX_BYTES - 1, &length), -ENOBUFS);
	CHECK_INT(frame_encode(&frame, stream, FRAME_MAX_BYTES, &length), 0);
	CHECK_INT(length, FRAME_MAX_BYTES);
	CHECK_INT(frame_encode(&frame, stream, 10, &length), -ENOBUFS);
}

static void test_any_piece_size(void)
{
	static const size_t pieces[] = {1, 2, 3, 31, 32, 33, 1000, 65536, 100000};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		uint32_t ids[16];
		size_t length = 0;

		start();
		for (uint32_t id = 1; id <= 6; id++)
			length += build(stream + length, MESSAGE_RESULT, id, body, id * 1000);
		CHECK_INT(run(stream, length, pieces[i], ids), 6);
		for (uint32_t id = 1; id <= 6; id++)
			CHECK_INT(ids[id - 1], id);
		CHECK_INT(reader.counters.garbage_bytes, 0);
	}
}

static void test_largest(void)
{
	uint32_t ids[16];
	size_t length = build(stream, MESSAGE_RESULT, 1, body, LIMIT_PAYLOAD_BYTES);

	start();
	length += build(stream + length, MESSAGE_RESULT, 2, body, LIMIT_PAYLOAD_BYTES);
	CHECK_INT(run(stream, length, 4096, ids), 2);
	CHECK_INT(reader.counters.garbage_bytes, 0);
}

static void test_garbage_before_and_between(void)
{
	uint32_t ids[16];
	size_t length = 0;

	start();
	memset(stream, 'x', 100);
	length += 100;
	length += build(stream + length, MESSAGE_RESULT, 1, "a", 1);
	/* A magic that begins and does not go on. */
	memcpy(stream + length,
	       "\xb5"
	       "BL\xb5"
	       "B",
	       5);
	length += 5;
	length += build(stream + length, MESSAGE_RESULT, 2, "b", 1);
	CHECK_INT(run(stream, length, 1, ids), 2);
	CHECK_INT(ids[1], 2);
	CHECK_INT(reader.counters.garbage_bytes, 105);
}

static void test_every_damaged_byte(void)
{
	size_t first = build(stream, MESSAGE_RESULT, 1, "hello", 5);
	size_t length = first + build(stream + first, MESSAGE_RESULT, 2, "world", 5);

	for (size_t at = 0; at < first; at++) {
		uint32_t ids[16] = {0};
		size_t count;

		start();
		stream[at] ^= 0x40;
		count = run(stream, length, sizeof(stream), ids);
		/* A length that became larger holds the second frame back until time or a HELLO
		 * decides. */
		for (int i = 0; count == 0 && i < 4 && frame_reader_is_partial(&reader); i++) {
			struct frame frame;

			frame_reader_skip(&reader);
			while (frame_reader_next(&reader, &frame))
				ids[count++] = frame.request_id;
		}
		CHECK_INT(count, 1);
		CHECK_INT(ids[0], 2);
		stream[at] ^= 0x40;
	}
}

static void test_oversize(void)
{
	uint32_t ids[16];
	size_t length = build(stream, MESSAGE_RESULT, 1, "x", 1);

	start();
	stream[14] = 2; /* the payload length's third byte: 131073 */
	length += build(stream + length, MESSAGE_RESULT, 2, "y", 1);
	CHECK_INT(run(stream, length, 7, ids), 1);
	CHECK_INT(ids[0], 2);
	CHECK_INT(reader.counters.oversize, 1);
}

static void test_hello_in_a_cut_frame(void)
{
	static const size_t pieces[] = {1, 13, 4096};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		uint32_t ids[16];
		size_t length;

		start();
		build(stream, MESSAGE_BLOCKS_REPLY, 1, body, 60000);
		length = 3000; /* the sender died here */
		length += build(stream + length, MESSAGE_HELLO, 2, "nonce", 5);
		length += build(stream + length, MESSAGE_REPORT, 3, "", 0);
		CHECK_INT(run(stream, length, pieces[i], ids), 2);
		CHECK_INT(ids[0], 2);
		CHECK_INT(ids[1], 3);
		CHECK_INT(reader.counters.truncated, 1);
		CHECK_INT(reader.counters.garbage_bytes, 3000);
	}
}

static void test_skip_finds_what_was_swallowed(void)
{
	uint32_t ids[16];
	struct frame frame;
	size_t length;

	start();
	build(stream, MESSAGE_BLOCKS_REPLY, 1, body, 60000);
	length = 50;
	length += build(stream + length, MESSAGE_HEARTBEAT, 2, "beat", 4);
	CHECK_INT(run(stream, length, 10, ids), 0);
	CHECK_TRUE(frame_reader_is_partial(&reader));
	frame_reader_skip(&reader);
	CHECK_TRUE(frame_reader_next(&reader, &frame));
	CHECK_INT(frame.request_id, 2);
	CHECK_TRUE(!frame_reader_is_partial(&reader));
}

static void test_nested_headers_cost_no_more(void)
{
	/* 2000 headers, each claiming all that follows it: 65 MB of checksums for 64 KiB, if it
	 * were allowed. */
	uint32_t ids[16];
	size_t length = 0;

	start();
	memset(stream, 0, sizeof(stream));
	while (length + FRAME_HEADER_BYTES <= FRAME_MAX_BYTES) {
		struct byte_writer writer;

		byte_writer_init(&writer, stream + length, FRAME_HEADER_BYTES);
		byte_writer_bytes(&writer,
				  "\xb5"
				  "BLS",
				  4);
		byte_writer_u64(&writer, 0);
		byte_writer_u32(&writer, (uint32_t)(FRAME_MAX_BYTES - FRAME_HEADER_BYTES - length));
		length += FRAME_HEADER_BYTES;
	}
	CHECK_INT(run(stream, FRAME_MAX_BYTES, sizeof(stream), ids), 0);
	CHECK_TRUE(reader.counters.floods >= 1);
	CHECK_TRUE(reader.counters.bad_checksums <= 2 * LIMIT_CHECK_FACTOR);
	/* And the next honest frame is read. */
	length = build(stream, MESSAGE_RESULT, 9, "z", 1);
	CHECK_INT(run(stream, length, 1, ids), 1);
	CHECK_INT(ids[0], 9);
}

static void test_cursor_bounds(void)
{
	uint8_t bytes[4] = {1, 2, 3, 4};
	struct byte_reader in;
	struct byte_writer out;
	char text[4];

	byte_reader_init(&in, bytes, 4);
	CHECK_INT(byte_reader_u16(&in), 0x0201);
	CHECK_INT(byte_reader_u32(&in), 0);
	CHECK_TRUE(in.failed);
	CHECK_INT(byte_reader_u8(&in), 0);
	CHECK_INT(byte_reader_left(&in), 0);
	byte_writer_init(&out, bytes, 3);
	byte_writer_u16(&out, 0xabcd);
	byte_writer_u16(&out, 1);
	CHECK_TRUE(out.failed);
	CHECK_INT(out.offset, 2);
	CHECK_INT(bytes[0], 0xcd);
	CHECK_INT(bytes[2], 3);
	byte_writer_init(&out, bytes, 4);
	byte_writer_text(&out, "abcd", 5);
	CHECK_TRUE(out.failed);
	/* A text as long as the caller's storage leaves no room for its terminator. */
	memcpy(bytes, "\4\0xy", 4);
	byte_reader_init(&in, bytes, 4);
	byte_reader_text(&in, text, sizeof(text));
	CHECK_TRUE(in.failed);
	CHECK_STR(text, "");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"checksum", test_crc},
		{"round trip", test_round_trip},
		{"limits of encoding", test_encode_limits},
		{"pieces of any size", test_any_piece_size},
		{"largest frames", test_largest},
		{"garbage before and between", test_garbage_before_and_between},
		{"every byte damaged", test_every_damaged_byte},
		{"too long a frame", test_oversize},
		{"a HELLO in a frame cut short", test_hello_in_a_cut_frame},
		{"a frame given up", test_skip_finds_what_was_swallowed},
		{"nested headers cost no more", test_nested_headers_cost_no_more},
		{"cursor bounds", test_cursor_bounds},
	};

	return unit_main("frame", cases, sizeof(cases) / sizeof(cases[0]));
}
