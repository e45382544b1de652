/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the real kernel, with a memfd of our own. Where it has no such userfaultfd the one thing to check is that it says so.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "backing_window.h"

#define PAGE  4096
#define PAGES 2048

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
	CHECK_INT(backing_window_map(window, fd, 0, PAGES * PAGE, &address), 0);
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
	CHECK_INT(backing_window_map(window, fd, 500 * PAGE, 10 * PAGE, &address), 0);
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
	CHECK_INT(backing_window_map(window, fd, 0, PAGES * PAGE, &address), 0);
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
	CHECK_INT(backing_window_map(window, fd, 0, PAGES * PAGE, &address), 0);
	CHECK_INT(backing_window_fill(window, 0, PAGES * PAGE, &found), 0);
	CHECK_INT(found.mapped_bytes, 0);
	CHECK_INT(held(fd), 0);
	CHECK_TRUE(backing_window_map(window, -1, 0, PAGE, &address) == -EBADF);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"only_what_is_there", test_only_what_is_there},
		{"a_page_that_goes", test_a_page_that_goes},
		{"an_empty_file", test_an_empty_file},
	};

	return unit_main("backing_window", cases, ARRAY_SIZE(cases));
}
