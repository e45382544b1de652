/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include "fixture_tree.h"
#include "memory_zone.h"

static const char zoneinfo[] = "Node 0, zone      DMA\n"
			       "  per-node stats\n"
			       "      nr_inactive_anon 12\n"
			       "  pages free     3840\n"
			       "        boost    0\n"
			       "        spanned  4095\n"
			       "        present  3998\n"
			       "        managed  3840\n"
			       "        protection: (0, 3019, 4299, 4299, 4299)\n"
			       "      nr_free_pages 3840\n"
			       "  start_pfn:           1\n"
			       "Node 0, zone  Movable\n"
			       "  pages free     0\n"
			       "        spanned  0\n"
			       "        present  0\n"
			       "        managed  0\n"
			       "Node 3, zone  Movable\n"
			       "  pages free     1000\n"
			       "        spanned  262144\n"
			       "        present  262144\n"
			       "        managed  262100\n"
			       "  pagesets\n"
			       "    cpu: 0\n"
			       "              count: 5\n"
			       "  start_pfn:           2097152\n";

static void test_read(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(memory_zone_list_done) struct memory_zone_list list = {0};
	const struct memory_zone_info *zone;

	fixture_tree_init(&tree);
	CHECK_INT(memory_zone_list_read(tree.sysroot, &list), -ENOENT);
	fixture_tree_write(&tree, "/proc/zoneinfo", "%s", zoneinfo);
	CHECK_INT(memory_zone_list_read(tree.sysroot, &list), 0);
	CHECK_INT(list.count, 2);
	zone = memory_zone_list_find(&list, 3, MEMORY_ZONE_MOVABLE);
	CHECK_TRUE(zone != NULL);
	if (zone) {
		CHECK_INT(zone->start, 2097152ull * 4096);
		CHECK_INT(zone->spanned_bytes, 1ull << 30);
		CHECK_INT(zone->managed_bytes, 262100ull * 4096);
		CHECK_INT(zone->free_bytes, 1000 * 4096);
	}
	CHECK_TRUE(!memory_zone_list_find(&list, 0, MEMORY_ZONE_MOVABLE));
	CHECK_INT(memory_zone_list_find(&list, 0, MEMORY_ZONE_DMA)->present_bytes, 3998 * 4096);
}

int main(void)
{
	static const struct unit_case cases[] = {{"read", test_read}};

	return unit_main("memory_zone", cases, ARRAY_SIZE(cases));
}
