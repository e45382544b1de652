/* SPDX-License-Identifier: Apache-2.0 */
#include "measured_rate.h"

#include <jansson.h>
#include "operation_record.h"

/* Of less, starting the worker is most of it. */
#define LEAST_BYTES (UINT64_C(16) << 20)
/* Between two steps: what takes longer was no work of ours, but a wait. */
#define GAP_MS_MAX 10000
/* A budget is kept on average: a rate above so much of it was the budget's. */
#define BUDGET_PERCENT 80

static const char *const names[RATE_KIND_COUNT] = {
	[RATE_KIND_MOVE] = "move",
	[RATE_KIND_MOVE_HUGE] = "move_huge",
	[RATE_KIND_MOVE_GIGANTIC] = "move_gigantic",
	[RATE_KIND_OFFLINE] = "offline",
	[RATE_KIND_PLUG] = "plug",
	[RATE_KIND_UNPLUG] = "unplug",
	[RATE_KIND_STEP] = "step",
	[RATE_KIND_CHILD] = "child",
	[RATE_KIND_EJECT] = "eject",
};
NAME_TABLE_DEFINE(rate_kind, names)

bool rate_kind_is_bytes(enum rate_kind kind)
{
	return kind < RATE_KIND_STEP;
}

uint64_t measured_rate_ms(const struct measured_rate *rate, uint64_t amount)
{
	return rate->amount ? (uint64_t)((double)amount * (double)rate->ms / (double)rate->amount) : 0;
}

uint64_t measured_rate_per_s(const struct measured_rate *rate)
{
	return rate->amount ? (uint64_t)((double)rate->amount * 1000 / (double)(rate->ms ? rate->ms : 1)) : 0;
}

static uint32_t take(struct measured_rates *rates, enum rate_kind kind, uint64_t amount, uint64_t ms)
{
	struct measured_rate *rate = &rates->of[kind];

	rate->amount = rate->amount / 2 + amount;
	rate->ms = rate->ms / 2 + ms;
	return UINT32_C(1) << kind;
}

/* Of a rate at its budget nobody knows how much faster it could have been: anything else soon outweighs it. */
static uint32_t take_held_back(struct measured_rates *rates, enum rate_kind kind, uint64_t bytes, uint64_t ms)
{
	struct measured_rate *rate = &rates->of[kind], seen = {.amount = bytes, .ms = ms};

	if (measured_rate_per_s(rate) >= measured_rate_per_s(&seen))
		return 0;
	*rate = (struct measured_rate){.amount = LEAST_BYTES, .ms = measured_rate_ms(&seen, LEAST_BYTES)};
	return UINT32_C(1) << kind;
}

static uint64_t took_ms(const struct step_record *record)
{
	return record->ended_at_ms > record->started_at_ms ? record->ended_at_ms - record->started_at_ms : 0;
}

static uint32_t learn_pages(struct measured_rates *rates, const struct step_record *record, enum rate_kind pages)
{
	uint64_t ms = took_ms(record), budget = record->step.budget_bytes_per_s;

	if (!ms || record->bytes_done < LEAST_BYTES || record->is_taken_up)
		return 0;
	/* One that is shared may have been divided. */
	if (budget && (record->step.budget_is_shared || record->bytes_done / ms >= budget / 1000 * BUDGET_PERCENT / 100))
		return take_held_back(rates, pages, record->bytes_done, ms);
	return take(rates, pages, record->bytes_done, ms);
}

/* The blocks that went, without the time that others refused. */
static uint32_t learn_blocks(struct measured_rates *rates, const struct step_record *record)
{
	json_t *result = record->result ? json_loads(record->result, 0, NULL) : NULL;
	json_int_t bytes = json_integer_value(json_object_get(result, "taken_bytes"));
	json_int_t us = json_integer_value(json_object_get(result, "taken_us"));

	json_decref(result);
	if (bytes <= 0 || us <= 0)
		return 0;
	return take(rates, RATE_KIND_OFFLINE, (uint64_t)bytes, ((uint64_t)us + 999) / 1000);
}

