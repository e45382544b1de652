/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes as people write them: 4GiB, 512MiB, 2048KiB, 4096.
 */
#ifndef BALLAST_BASE_SIZE_TEXT_H
#define BALLAST_BASE_SIZE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define SIZE_TEXT_KIB (UINT64_C(1) << 10)
#define SIZE_TEXT_MIB (UINT64_C(1) << 20)
#define SIZE_TEXT_GIB (UINT64_C(1) << 30)
#define SIZE_TEXT_TIB (UINT64_C(1) << 40)

#define SIZE_TEXT_SIZE 24

/*
 * Parses the whole of text: a decimal number, at most one point with digits, and one of
 * B, K, KiB, M, MiB, G, GiB, T, TiB (any case; none means bytes). Powers of 1024 only.
 * Returns 0; -EINVAL where it is no size or is not a whole number of bytes; -ERANGE beyond 2^63-1.
 */
int size_text_parse(const char *text, uint64_t *ret_bytes);

/*
 * Writes "1.5 GiB", "1408 MiB", "0 B": the largest unit that keeps 1 or more, or the next smaller one where that is exact
 * and below 10000; at most one decimal, rounded down. Returns text.
 */
const char *size_text_format(uint64_t bytes, char text[SIZE_TEXT_SIZE]);

/*
 * Parses the whole of text as a decimal (or, with base 16, hexadecimal with optional 0x) number.
 * No sign, no blanks. Returns 0, -EINVAL or -ERANGE.
 */
int size_text_parse_number(const char *text, int base, uint64_t *ret_number);

#endif
