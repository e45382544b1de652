/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Emptying guest memory so that it can be unplugged: hooks, free huge pages, compact, take blocks offline;
 * one such work at a time, in child processes, each change under a lease.
 */
#ifndef BALLAST_AGENT_EVACUATE_H
#define BALLAST_AGENT_EVACUATE_H

#include <stdbool.h>
#include <stdint.h>
#include "candidates.h"
#include "hooks.h"
#include "hugepages.h"
#include "child_job.h"
#include "lease.h"
#include "message.h"
#include "pinned_pages.h"
#include "room.h"

struct agent_config;
struct failure;
struct kernel_log;
struct quiet_pools;
struct sysroot;

/* Where the host names no deadline for a block. An idle block takes some 0.1 s for 128 MiB, a busy
 * one seconds. */
#define EVACUATE_BLOCK_DEADLINE_MS 10000
/* Compaction helps or does not within this time. */
#define EVACUATE_COMPACT_MS 20000
/* Looking which blocks are emptiest must not cost more than it saves. */
#define EVACUATE_CENSUS_MS 5000

enum evacuate_stage {
	EVACUATE_STAGE_IDLE,
	EVACUATE_STAGE_HOOKS,
	EVACUATE_STAGE_HUGE_PAGES,
	EVACUATE_STAGE_COMPACT,
	EVACUATE_STAGE_RECLAIM,
	EVACUATE_STAGE_MAKE_ROOM,
	EVACUATE_STAGE_CENSUS,
	EVACUATE_STAGE_OFFLINE,
	EVACUATE_STAGE_DONE, /* the reply is ready */
};

/* The blocks of the parts that are over (candidates.h). */
struct evacuate_parts {
	uint32_t out, stayed;
	uint64_t won_bytes, began_ms; /* the first one */
};

struct evacuate {
	const struct sysroot *sysroot; /* borrowed, as the next three */
	const struct agent_config *config;
	const struct quiet_pools *quiet;
	struct lease_book *book;
	enum evacuate_stage stage;
	struct child_job job;
	enum message_type type;
	uint64_t epoch;
	uint32_t request_id;
	struct message_evacuate request;
	uint64_t deadline_ms, stage_started_ms;
	uint64_t work_began_ms; /* of the census, or of the block */
	uint64_t rest_until_ms; /* between two blocks; 0: it does not rest */
	uint64_t large_bytes;	  /* free in whole pageblocks before compaction */
	uint64_t available_bytes; /* before the hooks */
	uint64_t free_bytes;	  /* before reclaiming */
	uint64_t room_bytes;	  /* by which pools may grow */
	struct room_result *room; /* owned; shared with the child that makes it */
	bool cancelled, vetoed, unplug_online_changed, stuck, no_memory;
	struct hooks hooks;
	struct hugepages before;
	struct hugepages_plan plan;
	struct hugepages_loss loss; /* to blocks that go offline */
	struct candidates candidates;
	struct evacuate_parts parts;
	struct candidate *current; /* the one whose child runs */
	struct kernel_log *log;	   /* owned, NULL unless blocks are being taken offline */
	struct pinned_pages pinned; /* by the evacuations so far */
	struct message reply;
};

enum evacuate_step {
	EVACUATE_STEP_NOTHING,
	EVACUATE_STEP_PROGRESS, /* evacuate_progress() has news */
	EVACUATE_STEP_FINISHED, /* reply is to be sent, then evacuate_clear() */
};

/* close_fd as in child_job_init(). */
int evacuate_init(struct evacuate *evacuate, const struct sysroot *sysroot,
		  const struct agent_config *config, const struct quiet_pools *quiet,
		  struct lease_book *book, int close_fd);
void evacuate_done(struct evacuate *evacuate);

/* OK: it runs. BUSY, VETOED, INVALID or FAILED: it does not, and *failure says why. */
enum message_result_code evacuate_start(struct evacuate *evacuate, enum message_type type,
					const struct message_evacuate *request, uint64_t epoch,
					uint32_t request_id, uint64_t now_ms,
					struct failure *failure);

/* Looks after the child; call when its pidfd is readable and at evacuate_deadline(). */
enum evacuate_step evacuate_step(struct evacuate *evacuate, uint64_t now_ms);
uint64_t evacuate_deadline(const struct evacuate *evacuate, uint64_t now_ms);

/* Ends it as soon as its child is gone; step() then says FINISHED. */
void evacuate_cancel(struct evacuate *evacuate, uint64_t now_ms);
bool evacuate_is_idle(const struct evacuate *evacuate);
/* Forgets a finished one. */
void evacuate_clear(struct evacuate *evacuate);
void evacuate_progress(const struct evacuate *evacuate, struct message_progress *ret_progress);

#endif
