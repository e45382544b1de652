/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API over its socket, against a scripted host and engine.
 */
#include "rest_world.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include "event_stream.h"
#include "http_head.h"
#include "openapi_text.h"
#include "schema_check.h"
#include "unit.h"

static const char *text_of(const struct reply *reply, const char *key)
{
	return json_string_value(json_object_get(reply->json, key));
}

static bool head_has(const struct reply *reply, const char *text)
{
	return reply->head && strstr(reply->head, text);
}

/* Asks, and checks status and problem code (NULL: no problem). */
static void expect(struct rest_world *world, const char *method, const char *target,
		   const char *headers, const char *body, int status, const char *code)
{
	struct reply reply;

	rest_world_request(world, method, target, headers, body, &reply);
	if (reply.status != status)
		printf("  %s %s: %d %s\n", method, target, reply.status, reply.body);
	CHECK_INT(reply.status, status);
	if (code) {
		CHECK_STR(text_of(&reply, "code"), code);
		CHECK_INT(json_integer_value(json_object_get(reply.json, "status")), status);
		CHECK_TRUE(head_has(&reply, "Content-Type: application/problem+json\r\n"));
		CHECK_TRUE(text_of(&reply, "detail") != NULL);
	}
	reply_done(&reply);
}

/* Every reply is as the description says. */
static void test_replies_fit_description(void)
{
	static const struct {
		const char *method, *pattern, *target, *body, *status;
	} rows[] = {
		{"GET", "/v1/host", "/v1/host", NULL, "200"},
		{"GET", "/v1/nodes", "/v1/nodes", NULL, "200"},
		{"GET", "/v1/nodes/{node}", "/v1/nodes/1", NULL, "200"},
		{"GET", "/v1/dimms", "/v1/dimms?fresh=true", NULL, "200"},
		{"GET", "/v1/dimms/{dimm}", "/v1/dimms/acpi-MP00", NULL, "200"},
		{"GET", "/v1/holders", "/v1/holders?node=1", NULL, "200"},
		{"GET", "/v1/blocks", "/v1/blocks?dimm=acpi-MP00", NULL, "200"},
		{"GET", "/v1/guests", "/v1/guests", NULL, "200"},
		{"GET", "/v1/guests/{guest}", "/v1/guests/g1", NULL, "200"},
		{"GET", "/v1/guests/{guest}", "/v1/guests/db%20%221%22", NULL, "200"},
		{"GET", "/v1/guests/{guest}/memory", "/v1/guests/g1/memory", NULL, "200"},
		{"GET", "/v1/guests/{guest}/blocks", "/v1/guests/g1/blocks", NULL, "200"},
		{"GET", "/v1/guests/{guest}/placement", "/v1/guests/g1/placement", NULL, "200"},
		{"GET", "/v1/guests/{guest}/policy", "/v1/guests/g1/policy", NULL, "200"},
		{"PUT", "/v1/guests/{guest}/policy", "/v1/guests/g1/policy", "{\"priority\":3}",
		 "200"},
		{"POST", "/v1/guests/{guest}/agent", "/v1/guests/g1/agent", NULL, "200"},
		{"PATCH", "/v1/guests/{guest}/memory", "/v1/guests/g1/memory",
		 "{\"target_bytes\":1}", "202"},
		{"PATCH", "/v1/guests/{guest}/memory", "/v1/guests/g1/memory?dry_run=true",
		 "{\"target_bytes\":1}", "200"},
		{"PATCH", "/v1/guests/{guest}/placement", "/v1/guests/g1/placement",
		 "{\"nodes\":[0]}", "202"},
		{"POST", "/v1/drains", "/v1/drains",
		 "{\"target\":{\"node\":1},\"finish\":\"empty\"}", "202"},
		{"GET", "/v1/drains", "/v1/drains", NULL, "200"},
		{"GET", "/v1/drains/{drain}", "/v1/drains/drain-1", NULL, "200"},
		{"DELETE", "/v1/drains/{drain}", "/v1/drains/drain-1", NULL, "202"},
		{"DELETE", "/v1/drains/{drain}", "/v1/drains/drain-1?dry_run=true", NULL, "200"},
		{"GET", "/v1/operations", "/v1/operations", NULL, "200"},
		{"GET", "/v1/operations/{operation}", "/v1/operations/op-1", NULL, "200"},
		{"POST", "/v1/operations/{operation}/cancel", "/v1/operations/op-1/cancel",
		 "{\"undo\":true}", "202"},
		{"POST", "/v1/operations/{operation}/pause", "/v1/operations/op-1/pause", NULL,
		 "202"},
		{"POST", "/v1/operations/{operation}/resume", "/v1/operations/op-1/resume", "{}",
		 "202"},
		{"POST", "/v1/checks", "/v1/checks", NULL, "202"},
		{"GET", "/healthz", "/healthz", NULL, "200"},
		{"GET", "/readyz", "/readyz", NULL, "200"},
	};
	json_t *document = json_loadb(openapi_text, openapi_text_size, 0, NULL);
	struct rest_world world;

	rest_world_setup(&world);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char method[8] = "";
		struct reply reply;
		json_t *schema;

		for (size_t k = 0; rows[i].method[k]; k++)
			method[k] = (char)(rows[i].method[k] | 0x20);
		schema = schema_check_of_reply(document, rows[i].pattern, method, rows[i].status);
		rest_world_request(&world, rows[i].method, rows[i].target, NULL, rows[i].body,
				   &reply);
		if (reply.status != atoi(rows[i].status))
			printf("  %s %s: %d %s\n", rows[i].method, rows[i].target, reply.status,
			       reply.body);
		CHECK_INT(reply.status, atoi(rows[i].status));
		CHECK_TRUE(schema != NULL);
		CHECK_TRUE(reply.json && schema &&
			   schema_check(document, schema, reply.json, rows[i].target, false));
		reply_done(&reply);
	}
	rest_world_teardown(&world);
	json_decref(document);
}

