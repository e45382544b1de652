/* SPDX-License-Identifier: Apache-2.0 */
#include "name_table.h"

#include <string.h>

const char *name_table_name(const char *const *names, size_t count, int value)
{
	if (value < 0 || (size_t)value >= count || !names[value])
		return "unknown";
	return names[value];
}

int name_table_value(const char *const *names, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (names[i] && strcmp(names[i], text) == 0)
			return (int)i;
	return -1;
}
