/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* A drain that ran as planned, and then the wish to take it back. */
static void drained(struct world *world, enum drain_finish finish)
{
	struct snapshot_guest *guest;
	char text[512];

	world_init(world);
	guest = world_add_guest(world, "db1", 3, 300 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = 1 << 3;
	world_wish_drain_dimm(world, finish);
	world_run(world, text);
	world_undrain(world);
}

static void steps_are_undone_in_reverse(void)
{
	static const unsigned order[] = {3, 2, 1};
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	for (size_t i = 0; i < 3; i++) {
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_INT(world.decision.step.kind, STEP_KIND_UNDO);
		CHECK_INT(world.decision.step.undo_n, order[i]);
		CHECK_STR(world.decision.step.undo_operation, "op-7");
		CHECK_TRUE(!world.decision.step.child);
		world_record(&world, STEP_STATE_DONE, 0);
	}
	CHECK_STR(world.history[2].step.text, "cordon");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_undrain_done(&world);
}

/* Who came under the hold comes back to memory that is online; else as they went. */
static void newcomers_follow_the_blocks(void)
{
	static const struct {
		const char *steps, *order;
	} table[] = {
		/* cordon, move, pool, offline, slices; and what came under the hold */
		{"cmpos", "sopmc"},
		{"cmposMPS", "soSPMpmc"},
		{"cmomosM", "somoMmc"},
		/* None went offline, or they are back. */
		{"cmsMM", "MMsmc"},
		{"cmpxsMP", "PMsxpmc"},
		{"cM", "Mc"},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t count = strlen(table[i].steps);
		struct step_record *steps = calloc(count + 1, sizeof(*steps));
		struct undo_order order;
		char text[16] = "";

		for (size_t j = 0; j < count; j++) {
			char one = table[i].steps[j];

			step_init(&steps[j].step, strchr("mM", one)   ? STEP_KIND_CHILD
						  : strchr("pP", one) ? STEP_KIND_HOST_POOL
						  : strchr("sS", one) ? STEP_KIND_SLICE_CPUSETS
						  : strchr("ox", one) ? STEP_KIND_OFFLINE_BLOCKS
								      : STEP_KIND_CORDON);
			steps[j].step.undoable = true;
			steps[j].state = one == 'x' ? STEP_STATE_UNDONE : STEP_STATE_DONE;
			if (strchr("MPS", one))
				memcpy(steps[j].step.text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
		}
		order = undo_order_of(steps, count);
		for (size_t j = 0; j < count; j++)
			text[j] = table[i].steps[undo_order_at(&order, j)];
		CHECK_STR(text, table[i].order);
		free(steps);
	}
}

/* Pages that come back take as long as they took to go, and what a guest has lost has to be plugged again. */
static void what_comes_back_takes_its_time(void)
{
	for (int shrinks = 0; shrinks < 2; shrinks++) {
		CLEANUP(plan_freep) struct plan *plan = NULL;
		struct world world;

		drained(&world, DRAIN_FINISH_OFFLINE);
		if (shrinks)
			world.input.subject[1].step.child->kind = OPERATION_KIND_RESIZE;
		world_set_rate(&world, RATE_KIND_MOVE, 10 * MIB);
		world_set_rate(&world, RATE_KIND_PLUG, 30 * MIB);
		world.input.snapshot = world.snapshot;
		plan = plan_dry_run(&world.input);
		CHECK_INT(plan->step_count, 3);
		CHECK_INT(plan->steps[1].undo_n, 2);
		CHECK_TRUE(plan->costs[1].ms >= (shrinks ? 10000 : 30000) && plan->costs[1].ms < (shrinks ? 12000 : 32000));
		CHECK_TRUE(plan->costs[0].ms < 1000 && plan->costs[2].ms < 1000);
		world_undrain_done(&world);
	}
}

static void only_what_was_done_is_undone(void)
{
	struct world world;
	struct step_record *subject;

	drained(&world, DRAIN_FINISH_OFFLINE);
	subject = (struct step_record *)world.input.subject;
	subject[2].state = STEP_STATE_PENDING;
	subject[1].state = STEP_STATE_RUNNING;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	subject[1].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_undrain_done(&world);
}

static void a_failed_undo_does_not_keep_the_hold(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	world_next(&world);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_UNDO_FAILED);
	world_undrain_done(&world);
}

/* Of the DIMM, as they are when it has been plugged in. */
static void add_offline_blocks(struct world *world)
{
	for (uint64_t start = 6 * GIB; start < 7 * GIB; start += WORLD_BLOCK) {
		struct snapshot_block *block = snapshot_add_block(world->snapshot);

		block->id = start / WORLD_BLOCK;
		block->start = start;
		block->size_bytes = WORLD_BLOCK;
		block->node = 3;
		block->state = BLOCK_STATE_OFFLINE;
	}
}

static void after_an_eject_only_the_hold_goes(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_EJECT);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_STR(world.decision.remainder.items[0].object, "dimm acpi-MP00");
	CHECK_STR(world.decision.remainder.items[0].way_out, "plug the DIMM in again, then undrain once more; or give it up: undrain with keep");
	world_undrain_done(&world);

	/* Plugged in again: everything is undone. */
	drained(&world, DRAIN_FINISH_EJECT);
	world.snapshot->dimms[0].state = SNAPSHOT_DIMM_OFFLINE;
	add_offline_blocks(&world);
	CHECK_INT(world_next(&world)->step.undo_n, 3);
	world_undrain_done(&world);
}

