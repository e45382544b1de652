/* SPDX-License-Identifier: Apache-2.0 */
#include "size_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *suffix;
	uint64_t factor;
} units[] = {
	{"", 1},		  {"b", 1},		    {"k", SIZE_TEXT_KIB},
	{"kib", SIZE_TEXT_KIB},   {"m", SIZE_TEXT_MIB},     {"mib", SIZE_TEXT_MIB},
	{"g", SIZE_TEXT_GIB},     {"gib", SIZE_TEXT_GIB},   {"t", SIZE_TEXT_TIB},
	{"tib", SIZE_TEXT_TIB},
};

int size_text_parse_number(const char *text, int base, uint64_t *ret_number)
{
	char *end;

	if (base == 16 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	/* strtoull() would accept blanks, signs and a second 0x. */
	if (!(base == 16 ? isxdigit((unsigned char)text[0]) : isdigit((unsigned char)text[0])))
		return -EINVAL;
	if (base == 16 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return -EINVAL;
	errno = 0;
	unsigned long long number = strtoull(text, &end, base);
	int error = errno;

	if (*end)
		return -EINVAL;
	if (error)
		return -error;
	*ret_number = number;
	return 0;
}

int size_text_parse(const char *text, uint64_t *ret_bytes)
{
	uint64_t whole = 0, fraction = 0, scale = 1, factor = 0;
	const char *p = text;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++) {
		unsigned digit = (unsigned)(*p - '0');

		if (whole > ((uint64_t)INT64_MAX - digit) / 10)
			return -ERANGE;
		whole = whole * 10 + digit;
	}
	if (*p == '.') {
		p++;
		if (!isdigit((unsigned char)*p))
			return -EINVAL;
		for (; isdigit((unsigned char)*p); p++) {
			/* Nine digits tell 1 TiB apart to the KiB; more is a slip of the hand. */
			if (scale == UINT64_C(1000000000))
				return -EINVAL;
			fraction = fraction * 10 + (unsigned)(*p - '0');
			scale *= 10;
		}
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcasecmp(p, units[i].suffix) == 0)
			factor = units[i].factor;
	if (factor == 0)
		return -EINVAL;
	if (whole > (uint64_t)INT64_MAX / factor)
		return -ERANGE;
	__extension__ unsigned __int128 part = (unsigned __int128)fraction * factor;

	if (part % scale != 0)
		return -EINVAL;
	uint64_t bytes = whole * factor + (uint64_t)(part / scale);

	if (bytes > INT64_MAX)
		return -ERANGE;
	*ret_bytes = bytes;
	return 0;
}

const char *size_text_format(uint64_t bytes, char text[SIZE_TEXT_SIZE])
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;

	while (unit < 6 && bytes >> (10 * (unit + 1)) != 0)
		unit++;
	uint64_t rest = unit ? (bytes >> (10 * (unit - 1))) & 1023 : 0;
	bool is_whole_below = unit && (bytes & ((UINT64_C(1) << (10 * (unit - 1))) - 1)) == 0;

	/* 1408 MiB and not 1.3 GiB: what one decimal would cut is told in full where that is short. */
	if (is_whole_below && rest * 10 % 1024 != 0 && bytes >> (10 * (unit - 1)) < 10000) {
		unit--;
		rest = 0;
	}
	/* Rounded down, so that nothing ever reads as more than it is. */
	unsigned tenth = (unsigned)(rest * 10 / 1024);
	unsigned long long whole = bytes >> (10 * unit);

	if (tenth)
		snprintf(text, SIZE_TEXT_SIZE, "%llu.%u %s", whole, tenth, names[unit]);
	else
		snprintf(text, SIZE_TEXT_SIZE, "%llu %s", whole, names[unit]);
	return text;
}
