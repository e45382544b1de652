/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the real kernel, with a memfd of our own. Where it has no such userfaultfd the one thing to check is that it says so.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "backing_window.h"
#include "huge_pages.h"
#include "page_survey.h"
#include "physical_map.h"
#include "sysroot.h"

#define PAGE  4096
#define PAGES 2048
#define HUGE  (UINT64_C(2) << 20)

static int make_file(void)
{
	int fd = memfd_create("window", MFD_CLOEXEC);

	CHECK_INT(ftruncate(fd, PAGES * PAGE), 0);
	return fd;
}

static void put(int fd, unsigned page, char byte)
{
	char data[PAGE];

	memset(data, byte, sizeof(data));
	CHECK_INT(pwrite(fd, data, sizeof(data), (off_t)page * PAGE), PAGE);
}

static uint64_t held(int fd)
{
	struct stat status;

	CHECK_INT(fstat(fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* By pagemap, which touches nothing. */
static bool is_mapped(uint64_t address)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	CHECK_INT(pread(pagemap, &entry, sizeof(entry), (off_t)(address / PAGE * 8)), 8);
	close(pagemap);
	return entry >> 63;
}

static struct backing_window *open_window(void)
{
	struct backing_window *window = NULL;
	int rc = backing_window_new(&window);

	CHECK_TRUE(rc == 0 || rc == -EOPNOTSUPP);
	if (rc)
		printf("# no userfaultfd for minor faults of shared memory: %s\n", strerror(-rc));
	return window;
}

static void test_only_what_is_there(void)
{
	CLEANUP(backing_window_freep) struct backing_window *window = open_window();
	static const unsigned there[] = {0, 1, 7, 500, 501, 502, 1024, PAGES - 1};
	struct backing_window_found found = {0};
	CLEANUP_CLOSE int fd = make_file();
	uint64_t address = 0;

	if (!window)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(there); i++)
		put(fd, there[i], (char)('a' + i));
	CHECK_INT(backing_window_fill(window, 0, PAGE, &found), -EINVAL);
	CHECK_INT(backing_window_map(window, fd, PAGE, 0, PAGES * PAGE, &address), 0);
	CHECK_TRUE(!is_mapped(address));
	CHECK_INT(backing_window_fill(window, 0, PAGES * PAGE, &found), 0);
	CHECK_INT(found.mapped_bytes, ARRAY_SIZE(there) * PAGE);
	CHECK_INT(found.swapped_bytes, 0);
	CHECK_INT(held(fd), ARRAY_SIZE(there) * PAGE);
	for (unsigned page = 0, next = 0; page < PAGES; page++) {
		bool is_there = next < ARRAY_SIZE(there) && there[next] == page;

		next += is_there;
		if (is_mapped(address + (uint64_t)page * PAGE) != is_there)
			CHECK_INT(page, -1);
	}
	/* Again: they are mapped still. */
	found = (struct backing_window_found){0};
	CHECK_INT(backing_window_fill(window, 0, PAGES * PAGE, &found), 0);
	CHECK_INT(found.mapped_bytes, ARRAY_SIZE(there) * PAGE);
	/* A part of the file, not from its beginning. */
	found = (struct backing_window_found){0};
	CHECK_INT(backing_window_map(window, fd, PAGE, 500 * PAGE, 10 * PAGE, &address), 0);
	CHECK_INT(backing_window_fill(window, 501 * PAGE, 4 * PAGE, &found), 0);
	CHECK_INT(found.mapped_bytes, 2 * PAGE);
	CHECK_TRUE(!is_mapped(address) && is_mapped(address + PAGE) && is_mapped(address + 2 * PAGE));
	CHECK_INT(backing_window_fill(window, 509 * PAGE, 2 * PAGE, &found), -EINVAL);
	CHECK_INT(held(fd), ARRAY_SIZE(there) * PAGE);
	/* The data is what it was. */
	char byte;

	CHECK_INT(pread(fd, &byte, 1, 501 * PAGE), 1);
	CHECK_INT(byte, 'e');
}

/* What goes away meanwhile does not come back. */
static void test_a_page_that_goes(void)
{
	CLEANUP(backing_window_freep) struct backing_window *window = open_window();
	struct backing_window_found found = {0};
	CLEANUP_CLOSE int fd = make_file();
	uint64_t address;

	if (!window)
		return;
	for (unsigned page = 0; page < 64; page++)
		put(fd, page, 'x');
	CHECK_INT(backing_window_map(window, fd, PAGE, 0, PAGES * PAGE, &address), 0);
	CHECK_INT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * PAGE, 20 * PAGE), 0);
	CHECK_INT(backing_window_fill(window, 0, PAGES * PAGE, &found), 0);
	CHECK_INT(found.mapped_bytes, 44 * PAGE);
	CHECK_INT(held(fd), 44 * PAGE);
	/* And out of the window, too. */
	CHECK_INT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10 * PAGE), 0);
	CHECK_TRUE(!is_mapped(address));
	CHECK_INT(held(fd), 34 * PAGE);
}

