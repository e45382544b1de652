/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   caller: start threads -> listen, pass it to the gate, watch the guest, tell progress -> all have ended -> join, add up
 *   thread: take a piece -> survey it -> run by run: count it, or give it to the mover -> next piece -> flush -> ended
 *
 * A thread has its own survey and mover, and writes nowhere else but through the gate. What they found is added up after
 * they have been joined.
 */
#include "move_crew.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include "backing_window.h"
#include "clock.h"
#include "guest_view.h"
#include "job_context.h"
#include "move_gate.h"
#include "mover_cpus.h"
#include "page_heat.h"
#include "size_text.h"
#include "vcpu_thread.h"

/* How often the caller's thread looks round while nobody says anything. */
#define LISTEN_US 100000
/*
 * How often it is looked whether the guest has opened a userfaultfd: that reads a link for each of its descriptors. What
 * must not be done to such a guest, reading its pages, is preceded by a look of its own (page_move_options.may_touch);
 * this one only ends the work in good time. So it may take no more than a fiftieth of the time.
 */
#define WATCH_MS    250
#define WATCH_SHARE 50

struct member {
	struct move_crew *crew;
	pthread_t thread;
	struct page_heat *heat;	    /* owned; NULL: heat is not told */
	struct page_survey *survey; /* owned */
	struct page_mover *mover;   /* owned */
	struct move_found found;
	/* A view of the guest's files, and the same for it; owned, made when needed. */
	struct backing_window *window;
	struct page_survey *own_survey;
	struct page_mover *own_mover;
};

enum task { TASK_COUNT, TASK_MOVE, TASK_MOVE_UNMAPPED };

struct move_crew {
	struct move_crew_options options;
	struct move_gate *gate; /* owned */
	int ended_fd;		/* owned; can be read once a thread has ended */
	struct member *members; /* owned */
	unsigned member_count;
	struct move_found found;
	struct page_mover_tally tally;
	uint64_t split_bytes;
	uint64_t watch_at_ms;
	struct vcpu_thread_list processors; /* of the guest; owned */
	/* Of the look or move under way. */
	const struct move_piece *pieces;
	size_t piece_count;
	atomic_size_t next_piece;
	enum task task;
	enum move_heat heat;
	atomic_uint running;
};

/* How busy the guest is, where that is known: a process without such threads is moved like one that is idle. */
static void note_load(struct move_crew *crew)
{
	struct pace_load load = {.processors = (unsigned)crew->processors.count};

	load.at_us = monotonic_us();
	if (vcpu_thread_list_read_time(crew->options.context->sysroot, crew->options.view->identity.pid,
				       &crew->processors, &load.used_us) < 0)
		load.processors = 0;
	move_gate_note_load(crew->gate, &load);
}

int move_crew_new(const struct move_crew_options *options, struct move_crew **ret_crew)
{
	CLEANUP(move_crew_freep) struct move_crew *crew = calloc(1, sizeof(*crew));
	const struct job_context *context = options->context;
	struct page_survey_options survey = {
		.map = options->view->physical,
		.targets = options->targets,
		.target_count = options->target_count,
	};
	struct page_mover_options mover = {
		.sysroot = context->sysroot,
		.view = options->view,
		.ops = context->move_ops,
		.may_split = context->job->step.may_split,
	};
	unsigned threads = options->threads ? options->threads : 1;
	int rc;

	if (!crew)
		return -ENOMEM;
	crew->options = *options;
	crew->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (crew->ended_fd < 0)
		return -errno;
	if (threads > MOVE_CREW_MAX)
		threads = MOVE_CREW_MAX;
	rc = move_gate_new(context->control, &context->job->step, &crew->gate);
	if (rc)
		return rc;
	mover.gate = crew->gate;
	crew->members = calloc(threads, sizeof(*crew->members));
	if (!crew->members)
		return -ENOMEM;
	for (unsigned i = 0; i < threads; i++) {
		struct member *member = &crew->members[i];

		member->crew = crew;
		crew->member_count = i + 1;
		rc = page_survey_new(context->sysroot, options->view->identity.pid, &survey, &member->survey);
		if (!rc)
			rc = page_mover_new(&mover, &member->mover);
		if (rc)
			return rc;
	}
	/* Without them it is not known how busy the guest is. One thread is one whatever the guest does. */
	if (threads > 1 && vcpu_thread_list_read(context->sysroot, options->view->identity.pid, &crew->processors) < 0)
		crew->processors.count = 0;
	note_load(crew);
	*ret_crew = TAKE_PTR(crew);
	return 0;
}

