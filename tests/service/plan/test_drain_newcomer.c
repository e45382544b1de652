/* SPDX-License-Identifier: Apache-2.0 */
#include "drain_newcomer.h"

#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* The DIMM of node 3 is held, with nobody in it at first. */

static void begin(struct world *world, enum drain_finish finish)
{
	world_init(world);
	world_wish_drain_dimm(world, finish);
	CHECK_INT(world_next(world)->step.kind, STEP_KIND_CORDON);
	world_perform(world);
}

/* A guest of which nothing but this has changed since it was surveyed. */
static struct snapshot_guest *add_guest(struct world *world, int node, uint64_t bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, "late", node, bytes);

	guest->counted = guest->dimms_told = true;
	guest->surveyed_at_ms = 10;
	if (node == 3) {
		guest->dimm_count = 1;
		strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
		guest->dimm_bytes[0].bytes = bytes;
	}
	return guest;
}

/* Instead of what was found before. */
static void find(const struct world *world, struct drain_newcomers *found)
{
	drain_newcomers_done(found);
	CHECK_INT(drain_newcomers_find(&world->input, found), 0);
}

static void one_that_may_move(void)
{
	static const enum drain_finish finishes[] = {DRAIN_FINISH_EMPTY, DRAIN_FINISH_OFFLINE};

	for (int i = 0; i < 2; i++) {
		CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
		struct world world;

		begin(&world, finishes[i]);
		find(&world, &found);
		CHECK_INT(found.count, 0);
		CHECK_INT(found.nodes, 1 << 3);
		CHECK_INT(found.whole_nodes, 1 << 3);
		add_guest(&world, 3, 300 * MIB);
		/* Only a part of its node is held: what lies there leaves. */
		world_add_second_dimm(&world);
		world.wish.allow = 1 << CONSENT_POLICY_SHIFT;
		find(&world, &found);
		CHECK_INT(found.count, 1);
		CHECK_INT(found.whole_nodes, 0);
		CHECK_INT(found.items[0].bytes, 300 * MIB);
		CHECK_INT(found.items[0].doubt, DRAIN_NEWCOMER_SURE);
		CHECK_TRUE(found.items[0].may_move);
		CHECK_INT(found.items[0].why.count, 0);
		CHECK_INT(found.items[0].move.kind, OPERATION_KIND_MOVE);
		CHECK_STR(found.items[0].move.guest, "uuid-late");
		CHECK_STR(found.items[0].move.drain, "d1");
		CHECK_INT(found.items[0].move.allow, 1 << CONSENT_POLICY_SHIFT);
		CHECK_INT(found.items[0].move.move.form, MOVE_FORM_MAP);
		CHECK_TRUE(found.items[0].move.move.map[3] >= 0 && found.items[0].move.move.map[3] < 3);
		CHECK_INT(found.items[0].move.move.range_count, 1);
		/* As it stands with the drain, for its undo. */
		CHECK_INT(found.items[0].step.kind, STEP_KIND_CHILD);
		CHECK_TRUE(step_is_of_newcomer(&found.items[0].step) && found.items[0].step.undoable);
		CHECK_STR(found.items[0].step.guest, "uuid-late");
		CHECK_INT(found.items[0].step.node, 3);
		CHECK_TRUE(found.items[0].step.nodes && !(found.items[0].step.nodes >> 3 & 1));
		world_done(&world);
	}
}

/* Nodes whose memory is all the drain's, once more. */
static void slices(void)
{
	CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
	struct world world;
	struct step step;

	begin(&world, DRAIN_FINISH_EMPTY);
	find(&world, &found);
	CHECK_TRUE(!drain_newcomers_slices(&world.input, &found, &step));
	strcpy(world.limits.slices, "machine.slice");
	CHECK_TRUE(drain_newcomers_slices(&world.input, &found, &step));
	CHECK_INT(step.kind, STEP_KIND_SLICE_CPUSETS);
	CHECK_INT(step.nodes, 1 << 3);
	CHECK_STR(step.slices, "machine.slice");
	CHECK_TRUE(step_is_of_newcomer(&step) && step.undoable);
	world_add_second_dimm(&world);
	find(&world, &found);
	CHECK_TRUE(!drain_newcomers_slices(&world.input, &found, &step));
	world_done(&world);
}

/* What the drain was not allowed is not done, and who may do it is told. */
static void one_that_needs_a_consent(void)
{
	for (int is_allowed = 0; is_allowed < 2; is_allowed++) {
		CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
		struct world world;

		begin(&world, DRAIN_FINISH_EMPTY);
		add_guest(&world, 3, 300 * MIB)->locked = true;
		world.wish.allow = is_allowed ? 1 << CONSENT_LOCKED_GUESTS : 0;
		find(&world, &found);
		CHECK_INT(found.count, 1);
		CHECK_TRUE(found.items[0].may_move == is_allowed);
		CHECK_INT(found.items[0].why.count, !is_allowed);
		if (!is_allowed) {
			CHECK_INT(found.items[0].why.items[0].consent, CONSENT_LOCKED_GUESTS);
			CHECK_INT(found.items[0].why.items[0].bytes, 300 * MIB);
			CHECK_STR(found.items[0].why.items[0].way_out, "move it with --allow locked_guests");
		}
		world_done(&world);
	}
}

