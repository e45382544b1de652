/* SPDX-License-Identifier: Apache-2.0 */
#include "byte_cursor.h"

#include <string.h>

void byte_reader_init(struct byte_reader *reader, const void *data, size_t size)
{
	*reader = (struct byte_reader){.data = data, .size = size};
}

/* NULL where count bytes are not there; then the reader has failed. */
static const uint8_t *take(struct byte_reader *reader, size_t count)
{
	if (reader->failed || count > reader->size - reader->offset) {
		reader->failed = true;
		return NULL;
	}
	const uint8_t *here = reader->data + reader->offset;

	reader->offset += count;
	return here;
}

static uint64_t take_number(struct byte_reader *reader, size_t width)
{
	const uint8_t *bytes = take(reader, width);
	uint64_t number = 0;

	if (!bytes)
		return 0;
	for (size_t i = 0; i < width; i++)
		number |= (uint64_t)bytes[i] << (8 * i);
	return number;
}

uint8_t byte_reader_u8(struct byte_reader *reader)
{
	return (uint8_t)take_number(reader, 1);
}

uint16_t byte_reader_u16(struct byte_reader *reader)
{
	return (uint16_t)take_number(reader, 2);
}

uint32_t byte_reader_u32(struct byte_reader *reader)
{
	return (uint32_t)take_number(reader, 4);
}

uint64_t byte_reader_u64(struct byte_reader *reader)
{
	return take_number(reader, 8);
}

void byte_reader_bytes(struct byte_reader *reader, void *to, size_t count)
{
	const uint8_t *bytes = take(reader, count);

	if (bytes)
		memcpy(to, bytes, count);
	else
		memset(to, 0, count);
}

void byte_reader_skip(struct byte_reader *reader, size_t count)
{
	take(reader, count);
}

size_t byte_reader_left(const struct byte_reader *reader)
{
	return reader->failed ? 0 : reader->size - reader->offset;
}

void byte_reader_fail(struct byte_reader *reader)
{
	reader->failed = true;
}

bool byte_cursor_is_text(const void *data, size_t length)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++)
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return false;
	return true;
}

void byte_cursor_make_text(char *text)
{
	for (; *text; text++)
		if (!byte_cursor_is_text(text, 1))
			*text = '?';
}

void byte_reader_text(struct byte_reader *reader, char *text, size_t size)
{
	size_t length = byte_reader_u16(reader);

	memset(text, 0, size);
	if (length >= size) {
		reader->failed = true;
		return;
	}
	const uint8_t *bytes = take(reader, length);

	if (!bytes)
		return;
	if (!byte_cursor_is_text(bytes, length)) {
		reader->failed = true;
		return;
	}
	memcpy(text, bytes, length);
}

void byte_writer_init(struct byte_writer *writer, void *data, size_t size)
{
	*writer = (struct byte_writer){.data = data, .size = size};
}

static uint8_t *place(struct byte_writer *writer, size_t count)
{
	if (writer->failed || count > writer->size - writer->offset) {
		writer->failed = true;
		return NULL;
	}
	uint8_t *here = writer->data + writer->offset;

	writer->offset += count;
	return here;
}

static void place_number(struct byte_writer *writer, size_t width, uint64_t number)
{
	uint8_t *bytes = place(writer, width);

	if (!bytes)
		return;
	for (size_t i = 0; i < width; i++)
		bytes[i] = (uint8_t)(number >> (8 * i));
}

void byte_writer_u8(struct byte_writer *writer, uint8_t value)
{
	place_number(writer, 1, value);
}

void byte_writer_u16(struct byte_writer *writer, uint16_t value)
{
	place_number(writer, 2, value);
}

void byte_writer_u32(struct byte_writer *writer, uint32_t value)
{
	place_number(writer, 4, value);
}

void byte_writer_u64(struct byte_writer *writer, uint64_t value)
{
	place_number(writer, 8, value);
}

void byte_writer_bytes(struct byte_writer *writer, const void *from, size_t count)
{
	uint8_t *bytes = place(writer, count);

	if (bytes && count > 0)
		memcpy(bytes, from, count);
}

void byte_writer_fail(struct byte_writer *writer)
{
	writer->failed = true;
}

void byte_writer_text(struct byte_writer *writer, const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	if (length >= size || length > UINT16_MAX || !byte_cursor_is_text(text, length)) {
		writer->failed = true;
		return;
	}
	byte_writer_u16(writer, (uint16_t)length);
	byte_writer_bytes(writer, text, length);
}
