/* SPDX-License-Identifier: Apache-2.0 */
#include "rest_call.h"

#include <event2/event.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>
#include "model_json.h"

/* A key may be used once for one request: method and path belong to it as the body does. */
static void hash_request(struct rest_call *call)
{
	const struct http_head *head = http_exchange_head(call->exchange);
	const char *method = http_method_name(head->method);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_size = 0;
	size_t size;
	const char *body = http_exchange_body(call->exchange, &size);
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(context, method, strlen(method) + 1) == 1 &&
	    EVP_DigestUpdate(context, head->path, strlen(head->path) + 1) == 1 &&
	    EVP_DigestUpdate(context, body, size) == 1)
		EVP_DigestFinal_ex(context, digest, &digest_size);
	EVP_MD_CTX_free(context);
	for (unsigned i = 0; i < digest_size && i < 32; i++)
		snprintf(call->body_hash + 2 * i, 3, "%02x", digest[i]);
}

struct rest_call *rest_call_new(struct rest_context *context, struct http_exchange *exchange,
				const struct route_match *match)
{
	struct rest_call *call = calloc(1, sizeof(*call));
	uid_t uid;
	pid_t pid;

	if (!call)
		return NULL;
	call->context = context;
	call->exchange = exchange;
	call->route = match->route;
	memcpy(call->id, match->id, sizeof(call->id));
	http_exchange_peer(exchange, &uid, &pid);
	snprintf(call->user, sizeof(call->user), "uid %d", (int)uid);
	snprintf(call->actor, sizeof(call->actor), "%s pid %d", call->user, (int)pid);
	hash_request(call);
	LIST_INSERT_HEAD(&context->calls, call, link);
	return call;
}

static void call_free(struct rest_call *call)
{
	if (call->context)
		LIST_REMOVE(call, link);
	if (call->timer)
		event_free(call->timer);
	json_decref(call->body);
	free(call);
}

struct http_exchange *rest_call_release(struct rest_call *call)
{
	struct http_exchange *exchange = call->exchange;

	call_free(call);
	return exchange;
}

bool rest_call_is_alive(struct rest_call *call)
{
	if (call->context)
		return true;
	http_exchange_refuse(call->exchange, PROBLEM_INTERNAL, "the API has ended");
	call_free(call);
	return false;
}

static void end(struct rest_call *call, const struct http_reply *reply)
{
	unsigned status_class = (unsigned)reply->status / 100;

	if (call->context && status_class < REST_STATUS_CLASSES)
		call->context->replies[status_class]++;
	http_exchange_reply(call->exchange, reply);
	call_free(call);
}

static void end_json(struct rest_call *call, struct http_reply *reply, json_t *json)
{
	CLEANUP_FREE char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!text) {
		if (call->context)
			call->context->replies[5]++;
		http_exchange_refuse(call->exchange, PROBLEM_OUT_OF_MEMORY,
				     "the answer cannot be made");
		call_free(call);
		return;
	}
	reply->body = text;
	reply->body_size = strlen(text);
	end(call, reply);
}

void rest_call_reply(struct rest_call *call, int status, json_t *json)
{
	struct http_reply reply = {.status = status, .content_type = "application/json"};

	end_json(call, &reply, json);
}

void rest_call_reply_object(struct rest_call *call, json_t *json)
{
	char etag[32];
	struct http_reply reply = {
		.status = 200,
		.content_type = "application/json",
		.header_count = 1,
		.headers = {{"ETag", etag}},
	};

	snprintf(etag, sizeof(etag), "\"%lld\"",
		 (long long)json_integer_value(json_object_get(json, "revision")));
	end_json(call, &reply, json);
}

void rest_call_reply_text(struct rest_call *call, const char *content_type, const char *text,
			  size_t size)
{
	end(call,
	    &(struct http_reply){
		    .status = 200, .content_type = content_type, .body = text, .body_size = size});
}

void rest_call_reply_accepted(struct rest_call *call, const struct operation_record *operation,
			      json_t *body, bool replayed)
{
	char location[64];
	struct http_reply reply = {
		.status = 202,
		.content_type = "application/json",
		.header_count = replayed ? 3 : 2,
		.headers = {{"Location", location},
			    {"Retry-After", "1"},
			    {"Idempotent-Replayed", "true"}},
	};

	snprintf(location, sizeof(location), "/v1/operations/%s", operation->id);
	end_json(call, &reply,
		 rest_call_stamp(call, body ? body : model_json_operation(operation)));
}

void rest_call_refuse_json(struct rest_call *call, enum problem_code code, json_t *problem)
{
	struct http_reply reply = {
		.status = problem_status(code),
		.content_type = "application/problem+json",
		.header_count = problem_status(code) == 503 || problem_status(code) == 429,
		.headers = {{"Retry-After", "5"}},
	};

	end_json(call, &reply, problem);
}

void rest_call_refuse(struct rest_call *call, enum problem_code code, const char *detail, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	rest_call_refuse_json(call, code, problem_json(code, text, NULL));
}

void rest_call_refuse_failure(struct rest_call *call, int error, const struct failure *failure,
			      const struct remainder_list *blockers)
{
	enum problem_code code = problem_from_failure(failure, error);
	char text[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE + 16] = "";

	if (failure)
		failure_format(failure, text, sizeof(text));
	rest_call_refuse_json(call, code,
			      problem_json(code, text[0] ? text : problem_title(code), blockers));
}

