/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Bytes of text in a part: escaping a JSON text as a JSON string at most doubles it (quotes and
 * backslashes; it has no control characters), and the rest of the packet is some 30 bytes.
 */
#define PART_BYTES (WORKER_MESSAGE_MAX / 2 - 64)

struct packet {
	struct packet *next;
	size_t length;
	char text[];
};

struct worker_channel {
	int fd;
	struct packet *first; /* owned: not sent yet */
	struct packet **last;
	char *whole; /* owned: parts received so far */
	size_t whole_length;
	char buffer[WORKER_MESSAGE_MAX + 1];
};

int worker_channel_new(int fd, struct worker_channel **ret_channel)
{
	struct worker_channel *channel = calloc(1, sizeof(*channel));
	int flags = fcntl(fd, F_GETFL);

	if (!channel || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int rc = channel ? -errno : -ENOMEM;

		free(channel);
		close(fd);
		return rc;
	}
	channel->fd = fd;
	channel->last = &channel->first;
	*ret_channel = channel;
	return 0;
}

struct worker_channel *worker_channel_free(struct worker_channel *channel)
{
	if (!channel)
		return NULL;
	while (channel->first) {
		struct packet *packet = channel->first;

		channel->first = packet->next;
		free(packet);
	}
	free(channel->whole);
	close(channel->fd);
	free(channel);
	return NULL;
}

int worker_channel_fd(const struct worker_channel *channel)
{
	return channel->fd;
}

bool worker_channel_is_pending(const struct worker_channel *channel)
{
	return channel->first != NULL;
}

static int queue_text(struct worker_channel *channel, const char *text, size_t length)
{
	struct packet *packet = malloc(sizeof(*packet) + length);

	if (!packet)
		return -ENOMEM;
	packet->next = NULL;
	packet->length = length;
	memcpy(packet->text, text, length);
	*channel->last = packet;
	channel->last = &packet->next;
	return 0;
}

static int queue_parts(struct worker_channel *channel, const char *text, size_t length)
{
	for (size_t sent = 0; sent < length; sent += PART_BYTES) {
		size_t size = length - sent < PART_BYTES ? length - sent : PART_BYTES;
		json_t *json = json_pack("{s:i, s:s%, s:b}", "v", WORKER_MESSAGE_VERSION, "part",
					 text + sent, size, "last", (int)(sent + size == length));
		char *part = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
		int rc = part ? queue_text(channel, part, strlen(part)) : -ENOMEM;

		free(part);
		json_decref(json);
		if (rc)
			return rc;
	}
	return 0;
}

int worker_channel_send(struct worker_channel *channel, const struct worker_message *message)
{
	CLEANUP_FREE char *text = worker_message_to_text(message);
	size_t length;
	int rc;

	if (!text)
		return -ENOMEM;
	length = strlen(text);
	if (length > WORKER_MESSAGE_WHOLE_MAX)
		return -EMSGSIZE;
	rc = length <= WORKER_MESSAGE_MAX ? queue_text(channel, text, length)
					  : queue_parts(channel, text, length);
	if (rc)
		return rc;
	rc = worker_channel_flush(channel);
	return rc == -EAGAIN ? 0 : rc;
}

int worker_channel_flush(struct worker_channel *channel)
{
	while (channel->first) {
		struct packet *packet = channel->first;

		if (send(channel->fd, packet->text, packet->length, MSG_NOSIGNAL) < 0) {
			if (errno == EINTR)
				continue;
			/* The kernel says ENOBUFS where the queue of the peer's socket is what is
			 * full. */
			return errno == ENOBUFS ? -EAGAIN : -errno;
		}
		channel->first = packet->next;
		if (!channel->first)
			channel->last = &channel->first;
		free(packet);
	}
	return 0;
}

/* 1 where the packet was a part (and *ret_last says whether the whole is there), 0 where it is a
 * message, -errno. */
static int take_part(struct worker_channel *channel, size_t length, bool *ret_last,
		     struct failure *failure)
{
	json_t *json, *part_json;
	int version, last, rc = 1;
	size_t size;
	char *grown;

	json = json_loadb(channel->buffer, length, JSON_REJECT_DUPLICATES, NULL);
	part_json = json_object_get(json, "part");
	if (!part_json) {
		json_decref(json);
		return 0;
	}
	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:i, s:o, s:b}", "v", &version, "part",
			   &part_json, "last", &last) ||
	    version != WORKER_MESSAGE_VERSION || !json_is_string(part_json)) {
		failure_set(failure, EINVAL, "worker message", "cannot read a part of it");
		rc = -EINVAL;
		goto out;
	}
	size = json_string_length(part_json);
	if (channel->whole_length + size > WORKER_MESSAGE_WHOLE_MAX) {
		failure_set(failure, EMSGSIZE, "worker message", "cannot put its parts together");
		rc = -EMSGSIZE;
		goto out;
	}
	grown = realloc(channel->whole, channel->whole_length + size + 1);
	if (!grown) {
		rc = -ENOMEM;
		goto out;
	}
	memcpy(grown + channel->whole_length, json_string_value(part_json), size);
	channel->whole = grown;
	channel->whole_length += size;
	*ret_last = last;
out:
	json_decref(json);
	return rc;
}

int worker_channel_receive(struct worker_channel *channel, struct worker_message *ret_message,
			   struct failure *failure)
{
	for (;;) {
		ssize_t length =
			recv(channel->fd, channel->buffer, sizeof(channel->buffer), MSG_TRUNC);
		bool last = false;
		int rc;

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == ECONNRESET ? 0 : -errno;
		if (length == 0)
			return 0;
		if (length > WORKER_MESSAGE_MAX)
			return failure_set(failure, EMSGSIZE, "worker message",
					   "cannot take a packet of %zd bytes", length);
		rc = take_part(channel, (size_t)length, &last, failure);
		if (rc < 0)
			return rc;
		if (rc == 1 && !last)
			continue;
		if (rc == 1) {
			rc = worker_message_parse(channel->whole, channel->whole_length,
						  ret_message, failure);
			free(channel->whole);
			channel->whole = NULL;
			channel->whole_length = 0;
			return rc ? rc : 1;
		}
		if (channel->whole)
			return failure_set(failure, EINVAL, "worker message",
					   "a message came between the parts of another");
		rc = worker_message_parse(channel->buffer, (size_t)length, ret_message, failure);
		return rc ? rc : 1;
	}
}
