/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that touches a page on its way waits for the chunk of 512 small pages, or the one huge page, that the kernel
 * has unmapped together (mm/migrate.c NR_MAX_BATCHED_MIGRATION): not for the call. What a call does cost the whole host,
 * however small it is, is a drain of every CPU's page caches and a wait for all of them (do_pages_move,
 * lru_cache_disable): next to a guest that computes all the time that wait may be most of the call. What large calls cost
 * is the processor's caches, and lists that grow. Which size is best differs from host to host and from hour to hour, so
 * it is searched for, by climbing:
 *
 *   trial of the best size -> trial of a neighbour -> clearly better: it is the best; on in that direction
 *         ^                          |
 *         +--------------------------+ else back, and the other neighbour; after both a long rest
 *
 * A call cannot be interrupted. So a size is only tried where it will end within a second, and is left where its calls
 * take more than CALL_AIM_US, or one of them LATE_US: a pause or a cancel is then heard within a second, also when a call
 * takes twice as long as the last. But where it is the wait that takes so long, smaller calls would be hardly shorter and
 * many more: then it is kept.
 */
#include "pace.h"

#include <string.h>
#include "size_text.h"

/* 512 small pages: one chunk. Below it calls stalled guests forty times longer, not shorter. */
#define FLOOR_BYTES	     (2 * SIZE_TEXT_MIB)
#define GIGANTIC_BYTES	     (1024 * SIZE_TEXT_MIB)
#define HUGE_LEAST_BYTES     (1 * SIZE_TEXT_MIB)
/* The first call, before anything was measured: where a call's fixed cost was a tenth of it. */
#define FIRST_SMALL	     2 /* 8 MiB */
#define FIRST_HUGE	     3 /* 16 MiB */
/* 8192 small pages: with more, calls are not cheaper, only longer. */
#define SMALL_SIZES	     5
#define CALL_AIM_US	     500000
#define LATE_US		     900000
/* Of a size twice as large: what takes longer than that is a wait. */
#define SHORTER		     0.75
/* What a size that was not tried may take at most. Part of every call is a wait that does not grow with it. */
#define TRY_AIM_US	     700000
/* A trial: so many calls, or so long. */
#define TRIAL_CALLS	     3
#define TRIAL_US	     300000
/* What counts as better: less is noise. */
#define BETTER		     1.05
#define REST_TRIALS	     3
#define REST_BOTH_TRIALS     20
/* Other pages, or another host: what was found out before may be different now. */
#define CHANGE		     1.5
/* A guard against nonsense; whoever waits hears a cancel all the same. */
#define PAUSE_MAX_US	     1000000
/* After this long without a bad word it goes a step faster. */
#define EASE_HOLD_US	     3000000
/*
 * So many words are heard before it is judged whether slowing down has helped. Pauses differ from word to word: means of a few
 * differ by a fifth mostly by chance. And the word that slowed it down was a bad one: after less than that many those that
 * follow are better whatever is done.
 */
#define EASE_HEARD 4
#define EASE_HELPS_PERCENT 70
#define EASE_HELPS_FEW_PERCENT 50
/* In vain: not again for so long; the next time twice as long. */
#define EASE_IN_VAIN_US 10000000
#define EASE_IN_VAIN_DOUBLED 2

/* So long, and so many calls of each thread, make a trial of a number of threads; of long calls one of each. */
#define CREW_TRIAL_US	     200000
#define CREW_TRIAL_CALLS     3
#define CREW_TRIAL_LONG_US   600000
/* What one more has to gain to stay. */
#define CREW_GAIN	     1.15
/* Less than that of the best rate: no more has to be seen of several. */
#define CREW_BAD	     0.6
/* The same of first calls: part of each is a wait, which does not get shorter with them. */
#define CREW_FIRST_BAD	     0.45
#define CREW_REST	     2
/* After that many, twice as many, ... trials of the best number another one is tried again. */
#define CREW_REST_LONG	     20
#define CREW_REST_DOUBLED    5
/* More than one are asked more often whether they pay still: where they do not, they cost more than a trial. */
#define CREW_REST_SEVERAL    12

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	if (value < low)
		return low;
	return value > high ? high : value;
}

static unsigned size_count(uint64_t page_bytes)
{
	if (page_bytes >= GIGANTIC_BYTES)
		return 1;
	return page_bytes >= HUGE_LEAST_BYTES ? PACE_SIZES : SMALL_SIZES;
}

static uint64_t size_bytes(unsigned index, uint64_t page_bytes)
{
	uint64_t bytes = FLOOR_BYTES << index;

	return bytes > page_bytes ? bytes / page_bytes * page_bytes : page_bytes;
}

