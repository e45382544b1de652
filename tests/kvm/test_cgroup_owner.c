/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "fixture_tree.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t add_group(struct fixture_tree *tree, const char *path, const char *procs)
{
	char file[128], full[256];
	struct stat status = {0};

	snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cgroup.procs", path);
	fixture_tree_write(tree, file, "%s", procs);
	snprintf(full, sizeof(full), "%s/sys/fs/cgroup%s", tree->root, path);
	CHECK_INT(stat(full, &status), 0);
	return status.st_ino;
}

static void add_process(struct fixture_tree *tree, int pid, const char *name, unsigned pages)
{
	char file[64];

	snprintf(file, sizeof(file), "/proc/%d/stat", pid);
	fixture_tree_write(tree, file, "%d (%s) S 1 1 1 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 3 0 77 999 %u 0\n", pid, name,
			   pages);
}

static void test_find(void)
{
	struct cgroup_owner owners[5] = {0};
	struct fixture_tree tree;
	char text[128];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	/* Two threads of the kernel, and one process that has ended. */
	owners[0].inode = add_group(&tree, "", "2\n3\n999\n");
	owners[1].inode = add_group(&tree, "/a", "10\n");
	owners[2].inode = add_group(&tree, "/a/b", "11\n12\n0\n13\n");
	owners[3].inode = 1; /* none has that */
	add_process(&tree, 2, "kthreadd", 0);
	add_process(&tree, 3, "rcu_gp", 0);
	add_process(&tree, 10, "a (x) y", 5);
	add_process(&tree, 11, "small", 1);
	add_process(&tree, 12, "qemu-system-x86", 500);
	add_process(&tree, 13, "middle", 50);
	fixture_tree_link(&tree, "/proc/12/fd/9", "anon_inode:kvm-vm");
	fixture_tree_link(&tree, "/proc/10/fd/9", "/dev/kvm");
	CHECK_INT(cgroup_owner_find(tree.sysroot, owners, 5), 0);
	CHECK_STR(owners[0].path, "/");
	CHECK_INT(owners[0].process_count, 0);
	CHECK_STR(cgroup_owner_describe(&owners[0], text, sizeof(text)), "cgroup /");
	CHECK_STR(cgroup_owner_describe(&owners[1], text, sizeof(text)), "process 10 (a (x) y) of cgroup /a");
	CHECK_TRUE(!owners[1].is_guest);
	CHECK_STR(cgroup_owner_describe(&owners[2], text, sizeof(text)),
		  "cgroup /a/b, 3 processes, the largest 12 (qemu-system-x86)");
	CHECK_TRUE(owners[2].is_guest);
	CHECK_STR(cgroup_owner_describe(&owners[3], text, sizeof(text)), "cgroup of inode 1, which is not found");
	/* No inode is no group. */
	CHECK_STR(owners[4].path, "");
	fixture_tree_done(&tree);
}

/* What they have pinned is theirs together, whoever is the largest; of who has ended meanwhile there is none. */
static void test_pinned(void)
{
	struct cgroup_owner owners[3] = {0};
	struct fixture_tree tree;
	char text[128];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	owners[0].inode = add_group(&tree, "/one", "10\n");
	owners[1].inode = add_group(&tree, "/more", "11\n12\n13\n");
	owners[2].inode = add_group(&tree, "/none", "14\n");
	add_process(&tree, 10, "rdma", 5);
	fixture_tree_write(&tree, "/proc/10/status", "Name:\trdma\nVmPin:\t 4096 kB\n");
	add_process(&tree, 11, "large", 500);
	fixture_tree_write(&tree, "/proc/11/status", "Name:\tlarge\nVmPin:\t 1024 kB\n");
	add_process(&tree, 12, "small", 1);
	fixture_tree_write(&tree, "/proc/12/status", "Name:\tsmall\nVmPin:\t 2048 kB\n");
	add_process(&tree, 13, "ended", 1);
	add_process(&tree, 14, "shell", 1);
	fixture_tree_write(&tree, "/proc/14/status", "Name:\tshell\nVmPin:\t 0 kB\n");
	CHECK_INT(cgroup_owner_find(tree.sysroot, owners, 3), 0);
	CHECK_INT(owners[0].pinned_bytes, 4 * MIB);
	CHECK_INT(owners[0].pinner_pid, 10);
	CHECK_STR(cgroup_owner_describe(&owners[0], text, sizeof(text)), "process 10 (rdma, 4 MiB pinned) of cgroup /one");
	CHECK_INT(owners[1].pinned_bytes, 3 * MIB);
	CHECK_INT(owners[1].pid, 11);
	CHECK_INT(owners[1].pinner_pid, 12);
	CHECK_STR(owners[1].pinner_name, "small");
	CHECK_STR(cgroup_owner_describe(&owners[1], text, sizeof(text)),
		  "cgroup /more, 3 processes, 3 MiB pinned, the largest 11 (large)");
	CHECK_INT(owners[2].pinned_bytes, 0);
	CHECK_INT(owners[2].pinner_pid, 0);
	CHECK_STR(cgroup_owner_describe(&owners[2], text, sizeof(text)), "process 14 (shell) of cgroup /none");
	/* What cannot be read is an error, and not nothing. */
	fixture_tree_remove(&tree, "/proc/14/status");
	fixture_tree_link(&tree, "/proc/14/status", "status");
	CHECK_INT(cgroup_owner_find(tree.sysroot, owners, 3), -ELOOP);
	fixture_tree_done(&tree);
}

static void test_without_groups(void)
{
	struct cgroup_owner owner = {.inode = 5};
	struct fixture_tree tree;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/proc/1/stat", "\n");
	CHECK_INT(cgroup_owner_find(tree.sysroot, &owner, 1), -ENOENT);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"path and processes", test_find},
		{"pinned memory", test_pinned},
		{"without cgroup v2", test_without_groups},
	};

	return unit_main("kvm/cgroup_owner", cases, sizeof(cases) / sizeof(cases[0]));
}
