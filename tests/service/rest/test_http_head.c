/* SPDX-License-Identifier: Apache-2.0 */
#include "http_head.h"

#include <string.h>
#include "unit.h"

static enum problem_code parse(const char *bytes, size_t size, struct http_head *ret_head)
{
	size_t scanned = 0, head_size;
	const char *detail = NULL;
	enum problem_code problem = http_head_scan(bytes, size, &scanned, &head_size, &detail);

	if (problem != PROBLEM_NONE || head_size == 0)
		return problem;
	return http_head_parse(bytes, head_size, ret_head, &detail);
}

static void test_plain(void)
{
	static const char text[] =
		"GET /v1/guests?fresh=true HTTP/1.1\r\nHost: x\r\nX-A:  b c \r\n\r\n";
	struct http_head head = {0};

	CHECK_INT(parse(text, sizeof(text) - 1, &head), PROBLEM_NONE);
	CHECK_INT(head.method, HTTP_METHOD_GET);
	CHECK_STR(head.path, "/v1/guests");
	CHECK_STR(head.query, "fresh=true");
	CHECK_STR(http_head_find(&head, "x-a"), "b c");
	CHECK_TRUE(head.keep_alive);
	CHECK_INT(head.content_length, 0);
	http_head_done(&head);
}

/* Byte by byte as well: nothing may be decided by how the bytes arrive. */
static void test_piecewise(void)
{
	static const char text[] = "PATCH /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
	size_t scanned = 0, head_size = 0;
	const char *detail;

	for (size_t size = 0; size < sizeof(text) - 3; size++) {
		CHECK_INT(http_head_scan(text, size, &scanned, &head_size, &detail), PROBLEM_NONE);
		CHECK_INT(head_size, 0);
	}
	CHECK_INT(http_head_scan(text, sizeof(text) - 1, &scanned, &head_size, &detail),
		  PROBLEM_NONE);
	CHECK_INT(head_size, sizeof(text) - 3);
}

static void test_refused(void)
{
	static const struct {
		const char *text;
		enum problem_code problem;
	} rows[] = {
		{"GET / HTTP/1.1\nHost: x\n\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
		 PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
		 PROBLEM_BODY_TOO_LARGE},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n",
		 PROBLEM_BODY_TOO_LARGE},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		 PROBLEM_LENGTH_REQUIRED},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
		 PROBLEM_LENGTH_REQUIRED},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n",
		 PROBLEM_BAD_FRAMING},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
		 "identity\r\n\r\n",
		 PROBLEM_BAD_FRAMING},
		{"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET /a?b=%0a HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET /%c0%80 HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET /\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", PROBLEM_HTTP_VERSION},
		{"GET / HTTP/1.1\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", PROBLEM_EXPECTATION_FAILED},
		{"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", PROBLEM_BAD_FRAMING},
		{"GET / HTTP/1.1\r\nHost: x\x01\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{" GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROBLEM_MALFORMED_REQUEST},
		{"\x16\x03\x01", PROBLEM_MALFORMED_REQUEST},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_head head = {0};
		enum problem_code problem = parse(rows[i].text, strlen(rows[i].text), &head);

		if (problem != rows[i].problem)
			printf("  row %zu: %s\n", i, rows[i].text);
		CHECK_INT(problem, rows[i].problem);
		http_head_done(&head);
	}
}

static void test_nul_byte(void)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n";
	struct http_head head = {0};

	CHECK_INT(parse(text, sizeof(text) - 1, &head), PROBLEM_MALFORMED_REQUEST);
}

static void test_limits(void)
{
	char text[HTTP_HEAD_MAX + 64];
	struct http_head head = {0};
	int used = snprintf(text, sizeof(text), "GET /");

	memset(text + used, 'a', HTTP_TARGET_MAX);
	snprintf(text + used + HTTP_TARGET_MAX, 64, " HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_INT(parse(text, strlen(text), &head), PROBLEM_TARGET_TOO_LONG);
	used = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "A: b\r\n");
	snprintf(text + used, sizeof(text) - (size_t)used, "\r\n");
	CHECK_INT(parse(text, strlen(text), &head), PROBLEM_HEADERS_TOO_LARGE);
	used = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: ");
	memset(text + used, 'a', sizeof(text) - (size_t)used);
	CHECK_INT(parse(text, sizeof(text), &head), PROBLEM_HEADERS_TOO_LARGE);
	http_head_done(&head);
}

static void test_decode(void)
{
	char text[8];

	CHECK_INT(http_head_decode("%67%31", 6, text, sizeof(text)), 0);
	CHECK_STR(text, "g1");
	CHECK_INT(http_head_decode("%c3%a4", 6, text, sizeof(text)), 0);
	CHECK_INT(http_head_decode("%ed%a0%80", 9, text, sizeof(text)), -EINVAL);
	CHECK_INT(http_head_decode("%7f", 3, text, sizeof(text)), -EINVAL);
	CHECK_INT(http_head_decode("12345678", 8, text, sizeof(text)), -ERANGE);
	CHECK_INT(http_head_decode("%", 1, text, sizeof(text)), -EINVAL);
	CHECK_INT(http_head_decode("a%2", 3, text, sizeof(text)), -EINVAL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"plain", test_plain},	   {"piecewise", test_piecewise},
		{"refused", test_refused}, {"nul byte", test_nul_byte},
		{"limits", test_limits},   {"decode", test_decode},
	};

	return unit_main("http_head", cases, sizeof(cases) / sizeof(cases[0]));
}
