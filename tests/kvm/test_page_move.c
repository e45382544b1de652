/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include "page_move.h"
#include "page_survey.h"

#define PAGES_MAX 64
#define BASE	  0x7f0000000000ull

/*
 * A scripted kernel that queues and flushes as mm/migrate.c do_pages_move() does: pages that are
 * alike are queued; a page with a status of its own flushes the queue; a failed flush ends the call
 * and leaves statuses unwritten.
 */
enum page_kind {
	PAGE_PLAIN,
	PAGE_MARKED, /* PROT_NONE by AutoNUMA: missing until it is read */
	PAGE_ABSENT,
	PAGE_PINNED,   /* every migration of it fails */
	PAGE_PASSING,  /* fails so many times, then goes */
	PAGE_ISOLATED, /* somebody else has it: -EBUSY so many times */
	PAGE_ZERO,     /* present, and -EFAULT for ever */
	PAGE_FOREIGN,  /* -EACCES */
};

struct fake {
	int node[PAGES_MAX];
	enum page_kind kind[PAGES_MAX];
	unsigned left[PAGES_MAX]; /* failures still to come, of PASSING and ISOLATED */
	size_t room;		  /* free pages on the destination */
	int missing_status;	  /* what a marked page shows: -ENOENT or -EFAULT */
	unsigned calls;
	unsigned fail_call; /* this call, from 1, is refused with fail_error */
	long fail_error;
	bool is_blind; /* pagemap is of no use */
	unsigned touched_absent;
	unsigned may_touch_asked;
	int may_touch_error;
	size_t goes_absent; /* this page, when may_touch is asked; 0: none */
	uint64_t clock;
};

static size_t index_of(uint64_t address)
{
	size_t index = (size_t)((address - BASE) / 4096);

	assert(index < PAGES_MAX && address % 4096 == 0);
	return index;
}

/* Moves what is queued. The number of pages that failed, or -ENOMEM. */
static long flush(struct fake *fake, const size_t *queue, size_t count, int node_id)
{
	long failed = 0;

	for (size_t i = 0; i < count; i++) {
		size_t at = queue[i];

		if (fake->kind[at] == PAGE_PINNED) {
			failed++;
			continue;
		}
		if (fake->kind[at] == PAGE_PASSING && fake->left[at] > 0) {
			fake->left[at]--;
			failed++;
			continue;
		}
		if (fake->room == 0)
			return -ENOMEM;
		fake->room--;
		fake->node[at] = node_id;
	}
	return failed;
}

/* 1: queue it, else its status. */
static int status_of(struct fake *fake, size_t at, int node_id)
{
	switch (fake->kind[at]) {
	case PAGE_MARKED:
		return fake->missing_status;
	case PAGE_ABSENT:
		return -ENOENT;
	case PAGE_ZERO:
		return -EFAULT;
	case PAGE_FOREIGN:
		return -EACCES;
	case PAGE_ISOLATED:
		if (fake->left[at] > 0) {
			fake->left[at]--;
			return -EBUSY;
		}
		break;
	case PAGE_PLAIN:
	case PAGE_PINNED:
	case PAGE_PASSING:
		break;
	}
	return fake->node[at] == node_id ? node_id : INT_MAX;
}

static long fake_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		      int *status)
{
	struct fake *fake = user;
	size_t queue[PAGES_MAX], queue_at[PAGES_MAX], queued = 0;

	fake->calls++;
	fake->clock += 1000;
	CHECK_TRUE(count > 0 && pid == 77);
	if (fake->calls == fake->fail_call)
		return fake->fail_error;
	for (size_t i = 0; i <= count; i++) {
		int own = 0;

		if (i < count) {
			size_t at = index_of((uintptr_t)addresses[i]);

			own = status_of(fake, at, nodes[i]);
			if (own == INT_MAX) {
				queue[queued] = at;
				queue_at[queued++] = i;
				continue;
			}
		}
		if (i < count)
			status[i] = own;
		long failed = queued ? flush(fake, queue, queued, nodes[0]) : 0;

		if (failed != 0)
			return failed > 0 ? failed + (long)(count - i) - (i < count) : failed;
		for (size_t j = 0; j < queued; j++)
			status[queue_at[j]] = nodes[0];
		queued = 0;
	}
	return 0;
}

static int fake_look(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places)
{
	struct fake *fake = user;

	if (fake->is_blind)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < count; i++) {
		size_t at = index_of(addresses[i]);

		places[i] = fake->kind[at] == PAGE_ABSENT ? PAGE_SURVEY_PLACE_ABSENT : fake->node[at];
	}
	return 0;
}

