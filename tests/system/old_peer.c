/* SPDX-License-Identifier: Apache-2.0 */
/*
 * old_peer PORT SOCKET (0.9 | 1.0): stands between a host and an agent, which connects to SOCKET,
 * and lets each hear of the other only what that version of protocol/wire.md has. So each of them
 * has to do with a peer that is older than itself.
 *
 *   1.0  payloads are as long as they were then, and no later features are told
 *   0.9  a version that nobody speaks any more
 *
 * What one of them says although the other has told that it does not know it stands on the standard
 * output, a line each. It ends when the agent does.
 */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "frame.h"
#include "message.h"

#define VERSION_1_0 0x0100
#define VERSION_0_9 0x0009

/* What version 1.0 had. */
#define FEATURES_1_0 (MESSAGE_FEATURE_HOOKS - 1)
#define EVACUATE_FLAGS_1_0 \
	(MESSAGE_EVACUATE_HUGE_PAGES | MESSAGE_EVACUATE_COMPACT | MESSAGE_EVACUATE_OFFLINE)
#define REPORT_FLAGS_1_0 (MESSAGE_REPORT_KEEPS - 1)
#define BLOCKS_FLAGS_1_0 MESSAGE_BLOCKS_REGIONS_ONLY
#define BLOCK_BYTES_1_0	 36
#define RUNG_BYTES_1_0	 14

/* Where things stand in a payload. */
#define EVACUATE_FLAGS_AT	12
#define EVACUATE_RANGES_AT	32
#define BLOCKS_REPLY_LIST_AT	8
#define REPLY_RUNGS_AT		10
#define REPORT_LISTS_AT		47
#define REPORT_LISTS		3
#define HEARTBEAT_WANTS_BYTES	8
#define HELLO_REPLY_FEATURES_AT 22

struct way {
	const char *sender;
	int from, to;
};

static uint16_t version;

static void say(const struct way *way, const char *what)
{
	printf("the %s: %s\n", way->sender, what);
	fflush(stdout);
}

static uint16_t get_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static void put_u16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

/* Behind the list that stands there. */
static size_t list_end(const uint8_t *payload, size_t at)
{
	return at + 4 + (size_t)get_u16(payload + at) * get_u16(payload + at + 2);
}

/* Its entries lose what they have beyond so many bytes. Returns the payload's length then. */
static size_t shorten_entries(uint8_t *payload, size_t length, size_t at, uint16_t keep)
{
	uint16_t count = get_u16(payload + at), size = get_u16(payload + at + 2);
	size_t end = list_end(payload, at);
	uint8_t *to = payload + at + 4;

	for (uint16_t i = 0; i < count; i++, to += keep)
		memmove(to, payload + at + 4 + (size_t)i * size, keep);
	put_u16(payload + at + 2, keep);
	memmove(to, payload + end, length - end);
	return length - (size_t)count * (size - keep);
}

static void clip_hello_reply(uint8_t *payload)
{
	uint64_t features;

	put_u16(payload, version);
	put_u16(payload + 2, version);
	if (version != VERSION_1_0)
		return;
	memcpy(&features, payload + HELLO_REPLY_FEATURES_AT, sizeof(features));
	features = htole64(le64toh(features) & FEATURES_1_0);
	memcpy(payload + HELLO_REPLY_FEATURES_AT, &features, sizeof(features));
}

static size_t clip_evacuate(const struct way *way, const uint8_t *payload, size_t length)
{
	size_t end = list_end(payload, EVACUATE_RANGES_AT);

	if (get_u32(payload + EVACUATE_FLAGS_AT) & ~EVACUATE_FLAGS_1_0)
		say(way, "rungs beyond 1.0");
	if (end < length && payload[end])
		say(way, "a share of the time");
	return end;
}

static size_t clip_evacuate_reply(const struct way *way, uint8_t *payload, size_t length)
{
	for (size_t at = REPLY_RUNGS_AT + 4, end = list_end(payload, REPLY_RUNGS_AT); at < end;
	     at += get_u16(payload + REPLY_RUNGS_AT + 2))
		if (get_u16(payload + at) > MESSAGE_RUNG_OFFLINE)
			say(way, "a rung beyond 1.0");
	return shorten_entries(payload, length, REPLY_RUNGS_AT, RUNG_BYTES_1_0);
}