bool rest_call_goes_on(struct rest_call *call, int error, const struct failure *failure,
		       const struct remainder_list *blockers)
{
	if (!rest_call_is_alive(call))
		return false;
	if (error)
		rest_call_refuse_failure(call, error, failure, blockers);
	return !error;
}

void rest_call_refuse_body(struct rest_call *call, const struct body_error *error)
{
	char text[sizeof(error->pointer) + sizeof(error->detail) + 4];
	json_t *problem;

	snprintf(text, sizeof(text), "%s%s%s", error->pointer, error->pointer[0] ? ": " : "",
		 error->detail);
	problem = problem_json(error->code, text, NULL);
	if (problem)
		json_object_set_new(problem, "pointer", json_string(error->pointer));
	rest_call_refuse_json(call, error->code, problem);
}

const struct snapshot *rest_call_snapshot(const struct rest_call *call)
{
	return call->context->backend->snapshot(call->context->backend->user);
}

const struct snapshot_guest *rest_call_guest(struct rest_call *call)
{
	const struct snapshot_guest *guest = snapshot_guest(rest_call_snapshot(call), call->id);
	const struct rest_backend *backend = call->context->backend;
	struct failure failure = {0};

	if (guest)
		return guest;
	if (rest_call_snapshot(call)->guest_count == 0 &&
	    !backend->libvirt_up(backend->user, &failure)) {
		failure_set_code(&failure, problem_code_name(PROBLEM_LIBVIRT_DOWN));
		rest_call_refuse_failure(call, -ENOTCONN, &failure, NULL);
		return NULL;
	}
	rest_call_refuse(
		call, PROBLEM_UNKNOWN_GUEST,
		"guest %s: there is no guest of this name or UUID (GET /v1/guests lists them)",
		call->id);
	return NULL;
}

json_t *rest_call_stamp(const struct rest_call *call, json_t *json)
{
	const struct snapshot *snapshot = call->context ? rest_call_snapshot(call) : NULL;

	if (!json || !snapshot)
		return json;
	if (!json_object_get(json, "revision"))
		json_object_set_new(json, "revision", json_integer((json_int_t)snapshot->revision));
	if (!json_object_get(json, "observed_at"))
		json_object_set_new(json, "observed_at", model_json_time(snapshot->observed_at_ms));
	return json;
}

bool rest_call_matches(struct rest_call *call, uint64_t revision)
{
	const char *wanted = http_head_find(http_exchange_head(call->exchange), "If-Match");
	char etag[32];

	snprintf(etag, sizeof(etag), "\"%" PRIu64 "\"", revision);
	if (!wanted || strcmp(wanted, "*") == 0 || strcmp(wanted, etag) == 0)
		return true;
	rest_call_refuse(call, PROBLEM_PRECONDITION_FAILED,
			 "If-Match is %s and the revision is %s (read it again and decide anew)",
			 wanted, etag);
	return false;
}

void rest_call_page_token(const char *key, char *token)
{
	for (; *key; key++, token += 2)
		snprintf(token, 3, "%02x", (unsigned char)*key);
	*token = '\0';
}

int rest_call_page_key(const char *token, char key[SNAPSHOT_NAME_SIZE])
{
	size_t length = strlen(token);

	if (length % 2 || length / 2 >= SNAPSHOT_NAME_SIZE ||
	    strspn(token, "0123456789abcdef") != length)
		return -EINVAL;
	for (size_t i = 0; i < length / 2; i++) {
		char digits[3] = {token[2 * i], token[2 * i + 1], '\0'};

		key[i] = (char)strtol(digits, NULL, 16);
	}
	key[length / 2] = '\0';
	return 0;
}

void rest_call_reply_list(struct rest_call *call, const struct rest_list *list)
{
	size_t first = 0, last;
	char key[SNAPSHOT_NAME_SIZE], scratch[SNAPSHOT_NAME_SIZE],
		token[2 * SNAPSHOT_NAME_SIZE + 1];

	if (query_has(&call->query, QUERY_KEY_PAGE)) {
		if (rest_call_page_key(call->query.page, key) < 0) {
			rest_call_refuse(call, PROBLEM_INVALID_QUERY,
					 "page must be the next of an earlier answer");
			return;
		}
		while (first < list->count &&
		       strcmp(list->key(list->list, first, scratch), key) != 0)
			first++;
		if (first == list->count) {
			rest_call_refuse(
				call, PROBLEM_PAGE_EXPIRED,
				"what the page began after is gone (ask again without page)");
			return;
		}
		first++;
	}
	last = list->count - first > call->query.page_size ? first + call->query.page_size
							   : list->count;
	json_t *items = json_array(), *json = json_object();

	for (size_t i = first; i < last; i++)
		json_array_append_new(items, rest_call_stamp(call, list->item(list->list, i)));
	json_object_set_new(json, "items", items);
	if (last < list->count && last > first) {
		rest_call_page_token(list->key(list->list, last - 1, scratch), token);
		json_object_set_new(json, "next", json_string(token));
	} else {
		json_object_set_new(json, "next", json_null());
	}
	rest_call_reply_object(call, rest_call_stamp(call, json));
}
