/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a request was refused: the registry of codes, and the application/problem+json body (RFC
 * 9457) made from one. Every code stands in configs/openapi.json too; a test compares the two.
 */
#ifndef BALLAST_SERVICE_PROBLEM_H
#define BALLAST_SERVICE_PROBLEM_H

#include <jansson.h>
#include "failure.h"
#include "name_table.h"
#include "remainder.h"

enum problem_code {
	PROBLEM_NONE,
	/* the request as bytes */
	PROBLEM_MALFORMED_REQUEST,
	PROBLEM_BAD_FRAMING,
	PROBLEM_LENGTH_REQUIRED,
	PROBLEM_TARGET_TOO_LONG,
	PROBLEM_HEADERS_TOO_LARGE,
	PROBLEM_BODY_TOO_LARGE,
	PROBLEM_HTTP_VERSION,
	PROBLEM_EXPECTATION_FAILED,
	PROBLEM_REQUEST_TIMEOUT,
	PROBLEM_TOO_MANY_CONNECTIONS,
	/* the request as a message */
	PROBLEM_NOT_FOUND,
	PROBLEM_METHOD_NOT_ALLOWED,
	PROBLEM_NOT_JSON,
	PROBLEM_UNEXPECTED_BODY,
	PROBLEM_MALFORMED_JSON,
	PROBLEM_INVALID_BODY,
	PROBLEM_INVALID_QUERY,
	PROBLEM_INVALID_HEADER,
	PROBLEM_PAGE_EXPIRED,
	PROBLEM_PRECONDITION_FAILED,
	PROBLEM_TOO_MANY_STREAMS,
	/* what it names */
	PROBLEM_UNKNOWN_GUEST,
	PROBLEM_UNKNOWN_NODE,
	PROBLEM_UNKNOWN_DIMM,
	PROBLEM_UNKNOWN_DRAIN,
	PROBLEM_UNKNOWN_OPERATION,
	/* the state things are in */
	PROBLEM_OPERATION_IN_PROGRESS,
	PROBLEM_OPERATION_ENDED,
	PROBLEM_NOT_CANCELLABLE,
	PROBLEM_WRONG_STATE,
	PROBLEM_CONFLICT,
	PROBLEM_KERNEL_STUCK,
	PROBLEM_GUEST_NOT_RUNNING,
	PROBLEM_OBSERVE_ONLY,
	PROBLEM_PLAN_CHANGED,
	/* well-formed and impossible */
	PROBLEM_REFUSED,
	PROBLEM_NOT_BLOCK_MULTIPLE,
	PROBLEM_ABOVE_MAXIMUM,
	PROBLEM_BELOW_BASE,
	PROBLEM_BELOW_FLOOR,
	PROBLEM_NO_MEMORY_DEVICE,
	PROBLEM_NO_ROOM,
	PROBLEM_KERNEL_MEMORY,
	PROBLEM_NOT_MOVABLE,
	PROBLEM_NOT_EJECTABLE,
	PROBLEM_TARGET_HELD,
	PROBLEM_CONSENT_REQUIRED,
	PROBLEM_POLICY_WOULD_SHIFT,
	PROBLEM_GUEST_UNMOVABLE,
	PROBLEM_INVALID_TARGET,
	PROBLEM_POLICY_UNREADABLE,
	PROBLEM_NEEDS_RESTART,
	PROBLEM_IDEMPOTENCY_KEY_MISUSED,
	/* what the daemon stands on */
	PROBLEM_INTERNAL,
	PROBLEM_OUT_OF_MEMORY,
	PROBLEM_LIBVIRT_REFUSED,
	PROBLEM_LIBVIRT_DOWN,
	PROBLEM_AGENT_UNAVAILABLE,
	PROBLEM_JOURNAL_FAILED,
	PROBLEM_NOT_READY,
	PROBLEM_TIMED_OUT,
	PROBLEM_COUNT
};

NAME_TABLE_DECLARE(problem_code);

int problem_status(enum problem_code code);
const char *problem_title(enum problem_code code);
/* The phrase beside a status in the first line of a reply. */
const char *problem_status_phrase(int status);

/* The code that failure names, if it is one of the registry; else the one for its errno (error, of
 * either sign). */
enum problem_code problem_from_failure(const struct failure *failure, int error);

/*
 * {type, title, status, code, detail} and blockers where there are some. Text that is not UTF-8 is
 * left out. A new reference, or NULL where memory is short.
 */
json_t *problem_json(enum problem_code code, const char *detail,
		     const struct remainder_list *blockers);

#endif
