/* SPDX-License-Identifier: Apache-2.0 */
#include "page_runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* While they are gathered more are kept, so that joining happens seldom. */
#define GATHER_MAX (16 * PAGE_RUNS_MAX)

void page_runs_done(struct page_runs *runs)
{
	free(runs->runs);
	memset(runs, 0, sizeof(*runs));
}

static int compare_gaps(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int page_runs_limit(struct page_runs *runs, size_t limit)
{
	size_t kept = 0, excess, joined = 0;
	uint64_t *gaps, threshold;

	if (runs->count <= limit)
		return 0;
	excess = runs->count - limit;
	gaps = malloc((runs->count - 1) * sizeof(*gaps));
	if (!gaps)
		return -ENOMEM;
	for (size_t i = 0; i + 1 < runs->count; i++)
		gaps[i] = runs->runs[i + 1].first - runs->runs[i].first - runs->runs[i].count;
	qsort(gaps, runs->count - 1, sizeof(*gaps), compare_gaps);
	threshold = gaps[excess - 1];
	free(gaps);
	for (size_t i = 1; i < runs->count; i++) {
		struct page_runs_run *last = &runs->runs[kept], *next = &runs->runs[i];

		if (joined < excess && next->first - last->first - last->count <= threshold) {
			last->count = next->first + next->count - last->first;
			joined++;
		} else {
			runs->runs[++kept] = *next;
		}
	}
	runs->count = kept + 1;
	runs->is_merged = true;
	return 0;
}

int page_runs_add(struct page_runs *runs, uint64_t start, uint64_t end)
{
	uint64_t first = start / PAGE_RUNS_UNIT, count = (end - start) / PAGE_RUNS_UNIT;

	if (runs->count) {
		struct page_runs_run *last = &runs->runs[runs->count - 1];

		if (last->first + last->count == first) {
			last->count += count;
			return 0;
		}
	}
	if (runs->count == GATHER_MAX) {
		int rc = page_runs_limit(runs, PAGE_RUNS_MAX);

		if (rc)
			return rc;
	}
	if (runs->count == runs->room) {
		size_t room = runs->room ? 2 * runs->room : 64;
		struct page_runs_run *grown = realloc(runs->runs, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		runs->runs = grown;
		runs->room = room;
	}
	runs->runs[runs->count++] = (struct page_runs_run){first, count};
	return 0;
}

json_t *page_runs_to_json(const struct page_runs *runs)
{
	json_t *list = json_array();

	for (size_t i = 0; i < runs->count; i++) {
		json_t *run = json_pack("[I, I]", (json_int_t)runs->runs[i].first,
					(json_int_t)runs->runs[i].count);

		if (!run || json_array_append_new(list, run)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int page_runs_parse(const json_t *json, struct page_runs *ret_runs)
{
	struct page_runs runs = {0};
	int rc = 0;

	if (!json_is_array(json) || json_array_size(json) > PAGE_RUNS_MAX)
		return -EINVAL;
	for (size_t i = 0; !rc && i < json_array_size(json); i++) {
		const json_t *run = json_array_get(json, i);
		json_int_t first = json_integer_value(json_array_get(run, 0)),
			   count = json_integer_value(json_array_get(run, 1));
		uint64_t last_end = runs.count ? runs.runs[runs.count - 1].first +
							 runs.runs[runs.count - 1].count
					       : 0;

		/* Below 2^51 pages: addresses have at most 57 bits. */
		if (json_array_size(run) != 2 || first < 0 || count < 1 || first >> 51 ||
		    count >> 51 || (uint64_t)first < last_end)
			rc = -EINVAL;
		else
			rc = page_runs_add(&runs, (uint64_t)first * PAGE_RUNS_UNIT,
					   (uint64_t)(first + count) * PAGE_RUNS_UNIT);
	}
	if (rc)
		page_runs_done(&runs);
	else
		*ret_runs = runs;
	return rc;
}
