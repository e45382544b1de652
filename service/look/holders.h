/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a piece of host memory: guests by their page tables; processes, cgroups and the kernel by the pages.
 */
#ifndef BALLAST_SERVICE_HOLDERS_H
#define BALLAST_SERVICE_HOLDERS_H

#include "holder_report.h"
#include "look.h"
#include "snapshot.h"
#include "worker_pool.h"

typedef void holders_fn(void *user, int error, const struct failure *failure, const struct holder_report *report);

/*
 * Surveys every running guest for the bytes it has in ranges, and has the pages there counted. A guest's bytes are taken
 * off those of its cgroup, so that nothing is told twice; what its QEMU has beside them is a process' as any other. What
 * cannot be seen stands in the list as not_surveyed, with the reason and no bytes; a guest that has ended meanwhile does
 * not. Ranges stand in order and do not overlap; there may be any number of them. Answers once; an error only without memory.
 */
void holders_find(struct look *look, struct worker_pool *pool, const struct snapshot_range *ranges, size_t count,
		  holders_fn *found, void *user);

#endif
