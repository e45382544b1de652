/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "huge_room.h"
#include "hugepage_pool.h"
#include "job_context.h"
#include "size_text.h"
#include "sysroot.h"

/* What one write asks for: the kernel makes it without listening to anybody. */
#define STRIDE_BYTES (UINT64_C(1) << 30)

static uint64_t lasting_pages(const struct hugepage_pool *pool)
{
	return pool->total > pool->surplus ? pool->total - pool->surplus : 0;
}

static int pool_node(int node)
{
	return node < 0 ? HUGEPAGE_POOL_ALL_NODES : node;
}

static const char *pool_object(int node, uint64_t page_bytes, char object[96])
{
	char size[SIZE_TEXT_SIZE];

	size_text_format(page_bytes, size);
	if (node < 0)
		snprintf(object, 96, "pool of %s pages", size);
	else
		snprintf(object, 96, "node %d, pool of %s pages", node, size);
	return object;
}

/* Where it cannot be done the pool gets what there is; where it was given up the context says so. */
static void compact(struct job_context *context, int node)
{
	int rc;

	do {
		rc = huge_room_compact(context->sysroot, node, job_context_look, context);
	} while (rc == -EAGAIN && job_context_go(context));
}

/* Grows in strides, and once more after a compaction where the memory is there but in pieces. */
static int grow(struct job_context *context, int node, uint64_t page_bytes, uint64_t target,
		struct hugepage_pool *pool)
{
	uint64_t start = lasting_pages(pool), stride = STRIDE_BYTES / page_bytes;
	bool is_compacted = false;
	int rc = 0;

	if (!stride)
		stride = 1;
	while (!rc && lasting_pages(pool) < target && job_context_go(context)) {
		uint64_t now = lasting_pages(pool),
			 next = target - now > stride ? now + stride : target;

		rc = hugepage_pool_set(context->sysroot, pool_node(node), page_bytes, next, pool);
		worker_control_progress(context->control,
					(lasting_pages(pool) - start) * page_bytes,
					(target - start) * page_bytes, "%llu pages",
					(unsigned long long)lasting_pages(pool));
		if (rc || lasting_pages(pool) >= next)
			continue;
		if (is_compacted && lasting_pages(pool) <= now)
			break;
		compact(context, node);
		is_compacted = true;
	}
	return rc;
}

/* Ended by an error, after which it may have any size between: only a look tells, and where that
 * fails too nobody can. */
static void tell_broken(struct job_context *context, int node, uint64_t page_bytes, uint64_t start,
			uint64_t target, int error)
{
	struct worker_result *result = context->result;
	struct hugepage_pool pool = {0};
	uint64_t pages;
	char object[96];
	int rc = hugepage_pool_read(context->sysroot, pool_node(node), page_bytes, &pool);

	job_context_fail(context, error, pool_object(node, page_bytes, object),
			 "cannot set it to %llu pages", (unsigned long long)target);
	pages = lasting_pages(&pool);
	if (!rc && pages == start)
		return;
	result->outcome = WORKER_OUTCOME_PARTIAL;
	if (rc) {
		remainder_list_add(&result->remainder, REMAINDER_HUGE_PAGE_POOL, object, 0, NULL,
				   "what size it has cannot be read: %s", strerror(-rc));
		return;
	}
	result->bytes_done = (pages > start ? pages - start : start - pages) * page_bytes;
	remainder_list_add(&result->remainder, REMAINDER_HUGE_PAGE_POOL, object,
			   (pages > target ? pages - target : target - pages) * page_bytes, NULL,
			   "%llu pages instead of %llu: %s", (unsigned long long)pages,
			   (unsigned long long)target, strerror(-error));
}

static void set_pool(struct job_context *context, int node, uint64_t page_bytes, uint64_t target)
{
	struct hugepage_pool pool;
	uint64_t start, pages;
	char object[96];
	int rc = hugepage_pool_read(context->sysroot, pool_node(node), page_bytes, &pool);

	pool_object(node, page_bytes, object);
	if (rc) {
		job_context_fail(context, rc, object, "cannot read it");
		return;
	}
	start = lasting_pages(&pool);
	if (target > start)
		rc = grow(context, node, page_bytes, target, &pool);
	else if (target < start)
		rc = hugepage_pool_set(context->sysroot, pool_node(node), page_bytes, target,
				       &pool);
	if (rc) {
		tell_broken(context, node, page_bytes, start, target, rc);
		return;
	}
	pages = lasting_pages(&pool);
	context->result->bytes_done = (pages > start ? pages - start : start - pages) * page_bytes;
	if (context->stop != WORKER_CONTROL_GO) {
		job_context_settle(context, object,
				   target > pages ? (target - pages) * page_bytes : 0,
				   pages != start);
		return;
	}
	if (pages < target)
		remainder_list_add(&context->result->remainder, REMAINDER_NO_ROOM, object,
				   (target - pages) * page_bytes, NULL,
				   "%llu of %llu pages could be made", (unsigned long long)pages,
				   (unsigned long long)target);
	/* Pages in use stay, as surplus, and go when they are given back. */
	if (target < start && pool.total > target)
		remainder_list_add(&context->result->remainder, REMAINDER_HUGE_PAGE_POOL, object,
				   (pool.total - target) * page_bytes, NULL,
				   "%llu pages are in use or reserved",
				   (unsigned long long)(pool.total - target));
	job_context_detail(context, "%llu pages, %llu of them free", (unsigned long long)pool.total,
			   (unsigned long long)pool.free);
	job_context_settle(context, object, 0, pages != start);
}

void pool_job_before(struct job_context *context)
{
	const struct step *step = &context->job->step;
	struct hugepage_pool pool;
	char object[96];
	int rc = hugepage_pool_read(context->sysroot, pool_node(step->node), step->page_bytes,
				    &pool);

	if (rc) {
		job_context_fail(context, rc, pool_object(step->node, step->page_bytes, object),
				 "cannot read it");
		return;
	}
	job_context_give(context, pool_object(step->node, step->page_bytes, object),
			 json_pack("{s:i, s:I, s:I}", "node", step->node, "page_bytes",
				   (json_int_t)step->page_bytes, "pages",
				   (json_int_t)lasting_pages(&pool)));
}

void pool_job_run(struct job_context *context)
{
	const struct step *step = &context->job->step;

	if (!step->page_bytes) {
		job_context_fail(context, EINVAL, "pool", "cannot set it without a page size");
		return;
	}
	set_pool(context, step->node, step->page_bytes, step->target_bytes / step->page_bytes);
}

void pool_job_undo(struct job_context *context)
{
	json_int_t page_bytes, pages;
	int node;

	/* Whoever keeps it has added whose process it was. */
	if (json_unpack_ex((json_t *)context->before, NULL, 0, "{s:i, s:I, s:I}", "node", &node, "page_bytes",
			   &page_bytes, "pages", &pages) ||
	    page_bytes <= 0 || pages < 0) {
		job_context_fail(context, EINVAL, "pool", "cannot read what it was before");
		return;
	}
	set_pool(context, node, (uint64_t)page_bytes, (uint64_t)pages);
}
