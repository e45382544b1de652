/* SPDX-License-Identifier: Apache-2.0 */
#include "edac.h"

#include <errno.h>
#include <string.h>
#include "fixture_tree.h"
#include "smbios.h"
#include "unit.h"

#define MC "/sys/devices/system/edac/mc"

static void put(struct fixture_tree *tree, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), MC "/%s", file);
	fixture_tree_write(tree, path, "%s\n", text);
}

static void put_controller(struct fixture_tree *tree, const char *id, const char *corrected, const char *uncorrected)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/ce_count", id);
	put(tree, path, corrected);
	snprintf(path, sizeof(path), "%s/ue_count", id);
	put(tree, path, uncorrected);
}

static void put_dimm(struct fixture_tree *tree, const char *id, const char *label, const char *corrected,
		     const char *uncorrected)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/dimm_label", id);
	put(tree, path, label);
	snprintf(path, sizeof(path), "%s/dimm_ce_count", id);
	put(tree, path, corrected);
	snprintf(path, sizeof(path), "%s/dimm_ue_count", id);
	put(tree, path, uncorrected);
}

/* Two controllers: one with DIMMs (and the old rows beside them), one with ranks. */
static void test_dimms(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(edac_done) struct edac edac = {0};

	fixture_tree_init(&tree);
	put_controller(&tree, "mc0", "12", "1");
	put(&tree, "mc0/mc_name", "Skylake Socket#0 IMC#0");
	put_dimm(&tree, "mc0/dimm0", "CPU_SrcID#0_MC#0_Chan#0_DIMM#0", "11", "0");
	put_dimm(&tree, "mc0/dimm10", "DIMM_B1", "0", "1");
	put(&tree, "mc0/csrow0/ue_count", "1");
	put(&tree, "mc0/csrow0/ch0_ce_count", "11");
	put(&tree, "mc0/power/control", "auto");
	put_controller(&tree, "mc1", "0", "0");
	put_dimm(&tree, "mc1/rank3", "DIMM_C1", "0", "0");
	put(&tree, "power/control", "auto");
	CHECK_INT(edac_read(tree.sysroot, &edac), 0);
	CHECK_INT(edac.controller_count, 2);
	CHECK_STR(edac.controllers[0].name, "Skylake Socket#0 IMC#0");
	CHECK_INT(edac.controllers[0].corrected, 12);
	CHECK_INT(edac.controllers[0].uncorrected, 1);
	CHECK_STR(edac.controllers[1].name, "");
	CHECK_INT(edac.controllers[1].number, 1);
	CHECK_INT(edac.dimm_count, 3);
	CHECK_STR(edac.dimms[0].label, "CPU_SrcID#0_MC#0_Chan#0_DIMM#0");
	CHECK_INT(edac.dimms[0].corrected, 11);
	CHECK_TRUE(edac.dimms[1].uncorrected_told);
	CHECK_INT(edac.dimms[1].uncorrected, 1);
	CHECK_INT(edac.dimms[2].controller, 1);
}

static void test_rows(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(edac_done) struct edac edac = {0};

	fixture_tree_init(&tree);
	put_controller(&tree, "mc0", "3", "5");
	/* A DIMM without counts, as old kernels show it. */
	put(&tree, "mc0/dimm0/dimm_label", "A");
	for (int row = 0; row < 3; row++) {
		static const char *const uncorrected[] = {"0", "2", "3"};
		static const char *const second[] = {"B", "B", "A"};
		char path[64];

		snprintf(path, sizeof(path), "mc0/csrow%d/ue_count", row);
		put(&tree, path, uncorrected[row]);
		snprintf(path, sizeof(path), "mc0/csrow%d/ch0_ce_count", row);
		put(&tree, path, "1");
		snprintf(path, sizeof(path), "mc0/csrow%d/ch0_dimm_label", row);
		put(&tree, path, "A");
		snprintf(path, sizeof(path), "mc0/csrow%d/ch1_ce_count", row);
		put(&tree, path, "0");
		snprintf(path, sizeof(path), "mc0/csrow%d/ch1_dimm_label", row);
		put(&tree, path, second[row]);
	}
	CHECK_INT(edac_read(tree.sysroot, &edac), 0);
	CHECK_INT(edac.dimm_count, 6);
	CHECK_STR(edac.dimms[1].label, "B");
	CHECK_INT(edac.dimms[0].corrected, 1);
	CHECK_INT(edac.dimms[1].corrected, 0);
	/* None in the row; some, of either channel; some, and both channels are one DIMM. */
	CHECK_TRUE(edac.dimms[0].uncorrected_told && edac.dimms[1].uncorrected_told);
	CHECK_TRUE(!edac.dimms[2].uncorrected_told && !edac.dimms[3].uncorrected_told);
	CHECK_TRUE(edac.dimms[4].uncorrected_told && edac.dimms[5].uncorrected_told);
	CHECK_INT(edac.dimms[4].uncorrected + edac.dimms[5].uncorrected, 3);
}

static void test_none(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(edac_done) struct edac edac = {0};

	fixture_tree_init(&tree);
	CHECK_INT(edac_read(tree.sysroot, &edac), -ENOENT);
	put(&tree, "power/control", "auto");
	CHECK_INT(edac_read(tree.sysroot, &edac), -ENOENT);
	put_controller(&tree, "mc0", "many", "0");
	CHECK_INT(edac_read(tree.sysroot, &edac), -EBADMSG);
	/* One that goes away while it is read. */
	fixture_tree_remove(&tree, MC "/mc0/ce_count");
	CHECK_INT(edac_read(tree.sysroot, &edac), -ENOENT);
}

static void test_slots(void)
{
	struct smbios_slot slots[] = {
		{.locator = "DIMM_A1", .bank = "BANK 0", .is_populated = true},
		{.locator = "DIMM 1", .bank = "P0", .is_populated = true},
		{.locator = "DIMM 1", .bank = "P1", .is_populated = true},
		{.locator = "P0 DIMM 1", .is_populated = false},
		{.locator = "", .bank = "X", .is_populated = true},
	};
	const struct smbios smbios = {.slots = slots, .slot_count = sizeof(slots) / sizeof(slots[0])};
	static const struct {
		const char *label;
		int slot;
	} cases[] = {
		{"DIMM_A1", 0},	   {"BANK 0 DIMM_A1", 0}, {"BANK 0", -1}, {"DIMM_A", -1}, {"DIMM_A11", -1},
		{"dimm_a1", -1},   {"DIMM 1", -1},	  {"P0 DIMM 1", 1}, {"P1 DIMM 1", 2}, {"P1", -1},
		{"P0DIMM 1", -1},  {"", -1},		  {"X", -1},	  {"X ", -1},	  {"mc#0csrow#0channel#0", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct edac_dimm dimm = {0};

		strcpy(dimm.label, cases[i].label);
		CHECK_INT(edac_dimm_slot(&dimm, &smbios), cases[i].slot);
	}
	/* What was in no slot before makes two of one. */
	slots[3].is_populated = true;
	CHECK_INT(edac_dimm_slot(&(struct edac_dimm){.label = "P0 DIMM 1"}, &smbios), -1);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"DIMMs and ranks", test_dimms},
		{"rows of chip selects", test_rows},
		{"no counts", test_none},
		{"whose counts they are", test_slots},
	};

	return unit_main("kvm/linux/edac", cases, sizeof(cases) / sizeof(cases[0]));
}
