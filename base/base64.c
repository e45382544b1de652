/* SPDX-License-Identifier: Apache-2.0 */
#include "base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const uint8_t *bytes, size_t size)
{
	char *text = malloc((size + 2) / 3 * 4 + 1), *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i += 3) {
		uint32_t group = (uint32_t)bytes[i] << 16;

		if (i + 1 < size)
			group |= (uint32_t)bytes[i + 1] << 8;
		if (i + 2 < size)
			group |= bytes[i + 2];
		*at++ = letters[group >> 18];
		*at++ = letters[group >> 12 & 63];
		*at++ = i + 1 < size ? letters[group >> 6 & 63] : '=';
		*at++ = i + 2 < size ? letters[group & 63] : '=';
	}
	*at = '\0';
	return text;
}

static int value_of(char letter)
{
	if (letter >= 'A' && letter <= 'Z')
		return letter - 'A';
	if (letter >= 'a' && letter <= 'z')
		return letter - 'a' + 26;
	if (letter >= '0' && letter <= '9')
		return letter - '0' + 52;
	return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Up to three bytes of four letters, of which the last used may be padding. Their number, or -EINVAL. */
static int decode_group(const char *text, size_t used, uint8_t *bytes)
{
	uint32_t group = 0;

	for (size_t i = 0; i < 4; i++) {
		int value = i < used ? value_of(text[i]) : 0;

		if (value < 0)
			return -EINVAL;
		group = group << 6 | (uint32_t)value;
	}
	for (size_t i = 0; i + 1 < used; i++)
		bytes[i] = (uint8_t)(group >> (16 - 8 * i));
	return group & ((UINT32_C(1) << (32 - 8 * used)) - 1) ? -EINVAL : (int)used - 1;
}

int base64_decode(const char *text, uint8_t **ret_bytes, size_t *ret_size)
{
	size_t length = strlen(text), size = 0;
	uint8_t *bytes;

	if (length % 4)
		return -EINVAL;
	bytes = malloc(length / 4 * 3 + 1);
	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < length; i += 4) {
		bool is_last = i + 4 == length;
		size_t used = is_last && text[i + 3] == '=' ? text[i + 2] == '=' ? 2 : 3 : 4;
		int got = decode_group(text + i, used, bytes + size);

		if (got < 0) {
			free(bytes);
			return got;
		}
		size += (size_t)got;
	}
	*ret_bytes = bytes;
	*ret_size = size;
	return 0;
}
