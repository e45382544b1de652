/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "fixture_tree.h"
#include "memory_block.h"
#include "page_survey.h"

#define BLOCK	0x8000000ull /* 32768 pages */
#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define START	0x10000000ull

struct machine {
	struct fixture_tree tree;
	struct physical_map *map;
};

/* Four blocks: nodes 0, 0, 1, 2. */
static void machine_init(struct machine *machine)
{
	struct memory_block blocks[4];
	struct memory_block_list list = {.blocks = blocks, .count = 4, .block_bytes = BLOCK};

	for (unsigned i = 0; i < 4; i++)
		blocks[i] = (struct memory_block){.id = i,
						  .start = i * BLOCK,
						  .size_bytes = BLOCK,
						  .node_id = i < 2 ? 0 : (int)i - 1,
						  .node_count = 1};
	fixture_tree_init(&machine->tree);
	machine->map = NULL;
	CHECK_INT(physical_map_new(&list, NULL, &machine->map), 0);
}

static void machine_done(struct machine *machine)
{
	machine->map = physical_map_free(machine->map);
	fixture_tree_done(&machine->tree);
}

static void put(struct machine *machine, uint64_t address, uint64_t entry)
{
	fixture_tree_write_at(&machine->tree, "/proc/7/pagemap", address / 4096 * 8, &entry,
			      sizeof(entry));
}

static void check_run(const struct page_survey_run *run, uint64_t start, uint64_t pages,
		      enum page_survey_state state, int node_id)
{
	CHECK_INT(run->start, start);
	CHECK_INT((run->end - run->start) / 4096, pages);
	CHECK_INT(run->state, state);
	CHECK_INT(run->node_id, node_id);
}

static void test_runs(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct physical_range target = {.start = 2 * BLOCK, .end = 2 * BLOCK + 8 * 4096};
	struct page_survey_options options = {.targets = &target, .target_count = 1};
	struct page_survey_range range = {
		.start = START, .end = START + 16 * 4096, .page_bytes = 4096};
	struct page_survey_run run;
	struct page_survey_totals totals = {0};
	uint64_t target_bytes = 0;
	enum page_survey_state state;
	int node_id;

	machine_init(&machine);
	options.map = machine.map;
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), -ESRCH);
	/* 0-3 node 0, 4 swapped, 5-6 absent, 7-8 node 1 in the target, 9 node 1 behind it, 10-15
	 * node 2 */
	for (unsigned i = 0; i < 4; i++)
		put(&machine, START + i * 4096, PRESENT | (100 + 7 * i));
	put(&machine, START + 4 * 4096, SWAPPED | 5);
	put(&machine, START + 7 * 4096, PRESENT | (1ull << 61) | (2 * BLOCK / 4096));
	put(&machine, START + 8 * 4096, PRESENT | (2 * BLOCK / 4096 + 7));
	put(&machine, START + 9 * 4096, PRESENT | (2 * BLOCK / 4096 + 8));
	for (unsigned i = 10; i < 16; i++)
		put(&machine, START + i * 4096, PRESENT | (3 * BLOCK / 4096 + i));
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), 0);
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START, 4, PAGE_SURVEY_PRESENT, 0);
	CHECK_INT(run.physical, 100 * 4096);
	CHECK_INT(run.target, -1);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 4 * 4096, 1, PAGE_SURVEY_SWAPPED, -1);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 5 * 4096, 2, PAGE_SURVEY_ABSENT, -1);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 7 * 4096, 2, PAGE_SURVEY_PRESENT, 1);
	CHECK_INT(run.target, 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 9 * 4096, 1, PAGE_SURVEY_PRESENT, 1);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 10 * 4096, 6, PAGE_SURVEY_PRESENT, 2);
	CHECK_INT(page_survey_next(survey, &run), 0);
	CHECK_TRUE(page_survey_has_pfn(survey));

	struct node_set nodes = node_set_of(2);

	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next_on(survey, &nodes, &run), 1);
	check_run(&run, START + 10 * 4096, 6, PAGE_SURVEY_PRESENT, 2);
	CHECK_INT(page_survey_next_on(survey, &nodes, &run), 0);
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next_on(survey, NULL, &run), 1);
	check_run(&run, START + 7 * 4096, 2, PAGE_SURVEY_PRESENT, 1);
	CHECK_INT(page_survey_next_on(survey, NULL, &run), 0);

	totals.target_bytes = &target_bytes;
	CHECK_INT(page_survey_count(survey, &range, 1, &totals), 0);
	CHECK_INT(totals.node_bytes[0], 4 * 4096);
	CHECK_INT(totals.node_bytes[1], 3 * 4096);
	CHECK_INT(totals.node_bytes[2], 6 * 4096);
	CHECK_INT(totals.present_bytes, 13 * 4096);
	CHECK_INT(totals.swapped_bytes, 4096);
	CHECK_INT(totals.absent_bytes, 2 * 4096);
	CHECK_INT(totals.huge_bytes, 0);
	CHECK_INT(target_bytes, 2 * 4096);

	/* What was read is not kept: a page that moves is seen at once. */
	CHECK_INT(page_survey_look(survey, START, &state, &node_id), 0);
	CHECK_INT(node_id, 0);
	put(&machine, START, PRESENT | (3 * BLOCK / 4096));
	CHECK_INT(page_survey_look(survey, START, &state, &node_id), 0);
	CHECK_INT(state, PAGE_SURVEY_PRESENT);
	CHECK_INT(node_id, 2);
	CHECK_INT(page_survey_look(survey, START + 5 * 4096, &state, &node_id), 0);
	CHECK_INT(state, PAGE_SURVEY_ABSENT);
	CHECK_INT(node_id, -1);

	/* Many at once, in the middle of a walk. */
	const uint64_t asked[] = {START + 3 * 4096, START + 4 * 4096,	   START + 5 * 4096,
				  START + 9 * 4096, START + 15 * 4096, START + 100000 * 4096ull};
	const int expected[] = {0, PAGE_SURVEY_PLACE_ABSENT, PAGE_SURVEY_PLACE_ABSENT,
				1, 2,			      PAGE_SURVEY_PLACE_ABSENT};
	int places[ARRAY_SIZE(asked)];

	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	CHECK_INT(page_survey_places(survey, asked, ARRAY_SIZE(asked), places), 0);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		CHECK_INT(places[i], expected[i]);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 4096, 3, PAGE_SURVEY_PRESENT, 0);

	range.start += 4095;
	CHECK_INT(page_survey_begin(survey, &range), -EINVAL);
}

