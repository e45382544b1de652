/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/*
 * Drains that overlap, with the real planners: what one holds stays as it is while others end, in
 * whatever order, and with the last of them the host is as it was at first.
 */

#define FIRST 32 /* block of the DIMM d1, all of node 2 */
#define CUT   34 /* what stays of node 2 has room for those who live there */
#define END   40

static struct engine_rig rig;

static struct wish wish_of_node(int node, enum drain_finish finish)
{
	struct wish wish = engine_rig_drain_wish(finish);

	wish.drain_wish.target = DRAIN_TARGET_NODE;
	wish.drain_wish.dimm[0] = '\0';
	wish.drain_wish.node = node;
	return wish;
}

static struct wish wish_of_blocks(uint64_t first, uint64_t end)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	wish.drain_wish.target = DRAIN_TARGET_RANGE;
	wish.drain_wish.dimm[0] = '\0';
	wish.drain_wish.range = (struct snapshot_range){first * FAKE_BLOCK, end * FAKE_BLOCK};
	return wish;
}

static void drain(const struct wish *wish, enum operation_state expected)
{
	engine_rig_submit(&rig, wish);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, expected);
}

static void begin_drained(const struct wish *first, const struct wish *second)
{
	engine_rig_begin(&rig);
	drain(first, OPERATION_STATE_SUCCEEDED);
	drain(second, OPERATION_STATE_SUCCEEDED);
}

static void submit_undrain(size_t index)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", engine_rig_drain_at(&rig, index)->id);
	engine_rig_submit(&rig, &wish);
}

static const struct operation_record *undrain(size_t index, enum operation_state expected)
{
	submit_undrain(index);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, rig.id)->state, expected);
	return engine_rig_operation(&rig, rig.id);
}

static bool are_online(size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		if (!rig.world.state.online[i])
			return false;
	return true;
}

static bool are_offline(size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		if (rig.world.state.online[i])
			return false;
	return true;
}

static uint64_t bytes_on(int node)
{
	return rig.world.state.guests[0].node_bytes[node] + rig.world.state.guests[1].node_bytes[node];
}

static void check_all_back(void)
{
	CHECK_TRUE(engine_rig_is_initial(&rig));
	CHECK_TRUE(!engine_rig_has_hold(&rig));
	for (size_t i = 0; engine_rig_drain_at(&rig, i); i++)
		CHECK_TRUE(engine_rig_drain_state_at(&rig, i) == DRAIN_STATE_RELEASED ||
			   engine_rig_drain_state_at(&rig, i) == DRAIN_STATE_STOPPED);
}

/* ---- both orders ---- */

static void test_a_dimm_and_its_node(void)
{
	struct wish first = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), second = wish_of_node(2, DRAIN_FINISH_OFFLINE);
	const struct operation_record *record;

	for (size_t order = 0; order < 2; order++) {
		begin_drained(&first, &second);
		record = undrain(order, order ? OPERATION_STATE_SUCCEEDED : OPERATION_STATE_INCOMPLETE);
		CHECK_TRUE(fake_world_is_drained(&rig.world, false));
		CHECK_TRUE(engine_rig_has_hold(&rig));
		CHECK_INT(engine_rig_drain_state_at(&rig, order), order ? DRAIN_STATE_RELEASED : DRAIN_STATE_DEFERRED);
		CHECK_INT(remainder_list_has(&record->remainder, REMAINDER_HELD), !order);
		CHECK_INT(engine_rig_drain_state_at(&rig, !order), DRAIN_STATE_HELD);
		undrain(!order, OPERATION_STATE_SUCCEEDED);
		check_all_back();
		/* There is nothing left to be asked for. */
		submit_undrain(order);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ALREADY);
		engine_rig_done(&rig);
	}
}

/* ---- one that only keeps others away ---- */

