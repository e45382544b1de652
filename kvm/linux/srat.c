/* SPDX-License-Identifier: Apache-2.0 */
#include "srat.h"

#include <errno.h>
#include <stdlib.h>
#include "acpi_table.h"
#include "cleanup.h"
#include "table_field.h"

/* 5.2.16: four bytes that must be 1 and eight that are reserved stand between the header and the structures. */
#define STRUCTURES_OFFSET (ACPI_TABLE_HEADER_BYTES + 12)

#define TYPE_MEMORY	 1
#define MEMORY_BYTES	 40
#define FLAG_ENABLED	 1
#define FLAG_HOTPLUGGABLE 2

/* 0 where there is nothing to take. */
static int take_range(const struct acpi_table *table, const struct acpi_structure *structure, struct srat_range *ret_range)
{
	const uint8_t *data = structure->data;
	uint64_t start = table_field(data, structure->length, 8, 8);
	uint64_t bytes = table_field(data, structure->length, 16, 8);
	uint64_t flags = table_field(data, structure->length, 28, 4);
	uint64_t domain = table_field(data, structure->length, 2, 4);

	if (structure->type != TYPE_MEMORY)
		return 0;
	if (structure->length < MEMORY_BYTES)
		return -EBADMSG;
	if (!(flags & FLAG_ENABLED) || bytes == 0)
		return 0;
	if (start + bytes < start)
		return -EBADMSG;
	*ret_range = (struct srat_range){
		.range = {start, start + bytes},
		/* The first revision had one byte for it and what not behind. */
		.domain = (uint32_t)(table->revision < 2 ? domain & 0xff : domain),
		.is_hotpluggable = flags & FLAG_HOTPLUGGABLE,
	};
	return 1;
}

static int compare_ranges(const void *left, const void *right)
{
	const struct srat_range *a = left, *b = right;

	return (a->range.start > b->range.start) - (a->range.start < b->range.start);
}

int srat_parse(const void *data, size_t size, struct srat *ret_srat)
{
	CLEANUP(srat_done) struct srat srat = {0};
	size_t offset = STRUCTURES_OFFSET;
	struct acpi_structure structure;
	struct acpi_table table;
	int r = acpi_table_open(data, size, "SRAT", &table);

	if (r < 0)
		return r;
	if (table.size < STRUCTURES_OFFSET)
		return -EBADMSG;
	srat.ranges = calloc(table.size / MEMORY_BYTES + 1, sizeof(*srat.ranges));
	if (!srat.ranges)
		return -ENOMEM;
	while ((r = acpi_table_next(&table, &offset, &structure)) > 0) {
		int taken = take_range(&table, &structure, &srat.ranges[srat.count]);

		if (taken < 0)
			return taken;
		srat.count += (size_t)taken;
	}
	if (r < 0)
		return r;
	qsort(srat.ranges, srat.count, sizeof(*srat.ranges), compare_ranges);
	*ret_srat = srat;
	srat = (struct srat){0};
	return 0;
}

int srat_read(const struct sysroot *sysroot, struct srat *ret_srat)
{
	CLEANUP_FREE char *data = NULL;
	size_t size;
	int r = acpi_table_read(sysroot, "SRAT", &data, &size);

	return r < 0 ? r : srat_parse(data, size, ret_srat);
}

void srat_done(struct srat *srat)
{
	free(srat->ranges);
	*srat = (struct srat){0};
}

bool srat_is_hotpluggable(const struct srat *srat, uint64_t start, uint64_t end)
{
	uint64_t covered = start;

	for (size_t i = 0; i < srat->count && covered < end; i++) {
		const struct srat_range *range = &srat->ranges[i];

		if (range->is_hotpluggable && range->range.start <= covered && range->range.end > covered)
			covered = range->range.end;
	}
	return start < end && covered >= end;
}

bool srat_domain_at(const struct srat *srat, uint64_t address, uint32_t *ret_domain)
{
	for (size_t i = 0; i < srat->count; i++) {
		const struct srat_range *range = &srat->ranges[i];

		if (range->range.start <= address && address < range->range.end) {
			*ret_domain = range->domain;
			return true;
		}
	}
	return false;
}
