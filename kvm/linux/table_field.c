/* SPDX-License-Identifier: Apache-2.0 */
#include "table_field.h"

uint64_t table_field(const uint8_t *structure, size_t length, size_t offset, size_t size)
{
	uint64_t value = 0;

	if (offset + size > length)
		return 0;
	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)structure[offset + i] << (8 * i);
	return value;
}
