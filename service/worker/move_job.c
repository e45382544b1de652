/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk: survey each range -> a visitor gets the runs that are not where they belong
 *
 * run:  (walk and move -> walk and count what is left) until nothing is left, nothing moves any
 * more, or three times over -> remainder: the last pass' outcomes by node, then what has come since
 */
#include "move_job.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "cgroup_memory.h"
#include "guest_view.h"
#include "job_context.h"
#include "node_mask.h"
#include "numa_node.h"
#include "page_mover.h"
#include "page_runs.h"
#include "size_text.h"

/* A page that was busy twice, some time apart, has a holder: a further pass would only stall the
 * guest. */
#define PASSES_MAX 3
/* Long enough for an I/O to let go of its page. */
#define BETWEEN_PASSES_US 20000

struct move_work {
	struct job_context *context;
	struct guest_view view;
	struct page_survey *survey; /* owned */
	struct physical_range targets[SNAPSHOT_RANGES_MAX];
	struct page_mover *mover;		 /* owned; while moving */
	uint64_t left_bytes[SNAPSHOT_NODES_MAX]; /* where count_left found them */
	/* Seen by the last walk of shared memory, by node, wherever it may stay. */
	uint64_t shared_bytes[SNAPSHOT_NODES_MAX];
	struct page_runs *runs; /* borrowed; while recording, by node */
};

/* 0, or what ends the walk. */
typedef int move_visit_fn(struct move_work *work, const struct page_survey_run *run,
			  int destination);

int move_job_destination(const struct step *step, int cell, const struct page_survey_run *run)
{
	int destination = -1;

	if (run->state != PAGE_SURVEY_PRESENT || run->node_id < 0 ||
	    run->node_id >= SNAPSHOT_NODES_MAX || (step->range_count && run->target < 0))
		return -1;
	if (step->by_map)
		destination = step->map[run->node_id];
	else if (step->by_cells)
		destination = cell >= 0 ? step->cells[cell] : -1;
	else if (step->nodes && !(step->nodes & node_mask_of(run->node_id)))
		destination = __builtin_ctzll(step->nodes);
	return destination == run->node_id ? -1 : destination;
}

static int walk_range(struct move_work *work, size_t index, move_visit_fn *visit)
{
	struct page_survey_range range = guest_view_range(&work->view, index);
	struct page_survey_run run;
	int rc = page_survey_begin(work->survey, &range);

	while (!rc && (rc = page_survey_next(work->survey, &run)) > 0) {
		int destination = move_job_destination(&work->context->job->step,
						       work->view.cells[index], &run);

		if (run.state == PAGE_SURVEY_PRESENT && run.node_id >= 0 &&
		    run.node_id < SNAPSHOT_NODES_MAX &&
		    work->view.map.ranges[index].backing == GUEST_BACKING_MEMFD)
			work->shared_bytes[run.node_id] += run.end - run.start;
		rc = destination >= 0 ? visit(work, &run, destination) : 0;
		if (!rc && !job_context_go(work->context))
			rc = -ECANCELED;
	}
	return rc;
}

static int walk(struct move_work *work, move_visit_fn *visit)
{
	int rc = 0;

	memset(work->shared_bytes, 0, sizeof(work->shared_bytes));
	for (size_t i = 0; !rc && i < work->view.map.count; i++)
		rc = walk_range(work, i, visit);
	return rc;
}

static int visit_move(struct move_work *work, const struct page_survey_run *run, int destination)
{
	return page_mover_add(work->mover, run, destination);
}

static int visit_count(struct move_work *work, const struct page_survey_run *run, int destination)
{
	(void)destination;
	work->left_bytes[run->node_id] += run->end - run->start;
	return 0;
}

static int visit_record(struct move_work *work, const struct page_survey_run *run, int destination)
{
	(void)destination;
	return page_runs_add(&work->runs[run->node_id], run->start, run->end);
}

static uint64_t sum(const uint64_t *bytes)
{
	uint64_t total = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		total += bytes[node];
	return total;
}

static int count_left(struct move_work *work)
{
	memset(work->left_bytes, 0, sizeof(work->left_bytes));
	return walk(work, visit_count);
}

