/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: looked at, waited for, cancelled, paused and resumed.
 */
#include "routes.h"

#include <event2/event.h>
#include <string.h>
#include "model_json.h"
#include "wish_body.h"

/* A waiter costs a connection, of which there are fewer; the bound is for clients that leave and
 * come again. */
#define WAITERS_MAX 128
/* More than the engine keeps in memory. */
#define OPERATIONS_MAX 1024

struct operation_list {
	const struct engine *engine;
	size_t count;
	const struct operation_record **records; /* owned array */
	struct operation_record **loaded;	 /* owned, each */
};

static const char *operation_key(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE])
{
	const struct operation_list *operations = list;

	return operations->records[index]->id;
}

/* What runs is told as it is now, not as it was last written. */
static json_t *operation_item(const void *list, size_t index)
{
	const struct operation_list *operations = list;
	const struct operation_record *live =
		engine_operation(operations->engine, operations->records[index]->id);

	return model_json_operation(live ? live : operations->records[index]);
}

static void list_done(struct operation_list *list)
{
	for (size_t i = 0; list->loaded && i < list->count; i++)
		operation_record_free(list->loaded[i]);
	free(list->loaded);
	free(list->records);
}

/*
 * The journal has all operations in their order, the engine only open ones and the last that ended:
 * so the journal gives the list. It gives one more than the page takes, to tell whether there is a
 * next one.
 */
static void reply_journal_page(struct rest_call *call, struct operation_list *list)
{
	const struct rest_backend *backend = call->context->backend;
	char before[SNAPSHOT_NAME_SIZE], token[2 * SNAPSHOT_NAME_SIZE + 1];
	bool paged = query_has(&call->query, QUERY_KEY_PAGE);
	struct failure failure = {0};
	json_t *json, *items;
	size_t shown;
	int error;

	if (paged && rest_call_page_key(call->query.page, before) < 0) {
		rest_call_refuse(call, PROBLEM_INVALID_QUERY,
				 "page must be the next of an earlier answer");
		return;
	}
	error = journal_load_operations(backend->journal, false, paged ? before : NULL,
					(size_t)call->query.page_size + 1, &list->loaded,
					&list->count, &failure);
	if (error < 0) {
		if (error == -ENOENT)
			rest_call_refuse(
				call, PROBLEM_PAGE_EXPIRED,
				"what the page began after is gone (ask again without page)");
		else
			rest_call_refuse_failure(call, error, &failure, NULL);
		return;
	}
	shown = list->count > call->query.page_size ? call->query.page_size : list->count;
	list->records = calloc(list->count + 1, sizeof(*list->records));
	json = json_object();
	items = json_array();
	for (size_t i = 0; list->records && i < shown; i++) {
		list->records[i] = list->loaded[i];
		json_array_append_new(items, rest_call_stamp(call, operation_item(list, i)));
	}
	json_object_set_new(json, "items", items);
	if (shown < list->count) {
		rest_call_page_token(list->loaded[shown - 1]->id, token);
		json_object_set_new(json, "next", json_string(token));
	} else {
		json_object_set_new(json, "next", json_null());
	}
	rest_call_reply_object(call, rest_call_stamp(call, json));
}

static void reply_engine_page(struct rest_call *call, struct operation_list *list)
{
	list->records = calloc(OPERATIONS_MAX, sizeof(*list->records));
	if (!list->records) {
		rest_call_refuse(call, PROBLEM_OUT_OF_MEMORY, "the list cannot be made");
		return;
	}
	list->count = engine_operations(list->engine, list->records, OPERATIONS_MAX);
	rest_call_reply_list(call, &(struct rest_list){.count = list->count,
						       .key = operation_key,
						       .item = operation_item,
						       .list = list});
}

static void get_operations(struct rest_call *call)
{
	const struct rest_backend *backend = call->context->backend;
	struct operation_list list = {.engine = backend->engine};

	if (backend->journal)
		reply_journal_page(call, &list);
	else
		reply_engine_page(call, &list);
	list_done(&list);
}

static void reply_operation(struct rest_call *call, const struct operation_record *operation)
{
	rest_call_reply_object(call, rest_call_stamp(call, model_json_operation(operation)));
}

static void refuse_unknown(struct rest_call *call)
{
	rest_call_refuse(call, PROBLEM_UNKNOWN_OPERATION,
			 "operation %s: there is no such operation (GET /v1/operations lists them)",
			 call->id);
}

/* Not in the engine's memory: an older one, from the journal. */
static void reply_old_operation(struct rest_call *call)
{
	struct journal *journal = call->context->backend->journal;
	CLEANUP(operation_record_freep) struct operation_record *record = NULL;
	struct failure failure = {0};
	int error = -ENOENT;

	if (journal && strlen(call->id) < OPERATION_ID_SIZE)
		error = journal_load_operation(journal, call->id, &record, &failure);
	if (error == -ENOENT)
		refuse_unknown(call);
	else if (error < 0)
		rest_call_refuse_failure(call, error, &failure, NULL);
	else
		reply_operation(call, record);
}

static void end_wait(struct rest_call *call)
{
	const struct operation_record *operation;

	LIST_REMOVE(call, waiter_link);
	call->context->waiter_count--;
	operation = engine_operation(call->context->backend->engine, call->id);
	if (operation)
		reply_operation(call, operation);
	else
		reply_old_operation(call);
}

static void on_wait_over(evutil_socket_t fd, short events, void *user)
{
	end_wait(user);
}

static void on_waiter_gone(void *user)
{
	end_wait(user);
}

