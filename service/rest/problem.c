/* SPDX-License-Identifier: Apache-2.0 */
#include "problem.h"

#include <string.h>
#include "model_json.h"

struct problem_row {
	const char *name;
	int status;
	const char *title;
};

static const struct problem_row rows[PROBLEM_COUNT] = {
	[PROBLEM_NONE] = {"none", 500, "Internal error"},
	[PROBLEM_MALFORMED_REQUEST] = {"malformed_request", 400,
				       "The request is no well-formed HTTP/1.1"},
	[PROBLEM_BAD_FRAMING] = {"bad_framing", 400, "It is not certain where the request ends"},
	[PROBLEM_LENGTH_REQUIRED] = {"length_required", 411, "A body needs a Content-Length"},
	[PROBLEM_TARGET_TOO_LONG] = {"target_too_long", 414, "The request target is too long"},
	[PROBLEM_HEADERS_TOO_LARGE] = {"headers_too_large", 431,
				       "The request's headers are too large"},
	[PROBLEM_BODY_TOO_LARGE] = {"body_too_large", 413, "The body is too large"},
	[PROBLEM_HTTP_VERSION] = {"http_version", 505,
				  "Only HTTP/1.1 and HTTP/1.0 are spoken here"},
	[PROBLEM_EXPECTATION_FAILED] = {"expectation_failed", 417, "The expectation cannot be met"},
	[PROBLEM_REQUEST_TIMEOUT] = {"request_timeout", 408, "The request did not arrive in time"},
	[PROBLEM_TOO_MANY_CONNECTIONS] = {"too_many_connections", 503, "Too many connections"},
	[PROBLEM_NOT_FOUND] = {"not_found", 404, "There is no such thing here"},
	[PROBLEM_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405,
					"The method is not allowed here"},
	[PROBLEM_NOT_JSON] = {"not_json", 415, "The body must be application/json"},
	[PROBLEM_UNEXPECTED_BODY] = {"unexpected_body", 400, "This request takes no body"},
	[PROBLEM_MALFORMED_JSON] = {"malformed_json", 400, "The body is no well-formed JSON"},
	[PROBLEM_INVALID_BODY] = {"invalid_body", 400, "The body is not what is expected here"},
	[PROBLEM_INVALID_QUERY] = {"invalid_query", 400, "The query is not what is expected here"},
	[PROBLEM_INVALID_HEADER] = {"invalid_header", 400, "A header is not what is expected here"},
	[PROBLEM_PAGE_EXPIRED] = {"page_expired", 400, "The list has changed: begin again"},
	[PROBLEM_PRECONDITION_FAILED] = {"precondition_failed", 412,
					 "The object has changed since"},
	[PROBLEM_TOO_MANY_STREAMS] = {"too_many_streams", 429, "Too many wait here already"},
	[PROBLEM_UNKNOWN_GUEST] = {"unknown_guest", 404, "There is no such guest"},
	[PROBLEM_UNKNOWN_NODE] = {"unknown_node", 404, "There is no such node"},
	[PROBLEM_UNKNOWN_DIMM] = {"unknown_dimm", 404, "There is no such DIMM"},
	[PROBLEM_UNKNOWN_DRAIN] = {"unknown_drain", 404, "There is no such drain"},
	[PROBLEM_UNKNOWN_OPERATION] = {"unknown_operation", 404, "There is no such operation"},
	[PROBLEM_OPERATION_IN_PROGRESS] = {"operation_in_progress", 409,
					   "Another operation is at work there"},
	[PROBLEM_OPERATION_ENDED] = {"operation_ended", 409, "The operation has ended"},
	[PROBLEM_NOT_CANCELLABLE] = {"not_cancellable", 409,
				     "The operation is past its point of no return"},
	[PROBLEM_WRONG_STATE] = {"wrong_state", 409, "The operation's state does not allow it"},
	[PROBLEM_CONFLICT] = {"conflict", 409, "Something else is at work there"},
	[PROBLEM_GUEST_NOT_RUNNING] = {"guest_not_running", 409, "The guest is not running"},
	[PROBLEM_OBSERVE_ONLY] = {"observe_only", 409, "The daemon only observes"},
	[PROBLEM_PLAN_CHANGED] = {"plan_changed", 412, "The plan is another one now"},
	[PROBLEM_REFUSED] = {"refused", 422, "It cannot be done"},
	[PROBLEM_NOT_BLOCK_MULTIPLE] = {"not_block_multiple", 422,
					"The size is no multiple of the block size"},
	[PROBLEM_ABOVE_MAXIMUM] = {"above_maximum", 422, "The size is above the maximum"},
	[PROBLEM_BELOW_BASE] = {"below_base", 422, "The size is below the guest's base memory"},
	[PROBLEM_BELOW_FLOOR] = {"below_floor", 422, "The size is below the guest's floor"},
	[PROBLEM_NO_MEMORY_DEVICE] = {"no_memory_device", 422,
				      "The guest has no device to resize by"},
	[PROBLEM_NO_ROOM] = {"no_room", 422, "There is no room for it"},
	[PROBLEM_KERNEL_MEMORY] = {"kernel_memory", 422, "The target holds kernel memory"},
	[PROBLEM_KERNEL_STUCK] = {"kernel_stuck", 409, "A kernel call that does not return holds it"},
	[PROBLEM_NOT_MOVABLE] = {"not_movable", 422, "The target can never be emptied"},
	[PROBLEM_NOT_EJECTABLE] = {"not_ejectable", 422, "The target cannot be ejected"},
	[PROBLEM_TARGET_HELD] = {"target_held", 422, "A drain holds the target"},
	[PROBLEM_CONSENT_REQUIRED] = {"consent_required", 422, "It needs a consent"},
	[PROBLEM_POLICY_WOULD_SHIFT] = {"policy_would_shift", 422, "A memory policy would shift"},
	[PROBLEM_GUEST_UNMOVABLE] = {"guest_unmovable", 422, "The guest's memory cannot be moved"},
	[PROBLEM_INVALID_TARGET] = {"invalid_target", 422, "The target is no possible one"},
	[PROBLEM_POLICY_UNREADABLE] = {"policy_unreadable", 422, "The guest's policy cannot be read"},
	[PROBLEM_NEEDS_RESTART] = {"needs_restart", 422, "The guest must be restarted for it"},
	[PROBLEM_IDEMPOTENCY_KEY_MISUSED] = {"idempotency_key_misused", 422,
					     "The idempotency key belongs to another request"},
	[PROBLEM_INTERNAL] = {"internal", 500, "Internal error"},
	[PROBLEM_OUT_OF_MEMORY] = {"out_of_memory", 503, "The daemon is short of memory"},
	[PROBLEM_LIBVIRT_REFUSED] = {"libvirt_refused", 502, "libvirt or QEMU refused"},
	[PROBLEM_LIBVIRT_DOWN] = {"libvirt_down", 503, "There is no connection to libvirt"},
	[PROBLEM_AGENT_UNAVAILABLE] = {"agent_unavailable", 503,
				       "The guest has no agent that can say that now"},
	[PROBLEM_JOURNAL_FAILED] = {"journal_failed", 503, "The journal cannot be written"},
	[PROBLEM_NOT_READY] = {"not_ready", 503, "The daemon is starting"},
	[PROBLEM_TIMED_OUT] = {"timed_out", 504, "What the daemon asked did not answer in time"},
};

