/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Move:
 *
 *   room in the huge page pool -> widen cpuset -> policy -> vCPUs
 *     -> pages, in passes as long as one gains
 *     -> narrow cpuset (or numatune) -> source pool -> stored XML -> done, or why not
 *
 * The policy comes before the pages, so that what the guest touches meanwhile lands right. The
 * cpuset is narrowed only after the pages have gone, because narrowing is itself a move that nobody
 * can throttle or interrupt (kernel/cgroup/cpuset.c cpuset_migrate_mm), and it rewrites policies by
 * position: what that would do is worked out before each write, and where it would do harm the
 * cpuset stays wide.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

#define PASSES_MAX 8

/* A policy that stands for the time of a lazy start only. */
static const char lent_mark[] = "lazy";

static bool emit(struct mover *mover, const struct step *step)
{
	plan_decide(mover->decision, step);
	return true;
}

static bool pool_tried(const struct plan_input *input, int node)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_HOST_POOL &&
		    input->history[i].step.node == node &&
		    input->history[i].state != STEP_STATE_UNDONE)
			return true;
	return false;
}

/* Free huge pages on each destination for what will come. */
static bool pool_room_next(struct mover *mover)
{
	uint64_t page = plan_guest_huge_page(mover->guest);
	struct step step;

	if (!page || plan_count(mover->input, STEP_KIND_MOVE_PAGES))
		return false;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		const struct snapshot_pool *pool = plan_pool(mover->input->snapshot, node, page);
		uint64_t need = mover->goal.needs_bytes[node], has = pool ? pool->free * page : 0;

		if (need <= has || pool_tried(mover->input, node))
			continue;
		plan_step_init(&step, STEP_KIND_HOST_POOL, mover->guest);
		step.node = node;
		step.page_bytes = page;
		step.bytes = (need - has + page - 1) / page * page;
		step.target_bytes = (pool ? pool->total * page : 0) + step.bytes;
		step.undoable = true;
		return emit(mover, &step);
	}
	return false;
}

/*
 * The source's pool is made smaller by what the destination's was made larger for this guest. Where
 * the kernel made the room itself the pages have taken their place in the pool along, and nothing
 * is left to put right.
 */
static bool pool_source_next(struct mover *mover)
{
	uint64_t page = plan_guest_huge_page(mover->guest), made = 0;
	const struct plan_input *input = mover->input;
	struct step step;

	for (size_t i = 0; page && i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind != STEP_KIND_HOST_POOL || record->state == STEP_STATE_FAILED)
			continue;
		if (plan_node_bit(record->step.node) & mover->goal.destinations)
			made += record->step.bytes;
		else
			made -= plan_min(made, record->step.bytes);
	}
	for (size_t i = 0; made && i < input->history_count; i++) {
		const struct step *moved = &input->history[i].step;

		if (moved->kind != STEP_KIND_MOVE_PAGES || !moved->by_map)
			continue;
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			const struct snapshot_pool *pool = plan_pool(input->snapshot, node, page);
			uint64_t spare = pool ? plan_min(pool->free * page, made) / page * page : 0;

			if (moved->map[node] < 0 || !spare || pool_tried(input, node))
				continue;
			plan_step_init(&step, STEP_KIND_HOST_POOL, mover->guest);
			step.node = node;
			step.page_bytes = page;
			step.bytes = spare;
			step.target_bytes = pool->total * page - spare;
			step.undoable = true;
			return emit(mover, &step);
		}
	}
	return false;
}

static bool cpuset_step(struct mover *mover, uint64_t nodes)
{
	struct step step;

	plan_step_init(&step, STEP_KIND_CPUSET, mover->guest);
	step.nodes = nodes;
	step.undoable = true;
	return emit(mover, &step);
}

static const struct step_record *widening(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_CPUSET &&
		    input->history[i].state != STEP_STATE_UNDONE)
			return &input->history[i];
	return NULL;
}

static bool needs_widening(const struct mover *mover)
{
	return mover->guest->cpuset_mems && mover->goal.destinations & ~mover->guest->cpuset_mems;
}

static uint64_t total_of(const struct snapshot *snapshot, uint64_t nodes)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		if (nodes & plan_node_bit(snapshot->nodes[i].id))
			bytes += snapshot->nodes[i].total_bytes;
	return bytes;
}

/* A guest must be able to grow to its maximum where it is shut in, unless it could not where it
 * came from either. */
