/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Move:
 *
 *   room in the huge page pool -> widen cpuset -> policy -> vCPUs
 *     -> what is free in the guest left out: reported, or unplugged and asked back
 *     -> (lazy: pages that their CPUs touch) -> pages, in passes as long as one gains
 *     -> bind what was bound -> what a device pins, unplugged and plugged again (move_replug.c)
 *     -> narrow cpuset (or numatune) -> growth's huge pages
 *     -> what was unplugged, plugged again -> pools -> stored XML -> done, or why not
 *
 * The policy comes before the pages, so that what the guest touches meanwhile lands right. Until
 * they have gone it only prefers the destination: a guest for which a bound policy finds no page is
 * killed (mm/oom_kill.c constrained_alloc), and the destination may fill up meanwhile. The cpuset is
 * narrowed only after the pages have gone, because narrowing is itself a move that nobody can
 * throttle or interrupt (kernel/cgroup/cpuset.c cpuset_migrate_mm), and it rewrites policies by
 * position: what that would do is worked out before each write, and where it would do harm the
 * cpuset stays wide. What the widening has rewritten with the caller's consent is judged by what it
 * was before: narrowing may be what puts it right.
 *
 * A drain's child that takes only what lies in ranges of a node takes it away for a while, and its undo is the
 * way home: of all that it has room in pools, the wide cpuset and the pages.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>

#define PASSES_MAX 8

static const struct snapshot_guest no_guest = {.state = GUEST_STATE_SHUT_OFF};

static bool emit(struct mover *mover, const struct step *step)
{
	plan_decide(mover->decision, step);
	return true;
}

static bool cpuset_step(struct mover *mover, uint64_t nodes)
{
	struct step step;

	plan_step_init(&step, STEP_KIND_CPUSET, mover->guest);
	step.nodes = nodes;
	step.from_nodes = mover->guest->cpuset_mems;
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

/* What the guest may still touch for the first time. */
static uint64_t growth_of(const struct snapshot_guest *guest)
{
	return guest->max_bytes > guest->resident_bytes ? guest->max_bytes - guest->resident_bytes : 0;
}

static uint64_t room_on(const struct mover *mover, uint64_t nodes)
{
	uint64_t room = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes >> node & 1)
			room += plan_guest_room(mover->input, mover->guest, node, 0);
	return room;
}

/* A guest must be able to grow to its maximum where it is shut in, unless it could not where it
 * came from either; but never where nothing is left to grow by. */
static bool maximum_fits(const struct mover *mover, uint64_t narrow)
{
	uint64_t room = room_on(mover, narrow), growth = growth_of(mover->guest);

	if (growth && !room)
		return false;
	return room >= growth ||
	       total_of(mover->input->snapshot, narrow) >=
		       total_of(mover->input->snapshot, mover->guest->cpuset_mems & ~narrow);
}

static bool part_is_bound(const struct snapshot_guest *guest, size_t part, uint64_t *ret_nodes)
{
	return !plan_part_is_rebound(guest, part) &&
	       snapshot_guest_part_policy(guest, part, ret_nodes) == POLICY_MODE_BIND;
}

/* Where shared memory is still bound, by a policy that no cpuset rewrites: shut out of there it would
 * find no page at all. */
static uint64_t bound_nodes(const struct snapshot_guest *guest)
{
	uint64_t bound = 0;

	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t nodes;

		if (part_is_bound(guest, i, &nodes))
			bound |= nodes;
	}
	return bound;
}

/* A move before this one widened it, and ended before it could narrow it again. */
static bool was_left_wide(const struct snapshot_guest *guest)
{
	return guest->managed_by_ballast && guest->cpuset_given &&
	       plan_node_count(guest->cpuset_mems) > plan_node_count(guest->cpuset_given);
}

static void warn_of_wide(struct mover *mover, const struct step_record *wide)
{
	const struct step_record *last = plan_last(mover->input, STEP_KIND_NUMATUNE);

	if (!last)
		last = plan_last(mover->input, STEP_KIND_CPUSET);
	if (last && last != wide && last->state != STEP_STATE_DONE)
		remainder_list_add(&mover->decision->warnings, REMAINDER_CPUSET_CANNOT_CHANGE, mover->object, 0,
				   "move it again, or narrow its cpuset by hand",
				   "its cpuset could not be narrowed and was left wide");
}

