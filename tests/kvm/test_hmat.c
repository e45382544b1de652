/* SPDX-License-Identifier: Apache-2.0 */
#include "hmat.h"

#include <errno.h>
#include "fixture_tree.h"
#include "hmat_table.h"
#include "table_bytes.h"
#include "unit.h"

static void check_path(const struct hmat_path *path, uint32_t initiator, uint32_t target, uint32_t latency_ps, uint32_t mb_per_s)
{
	CHECK_TRUE(path != NULL);
	if (!path)
		return;
	CHECK_INT(path->initiator, initiator);
	CHECK_INT(path->target, target);
	CHECK_INT(path->read_latency_ps, latency_ps);
	CHECK_INT(path->read_mb_per_s, mb_per_s);
}

static void test_qemu(void)
{
	CLEANUP(hmat_done) struct hmat hmat = {0};
	struct hmat_table table;

	hmat_table_qemu(&table);
	CHECK_INT(table.size, 40 + 2 * 40 + 2 * 56);
	CHECK_INT(hmat_parse(table.bytes, table.size, &hmat), 0);
	CHECK_INT(hmat.count, 4);
	check_path(hmat_path(&hmat, 0, 0), 0, 0, 100000, 10240);
	check_path(hmat_path(&hmat, 1, 0), 1, 0, 200000, 5120);
	CHECK_TRUE(hmat_path(&hmat, 0, 0)->is_attached);
	CHECK_TRUE(!hmat_path(&hmat, 1, 0)->is_attached);
	CHECK_TRUE(hmat_path(&hmat, 0, 2) == NULL);
	check_path(hmat_nearest(&hmat, 1), 1, 1, 100000, 10240);
	CHECK_TRUE(hmat_nearest(&hmat, 2) == NULL);
}

static void test_two_sockets(void)
{
	CLEANUP(hmat_done) struct hmat hmat = {0};
	struct hmat_table table;

	hmat_table_two_sockets(&table);
	CHECK_INT(hmat_parse(table.bytes, table.size, &hmat), 0);
	CHECK_INT(hmat.count, 8);
	check_path(hmat_path(&hmat, 0, 1), 0, 1, 181000, 110000);
	check_path(hmat_path(&hmat, 1, 10), 1, 10, 390000, 26000);
	check_path(hmat_nearest(&hmat, 10), 0, 10, 254000, 54000);
	/* To which it is attached is not told: the least latency. */
	check_path(hmat_nearest(&hmat, 11), 1, 11, 254000, 54000);
}

/* Values for reads before those for all accesses wherever they stand; else the later; caches and odd types aside. */
static void test_which_stands(void)
{
	static const uint32_t from[] = {7}, to[] = {8, 9};
	static const uint16_t ten[] = {10, 10}, twenty[] = {20, 20}, thirty[] = {30, HMAT_TABLE_UNREACHABLE};
	CLEANUP(hmat_done) struct hmat hmat = {0};
	struct hmat_table table;

	hmat_table_init(&table, 2);
	hmat_table_locality(&table, 0x10, HMAT_TABLE_READ_LATENCY, 1, 1, from, 2, to, twenty);
	hmat_table_locality(&table, 0, HMAT_TABLE_READ_LATENCY, 1, 1, from, 2, to, thirty);
	hmat_table_locality(&table, 0, HMAT_TABLE_ACCESS_LATENCY, 1, 1, from, 2, to, ten);
	hmat_table_locality(&table, 1, HMAT_TABLE_READ_LATENCY, 1, 1, from, 2, to, ten);
	hmat_table_locality(&table, 0, HMAT_TABLE_WRITE_LATENCY, 1, 1, from, 2, to, ten);
	hmat_table_raw(&table, 9, NULL, 0);
	hmat_table_end(&table);
	CHECK_INT(hmat_parse(table.bytes, table.size, &hmat), 0);
	CHECK_INT(hmat.count, 2);
	check_path(hmat_path(&hmat, 7, 8), 7, 8, 30, 0);
	check_path(hmat_path(&hmat, 7, 9), 7, 9, 20, 0);
}

