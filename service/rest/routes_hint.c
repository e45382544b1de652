/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others say of memory that goes bad.
 */
#include "routes.h"

#include "hint_body.h"
#include "model_json.h"

/* What was wanted and not begun: the hint is taken all the same. */
static json_t *refusal_json(const struct memory_hints_answer *answer)
{
	char text[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE + 16];

	if (!answer->failure)
		return json_null();
	return problem_json(problem_from_failure(answer->failure, answer->failure->error),
			    failure_format(answer->failure, text, sizeof(text)), answer->blockers);
}

static void on_hint(void *user, const struct memory_hints_answer *answer)
{
	struct rest_call *call = user;
	json_t *json;

	if (!rest_call_goes_on(call, answer->error, answer->failure, NULL))
		return;
	json = json_object();
	json_object_set_new(json, "hint", model_json_hint(answer->hint));
	json_object_set_new(json, "wanted", json_string(hint_action_name(answer->wanted)));
	json_object_set_new(json, "action", json_string(hint_action_name(answer->action)));
	json_object_set_new(
		json, "operation",
		answer->operation ? rest_call_stamp(call, model_json_operation(answer->operation)) : json_null());
	json_object_set_new(
		json, "drain",
		answer->drain ? rest_call_stamp(call, model_json_drain(answer->drain, answer->operation)) : json_null());
	json_object_set_new(json, "refusal", refusal_json(answer));
	if (answer->is_new)
		rest_call_reply_accepted(call, answer->operation, json, false);
	else
		rest_call_reply(call, 200, rest_call_stamp(call, json));
}

static void post_hint(struct rest_call *call)
{
	const struct rest_backend *backend = call->context->backend;
	struct memory_hint hint;
	struct body_error error;

	if (hint_body_parse(call->body, &hint, &error) < 0)
		rest_call_refuse_body(call, &error);
	else
		backend->hint(backend->user, &hint, call->actor, on_hint, call);
}

static const struct route routes[] = {
	{HTTP_METHOD_POST, "/v1/hints", post_hint, .body = ROUTE_BODY_REQUIRED, .queries = QUERY_TAKES(FRESH)},
};
const struct route_table routes_hint_table = {routes, ARRAY_SIZE(routes)};
