/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_world.h"
#include "unit.h"

static void batches_follow_the_speed(void)
{
	/* 15 MiB/s: a call of 400 ms would be 6 MiB, so the floor holds. At 120 MiB/s and more the ceiling does. */
	static const struct {
		double bytes_per_us;
		uint64_t page_bytes, expected;
	} table[] = {{15.7, 4096, 8 * MIB},
		     {62.9, 4096, 0},
		     {125.8, 4096, 32 * MIB},
		     {2000, 4096, 32 * MIB},
		     {500, 2 * MIB, 0},
		     {2000, 2 * MIB, 256 * MIB}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct pace_input input = {.page_bytes = table[i].page_bytes, .stall_us = 10000};
		uint64_t aim = (uint64_t)(table[i].bytes_per_us * 400000);

		for (int round = 0; round < 20; round++) {
			struct pace pace = pace_next(&input);

			CHECK_TRUE(pace.batch_bytes >= 8 * MIB);
			CHECK_INT(pace.batch_bytes % table[i].page_bytes, 0);
			CHECK_INT(pace.pause_us, 0);
			input.last = pace;
			input.call_bytes = pace.batch_bytes;
			input.call_us = (uint64_t)((double)pace.batch_bytes / table[i].bytes_per_us);
		}
		if (table[i].expected)
			CHECK_INT(input.last.batch_bytes, table[i].expected);
		else
			CHECK_TRUE(input.last.batch_bytes <= aim && input.last.batch_bytes > aim / 2);
	}
}

/* What each call costs however small it is, is spread over as much as fits. */
static void a_fixed_cost_makes_large_batches(void)
{
	struct pace_input input = {.page_bytes = 4096, .last.batch_bytes = 4 * MIB};
	uint64_t bytes = 0, us = 0;

	for (int call = 0; call < 20; call++) {
		input.call_bytes = input.last.batch_bytes;
		input.call_us = 200000 + input.call_bytes / 100;
		bytes += input.call_bytes;
		us += input.call_us;
		CHECK_TRUE(input.call_us < 500000);
		input.last = pace_next(&input);
	}
	CHECK_TRUE(input.last.batch_bytes > 16 * MIB);
	/* Batches of 8 MiB would go at 28 MiB/s. */
	CHECK_TRUE(bytes / MIB * 1000000 / us > 40);
	/* One that took seconds is followed by smaller ones, but by none below the floor. */
	for (int call = 0; call < 5; call++) {
		input.call_bytes = input.last.batch_bytes;
		input.call_us = 5000000;
		input.last = pace_next(&input);
	}
	CHECK_INT(input.last.batch_bytes, 8 * MIB);
}

static void a_guest_that_feels_it_halves_the_batch(void)
{
	struct pace_input input = {.last.batch_bytes = 16 * MIB,
				   .call_us = 4000,
				   .call_bytes = 16 * MIB,
				   .page_bytes = 4096,
				   .stall_us = 10000,
				   .guest_pause_us = 20000};

	CHECK_INT(pace_next(&input).batch_bytes, 8 * MIB);
	/* Down to one chunk of the kernel's, and no further: that would stall more. */
	input.last.batch_bytes = 3 * MIB;
	CHECK_INT(pace_next(&input).batch_bytes, 2 * MIB);
}

static void the_rate_is_kept_by_pausing(void)
{
	struct pace_input input = {.last.batch_bytes = 4 * MIB,
				   .call_us = 10000,
				   .call_bytes = 4 * MIB,
				   .page_bytes = 4096,
				   .bytes_per_s = 40 * MIB};
	struct pace pace = pace_next(&input);

	CHECK_INT(pace.pause_us, 90000);
	CHECK_INT(pace.batch_bytes, 8 * MIB);
	/* A slow budget makes small batches, but not smaller than what stalls less. */
	input.bytes_per_s = 1 * MIB;
	CHECK_INT(pace_next(&input).batch_bytes, 8 * MIB);
	CHECK_INT(pace_next(&input).pause_us, 3990000);
}

static void gigantic_pages_go_one_by_one(void)
{
	struct pace_input input = {.page_bytes = GIB, .stall_us = 10000};

	input.last = pace_next(&input);
	CHECK_INT(input.last.batch_bytes, GIB);
	input.call_us = 300000;
	input.call_bytes = GIB;
	CHECK_INT(pace_next(&input).batch_bytes, GIB);
}

static const struct unit_case cases[] = {
	{"batches follow the speed", batches_follow_the_speed},
	{"a fixed cost makes large batches", a_fixed_cost_makes_large_batches},
	{"a guest that feels it halves the batch", a_guest_that_feels_it_halves_the_batch},
	{"the rate is kept by pausing", the_rate_is_kept_by_pausing},
	{"gigantic pages go one by one", gigantic_pages_go_one_by_one},
};

int main(void)
{
	return unit_main("pace", cases, sizeof(cases) / sizeof(cases[0]));
}
