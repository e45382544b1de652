/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a node has free memory in pieces large enough for transparent huge pages, and making some.
 */
#ifndef BALLAST_KVM_HUGE_ROOM_H
#define BALLAST_KVM_HUGE_ROOM_H

#include <stdint.h>
#include "slow_write.h"

struct sysroot;

/*
 * Free memory of a node in aligned pieces of at least piece_bytes (a power of two of pages), counted in such pieces. From
 * /proc/buddyinfo: what the kernel keeps back as a reserve is in it, so that a few of them cannot be had.
 */
int huge_room_read(const struct sysroot *sysroot, int node_id, uint64_t piece_bytes, uint64_t *ret_pieces);

/* Asks the kernel to compact a node (-1: all); returns when it has, or as slow_write_text() when go_on gives it up. */
int huge_room_compact(const struct sysroot *sysroot, int node_id, slow_write_go_on_fn *go_on, void *user);

#endif
