/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds an SMBIOS table as firmware does, structure by structure.
 */
#ifndef BALLAST_TESTS_SMBIOS_TABLE_H
#define BALLAST_TESTS_SMBIOS_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct smbios_table {
	size_t size;
	uint8_t bytes[65536];
};

#define SMBIOS_TABLE_USE_MEMORY 3
#define SMBIOS_TABLE_USE_VIDEO	4

void smbios_table_init(struct smbios_table *table);
void smbios_table_array(struct smbios_table *table, uint16_t handle, uint8_t use);
/* An empty slot: 0 MiB. Texts may be NULL. */
void smbios_table_slot(struct smbios_table *table, uint16_t handle, uint16_t array, uint64_t size_mib,
		       const char *locator, const char *bank, const char *part);
/* end: the first address after it. */
void smbios_table_array_range(struct smbios_table *table, uint16_t handle, uint16_t array, uint64_t start, uint64_t end,
			      uint8_t width);
void smbios_table_slot_range(struct smbios_table *table, uint16_t handle, uint16_t slot, uint64_t start, uint64_t end,
			     uint8_t position, uint8_t depth);
void smbios_table_end(struct smbios_table *table);
/* Any structure: its formatted area behind the header. */
void smbios_table_raw(struct smbios_table *table, uint8_t type, uint16_t handle, const void *area, size_t size);

/*
 * The tables of whole machines, made from facts told in public, by what is particular in them.
 *
 * QEMU 7.2 (hw/smbios/smbios.c) with 1 GiB: one array, one slot "DIMM 0", no type 20, a row of one slot.
 */
void smbios_table_qemu(struct smbios_table *table);
/* A server of 2012 with two of 24 slots in use: type 19 below and above the hole with rows of two slots, no type 20. */
void smbios_table_two_of_many(struct smbios_table *table);
/*
 * A server of the years of type 20: slots 1A and 2B of 4 GiB answer in turn to the first 8 GiB, 3A of 2 GiB stands alone
 * behind them, and a video array is there too.
 */
void smbios_table_in_turn(struct smbios_table *table);

#endif
