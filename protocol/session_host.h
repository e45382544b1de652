/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the guest channel: a state machine without descriptor, clock or memory of its
 * own.
 *
 * Its owner opens the channel and calls session_host_connect() with a fresh random nonce and a new
 * epoch; then, whenever there are bytes: space, received, and next() until it says false; whenever
 * time passes: tick(); and writes what session_host_output() holds. Nothing that the guest sends
 * costs more than its own session.
 */
#ifndef BALLAST_PROTOCOL_SESSION_HOST_H
#define BALLAST_PROTOCOL_SESSION_HOST_H

#include "session.h"

enum session_host_state {
	SESSION_HOST_IDLE,	 /* not connected */
	SESSION_HOST_HELLO_SENT, /* waiting for the first answer */
	SESSION_HOST_READY,
	SESSION_HOST_BUSY, /* connected, but nothing is heard: guest down, no agent, or another
			      client */
	SESSION_HOST_INCOMPATIBLE, /* no version in common */
	SESSION_HOST_SUSPECT,	   /* everything from the guest is dropped until the next connect */
	SESSION_HOST_STATE_COUNT
};

enum session_host_suspicion {
	SESSION_HOST_SUSPICION_NONE,
	SESSION_HOST_SUSPICION_GARBAGE,	   /* too many bytes that are no frame */
	SESSION_HOST_SUSPICION_BAD_FRAMES, /* too many frames damaged or too long */
	SESSION_HOST_SUSPICION_MALFORMED,  /* a whole frame whose message is wrong */
	SESSION_HOST_SUSPICION_REQUEST_ID, /* an answer to what was never asked */
	SESSION_HOST_SUSPICION_REPLY_TYPE, /* an answer of the wrong kind */
	SESSION_HOST_SUSPICION_DIRECTION,  /* a message that only a host may send, or the reserved
					      one */
	SESSION_HOST_SUSPICION_FLOOD,	   /* more events than any agent sends */
	SESSION_HOST_SUSPICION_UNANSWERED, /* it is there, and answers no request */
	SESSION_HOST_SUSPICION_GREETINGS,  /* it asks to be greeted over and over */
	SESSION_HOST_SUSPICION_LIED, /* said by the owner: the report contradicts the hypervisor */
	SESSION_HOST_SUSPICION_COUNT
};

enum session_host_event_kind {
	SESSION_HOST_EVENT_READY,     /* message: the hello_reply. Also when the agent or guest has
					 restarted */
	SESSION_HOST_EVENT_REPLY,     /* message: the answer to request_id */
	SESSION_HOST_EVENT_PROGRESS,  /* message: the PROGRESS of request_id, or its STALLS */
	SESSION_HOST_EVENT_HEARTBEAT, /* message */
	SESSION_HOST_EVENT_TIMED_OUT, /* request_id was not answered in time; a later answer is
					 dropped */
	SESSION_HOST_EVENT_LOST,      /* request_id will never be answered: restart, or suspect */
	SESSION_HOST_EVENT_BUSY,      /* nothing is heard */
	SESSION_HOST_EVENT_INCOMPATIBLE, /* message: the hello_reply with the guest's versions */
	SESSION_HOST_EVENT_SUSPECT,	 /* suspicion */
	SESSION_HOST_EVENT_COUNT
};

struct session_host_event {
	enum session_host_event_kind kind;
	uint32_t request_id;
	uint16_t request_type; /* of REPLY, PROGRESS, TIMED_OUT, LOST */
	enum session_host_suspicion suspicion;
	bool restarted; /* READY: another instance than the READY before, so its requests are lost
			 */
	const struct message *message; /* borrowed until the next call for this session; NULL where
					  there is none */
};

struct session_host_counters {
	uint64_t stale_frames; /* of another epoch, or before the HELLO was answered */
	uint64_t late_replies; /* to requests that had timed out */
	uint64_t unknown_types;
	uint64_t heartbeats, replies, hellos_sent;
};

struct session_host_request {
	uint32_t id; /* 0: free */
	uint16_t type;
	bool lost;
	uint64_t deadline_ms;
};

struct session_host {
	enum session_host_state state;
	enum session_host_suspicion suspicion;
	struct session_link link;
	struct session_host_counters counters;
	uint64_t nonce, epoch;
	uint16_t version; /* agreed; 0 before READY */
	uint32_t last_request_id;
	struct session_host_request requests[LIMIT_OUTSTANDING];
	uint64_t hello_at_ms, hello_sent_ms; /* when HELLO is sent again, and was sent last */
	unsigned hello_tries;
	unsigned unanswered; /* requests in a row that timed out, without any answer since */
	unsigned greetings;  /* sessions that it gave up at once, without a word in them */
	bool ready_due, busy_due, suspect_due, restarted; /* noticed, not yet told by next() */
	uint64_t heard_ms;
	uint64_t second_ms; /* start of the window for LIMIT_EVENTS_PER_SECOND */
	unsigned events_in_second;
	uint64_t bad_frames_before,
		floods_before; /* the reader's counters when the session began */
	bool has_peer;
	struct message_hello_reply peer; /* last accepted; valid where has_peer */
	char host_version[LIMIT_VERSION_TEXT];
	struct message message; /* the last event's */
};

/* The buffers hold SESSION_INPUT_BYTES and SESSION_OUTPUT_BYTES at least and live as long as the
 * session. */
void session_host_init(struct session_host *session, const char *host_version, uint8_t *input,
		       size_t input_size, uint8_t *output, size_t output_size);

/* The channel is open: forget everything, greet. nonce is random; epoch is not 0 and was never used
 * before with this guest. Requests of the session before are forgotten without an event. */
void session_host_connect(struct session_host *session, uint64_t nonce, uint64_t epoch,
			  uint64_t now_ms);
/* The channel is closed. Requests are forgotten without an event. */
void session_host_disconnect(struct session_host *session);
/* The owner has caught the guest in a lie. next() will say SUSPECT. */
void session_host_suspect(struct session_host *session, enum session_host_suspicion suspicion);

size_t session_host_space(struct session_host *session, uint8_t **ret_space);
void session_host_received(struct session_host *session, size_t count);
/* The next thing that happened, or false. Call after received() and after tick() until it says
 * false. */
bool session_host_next(struct session_host *session, uint64_t now_ms,
		       struct session_host_event *ret_event);
/* Sends a due HELLO, notices silence. */
void session_host_tick(struct session_host *session, uint64_t now_ms);
/* The time of the next needed tick(), or UINT64_MAX. */
uint64_t session_host_deadline(const struct session_host *session);

/*
 * Sends a request; its answer must come within timeout_ms. Returns 0 and its id; -ENOTCONN unless
 * READY; -EBUSY with LIMIT_OUTSTANDING waiting; -EAGAIN where the output is full; -EINVAL for a bad
 * message.
 */
int session_host_request(struct session_host *session, const struct message *message,
			 uint32_t timeout_ms, uint64_t now_ms, uint32_t *ret_request_id);

size_t session_host_output(const struct session_host *session, const uint8_t **ret_data);
void session_host_sent(struct session_host *session, size_t count);

const char *session_host_state_name(enum session_host_state state);
const char *session_host_suspicion_name(enum session_host_suspicion suspicion);
const char *session_host_event_kind_name(enum session_host_event_kind kind);

#endif
