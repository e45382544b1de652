/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/hints against a scripted backend: what is let through, and what the answers look like.
 */
#include <errno.h>
#include <string.h>
#include "hint_body.h"
#include "openapi_text.h"
#include "rest_world.h"
#include "schema_check.h"
#include "unit.h"

static struct rest_world world;
static struct memory_hints_answer script;
static struct {
	unsigned count;
	struct memory_hint hint;
	char actor[64];
} asked;

static void hint(void *user, const struct memory_hint *taken, const char *actor, memory_hints_answer_fn *done,
		 void *done_user)
{
	asked.count++;
	asked.hint = *taken;
	snprintf(asked.actor, sizeof(asked.actor), "%s", actor);
	done(done_user, &script);
}

static const struct snapshot_hint high = {
	.dimm = "acpi-MP00",
	.range = {1 << 30, (1 << 30) + (1 << 27)},
	.node = 1,
	.address = (1 << 30) + 64,
	.risk = HINT_RISK_HIGH,
	.worst = HINT_RISK_HIGH,
	.count = 1,
	.at_ms = 1700000000000,
};

static void setup(void)
{
	rest_world_setup(&world);
	world.backend.hint = hint;
	memset(&asked, 0, sizeof(asked));
	script = (struct memory_hints_answer){.hint = &high};
}

/* Posts it, and checks the status and that the answer is as the description says. The reply is to be released. */
static struct reply post(const char *body, int status)
{
	json_t *document = json_loadb(openapi_text, openapi_text_size, 0, NULL), *schema;
	struct reply reply;
	char text[8];

	rest_world_request(&world, "POST", "/v1/hints", NULL, body, &reply);
	if (reply.status != status)
		printf("  %s: %d %s\n", body, reply.status, reply.body);
	CHECK_INT(reply.status, status);
	snprintf(text, sizeof(text), "%d", status);
	schema = status < 300 ? schema_check_of_reply(document, "/v1/hints", "post", text) : NULL;
	CHECK_TRUE(reply.json && (status >= 300 || (schema && schema_check(document, schema, reply.json, "hint", false))));
	json_decref(document);
	return reply;
}

static const char *text_of(const struct reply *reply, const char *key)
{
	return json_string_value(json_object_get(reply->json, key));
}

static void test_alert(void)
{
	struct reply reply;

	setup();
	reply = post("{\"physical_address\":1073741888,\"risk\":\"high\"}", 200);
	CHECK_STR(text_of(&reply, "action"), "alert");
	CHECK_TRUE(json_is_null(json_object_get(reply.json, "operation")));
	CHECK_TRUE(json_is_null(json_object_get(reply.json, "refusal")));
	CHECK_STR(json_string_value(json_object_get(json_object_get(reply.json, "hint"), "dimm")), "acpi-MP00");
	reply_done(&reply);
	CHECK_INT(asked.hint.address, 1073741888);
	CHECK_STR(asked.hint.dimm, "");
	CHECK_INT(asked.hint.risk, HINT_RISK_HIGH);
	CHECK_TRUE(strncmp(asked.actor, "uid ", 4) == 0);
	reply = post("{\"dimm\":\"acpi-MP00\",\"risk\":\"uncorrected\"}", 200);
	reply_done(&reply);
	CHECK_STR(asked.hint.dimm, "acpi-MP00");
	CHECK_INT(asked.hint.risk, HINT_RISK_UNCORRECTED);
	reply = post("{\"physical_address\":0,\"risk\":\"low\"}", 200);
	reply_done(&reply);
	CHECK_INT(asked.hint.address, 0);
	CHECK_STR(asked.hint.dimm, "");
	rest_world_teardown(&world);
}

static void test_begun(void)
{
	struct reply reply;

	setup();
	script.wanted = script.action = HINT_ACTION_DRAIN;
	script.operation = world.engine.operation;
	script.drain = world.engine.drain;
	script.is_new = true;
	reply = post("{\"dimm\":\"acpi-MP00\",\"risk\":\"high\"}", 202);
	CHECK_TRUE(strstr(reply.head, "Location: /v1/operations/op-1\r\n") != NULL);
	CHECK_STR(text_of(&reply, "action"), "drain");
	CHECK_STR(json_string_value(json_object_get(json_object_get(reply.json, "operation"), "id")), "op-1");
	reply_done(&reply);
	/* It stands there already, and its operation may not be known any more. */
	script.is_new = false;
	reply = post("{\"dimm\":\"acpi-MP00\",\"risk\":\"high\"}", 200);
	CHECK_TRUE(strstr(reply.head, "Location:") == NULL);
	reply_done(&reply);
	script.operation = NULL;
	reply = post("{\"dimm\":\"acpi-MP00\",\"risk\":\"high\"}", 200);
	CHECK_TRUE(json_is_null(json_object_get(reply.json, "operation")));
	CHECK_STR(json_string_value(json_object_get(json_object_get(reply.json, "drain"), "id")), "drain-1");
	reply_done(&reply);
	rest_world_teardown(&world);
}

