/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's own modules share, and the few handles that its tests turn.
 *
 *	engine.c		the lists, the timer, the turn of the loop, what callers ask
 *	engine_submit.c		from a wish to a durable pending operation
 *	engine_drain.c		drains as resources, and their holds
 *	engine_keep.c		what keeps held memory empty, among the steps of its drain
 *	engine_stuck.c		workers that no signal ends, and what they lock
 *	operation_run.c		one operation's life: look, decide
 *	operation_step.c	one step of it: lock, prepare, journal, act, journal
 *	operation_child.c	steps that are operations of their own: several may run beside each other
 *	operation_end.c		what is true when nothing more can be done, and telling it
 *	operation_undo.c	its steps put back, last first: several children may go beside each other
 *	undo_run.c		one step after the other put back
 *	undo_since.c		what has become of a guest since the move that is undone
 *	operation_recovery.c	what the journal holds unfinished, taken up again
 *	operation_lock.c	who may touch what
 */
#ifndef BALLAST_SERVICE_ENGINE_PRIV_H
#define BALLAST_SERVICE_ENGINE_PRIV_H

#include <event2/event.h>
#include "engine.h"
#include "operation_lock.h"

/*
 * Where an operation stands between two turns. An upper row waits for somebody, a lower one for its
 * own next turn.
 */
enum operation_phase {
	/* waiting */
	OPERATION_PHASE_CREATING,	/* for the journal: the operation itself */
	OPERATION_PHASE_PARKED,		/* for a lock, the clock or a resume */
	OPERATION_PHASE_LOOKING,	/* for the executor */
	OPERATION_PHASE_PREPARING,	/* for the executor */
	OPERATION_PHASE_WRITING_AHEAD,	/* for the journal */
	OPERATION_PHASE_ACTING,		/* for the executor */
	OPERATION_PHASE_WAITING_CHILD,	/* for the end of a child, or of an undo step */
	OPERATION_PHASE_WRITING_RESULT, /* for the journal */
	OPERATION_PHASE_UNDOING,	/* for the end of its undo list, which has turns of its own */
	OPERATION_PHASE_ENDING,		/* for the journal: the final state */
	OPERATION_PHASE_ENDED,
	/* has a turn to come */
	OPERATION_PHASE_READY,
	OPERATION_PHASE_LOOKED,
	OPERATION_PHASE_PREPARED,
	OPERATION_PHASE_WRITTEN_AHEAD,
	OPERATION_PHASE_ACTED,
	OPERATION_PHASE_RESULT_WRITTEN,
	OPERATION_PHASE_END,
	OPERATION_PHASE_END_WRITTEN,
};

/* What an operation is about. It only ever moves down this list. */
enum operation_course {
	OPERATION_COURSE_FORWARD, /* towards the wish */
	OPERATION_COURSE_SETTLE,  /* only what leaves things in order: the planner sees its deadline
				     as reached */
	OPERATION_COURSE_QUIT,	  /* ends as soon as nothing runs: somebody else undoes it */
	OPERATION_COURSE_UNDO,
};

struct undo_list;

#define OPERATION_STUCK_MAX UNDO_BESIDE_MAX

/* Of a drain, what an undrain changes as it is submitted. */
struct drain_before {
	enum drain_state state;
	uint64_t online_bytes;
	char undrain_operation[OPERATION_ID_SIZE];
};