/* There is nothing to plug in: the DIMM is there, and its memory is not. */
static void after_an_eject_that_was_refused_guests_wait(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_EJECT);
	world.snapshot->dimms[0].state = SNAPSHOT_DIMM_OFFLINE;
	world.snapshot->dimms[0].range_count = 0;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_EJECT_REFUSED);
	CHECK_STR(world.decision.remainder.items[0].object, "dimm acpi-MP00");
	CHECK_TRUE(strstr(world.decision.remainder.items[0].way_out, "reboot") != NULL);
	world_undrain_done(&world);
}

/* In place of 8 blocks there are so many, of which some lie behind those that were there. */
static void replaced(struct world *world, unsigned kept, unsigned added)
{
	struct snapshot_dimm *dimm;

	drained(world, DRAIN_FINISH_EJECT);
	dimm = &world->snapshot->dimms[0];
	dimm->state = SNAPSHOT_DIMM_OFFLINE;
	add_offline_blocks(world);
	world->snapshot->block_count -= 8 - kept;
	for (unsigned i = 0; i < added; i++) {
		struct snapshot_block *block = snapshot_add_block(world->snapshot);

		*block = (struct snapshot_block){.id = 80 + i, .start = (80 + i) * WORLD_BLOCK, .size_bytes = WORLD_BLOCK,
						 .node = 3, .state = BLOCK_STATE_OFFLINE};
	}
	dimm->range_count = 0;
	if (kept)
		dimm->ranges[dimm->range_count++] = (struct snapshot_range){6 * GIB, 6 * GIB + kept * WORLD_BLOCK};
	if (added)
		dimm->ranges[dimm->range_count++] = (struct snapshot_range){80 * WORLD_BLOCK, (80 + added) * WORLD_BLOCK};
}

/* What is asked for: "online 80-81 undo 3 undo 2 undo 1 ". Steps of blocks fail, as far as these are not there. */
static void undrain_replaced(struct world *world, uint64_t lost_bytes, char text[256])
{
	text[0] = '\0';
	for (int i = 0; i < 8 && world_next(world)->kind == DECISION_KIND_STEP; i++) {
		const struct step step = world->decision.step;
		size_t length = strlen(text);

		if (step.kind == STEP_KIND_ONLINE_BLOCKS)
			snprintf(text + length, 256 - length, "online %llu-%llu ", (unsigned long long)step.block_runs[0].first,
				 (unsigned long long)step.block_runs[0].last);
		else
			snprintf(text + length, 256 - length, "undo %u ", step.undo_n);
		world_perform(world);
		if (step.undo_n == 3 && lost_bytes) {
			struct step_record *record = &world->history[world->history_count - 1];

			record->state = STEP_STATE_PARTIAL;
			remainder_list_add(&record->remainder, REMAINDER_UNDO_FAILED, "block 55", lost_bytes, NULL, "lost");
		}
	}
}

