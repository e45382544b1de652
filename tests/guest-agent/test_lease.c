/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "failure.h"
#include "fake_guest.h"
#include "memory_block.h"
#include "message.h"
#include "unit.h"

static const uint8_t boot_id[LEASE_BOOT_ID_BYTES] = {0x0f, 0x1e};
#define BOOT "boot 0f1e0000000000000000000000000000\n"
#define HEAD "ballast-agent leases 1\n" BOOT

static struct fake_guest guest;
static struct lease_book book;

static void start(void)
{
	fake_guest_start(&guest);
	lease_book_init(&book, guest.lease_directory, boot_id);
}

static void stop(void)
{
	lease_book_done(&book);
	fake_guest_stop(&guest);
}

static void test_round_trip(void)
{
	static const char expected[] = HEAD "taken 1 2097152 700 500\n"
					    "lease 18446744073709551615\n"
					    "pool -1 1073741824 4 1\n"
					    "block 36 Movable\n"
					    "auto_online online_movable\n"
					    "zone_policy auto-movable\n"
					    "movable_ratio 301\n"
					    "unplug_online 1\n"
					    "room 2097152 80 20\n"
					    "surplus 2097152 60 40\n"
					    "lease 2\n"
					    "end";
	struct lease_entry entries[] = {
		{.kind = LEASE_POOL, .node_id = -1, .key = 1 << 30, .old = 4, .took = 1},
		{.kind = LEASE_BLOCK, .node_id = -1, .key = 36, .old = MEMORY_ZONE_MOVABLE},
		{.kind = LEASE_AUTO_ONLINE, .node_id = -1, .old = MEMORY_BLOCK_AUTO_ONLINE_MOVABLE},
		{.kind = LEASE_ZONE_POLICY, .node_id = -1, .old = MESSAGE_ZONE_POLICY_AUTO_MOVABLE},
		{.kind = LEASE_MOVABLE_RATIO, .node_id = -1, .old = 301},
		{.kind = LEASE_UNPLUG_ONLINE, .node_id = -1, .old = 1},
		{.kind = LEASE_ROOM, .node_id = -1, .key = 2 << 20, .old = 80, .took = 20},
		{.kind = LEASE_SURPLUS, .node_id = -1, .key = 2 << 20, .old = 60, .took = 40},
	};
	struct lease_entry taken = {
		.kind = LEASE_POOL, .node_id = 1, .key = 2 << 20, .old = 700, .took = 500};

	start();
	struct lease *lease = lease_book_open(&book, UINT64_MAX, 1000, 50);

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		CHECK_INT(lease_entries_add(&lease->entries, &entries[i]), 0);
	lease_book_open(&book, 2, 1000, 50);
	CHECK_INT(lease_entries_add(&book.taken, &taken), 0);
	CHECK_INT(lease_book_save(&book, NULL), 0);
	CHECK_STR(fake_guest_leases(&guest), expected);
	CHECK_INT(lease_book_load(&book, NULL), 0);
	CHECK_INT(book.count, 2);
	CHECK_INT(book.taken.count, 1);
	lease = lease_book_ending(&book, 2000);
	CHECK_TRUE(lease && lease->id == UINT64_MAX);
	CHECK_INT(lease->entries.count, 8);
	CHECK_INT(lease->entries.items[0].took, 1);
	CHECK_INT(lease_book_save(&book, NULL), 0);
	CHECK_STR(fake_guest_leases(&guest), expected);
	stop();
}

static void test_no_file_and_other_boot(void)
{
	start();
	CHECK_INT(lease_book_load(&book, NULL), 0);
	CHECK_INT(book.count, 0);
	fake_guest_write(&guest, "/run/ballast-agent/leases",
			 "ballast-agent leases 1\nboot aa000000000000000000000000000000\nlease "
			 "1\nblock 3 Movable\nend");
	CHECK_INT(lease_book_load(&book, NULL), 0);
	CHECK_INT(book.count, 0);
	stop();
}

