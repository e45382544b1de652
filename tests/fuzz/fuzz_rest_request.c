/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's bytes on their way to a handler: head, route, query, body and wish, without socket and
 * engine.
 */
/* What they check must hold in whatever the build type is. */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "body_schema.h"
#include "hint_body.h"
#include "http_head.h"
#include "query.h"
#include "routes.h"
#include "wish_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted keeps to the bounds that the planners count on. */
static void check_wish(const struct wish *wish)
{
	assert(wish->timeout_s <= WISH_BODY_TIMEOUT_MAX_S);
	assert(wish->allow < 1u << CONSENT_COUNT);
	if (wish->kind == OPERATION_KIND_RESIZE) {
		assert(wish->resize.device_count <= SNAPSHOT_DEVICES_MAX);
		assert(wish->resize.target_bytes <= INT64_MAX);
		assert((wish->resize.target_bytes > 0) != (wish->resize.device_count > 0));
	} else if (wish->kind == OPERATION_KIND_DRAIN &&
		   wish->drain_wish.target == DRAIN_TARGET_RANGE) {
		assert(wish->drain_wish.range.start < wish->drain_wish.range.end);
	}
}

static void parse_body(const char *body, size_t size)
{
	struct snapshot_guest guest = {.uuid = "11111111-1111-1111-1111-111111111111",
				       .cell_count = 1,
				       .cells = {{.bytes = 1000}},
				       .device_count = 1};
	struct rest_guest_policy policy;
	struct memory_hint hint;
	struct body_error error = {0};
	struct wish wish;
	json_t *json;
	bool undo;

	guest.devices[0].size_bytes = 4000;
	if (body_schema_parse(body, size, &json, &error) < 0) {
		assert(error.code != PROBLEM_NONE && error.detail[0]);
		return;
	}
	if (wish_body_resize(json, &guest, &wish, &error) == 0)
		check_wish(&wish);
	if (wish_body_move(json, &guest, &wish, &error) == 0)
		check_wish(&wish);
	if (wish_body_drain(json, &wish, &error) == 0)
		check_wish(&wish);
	if (wish_body_check(json, &wish, &error) == 0)
		check_wish(&wish);
	if (hint_body_parse(json, &hint, &error) == 0)
		assert(hint.risk < HINT_RISK_COUNT && hint.address <= INT64_MAX && (!hint.dimm[0] || !hint.address));
	wish_body_policy(json, &policy, &error);
	wish_body_cancel(json, false, &undo, &error);
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data, *detail = NULL;
	struct route_table tables[ROUTES_TABLE_COUNT];
	size_t scanned = 0, head_size = 0;
	char why[QUERY_DETAIL_SIZE];
	struct route_match match;
	struct http_head head = {0};
	struct query query;

	if (http_head_scan(bytes, size, &scanned, &head_size, &detail) != PROBLEM_NONE) {
		assert(detail);
		return 0;
	}
	if (head_size == 0)
		return 0;
	if (http_head_parse(bytes, head_size, &head, &detail) != PROBLEM_NONE) {
		assert(detail && !head.text);
		return 0;
	}
	assert(head.path[0] == '/' && head.content_length <= HTTP_BODY_MAX);
	assert(!http_head_find(&head, "Transfer-Encoding"));
	routes_all(tables);
	router_find(tables, ROUTES_TABLE_COUNT, head.method, head.path, &match);
	if (match.route)
		query_parse(head.query, match.route->queries, &query, why);
	query_parse(head.query, UINT32_MAX, &query, why);
	/* All that is left: a corpus need not count its bytes. */
	parse_body(bytes + head_size, size - head_size);
	http_head_done(&head);
	return 0;
}
