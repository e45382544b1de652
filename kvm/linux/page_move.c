/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch at a time:
 *
 *   pending addresses -> call on the first `chunk` of them -> judge each page of the call
 *        ^                                                          |
 *        +---- unfinished: again, or a smaller chunk ---------------+--> outcome
 *
 * What a call of mm/migrate.c do_pages_move() leaves behind:
 *  - 0: every status is written.
 *  - positive: so many pages were tried in vain or never tried.
 *  - -ENOMEM: the destination is full; likewise.
 *  - another negative: nothing at all may be done for this process or this node.
 * Pages are queued, and the queue is flushed at a page with a status of its own (already there,
 * missing, not ours), which is written first, and at the end. A flush that succeeds writes the
 * statuses of its pages, one that fails writes none and ends the call. So unwritten pages in front
 * of a written one were tried and failed, or moved without a word; then those behind the last
 * written one never had their turn. Where all unwritten pages are at the end, they are the group
 * that failed.
 *
 * Every round resolves a page, uses up one of a page's tries, or halves the chunk: it ends.
 */
#include "page_move.h"

#include <limits.h>
#include <string.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "clock.h"
#include "page_survey.h"

/* No errno and no node: the kernel has not written here. */
#define STATUS_UNWRITTEN INT_MIN
#define BATCH_DEFAULT	 1024
/* A batch with some bad pages takes three calls; the rest is for splitting. */
#define CALLS_DEFAULT	64
#define CALLS_PER_BATCH 4
/* The kernel itself tries a busy page ten times within one call; once more catches a passing user.
 */
#define TRIES_MAX 2
/* Pages of one process_vm_readv(2); the kernel takes four times as many. */
#define TOUCH_MAX 256

static const char *const outcome_names[PAGE_MOVE_COUNT] = {
	[PAGE_MOVE_NOT_TRIED] = "not_tried",
	[PAGE_MOVE_MOVED] = "moved",
	[PAGE_MOVE_ALREADY_THERE] = "already_there",
	[PAGE_MOVE_ABSENT] = "absent",
	[PAGE_MOVE_BUSY] = "busy",
	[PAGE_MOVE_NOT_PERMITTED] = "not_permitted",
	[PAGE_MOVE_NO_ROOM] = "no_room",
	[PAGE_MOVE_FAULT] = "fault",
};
NAME_TABLE_DEFINE(page_move_outcome, outcome_names)

struct page_move {
	struct page_move_options options;
	size_t room; /* of the arrays below */
	/* The arguments of a call, owned. */
	void **addresses;
	int *nodes;
	int *status;
	/* One batch, by position in it, owned. */
	size_t *pending;
	unsigned char *tries;
	bool *is_touched;
	enum page_move_outcome *outcomes; /* where the caller wants none */
	/* Pages of a call to be looked at or read, owned. */
	uint64_t *asked;
	int *places;
};

/* The batch in work. */
struct batch {
	const uint64_t *addresses;
	size_t count;
	int node_id;
	enum page_move_outcome *outcomes;
	size_t pending_count;
	size_t chunk;
	size_t *calls_left;
	struct page_move_counts *counts;
};

static long kernel_move(void *user, pid_t pid, size_t count, void *const *addresses,
			const int *nodes, int *status)
{
	long left = syscall(SYS_move_pages, pid, count, addresses, nodes, status, MPOL_MF_MOVE_ALL);

	return left < 0 ? -errno : left;
}

static int kernel_look(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places)
{
	return user ? page_survey_places(user, addresses, count, places) : -EOPNOTSUPP;
}

static void kernel_touch(void *user, pid_t pid, const uint64_t *addresses, size_t count)
{
	char bytes[TOUCH_MAX];
	struct iovec remote[TOUCH_MAX];

	if (!pid)
		pid = getpid();
	while (count > 0) {
		size_t part = count < TOUCH_MAX ? count : TOUCH_MAX;
		struct iovec local = {.iov_base = bytes, .iov_len = part};
		ssize_t got;

		for (size_t i = 0; i < part; i++)
			remote[i] = (struct iovec){.iov_base = (void *)(uintptr_t)addresses[i],
						   .iov_len = 1};
		got = process_vm_readv(pid, &local, 1, remote, part, 0);
		/* It ends at the first that cannot be read. */
		part = got < 0 ? 1 : (size_t)got < part ? (size_t)got + 1 : part;
		addresses += part;
		count -= part;
	}
}

static int kernel_is_huge(void *user, pid_t pid, uint64_t address)
{
	return user ? page_survey_is_huge(user, address) : -EOPNOTSUPP;
}

