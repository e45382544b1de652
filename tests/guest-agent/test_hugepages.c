/* SPDX-License-Identifier: Apache-2.0 */
#include "hugepages.h"

#include "agent_config.h"
#include "fake_guest.h"
#include "undo.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct agent_config config;
static struct hugepages_plan plan;

static struct hugepage_pool pool(int node_id, uint64_t page_bytes, uint64_t total,
				 uint64_t free_pages, uint64_t reserved, uint64_t surplus)
{
	return (struct hugepage_pool){.node_id = node_id,
				      .page_bytes = page_bytes,
				      .total = total,
				      .free = free_pages,
				      .reserved = reserved,
				      .surplus = surplus};
}

static void test_free_pages_only(void)
{
	struct hugepages hugepages = {.count = 1, .pools = {pool(-1, 2 * MIB, 100, 60, 10, 0)}};

	agent_config_init(&config);
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 100 * MIB);
	CHECK_INT(plan.count, 1);
	CHECK_INT(plan.steps[0].pages, 50);
	CHECK_INT(plan.steps[0].old, 100);
	/* No more than is wanted. */
	CHECK_INT(hugepages_plan(&hugepages, &config, 5 * MIB, 0, &plan), 6 * MIB);
	CHECK_INT(plan.steps[0].pages, 97);
	/* More promised than free: nothing. */
	hugepages.pools[0] = pool(-1, 2 * MIB, 100, 10, 20, 0);
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 0);
	CHECK_INT(plan.count, 0);
}

static void test_floor(void)
{
	struct hugepages hugepages = {.count = 1, .pools = {pool(-1, 2 * MIB, 100, 100, 0, 0)}};

	agent_config_init(&config);
	config.floors[0] = (struct agent_config_floor){2 * MIB, 90};
	config.floor_count = 1;
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 20 * MIB);
	config.floors[0].pages = 100;
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 0);
	config.floors[0].pages = 1000;
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 0);
}

static void test_surplus_goes_first(void)
{
	/* 20 of the 100 are surplus: the kernel counts them in nr_hugepages. */
	struct hugepages hugepages = {.count = 1, .pools = {pool(-1, 2 * MIB, 100, 30, 0, 20)}};

	agent_config_init(&config);
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 60 * MIB);
	CHECK_INT(plan.count, 2);
	CHECK_INT(plan.steps[0].old, 80);
	CHECK_INT(plan.steps[0].pages, 100);
	CHECK_INT(plan.steps[1].old, 100);
	CHECK_INT(plan.steps[1].pages, 70);
	/* A floor keeps the pool's own, and of these 5 are above it. */
	config.floors[0] = (struct agent_config_floor){2 * MIB, 75};
	config.floor_count = 1;
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 50 * MIB);
	config.floors[0].pages = 200;
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 40 * MIB);
	/* Nothing is free: it stays surplus, unless room is to be made. */
	hugepages.pools[0].free = 0;
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 0);
	CHECK_INT(plan.count, 0);
	hugepages_plan_surplus(&hugepages, true, &plan);
	CHECK_INT(plan.count, 0);
	hugepages_plan_surplus(&hugepages, false, &plan);
	CHECK_INT(plan.count, 1);
	/* A pool that is spoilt already is left alone. */
	hugepages.pools[0] = pool(-1, 2 * MIB, 10, 10, 0, 12);
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 0);
	hugepages_plan_surplus(&hugepages, false, &plan);
	CHECK_INT(plan.count, 0);
}

