/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A connection goes round
 *
 *   HEAD -> BODY -> HANDLING -> WRITING -> HEAD ...	the client's bytes | the handler's reply |
 * the reply is written
 *     \______\_________\_________\--> LINGER -> closed	refusals, "Connection: close", timeouts
 *
 * One request at a time: bytes that are there before the reply is given were not asked for, are
 * never read as a request, and end the connection after the reply. So no request can be hidden
 * behind another.
 *
 * LINGER has sent everything and reads on for a moment, throwing away: closing a socket with unread
 * bytes in it resets the connection, and the client would see that in place of the reason
 * (net/unix/af_unix.c unix_release_sock).
 *
 * A connection and its exchange live apart: either may end first. A connection that has ended is
 * freed from the loop, never from inside its own callbacks.
 */
#include "http_server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define LINGER_MS     2000
#define LINGER_BYTES  (4 * (size_t)HTTP_BODY_MAX)
#define ACCEPT_REST_S 1 /* when descriptors have run out */

enum connection_state {
	CONNECTION_HEAD,
	CONNECTION_BODY,
	CONNECTION_HANDLING,
	CONNECTION_STREAMING,
	CONNECTION_WRITING,
	CONNECTION_LINGER,
	CONNECTION_CLOSED,
};

struct connection {
	TAILQ_ENTRY(connection) link;
	struct http_server *server; /* borrowed: outlives its connections */
	struct bufferevent *stream; /* owned, with its descriptor */
	struct event *timer;	    /* owned */
	enum connection_state state;
	uid_t uid;
	pid_t pid;
	bool last;	 /* close after the reply */
	bool in_request; /* the request's deadline runs */
	size_t scanned;
	size_t discarded;
	struct http_head head;		/* while state is BODY */
	struct http_exchange *exchange; /* borrowed: ended by its handler; NULL: none */
};

struct http_exchange {
	struct connection *connection; /* borrowed; NULL once the client has left */
	struct http_head head;
	char *body; /* owned */
	size_t body_size;
	uid_t uid;
	pid_t pid;
	size_t queue_max;
	void (*gone)(void *user);
	void *gone_user;
};

struct http_server {
	struct http_server_options options;
	struct evconnlistener *listener;     /* owned, with its descriptor */
	struct event *accept_again, *reaper; /* owned */
	unsigned connection_count;
	TAILQ_HEAD(connection_list, connection) connections, closed;
};

void http_server_options_init(struct http_server_options *options)
{
	*options = (struct http_server_options){
		.listen_fd = -1,
		.connections_max = 128,
		.connections_per_uid = 96,
		.request_timeout_ms = 10000,
		.idle_timeout_ms = 60000,
		.write_timeout_ms = 30000,
		.stream_queue_max = 262144,
	};
}

static void set_timer(struct connection *connection, uint32_t timeout_ms)
{
	struct timeval interval = {.tv_sec = timeout_ms / 1000,
				   .tv_usec = timeout_ms % 1000 * 1000};

	if (timeout_ms == 0)
		event_del(connection->timer);
	else
		event_add(connection->timer, &interval);
}

static void connection_close(struct connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = connection->exchange;

	if (connection->state == CONNECTION_CLOSED)
		return;
	connection->state = CONNECTION_CLOSED;
	connection->exchange = NULL;
	event_del(connection->timer);
	bufferevent_disable(connection->stream, EV_READ | EV_WRITE);
	TAILQ_REMOVE(&server->connections, connection, link);
	TAILQ_INSERT_TAIL(&server->closed, connection, link);
	server->connection_count--;
	event_active(server->reaper, 0, 0);
	if (exchange) {
		exchange->connection = NULL;
		if (exchange->gone)
			exchange->gone(exchange->gone_user);
	}
}

static void connection_free(struct connection *connection)
{
	if (connection->stream)
		bufferevent_free(connection->stream);
	if (connection->timer)
		event_free(connection->timer);
	http_head_done(&connection->head);
	free(connection);
}

static void on_reap(evutil_socket_t fd, short events, void *user)
{
	struct http_server *server = user;
	struct connection *connection;

	while ((connection = TAILQ_FIRST(&server->closed))) {
		TAILQ_REMOVE(&server->closed, connection, link);
		connection_free(connection);
	}
}

/* Everything is written: what still comes is thrown away for a moment. */
static void linger(struct connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->stream);

	connection->state = CONNECTION_LINGER;
	evbuffer_drain(input, evbuffer_get_length(input));
	shutdown(bufferevent_getfd(connection->stream), SHUT_WR);
	set_timer(connection, LINGER_MS);
	bufferevent_enable(connection->stream, EV_READ);
}