/* Of the same DIMM: at no time between the two is it nobody's. The guests come home with the drain, also under the cordon. */
static void test_a_cordon_and_its_dimm(void)
{
	static const enum drain_finish finishes[] = {DRAIN_FINISH_EMPTY, DRAIN_FINISH_OFFLINE};
	struct wish cordon = engine_rig_drain_wish(DRAIN_FINISH_CORDON);

	for (size_t i = 0; i < ARRAY_SIZE(finishes); i++)
		for (size_t order = 0; order < 2; order++) {
			struct wish empties = engine_rig_drain_wish(finishes[i]);

			begin_drained(&cordon, &empties);
			CHECK_INT(bytes_on(2), 0);
			CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_HELD);
			CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_HELD);
			/* What is drained is not drained twice, nor what is cordoned cordoned. */
			engine_rig_submit(&rig, &empties);
			CHECK_STR(rig.code, "target_held");
			engine_rig_submit(&rig, &cordon);
			CHECK_STR(rig.code, "target_held");
			undrain(order, OPERATION_STATE_SUCCEEDED);
			CHECK_INT(engine_rig_drain_state_at(&rig, order), DRAIN_STATE_RELEASED);
			CHECK_INT(engine_rig_is_initial(&rig), order == 1);
			CHECK_TRUE(engine_rig_has_hold(&rig));
			undrain(!order, OPERATION_STATE_SUCCEEDED);
			check_all_back();
			engine_rig_done(&rig);
		}
}

/* One that puts all back when it fails does so under the cordon, too. */
static void test_a_cordon_and_a_drain_that_fails(void)
{
	struct wish cordon = engine_rig_drain_wish(DRAIN_FINISH_CORDON), second = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE);

	engine_rig_begin(&rig);
	drain(&cordon, OPERATION_STATE_SUCCEEDED);
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	drain(&second, OPERATION_STATE_FAILED);
	CHECK_TRUE(engine_rig_operation(&rig, rig.id)->undone);
	CHECK_TRUE(engine_rig_is_initial(&rig));
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_HELD);
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_STOPPED);
	CHECK_TRUE(engine_rig_has_hold(&rig));
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

static void test_a_node_and_a_part_of_it(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_OFFLINE), part = wish_of_blocks(FIRST, CUT);

	/* The node first: what the part does not hold is online again, and nobody lives there yet. */
	begin_drained(&node, &part);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_TRUE(are_offline(FIRST, CUT) && are_online(CUT, END));
	CHECK_INT(bytes_on(2), 0);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	undrain(1, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);

	/* The part first, and undrained last: the node's own comes back, with its guests. */
	engine_rig_begin(&rig);
	drain(&part, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(bytes_on(2) > 0);
	drain(&node, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(bytes_on(2), 0);
	undrain(1, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(are_offline(FIRST, CUT) && are_online(CUT, END));
	CHECK_TRUE(bytes_on(2) > 0);
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);

	/* The part first, and undrained first. */
	begin_drained(&part, &node);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_TRUE(fake_world_is_drained(&rig.world, false));
	undrain(1, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* The second takes the guest on from where the first has brought it. */
static void test_a_guest_moved_twice(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), node = wish_of_node(0, DRAIN_FINISH_EMPTY);

	for (size_t order = 0; order < 2; order++) {
		engine_rig_begin(&rig);
		drain(&dimm, OPERATION_STATE_SUCCEEDED);
		CHECK_TRUE(bytes_on(0) > 0);
		drain(&node, OPERATION_STATE_SUCCEEDED);
		CHECK_INT(bytes_on(0), 0);
		undrain(order, order ? OPERATION_STATE_SUCCEEDED : OPERATION_STATE_INCOMPLETE);
		CHECK_TRUE(order ? are_offline(FIRST, END) : are_online(FIRST, END));
		CHECK_INT(bytes_on(2), 0);
		CHECK_TRUE(order ? bytes_on(0) > 0 : bytes_on(0) == 0);
		undrain(!order, OPERATION_STATE_SUCCEEDED);
		check_all_back();
		engine_rig_done(&rig);
	}
}

/* ---- a drain that fails, under another's hold ---- */

static void test_a_restore_leaves_what_another_took(void)
{
	struct wish part = wish_of_blocks(FIRST, CUT), node = wish_of_node(2, DRAIN_FINISH_OFFLINE);
	struct fake_state before;

	engine_rig_begin(&rig);
	drain(&part, OPERATION_STATE_SUCCEEDED);
	before = rig.world.state;
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_PARTIAL;
	drain(&node, OPERATION_STATE_FAILED);
	CHECK_TRUE(engine_rig_operation(&rig, rig.id)->undone);
	CHECK_TRUE(fake_state_is_equal(&rig.world.state, &before));
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_STOPPED);
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

static void check_restored_under_hold(void)
{
	const struct operation_record *record = engine_rig_operation(&rig, engine_rig_drain_at(&rig, 1)->operation);

	CHECK_INT(record->state, OPERATION_STATE_FAILED);
	CHECK_TRUE(!record->undone && remainder_list_has(&record->remainder, REMAINDER_HELD));
	CHECK_TRUE(fake_world_is_drained(&rig.world, false));
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_DEFERRED);
	CHECK_TRUE(!engine_rig_drain_at(&rig, 1)->hold.drain[0]);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_HELD);
}

