/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host itself: what it is, its nodes, DIMMs and blocks, who holds them, whether it is fit;
 * probes, metrics and the description of this API.
 */
#include "routes.h"

#include <inttypes.h>
#include <string.h>
#include "event_stream.h"
#include "metrics.h"
#include "model_json.h"
#include "openapi_text.h"
#include "submission.h"
#include "wish_body.h"

static void get_host(struct rest_call *call)
{
	const struct rest_backend *backend = call->context->backend;

	rest_call_reply_object(call, rest_call_stamp(call, backend->host(backend->user)));
}

static const char *node_key(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE])
{
	const struct snapshot *snapshot = list;

	snprintf(text, SNAPSHOT_NAME_SIZE, "%d", snapshot->nodes[index].id);
	return text;
}

static json_t *node_item(const void *list, size_t index)
{
	const struct snapshot *snapshot = list;

	return model_json_node(snapshot, &snapshot->nodes[index]);
}

static void get_nodes(struct rest_call *call)
{
	const struct snapshot *snapshot = rest_call_snapshot(call);

	rest_call_reply_list(call, &(struct rest_list){.count = snapshot->node_count,
						       .key = node_key,
						       .item = node_item,
						       .list = snapshot});
}

static void refuse_node(struct rest_call *call, const char *id)
{
	rest_call_refuse(call, PROBLEM_UNKNOWN_NODE,
			 "node %s: this host has no such node (GET /v1/nodes lists them)", id);
}

static void get_node(struct rest_call *call)
{
	const struct snapshot *snapshot = rest_call_snapshot(call);
	const struct snapshot_node *node = NULL;
	char *rest;
	long id = strtol(call->id, &rest, 10);

	if (call->id[0] >= '0' && call->id[0] <= '9' && *rest == '\0' && id < SNAPSHOT_NODES_MAX)
		node = snapshot_node(snapshot, (int)id);
	if (!node) {
		refuse_node(call, call->id);
		return;
	}
	rest_call_reply_object(call, rest_call_stamp(call, model_json_node(snapshot, node)));
}

static const char *dimm_key(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE])
{
	const struct snapshot *snapshot = list;

	return snapshot->dimms[index].id;
}

static json_t *dimm_item(const void *list, size_t index)
{
	const struct snapshot *snapshot = list;

	return model_json_dimm(snapshot, &snapshot->dimms[index]);
}

static void get_dimms(struct rest_call *call)
{
	const struct snapshot *snapshot = rest_call_snapshot(call);

	rest_call_reply_list(call, &(struct rest_list){.count = snapshot->dimm_count,
						       .key = dimm_key,
						       .item = dimm_item,
						       .list = snapshot});
}

/* NULL where there is none; the call has ended then. */
static const struct snapshot_dimm *find_dimm(struct rest_call *call, const char *id)
{
	const struct snapshot_dimm *dimm = snapshot_dimm(rest_call_snapshot(call), id);

	if (!dimm)
		rest_call_refuse(call, PROBLEM_UNKNOWN_DIMM,
				 "dimm %s: this host has no such DIMM (GET /v1/dimms lists them)",
				 id);
	return dimm;
}

static void get_dimm(struct rest_call *call)
{
	const struct snapshot_dimm *dimm = find_dimm(call, call->id);

	if (dimm)
		rest_call_reply_object(
			call,
			rest_call_stamp(call, model_json_dimm(rest_call_snapshot(call), dimm)));
}

/* Blocks that the query lets through. */
struct block_list {
	size_t count;
	const struct snapshot_block *blocks[];
};

static const char *block_key(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE])
{
	const struct block_list *blocks = list;

	snprintf(text, SNAPSHOT_NAME_SIZE, "%" PRIu64, blocks->blocks[index]->id);
	return text;
}

static json_t *block_item(const void *list, size_t index)
{
	const struct block_list *blocks = list;

	return model_json_block(blocks->blocks[index]);
}

static bool block_in_dimm(const struct snapshot_block *block, const struct snapshot_dimm *dimm)
{
	for (size_t i = 0; i < dimm->range_count; i++)
		if (dimm->ranges[i].start < block->start + block->size_bytes &&
		    block->start < dimm->ranges[i].end)
			return true;
	return false;
}

