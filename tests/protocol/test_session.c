/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends, joined by bytes that the test may hold back, cut, replay or forge.
 */
#include "session_guest.h"
#include "session_host.h"

#include <errno.h>
#include <string.h>
#include "unit.h"

static uint8_t host_in[SESSION_INPUT_BYTES], host_out[SESSION_OUTPUT_BYTES];
static uint8_t guest_in[SESSION_INPUT_BYTES], guest_out[SESSION_OUTPUT_BYTES];
static struct session_host host;
static struct session_guest guest;
static struct message message;
static uint64_t now;

static void new_guest(uint64_t instance)
{
	struct session_guest_identity identity = {.features = MESSAGE_FEATURE_ALL,
						  .block_bytes = 128 << 20,
						  .page_bytes = 4096,
						  .instance = instance};

	strcpy(identity.version, "0.1.0");
	memset(identity.boot_id, 0xbb, sizeof(identity.boot_id));
	session_guest_init(&guest, &identity, instance * 1000, guest_in, sizeof(guest_in),
			   guest_out, sizeof(guest_out));
}

static void start(void)
{
	now = 1000;
	session_host_init(&host, "0.1.0", host_in, sizeof(host_in), host_out, sizeof(host_out));
	new_guest(1);
}

static void host_receives(const void *data, size_t length)
{
	uint8_t *space;
	size_t room = session_host_space(&host, &space);

	CHECK_TRUE(room >= length);
	memcpy(space, data, length);
	session_host_received(&host, length);
}

static void guest_receives(const void *data, size_t length)
{
	uint8_t *space;
	size_t room = session_guest_space(&guest, &space);

	CHECK_TRUE(room >= length);
	memcpy(space, data, length);
	session_guest_received(&guest, length);
}

static size_t to_guest(void)
{
	const uint8_t *data;
	size_t length = session_host_output(&host, &data);

	guest_receives(data, length);
	session_host_sent(&host, length);
	return length;
}

static size_t to_host(void)
{
	const uint8_t *data;
	size_t length = session_guest_output(&guest, &data);

	host_receives(data, length);
	session_guest_sent(&guest, length);
	return length;
}

static enum session_host_event_kind host_event(struct session_host_event *event)
{
	return session_host_next(&host, now, event) ? event->kind : SESSION_HOST_EVENT_COUNT;
}

static enum session_guest_event_kind guest_event(struct session_guest_event *event)
{
	return session_guest_next(&guest, now, event) ? event->kind : SESSION_GUEST_EVENT_COUNT;
}

static void open_session(uint64_t nonce, uint64_t epoch)
{
	struct session_host_event he;
	struct session_guest_event ge;

	session_host_connect(&host, nonce, epoch, now);
	CHECK_INT(host.state, SESSION_HOST_HELLO_SENT);
	to_guest();
	while (session_guest_next(&guest, now, &ge))
		;
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_READY);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_OPENED);
	CHECK_INT(ge.epoch, epoch);
	CHECK_INT(host.state, SESSION_HOST_READY);
	CHECK_INT(guest.state, SESSION_GUEST_OPEN);
}

static uint32_t ask_report(uint32_t timeout_ms)
{
	uint32_t id = 0;

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_REPORT;
	CHECK_INT(session_host_request(&host, &message, timeout_ms, now, &id), 0);
	return id;
}

static int answer_ok(uint64_t epoch, uint32_t id, enum message_type type)
{
	memset(&message, 0, sizeof(message));
	message.type = type;
	return session_guest_reply(&guest, epoch, id, &message);
}

/* A frame that no honest end would send now. */
static size_t forge(uint8_t *to, uint64_t epoch, uint32_t id, uint16_t type, const void *payload,
		    size_t length)
{
	struct frame frame = {.version = 0x0100,
			      .type = type,
			      .request_id = id,
			      .epoch = epoch,
			      .payload = payload,
			      .payload_length = length};
	size_t total = 0;

	CHECK_INT(frame_encode(&frame, to, FRAME_MAX_BYTES, &total), 0);
	return total;
}