struct move_crew *move_crew_free(struct move_crew *crew)
{
	if (!crew)
		return NULL;
	for (unsigned i = 0; i < crew->member_count; i++) {
		page_mover_free(crew->members[i].mover);
		page_survey_free(crew->members[i].survey);
		page_heat_free(crew->members[i].heat);
		page_mover_free(crew->members[i].own_mover);
		page_survey_free(crew->members[i].own_survey);
		backing_window_free(crew->members[i].window);
	}
	free(crew->members);
	move_gate_free(crew->gate);
	vcpu_thread_list_done(&crew->processors);
	if (crew->ended_fd >= 0)
		close(crew->ended_fd);
	free(crew);
	return NULL;
}

/* Pages with one destination. 0, or what ends the thread's work. */
static int visit_part(struct member *member, const struct page_survey_run *run, const struct move_place *place)
{
	member->found.stray_bytes += place->stray_bytes;
	if (place->node < 0)
		return 0;
	member->found.left_bytes[run->node_id] += run->end - run->start;
	if (member->crew->heat != MOVE_HEAT_ANY && run->is_hot != (member->crew->heat == MOVE_HEAT_HOT))
		return 0;
	return member->crew->task == TASK_MOVE ? page_mover_add(member->mover, run, place->node) : 0;
}

/* One run. Likewise. */
static int visit(struct member *member, const struct move_piece *piece, const struct page_survey_run *run)
{
	const struct move_crew_options *options = &member->crew->options;
	const struct guest_range *range = &options->view->map.ranges[piece->index];
	struct page_survey_run part = *run;
	uint64_t bytes = run->end - run->start;
	int rc = 0;

	if (run->state == PAGE_SURVEY_SWAPPED)
		member->found.swapped_bytes += bytes;
	if (run->state != PAGE_SURVEY_PRESENT || run->node_id < 0 || run->node_id >= SNAPSHOT_NODES_MAX)
		return 0;
	if (range->is_shmem)
		member->found.shared_bytes[run->node_id] += bytes;
	else if (range->backing == GUEST_BACKING_HUGETLB && range->is_shared)
		member->found.hugetlb_bytes += bytes;
	for (; !rc && part.start < run->end; part.start = part.end) {
		struct move_place place;

		part.end = run->end;
		place = options->destination(options->user, piece, &part);
		part.end = place.end;
		rc = visit_part(member, &part, &place);
	}
	return rc;
}

/* Walks the piece by the guest's page table. */
static int work_on(struct member *member, const struct move_piece *piece)
{
	struct move_crew *crew = member->crew;
	struct page_survey_run run;
	int rc = page_survey_begin(member->survey, &piece->range);

	while (!rc && (rc = page_survey_next(member->survey, &run)) > 0) {
		rc = visit(member, piece, &run);
		if (!rc && !move_gate_is_open(crew->gate))
			rc = move_gate_error(crew->gate);
	}
	return rc;
}

static int open_window(struct member *member)
{
	const struct move_crew_options *options = &member->crew->options;
	struct page_survey_options survey = {
		.map = options->view->physical,
		.targets = options->targets,
		.target_count = options->target_count,
	};
	struct page_mover_options mover = {
		.sysroot = options->context->sysroot,
		.view = options->view,
		.ops = options->context->move_ops,
		.gate = member->crew->gate,
		.may_split = options->context->job->step.may_split,
		.is_own = true,
	};
	int rc = member->window ? 0 : backing_window_new(&member->window);

	if (!rc && !member->own_survey)
		rc = page_survey_new(options->context->sysroot, getpid(), &survey, &member->own_survey);
	if (!rc && !member->own_mover)
		rc = page_mover_new(&mover, &member->own_mover);
	return rc;
}

/* A run of the window, which the destination is asked of by where it lies in the guest. */
static int visit_own(struct member *member, const struct move_piece *piece, const struct page_survey_range *range,
		     const struct page_survey_run *run, bool move)
{
	const struct move_crew_options *options = &member->crew->options;
	uint64_t shift = piece->range.start - range->start;
	struct page_survey_run own = *run, guest = *run;
	int rc = 0;

	for (; !rc && own.start < run->end; own.start = own.end) {
		struct move_place place;

		guest.start = own.start + shift;
		guest.end = run->end + shift;
		place = options->destination(options->user, piece, &guest);
		own.end = place.end - shift;
		if (place.node >= 0 && move)
			rc = page_mover_add(member->own_mover, &own, place.node);
		else if (place.node >= 0)
			member->found.unmapped_bytes[run->node_id] += own.end - own.start;
		if (!move)
			member->found.stray_bytes += place.stray_bytes;
	}
	return rc;
}