struct operation {
	struct engine *engine;		 /* borrowed */
	struct operation_record *record; /* owned */
	struct drain_record *drain;	 /* borrowed from the engine; a drain's or an undrain's */
	struct drain_before drain_before; /* undrain: until it is durable */
	struct operation *parent;	 /* borrowed; a child that runs */
	size_t step_index;		 /* of the step that it is at: its last, or one whose child has ended */
	enum operation_phase phase;
	enum operation_phase parked_phase; /* what it goes on with when it is parked no longer */
	enum operation_course course;
	bool has_own_lock; /* target or guest */
	bool keeps_locks;  /* a stuck kernel call, its own or a child's, may still act: until that worker has gone */
	/* Workers of its own that are stuck; 0: none. As many as put moves back beside each other. */
	int stuck_pids[OPERATION_STUCK_MAX];
	bool is_resumed;   /* taken up from the journal */
	bool is_cancelled; /* by a caller: ends cancelled and not failed */
	bool cancel_asked; /* of the executor, for the step that runs */
	bool waits_for_lock; /* is parked for one */
	bool waits_for_moves; /* is parked for those that keep its drain's memory empty */
	bool asks_again;   /* a further child may begin beside the one that begins now */
	enum operation_course step_course; /* the one on which the last step was taken */
	unsigned pins;			   /* other operations that hold a pointer to this one */
	unsigned settle_steps, look_failures;
	uint64_t not_before_ms;		  /* parked until then; 0: for something else */
	uint64_t cut_at_ms;		  /* when the running step is asked to end; 0: never */
	enum operation_state final_state; /* told when durable */
	struct operation *subject;	  /* borrowed, pinned; undrain: the drain's operation */
	struct operation *kept_for;	  /* likewise; a move that keeps memory empty: that of the drain that holds it */
	struct snapshot *snapshot;	  /* owned; of the last look */
	char *before;			  /* owned; from prepare */
	int error;			  /* of the answer that the next turn handles */
	struct failure failure;
	struct undo_list *undos; /* owned: what is being undone */
	/* The guest's QEMU when it was first seen, by this daemon; 0: not yet. */
	int guest_pid;
	uint64_t guest_start_time;
	/* progress */
	uint64_t rate_at_ms, rate_bytes;
	/* the answer that a caller waits for, sent when durable */
	engine_answer_fn *answer;
	void *answer_user;
};

/* A worker that does not end. Owner of those locks of its step that no operation has. */
struct engine_stuck {
	int pid;
	char name[OPERATION_ID_SIZE]; /* "worker 4711" */
	char text[256];
	size_t lock_count;
	struct operation_lock locks[OPERATION_LOCK_STEP_MAX];
};

struct engine {
	struct engine_options options;
	struct event *wake;	       /* owned */
	struct event *timer;	       /* owned */
	struct event *journal_event;   /* owned */
	struct operation **operations; /* owned; oldest first */
	size_t operation_count;
	struct drain_record **drains; /* owned; oldest first */
	size_t drain_count;
	struct submission *submissions; /* owned; those that wait for a look */
	struct engine_keeping *keepings; /* owned; steps that are being taken */
	struct operation_lock_table locks;
	struct engine_stuck **stuck; /* owned */
	size_t stuck_count;
	char boot_id[DRAIN_BOOT_ID_SIZE]; /* empty: not known */
	bool in_turn;
	bool waiting; /* engine_wait() */
	bool stopping;
	unsigned calls; /* of the executor and the journal that are unanswered */
	void (*idle)(void *user);
	void *idle_user;
};

/* ---- engine.c ---- */
uint64_t engine_now(const struct engine *engine);
/* Gives every operation its turn, soon, from the loop. */
void engine_wake(struct engine *engine);
/*
 * Does what the clock asks for and arms the timer anew. A test that turns its clock calls it by
 * hand.
 */
void engine_tick(struct engine *engine);
struct operation *engine_find(const struct engine *engine, const char *id);
/* Also from the journal; NULL where it is in neither. */
struct operation *engine_find_or_load(struct engine *engine, const char *id);
/* Takes the record over; NULL where memory is short (the record is freed). */
struct operation *engine_add(struct engine *engine, struct operation_record *record, bool newest);
void engine_remove(struct engine *engine, struct operation *operation);
void engine_tell(struct engine *engine, const struct operation *operation);
void engine_tell_drain(struct engine *engine, struct drain_record *drain);
/* "op-" or "dr-" and ten random hex digits. 0 or -errno. */
int engine_make_id(const char *prefix, char ret_id[OPERATION_ID_SIZE]);
void engine_text_target(struct operation_record *record);
uint64_t engine_default_timeout_ms(const struct engine *engine, const struct wish *wish,
				   uint32_t estimate_s);

/* ---- engine_submit.c ---- */
struct submission *engine_submit_free_all(struct submission *submissions);
void engine_submit_durable(struct operation *operation, int error, const struct failure *failure);

