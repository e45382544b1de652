/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three nodes with 1400 MiB free and one with 1 GiB, of which 200 MiB and 100 MiB bear the reserve; and guests that have
 * more than they have touched.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* Bound to this node; 512 MiB, of which it has touched so many. */
static struct snapshot_guest *bound(struct world *world, const char *name, int node, uint64_t touched_bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, name, node, touched_bytes);

	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = plan_node_bit(node);
	return guest;
}

static uint64_t room_mib(const struct world *world, const struct snapshot_guest *grows, bool keeps, int node)
{
	uint64_t rooms[SNAPSHOT_NODES_MAX];

	growth_room_find(&world->input, grows, keeps, rooms);
	return rooms[node] / MIB;
}

static void what_is_untouched_is_kept(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = bound(&world, "g1", 1, 200 * MIB);
	CHECK_INT(room_mib(&world, NULL, false, 1), 1000);
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000 - 312);
	CHECK_INT(room_mib(&world, NULL, true, 0), 1200);
	/* What was asked for comes yet; in the guest that grows it is what room is sought for. */
	guest->requested_bytes = 768 * MIB;
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000 - 312 - 256);
	CHECK_INT(room_mib(&world, guest, true, 1), 1000 - 312);
	CHECK_INT(growth_room_untouched(&world.input, guest), 312 * MIB);
	guest->requested_bytes = 512 * MIB;
	/* It is there, though not in QEMU's page table. */
	guest->unmapped_bytes = 100 * MIB;
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000 - 212);
	guest->unmapped_bytes = 0;
	/* More than there is room for, and more touched than it has. */
	guest->current_bytes = 4096 * MIB;
	CHECK_INT(room_mib(&world, NULL, true, 1), 0);
	guest->current_bytes = guest->requested_bytes = 100 * MIB;
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000);
	world_done(&world);
}

static void what_is_not_counted(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = bound(&world, "g1", 1, 200 * MIB);
	guest->surveyed = false;
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000);
	guest->surveyed = true;
	guest->backings[0].kind = BACKING_KIND_HUGETLB;
	guest->backings[0].page_bytes = 2 * MIB;
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000);
	guest->backings[0].kind = BACKING_KIND_MEMFD;
	guest->state = GUEST_STATE_SHUT_OFF;
	CHECK_INT(room_mib(&world, NULL, true, 1), 1000);
	world_done(&world);
}

/* Who is bound cannot give way: the other takes what that leaves, from each node in proportion. */
static void it_is_spread(void)
{
	struct world world;
	struct snapshot_guest *loose;

	world_init(&world);
	loose = world_add_guest(&world, "loose", 0, 0);
	loose->allowed_nodes = 3;
	loose->current_bytes = loose->requested_bytes = 500 * MIB;
	bound(&world, "bound", 0, 112 * MIB);
	/* Node 0: 1088 less 400; node 1: 1200. */
	CHECK_INT(room_mib(&world, NULL, true, 0), 688 - 500 * 688 / 1888);
	CHECK_INT(room_mib(&world, NULL, true, 1), 1200 - 500 * 1200 / 1888);
	CHECK_INT(room_mib(&world, NULL, true, 2), 1200);
	world_done(&world);
}

static void what_resizes_promise_is_kept(void)
{
	struct world world;
	struct wish other;
	const struct wish *beside[] = {&other};

	world_init(&world);
	world_add_device(bound(&world, "g1", 1, 512 * MIB), "vm0", GIB, 0);
	wish_init(&other, OPERATION_KIND_RESIZE);
	strcpy(other.guest, "uuid-g1");
	other.resize.target_bytes = 812 * MIB;
	CHECK_INT(room_mib(&world, NULL, true, 1), 688);
	world.input.beside = beside;
	world.input.beside_count = 1;
	CHECK_INT(room_mib(&world, NULL, true, 1), 688 - 300);
	world_done(&world);
}

/* g1 may grow by 300 MiB on node 1, where g2 has 400 MiB untouched. */
static void growing_beside_it(void)
{
	struct world world;
	struct remainder_list blockers;
	struct failure failure;
	struct plan *plan;

	world_init(&world);
	world_add_device(bound(&world, "g1", 1, 512 * MIB), "vm0", GIB, 0);
	bound(&world, "g2", 1, 112 * MIB);
	world_wish_resize(&world, "g1", 812 * MIB);
	CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->blockers.count, 0);
	/* And that nobody in it says whether it is onlined. */
	CHECK_INT(plan->warnings.count, 2);
	CHECK_INT(plan->warnings.items[0].code, REMAINDER_NO_ROOM);
	/* 576 MiB are left beyond the reserve. */
	CHECK_INT(plan->warnings.items[0].bytes, 124 * MIB);
	CHECK_STR(plan->warnings.items[0].detail,
		  "guests may yet touch 400 MiB that they have; beyond the reserve and that there is: node 1 176 MiB");
	plan_free(plan);
	world.limits.reserve_untouched = true;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "no_room");
	CHECK_INT(blockers.items[0].bytes, 124 * MIB);
	CHECK_STR(blockers.items[0].detail, "it needs 300 MiB; beyond the reserve and what guests have not touched yet "
					    "there is: node 1 176 MiB");
	world.wish.resize.target_bytes = 688 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
	world.limits.reserve_untouched = false;
	plan = plan_dry_run(&world.input);
	CHECK_TRUE(!remainder_list_has(&plan->warnings, REMAINDER_NO_ROOM));
	plan_free(plan);
	world_done(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"what is untouched is kept", what_is_untouched_is_kept},
		{"what is not counted", what_is_not_counted},
		{"it is spread over where it may land", it_is_spread},
		{"what resizes promise is kept", what_resizes_promise_is_kept},
		{"growing beside it", growing_beside_it},
	};

	return unit_main("service/plan/growth_room", cases, sizeof(cases) / sizeof(cases[0]));
}
