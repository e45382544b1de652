/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a page that does not leave its block, or most of the block, in words.
 */
#ifndef BALLAST_SERVICE_BLOCK_HOLDER_H
#define BALLAST_SERVICE_BLOCK_HOLDER_H

#include <stdbool.h>
#include <stdint.h>

struct sysroot;

struct block_holder {
	bool is_process; /* of the host; a guest's QEMU is none */
	char text[112];	 /* "of process 4711 (db) of cgroup /x", "of slab"; empty: it cannot be told */
};

/* Of the whole range who has most, processes before the kernel. What cannot be found out leaves the text empty. */
void block_holder_find(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes, struct block_holder *ret_holder);

#endif
