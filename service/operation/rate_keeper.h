/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps how fast this host has been: learns from every operation that ends, and writes that into the journal, so that plans
 * are by it after a restart as well.
 */
#ifndef BALLAST_SERVICE_RATE_KEEPER_H
#define BALLAST_SERVICE_RATE_KEEPER_H

#include "failure.h"
#include "operation_record.h"
#include "snapshot.h"

struct journal;
struct rate_keeper;

struct rate_keeper_options {
	struct journal *journal;	/* borrowed */
	/* There is something to plan by; also at once, where the journal has it. */
	void (*changed)(void *user, const struct measured_rates *rates);
	void *user;
};

/* 0, or what the journal refused. */
int rate_keeper_new(const struct rate_keeper_options *options, struct rate_keeper **ret_keeper, struct failure *failure);
struct rate_keeper *rate_keeper_free(struct rate_keeper *keeper);

/*
 * The operation has changed; snapshot tells what its guest is made of. One that was paused says nothing of time when it ends,
 * and one that is told twice counts once.
 */
void rate_keeper_see(struct rate_keeper *keeper, const struct operation_record *operation,
		     const struct snapshot *snapshot);

#endif
