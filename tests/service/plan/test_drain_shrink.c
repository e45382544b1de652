/* SPDX-License-Identifier: Apache-2.0 */
#include "drain_shrink.h"

#include <assert.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

#define UNIT (128 * MIB)

static void expect_run(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

/* What the node may still take is exactly that, where nodes in without do not bear the reserve. */
static void set_room_without(struct world *world, int node, uint64_t without, uint64_t bytes)
{
	struct snapshot_node *seen = snapshot_node(world->snapshot, node);

	seen->free_bytes = 2 * GIB;
	seen->free_bytes -= plan_room(&world->input, node, without) - bytes;
}

static void set_room(struct world *world, int node, uint64_t bytes)
{
	set_room_without(world, node, 1 << 3, bytes);
}

/*
 * A guest bound to node 3 with a memory device at 4 GiB of which the DIMM has these percents of each unit, as many as
 * there are before -1; all of it plugged, and all but base_bytes of it free in the guest.
 */
static struct snapshot_guest *add_guest(struct world *world, const char *name, uint64_t base_bytes, const int *percents)
{
	struct snapshot_guest *guest;
	struct snapshot_residency *residency;
	uint64_t bytes = base_bytes;
	size_t count = 0;

	for (; percents[count] >= 0; count++)
		bytes += (uint64_t)percents[count] * UNIT / 100;
	guest = world_add_guest(world, name, 3, bytes);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 3;
	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = bytes;
	world_add_device(guest, "vm0", count * UNIT, count * UNIT)->address = 4 * GIB;
	residency = &guest->residencies[guest->residency_count++];
	*residency = (struct snapshot_residency){4 * GIB, count * UNIT, UNIT, count, {0}};
	for (size_t i = 0; i < count; i++) {
		residency->bytes[i] = (uint64_t)percents[i] * UNIT / 100;
		if (residency->bytes[i])
			guest->places[guest->place_count++] =
				(struct snapshot_place){(uint32_t)(residency->bytes[i] / 4096), 0, (uint8_t)i, 0, 3};
	}
	world_add_agent(guest, guest->current_bytes - base_bytes, 0);
	return guest;
}

static void drain_with(struct world *world, enum drain_finish finish, bool consent)
{
	world_wish_drain_dimm(world, finish);
	world->wish.allow = consent ? UINT32_C(1) << CONSENT_SHRINK_GUESTS : 0;
}

static const int units[] = {50, 100, 25, 100, -1};

/* 652 MiB, and one node with room for 500: 152 are missing, which are two blocks. */
static struct snapshot_guest *tight_world(struct world *world, bool consent)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = add_guest(world, "db1", 300 * MIB, units);
	for (int node = 0; node < 3; node++)
		set_room(world, node, node == 1 ? 500 * MIB : 10 * MIB);
	drain_with(world, DRAIN_FINISH_OFFLINE, consent);
	return guest;
}

static void what_lies_there_leaves_and_the_rest_moves(void)
{
	struct world world;
	struct snapshot_guest *guest = tight_world(&world, true);
	const struct step *step;
	char text[160];

	world_check_code(&world, "");
	expect_run(&world, "cordon resize move offline done");
	step = &world.history[1].step;
	CHECK_TRUE(step_shrinks(step) && step->undoable);
	CHECK_STR(step_describe(step, text), "db1  256 MiB less");
	CHECK_STR(step->child->drain, "d1");
	CHECK_INT(step->child->on_timeout, ON_TIMEOUT_STOP);
	CHECK_INT(step->child->timeout_s, 120);
	CHECK_INT(step->child->resize.device_count, 1);
	CHECK_STR(step->child->resize.devices[0].alias, "vm0");
	CHECK_INT(step->child->resize.devices[0].requested_bytes, 256 * MIB);
	/* The units that the DIMM has most of, and no other. */
	CHECK_INT(step->child->resize.range_count, 2);
	CHECK_INT(step->child->resize.ranges[0].start, 4 * GIB + UNIT);
	CHECK_INT(step->child->resize.ranges[0].end, 4 * GIB + 2 * UNIT);
	CHECK_INT(step->child->resize.ranges[1].start, 4 * GIB + 3 * UNIT);
	CHECK_INT(step->child->resize.ranges[1].end, 4 * GIB + 4 * UNIT);
	CHECK_INT(world.history[2].step.child->move.map[3], 1);
	CHECK_INT(world.history[2].step.bytes, 396 * MIB);
	CHECK_INT(guest->node_bytes[1], 396 * MIB);
	CHECK_INT(guest->current_bytes, 768 * MIB);
	CHECK_INT(guest->requested_bytes, 768 * MIB);
	CHECK_TRUE(snapshot_node(world.snapshot, 1)->free_bytes >= world_share(&world, 1, 1 << 3));
	world_done(&world);
	/* What is tight for a part of an hour is not waited for all of it. */
	tight_world(&world, true);
	world.input.deadline_ms = world.input.now_ms + 40000;
	world_next(&world);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.child->timeout_s, 11);
	world_done(&world);
}

