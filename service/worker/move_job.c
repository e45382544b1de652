/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run:  the guest's memory in pieces -> (the crew moves -> the crew counts what is left) until nothing is left, nothing
 * moves any more, or three times over -> what is in its files alone -> remainder: the last pass' outcomes by node, then
 * what has come since
 */
#include "move_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cgroup_memory.h"
#include "guest_view.h"
#include "job_context.h"
#include "memory_sharer.h"
#include "move_crew.h"
#include "move_gate.h"
#include "move_reason.h"
#include "move_record.h"
#include "node_mask.h"
#include "numa_node.h"
#include "page_homes.h"
#include "size_text.h"

/* A page that was busy twice, some time apart, has a holder: a further pass would only stall the
 * guest. */
#define PASSES_MAX 3
/* Long enough for an I/O to let go of its page. */
#define BETWEEN_PASSES_US 20000
/* What one thread takes at a time: several for each thread, so that none is left with all the work at the end. */
#define PIECE_LEAST_BYTES     (32 * SIZE_TEXT_MIB)
#define PIECE_MOST_BYTES      (1024 * SIZE_TEXT_MIB)
#define PIECES_PER_THREAD     8
/* What is not used for so long is cold. */
#define HEAT_WATCH_MS 2000
/* After a cancel the caller has waited long enough: what is left is counted as far as this reaches. */
#define COUNT_AFTER_CANCEL_MS 300

struct move_work {
	struct job_context *context;
	struct guest_view view;
	struct physical_range targets[SNAPSHOT_RANGES_MAX];
	struct move_crew *crew; /* owned; while moving */
	struct move_piece *pieces; /* owned */
	size_t piece_count, piece_room;
	struct page_homes homes; /* owned; of an undo */
	bool is_pinned_known;
	uint64_t pinned_bytes; /* of what stays busy, taken for pinned, and not yet told */
};

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

static uint64_t sum(const uint64_t *bytes)
{
	uint64_t total = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		total += bytes[node];
	return total;
}

uint64_t move_job_destinations(const struct step *step)
{
	uint64_t mask = 0;

	for (int node = 0; step->by_map && node < SNAPSHOT_NODES_MAX; node++)
		mask |= node_mask_of(step->map[node]);
	for (int cell = 0; step->by_cells && cell < SNAPSHOT_CELLS_MAX; cell++)
		mask |= node_mask_of(step->cells[cell]);
	return mask ? mask : step->nodes;
}

static bool is_undo(const struct move_work *work)
{
	return work->context->job->kind == WORKER_JOB_UNDO;
}

/* What an older record does not tell apart stays where it is. */
static int newcomers_home(const struct move_work *work, int cell, int node)
{
	const struct job_context *context = work->context;

	if (!json_is_true(json_object_get(context->before, "stays")))
		return -1;
	return move_record_newcomers_home(&work->homes, &context->job->step, cell, node);
}

static struct move_place destination_of(void *user, const struct move_piece *piece, const struct page_survey_run *run)
{
	const struct move_work *work = user;
	const struct step *step = &work->context->job->step;

	if (is_undo(work))
		return move_record_place(&work->homes, run, move_job_destinations(step),
					 newcomers_home(work, work->view.cells[piece->index], run->node_id));
	return (struct move_place){
		.node = move_job_destination(step, work->view.cells[piece->index], run),
		.end = run->end,
	};
}

/* False with the result filled. */
static bool open_work(struct move_work *work, struct job_context *context)
{
	const struct step *step = &context->job->step;

	memset(work, 0, sizeof(*work));
	work->context = context;
	if (!guest_view_open(&work->view, context, false) ||
	    !guest_view_is_touchable(&work->view, context))
		return false;
	for (size_t i = 0; i < step->range_count; i++)
		work->targets[i] = (struct physical_range){.start = step->ranges[i].start,
							   .end = step->ranges[i].end};
	return true;
}

