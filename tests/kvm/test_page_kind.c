/* SPDX-License-Identifier: Apache-2.0 */
#include "page_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fixture_tree.h"
#include "unit.h"

#define BIT(n) (UINT64_C(1) << (n))

/* The numbers of the kernel's own header, written out once more. */
static void test_kinds(void)
{
	static const struct {
		uint64_t flags;
		enum page_kind kind;
	} cases[] = {
		{0, PAGE_KIND_OTHER},
		{BIT(0) | BIT(3), PAGE_KIND_OTHER},
		{BIT(10), PAGE_KIND_FREE},
		{BIT(20), PAGE_KIND_OFFLINE},
		{BIT(23), PAGE_KIND_OFFLINE},
		{BIT(19), PAGE_KIND_POISONED},
		{BIT(19) | BIT(17) | BIT(11), PAGE_KIND_POISONED},
		{BIT(15) | BIT(17), PAGE_KIND_HUGE_FREE},
		{BIT(15) | BIT(17) | BIT(11) | BIT(12), PAGE_KIND_HUGE_USED},
		{BIT(7) | BIT(15), PAGE_KIND_SLAB},
		{BIT(26), PAGE_KIND_PAGE_TABLE},
		{BIT(5) | BIT(8), PAGE_KIND_WRITEBACK},
		{BIT(5) | BIT(12) | BIT(14), PAGE_KIND_ANON},
		{BIT(5) | BIT(14) | BIT(11), PAGE_KIND_SHMEM},
		{BIT(5) | BIT(2), PAGE_KIND_FILE},
		/* A driver's page that a process has mapped. */
		{BIT(11), PAGE_KIND_OTHER},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(page_kind_of(cases[i].flags), cases[i].kind);
	for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
		CHECK_INT(page_kind_from_name(page_kind_name((enum page_kind)kind)), kind);
		CHECK_TRUE(!page_kind_is_owned((enum page_kind)kind) || !page_kind_is_empty((enum page_kind)kind));
	}
}

/* Shared memory in huge pages: of its tails the kernel says no more than that they are tails of one. */
static void test_tails(void)
{
	struct page_kind_run run = {0};

	CHECK_INT(page_kind_next(&run, BIT(16) | BIT(22)), PAGE_KIND_FILE);
	CHECK_INT(page_kind_next(&run, BIT(16) | BIT(17) | BIT(11)), PAGE_KIND_HUGE_USED);
	CHECK_INT(page_kind_next(&run, BIT(15) | BIT(22) | BIT(14) | BIT(5)), PAGE_KIND_SHMEM);
	CHECK_INT(page_kind_next(&run, BIT(16) | BIT(22)), PAGE_KIND_SHMEM);
	CHECK_INT(page_kind_next(&run, BIT(16) | BIT(19)), PAGE_KIND_POISONED);
	CHECK_INT(page_kind_next(&run, BIT(16) | BIT(22)), PAGE_KIND_SHMEM);
	CHECK_INT(page_kind_next(&run, BIT(10)), PAGE_KIND_FREE);
	CHECK_INT(page_kind_next(&run, BIT(16)), PAGE_KIND_OTHER);
	CHECK_INT(page_kind_next(&run, BIT(15) | BIT(7)), PAGE_KIND_SLAB);
	CHECK_INT(page_kind_next(&run, BIT(16)), PAGE_KIND_SLAB);
}

static void test_entries(void)
{
	const uint64_t written[3] = {7, 8, 9};
	struct fixture_tree tree;
	uint64_t entries[8];
	size_t count = 99;
	int fd;

	fixture_tree_init(&tree);
	fixture_tree_write_at(&tree, "/proc/kpageflags", 5 * 8, written, sizeof(written));
	fd = sysroot_open(tree.sysroot, O_RDONLY, "/proc/kpageflags");
	CHECK_INT(page_kind_read_entries(fd, 4, entries, 3, &count), 0);
	CHECK_INT(count, 3);
	CHECK_INT(entries[0], 0);
	CHECK_INT(entries[2], 8);
	CHECK_INT(page_kind_read_entries(fd, 6, entries, 8, &count), 0);
	CHECK_INT(count, 2);
	CHECK_INT(page_kind_read_entries(fd, 8, entries, 8, &count), 0);
	CHECK_INT(count, 0);
	close(fd);
	/* The kernel gives whole entries only. */
	fixture_tree_write(&tree, "/proc/kpagecount", "abc");
	fd = sysroot_open(tree.sysroot, O_RDONLY, "/proc/kpagecount");
	CHECK_INT(page_kind_read_entries(fd, 0, entries, 1, &count), -EIO);
	close(fd);
	CHECK_INT(page_kind_read_entries(-1, 0, entries, 1, &count), -EBADF);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"flags", test_kinds},
		{"compound pages", test_tails},
		{"entries of the kernel's files", test_entries},
	};

	return unit_main("kvm/page_kind", cases, sizeof(cases) / sizeof(cases[0]));
}
