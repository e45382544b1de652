/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker found of who holds a piece of the host's memory: the values of a job of the kind "holders".
 */
#ifndef BALLAST_SERVICE_WORKER_HOLDERS_H
#define BALLAST_SERVICE_WORKER_HOLDERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cgroup_owner.h"
#include "failure.h"
#include "page_kind.h"

/*
 * Groups that stand alone; what the others have is told in a sum. Each guest has one, and those of guests mostly have
 * most: there are to be many more than a host has guests, or no other would ever be named.
 */
#define WORKER_HOLDERS_MAX 1024
/* The id of those of a job's ranges (worker_job.dimms) that no zone of the kernel has. */
#define WORKER_HOLDERS_MOVABLE "movable"

/* Bytes, only of kinds that are somebody's (page_kind_is_owned()). */
struct worker_holder {
	struct cgroup_owner owner; /* inode 0: charged to no group */
	uint64_t kinds[PAGE_KIND_COUNT];
};

struct worker_holders {
	/* Bytes of all that was asked for, in the kernel's zones and elsewhere. */
	uint64_t kernel[PAGE_KIND_COUNT], movable[PAGE_KIND_COUNT];
	size_t count;
	struct worker_holder groups[WORKER_HOLDERS_MAX]; /* those that have most first */
	uint64_t rest_count;				 /* of further groups */
	uint64_t rest[PAGE_KIND_COUNT];
};

/* NULL where memory is short. */
json_t *worker_holders_to_json(const struct worker_holders *holders);
/* Strict. 0; -EINVAL with *failure saying what is wrong. */
int worker_holders_parse(const json_t *json, struct worker_holders *ret_holders, struct failure *failure);

#endif