/* What the window shows. move: to the mover; else counted as left. */
static int walk_window(struct member *member, const struct move_piece *piece, const struct page_survey_range *range,
		       bool move)
{
	struct page_survey_run run;
	int rc = page_survey_begin(member->own_survey, range);

	while (!rc && (rc = page_survey_next(member->own_survey, &run)) > 0) {
		rc = run.state == PAGE_SURVEY_PRESENT && run.node_id >= 0 && run.node_id < SNAPSHOT_NODES_MAX
			     ? visit_own(member, piece, range, &run, move)
			     : 0;
	}
	return rc || !move ? rc : page_mover_flush(member->own_mover);
}

static int go_on(void *user)
{
	const struct move_crew *crew = user;

	return move_gate_is_open(crew->gate) ? 0 : move_gate_error(crew->gate);
}

static int work_on_unmapped(struct member *member, const struct move_piece *piece)
{
	const struct move_crew_options *options = &member->crew->options;
	const struct guest_range *range = &options->view->map.ranges[piece->index];
	struct page_survey_range own = {.page_bytes = piece->range.page_bytes};
	uint64_t length = piece->range.end - piece->range.start;
	uint64_t offset = range->offset + piece->range.start - range->start;
	struct backing_window_found found = {0};
	CLEANUP_CLOSE int fd = -1;
	int rc;

	if (!guest_range_has_window(range))
		return 0;
	rc = open_window(member);
	if (rc)
		return rc;
	fd = guest_map_open_backing(options->context->sysroot, options->view->identity.pid, range, NULL);
	if (fd < 0)
		return fd == -ENOENT || fd == -ESTALE ? 0 : fd;
	rc = backing_window_map(member->window, fd, own.page_bytes, offset, length, &own.start);
	if (rc)
		return rc;
	own.end = own.start + length;
	rc = backing_window_fill_absent(member->window, member->survey, &piece->range, offset, go_on, member->crew, &found);
	member->found.swapped_bytes += found.swapped_bytes;
	if (!rc && found.mapped_bytes)
		rc = walk_window(member, piece, &own, true);
	if (!rc && found.mapped_bytes)
		rc = walk_window(member, piece, &own, false);
	backing_window_unmap(member->window);
	return rc;
}

static int take_pieces(struct member *member)
{
	struct move_crew *crew = member->crew;
	size_t at;
	int rc = 0;

	while (!rc && (at = atomic_fetch_add(&crew->next_piece, 1)) < crew->piece_count)
		rc = crew->task == TASK_MOVE_UNMAPPED ? work_on_unmapped(member, &crew->pieces[at])
						      : work_on(member, &crew->pieces[at]);
	if (!rc && crew->task == TASK_MOVE)
		rc = page_mover_flush(member->mover);
	return rc;
}

static void *work(void *argument)
{
	struct member *member = argument;
	struct move_crew *crew = member->crew;
	uint64_t one = 1;
	int rc = take_pieces(member);

	if (rc)
		move_gate_shut(crew->gate, rc);
	atomic_fetch_sub(&crew->running, 1);
	/* Where it is full the caller has been woken already. */
	if (write(crew->ended_fd, &one, sizeof(one)) < 0)
		return NULL;
	return NULL;
}