static uint64_t kernel_now_ns(void *user)
{
	return monotonic_ns();
}

struct page_move_ops page_move_kernel_ops(struct page_survey *survey)
{
	return (struct page_move_ops){
		.move = kernel_move,
		.look = kernel_look,
		.touch = kernel_touch,
		.is_huge = kernel_is_huge,
		.now_ns = kernel_now_ns,
		.user = survey,
	};
}

int page_move_new(const struct page_move_options *options, struct page_move **ret_move)
{
	CLEANUP(page_move_freep) struct page_move *move = calloc(1, sizeof(*move));

	if (!move)
		return -ENOMEM;
	move->options = *options;
	if (!move->options.batch_pages)
		move->options.batch_pages = BATCH_DEFAULT;
	if (move->options.batch_pages > PAGE_MOVE_BATCH_MAX)
		return -EINVAL;
	*ret_move = TAKE_PTR(move);
	return 0;
}

static void free_arrays(struct page_move *move)
{
	free(move->addresses);
	free(move->nodes);
	free(move->status);
	free(move->pending);
	free(move->tries);
	free(move->is_touched);
	free(move->outcomes);
	free(move->asked);
	free(move->places);
	move->asked = NULL;
	move->places = NULL;
	move->addresses = NULL;
	move->nodes = move->status = NULL;
	move->pending = NULL;
	move->tries = NULL;
	move->is_touched = NULL;
	move->outcomes = NULL;
	move->room = 0;
}

struct page_move *page_move_free(struct page_move *move)
{
	if (move)
		free_arrays(move);
	free(move);
	return NULL;
}

void page_move_set_batch(struct page_move *move, size_t batch_pages)
{
	if (batch_pages < 1)
		batch_pages = 1;
	if (batch_pages > PAGE_MOVE_BATCH_MAX)
		batch_pages = PAGE_MOVE_BATCH_MAX;
	move->options.batch_pages = batch_pages;
}

static int make_room(struct page_move *move)
{
	size_t room = move->options.batch_pages;

	if (move->room >= room)
		return 0;
	free_arrays(move);
	move->addresses = calloc(room, sizeof(*move->addresses));
	move->nodes = calloc(room, sizeof(*move->nodes));
	move->status = calloc(room, sizeof(*move->status));
	move->pending = calloc(room, sizeof(*move->pending));
	move->tries = calloc(room, sizeof(*move->tries));
	move->is_touched = calloc(room, sizeof(*move->is_touched));
	move->outcomes = calloc(room, sizeof(*move->outcomes));
	move->asked = calloc(room, sizeof(*move->asked));
	move->places = calloc(room, sizeof(*move->places));
	if (!move->addresses || !move->nodes || !move->status || !move->pending || !move->tries ||
	    !move->is_touched || !move->outcomes || !move->asked || !move->places)
		return -ENOMEM;
	move->room = room;
	return 0;
}

/* A look that failed, or that there is no way to. */
#define PLACE_UNSEEN (-3)

/* Where the first count of move->asked are. */
static void look(struct page_move *move, size_t count)
{
	const struct page_move_ops *ops = &move->options.ops;

	if (count == 0)
		return;
	if (ops->look &&
	    ops->look(ops->user, move->options.pid, move->asked, count, move->places) == 0)
		return;
	for (size_t i = 0; i < count; i++)
		move->places[i] = PLACE_UNSEEN;
}

static bool is_present(int place)
{
	return place >= PAGE_SURVEY_PLACE_UNKNOWN;
}

/* One call on the first count pending pages; fills move->status. */
static long call(struct page_move *move, struct batch *batch, size_t count)
{
	const struct page_move_ops *ops = &move->options.ops;
	uint64_t began, took;
	long left;

	for (size_t i = 0; i < count; i++) {
		move->addresses[i] = (void *)(uintptr_t)batch->addresses[move->pending[i]];
		move->nodes[i] = batch->node_id;
		move->status[i] = STATUS_UNWRITTEN;
	}
	began = ops->now_ns(ops->user);
	left = ops->move(ops->user, move->options.pid, count, move->addresses, move->nodes,
			 move->status);
	took = ops->now_ns(ops->user) - began;
	batch->counts->calls++;
	batch->counts->call_ns += took;
	if (took > batch->counts->longest_call_ns)
		batch->counts->longest_call_ns = took;
	if (left < 0)
		batch->counts->last_error = (int)left;
	(*batch->calls_left)--;
	return left;
}

/* What ends the work, as opposed to what says that some pages did not go. */
static bool is_refusal(long left)
{
	switch (-left) {
	case ENOMEM:
	case EAGAIN:
	case EBUSY:
	case EIO:
	case EINTR:
		return false;
	}
	return left < 0;
}

