/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port that listens. By vsock itself only where there is a host and a guest (tests/system); what it does with whoever
 * comes is the same for every family.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cleanup.h"
#include "fake_guest.h"
#include "scratch.h"
#include "unit.h"

static char path[64];

static int listen_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(path, sizeof(path), "%s/agent", scratch_folder());
	unlink(path);
	strcpy(address.sun_path, path);
	assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	assert(listen(fd, 1) == 0);
	return fd;
}

static int come(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void test_hosts_come_and_go(void)
{
	struct port port;
	char byte;

	port_init(&port, NULL, PORT_VSOCK);
	port_adopt_listener(&port, listen_here());
	port_tick(&port, 1000);
	CHECK_INT(port.state, PORT_CLOSED);
	/* Nothing to do by the clock: the listener says when somebody comes. */
	CHECK_TRUE(port.retry_at_ms == UINT64_MAX);
	CHECK_INT(port_poll_fd(&port), port.listener);
	for (int i = 0; i < 2; i++) {
		int host = come();

		port_tick(&port, 1001);
		CHECK_INT(port.state, PORT_PRESENT);
		CHECK_INT(port_poll_fd(&port), port.fd);
		CHECK_INT(port_write(&port, "x", 1, 1001), 1);
		CHECK_INT(read(host, &byte, 1), 1);
		CHECK_INT(byte, 'x');
		CHECK_INT(port_read(&port, &byte, 1, 1001), 0);
		close(host);
		CHECK_INT(port_read(&port, &byte, 1, 1002), -ENOTCONN);
		CHECK_INT(port.state, PORT_CLOSED);
		CHECK_INT(port_poll_fd(&port), port.listener);
		port_tick(&port, 1002);
		CHECK_TRUE(port.retry_at_ms == UINT64_MAX);
	}
	port_done(&port);
	CHECK_INT(port.listener, -1);
	unlink(path);
}

/* Somebody waits while another host is served: his turn comes when that one goes. */
static void test_one_after_the_other(void)
{
	struct port port;
	char byte;

	port_init(&port, NULL, PORT_VSOCK);
	port_adopt_listener(&port, listen_here());
	int first = come(), second = come();

	port_tick(&port, 1);
	CHECK_INT(port_write(&port, "1", 1, 1), 1);
	CHECK_INT(read(first, &byte, 1), 1);
	port_tick(&port, 5000);
	CHECK_INT(port_write(&port, "2", 1, 5000), 1);
	CHECK_INT(read(first, &byte, 1), 1);
	close(first);
	CHECK_INT(port_read(&port, &byte, 1, 5001), -ENOTCONN);
	port_tick(&port, 5001);
	CHECK_INT(port_write(&port, "3", 1, 5001), 1);
	CHECK_INT(read(second, &byte, 1), 1);
	CHECK_INT(byte, '3');
	close(second);
	port_done(&port);
	unlink(path);
}

static bool has_news(const struct port *port, int wait_ms)
{
	struct pollfd look = {.fd = port_poll_fd(port), .events = POLLIN};

	return poll(&look, 1, wait_ms) == 1;
}

/* A terminal without its other end is hung up for ever, like a virtio port without a host. */
static void test_sleeps_without_a_host(void)
{
	struct port port;
	char byte;

	port_init(&port, NULL, "/dev/ptmx");
	port_tick(&port, 1000);
	CHECK_INT(port.state, PORT_PRESENT);
	CHECK_TRUE(grantpt(port.fd) == 0 && unlockpt(port.fd) == 0);
	int host = open(ptsname(port.fd), O_RDWR | O_NOCTTY | O_CLOEXEC);

	close(host);
	/* Of a virtio port a read of 0 bytes tells. */
	port.state = PORT_ABSENT;
	for (uint64_t now = 2000; now < 5000; now += 1000) {
		port_tick(&port, now);
		CHECK_INT(port.state, PORT_ABSENT);
		CHECK_TRUE(!has_news(&port, 0));
		CHECK_INT(port.retry_at_ms, 2000 + PORT_ABSENT_MS);
	}
	host = open(ptsname(port.fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_INT(write(host, "x", 1), 1);
	/* A terminal passes on what was written by a worker of the kernel's. */
	CHECK_TRUE(has_news(&port, 10000));
	port_tick(&port, 5001);
	CHECK_INT(port.state, PORT_PRESENT);
	CHECK_INT(port_poll_fd(&port), port.fd);
	CHECK_INT(port_read(&port, &byte, 1, 5001), 1);
	CHECK_INT(byte, 'x');
	/* And once more, with the same watch. */
	close(host);
	port.state = PORT_ABSENT;
	port_tick(&port, 70000);
	CHECK_INT(port.state, PORT_ABSENT);
	CHECK_TRUE(!has_news(&port, 0));
	port_done(&port);
	CHECK_INT(port.watch, -1);
}

/* A guest without the port, and one that gets it while it runs. */
static void test_sleeps_without_a_port(void)
{
	static const char other[] = "change@/devices/virtual/block/zram0\0SUBSYSTEM=block";
	static const char ours[] = "change@/devices/pci0000:00/0000:00:04.0/virtio1/virtio-ports/vport1p2";
	struct fake_guest guest;
	struct port port;
	int ends[2];

	fake_guest_start(&guest);
	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	port_init(&port, guest.sysroot, "");
	port_adopt_uevents(&port, ends[0]);
	for (uint64_t now = 1000; now < 200000; now += PORT_ABSENT_MS) {
		port_tick(&port, now);
		CHECK_INT(port.state, PORT_CLOSED);
		CHECK_INT(port.retry_at_ms, now + PORT_ABSENT_MS);
	}
	/* What the kernel says of other devices is heard, and that is all. */
	CHECK_INT(send(ends[1], other, sizeof(other), 0), (ssize_t)sizeof(other));
	CHECK_TRUE(has_news(&port, 0));
	uint64_t retry_at_ms = port.retry_at_ms;

	port_tick(&port, 200000);
	CHECK_TRUE(!has_news(&port, 0));
	CHECK_INT(port.retry_at_ms, retry_at_ms);
	fake_guest_write(&guest, "/sys/class/virtio-ports/vport1p2/name", PORT_NAME);
	fake_guest_write(&guest, "/dev/vport1p2", "");
	CHECK_INT(send(ends[1], ours, sizeof(ours), 0), (ssize_t)sizeof(ours));
	CHECK_TRUE(has_news(&port, 0));
	port_tick(&port, 200001);
	CHECK_INT(port.state, PORT_PRESENT);
	CHECK_INT(port.uevents, -1);
	port_done(&port);
	close(ends[1]);
	fake_guest_stop(&guest);
}

/* Nobody tells of a socket. */
static void test_looks_ever_more_rarely(void)
{
	struct port port;
	uint64_t now = 1000, wait_ms = PORT_RETRY_MS;

	port_init(&port, NULL, "/nonexistent/agent");
	for (int i = 0; i < 10; i++) {
		port_tick(&port, now);
		CHECK_INT(port.state, PORT_CLOSED);
		CHECK_INT(port.retry_at_ms, now + wait_ms);
		now = port.retry_at_ms;
		wait_ms = 2 * wait_ms < PORT_ABSENT_MS ? 2 * wait_ms : PORT_ABSENT_MS;
	}
	CHECK_INT(wait_ms, PORT_ABSENT_MS);
	/* One that was there and has gone is soon looked for again. */
	port_adopt_listener(&port, listen_here());
	int host = come();

	port_tick(&port, now);
	CHECK_INT(port.state, PORT_PRESENT);
	close(port.listener);
	port.listener = -1;
	snprintf(port.path, sizeof(port.path), "/nonexistent/agent");
	close(host);
	CHECK_INT(port_read(&port, &(char){0}, 1, now), -ENOTCONN);
	CHECK_INT(port.retry_at_ms, now + PORT_RETRY_MS);
	port_done(&port);
	unlink(path);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"hosts come and go", test_hosts_come_and_go},
		{"sleeps without a host", test_sleeps_without_a_host},
		{"one after the other", test_one_after_the_other},
		{"sleeps without a port", test_sleeps_without_a_port},
		{"looks ever more rarely", test_looks_ever_more_rarely},
	};

	return unit_main("port", cases, ARRAY_SIZE(cases));
}
