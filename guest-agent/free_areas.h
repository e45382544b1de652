/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free memory in large pieces, as the buddy allocator lists it.
 */
#ifndef BALLAST_AGENT_FREE_AREAS_H
#define BALLAST_AGENT_FREE_AREAS_H

#include <stdint.h>

struct sysroot;

struct free_areas {
	uint64_t bytes;	 /* in pieces of at least the order asked for */
	unsigned rounds; /* in which free page reporting has told of all of them, were none told of yet */
};

/*
 * Reads /proc/buddyinfo, pieces of 2^least_order pages and larger. Zones that free page reporting
 * leaves alone for being too small count neither here nor there. 0 or -errno.
 */
int free_areas_read(const struct sysroot *sysroot, unsigned least_order,
		    struct free_areas *ret_areas);

/* The order that compaction makes pieces of: that of a pageblock. 9 where the kernel does not tell. */
unsigned free_areas_block_order(const struct sysroot *sysroot);

/* The order from which on free pages are reported to the host: the kernel's parameter, or else that
 * of a pageblock. */
unsigned free_areas_report_order(const struct sysroot *sysroot);

#endif