static void test_lists_and_pages(void)
{
	struct rest_world world;
	struct reply reply;
	char target[300];
	json_t *items;

	rest_world_setup(&world);
	rest_world_request(&world, "GET", "/v1/blocks?page_size=10", NULL, NULL, &reply);
	CHECK_INT(json_array_size(json_object_get(reply.json, "items")), 10);
	CHECK_INT(json_integer_value(json_object_get(reply.json, "revision")), 7);
	CHECK_TRUE(head_has(&reply, "ETag: \"7\"\r\n"));
	snprintf(target, sizeof(target), "/v1/blocks?page_size=10&page=%s",
		 text_of(&reply, "next"));
	reply_done(&reply);
	rest_world_request(&world, "GET", target, NULL, NULL, &reply);
	CHECK_INT(json_array_size(json_object_get(reply.json, "items")), 6);
	CHECK_TRUE(json_is_null(json_object_get(reply.json, "next")));
	CHECK_INT(json_integer_value(json_object_get(
			  json_array_get(json_object_get(reply.json, "items"), 0), "id")),
		  10);
	reply_done(&reply);
	expect(&world, "GET", "/v1/blocks?page=7a7a", NULL, NULL, 400, "page_expired");
	expect(&world, "GET", "/v1/blocks?page=xyz", NULL, NULL, 400, "invalid_query");
	rest_world_request(&world, "GET", "/v1/blocks?node=1", NULL, NULL, &reply);
	CHECK_INT(json_array_size(json_object_get(reply.json, "items")), 8);
	reply_done(&reply);
	rest_world_request(&world, "GET", "/v1/holders?node=1", NULL, NULL, &reply);
	CHECK_INT(world.holders_asked.start, 1 << 30);
	CHECK_INT(world.holders_asked.end, UINT64_C(2) << 30);
	CHECK_INT(json_integer_value(json_object_get(reply.json, "size_bytes")), 8192);
	CHECK_INT(json_integer_value(json_object_get(reply.json, "free_bytes")), 3072);
	CHECK_INT(json_integer_value(json_object_get(reply.json, "offline_bytes")), 1024);
	items = json_object_get(reply.json, "items");
	CHECK_INT(json_integer_value(json_object_get(json_array_get(items, 0), "pinned_bytes")), 1024);
	CHECK_TRUE(json_is_null(json_object_get(json_array_get(items, 1), "pinned_bytes")));
	reply_done(&reply);
	/* A DIMM of more pieces than are known of it, whose pages cannot be counted. */
	world.holders_untold = true;
	world.snapshot->dimms[0].ranges_cut = true;
	snprintf(target, sizeof(target), "/v1/holders?dimm=%s", world.snapshot->dimms[0].id);
	rest_world_request(&world, "GET", target, NULL, NULL, &reply);
	CHECK_TRUE(json_is_null(json_object_get(reply.json, "size_bytes")));
	CHECK_STR(json_string_value(json_object_get(json_array_get(json_object_get(reply.json, "items"), 2), "code")),
		  "not_surveyed");
	reply_done(&reply);
	expect(&world, "GET", "/v1/holders", NULL, NULL, 400, "invalid_query");
	expect(&world, "GET", "/v1/holders?node=1&dimm=x", NULL, NULL, 400, "invalid_query");
	expect(&world, "GET", "/v1/holders?start=5&end=5", NULL, NULL, 400, "invalid_query");
	expect(&world, "GET", "/v1/holders?start=0&end=5", NULL, NULL, 200, NULL);
	rest_world_teardown(&world);
}

static void test_guest_blocks(void)
{
	struct rest_world world;
	struct reply reply;
	char target[96];

	rest_world_setup(&world);
	rest_world_request(&world, "GET", "/v1/guests/g1/blocks?page_size=5", NULL, NULL, &reply);
	CHECK_INT(reply.status, 200);
	CHECK_INT(json_array_size(json_object_get(reply.json, "items")), 5);
	snprintf(target, sizeof(target), "/v1/guests/g1/blocks?page=%s",
		 json_string_value(json_object_get(reply.json, "next")));
	reply_done(&reply);
	rest_world_request(&world, "GET", target, NULL, NULL, &reply);
	CHECK_INT(json_array_size(json_object_get(reply.json, "items")), 3);
	CHECK_TRUE(json_is_null(json_object_get(reply.json, "next")));
	const json_t *last = json_array_get(json_object_get(reply.json, "items"), 2);

	CHECK_INT(json_integer_value(json_object_get(last, "id")), 39);
	CHECK_INT(json_integer_value(json_object_get(last, "kernel_bytes")), 4096);
	reply_done(&reply);
	expect(&world, "GET", "/v1/guests/g1/blocks?page=xyz", NULL, NULL, 400, "invalid_query");
	expect(&world, "GET", "/v1/guests/nobody/blocks", NULL, NULL, 404, "unknown_guest");
	expect(&world, "GET", "/v1/guests/g1/blocks?node=1", NULL, NULL, 400, "invalid_query");
	world.blocks_error = -ENOTCONN;
	expect(&world, "GET", "/v1/guests/g1/blocks", NULL, NULL, 503, "agent_unavailable");
	rest_world_teardown(&world);
}

static void test_old_operations(void)
{
	struct journal journal = {.count = 5};
	struct rest_world world;
	struct reply reply;
	char target[300] = "/v1/operations?page_size=2";
	size_t pages = 0, seen = 0;

	rest_world_setup(&world);
	world.backend.journal = &journal;
	for (bool more = true; more && pages < 9; pages++) {
		const char *next;

		rest_world_request(&world, "GET", target, NULL, NULL, &reply);
		CHECK_INT(reply.status, 200);
		seen += json_array_size(json_object_get(reply.json, "items"));
		next = text_of(&reply, "next");
		more = next != NULL;
		snprintf(target, sizeof(target), "/v1/operations?page_size=2&page=%s",
			 next ? next : "");
		reply_done(&reply);
	}
	CHECK_INT(pages, 3);
	CHECK_INT(seen, 5);
	expect(&world, "GET", "/v1/operations?page=7a", NULL, NULL, 400, "page_expired");
	expect(&world, "GET", "/v1/operations/old-3?wait=30", NULL, NULL, 200, NULL);
	expect(&world, "GET", "/v1/operations/old-9", NULL, NULL, 404, "unknown_operation");
	expect(&world, "POST", "/v1/operations/old-3/cancel", NULL, NULL, 409, "operation_ended");
	CHECK_INT(world.engine.cancel_count, 0);
	rest_world_teardown(&world);
}

