/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains as resources: begun, looked at, and taken back.
 */
#include "routes.h"

#include <string.h>
#include "model_json.h"
#include "submission.h"
#include "wish_body.h"

#define DRAINS_MAX \
	1024 /* more than anybody drains on one host; the engine forgets released ones before */

struct drain_list {
	const struct engine *engine;
	const struct drain_record *drains[DRAINS_MAX];
};

static json_t *drain_json(const struct engine *engine, const struct drain_record *drain)
{
	return model_json_drain(drain, engine_operation(engine, drain_record_operation(drain)));
}

static const char *drain_key(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE])
{
	const struct drain_list *drains = list;

	return drains->drains[index]->id;
}

static json_t *drain_item(const void *list, size_t index)
{
	const struct drain_list *drains = list;

	return drain_json(drains->engine, drains->drains[index]);
}

static void get_drains(struct rest_call *call)
{
	const struct engine *engine = call->context->backend->engine;
	CLEANUP_FREE struct drain_list *list = calloc(1, sizeof(*list));

	if (!list) {
		rest_call_refuse(call, PROBLEM_OUT_OF_MEMORY, "the list cannot be made");
		return;
	}
	list->engine = engine;
	rest_call_reply_list(
		call, &(struct rest_list){.count = engine_drains(engine, list->drains, DRAINS_MAX),
					  .key = drain_key,
					  .item = drain_item,
					  .list = list});
}

/* NULL where there is none; the call has ended then. */
static const struct drain_record *find_drain(struct rest_call *call)
{
	const struct drain_record *drain = engine_drain(call->context->backend->engine, call->id);

	if (!drain)
		rest_call_refuse(call, PROBLEM_UNKNOWN_DRAIN,
				 "drain %s: there is no such drain (GET /v1/drains lists them)",
				 call->id);
	return drain;
}

static void get_drain(struct rest_call *call)
{
	const struct drain_record *drain = find_drain(call);

	if (drain)
		rest_call_reply_object(
			call,
			rest_call_stamp(call, drain_json(call->context->backend->engine, drain)));
}

static void post_drain(struct rest_call *call)
{
	struct body_error error;

	if (wish_body_drain(call->body, &call->wish, &error) < 0)
		rest_call_refuse_body(call, &error);
	else
		submission_send(call);
}

static void delete_drain(struct rest_call *call)
{
	const struct drain_record *drain = find_drain(call);

	if (!drain || !rest_call_matches(call, drain->revision))
		return;
	wish_init(&call->wish, OPERATION_KIND_UNDRAIN);
	snprintf(call->wish.drain, sizeof(call->wish.drain), "%s", drain->id);
	call->wish.drain_wish = drain->wish;
	call->wish.keep = call->query.keep;
	call->wish.timeout_s = call->query.timeout_s;
	submission_send_undrain(call, call->id);
}

static const struct route routes[] = {
	{HTTP_METHOD_POST, "/v1/drains", post_drain, .body = ROUTE_BODY_REQUIRED,
	 .queries = QUERY_TAKES(FRESH) | QUERY_TAKES(DRY_RUN) | QUERY_TAKES(EXPECT_PLAN)},
	{HTTP_METHOD_GET, "/v1/drains", get_drains,
	 .queries = QUERY_TAKES(PAGE) | QUERY_TAKES(PAGE_SIZE) | QUERY_TAKES(FRESH)},
	{HTTP_METHOD_GET, "/v1/drains/{drain}", get_drain, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_DELETE, "/v1/drains/{drain}", delete_drain,
	 .queries = QUERY_TAKES(DRY_RUN) | QUERY_TAKES(EXPECT_PLAN) | QUERY_TAKES(TIMEOUT) | QUERY_TAKES(KEEP)},
};
const struct route_table routes_drain_table = {routes, ARRAY_SIZE(routes)};