static void test_open_ask_answer(void)
{
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	CHECK_INT(session_host_request(&host, &message, 1000, now, &(uint32_t){0}), -ENOTCONN);
	open_session(11, 101);
	CHECK_INT(host.version, 0x0101);
	CHECK_INT(host.peer.block_bytes, 128 << 20);
	uint32_t id = ask_report(1000);

	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(ge.message->type, MESSAGE_REPORT);
	CHECK_INT(ge.request_id, id);
	CHECK_INT(ge.epoch, 101);
	CHECK_INT(answer_ok(101, id, MESSAGE_PROGRESS), 0);
	CHECK_INT(answer_ok(101, id, MESSAGE_REPORT_REPLY), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_PROGRESS);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	CHECK_INT(he.request_id, id);
	CHECK_INT(he.request_type, MESSAGE_REPORT);
	CHECK_INT(he.message->type, MESSAGE_REPORT_REPLY);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
}

static void test_stalls(void)
{
	struct session_host_event he;
	struct message watch = {.type = MESSAGE_WATCH_STALLS,
				.watch_stalls = {.interval_ms = 100, .duration_ms = 1000}};
	uint32_t id = 0;

	start();
	open_session(11, 101);
	CHECK_INT(session_host_request(&host, &watch, 2000, now, &id), 0);
	to_guest();
	CHECK_INT(answer_ok(101, id, MESSAGE_STALLS), 0);
	CHECK_INT(answer_ok(101, id, MESSAGE_STALLS), 0);
	CHECK_INT(answer_ok(101, id, MESSAGE_RESULT), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_PROGRESS);
	CHECK_INT(he.message->type, MESSAGE_STALLS);
	CHECK_INT(he.request_type, MESSAGE_WATCH_STALLS);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_PROGRESS);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	/* Late ones are nobody's fault; of a request that does not watch they are. */
	CHECK_INT(answer_ok(101, id, MESSAGE_STALLS), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.counters.late_replies, 1);
	id = ask_report(1000);
	to_guest();
	CHECK_INT(answer_ok(101, id, MESSAGE_STALLS), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_SUSPECT);
	CHECK_INT(he.suspicion, SESSION_HOST_SUSPICION_REPLY_TYPE);
}

static void test_stale_bytes_before_hello(void)
{
	uint8_t old[4096];
	const uint8_t *data;
	struct session_guest_event ge;

	/* An earlier host's connection: its HELLO, its CONFIRM, a request and half a frame wait in
	 * the port. */
	start();
	open_session(1, 100);
	ask_report(1000);
	size_t length = session_host_output(&host, &data);

	memcpy(old, data, length);
	uint8_t hello[1024];
	session_host_connect(&host, 1, 100, now);
	size_t hello_length = session_host_output(&host, &data);

	memcpy(hello, data, hello_length);
	/* The agent starts anew and reads all that, then the new host's HELLO. */
	new_guest(2);
	guest_receives(hello, hello_length);
	uint8_t confirm[64];

	guest_receives(confirm,
		       forge(confirm, 100, 0, MESSAGE_HELLO_CONFIRM, "\xe9\3\0\0\0\0\0\0", 8));
	guest_receives(old, length);
	guest_receives(old, length / 2);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(guest.counters.requests, 0);
	CHECK_INT(guest.counters.stale_frames, 2);
	open_session(2, 101);
	CHECK_TRUE(host.counters.stale_frames >= 1); /* the answer to the old HELLO */
}

static void test_stale_replies_are_dropped(void)
{
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	uint32_t id = ask_report(1000);

	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(answer_ok(101, id, MESSAGE_REPORT_REPLY), 0);
	/* The host restarts; the answer was written before, and arrives first. */
	session_host_connect(&host, 12, 102, now);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_SUPERSEDED);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(answer_ok(101, id, MESSAGE_REPORT_REPLY), -ESTALE);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_READY);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.counters.stale_frames, 1);
}