/* The hint is taken, and what was wanted says why not. */
static void test_refused(void)
{
	struct remainder_list blockers = {0};
	struct failure failure = {0};
	struct reply reply;
	json_t *refusal;

	setup();
	failure_set(&failure, EPERM, "dimm acpi-MP00", "cannot drain");
	failure_set_code(&failure, "consent_required");
	remainder_list_add_consent(&blockers, REMAINDER_UNCORRECTED_ERRORS, CONSENT_MAY_CRASH_HOST, "dimm acpi-MP00", 1, "why");
	script.wanted = HINT_ACTION_DRAIN;
	script.failure = &failure;
	script.blockers = &blockers;
	reply = post("{\"dimm\":\"acpi-MP00\",\"risk\":\"uncorrected\"}", 200);
	CHECK_STR(text_of(&reply, "action"), "alert");
	CHECK_STR(text_of(&reply, "wanted"), "drain");
	refusal = json_object_get(reply.json, "refusal");
	CHECK_STR(json_string_value(json_object_get(refusal, "code")), "consent_required");
	CHECK_INT(json_array_size(json_object_get(refusal, "blockers")), 1);
	reply_done(&reply);
	rest_world_teardown(&world);
}

static void test_not_taken(void)
{
	static const struct {
		int error, status;
		const char *code;
	} rows[] = {{-ENOENT, 404, "unknown_dimm"}, {-EINVAL, 422, "invalid_target"}, {-EAGAIN, 503, "not_ready"}};

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failure failure = {0};
		struct reply reply;

		failure_set(&failure, -rows[i].error, "dimm x", "cannot take the hint");
		failure_set_code(&failure, rows[i].code);
		script = (struct memory_hints_answer){.error = rows[i].error, .failure = &failure};
		reply = post("{\"dimm\":\"x\",\"risk\":\"low\"}", rows[i].status);
		CHECK_STR(text_of(&reply, "code"), rows[i].code);
		reply_done(&reply);
	}
	rest_world_teardown(&world);
}

/* Nothing of these reaches the backend. */
static void test_bad_bodies(void)
{
	static const struct {
		const char *body, *pointer;
	} rows[] = {
		{"{}", "/risk"},
		{"[]", ""},
		{"{\"risk\":\"low\"}", ""},
		{"{\"dimm\":\"d\"}", "/risk"},
		{"{\"dimm\":\"d\",\"physical_address\":1,\"risk\":\"low\"}", ""},
		{"{\"dimm\":null,\"physical_address\":1,\"risk\":\"low\"}", "/dimm"},
		{"{\"dimm\":\"\",\"risk\":\"low\"}", "/dimm"},
		{"{\"dimm\":\"a\\u0000b\",\"risk\":\"low\"}", NULL},
		{"{\"dimm\":\"a\\nb\",\"risk\":\"low\"}", "/dimm"},
		{"{\"dimm\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"risk\":\"low\"}", "/dimm"},
		{"{\"dimm\":7,\"risk\":\"low\"}", "/dimm"},
		{"{\"physical_address\":-1,\"risk\":\"low\"}", "/physical_address"},
		{"{\"physical_address\":1.5,\"risk\":\"low\"}", "/physical_address"},
		{"{\"physical_address\":\"0x10\",\"risk\":\"low\"}", "/physical_address"},
		{"{\"physical_address\":9223372036854775808,\"risk\":\"low\"}", NULL},
		{"{\"physical_address\":1,\"risk\":\"LOW\"}", "/risk"},
		{"{\"physical_address\":1,\"risk\":\"\"}", "/risk"},
		{"{\"physical_address\":1,\"risk\":2}", "/risk"},
		{"{\"physical_address\":1,\"risk\":\"uncorrected uncorrected\"}", "/risk"},
		{"{\"physical_address\":1,\"physical_address\":2,\"risk\":\"low\"}", NULL},
		{"{\"physical_address\":1,\"risk\":\"low\",\"allow\":[\"may_crash_host\"]}", "/allow"},
		{"{\"physical_address\":1,\"risk\":\"low\",\"action\":\"drain\"}", "/action"},
		{"{\"physical_address\":1,\"risk\":\"low\"", NULL},
	};

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reply reply = post(rows[i].body, 400);

		if (rows[i].pointer)
			CHECK_STR(text_of(&reply, "pointer"), rows[i].pointer);
		reply_done(&reply);
	}
	CHECK_INT(asked.count, 0);
	rest_world_teardown(&world);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"an alert", test_alert},
		{"something begun", test_begun},
		{"refused", test_refused},
		{"not taken", test_not_taken},
		{"bad bodies", test_bad_bodies},
	};

	return unit_main("service/rest/hints", cases, ARRAY_SIZE(cases));
}
