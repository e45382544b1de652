/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query of a request: a closed list of keys, each with one type. What a route does not take is
 * refused, so that a misspelt dry_run never becomes a real run.
 */
#ifndef BALLAST_SERVICE_QUERY_H
#define BALLAST_SERVICE_QUERY_H

#include <stdbool.h>
#include <stdint.h>
#include "name_table.h"
#include "snapshot.h"

enum query_key {
	QUERY_KEY_FRESH,
	QUERY_KEY_DRY_RUN,
	QUERY_KEY_EXPECT_PLAN,
	QUERY_KEY_WAIT,
	QUERY_KEY_PAGE,
	QUERY_KEY_PAGE_SIZE,
	QUERY_KEY_DIMM,
	QUERY_KEY_NODE,
	QUERY_KEY_START,
	QUERY_KEY_END,
	QUERY_KEY_TIMEOUT,
	QUERY_KEY_KEEP,
	QUERY_KEY_COUNT
};
NAME_TABLE_DECLARE(query_key);

#define QUERY_TAKES(key)  (1u << QUERY_KEY_##key)
#define QUERY_WAIT_MAX_S  60
#define QUERY_PAGE_SIZE	  100
#define QUERY_PAGE_MAX	  1000
#define QUERY_DETAIL_SIZE 192

struct query {
	uint32_t given; /* mask of 1u << key */
	bool fresh, dry_run, keep;
	char expect_plan[17]; /* empty: none */
	uint32_t wait_s;      /* more than QUERY_WAIT_MAX_S is cut to it */
	char page[2 * SNAPSHOT_NAME_SIZE + 1];
	uint32_t page_size; /* 1..QUERY_PAGE_MAX */
	char dimm[SNAPSHOT_NAME_SIZE];
	int node;
	uint64_t start, end;
	uint32_t timeout_s; /* 0: none given */
};

/* Parses text (without '?'), taking only the keys in takes. 0, or -EINVAL with a sentence in
 * detail. */
int query_parse(const char *text, uint32_t takes, struct query *ret_query,
		char detail[QUERY_DETAIL_SIZE]);
bool query_has(const struct query *query, enum query_key key);

#endif
