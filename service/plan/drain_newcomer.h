/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests in memory that a drain has emptied, and that is online: who has come there since, or may have, and by which move each
 * would leave it again. Nothing is asked for but what the drain's own consents cover.
 */
#ifndef BALLAST_SERVICE_DRAIN_NEWCOMER_H
#define BALLAST_SERVICE_DRAIN_NEWCOMER_H

#include "plan.h"

/* Is what was last surveyed of a guest there still true? */
enum drain_newcomer_doubt {
	DRAIN_NEWCOMER_SURE,
	DRAIN_NEWCOMER_CHANGED, /* its cgroup counts something else by now, or it was never surveyed */
	DRAIN_NEWCOMER_UNTOLD,	/* no counter tells whether it is */
};

struct drain_newcomer {
	size_t guest;	/* by its place in the snapshot */
	uint64_t bytes; /* there, by its last survey; 0: it is only doubted that it has none */
	enum drain_newcomer_doubt doubt;
	bool may_move;
	struct wish move;	   /* where it may: a move of its own, for the drain */
	struct step step;	   /* likewise: how that stands with the drain, without its child */
	struct remainder_list why; /* else; with its bytes once, and with the consent that the drain does not have */
};

struct drain_newcomers {
	size_t count;
	struct drain_newcomer *items; /* owned */
	uint64_t nodes;		      /* that have memory of the drain online; 0: none has, and nobody can have come there */
	uint64_t whole_nodes;	      /* of these, those all of whose memory is the drain's */
};

/*
 * The input has the drain's wish, with its id; of its history nothing is asked. A 256th of a guest are strays, and not told.
 * 0, or -ENOMEM with *ret_newcomers empty. To be given to drain_newcomers_done().
 */
int drain_newcomers_find(const struct plan_input *input, struct drain_newcomers *ret_newcomers);
void drain_newcomers_done(struct drain_newcomers *newcomers);
/*
 * drain_slices.c: the drain's step on slices once more, for those that could not lose its nodes when it ended. False: there is
 * no slice, or no node whose memory is all the drain's and online.
 */
bool drain_newcomers_slices(const struct plan_input *input, const struct drain_newcomers *newcomers, struct step *ret_step);

#endif
