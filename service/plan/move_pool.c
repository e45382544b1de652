/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of huge pages around a move: room on the destinations before it, and what was there before
 * put right after it.
 *
 *   room:   free pages at each destination for what comes
 *   growth: free pages there for what the guest may still grow by, once it has come: later pages land
 *          where free ones are, on the old node if need be, and where there are none a plug fails
 *          without a word
 *   spare: what was made at a destination for pages that did not come, given back
 *   back:  each source made smaller by what its destination keeps: together the pools are as large
 *          as they were. Pages that are in use there stay, as surplus, and go when they are freed;
 *          a source without a pool of its own (the guest lived on surplus pages) leaves its share
 *          to the destination, whose pages become surplus likewise
 *
 * Where the kernel made the room itself the pages have taken their place in the pool along
 * (mm/hugetlb.c move_hugetlb_state), and nothing is left to put right.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

static const char room_mark[] = "room", growth_mark[] = "growth", spare_mark[] = "spare",
		  back_mark[] = "back";

struct pools {
	struct mover *mover;
	uint64_t page;
	double share; /* of the guest's resident bytes that are pages of this size */
};

static uint64_t round_up(uint64_t bytes, uint64_t page)
{
	return (bytes + page - 1) / page * page;
}

/* The same step was tried at this pool before. */
static const struct step_record *tried(const struct pools *pools, int node, const char *mark)
{
	const struct plan_input *input = pools->mover->input;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *step = &input->history[i].step;

		if (step->kind == STEP_KIND_HOST_POOL && step->node == node &&
		    step->page_bytes == pools->page && strcmp(step->text, mark) == 0 &&
		    input->history[i].state != STEP_STATE_UNDONE &&
		    !plan_was_cut(&input->history[i]))
			return &input->history[i];
	}
	return NULL;
}

/* What such steps really changed, those too that a restart cut short. */
static uint64_t changed(const struct pools *pools, int node, const char *mark)
{
	const struct plan_input *input = pools->mover->input;
	uint64_t bytes = 0;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *step = &input->history[i].step;

		if (step->kind == STEP_KIND_HOST_POOL && step->node == node &&
		    step->page_bytes == pools->page && strcmp(step->text, mark) == 0 &&
		    input->history[i].state != STEP_STATE_UNDONE &&
		    input->history[i].state != STEP_STATE_FAILED)
			bytes += plan_min(input->history[i].bytes_done, step->bytes);
	}
	return bytes;
}

static uint64_t part_of(double share, uint64_t bytes, uint64_t page)
{
	return share >= 1 ? round_up(bytes, page) : round_up((uint64_t)(share * (double)bytes), page);
}

static void pools_init(struct pools *pools, struct mover *mover, uint64_t page)
{
	const struct snapshot_guest *guest = mover->guest;
	uint64_t total = 0, huge = plan_guest_huge_bytes(guest, page, false);

	*pools = (struct pools){.mover = mover, .page = page, .share = 1};
	for (size_t i = 0; i < guest->backing_count; i++)
		total += guest->backings[i].bytes;
	if (total > huge)
		pools->share = (double)huge / (double)total;
}

static uint64_t lasting_bytes(const struct pools *pools, int node)
{
	const struct snapshot_pool *pool =
		plan_pool(pools->mover->input->snapshot, node, pools->page);

	return pool ? (pool->total - plan_min(pool->total, pool->surplus)) * pools->page : 0;
}

static bool emit_pool(struct pools *pools, int node, uint64_t bytes, bool grow, const char *mark)
{
	const struct snapshot_pool *pool =
		plan_pool(pools->mover->input->snapshot, node, pools->page);
	uint64_t total = pool ? pool->total * pools->page : 0, lasting = lasting_bytes(pools, node);
	struct step step;

	plan_step_init(&step, STEP_KIND_HOST_POOL, pools->mover->guest);
	step.node = node;
	step.page_bytes = pools->page;
	step.bytes = bytes;
	/* More lasting pages begin with the surplus ones that are there (set_max_huge_pages). */
	step.target_bytes = grow ? total + bytes : lasting - plan_min(lasting, bytes);
	snprintf(step.text, sizeof(step.text), "%s", mark);
	step.undoable = true;
	plan_decide(pools->mover->decision, &step);
	return true;
}

static uint64_t free_bytes(const struct pools *pools, int node)
{
	const struct snapshot_pool *pool =
		plan_pool(pools->mover->input->snapshot, node, pools->page);

	return pool ? pool->free * pools->page : 0;
}

/* Pages that somebody has reserved are free and yet not to be had; which node they will come from is
 * open. */
static uint64_t usable_bytes(const struct pools *pools, int node)
{
	const struct snapshot *snapshot = pools->mover->input->snapshot;
	uint64_t all = 0, reserved = 0;

	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_pool *pool =
			plan_pool(snapshot, snapshot->nodes[i].id, pools->page);

		if (!pool)
			continue;
		all += pool->free * pools->page;
		reserved = pool->reserved * pools->page;
	}
	all -= plan_min(all, reserved);
	return plan_min(all, free_bytes(pools, node));
}

