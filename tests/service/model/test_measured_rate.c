/* SPDX-License-Identifier: Apache-2.0 */
#include "measured_rate.h"

#include <stdio.h>
#include <string.h>
#include "operation_record.h"
#include "unit.h"

#define MIB	 (UINT64_C(1) << 20)
#define BIT(kind) (UINT32_C(1) << (kind))

static struct operation_record *operation;
static struct measured_rates rates;
static uint64_t now;

static void begin(enum operation_kind kind)
{
	operation = operation_record_new();
	wish_init(&operation->wish, kind);
	operation->state = OPERATION_STATE_SUCCEEDED;
	now = 1000000;
	operation->started_at_ms = operation->ended_at_ms = now;
}

static struct step_record *add(enum step_kind kind, uint64_t bytes, uint64_t ms)
{
	struct step_record *record;
	struct step step;

	step_init(&step, kind);
	record = operation_record_add_step(operation, &step);
	record->state = STEP_STATE_DONE;
	record->started_at_ms = now;
	record->ended_at_ms = operation->ended_at_ms = now = now + ms;
	record->bytes_done = bytes;
	return record;
}

static uint32_t learn(enum rate_kind pages)
{
	uint32_t changed = measured_rates_learn(&rates, operation, pages);

	operation = operation_record_free(operation);
	return changed;
}

static uint64_t per_s(enum rate_kind kind)
{
	return measured_rate_per_s(&rates.of[kind]);
}

static void test_pages(void)
{
	memset(&rates, 0, sizeof(rates));
	CHECK_INT(per_s(RATE_KIND_MOVE), 0);
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_MOVE], 1), 0);
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_MOVE_PAGES, 400 * MIB, 2000);
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_MOVE));
	CHECK_INT(per_s(RATE_KIND_MOVE), 200 * MIB);
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_MOVE], 100 * MIB), 500);
	/* Of other pages it says nothing, and a little is mostly the worker's start. */
	CHECK_INT(per_s(RATE_KIND_MOVE_HUGE), 0);
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_MOVE_PAGES, 15 * MIB, 1000);
	CHECK_INT(learn(RATE_KIND_MOVE), 0);
	/* What is seen last weighs as much as all before it. */
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_MOVE_PAGES, 200 * MIB, 2000)->state = STEP_STATE_PARTIAL;
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_MOVE));
	CHECK_INT(per_s(RATE_KIND_MOVE), 400 * MIB / 3);
	/* Not what was put back, nor what another daemon has begun. */
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_MOVE_PAGES, 400 * MIB, 1)->state = STEP_STATE_UNDONE;
	add(STEP_KIND_MOVE_PAGES, 400 * MIB, 1)->is_taken_up = true;
	CHECK_INT(learn(RATE_KIND_MOVE), 0);
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_MOVE_PAGES, 400 * MIB, 100);
	CHECK_INT(learn(RATE_KIND_MOVE_HUGE), BIT(RATE_KIND_MOVE_HUGE));
	CHECK_INT(per_s(RATE_KIND_MOVE_HUGE), 4000 * MIB);
}

static uint32_t learn_budgeted(uint64_t budget, bool is_shared, uint64_t bytes)
{
	struct step_record *record;

	begin(OPERATION_KIND_MOVE);
	record = add(STEP_KIND_MOVE_PAGES, bytes, 10000);
	record->step.budget_bytes_per_s = budget;
	record->step.budget_is_shared = is_shared;
	return learn(RATE_KIND_MOVE);
}

