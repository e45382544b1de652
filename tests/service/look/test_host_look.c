/* SPDX-License-Identifier: Apache-2.0 */
#include "host_look.h"

#include <errno.h>
#include <string.h>
#include "fake_host.h"
#include "hmat_table.h"
#include "srat_table.h"
#include "unit.h"

static void test_host(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct failure failure = {0};
	const struct snapshot_dimm *dimm;
	const struct snapshot_node *node;

	fake_host_init(&tree);
	fixture_tree_write(&tree, "/proc/buddyinfo",
			   "Node 3, zone  Movable 8 0 0 0 0 0 0 0 0 255 0\n");
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
	CHECK_INT(snapshot->node_count, 3);
	CHECK_INT(snapshot_node(snapshot, 3)->fragmented_bytes, 8 * 4096);
	CHECK_INT(snapshot_node(snapshot, 1)->fragmented_bytes, 0);
	CHECK_INT(snapshot->block_count, 16);
	CHECK_INT(snapshot->block_bytes, FAKE_HOST_BLOCK_BYTES);
	node = snapshot_node(snapshot, 1);
	assert(node);
	CHECK_INT(node->total_bytes, 1 << 30);
	CHECK_INT(node->free_bytes, 1 << 29);
	CHECK_STR(node->cpus, "2-3");
	CHECK_INT(node->distances[3], 30);
	CHECK_INT(node->distances[2], 0);
	CHECK_INT(node->pool_count, 1);
	CHECK_INT(node->pools[0].total, 16);
	CHECK_INT(node->pools[0].free, 12);
	CHECK_INT(node->pools[0].reserved, 5);
	node = snapshot_node(snapshot, 3);
	CHECK_INT(node->movable_bytes, 1 << 30);
	CHECK_INT(snapshot_block(snapshot, 0)->zone, BLOCK_ZONE_NONE);
	CHECK_INT(snapshot_block(snapshot, 5)->zone, BLOCK_ZONE_NORMAL);
	CHECK_INT(snapshot_block(snapshot, 64)->zone, BLOCK_ZONE_MOVABLE);
	CHECK_INT(snapshot_block(snapshot, 64)->node, 3);
	CHECK_INT(snapshot->dimm_count, 1);
	dimm = snapshot_dimm(snapshot, FAKE_HOST_DIMM);
	assert(dimm);
	CHECK_INT(dimm->state, SNAPSHOT_DIMM_ONLINE);
	CHECK_INT(dimm->movable, ANSWER_YES);
	CHECK_TRUE(dimm->ejectable);
	CHECK_INT(dimm->interleaved, ANSWER_UNKNOWN);
	CHECK_INT(dimm->node, 3);
	CHECK_INT(dimm->range_count, 1);
	CHECK_INT(dimm->ranges[0].start, FAKE_HOST_DIMM_START);
	CHECK_INT(dimm->ranges[0].end - dimm->ranges[0].start,
		  FAKE_HOST_DIMM_BLOCKS * FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(dimm->remainder.count, 0);
	CHECK_TRUE(snapshot->numa_balancing_off);

	/* Its nodes alone; what was known of blocks and DIMMs is handed on. */
	CLEANUP(snapshot_freep) struct snapshot *nodes = snapshot_new();

	fixture_tree_write(&tree, "/sys/devices/system/node/node1/meminfo",
			   "Node 1 MemTotal: 1048576 kB\nNode 1 MemFree: 4096 kB\n");
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_NODES, nodes, &failure), 0);
	CHECK_INT(snapshot_node(nodes, 1)->free_bytes, 4 << 20);
	CHECK_INT(nodes->block_count + nodes->dimm_count, 0);
	snapshot_take_blocks(nodes, snapshot);
	CHECK_INT(snapshot_block(nodes, 64)->node, 3);
	CHECK_INT(snapshot_dimm(nodes, FAKE_HOST_DIMM)->node, 3);
	CHECK_INT(nodes->block_bytes, FAKE_HOST_BLOCK_BYTES);
	CHECK_INT(snapshot->block_count + snapshot->dimm_count, 0);
}

