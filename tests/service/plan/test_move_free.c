/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/*
 * A guest of 512 MiB and two devices of 1 GiB each, all of it resident on node 1; 1200 MiB of that
 * are free inside.
 */
static struct snapshot_guest *free_world(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 512 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, GIB);
	world_add_device(guest, "vm1", 2 * GIB, GIB);
	guest->devices[0].address = 4 * GIB;
	guest->devices[1].address = 8 * GIB;
	guest->node_bytes[1] = guest->resident_bytes = guest->backings[0].bytes = 2560 * MIB;
	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	snapshot_node(world->snapshot, 2)->total_bytes = 8 * GIB;
	snapshot_node(world->snapshot, 2)->free_bytes = 6 * GIB;
	world_add_agent(guest, 1200 * MIB, 0);
	guest->agent.features &= ~(1u << AGENT_FEATURE_REPORT_FREE);
	world_wish_move(world, "g1", 1 << 2);
	world->wish.allow = 1 << CONSENT_SHRINK_GUESTS;
	return guest;
}

/* Nobody outside can say where new memory of this one lands. */
static struct snapshot_guest *late_world(struct world *world)
{
	struct snapshot_guest *guest = free_world(world);

	guest->backings[0].kind = BACKING_KIND_ANON;
	guest->policy_mode = POLICY_MODE_DEFAULT;
	guest->policy_nodes = 0;
	return guest;
}

/* Performs steps until one of this kind is next. */
static void perform_until(struct world *world, enum step_kind kind)
{
	for (int i = 0; i < 16 && world_next(world)->kind == DECISION_KIND_STEP && world->decision.step.kind != kind; i++)
		world_perform(world);
	CHECK_INT(world->decision.kind, DECISION_KIND_STEP);
	CHECK_INT(world->decision.step.kind, kind);
}

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static void free_memory_is_out_while_the_rest_moves(void)
{
	struct world world;
	struct snapshot_guest *guest = free_world(&world);
	char text[160];

	expect_run(&world, "offline_guest_blocks request offline_guest_blocks request settle settle move agent_undo "
			   "done");
	/* An eighth of the guest stays available: 320 MiB of the 1200; half of the rest of each, in whole blocks. */
	CHECK_STR(step_describe(&world.history[0].step, text), "g1  vm0  384 MiB  (take)");
	CHECK_STR(world.history[0].step.device, "vm0");
	CHECK_INT(world.history[0].step.ranges[0].start, 4 * GIB);
	CHECK_INT(world.history[0].step.ranges[0].end, 6 * GIB);
	CHECK_STR(step_describe(&world.history[1].step, text), "g1  vm0  to 640 MiB  (take)");
	CHECK_INT(world.history[1].step.bytes, 384 * MIB);
	CHECK_INT(world.history[2].step.ranges[0].start, 8 * GIB);
	CHECK_INT(world.history[3].step.bytes, 384 * MIB);
	for (int i = 0; i < 4; i++)
		CHECK_TRUE(world.history[i].step.undoable && world.history[i].step.timeout_ms == 30000);
	/* It comes back while the rest moves. */
	CHECK_STR(step_describe(&world.history[4].step, text), "g1  vm0  to 1 GiB  (return)");
	CHECK_TRUE(!world.history[4].step.undoable);
	CHECK_INT(world.history[6].step.bytes, 1792 * MIB);
	CHECK_INT(guest->current_bytes, 2560 * MIB);
	CHECK_INT(guest->requested_bytes, 2560 * MIB);
	CHECK_INT(guest->agent.offline_bytes, 0);
	world_done(&world);
}

/* Tells what the host has of a device of free_world(), in units of 128 MiB: percents, as many as there are before -1. */
static void tell_units(struct snapshot_guest *guest, size_t device, const int *percents)
{
	struct snapshot_residency *residency = &guest->residencies[guest->residency_count++];

	*residency = (struct snapshot_residency){.address = guest->devices[device].address,
						 .size_bytes = guest->devices[device].size_bytes,
						 .unit_bytes = 128 * MIB,
						 .count = guest->devices[device].size_bytes / (128 * MIB)};
	for (size_t i = 0; percents[i] >= 0; i++)
		residency->bytes[i] = (uint64_t)percents[i] * 128 * MIB / 100;
}