/* ---- engine_drain.c ---- */
/* The drain of a drain operation, from what it covers. NULL where memory is short. */
struct drain_record *engine_drain_create(struct engine *engine, struct operation_record *record,
					 const struct snapshot *snapshot);
struct drain_record *engine_drain_find(const struct engine *engine, const char *id);
int engine_drain_adopt(struct engine *engine, const struct drain_record *drain);
void engine_drain_remove(struct engine *engine, struct drain_record *drain);
void engine_drain_cover(const struct wish_drain *wish, const struct snapshot *snapshot,
			struct snapshot_hold *ret_hold);
bool engine_drain_covers_overlap(const struct snapshot_hold *a, const struct snapshot_hold *b);
bool engine_drain_is_held(const struct drain_record *drain);
/* Of one that is held. */
enum snapshot_hold_work engine_drain_work(const struct engine *engine, const struct drain_record *drain);
/* In memory only; the caller journals. */
void engine_drain_set_hold(struct drain_record *drain, bool held);
void engine_drain_set_stage(struct operation *operation, const struct step *step);
/*
 * What an ended (or ending) operation means for its drain; also releases the hold where none may
 * stand, those of stopped drains of the same target where its own does, and drains whose last deferred step it has put back. The
 * caller journals the first; the others are put here.
 */
void engine_drain_set_end(struct engine *engine, struct drain_record *drain,
			  const struct operation_record *record, enum operation_state state);
/* Are steps of this drain's operation left to be undone, other than its cordon? */
bool engine_drain_owes(struct engine *engine, const struct drain_record *drain);
/*
 * The others that stand, for planning to undo this one: malloc'ed, borrowing from operations that
 * are loaded until the next turn. 0 or -ENOMEM.
 */
int engine_drain_others(struct engine *engine, const struct drain_record *drain,
			struct plan_drain **ret_drains, size_t *ret_count);
/*
 * What it has changed stays for good, and what drains of the same target have deferred: their steps are due no more, in memory
 * and for the caller's transaction. Again it is the same. 0, or -errno where not all of it could be given to the journal.
 */
int engine_drain_give_up(struct engine *engine, const struct drain_record *drain);
/* Is there any such? */
bool engine_drain_stands_beside(const struct engine *engine, const struct drain_record *drain);
/* Has a hold ended since that was seen? */
bool engine_drain_hold_went(const struct engine *engine, const struct snapshot *snapshot);
int engine_drain_put(struct engine *engine, const struct drain_record *drain);

/* ---- engine_keep.c ---- */
/* Does the drain hold memory that is to be kept empty, and is nobody about to give it back? */
bool engine_keep_may(const struct engine *engine, const char *drain);
/*
 * The new move stands among the steps of the drain of its wish from now on; the caller writes it before the move, in one
 * transaction, by engine_keep_put(). 0, -ENOENT or -ENOMEM.
 */
int engine_keep_move(struct operation *move, const struct step *step, const struct snapshot *snapshot);
/* The same of a move that the journal holds unfinished; one that stands nowhere stays so. */
void engine_keep_find(struct operation *move);
int engine_keep_put(const struct operation *move); /* 0 or -ENOMEM */
/* It is about to end so: its step says that, and is written. */
void engine_keep_end(const struct operation *move);
/* The move is not there any more, or has ended. */
void engine_keep_let_go(struct operation *move);
/* It could not be written down, so it has never been. */
void engine_keep_forget(struct operation *move);
/*
 * Moves that keep the memory empty which this undrain is to give back are told to put back what they have moved. True: one is
 * still at it, and the undrain is parked until it has ended.
 */
bool engine_keep_is_awaited(struct operation *undrain);
void engine_keep_stop(struct engine *engine);
void engine_keep_free_all(struct engine *engine);