static size_t clip_report(uint8_t *payload)
{
	size_t at = REPORT_LISTS_AT;

	put_u16(payload, get_u16(payload) & REPORT_FLAGS_1_0);
	for (int i = 0; i < REPORT_LISTS; i++)
		at = list_end(payload, at);
	return at;
}

/* The payload's length as that version has it. What both sides send is well-formed. */
static size_t clip(const struct way *way, uint16_t type, uint8_t *payload, size_t length)
{
	switch (type) {
	case MESSAGE_HELLO:
		put_u16(payload, version);
		put_u16(payload + 2, version);
		return length;
	case MESSAGE_HELLO_REPLY:
		clip_hello_reply(payload);
		return length;
	case MESSAGE_REPORT_REPLY:
		return clip_report(payload);
	case MESSAGE_BLOCKS:
		if (get_u32(payload) & ~BLOCKS_FLAGS_1_0)
			say(way, "asks what is in each block");
		return length;
	case MESSAGE_BLOCKS_REPLY:
		return shorten_entries(payload, length, BLOCKS_REPLY_LIST_AT, BLOCK_BYTES_1_0);
	case MESSAGE_PREPARE:
	case MESSAGE_EVACUATE:
		return clip_evacuate(way, payload, length);
	case MESSAGE_EVACUATE_REPLY:
		return clip_evacuate_reply(way, payload, length);
	case MESSAGE_HEARTBEAT:
		return length - HEARTBEAT_WANTS_BYTES;
	case MESSAGE_REPAIR:
	case MESSAGE_ANSWER_WISH:
		say(way, message_type_name(type));
		return length;
	}
	return length;
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t count = write(fd, bytes, size);

		if (count > 0) {
			bytes += count;
			size -= (size_t)count;
		} else if (count < 0 && errno != EINTR && errno != EAGAIN) {
			exit(1);
		} else {
			usleep(10000);
		}
	}
}

static void pass(const struct way *way, const struct frame *received)
{
	uint8_t *bytes = malloc(FRAME_MAX_BYTES), *payload = bytes + FRAME_HEADER_BYTES;
	struct frame frame = *received;
	size_t length;

	if (!bytes)
		exit(1);
	memcpy(payload, received->payload, received->payload_length);
	frame.version = version;
	frame.payload = payload;
	frame.payload_length = clip(way, frame.type, payload, received->payload_length);
	if (frame_encode(&frame, bytes, FRAME_MAX_BYTES, &length) < 0)
		exit(3);
	write_all(way->to, bytes, length);
	free(bytes);
}

static void *carry(void *argument)
{
	const struct way *way = argument;
	struct frame_reader reader;
	struct frame frame;
	uint8_t *buffer = malloc(FRAME_MAX_BYTES), *space;

	if (!buffer)
		exit(1);
	frame_reader_init(&reader, buffer, FRAME_MAX_BYTES);
	for (;;) {
		size_t size = frame_reader_space(&reader, &space);
		ssize_t count = read(way->from, space, size);

		/* A port has an end where no host is connected, and a socket where there is no
		 * agent any more. */
		if (count <= 0 && strcmp(way->sender, "agent") == 0)
			exit(0);
		if (count <= 0) {
			usleep(100000);
			continue;
		}
		frame_reader_received(&reader, (size_t)count);
		while (frame_reader_next(&reader, &frame))
			pass(way, &frame);
	}
}

static int await_agent(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0)
		return -1;
	return accept(listener, NULL, NULL);
}

int main(int argc, char **argv)
{
	static struct way from_host = {.sender = "host"}, from_agent = {.sender = "agent"};
	pthread_t thread;

	if (argc != 4 || (strcmp(argv[3], "0.9") != 0 && strcmp(argv[3], "1.0") != 0)) {
		fprintf(stderr, "usage: old_peer PORT SOCKET (0.9 | 1.0)\n");
		return 2;
	}
	version = strcmp(argv[3], "1.0") == 0 ? VERSION_1_0 : VERSION_0_9;
	from_host.from = from_agent.to = open(argv[1], O_RDWR | O_CLOEXEC);
	from_host.to = from_agent.from = await_agent(argv[2]);
	if (from_host.from < 0 || from_host.to < 0) {
		perror(argv[from_host.from < 0 ? 1 : 2]);
		return 1;
	}
	if (pthread_create(&thread, NULL, carry, &from_host) != 0)
		return 1;
	carry(&from_agent);
}
