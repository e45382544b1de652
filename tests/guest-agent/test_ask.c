/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include "agent_config.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static struct agent_config config;
static struct ask ask;
static struct ask_input input;

static void start(void)
{
	agent_config_init(&config);
	ask = (struct ask){0};
	input = (struct ask_input){.total_bytes = 1000 * MIB, .now_ms = 5000};
}

static uint64_t look(void)
{
	ask_look(&ask, &config, &input);
	return ask.wanted_bytes / MIB;
}

static void answer(uint64_t mib, enum message_result_code code)
{
	ask_answered(&ask, &(struct message_answer_wish){.wanted_bytes = mib * MIB, .code = code}, input.total_bytes,
		     input.now_ms);
}

static void asks_for_nothing_by_itself(void)
{
	start();
	input.pressure.some_avg10_x100 = 9000;
	CHECK_INT(look(), 0);
}

static void what_the_owner_wants(void)
{
	start();
	config.memory_wanted_bytes = 1000 * MIB;
	CHECK_INT(look(), 0);
	config.memory_wanted_bytes = 2048 * MIB;
	CHECK_INT(look(), 2048);
	/* Until it is answered, and to nothing else. */
	answer(1024, MESSAGE_RESULT_OK);
	CHECK_INT(look(), 2048);
	answer(2048, MESSAGE_RESULT_OK);
	CHECK_INT(look(), 0);
	/* The kernel keeps some for itself: that is no reason to ask again. */
	input.now_ms += 10 * ASK_PAUSE_MS;
	input.total_bytes = 2000 * MIB;
	CHECK_INT(look(), 0);
	/* It was taken away again. */
	input.total_bytes = 900 * MIB;
	CHECK_INT(look(), 2048);
}

static void a_no_is_heard(void)
{
	start();
	config.memory_wanted_bytes = 2048 * MIB;
	CHECK_INT(look(), 2048);
	for (uint64_t pause = ASK_PAUSE_MS; pause <= 4 * ASK_PAUSE_MS; pause *= 2) {
		answer(2048, MESSAGE_RESULT_VETOED);
		input.now_ms += pause - 1;
		CHECK_INT(look(), 0);
		input.now_ms++;
		CHECK_INT(look(), 2048);
	}
	/* Another size is another question. */
	answer(2048, MESSAGE_RESULT_VETOED);
	config.memory_wanted_bytes = 1536 * MIB;
	CHECK_INT(look(), 1536);
}

/* The rest is asked for again: the host's policy may allow more by then. */
static void a_part_is_not_all(void)
{
	start();
	config.memory_wanted_bytes = 3072 * MIB;
	for (int i = 0; i < 3; i++) {
		CHECK_INT(look(), 3072);
		answer(3072, MESSAGE_RESULT_PARTIAL);
		input.total_bytes += 500 * MIB;
		input.now_ms += ASK_PAUSE_MS - 1;
		CHECK_INT(look(), 0);
		input.now_ms++;
	}
	/* There is no more to be had for now. */
	CHECK_INT(look(), 3072);
	answer(3072, MESSAGE_RESULT_VETOED);
	input.now_ms += 2 * ASK_PAUSE_MS - 1;
	CHECK_INT(look(), 0);
	input.now_ms++;
	CHECK_INT(look(), 3072);
	answer(3072, MESSAGE_RESULT_OK);
	input.now_ms += 10 * ASK_PAUSE_MS;
	CHECK_INT(look(), 0);
}

static void under_pressure(void)
{
	start();
	config.ask_pressure_percent = 20;
	input.pressure.some_avg10_x100 = MESSAGE_PRESSURE_NONE;
	CHECK_INT(look(), 0);
	input.pressure.some_avg10_x100 = 1999;
	CHECK_INT(look(), 0);
	input.pressure.some_avg10_x100 = 2000;
	CHECK_INT(look(), 1256);
	/* The same, whatever the pressure does meanwhile, unless it goes away. */
	input.pressure.some_avg10_x100 = 1000;
	CHECK_INT(look(), 1256);
	answer(1256, MESSAGE_RESULT_OK);
	input.total_bytes = 1240 * MIB;
	input.pressure.some_avg10_x100 = 5000;
	/* What has come needs its time. */
	CHECK_INT(look(), 0);
	input.now_ms += ASK_PAUSE_MS;
	CHECK_INT(look(), 1496);
	input.pressure.some_avg10_x100 = 999;
	CHECK_INT(look(), 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"it asks for nothing by itself", asks_for_nothing_by_itself},
		{"what the owner wants", what_the_owner_wants},
		{"a no is heard", a_no_is_heard},
		{"a part is not all", a_part_is_not_all},
		{"under pressure", under_pressure},
	};

	return unit_main("ask", cases, sizeof(cases) / sizeof(cases[0]));
}
