/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_records.h"

#include <string.h>
#include "unit.h"

#define G1 "11111111-1111-1111-1111-111111111111"
#define G2 "22222222-2222-2222-2222-222222222222"
#define G3 "33333333-3333-3333-3333-333333333333"

struct known {
	struct guest_record record;
	int number;
};

static int released;
static char visited[4 * SNAPSHOT_UUID_SIZE];

static void release(void *record)
{
	released += ((struct known *)record)->number;
}

static struct known *add(struct guest_records *records, const char *uuid, int number)
{
	struct known *known = guest_records_add(records, uuid);

	CHECK_TRUE(known);
	CHECK_INT(known->number, 0);
	known->number = number;
	return known;
}

static void start(struct guest_records *records)
{
	released = 0;
	visited[0] = '\0';
	guest_records_init(records, sizeof(struct known), release);
}

static void test_find_and_forget(void)
{
	struct guest_records records;
	struct known *first, *second;

	start(&records);
	CHECK_TRUE(guest_records_find(&records, G1) == NULL);
	guest_records_forget(&records, G1);
	first = add(&records, G1, 1);
	second = add(&records, G2, 2);
	add(&records, G3, 4);
	CHECK_STR(first->record.uuid, G1);
	CHECK_TRUE(guest_records_find(&records, G1) == first);
	CHECK_TRUE(guest_records_find(&records, G2) == second);
	/* By the name that goes with it. */
	guest_records_forget(&records, second->record.uuid);
	CHECK_INT(released, 2);
	CHECK_TRUE(guest_records_find(&records, G2) == NULL);
	CHECK_TRUE(guest_records_find(&records, G1) == first);
	CHECK_TRUE(guest_records_find(&records, G3));
	guest_records_done(&records);
	CHECK_INT(released, 7);
	CHECK_TRUE(records.first == NULL);
}

static void visit(void *user, const char *uuid)
{
	struct guest_records *records = user;

	if (strcmp(uuid, G3) != 0)
		guest_records_forget(records, uuid);
	else
		add(records, G1, 8);
	strcat(visited, uuid);
}

/* One that is forgotten in its turn has a name to the end of it; one that comes meanwhile has no turn yet. */
static void test_visit(void)
{
	struct guest_records records;

	start(&records);
	guest_records_visit(&records, visit, &records);
	CHECK_STR(visited, "");
	add(&records, G3, 4);
	add(&records, G2, 2);
	guest_records_visit(&records, visit, &records);
	CHECK_STR(visited, G2 G3);
	CHECK_INT(released, 2);
	CHECK_TRUE(guest_records_find(&records, G1));
	guest_records_done(&records);
	CHECK_INT(released, 14);
}

static void test_question(void)
{
	struct guest_records_question *first, *second, *other;
	struct guest_records records;
	struct known *known;

	start(&records);
	known = add(&records, G1, 1);
	CHECK_TRUE(!guest_records_is_asking(&records, G1));
	first = guest_records_ask(&records, G1, 3);
	second = guest_records_ask(&records, G1, 5);
	other = guest_records_ask(&records, G2, 0);
	CHECK_INT(first->kind, 3);
	CHECK_INT(second->kind, 5);
	CHECK_TRUE(guest_records_answer(first) == known);
	CHECK_TRUE(guest_records_is_asking(&records, G1));
	CHECK_TRUE(guest_records_answer(second) == known);
	CHECK_TRUE(!guest_records_is_asking(&records, G1));
	CHECK_TRUE(guest_records_is_asking(&records, G2));
	CHECK_TRUE(guest_records_answer(other) == NULL);
	guest_records_done(&records);
}

static void test_answer_comes_late(void)
{
	struct guest_records_question *early, *late, *latest;
	struct guest_records records;
	struct known *known;

	start(&records);
	add(&records, G1, 1);
	early = guest_records_ask(&records, G1, 0);
	late = guest_records_ask(&records, G1, 0);
	latest = guest_records_ask(&records, G1, 0);
	guest_records_forget(&records, G1);
	CHECK_TRUE(guest_records_answer(early) == NULL);
	/* The guest is there again: it has what was asked of it. */
	known = add(&records, G1, 2);
	CHECK_TRUE(guest_records_answer(late) == known);
	guest_records_done(&records);
	CHECK_TRUE(!guest_records_is_asking(&records, G1));
	CHECK_TRUE(guest_records_answer(latest) == NULL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"found and forgotten", test_find_and_forget},
		{"visited in turn", test_visit},
		{"a question", test_question},
		{"an answer that comes late", test_answer_comes_late},
	};

	return unit_main("service/operation/guest_records", cases, sizeof(cases) / sizeof(cases[0]));
}
