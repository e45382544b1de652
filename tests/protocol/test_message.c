/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips, cut and stretched payloads, and the golden files that pin the wire.
 * "test_message --write DIRECTORY" writes the golden files anew: only for a new message, never for
 * a changed one.
 */
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frame.h"
#include "message_sample.h"
#include "unit.h"

#define GOLDEN_EPOCH	  UINT64_C(0x0123456789abcdef)
#define GOLDEN_REQUEST_ID 0x01020304u

/* The version with which each message got its present form: a changed form is a new file, and the old one stays in a
 * folder of its version, for peers that still speak it. */
static uint16_t golden_version(uint16_t type)
{
	switch (type) {
	case MESSAGE_REPORT_REPLY:
	case MESSAGE_BLOCKS_REPLY:
	case MESSAGE_PREPARE:
	case MESSAGE_EVACUATE:
	case MESSAGE_EVACUATE_REPLY:
	case MESSAGE_ANSWER_WISH:
	case MESSAGE_REPAIR:
	case MESSAGE_HEARTBEAT:
		return 0x0101;
	}
	return 0x0100;
}

static struct message original, decoded;
static uint8_t buffer[FRAME_MAX_BYTES], changed[FRAME_MAX_BYTES];

static void test_round_trip(void)
{
	for (size_t i = 0; i < message_sample_type_count; i++) {
		for (uint32_t seed = 0; seed < 200; seed++) {
			size_t length = 0, again = 0;

			if (!message_sample(message_sample_types[i], seed, &original))
				continue;
			CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length),
				  0);
			CHECK_INT(message_decode(message_sample_types[i], buffer, length, &decoded),
				  0);
			CHECK_TRUE(memcmp(&original, &decoded, sizeof(original)) == 0);
			CHECK_INT(message_encode(&decoded, changed, LIMIT_PAYLOAD_BYTES, &again),
				  0);
			CHECK_INT(again, length);
			CHECK_TRUE(memcmp(buffer, changed, length) == 0);
		}
	}
}

static void test_largest_fits_a_frame(void)
{
	size_t length;

	memset(&original, 0, sizeof(original));
	original.type = MESSAGE_EVACUATE_REPLY;
	original.evacuate_reply.rung_count = MESSAGE_RUNG_COUNT;
	original.evacuate_reply.pool_count = LIMIT_POOLS;
	original.evacuate_reply.block_count = LIMIT_BLOCKS;
	memset(original.evacuate_reply.text, 'x', LIMIT_TEXT - 1);
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
	/* Half free, for the fields to come. */
	CHECK_TRUE(length < LIMIT_PAYLOAD_BYTES / 2);
}

/* Where the fields of 1.1 at a payload's end begin, a payload of 1.0 ended; and a report without the rule's file,
 * or without what is kept. */
static bool is_whole_without(uint16_t type, size_t length, size_t cut)
{
	size_t keep = 8, rule = 2 + strlen(original.report_reply.udev_rule) + keep;

	return (type == MESSAGE_REPORT_REPLY &&
		(cut == length - keep || cut == length - rule || cut == length - rule - 20)) ||
	       ((type == MESSAGE_PREPARE || type == MESSAGE_EVACUATE) && cut == length - 1) ||
	       (type == MESSAGE_HEARTBEAT && cut == length - 8);
}

static void test_every_cut_is_refused(void)
{
	for (size_t i = 0; i < message_sample_type_count; i++) {
		size_t length;

		if (!message_sample(message_sample_types[i], 0, &original))
			continue;
		CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
		for (size_t cut = 0; cut < length; cut++) {
			CHECK_INT(message_encode(&original, changed, cut, &(size_t){0}), -ENOBUFS);
			if (is_whole_without(message_sample_types[i], length, cut))
				continue;
			/* An exact copy, so that a sanitizer sees a read beyond it. */
			uint8_t *copy = malloc(cut + 1);

			memcpy(copy, buffer, cut);
			CHECK_INT(message_decode(message_sample_types[i], copy, cut, &decoded),
				  -EBADMSG);
			free(copy);
		}
	}
}

static void test_trailing_fields_are_skipped(void)
{
	for (size_t i = 0; i < message_sample_type_count; i++) {
		size_t length;

		if (!message_sample(message_sample_types[i], 0, &original))
			continue;
		CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
		memset(buffer + length, 0xff, 100);
		CHECK_INT(message_decode(message_sample_types[i], buffer, length + 100, &decoded),
			  0);
		CHECK_TRUE(memcmp(&original, &decoded, sizeof(original)) == 0);
	}
}