/* It could not start again where the node is to be without memory; of one that only stays empty that is not asked. */
static void by_the_rules_of_its_finish(void)
{
	for (int is_offline = 0; is_offline < 2; is_offline++) {
		CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
		struct snapshot_guest *guest;
		struct world world;

		begin(&world, is_offline ? DRAIN_FINISH_OFFLINE : DRAIN_FINISH_EMPTY);
		guest = add_guest(&world, 3, 300 * MIB);
		guest->numatune_mode = NUMATUNE_MODE_STRICT;
		guest->stored_numatune_nodes = 1 << 3;
		find(&world, &found);
		CHECK_INT(found.count, 1);
		CHECK_TRUE(found.items[0].may_move == !is_offline);
		if (is_offline)
			CHECK_INT(found.items[0].why.items[0].consent, CONSENT_STORED_XML);
		world_done(&world);
	}
}

static void one_without_a_place(void)
{
	CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
	struct world world;

	begin(&world, DRAIN_FINISH_EMPTY);
	add_guest(&world, 3, 300 * MIB)->allowed_nodes = 1 << 3;
	find(&world, &found);
	CHECK_INT(found.count, 1);
	CHECK_TRUE(!found.items[0].may_move);
	CHECK_INT(found.items[0].why.count, 1);
	CHECK_INT(found.items[0].why.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(found.items[0].why.items[0].bytes, 300 * MIB);
	world_done(&world);
}

static void strays_are_none(void)
{
	CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, DRAIN_FINISH_EMPTY);
	guest = add_guest(&world, 3, 2 * MIB);
	guest->node_bytes[1] = 510 * MIB;
	guest->resident_bytes = 512 * MIB;
	find(&world, &found);
	CHECK_INT(found.count, 0);
	guest->node_bytes[3] += 4096;
	guest->resident_bytes += 4096;
	guest->dimm_bytes[0].bytes += 4096;
	find(&world, &found);
	CHECK_INT(found.count, 1);
	world_done(&world);
}

static void nothing_comes_where_nothing_is_online(void)
{
	CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	add_guest(&world, 3, 300 * MIB);
	for (size_t i = 0; i < world.snapshot->block_count; i++)
		if (world.snapshot->blocks[i].node == 3)
			world.snapshot->blocks[i].state = BLOCK_STATE_OFFLINE;
	find(&world, &found);
	CHECK_INT(found.count, 0);
	CHECK_INT(found.nodes, 0);
	world_done(&world);
}

static void check_doubt(struct world *world, bool is_listed, enum drain_newcomer_doubt doubt)
{
	CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};

	find(world, &found);
	CHECK_INT(found.count, is_listed);
	if (is_listed)
		CHECK_INT(found.items[0].doubt, doubt);
	if (is_listed)
		CHECK_INT(found.items[0].bytes, 0);
}

static void what_is_doubted(void)
{
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, DRAIN_FINISH_EMPTY);
	guest = add_guest(&world, 1, 512 * MIB);
	guest->overview_at_ms = 20;
	guest->overview_bytes[1] = 512 * MIB;
	check_doubt(&world, false, DRAIN_NEWCOMER_SURE);
	/* What is not there yet by the survey. */
	guest->overview_bytes[3] = 100 * MIB;
	check_doubt(&world, true, DRAIN_NEWCOMER_CHANGED);
	guest->overview_bytes[3] = 2 * MIB;
	check_doubt(&world, false, DRAIN_NEWCOMER_SURE);
	/* Huge pages without a counter of them. */
	guest->in_hugetlb = true;
	check_doubt(&world, true, DRAIN_NEWCOMER_UNTOLD);
	guest->in_hugetlb = false;
	guest->counted = false;
	check_doubt(&world, true, DRAIN_NEWCOMER_UNTOLD);
	/* It has just started: counted, or not even that. */
	guest->surveyed = false;
	guest->node_bytes[1] = guest->surveyed_at_ms = 0;
	guest->overview_bytes[3] = 0;
	check_doubt(&world, false, DRAIN_NEWCOMER_SURE);
	guest->overview_bytes[3] = 4096;
	check_doubt(&world, true, DRAIN_NEWCOMER_CHANGED);
	guest->overview_at_ms = 0;
	check_doubt(&world, true, DRAIN_NEWCOMER_UNTOLD);
	guest->state = GUEST_STATE_SHUT_OFF;
	guest->pid = 0;
	check_doubt(&world, false, DRAIN_NEWCOMER_SURE);
	world_done(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a guest that may move away again", one_that_may_move},
		{"slices that could not lose a node", slices},
		{"one that needs a consent which the drain lacks", one_that_needs_a_consent},
		{"what is asked goes by how far the drain went", by_the_rules_of_its_finish},
		{"one that has no place elsewhere", one_without_a_place},
		{"strays", strays_are_none},
		{"memory that is offline", nothing_comes_where_nothing_is_online},
		{"who is to be surveyed", what_is_doubted},
	};

	return unit_main("service/plan/drain_newcomer", cases, sizeof(cases) / sizeof(cases[0]));
}