static bool is_missing(int status)
{
	return status == -ENOENT || status == -EFAULT;
}

/*
 * A page that the kernel did not find. True where it is to be tried again: present and not found, because AutoNUMA has
 * taken the rights from its entry. A read gives them back.
 */
static bool judge_missing(struct page_move *move, size_t at, int status, int place,
			  enum page_move_outcome *ret_outcome)
{
	*ret_outcome = status == -ENOENT ? PAGE_MOVE_ABSENT : PAGE_MOVE_FAULT;
	if (!is_present(place))
		return false;
	if (!move->is_touched[at] && move->options.ops.touch)
		return true;
	*ret_outcome = status == -ENOENT ? PAGE_MOVE_BUSY : PAGE_MOVE_FAULT;
	return false;
}

/* A page whose status was written. True where it is to be tried again. */
static bool judge_status(struct page_move *move, struct batch *batch, size_t at, int status,
			 int place, enum page_move_outcome *ret_outcome)
{
	if (status == batch->node_id) {
		*ret_outcome = PAGE_MOVE_MOVED;
		return false;
	}
	switch (-status) {
	case ENOENT:
	case EFAULT:
		return judge_missing(move, at, status, place, ret_outcome);
	case EACCES:
	case EPERM:
		*ret_outcome = PAGE_MOVE_NOT_PERMITTED;
		return false;
	case ENOMEM:
		*ret_outcome = PAGE_MOVE_NO_ROOM;
		break;
	case EINVAL:
	case ENODEV:
		*ret_outcome = PAGE_MOVE_FAULT;
		return false;
	default:
		*ret_outcome = PAGE_MOVE_BUSY;
		break;
	}
	return ++move->tries[at] < TRIES_MAX;
}

/*
 * A page without a status. was_tried: it was in the group that failed, for certain.
 * True where it is to be tried again.
 */
static bool judge_unwritten(struct page_move *move, struct batch *batch, size_t at, long left,
			    bool was_tried, bool is_alone, int place,
			    enum page_move_outcome *ret_outcome)
{
	if (place == PAGE_SURVEY_PLACE_ABSENT) {
		*ret_outcome = PAGE_MOVE_ABSENT;
		return false;
	}
	if (place == batch->node_id) {
		*ret_outcome = PAGE_MOVE_MOVED;
		return false;
	}
	*ret_outcome = left == -ENOMEM ? PAGE_MOVE_NO_ROOM : PAGE_MOVE_BUSY;
	if (is_alone)
		return ++move->tries[at] < TRIES_MAX;
	/* In a group it counts as tried only if it is known not to have moved. */
	if (was_tried && place >= 0)
		return ++move->tries[at] < TRIES_MAX;
	return true;
}

/*
 * Reads the first count of move->asked, if that may be and where they are present still. They are marked by the caller.
 */
static int touch(struct page_move *move, struct batch *batch, size_t count)
{
	const struct page_move_ops *ops = &move->options.ops;
	size_t kept = 0;
	int rc;

	if (count == 0)
		return 0;
	rc = move->options.may_touch ? move->options.may_touch(move->options.touch_user) : 0;
	if (rc < 0)
		return rc;
	look(move, count);
	for (size_t i = 0; i < count; i++)
		if (is_present(move->places[i]))
			move->asked[kept++] = move->asked[i];
	if (kept)
		ops->touch(ops->user, move->options.pid, move->asked, kept);
	batch->counts->touched += kept;
	return 0;
}

/* How many pages at the front of a call had their turn (see the head of this file). */
static size_t count_tried(const struct page_move *move, size_t count)
{
	size_t end = count;

	while (end > 0 && move->status[end - 1] == STATUS_UNWRITTEN)
		end--;
	for (size_t i = 0; i < end; i++)
		if (move->status[i] == STATUS_UNWRITTEN)
			return end;
	return count;
}

/* Judges the pages of a call and keeps the unfinished ones pending, in order, before those not yet
 * called. 0, or what may_touch said. */
