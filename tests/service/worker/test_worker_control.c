/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's ear, at the other end of a socket pair.
 */
#include "worker_control.h"

#include <string.h>
#include <sys/socket.h>
#include "unit.h"

static struct worker_channel *daemon_end, *job_end;
static struct worker_control control;

static void start(void)
{
	int ends[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	CHECK_INT(worker_channel_new(ends[0], &daemon_end), 0);
	CHECK_INT(worker_channel_new(ends[1], &job_end), 0);
	worker_control_init(&control, job_end);
}

static void stop(void)
{
	worker_channel_free(daemon_end);
	worker_channel_free(job_end);
}

static void say(enum worker_message_type type)
{
	struct worker_message *message = calloc(1, sizeof(*message));

	assert(message);
	message->type = type;
	CHECK_INT(worker_channel_send(daemon_end, message), 0);
	free(message);
}

static void limit(uint64_t bytes_per_s, uint32_t stall_us, uint64_t guest_pause_us)
{
	struct worker_message *message = calloc(1, sizeof(*message));

	assert(message);
	message->type = WORKER_MESSAGE_LIMIT;
	message->bytes_per_s = bytes_per_s;
	message->stall_us = stall_us;
	message->guest_pause_us = guest_pause_us;
	CHECK_INT(worker_channel_send(daemon_end, message), 0);
	free(message);
}

static void test_limits(void)
{
	start();
	CHECK_INT(worker_control_poll(&control), WORKER_CONTROL_GO);
	CHECK_TRUE(!control.has_limit);
	limit(100, 10, 0);
	limit(200, 20, 5000);
	limit(300, 30, 7);
	CHECK_INT(worker_control_poll(&control), WORKER_CONTROL_GO);
	CHECK_TRUE(control.has_limit);
	/* The newest budgets, and the worst that the guest felt since it was last asked about. */
	CHECK_INT(control.bytes_per_s, 300);
	CHECK_INT(control.stall_us, 30);
	CHECK_INT(control.guest_pause_us, 5000);
	control.guest_pause_us = 0;
	limit(300, 30, 8);
	CHECK_INT(worker_control_poll(&control), WORKER_CONTROL_GO);
	CHECK_INT(control.guest_pause_us, 8);
	stop();
}

static void test_ends(void)
{
	start();
	say(WORKER_MESSAGE_PAUSE);
	say(WORKER_MESSAGE_RESUME);
	CHECK_INT(worker_control_poll(&control), WORKER_CONTROL_GO);
	say(WORKER_MESSAGE_CANCEL);
	CHECK_INT(worker_control_wait(&control, 1000000000), WORKER_CONTROL_CANCELLED);
	stop();
	/* Nobody is there any more to work for. */
	start();
	daemon_end = worker_channel_free(daemon_end);
	CHECK_INT(worker_control_poll(&control), WORKER_CONTROL_CANCELLED);
	stop();
	start();
	worker_control_set_deadline(&control, 1);
	CHECK_INT(worker_control_wait(&control, 1000000000), WORKER_CONTROL_DEADLINE);
	stop();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"limits", test_limits},
		{"ends", test_ends},
	};

	return unit_main("worker_control", cases, sizeof(cases) / sizeof(cases[0]));
}
