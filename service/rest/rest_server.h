/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API of ballastd: /v1, /metrics and the probes, over a unix socket (and later TCP with mutual
 * TLS).
 */
#ifndef BALLAST_SERVICE_REST_SERVER_H
#define BALLAST_SERVICE_REST_SERVER_H

#include "failure.h"
#include "operation_record.h"
#include "rest_backend.h"

struct event_base;
struct rest_server;

struct rest_server_options {
	struct event_base *base;	    /* borrowed */
	const struct rest_backend *backend; /* borrowed */
	int listen_fd; /* a listening unix socket, taken over; -1: bind socket_path */
	const char *socket_path;
	const char *socket_group; /* mode 0660 root:group; NULL or an unknown group: 0600 */
};

/*
 * Starts to listen. A stale socket file is replaced; one that a process still listens on is refused
 * (-EADDRINUSE). The process ignores SIGPIPE from here on, if it did not handle it.
 */
int rest_server_new(const struct rest_server_options *options, struct rest_server **ret_server,
		    struct failure *failure);
/*
 * Closes all connections and removes the socket file that it made. To be called while backend and
 * engine still are; answers that they give later to what was asked for a caller do no harm.
 */
struct rest_server *rest_server_free(struct rest_server *server);

/*
 * Feeds GET /v1/events. kind is one of operation drain guest node dimm agent; object is borrowed.
 * An event of kind operation is also what lets GET /v1/operations/{id}?wait= answer before its
 * time.
 */
void rest_server_event(struct rest_server *server, const char *kind, json_t *object);

#endif
