/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_pinner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "cleanup.h"
#include "fixture_tree.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static void add_process(struct fixture_tree *tree, int pid, const char *name, unsigned pinned_mib, unsigned huge_mib,
			const char *group)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fixture_tree_write(tree, path, "Name:\t%s\nVmSize:\t 9 kB\nVmPin:\t %u kB\nHugetlbPages:\t %u kB\n", name,
			   pinned_mib * 1024, huge_mib * 1024);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (group)
		fixture_tree_write(tree, path, "0::%s\n", group);
}

static void test_nodes(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE struct memory_pinner_list *list = calloc(1, sizeof(*list));

	assert(list);
	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/rdma/memory.numa_stat", "anon N0=0 N3=8388608\nshmem N3=4096\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/huge/memory.numa_stat", "anon N0=4096\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/counted/memory.numa_stat", "anon N0=4096\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/counted/hugetlb.2MB.numa_stat", "total=2097152 N0=0 N1=2097152\n");
	fixture_tree_write(&tree, "/proc/2/status", "Name:\tkthreadd\n");
	fixture_tree_write(&tree, "/proc/meminfo", "MemTotal: 1 kB\n");
	add_process(&tree, 10, "shell", 0, 0, "/rdma");
	add_process(&tree, 11, "rdma", 4, 0, "/rdma");
	/* Its huge pages may lie anywhere; those that a controller counts do not. */
	add_process(&tree, 12, "dpdk", 64, 128, "/huge");
	add_process(&tree, 13, "counted", 32, 2, "/counted");
	/* In the root, of which there are no counters; and one that has ended when its group is asked for. */
	add_process(&tree, 14, "root", 16, 0, "/");
	add_process(&tree, 15, "ended", 2, 0, NULL);
	CHECK_INT(memory_pinner_find(tree.sysroot, list), 0);
	CHECK_INT(list->count, 5);
	CHECK_INT(list->total, 5);
	CHECK_INT(list->unlisted_bytes, 0);
	CHECK_STR(list->pinners[0].name, "dpdk");
	CHECK_INT(list->pinners[0].pinned_bytes, 64 * MIB);
	CHECK_TRUE(!list->pinners[0].has_nodes);
	CHECK_STR(list->pinners[1].name, "counted");
	CHECK_TRUE(list->pinners[1].has_nodes);
	CHECK_INT(list->pinners[1].node_bytes[1], 2 * MIB);
	CHECK_INT(list->pinners[1].node_bytes[0], 4096);
	CHECK_STR(list->pinners[2].name, "root");
	CHECK_TRUE(!list->pinners[2].has_nodes);
	CHECK_INT(list->pinners[3].pid, 11);
	CHECK_TRUE(list->pinners[3].has_nodes);
	CHECK_INT(list->pinners[3].node_bytes[3], 8 * MIB + 4096);
	CHECK_INT(list->pinners[3].node_bytes[0], 0);
	CHECK_TRUE(!list->pinners[4].has_nodes);
}

static void test_many(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE struct memory_pinner_list *list = calloc(1, sizeof(*list));
	uint64_t sum = 0;

	assert(list);
	fixture_tree_init(&tree);
	/* Neither in the order of their numbers nor against it. */
	for (int i = 0; i < 20; i++)
		add_process(&tree, 100 + i, "rdma", 1 + (unsigned)(i * 7) % 20, 0, "/");
	CHECK_INT(memory_pinner_find(tree.sysroot, list), 0);
	CHECK_INT(list->count, MEMORY_PINNER_MAX);
	CHECK_INT(list->total, 20);
	for (unsigned i = 0; i < MEMORY_PINNER_MAX; i++) {
		CHECK_INT(list->pinners[i].pinned_bytes, (20 - i) * MIB);
		sum += list->pinners[i].pinned_bytes;
	}
	CHECK_INT(sum + list->unlisted_bytes, 210 * MIB);
}

/* What is not an end is told: a list that lacks some would say that these have nothing pinned. */
static void test_errors(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE struct memory_pinner_list *list = calloc(1, sizeof(*list));

	assert(list);
	fixture_tree_init(&tree);
	CHECK_INT(memory_pinner_find(tree.sysroot, list), -ENOENT);
	add_process(&tree, 8, "rdma", 1, 0, "/");
	CHECK_INT(memory_pinner_find(tree.sysroot, list), 0);
	CHECK_INT(list->total, 1);
	fixture_tree_link(&tree, "/proc/10/status", "status");
	CHECK_INT(memory_pinner_find(tree.sysroot, list), -ELOOP);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"who, and on which nodes", test_nodes},
		{"more than are listed", test_many},
		{"errors", test_errors},
	};

	return unit_main("kvm/memory_pinner", cases, sizeof(cases) / sizeof(cases[0]));
}