static void test_unknown_things(void)
{
	struct rest_world world;
	struct reply reply;

	rest_world_setup(&world);
	expect(&world, "GET", "/v1/nodes/9", NULL, NULL, 404, "unknown_node");
	expect(&world, "GET", "/v1/nodes/x", NULL, NULL, 404, "unknown_node");
	expect(&world, "GET", "/v1/nodes/99999999999999999999", NULL, NULL, 404, "unknown_node");
	expect(&world, "GET", "/v1/dimms/x", NULL, NULL, 404, "unknown_dimm");
	expect(&world, "GET", "/v1/holders?dimm=x", NULL, NULL, 404, "unknown_dimm");
	expect(&world, "GET", "/v1/blocks?node=7", NULL, NULL, 404, "unknown_node");
	expect(&world, "GET", "/v1/guests/nobody", NULL, NULL, 404, "unknown_guest");
	expect(&world, "PATCH", "/v1/guests/nobody/memory", NULL, "{\"target_bytes\":1}", 404,
	       "unknown_guest");
	expect(&world, "GET", "/v1/drains/x", NULL, NULL, 404, "unknown_drain");
	expect(&world, "DELETE", "/v1/drains/x", NULL, NULL, 404, "unknown_drain");
	expect(&world, "GET", "/v1/operations/x", NULL, NULL, 404, "unknown_operation");
	expect(&world, "POST", "/v1/operations/x/cancel", NULL, NULL, 404, "unknown_operation");
	expect(&world, "GET", "/v1/hint", NULL, NULL, 404, "not_found");
	expect(&world, "GET", "/", NULL, NULL, 404, "not_found");
	rest_world_request(&world, "PUT", "/v1/guests/g1/memory", NULL, NULL, &reply);
	CHECK_INT(reply.status, 405);
	CHECK_TRUE(head_has(&reply, "Allow: GET, PATCH\r\n"));
	reply_done(&reply);
	expect(&world, "TRACE", "/v1/guests", NULL, NULL, 405, "method_not_allowed");
	CHECK_INT(world.engine.submit_count, 0);
	rest_world_teardown(&world);
}

static void test_bad_messages(void)
{
	struct rest_world world;
	char *huge = malloc(HTTP_BODY_MAX + 1);
	struct reply reply;

	rest_world_setup(&world);
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":", 400,
	       "malformed_json");
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":\"1\"}", 400,
	       "invalid_body");
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1,\"x\":2}", 400,
	       "invalid_body");
	expect(&world, "PATCH", "/v1/guests/g1/memory?dryrun=true", NULL, "{\"target_bytes\":1}",
	       400, "invalid_query");
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, NULL, 400, "invalid_body");
	expect(&world, "GET", "/v1/guests", NULL, "{}", 400, "unexpected_body");
	expect(&world, "POST", "/v1/operations/op-1/pause", NULL, "{\"x\":1}", 400, "invalid_body");
	expect(&world, "PATCH", "/v1/guests/g1/memory", "Idempotency-Key: a b\r\n",
	       "{\"target_bytes\":1}", 400, "invalid_header");
	/* A mebibyte of brackets: refused before any parser recurses. */
	memset(huge, '[', HTTP_BODY_MAX);
	huge[HTTP_BODY_MAX] = '\0';
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, huge, 400, "malformed_json");
	rest_world_raw(&world,
		       "PATCH /v1/guests/g1/memory HTTP/1.1\r\nHost: x\r\nContent-Type: "
		       "text/plain\r\nContent-Length: 18\r\n"
		       "Connection: close\r\n\r\n{\"target_bytes\":1}",
		       &reply);
	CHECK_INT(reply.status, 415);
	reply_done(&reply);
	rest_world_raw(
		&world,
		"PATCH /v1/guests/g1/memory HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n",
		&reply);
	CHECK_INT(reply.status, 413);
	CHECK_STR(text_of(&reply, "code"), "body_too_large");
	CHECK_TRUE(head_has(&reply, "Connection: close\r\n"));
	reply_done(&reply);
	CHECK_INT(world.engine.submit_count, 0);
	rest_world_teardown(&world);
	free(huge);
}

/* Nothing that stands behind a doubtful request is ever read as a request. */
static void test_smuggling(void)
{
	static const char *const heads[] = {
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding : chunked\r\n",
		"Transfer-Encoding:\tchunked\r\n",
		"X: y\r\n Transfer-Encoding: chunked\r\n",
		"Content-Length: 0\r\nContent-Length: 80\r\n",
		"Content-Length: 0, 80\r\n",
		"Content-Length: +0\r\n",
		"Content-Length: 0\n",
		"X: y\rTransfer-Encoding: chunked\r\n",
	};
	struct rest_world world;
	struct reply reply;

	rest_world_setup(&world);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		char text[1024];

		snprintf(text, sizeof(text),
			 "POST /v1/checks HTTP/1.1\r\nHost: x\r\n%s\r\n0\r\n\r\n"
			 "POST /v1/operations/op-1/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: "
			 "0\r\n\r\n",
			 heads[i]);
		rest_world_raw(&world, text, &reply);
		if (reply.status < 400 || reply.status > 411)
			printf("  %s: %d\n", heads[i], reply.status);
		CHECK_TRUE(reply.status == 400 || reply.status == 411);
		CHECK_TRUE(reply.closed);
		CHECK_TRUE(reply.json != NULL);
		CHECK_TRUE(head_has(&reply, "Connection: close\r\n"));
		reply_done(&reply);
	}
	rest_world_raw(&world, "GET /v1/guests/%00 HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
	CHECK_INT(reply.status, 400);
	CHECK_TRUE(reply.closed);
	reply_done(&reply);
	CHECK_INT(world.engine.cancel_count, 0);
	CHECK_INT(world.engine.submit_count, 0);
	/* A second request sent along with the first is not run either. */
	rest_world_raw(&world,
		       "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /v1/operations/op-1/cancel "
		       "HTTP/1.1\r\nHost: x\r\n\r\n",
		       &reply);
	CHECK_INT(reply.status, 200);
	CHECK_TRUE(reply.closed);
	CHECK_TRUE(strstr(reply.body, "HTTP/1.1") == NULL);
	reply_done(&reply);
	CHECK_INT(world.engine.cancel_count, 0);
	rest_world_teardown(&world);
}