/* How much in pages of this size comes to a node, at most. */
static uint64_t comes_bytes(const struct pools *pools, int node)
{
	return move_goal_size_bytes(pools->mover->guest, &pools->mover->goal, node, pools->page);
}

/* And how much of that has not come. Where a map crosses itself only the sum of what is left can be told. */
static uint64_t stayed_bytes(const struct pools *pools, int node)
{
	const struct move_goal *goal = &pools->mover->goal;
	uint64_t left = goal->left_bytes, needs = goal->needs_bytes[node];

	return goal->by_cells ? part_of(pools->share, plan_min(needs, left), pools->page)
			      : round_up(plan_share(comes_bytes(pools, node), left, needs), pools->page);
}

/* What a node still lacks for so many bytes in pages of this size. */
static uint64_t lacks(const struct pools *pools, int node, uint64_t need)
{
	uint64_t has = usable_bytes(pools, node);

	return need > has ? need - has : 0;
}

/* Growth is made of what is there. */
static uint64_t lacks_for_growth(const struct pools *pools, int node, uint64_t bytes)
{
	const struct snapshot_guest *guest = pools->mover->guest;
	uint64_t all = guest->node_bytes[node], here = plan_guest_size_bytes(guest, node, all, pools->page);

	return lacks(pools, node, round_up(plan_share(bytes, here, all), pools->page));
}

/* What it may grow by, for the part of it that is (or will be) on one node. */
static uint64_t growth_bytes(const struct pools *pools, uint64_t part_bytes)
{
	const struct snapshot_guest *guest = pools->mover->guest;
	uint64_t size = guest->requested_bytes > guest->current_bytes ? guest->requested_bytes
								      : guest->current_bytes;

	/* What was taken out of it for the time of the move comes back. */
	size += move_free_taken(pools->mover->input, guest);
	if (!guest->resident_bytes || size <= guest->resident_bytes)
		return 0;
	return (uint64_t)((double)(size - guest->resident_bytes) *
			  ((double)part_bytes / (double)guest->resident_bytes));
}

static uint64_t room_bytes(const struct pools *pools, int node)
{
	return plan_room(pools->mover->input, node, 0) / pools->page * pools->page;
}

/* Another drain than the one that this move belongs to holds it: no page of a pool is made there. */
static bool is_held(const struct pools *pools, int node)
{
	const struct plan_input *input = pools->mover->input;

	return snapshot_held_nodes(input->snapshot, input->wish->drain) >> node & 1;
}

static bool room_next(struct pools *pools)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		/* Tried in full, whatever is free: the kernel knows best. */
		uint64_t make = lacks(pools, node, comes_bytes(pools, node));

		if (make && !is_held(pools, node) && !tried(pools, node, room_mark))
			return emit_pool(pools, node, make, true, room_mark);
	}
	return false;
}

static bool growth_next(struct pools *pools)
{
	const struct mover *mover = pools->mover;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t make;

		if (!(mover->goal.destinations >> node & 1) || is_held(pools, node) || tried(pools, node, growth_mark))
			continue;
		make = plan_min(lacks_for_growth(pools, node, growth_bytes(pools, mover->guest->node_bytes[node])),
				room_bytes(pools, node));
		if (make)
			return emit_pool(pools, node, make, true, growth_mark);
	}
	return false;
}

static bool spare_next(struct pools *pools)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		/* What has come ended with the guest. */
		uint64_t stayed = plan_guest_runs(pools->mover->guest) ? stayed_bytes(pools, node) : UINT64_MAX;
		uint64_t spare = plan_min(plan_min(changed(pools, node, room_mark), stayed),
					  free_bytes(pools, node));

		if (spare && !tried(pools, node, spare_mark))
			return emit_pool(pools, node, spare, false, spare_mark);
	}
	return false;
}

/* Where the pages of this operation came from, and what of it may have gone to the node; all of them
 * where that is known by cell only. */
static uint64_t sources_of(const struct pools *pools, int node)
{
	const struct plan_input *input = pools->mover->input;
	uint64_t sources = 0;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *moved = &input->history[i].step;

		if (moved->kind != STEP_KIND_MOVE_PAGES)
			continue;
		if (!moved->by_map)
			sources |= moved->from_nodes & ~plan_node_bit(node);
		for (int from = 0; moved->by_map && from < SNAPSHOT_NODES_MAX; from++)
			if (moved->map[from] == node)
				sources |= plan_node_bit(from);
	}
	return sources;
}

/*
 * What a source can give for a destination: for what came all that lasts there, for growth what is free. Where only the
 * mover knows which node a cell lay on, it is where free pages have been left behind.
 */
