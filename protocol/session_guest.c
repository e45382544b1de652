/* SPDX-License-Identifier: Apache-2.0 */
/*
 *            HELLO (any epoch)                 HELLO_CONFIRM with our nonce
 *   CLOSED ---------------------> GREETED --------------------------------> OPEN
 *     ^  \                           |                                        |
 *     |   \ no version in common     | HELLO again (another nonce)            | HELLO with another
 * nonce: |    +-------> INCOMPATIBLE    +----> GREETED                           | SUPERSEDED, then
 * GREETED
 *     +---- session_guest_reset() from every state ---------------------------+
 *
 * Only the host triggers the arrows, but for the reset, which the owner does when the port says
 * that the host's side is closed.
 */
#include "session_guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Nobody needs heartbeats more often than this, and an idle agent should sleep. */
#define HEARTBEAT_LEAST_MS 500
#define HEARTBEAT_MOST_MS  60000

/* Room that must be free before a frame is looked at: the largest answer that the session gives by
 * itself. */
#define OWN_ANSWER_BYTES (FRAME_HEADER_BYTES + LIMIT_HELLO_BYTES)

void session_guest_init(struct session_guest *session,
			const struct session_guest_identity *identity, uint64_t nonce_source,
			uint8_t *input, size_t input_size, uint8_t *output, size_t output_size)
{
	memset(session, 0, sizeof(*session));
	session->identity = *identity;
	session->nonce_source = nonce_source;
	session->heartbeat_ms = LIMIT_HEARTBEAT_MS;
	session_link_init(&session->link, input, input_size, output, output_size);
}

void session_guest_reset(struct session_guest *session)
{
	session_link_reset(&session->link);
	session->state = SESSION_GUEST_CLOSED;
	session->superseded_due = false;
	session->host_nonce = session->epoch = session->guest_nonce = 0;
	session->last_request_id = 0;
	session->heartbeat_ms = LIMIT_HEARTBEAT_MS;
}

size_t session_guest_space(struct session_guest *session, uint8_t **ret_space)
{
	return frame_reader_space(&session->link.reader, ret_space);
}

void session_guest_received(struct session_guest *session, size_t count)
{
	frame_reader_received(&session->link.reader, count);
}

static void answer_hello(struct session_guest *session)
{
	struct message *reply = &session->message;
	const struct session_guest_identity *identity = &session->identity;

	memset(reply, 0, sizeof(*reply));
	reply->type = MESSAGE_HELLO_REPLY;
	struct message_hello_reply *hello = &reply->hello_reply;

	hello->version_min = SESSION_VERSION_MIN;
	hello->version_max = SESSION_VERSION_MAX;
	hello->version = session->version;
	hello->nonce = session->host_nonce;
	hello->guest_nonce = session->guest_nonce;
	hello->features = identity->features;
	hello->block_bytes = identity->block_bytes;
	hello->page_bytes = identity->page_bytes;
	memcpy(hello->boot_id, identity->boot_id, sizeof(hello->boot_id));
	hello->instance = identity->instance;
	snprintf(hello->agent_version, sizeof(hello->agent_version), "%s", identity->version);
	session_link_put(&session->link, session->epoch, session->hello_request_id, reply);
}

static void on_hello(struct session_guest *session, const struct frame *frame)
{
	struct message *message = &session->message;

	if (message_decode(frame->type, frame->payload, frame->payload_length, message) < 0) {
		session->counters.malformed++;
		return;
	}
	const struct message_hello *hello = &message->hello;
	bool again = session->state != SESSION_GUEST_CLOSED &&
		     hello->nonce == session->host_nonce && frame->epoch == session->epoch;

	session->counters.hellos++;
	if (!again) {
		session->superseded_due |= session->state == SESSION_GUEST_OPEN;
		session->host_nonce = hello->nonce;
		session->epoch = frame->epoch;
		session->last_request_id = frame->request_id;
		/* Each HELLO its own nonce; the sum wraps, which harms nothing. */
		session->guest_nonce = ++session->nonce_source;
		session->version = session_version_choose(hello->version_min, hello->version_max,
							  SESSION_VERSION_MIN, SESSION_VERSION_MAX);
		session->state =
			session->version ? SESSION_GUEST_GREETED : SESSION_GUEST_INCOMPATIBLE;
		session->heartbeat_ms =
			hello->heartbeat_ms < HEARTBEAT_LEAST_MS  ? HEARTBEAT_LEAST_MS
			: hello->heartbeat_ms > HEARTBEAT_MOST_MS ? HEARTBEAT_MOST_MS
								  : hello->heartbeat_ms;
	}
	session->hello_request_id = frame->request_id;
	answer_hello(session);
}

/* True where the session has just opened. */
static bool on_confirm(struct session_guest *session, const struct frame *frame)
{
	struct message *message = &session->message;

	if (message_decode(frame->type, frame->payload, frame->payload_length, message) < 0) {
		session->counters.malformed++;
		return false;
	}
	if (session->state != SESSION_GUEST_GREETED || frame->epoch != session->epoch ||
	    message->hello_confirm.guest_nonce != session->guest_nonce) {
		session->counters.stale_frames++;
		return false;
	}
	session->state = SESSION_GUEST_OPEN;
	return true;
}

static void answer_invalid(struct session_guest *session, const struct frame *frame)
{
	struct message *reply = &session->message;

	session->counters.malformed++;
	memset(reply, 0, sizeof(*reply));
	reply->type = MESSAGE_RESULT;
	reply->result.code = MESSAGE_RESULT_INVALID;
	snprintf(reply->result.text, sizeof(reply->result.text), "malformed %s request",
		 message_type_name(frame->type));
	session_link_put(&session->link, frame->epoch, frame->request_id, reply);
}

