/* SPDX-License-Identifier: Apache-2.0 */
#include "holder_report.h"

#include <stdio.h>
#include <string.h>
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static const struct remainder *entry(const struct holder_report *report, const char *object)
{
	for (size_t i = 0; i < report->count; i++)
		if (strcmp(report->holders[i].entry.object, object) == 0)
			return &report->holders[i].entry;
	return NULL;
}

/* By class, in each by bytes, and of equal ones by name. */
static void those_that_hold_most_come_first(void)
{
	static const char *const order[] = {"guest b", "guest a", "guest c", "process 80 (db)", "cgroup /x", "slab"};
	struct holder_report report = {0};

	holder_report_finish(&report);
	CHECK_INT(report.count, 0);
	holder_report_add(&report, HOLDER_CLASS_KERNEL, "slab", 9 * MIB, "boot otherwise", "of %s", "all sorts");
	holder_report_add(&report, HOLDER_CLASS_GUEST, "guest c", MIB, NULL, "resident");
	holder_report_add(&report, HOLDER_CLASS_CGROUP, "cgroup /x", 3 * MIB, NULL, "no process");
	holder_report_add(&report, HOLDER_CLASS_GUEST, "guest a", MIB, NULL, "resident");
	holder_report_add(&report, HOLDER_CLASS_PROCESS, "process 80 (db)", 2 * MIB, NULL, "anonymous");
	holder_report_add(&report, HOLDER_CLASS_GUEST, "guest b", 2 * MIB, NULL, "resident");
	holder_report_finish(&report);
	CHECK_INT(report.count, ARRAY_SIZE(order));
	for (size_t i = 0; i < ARRAY_SIZE(order) && i < report.count; i++)
		CHECK_STR(report.holders[i].entry.object, order[i]);
	CHECK_INT(holder_report_bytes(&report), 18 * MIB);
	CHECK_INT(entry(&report, "guest a")->code, REMAINDER_GUEST_MEMORY);
	CHECK_INT(entry(&report, "guest a")->consent, -1);
	CHECK_TRUE(entry(&report, "guest a")->way_out[0] != '\0');
	CHECK_INT(entry(&report, "cgroup /x")->code, REMAINDER_HOST_PROCESS);
	CHECK_STR(entry(&report, "slab")->detail, "of all sorts");
	CHECK_STR(entry(&report, "slab")->way_out, "boot otherwise");
	holder_report_done(&report);
}

/* At most all of it; of a sum it is told where it is told of each. */
static void what_is_pinned_is_told(void)
{
	struct holder_report report = {0};

	for (int i = 0; i < HOLDER_CLASS_ENTRIES_MAX + 3; i++) {
		holder_report_add(&report, HOLDER_CLASS_PROCESS, "process", 2 * MIB, NULL, "so it is");
		holder_report_set_pinned(&report, (uint64_t)i * MIB);
		holder_report_add(&report, HOLDER_CLASS_CGROUP, "cgroup", 2 * MIB, NULL, "so it is");
		if (i)
			holder_report_set_pinned(&report, MIB);
	}
	holder_report_finish(&report);
	CHECK_INT(report.count, 2 * (HOLDER_CLASS_ENTRIES_MAX + 1));
	for (size_t i = 0, untold = 0; i < report.count; i++) {
		const struct holder *holder = &report.holders[i];
		bool is_sum = strstr(holder->entry.object, "more") != NULL;

		untold += !holder->has_pinned;
		CHECK_TRUE(!holder->has_pinned || holder->pinned_bytes <= holder->entry.bytes);
		if (is_sum && holder->class == HOLDER_CLASS_PROCESS)
			CHECK_TRUE(holder->has_pinned);
		if (i + 1 == report.count)
			CHECK_INT(untold, 1);
	}
	holder_report_done(&report);
}

/* Of each class so many are named, however many there are of another, and no byte is lost. */
static void no_class_pushes_another_out(void)
{
	enum { MANY = 1000 };
	static const enum holder_class classes[] = {HOLDER_CLASS_GUEST, HOLDER_CLASS_QEMU, HOLDER_CLASS_UNSURVEYED};
	struct holder_report report = {0};
	const struct remainder *rest;
	uint64_t bytes = 0;

	for (int i = 1; i <= MANY; i++)
		for (size_t c = 0; c < ARRAY_SIZE(classes); c++) {
			char object[32];
			uint64_t held = classes[c] == HOLDER_CLASS_UNSURVEYED ? 0 : (uint64_t)i * MIB;

			snprintf(object, sizeof(object), "%zu-%d", c, i);
			holder_report_add(&report, classes[c], object, held, NULL, "so it is");
			bytes += held;
		}
	holder_report_add(&report, HOLDER_CLASS_PROCESS, "process 80 (db)", 1, NULL, "one page");
	holder_report_add(&report, HOLDER_CLASS_UNCOUNTED, "pages", 0, NULL, "no answer");
	holder_report_finish(&report);
	CHECK_INT(report.count, 3 * (HOLDER_CLASS_ENTRIES_MAX + 1) + 2);
	CHECK_INT(holder_report_bytes(&report), bytes + 1);
	CHECK_TRUE(entry(&report, "process 80 (db)") && entry(&report, "pages"));
	CHECK_STR(report.holders[0].entry.object, "0-1000");
	CHECK_TRUE(entry(&report, "0-937") && !entry(&report, "0-936"));
	CHECK_TRUE(entry(&report, "1-937") && !entry(&report, "1-936"));
	rest = entry(&report, "936 more guests");
	CHECK_TRUE(rest == &report.holders[HOLDER_CLASS_ENTRIES_MAX].entry);
	CHECK_STR(rest->detail, "none of them has more than 936 MiB");
	CHECK_INT(rest->bytes, UINT64_C(936) * 937 / 2 * MIB);
	CHECK_INT(rest->code, REMAINDER_GUEST_MEMORY);
	CHECK_TRUE(entry(&report, "936 more processes of guests") != NULL);
	CHECK_STR(report.holders[report.count - 1].entry.object, "936 more guests");
	CHECK_STR(report.holders[report.count - 1].entry.detail, "each for a reason of its own");
	CHECK_INT(report.holders[report.count - 1].entry.code, REMAINDER_NOT_SURVEYED);
	holder_report_done(&report);
}

/* One more than that is named as well: its sum would say no less in as many words. */
static void a_sum_is_of_several(void)
{
	struct holder_report report = {0};

	for (int i = 0; i <= HOLDER_CLASS_ENTRIES_MAX; i++) {
		char object[32];

		snprintf(object, sizeof(object), "guest %d", i);
		holder_report_add(&report, HOLDER_CLASS_GUEST, object, MIB, NULL, "resident");
	}
	holder_report_finish(&report);
	CHECK_INT(report.count, HOLDER_CLASS_ENTRIES_MAX + 1);
	for (size_t i = 0; i < report.count; i++)
		CHECK_INT(report.holders[i].entry.bytes, MIB);
	holder_report_done(&report);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"those that hold most come first", those_that_hold_most_come_first},
		{"what is pinned is told", what_is_pinned_is_told},
		{"no class pushes another out", no_class_pushes_another_out},
		{"a sum is of several", a_sum_is_of_several},
	};

	return unit_main("service/model/holder_report", cases, ARRAY_SIZE(cases));
}
