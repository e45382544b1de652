/* SPDX-License-Identifier: Apache-2.0 */
/* What a drain begins while moves of it run. */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

static struct snapshot_guest *add_guest(struct world *world, const char *name, uint64_t bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, name, 3, bytes);

	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 3;
	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = bytes;
	return guest;
}

/* Cordoned, and the first move is about to begin. */
static void begin(struct world *world, enum drain_finish finish)
{
	world_wish_drain_dimm(world, finish);
	world_check_code(world, "");
	world_next(world);
	CHECK_INT(world->decision.step.kind, STEP_KIND_CORDON);
	world_perform(world);
	world_next(world);
}

/* The move that was decided begins; nothing of it has come yet. */
static void run_it(struct world *world, const char *guest, int to)
{
	const struct step *step = &world->decision.step;

	CHECK_INT(world->decision.kind, DECISION_KIND_STEP);
	CHECK_INT(step->kind, STEP_KIND_CHILD);
	CHECK_STR(step->guest_name, guest);
	CHECK_INT(step->child->move.map[3], to);
	world_record(world, STEP_STATE_RUNNING, 0);
}

/* The move of that record has come so far. */
static void come(struct world *world, size_t record, uint64_t bytes)
{
	const struct step *step = &world->history[record].step;
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	int to = step->child->move.map[3];

	guest->node_bytes[3] -= bytes;
	guest->node_bytes[to] += bytes;
	snapshot_node(world->snapshot, 3)->free_bytes += bytes;
	snapshot_node(world->snapshot, to)->free_bytes -= bytes;
	world->history[record].bytes_done += bytes;
}

static void end(struct world *world, size_t record)
{
	struct step *step = &world->history[record].step;
	struct step_record ended;

	plan_apply(world->snapshot, step, 1000, &ended);
	step_record_done(&ended);
	world->history[record].state = STEP_STATE_DONE;
	world->history[record].bytes_done = step->bytes;
}

static void set_room(struct world *world, int node, uint64_t bytes)
{
	snapshot_node(world->snapshot, node)->free_bytes = world_share(world, node, 1 << 3) + bytes;
}

static void make_huge(struct snapshot_guest *guest)
{
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
}

static void others_begin_up_to_the_bound(void)
{
	for (unsigned most = 0; most < 4; most++) {
		struct world world;

		world_init(&world);
		world.limits.drain_moves = most;
		add_guest(&world, "db1", 300 * MIB);
		add_guest(&world, "db2", 200 * MIB);
		add_guest(&world, "db3", 100 * MIB);
		begin(&world, DRAIN_FINISH_OFFLINE);
		CHECK_INT(world.decision.beside, most > 1);
		run_it(&world, "db1", 1);
		world_next(&world);
		if (most > 1) {
			CHECK_INT(world.decision.beside, most > 2);
			run_it(&world, "db2", 1);
			world_next(&world);
		}
		if (most > 2) {
			CHECK_TRUE(!world.decision.beside);
			run_it(&world, "db3", 1);
			world_next(&world);
		}
		CHECK_INT(world.decision.kind, DECISION_KIND_WAIT);
		world_done(&world);
	}
}

/* Blocks, pools, giving up and the end wait until all have ended, in whatever order. */
static void all_else_waits(void)
{
	for (int finish = DRAIN_FINISH_EMPTY; finish < DRAIN_FINISH_COUNT; finish++) {
		struct world world;

		world_init(&world);
		add_guest(&world, "db1", 300 * MIB);
		add_guest(&world, "db2", 200 * MIB);
		begin(&world, (enum drain_finish)finish);
		run_it(&world, "db1", 1);
		world_next(&world);
		run_it(&world, "db2", 1);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		come(&world, 1, 100 * MIB);
		end(&world, 2);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		come(&world, 1, 200 * MIB);
		/* All of it has come, but it has not ended. */
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		world.input.deadline_ms = 1;
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		world.input.deadline_ms = 0;
		world.history[1].state = STEP_STATE_DONE;
		world_next(&world);
		if (finish == DRAIN_FINISH_EMPTY)
			CHECK_INT(world.decision.kind, DECISION_KIND_DONE);
		else
			CHECK_INT(world.decision.step.kind, STEP_KIND_OFFLINE_BLOCKS);
		world_done(&world);
	}
}

