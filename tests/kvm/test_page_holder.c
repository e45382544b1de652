/* SPDX-License-Identifier: Apache-2.0 */
#include "page_holder.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fixture_tree.h"
#include "unit.h"

#define BIT(n) (UINT64_C(1) << (n))
#define FREE   BIT(10)
#define ANON   (BIT(5) | BIT(12) | BIT(14))
#define FILE_  BIT(5)

static uint64_t page;

static struct fixture_tree start(void)
{
	struct fixture_tree tree;

	fixture_tree_init(&tree);
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	return tree;
}

/* One page, of that group. */
static void put(struct fixture_tree *tree, uint64_t pfn, uint64_t flags, uint64_t inode)
{
	fixture_tree_write_at(tree, "/proc/kpageflags", pfn * 8, &flags, 8);
	fixture_tree_write_at(tree, "/proc/kpagecgroup", pfn * 8, &inode, 8);
}

static int count(struct page_holder *holder, uint64_t first, uint64_t end, uint64_t kinds[PAGE_KIND_COUNT])
{
	const struct physical_range range = {first * page, end * page};

	memset(kinds, 0, PAGE_KIND_COUNT * sizeof(*kinds));
	return page_holder_count(holder, &range, kinds, NULL, NULL);
}

static void test_kinds_and_groups(void)
{
	CLEANUP(page_holder_freep) struct page_holder *holder = NULL;
	struct fixture_tree tree = start();
	const struct page_holder_group *groups;
	uint64_t kinds[PAGE_KIND_COUNT], sum = 0;

	CHECK_INT(page_holder_new(tree.sysroot, &holder), -ENOENT);
	put(&tree, 600, FREE, 0);
	put(&tree, 601, ANON, 17);
	put(&tree, 602, ANON, 17);
	put(&tree, 603, FILE_, 18);
	put(&tree, 604, FILE_ | BIT(8), 17);
	/* A page table is charged to somebody, and the kernel's all the same. */
	put(&tree, 605, BIT(26), 17);
	put(&tree, 606, BIT(19), 0);
	put(&tree, 607, FILE_, 0);
	CHECK_INT(page_holder_new(tree.sysroot, &holder), 0);
	CHECK_INT(count(holder, 600, 610, kinds), 0);
	CHECK_INT(kinds[PAGE_KIND_FREE], page);
	CHECK_INT(kinds[PAGE_KIND_ANON], 2 * page);
	CHECK_INT(kinds[PAGE_KIND_FILE], 2 * page);
	CHECK_INT(kinds[PAGE_KIND_WRITEBACK], page);
	CHECK_INT(kinds[PAGE_KIND_PAGE_TABLE], page);
	CHECK_INT(kinds[PAGE_KIND_POISONED], page);
	/* Behind the last frame that the kernel has. */
	CHECK_INT(kinds[PAGE_KIND_OFFLINE], 2 * page);
	for (size_t i = 0; i < PAGE_KIND_COUNT; i++)
		sum += kinds[i];
	CHECK_INT(sum, 10 * page);
	CHECK_INT(page_holder_top(holder, &groups), 3);
	CHECK_INT(groups[0].inode, 17);
	CHECK_INT(groups[0].bytes, 3 * page);
	CHECK_INT(groups[0].kinds[PAGE_KIND_ANON], 2 * page);
	CHECK_INT(groups[0].kinds[PAGE_KIND_WRITEBACK], page);
	CHECK_INT(groups[1].inode, 0);
	CHECK_INT(groups[2].inode, 18);
	fixture_tree_done(&tree);
}