static void test_replayed_request_is_dropped(void)
{
	uint8_t copy[1024];
	const uint8_t *data;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	ask_report(1000);
	size_t length = session_host_output(&host, &data);

	memcpy(copy, data, length);
	to_guest();
	guest_receives(copy, length);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(guest.counters.replayed, 1);
}

static void test_silence_is_busy(void)
{
	struct session_host_event he;

	start();
	session_host_connect(&host, 11, 101, now);
	for (int i = 0; i < 40 && host.state == SESSION_HOST_HELLO_SENT; i++) {
		session_host_sent(&host, session_host_output(&host, &(const uint8_t *){NULL}));
		now = session_host_deadline(&host);
		session_host_tick(&host, now);
	}
	CHECK_INT(host.state, SESSION_HOST_BUSY);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_BUSY);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(now, 1000 + LIMIT_HELLO_TRIES * LIMIT_HELLO_MS);
	/* The guest boots at last and reads every HELLO that piled up. */
	to_guest();
	struct session_guest_event ge;

	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_READY);
	CHECK_INT(host.state, SESSION_HOST_READY);
}

static void test_silence_in_a_session(void)
{
	struct session_host_event he;
	struct session_guest_event ge;
	struct message_heartbeat beat = {.instance = 1};

	start();
	open_session(11, 101);
	now += LIMIT_SILENCE_MS;
	session_host_tick(&host, now);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_BUSY);
	CHECK_INT(session_host_request(&host, &message, 1, now, &(uint32_t){0}), -ENOTCONN);
	/* The guest was only slow. */
	CHECK_INT(session_guest_heartbeat(&guest, &beat), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_READY);
	CHECK_TRUE(!he.restarted);
	/* It answers the HELLO that silence caused, which changes nothing. */
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.state, SESSION_HOST_READY);
	CHECK_INT(guest.state, SESSION_GUEST_OPEN);
}

static void test_agent_restarts(void)
{
	struct session_host_event he;
	struct session_guest_event ge;
	struct message_heartbeat beat = {.instance = 2};

	start();
	open_session(11, 101);
	uint32_t id = ask_report(100000);

	to_guest();
	new_guest(2);
	now += 3000;
	CHECK_INT(session_guest_heartbeat(&guest, &beat), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_LOST);
	CHECK_INT(he.request_id, id);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.state, SESSION_HOST_HELLO_SENT);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_READY);
	CHECK_TRUE(he.restarted);
	CHECK_INT(he.message->hello_reply.instance, 2);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_OPENED);
	ask_report(100);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
}

static void test_time_out_and_late_reply(void)
{
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	uint32_t id = ask_report(500);

	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	now = session_host_deadline(&host);
	CHECK_INT(now, 1500);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_TIMED_OUT);
	CHECK_INT(he.request_id, id);
	answer_ok(101, id, MESSAGE_REPORT_REPLY);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.counters.late_replies, 1);
	CHECK_INT(host.state, SESSION_HOST_READY);
}

/* Of a guest that did not run meanwhile: all stands in its port. */
static void test_request_of_a_host_before(void)
{
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	ask_report(1000);
	to_guest();
	session_host_connect(&host, 12, 102, now);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_SUPERSEDED);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(guest.counters.requests, 0);
	CHECK_INT(guest.counters.stale_frames, 1);
	CHECK_INT(guest.epoch, 102);
}

static void test_request_that_timed_out(void)
{
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	uint32_t late = ask_report(500), wanted = ask_report(100000);

	to_guest();
	now += 500;
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_TIMED_OUT);
	CHECK_INT(he.request_id, late);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_TRUE(to_guest() > 0);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(ge.request_id, wanted);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(ge.message->type, MESSAGE_CANCEL);
	CHECK_INT(ge.message->cancel.request_id, late);
	CHECK_INT(answer_ok(101, ge.request_id, MESSAGE_RESULT), 0);
	CHECK_INT(guest.counters.cancelled, 1);
	/* Both answers come when nobody waits for them, and are no reason for suspicion. */
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.counters.late_replies, 2);
	CHECK_INT(host.state, SESSION_HOST_READY);
	CHECK_TRUE(ask_report(500) > ge.request_id);
}

