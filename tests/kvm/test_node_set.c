/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include "cleanup.h"
#include "node_set.h"

static struct node_set set_of(const char *text)
{
	struct node_set set = {0};

	CHECK_INT(node_set_parse(text, &set), 0);
	return set;
}

static void check_text(const struct node_set *set, const char *expected)
{
	char text[NODE_SET_TEXT_SIZE];

	CHECK_STR(node_set_format(set, text, sizeof(text)), expected);
}

static void test_parse(void)
{
	static const char *const good[] = {"",	    "0",    "0-3",    "0,2",
					   "0-2,5", "1023", "0-1023", "1,3,5-7,63-64"};
	static const struct {
		const char *text;
		int error;
	} bad[] = {
		{"1024", -ERANGE},  {"0-1024", -ERANGE}, {"99999999999", -ERANGE},
		{"a", -EINVAL},	    {"1,", -EINVAL},	 {",1", -EINVAL},
		{"2-1", -EINVAL},   {"3,2", -EINVAL},	 {"1-", -EINVAL},
		{"-1", -EINVAL},    {"1 2", -EINVAL},	 {"1\n2", -EINVAL},
		{"1-2-3", -EINVAL}, {"2,2", -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct node_set set = set_of(good[i]);

		check_text(&set, good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct node_set set = node_set_of(9);

		CHECK_INT(node_set_parse(bad[i].text, &set), bad[i].error);
		check_text(&set, "9");
	}
	struct node_set lines = set_of("0-1\n");

	check_text(&lines, "0-1");
}

static void test_operations(void)
{
	struct node_set a = set_of("0-2,64"), b = set_of("2-3,64,1000"), result;
	int seen = 0;

	result = node_set_union(&a, &b);
	check_text(&result, "0-3,64,1000");
	result = node_set_intersection(&a, &b);
	check_text(&result, "2,64");
	CHECK_TRUE(node_set_is_subset(&result, &a) && !node_set_is_subset(&a, &result));
	CHECK_TRUE(node_set_intersects(&a, &b));
	result = node_set_difference(&a, &b);
	check_text(&result, "0-1");
	CHECK_INT(node_set_count(&b), 4);
	NODE_SET_FOR_EACH(node_id, &b)
	seen += node_id;
	CHECK_INT(seen, 2 + 3 + 64 + 1000);
	CHECK_TRUE(!node_set_has(&a, -1) && !node_set_has(&a, NODE_SET_MAX));
	node_set_add(&a, NODE_SET_MAX);
	node_set_add(&a, -1);
	node_set_remove(&a, 64);
	check_text(&a, "0-2");
	node_set_clear(&a);
	CHECK_TRUE(node_set_is_empty(&a));
	CHECK_INT(node_set_next(&a, -1), -1);
}

static void test_format_cut(void)
{
	struct node_set set = set_of("0-2,5,7");
	char text[6];

	CHECK_STR(node_set_format(&set, text, sizeof(text)), "0-2,5");
	CHECK_STR(node_set_format(&set, text, 5), "0-2");
	CHECK_STR(node_set_format(&set, text, 1), "");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"parse", test_parse},
		{"operations", test_operations},
		{"format_cut", test_format_cut},
	};

	return unit_main("node_set", cases, ARRAY_SIZE(cases));
}