/* A smaller one is in its place, which has room for the guest: that is home all the same. */
static void what_was_plugged_in_instead_may_be_smaller(void)
{
	struct world world;
	char text[256];

	replaced(&world, 7, 0);
	undrain_replaced(&world, WORLD_BLOCK, text);
	CHECK_STR(text, "undo 3 undo 2 undo 1 ");
	CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].bytes, WORLD_BLOCK);
	world_undrain_done(&world);

	/* It has none: the guest stays, and says so. */
	replaced(&world, 2, 0);
	undrain_replaced(&world, 6 * WORLD_BLOCK, text);
	CHECK_STR(text, "undo 3 undo 1 ");
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 6 * WORLD_BLOCK + 300 * MIB);
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_NO_ROOM));
	world_undrain_done(&world);

	/* One that is out is waited for, also where another was plugged in into its node. */
	drained(&world, DRAIN_FINISH_EJECT);
	world_add_second_dimm(&world);
	undrain_replaced(&world, 0, text);
	CHECK_STR(text, "undo 1 ");
	world_undrain_done(&world);
}

static void what_was_plugged_in_instead_may_lie_elsewhere(void)
{
	struct world world;
	char text[256];

	replaced(&world, 0, 8);
	undrain_replaced(&world, 8 * WORLD_BLOCK, text);
	CHECK_STR(text, "online 80-87 undo 3 undo 2 undo 1 ");
	CHECK_INT(world.decision.warnings.count, 0);
	world_undrain_done(&world);

	/* No more than was taken away; the rest is told. */
	replaced(&world, 6, 4);
	undrain_replaced(&world, 2 * WORLD_BLOCK, text);
	CHECK_STR(text, "online 80-81 undo 3 undo 2 undo 1 ");
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].code, REMAINDER_NOT_ONLINED);
	CHECK_INT(world.decision.warnings.items[0].bytes, 2 * WORLD_BLOCK);
	world_undrain_done(&world);
}

static void what_was_plugged_in_instead_may_be_larger(void)
{
	struct world world;
	char text[256];

	replaced(&world, 8, 2);
	undrain_replaced(&world, 0, text);
	CHECK_STR(text, "undo 3 undo 2 undo 1 ");
	CHECK_INT(world.decision.kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.warnings.count, 1);
	CHECK_INT(world.decision.warnings.items[0].bytes, 2 * WORLD_BLOCK);
	world_undrain_done(&world);
}

/* Another drain holds [start, end) of the DIMM. */
static struct snapshot_hold *hold_beside(struct world *world, uint64_t start, uint64_t end)
{
	struct snapshot_hold *hold = snapshot_add_hold(world->snapshot);

	strcpy(hold->drain, "d2");
	hold->node = -1;
	hold->range_count = 1;
	hold->ranges[0] = (struct snapshot_range){start, end};
	return hold;
}

static const struct remainder *held(const struct world *world, const char *object)
{
	for (size_t i = 0; i < world->decision.remainder.count; i++)
		if (world->decision.remainder.items[i].code == REMAINDER_HELD &&
		    strcmp(world->decision.remainder.items[i].object, object) == 0)
			return &world->decision.remainder.items[i];
	return NULL;
}

static void what_another_holds_waits(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	hold_beside(&world, 6 * GIB + 2 * WORLD_BLOCK, 6 * GIB + 3 * WORLD_BLOCK);
	/* All blocks but the third, which are two runs. */
	CHECK_INT(world_next(&world)->step.undo_n, 3);
	CHECK_INT(world.decision.step.block_run_count, 2);
	CHECK_INT(world.decision.step.block_runs[0].last, 49);
	CHECK_INT(world.decision.step.block_runs[1].first, 51);
	CHECK_INT(world.decision.step.block_runs[1].last, 55);
	world_record(&world, STEP_STATE_DONE, 0);
	/* The guest lived in all of them. */
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 2);
	CHECK_TRUE(held(&world, "step 3") != NULL && held(&world, "guest db1") != NULL);
	CHECK_INT(held(&world, "step 3")->bytes, WORLD_BLOCK);
	CHECK_INT(held(&world, "guest db1")->bytes, 300 * MIB);
	world_undrain_done(&world);
}

/* It keeps away who is new there: what comes back was there before. */
static void a_mere_cordon_is_in_nobodys_way(void)
{
	static const enum snapshot_hold_work works[] = {SNAPSHOT_HOLD_CORDONS, SNAPSHOT_HOLD_ANNOUNCED};
	struct snapshot_hold *hold;
	struct world world;

	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		drained(&world, DRAIN_FINISH_OFFLINE);
		hold = hold_beside(&world, 6 * GIB, 7 * GIB);
		hold->work = works[i];
		hold->node = 3;
		CHECK_INT(world_next(&world)->step.undo_n, 3);
		world_record(&world, STEP_STATE_DONE, 0);
		CHECK_INT(world_next(&world)->step.undo_n, 2);
		world_record(&world, STEP_STATE_DONE, 0);
		CHECK_INT(world_next(&world)->step.undo_n, 1);
		world_record(&world, STEP_STATE_DONE, 0);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
		world_undrain_done(&world);
	}
	/* What has come to nothing has taken away what it could. */
	drained(&world, DRAIN_FINISH_OFFLINE);
	hold_beside(&world, 6 * GIB, 7 * GIB)->work = SNAPSHOT_HOLD_STOPPED;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_undrain_done(&world);
}

