/* SPDX-License-Identifier: Apache-2.0 */
#include "node_latency.h"

#include <errno.h>
#include "fixture_tree.h"
#include "hmat_table.h"
#include "numa_node.h"
#include "srat_table.h"
#include "unit.h"

#define GIB	((uint64_t)1 << 30)
#define NODES	"/sys/devices/system/node"
#define TABLES	"/sys/firmware/acpi/tables"

/* Two sockets, at each of them memory without processors; each node has 4 GiB, one after the other. */
static void make_host(struct fixture_tree *tree)
{
	static const uint32_t domains[] = {0, 1, 10, 11};
	struct srat_table table;

	fixture_tree_init(tree);
	fixture_tree_write(tree, NODES "/online", "0-3\n");
	fixture_tree_write(tree, "/proc/zoneinfo", "%s", "");
	srat_table_init(&table, 3);
	for (unsigned id = 0; id < 4; id++) {
		char path[64], zone[256];

		snprintf(path, sizeof(path), NODES "/node%u/meminfo", id);
		fixture_tree_write(tree, path, "Node %u MemTotal: 4194304 kB\n", id);
		snprintf(path, sizeof(path), NODES "/node%u/cpulist", id);
		fixture_tree_write(tree, path, id < 2 ? "%u\n" : "\n", id);
		snprintf(path, sizeof(path), NODES "/node%u/distance", id);
		fixture_tree_write(tree, path, id == 0 ? "10 21 21 21\n" : "21 21 21 10\n");
		snprintf(zone, sizeof(zone),
			 "Node %u, zone   Normal\n  pages free 1\n  spanned 1048576\n  present 1048576\n  managed 1048576\n"
			 "  start_pfn: %u\n",
			 id, id * 1048576 + 1);
		fixture_tree_append(tree, "/proc/zoneinfo", zone);
		srat_table_memory(&table, domains[id], id * 4 * GIB, 4 * GIB, SRAT_TABLE_ENABLED);
	}
	srat_table_end(&table);
	fixture_tree_write_bytes(tree, TABLES "/SRAT", table.bytes, table.size);
}

static void write_hmat(struct fixture_tree *tree, const struct hmat_table *table)
{
	fixture_tree_write_bytes(tree, TABLES "/HMAT", table->bytes, table->size);
}

static void read_nodes(struct fixture_tree *tree, struct numa_node_list *list, int expected)
{
	numa_node_list_done(list);
	CHECK_INT(numa_node_list_read(tree->sysroot, list), 0);
	CHECK_INT(list->count, 4);
	CHECK_INT(node_latency_fill(tree->sysroot, list), expected);
}

static void check_row(const struct numa_node_list *list, int from, bool by_latency, int a, int b, int c, int d)
{
	const int expected[] = {a, b, c, d};

	CHECK_INT(numa_node_list_find(list, from)->has_latency_distances, by_latency);
	for (int to = 0; to < 4; to++)
		CHECK_INT(numa_node_list_distance(list, from, to), expected[to]);
}

static void check_as_kernel(const struct numa_node_list *list)
{
	check_row(list, 0, false, 10, 21, 21, 21);
	for (int id = 1; id < 4; id++)
		check_row(list, id, false, 21, 21, 21, 10);
	for (size_t i = 0; i < 4; i++)
		CHECK_TRUE(!list->nodes[i].read_latency_ns && !list->nodes[i].read_bytes_per_s);
}

static void test_two_sockets(void)
{
	static const uint32_t latencies[] = {105, 105, 254, 254};
	static const uint64_t bandwidths[] = {230000000000, 230000000000, 54000000000, 54000000000};
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	struct hmat_table table;

	make_host(&tree);
	hmat_table_two_sockets(&table);
	write_hmat(&tree, &table);
	read_nodes(&tree, &list, 0);
	/* The kernel's are all alike. */
	check_row(&list, 0, true, 10, 17, 24, 37);
	check_row(&list, 1, true, 17, 10, 37, 24);
	/* They have no processors. */
	check_row(&list, 2, false, 21, 21, 21, 10);
	for (size_t i = 0; i < 4; i++) {
		CHECK_INT(list.nodes[i].read_latency_ns, latencies[i]);
		CHECK_INT(list.nodes[i].read_bytes_per_s, bandwidths[i]);
	}
}

/* Part of a row is no row; what a node without memory would have nobody needs. */
static void test_partly_told(void)
{
	static const uint32_t sockets[] = {0, 1}, memory[] = {0, 1, 10};
	static const uint16_t reads[] = {100, 5000, 1, 0, 100, 50};
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	struct hmat_table table;

	make_host(&tree);
	hmat_table_init(&table, 2);
	hmat_table_locality(&table, 0, HMAT_TABLE_READ_LATENCY, 1001, 2, sockets, 3, memory, reads);
	hmat_table_end(&table);
	write_hmat(&tree, &table);
	read_nodes(&tree, &list, 0);
	for (int id = 0; id < 2; id++)
		CHECK_TRUE(!list.nodes[id].has_latency_distances);
	CHECK_INT(list.nodes[0].read_latency_ns, 101);
	CHECK_INT(list.nodes[3].read_latency_ns, 0);
	fixture_tree_write(&tree, NODES "/node3/meminfo", "Node 3 MemTotal: 0 kB\n");
	read_nodes(&tree, &list, 0);
	/* Cut to what a distance can be. */
	check_row(&list, 0, true, 10, 254, 1, 21);
	check_row(&list, 1, false, 21, 21, 21, 10);
}

/* Nodes of which it is not certain which domain they are have nothing told. */
static void test_domains_shared(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	struct hmat_table table;
	struct srat_table srat;

	make_host(&tree);
	hmat_table_two_sockets(&table);
	write_hmat(&tree, &table);
	srat_table_init(&srat, 3);
	srat_table_memory(&srat, 0, 0, 12 * GIB, SRAT_TABLE_ENABLED);
	srat_table_memory(&srat, 11, 12 * GIB, 4 * GIB, SRAT_TABLE_ENABLED);
	srat_table_end(&srat);
	fixture_tree_write_bytes(&tree, TABLES "/SRAT", srat.bytes, srat.size);
	read_nodes(&tree, &list, 0);
	check_row(&list, 0, false, 10, 21, 21, 21);
	CHECK_INT(list.nodes[0].read_latency_ns + list.nodes[1].read_latency_ns + list.nodes[2].read_latency_ns, 0);
	CHECK_INT(list.nodes[3].read_latency_ns, 254);
}

static void test_without(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	struct hmat_table table;

	make_host(&tree);
	read_nodes(&tree, &list, -ENOENT);
	check_as_kernel(&list);
	hmat_table_two_sockets(&table);
	table.size--;
	write_hmat(&tree, &table);
	read_nodes(&tree, &list, -EBADMSG);
	check_as_kernel(&list);
	table.size++;
	write_hmat(&tree, &table);
	fixture_tree_remove(&tree, TABLES "/SRAT");
	read_nodes(&tree, &list, -ENOENT);
	check_as_kernel(&list);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"two sockets", test_two_sockets},
		{"what is told in part", test_partly_told},
		{"domains that nodes share", test_domains_shared},
		{"without the tables", test_without},
	};

	return unit_main("kvm/linux/node_latency", cases, sizeof(cases) / sizeof(cases[0]));
}