static void test_hidden_and_ended(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {0};
	struct page_survey_range range = {
		.start = START, .end = START + 4 * 4096, .page_bytes = 4096};
	struct page_survey_totals totals = {0};
	struct page_survey_run run;

	machine_init(&machine);
	options.map = machine.map;
	put(&machine, START, PRESENT);
	put(&machine, START + 4096, PRESENT);
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), 0);
	CHECK_TRUE(page_survey_has_pfn(survey));
	CHECK_INT(page_survey_count(survey, &range, 1, &totals), 0);
	CHECK_TRUE(!page_survey_has_pfn(survey));
	CHECK_INT(totals.unknown_bytes, 2 * 4096);
	CHECK_INT(totals.present_bytes, 2 * 4096);
	/* The file ends, as that of a dead process does. */
	range.start += 2 * 4096;
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 0);
}

static void test_huge_pages(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	static uint64_t entries[3 * 512];
	struct page_survey_options options = {0};
	struct page_survey_range range = {.start = START,
					  .end = START + sizeof(entries) / 8 * 4096};
	struct page_survey_totals totals = {0};
	struct page_survey_run run;
	uint64_t flags = 1ull << 15 | 1ull << 22;

	machine_init(&machine);
	options.map = machine.map;
	/* 2 MiB in one piece, 2 MiB in one piece but one page astray, 2 MiB that kpageflags calls
	 * small */
	for (unsigned i = 0; i < 512; i++) {
		entries[i] = PRESENT | (512 + i);
		entries[512 + i] = PRESENT | (1024 + i);
		entries[1024 + i] = PRESENT | (1536 + i);
	}
	entries[512 + 77] = PRESENT | 9;
	fixture_tree_write_at(&machine.tree, "/proc/7/pagemap", START / 4096 * 8, entries,
			      sizeof(entries));
	fixture_tree_write_at(&machine.tree, "/proc/kpageflags", 512 * 8, &flags, 8);
	fixture_tree_write_at(&machine.tree, "/proc/kpageflags", 1024 * 8, &flags, 8);
	flags = 0;
	fixture_tree_write_at(&machine.tree, "/proc/kpageflags", 1536 * 8, &flags, 8);
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), 0);
	range.page_bytes = 4096;
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START, 512, PAGE_SURVEY_PRESENT, 0);
	CHECK_INT(run.page_bytes, 2 << 20);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + (2 << 20), 1024, PAGE_SURVEY_PRESENT, 0);
	CHECK_INT(run.page_bytes, 4096);
	CHECK_INT(page_survey_next(survey, &run), 0);
	CHECK_INT(page_survey_count(survey, &range, 1, &totals), 0);
	CHECK_INT(totals.huge_bytes, 2 << 20);
	CHECK_INT(page_survey_is_huge(survey, START), 1);
	CHECK_INT(page_survey_is_huge(survey, START + (2 << 20)), 0);
	CHECK_INT(page_survey_is_huge(survey, START + (4 << 20)), 0);
	CHECK_INT(page_survey_is_huge(survey, START + 4096), 0);
	/* Read and never written: the huge page of zeros, which is nobody's. */
	flags = 1ull << 15 | 1ull << 22 | 1ull << 24;
	fixture_tree_write_at(&machine.tree, "/proc/kpageflags", 512 * 8, &flags, 8);
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START, 512, PAGE_SURVEY_ABSENT, -1);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + (2 << 20), 1024, PAGE_SURVEY_PRESENT, 0);
	/* The same as hugetlb: one entry a page counts. */
	range.page_bytes = 2 << 20;
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START, 1536, PAGE_SURVEY_PRESENT, 0);
	CHECK_INT(run.page_bytes, 2 << 20);
}