/* After both blocks 396 MiB stay. If all of that were held for long nothing of it could move, and the blocks went in vain. */
static void more_stays_than_is_held_for_long(void)
{
	struct world world;

	tight_world(&world, true)->pinned_bytes = 395 * MIB;
	world_check_code(&world, "");
	expect_run(&world, "cordon resize move offline done");
	world_done(&world);
	tight_world(&world, true)->pinned_bytes = 396 * MIB;
	world_check_code(&world, "no_room");
	world_done(&world);
}

static void without_the_consent_it_is_refused_with_the_numbers(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL, *agreed = NULL;
	struct remainder_list blockers;
	struct failure failure;
	struct world world;

	tight_world(&world, false);
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(blockers.items[0].consent, CONSENT_SHRINK_GUESTS);
	CHECK_INT(blockers.items[0].bytes, 652 * MIB);
	CHECK_TRUE(strstr(blockers.items[0].detail, "it needs 652 MiB, and node 1 lacks 152 MiB for it; "
						    "shrinking guests by 256 MiB makes room; ") != NULL);
	CHECK_STR(blockers.items[0].way_out, "agree with --allow shrink_guests");
	CHECK_STR(failure.code, "consent_required");
	/* What would be done with it, and nothing without. */
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->consents_needed, 1u << CONSENT_SHRINK_GUESTS);
	CHECK_INT(plan->step_count, 4);
	CHECK_STR(step_word(&plan->steps[1]), "resize");
	/* Only what moves takes room. */
	CHECK_INT(plan->needs_bytes[1], 396 * MIB);
	CHECK_INT(plan->needs_bytes[0], 0);
	expect_run(&world, "cordon give_up");
	world_done(&world);
	/* The same plan where a page has come on. */
	tight_world(&world, true);
	snapshot_guest(world.snapshot, "db1")->places[1].pages--;
	agreed = plan_dry_run(&world.input);
	CHECK_INT(agreed->consents_needed, 0);
	CHECK_INT(agreed->step_count, 4);
	world_done(&world);
}

/* Nobody becomes smaller for what would not be enough. */
static void what_is_not_enough_is_refused_with_the_numbers(void)
{
	for (int consent = 0; consent < 2; consent++) {
		struct remainder_list blockers;
		struct failure failure;
		struct world world;
		struct snapshot_guest *guest = tight_world(&world, consent);

		/* 100 MiB more than it may lose. */
		guest->minimum_bytes = guest->current_bytes - UNIT - 100 * MIB;
		CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
		CHECK_STR(failure.code, "no_room");
		CHECK_INT(blockers.items[0].consent, -1);
		CHECK_TRUE(strstr(blockers.items[0].detail,
				  "lacks 152 MiB for it; of guests that can spare it no more than 128 MiB could be "
				  "shrunk there; ") != NULL);
		expect_run(&world, "cordon give_up");
		CHECK_INT(guest->current_bytes, 1024 * MIB);
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
		world_done(&world);
	}
}

/* Of which more is pinned than would be left could not be moved any more, wherever that lies. */
static void what_is_pinned_stays_movable(void)
{
	static const struct {
		uint64_t pinned_bytes;
		const char *code;
	} table[] = {{100 * MIB, ""}, {400 * MIB, "no_room"}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct world world;

		tight_world(&world, true)->pinned_bytes = table[i].pinned_bytes;
		world_check_code(&world, table[i].code);
		expect_run(&world, i ? "cordon give_up" : "cordon resize move offline done");
		world_done(&world);
	}
}