/* A rate that was kept down says only that the host can do no less. */
static void test_budget(void)
{
	memset(&rates, 0, sizeof(rates));
	CHECK_INT(learn_budgeted(8 * MIB, false, 80 * MIB), BIT(RATE_KIND_MOVE));
	CHECK_INT(per_s(RATE_KIND_MOVE), 8 * MIB);
	CHECK_INT(learn_budgeted(4 * MIB, false, 40 * MIB), 0);
	CHECK_INT(learn_budgeted(100 * MIB, true, 50 * MIB), 0);
	CHECK_INT(per_s(RATE_KIND_MOVE), 8 * MIB);
	CHECK_INT(learn_budgeted(16 * MIB, false, 160 * MIB), BIT(RATE_KIND_MOVE));
	CHECK_INT(per_s(RATE_KIND_MOVE), 16 * MIB);
	/* One that was not, counts in full at once. */
	CHECK_INT(learn_budgeted(0, false, 4000 * MIB), BIT(RATE_KIND_MOVE));
	CHECK_TRUE(per_s(RATE_KIND_MOVE) > 370 * MIB);
	/* Far below its budget it was not kept down by it. */
	CHECK_INT(learn_budgeted(1000 * MIB, false, 2000 * MIB), BIT(RATE_KIND_MOVE));
	CHECK_TRUE(per_s(RATE_KIND_MOVE) < 300 * MIB);
}

static uint32_t learn_blocks(const char *result, enum step_state state)
{
	struct step_record *record;

	begin(OPERATION_KIND_DRAIN);
	record = add(STEP_KIND_OFFLINE_BLOCKS, 1024 * MIB, 31000);
	record->state = state;
	record->result = result ? strdup(result) : NULL;
	return learn(RATE_KIND_MOVE);
}

static void test_blocks(void)
{
	memset(&rates, 0, sizeof(rates));
	/* The half minute that one block refused is no part of it. */
	CHECK_INT(learn_blocks("{\"blocks_offline\":8,\"taken_bytes\":939524096,\"taken_us\":1000000}", STEP_STATE_PARTIAL),
		  BIT(RATE_KIND_OFFLINE));
	CHECK_INT(per_s(RATE_KIND_OFFLINE), 896 * MIB);
	/* None went, or nothing is told. */
	CHECK_INT(learn_blocks("{\"blocks_offline\":0,\"taken_bytes\":0,\"taken_us\":0}", STEP_STATE_PARTIAL), 0);
	CHECK_INT(learn_blocks("{\"taken_bytes\":-5,\"taken_us\":1}", STEP_STATE_DONE), 0);
	CHECK_INT(learn_blocks("{", STEP_STATE_DONE), 0);
	CHECK_INT(learn_blocks(NULL, STEP_STATE_DONE), 0);
	CHECK_INT(learn_blocks("{\"taken_bytes\":9,\"taken_us\":1}", STEP_STATE_FAILED), 0);
	CHECK_INT(per_s(RATE_KIND_OFFLINE), 896 * MIB);
	/* Shorter than a millisecond is not at once. */
	memset(&rates, 0, sizeof(rates));
	learn_blocks("{\"taken_bytes\":134217728,\"taken_us\":10}", STEP_STATE_DONE);
	CHECK_INT(per_s(RATE_KIND_OFFLINE), 128000 * MIB);
}

static void test_sizes(void)
{
	memset(&rates, 0, sizeof(rates));
	begin(OPERATION_KIND_RESIZE);
	add(STEP_KIND_REQUEST, 512 * MIB, 4000);
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_UNPLUG));
	begin(OPERATION_KIND_RESIZE);
	add(STEP_KIND_REQUEST, 512 * MIB, 500)->step.grows = true;
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_PLUG));
	CHECK_INT(per_s(RATE_KIND_UNPLUG), 128 * MIB);
	CHECK_INT(per_s(RATE_KIND_PLUG), 1024 * MIB);
	/* What a move takes out and gives back is free memory, and one that stalled says nothing. */
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_REQUEST, 512 * MIB, 100);
	CHECK_INT(learn(RATE_KIND_MOVE) & (BIT(RATE_KIND_PLUG) | BIT(RATE_KIND_UNPLUG)), 0);
	begin(OPERATION_KIND_RESIZE);
	add(STEP_KIND_REQUEST, 512 * MIB, 100)->state = STEP_STATE_PARTIAL;
	CHECK_INT(learn(RATE_KIND_MOVE), 0);
}