static void what_the_host_has_is_named(void)
{
	static const int first[] = {0, 100, 100, 24, 25, 100, 0, 0, 10, -1}, second[] = {100, 50, -1};
	struct world world;
	struct snapshot_guest *guest = free_world(&world);
	const struct step *step;

	tell_units(guest, 0, first);
	tell_units(guest, 1, second);
	expect_run(&world, "offline_guest_blocks request offline_guest_blocks request settle settle move agent_undo "
			   "done");
	step = &world.history[0].step;
	CHECK_INT(step->range_count, 2);
	CHECK_INT(step->ranges[0].start, 4 * GIB + 128 * MIB);
	CHECK_INT(step->ranges[0].end, 4 * GIB + 384 * MIB);
	CHECK_INT(step->ranges[1].start, 4 * GIB + 512 * MIB);
	CHECK_INT(step->ranges[1].end, 4 * GIB + 768 * MIB);
	/* Its share of what may go, as without. */
	CHECK_INT(step->bytes, 384 * MIB);
	/* No more than there is. */
	step = &world.history[2].step;
	CHECK_INT(step->range_count, 1);
	CHECK_INT(step->ranges[0].start, 8 * GIB);
	CHECK_INT(step->ranges[0].end, 8 * GIB + 256 * MIB);
	CHECK_INT(step->bytes, 256 * MIB);
	world_done(&world);
	/* 3.25 units of the four that are named of the one, and of these three go; 1.5 of the other. */
	guest = free_world(&world);
	tell_units(guest, 0, first);
	tell_units(guest, 1, second);
	world.wish.allow = 0;
	world_next(&world);
	CHECK_INT(world.decision.warnings.items[0].bytes, 312 * MIB + 192 * MIB);
	world_done(&world);
}

static void what_the_host_has_not_is_not_asked_for(void)
{
	static const int nothing[] = {20, 0, 0, 24, -1}, much[] = {100, 100, 100, 100, -1};
	struct world world;
	struct snapshot_guest *guest = free_world(&world);

	/* Free as they are, none of it would be copied. */
	tell_units(guest, 0, nothing);
	tell_units(guest, 1, nothing);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_INT(world.decision.warnings.count, 0);
	world_done(&world);
	guest = free_world(&world);
	tell_units(guest, 0, nothing);
	tell_units(guest, 1, much);
	CHECK_STR(world_next(&world)->step.device, "vm1");
	CHECK_INT(world.decision.step.bytes, 384 * MIB);
	world_done(&world);
	/* All of it is free in the guest, and 300 MiB of that are resident: three of the four units have them. */
	guest = free_world(&world);
	guest->device_count = 1;
	guest->current_bytes = guest->requested_bytes = 1536 * MIB;
	guest->agent.memory_free_bytes = guest->agent.memory_available_bytes = 1200 * MIB;
	guest->node_bytes[1] = guest->resident_bytes = 636 * MIB;
	tell_units(guest, 0, much);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 384 * MIB);
	CHECK_INT(world.decision.step.ranges[0].end - world.decision.step.ranges[0].start, 512 * MIB);
	world_done(&world);
}

/* A guest of which the host has less than there is plugged, also when some of it is out. */
static void what_the_host_had_of_it_need_not_move(void)
{
	static const int units[] = {100, 0, 100, -1};
	struct world world;
	struct snapshot_guest *guest = free_world(&world);
	struct plan *plan;

	guest->device_count = 1;
	guest->current_bytes = guest->requested_bytes = 1536 * MIB;
	guest->agent.memory_free_bytes = guest->agent.memory_available_bytes = 900 * MIB;
	guest->node_bytes[1] = guest->resident_bytes = guest->backings[0].bytes = 900 * MIB;
	tell_units(guest, 0, units);
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->steps[0].kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(plan->steps[0].bytes, 256 * MIB);
	CHECK_INT(plan->bytes, 644 * MIB);
	plan_free(plan);
	world_done(&world);
}

