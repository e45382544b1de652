/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base64.h"
#include "failure.h"
#include "name_table.h"
#include "node_remap.h"
#include "size_text.h"
#include "unit.h"

enum fruit { FRUIT_APPLE, FRUIT_UNNAMED, FRUIT_PEAR, FRUIT_COUNT };

const char *fruit_name(enum fruit value);
int fruit_from_name(const char *text);

static const char *const fruit_names[FRUIT_COUNT] = {
	[FRUIT_APPLE] = "apple",
	[FRUIT_PEAR] = "pear",
};
NAME_TABLE_DEFINE(fruit, fruit_names)

static void test_failure_sentence(void)
{
	struct failure failure = {0};
	char text[256];

	CHECK_TRUE(!failure_is_set(&failure));
	CHECK_STR(failure_format(&failure, text, sizeof(text)), "");
	CHECK_INT(failure_set(&failure, -ENOENT, "block 64", "cannot offline"), -ENOENT);
	CHECK_TRUE(failure_is_set(&failure));
	CHECK_INT(failure.error, ENOENT);
	CHECK_STR(failure_format(&failure, text, sizeof(text)),
		  "block 64: cannot offline: No such file or directory");
	failure_set_cause(&failure, "%d MiB is no multiple of the block size %d MiB", 3, 2);
	failure_set_way_out(&failure, "ask for %d MiB", 4);
	CHECK_STR(failure_format(&failure, text, sizeof(text)),
		  "block 64: cannot offline: 3 MiB is no multiple of the block size 2 MiB (ask for "
		  "4 MiB)");
	/* Set anew: nothing of before is left. */
	CHECK_INT(failure_set(&failure, 0, "", "refused"), 0);
	CHECK_STR(failure_format(&failure, text, sizeof(text)), "refused");
	failure_set_code(&failure, "vetoed");
	CHECK_STR(failure.code, "vetoed");
	failure_clear(&failure);
	CHECK_TRUE(!failure_is_set(&failure));
	failure_set_cause(&failure, "only a cause");
	CHECK_STR(failure_format(&failure, text, sizeof(text)), "only a cause");
}

static void test_failure_nobody_wants(void)
{
	CHECK_INT(failure_set(NULL, EBUSY, "x", "y"), -EBUSY);
	failure_set_cause(NULL, "x");
	failure_set_way_out(NULL, "x");
	failure_set_code(NULL, "x");
	failure_clear(NULL);
}

static void test_failure_cuts_between_characters(void)
{
	struct failure failure = {0};
	char object[2 * FAILURE_OBJECT_SIZE], text[16];

	/* Two bytes each, at an odd place: the last one does not fit whole. */
	object[0] = 'x';
	for (size_t i = 1; i + 1 < sizeof(object); i += 2)
		memcpy(object + i, "\xc3\xa9", 2);
	object[sizeof(object) - 1] = '\0';
	failure_set(&failure, 0, object, "y");
	CHECK_INT(strlen(failure.object), FAILURE_OBJECT_SIZE - 1);
	CHECK_INT((unsigned char)failure.object[FAILURE_OBJECT_SIZE - 2], 0xa9);
	object[0] = '\xc3';
	object[1] = '\xa9';
	for (size_t i = 2; i + 1 < sizeof(object); i += 2)
		memcpy(object + i, "\xc3\xa9", 2);
	object[sizeof(object) - 2] = '\0';
	failure_set(&failure, 0, object, "y");
	CHECK_INT(strlen(failure.object), FAILURE_OBJECT_SIZE - 2);
	/* Three and four bytes. */
	failure_set(&failure, 0, "", "0123456789%s", "\xe2\x82\xac\xf0\x9f\x8d\x90");
	failure_format(&failure, text, 16);
	CHECK_STR(text, "0123456789\xe2\x82\xac");
	failure_format(&failure, text, 12);
	CHECK_STR(text, "0123456789");
	failure_format(&failure, text, 1);
	CHECK_STR(text, "");
}

