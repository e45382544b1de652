/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include "dimm.h"
#include "failure.h"
#include "fixture_tree.h"
#include "memory_block.h"

#define ACPI "/sys/bus/acpi/devices"

static void add_dimm(struct fixture_tree *tree, const char *device, const char *path,
		     unsigned status, unsigned first_block, unsigned block_count)
{
	char full[128], target[64];

	snprintf(full, sizeof(full), ACPI "/%s/path", device);
	fixture_tree_write(tree, full, "%s\n", path);
	snprintf(full, sizeof(full), ACPI "/%s/status", device);
	fixture_tree_write(tree, full, "%u\n", status);
	snprintf(full, sizeof(full), ACPI "/%s/uid", device);
	fixture_tree_write(tree, full, "0x%s\n", device + 8);
	snprintf(full, sizeof(full), ACPI "/%s/eject", device);
	fixture_tree_write(tree, full, "%s", "\n");
	for (unsigned i = 0; i < block_count; i++) {
		char number[12] = "";

		if (i)
			snprintf(number, sizeof(number), "%u", i);
		snprintf(full, sizeof(full), ACPI "/%s/physical_node%s", device, number);
		snprintf(target, sizeof(target), "../../system/memory/memory%u", first_block + i);
		fixture_tree_link(tree, full, target);
	}
}

static void add_machine(struct fixture_tree *tree)
{
	fixture_tree_write(tree, "/sys/devices/system/memory/block_size_bytes", "8000000\n");
	for (unsigned id = 64; id < 74; id++)
		fixture_tree_add_block(tree, id, 3, id < 68 ? "offline" : "online",
				       id < 68 ? "Movable Normal" : "Movable");
	add_dimm(tree, "PNP0C80:00", "\\_SB_.MHPC.MP00", 15, 64, 4);
	add_dimm(tree, "PNP0C80:01", "\\_SB_.MHPC.MP01", 15, 68, 2);
	add_dimm(tree, "PNP0C80:02", "\\_SB_.MHPC.MP02", 0, 0, 0);
	add_dimm(tree, "PNP0C80:0a", "\\_SB_.MHPD.MP02", 15, 67, 2);
	fixture_tree_write(tree, ACPI "/PNP0C0C:00/path", "\\_SB_.PWRB\n");
}

static void test_list(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(memory_block_list_done) struct memory_block_list blocks = {0};
	CLEANUP(dimm_list_done) struct dimm_list list = {0};
	const struct dimm *dimm;

	fixture_tree_init(&tree);
	CHECK_INT(dimm_list_read(tree.sysroot, &blocks, &list), 0);
	CHECK_INT(list.count, 0);
	dimm_list_done(&list);
	add_machine(&tree);
	CHECK_INT(memory_block_list_read(tree.sysroot, &blocks), 0);
	CHECK_INT(dimm_list_read(tree.sysroot, &blocks, &list), 0);
	CHECK_INT(list.count, 4);
	dimm = dimm_list_find(&list, "acpi-MP00");
	CHECK_TRUE(dimm != NULL);
	if (!dimm)
		return;
	CHECK_INT(dimm->state, DIMM_STATE_OFFLINE);
	CHECK_INT(dimm->node_id, 3);
	CHECK_INT(dimm->block_count, 4);
	CHECK_INT(dimm->blocks[3], 67);
	CHECK_INT(dimm->range_count, 1);
	CHECK_INT(dimm->ranges[0].start, 64 * 0x8000000ll);
	CHECK_INT(dimm->ranges[0].end, 68 * 0x8000000ll);
	CHECK_INT(dimm->size_bytes, 512 << 20);
	CHECK_STR(dimm->uid, "0x00");
	CHECK_TRUE(dimm->can_eject);
	CHECK_INT(dimm_list_find(&list, "acpi-MP01")->state, DIMM_STATE_ONLINE);
	/* Two slots of one name: the whole path. */
	CHECK_TRUE(!dimm_list_find(&list, "acpi-MP02"));
	CHECK_INT(dimm_list_find(&list, "acpi-_SB_.MHPC.MP02")->state, DIMM_STATE_ABSENT);
	CHECK_INT(dimm_list_find(&list, "acpi-_SB_.MHPD.MP02")->state, DIMM_STATE_PARTLY);
}

struct kernel {
	struct fixture_tree *tree;
	unsigned writes;
	int answer;
	bool is_detached;
};

