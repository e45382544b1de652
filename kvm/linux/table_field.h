/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of the firmware's tables (ACPI, SMBIOS): little-endian, and anywhere.
 */
#ifndef BALLAST_KVM_TABLE_FIELD_H
#define BALLAST_KVM_TABLE_FIELD_H

#include <stddef.h>
#include <stdint.h>

/* size: 1 to 8. One that ends behind the structure, which an older version of it does not have, reads as zero. */
uint64_t table_field(const uint8_t *structure, size_t length, size_t offset, size_t size);

#endif
