/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "fixture_tree.h"
#include "guest_map.h"

#define MIB (1ull << 20)

/* As QEMU 7.2 lays a guest out: a cell of 512 MiB in two pieces, a 1 GiB virtio-mem, a hugetlb
 * cell. */
static const char maps[] =
	"559500000000-559500a00000 r-xp 00000000 fe:01 4242   /usr/bin/qemu-system-x86_64\n"
	"559502000000-559503000000 rw-p 00000000 00:00 0      [heap]\n"
	"7f0000000000-7f0008000000 rw-s 00000000 00:01 1025   /memfd:memory-backend-memfd "
	"(deleted)\n"
	"7f0008000000-7f0020000000 rw-s 08000000 00:01 1025   /memfd:memory-backend-memfd "
	"(deleted)\n"
	"7f0020000000-7f0020001000 ---p 00000000 00:00 0 \n"
	"7f0020200000-7f0060200000 rw-s 00000000 00:01 1026   /memfd:memory-backend-memfd "
	"(deleted)\n"
	"7f0060400000-7f0070400000 rw-s 00000000 00:0f 77     /dev/hugepages/libvirt/qemu/1-g1/ram "
	"(deleted)\n"
	"7f0080000000-7f0080040000 rw-s 00000000 00:01 9      /memfd:memory-backend-memfd "
	"(deleted)\n"
	"7f0090000000-7f00a0000000 rw-s 00000000 00:01 10     /memfd:other (deleted)\n"
	"7f00b0000000-7f00b4000000 r--p 00000000 fe:01 55     /usr/share/rom\n"
	"7f00c0000000-7f00c8000000 rw-s 00000000 fe:01 56     /srv/ram-node0\n";

static int on_filesystem(void *user, const char *path, uint64_t *ret_type,
			 uint64_t *ret_block_bytes)
{
	if (user)
		return -EPERM;
	*ret_type = strstr(path, "7f0060400000") ? HUGETLBFS_MAGIC : strstr(path, "7f00c0000000") ? EXT4_SUPER_MAGIC : TMPFS_MAGIC;
	*ret_block_bytes = strstr(path, "7f0060400000") ? 2 * MIB : 4096;
	return 0;
}

static void add_process(struct fixture_tree *tree, const char *maps_text)
{
	struct sysroot_hooks hooks = {.on_filesystem = on_filesystem};

	fixture_tree_init(tree);
	fixture_tree_write(tree, "/proc/7/maps", "%s", maps_text);
	fixture_tree_write(tree, "/proc/7/status",
			   "Name: qemu\nVmLck:\t  1024 kB\nVmPin:\t  0 kB\n");
	fixture_tree_link(tree, "/proc/7/fd/3", "/dev/kvm");
	sysroot_set_hooks(tree->sysroot, &hooks);
}

