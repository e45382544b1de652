/* SPDX-License-Identifier: Apache-2.0 */
#include "mover_cpus.h"

#include "fixture_tree.h"
#include "unit.h"

static void add_node(struct fixture_tree *tree, int node, const char *cpus)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	fixture_tree_write(tree, path, "%s\n", cpus);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	fixture_tree_write(tree, path, "Node %d MemTotal: 1024 kB\nNode %d MemFree: 512 kB\n", node, node);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", node);
	fixture_tree_write(tree, path, node ? "20 10\n" : "10 20\n");
}

static void add_thread(struct fixture_tree *tree, int thread, const char *name, const char *cpus)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/7/task/%d/comm", thread);
	fixture_tree_write(tree, path, "%s\n", name);
	snprintf(path, sizeof(path), "/proc/7/task/%d/status", thread);
	fixture_tree_write(tree, path, "Name:\t%s\nCpus_allowed_list:\t%s\nMems_allowed_list:\t0\n", name, cpus);
}

static void setup(struct fixture_tree *tree)
{
	fixture_tree_init(tree);
	fixture_tree_write(tree, "/sys/devices/system/node/online", "0-1\n");
	fixture_tree_write(tree, "/sys/devices/system/node/has_memory", "0-1\n");
	fixture_tree_write(tree, "/sys/devices/system/node/has_cpu", "0-1\n");
	fixture_tree_write(tree, "/proc/zoneinfo", "%s", "");
	add_node(tree, 0, "0-3");
	add_node(tree, 1, "4-11");
	add_thread(tree, 7, "qemu-system-x86", "0-11");
}

static void test_near_the_destination(void)
{
	struct fixture_tree tree;
	cpu_set_t cpus;

	setup(&tree);
	CHECK_TRUE(mover_cpus_choose(tree.sysroot, 7, 2, 2, &cpus));
	CHECK_INT(CPU_COUNT(&cpus), 8);
	CHECK_TRUE(CPU_ISSET(4, &cpus) && CPU_ISSET(11, &cpus));
	CHECK_TRUE(mover_cpus_choose(tree.sysroot, 7, 3, 9, &cpus));
	CHECK_INT(CPU_COUNT(&cpus), 12);
	/* Too few for so many threads, or on a node that has too few at all. */
	CHECK_TRUE(!mover_cpus_choose(tree.sysroot, 7, 2, 9, &cpus));
	add_node(&tree, 0, "0-2");
	CHECK_TRUE(!mover_cpus_choose(tree.sysroot, 7, 1, 1, &cpus));
	/* A node that is not there. */
	CHECK_TRUE(!mover_cpus_choose(tree.sysroot, 7, 4, 1, &cpus));
	fixture_tree_done(&tree);
}

static void test_off_the_guests_own(void)
{
	struct fixture_tree tree;
	cpu_set_t cpus;

	setup(&tree);
	/* Not bound: nothing to keep away from. Other threads do not count. */
	add_thread(&tree, 8, "CPU 0/KVM", "0-11");
	add_thread(&tree, 9, "IO iothread1", "4-8");
	CHECK_TRUE(mover_cpus_choose(tree.sysroot, 7, 2, 1, &cpus));
	CHECK_INT(CPU_COUNT(&cpus), 8);
	add_thread(&tree, 10, "CPU 1/KVM", "4-5");
	add_thread(&tree, 11, "CPU 2/KVM", "6");
	CHECK_TRUE(mover_cpus_choose(tree.sysroot, 7, 2, 1, &cpus));
	CHECK_INT(CPU_COUNT(&cpus), 5);
	CHECK_TRUE(!CPU_ISSET(6, &cpus) && CPU_ISSET(7, &cpus));
	/* Too few are left there: anywhere else, but not in the guest's way. */
	add_thread(&tree, 12, "CPU 3/KVM", "7-8");
	CHECK_TRUE(mover_cpus_choose(tree.sysroot, 7, 2, 1, &cpus));
	CHECK_INT(CPU_COUNT(&cpus), 7);
	CHECK_TRUE(CPU_ISSET(0, &cpus) && CPU_ISSET(9, &cpus) && !CPU_ISSET(8, &cpus));
	/* Each may use all of the destination, and nothing else: that is bound too. */
	add_thread(&tree, 8, "CPU 0/KVM", "4-11");
	CHECK_TRUE(mover_cpus_choose(tree.sysroot, 7, 2, 1, &cpus));
	CHECK_INT(CPU_COUNT(&cpus), 4);
	CHECK_TRUE(CPU_ISSET(0, &cpus) && CPU_ISSET(3, &cpus));
	add_thread(&tree, 9, "CPU 4/KVM", "0");
	CHECK_TRUE(!mover_cpus_choose(tree.sysroot, 7, 2, 1, &cpus));
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"near_the_destination", test_near_the_destination},
		{"off_the_guests_own", test_off_the_guests_own},
	};

	return unit_main("mover_cpus", cases, sizeof(cases) / sizeof(cases[0]));
}
