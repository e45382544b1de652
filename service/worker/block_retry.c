/* SPDX-License-Identifier: Apache-2.0 */
#include "block_retry.h"

/* The first try has this part of the block's time. */
#define FIRST_PART 8
/* The kernel names a page that stays a few times a second. */
#define FIRST_LEAST_MS 1000
/* A page that is only taken for a moment has been let go of by then. */
#define MOMENT_MS 100
/* The later pauses: what somebody has in hand for longer than these is not let go of for being waited for. */
#define PAUSE_MAX_MS 10000
/* All of them together take less than half of what is left. */
#define PAUSE_PART 8

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint32_t block_retry_timeout_ms(unsigned round, uint32_t timeout_ms, uint64_t left_ms, size_t count)
{
	uint64_t first_ms = timeout_ms / FIRST_PART, share_ms = left_ms / 2 / (count ? count : 1);

	if (first_ms < FIRST_LEAST_MS)
		first_ms = FIRST_LEAST_MS;
	first_ms = least(first_ms, timeout_ms);
	if (round == 0 || share_ms < first_ms)
		return (uint32_t)first_ms;
	return (uint32_t)least(share_ms, timeout_ms);
}

uint32_t block_retry_pause_ms(unsigned round, uint64_t left_ms)
{
	return (uint32_t)least(round == 1 ? MOMENT_MS : PAUSE_MAX_MS, left_ms / PAUSE_PART);
}
