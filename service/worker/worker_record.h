/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each worker that runs is at, in a small file beside the workers' lock: so a daemon that starts while one of those
 * before it does not end (a kernel call that no signal reaches) knows what that one still has in its hands.
 *
 * Written before the worker is told what to do, and removed when it has ended. A record that outlived its process is told
 * from one whose number was given to another process by the start time.
 */
#ifndef BALLAST_SERVICE_WORKER_RECORD_H
#define BALLAST_SERVICE_WORKER_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include "failure.h"
#include "worker_message.h"

struct sysroot;

struct worker_record {
	int pid;
	uint64_t start_time; /* clock ticks after boot, field 22 of /proc/PID/stat */
	enum worker_job_kind job;
	/* STEP, UNDO and BEFORE: of what kind, and what of it is locked (operation_lock.h); else STEP_KIND_COUNT */
	enum step_kind step;
	char guest[SNAPSHOT_UUID_SIZE]; /* empty: no guest's */
	int node;
	uint64_t page_bytes;
	char text[96]; /* for people: "offline blocks 64-71" */
};

/* Of a process of ours that lives, with this job. 0 or -errno. */
int worker_record_of(const struct sysroot *sysroot, int pid, const struct worker_job *job, struct worker_record *ret_record);
/* May it change anything? One that only looks leaves nothing behind and is in nobody's way. */
bool worker_record_changes(const struct worker_record *record);

/* The file is lock_path with ".PID" at its end; what another process of that number had left is replaced. 0 or -errno. */
int worker_record_write(const char *lock_path, const struct worker_record *record);
void worker_record_remove(const char *lock_path, int pid);
/* All of them: for who has the workers' lock alone, so that none of them lives. */
void worker_record_clear(const char *lock_path);
/*
 * Those of processes that still live; all others, and what cannot be read of a process that has ended, are removed.
 * The caller frees *ret_records. 0; -EBADMSG where one of a living process cannot be read; another -errno.
 */
int worker_record_list(const char *lock_path, const struct sysroot *sysroot, struct worker_record **ret_records,
		       size_t *ret_count, struct failure *failure);

#endif
