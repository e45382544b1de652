/* SPDX-License-Identifier: Apache-2.0 */
#include "event_stream.h"

#include <event2/event.h>
#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>
#include "cleanup.h"
#include "http_server.h"
#include "size_text.h"

/* Proxies and clients give a silent connection up after half a minute and more. */
#define KEEP_ALIVE_S 15

struct kept_event {
	STAILQ_ENTRY(kept_event) link;
	uint64_t sequence;
	size_t size;
	char frame[];
};

struct reader {
	LIST_ENTRY(reader) link;
	struct event_stream *stream;	/* borrowed: outlives its readers */
	struct http_exchange *exchange; /* ended with the reader */
};

struct event_stream {
	uint64_t epoch, sequence; /* of the last event */
	size_t kept_count, kept_bytes;
	STAILQ_HEAD(kept_list, kept_event) kept;
	LIST_HEAD(reader_list, reader) readers;
	unsigned reader_count;
	struct event *keep_alive; /* owned; runs while there are readers */
};

static void reader_end(struct reader *reader)
{
	struct event_stream *stream = reader->stream;

	LIST_REMOVE(reader, link);
	if (--stream->reader_count == 0)
		event_del(stream->keep_alive);
	http_exchange_end(reader->exchange);
	free(reader);
}

static void on_reader_gone(void *user)
{
	reader_end(user);
}

static void send_gap(struct event_stream *stream, struct reader *reader, bool with_id)
{
	char frame[192], id[64] = "";

	if (with_id)
		snprintf(id, sizeof(id), "id: %" PRIu64 "-%" PRIu64 "\n", stream->epoch,
			 stream->sequence);
	snprintf(frame, sizeof(frame),
		 "%sevent: gap\ndata: {\"detail\":\"events were missed: read again what you "
		 "follow\"}\n\n",
		 id);
	http_exchange_send(reader->exchange, frame, strlen(frame));
}

/* A reader that does not keep up is told so and let go; it comes back with the last id it saw. */
static bool send_frame(struct reader *reader, const char *frame, size_t size)
{
	if (http_exchange_send(reader->exchange, frame, size) == 0)
		return true;
	send_gap(reader->stream, reader, false);
	reader_end(reader);
	return false;
}

static void on_keep_alive(evutil_socket_t fd, short events, void *user)
{
	struct event_stream *stream = user;
	struct reader *reader = LIST_FIRST(&stream->readers);

	while (reader) {
		struct reader *next = LIST_NEXT(reader, link);

		send_frame(reader, ":\n\n", 3);
		reader = next;
	}
}

struct event_stream *event_stream_new(struct event_base *base, uint64_t epoch)
{
	struct event_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->epoch = epoch;
	STAILQ_INIT(&stream->kept);
	LIST_INIT(&stream->readers);
	stream->keep_alive = event_new(base, -1, EV_PERSIST, on_keep_alive, stream);
	return stream->keep_alive ? stream : event_stream_free(stream);
}

static void forget_oldest(struct event_stream *stream)
{
	struct kept_event *event = STAILQ_FIRST(&stream->kept);

	STAILQ_REMOVE_HEAD(&stream->kept, link);
	stream->kept_count--;
	stream->kept_bytes -= event->size;
	free(event);
}

struct event_stream *event_stream_free(struct event_stream *stream)
{
	struct reader *reader;

	if (!stream)
		return NULL;
	while ((reader = LIST_FIRST(&stream->readers)))
		reader_end(reader);
	while (!STAILQ_EMPTY(&stream->kept))
		forget_oldest(stream);
	if (stream->keep_alive)
		event_free(stream->keep_alive);
	free(stream);
	return NULL;
}

