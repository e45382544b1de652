/* SPDX-License-Identifier: Apache-2.0 */
#include "holder_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "job_context.h"
#include "page_holder.h"
#include "worker_holders.h"

struct look {
	struct job_context *context;
	uint64_t before_bytes, total_bytes;
};

static int go(void *user, uint64_t done_bytes)
{
	struct look *look = user;

	worker_control_progress(look->context->control, look->before_bytes + done_bytes, look->total_bytes,
				"who holds the pages");
	return job_context_go(look->context) ? 0 : -ECANCELED;
}

static int count_ranges(struct job_context *context, struct page_holder *holder, struct worker_holders *holders)
{
	const struct worker_job *job = context->job;
	struct look look = {.context = context};
	int rc = 0;

	for (size_t i = 0; i < job->dimm_count; i++)
		look.total_bytes += snapshot_ranges_bytes(job->dimms[i].ranges, job->dimms[i].range_count);
	for (size_t i = 0; i < job->dimm_count; i++) {
		bool is_movable = strcmp(job->dimms[i].id, WORKER_HOLDERS_MOVABLE) == 0;

		for (size_t r = 0; !rc && r < job->dimms[i].range_count; r++) {
			const struct physical_range range = {job->dimms[i].ranges[r].start, job->dimms[i].ranges[r].end};

			rc = page_holder_count(holder, &range, is_movable ? holders->movable : holders->kernel, go, &look);
			look.before_bytes += range.end - range.start;
		}
	}
	return rc;
}

static int name_groups(struct job_context *context, struct page_holder *holder, struct worker_holders *holders)
{
	CLEANUP_FREE struct cgroup_owner *owners = calloc(WORKER_HOLDERS_MAX, sizeof(*owners));
	const struct page_holder_group *groups;
	size_t count = page_holder_top(holder, &groups);
	int rc;

	if (!owners)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (i >= WORKER_HOLDERS_MAX) {
			holders->rest_count++;
			for (size_t kind = 0; kind < PAGE_KIND_COUNT; kind++)
				holders->rest[kind] += groups[i].kinds[kind];
			continue;
		}
		owners[i].inode = groups[i].inode;
		memcpy(holders->groups[i].kinds, groups[i].kinds, sizeof(groups[i].kinds));
		holders->count++;
	}
	rc = holders->count ? cgroup_owner_find(context->sysroot, owners, holders->count) : 0;
	for (size_t i = 0; i < holders->count; i++)
		holders->groups[i].owner = owners[i];
	/* Without cgroup v2, or with more groups than are read, they are told by their inodes. */
	return rc == -ENOENT || rc == -E2BIG ? 0 : rc;
}

void holder_job_run(struct job_context *context)
{
	CLEANUP(page_holder_freep) struct page_holder *holder = NULL;
	CLEANUP_FREE struct worker_holders *holders = calloc(1, sizeof(*holders));
	int rc = holders ? page_holder_new(context->sysroot, &holder) : -ENOMEM;

	if (!rc)
		rc = count_ranges(context, holder, holders);
	if (rc == -ECANCELED) {
		job_context_settle(context, "pages", 0, false);
		return;
	}
	if (!rc)
		rc = name_groups(context, holder, holders);
	if (rc) {
		job_context_fail(context, rc, "pages", "cannot see who holds them");
		return;
	}
	job_context_give(context, "pages", worker_holders_to_json(holders));
}
