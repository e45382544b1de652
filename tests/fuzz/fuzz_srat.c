/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an SRAT, as they are and with a right length and checksum, for otherwise nothing behind the header would
 * ever be reached. What parses keeps its promises.
 */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "srat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(const uint8_t *data, size_t size)
{
	struct srat srat;

	if (srat_parse(data, size, &srat) < 0)
		return;
	for (size_t i = 0; i < srat.count; i++) {
		const struct srat_range *range = &srat.ranges[i];

		assert(range->range.start < range->range.end);
		assert(i == 0 || srat.ranges[i - 1].range.start <= range->range.start);
		if (range->is_hotpluggable)
			assert(srat_is_hotpluggable(&srat, range->range.start, range->range.end));
	}
	srat_done(&srat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *table = calloc(size + 1, 1), sum = 0;

	if (!table)
		return 0;
	if (size)
		memcpy(table, data, size);
	try(table, size);
	if (size >= 36) {
		memcpy(table, "SRAT", 4);
		for (size_t i = 0; i < 4; i++)
			table[4 + i] = (uint8_t)(size >> (8 * i));
		table[9] = 0;
		for (size_t i = 0; i < size; i++)
			sum = (uint8_t)(sum + table[i]);
		table[9] = (uint8_t)-sum;
		try(table, size);
	}
	free(table);
	return 0;
}