static void who_cannot_spare_it_is_left_alone(void)
{
	for (int i = 0; i < 10; i++) {
		struct remainder_list blockers;
		struct failure failure;
		struct world world;
		struct snapshot_guest *guest = tight_world(&world, true);
		struct snapshot_agent *agent = &guest->agent;

		if (i == 0)
			agent->state = AGENT_STATE_DISCONNECTED;
		else if (i == 1)
			agent->features &= ~(1u << AGENT_FEATURE_OFFLINE);
		else if (i == 2)
			agent->veto = true;
		else if (i == 3)
			guest->devices[0].requested_bytes -= UNIT;
		else if (i == 4)
			agent->shrink_limit_bytes = guest->current_bytes - UNIT;
		else if (i == 5)
			agent->shrink_most_bytes = UNIT;
		/* An eighth stays available. */
		else if (i == 6)
			agent->memory_available_bytes = 2 * UNIT + 127 * MIB;
		/* In a kernel zone it cannot leave. */
		else if (i == 7)
			agent->region_count = 1, agent->regions[0] = (struct snapshot_region){
							 4 * GIB, 4 * GIB + 4 * UNIT, 4 * UNIT, 4 * UNIT, UNIT, -1,
							 false, {0}};
		else if (i == 8)
			guest->migrating = true;
		else
			strcpy(guest->policy_fault, "no size");
		plan_check(&world.input, &blockers, &failure);
		CHECK_TRUE(blockers.count > 0 && blockers.items[blockers.count - 1].code == REMAINDER_NO_ROOM);
		CHECK_INT(blockers.items[blockers.count - 1].consent, -1);
		CHECK_TRUE(strstr(blockers.items[blockers.count - 1].detail,
				  i < 4 || i >= 8 ? "; no guest can spare any that lies there"
						  : "no more than 128 MiB could be shrunk there") != NULL);
		expect_run(&world, "cordon give_up");
		world_done(&world);
	}
}

/* Two that can give two blocks each, one that can give none, and room for all but that. */
static void add_three(struct world *world)
{
	static const int full[] = {100, 100, -1};

	world_init(world);
	add_guest(world, "a", 10 * MIB, full)->priority = 1;
	add_guest(world, "b", 20 * MIB, full);
	world_add_guest(world, "c", 3, 200 * MIB);
	set_room(world, 0, 220 * MIB);
	set_room(world, 1, 50 * MIB);
	set_room(world, 2, 50 * MIB);
}

static void the_lowest_priority_gives_first(void)
{
	struct world world;

	add_three(&world);
	drain_with(&world, DRAIN_FINISH_OFFLINE, true);
	world_check_code(&world, "");
	expect_run(&world, "cordon resize resize move move move offline done");
	CHECK_STR(world.history[1].step.guest_name, "b");
	CHECK_INT(world.history[1].step.bytes, 2 * UNIT);
	CHECK_STR(world.history[2].step.guest_name, "a");
	CHECK_INT(snapshot_guest(world.snapshot, "c")->node_bytes[3], 0);
	for (int node = 0; node < 3; node++)
		CHECK_TRUE(snapshot_node(world.snapshot, node)->free_bytes >= world_share(&world, node, 1 << 3));
	world_done(&world);
	/* The other way round, and one is enough. */
	add_three(&world);
	set_room(&world, 2, 280 * MIB);
	snapshot_guest(world.snapshot, "b")->priority = 2;
	drain_with(&world, DRAIN_FINISH_OFFLINE, true);
	world_check_code(&world, "");
	world_next(&world);
	world_perform(&world);
	CHECK_STR(world_next(&world)->step.guest_name, "a");
	world_done(&world);
}

/* One that has a place gives its own for another that nobody can ask for anything. */
static void others_make_room(void)
{
	static const int full[] = {100, 100, -1};
	struct world world;

	world_init(&world);
	add_guest(&world, "a", 10 * MIB, full);
	world_add_guest(&world, "c", 3, 300 * MIB);
	set_room(&world, 1, 400 * MIB);
	set_room(&world, 0, 0);
	set_room(&world, 2, 0);
	drain_with(&world, DRAIN_FINISH_EMPTY, true);
	world_check_code(&world, "");
	expect_run(&world, "cordon resize move move done");
	CHECK_STR(world.history[1].step.guest_name, "a");
	/* 566 less 400: two blocks, for one would be 38 MiB too little. */
	CHECK_INT(world.history[1].step.bytes, 2 * UNIT);
	world_done(&world);
}