/* Kernel memory for a vCPU's calls comes from the cpuset's nodes (GFP_USER: virt/kvm/kvm_main.c, memdup_user()). */
static void warn_of_movable(struct mover *mover, uint64_t nodes)
{
	const struct snapshot *snapshot = mover->input->snapshot;
	char text[32];

	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_node *node = &snapshot->nodes[i];

		if (nodes & plan_node_bit(node->id) && node->movable_bytes < node->total_bytes)
			return;
	}
	remainder_list_add(&mover->decision->warnings, REMAINDER_NO_KERNEL_MEMORY, mover->object, 0, NULL,
			   "it is shut into node %s, where all memory is movable: at a reset KVM may find none for its vCPUs",
			   plan_nodes_text(nodes, text));
}

/* What was widened is narrowed again, to where the guest is allowed and belongs now. */
static bool narrow_next(struct mover *mover)
{
	const struct step_record *wide = widening(mover->input);
	uint64_t leave, narrow;
	struct step step;

	if (wide ? wide->state == STEP_STATE_FAILED : !was_left_wide(mover->guest))
		return false;
	if (plan_tried(mover->input, STEP_KIND_CPUSET) > 1 || plan_tried(mover->input, STEP_KIND_NUMATUNE)) {
		warn_of_wide(mover, wide);
		warn_of_movable(mover, mover->guest->cpuset_mems);
		return false;
	}
	/* Only what was a source is closed: other nodes that were allowed before stay so. */
	leave = move_goal_first_sources(mover->input, &mover->goal) & ~mover->goal.destinations;
	narrow = (mover->guest->cpuset_mems & ~leave) | mover->goal.destinations |
		 plan_guest_nodes(mover->guest) | bound_nodes(mover->guest);
	if (narrow == mover->guest->cpuset_mems)
		return false;
	/* Narrowing touches and moves pages at once, which such a guest must be spared. */
	if (mover->guest->userfaultfd || mover->guest->migrating) {
		remainder_list_add(&mover->decision->warnings,
				   mover->guest->migrating ? REMAINDER_MIGRATION_JOB
							   : REMAINDER_USERFAULTFD,
				   mover->object, 0, "move it again when that is over",
				   "the guest is left alone, so its cpuset was left wide");
		return false;
	}
	if (move_goal_shifts(mover->input, mover->guest, &mover->goal, narrow)) {
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
	warn_of_movable(mover, narrow);
	/* What libvirt will change again for this guest is changed through it. */
	if (mover->guest->numatune_mode == NUMATUNE_MODE_RESTRICTIVE) {
		plan_step_init(&step, STEP_KIND_NUMATUNE, mover->guest);
		step.nodes = narrow;
		step.undoable = true;
		return emit(mover, &step);
	}
	return cpuset_step(mover, narrow);
}

/* What a policy step of this operation set, or else what the guest has, without the leave to move. */
static void policy_as_it_was(const struct mover *mover, const struct step_record *set, struct step *ret_step)
{
	const struct snapshot_guest *guest = mover->guest;

	if (set && set->state != STEP_STATE_FAILED) {
		*ret_step = set->step;
		return;
	}
	plan_step_init(ret_step, STEP_KIND_MEMORY_POLICY, guest);
	ret_step->mode = guest->policy_mode;
	ret_step->nodes = guest->policy_nodes;
	/* libvirt has bound nothing of it: what is bound now the lazy start bound. */
	if (guest->policy_mode == POLICY_MODE_BIND && guest->numatune_mode == NUMATUNE_MODE_NONE)
		ret_step->mode = POLICY_MODE_PREFERRED;
	/* Part by part, each as it is. */
	ret_step->by_map = guest->policy_mode == POLICY_MODE_MIXED;
	ret_step->loose = mover->goal.left_bytes && ret_step->mode != POLICY_MODE_PREFERRED && bound_nodes(guest) != 0;
	ret_step->undoable = true;
}

/*
 * The policy once more, where it is another one by now:
 *  - a lazy start binds memory for its time, with leave for AutoNUMA to move it, and puts the policy back; one that was
 *    killed did not, and a bound guest can run out of memory while other nodes have some;
 *  - a memory device that came while the pages moved has the policy that libvirt's XML gives it.
 */
static bool policy_again_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;
	const struct step_record *set = NULL;
	bool is_lazy = false, is_moved = false, is_other;
	struct step step;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->state == STEP_STATE_UNDONE)
			continue;
		is_lazy |= record->step.kind == STEP_KIND_LAZY;
		is_moved |= record->step.kind == STEP_KIND_MOVE_PAGES;
		if (record->step.kind != STEP_KIND_MEMORY_POLICY)
			continue;
		/* Once, whatever came of it. */
		if (is_lazy || is_moved)
			return false;
		set = record;
	}
	is_other = set && set->state != STEP_STATE_FAILED &&
		   (mover->guest->policy_mode != set->step.mode || mover->guest->policy_nodes != set->step.nodes);
	/* What could be set only in part stays another one, and a map would shift the rest once more. */
	if (is_lazy ? !is_other && !mover->guest->policy_balancing
		    : !is_moved || !set || set->state != STEP_STATE_DONE || set->step.by_map ||
			      !move_goal_part_differs(input, mover->guest, &mover->goal))
		return false;
	policy_as_it_was(mover, set, &step);
	return emit(mover, &step);
}

