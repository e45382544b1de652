/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A request that two readers split differently lets a client put words into
 * another's mouth, so nothing is repaired here: lines end in CR LF and nowhere else do CR or LF
 * stand; no folded lines; no blank before a colon; one Content-Length of digits only; no
 * Transfer-Encoding at all. Whatever else comes is refused and the connection is closed (RFC
 * 9112, 11.2).
 *
 * libevent's evhttp would be the library for it, and is not used: as Debian 12 has it, it takes a
 * bare LF for a line end, joins folded lines, allows "Content-Length: +5", reads to the end of the
 * stream where there is no length, and all of that before any callback could object (http.c
 * evhttp_parse_headers_impl_, evhttp_get_body_length); and it ends the process when getnameinfo()
 * fails on an accepted socket (http.c name_from_addr).
 */
#include "http_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const method_names[HTTP_METHOD_COUNT] = {
	[HTTP_METHOD_OTHER] = "OTHER", [HTTP_METHOD_GET] = "GET",
	[HTTP_METHOD_POST] = "POST",   [HTTP_METHOD_PUT] = "PUT",
	[HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_DELETE] = "DELETE",
};
NAME_TABLE_DEFINE(http_method, method_names)

enum problem_code http_head_scan(const char *bytes, size_t size, size_t *scanned,
				 size_t *ret_head_size, const char **ret_detail)
{
	size_t i = *scanned;

	*ret_head_size = 0;
	if (size > 0 && (bytes[0] < 'A' || bytes[0] > 'Z')) {
		*ret_detail = "the request does not begin with a method";
		return PROBLEM_MALFORMED_REQUEST;
	}
	for (; i < size && i < HTTP_HEAD_MAX; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\n') {
			if (i == 0 || bytes[i - 1] != '\r') {
				*ret_detail = "a line ends in LF without CR";
				return PROBLEM_BAD_FRAMING;
			}
			if (i >= 3 && bytes[i - 2] == '\n') {
				*scanned = i + 1;
				*ret_head_size = i + 1;
				return PROBLEM_NONE;
			}
		} else if (i > 0 && bytes[i - 1] == '\r') {
			*ret_detail = "CR stands without LF";
			return PROBLEM_BAD_FRAMING;
		} else if (c != '\r' && c != '\t' && (c < 0x20 || c > 0x7e)) {
			*ret_detail = "the head holds a byte that is no printable ASCII";
			return PROBLEM_MALFORMED_REQUEST;
		}
	}
	*scanned = i;
	if (i >= HTTP_HEAD_MAX) {
		*ret_detail = "request line and headers are longer than 16384 bytes";
		return PROBLEM_HEADERS_TOO_LARGE;
	}
	return PROBLEM_NONE;
}

static bool is_token(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("!#$%&'*+-.^_`|~", text[i]))
			return false;
	return length > 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Well-formed UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
static bool is_utf8(const unsigned char *text)
{
	while (*text) {
		unsigned char lead = *text++;
		unsigned char low = 0x80, high = 0xbf;
		int more;

		if (lead < 0x80)
			continue;
		if (lead >= 0xc2 && lead <= 0xdf) {
			more = 1;
		} else if ((lead & 0xf0) == 0xe0) {
			more = 2;
			low = lead == 0xe0 ? 0xa0 : low;
			high = lead == 0xed ? 0x9f : high;
		} else if (lead >= 0xf0 && lead <= 0xf4) {
			more = 3;
			low = lead == 0xf0 ? 0x90 : low;
			high = lead == 0xf4 ? 0x8f : high;
		} else {
			return false;
		}
		for (; more > 0; more--, text++, low = 0x80, high = 0xbf)
			if (*text < low || *text > high)
				return false;
	}
	return true;
}

int http_head_decode(const char *text, size_t length, char *to, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		int c = (unsigned char)text[i];

		if (c == '%') {
			int high = length - i > 2 ? hex_digit(text[i + 1]) : -1;
			int low = length - i > 2 ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = high * 16 + low;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return -EINVAL;
		if (used + 1 >= size)
			return -ERANGE;
		to[used++] = (char)c;
	}
	to[used] = '\0';
	return is_utf8((const unsigned char *)to) ? 0 : -EINVAL;
}

static enum problem_code parse_target(char *target, struct http_head *head, const char **ret_detail)
{
	size_t length = strlen(target);
	char decoded[HTTP_TARGET_MAX + 1];

	if (length > HTTP_TARGET_MAX) {
		*ret_detail = "the request target is longer than 2048 bytes";
		return PROBLEM_TARGET_TOO_LONG;
	}
	if (target[0] != '/' || strchr(target, '#')) {
		*ret_detail = "the request target must be a path, with a query or without";
		return PROBLEM_MALFORMED_REQUEST;
	}
	if (http_head_decode(target, length, decoded, sizeof(decoded)) < 0) {
		*ret_detail = "the request target holds %00, another control character, a broken "
			      "escape or "
			      "what is not UTF-8";
		return PROBLEM_MALFORMED_REQUEST;
	}
	char *question = strchr(target, '?');

	head->path = target;
	head->query = "";
	if (question) {
		*question = '\0';
		head->query = question + 1;
	}
	return PROBLEM_NONE;
}

