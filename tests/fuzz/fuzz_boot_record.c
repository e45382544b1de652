/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as entries of a wtmp, as the C library hands them out. What comes of them is no more than a reboot may take.
 */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "boot_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_record record = {0};
	struct utmpx entry;

	for (; size >= sizeof(entry); data += sizeof(entry), size -= sizeof(entry)) {
		memcpy(&entry, data, sizeof(entry));
		boot_record_add(&record, &entry);
		assert(boot_record_median_s(&record) <= 7200);
	}
	return 0;
}