/* The host cancels before the guest has read what is to be cancelled: who asked hears of it. */
static void test_cancelled_before_it_is_read(void)
{
	struct session_host_event he;
	struct session_guest_event ge;
	uint32_t cancel_id;

	start();
	open_session(11, 101);
	uint32_t id = ask_report(1000);

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_CANCEL;
	message.cancel.request_id = id;
	CHECK_INT(session_host_request(&host, &message, 1000, now, &cancel_id), 0);
	to_guest();
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(ge.request_id, cancel_id);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	CHECK_INT(he.request_id, id);
	CHECK_INT(he.message->result.code, MESSAGE_RESULT_CANCELLED);
}

/* What puts things back is not too late. */
static void test_release_that_timed_out(void)
{
	struct session_host_event he;
	struct session_guest_event ge;
	uint32_t id;

	start();
	open_session(11, 101);
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_RELEASE_LEASE;
	CHECK_INT(session_host_request(&host, &message, 500, now, &id), 0);
	to_guest();
	now += 500;
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_TIMED_OUT);
	CHECK_INT(to_guest(), 0);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_REQUEST);
	CHECK_INT(ge.message->type, MESSAGE_RELEASE_LEASE);
}

static void test_too_many_requests(void)
{
	start();
	open_session(11, 101);
	for (int i = 0; i < LIMIT_OUTSTANDING; i++)
		ask_report(500);
	CHECK_INT(session_host_request(&host, &message, 500, now, &(uint32_t){0}), -EBUSY);
	message.type = MESSAGE_HEARTBEAT;
	CHECK_INT(session_host_request(&host, &message, 500, now, &(uint32_t){0}), -EINVAL);
}

/* Feeds a forged frame in a session with one request (id 2) under way; expects the suspicion. */
static void expect_suspect(enum session_host_suspicion suspicion, uint64_t epoch, uint32_t id,
			   uint16_t type, const void *payload, size_t length)
{
	uint8_t bytes[1024];
	struct session_host_event he;

	start();
	open_session(11, 101);
	CHECK_INT(ask_report(500), 2);
	host_receives(bytes, forge(bytes, epoch, id, type, payload, length));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_SUSPECT);
	CHECK_INT(he.suspicion, suspicion);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_LOST);
	CHECK_INT(he.request_id, 2);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.state, SESSION_HOST_SUSPECT);
	/* Nothing is heard any more, whatever comes; a new connection begins afresh. */
	host_receives(bytes, forge(bytes, 101, 2, MESSAGE_UNSUPPORTED, "\x10\0", 2));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(session_host_deadline(&host) == UINT64_MAX, 1);
	open_session(12, 102);
	CHECK_INT(host.suspicion, SESSION_HOST_SUSPICION_NONE);
}

static void test_suspects(void)
{
	static const char zeros[600];

	expect_suspect(SESSION_HOST_SUSPICION_REQUEST_ID, 101, 3, MESSAGE_REPORT_REPLY, zeros, 600);
	expect_suspect(SESSION_HOST_SUSPICION_REQUEST_ID, 101, 0, MESSAGE_RESULT, zeros, 600);
	expect_suspect(SESSION_HOST_SUSPICION_REPLY_TYPE, 101, 2, MESSAGE_BLOCKS_REPLY, zeros, 600);
	expect_suspect(SESSION_HOST_SUSPICION_MALFORMED, 101, 2, MESSAGE_REPORT_REPLY, zeros, 20);
	expect_suspect(SESSION_HOST_SUSPICION_MALFORMED, 101, 0, MESSAGE_HEARTBEAT, zeros, 3);
	expect_suspect(SESSION_HOST_SUSPICION_MALFORMED, 101, 1, MESSAGE_HELLO_REPLY, zeros, 3);
	expect_suspect(SESSION_HOST_SUSPICION_DIRECTION, 101, 2, MESSAGE_GUEST_REQUEST, zeros, 3);
	expect_suspect(SESSION_HOST_SUSPICION_DIRECTION, 101, 2, MESSAGE_EVACUATE, zeros, 100);
}