static void test_a_restore_waits_for_a_hold(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_EMPTY), dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	drain(&node, OPERATION_STATE_SUCCEEDED);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	drain(&dimm, OPERATION_STATE_FAILED);
	check_restored_under_hold();
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	check_restored_under_hold();
	/* Asked for itself it has to wait, too. */
	undrain(1, OPERATION_STATE_FAILED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_DEFERRED);
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* Killed at that write; true where it is left in the middle of restoring. */
static bool is_killed_restoring(unsigned number)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_EMPTY), dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	engine_rig_begin(&rig);
	drain(&node, OPERATION_STATE_SUCCEEDED);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	atomic_store(&rig.die_how, JOURNAL_GATE_UNANSWERED);
	atomic_store(&rig.die_at, atomic_load(&rig.writes) + number);
	engine_rig_submit(&rig, &dimm);
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
	engine_rig_kill(&rig);
	rig.world.fail_look = rig.world.looks + 1;
	engine_rig_start(&rig);
	return engine_rig_top(&rig)->state == OPERATION_STATE_CANCELLING;
}

/* After a restart it first looks who holds what; it keeps trying. */
static void test_a_restore_that_cannot_look(void)
{
	unsigned number = 1;

	while (!is_killed_restoring(number) && number < 200) {
		engine_rig_done(&rig);
		number++;
	}
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_CANCELLING);
	CHECK_INT(rig.world.looks, rig.world.fail_look);
	engine_rig_advance(&rig, 1100);
	engine_rig_run(&rig, 0);
	check_restored_under_hold();
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* What cannot be put back along with another's is owed still, and nobody is left who would try: it can be asked for. */
static void test_what_waited_cannot_be_put_back(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), node = wish_of_node(2, DRAIN_FINISH_OFFLINE);

	begin_drained(&dimm, &node);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	rig.world.fail_undos_from = 1;
	rig.world.fail_undo_kind = STEP_KIND_OFFLINE_BLOCKS;
	submit_undrain(1);
	engine_rig_run(&rig, 0);
	CHECK_TRUE(engine_rig_operation(&rig, rig.id)->state != OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(!engine_rig_is_initial(&rig));
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_ATTENTION);
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_RELEASED);
	CHECK_TRUE(!engine_rig_has_hold(&rig));
	rig.world.fail_undos_from = 0;
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* As above, but the other keeps its hold, because its own could not be put back either: both come back with that. */
static void test_what_waited_is_tried_again(void)
{
	struct wish part = wish_of_blocks(FIRST, CUT), other = wish_of_blocks(CUT, END);

	engine_rig_begin(&rig);
	drain(&part, OPERATION_STATE_SUCCEEDED);
	engine_rig_submit(&rig, &other);
	engine_rig_run(&rig, rig.world.ticks + 4);
	CHECK_INT(engine_pause(rig.engine, engine_rig_drain_at(&rig, 1)->operation, NULL), 0);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	rig.world.fail_undos_from = 1;
	rig.world.fail_undo_kind = STEP_KIND_MOVE_PAGES;
	CHECK_INT(engine_resume(rig.engine, engine_rig_drain_at(&rig, 1)->operation, NULL), 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, engine_rig_drain_at(&rig, 1)->operation)->state, OPERATION_STATE_FAILED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_ATTENTION);
	CHECK_TRUE(!engine_rig_is_initial(&rig));
	rig.world.fail_undos_from = 0;
	undrain(1, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* The last hold may be that of a drain which fails while another is undrained. */
static void test_a_restore_puts_back_what_waited_for_it(void)
{
	struct wish part = wish_of_blocks(FIRST, CUT), other = wish_of_blocks(CUT, END);

	engine_rig_begin(&rig);
	drain(&part, OPERATION_STATE_SUCCEEDED);
	engine_rig_submit(&rig, &other);
	engine_rig_run(&rig, rig.world.ticks + 4);
	CHECK_TRUE(engine_rig_drain_at(&rig, 1)->hold.drain[0]);
	CHECK_INT(engine_pause(rig.engine, engine_rig_drain_at(&rig, 1)->operation, NULL), 0);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_TRUE(are_online(FIRST, CUT));
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	CHECK_INT(engine_resume(rig.engine, engine_rig_drain_at(&rig, 1)->operation, NULL), 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_operation(&rig, engine_rig_drain_at(&rig, 1)->operation)->state, OPERATION_STATE_FAILED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_RELEASED);
	check_all_back();
	engine_rig_done(&rig);
}

/* ---- the DIMM is out ---- */

static void plug(void)
{
	rig.world.state.ejected = false;
}

static void test_undrained_while_the_dimm_is_out(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	const struct operation_record *record;

	engine_rig_begin(&rig);
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	record = undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(record->remainder.count, 1);
	CHECK_STR(record->remainder.items[0].object, "dimm d1");
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	CHECK_TRUE(!engine_rig_has_hold(&rig) && fake_world_is_drained(&rig.world, true));
	/* Again, and still out. */
	undrain(0, OPERATION_STATE_FAILED);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	engine_rig_kill(&rig);
	engine_rig_start(&rig);
	plug();
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* The drain that ejects is not the one that took the memory offline. */
static void test_ejected_by_another(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_OFFLINE), dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	begin_drained(&node, &dimm);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	plug();
	undrain(1, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);

	/* It has nothing to put back itself, and what the first owes does not go with its hold. */
	begin_drained(&node, &dimm);
	undrain(1, OPERATION_STATE_SUCCEEDED);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	plug();
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* Both come to what a third has deferred, and each of its steps is undone once. */
static void test_two_undrains_meet(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	struct wish nodes[] = {wish_of_node(0, DRAIN_FINISH_CORDON), wish_of_node(1, DRAIN_FINISH_CORDON)};
	unsigned undos, alone;

	engine_rig_begin(&rig);
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	plug();
	undos = rig.world.undos;
	undrain(0, OPERATION_STATE_SUCCEEDED);
	alone = rig.world.undos - undos;
	engine_rig_done(&rig);

	engine_rig_begin(&rig);
	drain(&dimm, OPERATION_STATE_SUCCEEDED);
	for (int i = 0; i < 2; i++)
		drain(&nodes[i], OPERATION_STATE_SUCCEEDED);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	plug();
	undos = rig.world.undos;
	for (size_t i = 1; i < 3; i++) {
		submit_undrain(i);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	}
	/* Whose own it is has to wait for them. */
	submit_undrain(0);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	engine_rig_run(&rig, 0);
	CHECK_INT(rig.world.undos - undos, alone);
	check_all_back();
	engine_rig_done(&rig);
}

/* The DIMM is out, and what lay in it is still of both. */
static void test_undrains_of_a_dimm_that_is_out(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT), node = wish_of_node(2, DRAIN_FINISH_EMPTY);

	begin_drained(&node, &dimm);
	submit_undrain(1);
	CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	submit_undrain(0);
	CHECK_INT(rig.result, ENGINE_SUBMIT_BUSY);
	engine_rig_run(&rig, 0);
	engine_rig_done(&rig);
}

/* What a third has deferred lies under both: each puts back what the other does not hold. */
static void test_two_undrains_share_a_step(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_OFFLINE);
	struct wish first = wish_of_blocks(FIRST, CUT), second = wish_of_blocks(CUT, END);

	begin_drained(&node, &first);
	drain(&second, OPERATION_STATE_SUCCEEDED);
	undrain(0, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
	for (size_t i = 1; i < 3; i++) {
		submit_undrain(i);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
	}
	engine_rig_run(&rig, 0);
	check_all_back();
	engine_rig_done(&rig);
}

/* Blocks that were online under another's hold when the drain took them: those wait for it, the others go back. */
static void test_a_restore_puts_back_a_part_of_a_step(void)
{
	struct wish part = wish_of_blocks(CUT, END), dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);

	part.drain_wish.finish = DRAIN_FINISH_EMPTY;
	engine_rig_begin(&rig);
	drain(&part, OPERATION_STATE_SUCCEEDED);
	rig.world.fail_kind = STEP_KIND_EJECT;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	drain(&dimm, OPERATION_STATE_FAILED);
	CHECK_TRUE(are_online(FIRST, CUT) && are_offline(CUT, END));
	CHECK_INT(engine_rig_drain_state_at(&rig, 1), DRAIN_STATE_DEFERRED);
	undrain(0, OPERATION_STATE_SUCCEEDED);
	check_all_back();
	engine_rig_done(&rig);
}

