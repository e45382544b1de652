/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything between a request's head and its handler: routes, query, body; and that the
 * description of the API says the same as the tables.
 */
#include "routes.h"

#include <string.h>
#include "body_schema.h"
#include "openapi_text.h"
#include "problem.h"
#include "query.h"
#include "remainder.h"
#include "unit.h"
#include "wish_body.h"

static struct snapshot_guest guest(void)
{
	struct snapshot_guest guest = {.uuid = "11111111-1111-1111-1111-111111111111",
				       .name = "g1"};

	guest.cell_count = 2;
	guest.cells[0] = (struct snapshot_cell){.id = 0, .bytes = 1000};
	guest.cells[1] = (struct snapshot_cell){.id = 1, .bytes = 0};
	guest.device_count = 2;
	snprintf(guest.devices[0].alias, SNAPSHOT_NAME_SIZE, "virtiomem0");
	guest.devices[0].size_bytes = 4000;
	snprintf(guest.devices[1].alias, SNAPSHOT_NAME_SIZE, "virtiomem1");
	guest.devices[1].size_bytes = 4000;
	return guest;
}

static void test_routes(void)
{
	struct route_table tables[ROUTES_TABLE_COUNT];
	struct route_match match;

	routes_all(tables);
	router_find(tables, ROUTES_TABLE_COUNT, HTTP_METHOD_GET, "/v1/guests/my%20guest/memory",
		    &match);
	CHECK_TRUE(match.route != NULL);
	CHECK_STR(match.id, "my guest");
	router_find(tables, ROUTES_TABLE_COUNT, HTTP_METHOD_DELETE, "/v1/guests/g1/memory", &match);
	CHECK_TRUE(match.route == NULL);
	CHECK_STR(match.allow, "GET, PATCH");
	static const char *const nowhere[] = {"/",
					      "/v1",
					      "/v1/",
					      "/v1/guests/",
					      "/v1//guests",
					      "/v1/guests/g1/",
					      "/v1/guests/g1/memory/x",
					      "/v1/hint",
					      "/v1/Guests",
					      "/v1/guests/../x",
					      "/v1%2fguests",
					      "/metrics/",
					      "/v1/operations/a/b"};

	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		router_find(tables, ROUTES_TABLE_COUNT, HTTP_METHOD_GET, nowhere[i], &match);
		CHECK_STR(match.allow, "");
	}
}

