/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a piece of host memory: guests by their page tables, and the kernel's zones.
 */
#ifndef BALLAST_SERVICE_HOLDERS_H
#define BALLAST_SERVICE_HOLDERS_H

#include "look.h"
#include "remainder.h"
#include "snapshot.h"
#include "worker_pool.h"

typedef void holders_fn(void *user, int error, const struct failure *failure, const struct remainder_list *list);

/*
 * Surveys every running guest for the bytes it has in ranges (at most SNAPSHOT_RANGES_MAX), and adds the blocks there
 * that lie in a kernel zone. A guest that cannot be surveyed stands in the list as not_surveyed, with the reason and no
 * bytes; one that has ended meanwhile does not. Answers once; an error only without memory.
 */
void holders_find(struct look *look, struct worker_pool *pool, const struct snapshot_range *ranges, size_t count,
		  holders_fn *found, void *user);

#endif