static uint64_t part_from(const struct pools *pools, int from, uint64_t taken, uint64_t made,
			  uint64_t grown)
{
	uint64_t lasting = lasting_bytes(pools, from), idle = free_bytes(pools, from);
	uint64_t left = pools->mover->goal.by_cells ? plan_min(lasting, idle) : lasting;
	uint64_t part = plan_min(made, left - plan_min(left, taken));

	taken += part;
	return part + plan_min(grown, plan_min(idle - plan_min(idle, taken),
					       lasting - plan_min(lasting, taken)));
}

static bool back_next(struct pools *pools)
{
	uint64_t takes[SNAPSHOT_NODES_MAX] = {0}, rest[SNAPSHOT_NODES_MAX] = {0};
	uint64_t counted[SNAPSHOT_NODES_MAX] = {0}; /* of what has been given back */

	for (int to = 0; to < SNAPSHOT_NODES_MAX; to++) {
		uint64_t made = changed(pools, to, room_mark), sources = sources_of(pools, to);
		uint64_t grown = changed(pools, to, growth_mark);

		made -= plan_min(made, changed(pools, to, spare_mark));
		for (; made + grown && sources; sources &= sources - 1) {
			int from = plan_first_node(sources);
			const struct step_record *before = tried(pools, from, back_mark);
			/* What has been given back there was given back for its destinations, in this
			 * order. */
			uint64_t part = before ? plan_min(before->step.bytes - counted[from], made + grown)
					       : part_from(pools, from, takes[from], made, grown);

			*(before ? &counted[from] : &takes[from]) += part;
			grown -= part > made ? part - made : 0;
			made -= plan_min(made, part);
		}
		rest[to] = made;
	}
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (takes[node])
			return emit_pool(pools, node, takes[node], false, back_mark);
		if (rest[node] && !tried(pools, node, spare_mark))
			return emit_pool(pools, node, rest[node], false, spare_mark);
	}
	return false;
}

/* For each size of huge pages that the guest has or this operation has made, smallest first. */
static bool each_size(struct mover *mover, bool (*next)(struct pools *pools))
{
	uint64_t done = 0;

	for (;;) {
		struct pools pools;
		uint64_t page = plan_guest_next_size(mover->guest, done);

		for (size_t i = 0; i < mover->input->history_count; i++) {
			const struct step *step = &mover->input->history[i].step;

			if (step->kind == STEP_KIND_HOST_POOL && step->page_bytes > done &&
			    (!page || step->page_bytes < page))
				page = step->page_bytes;
		}
		if (!page)
			return false;
		pools_init(&pools, mover, page);
		if (next(&pools))
			return true;
		done = page;
	}
}

bool move_pool_room_next(struct mover *mover)
{
	return each_size(mover, room_next);
}

/* Once nothing more is tried. */
static bool is_short(struct pools *pools)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (lacks(pools, node, comes_bytes(pools, node)))
			return true;
	return false;
}

bool move_pool_is_short(struct mover *mover)
{
	return each_size(mover, is_short);
}

bool move_pool_growth_next(struct mover *mover)
{
	return each_size(mover, growth_next);
}

bool move_pool_back_next(struct mover *mover)
{
	/* What is away for a while finds its place in the pool again. */
	return each_size(mover, spare_next) || (!mover->goal.in_ranges && each_size(mover, back_next));
}

static bool warn(struct pools *pools)
{
	const struct snapshot *snapshot = pools->mover->input->snapshot;
	struct remainder_list *warnings = &pools->mover->decision->warnings;
	char size[SIZE_TEXT_SIZE];

	size_text_format(pools->page, size);
	for (int id = 0; id < SNAPSHOT_NODES_MAX; id++) {
		const struct snapshot_node *node = snapshot_node(snapshot, id);
		uint64_t comes = pools->mover->goal.needs_bytes[id], make, all, room, whole;

		if (!node || !comes || !comes_bytes(pools, id))
			continue;
		make = lacks(pools, id, comes_bytes(pools, id));
		all = lacks(pools, id,
			    comes_bytes(pools, id) +
				    round_up(plan_share(growth_bytes(pools, comes), comes_bytes(pools, id), comes), pools->page));
		room = room_bytes(pools, id);
		whole = node->free_bytes - plan_min(node->free_bytes, node->fragmented_bytes);
		if (all > make && all > room)
			remainder_list_add(warnings, REMAINDER_NO_ROOM, pools->mover->object,
					   all - (room > make ? room : make),
					   "free memory there before it grows",
					   "node %d has no pages of %s for all that it may still "
					   "grow by",
					   id, size);
		/* Once a kernel runs it has few whole GiB left (mm/page_alloc.c alloc_contig_pages). */
		if (make && (make > whole || pools->page >= SIZE_TEXT_GIB))
			remainder_list_add(warnings, REMAINDER_NO_ROOM, pools->mover->object,
					   make > whole ? make - whole : make,
					   "free memory there, or set the pool up beforehand",
					   "free memory of node %d is in pieces: pages of %s must be "
					   "compacted first, and fewer may come of it",
					   id, size);
	}
	return false;
}

void move_pool_warn(struct mover *mover)
{
	each_size(mover, warn);
}
