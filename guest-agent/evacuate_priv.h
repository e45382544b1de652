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
void evacuate_add_rung(struct evacuate *evacuate, enum message_rung rung, uint64_t gained_bytes,
		       uint64_t now_ms);

/* Starts the child where there is something to take. */
void evacuate_pools_begin(struct evacuate *evacuate);
/* Books what was really taken. */
void evacuate_pools_end(struct evacuate *evacuate, uint64_t now_ms);
uint64_t evacuate_pools_gained(const struct evacuate *evacuate);

#endif
