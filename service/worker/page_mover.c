/* SPDX-License-Identifier: Apache-2.0 */
#include "page_mover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "guest_view.h"
#include "huge_room.h"
#include "move_gate.h"
#include "pace.h"

/* Addresses of one call at most: 32 MiB of small pages. */
#define LANE_PAGES 8192
#define HUGE_BYTES     (UINT64_C(1) << 20)
#define GIGANTIC_BYTES (UINT64_C(1) << 30)

/* Pages of one size that wait to go from one node to another. */
struct lane {
	struct lane *next; /* owned */
	int source, destination;
	uint64_t page_bytes;
	bool is_transparent;
	size_t count;
	uint64_t addresses[LANE_PAGES];
	enum page_move_outcome outcomes[LANE_PAGES];
};

struct page_mover {
	struct page_mover_options options;
	struct page_survey *look; /* owned: the mover's second looks must not disturb a walk */
	struct page_move *move;	  /* owned */
	struct lane *lanes;	  /* owned; the last one used first */
	struct pace paces[PAGE_MOVER_CLASSES];
	struct page_move_ops ops;
	struct page_move_counts counts;
	struct page_mover_tally tally;
};

void page_mover_tally_add(struct page_mover_tally *to, const struct page_mover_tally *from)
{
	for (int class = 0; class < PAGE_MOVER_CLASSES; class ++)
		for (int outcome = 0; outcome < PAGE_MOVE_COUNT; outcome++)
			for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
				to->bytes[class][outcome][node] += from->bytes[class][outcome][node];
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		to->withheld_bytes[node] += from->withheld_bytes[node];
	to->split_bytes += from->split_bytes;
}

static bool should_stop(void *user)
{
	return !move_gate_is_open(((struct page_mover *)user)->options.gate);
}

static int may_touch(void *user)
{
	const struct page_mover_options *options = &((struct page_mover *)user)->options;

	return guest_view_check_userfaultfd(options->view, options->sysroot);
}

int page_mover_new(const struct page_mover_options *options, struct page_mover **ret_mover)
{
	CLEANUP(page_mover_freep) struct page_mover *mover = calloc(1, sizeof(*mover));
	struct page_survey_options survey = {.map = options->view->physical};
	pid_t pid = options->view->identity.pid;
	struct page_move_options move = {
		.pid = options->is_own ? 0 : pid,
		.batch_pages = LANE_PAGES,
		.should_stop = should_stop,
		.stop_user = mover,
		.may_touch = may_touch,
		.touch_user = mover,
	};
	int rc;

	if (!mover)
		return -ENOMEM;
	mover->options = *options;
	if (options->ops) {
		move.ops = *options->ops;
	} else {
		rc = page_survey_new(options->sysroot, options->is_own ? getpid() : pid, &survey, &mover->look);
		if (rc)
			return rc;
		move.ops = page_move_kernel_ops(mover->look);
	}
	if (options->is_own)
		move.ops.touch = NULL;
	mover->ops = move.ops;
	rc = page_move_new(&move, &mover->move);
	if (rc)
		return rc;
	*ret_mover = TAKE_PTR(mover);
	return 0;
}

struct page_mover *page_mover_free(struct page_mover *mover)
{
	if (!mover)
		return NULL;
	while (mover->lanes) {
		struct lane *lane = mover->lanes;

		mover->lanes = lane->next;
		free(lane);
	}
	page_move_free(mover->move);
	page_survey_free(mover->look);
	free(mover);
	return NULL;
}

static int class_of(uint64_t page_bytes)
{
	if (page_bytes >= GIGANTIC_BYTES)
		return 2;
	return page_bytes >= HUGE_BYTES ? 1 : 0;
}

static struct pace *pace_of(struct page_mover *mover, const struct lane *lane)
{
	return &mover->paces[class_of(lane->page_bytes)];
}

/* Of one lane. */
struct calls {
	uint64_t count; /* 0: none yet */
	uint64_t bytes, ns;
	bool is_other; /* see struct pace_input */
};

