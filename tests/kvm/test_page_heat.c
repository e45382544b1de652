/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "fixture_tree.h"
#include "memory_block.h"
#include "page_heat.h"
#include "page_heat_priv.h"
#include "page_survey.h"

#define PRESENT	   (1ull << 63)
#define SOFT_DIRTY (1ull << 55)
#define START	   0x10000000ull
#define BITMAP	   "/sys/kernel/mm/page_idle/bitmap"
#define PAGES	   200

struct machine {
	struct fixture_tree tree;
	struct physical_map *map;
};

static void machine_init(struct machine *machine)
{
	struct memory_block block = {.size_bytes = 1ull << 30, .node_id = 0, .node_count = 1};
	struct memory_block_list list = {.blocks = &block, .count = 1, .block_bytes = 1ull << 30};

	fixture_tree_init(&machine->tree);
	machine->map = NULL;
	CHECK_INT(physical_map_new(&list, NULL, &machine->map), 0);
}

static void machine_done(struct machine *machine)
{
	machine->map = physical_map_free(machine->map);
	fixture_tree_done(&machine->tree);
}

static void put_entries(struct machine *machine, const uint64_t *entries)
{
	fixture_tree_write_at(&machine->tree, "/proc/7/pagemap", START / 4096 * 8, entries,
			      PAGES * sizeof(*entries));
}

/* The pages that a walk calls hot. */
static unsigned count_hot(struct machine *machine, struct page_heat *heat, bool *hot)
{
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {.map = machine->map};
	struct page_survey_range range = {START, START + PAGES * 4096, 4096};
	struct page_survey_run run;
	unsigned count = 0;

	CHECK_INT(page_survey_new(machine->tree.sysroot, 7, &options, &survey), 0);
	page_survey_set_heat(survey, heat);
	CHECK_INT(page_survey_begin(survey, &range), 0);
	while (page_survey_next(survey, &run) > 0)
		for (uint64_t address = run.start; address < run.end; address += 4096) {
			hot[(address - START) / 4096] = run.is_hot;
			count += run.is_hot;
		}
	return count;
}

static void begin(struct machine *machine, struct page_heat *heat)
{
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {.map = machine->map};
	struct page_survey_range range = {START, START + PAGES * 4096, 4096};

	CHECK_INT(page_survey_new(machine->tree.sysroot, 7, &options, &survey), 0);
	CHECK_INT(page_heat_begin(heat, survey, &range, 1, NULL, NULL), 0);
}

static void test_none(void)
{
	CLEANUP(machine_done) struct machine machine;
	struct page_heat *heat = NULL;
	char path[64];
	uint64_t entry = PRESENT | 9;

	machine_init(&machine);
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), -EOPNOTSUPP);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&machine.tree, path, (uintptr_t)page_heat_probe_page() / 4096 * 8, &entry, 8);
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), -EOPNOTSUPP);
}

static void test_soft_dirty(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_heat_freep) struct page_heat *heat = NULL;
	uint64_t entry = PRESENT | SOFT_DIRTY | 9, entries[PAGES];
	bool hot[PAGES] = {0};
	char path[64], text[8];

	machine_init(&machine);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&machine.tree, path, (uintptr_t)page_heat_probe_page() / 4096 * 8, &entry, 8);
	for (unsigned i = 0; i < PAGES; i++)
		entries[i] = i % 7 == 6 ? 0 : PRESENT | (100 + i) | (i / 10 % 2 ? SOFT_DIRTY : 0);
	put_entries(&machine, entries);
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), 0);
	CHECK_INT(page_heat_source(heat), PAGE_HEAT_SOFT_DIRTY);
	CHECK_INT(page_heat_begin(heat, NULL, NULL, 0, NULL, NULL), -ESRCH);
	fixture_tree_write(&machine.tree, "/proc/7/clear_refs", "%s", "");
	begin(&machine, heat);
	sysroot_read_text(machine.tree.sysroot, text, sizeof(text), "/proc/7/clear_refs");
	CHECK_STR(text, "4");
	count_hot(&machine, heat, hot);
	for (unsigned i = 0; i < PAGES; i++)
		CHECK_INT(hot[i], i % 7 != 6 && i / 10 % 2);
}

