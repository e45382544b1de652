/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_host.h"

#include <stdio.h>

#define NODES "/sys/devices/system/node"
#define ACPI  "/sys/bus/acpi/devices/PNP0C80:00"

static void add_node(struct fixture_tree *tree, int id, const char *cpus, const char *distances)
{
	char path[128];

	snprintf(path, sizeof(path), NODES "/node%d/meminfo", id);
	fixture_tree_write(tree, path, "Node %d MemTotal: 1048576 kB\nNode %d MemFree: 524288 kB\n",
			   id, id);
	snprintf(path, sizeof(path), NODES "/node%d/cpulist", id);
	fixture_tree_write(tree, path, "%s\n", cpus);
	snprintf(path, sizeof(path), NODES "/node%d/distance", id);
	fixture_tree_write(tree, path, "%s\n", distances);
	for (int file = 0; file < 3; file++) {
		static const char *const names[] = {"nr_hugepages", "free_hugepages",
						    "surplus_hugepages"};
		static const int values[] = {16, 12, 0};

		snprintf(path, sizeof(path), NODES "/node%d/hugepages/hugepages-2048kB/%s", id,
			 names[file]);
		fixture_tree_write(tree, path, "%d\n", values[file]);
	}
}

void fake_host_init(struct fixture_tree *tree)
{
	fixture_tree_init(tree);
	fixture_tree_write(tree, NODES "/online", "0-1,3\n");
	add_node(tree, 0, "0-1", "10 20 30");
	add_node(tree, 1, "2-3", "20 10 30");
	add_node(tree, 3, "", "30 30 10");
	fixture_tree_write(tree, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "48\n");
	fixture_tree_write(tree, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
			   "36\n");
	fixture_tree_write(tree, "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "5\n");
	fixture_tree_write(tree, "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages",
			   "0\n");
	fixture_tree_write(tree, "/proc/zoneinfo",
			   "Node 3, zone  Movable\n  pages free     20\n        spanned  262144\n"
			   "        present  262144\n        managed  262144\n  start_pfn:         "
			   "  2097152\n");
	fixture_tree_write(tree, "/sys/devices/system/memory/block_size_bytes", "8000000\n");
	for (unsigned id = 0; id < 8; id++)
		fixture_tree_add_block(tree, id, 0, "online", id < 2 ? "none" : "Normal");
	for (unsigned i = 0; i < FAKE_HOST_DIMM_BLOCKS; i++) {
		char path[128], target[64];

		fixture_tree_add_block(tree, FAKE_HOST_FIRST_BLOCK + i, 3, "online", "Movable");
		snprintf(path, sizeof(path), ACPI "/physical_node%.0u", i);
		snprintf(target, sizeof(target), "../../system/memory/memory%u",
			 FAKE_HOST_FIRST_BLOCK + i);
		fixture_tree_link(tree, path, target);
	}
	fixture_tree_write(tree, ACPI "/path", "\\_SB_.MHPC.MP00\n");
	fixture_tree_write(tree, ACPI "/status", "15\n");
	fixture_tree_write(tree, ACPI "/uid", "0x00\n");
	fixture_tree_write(tree, ACPI "/eject", "\n");
}

void fake_host_add_process(struct fixture_tree *tree, int pid, unsigned long long start_time,
			   const char *name, const char *uuid)
{
	char path[64], cmdline[256];
	int length = snprintf(cmdline, sizeof(cmdline),
			      "qemu-system-x86_64%c-name%cguest=%s,debug-threads=on%c"
			      "-uuid%c%s%c",
			      '\0', '\0', name, '\0', '\0', uuid, '\0');

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fixture_tree_write_bytes(tree, path, cmdline, (size_t)length);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fixture_tree_write(
		tree, path,
		"%d (qemu-system-x86) S 1 1 1 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 3 0 %llu 0 0\n",
		pid, start_time);
}

void fake_host_remove_process(struct fixture_tree *tree, int pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fixture_tree_remove(tree, path);
}
