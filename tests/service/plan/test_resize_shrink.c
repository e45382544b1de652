/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

#define DEADLINE_MS 120000

/* 512 MiB base and a device of 2 GiB, full; an agent of today, and two minutes. */
static struct snapshot_guest *shrinking_guest(struct world *world, uint64_t available_bytes)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", 2 * GIB, 2 * GIB);
	world_add_agent(guest, available_bytes, 0);
	guest->agent.features = (1 << AGENT_FEATURE_COUNT) - 1;
	world_wish_resize(world, "g1", GIB);
	world->input.now_ms = 0;
	world->input.deadline_ms = DEADLINE_MS;
	return guest;
}

static void expect_step(struct world *world, enum step_kind kind)
{
	const struct decision *decision = world_next(world);

	CHECK_INT(decision->kind, DECISION_KIND_STEP);
	CHECK_STR(step_kind_name(decision->step.kind), step_kind_name(kind));
}

static void expect_gain(struct world *world, enum step_kind kind, uint64_t bytes)
{
	expect_step(world, kind);
	world_gain(world, bytes);
}

/* What was changed in the guest is kept, and that is all. */
static void expect_done(struct world *world)
{
	expect_gain(world, STEP_KIND_AGENT_COMMIT, 0);
	CHECK_INT(world_next(world)->kind, DECISION_KIND_DONE);
}

/* These steps, none of which gains anything. */
static void in_vain(struct world *world, const enum step_kind *kinds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_gain(world, kinds[i], 0);
}
#define IN_VAIN(world, ...) \
	in_vain(world, (enum step_kind[]){__VA_ARGS__}, sizeof((enum step_kind[]){__VA_ARGS__}) / sizeof(enum step_kind))

static void every_rung_in_its_order(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 1000 * MIB);

	guest->agent.huge_free_bytes = 300 * MIB;
	guest->agent.huge_used_bytes = 200 * MIB;
	/* 1536 MiB to go, and memory does not cover it. */
	expect_gain(&world, STEP_KIND_FREE_HUGE_PAGES, 300 * MIB);
	expect_step(&world, STEP_KIND_RUN_HOOKS);
	CHECK_INT(world.decision.step.bytes, 1536 * MIB);
	world_gain(&world, 0);
	guest->agent.memory_available_bytes = 1700 * MIB;
	expect_gain(&world, STEP_KIND_REQUEST, 1300 * MIB);
	/* Flat. An application is asked only once. */
	IN_VAIN(&world, STEP_KIND_COMPACT, STEP_KIND_KICK);
	expect_step(&world, STEP_KIND_MAKE_GUEST_ROOM);
	CHECK_INT(world.decision.step.bytes, 200 * MIB);
	world_gain(&world, 100 * MIB);
	/* Room is made for blocks to be emptied into: not for a kick. */
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 236 * MIB);
	world_gain(&world, 128 * MIB);
	expect_step(&world, STEP_KIND_KICK);
	guest->agent.memory_free_bytes = 50 * MIB;
	world_gain(&world, 128 * MIB);
	IN_VAIN(&world, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_MAKE_GUEST_ROOM, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	/* 108 MiB and a sixteenth are not free. */
	expect_step(&world, STEP_KIND_RECLAIM);
	CHECK_INT(world.decision.step.bytes, 108 * MIB + 108 * MIB / 16 - 50 * MIB);
	world_gain(&world, 64 * MIB);
	expect_gain(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, 0);
	/* The driver takes smaller pieces than blocks. */
	expect_gain(&world, STEP_KIND_KICK, 108 * MIB);
	expect_done(&world);
	world_done(&world);
}

/* What the agent cannot do is left out. */
static void an_old_agent_has_fewer_rungs(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 1000 * MIB);

	guest->agent.features = (1 << (AGENT_FEATURE_REPORT_FREE + 1)) - 1;
	guest->agent.huge_used_bytes = 200 * MIB;
	IN_VAIN(&world, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_OFFLINE_GUEST_BLOCKS,
		STEP_KIND_AWAIT);
	world_done(&world);
}

/* Up to the first await, with 1536 MiB missing. */
static void exhaust(struct world *world)
{
	IN_VAIN(world, STEP_KIND_REQUEST, STEP_KIND_RUN_HOOKS, STEP_KIND_COMPACT, STEP_KIND_KICK,
		STEP_KIND_OFFLINE_GUEST_BLOCKS);
}

static void the_time_is_used(void)
{
	struct world world;

	shrinking_guest(&world, 2 * GIB);
	exhaust(&world);
	/* Longer each time, and never only waited. */
	for (uint32_t wait = 5000; world.input.now_ms + wait < DEADLINE_MS; wait *= 2) {
		expect_step(&world, STEP_KIND_AWAIT);
		CHECK_INT(world.decision.step.timeout_ms, wait);
		world.input.now_ms += wait;
		world_gain(&world, 0);
		expect_step(&world, STEP_KIND_KICK);
		world.input.now_ms += 5000;
		world_gain(&world, 0);
	}
	expect_step(&world, STEP_KIND_AWAIT);
	/* It is the deadline that ends the last one. */
	CHECK_INT(world.decision.step.timeout_ms, DEADLINE_MS - world.input.now_ms + 1000);
	world.input.now_ms = DEADLINE_MS;
	world_gain(&world, 0);
	IN_VAIN(&world, STEP_KIND_SETTLE, STEP_KIND_AGENT_COMMIT);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
	world_done(&world);
}

static void without_a_deadline_nobody_waits(void)
{
	struct world world;

	shrinking_guest(&world, 2 * GIB);
	world.input.deadline_ms = 0;
	exhaust(&world);
	IN_VAIN(&world, STEP_KIND_SETTLE, STEP_KIND_AGENT_COMMIT);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	world_done(&world);
}

/* What stood in the way has gone: the driver is told at once, and it is done. */
static void what_becomes_free_leaves(void)
{
	struct world world;

	shrinking_guest(&world, 2 * GIB);
	exhaust(&world);
	expect_step(&world, STEP_KIND_AWAIT);
	world.input.now_ms += 3000;
	world_gain(&world, 900 * MIB);
	expect_gain(&world, STEP_KIND_KICK, 1536 * MIB);
	expect_done(&world);
	world_done(&world);
}