/* Only where they are asked for; and without them the look is none the worse. */
static void test_pinners(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct failure failure = {0};

	fake_host_init(&tree);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup/rdma/memory.numa_stat", "anon N0=0 N3=8388608\n");
	for (int pid = 100; pid < 110; pid++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/status", pid);
		fixture_tree_write(&tree, path, "Name:\trdma\nVmPin:\t %d kB\n", pid);
		snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
		fixture_tree_write(&tree, path, "0::%s\n", pid == 109 ? "/rdma" : "/none");
	}
	for (int round = 0; round < 3; round++) {
		CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
		const struct snapshot_pinners *pinners = &snapshot->pinners;

		if (round == 2)
			fixture_tree_link(&tree, "/proc/111/status", "status");
		CHECK_INT(host_look_read(tree.sysroot, round ? HOST_LOOK_PINNERS : HOST_LOOK_ALL, snapshot, &failure), 0);
		CHECK_INT(snapshot->block_count, 16);
		CHECK_INT(pinners->count, round == 1 ? SNAPSHOT_PINNERS_MAX : 0);
		CHECK_INT(pinners->untold[0] != '\0', round == 2);
		if (round != 1)
			continue;
		CHECK_INT(pinners->items[0].pid, 109);
		CHECK_STR(pinners->items[0].name, "rdma");
		CHECK_INT(pinners->items[0].pinned_bytes, 109 * 1024);
		CHECK_TRUE(pinners->items[0].has_nodes);
		CHECK_INT(pinners->items[0].node_bytes[3], 8 << 20);
		CHECK_TRUE(!pinners->items[1].has_nodes);
		CHECK_INT(pinners->unlisted, 2);
		CHECK_INT(pinners->unlisted_bytes, (100 + 101) * 1024);
	}
}