static void a_node_that_another_drains_takes_nobody_back(void)
{
	struct snapshot_hold *hold;
	struct world world;

	/* Its blocks are free, but pages that come to the node might land in what is held. */
	drained(&world, DRAIN_FINISH_EMPTY);
	hold = hold_beside(&world, 6 * GIB, 6 * GIB + WORLD_BLOCK);
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	/* Not where what is held is offline, and so can take no page. */
	world.snapshot->blocks[48].state = BLOCK_STATE_OFFLINE;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	/* A hold on the whole node is one on what is plugged into it later. */
	hold->node = 3;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_undrain_done(&world);
}

/* What another drain did: moves db1 on, and takes one block of node 2. */
static void fill_other(struct step_record steps[2])
{
	memset(steps, 0, 2 * sizeof(*steps));
	for (unsigned i = 0; i < 2; i++) {
		step_init(&steps[i].step, i ? STEP_KIND_OFFLINE_BLOCKS : STEP_KIND_CHILD);
		steps[i].n = i + 1;
		steps[i].state = STEP_STATE_DONE;
		steps[i].step.undoable = true;
	}
	strcpy(steps[0].step.guest, "uuid-db1");
	steps[0].step.node = 1;
	steps[1].step.block_run_count = 1;
	steps[1].step.block_runs[0].first = steps[1].step.block_runs[0].last = 47;
}

static void a_guest_that_was_moved_on_waits(void)
{
	struct step_record steps[2];
	struct plan_drain other = {
		.drain = "d2", .operation = "op-8", .steps = steps, .step_count = 2, .is_held = true, .is_newer = true};
	struct world world;

	fill_other(steps);
	drained(&world, DRAIN_FINISH_EMPTY);
	world.input.drains = &other;
	world.input.drain_count = 1;
	CHECK_INT(world_next(&world)->step.undo_n, 1);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(held(&world, "guest db1") != NULL);
	world.history_count = 0;
	/* The earlier one's move is undone after this one's anyway. */
	other.is_newer = false;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	other.is_newer = true;
	steps[0].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.undo_n, 2);
	world_undrain_done(&world);
}