/* ---- engine_stuck.c ---- */
/* The stuck worker that is this holder of a lock; NULL: it is an operation. */
const struct engine_stuck *engine_stuck_of(const struct engine *engine, const void *holder);
/* The one that may still work on the guest; NULL: none does. */
const struct engine_stuck *engine_stuck_of_guest(const struct engine *engine, const char *guest);
/* An operation's id, or "worker 4711". */
const char *engine_stuck_holder_name(const struct engine *engine, const void *holder);
/* That worker of the operation does not come back, if the outcome says so: what is locked stays so until it does. */
void engine_stuck_note(struct operation *operation, const struct executor_outcome *outcome);
void engine_stuck_see(const struct engine *engine, struct snapshot *snapshot);
void engine_stuck_free_all(struct engine *engine);

/* ---- operation_run.c ---- */
#define OPERATION_LOOK_TRIES 5
void operation_run_turn(struct operation *operation);
bool operation_run_has_turn(const struct operation *operation);
/*
 * The one way to another state. Asserts that the arrow exists, journals, tells. A final one is told
 * when durable.
 */
void operation_run_enter(struct operation *operation, enum operation_state state);
void operation_run_ready(struct operation *operation, enum operation_phase phase);
/* A drain that was told to begin later: its hold stands, and nothing else of it has begun. */
bool operation_run_is_announced(const struct operation *operation);
/* The same, and nothing of it will before its time: others may work there until then. */
bool operation_run_leaves_alone(const struct operation *operation);
/* Until that time, or (0) until somebody wakes it. */
void operation_run_park(struct operation *operation, enum operation_phase next, uint64_t until_ms);
/* Asks whatever runs to end and turns to this course, if it lies further down. */
void operation_run_divert(struct operation *operation, enum operation_course course);
/* The same for a running child, which ends cancelled. */
void operation_run_divert_child(struct operation *child, enum operation_course course);
void operation_run_deadline(struct operation *operation);
/* Takes the locks or parks with waiting_for. */
bool operation_run_take_locks(struct operation *operation, const struct operation_lock *locks,
			      size_t count, bool for_step);
/* The same for who parks by itself: 0, -EBUSY with waiting_for said, -ENOMEM. */
int operation_run_try_locks(struct operation *operation, const struct operation_lock *locks, size_t count, bool for_step);
/* Those of this step. */
void operation_run_release_step(struct operation *operation, const struct step *step);
/* Asks the executor; the answer has a turn. */
void operation_run_look(struct operation *operation);
/* The one that it is at. */
struct step_record *operation_run_step(const struct operation *operation);
/* Threads that copy pages just now, of all operations but this one (NULL: of all). */
unsigned operation_run_threads_beside(const struct engine *engine, const struct operation *except);
/*
 * Wishes of the resizes that have not ended, but for this one's (NULL: of all): malloc'ed, the wishes borrowed until the next
 * turn. NULL, and none, where memory is short.
 */
const struct wish **operation_run_resizes_beside(const struct engine *engine, const struct operation *except,
						 size_t *ret_count);
/* Goes to a waiting phase whose answer is counted, and from it to one that has a turn. */
void operation_run_await(struct operation *operation, enum operation_phase phase);
void operation_run_answered(struct operation *operation, enum operation_phase phase, int error,
			    const struct failure *failure);
/* Those that wait for a lock look whether they get it now. */
void operation_run_wake_parked(struct engine *engine);
bool operation_run_is_ending(const struct operation *operation);

/* ---- operation_step.c ---- */
/* Runs the step that the planner asks for; it is copied. */
void operation_step_take(struct operation *operation, const struct step *step);
void operation_step_turn(struct operation *operation);
/* Begins those of its running undo steps that are not under way, as after a restart. False: there are none. */
bool operation_step_resume_undos(struct operation *operation);
/* An executor_progress_fn; the token is the operation. */
void operation_step_progress(void *token, uint64_t done_bytes, uint64_t total_bytes,
			     const char *detail);

