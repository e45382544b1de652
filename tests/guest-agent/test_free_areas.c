/* SPDX-License-Identifier: Apache-2.0 */
#include "free_areas.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "fake_guest.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static struct fake_guest guest;

static void test_large_pieces(void)
{
	struct free_areas areas;

	fake_guest_start(&guest);
	CHECK_INT(free_areas_read(guest.sysroot, 9, &areas), 0);
	/* Not those of the DMA zone, which cannot spare any. */
	CHECK_INT(areas.bytes, (10 * 2 + 60 * 4 + 100 * 4) * MIB);
	/* 64 pieces a round. */
	CHECK_INT(areas.rounds, 2);
	CHECK_INT(free_areas_read(guest.sysroot, 10, &areas), 0);
	CHECK_INT(areas.bytes, 160 * 4 * MIB);
	CHECK_INT(free_areas_read(guest.sysroot, 11, &areas), 0);
	CHECK_INT(areas.bytes, 0);
	CHECK_INT(areas.rounds, 0);
	fake_guest_stop(&guest);
}

static unsigned rounds(unsigned pieces)
{
	struct free_areas areas = {0};
	char text[128];

	snprintf(text, sizeof(text), "Node 0, zone Normal 0 0 0 0 0 0 0 0 0 %u 999", pieces);
	fake_guest_write(&guest, "/proc/buddyinfo", text);
	CHECK_INT(free_areas_read(guest.sysroot, 9, &areas), 0);
	CHECK_INT(areas.bytes, pieces * 2 * MIB + 999 * 4 * MIB);
	return areas.rounds;
}

/* However long a list is, it has had its turn after 16 rounds. */
static void test_rounds(void)
{
	fake_guest_start(&guest);
	/* Of the other list. */
	CHECK_INT(rounds(1), 11);
	CHECK_INT(rounds(1024), 11);
	CHECK_INT(rounds(512 * 9), 15);
	CHECK_INT(rounds(512 * 100), 16);
	CHECK_INT(rounds(4000000), 16);
	fake_guest_stop(&guest);
}

static void test_orders(void)
{
	fake_guest_start(&guest);
	CHECK_INT(free_areas_block_order(guest.sysroot), 9);
	CHECK_INT(free_areas_report_order(guest.sysroot), 9);
	fake_guest_write(&guest, "/proc/pagetypeinfo", "Page block order: 10");
	fake_guest_write(&guest, "/sys/module/page_reporting/parameters/page_reporting_order", "5");
	CHECK_INT(free_areas_block_order(guest.sysroot), 10);
	CHECK_INT(free_areas_report_order(guest.sysroot), 5);
	/* As long as nobody has registered. */
	fake_guest_write(&guest, "/sys/module/page_reporting/parameters/page_reporting_order", "-1");
	CHECK_INT(free_areas_report_order(guest.sysroot), 10);
	fake_guest_write(&guest, "/proc/pagetypeinfo", "Page block order: 77");
	CHECK_INT(free_areas_block_order(guest.sysroot), 9);
	fake_guest_write(&guest, "/proc/pagetypeinfo", "nothing");
	CHECK_INT(free_areas_block_order(guest.sysroot), 9);
	fake_guest_stop(&guest);
}

static void test_nonsense(void)
{
	static const char *const texts[] = {
		"no such words", "Node 0, zone", "Node 0, zone Normal", "Node 0, zone Normal 1 2 x",
		"Node 0, zone Normal 0 0 0 0 0 0 0 0 0 99999999999999999999",
		"Node 0, zone Normal 0 0 0 0 0 0 0 0 0 18446744073709551615",
		"Node 0, zone Normal 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
	};
	struct free_areas areas;
	char path[128];

	fake_guest_start(&guest);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fake_guest_write(&guest, "/proc/buddyinfo", texts[i]);
		CHECK_INT(free_areas_read(guest.sysroot, 9, &areas), -EBADMSG);
	}
	snprintf(path, sizeof(path), "%s/proc/buddyinfo", guest.root);
	unlink(path);
	CHECK_INT(free_areas_read(guest.sysroot, 9, &areas), -ENOENT);
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"large pieces", test_large_pieces},
		{"rounds", test_rounds},
		{"orders", test_orders},
		{"nonsense", test_nonsense},
	};

	return unit_main("free_areas", cases, sizeof(cases) / sizeof(cases[0]));
}