static void what_others_have_deferred_goes_back_too(void)
{
	static const struct {
		const char *operation;
		unsigned n;
	} order[] = {{"op-8", 2}, {"op-8", 1}, {"op-7", 2}, {"op-7", 1}}, later[] = {
		{"op-7", 2}, {"op-8", 2}, {"op-8", 1}, {"op-7", 1}};
	struct step_record steps[2];
	struct plan_drain other = {.drain = "d2", .operation = "op-8", .steps = steps, .step_count = 2};
	struct world world;

	for (int newer = 0; newer < 2; newer++) {
		fill_other(steps);
		other.is_newer = newer;
		drained(&world, DRAIN_FINISH_EMPTY);
			world.input.drains = &other;
		world.input.drain_count = 1;
		for (size_t i = 0; i < 4; i++) {
			CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
			CHECK_STR(world.decision.step.undo_operation, (newer ? order : later)[i].operation);
			CHECK_INT(world.decision.step.undo_n, (newer ? order : later)[i].n);
			world_record(&world, STEP_STATE_DONE, 0);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
		world_undrain_done(&world);
	}
}

/* ---- for good ---- */

static const struct remainder *warned(const struct remainder_list *warnings, const char *object)
{
	for (size_t i = 0; i < warnings->count; i++)
		if (warnings->items[i].code == REMAINDER_KEPT && strcmp(warnings->items[i].object, object) == 0)
			return &warnings->items[i];
	return NULL;
}

/* One more step of the drain, as if it had come before all others. Returns its record. */
static struct step_record *add_subject(struct world *world, enum step_kind kind)
{
	size_t count = world->input.subject_count;
	struct step_record *steps = reallocarray((struct step_record *)world->input.subject, count + 1, sizeof(*steps));

	memset(&steps[count], 0, sizeof(*steps));
	step_init(&steps[count].step, kind);
	steps[count].step.undoable = true;
	steps[count].state = STEP_STATE_DONE;
	steps[count].n = (unsigned)count + 1;
	world->input.subject = steps;
	world->input.subject_count = count + 1;
	return &steps[count];
}

static void for_good_nothing_is_moved_back(void)
{
	static const enum drain_finish finishes[] = {DRAIN_FINISH_EMPTY, DRAIN_FINISH_OFFLINE, DRAIN_FINISH_EJECT};

	for (size_t i = 0; i < sizeof(finishes) / sizeof(finishes[0]); i++) {
		struct world world;
		const struct remainder *guest, *dimm;

		drained(&world, finishes[i]);
		world.wish.keep = true;
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_INT(world.decision.step.kind, STEP_KIND_UNCORDON);
		CHECK_STR(world.decision.step.dimm, "acpi-MP00");
		CHECK_TRUE(!world.decision.step.undoable);
		/* What stays is said before, and once more when it is true. */
		for (int after = 0; after < 2; after++) {
			guest = warned(&world.decision.warnings, "guest db1");
			dimm = warned(&world.decision.warnings, "dimm acpi-MP00");
			CHECK_TRUE(guest && guest->bytes == 300 * MIB && strstr(guest->detail, "from node 3"));
			CHECK_INT(dimm != NULL, finishes[i] != DRAIN_FINISH_EMPTY);
			CHECK_TRUE(!dimm || dimm->bytes == (finishes[i] == DRAIN_FINISH_OFFLINE ? GIB : 0));
			CHECK_INT(world.decision.warnings.count, dimm ? 2 : 1);
			if (after)
				break;
			world_record(&world, STEP_STATE_DONE, 0);
			for (size_t j = 0; j < world.input.subject_count; j++)
				((struct step_record *)world.input.subject)[j].step.undoable = false;
			CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
		}
		world_undrain_done(&world);
	}
}

static void for_good_a_plan_shows_what_stays(void)
{
	CLEANUP(plan_freep) struct plan *plan = NULL;
	struct world world;

	drained(&world, DRAIN_FINISH_EJECT);
	/* What made room for it, and a pool that had pages there. */
	strcpy(add_subject(&world, STEP_KIND_CHILD)->step.guest, "uuid-db1");
	*add_subject(&world, STEP_KIND_HOST_POOL) = (struct step_record){
		.n = 7, .state = STEP_STATE_DONE,
		.step = {.kind = STEP_KIND_HOST_POOL, .undoable = true, .node = 1, .page_bytes = 2 * MIB,
			 .bytes = 20 * MIB, .target_bytes = 40 * MIB}};
	struct step_record *shrink = (struct step_record *)&world.input.subject[world.input.subject_count - 2];
	struct snapshot_node *node = snapshot_node(world.snapshot, 1);

	shrink->step.child = calloc(1, sizeof(*shrink->step.child));
	wish_init(shrink->step.child, OPERATION_KIND_RESIZE);
	shrink->bytes_done = 64 * MIB;
	node->pool_count = 1;
	node->pools[0] = (struct snapshot_pool){.page_bytes = 2 * MIB, .total = 20};
	world.wish.keep = true;
	world.input.snapshot = world.snapshot;
	world.input.history_count = 0;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->step_count, 1);
	CHECK_INT(plan->steps[0].kind, STEP_KIND_UNCORDON);
	CHECK_INT(plan->consents_needed, 0);
	CHECK_TRUE(!plan->already_done && !plan->blockers.count && !plan->forecast.count);
	CHECK_INT(plan->bytes, 0);
	CHECK_INT(plan->warnings.count, 4);
	CHECK_INT(warned(&plan->warnings, "guest db1")->bytes, 300 * MIB);
	CHECK_INT(warned(&plan->warnings, "node 1")->bytes, 20 * MIB);
	for (size_t i = 0; i < plan->warnings.count; i++)
		CHECK_TRUE(plan->warnings.items[i].way_out[0] && plan->warnings.items[i].code == REMAINDER_KEPT);
	world_undrain_done(&world);
}

/* Slices get their node back: nobody would come for that later. It waits for another's hold of the whole node. */
static void for_good_slices_get_their_nodes_back(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	add_subject(&world, STEP_KIND_SLICE_CPUSETS)->step.nodes = 1 << 3;
	world.wish.keep = true;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNDO);
	CHECK_INT(world.decision.step.undo_n, 4);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world.history_count = 0;
	hold_beside(&world, 6 * GIB, 7 * GIB)->node = 3;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_TRUE(held(&world, "step 4") != NULL);
	world_undrain_done(&world);
}

