/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fixture_tree.h"
#include "unit.h"

#define DAY 86400

static struct utmpx log_entries[64];
static size_t log_count;
static struct fixture_tree tree;

static void setup(void)
{
	fixture_tree_init(&tree);
	log_count = 0;
}

static void add(short type, const char *user, int32_t at)
{
	struct utmpx *entry = &log_entries[log_count++];

	memset(entry, 0, sizeof(*entry));
	entry->ut_type = type;
	memcpy(entry->ut_user, user, strlen(user));
	entry->ut_tv.tv_sec = at;
}

static void down(int32_t at)
{
	add(RUN_LVL, "shutdown", at);
}

static void booted(int32_t at)
{
	add(BOOT_TIME, "reboot", at);
}

static void up(int32_t at)
{
	add(RUN_LVL, "runlevel", at);
}

static void login(int32_t at)
{
	add(USER_PROCESS, "root", at);
}

static void write_log(const char *path)
{
	fixture_tree_write_bytes(&tree, path, log_entries, log_count * sizeof(log_entries[0]));
	log_count = 0;
}

static void check_log(uint32_t seconds)
{
	uint32_t found = 99;

	CHECK_INT(boot_record_read(tree.sysroot, &found), 0);
	CHECK_INT(found, seconds);
	fixture_tree_done(&tree);
}

static void check_entries(uint32_t seconds)
{
	write_log("/var/log/wtmp");
	check_log(seconds);
}

static void test_median(void)
{
	setup();
	check_log(0);
	setup();
	booted(100);
	up(130);
	check_entries(0);
	/* From the shutdown until all is up again. */
	setup();
	down(1000);
	booted(1060);
	up(1090);
	login(1100);
	check_entries(90);
	/* Where the end of the boot is not recorded, until the kernel started. */
	setup();
	down(1000);
	booted(1060);
	login(1100);
	check_entries(60);
	/* The last five, whatever came before; the middle one. */
	setup();
	for (int32_t i = 0; i < 7; i++) {
		static const int32_t took[] = {600, 600, 100, 110, 120, 900, 130};

		down((i + 1) * DAY);
		booted((i + 1) * DAY + 50);
		up((i + 1) * DAY + took[i]);
	}
	check_entries(120);
}

static void test_what_is_no_reboot(void)
{
	/* Off for the night; power lost; the clock set in between, or back. */
	setup();
	down(DAY);
	booted(DAY + 8 * 3600);
	up(DAY + 8 * 3600 + 30);
	booted(3 * DAY);
	up(3 * DAY + 30);
	down(4 * DAY);
	add(OLD_TIME, "date", 4 * DAY + 1);
	add(NEW_TIME, "date", 4 * DAY + 1000);
	booted(4 * DAY + 1060);
	up(4 * DAY + 1090);
	down(6 * DAY);
	booted(5 * DAY);
	up(5 * DAY + 30);
	check_entries(0);
	/* Shut down, and lost its power before it was up: not the time until the next boot. */
	setup();
	down(DAY);
	booted(DAY + 60);
	booted(DAY + 600);
	up(DAY + 630);
	check_entries(60);
	/* That of the kernel is what counts, not another's "reboot". */
	setup();
	down(DAY);
	add(USER_PROCESS, "reboot", DAY + 5);
	add(EMPTY, "", DAY + 6);
	booted(DAY + 70);
	check_entries(70);
}

static void test_rotated(void)
{
	setup();
	down(DAY);
	write_log("/var/log/wtmp.1");
	booted(DAY + 80);
	check_entries(80);
}

static void test_garbage(void)
{
	static char garbage[100 * sizeof(struct utmpx) + 7];
	struct boot_record record = {0};
	struct utmpx entry;
	uint32_t found;

	setup();
	memset(garbage, 0xff, sizeof(garbage));
	fixture_tree_write_bytes(&tree, "/var/log/wtmp", garbage, sizeof(garbage));
	CHECK_INT(boot_record_read(tree.sysroot, &found), 0);
	CHECK_INT(found, 0);
	/* Cut in the middle of an entry. */
	down(DAY);
	booted(DAY + 40);
	up(DAY + 50);
	fixture_tree_write_bytes(&tree, "/var/log/wtmp", log_entries, 3 * sizeof(log_entries[0]) - 1);
	log_count = 0;
	check_log(40);
	/* Any bytes at all: never more than what a reboot may take. */
	srand(1);
	for (int i = 0; i < 200000; i++) {
		for (size_t n = 0; n < sizeof(entry); n += 16)
			((char *)&entry)[n] = (char)rand();
		entry.ut_type = (short)(rand() % 10);
		entry.ut_tv.tv_sec = rand() % 20000 - 10;
		if (rand() % 3 == 0)
			memcpy(entry.ut_user, "shutdown", 9);
		else
			memset(entry.ut_user, 'x', sizeof(entry.ut_user));
		boot_record_add(&record, &entry);
		CHECK_TRUE(boot_record_median_s(&record) <= 7200);
	}
	CHECK_TRUE(record.count > BOOT_RECORD_KEPT);
}

static void test_unreadable(void)
{
	uint32_t found = 7;

	setup();
	fixture_tree_link(&tree, "/var/log/wtmp", "wtmp");
	CHECK_INT(boot_record_read(tree.sysroot, &found), -ELOOP);
	CHECK_INT(found, 7);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"the middle of the last five reboots", test_median},
		{"what was no reboot does not count", test_what_is_no_reboot},
		{"a reboot over two files", test_rotated},
		{"garbage", test_garbage},
		{"a record that cannot be read is an error", test_unreadable},
	};

	return unit_main("boot_record", cases, ARRAY_SIZE(cases));
}
