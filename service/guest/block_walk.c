/* SPDX-License-Identifier: Apache-2.0 */
#include "block_walk.h"

#include <errno.h>
#include <stdlib.h>
#include "agent_link.h"
#include "clock.h"
#include "message.h"

struct walk {
	struct block_walk_options options;
	uint64_t deadline_ms, next_block;
	size_t count;
	struct snapshot_agent agent;	/* as it was when the walk began: which regions there are */
};

static void end(struct walk *walk, int error)
{
	struct block_walk_options options = walk->options;
	uint64_t next = error ? BLOCK_WALK_END : walk->next_block;

	free(walk);
	options.done(options.user, error, next);
}

static enum block_state state_of(enum message_block_state state)
{
	switch (state) {
	case MESSAGE_BLOCK_STATE_OFFLINE:
		return BLOCK_STATE_OFFLINE;
	case MESSAGE_BLOCK_STATE_GOING_OFFLINE:
		return BLOCK_STATE_GOING_OFFLINE;
	case MESSAGE_BLOCK_STATE_UNKNOWN:
	case MESSAGE_BLOCK_STATE_ONLINE:
	case MESSAGE_BLOCK_STATE_COUNT:
		break;
	}
	return BLOCK_STATE_ONLINE;
}

static enum block_zone zone_of(enum message_zone zone)
{
	switch (zone) {
	case MESSAGE_ZONE_DMA:
	case MESSAGE_ZONE_DMA32:
		return BLOCK_ZONE_DMA;
	case MESSAGE_ZONE_NORMAL:
		return BLOCK_ZONE_NORMAL;
	case MESSAGE_ZONE_MOVABLE:
		return BLOCK_ZONE_MOVABLE;
	case MESSAGE_ZONE_UNKNOWN:
	case MESSAGE_ZONE_DEVICE:
	case MESSAGE_ZONE_COUNT:
		break;
	}
	return BLOCK_ZONE_NONE;
}

/* -EPROTO where it goes back, ends beyond all addresses, or its parts are more than the block. */
static int take(struct walk *walk, const struct message_block *told)
{
	/* A piece that kernel memory holds may be free for the most part, so the parts are no sum. */
	const uint64_t parts[] = {told->free_bytes, told->huge_free_bytes, told->huge_used_bytes, told->kernel_bytes,
				  told->pinned_bytes};
	struct snapshot_guest_block block = {
		.block = {.id = told->id,
			  .start = told->start,
			  .size_bytes = told->size_bytes,
			  .node = told->node < SNAPSHOT_NODES_MAX ? told->node : -1,
			  .state = state_of(told->state),
			  .zone = zone_of(told->zone)},
		.region = told->region,
		.can_offline = told->flags & MESSAGE_BLOCK_REMOVABLE,
		.holders = {.counted_bytes = told->size_bytes,
			    .free_bytes = told->free_bytes,
			    .huge_free_bytes = told->huge_free_bytes,
			    .huge_used_bytes = told->huge_used_bytes,
			    .kernel_bytes = told->kernel_bytes,
			    .pinned_bytes = told->pinned_bytes}};

	if (told->id < walk->next_block || told->id == BLOCK_WALK_END ||
	    told->size_bytes > UINT64_MAX - told->start)
		return -EPROTO;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i] > told->size_bytes)
			return -EPROTO;
	walk->next_block = told->id + 1;
	/* Not of a device. */
	if (told->region >= walk->agent.region_count)
		return 0;
	walk->count++;
	return walk->options.block(walk->options.user, &block);
}

static bool is_full(const struct walk *walk)
{
	return walk->options.most && walk->count >= walk->options.most;
}

static int ask(struct walk *walk);

static void on_blocks(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct walk *walk = user;
	const struct message_blocks_reply *reply;
	uint64_t began = walk->next_block;
	int error = 0;

	if (kind != AGENT_ANSWER_REPLY || message->type != MESSAGE_BLOCKS_REPLY) {
		end(walk, kind == AGENT_ANSWER_TIMED_OUT	   ? -ETIMEDOUT :
			  kind != AGENT_ANSWER_REPLY		   ? -ENOTCONN :
			  message->type == MESSAGE_UNSUPPORTED ? -EOPNOTSUPP :
								     -EIO);
		return;
	}
	reply = &message->blocks_reply;
	for (size_t i = 0; error == 0 && !is_full(walk) && i < reply->block_count; i++)
		error = take(walk, &reply->blocks[i]);
	if (error < 0) {
		end(walk, error);
		return;
	}
	if (is_full(walk)) {
		end(walk, 0);
		return;
	}
	/* Who does not get on would be asked for ever. */
	if (reply->next_block <= began || reply->next_block < walk->next_block) {
		end(walk, -EPROTO);
		return;
	}
	walk->next_block = reply->next_block == MESSAGE_BLOCK_END ? BLOCK_WALK_END : reply->next_block;
	if (walk->next_block == BLOCK_WALK_END) {
		end(walk, 0);
		return;
	}
	error = monotonic_ms() >= walk->deadline_ms ? -ETIMEDOUT : ask(walk);
	if (error < 0)
		end(walk, error);
}

static int ask(struct walk *walk)
{
	struct message message = {.type = MESSAGE_BLOCKS};
	uint64_t now = monotonic_ms();
	size_t more = walk->options.most - walk->count;

	message.blocks = (struct message_blocks){.flags = MESSAGE_BLOCKS_REGIONS_ONLY | MESSAGE_BLOCKS_HOLDERS,
						 .first_block = walk->next_block,
						 .end_block = MESSAGE_BLOCK_END,
						 .max_count = walk->options.most && more < LIMIT_BLOCKS ?
								      (uint16_t)more : 0};
	return agent_link_request(walk->options.link, &message,
				  (uint32_t)(walk->deadline_ms > now ? walk->deadline_ms - now : 1), on_blocks, NULL, walk,
				  NULL);
}

void block_walk(const struct block_walk_options *options)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int error;

	if (!walk) {
		options->done(options->user, -ENOMEM, BLOCK_WALK_END);
		return;
	}
	*walk = (struct walk){.options = *options,
			      .deadline_ms = monotonic_ms() + options->timeout_ms,
			      .next_block = options->first_block};
	agent_link_describe(options->link, &walk->agent);
	if (walk->agent.state != AGENT_STATE_READY || !walk->agent.reported)
		error = -ENOTCONN;
	else if (!walk->agent.region_count || !(walk->agent.features & MESSAGE_FEATURE_BLOCK_HOLDERS))
		error = -EOPNOTSUPP;
	else
		error = ask(walk);
	if (error < 0)
		end(walk, error);
}