static void test_longer_entries_are_skipped(void)
{
	size_t length, head = 12 + 4 + 8 + 4 + 4;

	message_sample(MESSAGE_EVACUATE, 0, &original);
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
	CHECK_INT(length, head + 4 + 2 * 16 + 1);
	original.evacuate.work_percent = 0;
	/* The same list with entries of 20 bytes, as a newer host might send. */
	memset(changed, 0xee, sizeof(changed));
	memcpy(changed, buffer, head + 4);
	changed[head + 2] = 20;
	memcpy(changed + head + 4, buffer + head + 4, 16);
	memcpy(changed + head + 4 + 20, buffer + head + 4 + 16, 16);
	CHECK_INT(message_decode(MESSAGE_EVACUATE, changed, head + 4 + 40, &decoded), 0);
	CHECK_TRUE(memcmp(&original, &decoded, sizeof(original)) == 0);
	/* Shorter ones lack fields. */
	changed[head + 2] = 8;
	CHECK_INT(message_decode(MESSAGE_EVACUATE, changed, head + 4 + 40, &decoded), -EBADMSG);
}

static void test_lists_are_bounded(void)
{
	size_t length, head = 12 + 4 + 8 + 4 + 4;

	message_sample(MESSAGE_EVACUATE, 0, &original);
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
	/* 257 entries of no bytes at all would fit into any payload. */
	buffer[head] = 1;
	buffer[head + 1] = 1;
	buffer[head + 2] = 0;
	CHECK_INT(message_decode(MESSAGE_EVACUATE, buffer, length, &decoded), -EBADMSG);
	original.evacuate.range_count = LIMIT_RANGES + 1;
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), -EINVAL);
}

static void test_unknown_words_read_as_unknown(void)
{
	size_t length;

	message_sample(MESSAGE_RESULT, 0, &original);
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
	buffer[0] = 0xff;
	buffer[1] = 0xff;
	CHECK_INT(message_decode(MESSAGE_RESULT, buffer, length, &decoded), 0);
	CHECK_INT(decoded.result.code, MESSAGE_RESULT_UNKNOWN);
	original.result.code = MESSAGE_RESULT_COUNT;
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), -EINVAL);
}

static void test_texts_are_printable(void)
{
	size_t length;

	message_sample(MESSAGE_RESULT, 0, &original);
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
	for (int byte = 0; byte < 256; byte++) {
		buffer[length - 1] = (uint8_t)byte;
		CHECK_INT(message_decode(MESSAGE_RESULT, buffer, length, &decoded),
			  byte >= 0x20 && byte < 0x7f ? 0 : -EBADMSG);
	}
	original.result.text[0] = '\n';
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), -EINVAL);
	memset(original.result.text, 'x', sizeof(original.result.text));
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), -EINVAL);
}

static void test_unknown_types(void)
{
	size_t length;

	CHECK_INT(message_decode(0x7777, buffer, 10, &decoded), -EOPNOTSUPP);
	CHECK_INT(message_decode(MESSAGE_GUEST_REQUEST, buffer, 10, &decoded), -EOPNOTSUPP);
	memset(&original, 0, sizeof(original));
	original.type = (enum message_type)0x7777;
	CHECK_INT(message_encode(&original, buffer, sizeof(buffer), &length), -EINVAL);
	original.type = MESSAGE_GUEST_REQUEST;
	CHECK_INT(message_encode(&original, buffer, sizeof(buffer), &length), -EINVAL);
	CHECK_STR(message_type_name(0x7777), "unknown");
	CHECK_STR(message_type_name(MESSAGE_EVACUATE_REPLY), "evacuate_reply");
	CHECK_TRUE(message_type_answers(MESSAGE_EVACUATE_REPLY, MESSAGE_PREPARE));
	CHECK_TRUE(!message_type_answers(MESSAGE_REPORT_REPLY, MESSAGE_PREPARE));
	CHECK_TRUE(!message_type_answers(MESSAGE_REPORT_REPLY, MESSAGE_CANCEL));
	CHECK_TRUE(message_type_answers(MESSAGE_UNSUPPORTED, MESSAGE_CANCEL));
	CHECK_TRUE(message_type_answers(MESSAGE_RESULT, MESSAGE_WATCH_STALLS));
	CHECK_TRUE(message_type_tells(MESSAGE_PROGRESS, MESSAGE_EVACUATE));
	CHECK_TRUE(message_type_tells(MESSAGE_STALLS, MESSAGE_WATCH_STALLS));
	CHECK_TRUE(!message_type_tells(MESSAGE_STALLS, MESSAGE_EVACUATE));
	CHECK_TRUE(!message_type_tells(MESSAGE_RESULT, MESSAGE_WATCH_STALLS));
}

