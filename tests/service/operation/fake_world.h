/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host in memory, and an executor that works on it: steps change it bit by bit, one bit a tick,
 * so that a test can stop between any two. Looking tells what it has become.
 */
#ifndef BALLAST_TESTS_FAKE_WORLD_H
#define BALLAST_TESTS_FAKE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine.h"
#include "executor.h"
#include "fake_guest.h"

struct memory_hints;

#define FAKE_BLOCK  (128 * FAKE_MIB)
#define FAKE_STUCK_PID 4711
#define FAKE_GUESTS 2
#define FAKE_BLOCKS 40 /* nodes 0 and 1: 16 each; node 2, the DIMM d1: 8 */

/* What an operation may change, and so what an undo must put back. */
struct fake_state {
	struct fake_guest guests[FAKE_GUESTS];
	uint64_t pool_bytes[FAKE_NODES]; /* free huge pages of 2 MiB */
	bool online[FAKE_BLOCKS];
	bool ejected;
	uint64_t slices_lack; /* nodes that are not in the cpusets of the slices */
	bool hooks_asked; /* the host's hooks were told to let go, and not yet that it is over */
};

enum fake_call { FAKE_CALL_LOOK, FAKE_CALL_PREPARE, FAKE_CALL_START, FAKE_CALL_UNDO };

struct fake_action {
	bool used, cancelled, paused, hangs;
	enum fake_call call;
	unsigned ticks;	     /* so far */
	unsigned long asked; /* when it, or its last tick, was asked for: all get their turn */
	unsigned number;     /* of this start or undo in the life of the world, from 1 */
	uint64_t bytes_done;
	uint64_t due_ms;     /* an await does nothing before */
	bool owes;	     /* of a prepare: where its guest belongs, beside its own values */
	bool is_judged;	     /* of an undo: what is written down tells whether somebody else has changed since */
	char operation[OPERATION_ID_SIZE]; /* of this start or undo */
	struct fake_state *seen; /* owned; what a slow look has found */
	struct step step;
	char *before; /* owned */
	void *token;
	executor_looked_fn *looked;
	executor_prepared_fn *prepared;
	executor_progress_fn *progress;
	executor_finished_fn *finished;
};

struct fake_world {
	struct fake_state state;
	struct engine *engine; /* borrowed; its holds are part of what is seen */
	struct executor executor;
	struct snapshot *snapshot; /* owned; of the last look */
	struct fake_action actions[16];
	uint64_t now_ms, revision;
	unsigned ticks; /* in the whole life */
	unsigned long asked;
	unsigned looks, starts, undos, prepares;
	unsigned starts_at_once, undos_at_once; /* the most that there were */
	unsigned policies_late;			/* undos of a policy after one of pages, of the same operation */
	char pages_undone[OPERATION_ID_SIZE];	/* of which the last such was */
	uint64_t left_online_bytes; /* of what shrinks took, not taken offline before */
	size_t idle_guests;  /* beside the others: shut off, without memory */
	bool has_hooks;	     /* the host has some */
	bool keeps_slices;   /* what is in them is in the way: they can lose no node yet */
	bool has_bad_hook;   /* and one that is not run */
	uint64_t used_bytes[FAKE_NODES]; /* by others than guests */
	bool tells_places;   /* what guests have in the DIMM is their devices', and a shrink takes that first */
	bool has_passed;     /* the first guest has a device that pins it, and its base memory lies on node 1 */
	bool has_balloon;    /* the first guest has one, and no memory device */
	bool has_huge;	     /* the guests' memory is in huge pages too */
	uint64_t beside_bytes; /* not 0: the DIMM is the first half of node 2, and each guest has so much in the other at most */
	bool answers_inside; /* looks and prepares answer in the call itself */
	unsigned drain_look_ticks; /* a drain's look takes so long, and tells what was when it was asked for */
	/* numbers from 1; 0: never */
	unsigned fail_start, part_start, hang_start, stick_start, fail_prepare, fail_look;
	enum step_kind fail_kind;	 /* every step of this kind; STEP_KIND_COUNT: none */
	enum step_state fail_kind_state; /* ends so: FAILED, or PARTIAL after half of it */
	enum step_kind hang_kind;	 /* each step of this kind hangs after its first half; COUNT: none */
	unsigned fail_undos_from;	 /* this undo and every later one of the same kind */
	enum step_kind fail_undo_kind;
	enum step_kind complain_undo;	 /* undoes a step of this kind and has something against it; COUNT: none */
	bool is_changed[FAKE_GUESTS]; /* somebody else says where it belongs: what would undo that leaves it, and tells */
	unsigned hang_undo;  /* this undo hangs before anything of it is done */
	unsigned stick_undo; /* this undo does not come back from the kernel */
	struct memory_hints *hints; /* borrowed; NULL: nobody said anything */
	/* A worker of a daemon that is dead, which the kernel keeps; used: there is one. Its process is FAKE_STUCK_PID. */
	struct fake_action stuck;
	bool beside_stuck; /* what it has in its hands was touched by another, which must not be */
	bool overlap; /* two calls with one token were seen, which must not be */
};

void fake_world_init(struct fake_world *world);
void fake_world_done(struct fake_world *world);
uint64_t fake_world_now(void *user);
/* What a look finds now; borrowed until the next. */
const struct snapshot *fake_world_see(struct fake_world *world);
/* One thing happens. False: nothing is to happen. */
bool fake_world_tick(struct fake_world *world);
/* What hangs tells that it has done so much by now. */
void fake_world_tell(struct fake_world *world, uint64_t done_bytes);
/* What hangs hangs no more, and nothing does from now on. */
void fake_world_unhang(struct fake_world *world);
/* Its driver is gone: what was half done stays half done. */
void fake_world_crash(struct fake_world *world);
/* The next crash leaves this to the kernel: what is at work on blocks, or else on a guest or a pool. False: nothing is. */
bool fake_world_stick(struct fake_world *world);
/* It has come back: with all of it done, or with what there is left of it. */
void fake_world_unstick(struct fake_world *world, bool is_done);
/* The first of the blocks of node 2 that are not the DIMM's. */
size_t fake_world_dimm_end(const struct fake_world *world);
/* Is the DIMM, all of node 2, without guests and offline (and ejected)? */
bool fake_world_is_drained(const struct fake_world *world, bool ejected);
bool fake_state_is_equal(const struct fake_state *a, const struct fake_state *b);

#endif
