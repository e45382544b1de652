/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames, messages and both ends of a session on hostile bytes.
 *
 * The input is a script: each step is one byte of command, then what it needs. Bytes go to an end
 * raw, or as a frame with a right header and checksum around a fuzzed payload, for otherwise no
 * message would ever be reached.
 */
/* What they check must hold in whatever the build type is. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "session_guest.h"
#include "session_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct session_host host;
	struct session_guest guest;
	struct message message, again;
	uint64_t now_ms;
	uint8_t host_in[SESSION_INPUT_BYTES], host_out[SESSION_OUTPUT_BYTES];
	uint8_t guest_in[SESSION_INPUT_BYTES], guest_out[SESSION_OUTPUT_BYTES];
	uint8_t frame[FRAME_MAX_BYTES], payload[LIMIT_PAYLOAD_BYTES];
};

static void to_host(struct world *world, const uint8_t *data, size_t size)
{
	struct session_host_event event;

	while (size > 0) {
		uint8_t *space;
		size_t room = session_host_space(&world->host, &space);

		assert(room > 0);
		if (room > size)
			room = size;
		memcpy(space, data, room);
		session_host_received(&world->host, room);
		data += room;
		size -= room;
		while (session_host_next(&world->host, world->now_ms, &event))
			assert(event.kind < SESSION_HOST_EVENT_COUNT);
	}
}

static void to_guest(struct world *world, const uint8_t *data, size_t size)
{
	struct session_guest_event event;

	while (size > 0) {
		uint8_t *space;
		size_t room = session_guest_space(&world->guest, &space);

		if (room == 0)
			return; /* its output is full and it has stopped reading */
		if (room > size)
			room = size;
		memcpy(space, data, room);
		session_guest_received(&world->guest, room);
		data += room;
		size -= room;
		while (session_guest_next(&world->guest, world->now_ms, &event)) {
			if (event.kind != SESSION_GUEST_EVENT_REQUEST)
				continue;
			world->again.type = MESSAGE_RESULT;
			memset(&world->again.result, 0, sizeof(world->again.result));
			session_guest_reply(&world->guest, event.epoch, event.request_id,
					    &world->again);
		}
	}
}

static void exchange(struct world *world)
{
	const uint8_t *data;
	size_t size = session_host_output(&world->host, &data);

	to_guest(world, data, size);
	session_host_sent(&world->host, size);
	size = session_guest_output(&world->guest, &data);
	to_host(world, data, size);
	session_guest_sent(&world->guest, size);
}

/* What decodes must encode to bytes that decode to the same. */
static void check_message(struct world *world, uint16_t type, const uint8_t *payload, size_t size)
{
	size_t length;

	if (message_decode(type, payload, size, &world->message) < 0)
		return;
	int error =
		message_encode(&world->message, world->payload, sizeof(world->payload), &length);

	assert(error == 0);
	error = message_decode(type, world->payload, length, &world->again);
	assert(error == 0);
	assert(memcmp(&world->message, &world->again, sizeof(world->message)) == 0);
}

static size_t make_frame(struct world *world, uint16_t type, uint64_t epoch, uint32_t id,
			 const uint8_t *payload, size_t size)
{
	struct frame frame = {.version = SESSION_VERSION_MAX,
			      .type = type,
			      .epoch = epoch,
			      .request_id = id,
			      .payload = payload,
			      .payload_length = size};
	size_t length = 0;

	frame_encode(&frame, world->frame, sizeof(world->frame), &length);
	return length;
}

static void run(struct world *world, const uint8_t *data, size_t size)
{
	static const uint16_t types[] = {
#define MESSAGE(number, NAME, name, sender, kind) number,
#include "message_list.h"
#undef MESSAGE
		0x7777,
	};

	while (size >= 4) {
		uint8_t command = data[0], choice = data[1];
		size_t length = (size_t)data[2] | (size_t)data[3] << 8;
		uint16_t type = types[choice % (sizeof(types) / sizeof(types[0]))];
		uint32_t id;

		data += 4;
		size -= 4;
		if (length > size)
			length = size;
		switch (command % 9) {
		case 0:
			to_host(world, data, length);
			break;
		case 1:
			to_guest(world, data, length);
			break;
		case 2:
			check_message(world, type, data, length);
			break;
		case 3:
			/* The right epoch half of the time, ids that were given out and some that
			 * were not. */
			to_host(world, world->frame,
				make_frame(world, type, choice & 0x80 ? world->host.epoch : choice,
					   (choice >> 5) & 3, data, length));
			break;
		case 4:
			to_guest(world, world->frame,
				 make_frame(world, type, world->host.epoch,
					    world->guest.last_request_id + 1, data, length));
			break;
		case 5:
			exchange(world);
			length = 0;
			break;
		case 6:
			world->now_ms += (uint64_t)length * 100;
			session_host_tick(&world->host, world->now_ms);
			length = 0;
			break;
		case 7:
			if (message_decode(type, data, length, &world->message) == 0)
				session_host_request(&world->host, &world->message, 1000,
						     world->now_ms, &id);
			break;
		case 8:
			if (choice & 1)
				session_guest_reset(&world->guest);
			else
				session_host_connect(&world->host, world->now_ms * 3 + 1,
						     choice + 1u, world->now_ms);
			length = 0;
			break;
		}
		data += length;
		size -= length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct session_guest_identity identity = {.instance = 5, .version = "1"};
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		return 0;
	world->now_ms = 1000;
	session_host_init(&world->host, "1", world->host_in, sizeof(world->host_in),
			  world->host_out, sizeof(world->host_out));
	session_guest_init(&world->guest, &identity, 9, world->guest_in, sizeof(world->guest_in),
			   world->guest_out, sizeof(world->guest_out));
	session_host_connect(&world->host, 3, 1, world->now_ms);
	if (size > 0 && (data[0] & 1)) {
		exchange(world);
		exchange(world);
	}
	if (size > 1)
		run(world, data + 1, size - 1);
	free(world);
	return 0;
}
