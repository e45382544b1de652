/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a plan takes: what each step costs by its bytes, and what each costs beside them. By what operations on this
 * host have shown; where they have not shown it yet, by an assumption, and then that is said.
 *
 * A rate of pages is that of one move. Those that were measured are of moves as they ran: alone, or beside others that took
 * their part of the machine. So moves that a drain runs beside each other are reckoned at that rate each, which is what they
 * had the last time; where it was learnt of one alone they may be slower, and then at worst as if they went one after the
 * other, which is what a deadline goes by.
 */
#include "plan_priv.h"

#include <stdlib.h>
#include <string.h>
#include "guest_index.h"
#include "size_text.h"

/* 1 GiB of blocks that still held 200 MiB took 1.8 s. */
#define OFFLINE_BYTES_PER_S (500 * SIZE_TEXT_MIB)
/* Starting a worker, looking again. */
#define EACH_MS 500

enum rate_kind plan_rate_kind(const struct snapshot_guest *guest)
{
	uint64_t page = plan_guest_huge_page(guest);

	if (!page)
		return RATE_KIND_MOVE;
	return page < SIZE_TEXT_GIB ? RATE_KIND_MOVE_HUGE : RATE_KIND_MOVE_GIGANTIC;
}

uint64_t plan_measured_rate(const struct snapshot *snapshot, const struct snapshot_guest *guest)
{
	return measured_rate_per_s(&snapshot->rates.of[plan_rate_kind(guest)]);
}

static struct measured_rate assumed(const struct plan_limits *limits, enum rate_kind kind)
{
	if (!rate_kind_is_bytes(kind))
		return (struct measured_rate){.amount = RATE_EACH, .ms = EACH_MS};
	return (struct measured_rate){
		.amount = kind == RATE_KIND_OFFLINE ? OFFLINE_BYTES_PER_S : limits->assumed_bytes_per_s, .ms = 1000};
}

static void fill_rates(struct plan *plan, const struct plan_input *input)
{
	plan->rates = input->snapshot->rates;
	for (int kind = 0; kind < RATE_KIND_COUNT; kind++) {
		if (plan->rates.of[kind].amount)
			plan->rates_measured |= UINT32_C(1) << kind;
		else
			plan->rates.of[kind] = assumed(input->limits, (enum rate_kind)kind);
	}
}

/* Of one step. */
struct cost {
	uint64_t ms, cautious_ms;
	uint32_t kinds;	/* mask: what it is made of */
};

static uint64_t slower(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms > b_ms ? a_ms : b_ms;
}

/*
 * The caution: blocks that went while they were empty say little of full ones, and what was quick a few times may not be
 * for once. least_ms is what it takes at any rate.
 */
static void add_cost(struct cost *cost, const struct plan *plan, const struct plan_input *input, enum rate_kind kind,
		     uint64_t amount, uint64_t least_ms)
{
	bool is_pages = kind == RATE_KIND_MOVE || kind == RATE_KIND_MOVE_HUGE || kind == RATE_KIND_MOVE_GIGANTIC;
	struct measured_rate without = assumed(input->limits, kind);
	uint64_t ms = slower(measured_rate_ms(&plan->rates.of[kind], amount), least_ms);

	cost->kinds |= UINT32_C(1) << kind;
	cost->ms += ms;
	cost->cautious_ms += is_pages ? ms : slower(ms, measured_rate_ms(&without, amount));
}

static void add_pages(struct cost *cost, const struct plan *plan, const struct plan_input *input,
		      const struct snapshot_guest *guest, const struct step *step)
{
	uint64_t budget = plan_move_budget(input);

	add_cost(cost, plan, input, guest ? plan_rate_kind(guest) : RATE_KIND_MOVE, step->bytes,
		 budget ? step->bytes / (budget / 1000 + 1) : 0);
}

/* Is it a guest's move or resize as a whole, or takes one back? Such an undo tells its bytes. */
static bool is_child(const struct step *step)
{
	return step->kind == STEP_KIND_CHILD || (step->kind == STEP_KIND_UNDO && step->bytes);
}

static bool is_resize(const struct step *step)
{
	if (step->kind == STEP_KIND_UNDO)
		return strcmp(step->text, operation_kind_name(OPERATION_KIND_RESIZE)) == 0;
	return step->child && step->child->kind == OPERATION_KIND_RESIZE;
}

/* Of a move: what it plugs again it says where. */
static bool plugs(const struct step *step)
{
	return step->grows || (step->nodes && !step_replugs(step));
}

static struct cost step_cost(const struct plan *plan, const struct plan_input *input, const struct snapshot_guest *guest,
			     const struct step *step)
{
	struct cost cost = {0};

	add_cost(&cost, plan, input, RATE_KIND_STEP, RATE_EACH, 0);
	if (is_child(step) && is_resize(step)) {
		add_cost(&cost, plan, input, step->kind == STEP_KIND_UNDO ? RATE_KIND_PLUG : RATE_KIND_UNPLUG, step->bytes, 0);
	} else if (is_child(step)) {
		add_cost(&cost, plan, input, RATE_KIND_CHILD, RATE_EACH, 0);
		add_pages(&cost, plan, input, guest, step);
	}
	if (step->kind == STEP_KIND_MOVE_PAGES)
		add_pages(&cost, plan, input, guest, step);
	if (step->kind == STEP_KIND_OFFLINE_BLOCKS)
		add_cost(&cost, plan, input, RATE_KIND_OFFLINE, step->bytes, 0);
	/* Hooks may take all of their time. */
	if (step->kind == STEP_KIND_HOST_HOOKS)
		cost.cautious_ms += (uint64_t)step->hook_count * step->timeout_ms;
	if (step->kind == STEP_KIND_EJECT)
		add_cost(&cost, plan, input, RATE_KIND_EJECT, RATE_EACH, 0);
	/* What a move takes out of its guest and gives back is free there, unless a device pins it. */
	if (step->kind == STEP_KIND_REQUEST && (input->wish->kind != OPERATION_KIND_MOVE || step->nodes))
		add_cost(&cost, plan, input, plugs(step) ? RATE_KIND_PLUG : RATE_KIND_UNPLUG, step->bytes, 0);
	return cost;
}