/* How long a call of that size takes; its rate must be known. */
static double expected_us(const struct pace *pace, unsigned index, uint64_t page_bytes)
{
	return (double)size_bytes(index, page_bytes) / pace->rates[index];
}

/* Whether a call of that neighbour of the best size is expected to end in time. */
static bool fits(const struct pace *pace, unsigned index, uint64_t page_bytes)
{
	unsigned best = pace->best;
	double us, half_us;

	/* The best size's is the newest: that of this size may be from an hour ago. */
	if (pace->rates[best] <= 0 || index <= best)
		return true;
	us = expected_us(pace, best, page_bytes);
	half_us = best > 0 && pace->rates[best - 1] > 0 ? expected_us(pace, best - 1, page_bytes) : us / 2;
	/* What the step from half of it cost, twice; what is beside that does not grow. */
	return us + 2 * (half_us < us ? us - half_us : 0) <= TRY_AIM_US;
}

/* The neighbour of the best size that is to be tried next. False: there is none. */
static bool choose_neighbour(struct pace *pace, uint64_t page_bytes)
{
	for (int turn = 0; turn < 2; turn++, pace->downwards = !pace->downwards) {
		if (pace->downwards ? pace->best == 0 : pace->best + 1 >= size_count(page_bytes))
			continue;
		pace->at = pace->downwards ? pace->best - 1 : pace->best + 1;
		if (fits(pace, pace->at, page_bytes))
			return true;
	}
	pace->at = pace->best;
	return false;
}

/* Calls of that size take too long, and half as much would be clearly shorter, as far as is known. */
static bool is_too_long(const struct pace *pace, unsigned index, uint64_t page_bytes)
{
	double us = expected_us(pace, index, page_bytes);

	return index > 0 && us > CALL_AIM_US &&
	       (pace->rates[index - 1] <= 0 || us > TRY_AIM_US ||
		expected_us(pace, index - 1, page_bytes) < us * SHORTER);
}

static void step_down(struct pace *pace, unsigned rest)
{
	pace->best = --pace->at;
	pace->tried_bytes = pace->tried_us = pace->tried_calls = 0;
	pace->rest = rest;
}

static void end_trial(struct pace *pace, uint64_t page_bytes)
{
	double rate = (double)pace->tried_bytes / (double)pace->tried_us;
	unsigned at = pace->at;

	if (at == pace->best && pace->rates[at] > 0 &&
	    (rate > pace->rates[at] * CHANGE || rate * CHANGE < pace->rates[at])) {
		memset(pace->rates, 0, sizeof(pace->rates));
		pace->rest = 0;
	}
	/* Half of what was known, so that one disturbed trial does not decide for long. */
	pace->rates[at] = pace->rates[at] > 0 ? (pace->rates[at] + rate) / 2 : rate;
	if (is_too_long(pace, at, page_bytes)) {
		step_down(pace, REST_BOTH_TRIALS);
		return;
	}
	pace->tried_bytes = pace->tried_us = pace->tried_calls = 0;
	if (at != pace->best) {
		if (rate > pace->rates[pace->best] * BETTER) {
			pace->best = at;
			pace->failed = pace->rest = 0;
		} else {
			pace->downwards = !pace->downwards;
			pace->rest = ++pace->failed % 2 ? REST_TRIALS : REST_BOTH_TRIALS;
		}
		pace->at = pace->best;
	}
	if (pace->rest > 0)
		pace->rest--;
	else if (!choose_neighbour(pace, page_bytes))
		pace->rest = REST_TRIALS;
}

static void learn(struct pace *pace, const struct pace_input *input, uint64_t page_bytes)
{
	/* A call that moved little says little about speed; a short one for gentleness nothing about size. */
	if (!input->call_us || input->call_bytes * 2 < pace->batch_bytes || input->is_other)
		return;
	if (input->call_us > LATE_US && pace->at > 0) {
		pace->rates[pace->at] = (double)input->call_bytes / (double)input->call_us;
		step_down(pace, REST_TRIALS);
		return;
	}
	if (input->ease || pace->batch_bytes != size_bytes(pace->at, page_bytes))
		return;
	pace->tried_bytes += input->call_bytes;
	pace->tried_us += input->call_us;
	pace->tried_calls++;
	if (pace->tried_calls >= TRIAL_CALLS || pace->tried_us >= TRIAL_US)
		end_trial(pace, page_bytes);
}

struct pace pace_next(const struct pace *last, const struct pace_input *input)
{
	uint64_t page = input->page_bytes ? input->page_bytes : 4096;
	unsigned ease = input->ease < PACE_EASE_MAX ? input->ease : PACE_EASE_MAX;
	struct pace pace = *last;
	uint64_t bytes, least;

