/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the checks of all kinds of wishes share: how a refusal is told, and what holds for any guest
 * whose memory is to move.
 */
#ifndef BALLAST_SERVICE_PLAN_CHECK_PRIV_H
#define BALLAST_SERVICE_PLAN_CHECK_PRIV_H

#include "plan_priv.h"

struct plan_check {
	const struct plan_input *input;
	struct remainder_list *blockers;
	struct failure *failure;
	const char *action; /* "cannot resize" */
	const struct drain_scope *scope; /* borrowed: what a drain empties of the guests; NULL: no drain */
	bool told;	    /* the failure has its first blocker */
};

/* A blocker; the first one is also the failure, with this code for the API. */
void plan_check_block(struct plan_check *check, const char *code, enum remainder_code remainder,
		      const char *object, uint64_t bytes, const char *way_out, const char *detail,
		      ...) PRINTF_LIKE(7, 8);
/* The same where the wish does not allow it yet. */
void plan_check_ask(struct plan_check *check, enum consent consent, enum remainder_code remainder,
		    const char *object, uint64_t bytes, const char *detail, ...) PRINTF_LIKE(6, 7);

/* "node 0 300 MiB, node 1 1.2 GiB": what the nodes could still give beyond the reserve. */
void plan_check_rooms_text(const uint64_t rooms[SNAPSHOT_NODES_MAX], uint64_t nodes,
			   char text[112]);
/* What forbids moving a guest's memory at all. */
void plan_check_movable(struct plan_check *check, const struct snapshot_guest *guest,
			uint64_t bytes);
/* The input's wish as a move of this guest; room: whether the destinations have it is looked at
 * too. */
void plan_check_move_of(struct plan_check *check, const struct snapshot_guest *guest, bool room);

/* plan_check_drain.c */
void plan_check_drain(struct plan_check *check);
void plan_check_drain_warnings(const struct plan_input *input, struct remainder_list *warnings);

#endif
