/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds an HMAT as firmware does, structure by structure.
 */
#ifndef BALLAST_TESTS_HMAT_TABLE_H
#define BALLAST_TESTS_HMAT_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct hmat_table {
	size_t size;
	uint8_t bytes[4096];
};

enum hmat_table_data {
	HMAT_TABLE_ACCESS_LATENCY,
	HMAT_TABLE_READ_LATENCY,
	HMAT_TABLE_WRITE_LATENCY,
	HMAT_TABLE_ACCESS_BANDWIDTH,
	HMAT_TABLE_READ_BANDWIDTH,
	HMAT_TABLE_WRITE_BANDWIDTH,
};

#define HMAT_TABLE_UNREACHABLE 0xffff

void hmat_table_init(struct hmat_table *table, uint8_t revision);
/* The memory of one domain; initiator: to which it is attached, negative where that is not told. */
void hmat_table_attributes(struct hmat_table *table, int64_t initiator, uint32_t target);
/* entries: a row for each initiator. Latencies are in base picoseconds, bandwidths in base MB/s. */
void hmat_table_locality(struct hmat_table *table, uint8_t flags, enum hmat_table_data data, uint64_t base, size_t initiators,
			 const uint32_t *initiator, size_t targets, const uint32_t *target, const uint16_t *entries);
/* Any structure: what stands behind type and length. */
void hmat_table_raw(struct hmat_table *table, uint16_t type, const void *area, size_t size);
/* Signature, length and checksum. */
void hmat_table_end(struct hmat_table *table);

/* As QEMU makes it (hw/acpi/hmat.c) of "-numa hmat-lb" for two nodes with processors: all of it told for reads and writes. */
void hmat_table_qemu(struct hmat_table *table);
/*
 * As a server's firmware makes it: two sockets (domains 0 and 1), at each of them memory without processors (domains 10
 * and 11), reads and writes apart, a cache before the memory of domain 10.
 */
void hmat_table_two_sockets(struct hmat_table *table);

#endif