static void test_query(void)
{
	char detail[QUERY_DETAIL_SIZE];
	struct query query;

	CHECK_INT(query_parse("", 0, &query, detail), 0);
	CHECK_INT(query.page_size, QUERY_PAGE_SIZE);
	CHECK_INT(query_parse("fresh=true&page_size=5000",
			      QUERY_TAKES(FRESH) | QUERY_TAKES(PAGE_SIZE), &query, detail),
		  0);
	CHECK_TRUE(query.fresh);
	CHECK_INT(query.page_size, QUERY_PAGE_MAX);
	CHECK_INT(query_parse("start=0x1000&end=8192", QUERY_TAKES(START) | QUERY_TAKES(END),
			      &query, detail),
		  0);
	CHECK_INT(query.start, 4096);
	CHECK_INT(query.end, 8192);
	CHECK_INT(query_parse("wait=100000", QUERY_TAKES(WAIT), &query, detail), 0);
	CHECK_INT(query.wait_s, QUERY_WAIT_MAX_S);
	CHECK_INT(query_parse("expect_plan=7f2c", QUERY_TAKES(EXPECT_PLAN), &query, detail), 0);
	CHECK_STR(query.expect_plan, "7f2c");
	CHECK_INT(query.timeout_s, 0);
	CHECK_INT(query_parse("timeout_s=604800", QUERY_TAKES(TIMEOUT), &query, detail), 0);
	CHECK_INT(query.timeout_s, 604800);
	static const char *const bad[] = {"dryrun=true",    "dry_run=1",
					  "dry_run",	    "dry_run=true&dry_run=true",
					  "dry_run=true&",  "&dry_run=true",
					  "=true",	    "dry_run=%zz",
					  "node=64",	    "node=-1",
					  "node=1x",	    "page_size=0",
					  "expect_plan=XY", "expect_plan=7",
					  "wait=1s",	    "start=0x",
					  "timeout_s=0",    "timeout_s=604801",
					  "page=",	    "expect_plan=12345678123456781"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_INT(query_parse(bad[i], UINT32_MAX, &query, detail), -EINVAL);
	CHECK_INT(query_parse("fresh=true", QUERY_TAKES(DRY_RUN), &query, detail), -EINVAL);
}

enum body_kind { BODY_RESIZE, BODY_MOVE, BODY_DRAIN, BODY_POLICY, BODY_CANCEL, BODY_CHECK };

static int parse_body(enum body_kind kind, const char *text, struct wish *wish,
		      struct body_error *error)
{
	const struct snapshot_guest who = guest();
	struct rest_guest_policy policy;
	json_t *body = NULL;
	bool undo;
	int result = body_schema_parse(text, strlen(text), &body, error);

	if (result == 0)
		switch (kind) {
		case BODY_RESIZE:
			result = wish_body_resize(body, &who, wish, error);
			break;
		case BODY_MOVE:
			result = wish_body_move(body, &who, wish, error);
			break;
		case BODY_DRAIN:
			result = wish_body_drain(body, wish, error);
			break;
		case BODY_POLICY:
			result = wish_body_policy(body, &policy, error);
			break;
		case BODY_CANCEL:
			result = wish_body_cancel(body, false, &undo, error);
			break;
		case BODY_CHECK:
			result = wish_body_check(body, wish, error);
			break;
		}
	json_decref(body);
	return result;
}

/* jansson would pass over it: "1\0" and "1" would be the same number. */
static void test_zero_bytes(void)
{
	static const char text[] = "{\"target_bytes\": 1\0}";
	struct body_error error;
	json_t *body = NULL;

	CHECK_TRUE(body_schema_parse(text, sizeof(text) - 1, &body, &error) < 0);
	CHECK_INT(error.code, PROBLEM_MALFORMED_JSON);
	CHECK_TRUE(body == NULL);
}

static void test_bad_bodies(void)
{
	static const struct {
		enum body_kind kind;
		const char *text;
		enum problem_code code;
		const char *pointer;
	} rows[] = {
		{BODY_RESIZE, "", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "{", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "{\"target_bytes\":1}x", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "{\"target_bytes\":1,\"target_bytes\":2}", PROBLEM_MALFORMED_JSON,
		 ""},
		{BODY_RESIZE, "{\"target_bytes\":\"\\u0000\"}", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "{\"target_bytes\":99999999999999999999}", PROBLEM_MALFORMED_JSON,
		 ""},
		{BODY_RESIZE, "{'target_bytes':1}", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "[[[[[[[[[[[[[[[[[", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "[]", PROBLEM_INVALID_BODY, ""},
		{BODY_RESIZE, "null", PROBLEM_MALFORMED_JSON, ""},
		{BODY_RESIZE, "{}", PROBLEM_INVALID_BODY, ""},
		{BODY_RESIZE, "{\"target_bytes\":\"4GiB\"}", PROBLEM_INVALID_BODY, "/target_bytes"},
		{BODY_RESIZE, "{\"target_bytes\":1.0}", PROBLEM_INVALID_BODY, "/target_bytes"},
		{BODY_RESIZE, "{\"target_bytes\":-1}", PROBLEM_INVALID_BODY, "/target_bytes"},
		{BODY_RESIZE, "{\"target_bytes\":null}", PROBLEM_INVALID_BODY, "/target_bytes"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"sise\":1}", PROBLEM_INVALID_BODY, "/sise"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"a/b~c\":1}", PROBLEM_INVALID_BODY, "/a~1b~0c"},
		{BODY_RESIZE,
		 "{\"target_bytes\":1,\"devices\":[{\"alias\":\"a\",\"requested_bytes\":1}]}",
		 PROBLEM_INVALID_BODY, ""},
		{BODY_RESIZE, "{\"devices\":[]}", PROBLEM_INVALID_BODY, "/devices"},
		{BODY_RESIZE, "{\"devices\":[1]}", PROBLEM_INVALID_BODY, "/devices/0"},
		{BODY_RESIZE, "{\"devices\":[{\"alias\":\"a\"}]}", PROBLEM_INVALID_BODY,
		 "/devices/0/requested_bytes"},
		{BODY_RESIZE, "{\"devices\":[{\"alias\":\"a\\n\",\"requested_bytes\":1}]}",
		 PROBLEM_INVALID_BODY, "/devices/0/alias"},
		{BODY_RESIZE,
		 "{\"devices\":[{\"alias\":\"a\",\"requested_bytes\":1},{\"alias\":\"a\","
		 "\"requested_bytes\":2}]}",
		 PROBLEM_INVALID_BODY, "/devices/1"},
		{BODY_RESIZE, "{\"cells\":[{\"cell\":7,\"target_bytes\":1}]}",
		 PROBLEM_INVALID_TARGET, "/cells/0"},
		{BODY_RESIZE, "{\"cells\":[{\"cell\":0,\"target_bytes\":1}]}", PROBLEM_BELOW_BASE,
		 "/cells/0"},
		{BODY_RESIZE, "{\"cells\":[{\"cell\":1,\"target_bytes\":1}]}",
		 PROBLEM_NO_MEMORY_DEVICE, "/cells/0"},
		{BODY_RESIZE, "{\"cells\":[{\"cell\":0,\"target_bytes\":9001}]}",
		 PROBLEM_ABOVE_MAXIMUM, "/cells/0"},
		{BODY_RESIZE, "{\"ranges\":[{\"start\":0,\"end\":1}]}", PROBLEM_INVALID_BODY, ""},
		{BODY_RESIZE, "{\"target_bytes\":1,\"ranges\":[]}", PROBLEM_INVALID_BODY, "/ranges"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"ranges\":[7]}", PROBLEM_INVALID_BODY, "/ranges/0"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"ranges\":[{\"start\":0}]}", PROBLEM_INVALID_BODY,
		 "/ranges/0/end"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"ranges\":[{\"start\":2,\"end\":2}]}", PROBLEM_INVALID_BODY,
		 "/ranges/0"},
		{BODY_RESIZE,
		 "{\"target_bytes\":1,\"ranges\":[{\"start\":2,\"end\":4},{\"start\":3,\"end\":5}]}",
		 PROBLEM_INVALID_BODY, "/ranges/1"},
		{BODY_RESIZE,
		 "{\"target_bytes\":1,\"ranges\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}",
		 PROBLEM_INVALID_BODY, "/ranges"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"budget\":{}}", PROBLEM_INVALID_BODY, "/budget/work_percent"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"budget\":{\"work_percent\":101}}", PROBLEM_INVALID_BODY,
		 "/budget/work_percent"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"budget\":{\"bytes_per_s\":1}}", PROBLEM_INVALID_BODY,
		 "/budget/bytes_per_s"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"allow\":[\"everything\"]}",
		 PROBLEM_INVALID_BODY, "/allow/0"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"timeout_s\":0}", PROBLEM_INVALID_BODY,
		 "/timeout_s"},
		{BODY_RESIZE, "{\"target_bytes\":1,\"on_timeout\":\"default\"}",
		 PROBLEM_INVALID_BODY, "/on_timeout"},
		{BODY_MOVE, "{\"nodes\":[64]}", PROBLEM_INVALID_BODY, "/nodes/0"},
		{BODY_MOVE, "{\"nodes\":[1],\"map\":{\"0\":1}}", PROBLEM_INVALID_BODY, ""},
		{BODY_MOVE, "{\"map\":{}}", PROBLEM_INVALID_BODY, "/map"},
		{BODY_MOVE, "{\"map\":{\"x\":1}}", PROBLEM_INVALID_BODY, "/map"},
		{BODY_MOVE, "{\"map\":{\"0\":1,\"00\":2}}", PROBLEM_INVALID_BODY, "/map/00"},
		{BODY_MOVE, "{\"cells\":{\"16\":1}}", PROBLEM_INVALID_BODY, "/cells"},
		{BODY_MOVE, "{\"near_cpus\":false}", PROBLEM_INVALID_BODY, "/near_cpus"},
		{BODY_MOVE, "{\"nodes\":[1],\"cpus\":1}", PROBLEM_INVALID_BODY, "/cpus"},
		{BODY_MOVE, "{\"nodes\":[1],\"budget\":{\"mib_per_s\":1}}", PROBLEM_INVALID_BODY,
		 "/budget/mib_per_s"},
		{BODY_MOVE, "{\"nodes\":[1],\"budget\":[]}", PROBLEM_INVALID_BODY, "/budget"},
		{BODY_MOVE, "{\"nodes\":[1],\"budget\":{\"stall_us\":0}}", PROBLEM_INVALID_BODY,
		 "/budget/stall_us"},
		{BODY_MOVE, "{\"nodes\":[1],\"budget\":{\"stall_us\":4294967296}}",
		 PROBLEM_INVALID_BODY, "/budget/stall_us"},
		{BODY_MOVE, "{\"nodes\":[1],\"budget\":{\"bytes_per_s\":-1}}", PROBLEM_INVALID_BODY,
		 "/budget/bytes_per_s"},
		{BODY_MOVE, "{\"nodes\":[1],\"order\":\"warm\"}", PROBLEM_INVALID_BODY, "/order"},
		{BODY_MOVE, "{\"nodes\":[1],\"order\":2}", PROBLEM_INVALID_BODY, "/order"},
		{BODY_MOVE, "{\"nodes\":[1],\"lazy\":\"yes\"}", PROBLEM_INVALID_BODY, "/lazy"},
		{BODY_MOVE, "{\"nodes\":[1],\"near_cpus\":true}", PROBLEM_INVALID_BODY, ""},
		{BODY_MOVE, "{\"nodes\":[]}", PROBLEM_INVALID_BODY, "/nodes"},
		{BODY_MOVE, "{\"map\":{\"0\":64}}", PROBLEM_INVALID_BODY, "/map/0"},
		{BODY_MOVE, "{\"cells\":{\"0\":-1}}", PROBLEM_INVALID_BODY, "/cells/0"},
		{BODY_MOVE, "{\"cells\":{\"0\":1},\"allow\":[\"shrink\"]}", PROBLEM_INVALID_BODY,
		 "/allow/0"},
		{BODY_MOVE, "{}", PROBLEM_INVALID_BODY, ""},
		{BODY_DRAIN, "{\"target\":{\"node\":1}}", PROBLEM_INVALID_BODY, "/finish"},
		{BODY_DRAIN, "{\"target\":{},\"finish\":\"empty\"}", PROBLEM_INVALID_BODY,
		 "/target"},
		{BODY_DRAIN, "{\"target\":{\"node\":1,\"dimm\":\"x\"},\"finish\":\"empty\"}",
		 PROBLEM_INVALID_BODY, "/target"},
		{BODY_DRAIN, "{\"target\":{\"start\":1},\"finish\":\"empty\"}",
		 PROBLEM_INVALID_BODY, "/target/end"},
		{BODY_DRAIN, "{\"target\":{\"node\":1,\"end\":5},\"finish\":\"empty\"}",
		 PROBLEM_INVALID_BODY, "/target/end"},
		{BODY_DRAIN, "{\"target\":{\"start\":2,\"end\":2},\"finish\":\"empty\"}",
		 PROBLEM_INVALID_BODY, "/target/end"},
		{BODY_DRAIN, "{\"target\":{\"node\":1},\"finish\":\"burn\"}", PROBLEM_INVALID_BODY,
		 "/finish"},
		{BODY_DRAIN,
		 "{\"target\":{\"node\":1},\"finish\":\"empty\",\"not_before\":\"2030-01-31 "
		 "12:00:00Z\"}",
		 PROBLEM_INVALID_BODY, "/not_before"},
		{BODY_POLICY, "{\"online_policy\":\"unset\"}", PROBLEM_INVALID_BODY, "/online_policy"},
		{BODY_POLICY, "{\"online_policy\":\"online\"}", PROBLEM_INVALID_BODY, "/online_policy"},
		{BODY_POLICY, "{\"zone_repair\":\"yes\"}", PROBLEM_INVALID_BODY, "/zone_repair"},
		{BODY_POLICY, "{\"minimum_bytes\":2,\"maximum_bytes\":1}", PROBLEM_INVALID_BODY,
		 "/minimum_bytes"},
		{BODY_POLICY, "{\"priority\":null}", PROBLEM_INVALID_BODY, "/priority"},
		{BODY_CANCEL, "{\"undo\":\"yes\"}", PROBLEM_INVALID_BODY, "/undo"},
		{BODY_CHECK, "{\"deep\":true}", PROBLEM_INVALID_BODY, "/deep"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct body_error error = {0};
		struct wish wish;

		if (parse_body(rows[i].kind, rows[i].text, &wish, &error) != -EINVAL ||
		    error.code != rows[i].code || strcmp(error.pointer, rows[i].pointer) != 0)
			printf("  row %zu: %s -> %s %s\n", i, rows[i].text,
			       problem_code_name(error.code), error.detail);
		CHECK_INT(error.code, rows[i].code);
		CHECK_STR(error.pointer, rows[i].pointer);
	}
}

static void test_wishes(void)
{
	struct body_error error;
	struct wish wish;
	uint64_t ms;

	CHECK_INT(
		parse_body(
			BODY_RESIZE,
			"{\"target_bytes\":4294967296,\"timeout_s\":60,\"on_timeout\":\"restore\"}",
			&wish, &error),
		0);
	CHECK_INT(wish.kind, OPERATION_KIND_RESIZE);
	CHECK_INT(wish.resize.target_bytes, 4294967296);
	CHECK_INT(wish.timeout_s, 60);
	CHECK_INT(wish.on_timeout, ON_TIMEOUT_RESTORE);
	CHECK_INT(parse_body(BODY_RESIZE, "{\"cells\":[{\"cell\":0,\"target_bytes\":6000}]}", &wish,
			     &error),
		  0);
	CHECK_INT(wish.resize.device_count, 2);
	CHECK_INT(wish.resize.devices[0].requested_bytes, 4000);
	CHECK_INT(wish.resize.devices[1].requested_bytes, 1000);
	CHECK_INT(parse_body(BODY_RESIZE,
			     "{\"target_bytes\":6000,\"ranges\":[{\"start\":4096,\"end\":8192},"
			     "{\"start\":0,\"end\":4096}]}",
			     &wish, &error),
		  0);
	CHECK_INT(wish.resize.range_count, 2);
	CHECK_INT(wish.resize.ranges[0].start, 4096);
	CHECK_INT(wish.resize.ranges[1].end, 4096);
	CHECK_INT(parse_body(BODY_MOVE,
			     "{\"map\":{\"0\":2,\"1\":3},\"cpus\":true,\"budget\":{\"stall_us\":5},"
			     "\"allow\":[\"stored_xml\"]}",
			     &wish, &error),
		  0);
	CHECK_INT(wish.move.form, MOVE_FORM_MAP);
	CHECK_INT(wish.move.map[0], 2);
	CHECK_INT(wish.move.map[1], 3);
	CHECK_INT(wish.move.map[2], -1);
	CHECK_TRUE(wish.move.cpus);
	CHECK_INT(wish.move.budget_stall_us, 5);
	CHECK_INT(wish.allow, 1u << CONSENT_STORED_XML);
	CHECK_INT(wish.move.order, MOVE_ORDER_ANY);
	CHECK_TRUE(!wish.move.lazy && !wish.move.persist);
	CHECK_INT(parse_body(BODY_MOVE,
			     "{\"near_cpus\":true,\"lazy\":true,\"order\":\"cold_first\","
			     "\"persist\":true,\"budget\":{\"bytes_per_s\":7}}",
			     &wish, &error),
		  0);
	CHECK_INT(wish.move.form, MOVE_FORM_NEAR_CPUS);
	CHECK_INT(wish.move.order, MOVE_ORDER_COLD_FIRST);
	CHECK_TRUE(wish.move.lazy && wish.move.persist);
	CHECK_INT(wish.move.budget_bytes_per_s, 7);
	CHECK_INT(wish.move.budget_stall_us, 0);
	CHECK_INT(parse_body(BODY_MOVE, "{\"nodes\":[0,63]}", &wish, &error), 0);
	CHECK_TRUE(wish.move.to_nodes == (1 | UINT64_C(1) << 63));
	CHECK_INT(parse_body(BODY_DRAIN,
			     "{\"target\":{\"dimm\":\"acpi-MP00\"},\"finish\":\"eject\",\"reason\":"
			     "\"bad\"}",
			     &wish, &error),
		  0);
	CHECK_INT(wish.drain_wish.target, DRAIN_TARGET_DIMM);
	CHECK_INT(wish.drain_wish.finish, DRAIN_FINISH_EJECT);
	CHECK_STR(wish.drain_wish.reason, "bad");
	CHECK_INT(wish_body_parse_time("1970-01-01T00:00:01.25Z", &ms), 0);
	CHECK_INT(ms, 1250);
	CHECK_INT(wish_body_parse_time("1970-01-01T02:00:01+02:00", &ms), 0);
	CHECK_INT(ms, 1000);
	static const char *const times[] = {"1970-01-01T00:00:01",
					    "1970-01-01T00:00:01.Z",
					    "1970-13-01T00:00:01Z",
					    "",
					    "x",
					    "1970-01-01T00:00:01+2:00",
					    "1970-01-01T00:00:01+25:00",
					    "1960-01-01T00:00:01Z"};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		CHECK_INT(wish_body_parse_time(times[i], &ms), -EINVAL);
}

static json_t *description(void)
{
	json_t *document =
		json_loadb(openapi_text, openapi_text_size, JSON_REJECT_DUPLICATES, NULL);

	assert(document);
	return document;
}

static const char *const methods[HTTP_METHOD_COUNT] = {
	[HTTP_METHOD_GET] = "get",     [HTTP_METHOD_POST] = "post",	[HTTP_METHOD_PUT] = "put",
	[HTTP_METHOD_PATCH] = "patch", [HTTP_METHOD_DELETE] = "delete",
};

static bool takes_parameter(const json_t *document, const json_t *operation, const char *name,
			    const char *in)
{
	size_t index;
	json_t *item;

	json_array_foreach(json_object_get(operation, "parameters"), index, item)
	{
		const char *reference = json_string_value(json_object_get(item, "$ref"));
		const json_t *parameter = json_object_get(
			json_object_get(json_object_get(document, "components"), "parameters"),
			strrchr(reference, '/') + 1);

		if (strcmp(json_string_value(json_object_get(parameter, "name")), name) == 0 &&
		    strcmp(json_string_value(json_object_get(parameter, "in")), in) == 0)
			return true;
	}
	return false;
}

/* Each route with its query and body is described, and nothing else is. */
static void test_description_of_routes(void)
{
	json_t *document = description();
	struct route_table tables[ROUTES_TABLE_COUNT];
	size_t described = 0, routes = 0;
	const char *path;
	json_t *item;

	routes_all(tables);
	json_object_foreach(json_object_get(document, "paths"), path, item) described +=
		json_object_size(item);
	for (size_t t = 0; t < ROUTES_TABLE_COUNT; t++)
		for (size_t i = 0; i < tables[t].count; i++) {
			const struct route *route = &tables[t].routes[i];
			const json_t *operation = json_object_get(
				json_object_get(json_object_get(document, "paths"), route->pattern),
				methods[route->method]);

			routes++;
			if (!operation)
				printf("  %s %s is not described\n",
				       http_method_name(route->method), route->pattern);
			CHECK_TRUE(operation != NULL);
			CHECK_INT(route->body != ROUTE_BODY_NONE,
				  json_object_get(operation, "requestBody") != NULL);
			for (int key = 0; key < QUERY_KEY_COUNT; key++)
				CHECK_INT((route->queries >> key) & 1,
					  takes_parameter(document, operation,
							  query_key_name((enum query_key)key),
							  "query"));
		}
	CHECK_INT(described, routes);
	json_decref(document);
}

static bool has_text(const json_t *array, const char *text)
{
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)array, index,
			   item) if (json_is_string(item) &&
				     strcmp(json_string_value(item), text) == 0) return true;
	printf("  %s is not described\n", text);
	return false;
}