static void test_flood(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;
	char beat[128] = {0};

	start();
	open_session(11, 101);
	for (int i = 0; i < LIMIT_EVENTS_PER_SECOND; i++) {
		host_receives(bytes, forge(bytes, 101, 0, MESSAGE_HEARTBEAT, beat, sizeof(beat)));
		CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
	}
	host_receives(bytes, forge(bytes, 101, 0, MESSAGE_HEARTBEAT, beat, sizeof(beat)));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_SUSPECT);
	CHECK_INT(he.suspicion, SESSION_HOST_SUSPICION_FLOOD);
}

static size_t forge_heartbeat(uint8_t *to, uint64_t epoch)
{
	char beat[128] = {0};

	return forge(to, epoch, 0, MESSAGE_HEARTBEAT, beat, sizeof(beat));
}

/* A request's time passes. */
static void let_one_time_out(void)
{
	struct session_host_event he;
	uint32_t id = ask_report(1000);

	now += 1000;
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_TIMED_OUT);
	CHECK_INT(he.request_id, id);
}

static void test_answers_nothing(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;

	start();
	open_session(11, 101);
	for (int i = 0; i < LIMIT_UNANSWERED; i++) {
		host_receives(bytes, forge_heartbeat(bytes, 101));
		CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
		let_one_time_out();
	}
	/* It may be down by now: only its next word shows that it is not. */
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.state, SESSION_HOST_READY);
	host_receives(bytes, forge_heartbeat(bytes, 101));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_SUSPECT);
	CHECK_INT(he.suspicion, SESSION_HOST_SUSPICION_UNANSWERED);
	CHECK_STR(session_host_suspicion_name(he.suspicion), "answers_nothing");
}

/* One that answers HELLO and nothing else, not even with a heartbeat. */
static void test_half_mute(void)
{
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	for (int i = 0; i < LIMIT_UNANSWERED; i++) {
		uint32_t id = ask_report(1000);

		/* Its owner has it, and says nothing. */
		to_guest();
		while (guest_event(&ge) == SESSION_GUEST_EVENT_REQUEST && ge.request_id != id)
			CHECK_INT(ge.message->type, MESSAGE_CANCEL);
		CHECK_INT(ge.request_id, id);
		now += 1000;
		CHECK_INT(host_event(&he), SESSION_HOST_EVENT_TIMED_OUT);
	}
	to_guest();
	now += LIMIT_SILENCE_MS;
	session_host_tick(&host, now);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_BUSY);
	to_guest();
	while (session_guest_next(&guest, now, &ge))
		;
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_SUSPECT);
	CHECK_INT(he.suspicion, SESSION_HOST_SUSPICION_UNANSWERED);
}