/* False with the result filled. */
static bool open_work(struct move_work *work, struct job_context *context)
{
	const struct step *step = &context->job->step;
	struct page_survey_options options = {.targets = work->targets};
	char object[96];
	int rc;

	memset(work, 0, sizeof(*work));
	work->context = context;
	if (!guest_view_open(&work->view, context, false))
		return false;
	if (work->view.map.userfaultfd_count) {
		/* Touching a page that is absent would lose data of a post-copy migration. */
		remainder_list_add(&context->result->remainder, REMAINDER_USERFAULTFD,
				   job_context_guest(context, object), 0, NULL,
				   "%u descriptors of userfaultfd",
				   work->view.map.userfaultfd_count);
		job_context_settle(context, object, 0, false);
		return false;
	}
	options.map = work->view.physical;
	options.target_count = step->range_count;
	for (size_t i = 0; i < step->range_count; i++)
		work->targets[i] = (struct physical_range){.start = step->ranges[i].start,
							   .end = step->ranges[i].end};
	rc = page_survey_new(context->sysroot, context->job->process.pid, &options, &work->survey);
	if (rc)
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot read its page table");
	return rc == 0;
}

static void close_work(struct move_work *work)
{
	page_mover_free(work->mover);
	page_survey_free(work->survey);
	guest_view_done(&work->view);
	free(work);
}

static struct move_work *new_work(struct job_context *context)
{
	struct move_work *work = malloc(sizeof(*work));

	if (work && open_work(work, context))
		return work;
	if (work)
		close_work(work);
	else
		job_context_fail(context, ENOMEM, "move", "cannot begin");
	return NULL;
}

/* A walk that ended with an error. The reasons that a context already knows need no words. */
static void tell_error(struct move_work *work, int error)
{
	struct job_context *context = work->context;
	char object[96];

	if (error == -ESRCH) {
		job_context_guest_gone(context);
	} else if (error == -EBUSY) {
		remainder_list_add(&context->result->remainder, REMAINDER_USERFAULTFD,
				   job_context_guest(context, object), 0, NULL,
				   "a userfaultfd was opened meanwhile");
	} else if (error != -ECANCELED) {
		job_context_fail(context, error, job_context_guest(context, object),
				 "cannot move its pages");
	}
}

/*
 * On a node with fewer CPUs the mover would fight for them with the guest itself, whose threads the kernel draws to where
 * its memory is now (kernel/sched/fair.c task_numa_migrate): on one CPU that cost more than the copying.
 */
#define NEAR_CPUS_MIN 4

/* Copies are made by this process: near the destination they read far and write near. Best effort.
 */
static void run_near(const struct job_context *context, uint64_t nodes)
{
	struct numa_node_list list = {0};
	struct node_set cpus;
	cpu_set_t set;

	CPU_ZERO(&set);
	if (numa_node_list_read(context->sysroot, &list))
		return;
	for (size_t i = 0; i < list.count; i++) {
		if (!(nodes & node_mask_of(list.nodes[i].id)) || !list.nodes[i].has_cpu ||
		    node_set_parse(list.nodes[i].cpus, &cpus))
			continue;
		NODE_SET_FOR_EACH(cpu, &cpus)
		if (cpu < CPU_SETSIZE)
			CPU_SET(cpu, &set);
	}
	numa_node_list_done(&list);
	if (CPU_COUNT(&set) >= NEAR_CPUS_MIN)
		sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t destinations(const struct step *step)
{
	uint64_t mask = 0;

	for (int node = 0; step->by_map && node < SNAPSHOT_NODES_MAX; node++)
		mask |= node_mask_of(step->map[node]);
	for (int cell = 0; step->by_cells && cell < SNAPSHOT_CELLS_MAX; cell++)
		mask |= node_mask_of(step->cells[cell]);
	return mask ? mask : step->nodes;
}

/* Why pages of a node stayed in the last pass. Returns the bytes for which a reason was given. */
static uint64_t explain(struct move_work *work, const struct page_mover_tally *tally, int node)
{
	static const struct {
		enum page_move_outcome outcome;
		enum remainder_code code;
		const char *detail;
	} reasons[] = {
		{PAGE_MOVE_BUSY, REMAINDER_PAGE_BUSY, "held or in use at each of several tries"},
		{PAGE_MOVE_NO_ROOM, REMAINDER_NO_ROOM,
		 "no free page of their size at the destination"},
		{PAGE_MOVE_NOT_PERMITTED, REMAINDER_NOT_PERMITTED,
		 "the destination is outside the guest's cpuset, or moving is forbidden"},
		{PAGE_MOVE_FAULT, REMAINDER_PAGE_BUSY, "of a kind that the kernel does not move"},
		{PAGE_MOVE_NOT_TRIED, REMAINDER_PAGE_BUSY, "given up among many that were busy"},
	};
	struct remainder_list *list = &work->context->result->remainder;
	uint64_t left = work->left_bytes[node], told = 0;
	char object[96];

	snprintf(object, sizeof(object), "node %d", node);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		uint64_t bytes = tally->bytes[reasons[i].outcome][node];
		bool is_pinned = reasons[i].outcome == PAGE_MOVE_BUSY && work->view.map.vfio_count;

		/* Never more than is really left: some may have moved by other hands since. */
		if (bytes > left - told)
			bytes = left - told;
		if (!bytes)
			continue;
		told += bytes;
		remainder_list_add(list, is_pinned ? REMAINDER_VFIO_PINNED : reasons[i].code,
				   object, bytes, NULL, "%s",
				   is_pinned ? "held, and a passed-through device pins memory"
					     : reasons[i].detail);
	}
	return told;
}

