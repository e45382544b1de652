/* SPDX-License-Identifier: Apache-2.0 */
#include "hmat_table.h"

#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "table_bytes.h"

#define TYPE_ATTRIBUTES 0
#define TYPE_LOCALITY	1
#define TYPE_CACHE	2

void hmat_table_init(struct hmat_table *table, uint8_t revision)
{
	memset(table, 0, sizeof(*table));
	table->bytes[8] = revision;
	memcpy(table->bytes + 10, "A FIRMBOARD   ", 14);
	table->size = 40;
}

void hmat_table_raw(struct hmat_table *table, uint16_t type, const void *area, size_t size)
{
	assert(table->size + size + 8 <= sizeof(table->bytes));
	table_bytes_put(table->bytes + table->size, type, 2);
	table_bytes_put(table->bytes + table->size + 4, size + 8, 4);
	if (size)
		memcpy(table->bytes + table->size + 8, area, size);
	table->size += size + 8;
}

void hmat_table_attributes(struct hmat_table *table, int64_t initiator, uint32_t target)
{
	uint8_t area[32] = {[0] = initiator >= 0};

	table_bytes_put(area + 4, initiator >= 0 ? (uint64_t)initiator : 0, 4);
	table_bytes_put(area + 8, target, 4);
	hmat_table_raw(table, TYPE_ATTRIBUTES, area, sizeof(area));
}

void hmat_table_locality(struct hmat_table *table, uint8_t flags, enum hmat_table_data data, uint64_t base, size_t initiators,
			 const uint32_t *initiator, size_t targets, const uint32_t *target, const uint16_t *entries)
{
	uint8_t area[1024] = {[0] = flags, [1] = (uint8_t)data}, *at = area + 24;

	assert(24 + 4 * (initiators + targets) + 2 * initiators * targets <= sizeof(area));
	table_bytes_put(area + 4, initiators, 4);
	table_bytes_put(area + 8, targets, 4);
	table_bytes_put(area + 16, base, 8);
	for (size_t i = 0; i < initiators; i++, at += 4)
		table_bytes_put(at, initiator[i], 4);
	for (size_t i = 0; i < targets; i++, at += 4)
		table_bytes_put(at, target[i], 4);
	for (size_t i = 0; i < initiators * targets; i++, at += 2)
		table_bytes_put(at, entries[i], 2);
	hmat_table_raw(table, TYPE_LOCALITY, area, (size_t)(at - area));
}

void hmat_table_end(struct hmat_table *table)
{
	table_bytes_seal(table->bytes, table->size, "HMAT");
}

void hmat_table_qemu(struct hmat_table *table)
{
	static const uint32_t nodes[] = {0, 1};
	static const uint16_t latencies[] = {10, 20, 20, 10}, bandwidths[] = {10, 5, 5, 10};

	hmat_table_init(table, 2);
	hmat_table_attributes(table, 0, 0);
	hmat_table_attributes(table, 1, 1);
	hmat_table_locality(table, 0, HMAT_TABLE_ACCESS_LATENCY, 10000, 2, nodes, 2, nodes, latencies);
	hmat_table_locality(table, 0, HMAT_TABLE_ACCESS_BANDWIDTH, 1024, 2, nodes, 2, nodes, bandwidths);
	hmat_table_end(table);
}

void hmat_table_two_sockets(struct hmat_table *table)
{
	static const uint32_t sockets[] = {0, 1}, memory[] = {0, 1, 10, 11};
	static const uint16_t reads[] = {105, 181, 254, 390, 181, 105, 390, 254};
	static const uint16_t writes[] = {210, 362, 508, 780, 362, 210, 780, 508};
	static const uint16_t read_bandwidths[] = {2300, 1100, 540, 260, 1100, 2300, 260, 540};
	static const uint16_t write_bandwidths[] = {1200, 600, 300, 140, 600, 1200, 140, 300};
	/* Of domain 10, 16 GiB, one level. */
	static const uint8_t cache[36] = {[0] = 10, [12] = 4, [16] = 0x11, [17] = 0x11};

	hmat_table_init(table, 2);
	hmat_table_attributes(table, 0, 0);
	hmat_table_attributes(table, 1, 1);
	hmat_table_attributes(table, 0, 10);
	hmat_table_attributes(table, -1, 11);
	hmat_table_locality(table, 0, HMAT_TABLE_READ_LATENCY, 1000, 2, sockets, 4, memory, reads);
	hmat_table_locality(table, 0, HMAT_TABLE_WRITE_LATENCY, 1000, 2, sockets, 4, memory, writes);
	hmat_table_locality(table, 0, HMAT_TABLE_READ_BANDWIDTH, 100, 2, sockets, 4, memory, read_bandwidths);
	hmat_table_locality(table, 0, HMAT_TABLE_WRITE_BANDWIDTH, 100, 2, sockets, 4, memory, write_bandwidths);
	hmat_table_raw(table, TYPE_CACHE, cache, sizeof(cache));
	hmat_table_end(table);
}
