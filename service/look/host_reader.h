/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_look_read() in a thread of its own: the loop asks, and gets a fresh snapshot as an event.
 */
#ifndef BALLAST_SERVICE_HOST_READER_H
#define BALLAST_SERVICE_HOST_READER_H

#include "failure.h"
#include "host_look.h"
#include "snapshot.h"

struct event_base;
struct host_reader;
struct sysroot;

/* On the loop's thread, once for each finished read. snapshot is the callee's to free; NULL with failure. */
typedef void host_reader_fn(void *user, enum host_look_extent extent, struct snapshot *snapshot,
			    const struct failure *failure);

/* A guest whose cgroup's counters are read with the host. */
struct host_reader_guest {
	char uuid[SNAPSHOT_UUID_SIZE];
	int pid;
	uint64_t start_time;
};

int host_reader_new(struct event_base *base, const struct sysroot *sysroot, host_reader_fn *read, void *user,
		    struct host_reader **ret_reader);
/* Waits for a read under way. No callback afterwards. */
struct host_reader *host_reader_free(struct host_reader *reader);

/* Before the first request: where the host's own hooks are. Borrowed. */
void host_reader_set_hooks(struct host_reader *reader, const char *directory);

/*
 * From the next read on the snapshot has these guests too, of which it has uuid, pid, start_time and overview_bytes alone,
 * and overview_at_ms where they could be read. Those that have ended, or whose number is another's now, are left out.
 * Returns 0 or -ENOMEM, with the guests as they were.
 */
int host_reader_set_guests(struct host_reader *reader, const struct host_reader_guest *guests, size_t count);

/*
 * Wants a read that begins after this call. Wishes that come while one is under way share the next one, which reads all
 * that any of them wants.
 * Returns its number: the callback's reads are numbered from 1, and read n serves wishes up to n.
 */
uint64_t host_reader_request(struct host_reader *reader, enum host_look_extent extent);

#endif
