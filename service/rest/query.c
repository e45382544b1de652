/* SPDX-License-Identifier: Apache-2.0 */
#include "query.h"

#include <errno.h>
#include <string.h>
#include "http_head.h"
#include "size_text.h"
#include "wish_body.h"

static const char *const key_names[QUERY_KEY_COUNT] = {
	[QUERY_KEY_FRESH] = "fresh",
	[QUERY_KEY_DRY_RUN] = "dry_run",
	[QUERY_KEY_EXPECT_PLAN] = "expect_plan",
	[QUERY_KEY_WAIT] = "wait",
	[QUERY_KEY_PAGE] = "page",
	[QUERY_KEY_PAGE_SIZE] = "page_size",
	[QUERY_KEY_DIMM] = "dimm",
	[QUERY_KEY_NODE] = "node",
	[QUERY_KEY_START] = "start",
	[QUERY_KEY_END] = "end",
	[QUERY_KEY_TIMEOUT] = "timeout_s",
	[QUERY_KEY_KEEP] = "keep",
};
NAME_TABLE_DEFINE(query_key, key_names)

bool query_has(const struct query *query, enum query_key key)
{
	return query->given & (1u << key);
}

static int parse_bool(const char *value, bool *ret_value)
{
	if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		return -EINVAL;
	*ret_value = value[0] == 't';
	return 0;
}

static int parse_number(const char *value, uint64_t minimum, uint64_t maximum, uint64_t *ret_value)
{
	/* Physical addresses are told in hexadecimal nearly everywhere. */
	int base = value[0] == '0' && value[1] == 'x' ? 16 : 10;
	uint64_t number;

	if (size_text_parse_number(value, base, &number) < 0 || number < minimum ||
	    number > maximum)
		return -EINVAL;
	*ret_value = number;
	return 0;
}

static int copy_text(char *to, size_t size, const char *value)
{
	if (value[0] == '\0' || strlen(value) >= size)
		return -EINVAL;
	memcpy(to, value, strlen(value) + 1);
	return 0;
}

static int set_value(struct query *query, enum query_key key, const char *value,
		     const char **ret_expected)
{
	uint64_t number = 0;
	int error = 0;

	switch (key) {
	case QUERY_KEY_FRESH:
		*ret_expected = "true or false";
		return parse_bool(value, &query->fresh);
	case QUERY_KEY_DRY_RUN:
		*ret_expected = "true or false";
		return parse_bool(value, &query->dry_run);
	case QUERY_KEY_EXPECT_PLAN:
		*ret_expected = "a plan's digest, 4 to 16 hexadecimal digits";
		if (strlen(value) < 4 || strspn(value, "0123456789abcdef") != strlen(value))
			return -EINVAL;
		return copy_text(query->expect_plan, sizeof(query->expect_plan), value);
	case QUERY_KEY_WAIT:
		*ret_expected = "seconds";
		error = parse_number(value, 0, UINT32_MAX, &number);
		query->wait_s = (uint32_t)(number > QUERY_WAIT_MAX_S ? QUERY_WAIT_MAX_S : number);
		return error;
	case QUERY_KEY_PAGE:
		*ret_expected = "the next of an earlier answer";
		return copy_text(query->page, sizeof(query->page), value);
	case QUERY_KEY_PAGE_SIZE:
		*ret_expected = "a number from 1";
		error = parse_number(value, 1, UINT32_MAX, &number);
		query->page_size = (uint32_t)(number > QUERY_PAGE_MAX ? QUERY_PAGE_MAX : number);
		return error;
	case QUERY_KEY_DIMM:
		*ret_expected = "a DIMM's id";
		return copy_text(query->dimm, sizeof(query->dimm), value);
	case QUERY_KEY_NODE:
		*ret_expected = "a node's number";
		error = parse_number(value, 0, SNAPSHOT_NODES_MAX - 1, &number);
		query->node = (int)number;
		return error;
	case QUERY_KEY_START:
		*ret_expected = "a physical address";
		return parse_number(value, 0, INT64_MAX, &query->start);
	case QUERY_KEY_END:
		*ret_expected = "a physical address";
		return parse_number(value, 1, INT64_MAX, &query->end);
	case QUERY_KEY_TIMEOUT:
		*ret_expected = "seconds, of a week at most";
		error = parse_number(value, 1, WISH_BODY_TIMEOUT_MAX_S, &number);
		query->timeout_s = (uint32_t)number;
		return error;
	case QUERY_KEY_KEEP:
		*ret_expected = "true or false";
		return parse_bool(value, &query->keep);
	case QUERY_KEY_COUNT:
		break;
	}
	return -EINVAL;
}

static void list_keys(uint32_t takes, char *text, size_t size)
{
	size_t used = 0;

	snprintf(text, size, "none");
	for (int key = 0; key < QUERY_KEY_COUNT && used < size; key++)
		if (takes & (1u << key))
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
						 key_names[key]);
}

int query_parse(const char *text, uint32_t takes, struct query *ret_query,
		char detail[QUERY_DETAIL_SIZE])
{
	struct query query = {.page_size = QUERY_PAGE_SIZE, .node = -1};

	while (*text) {
		size_t length = strcspn(text, "&");
		const char *equals = memchr(text, '=', length), *expected = "";
		char name[32], value[256], known[96];

		if (!equals ||
		    http_head_decode(text, (size_t)(equals - text), name, sizeof(name)) < 0 ||
		    http_head_decode(equals + 1, length - (size_t)(equals + 1 - text), value,
				     sizeof(value)) < 0) {
			snprintf(detail, QUERY_DETAIL_SIZE,
				 "the query must be key=value, with & between them");
			return -EINVAL;
		}
		int key = query_key_from_name(name);

		if (key < 0 || !(takes & (1u << key))) {
			list_keys(takes, known, sizeof(known));
			snprintf(detail, QUERY_DETAIL_SIZE,
				 "unknown key \"%s\"; this request takes: %s", name, known);
			return -EINVAL;
		}
		if (query.given & (1u << key)) {
			snprintf(detail, QUERY_DETAIL_SIZE, "%s stands twice", name);
			return -EINVAL;
		}
		if (set_value(&query, (enum query_key)key, value, &expected) < 0) {
			snprintf(detail, QUERY_DETAIL_SIZE, "%s must be %s", name, expected);
			return -EINVAL;
		}
		query.given |= 1u << key;
		text += length;
		if (*text == '&' && *++text == '\0') {
			snprintf(detail, QUERY_DETAIL_SIZE, "the query ends in &");
			return -EINVAL;
		}
	}
	*ret_query = query;
	return 0;
}
