/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a guest's memory devices and what is in each, looked at by its agent for whoever asks.
 */
#ifndef BALLAST_SERVICE_GUEST_BLOCKS_H
#define BALLAST_SERVICE_GUEST_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include "failure.h"
#include "snapshot.h"

struct look;

#define GUEST_BLOCKS_END UINT64_MAX

/* error: 0, or as block_walk.h has them, with failure. blocks are borrowed until it returns. next_block: the number to go
 * on from, GUEST_BLOCKS_END: these were the last. */
typedef void guest_blocks_fn(void *user, int error, const struct failure *failure,
			     const struct snapshot_guest_block *blocks, size_t count, uint64_t next_block);

/* At most so many blocks from this number on, of the guest of this UUID. done comes once, inside the call or later. */
void guest_blocks_ask(struct look *look, const char *guest, uint64_t first_block, size_t most, guest_blocks_fn *done,
		      void *user);

#endif
