/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/events: server-sent events to any number of readers, each bounded, with the last ones
 * kept so that a reader that comes back with Last-Event-ID misses nothing, or is told by a gap that
 * it did.
 */
#ifndef BALLAST_SERVICE_EVENT_STREAM_H
#define BALLAST_SERVICE_EVENT_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct event_stream;
struct http_exchange;

#define EVENT_STREAM_READERS_MAX 32
/* What is kept: an operation's event is some KiB. Together below what a reader may be behind
 * (http_server.h). */
#define EVENT_STREAM_KEPT_MAX	    256
#define EVENT_STREAM_KEPT_BYTES_MAX 196608

/* epoch tells this run of the daemon from others: ids are "epoch-seq". NULL where memory is short.
 */
struct event_stream *event_stream_new(struct event_base *base, uint64_t epoch);
struct event_stream *event_stream_free(struct event_stream *stream);

void event_stream_publish(struct event_stream *stream, const char *kind, const json_t *object);

bool event_stream_is_full(const struct event_stream *stream);
unsigned event_stream_reader_count(const struct event_stream *stream);
/* Has the form of an id. */
bool event_stream_id_is_valid(const char *text);
/* Takes the exchange over; its Last-Event-ID, if there is one, must be valid. Not to be called
 * where it is full. */
void event_stream_attach(struct event_stream *stream, struct http_exchange *exchange);

#endif
