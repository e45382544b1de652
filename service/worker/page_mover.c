/* SPDX-License-Identifier: Apache-2.0 */
#include "page_mover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "guest_view.h"
#include "job_context.h"
#include "plan.h"
#include "size_text.h"

/* Addresses of one call at most: 32 MiB of small pages. */
#define LANE_PAGES 8192
/*
 * The first batch, before anything was measured: 1024 small pages, where calls are long enough to
 * pay for the drain of every processor's page caches and short enough not to stall a guest; a few
 * huge ones; one gigantic.
 */
#define FIRST_BATCH_BYTES      (UINT64_C(4) << 20)
#define FIRST_HUGE_BATCH_BYTES (UINT64_C(16) << 20)
#define GIGANTIC_BYTES	       (UINT64_C(1) << 30)
/* Reading a process' times and a link for each descriptor costs as much as moving some pages. */
#define CHECK_MS 250

/* Pages that wait for the same destination. */
struct lane {
	int node_id;
	size_t count;
	uint64_t bytes;
	uint64_t addresses[LANE_PAGES];
	enum page_move_outcome outcomes[LANE_PAGES];
	uint64_t page_bytes[LANE_PAGES];
	int8_t sources[LANE_PAGES];
};

enum pace_class { PACE_SMALL, PACE_HUGE, PACE_GIGANTIC, PACE_CLASS_COUNT };

struct page_mover {
	struct job_context *context;
	const struct guest_view *view;
	struct page_survey *look; /* owned: the mover's second looks must not disturb a walk */
	struct page_move *move;	  /* owned */
	struct lane *lanes[SNAPSHOT_NODES_MAX]; /* owned, by destination, made when needed */
	struct pace paces[PACE_CLASS_COUNT];
	struct page_move_counts counts;
	struct page_mover_tally tally;
	uint64_t total_bytes, moved_bytes;
	uint64_t checked_at_ms;
};

static bool should_stop(void *user)
{
	return !job_context_go(user);
}

int page_mover_new(struct job_context *context, const struct guest_view *view, uint64_t total_bytes,
		   struct page_mover **ret_mover)
{
	CLEANUP(page_mover_freep) struct page_mover *mover = calloc(1, sizeof(*mover));
	struct page_survey_options survey = {.map = view->physical};
	struct page_move_options options = {
		.pid = context->job->process.pid,
		.batch_pages = LANE_PAGES,
		.should_stop = should_stop,
		.stop_user = context,
	};
	int rc;

	if (!mover)
		return -ENOMEM;
	mover->context = context;
	mover->view = view;
	mover->total_bytes = total_bytes;
	mover->paces[PACE_SMALL].batch_bytes = FIRST_BATCH_BYTES;
	mover->paces[PACE_HUGE].batch_bytes = FIRST_HUGE_BATCH_BYTES;
	mover->paces[PACE_GIGANTIC].batch_bytes = GIGANTIC_BYTES;
	if (context->move_ops) {
		options.ops = *context->move_ops;
	} else {
		rc = page_survey_new(context->sysroot, options.pid, &survey, &mover->look);
		if (rc)
			return rc;
		options.ops = page_move_kernel_ops(mover->look);
	}
	rc = page_move_new(&options, &mover->move);
	if (rc)
		return rc;
	*ret_mover = TAKE_PTR(mover);
	return 0;
}

struct page_mover *page_mover_free(struct page_mover *mover)
{
	if (!mover)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(mover->lanes); i++)
		free(mover->lanes[i]);
	page_move_free(mover->move);
	page_survey_free(mover->look);
	free(mover);
	return NULL;
}

static struct pace *pace_of(struct page_mover *mover, uint64_t page_bytes)
{
	enum pace_class class = page_bytes >= GIGANTIC_BYTES	    ? PACE_GIGANTIC
				: page_bytes >= (UINT64_C(1) << 20) ? PACE_HUGE
								    : PACE_SMALL;

	return &mover->paces[class];
}

/*
 * Before every call: a process number is not given away again while the process lives, and its
 * pidfd says whether it does. Now and then all of what was true at the start.
 */
static int check_guest(struct page_mover *mover)
{
	const struct job_context *context = mover->context;
	const struct process_identity *identity = &mover->view->identity;
	struct pollfd end = {.fd = identity->pidfd, .events = POLLIN};
	uint64_t now = worker_control_now_ms();
	unsigned userfaultfd = 0, vfio = 0;
	int rc = identity->pidfd >= 0 ? poll(&end, 1, 0) : 0;

	if (rc)
		return rc < 0 ? -errno : -ESRCH;
	if (identity->pidfd >= 0 && mover->checked_at_ms && now - mover->checked_at_ms < CHECK_MS)
		return 0;
	mover->checked_at_ms = now;
	rc = process_identity_check(context->sysroot, identity);
	if (!rc)
		rc = guest_map_count_descriptors(context->sysroot, context->job->process.pid,
						 &userfaultfd, &vfio);
	return rc ? rc : userfaultfd ? -EBUSY : 0;
}

