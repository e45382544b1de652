/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a GET takes over a unix socket.
 *
 *   http_get SOCKET PATH COUNT each    a connection for each request, connecting is part of the
 * time http_get SOCKET PATH COUNT keep    one connection for all of them
 *
 * Prints a line of JSON: requests, bytes (of a reply), median_us, least_us, most_us.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fprintf(stderr, "http_get: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

/* One request and all of its reply; returns the reply's size. */
static size_t exchange(int fd, const char *request)
{
	static char reply[1 << 20];
	size_t used = 0, whole = 0;

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request)) {
		fprintf(stderr, "http_get: cannot send: %s\n", strerror(errno));
		exit(1);
	}
	while (whole == 0 || used < whole) {
		ssize_t got = recv(fd, reply + used, sizeof(reply) - 1 - used, 0);

		if (got <= 0) {
			fprintf(stderr, "http_get: the reply ends early\n");
			exit(1);
		}
		used += (size_t)got;
		reply[used] = '\0';
		const char *end = strstr(reply, "\r\n\r\n"),
			   *length = strcasestr(reply, "\r\nContent-Length: ");

		if (end && length && length < end)
			whole = (size_t)(end + 4 - reply) + strtoul(length + 18, NULL, 10);
	}
	if (strncmp(reply, "HTTP/1.1 200", 12) != 0) {
		fprintf(stderr, "http_get: %.60s\n", reply);
		exit(1);
	}
	return used;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	size_t count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0, bytes = 0;
	uint64_t *took = calloc(count + 1, sizeof(*took));
	bool keep = count && strcmp(argv[4], "keep") == 0;
	char request[1024];
	int fd = -1;

	if (!count || !took) {
		fprintf(stderr, "usage: http_get SOCKET PATH COUNT each|keep\n");
		return 2;
	}
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", argv[2],
		 keep ? "" : "Connection: close\r\n");
	for (size_t i = 0; i < count; i++) {
		uint64_t began = now_ns();

		if (fd < 0)
			fd = connect_to(argv[1]);
		bytes = exchange(fd, request);
		took[i] = now_ns() - began;
		if (!keep) {
			close(fd);
			fd = -1;
		}
	}
	qsort(took, count, sizeof(*took), compare);
	printf("{\"requests\":%zu,\"bytes\":%zu,\"median_us\":%.1f,\"least_us\":%.1f,\"most_us\":%."
	       "1f}\n",
	       count, bytes, (double)took[count / 2] / 1000, (double)took[0] / 1000,
	       (double)took[count - 1] / 1000);
	return 0;
}
