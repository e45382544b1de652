/* SPDX-License-Identifier: Apache-2.0 */
#include "remainder.h"

#include <stdio.h>
#include <string.h>
#include "unit.h"

static void every_code_is_documented(void)
{
	for (int i = 0; i < REMAINDER_CODE_COUNT; i++) {
		const char *name = remainder_code_name((enum remainder_code)i);

		CHECK_INT(remainder_code_from_name(name), i);
		CHECK_TRUE(strlen(remainder_code_meaning((enum remainder_code)i)) > 8);
	}
	CHECK_STR(remainder_code_name(REMAINDER_CODE_COUNT), "unknown");
	CHECK_INT(remainder_code_from_name("no such code"), -1);
	for (int i = 0; i < CONSENT_COUNT; i++)
		CHECK_INT(consent_from_name(consent_name((enum consent)i)), i);
}

static void same_entries_grow(void)
{
	struct remainder_list list = {0};

	remainder_list_add(&list, REMAINDER_PINNED, "block 40", 64, NULL, "%d pages", 3);
	remainder_list_add(&list, REMAINDER_PINNED, "block 40", 36, NULL, "%d pages", 3);
	remainder_list_add(&list, REMAINDER_PINNED, "block 41", 1, "wait", "%d pages", 3);
	CHECK_INT(list.count, 2);
	CHECK_INT(list.items[0].bytes, 100);
	CHECK_INT(list.items[0].consent, -1);
	CHECK_STR(list.items[0].way_out, "stop what pins it, or have it let go");
	CHECK_STR(list.items[1].way_out, "wait");
	CHECK_TRUE(remainder_list_has(&list, REMAINDER_PINNED));
	CHECK_TRUE(!remainder_list_has(&list, REMAINDER_VETOED));
}

static void what_has_one_code_gets_another(void)
{
	struct remainder_list list = {0};

	remainder_list_add(&list, REMAINDER_CANCELLED, "guest g1", 64, NULL, "ended by request");
	remainder_list_add(&list, REMAINDER_PINNED, "guest g1", 1, "wait", "held");
	remainder_list_add(&list, REMAINDER_CANCELLED, "guest g1", 8, NULL, "and the rest");
	remainder_list_recode(&list, REMAINDER_CANCELLED, REMAINDER_DEADLINE, "the time was up");
	/* They are one now. */
	CHECK_INT(list.count, 2);
	CHECK_INT(list.items[0].code, REMAINDER_DEADLINE);
	CHECK_INT(list.items[0].bytes, 72);
	CHECK_STR(list.items[0].detail, "the time was up");
	CHECK_STR(list.items[1].way_out, "wait");
}

static void consent_is_named(void)
{
	struct remainder_list list = {0};
	struct remainder *entry = remainder_list_add_consent(
		&list, REMAINDER_CONSENT_REQUIRED, CONSENT_STORED_XML, "guest g1", 0, "node %d", 3);

	CHECK_INT(entry->consent, CONSENT_STORED_XML);
	CHECK_STR(entry->way_out, "agree with --allow stored_xml");
	CHECK_STR(entry->detail, "node 3");
}

static void a_full_list_keeps_the_sum(void)
{
	struct remainder_list list = {0};
	uint64_t sum = 0;

	for (unsigned i = 0; i < 1000; i++) {
		char object[32];

		snprintf(object, sizeof(object), "block %u", i);
		remainder_list_add(&list, (enum remainder_code)(1 + i % (REMAINDER_CODE_COUNT - 1)),
				   object, i, NULL, "cause %u", i);
		sum += i;
		CHECK_TRUE(list.count <= REMAINDER_LIST_MAX);
		CHECK_INT(remainder_list_bytes(&list), sum);
	}
	CHECK_INT(list.count, REMAINDER_LIST_MAX);
}

static void merging_keeps_codes_apart_as_long_as_it_can(void)
{
	struct remainder_list list = {0}, copy = {0};

	for (unsigned i = 0; i < 60; i++) {
		char object[32];

		snprintf(object, sizeof(object), "block %u", i);
		remainder_list_add(&list, i % 2 ? REMAINDER_PINNED : REMAINDER_BLOCK_BUSY, object,
				   1, NULL, "x");
	}
	remainder_list_add(&list, REMAINDER_VETOED, "guest g1", 7, NULL, "x");
	CHECK_TRUE(remainder_list_has(&list, REMAINDER_VETOED));
	CHECK_INT(remainder_list_bytes(&list), 67);
	remainder_list_append(&copy, &list);
	CHECK_INT(remainder_list_bytes(&copy), 67);
}

static const struct unit_case cases[] = {
	{"every code is documented", every_code_is_documented},
	{"same entries grow", same_entries_grow},
	{"what has one code gets another", what_has_one_code_gets_another},
	{"consent is named", consent_is_named},
	{"a full list keeps the sum", a_full_list_keeps_the_sum},
	{"merging keeps codes apart as long as it can",
	 merging_keeps_codes_apart_as_long_as_it_can},
};

int main(void)
{
	return unit_main("remainder", cases, sizeof(cases) / sizeof(cases[0]));
}
