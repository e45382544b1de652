/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds an SRAT as firmware does, structure by structure.
 */
#ifndef BALLAST_TESTS_SRAT_TABLE_H
#define BALLAST_TESTS_SRAT_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct srat_table {
	size_t size;
	uint8_t bytes[4096];
};

#define SRAT_TABLE_ENABLED	1
#define SRAT_TABLE_HOTPLUGGABLE 2
#define SRAT_TABLE_NONVOLATILE	4

void srat_table_init(struct srat_table *table, uint8_t revision);
void srat_table_memory(struct srat_table *table, uint32_t domain, uint64_t start, uint64_t bytes, uint32_t flags);
/* Any structure: what stands behind type and length. */
void srat_table_raw(struct srat_table *table, uint8_t type, const void *area, size_t size);
/* Signature, length and checksum. */
void srat_table_end(struct srat_table *table);

/* As QEMU makes it (hw/i386/acpi-build.c): CPUs, two nodes of 2 GiB, and the window for memory devices hot-pluggable. */
void srat_table_qemu(struct srat_table *table);

#endif