static void check_size(const char *text, int result, uint64_t bytes)
{
	uint64_t parsed = 42;

	CHECK_INT(size_text_parse(text, &parsed), result);
	CHECK_INT(parsed, result == 0 ? bytes : 42);
}

static void test_sizes(void)
{
	check_size("0", 0, 0);
	check_size("4096", 0, 4096);
	check_size("4096B", 0, 4096);
	check_size("1K", 0, 1024);
	check_size("2048KiB", 0, 2 * SIZE_TEXT_MIB);
	check_size("512MiB", 0, 512 * SIZE_TEXT_MIB);
	check_size("4gib", 0, 4 * SIZE_TEXT_GIB);
	check_size("1.5GiB", 0, 3 * SIZE_TEXT_GIB / 2);
	check_size("0.5T", 0, SIZE_TEXT_TIB / 2);
	check_size("9223372036854775807", 0, INT64_MAX);
	check_size("8388607TiB", 0, 8388607 * SIZE_TEXT_TIB);
	check_size("8388608TiB", -ERANGE, 0);
	check_size("9223372036854775808", -ERANGE, 0);
	check_size("99999999999999999999999", -ERANGE, 0);
	check_size("8388607.999999999TiB", -EINVAL, 0);
	check_size("1.5", -EINVAL, 0);
	check_size("0.3KiB", -EINVAL, 0);
	check_size("1.0000000000K", -EINVAL, 0);
	check_size("1.KiB", -EINVAL, 0);
	check_size(".5GiB", -EINVAL, 0);
	check_size("", -EINVAL, 0);
	check_size(" 1", -EINVAL, 0);
	check_size("1 KiB", -EINVAL, 0);
	check_size("-1", -EINVAL, 0);
	check_size("+1", -EINVAL, 0);
	check_size("1KB", -EINVAL, 0);
	check_size("1kibx", -EINVAL, 0);
	check_size("0x10", -EINVAL, 0);
}

static void check_format(uint64_t bytes, const char *expected)
{
	char text[SIZE_TEXT_SIZE];

	CHECK_STR(size_text_format(bytes, text), expected);
}

static void test_size_formats(void)
{
	check_format(0, "0 B");
	check_format(1023, "1023 B");
	check_format(1024, "1 KiB");
	check_format(1536, "1.5 KiB");
	check_format(512 * SIZE_TEXT_MIB, "512 MiB");
	check_format(SIZE_TEXT_GIB - 1, "1023.9 MiB");
	check_format(1400 * SIZE_TEXT_MIB, "1400 MiB");
	check_format(1400 * SIZE_TEXT_MIB + 1, "1.3 GiB");
	check_format(1536 * SIZE_TEXT_MIB, "1.5 GiB");
	check_format(9999 * SIZE_TEXT_MIB, "9999 MiB");
	check_format(10001 * SIZE_TEXT_MIB, "9.7 GiB");
	check_format(UINT64_MAX, "15.9 EiB");
}

static void check_number(const char *text, int base, int result, uint64_t number)
{
	uint64_t parsed = 42;

	CHECK_INT(size_text_parse_number(text, base, &parsed), result);
	CHECK_TRUE(parsed == (result == 0 ? number : 42));
}

static void test_numbers(void)
{
	check_number("0", 10, 0, 0);
	check_number("18446744073709551615", 10, 0, UINT64_MAX);
	check_number("18446744073709551616", 10, -ERANGE, 0);
	check_number("010", 10, 0, 10);
	check_number("0x1f", 16, 0, 31);
	check_number("8000000", 16, 0, 0x8000000);
	check_number("FfFf", 16, 0, 65535);
	check_number("0x", 16, -EINVAL, 0);
	check_number("0x0x1", 16, -EINVAL, 0);
	check_number("0x1", 10, -EINVAL, 0);
	check_number("1f", 10, -EINVAL, 0);
	check_number("", 10, -EINVAL, 0);
	check_number(" 1", 10, -EINVAL, 0);
	check_number("1 ", 10, -EINVAL, 0);
	check_number("-1", 10, -EINVAL, 0);
	check_number("+1", 16, -EINVAL, 0);
}

