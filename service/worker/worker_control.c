/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include "clock.h"

#define ALARM_AGAIN_MS 100

void worker_control_init(struct worker_control *control, struct worker_channel *channel)
{
	memset(control, 0, sizeof(*control));
	control->channel = channel;
}

void worker_control_set_deadline(struct worker_control *control, uint64_t deadline_ms)
{
	control->deadline_ms = deadline_ms ? monotonic_ms() + deadline_ms : 0;
}

static void take(struct worker_control *control, const struct worker_message *message)
{
	switch (message->type) {
	case WORKER_MESSAGE_CANCEL:
		control->is_cancelled = true;
		break;
	case WORKER_MESSAGE_PAUSE:
		control->is_paused = true;
		break;
	case WORKER_MESSAGE_RESUME:
		control->is_paused = false;
		break;
	case WORKER_MESSAGE_LIMIT:
		control->has_limit = true;
		control->bytes_per_s = message->bytes_per_s;
		control->stall_us = message->stall_us;
		if (message->guest_pause_us > control->guest_pause_us)
			control->guest_pause_us = message->guest_pause_us;
		break;
	case WORKER_MESSAGE_START:
	case WORKER_MESSAGE_HELLO:
	case WORKER_MESSAGE_PROGRESS:
	case WORKER_MESSAGE_RESULT:
	case WORKER_MESSAGE_TYPE_COUNT:
		break;
	}
}

/* Whatever ends the conversation ends the work too: nobody would learn of its result. */
static void listen_once(struct worker_control *control)
{
	struct pollfd ready = {.fd = worker_channel_fd(control->channel), .events = POLLIN};
	struct worker_message *message;
	int rc;

	if (poll(&ready, 1, 0) <= 0)
		return;
	message = calloc(1, sizeof(*message));
	if (!message)
		return;
	do {
		rc = worker_channel_receive(control->channel, message, NULL);
		if (rc == 1) {
			take(control, message);
			worker_message_done(message);
			memset(message, 0, sizeof(*message));
		}
	} while (rc == 1);
	if (rc != -EAGAIN && rc != -ENOMEM)
		control->is_cancelled = true;
	free(message);
}

enum worker_control_state worker_control_poll(struct worker_control *control)
{
	return worker_control_wait(control, 0);
}

enum worker_control_state worker_control_wait(struct worker_control *control, uint64_t pause_us)
{
	uint64_t until = monotonic_us() + pause_us, deadline = control->deadline_ms * 1000;

	for (;;) {
		struct pollfd ready = {.fd = -1, .events = POLLIN};
		struct timespec delay;
		uint64_t now, stop;

		if (control->channel) {
			listen_once(control);
			ready.fd = worker_channel_fd(control->channel);
		}
		now = monotonic_us();
		if (control->is_cancelled)
			return WORKER_CONTROL_CANCELLED;
		if (deadline && now >= deadline)
			return WORKER_CONTROL_DEADLINE;
		if (!control->is_paused && now >= until)
			return WORKER_CONTROL_GO;
		stop = control->is_paused ? UINT64_MAX : until;
		if (deadline && deadline < stop)
			stop = deadline;
		delay.tv_sec = (time_t)((stop - now) / 1000000);
		delay.tv_nsec = (long)((stop - now) % 1000000) * 1000;
		ppoll(&ready, 1, stop == UINT64_MAX ? NULL : &delay, NULL);
	}
}

enum worker_control_state worker_control_listen(struct worker_control *control, int wake_fd, uint64_t wait_us)
{
	uint64_t deadline = control->deadline_ms * 1000, now = monotonic_us();
	struct pollfd ready[] = {
		{.fd = control->channel ? worker_channel_fd(control->channel) : -1, .events = POLLIN},
		{.fd = wake_fd, .events = POLLIN},
	};
	struct timespec delay;

	if (deadline && now + wait_us > deadline)
		wait_us = deadline > now ? deadline - now : 0;
	delay.tv_sec = (time_t)(wait_us / 1000000);
	delay.tv_nsec = (long)(wait_us % 1000000) * 1000;
	if (!control->is_cancelled)
		ppoll(ready, ARRAY_SIZE(ready), &delay, NULL);
	if (control->channel)
		listen_once(control);
	if (control->is_cancelled)
		return WORKER_CONTROL_CANCELLED;
	return deadline && monotonic_us() >= deadline ? WORKER_CONTROL_DEADLINE : WORKER_CONTROL_GO;
}

void worker_control_progress(struct worker_control *control, uint64_t done_bytes,
			     uint64_t total_bytes, const char *detail, ...)
{
	uint64_t now = monotonic_ms();
	struct worker_message *message;
	va_list arguments;

	if (!control->channel ||
	    (control->progress_at_ms && now - control->progress_at_ms < WORKER_CONTROL_PROGRESS_MS))
		return;
	if (worker_channel_flush(control->channel))
		return;
	message = calloc(1, sizeof(*message));
	if (!message)
		return;
	control->progress_at_ms = now;
	message->type = WORKER_MESSAGE_PROGRESS;
	message->done_bytes = done_bytes;
	message->total_bytes = total_bytes > done_bytes ? total_bytes : done_bytes;
	va_start(arguments, detail);
	vsnprintf(message->detail, sizeof(message->detail), detail, arguments);
	va_end(arguments);
	worker_channel_send(control->channel, message);
	free(message);
}

static void on_terminate(int signal_number)
{
	(void)signal_number;
	/* alarm(2) may be called in a handler, and leaves errno alone. */
	alarm(1);
}

static void on_alarm(int signal_number)
{
	(void)signal_number;
}

void worker_control_catch_signals(void)
{
	/* Without SA_RESTART: the write must end with EINTR. */
	struct sigaction terminate = {.sa_handler = on_terminate}, wake = {.sa_handler = on_alarm},
			 ignore = {.sa_handler = SIG_IGN};

	sigemptyset(&terminate.sa_mask);
	sigemptyset(&wake.sa_mask);
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGTERM, &terminate, NULL);
	sigaction(SIGALRM, &wake, NULL);
	/* Ctrl-C in the terminal of a daemon in the foreground is for the daemon alone. */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	/* SIGTERM was blocked by whoever started us. */
	sigprocmask(SIG_SETMASK, &ignore.sa_mask, NULL);
}

void worker_control_set_alarm(uint32_t timeout_ms)
{
	struct itimerval timer = {0};

	if (timeout_ms) {
		timer.it_value.tv_sec = timeout_ms / 1000;
		timer.it_value.tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000;
		timer.it_interval.tv_usec = ALARM_AGAIN_MS * 1000;
	}
	setitimer(ITIMER_REAL, &timer, NULL);
}
