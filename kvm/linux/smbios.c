/* SPDX-License-Identifier: Apache-2.0 */
#include "smbios.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sysroot.h"
#include "table_field.h"

#define TABLE_FILE "/sys/firmware/dmi/tables/DMI"
/* A large server's is some 30 KiB. */
#define TABLE_SIZE_MAX (1u << 20)

#define HEADER_BYTES 4

enum structure_type {
	TYPE_ARRAY = 16,
	TYPE_SLOT = 17,
	TYPE_ARRAY_RANGE = 19,
	TYPE_SLOT_RANGE = 20,
	TYPE_END = 127,
};

/* 7.17.2: the use of an array. */
#define USE_SYSTEM_MEMORY 3

/* 7.18.2 and 7.18.5: the size of a memory device. */
#define SIZE_NOT_TOLD  0xffff
#define SIZE_IN_LARGE  0x7fff
#define SIZE_IS_KIB    0x8000
#define LARGE_SIZE_MIB 0x7fffffff

/* 7.20: the address stands in the longer field. */
#define ADDRESS_IN_LARGE 0xffffffff

struct structure {
	const uint8_t *data; /* borrowed: the formatted area, its header included */
	size_t length;
	const uint8_t *strings; /* borrowed: texts, each with its terminator, and another one behind the last */
	size_t strings_size;
};

static uint64_t field(const struct structure *structure, size_t offset, size_t size)
{
	return table_field(structure->data, structure->length, offset, size);
}

/* 6.1.3: strings are numbered from 1; 0 is none. */
static void take_text(const struct structure *structure, size_t offset, char text[SMBIOS_TEXT_SIZE])
{
	uint64_t number = field(structure, offset, 1);
	const char *at = (const char *)structure->strings;
	size_t left = structure->strings_size, used = 0;

	text[0] = '\0';
	for (; number > 1 && left && *at; number--) {
		size_t length = strnlen(at, left - 1) + 1;

		at += length;
		left -= length;
	}
	if (number != 1 || !left)
		return;
	while (left && *at == ' ') {
		at++;
		left--;
	}
	for (; left && *at && used + 1 < SMBIOS_TEXT_SIZE; at++, left--)
		text[used++] = *at >= ' ' && *at <= '~' ? *at : '?';
	while (used && text[used - 1] == ' ')
		used--;
	text[used] = '\0';
}

/* Room for one more of a list. NULL with *error. */
static void *grow(void *items, size_t count, size_t item_size, int *error)
{
	void *larger;

	if (count >= SMBIOS_ITEMS_MAX) {
		*error = -E2BIG;
		return NULL;
	}
	if (count & (count - 1) || count == 1)
		return items;
	larger = reallocarray(items, count ? count * 2 : 2, item_size);
	if (!larger)
		*error = -ENOMEM;
	return larger;
}

#define ADD(list, count, error, ...)                                                  \
	do {                                                                          \
		void *larger_ = grow((list), (count), sizeof(*(list)), (error));      \
		if (larger_) {                                                        \
			(list) = larger_;                                             \
			(list)[(count)++] = __VA_ARGS__;                              \
		}                                                                     \
	} while (0)

/* Types 19 and 20: in KiB with the last KiB named, or in bytes with the last byte named. False: no range. */
static bool take_range(const struct structure *structure, size_t large_offset, struct physical_range *ret_range)
{
	uint64_t first = field(structure, 4, 4), last = field(structure, 8, 4);

	if (first == ADDRESS_IN_LARGE) {
		first = field(structure, large_offset, 8);
		last = field(structure, large_offset + 8, 8);
		if (last < first || last == UINT64_MAX)
			return false;
		*ret_range = (struct physical_range){first, last + 1};
		return true;
	}
	if (last < first)
		return false;
	*ret_range = (struct physical_range){first << 10, (last + 1) << 10};
	return true;
}