/* What a third has deferred lies under a restore and an undrain, whatever the one has come to when the other begins. */
static void test_a_restore_shares_a_step(void)
{
	struct wish node = wish_of_node(2, DRAIN_FINISH_OFFLINE);
	struct wish first = wish_of_blocks(FIRST, CUT), second = wish_of_blocks(CUT, END);
	struct failure failure;
	char id[OPERATION_ID_SIZE];

	for (unsigned ticks = 0; ticks < 60; ticks++) {
		begin_drained(&node, &second);
		undrain(0, OPERATION_STATE_INCOMPLETE);
		CHECK_INT(engine_rig_drain_state_at(&rig, 0), DRAIN_STATE_DEFERRED);
		rig.world.fail_kind = STEP_KIND_OFFLINE_BLOCKS;
		rig.world.fail_kind_state = STEP_STATE_PARTIAL;
		engine_rig_submit(&rig, &first);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		snprintf(id, sizeof(id), "%s", rig.id);
		if (ticks % 2) {
			engine_rig_run(&rig, rig.world.ticks + ticks / 2 + 1);
			/* Late in the loop it has failed, and restores by itself. */
			(void)engine_cancel(rig.engine, id, true, &failure);
			submit_undrain(1);
		} else {
			submit_undrain(1);
			engine_rig_run(&rig, rig.world.ticks + ticks / 2 + 1);
			(void)engine_cancel(rig.engine, id, true, &failure);
		}
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		engine_rig_run(&rig, 0);
		check_all_back();
		engine_rig_done(&rig);
	}
}

