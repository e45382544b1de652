/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives back what leases wrote down. Doing it twice does no more than once; what cannot be given
 * back is counted.
 */
#ifndef BALLAST_AGENT_UNDO_H
#define BALLAST_AGENT_UNDO_H

#include <stdint.h>
#include "child_job.h"
#include "lease.h"

struct sysroot;

/* Sets the goals of pools: as many pages more than now as were taken, but not more than there were.
 */
void undo_prepare(const struct sysroot *sysroot, struct lease_entries *entries);

/*
 * Undoes all, the latest change first. Growing a pool and onlining a block may take long: run it in
 * a job. outcome is the number of entries that failed, error the last errno.
 */
struct child_job_result undo_run(const struct sysroot *sysroot,
				 const struct lease_entries *entries);

/* After it: pages that pools still lack go to taken (may be NULL). *ret_gained, *ret_short in bytes
 * (may be NULL). */
int undo_review(const struct sysroot *sysroot, const struct lease_entries *entries,
		struct lease_entries *taken, uint64_t *ret_gained, uint64_t *ret_short);

/* Whether the entry is undone, as the kernel says now, or there is nothing left to be undone: a block
 * that is gone, pages of a pool, which undo_review() has told. */
bool undo_is_done(const struct sysroot *sysroot, const struct lease_entry *entry);

#endif