/* Starts as many as there is work for; at least one, or -errno. */
static int start(struct move_crew *crew, pthread_t *threads, unsigned *ret_count)
{
	const struct job_context *context = crew->options.context;
	unsigned wanted = crew->piece_count < crew->member_count ? (unsigned)crew->piece_count : crew->member_count;
	sigset_t all, old;
	cpu_set_t cpus;
	bool is_near;
	int rc = 0;

	/* A look alone is short, and copies nothing. */
	is_near = crew->task != TASK_COUNT && mover_cpus_choose(context->sysroot, crew->options.view->identity.pid,
						     crew->options.nodes, wanted, &cpus);
	/* Signals are for the thread that listens. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_store(&crew->running, wanted);
	*ret_count = 0;
	for (unsigned i = 0; i < wanted && !rc; i++) {
		rc = pthread_create(&threads[i], NULL, work, &crew->members[i]);
		if (!rc) {
			(*ret_count)++;
			if (is_near)
				pthread_setaffinity_np(threads[i], sizeof(cpus), &cpus);
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	atomic_fetch_sub(&crew->running, wanted - *ret_count);
	return *ret_count || !wanted ? 0 : -rc;
}

/* Whether the guest is the one that it was, and nothing forbids to go on. */
static int watch(struct move_crew *crew)
{
	const struct job_context *context = crew->options.context;
	const struct process_identity *identity = &crew->options.view->identity;
	uint64_t now = monotonic_ms(), took;
	int rc;

	if (now < crew->watch_at_ms)
		return 0;
	rc = process_identity_check(context->sysroot, identity);
	if (!rc)
		rc = guest_view_check_userfaultfd(crew->options.view, context->sysroot);
	if (!rc)
		note_load(crew);
	took = monotonic_ms() - now;
	crew->watch_at_ms = now + (took * WATCH_SHARE > WATCH_MS ? took * WATCH_SHARE : WATCH_MS);
	return rc;
}

static void tell(struct move_crew *crew)
{
	char moved[SIZE_TEXT_SIZE];
	uint64_t bytes = move_gate_moved_bytes(crew->gate);

	worker_control_progress(crew->options.context->control, bytes, crew->options.total_bytes, "moved %s",
				size_text_format(bytes, moved));
}

/* Until all threads have ended. limit_ms: see move_crew_count(). */
static void listen(struct move_crew *crew, uint32_t limit_ms)
{
	struct job_context *context = crew->options.context;
	uint64_t until = limit_ms ? monotonic_ms() + limit_ms : 0;

	while (atomic_load(&crew->running) > 0) {
		enum worker_control_state state;
		uint64_t ended;

		if (limit_ms) {
			/* A control that was cancelled does not wait. */
			struct pollfd ready = {.fd = crew->ended_fd, .events = POLLIN};

			poll(&ready, 1, LISTEN_US / 1000);
			state = WORKER_CONTROL_GO;
			if (monotonic_ms() >= until)
				move_gate_shut(crew->gate, -ETIME);
		} else {
			state = worker_control_listen(context->control, crew->ended_fd, LISTEN_US);
			move_gate_hear(crew->gate);
		}
		if (read(crew->ended_fd, &ended, sizeof(ended)) < 0 && state == WORKER_CONTROL_GO &&
		    crew->task != TASK_COUNT) {
			int rc = watch(crew);

			if (rc)
				move_gate_shut(crew->gate, rc);
			tell(crew);
		}
		if (state != WORKER_CONTROL_GO) {
			context->stop = state;
			move_gate_shut(crew->gate, -ECANCELED);
			/* Nothing more is to be heard; a call under way ends when it ends. */
			struct pollfd ready = {.fd = crew->ended_fd, .events = POLLIN};

			poll(&ready, 1, LISTEN_US / 1000);
		}
	}
}

static int run(struct move_crew *crew, const struct move_piece *pieces, size_t count, uint32_t limit_ms)
{
	struct job_context *context = crew->options.context;
	pthread_t threads[MOVE_CREW_MAX];
	unsigned started;
	int rc;

	crew->pieces = pieces;
	crew->piece_count = count;
	atomic_store(&crew->next_piece, 0);
	memset(&crew->found, 0, sizeof(crew->found));
	for (unsigned i = 0; i < crew->member_count; i++)
		memset(&crew->members[i].found, 0, sizeof(crew->members[i].found));
	if (limit_ms)
		move_gate_reopen(crew->gate);
	rc = start(crew, threads, &started);
	if (rc)
		return rc;
	listen(crew, limit_ms);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < crew->member_count; i++) {
		const struct move_found *found = &crew->members[i].found;

		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			crew->found.left_bytes[node] += found->left_bytes[node];
			crew->found.shared_bytes[node] += found->shared_bytes[node];
			crew->found.unmapped_bytes[node] += found->unmapped_bytes[node];
		}
		crew->found.hugetlb_bytes += found->hugetlb_bytes;
		crew->found.swapped_bytes += found->swapped_bytes;
		crew->found.stray_bytes += found->stray_bytes;
	}
	rc = move_gate_error(crew->gate);
	/* A thread heard it first. */
	if (rc == -ECANCELED && context->stop == WORKER_CONTROL_GO)
		context->stop = worker_control_listen(context->control, -1, 0);
	return rc;
}

