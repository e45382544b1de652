/* SPDX-License-Identifier: Apache-2.0 */
#include "begin_time.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "size_text.h"

/* A year: whoever writes more has mistyped it. */
#define BEGIN_TIME_AHEAD_S (366 * 86400)
/* Who says "now" has another clock, and it takes its time to come here. */
#define BEGIN_TIME_SLACK_S 60

static int parse_delay(const char *text, time_t now, time_t *ret_time)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t length = strlen(text);
	char number[16];
	uint64_t value;

	if (length < 2 || length > sizeof(number))
		return -EINVAL;
	snprintf(number, sizeof(number), "%.*s", (int)length - 1, text);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (text[length - 1] != units[i].unit)
			continue;
		if (size_text_parse_number(number, 10, &value) < 0)
			return -EINVAL;
		if (value > BEGIN_TIME_AHEAD_S / units[i].seconds)
			return -ERANGE;
		*ret_time = now + (time_t)(value * units[i].seconds);
		return 0;
	}
	return -EINVAL;
}

/* "Z" or "+02:00", in seconds east. */
static bool parse_zone(const char *text, long *ret_east)
{
	unsigned hours, minutes;

	if (strcmp(text, "Z") == 0) {
		*ret_east = 0;
		return true;
	}
	if (strlen(text) != 6 || (text[0] != '+' && text[0] != '-') || strspn(text + 1, "0123456789") != 2 ||
	    text[3] != ':' || strspn(text + 4, "0123456789") != 2)
		return false;
	hours = (unsigned)(text[1] - '0') * 10 + (unsigned)(text[2] - '0');
	minutes = (unsigned)(text[4] - '0') * 10 + (unsigned)(text[5] - '0');
	*ret_east = (long)(hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
	return hours < 24 && minutes < 60;
}

/* strptime() takes blanks for digits, and one digit for two. Where the shape ends, or NULL. */
static const char *end_of_shape(const char *text, const char *shape)
{
	for (; *shape; shape++, text++) {
		bool is_digit = *text >= '0' && *text <= '9';

		if (*shape == '0' ? !is_digit : *shape == 'T' ? *text != 'T' && *text != ' ' : *text != *shape)
			return NULL;
	}
	return text;
}

static int parse_date(const char *text, time_t *ret_time)
{
	const char *end = end_of_shape(text, "0000-00-00T00:00");
	struct tm tm = {0}, given;
	long east = 0;

	if (!end)
		return -EINVAL;
	if (end_of_shape(end, ":00"))
		end += 3;
	if (*end && !parse_zone(end, &east))
		return -EINVAL;
	if (strptime(text, "%Y-%m-%d", &tm) != text + 10 ||
	    strptime(text + 11, end - text > 16 ? "%H:%M:%S" : "%H:%M", &tm) != end)
		return -EINVAL;
	tm.tm_isdst = -1;
	given = tm;
	*ret_time = *end ? timegm(&tm) - east : mktime(&tm);
	/* What is no day, or an hour that the clock leaves out, has become another one. */
	if (tm.tm_mday != given.tm_mday || tm.tm_hour != given.tm_hour || tm.tm_min != given.tm_min)
		return -EINVAL;
	return 0;
}

bool begin_time_is_allowed(time_t now, time_t time)
{
	return time >= now - BEGIN_TIME_SLACK_S && time <= now + BEGIN_TIME_AHEAD_S + BEGIN_TIME_SLACK_S;
}

int begin_time_parse(const char *text, time_t now, time_t *ret_time)
{
	time_t time;
	int r = text[0] == '+' ? parse_delay(text + 1, now, &time) : parse_date(text, &time);

	if (r < 0)
		return r;
	if (!begin_time_is_allowed(now, time))
		return -ERANGE;
	*ret_time = time;
	return 0;
}
