/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that does what the text of its step says, good or bad: for the tests of the pool.
 * It never unblocks SIGTERM, with which it was started.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "worker_channel.h"
#include "worker_spawn.h"

static void wait_readable(void)
{
	struct pollfd ready = {.fd = WORKER_SPAWN_CHANNEL_FD, .events = POLLIN};

	poll(&ready, 1, -1);
}

static int receive(struct worker_channel *channel, struct worker_message *message)
{
	int rc;

	while ((rc = worker_channel_receive(channel, message, NULL)) == -EAGAIN)
		wait_readable();
	return rc;
}

static void finish(struct worker_channel *channel, struct worker_message *message,
		   enum worker_outcome outcome, json_t *values)
{
	struct pollfd ready = {.fd = WORKER_SPAWN_CHANNEL_FD, .events = POLLOUT};

	memset(message, 0, sizeof(*message));
	message->type = WORKER_MESSAGE_RESULT;
	message->result.outcome = outcome;
	message->result.bytes_done = 7;
	message->result.values = values;
	worker_channel_send(channel, message);
	while (worker_channel_flush(channel) == -EAGAIN)
		poll(&ready, 1, -1);
	worker_message_done(message);
}

static json_t *long_values(size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_sprintf("\"item\" %zu", i));
	return list;
}

/* Echoes what it hears until a cancel. */
static void listen_until_cancel(struct worker_channel *channel, struct worker_message *message)
{
	while (receive(channel, message) == 1) {
		struct worker_message *answer;

		if (message->type == WORKER_MESSAGE_CANCEL) {
			finish(channel, message, WORKER_OUTCOME_CANCELLED, NULL);
			return;
		}
		answer = calloc(1, sizeof(*answer));
		answer->type = WORKER_MESSAGE_PROGRESS;
		answer->done_bytes = message->bytes_per_s;
		answer->total_bytes = 100;
		strcpy(answer->detail, worker_message_type_name(message->type));
		worker_channel_send(channel, answer);
		free(answer);
		worker_message_done(message);
	}
}

int main(void)
{
	struct worker_channel *channel;
	struct worker_message *message = calloc(1, sizeof(*message));
	char script[32];

	if (worker_channel_new(WORKER_SPAWN_CHANNEL_FD, &channel) ||
	    receive(channel, message) != 1 || message->type != WORKER_MESSAGE_START)
		return 9;
	strcpy(script, message->job.step.text);
	if (strcmp(script, "echo_before") == 0) {
		json_t *values = json_string(message->job.before);

		worker_message_done(message);
		finish(channel, message, WORKER_OUTCOME_DONE, values);
	} else if (strcmp(script, "done") == 0) {
		finish(channel, message, WORKER_OUTCOME_DONE, NULL);
	} else if (strcmp(script, "long") == 0) {
		finish(channel, message, WORKER_OUTCOME_DONE, long_values(40000));
	} else if (strcmp(script, "lock") == 0) {
		finish(channel, message, WORKER_OUTCOME_DONE,
		       json_boolean(fcntl(WORKER_SPAWN_LOCK_FD, F_GETFD) >= 0));
	} else if (strcmp(script, "die") == 0) {
		_exit(3);
	} else if (strcmp(script, "listen") == 0) {
		listen_until_cancel(channel, message);
	} else if (strcmp(script, "deaf") == 0) {
		for (;;)
			pause();
	} else if (strcmp(script, "linger") == 0) {
		finish(channel, message, WORKER_OUTCOME_DONE, NULL);
		for (;;)
			pause();
	} else if (strcmp(script, "garbage") == 0) {
		send(WORKER_SPAWN_CHANNEL_FD, "{\"v\":1,\"type\"", 13, 0);
		for (;;)
			pause();
	} else if (strcmp(script, "large") == 0) {
		static char packet[WORKER_MESSAGE_MAX + 2];

		memset(packet, ' ', sizeof(packet));
		send(WORKER_SPAWN_CHANNEL_FD, packet, sizeof(packet), 0);
		for (;;)
			pause();
	}
	worker_channel_free(channel);
	free(message);
	return 0;
}