/* Huge pages that were let go lie in their pool, where the driver does not take them. */
static void pages_that_were_let_go_are_freed_first(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	exhaust(&world);
	expect_step(&world, STEP_KIND_AWAIT);
	guest->agent.huge_free_bytes = 800 * MIB;
	world_gain(&world, 800 * MIB);
	expect_gain(&world, STEP_KIND_FREE_HUGE_PAGES, 800 * MIB);
	expect_gain(&world, STEP_KIND_KICK, 1536 * MIB);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	world_done(&world);
}

/* What becomes free while a kick is watched is no less seen by the await after it. */
static void a_kick_hides_nothing(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	exhaust(&world);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_KICK);
	guest->agent.memory_available_bytes = 3 * GIB;
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB);
	world_gain(&world, GIB);
	expect_gain(&world, STEP_KIND_KICK, 36 * MIB);
	IN_VAIN(&world, STEP_KIND_RUN_HOOKS, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.target_bytes, 3 * GIB);
	world_done(&world);
}

/* A pool that was emptied and has free pages again has been let go of since. */
static void a_pool_that_fills_is_emptied_again(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, GIB);

	guest->agent.features &= ~(UINT64_C(1) << AGENT_FEATURE_HOOKS);
	guest->agent.huge_free_bytes = 100 * MIB;
	expect_gain(&world, STEP_KIND_FREE_HUGE_PAGES, 100 * MIB);
	IN_VAIN(&world, STEP_KIND_REQUEST);
	guest->agent.huge_free_bytes = 60 * MIB;
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	/* These were not to be had. */
	world_gain(&world, 0);
	IN_VAIN(&world, STEP_KIND_COMPACT, STEP_KIND_KICK);
	world_done(&world);
}

/* What was let go of lies in a pool in which room was made: that has to be as it was before it gives anything. */
static void room_that_has_lost_its_use(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	guest->agent.huge_used_bytes = 400 * MIB;
	guest->agent.features &= ~(UINT64_C(1) << AGENT_FEATURE_HOOKS);
	IN_VAIN(&world, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK);
	expect_gain(&world, STEP_KIND_MAKE_GUEST_ROOM, 100 * MIB);
	/* The room itself is not given away. */
	guest->agent.huge_free_bytes = 100 * MIB;
	IN_VAIN(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, STEP_KIND_KICK, STEP_KIND_COMPACT, STEP_KIND_KICK);
	expect_step(&world, STEP_KIND_AWAIT);
	guest->agent.huge_used_bytes = 0;
	guest->agent.huge_free_bytes = 500 * MIB;
	world_gain(&world, 400 * MIB);
	expect_gain(&world, STEP_KIND_AGENT_COMMIT, 0);
	guest->agent.huge_free_bytes = 400 * MIB;
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	CHECK_INT(world.decision.step.bytes, 400 * MIB);
	world_gain(&world, 400 * MIB);
	expect_gain(&world, STEP_KIND_KICK, 1536 * MIB);
	/* And the lease after it ends too. */
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	CHECK_STR(world.decision.step.text, "");
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* Each rung again after a change, and only then. */
static void an_await_that_saw_something_opens_the_rungs(void)
{
	struct world world;

	shrinking_guest(&world, 2 * GIB);
	exhaust(&world);
	IN_VAIN(&world, STEP_KIND_AWAIT, STEP_KIND_KICK);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 10000);
	world_gain(&world, 2 * MIB);
	IN_VAIN(&world, STEP_KIND_KICK, STEP_KIND_RUN_HOOKS, STEP_KIND_COMPACT, STEP_KIND_KICK,
		STEP_KIND_OFFLINE_GUEST_BLOCKS);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 20000);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_KICK);
	/* That something left is the hypervisor's word: all begins anew. */
	world_gain(&world, 36 * MIB);
	IN_VAIN(&world, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 5000);
	world_done(&world);
}

static void a_liar_opens_them_only_so_often(void)
{
	struct world world;
	unsigned rungs = 0, steps = 0;

	shrinking_guest(&world, 2 * GIB);
	world.input.deadline_ms = UINT64_C(1) << 40;
	/* Each step of the agent claims all, each await sees something at once, and nothing ever leaves. */
	while (world_next(&world)->kind == DECISION_KIND_STEP && steps++ < 600) {
		enum step_kind kind = world.decision.step.kind;
		bool size = kind == STEP_KIND_REQUEST || kind == STEP_KIND_KICK || kind == STEP_KIND_SETTLE;

		rungs += kind == STEP_KIND_OFFLINE_GUEST_BLOCKS || kind == STEP_KIND_RUN_HOOKS ||
			 kind == STEP_KIND_COMPACT || kind == STEP_KIND_RECLAIM;
		world_gain(&world, size || kind == STEP_KIND_FREE_HUGE_PAGES ? 0 : UINT64_MAX);
	}
	CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
	/* Ended tidily, before the engine would have stopped it. */
	CHECK_TRUE(steps <= 250);
	CHECK_INT(plan_count(&world.input, STEP_KIND_SETTLE), 1);
	CHECK_TRUE(rungs <= 5 * 4 * 3);
	world_done(&world);
}

static void a_veto_is_waited_for(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	guest->agent.veto = true;
	IN_VAIN(&world, STEP_KIND_AWAIT, STEP_KIND_AWAIT);
	guest->agent.veto = false;
	expect_gain(&world, STEP_KIND_REQUEST, 500 * MIB);
	guest->agent.veto = true;
	world.input.now_ms = DEADLINE_MS;
	expect_gain(&world, STEP_KIND_SETTLE, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_VETOED);
	world_done(&world);
}

static void a_migration_is_waited_for_and_then_kicked(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	expect_gain(&world, STEP_KIND_REQUEST, 500 * MIB);
	guest->migrating = true;
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, DEADLINE_MS + 1000);
	guest->migrating = false;
	world_gain(&world, 1);
	expect_step(&world, STEP_KIND_KICK);
	world_done(&world);
}

/* A kick would end the pass that the driver may be in. */
static void after_a_restart_it_looks_first(void)
{
	struct world world;
	struct step_record *record;

	shrinking_guest(&world, 2 * GIB);
	expect_step(&world, STEP_KIND_REQUEST);
	record = world_gain(&world, 500 * MIB);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "ballastd", 0, NULL, "restarted");
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, world.limits.flat_ms);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_RUN_HOOKS);
	world_done(&world);
}

