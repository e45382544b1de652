/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only tests of the journal, and of what builds on it, may touch.
 */
#ifndef BALLAST_SERVICE_JOURNAL_PRIV_H
#define BALLAST_SERVICE_JOURNAL_PRIV_H

#include <stddef.h>
#include "journal.h"

enum journal_gate {
	JOURNAL_GATE_PASS,
	JOURNAL_GATE_REFUSE,	 /* as if the disk were full */
	JOURNAL_GATE_LOST,	 /* neither written nor answered: the process died before */
	JOURNAL_GATE_UNANSWERED, /* written, not answered: the process died right after */
};

/*
 * Called on the journal's thread before each transaction; number counts them from 1. With a gate
 * every write is a transaction of its own, so that the numbers are the same in every run. Set it
 * before the first write.
 */
typedef enum journal_gate journal_gate_fn(void *user, unsigned long number);
void journal_set_gate(struct journal *journal, journal_gate_fn *gate, void *user);

/* Writes that have been submitted and whose callback has not come yet (lost ones stay counted). */
size_t journal_pending(struct journal *journal);

#endif
