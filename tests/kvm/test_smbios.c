/* SPDX-License-Identifier: Apache-2.0 */
#include "smbios.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fixture_tree.h"
#include "smbios_table.h"
#include "unit.h"

#define GIB ((uint64_t)1 << 30)

static void test_whole_table(void)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	struct smbios_table table;

	smbios_table_in_turn(&table);
	CHECK_INT(smbios_parse(table.bytes, table.size, &smbios), 0);
	CHECK_INT(smbios.array_count, 2);
	CHECK_TRUE(!smbios.arrays[0].is_system_memory && smbios.arrays[1].is_system_memory);
	CHECK_INT(smbios.slot_count, 5);
	CHECK_INT(smbios.slots[1].handle, 0x11);
	CHECK_INT(smbios.slots[1].array, 0x10);
	CHECK_INT(smbios.slots[1].size_bytes, 4 * GIB);
	CHECK_TRUE(smbios.slots[1].is_populated);
	CHECK_STR(smbios.slots[1].locator, "1A");
	CHECK_STR(smbios.slots[1].bank, "BANK 1");
	CHECK_STR(smbios.slots[1].part, "PART-4G");
	CHECK_STR(smbios.slots[3].part, "");
	CHECK_TRUE(!smbios.slots[4].is_populated);
	CHECK_INT(smbios.array_range_count, 1);
	CHECK_INT(smbios.array_ranges[0].width, 2);
	CHECK_INT(smbios.array_ranges[0].range.end, 10 * GIB);
	CHECK_INT(smbios.slot_range_count, 3);
	CHECK_INT(smbios.slot_ranges[1].slot, 0x12);
	CHECK_INT(smbios.slot_ranges[1].position, 2);
	CHECK_INT(smbios.slot_ranges[2].range.start, 8 * GIB);
	CHECK_INT(smbios.slot_ranges[2].range.end, 10 * GIB);
}

/* Sizes and addresses that do not fit into the fields of the first versions. */
static void test_large(void)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	struct smbios_table table;
	uint8_t small[0x11] = {[8] = 0x00, [9] = 0x82}, untold[0x11] = {[8] = 0xff, [9] = 0xff};

	smbios_table_init(&table);
	smbios_table_slot(&table, 1, 9, 128 << 10, "A", NULL, NULL);
	smbios_table_raw(&table, 17, 2, small, sizeof(small));
	smbios_table_raw(&table, 17, 3, untold, sizeof(untold));
	smbios_table_array_range(&table, 4, 9, 6144 * GIB, 8192 * GIB, 1);
	smbios_table_slot_range(&table, 5, 1, 6144 * GIB, 8192 * GIB, 0xff, 0xff);
	/* No end of table: the last structure ends it. */
	CHECK_INT(smbios_parse(table.bytes, table.size, &smbios), 0);
	CHECK_INT(smbios.slot_count, 3);
	CHECK_INT(smbios.slots[0].size_bytes, 128 * GIB);
	CHECK_INT(smbios.slots[1].size_bytes, 512 << 10);
	CHECK_INT(smbios.slots[2].size_bytes, 0);
	CHECK_TRUE(smbios.slots[2].is_populated);
	CHECK_INT(smbios.array_ranges[0].range.start, 6144 * GIB);
	CHECK_INT(smbios.array_ranges[0].range.end, 8192 * GIB);
	CHECK_INT(smbios.slot_ranges[0].range.end, 8192 * GIB);
	CHECK_INT(smbios.slot_ranges[0].position, SMBIOS_INTERLEAVE_UNKNOWN);
}