static void close_work(struct move_work *work)
{
	move_crew_free(work->crew);
	free(work->pieces);
	page_homes_done(&work->homes);
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

static unsigned thread_count(const struct move_work *work)
{
	unsigned threads = work->context->job->step.workers;

	if (!threads)
		return 1;
	return threads < MOVE_CREW_MAX ? threads : MOVE_CREW_MAX;
}

/* A range of the guest, cut so that there are enough for all threads. */
static int add_pieces(struct move_work *work, size_t index, const struct page_survey_range *range)
{
	uint64_t bytes = work->view.map.ram_bytes / (thread_count(work) * PIECES_PER_THREAD);

	if (bytes < PIECE_LEAST_BYTES)
		bytes = PIECE_LEAST_BYTES;
	if (bytes > PIECE_MOST_BYTES)
		bytes = PIECE_MOST_BYTES;
	/* Huge pages begin on multiples of their size: no piece cuts one in two. */
	bytes -= bytes % PIECE_LEAST_BYTES;
	if (range->page_bytes > bytes)
		bytes = range->page_bytes;
	for (uint64_t start = range->start; start < range->end;) {
		uint64_t end = start - start % bytes + bytes;

		if (work->piece_count == work->piece_room) {
			size_t room = work->piece_room ? 2 * work->piece_room : 64;
			struct move_piece *grown = reallocarray(work->pieces, room, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			work->pieces = grown;
			work->piece_room = room;
		}
		if (end > range->end)
			end = range->end;
		work->pieces[work->piece_count++] = (struct move_piece){
			.range = {.start = start, .end = end, .page_bytes = range->page_bytes},
			.index = index,
		};
		start = end;
	}
	return 0;
}

static int cut_guest(struct move_work *work)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < work->view.map.count; i++) {
		struct page_survey_range range = guest_view_range(&work->view, i);

		rc = add_pieces(work, i, &range);
	}
	return rc;
}

/*
 * Whether pages arrive where others leave: "1 to 2, 2 to 3", or two nodes that change places. Once it has moved, a page
 * looks like one that has to: nothing may be looked at twice.
 */
static bool is_crossing(const struct move_work *work)
{
	const struct step *step = &work->context->job->step;
	uint64_t sources = 0;

	/* On its way home each page is known by itself. */
	if (is_undo(work))
		return false;

	for (int node = 0; step->by_map && node < SNAPSHOT_NODES_MAX; node++)
		if (step->map[node] >= 0 && step->map[node] != node)
			sources |= node_mask_of(node);
	return step->by_map && (sources & move_job_destinations(step)) != 0;
}

/* What stayed, by what became of each page that was tried. */
static void left_by_tally(const struct page_mover_tally *tally, uint64_t *ret_left_bytes)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		ret_left_bytes[node] = tally->withheld_bytes[node];
		for (int class = 0; class < PAGE_MOVER_CLASSES; class ++)
			for (int outcome = 0; outcome < PAGE_MOVE_COUNT; outcome++)
				if (outcome != PAGE_MOVE_MOVED && outcome != PAGE_MOVE_ALREADY_THERE &&
				    outcome != PAGE_MOVE_ABSENT)
					ret_left_bytes[node] += tally->bytes[class][outcome][node];
	}
}

static int new_crew(struct move_work *work, uint64_t nodes)
{
	const struct job_context *context = work->context;
	/* What lay in physical ranges before a move lies elsewhere when it is undone. */
	struct move_crew_options options = {
		.context = work->context,
		.view = &work->view,
		.targets = work->targets,
		.target_count = is_undo(work) ? 0 : context->job->step.range_count,
		.destination = destination_of,
		.user = work,
		.threads = thread_count(work),
		.nodes = nodes,
	};

	return move_crew_new(&options, &work->crew);
}

/*
 * The kernel says how much each process has pinned, and not which pages: of what stayed busy so much is taken for it.
 * QEMU's own, and that of others who map the same memory.
 */
static void count_pinned(struct move_work *work)
{
	struct memory_sharer_list list;
	char object[96];
	int rc;

	if (work->is_pinned_known)
		return;
	work->is_pinned_known = true;
	work->pinned_bytes = work->view.map.pinned_bytes;
	rc = memory_sharer_find(work->context->sysroot, work->context->job->process.pid, &work->view.map, &list);
	if (!rc)
		work->pinned_bytes += list.pinned_bytes;
	/* What they pin is told as busy then, which is true all the same. */
	if (rc || list.unseen)
		job_context_warn(work->context, REMAINDER_PAGE_BUSY, job_context_guest(work->context, object), 0,
				 "it cannot be told for all processes whether they pin its memory: %s",
				 rc ? strerror(-rc) : "some could not be asked");
}

