/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include "cgroup_memory.h"
#include "fixture_tree.h"

#define GUEST "/machine.slice/machine-qemu\\x2d1\\x2dg1.scope"

static void add_group(struct fixture_tree *tree, const char *path, const char *mems,
		      const char *effective)
{
	char full[256];

	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cgroup.procs", path);
	fixture_tree_write(tree, full, "%s", "\n");
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cgroup.subtree_control", path);
	fixture_tree_write(tree, full, "%s", "memory\n");
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems", path);
	fixture_tree_write(tree, full, "%s\n", mems);
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems.effective", path);
	fixture_tree_write(tree, full, "%s\n", effective);
}

static void test_paths(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(sysroot_names_done) struct sysroot_names paths = {0};
	char path[CGROUP_MEMORY_PATH_SIZE];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/proc/7/cgroup", "4:memory:/old\n0::%s/libvirt/emulator\n",
			   GUEST);
	CHECK_INT(cgroup_memory_read_path(tree.sysroot, 7, path), 0);
	CHECK_STR(path, GUEST "/libvirt/emulator");
	cgroup_memory_guest_path(path);
	CHECK_STR(path, GUEST);
	strcpy(path, GUEST "/libvirt/vcpu3");
	cgroup_memory_guest_path(path);
	CHECK_STR(path, GUEST);
	strcpy(path, GUEST);
	cgroup_memory_guest_path(path);
	CHECK_STR(path, GUEST);
	strcpy(path, "/");
	cgroup_memory_guest_path(path);
	CHECK_STR(path, "/");
	CHECK_INT(cgroup_memory_read_path(tree.sysroot, 8, path), -ESRCH);
	fixture_tree_write(&tree, "/proc/7/cgroup", "4:memory:/old\n");
	CHECK_INT(cgroup_memory_read_path(tree.sysroot, 7, path), -ENOENT);

	add_group(&tree, GUEST, "3", "3");
	add_group(&tree, GUEST "/libvirt", "", "3");
	add_group(&tree, GUEST "/libvirt/emulator", "3", "3");
	add_group(&tree, GUEST "/libvirt/vcpu0", "3", "3");
	CHECK_INT(cgroup_memory_list_tree(tree.sysroot, GUEST, &paths), 0);
	CHECK_INT(paths.count, 4);
	CHECK_STR(paths.names[0], GUEST);
	CHECK_STR(paths.names[1], GUEST "/libvirt");
	CHECK_STR(paths.names[3], GUEST "/libvirt/vcpu0");
	CHECK_INT(cgroup_memory_list_tree(tree.sysroot, "/none", &paths), -ENOENT);
}

static int refuse_empty(void *user, const char *path, const char *text)
{
	struct fixture_tree *tree = user;

	if (strcmp(text, "\n") == 0)
		return -ENOSPC;
	/* Another controller of this file is faster. */
	fixture_tree_write(tree, path, "%s\n", strcmp(text, "0-3") == 0 ? "0" : text);
	return 0;
}

static void test_mems(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct node_set mems, wanted = node_set_of(2);
	char text[64];

	fixture_tree_init(&tree);
	add_group(&tree, "/g", "", "0-3");
	CHECK_INT(cgroup_memory_read_mems(tree.sysroot, "/g", &mems), 0);
	CHECK_TRUE(node_set_is_empty(&mems));
	CHECK_INT(cgroup_memory_read_effective_mems(tree.sysroot, "/g", &mems), 0);
	CHECK_STR(node_set_format(&mems, text, sizeof(text)), "0-3");
	CHECK_INT(cgroup_memory_read_mems(tree.sysroot, "/none", &mems), -ENOENT);
	fixture_tree_set_hooks(&tree, refuse_empty, &tree);
	CHECK_INT(cgroup_memory_set_mems(tree.sysroot, "/g", &wanted), 0);
	CHECK_INT(cgroup_memory_set_mems(tree.sysroot, "/g", &mems), -EIO);
	node_set_clear(&mems);
	CHECK_INT(cgroup_memory_set_mems(tree.sysroot, "/g", &mems), -ENOSPC);
	fixture_tree_write(&tree, "/sys/fs/cgroup/g/cpuset.mems", "what\n");
	CHECK_INT(cgroup_memory_read_mems(tree.sysroot, "/g", &mems), -EBADMSG);
}

static void test_limit(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct node_set limit;
	char text[NODE_SET_TEXT_SIZE];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset memory\n");
	add_group(&tree, "/a.slice", "0-2", "0-1");
	add_group(&tree, "/a.slice/b.slice", "", "0-1");
	add_group(&tree, "/a.slice/b.slice/c.slice", "2-3", "1");
	add_group(&tree, "/a.slice/b.slice/c.slice/guest.scope", "1", "1");
	CHECK_INT(cgroup_memory_read_limit(tree.sysroot, "/a.slice/b.slice/c.slice/guest.scope", &limit), 0);
	CHECK_STR(node_set_format(&limit, text, sizeof(text)), "2");
	/* Its own does not limit it, nor one below that has nothing in common with it. */
	CHECK_INT(cgroup_memory_read_limit(tree.sysroot, "/a.slice/b.slice", &limit), 0);
	CHECK_STR(node_set_format(&limit, text, sizeof(text)), "0-2");
	fixture_tree_write(&tree, "/sys/fs/cgroup/a.slice/b.slice/c.slice/cpuset.mems", "3\n");
	CHECK_INT(cgroup_memory_read_limit(tree.sysroot, "/a.slice/b.slice/c.slice/guest.scope", &limit), 0);
	CHECK_STR(node_set_format(&limit, text, sizeof(text)), "0-2");
	/* Without the controller there, and at the top, nothing limits. */
	fixture_tree_remove(&tree, "/sys/fs/cgroup/a.slice/cpuset.mems");
	CHECK_INT(cgroup_memory_read_limit(tree.sysroot, "/a.slice/b.slice", &limit), 0);
	CHECK_TRUE(node_set_is_empty(&limit));
	CHECK_INT(cgroup_memory_read_limit(tree.sysroot, "/a.slice", &limit), 0);
	CHECK_TRUE(node_set_is_empty(&limit));
	fixture_tree_write(&tree, "/sys/fs/cgroup/a.slice/cpuset.mems", "what\n");
	CHECK_INT(cgroup_memory_read_limit(tree.sysroot, "/a.slice/b.slice", &limit), -EBADMSG);
}