/* The kernel keeps as many free pages on one node as there are surplus ones in use on another. */
static void test_surplus_of_another_node(void)
{
	struct hugepages hugepages = {.count = 3,
				      .pools = {
					      pool(-1, 2 * MIB, 100, 64, 0, 36),
					      pool(0, 2 * MIB, 64, 64, 0, 0),
					      pool(1, 2 * MIB, 36, 0, 0, 36),
				      }};

	agent_config_init(&config);
	CHECK_INT(hugepages_plan(&hugepages, &config, 0, 0, &plan), 128 * MIB);
	CHECK_INT(plan.count, 2);
	CHECK_INT(plan.steps[0].node_id, -1);
	CHECK_INT(plan.steps[0].pages, 100);
	CHECK_INT(plan.steps[1].node_id, 0);
	CHECK_INT(plan.steps[1].old, 64);
	CHECK_INT(plan.steps[1].pages, 0);
}

static void test_nodes_and_sizes(void)
{
	struct hugepages hugepages = {.count = 6,
				      .pools = {
					      pool(-1, 2 * MIB, 100, 40, 5, 0),
					      pool(0, 2 * MIB, 50, 10, 0, 0),
					      pool(1, 2 * MIB, 50, 30, 0, 0),
					      pool(-1, GIB, 4, 4, 0, 0),
					      pool(0, GIB, 0, 0, 0, 0),
					      pool(1, GIB, 4, 4, 0, 0),
				      }};

	agent_config_init(&config);
	/* 35 of the small ones, 5 of them are promised to someone; then large ones. */
	CHECK_INT(hugepages_plan(&hugepages, &config, GIB, 0, &plan), 70 * MIB + GIB);
	CHECK_INT(plan.count, 3);
	CHECK_INT(plan.steps[0].node_id, 0);
	CHECK_INT(plan.steps[0].pages, 40);
	CHECK_INT(plan.steps[1].node_id, 1);
	CHECK_INT(plan.steps[1].pages, 25);
	CHECK_INT(plan.steps[2].page_bytes, GIB);
	CHECK_INT(plan.steps[2].pages, 3);
	/* Enough small ones: the large stay. */
	CHECK_INT(hugepages_plan(&hugepages, &config, 60 * MIB, 0, &plan), 60 * MIB);
	CHECK_INT(plan.count, 2);
}

/* What is to leave lies on node 1, or on nodes that have too few, or that nobody knows. */
static void test_meant_nodes_first(void)
{
	struct hugepages hugepages = {.count = 4,
				      .pools = {
					      pool(-1, 2 * MIB, 120, 60, 0, 0),
					      pool(0, 2 * MIB, 50, 20, 0, 0),
					      pool(1, 2 * MIB, 50, 30, 0, 0),
					      pool(2, 2 * MIB, 20, 10, 0, 0),
				      }};

	agent_config_init(&config);
	CHECK_INT(hugepages_plan(&hugepages, &config, 50 * MIB, 1 << 1, &plan), 50 * MIB);
	CHECK_INT(plan.count, 1);
	CHECK_INT(plan.steps[0].node_id, 1);
	CHECK_INT(plan.steps[0].pages, 25);
	CHECK_INT(hugepages_plan(&hugepages, &config, 100 * MIB, 1 << 1 | 1 << 2, &plan), 100 * MIB);
	CHECK_INT(plan.count, 3);
	CHECK_INT(plan.steps[0].node_id, 1);
	CHECK_INT(plan.steps[0].pages, 20);
	CHECK_INT(plan.steps[1].node_id, 2);
	CHECK_INT(plan.steps[1].pages, 10);
	CHECK_INT(plan.steps[2].node_id, 0);
	CHECK_INT(plan.steps[2].pages, 40);
	CHECK_INT(hugepages_plan(&hugepages, &config, 10 * MIB, UINT64_C(1) << 40, &plan), 10 * MIB);
	CHECK_INT(plan.steps[0].node_id, 0);
}

