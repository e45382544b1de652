/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests: their memory, where it lies, what their owner allows, and their agent.
 */
#include "routes.h"

#include <inttypes.h>
#include <string.h>
#include "model_json.h"
#include "size_text.h"
#include "submission.h"
#include "wish_body.h"

static const char *guest_key(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE])
{
	const struct snapshot *snapshot = list;

	return snapshot->guests[index].uuid;
}

static json_t *guest_item(const void *list, size_t index)
{
	const struct snapshot *snapshot = list;

	return model_json_guest(snapshot, &snapshot->guests[index]);
}

static void get_guests(struct rest_call *call)
{
	const struct snapshot *snapshot = rest_call_snapshot(call);

	rest_call_reply_list(call, &(struct rest_list){.count = snapshot->guest_count,
						       .key = guest_key,
						       .item = guest_item,
						       .list = snapshot});
}

static void get_guest(struct rest_call *call)
{
	const struct snapshot_guest *guest = rest_call_guest(call);

	if (guest)
		rest_call_reply_object(
			call,
			rest_call_stamp(call, model_json_guest(rest_call_snapshot(call), guest)));
}

static void get_memory(struct rest_call *call)
{
	const struct snapshot_guest *guest = rest_call_guest(call);

	if (guest)
		rest_call_reply_object(call, rest_call_stamp(call, model_json_guest_memory(guest)));
}

static void get_placement(struct rest_call *call)
{
	const struct snapshot_guest *guest = rest_call_guest(call);

	if (guest)
		rest_call_reply_object(call,
				       rest_call_stamp(call, model_json_guest_placement(guest)));
}

/* The guest's policy stands in the guest's own object: one spelling for both. */
static void reply_policy(struct rest_call *call, const struct snapshot_guest *guest)
{
	json_t *whole = model_json_guest(rest_call_snapshot(call), guest);
	json_t *policy = json_deep_copy(json_object_get(whole, "policy"));

	json_decref(whole);
	rest_call_reply_object(call, rest_call_stamp(call, policy));
}

static void get_policy(struct rest_call *call)
{
	const struct snapshot_guest *guest = rest_call_guest(call);

	if (guest)
		reply_policy(call, guest);
}

/* The guest of a change, with its revision checked; NULL where the call has ended. */
static const struct snapshot_guest *changed_guest(struct rest_call *call)
{
	const struct snapshot_guest *guest = rest_call_guest(call);

	if (!guest || !rest_call_matches(call, rest_call_snapshot(call)->revision))
		return NULL;
	snprintf(call->target_id, sizeof(call->target_id), "%s", guest->uuid);
	return guest;
}

typedef int wish_parse_fn(const json_t *body, const struct snapshot_guest *guest,
			  struct wish *ret_wish, struct body_error *error);

static void patch(struct rest_call *call, wish_parse_fn *parse)
{
	const struct snapshot_guest *guest = changed_guest(call);
	struct body_error error;

	if (!guest)
		return;
	if (parse(call->body, guest, &call->wish, &error) < 0)
		rest_call_refuse_body(call, &error);
	else
		submission_send(call);
}

static void patch_memory(struct rest_call *call)
{
	patch(call, wish_body_resize);
}

static void patch_placement(struct rest_call *call)
{
	patch(call, wish_body_move);
}

static void reply_guest_again(struct rest_call *call, bool only_policy)
{
	const struct snapshot_guest *guest =
		snapshot_guest(rest_call_snapshot(call), call->target_id);

	if (!guest)
		rest_call_refuse(call, PROBLEM_UNKNOWN_GUEST, "the guest has gone meanwhile");
	else if (only_policy)
		reply_policy(call, guest);
	else
		rest_call_reply_object(
			call,
			rest_call_stamp(call, model_json_guest(rest_call_snapshot(call), guest)));
}

static void on_policy_seen(void *user, int error, const struct failure *failure,
			   const struct remainder_list *list)
{
	struct rest_call *call = user;

	if (rest_call_goes_on(call, error, failure, list))
		reply_guest_again(call, true);
}

static void on_agent_seen(void *user, int error, const struct failure *failure,
			  const struct remainder_list *list)
{
	struct rest_call *call = user;

	if (rest_call_goes_on(call, error, failure, list))
		reply_guest_again(call, false);
}

/* What was set is looked at before it is told. */
static void on_policy_set(void *user, int error, const struct failure *failure,
			  const struct remainder_list *list)
{
	struct rest_call *call = user;

	if (rest_call_goes_on(call, error, failure, list))
		call->context->backend->refresh(call->context->backend->user, call->target_id,
						on_policy_seen, call);
}

