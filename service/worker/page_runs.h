/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded list of page runs. Where there are too many, those with the smallest gaps between them are joined.
 */
#ifndef BALLAST_SERVICE_PAGE_RUNS_H
#define BALLAST_SERVICE_PAGE_RUNS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages are told in this unit, whatever their own size. */
#define PAGE_RUNS_UNIT 4096
#define PAGE_RUNS_MAX  4096

struct page_runs {
	struct page_runs_run {
		uint64_t first, count; /* in units */
	} *runs; /* owned; ascending, not touching */
	size_t count, room;
	bool is_merged; /* gaps were joined: some pages in it did not belong */
};

void page_runs_done(struct page_runs *runs);
/* Ascending addresses only. 0 or -ENOMEM. */
int page_runs_add(struct page_runs *runs, uint64_t start, uint64_t end);
/* At most limit runs from now on. */
int page_runs_limit(struct page_runs *runs, size_t limit);
json_t *page_runs_to_json(const struct page_runs *runs);
/* Strict: ascending, not overlapping, at most PAGE_RUNS_MAX. 0, -EINVAL or -ENOMEM. */
int page_runs_parse(const json_t *json, struct page_runs *ret_runs);

#endif
