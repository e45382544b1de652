/* SPDX-License-Identifier: Apache-2.0 */
#include "pace.h"

#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* A host: what each call costs however small it is, what a byte costs, and what a byte of a large call costs more. */
struct host {
	double fixed_us, us_per_mib, strain; /* strain: us a MiB more for each MiB of the call */
	unsigned noise_percent, seed;
};

static uint64_t call_us(struct host *host, uint64_t bytes)
{
	double mib = (double)bytes / MIB;
	double us = host->fixed_us + mib * (host->us_per_mib + host->strain * mib);

	if (host->noise_percent)
		us *= 1 + (rand_r(&host->seed) % (2 * host->noise_percent) - (double)host->noise_percent) / 100;
	return us > 1 ? (uint64_t)us : 1;
}

/* MiB/s of calls of that size. */
static double rate(const struct host *host, uint64_t bytes)
{
	double mib = (double)bytes / MIB;

	return mib * 1e6 / (host->fixed_us + mib * (host->us_per_mib + host->strain * mib));
}

/* Runs so many calls; the share of the best possible rate that the last half of them reached. */
static double climb(struct host *host, uint64_t page_bytes, unsigned calls, struct pace *pace)
{
	struct pace_input input = {.page_bytes = page_bytes};
	double bytes = 0, us = 0, best = 0;

	memset(pace, 0, sizeof(*pace));
	*pace = pace_next(pace, &input);
	for (unsigned i = 0; i < calls; i++) {
		CHECK_INT(pace->batch_bytes % page_bytes, 0);
		CHECK_INT(pace->pause_us, 0);
		input.call_bytes = pace->batch_bytes;
		input.call_us = call_us(host, pace->batch_bytes);
		if (i >= calls / 2) {
			bytes += (double)input.call_bytes;
			us += (double)input.call_us;
		}
		*pace = pace_next(pace, &input);
	}
	for (uint64_t size = 2 * MIB; size <= (page_bytes > 4096 ? 256 : 32) * MIB; size *= 2)
		if (rate(host, size) > best && rate(host, size) * 0.4 >= (double)size / MIB)
			best = rate(host, size);
	return bytes / MIB * 1e6 / us / best;
}

static void the_best_size_is_found(void)
{
	static const struct {
		double fixed_us, us_per_mib, strain;
		uint64_t page_bytes;
	} hosts[] = {
		{0, 300, 0, 4096},	     /* all sizes are alike */
		{2000, 300, 0, 4096},	     /* the larger the better */
		{200, 5000, 0, 4096},	     /* slow */
		{100, 300, 60, 4096},	     /* the smaller the better */
		{2000, 300, 30, 4096},	     /* best in the middle */
		{200000, 1000, 0, 4096},     /* calls wait most of the time */
		{500, 100, 0, 2 * MIB},	     /* huge pages */
		{500, 100, 2, 2 * MIB},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		for (unsigned noise = 0; noise <= 10; noise += 5) {
			struct host host = {hosts[i].fixed_us, hosts[i].us_per_mib, hosts[i].strain, noise, 7};
			struct pace pace;

			CHECK_TRUE(climb(&host, hosts[i].page_bytes, 200, &pace) > 0.9);
		}
	}
}

/* A move of some hundred MiB must not be over before it has found its size. */
static void it_is_found_within_few_calls(void)
{
	struct host host = {.fixed_us = 20000, .us_per_mib = 1000};
	struct pace pace;

	climb(&host, 4096, 12, &pace);
	CHECK_TRUE(pace.best >= 4);
}