static void explain_rest(struct move_work *work, bool by_cells)
{
	const struct page_mover_tally *tally = page_mover_tally(work->mover);
	char object[96];

	for (size_t i = 0; by_cells && i < work->view.map.count; i++)
		if (work->view.cells[i] < 0)
			remainder_list_add(
				&work->context->result->remainder, REMAINDER_UNKNOWN_TARGET,
				job_context_guest(work->context, object),
				work->view.map.ranges[i].end - work->view.map.ranges[i].start,
				"name host nodes instead of cells",
				"which cell a part of its memory is cannot be told");

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t told = explain(work, tally, node), left = work->left_bytes[node];

		snprintf(object, sizeof(object), "node %d", node);
		if (left > told)
			remainder_list_add(&work->context->result->remainder,
					   REMAINDER_AUTONUMA_MAY_RETURN, object, left - told, NULL,
					   "came there while the others moved");
	}
}

/*
 * Pages that are in the guest's shared memory but in no page table are not seen by a walk, and
 * move_pages(2) passes them by. The files say how many there are; the cgroup's count by node, less
 * what is mapped there, says where.
 */
static void explain_unmapped(struct move_work *work)
{
	struct job_context *context = work->context;
	const struct guest_map *map = &work->view.map;
	CLEANUP_FREE struct cgroup_memory_stat *stat = calloc(1, sizeof(*stat));
	char path[CGROUP_MEMORY_PATH_SIZE], object[96];
	uint64_t held = 0, seen = sum(work->shared_bytes);

	if (!stat || !context->job->step.by_map)
		return;
	for (size_t i = 0; i < map->count; i++) {
		struct stat status;
		CLEANUP_CLOSE int fd = -1;

		if (map->ranges[i].backing != GUEST_BACKING_MEMFD)
			continue;
		fd = guest_map_open_backing(context->sysroot, context->job->process.pid,
					    &map->ranges[i]);
		if (fd < 0 || fstat(fd, &status))
			return;
		held += (uint64_t)status.st_blocks * 512;
	}
	if (held <= seen ||
	    cgroup_memory_read_path(context->sysroot, context->job->process.pid, path))
		return;
	cgroup_memory_guest_path(path);
	if (cgroup_memory_read_stat(context->sysroot, path, stat))
		return;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t bytes = stat->shmem_bytes[node] > work->shared_bytes[node]
					 ? stat->shmem_bytes[node] - work->shared_bytes[node]
					 : 0;

		/* The counts are taken one after the other while the guest runs: less is noise. */
		if (context->job->step.map[node] < 0 || context->job->step.map[node] == node ||
		    bytes < SIZE_TEXT_MIB)
			continue;
		snprintf(object, sizeof(object), "node %d", node);
		remainder_list_add(&context->result->remainder, REMAINDER_NOT_MAPPED, object,
				   bytes < held - seen ? bytes : held - seen, NULL,
				   "in the guest's memory file, in no page table");
	}
}

