/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include "fixture_tree.h"
#include "huge_room.h"

#define MIB ((uint64_t)1 << 20)

static void test_read(void)
{
	struct fixture_tree tree;
	uint64_t pieces = 7;

	fixture_tree_init(&tree);
	CHECK_INT(huge_room_read(tree.sysroot, 0, 2 * MIB, &pieces), -ENOENT);
	fixture_tree_write(&tree, "/proc/buddyinfo", "%s",
			   "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      2 \n"
			   "Node 0, zone   Normal    311     48      7      1      1      1      1      1      5      3    100 \n"
			   "Node 1, zone  Movable      9      9      9      9      9      9      9      9      9      0      0 \n"
			   "Node 10, zone  Movable     0      0      0      0      0      0      0      0      0      0      1 \n");
	CHECK_INT(huge_room_read(tree.sysroot, 0, 2 * MIB, &pieces), 0);
	CHECK_INT(pieces, 1 + 4 + 3 + 200);
	CHECK_INT(huge_room_read(tree.sysroot, 0, 4 * MIB, &pieces), 0);
	CHECK_INT(pieces, 102);
	CHECK_INT(huge_room_read(tree.sysroot, 1, 2 * MIB, &pieces), 0);
	CHECK_INT(pieces, 0);
	CHECK_INT(huge_room_read(tree.sysroot, 10, 2 * MIB, &pieces), 0);
	CHECK_INT(pieces, 2);
	CHECK_INT(huge_room_read(tree.sysroot, 5, 2 * MIB, &pieces), 0);
	CHECK_INT(pieces, 0);
	CHECK_INT(huge_room_read(tree.sysroot, 0, 3 * MIB, &pieces), -EINVAL);
	CHECK_INT(huge_room_read(tree.sysroot, 0, 0, &pieces), -EINVAL);
	fixture_tree_write(&tree, "/proc/buddyinfo", "Knoten 0, Zone DMA 1\n");
	CHECK_INT(huge_room_read(tree.sysroot, 0, 2 * MIB, &pieces), -EBADMSG);
	fixture_tree_done(&tree);
}

static void test_compact(void)
{
	struct fixture_tree tree;
	char text[8];

	fixture_tree_init(&tree);
	CHECK_INT(huge_room_compact(tree.sysroot, 2, NULL, NULL), -ENOENT);
	fixture_tree_write(&tree, "/sys/devices/system/node/node2/compact", "%s", "");
	CHECK_INT(huge_room_compact(tree.sysroot, 2, NULL, NULL), 0);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/sys/devices/system/node/node2/compact"), 0);
	CHECK_STR(text, "1");
	fixture_tree_write(&tree, "/proc/sys/vm/compact_memory", "%s", "");
	CHECK_INT(huge_room_compact(tree.sysroot, -1, NULL, NULL), 0);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/proc/sys/vm/compact_memory"), 0);
	CHECK_STR(text, "1");
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"read", test_read},
		{"compact", test_compact},
	};

	return unit_main("huge_room", cases, sizeof(cases) / sizeof(cases[0]));
}