static uint64_t slot_bytes(const struct structure *structure)
{
	uint64_t size = field(structure, 0xc, 2);

	if (size == SIZE_NOT_TOLD)
		return 0;
	if (size == SIZE_IN_LARGE)
		return (field(structure, 0x1c, 4) & LARGE_SIZE_MIB) << 20;
	return size & SIZE_IS_KIB ? (size & ~(uint64_t)SIZE_IS_KIB) << 10 : size << 20;
}

static int take_structure(struct smbios *smbios, const struct structure *structure)
{
	uint16_t handle = (uint16_t)field(structure, 2, 2);
	struct physical_range range;
	struct smbios_slot slot;
	int error = 0;

	switch (structure->data[0]) {
	case TYPE_ARRAY:
		ADD(smbios->arrays, smbios->array_count, &error,
		    (struct smbios_array){.handle = handle,
					  .is_system_memory = field(structure, 5, 1) == USE_SYSTEM_MEMORY});
		break;
	case TYPE_SLOT:
		slot = (struct smbios_slot){.handle = handle,
					    .array = (uint16_t)field(structure, 4, 2),
					    .is_populated = field(structure, 0xc, 2) != 0,
					    .size_bytes = slot_bytes(structure)};
		take_text(structure, 0x10, slot.locator);
		take_text(structure, 0x11, slot.bank);
		take_text(structure, 0x1a, slot.part);
		ADD(smbios->slots, smbios->slot_count, &error, slot);
		break;
	case TYPE_ARRAY_RANGE:
		if (!take_range(structure, 0xf, &range))
			break;
		ADD(smbios->array_ranges, smbios->array_range_count, &error,
		    (struct smbios_array_range){.array = (uint16_t)field(structure, 0xc, 2),
						.width = (uint8_t)field(structure, 0xe, 1),
						.range = range});
		break;
	case TYPE_SLOT_RANGE:
		if (!take_range(structure, 0x13, &range))
			break;
		ADD(smbios->slot_ranges, smbios->slot_range_count, &error,
		    (struct smbios_slot_range){.slot = (uint16_t)field(structure, 0xc, 2),
					       .position = (uint8_t)field(structure, 0x11, 1),
					       .range = range});
		break;
	}
	return error;
}

/* Where the texts behind a formatted area end: two zero bytes in a row, also where there is no text. 0: nowhere. */
static size_t strings_length(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 1 < size; i++)
		if (data[i] == 0 && data[i + 1] == 0)
			return i + 2;
	return 0;
}

int smbios_parse(const void *data, size_t size, struct smbios *ret_smbios)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	const uint8_t *at = data;

	while (size > 0) {
		struct structure structure = {.data = at};
		int error;

		if (size < HEADER_BYTES || at[1] < HEADER_BYTES || at[1] > size)
			return -EBADMSG;
		if (at[0] == TYPE_END)
			break;
		structure.length = at[1];
		structure.strings = at + structure.length;
		structure.strings_size = strings_length(structure.strings, size - structure.length);
		if (!structure.strings_size)
			return -EBADMSG;
		error = take_structure(&smbios, &structure);
		if (error < 0)
			return error;
		at += structure.length + structure.strings_size;
		size -= structure.length + structure.strings_size;
	}
	*ret_smbios = smbios;
	smbios = (struct smbios){0};
	return 0;
}

int smbios_read(const struct sysroot *sysroot, struct smbios *ret_smbios)
{
	CLEANUP_FREE char *table = NULL;
	size_t size;
	int error = sysroot_read_all(sysroot, TABLE_SIZE_MAX, &table, &size, TABLE_FILE);

	return error < 0 ? error : smbios_parse(table, size, ret_smbios);
}

void smbios_done(struct smbios *smbios)
{
	free(smbios->arrays);
	free(smbios->slots);
	free(smbios->array_ranges);
	free(smbios->slot_ranges);
	*smbios = (struct smbios){0};
}