void routes_operation_check_waiters(struct rest_context *context)
{
	struct rest_call *call = LIST_FIRST(&context->waiters);

	while (call) {
		struct rest_call *next = LIST_NEXT(call, waiter_link);
		const struct operation_record *operation =
			engine_operation(context->backend->engine, call->id);

		if (!operation || operation_state_is_final(operation->state))
			end_wait(call);
		call = next;
	}
}

static void get_operation(struct rest_call *call)
{
	struct rest_context *context = call->context;
	const struct operation_record *operation =
		engine_operation(context->backend->engine, call->id);
	struct timeval wait = {.tv_sec = call->query.wait_s};

	if (!operation) {
		reply_old_operation(call);
		return;
	}
	if (call->query.wait_s == 0 || operation_state_is_final(operation->state)) {
		reply_operation(call, operation);
		return;
	}
	if (context->waiter_count >= WAITERS_MAX) {
		rest_call_refuse(call, PROBLEM_TOO_MANY_STREAMS,
				 "%d calls wait already, which is the most", WAITERS_MAX);
		return;
	}
	call->timer = evtimer_new(context->base, on_wait_over, call);
	if (!call->timer) {
		rest_call_refuse(call, PROBLEM_OUT_OF_MEMORY, "the call cannot wait");
		return;
	}
	LIST_INSERT_HEAD(&context->waiters, call, waiter_link);
	context->waiter_count++;
	http_exchange_on_gone(call->exchange, on_waiter_gone, call);
	event_add(call->timer, &wait);
}

/* What the engine said to a cancel, a pause or a resume. */
static void reply_control(struct rest_call *call, bool cancel, int error,
			  const struct failure *failure)
{
	const struct operation_record *operation =
		engine_operation(call->context->backend->engine, call->id);
	char text[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE] = "";

	if (failure_is_set(failure))
		failure_format(failure, text, sizeof(text));
	/* To cancel again what is being cancelled asks for nothing new. */
	if (error == -EINPROGRESS)
		error = cancel ? 0 : -EBUSY;
	switch (-error) {
	case 0:
		if (operation)
			rest_call_reply_accepted(call, operation, NULL, false);
		else
			refuse_unknown(call);
		return;
	case ENOENT:
		refuse_unknown(call);
		return;
	case EALREADY:
		rest_call_refuse(call, PROBLEM_OPERATION_ENDED, "%s",
				 text[0] ? text
					 : "the operation has ended: nothing of it can be changed");
		return;
	case EOPNOTSUPP:
		rest_call_refuse(call, PROBLEM_NOT_CANCELLABLE, "%s",
				 text[0] ? text : "the operation is past its point of no return");
		return;
	case EINVAL:
	case EBUSY:
		rest_call_refuse(call, PROBLEM_WRONG_STATE, "%s",
				 text[0] ? text : "the operation is in no state that allows it");
		return;
	default:
		rest_call_refuse_failure(call, error, failure, NULL);
		return;
	}
}

/* The engine does not remember it: either the journal does, then it has ended, or nobody. */
static bool is_open(struct rest_call *call)
{
	struct journal *journal = call->context->backend->journal;
	CLEANUP(operation_record_freep) struct operation_record *record = NULL;
	struct failure failure = {0};

	if (engine_operation(call->context->backend->engine, call->id))
		return true;
	if (journal && strlen(call->id) < OPERATION_ID_SIZE &&
	    journal_load_operation(journal, call->id, &record, &failure) == 0)
		rest_call_refuse(call, PROBLEM_OPERATION_ENDED,
				 "operation %s has ended: nothing of it can be changed", call->id);
	else
		refuse_unknown(call);
	return false;
}

static void post_cancel(struct rest_call *call)
{
	struct engine *engine = call->context->backend->engine;
	const struct operation_record *operation;
	struct failure failure = {0};
	struct body_error error;
	bool undo, usual;

	if (!is_open(call))
		return;
	/* As when time runs out: a drain leaves the host as it was found, all else stops where it
	 * is. */
	operation = engine_operation(engine, call->id);
	usual = operation->wish.kind == OPERATION_KIND_DRAIN;
	if (wish_body_cancel(call->body, usual, &undo, &error) < 0) {
		rest_call_refuse_body(call, &error);
		return;
	}
	int result = engine_cancel(engine, call->id, undo, &failure);

	reply_control(call, true, result, &failure);
}

static void post_pause(struct rest_call *call)
{
	struct failure failure = {0};

	if (is_open(call)) {
		int result = engine_pause(call->context->backend->engine, call->id, &failure);

		reply_control(call, false, result, &failure);
	}
}

static void post_resume(struct rest_call *call)
{
	struct failure failure = {0};

	if (is_open(call)) {
		int result = engine_resume(call->context->backend->engine, call->id, &failure);

		reply_control(call, false, result, &failure);
	}
}

static const struct route routes[] = {
	{HTTP_METHOD_GET, "/v1/operations", get_operations,
	 .queries = QUERY_TAKES(PAGE) | QUERY_TAKES(PAGE_SIZE)},
	{HTTP_METHOD_GET, "/v1/operations/{operation}", get_operation,
	 .queries = QUERY_TAKES(WAIT)},
	{HTTP_METHOD_POST, "/v1/operations/{operation}/cancel", post_cancel,
	 .body = ROUTE_BODY_OPTIONAL},
	{HTTP_METHOD_POST, "/v1/operations/{operation}/pause", post_pause,
	 .body = ROUTE_BODY_EMPTY},
	{HTTP_METHOD_POST, "/v1/operations/{operation}/resume", post_resume,
	 .body = ROUTE_BODY_EMPTY},
};
const struct route_table routes_operation_table = {routes, ARRAY_SIZE(routes)};
