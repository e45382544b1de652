/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.1 request, read strictly: one grammar, one meaning, everything else
 * refused. Bytes in, struct out; no descriptor, no clock.
 */
#ifndef BALLAST_SERVICE_HTTP_HEAD_H
#define BALLAST_SERVICE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "name_table.h"
#include "problem.h"

#define HTTP_HEAD_MAX	 16384 /* what curl and browsers send is under 1 KiB */
#define HTTP_TARGET_MAX	 2048  /* the longest path of ours with the longest query is under 1 KiB */
#define HTTP_HEADERS_MAX 64
#define HTTP_BODY_MAX	 1048576 /* the largest sensible body, a drain with a reason, is under 2 KiB \
				  */

enum http_method {
	HTTP_METHOD_OTHER, /* a well-formed method that nothing here knows */
	HTTP_METHOD_GET,
	HTTP_METHOD_POST,
	HTTP_METHOD_PUT,
	HTTP_METHOD_PATCH,
	HTTP_METHOD_DELETE,
	HTTP_METHOD_COUNT
};
NAME_TABLE_DECLARE(http_method);

struct http_header {
	const char *name, *value;
};

struct http_head {
	char *text; /* owned: the bytes, cut up; all pointers below point into it */
	enum http_method method;
	const char *path;  /* still percent-encoded; begins with '/' */
	const char *query; /* what stands after '?', or "" */
	size_t header_count;
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t content_length;
	bool keep_alive; /* HTTP/1.1 without "Connection: close" */
	bool expect_continue;
};

/*
 * Looks for the end of the head in bytes[0..size). *scanned is where an earlier call over the same
 * bytes stopped (0 at first). Returns PROBLEM_NONE and sets *ret_head_size to the size with the
 * empty line, or to 0 while bytes are missing; else what is wrong already, with *ret_detail a
 * sentence (static).
 */
enum problem_code http_head_scan(const char *bytes, size_t size, size_t *scanned,
				 size_t *ret_head_size, const char **ret_detail);

/* Parses a whole head as http_head_scan() found it. PROBLEM_NONE, or what is wrong; then nothing is
 * to be released. */
enum problem_code http_head_parse(const char *bytes, size_t size, struct http_head *ret_head,
				  const char **ret_detail);
void http_head_done(struct http_head *head);

/* The value of the first header of this name (any case), or NULL. */
const char *http_head_find(const struct http_head *head, const char *name);

/*
 * Decodes %XX in text[0..length). 0; -EINVAL for a broken escape, a control character (so also %00)
 * or what is not UTF-8; -ERANGE where it does not fit.
 */
int http_head_decode(const char *text, size_t length, char *to, size_t size);

#endif