/* Of so many busy bytes, how many are told as pinned. */
static uint64_t tell_pinned(struct move_work *work, const char *object, const char *size, uint64_t bytes)
{
	bool is_vfio = work->view.map.vfio_count;

	if (!is_vfio && bytes > work->pinned_bytes)
		bytes = work->pinned_bytes;
	if (!bytes)
		return 0;
	work->pinned_bytes -= bytes < work->pinned_bytes ? bytes : work->pinned_bytes;
	remainder_list_add(&work->context->result->remainder, is_vfio ? REMAINDER_VFIO_PINNED : REMAINDER_PINNED,
			   object, bytes, NULL, "%s%s", size,
			   is_vfio ? "held, and a passed-through device pins memory"
				   : "held for long by who does input or output with it");
	return bytes;
}

/* Why pages of a node stayed: what was seen in the last pass. Returns the bytes for which a reason was given. */
static uint64_t explain(struct move_work *work, const struct page_mover_tally *tally, int node, uint64_t left)
{
	static const char *const sizes[PAGE_MOVER_CLASSES] = {"", "huge pages: ", "1 GiB pages: "};
	struct remainder_list *list = &work->context->result->remainder;
	size_t count;
	const struct move_reason *reasons = move_reasons(&count);
	uint64_t told = 0;
	char object[96];

	snprintf(object, sizeof(object), "node %d", node);
	for (size_t i = 0; i < PAGE_MOVER_CLASSES * count; i++) {
		size_t class = i % PAGE_MOVER_CLASSES, reason = i / PAGE_MOVER_CLASSES;
		uint64_t bytes = tally->bytes[class][reasons[reason].outcome][node];
		bool is_busy = reasons[reason].outcome == PAGE_MOVE_BUSY;

		/* Never more than is really left: some may have moved by other hands since. */
		if (bytes > left - told)
			bytes = left - told;
		if (!bytes)
			continue;
		told += bytes;
		if (is_busy)
			bytes -= tell_pinned(work, object, sizes[class], bytes);
		if (bytes)
			remainder_list_add(list, reasons[reason].code, object, bytes, NULL, "%s%s", sizes[class],
					   reasons[reason].detail);
	}
	if (tally->withheld_bytes[node] && told < left) {
		uint64_t bytes = tally->withheld_bytes[node] < left - told ? tally->withheld_bytes[node] : left - told;

		told += bytes;
		remainder_list_add_consent(list, REMAINDER_WOULD_SPLIT, CONSENT_SPLIT_HUGE_PAGES, object, bytes,
					   "the destination has no whole huge pages free, after a compaction too");
	}
	return told;
}

/* Every byte of left, by node. */
static void explain_all(struct move_work *work, const uint64_t *left_bytes)
{
	char object[96];

	if (sum(left_bytes))
		count_pinned(work);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t left = left_bytes[node];
		uint64_t told = left ? explain(work, move_crew_tally(work->crew), node, left) : 0;

		snprintf(object, sizeof(object), "node %d", node);
		/* Who brought it is not known: a first touch, or the kernel. */
		if (left > told)
			remainder_list_add(&work->context->result->remainder, REMAINDER_CAME_MEANWHILE, object,
					   left - told, NULL, "came there while the others moved%s",
					   numa_node_balancing_is_off(work->context->sysroot)
						   ? ""
						   : "; automatic NUMA balancing is on");
	}
}

static void explain_unknown_cells(struct move_work *work)
{
	char object[96];

	for (size_t i = 0; work->context->job->step.by_cells && i < work->view.map.count; i++)
		if (work->view.cells[i] < 0)
			remainder_list_add(
				&work->context->result->remainder, REMAINDER_UNKNOWN_TARGET,
				job_context_guest(work->context, object),
				work->view.map.ranges[i].end - work->view.map.ranges[i].start,
				"name host nodes instead of cells",
				"which cell a part of its memory is cannot be told");
}

/* What the files behind the guest's shared memory hold; of shmem swapped pages, too. */
struct held {
	uint64_t shmem_bytes, hugetlb_bytes;
	int error; /* of a file that could not be asked */
};

static struct held read_held(struct move_work *work)
{
	const struct guest_map *map = &work->view.map;
	struct held held = {0};