/* Node 1 is nearest, and has room for one of them. */
static void no_two_guests_share_the_same_room(void)
{
	for (uint64_t came = 0; came <= 300; came += 100) {
		struct world world;

		world_init(&world);
		add_guest(&world, "db1", 300 * MIB);
		add_guest(&world, "db2", 200 * MIB);
		set_room(&world, 1, 310 * MIB);
		begin(&world, DRAIN_FINISH_OFFLINE);
		run_it(&world, "db1", 1);
		come(&world, 1, came * MIB);
		world_next(&world);
		CHECK_INT(world.decision.step.child->move.map[3] == 1, 0);
		world_done(&world);

		/* What has come already is not reckoned twice. */
		world_init(&world);
		add_guest(&world, "db1", 300 * MIB);
		add_guest(&world, "db2", 200 * MIB);
		set_room(&world, 1, 510 * MIB);
		begin(&world, DRAIN_FINISH_OFFLINE);
		run_it(&world, "db1", 1);
		come(&world, 1, came * MIB);
		world_next(&world);
		run_it(&world, "db2", 1);
		world_done(&world);
	}
}

/* Placed together anew, the first would leave its place to the second; but it is on its way. */
static void who_runs_keeps_the_place(void)
{
	struct world world;

	world_init(&world);
	add_guest(&world, "db1", 300 * MIB);
	set_room(&world, 1, 310 * MIB);
	begin(&world, DRAIN_FINISH_OFFLINE);
	run_it(&world, "db1", 1);
	come(&world, 1, 100 * MIB);
	add_guest(&world, "db2", 200 * MIB)->allowed_nodes = 1 << 1 | 1 << 3;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	world_done(&world);
}

/* The survey shows pages on a node that had not taken them yet when the host was read. */
static void what_came_between_two_looks_is_reckoned(void)
{
	for (int late = 0; late < 2; late++) {
		struct world world;

		world_init(&world);
		add_guest(&world, "db1", 300 * MIB);
		add_guest(&world, "db2", 200 * MIB);
		set_room(&world, 1, 490 * MIB);
		begin(&world, DRAIN_FINISH_OFFLINE);
		run_it(&world, "db1", 1);
		come(&world, 1, 150 * MIB);
		snapshot_node(world.snapshot, 1)->free_bytes += 150 * MIB;
		world.snapshot->observed_at_ms = 1000;
		world.snapshot->rates.of[RATE_KIND_MOVE] = (struct measured_rate){.amount = GIB, .ms = 1000};
		snapshot_guest(world.snapshot, "db1")->surveyed_at_ms = late ? 1500 : 1000;
		world_next(&world);
		CHECK_INT(world.decision.step.child->move.map[3] == 1, !late);
		world_done(&world);
	}
}

/* Nobody knows how much of it has come, nor what it has. */
static void one_that_is_not_surveyed_keeps_all_its_room(void)
{
	for (int is_huge = 0; is_huge < 2; is_huge++) {
		struct snapshot_guest *guest;
		struct world world;

		world_init(&world);
		add_guest(&world, "db1", 300 * MIB);
		guest = add_guest(&world, "db2", 200 * MIB);
		if (is_huge)
			make_huge(guest);
		set_room(&world, 1, 490 * MIB);
		begin(&world, DRAIN_FINISH_OFFLINE);
		run_it(&world, "db1", 1);
		guest = snapshot_guest(world.snapshot, "db1");
		guest->surveyed = false;
		memset(guest->node_bytes, 0, sizeof(guest->node_bytes));
		guest->backing_count = 0;
		world_next(&world);
		if (is_huge)
			CHECK_INT(world.decision.kind, DECISION_KIND_WAIT);
		else
			CHECK_INT(world.decision.step.child->move.map[3] == 1, false);
		world_done(&world);
	}
}