static void write_head(struct connection *connection, const struct http_reply *reply,
		       bool with_length)
{
	struct evbuffer *output = bufferevent_get_output(connection->stream);

	evbuffer_add_printf(output,
			    "HTTP/1.1 %d %s\r\nConnection: %s\r\nCache-Control: no-store\r\n"
			    "X-Content-Type-Options: nosniff\r\n",
			    reply->status, problem_status_phrase(reply->status),
			    connection->last ? "close" : "keep-alive");
	if (reply->content_type)
		evbuffer_add_printf(output, "Content-Type: %s\r\n", reply->content_type);
	if (with_length)
		evbuffer_add_printf(output, "Content-Length: %zu\r\n", reply->body_size);
	for (size_t i = 0; i < reply->header_count; i++)
		evbuffer_add_printf(output, "%s: %s\r\n", reply->headers[i].name,
				    reply->headers[i].value);
	evbuffer_add(output, "\r\n", 2);
}

static void write_reply(struct connection *connection, const struct http_reply *reply)
{
	struct evbuffer *output = bufferevent_get_output(connection->stream);

	connection->state = CONNECTION_WRITING;
	connection->in_request = false;
	set_timer(connection, connection->server->options.write_timeout_ms);
	write_head(connection, reply, true);
	evbuffer_add(output, reply->body, reply->body_size);
}

static void write_problem(struct connection *connection, enum problem_code code, const char *detail)
{
	json_t *json = problem_json(code, detail, NULL);
	CLEANUP_FREE char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	struct http_reply reply = {
		.status = problem_status(code),
		.content_type = "application/problem+json",
		.body = text ? text : "{}",
		.body_size = text ? strlen(text) : 2,
	};

	json_decref(json);
	write_reply(connection, &reply);
}

/* The request is no request: said, and nothing more is read from this client. */
static void refuse(struct connection *connection, enum problem_code code, const char *detail)
{
	const struct http_server_options *options = &connection->server->options;

	connection->last = true;
	http_head_done(&connection->head);
	write_problem(connection, code, detail);
	if (options->refused)
		options->refused(options->user, code);
}

static void begin_exchange(struct connection *connection)
{
	const struct http_server_options *options = &connection->server->options;
	struct evbuffer *input = bufferevent_get_input(connection->stream);
	size_t size = connection->head.content_length;
	struct http_exchange *exchange = calloc(1, sizeof(*exchange));
	char *body = malloc(size + 1);

	if (!exchange || !body) {
		free(exchange);
		free(body);
		refuse(connection, PROBLEM_OUT_OF_MEMORY, "the request cannot be kept");
		return;
	}
	evbuffer_remove(input, body, size);
	*exchange = (struct http_exchange){
		.connection = connection,
		.head = connection->head,
		.body = body,
		.body_size = size,
		.uid = connection->uid,
		.pid = connection->pid,
		.queue_max = options->stream_queue_max,
	};
	connection->head = (struct http_head){0};
	connection->last = !exchange->head.keep_alive || exchange->head.method == HTTP_METHOD_OTHER;
	connection->exchange = exchange;
	connection->state = CONNECTION_HANDLING;
	connection->in_request = false;
	connection->scanned = 0;
	set_timer(connection, 0);
	options->handle(options->user, exchange);
}

static void read_head(struct connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->stream);
	size_t available = evbuffer_get_length(input), head_size;
	const char *detail = "";

	if (available == 0)
		return;
	if (!connection->in_request) {
		connection->in_request = true;
		set_timer(connection, connection->server->options.request_timeout_ms);
	}
	if (available > HTTP_HEAD_MAX)
		available = HTTP_HEAD_MAX;
	const char *bytes = (const char *)evbuffer_pullup(input, (ev_ssize_t)available);

	if (!bytes) {
		refuse(connection, PROBLEM_OUT_OF_MEMORY, "the request cannot be kept");
		return;
	}
	enum problem_code problem =
		http_head_scan(bytes, available, &connection->scanned, &head_size, &detail);

	if (problem == PROBLEM_NONE && head_size == 0)
		return;
	if (problem == PROBLEM_NONE)
		problem = http_head_parse(bytes, head_size, &connection->head, &detail);
	if (problem != PROBLEM_NONE) {
		refuse(connection, problem, detail);
		return;
	}
	evbuffer_drain(input, head_size);
	connection->state = CONNECTION_BODY;
	if (connection->head.expect_continue && evbuffer_get_length(input) == 0 &&
	    connection->head.content_length > 0)
		evbuffer_add_printf(bufferevent_get_output(connection->stream),
				    "HTTP/1.1 100 Continue\r\n\r\n");
}