static void move_passes(struct move_work *work, int *ret_error)
{
	int rc = 0;

	for (int pass = 0; pass < PASSES_MAX; pass++) {
		uint64_t moved = page_mover_moved_bytes(work->mover);

		if (pass && !job_context_wait(work->context, BETWEEN_PASSES_US))
			break;
		page_mover_reset_tally(work->mover);
		rc = walk(work, visit_move);
		if (!rc)
			rc = page_mover_flush(work->mover);
		if (!rc)
			rc = count_left(work);
		/* One more than the first, too, for pages that were busy for a moment. */
		if (rc || !sum(work->left_bytes) ||
		    (pass && page_mover_moved_bytes(work->mover) == moved))
			break;
	}
	*ret_error = rc;
}

void move_job_run(struct job_context *context)
{
	struct move_work *work = new_work(context);
	uint64_t total, left = 0;
	char object[96];
	int rc;

	if (!work)
		return;
	/* The plan's estimate saves a walk over the whole page table. */
	rc = context->job->step.bytes ? 0 : count_left(work);
	total = context->job->step.bytes ? context->job->step.bytes : sum(work->left_bytes);
	if (!rc)
		rc = page_mover_new(context, &work->view, total, &work->mover);
	if (rc) {
		tell_error(work, rc);
		job_context_guest(context, object);
		if (rc == -ECANCELED)
			job_context_settle(context, object, total, false);
		close_work(work);
		return;
	}
	run_near(context, destinations(&context->job->step));
	move_passes(work, &rc);
	if (rc)
		tell_error(work, rc);
	context->result->bytes_done = page_mover_moved_bytes(work->mover);
	context->result->longest_pause_us = page_mover_counts(work->mover)->longest_call_ns / 1000;
	if (rc == -ESRCH || failure_is_set(&context->result->failure)) {
		/* What a call that failed has moved cannot be told any more. */
		if (rc != -ESRCH && page_mover_counts(work->mover)->calls) {
			context->result->outcome = WORKER_OUTCOME_PARTIAL;
			remainder_list_add(&context->result->remainder, REMAINDER_PAGE_BUSY,
					   job_context_guest(context, object), 0, NULL,
					   "ended by an error: %s", strerror(-rc));
		}
		close_work(work);
		return;
	}
	if (context->stop == WORKER_CONTROL_GO && !rc) {
		explain_rest(work, context->job->step.by_cells);
		explain_unmapped(work);
	} else if (total > context->result->bytes_done) {
		left = total - context->result->bytes_done;
	}
	job_context_detail(context, "%llu calls, %llu ms in them, longest %llu us",
			   (unsigned long long)page_mover_counts(work->mover)->calls,
			   (unsigned long long)page_mover_counts(work->mover)->call_ns / 1000000,
			   (unsigned long long)context->result->longest_pause_us);
	if (!guest_view_is_gone(&work->view, context))
		job_context_settle(context, job_context_guest(context, object), left,
				   context->result->bytes_done > 0);
	close_work(work);
}

void move_job_before(struct job_context *context)
{
	struct page_runs *runs = calloc(SNAPSHOT_NODES_MAX, sizeof(*runs));
	struct move_work *work = runs ? new_work(context) : NULL;
	json_t *nodes = json_array();
	bool is_merged = false;
	char object[96];
	int rc = 0;

	if (!runs)
		job_context_fail(context, ENOMEM, "move", "cannot begin");
	if (work) {
		work->runs = runs;
		rc = walk(work, visit_record);
		for (int node = 0; !rc && node < SNAPSHOT_NODES_MAX; node++) {
			rc = page_runs_limit(&runs[node], PAGE_RUNS_MAX);
			is_merged |= runs[node].is_merged;
			if (!rc && runs[node].count)
				rc = json_array_append_new(
					     nodes, json_pack("{s:i, s:o}", "node", node, "runs",
							      page_runs_to_json(&runs[node])))
					     ? -ENOMEM
					     : 0;
		}
		if (rc)
			tell_error(work, rc);
		job_context_guest(context, object);
		if (rc == -ECANCELED)
			job_context_settle(context, object, 0, false);
		else if (!rc && guest_view_is_same(&work->view, context))
			job_context_give(
				context, object,
				json_pack("{s:O, s:b}", "nodes", nodes, "merged", (int)is_merged));
		close_work(work);
	}
	for (int node = 0; runs && node < SNAPSHOT_NODES_MAX; node++)
		page_runs_done(&runs[node]);
	free(runs);
	json_decref(nodes);
}