/* Is shared memory bound for which its nodes have nothing left? The first page that the guest touches anew kills it. */
static bool is_bound_to_full_nodes(const struct mover *mover)
{
	for (size_t i = 0; i < mover->guest->backing_count; i++) {
		uint64_t nodes;

		if (part_is_bound(mover->guest, i, &nodes) && !room_on(mover, nodes))
			return true;
	}
	return false;
}

/* Has this operation tried to bind what it, or a move before it, holds loosely? */
static bool has_tried_to_bind(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_MEMORY_POLICY && !record->step.loose &&
		    record->state != STEP_STATE_UNDONE && !plan_was_cut(record))
			return true;
	}
	return false;
}

/* What was bound is bound again, where its pages have gone: a strict guest stays one. */
static bool bind_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;
	const struct snapshot_guest *guest = mover->guest;
	const struct step_record *set = NULL;
	struct step step;
	char nodes[32];

	if (!guest->policy_loose || guest->userfaultfd || guest->migrating || has_tried_to_bind(input))
		return false;
	if (growth_of(guest) && is_bound_to_full_nodes(mover)) {
		remainder_list_add(&mover->decision->warnings, REMAINDER_NO_ROOM, mover->object, 0,
				   "make room there and move it there again",
				   "nothing is free on node %s for what it has not touched yet: its memory was not bound "
				   "to it, it prefers it",
				   plan_nodes_text(guest->policy_nodes, nodes));
		return false;
	}
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_MEMORY_POLICY && input->history[i].step.loose &&
		    input->history[i].state != STEP_STATE_UNDONE && input->history[i].state != STEP_STATE_FAILED)
			set = &input->history[i];
	policy_as_it_was(mover, set, &step);
	/* Bound it was, by whomever. */
	if (!set)
		step.mode = guest->policy_mode;
	/* Each part has its nodes by now, and a map would shift them once more. */
	if (step.by_map)
		memset(step.map, -1, sizeof(step.map));
	step.loose = false;
	return emit(mover, &step);
}

