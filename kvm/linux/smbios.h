/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the firmware's SMBIOS table says of the memory slots of the board, and of which physical addresses they answer to.
 *
 * Source: DMTF DSP0134 (SMBIOS 3.x): 6.1 for how structures follow each other, 7.17 physical memory array (type 16), 7.18
 * memory device (type 17), 7.20 memory array mapped address (type 19), 7.21 memory device mapped address (type 20). The
 * last has been optional since 2.5, and most boards of today leave it out. Nothing is judged here: see slot_set.h.
 */
#ifndef BALLAST_KVM_SMBIOS_H
#define BALLAST_KVM_SMBIOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "physical_map.h"

struct sysroot;

#define SMBIOS_TEXT_SIZE 64

/* More of one type is no board, and bounds what a reader does with pairs of them. */
#define SMBIOS_ITEMS_MAX 2048

/* Interleave position and depth (7.21). */
#define SMBIOS_INTERLEAVE_NONE	  0
#define SMBIOS_INTERLEAVE_UNKNOWN 0xff

struct smbios_array {
	uint16_t handle;
	bool is_system_memory; /* not video, flash or cache memory */
};

/* Texts are printable ASCII, cut to their size, without blanks around; empty: not told. */
struct smbios_slot {
	uint16_t handle, array;
	bool is_populated;
	uint64_t size_bytes; /* 0: nothing in it, or not told */
	char locator[SMBIOS_TEXT_SIZE], bank[SMBIOS_TEXT_SIZE], part[SMBIOS_TEXT_SIZE];
};

/* An address range that an array answers to. */
struct smbios_array_range {
	uint16_t array; /* handle */
	uint8_t width; /* slots that form one row of it; 0: not told */
	struct physical_range range;
};

/* An address range that a slot answers to, alone or in turn with others. */
struct smbios_slot_range {
	uint16_t slot;	  /* handle */
	uint8_t position; /* its place in the interleave, from 1 */
	struct physical_range range;
};

struct smbios {
	struct smbios_array *arrays; /* owned, as all lists here */
	struct smbios_slot *slots;
	struct smbios_array_range *array_ranges;
	struct smbios_slot_range *slot_ranges;
	size_t array_count, slot_count, array_range_count, slot_range_count;
};

/*
 * Reads a table, all of it or nothing: of one that is cut short it is not known which slots are missing, and a set of
 * interleaved slots would pass for fewer. Structures that do not end in a range (an end below its start) are left out, as
 * are other types. Returns 0, -EBADMSG for a table that is cut or malformed, -E2BIG beyond SMBIOS_ITEMS_MAX, or -ENOMEM.
 * The caller calls smbios_done().
 */
int smbios_parse(const void *data, size_t size, struct smbios *ret_smbios);
/* The kernel's copy (/sys/firmware/dmi/tables/DMI, for root alone). -ENOENT where there is none. */
int smbios_read(const struct sysroot *sysroot, struct smbios *ret_smbios);
void smbios_done(struct smbios *smbios);

#endif