static void test_an_empty_file(void)
{
	CLEANUP(backing_window_freep) struct backing_window *window = open_window();
	struct backing_window_found found = {0};
	CLEANUP_CLOSE int fd = make_file();
	uint64_t address;

	if (!window)
		return;
	CHECK_INT(backing_window_map(window, fd, PAGE, 0, PAGES * PAGE, &address), 0);
	CHECK_INT(backing_window_fill(window, 0, PAGES * PAGE, &found), 0);
	CHECK_INT(found.mapped_bytes, 0);
	CHECK_INT(held(fd), 0);
	CHECK_TRUE(backing_window_map(window, -1, PAGE, 0, PAGE, &address) == -EBADF);
}

static void test_huge_pages(void)
{
	CLEANUP(backing_window_freep) struct backing_window *window = open_window();
	struct backing_window_found found = {0};
	CLEANUP_CLOSE int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	long before = window && fd >= 0 ? huge_pages_allow(4) : -1;
	uint64_t address;

	if (before < 0) {
		printf("# needs root, hugetlbfs and a userfaultfd\n");
		return;
	}
	CHECK_INT(ftruncate(fd, 6 * HUGE), 0);
	if (fallocate(fd, 0, HUGE, HUGE) == 0 && fallocate(fd, 0, 3 * HUGE, HUGE) == 0) {
		CHECK_INT(backing_window_map(window, fd, HUGE, 0, 6 * HUGE, &address), 0);
		CHECK_INT(backing_window_fill(window, 0, 6 * HUGE, &found), 0);
		CHECK_INT(found.mapped_bytes, 2 * HUGE);
		CHECK_INT(found.swapped_bytes, 0);
		for (unsigned page = 0; page < 6; page++)
			CHECK_INT(is_mapped(address + page * HUGE), page == 1 || page == 3);
		/* A page of the pool has been taken for none of the holes. */
		CHECK_INT(held(fd), 2 * HUGE);
	} else {
		printf("# this machine has no room for two huge pages\n");
	}
	backing_window_unmap(window);
	CHECK_TRUE(huge_pages_allow(before) >= 0);
}

struct asked {
	unsigned times, stop_at;
};

static int go_on(void *user)
{
	struct asked *asked = user;

	return ++asked->times == asked->stop_at ? -ECANCELED : 0;
}

/* Of a mapping that has some of its file's pages: those that it lacks, and no others. */
static void test_what_a_page_table_lacks(void)
{
	CLEANUP(backing_window_freep) struct backing_window *window = open_window();
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	CLEANUP(physical_map_freep) struct physical_map *physical = NULL;
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	struct backing_window_found found = {0};
	struct page_survey_options options = {0};
	struct asked asked = {0};
	CLEANUP_CLOSE int fd = make_file();
	struct page_survey_range range = {.page_bytes = PAGE};
	volatile char *memory;
	uint64_t address;

	if (!window)
		return;
	CHECK_INT(sysroot_new("/", &sysroot), 0);
	if (physical_map_read(sysroot, &physical)) {
		printf("# this machine does not show its memory blocks\n");
		return;
	}
	options.map = physical;
	CHECK_INT(page_survey_new(sysroot, getpid(), &options, &survey), 0);
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK_TRUE(memory != MAP_FAILED);
	for (unsigned page = 100; page < 110; page++)
		put(fd, page, 'f');
	/* Written: a read would bring its neighbours along (mm/memory.c do_fault_around). */
	for (unsigned page = 103; page < 106; page++)
		memory[page * PAGE] = 'g';
	CHECK_INT(backing_window_map(window, fd, PAGE, 0, PAGES * PAGE, &address), 0);
	/* All of the file but its first page. */
	range.start = (uintptr_t)memory + PAGE;
	range.end = (uintptr_t)memory + PAGES * PAGE;
	CHECK_INT(backing_window_fill_absent(window, survey, &range, PAGE, go_on, &asked, &found), 0);
	CHECK_INT(found.mapped_bytes, 7 * PAGE);
	CHECK_INT(found.swapped_bytes, 0);
	for (unsigned page = 100; page < 110; page++)
		CHECK_INT(is_mapped(address + page * PAGE), page < 103 || page > 105);
	CHECK_TRUE(!is_mapped((uintptr_t)memory + 100 * PAGE));
	CHECK_INT(held(fd), 10 * PAGE);
	CHECK_TRUE(asked.times >= 3);
	asked = (struct asked){.stop_at = 2};
	CHECK_INT(backing_window_fill_absent(window, survey, &range, PAGE, go_on, &asked, &found), -ECANCELED);
	munmap((void *)memory, PAGES * PAGE);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"only_what_is_there", test_only_what_is_there},
		{"a_page_that_goes", test_a_page_that_goes},
		{"an_empty_file", test_an_empty_file},
		{"huge_pages", test_huge_pages},
		{"what_a_page_table_lacks", test_what_a_page_table_lacks},
	};

	return unit_main("backing_window", cases, ARRAY_SIZE(cases));
}