static void test_killed_while_the_dimm_is_out(void)
{
	struct wish dimm = engine_rig_drain_wish(DRAIN_FINISH_EJECT);
	unsigned number = 1;
	bool died;

	do {
		unsigned long before;

		engine_rig_begin(&rig);
		drain(&dimm, OPERATION_STATE_SUCCEEDED);
		before = atomic_load(&rig.writes);
		atomic_store(&rig.die_how, number % 2 ? JOURNAL_GATE_LOST : JOURNAL_GATE_UNANSWERED);
		atomic_store(&rig.die_at, before + number);
		for (int i = 0; i < 2 && !atomic_load(&rig.died); i++) {
			submit_undrain(0);
			if (!atomic_load(&rig.died))
				engine_rig_run(&rig, 0);
			if (!atomic_load(&rig.died))
				plug();
		}
		died = atomic_load(&rig.died);
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		plug();
		for (int i = 0; i < 2 && engine_rig_drain_state_at(&rig, 0) != DRAIN_STATE_RELEASED; i++) {
			submit_undrain(0);
			engine_rig_run(&rig, 0);
		}
		check_all_back();
		engine_rig_done(&rig);
		number++;
	} while (died);
	CHECK_TRUE(number > 12);
}

/* ---- killed ---- */

struct scene {
	const char *name;
	struct wish first, second;
	size_t order; /* the one that is undrained first */
	enum step_kind fail_kind;
};

static bool has_ended(size_t index)
{
	enum drain_state state = engine_rig_drain_state_at(&rig, index);

	return state == DRAIN_STATE_RELEASED || state == DRAIN_STATE_DEFERRED || state == DRAIN_STATE_STOPPED;
}

/* Nothing of what a finished drain holds is online or lived in. */
static void check_holds(const struct scene *scene, unsigned number)
{
	for (size_t i = 0; engine_rig_drain_at(&rig, i); i++) {
		const struct drain_record *record = engine_rig_drain_at(&rig, i);
		bool is_kept = true;

		if (record->state != DRAIN_STATE_HELD || record->wish.finish != DRAIN_FINISH_OFFLINE)
			continue;
		for (size_t j = 0; j < record->hold.range_count; j++)
			is_kept = is_kept && are_offline(record->hold.ranges[j].start / FAKE_BLOCK,
							 record->hold.ranges[j].end / FAKE_BLOCK);
		if (!is_kept)
			fprintf(stderr, "%s %u: drain %zu holds what is online\n", scene->name, number, i);
		CHECK_TRUE(is_kept);
	}
}