const char *problem_code_name(enum problem_code value)
{
	return (unsigned)value < PROBLEM_COUNT ? rows[value].name : "unknown";
}

int problem_code_from_name(const char *text)
{
	for (int i = 0; i < PROBLEM_COUNT; i++)
		if (strcmp(rows[i].name, text) == 0)
			return i;
	return -1;
}

int problem_status(enum problem_code code)
{
	return rows[code].status;
}

const char *problem_title(enum problem_code code)
{
	return rows[code].title;
}

const char *problem_status_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} phrases[] = {
		{200, "OK"},
		{202, "Accepted"},
		{204, "No Content"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{411, "Length Required"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Unknown";
}

enum problem_code problem_from_failure(const struct failure *failure, int error)
{
	int named = failure && failure->code[0] ? problem_code_from_name(failure->code) : -1;

	if (named > PROBLEM_NONE)
		return (enum problem_code)named;
	if (error == 0 && failure)
		error = failure->error;
	switch (error < 0 ? -error : error) {
	case ENOENT:
		return PROBLEM_NOT_FOUND;
	case EPERM:
	case EINVAL:
	case ERANGE:
		return PROBLEM_REFUSED;
	case EBUSY:
		return PROBLEM_CONFLICT;
	case EIO:
		return PROBLEM_LIBVIRT_REFUSED;
	case ENOTCONN:
		return PROBLEM_LIBVIRT_DOWN;
	case ETIMEDOUT:
		return PROBLEM_TIMED_OUT;
	case ENOSPC:
	case EROFS:
	case EDQUOT:
		return PROBLEM_JOURNAL_FAILED;
	case ENOMEM:
		return PROBLEM_OUT_OF_MEMORY;
	default:
		return PROBLEM_INTERNAL;
	}
}

json_t *problem_json(enum problem_code code, const char *detail,
		     const struct remainder_list *blockers)
{
	const struct problem_row *row = &rows[code];
	json_t *json =
		json_pack("{s:s, s:s, s:i, s:s, s:s*}", "type", "about:blank", "title", row->title,
			  "status", row->status, "code", row->name, "detail", detail);

	/* json_pack() refuses the whole where the detail quotes bytes that are not UTF-8. */
	if (!json)
		json = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title",
				 row->title, "status", row->status, "code", row->name, "detail",
				 row->title);
	if (json && blockers && blockers->count > 0)
		json_object_set_new(json, "blockers", model_json_remainders(blockers));
	return json;
}
