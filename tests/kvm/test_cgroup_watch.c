/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_watch.h"

#include <errno.h>
#include <poll.h>
#include "fixture_tree.h"
#include "unit.h"

#define GROUP "/sys/fs/cgroup/machine/g1"

static void add_group(struct fixture_tree *tree, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), GROUP "%s/cpuset.mems", name);
	fixture_tree_write(tree, path, "3\n");
	snprintf(path, sizeof(path), GROUP "%s/cgroup.procs", name);
	fixture_tree_write(tree, path, "%s", "");
}

static bool is_readable(const struct cgroup_watch *watch)
{
	struct pollfd entry = {.fd = cgroup_watch_fd(watch), .events = POLLIN};

	return poll(&entry, 1, 0) == 1;
}

static void test_threads_come_and_go(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(cgroup_watch_freep) struct cgroup_watch *watch = NULL;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset\n");
	add_group(&tree, "");
	add_group(&tree, "/libvirt");
	add_group(&tree, "/libvirt/vcpu0");
	CHECK_INT(cgroup_watch_new(tree.sysroot, "/machine/g1", &watch), 0);
	CHECK_TRUE(!is_readable(watch) && !cgroup_watch_read(watch));
	/* A thread's group, two levels down. */
	add_group(&tree, "/libvirt/vcpu1");
	CHECK_TRUE(is_readable(watch) && cgroup_watch_read(watch));
	CHECK_TRUE(!cgroup_watch_read(watch));
	/* The new one is watched as those before are. */
	fixture_tree_write(&tree, GROUP "/libvirt/vcpu1/cpuset.mems", "2\n");
	CHECK_TRUE(cgroup_watch_read(watch));
	fixture_tree_write(&tree, GROUP "/libvirt/vcpu0/cpuset.mems", "2\n");
	CHECK_TRUE(cgroup_watch_read(watch));
	/* Other files are other people's business. */
	fixture_tree_write(&tree, GROUP "/libvirt/vcpu0/cgroup.procs", "7\n");
	CHECK_TRUE(is_readable(watch) && !cgroup_watch_read(watch));
	fixture_tree_remove(&tree, GROUP "/libvirt/vcpu1");
	CHECK_TRUE(cgroup_watch_read(watch));
	/* The guest has ended. */
	fixture_tree_remove(&tree, GROUP);
	CHECK_TRUE(cgroup_watch_read(watch));
	CHECK_TRUE(!cgroup_watch_read(watch));
}

static void test_no_group(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct cgroup_watch *watch = NULL;

	fixture_tree_init(&tree);
	CHECK_INT(cgroup_watch_new(tree.sysroot, "/machine/g1", &watch), -ENOENT);
	CHECK_TRUE(watch == NULL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"threads come and go", test_threads_come_and_go},
		{"no group", test_no_group},
	};

	return unit_main("kvm/cgroup_watch", cases, sizeof(cases) / sizeof(cases[0]));
}