static void test_balancing(void)
{
	static const struct {
		const char *value;
		bool off;
	} cases[] = {{"0\n", true}, {"1\n", false}, {"2\n", false}, {"?\n", false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(fixture_tree_done) struct fixture_tree tree;
		CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
		struct failure failure = {0};

		fake_host_init(&tree);
		fixture_tree_write(&tree, "/proc/sys/kernel/numa_balancing", "%s",
				   cases[i].value);
		CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
		CHECK_INT(snapshot->numa_balancing_off, cases[i].off);
	}
}

/* A block in a kernel zone keeps its DIMM from ever being emptied, and is named. */
static void test_partly_movable(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct failure failure = {0};
	const struct snapshot_dimm *dimm;

	fake_host_init(&tree);
	fixture_tree_write(&tree, "/sys/devices/system/memory/memory64/valid_zones", "Normal\n");
	fixture_tree_write(&tree, "/sys/devices/system/memory/memory65/state", "offline\n");
	fixture_tree_write(&tree, "/sys/devices/system/memory/memory65/valid_zones",
			   "Normal Movable\n");
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
	dimm = snapshot_dimm(snapshot, FAKE_HOST_DIMM);
	assert(dimm);
	CHECK_INT(dimm->movable, ANSWER_PARTLY);
	CHECK_INT(dimm->remainder.count, 1);
	CHECK_INT(dimm->remainder.items[0].code, REMAINDER_KERNEL_MEMORY);
	CHECK_INT(dimm->remainder.items[0].bytes, FAKE_HOST_BLOCK_BYTES);
	CHECK_STR(dimm->remainder.items[0].detail, "1 of 8 blocks are online in a kernel zone");
}

/* In more pieces than are kept: told, so that nobody drains the first of them for the whole. */
static void test_too_many_pieces(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	const struct snapshot_dimm *dimm;

	fake_host_init(&tree);
	for (unsigned pieces = 2; pieces <= SNAPSHOT_RANGES_MAX + 1; pieces++) {
		unsigned id = FAKE_HOST_FIRST_BLOCK + FAKE_HOST_DIMM_BLOCKS + 2 * pieces;
		CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
		struct failure failure = {0};
		char path[128], target[64];

		fixture_tree_add_block(&tree, id, 3, "online", "Movable");
		snprintf(path, sizeof(path), "/sys/bus/acpi/devices/PNP0C80:00/physical_node%u", pieces + 10);
		snprintf(target, sizeof(target), "../../system/memory/memory%u", id);
		fixture_tree_link(&tree, path, target);
		CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
		dimm = snapshot_dimm(snapshot, FAKE_HOST_DIMM);
		assert(dimm);
		if (pieces <= SNAPSHOT_RANGES_MAX) {
			CHECK_INT(dimm->range_count, pieces);
			CHECK_TRUE(!dimm->ranges_cut);
			CHECK_INT(dimm->remainder.count, 0);
			continue;
		}
		CHECK_INT(dimm->range_count, SNAPSHOT_RANGES_MAX);
		CHECK_TRUE(dimm->ranges_cut);
		CHECK_INT(dimm->remainder.count, 1);
		CHECK_INT(dimm->remainder.items[0].bytes, FAKE_HOST_BLOCK_BYTES);
		CHECK_STR(dimm->remainder.items[0].detail, "its memory lies in 17 pieces, of which 16 are seen");
	}
}

/* What an administrator would change: by the firmware's table and the kernel's command line. */
static void test_boot(void)
{
	static const struct {
		const char *command_line;	/* NULL: cannot be read */
		int table;			/* 0: no firmware that could tell, 1: none of it marked, 2: boot memory marked, 3: cut */
		bool told, movable_node, hotpluggable;
	} cases[] = {
		{"quiet movable_node\n", 0, false, false, false}, {"quiet movable_node\n", 1, true, true, false},
		{"movable_node=1 a.movable_node\n", 1, true, false, false}, {"\n", 2, true, false, true},
		{"movable_node", 2, true, true, true},		  {NULL, 2, false, false, false},
		{"movable_node\n", 3, false, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(fixture_tree_done) struct fixture_tree tree;
		CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new(), *nodes = snapshot_new();
		struct failure failure = {0};
		struct srat_table table;

		fake_host_init(&tree);
		if (cases[i].command_line)
			fixture_tree_write(&tree, "/proc/cmdline", "%s", cases[i].command_line);
		if (cases[i].table)
			fixture_tree_write(&tree, "/sys/firmware/acpi/tables/DSDT", "-");
		srat_table_init(&table, 3);
		srat_table_memory(&table, 0, 0, 8 * FAKE_HOST_BLOCK_BYTES - 4096, SRAT_TABLE_ENABLED | SRAT_TABLE_HOTPLUGGABLE);
		srat_table_end(&table);
		if (cases[i].table > 1)
			fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", table.bytes,
						 table.size - (cases[i].table == 3));
		CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
		CHECK_INT(snapshot->hotplug_told, cases[i].told);
		CHECK_INT(snapshot->movable_node, cases[i].movable_node);
		CHECK_INT(snapshot_block(snapshot, 0)->hotpluggable, cases[i].hotpluggable);
		/* It ends inside this one. */
		CHECK_TRUE(!snapshot_block(snapshot, 7)->hotpluggable);
		snapshot_take_blocks(nodes, snapshot);
		CHECK_INT(nodes->hotplug_told, cases[i].told);
		CHECK_INT(nodes->movable_node, cases[i].movable_node);
	}
}

/* The DIMM says what would help it. */
static void test_way_out(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct failure failure = {0};
	const struct snapshot_dimm *dimm;
	struct srat_table table;

	fake_host_init(&tree);
	fixture_tree_write(&tree, "/proc/cmdline", "movable_node\n");
	fixture_tree_write(&tree, "/sys/devices/system/memory/memory64/valid_zones", "Normal\n");
	srat_table_init(&table, 3);
	srat_table_memory(&table, 3, FAKE_HOST_DIMM_START, 1 << 30, SRAT_TABLE_ENABLED | SRAT_TABLE_HOTPLUGGABLE);
	srat_table_end(&table);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", table.bytes, table.size);
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
	dimm = snapshot_dimm(snapshot, FAKE_HOST_DIMM);
	assert(dimm && dimm->remainder.count == 1);
	CHECK_STR(dimm->remainder.items[0].way_out,
		  "booted with movable_node, and it is hot-pluggable: online it as movable; but where the kernel itself lies "
		  "nothing becomes movable");
}

/* Where the firmware tells latencies distances are by them, also where nodes alone are read; elsewhere the kernel's. */
static void test_latency(void)
{
	static const uint32_t sockets[] = {0, 1}, memory[] = {0, 1, 3};
	static const uint16_t reads[] = {100, 200, 150, 200, 100, HMAT_TABLE_UNREACHABLE};
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct failure failure = {0};
	struct srat_table srat;
	struct hmat_table hmat;

	fake_host_init(&tree);
	fixture_tree_append(&tree, "/proc/zoneinfo",
			    "Node 0, zone   Normal\n  pages free 1\n spanned 9\n present 9\n managed 9\n start_pfn: 0\n"
			    "Node 1, zone   Normal\n  pages free 1\n spanned 9\n present 9\n managed 9\n start_pfn: 262144\n");
	srat_table_init(&srat, 3);
	srat_table_memory(&srat, 0, 0, 1 << 30, SRAT_TABLE_ENABLED);
	srat_table_memory(&srat, 1, 1 << 30, 1 << 30, SRAT_TABLE_ENABLED);
	srat_table_memory(&srat, 3, FAKE_HOST_DIMM_START, 1 << 30, SRAT_TABLE_ENABLED | SRAT_TABLE_HOTPLUGGABLE);
	srat_table_end(&srat);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/SRAT", srat.bytes, srat.size);
	hmat_table_init(&hmat, 2);
	hmat_table_locality(&hmat, 0, HMAT_TABLE_READ_LATENCY, 1000, 2, sockets, 3, memory, reads);
	hmat_table_end(&hmat);
	fixture_tree_write_bytes(&tree, "/sys/firmware/acpi/tables/HMAT", hmat.bytes, hmat.size);
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_NODES, snapshot, &failure), 0);
	/* The kernel says that node 1 is nearer to node 0 than node 3 is. */
	CHECK_TRUE(snapshot_node(snapshot, 0)->has_latency_distances);
	CHECK_INT(snapshot_node(snapshot, 0)->distances[0], 10);
	CHECK_INT(snapshot_node(snapshot, 0)->distances[1], 20);
	CHECK_INT(snapshot_node(snapshot, 0)->distances[3], 15);
	CHECK_TRUE(!snapshot_node(snapshot, 1)->has_latency_distances);
	CHECK_INT(snapshot_node(snapshot, 1)->distances[3], 30);
	CHECK_INT(snapshot_node(snapshot, 3)->read_latency_ns, 150);
	CHECK_INT(snapshot_node(snapshot, 3)->read_bytes_per_s, 0);
}