/* The part of a range inside a run, on whole pages of the range. False where there is none. */
static bool clip(const struct page_survey_range *range, const struct page_runs_run *run,
		 struct page_survey_range *ret_clip)
{
	uint64_t start = run->first * PAGE_RUNS_UNIT, end = start + run->count * PAGE_RUNS_UNIT;

	start -= start % range->page_bytes;
	if (end % range->page_bytes)
		end += range->page_bytes - end % range->page_bytes;
	ret_clip->start = start > range->start ? start : range->start;
	ret_clip->end = end < range->end ? end : range->end;
	ret_clip->page_bytes = range->page_bytes;
	return ret_clip->start < ret_clip->end;
}

/* move: to the mover; else counted as left. */
static int walk_home(struct move_work *work, const struct page_runs *runs, int home, bool move)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < work->view.map.count; i++) {
		struct page_survey_range range = guest_view_range(&work->view, i), part;

		for (size_t r = 0; !rc && r < runs->count; r++) {
			struct page_survey_run run;

			if (!clip(&range, &runs->runs[r], &part))
				continue;
			rc = page_survey_begin(work->survey, &part);
			while (!rc && (rc = page_survey_next(work->survey, &run)) > 0) {
				rc = 0;
				if (run.state == PAGE_SURVEY_PRESENT && run.node_id >= 0 &&
				    run.node_id < SNAPSHOT_NODES_MAX && run.node_id != home)
					rc = move ? page_mover_add(work->mover, &run, home)
						  : visit_count(work, &run, home);
				if (!rc && !job_context_go(work->context))
					rc = -ECANCELED;
			}
		}
	}
	return rc;
}

static int undo_node(struct move_work *work, const struct page_runs *runs, int home)
{
	int rc = 0;

	for (int pass = 0; !rc && pass < PASSES_MAX; pass++) {
		page_mover_reset_tally(work->mover);
		rc = walk_home(work, runs, home, true);
		if (!rc)
			rc = page_mover_flush(work->mover);
		memset(work->left_bytes, 0, sizeof(work->left_bytes));
		if (!rc)
			rc = walk_home(work, runs, home, false);
		if (rc || !sum(work->left_bytes))
			break;
		if (!job_context_wait(work->context, BETWEEN_PASSES_US))
			rc = -ECANCELED;
	}
	if (!rc)
		explain_rest(work, false);
	return rc;
}

static uint64_t recorded_bytes(const json_t *nodes)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *runs = json_object_get(json_array_get(nodes, i), "runs");

		for (size_t r = 0; r < json_array_size(runs); r++)
			pages += (uint64_t)json_integer_value(
				json_array_get(json_array_get(runs, r), 1));
	}
	return pages * PAGE_RUNS_UNIT;
}

void move_job_undo(struct job_context *context)
{
	const json_t *nodes = json_object_get(context->before, "nodes");
	struct move_work *work = new_work(context);
	char object[96];
	int rc;

	if (!work)
		return;
	/* What lay in physical ranges before lies elsewhere now: the runs alone say what to move.
	 */
	rc = page_mover_new(context, &work->view, recorded_bytes(nodes), &work->mover);
	for (size_t i = 0; !rc && i < json_array_size(nodes); i++) {
		const json_t *entry = json_array_get(nodes, i),
			     *node = json_object_get(entry, "node");
		struct page_runs runs = {0};

		rc = json_is_integer(node) && json_integer_value(node) >= 0 &&
				     json_integer_value(node) < SNAPSHOT_NODES_MAX
			     ? page_runs_parse(json_object_get(entry, "runs"), &runs)
			     : -EINVAL;
		if (!rc)
			rc = undo_node(work, &runs, (int)json_integer_value(node));
		page_runs_done(&runs);
	}
	if (rc)
		tell_error(work, rc);
	if (work->mover) {
		context->result->bytes_done = page_mover_moved_bytes(work->mover);
		context->result->longest_pause_us =
			page_mover_counts(work->mover)->longest_call_ns / 1000;
	}
	if (!failure_is_set(&context->result->failure) && !guest_view_is_gone(&work->view, context))
		job_context_settle(context, job_context_guest(context, object), 0,
				   context->result->bytes_done > 0);
	close_work(work);
}