static void get_blocks(struct rest_call *call)
{
	const struct snapshot *snapshot = rest_call_snapshot(call);
	const struct query *query = &call->query;
	const struct snapshot_dimm *dimm = NULL;
	CLEANUP_FREE struct block_list *list = NULL;

	if (query_has(query, QUERY_KEY_DIMM)) {
		dimm = find_dimm(call, query->dimm);
		if (!dimm)
			return;
	}
	if (query_has(query, QUERY_KEY_NODE) && !snapshot_node(snapshot, query->node)) {
		char id[16];

		snprintf(id, sizeof(id), "%d", query->node);
		refuse_node(call, id);
		return;
	}
	list = calloc(1, sizeof(*list) + snapshot->block_count * sizeof(list->blocks[0]));
	if (!list) {
		rest_call_refuse(call, PROBLEM_OUT_OF_MEMORY, "the list cannot be made");
		return;
	}
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if ((!dimm || block_in_dimm(block, dimm)) &&
		    (!query_has(query, QUERY_KEY_NODE) || block->node == query->node))
			list->blocks[list->count++] = block;
	}
	rest_call_reply_list(call, &(struct rest_list){.count = list->count,
						       .key = block_key,
						       .item = block_item,
						       .list = list});
}

static json_t *counted(const struct holder_report *report, uint64_t bytes)
{
	return report->is_counted ? json_integer((json_int_t)bytes) : json_null();
}

static json_t *holder_item(const struct remainder *entry, bool has_pinned, uint64_t pinned_bytes)
{
	json_t *json = model_json_remainder(entry);

	json_object_set_new(json, "pinned_bytes", has_pinned ? json_integer((json_int_t)pinned_bytes) : json_null());
	return json;
}

static void on_holders(void *user, int error, const struct failure *failure, const struct holder_report *report)
{
	struct rest_call *call = user;
	const struct snapshot_dimm *dimm;
	json_t *json, *items;

	if (!rest_call_goes_on(call, error, failure, NULL))
		return;
	items = json_array();
	for (size_t i = 0; i < report->count; i++)
		json_array_append_new(items, holder_item(&report->holders[i].entry, report->holders[i].has_pinned,
							 report->holders[i].pinned_bytes));
	dimm = query_has(&call->query, QUERY_KEY_DIMM) ? snapshot_dimm(rest_call_snapshot(call), call->query.dimm) : NULL;
	if (dimm && dimm->ranges_cut) {
		struct remainder_list cut = {0};

		json_array_append_new(items, holder_item(remainder_list_add(&cut, REMAINDER_NOT_SURVEYED, "dimm", 0,
									    "ask for the rest with start= and end=",
									    "it has more than %d pieces: only the first "
									    "were looked at",
									    SNAPSHOT_RANGES_MAX),
							 false, 0));
	}
	/* So many of each class, at most: it is always one page. */
	json = json_object();
	json_object_set_new(json, "items", items);
	json_object_set_new(json, "next", json_null());
	json_object_set_new(json, "size_bytes", counted(report, report->size_bytes));
	json_object_set_new(json, "free_bytes", counted(report, report->free_bytes));
	json_object_set_new(json, "offline_bytes", counted(report, report->offline_bytes));
	rest_call_reply_object(call, rest_call_stamp(call, json));
}

static void ask_holders(struct rest_call *call, const struct snapshot_range *ranges, size_t count)
{
	const struct rest_backend *backend = call->context->backend;

	backend->holders(backend->user, ranges, count, on_holders, call);
}

/* The blocks of a node, as few ranges as they make. */
static void ask_holders_of_node(struct rest_call *call)
{
	const struct snapshot *snapshot = rest_call_snapshot(call);
	CLEANUP_FREE struct snapshot_range *ranges =
		calloc(snapshot->block_count + 1, sizeof(*ranges));
	size_t count = 0;

	if (!snapshot_node(snapshot, call->query.node)) {
		char id[16];

		snprintf(id, sizeof(id), "%d", call->query.node);
		refuse_node(call, id);
		return;
	}
	if (!ranges) {
		rest_call_refuse(call, PROBLEM_OUT_OF_MEMORY, "the list cannot be made");
		return;
	}
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (block->node != call->query.node)
			continue;
		if (count > 0 && ranges[count - 1].end == block->start)
			ranges[count - 1].end += block->size_bytes;
		else
			ranges[count++] = (struct snapshot_range){block->start,
								  block->start + block->size_bytes};
	}
	ask_holders(call, ranges, count);
}

static void get_holders(struct rest_call *call)
{
	const struct query *query = &call->query;
	uint32_t of = query->given & (QUERY_TAKES(DIMM) | QUERY_TAKES(NODE) | QUERY_TAKES(START) |
				      QUERY_TAKES(END));

	if (of == QUERY_TAKES(DIMM)) {
		const struct snapshot_dimm *dimm = find_dimm(call, query->dimm);

		if (dimm)
			ask_holders(call, dimm->ranges, dimm->range_count);
	} else if (of == QUERY_TAKES(NODE)) {
		ask_holders_of_node(call);
	} else if (of == (QUERY_TAKES(START) | QUERY_TAKES(END)) && query->start < query->end) {
		ask_holders(call, &(struct snapshot_range){query->start, query->end}, 1);
	} else {
		rest_call_refuse(call, PROBLEM_INVALID_QUERY,
				 "one of dimm=, node=, or start= and a greater end= must say whose "
				 "holders are meant");
	}
}