	if (!pace.batch_bytes)
		pace.at = pace.best = page >= GIGANTIC_BYTES	 ? 0
				      : page >= HUGE_LEAST_BYTES ? FIRST_HUGE
								 : FIRST_SMALL;
	else
		learn(&pace, input, page);
	bytes = size_bytes(pace.at, page) >> ease;
	if (bytes < FLOOR_BYTES)
		bytes = FLOOR_BYTES;
	if (input->bytes_per_s) {
		/* Several calls a second make an even flow. A second's worth at most, however small that is. */
		least = input->bytes_per_s < FLOOR_BYTES ? input->bytes_per_s : FLOOR_BYTES;
		bytes = clamp(bytes, 0, clamp(input->bytes_per_s / 4, least, UINT64_MAX));
	}
	pace.batch_bytes = bytes > page ? bytes / page * page : page;
	pace.pause_us = (uint32_t)clamp(input->call_us * ((1u << ease) - 1), 0, PAUSE_MAX_US);
	return pace;
}

static void set_level(struct pace_ease *ease, unsigned level, uint64_t now_us)
{
	ease->before_us = level > ease->level ? ease->heard_us / ease->heard : 0;
	ease->is_of_few = ease->heard < EASE_HEARD;
	ease->slowed += level > ease->level;
	ease->level = level;
	ease->changed_at_us = now_us;
	ease->heard_us = ease->heard = 0;
}

/* The guest has suffered. */
static void slow_down(struct pace_ease *ease, uint64_t now_us)
{
	unsigned percent = ease->is_of_few ? EASE_HELPS_FEW_PERCENT : EASE_HELPS_PERCENT;

	ease->changed_at_us = now_us;
	if (now_us < ease->in_vain_until_us || (ease->level && ease->heard < EASE_HEARD))
		return;
	/* On the way back nothing is known of the level below. */
	if (ease->before_us && ease->heard_us / ease->heard > ease->before_us * percent / 100) {
		set_level(ease, ease->level - 1, now_us);
		ease->in_vain_until_us = now_us + ((uint64_t)EASE_IN_VAIN_US << ease->in_vain);
		ease->in_vain += ease->in_vain < EASE_IN_VAIN_DOUBLED;
	} else if (ease->level < PACE_EASE_MAX) {
		set_level(ease, ease->level + 1, now_us);
	}
}

struct pace_ease pace_ease_next(const struct pace_ease *last, uint32_t stall_us, uint64_t guest_pause_us,
				uint64_t now_us)
{
	struct pace_ease ease = *last;

	if (guest_pause_us > ease.worst_us)
		ease.worst_us = guest_pause_us;
	if (guest_pause_us) {
		ease.heard_us += guest_pause_us;
		ease.heard++;
	}
	if (stall_us && guest_pause_us > stall_us)
		slow_down(&ease, now_us);
	else if (ease.level && now_us - ease.changed_at_us >= EASE_HOLD_US)
		set_level(&ease, ease.level - 1, now_us);
	return ease;
}

void pace_crew_forget(struct pace_crew *crew)
{
	crew->began_us = crew->bytes = crew->calls = crew->stale = 0;
}

void pace_crew_limit(struct pace_crew *crew, unsigned most)
{
	if (most == crew->most)
		return;
	crew->most = most;
	if (crew->best > most)
		crew->best = most;
	/* A trial under way is of a number that may be too many now. */
	if (crew->allowed > crew->best)
		crew->allowed = crew->best;
	crew->is_first = false;
	pace_crew_forget(crew);
}

bool pace_is_computing(const struct pace_load *before, const struct pace_load *now)
{
	if (!now->processors || before->processors != now->processors || now->used_us < before->used_us)
		return false;
	return (now->used_us - before->used_us) * 2 >= (now->at_us - before->at_us) * now->processors;
}

static void begin_crew_trial(struct pace_crew *crew, uint64_t now_us)
{
	pace_crew_forget(crew);
	crew->began_us = now_us;
}

/* The number next to the best one that is to be tried now. */
static unsigned crew_neighbour(struct pace_crew *crew)
{
	crew->upwards = crew->best == 1 || (crew->best < crew->most && !crew->upwards);
	return crew->upwards ? crew->best + 1 : crew->best - 1;
}

/* One more than the best number is no gain. */
static void rest_in_vain(struct pace_crew *crew)
{
	crew->vain_rate = crew->best_rate;
	crew->rest = crew->best > 1 ? CREW_REST_SEVERAL : CREW_REST_LONG << crew->failed;
	crew->failed += crew->failed < CREW_REST_DOUBLED;
}