/* Its agent has ended it, too, wherever it was: a hook may not have been run, nor a page reclaimed. */
static void what_a_restart_cut_short_is_tried_again(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 1000 * MIB);
	struct step_record *record;

	expect_step(&world, STEP_KIND_RUN_HOOKS);
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "ballastd", 0, NULL, "restarted");
	IN_VAIN(&world, STEP_KIND_RUN_HOOKS, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	guest->agent.memory_free_bytes = 50 * MIB;
	expect_step(&world, STEP_KIND_RECLAIM);
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_RESTARTED, "ballastd", 0, NULL, "restarted");
	IN_VAIN(&world, STEP_KIND_RECLAIM, STEP_KIND_AWAIT);
	world_done(&world);
}

static void without_an_agent_it_waits_and_kicks(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	memset(&guest->agent, 0, sizeof(guest->agent));
	IN_VAIN(&world, STEP_KIND_REQUEST, STEP_KIND_KICK, STEP_KIND_AWAIT, STEP_KIND_KICK, STEP_KIND_AWAIT,
		STEP_KIND_KICK);
	world_done(&world);
}

/* Two cells with a device each. */
static struct snapshot_guest *two_cells(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	world_add_device(guest, "vm0", GIB, GIB)->address = 4 * GIB;
	world_add_device(guest, "vm1", 2 * GIB, GIB)->address = 8 * GIB;
	guest->devices[1].cell = 1;
	world_add_agent(guest, 2 * GIB, 0);
	world->input.now_ms = 0;
	world->input.deadline_ms = DEADLINE_MS;
	return guest;
}

static void only_blocks_of_the_device_that_shrinks(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world);

	/* The second cell to its base. */
	world_wish_resize(&world, "g1", 0);
	world.wish.resize.device_count = 1;
	strcpy(world.wish.resize.devices[0].alias, "vm1");
	IN_VAIN(&world, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.range_count, 1);
	CHECK_INT(world.decision.step.ranges[0].start, 8 * GIB);
	CHECK_INT(world.decision.step.ranges[0].end, 10 * GIB);
	CHECK_INT(world.decision.step.bytes, GIB);
	world_gain(&world, GIB);
	expect_step(&world, STEP_KIND_KICK);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.target_bytes, 0);
	world_gain(&world, GIB);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	CHECK_INT(guest->devices[0].current_bytes, GIB);
	world_done(&world);
	/* Where nobody knows which blocks are whose, none goes offline. */
	guest = two_cells(&world);
	guest->devices[0].address = guest->devices[1].address = 0;
	world_wish_resize(&world, "g1", 512 * MIB + GIB);
	IN_VAIN(&world, STEP_KIND_REQUEST, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_KICK,
		STEP_KIND_AWAIT);
	world_done(&world);
}

/* The pools where they lie are in the way: those of the other cell are not. */
static void huge_pages_of_the_device_that_shrinks(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world);

	guest->agent.huge_free_bytes = 300 * MIB;
	world_wish_resize(&world, "g1", 0);
	world.wish.resize.device_count = 1;
	strcpy(world.wish.resize.devices[0].alias, "vm1");
	IN_VAIN(&world, STEP_KIND_REQUEST);
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	CHECK_INT(world.decision.step.range_count, 1);
	CHECK_INT(world.decision.step.ranges[0].start, 8 * GIB);
	CHECK_INT(world.decision.step.bytes, 300 * MIB);
	world_done(&world);
}

static void device_after_device(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world);

	world_wish_resize(&world, "g1", 512 * MIB + GIB);
	IN_VAIN(&world, STEP_KIND_REQUEST, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK, STEP_KIND_KICK);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_STR(world.decision.step.device, "vm0");
	CHECK_INT(world.decision.step.bytes, 512 * MIB);
	world_gain(&world, 512 * MIB);
	expect_step(&world, STEP_KIND_KICK);
	CHECK_STR(world.decision.step.device, "vm0");
	world_gain(&world, 512 * MIB);
	expect_step(&world, STEP_KIND_KICK);
	CHECK_STR(world.decision.step.device, "vm1");
	world_gain(&world, 0);
	IN_VAIN(&world, STEP_KIND_COMPACT, STEP_KIND_KICK);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.ranges[0].start, 8 * GIB);
	world_gain(&world, 0);
	/* Its share is asked of the other, which has given its own and can give more; the total stays the wish. */
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.target_bytes, GIB);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_STR(world.decision.step.device, "vm0");
	CHECK_INT(world.decision.step.target_bytes, 0);
	world_gain(&world, 512 * MIB);
	expect_done(&world);
	CHECK_INT(guest->current_bytes, 512 * MIB + GIB);
	world_done(&world);
}

static void name_range(struct world *world, uint64_t start, uint64_t bytes)
{
	world->wish.resize.ranges[world->wish.resize.range_count++] = (struct snapshot_range){start, start + bytes};
}

static void only_what_is_named_leaves(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world);

	world_wish_resize(&world, "g1", 512 * MIB + 2 * GIB - 256 * MIB);
	name_range(&world, 8 * GIB + 128 * MIB, 128 * MIB);
	name_range(&world, 8 * GIB + 512 * MIB, 128 * MIB);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_STR(world.decision.step.device, "vm1");
	CHECK_INT(world.decision.step.range_count, 2);
	CHECK_INT(world.decision.step.ranges[1].start, 8 * GIB + 512 * MIB);
	CHECK_INT(world.decision.step.bytes, 256 * MIB);
	world_gain(&world, 128 * MIB);
	/* Exactly what went offline, and not the rest from anywhere. */
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, GIB - 128 * MIB);
	world_gain(&world, 128 * MIB);
	/* The request has gained, so the others have their turn. */
	IN_VAIN(&world, STEP_KIND_COMPACT, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	expect_gain(&world, STEP_KIND_AWAIT, 0);
	/* No kick: nothing is asked for that is not offline. */
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 128 * MIB);
	world_gain(&world, 128 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, GIB - 256 * MIB);
	world_gain(&world, 128 * MIB);
	expect_done(&world);
	CHECK_INT(guest->devices[0].current_bytes, GIB);
	world_done(&world);
}