static void book(struct page_mover *mover, const struct lane *lane)
{
	for (size_t i = 0; i < lane->count; i++) {
		mover->tally.bytes[lane->outcomes[i]][lane->sources[i]] += lane->page_bytes[i];
		if (lane->outcomes[i] == PAGE_MOVE_MOVED)
			mover->moved_bytes += lane->page_bytes[i];
	}
}

static void set_pace(struct page_mover *mover, const struct lane *lane, uint64_t calls,
		     uint64_t call_ns)
{
	struct worker_control *control = mover->context->control;
	const struct step *step = &mover->context->job->step;
	struct pace *pace = pace_of(mover, lane->page_bytes[0]);
	struct pace_input input = {
		.last = *pace,
		.call_us = call_ns / 1000 / (calls ? calls : 1),
		.call_bytes = lane->bytes / (calls ? calls : 1),
		.page_bytes = lane->page_bytes[0],
		.stall_us = control->has_limit ? control->stall_us : step->budget_stall_us,
		.bytes_per_s = control->has_limit ? control->bytes_per_s : step->budget_bytes_per_s,
		.guest_pause_us = control->guest_pause_us,
	};

	if (calls)
		*pace = pace_next(&input);
	/* What the guest felt is one measurement: it counts once. */
	control->guest_pause_us = 0;
}

static int run_lane(struct page_mover *mover, struct lane *lane)
{
	uint64_t calls = mover->counts.calls, call_ns = mover->counts.call_ns;
	char moved[SIZE_TEXT_SIZE];
	int rc;

	if (!lane->count)
		return 0;
	rc = check_guest(mover);
	if (!rc && !job_context_go(mover->context))
		rc = -ECANCELED;
	if (rc)
		return rc;
	rc = page_move_run(mover->move, lane->addresses, lane->count, lane->node_id, lane->outcomes,
			   &mover->counts);
	/* A process that ends meanwhile shows as EINVAL (mm/migrate.c find_mm_struct) or EPERM. */
	if (rc && process_identity_check(mover->context->sysroot, &mover->view->identity) == -ESRCH)
		return -ESRCH;
	/* The node or the cpuset refuses: its pages stay, with that for a reason; others may still
	 * go. */
	for (size_t i = 0; (rc == -EACCES || rc == -EPERM || rc == -ENODEV) && i < lane->count; i++)
		if (lane->outcomes[i] == PAGE_MOVE_NOT_TRIED)
			lane->outcomes[i] =
				rc == -ENODEV ? PAGE_MOVE_NO_ROOM : PAGE_MOVE_NOT_PERMITTED;
	book(mover, lane);
	if (rc == -EACCES || rc == -EPERM || rc == -ENODEV)
		rc = 0;
	set_pace(mover, lane, mover->counts.calls - calls, mover->counts.call_ns - call_ns);
	worker_control_progress(mover->context->control, mover->moved_bytes, mover->total_bytes,
				"moved %s to node %d", size_text_format(mover->moved_bytes, moved),
				lane->node_id);
	struct pace *pace = pace_of(mover, lane->page_bytes[0]);

	lane->count = 0;
	lane->bytes = 0;
	if (!rc && !job_context_wait(mover->context, pace->pause_us))
		rc = -ECANCELED;
	return rc;
}

static struct lane *lane_to(struct page_mover *mover, int node_id)
{
	if (!mover->lanes[node_id]) {
		mover->lanes[node_id] = calloc(1, sizeof(struct lane));
		if (mover->lanes[node_id])
			mover->lanes[node_id]->node_id = node_id;
	}
	return mover->lanes[node_id];
}

int page_mover_add(struct page_mover *mover, const struct page_survey_run *run, int node_id)
{
	struct lane *lane;

	if (node_id < 0 || node_id >= SNAPSHOT_NODES_MAX || run->node_id >= SNAPSHOT_NODES_MAX)
		return -EINVAL;
	lane = lane_to(mover, node_id);
	if (!lane)
		return -ENOMEM;
	for (uint64_t address = run->start; address < run->end; address += run->page_bytes) {
		lane->addresses[lane->count] = address;
		lane->page_bytes[lane->count] = run->page_bytes;
		lane->sources[lane->count] = (int8_t)(run->node_id < 0 ? 0 : run->node_id);
		lane->count++;
		lane->bytes += run->page_bytes;
		if (lane->count < LANE_PAGES &&
		    lane->bytes + run->page_bytes <=
			    pace_of(mover, lane->page_bytes[0])->batch_bytes)
			continue;
		int rc = run_lane(mover, lane);

		if (rc)
			return rc;
	}
	return 0;
}

int page_mover_flush(struct page_mover *mover)
{
	for (size_t i = 0; i < ARRAY_SIZE(mover->lanes); i++) {
		int rc = mover->lanes[i] ? run_lane(mover, mover->lanes[i]) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

const struct page_mover_tally *page_mover_tally(const struct page_mover *mover)
{
	return &mover->tally;
}

void page_mover_reset_tally(struct page_mover *mover)
{
	memset(&mover->tally, 0, sizeof(mover->tally));
}

uint64_t page_mover_moved_bytes(const struct page_mover *mover)
{
	return mover->moved_bytes;
}

const struct page_move_counts *page_mover_counts(const struct page_mover *mover)
{
	return &mover->counts;
}