static void test_description_of_codes(void)
{
	json_t *document = description();
	const json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
	const json_t *problem = json_object_get(json_object_get(schemas, "Problem"), "properties");
	const json_t *remainder =
		json_object_get(json_object_get(schemas, "Remainder"), "properties");
	const json_t *codes = json_object_get(json_object_get(problem, "code"), "enum");
	const json_t *reasons = json_object_get(json_object_get(remainder, "code"), "enum");
	const json_t *consents = json_object_get(
		json_object_get(json_object_get(schemas, "Consents"), "items"), "enum");
	const json_t *steps = json_object_get(
		json_object_get(json_object_get(json_object_get(schemas, "Step"), "properties"),
				"kind"),
		"enum");

	CHECK_INT(json_array_size(codes), PROBLEM_COUNT - 1);
	for (int code = PROBLEM_NONE + 1; code < PROBLEM_COUNT; code++) {
		CHECK_TRUE(has_text(codes, problem_code_name((enum problem_code)code)));
		CHECK_TRUE(strcmp(problem_status_phrase(problem_status((enum problem_code)code)),
				  "Unknown") != 0);
	}
	CHECK_INT(json_array_size(reasons), REMAINDER_CODE_COUNT - 1);
	for (int code = REMAINDER_NONE + 1; code < REMAINDER_CODE_COUNT; code++)
		CHECK_TRUE(has_text(reasons, remainder_code_name((enum remainder_code)code)));
	CHECK_INT(json_array_size(consents), CONSENT_COUNT);
	for (int consent = 0; consent < CONSENT_COUNT; consent++)
		CHECK_TRUE(has_text(consents, consent_name((enum consent)consent)));
	for (int kind = 0; kind < STEP_KIND_COUNT; kind++)
		CHECK_TRUE(has_text(steps, step_kind_name((enum step_kind)kind)));
	json_decref(document);
}