/* What is wished beyond the named ranges leaves as in any shrink. */
static void named_first_and_then_the_rest(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world);

	world_wish_resize(&world, "g1", 0);
	world.wish.resize.device_count = 1;
	strcpy(world.wish.resize.devices[0].alias, "vm1");
	world.wish.resize.devices[0].requested_bytes = 512 * MIB;
	name_range(&world, 8 * GIB + 128 * MIB, 128 * MIB);
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 128 * MIB);
	world_gain(&world, 128 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, GIB - 128 * MIB);
	world_gain(&world, 128 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
	world_gain(&world, 384 * MIB);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	CHECK_INT(guest->devices[1].current_bytes, 512 * MIB);
	/* Back is to what it was before the first of them. */
	world.decision.kind = DECISION_KIND_COUNT;
	world.wish.on_timeout = ON_TIMEOUT_RESTORE;
	world.wish.resize.devices[0].requested_bytes = 0;
	world.input.now_ms = DEADLINE_MS;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, GIB);
	world_done(&world);
}

/* All that leaves is taken offline by the agent, which knows how to leave the guest alone in between. */
static void a_share_of_the_time(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	world.wish.resize.work_percent = 20;
	world.input.deadline_ms = 1000000;
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 1536 * MIB);
	CHECK_INT(world.decision.step.work_percent, 20);
	CHECK_INT(world.decision.step.range_count, 0);
	/* Five times as long as a step that works all the time. */
	CHECK_INT(world.decision.step.timeout_ms, 300000);
	world_gain(&world, 512 * MIB);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB - 512 * MIB);
	world_gain(&world, 512 * MIB);
	/* As long as it gains: no rung that cannot pause comes between. */
	for (unsigned i = 0; i < 7; i++) {
		expect_gain(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, 128 * MIB);
		expect_gain(&world, STEP_KIND_REQUEST, 128 * MIB);
	}
	IN_VAIN(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS, STEP_KIND_RUN_HOOKS, STEP_KIND_AWAIT);
	/* Nor a kick, which would let the driver loose. */
	expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	CHECK_INT(world.decision.step.bytes, 128 * MIB);
	world_gain(&world, 128 * MIB);
	expect_gain(&world, STEP_KIND_REQUEST, 128 * MIB);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	CHECK_INT(guest->current_bytes, GIB);
	world_done(&world);
}

/* All of the time is as in any shrink. */
static void all_of_the_time_is_no_share(void)
{
	struct world world;

	shrinking_guest(&world, 2 * GIB);
	world.wish.resize.work_percent = 100;
	expect_step(&world, STEP_KIND_REQUEST);
	world_done(&world);
}

static void expect_check(struct world *world, const char *code, enum remainder_code why)
{
	struct remainder_list blockers;
	struct failure failure;

	plan_check(&world->input, &blockers, &failure);
	CHECK_STR(failure.code, code);
	CHECK_INT(blockers.count, code[0] ? 1 : 0);
	CHECK_TRUE(!code[0] || blockers.items[0].code == why);
}

static void a_share_that_nobody_can_keep_to(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

	world.wish.resize.work_percent = 20;
	expect_check(&world, "", REMAINDER_INVALID);
	guest->agent.features &= ~(1u << AGENT_FEATURE_WORK_SHARE);
	expect_check(&world, "invalid_target", REMAINDER_NO_AGENT);
	/* More memory is nothing to work for. */
	world.wish.resize.target_bytes = guest->current_bytes;
	expect_check(&world, "", REMAINDER_INVALID);
	guest->device_count = 0;
	guest->has_balloon = true;
	world.wish.resize.target_bytes = GIB;
	expect_check(&world, "invalid_target", REMAINDER_INVALID);
	world_done(&world);
}

static void ranges_that_cannot_leave_are_refused(void)
{
	struct world world;
	struct snapshot_guest *guest = two_cells(&world);

	world_wish_resize(&world, "g1", 512 * MIB + GIB);
	name_range(&world, 9 * GIB, 128 * MIB);
	expect_check(&world, "", REMAINDER_NONE);
	world.wish.resize.ranges[0].end = 11 * GIB;
	expect_check(&world, "invalid_target", REMAINDER_UNKNOWN_TARGET);
	world.wish.resize.ranges[0].end = 9 * GIB + 128 * MIB;
	guest->agent.features = 0;
	expect_check(&world, "invalid_target", REMAINDER_NO_AGENT);
	guest->agent.features = 1 << AGENT_FEATURE_OFFLINE;
	guest->devices[1].address = 0;
	expect_check(&world, "invalid_target", REMAINDER_UNKNOWN_TARGET);
	guest->devices[1].address = 8 * GIB;
	world.wish.resize.target_bytes = 512 * MIB + 2 * GIB;
	expect_check(&world, "invalid_target", REMAINDER_INVALID);
	world_done(&world);
}

/* A plan of other ranges is another plan. */
static void the_digest_knows_the_ranges(void)
{
	struct plan *plan;
	char digest[17];
	struct world world;

	two_cells(&world);
	world_wish_resize(&world, "g1", 512 * MIB + 2 * GIB - 128 * MIB);
	name_range(&world, 9 * GIB, 128 * MIB);
	plan = plan_dry_run(&world.input);
	memcpy(digest, plan->digest, sizeof(digest));
	CHECK_INT(plan->step_count, 3);
	plan_free(plan);
	world.wish.resize.ranges[0] = (struct snapshot_range){8 * GIB, 8 * GIB + 128 * MIB};
	plan = plan_dry_run(&world.input);
	CHECK_TRUE(strcmp(digest, plan->digest) != 0);
	plan_free(plan);
	world_done(&world);
}

static void a_failed_hook_is_told(void)
{
	struct world world;
	struct step_record *record;
	struct snapshot_guest *guest = shrinking_guest(&world, 100 * MIB);

	expect_step(&world, STEP_KIND_RUN_HOOKS);
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_HOOK_FAILED, "guest g1", 0, NULL, "10-database: no answer");
	guest->agent.memory_available_bytes = 2 * GIB;
	expect_gain(&world, STEP_KIND_REQUEST, 1536 * MIB);
	/* And so is one that fails when the lease ends. */
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_HOOK_FAILED, "guest g1", 0, NULL, "10-database (after): killed");
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(world.decision.warnings.count, 2);
	CHECK_STR(world.decision.warnings.items[0].detail, "10-database: no answer");
	CHECK_STR(world.decision.warnings.items[1].detail, "10-database (after): killed");
	CHECK_INT(world.decision.remainder.count, 0);
	world_done(&world);
}