static int refuse(void *user)
{
	++*(unsigned *)user;
	return -ECANCELED;
}

/* The kernel takes long over it, or there is much to mark: whoever wants it no longer is heard. */
static void test_given_up(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_heat_freep) struct page_heat *heat = NULL;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {0};
	struct page_survey_range range = {START, START + PAGES * 4096, 4096};
	uint64_t entry = PRESENT | SOFT_DIRTY | 9, entries[PAGES];
	static uint64_t bitmap[64];
	unsigned asked = 0;
	char path[64];
	int fd;

	machine_init(&machine);
	options.map = machine.map;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&machine.tree, path, (uintptr_t)page_heat_probe_page() / 4096 * 8, &entry, 8);
	for (unsigned i = 0; i < PAGES; i++)
		entries[i] = i % 2 ? 0 : PRESENT | (100 + i);
	put_entries(&machine, entries);
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), 0);
	fd = fixture_tree_add_blocking(&machine.tree, "/proc/7/clear_refs");
	CHECK_INT(page_heat_begin(heat, NULL, NULL, 0, refuse, &asked), -ECANCELED);
	CHECK_INT(asked, 1);
	close(fd);
	page_heat_free(heat);
	fixture_tree_write_bytes(&machine.tree, BITMAP, bitmap, sizeof(bitmap));
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), 0);
	CHECK_INT(page_survey_new(machine.tree.sysroot, 7, &options, &survey), 0);
	CHECK_INT(page_heat_begin(heat, survey, &range, 1, refuse, &asked), -ECANCELED);
	CHECK_INT(asked, 2);
}

static void test_idle(void)
{
	CLEANUP(machine_done) struct machine machine;
	CLEANUP(page_heat_freep) struct page_heat *heat = NULL;
	static uint64_t bitmap[4096];
	uint64_t entries[PAGES];
	bool hot[PAGES] = {0};
	unsigned marked = 0;

	machine_init(&machine);
	fixture_tree_write_bytes(&machine.tree, BITMAP, bitmap, sizeof(bitmap));
	/* Neighbours, pages far apart and falling, and absent ones. */
	for (unsigned i = 0; i < PAGES; i++)
		entries[i] = i % 7 == 6 ? 0 : PRESENT | (i < 100 ? 1000 + i : 200000 - 331 * i);
	put_entries(&machine, entries);
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), 0);
	CHECK_INT(page_heat_source(heat), PAGE_HEAT_IDLE);
	CHECK_INT(page_heat_bit(heat), 0);
	begin(&machine, heat);
	/* The kernel would ignore zeros and keep other pages' marks; here the file is what was written. */
	int fd = sysroot_open(machine.tree.sysroot, O_RDWR, BITMAP);

	CHECK_INT(pread(fd, bitmap, sizeof(bitmap), 0), sizeof(bitmap));
	for (size_t i = 0; i < ARRAY_SIZE(bitmap); i++)
		marked += (unsigned)__builtin_popcountll(bitmap[i]);
	CHECK_INT(marked, PAGES - PAGES / 7);
	CHECK_INT(count_hot(&machine, heat, hot), 0);
	/* Some are used. */
	for (unsigned i = 0; i < PAGES; i += 3) {
		uint64_t pfn = entries[i] & ~PRESENT;

		bitmap[pfn / 64] &= ~(1ull << pfn % 64);
	}
	CHECK_INT(pwrite(fd, bitmap, sizeof(bitmap), 0), sizeof(bitmap));
	close(fd);
	page_heat_free(heat);
	CHECK_INT(page_heat_new(machine.tree.sysroot, 7, &heat), 0);
	count_hot(&machine, heat, hot);
	for (unsigned i = 0; i < PAGES; i++)
		CHECK_INT(hot[i], i % 7 != 6 && i % 3 == 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"none", test_none},
		{"soft_dirty", test_soft_dirty},
		{"idle", test_idle},
		{"given_up", test_given_up},
	};

	return unit_main("page_heat", cases, ARRAY_SIZE(cases));
}
