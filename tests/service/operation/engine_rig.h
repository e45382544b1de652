/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake world, a journal on disk and an engine between them, with a way to kill the engine at any
 * point and start another on what is left.
 */
#ifndef BALLAST_TESTS_ENGINE_RIG_H
#define BALLAST_TESTS_ENGINE_RIG_H

#include <stdatomic.h>
#include <event2/event.h>
#include "engine.h"
#include "fake_world.h"
#include "journal_priv.h"

struct engine_rig {
	struct fake_world world;
	struct fake_state initial;
	struct plan_limits limits;
	struct event_base *base;
	struct journal *journal;
	struct engine *engine;
	char folder[64], path[96];
	bool observe;
	bool waits; /* engine_wait() before recovery */
	const char *boot_id; /* of the kernel under the next start */
	int died_fd;
	/* the gate: the journal's thread reads these */
	atomic_ulong die_at; /* 0: never */
	atomic_int die_how;  /* enum journal_gate */
	atomic_ulong refuse_from, refuse_to;
	atomic_bool died;
	unsigned deaths; /* by the gate, as far as it was killed for good since */
	atomic_ulong writes;
	/* the last answer, copied */
	bool answered;
	enum engine_submit_result result;
	char id[OPERATION_ID_SIZE], drain[OPERATION_ID_SIZE], code[40], digest[17];
	size_t plan_steps;
	unsigned changes, drain_changes;
	/* the operation that the last change of a drain came with; empty: none */
	char told_with[OPERATION_ID_SIZE];
};

void engine_rig_init(struct engine_rig *rig);
/* Checks too that no two calls with one token were seen, nor any beside a stuck worker's that must not be. */
void engine_rig_done(struct engine_rig *rig);
/* Opens journal and engine and recovers. */
void engine_rig_start(struct engine_rig *rig);
/* engine_rig_init() and engine_rig_start(): what needs nothing set between them. */
void engine_rig_begin(struct engine_rig *rig);
/* As kill -9 would: what is not durable is lost, what is half done stays so. */
void engine_rig_kill(struct engine_rig *rig);
/* The same, but the kernel keeps a worker of it; the engines that start then are told of that. False: there is none. */
bool engine_rig_kill_but_stuck(struct engine_rig *rig);
/* The kernel lets go of it, with its work done or not, and the engine hears of it. */
void engine_rig_unstick(struct engine_rig *rig, bool is_done);
/* The same as engine_rig_start(), and dies at that write of the journal (from 1). */
void engine_rig_start_mortal(struct engine_rig *rig, enum journal_gate how, unsigned number);
/*
 * Kills it, lets it come so far as to die at a write once more (0: does not), and starts it. False: it had not died by
 * itself before. ret_id is what had been answered by then, or empty.
 */
bool engine_rig_start_again(struct engine_rig *rig, unsigned die_at, char ret_id[OPERATION_ID_SIZE]);
/*
 * A life of some scene that dies at that write of the journal (from 1), and at that of the next life, too (again; 0: not),
 * with what must hold after it. False: it has no write so late.
 */
typedef bool engine_rig_death_fn(const void *scene, enum journal_gate how, unsigned number, unsigned again);
/* One at each write that there is, lost and unanswered. Returns how many there were, of the way that had fewer. */
unsigned engine_rig_die_at_every_write(engine_rig_death_fn *die, const void *scene, unsigned again);
/*
 * Until nothing more happens, or the gate has killed it (false), or the world has come to that tick
 * (0: no matter).
 */
bool engine_rig_run(struct engine_rig *rig, unsigned until_tick);
/*
 * The same until the newest operation without a parent has ended, with the clock turned where it waits, for ten minutes at
 * most. False: the gate has killed it.
 */
bool engine_rig_settle(struct engine_rig *rig, unsigned until_tick);
/* Turns the clock and lets what is due happen. */
void engine_rig_advance(struct engine_rig *rig, uint64_t ms);

void engine_rig_submit(struct engine_rig *rig, const struct wish *wish);
void engine_rig_submit_with(struct engine_rig *rig, const struct engine_submission *submission);
const struct operation_record *engine_rig_operation(struct engine_rig *rig, const char *id);
bool engine_rig_has_hold(struct engine_rig *rig);

/* The one operation that nobody is the parent of; the newest where there are several; NULL: none.
 */
const struct operation_record *engine_rig_top(struct engine_rig *rig);
/* Of the newest drain; DRAIN_STATE_COUNT: none. */
enum drain_state engine_rig_drain_state(struct engine_rig *rig);
/* In the order in which they were submitted; NULL, DRAIN_STATE_COUNT: there are not so many. */
const struct drain_record *engine_rig_drain_at(struct engine_rig *rig, size_t index);
enum drain_state engine_rig_drain_state_at(struct engine_rig *rig, size_t index);
bool engine_rig_is_initial(const struct engine_rig *rig);
/*
 * What every ended drain must be: done as asked, or as if it had not been, or saying that it is
 * neither.
 */
void engine_rig_check_truthful(struct engine_rig *rig, bool ejected, const char *where,
			       unsigned number);
/* Undrains the newest drain and finds the world as it was at first. */
void engine_rig_check_undrained(struct engine_rig *rig);
/* After an undrain that may have died before it had begun: undrains what is held still, and checks that all is as it was. */
void engine_rig_check_given_back(struct engine_rig *rig);

struct wish engine_rig_drain_wish(enum drain_finish finish);
struct wish engine_rig_resize_wish(int guest, uint64_t target_bytes);
struct wish engine_rig_move_wish(int guest, int node);

#endif