static void set_pace(struct page_mover *mover, const struct lane *lane, const struct calls *calls)
{
	struct pace *pace = pace_of(mover, lane);
	struct pace_input input = {
		.page_bytes = lane->page_bytes,
		.bytes_per_s = move_gate_bytes_per_s(mover->options.gate),
		.ease = move_gate_ease(mover->options.gate).level,
		.is_other = calls->is_other,
	};

	if (calls->count) {
		input.call_us = calls->ns / 1000 / calls->count;
		input.call_bytes = calls->bytes / calls->count;
	}
	*pace = pace_next(pace, &input);
}

/* A process number is not given away again while the process lives, and its pidfd says whether it does. */
static int check_guest(const struct page_mover *mover)
{
	const struct process_identity *identity = &mover->options.view->identity;
	struct pollfd end = {.fd = identity->pidfd, .events = POLLIN};
	int rc;

	if (identity->pidfd < 0)
		return process_identity_check(mover->options.sysroot, identity);
	rc = poll(&end, 1, 0);
	return rc < 0 ? -errno : rc > 0 ? -ESRCH : 0;
}

static int go_on(void *user)
{
	return move_gate_look(user);
}

/* A pause ends it, and it begins anew. What ends the move ends it, too; that a kernel cannot do it ends nothing. */
static int compact(struct page_mover *mover, int node_id)
{
	struct move_gate *gate = mover->options.gate;
	int rc;

	do {
		rc = huge_room_compact(mover->options.sysroot, node_id, go_on, gate);
	} while (rc == -EAGAIN && move_gate_pass(gate) == 0);
	if (!rc)
		move_gate_compacted(gate);
	rc = move_gate_look(gate);
	return rc == -EAGAIN ? 0 : rc;
}

/*
 * Where the destination has no room for huge pages the kernel splits them, and moves the pieces (mm/migrate.c
 * migrate_pages). Cuts the lane to what there is room for, after a compaction if need be; the rest stays whole, unless it
 * may be split. 0, or what ended the move meanwhile.
 */
static int withhold(struct page_mover *mover, struct lane *lane)
{
	const struct sysroot *sysroot = mover->options.sysroot;
	uint64_t room;

	if (!lane->is_transparent || huge_room_read(sysroot, lane->destination, lane->page_bytes, &room))
		return 0;
	if (room < lane->count && move_gate_may_compact(mover->options.gate, lane->destination)) {
		int rc = compact(mover, lane->destination);

		if (rc)
			return rc;
		if (huge_room_read(sysroot, lane->destination, lane->page_bytes, &room))
			return 0;
	}
	if (room < lane->count && !mover->options.may_split) {
		mover->tally.withheld_bytes[lane->source] += (lane->count - room) * lane->page_bytes;
		lane->count = (size_t)room;
	}
	return 0;
}

/* Of the lane's pages from that one on. Returns the bytes that moved. */
static uint64_t book(struct page_mover *mover, const struct lane *lane, size_t first)
{
	uint64_t moved = 0;

	for (size_t i = first; i < lane->count; i++) {
		mover->tally.bytes[class_of(lane->page_bytes)][lane->outcomes[i]][lane->source] += lane->page_bytes;
		if (lane->outcomes[i] != PAGE_MOVE_MOVED)
			continue;
		moved += lane->page_bytes;
		if (lane->is_transparent && mover->ops.is_huge &&
		    mover->ops.is_huge(mover->ops.user, mover->options.view->identity.pid, lane->addresses[i]) == 0)
			mover->tally.split_bytes += lane->page_bytes;
	}
	return moved;
}

/* Likewise. Each page has an outcome then. 0, what page_move_run() said, or -ESRCH: the guest is gone. */
static int call(struct page_mover *mover, struct lane *lane, size_t first)
{
	int rc = check_guest(mover);

	for (size_t i = first; rc && i < lane->count; i++)
		lane->outcomes[i] = PAGE_MOVE_NOT_TRIED;
	if (rc)
		return rc;
	rc = page_move_run(mover->move, lane->addresses + first, lane->count - first, lane->destination,
			   lane->outcomes + first, &mover->counts);
	/* A process that ends meanwhile shows as EINVAL (mm/migrate.c find_mm_struct) or EPERM. */
	if (rc && process_identity_check(mover->options.sysroot, &mover->options.view->identity) == -ESRCH)
		return -ESRCH;
	return rc;
}