	for (size_t i = 0; i < map->count; i++) {
		const struct guest_range *range = &map->ranges[i];
		bool is_first = true;
		uint64_t bytes;
		CLEANUP_CLOSE int fd = -1;

		for (size_t n = 0; n < i; n++)
			is_first &= !guest_range_is_same_file(&map->ranges[n], range);
		if (!is_first || (!range->is_shmem && !guest_range_has_window(range)))
			continue;
		fd = guest_map_open_backing(work->context->sysroot, work->context->job->process.pid, range, &bytes);
		/* It was unplugged meanwhile. */
		if (fd == -ENOENT || fd == -ESTALE)
			continue;
		if (fd < 0)
			held.error = fd;
		else if (range->is_shmem)
			held.shmem_bytes += bytes;
		else
			held.hugetlb_bytes += bytes;
	}
	return held;
}

static void tell_not_mapped(struct move_work *work, const char *object, uint64_t bytes, const char *more)
{
	remainder_list_add(&work->context->result->remainder, REMAINDER_NOT_MAPPED, object, bytes, NULL,
			   "in the guest's memory file, in no page table%s", more);
}

/* Of files that could not be asked it is not known what they have. */
static void tell_unasked(struct move_work *work, const struct held *held)
{
	char object[96];

	if (held->error)
		tell_not_mapped(work, job_context_guest(work->context, object), 0,
				", as far as that is known: a file cannot be asked");
}

/* The same by node, as the cgroup counts it: all, less what is mapped there. 0 or -errno. */
static int read_unmapped(struct move_work *work, const uint64_t *shared_bytes, uint64_t *ret_bytes)
{
	const struct job_context *context = work->context;
	CLEANUP_FREE struct cgroup_memory_stat *stat = calloc(1, sizeof(*stat));
	char path[CGROUP_MEMORY_PATH_SIZE];
	int rc = stat ? cgroup_memory_read_path(context->sysroot, context->job->process.pid, path) : -ENOMEM;

	if (rc)
		return rc;
	cgroup_memory_guest_path(path);
	rc = cgroup_memory_read_stat(context->sysroot, path, stat);
	for (int node = 0; !rc && node < SNAPSHOT_NODES_MAX; node++)
		ret_bytes[node] =
			stat->shmem_bytes[node] > shared_bytes[node] ? stat->shmem_bytes[node] - shared_bytes[node] : 0;
	return rc;
}

/*
 * Pages that are in the guest's shared memory but in no page table, where there is no way to move them: the files say how
 * many there are; the cgroup's count says where, of those that its own processes made.
 */
static void explain_unmapped(struct move_work *work, const uint64_t *shared_bytes, uint64_t unmapped)
{
	const struct step *step = &work->context->job->step;
	uint64_t by_node[SNAPSHOT_NODES_MAX] = {0};
	bool is_known = step->by_map && read_unmapped(work, shared_bytes, by_node) == 0;
	char object[96];

	for (int node = 0; is_known && node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t bytes = by_node[node] < unmapped ? by_node[node] : unmapped;

		/* The counts are taken one after the other while the guest runs: less is noise. */
		if (bytes < SIZE_TEXT_MIB)
			continue;
		unmapped -= bytes;
		snprintf(object, sizeof(object), "node %d", node);
		if (step->map[node] >= 0 && step->map[node] != node)
			tell_not_mapped(work, object, bytes, "");
	}
	if (unmapped && (!is_known || unmapped >= SIZE_TEXT_MIB))
		tell_not_mapped(work, job_context_guest(work->context, object), unmapped,
				"; on which node is not known");
}

/* What the pass over the files left. */
static void explain_files(struct move_work *work)
{
	uint64_t left[SNAPSHOT_NODES_MAX];

	if (is_crossing(work))
		left_by_tally(move_crew_tally(work->crew), left);
	else
		memcpy(left, move_crew_found(work->crew)->unmapped_bytes, sizeof(left));
	explain_all(work, left);
}

