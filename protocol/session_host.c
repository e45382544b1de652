/* SPDX-License-Identifier: Apache-2.0 */
/*
 *          connect()                HELLO_REPLY with our nonce
 *   IDLE -------------> HELLO_SENT ---------------------------> READY <---+
 *     ^                  |     ^  \                             |  |      | any frame of our epoch,
 *     |     five HELLOs  |     |   \ no version in common       |  |      | or HELLO_REPLY
 *     |     unanswered   |     |    +----> INCOMPATIBLE         |  |      |
 *     |                  v     |                |               |  +--> BUSY (silence)
 *     |                 BUSY   +----------------+---------------+
 *     |                          heartbeat of epoch 0: an agent without a session
 *     +--- disconnect() from every state;   SUSPECT from every state, left by connect() and
 * disconnect() only
 *
 * The owner triggers connect, disconnect and suspect(LIED); the guest's frames and silence trigger
 * the rest. What is of another epoch, or comes before the HELLO is answered, is from before:
 * dropped and counted, never held against the guest.
 */
#include "session_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An agent that asks to be greeted while a HELLO is under way to it is not sent another. */
#define HELLO_LEAST_MS 1000

void session_host_init(struct session_host *session, const char *host_version, uint8_t *input,
		       size_t input_size, uint8_t *output, size_t output_size)
{
	memset(session, 0, sizeof(*session));
	snprintf(session->host_version, sizeof(session->host_version), "%s", host_version);
	session_link_init(&session->link, input, input_size, output, output_size);
}

static uint64_t bad_frames(const struct session_host *session)
{
	const struct frame_counters *counters = &session->link.reader.counters;

	return counters->bad_checksums + counters->oversize;
}

static void send_hello(struct session_host *session, uint64_t now_ms)
{
	const uint8_t *unused;

	session->hello_at_ms =
		now_ms +
		(session->hello_tries < LIMIT_HELLO_TRIES ? LIMIT_HELLO_MS : LIMIT_HELLO_LATER_MS);
	session->hello_tries++;
	session->hello_sent_ms = now_ms;
	/* What the channel has not taken yet holds the HELLO before; one more would only pile up.
	 */
	if (session_link_output(&session->link, &unused) > 0)
		return;
	struct message *message = &session->message;

	memset(message, 0, sizeof(*message));
	message->type = MESSAGE_HELLO;
	message->hello.version_min = SESSION_VERSION_MIN;
	message->hello.version_max = SESSION_VERSION_MAX;
	message->hello.nonce = session->nonce;
	message->hello.heartbeat_ms = LIMIT_HEARTBEAT_MS;
	memcpy(message->hello.host_version, session->host_version, sizeof(session->host_version));
	if (session_link_put(&session->link, session->epoch, ++session->last_request_id, message) ==
	    0)
		session->counters.hellos_sent++;
}

static void forget(struct session_host *session)
{
	session_link_reset(&session->link);
	memset(session->requests, 0, sizeof(session->requests));
	session->suspicion = SESSION_HOST_SUSPICION_NONE;
	session->busy_due = session->ready_due = session->suspect_due = session->restarted = false;
	session->has_peer = false;
	session->version = 0;
	session->hello_tries = 0;
	session->unanswered = session->greetings = 0;
	session->events_in_second = 0;
	session->bad_frames_before = bad_frames(session);
	session->floods_before = session->link.reader.counters.floods;
}

void session_host_connect(struct session_host *session, uint64_t nonce, uint64_t epoch,
			  uint64_t now_ms)
{
	forget(session);
	session->nonce = nonce;
	session->epoch = epoch;
	session->last_request_id = 0;
	session->heard_ms = session->second_ms = now_ms;
	session->state = SESSION_HOST_HELLO_SENT;
	send_hello(session, now_ms);
}

void session_host_disconnect(struct session_host *session)
{
	forget(session);
	session->state = SESSION_HOST_IDLE;
}

