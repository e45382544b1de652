/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way from its route to its reply: what the handlers share. A call ends with
 * exactly one of the functions that say so, inside its handler or later; it outlives the server
 * where an answer is still awaited.
 */
#ifndef BALLAST_SERVICE_REST_CALL_H
#define BALLAST_SERVICE_REST_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "body_schema.h"
#include "http_server.h"
#include "query.h"
#include "rest_backend.h"
#include "router.h"
#include "wish.h"

struct event;
struct event_base;
struct event_stream;
struct rest_call;

/* The statuses that are counted for /metrics: index is status / 100. */
#define REST_STATUS_CLASSES 6

LIST_HEAD(rest_call_list, rest_call);

/* What calls need of the server. */
struct rest_context {
	struct event_base *base;	    /* borrowed */
	const struct rest_backend *backend; /* borrowed */
	struct event_stream *events;	    /* owned */
	struct rest_call_list calls;	    /* all that have not ended */
	struct rest_call_list waiters;	    /* those that wait for an operation's end */
	unsigned waiter_count;
	struct event *check_waiters; /* owned */
	uint64_t replies[REST_STATUS_CLASSES];
};

struct rest_call {
	LIST_ENTRY(rest_call) link;
	LIST_ENTRY(rest_call) waiter_link;
	struct rest_context *context;	/* borrowed; NULL once the server has gone */
	struct http_exchange *exchange; /* ended with the call */
	const struct route *route;
	char id[ROUTE_ID_SIZE]; /* what stands for {name} in the path */
	struct query query;
	json_t *body;	    /* owned; NULL: none */
	char user[24];	    /* "uid 0" */
	char actor[64];	    /* "uid 0 pid 123" */
	char body_hash[65]; /* SHA-256 of method, path and body */
	/* of a change of a guest or a drain */
	struct wish wish;
	char target_id[SNAPSHOT_UUID_SIZE];
	/* of a wait */
	struct event *timer; /* owned; NULL: none */
};

/* Begins a call. NULL where memory is short; the exchange is then still to be ended. */
struct rest_call *rest_call_new(struct rest_context *context, struct http_exchange *exchange,
				const struct route_match *match);

/* Whether the server is still there. If not, the call is ended: return at once. */
bool rest_call_is_alive(struct rest_call *call);

/*
 * What an answer of the backend begins with: true where the server is still there and there is no error; else the call
 * has ended. blockers may be NULL.
 */
bool rest_call_goes_on(struct rest_call *call, int error, const struct failure *failure,
		       const struct remainder_list *blockers);

/* These end the call. json is taken over; NULL means that memory was short. */
void rest_call_reply(struct rest_call *call, int status, json_t *json);
/* The same with an ETag from its revision. */
void rest_call_reply_object(struct rest_call *call, json_t *json);
void rest_call_reply_text(struct rest_call *call, const char *content_type, const char *text,
			  size_t size);
/* 202 with Location and the operation, or body (taken over) where it is not NULL. */
void rest_call_reply_accepted(struct rest_call *call, const struct operation_record *operation,
			      json_t *body, bool replayed);
void rest_call_refuse(struct rest_call *call, enum problem_code code, const char *detail, ...)
	PRINTF_LIKE(3, 4);
void rest_call_refuse_failure(struct rest_call *call, int error, const struct failure *failure,
			      const struct remainder_list *blockers);
void rest_call_refuse_body(struct rest_call *call, const struct body_error *error);
/* problem is taken over; further members may have been added to it. */
void rest_call_refuse_json(struct rest_call *call, enum problem_code code, json_t *problem);
/* Ends the call without a reply and gives its exchange to the caller. */
struct http_exchange *rest_call_release(struct rest_call *call);

const struct snapshot *rest_call_snapshot(const struct rest_call *call);
/* The guest that the path names; where there is none the call has ended with 404 and NULL comes
 * back. */
const struct snapshot_guest *rest_call_guest(struct rest_call *call);

/* Sets revision and observed_at where json has none of its own. Returns json. */
json_t *rest_call_stamp(const struct rest_call *call, json_t *json);

/*
 * If-Match against the current revision: true where it fits or is not there; else the call has
 * ended with 412.
 */
bool rest_call_matches(struct rest_call *call, uint64_t revision);

/* Lists as {items, next, revision}: items from first on, as many as the page takes. Ends the call.
 */
struct rest_list {
	size_t count;
	/* The text by which an item is found again on the next page; unique in the list. */
	const char *(*key)(const void *list, size_t index, char text[SNAPSHOT_NAME_SIZE]);
	json_t *(*item)(const void *list, size_t index);
	const void *list;
};
void rest_call_reply_list(struct rest_call *call, const struct rest_list *list);
/* The token of ?next= for a key, and back. token holds 2 * SNAPSHOT_NAME_SIZE + 1. 0 or -EINVAL. */
void rest_call_page_token(const char *key, char *token);
int rest_call_page_key(const char *token, char key[SNAPSHOT_NAME_SIZE]);

#endif