/* What memory does not cover is asked for only once it does: else the guest's OOM killer makes room. */
static void no_more_than_memory_covers(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 600 * MIB);

	guest->agent.features = 1 << AGENT_FEATURE_RECLAIM;
	world.input.deadline_ms = 0;
	/* A 32nd of its 2560 MiB is left to it. */
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB - 520 * MIB);
	world_gain(&world, 520 * MIB);
	guest->agent.memory_available_bytes = guest->agent.memory_free_bytes = 80 * MIB;
	expect_step(&world, STEP_KIND_RECLAIM);
	/* Too little for another pass, and then more. */
	guest->agent.memory_available_bytes = 90 * MIB;
	world_gain(&world, 10 * MIB);
	CHECK_INT(world_next(&world)->kind == DECISION_KIND_STEP && world.decision.step.kind == STEP_KIND_REQUEST, 0);
	guest->agent.memory_available_bytes = 280 * MIB;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB - 720 * MIB);
	CHECK_INT(world.decision.step.bytes, 200 * MIB);
	world_gain(&world, 200 * MIB);
	guest->agent.memory_available_bytes = 80 * MIB;
	expect_gain(&world, STEP_KIND_RECLAIM, 0);
	/* It stands at what was reached: there is nothing to settle. */
	expect_gain(&world, STEP_KIND_AGENT_COMMIT, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 816 * MIB);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_BUSY);
	world_done(&world);
}

/* What is free is all that it is left: it does not do for the rest, and is reclaimed for. */
static void what_is_not_covered_is_reclaimed(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 1584 * MIB);

	guest->agent.features = 1 << AGENT_FEATURE_RECLAIM;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.bytes, 1504 * MIB);
	world_gain(&world, 1504 * MIB);
	guest->agent.memory_available_bytes = guest->agent.memory_free_bytes = 80 * MIB;
	expect_step(&world, STEP_KIND_RECLAIM);
	CHECK_INT(world.decision.step.bytes, 34 * MIB);
	world_gain(&world, 34 * MIB);
	guest->agent.memory_available_bytes = guest->agent.memory_free_bytes = 114 * MIB;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.bytes, 32 * MIB);
	world_done(&world);
}

/* The last piece, however small, is asked for where it is all that is missing. */
static void the_last_piece_is_asked_for(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 1614 * MIB);

	guest->agent.features = 0;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.bytes, 1534 * MIB);
	world_gain(&world, 1534 * MIB);
	guest->agent.memory_available_bytes = 90 * MIB;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.bytes, 2 * MIB);
	world_done(&world);
}

/* A size that somebody else has asked for already is helped, not changed. */
static void what_is_asked_for_already_stands(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 200 * MIB);

	guest->agent.features = 0;
	guest->devices[0].requested_bytes = 512 * MIB;
	guest->requested_bytes = GIB;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
	world_done(&world);
}

static void pressure_is_the_reason(void)
{
	struct world world;
	struct step_record *record;
	struct snapshot_guest *guest = shrinking_guest(&world, 400 * MIB);

	world.input.deadline_ms = 0;
	IN_VAIN(&world, STEP_KIND_RUN_HOOKS, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK,
		STEP_KIND_OFFLINE_GUEST_BLOCKS);
	guest->agent.memory_free_bytes = 0;
	expect_step(&world, STEP_KIND_RECLAIM);
	record = world_gain(&world, 0);
	remainder_list_add(&record->remainder, REMAINDER_GUEST_PRESSURE, "guest g1", 0, NULL, "some 12 %%");
	/* Another one had no time to find out. */
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_DEADLINE, "guest g1", 0, NULL, "timed out");
	IN_VAIN(&world, STEP_KIND_SETTLE, STEP_KIND_AGENT_COMMIT);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_GUEST_PRESSURE);
	CHECK_INT(world.decision.remainder.items[0].bytes, 1136 * MIB);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
	world_done(&world);
}