/* Something of it has come to the target meanwhile, to another node than it was asked to leave. */
static void a_guest_that_runs_is_not_chosen_again(void)
{
	struct snapshot_block *block;
	struct world world;

	world_init(&world);
	add_guest(&world, "db1", 300 * MIB);
	begin(&world, DRAIN_FINISH_OFFLINE);
	run_it(&world, "db1", 1);
	come(&world, 1, 100 * MIB);
	/* A block of the DIMM lies on node 2. */
	block = snapshot_block(world.snapshot, 55);
	block->node = 2;
	snapshot_guest(world.snapshot, "db1")->node_bytes[2] = 50 * MIB;
	snapshot_guest(world.snapshot, "db1")->dimms_told = false;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	end(&world, 1);
	world_next(&world);
	CHECK_INT(world.decision.kind, DECISION_KIND_STEP);
	CHECK_INT(world.decision.step.kind, STEP_KIND_CHILD);
	world_done(&world);
}

/* Their moves change the same pools: the next but one that has none goes first. */
static void guests_with_huge_pages_go_one_by_one(void)
{
	struct world world;

	world_init(&world);
	world.limits.drain_moves = 3;
	make_huge(add_guest(&world, "db1", 300 * MIB));
	make_huge(add_guest(&world, "db2", 200 * MIB));
	add_guest(&world, "db3", 100 * MIB);
	begin(&world, DRAIN_FINISH_OFFLINE);
	run_it(&world, "db1", 1);
	world_next(&world);
	run_it(&world, "db3", 1);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	end(&world, 1);
	world_next(&world);
	run_it(&world, "db2", 1);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	world_done(&world);
}

/* A guest without a place stays without one while others are on their way, and keeps nobody. */
static void one_without_a_place_keeps_nobody(void)
{
	struct world world;

	world_init(&world);
	add_guest(&world, "db1", 300 * MIB);
	begin(&world, DRAIN_FINISH_OFFLINE);
	run_it(&world, "db1", 1);
	/* It came when the drain had begun. */
	add_guest(&world, "db2", 200 * MIB)->allowed_nodes = 1 << 3;
	add_guest(&world, "db3", 100 * MIB);
	world_next(&world);
	run_it(&world, "db3", 1);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	end(&world, 1);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	end(&world, 2);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_NO_ROOM);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	world_done(&world);
}

/*
 * Two were bound to a node of which another DIMM stays, and left it with all that they had, because nobody tells what of it
 * lies where.
 */
static void they_come_home_beside_each_other(void)
{
	struct snapshot_dimm *dimm;
	struct world world;

	world_init(&world);
	dimm = snapshot_add_dimm(world.snapshot);
	strcpy(dimm->id, "acpi-MP01");
	dimm->node = 3;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){7 * GIB, 8 * GIB};
	for (unsigned i = 0; i < 8; i++)
		*snapshot_add_block(world.snapshot) = (struct snapshot_block){.id = 56 + i,
									      .start = 7 * GIB + i * WORLD_BLOCK,
									      .size_bytes = WORLD_BLOCK,
									      .node = 3,
									      .zone = BLOCK_ZONE_MOVABLE};
	snapshot_node(world.snapshot, 3)->total_bytes += GIB;
	snapshot_node(world.snapshot, 3)->free_bytes += GIB;
	add_guest(&world, "db1", 300 * MIB);
	add_guest(&world, "db2", 200 * MIB);
	for (size_t i = 0; i < world.snapshot->guest_count; i++)
		world.snapshot->guests[i].dimms_told = false;
	begin(&world, DRAIN_FINISH_EJECT);
	run_it(&world, "db1", 1);
	world_next(&world);
	run_it(&world, "db2", 1);
	end(&world, 1);
	end(&world, 2);
	world_next(&world);
	CHECK_INT(world.decision.step.kind, STEP_KIND_OFFLINE_BLOCKS);
	world_perform(&world);
	for (int i = 0; i < 2; i++) {
		world_next(&world);
		CHECK_STR(world.decision.step.text, STEP_TEXT_HOME);
		CHECK_STR(world.decision.step.guest_name, i ? "db2" : "db1");
		CHECK_INT(world.decision.beside, i == 0);
		world_record(&world, STEP_STATE_RUNNING, 0);
	}
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	end(&world, 5);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	end(&world, 4);
	world_next(&world);
	CHECK_INT(world.decision.step.kind, STEP_KIND_EJECT);
	world_done(&world);
}