static void lose_requests(struct session_host *session)
{
	for (size_t i = 0; i < LIMIT_OUTSTANDING; i++)
		if (session->requests[i].id)
			session->requests[i].lost = true;
}

void session_host_suspect(struct session_host *session, enum session_host_suspicion suspicion)
{
	if (session->state == SESSION_HOST_IDLE || session->state == SESSION_HOST_SUSPECT)
		return;
	session->state = SESSION_HOST_SUSPECT;
	session->suspicion = suspicion;
	session->suspect_due = true;
	session->busy_due = session->ready_due = false;
	session_link_reset(&session->link);
	lose_requests(session);
}

size_t session_host_space(struct session_host *session, uint8_t **ret_space)
{
	return frame_reader_space(&session->link.reader, ret_space);
}

void session_host_received(struct session_host *session, size_t count)
{
	frame_reader_received(&session->link.reader, count);
}

/* Greets an agent that has lost or never had this session. */
static void greet_again(struct session_host *session, uint64_t now_ms)
{
	lose_requests(session);
	/* Those that come before the greeting is answered may have waited in the port. */
	if (session->state == SESSION_HOST_READY && ++session->greetings > LIMIT_GREETINGS) {
		session_host_suspect(session, SESSION_HOST_SUSPICION_GREETINGS);
		return;
	}
	session->state = SESSION_HOST_HELLO_SENT;
	session->ready_due = session->busy_due = false;
	session->hello_tries = 0;
	if (now_ms - session->hello_sent_ms >= HELLO_LEAST_MS)
		send_hello(session, now_ms);
	else
		session->hello_at_ms = session->hello_sent_ms + HELLO_LEAST_MS;
}

/* One that is down or has no time is silent. One that speaks and answers nothing is not. */
static void check_answers(struct session_host *session)
{
	if (session->unanswered >= LIMIT_UNANSWERED)
		session_host_suspect(session, SESSION_HOST_SUSPICION_UNANSWERED);
}

/* A frame of this session has come. */
static void heard(struct session_host *session, uint64_t now_ms)
{
	session->heard_ms = now_ms;
	session->greetings = 0;
	if (session->state == SESSION_HOST_BUSY && session->has_peer) {
		session->state = SESSION_HOST_READY;
		session->ready_due = true;
		session->busy_due = false;
	}
}

static bool decode(struct session_host *session, const struct frame *frame)
{
	if (message_decode(frame->type, frame->payload, frame->payload_length, &session->message) ==
	    0)
		return true;
	session_host_suspect(session, SESSION_HOST_SUSPICION_MALFORMED);
	return false;
}

static bool same_peer(const struct message_hello_reply *a, const struct message_hello_reply *b)
{
	return a->instance == b->instance && a->guest_nonce == b->guest_nonce &&
	       memcmp(a->boot_id, b->boot_id, sizeof(a->boot_id)) == 0;
}

static void send_confirm(struct session_host *session, uint64_t guest_nonce)
{
	struct message *message = &session->message;

	memset(message, 0, sizeof(*message));
	message->type = MESSAGE_HELLO_CONFIRM;
	message->hello_confirm.guest_nonce = guest_nonce;
	/* Where the output is full the agent goes on without a session, says so, and is greeted
	 * again. */
	session_link_put(&session->link, session->epoch, 0, message);
}

/* True where *ret_event is to be given out now. */
static bool on_hello_reply(struct session_host *session, const struct frame *frame, uint64_t now_ms,
			   struct session_host_event *ret_event)
{
	if (frame->epoch != session->epoch) {
		session->counters.stale_frames++;
		return false;
	}
	if (!decode(session, frame))
		return false;
	const struct message_hello_reply *reply = &session->message.hello_reply;

