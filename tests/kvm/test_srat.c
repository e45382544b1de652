/* SPDX-License-Identifier: Apache-2.0 */
#include "srat.h"

#include <errno.h>
#include <string.h>
#include "fixture_tree.h"
#include "srat_table.h"
#include "unit.h"

#define GIB ((uint64_t)1 << 30)

static void test_ranges(void)
{
	CLEANUP(srat_done) struct srat srat = {0};
	struct srat_table table;
	uint32_t domain = 0;

	srat_table_qemu(&table);
	CHECK_INT(srat_parse(table.bytes, table.size, &srat), 0);
	CHECK_INT(srat.count, 3);
	CHECK_INT(srat.ranges[1].domain, 1);
	CHECK_INT(srat.ranges[1].range.start, 4 * GIB);
	CHECK_INT(srat.ranges[1].range.end, 6 * GIB);
	CHECK_TRUE(!srat.ranges[1].is_hotpluggable);
	CHECK_TRUE(srat.ranges[2].is_hotpluggable);
	CHECK_TRUE(srat_is_hotpluggable(&srat, 8 * GIB, 24 * GIB));
	CHECK_TRUE(!srat_is_hotpluggable(&srat, 8 * GIB, 24 * GIB + 1));
	CHECK_TRUE(!srat_is_hotpluggable(&srat, 8 * GIB - 1, 9 * GIB));
	CHECK_TRUE(!srat_is_hotpluggable(&srat, 4 * GIB, 5 * GIB));
	CHECK_TRUE(!srat_is_hotpluggable(&srat, 9 * GIB, 9 * GIB));
	CHECK_TRUE(srat_domain_at(&srat, 4 * GIB, &domain));
	CHECK_INT(domain, 1);
	CHECK_TRUE(srat_domain_at(&srat, 24 * GIB - 1, &domain));
	CHECK_INT(domain, 3);
	CHECK_TRUE(!srat_domain_at(&srat, 24 * GIB, &domain));
	CHECK_TRUE(!srat_domain_at(&srat, 3 * GIB, &domain));
}

/* In any order, one behind the other, one over the other, and with a hole. */
static void test_joined(void)
{
	CLEANUP(srat_done) struct srat srat = {0};
	const uint32_t marked = SRAT_TABLE_ENABLED | SRAT_TABLE_HOTPLUGGABLE;
	struct srat_table table;

	srat_table_init(&table, 3);
	srat_table_memory(&table, 0x12345, 3 * GIB, GIB, marked | SRAT_TABLE_NONVOLATILE);
	srat_table_memory(&table, 1, GIB, GIB, marked);
	srat_table_memory(&table, 1, 0, 2 * GIB, marked);
	srat_table_memory(&table, 1, 2 * GIB, GIB, marked);
	srat_table_memory(&table, 1, 4 * GIB, GIB, SRAT_TABLE_HOTPLUGGABLE); /* not enabled */
	srat_table_memory(&table, 1, 5 * GIB, GIB, marked);
	srat_table_end(&table);
	CHECK_INT(srat_parse(table.bytes, table.size, &srat), 0);
	CHECK_INT(srat.count, 5);
	CHECK_INT(srat.ranges[3].domain, 0x12345);
	CHECK_TRUE(srat.ranges[3].is_hotpluggable);
	CHECK_TRUE(srat_is_hotpluggable(&srat, 0, 4 * GIB));
	CHECK_TRUE(!srat_is_hotpluggable(&srat, 0, 6 * GIB));
	CHECK_TRUE(srat_is_hotpluggable(&srat, 5 * GIB, 6 * GIB));
}

static void test_first_revision(void)
{
	CLEANUP(srat_done) struct srat srat = {0};
	struct srat_table table;

	srat_table_init(&table, 1);
	srat_table_memory(&table, 0xabcd02, 0, GIB, SRAT_TABLE_ENABLED);
	srat_table_end(&table);
	CHECK_INT(srat_parse(table.bytes, table.size, &srat), 0);
	CHECK_INT(srat.ranges[0].domain, 2);
}

/* Nothing of a malformed table is used. */
static void test_malformed(void)
{
	static const uint8_t zeros[37];

	for (int what = 0; what < 4; what++) {
		CLEANUP(srat_done) struct srat srat = {0};
		struct srat_table table;

		srat_table_init(&table, 1);
		srat_table_memory(&table, 0, 0, GIB, SRAT_TABLE_ENABLED);
		if (what == 0)
			srat_table_raw(&table, 1, zeros, sizeof(zeros)); /* a byte short of its own type */
		else if (what == 1)
			srat_table_memory(&table, 0, UINT64_MAX, 2, SRAT_TABLE_ENABLED);
		else if (what == 2)
			table.bytes[table.size - 39] = 200; /* reaches behind the end */
		else
			table.size = 40; /* no room for what stands before the structures */
		srat_table_end(&table);
		CHECK_INT(srat_parse(table.bytes, table.size, &srat), -EBADMSG);
		CHECK_INT(srat.count, 0);
	}
}

static void test_file(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(srat_done) struct srat srat = {0};
	struct srat_table table;

	fixture_tree_init(&tree);
	CHECK_INT(srat_read(tree.sysroot, &srat), -ENOENT);
	srat_table_qemu(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", table.bytes, table.size);
	CHECK_INT(srat_read(tree.sysroot, &srat), 0);
	CHECK_INT(srat.count, 3);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"ranges", test_ranges},	   {"ranges that go together", test_joined},
		{"the first revision", test_first_revision}, {"malformed tables", test_malformed},
		{"the kernel's file", test_file},
	};

	return unit_main("kvm/linux/srat", cases, sizeof(cases) / sizeof(cases[0]));
}