/* METHOD SP target SP HTTP/1.x */
static enum problem_code parse_request_line(char *line, struct http_head *head,
					    const char **ret_detail)
{
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;

	*ret_detail =
		"the request line must be METHOD, target and HTTP/1.1 with one blank between them";
	if (!version || strchr(version + 1, ' ') || strchr(line, '\t'))
		return PROBLEM_MALFORMED_REQUEST;
	*target++ = '\0';
	*version++ = '\0';
	if (!is_token(line, strlen(line)) || strncmp(version, "HTTP/", 5) != 0)
		return PROBLEM_MALFORMED_REQUEST;
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) {
		*ret_detail = "the version must be HTTP/1.1 or HTTP/1.0";
		return PROBLEM_HTTP_VERSION;
	}
	head->keep_alive = version[7] == '1';
	int method = http_method_from_name(line);

	head->method = method > HTTP_METHOD_OTHER ? (enum http_method)method : HTTP_METHOD_OTHER;
	return parse_target(target, head, ret_detail);
}

static enum problem_code parse_header(char *line, struct http_head *head, const char **ret_detail)
{
	char *colon = strchr(line, ':');

	if (line[0] == ' ' || line[0] == '\t') {
		*ret_detail = "a header line is folded";
		return PROBLEM_BAD_FRAMING;
	}
	if (!colon || !is_token(line, (size_t)(colon - line))) {
		*ret_detail = "a header line is no name, a colon and a value";
		return PROBLEM_BAD_FRAMING;
	}
	if (head->header_count == HTTP_HEADERS_MAX) {
		*ret_detail = "there are more than 64 headers";
		return PROBLEM_HEADERS_TOO_LARGE;
	}
	char *value = colon + 1;
	size_t length;

	*colon = '\0';
	value += strspn(value, " \t");
	length = strlen(value);
	while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
		value[--length] = '\0';
	head->headers[head->header_count++] = (struct http_header){.name = line, .value = value};
	return PROBLEM_NONE;
}

/* Headers whose meaning would be uncertain if they came twice. */
static const char *const single_headers[] = {
	"Host",	    "Content-Length",  "Content-Type",	"Transfer-Encoding", "Expect",
	"If-Match", "Idempotency-Key", "Last-Event-ID", "Connection",
};

static enum problem_code check_headers(struct http_head *head, const char **ret_detail)
{
	size_t seen[ARRAY_SIZE(single_headers)] = {0};

	for (size_t i = 0; i < head->header_count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(single_headers); k++)
			if (strcasecmp(head->headers[i].name, single_headers[k]) == 0 &&
			    ++seen[k] > 1) {
				*ret_detail = "a header that may stand once stands twice";
				return PROBLEM_BAD_FRAMING;
			}
	const char *length = http_head_find(head, "Content-Length");
	const char *expect = http_head_find(head, "Expect");
	const char *connection = http_head_find(head, "Connection");

	if (http_head_find(head, "Transfer-Encoding")) {
		*ret_detail = length ? "Content-Length and Transfer-Encoding stand together"
				     : "Transfer-Encoding is not taken: send a Content-Length";
		return length ? PROBLEM_BAD_FRAMING : PROBLEM_LENGTH_REQUIRED;
	}
	if (head->keep_alive && !http_head_find(head, "Host")) {
		*ret_detail = "HTTP/1.1 needs a Host header";
		return PROBLEM_MALFORMED_REQUEST;
	}
	if (length) {
		size_t digits = strspn(length, "0123456789");

		if (digits == 0 || length[digits] != '\0') {
			*ret_detail = "Content-Length is no plain decimal number";
			return PROBLEM_BAD_FRAMING;
		}
		for (const char *digit = length; *digit; digit++) {
			head->content_length = head->content_length * 10 + (size_t)(*digit - '0');
			if (head->content_length > HTTP_BODY_MAX) {
				*ret_detail = "the body is larger than 1048576 bytes";
				return PROBLEM_BODY_TOO_LARGE;
			}
		}
	}
	if (expect && strcasecmp(expect, "100-continue") != 0) {
		*ret_detail = "the only expectation that is met is 100-continue";
		return PROBLEM_EXPECTATION_FAILED;
	}
	head->expect_continue = expect != NULL;
	if (connection && strcasestr(connection, "close"))
		head->keep_alive = false;
	return PROBLEM_NONE;
}

enum problem_code http_head_parse(const char *bytes, size_t size, struct http_head *ret_head,
				  const char **ret_detail)
{
	struct http_head head = {0};
	CLEANUP_FREE char *text = strndup(bytes, size);
	enum problem_code problem = PROBLEM_NONE;
	char *line = text;

	*ret_detail = "";
	if (!text)
		return PROBLEM_OUT_OF_MEMORY;
	for (bool first = true; problem == PROBLEM_NONE; first = false) {
		char *end = strstr(line, "\r\n");

		if (!end) {
			*ret_detail = "the head has no end";
			return PROBLEM_MALFORMED_REQUEST;
		}
		*end = '\0';
		if (first)
			problem = parse_request_line(line, &head, ret_detail);
		else if (end == line)
			break;
		else
			problem = parse_header(line, &head, ret_detail);
		line = end + 2;
	}
	if (problem == PROBLEM_NONE)
		problem = check_headers(&head, ret_detail);
	if (problem != PROBLEM_NONE)
		return problem;
	head.text = TAKE_PTR(text);
	*ret_head = head;
	return PROBLEM_NONE;
}

void http_head_done(struct http_head *head)
{
	free(head->text);
	*head = (struct http_head){0};
}

const char *http_head_find(const struct http_head *head, const char *name)
{
	for (size_t i = 0; i < head->header_count; i++)
		if (strcasecmp(head->headers[i].name, name) == 0)
			return head->headers[i].value;
	return NULL;
}