/* Of one device it was told, of the other not: that one stays as it was. */
static void what_was_not_told_of_is_asked_for_as_a_whole(void)
{
	static const int units[] = {100, 100, 100, 100, -1};
	struct world world;
	struct snapshot_guest *guest = free_world(&world);

	tell_units(guest, 1, units);
	CHECK_INT(world_next(&world)->step.range_count, 1);
	CHECK_INT(world.decision.step.ranges[0].end, 6 * GIB);
	CHECK_INT(world.decision.step.bytes, 384 * MIB);
	world_perform(&world);
	world_next(&world);
	world_perform(&world);
	CHECK_STR(world_next(&world)->step.device, "vm1");
	CHECK_INT(world.decision.step.ranges[0].end, 8 * GIB + 512 * MIB);
	world_done(&world);
	/* The place that the survey told of is the agent's word where libvirt has none. */
	guest = free_world(&world);
	guest->devices[1].size_bytes = GIB;
	tell_units(guest, 1, units);
	guest->devices[0].address = guest->devices[1].address = 0;
	guest->agent.region_count = 2;
	guest->agent.regions[0] = (struct snapshot_region){4 * GIB, 6 * GIB};
	guest->agent.regions[1] = (struct snapshot_region){8 * GIB, 9 * GIB};
	CHECK_INT(world_next(&world)->step.ranges[0].start, 4 * GIB);
	world_perform(&world);
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.ranges[0].end, 8 * GIB + 512 * MIB);
	world_done(&world);
}

/* Every other unit of a device of 64: more pieces than a step names. The emptiest are left out. */
static void pieces_beyond_what_a_step_names_are_left(void)
{
	int percents[65] = {0};
	struct world world;
	struct snapshot_guest *guest = free_world(&world);
	const struct step *step;

	for (int i = 0; i < 64; i += 2)
		percents[i] = i < 40 ? 30 + i : 100;
	percents[64] = -1;
	guest->device_count = 1;
	guest->devices[0].size_bytes = 8 * GIB;
	guest->devices[0].address = 4 * GIB;
	tell_units(guest, 0, percents);
	step = &world_next(&world)->step;
	CHECK_INT(step->kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(step->range_count, SNAPSHOT_RANGES_MAX);
	/* Twelve that are full, and the four before them. */
	for (size_t i = 0; i < SNAPSHOT_RANGES_MAX; i++) {
		CHECK_INT(step->ranges[i].start, 4 * GIB + (32 + 2 * i) * 128 * MIB);
		CHECK_INT(step->ranges[i].end, step->ranges[i].start + 128 * MIB);
	}
	world_done(&world);
}

/* A device that begins and ends within a unit: no range leaves it. */
static void a_unit_ends_where_the_device_does(void)
{
	struct world world;
	struct snapshot_guest *guest = free_world(&world);

	guest->device_count = 1;
	guest->devices[0].address += 64 * MIB;
	guest->residency_count = 1;
	guest->residencies[0] = (struct snapshot_residency){
		4 * GIB + 64 * MIB, 2 * GIB, 512 * MIB, 5, {448 * MIB, 0, 512 * MIB, 0, 64 * MIB}};
	CHECK_INT(world_next(&world)->step.range_count, 3);
	CHECK_INT(world.decision.step.ranges[0].start, 4 * GIB + 64 * MIB);
	CHECK_INT(world.decision.step.ranges[0].end, 4 * GIB + 512 * MIB);
	CHECK_INT(world.decision.step.ranges[2].start, 6 * GIB);
	CHECK_INT(world.decision.step.ranges[2].end, 6 * GIB + 64 * MIB);
	world_done(&world);
}

static void without_the_consent_it_is_a_hint(void)
{
	struct world world;
	struct plan *plan;

	free_world(&world);
	world.wish.allow = 0;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 1);
	CHECK_INT(plan->bytes, 2560 * MIB);
	CHECK_INT(plan->consents_needed, 0);
	CHECK_INT(plan->warnings.count, 1);
	CHECK_INT(plan->warnings.items[0].consent, CONSENT_SHRINK_GUESTS);
	CHECK_INT(plan->warnings.items[0].bytes, 768 * MIB);
	plan_free(plan);
	world.wish.allow = 1 << CONSENT_SHRINK_GUESTS;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 8);
	CHECK_INT(plan->bytes, 1792 * MIB);
	CHECK_INT(plan->warnings.count, 0);
	plan_free(plan);
	world_done(&world);
}