static void test_damaged_files(void)
{
	static const char *const files[] = {
		"",
		"ballast-agent leases 2\n" BOOT "end",
		HEAD,
		HEAD "lease 1",
		HEAD "lease 1\nblock 3 Movable",
		HEAD "block 3 Movable\nend",
		HEAD "lease\nend",
		HEAD "lease x\nend",
		HEAD "lease 1\nlease 1\nend",
		HEAD "lease 1\nblock 3\nend",
		HEAD "lease 1\nblock 3 Nowhere\nend",
		HEAD "lease 1\nblock -3 Movable\nend",
		HEAD "lease 1\nblock 3 Movable more\nend",
		HEAD "lease 1\npool 0 2097152 1\nend",
		HEAD "lease 1\npool -2 2097152 1 1\nend",
		HEAD "lease 1\npool 0 2097152 1 99999999999999999999\nend",
		HEAD "lease 1\nunplug_online 2\nend",
		HEAD "lease 1\nauto_online sometimes\nend",
		HEAD "lease 1\nformat_disk 1\nend",
		HEAD "\nend",
		HEAD "end\nend",
		HEAD "lease 1\nlease 2\nlease 3\nlease 4\nlease 5\nlease 6\nlease 7\nlease "
		     "8\nlease 9\nend",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct failure failure = {0};

		start();
		fake_guest_write(&guest, "/run/ballast-agent/leases", files[i]);
		int result = lease_book_load(&book, &failure);

		if (result != -EBADMSG)
			fprintf(stderr, "# file %zu\n", i);
		CHECK_INT(result, -EBADMSG);
		CHECK_INT(book.count, 0);
		CHECK_TRUE(failure_is_set(&failure));
		CHECK_STR(fake_guest_leases(&guest), "");
		CHECK_STR(fake_guest_read(&guest, "/run/ballast-agent/leases.bad"), files[i]);
		stop();
	}
}

static void test_every_cut(void)
{
	static const char whole[] = HEAD
		"taken 1 2097152 700 500\nlease 7\npool 0 2097152 9 1\nblock 36 Movable\nend\n";
	char path[256];

	start();
	fake_guest_write(&guest, "/run/ballast-agent/leases", "");
	snprintf(path, sizeof(path), "%s/leases", guest.lease_directory);
	for (size_t cut = 0; cut < sizeof(whole) - 2; cut++) {
		FILE *file = fopen(path, "we");

		fwrite(whole, 1, cut, file);
		fclose(file);
		CHECK_INT(lease_book_load(&book, NULL), -EBADMSG);
		CHECK_INT(book.count, 0);
		CHECK_INT(book.taken.count, 0);
	}
	stop();
}

static void test_older_value_wins(void)
{
	struct lease_entry first = {
		.kind = LEASE_POOL, .node_id = 0, .key = 2 << 20, .old = 100, .took = 10};
	struct lease_entry second = {
		.kind = LEASE_POOL, .node_id = 0, .key = 2 << 20, .old = 90, .took = 5};

	start();
	struct lease *lease = lease_book_open(&book, 1, 1000, 0);

	lease_entries_add(&lease->entries, &first);
	lease_entries_add(&lease->entries, &second);
	CHECK_INT(lease->entries.count, 1);
	CHECK_INT(lease->entries.items[0].old, 100);
	CHECK_INT(lease->entries.items[0].took, 15);
	stop();
}

