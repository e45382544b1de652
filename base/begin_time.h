/* SPDX-License-Identifier: Apache-2.0 */
/* When something is to begin, as a person writes it. */
#ifndef BALLAST_BASE_BEGIN_TIME_H
#define BALLAST_BASE_BEGIN_TIME_H

#include <stdbool.h>
#include <time.h>

/*
 * "+90m" or "+2h" (from now; also s and d), "2030-01-31 22:00" in local time, and with seconds, with a T between, or with
 * the zone: "2030-01-31T22:00:00Z", "...+02:00". 0; -EINVAL: it is no such time; -ERANGE: it is none to begin at.
 */
int begin_time_parse(const char *text, time_t now, time_t *ret_time);
/*
 * May something be told now to begin then? Not where it is over by more than a minute, which is what clocks and the way here
 * may differ by, nor where it is more than a year away.
 */
bool begin_time_is_allowed(time_t now, time_t time);

#endif
