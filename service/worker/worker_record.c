/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cleanup.h"
#include "process_stat.h"
#include "sysroot.h"

#define PATH_SIZE 512
/* A record is some 300 bytes. */
#define RECORD_MAX 4096
/* As the kernel names a process by its program. */
#define WORKER_NAME "ballast-worker"

static int make_path(const char *lock_path, int pid, char path[PATH_SIZE])
{
	int length = snprintf(path, PATH_SIZE, "%s.%d", lock_path, pid);

	return length < 0 || length >= PATH_SIZE ? -ENAMETOOLONG : 0;
}

static void describe(const struct worker_job *job, char *text, size_t size)
{
	char step[160];

	if (worker_job_has_step(job))
		snprintf(text, size, "%s%s %.60s", job->kind == WORKER_JOB_UNDO ? "undo of " : "",
			 step_kind_name(job->step.kind), step_describe(&job->step, step));
	else
		snprintf(text, size, "%s", worker_job_kind_name(job->kind));
}

int worker_record_of(const struct sysroot *sysroot, int pid, const struct worker_job *job, struct worker_record *ret_record)
{
	struct worker_record record = {.pid = pid, .job = job->kind, .step = STEP_KIND_COUNT, .node = -1};
	struct process_stat stat;
	int error = process_stat_read(sysroot, pid, 0, &stat);

	if (error)
		return error;
	record.start_time = stat.start_time;
	if (worker_job_has_step(job)) {
		record.step = job->step.kind;
		memcpy(record.guest, job->step.guest, sizeof(record.guest));
		record.node = job->step.node;
		record.page_bytes = job->step.page_bytes;
	}
	describe(job, record.text, sizeof(record.text));
	*ret_record = record;
	return 0;
}

bool worker_record_changes(const struct worker_record *record)
{
	return record->job == WORKER_JOB_STEP || record->job == WORKER_JOB_UNDO;
}

static char *to_text(const struct worker_record *record)
{
	json_t *json = json_pack("{s:i, s:I, s:s, s:s*, s:s, s:i, s:I, s:s}", "pid", record->pid, "start_time",
				 (json_int_t)record->start_time, "job", worker_job_kind_name(record->job), "step",
				 record->step < STEP_KIND_COUNT ? step_kind_name(record->step) : NULL, "guest",
				 record->guest, "node", record->node, "page_bytes", (json_int_t)record->page_bytes, "text",
				 record->text);
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(json);
	return text;
}

/* Keys that are not known are another version's, and say nothing of what is locked. */
static int parse(const char *text, struct worker_record *ret_record)
{
	struct worker_record record = {.step = STEP_KIND_COUNT};
	const char *job, *step = NULL, *guest, *words;
	json_int_t start_time, page_bytes;
	json_error_t error;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	int kind = -1, rc = -EBADMSG;

	if (json && !json_unpack_ex(json, &error, 0, "{s:i, s:I, s:s, s?:s, s:s, s:i, s:I, s:s}", "pid", &record.pid,
				    "start_time", &start_time, "job", &job, "step", &step, "guest", &guest, "node",
				    &record.node, "page_bytes", &page_bytes, "text", &words) &&
	    start_time >= 0 && page_bytes >= 0 && strlen(guest) < sizeof(record.guest)) {
		kind = worker_job_kind_from_name(job);
		rc = kind < 0 || (step && step_kind_from_name(step) < 0) ? -EBADMSG : 0;
	}
	if (!rc) {
		record.start_time = (uint64_t)start_time;
		record.page_bytes = (uint64_t)page_bytes;
		record.job = (enum worker_job_kind)kind;
		record.step = step ? (enum step_kind)step_kind_from_name(step) : STEP_KIND_COUNT;
		strcpy(record.guest, guest);
		snprintf(record.text, sizeof(record.text), "%s", words);
		*ret_record = record;
	}
	json_decref(json);
	return rc;
}