/* What the files hold beyond what is mapped, if anything. *swapped grows by what is in none of their pages. */
static int move_files(struct move_work *work, const struct move_found *seen, const struct held *held, uint64_t *swapped)
{
	uint64_t mapped = sum(seen->shared_bytes), moved = move_crew_moved_bytes(work->crew);
	uint64_t small = held->shmem_bytes > mapped ? held->shmem_bytes - mapped : 0;
	uint64_t huge = held->hugetlb_bytes > seen->hugetlb_bytes ? held->hugetlb_bytes - seen->hugetlb_bytes : 0;
	char object[96];
	int rc;

	if (!small && !huge)
		return 0;
	rc = move_crew_move_unmapped(work->crew, work->pieces, work->piece_count);
	moved = move_crew_moved_bytes(work->crew) - moved;
	if (rc == -EOPNOTSUPP) {
		/* What cannot go cannot have gone. */
		if (small && !is_undo(work))
			explain_unmapped(work, seen->shared_bytes, small);
		if (huge && !is_undo(work))
			tell_not_mapped(work, job_context_guest(work->context, object), huge, ": huge pages");
		return 0;
	}
	if (!rc) {
		explain_files(work);
		*swapped += move_crew_found(work->crew)->swapped_bytes;
	} else if (rc != -ESRCH && small + huge > moved) {
		tell_not_mapped(work, job_context_guest(work->context, object), small + huge - moved,
				"; the pass over it was cut short");
	}
	return rc;
}

/* Pages that the guest's page table does not have: those of its files, and those that are swapped out. */
static int move_unmapped(struct move_work *work)
{
	struct move_found seen = *move_crew_found(work->crew);
	struct held held = read_held(work);
	uint64_t swapped = seen.swapped_bytes;
	char object[96];
	int rc = move_files(work, &seen, &held, &swapped);

	if (rc)
		return rc;
	tell_unasked(work, &held);
	job_context_guest(work->context, object);
	/* Of a part of the host's memory it cannot be said that they were in it. */
	if (swapped && !work->context->job->step.range_count)
		remainder_list_add(&work->context->result->remainder, REMAINDER_SWAPPED, object, swapped, NULL,
				   "swapped out: they return to a node when they are touched");
	return 0;
}

/*
 * Where the step wants an order: watches for a while which pages are used, and moves the ones before the others, which
 * the passes take then. Where that cannot be told they go by address.
 */
static int move_in_order(struct move_work *work)
{
	struct job_context *context = work->context;
	enum move_order order = context->job->step.order;
	char object[96];
	int rc;

	if (order == MOVE_ORDER_ANY || is_undo(work))
		return 0;
	if (is_crossing(work)) {
		job_context_warn(context, REMAINDER_ORDER_NOT_KEPT, job_context_guest(context, object), 0,
				 "pages arrive where others leave: each is looked at once, by address");
		return 0;
	}
	rc = move_crew_watch_heat(work->crew, work->pieces, work->piece_count);
	if (rc == -EOPNOTSUPP || rc == -EPERM || rc == -EACCES) {
		job_context_warn(context, REMAINDER_ORDER_NOT_KEPT, job_context_guest(context, object), 0,
				 "the kernel has neither idle page tracking nor soft-dirty: moved by address");
		return 0;
	}
	if (rc)
		return rc;
	if (!job_context_wait(context, UINT64_C(1000) * (context->heat_watch_ms ? context->heat_watch_ms : HEAT_WATCH_MS)))
		return -ECANCELED;
	rc = move_crew_move(work->crew, work->pieces, work->piece_count,
			    order == MOVE_ORDER_COLD_FIRST ? MOVE_HEAT_COLD : MOVE_HEAT_HOT);
	job_context_detail(context, "%s first: %llu MiB",
			   order == MOVE_ORDER_COLD_FIRST ? "cold" : "hot",
			   (unsigned long long)(move_crew_moved_bytes(work->crew) / SIZE_TEXT_MIB));
	return rc;
}