/* Of free memory that the host has pages for only in part, as much as the share of it that may go. */
static void what_it_saves_is_no_more_than_is_to_be_expected(void)
{
	struct world world;
	struct snapshot_guest *guest = free_world(&world);

	guest->node_bytes[1] = guest->resident_bytes = 2260 * MIB;
	world.wish.allow = 0;
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 1);
	/* 900 of 1200 MiB are resident, and 768 may go. */
	CHECK_INT(world.decision.warnings.items[0].bytes, 576 * MIB);
	world_done(&world);
}

/* Each of these forbids it, or leaves too little to be worth it. */
static void who_may_not_be_shrunk_is_not(void)
{
	for (int why = 0; why < 12; why++) {
		struct world world;
		struct snapshot_guest *guest = free_world(&world);

		switch (why) {
		case 0:
			guest->agent.veto = true;
			break;
		case 1:
			guest->minimum_bytes = 2400 * MIB;
			break;
		case 2:
			guest->agent.shrink_limit_bytes = 2400 * MIB;
			break;
		case 3:
			guest->agent.reported = false;
			break;
		case 4:
			guest->agent.state = AGENT_STATE_DISCONNECTED;
			break;
		case 5: /* A quarter of what is plugged. */
			guest->agent.memory_free_bytes = 512 * MIB;
			break;
		case 6: /* Free, and never touched: the host has no page for it. */
			guest->node_bytes[1] = guest->resident_bytes = 1400 * MIB;
			break;
		case 7:
			guest->agent.memory_available_bytes = 500 * MIB;
			break;
		case 8:
			guest->agent.movable_bytes = 200 * MIB;
			break;
		case 9:
			guest->state = GUEST_STATE_PAUSED;
			break;
		case 10: /* On its way to another size. */
			guest->devices[0].requested_bytes = guest->devices[1].requested_bytes = 0;
			break;
		default: /* Only a tenth of it is to move. */
			guest->node_bytes[0] = 2304 * MIB;
			guest->node_bytes[1] = 256 * MIB;
			world_wish_map(&world, "g1", 1, 2);
			world.wish.allow = 1 << CONSENT_SHRINK_GUESTS;
			break;
		}
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
		world_done(&world);
	}
}

static void the_size_comes_back_in_every_ending(void)
{
	for (int ending = 0; ending < 3; ending++) {
		struct world world;
		struct snapshot_guest *guest = late_world(&world);

		perform_until(&world, STEP_KIND_MOVE_PAGES);
		CHECK_INT(guest->current_bytes, 1792 * MIB);
		world_record(&world, STEP_STATE_FAILED, 0);
		if (ending == 0)
			world.input.deadline_ms = world.input.now_ms;
		else if (ending == 1)
			guest->migrating = true;
		for (int i = 0; i < 2; i++) {
			CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
			CHECK_INT(world.decision.step.target_bytes, GIB);
			world_perform(&world);
		}
		/* And what the agent had changed. */
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AGENT_UNDO);
		world_perform(&world);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(guest->requested_bytes, 2560 * MIB);
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1792 * MIB);
		CHECK_TRUE(!remainder_list_has(&world.decision.remainder,
					       REMAINDER_DRIVER_STALLED));
		world_done(&world);
	}
}