/* What lay in the half that went comes home by undo; two at a time, and no more than there is room for. */
static void undos_bring_home_beside_each_other(void)
{
	for (int is_tight = 0; is_tight < 2; is_tight++) {
		struct snapshot_node *home;
		struct world world;

		world_init(&world);
		world_add_second_dimm(&world);
		for (unsigned i = 0; i < 3; i++) {
			struct snapshot_guest *guest = add_guest(&world, i == 0 ? "db1" : i == 1 ? "db2" : "db3", (3 - i) * 100 * MIB);

			guest->policy_mode = POLICY_MODE_DEFAULT;
			guest->policy_nodes = guest->cpuset_mems = 0;
		}
		begin(&world, DRAIN_FINISH_OFFLINE);
		for (size_t i = 1; i < 4; i++) {
			CHECK_TRUE(world.decision.step.range_count > 0);
			world_perform(&world);
			world_next(&world);
		}
		CHECK_INT(world.decision.step.kind, STEP_KIND_OFFLINE_BLOCKS);
		world_perform(&world);
		home = snapshot_node(world.snapshot, 3);
		if (is_tight)
			home->free_bytes = world_share(&world, 3, 0) + 299 * MIB;
		for (unsigned i = 0; i < 2 - (unsigned)is_tight; i++) {
			world_next(&world);
			CHECK_INT(world.decision.step.kind, STEP_KIND_UNDO);
			CHECK_STR(world.decision.step.guest_name, i ? "db2" : "db3");
			CHECK_INT(world.decision.beside, i == 0);
			world_record(&world, STEP_STATE_RUNNING, 0);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		CHECK_INT(world.decision.warnings.count, 0);
		/* The first has come, all of it. */
		plan_apply(world.snapshot, &world.history[5].step, 1000, &(struct step_record){0});
		world.history[5].state = STEP_STATE_DONE;
		world.history[3].state = STEP_STATE_UNDONE;
		world_next(&world);
		if (!is_tight) {
			CHECK_STR(world.decision.step.guest_name, "db1");
			CHECK_TRUE(!world.decision.beside);
		} else {
			/* Nothing is on its way any more, and it is said who stays away. */
			CHECK_INT(world.decision.kind, DECISION_KIND_DONE);
			CHECK_INT(world.decision.warnings.count, 2);
			CHECK_INT(remainder_list_bytes(&world.decision.warnings), 500 * MIB);
		}
		world_done(&world);
	}
}

static const struct unit_case cases[] = {
	{"others begin up to the bound", others_begin_up_to_the_bound},
	{"all else waits", all_else_waits},
	{"no two guests share the same room", no_two_guests_share_the_same_room},
	{"who runs keeps the place", who_runs_keeps_the_place},
	{"what came between two looks is reckoned", what_came_between_two_looks_is_reckoned},
	{"one that is not surveyed keeps all its room", one_that_is_not_surveyed_keeps_all_its_room},
	{"a guest that runs is not chosen again", a_guest_that_runs_is_not_chosen_again},
	{"guests with huge pages go one by one", guests_with_huge_pages_go_one_by_one},
	{"one without a place keeps nobody", one_without_a_place_keeps_nobody},
	{"they come home beside each other", they_come_home_beside_each_other},
	{"undos bring home beside each other", undos_bring_home_beside_each_other},
};

int main(void)
{
	return unit_main("drain_running", cases, sizeof(cases) / sizeof(cases[0]));
}
