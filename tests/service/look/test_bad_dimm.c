/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "fake_host.h"
#include "host_look.h"
#include "plan.h"
#include "smbios_table.h"
#include "unit.h"

/* From EDAC's files to what a drain is told. */

static void put_count(struct fixture_tree *tree, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/edac/mc/mc0/%s", file);
	fixture_tree_write(tree, path, "%s\n", text);
}

/* The slot of the ACPI device has counted so many; the check says so or finds nothing in the way. */
static void drain_with(const char *corrected, const char *uncorrected, bool is_asked)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct remainder_list blockers;
	struct failure failure = {0};
	struct smbios_table table;
	struct plan_limits limits;
	struct wish wish;

	fake_host_init(&tree);
	put_count(&tree, "ce_count", corrected);
	put_count(&tree, "ue_count", uncorrected);
	put_count(&tree, "rank2/dimm_label", "BANK 2 3A");
	put_count(&tree, "rank2/dimm_ce_count", corrected);
	put_count(&tree, "rank2/dimm_ue_count", uncorrected);
	smbios_table_in_turn(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/dmi/tables/DMI", table.bytes, table.size);
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
	plan_limits_init(&limits);
	wish_init(&wish, OPERATION_KIND_DRAIN);
	strcpy(wish.drain_wish.dimm, FAKE_HOST_DIMM);
	wish.drain_wish.finish = DRAIN_FINISH_OFFLINE;
	plan_check(&(struct plan_input){.wish = &wish, .snapshot = snapshot, .limits = &limits}, &blockers, &failure);
	CHECK_INT(remainder_list_has(&blockers, REMAINDER_UNCORRECTED_ERRORS), is_asked);
	for (size_t i = 0; i < blockers.count && is_asked; i++)
		if (blockers.items[i].code == REMAINDER_UNCORRECTED_ERRORS) {
			CHECK_INT(blockers.items[i].consent, CONSENT_MAY_CRASH_HOST);
			CHECK_STR(blockers.items[i].object, "dimm " FAKE_HOST_DIMM);
			CHECK_TRUE(strstr(blockers.items[i].detail, "has counted 2 uncorrected errors") != NULL);
		}
}

static void test_uncorrected(void)
{
	drain_with("0", "2", true);
}

static void test_corrected(void)
{
	drain_with("7", "0", false);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"uncorrected errors need a consent", test_uncorrected},
		{"corrected errors need none", test_corrected},
	};

	return unit_main("service/look/bad_dimm", cases, sizeof(cases) / sizeof(cases[0]));
}