static void test_keep_alive(void)
{
	static const char get[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char post[] = "POST /v1/checks HTTP/1.1\r\nHost: x\r\nContent-Type: "
				   "application/json; charset=utf-8\r\n"
				   "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
	struct rest_world world;
	struct reply reply;
	char *text;
	int fd;

	rest_world_setup(&world);
	fd = rest_world_connect(&world);
	for (int i = 0; i < 3; i++) {
		rest_world_exchange(&world, fd, get, sizeof(get) - 1, false, &reply);
		CHECK_INT(reply.status, 200);
		CHECK_TRUE(!reply.closed);
		reply_done(&reply);
	}
	CHECK_INT(send(fd, post, sizeof(post) - 1, 0), sizeof(post) - 1);
	text = rest_world_read_until(&world, fd, "\r\n\r\n");
	CHECK_STR(text, "HTTP/1.1 100 Continue\r\n\r\n");
	free(text);
	rest_world_exchange(&world, fd, "{}", 2, false, &reply);
	CHECK_INT(reply.status, 202);
	reply_done(&reply);
	/* A client that has said all it has to say still gets its answer. */
	CHECK_INT(send(fd, get, sizeof(get) - 1, 0), sizeof(get) - 1);
	shutdown(fd, SHUT_WR);
	rest_world_exchange(&world, fd, "", 0, true, &reply);
	CHECK_INT(reply.status, 200);
	CHECK_TRUE(reply.closed);
	reply_done(&reply);
	close(fd);
	rest_world_teardown(&world);
}

static void test_engine_answers(void)
{
	static const struct {
		enum engine_submit_result result;
		const char *failure_code;
		int failure_error, status;
		const char *code;
	} rows[] = {
		{ENGINE_SUBMIT_BUSY, NULL, 0, 409, "operation_in_progress"},
		{ENGINE_SUBMIT_PLAN_CHANGED, NULL, 0, 412, "plan_changed"},
		{ENGINE_SUBMIT_KEY_MISUSED, NULL, 0, 422, "idempotency_key_misused"},
		{ENGINE_SUBMIT_OBSERVE_ONLY, NULL, 0, 409, "observe_only"},
		{ENGINE_SUBMIT_REFUSED, "consent_required", EPERM, 422, "consent_required"},
		{ENGINE_SUBMIT_REFUSED, "not_block_multiple", EPERM, 422, "not_block_multiple"},
		{ENGINE_SUBMIT_REFUSED, "above_maximum", EPERM, 422, "above_maximum"},
		{ENGINE_SUBMIT_REFUSED, "below_base", EPERM, 422, "below_base"},
		{ENGINE_SUBMIT_REFUSED, "below_floor", EPERM, 422, "below_floor"},
		{ENGINE_SUBMIT_REFUSED, "no_memory_device", EPERM, 422, "no_memory_device"},
		{ENGINE_SUBMIT_REFUSED, "no_room", EPERM, 422, "no_room"},
		{ENGINE_SUBMIT_REFUSED, "kernel_memory", EPERM, 422, "kernel_memory"},
		{ENGINE_SUBMIT_REFUSED, "not_movable", EPERM, 422, "not_movable"},
		{ENGINE_SUBMIT_REFUSED, "not_ejectable", EPERM, 422, "not_ejectable"},
		{ENGINE_SUBMIT_REFUSED, "target_held", EPERM, 422, "target_held"},
		{ENGINE_SUBMIT_REFUSED, "invalid_body", EINVAL, 400, "invalid_body"},
		{ENGINE_SUBMIT_REFUSED, "policy_would_shift", EPERM, 422, "policy_would_shift"},
		{ENGINE_SUBMIT_REFUSED, "guest_unmovable", EPERM, 422, "guest_unmovable"},
		{ENGINE_SUBMIT_REFUSED, "invalid_target", EPERM, 422, "invalid_target"},
		{ENGINE_SUBMIT_REFUSED, "guest_not_running", EPERM, 409, "guest_not_running"},
		{ENGINE_SUBMIT_REFUSED, "unknown_guest", EPERM, 404, "unknown_guest"},
		{ENGINE_SUBMIT_REFUSED, "unknown_node", EPERM, 404, "unknown_node"},
		{ENGINE_SUBMIT_REFUSED, "unknown_dimm", EPERM, 404, "unknown_dimm"},
		{ENGINE_SUBMIT_REFUSED, "unknown_drain", EPERM, 404, "unknown_drain"},
		{ENGINE_SUBMIT_REFUSED, "never_heard_of", EPERM, 422, "refused"},
		{ENGINE_SUBMIT_FAILED, NULL, ENOTCONN, 503, "libvirt_down"},
		{ENGINE_SUBMIT_FAILED, NULL, EIO, 502, "libvirt_refused"},
		{ENGINE_SUBMIT_FAILED, NULL, ETIMEDOUT, 504, "timed_out"},
		{ENGINE_SUBMIT_FAILED, NULL, ENOSPC, 503, "journal_failed"},
		{ENGINE_SUBMIT_FAILED, NULL, 0, 500, "internal"},
	};
	struct plan plan = {.digest = "7f2c"};
	struct rest_world world;
	struct reply reply;

	rest_world_setup(&world);
	remainder_list_add_consent(&world.engine.blockers, REMAINDER_CONSENT_REQUIRED,
				   CONSENT_REMOTE_MEMORY, "guest g1", 4096, "farther away");
	world.engine.plan = &plan;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world.engine.result = rows[i].result;
		failure_clear(&world.engine.failure);
		if (rows[i].failure_error)
			failure_set(&world.engine.failure, rows[i].failure_error, "guest g1",
				    "cannot resize");
		if (rows[i].failure_code)
			failure_set_code(&world.engine.failure, rows[i].failure_code);
		expect(&world, "PATCH", "/v1/guests/g1/memory?expect_plan=aaaa", NULL,
		       "{\"target_bytes\":1}", rows[i].status, rows[i].code);
	}
	world.engine.result = ENGINE_SUBMIT_REFUSED;
	rest_world_request(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1}",
			   &reply);
	CHECK_STR(json_string_value(json_object_get(
			  json_array_get(json_object_get(reply.json, "blockers"), 0), "consent")),
		  "remote_memory");
	reply_done(&reply);
	world.engine.result = ENGINE_SUBMIT_BUSY;
	rest_world_request(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1}",
			   &reply);
	CHECK_STR(text_of(&reply, "operation"), "op-1");
	CHECK_TRUE(strstr(text_of(&reply, "detail"), "op-1") != NULL);
	reply_done(&reply);
	/* One that a stuck kernel call keeps in the way is not to be waited for. */
	enum operation_state state = world.engine.operation->state;

	world.engine.operation->state = OPERATION_STATE_FAILED;
	failure_set(&world.engine.failure, EBUSY, "guest g1", "cannot resize");
	failure_set_cause(&world.engine.failure, "operation op-1 is stuck in the kernel");
	failure_set_way_out(&world.engine.failure, "it comes back");
	rest_world_request(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1}",
			   &reply);
	CHECK_STR(text_of(&reply, "detail"), "operation op-1 is stuck in the kernel (it comes back)");
	CHECK_STR(text_of(&reply, "operation"), "op-1");
	reply_done(&reply);
	world.engine.operation->state = state;
	world.engine.result = ENGINE_SUBMIT_ALREADY;
	rest_world_request(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1}",
			   &reply);
	CHECK_INT(reply.status, 200);
	CHECK_TRUE(json_object_get(reply.json, "current_bytes") != NULL);
	reply_done(&reply);
	world.engine.result = ENGINE_SUBMIT_REPLAYED;
	rest_world_request(&world, "PATCH", "/v1/guests/g1/memory", "Idempotency-Key: k1\r\n",
			   "{\"target_bytes\":1}", &reply);
	CHECK_INT(reply.status, 202);
	CHECK_TRUE(head_has(&reply, "Location: /v1/operations/op-1\r\n"));
	CHECK_TRUE(head_has(&reply, "Idempotent-Replayed: true\r\n"));
	CHECK_STR(world.engine.key, "k1");
	CHECK_INT(strlen(world.engine.body_hash), 64);
	/* A key is found again whichever process of this user sends it. */
	CHECK_TRUE(strncmp(world.engine.actor, "uid ", 4) == 0 &&
		   strstr(world.engine.actor, " pid ") == NULL);
	reply_done(&reply);
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1}", 202, NULL);
	CHECK_TRUE(strstr(world.engine.actor, " pid ") != NULL);
	CHECK_STR(world.engine.key, "");
	world.engine.plan = NULL;
	rest_world_teardown(&world);
}

