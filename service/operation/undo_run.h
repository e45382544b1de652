/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operation puts back: lists of steps, the last first, and the runs that do it, each step by step. All steps of a
 * child are one run, and runs of children that move guests may go beside each other; everything else goes alone.
 */
#ifndef BALLAST_SERVICE_UNDO_RUN_H
#define BALLAST_SERVICE_UNDO_RUN_H

#include "engine_priv.h"

/* Where a run stands between two turns. */
enum undo_phase {
	/* waiting */
	UNDO_PHASE_ENDED,	   /* for nothing: it is free for another */
	UNDO_PHASE_PARKED,	   /* for a lock or the clock, or because the daemon stops */
	UNDO_PHASE_WRITING_AHEAD,  /* for the journal */
	UNDO_PHASE_UNDOING,	   /* for the executor */
	UNDO_PHASE_WRITING_RESULT, /* for the journal */
	/* has a turn to come */
	UNDO_PHASE_NEXT,
	UNDO_PHASE_WRITTEN_AHEAD,
	UNDO_PHASE_ACTED,
	UNDO_PHASE_WRITE,
	UNDO_PHASE_RESULT_WRITTEN,
};

struct undo_item {
	struct operation *owner; /* borrowed, pinned */
	size_t index;		 /* of the step */
	struct operation *top;	 /* borrowed, pinned: the owner, or whose child the owner is */
	size_t top_index;	 /* of the step there */
	bool is_begun;		 /* by a run */
	bool is_left;		 /* somebody else has changed since what it would put back */
};

/* Items [first, end) of its list, one after the other. The executor's token. */
struct undo_run {
	struct undo_list *list; /* borrowed */
	size_t first, end, item;
	enum undo_phase phase, parked_phase;
	uint64_t not_before_ms; /* parked until then; 0: for something else */
	bool waits_for_lock;
	bool cancel_asked; /* of the executor, because the daemon stops */
	unsigned attempts;
	bool worked;
	bool is_changed; /* worked, and what it would put back is left as somebody else has made it since */
	struct remainder changed; /* by a run whose child was left so; code 0: none was */
	uint64_t left_bytes; /* that did not work; 0: it does not say */
	enum step_state state_before;
	int error; /* of the answer that the next turn handles */
	struct failure failure;
};

/* No undo step's list, but the operation's own. */
#define UNDO_LIST_WHOLE SIZE_MAX

struct undo_list {
	struct operation *operation; /* borrowed: for whom, by whose locks */
	struct undo_list *next;	     /* owned: another of the same operation */
	size_t step_index;	     /* of its undo step */
	struct undo_item *items;     /* owned */
	size_t count, begun;	     /* before begun all are */
	size_t ended;
	unsigned failures, deferred;
	bool is_left;  /* of the operation's own steps some stay, because somebody else has changed since what they set */
	bool waits;    /* something of it, be it of another drain, has to wait for another hold */
	bool is_stuck; /* a kernel call of it does not come back */
	bool begins;   /* it is to be seen whether a run may begin */
	bool is_seen;  /* what children go back to was looked at since anything but them was put back */
	bool was_looked; /* or that was tried */
	struct remainder_list *remainder; /* owned */
	struct undo_run *runs;		  /* owned */
	size_t run_count;
};

/* Is nothing more of it to be begun, because its operation ends or a kernel call is stuck? */
bool undo_list_is_cut(const struct undo_list *list);
/*
 * How much of the item has to wait, and for whom (NULL: is not told). *ret_part is the step with the blocks that may go
 * back.
 */
enum undo_bar undo_list_judge(const struct undo_list *list, size_t item, struct step *ret_part, struct remainder_list *left);

/* Of a list whose items [first, end) no other run has begun. */
void undo_run_begin(struct undo_run *run, struct undo_list *list, size_t first, size_t end);
bool undo_run_has_turn(const struct undo_run *run);
void undo_run_turn(struct undo_run *run);
/* The locks that it waits for may be free. */
void undo_run_wake(struct undo_run *run);
/* Does what the clock asks for. */
void undo_run_tick(struct undo_run *run, uint64_t now_ms);
/* The daemon stops: what runs is asked to end. */
void undo_run_stop(struct undo_run *run);

#endif