static void test_limits_and_expiry(void)
{
	start();
	for (uint64_t id = 1; id <= LIMIT_LEASES; id++)
		CHECK_TRUE(lease_book_open(&book, id, (uint32_t)id * 100, 1000) != NULL);
	CHECK_TRUE(lease_book_open(&book, 99, 100, 1000) == NULL);
	CHECK_INT(lease_book_expire(&book, 1000), 1100);
	CHECK_TRUE(lease_book_ending(&book, 2000) == NULL);
	CHECK_INT(lease_book_expire(&book, 1250), 1300);
	CHECK_INT(lease_book_ending(&book, 2000)->id, 1);
	/* One that ends is not held on to. */
	CHECK_TRUE(lease_book_open(&book, 2, 100, 1250) == NULL);
	lease_book_remove(&book, lease_book_find(&book, 1));
	CHECK_INT(lease_book_ending(&book, 2000)->id, 2);
	lease_book_remove(&book, lease_book_find(&book, 2));
	CHECK_TRUE(lease_book_ending(&book, 2000) == NULL);
	/* Renewed. */
	CHECK_TRUE(lease_book_open(&book, 3, 10000, 1250) != NULL);
	CHECK_INT(lease_book_expire(&book, 1350), 1400);
	stop();
}

static void test_leftovers_are_one_lease(void)
{
	struct lease_entry block = {.kind = LEASE_BLOCK, .node_id = -1, .key = 39};

	start();
	for (uint64_t id = 1; id <= 2; id++) {
		struct lease *lease = lease_book_open(&book, id, 100, 1000);

		block.key += id;
		CHECK_INT(lease_entries_add(&lease->entries, &block), 0);
		lease->ending = true;
		lease_book_retry(&book, lease, 1000);
	}
	CHECK_INT(book.count, 1);
	CHECK_INT(book.leases[0].entries.count, 2);
	CHECK_TRUE(lease_book_ending(&book, 1000 + LEASE_RETRY_MS - 1) == NULL);
	CHECK_INT(lease_book_expire(&book, 1000), 1000 + LEASE_RETRY_MS);
	CHECK_INT(lease_book_ending(&book, 1000 + LEASE_RETRY_MS)->id, 1);
	/* After longer each time, but not for ever. */
	uint64_t now = 1000, before = LEASE_RETRY_MS;

	for (int i = 0; i < 20; i++) {
		lease_book_retry(&book, &book.leases[0], now);
		CHECK_TRUE(book.leases[0].retry_ms - now >= before);
		before = book.leases[0].retry_ms - now;
	}
	CHECK_INT(before, LEASE_RETRY_MOST_MS);
	stop();
}

static void test_pools_as_their_owner_left_them(void)
{
	static const struct {
		enum lease_kind kind;
		bool is_pool;
	} rows[] = {{LEASE_AUTO_ONLINE, false}, {LEASE_BLOCK, false}, {LEASE_UNPLUG_ONLINE, false},
		    {LEASE_POOL, true},		{LEASE_ROOM, true},   {LEASE_SURPLUS, true}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct lease_entry entry = {.kind = rows[i].kind, .node_id = -1, .key = 2 << 20, .took = 1};

		start();
		CHECK_TRUE(!lease_book_has_pools(&book));
		CHECK_INT(lease_entries_add(&lease_book_open(&book, 7, 1000, 0)->entries, &entry), 0);
		CHECK_INT(lease_book_has_pools(&book), rows[i].is_pool);
		stop();
	}
	struct lease_entry owed = {.kind = LEASE_POOL, .node_id = 0, .key = 2 << 20, .took = 1};

	start();
	CHECK_INT(lease_entries_add(&book.taken, &owed), 0);
	CHECK_TRUE(lease_book_has_pools(&book));
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"round trip", test_round_trip},
		{"no file, and a file of another boot", test_no_file_and_other_boot},
		{"damaged files", test_damaged_files},
		{"every cut of a file", test_every_cut},
		{"the older value wins", test_older_value_wins},
		{"limits and expiry", test_limits_and_expiry},
		{"leftovers are one lease", test_leftovers_are_one_lease},
		{"pools as their owner left them", test_pools_as_their_owner_left_them},
	};

	return unit_main("lease", cases, sizeof(cases) / sizeof(cases[0]));
}