/* Somebody takes the destination out of the guest's cpuset: what was taken for the move comes back all the same. */
static void who_is_shut_out_gets_its_size_back(void)
{
	struct world world;
	struct snapshot_guest *guest = late_world(&world);

	guest->cpuset_mems = 1 << 1;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CPUSET);
	world_perform(&world);
	perform_until(&world, STEP_KIND_MOVE_PAGES);
	world_record(&world, STEP_STATE_PARTIAL, 80 * MIB);
	guest->node_bytes[1] -= 80 * MIB;
	guest->node_bytes[2] += 80 * MIB;
	guest->cpuset_mems = 1 << 1;
	expect_run(&world, "request request agent_undo give_up");
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_CPUSET_CANNOT_CHANGE);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1712 * MIB);
	CHECK_INT(guest->current_bytes, 2560 * MIB);
	world_done(&world);
}

static void what_comes_while_pages_move_is_awaited_after_it(void)
{
	for (int why = 0; why < 3; why++) {
		struct remainder_list list = {0};
		struct world world;
		struct snapshot_guest *guest = free_world(&world);

		guest->device_count = 1;
		perform_until(&world, STEP_KIND_SETTLE);
		CHECK_INT(world.decision.step.target_bytes, GIB);
		world_record(&world, STEP_STATE_DONE, 0);
		plan_tell_taken(world.history, world.history_count, &list);
		CHECK_INT(list.count, 0);
		guest->devices[0].requested_bytes = why == 2 ? 512 * MIB : GIB;
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
		world_perform(&world);
		if (why == 0) {
			/* It has come. */
			guest->current_bytes += 896 * MIB;
			guest->devices[0].current_bytes = GIB;
		} else if (why == 1) {
			CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
			CHECK_INT(world.decision.step.target_bytes, GIB);
			world_perform(&world);
		}
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AGENT_UNDO);
		world_perform(&world);
		/* Where somebody else asked for another size, that one stands. */
		CHECK_INT(world_next(&world)->kind, why == 2 ? DECISION_KIND_GIVE_UP : DECISION_KIND_DONE);
		world_done(&world);
	}
}

/* The request stands although nothing has come of it, and would take the memory later. */
static void what_gave_nothing_is_asked_back_too(void)
{
	struct world world;
	struct snapshot_guest *guest = late_world(&world);

	perform_until(&world, STEP_KIND_REQUEST);
	guest->devices[0].requested_bytes = 640 * MIB;
	world_record(&world, STEP_STATE_FAILED, 0)->flat = true;
	/* It is not asked for more. */
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm0");
	CHECK_INT(world.decision.step.target_bytes, GIB);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AGENT_UNDO);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* Blocks that do not go offline are not asked of the driver, which would have to empty them itself. */
