/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a request: route, query, body, a fresh look where one is asked for, libvirt where it
 * is needed, handler. Nothing has been changed before all of these have passed.
 */
#include "rest_server.h"

#include <event2/event.h>
#include <grp.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "event_stream.h"
#include "http_server.h"
#include "rest_call.h"
#include "routes.h"

#define LISTEN_BACKLOG 128

struct rest_server {
	struct rest_context context;
	struct http_server *http; /* owned */
	struct route_table tables[ROUTES_TABLE_COUNT];
	char *made_path; /* owned: the socket file to be removed; NULL: not ours */
};

void routes_all(struct route_table tables[ROUTES_TABLE_COUNT])
{
	tables[0] = routes_host_table;
	tables[1] = routes_guest_table;
	tables[2] = routes_drain_table;
	tables[3] = routes_operation_table;
	tables[4] = routes_hint_table;
}

/* Everything is checked: over to the route. */
static void run(struct rest_call *call)
{
	const struct rest_backend *backend = call->context->backend;
	struct failure failure = {0};

	if (call->route->needs_libvirt && !backend->libvirt_up(backend->user, &failure)) {
		failure_set_code(&failure, problem_code_name(PROBLEM_LIBVIRT_DOWN));
		rest_call_refuse_failure(call, -ENOTCONN, &failure, NULL);
		return;
	}
	call->route->handle(call);
}

static void on_refreshed(void *user, int error, const struct failure *failure,
			 const struct remainder_list *list)
{
	struct rest_call *call = user;

	if (rest_call_goes_on(call, error, failure, list))
		run(call);
}

static bool is_json(const char *content_type)
{
	size_t length = content_type ? strcspn(content_type, "; \t") : 0;

	if (length != strlen("application/json") ||
	    strncasecmp(content_type, "application/json", length) != 0)
		return false;
	content_type += length;
	content_type += strspn(content_type, "; \t");
	return content_type[0] == '\0' || strcasecmp(content_type, "charset=utf-8") == 0;
}

/* True where the body is as the route takes it; else the call has ended. */
static bool take_body(struct rest_call *call)
{
	struct body_error error;
	size_t size;
	const char *body = http_exchange_body(call->exchange, &size);

	if (call->route->body == ROUTE_BODY_NONE && size > 0) {
		rest_call_refuse(call, PROBLEM_UNEXPECTED_BODY, "this request takes no body");
		return false;
	}
	if (size == 0 && call->route->body == ROUTE_BODY_REQUIRED) {
		rest_call_refuse(call, PROBLEM_INVALID_BODY, "this request needs a body");
		return false;
	}
	if (size == 0)
		return true;
	if (!is_json(http_head_find(http_exchange_head(call->exchange), "Content-Type"))) {
		rest_call_refuse(call, PROBLEM_NOT_JSON,
				 "send the body as Content-Type: application/json");
		return false;
	}
	if (body_schema_parse(body, size, &call->body, &error) < 0 ||
	    (call->route->body == ROUTE_BODY_EMPTY &&
	     body_schema_check(call->body, "", NULL, 0, &error) < 0)) {
		rest_call_refuse_body(call, &error);
		return false;
	}
	return true;
}

static void refuse_path(struct rest_call *call, const struct route_match *match)
{
	const struct http_head *head = http_exchange_head(call->exchange);
	struct http_exchange *exchange;
	json_t *problem;
	CLEANUP_FREE char *text = NULL;
	struct http_reply reply = {
		.status = 405,
		.content_type = "application/problem+json",
		.header_count = 1,
		.headers = {{"Allow", match->allow}},
	};
	char detail[160];

	if (match->allow[0] == '\0') {
		rest_call_refuse(call, PROBLEM_NOT_FOUND,
				 "%.200s: there is nothing at this path (GET /v1/openapi.json "
				 "tells what there is)",
				 head->path);
		return;
	}
	snprintf(detail, sizeof(detail), "this path takes %s", match->allow);
	problem = problem_json(PROBLEM_METHOD_NOT_ALLOWED, detail, NULL);
	text = problem ? json_dumps(problem, JSON_COMPACT) : NULL;
	json_decref(problem);
	reply.body = text ? text : "";
	reply.body_size = text ? strlen(text) : 0;
	call->context->replies[4]++;
	exchange = rest_call_release(call);
	http_exchange_reply(exchange, &reply);
}