static void test_costs(void)
{
	memset(&rates, 0, sizeof(rates));
	/* 300 ms of steps without bytes and 60 ms between them, of three steps; all but the pages is the child's. */
	begin(OPERATION_KIND_MOVE);
	now += 40;
	add(STEP_KIND_CPUSET, 0, 100);
	now += 30;
	add(STEP_KIND_MEMORY_POLICY, 0, 200);
	now += 30;
	add(STEP_KIND_MOVE_PAGES, 100 * MIB, 1000);
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_MOVE) | BIT(RATE_KIND_STEP) | BIT(RATE_KIND_CHILD));
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_STEP], RATE_EACH), 120);
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_CHILD], RATE_EACH), 400);
	/* Half of what was known and half of the new one. */
	begin(OPERATION_KIND_MOVE);
	now += 100;
	add(STEP_KIND_MOVE_PAGES, 100 * MIB, 1000);
	learn(RATE_KIND_MOVE);
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_CHILD], RATE_EACH), 200);
	/* A drain's steps have their own kinds. */
	begin(OPERATION_KIND_DRAIN);
	add(STEP_KIND_CHILD, 100 * MIB, 60000);
	add(STEP_KIND_EJECT, 0, 3000);
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_EJECT));
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_EJECT], RATE_EACH), 3000);
	/* Nor is it what each step costs that pages came home, and how long hooks took. */
	memset(&rates, 0, sizeof(rates));
	begin(OPERATION_KIND_DRAIN);
	add(STEP_KIND_CORDON, 0, 100);
	add(STEP_KIND_HOST_HOOKS, 0, 60000);
	add(STEP_KIND_OFFLINE_BLOCKS, 100 * MIB, 60000);
	add(STEP_KIND_UNDO, 100 * MIB, 60000)->step.bytes = 100 * MIB;
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_STEP));
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_STEP], RATE_EACH), 25);
	/* Somebody waited there, for a lock or a restart; or it did not come to its end. */
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_CPUSET, 0, 100);
	now += 60000;
	add(STEP_KIND_MOVE_PAGES, 1 * MIB, 1000);
	CHECK_INT(learn(RATE_KIND_MOVE), 0);
	begin(OPERATION_KIND_MOVE);
	add(STEP_KIND_CPUSET, 0, 100);
	operation->state = OPERATION_STATE_CANCELLED;
	CHECK_INT(learn(RATE_KIND_MOVE), 0);
}

/* 200 ms of two plain steps and 100 ms between steps, of all of them. */
static void test_costs_of_a_drain(void)
{
	memset(&rates, 0, sizeof(rates));
	begin(OPERATION_KIND_DRAIN);
	add(STEP_KIND_CORDON, 0, 100);
	/* Two guests at the same time, of which the first takes longest. */
	add(STEP_KIND_CHILD, 100 * MIB, 10000);
	add(STEP_KIND_CHILD, 100 * MIB, 5000);
	operation->steps[1].ended_at_ms = operation->ended_at_ms = now += 20000;
	now += 100;
	add(STEP_KIND_HOST_POOL, 0, 100);
	/* What a hook takes says nothing of other steps, nor does what brings a guest home. */
	add(STEP_KIND_HOST_HOOKS, 0, 60000);
	add(STEP_KIND_UNDO, 100 * MIB, 30000)->step.bytes = 100 * MIB;
	CHECK_INT(learn(RATE_KIND_MOVE), BIT(RATE_KIND_STEP));
	CHECK_INT(measured_rate_ms(&rates.of[RATE_KIND_STEP], RATE_EACH), 300 / 6);
}

static void test_names(void)
{
	for (int kind = 0; kind < RATE_KIND_COUNT; kind++)
		CHECK_INT(rate_kind_from_name(rate_kind_name((enum rate_kind)kind)), kind);
	CHECK_TRUE(rate_kind_is_bytes(RATE_KIND_UNPLUG) && !rate_kind_is_bytes(RATE_KIND_STEP));
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"pages, by their kind", test_pages},
		{"a rate at its budget", test_budget},
		{"blocks that went", test_blocks},
		{"sizes", test_sizes},
		{"what steps cost beside their bytes", test_costs},
		{"what the steps of a drain cost beside their bytes", test_costs_of_a_drain},
		{"names", test_names},
	};

	return unit_main("measured_rate", cases, ARRAY_SIZE(cases));
}
