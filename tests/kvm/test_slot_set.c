/* SPDX-License-Identifier: Apache-2.0 */
#include "slot_set.h"

#include <string.h>
#include "cleanup.h"
#include "smbios.h"
#include "smbios_table.h"
#include "unit.h"

#define GIB ((uint64_t)1 << 30)
#define ARRAY 0x10

static void find(struct smbios_table *table, struct smbios *smbios, struct slot_set_list *list)
{
	smbios_table_end(table);
	CHECK_INT(smbios_parse(table->bytes, table->size, smbios), 0);
	CHECK_INT(slot_set_list_find(smbios, list), 0);
}

static void check_set(const struct slot_set *set, size_t slot_count, enum slot_set_interleave interleave,
		      enum slot_set_confidence confidence)
{
	CHECK_INT(set->slot_count, slot_count);
	CHECK_STR(slot_set_interleave_name(set->interleave), slot_set_interleave_name(interleave));
	CHECK_STR(slot_set_confidence_name(set->confidence), slot_set_confidence_name(confidence));
}

static void check_range(const struct slot_set *set, size_t index, uint64_t start, uint64_t end)
{
	assert(index < set->range_count);
	CHECK_INT(set->ranges[index].start, start);
	CHECK_INT(set->ranges[index].end, end);
}

static void test_machines(void)
{
	CLEANUP(smbios_done) struct smbios qemu = {0}, many = {0}, turn = {0};
	CLEANUP(slot_set_list_done) struct slot_set_list of_qemu = {0}, of_many = {0}, of_turn = {0};
	struct smbios_table table;

	smbios_table_qemu(&table);
	find(&table, &qemu, &of_qemu);
	CHECK_INT(of_qemu.count, 1);
	check_set(&of_qemu.sets[0], 1, SLOT_SET_INTERLEAVE_NO, SLOT_SET_CONFIDENCE_CERTAIN);
	check_range(&of_qemu.sets[0], 0, 0, GIB);
	smbios_table_two_of_many(&table);
	find(&table, &many, &of_many);
	CHECK_INT(of_many.count, 1);
	check_set(&of_many.sets[0], 2, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_LOW);
	CHECK_INT(of_many.sets[0].range_count, 2);
	check_range(&of_many.sets[0], 1, 4 * GIB, 4 * GIB + 0x30000000);
	smbios_table_in_turn(&table);
	find(&table, &turn, &of_turn);
	CHECK_INT(of_turn.count, 2);
	check_set(&of_turn.sets[0], 2, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_CERTAIN);
	check_range(&of_turn.sets[0], 0, 0, 8 * GIB);
	CHECK_INT(of_turn.sets[0].range_count, 1);
	check_set(&of_turn.sets[1], 1, SLOT_SET_INTERLEAVE_NO, SLOT_SET_CONFIDENCE_CERTAIN);
	check_range(&of_turn.sets[1], 0, 8 * GIB, 10 * GIB);
}

