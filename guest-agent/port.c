/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include "cleanup.h"
#include "session.h"
#include "sysroot.h"

/* The kernel's own messages: those of udev have a group of their own (lib/kobject_uevent.c uevent_net_init). */
#define UEVENT_GROUP 1
#define UEVENT_SIZE  2048

void port_init(struct port *port, const struct sysroot *sysroot, const char *path)
{
	*port = (struct port){
		.sysroot = sysroot, .fd = -1, .watch = -1, .listener = -1, .uevents = -1, .pause_ms = PORT_RETRY_MS};
	snprintf(port->path, sizeof(port->path), "%s", path);
}

void port_adopt(struct port *port, int fd)
{
	port->fd = fd;
	port->is_stream = true;
	port->state = PORT_PRESENT;
}

void port_adopt_listener(struct port *port, int listener)
{
	port->listener = listener;
	snprintf(port->path, sizeof(port->path), PORT_VSOCK);
}

void port_adopt_uevents(struct port *port, int uevents)
{
	port->uevents = uevents;
}

int port_poll_fd(const struct port *port)
{
	if (port->state == PORT_PRESENT)
		return port->fd;
	if (port->state == PORT_ABSENT)
		return port->watch;
	return port->listener >= 0 ? port->listener : port->uevents;
}

static void close_uevents(struct port *port)
{
	cleanup_close(&port->uevents);
	port->uevents = -1;
}

static void close_port(struct port *port, uint64_t now_ms)
{
	cleanup_close(&port->fd);
	cleanup_close(&port->watch);
	port->fd = port->watch = -1;
	port->state = PORT_CLOSED;
	port->pause_ms = PORT_RETRY_MS;
	port->retry_at_ms = now_ms + PORT_RETRY_MS;
}

void port_done(struct port *port)
{
	close_port(port, 0);
	cleanup_close(&port->listener);
	port->listener = -1;
	close_uevents(port);
}

/* udev makes the link; without udev the names in sysfs tell which /dev/vportNpM it is. */
static int open_by_name(const struct sysroot *sysroot)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int fd = sysroot_open(sysroot, O_RDWR | O_NONBLOCK, "/dev/virtio-ports/" PORT_NAME);

	if (fd != -ENOENT)
		return fd;
	int error = sysroot_list(sysroot, &names, "/sys/class/virtio-ports");

	if (error < 0)
		return error;
	for (size_t i = 0; i < names.count; i++) {
		char name[128];

		if (sysroot_read_text(sysroot, name, sizeof(name),
				      "/sys/class/virtio-ports/%s/name", names.names[i]) == 0 &&
		    strcmp(name, PORT_NAME) == 0)
			return sysroot_open(sysroot, O_RDWR | O_NONBLOCK, "/dev/%s",
					    names.names[i]);
	}
	return -ENOENT;
}

static int open_uevents(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = UEVENT_GROUP};
	CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return TAKE_FD(fd);
}

static int connect_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP_CLOSE int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* A terminal passes bytes as they are only in raw mode. */
static void make_raw(int fd)
{
	struct termios mode;

	if (isatty(fd) && tcgetattr(fd, &mode) == 0) {
		cfmakeraw(&mode);
		tcsetattr(fd, TCSANOW, &mode);
	}
}

static int listen_vsock(void)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = SESSION_VSOCK_PORT};
	CLEANUP_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* No process of this guest, and on the host none without rights. */
static bool is_host(const struct sockaddr_storage *peer)
{
	const struct sockaddr_vm *address = (const struct sockaddr_vm *)peer;

	return peer->ss_family != AF_VSOCK || (address->svm_cid == VMADDR_CID_HOST &&
					       address->svm_port <= SESSION_VSOCK_HOST_PORT_MAX);
}

