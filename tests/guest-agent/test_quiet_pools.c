/* SPDX-License-Identifier: Apache-2.0 */
#include "quiet_pools.h"
#include "cleanup.h"
#include "unit.h"

#define HUGE	 UINT64_C(2097152)
#define GIGANTIC UINT64_C(1073741824)

static void test_a_page_on_its_way(void)
{
	struct quiet_pools quiet = {0};

	/* Nothing is known. */
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 101), 101);
	quiet_pools_note(&quiet, HUGE, 100, 1000);
	quiet_pools_note(&quiet, GIGANTIC, 1, 1000);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 101), 100);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 104), 100);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 100), 100);
	CHECK_INT(quiet_pools_pages(&quiet, GIGANTIC, 2), 1);
	/* While it is on its way it is seen again and again. */
	quiet_pools_note(&quiet, HUGE, 101, 30000);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 101), 100);
}

static void test_another_size(void)
{
	struct quiet_pools quiet = {0};

	quiet_pools_note(&quiet, HUGE, 100, 1000);
	/* By more than is ever on its way, or smaller. */
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 105), 105);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 99), 99);
	quiet_pools_note(&quiet, HUGE, 105, 2000);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 106), 105);
	quiet_pools_note(&quiet, HUGE, 80, 3000);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 81), 80);
	/* By a few, for good: it has not been seen smaller for long. */
	quiet_pools_note(&quiet, HUGE, 82, 3000 + QUIET_POOLS_MS - 1);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 82), 80);
	quiet_pools_note(&quiet, HUGE, 82, 3000 + QUIET_POOLS_MS);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 83), 82);
}

static void test_more_sizes_than_there_are(void)
{
	struct quiet_pools quiet = {0};

	for (uint64_t i = 0; i < 2 * HUGEPAGE_POOL_SIZES_MAX; i++)
		quiet_pools_note(&quiet, HUGE << i, 10, 1000);
	CHECK_INT(quiet.count, HUGEPAGE_POOL_SIZES_MAX);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE << HUGEPAGE_POOL_SIZES_MAX, 11), 11);
	CHECK_INT(quiet_pools_pages(&quiet, HUGE, 11), 10);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a page on its way", test_a_page_on_its_way},
		{"another size", test_another_size},
		{"more sizes than there are", test_more_sizes_than_there_are},
	};

	return unit_main("quiet_pools", cases, ARRAY_SIZE(cases));
}
