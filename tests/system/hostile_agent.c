/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_agent PORT MODE: stands in an agent's place in a guest and does what no agent does.
 *
 *   garbage    writes bytes that are no frame, without end
 *   oversize   announces frames longer than any may be
 *   checksum   frames that are damaged on their way
 *   half       begins a frame and never goes on
 *   mute       greets as it should, then never says a word more
 *   liar       reports more memory than there ever was
 *   wrong_id   answers questions that nobody asked
 *   wrong_type answers another question than the one that was asked
 *   malformed  answers with a report cut short
 *   direction  asks the host something, which is not for it
 *   flood      heartbeats, as fast as they go
 *   beg        asks to be greeted, as fast as that goes, and never takes the greeting
 *   boast      says that whatever it is asked for is done, and does nothing
 *
 * What the host sends is read and dropped, whatever the mode, and the port is held until it is
 * killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "message.h"
#include "session_guest.h"

static const char *mode;
static int port;
static struct session_guest session;
static struct message message;

static bool is_mode(const char *name)
{
	return strcmp(mode, name) == 0;
}

/* False once the port is gone. Where the host does not take any more, what it says is still read.
 */
static bool send_bytes(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint8_t scrap[4096];

	while (size > 0) {
		struct pollfd ready = {.fd = port, .events = POLLIN | POLLOUT};
		ssize_t count;

		if (poll(&ready, 1, -1) < 0 && errno != EINTR)
			return false;
		if (!(ready.revents & POLLOUT)) {
			while (read(port, scrap, sizeof(scrap)) > 0)
				;
			if (ready.revents & (POLLHUP | POLLERR))
				usleep(100000);
			continue;
		}
		count = write(port, at, size);
		if (count < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (count > 0) {
			at += count;
			size -= (size_t)count;
		}
	}
	return true;
}

static void rest(void)
{
	uint8_t scrap[4096];

	for (;;) {
		while (read(port, scrap, sizeof(scrap)) > 0)
			;
		usleep(100000);
	}
}

static size_t make_frame(uint8_t *to, size_t size, uint16_t type, uint64_t epoch, uint32_t id,
			 const void *payload, size_t length)
{
	struct frame frame = {.version = SESSION_VERSION_MAX,
			      .type = type,
			      .epoch = epoch,
			      .request_id = id,
			      .payload = payload,
			      .payload_length = length};
	size_t written = 0;

	if (frame_encode(&frame, to, size, &written) < 0)
		exit(3);
	return written;
}

static void send_frame(uint16_t type, uint64_t epoch, uint32_t id, const void *payload,
		       size_t length)
{
	static uint8_t frame[FRAME_MAX_BYTES];

	send_bytes(frame, make_frame(frame, sizeof(frame), type, epoch, id, payload, length));
}

static void send_message(uint64_t epoch, uint32_t id)
{
	static uint8_t payload[LIMIT_PAYLOAD_BYTES];
	size_t length;

	if (message_encode(&message, payload, sizeof(payload), &length) < 0)
		exit(3);
	send_frame((uint16_t)message.type, epoch, id, payload, length);
}

/* Modes that need no session. */
static void be_noisy(void)
{
	static uint8_t bytes[32768];
	uint8_t text[64] = {0};
	size_t length;

	if (is_mode("garbage")) {
		/* Bytes of all values, but for the one that a frame begins with. */
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(i * 37 % 181);
		while (send_bytes(bytes, sizeof(bytes)))
			;
		exit(4);
	}
	if (is_mode("beg")) {
		memset(&message, 0, sizeof(message));
		message.type = MESSAGE_HEARTBEAT;
		for (;;) {
			message.heartbeat.instance++;
			send_message(0, 0);
		}
	}
	length = make_frame(bytes, sizeof(bytes), MESSAGE_PROGRESS, 1, 1, text, sizeof(text));
	if (is_mode("half")) {
		send_bytes(bytes, length / 2);
		rest();
	}
	if (is_mode("oversize"))
		memset(bytes + 12, 0x7f, 4); /* the payload's length, frame.c */
	else if (is_mode("checksum"))
		bytes[length - 1] ^= 1;
	else
		return;
	for (int i = 0; i < 4 * LIMIT_BAD_FRAMES; i++)
		send_bytes(bytes, length);
	rest();
}

static void fill_report(uint64_t total_bytes)
{
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_REPORT_REPLY;
	message.report_reply.total_bytes = total_bytes;
	message.report_reply.free_bytes = message.report_reply.available_bytes = total_bytes / 2;
	message.report_reply.auto_online = MESSAGE_AUTO_ONLINE_MOVABLE;
	message.report_reply.unplug_online = MESSAGE_SWITCH_UNKNOWN;
}

/* Everything is done at once, if one believes it. */
static void boast(const struct message *request, uint64_t epoch, uint32_t id)
{
	uint64_t wanted = request->evacuate.target_bytes;

	if (request->type == MESSAGE_REPORT) {
		fill_report(UINT64_C(200) << 20);
	} else if (request->type == MESSAGE_BLOCKS) {
		memset(&message, 0, sizeof(message));
		message.type = MESSAGE_BLOCKS_REPLY;
		message.blocks_reply.next_block = MESSAGE_BLOCK_END;
	} else if (request->type == MESSAGE_PREPARE || request->type == MESSAGE_EVACUATE) {
		memset(&message, 0, sizeof(message));
		message.type = MESSAGE_EVACUATE_REPLY;
		message.evacuate_reply.code = MESSAGE_RESULT_OK;
		message.evacuate_reply.offlined_bytes = wanted;
		message.evacuate_reply.rung_count = 1;
		message.evacuate_reply.rungs[0].rung = MESSAGE_RUNG_OFFLINE;
		message.evacuate_reply.rungs[0].gained_bytes = wanted;
	} else {
		memset(&message, 0, sizeof(message));
		message.type = MESSAGE_RESULT;
		message.result.code = MESSAGE_RESULT_OK;
	}
	send_message(epoch, id);
}

static void misbehave(const struct session_guest_event *event)
{
	const struct message request = *event->message;
	uint64_t epoch = event->epoch;
	uint32_t id = event->request_id;

	if (is_mode("boast")) {
		boast(&request, epoch, id);
		return;
	}
	fill_report(is_mode("liar") ? UINT64_C(1) << 50 : UINT64_C(200) << 20);
	if (is_mode("wrong_id")) {
		id += 1000;
	} else if (is_mode("wrong_type")) {
		memset(&message, 0, sizeof(message));
		message.type = MESSAGE_EVACUATE_REPLY;
		message.evacuate_reply.code = MESSAGE_RESULT_OK;
	} else if (is_mode("malformed")) {
		send_frame(MESSAGE_REPORT_REPLY, epoch, id, "abc", 3);
		return;
	} else if (is_mode("direction")) {
		send_frame(MESSAGE_GUEST_REQUEST, epoch, id, NULL, 0);
		return;
	}
	send_message(epoch, id);
}

static void flood(uint64_t epoch)
{
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_HEARTBEAT;
	message.heartbeat.instance = session.identity.instance;
	for (;;)
		send_message(epoch, 0);
}

static void flush(void)
{
	const uint8_t *bytes;
	size_t size = session_guest_output(&session, &bytes);

	if (size && send_bytes(bytes, size))
		session_guest_sent(&session, size);
}

int main(int argc, char **argv)
{
	static uint8_t input[SESSION_INPUT_BYTES], output[SESSION_OUTPUT_BYTES];
	struct session_guest_identity identity = {.features = MESSAGE_FEATURE_ALL,
						  .block_bytes = UINT64_C(128) << 20,
						  .instance = (uint64_t)getpid(),
						  .page_bytes = 4096,
						  .version = "hostile"};
	struct session_guest_event event;
	uint64_t now_ms = 0;

	if (argc != 3)
		return 2;
	mode = argv[2];
	port = open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port < 0) {
		perror(argv[1]);
		return 1;
	}
	be_noisy();
	session_guest_init(&session, &identity, (uint64_t)getpid() << 32, input, sizeof(input),
			   output, sizeof(output));
	for (;; now_ms += 10) {
		uint8_t *space;
		size_t size = session_guest_space(&session, &space);
		ssize_t count = size ? read(port, space, size) : 0;

		if (count > 0)
			session_guest_received(&session, (size_t)count);
		while (session_guest_next(&session, now_ms, &event)) {
			flush();
			if (event.kind == SESSION_GUEST_EVENT_OPENED && is_mode("flood"))
				flood(event.epoch);
			if (event.kind == SESSION_GUEST_EVENT_OPENED && is_mode("mute"))
				rest();
			if (event.kind == SESSION_GUEST_EVENT_REQUEST)
				misbehave(&event);
		}
		flush();
		if (count <= 0)
			usleep(10000);
	}
}