/* Stretches of pages that go slowly and of others: what was known of a size in the one is not held against it in the other. */
static void a_stretch_is_not_remembered(void)
{
	struct host fast = {.us_per_mib = 8000, .strain = 600}, slow = {.fixed_us = 45000, .us_per_mib = 30000};
	struct pace_input input = {.page_bytes = 4096};
	struct pace pace = {0};
	double bytes = 0, us = 0;

	pace = pace_next(&pace, &input);
	for (int i = 0; i < 400; i++) {
		struct host *host = i / 60 % 2 ? &slow : &fast;

		input.call_bytes = pace.batch_bytes;
		input.call_us = call_us(host, pace.batch_bytes);
		if (host == &slow && i % 60 >= 15) {
			bytes += (double)input.call_bytes;
			us += (double)input.call_us;
		}
		pace = pace_next(&pace, &input);
	}
	CHECK_TRUE(bytes / MIB * 1e6 / us > 0.9 * rate(&slow, 8 * MIB));
	/* A call that went beside others than usual says nothing, however long it took. */
	input.is_other = true;
	input.call_us = 5000000;
	for (int i = 0; i < 10; i++)
		CHECK_INT(pace_next(&pace, &input).at, pace.at);
}

static void calls_end_in_time(void)
{
	struct host host = {.us_per_mib = 65000};
	struct pace pace = {0};
	struct pace_input input = {.page_bytes = 4096};

	unsigned late = 0;

	/* 15 MiB/s: 8 MiB take 520 ms, 4 MiB 260 ms. */
	for (int i = 0; i < 40; i++) {
		pace = pace_next(&pace, &input);
		input.call_bytes = pace.batch_bytes;
		input.call_us = call_us(&host, pace.batch_bytes);
		CHECK_TRUE(input.call_us <= 700000);
		late += input.call_us > 400000;
	}
	CHECK_TRUE(late <= 3);
	/* The host becomes ten times slower: down to the floor, and not below it. */
	host.us_per_mib *= 10;
	for (int i = 0; i < 5; i++) {
		input.call_us = call_us(&host, pace.batch_bytes);
		input.call_bytes = pace.batch_bytes;
		pace = pace_next(&pace, &input);
	}
	CHECK_INT(pace.batch_bytes, 2 * MIB);
	/* And fast again: larger calls are tried again. */
	host.us_per_mib = 200;
	for (int i = 0; i < 200; i++) {
		input.call_us = call_us(&host, pace.batch_bytes) + 3000;
		input.call_bytes = pace.batch_bytes;
		pace = pace_next(&pace, &input);
	}
	CHECK_TRUE(pace.batch_bytes >= 8 * MIB);
}

/* Beside a guest that computes all the time a call waits for every CPU: small ones are not shorter, only more of them. */
static void a_wait_is_not_made_shorter_by_small_calls(void)
{
	for (unsigned noise = 0; noise <= 45; noise += 15) {
		struct host host = {.fixed_us = 300000, .us_per_mib = 8000, .noise_percent = noise, .seed = 5};
		struct pace pace;

		/* Of what the largest calls give that would end in 0.4 s. */
		CHECK_TRUE(climb(&host, 4096, 200, &pace) > 1.4);
	}
}

static void ease_makes_calls_short_and_rare(void)
{
	struct pace pace = {0};
	struct pace_input input = {.page_bytes = 4096};

	pace = pace_next(&pace, &input);
	CHECK_INT(pace.batch_bytes, 8 * MIB);
	for (unsigned ease = 0; ease <= PACE_EASE_MAX + 1; ease++) {
		unsigned level = ease < PACE_EASE_MAX ? ease : PACE_EASE_MAX;
		struct pace easy;

		input.ease = ease;
		input.call_us = 4000;
		input.call_bytes = pace.batch_bytes;
		easy = pace_next(&pace, &input);
		CHECK_INT(easy.batch_bytes, (level < 2 ? 8 >> level : 2) * MIB);
		CHECK_INT(easy.pause_us, 4000 * ((1 << level) - 1));
	}
	/* Huge pages go one by one then, gigantic ones always do. */
	memset(&pace, 0, sizeof(pace));
	input = (struct pace_input){.page_bytes = 2 * MIB, .ease = PACE_EASE_MAX};
	CHECK_INT(pace_next(&pace, &input).batch_bytes, 2 * MIB);
	input = (struct pace_input){.page_bytes = GIB};
	CHECK_INT(pace_next(&pace, &input).batch_bytes, GIB);
	pace = pace_next(&pace, &input);
	input.call_us = 300000;
	input.call_bytes = GIB;
	CHECK_INT(pace_next(&pace, &input).batch_bytes, GIB);
}