/* On nodes where the other may not go nothing is won by it. */
static void who_cannot_help_is_not_asked(void)
{
	static const int full[] = {100, 100, -1};
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = add_guest(&world, "a", 10 * MIB, full);
	guest->allowed_nodes = 1 << 0 | 1 << 3;
	guest->priority = -5;
	guest = add_guest(&world, "b", 10 * MIB, full);
	guest->allowed_nodes = 1 << 1 | 1 << 3;
	set_room(&world, 0, 300 * MIB);
	set_room(&world, 1, 150 * MIB);
	drain_with(&world, DRAIN_FINISH_EMPTY, true);
	world_check_code(&world, "");
	expect_run(&world, "cordon resize move move done");
	CHECK_STR(world.history[1].step.guest_name, "b");
	CHECK_INT(world.history[1].step.bytes, UNIT);
	/* Nor for one that may go nowhere. */
	world_done(&world);
	world_init(&world);
	guest = add_guest(&world, "a", 10 * MIB, full);
	guest->allowed_nodes = 1 << 3;
	drain_with(&world, DRAIN_FINISH_EMPTY, true);
	world_check_code(&world, "no_room");
	expect_run(&world, "cordon give_up");
	world_done(&world);
}

/* The second DIMM and the first are one, of which half is drained, as a survey tells that was asked about it. */
static void make_range(struct world *world, struct snapshot_guest *guest)
{
	struct wish_drain *wish = &world->wish.drain_wish;

	world->snapshot->dimm_count = 1;
	world->snapshot->dimms[0].ranges[0].end = 8 * GIB;
	wish->target = DRAIN_TARGET_RANGE;
	wish->range = guest->dimm_bytes[0].range = (struct snapshot_range){6 * GIB, 7 * GIB};
	guest->dimm_bytes[0].node = 3;
	strcpy(guest->dimm_bytes[1].id, guest->dimm_bytes[0].id);
}

/* Of a node with two DIMMs only what lies in the one is taken, and of one of which a part is drained what lies in that. */
static void only_what_lies_in_the_target(void)
{
	for (int is_range = 0; is_range < 2; is_range++) {
		struct snapshot_guest *guest;
		struct world world;

		guest = tight_world(&world, true);
		world_add_second_dimm(&world);
		for (int node = 0; node < 3; node++)
			set_room_without(&world, node, 0, node == 1 ? 397 * MIB : 0);
		/* The full one at 128 MiB is the other's, but for a fifth: that is not worth it. */
		guest->dimm_count = 2;
		strcpy(guest->dimm_bytes[1].id, "acpi-MP01");
		guest->dimm_bytes[1].bytes = 103 * MIB;
		guest->dimm_bytes[0].bytes -= 103 * MIB;
		guest->places[1].pages = 25 * MIB / 4096;
		guest->places[guest->place_count++] = (struct snapshot_place){103 * MIB / 4096, 0, 1, 1, 3};
		/* And of what is in none that is told nobody knows. */
		guest->places[2].dimm = SNAPSHOT_NO_DIMM;
		if (is_range)
			make_range(&world, guest);
		world_next(&world);
		world_perform(&world);
		CHECK_STR(step_word(&world_next(&world)->step), "resize");
		assert(step_shrinks(&world.decision.step));
		CHECK_INT(world.decision.step.child->resize.range_count, 2);
		CHECK_INT(world.decision.step.child->resize.ranges[0].start, 4 * GIB + 3 * UNIT);
		CHECK_INT(world.decision.step.child->resize.ranges[0].end, 4 * GIB + 4 * UNIT);
		CHECK_INT(world.decision.step.child->resize.ranges[1].start, 4 * GIB);
		CHECK_INT(world.decision.step.child->resize.ranges[1].end, 4 * GIB + UNIT);
		world_done(&world);
	}
}