/* One call, of the last pages in the lane; it is shorter by these then. */
static int run_call(struct page_mover *mover, struct lane *lane)
{
	struct move_gate *gate = mover->options.gate;
	struct page_move_counts before = mover->counts;
	uint64_t bytes = lane->count * lane->page_bytes, moved;
	struct calls calls;
	size_t first = 0;
	int rc;

	rc = move_gate_enter(gate, lane->source, lane->destination, bytes);
	if (rc)
		return rc;
	calls.is_other = move_gate_is_trying(gate);
	if (move_gate_is_careful(gate))
		first = lane->count - (lane->count + PACE_FIRST_PART - 1) / PACE_FIRST_PART;
	rc = call(mover, lane, first);
	calls.is_other |= move_gate_is_trying(gate);
	/* The node or the cpuset refuses: its pages stay, with that for a reason; others may still
	 * go. */
	for (size_t i = first; (rc == -EACCES || rc == -EPERM || rc == -ENODEV) && i < lane->count; i++)
		if (lane->outcomes[i] == PAGE_MOVE_NOT_TRIED)
			lane->outcomes[i] =
				rc == -ENODEV ? PAGE_MOVE_NO_ROOM : PAGE_MOVE_NOT_PERMITTED;
	moved = book(mover, lane, first);
	move_gate_leave(gate, lane->source, lane->destination, bytes, moved);
	if (rc == -EACCES || rc == -EPERM || rc == -ENODEV)
		rc = 0;
	calls.count = mover->counts.calls - before.calls;
	calls.bytes = (lane->count - first) * lane->page_bytes;
	calls.ns = mover->counts.call_ns - before.call_ns;
	if (calls.count)
		set_pace(mover, lane, &calls);
	lane->count = first;
	return rc ? rc : move_gate_wait(gate, pace_of(mover, lane)->pause_us);
}

static int run_lane(struct page_mover *mover, struct lane *lane)
{
	int rc = withhold(mover, lane);

	while (!rc && lane->count > 0)
		rc = run_call(mover, lane);
	return rc;
}

static struct lane *lane_of(struct page_mover *mover, const struct page_survey_run *run, int node_id)
{
	struct lane **link = &mover->lanes, *lane;

	for (lane = *link; lane; link = &lane->next, lane = *link)
		if (lane->source == run->node_id && lane->destination == node_id &&
		    lane->page_bytes == run->page_bytes && lane->is_transparent == run->is_transparent)
			break;
	if (lane) {
		*link = lane->next;
	} else {
		lane = calloc(1, sizeof(*lane));
		if (!lane)
			return NULL;
		lane->source = run->node_id;
		lane->destination = node_id;
		lane->page_bytes = run->page_bytes;
		lane->is_transparent = run->is_transparent;
	}
	lane->next = mover->lanes;
	mover->lanes = lane;
	return lane;
}

int page_mover_add(struct page_mover *mover, const struct page_survey_run *run, int node_id)
{
	struct lane *lane;

	if (node_id < 0 || node_id >= SNAPSHOT_NODES_MAX || run->node_id < 0 || run->node_id >= SNAPSHOT_NODES_MAX)
		return -EINVAL;
	lane = lane_of(mover, run, node_id);
	if (!lane)
		return -ENOMEM;
	if (!pace_of(mover, lane)->batch_bytes)
		set_pace(mover, lane, &(struct calls){0});
	for (uint64_t address = run->start; address < run->end; address += run->page_bytes) {
		lane->addresses[lane->count++] = address;
		if (lane->count < LANE_PAGES &&
		    (lane->count + 1) * lane->page_bytes <= pace_of(mover, lane)->batch_bytes)
			continue;
		int rc = run_lane(mover, lane);

		if (rc)
			return rc;
	}
	return 0;
}

int page_mover_flush(struct page_mover *mover)
{
	for (struct lane *lane = mover->lanes; lane; lane = lane->next) {
		int rc = run_lane(mover, lane);

		if (rc)
			return rc;
	}
	return 0;
}

const struct page_mover_tally *page_mover_tally(const struct page_mover *mover)
{
	return &mover->tally;
}

void page_mover_reset(struct page_mover *mover)
{
	memset(&mover->tally, 0, sizeof(mover->tally));
	for (struct lane *lane = mover->lanes; lane; lane = lane->next)
		lane->count = 0;
}

const struct page_move_counts *page_mover_counts(const struct page_mover *mover)
{
	return &mover->counts;
}