int move_crew_watch_heat(struct move_crew *crew, const struct move_piece *pieces, size_t count)
{
	struct job_context *context = crew->options.context;
	CLEANUP_FREE struct page_survey_range *ranges = calloc(count + 1, sizeof(*ranges));
	int rc = ranges ? 0 : -ENOMEM;

	for (unsigned i = 0; i < crew->member_count && !rc; i++)
		if (!crew->members[i].heat)
			rc = page_heat_new(context->sysroot, crew->options.view->identity.pid,
					   &crew->members[i].heat);
	for (size_t i = 0; i < count && !rc; i++)
		ranges[i] = pieces[i].range;
	if (!rc) {
		do {
			rc = page_heat_begin(crew->members[0].heat, crew->members[0].survey, ranges, count,
					     job_context_look, context);
		} while (rc == -EAGAIN && job_context_go(context));
		rc = rc == -EAGAIN ? -ECANCELED : rc;
	}
	for (unsigned i = 0; i < crew->member_count; i++)
		page_survey_set_heat(crew->members[i].survey, rc ? NULL : crew->members[i].heat);
	return rc;
}

int move_crew_move(struct move_crew *crew, const struct move_piece *pieces, size_t count, enum move_heat heat)
{
	int rc;

	crew->task = TASK_MOVE;
	crew->heat = heat;
	memset(&crew->tally, 0, sizeof(crew->tally));
	for (unsigned i = 0; i < crew->member_count; i++)
		page_mover_reset(crew->members[i].mover);
	rc = run(crew, pieces, count, 0);
	for (unsigned i = 0; i < crew->member_count; i++)
		page_mover_tally_add(&crew->tally, page_mover_tally(crew->members[i].mover));
	crew->split_bytes += crew->tally.split_bytes;
	return rc;
}

int move_crew_move_unmapped(struct move_crew *crew, const struct move_piece *pieces, size_t count)
{
	int rc;

	crew->task = TASK_MOVE_UNMAPPED;
	memset(&crew->tally, 0, sizeof(crew->tally));
	rc = run(crew, pieces, count, 0);
	for (unsigned i = 0; i < crew->member_count; i++)
		if (crew->members[i].own_mover)
			page_mover_tally_add(&crew->tally, page_mover_tally(crew->members[i].own_mover));
	return rc;
}

int move_crew_count(struct move_crew *crew, const struct move_piece *pieces, size_t count, uint32_t limit_ms)
{
	crew->task = TASK_COUNT;
	return run(crew, pieces, count, limit_ms);
}

const struct move_found *move_crew_found(const struct move_crew *crew)
{
	return &crew->found;
}

const struct page_mover_tally *move_crew_tally(const struct move_crew *crew)
{
	return &crew->tally;
}

struct page_move_counts move_crew_counts(const struct move_crew *crew)
{
	struct page_move_counts sum = {0};

	for (unsigned i = 0; i < 2 * crew->member_count; i++) {
		const struct member *member = &crew->members[i / 2];
		const struct page_mover *mover = i % 2 ? member->own_mover : member->mover;
		const struct page_move_counts *counts;

		if (!mover)
			continue;
		counts = page_mover_counts(mover);
		for (int outcome = 0; outcome < PAGE_MOVE_COUNT; outcome++)
			sum.pages[outcome] += counts->pages[outcome];
		sum.calls += counts->calls;
		sum.touched += counts->touched;
		sum.call_ns += counts->call_ns;
		if (counts->longest_call_ns > sum.longest_call_ns)
			sum.longest_call_ns = counts->longest_call_ns;
		if (counts->last_error)
			sum.last_error = counts->last_error;
	}
	return sum;
}

uint64_t move_crew_split_bytes(const struct move_crew *crew)
{
	return crew->split_bytes;
}

uint64_t move_crew_moved_bytes(const struct move_crew *crew)
{
	return move_gate_moved_bytes(crew->gate);
}

struct move_gate *move_crew_gate(const struct move_crew *crew)
{
	return crew->gate;
}

void move_crew_set_total(struct move_crew *crew, uint64_t total_bytes)
{
	crew->options.total_bytes = total_bytes;
}
