/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person is told when something could not be done: object, action, cause, way out.
 * Lives in the caller's storage and never allocates, so that it can be filled when memory is short.
 */
#ifndef BALLAST_BASE_FAILURE_H
#define BALLAST_BASE_FAILURE_H

#include <stdbool.h>
#include <stddef.h>
#include "cleanup.h"

#define FAILURE_OBJECT_SIZE 96
#define FAILURE_TEXT_SIZE   256

struct failure {
	int error;				/* positive errno of the cause, 0 where none applies */
	char code[40];				/* snake_case, from the registry of codes; empty: none */
	char object[FAILURE_OBJECT_SIZE];	/* "guest g1", "block 64", "/etc/ballast/ballastd.conf:12" */
	char action[FAILURE_TEXT_SIZE];		/* what was being tried: "cannot open" */
	char cause[FAILURE_TEXT_SIZE];		/* why not */
	char way_out[FAILURE_TEXT_SIZE];	/* what the reader can do; may be empty */
};

/* Empties *failure. A zeroed struct is empty too. */
void failure_clear(struct failure *failure);
bool failure_is_set(const struct failure *failure);

/*
 * Each setter accepts a NULL failure (the caller does not want the text) and cuts what is too long
 * at a character boundary of UTF-8. failure_set() starts afresh with object and action;
 * the cause is strerror(error) unless failure_set_cause() says better. error is an errno of either sign.
 * failure_set() returns -|error|, so that a caller can write: return failure_set(f, errno, ...).
 */
int failure_set(struct failure *failure, int error, const char *object, const char *action, ...)
	PRINTF_LIKE(4, 5);
void failure_set_code(struct failure *failure, const char *code);
void failure_set_cause(struct failure *failure, const char *cause, ...) PRINTF_LIKE(2, 3);
void failure_set_way_out(struct failure *failure, const char *way_out, ...) PRINTF_LIKE(2, 3);

/*
 * One sentence: "guest g1: cannot resize: 3 MiB is no multiple of the block size 2 MiB (ask for 4 MiB)".
 * Writes at most size bytes including the terminator; returns text.
 */
const char *failure_format(const struct failure *failure, char *text, size_t size);

#endif