	if (reply->nonce != session->nonce) {
		session->counters.stale_frames++;
		return false;
	}
	session->heard_ms = now_ms;
	if (reply->version < SESSION_VERSION_MIN || reply->version > SESSION_VERSION_MAX) {
		lose_requests(session);
		session->state = SESSION_HOST_INCOMPATIBLE;
		session->peer = *reply;
		session->has_peer = true;
		*ret_event = (struct session_host_event){.kind = SESSION_HOST_EVENT_INCOMPATIBLE,
							 .message = &session->message};
		return true;
	}
	bool same = session->has_peer && same_peer(&session->peer, reply);

	if (session->has_peer && !same) {
		lose_requests(session);
		session->restarted = true;
		session->unanswered = 0;
	}
	check_answers(session);
	if (session->state == SESSION_HOST_SUSPECT)
		return false;
	if (!same || session->state != SESSION_HOST_READY)
		session->ready_due = true;
	session->peer = *reply;
	session->has_peer = true;
	session->version = reply->version;
	session->state = SESSION_HOST_READY;
	session->busy_due = false;
	session->hello_tries = 0;
	send_confirm(session, session->peer.guest_nonce);
	return false;
}

static bool on_heartbeat(struct session_host *session, const struct frame *frame, uint64_t now_ms,
			 struct session_host_event *ret_event)
{
	if (frame->epoch != session->epoch && frame->epoch != 0) {
		session->counters.stale_frames++;
		return false;
	}
	if (!decode(session, frame))
		return false;
	session->counters.heartbeats++;
	if (frame->epoch == 0) {
		/* An agent of known instance whose versions do not fit would say the same again. */
		if (session->state != SESSION_HOST_INCOMPATIBLE ||
		    session->message.heartbeat.instance != session->peer.instance)
			greet_again(session, now_ms);
		return false;
	}
	heard(session, now_ms);
	check_answers(session);
	if (session->state != SESSION_HOST_READY)
		return false;
	*ret_event = (struct session_host_event){.kind = SESSION_HOST_EVENT_HEARTBEAT,
						 .message = &session->message};
	return true;
}

static struct session_host_request *find_request(struct session_host *session, uint32_t id)
{
	for (size_t i = 0; i < LIMIT_OUTSTANDING; i++)
		if (id != 0 && session->requests[i].id == id && !session->requests[i].lost)
			return &session->requests[i];
	return NULL;
}

/* A reply or progress. */
static bool on_answer(struct session_host *session, const struct frame *frame, uint64_t now_ms,
		      struct session_host_event *ret_event)
{
	if (frame->epoch != session->epoch || !session->has_peer ||
	    (session->state != SESSION_HOST_READY && session->state != SESSION_HOST_BUSY)) {
		session->counters.stale_frames++;
		return false;
	}
	if (frame->request_id == 0 || frame->request_id > session->last_request_id) {
		session_host_suspect(session, SESSION_HOST_SUSPICION_REQUEST_ID);
		return false;
	}
	struct session_host_request *request = find_request(session, frame->request_id);

	session->unanswered = 0;
	if (!request) {
		session->counters.late_replies++;
		return false;
	}
	bool progress = message_type_kind(frame->type) == MESSAGE_KIND_EVENT;

	if (progress ? !message_type_tells(frame->type, request->type)
		     : !message_type_answers(frame->type, request->type)) {
		session_host_suspect(session, SESSION_HOST_SUSPICION_REPLY_TYPE);
		return false;
	}
	if (!decode(session, frame))
		return false;
	heard(session, now_ms);
	*ret_event = (struct session_host_event){.kind = progress ? SESSION_HOST_EVENT_PROGRESS
								  : SESSION_HOST_EVENT_REPLY,
						 .request_id = request->id,
						 .request_type = request->type,
						 .message = &session->message};
	if (!progress) {
		session->counters.replies++;
		*request = (struct session_host_request){0};
	}
	return true;
}

static bool is_event_frame(uint16_t type)
{
	return !message_type_is_known(type) || message_type_kind(type) == MESSAGE_KIND_EVENT;
}

