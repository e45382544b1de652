/* SPDX-License-Identifier: Apache-2.0 */
#include "api_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "cleanup.h"

/* Larger than any list that a host of a thousand guests gives. */
#define REPLY_MAX (64u << 20)

struct api_client {
	CURL *curl;		/* owned */
	char *socket, *url;	/* owned; url without a slash at its end */
};

struct buffer {
	char *text;		/* owned */
	size_t size;
	char location[256];
	const volatile int *interrupted;
	/* events */
	void (*line)(void *user, const char *event, const char *data);
	void *user;
	char event[32];
};

int api_client_new(const char *socket, const char *url, struct api_client **ret_client)
{
	struct api_client *client = calloc(1, sizeof(*client));

	if (!client)
		return -ENOMEM;
	client->curl = curl_easy_init();
	client->socket = socket ? strdup(socket) : NULL;
	client->url = strdup(url ? url : "http://localhost");
	if (!client->curl || !client->url || (socket && !client->socket)) {
		api_client_free(client);
		return -ENOMEM;
	}
	size_t length = strlen(client->url);

	if (length && client->url[length - 1] == '/')
		client->url[length - 1] = '\0';
	*ret_client = client;
	return 0;
}

struct api_client *api_client_free(struct api_client *client)
{
	if (!client)
		return NULL;
	if (client->curl)
		curl_easy_cleanup(client->curl);
	free(client->socket);
	free(client->url);
	free(client);
	return NULL;
}

void api_reply_done(struct api_reply *reply)
{
	json_decref(reply->body);
	reply->body = NULL;
}

static size_t take_body(char *data, size_t size, size_t count, void *user)
{
	struct buffer *buffer = user;
	size_t bytes = size * count;
	char *grown;

	if (buffer->size + bytes > REPLY_MAX)
		return 0;
	grown = realloc(buffer->text, buffer->size + bytes + 1);
	if (!grown)
		return 0;
	memcpy(grown + buffer->size, data, bytes);
	buffer->text = grown;
	buffer->size += bytes;
	buffer->text[buffer->size] = '\0';
	return bytes;
}

static size_t take_header(char *data, size_t size, size_t count, void *user)
{
	static const char name[] = "location:";
	struct buffer *buffer = user;
	size_t bytes = size * count;

	if (bytes > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
		const char *value = data + sizeof(name) - 1, *end = data + bytes;

		while (value < end && *value == ' ')
			value++;
		while (end > value && (end[-1] == '\r' || end[-1] == '\n'))
			end--;
		snprintf(buffer->location, sizeof(buffer->location), "%.*s", (int)(end - value), value);
	}
	return bytes;
}

static int check_interrupt(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct buffer *buffer = user;

	return buffer->interrupted && *buffer->interrupted;
}

static void set_target(struct api_client *client, const char *path, struct buffer *buffer, char **ret_url)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	if (asprintf(ret_url, "%s%s", client->url, path) < 0)
		*ret_url = NULL;
	if (client->socket)
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	curl_easy_setopt(curl, CURLOPT_URL, *ret_url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	/* A guest may be named "..": the path means what it says. */
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, check_interrupt);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, buffer);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
}

static int explain(const struct api_client *client, CURLcode code, const struct buffer *buffer,
		   struct failure *failure)
{
	if (code == CURLE_ABORTED_BY_CALLBACK && buffer->interrupted && *buffer->interrupted)
		return -ECANCELED;
	failure_set(failure, ENOTCONN, client->socket ? client->socket : client->url, "cannot reach ballastd");
	failure_set_cause(failure, "%s", curl_easy_strerror(code));
	failure_set_way_out(failure, "is it running? systemctl status ballastd; --socket and --url say where it listens");
	return -ENOTCONN;
}

int api_client_request(struct api_client *client, const char *method, const char *path, const json_t *body,
		       long timeout_s, const volatile int *interrupted, struct api_reply *ret_reply,
		       struct failure *failure)
{
	struct buffer buffer = {.interrupted = interrupted};
	CLEANUP_FREE char *url = NULL;
	CLEANUP_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct curl_slist *headers = NULL;
	CURL *curl = client->curl;
	int r = 0;

	memset(ret_reply, 0, sizeof(*ret_reply));
	set_target(client, path, &buffer, &url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, timeout_s ? timeout_s : 60L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &buffer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &buffer);
	headers = curl_slist_append(headers, "Accept: application/json, application/problem+json");
	headers = curl_slist_append(headers, "Expect:");
	if (text) {
		headers = curl_slist_append(headers, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
	} else if (strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0) {
		headers = curl_slist_append(headers, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "{}");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 2L);
	}
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode code = curl_easy_perform(curl);

	if (code == CURLE_OK) {
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_reply->status);
		snprintf(ret_reply->location, sizeof(ret_reply->location), "%s", buffer.location);
		if (buffer.text)
			ret_reply->body = json_loadb(buffer.text, buffer.size, JSON_DECODE_ANY, NULL);
	} else {
		r = explain(client, code, &buffer, failure);
	}
	curl_slist_free_all(headers);
	free(buffer.text);
	return r;
}

/* Cuts the stream into lines as they come. */
static size_t take_events(char *data, size_t size, size_t count, void *user)
{
	struct buffer *buffer = user;
	size_t bytes = take_body(data, size, count, user);
	char *start = buffer->text, *end;

	if (bytes == 0)
		return 0;
	while ((end = strchr(start, '\n'))) {
		*end = '\0';
		if (strncmp(start, "event: ", 7) == 0)
			snprintf(buffer->event, sizeof(buffer->event), "%s", start + 7);
		else if (strncmp(start, "data: ", 6) == 0)
			buffer->line(buffer->user, buffer->event, start + 6);
		start = end + 1;
	}
	buffer->size = strlen(start);
	memmove(buffer->text, start, buffer->size + 1);
	return bytes;
}

int api_client_events(struct api_client *client, const volatile int *interrupted,
		      void (*line)(void *user, const char *event, const char *data), void *user,
		      struct failure *failure)
{
	struct buffer buffer = {.interrupted = interrupted, .line = line, .user = user};
	CLEANUP_FREE char *url = NULL;
	int r = 0;

	set_target(client, "/v1/events", &buffer, &url);
	curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_events);
	curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &buffer);
	CURLcode code = curl_easy_perform(client->curl);

	long status = 0;

	if (code != CURLE_OK) {
		r = explain(client, code, &buffer, failure);
	} else if (curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status != 200) {
		r = failure_set(failure, EPROTO, "events", "cannot follow them");
		failure_set_cause(failure, "ballastd answered %ld", status);
	}
	free(buffer.text);
	return r == -ECANCELED ? 0 : r;
}