static void test_files(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(guest_map_done) struct guest_map map = {0};
	uint64_t sizes[] = {512 * MIB, 1024 * MIB, 256 * MIB, 128 * MIB};
	struct guest_map_options options = {
		.expected_bytes = sizes, .expected_count = 4, .with_policies = true};
	char text[MEMORY_POLICY_TEXT_SIZE];

	add_process(&tree, maps);
	fixture_tree_write(
		&tree, "/proc/7/numa_maps",
		"559502000000 default heap anon=1\n"
		"7f0000000000 bind:3 file=/memfd:memory-backend-memfd\\040(deleted) dirty=5 N3=5\n"
		"7f0008000000 bind:2 file=/memfd:memory-backend-memfd\\040(deleted)\n"
		"7f0020200000 prefer (many):1-2 file=/memfd:memory-backend-memfd\\040(deleted)\n"
		"7f0060400000 prefer:1 file=/dev/hugepages/x huge dirty=8 N1=8\n");
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &map), 0);
	/* The 256 MiB memfd by another name fits the expected size too. */
	CHECK_INT(map.count, 5);
	CHECK_INT(map.ranges[0].start, 0x7f0000000000);
	CHECK_INT(map.ranges[0].end, 0x7f0020000000);
	CHECK_INT(map.ranges[0].first_end, 0x7f0008000000);
	CHECK_INT(map.ranges[0].backing, GUEST_BACKING_MEMFD);
	CHECK_STR(map.ranges[0].name, "/memfd:memory-backend-memfd");
	CHECK_INT(map.ranges[0].inode, 1025);
	CHECK_TRUE(map.ranges[0].is_shared && map.ranges[0].has_mixed_policies);
	CHECK_STR(memory_policy_format(&map.ranges[0].policy, text, sizeof(text)), "bind:3");
	CHECK_STR(memory_policy_format(&map.ranges[1].policy, text, sizeof(text)),
		  "prefer (many):1-2");
	CHECK_INT(map.ranges[2].backing, GUEST_BACKING_HUGETLB);
	CHECK_INT(map.ranges[2].page_bytes, 2 * MIB);
	CHECK_STR(memory_policy_format(&map.ranges[2].policy, text, sizeof(text)), "prefer:1");
	CHECK_TRUE(!map.ranges[3].has_policy);
	CHECK_INT(map.ranges[4].backing, GUEST_BACKING_FILE);
	CHECK_TRUE(map.ranges[3].is_shmem && !map.ranges[4].is_shmem && !map.ranges[2].is_shmem);
	CHECK_TRUE(guest_range_has_window(&map.ranges[2]) && guest_range_has_window(&map.ranges[3]));
	CHECK_TRUE(!guest_range_has_window(&map.ranges[4]));
	CHECK_INT(map.missing_bytes, 0);
	CHECK_INT(map.locked_bytes, 1 * MIB);
	CHECK_INT(map.vfio_count + map.userfaultfd_count, 0);
	CHECK_INT(map.ram_bytes, (512 + 1024 + 256 + 256 + 128) * MIB);
}

static void test_without_expectation(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(guest_map_done) struct guest_map map = {0};
	struct guest_map_options options = {0};

	add_process(&tree, maps);
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &map), 0);
	CHECK_INT(map.count, 3);
	CHECK_INT(guest_map_read(tree.sysroot, 8, &options, &map), -ESRCH);
	/* Without the right to ask the file system: the mount point's name and the default size. */
	struct sysroot_hooks hooks = {.on_filesystem = on_filesystem, .user = &tree};

	sysroot_set_hooks(tree.sysroot, &hooks);
	fixture_tree_write(&tree, "/proc/meminfo", "MemTotal: 1 kB\nHugepagesize: 1048576 kB\n");
	guest_map_done(&map);
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &map), 0);
	CHECK_INT(map.ranges[2].page_bytes, 1024 * MIB);
	CHECK_TRUE(map.ranges[0].is_shmem);
	fixture_tree_write(&tree, "/proc/7/maps", "garbage\n");
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &(struct guest_map){0}), -EBADMSG);
}

/* Anonymous RAM is known by its size only; QEMU's own memory may lie right below it. */
static void test_anonymous(void)
{
	static const char anonymous[] =
		"559502000000-559542000000 rw-p 00000000 00:00 0      [heap]\n"
		"7f0000000000-7f0000800000 rw-p 00000000 00:00 0 \n"
		"7f0000800000-7f0010800000 rw-p 00000000 00:00 0 \n"
		"7f0010800000-7f0020800000 rw-p 00000000 00:00 0 \n"
		"7f0020800000-7f0020801000 ---p 00000000 00:00 0 \n"
		"7f0020a00000-7f0060a00000 rw-p 00000000 00:00 0 \n"
		"7f0070000000-7f0074000000 rw-p 00000000 00:00 0 \n";
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(guest_map_done) struct guest_map map = {0}, sum = {0};
	uint64_t sizes[] = {512 * MIB, 1024 * MIB, 128 * MIB}, cells[] = {300 * MIB, 212 * MIB};
	struct guest_map_options options = {.expected_bytes = sizes, .expected_count = 3};

	add_process(&tree, anonymous);
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &map), 0);
	CHECK_INT(map.count, 2);
	CHECK_INT(map.ranges[0].start, 0x7f0000800000);
	CHECK_INT(map.ranges[0].end, 0x7f0020800000);
	CHECK_INT(map.ranges[0].backing, GUEST_BACKING_ANON);
	CHECK_TRUE(!map.ranges[0].is_shared);
	CHECK_INT(map.ranges[1].end - map.ranges[1].start, 1024 * MIB);
	CHECK_INT(map.missing_bytes, 128 * MIB);
	options = (struct guest_map_options){.expected_bytes = cells, .expected_count = 2};
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &sum), 0);
	CHECK_INT(sum.count, 1);
	CHECK_INT(sum.missing_bytes, 0);
}

