/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_sharer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "fixture_tree.h"
#include "guest_map.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static struct guest_range ranges[] = {
	{.backing = GUEST_BACKING_MEMFD, .is_shared = true, .inode = 1025},
	{.backing = GUEST_BACKING_ANON},
};

static struct guest_map map = {.ranges = ranges, .count = 2};

static void add_process(struct fixture_tree *tree, int pid, const char *name, unsigned shmem_kib, unsigned pinned_kib,
			const char *maps)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fixture_tree_write(tree, path,
			   "Name:\t%s\nVmSize:\t  900000 kB\nVmPin:\t  %u kB\nRssShmem:\t  %u kB\nHugetlbPages:\t  0 "
			   "kB\n",
			   name, pinned_kib, shmem_kib);
	if (!maps)
		return;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	fixture_tree_write(tree, path, "%s", maps);
}

static const char backend[] =
	"559500000000-559500a00000 r-xp 00000000 fe:01 1025   /usr/bin/backend\n"
	"7f0000000000-7f0008000000 rw-s 00000000 00:01 1025   /memfd:memory-backend-memfd (deleted)\n"
	"7f0010000000-7f0018000000 rw-s 08000000 00:01 1025   /memfd:memory-backend-memfd (deleted)\n"
	"7f0020000000-7f0021000000 rw-p 00000000 00:00 0 \n";

static void test_shared(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_sharer_list list;

	ranges[0].device = makedev(0, 1);
	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/proc/meminfo", "MemTotal: 1 kB\n");
	fixture_tree_write(&tree, "/proc/2/status", "Name:\tkthreadd\nState:\tS\n");
	add_process(&tree, 7, "qemu-system-x86", 400, 0, backend);
	add_process(&tree, 8, "disk-backend", 300, 65536, backend);
	/* Registered more than the guest has: the rest is its own. */
	add_process(&tree, 9, "greedy-back-end-with-a-name", 300, 1048576, backend);
	/* Another file of that number, on another file system. */
	add_process(&tree, 10, "other", 300, 4,
		    "7f0000000000-7f0008000000 rw-s 00000000 00:05 1025 /dev/shm/x\n");
	/* Nothing shared is resident, so its maps, which are not there, are not asked for. */
	add_process(&tree, 11, "shell", 0, 0, NULL);
	/* It ended in between. */
	add_process(&tree, 12, "ended", 4, 0, NULL);
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &map, &list), 0);
	CHECK_INT(list.count, 2);
	CHECK_INT(list.total, 2);
	CHECK_INT(list.sharers[0].pid, 9);
	CHECK_STR(list.sharers[0].name, "greedy-back-end");
	CHECK_INT(list.sharers[0].mapped_bytes, 256 * MIB);
	CHECK_INT(list.sharers[0].pinned_bytes, 256 * MIB);
	CHECK_STR(list.sharers[1].name, "disk-backend");
	CHECK_INT(list.sharers[1].pinned_bytes, 64 * MIB);
	CHECK_INT(list.pinned_bytes, 320 * MIB);
	/* The kernel's own lines are all there is to parse; a broken one is none of the guest's. */
	add_process(&tree, 9, "broken", 300, 4, "7f00 rw-s\n\n-\nzz-yy rw-s 0 00:01 1025\n");
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &map, &list), 0);
	CHECK_INT(list.total, 1);
}

static void test_many(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_sharer_list list;

	ranges[0].device = makedev(0, 1);
	fixture_tree_init(&tree);
	for (int i = 0; i < 7; i++)
		add_process(&tree, 100 + i, "backend", 4, (unsigned)(i % 5) * 1024, backend);
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &map, &list), 0);
	CHECK_INT(list.count, MEMORY_SHARER_MAX);
	CHECK_INT(list.total, 7);
	CHECK_INT(list.sharers[0].pinned_bytes, 4 * MIB);
	CHECK_INT(list.sharers[3].pinned_bytes, 1 * MIB);
	CHECK_INT(list.pinned_bytes, 11 * MIB);
}

static void test_anonymous(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_sharer_list list;
	struct guest_map anonymous = {.ranges = &ranges[1], .count = 1};

	fixture_tree_init(&tree);
	/* Nobody can share it, so nobody is looked for: there is not even a /proc. */
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &anonymous, &list), 0);
	CHECK_INT(list.total, 0);
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &map, &list), -ENOENT);
}

/* What is neither an end nor a refusal is told: a survey that saw only half would say that nobody holds anything. */
static void test_error(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_sharer_list list;

	ranges[0].device = makedev(0, 1);
	fixture_tree_init(&tree);
	add_process(&tree, 8, "backend", 4, 0, NULL);
	fixture_tree_link(&tree, "/proc/8/maps", "maps");
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &map, &list), -ELOOP);
}

/* Who has so many mappings that they are not read may be one of them. */
static void test_unseen(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_sharer_list list;
	size_t length = (size_t)9 << 20;
	char *maps = malloc(length + 1);

	assert(maps);
	memset(maps, '\n', length);
	maps[length] = '\0';
	ranges[0].device = makedev(0, 1);
	fixture_tree_init(&tree);
	add_process(&tree, 8, "backend", 4, 1024, backend);
	add_process(&tree, 9, "many mappings", 4, 1024, NULL);
	fixture_tree_write_bytes(&tree, "/proc/9/maps", maps, length);
	free(maps);
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &map, &list), 0);
	CHECK_INT(list.total, 1);
	CHECK_INT(list.unseen, 1);
}

/* Plain files count as RssFile: everybody's maps are looked at. */
static void test_plain_file(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_sharer_list list;
	struct guest_range file = {.backing = GUEST_BACKING_FILE, .is_shared = true, .inode = 1025, .device = makedev(0, 1)};
	struct guest_map plain = {.ranges = &file, .count = 1};

	fixture_tree_init(&tree);
	add_process(&tree, 8, "reader", 0, 0, backend);
	CHECK_INT(memory_sharer_find(tree.sysroot, 7, &plain, &list), 0);
	CHECK_INT(list.total, 1);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"who shares", test_shared},
		{"more than are listed", test_many},
		{"anonymous memory", test_anonymous},
		{"a plain file", test_plain_file},
		{"an error", test_error},
		{"unseen", test_unseen},
	};

	return unit_main("kvm/memory_sharer", cases, sizeof(cases) / sizeof(cases[0]));
}