/* Blocks that were not tried for want of memory say nothing of themselves: what the memory is used for does. */
static void what_was_not_tried_is_told_by_its_use(void)
{
	static const struct {
		uint64_t used_mib;
		enum remainder_code first, last;
	} rows[] = {{1700, REMAINDER_HUGE_PAGES_IN_USE, REMAINDER_HUGE_PAGES_IN_USE},
		    {600, REMAINDER_HUGE_PAGES_IN_USE, REMAINDER_GUEST_BUSY},
		    {0, REMAINDER_GUEST_BUSY, REMAINDER_GUEST_BUSY}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;
		struct step_record *record;
		struct snapshot_guest *guest = shrinking_guest(&world, 400 * MIB);
		const struct remainder_list *told = &world.decision.remainder;

		world.input.deadline_ms = 0;
		IN_VAIN(&world, STEP_KIND_RUN_HOOKS, STEP_KIND_REQUEST, STEP_KIND_COMPACT, STEP_KIND_KICK);
		expect_step(&world, STEP_KIND_OFFLINE_GUEST_BLOCKS);
		record = world_gain(&world, 0);
		remainder_list_add(&record->remainder, REMAINDER_GUEST_BUSY, "guest g1", 0, NULL, "12 blocks were not tried");
		guest->agent.huge_used_bytes = rows[i].used_mib * MIB;
		/* Whatever is tried after that is in vain. */
		while (world_next(&world)->kind == DECISION_KIND_STEP && world.history_count < 20)
			world_gain(&world, 0);
		CHECK_INT(world.decision.kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(told->items[0].code, rows[i].first);
		CHECK_INT(told->items[told->count - 1].code, rows[i].last);
		CHECK_INT(remainder_list_bytes(told), 1536 * MIB);
		world_done(&world);
	}
}

/*
 * A wish that is to be continued: in parts as any other, and what stands in the end is what memory covers by then, for
 * nobody looks after it any more.
 */
static void what_is_to_stand(void)
{
	static const struct {
		uint64_t available_mib;
		enum agent_state agent;
		bool veto, rises;
		uint64_t stands; /* 0: what was asked for */
	} ends[] = {
		{80 + 400, AGENT_STATE_READY, false, false, 1648 * MIB},
		{80, AGENT_STATE_READY, false, false, 0},
		{80 + 4096, AGENT_STATE_BUSY, false, false, 0},
		{80 + 4096, AGENT_STATE_READY, true, false, 0},
		{80 + 4096, AGENT_STATE_READY, false, true, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct world world;
		struct snapshot_guest *guest = shrinking_guest(&world, 80 * MIB + 300 * MIB);

		guest->agent.features = 0;
		guest->agent.last_seen_ms = 1;
		world.wish.on_timeout = ON_TIMEOUT_CONTINUE;
		world.input.deadline_ms = 0;
		expect_step(&world, STEP_KIND_REQUEST);
		CHECK_INT(world.decision.step.target_bytes, 1748 * MIB);
		world_gain(&world, 0);
		guest->agent.memory_available_bytes = ends[i].available_mib * MIB;
		guest->agent.state = ends[i].agent;
		guest->agent.veto = ends[i].veto;
		guest->agent.shrink_limit_bytes = ends[i].rises ? 2 * GIB : 0;
		world_next(&world);
		if (world.decision.kind == DECISION_KIND_STEP && world.decision.step.kind == STEP_KIND_KICK) {
			world_gain(&world, 0);
			world_next(&world);
		}
		CHECK_INT(world.decision.kind, ends[i].stands ? DECISION_KIND_STEP : DECISION_KIND_GIVE_UP);
		if (ends[i].stands) {
			CHECK_STR(step_kind_name(world.decision.step.kind), "settle");
			CHECK_STR(world.decision.step.text, "stand");
			CHECK_INT(world.decision.step.target_bytes, ends[i].stands);
			world_gain(&world, 0);
			CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		}
		CHECK_INT(guest->devices[0].requested_bytes, ends[i].stands ? ends[i].stands : 1748 * MIB);
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB);
		world_done(&world);
	}
}

/* Of what it had at the start: neither a part nor a second device earns it another allowance. */
static void no_more_than_it_lets_go_at_once(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 80 * MIB + 300 * MIB);
	struct plan *plan;

	guest->agent.features = 1 << AGENT_FEATURE_COMPACT;
	/* No whole number of blocks: what is over stays. */
	guest->agent.shrink_most_bytes = 513 * MIB;
	world_check_code(&world, "");
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->steps[0].kind, STEP_KIND_REQUEST);
	CHECK_INT(plan->steps[0].target_bytes, 2 * GIB - 300 * MIB);
	CHECK_INT(plan->leaves[0].asked_bytes, 512 * MIB);
	CHECK_INT(remainder_list_bytes(&plan->forecast), 1536 * MIB - 300 * MIB);
	CHECK_INT(plan->forecast.items[0].code, REMAINDER_BELOW_FLOOR);
	CHECK_INT(plan->forecast.items[0].bytes, GIB);
	CHECK_STR(plan->forecast.items[0].detail, "it lets no more than 513 MiB go at once");
	CHECK_TRUE(!plan->already_done);
	plan_free(plan);
	expect_gain(&world, STEP_KIND_REQUEST, 300 * MIB);
	guest->agent.memory_available_bytes = 2 * GIB;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 2 * GIB - 512 * MIB);
	world_gain(&world, 212 * MIB);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BELOW_FLOOR);
	CHECK_INT(world.decision.remainder.items[0].bytes, GIB);
	CHECK_STR(world.decision.remainder.items[0].way_out, "shrink it again for the rest");
	world_done(&world);
}

/* More has been asked for than it lets go: that is taken back, and nothing grows. */
static void a_limit_in_the_middle(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB + 80 * MIB);

	world_add_device(guest, "vm1", 2 * GIB, 512 * MIB);
	world.input.start_bytes = guest->current_bytes;
	world.wish.resize.target_bytes = GIB + 512 * MIB;
	expect_gain(&world, STEP_KIND_REQUEST, 600 * MIB);
	guest->agent.shrink_most_bytes = 256 * MIB;
	expect_step(&world, STEP_KIND_SETTLE);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(guest->devices[1].requested_bytes, 512 * MIB);
	CHECK_TRUE(remainder_list_has(&world.decision.remainder, REMAINDER_BELOW_FLOOR));
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 1536 * MIB - 600 * MIB);
	world_done(&world);
}

/* A forecast says all that would stay, and that once. */
static void a_plan_tells_a_veto_once(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);
	struct plan *plan;

	guest->agent.veto = true;
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->forecast.count, 1);
	CHECK_INT(plan->forecast.items[0].code, REMAINDER_VETOED);
	CHECK_INT(plan->forecast.items[0].bytes, 1536 * MIB);
	plan_free(plan);
	world_done(&world);
}

/* What is left out is told before it is missed. */
static void a_plan_tells_what_the_agent_cannot(void)
{
	static const struct {
		uint64_t lacks, target_bytes;
		const char *told;
	} rows[] = {
		{0, GIB, NULL},
		{1 << AGENT_FEATURE_HOOKS, GIB, NULL},
		{1 << AGENT_FEATURE_RECLAIM | 1 << AGENT_FEATURE_MAKE_ROOM, GIB, "agent 0.1.0 cannot: make_room, reclaim"},
		{1 << AGENT_FEATURE_RECLAIM, 2560 * MIB + 512 * MIB, NULL},
		{1 << AGENT_FEATURE_ONLINE_POLICY, 2560 * MIB + 512 * MIB, "agent 0.1.0 cannot: online_policy"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;
		struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);
		struct plan *plan;

		guest->devices[0].size_bytes = 3 * GIB;
		guest->max_bytes += GIB;
		strcpy(guest->agent.version, "0.1.0");
		guest->agent.features &= ~rows[i].lacks;
		world_wish_resize(&world, "g1", rows[i].target_bytes);
		plan = plan_dry_run(&world.input);
		CHECK_INT(plan->warnings.count, rows[i].told ? 1 : 0);
		if (rows[i].told)
			CHECK_STR(plan->warnings.items[0].detail, rows[i].told);
		plan_free(plan);
		world_done(&world);
	}
}