static void post_check(struct rest_call *call)
{
	struct body_error error;

	if (wish_body_check(call->body, &call->wish, &error) < 0)
		rest_call_refuse_body(call, &error);
	else
		submission_send(call);
}

static void get_events(struct rest_call *call)
{
	const char *last = http_head_find(http_exchange_head(call->exchange), "Last-Event-ID");
	struct event_stream *events = call->context->events;

	if (last && !event_stream_id_is_valid(last)) {
		rest_call_refuse(call, PROBLEM_INVALID_HEADER,
				 "Last-Event-ID must be the id of an event");
		return;
	}
	if (event_stream_is_full(events)) {
		rest_call_refuse(call, PROBLEM_TOO_MANY_STREAMS,
				 "%d streams are open, which is the most",
				 EVENT_STREAM_READERS_MAX);
		return;
	}
	call->context->replies[2]++;
	event_stream_attach(events, rest_call_release(call));
}

static void get_metrics(struct rest_call *call)
{
	size_t size;
	CLEANUP_FREE char *text = metrics_text(call->context, &size);

	if (!text)
		rest_call_refuse(call, PROBLEM_OUT_OF_MEMORY, "the metrics cannot be made");
	else
		rest_call_reply_text(call, "text/plain; version=0.0.4; charset=utf-8", text, size);
}

static void get_health(struct rest_call *call)
{
	rest_call_reply(call, 200, json_pack("{s:s}", "status", "ok"));
}

/* Ready is who has looked at the host and can ask libvirt. */
static void get_ready(struct rest_call *call)
{
	const struct rest_backend *backend = call->context->backend;
	struct failure failure = {0};

	if (!backend->libvirt_up(backend->user, &failure)) {
		failure_set_code(&failure, problem_code_name(PROBLEM_LIBVIRT_DOWN));
		rest_call_refuse_failure(call, -ENOTCONN, &failure, NULL);
	} else if (rest_call_snapshot(call)->observed_at_ms == 0) {
		rest_call_refuse(call, PROBLEM_NOT_READY,
				 "the daemon has not looked at the host yet");
	} else {
		rest_call_reply(call, 200, json_pack("{s:s}", "status", "ready"));
	}
}

static void get_openapi(struct rest_call *call)
{
	rest_call_reply_text(call, "application/json", openapi_text, openapi_text_size);
}

#define FRESH_LIST (QUERY_TAKES(FRESH) | QUERY_TAKES(PAGE) | QUERY_TAKES(PAGE_SIZE))

static const struct route routes[] = {
	{HTTP_METHOD_GET, "/v1/host", get_host, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_GET, "/v1/nodes", get_nodes, .queries = FRESH_LIST},
	{HTTP_METHOD_GET, "/v1/nodes/{node}", get_node, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_GET, "/v1/dimms", get_dimms, .queries = FRESH_LIST},
	{HTTP_METHOD_GET, "/v1/dimms/{dimm}", get_dimm, .queries = QUERY_TAKES(FRESH)},
	{HTTP_METHOD_GET, "/v1/holders", get_holders,
	 .queries = QUERY_TAKES(FRESH) | QUERY_TAKES(DIMM) | QUERY_TAKES(NODE) |
		    QUERY_TAKES(START) | QUERY_TAKES(END)},
	{HTTP_METHOD_GET, "/v1/blocks", get_blocks,
	 .queries = FRESH_LIST | QUERY_TAKES(DIMM) | QUERY_TAKES(NODE)},
	{HTTP_METHOD_POST, "/v1/checks", post_check, .body = ROUTE_BODY_OPTIONAL,
	 .queries = QUERY_TAKES(DRY_RUN) | QUERY_TAKES(EXPECT_PLAN)},
	{HTTP_METHOD_GET, "/v1/events", get_events},
	{HTTP_METHOD_GET, "/v1/openapi.json", get_openapi},
	{HTTP_METHOD_GET, "/metrics", get_metrics},
	{HTTP_METHOD_GET, "/healthz", get_health},
	{HTTP_METHOD_GET, "/readyz", get_ready},
};
const struct route_table routes_host_table = {routes, ARRAY_SIZE(routes)};