/* What stayed goes to left_bytes. */
static int move_passes(struct move_work *work, uint64_t *left_bytes)
{
	const struct move_found *found = move_crew_found(work->crew);
	struct move_gate *gate = move_crew_gate(work->crew);
	int rc = 0;

	if (is_crossing(work)) {
		rc = move_crew_move(work->crew, work->pieces, work->piece_count, MOVE_HEAT_ANY);
		left_by_tally(move_crew_tally(work->crew), left_bytes);
		return rc;
	}

	for (int pass = 0; pass < PASSES_MAX; pass++) {
		uint64_t moved = move_crew_moved_bytes(work->crew);

		/* Nobody listens meanwhile: it is short. */
		rc = pass ? move_gate_wait(gate, BETWEEN_PASSES_US) : 0;
		if (!rc)
			rc = move_crew_move(work->crew, work->pieces, work->piece_count, MOVE_HEAT_ANY);
		if (!rc)
			rc = move_crew_count(work->crew, work->pieces, work->piece_count, 0);
		/* One more than the first, too, for pages that were busy for a moment. */
		if (rc || !sum(found->left_bytes) ||
		    (pass && move_crew_moved_bytes(work->crew) == moved))
			break;
	}
	memcpy(left_bytes, found->left_bytes, sizeof(found->left_bytes));
	return rc;
}

/* Facts of the result, and what was noticed. */
static void tell_facts(struct move_work *work)
{
	struct job_context *context = work->context;
	struct page_move_counts counts = move_crew_counts(work->crew);
	struct pace_ease ease = move_gate_ease(move_crew_gate(work->crew));
	unsigned compactions = move_gate_compactions(move_crew_gate(work->crew));
	const struct {
		const char *name;
		uint64_t number;
	} facts[] = {
		{"bytes", move_crew_moved_bytes(work->crew)},
		{"calls", counts.calls},
		{"call_us", counts.call_ns / 1000},
		{"longest_call_us", counts.longest_call_ns / 1000},
		{"guest_pause_us", ease.worst_us},
		{"slowed_down", ease.slowed},
		{"pages_read", counts.touched},
		{"workers", thread_count(work)},
		{"compactions", compactions},
	};
	uint64_t split_bytes = move_crew_split_bytes(work->crew);
	json_t *values = job_context_values(context);
	char object[96];

	context->result->bytes_done = move_crew_moved_bytes(work->crew);
	context->result->longest_pause_us = counts.longest_call_ns / 1000;
	for (size_t i = 0; values && i < ARRAY_SIZE(facts); i++)
		json_object_set_new(values, facts[i].name, json_integer((json_int_t)facts[i].number));
	job_context_detail(context, "%llu calls, %llu ms in them, longest %llu us",
			   (unsigned long long)counts.calls, (unsigned long long)counts.call_ns / 1000000,
			   (unsigned long long)counts.longest_call_ns / 1000);
	if (compactions)
		job_context_detail(context, "compactions of free memory there: %u", compactions);
	if (ease.worst_us)
		job_context_detail(context, "the guest's longest pause %llu us, slowed down %llu times",
				   (unsigned long long)ease.worst_us, (unsigned long long)ease.slowed);
	if (split_bytes)
		job_context_warn(context, REMAINDER_WOULD_SPLIT, job_context_guest(context, object), split_bytes,
				 "transparent huge pages were split on the way");
}

/* What has not moved when it was stopped: counted, or else as the plan estimated it. */
static uint64_t left_after_stop(struct move_work *work, uint64_t total)
{
	uint64_t moved = move_crew_moved_bytes(work->crew);

	if (!is_crossing(work) &&
	    move_crew_count(work->crew, work->pieces, work->piece_count, COUNT_AFTER_CANCEL_MS) == 0)
		return sum(move_crew_found(work->crew)->left_bytes);
	return total > moved ? total - moved : 0;
}

static int run_move(struct move_work *work, uint64_t *ret_total, uint64_t *left_bytes)
{
	const struct step *step = &work->context->job->step;
	/* The plan's estimate saves a walk over the whole page table. */
	uint64_t total = step->bytes;
	int rc = cut_guest(work);

	if (!rc)
		rc = new_crew(work, move_job_destinations(step));
	if (!rc && !total) {
		rc = move_crew_count(work->crew, work->pieces, work->piece_count, 0);
		total = sum(move_crew_found(work->crew)->left_bytes);
	}
	*ret_total = total;
	if (rc)
		return rc;
	move_crew_set_total(work->crew, total);
	rc = move_in_order(work);
	return rc ? rc : move_passes(work, left_bytes);
}

/* All that has a page is where it shall be: the move has not failed, though some have none. */
static bool has_only_unseen(const struct remainder_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (!remainder_code_is_unseen(list->items[i].code))
			return false;
	return list->count > 0;
}