static const char *json_text_of(const json_t *json, char text[512])
{
	size_t length = json_dumpb(json, text, 511, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	text[length < 511 ? length : 511] = '\0';
	return text;
}

static void test_dry_run(void)
{
	struct step step;
	struct plan_cost cost = {.ms = 1500, .is_measured = true};
	struct plan plan = {.digest = "7f2c",
			    .step_count = 1,
			    .steps = &step,
			    .costs = &cost,
			    .rates_used = 1 << RATE_KIND_PLUG | 1 << RATE_KIND_STEP,
			    .rates_measured = 1 << RATE_KIND_PLUG,
			    .rates.of[RATE_KIND_PLUG] = {.amount = 2048, .ms = 2000},
			    .rates.of[RATE_KIND_STEP] = {.amount = 2 * RATE_EACH, .ms = 300},
			    .reboot = {.s = 95, .is_configured = true},
			    .bytes = 5,
			    .estimate_s = 9,
			    .consents_needed = 1u << CONSENT_REMOTE_MEMORY};
	struct rest_world world;
	struct reply reply;
	char text[512];

	rest_world_setup(&world);
	step_init(&step, STEP_KIND_REQUEST);
	snprintf(step.guest_name, sizeof(step.guest_name), "g1");
	plan.needs_bytes[1] = 77;
	world.engine.plan = &plan;
	rest_world_request(&world, "PATCH", "/v1/guests/g1/memory?dry_run=true", NULL,
			   "{\"target_bytes\":1}", &reply);
	CHECK_INT(reply.status, 200);
	CHECK_STR(text_of(&reply, "digest"), "7f2c");
	CHECK_INT(json_array_size(json_object_get(reply.json, "steps")), 1);
	CHECK_INT(json_integer_value(json_object_get(json_array_get(json_object_get(reply.json, "steps"), 0), "estimate_ms")),
		  1500);
	CHECK_TRUE(json_is_true(json_object_get(json_array_get(json_object_get(reply.json, "steps"), 0), "estimate_measured")));
	CHECK_STR(json_text_of(json_object_get(reply.json, "rates"), text),
		  "[{\"bytes_per_s\":1024,\"each_ms\":null,\"kind\":\"plug\",\"measured\":true},"
		  "{\"bytes_per_s\":null,\"each_ms\":150,\"kind\":\"step\",\"measured\":false}]");
	CHECK_INT(json_integer_value(json_object_get(reply.json, "reboot_s")), 95);
	CHECK_TRUE(json_is_true(json_object_get(reply.json, "reboot_configured")));
	CHECK_INT(json_integer_value(json_object_get(
			  json_array_get(json_object_get(reply.json, "needs"), 0), "bytes")),
		  77);
	CHECK_STR(json_string_value(
			  json_array_get(json_object_get(reply.json, "consents_needed"), 0)),
		  "remote_memory");
	reply_done(&reply);
	CHECK_INT(world.engine.submit_count, 0);
	CHECK_INT(world.engine.dry_run_count, 1);
	world.engine.dry_run_result_set = true;
	world.engine.dry_run_result = ENGINE_SUBMIT_REFUSED;
	failure_set(&world.engine.failure, EPERM, "guest g1", "cannot resize");
	failure_set_code(&world.engine.failure, "no_room");
	expect(&world, "PATCH", "/v1/guests/g1/memory?dry_run=true", NULL, "{\"target_bytes\":1}",
	       422, "no_room");
	world.engine.dry_run_result = ENGINE_SUBMIT_ALREADY;
	world.engine.plan = NULL;
	expect(&world, "DELETE", "/v1/drains/drain-1?dry_run=true", NULL, NULL, 200, NULL);
	CHECK_INT(world.engine.wish.kind, OPERATION_KIND_UNDRAIN);
	CHECK_STR(world.engine.wish.drain, "drain-1");
	CHECK_INT(world.engine.undrain_count, 0);
	expect(&world, "DELETE", "/v1/drains/drain-1?expect_plan=7f2c", NULL, NULL, 202, NULL);
	CHECK_STR(world.engine.expect_plan, "7f2c");
	CHECK_INT(world.engine.wish.kind, OPERATION_KIND_UNDRAIN);
	expect(&world, "DELETE", "/v1/drains/drain-1?expect_plan=7f2c&timeout_s=90", NULL, NULL, 202, NULL);
	CHECK_INT(world.engine.wish.timeout_s, 90);
	expect(&world, "DELETE", "/v1/drains/drain-1?timeout_s=900", NULL, NULL, 202, NULL);
	CHECK_INT(world.engine.undrain_timeout_s, 900);
	expect(&world, "DELETE", "/v1/drains/drain-1", NULL, NULL, 202, NULL);
	CHECK_INT(world.engine.undrain_timeout_s, 0);
	CHECK_TRUE(!world.engine.undrain_keep);
	/* For good, by each of these ways. */
	expect(&world, "DELETE", "/v1/drains/drain-1?keep=true", NULL, NULL, 202, NULL);
	CHECK_TRUE(world.engine.undrain_keep);
	expect(&world, "DELETE", "/v1/drains/drain-1?keep=false", NULL, NULL, 202, NULL);
	CHECK_TRUE(!world.engine.undrain_keep);
	expect(&world, "DELETE", "/v1/drains/drain-1?keep=true&dry_run=true", NULL, NULL, 200, NULL);
	CHECK_TRUE(world.engine.wish.keep);
	expect(&world, "DELETE", "/v1/drains/drain-1?keep=true&expect_plan=7f2c", NULL, NULL, 202, NULL);
	CHECK_TRUE(world.engine.wish.keep);
	expect(&world, "DELETE", "/v1/drains/drain-1?keep=yes", NULL, NULL, 400, "invalid_query");
	rest_world_teardown(&world);
}

static void test_preconditions(void)
{
	struct rest_world world;

	rest_world_setup(&world);
	expect(&world, "PATCH", "/v1/guests/g1/memory", "If-Match: \"6\"\r\n",
	       "{\"target_bytes\":1}", 412, "precondition_failed");
	expect(&world, "PUT", "/v1/guests/g1/policy", "If-Match: \"6\"\r\n", "{}", 412,
	       "precondition_failed");
	expect(&world, "DELETE", "/v1/drains/drain-1", "If-Match: \"6\"\r\n", NULL, 412,
	       "precondition_failed");
	CHECK_INT(world.engine.submit_count + world.policy_count + world.engine.undrain_count, 0);
	expect(&world, "PATCH", "/v1/guests/g1/memory", "If-Match: \"7\"\r\n",
	       "{\"target_bytes\":1}", 202, NULL);
	expect(&world, "DELETE", "/v1/drains/drain-1", "If-Match: \"5\"\r\n", NULL, 202, NULL);
	expect(&world, "PUT", "/v1/guests/g1/policy", "If-Match: *\r\n",
	       "{\"minimum_bytes\":4096,\"maximum_bytes\":null,\"online_policy\":\"movable\",\"zone_repair\":true,"
	       "\"allowed_nodes\":[0,1]}",
	       200, NULL);
	CHECK_INT(world.policy.minimum_bytes, 4096);
	CHECK_INT(world.policy.allowed_nodes, 3);
	CHECK_INT(world.policy.online_policy, GUEST_ONLINE_POLICY_MOVABLE);
	CHECK_INT(world.policy.zone_repair, GUEST_ZONE_REPAIR_YES);
	CHECK_INT(world.refresh_count, 1);
	expect(&world, "PUT", "/v1/guests/g1/policy", NULL, "{\"zone_repair\":false}", 200, NULL);
	CHECK_INT(world.policy.zone_repair, GUEST_ZONE_REPAIR_NO);
	expect(&world, "PUT", "/v1/guests/g1/policy", NULL, "{\"zone_repair\":null}", 200, NULL);
	CHECK_INT(world.policy.zone_repair, GUEST_ZONE_REPAIR_UNSET);
	rest_world_teardown(&world);
}

static void test_backend_errors(void)
{
	struct rest_world world;

	rest_world_setup(&world);
	world.libvirt_down = true;
	expect(&world, "PATCH", "/v1/guests/g1/memory", NULL, "{\"target_bytes\":1}", 503,
	       "libvirt_down");
	expect(&world, "POST", "/v1/guests/g1/agent", NULL, NULL, 503, "libvirt_down");
	expect(&world, "GET", "/readyz", NULL, NULL, 503, "libvirt_down");
	expect(&world, "GET", "/healthz", NULL, NULL, 200, NULL);
	expect(&world, "GET", "/v1/guests", NULL, NULL, 200, NULL);
	CHECK_INT(world.engine.submit_count + world.attach_count, 0);
	world.libvirt_down = false;
	world.refresh_error = -ETIMEDOUT;
	expect(&world, "GET", "/v1/guests?fresh=true", NULL, NULL, 504, "timed_out");
	world.refresh_error = 0;
	world.attach_error = -EPERM;
	expect(&world, "POST", "/v1/guests/g1/agent", NULL, NULL, 422, "needs_restart");
	world.policy_error = -EIO;
	expect(&world, "PUT", "/v1/guests/g1/policy", NULL, "{}", 502, "libvirt_refused");
	world.engine.control_result = -EALREADY;
	expect(&world, "POST", "/v1/operations/op-1/cancel", NULL, NULL, 409, "operation_ended");
	world.engine.control_result = -EOPNOTSUPP;
	expect(&world, "POST", "/v1/operations/op-1/cancel", NULL, NULL, 409, "not_cancellable");
	world.engine.control_result = -EBUSY;
	expect(&world, "POST", "/v1/operations/op-1/pause", NULL, NULL, 409, "wrong_state");
	world.engine.control_result = -EINPROGRESS;
	expect(&world, "POST", "/v1/operations/op-1/pause", NULL, NULL, 409, "wrong_state");
	expect(&world, "POST", "/v1/operations/op-1/cancel", NULL, "{\"undo\":true}", 202, NULL);
	CHECK_TRUE(world.engine.undo);
	rest_world_teardown(&world);
}

static void test_waiting(void)
{
	static const char get[] = "GET /v1/operations/op-1?wait=30 HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rest_world world;
	struct reply reply;
	json_t *object = json_object();
	int fd, left;

	rest_world_setup(&world);
	fd = rest_world_connect(&world);
	left = rest_world_connect(&world);
	CHECK_INT(send(left, get, sizeof(get) - 1, 0), sizeof(get) - 1);
	rest_world_exchange(&world, fd, get, sizeof(get) - 1, false, &reply);
	CHECK_INT(reply.status, 0);
	reply_done(&reply);
	/* One of the two does not wait for it. */
	close(left);
	rest_world_turn(&world);
	/* A change that is no end lets it wait on. */
	rest_server_event(world.server, "operation", object);
	rest_world_exchange(&world, fd, "", 0, false, &reply);
	CHECK_INT(reply.status, 0);
	reply_done(&reply);
	rest_server_event(world.server, "operation", object);
	world.engine.operation->state = OPERATION_STATE_SUCCEEDED;
	rest_world_exchange(&world, fd, "", 0, false, &reply);
	CHECK_INT(reply.status, 200);
	CHECK_STR(text_of(&reply, "state"), "succeeded");
	reply_done(&reply);
	rest_world_exchange(&world, fd, get, sizeof(get) - 1, false, &reply);
	CHECK_INT(reply.status, 200);
	reply_done(&reply);
	close(fd);
	/* And one waits while the server goes. */
	world.engine.operation->state = OPERATION_STATE_RUNNING;
	fd = rest_world_connect(&world);
	CHECK_INT(send(fd, get, sizeof(get) - 1, 0), sizeof(get) - 1);
	rest_world_turn(&world);
	rest_world_turn(&world);
	rest_world_teardown(&world);
	close(fd);
	json_decref(object);
}

/* The engine's answer comes when neither client nor server is there any more. */
static void test_late_answers(void)
{
	static const char patch[] = "PATCH /v1/guests/g1/memory HTTP/1.1\r\nHost: "
				    "x\r\nContent-Type: application/json\r\n"
				    "Content-Length: 18\r\n\r\n{\"target_bytes\":1}";
	struct rest_world world;
	struct reply reply;
	int fd;

	rest_world_setup(&world);
	world.engine.hold_answer = true;
	fd = rest_world_connect(&world);
	rest_world_exchange(&world, fd, patch, sizeof(patch) - 1, false, &reply);
	CHECK_INT(reply.status, 0);
	close(fd);
	rest_world_turn(&world);
	CHECK_INT(world.engine.submit_count, 1);
	rest_world_answer(&world);
	world.engine.hold_answer = true;
	fd = rest_world_connect(&world);
	rest_world_exchange(&world, fd, patch, sizeof(patch) - 1, false, &reply);
	world.server = rest_server_free(world.server);
	rest_world_answer(&world);
	close(fd);
	rest_world_teardown(&world);
}

static void test_events(void)
{
	static const char get[] = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rest_world world;
	json_t *object = json_pack("{s:i}", "n", 1);
	char request[160];
	char *text;
	int fd;

	rest_world_setup(&world);
	rest_server_event(world.server, "node", object);
	fd = rest_world_connect(&world);
	CHECK_INT(send(fd, get, sizeof(get) - 1, 0), sizeof(get) - 1);
	text = rest_world_read_until(&world, fd, "retry: 1000\n\n");
	CHECK_TRUE(strstr(text, "Content-Type: text/event-stream\r\n") != NULL);
	free(text);
	rest_server_event(world.server, "guest", object);
	text = rest_world_read_until(&world, fd, "\n\n");
	CHECK_STR(text, "id: 1700000000000-2\nevent: guest\ndata: {\"n\":1}\n\n");
	free(text);
	close(fd);
	rest_world_turn(&world);
	rest_server_event(world.server, "dimm", object);
	/* Back again: what was missed, and nothing before it. */
	fd = rest_world_connect(&world);
	snprintf(request, sizeof(request),
		 "GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1700000000000-2\r\n\r\n");
	CHECK_INT(send(fd, request, strlen(request), 0), strlen(request));
	text = rest_world_read_until(&world, fd, "event: dimm");
	CHECK_TRUE(strstr(text, "event: dimm") != NULL);
	CHECK_TRUE(strstr(text, "event: guest") == NULL && strstr(text, "event: gap") == NULL);
	free(text);
	close(fd);
	rest_world_turn(&world);
	/* Another run of the daemon, a future, or too long ago: a gap. */
	for (int i = 0; i < EVENT_STREAM_KEPT_MAX + 3; i++)
		rest_server_event(world.server, "guest", object);
	static const char *const ids[] = {"1600000000000-2", "1700000000000-999999",
					  "1700000000000-1"};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		fd = rest_world_connect(&world);
		snprintf(request, sizeof(request),
			 "GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: %s\r\n\r\n", ids[i]);
		CHECK_INT(send(fd, request, strlen(request), 0), strlen(request));
		text = rest_world_read_until(&world, fd, "event: gap");
		CHECK_TRUE(strstr(text, "event: gap") != NULL);
		free(text);
		close(fd);
		rest_world_turn(&world);
	}
	expect(&world, "GET", "/v1/events", "Last-Event-ID: x\r\n", NULL, 400, "invalid_header");
	rest_world_teardown(&world);
	json_decref(object);
}