/* A guest that was paused answers all that it missed, and then goes on. */
static void test_late_answers_are_answers(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	for (int i = 0; i < LIMIT_UNANSWERED; i++)
		let_one_time_out();
	to_guest();
	while (guest_event(&ge) == SESSION_GUEST_EVENT_REQUEST)
		CHECK_INT(answer_ok(101, ge.request_id, MESSAGE_REPORT_REPLY), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	host_receives(bytes, forge_heartbeat(bytes, 101));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
	/* An answer in time, too. */
	for (int i = 0; i < LIMIT_UNANSWERED - 1; i++)
		let_one_time_out();
	uint32_t id = ask_report(1000);

	to_guest();
	while (guest_event(&ge) == SESSION_GUEST_EVENT_REQUEST)
		if (ge.request_id == id)
			CHECK_INT(answer_ok(101, id, MESSAGE_REPORT_REPLY), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	let_one_time_out();
	host_receives(bytes, forge_heartbeat(bytes, 101));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
	CHECK_INT(host.state, SESSION_HOST_READY);
}

/* Asks to be greeted, and takes the greeting. */
static void beg(void)
{
	static const struct message_heartbeat heartbeat;
	struct session_guest_event ge;

	now += 2000;
	new_guest(guest.identity.instance + 1);
	CHECK_INT(session_guest_heartbeat(&guest, &heartbeat), 0);
	to_host();
	struct session_host_event he;

	while (host_event(&he) != SESSION_HOST_EVENT_COUNT && he.kind != SESSION_HOST_EVENT_SUSPECT)
		;
	to_guest();
	while (session_guest_next(&guest, now, &ge))
		;
	to_host();
	while (host_event(&he) != SESSION_HOST_EVENT_COUNT)
		;
	to_guest();
	while (session_guest_next(&guest, now, &ge))
		;
}

static void test_greetings_without_end(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;

	start();
	open_session(11, 101);
	for (int i = 0; i < LIMIT_GREETINGS; i++)
		beg();
	CHECK_INT(host.state, SESSION_HOST_READY);
	/* A word in the session: it is of some use after all. */
	host_receives(bytes, forge_heartbeat(bytes, 101));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
	for (int i = 0; i < LIMIT_GREETINGS; i++)
		beg();
	CHECK_INT(host.state, SESSION_HOST_READY);
	beg();
	CHECK_INT(host.state, SESSION_HOST_SUSPECT);
	CHECK_INT(host.suspicion, SESSION_HOST_SUSPICION_GREETINGS);
}

static void test_garbage(void)
{
	static uint8_t junk[16384];
	struct session_host_event he;
	size_t fed = 0;

	start();
	open_session(11, 101);
	memset(junk, 'j', sizeof(junk));
	while (host.state == SESSION_HOST_READY && fed <= 2 * LIMIT_GARBAGE_BYTES) {
		host_receives(junk, sizeof(junk));
		fed += sizeof(junk);
		host_event(&he);
	}
	CHECK_INT(host.state, SESSION_HOST_SUSPECT);
	CHECK_INT(host.suspicion, SESSION_HOST_SUSPICION_GARBAGE);
	CHECK_TRUE(fed > LIMIT_GARBAGE_BYTES && fed <= LIMIT_GARBAGE_BYTES + 2 * sizeof(junk));
}

static void test_damaged_frames(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;
	int sent = 0;

	start();
	open_session(11, 101);
	while (host.state == SESSION_HOST_READY && sent < 100) {
		size_t length = forge(bytes, 101, 0, MESSAGE_HEARTBEAT, "1234", 4);

		bytes[length - 1] ^= 1;
		host_receives(bytes, length);
		host_event(&he);
		sent++;
	}
	CHECK_INT(host.suspicion, SESSION_HOST_SUSPICION_BAD_FRAMES);
	CHECK_INT(sent, LIMIT_BAD_FRAMES + 1);
}

static void test_lied(void)
{
	struct session_host_event he;

	start();
	open_session(11, 101);
	session_host_suspect(&host, SESSION_HOST_SUSPICION_LIED);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_SUSPECT);
	CHECK_STR(session_host_suspicion_name(he.suspicion), "lied");
}

static void test_unknown_verb(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;
	struct session_guest_event ge;

	start();
	open_session(11, 101);
	uint32_t id = ask_report(500);

	/* As a newer host would: the guest has no word for it. */
	session_host_sent(&host, session_host_output(&host, &(const uint8_t *){NULL}));
	guest_receives(bytes, forge(bytes, 101, id, 0x3333, "what", 4));
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	CHECK_INT(he.message->type, MESSAGE_UNSUPPORTED);
	CHECK_INT(he.message->unsupported.type, 0x3333);
	/* Unknown events of a newer guest are skipped. */
	host_receives(bytes, forge(bytes, 101, 0, 0x4444, "", 0));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(host.counters.unknown_types, 1);
	/* A malformed request is answered too. */
	id = ask_report(500);
	session_host_sent(&host, session_host_output(&host, &(const uint8_t *){NULL}));
	guest_receives(bytes, forge(bytes, 101, id, MESSAGE_EVACUATE, "x", 1));
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	CHECK_INT(he.message->result.code, MESSAGE_RESULT_INVALID);
}

static void test_versions(void)
{
	uint8_t bytes[1024];
	struct session_host_event he;
	struct session_guest_event ge;

	CHECK_INT(session_version_choose(0x100, 0x103, 0x101, 0x200), 0x103);
	CHECK_INT(session_version_choose(0x101, 0x200, 0x100, 0x103), 0x103);
	CHECK_INT(session_version_choose(0x100, 0x101, 0x200, 0x201), 0);
	/* A host of the future. */
	start();
	static const char hello[] = "\0\2\7\2"
				    "NNNNNNNN"
				    "\0\0\0\0\0\0\0\0"
				    "\0\0\0\0"
				    "\1\0v";

	guest_receives(bytes, forge(bytes, 55, 1, MESSAGE_HELLO, hello, sizeof(hello) - 1));
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(guest.state, SESSION_GUEST_INCOMPATIBLE);
	/* A guest that finds nothing in common. */
	session_host_connect(&host, 11, 101, now);
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_HELLO_REPLY;
	message.hello_reply.version_min = message.hello_reply.version_max = 0x0200;
	message.hello_reply.nonce = 11;
	size_t length;

	CHECK_INT(message_encode(&message, bytes + 512, 512, &length), 0);
	uint8_t framed[1024];

	host_receives(framed, forge(framed, 101, 1, MESSAGE_HELLO_REPLY, bytes + 512, length));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_INCOMPATIBLE);
	CHECK_INT(he.message->hello_reply.version_min, 0x0200);
	CHECK_INT(host.state, SESSION_HOST_INCOMPATIBLE);
}

