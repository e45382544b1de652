/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_lock.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/queue.h>
#include "cgroup_memory.h"
#include "cleanup.h"
#include "clock.h"
#include "process_identity.h"
#include "sysroot.h"
#include "worker_cgroup.h"

/* Between two tries for the lock of a daemon before us. */
#define LOCK_RETRY_MS 20

struct orphan {
	TAILQ_ENTRY(orphan) entry;
	struct worker_lock *lock; /* borrowed: it frees its orphans before itself */
	struct worker_stuck stuck;
	struct process_identity identity; /* owned */
	struct event *exit_event;	  /* owned */
};

TAILQ_HEAD(orphan_list, orphan);

struct worker_lock {
	struct worker_lock_options options;
	char *path; /* owned */
	int fd;
	struct orphan_list orphans;
};

void worker_stuck_fill(const struct sysroot *sysroot, const struct worker_record *record, bool is_orphan,
		       struct worker_stuck *ret_stuck)
{
	struct worker_stuck stuck = {.record = *record, .is_orphan = is_orphan};

	if (!sysroot || sysroot_read_text(sysroot, stuck.place, sizeof(stuck.place), "/proc/%d/wchan", record->pid))
		stuck.place[0] = '\0';
	*ret_stuck = stuck;
}

const char *worker_stuck_describe(const struct worker_stuck *stuck, char text[WORKER_STUCK_TEXT_SIZE])
{
	snprintf(text, WORKER_STUCK_TEXT_SIZE, "worker %d%s does not come back from the kernel%s%s%s: %s", stuck->record.pid,
		 stuck->is_orphan ? " of a ballastd before this one" : "", stuck->place[0] ? " (" : "", stuck->place,
		 stuck->place[0] ? ")" : "", stuck->record.text);
	return text;
}

static void free_orphan(struct orphan *orphan)
{
	TAILQ_REMOVE(&orphan->lock->orphans, orphan, entry);
	if (orphan->exit_event)
		event_free(orphan->exit_event);
	process_identity_done(&orphan->identity);
	free(orphan);
}

/* Its lock went before its process did (kernel/exit.c do_exit: exit_files comes before exit_notify). */
static void on_exit_event(evutil_socket_t fd, short events, void *user)
{
	struct orphan *orphan = user;
	struct worker_lock *lock = orphan->lock;
	struct worker_stuck stuck = orphan->stuck;
	char path[CGROUP_MEMORY_PATH_SIZE];

	(void)fd;
	(void)events;
	free_orphan(orphan);
	cgroup_memory_remove(lock->options.sysroot, worker_cgroup_path(stuck.record.pid, path));
	worker_record_remove(lock->path, stuck.record.pid);
	if (lock->options.gone)
		lock->options.gone(lock->options.user, &stuck);
}

/* 0 also where it has gone meanwhile. */
static int adopt_one(struct worker_lock *lock, const struct worker_record *record)
{
	struct orphan *orphan = calloc(1, sizeof(*orphan));
	int rc;

	if (!orphan)
		return -ENOMEM;
	orphan->lock = lock;
	orphan->identity = (struct process_identity)PROCESS_IDENTITY_NONE;
	TAILQ_INSERT_TAIL(&lock->orphans, orphan, entry);
	rc = process_identity_open_expected(lock->options.sysroot, record->pid, record->start_time, &orphan->identity);
	if (!rc) {
		worker_stuck_fill(lock->options.sysroot, record, true, &orphan->stuck);
		orphan->exit_event =
			event_new(lock->options.base, orphan->identity.pidfd, EV_READ, on_exit_event, orphan);
		if (!orphan->exit_event || event_add(orphan->exit_event, NULL))
			rc = -ENOMEM;
	}
	if (rc)
		free_orphan(orphan);
	return rc == -ESRCH || rc == -ESTALE ? 0 : rc;
}

/* Those that did not end in time. -EBUSY where nobody knows who has the lock. */
static int adopt(struct worker_lock *lock, struct failure *failure)
{
	CLEANUP_FREE struct worker_record *records = NULL;
	size_t count = 0;
	int rc = lock->options.sysroot ? worker_record_list(lock->path, lock->options.sysroot, &records, &count, failure)
				       : 0;

	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < count; i++)
		rc = adopt_one(lock, &records[i]);
	if (rc)
		return failure_set(failure, rc, lock->path, "cannot watch a worker that does not end");
	if (!TAILQ_EMPTY(&lock->orphans))
		return 0;
	failure_set(failure, EBUSY, lock->path, "cannot begin");
	failure_set_cause(failure, "another ballastd, or a worker of one, still runs");
	failure_set_way_out(failure, "end it (fuser %s names it) and start again", lock->path);
	return -EBUSY;
}

static int take(struct worker_lock *lock, struct failure *failure)
{
	uint64_t until = monotonic_ms() + lock->options.wait_ms;
	int rc;

	lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock->fd < 0)
		return failure_set(failure, errno, lock->path, "cannot open the workers' lock file");
	while (flock(lock->fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return failure_set(failure, errno, lock->path, "cannot lock");
		if (monotonic_ms() >= until) {
			rc = adopt(lock, failure);
			if (rc)
				return rc;
			break;
		}
		poll(NULL, 0, LOCK_RETRY_MS);
	}
	/* What a daemon that was killed has left. */
	if (TAILQ_EMPTY(&lock->orphans))
		worker_record_clear(lock->path);
	/* Shared from now on: our workers share it, as an orphan does, and a second daemon finds it taken. */
	if (flock(lock->fd, LOCK_SH | LOCK_NB))
		return failure_set(failure, errno, lock->path, "cannot keep the lock");
	return 0;
}

int worker_lock_take(const struct worker_lock_options *options, struct worker_lock **ret_lock, struct failure *failure)
{
	struct worker_lock *lock = calloc(1, sizeof(*lock));
	int rc;

	if (!lock)
		return failure_set(failure, ENOMEM, "workers", "cannot begin");
	lock->options = *options;
	lock->fd = -1;
	TAILQ_INIT(&lock->orphans);
	lock->path = strdup(options->path);
	rc = lock->path ? take(lock, failure) : failure_set(failure, ENOMEM, "workers", "cannot begin");
	if (rc) {
		worker_lock_free(lock);
		return rc;
	}
	*ret_lock = lock;
	return 0;
}

struct worker_lock *worker_lock_free(struct worker_lock *lock)
{
	struct orphan *orphan;

	if (!lock)
		return NULL;
	/* Their records stay: who comes next has to know of them. */
	while ((orphan = TAILQ_FIRST(&lock->orphans)))
		free_orphan(orphan);
	if (lock->fd >= 0)
		close(lock->fd);
	free(lock->path);
	free(lock);
	return NULL;
}

const struct worker_stuck *worker_lock_orphan(const struct worker_lock *lock, size_t index)
{
	const struct orphan *orphan;

	TAILQ_FOREACH(orphan, &lock->orphans, entry)
	if (index-- == 0)
		return &orphan->stuck;
	return NULL;
}