static void test_stat(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE struct cgroup_memory_stat *stat = malloc(sizeof(*stat));

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/g/memory.numa_stat",
			   "anon N0=4096 N3=8192\nfile N0=1 N1=2\nshmem N1=3\nkernel_stack N0=9\n"
			   "unevictable N0=5 N9999=1\nworkingset_refault_anon N0=7\n");
	CHECK_INT(cgroup_memory_read_stat(tree.sysroot, "/g", stat), 0);
	CHECK_INT(stat->anon_bytes[0], 4096);
	CHECK_INT(stat->anon_bytes[3], 8192);
	CHECK_INT(stat->file_bytes[1], 2);
	CHECK_INT(stat->shmem_bytes[1], 3);
	CHECK_INT(stat->unevictable_bytes[0], 5);
	CHECK_INT(cgroup_memory_read_stat(tree.sysroot, "/none", stat), -ENOENT);
}

struct kernel {
	struct fixture_tree *tree;
	char log[512];
};

/* A kernel that makes a group's files when its parent hands the controller down. */
static int on_write(void *user, const char *path, const char *text)
{
	struct kernel *kernel = user;
	size_t length = strlen(kernel->log);

	snprintf(kernel->log + length, sizeof(kernel->log) - length, "%s<%s;",
		 path + strlen("/sys/fs/cgroup"), text);
	if (strstr(path, "cpuset.mems"))
		fixture_tree_write(kernel->tree, path, "%s\n", text);
	return 0;
}

static void test_make(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct kernel kernel = {.tree = &tree};
	struct node_set mems = node_set_of(1);

	fixture_tree_init(&tree);
	add_group(&tree, "", "", "0-1");
	add_group(&tree, "/ballast", "", "0-1");
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.subtree_control", "cpuset memory\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset memory\n");
	fixture_tree_set_hooks(&tree, on_write, &kernel);
	CHECK_INT(cgroup_memory_make(tree.sysroot, "/ballast/offline", &mems), 0);
	CHECK_STR(kernel.log,
		  "/ballast/cgroup.subtree_control<+cpuset;/ballast/offline/cpuset.mems<1;");
	CHECK_INT(cgroup_memory_attach(tree.sysroot, "/ballast/offline", 77), 0);
	CHECK_TRUE(strstr(kernel.log, "/ballast/offline/cgroup.procs<77;") != NULL);
	fixture_tree_remove(&tree, "/sys/fs/cgroup/ballast/offline/cpuset.mems");
	CHECK_INT(cgroup_memory_remove(tree.sysroot, "/ballast/offline"), 0);
	CHECK_INT(cgroup_memory_remove(tree.sysroot, "/ballast/offline"), -ENOENT);
}

static void test_resident(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE uint64_t *bytes = calloc(NODE_SET_MAX, sizeof(*bytes));
	bool has_hugetlb = true;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/proc/7/cgroup", "0::%s/libvirt/vcpu0\n", GUEST);
	CHECK_INT(cgroup_memory_read_guest(tree.sysroot, 7, bytes, &has_hugetlb), -ENOENT);
	fixture_tree_write(&tree, "/sys/fs/cgroup" GUEST "/memory.numa_stat",
			   "anon N0=1 N1=2\nfile N0=100 N1=4096\nkernel_stack N0=5\nshmem N1=4000 N3=7\n");
	CHECK_INT(cgroup_memory_read_guest(tree.sysroot, 7, bytes, &has_hugetlb), 0);
	CHECK_TRUE(!has_hugetlb);
	CHECK_INT(bytes[0], 1);
	CHECK_INT(bytes[1], 4002);
	CHECK_INT(bytes[3], 7);
	/* Both page sizes of the hugetlb controller, and nothing else that is called alike. */
	fixture_tree_write(&tree, "/sys/fs/cgroup" GUEST "/hugetlb.2MB.numa_stat", "total=4194304 N0=0 N1=4194304\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup" GUEST "/hugetlb.1GB.numa_stat", "total=1 N3=1\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup" GUEST "/hugetlb.2MB.current", "total=9 N0=9\n");
	CHECK_INT(cgroup_memory_read_guest(tree.sysroot, 7, bytes, &has_hugetlb), 0);
	CHECK_TRUE(has_hugetlb);
	CHECK_INT(bytes[0], 1);
	CHECK_INT(bytes[1], 4194304 + 4002);
	CHECK_INT(bytes[3], 8);
	/* A guest without a group of its own: the counters would be the machine's. */
	fixture_tree_write(&tree, "/proc/7/cgroup", "0::/\n");
	CHECK_INT(cgroup_memory_read_guest(tree.sysroot, 7, bytes, &has_hugetlb), -ENOENT);
	CHECK_INT(cgroup_memory_read_guest(tree.sysroot, 8, bytes, &has_hugetlb), -ESRCH);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"resident", test_resident},
		{"paths", test_paths},
		{"mems", test_mems},
		{"limit", test_limit},
		{"stat", test_stat},
		{"make", test_make},
	};

	return unit_main("cgroup_memory", cases, ARRAY_SIZE(cases));
}
