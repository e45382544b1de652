/* SPDX-License-Identifier: Apache-2.0 */
#include "begin_time.h"

#include <errno.h>
#include <stdlib.h>
#include "cleanup.h"
#include "unit.h"

#define NOW ((time_t)1893499200) /* 2030-01-01T12:00:00Z */

static void test_times(void)
{
	static const struct {
		const char *text;
		time_t after_s;
	} times[] = {
		{"+0s", 0},
		{"+30s", 30},
		{"+90m", 5400},
		{"+2h", 7200},
		{"+366d", 366 * 86400},
		/* Berlin is an hour ahead in winter, two in summer. */
		{"2030-01-01 13:00", 0},
		/* It has just begun: that is now. */
		{"2030-01-01 12:59", -60},
		{"2030-01-01T13:00:30", 30},
		{"2030-01-01 12:00:01Z", 1},
		{"2030-01-01T12:30Z", 1800},
		{"2030-01-01T14:00:00+02:00", 0},
		{"2030-01-01T12:00:00-01:30", 5400},
		{"2030-07-01 14:00", 181 * 86400},
	};

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		time_t time = 0;

		CHECK_INT(begin_time_parse(times[i].text, NOW, &time), 0);
		CHECK_INT(time, NOW + times[i].after_s);
	}
}

static void test_no_times(void)
{
	static const char *const texts[] = {
		"",	      "+",		     "+h",		     "+2",
		"+2w",	      "+-2h",		     "+ 2h",		     "+99999999999999999999h",
		"tomorrow",   "22:00",		     "2030-01-02",	     "2030-02-30 12:00",
		"2030-13-01 12:00",		     "2030-01-02 24:01",     "2030-01-02 12:60",
		"2030-1-02 12:00",		     "2030-01-02  2:00",     "2030-01-02 12:00:",
		"2030-01-02 12:00 Z",		     "2030-01-02T12:00:00+2", "2030-01-02T12:00:00+24:00",
		/* The hour that summer time leaves out. */
		"2030-03-31 02:30",
	};
	static const char *const wrong[] = {"2030-01-01 12:58:59", "2029-12-31T12:00:00Z", "+367d", "2031-01-02T12:01:01Z", "2031-01-03 12:00",
					    "1969-12-31T23:59:59Z"};
	time_t time;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (begin_time_parse(texts[i], NOW, &time) != -EINVAL)
			CHECK_STR(texts[i], "refused");
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		CHECK_INT(begin_time_parse(wrong[i], NOW, &time), -ERANGE);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"times, local and not", test_times},
		{"what is no time, or no time to begin", test_no_times},
	};

	/* The rules themselves: the machine need not have the zones' files. */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	return unit_main("base/begin_time", cases, ARRAY_SIZE(cases));
}
