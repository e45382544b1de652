/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a piece of the host's memory, for GET /v1/holders.
 */
#ifndef BALLAST_SERVICE_HOLDER_REPORT_H
#define BALLAST_SERVICE_HOLDER_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include "remainder.h"

/*
 * Where the pages were counted, the bytes of the list with free_bytes and offline_bytes are size_bytes, but for what
 * changed between the looks at the pages and at the guests' page tables.
 */
struct holder_report {
	struct remainder_list list;
	bool is_counted;
	uint64_t size_bytes, free_bytes;
	uint64_t offline_bytes; /* of blocks that are offline, given back to a device, or no memory at all */
};

#endif
