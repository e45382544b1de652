/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs commands for whoever holds the other end of a virtio-serial port: many at a time, each by
 * its number.
 *
 * It is the first process of the virtual host and of every guest in it, so it also reaps orphans.
 *
 * A frame is 16 bytes, little-endian: magic, id, type, length; then `length` bytes. The port keeps
 * bytes across a restart of either side, so both look for the magic, the peer begins with RESET and
 * a number of its own, and throws away everything up to the HELLO that carries that number. Before
 * the first RESET nothing is run.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_MAGIC  0x31435442u /* "BTC1" */
#define FRAME_HEADER 16u
/* A frame larger than this is garbage: the peer cuts its input into smaller pieces. */
#define FRAME_MAX (256u * 1024u)
/* Above this much unsent output the jobs' pipes are left alone, so that a slow reader slows the job
 * and not us. */
#define OUTPUT_HIGH (256u * 1024u)
#define JOBS_MAX    128u
/* A port whose far side is not connected reports POLLHUP at once, for ever: look again at this
 * pace. */
#define HANGUP_WAIT_MS 50

enum frame_type {
	FRAME_RESET = 1,
	FRAME_RUN = 2,
	FRAME_INPUT = 3,
	FRAME_INPUT_END = 4,
	FRAME_SIGNAL = 5,
	FRAME_CONNECT = 6,
	FRAME_HELLO = 101,
	FRAME_STDOUT = 102,
	FRAME_STDERR = 103,
	FRAME_EXIT = 104,
	FRAME_CONNECTED = 105,
	FRAME_CLOSED = 106,
};

struct buffer {
	unsigned char *data;
	size_t size, room;
};

struct job {
	bool used, exited, input_end;
	uint32_t id;
	pid_t pid; /* 0: a stream to a unix socket */
	int status;
	int in_fd, out_fd, err_fd;
	struct buffer input;
};

struct server {
	int port_fd, signal_fd;
	bool ready;
	struct buffer in, out;
	struct job jobs[JOBS_MAX];
};

