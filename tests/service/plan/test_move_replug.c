/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

#define UNIT (128 * MIB)

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

/*
 * A guest with a passed-through device: 512 MiB of its own, bound to node 1, and a memory device of 512 MiB at 4 GiB, bound
 * to node 3, all of whose pages lie in the DIMM. 600 MiB are available in it.
 */
static struct snapshot_guest *passed_world(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 512 * MIB);
	world_add_device(guest, "vm0", GIB, 512 * MIB)->address = 4 * GIB;
	guest->node_bytes[3] = 512 * MIB;
	guest->resident_bytes = GIB;
	snapshot_node(world->snapshot, 3)->free_bytes -= 512 * MIB;
	guest->backing_count = 2;
	guest->backings[1] = guest->backings[0];
	for (int i = 0; i < 2; i++) {
		guest->backings[i].policy_mode = POLICY_MODE_BIND;
		guest->backings[i].policy_nodes = UINT64_C(1) << (i ? 3 : 1);
	}
	guest->policy_mode = POLICY_MODE_MIXED;
	guest->policy_nodes = guest->cpuset_mems = 1 << 1 | 1 << 3;
	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = 512 * MIB;
	guest->residency_count = 1;
	guest->residencies[0] = (struct snapshot_residency){4 * GIB, GIB, UNIT, 8, {UNIT, UNIT, UNIT, UNIT}};
	for (uint8_t i = 0; i < 4; i++)
		guest->places[guest->place_count++] = (struct snapshot_place){UNIT / 4096, 0, i, 0, 3};
	world_add_agent(guest, 600 * MIB, 0);
	guest->vfio = guest->locked = true;
	guest->pinned_bytes = GIB;
	world_wish_map(world, "g1", 3, 2);
	world->wish.allow = 1 << CONSENT_SHRINK_GUESTS;
	return guest;
}

/* Performs steps until one of this kind is next, with the mark where it is not empty. */
static const struct step *perform_until(struct world *world, enum step_kind kind, const char *mark)
{
	for (int i = 0; i < 24; i++) {
		if (world_next(world)->kind != DECISION_KIND_STEP)
			break;
		if (world->decision.step.kind == kind && strcmp(world->decision.step.text, mark) == 0)
			return &world->decision.step;
		world_perform(world);
	}
	CHECK_STR("no such step", step_kind_name(kind));
	assert(world->decision.kind == DECISION_KIND_STEP);
	return &world->decision.step;
}

static void what_is_pinned_leaves_by_portions(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);
	const struct step *step;
	uint64_t least = guest->current_bytes;
	size_t taken = 0;
	char text[160];

	world_check_code(&world, "");
	expect_run(&world, "cpuset memory_policy memory_policy offline_guest_blocks request request offline_guest_blocks "
			   "request request offline_guest_blocks request request offline_guest_blocks request request "
			   "cpuset agent_undo done");
	/* Not narrowed while it is undone: what is pinned stays there then. */
	CHECK_TRUE(!world.history[0].step.undoable && world.history[15].step.undoable);
	CHECK_INT(world.history[15].step.kind, STEP_KIND_CPUSET);
	step = &world.history[3].step;
	CHECK_STR(step_describe(step, text), "g1  vm0  128 MiB  (replug)");
	CHECK_INT(step->range_count, 1);
	CHECK_INT(step->ranges[0].start, 4 * GIB);
	CHECK_INT(step->ranges[0].end, 4 * GIB + UNIT);
	CHECK_TRUE(step->undoable && step->timeout_ms);
	step = &world.history[4].step;
	CHECK_TRUE(step_replugs(step) && step->undoable);
	CHECK_STR(step_describe(step, text), "g1  vm0  to 384 MiB  (replug)");
	/* To undo the request asks for the old size already. */
	step = &world.history[5].step;
	CHECK_STR(step_describe(step, text), "g1  vm0  to 512 MiB  (return)");
	CHECK_TRUE(!step->undoable && !step_replugs(step));
	for (size_t i = 0; i < world.history_count; i++) {
		uint64_t left = GIB - world.history[i].step.bytes;

		taken += step_replugs(&world.history[i].step);
		if (step_replugs(&world.history[i].step) && left < least)
			least = left;
	}
	CHECK_INT(taken, 4);
	CHECK_INT(least, GIB - UNIT);
	CHECK_INT(guest->current_bytes, GIB);
	CHECK_INT(guest->requested_bytes, GIB);
	CHECK_INT(guest->node_bytes[3], 0);
	CHECK_INT(guest->node_bytes[2], 512 * MIB);
	CHECK_INT(guest->node_bytes[1], 512 * MIB);
	CHECK_INT(guest->backings[1].policy_nodes, 1 << 2);
	/* Closed to what has left it, although no page was moved. */
	CHECK_INT(guest->cpuset_mems, 1 << 1 | 1 << 2);
	world_done(&world);
}

