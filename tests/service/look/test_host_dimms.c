/* SPDX-License-Identifier: Apache-2.0 */
#include "host_dimms.h"

#include <string.h>
#include "fake_host.h"
#include "host_look.h"
#include "smbios_table.h"
#include "unit.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static void look(struct fixture_tree *tree, struct smbios_table *table, struct snapshot *snapshot)
{
	struct failure failure = {0};

	fixture_tree_write_bytes(tree, "/sys/firmware/dmi/tables/DMI", table->bytes, table->size);
	CHECK_INT(host_look_read(tree->sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
}

static const struct snapshot_dimm *find(const struct snapshot *snapshot, const char *id)
{
	const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, id);

	if (!dimm)
		for (size_t i = 0; i < snapshot->dimm_count; i++)
			printf("  there is %s\n", snapshot->dimms[i].id);
	assert(dimm);
	return dimm;
}

static void check_answer(const struct snapshot_dimm *dimm, size_t slots, const char *interleaved, const char *confidence)
{
	CHECK_INT(dimm->slot_count, slots);
	CHECK_STR(answer_name(dimm->interleaved), interleaved);
	CHECK_STR(confidence_name(dimm->confidence), confidence);
}

/* Boot memory in one slot, and an ACPI device of which SMBIOS says nothing. */
static void test_one_slot(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	const struct snapshot_dimm *dimm;
	struct smbios_table table;

	fake_host_init(&tree);
	smbios_table_qemu(&table);
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->dimm_count, 2);
	check_answer(find(snapshot, FAKE_HOST_DIMM), 0, "unknown", "low");
	dimm = find(snapshot, "smbios-DIMM_0");
	CHECK_INT(dimm->kind, DIMM_KIND_SMBIOS);
	CHECK_STR(dimm->locator, "DIMM 0");
	check_answer(dimm, 1, "no", "certain");
	CHECK_STR(dimm->slots[0].locator, "DIMM 0");
	CHECK_INT(dimm->slots[0].size_bytes, GIB);
	CHECK_INT(dimm->node, 0);
	CHECK_INT(dimm->state, SNAPSHOT_DIMM_ONLINE);
	CHECK_INT(dimm->range_count, 1);
	CHECK_INT(dimm->ranges[0].start, 0);
	CHECK_INT(dimm->ranges[0].end, GIB);
	CHECK_TRUE(!dimm->ejectable);
	CHECK_INT(dimm->movable, ANSWER_NO);
	CHECK_INT(dimm->remainder.count, 1);
	CHECK_INT(dimm->remainder.items[0].bytes, GIB);
}

/* Slots that share their addresses are one; the ACPI device has the slot that its addresses are in. */
static void test_set(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	const struct snapshot_dimm *dimm;
	struct smbios_table table;

	fake_host_init(&tree);
	for (unsigned id = 0; id < 8; id++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", id);
		fixture_tree_write(&tree, path, "offline\n");
	}
	smbios_table_in_turn(&table);
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->dimm_count, 2);
	dimm = find(snapshot, "smbios-1A-set");
	check_answer(dimm, 2, "yes", "certain");
	CHECK_STR(dimm->locator, "1A, 2B");
	CHECK_STR(dimm->slots[1].bank, "BANK 1");
	CHECK_STR(dimm->slots[1].part, "PART-4G");
	CHECK_INT(dimm->state, SNAPSHOT_DIMM_OFFLINE);
	CHECK_INT(dimm->ranges[0].end, GIB);
	dimm = find(snapshot, FAKE_HOST_DIMM);
	CHECK_STR(dimm->locator, "\\_SB_.MHPC.MP00");
	check_answer(dimm, 1, "no", "certain");
	CHECK_STR(dimm->slots[0].locator, "3A");
}

/* No table tells the slots apart: the device's addresses are all of theirs, and the rest is one set. */
static void test_array_alone(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct smbios_table table;

	fake_host_init(&tree);
	smbios_table_init(&table);
	smbios_table_array(&table, 1, SMBIOS_TABLE_USE_MEMORY);
	for (uint16_t i = 0; i < SNAPSHOT_SLOTS_MAX + 3; i++)
		smbios_table_slot(&table, (uint16_t)(0x40 + i), 1, 4096, "J", "B", NULL);
	smbios_table_array_range(&table, 2, 1, 0, 16 * GIB, 1);
	smbios_table_end(&table);
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->dimm_count, 2);
	check_answer(find(snapshot, FAKE_HOST_DIMM), SNAPSHOT_SLOTS_MAX, "unknown", "low");
	/* Neither the locator nor the bank is of one slot alone. */
	check_answer(find(snapshot, "smbios-0040-set"), SNAPSHOT_SLOTS_MAX, "unknown", "low");
	CHECK_INT(find(snapshot, "smbios-0040-set")->slots_unlisted, 3);
}

/* A device over two sets has the slots of both, and the weaker answer. */
static void test_device_over_sets(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	const uint64_t start = FAKE_HOST_DIMM_START;
	struct smbios_table table;

	fake_host_init(&tree);
	smbios_table_init(&table);
	for (uint16_t i = 0; i < 3; i++)
		smbios_table_slot(&table, i, 9, 512, i ? "B" : "A", i == 2 ? "2" : "1", NULL);
	smbios_table_slot_range(&table, 0x10, 0, start, start + 512 * MIB, 0, 0);
	smbios_table_slot_range(&table, 0x11, 1, start + 512 * MIB, start + GIB, 0xff, 0);
	smbios_table_slot_range(&table, 0x12, 2, 0, 512 * MIB, 0, 0);
	smbios_table_end(&table);
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->dimm_count, 2);
	check_answer(find(snapshot, FAKE_HOST_DIMM), 2, "unknown", "low");
	check_answer(find(snapshot, "smbios-2-B"), 1, "no", "certain");
}