static void only_what_went_offline_is_asked_for(void)
{
	static const struct {
		enum step_state state;
		uint64_t offline_bytes, target_bytes;
	} rows[] = {
		{STEP_STATE_DONE, 384 * MIB, 640 * MIB},
		{STEP_STATE_PARTIAL, 128 * MIB, 896 * MIB},
		/* A block that is larger than what may go: the request takes a part of it. */
		{STEP_STATE_DONE, 512 * MIB, 640 * MIB},
		{STEP_STATE_PARTIAL, 0, 0},
		{STEP_STATE_FAILED, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;
		struct snapshot_guest *guest = free_world(&world);

		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
		world_record(&world, rows[i].state, rows[i].offline_bytes);
		guest->agent.memory_free_bytes -= rows[i].offline_bytes;
		guest->agent.memory_available_bytes -= rows[i].offline_bytes;
		if (rows[i].target_bytes) {
			CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
			CHECK_INT(world.decision.step.target_bytes, rows[i].target_bytes);
			world_perform(&world);
			CHECK_STR(world_next(&world)->step.device, "vm1");
			CHECK_INT(world.decision.step.kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
		}
		perform_until(&world, STEP_KIND_MOVE_PAGES);
		perform_until(&world, STEP_KIND_AGENT_UNDO);
		world_done(&world);
	}
}

static void whose_blocks_cannot_be_told_apart_is_not_shrunk(void)
{
	struct world world;
	struct snapshot_guest *guest = free_world(&world);

	guest->devices[0].address = guest->devices[1].address = 0;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	/* Those of a single one need not be. */
	guest->device_count = 1;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.range_count, 0);
	guest->agent.features &= ~(1u << AGENT_FEATURE_OFFLINE);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_done(&world);
}

/* A host that could copy it at once may not do so. */
static void a_budget_is_what_copying_is_compared_by(void)
{
	struct world world;

	free_world(&world);
	world_set_rate(&world, RATE_KIND_MOVE, 5 * GIB);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world.wish.move.budget_bytes_per_s = 100 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	world_done(&world);
}

static void what_is_copied_sooner_than_unplugged_is_copied(void)
{
	static const struct {
		uint64_t bytes_per_s;
		bool is_taken;
	} rows[] = {
		{0, true},
		/* 768 MiB; 2 s, and 0.75 s for the blocks. */
		{270 * MIB, true},
		{290 * MIB, false},
		{5 * GIB, false},
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		bool allowed = i % 2, is_taken = rows[i / 2].is_taken;
		struct world world;

		free_world(&world);
		world_set_rate(&world, RATE_KIND_MOVE, rows[i / 2].bytes_per_s);
		if (!allowed)
			world.wish.allow = 0;
		CHECK_INT(world_next(&world)->step.kind,
			  is_taken && allowed ? STEP_KIND_OFFLINE_GUEST_BLOCKS : STEP_KIND_MOVE_PAGES);
		CHECK_INT(remainder_list_has(&world.decision.warnings, REMAINDER_COPIED_SOONER), !is_taken);
		CHECK_INT(remainder_list_has(&world.decision.warnings, REMAINDER_CONSENT_REQUIRED),
			  is_taken && !allowed);
		world_done(&world);
	}
}

static void what_does_not_come_back_is_told(void)
{
	struct world world;
	struct snapshot_guest *guest = late_world(&world);

	perform_until(&world, STEP_KIND_MOVE_PAGES);
	world_perform(&world);
	CHECK_STR(world_next(&world)->step.device, "vm0");
	guest->devices[0].requested_bytes = GIB;
	world_record(&world, STEP_STATE_FAILED, 0)->flat = true;
	/* The same size again wakes a driver that has given up. */
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_KICK);
	CHECK_INT(world.decision.step.target_bytes, GIB);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_STR(world_next(&world)->step.device, "vm1");
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AGENT_UNDO);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DRIVER_STALLED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 384 * MIB);
	/* Plugged, but not onlined. */
	guest->current_bytes += 384 * MIB;
	guest->devices[0].current_bytes = GIB;
	guest->agent.offline_bytes = 128 * MIB;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NOT_ONLINED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 128 * MIB);
	guest->agent.offline_bytes = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void another_size_asked_for_meanwhile_stands(void)
{
	struct world world;
	struct snapshot_guest *guest = late_world(&world);

	guest->device_count = 1;
	perform_until(&world, STEP_KIND_MOVE_PAGES);
	world_perform(&world);
	guest->devices[0].requested_bytes = 512 * MIB;
	perform_until(&world, STEP_KIND_AGENT_UNDO);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_INVALID);
	CHECK_STR(world.decision.remainder.items[0].detail,
		  "vm0: taken out for the move; its size was changed to 512 MiB by somebody else "
		  "meanwhile");
	world_done(&world);
}

