/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory blocks that an evacuation may take, which first, and what became of each.
 */
#ifndef BALLAST_AGENT_CANDIDATES_H
#define BALLAST_AGENT_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "memory_block.h"
#include "message.h"

struct kernel_log;
struct pinned_pages;
struct sysroot;

struct candidate {
	uint64_t id, start, size_bytes;
	enum memory_zone zone;
	int node_id;
	uint32_t used_pages;	    /* UINT32_MAX: not known */
	enum message_reason reason; /* UNKNOWN: not tried yet */
	uint32_t error;
	bool may_retry, retried;
};

/*
 * A large guest has more blocks than fit. They are chosen in parts, from the top down; where one evacuation had no time for
 * all, the next one begins behind what that had chosen, and comes round to the top.
 */
struct candidates {
	size_t count;
	size_t left; /* in none of the parts so far */
	struct candidate items[LIMIT_BLOCKS];
	uint64_t begin, last; /* ids: the parts begin below begin; the last one chosen */
	uint64_t begin_next;  /* those of the next evacuation */
	uint32_t *used_pages; /* owned; shared with the child that counts them; [LIMIT_BLOCKS] */
};

int candidates_init(struct candidates *candidates);
void candidates_done(struct candidates *candidates);

/*
 * With ranges every block that touches one, and a reason at once for those that are no matter of
 * ours. Without, the blocks of virtio-mem regions that are offline already or online in the movable
 * zone. Highest first: there the driver looks first (drivers/virtio/virtio_mem.c
 * virtio_mem_sbm_unplug_request).
 */
void candidates_choose(struct candidates *candidates, const struct sysroot *sysroot,
		       const struct message_evacuate *request);
/* In their place those behind them. */
void candidates_choose_more(struct candidates *candidates, const struct sysroot *sysroot,
			    const struct message_evacuate *request);
/* At the end of an evacuation that did not reach its target: the next one begins behind these. */
void candidates_give_up(struct candidates *candidates);

/* The nodes, as a mask of the first 64, of the online blocks that are meant: with ranges of those that touch one, without
 * of those of virtio-mem regions. */
uint64_t candidates_find_nodes(const struct sysroot *sysroot, const struct message_evacuate *request);

/* In the child: counts used pages, some milliseconds for 128 MiB. Returns how many blocks could be
 * counted. */
int candidates_count_pages(struct candidates *candidates, const struct sysroot *sysroot);
/* In the parent, afterwards, also of a child that had no time to count all: emptiest first. */
void candidates_sort(struct candidates *candidates);

/* Offline, taken offline or gone. */
bool candidates_is_out(enum message_reason reason);
uint64_t candidates_out_bytes(const struct candidates *candidates);
/* The first that was not tried, or NULL. */
struct candidate *candidates_next(struct candidates *candidates);
/* Gives those that were only busy a second try; false where there are none. */
bool candidates_retry(struct candidates *candidates);

enum message_reason candidates_reason(enum memory_block_offline_result result);
/* Sets the reason by what the block says now, and where it stays by what the kernel has said of its
 * pages since it was asked last (log: may be NULL), or else by what they tell. *pinned learns which of them are held. */
void candidates_judge(struct candidate *candidate, const struct sysroot *sysroot,
		      struct kernel_log *log, struct pinned_pages *pinned, enum message_reason reason);

#endif