static bool maximum_fits(const struct mover *mover, uint64_t narrow)
{
	uint64_t room = 0, growth = 0;

	if (mover->guest->max_bytes > mover->guest->resident_bytes)
		growth = mover->guest->max_bytes - mover->guest->resident_bytes;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (narrow >> node & 1)
			room += plan_guest_room(mover->input, mover->guest, node, 0);
	return room >= growth ||
	       total_of(mover->input->snapshot, narrow) >=
		       total_of(mover->input->snapshot, mover->guest->cpuset_mems & ~narrow);
}

/* What this operation widened is narrowed again, to where the guest is allowed and belongs now. */
static bool narrow_next(struct mover *mover)
{
	const struct step_record *wide = widening(mover->input);
	uint64_t leave, narrow;
	struct step step;

	if (!wide || wide->state == STEP_STATE_FAILED ||
	    plan_count(mover->input, STEP_KIND_CPUSET) > 1 ||
	    plan_count(mover->input, STEP_KIND_NUMATUNE))
		return false;
	leave = mover->goal.to_nodes ? ~mover->goal.to_nodes
				     : mover->goal.sources & ~mover->goal.destinations;
	/* For "to" only what was a source is closed: other nodes that were allowed before stay so.
	 */
	for (size_t i = 0; mover->goal.to_nodes && i < mover->input->history_count; i++) {
		const struct step *moved = &mover->input->history[i].step;
		uint64_t sources = 0;

		if (moved->kind != STEP_KIND_MOVE_PAGES)
			continue;
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
			if (moved->map[node] >= 0)
				sources |= plan_node_bit(node);
		leave &= sources;
		break;
	}
	narrow = (mover->guest->cpuset_mems & ~leave) | mover->goal.destinations |
		 plan_guest_nodes(mover->guest);
	if (narrow == mover->guest->cpuset_mems)
		return false;
	if (move_goal_shifts(mover->guest, &mover->goal, narrow)) {
		remainder_list_add(&mover->decision->warnings, REMAINDER_POLICY_WOULD_SHIFT,
				   mover->object, 0, "nothing: the cpuset stays wide",
				   "narrowing the cpuset would rewrite the guest's policies, so it "
				   "was left wide");
		return false;
	}
	if (!maximum_fits(mover, narrow)) {
		remainder_list_add(&mover->decision->warnings, REMAINDER_NO_ROOM, mover->object, 0,
				   "nothing: the cpuset stays wide",
				   "the guest's maximum does not fit on its new nodes, so its "
				   "cpuset was left wide");
		return false;
	}
	/* What libvirt will change again for this guest is changed through it. */
	if (mover->guest->numatune_mode == NUMATUNE_MODE_RESTRICTIVE) {
		plan_step_init(&step, STEP_KIND_NUMATUNE, mover->guest);
		step.nodes = narrow;
		step.undoable = true;
		return emit(mover, &step);
	}
	return cpuset_step(mover, narrow);
}

/*
 * For the time of a lazy start memory without a policy is bound, because only bound ranges can be
 * told to follow; after it, it prefers its new nodes as it would have without: bound, it could run
 * out of memory while others have some.
 */
static bool policy_next(struct mover *mover, bool open)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct plan_input *input = mover->input;
	bool lazy = input->wish->move.lazy, began = plan_count(input, STEP_KIND_LAZY) > 0;
	size_t tried = plan_count(input, STEP_KIND_MEMORY_POLICY);
	const struct step_record *last = plan_last(input, STEP_KIND_MEMORY_POLICY);
	bool lent = last && strcmp(last->step.text, lent_mark) == 0;
	bool starts = lazy && open && !began && mover->goal.left_bytes;
	enum policy_mode mode;
	uint64_t nodes;
	struct step step;

	if (!move_goal_policy(guest, &mover->goal, &mode, &nodes) ||
	    tried >= (lazy && (began || !open) ? 2u : 1u))
		return false;
	lent = lent || (starts && mode == POLICY_MODE_PREFERRED);
	if (lent)
		mode = starts ? POLICY_MODE_BIND : POLICY_MODE_PREFERRED;
	if (guest->policy_mode == mode && guest->policy_nodes == nodes)
		return false;
	plan_step_init(&step, STEP_KIND_MEMORY_POLICY, guest);
	if (lent && starts)
		snprintf(step.text, sizeof(step.text), "%s", lent_mark);
	step.mode = mode;
	step.nodes = nodes;
	step.undoable = true;
	/* Policies that differ from part to part are carried over part by part. */
	if (mode == POLICY_MODE_MIXED && !mover->goal.by_cells) {
		step.by_map = true;
		move_goal_policy_map(guest, &mover->goal, step.map);
	}
	if (mover->goal.by_cells) {
		step.by_cells = true;
		memcpy(step.cells, mover->goal.cells, sizeof(step.cells));
	}
	return emit(mover, &step);
}