/* 30 of node 0 are gone: 20 of them moved to node 1, and 10 went with a block. */
static void test_what_pools_lose(void)
{
	struct hugepages before = {.count = 4,
				   .pools = {
					   pool(-1, 2 * MIB, 100, 40, 0, 0),
					   pool(0, 2 * MIB, 50, 20, 0, 0),
					   pool(1, 2 * MIB, 50, 20, 0, 0),
					   pool(-1, GIB, 4, 4, 0, 0),
				   }};
	struct hugepages after = {.count = 4,
				  .pools = {
					  pool(-1, 2 * MIB, 90, 30, 0, 0),
					  pool(0, 2 * MIB, 20, 10, 0, 0),
					  pool(1, 2 * MIB, 70, 20, 0, 0),
					  pool(-1, GIB, 3, 3, 0, 0),
				  }};
	struct hugepages_loss loss = {.begin = before};

	CHECK_TRUE(!hugepages_is_finest(&before, 0) && hugepages_is_finest(&before, 2) &&
		   hugepages_is_finest(&before, 3));
	hugepages_loss_add(&loss, &before, &after);
	CHECK_INT(loss.pages[0], 0);
	CHECK_INT(loss.pages[1], 10);
	CHECK_INT(loss.pages[2], 0);
	CHECK_INT(loss.pages[3], 1);
	/* Node 1 goes with its last block; what has grown is no loss. */
	before = after;
	after = (struct hugepages){.count = 2,
				   .pools = {pool(-1, 2 * MIB, 25, 15, 0, 0), pool(0, 2 * MIB, 25, 15, 0, 0)}};
	hugepages_loss_add(&loss, &before, &after);
	CHECK_INT(loss.pages[1], 10);
	CHECK_INT(loss.pages[2], 65);
	CHECK_INT(loss.pages[3], 4);
}

/* Undone where the pool is as it is now: so many pages are in it then. */
static void expect_undone(struct fake_guest *guest, struct lease_entries *entries, uint64_t pages)
{
	undo_prepare(guest->sysroot, entries);
	CHECK_INT(undo_run(guest->sysroot, entries).outcome, 0);
	CHECK_INT(fake_guest_pool(guest), pages);
}

static void test_undo_is_idempotent_and_bounded(void)
{
	struct fake_guest guest;
	struct lease_entries entries = {0}, taken = {0};
	struct lease_entry entry = {
		.kind = LEASE_POOL, .node_id = 0, .key = 2 * MIB, .old = 100, .took = 60};
	uint64_t gained, missing;

	fake_guest_start(&guest);
	lease_entries_add(&entries, &entry);
	/* Somebody has made the pool larger again in between: not above what it was. */
	fake_guest_set_pool(&guest, 70, 70, 0, 0);
	expect_undone(&guest, &entries, 100);
	undo_review(guest.sysroot, &entries, &taken, &gained, &missing);
	CHECK_INT(missing, 0);
	/* Once more. */
	expect_undone(&guest, &entries, 100);
	/* The owner wants more now: left alone. */
	fake_guest_set_pool(&guest, 500, 500, 0, 0);
	expect_undone(&guest, &entries, 500);
	/* No room for all: what lacks stays owed. */
	fake_guest_set_pool(&guest, 40, 40, 0, 0);
	guest.state->pool_most = 75;
	expect_undone(&guest, &entries, 75);
	undo_review(guest.sysroot, &entries, &taken, &gained, &missing);
	CHECK_INT(gained, 70 * MIB);
	CHECK_INT(missing, 50 * MIB);
	CHECK_INT(taken.count, 1);
	CHECK_INT(taken.items[0].took, 25);
	lease_entries_done(&entries);
	lease_entries_done(&taken);
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"free pages only", test_free_pages_only},
		{"floor", test_floor},
		{"surplus goes first", test_surplus_goes_first},
		{"surplus of another node", test_surplus_of_another_node},
		{"nodes and sizes", test_nodes_and_sizes},
		{"meant nodes first", test_meant_nodes_first},
		{"what pools lose", test_what_pools_lose},
		{"undo is idempotent and bounded", test_undo_is_idempotent_and_bounded},
	};

	return unit_main("hugepages", cases, sizeof(cases) / sizeof(cases[0]));
}