static void on_read(struct bufferevent *stream, void *user)
{
	struct connection *connection = user;
	struct evbuffer *input = bufferevent_get_input(stream);
	size_t length;

	if (connection->state == CONNECTION_HEAD)
		read_head(connection);
	if (connection->state == CONNECTION_BODY &&
	    evbuffer_get_length(input) >= connection->head.content_length)
		begin_exchange(connection);
	length = evbuffer_get_length(input);
	if (connection->state == CONNECTION_LINGER && length > 0) {
		connection->discarded += length;
		evbuffer_drain(input, length);
		if (connection->discarded > LINGER_BYTES)
			connection_close(connection);
	} else if (connection->state == CONNECTION_STREAMING && length > 0) {
		/* A stream's client has nothing to say: what it sends is not kept. */
		evbuffer_drain(input, length);
	}
}

static void on_written(struct bufferevent *stream, void *user)
{
	struct connection *connection = user;

	if (connection->state != CONNECTION_WRITING)
		return;
	if (connection->last) {
		linger(connection);
		return;
	}
	connection->state = CONNECTION_HEAD;
	set_timer(connection, connection->server->options.idle_timeout_ms);
	on_read(stream, connection);
}

static bool peer_has_left(struct connection *connection)
{
	struct pollfd poll_fd = {.fd = bufferevent_getfd(connection->stream), .events = POLLOUT};

	/* A half-closed peer gives no POLLHUP (net/unix/af_unix.c unix_poll): it still wants its
	 * reply. */
	return poll(&poll_fd, 1, 0) < 0 || (poll_fd.revents & (POLLHUP | POLLERR));
}

static void on_event(struct bufferevent *stream, short events, void *user)
{
	struct connection *connection = user;
	bool replying =
		connection->state == CONNECTION_HANDLING || connection->state == CONNECTION_WRITING;

	if ((events & BEV_EVENT_EOF) && replying && !peer_has_left(connection)) {
		connection->last = true;
		bufferevent_disable(stream, EV_READ);
		return;
	}
	connection_close(connection);
}

static void on_timer(evutil_socket_t fd, short events, void *user)
{
	struct connection *connection = user;

	if (connection->in_request)
		refuse(connection, PROBLEM_REQUEST_TIMEOUT,
		       "the request did not arrive within the time for it");
	else
		connection_close(connection);
}

static unsigned count_of_uid(const struct http_server *server, uid_t uid)
{
	const struct connection *connection;
	unsigned count = 0;

	TAILQ_FOREACH(connection, &server->connections, link)
	count += connection->uid == uid;
	return count;
}

static void turn_away(int fd)
{
	static const char text[] =
		"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
		"Content-Type: application/problem+json\r\nContent-Length: 101\r\n\r\n"
		"{\"type\":\"about:blank\",\"title\":\"Too many connections\",\"status\":503,"
		"\"code\":\"too_many_connections\"}    \n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
		      int length, void *user)
{
	struct http_server *server = user;
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t peer_size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0)
		peer = (struct ucred){.uid = (uid_t)-1};
	if (server->connection_count >= server->options.connections_max ||
	    count_of_uid(server, peer.uid) >= server->options.connections_per_uid) {
		if (server->options.refused)
			server->options.refused(server->options.user, PROBLEM_TOO_MANY_CONNECTIONS);
		turn_away(fd);
		return;
	}
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		close(fd);
		return;
	}
	connection->server = server;
	connection->uid = peer.uid;
	connection->pid = peer.pid;
	connection->stream =
		bufferevent_socket_new(server->options.base, fd, BEV_OPT_CLOSE_ON_FREE);
	connection->timer = evtimer_new(server->options.base, on_timer, connection);
	if (!connection->stream || !connection->timer) {
		if (!connection->stream)
			close(fd);
		connection_free(connection);
		return;
	}
	bufferevent_setcb(connection->stream, on_read, on_written, on_event, connection);
	/* What a client sends unasked waits in the kernel, not here. */
	bufferevent_setwatermark(connection->stream, EV_READ, 0, HTTP_HEAD_MAX + HTTP_BODY_MAX);
	TAILQ_INSERT_TAIL(&server->connections, connection, link);
	server->connection_count++;
	set_timer(connection, server->options.idle_timeout_ms);
	bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
}

static void on_accept_again(evutil_socket_t fd, short events, void *user)
{
	struct http_server *server = user;

	evconnlistener_enable(server->listener);
}

/* Out of descriptors, most likely: without a rest the loop would spin on the listening socket. */
static void on_accept_error(struct evconnlistener *listener, void *user)
{
	struct http_server *server = user;
	struct timeval rest = {.tv_sec = ACCEPT_REST_S};

	evconnlistener_disable(listener);
	event_add(server->accept_again, &rest);
}

int http_server_new(const struct http_server_options *options, struct http_server **ret_server,
		    struct failure *failure)
{
	CLEANUP_CLOSE int fd = options->listen_fd;
	struct http_server *server = calloc(1, sizeof(*server));
	struct sigaction action;