int worker_record_write(const char *lock_path, const struct worker_record *record)
{
	CLEANUP_FREE char *text = to_text(record);
	CLEANUP_CLOSE int fd = -1;
	char path[PATH_SIZE];
	ssize_t written;
	int rc = text ? make_path(lock_path, record->pid, path) : -ENOMEM;

	if (rc)
		return rc;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	written = write(fd, text, strlen(text));
	if (written == (ssize_t)strlen(text))
		return 0;
	rc = written < 0 ? -errno : -EIO;
	unlink(path);
	return rc;
}

void worker_record_remove(const char *lock_path, int pid)
{
	char path[PATH_SIZE];

	if (!make_path(lock_path, pid, path))
		unlink(path);
}

static int read_text(const char *path, char text[RECORD_MAX])
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t length = fd < 0 ? -1 : read(fd, text, RECORD_MAX - 1);

	if (length < 0)
		return -errno;
	text[length] = '\0';
	return 0;
}

/* 1: it lives, and is what the record says; 0: it does not; -errno. */
static int look(const struct sysroot *sysroot, const char *path, int pid, struct worker_record *ret_record)
{
	char text[RECORD_MAX];
	struct process_stat stat;
	int rc = process_stat_read(sysroot, pid, 0, &stat);

	if (rc == -ESRCH || (!rc && (stat.state == 'Z' || stat.state == 'X')))
		return 0;
	if (!rc)
		rc = read_text(path, text);
	if (!rc)
		rc = parse(text, ret_record);
	if (!rc && ret_record->pid != pid)
		rc = -EBADMSG;
	if (!rc)
		return ret_record->start_time == stat.start_time;
	/* Its daemon was killed before it had written it: the number is somebody else's by now, unless it is a worker's. */
	return rc == -EBADMSG && strcmp(stat.name, WORKER_NAME) != 0 ? 0 : rc;
}

/* Of each record's process. 0 goes on. */
typedef int visit_fn(void *user, const char *path, int pid);

static int visit_all(const char *lock_path, visit_fn *visit, void *user)
{
	CLEANUP_FREE char *directory = strdup(lock_path);
	CLEANUP(cleanup_closedir) DIR *stream = NULL;
	char *slash = directory ? strrchr(directory, '/') : NULL, prefix[PATH_SIZE], path[PATH_SIZE];
	struct dirent *entry;
	int rc = 0;

	if (!slash)
		return directory ? -EINVAL : -ENOMEM;
	if (snprintf(prefix, sizeof(prefix), "%s.", slash + 1) >= (int)sizeof(prefix))
		return -ENAMETOOLONG;
	*slash = '\0';
	stream = opendir(directory[0] ? directory : "/");
	if (!stream)
		return -errno;
	while (!rc && (entry = readdir(stream))) {
		int64_t pid = sysroot_name_number(entry->d_name, prefix, "");

		if (pid > 0 && pid <= INT32_MAX && !make_path(lock_path, (int)pid, path))
			rc = visit(user, path, (int)pid);
	}
	return rc;
}

static int remove_one(void *user, const char *path, int pid)
{
	unlink(path);
	return 0;
}

void worker_record_clear(const char *lock_path)
{
	visit_all(lock_path, remove_one, NULL);
}

struct list {
	const struct sysroot *sysroot;
	struct worker_record *records;
	size_t count;
};

static int list_one(void *user, const char *path, int pid)
{
	struct list *list = user;
	struct worker_record record, *grown;
	int rc = look(list->sysroot, path, pid, &record);

	if (rc == 0)
		unlink(path);
	if (rc != 1)
		return rc;
	grown = reallocarray(list->records, list->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->records = grown;
	grown[list->count++] = record;
	return 0;
}

int worker_record_list(const char *lock_path, const struct sysroot *sysroot, struct worker_record **ret_records,
		       size_t *ret_count, struct failure *failure)
{
	struct list list = {.sysroot = sysroot};
	int rc = visit_all(lock_path, list_one, &list);

	if (rc) {
		free(list.records);
		failure_set(failure, rc, lock_path, "cannot read what a worker that still runs is at");
		failure_set_way_out(failure, "end it (fuser %s names it) and start again", lock_path);
		return rc;
	}
	*ret_records = list.records;
	*ret_count = list.count;
	return 0;
}