static void a_dry_run_tells_its_bytes(void)
{
	struct world world;

	passed_world(&world);
	CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);
	CHECK_INT(plan->blockers.count, 0);
	CHECK_INT(plan->forecast.count, 0);
	CHECK_INT(plan->bytes, 512 * MIB);
	CHECK_INT(plan->needs_bytes[2], 512 * MIB);
	CHECK_INT(plan->step_count, 17);
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_VFIO_PINNED));
	CHECK_INT(plan->warnings.items[0].bytes, 512 * MIB);
	world_done(&world);
}

static void without_the_consent_it_is_asked_for(void)
{
	struct world world;
	struct remainder_list blockers;
	struct failure failure;

	passed_world(&world);
	world.wish.allow = 0;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "consent_required");
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].code, REMAINDER_VFIO_PINNED);
	CHECK_INT(blockers.items[0].consent, CONSENT_SHRINK_GUESTS);
	CHECK_INT(blockers.items[0].bytes, 512 * MIB);
	CHECK_STR(blockers.items[0].detail, "a passed-through device pins it: it is unplugged and plugged again elsewhere, "
					    "128 MiB at a time");
	world_done(&world);
}

static void expect_unmovable(struct world *world, uint64_t bytes)
{
	struct remainder_list blockers;
	struct failure failure;

	CHECK_INT(plan_check(&world->input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "guest_unmovable");
	CHECK_INT(blockers.items[0].code, REMAINDER_VFIO_PINNED);
	CHECK_INT(blockers.items[0].consent, -1);
	CHECK_INT(blockers.items[0].bytes, bytes);
	world_done(world);
}

static void what_is_no_virtio_mem_stays(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	/* 200 MiB of its base lie there as well. */
	guest->node_bytes[1] -= 200 * MIB;
	guest->node_bytes[3] += 200 * MIB;
	guest->dimm_bytes[0].bytes += 200 * MIB;
	expect_unmovable(&world, 200 * MIB);
	/* All of it is base memory. */
	guest = passed_world(&world);
	guest->place_count = 0;
	expect_unmovable(&world, 512 * MIB);
}

static void who_cannot_spare_it_for_a_while_keeps_it(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	guest->agent.veto = true;
	expect_unmovable(&world, 512 * MIB);
	guest = passed_world(&world);
	guest->minimum_bytes = GIB;
	expect_unmovable(&world, 512 * MIB);
	guest = passed_world(&world);
	guest->agent.shrink_limit_bytes = GIB - 64 * MIB;
	expect_unmovable(&world, 512 * MIB);
	/* An eighth of it stays available. */
	guest = passed_world(&world);
	guest->agent.memory_available_bytes = 200 * MIB;
	expect_unmovable(&world, 512 * MIB);
	guest = passed_world(&world);
	guest->agent.state = AGENT_STATE_NONE;
	expect_unmovable(&world, 512 * MIB);
	guest = passed_world(&world);
	guest->agent.regions[0] = (struct snapshot_region){.start = 4 * GIB, .end = 5 * GIB,
							   .plugged_bytes = 512 * MIB, .online_bytes = 512 * MIB};
	guest->agent.region_count = 1;
	expect_unmovable(&world, 512 * MIB);
	/* A part of it in a kernel zone. */
	guest = passed_world(&world);
	guest->agent.regions[0] = (struct snapshot_region){.start = 4 * GIB, .end = 5 * GIB, .plugged_bytes = 512 * MIB,
							   .online_bytes = 512 * MIB, .movable_bytes = 384 * MIB};
	guest->agent.region_count = 1;
	expect_unmovable(&world, 128 * MIB);
}

static void where_nobody_can_say_where_it_comes_from_it_stays(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	guest->backings[1].kind = BACKING_KIND_ANON;
	expect_unmovable(&world, 512 * MIB);
	guest = passed_world(&world);
	guest->backings[1].kind = BACKING_KIND_HUGETLB;
	guest->backings[1].page_bytes = 2 * MIB;
	expect_unmovable(&world, 512 * MIB);
	/* Unbound, with memory elsewhere too: no policy is set. */
	guest = passed_world(&world);
	guest->policy_mode = guest->backings[0].policy_mode = guest->backings[1].policy_mode = POLICY_MODE_DEFAULT;
	guest->policy_nodes = guest->backings[0].policy_nodes = guest->backings[1].policy_nodes = 0;
	expect_unmovable(&world, 512 * MIB);
	/* Another process has pinned some of it, and does not let go. */
	guest = passed_world(&world);
	guest->sharer_count = 1;
	guest->sharers[0].pinned_bytes = 4096;
	expect_unmovable(&world, 512 * MIB);
}

/* Set, and yet another one by then. */
static void a_policy_that_does_not_hold_keeps_it(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	perform_until(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, "replug");
	guest->backings[1].policy_nodes = 1 << 2 | 1 << 3;
	guest->policy_nodes |= 1 << 3;
	world_next(&world);
	CHECK_TRUE(world.decision.kind != DECISION_KIND_STEP || world.decision.step.kind != STEP_KIND_OFFLINE_GUEST_BLOCKS);
	world_done(&world);
}

static void exactly_what_went_offline_is_unplugged(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);
	const struct step *step;

	perform_until(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, "replug");
	world_record(&world, STEP_STATE_PARTIAL, 65 * MIB);
	step = &world_next(&world)->step;
	CHECK_TRUE(step_replugs(step));
	CHECK_INT(step->bytes, 64 * MIB);
	CHECK_INT(step->target_bytes, 448 * MIB);
	world_perform(&world);
	CHECK_INT(guest->current_bytes, GIB - 64 * MIB);
	step = &world_next(&world)->step;
	CHECK_STR(step->text, "return");
	CHECK_INT(step->target_bytes, 512 * MIB);
	world_perform(&world);
	/* What could not be had is not asked for again. */
	step = perform_until(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, "replug");
	CHECK_INT(step->ranges[0].start, 4 * GIB + UNIT);
	world_done(&world);
	/* Nothing at all: the next, and what stays is told. */
	guest = passed_world(&world);
	for (int i = 0; i < 4; i++) {
		step = perform_until(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, "replug");
		CHECK_INT(step->ranges[0].start, 4 * GIB + (uint64_t)i * UNIT);
		world_record(&world, STEP_STATE_FAILED, 0);
	}
	expect_run(&world, "agent_undo give_up");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 512 * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_VFIO_PINNED);
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
}

