/* SPDX-License-Identifier: Apache-2.0 */
#include "buddy_info.h"

#include <errno.h>
#include "fixture_tree.h"
#include "unit.h"

#define PAGE 4096

static void test_pieces(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	uint64_t small[4] = {0};

	fixture_tree_init(&tree);
	CHECK_INT(buddy_info_read(tree.sysroot, 2 << 20, small, 4), -ENOENT);
	CHECK_INT(buddy_info_huge_bytes(tree.sysroot), 2 << 20);
	fixture_tree_write(&tree, "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "1048576\n");
	CHECK_INT(buddy_info_huge_bytes(tree.sysroot), 1 << 20);
	/* Orders 0 to 10: 2 MiB is order 9. Two zones of node 0 count together; node 9 is beyond. */
	fixture_tree_write(&tree, "/proc/buddyinfo",
			   "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      2      3 \n"
			   "Node 0, zone   Normal      5      3      0      0      0      0      0      0      0      7    100 \n"
			   "Node 2, zone  Movable      0      0      0      0      0      0      0      0      0      1      0 \n"
			   "Node 9, zone   Normal     99      0      0      0      0      0      0      0      0      0      0 \n");
	CHECK_INT(buddy_info_read(tree.sysroot, 2 << 20, small, 4), 0);
	CHECK_INT(small[0], 256 * PAGE + (5 + 3 * 2) * PAGE);
	CHECK_INT(small[1], 0);
	CHECK_INT(small[2], 0);
	small[0] = 0;
	CHECK_INT(buddy_info_read(tree.sysroot, 4 << 20, small, 4), 0);
	CHECK_INT(small[0], (256 + 5 + 6 + 9 * 512) * PAGE);
	CHECK_INT(small[2], 512 * PAGE);
}

static void test_malformed(void)
{
	static const char *const texts[] = {"Node x, zone Normal 1 2\n", "zone Normal 1 2\n",
					    "Node 0, zone Normal 1 x\n", "Node 0, zone Normal -1\n",
					    "Node 0, zone Normal 99999999999999999999999\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(fixture_tree_done) struct fixture_tree tree;
		uint64_t small[4] = {0};

		fixture_tree_init(&tree);
		fixture_tree_write(&tree, "/proc/buddyinfo", "%s", texts[i]);
		CHECK_INT(buddy_info_read(tree.sysroot, 2 << 20, small, 4), -EBADMSG);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"free memory by the size of its pieces", test_pieces},
		{"malformed", test_malformed},
	};

	return unit_main("kvm/buddy_info", cases, sizeof(cases) / sizeof(cases[0]));
}