/* A reader that never reads is let go, and costs no more than its queue. */
static void test_slow_reader(void)
{
	static const char get[] = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rest_world world;
	char padding[4096];
	json_t *object;
	struct reply reply;
	char *text;
	int fd;

	memset(padding, 'x', sizeof(padding) - 1);
	padding[sizeof(padding) - 1] = '\0';
	object = json_pack("{s:s}", "p", padding);
	rest_world_setup(&world);
	fd = rest_world_connect(&world);
	CHECK_INT(send(fd, get, sizeof(get) - 1, 0), sizeof(get) - 1);
	rest_world_turn(&world);
	for (int i = 0; i < 400; i++) {
		rest_server_event(world.server, "guest", object);
		rest_world_turn(&world);
	}
	world.stuck_workers = 2;
	rest_world_request(&world, "GET", "/metrics", NULL, NULL, &reply);
	CHECK_TRUE(reply.body && strstr(reply.body, "\nballast_event_readers 0\n") != NULL);
	CHECK_TRUE(strstr(reply.body, "\nballast_workers_stuck 2\n") != NULL);
	reply_done(&reply);
	text = rest_world_read_until(&world, fd, "event: gap");
	CHECK_TRUE(strlen(text) < 1 << 20);
	CHECK_TRUE(strstr(text, "event: gap") != NULL);
	free(text);
	close(fd);
	rest_world_teardown(&world);
	json_decref(object);
}