static void test_names_are_complete(void)
{
	for (int i = 0; i < MESSAGE_REASON_COUNT; i++)
		CHECK_TRUE(message_reason_name((enum message_reason)i) != NULL);
	for (int i = 0; i < MESSAGE_RESULT_COUNT; i++)
		CHECK_TRUE(message_result_code_name((enum message_result_code)i) != NULL);
	CHECK_STR(message_reason_name((enum message_reason)99), "unknown");
	CHECK_STR(message_reason_name(MESSAGE_REASON_KERNEL_STUCK), "kernel_stuck");
	CHECK_STR(message_stage_name(MESSAGE_STAGE_RESTORE), "restore");
	CHECK_STR(message_stage_name(MESSAGE_STAGE_REPORT), "report");
	CHECK_STR(message_zone_name(MESSAGE_ZONE_MOVABLE), "Movable");
	CHECK_STR(message_stage_name(MESSAGE_STAGE_RECLAIM), "reclaim");
	CHECK_STR(message_rung_name(MESSAGE_RUNG_MAKE_ROOM), "make_room");
	CHECK_STR(message_reason_name(MESSAGE_REASON_PRESSURE), "pressure");
}

/* Header and payload of the sample of seed 0. */
static size_t golden_frame(uint16_t type)
{
	struct frame frame = {.version = golden_version(type),
			      .type = type,
			      .request_id = GOLDEN_REQUEST_ID,
			      .epoch = GOLDEN_EPOCH,
			      .payload = buffer + FRAME_HEADER_BYTES};
	size_t length = 0;

	message_sample(type, 0, &original);
	if (message_encode(&original, buffer + FRAME_HEADER_BYTES, LIMIT_PAYLOAD_BYTES,
			   &frame.payload_length) < 0 ||
	    frame_encode(&frame, buffer, sizeof(buffer), &length) < 0)
		return 0;
	return length;
}

/* Hexadecimal bytes; '#' begins a comment. */
static size_t read_hex(FILE *file, uint8_t *to, size_t size)
{
	size_t length = 0;
	char line[256];

	while (fgets(line, sizeof(line), file)) {
		char *p = line;
		unsigned byte;
		int used;

		line[strcspn(line, "#")] = '\0';
		while (length < size && sscanf(p, " %2x%n", &byte, &used) == 1) {
			to[length++] = (uint8_t)byte;
			p += used;
		}
	}
	return length;
}

static void golden_path(char *path, size_t size, const char *directory, uint16_t type)
{
	snprintf(path, size, "%s/%04x_%s.hex", directory, type, message_type_name(type));
}

static void test_golden_files(void)
{
	for (size_t i = 0; i < message_sample_type_count; i++) {
		uint16_t type = message_sample_types[i];
		char path[512];

		if (!message_sample(type, 0, &original))
			continue;
		golden_path(path, sizeof(path), BALLAST_GOLDEN_DIRECTORY, type);
		FILE *file = fopen(path, "re");

		if (!file) {
			fprintf(stderr, "# no golden file %s\n", path);
			CHECK_TRUE(file != NULL);
			continue;
		}
		size_t expected = read_hex(file, changed, sizeof(changed));
		size_t length = golden_frame(type);

		fclose(file);
		CHECK_INT(length, expected);
		CHECK_TRUE(memcmp(buffer, changed, length) == 0);
		/* And what the file says is read as what was meant. */
		CHECK_INT(message_decode(type, changed + FRAME_HEADER_BYTES,
					 expected - FRAME_HEADER_BYTES, &decoded),
			  0);
		CHECK_TRUE(memcmp(&original, &decoded, sizeof(original)) == 0);
	}
}

static void take_away_1_1(struct message *message)
{
	struct message_report_reply *report = &message->report_reply;

	switch ((uint16_t)message->type) {
	case MESSAGE_REPORT_REPLY:
		report->word_flags = 0;
		report->floor_bytes = report->limit_bytes = 0;
		memset(report->udev_rule, 0, sizeof(report->udev_rule));
		report->keep_bytes = 0;
		return;
	case MESSAGE_BLOCKS_REPLY:
		for (size_t i = 0; i < message->blocks_reply.block_count; i++) {
			struct message_block *block = &message->blocks_reply.blocks[i];

			block->free_bytes = block->huge_free_bytes = block->huge_used_bytes = 0;
			block->kernel_bytes = block->pinned_bytes = 0;
		}
		return;
	case MESSAGE_HEARTBEAT:
		message->heartbeat.wanted_bytes = 0;
		return;
	case MESSAGE_PREPARE:
		message->prepare.work_percent = 0;
		return;
	case MESSAGE_EVACUATE:
		message->evacuate.work_percent = 0;
		return;
	case MESSAGE_EVACUATE_REPLY:
		for (size_t i = 0; i < message->evacuate_reply.rung_count; i++)
			message->evacuate_reply.rungs[i].reason = MESSAGE_REASON_UNKNOWN;
		return;
	}
	CHECK_TRUE(!"a message that is as in 1.0");
}