/* A DIMM that was pulled under another's hold, and was all of the node: slices would have the node as soon as it is back. */
static void slices_wait_for_a_hold_of_a_dimm_that_is_out(void)
{
	struct snapshot_hold *hold;
	struct world world;
	size_t kept = 0;

	drained(&world, DRAIN_FINISH_OFFLINE);
	add_subject(&world, STEP_KIND_SLICE_CPUSETS)->step.nodes = 1 << 3;
	world.wish.keep = true;
	hold = hold_beside(&world, 6 * GIB, 7 * GIB);
	snprintf(hold->dimm, sizeof(hold->dimm), "%s", world.snapshot->dimms[0].id);
	world.snapshot->dimms[0].state = SNAPSHOT_DIMM_EJECTED;
	world.snapshot->dimms[0].range_count = 0;
	CHECK_INT(world.snapshot->dimms[0].node, 3);
	for (size_t i = 0; i < world.snapshot->block_count; i++)
		if (world.snapshot->blocks[i].node != 3)
			world.snapshot->blocks[kept++] = world.snapshot->blocks[i];
	world.snapshot->block_count = kept;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
	world_record(&world, STEP_STATE_DONE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_TRUE(held(&world, "step 4") != NULL);
	world_undrain_done(&world);
}

/* Hooks that were never told how it ended: that the memory stays away, or, where none was taken, that it is there. */
static void for_good_hooks_are_told(void)
{
	struct step_record *subject;
	struct world world;

	drained(&world, DRAIN_FINISH_OFFLINE);
	world.snapshot->hooks.count = 1;
	strcpy(add_subject(&world, STEP_KIND_HOST_HOOKS)->step.text, "before");
	world.wish.keep = true;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_HOST_HOOKS);
	CHECK_TRUE(step_is_after(&world.decision.step) && !world.decision.step.undoable);
	world_record(&world, STEP_STATE_PARTIAL, 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
	/* The drain has told them itself. */
	world.history_count = 0;
	strcpy(add_subject(&world, STEP_KIND_HOST_HOOKS)->step.text, STEP_TEXT_AFTER);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
	subject = (struct step_record *)world.input.subject;
	subject[2].state = STEP_STATE_FAILED;
	subject[4].state = STEP_STATE_UNDONE;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNDO);
	CHECK_INT(world.decision.step.undo_n, 4);
	world_undrain_done(&world);
}

/* What others have deferred until this hold goes comes back with it, also a guest that this one has moved on; not of its target. */
static void for_good_others_get_theirs_back(void)
{
	struct step_record steps[2];
	struct plan_drain other = {.drain = "d2", .operation = "op-8", .steps = steps, .step_count = 2};
	struct world world;

	for (int newer = 0; newer < 2; newer++) {
		fill_other(steps);
		drained(&world, DRAIN_FINISH_EMPTY);
		other.is_newer = newer;
		other.is_same_target = false;
		world.wish.keep = true;
		world.input.drains = &other;
		world.input.drain_count = 1;
		for (unsigned n = 2; n > 0; n--) {
			CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNDO);
			CHECK_STR(world.decision.step.undo_operation, "op-8");
			CHECK_INT(world.decision.step.undo_n, n);
			world_record(&world, STEP_STATE_DONE, 0);
		}
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
		world.history_count = 0;
		other.is_same_target = true;
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
		/* Its own undrain is what gives it up. */
		other.is_held = true;
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_UNCORDON);
		CHECK_TRUE(!warned(&world.decision.warnings, "guest db1") ||
			   warned(&world.decision.warnings, "guest db1")->bytes == 300 * MIB);
		other.is_held = false;
		world_undrain_done(&world);
	}
}

/* Who cancels it, or whose time is over, has the drain as it was. */
static void for_good_but_not_too_late(void)
{
	struct world world;

	drained(&world, DRAIN_FINISH_EJECT);
	world.wish.keep = true;
	world.input.deadline_ms = world.input.now_ms = 1000;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_DEADLINE);
	world_undrain_done(&world);
}

static void an_unknown_drain_is_refused(void)
{
	struct world world;
	struct remainder_list blockers;
	struct failure failure;

	world_init(&world);
	wish_init(&world.wish, OPERATION_KIND_UNDRAIN);
	strcpy(world.wish.drain, "d9");
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "unknown_drain");
	world_done(&world);
}