/* Two slots of 4 GiB each, and what type 20 says of them. */
static void test_two_slots(void)
{
	static const struct {
		uint64_t starts[2], ends[2];	/* in GiB; an end of 0: no type 20 */
		uint8_t positions[2];
		uint8_t width;			/* of type 19; 0: no type 19 */
		size_t count;
		enum slot_set_interleave interleave;
		enum slot_set_confidence confidence;
	} cases[] = {
		/* Each has its own. */
		{{0, 4}, {4, 8}, {0, 0}, 1, 2, SLOT_SET_INTERLEAVE_NO, SLOT_SET_CONFIDENCE_CERTAIN},
		/* A hole that belongs to neither. */
		{{0, 4}, {3, 8}, {0, 0}, 1, 2, SLOT_SET_INTERLEAVE_NO, SLOT_SET_CONFIDENCE_LIKELY},
		/* In turn, and said so. */
		{{0, 0}, {8, 8}, {1, 2}, 1, 1, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_CERTAIN},
		/* In part only: they cannot leave apart all the same. */
		{{0, 2}, {4, 8}, {1, 2}, 1, 1, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_CERTAIN},
		/* The ranges say so, and the positions deny it. */
		{{0, 0}, {8, 8}, {0, 0}, 1, 1, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_LIKELY},
		/* Mirrored: half of the size is mapped. */
		{{0, 0}, {4, 4}, {1, 2}, 1, 1, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_LIKELY},
		/* Positions without a range in common. */
		{{0, 4}, {4, 8}, {1, 2}, 1, 1, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_LOW},
		/* Not told. */
		{{0, 4}, {4, 8}, {0xff, 0xff}, 1, 2, SLOT_SET_INTERLEAVE_UNKNOWN, SLOT_SET_CONFIDENCE_LOW},
		/* The only one of a turn. */
		{{0, 4}, {4, 8}, {1, 0}, 1, 2, SLOT_SET_INTERLEAVE_NO, SLOT_SET_CONFIDENCE_LIKELY},
		/* The array alone tells, and not of whom the addresses are. */
		{{0, 0}, {0, 0}, {0, 0}, 1, 1, SLOT_SET_INTERLEAVE_UNKNOWN, SLOT_SET_CONFIDENCE_LOW},
		{{0, 0}, {0, 0}, {0, 0}, 2, 1, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_LOW},
		/* One of them is told, and what is left over would not be. */
		{{0, 0}, {4, 0}, {0, 0}, 1, 1, SLOT_SET_INTERLEAVE_UNKNOWN, SLOT_SET_CONFIDENCE_LOW},
		/* Nothing tells anything. */
		{{0, 0}, {0, 0}, {0, 0}, 0, 0, SLOT_SET_INTERLEAVE_UNKNOWN, SLOT_SET_CONFIDENCE_LOW},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(smbios_done) struct smbios smbios = {0};
		CLEANUP(slot_set_list_done) struct slot_set_list list = {0};
		struct smbios_table table;

		smbios_table_init(&table);
		smbios_table_array(&table, ARRAY, SMBIOS_TABLE_USE_MEMORY);
		if (cases[i].width)
			smbios_table_array_range(&table, 0x20, ARRAY, 0, 8 * GIB, cases[i].width);
		for (uint16_t slot = 0; slot < 2; slot++) {
			smbios_table_slot(&table, slot, ARRAY, 4096, "A", NULL, NULL);
			if (cases[i].ends[slot])
				smbios_table_slot_range(&table, (uint16_t)(0x30 + slot), slot, cases[i].starts[slot] * GIB,
							cases[i].ends[slot] * GIB, cases[i].positions[slot], 1);
		}
		find(&table, &smbios, &list);
		CHECK_INT(list.count, cases[i].count);
		if (list.count)
			check_set(&list.sets[0], cases[i].count == 1 ? 2 : 1, cases[i].interleave, cases[i].confidence);
	}
}

/* One array a socket; where both answer to the same addresses, their slots are one set. */
static void test_two_arrays(void)
{
	for (int shared = 0; shared < 2; shared++) {
		CLEANUP(smbios_done) struct smbios smbios = {0};
		CLEANUP(slot_set_list_done) struct slot_set_list list = {0};
		struct smbios_table table;

		smbios_table_init(&table);
		for (uint16_t array = 0; array < 2; array++) {
			uint64_t start = shared ? 0 : array * 4 * GIB;

			smbios_table_array(&table, array, SMBIOS_TABLE_USE_MEMORY);
			smbios_table_slot(&table, (uint16_t)(0x10 + array), array, 4096, "A", NULL, NULL);
			smbios_table_array_range(&table, (uint16_t)(0x20 + array), array, start,
						 start + (shared ? 8 : 4) * GIB, 1);
		}
		find(&table, &smbios, &list);
		CHECK_INT(list.count, shared ? 1 : 2);
		if (shared)
			check_set(&list.sets[0], 2, SLOT_SET_INTERLEAVE_YES, SLOT_SET_CONFIDENCE_LOW);
		else
			check_set(&list.sets[1], 1, SLOT_SET_INTERLEAVE_NO, SLOT_SET_CONFIDENCE_CERTAIN);
	}
}

/* Ranges of slots that are not there, that are empty, or not of memory. */
static void test_nobodys(void)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	CLEANUP(slot_set_list_done) struct slot_set_list list = {0};
	struct smbios_table table;

	smbios_table_init(&table);
	smbios_table_array(&table, 1, SMBIOS_TABLE_USE_VIDEO);
	smbios_table_slot(&table, 2, 1, 16, "V", NULL, NULL);
	smbios_table_slot(&table, 3, 7, 0, "E", NULL, NULL);
	smbios_table_array_range(&table, 4, 1, 0, GIB, 1);
	for (uint16_t slot = 2; slot < 6; slot++)
		smbios_table_slot_range(&table, (uint16_t)(slot + 8), slot, 0, GIB, 1, 1);
	find(&table, &smbios, &list);
	CHECK_INT(list.count, 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"whole machines", test_machines},
		{"two slots", test_two_slots},
		{"two arrays", test_two_arrays},
		{"ranges of nobody", test_nobodys},
	};

	return unit_main("kvm/linux/slot_set", cases, sizeof(cases) / sizeof(cases[0]));
}