static void on_request(void *user, struct http_exchange *exchange)
{
	struct rest_server *server = user;
	const struct http_head *head = http_exchange_head(exchange);
	const struct rest_backend *backend = server->context.backend;
	char detail[QUERY_DETAIL_SIZE];
	const struct snapshot_guest *guest;
	struct route_match match;
	struct rest_call *call;

	router_find(server->tables, ROUTES_TABLE_COUNT, head->method, head->path, &match);
	call = rest_call_new(&server->context, exchange, &match);
	if (!call) {
		http_exchange_refuse(exchange, PROBLEM_OUT_OF_MEMORY, "the request cannot be kept");
		return;
	}
	if (!match.route) {
		refuse_path(call, &match);
		return;
	}
	if (query_parse(head->query, match.route->queries, &call->query, detail) < 0) {
		rest_call_refuse(call, PROBLEM_INVALID_QUERY, "%s", detail);
		return;
	}
	if (!take_body(call))
		return;
	if (!call->query.fresh) {
		run(call);
		return;
	}
	/* One guest is looked at alone; one that is not known yet is found by looking at all. */
	guest = strstr(match.route->pattern, "{guest}")
			? snapshot_guest(rest_call_snapshot(call), call->id)
			: NULL;
	backend->refresh(backend->user, guest ? guest->uuid : NULL, on_refreshed, call);
}

static void on_refused(void *user, enum problem_code problem)
{
	struct rest_server *server = user;

	server->context.replies[problem_status(problem) / 100]++;
}

static void on_check_waiters(evutil_socket_t fd, short events, void *user)
{
	routes_operation_check_waiters(user);
}

/* Is anybody listening on the socket file? */
static bool is_in_use(const struct sockaddr_un *address)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			   errno == EAGAIN);
}

/* The file gets its owner and mode between bind() and listen(): before that nobody can connect. */
static int bind_socket(const struct rest_server_options *options, int *ret_fd,
		       struct failure *failure)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct group *group = options->socket_group ? getgrnam(options->socket_group) : NULL;
	const char *path = options->socket_path;
	struct stat status;

	if (fd < 0)
		return failure_set(failure, errno, path, "cannot open a socket");
	if (strlen(path) >= sizeof(address.sun_path))
		return failure_set(failure, ENAMETOOLONG, path, "cannot listen");
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (lstat(path, &status) == 0) {
		if (!S_ISSOCK(status.st_mode)) {
			failure_set(failure, EEXIST, path, "cannot listen");
			failure_set_cause(failure, "a file that is no socket stands there");
			return -EEXIST;
		}
		if (is_in_use(&address)) {
			failure_set(failure, EADDRINUSE, path, "cannot listen");
			failure_set_cause(failure, "another process listens there");
			failure_set_way_out(failure, "stop the other ballastd first");
			return -EADDRINUSE;
		}
		unlink(path);
	}
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return failure_set(failure, errno, path, "cannot listen");
	/* Without the group, or without the right to give the file away, it stays with its owner
	 * alone. */
	bool shared = group && chown(path, (uid_t)-1, group->gr_gid) == 0;

	if (chmod(path, shared ? 0660 : 0600) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		int error = failure_set(failure, errno, path, "cannot listen");

		unlink(path);
		return error;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int rest_server_new(const struct rest_server_options *options, struct rest_server **ret_server,
		    struct failure *failure)
{
	CLEANUP_CLOSE int fd = options->listen_fd;
	struct http_server_options http_options;
	struct rest_server *server = calloc(1, sizeof(*server));
	int error = 0;

	if (!server)
		return failure_set(failure, ENOMEM, "API", "cannot start");
	server->context.base = options->base;
	server->context.backend = options->backend;
	LIST_INIT(&server->context.calls);
	LIST_INIT(&server->context.waiters);
	routes_all(server->tables);
	server->context.events =
		event_stream_new(options->base, options->backend->now_ms(options->backend->user));
	server->context.check_waiters =
		evtimer_new(options->base, on_check_waiters, &server->context);
	if (!server->context.events || !server->context.check_waiters)
		error = failure_set(failure, ENOMEM, "API", "cannot start");
	if (!error && fd < 0) {
		error = bind_socket(options, &fd, failure);
		if (!error)
			server->made_path = strdup(options->socket_path);
	}
	if (!error) {
		http_server_options_init(&http_options);
		http_options.base = options->base;
		http_options.listen_fd = TAKE_FD(fd);
		http_options.handle = on_request;
		http_options.refused = on_refused;
		http_options.user = server;
		error = http_server_new(&http_options, &server->http, failure);
	}
	if (error) {
		rest_server_free(server);
		return error;
	}
	*ret_server = server;
	return 0;
}

struct rest_server *rest_server_free(struct rest_server *server)
{
	struct rest_call *call;

	if (!server)
		return NULL;
	/* Streams and waiters end when their connections do. */
	http_server_free(server->http);
	event_stream_free(server->context.events);
	if (server->context.check_waiters)
		event_free(server->context.check_waiters);
	while ((call = LIST_FIRST(&server->context.calls))) {
		LIST_REMOVE(call, link);
		call->context = NULL;
	}
	if (server->made_path)
		unlink(server->made_path);
	free(server->made_path);
	free(server);
	return NULL;
}

void rest_server_event(struct rest_server *server, const char *kind, json_t *object)
{
	static const struct timeval now;

	event_stream_publish(server->context.events, kind, object);
	/* Not from here: the engine may be in the middle of the change that it tells of. */
	if (strcmp(kind, "operation") == 0 && server->context.waiter_count > 0)
		event_add(server->context.check_waiters, &now);
}