static void fake_touch(void *user, pid_t pid, const uint64_t *addresses, size_t count)
{
	struct fake *fake = user;

	CHECK_INT(fake->may_touch_error, 0);
	for (size_t i = 0; i < count; i++) {
		size_t at = index_of(addresses[i]);

		if (fake->kind[at] == PAGE_ABSENT)
			fake->touched_absent++;
		if (fake->kind[at] == PAGE_MARKED)
			fake->kind[at] = PAGE_PLAIN;
	}
}

/* The guest changes between what was seen and what is read. */
static int fake_may_touch(void *user)
{
	struct fake *fake = user;

	fake->may_touch_asked++;
	if (fake->goes_absent)
		fake->kind[fake->goes_absent] = PAGE_ABSENT;
	return fake->may_touch_error;
}

static uint64_t fake_now(void *user)
{
	struct fake *fake = user;

	return fake->clock;
}

struct run {
	enum page_move_outcome outcomes[PAGES_MAX];
	struct page_move_counts counts;
	int error;
};

static void fake_init(struct fake *fake)
{
	*fake = (struct fake){.room = 1000, .missing_status = -ENOENT};
	for (size_t i = 0; i < PAGES_MAX; i++)
		fake->node[i] = 1;
}

static void run_with(struct fake *fake, struct page_move_options options, size_t count,
		     struct run *ret_run)
{
	CLEANUP(page_move_freep) struct page_move *move = NULL;
	uint64_t addresses[PAGES_MAX], sum = 0;

	options.pid = 77;
	options.may_touch = fake_may_touch;
	options.touch_user = fake;
	options.ops = (struct page_move_ops){.move = fake_move,
					     .look = fake_look,
					     .touch = fake_touch,
					     .now_ns = fake_now,
					     .user = fake};
	for (size_t i = 0; i < count; i++)
		addresses[i] = BASE + i * 4096;
	*ret_run = (struct run){0};
	CHECK_INT(page_move_new(&options, &move), 0);
	ret_run->error =
		page_move_run(move, addresses, count, 2, ret_run->outcomes, &ret_run->counts);
	for (int i = 0; i < PAGE_MOVE_COUNT; i++)
		sum += ret_run->counts.pages[i];
	CHECK_INT(sum, count);
	CHECK_INT(ret_run->counts.calls, fake->calls);
	CHECK_INT(fake->touched_absent, 0);
	/* No page is ever booked as moved that is not there, nor left out that is. */
	for (size_t i = 0; i < count; i++)
		CHECK_TRUE((fake->node[i] == 2) ==
				   (ret_run->outcomes[i] == PAGE_MOVE_MOVED ||
				    ret_run->outcomes[i] == PAGE_MOVE_ALREADY_THERE) ||
			   (ret_run->error < 0 && ret_run->outcomes[i] == PAGE_MOVE_NOT_TRIED));
}

static void test_all_move(void)
{
	struct fake fake;
	struct run run;

	fake_init(&fake);
	run_with(&fake, (struct page_move_options){.batch_pages = 16}, 40, &run);
	CHECK_INT(run.error, 0);
	CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], 40);
	CHECK_INT(run.counts.calls, 3);
	CHECK_INT(run.counts.longest_call_ns, 1000);
	CHECK_INT(run.counts.call_ns, 3000);
}

/* One bad page of each kind at every position: all others go, and it has its own outcome. */
static void test_one_bad_everywhere(void)
{
	static const struct {
		enum page_kind kind;
		unsigned left;
		enum page_move_outcome outcome;
	} cases[] = {
		{PAGE_MARKED, 0, PAGE_MOVE_MOVED},	    {PAGE_ABSENT, 0, PAGE_MOVE_ABSENT},
		{PAGE_PINNED, 0, PAGE_MOVE_BUSY},	    {PAGE_PASSING, 1, PAGE_MOVE_MOVED},
		{PAGE_PASSING, 99, PAGE_MOVE_BUSY},	    {PAGE_ISOLATED, 1, PAGE_MOVE_MOVED},
		{PAGE_ISOLATED, 99, PAGE_MOVE_BUSY},	    {PAGE_ZERO, 0, PAGE_MOVE_FAULT},
		{PAGE_FOREIGN, 0, PAGE_MOVE_NOT_PERMITTED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t bad = 0; bad < 32; bad++) {
			for (int blind = 0; blind < 2; blind++) {
				struct fake fake;
				struct run run;

				/* A marked page cannot be told from an absent one without pagemap.
				 */
				if (blind && cases[i].kind == PAGE_MARKED)
					continue;
				fake_init(&fake);
				fake.is_blind = blind;
				fake.kind[bad] = cases[i].kind;
				fake.left[bad] = cases[i].left;
				run_with(&fake, (struct page_move_options){.batch_pages = 32}, 32,
					 &run);
				CHECK_INT(run.error, 0);
				CHECK_INT(run.outcomes[bad], cases[i].outcome);
				CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED],
					  31 + (cases[i].outcome == PAGE_MOVE_MOVED));
				/* Without pagemap it takes halving to find it. */
				CHECK_TRUE(run.counts.calls <= (blind ? 40 : 4));
			}
		}
	}
}