/* ---- beside each other ---- */

/* Three guests of 300, 200 and 100 MiB have left the DIMM, whose blocks are online again but not recorded so yet. */
static void drained_of_three(struct world *world, bool are_huge)
{
	static const char *const names[] = {"db1", "db2", "db3"};
	struct snapshot_node *node;
	char text[512];

	world_init(world);
	for (uint64_t i = 0; i < 3; i++) {
		struct snapshot_guest *guest = world_add_guest(world, names[i], 3, (3 - i) * 100 * MIB);

		guest->surveyed = true;
		if (are_huge && i != 1) {
			guest->backings[0].kind = BACKING_KIND_HUGETLB;
			guest->backings[0].page_bytes = 2 * MIB;
		}
	}
	world_wish_drain_dimm(world, DRAIN_FINISH_OFFLINE);
	world_run(world, text);
	world_undrain(world);
	for (size_t i = 0; i < world->snapshot->block_count; i++)
		world->snapshot->blocks[i].state = BLOCK_STATE_ONLINE;
	node = snapshot_node(world->snapshot, 3);
	node->has_memory = true;
	node->total_bytes = node->free_bytes = GIB;
}

static size_t find_child(const struct world *world, const char *guest)
{
	for (size_t i = 0; i < world->input.subject_count; i++)
		if (world->input.subject[i].step.kind == STEP_KIND_CHILD &&
		    strcmp(world->input.subject[i].step.guest_name, guest) == 0)
			return i;
	return SIZE_MAX;
}

/* The move of that guest is the next to be put back, and begins. Returns its place in the history. */
static size_t begins(struct world *world, const char *guest)
{
	world_next(world);
	CHECK_INT(world->decision.kind, DECISION_KIND_STEP);
	CHECK_INT(world->decision.step.kind, STEP_KIND_UNDO);
	CHECK_STR(world->decision.step.guest_name, guest);
	world_record(world, STEP_STATE_RUNNING, 0);
	return world->history_count - 1;
}

static void ends(struct world *world, size_t undo)
{
	struct step_record *subject = (struct step_record *)world->input.subject;

	world->history[undo].state = STEP_STATE_DONE;
	subject[world->history[undo].step.undo_n - 1].state = STEP_STATE_UNDONE;
}

/* All that comes before them, one after the other and waited for. */
static void to_the_guests(struct world *world)
{
	while (world_next(world)->kind == DECISION_KIND_STEP && !world->decision.step.guest[0]) {
		CHECK_TRUE(!world->decision.beside);
		world_record(world, STEP_STATE_RUNNING, 0);
		CHECK_INT(world_next(world)->kind, DECISION_KIND_WAIT);
		ends(world, world->history_count - 1);
	}
	CHECK_TRUE(world->history_count > 0);
}

