/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "cleanup.h"
#include "fixture_tree.h"
#include "vcpu_thread.h"

static void add_thread(struct fixture_tree *tree, int id, const char *name, unsigned user, unsigned kernel)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/7/task/%d/comm", id);
	fixture_tree_write(tree, path, "%s\n", name);
	snprintf(path, sizeof(path), "/proc/7/task/%d/stat", id);
	fixture_tree_write(tree, path,
			   "%d (%s) S 1 7 7 0 -1 4194560 1 2 3 4 %u %u 7 8 20 0 3 0 777 1000 10\n", id, name, user,
			   kernel);
}

static void test_only_those_that_run_the_guest(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(vcpu_thread_list_done) struct vcpu_thread_list list = {0};
	uint64_t us = 0, tick_us = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);

	fixture_tree_init(&tree);
	add_thread(&tree, 7, "qemu-system-x86", 500, 500);
	add_thread(&tree, 8, "CPU 0/KVM", 30, 4);
	add_thread(&tree, 9, "IO iothread1", 600, 600);
	add_thread(&tree, 10, "CPU 1/KVM", 100, 0);
	CHECK_INT(vcpu_thread_list_read(tree.sysroot, 7, &list), 0);
	CHECK_INT(list.count, 2);
	CHECK_INT(list.ids[0], 8);
	CHECK_INT(list.ids[1], 10);
	CHECK_INT(vcpu_thread_list_read_time(tree.sysroot, 7, &list, &us), 0);
	CHECK_INT(us, 134 * tick_us);
	/* One was unplugged. */
	fixture_tree_remove(&tree, "/proc/7/task/10/stat");
	CHECK_INT(vcpu_thread_list_read_time(tree.sysroot, 7, &list, &us), 0);
	CHECK_INT(us, 34 * tick_us);
	fixture_tree_write(&tree, "/proc/7/task/8/stat", "8 (CPU 0/KVM) S 1 2\n");
	CHECK_INT(vcpu_thread_list_read_time(tree.sysroot, 7, &list, &us), -EBADMSG);
}

static void test_none(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(vcpu_thread_list_done) struct vcpu_thread_list list = {0};
	uint64_t us = 1;

	fixture_tree_init(&tree);
	CHECK_INT(vcpu_thread_list_read(tree.sysroot, 7, &list), -ESRCH);
	add_thread(&tree, 7, "qemu-system-x86", 500, 500);
	CHECK_INT(vcpu_thread_list_read(tree.sysroot, 7, &list), 0);
	CHECK_INT(list.count, 0);
	CHECK_INT(vcpu_thread_list_read_time(tree.sysroot, 7, &list, &us), 0);
	CHECK_INT(us, 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"only_those_that_run_the_guest", test_only_those_that_run_the_guest},
		{"none", test_none},
	};

	return unit_main("vcpu_thread", cases, ARRAY_SIZE(cases));
}
