/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in a stream of bytes that may start anywhere, hold old halves of frames, or be hostile.
 */
#ifndef BALLAST_PROTOCOL_FRAME_H
#define BALLAST_PROTOCOL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "wire_limits.h"

#define FRAME_HEADER_BYTES 32
#define FRAME_MAX_BYTES	   (FRAME_HEADER_BYTES + LIMIT_PAYLOAD_BYTES)
#define FRAME_MAGIC_BYTES  4

/* The layout of the header and of HELLO is the same in every version. */
struct frame {
	uint16_t version; /* major << 8 | minor */
	uint16_t type;
	uint16_t flags; /* none defined: sent as 0, ignored when read */
	uint32_t request_id;
	uint64_t epoch;
	const uint8_t *payload; /* borrowed */
	size_t payload_length;
};

struct frame_counters {
	uint64_t frames;
	uint64_t garbage_bytes; /* bytes that belonged to no whole frame */
	uint64_t bad_checksums;
	uint64_t oversize;  /* headers that announced more than LIMIT_PAYLOAD_BYTES */
	uint64_t truncated; /* frames given up because a HELLO stood in their body, or by
			       frame_reader_skip() */
	uint64_t floods; /* times that everything was dropped because checking became too costly */
};

struct frame_reader {
	uint8_t *buffer; /* borrowed */
	size_t size, start, end;
	size_t scanned; /* up to here no HELLO stands in the body of the unfinished frame */
	uint64_t credit;
	uint64_t garbage_run; /* garbage since the last whole frame */
	struct frame_counters counters;
};

/* CRC32C (Castagnoli) of the bytes, continued from crc; start with 0. */
uint32_t frame_crc32c(uint32_t crc, const void *data, size_t length);

/*
 * Writes header and payload. Returns 0 and the frame's length, -EMSGSIZE for a payload beyond the
 * limit, -ENOBUFS where size does not suffice. frame->payload may already stand at its place in
 * buffer (buffer + FRAME_HEADER_BYTES): then nothing is copied.
 */
int frame_encode(const struct frame *frame, uint8_t *buffer, size_t size, size_t *ret_length);

/* buffer holds at least FRAME_MAX_BYTES and lives as long as the reader. */
void frame_reader_init(struct frame_reader *reader, uint8_t *buffer, size_t size);

/* Where the next bytes may be received, and how many; never 0 after frame_reader_next() has
 * returned false. Invalidates the last frame. */
size_t frame_reader_space(struct frame_reader *reader, uint8_t **ret_space);

/* count bytes were received there. */
void frame_reader_received(struct frame_reader *reader, size_t count);

/* Takes the next whole frame out. The frame's payload is valid until the next call for this reader.
 */
bool frame_reader_next(struct frame_reader *reader, struct frame *ret_frame);

/* A frame has begun and is not complete: what is there will not become a frame without more bytes.
 */
bool frame_reader_is_partial(const struct frame_reader *reader);

/* Gives up the unfinished frame; what stands behind its magic is looked through for others. */
void frame_reader_skip(struct frame_reader *reader);

/* Forgets all buffered bytes; the counters stay. */
void frame_reader_reset(struct frame_reader *reader);

#endif