static void test_many_connections(void)
{
	enum { PARALLEL = 50, TOO_MANY = 140 };
	static const char get[] = "GET /v1/guests HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rest_world world;
	struct reply reply;
	int fds[TOO_MANY], refused = 0;

	rest_world_setup(&world);
	for (int i = 0; i < PARALLEL; i++) {
		fds[i] = rest_world_connect(&world);
		CHECK_INT(send(fds[i], get, sizeof(get) - 1, 0), sizeof(get) - 1);
	}
	for (int i = 0; i < PARALLEL; i++) {
		rest_world_exchange(&world, fds[i], "", 0, false, &reply);
		CHECK_INT(reply.status, 200);
		CHECK_INT(json_array_size(json_object_get(reply.json, "items")), 2);
		reply_done(&reply);
		close(fds[i]);
	}
	rest_world_turn(&world);
	for (int i = 0; i < TOO_MANY; i++) {
		fds[i] = rest_world_connect(&world);
		rest_world_turn(&world);
	}
	for (int i = 0; i < TOO_MANY; i++) {
		rest_world_exchange(&world, fds[i], get, sizeof(get) - 1, false, &reply);
		CHECK_TRUE(reply.status == 200 || reply.status == 503);
		if (reply.status == 503)
			CHECK_STR(text_of(&reply, "code"), "too_many_connections");
		refused += reply.status == 503;
		reply_done(&reply);
	}
	CHECK_INT(refused, TOO_MANY - 96);
	for (int i = 0; i < TOO_MANY; i++)
		close(fds[i]);
	rest_world_turn(&world);
	expect(&world, "GET", "/healthz", NULL, NULL, 200, NULL);
	rest_world_teardown(&world);
}