static void what_lies_there_again_ends_it(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	perform_until(&world, STEP_KIND_REQUEST, "return");
	world_perform(&world);
	/* The kernel has found no room where the policy says. */
	guest->node_bytes[2] -= UNIT;
	guest->node_bytes[3] += UNIT;
	guest->dimm_bytes[0].bytes += UNIT;
	guest->places[0] = (struct snapshot_place){UNIT / 4096, 0, 0, 0, 3};
	guest->residencies[0].bytes[0] = UNIT;
	expect_run(&world, "agent_undo give_up");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 512 * MIB);
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
}

static void what_does_not_come_back_is_asked_for_again_and_told(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	perform_until(&world, STEP_KIND_REQUEST, "return");
	world_gain(&world, 64 * MIB);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_KICK);
	CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
	world_gain(&world, 0);
	/* No other portion while one is missing. */
	expect_run(&world, "agent_undo give_up");
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_DRIVER_STALLED));
	CHECK_INT(guest->devices[0].requested_bytes, 512 * MIB);
	world_done(&world);
}

static void what_is_not_onlined_is_waited_for(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	perform_until(&world, STEP_KIND_REQUEST, "return");
	world_perform(&world);
	guest->agent.offline_bytes = UNIT;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AWAIT);
	CHECK_TRUE(world.decision.step.timeout_ms > 0);
	world_record(&world, STEP_STATE_DONE, 64 * MIB);
	guest->agent.offline_bytes = UNIT / 2;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AWAIT);
	world_record(&world, STEP_STATE_DONE, 64 * MIB);
	guest->agent.offline_bytes = 0;
	perform_until(&world, STEP_KIND_REQUEST, "return");
	world_perform(&world);
	/* A guest that does not use what it has again gives no more. */
	guest->agent.offline_bytes = UNIT;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AWAIT);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	expect_run(&world, "agent_undo give_up");
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_NOT_ONLINED));
	world_done(&world);
}