static void test_names(void)
{
	CHECK_STR(fruit_name(FRUIT_PEAR), "pear");
	CHECK_STR(fruit_name(FRUIT_UNNAMED), "unknown");
	CHECK_STR(fruit_name(FRUIT_COUNT), "unknown");
	CHECK_STR(fruit_name((enum fruit) - 1), "unknown");
	CHECK_INT(fruit_from_name("apple"), FRUIT_APPLE);
	CHECK_INT(fruit_from_name("pear"), FRUIT_PEAR);
	CHECK_INT(fruit_from_name("Pear"), -1);
	CHECK_INT(fruit_from_name("pea"), -1);
	CHECK_INT(fruit_from_name("unknown"), -1);
	CHECK_INT(fruit_from_name(""), -1);
}

static void test_node_remap(void)
{
	static const struct {
		uint64_t nodes, from, to, expected;
	} cases[] = {
		/* Cells bound to 0 and 1, widened to 0-2, then narrowed to 1-2. */
		{1 << 0, 3, 7, 1 << 0},
		{1 << 1, 3, 7, 1 << 1},
		{1 << 0, 7, 6, 1 << 1},
		{1 << 1, 7, 6, 1 << 2},
		/* Widening downwards moves the first position. */
		{1 << 3, 1 << 3, 3 << 2, 1 << 2},
		/* Beyond the last position it is counted again from the first. */
		{15, 15, 2, 2},
		{1 << 2, 7, 6, 1 << 1},
		{1 << 2, 15, 3 << 4, 1 << 4},
		/* Outside the old set: kept. */
		{1 << 1 | 1 << 7, 15, 15 << 4, 1 << 5 | 1 << 7},
		{1 << 5, 7, 6, 1 << 5},
		{1 << 1, 0, 1 << 2, 1 << 1},
		{5, 7, 0, 5},
		{0, 3, 12, 0},
		{UINT64_C(1) << 63, UINT64_C(1) << 63, 1, 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(node_remap(cases[i].nodes, cases[i].from, cases[i].to),
			  cases[i].expected);
	CHECK_INT(node_remap_policy(0, 7, 6), 6);
	CHECK_INT(node_remap_policy(1 << 1, 7, 6), 1 << 2);
}

/* RFC 4648 section 10, and all lengths and bytes there and back. */
static void test_base64(void)
{
	static const char *const pairs[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"},
	};
	static const char *const bad[] = {"Z", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9-"};
	uint8_t all[256], *bytes;
	size_t size;
	char *text;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		text = base64_encode((const uint8_t *)pairs[i][0], strlen(pairs[i][0]));
		CHECK_STR(text, pairs[i][1]);
		free(text);
	}
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i <= sizeof(all); i++) {
		text = base64_encode(all, i);
		CHECK_INT(base64_decode(text, &bytes, &size), 0);
		CHECK_INT(size, i);
		CHECK_INT(memcmp(bytes, all, i), 0);
		free(bytes);
		free(text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_INT(base64_decode(bad[i], &bytes, &size), -EINVAL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a failure as a sentence", test_failure_sentence},
		{"a failure that nobody wants", test_failure_nobody_wants},
		{"a failure cut between characters", test_failure_cuts_between_characters},
		{"sizes", test_sizes},
		{"formats of sizes", test_size_formats},
		{"numbers", test_numbers},
		{"names", test_names},
		{"node_remap", test_node_remap},
		{"base64", test_base64},
	};

	return unit_main("base", cases, sizeof(cases) / sizeof(cases[0]));
}