static bool cpus_next(struct mover *mover)
{
	const struct snapshot *snapshot = mover->input->snapshot;
	uint64_t nodes = 0;
	struct step step;

	if (!mover->input->wish->move.cpus || plan_count(mover->input, STEP_KIND_CPUS))
		return false;
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].has_cpus)
			nodes |= plan_node_bit(snapshot->nodes[i].id) & mover->goal.destinations;
	if (!nodes || nodes == mover->guest->cpu_nodes)
		return false;
	plan_step_init(&step, STEP_KIND_CPUS, mover->guest);
	step.nodes = nodes;
	step.undoable = true;
	return emit(mover, &step);
}

static bool pages_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;
	const struct step_record *last = plan_last(input, STEP_KIND_MOVE_PAGES);
	const struct wish_move *wish = &input->wish->move;
	bool first = !last;
	struct step step;

	if (mover->goal.left_bytes == 0 && !(first && mover->goal.opaque))
		return false;
	if (plan_is_late(input) || !plan_guest_runs(mover->guest) || mover->guest->userfaultfd ||
	    mover->guest->migrating)
		return false;
	if (last &&
	    (last->bytes_done == 0 || plan_count(input, STEP_KIND_MOVE_PAGES) >= PASSES_MAX))
		return false;
	/* A second pass over a map that crosses itself would carry back what the first brought. */
	if (last && mover->goal.opaque && !mover->goal.by_cells)
		return false;
	plan_step_init(&step, STEP_KIND_MOVE_PAGES, mover->guest);
	step.by_cells = mover->goal.by_cells;
	step.by_map = !step.by_cells;
	memcpy(step.map, mover->goal.map, sizeof(step.map));
	memcpy(step.cells, mover->goal.cells, sizeof(step.cells));
	step.nodes = mover->goal.destinations;
	step.from_nodes = mover->goal.sources;
	step.bytes = mover->goal.left_bytes;
	step.order = wish->order;
	step.workers = move_shape_workers(input, mover->guest, step.bytes);
	step.budget_bytes_per_s =
		wish->budget_bytes_per_s ? wish->budget_bytes_per_s : input->limits->bytes_per_s;
	step.budget_stall_us =
		wish->budget_stall_us ? wish->budget_stall_us : input->limits->stall_us;
	step.stall_ms = move_shape_stall_ms(input, mover->guest);
	step.undoable = true;
	return emit(mover, &step);
}

static bool persist_next(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	uint64_t stored = guest->stored_numatune_nodes;
	struct step step;

	if (!mover->input->wish->move.persist || !guest->persistent || !stored ||
	    plan_count(mover->input, STEP_KIND_PERSIST) ||
	    move_goal_nodes(&mover->goal, stored) == stored)
		return false;
	plan_step_init(&step, STEP_KIND_PERSIST, guest);
	step.nodes = move_goal_nodes(&mover->goal, stored);
	step.undoable = true;
	return emit(mover, &step);
}

static void warn(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	struct remainder_list *warnings = &mover->decision->warnings;
	bool file = plan_guest_has(guest, BACKING_KIND_MEMFD) ||
		    plan_guest_has(guest, BACKING_KIND_FILE);
	char nodes[32];

	if (plan_guest_has(guest, BACKING_KIND_ANON) && guest->policy_mode == POLICY_MODE_DEFAULT)
		remainder_list_add(warnings, REMAINDER_AUTONUMA_MAY_RETURN, mover->object, 0, NULL,
				   "its memory is anonymous and unbound: automatic NUMA balancing "
				   "may pull it back");
	else if (!file && guest->backing_count && guest->policy_mode != POLICY_MODE_DEFAULT &&
		 guest->policy_nodes & ~move_goal_nodes(&mover->goal, guest->policy_nodes))
		remainder_list_add(warnings, REMAINDER_POLICY_NOT_SETTABLE, mover->object, 0, NULL,
				   "the policy of its memory cannot be set from outside");
	if (guest->swapped_bytes)
		remainder_list_add(warnings, REMAINDER_SWAPPED, mover->object, guest->swapped_bytes,
				   NULL, "swapped out: it returns to a node when it is touched");
	if (guest->stored_numatune_nodes && !mover->input->wish->move.persist &&
	    move_goal_nodes(&mover->goal, guest->stored_numatune_nodes) !=
		    guest->stored_numatune_nodes)
		remainder_list_add(warnings, REMAINDER_STORED_XML, mover->object, 0, NULL,
				   "stored XML still says node %s (--persist changes it)",
				   plan_nodes_text(guest->stored_numatune_nodes, nodes));
}

