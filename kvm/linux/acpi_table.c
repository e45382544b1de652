/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi_table.h"

#include <errno.h>
#include <string.h>
#include "sysroot.h"
#include "table_field.h"

/* The largest, of a host with thousands of CPUs, are some 100 KiB. */
#define TABLE_SIZE_MAX (4u << 20)

int acpi_table_open(const void *data, size_t size, const char *signature, struct acpi_table *ret_table)
{
	struct acpi_table table = {.data = data};
	uint8_t sum = 0;

	if (size < ACPI_TABLE_HEADER_BYTES || memcmp(data, signature, 4) != 0)
		return -EBADMSG;
	table.size = table_field(table.data, size, 4, 4);
	table.revision = table.data[8];
	if (table.size < ACPI_TABLE_HEADER_BYTES || table.size > size)
		return -EBADMSG;
	for (size_t i = 0; i < table.size; i++)
		sum = (uint8_t)(sum + table.data[i]);
	if (sum != 0)
		return -EBADMSG;
	*ret_table = table;
	return 0;
}

int acpi_table_read(const struct sysroot *sysroot, const char *name, char **ret_data, size_t *ret_size)
{
	return sysroot_read_all(sysroot, TABLE_SIZE_MAX, ret_data, ret_size, "/sys/firmware/acpi/tables/%s", name);
}

/* head_bytes: those of type and length. */
static int take_structure(const struct acpi_table *table, size_t *offset, size_t head_bytes, uint64_t type, uint64_t length,
			  struct acpi_structure *ret_structure)
{
	size_t left = table->size > *offset ? table->size - *offset : 0;

	if (left == 0)
		return 0;
	if (left < head_bytes || length < head_bytes || length > left)
		return -EBADMSG;
	*ret_structure = (struct acpi_structure){
		.data = table->data + *offset, .length = (size_t)length, .type = (uint16_t)type};
	*offset += (size_t)length;
	return 1;
}

int acpi_table_next(const struct acpi_table *table, size_t *offset, struct acpi_structure *ret_structure)
{
	return take_structure(table, offset, 2, table_field(table->data, table->size, *offset, 1),
			      table_field(table->data, table->size, *offset + 1, 1), ret_structure);
}

int acpi_table_next_wide(const struct acpi_table *table, size_t *offset, struct acpi_structure *ret_structure)
{
	return take_structure(table, offset, 8, table_field(table->data, table->size, *offset, 2),
			      table_field(table->data, table->size, *offset + 4, 4), ret_structure);
}