static void test_socket_file(void)
{
	struct rest_world world;
	struct rest_server_options options = {.listen_fd = -1};
	struct rest_server *second = NULL;
	struct failure failure = {0};
	struct stat status;

	rest_world_setup(&world);
	CHECK_INT(stat(world.path, &status), 0);
	CHECK_INT(status.st_mode & 07777, 0600);
	options.base = world.base;
	options.backend = &world.backend;
	options.socket_path = world.path;
	CHECK_INT(rest_server_new(&options, &second, &failure), -EADDRINUSE);
	CHECK_TRUE(second == NULL && failure.way_out[0]);
	expect(&world, "GET", "/healthz", NULL, NULL, 200, NULL);
	rest_world_teardown(&world);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* Not a bound that a loaded machine could miss: ten times the target, and the median is printed. */
static void test_cost_of_guests(void)
{
	enum { ROUNDS = 301 };
	static const char get[] = "GET /v1/guests HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rest_world world;
	uint64_t took[ROUNDS];
	int fd;

	rest_world_setup(&world);
	fd = rest_world_connect(&world);
	for (int i = 0; i < ROUNDS; i++) {
		struct timespec begin, end;
		struct reply reply;

		clock_gettime(CLOCK_MONOTONIC, &begin);
		rest_world_exchange(&world, fd, get, sizeof(get) - 1, false, &reply);
		clock_gettime(CLOCK_MONOTONIC, &end);
		CHECK_INT(reply.status, 200);
		reply_done(&reply);
		took[i] = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000 +
			  (uint64_t)(end.tv_nsec / 1000) - (uint64_t)(begin.tv_nsec / 1000);
	}
	qsort(took, ROUNDS, sizeof(took[0]), compare);
	printf("  GET /v1/guests, two guests: median %llu us\n",
	       (unsigned long long)took[ROUNDS / 2]);
	CHECK_TRUE(took[ROUNDS / 2] < 20000);
	close(fd);
	rest_world_teardown(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"replies fit the description", test_replies_fit_description},
		{"lists and pages", test_lists_and_pages},
		{"blocks of a guest", test_guest_blocks},
		{"old operations", test_old_operations},
		{"unknown things", test_unknown_things},
		{"bad messages", test_bad_messages},
		{"smuggling", test_smuggling},
		{"keep alive", test_keep_alive},
		{"engine answers", test_engine_answers},
		{"dry run", test_dry_run},
		{"preconditions", test_preconditions},
		{"backend errors", test_backend_errors},
		{"waiting", test_waiting},
		{"late answers", test_late_answers},
		{"events", test_events},
		{"slow reader", test_slow_reader},
		{"many connections", test_many_connections},
		{"socket file", test_socket_file},
		{"cost of guests", test_cost_of_guests},
	};

	return unit_main("rest_server", cases, sizeof(cases) / sizeof(cases[0]));
}