/* Only in a session: what piled up before it comes all at once and is nobody's fault. */
static bool is_flood(struct session_host *session, uint64_t now_ms)
{
	if (session->state != SESSION_HOST_READY)
		return false;
	if (now_ms - session->second_ms >= 1000) {
		session->second_ms = now_ms;
		session->events_in_second = 0;
	}
	return ++session->events_in_second > LIMIT_EVENTS_PER_SECOND;
}

static bool on_frame(struct session_host *session, const struct frame *frame, uint64_t now_ms,
		     struct session_host_event *ret_event)
{
	if (is_event_frame(frame->type) && is_flood(session, now_ms)) {
		session_host_suspect(session, SESSION_HOST_SUSPICION_FLOOD);
		return false;
	}
	if (!message_type_is_known(frame->type)) {
		session->counters.unknown_types++;
		return false;
	}
	if (frame->type == MESSAGE_HELLO_REPLY)
		return on_hello_reply(session, frame, now_ms, ret_event);
	if (frame->type == MESSAGE_HEARTBEAT)
		return on_heartbeat(session, frame, now_ms, ret_event);
	if (message_type_sender(frame->type) != MESSAGE_SENDER_GUEST ||
	    message_type_kind(frame->type) == MESSAGE_KIND_REQUEST) {
		if (frame->epoch == session->epoch)
			session_host_suspect(session, SESSION_HOST_SUSPICION_DIRECTION);
		else
			session->counters.stale_frames++;
		return false;
	}
	return on_answer(session, frame, now_ms, ret_event);
}

static void check_stream(struct session_host *session)
{
	const struct frame_reader *reader = &session->link.reader;

	if (reader->garbage_run > LIMIT_GARBAGE_BYTES ||
	    reader->counters.floods > session->floods_before)
		session_host_suspect(session, SESSION_HOST_SUSPICION_GARBAGE);
	else if (bad_frames(session) - session->bad_frames_before > LIMIT_BAD_FRAMES)
		session_host_suspect(session, SESSION_HOST_SUSPICION_BAD_FRAMES);
}

static bool take_request(struct session_host *session,
			 bool (*wanted)(const struct session_host_request *, uint64_t),
			 uint64_t now_ms, enum session_host_event_kind kind,
			 struct session_host_event *ret_event)
{
	for (size_t i = 0; i < LIMIT_OUTSTANDING; i++) {
		struct session_host_request *request = &session->requests[i];

		if (request->id == 0 || !wanted(request, now_ms))
			continue;
		*ret_event = (struct session_host_event){
			.kind = kind, .request_id = request->id, .request_type = request->type};
		*request = (struct session_host_request){0};
		return true;
	}
	return false;
}

static bool is_lost(const struct session_host_request *request, uint64_t now_ms)
{
	return request->lost;
}

static bool is_overdue(const struct session_host_request *request, uint64_t now_ms)
{
	return now_ms >= request->deadline_ms;
}

/* What puts things back is wanted however late. */
static bool is_wanted_late(uint16_t type)
{
	return type == MESSAGE_RELEASE_LEASE || type == MESSAGE_RESTORE_POOLS ||
	       type == MESSAGE_CANCEL;
}

/* An agent that did not run, or whose guest was paused, would begin it when it reads its port
 * again. */
static void withdraw(struct session_host *session, uint32_t request_id)
{
	struct message *message = &session->message;

	memset(message, 0, sizeof(*message));
	message->type = MESSAGE_CANCEL;
	message->cancel.request_id = request_id;
	/* Its answer is of no interest. Where the output is full the agent's own deadline ends the
	 * work. */
	if (session_link_put(&session->link, session->epoch, session->last_request_id + 1,
			     message) == 0)
		session->last_request_id++;
}