/* Of a unit of several blocks only as many as are missing. */
static void a_large_unit_is_cut_to_blocks(void)
{
	struct drain_shrink shrink;
	struct drain_scope scope;
	struct world world;
	struct snapshot_guest *guest;

	guest = tight_world(&world, true);
	guest->residencies[0] = (struct snapshot_residency){4 * GIB, 4 * UNIT, 4 * UNIT, 1, {352 * MIB}};
	guest->place_count = 1;
	guest->places[0] = (struct snapshot_place){352 * MIB / 4096, 0, 0, 0, 3};
	/* 352 of 512 MiB lie there: 88 of each block, so that 152 are in two. */
	drain_scope_find(&world.input, &scope);
	CHECK_INT(drain_shrink_find(&world.input, &scope, &shrink), 0);
	CHECK_TRUE(shrink.is_needed && shrink.is_enough);
	CHECK_INT(shrink.part_count, 1);
	CHECK_INT(shrink.bytes, 2 * UNIT);
	CHECK_INT(shrink.target_bytes, 176 * MIB);
	CHECK_INT(shrink.parts[0].node_bytes[3], 176 * MIB);
	CHECK_INT(shrink.parts[0].ranges[0].start, 4 * GIB);
	CHECK_INT(shrink.parts[0].ranges[0].end, 4 * GIB + 2 * UNIT);
	drain_shrink_done(&shrink);
	expect_run(&world, "cordon resize move offline done");
	CHECK_INT(guest->node_bytes[1], 476 * MIB);
	world_done(&world);
	/* Where all have a place nothing is looked for. */
	guest = tight_world(&world, true);
	set_room(&world, 2, GIB);
	drain_scope_find(&world.input, &scope);
	CHECK_INT(drain_shrink_find(&world.input, &scope, &shrink), 0);
	CHECK_TRUE(!shrink.is_needed && !shrink.is_enough);
	CHECK_INT(shrink.could_bytes + shrink.part_count, 0);
	drain_shrink_done(&shrink);
	world_done(&world);
}

/* In pieces it would fit, but no move can do that. */
static void pieces_are_no_place(void)
{
	struct remainder_list blockers;
	struct failure failure;
	struct world world;

	tight_world(&world, false);
	set_room(&world, 0, 300 * MIB);
	plan_check(&world.input, &blockers, &failure);
	CHECK_INT(blockers.count, 1);
	CHECK_TRUE(strstr(blockers.items[0].detail, "it needs 652 MiB, on one node; shrinking guests by 256 MiB") != NULL);
	CHECK_INT(blockers.items[0].consent, CONSENT_SHRINK_GUESTS);
	world.wish.allow = 1u << CONSENT_SHRINK_GUESTS;
	expect_run(&world, "cordon resize move offline done");
	world_done(&world);
}

/* What the host itself has there needs room as well. */
static void the_hosts_own_part_gets_room(void)
{
	static const int full[] = {100, 100, -1};
	struct remainder_list blockers;
	struct failure failure;
	struct world world;

	for (int consent = 0; consent < 2; consent++) {
		world_init(&world);
		add_guest(&world, "a", 10 * MIB, full);
		/* Processes have 300 MiB there. */
		snapshot_node(world.snapshot, 3)->free_bytes -= 300 * MIB;
		for (int node = 0; node < 3; node++)
			set_room(&world, node, node == 1 ? 500 * MIB : 0);
		drain_with(&world, DRAIN_FINISH_OFFLINE, consent);
		plan_check(&world.input, &blockers, &failure);
		CHECK_INT(blockers.count, consent ? 0 : 1);
		if (!consent) {
			CHECK_STR(blockers.items[0].object, "node 3");
			CHECK_INT(blockers.items[0].bytes, 66 * MIB);
			CHECK_INT(blockers.items[0].consent, CONSENT_SHRINK_GUESTS);
			CHECK_TRUE(strstr(blockers.items[0].detail, "have 300 MiB there; shrinking guests by 128 MiB makes "
								    "room; ") != NULL);
		}
		expect_run(&world, consent ? "cordon resize move offline done" : "cordon move give_up");
		world_done(&world);
	}
}

/* The guest had to move some of what leaves to other memory of the target: so much is still missing. */
static void what_came_to_less_is_tried_once_more(void)
{
	struct world world;
	struct snapshot_guest *guest = tight_world(&world, true);

	world_next(&world);
	world_perform(&world);
	CHECK_TRUE(step_shrinks(&world_next(&world)->step));
	world_perform(&world);
	guest->node_bytes[3] += 130 * MIB;
	guest->resident_bytes += 130 * MIB;
	CHECK_TRUE(step_shrinks(&world_next(&world)->step));
	/* The 26 MiB are in the half of a unit that is left. */
	CHECK_INT(world.decision.step.bytes, UNIT);
	CHECK_INT(world.decision.step.child->resize.ranges[0].start, 4 * GIB);
	CHECK_INT(world.decision.step.child->resize.devices[0].requested_bytes, UNIT);
	world_record(&world, STEP_STATE_PARTIAL, 64 * MIB);
	/* Not a third time. */
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	world_done(&world);
}

