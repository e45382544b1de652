/* SPDX-License-Identifier: Apache-2.0 */
#include "oom_score.h"

#include <errno.h>
#include "fake_guest.h"
#include "unit.h"

#define FILE_PATH "/proc/self/oom_score_adj"

static void test_only_where_nobody_has_set_it(void)
{
	struct fake_guest guest;

	fake_guest_start(&guest);
	CHECK_INT(oom_score_lower(guest.sysroot), -ENOENT);
	fake_guest_write(&guest, FILE_PATH, "0");
	CHECK_INT(oom_score_lower(guest.sysroot), 0);
	CHECK_STR(fake_guest_read(&guest, FILE_PATH), OOM_SCORE_ADJUST);
	fake_guest_write(&guest, FILE_PATH, "-500");
	CHECK_INT(oom_score_lower(guest.sysroot), 0);
	CHECK_STR(fake_guest_read(&guest, FILE_PATH), "-500");
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"only where nobody has set it", test_only_where_nobody_has_set_it},
	};

	return unit_main("oom_score", cases, sizeof(cases) / sizeof(cases[0]));
}