/* What was noticed and not yet told. */
static bool take_due(struct session_host *session, uint64_t now_ms,
		     struct session_host_event *ret_event)
{
	if (session->suspect_due) {
		session->suspect_due = false;
		*ret_event = (struct session_host_event){.kind = SESSION_HOST_EVENT_SUSPECT,
							 .suspicion = session->suspicion};
		return true;
	}
	if (take_request(session, is_lost, now_ms, SESSION_HOST_EVENT_LOST, ret_event))
		return true;
	if (session->ready_due) {
		session->ready_due = false;
		session->message.type = MESSAGE_HELLO_REPLY;
		session->message.hello_reply = session->peer;
		*ret_event = (struct session_host_event){.kind = SESSION_HOST_EVENT_READY,
							 .restarted = session->restarted,
							 .message = &session->message};
		session->restarted = false;
		return true;
	}
	if (session->busy_due) {
		session->busy_due = false;
		*ret_event = (struct session_host_event){.kind = SESSION_HOST_EVENT_BUSY};
		return true;
	}
	return false;
}

bool session_host_next(struct session_host *session, uint64_t now_ms,
		       struct session_host_event *ret_event)
{
	struct frame frame;

	for (;;) {
		if (take_due(session, now_ms, ret_event))
			return true;
		if (session->state == SESSION_HOST_IDLE || session->state == SESSION_HOST_SUSPECT) {
			frame_reader_reset(&session->link.reader);
			return false;
		}
		bool found = session_link_next(&session->link, now_ms, &frame);

		check_stream(session);
		if (session->state == SESSION_HOST_SUSPECT)
			continue;
		if (!found)
			break;
		if (on_frame(session, &frame, now_ms, ret_event))
			return true;
	}
	if (!take_request(session, is_overdue, now_ms, SESSION_HOST_EVENT_TIMED_OUT, ret_event))
		return false;
	session->unanswered++;
	if (session->has_peer && !is_wanted_late(ret_event->request_type))
		withdraw(session, ret_event->request_id);
	return true;
}

static void enter_busy(struct session_host *session)
{
	session->state = SESSION_HOST_BUSY;
	session->busy_due = true;
}