static struct kept_event *make_event(struct event_stream *stream, const char *kind,
				     const json_t *object)
{
	CLEANUP_FREE char *data = json_dumps(object, JSON_COMPACT);
	size_t room = data ? strlen(data) + strlen(kind) + 96 : 0;
	struct kept_event *event = data ? malloc(sizeof(*event) + room) : NULL;

	/* The number is used up in any case: the hole shows that an event was lost. */
	stream->sequence++;
	if (!event)
		return NULL;
	event->sequence = stream->sequence;
	event->size = (size_t)snprintf(event->frame, room,
				       "id: %" PRIu64 "-%" PRIu64 "\nevent: %s\ndata: %s\n\n",
				       stream->epoch, stream->sequence, kind, data);
	return event;
}

void event_stream_publish(struct event_stream *stream, const char *kind, const json_t *object)
{
	struct kept_event *event = make_event(stream, kind, object);
	struct reader *reader = LIST_FIRST(&stream->readers);

	while (reader) {
		struct reader *next = LIST_NEXT(reader, link);

		if (event)
			send_frame(reader, event->frame, event->size);
		else
			send_gap(stream, reader, true);
		reader = next;
	}
	if (!event)
		return;
	STAILQ_INSERT_TAIL(&stream->kept, event, link);
	stream->kept_count++;
	stream->kept_bytes += event->size;
	while (stream->kept_count > EVENT_STREAM_KEPT_MAX ||
	       stream->kept_bytes > EVENT_STREAM_KEPT_BYTES_MAX)
		forget_oldest(stream);
}

bool event_stream_is_full(const struct event_stream *stream)
{
	return stream->reader_count >= EVENT_STREAM_READERS_MAX;
}

unsigned event_stream_reader_count(const struct event_stream *stream)
{
	return stream->reader_count;
}

static int parse_id(const char *text, uint64_t *ret_epoch, uint64_t *ret_sequence)
{
	const char *dash = strchr(text, '-');
	char epoch[24];

	if (!dash || (size_t)(dash - text) >= sizeof(epoch))
		return -EINVAL;
	memcpy(epoch, text, (size_t)(dash - text));
	epoch[dash - text] = '\0';
	if (size_text_parse_number(epoch, 10, ret_epoch) < 0 ||
	    size_text_parse_number(dash + 1, 10, ret_sequence) < 0)
		return -EINVAL;
	return 0;
}

bool event_stream_id_is_valid(const char *text)
{
	uint64_t epoch, sequence;

	return parse_id(text, &epoch, &sequence) == 0;
}

/* What came after the event that the reader saw last; or a gap, where that is not all kept any
 * more. */
static void resume(struct event_stream *stream, struct reader *reader, const char *last)
{
	const struct kept_event *event = STAILQ_FIRST(&stream->kept);
	uint64_t epoch, sequence, oldest = event ? event->sequence : stream->sequence + 1;

	if (parse_id(last, &epoch, &sequence) < 0 || epoch != stream->epoch ||
	    sequence > stream->sequence || sequence + 1 < oldest) {
		send_gap(stream, reader, true);
		return;
	}
	STAILQ_FOREACH(event, &stream->kept, link)
	if (event->sequence > sequence && !send_frame(reader, event->frame, event->size))
		return;
}

void event_stream_attach(struct event_stream *stream, struct http_exchange *exchange)
{
	static const char hello[] = "retry: 1000\n\n";
	struct timeval interval = {.tv_sec = KEEP_ALIVE_S};
	const char *last = http_head_find(http_exchange_head(exchange), "Last-Event-ID");
	struct reader *reader = calloc(1, sizeof(*reader));

	if (!reader) {
		http_exchange_refuse(exchange, PROBLEM_OUT_OF_MEMORY, "the stream cannot begin");
		return;
	}
	reader->stream = stream;
	reader->exchange = exchange;
	LIST_INSERT_HEAD(&stream->readers, reader, link);
	if (stream->reader_count++ == 0)
		event_add(stream->keep_alive, &interval);
	http_exchange_on_gone(exchange, on_reader_gone, reader);
	http_exchange_stream(exchange, "text/event-stream");
	http_exchange_send(exchange, hello, sizeof(hello) - 1);
	if (last)
		resume(stream, reader, last);
}