static void answer_unsupported(struct session_guest *session, const struct frame *frame)
{
	struct message *reply = &session->message;

	session->counters.unsupported++;
	memset(reply, 0, sizeof(*reply));
	reply->type = MESSAGE_UNSUPPORTED;
	reply->unsupported.type = frame->type;
	session_link_put(&session->link, frame->epoch, frame->request_id, reply);
}

/* What was received behind a request says whether it is still wanted. */
enum fate { WANTED, CANCELLED, OF_ANOTHER_HOST };

/*
 * An agent that did not run for a while finds all of that time in its port: what was asked first,
 * and that nobody waits for it any more last. The frames are looked through on a copy of the
 * reader, which takes none of them out.
 */
static enum fate find_fate(struct session_guest *session, uint32_t request_id)
{
	struct frame_reader ahead = session->link.reader;
	struct message *message = &session->message;
	enum fate fate = WANTED;
	struct frame frame;

	while (frame_reader_next(&ahead, &frame)) {
		if (frame.type == MESSAGE_HELLO && frame.epoch != session->epoch)
			return OF_ANOTHER_HOST;
		if (frame.type == MESSAGE_CANCEL && frame.epoch == session->epoch &&
		    message_decode(frame.type, frame.payload, frame.payload_length, message) == 0 &&
		    message->cancel.request_id == request_id)
			fate = CANCELLED;
	}
	return fate;
}

static void answer_cancelled(struct session_guest *session, const struct frame *frame)
{
	struct message *reply = &session->message;

	session->counters.cancelled++;
	memset(reply, 0, sizeof(*reply));
	reply->type = MESSAGE_RESULT;
	reply->result.code = MESSAGE_RESULT_CANCELLED;
	snprintf(reply->result.text, sizeof(reply->result.text),
		 "not begun: it was cancelled before it was read");
	session_link_put(&session->link, frame->epoch, frame->request_id, reply);
}

/* True where the owner has to answer it. */
static bool on_request(struct session_guest *session, const struct frame *frame)
{
	if (session->state != SESSION_GUEST_OPEN || frame->epoch != session->epoch) {
		session->counters.stale_frames++;
		return false;
	}
	if (message_type_is_known(frame->type) &&
	    (message_type_sender(frame->type) != MESSAGE_SENDER_HOST ||
	     message_type_kind(frame->type) != MESSAGE_KIND_REQUEST)) {
		session->counters.wrong_direction++;
		return false;
	}
	if (frame->request_id <= session->last_request_id) {
		session->counters.replayed++;
		return false;
	}
	session->last_request_id = frame->request_id;
	switch (find_fate(session, frame->request_id)) {
	case WANTED:
		break;
	case CANCELLED:
		answer_cancelled(session, frame);
		return false;
	case OF_ANOTHER_HOST:
		session->counters.stale_frames++;
		return false;
	}
	if (!message_type_is_known(frame->type)) {
		answer_unsupported(session, frame);
		return false;
	}
	if (message_decode(frame->type, frame->payload, frame->payload_length, &session->message) <
	    0) {
		answer_invalid(session, frame);
		return false;
	}
	session->counters.requests++;
	return true;
}

bool session_guest_next(struct session_guest *session, uint64_t now_ms,
			struct session_guest_event *ret_event)
{
	struct frame frame;

	for (;;) {
		if (session->superseded_due) {
			session->superseded_due = false;
			*ret_event = (struct session_guest_event){
				.kind = SESSION_GUEST_EVENT_SUPERSEDED};
			return true;
		}
		/* The host sends faster than it reads: let it wait, its frames stay in the port. */
		if (session->link.output_size -
			    (session->link.output_end - session->link.output_start) <
		    OWN_ANSWER_BYTES)
			return false;
		if (!session_link_next(&session->link, now_ms, &frame))
			return false;
		if (frame.type == MESSAGE_HELLO) {
			on_hello(session, &frame);
		} else if (frame.type == MESSAGE_HELLO_CONFIRM) {
			if (on_confirm(session, &frame)) {
				*ret_event = (struct session_guest_event){
					.kind = SESSION_GUEST_EVENT_OPENED,
					.epoch = session->epoch};
				return true;
			}
		} else if (on_request(session, &frame)) {
			*ret_event =
				(struct session_guest_event){.kind = SESSION_GUEST_EVENT_REQUEST,
							     .epoch = frame.epoch,
							     .request_id = frame.request_id,
							     .message = &session->message};
			return true;
		}
	}
}

int session_guest_reply(struct session_guest *session, uint64_t epoch, uint32_t request_id,
			const struct message *message)
{
	if (session->state != SESSION_GUEST_OPEN || epoch != session->epoch)
		return -ESTALE;
	return session_link_put(&session->link, epoch, request_id, message);
}

int session_guest_heartbeat(struct session_guest *session,
			    const struct message_heartbeat *heartbeat)
{
	struct message *message = &session->message;
	const uint8_t *unused;

	/* Heard before our HELLO_REPLY is confirmed, it would read as a session lost. */
	if (session->state == SESSION_GUEST_GREETED)
		return 0;
	/* One that waits says it already; a queue of them would say nothing more. */
	if (session_link_output(&session->link, &unused) > 0)
		return -EAGAIN;
	memset(message, 0, sizeof(*message));
	message->type = MESSAGE_HEARTBEAT;
	message->heartbeat = *heartbeat;
	return session_link_put(&session->link,
				session->state == SESSION_GUEST_OPEN ? session->epoch : 0, 0,
				message);
}

size_t session_guest_output(const struct session_guest *session, const uint8_t **ret_data)
{
	return session_link_output(&session->link, ret_data);
}

void session_guest_sent(struct session_guest *session, size_t count)
{
	session_link_sent(&session->link, count);
}
