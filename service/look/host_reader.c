/* SPDX-License-Identifier: Apache-2.0 */
#include "host_reader.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "cgroup_memory.h"
#include "cleanup.h"
#include "host_hooks.h"
#include "process_identity.h"

struct finished {
	enum host_look_extent extent;
	struct snapshot *snapshot;	/* owned */
	struct failure failure;
	struct finished *next;
};

struct host_reader {
	const struct sysroot *sysroot;	/* borrowed: outlives the reader */
	host_reader_fn *read;
	void *user;
	struct event *ready;		/* owned */
	int eventfd;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under lock */
	const char *hook_directory;	/* borrowed; NULL: none */
	bool stop, wanted, running;
	enum host_look_extent extent;	/* of the read that is wanted */
	struct host_reader_guest *guests;	/* owned */
	size_t guest_count;
	uint64_t done;			/* reads finished */
	struct finished *first, *last;	/* owned, oldest first */
};

static struct host_reader_guest *copy_guests(const struct host_reader_guest *guests, size_t count)
{
	struct host_reader_guest *copy = calloc(count + 1, sizeof(*copy));

	if (copy && count)
		memcpy(copy, guests, count * sizeof(*copy));
	return copy;
}

/* A guest that cannot be read is none the worse for it: its last survey stands. */
static int read_guests(const struct sysroot *sysroot, struct snapshot *snapshot, const struct host_reader_guest *guests,
		       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t bytes[NODE_SET_MAX] = {0}, start_time;
		struct snapshot_guest *guest;
		bool has_hugetlb;

		if (cgroup_memory_read_guest(sysroot, guests[i].pid, bytes, &has_hugetlb) < 0)
			continue;
		/* Asked afterwards: what was read is this process' only if it is still there. */
		if (process_identity_read_start_time(sysroot, guests[i].pid, &start_time) < 0 ||
		    start_time != guests[i].start_time)
			continue;
		guest = snapshot_add_guest(snapshot);
		if (!guest)
			return -ENOMEM;
		memcpy(guest->uuid, guests[i].uuid, sizeof(guest->uuid));
		guest->pid = guests[i].pid;
		guest->start_time = guests[i].start_time;
		memcpy(guest->overview_bytes, bytes, sizeof(guest->overview_bytes));
		guest->hugetlb_counted = has_hugetlb;
		guest->overview_at_ms = 1;
	}
	return 0;
}

