/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the channel: a state machine without descriptor, clock or memory of its own.
 *
 * Bytes that wait in the port may be from a host that died, from before a reset, or half a frame.
 * So everything is dropped until a HELLO, and every request until the HELLO_CONFIRM that echoes the
 * nonce made for that HELLO: a queue that holds an old HELLO together with old requests cannot hold
 * that. Nor is a request given out behind which another host's HELLO, or its own CANCEL, has been
 * received: so the owner should receive all there is before it asks for the next event.
 */
#ifndef BALLAST_PROTOCOL_SESSION_GUEST_H
#define BALLAST_PROTOCOL_SESSION_GUEST_H

#include "session.h"

enum session_guest_state {
	SESSION_GUEST_CLOSED,  /* everything but HELLO is dropped */
	SESSION_GUEST_GREETED, /* HELLO answered, HELLO_CONFIRM awaited */
	SESSION_GUEST_OPEN,
	SESSION_GUEST_INCOMPATIBLE, /* HELLO answered with version 0 */
	SESSION_GUEST_STATE_COUNT
};

enum session_guest_event_kind {
	SESSION_GUEST_EVENT_OPENED,	/* a host is there */
	SESSION_GUEST_EVENT_SUPERSEDED, /* another HELLO: answers to requests so far interest nobody
					   any more */
	SESSION_GUEST_EVENT_REQUEST,	/* message */
	SESSION_GUEST_EVENT_COUNT
};

struct session_guest_event {
	enum session_guest_event_kind kind;
	uint64_t epoch; /* to be given back with the answer */
	uint32_t request_id;
	const struct message
		*message; /* borrowed until the next call for this session; REQUEST only */
};

struct session_guest_identity {
	uint64_t features, block_bytes, instance;
	uint32_t page_bytes;
	uint8_t boot_id[MESSAGE_BOOT_ID_BYTES];
	char version[LIMIT_VERSION_TEXT];
};

struct session_guest_counters {
	uint64_t stale_frames; /* of another epoch, or without a session */
	uint64_t replayed;     /* request ids that were not new */
	uint64_t cancelled;    /* before they were read */
	uint64_t malformed, unsupported, wrong_direction;
	uint64_t hellos, requests;
};

struct session_guest {
	enum session_guest_state state;
	struct session_link link;
	struct session_guest_identity identity;
	struct session_guest_counters counters;
	uint64_t epoch, host_nonce, guest_nonce, nonce_source;
	uint32_t last_request_id, hello_request_id;
	uint16_t version;
	uint32_t heartbeat_ms; /* asked for by the host, within sane bounds */
	bool superseded_due;
	struct message message;
};

/* nonce_source is random: the nonces of this run of the agent are made from it. */
void session_guest_init(struct session_guest *session,
			const struct session_guest_identity *identity, uint64_t nonce_source,
			uint8_t *input, size_t input_size, uint8_t *output, size_t output_size);
/* The host has gone: drop all bytes both ways; the next HELLO begins anew. */
void session_guest_reset(struct session_guest *session);

size_t session_guest_space(struct session_guest *session, uint8_t **ret_space);
void session_guest_received(struct session_guest *session, size_t count);
/* The next thing for the owner, or false. Answers HELLO, unknown and malformed requests by itself;
 * stops while there is no room for such an answer. */
bool session_guest_next(struct session_guest *session, uint64_t now_ms,
			struct session_guest_event *ret_event);

/* Answers, or reports progress for, a request. -ESTALE where its epoch is over, -EAGAIN where the
 * output is full. */
int session_guest_reply(struct session_guest *session, uint64_t epoch, uint32_t request_id,
			const struct message *message);
/* A heartbeat: with the epoch of the open session, or epoch 0 while there is none. -EAGAIN where
 * output waits. */
int session_guest_heartbeat(struct session_guest *session,
			    const struct message_heartbeat *heartbeat);

size_t session_guest_output(const struct session_guest *session, const uint8_t **ret_data);
void session_guest_sent(struct session_guest *session, size_t count);

#endif