void move_job_run(struct job_context *context)
{
	struct move_work *work = new_work(context);
	uint64_t total = 0, left = 0, left_bytes[SNAPSHOT_NODES_MAX];
	bool is_explained;
	char object[96];
	int rc;

	if (!work)
		return;
	rc = run_move(work, &total, left_bytes);
	is_explained = !rc;
	if (is_explained) {
		explain_unknown_cells(work);
		explain_all(work, left_bytes);
		rc = move_unmapped(work);
	}
	if (rc)
		tell_error(work, rc);
	if (work->crew)
		tell_facts(work);
	if (rc == -ESRCH || failure_is_set(&context->result->failure)) {
		/* What a call that failed has moved cannot be told any more. */
		if (rc != -ESRCH && work->crew && move_crew_counts(work->crew).calls) {
			context->result->outcome = WORKER_OUTCOME_PARTIAL;
			remainder_list_add(&context->result->remainder, REMAINDER_NOT_TRIED,
					   job_context_guest(context, object), 0, NULL,
					   "ended by an error: %s", strerror(-rc));
		}
		close_work(work);
		return;
	}
	if (rc && !is_explained && work->crew)
		left = left_after_stop(work, total);
	if (!guest_view_is_gone(&work->view, context))
		job_context_settle(context, job_context_guest(context, object), left,
				   context->result->bytes_done > 0 || has_only_unseen(&context->result->remainder));
	close_work(work);
}

void move_job_before(struct job_context *context)
{
	struct move_work *work = new_work(context);
	char object[96];
	int rc;

	if (!work)
		return;
	page_homes_init(&work->homes, PAGE_HOMES_BYTES);
	rc = move_record_take(context, &work->view, work->targets, &work->homes);
	if (rc)
		tell_error(work, rc);
	job_context_guest(context, object);
	if (rc == -ECANCELED)
		job_context_settle(context, object, 0, false);
	else if (!rc && guest_view_is_same(&work->view, context))
		job_context_give(context, object,
				 json_pack("{s:o, s:b}", "homes", page_homes_to_json(&work->homes), "stays", 1));
	close_work(work);
}

static void explain_strays(struct move_work *work, uint64_t bytes)
{
	char object[96];

	if (bytes)
		remainder_list_add(&work->context->result->remainder, REMAINDER_HOME_UNKNOWN,
				   job_context_guest(work->context, object), bytes, NULL,
				   "lay mixed on several nodes: too much for each page to be written down, or one huge page now");
}

/* *ret_explained: what is left of the mapped pages has been told. */
static int run_undo(struct move_work *work, bool *ret_explained)
{
	uint64_t left_bytes[SNAPSHOT_NODES_MAX], strays, swapped = 0;
	struct move_found seen;
	struct held held;
	int rc = page_homes_parse(json_object_get(work->context->before, "homes"), &work->homes);

	*ret_explained = false;
	if (!rc)
		rc = cut_guest(work);
	if (!rc)
		rc = new_crew(work, work->homes.nodes);
	if (rc)
		return rc;
	move_crew_set_total(work->crew, work->homes.bytes);
	rc = move_passes(work, left_bytes);
	if (rc)
		return rc;
	*ret_explained = true;
	explain_all(work, left_bytes);
	seen = *move_crew_found(work->crew);
	strays = seen.stray_bytes;
	held = read_held(work);
	rc = move_files(work, &seen, &held, &swapped);
	if (!rc)
		tell_unasked(work, &held);
	if (!rc && held.shmem_bytes > sum(seen.shared_bytes))
		strays += move_crew_found(work->crew)->stray_bytes;
	explain_strays(work, strays);
	return rc;
}

void move_job_undo(struct job_context *context)
{
	struct move_work *work = new_work(context);
	bool is_explained;
	char object[96];
	uint64_t left = 0;
	int rc;

	if (!work)
		return;
	rc = run_undo(work, &is_explained);
	if (rc)
		tell_error(work, rc);
	if (work->crew)
		tell_facts(work);
	if (rc == -ECANCELED && !is_explained)
		left = left_after_stop(work, work->homes.bytes);
	if (!failure_is_set(&context->result->failure) && !guest_view_is_gone(&work->view, context))
		job_context_settle(context, job_context_guest(context, object), left,
				   context->result->bytes_done > 0);
	close_work(work);
}
