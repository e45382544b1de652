/* SPDX-License-Identifier: Apache-2.0 */
#include "table_bytes.h"

#include <string.h>

void table_bytes_put(uint8_t *at, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

void table_bytes_seal(uint8_t *table, size_t size, const char *signature)
{
	uint8_t sum = 0;

	memcpy(table, signature, 4);
	table_bytes_put(table + 4, size, 4);
	table[9] = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + table[i]);
	table[9] = (uint8_t)-sum;
}
