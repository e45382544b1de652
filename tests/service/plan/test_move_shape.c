/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

static struct snapshot_guest *shaped_world(struct world *world, enum backing_kind kind,
					   uint64_t page_bytes, const char *cpus)
{
	struct snapshot_guest *guest;

	world_init(world);
	strcpy(world->snapshot->nodes[0].cpus, cpus);
	guest = world_add_guest(world, "g1", 1, 400 * MIB);
	guest->backings[0].kind = kind;
	guest->backings[0].page_bytes = page_bytes;
	world_wish_move(world, "g1", 1 << 2);
	return guest;
}

static void workers_go_by_pages_bytes_and_cpus(void)
{
	static const struct {
		enum backing_kind kind;
		uint64_t page_bytes, bytes;
		const char *cpus;
		unsigned workers;
	} rows[] = {
		{BACKING_KIND_MEMFD, 4096, 400 * MIB, "0-7", 2},
		{BACKING_KIND_MEMFD, 4096, 100 * MIB, "0-7", 1},
		{BACKING_KIND_MEMFD, 4096, 8 * GIB, "0-7", 2},
		{BACKING_KIND_MEMFD, 4096, 8 * GIB, "0-15", 4},
		{BACKING_KIND_HUGETLB, 2 * MIB, 400 * MIB, "0-3", 2},
		{BACKING_KIND_HUGETLB, 2 * MIB, 400 * MIB, "0-1", 1},
		{BACKING_KIND_HUGETLB, 2 * MIB, 400 * MIB, "", 1},
		{BACKING_KIND_HUGETLB, 2 * MIB, 100 * MIB, "0-7", 1},
		{BACKING_KIND_HUGETLB, 2 * MIB, 0, "0-7", 1},
		{BACKING_KIND_HUGETLB, 2 * MIB, 8 * GIB, "0-7", 2},
		{BACKING_KIND_HUGETLB, 2 * MIB, 8 * GIB, "0-63", 4},
		{BACKING_KIND_HUGETLB, GIB, 8 * GIB, "0-63", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;
		struct snapshot_guest *guest =
			shaped_world(&world, rows[i].kind, rows[i].page_bytes, rows[i].cpus);

		CHECK_INT(move_shape_workers(&world.input, guest, rows[i].bytes), rows[i].workers);
		world_done(&world);
	}
}

/* Across guests first: each has one, a further one only from what the others leave. */
static void moves_beside_leave_what_is_left(void)
{
	static const struct {
		const char *cpus;
		unsigned beside, workers;
	} rows[] = {
		{"0-7", 0, 2}, {"0-7", 2, 2}, {"0-7", 3, 1}, {"0-7", 4, 1}, {"0-7", 40, 1}, {"0-1", 1, 1},
		{"0-15", 4, 4}, {"0-15", 5, 3}, {"0-15", 7, 1}, {"0-63", 8, 4}, {"0-63", 30, 2}, {"", 3, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;
		struct snapshot_guest *guest = shaped_world(&world, BACKING_KIND_MEMFD, 4096, rows[i].cpus);

		world.input.threads_beside = rows[i].beside;
		CHECK_INT(move_shape_workers(&world.input, guest, 8 * GIB), rows[i].workers);
		world_done(&world);
	}
}

static void who_suffers_gets_one(void)
{
	struct world world;
	struct snapshot_guest *guest = shaped_world(&world, BACKING_KIND_HUGETLB, 2 * MIB, "0-3");
	struct step_record *record;

	guest->policy_mode = POLICY_MODE_PREFERRED;
	guest->policy_nodes = 1 << 2;
	world.wish.move.budget_stall_us = 10000;
	snapshot_node(world.snapshot, 2)->pools[0].free = 200;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_INT(world.decision.step.workers, 2);
	record = world_record(&world, STEP_STATE_PARTIAL, 100 * MIB);
	world.input.history = world.history;
	world.input.history_count = world.history_count;
	/* How long a call took says nothing of what the guest felt. */
	record->longest_pause_us = 400000;
	CHECK_INT(move_shape_workers(&world.input, guest, 300 * MIB), 2);
	record->result = strdup("{\"guest\":{\"longest_pause_us\":10000}}");
	CHECK_INT(move_shape_workers(&world.input, guest, 300 * MIB), 2);
	free(record->result);
	record->result = strdup("{\"guest\":{\"longest_pause_us\":10001}}");
	CHECK_INT(move_shape_workers(&world.input, guest, 300 * MIB), 1);
	world_done(&world);
}

static void stalls_are_forecast(void)
{
	struct world world;
	struct snapshot_guest *guest = shaped_world(&world, BACKING_KIND_MEMFD, 4096, "0-3");

	CHECK_INT(move_shape_stall_ms(&world.input, guest), 10);
	world.wish.move.budget_stall_us = 500;
	CHECK_INT(move_shape_stall_ms(&world.input, guest), 1);
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_HUGETLB, GIB, GIB, 0};
	CHECK_INT(move_shape_stall_ms(&world.input, guest), 100);
	/* That of other pages says nothing of these. */
	world_set_rate(&world, RATE_KIND_MOVE, MIB);
	CHECK_INT(move_shape_stall_ms(&world.input, guest), 100);
	world_set_rate(&world, RATE_KIND_MOVE_GIGANTIC, 2 * GIB);
	CHECK_INT(move_shape_stall_ms(&world.input, guest), 499);
	world_set_rate(&world, RATE_KIND_MOVE_GIGANTIC, MIB);
	CHECK_INT(move_shape_stall_ms(&world.input, guest), 10000);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"workers go by pages, bytes and CPUs", workers_go_by_pages_bytes_and_cpus},
	{"moves beside leave what is left", moves_beside_leave_what_is_left},
	{"who suffers gets one", who_suffers_gets_one},
	{"stalls are forecast", stalls_are_forecast},
};

int main(void)
{
	return unit_main("move_shape", cases, sizeof(cases) / sizeof(cases[0]));
}
