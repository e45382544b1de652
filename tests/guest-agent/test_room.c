/* SPDX-License-Identifier: Apache-2.0 */
#include "room.h"

#include <stdio.h>
#include <string.h>
#include "fake_guest.h"
#include "unit.h"

#define MIB   (UINT64_C(1) << 20)
#define NODE1 "/sys/devices/system/node/node1"
#define POOL1 NODE1 "/hugepages/hugepages-2048kB"

static struct fake_guest guest;
static struct candidate blocks[2];
static struct room_order order;
static struct room_result result;

/* 20 pages in use, all of them in block 39, which is to leave with block 38. */
static void start(void)
{
	fake_guest_start(&guest);
	fake_guest_set_pool(&guest, 20, 0, 0, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, true);
	for (unsigned i = 0; i < 2; i++)
		blocks[i] = (struct candidate){.id = 38 + i,
					       .start = (38 + i) * FAKE_GUEST_BLOCK_BYTES,
					       .size_bytes = FAKE_GUEST_BLOCK_BYTES};
	order = (struct room_order){
		.blocks = blocks, .block_count = 2, .budget_bytes = 1000 * MIB};
}

static const struct room_size *make(void)
{
	CHECK_INT(room_make(guest.sysroot, &order, &result), 0);
	CHECK_INT(result.count, 1);
	CHECK_INT(result.sizes[0].page_bytes, 2 * MIB);
	return &result.sizes[0];
}

static void check(uint64_t needed, uint64_t ready, uint64_t made, uint64_t pool)
{
	const struct room_size *size = make();

	CHECK_INT(size->needed_pages, needed);
	CHECK_INT(size->ready_pages, ready);
	CHECK_INT(size->made_pages, made);
	CHECK_INT(fake_guest_pool(&guest), pool);
}

static void test_for_all(void)
{
	start();
	check(20, 0, 20, 40);
	fake_guest_stop(&guest);
}

static void test_for_the_target(void)
{
	start();
	order.target_bytes = 15 * MIB;
	check(8, 0, 8, 28);
	fake_guest_stop(&guest);
}

static void test_what_is_free_is_room(void)
{
	start();
	/* 12 are free, 2 of them promised, 3 of them in what is to leave. */
	fake_guest_set_pool(&guest, 32, 12, 2, 0);
	fake_guest_set_huge(&guest, 38, 0, 3, false);
	check(20, 7, 13, 45);
	fake_guest_stop(&guest);
}

/* The kernel gives it in the very block first: that is no room. */
static void test_inside_is_no_room(void)
{
	start();
	guest.state->inside_room = 5;
	check(20, 0, 20, 45);
	fake_guest_stop(&guest);
}

static void test_budget(void)
{
	start();
	order.budget_bytes = 21 * MIB;
	check(20, 0, 10, 30);
	fake_guest_stop(&guest);
	/* All of it in vain. */
	start();
	guest.state->inside_room = 30;
	order.budget_bytes = 40 * MIB;
	check(20, 0, 0, 40);
	fake_guest_stop(&guest);
}

static void test_the_kernel_gives_no_more(void)
{
	start();
	guest.state->pool_most = 27;
	check(20, 0, 7, 27);
	fake_guest_stop(&guest);
}

static void test_another_node_first(void)
{
	start();
	fake_guest_write(&guest, POOL1 "/nr_hugepages", "3");
	fake_guest_write(&guest, POOL1 "/free_hugepages", "3");
	fake_guest_write(&guest, POOL1 "/surplus_hugepages", "0");
	fake_guest_write(&guest, NODE1 "/meminfo", "Node 1 MemTotal: 900000 kB\nNode 1 MemFree: 5 kB");
	make();
	CHECK_STR(fake_guest_read(&guest, POOL1 "/nr_hugepages"), "23");
	CHECK_INT(fake_guest_pool(&guest), 20);
	fake_guest_stop(&guest);
}

static void test_nothing_in_use(void)
{
	start();
	fake_guest_set_pool(&guest, 20, 20, 0, 0);
	CHECK_INT(room_make(guest.sysroot, &order, &result), 0);
	CHECK_INT(result.count, 0);
	/* In use, but elsewhere. */
	fake_guest_set_pool(&guest, 20, 0, 0, 0);
	fake_guest_set_huge(&guest, 39, 0, 20, false);
	CHECK_INT(room_make(guest.sysroot, &order, &result), 0);
	CHECK_INT(result.count, 0);
	CHECK_INT(guest.state->writes, 0);
	fake_guest_stop(&guest);
}

/* A kernel without /proc/kpageflags: all that is in use may lie there. */
static void test_not_shown(void)
{
	fake_guest_start(&guest);
	fake_guest_set_pool(&guest, 30, 20, 0, 0);
	order = (struct room_order){.blocks = blocks, .block_count = 2, .budget_bytes = 1000 * MIB};
	blocks[0] = (struct candidate){.id = 39,
				       .start = 39 * FAKE_GUEST_BLOCK_BYTES,
				       .size_bytes = FAKE_GUEST_BLOCK_BYTES};
	check(10, 10, 0, 30);
	fake_guest_set_pool(&guest, 30, 4, 0, 0);
	check(26, 4, 22, 52);
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"for all in use there", test_for_all},
		{"for the target", test_for_the_target},
		{"what is free is room", test_what_is_free_is_room},
		{"inside is no room", test_inside_is_no_room},
		{"budget", test_budget},
		{"the kernel gives no more", test_the_kernel_gives_no_more},
		{"another node first", test_another_node_first},
		{"nothing in use there", test_nothing_in_use},
		{"not shown", test_not_shown},
	};

	return unit_main("room", cases, sizeof(cases) / sizeof(cases[0]));
}