/* What is zero, not reachable, or beyond any machine is not told; the attached initiator then is not the nearest. */
static void test_not_told(void)
{
	static const uint32_t from[] = {0, 1, 2, 3}, to[] = {5};
	static const uint16_t latencies[] = {0, HMAT_TABLE_UNREACHABLE, 300, 300}, bandwidths[] = {0, 0, 1, 2};
	CLEANUP(hmat_done) struct hmat hmat = {0}, without = {0};
	struct hmat_table table;

	hmat_table_init(&table, 2);
	hmat_table_attributes(&table, 1, 5);
	hmat_table_locality(&table, 0, HMAT_TABLE_READ_LATENCY, 1000, 4, from, 1, to, latencies);
	hmat_table_locality(&table, 0, HMAT_TABLE_READ_BANDWIDTH, 1, 4, from, 1, to, bandwidths);
	hmat_table_end(&table);
	CHECK_INT(hmat_parse(table.bytes, table.size, &hmat), 0);
	CHECK_TRUE(hmat_path(&hmat, 0, 5) == NULL);
	check_path(hmat_path(&hmat, 1, 5), 1, 5, 0, 0);
	check_path(hmat_nearest(&hmat, 5), 3, 5, 300000, 2);

	hmat_table_init(&table, 2);
	hmat_table_locality(&table, 0, HMAT_TABLE_READ_LATENCY, UINT32_MAX / 300 + 1, 4, from, 1, to, latencies);
	hmat_table_locality(&table, 0, HMAT_TABLE_READ_BANDWIDTH, 0, 4, from, 1, to, bandwidths);
	hmat_table_end(&table);
	CHECK_INT(hmat_parse(table.bytes, table.size, &without), 0);
	CHECK_INT(without.count, 0);
	CHECK_TRUE(hmat_nearest(&without, 5) == NULL && hmat_path(&without, 2, 5) == NULL);
}

/* Nothing of a malformed table is used. */
static void test_malformed(void)
{
	static const uint8_t zeros[31];

	for (int what = 0; what < 7; what++) {
		CLEANUP(hmat_done) struct hmat hmat = {0};
		struct hmat_table table;
		uint8_t *locality;

		hmat_table_qemu(&table);
		locality = table.bytes + table.size - 56;
		if (what == 0)
			hmat_table_raw(&table, 0, zeros, sizeof(zeros)); /* a byte short of its own type */
		else if (what == 1)
			hmat_table_raw(&table, 1, zeros, 23); /* the same */
		else if (what == 2)
			table_bytes_put(locality + 4, 57, 4); /* reaches behind the end */
		else if (what == 3)
			table_bytes_put(locality + 4, 7, 4); /* shorter than what every structure has */
		else if (what == 4)
			table_bytes_put(locality + 12, 3, 4); /* more initiators than it has room for */
		else if (what == 5)
			table_bytes_put(locality + 12, UINT64_MAX, 8); /* the same, by far, and targets */
		else
			table.size = 38; /* no room for what stands before the structures */
		hmat_table_end(&table);
		CHECK_INT(hmat_parse(table.bytes, table.size, &hmat), -EBADMSG);
		CHECK_INT(hmat.count, 0);
	}
}

static void test_file(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(hmat_done) struct hmat hmat = {0};
	struct hmat_table table;

	fixture_tree_init(&tree);
	CHECK_INT(hmat_read(tree.sysroot, &hmat), -ENOENT);
	hmat_table_qemu(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/HMAT", table.bytes, table.size);
	CHECK_INT(hmat_read(tree.sysroot, &hmat), 0);
	CHECK_INT(hmat.count, 4);
	hmat_done(&hmat);
	/* In the first revision the same bytes are other units. */
	table.bytes[8] = 1;
	hmat_table_end(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/HMAT", table.bytes, table.size);
	CHECK_INT(hmat_read(tree.sysroot, &hmat), -ENOTSUP);
	CHECK_INT(hmat.count, 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"as QEMU makes it", test_qemu},       {"two sockets and memory without processors", test_two_sockets},
		{"which value stands", test_which_stands}, {"what is not told", test_not_told},
		{"malformed tables", test_malformed},  {"the kernel's file", test_file},
	};

	return unit_main("kvm/linux/hmat", cases, sizeof(cases) / sizeof(cases[0]));
}