/* What a peer of 1.0 sends is read, and what it does not know of is 0. */
static void test_payloads_of_1_0(void)
{
	static const uint16_t types[] = {MESSAGE_REPORT_REPLY, MESSAGE_BLOCKS_REPLY, MESSAGE_PREPARE,
					 MESSAGE_EVACUATE, MESSAGE_EVACUATE_REPLY, MESSAGE_HEARTBEAT};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char path[512];

		golden_path(path, sizeof(path), BALLAST_GOLDEN_DIRECTORY "/1.0", types[i]);
		FILE *file = fopen(path, "re");

		CHECK_TRUE(file != NULL);
		if (!file)
			continue;
		size_t length = read_hex(file, changed, sizeof(changed));

		fclose(file);
		CHECK_TRUE(length > FRAME_HEADER_BYTES);
		CHECK_INT(message_decode(types[i], changed + FRAME_HEADER_BYTES,
					 length - FRAME_HEADER_BYTES, &decoded),
			  0);
		message_sample(types[i], 0, &original);
		take_away_1_1(&original);
		CHECK_TRUE(memcmp(&original, &decoded, sizeof(original)) == 0);
	}
}

/* Some of the new fields, but not all: no version sends that. */
static void test_half_a_tail_is_refused(void)
{
	size_t length, head = 8 + 2;

	message_sample(MESSAGE_BLOCKS_REPLY, 0, &original);
	CHECK_INT(message_encode(&original, buffer, LIMIT_PAYLOAD_BYTES, &length), 0);
	CHECK_INT(length, head + 2 + 2 * 76);
	for (uint8_t bytes = 36; bytes <= 76; bytes++) {
		buffer[head] = bytes;
		CHECK_INT(message_decode(MESSAGE_BLOCKS_REPLY, buffer, length, &decoded),
			  bytes == 36 || bytes == 76 ? 0 : -EBADMSG);
	}
}

static int write_golden_files(const char *directory)
{
	for (size_t i = 0; i < message_sample_type_count; i++) {
		uint16_t type = message_sample_types[i];
		char path[512];

		if (!message_sample(type, 0, &original))
			continue;
		golden_path(path, sizeof(path), directory, type);
		FILE *file = fopen(path, "we");
		size_t length = golden_frame(type);

		if (!file)
			return 1;
		fprintf(file,
			"# %s: header of %d bytes, then the payload. The fields are described in "
			"protocol/wire.md.\n",
			message_type_name(type), FRAME_HEADER_BYTES);
		fprintf(file, "# Numbers count up in steps of 0x11 in the order of the fields; "
			      "enumerators are such a\n"
			      "# number modulo 3, switches modulo 2 or 3.\n");
		for (size_t j = 0; j < length; j++) {
			if (j == FRAME_HEADER_BYTES)
				fprintf(file, "# payload\n");
			fprintf(file, "%02x%s", buffer[j],
				j % 16 == 15 || j + 1 == length || j + 1 == FRAME_HEADER_BYTES
					? "\n"
					: " ");
		}
		fclose(file);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		{"round trip of every message", test_round_trip},
		{"the largest message leaves room in a frame", test_largest_fits_a_frame},
		{"every cut payload is refused", test_every_cut_is_refused},
		{"fields of newer peers are skipped", test_trailing_fields_are_skipped},
		{"longer list entries are skipped", test_longer_entries_are_skipped},
		{"lists are bounded", test_lists_are_bounded},
		{"unknown words read as unknown", test_unknown_words_read_as_unknown},
		{"texts are printable", test_texts_are_printable},
		{"unknown types", test_unknown_types},
		{"names are complete", test_names_are_complete},
		{"golden files", test_golden_files},
		{"payloads of 1.0", test_payloads_of_1_0},
		{"half a tail is refused", test_half_a_tail_is_refused},
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_golden_files(argv[2]);
	return unit_main("message", cases, sizeof(cases) / sizeof(cases[0]));
}
