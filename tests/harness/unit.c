/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>

void unit_check_int(long long actual, long long expected, const char *text, const char *file, int line)
{
	if (actual != expected)
		printf("  %s:%d: %s is %lld, expected %lld\n", file, line, text, actual, expected);
	CU_assertImplementation(actual == expected, (unsigned)line, text, file, "", CU_FALSE);
}

void unit_check_str(const char *actual, const char *expected, const char *text, const char *file, int line)
{
	bool same = actual && expected ? strcmp(actual, expected) == 0 : actual == expected;

	if (!same)
		printf("  %s:%d: %s is \"%s\", expected \"%s\"\n", file, line, text,
		       actual ? actual : "(null)", expected ? expected : "(null)");
	CU_assertImplementation(same, (unsigned)line, text, file, "", CU_FALSE);
}

static void case_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
	printf("%s %s/%s\n", failure ? "not ok" : "ok", suite->pName, test->pName);
	for (CU_pFailureRecord record = failure; record; record = record->pNext)
		printf("  %s:%u: %s\n", record->strFileName ? record->strFileName : "?",
		       record->uiLineNumber, record->strCondition ? record->strCondition : "?");
	fflush(stdout);
}

int unit_main(const char *suite_name, const struct unit_case *cases, size_t count)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);

	if (!suite)
		return 1;
	for (size_t i = 0; i < count; i++)
		if (!CU_add_test(suite, cases[i].name, cases[i].run))
			return 1;
	CU_set_test_complete_handler(case_complete);
	if (CU_run_all_tests() != CUE_SUCCESS)
		return 1;
	unsigned failed = CU_get_number_of_tests_failed(), run = CU_get_number_of_tests_run();

	printf("%s: %u passed, %u failed\n", suite_name, run - failed, failed);
	CU_cleanup_registry();
	return failed == 0 && run == count && run > 0 ? 0 : 1;
}
