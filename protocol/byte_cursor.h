/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes little-endian fields within fixed bounds. The first step out of bounds makes the
 * cursor fail for good: every later read gives zeros and every later write nothing, so a caller
 * checks once, at the end.
 */
#ifndef BALLAST_PROTOCOL_BYTE_CURSOR_H
#define BALLAST_PROTOCOL_BYTE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct byte_reader {
	const uint8_t *data; /* borrowed */
	size_t size, offset;
	bool failed;
};

struct byte_writer {
	uint8_t *data; /* borrowed */
	size_t size, offset;
	bool failed;
};

void byte_reader_init(struct byte_reader *reader, const void *data, size_t size);
uint8_t byte_reader_u8(struct byte_reader *reader);
uint16_t byte_reader_u16(struct byte_reader *reader);
uint32_t byte_reader_u32(struct byte_reader *reader);
uint64_t byte_reader_u64(struct byte_reader *reader);
void byte_reader_bytes(struct byte_reader *reader, void *to, size_t count);
void byte_reader_skip(struct byte_reader *reader, size_t count);
size_t byte_reader_left(const struct byte_reader *reader);
void byte_reader_fail(struct byte_reader *reader);

/*
 * A text: length as u16, then as many bytes of printable ASCII. Fails where it is longer than size
 * - 1 or holds anything else: such texts go to logs and terminals. Fills all of text, zeros behind
 * the end.
 */
void byte_reader_text(struct byte_reader *reader, char *text, size_t size);

void byte_writer_init(struct byte_writer *writer, void *data, size_t size);
void byte_writer_u8(struct byte_writer *writer, uint8_t value);
void byte_writer_u16(struct byte_writer *writer, uint16_t value);
void byte_writer_u32(struct byte_writer *writer, uint32_t value);
void byte_writer_u64(struct byte_writer *writer, uint64_t value);
void byte_writer_bytes(struct byte_writer *writer, const void *from, size_t count);
void byte_writer_fail(struct byte_writer *writer);
/* Fails where text has no terminator within size or is not printable ASCII. */
void byte_writer_text(struct byte_writer *writer, const char *text, size_t size);

/* True where all bytes are printable ASCII. */
bool byte_cursor_is_text(const void *data, size_t length);
/* Makes it so: texts for the wire are, whatever went into them. */
void byte_cursor_make_text(char *text);

#endif
