/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_agent.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "frame.h"
#include "session_guest.h"
#include "unit.h"

struct fake_agent {
	struct event_base *base; /* borrowed */
	fake_agent_request_fn *request;
	void *user;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listener, fd;
	struct event *acceptable, *readable; /* owned */
	struct session_guest session;
	uint64_t instance, features;
	unsigned connections;
	bool mute;
	uint16_t foreign_version;	/* 0: speaks what the host does */
	uint8_t input[SESSION_INPUT_BYTES], output[SESSION_OUTPUT_BYTES];
};

static void start_session(struct fake_agent *agent)
{
	struct session_guest_identity identity = {.features = agent->features,
						  .block_bytes = 128u << 20,
						  .instance = ++agent->instance,
						  .page_bytes = 4096,
						  .boot_id = {1},
						  .version = "0.1.0-fake"};

	session_guest_init(&agent->session, &identity, agent->instance * 77, agent->input,
			   sizeof(agent->input), agent->output, sizeof(agent->output));
}

static void flush(struct fake_agent *agent)
{
	const uint8_t *data;
	size_t size;

	while (agent->fd >= 0 && (size = session_guest_output(&agent->session, &data)) > 0) {
		ssize_t written = send(agent->fd, data, size, MSG_NOSIGNAL);

		if (written <= 0)
			return;
		session_guest_sent(&agent->session, (size_t)written);
	}
}