/* Does the action that is next in the scene; false: there is none left, or it died. */
static bool act(const struct scene *scene)
{
	if (!engine_rig_drain_at(&rig, 0))
		engine_rig_submit(&rig, &scene->first);
	else if (!engine_rig_drain_at(&rig, 1))
		engine_rig_submit(&rig, &scene->second);
	else if (!has_ended(scene->order))
		submit_undrain(scene->order);
	else if (!has_ended(!scene->order))
		submit_undrain(!scene->order);
	else
		return false;
	if (!atomic_load(&rig.died))
		engine_rig_run(&rig, 0);
	return !atomic_load(&rig.died);
}

static bool kill_at_write(const void *played, enum journal_gate how, unsigned number, unsigned again)
{
	const struct scene *scene = played;
	bool died;

	engine_rig_init(&rig);
	rig.world.fail_kind = scene->fail_kind;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	engine_rig_start_mortal(&rig, how, number);
	while (act(scene))
		check_holds(scene, number);
	died = atomic_load(&rig.died);
	if (died) {
		engine_rig_kill(&rig);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		check_holds(scene, number);
		while (act(scene))
			check_holds(scene, number);
	}
	if (!engine_rig_is_initial(&rig))
		fprintf(stderr, "%s, killed at write %u: not all is back\n", scene->name, number);
	check_all_back();
	engine_rig_done(&rig);
	return died;
}

static void test_killed_at_every_write(void)
{
	const struct scene scenes[] = {
		{"dimm, node", engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), wish_of_node(2, DRAIN_FINISH_OFFLINE), 0,
		 STEP_KIND_COUNT},
		{"node, part", wish_of_node(2, DRAIN_FINISH_OFFLINE), wish_of_blocks(FIRST, CUT), 0, STEP_KIND_COUNT},
		{"part, node", wish_of_blocks(FIRST, CUT), wish_of_node(2, DRAIN_FINISH_OFFLINE), 1, STEP_KIND_COUNT},
		{"moved twice", engine_rig_drain_wish(DRAIN_FINISH_OFFLINE), wish_of_node(0, DRAIN_FINISH_EMPTY), 0,
		 STEP_KIND_COUNT},
		{"restore", wish_of_node(2, DRAIN_FINISH_EMPTY), engine_rig_drain_wish(DRAIN_FINISH_EJECT), 0,
		 STEP_KIND_EJECT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, &scenes[i], 0) >= 40);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a DIMM and its node, undrained in both orders", test_a_dimm_and_its_node},
		{"a cordon of a DIMM and its drain, in both orders", test_a_cordon_and_its_dimm},
		{"a drain that fails under a cordon", test_a_cordon_and_a_drain_that_fails},
		{"a node and a part of it, in all orders", test_a_node_and_a_part_of_it},
		{"a guest that both have moved, in both orders", test_a_guest_moved_twice},
		{"a restore leaves what another has taken", test_a_restore_leaves_what_another_took},
		{"a restore waits where another holds what it would give back", test_a_restore_waits_for_a_hold},
		{"a restore that cannot look at first", test_a_restore_that_cannot_look},
		{"a restore puts back what has waited for it", test_a_restore_puts_back_what_waited_for_it},
		{"what waited cannot be put back along with it", test_what_waited_cannot_be_put_back},
		{"what waited is tried again with it", test_what_waited_is_tried_again},
		{"undrained while the DIMM is out, and again when it is back", test_undrained_while_the_dimm_is_out},
		{"the DIMM was ejected by another drain", test_ejected_by_another},
		{"two undrains meet over what a third has deferred", test_two_undrains_meet},
		{"undrains of a DIMM that is out", test_undrains_of_a_dimm_that_is_out},
		{"what two undrains put back of one step", test_two_undrains_share_a_step},
		{"a restore puts back a part of a step", test_a_restore_puts_back_a_part_of_a_step},
		{"what a restore and an undrain put back of one step", test_a_restore_shares_a_step},
		{"killed at every write of an undrain while the DIMM is out", test_killed_while_the_dimm_is_out},
		{"killed at every write of the journal", test_killed_at_every_write},
	};

	return unit_main("engine_holds", cases, ARRAY_SIZE(cases));
}
