/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fixture_tree.h"
#include "hugepage_pool.h"

#define SIZE_2M (2ull << 20)

static void add_pool(struct fixture_tree *tree, const char *directory, unsigned total,
		     unsigned free_pages)
{
	static const char *const names[] = {"nr_hugepages", "free_hugepages", "surplus_hugepages",
					    "resv_hugepages", "nr_overcommit_hugepages"};
	unsigned values[] = {total, free_pages, 0, 3, 5};
	char path[160];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		fixture_tree_write(tree, path, "%u\n", values[i]);
	}
}

static void add_machine(struct fixture_tree *tree)
{
	add_pool(tree, "/sys/kernel/mm/hugepages/hugepages-1048576kB", 0, 0);
	add_pool(tree, "/sys/kernel/mm/hugepages/hugepages-2048kB", 300, 40);
	add_pool(tree, "/sys/devices/system/node/node1/hugepages/hugepages-2048kB", 200, 30);
	fixture_tree_write(tree, "/proc/meminfo", "MemTotal: 1 kB\nHugepagesize:       2048 kB\n");
}

static void test_read(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	uint64_t sizes[HUGEPAGE_POOL_SIZES_MAX], size;
	struct hugepage_pool pool;
	size_t count = 9;

	fixture_tree_init(&tree);
	CHECK_INT(hugepage_pool_list_sizes(tree.sysroot, sizes, &count), 0);
	CHECK_INT(count, 0);
	add_machine(&tree);
	CHECK_INT(hugepage_pool_list_sizes(tree.sysroot, sizes, &count), 0);
	CHECK_INT(count, 2);
	CHECK_INT(sizes[0], SIZE_2M);
	CHECK_INT(sizes[1], 1 << 30);
	CHECK_INT(hugepage_pool_read_default_size(tree.sysroot, &size), 0);
	CHECK_INT(size, SIZE_2M);
	CHECK_INT(hugepage_pool_read(tree.sysroot, HUGEPAGE_POOL_ALL_NODES, SIZE_2M, &pool), 0);
	CHECK_INT(pool.total, 300);
	CHECK_INT(pool.free, 40);
	CHECK_INT(pool.reserved, 3);
	CHECK_INT(pool.overcommit, 5);
	CHECK_INT(hugepage_pool_read(tree.sysroot, 1, SIZE_2M, &pool), 0);
	CHECK_INT(pool.total, 200);
	CHECK_INT(pool.reserved, 0);
	CHECK_INT(hugepage_pool_read(tree.sysroot, 2, SIZE_2M, &pool), -ENOENT);
}

/* A kernel that finds only so many pages. */
static int on_write(void *user, const char *path, const char *text)
{
	struct fixture_tree *tree = user;
	int wanted = atoi(text);

	if (wanted > 900)
		return -EINVAL;
	fixture_tree_write(tree, path, "%d\n", wanted > 250 ? 250 : wanted);
	return 0;
}

static void test_set(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct hugepage_pool pool = {0};

	fixture_tree_init(&tree);
	add_machine(&tree);
	fixture_tree_set_hooks(&tree, on_write, &tree);
	CHECK_INT(hugepage_pool_set(tree.sysroot, 1, SIZE_2M, 210, &pool), 0);
	CHECK_INT(pool.total, 210);
	CHECK_INT(hugepage_pool_set(tree.sysroot, 1, SIZE_2M, 400, &pool), 0);
	CHECK_INT(pool.total, 250);
	CHECK_INT(hugepage_pool_set(tree.sysroot, 1, SIZE_2M, 1000, &pool), -EINVAL);
}

#define ELSEWHERE 30

/* A node that gets more than it was asked for, by what others have as surplus. */
static int on_write_beside_surplus(void *user, const char *path, const char *text)
{
	struct fixture_tree *tree = user;

	fixture_tree_write(tree, path, "%d\n", atoi(text) + (strstr(path, "node") ? ELSEWHERE : 0));
	return 0;
}

static void test_set_beside_surplus(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct hugepage_pool pool = {0};

	fixture_tree_init(&tree);
	add_machine(&tree);
	fixture_tree_write(&tree, "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages",
			   "%d\n", ELSEWHERE);
	fixture_tree_set_hooks(&tree, on_write_beside_surplus, &tree);
	CHECK_INT(hugepage_pool_set(tree.sysroot, 1, SIZE_2M, 210, &pool), 0);
	CHECK_INT(pool.total, 210);
	/* It cannot do with less than that. */
	CHECK_INT(hugepage_pool_set(tree.sysroot, 1, SIZE_2M, 20, &pool), 0);
	CHECK_INT(pool.total, ELSEWHERE);
	CHECK_INT(hugepage_pool_set(tree.sysroot, HUGEPAGE_POOL_ALL_NODES, SIZE_2M, 210, &pool), 0);
	CHECK_INT(pool.total, 210);
	/* A kernel that gives what it is asked for is asked once. */
	fixture_tree_set_hooks(&tree, on_write, &tree);
	CHECK_INT(hugepage_pool_set(tree.sysroot, 1, SIZE_2M, 210, &pool), 0);
	CHECK_INT(pool.total, 210);
}

int main(void)
{
	static const struct unit_case cases[] = {{"read", test_read},
						 {"set", test_set},
						 {"set beside surplus", test_set_beside_surplus}};

	return unit_main("hugepage_pool", cases, ARRAY_SIZE(cases));
}
