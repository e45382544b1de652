/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rungs of an evacuation share.
 */
#ifndef BALLAST_AGENT_EVACUATE_PRIV_H
#define BALLAST_AGENT_EVACUATE_PRIV_H

#include "evacuate.h"

/* The lease may end while the work runs; then the work is cancelled, nothing more may be changed,
 * and this is NULL. */
struct lease *evacuate_own_lease(struct evacuate *evacuate);
/* Writes the book down, or ends the work: nothing is changed that is not written down. */
bool evacuate_save(struct evacuate *evacuate);
void evacuate_fail(struct evacuate *evacuate, const char *text);
/* A change could not be written down in the lease; where evacuate_save() has not said why already. */
void evacuate_fail_unwritten(struct evacuate *evacuate);
/* reason: why it gained no more; UNKNOWN: there is nothing to say. */
void evacuate_add_rung(struct evacuate *evacuate, enum message_rung rung, uint64_t gained_bytes,
		       enum message_reason reason, uint64_t now_ms);

/* Starts the first hook, where there is one. */
void evacuate_hooks_begin(struct evacuate *evacuate, uint64_t now_ms);
/* A hook has ended, or there was none (CHILD_JOB_IDLE). True: the next one runs. */
bool evacuate_hooks_step(struct evacuate *evacuate, enum child_job_state state,
			 const struct child_job_result *result, uint64_t now_ms);
void evacuate_hooks_end(struct evacuate *evacuate, uint64_t now_ms);

/* Starts the child where there is something to take. */
void evacuate_pools_begin(struct evacuate *evacuate);
/* Books what was really taken. */
void evacuate_pools_end(struct evacuate *evacuate, uint64_t now_ms);
uint64_t evacuate_pools_gained(const struct evacuate *evacuate);
/* The entry of a pool, where more was written down beforehand than was really taken. Of the lease, or of what is owed
 * for good where the lease has been ended as kept meanwhile. */
void evacuate_pools_book(struct evacuate *evacuate, int node_id, uint64_t page_bytes, uint64_t planned,
			 uint64_t took);
/* What a pool has lost of pages that were added to it is no loss: returns what is left of them. */
uint64_t evacuate_pools_set_off(struct evacuate *evacuate, enum lease_kind kind, uint64_t page_bytes,
				uint64_t pages);

/* Of all surplus pages, or where they could go with a block: plan and write down. False where the lease has no place
 * for it. */
bool evacuate_surplus_begin(struct evacuate *evacuate, struct lease *lease, bool only_where_free);
/* The child has taken them in. */
void evacuate_surplus_end(struct evacuate *evacuate);
/* Those that an earlier shrink took in and that are still in use. */
void evacuate_surplus_adopt(struct evacuate *evacuate);

/* Free huge pages that go with their blocks are owed to the pools as those that were taken. Written down before the
 * first block: at most all that are free. False where the lease has no place for it. */
bool evacuate_loss_begin(struct evacuate *evacuate, struct lease *lease);
/* Around each block. */
void evacuate_loss_look(struct evacuate *evacuate);
void evacuate_loss_count(struct evacuate *evacuate);
/* What was really lost. */
void evacuate_loss_end(struct evacuate *evacuate);

/* Cancelled, out of time, stuck or failed. */
bool evacuate_must_end(const struct evacuate *evacuate, uint64_t now_ms);

void evacuate_reclaim_begin(struct evacuate *evacuate);
void evacuate_reclaim_end(struct evacuate *evacuate, enum child_job_state state,
			  const struct child_job_result *result, uint64_t now_ms);

int evacuate_room_init(struct evacuate *evacuate);
void evacuate_room_done(struct evacuate *evacuate);
void evacuate_room_begin(struct evacuate *evacuate);
void evacuate_room_end(struct evacuate *evacuate, enum child_job_state state, uint64_t now_ms);

/* Chooses the blocks; starts a child that looks which are emptiest, where that matters, and takes surplus huge pages in. */
void evacuate_census_begin(struct evacuate *evacuate, uint64_t now_ms);
void evacuate_census_end(struct evacuate *evacuate, enum child_job_state state);
/* Starts the child of the first block. */
void evacuate_offline_begin(struct evacuate *evacuate, uint64_t now_ms);
/* A block's child has ended, or there was none (CHILD_JOB_IDLE). True: that of the next one runs,
 * or the guest is left alone until rest_until_ms. */
bool evacuate_offline_step(struct evacuate *evacuate, enum child_job_state state,
			   const struct child_job_result *result, uint64_t now_ms);
/* Books what became of the blocks. True: there are more to be tried, and time for it. */
bool evacuate_offline_end_part(struct evacuate *evacuate, uint64_t now_ms);
void evacuate_offline_end(struct evacuate *evacuate, uint64_t now_ms);

#endif