/* A frame in which a HELLO stands gets the answer of an agent that shares no version with this host. */
static void answer_foreign(struct fake_agent *agent, const uint8_t *data, size_t size)
{
	static struct message message;
	static uint8_t buffer[FRAME_MAX_BYTES], payload[1024];
	struct frame_reader reader;
	struct frame frame;
	uint8_t *space;

	frame_reader_init(&reader, buffer, sizeof(buffer));
	assert(frame_reader_space(&reader, &space) >= size);
	memcpy(space, data, size);
	frame_reader_received(&reader, size);
	while (frame_reader_next(&reader, &frame)) {
		uint8_t bytes[FRAME_HEADER_BYTES + sizeof(payload)];
		struct frame reply = {.version = agent->foreign_version, .type = MESSAGE_HELLO_REPLY, .epoch = frame.epoch,
				      .request_id = frame.request_id, .payload = payload};
		uint64_t nonce;
		size_t length;

		if (frame.type != MESSAGE_HELLO ||
		    message_decode(frame.type, frame.payload, frame.payload_length, &message) < 0)
			continue;
		nonce = message.hello.nonce;
		memset(&message, 0, sizeof(message));
		message.type = MESSAGE_HELLO_REPLY;
		message.hello_reply.version_min = message.hello_reply.version_max = agent->foreign_version;
		message.hello_reply.nonce = nonce;
		strcpy(message.hello_reply.agent_version, "9.9-fake");
		assert(message_encode(&message, payload, sizeof(payload), &reply.payload_length) == 0);
		assert(frame_encode(&reply, bytes, sizeof(bytes), &length) == 0);
		assert(send(agent->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length);
	}
}

static void on_readable(evutil_socket_t fd, short what, void *user)
{
	struct fake_agent *agent = user;
	struct session_guest_event event;
	uint8_t *space;
	size_t size = session_guest_space(&agent->session, &space);
	ssize_t count = read(fd, space, size);

	if (count <= 0) {
		fake_agent_hang_up(agent);
		return;
	}
	if (agent->mute)
		return;
	if (agent->foreign_version) {
		answer_foreign(agent, space, (size_t)count);
		return;
	}
	session_guest_received(&agent->session, (size_t)count);
	while (session_guest_next(&agent->session, 1, &event))
		if (event.kind == SESSION_GUEST_EVENT_REQUEST && agent->request)
			agent->request(agent->user, agent, event.epoch, event.request_id,
				       event.message);
	flush(agent);
}

static void on_acceptable(evutil_socket_t fd, short what, void *user)
{
	struct fake_agent *agent = user;
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	assert(accepted >= 0);
	assert(agent->fd < 0);
	agent->fd = accepted;
	agent->connections++;
	session_guest_reset(&agent->session);
	agent->readable =
		event_new(agent->base, accepted, EV_READ | EV_PERSIST, on_readable, agent);
	assert(agent->readable && event_add(agent->readable, NULL) == 0);
}

struct fake_agent *fake_agent_new(struct event_base *base, const char *path,
				  fake_agent_request_fn *request, void *user)
{
	struct fake_agent *agent = calloc(1, sizeof(*agent));
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert(agent && strlen(path) < sizeof(address.sun_path));
	agent->base = base;
	agent->request = request;
	agent->user = user;
	agent->fd = -1;
	strcpy(agent->path, path);
	strcpy(address.sun_path, path);
	unlink(path);
	agent->features = MESSAGE_FEATURE_ALL;
	start_session(agent);
	agent->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert(agent->listener >= 0);
	assert(bind(agent->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	assert(listen(agent->listener, 4) == 0);
	agent->acceptable =
		event_new(base, agent->listener, EV_READ | EV_PERSIST, on_acceptable, agent);
	assert(agent->acceptable && event_add(agent->acceptable, NULL) == 0);
	return agent;
}

struct fake_agent *fake_agent_free(struct fake_agent *agent)
{
	if (!agent)
		return NULL;
	fake_agent_hang_up(agent);
	event_free(agent->acceptable);
	close(agent->listener);
	unlink(agent->path);
	free(agent);
	return NULL;
}

void fake_agent_reply(struct fake_agent *agent, uint64_t epoch, uint32_t id,
		      const struct message *message)
{
	assert(session_guest_reply(&agent->session, epoch, id, message) == 0);
	flush(agent);
}

void fake_agent_reply_result(struct fake_agent *agent, uint64_t epoch, uint32_t id,
			     enum message_result_code code, const char *text)
{
	struct message *message = calloc(1, sizeof(*message));

	assert(message);
	message->type = MESSAGE_RESULT;
	message->result.code = code;
	snprintf(message->result.text, sizeof(message->result.text), "%s", text);
	fake_agent_reply(agent, epoch, id, message);
	free(message);
}

void fake_agent_hang_up(struct fake_agent *agent)
{
	if (agent->readable)
		event_free(agent->readable);
	agent->readable = NULL;
	if (agent->fd >= 0)
		close(agent->fd);
	agent->fd = -1;
	session_guest_reset(&agent->session);
}

void fake_agent_restart(struct fake_agent *agent)
{
	struct message_heartbeat heartbeat = {.boot_id = {1}};

	start_session(agent);
	heartbeat.instance = agent->instance;
	/* An agent without a session asks to be greeted. */
	assert(session_guest_heartbeat(&agent->session, &heartbeat) == 0);
	flush(agent);
}

void fake_agent_ask(struct fake_agent *agent, uint64_t wanted_bytes)
{
	struct message_heartbeat heartbeat = {
		.boot_id = {1}, .instance = agent->instance, .wanted_bytes = wanted_bytes};

	assert(session_guest_heartbeat(&agent->session, &heartbeat) == 0);
	flush(agent);
}

void fake_agent_set_features(struct fake_agent *agent, uint64_t features)
{
	agent->features = features;
	start_session(agent);
}

void fake_agent_set_foreign(struct fake_agent *agent, uint16_t version)
{
	agent->foreign_version = version;
}

void fake_agent_set_mute(struct fake_agent *agent, bool mute)
{
	agent->mute = mute;
}

size_t fake_agent_send_bytes(struct fake_agent *agent, const void *data, size_t size)
{
	const char *bytes = data;
	size_t done = 0;

	while (done < size) {
		ssize_t sent = send(agent->fd, bytes + done, size - done, MSG_NOSIGNAL);

		if (sent <= 0)
			break; /* the far end reads when it is its turn, or has hung up */
		done += (size_t)sent;
	}
	return done;
}

unsigned fake_agent_connections(const struct fake_agent *agent)
{
	return agent->connections;
}
