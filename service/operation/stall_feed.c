/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch lasts a minute at most and is asked for anew when its time is over. A feed that has ended lives on until the
 * answer to its last request has come, which is the link's promise.
 */
#include "stall_feed.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "agent_link.h"
#include "clock.h"
#include "look.h"
#include "message.h"

/* Some ten calls of a mover, each of which may be followed by a smaller one. */
#define INTERVAL_MS LIMIT_STALLS_INTERVAL_MS
#define WATCH_MS    LIMIT_STALLS_WATCH_MS
/* Its end travels a guest under pressure. */
#define ANSWER_GRACE_MS 10000u
/* Looking whether there is an agent now: soon enough for a move of minutes, and seldom enough that one that ends each
 * watch at once gains nothing by it. */
#define RETRY_MS 2000
/* The probe samples once a millisecond; ten times that is no honest count. */
#define SAMPLE_LEAST_US 100

struct stall_feed {
	struct stall_feed_options options;
	char guest[SNAPSHOT_UUID_SIZE];
	struct event *retry;		/* owned; NULL when it has ended */
	uint32_t request;		/* 0: none under way */
	bool refused;			/* there is no use in asking again */
	uint64_t began_us;		/* the watch */
	uint64_t watch_longest_us, watch_p99_us;
	struct stall_feed_felt felt;	/* p99_us of the watches before this one */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void ask(struct stall_feed *feed);

static void ask_later(struct stall_feed *feed)
{
	static const struct timeval when = {.tv_sec = RETRY_MS / 1000, .tv_usec = RETRY_MS % 1000 * 1000};

	if (!feed->refused)
		event_add(feed->retry, &when);
}

static void on_stalls(void *user, const struct message *message)
{
	struct stall_feed *feed = user;
	uint64_t elapsed_us = monotonic_us() - feed->began_us;
	uint64_t longest_us = least(message->stalls.longest_us, elapsed_us);

	if (!feed->retry || message->type != MESSAGE_STALLS || message->stalls.samples == 0)
		return;
	feed->watch_longest_us = most(feed->watch_longest_us, longest_us);
	feed->watch_p99_us = least(message->stalls.p99_us, feed->watch_longest_us);
	feed->felt.longest_us = most(feed->felt.longest_us, longest_us);
	feed->felt.samples += least(message->stalls.samples, elapsed_us / SAMPLE_LEAST_US + 1);
	feed->options.felt(feed->options.user, longest_us);
}

static void end_watch(struct stall_feed *feed)
{
	feed->request = 0;
	feed->felt.p99_us = most(feed->felt.p99_us, feed->watch_p99_us);
	feed->watch_longest_us = feed->watch_p99_us = 0;
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct stall_feed *feed = user;
	bool is_result = kind == AGENT_ANSWER_REPLY && message->type == MESSAGE_RESULT;

	if (!feed->retry) {
		free(feed);
		return;
	}
	end_watch(feed);
	/* What it does not know, or may not, it will not in a moment either. */
	if (kind == AGENT_ANSWER_REPLY && (!is_result || message->result.code == MESSAGE_RESULT_VETOED ||
					   message->result.code == MESSAGE_RESULT_INVALID ||
					   message->result.code == MESSAGE_RESULT_NOT_SUPPORTED))
		feed->refused = true;
	if (is_result && message->result.code == MESSAGE_RESULT_OK &&
	    monotonic_us() - feed->began_us >= UINT64_C(1000) * WATCH_MS / 2)
		ask(feed);
	else
		ask_later(feed);
}

static void ask(struct stall_feed *feed)
{
	struct agent_link *link = look_agent(feed->options.look, feed->guest);
	struct message message = {.type = MESSAGE_WATCH_STALLS};

	message.watch_stalls = (struct message_watch_stalls){.interval_ms = INTERVAL_MS, .duration_ms = WATCH_MS};
	feed->began_us = monotonic_us();
	if (!link || !agent_link_has_feature(link, AGENT_FEATURE_STALL_PROBE) ||
	    agent_link_request(link, &message, WATCH_MS + ANSWER_GRACE_MS, on_answer, on_stalls, feed,
			       &feed->request) < 0)
		ask_later(feed);
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
	ask(user);
}

struct stall_feed *stall_feed_new(const struct stall_feed_options *options)
{
	struct stall_feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return NULL;
	feed->options = *options;
	snprintf(feed->guest, sizeof(feed->guest), "%s", options->guest);
	feed->options.guest = feed->guest;
	feed->retry = evtimer_new(options->base, on_retry, feed);
	if (!feed->retry) {
		free(feed);
		return NULL;
	}
	ask(feed);
	return feed;
}

struct stall_feed *stall_feed_end(struct stall_feed *feed, struct stall_feed_felt *ret_felt)
{
	if (ret_felt)
		*ret_felt = (struct stall_feed_felt){0};
	if (!feed)
		return NULL;
	if (ret_felt) {
		*ret_felt = feed->felt;
		ret_felt->p99_us = most(feed->felt.p99_us, feed->watch_p99_us);
	}
	event_free(feed->retry);
	feed->retry = NULL;
	if (!feed->request) {
		free(feed);
		return NULL;
	}
	struct agent_link *link = look_agent(feed->options.look, feed->guest);

	/* The link answers while it lives and when it is freed: so it is there. */
	if (link)
		agent_link_cancel(link, feed->request);
	return NULL;
}
