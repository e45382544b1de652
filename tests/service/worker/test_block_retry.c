/* SPDX-License-Identifier: Apache-2.0 */
#include "block_retry.h"

#include "unit.h"

static void test_timeout(void)
{
	static const struct {
		unsigned round;
		uint32_t timeout_ms;
		uint64_t left_ms;
		size_t count;
		uint32_t wanted_ms;
	} rows[] = {
		/* Short at first, however much there is left. */
		{0, 30000, UINT64_MAX, 8, 3750},
		{0, 30000, 1000, 8, 3750},
		{0, 2000, UINT64_MAX, 8, 1000},
		{0, 500, UINT64_MAX, 1, 500},
		/* Then its own time, */
		{1, 30000, UINT64_MAX, 8, 30000},
		{1, 30000, 60000, 1, 30000},
		/* as far as all have that in half of what is left, */
		{2, 30000, 60000, 3, 10000},
		/* and no less than at first. */
		{2, 30000, 60000, 30, 3750},
		{3, 30000, 60000, 0, 30000},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_INT(block_retry_timeout_ms(rows[i].round, rows[i].timeout_ms, rows[i].left_ms, rows[i].count),
			  rows[i].wanted_ms);
}

static void test_pause(void)
{
	uint64_t left = 40000, spent = 0;

	CHECK_INT(block_retry_pause_ms(1, UINT64_MAX), 100);
	CHECK_INT(block_retry_pause_ms(2, UINT64_MAX), 10000);
	CHECK_INT(block_retry_pause_ms(2, 40000), 5000);
	CHECK_INT(block_retry_pause_ms(1, 80), 10);
	for (unsigned round = 1; round < BLOCK_RETRY_ROUNDS; round++) {
		uint32_t pause = block_retry_pause_ms(round, left - spent);

		CHECK_TRUE(pause > 0);
		spent += pause;
	}
	CHECK_TRUE(spent < left / 2);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"timeout", test_timeout},
		{"pause", test_pause},
	};

	return unit_main("block_retry", cases, sizeof(cases) / sizeof(cases[0]));
}