static void whatever_ends_it_the_size_comes_back(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);
	struct remainder_list list = {0};

	/* Time runs out. */
	perform_until(&world, STEP_KIND_REQUEST, "return");
	world.input.deadline_ms = 1;
	CHECK_STR(world_next(&world)->step.text, "return");
	CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
	/* Who does not come to plan it to its end tells it. */
	plan_tell_taken(world.history, world.history_count, &list);
	CHECK_INT(list.count, 1);
	CHECK_INT(list.items[0].bytes, UNIT);
	world_perform(&world);
	list.count = 0;
	plan_tell_taken(world.history, world.history_count, &list);
	CHECK_INT(list.count, 0);
	expect_run(&world, "agent_undo give_up");
	CHECK_INT(guest->current_bytes, GIB);
	CHECK_INT(guest->requested_bytes, GIB);
	world_done(&world);
	/* The guest does not let itself be shrunk any more. */
	guest = passed_world(&world);
	perform_until(&world, STEP_KIND_REQUEST, "return");
	guest->agent.veto = true;
	world_next(&world);
	world_perform(&world);
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
	/* The device has gone, and what is left could be moved. */
	guest = passed_world(&world);
	perform_until(&world, STEP_KIND_REQUEST, "return");
	guest->vfio = false;
	guest->pinned_bytes = 0;
	expect_run(&world, "move request cpuset agent_undo done");
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
	/* It was cancelled before the return had begun. */
	guest = passed_world(&world);
	perform_until(&world, STEP_KIND_REQUEST, "return");
	world_record(&world, STEP_STATE_FAILED, 0)->flat = false;
	world.input.deadline_ms = 1;
	CHECK_STR(world_next(&world)->step.text, "return");
	world_perform(&world);
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
}

static void what_a_restart_cut_is_done_again(void)
{
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);
	struct step_record *record;

	perform_until(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, "replug");
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "guest g1", 0, NULL, "cut");
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.ranges[0].start, 4 * GIB);
	world_perform(&world);
	CHECK_TRUE(step_replugs(&world_next(&world)->step));
	record = world_gain(&world, UNIT);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "guest g1", 0, NULL, "cut");
	CHECK_STR(world_next(&world)->step.text, "return");
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "guest g1", 0, NULL, "cut");
	CHECK_STR(world_next(&world)->step.text, "return");
	CHECK_INT(world.decision.step.kind, STEP_KIND_REQUEST);
	world_perform(&world);
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
}

/* ---- drains ---- */

static void drain(struct world *world, enum drain_finish finish)
{
	world_wish_drain_dimm(world, finish);
	world->wish.allow = 1 << CONSENT_SHRINK_GUESTS;
}

static void a_drain_moves_it_with_the_consent(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;
	struct snapshot_guest *guest = passed_world(&world);

	drain(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_VFIO_PINNED));
	CHECK_INT(plan->bytes, 512 * MIB);
	expect_run(&world, "cordon move offline done");
	CHECK_TRUE(!world.history[1].step.range_count);
	CHECK_INT(guest->node_bytes[3], 0);
	world_done(&world);
	passed_world(&world);
	drain(&world, DRAIN_FINISH_OFFLINE);
	world.wish.allow = 0;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "consent_required");
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].consent, CONSENT_SHRINK_GUESTS);
	world_done(&world);
}

