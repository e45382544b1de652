/* SPDX-License-Identifier: Apache-2.0 */
#include "srat_table.h"

#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "table_bytes.h"

#define GIB ((uint64_t)1 << 30)

void srat_table_init(struct srat_table *table, uint8_t revision)
{
	memset(table, 0, sizeof(*table));
	table->bytes[8] = revision;
	memcpy(table->bytes + 10, "A FIRMBOARD   ", 14);
	table_bytes_put(table->bytes + 36, 1, 4);
	table->size = 48;
}

void srat_table_raw(struct srat_table *table, uint8_t type, const void *area, size_t size)
{
	assert(size <= 253 && table->size + size + 2 <= sizeof(table->bytes));
	table->bytes[table->size] = type;
	table->bytes[table->size + 1] = (uint8_t)(size + 2);
	if (size)
		memcpy(table->bytes + table->size + 2, area, size);
	table->size += size + 2;
}

void srat_table_memory(struct srat_table *table, uint32_t domain, uint64_t start, uint64_t bytes, uint32_t flags)
{
	uint8_t area[38] = {0};

	table_bytes_put(area, domain, 4);
	table_bytes_put(area + 6, start, 8);
	table_bytes_put(area + 14, bytes, 8);
	table_bytes_put(area + 26, flags, 4);
	srat_table_raw(table, 1, area, sizeof(area));
}

void srat_table_end(struct srat_table *table)
{
	table_bytes_seal(table->bytes, table->size, "SRAT");
}

void srat_table_qemu(struct srat_table *table)
{
	static const uint8_t cpu[14] = {[2] = 1}, large_cpu[22] = {[10] = 1};

	srat_table_init(table, 1);
	srat_table_raw(table, 0, cpu, sizeof(cpu));
	srat_table_raw(table, 2, large_cpu, sizeof(large_cpu));
	srat_table_memory(table, 0, 0, 2 * GIB, SRAT_TABLE_ENABLED);
	srat_table_memory(table, 1, 4 * GIB, 2 * GIB, SRAT_TABLE_ENABLED);
	srat_table_memory(table, 0, 0, 0, 0);
	srat_table_memory(table, 3, 8 * GIB, 16 * GIB, SRAT_TABLE_ENABLED | SRAT_TABLE_HOTPLUGGABLE);
	srat_table_end(table);
}