static void test_descriptors(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	unsigned userfaultfd = 9, vfio = 9;

	add_process(&tree, maps);
	CHECK_INT(guest_map_count_descriptors(tree.sysroot, 7, &userfaultfd, &vfio), 0);
	CHECK_INT(userfaultfd + vfio, 0);
	fixture_tree_link(&tree, "/proc/7/fd/4", "anon_inode:[userfaultfd]");
	fixture_tree_link(&tree, "/proc/7/fd/5", "/dev/vfio/12");
	fixture_tree_link(&tree, "/proc/7/fd/6", "/dev/vfio/vfio");
	fixture_tree_link(&tree, "/proc/7/fd/8", "/dev/iommu");
	fixture_tree_link(&tree, "/proc/7/fd/9", "anon_inode:[eventfd]");
	CHECK_INT(guest_map_count_descriptors(tree.sysroot, 7, &userfaultfd, &vfio), 0);
	CHECK_INT(userfaultfd, 1);
	CHECK_INT(vfio, 3);
	CHECK_INT(guest_map_count_descriptors(tree.sysroot, 8, &userfaultfd, &vfio), -ESRCH);
}

/* What QEMU and libvirt name a file after; a path of any length, and nothing that is only alike. */
static void test_object_names(void)
{
	static const struct {
		const char *path, *object;
	} cases[] = {
		{"/dev/hugepages/libvirt/qemu/1-a-guest-with-quite-a-long-name/qemu_back_mem._objects_ram-node1.Ab3dE9 "
		 "(deleted)",
		 "ram-node1"},
		{"/dev/hugepages/libvirt/qemu/3-huge/qemu_back_mem.ram-node0.icFlfT (deleted)", "ram-node0"},
		{"/dev/hugepages/x/qemu_back_mem._objects_memvirtiomem0.AAAAAA (deleted)", "memvirtiomem0"},
		{"/var/lib/libvirt/qemu/ram/1-g1/ram-node0", "ram-node0"},
		{"/dev/hugepages/x/qemu_back_mem._objects_ (deleted)", ""},
		{"/dev/hugepages/x/qemu_back_mem._objects_ram-node1 (deleted)", ""},
		{"/dev/hugepages/x/qemu_back_mem._objects_an-id-that-somebody-has-made-far-too-long-for-us.AAAAAA", ""},
		{"/dev/hugepages/ram-node0/file", ""},
		{"/memfd:memory-backend-memfd (deleted)", ""},
	};
	uint64_t size = 512 * MIB;
	struct guest_map_options options = {.expected_bytes = &size, .expected_count = 1};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(fixture_tree_done) struct fixture_tree tree;
		CLEANUP(guest_map_done) struct guest_map map = {0};
		char text[256];

		snprintf(text, sizeof(text), "7f0000000000-7f0020000000 rw-s 00000000 00:0f 77  %s\n", cases[i].path);
		add_process(&tree, text);
		CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &map), 0);
		CHECK_INT(map.count, 1);
		if (map.count == 1)
			CHECK_STR(map.ranges[0].object, cases[i].object);
	}
}

/* Memory that only the guest can reach, and a guest that is encrypted where it lies. */
static void test_private_memory(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(guest_map_done) struct guest_map map = {0};
	struct guest_map_options options = {0};

	add_process(&tree, maps);
	/* What the link names stands beside it here: on a host the kernel follows it. */
	fixture_tree_write_at(&tree, "/proc/7/fd/anon_inode:[kvm-gmem]", 3 * MIB - 1, "", 1);
	fixture_tree_link(&tree, "/proc/7/fd/10", "anon_inode:[kvm-gmem]");
	fixture_tree_link(&tree, "/proc/7/fd/11", "anon_inode:[kvm-gmem]");
	fixture_tree_link(&tree, "/proc/7/fd/12", "/dev/sev");
	CHECK_INT(guest_map_read(tree.sysroot, 7, &options, &map), 0);
	CHECK_INT(map.private_bytes, 6 * MIB);
	CHECK_INT(map.encryption_count, 1);
	CHECK_INT(map.vfio_count + map.userfaultfd_count, 0);
}

