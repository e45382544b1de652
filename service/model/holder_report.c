/* SPDX-License-Identifier: Apache-2.0 */
#include "holder_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "size_text.h"

static const struct {
	enum remainder_code code;
	const char *several; /* of what is summed up */
} classes[HOLDER_CLASS_COUNT] = {
	[HOLDER_CLASS_GUEST] = {REMAINDER_GUEST_MEMORY, "guests"},
	[HOLDER_CLASS_PROCESS] = {REMAINDER_HOST_PROCESS, "processes"},
	[HOLDER_CLASS_CGROUP] = {REMAINDER_HOST_PROCESS, "cgroups"},
	[HOLDER_CLASS_QEMU] = {REMAINDER_HOST_PROCESS, "processes of guests"},
	[HOLDER_CLASS_OTHERS] = {REMAINDER_HOST_PROCESS, "sums"},
	[HOLDER_CLASS_KERNEL] = {REMAINDER_KERNEL_MEMORY, "kinds"},
	[HOLDER_CLASS_UNKNOWN] = {REMAINDER_UNKNOWN_PAGES, "kinds"},
	[HOLDER_CLASS_POOL] = {REMAINDER_HUGE_PAGE_POOL, "pools"},
	[HOLDER_CLASS_POISONED] = {REMAINDER_POISONED, "kinds"},
	[HOLDER_CLASS_UNCOUNTED] = {REMAINDER_NOT_SURVEYED, "kinds"},
	[HOLDER_CLASS_UNSURVEYED] = {REMAINDER_NOT_SURVEYED, "guests"},
};

void holder_report_done(struct holder_report *report)
{
	free(report->holders);
	report->holders = NULL;
	report->count = 0;
}

void holder_report_add(struct holder_report *report, enum holder_class class, const char *object, uint64_t bytes,
		       const char *way_out, const char *detail, ...)
{
	/* Powers of two alone are full. */
	if ((report->count & (report->count - 1)) == 0) {
		size_t capacity = report->count ? report->count * 2 : 1;
		struct holder *larger = reallocarray(report->holders, capacity, sizeof(*larger));

		if (!larger) {
			report->is_short_of_memory = true;
			return;
		}
		report->holders = larger;
	}

	struct holder *holder = &report->holders[report->count++];
	va_list arguments;

	*holder = (struct holder){.class = class};
	va_start(arguments, detail);
	remainder_set(&holder->entry, classes[class].code, object, bytes, way_out, detail, arguments);
	va_end(arguments);
}

void holder_report_set_pinned(struct holder_report *report, uint64_t pinned_bytes)
{
	struct holder *holder;

	/* Then the last one is another. */
	if (report->is_short_of_memory)
		return;
	holder = &report->holders[report->count - 1];
	holder->has_pinned = true;
	holder->pinned_bytes = pinned_bytes < holder->entry.bytes ? pinned_bytes : holder->entry.bytes;
}

static int compare(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	if (x->entry.bytes != y->entry.bytes)
		return x->entry.bytes > y->entry.bytes ? -1 : 1;
	return strcmp(x->entry.object, y->entry.object);
}

/* Makes one of them, the first of which has most. */
static void sum_up(struct holder *holders, size_t count)
{
	struct remainder *sum = &holders[0].entry;
	char most[SIZE_TEXT_SIZE];

	size_text_format(sum->bytes, most);
	for (size_t i = 1; i < count; i++) {
		sum->bytes += holders[i].entry.bytes;
		holders[0].has_pinned = holders[0].has_pinned && holders[i].has_pinned;
		holders[0].pinned_bytes += holders[i].pinned_bytes;
	}
	snprintf(sum->object, sizeof(sum->object), "%zu more %s", count, classes[holders[0].class].several);
	if (sum->bytes)
		snprintf(sum->detail, sizeof(sum->detail), "none of them has more than %s", most);
	else
		snprintf(sum->detail, sizeof(sum->detail), "each for a reason of its own");
}

void holder_report_finish(struct holder_report *report)
{
	size_t kept = 0;

	if (!report->count)
		return;
	qsort(report->holders, report->count, sizeof(*report->holders), compare);
	for (size_t first = 0, end; first < report->count; first = end) {
		struct holder *holders = &report->holders[first];
		size_t told = 0;

		for (end = first; end < report->count && report->holders[end].class == holders->class; end++)
			continue;
		told = end - first;
		/* A sum of one would hide its name and say no less. */
		if (told > HOLDER_CLASS_ENTRIES_MAX + 1) {
			sum_up(&holders[HOLDER_CLASS_ENTRIES_MAX], told - HOLDER_CLASS_ENTRIES_MAX);
			told = HOLDER_CLASS_ENTRIES_MAX + 1;
		}
		memmove(&report->holders[kept], holders, told * sizeof(*holders));
		kept += told;
	}
	report->count = kept;
}

uint64_t holder_report_bytes(const struct holder_report *report)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < report->count; i++)
		bytes += report->holders[i].entry.bytes;
	return bytes;
}
