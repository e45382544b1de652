/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of the channel: a virtio-serial port, or for tests a socket or a terminal.
 */
#ifndef BALLAST_AGENT_PORT_H
#define BALLAST_AGENT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sysroot;

#define PORT_NAME      "org.ballast.agent.0"
#define PORT_PATH_SIZE 256

/*
 * A virtio port whose host side is closed reads 0, refuses writes with EAGAIN and polls as hung up
 * for ever (drivers/char/virtio_console.c port_fops_read, wait_port_writable, port_fops_poll). That
 * is no end of file. When the host comes or goes the port's waiters are woken (handle_control_message):
 * that an edge-triggered epoll tells, and is silent in between where poll is not.
 */
#define PORT_RETRY_MS 1000
/* For what is no virtio port, and wakes nobody; and the longest time between two tries to open, which double. */
#define PORT_ABSENT_MS 60000

enum port_state {
	PORT_CLOSED, /* no descriptor: no such port yet, or its peer is gone */
	PORT_ABSENT, /* open, and no host on the other side */
	PORT_PRESENT,
};

/* In place of a path: listens for the host at SESSION_VSOCK_PORT. */
#define PORT_VSOCK "vsock"

struct port {
	const struct sysroot *sysroot; /* borrowed */
	char path[PORT_PATH_SIZE];     /* as configured; empty: look for PORT_NAME */
	enum port_state state;
	int fd;		/* owned; -1 */
	int watch;	/* owned; -1: an epoll that tells when the host comes */
	int listener;	/* owned; -1: by vsock, and there is nothing to be done by the clock */
	int uevents;	/* owned; -1: while there is no such port, the kernel's word on devices */
	bool is_stream; /* a read of 0 bytes is the end: to be opened anew */
	uint64_t retry_at_ms, pause_ms;
};

void port_init(struct port *port, const struct sysroot *sysroot, const char *path);
/* Takes over a connected descriptor, for tests. */
void port_adopt(struct port *port, int fd);
/* Takes over a listening one, for tests. */
void port_adopt_listener(struct port *port, int listener);
/* Takes over a socket that bears the kernel's word on devices, for tests. */
void port_adopt_uevents(struct port *port, int uevents);
void port_done(struct port *port);
/* Readable when the host has said something, or has come, or maybe the port; -1: the clock will tell. */
int port_poll_fd(const struct port *port);

/* Opens the port, or looks whether a host has come, if it is time. */
void port_tick(struct port *port, uint64_t now_ms);

/* Bytes; 0 for none now; -ENOTCONN when the host has just gone. */
int64_t port_read(struct port *port, void *to, size_t size, uint64_t now_ms);
/* Bytes taken, 0 for none now; -ENOTCONN as above. */
int64_t port_write(struct port *port, const void *from, size_t size, uint64_t now_ms);

#endif