/* Ranges that end before they begin; texts that are not there; bytes that a terminal would obey. */
static void test_odd(void)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	struct smbios_table table;
	uint8_t backwards[11] = {[0] = 9}, endless[27] = {0}, no_text[0x17] = {[8] = 1, [12] = 7, [13] = 255};

	memset(endless, 0xff, 8);
	memset(endless + 19, 0xff, 8);
	smbios_table_init(&table);
	smbios_table_raw(&table, 19, 1, backwards, sizeof(backwards));
	smbios_table_raw(&table, 19, 2, endless, sizeof(endless));
	smbios_table_raw(&table, 20, 3, backwards, sizeof(backwards));
	smbios_table_raw(&table, 17, 4, no_text, sizeof(no_text));
	smbios_table_slot(&table, 5, 9, 1, "A\033[2J\x80",
			  "a bank whose name is so long that it does not fit into the sixty-three bytes", NULL);
	smbios_table_end(&table);
	CHECK_INT(smbios_parse(table.bytes, table.size, &smbios), 0);
	CHECK_INT(smbios.array_range_count + smbios.slot_range_count, 0);
	CHECK_STR(smbios.slots[0].locator, "");
	CHECK_STR(smbios.slots[1].locator, "A?[2J?");
	CHECK_INT(strlen(smbios.slots[1].bank), SMBIOS_TEXT_SIZE - 1);
}

/* A structure whose type is ours and that has nothing but its header. */
static void test_short_structures(void)
{
	static const uint8_t types[] = {16, 17, 19, 20};

	for (size_t i = 0; i < sizeof(types); i++) {
		CLEANUP(smbios_done) struct smbios smbios = {0};
		struct smbios_table table;

		smbios_table_init(&table);
		smbios_table_raw(&table, types[i], 1, NULL, 0);
		CHECK_INT(smbios_parse(table.bytes, table.size, &smbios), 0);
		CHECK_INT(smbios.slot_count, types[i] == 17);
		if (smbios.slot_count)
			CHECK_TRUE(!smbios.slots[0].is_populated);
	}
}

/* Cut anywhere but between two structures: nothing of it is believed. Read behind its end: a sanitizer tells. */
static void test_cut(void)
{
	struct smbios_table table;
	size_t whole = 0;

	smbios_table_in_turn(&table);
	for (size_t size = 0; size < table.size; size++) {
		CLEANUP(smbios_done) struct smbios smbios = {0};
		uint8_t *exact = malloc(size + 1);
		int r;

		assert(exact);
		memcpy(exact, table.bytes, size);
		r = smbios_parse(exact, size, &smbios);
		whole += r == 0;
		CHECK_TRUE(r == 0 || (r == -EBADMSG && smbios.slot_count == 0));
		free(exact);
	}
	/* Structures 0 (bios) to 11, and the empty table; that of the end is there once its length is. */
	CHECK_TRUE(whole >= 13 && whole <= 16);
}

static void test_too_many(void)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	size_t one = 4 + 2, count = SMBIOS_ITEMS_MAX + 1;
	uint8_t *bytes = calloc(count, one);

	assert(bytes);
	for (size_t i = 0; i < count; i++) {
		bytes[i * one] = 17;
		bytes[i * one + 1] = 4;
	}
	CHECK_INT(smbios_parse(bytes, (count - 1) * one, &smbios), 0);
	CHECK_INT(smbios.slot_count, SMBIOS_ITEMS_MAX);
	smbios_done(&smbios);
	CHECK_INT(smbios_parse(bytes, count * one, &smbios), -E2BIG);
	free(bytes);
}

static void test_file(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(smbios_done) struct smbios smbios = {0};
	struct smbios_table table;

	fixture_tree_init(&tree);
	CHECK_INT(smbios_read(tree.sysroot, &smbios), -ENOENT);
	smbios_table_qemu(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/dmi/tables/DMI", table.bytes, table.size);
	CHECK_INT(smbios_read(tree.sysroot, &smbios), 0);
	CHECK_INT(smbios.slot_count, 1);
	CHECK_STR(smbios.slots[0].locator, "DIMM 0");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a whole table", test_whole_table},
		{"large sizes and addresses", test_large},
		{"odd ranges and texts", test_odd},
		{"structures without fields", test_short_structures},
		{"a table that is cut", test_cut},
		{"too many structures", test_too_many},
		{"the kernel's file", test_file},
	};

	return unit_main("kvm/linux/smbios", cases, sizeof(cases) / sizeof(cases[0]));
}