void session_host_tick(struct session_host *session, uint64_t now_ms)
{
	switch (session->state) {
	case SESSION_HOST_IDLE:
	case SESSION_HOST_INCOMPATIBLE:
	case SESSION_HOST_SUSPECT:
	case SESSION_HOST_STATE_COUNT:
		return;
	case SESSION_HOST_HELLO_SENT:
		if (now_ms < session->hello_at_ms)
			return;
		if (session->hello_tries >= LIMIT_HELLO_TRIES)
			enter_busy(session);
		send_hello(session, now_ms);
		return;
	case SESSION_HOST_READY:
		if (now_ms - session->heard_ms < LIMIT_SILENCE_MS)
			return;
		enter_busy(session);
		send_hello(session, now_ms);
		return;
	case SESSION_HOST_BUSY:
		if (now_ms >= session->hello_at_ms)
			send_hello(session, now_ms);
		return;
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t session_host_deadline(const struct session_host *session)
{
	uint64_t deadline = UINT64_MAX;

	switch (session->state) {
	case SESSION_HOST_IDLE:
	case SESSION_HOST_SUSPECT:
	case SESSION_HOST_STATE_COUNT:
		return UINT64_MAX;
	case SESSION_HOST_INCOMPATIBLE:
		break;
	case SESSION_HOST_HELLO_SENT:
	case SESSION_HOST_BUSY:
		deadline = session->hello_at_ms;
		break;
	case SESSION_HOST_READY:
		deadline = session->heard_ms + LIMIT_SILENCE_MS;
		break;
	}
	if (session->link.partial_since_ms)
		deadline = earlier(deadline, session->link.partial_since_ms + LIMIT_FRAME_MS);
	for (size_t i = 0; i < LIMIT_OUTSTANDING; i++)
		if (session->requests[i].id)
			deadline = earlier(deadline, session->requests[i].deadline_ms);
	return deadline;
}

int session_host_request(struct session_host *session, const struct message *message,
			 uint32_t timeout_ms, uint64_t now_ms, uint32_t *ret_request_id)
{
	struct session_host_request *request = NULL;

	if (session->state != SESSION_HOST_READY)
		return -ENOTCONN;
	if (!message_type_is_known((uint16_t)message->type) || message->type == MESSAGE_HELLO ||
	    message_type_sender((uint16_t)message->type) != MESSAGE_SENDER_HOST ||
	    message_type_kind((uint16_t)message->type) != MESSAGE_KIND_REQUEST)
		return -EINVAL;
	for (size_t i = 0; i < LIMIT_OUTSTANDING && !request; i++)
		if (session->requests[i].id == 0)
			request = &session->requests[i];
	if (!request)
		return -EBUSY;
	int result = session_link_put(&session->link, session->epoch, session->last_request_id + 1,
				      message);

	if (result < 0)
		return result;
	*request = (struct session_host_request){.id = ++session->last_request_id,
						 .type = (uint16_t)message->type,
						 .deadline_ms = now_ms + timeout_ms};
	*ret_request_id = request->id;
	return 0;
}

size_t session_host_output(const struct session_host *session, const uint8_t **ret_data)
{
	return session_link_output(&session->link, ret_data);
}

void session_host_sent(struct session_host *session, size_t count)
{
	session_link_sent(&session->link, count);
}

static const char *name(const char *const *names, size_t count, unsigned value)
{
	return value < count ? names[value] : "unknown";
}

const char *session_host_state_name(enum session_host_state state)
{
	static const char *const names[SESSION_HOST_STATE_COUNT] = {
		[SESSION_HOST_IDLE] = "idle",
		[SESSION_HOST_HELLO_SENT] = "hello_sent",
		[SESSION_HOST_READY] = "ready",
		[SESSION_HOST_BUSY] = "channel_busy",
		[SESSION_HOST_INCOMPATIBLE] = "incompatible",
		[SESSION_HOST_SUSPECT] = "suspect",
	};

	return name(names, SESSION_HOST_STATE_COUNT, (unsigned)state);
}

const char *session_host_suspicion_name(enum session_host_suspicion suspicion)
{
	static const char *const names[SESSION_HOST_SUSPICION_COUNT] = {
		[SESSION_HOST_SUSPICION_NONE] = "none",
		[SESSION_HOST_SUSPICION_GARBAGE] = "garbage",
		[SESSION_HOST_SUSPICION_BAD_FRAMES] = "bad_frames",
		[SESSION_HOST_SUSPICION_MALFORMED] = "malformed_message",
		[SESSION_HOST_SUSPICION_REQUEST_ID] = "wrong_request_id",
		[SESSION_HOST_SUSPICION_REPLY_TYPE] = "wrong_reply_type",
		[SESSION_HOST_SUSPICION_DIRECTION] = "wrong_direction",
		[SESSION_HOST_SUSPICION_FLOOD] = "flood",
		[SESSION_HOST_SUSPICION_UNANSWERED] = "answers_nothing",
		[SESSION_HOST_SUSPICION_GREETINGS] = "greetings",
		[SESSION_HOST_SUSPICION_LIED] = "lied",
	};

	return name(names, SESSION_HOST_SUSPICION_COUNT, (unsigned)suspicion);
}

const char *session_host_event_kind_name(enum session_host_event_kind kind)
{
	static const char *const names[SESSION_HOST_EVENT_COUNT] = {
		[SESSION_HOST_EVENT_READY] = "ready",
		[SESSION_HOST_EVENT_REPLY] = "reply",
		[SESSION_HOST_EVENT_PROGRESS] = "progress",
		[SESSION_HOST_EVENT_HEARTBEAT] = "heartbeat",
		[SESSION_HOST_EVENT_TIMED_OUT] = "timed_out",
		[SESSION_HOST_EVENT_LOST] = "lost",
		[SESSION_HOST_EVENT_BUSY] = "channel_busy",
		[SESSION_HOST_EVENT_INCOMPATIBLE] = "incompatible",
		[SESSION_HOST_EVENT_SUSPECT] = "suspect",
	};

	return name(names, SESSION_HOST_EVENT_COUNT, (unsigned)kind);
}
