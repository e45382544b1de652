/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation as the journal keeps it and as a caller sees it.
 */
#ifndef BALLAST_SERVICE_OPERATION_RECORD_H
#define BALLAST_SERVICE_OPERATION_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "failure.h"
#include "name_table.h"
#include "step.h"
#include "wish.h"

#define OPERATION_ID_SIZE 24
/* The actor of what helps a request that libvirt alone was asked for: it gives way to whatever a caller wants. */
#define OPERATION_ACTOR_LIBVIRT "libvirt"
/* What the guest itself has asked for. */
#define OPERATION_ACTOR_GUEST "guest"
/* What keeps memory empty that a drain holds. */
#define OPERATION_ACTOR_HOLD "ballastd"

enum operation_state {
	OPERATION_STATE_PENDING, OPERATION_STATE_RUNNING, OPERATION_STATE_PAUSED, OPERATION_STATE_CANCELLING,
	OPERATION_STATE_SUCCEEDED,
	OPERATION_STATE_INCOMPLETE,	/* some of it is done and the rest is explained */
	OPERATION_STATE_FAILED,		/* nothing of it is left done, or an undo was not complete: the error says */
	OPERATION_STATE_CANCELLED,
	OPERATION_STATE_COUNT
};
NAME_TABLE_DECLARE(operation_state);

bool operation_state_is_final(enum operation_state state);

struct operation_progress {
	uint64_t done_bytes, total_bytes, bytes_per_s;
	uint32_t eta_s;			/* UINT32_MAX: not known */
};

struct operation_record {
	char id[OPERATION_ID_SIZE];
	char parent[OPERATION_ID_SIZE];		/* empty: none */
	char target[96];			/* wish_target() with the guest's name */
	char guest_name[SNAPSHOT_NAME_SIZE];
	struct wish wish;
	enum operation_state state;
	bool undo_wanted;			/* cancelled with undo, or timed out with restore */
	bool undone;				/* everything undoable was put back */
	bool deadline_exceeded;
	struct operation_progress progress;
	size_t step_count;
	struct step_record *steps;		/* owned */
	struct remainder_list remainder;
	struct remainder_list warnings;
	struct failure error;
	uint64_t created_at_ms, started_at_ms, ended_at_ms;	/* wall clock; 0: not yet */
	uint64_t deadline_ms;			/* wall clock; 0: none */
	uint64_t revision;
	uint64_t snapshot_before_bytes;		/* resize: the guest's size when it began */
	uint64_t snapshot_wanted_bytes;		/* resize: the size that the wish means for the whole guest */
	uint64_t snapshot_forecast_bytes;	/* shrink: the size that was promised before anything was asked; 0: none */
	uint64_t snapshot_after_bytes;		/* resize: its size as last seen; 0: not seen since */
	uint64_t snapshot_requested_bytes;	/* resize: the size that was asked of it then; 0: not known */
	char actor[64];				/* "uid 0 pid 123", "libvirt", "ballastd" */
	/* Another operation that holds a lock it needs, or "worker 4711", stuck in the kernel; empty: none. */
	char waiting_for[OPERATION_ID_SIZE];
	char superseded_by[OPERATION_ID_SIZE];
	char plan_digest[17];
	char idempotency_key[128];
	char body_hash[65];
};

struct operation_record *operation_record_new(void);
struct operation_record *operation_record_free(struct operation_record *record);
CLEANUP_DEFINE(struct operation_record *, operation_record_free)

/* Appends a pending step with a deep copy of it. The pointers into steps[] move. NULL where memory is short. */
struct step_record *operation_record_add_step(struct operation_record *record, const struct step *step);
/*
 * Takes what a decision warns of. A drain says what does not come home when it ends, with each decision anew, and what its plan
 * has warned of stays true beside that; the others say all in one decision, instead of what was said before.
 */
void operation_record_warn(struct operation_record *record, const struct remainder_list *warnings);

/* A drain as a resource: derived from its operations and its hold. */
enum drain_state {
	DRAIN_STATE_DRAINING, DRAIN_STATE_HELD, DRAIN_STATE_STOPPED, DRAIN_STATE_UNDRAINING, DRAIN_STATE_RELEASED,
	DRAIN_STATE_ATTENTION,
	DRAIN_STATE_DEFERRED,		/* its hold is gone; what others hold of it, or is not plugged in, is still to go back */
	DRAIN_STATE_COUNT
};
NAME_TABLE_DECLARE(drain_state);

enum drain_stage {
	DRAIN_STAGE_CORDON, DRAIN_STAGE_SHRINK, DRAIN_STAGE_MOVE, DRAIN_STAGE_OFFLINE, DRAIN_STAGE_BRING_HOME,
	DRAIN_STAGE_EJECT, DRAIN_STAGE_COUNT
};
NAME_TABLE_DECLARE(drain_stage);

#define DRAIN_BOOT_ID_SIZE 40	/* a UUID as text (/proc/sys/kernel/random/boot_id) */

struct drain_record {
	char id[OPERATION_ID_SIZE];
	char operation[OPERATION_ID_SIZE];	/* the drain operation */
	char undrain_operation[OPERATION_ID_SIZE];
	struct wish_drain wish;
	char target[96];
	enum drain_state state;
	enum drain_stage stage;
	uint64_t created_at_ms, revision;
	struct snapshot_hold hold;
	/* The kernel's, under which its memory was last seen offline as the drain left it; empty: never. */
	char boot_id[DRAIN_BOOT_ID_SIZE];
	/* Of that memory, online again: then the state is attention. 0 otherwise. */
	uint64_t online_bytes;
	/* What has come into memory that it has emptied, as last seen; not in the journal. */
	struct remainder_list newcomers;
};

/* The id of the operation whose progress is the drain's: of its last undrain, where there was one. */
const char *drain_record_operation(const struct drain_record *drain);

#endif