static void guests_come_back_beside_each_other(void)
{
	for (unsigned most = 0; most < 4; most++) {
		static const char *const names[] = {"db3", "db2", "db1"};
		unsigned at_once = most ? most : 1;
		size_t undos[3];
		struct world world;

		drained_of_three(&world, false);
		world.limits.drain_moves = most;
		to_the_guests(&world);
		for (unsigned i = 0; i < at_once; i++) {
			undos[i] = begins(&world, names[i]);
			CHECK_INT(world.decision.beside, i + 1 < at_once);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		for (unsigned i = at_once; i < 3; i++) {
			ends(&world, undos[i - at_once]);
			undos[i] = begins(&world, names[i]);
			CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		}
		for (unsigned i = 3 - at_once; i < 3; i++) {
			/* The hold goes when all have ended. */
			CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
			ends(&world, undos[i]);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_STEP);
		CHECK_STR(world.decision.step.text, "cordon");
		world_undrain_done(&world);
	}
}

/* Home has room for the first and the second, or the first and the third. */
static void there_is_room_for_all_that_come_back(void)
{
	static const struct {
		uint64_t room_bytes;
		const char *beside;
	} cases[] = {{310 * MIB, "db2"}, {299 * MIB, NULL}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t undo;
		struct world world;

		drained_of_three(&world, false);
		world.limits.drain_moves = 3;
		snapshot_node(world.snapshot, 3)->free_bytes = world_share(&world, 3, 0) + cases[i].room_bytes;
		to_the_guests(&world);
		undo = begins(&world, "db3");
		if (cases[i].beside)
			begins(&world, cases[i].beside);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
		if (!cases[i].beside) {
			/* Alone it is tried whatever room there seems to be. */
			ends(&world, undo);
			begins(&world, "db2");
		}
		world_undrain_done(&world);
	}
}

/* In their order, because their moves change the same pools; one that has none goes beside them. */
static void guests_with_huge_pages_come_back_one_by_one(void)
{
	struct world world;
	size_t undo;

	drained_of_three(&world, true);
	world.limits.drain_moves = 3;
	to_the_guests(&world);
	undo = begins(&world, "db3");
	begins(&world, "db2");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	ends(&world, undo);
	begins(&world, "db1");
	world_undrain_done(&world);
	/* Who does not run has no pages, and is in nobody's way. */
	drained_of_three(&world, true);
	world.limits.drain_moves = 3;
	snapshot_guest(world.snapshot, "db3")->state = GUEST_STATE_SHUT_OFF;
	to_the_guests(&world);
	begins(&world, "db3");
	begins(&world, "db2");
	begins(&world, "db1");
	world_undrain_done(&world);
}

/* Moves of one guest are undone last first, and what makes it larger again waits for all of them. */
static void one_guest_comes_back_step_by_step(void)
{
	struct step_record *subject;
	struct world world;
	size_t undo;

	drained_of_three(&world, false);
	world.limits.drain_moves = 3;
	subject = (struct step_record *)world.input.subject;
	/* As if the last had been moved twice. */
	memcpy(subject[find_child(&world, "db2")].step.guest, subject[find_child(&world, "db3")].step.guest,
	       sizeof(subject->step.guest));
	subject[find_child(&world, "db1")].step.child->kind = OPERATION_KIND_RESIZE;
	to_the_guests(&world);
	undo = begins(&world, "db3");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	ends(&world, undo);
	undo = begins(&world, "db2");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	ends(&world, undo);
	begins(&world, "db1");
	CHECK_TRUE(!world.decision.beside);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_WAIT);
	world_undrain_done(&world);
}

static const struct unit_case cases[] = {
	{"steps are undone in reverse", steps_are_undone_in_reverse},
		{"who came under the hold follows the blocks", newcomers_follow_the_blocks},
	{"what comes back takes its time", what_comes_back_takes_its_time},
	{"only what was done is undone", only_what_was_done_is_undone},
	{"a failed undo does not keep the hold", a_failed_undo_does_not_keep_the_hold},
	{"after an eject only the hold goes", after_an_eject_only_the_hold_goes},
	{"what was plugged in instead may be smaller", what_was_plugged_in_instead_may_be_smaller},
	{"what was plugged in instead may lie elsewhere", what_was_plugged_in_instead_may_lie_elsewhere},
	{"what was plugged in instead may be larger", what_was_plugged_in_instead_may_be_larger},
	{"after an eject that was refused guests wait", after_an_eject_that_was_refused_guests_wait},
	{"what another holds waits", what_another_holds_waits},
	{"a mere cordon is in nobody's way", a_mere_cordon_is_in_nobodys_way},
	{"a node that another drains takes nobody back", a_node_that_another_drains_takes_nobody_back},
	{"a guest that was moved on waits", a_guest_that_was_moved_on_waits},
	{"what others have deferred goes back too", what_others_have_deferred_goes_back_too},
	{"guests come back beside each other", guests_come_back_beside_each_other},
	{"there is room for all that come back", there_is_room_for_all_that_come_back},
	{"guests with huge pages come back one by one", guests_with_huge_pages_come_back_one_by_one},
	{"one guest comes back step by step", one_guest_comes_back_step_by_step},
	{"for good nothing is moved back", for_good_nothing_is_moved_back},
	{"for good: a plan shows what stays", for_good_a_plan_shows_what_stays},
	{"for good slices get their nodes back", for_good_slices_get_their_nodes_back},
	{"slices wait for a hold of a DIMM that is out", slices_wait_for_a_hold_of_a_dimm_that_is_out},
	{"for good hooks are told", for_good_hooks_are_told},
	{"for good others get theirs back", for_good_others_get_theirs_back},
	{"for good, but not too late", for_good_but_not_too_late},
	{"an unknown drain is refused", an_unknown_drain_is_refused},
};

int main(void)
{
	return unit_main("undrain_next", cases, sizeof(cases) / sizeof(cases[0]));
}
