/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time it is, as one number.
 */
#ifndef BALLAST_BASE_CLOCK_H
#define BALLAST_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Of any clock of clock_gettime(2) that the kernel has. */
uint64_t clock_ns(clockid_t clock);
uint64_t clock_us(clockid_t clock);
uint64_t clock_ms(clockid_t clock);

/* Of CLOCK_MONOTONIC: for times that something takes. */
uint64_t monotonic_ns(void);
uint64_t monotonic_us(void);
uint64_t monotonic_ms(void);
/* Since 1970, and may be set: for what people read, and for what a restart of the host outlives. */
uint64_t wall_ms(void);

#endif
