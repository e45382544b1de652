/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an SRAT. What parses keeps its promises.
 */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include "fuzz_acpi.h"
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
	fuzz_acpi_try(data, size, "SRAT", try);
	return 0;
}