/* Half of the device lies in the other DIMM of the node, and more of the guest, which nothing can bring away. */
static struct snapshot_guest *part_world(struct world *world)
{
	struct snapshot_guest *guest = passed_world(world);

	world_add_second_dimm(world);
	guest->dimm_count = 2;
	strcpy(guest->dimm_bytes[1].id, "acpi-MP01");
	guest->node_bytes[1] -= 100 * MIB;
	guest->node_bytes[3] += 100 * MIB;
	guest->dimm_bytes[0].bytes = 256 * MIB;
	guest->dimm_bytes[1].bytes = 356 * MIB;
	guest->places[2].dimm = guest->places[3].dimm = 1;
	drain(world, DRAIN_FINISH_OFFLINE);
	return guest;
}

static void only_what_lies_in_the_target_is_unplugged(void)
{
	struct wish child;
	struct world world;
	struct snapshot_guest *guest = part_world(&world);

	world_check_code(&world, "");
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	/* Away for good: the policy of what is plugged names the node that it leaves no more. */
	CHECK_INT(world.decision.step.range_count, 0);
	child = *world.decision.step.child;
	CHECK_INT(child.move.map[3], 1);
	step_done(&world.decision.step);
	world.decision.kind = DECISION_KIND_COUNT;
	/* The child itself, under the hold. */
	world.wish = child;
	free(world.history);
	world.history = NULL;
	world.history_count = 0;
	for (int i = 0; i < 2; i++) {
		const struct step *step = perform_until(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, "replug");

		CHECK_INT(step->range_count, 1);
		CHECK_INT(step->ranges[0].start, 4 * GIB + (uint64_t)i * UNIT);
		CHECK_INT(step->ranges[0].end, 4 * GIB + (uint64_t)(i + 1) * UNIT);
		world_perform(&world);
	}
	expect_run(&world, "request request agent_undo give_up");
	CHECK_INT(guest->dimm_bytes[0].bytes, 0);
	CHECK_INT(guest->dimm_bytes[1].bytes, 356 * MIB);
	CHECK_INT(guest->current_bytes, GIB);
	/* The rest of the node is none of the drain's. */
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 356 * MIB);
	world_done(&world);
}

/* Drained to the node, and the move of it undone: its policies say home, and all of the device is away. */
static struct snapshot_guest *drained_to(struct world *world, int node)
{
	struct snapshot_guest *guest = passed_world(world);

	for (int other = 0; other < 3; other++)
		if (other != node)
			snapshot_node(world->snapshot, other)->free_bytes = 0;
	drain(world, DRAIN_FINISH_OFFLINE);
	expect_run(world, "cordon move offline done");
	CHECK_INT(guest->node_bytes[3], 0);
	world_undrain(world);
	CHECK_INT(world_next(world)->step.undo_n, 3);
	world_record(world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(world)->step.undo_n, 2);
	world_perform(world);
	/* No undo has moved it. */
	CHECK_INT(guest->node_bytes[3], 0);
	CHECK_INT(guest->node_bytes[node], node == 1 ? GIB : 512 * MIB);
	guest->policy_nodes = 1 << 1 | 1 << 3;
	guest->backings[1].policy_nodes = 1 << 3;
	return guest;
}

static void an_undrain_brings_it_home(void)
{
	const struct step *step;
	struct world world;
	struct snapshot_guest *guest = drained_to(&world, 0);

	step = &world_next(&world)->step;
	CHECK_TRUE(step_brings_home(step));
	CHECK_INT(step->bytes, 512 * MIB);
	CHECK_INT(step->child->move.map[0], 3);
	CHECK_INT(step->child->allow, 1 << CONSENT_SHRINK_GUESTS);
	CHECK_STR(step->child->drain, world.wish.drain);
	/* What came of it is seen where it is: nothing, and then it is told; not tried again. */
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_VFIO_PINNED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 512 * MIB);
	CHECK_STR(world.decision.remainder.items[0].detail, "still on node 0: a passed-through device pins it");
	world_undrain_done(&world);
	/* It came. */
	guest = drained_to(&world, 0);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(guest->node_bytes[3], 512 * MIB);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_undrain_done(&world);
}