/* More than one chunk of entries, of which the first page is the only one present. */
static void test_large_range(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {0};
	uint64_t pages = 200001;
	struct page_survey_range range = {
		.start = START, .end = START + pages * 4096, .page_bytes = 4096};
	struct page_survey_run run;

	machine_init(&machine);
	options.map = machine.map;
	put(&machine, START, PRESENT | 5);
	put(&machine, START + (pages - 1) * 4096, PRESENT | 6);
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), 0);
	CHECK_INT(page_survey_begin(survey, &range), 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START, 1, PAGE_SURVEY_PRESENT, 0);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + 4096, pages - 2, PAGE_SURVEY_ABSENT, -1);
	CHECK_INT(page_survey_next(survey, &run), 1);
	check_run(&run, START + (pages - 1) * 4096, 1, PAGE_SURVEY_PRESENT, 0);
}

/*
 * Pages of all kinds in random order, and places with borders inside and between blocks: every page
 * lies in one run that says what its entry says, and no two neighbours could be one run.
 */
static void test_random_pages(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	const struct physical_range targets[] = {
		{.start = BLOCK / 2, .end = BLOCK + 5 * 4096},
		{.start = BLOCK, .end = 2 * BLOCK + 4096},
		{.start = 4 * BLOCK - 4096, .end = 9 * BLOCK},
	};
	/* Node and target by page frame, as machine_init() and targets say; beyond block 3 there is
	 * no node. */
	static const struct {
		uint64_t pfn;
		int node_id, target;
	} places[] = {
		{1, 0, -1},
		{BLOCK / 2 / 4096 - 1, 0, -1},
		{BLOCK / 2 / 4096, 0, 0},
		{BLOCK / 4096 + 4, 0, 0},
		{BLOCK / 4096 + 5, 0, 1},
		{2 * BLOCK / 4096, 1, 1},
		{2 * BLOCK / 4096 + 1, 1, -1},
		{3 * BLOCK / 4096, 2, -1},
		{4 * BLOCK / 4096 - 1, 2, 2},
		{4 * BLOCK / 4096, -1, 2},
		{9 * BLOCK / 4096, -1, -1},
	};
	struct page_survey_options options = {.targets = targets, .target_count = 3};
	enum { PAGES = 20000 };
	uint64_t *entries = calloc(PAGES, sizeof(*entries));
	int *kinds = calloc(PAGES, sizeof(*kinds));
	/* Not on a border of huge pages. */
	struct page_survey_range range = {
		.start = START + 77 * 4096, .end = START + (77 + PAGES) * 4096, .page_bytes = 4096};
	struct page_survey_run run, last = {0};
	uint64_t flags = 0, page = 0;
	unsigned seed = 7;

	machine_init(&machine);
	options.map = machine.map;
	for (size_t i = 0; i < PAGES; i++) {
		/* Runs of some pages, now and then of thousands. */
		bool goes_on = i && rand_r(&seed) % (i % 4096 < 2048 ? 5 : 2000);

		kinds[i] = goes_on ? kinds[i - 1] : rand_r(&seed) % ((int)ARRAY_SIZE(places) + 2);
		entries[i] = kinds[i] == 0   ? 0
			     : kinds[i] == 1 ? SWAPPED | (unsigned)rand_r(&seed)
					     : PRESENT | places[kinds[i] - 2].pfn |
						       (uint64_t)(rand_r(&seed) % 2) << 61;
	}
	fixture_tree_write_at(&machine.tree, "/proc/7/pagemap", range.start / 4096 * 8, entries,
			      PAGES * sizeof(*entries));
	fixture_tree_write_at(&machine.tree, "/proc/kpageflags", 0, &flags, 8);
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), 0);
	CHECK_INT(page_survey_begin(survey, &range), 0);
	while (page_survey_next(survey, &run) > 0) {
		CHECK_INT(run.start, range.start + page * 4096);
		CHECK_TRUE(page == 0 || run.state != last.state || run.node_id != last.node_id ||
			   run.target != last.target);
		for (; page < PAGES && range.start + page * 4096 < run.end; page++) {
			bool is_present = kinds[page] > 1;

			if (run.state != (is_present	     ? PAGE_SURVEY_PRESENT
					  : kinds[page] == 1 ? PAGE_SURVEY_SWAPPED
							     : PAGE_SURVEY_ABSENT) ||
			    run.node_id != (is_present ? places[kinds[page] - 2].node_id : -1) ||
			    run.target != (is_present ? places[kinds[page] - 2].target : -1)) {
				CHECK_INT(page, -1);
				break;
			}
		}
		last = run;
	}
	CHECK_INT(page, PAGES);
	free(entries);
	free(kinds);
}