/* What was asked for before it was said is taken back, and nothing else is tried. */
static void a_floor_that_rises_ends_it(void)
{
	for (int by_policy = 0; by_policy < 2; by_policy++) {
		struct world world;
		struct snapshot_guest *guest = shrinking_guest(&world, 2 * GIB);

		expect_gain(&world, STEP_KIND_REQUEST, GIB);
		*(by_policy ? &guest->minimum_bytes : &guest->agent.shrink_limit_bytes) = 1200 * MIB;
		expect_step(&world, STEP_KIND_SETTLE);
		CHECK_INT(world.decision.step.target_bytes, GIB);
		world_gain(&world, 0);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(world.decision.remainder.count, 1);
		CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BELOW_FLOOR);
		CHECK_INT(world.decision.remainder.items[0].bytes, 512 * MIB);
		world_done(&world);
	}
}

/* What it could spare is no longer known: no more is asked for than was, neither by a larger request nor by a kick. */
static void a_silent_agent_is_waited_for(void)
{
	static const enum agent_state silent[] = {AGENT_STATE_DISCONNECTED, AGENT_STATE_CONNECTING, AGENT_STATE_BUSY,
						  AGENT_STATE_READY};

	for (size_t i = 0; i < ARRAY_SIZE(silent) + 1; i++) {
		enum agent_state state = i < ARRAY_SIZE(silent) ? silent[i] : AGENT_STATE_READY;
		struct world world;
		struct snapshot_guest *guest = shrinking_guest(&world, 80 * MIB + GIB);

		guest->agent.features = 0;
		guest->agent.last_seen_ms = world.input.now_ms = 1000;
		expect_step(&world, STEP_KIND_REQUEST);
		CHECK_INT(world.decision.step.target_bytes, GIB);
		world_gain(&world, GIB);
		guest->agent.state = state;
		/* Ready and all the same silent: it has not told yet, or not in time. */
		guest->agent.reported = i != ARRAY_SIZE(silent) - 1;
		guest->agent.overdue = i == ARRAY_SIZE(silent);
		for (uint32_t wait = 5000; wait < 40000; wait *= 2) {
			expect_step(&world, STEP_KIND_AWAIT);
			CHECK_STR(world.decision.step.text, "agent");
			CHECK_INT(world.decision.step.timeout_ms, wait);
			world.input.now_ms += wait;
			world_gain(&world, 0);
		}
		/* Back, and the guest can spare half of the rest. */
		guest->agent.state = AGENT_STATE_READY;
		guest->agent.reported = true;
		guest->agent.overdue = false;
		guest->agent.memory_available_bytes = 80 * MIB + 256 * MIB;
		expect_step(&world, STEP_KIND_REQUEST);
		CHECK_INT(world.decision.step.target_bytes, GIB - 256 * MIB);
		/* Gone for good: what was asked for is settled, and it is said why. */
		world_gain(&world, 0);
		guest->agent.state = AGENT_STATE_BUSY;
		world.input.now_ms = DEADLINE_MS;
		IN_VAIN(&world, STEP_KIND_SETTLE);
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_AGENT_LOST);
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), 512 * MIB);
		world_done(&world);
	}
}

/* After a restart of the daemon only the operation's own steps tell that there was one. */
static void an_agent_that_has_worked_was_there(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, GIB);

	guest->agent.huge_free_bytes = 800 * MIB;
	expect_gain(&world, STEP_KIND_FREE_HUGE_PAGES, 100 * MIB);
	memset(&guest->agent, 0, sizeof(guest->agent));
	guest->agent.state = AGENT_STATE_CONNECTING;
	expect_step(&world, STEP_KIND_AWAIT);
	world.input.deadline_ms = 0;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_AGENT_LOST);
	world_done(&world);
}

/* One that was heard of long ago has its chance, and then the guest is like any other without one. */
static void who_has_no_agent_any_more_is_asked_for_all(void)
{
	static const enum agent_state states[] = {AGENT_STATE_NONE, AGENT_STATE_BUSY, AGENT_STATE_SUSPECT,
						  AGENT_STATE_INCOMPATIBLE};
	struct world world;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct snapshot_guest *guest = shrinking_guest(&world, GIB);

		memset(&guest->agent, 0, sizeof(guest->agent));
		guest->agent.state = states[i];
		/* Whom nobody believes, or understands, is not waited for. */
		guest->agent.last_seen_ms = i > 1 ? 1000 : 0;
		expect_step(&world, STEP_KIND_REQUEST);
		CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
		world_done(&world);
	}
	shrinking_guest(&world, GIB)->agent.state = AGENT_STATE_BUSY;
	snapshot_guest(world.snapshot, "g1")->agent.last_seen_ms = 1000;
	world.input.now_ms = 3600000;
	world.input.deadline_ms = world.input.now_ms + DEADLINE_MS;
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 30000);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
	world_done(&world);
}

/* A kick asks for nothing that its owner has not asked for, and without it the driver would sleep on. */
static void what_somebody_else_requested_is_kicked_without_the_agent(void)
{
	struct world world;
	struct snapshot_guest *guest = shrinking_guest(&world, GIB);

	guest->agent.state = AGENT_STATE_DISCONNECTED;
	guest->agent.last_seen_ms = world.input.now_ms = 1000;
	guest->devices[0].requested_bytes = 512 * MIB;
	expect_step(&world, STEP_KIND_REQUEST);
	CHECK_INT(world.decision.step.target_bytes, 512 * MIB);
	world_gain(&world, 100 * MIB);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_STR(world.decision.step.text, "agent");
	CHECK_INT(world.decision.step.timeout_ms, 30000);
	world_gain(&world, 0);
	IN_VAIN(&world, STEP_KIND_KICK);
	world.input.now_ms = DEADLINE_MS;
	IN_VAIN(&world, STEP_KIND_SETTLE);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_AGENT_LOST);
	world_done(&world);
}

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A guest in which steps gain by chance, sizes change while it waits, agents come and go. Returns the number of steps. */
static unsigned live(struct world *world, uint64_t *state)
{
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g1");
	const struct step_record *last = NULL;
	unsigned steps = 0;

	for (; world_next(world)->kind == DECISION_KIND_STEP && steps < 600; steps++) {
		const struct step *step = &world->decision.step;
		uint64_t gain = draw(state) % 3 ? 0 : step->bytes / (1 + draw(state) % 4) / (2 * MIB) * (2 * MIB);

		CHECK_TRUE(!last || last->step.kind != step->kind || strcmp(last->step.device, step->device) != 0 ||
			   last->bytes_done > 0 || step->kind == STEP_KIND_AWAIT || step->kind == STEP_KIND_REQUEST);
		/* Once the time is over only what puts things in order comes. */
		if (world->input.now_ms >= world->input.deadline_ms)
			CHECK_TRUE(step->kind == STEP_KIND_SETTLE || step->kind == STEP_KIND_AGENT_COMMIT ||
				   step->kind == STEP_KIND_AGENT_UNDO || step->kind == STEP_KIND_REQUEST);
		world->input.now_ms += step->kind == STEP_KIND_AWAIT && !gain ? step->timeout_ms : draw(state) % 6000;
		last = world_gain(world, step->kind == STEP_KIND_SETTLE ? 0 : gain);
		if (draw(state) % 20 == 0)
			guest->agent.state = draw(state) % 2 ? AGENT_STATE_READY : AGENT_STATE_DISCONNECTED;
		guest->agent.memory_free_bytes = draw(state) % GIB;
		guest->agent.huge_free_bytes = draw(state) % 3 ? 0 : draw(state) % 100 * 2 * MIB;
		guest->agent.huge_used_bytes = draw(state) % 100 * 2 * MIB;
		guest->migrating = draw(state) % 30 == 0;
		guest->agent.veto = draw(state) % 30 == 0;
		if (draw(state) % 60 == 0)
			guest->agent.shrink_limit_bytes = draw(state) % (2 * GIB);
		if (draw(state) % 60 == 0)
			guest->agent.shrink_most_bytes = draw(state) % GIB;
	}
	return steps;
}