static uint32_t whole_seconds(uint64_t ms)
{
	uint64_t seconds = (ms + 999) / 1000;

	return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX - 1;
}

/* ---- beside each other ---- */

/* A guest's move, out or back, of which a drain or what undoes it has several at a time. */
static bool runs_beside(const struct plan_input *input, const struct step *step)
{
	bool is_drain = input->wish->kind == OPERATION_KIND_DRAIN || input->wish->kind == OPERATION_KIND_UNDRAIN;

	return is_drain && is_child(step) && !is_resize(step);
}

/* The next of these steps whose guest has huge pages, or has none; end: there is no other. */
static size_t next_of(const struct plan *plan, const struct guest_index *guests, size_t from, size_t end, bool is_huge)
{
	for (; from < end; from++) {
		const struct snapshot_guest *guest = guest_index_find(guests, plan->steps[from].guest);

		if ((guest && plan_guest_huge_page(guest)) == is_huge)
			break;
	}
	return from;
}

/* How long steps [first, end) take, so many at a time and those with huge pages one after the other (drain_running.c). */
static uint64_t lanes_ms(const struct plan *plan, const struct plan_input *input, const struct guest_index *guests,
			 size_t first, size_t end)
{
	uint64_t free_at_ms[UNDO_BESIDE_MAX] = {0}, huge_until_ms = 0, last_ms = 0;
	size_t lanes = input->limits->drain_moves ? plan_min(input->limits->drain_moves, UNDO_BESIDE_MAX) : 1;
	size_t plain = next_of(plan, guests, first, end, false), huge = next_of(plan, guests, first, end, true);

	while (plain < end || huge < end) {
		uint64_t *lane = &free_at_ms[0];
		bool is_huge;

		for (size_t i = 1; i < lanes; i++)
			lane = free_at_ms[i] < *lane ? &free_at_ms[i] : lane;
		is_huge = huge < plain && (huge_until_ms <= *lane || plain == end);
		if (is_huge && huge_until_ms > *lane)
			*lane = huge_until_ms;
		*lane += plan->costs[is_huge ? huge : plain].ms;
		last_ms = slower(last_ms, *lane);
		if (is_huge) {
			huge_until_ms = *lane;
			huge = next_of(plan, guests, huge + 1, end, true);
		} else {
			plain = next_of(plan, guests, plain + 1, end, false);
		}
	}
	return last_ms;
}

/* The host's own budget is for all of them together. */
static uint64_t beside_ms(const struct plan *plan, const struct plan_input *input, const struct guest_index *guests,
			  size_t first, size_t end)
{
	uint64_t budget = plan_move_budget(input), bytes = 0;

	for (size_t i = first; i < end; i++)
		bytes += plan->steps[i].bytes;
	return slower(lanes_ms(plan, input, guests, first, end), budget ? bytes / (budget / 1000 + 1) : 0);
}

static uint64_t all_ms(const struct plan *plan, const struct plan_input *input, const struct guest_index *guests)
{
	uint64_t ms = 0;

	for (size_t i = 0, end; i < plan->step_count; i = end) {
		end = i;
		while (end < plan->step_count && runs_beside(input, &plan->steps[end]))
			end++;
		if (end > i) {
			ms += beside_ms(plan, input, guests, i, end);
			continue;
		}
		ms += plan->costs[i].ms;
		end = i + 1;
	}
	return ms;
}

void plan_estimate(struct plan *plan, const struct plan_input *input)
{
	CLEANUP(guest_index_done) struct guest_index guests;
	bool enough = guest_index_init(&guests, input->snapshot) == 0;
	uint64_t cautious_ms = 0;

	plan->reboot = input->snapshot->reboot;
	plan->estimate_s = plan->cautious_s = UINT32_MAX;
	fill_rates(plan, input);
	plan->costs = calloc(plan->step_count + 1, sizeof(*plan->costs));
	if (!plan->costs || !enough)
		return;
	plan->estimate_measured = true;
	for (size_t i = 0; i < plan->step_count; i++) {
		struct cost cost = step_cost(plan, input, guest_index_find(&guests, plan->steps[i].guest), &plan->steps[i]);
		bool is_measured = !(cost.kinds & ~plan->rates_measured);

		plan->costs[i] = (struct plan_cost){.ms = cost.ms, .is_measured = is_measured};
		plan->estimate_measured = plan->estimate_measured && is_measured;
		plan->rates_used |= cost.kinds;
		cautious_ms += cost.cautious_ms;
	}
	plan->estimate_s = whole_seconds(all_ms(plan, input, &guests));
	plan->cautious_s = whole_seconds(cautious_ms);
}
