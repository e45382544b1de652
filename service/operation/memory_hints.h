/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others say of memory that goes bad (EDAC, rasdaemon, a predictor), kept until the host boots anew, and what the
 * configuration has done about it. Of memory that a drain has emptied and holds, or is at work on, nothing more is begun; under
 * a cordon, a drain that is announced, or one that has ended before it was done, it is. On the loop's thread.
 */
#ifndef BALLAST_SERVICE_MEMORY_HINTS_H
#define BALLAST_SERVICE_MEMORY_HINTS_H

#include <stdbool.h>
#include <stdint.h>
#include "engine.h"
#include "failure.h"
#include "hint_policy.h"
#include "snapshot.h"

struct journal;
struct memory_hints;

/* As it comes. */
struct memory_hint {
	char dimm[SNAPSHOT_NAME_SIZE]; /* empty: an address is named */
	uint64_t address;	       /* host-physical */
	enum hint_risk risk;
};

struct memory_hints_options {
	struct engine *engine;		  /* borrowed, as all here */
	const struct hint_policy *policy;
	struct journal *journal;	  /* NULL: what is said ends with the daemon */
	const char *boot_id;		  /* of the running kernel, copied; NULL: not known, then no reboot is seen */
	uint64_t (*now_ms)(void *user);	  /* wall clock */
	/* A hint was taken: for events and the log. Borrowed for the call. */
	void (*changed)(void *user, const struct snapshot_hint *hint);
	void *user;
};

struct memory_hints_answer {
	/*
	 * 0: it was taken. -ENOENT: there is no such DIMM; -EINVAL: that is no memory of this host; -EAGAIN: the host has not
	 * been looked at yet. failure says so.
	 */
	int error;
	const struct failure *failure;		/* also where what was wanted was not begun: set then, though error is 0 */
	const struct remainder_list *blockers;	/* of that; may be NULL */
	const struct snapshot_hint *hint;
	enum hint_action wanted;		/* by the configuration */
	enum hint_action action;		/* the same where it was begun, is at work or was done; else an alert */
	bool is_new;				/* operation was begun by this very hint */
	const struct operation_record *operation;	/* NULL: none, or it is no longer known */
	const struct drain_record *drain;
};
/* All of it is borrowed for the call. */
typedef void memory_hints_answer_fn(void *user, const struct memory_hints_answer *answer);

/* NULL where memory is short. Knows nothing before memory_hints_load(). */
struct memory_hints *memory_hints_new(const struct memory_hints_options *options);
/* Without callbacks. After the engine, which may answer until it has gone. */
struct memory_hints *memory_hints_free(struct memory_hints *hints);

/*
 * What the journal has of this boot of the host, once, before anything is taken; of an earlier one it is forgotten: DIMMs may
 * have been exchanged, and whoever counts errors begins anew, too. 0, or what the journal refused.
 */
int memory_hints_load(struct memory_hints *hints, struct failure *failure);

/* Answers once, inside the call or later. snapshot lasts as long as the call; actor: of an operation that is begun. */
void memory_hints_take(struct memory_hints *hints, const struct snapshot *snapshot, const struct memory_hint *hint,
		       const char *actor, memory_hints_answer_fn *answer, void *user);

/*
 * The hints of the snapshot become those that are known. What was said of a DIMM is forgotten once it is seen to be out:
 * what is plugged in next may be another one. 0 or -ENOMEM.
 */
int memory_hints_see(struct memory_hints *hints, struct snapshot *snapshot);

#endif