static void on_agent_attached(void *user, int error, const struct failure *failure,
			      const struct remainder_list *list)
{
	struct rest_call *call = user;

	if (rest_call_goes_on(call, error, failure, list))
		call->context->backend->refresh(call->context->backend->user, call->target_id,
						on_agent_seen, call);
}

/* The alias of the device that the agent means by its region, "": not known. */
static const char *device_of_region(const struct snapshot_guest *guest, size_t region)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (snapshot_guest_region(guest, &guest->devices[i]) == &guest->agent.regions[region])
			return guest->devices[i].alias;
	return "";
}

static void on_blocks(void *user, int error, const struct failure *failure,
		      const struct snapshot_guest_block *blocks, size_t count, uint64_t next_block)
{
	struct rest_call *call = user;
	const struct snapshot_guest *guest;
	char key[24], token[2 * sizeof(key)];
	json_t *json, *items;

	if (!rest_call_goes_on(call, error, failure, NULL))
		return;
	/* It may have ended since it was asked. */
	guest = rest_call_guest(call);
	if (!guest)
		return;
	json = json_object();
	items = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(items, model_json_guest_block(&blocks[i],
								    device_of_region(guest, blocks[i].region)));
	json_object_set_new(json, "items", items);
	snprintf(key, sizeof(key), "%" PRIu64, next_block);
	rest_call_page_token(key, token);
	json_object_set_new(json, "next", next_block == UINT64_MAX ? json_null() : json_string(token));
	rest_call_reply_object(call, rest_call_stamp(call, json));
}

static void get_blocks(struct rest_call *call)
{
	const struct rest_backend *backend = call->context->backend;
	const struct snapshot_guest *guest = rest_call_guest(call);
	char key[SNAPSHOT_NAME_SIZE];
	uint64_t first = 0;

	if (!guest)
		return;
	if (query_has(&call->query, QUERY_KEY_PAGE) &&
	    (rest_call_page_key(call->query.page, key) < 0 || size_text_parse_number(key, 10, &first) < 0)) {
		rest_call_refuse(call, PROBLEM_INVALID_QUERY, "page must be the next of an earlier answer");
		return;
	}
	backend->guest_blocks(backend->user, guest->uuid, first, call->query.page_size, on_blocks, call);
}

static void put_policy(struct rest_call *call)
{
	const struct snapshot_guest *guest = changed_guest(call);
	struct rest_guest_policy policy;
	struct body_error error;

	if (!guest)
		return;
	if (wish_body_policy(call->body, &policy, &error) < 0)
		rest_call_refuse_body(call, &error);
	else
		call->context->backend->set_policy(call->context->backend->user, guest->uuid,
						   &policy, on_policy_set, call);
}

static void post_agent(struct rest_call *call)
{
	const struct snapshot_guest *guest = changed_guest(call);

	if (guest)
		call->context->backend->attach_agent(call->context->backend->user, guest->uuid,
						     on_agent_attached, call);
}

#define CHANGE (QUERY_TAKES(FRESH) | QUERY_TAKES(DRY_RUN) | QUERY_TAKES(EXPECT_PLAN))

static const struct route routes[] = {
	{HTTP_METHOD_GET, "/v1/guests", get_guests,
	 .queries = QUERY_TAKES(FRESH) | QUERY_TAKES(PAGE) | QUERY_TAKES(PAGE_SIZE)},
	{HTTP_METHOD_GET, "/v1/guests/{guest}", get_guest, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_GET, "/v1/guests/{guest}/memory", get_memory, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_PATCH, "/v1/guests/{guest}/memory", patch_memory, .queries = CHANGE,
	 .body = ROUTE_BODY_REQUIRED, .needs_libvirt = true},
	{HTTP_METHOD_GET, "/v1/guests/{guest}/blocks", get_blocks,
	 .queries = QUERY_TAKES(PAGE) | QUERY_TAKES(PAGE_SIZE)},
	{HTTP_METHOD_GET, "/v1/guests/{guest}/placement", get_placement,
	 .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_PATCH, "/v1/guests/{guest}/placement", patch_placement, .queries = CHANGE,
	 .body = ROUTE_BODY_REQUIRED, .needs_libvirt = true},
	{HTTP_METHOD_GET, "/v1/guests/{guest}/policy", get_policy, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_PUT, "/v1/guests/{guest}/policy", put_policy, .body = ROUTE_BODY_REQUIRED,
	 .needs_libvirt = true},
	{HTTP_METHOD_POST, "/v1/guests/{guest}/agent", post_agent, .body = ROUTE_BODY_EMPTY,
	 .needs_libvirt = true},
};
const struct route_table routes_guest_table = {routes, ARRAY_SIZE(routes)};
