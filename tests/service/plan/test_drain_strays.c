/* SPDX-License-Identifier: Apache-2.0 */
/* What moves leave behind in a drain's target, and what the kernel may take along of it. */
#include <stdio.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

/* A guest bound to the DIMM's node, and another that can go anywhere; both are about to leave. */
static struct snapshot_guest *begin(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	world_add_guest(world, "db2", 3, 50 * MIB);
	guest = world_add_guest(world, "db1", 3, 300 * MIB);
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->cpuset_mems = 1 << 3;
	world_wish_drain_dimm(world, DRAIN_FINISH_OFFLINE);
	CHECK_INT(world_next(world)->step.kind, STEP_KIND_CORDON);
	world_perform(world);
	CHECK_INT(world_next(world)->step.kind, STEP_KIND_CHILD);
	CHECK_STR(world->decision.step.guest_name, "db1");
	return guest;
}

static const struct remainder *told_of(const struct world *world, const char *object)
{
	const struct remainder_list *list = &world->decision.remainder;

	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].object, object) == 0)
			return &list->items[i];
	return NULL;
}

/* The other guest's nodes are not its own: the kernel would bring it there, whatever its policy says. */
static void a_move_that_failed_leaves_the_guest_whole(void)
{
	const struct remainder *told;
	struct world world;
	char text[512];

	begin(&world);
	remainder_list_add(&world_record(&world, STEP_STATE_FAILED, 0)->remainder, REMAINDER_LIBVIRT_REFUSED, "guest db1", 0,
			   NULL, "no numatune today");
	CHECK_STR(world_run(&world, text), "move give_up");
	/* With the reason of its move, which knew of no bytes, and not as if it had come back. */
	told = told_of(&world, "guest db1");
	CHECK_TRUE(told && told->code == REMAINDER_LIBVIRT_REFUSED);
	CHECK_STR(told ? told->detail : "", "no numatune today");
	CHECK_INT(told ? told->bytes : 0, 300 * MIB);
	CHECK_TRUE(!remainder_list_has(&world.decision.remainder, REMAINDER_CAME_MEANWHILE));
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
	world_done(&world);
}

/* Its pool could not be made large enough on the nearest node: all of it goes to another one, once to each. */
static void who_finds_no_room_goes_elsewhere(void)
{
	uint64_t tried = 0;
	struct world world;
	char text[512];

	begin(&world);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_STR(world.decision.step.guest_name, "db1");
		CHECK_TRUE(world.decision.step.nodes && !(world.decision.step.nodes & tried));
		tried |= world.decision.step.nodes;
		remainder_list_add(&world_record(&world, STEP_STATE_FAILED, 0)->remainder, REMAINDER_NO_ROOM, "guest db1",
				   300 * MIB, NULL, "no huge pages");
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	}
	CHECK_TRUE(!(world.decision.step.nodes & tried));
	CHECK_STR(world_run(&world, text), "move move offline done");
	world_done(&world);
	/* What found some has its place. */
	begin(&world);
	tried = world.decision.step.nodes;
	remainder_list_add(&world_record(&world, STEP_STATE_PARTIAL, 100 * MIB)->remainder, REMAINDER_NO_ROOM, "guest db1",
			   200 * MIB, NULL, "no huge pages");
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	CHECK_INT(world.decision.step.nodes, tried);
	world_done(&world);
}

/* A part that would not go is the kernel's to try, as before. */
static void what_a_move_left_may_be_taken_along(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world);
	world_record(&world, STEP_STATE_PARTIAL, 200 * MIB);
	guest->node_bytes[3] = 100 * MIB;
	guest->node_bytes[1] = 200 * MIB;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_STR(world_next(&world)->step.guest_name, "db2");
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	world_done(&world);
}

/* Nor do a few pages of a guest that is elsewhere keep a block, because a move could not get at them. */
static void strays_keep_no_block(void)
{
	struct snapshot_guest *guest;
	struct world world;

	guest = begin(&world);
	guest->node_bytes[1] = 300 * MIB;
	guest->node_bytes[3] = MIB;
	guest->resident_bytes = 301 * MIB;
	CHECK_STR(world_next(&world)->step.guest_name, "db2");
	world_perform(&world);
	CHECK_STR(world_next(&world)->step.guest_name, "db1");
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	world_done(&world);
}

/* Where its rest would go now is farther than what anybody agreed to; but it is only a rest. */
static void strays_ask_for_no_consent(void)
{
	static const struct {
		uint64_t bytes;
		const char *expected;
	} rows[] = {
		{64 * 1024, "move offline done"},
		{100 * MIB, "move give_up"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct snapshot_guest *guest;
		struct world world;
		char text[512];

		guest = begin(&world);
		guest->cpus_pinned = true;
		guest->cpu_nodes = 1 << 3;
		world.wish.allow = 0;
		world_perform(&world);
		guest = snapshot_guest(world.snapshot, "db1");
		guest->node_bytes[3] = rows[i].bytes;
		CHECK_STR(world_run(&world, text), rows[i].expected);
		world_done(&world);
	}
}

/* Its blocks are read after its counters: of a node that had no memory a moment before nobody has any. */
static void a_node_without_memory_has_none_of_the_host(void)
{
	struct drain_scope scope;
	struct world world;

	world_init(&world);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world.snapshot->dimms[0].ranges[0].end -= WORLD_BLOCK;
	drain_scope_find(&world.input, &scope);
	CHECK_TRUE(scope.node_bytes[3] && !scope.whole_nodes);
	snapshot_node(world.snapshot, 3)->free_bytes = 512 * MIB;
	CHECK_INT(drain_scope_host_bytes(&world.input, &scope, 3), 448 * MIB);
	snapshot_node(world.snapshot, 3)->total_bytes = snapshot_node(world.snapshot, 3)->free_bytes = 0;
	CHECK_INT(drain_scope_host_bytes(&world.input, &scope, 3), 0);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"a move that failed leaves the guest whole", a_move_that_failed_leaves_the_guest_whole},
	{"who finds no room goes elsewhere", who_finds_no_room_goes_elsewhere},
	{"what a move left may be taken along", what_a_move_left_may_be_taken_along},
	{"strays keep no block", strays_keep_no_block},
	{"strays ask for no consent", strays_ask_for_no_consent},
	{"a node without memory has none of the host", a_node_without_memory_has_none_of_the_host},
};

int main(void)
{
	return unit_main("drain_strays", cases, sizeof(cases) / sizeof(cases[0]));
}