static void what_does_not_come_is_told(void)
{
	struct world world;
	struct step_record *record;
	const struct remainder_list *list = &world.decision.remainder;
	bool told = false;

	tight_world(&world, true);
	world_next(&world);
	world_perform(&world);
	world_next(&world);
	record = world_record(&world, STEP_STATE_FAILED, 0);
	remainder_list_add(&record->remainder, REMAINDER_GUEST_BUSY, "guest db1", 256 * MIB, NULL, "its blocks are in use");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	for (size_t i = 0; i < list->count; i++)
		told = told || (list->items[i].code == REMAINDER_GUEST_BUSY && !list->items[i].bytes &&
				strcmp(list->items[i].detail, "its blocks are in use") == 0);
	CHECK_TRUE(told);
	CHECK_INT(remainder_list_bytes(list), GIB);
	world_done(&world);
	/* A restart that cut it short was no refusal. */
	tight_world(&world, true);
	world_next(&world);
	world_perform(&world);
	world_next(&world);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "guest db1", 0, NULL, "restarted");
	CHECK_TRUE(step_shrinks(&world_next(&world)->step));
	world_done(&world);
}

static void small_guest(struct world *world, const char *name, int node)
{
	struct snapshot_guest *guest = world_add_guest(world, name, 3, 20 * MIB);

	guest->allowed_nodes = UINT64_C(1) << node;
	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = 20 * MIB;
}

/* It gave too little, and no node has room for all that is left: the kernel would scatter it over those of others. */
static void to_become_smaller_is_no_move(void)
{
	struct snapshot_guest *guest;
	struct world world;
	char text[512];

	tight_world(&world, true);
	small_guest(&world, "db2", 1);
	small_guest(&world, "db3", 2);
	set_room(&world, 2, 100 * MIB);
	guest = snapshot_guest(world.snapshot, "db1");
	world_next(&world);
	world_perform(&world);
	CHECK_TRUE(step_shrinks(&world_next(&world)->step));
	/* One unit of two. */
	world_record(&world, STEP_STATE_PARTIAL, UNIT);
	guest->node_bytes[3] -= UNIT;
	guest->resident_bytes -= UNIT;
	snapshot_node(world.snapshot, 3)->free_bytes += UNIT;
	CHECK_TRUE(step_shrinks(&world_next(&world)->step));
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_STR(world_run(&world, text), "move move give_up");
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	world_done(&world);
}

/* One that came later and may not be moved: nobody becomes smaller for it. */
static void nobody_becomes_smaller_in_vain(void)
{
	struct world world;

	tight_world(&world, true);
	world_next(&world);
	world_perform(&world);
	snapshot_guest(world.snapshot, "db1")->userfaultfd = true;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"what lies there leaves and the rest moves", what_lies_there_leaves_and_the_rest_moves},
	{"more stays than is held for long", more_stays_than_is_held_for_long},
	{"without the consent it is refused with the numbers", without_the_consent_it_is_refused_with_the_numbers},
	{"what is not enough is refused with the numbers", what_is_not_enough_is_refused_with_the_numbers},
	{"what is pinned stays movable", what_is_pinned_stays_movable},
	{"who cannot spare it is left alone", who_cannot_spare_it_is_left_alone},
	{"the lowest priority gives first", the_lowest_priority_gives_first},
	{"others make room", others_make_room},
	{"who cannot help is not asked", who_cannot_help_is_not_asked},
	{"only what lies in the target", only_what_lies_in_the_target},
	{"a large unit is cut to blocks", a_large_unit_is_cut_to_blocks},
	{"pieces are no place", pieces_are_no_place},
	{"the host's own part gets room", the_hosts_own_part_gets_room},
	{"what came to less is tried once more", what_came_to_less_is_tried_once_more},
	{"what does not come is told", what_does_not_come_is_told},
	{"to become smaller is no move", to_become_smaller_is_no_move},
	{"nobody becomes smaller in vain", nobody_becomes_smaller_in_vain},
};

int main(void)
{
	return unit_main("drain_shrink", cases, sizeof(cases) / sizeof(cases[0]));
}
