/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that the pattern program writes, so that another process can know its pages again.
 *
 * A page holds one word in the beginning of each of its 64 cache lines, made of the page's number,
 * its generation and the line.
 */
#ifndef BALLAST_TEST_PATTERN_WORD_H
#define BALLAST_TEST_PATTERN_WORD_H

#include <stdint.h>

#define PATTERN_PAGE_BYTES 4096u
#define PATTERN_LINE_WORDS 8u
#define PATTERN_LINES	   (PATTERN_PAGE_BYTES / 8u / PATTERN_LINE_WORDS)

/* Different for every (page, generation, line), and never zero in practice: a lost page reads as
 * zeros. */
static inline uint64_t pattern_word(uint64_t page, uint64_t generation, uint64_t line)
{
	uint64_t x = page * 0x9e3779b97f4a7c15u + generation * 0xbf58476d1ce4e5b9u +
		     line * 0x94d049bb133111ebu + 1;

	x ^= x >> 31;
	x *= 0xd6e8feb86659fd93u;
	return x ^ (x >> 29);
}

#endif