static int judge_call(struct page_move *move, struct batch *batch, size_t count, long left)
{
	size_t tried = count_tried(move, count), kept = 0, asked = 0, touched = 0;
	bool is_progress = false;

	for (size_t i = 0; i < count; i++)
		if (move->status[i] == STATUS_UNWRITTEN || is_missing(move->status[i]))
			move->asked[asked++] = batch->addresses[move->pending[i]];
	look(move, asked);
	asked = 0;
	for (size_t i = 0; i < count; i++) {
		size_t at = move->pending[i];
		unsigned char tries = move->tries[at];
		enum page_move_outcome outcome;
		bool is_unwritten = move->status[i] == STATUS_UNWRITTEN, is_again;
		bool was_missing = !is_unwritten && is_missing(move->status[i]);
		int place = is_unwritten || was_missing ? move->places[asked++] : PLACE_UNSEEN;

		if (is_unwritten)
			is_again = judge_unwritten(move, batch, at, left, i < tried, count == 1,
						   place, &outcome);
		else
			is_again = judge_status(move, batch, at, move->status[i], place, &outcome);
		if (is_again && was_missing) {
			move->is_touched[at] = true;
			is_progress = true;
			/* What was asked before it has been used. */
			move->asked[touched++] = batch->addresses[at];
		}
		if (is_again)
			move->pending[kept++] = at;
		else
			batch->outcomes[at] = outcome;
		if (!is_again || tries != move->tries[at])
			is_progress = true;
	}
	memmove(move->pending + kept, move->pending + count,
		(batch->pending_count - count) * sizeof(*move->pending));
	batch->pending_count -= count - kept;
	if (!is_progress)
		batch->chunk = count / 2 ? count / 2 : 1;
	else if (kept == 0 && batch->chunk < batch->count)
		batch->chunk *= 2;
	return touch(move, batch, touched);
}

/* Leaves out what needs no call. */
static void look_first(struct page_move *move, struct batch *batch)
{
	size_t kept = 0;

	for (size_t i = 0; i < batch->pending_count; i++)
		move->asked[i] = batch->addresses[move->pending[i]];
	look(move, batch->pending_count);
	for (size_t i = 0; i < batch->pending_count; i++) {
		size_t at = move->pending[i];

		if (move->places[i] == PAGE_SURVEY_PLACE_ABSENT)
			batch->outcomes[at] = PAGE_MOVE_ABSENT;
		else if (move->places[i] == batch->node_id)
			batch->outcomes[at] = PAGE_MOVE_ALREADY_THERE;
		else
			move->pending[kept++] = at;
	}
	batch->pending_count = kept;
}

static int run_batch(struct page_move *move, struct batch *batch)
{
	int error = 0;

	for (size_t i = 0; i < batch->count; i++) {
		move->pending[i] = i;
		move->tries[i] = 0;
		move->is_touched[i] = false;
		batch->outcomes[i] = PAGE_MOVE_NOT_TRIED;
	}
	batch->pending_count = batch->chunk = batch->count;
	if (move->options.look_first)
		look_first(move, batch);
	while (batch->pending_count > 0 && *batch->calls_left > 0) {
		size_t count =
			batch->chunk < batch->pending_count ? batch->chunk : batch->pending_count;
		long left;

		if (move->options.should_stop &&
		    move->options.should_stop(move->options.stop_user)) {
			*batch->calls_left = 0; /* for the batches to come as well */
			break;
		}
		left = call(move, batch, count);
		if (is_refusal(left)) {
			error = (int)left;
			break;
		}
		error = judge_call(move, batch, count, left);
		if (error < 0)
			break;
	}
	for (size_t i = 0; i < batch->pending_count; i++) {
		size_t at = move->pending[i];

		if (error == -EACCES || error == -EPERM)
			batch->outcomes[at] = PAGE_MOVE_NOT_PERMITTED;
		else if (move->tries[at] > 0)
			batch->outcomes[at] = PAGE_MOVE_BUSY;
	}
	for (size_t i = 0; i < batch->count; i++)
		batch->counts->pages[batch->outcomes[i]]++;
	return error;
}

int page_move_run(struct page_move *move, const uint64_t *addresses, size_t count, int node_id,
		  enum page_move_outcome *outcomes, struct page_move_counts *counts)
{
	size_t batch_pages = move->options.batch_pages, done = 0,
	       calls_left = move->options.call_limit;
	int error = make_room(move);

	if (error < 0)
		return error;
	if (!calls_left)
		calls_left = CALLS_DEFAULT + CALLS_PER_BATCH * (count / batch_pages + 1);
	while (done < count && error == 0) {
		struct batch batch = {
			.addresses = addresses + done,
			.count = count - done < batch_pages ? count - done : batch_pages,
			.node_id = node_id,
			.outcomes = outcomes ? outcomes + done : move->outcomes,
			.calls_left = &calls_left,
			.counts = counts,
		};

		error = run_batch(move, &batch);
		done += batch.count;
	}
	/* A refusal leaves the batches behind it untried. */
	counts->pages[PAGE_MOVE_NOT_TRIED] += count - done;
	for (size_t i = done; outcomes && i < count; i++)
		outcomes[i] = PAGE_MOVE_NOT_TRIED;
	return error;
}
