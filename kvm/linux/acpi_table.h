/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of the firmware as ACPI passes it: its header checked, and the structures in it walked within bounds.
 *
 * Source: ACPI 6.5, 5.2.6 (system description table header).
 */
#ifndef BALLAST_KVM_ACPI_TABLE_H
#define BALLAST_KVM_ACPI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sysroot;

#define ACPI_TABLE_HEADER_BYTES 36

struct acpi_table {
	const uint8_t *data; /* borrowed */
	size_t size;	     /* as the header says */
	uint8_t revision;
};

/*
 * Takes data for a table with that signature (4 characters). Bytes behind the length that the header tells are left out.
 * Returns 0, or -EBADMSG where signature, length or checksum are wrong; ret_table borrows data.
 */
int acpi_table_open(const void *data, size_t size, const char *signature, struct acpi_table *ret_table);
/*
 * The kernel's copy (/sys/firmware/acpi/tables/NAME, for root alone), not checked yet. The caller frees *ret_data.
 * -ENOENT where there is none, -EOVERFLOW where it is larger than any table.
 */
int acpi_table_read(const struct sysroot *sysroot, const char *name, char **ret_data, size_t *ret_size);

/* A structure inside a table: type, length and what follows. */
struct acpi_structure {
	const uint8_t *data; /* borrowed, type and length included */
	size_t length;
	uint16_t type;
};

/*
 * The structure at *offset, which moves on behind it. Returns 1, 0 at the end of the table, or -EBADMSG where a structure
 * is shorter than its own type and length or reaches behind the table.
 */
int acpi_table_next(const struct acpi_table *table, size_t *offset, struct acpi_structure *ret_structure);
/* The same where type and length have two and four bytes, with two reserved ones between (HMAT). */
int acpi_table_next_wide(const struct acpi_table *table, size_t *offset, struct acpi_structure *ret_structure);

#endif