	if (!server)
		return failure_set(failure, ENOMEM, "API", "cannot start");
	/* A socket that was handed to us may block: a client that gives up before accept() would
	 * stop the loop. */
	evutil_make_socket_nonblocking(fd);
	evutil_make_socket_closeonexec(fd);
	TAILQ_INIT(&server->connections);
	TAILQ_INIT(&server->closed);
	server->options = *options;
	server->accept_again = evtimer_new(options->base, on_accept_again, server);
	server->reaper = event_new(options->base, -1, 0, on_reap, server);
	if (server->accept_again && server->reaper)
		server->listener =
			evconnlistener_new(options->base, on_accept, server,
					   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, fd);
	if (!server->listener) {
		http_server_free(server);
		return failure_set(failure, ENOMEM, "API", "cannot start");
	}
	(void)TAKE_FD(fd);
	evconnlistener_set_error_cb(server->listener, on_accept_error);
	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
		action.sa_handler = SIG_IGN;
		sigaction(SIGPIPE, &action, NULL);
	}
	*ret_server = server;
	return 0;
}

struct http_server *http_server_free(struct http_server *server)
{
	struct connection *connection;

	if (!server)
		return NULL;
	if (server->listener)
		evconnlistener_free(server->listener);
	while ((connection = TAILQ_FIRST(&server->connections)))
		connection_close(connection);
	on_reap(-1, 0, server);
	if (server->accept_again)
		event_free(server->accept_again);
	if (server->reaper)
		event_free(server->reaper);
	free(server);
	return NULL;
}

const struct http_head *http_exchange_head(const struct http_exchange *exchange)
{
	return &exchange->head;
}

const char *http_exchange_body(const struct http_exchange *exchange, size_t *ret_size)
{
	*ret_size = exchange->body_size;
	return exchange->body;
}

void http_exchange_peer(const struct http_exchange *exchange, uid_t *ret_uid, pid_t *ret_pid)
{
	*ret_uid = exchange->uid;
	*ret_pid = exchange->pid;
}

void http_exchange_on_gone(struct http_exchange *exchange, void (*gone)(void *user), void *user)
{
	exchange->gone = gone;
	exchange->gone_user = user;
}

static void exchange_free(struct http_exchange *exchange)
{
	if (exchange->connection)
		exchange->connection->exchange = NULL;
	http_head_done(&exchange->head);
	free(exchange->body);
	free(exchange);
}

/* Frees it and returns the connection that waits for its answer, NULL where that has gone. */
static struct connection *exchange_end(struct http_exchange *exchange)
{
	struct connection *connection = exchange->connection;

	exchange_free(exchange);
	if (connection && evbuffer_get_length(bufferevent_get_input(connection->stream)) > 0)
		connection->last = true;
	return connection;
}

void http_exchange_reply(struct http_exchange *exchange, const struct http_reply *reply)
{
	struct connection *connection = exchange_end(exchange);

	if (connection)
		write_reply(connection, reply);
}

void http_exchange_refuse(struct http_exchange *exchange, enum problem_code code,
			  const char *detail)
{
	struct connection *connection = exchange_end(exchange);

	if (connection)
		write_problem(connection, code, detail);
}

void http_exchange_stream(struct http_exchange *exchange, const char *content_type)
{
	struct connection *connection = exchange->connection;
	struct evbuffer *input;

	if (!connection)
		return;
	/* Without a length the end of the stream is the end of the body (RFC 9112, 6.3). */
	connection->last = true;
	connection->state = CONNECTION_STREAMING;
	input = bufferevent_get_input(connection->stream);
	evbuffer_drain(input, evbuffer_get_length(input));
	write_head(connection, &(struct http_reply){.status = 200, .content_type = content_type},
		   false);
}

int http_exchange_send(struct http_exchange *exchange, const void *bytes, size_t size)
{
	struct connection *connection = exchange->connection;
	struct evbuffer *output;

	if (!connection)
		return -EPIPE;
	output = bufferevent_get_output(connection->stream);
	if (evbuffer_get_length(output) + size > exchange->queue_max)
		return -ENOBUFS;
	return evbuffer_add(output, bytes, size) < 0 ? -ENOMEM : 0;
}

void http_exchange_end(struct http_exchange *exchange)
{
	struct connection *connection = exchange->connection;

	exchange_free(exchange);
	if (!connection)
		return;
	connection->state = CONNECTION_WRITING;
	set_timer(connection, connection->server->options.write_timeout_ms);
	/* With nothing left to write there would be no word of its having been written. */
	if (evbuffer_get_length(bufferevent_get_output(connection->stream)) == 0)
		linger(connection);
}