/* What stayed: first as the mover explained it, then by node. */
static void tell_left(struct mover *mover, enum remainder_code code, const char *why)
{
	const struct step_record *last = plan_last(mover->input, STEP_KIND_MOVE_PAGES);
	struct remainder_list *list = &mover->decision->remainder;
	uint64_t rest = mover->goal.left_bytes;

	mover->decision->kind = DECISION_KIND_GIVE_UP;
	if (last && code == REMAINDER_PAGE_BUSY)
		plan_take_remainder(list, &last->remainder, &rest);
	for (int node = 0; node < SNAPSHOT_NODES_MAX && rest && !mover->goal.opaque; node++) {
		uint64_t bytes = plan_min(
			mover->goal.map[node] >= 0 ? mover->guest->node_bytes[node] : 0, rest);

		if (!bytes)
			continue;
		remainder_list_add(list, code, mover->object, bytes, NULL, "on node %d: %s", node,
				   why);
		rest -= bytes;
	}
	if (rest || list->count == 0)
		remainder_list_add(list, code, mover->object, rest, NULL, "%s", why);
}

static void finish(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	bool opaque_failed =
		mover->goal.opaque && plan_last(mover->input, STEP_KIND_MOVE_PAGES) &&
		plan_last(mover->input, STEP_KIND_MOVE_PAGES)->state == STEP_STATE_FAILED;

	if (mover->goal.left_bytes == 0 && !opaque_failed) {
		mover->decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (!plan_guest_runs(guest))
		tell_left(mover, REMAINDER_GUEST_GONE, "the guest is not running");
	else if (guest->userfaultfd)
		tell_left(mover, REMAINDER_USERFAULTFD, "its memory is served by a userfaultfd");
	else if (guest->migrating)
		tell_left(mover, REMAINDER_MIGRATION_JOB, "a migration of the guest is under way");
	else if (plan_is_late(mover->input))
		tell_left(mover, REMAINDER_DEADLINE, "time ran out");
	else
		tell_left(mover, REMAINDER_PAGE_BUSY, "it could not be moved");
}

void move_next(const struct plan_input *input, struct decision *ret_decision)
{
	struct mover mover = {.input = input, .decision = ret_decision};
	const struct step_record *wide;
	bool open, began;

	memset(ret_decision, 0, sizeof(*ret_decision));
	ret_decision->kind = DECISION_KIND_COUNT;
	mover.guest = snapshot_guest(input->snapshot, input->wish->guest);
	if (!mover.guest) {
		ret_decision->kind = DECISION_KIND_GIVE_UP;
		remainder_list_add(&ret_decision->remainder, REMAINDER_GUEST_GONE,
				   wish_target(input->wish, mover.object), 0, NULL,
				   "the guest is not there any more");
		return;
	}
	plan_guest_object(mover.guest, mover.object);
	move_goal_find(input, mover.guest, &mover.goal);
	warn(&mover);
	began = plan_count(input, STEP_KIND_MOVE_PAGES) > 0;
	open = !plan_is_late(input) && plan_guest_runs(mover.guest) && !mover.guest->userfaultfd &&
	       !mover.guest->migrating;
	if (open && !began && pool_room_next(&mover))
		return;
	wide = widening(input);
	if (open && needs_widening(&mover)) {
		uint64_t mems = mover.guest->cpuset_mems | mover.goal.destinations;

		/* Tried, and the destination is still not allowed. */
		if (wide) {
			tell_left(&mover, REMAINDER_CPUSET_CANNOT_CHANGE,
				  "its cpuset does not allow the destination");
			return;
		}
		if (move_goal_shifts(mover.guest, &mover.goal, mems) &&
		    !(input->wish->allow >> CONSENT_POLICY_SHIFT & 1)) {
			tell_left(&mover, REMAINDER_POLICY_WOULD_SHIFT,
				  "widening its cpuset would rewrite its policies by position");
			return;
		}
		cpuset_step(&mover, mems);
		return;
	}
	if (open && !began && (policy_next(&mover, true) || cpus_next(&mover)))
		return;
	if (open && (move_lazy_next(&mover) || pages_next(&mover)))
		return;
	/* From here on nothing moves: put right what served the move, also when it was cut short.
	 */
	if (plan_guest_runs(mover.guest) && plan_count(input, STEP_KIND_MEMORY_POLICY) &&
	    policy_next(&mover, false))
		return;
	if (plan_guest_runs(mover.guest) && (narrow_next(&mover) || pool_source_next(&mover)))
		return;
	if (mover.goal.left_bytes == 0 && persist_next(&mover))
		return;
	finish(&mover);
}
