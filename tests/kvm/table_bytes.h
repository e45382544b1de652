/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of the firmware's tables, as tests write them.
 */
#ifndef BALLAST_TESTS_TABLE_BYTES_H
#define BALLAST_TESTS_TABLE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Little-endian. */
void table_bytes_put(uint8_t *at, uint64_t value, size_t size);
/* Gives an ACPI table its signature (4 characters), its length and the checksum that goes with all of it. */
void table_bytes_seal(uint8_t *table, size_t size, const char *signature);

#endif
