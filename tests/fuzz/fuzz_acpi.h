/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an ACPI table, as they are and with a right signature, length and checksum, for otherwise nothing behind
 * the header would ever be reached.
 */
#ifndef BALLAST_TESTS_FUZZ_ACPI_H
#define BALLAST_TESTS_FUZZ_ACPI_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "acpi_table.h"
#include "table_bytes.h"

static inline void fuzz_acpi_try(const uint8_t *data, size_t size, const char *signature,
				 void (*try)(const uint8_t *data, size_t size))
{
	uint8_t *table = calloc(size + 1, 1);

	if (!table)
		return;
	if (size)
		memcpy(table, data, size);
	try(table, size);
	if (size >= ACPI_TABLE_HEADER_BYTES) {
		table_bytes_seal(table, size, signature);
		try(table, size);
	}
	free(table);
}

#endif