static int on_write(void *user, const char *path, const char *text)
{
	struct kernel *kernel = user;

	CHECK_STR(path, kernel->is_detached ? ACPI "/PNP0C80:03/eject" : ACPI "/PNP0C80:00/eject");
	CHECK_STR(text, "1");
	kernel->writes++;
	if (kernel->answer == 0)
		fixture_tree_write(kernel->tree, ACPI "/PNP0C80:00/status", "0\n");
	return kernel->answer;
}

static void test_eject(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(memory_block_list_done) struct memory_block_list blocks = {0};
	CLEANUP(dimm_list_done) struct dimm_list list = {0}, later = {0};
	struct kernel kernel = {.tree = &tree};
	struct failure failure = {0};
	enum dimm_eject_result result;
	bool is_enabled;

	fixture_tree_init(&tree);
	add_machine(&tree);
	CHECK_INT(memory_block_list_read(tree.sysroot, &blocks), 0);
	CHECK_INT(dimm_list_read(tree.sysroot, &blocks, &list), 0);
	fixture_tree_set_hooks(&tree, on_write, &kernel);
	const struct dimm *dimm = dimm_list_find(&list, "acpi-MP00");

	/* Every block in turn comes online behind our back: never a write. */
	for (unsigned id = 64; id < 68; id++) {
		char path[96];

		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", id);
		fixture_tree_write(&tree, path, "%s", id % 2 ? "online\n" : "going-offline\n");
		CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, &failure), 0);
		CHECK_INT(result, DIMM_EJECT_NOT_OFFLINE);
		CHECK_TRUE(strstr(failure.cause, "block 6") != NULL);
		fixture_tree_write(&tree, path, "offline\n");
	}
	CHECK_INT(kernel.writes, 0);
	kernel.answer = -ENODEV;
	CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, &failure), 0);
	CHECK_INT(result, DIMM_EJECT_NOT_EJECTABLE);
	/* As an eject leaves it that the firmware refused: enabled, without a block, and without a handler. */
	fixture_tree_write(&tree, ACPI "/PNP0C80:03/path", "\\_SB_.MHPC.MP03\n");
	fixture_tree_write(&tree, ACPI "/PNP0C80:03/status", "15\n");
	fixture_tree_write(&tree, ACPI "/PNP0C80:03/eject", "\n");
	CHECK_INT(dimm_list_read(tree.sysroot, &blocks, &later), 0);
	kernel.is_detached = true;
	CHECK_INT(dimm_eject(tree.sysroot, dimm_list_find(&later, "acpi-MP03"), &result, &failure), 0);
	CHECK_INT(result, DIMM_EJECT_DETACHED);
	kernel.is_detached = false;
	kernel.answer = -EIO;
	CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, NULL), -EIO);
	kernel.answer = 0;
	CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, &failure), 0);
	CHECK_INT(result, DIMM_EJECT_REQUESTED);
	CHECK_INT(kernel.writes, 4);
	CHECK_INT(dimm_is_enabled(tree.sysroot, dimm, &is_enabled), 0);
	CHECK_TRUE(!is_enabled);
	CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, &failure), 0);
	CHECK_INT(result, DIMM_EJECT_ABSENT);
	/* It stands in its slot, and the kernel and its firmware have done with it; and is so at the next look. */
	fixture_tree_write(&tree, ACPI "/PNP0C80:00/status", "13\n");
	CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, &failure), 0);
	CHECK_INT(result, DIMM_EJECT_ABSENT);
	dimm_list_done(&later);
	CHECK_INT(dimm_list_read(tree.sysroot, &blocks, &later), 0);
	CHECK_INT(dimm_list_find(&later, "acpi-MP00")->state, DIMM_STATE_ABSENT);
	fixture_tree_write(&tree, ACPI "/PNP0C80:00/status", "15\n");
	fixture_tree_remove(&tree, ACPI "/PNP0C80:00/eject");
	CHECK_INT(dimm_eject(tree.sysroot, dimm, &result, &failure), 0);
	CHECK_INT(result, DIMM_EJECT_NOT_EJECTABLE);
	CHECK_INT(kernel.writes, 4);
}

int main(void)
{
	static const struct unit_case cases[] = {{"list", test_list}, {"eject", test_eject}};

	return unit_main("dimm", cases, ARRAY_SIZE(cases));
}