/* The real kernel: our own memfd, found and opened again from outside. */
static void test_own_memfd(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	CLEANUP(guest_map_done) struct guest_map map = {0};
	CLEANUP_CLOSE int memfd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
	CLEANUP_CLOSE int backing = -1;
	uint64_t held = 0;
	uint64_t size = 7 * MIB + 5 * 4096; /* like no other mapping of this process */
	struct guest_map_options options = {
		.expected_bytes = &size, .expected_count = 1, .with_policies = true};
	struct stat one, other;
	char *memory;

	CHECK_INT(ftruncate(memfd, (off_t)size), 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	mprotect(memory + 2 * MIB, 4096,
		 PROT_READ | PROT_WRITE | PROT_EXEC); /* splits the mapping in three */
	CHECK_INT(sysroot_new("/", &sysroot), 0);
	CHECK_INT(guest_map_read(sysroot, getpid(), &options, &map), 0);
	CHECK_INT(map.count, 1);
	if (map.count == 1) {
		CHECK_INT(map.ranges[0].start, (uintptr_t)memory);
		CHECK_INT(map.ranges[0].end - map.ranges[0].start, size);
		CHECK_INT(map.ranges[0].page_bytes, 4096);
		memset(memory, 1, 3 * 4096);
		backing = guest_map_open_backing(sysroot, getpid(), &map.ranges[0], &held);
		CHECK_TRUE(backing >= 0);
		CHECK_TRUE(held >= 3 * 4096 && held < size);
		CHECK_INT(fstat(memfd, &one) + fstat(backing, &other), 0);
		CHECK_INT(one.st_ino, other.st_ino);
		map.ranges[0].inode++;
		CHECK_TRUE(guest_map_open_backing(sysroot, getpid(), &map.ranges[0], NULL) < 0);
		map.ranges[0].inode = 0;
		CHECK_INT(guest_map_open_backing(sysroot, getpid(), &map.ranges[0], NULL), -ENOENT);
	}
	munmap(memory, size);
}

/* As under numactl --membind: what the file does not say, its process does; and of the file's own word that is nothing. */
static void test_policy_of_the_process(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	CLEANUP(guest_map_done) struct guest_map map = {0};
	CLEANUP_CLOSE int memfd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
	uint64_t size = 6 * MIB + 3 * 4096;
	struct guest_map_options options = {.expected_bytes = &size, .expected_count = 1, .with_policies = true};
	struct memory_policy preferred = {.mode = MEMORY_POLICY_PREFERRED};
	const char *const expected[] = {"default", "bind:0", "prefer:0", "prefer:0"};
	unsigned long node = 1;
	void *memory;

	node_set_add(&preferred.nodes, 0);
	CHECK_INT(ftruncate(memfd, (off_t)size), 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	CHECK_INT(sysroot_new("/", &sysroot), 0);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		char text[MEMORY_POLICY_TEXT_SIZE];

		if (i == 1)
			CHECK_INT(syscall(SYS_set_mempolicy, MPOL_BIND, &node, 64), 0);
		if (i == 2)
			CHECK_INT(memory_policy_set_shared(memfd, 0, size, &preferred), 0);
		if (i == 3)
			CHECK_INT(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0), 0);
		CHECK_INT(guest_map_read(sysroot, getpid(), &options, &map), 0);
		CHECK_INT(map.count, 1);
		if (map.count == 1)
			CHECK_STR(memory_policy_format(&map.ranges[0].policy, text, sizeof(text)), expected[i]);
		guest_map_done(&map);
	}
	munmap(memory, size);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"files", test_files},	       {"without_expectation", test_without_expectation},
		{"anonymous", test_anonymous}, {"descriptors", test_descriptors},
		{"private_memory", test_private_memory},
		{"object_names", test_object_names},
		{"own_memfd", test_own_memfd},
		{"policy_of_the_process", test_policy_of_the_process},
	};

	return unit_main("guest_map", cases, ARRAY_SIZE(cases));
}
