/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fixture_tree.h"
#include "srat_table.h"
#include "table_field.h"
#include "unit.h"

static void test_header(void)
{
	struct srat_table table;
	struct acpi_table open;

	srat_table_qemu(&table);
	CHECK_INT(acpi_table_open(table.bytes, table.size, "SRAT", &open), 0);
	CHECK_INT(open.size, table.size);
	CHECK_INT(open.revision, 1);
	CHECK_INT(acpi_table_open(table.bytes, table.size, "HMAT", &open), -EBADMSG);
	/* More bytes than its length tells, and fewer. */
	CHECK_INT(acpi_table_open(table.bytes, table.size + 5, "SRAT", &open), 0);
	CHECK_INT(open.size, table.size);
	for (size_t size = 0; size < table.size; size++) {
		uint8_t *exact = malloc(size + 1);

		assert(exact);
		memcpy(exact, table.bytes, size);
		CHECK_INT(acpi_table_open(exact, size, "SRAT", &open), -EBADMSG);
		free(exact);
	}
	table.bytes[60] ^= 1;
	CHECK_INT(acpi_table_open(table.bytes, table.size, "SRAT", &open), -EBADMSG);
	/* A length shorter than the header itself, with a right sum. */
	memset(table.bytes, 0, ACPI_TABLE_HEADER_BYTES);
	memcpy(table.bytes, "SRAT", 4);
	table.bytes[4] = 8;
	table.bytes[5] = 0;
	table.bytes[7] = 0;
	CHECK_INT(acpi_table_open(table.bytes, table.size, "SRAT", &open), -EBADMSG);
}

static void test_structures(void)
{
	struct acpi_structure structure;
	size_t offset = 48, count = 0;
	struct srat_table table;
	struct acpi_table open;

	srat_table_qemu(&table);
	CHECK_INT(acpi_table_open(table.bytes, table.size, "SRAT", &open), 0);
	while (acpi_table_next(&open, &offset, &structure) == 1)
		count++;
	CHECK_INT(count, 6);
	CHECK_INT(acpi_table_next(&open, &offset, &structure), 0);
	CHECK_INT(table_field(structure.data, structure.length, 16, 8), (uint64_t)16 << 30);
	CHECK_INT(table_field(structure.data, structure.length, 39, 2), 0);
	/* An offset behind the table, one byte of a structure, lengths that lead nowhere or too far. */
	offset = table.size + 1;
	CHECK_INT(acpi_table_next(&open, &offset, &structure), 0);
	offset = table.size - 1;
	CHECK_INT(acpi_table_next(&open, &offset, &structure), -EBADMSG);
	for (int length = 0; length < 2; length++) {
		table.bytes[49] = (uint8_t)length;
		offset = 48;
		CHECK_INT(acpi_table_next(&open, &offset, &structure), -EBADMSG);
	}
	table.bytes[table.size - 39] = 41;
	offset = table.size - 40;
	CHECK_INT(acpi_table_next(&open, &offset, &structure), -EBADMSG);
}

static void test_file(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE char *data = NULL;
	struct srat_table table;
	size_t size = 0;

	fixture_tree_init(&tree);
	CHECK_INT(acpi_table_read(tree.sysroot, "SRAT", &data, &size), -ENOENT);
	srat_table_qemu(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", table.bytes, table.size);
	CHECK_INT(acpi_table_read(tree.sysroot, "SRAT", &data, &size), 0);
	CHECK_INT(size, table.size);
	CHECK_INT(memcmp(data, table.bytes, size), 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a header", test_header},
		{"structures", test_structures},
		{"the kernel's file", test_file},
	};

	return unit_main("kvm/linux/acpi_table", cases, sizeof(cases) / sizeof(cases[0]));
}
