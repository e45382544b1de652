/* SPDX-License-Identifier: Apache-2.0 */
#include "process_status.h"

#include <errno.h>
#include "fixture_tree.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static void test_process(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct process_status status;

	fixture_tree_init(&tree);
	/* As the kernel writes it, of a process that is called like a line. */
	fixture_tree_write(&tree, "/proc/8/status",
			   "Name:\tVmPin:\t 7 kB\nUmask:\t0022\nState:\tS (sleeping)\nVmPeak:\t  900000 kB\nVmSize:\t  900000 kB\n"
			   "VmLck:\t    1024 kB\nVmPin:\t    4096 kB\nVmHWM:\t    5000 kB\nRssShmem:\t    2048 kB\n"
			   "HugetlbPages:\t    8192 kB\nThreads:\t1\n");
	CHECK_INT(process_status_read(tree.sysroot, 8, &status), 0);
	CHECK_STR(status.name, "VmPin:\t 7 kB");
	CHECK_TRUE(status.has_memory);
	CHECK_INT(status.locked_bytes, MIB);
	CHECK_INT(status.pinned_bytes, 4 * MIB);
	CHECK_INT(status.shared_bytes, 2 * MIB);
	CHECK_INT(status.huge_bytes, 8 * MIB);
}

static void test_others(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct process_status status;

	fixture_tree_init(&tree);
	/* A thread of the kernel has no memory of its own, and a long name is cut. */
	fixture_tree_write(&tree, "/proc/2/status", "Name:\tkthreadd-with-a-name\nState:\tS (sleeping)\n");
	CHECK_INT(process_status_read(tree.sysroot, 2, &status), 0);
	CHECK_STR(status.name, "kthreadd-with-a");
	CHECK_TRUE(!status.has_memory);
	CHECK_INT(status.pinned_bytes, 0);
	/* Lines that are no numbers are none. */
	fixture_tree_write(&tree, "/proc/3/status", "VmSize:\nVmPin:\tmany kB\nVmPin:\t4 kB\n");
	CHECK_INT(process_status_read(tree.sysroot, 3, &status), 0);
	CHECK_STR(status.name, "");
	CHECK_INT(status.pinned_bytes, 0);
	CHECK_INT(process_status_read(tree.sysroot, 4, &status), -ESRCH);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a process", test_process},
		{"a thread of the kernel, nonsense, nobody", test_others},
	};

	return unit_main("kvm/process_status", cases, sizeof(cases) / sizeof(cases[0]));
}