static void end_best_trial(struct pace_crew *crew, double rate)
{
	bool fell = crew->best > 1 && rate * CHANGE < crew->best_rate;
	bool rose = crew->best < crew->most && crew->vain_rate > 0 && rate > crew->vain_rate * CHANGE;

	/* The last, and no average: pages that the guest uses go many times slower than others, and lie in stretches. */
	crew->best_rate = rate;
	if (crew->rest > 0 && !fell && !rose) {
		crew->rest--;
		return;
	}
	if (fell || rose)
		crew->upwards = fell;
	crew->allowed = crew_neighbour(crew);
	crew->is_first = crew->allowed > crew->best;
}

static void end_crew_trial(struct pace_crew *crew, double rate)
{
	bool is_less = crew->allowed < crew->best;

	crew->is_first = false;
	if (crew->allowed == crew->best) {
		end_best_trial(crew, rate);
		return;
	}
	if (is_less ? rate * CREW_GAIN >= crew->best_rate : rate >= crew->best_rate * CREW_GAIN) {
		crew->best = crew->allowed;
		crew->best_rate = rate;
		crew->rest = CREW_REST;
		/* On in the same direction. */
		crew->upwards = is_less;
		if (!is_less)
			crew->failed = 0;
		else if (crew->best == 1)
			rest_in_vain(crew);
	} else if (is_less) {
		crew->rest = CREW_REST_SEVERAL;
	} else {
		rest_in_vain(crew);
	}
	crew->allowed = crew->best;
}

/* What has been seen is enough to judge by. */
static bool is_judged(const struct pace_crew *crew, uint64_t took_us)
{
	/* As if those under way had just ended. */
	uint64_t bytes = crew->calls < crew->allowed ? crew->bytes / crew->calls * crew->allowed : crew->bytes;

	if (took_us < CREW_TRIAL_US)
		return false;
	return crew->calls >= CREW_TRIAL_CALLS * crew->allowed ||
	       (took_us >= CREW_TRIAL_LONG_US && crew->calls >= crew->allowed) ||
	       (crew->allowed > 1 && (double)bytes < CREW_BAD * crew->best_rate * (double)took_us);
}

/* One call of each was seen: true where there is no need to see more. */
static bool is_bad_at_first(const struct pace_crew *crew, uint64_t took_us)
{
	return (double)crew->bytes < CREW_FIRST_BAD * crew->best_rate * (double)took_us;
}

struct pace_crew pace_crew_next(const struct pace_crew *last, uint64_t now_us, uint64_t moved_bytes)
{
	struct pace_crew crew = *last;
	uint64_t took_us;
	unsigned allowed;

	if (crew.most <= 1)
		return crew;
	if (!crew.allowed)
		crew.allowed = crew.best = 1;
	if (crew.stale > 0 || !crew.began_us) {
		crew.stale -= crew.stale > 0;
		if (!crew.stale)
			begin_crew_trial(&crew, now_us);
		return crew;
	}
	crew.bytes += moved_bytes;
	crew.calls++;
	took_us = now_us - crew.began_us;
	if (crew.is_first ? crew.calls < crew.allowed : !is_judged(&crew, took_us))
		return crew;
	allowed = crew.allowed;
	if (crew.is_first && !is_bad_at_first(&crew, took_us)) {
		crew.is_first = false;
		begin_crew_trial(&crew, now_us);
		crew.stale = allowed - 1;
		return crew;
	}
	end_crew_trial(&crew, (double)crew.bytes / (double)took_us);
	begin_crew_trial(&crew, now_us);
	if (crew.allowed != allowed)
		crew.stale = allowed - 1;
	return crew;
}

static uint64_t cost_us(uint64_t bytes, uint64_t bytes_per_s)
{
	double us = bytes_per_s ? (double)bytes * 1e6 / (double)bytes_per_s : 0;

	/* A year: no clock runs over. */
	return us < 3e13 ? (uint64_t)us + (bytes_per_s != 0) : UINT64_C(30000000000000);
}

uint64_t pace_budget_take(uint64_t *paid_until_us, uint64_t now_us, uint64_t bytes, uint64_t bytes_per_s)
{
	uint64_t start = *paid_until_us > now_us ? *paid_until_us : now_us;

	if (!bytes_per_s)
		return 0;
	*paid_until_us = start + cost_us(bytes, bytes_per_s);
	return start - now_us;
}

void pace_budget_return(uint64_t *paid_until_us, uint64_t bytes, uint64_t bytes_per_s)
{
	uint64_t cost = cost_us(bytes, bytes_per_s);

	*paid_until_us -= cost < *paid_until_us ? cost : *paid_until_us;
}