static void what_a_guest_feels_slows_down(void)
{
	struct pace_ease ease = {0};
	uint64_t now = 1000000;

	/* Within the budget, without one, and nothing known. */
	ease = pace_ease_next(&ease, 10000, 10000, now);
	ease = pace_ease_next(&ease, 0, 50000, now);
	ease = pace_ease_next(&ease, 10000, 0, now);
	CHECK_INT(ease.level, 0);
	CHECK_INT(ease.worst_us, 50000);
	ease = (struct pace_ease){0};
	/* At once, and then as long as it helps: four words for each level. */
	for (unsigned i = 0, pause = 160000; i < 4 * PACE_EASE_MAX + 4; i++) {
		unsigned level = (i + 4) / 4;

		now += 500000;
		ease = pace_ease_next(&ease, 10000, pause, now);
		CHECK_INT(ease.level, level < PACE_EASE_MAX ? level : PACE_EASE_MAX);
		pause = 160000 >> ease.level;
	}
	CHECK_INT(ease.slowed, PACE_EASE_MAX);
	/* Slowly back, one step at a time; silence is as good as a good word. */
	for (unsigned i = PACE_EASE_MAX; i-- > 0;) {
		struct pace_ease early = pace_ease_next(&ease, 10000, i % 2 * 100, now + 2900000);

		CHECK_INT(early.level, i + 1);
		now += 3000000;
		ease = pace_ease_next(&ease, 10000, 0, now);
		CHECK_INT(ease.level, i);
	}
	ease = pace_ease_next(&ease, 10000, 0, now + 9000000);
	CHECK_INT(ease.level, 0);
	CHECK_INT(ease.worst_us, 160000);
	/* It is slowed down again. */
	ease = pace_ease_next(&ease, 10000, 190000, now);
	CHECK_INT(ease.level, 1);
	CHECK_INT(ease.slowed, PACE_EASE_MAX + 1);
	CHECK_INT(ease.worst_us, 190000);
}

/* A guest that has such pauses whatever the mover does: it does not make the move slower for nothing. */
static void slowing_down_in_vain_is_given_up(void)
{
	struct pace_ease ease = {0};
	unsigned slow = 0;

	for (uint64_t second = 1; second <= 60; second++) {
		ease = pace_ease_next(&ease, 10000, 40000 + second % 3 * 2000, second * 1000000);
		slow += ease.level > 0;
		CHECK_TRUE(ease.level <= 1);
	}
	CHECK_TRUE(ease.slowed >= 3 && slow <= 18);
	CHECK_INT(ease.worst_us, 44000);
}

/* Pauses between 4 and 24 ms, as they come, ten words a second: what has no part in them loses little of its speed by a budget of 10. */
static void what_comes_by_chance_slows_down_little(void)
{
	unsigned parts = 0, all = 0;
	uint32_t random = 1;

	for (unsigned move = 0; move < 200; move++) {
		struct pace_ease ease = {0};

		for (uint64_t word = 1; word <= 400; word++) {
			random = random * 1664525 + 1013904223;
			ease = pace_ease_next(&ease, 10000, 4000 + (random >> 16) % 20000, word * 100000);
			/* Of eight parts of its speed. */
			parts += 8 - (8 >> ease.level);
			all += 8;
		}
	}
	CHECK_TRUE(parts > 0 && parts * 100 < all * 15);
}

/* Half as fast makes them half as long, and slower still changes nothing: what has helped stays. */
static void what_has_helped_is_kept(void)
{
	struct pace_ease ease = {0};
	unsigned full = 0, slower = 0;

	for (uint64_t second = 1; second <= 60; second++) {
		ease = pace_ease_next(&ease, 10000, ease.level ? 20000 : 40000, second * 1000000);
		full += ease.level == 0;
		slower += ease.level > 1;
	}
	CHECK_INT(full, 0);
	CHECK_TRUE(slower > 0 && slower <= 18);
}

