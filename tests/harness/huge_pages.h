/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages for tests on the machine's own kernel: beyond its pool, so that nothing is taken from anybody. */
#ifndef BALLAST_TESTS_HUGE_PAGES_H
#define BALLAST_TESTS_HUGE_PAGES_H

/* How many the kernel may make beyond its pool, of its default size. Returns what it was; -1 where that cannot be set. */
long huge_pages_allow(long count);

#endif