/* Of a compound page only the first is charged, and the range begins behind it. */
static void test_tails(void)
{
	CLEANUP(page_holder_freep) struct page_holder *holder = NULL;
	struct fixture_tree tree = start();
	const struct page_holder_group *groups;
	uint64_t kinds[PAGE_KIND_COUNT];

	put(&tree, 512, BIT(15) | BIT(22) | BIT(5) | BIT(14), 9);
	for (uint64_t pfn = 513; pfn < 520; pfn++)
		put(&tree, pfn, BIT(16) | BIT(22), 0);
	put(&tree, 520, FREE, 0);
	CHECK_INT(page_holder_new(tree.sysroot, &holder), 0);
	CHECK_INT(count(holder, 515, 521, kinds), 0);
	CHECK_INT(kinds[PAGE_KIND_SHMEM], 5 * page);
	CHECK_INT(kinds[PAGE_KIND_FREE], page);
	CHECK_INT(page_holder_top(holder, &groups), 1);
	CHECK_INT(groups[0].inode, 9);
	CHECK_INT(groups[0].bytes, 5 * page);
	fixture_tree_done(&tree);
}

/* More groups than the table had room for at first, each twice, with another kernel that counts none. */
static void test_many_groups(void)
{
	enum { GROUPS = 3000 };
	static uint64_t flags[2 * GROUPS], inodes[2 * GROUPS];
	CLEANUP(page_holder_freep) struct page_holder *holder = NULL;
	CLEANUP(page_holder_freep) struct page_holder *blind = NULL;
	struct fixture_tree tree = start();
	const struct page_holder_group *groups;
	uint64_t kinds[PAGE_KIND_COUNT];

	for (size_t i = 0; i < 2 * GROUPS; i++) {
		flags[i] = ANON;
		inodes[i] = 1000 + i % GROUPS;
	}
	fixture_tree_write_at(&tree, "/proc/kpageflags", 0, flags, sizeof(flags));
	CHECK_INT(page_holder_new(tree.sysroot, &blind), 0);
	fixture_tree_write_at(&tree, "/proc/kpagecgroup", 0, inodes, sizeof(inodes));
	CHECK_INT(page_holder_new(tree.sysroot, &holder), 0);
	CHECK_INT(count(holder, 0, 2 * GROUPS, kinds), 0);
	CHECK_INT(page_holder_top(holder, &groups), GROUPS);
	for (size_t i = 0; i < GROUPS; i++)
		if (groups[i].inode != 1000 + i || groups[i].bytes != 2 * page)
			CHECK_INT(groups[i].inode, 1000 + i);
	CHECK_INT(count(blind, 0, 2 * GROUPS, kinds), 0);
	CHECK_INT(kinds[PAGE_KIND_ANON], 2 * GROUPS * page);
	CHECK_INT(page_holder_top(blind, &groups), 1);
	CHECK_INT(groups[0].inode, 0);
	fixture_tree_done(&tree);
}

static int ask(void *user, uint64_t done_bytes)
{
	uint64_t *asked = user;

	CHECK_INT(done_bytes, ++*asked * PAGE_HOLDER_PIECE_BYTES);
	return *asked == 2 ? -ECANCELED : 0;
}

static void test_interrupted(void)
{
	CLEANUP(page_holder_freep) struct page_holder *holder = NULL;
	struct fixture_tree tree = start();
	uint64_t kinds[PAGE_KIND_COUNT] = {0}, asked = 0;

	put(&tree, 4 * PAGE_HOLDER_PIECE_BYTES / page - 1, FREE, 0);
	CHECK_INT(page_holder_new(tree.sysroot, &holder), 0);
	CHECK_INT(page_holder_count(holder, &(struct physical_range){0, 4 * PAGE_HOLDER_PIECE_BYTES}, kinds, ask, &asked),
		  -ECANCELED);
	CHECK_INT(asked, 2);
	CHECK_INT(kinds[PAGE_KIND_OTHER], 2 * PAGE_HOLDER_PIECE_BYTES);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"kinds and groups", test_kinds_and_groups},
		{"tails of compound pages", test_tails},
		{"many groups", test_many_groups},
		{"interrupted", test_interrupted},
	};

	return unit_main("kvm/page_holder", cases, sizeof(cases) / sizeof(cases[0]));
}