/* An operation that a stuck kernel call ends asks nobody for anything any more. */
static void what_is_left_taken_can_be_told(void)
{
	struct remainder_list list = {0};
	struct world world;
	struct snapshot_guest *guest = late_world(&world);

	guest->device_count = 1;
	plan_tell_taken(world.history, world.history_count, &list);
	CHECK_INT(list.count, 0);
	perform_until(&world, STEP_KIND_MOVE_PAGES);
	plan_tell_taken(world.history, world.history_count, &list);
	CHECK_INT(list.count, 1);
	CHECK_INT(list.items[0].bytes, world.history[1].step.bytes);
	CHECK_STR(list.items[0].object, "guest g1");
	CHECK_STR(list.items[0].detail,
		  "vm0: taken out for the move and not asked for again; it had 1 GiB");
	world_next(&world);
	world_perform(&world);
	world_next(&world);
	world_perform(&world);
	list.count = 0;
	plan_tell_taken(world.history, world.history_count, &list);
	CHECK_INT(list.count, 0);
	world_done(&world);
}

/* Whether it was asked for is not known then: it is asked for again. */
static void a_restart_does_not_keep_what_was_taken(void)
{
	struct world world;
	struct snapshot_guest *guest = late_world(&world);
	struct step_record *record;

	guest->device_count = 1;
	perform_until(&world, STEP_KIND_MOVE_PAGES);
	world_perform(&world);
	for (int sent = 0; sent < 2; sent++) {
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
		CHECK_INT(world.decision.step.target_bytes, GIB);
		record = world_record(&world, STEP_STATE_PARTIAL, 0);
		remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "guest g1", 0, NULL,
				   "cut short");
		guest->devices[0].requested_bytes = GIB;
	}
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REQUEST);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_AGENT_UNDO);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(guest->devices[0].current_bytes, GIB);
	world_done(&world);
}

static void a_guest_that_reports_needs_no_shrinking(void)
{
	struct world world;
	struct snapshot_guest *guest = free_world(&world);

	guest->free_page_reporting = true;
	guest->agent.features |= 1u << AGENT_FEATURE_REPORT_FREE;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_REPORT_FREE);
	CHECK_INT(world.decision.step.bytes, 1200 * MIB);
	CHECK_INT(world.decision.step.timeout_ms, 10000);
	CHECK_TRUE(!world.decision.step.undoable);
	world_record(&world, STEP_STATE_DONE, 1200 * MIB);
	guest->node_bytes[1] = guest->resident_bytes = 1360 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_INT(world.decision.step.bytes, 1360 * MIB);
	world_done(&world);

	/* Once, and not for a few pages; and nothing is hinted at where it can. */
	guest = free_world(&world);
	guest->free_page_reporting = true;
	guest->agent.features |= 1u << AGENT_FEATURE_REPORT_FREE;
	world.wish.allow = 0;
	world_next(&world);
	CHECK_INT(world.decision.warnings.count, 0);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world.history_count = 0;
	step_record_done(&world.history[0]);
	guest->agent.memory_free_bytes = 31 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	world_done(&world);
}

static void what_is_copied_sooner_than_reported_is_copied(void)
{
	static const struct {
		uint64_t bytes_per_s;
		enum step_kind first;
	} rows[] = {
		{0, STEP_KIND_REPORT_FREE},
		{200 * MIB, STEP_KIND_REPORT_FREE},
		/* 1200 MiB are free. */
		{270 * MIB, STEP_KIND_MOVE_PAGES},
		{5 * GIB, STEP_KIND_MOVE_PAGES},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;
		struct snapshot_guest *guest = free_world(&world);

		guest->free_page_reporting = true;
		guest->agent.features |= 1u << AGENT_FEATURE_REPORT_FREE;
		world.wish.allow = 0;
		world_set_rate(&world, RATE_KIND_MOVE, rows[i].bytes_per_s);
		CHECK_INT(world_next(&world)->step.kind, rows[i].first);
		world_done(&world);
	}
}

