/* SPDX-License-Identifier: Apache-2.0 */
/* When something is to begin, as a person writes it. */
#ifndef BALLAST_SERVICE_BEGIN_TIME_H
#define BALLAST_SERVICE_BEGIN_TIME_H

#include <time.h>

/*
 * "+90m" or "+2h" (from now; also s and d), "2030-01-31 22:00" in local time, and with seconds, with a T between, or with
 * the zone: "2030-01-31T22:00:00Z", "...+02:00". 0; -EINVAL: it is no such time; -ERANGE: it is over, or more than a year
 * away.
 */
int begin_time_parse(const char *text, time_t now, time_t *ret_time);

#endif
