/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the threads of a move share: one thread listens and says here what it heard; the others ask here before each call
 * whether, when and how gently they may go on, and say what they did.
 */
#ifndef BALLAST_SERVICE_MOVE_GATE_H
#define BALLAST_SERVICE_MOVE_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include "cleanup.h"
#include "pace.h"

struct step;
struct worker_control;

struct move_gate;

/* control is borrowed. Budgets are the step's until a limit says otherwise. 0 or -ENOMEM. */
int move_gate_new(struct worker_control *control, const struct step *step, struct move_gate **ret_gate);
struct move_gate *move_gate_free(struct move_gate *gate);
CLEANUP_DEFINE(struct move_gate *, move_gate_free)

/* For the thread that listens: passes on what the control heard since the last time. */
void move_gate_hear(struct move_gate *gate);

/* Likewise: how much the guest's processors have run by now. While it computes (pace_is_computing) one call at a time. */
void move_gate_note_load(struct move_gate *gate, const struct pace_load *load);

/* Ends the work of all: whoever waits or asks next gets this error. The first one stays. Any thread may. */
void move_gate_shut(struct move_gate *gate, int error);
/* 0 while it is open. */
int move_gate_error(struct move_gate *gate);
/* Open again, for a look after the end of the work. No thread may be at work. */
void move_gate_reopen(struct move_gate *gate);

/*
 * Before a call that moves so many bytes: waits as long as there is a pause, and as the budget of the pair of nodes
 * demands. No more calls at a time than pay (pace_crew), and only one while the guest is to be spared (move_gate_ease).
 * 0: move_gate_leave() follows. Else the error with which the gate was shut; -ECANCELED as soon as the control was
 * cancelled.
 */
int move_gate_enter(struct move_gate *gate, int source, int destination, uint64_t bytes);
/* After it: what of these bytes has moved. What has not is given back to the budget. */
void move_gate_leave(struct move_gate *gate, int source, int destination, uint64_t bytes, uint64_t moved_bytes);
/* Waits, shorter where the gate is shut. Likewise. */
int move_gate_wait(struct move_gate *gate, uint64_t pause_us);

/*
 * For what takes long outside of a call: 0 while it may go on, -EAGAIN while there is a pause, else as above.
 * move_gate_pass() waits as long as there is a pause: 0, or the error.
 */
int move_gate_look(struct move_gate *gate);
int move_gate_pass(struct move_gate *gate);

/* False where there is a reason to end. Cheap. */
bool move_gate_is_open(struct move_gate *gate);
uint64_t move_gate_moved_bytes(struct move_gate *gate);
uint64_t move_gate_bytes_per_s(struct move_gate *gate);
struct pace_ease move_gate_ease(struct move_gate *gate);
/* Whether another number of calls at a time is tried just now. */
bool move_gate_is_trying(struct move_gate *gate);
/* Whether calls are to be PACE_FIRST_PART of what they are else, because that may be bad. */
bool move_gate_is_careful(struct move_gate *gate);

/* True for one caller in some seconds: it may ask the kernel to compact that node, which is work for all of it. */
bool move_gate_may_compact(struct move_gate *gate, int node_id);
/* Notes that the kernel has done so, and how often it has. */
void move_gate_compacted(struct move_gate *gate);
unsigned move_gate_compactions(struct move_gate *gate);

#endif