/* An agent of 1.0: it is spoken to as before, and its shorter messages are taken. */
static void test_guest_of_1_0(void)
{
	uint8_t bytes[2048], payload[1024];
	struct session_host_event he;
	size_t length;

	start();
	session_host_connect(&host, 11, 101, now);
	session_host_sent(&host, session_host_output(&host, &(const uint8_t *){NULL}));
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_HELLO_REPLY;
	message.hello_reply.version_min = message.hello_reply.version_max = 0x0100;
	message.hello_reply.version = 0x0100;
	message.hello_reply.nonce = 11;
	message.hello_reply.guest_nonce = 7;
	message.hello_reply.features = MESSAGE_FEATURE_OFFLINE;
	CHECK_INT(message_encode(&message, payload, sizeof(payload), &length), 0);
	host_receives(bytes, forge(bytes, 101, 1, MESSAGE_HELLO_REPLY, payload, length));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_READY);
	CHECK_INT(host.version, 0x0100);
	uint32_t id = ask_report(500);

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_REPORT_REPLY;
	message.report_reply.total_bytes = 1 << 30;
	message.report_reply.word_flags = MESSAGE_WORD_VETO;
	CHECK_INT(message_encode(&message, payload, sizeof(payload), &length), 0);
	/* Without the guest's word, an empty name and what is kept. */
	host_receives(bytes, forge(bytes, 101, id, MESSAGE_REPORT_REPLY, payload, length - 20 - 2 - 8));
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_REPLY);
	CHECK_INT(he.message->report_reply.total_bytes, 1 << 30);
	CHECK_INT(he.message->report_reply.word_flags, 0);
	CHECK_INT(host.state, SESSION_HOST_READY);
}

