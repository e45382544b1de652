/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pacing of a mover.
 *
 * A guest that touches a page on its way waits for the chunk of 512 small pages, or the one huge page, that the kernel
 * has unmapped together (mm/migrate.c NR_MAX_BATCHED_MIGRATION): not for the call. What a call does cost the whole host,
 * however small it is, is a drain of every CPU's page caches and a wait for all of them (do_pages_move,
 * lru_cache_disable): next to a guest that computes all the time that wait may be most of the call. So calls are as
 * large as fits the time in which a pause or a cancel must be heard, because a call cannot be interrupted, as long as
 * nobody is heard to suffer. Aiming at a time and not at a share of it finds that size whatever the wait costs.
 */
#include "plan.h"

#include <stdbool.h>
#include "size_text.h"

/* 512 small pages: one chunk. Below it calls stalled guests forty times longer, not shorter. */
#define FLOOR_BYTES (2 * SIZE_TEXT_MIB)
/* 2048 small pages: from here on a call's fixed cost is a tenth of it. */
#define CALM_FLOOR_BYTES (8 * SIZE_TEXT_MIB)
/* 8192 small pages: with more, calls are not cheaper, only longer. */
#define CEILING_BYTES	   (32 * SIZE_TEXT_MIB)
#define HUGE_CEILING_BYTES (256 * SIZE_TEXT_MIB)
/* A pause or a cancel is heard between two calls: within a second, also when one takes twice as long as the last. */
#define CALL_AIM_US 400000
/* A guard against nonsense; the caller waits in small pieces anyway. */
#define PAUSE_MAX_US 60000000

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	if (value < low)
		return low;
	return value > high ? high : value;
}

struct pace pace_next(const struct pace_input *input)
{
	uint64_t page = input->page_bytes ? input->page_bytes : 4096;
	bool suffers = input->stall_us && input->guest_pause_us > input->stall_us;
	uint64_t floor = suffers ? FLOOR_BYTES : CALM_FLOOR_BYTES;
	uint64_t low = page > floor ? page : floor;
	uint64_t high = page > 4096 ? HUGE_CEILING_BYTES : CEILING_BYTES;
	uint64_t batch = input->last.batch_bytes;
	struct pace pace = {0};

	if (high < low)
		high = low;
	if (batch == 0) {
		pace.batch_bytes = low / page * page;
		return pace;
	}
	if (suffers) {
		batch /= 2;
	} else if (input->call_us && input->call_bytes >= batch / 2) {
		/* A call that moved little says little about speed. */
		uint64_t fits = (uint64_t)((double)input->call_bytes / (double)input->call_us * CALL_AIM_US);

		batch = clamp(fits, batch / 2, batch * 2);
	}
	/* No more than a second's worth: a long silence after a large batch is no even rate. */
	if (input->bytes_per_s && batch > input->bytes_per_s)
		batch = input->bytes_per_s;
	pace.batch_bytes = clamp(batch / page * page, low, high);
	if (input->bytes_per_s) {
		double due_us = (double)input->call_bytes * 1e6 / (double)input->bytes_per_s;

		if (due_us > (double)input->call_us)
			pace.pause_us = due_us - (double)input->call_us < PAUSE_MAX_US
						? (uint32_t)(due_us - (double)input->call_us)
						: PAUSE_MAX_US;
	}
	return pace;
}
