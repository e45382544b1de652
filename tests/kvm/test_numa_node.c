/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fixture_tree.h"
#include "numa_node.h"

#define DIRECTORY "/sys/devices/system/node"

static void add_node(struct fixture_tree *tree, int id, unsigned long long total_kib,
		     const char *cpus, const char *distances)
{
	char path[64];

	snprintf(path, sizeof(path), DIRECTORY "/node%d/meminfo", id);
	fixture_tree_write(tree, path,
			   "Node %d MemTotal:       %llu kB\nNode %d MemFree:        1000 kB\n"
			   "Node %d FilePages:      300 kB\nNode %d AnonPages:      200 kB\n"
			   "Node %d Shmem:            100 kB\nNode %d Unevictable:   8 kB\n",
			   id, total_kib, id, id, id, id, id);
	snprintf(path, sizeof(path), DIRECTORY "/node%d/cpulist", id);
	fixture_tree_write(tree, path, "%s\n", cpus);
	snprintf(path, sizeof(path), DIRECTORY "/node%d/distance", id);
	fixture_tree_write(tree, path, "%s\n", distances);
}

static void test_nodes(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	char text[64];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, DIRECTORY "/online", "0-1,3\n");
	add_node(&tree, 0, 2097152, "0-1", "10 12 22");
	add_node(&tree, 1, 2097152, "2", "12 10 18");
	add_node(&tree, 3, 0, "", "22 18 10");
	fixture_tree_write(
		&tree, "/proc/zoneinfo",
		"Node 0, zone   Normal\n  pages free     10\n        spanned  100\n"
		"        present  100\n        managed  90\n  start_pfn:           0\n"
		"Node 1, zone  Movable\n  pages free     20\n        spanned  100\n"
		"        present  100\n        managed  80\n  start_pfn:           100\n");
	CHECK_INT(numa_node_list_read(tree.sysroot, &list), 0);
	CHECK_INT(list.count, 3);
	CHECK_INT(list.nodes[0].total_bytes, 2ll << 30);
	CHECK_INT(list.nodes[0].free_bytes, 1000 * 1024);
	CHECK_INT(list.nodes[0].file_bytes, 300 * 1024);
	CHECK_INT(list.nodes[0].shmem_bytes, 100 * 1024);
	CHECK_INT(list.nodes[0].kernel_zone_bytes, 90 * 4096);
	CHECK_INT(list.nodes[0].kernel_zone_free_bytes, 10 * 4096);
	CHECK_INT(list.nodes[1].movable_bytes, 80 * 4096);
	CHECK_INT(list.nodes[1].movable_free_bytes, 20 * 4096);
	CHECK_INT(list.nodes[1].start, 100 * 4096);
	CHECK_TRUE(list.nodes[2].start == UINT64_MAX);
	CHECK_STR(list.nodes[0].cpus, "0-1");
	CHECK_TRUE(list.nodes[1].has_cpu && !list.nodes[2].has_cpu);
	CHECK_TRUE(!list.nodes[2].has_memory);
	CHECK_STR(node_set_format(&list.with_memory, text, sizeof(text)), "0-1");
	CHECK_INT(numa_node_list_distance(&list, 0, 3), 22);
	CHECK_INT(numa_node_list_distance(&list, 3, 1), 18);
	CHECK_INT(numa_node_list_distance(&list, 0, 2), -1);
	CHECK_TRUE(numa_node_list_find(&list, 2) == NULL);
}

static void test_distance_of_another_time(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, DIRECTORY "/online", "0-2\n");
	add_node(&tree, 0, 1, "0", "10 12");
	add_node(&tree, 1, 1, "1", "12 10");
	CHECK_INT(numa_node_list_read(tree.sysroot, &list), 0);
	CHECK_INT(list.count, 2);
	CHECK_INT(numa_node_list_distance(&list, 0, 1), 12);
	fixture_tree_write(&tree, DIRECTORY "/node0/distance", "10 12 14\n");
	numa_node_list_done(&list);
	CHECK_INT(numa_node_list_read(tree.sysroot, &list), 0);
	CHECK_INT(numa_node_list_distance(&list, 0, 1), -1);
}

static void test_without_numa(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/proc/meminfo",
			   "MemTotal: 4096 kB\nMemFree: 1024 kB\nCached: 12 kB\n");
	CHECK_INT(numa_node_list_read(tree.sysroot, &list), 0);
	CHECK_INT(list.count, 1);
	CHECK_INT(list.nodes[0].total_bytes, 4 << 20);
	CHECK_INT(list.nodes[0].file_bytes, 12 << 10);
	CHECK_INT(numa_node_list_distance(&list, 0, 0), 10);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"nodes", test_nodes},
		{"distance_of_another_time", test_distance_of_another_time},
		{"without_numa", test_without_numa},
	};

	return unit_main("numa_node", cases, ARRAY_SIZE(cases));
}