static void test_host_of_1_0(void)
{
	uint8_t bytes[512];
	struct session_guest_event ge;
	static const char hello[] = "\0\1\0\1"
				    "NNNNNNNN"
				    "\0\0\0\0\0\0\0\0"
				    "\0\0\0\0"
				    "\5\0"
				    "0.1.0";

	start();
	guest_receives(bytes, forge(bytes, 55, 1, MESSAGE_HELLO, hello, sizeof(hello) - 1));
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(guest.state, SESSION_GUEST_GREETED);
	CHECK_INT(guest.version, 0x0100);
}

static void test_host_reads_slowly(void)
{
	struct session_guest_event ge;
	int answered = 0;

	/* The guest must not lose a request because its output is full. */
	start();
	open_session(11, 101);
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_BLOCKS_REPLY;
	message.blocks_reply.block_count = LIMIT_BLOCKS;
	while (session_guest_reply(&guest, 101, 99, &message) == 0)
		answered++;
	CHECK_TRUE(answered >= 1);
	CHECK_INT(session_guest_reply(&guest, 101, 99, &message), -EAGAIN);
	CHECK_INT(session_guest_heartbeat(&guest, &(struct message_heartbeat){0}), -EAGAIN);
	session_guest_reset(&guest);
	CHECK_INT(session_guest_output(&guest, &(const uint8_t *){NULL}), 0);
	CHECK_INT(guest_event(&ge), SESSION_GUEST_EVENT_COUNT);
	CHECK_INT(guest.state, SESSION_GUEST_CLOSED);
}

static void test_unfinished_frame_is_given_up(void)
{
	static const uint8_t body[3000];
	uint8_t bytes[4096];
	struct session_host_event he;
	struct message_heartbeat beat = {.instance = 1};

	start();
	open_session(11, 101);
	forge(bytes, 101, 0, MESSAGE_HEARTBEAT, body, sizeof(body));
	host_receives(bytes, 100);
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	CHECK_INT(session_host_deadline(&host), now + LIMIT_FRAME_MS);
	CHECK_INT(session_guest_heartbeat(&guest, &beat), 0);
	to_host();
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_COUNT);
	now += LIMIT_FRAME_MS;
	CHECK_INT(host_event(&he), SESSION_HOST_EVENT_HEARTBEAT);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"open, ask, answer", test_open_ask_answer},
		{"stalls", test_stalls},
		{"old bytes before the HELLO", test_stale_bytes_before_hello},
		{"old replies are dropped", test_stale_replies_are_dropped},
		{"a replayed request is dropped", test_replayed_request_is_dropped},
		{"silence after connect is channel_busy", test_silence_is_busy},
		{"silence in a session", test_silence_in_a_session},
		{"the agent restarts", test_agent_restarts},
		{"time out and late reply", test_time_out_and_late_reply},
		{"a request of a host before", test_request_of_a_host_before},
		{"a request that timed out", test_request_that_timed_out},
		{"cancelled before it is read", test_cancelled_before_it_is_read},
		{"a release that timed out", test_release_that_timed_out},
		{"too many requests", test_too_many_requests},
		{"wrong frames make suspect", test_suspects},
		{"a flood makes suspect", test_flood},
		{"an agent that answers nothing", test_answers_nothing},
		{"an agent that only greets", test_half_mute},
		{"late answers are answers", test_late_answers_are_answers},
		{"greetings without end", test_greetings_without_end},
		{"garbage makes suspect", test_garbage},
		{"damaged frames make suspect", test_damaged_frames},
		{"a lie makes suspect", test_lied},
		{"unknown verbs", test_unknown_verb},
		{"versions", test_versions},
		{"an agent of 1.0", test_guest_of_1_0},
		{"a host of 1.0", test_host_of_1_0},
		{"a host that reads slowly", test_host_reads_slowly},
		{"an unfinished frame is given up", test_unfinished_frame_is_given_up},
	};

	return unit_main("session", cases, sizeof(cases) / sizeof(cases[0]));
}