static bool policy_next(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	enum policy_mode mode;
	uint64_t nodes;
	struct step step;
	bool is_moved = mover->goal.left_bytes || mover->goal.opaque, is_right;

	/* Near its CPUs already, and nobody has bound it elsewhere: there is nothing to hold. */
	if (mover->input->wish->move.form == MOVE_FORM_NEAR_CPUS && !mover->goal.left_bytes &&
	    guest->policy_mode == POLICY_MODE_DEFAULT)
		return false;
	/* Policies that change places by a map would change back by the same once more, where a restart cut it short. */
	if (plan_tried(mover->input, STEP_KIND_MEMORY_POLICY) || plan_count(mover->input, STEP_KIND_LAZY) ||
	    (mover->goal.opaque && !mover->goal.by_cells && plan_count(mover->input, STEP_KIND_MEMORY_POLICY)) ||
	    !move_goal_policy(guest, &mover->goal, &mode, &nodes))
		return false;
	is_right = guest->policy_mode == mode && guest->policy_nodes == nodes &&
		   !move_goal_part_differs(mover->input, guest, &mover->goal);
	if (is_right && !(is_moved && bound_nodes(guest) && !guest->policy_loose))
		return false;
	plan_step_init(&step, STEP_KIND_MEMORY_POLICY, guest);
	step.mode = mode;
	step.nodes = nodes;
	step.loose = is_moved && bound_nodes(guest) != 0;
	step.undoable = true;
	/* Policies that differ from part to part are carried over part by part. */
	if (mode == POLICY_MODE_MIXED && !mover->goal.by_cells) {
		step.by_map = true;
		move_goal_map(mover->input, &mover->goal, guest->policy_nodes, step.map);
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

	if (!mover->input->wish->move.cpus || plan_tried(mover->input, STEP_KIND_CPUS))
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
	bool first = !last, unseen;
	struct step step;

	/* Of what only its files have it is not known where it is until a pass has gone over them. */
	unseen = mover->goal.destinations && mover->guest->unmapped_bytes && (!last || move_remainder_is_cut(last));
	if (mover->goal.left_bytes == 0 && !(first && mover->goal.opaque) && !unseen)
		return false;
	if (last && ((last->bytes_done == 0 && !plan_was_cut(last)) ||
		     plan_tried(input, STEP_KIND_MOVE_PAGES) >= PASSES_MAX))
		return false;
	/* A second pass over a map that crosses itself would carry back what the first brought. */
	if (last && mover->goal.opaque && !mover->goal.by_cells && !mover->goal.in_ranges)
		return false;
	plan_step_init(&step, STEP_KIND_MOVE_PAGES, mover->guest);
	move_goal_fill_step(&mover->goal, &step);
	if (mover->goal.in_ranges) {
		step.range_count = wish->range_count;
		memcpy(step.ranges, wish->ranges, sizeof(step.ranges));
	}
	step.order = wish->order;
	step.workers = move_shape_workers(input, mover->guest, step.bytes);
	step.may_split = input->wish->allow >> CONSENT_SPLIT_HUGE_PAGES & 1;
	step.budget_bytes_per_s = plan_move_budget(input);
	step.budget_is_shared = !wish->budget_bytes_per_s && step.budget_bytes_per_s;
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

	if (!mover->input->wish->move.persist || !guest->persistent ||
	    (!stored && !move_goal_can_be_stored(guest, &mover->goal)) || plan_tried(mover->input, STEP_KIND_PERSIST) ||
	    !move_goal_renames(mover->input, &mover->goal, stored))
		return false;
	plan_step_init(&step, STEP_KIND_PERSIST, guest);
	step.nodes = move_goal_nodes(&mover->goal, stored);
	/* Each cell and device that has a set of its own keeps one, where it went. */
	if (mover->goal.by_cells) {
		step.by_cells = true;
		memcpy(step.cells, mover->goal.cells, sizeof(step.cells));
	} else if (stored) {
		step.by_map = true;
		move_goal_map(mover->input, &mover->goal, stored, step.map);
	}
	step.undoable = true;
	return emit(mover, &step);
}

static void finish(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct step_record *last = plan_last(mover->input, STEP_KIND_MOVE_PAGES);
	const struct step_record *lazy = plan_last(mover->input, STEP_KIND_LAZY);
	bool opaque_failed = mover->goal.opaque && last && last->state == STEP_STATE_FAILED;
	bool was_moved = (last && last->state == STEP_STATE_DONE) || (!last && lazy && lazy->state == STEP_STATE_DONE);

	/* Its CPUs were moved, or a drain began, after the wish had been checked. */
	if (!mover->goal.destinations &&
	    mover->input->wish->move.form == MOVE_FORM_NEAR_CPUS) {
		mover->decision->kind = DECISION_KIND_GIVE_UP;
		remainder_list_add(&mover->decision->remainder, REMAINDER_INVALID, mover->object,
				   guest->resident_bytes, "ask again, or name a node",
				   "no node of its CPUs has memory that it may go to");
		move_free_missing(mover);
		return;
	}
	/* It has no pages any more, which is not what was wished. */
	if (!plan_guest_runs(guest) && !was_moved) {
		move_remainder_left(mover, REMAINDER_GUEST_GONE, "the guest is not running");
		move_free_missing(mover);
		return;
	}
	if (mover->goal.left_bytes == 0 && !opaque_failed) {
		mover->decision->kind = DECISION_KIND_DONE;
		move_remainder_unseen(mover);
		move_free_missing(mover);
		move_remainder_unmet(mover);
		return;
	}
	if (!plan_guest_runs(guest))
		move_remainder_left(mover, REMAINDER_GUEST_GONE, "the guest is not running");
	else if (guest->userfaultfd)
		move_remainder_left(mover, REMAINDER_USERFAULTFD,
				    "its memory is served by a userfaultfd");
	else if (guest->migrating)
		move_remainder_left(mover, REMAINDER_MIGRATION_JOB,
				    "a migration of the guest is under way");
	else if (plan_is_late(mover->input))
		move_remainder_left(mover, REMAINDER_DEADLINE, "time ran out");
	else if (mover->shut_out != REMAINDER_NONE)
		move_remainder_left(mover, mover->shut_out, mover->shut_out_why);
	else
		move_remainder_left(mover, REMAINDER_NONE, NULL);
	move_free_missing(mover);
	move_remainder_unmet(mover);
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
		mover.guest = &no_guest;
		/* What was made of the host for it has not gone with it. */
		if (move_pool_back_next(&mover))
			return;
		ret_decision->kind = DECISION_KIND_GIVE_UP;
		remainder_list_add(&ret_decision->remainder, REMAINDER_GUEST_GONE,
				   wish_target(input->wish, mover.object), 0, NULL,
				   "the guest is not there any more");
		return;
	}
	plan_guest_object(mover.guest, mover.object);
	move_goal_find(input, mover.guest, &mover.goal);
	move_remainder_warn(&mover);
	began = plan_count(input, STEP_KIND_MOVE_PAGES) > 0;
	open = !plan_is_late(input) && plan_guest_runs(mover.guest) && !mover.guest->userfaultfd &&
	       !mover.guest->migrating;
	if (open && !began && !plan_count(input, STEP_KIND_LAZY) && move_pool_room_next(&mover))
		return;
	/* By hand as much goes as there is room for; a drain has other nodes, and no guest is to be torn apart for it. */
	if (open && !began && !plan_count(input, STEP_KIND_LAZY) && input->wish->drain[0] && move_pool_is_short(&mover)) {
		mover.shut_out = REMAINDER_NO_ROOM;
		mover.shut_out_why = "the pool there could not be given huge pages for all of it";
		open = false;
	}
	wide = widening(input);
	if (open && needs_widening(&mover)) {
		uint64_t mems = mover.guest->cpuset_mems | mover.goal.destinations;

		/* Tried, and the destination is not allowed, or not any more. */
		if (wide && plan_tried(input, STEP_KIND_CPUSET)) {
			mover.shut_out = REMAINDER_CPUSET_CANNOT_CHANGE;
			mover.shut_out_why = "its cpuset does not allow the destination";
		} else if (move_goal_shifts(input, mover.guest, &mover.goal, mems) &&
			   !(input->wish->allow >> CONSENT_POLICY_SHIFT & 1)) {
			mover.shut_out = REMAINDER_POLICY_WOULD_SHIFT;
			mover.shut_out_why = "widening its cpuset would rewrite its policies by position";
		} else {
			cpuset_step(&mover, mems);
			/* Narrowed again the kernel would try each page that is pinned outside by then (cpuset_migrate_mm). */
			ret_decision->step.undoable = !move_replug_is_due(&mover);
			return;
		}
		open = false;
	}
	if (open && !began && (policy_next(&mover) || cpus_next(&mover)))
		return;
	if (plan_guest_runs(mover.guest) && mover.shut_out == REMAINDER_NONE && policy_again_next(&mover))
		return;
	/* What is taken out, and touched again later, would come where its policy says, be that in the ranges. */
	if (open && !began && mover.goal.left_bytes && !mover.goal.in_ranges && !plan_count(input, STEP_KIND_LAZY) &&
	    !move_replug_is_due(&mover) && move_free_next(&mover))
		return;
	/* Of what is pinned no call could move any, and each would take its time. */
	if (open && !move_replug_is_due(&mover) && (move_lazy_next(&mover) || pages_next(&mover)))
		return;
	/*
	 * From here on nothing moves: put right what served the move, also when it was cut short. What is only away for a
	 * while needs it again on its way home.
	 */
	if (plan_guest_runs(mover.guest) && mover.shut_out == REMAINDER_NONE && !mover.goal.in_ranges &&
	    (bind_next(&mover) || (open && move_replug_next(&mover)) || narrow_next(&mover)))
		return;
	if (open && began && !mover.goal.left_bytes && !mover.goal.in_ranges && move_pool_growth_next(&mover))
		return;
	if (plan_guest_runs(mover.guest) && move_free_return_next(&mover))
		return;
	if (move_pool_back_next(&mover))
		return;
	if (mover.goal.left_bytes == 0 && persist_next(&mover))
		return;
	finish(&mover);
}
