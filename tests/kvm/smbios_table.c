/* SPDX-License-Identifier: Apache-2.0 */
#include "smbios_table.h"

#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "table_bytes.h"

#define GIB ((uint64_t)1 << 30)

/* The strings that follow: NULL ends them. */
static void add(struct smbios_table *table, uint8_t *area, uint8_t type, uint8_t length, uint16_t handle,
		const char *const *strings)
{
	area[0] = type;
	area[1] = length;
	table_bytes_put(area + 2, handle, 2);
	assert(table->size + 1024 < sizeof(table->bytes));
	memcpy(table->bytes + table->size, area, length);
	table->size += length;
	for (size_t i = 0; strings && strings[i]; i++) {
		memcpy(table->bytes + table->size, strings[i], strlen(strings[i]) + 1);
		table->size += strlen(strings[i]) + 1;
	}
	if (!strings || !strings[0])
		table->bytes[table->size++] = 0;
	table->bytes[table->size++] = 0;
}

void smbios_table_init(struct smbios_table *table)
{
	static const char *const strings[] = {"A firm", "1.0", NULL};
	uint8_t bios[0x18] = {[4] = 1, [5] = 2};

	table->size = 0;
	add(table, bios, 0, sizeof(bios), 0, strings);
}

void smbios_table_array(struct smbios_table *table, uint16_t handle, uint8_t use)
{
	uint8_t area[0x17] = {[4] = 3, [5] = use, [6] = 6};

	add(table, area, 16, sizeof(area), handle, NULL);
}

void smbios_table_slot(struct smbios_table *table, uint16_t handle, uint16_t array, uint64_t size_mib,
		       const char *locator, const char *bank, const char *part)
{
	const char *const texts[] = {locator, bank, part};
	static const size_t offsets[] = {0x10, 0x11, 0x1a};
	const char *strings[4] = {NULL};
	uint8_t area[0x28] = {0}, count = 0;

	table_bytes_put(area + 4, array, 2);
	if (size_mib >= 0x7fff) {
		table_bytes_put(area + 0xc, 0x7fff, 2);
		table_bytes_put(area + 0x1c, size_mib, 4);
	} else {
		table_bytes_put(area + 0xc, size_mib, 2);
	}
	for (size_t i = 0; i < 3; i++)
		if (texts[i]) {
			strings[count++] = texts[i];
			area[offsets[i]] = count;
		}
	add(table, area, 17, sizeof(area), handle, strings);
}

static void put_range(uint8_t *area, size_t large_offset, uint64_t start, uint64_t end)
{
	if (end >> 10 < 0xffffffff && start % 1024 == 0 && end % 1024 == 0) {
		table_bytes_put(area + 4, start >> 10, 4);
		table_bytes_put(area + 8, (end >> 10) - 1, 4);
	} else {
		table_bytes_put(area + 4, 0xffffffff, 4);
		table_bytes_put(area + 8, 0xffffffff, 4);
		table_bytes_put(area + large_offset, start, 8);
		table_bytes_put(area + large_offset + 8, end - 1, 8);
	}
}

void smbios_table_array_range(struct smbios_table *table, uint16_t handle, uint16_t array, uint64_t start, uint64_t end,
			      uint8_t width)
{
	uint8_t area[0x1f] = {0};

	put_range(area, 0xf, start, end);
	table_bytes_put(area + 0xc, array, 2);
	area[0xe] = width;
	add(table, area, 19, sizeof(area), handle, NULL);
}

void smbios_table_slot_range(struct smbios_table *table, uint16_t handle, uint16_t slot, uint64_t start, uint64_t end,
			     uint8_t position, uint8_t depth)
{
	uint8_t area[0x23] = {0};

	put_range(area, 0x13, start, end);
	table_bytes_put(area + 0xc, slot, 2);
	area[0x10] = 1;
	area[0x11] = position;
	area[0x12] = depth;
	add(table, area, 20, sizeof(area), handle, NULL);
}

void smbios_table_raw(struct smbios_table *table, uint8_t type, uint16_t handle, const void *area, size_t size)
{
	uint8_t whole[256] = {0};

	assert(size <= 250);
	if (size)
		memcpy(whole + 4, area, size);
	add(table, whole, type, (uint8_t)(size + 4), handle, NULL);
}

void smbios_table_end(struct smbios_table *table)
{
	smbios_table_raw(table, 127, 0xfeff, NULL, 0);
}

void smbios_table_qemu(struct smbios_table *table)
{
	smbios_table_init(table);
	smbios_table_array(table, 0x1000, SMBIOS_TABLE_USE_MEMORY);
	smbios_table_slot(table, 0x1100, 0x1000, 1024, "DIMM 0", NULL, NULL);
	smbios_table_array_range(table, 0x1300, 0x1000, 0, GIB, 1);
	smbios_table_end(table);
}

void smbios_table_two_of_many(struct smbios_table *table)
{
	smbios_table_init(table);
	smbios_table_array(table, 0x1000, SMBIOS_TABLE_USE_MEMORY);
	for (uint16_t i = 0; i < 24; i++) {
		char locator[] = "DIMM_A1";

		locator[5] = (char)('A' + i / 12);
		locator[6] = (char)('1' + i % 12);
		smbios_table_slot(table, (uint16_t)(0x1100 + i), 0x1000, i < 2 ? 2048 : 0, locator, NULL, NULL);
	}
	smbios_table_array_range(table, 0x1300, 0x1000, 0, 0xd0000000, 2);
	smbios_table_array_range(table, 0x1301, 0x1000, 4 * GIB, 4 * GIB + 0x30000000, 2);
	smbios_table_end(table);
}

void smbios_table_in_turn(struct smbios_table *table)
{
	smbios_table_init(table);
	smbios_table_array(table, 0x0f, SMBIOS_TABLE_USE_VIDEO);
	smbios_table_slot(table, 0x0e, 0x0f, 16, "VIDEO", NULL, NULL);
	smbios_table_array(table, 0x10, SMBIOS_TABLE_USE_MEMORY);
	smbios_table_slot(table, 0x11, 0x10, 4096, "1A", "BANK 1", "  PART-4G  ");
	smbios_table_slot(table, 0x12, 0x10, 4096, "2B", "BANK 1", "PART-4G");
	smbios_table_slot(table, 0x13, 0x10, 2048, "3A", "BANK 2", NULL);
	smbios_table_slot(table, 0x14, 0x10, 0, "4B", "BANK 2", NULL);
	smbios_table_array_range(table, 0x20, 0x10, 0, 10 * GIB, 2);
	smbios_table_slot_range(table, 0x21, 0x11, 0, 8 * GIB, 1, 1);
	smbios_table_slot_range(table, 0x22, 0x12, 0, 8 * GIB, 2, 1);
	smbios_table_slot_range(table, 0x23, 0x13, 8 * GIB, 10 * GIB, 0, 0);
	smbios_table_end(table);
}
