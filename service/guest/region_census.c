/* SPDX-License-Identifier: Apache-2.0 */
#include "region_census.h"

#include <errno.h>
#include <stdlib.h>
#include "agent_link.h"
#include "block_walk.h"

struct census {
	struct agent_link *link;	/* borrowed: answers what it was asked before it goes */
	struct snapshot_agent agent;	/* as it was when the census began: which regions there are */
	struct snapshot_holders sums[SNAPSHOT_DEVICES_MAX];
	void (*done)(void *user);
	void *user;
};

static int add(void *user, const struct snapshot_guest_block *block)
{
	struct census *census = user;
	const struct snapshot_holders *one = &block->holders;
	struct snapshot_holders *sum = &census->sums[block->region];

	sum->free_bytes += one->free_bytes;
	sum->huge_free_bytes += one->huge_free_bytes;
	sum->huge_used_bytes += one->huge_used_bytes;
	sum->kernel_bytes += one->kernel_bytes;
	sum->pinned_bytes += one->pinned_bytes;
	sum->counted_bytes += one->counted_bytes;
	return sum->counted_bytes <= census->agent.regions[block->region].plugged_bytes ? 0 : -EPROTO;
}

static void on_walked(void *user, int error, uint64_t next_block)
{
	struct census *census = user;
	void (*done)(void *user) = census->done;
	void *done_user = census->user;

	if (error == 0)
		agent_link_set_holders(census->link, census->sums, census->agent.region_count);
	free(census);
	done(done_user);
}

void region_census(struct agent_link *link, uint32_t timeout_ms, void (*done)(void *user), void *user)
{
	struct census *census = calloc(1, sizeof(*census));

	if (!census) {
		done(user);
		return;
	}
	*census = (struct census){.link = link, .done = done, .user = user};
	agent_link_describe(link, &census->agent);
	block_walk(&(struct block_walk_options){.link = link,
						.timeout_ms = timeout_ms,
						.block = add,
						.done = on_walked,
						.user = census});
}