static void die(const char *what)
{
	fprintf(stderr, "command_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void buffer_add(struct buffer *b, const void *data, size_t size)
{
	if (b->size + size > b->room) {
		size_t room = (b->size + size) * 2 + 4096;
		unsigned char *grown = realloc(b->data, room);

		if (!grown)
			die("memory");
		b->data = grown;
		b->room = room;
	}
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
}

static void buffer_drop(struct buffer *b, size_t size)
{
	b->size -= size;
	if (b->size)
		memmove(b->data, b->data + size, b->size);
}

static void send_frame(struct server *s, uint32_t id, enum frame_type type, const void *data,
		       size_t size)
{
	uint32_t header[4] = {htole32(FRAME_MAGIC), htole32(id), htole32((uint32_t)type),
			      htole32((uint32_t)size)};

	buffer_add(&s->out, header, sizeof(header));
	buffer_add(&s->out, data, size);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void job_free(struct job *job)
{
	close_fd(&job->in_fd);
	close_fd(&job->out_fd);
	close_fd(&job->err_fd);
	free(job->input.data);
	*job = (struct job){.in_fd = -1, .out_fd = -1, .err_fd = -1};
}

static struct job *job_find(struct server *s, uint32_t id)
{
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (s->jobs[i].used && s->jobs[i].id == id)
			return &s->jobs[i];
	return NULL;
}

static struct job *job_new(struct server *s, uint32_t id)
{
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (!s->jobs[i].used) {
			s->jobs[i] = (struct job){
				.used = true, .id = id, .in_fd = -1, .out_fd = -1, .err_fd = -1};
			return &s->jobs[i];
		}
	return NULL;
}

static void send_refusal(struct server *s, uint32_t id, const char *why)
{
	int32_t status = (int32_t)htole32(255);

	send_frame(s, id, FRAME_STDERR, why, strlen(why));
	send_frame(s, id, FRAME_EXIT, &status, sizeof(status));
}

static void run_child(const char *command, int in_fd, int out_fd, int err_fd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	if (dup2(in_fd, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(err_fd, 2) < 0)
		_exit(126);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* The payload is a byte (1: the job gets an input pipe, 0: /dev/null) and the command. */
static void job_run(struct server *s, uint32_t id, const unsigned char *data, size_t size)
{
	struct job *job = job_new(s, id);
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
	char *command = NULL;

	if (!job || size < 1) {
		send_refusal(s, id, "too many jobs at a time\n");
		return;
	}
	command = strndup((const char *)data + 1, size - 1);
	if (!command || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 ||
	    (data[0] ? pipe2(in, O_CLOEXEC) : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC))) <
		    0)
		die("pipe");
	pid_t pid = fork();

	if (pid == 0)
		run_child(command, in[0], out[1], err[1]);
	free(command);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	job->pid = pid;
	job->in_fd = in[1];
	job->out_fd = out[0];
	job->err_fd = err[0];
	if (pid < 0) {
		send_refusal(s, id, "fork failed\n");
		job_free(job);
		return;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	if (in[1] >= 0)
		fcntl(in[1], F_SETFL, O_NONBLOCK);
}

static void job_connect(struct server *s, uint32_t id, const unsigned char *data, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct job *job = job_new(s, id);
	int fd = -1;

	if (job && size < sizeof(address.sun_path)) {
		memcpy(address.sun_path, data, size);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
			fcntl(fd, F_SETFL, O_NONBLOCK);
			job->out_fd = fd;
			job->in_fd = dup(fd);
			send_frame(s, id, FRAME_CONNECTED, NULL, 0);
			return;
		}
	}
	const char *why = job ? strerror(errno) : "too many jobs at a time";

	send_frame(s, id, FRAME_CLOSED, why, strlen(why));
	close_fd(&fd);
	if (job)
		job_free(job);
}

static void reset(struct server *s, const unsigned char *data, size_t size)
{
	for (size_t i = 0; i < JOBS_MAX; i++) {
		struct job *job = &s->jobs[i];

		if (job->used && job->pid > 0 && !job->exited)
			kill(-job->pid, SIGKILL);
		if (job->used)
			job_free(job);
	}
	s->ready = true;
	s->out.size = 0;
	send_frame(s, 0, FRAME_HELLO, data, size);
}

static void on_frame(struct server *s, uint32_t id, uint32_t type, const unsigned char *data,
		     size_t size)
{
	struct job *job = job_find(s, id);
	uint32_t number = 0;

	if (type == FRAME_RESET) {
		reset(s, data, size);
		return;
	}
	if (!s->ready)
		return;
	switch (type) {
	case FRAME_RUN:
		job_run(s, id, data, size);
		break;
	case FRAME_CONNECT:
		job_connect(s, id, data, size);
		break;
	case FRAME_INPUT:
		if (job && job->in_fd >= 0)
			buffer_add(&job->input, data, size);
		break;
	case FRAME_INPUT_END:
		if (job)
			job->input_end = true;
		break;
	case FRAME_SIGNAL:
		if (size == sizeof(number))
			memcpy(&number, data, sizeof(number));
		if (job && job->pid > 0 && !job->exited)
			kill(-job->pid, (int)le32toh(number));
		break;
	default:
		break;
	}
}

static void parse(struct server *s)
{
	size_t at = 0;

	while (s->in.size - at >= FRAME_HEADER) {
		uint32_t header[4];

		memcpy(header, s->in.data + at, sizeof(header));
		uint32_t size = le32toh(header[3]);

		if (le32toh(header[0]) != FRAME_MAGIC || size > FRAME_MAX) {
			at++;
			continue;
		}
		if (s->in.size - at - FRAME_HEADER < size)
			break;
		on_frame(s, le32toh(header[1]), le32toh(header[2]), s->in.data + at + FRAME_HEADER,
			 size);
		at += FRAME_HEADER + size;
	}
	buffer_drop(&s->in, at);
}

/* Returns false at the end of the stream. */
static bool forward(struct server *s, struct job *job, int *fd, enum frame_type type)
{
	unsigned char chunk[32768];

	while (*fd >= 0 && s->out.size < OUTPUT_HIGH) {
		ssize_t n = read(*fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0) {
			close_fd(fd);
			return false;
		}
		send_frame(s, job->id, type, chunk, (size_t)n);
	}
	return *fd >= 0;
}

static void feed(struct job *job)
{
	while (job->in_fd >= 0 && job->input.size) {
		ssize_t n =
			job->pid ? write(job->in_fd, job->input.data, job->input.size)
				 : send(job->in_fd, job->input.data, job->input.size, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			close_fd(&job->in_fd);
			return;
		}
		buffer_drop(&job->input, (size_t)n);
	}
	if (job->input_end && job->in_fd >= 0) {
		if (!job->pid)
			shutdown(job->in_fd, SHUT_WR);
		close_fd(&job->in_fd);
	}
}

/*
 * The job's own process is what counts: a daemon that it left behind may keep its pipes for ever.
 * What is in the pipes at its end is still handed over.
 */
static void settle(struct server *s, struct job *job)
{
	bool more_out = forward(s, job, &job->out_fd, FRAME_STDOUT);
	bool more_err = forward(s, job, &job->err_fd, FRAME_STDERR);

	if (!job->pid) {
		if (!more_out) {
			send_frame(s, job->id, FRAME_CLOSED, NULL, 0);
			job_free(job);
		}
		return;
	}
	if (!job->exited || s->out.size >= OUTPUT_HIGH)
		return;
	(void)more_err;
	int32_t status =
		WIFEXITED(job->status) ? WEXITSTATUS(job->status) : 128 + WTERMSIG(job->status);

	status = (int32_t)htole32((uint32_t)status);
	send_frame(s, job->id, FRAME_EXIT, &status, sizeof(status));
	job_free(job);
}

static void reap(struct server *s)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(s->signal_fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < JOBS_MAX; i++)
			if (s->jobs[i].used && s->jobs[i].pid == pid) {
				s->jobs[i].exited = true;
				s->jobs[i].status = status;
			}
}

static void port_io(struct server *s)
{
	unsigned char chunk[65536];
	ssize_t n = read(s->port_fd, chunk, sizeof(chunk));

	if (n > 0) {
		buffer_add(&s->in, chunk, (size_t)n);
		parse(s);
	} else if (n == 0) {
		/* The far side is not connected. */
		poll(NULL, 0, HANGUP_WAIT_MS);
	}
	while (s->out.size) {
		n = write(s->port_fd, s->out.data, s->out.size < 32768 ? s->out.size : 32768);
		if (n <= 0)
			break;
		buffer_drop(&s->out, (size_t)n);
	}
}

static void serve(struct server *s)
{
	struct pollfd fds[2 + JOBS_MAX * 3];

	for (;;) {
		nfds_t count = 2;
		bool room = s->out.size < OUTPUT_HIGH;
		bool unsettled = false;

		fds[0] = (struct pollfd){.fd = s->port_fd,
					 .events = (short)(POLLIN | (s->out.size ? POLLOUT : 0))};
		fds[1] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
		for (size_t i = 0; i < JOBS_MAX; i++) {
			struct job *job = &s->jobs[i];

			if (!job->used)
				continue;
			unsettled |= job->exited && room;
			if (room && job->out_fd >= 0)
				fds[count++] = (struct pollfd){.fd = job->out_fd, .events = POLLIN};
			if (room && job->err_fd >= 0)
				fds[count++] = (struct pollfd){.fd = job->err_fd, .events = POLLIN};
			if (job->in_fd >= 0 && job->input.size)
				fds[count++] = (struct pollfd){.fd = job->in_fd, .events = POLLOUT};
		}
		if (poll(fds, count, unsettled ? 0 : -1) < 0 && errno != EINTR)
			die("poll");
		reap(s);
		port_io(s);
		for (size_t i = 0; i < JOBS_MAX; i++)
			if (s->jobs[i].used) {
				feed(&s->jobs[i]);
				settle(s, &s->jobs[i]);
			}
	}
}

int main(int argc, char **argv)
{
	static struct server s;
	sigset_t set;

	if (argc != 2) {
		fprintf(stderr, "usage: command_server PORT\n");
		return 2;
	}
	for (size_t i = 0; i < JOBS_MAX; i++)
		s.jobs[i].in_fd = s.jobs[i].out_fd = s.jobs[i].err_fd = -1;
	s.port_fd = open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (s.port_fd < 0)
		die(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s.signal_fd < 0)
		die("signalfd");
	serve(&s);
}