static void test_no_hotplug(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct failure failure = {0};

	fake_host_init(&tree);
	fixture_tree_remove(&tree, "/sys/devices/system/memory");
	fixture_tree_remove(&tree, "/sys/kernel/mm/hugepages");
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), 0);
	CHECK_INT(snapshot->node_count, 3);
	CHECK_INT(snapshot->nodes[0].pool_count, 0);
	CHECK_INT(snapshot->block_count, 0);
	CHECK_INT(snapshot->dimm_count, 0);
}

static void test_failures(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	CLEANUP(snapshot_freep) struct snapshot *second = snapshot_new();
	struct failure failure = {0};

	fake_host_init(&tree);
	fixture_tree_write(&tree, "/sys/devices/system/node/online", "0,64\n");
	fixture_tree_write(&tree, "/sys/devices/system/node/node64/meminfo",
			   "Node 64 MemTotal: 1 kB\nNode 64 MemFree: 1 kB\n");
	fixture_tree_write(&tree, "/sys/devices/system/node/node64/cpulist", "\n");
	fixture_tree_write(&tree, "/sys/devices/system/node/node64/distance", "20 10\n");
	CHECK_INT(host_look_read(tree.sysroot, HOST_LOOK_ALL, snapshot, &failure), -ERANGE);
	CHECK_STR(failure.cause, "node numbers up to 63 are handled");
	fixture_tree_remove(&tree, "/sys/devices/system/node");
	CHECK_TRUE(host_look_read(tree.sysroot, HOST_LOOK_ALL, second, &failure) < 0);
	CHECK_STR(failure.object, "/sys/devices/system/node");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a host", test_host},
		{"a DIMM that is movable in part", test_partly_movable},
		{"a DIMM in too many pieces", test_too_many_pieces},
		{"how it was booted", test_boot},
		{"latencies that the firmware tells", test_latency},
		{"what would help a DIMM", test_way_out},
		{"a kernel without memory hotplug", test_no_hotplug},
		{"who has memory pinned", test_pinners},
		{"automatic NUMA balancing", test_balancing},
		{"failures", test_failures},
	};

	return unit_main("service/look/host_look", cases, sizeof(cases) / sizeof(cases[0]));
}
