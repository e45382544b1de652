/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over the blocks of a guest's virtio-mem devices, page by page as its agent tells them.
 */
#ifndef BALLAST_SERVICE_BLOCK_WALK_H
#define BALLAST_SERVICE_BLOCK_WALK_H

#include <stddef.h>
#include <stdint.h>
#include "snapshot.h"

struct agent_link;

struct block_walk_options {
	struct agent_link *link;	/* borrowed: answers what it was asked before it goes */
	uint64_t first_block;		/* no block with a smaller number */
	size_t most;			/* blocks; 0: all */
	uint32_t timeout_ms;		/* for all of it */
	/* Each block, in the order of their numbers; its region is one that the link's description had when the walk began.
	 * Less than 0 ends the walk with that. */
	int (*block)(void *user, const struct snapshot_guest_block *block);
	/*
	 * Once, from the loop or at once. error: 0; -ENOTCONN without an agent, or lost; -EOPNOTSUPP where it cannot tell or
	 * has no devices to tell of; -EIO: it said no; -EPROTO: it told what cannot be; -ETIMEDOUT; -ENOMEM; or what
	 * block() returned.
	 * next_block: where the next walk goes on, BLOCK_WALK_END: nowhere.
	 */
	void (*done)(void *user, int error, uint64_t next_block);
	void *user;
};

#define BLOCK_WALK_END UINT64_MAX

void block_walk(const struct block_walk_options *options);

#endif