/* Whoever takes from it in whatever order: never more than the budget and one call, in any second. */
/* Calls of 8 MiB for so many trials, with rates of all threads together by their number. The share of calls at `number`. */
static unsigned call_mib(const struct pace_crew *crew)
{
	return crew->is_first ? 8 / PACE_FIRST_PART : 8;
}

static double share_of(struct pace_crew *crew, const double *rates, unsigned trials, unsigned number, uint64_t *now_us)
{
	unsigned calls = 0, at = 0;
	uint64_t end_us = *now_us + trials * UINT64_C(300000);

	while (*now_us < end_us) {
		unsigned allowed = crew->allowed ? crew->allowed : 1;
		unsigned mib = call_mib(crew);

		CHECK_TRUE(allowed >= 1 && allowed <= crew->most);
		*now_us += (uint64_t)(mib * 1e6 / rates[allowed]);
		*crew = pace_crew_next(crew, *now_us, mib * MIB);
		calls++;
		at += allowed == number;
	}
	return (double)at / calls;
}

static void as_many_threads_as_pay(void)
{
	static const struct {
		double rates[5]; /* MiB/s of 1 to 4 */
		unsigned most, best;
	} rows[] = {
		{{0, 150, 240}, 2, 2},		     /* a CPU to spare */
		{{0, 150, 155}, 2, 1},		     /* none */
		{{0, 150, 90}, 2, 1},
		{{0, 150, 280, 400, 390}, 4, 3},
		{{0, 150, 280, 400, 520}, 4, 4},
		{{0, 150, 150, 150, 150}, 4, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pace_crew crew = {.most = rows[i].most};
		uint64_t now_us = 1;

		/* One begins. */
		crew = pace_crew_next(&crew, now_us, 0);
		CHECK_INT(crew.allowed, 1);
		share_of(&crew, rows[i].rates, 20, rows[i].best, &now_us);
		CHECK_TRUE(share_of(&crew, rows[i].rates, 100, rows[i].best, &now_us) > 0.85);
	}
}

static void another_number_when_the_host_changes(void)
{
	static const double spare[] = {0, 150, 240}, busy[] = {0, 80, 70};
	struct pace_crew crew = {.most = 2};
	uint64_t now_us = 1;

	share_of(&crew, spare, 20, 2, &now_us);
	CHECK_INT(crew.best, 2);
	/* Fewer threads at once are not less: they are in nobody's way. */
	share_of(&crew, busy, 50, 1, &now_us);
	CHECK_INT(crew.best, 1);
	share_of(&crew, spare, 50, 2, &now_us);
	CHECK_INT(crew.best, 2);
}

/* A second thread was tried in a stretch of fast pages: it does not stay for the slow ones, where it is in the way. */
static void a_fast_stretch_does_not_decide(void)
{
	static const double fast[] = {0, 200, 350}, slow[] = {0, 40, 15};
	struct pace_crew crew = {.most = 2};
	uint64_t now_us = 1;

	share_of(&crew, fast, 10, 2, &now_us);
	CHECK_INT(crew.best, 2);
	share_of(&crew, slow, 60, 1, &now_us);
	CHECK_INT(crew.best, 1);
	CHECK_TRUE(share_of(&crew, slow, 200, 1, &now_us) > 0.85);
}

/* The time of so many MiB that lie in stretches of fast and slow pages, and of the same by the best number for each. */
static double time_of(const double *fast, const double *slow, unsigned stretch_mib, double *ret_best)
{
	struct pace_crew crew = {.most = 2};
	uint64_t now_us = 1;

	*ret_best = 0;
	for (unsigned mib = 0, now_mib; mib < 16 * stretch_mib; mib += now_mib) {
		const double *rates = mib / stretch_mib % 2 ? slow : fast;
		unsigned allowed = crew.allowed ? crew.allowed : 1;

		now_mib = call_mib(&crew);
		now_us += (uint64_t)(now_mib * 1e6 / rates[allowed]);
		*ret_best += now_mib * 1e6 / (rates[1] > rates[2] ? rates[1] : rates[2]);
		crew = pace_crew_next(&crew, now_us, now_mib * MIB);
	}
	return (double)now_us;
}

static void stretches_are_told_apart(void)
{
	static const double fast[] = {0, 150, 250}, slow[] = {0, 40, 13};
	double best;

	for (unsigned stretch_mib = 128; stretch_mib <= 1024; stretch_mib *= 2)
		CHECK_TRUE(time_of(fast, slow, stretch_mib, &best) < best * 1.3);
}

/* Where two are in each other's way a call takes many times as long: they find that out with short ones. */
static void a_bad_trial_is_short(void)
{
	static const double rates[] = {0, 40, 6};
	struct pace_crew crew = {.most = 2};
	uint64_t now_us = 1, trial_us = 0, worst_us = 0;
	unsigned trials = 0;

	while (now_us < 200000000) {
		unsigned allowed = crew.allowed ? crew.allowed : 1, mib = call_mib(&crew);
		uint64_t us = (uint64_t)(mib * 1e6 / rates[allowed]);

		now_us += us;
		crew = pace_crew_next(&crew, now_us, mib * MIB);
		trial_us = allowed > 1 ? trial_us + us : 0;
		trials += allowed > 1 && crew.allowed == 1;
		if (trial_us > worst_us)
			worst_us = trial_us;
	}
	CHECK_TRUE(trials >= 2);
	/* Two short calls. */
	CHECK_TRUE(worst_us <= 2 * 2 * 1000000 / 6 + 2);
}

static void a_pause_is_no_trial(void)
{
	static const double rates[] = {0, 150, 240};
	struct pace_crew crew = {.most = 2};
	uint64_t now_us = 1;

	share_of(&crew, rates, 10, 2, &now_us);
	for (int i = 0; i < 10; i++) {
		share_of(&crew, rates, 1, 2, &now_us);
		pace_crew_forget(&crew);
		now_us += 3600000000;
	}
	CHECK_INT(crew.best, 2);
	CHECK_TRUE(crew.best_rate > 200);
	/* One thread has nobody to wait for. */
	crew = (struct pace_crew){0};
	crew = pace_crew_next(&crew, 1, MIB);
	crew = pace_crew_next(&crew, 1000000000, MIB);
	CHECK_INT(crew.allowed, 0);
}

static void a_budget_is_kept_without_bursts(void)
{
	static const uint64_t rates[] = {MIB, 40 * MIB, 3000 * MIB};

	for (size_t r = 0; r < ARRAY_SIZE(rates); r++) {
		struct pace pace = {0};
		struct pace_input input = {.page_bytes = 4096, .bytes_per_s = rates[r]};
		uint64_t paid = 0, now = 5000000, sent = 0, began = now;

		pace = pace_next(&pace, &input);
		CHECK_TRUE(pace.batch_bytes <= rates[r]);
		for (int i = 0; i < 100; i++) {
			uint64_t wait = pace_budget_take(&paid, now, pace.batch_bytes, rates[r]);

			now += wait;
			/* What has gone until now, but for the call that begins now. */
			CHECK_TRUE((double)sent <= (double)(now - began) * (double)rates[r] / 1e6 + 1);
			sent += pace.batch_bytes;
		}
		CHECK_TRUE((double)sent * 1.01 >= (double)(now - began) * (double)rates[r] / 1e6);
		/* A silence is not made up for. */
		now += 100000000;
		CHECK_INT(pace_budget_take(&paid, now, pace.batch_bytes, rates[r]), 0);
		CHECK_TRUE(pace_budget_take(&paid, now, pace.batch_bytes, rates[r]) > 0);
		/* What did not go is given back. */
		paid = 0;
		CHECK_INT(pace_budget_take(&paid, now, pace.batch_bytes, rates[r]), 0);
		pace_budget_return(&paid, pace.batch_bytes, rates[r]);
		CHECK_INT(pace_budget_take(&paid, now, pace.batch_bytes, rates[r]), 0);
	}
	uint64_t paid = 0;

	CHECK_INT(pace_budget_take(&paid, 7, GIB, 0), 0);
	CHECK_INT(pace_budget_take(&paid, 7, UINT64_MAX, 1), 0);
	CHECK_TRUE(paid > 0);
}

/* Whatever pays: while the guest computes one is allowed, and nothing else is tried; afterwards as before. */
static void a_limit_of_threads(void)
{
	static const double rates[] = {0, 150, 290};
	struct pace_crew crew = {.most = 2};
	uint64_t now_us = 0;

	share_of(&crew, rates, 20, 2, &now_us);
	CHECK_INT(crew.best, 2);
	pace_crew_limit(&crew, 1);
	CHECK_INT(crew.allowed, 1);
	CHECK_TRUE(share_of(&crew, rates, 50, 1, &now_us) == 1);
	pace_crew_limit(&crew, 2);
	CHECK_TRUE(share_of(&crew, rates, 100, 2, &now_us) > 0.7);
	CHECK_INT(crew.best, 2);
	/* In the middle of a trial. */
	crew = (struct pace_crew){.most = 2};
	while (crew.allowed < 2)
		share_of(&crew, rates, 1, 2, &now_us);
	pace_crew_limit(&crew, 1);
	CHECK_INT(crew.allowed, 1);
	CHECK_TRUE(!crew.is_first);
}

static void a_guest_that_computes(void)
{
	static const struct {
		struct pace_load before, now;
		bool is_computing;
	} rows[] = {
		{{1000, 500, 4}, {2000, 2500, 4}, true},
		{{1000, 500, 4}, {2000, 2499, 4}, false},
		{{1000, 500, 1}, {2000, 1400, 1}, true},
		/* Not known, a processor more or less, and one that took its time with it. */
		{{0}, {2000, 1000000, 4}, false},
		{{1000, 500, 4}, {2000, 4500, 5}, false},
		{{1000, 500, 4}, {2000, 4500, 0}, false},
		{{1000, 500, 4}, {2000, 400, 4}, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		CHECK_INT(pace_is_computing(&rows[i].before, &rows[i].now), rows[i].is_computing);
}

static const struct unit_case cases[] = {
	{"the best size is found", the_best_size_is_found},
	{"it is found within few calls", it_is_found_within_few_calls},
	{"a stretch is not remembered", a_stretch_is_not_remembered},
	{"calls end in time", calls_end_in_time},
	{"a wait is not made shorter by small calls", a_wait_is_not_made_shorter_by_small_calls},
	{"ease makes calls short and rare", ease_makes_calls_short_and_rare},
	{"what a guest feels slows down", what_a_guest_feels_slows_down},
	{"slowing down in vain is given up", slowing_down_in_vain_is_given_up},
	{"what comes by chance slows down little", what_comes_by_chance_slows_down_little},
	{"what has helped is kept", what_has_helped_is_kept},
	{"a budget is kept without bursts", a_budget_is_kept_without_bursts},
	{"as many threads as pay", as_many_threads_as_pay},
	{"another number when the host changes", another_number_when_the_host_changes},
	{"a fast stretch does not decide", a_fast_stretch_does_not_decide},
	{"stretches are told apart", stretches_are_told_apart},
	{"a bad trial is short", a_bad_trial_is_short},
	{"a pause is no trial", a_pause_is_no_trial},
	{"a limit of threads", a_limit_of_threads},
	{"a guest that computes", a_guest_that_computes},
};

int main(void)
{
	return unit_main("pace", cases, sizeof(cases) / sizeof(cases[0]));
}
