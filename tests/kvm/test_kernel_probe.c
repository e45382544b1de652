/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>
#include "fixture_tree.h"
#include "hmat_table.h"
#include "kernel_probe.h"
#include "smbios_table.h"
#include "srat_table.h"

static void test_fixture(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct kernel_probe probe;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/proc/sys/kernel/numa_balancing", "1\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory\n");
	fixture_tree_write(&tree, "/sys/devices/system/memory/block_size_bytes", "8000000\n");
	fixture_tree_add_block(&tree, 0, 0, "online", "Normal");
	fixture_tree_add_block(&tree, 64, 3, "offline", "Movable Normal");
	fixture_tree_write(&tree, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n");
	fixture_tree_write(&tree, "/sys/kernel/mm/transparent_hugepage/enabled",
			   "always madvise [never]\n");
	fixture_tree_write(&tree, "/proc/kallsyms", "0 T folio_mc_copy\n0 T copy_mc_to_kernel\n");
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(probe.entries[KERNEL_FEATURE_NUMA_BALANCING].state, KERNEL_PROBE_YES);
	CHECK_INT(probe.entries[KERNEL_FEATURE_CGROUP2].state, KERNEL_PROBE_YES);
	CHECK_INT(probe.entries[KERNEL_FEATURE_CGROUP_CPUSET].state, KERNEL_PROBE_YES);
	CHECK_INT(probe.entries[KERNEL_FEATURE_MEMORY_HOTREMOVE].state, KERNEL_PROBE_YES);
	CHECK_STR(probe.entries[KERNEL_FEATURE_MEMORY_HOTREMOVE].detail, "2 blocks of 128 MiB");
	CHECK_INT(probe.entries[KERNEL_FEATURE_MOVABLE_MEMORY].state, KERNEL_PROBE_YES);
	CHECK_INT(probe.entries[KERNEL_FEATURE_HUGEPAGES].state, KERNEL_PROBE_YES);
	CHECK_INT(probe.entries[KERNEL_FEATURE_TRANSPARENT_HUGEPAGES].state, KERNEL_PROBE_NO);
	CHECK_INT(probe.entries[KERNEL_FEATURE_SAFE_COPY].state, KERNEL_PROBE_YES);
	CHECK_INT(probe.entries[KERNEL_FEATURE_PAGE_FLAGS].state, KERNEL_PROBE_NO);
	CHECK_INT(probe.entries[KERNEL_FEATURE_KVM].state, KERNEL_PROBE_NO);
	CHECK_STR(probe.entries[KERNEL_FEATURE_KVM].detail, "/dev/kvm: No such file or directory");
	CHECK_INT(probe.entries[KERNEL_FEATURE_NUMA_NODES].state, KERNEL_PROBE_UNKNOWN);
	CHECK_INT(probe.entries[KERNEL_FEATURE_FIRMWARE_SLOTS].state, KERNEL_PROBE_NO);
	CHECK_STR(probe.entries[KERNEL_FEATURE_FIRMWARE_SLOTS].detail, "SMBIOS: No such file or directory");
	fixture_tree_write(&tree, "/proc/kallsyms", "0 T copy_page\n");
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(probe.entries[KERNEL_FEATURE_SAFE_COPY].state, KERNEL_PROBE_NO);
}

static void test_firmware(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct smbios_table table;
	struct srat_table srat;
	struct kernel_probe probe;
	const struct kernel_probe_entry *slots = &probe.entries[KERNEL_FEATURE_FIRMWARE_SLOTS];
	const struct kernel_probe_entry *latency = &probe.entries[KERNEL_FEATURE_MEMORY_LATENCY];
	struct hmat_table hmat;

	fixture_tree_init(&tree);
	smbios_table_in_turn(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/dmi/tables/DMI", table.bytes, table.size);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(slots->state, KERNEL_PROBE_YES);
	CHECK_STR(slots->detail, "4 of 5 slots populated, in 2 sets; addresses by slot");
	fixture_tree_write_bytes(&tree, "/sys/firmware/dmi/tables/DMI", table.bytes, table.size / 2);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(slots->state, KERNEL_PROBE_NO);
	CHECK_STR(slots->detail, "the SMBIOS table is malformed");
	CHECK_INT(probe.entries[KERNEL_FEATURE_ERROR_COUNTS].state, KERNEL_PROBE_NO);
	fixture_tree_write(&tree, "/sys/devices/system/edac/mc/mc0/ce_count", "0\n");
	fixture_tree_write(&tree, "/sys/devices/system/edac/mc/mc0/ue_count", "0\n");
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(probe.entries[KERNEL_FEATURE_ERROR_COUNTS].state, KERNEL_PROBE_YES);
	CHECK_STR(probe.entries[KERNEL_FEATURE_ERROR_COUNTS].detail, "1 controllers, 0 counts below them");
	CHECK_INT(probe.entries[KERNEL_FEATURE_HOTPLUG_RANGES].state, KERNEL_PROBE_NO);
	srat_table_qemu(&srat);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", srat.bytes, srat.size);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(probe.entries[KERNEL_FEATURE_HOTPLUG_RANGES].state, KERNEL_PROBE_YES);
	CHECK_STR(probe.entries[KERNEL_FEATURE_HOTPLUG_RANGES].detail, "1 of 3 ranges of memory are marked hot-pluggable");
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", srat.bytes, srat.size - 1);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_STR(probe.entries[KERNEL_FEATURE_HOTPLUG_RANGES].detail, "the SRAT is malformed");
	CHECK_INT(latency->state, KERNEL_PROBE_NO);
	CHECK_STR(latency->detail, "No such file or directory");
	hmat_table_qemu(&hmat);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/HMAT", hmat.bytes, hmat.size);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(latency->state, KERNEL_PROBE_YES);
	CHECK_STR(latency->detail, "of 4 pairs of processors and memory");
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/HMAT", hmat.bytes, hmat.size - 1);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_INT(latency->state, KERNEL_PROBE_NO);
	CHECK_STR(latency->detail, "the HMAT is malformed");
	hmat_table_init(&hmat, 1);
	hmat_table_end(&hmat);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/HMAT", hmat.bytes, hmat.size);
	kernel_probe_run(tree.sysroot, &probe);
	CHECK_STR(latency->detail, "the HMAT is not of revision 2");
}

/* Whatever this kernel is: every feature has a name, and nothing breaks. */
static void test_this_kernel(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	struct kernel_probe probe;

	CHECK_INT(sysroot_new("/", &sysroot), 0);
	kernel_probe_run(sysroot, &probe);
	for (int i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_probe_entry *entry = &probe.entries[i];

		CHECK_TRUE(strcmp(kernel_feature_name((enum kernel_feature)i), "unknown") != 0);
		CHECK_TRUE(kernel_feature_meaning((enum kernel_feature)i)[0] != '\0');
		printf("  %s: %s %s\n", kernel_feature_name((enum kernel_feature)i),
		       kernel_probe_state_name(entry->state), entry->detail);
	}
	CHECK_TRUE(probe.entries[KERNEL_FEATURE_PROCESS_READ].state != KERNEL_PROBE_UNKNOWN);
}

/* Where it would have to change more than a group of its own, or has one node only, it is not tried. */
static void test_cpuset_not_tried(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct kernel_probe probe = {0};
	const struct kernel_probe_entry *entry = &probe.entries[KERNEL_FEATURE_CPUSET_REMAP];

	fixture_tree_init(&tree);
	kernel_probe_try_cpuset(tree.sysroot, "/ballast.probe", &probe);
	CHECK_STR(entry->detail, "no group below the root has a cpuset");
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.subtree_control", "cpu memory\n");
	kernel_probe_try_cpuset(tree.sysroot, "/ballast.probe", &probe);
	CHECK_STR(entry->detail, "no group below the root has a cpuset");
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.subtree_control", "cpuset memory\n");
	fixture_tree_write(&tree, "/sys/devices/system/node/has_memory", "2\n");
	kernel_probe_try_cpuset(tree.sysroot, "/ballast.probe", &probe);
	CHECK_STR(entry->detail, "only one node has memory");
	CHECK_INT(entry->state, KERNEL_PROBE_UNKNOWN);
	CHECK_TRUE(!sysroot_exists(tree.sysroot, "/sys/fs/cgroup/ballast.probe"));
}

int main(void)
{
	static const struct unit_case cases[] = {{"fixture", test_fixture},
		{"tables of the firmware", test_firmware},
						 {"this_kernel", test_this_kernel},
						 {"cpuset_not_tried", test_cpuset_not_tried}};

	return unit_main("kernel_probe", cases, ARRAY_SIZE(cases));
}