/* Pairs of bad pages of different kinds, at every two positions. */
static void test_two_bad_everywhere(void)
{
	static const enum page_kind kinds[] = {PAGE_ABSENT, PAGE_PINNED, PAGE_MARKED, PAGE_FOREIGN};

	for (size_t first = 0; first < 16; first++) {
		for (size_t second = 0; second < 16; second++) {
			for (size_t pair = 0; pair < 16; pair++) {
				struct fake fake;
				struct run run;

				if (first == second)
					continue;
				fake_init(&fake);
				fake.kind[first] = kinds[pair / 4];
				fake.kind[second] = kinds[pair % 4];
				run_with(&fake, (struct page_move_options){.batch_pages = 16}, 16,
					 &run);
				CHECK_INT(run.counts.pages[PAGE_MOVE_NOT_TRIED], 0);
				CHECK_TRUE(run.counts.pages[PAGE_MOVE_MOVED] >= 14);
			}
		}
	}
}

static void test_marked_pages(void)
{
	static const int statuses[] = {-ENOENT, -EFAULT};

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct fake fake;
		struct run run;

		fake_init(&fake);
		fake.missing_status = statuses[i];
		for (size_t at = 0; at < 32; at += 2)
			fake.kind[at] = PAGE_MARKED;
		fake.kind[1] = PAGE_ABSENT;
		run_with(&fake, (struct page_move_options){0}, 32, &run);
		CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], 31);
		CHECK_INT(run.counts.pages[PAGE_MOVE_ABSENT], 1);
		CHECK_INT(run.counts.touched, 16);
		CHECK_TRUE(run.counts.calls <= 3);
	}
}

/* A userfaultfd that was opened meanwhile, a page that went away meanwhile: nothing is read that must not be. */
static void test_touching_is_asked_for(void)
{
	struct fake fake;
	struct run run;

	fake_init(&fake);
	for (size_t at = 0; at < 32; at += 2)
		fake.kind[at] = PAGE_MARKED;
	fake.may_touch_error = -EBUSY;
	run_with(&fake, (struct page_move_options){.batch_pages = 8}, 32, &run);
	CHECK_INT(run.error, -EBUSY);
	CHECK_INT(run.counts.touched, 0);
	CHECK_INT(run.counts.calls, 1);
	CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], 4);
	CHECK_INT(run.counts.pages[PAGE_MOVE_NOT_TRIED], 28);

	fake_init(&fake);
	for (size_t at = 0; at < 32; at += 2)
		fake.kind[at] = PAGE_MARKED;
	fake.goes_absent = 6;
	run_with(&fake, (struct page_move_options){0}, 32, &run);
	CHECK_INT(run.error, 0);
	CHECK_INT(fake.may_touch_asked, 1);
	CHECK_INT(fake.touched_absent, 0);
	CHECK_INT(run.counts.touched, 15);
	CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], 31);
	CHECK_INT(run.counts.pages[PAGE_MOVE_ABSENT], 1);

	/* Where nothing is marked nothing is asked. */
	fake_init(&fake);
	fake.kind[3] = PAGE_ABSENT;
	run_with(&fake, (struct page_move_options){0}, 32, &run);
	CHECK_INT(fake.may_touch_asked, 0);
}

/* Memory that is pinned as a whole costs few calls, not two for every page. */
static void test_all_pinned(void)
{
	struct fake fake;
	struct run run;

	fake_init(&fake);
	for (size_t at = 0; at < 64; at++)
		fake.kind[at] = PAGE_PINNED;
	run_with(&fake, (struct page_move_options){0}, 64, &run);
	CHECK_INT(run.counts.pages[PAGE_MOVE_BUSY], 64);
	CHECK_TRUE(run.counts.calls <= 3);
}