static void test_problem_from_failure(void)
{
	struct failure failure = {0};

	failure_set(&failure, EPERM, "guest g1", "cannot resize");
	CHECK_INT(problem_from_failure(&failure, -EPERM), PROBLEM_REFUSED);
	failure_set_code(&failure, "no_room");
	CHECK_INT(problem_from_failure(&failure, -EPERM), PROBLEM_NO_ROOM);
	failure_set_code(&failure, "something_else");
	CHECK_INT(problem_from_failure(&failure, -EPERM), PROBLEM_REFUSED);
	static const struct {
		int error, status;
	} rows[] = {{ENOENT, 404},   {EPERM, 422},     {EINVAL, 422}, {EBUSY, 409}, {EIO, 502},
		    {ENOTCONN, 503}, {ETIMEDOUT, 504}, {EFAULT, 500}, {0, 500}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_INT(problem_status(problem_from_failure(NULL, -rows[i].error)),
			  rows[i].status);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"routes", test_routes},
		{"query", test_query},
		{"zero bytes", test_zero_bytes},
		{"bad bodies", test_bad_bodies},
		{"wishes", test_wishes},
		{"description of routes", test_description_of_routes},
		{"description of codes", test_description_of_codes},
		{"problem from failure", test_problem_from_failure},
	};

	return unit_main("rest_request", cases, sizeof(cases) / sizeof(cases[0]));
}