/* The host that has come; -EAGAIN: nobody. */
static int accept_host(struct port *port)
{
	if (port->listener < 0)
		port->listener = listen_vsock();
	if (port->listener < 0)
		return port->listener;
	for (;;) {
		struct sockaddr_storage peer = {0};
		socklen_t size = sizeof(peer);
		int fd = accept4(port->listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return -errno;
		if (fd >= 0 && is_host(&peer))
			return fd;
		if (fd >= 0)
			close(fd);
	}
}

static int open_port(struct port *port)
{
	struct stat status;

	port->is_stream = strcmp(port->path, PORT_VSOCK) == 0;
	if (port->is_stream)
		return accept_host(port);
	if (!port->path[0]) {
		/* Before the look: what comes after that is told. */
		if (port->uevents < 0)
			port->uevents = open_uevents();
		return open_by_name(port->sysroot);
	}
	if (stat(port->path, &status) < 0)
		return -errno;
	if (S_ISSOCK(status.st_mode)) {
		port->is_stream = true;
		return connect_socket(port->path);
	}
	int fd = open(port->path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	make_raw(fd);
	return fd;
}

/* True: a virtio port has come or got its name since, or so much happened that this may have been lost. */
static bool has_uevent(const struct port *port)
{
	static const char folder[] = "/virtio-ports/"; /* "add@/devices/pci0000:00/.../virtio-ports/vport0p1" */
	char text[UEVENT_SIZE];
	bool any = false;
	ssize_t size;

	if (port->uevents < 0)
		return false;
	while ((size = recv(port->uevents, text, sizeof(text), 0)) > 0 || (size < 0 && errno == ENOBUFS))
		any |= size < 0 || memmem(text, (size_t)size, folder, strlen(folder));
	return any;
}

/* True: something has happened to the port since. */
static bool has_news(const struct port *port)
{
	struct epoll_event event;

	if (port->state == PORT_CLOSED)
		return has_uevent(port);
	return port->watch >= 0 && epoll_wait(port->watch, &event, 1, 0) > 0;
}

/* One that is there and does not open, in another agent's hands, tells nothing when it can be had. */
static void wait_to_open(struct port *port, uint64_t now_ms, int error)
{
	if (port->listener >= 0) {
		port->retry_at_ms = UINT64_MAX;
	} else if (port->uevents >= 0 && error == -ENOENT) {
		port->retry_at_ms = now_ms + PORT_ABSENT_MS;
	} else {
		port->retry_at_ms = now_ms + port->pause_ms;
		port->pause_ms = 2 * port->pause_ms < PORT_ABSENT_MS ? 2 * port->pause_ms : PORT_ABSENT_MS;
	}
}

/* Before the look: what comes after that is news. Without a watch the clock has to do. */
static void begin_watch(struct port *port)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	CLEANUP_CLOSE int watch = port->watch < 0 ? epoll_create1(EPOLL_CLOEXEC) : -1;

	if (watch >= 0 && epoll_ctl(watch, EPOLL_CTL_ADD, port->fd, &event) == 0)
		port->watch = TAKE_FD(watch);
	(void)has_news(port);
}

void port_tick(struct port *port, uint64_t now_ms)
{
	if (port->state == PORT_PRESENT ||
	    (now_ms < port->retry_at_ms && port->listener < 0 && !has_news(port)))
		return;
	port->retry_at_ms = now_ms + PORT_RETRY_MS;
	if (port->state == PORT_CLOSED) {
		int fd = open_port(port);

		if (fd < 0) {
			wait_to_open(port, now_ms, fd);
			return;
		}
		close_uevents(port);
		port->fd = fd;
		port->state = PORT_ABSENT;
	}
	begin_watch(port);
	struct pollfd look = {.fd = port->fd, .events = POLLIN | POLLOUT};

	if (poll(&look, 1, 0) >= 0 && !(look.revents & POLLHUP))
		port->state = PORT_PRESENT;
	else if (look.revents & POLLERR)
		close_port(port, now_ms);
	else if (port->watch >= 0)
		port->retry_at_ms = now_ms + PORT_ABSENT_MS;
}

static int64_t lose_host(struct port *port, uint64_t now_ms)
{
	if (port->is_stream)
		close_port(port, now_ms);
	port->state = port->fd < 0 ? PORT_CLOSED : PORT_ABSENT;
	port->retry_at_ms = now_ms + PORT_RETRY_MS;
	return -ENOTCONN;
}

int64_t port_read(struct port *port, void *to, size_t size, uint64_t now_ms)
{
	if (port->state != PORT_PRESENT || size == 0)
		return 0;
	ssize_t count = read(port->fd, to, size);

	if (count > 0)
		return count;
	if (count == 0)
		return lose_host(port, now_ms);
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	/* ENODEV: the port was unplugged. */
	close_port(port, now_ms);
	return -ENOTCONN;
}

int64_t port_write(struct port *port, const void *from, size_t size, uint64_t now_ms)
{
	if (port->state != PORT_PRESENT || size == 0)
		return 0;
	ssize_t count = port->is_stream ? send(port->fd, from, size, MSG_NOSIGNAL)
					: write(port->fd, from, size);

	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	close_port(port, now_ms);
	return -ENOTCONN;
}