static void an_undrain_leaves_what_cannot_leave(void)
{
	struct world world;
	struct snapshot_guest *guest = drained_to(&world, 0);

	/* Its agent has gone. */
	guest->agent.state = AGENT_STATE_NONE;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 512 * MIB);
	world_undrain_done(&world);
	/* What it has by right on that node would come along. */
	drained_to(&world, 1);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_VFIO_PINNED);
	CHECK_INT(world.decision.warnings.items[0].bytes, 512 * MIB);
	world_undrain_done(&world);
	/* Somebody else says where it belongs, so that nothing of it was undone. */
	drained_to(&world, 0);
	for (size_t i = 0; i < world.input.subject_count; i++)
		if (world.input.subject[i].step.kind == STEP_KIND_CHILD)
			remainder_list_add((struct remainder_list *)&world.input.subject[i].remainder, REMAINDER_CHANGED_SINCE,
					   "guest g1", 0, NULL, "set by somebody else");
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.warnings.count, 0);
	world_undrain_done(&world);
	/* The device has gone: pages went home as any others do. */
	guest = drained_to(&world, 0);
	guest->vfio = false;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_undrain_done(&world);
}

/* A dry run sees the same. */
static void a_dry_run_of_an_undrain_tells_it(void)
{
	struct world world;

	passed_world(&world);
	snapshot_node(world.snapshot, 1)->free_bytes = 0;
	drain(&world, DRAIN_FINISH_OFFLINE);
	expect_run(&world, "cordon move offline done");
	world_undrain(&world);
	world.input.snapshot = world.snapshot;
	CLEANUP(plan_freep) struct plan *plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 4);
	CHECK_INT(plan->steps[1].undo_n, 2);
	CHECK_TRUE(step_brings_home(&plan->steps[2]));
	CHECK_INT(plan->steps[3].undo_n, 1);
	world_undrain_done(&world);
}

static void base_memory_in_the_target_refuses_the_drain(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;
	struct snapshot_guest *guest = part_world(&world);

	guest->dimm_bytes[0].bytes += 100 * MIB;
	guest->dimm_bytes[1].bytes -= 100 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "guest_unmovable");
	CHECK_INT(blockers.items[0].bytes, 100 * MIB);
	CHECK_STR(blockers.items[0].detail, "a passed-through device pins it, and it is no virtio-mem that could be unplugged "
					    "and plugged again, as 256 MiB beside it could");
	world_done(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"what is pinned leaves by portions", what_is_pinned_leaves_by_portions},
		{"a dry run tells its bytes", a_dry_run_tells_its_bytes},
		{"without the consent it is asked for", without_the_consent_it_is_asked_for},
		{"what is no virtio-mem stays", what_is_no_virtio_mem_stays},
		{"who cannot spare it for a while keeps it", who_cannot_spare_it_for_a_while_keeps_it},
		{"where nobody can say where it comes from it stays", where_nobody_can_say_where_it_comes_from_it_stays},
		{"a policy that does not hold keeps it", a_policy_that_does_not_hold_keeps_it},
		{"exactly what went offline is unplugged", exactly_what_went_offline_is_unplugged},
		{"what lies there again ends it", what_lies_there_again_ends_it},
		{"what does not come back is asked for again, and told", what_does_not_come_back_is_asked_for_again_and_told},
		{"what is not onlined is waited for", what_is_not_onlined_is_waited_for},
		{"whatever ends it the size comes back", whatever_ends_it_the_size_comes_back},
		{"what a restart cut is done again", what_a_restart_cut_is_done_again},
		{"a drain moves it with the consent", a_drain_moves_it_with_the_consent},
		{"only what lies in the target is unplugged", only_what_lies_in_the_target_is_unplugged},
		{"an undrain brings it home", an_undrain_brings_it_home},
		{"an undrain leaves what cannot leave", an_undrain_leaves_what_cannot_leave},
		{"a dry run of an undrain tells it", a_dry_run_of_an_undrain_tells_it},
		{"base memory in the target refuses the drain", base_memory_in_the_target_refuses_the_drain},
	};

	return unit_main("move_replug", cases, sizeof(cases) / sizeof(cases[0]));
}
