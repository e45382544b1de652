/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lazy: pages are left to move when a CPU touches them, and what nobody has touched by two thirds
 * of the time is moved after all.
 *
 * The kernel moves a page that a hint fault has caught towards the node of the CPU that touched it,
 * and nowhere else: on a guest whose CPUs ran on another node 98306 faults moved nothing. So the
 * destinations must be nodes of the guest's CPUs. It looks at ranges without a policy of their own,
 * and at bound ones whose policy says so (mm/mempolicy.c mpol_misplaced, MPOL_F_NUMA_BALANCING);
 * never at hugetlb (kernel/sched/fair.c task_numa_work).
 */
#include "plan_priv.h"

#include <string.h>

/* Where no deadline is known yet: what a move gets at least. */
#define TIME_MS	      60000
#define TIME_LEAST_MS 1000

/* Where its CPUs are going to run: they follow first, where that is asked for. */
static uint64_t cpu_nodes(const struct plan_input *input, const struct snapshot_guest *guest,
			  const struct move_goal *goal)
{
	uint64_t nodes = 0;

	if (!input->wish->move.cpus)
		return guest->cpu_nodes;
	for (size_t i = 0; i < input->snapshot->node_count; i++)
		if (input->snapshot->nodes[i].has_cpus)
			nodes |= plan_node_bit(input->snapshot->nodes[i].id);
	return nodes & goal->destinations;
}

const char *move_lazy_refusal(const struct plan_input *input, const struct snapshot_guest *guest,
			      const struct move_goal *goal)
{
	bool bound = guest->policy_mode != POLICY_MODE_DEFAULT;

	if (input->snapshot->numa_balancing_off)
		return "automatic NUMA balancing is off: pages would follow nobody";
	if (goal->destinations & ~cpu_nodes(input, guest, goal))
		return "pages follow only the CPUs that touch them, and its vCPUs do not run on "
		       "every destination";
	if (plan_guest_huge_page(guest))
		return "huge pages of hugetlbfs do not follow the CPUs that touch them";
	/* A touch by any CPU pulls the page there, whatever its cell or its old node. */
	if (input->wish->move.form == MOVE_FORM_MAP && plan_node_count(goal->destinations) > 1)
		return "pages would go to whichever destination touches them, not by the map";
	if (plan_guest_has(guest, BACKING_KIND_ANON) && bound)
		return "its anonymous memory is bound, and nothing outside can change that";
	return NULL;
}

static uint32_t time_ms(const struct plan_input *input)
{
	uint64_t left = input->wish->timeout_s ? (uint64_t)input->wish->timeout_s * 1000 : TIME_MS;

	if (input->deadline_ms)
		left = input->deadline_ms > input->now_ms ? input->deadline_ms - input->now_ms : 0;
	left = left / 3 * 2;
	if (left < TIME_LEAST_MS)
		left = TIME_LEAST_MS;
	return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

bool move_lazy_next(struct mover *mover)
{
	const struct plan_input *input = mover->input;
	struct step step;

	if (!input->wish->move.lazy || !mover->goal.left_bytes ||
	    plan_count(input, STEP_KIND_LAZY) || plan_count(input, STEP_KIND_MOVE_PAGES) ||
	    move_lazy_refusal(input, mover->guest, &mover->goal))
		return false;
	plan_step_init(&step, STEP_KIND_LAZY, mover->guest);
	move_goal_fill_step(&mover->goal, &step);
	step.timeout_ms = time_ms(input);
	step.undoable = true;
	plan_decide(mover->decision, &step);
	return true;
}
