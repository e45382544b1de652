/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 over a listening unix socket: connections, limits and timeouts. One request at a time on
 * a connection, one reply to each, which may come later; or a stream that stays open. Everything
 * runs on the loop's thread.
 */
#ifndef BALLAST_SERVICE_HTTP_SERVER_H
#define BALLAST_SERVICE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "failure.h"
#include "http_head.h"

struct event_base;
struct http_server;
struct http_exchange;

struct http_server_options {
	struct event_base *base; /* borrowed */
	int listen_fd;		 /* taken over, also on failure */
	unsigned connections_max;
	unsigned connections_per_uid;
	uint32_t request_timeout_ms; /* from a request's first byte to its last */
	uint32_t idle_timeout_ms;    /* without a request */
	uint32_t write_timeout_ms;   /* for a reply that is not being read */
	size_t stream_queue_max;     /* bytes that a stream's reader may be behind */
	/* Called once for each whole, well-formed request; ends it with exactly one reply or a
	 * stream. */
	void (*handle)(void *user, struct http_exchange *exchange);
	/* Told of what was refused before it was a request; may be NULL. */
	void (*refused)(void *user, enum problem_code problem);
	void *user;
};

/* The limits and timeouts that serve a management socket. */
void http_server_options_init(struct http_server_options *options);

/* Also makes the process ignore SIGPIPE, if it did not handle it: a reader that leaves must not end
 * the daemon. */
int http_server_new(const struct http_server_options *options, struct http_server **ret_server,
		    struct failure *failure);
/* Closes all connections. Exchanges still open stay valid, and their replies go nowhere. */
struct http_server *http_server_free(struct http_server *server);

/* Valid until the reply. */
const struct http_head *http_exchange_head(const struct http_exchange *exchange);
const char *http_exchange_body(const struct http_exchange *exchange,
			       size_t *ret_size); /* not terminated */
/* Who asks, as the kernel says. pid 0, uid -1 where it does not. */
void http_exchange_peer(const struct http_exchange *exchange, uid_t *ret_uid, pid_t *ret_pid);

/* gone is called at most once, when the client leaves before the reply; the exchange still has to
 * be ended. */
void http_exchange_on_gone(struct http_exchange *exchange, void (*gone)(void *user), void *user);

struct http_reply {
	int status;
	const char *content_type; /* NULL: no body */
	const void *body;
	size_t body_size;
	size_t header_count; /* further headers; values without CR and LF */
	struct http_header headers[4];
};

/* Ends the exchange: it is gone afterwards. */
void http_exchange_reply(struct http_exchange *exchange, const struct http_reply *reply);
/* application/problem+json; the same otherwise. headers may be NULL. */
void http_exchange_refuse(struct http_exchange *exchange, enum problem_code code,
			  const char *detail);

/* Begins a reply without an end, of status 200. */
void http_exchange_stream(struct http_exchange *exchange, const char *content_type);
/* 0; -ENOBUFS where the reader is too far behind (nothing is queued then); -EPIPE where it has
 * left. */
int http_exchange_send(struct http_exchange *exchange, const void *bytes, size_t size);
/* Ends the stream and the exchange. */
void http_exchange_end(struct http_exchange *exchange);

#endif
