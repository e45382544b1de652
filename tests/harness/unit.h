/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thin face over CUnit: a table of cases in, one line a case and a closing line out.
 */
#ifndef BALLAST_TESTS_UNIT_H
#define BALLAST_TESTS_UNIT_H

/* Assertions must stay in whatever the build type is. */
#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <CUnit/CUnit.h>

struct unit_case {
	const char *name;
	void (*run)(void);
};

/* Runs every case and prints "ok NAME" or "not ok NAME" with what failed. Returns 0 only if all passed and there was one. */
int unit_main(const char *suite, const struct unit_case *cases, size_t count);

void unit_check_int(long long actual, long long expected, const char *text, const char *file, int line);
void unit_check_str(const char *actual, const char *expected, const char *text, const char *file, int line);

/* Both values are printed when they differ. */
#define CHECK_INT(actual, expected)                                                                \
	unit_check_int((long long)(actual), (long long)(expected), #actual, __FILE__, __LINE__)
#define CHECK_STR(actual, expected) unit_check_str((actual), (expected), #actual, __FILE__, __LINE__)
#define CHECK_TRUE(condition) CU_assertImplementation((condition) ? CU_TRUE : CU_FALSE, __LINE__, #condition, __FILE__, "", CU_FALSE)

#endif