static uint32_t learn_step(struct measured_rates *rates, const struct operation_record *operation,
			   const struct step_record *record, enum rate_kind pages)
{
	bool is_done = record->state == STEP_STATE_DONE && !record->is_taken_up && took_ms(record);

	if (!is_done && record->state != STEP_STATE_PARTIAL)
		return 0;
	if (record->step.kind == STEP_KIND_MOVE_PAGES)
		return learn_pages(rates, record, pages);
	if (record->step.kind == STEP_KIND_OFFLINE_BLOCKS)
		return learn_blocks(rates, record);
	if (record->step.kind == STEP_KIND_EJECT && is_done)
		return take(rates, RATE_KIND_EJECT, RATE_EACH, took_ms(record));
	if (record->step.kind == STEP_KIND_REQUEST && is_done && record->bytes_done >= LEAST_BYTES &&
	    operation->wish.kind == OPERATION_KIND_RESIZE)
		return take(rates, record->step.grows ? RATE_KIND_PLUG : RATE_KIND_UNPLUG, record->bytes_done,
			    took_ms(record));
	return 0;
}

/* Does a plan reckon no more for such a step than what each costs? What hooks take is their own affair. */
static bool is_plain(const struct step *step)
{
	enum step_kind kind = step->kind;

	if (kind == STEP_KIND_HOST_HOOKS || (kind == STEP_KIND_UNDO && step->bytes))
		return false;
	return kind != STEP_KIND_MOVE_PAGES && kind != STEP_KIND_CHILD && kind != STEP_KIND_OFFLINE_BLOCKS &&
	       kind != STEP_KIND_REQUEST && kind != STEP_KIND_EJECT && kind != STEP_KIND_AWAIT && kind != STEP_KIND_LAZY;
}

/* All of an operation that is not reckoned by bytes, for each of its steps. */
static uint32_t learn_costs(struct measured_rates *rates, const struct operation_record *operation)
{
	uint64_t ms = 0, pages_ms = 0, all_ms = operation->ended_at_ms - operation->started_at_ms;
	uint64_t last_end_ms = UINT64_MAX;	/* several children may run at a time */
	bool has_moved = false;
	uint32_t changed = 0;

	for (size_t i = 0; i < operation->step_count; i++) {
		const struct step_record *record = &operation->steps[i];

		if (record->is_taken_up || record->step.kind == STEP_KIND_AWAIT || record->step.kind == STEP_KIND_LAZY ||
		    step_replugs(&record->step))
			return 0;
		if (record->started_at_ms > last_end_ms) {
			uint64_t gap = record->started_at_ms - last_end_ms;

			if (gap > GAP_MS_MAX)
				return 0;
			ms += gap;
		}
		if (!i || record->ended_at_ms > last_end_ms)
			last_end_ms = record->ended_at_ms;
		ms += is_plain(&record->step) ? took_ms(record) : 0;
		if (record->step.kind == STEP_KIND_MOVE_PAGES) {
			has_moved = true;
			pages_ms += took_ms(record);
		}
	}
	if (ms)
		changed |= take(rates, RATE_KIND_STEP, operation->step_count * RATE_EACH, ms);
	if (has_moved && all_ms > pages_ms)
		changed |= take(rates, RATE_KIND_CHILD, RATE_EACH, all_ms - pages_ms);
	return changed;
}

uint32_t measured_rates_learn(struct measured_rates *rates, const struct operation_record *operation,
			      enum rate_kind pages)
{
	uint32_t changed = 0;

	for (size_t i = 0; i < operation->step_count; i++)
		changed |= learn_step(rates, operation, &operation->steps[i], pages);
	if (operation->state == OPERATION_STATE_SUCCEEDED && operation->started_at_ms &&
	    operation->ended_at_ms > operation->started_at_ms &&
	    (operation->wish.kind == OPERATION_KIND_MOVE || operation->wish.kind == OPERATION_KIND_DRAIN))
		changed |= learn_costs(rates, operation);
	return changed;
}
