/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repairing what was plugged without us: blocks that stayed offline come online, and blocks in a kernel zone that are free
 * enough go offline and come back in the movable zone. One by one, in child processes, and each but once.
 */
#ifndef BALLAST_AGENT_REPAIR_H
#define BALLAST_AGENT_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "child_job.h"
#include "memory_block.h"
#include "message.h"

struct agent_config;
struct failure;
struct lease_book;
struct sysroot;

/* Where the host names no deadline for a block. */
#define REPAIR_BLOCK_DEADLINE_MS 10000
/* All blocks of a TiB in 128 MiB blocks. */
#define REPAIR_TRIED_MAX 8192

enum repair_stage {
	REPAIR_STAGE_IDLE,
	REPAIR_STAGE_WORK,
	REPAIR_STAGE_DONE, /* the result is ready */
};

/* What became of a block. */
enum repair_outcome {
	REPAIR_UNTRIED,
	REPAIR_REPAIRED,
	REPAIR_GONE,	  /* unplugged meanwhile */
	REPAIR_LEASED,	  /* offline because an operation wants it so */
	REPAIR_GIVEN_UP,  /* tried before, or undone by somebody else at once */
	REPAIR_UNMOVABLE, /* the kernel has something in it, or it spans zones */
	REPAIR_IN_USE,	  /* less than half of it is empty */
	REPAIR_BUSY,	  /* it did not go offline */
	REPAIR_REFUSED,	  /* the kernel does not online it so */
	REPAIR_TIMED_OUT,
	REPAIR_STUCK,
	REPAIR_NO_MEMORY, /* the guest would be left with too little */
	REPAIR_PRESSURE,
	REPAIR_CANCELLED,
	REPAIR_OUTCOME_COUNT
};

struct repair_block {
	uint64_t id, start, size_bytes;
	bool was_offline;
	enum memory_zone old_zone; /* where it was not */
	enum repair_outcome outcome;
};

/* As long as it is plugged, its directory in sysfs is the same one. */
struct repair_tried {
	uint64_t id, inode;
};

struct repair {
	const struct sysroot *sysroot; /* borrowed, as the next two */
	const struct agent_config *config;
	struct lease_book *book;
	enum repair_stage stage;
	struct child_job job;
	uint64_t epoch;
	uint32_t request_id;
	struct message_repair request;
	uint64_t deadline_ms;
	bool is_cancelled, is_stuck, has_ended; /* has_ended: nothing more is begun */
	size_t count, total, current;		/* total: those that did not fit, too */
	struct repair_block blocks[LIMIT_BLOCKS];
	size_t tried_count;
	struct repair_tried tried[REPAIR_TRIED_MAX];
	struct message_result result;
};

enum repair_step { REPAIR_STEP_NOTHING, REPAIR_STEP_FINISHED /* result is to be sent, then repair_clear() */ };

void repair_init(struct repair *repair, const struct sysroot *sysroot, const struct agent_config *config,
		 struct lease_book *book);
void repair_done(struct repair *repair);

/* OK: it runs. Else it does not, and *failure says why. */
enum message_result_code repair_start(struct repair *repair, const struct message_repair *request, uint64_t epoch,
				      uint32_t request_id, uint64_t now_ms, struct failure *failure);

/* Looks after the child; call when its pidfd is readable and at repair_deadline(). */
enum repair_step repair_step(struct repair *repair, uint64_t now_ms);
uint64_t repair_deadline(const struct repair *repair, uint64_t now_ms);

/* Ends it as soon as its child is gone; step() then says FINISHED. */
void repair_cancel(struct repair *repair, uint64_t now_ms);
bool repair_is_idle(const struct repair *repair);
void repair_clear(struct repair *repair);

#endif
