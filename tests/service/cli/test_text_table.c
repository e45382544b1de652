/* SPDX-License-Identifier: Apache-2.0 */
#include "text_table.h"

#include <stdlib.h>
#include <string.h>
#include "unit.h"

static void check_print(const struct text_table *table, const char *indent, const char *expected)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert(stream);
	text_table_print(table, indent, stream);
	assert(fclose(stream) == 0);
	CHECK_STR(text ? text : "", expected);
}

static void test_columns(void)
{
	static const char *const titles[] = {"NAME", ">SIZE", "STATE"};
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(titles, 3);

	text_table_add(table, "a");
	text_table_addf(table, "%d MiB", 512);
	text_table_add(table, "running");
	text_table_add(table, "longer");
	text_table_add(table, "1 GiB");
	text_table_add(table, NULL);
	check_print(table, "",
		    "NAME       SIZE  STATE\n"
		    "a       512 MiB  running\n"
		    "longer    1 GiB  -\n");
}

static void test_without_titles(void)
{
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(NULL, 2);

	check_print(table, "  ", "");
	text_table_add(table, "one");
	text_table_add(table, "");
	check_print(table, "  ", "  one  -\n");
}

static void test_wide_characters(void)
{
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(NULL, 2);

	text_table_add(table, "äöü");
	text_table_add(table, "x");
	text_table_add(table, "abcd");
	text_table_add(table, "y");
	check_print(table, "", "äöü   x\nabcd  y\n");
}

/* Text of a guest must not reach the terminal as a command: escapes of one byte, and those of two
 * in UTF-8. */
static void test_control_characters(void)
{
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(NULL, 1);

	text_table_add(table, "a\033[2Jb\x7f\n");
	text_table_add(table, "c\xc2\x9b"
			      "2Jd\xc2\xa0");
	check_print(table, "", "a?[2Jb??\nc??2Jd\xc2\xa0\n");
}

static void test_bounds(void)
{
	CHECK_TRUE(text_table_new(NULL, TEXT_TABLE_COLUMNS_MAX + 1) == NULL);
	check_print(NULL, "", "");
	text_table_add(NULL, "nothing");
	CHECK_TRUE(text_table_free(NULL) == NULL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"columns", test_columns},
		{"without titles", test_without_titles},
		{"wide characters", test_wide_characters},
		{"control characters", test_control_characters},
		{"bounds", test_bounds},
	};

	return unit_main("service/cli/text_table", cases, sizeof(cases) / sizeof(cases[0]));
}