/* The destination fills up after every possible number of pages. */
static void test_no_room(void)
{
	for (size_t room = 0; room <= 32; room++) {
		struct fake fake;
		struct run run;

		fake_init(&fake);
		fake.room = room;
		run_with(&fake, (struct page_move_options){.batch_pages = 8}, 32, &run);
		CHECK_INT(run.error, 0);
		CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], room);
		CHECK_INT(run.counts.pages[PAGE_MOVE_NO_ROOM], 32 - room);
		CHECK_INT(run.counts.last_error, room < 32 ? -ENOMEM : 0);
	}
}

/* Every refusal at every call: what was done is told, the rest is not tried. */
static void test_refusals(void)
{
	static const long errors[] = {-ESRCH, -EPERM, -EACCES, -ENODEV, -ENOSYS};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		for (unsigned fail_call = 1; fail_call <= 5; fail_call++) {
			struct fake fake;
			struct run run;
			bool is_refused = fail_call <= 4;

			fake_init(&fake);
			fake.fail_call = fail_call;
			fake.fail_error = errors[i];
			run_with(&fake, (struct page_move_options){.batch_pages = 8}, 32, &run);
			CHECK_INT(run.error, is_refused ? errors[i] : 0);
			CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED],
				  is_refused ? (fail_call - 1) * 8 : 32);
			if (is_refused && (errors[i] == -EACCES || errors[i] == -EPERM))
				CHECK_INT(run.counts.pages[PAGE_MOVE_NOT_PERMITTED], 8);
		}
	}
}

/* A passing failure of a whole call is tried again. */
static void test_passing_call_errors(void)
{
	static const long errors[] = {-EAGAIN, -EINTR, -EBUSY, -ENOMEM};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		for (unsigned fail_call = 1; fail_call <= 4; fail_call++) {
			struct fake fake;
			struct run run;

			fake_init(&fake);
			fake.fail_call = fail_call;
			fake.fail_error = errors[i];
			run_with(&fake, (struct page_move_options){.batch_pages = 8}, 32, &run);
			CHECK_INT(run.error, 0);
			CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], 32);
		}
	}
}

static void test_look_first(void)
{
	struct fake fake;
	struct run run;

	fake_init(&fake);
	fake.node[3] = fake.node[9] = 2;
	fake.kind[4] = PAGE_ABSENT;
	run_with(&fake, (struct page_move_options){.look_first = true}, 16, &run);
	CHECK_INT(run.counts.pages[PAGE_MOVE_ALREADY_THERE], 2);
	CHECK_INT(run.counts.pages[PAGE_MOVE_ABSENT], 1);
	CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], 13);
	CHECK_INT(run.counts.calls, 1);
}

static bool stop_after(void *user)
{
	unsigned *left = user;

	return (*left)-- == 0;
}

static void test_stop_and_limit(void)
{
	for (unsigned calls = 0; calls <= 4; calls++) {
		struct fake fake;
		struct run run;
		unsigned left = calls;

		fake_init(&fake);
		run_with(&fake,
			 (struct page_move_options){
				 .batch_pages = 8, .should_stop = stop_after, .stop_user = &left},
			 calls == 4 ? 32 : 33, &run);
		CHECK_INT(run.error, 0);
		CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], calls * 8);
		left = 0;
		fake_init(&fake);
		if (calls == 0)
			continue;
		run_with(&fake, (struct page_move_options){.batch_pages = 8, .call_limit = calls},
			 64, &run);
		CHECK_INT(run.counts.pages[PAGE_MOVE_MOVED], calls * 8);
		CHECK_INT(run.counts.pages[PAGE_MOVE_NOT_TRIED], 64 - calls * 8);
	}
}

static void test_options(void)
{
	struct page_move_options options = {.batch_pages = PAGE_MOVE_BATCH_MAX + 1};
	struct page_move *move = NULL;

	CHECK_INT(page_move_new(&options, &move), -EINVAL);
	CHECK_TRUE(page_move_free(move) == NULL);
	CHECK_STR(page_move_outcome_name(PAGE_MOVE_NO_ROOM), "no_room");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"all_move", test_all_move},
		{"one_bad_everywhere", test_one_bad_everywhere},
		{"two_bad_everywhere", test_two_bad_everywhere},
		{"marked_pages", test_marked_pages},
		{"touching_is_asked_for", test_touching_is_asked_for},
		{"all_pinned", test_all_pinned},
		{"no_room", test_no_room},
		{"refusals", test_refusals},
		{"passing_call_errors", test_passing_call_errors},
		{"look_first", test_look_first},
		{"stop_and_limit", test_stop_and_limit},
		{"options", test_options},
	};

	return unit_main("page_move", cases, ARRAY_SIZE(cases));
}
