/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest owner's own programs, run before an evacuation and after its lease has ended, so that an
 * application or a driver lets go of memory that the kernel cannot move.
 *
 * Every executable of the hook directory, in the order of the names, one at a time (hook.h). The host
 * says when, and nothing else: neither which program nor any argument of its making.
 */
#ifndef BALLAST_AGENT_HOOKS_H
#define BALLAST_AGENT_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "hook.h"
#include "message.h"
#include "sysroot.h"

struct agent_config;

/* What the hooks are told, in their environment. */
struct hooks_order {
	bool is_after;
	bool was_kept;	/* after: the shrink was committed, not undone */
	uint64_t bytes; /* that are to leave; 0: not known */
	size_t range_count;
	struct message_range ranges[LIMIT_RANGES]; /* where; none: it has no memory devices */
};

struct hooks {
	const struct sysroot *sysroot;	   /* borrowed, as the next one */
	const struct agent_config *config;
	struct hooks_order order;
	int directory_fd;      /* owned; -1: none */
	struct hook_list list; /* owned */
	struct hook hook;      /* owned; the one that runs */
	size_t next;	       /* index of the one after that */
	unsigned ran, failed;
	unsigned untold;       /* failures that text has no room for */
	char text[LIMIT_TEXT]; /* of each failure; empty: none. Printable ASCII */
};

int hooks_init(struct hooks *hooks, const struct sysroot *sysroot,
	       const struct agent_config *config);
void hooks_done(struct hooks *hooks);

/* Looks which there are, and forgets those of before. Returns whether there is any to run: not
 * before an evacuation where the configuration leaves hooks off. A directory that others can write counts as a failure. */
bool hooks_begin(struct hooks *hooks, const struct hooks_order *order);
/* Starts the next one in job, with its deadline, at the latest deadline_ms. False: none is left. */
bool hooks_start_next(struct hooks *hooks, struct child_job *job, uint64_t now_ms,
		      uint64_t deadline_ms);
/* Books the end of the one that was started. */
void hooks_end_one(struct hooks *hooks, enum child_job_state state,
		   const struct child_job_result *result);

#endif