static void huge_pages_come_back_where_the_guest_went(void)
{
	struct world world;
	struct snapshot_guest *guest = free_world(&world);
	struct snapshot_pool *from = &snapshot_node(world.snapshot, 1)->pools[0],
			     *to = &snapshot_node(world.snapshot, 2)->pools[0];

	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	from->total = 1300;
	from->free = 20;
	expect_run(&world, "host_pool offline_guest_blocks request offline_guest_blocks request move request request "
			   "agent_undo host_pool done");
	CHECK_INT(world.history[0].step.target_bytes, 2560 * MIB);
	/* What need not move is room for what is plugged again. */
	CHECK_INT(to->total, 1280);
	CHECK_INT(to->free, 384);
	CHECK_INT(from->total, 20);
	CHECK_INT(from->free, 20);
	world_done(&world);
}

/* The sizes are what happens to be free; that it is taken is the plan. */
static void the_digest_stands_while_the_guest_breathes(void)
{
	static const int units[] = {100, 100, 0, 100, 100, -1};
	struct world world;
	struct snapshot_guest *guest = free_world(&world);
	struct plan *first = plan_dry_run(&world.input), *second;

	guest->agent.memory_free_bytes -= 10 * MIB;
	guest->agent.memory_available_bytes -= 20 * MIB;
	second = plan_dry_run(&world.input);
	CHECK_STR(second->digest, first->digest);
	plan_free(second);
	/* Nor where it is free. */
	tell_units(guest, 0, units);
	second = plan_dry_run(&world.input);
	CHECK_INT(second->steps[0].range_count, 2);
	CHECK_STR(second->digest, first->digest);
	plan_free(second);
	world.wish.allow = 0;
	second = plan_dry_run(&world.input);
	CHECK_TRUE(strcmp(second->digest, first->digest) != 0);
	plan_free(second);
	plan_free(first);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"free memory is out while the rest moves", free_memory_is_out_while_the_rest_moves},
	{"what the host has is named", what_the_host_has_is_named},
	{"what the host has not is not asked for", what_the_host_has_not_is_not_asked_for},
	{"what the host had of it need not move", what_the_host_had_of_it_need_not_move},
	{"what was not told of is asked for as a whole", what_was_not_told_of_is_asked_for_as_a_whole},
	{"pieces beyond what a step names are left", pieces_beyond_what_a_step_names_are_left},
	{"a unit ends where the device does", a_unit_ends_where_the_device_does},
	{"without the consent it is a hint", without_the_consent_it_is_a_hint},
	{"what it saves is no more than is to be expected", what_it_saves_is_no_more_than_is_to_be_expected},
	{"who may not be shrunk is not", who_may_not_be_shrunk_is_not},
	{"the size comes back in every ending", the_size_comes_back_in_every_ending},
	{"who is shut out gets its size back", who_is_shut_out_gets_its_size_back},
	{"what comes while pages move is awaited after it", what_comes_while_pages_move_is_awaited_after_it},
	{"what gave nothing is asked back too", what_gave_nothing_is_asked_back_too},
	{"only what went offline is asked for", only_what_went_offline_is_asked_for},
	{"whose blocks cannot be told apart is not shrunk", whose_blocks_cannot_be_told_apart_is_not_shrunk},
	{"a budget is what copying is compared by", a_budget_is_what_copying_is_compared_by},
	{"what is copied sooner than unplugged is copied", what_is_copied_sooner_than_unplugged_is_copied},
	{"what does not come back is told", what_does_not_come_back_is_told},
	{"another size asked for meanwhile stands", another_size_asked_for_meanwhile_stands},
	{"what is left taken can be told", what_is_left_taken_can_be_told},
	{"a restart does not keep what was taken", a_restart_does_not_keep_what_was_taken},
	{"a guest that reports needs no shrinking", a_guest_that_reports_needs_no_shrinking},
	{"what is copied sooner than reported is copied", what_is_copied_sooner_than_reported_is_copied},
	{"huge pages come back where the guest went", huge_pages_come_back_where_the_guest_went},
	{"the digest stands while the guest breathes", the_digest_stands_while_the_guest_breathes},
};

int main(void)
{
	return unit_main("move_free", cases, sizeof(cases) / sizeof(cases[0]));
}
