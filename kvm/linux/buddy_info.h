/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How whole the free memory of each node is: /proc/buddyinfo, which counts free pieces by their size.
 */
#ifndef BALLAST_KVM_BUDDY_INFO_H
#define BALLAST_KVM_BUDDY_INFO_H

#include <stddef.h>
#include <stdint.h>

struct sysroot;

/*
 * Adds for each node id below count to small_bytes[id] what of its free memory lies in pieces smaller
 * than piece_bytes. Returns 0; -ENOENT where the kernel does not tell; -EBADMSG for a line of another
 * form, with small_bytes in any state.
 */
int buddy_info_read(const struct sysroot *sysroot, uint64_t piece_bytes, uint64_t *small_bytes,
		    size_t count);

/* The size of a transparent huge page; 2 MiB where the kernel does not tell. */
uint64_t buddy_info_huge_bytes(const struct sysroot *sysroot);

#endif