static void *reader_thread(void *user)
{
	struct host_reader *reader = user;

	pthread_mutex_lock(&reader->lock);
	for (;;) {
		while (!reader->stop && !reader->wanted)
			pthread_cond_wait(&reader->wake, &reader->lock);
		if (reader->stop)
			break;
		enum host_look_extent extent = reader->extent;

		reader->wanted = false;
		reader->extent = HOST_LOOK_NODES;
		reader->running = true;
		CLEANUP_FREE struct host_reader_guest *guests = copy_guests(reader->guests, reader->guest_count);
		size_t guest_count = guests ? reader->guest_count : 0;
		const char *hook_directory = reader->hook_directory;

		pthread_mutex_unlock(&reader->lock);

		struct finished *finished = calloc(1, sizeof(*finished));
		struct snapshot *snapshot = snapshot_new();

		if (finished && snapshot && host_look_read(reader->sysroot, extent, snapshot, &finished->failure) == 0 &&
		    read_guests(reader->sysroot, snapshot, guests, guest_count) == 0) {
			if (hook_directory)
				host_hooks_read(reader->sysroot, hook_directory, snapshot);
			finished->snapshot = TAKE_PTR(snapshot);
		} else if (finished && !failure_is_set(&finished->failure)) {
			failure_set(&finished->failure, ENOMEM, "host", "cannot look at the memory");
		}
		snapshot_free(snapshot);

		pthread_mutex_lock(&reader->lock);
		reader->running = false;
		reader->done++;
		if (finished) {
			finished->extent = extent;
			if (reader->last)
				reader->last->next = finished;
			else
				reader->first = finished;
			reader->last = finished;
		}
		uint64_t one = 1;

		/* Cannot fail but by a counter near 2^64. */
		(void)!write(reader->eventfd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&reader->lock);
	return NULL;
}

static void on_ready(evutil_socket_t fd, short what, void *user)
{
	struct host_reader *reader = user;
	uint64_t count;
	struct finished *finished;

	(void)!read(fd, &count, sizeof(count));
	pthread_mutex_lock(&reader->lock);
	finished = reader->first;
	reader->first = reader->last = NULL;
	pthread_mutex_unlock(&reader->lock);
	while (finished) {
		struct finished *next = finished->next;

		reader->read(reader->user, finished->extent, finished->snapshot, &finished->failure);
		free(finished);
		finished = next;
	}
}

void host_reader_set_hooks(struct host_reader *reader, const char *directory)
{
	pthread_mutex_lock(&reader->lock);
	reader->hook_directory = directory;
	pthread_mutex_unlock(&reader->lock);
}

int host_reader_new(struct event_base *base, const struct sysroot *sysroot, host_reader_fn *read_fn, void *user,
		    struct host_reader **ret_reader)
{
	struct host_reader *reader = calloc(1, sizeof(*reader));
	sigset_t all, before;

	if (!reader)
		return -ENOMEM;
	*reader = (struct host_reader){.sysroot = sysroot, .read = read_fn, .user = user, .eventfd = -1};
	pthread_mutex_init(&reader->lock, NULL);
	pthread_cond_init(&reader->wake, NULL);
	reader->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (reader->eventfd < 0) {
		int error = errno;

		host_reader_free(reader);
		return -error;
	}
	reader->ready = event_new(base, reader->eventfd, EV_READ | EV_PERSIST, on_ready, reader);
	if (!reader->ready || event_add(reader->ready, NULL) < 0) {
		host_reader_free(reader);
		return -ENOMEM;
	}
	/* Signals belong to the loop's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int r = pthread_create(&reader->thread, NULL, reader_thread, reader);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		host_reader_free(reader);
		return -r;
	}
	reader->has_thread = true;
	*ret_reader = reader;
	return 0;
}

struct host_reader *host_reader_free(struct host_reader *reader)
{
	if (!reader)
		return NULL;
	if (reader->has_thread) {
		pthread_mutex_lock(&reader->lock);
		reader->stop = true;
		pthread_cond_signal(&reader->wake);
		pthread_mutex_unlock(&reader->lock);
		pthread_join(reader->thread, NULL);
	}
	while (reader->first) {
		struct finished *next = reader->first->next;

		snapshot_free(reader->first->snapshot);
		free(reader->first);
		reader->first = next;
	}
	free(reader->guests);
	if (reader->ready)
		event_free(reader->ready);
	if (reader->eventfd >= 0)
		close(reader->eventfd);
	pthread_cond_destroy(&reader->wake);
	pthread_mutex_destroy(&reader->lock);
	free(reader);
	return NULL;
}

int host_reader_set_guests(struct host_reader *reader, const struct host_reader_guest *guests, size_t count)
{
	struct host_reader_guest *copy = copy_guests(guests, count);

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&reader->lock);
	free(reader->guests);
	reader->guests = copy;
	reader->guest_count = count;
	pthread_mutex_unlock(&reader->lock);
	return 0;
}

uint64_t host_reader_request(struct host_reader *reader, enum host_look_extent extent)
{
	uint64_t number;

	pthread_mutex_lock(&reader->lock);
	reader->wanted = true;
	if (extent > reader->extent)
		reader->extent = extent;
	number = reader->done + (reader->running ? 2 : 1);
	pthread_cond_signal(&reader->wake);
	pthread_mutex_unlock(&reader->lock);
	return number;
}