static void it_always_ends(void)
{
	uint64_t state = UINT64_C(88172645463325252);
	unsigned longest = 0, done = 0;

	for (int i = 0; i < 4000; i++) {
		struct world world;
		struct snapshot_guest *guest = i % 2 ? two_cells(&world) : shrinking_guest(&world, GIB);
		unsigned steps;

		guest->agent.features = draw(&state) % (1 << AGENT_FEATURE_COUNT);
		world_wish_resize(&world, "g1", 512 * MIB + draw(&state) % 500 * 2 * MIB);
		world.wish.on_timeout = (enum on_timeout)(draw(&state) % ON_TIMEOUT_COUNT);
		world.input.deadline_ms = draw(&state) % 10 ? draw(&state) % 600000 : UINT64_C(86400000);
		if (draw(&state) % 4 == 0)
			name_range(&world, 8 * GIB + draw(&state) % 4 * 128 * MIB, 256 * MIB);
		guest->agent.shrink_most_bytes = draw(&state) % 4 ? 0 : draw(&state) % (2 * GIB);
		steps = live(&world, &state);
		longest = steps > longest ? steps : longest;
		CHECK_TRUE(steps <= 260);
		done += world.decision.kind == DECISION_KIND_DONE;
		if (world.decision.kind == DECISION_KIND_GIVE_UP && !guest->migrating)
			CHECK_INT(remainder_list_bytes(&world.decision.remainder),
				  guest->current_bytes - world.wish.resize.target_bytes);
		world_done(&world);
	}
	/* What never works is not tested. */
	CHECK_TRUE(done > 300);
	printf("longest: %u steps; %u of 4000 got there\n", longest, done);
}

static const struct unit_case cases[] = {
	{"every rung in its order", every_rung_in_its_order},
	{"an old agent has fewer rungs", an_old_agent_has_fewer_rungs},
	{"the time is used", the_time_is_used},
	{"without a deadline nobody waits", without_a_deadline_nobody_waits},
	{"what becomes free leaves", what_becomes_free_leaves},
	{"pages that were let go are freed first", pages_that_were_let_go_are_freed_first},
	{"a kick hides nothing", a_kick_hides_nothing},
	{"a pool that fills is emptied again", a_pool_that_fills_is_emptied_again},
	{"room that has lost its use", room_that_has_lost_its_use},
	{"an await that saw something opens the rungs", an_await_that_saw_something_opens_the_rungs},
	{"a liar opens them only so often", a_liar_opens_them_only_so_often},
	{"a veto is waited for", a_veto_is_waited_for},
	{"a migration is waited for and then kicked", a_migration_is_waited_for_and_then_kicked},
	{"after a restart it looks first", after_a_restart_it_looks_first},
	{"what a restart cut short is tried again", what_a_restart_cut_short_is_tried_again},
	{"without an agent it waits and kicks", without_an_agent_it_waits_and_kicks},
	{"only blocks of the device that shrinks", only_blocks_of_the_device_that_shrinks},
	{"huge pages of the device that shrinks", huge_pages_of_the_device_that_shrinks},
	{"device after device", device_after_device},
	{"only what is named leaves", only_what_is_named_leaves},
	{"named first and then the rest", named_first_and_then_the_rest},
	{"a share of the time", a_share_of_the_time},
	{"all of the time is no share", all_of_the_time_is_no_share},
	{"a share that nobody can keep to is refused", a_share_that_nobody_can_keep_to},
	{"ranges that cannot leave are refused", ranges_that_cannot_leave_are_refused},
	{"the digest knows the ranges", the_digest_knows_the_ranges},
	{"a failed hook is told", a_failed_hook_is_told},
	{"no more than memory covers", no_more_than_memory_covers},
	{"what is not covered is reclaimed", what_is_not_covered_is_reclaimed},
	{"the last piece is asked for", the_last_piece_is_asked_for},
	{"what is asked for already stands", what_is_asked_for_already_stands},
	{"what is to stand", what_is_to_stand},
	{"no more than it lets go at once", no_more_than_it_lets_go_at_once},
	{"a limit in the middle", a_limit_in_the_middle},
	{"a plan tells what the agent cannot", a_plan_tells_what_the_agent_cannot},
	{"a plan tells a veto once", a_plan_tells_a_veto_once},
	{"a floor that rises ends it", a_floor_that_rises_ends_it},
	{"a silent agent is waited for", a_silent_agent_is_waited_for},
	{"an agent that has worked was there", an_agent_that_has_worked_was_there},
	{"who has no agent any more is asked for all", who_has_no_agent_any_more_is_asked_for_all},
	{"what somebody else requested is kicked without the agent", what_somebody_else_requested_is_kicked_without_the_agent},
	{"pressure is the reason", pressure_is_the_reason},
	{"what was not tried is told by its use", what_was_not_tried_is_told_by_its_use},
	{"it always ends", it_always_ends},
};

int main(void)
{
	return unit_main("resize_shrink", cases, sizeof(cases) / sizeof(cases[0]));
}
