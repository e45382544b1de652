/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_blocks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "block_walk.h"
#include "look.h"

/* A look at each page of a thousand blocks of 128 MiB. */
#define TIMEOUT_MS 30000

struct asked {
	guest_blocks_fn *done;
	void *user;
	char guest[SNAPSHOT_UUID_SIZE];
	size_t count, most;
	struct snapshot_guest_block blocks[];
};

static int on_block(void *user, const struct snapshot_guest_block *block)
{
	struct asked *asked = user;

	if (asked->count >= asked->most)
		return -EPROTO;
	asked->blocks[asked->count++] = *block;
	return 0;
}

static const char *cause_of(int error)
{
	switch (-error) {
	case ENOTCONN:
		return "it has no agent that is ready";
	case EOPNOTSUPP:
		return "its agent cannot look into them, or it has no memory device";
	case EPROTO:
		return "its agent told what cannot be";
	case ETIMEDOUT:
		return "its agent did not answer in time";
	default:
		return "its agent was asked and could not";
	}
}

static void on_walked(void *user, int error, uint64_t next_block)
{
	struct asked *asked = user;
	struct failure failure = {0};

	if (error) {
		failure_set(&failure, error, asked->guest, "cannot say what is in its blocks");
		failure_set_cause(&failure, "%s", cause_of(error));
		failure_set_code(&failure, error == -ETIMEDOUT ? "timed_out" : "agent_unavailable");
	}
	asked->done(asked->user, error, &failure, asked->blocks, error ? 0 : asked->count,
		    next_block == BLOCK_WALK_END ? GUEST_BLOCKS_END : next_block);
	free(asked);
}

void guest_blocks_ask(struct look *look, const char *guest, uint64_t first_block, size_t most, guest_blocks_fn *done,
		      void *user)
{
	struct agent_link *link = look_agent(look, guest);
	struct asked *asked = calloc(1, sizeof(*asked) + most * sizeof(asked->blocks[0]));
	struct failure failure;

	if (!asked) {
		failure_set(&failure, ENOMEM, guest, "cannot say what is in its blocks");
		done(user, -ENOMEM, &failure, NULL, 0, GUEST_BLOCKS_END);
		return;
	}
	*asked = (struct asked){.done = done, .user = user, .most = most};
	snprintf(asked->guest, sizeof(asked->guest), "%s", guest);
	if (!link) {
		on_walked(asked, -ENOTCONN, BLOCK_WALK_END);
		return;
	}
	block_walk(&(struct block_walk_options){.link = link,
						.first_block = first_block,
						.most = most,
						.timeout_ms = TIMEOUT_MS,
						.block = on_block,
						.done = on_walked,
						.user = asked});
}