/* A block at the border of two slots leaves as a whole, with either. */
static void test_border(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct smbios_table table;

	fake_host_init(&tree);
	smbios_table_init(&table);
	smbios_table_slot(&table, 1, 9, 192, "X/1", NULL, NULL);
	smbios_table_slot(&table, 2, 9, 832, "X 1", NULL, NULL);
	smbios_table_slot_range(&table, 0x11, 1, 0, 192 * MIB, 0, 0);
	smbios_table_slot_range(&table, 0x12, 2, 192 * MIB, GIB, 0, 0);
	smbios_table_end(&table);
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->dimm_count, 3);
	CHECK_INT(find(snapshot, "smbios-X_1")->ranges[0].end, 256 * MIB);
	/* The same name once what a path may not have is gone. */
	CHECK_INT(find(snapshot, "smbios-0002")->ranges[0].start, 128 * MIB);
}

static void put_count(struct fixture_tree *tree, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/edac/mc/mc0/%s", file);
	fixture_tree_write(tree, path, "%s\n", text);
}

/* Two ranks of 1A, none of 2B, and 3A by bank and locator; one error nobody knows the place of. */
static void test_errors(void)
{
	static const char *const counts[][4] = {{"rank0", "1A", "2", "0"},
						{"rank1", "1A", "3", "1"},
						{"rank2", "BANK 2 3A", "0", "0"},
						{"rank3", "9Z", "4", "0"}};
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	CLEANUP(snapshot_freep) struct snapshot *copy = NULL, *nodes = snapshot_new();
	const struct snapshot_dimm *dimm;
	struct smbios_table table;

	fake_host_init(&tree);
	put_count(&tree, "mc_name", "a driver");
	put_count(&tree, "ce_count", "10");
	put_count(&tree, "ue_count", "1");
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		static const char *const files[] = {"dimm_label", "dimm_ce_count", "dimm_ue_count"};

		for (size_t file = 0; file < 3; file++) {
			char path[64];

			snprintf(path, sizeof(path), "%s/%s", counts[i][0], files[file]);
			put_count(&tree, path, counts[i][file + 1]);
		}
	}
	smbios_table_in_turn(&table);
	look(&tree, &table, snapshot);
	dimm = find(snapshot, "smbios-1A-set");
	CHECK_INT(dimm->slots[0].corrected_errors, 5);
	CHECK_INT(dimm->slots[0].uncorrected_errors, 1);
	CHECK_INT(dimm->slots[1].corrected_errors, -1);
	CHECK_INT(dimm->slots[1].uncorrected_errors, -1);
	/* Of the set there may be more. */
	CHECK_INT(dimm->corrected_errors, -1);
	CHECK_INT(dimm->uncorrected_errors, -1);
	dimm = find(snapshot, FAKE_HOST_DIMM);
	CHECK_INT(dimm->corrected_errors, 0);
	CHECK_INT(dimm->uncorrected_errors, 0);
	/* It goes with the blocks, and into a copy. */
	snapshot_take_blocks(nodes, snapshot);
	CHECK_INT(snapshot->controller_count, 0);
	copy = snapshot_copy(nodes);
	assert(copy && copy->controller_count == 1);
	CHECK_STR(copy->controllers[0].id, "mc0");
	CHECK_STR(copy->controllers[0].name, "a driver");
	CHECK_INT(copy->controllers[0].corrected_errors, 10);
	CHECK_INT(copy->controllers[0].unplaced_corrected, 5);
	CHECK_INT(copy->controllers[0].uncorrected_errors, 1);
	CHECK_INT(copy->controllers[0].unplaced_uncorrected, 0);
}

static void test_no_counts(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct smbios_table table;

	fake_host_init(&tree);
	smbios_table_qemu(&table);
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->controller_count, 0);
	CHECK_INT(find(snapshot, FAKE_HOST_DIMM)->corrected_errors, -1);
	CHECK_INT(find(snapshot, "smbios-DIMM_0")->corrected_errors, -1);
	CHECK_INT(find(snapshot, "smbios-DIMM_0")->uncorrected_errors, -1);
}

static void test_bad_table(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct smbios_table table;

	fake_host_init(&tree);
	smbios_table_in_turn(&table);
	table.size -= 9;
	look(&tree, &table, snapshot);
	CHECK_INT(snapshot->dimm_count, 1);
	check_answer(find(snapshot, FAKE_HOST_DIMM), 0, "unknown", "low");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"one slot", test_one_slot},
		{"a set of slots", test_set},
		{"slots that no table tells apart", test_array_alone},
		{"a device over two sets", test_device_over_sets},
		{"a block at a border", test_border},
		{"a table that is cut", test_bad_table},
		{"memory errors", test_errors},
		{"no counts of errors", test_no_counts},
	};

	return unit_main("service/look/host_dimms", cases, sizeof(cases) / sizeof(cases[0]));
}
