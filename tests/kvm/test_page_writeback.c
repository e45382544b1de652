/* SPDX-License-Identifier: Apache-2.0 */
#include "page_writeback.h"

#include <errno.h>
#include <unistd.h>
#include "fixture_tree.h"
#include "unit.h"

static void put(struct fixture_tree *tree, uint64_t pfn, int is_written)
{
	uint64_t flags = UINT64_C(1) << 5 | (is_written ? UINT64_C(1) << 8 : 0);

	fixture_tree_write_at(tree, "/proc/kpageflags", pfn * 8, &flags, 8);
}

static void test_review(void)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct page_writeback pages = {0};
	struct fixture_tree tree;

	fixture_tree_init(&tree);
	CHECK_INT(page_writeback_read(tree.sysroot, 0, page, &pages), -ENOENT);
	for (uint64_t pfn = 5000; pfn < 5009; pfn++)
		put(&tree, pfn, pfn % 2);
	/* The last of them lies behind the range, and the range ends behind what the kernel shows. */
	CHECK_INT(page_writeback_read(tree.sysroot, 100 * page, 4907 * page, &pages), 0);
	CHECK_INT(pages.count, 3);
	CHECK_INT(pages.pfns[0], 5001);
	CHECK_INT(pages.pfns[2], 5005);
	page_writeback_done(&pages);
	CHECK_INT(page_writeback_read(tree.sysroot, 5000 * page, 50 * page, &pages), 0);
	CHECK_INT(pages.count, 4);
	/* Two are done, and another one has begun. */
	put(&tree, 5001, 0);
	put(&tree, 5007, 0);
	put(&tree, 5008, 1);
	CHECK_INT(page_writeback_review(tree.sysroot, &pages), 0);
	CHECK_INT(pages.count, 2);
	CHECK_INT(pages.pfns[0], 5003);
	CHECK_INT(pages.pfns[1], 5005);
	fixture_tree_remove(&tree, "/proc/kpageflags");
	CHECK_INT(page_writeback_review(tree.sysroot, &pages), -ENOENT);
	CHECK_INT(pages.count, 2);
	page_writeback_done(&pages);
	CHECK_INT(pages.count, 0);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"pages that stay under writeback", test_review},
	};

	return unit_main("kvm/page_writeback", cases, sizeof(cases) / sizeof(cases[0]));
}