/* ---- operation_child.c ---- */
/* Makes the child of a step, not begun yet, and names it there. 0 or -errno. */
int operation_child_create(struct operation *operation, struct step_record *step);
/* Both are in the journal: it runs. */
void operation_child_begin(struct operation *operation, const struct step_record *step);
/* The next of the operation's children that run; NULL: there is none after that one (NULL: none at all). */
struct operation *operation_child_next(const struct operation *operation, const struct operation *after);
/* The step of the parent that this child is, while it runs. */
struct step_record *operation_child_step(const struct operation *child);
/* Has one, or an undo step, ended whose result is not in the journal yet? */
bool operation_child_has_ended(const struct operation *operation);
/* The same, or does one run? Then the operation can neither end nor be undone. */
bool operation_child_is_awaited(const struct operation *operation);
/* Turns to the step of one that has ended. False: there is none. */
bool operation_child_collect(struct operation *operation);
/* Until one of them has ended. */
void operation_child_wait(struct operation *operation);
/* The same, but for one that may have another begin beside it. */
void operation_child_go_on(struct operation *operation);
/* Something that it awaits has ended: it sees to that now, or when what it is at is done. */
void operation_child_come_by(struct operation *operation);
/* Those that are begun turn to this course. */
void operation_child_divert_all(struct operation *operation, enum operation_course course);
/* It is over: its parent's step says so. */
void operation_child_ended(struct operation *child);
/* What became of an operation, as the step says it that is that operation. */
void operation_child_tell(struct step_record *step, const struct operation_record *child);

/* ---- operation_end.c ---- */
bool operation_end_is_past_return(const struct operation_record *record);
bool operation_end_restores(const struct operation_record *record);
/* Has nobody but the deadline, its own or its parent's, asked for its end? */
bool operation_end_is_by_time(const struct operation *operation);
bool operation_end_continues(const struct operation_record *record);
/* No step can help any more: ends it, or undoes it where the wish says so. */
void operation_end_give_up(struct operation *operation);
void operation_end_as(struct operation *operation, enum operation_state state);
/* Has it any step beyond a drain's cordon? */
bool operation_end_has_begun(const struct operation_record *record);
/* What ends before it has begun: nothing was changed, and a cordon is released. */
void operation_end_unbegun(struct operation *operation);
void operation_end_turn(struct operation *operation);

/* ---- operation_undo.c ---- */
/* Is anything of the step, as it stands, left to be put back? */
bool operation_undo_is_due(const struct step_record *step);
/* Of any of its steps? */
bool operation_undo_has_any(const struct operation_record *record);
/* Does a drain undo itself? */
bool operation_undo_is_restore(const struct operation *operation);
/* Begins to undo all steps of the operation, last first. 0 or -ENOMEM. */
int operation_undo_list_all(struct operation *operation);
/* Goes on with that after a look. False: it is not begun. */
bool operation_undo_goes_on(struct operation *operation);
/* Is there no snapshot yet by which to see what other drains hold of it? After a few failures: false. */
bool operation_undo_must_look(const struct operation *operation);
/* Begins to undo what the operation's undo step names: of its subject, or its own. 0, -ENOENT or -ENOMEM. */
int operation_undo_list_step(struct operation *operation, size_t step_index);
/* Is that undo step under way? */
bool operation_undo_has_list(const struct operation *operation, size_t step_index);
/* Is any? */
bool operation_undo_is_awaited(const struct operation *operation);
/* Gives all that it undoes a turn. False: none was due. */
bool operation_undo_take_turns(struct operation *operation);
/* Those that wait for a lock look whether they get it now. */
void operation_undo_wake(struct operation *operation);
void operation_undo_tick(struct operation *operation, uint64_t now_ms);
/* When that has something to do; UINT64_MAX: never. */
uint64_t operation_undo_next_ms(const struct operation *operation);
void operation_undo_stop(struct operation *operation);
void operation_undo_list_done(struct operation *operation);

/* ---- undo_since.c ---- */
/*
 * The move of a guest by hand that stands since this one of it, and so says where its memory (or persist: its stored XML)
 * belongs; NULL: there is none. What a drain has moved later is undone before (undo_bar.c).
 */
const struct operation *undo_since_moved(const struct operation *move, bool persist);
/* Did a later move of the same guest stay in part when it was undone? Then what is there is no word of anybody else. */
bool undo_since_failed(const struct operation *move);

/* ---- operation_recovery.c ---- */
int operation_recovery_run(struct engine *engine, struct failure *failure);
/* The running step was a daemon's before this one, and is not gone on with. */
void operation_recovery_end_step(struct operation *operation, struct step_record *step);

#endif