/* The real kernel and our own memory. */
static void test_own_memory(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	CLEANUP(physical_map_freep) struct physical_map *map = NULL;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {0};
	struct page_survey_totals totals = {0};
	char *memory =
		mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct page_survey_range range = {.start = (uintptr_t)memory,
					  .end = (uintptr_t)memory + 64 * 4096,
					  .page_bytes = 4096};

	madvise(memory, 64 * 4096, MADV_NOHUGEPAGE);
	for (int i = 0; i < 16; i++)
		memory[i * 4096] = 1;
	CHECK_INT(sysroot_new("/", &sysroot), 0);
	CHECK_INT(physical_map_read(sysroot, &map), 0);
	options.map = map;
	CHECK_INT(page_survey_new(sysroot, getpid(), &options, &survey), 0);
	CHECK_INT(page_survey_count(survey, &range, 1, &totals), 0);
	CHECK_INT(totals.present_bytes + totals.swapped_bytes, 16 * 4096);
	CHECK_INT(totals.absent_bytes, 48 * 4096);
	if (page_survey_has_pfn(survey))
		CHECK_INT(totals.unknown_bytes, 0);
	munmap(memory, 64 * 4096);
}

/* Memory that was read and never written is in the page table, but it is the page of zeros: the
 * kernel never moves it. */
static void test_page_of_zeros(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	CLEANUP(physical_map_freep) struct physical_map *map = NULL;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {0};
	struct page_survey_totals totals = {0};
	volatile char *memory =
		mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct page_survey_range range = {.start = (uintptr_t)memory,
					  .end = (uintptr_t)memory + 16 * 4096,
					  .page_bytes = 4096};

	madvise((void *)(uintptr_t)memory, 16 * 4096, MADV_NOHUGEPAGE);
	for (int i = 0; i < 16; i++)
		(void)memory[i * 4096];
	memory[5 * 4096] = 1;
	CHECK_INT(sysroot_new("/", &sysroot), 0);
	CHECK_INT(physical_map_read(sysroot, &map), 0);
	options.map = map;
	CHECK_INT(page_survey_new(sysroot, getpid(), &options, &survey), 0);
	CHECK_INT(page_survey_count(survey, &range, 1, &totals), 0);
	/* Who may not see page frames cannot tell them apart. */
	CHECK_INT(totals.present_bytes + totals.swapped_bytes,
		  page_survey_has_pfn(survey) ? 4096 : 16 * 4096);
	munmap((void *)(uintptr_t)memory, 16 * 4096);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"runs", test_runs},
		{"hidden_and_ended", test_hidden_and_ended},
		{"huge_pages", test_huge_pages},
		{"large_range", test_large_range},
		{"random_pages", test_random_pages},
		{"own_memory", test_own_memory},
		{"page_of_zeros", test_page_of_zeros},
	};

	return unit_main("page_survey", cases, ARRAY_SIZE(cases));
}
