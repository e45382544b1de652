/* SPDX-License-Identifier: Apache-2.0 */
/*
 *             a place            result, or end of file           process gone
 *   WAITING ----------> RUNNING ------------------------> ENDING -------------> (delivered, freed)
 *      |                   | worker_cancel(), deadline,     ^|
 *      | worker_cancel()   | nonsense said, or nothing      ||
 *      |                   | for too long                   || no end within the grace: SIGKILL
 *      v                   +--------------------------------+v
 *   (delivered from the loop)                              KILLED -------------> (delivered, freed)
 *                                                            | no end within the grace
 *                                                            v
 *                                                          STUCK (delivered; freed when the process
 * ends)
 *
 * The end of a process is learnt from its pidfd, so that no signal handler is needed and nobody
 * else's children are reaped.
 */
#include "worker_pool.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include "cgroup_memory.h"
#include "clock.h"
#include "sysroot.h"
#include "worker_cgroup.h"
#include "worker_channel.h"
#include "worker_spawn.h"

/* A process that was sent SIGKILL and is not in the kernel's hands is gone in far less. */
#define FREE_WAIT_MS 500

enum worker_state {
	WORKER_STATE_WAITING,
	WORKER_STATE_RUNNING,
	WORKER_STATE_ENDING,
	WORKER_STATE_KILLED,
	WORKER_STATE_STUCK,
};

struct worker_limit {
	bool is_owed;
	uint64_t bytes_per_s, guest_pause_us;
	uint32_t stall_us;
};

struct worker {
	TAILQ_ENTRY(worker) entry;
	struct worker_pool *pool; /* borrowed: the pool frees its workers before itself */
	enum worker_state state;
	struct worker_message *start; /* owned; until it was sent */
	enum step_kind step;
	uint64_t deadline_ms;
	uint64_t until_ms; /* by the monotonic clock, once it runs; 0: no end */
	uint32_t silence_ms;
	uint64_t heard_ms; /* when it said something last, or was let go on */
	struct worker_spawn spawn;
	struct worker_channel *channel;				     /* owned */
	struct event *read_event, *write_event, *exit_event, *timer; /* owned */
	worker_progress_fn *on_progress;
	worker_result_fn *on_result;
	void *user;
	bool is_paused, is_cancelled, has_result;
	struct worker_limit limit; /* the newest word, where it has not been said yet */
	uint64_t done_bytes;
	struct worker_result result;
	struct failure trouble; /* why it was ended, where it was not asked for */
	struct worker_record record;
	struct worker_stuck stuck; /* once it is */
};

TAILQ_HEAD(worker_list, worker);

struct worker_pool {
	struct event_base *base;
	char *program, *lock_path; /* owned */
	struct worker_lock *lock;  /* owned */
	worker_pool_stuck_fn *on_stuck;
	void *user;
	unsigned limit, running;
	uint32_t kill_grace_ms;
	const struct sysroot *sysroot;
	struct worker_list workers;
};

static struct timeval milliseconds(uint64_t ms)
{
	return (struct timeval){.tv_sec = (time_t)(ms / 1000),
				.tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

static void arm(struct worker *worker, uint64_t ms)
{
	struct timeval delay = milliseconds(ms);

	event_add(worker->timer, &delay);
}

static bool is_watched(const struct worker *worker)
{
	/* One that pauses has nothing to say. */
	return worker->silence_ms && !worker->is_paused;
}

/* While it runs: its time, or its silence, whichever is over first. */
static void arm_running(struct worker *worker)
{
	uint64_t now = monotonic_ms(), end = worker->until_ms ? worker->until_ms : UINT64_MAX;

	if (is_watched(worker) && worker->heard_ms + worker->silence_ms < end)
		end = worker->heard_ms + worker->silence_ms;
	if (end != UINT64_MAX)
		arm(worker, end > now ? end - now : 0);
}

static void worker_free(struct worker *worker)
{
	struct event **events[] = {&worker->read_event, &worker->write_event, &worker->exit_event,
				   &worker->timer};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (*events[i])
			event_free(*events[i]);
	worker_channel_free(worker->channel);
	if (worker->spawn.pidfd >= 0)
		close(worker->spawn.pidfd);
	if (worker->start) {
		worker_message_done(worker->start);
		free(worker->start);
	}
	worker_result_done(&worker->result);
	free(worker);
}

static void deliver(struct worker *worker)
{
	if (worker->on_result)
		worker->on_result(worker->user, &worker->result);
	worker->on_result = NULL;
	worker->on_progress = NULL;
}

static void remove_cgroup(const struct worker_pool *pool, pid_t pid)
{
	char path[CGROUP_MEMORY_PATH_SIZE];

	if (pool->sysroot)
		cgroup_memory_remove(pool->sysroot, worker_cgroup_path(pid, path));
}

static void update_write_event(struct worker *worker)
{
	if (worker->channel && worker_channel_is_pending(worker->channel))
		event_add(worker->write_event, NULL);
}

/* A failure to send shows as the end of the process or of the channel, and is handled there. */
static void say(struct worker *worker, const struct worker_message *message)
{
	worker_channel_send(worker->channel, message);
	update_write_event(worker);
}

static void say_type(struct worker *worker, enum worker_message_type type)
{
	struct worker_message *message = calloc(1, sizeof(*message));

	if (!message)
		return;
	message->type = type;
	say(worker, message);
	free(message);
}

/* One that does not read needs the newest word only: it is said when what was said before has gone. */
static void say_limit(struct worker *worker)
{
	struct worker_message *message;

	if (!worker->limit.is_owed || worker->state != WORKER_STATE_RUNNING ||
	    worker_channel_is_pending(worker->channel))
		return;
	message = calloc(1, sizeof(*message));
	if (!message)
		return;
	message->type = WORKER_MESSAGE_LIMIT;
	message->bytes_per_s = worker->limit.bytes_per_s;
	message->stall_us = worker->limit.stall_us;
	message->guest_pause_us = worker->limit.guest_pause_us;
	worker->limit = (struct worker_limit){0};
	say(worker, message);
	free(message);
}

/* From RUNNING only: it has the grace to end by itself. */
static void enter_ending(struct worker *worker)
{
	worker->state = WORKER_STATE_ENDING;
	arm(worker, worker->pool->kill_grace_ms);
}

static void kill_now(struct worker *worker)
{
	worker->state = WORKER_STATE_KILLED;
	pidfd_send_signal(worker->spawn.pidfd, SIGKILL, NULL, 0);
	arm(worker, worker->pool->kill_grace_ms);
}

static void distrust(struct worker *worker, const struct failure *failure)
{
	worker->trouble = *failure;
	event_del(worker->read_event);
	kill_now(worker);
}

static void take_message(struct worker *worker, struct worker_message *message)
{
	worker->heard_ms = monotonic_ms();
	switch (message->type) {
	case WORKER_MESSAGE_PROGRESS:
		worker->done_bytes = message->done_bytes;
		if (worker->on_progress)
			worker->on_progress(worker->user, message->done_bytes, message->total_bytes,
					    message->detail);
		break;
	case WORKER_MESSAGE_RESULT:
		if (worker->has_result)
			break;
		worker->has_result = true;
		worker->result = message->result;
		message->result.values = NULL;
		if (worker->state == WORKER_STATE_RUNNING)
			enter_ending(worker);
		break;
	case WORKER_MESSAGE_HELLO:
	case WORKER_MESSAGE_START:
	case WORKER_MESSAGE_LIMIT:
	case WORKER_MESSAGE_PAUSE:
	case WORKER_MESSAGE_RESUME:
	case WORKER_MESSAGE_CANCEL:
	case WORKER_MESSAGE_TYPE_COUNT:
		break;
	}
}

/* Takes all that is there. False once nothing more can come. */
static bool read_messages(struct worker *worker)
{
	struct worker_message *message = calloc(1, sizeof(*message));
	struct failure failure = {0};
	int rc = message ? 1 : -EAGAIN;

	while (rc == 1) {
		rc = worker_channel_receive(worker->channel, message, &failure);
		if (rc != 1)
			break;
		take_message(worker, message);
		worker_message_done(message);
		memset(message, 0, sizeof(*message));
	}
	free(message);
	if (rc == -EAGAIN || rc == -ENOMEM)
		return true;
	if (rc < 0) {
		if (!failure_is_set(&failure))
			failure_set(&failure, rc, "worker", "cannot hear it any more");
		distrust(worker, &failure);
	}
	return false;
}

static void on_readable(evutil_socket_t fd, short events, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)events;
	if (read_messages(worker))
		return;
	/* End of file stays readable for ever. */
	event_del(worker->read_event);
	if (worker->state == WORKER_STATE_RUNNING)
		enter_ending(worker);
}

static void on_writable(evutil_socket_t fd, short events, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)events;
	if (worker_channel_flush(worker->channel) == -EAGAIN)
		event_add(worker->write_event, NULL);
	else
		say_limit(worker);
}

static void describe_end(struct worker *worker, const siginfo_t *info)
{
	struct failure *failure = &worker->result.failure;
	char object[40];

	worker_result_done(&worker->result);
	worker->result = (struct worker_result){
		.outcome = worker->is_cancelled ? WORKER_OUTCOME_CANCELLED : WORKER_OUTCOME_DIED,
		.bytes_done = worker->done_bytes,
	};
	if (failure_is_set(&worker->trouble)) {
		*failure = worker->trouble;
	} else {
		snprintf(object, sizeof(object), "worker %d", (int)worker->spawn.pid);
		failure_set(failure, EIO, object,
			    worker->is_cancelled ? "it was killed after a cancel"
						 : "it ended without a result");
		if (info->si_code == CLD_EXITED)
			failure_set_cause(failure, "exit status %d", info->si_status);
		else
			failure_set_cause(failure, "signal %d", info->si_status);
	}
	remainder_list_add(&worker->result.remainder,
			   worker->is_cancelled ? REMAINDER_CANCELLED : REMAINDER_WORKER_DIED,
			   failure->object, 0, NULL, "%s", failure->cause);
}

static void start_waiting(struct worker_pool *pool);

static void on_exit_event(evutil_socket_t fd, short events, void *user)
{
	struct worker *worker = user;
	struct worker_pool *pool = worker->pool;
	siginfo_t info = {0};

	(void)fd;
	(void)events;
	/* Where another part of the process ignores SIGCHLD the kernel has reaped it: then there is
	 * nothing to tell. */
	waitid(P_PIDFD, (id_t)worker->spawn.pidfd, &info, WEXITED | WNOHANG);
	/* What it said last may not have been read yet. */
	if (!failure_is_set(&worker->trouble))
		read_messages(worker);
	remove_cgroup(pool, worker->spawn.pid);
	worker_record_remove(pool->lock_path, worker->spawn.pid);
	TAILQ_REMOVE(&pool->workers, worker, entry);
	if (worker->state != WORKER_STATE_STUCK) {
		pool->running--;
		if (!worker->has_result)
			describe_end(worker, &info);
		deliver(worker);
	} else if (pool->on_stuck) {
		pool->on_stuck(pool->user, &worker->stuck, true);
	}
	worker_free(worker);
	start_waiting(pool);
}

static void deliver_stuck(struct worker *worker)
{
	struct worker_pool *pool = worker->pool;
	struct worker_result *result = &worker->result;
	const char *place = worker->stuck.place;
	char object[40];

	worker->state = WORKER_STATE_STUCK;
	worker_stuck_fill(pool->sysroot, &worker->record, false, &worker->stuck);
	event_del(worker->read_event);
	event_del(worker->write_event);
	snprintf(object, sizeof(object), "worker %d", (int)worker->spawn.pid);
	worker_result_done(result);
	*result = (struct worker_result){
		.outcome = WORKER_OUTCOME_STUCK,
		.bytes_done = worker->done_bytes,
	};
	failure_set(&result->failure, EBUSY, object, "it does not end");
	failure_set_cause(&result->failure, "the kernel keeps it beyond SIGKILL%s%s",
			  place[0] ? ", in " : "", place);
	remainder_list_add(&result->remainder, REMAINDER_KERNEL_STUCK, object, 0, NULL,
			   "beyond SIGKILL%s%s; %s", place[0] ? " in " : "", place,
			   worker->step == STEP_KIND_OFFLINE_BLOCKS ||
					   worker->step == STEP_KIND_ONLINE_BLOCKS ||
					   worker->step == STEP_KIND_EJECT
				   ? "all memory and CPU hotplug of this host waits for it"
				   : "what it works on stays locked");
	pool->running--;
	deliver(worker);
	if (pool->on_stuck)
		pool->on_stuck(pool->user, &worker->stuck, false);
	start_waiting(pool);
}

static void on_running_timer(struct worker *worker)
{
	uint64_t now = monotonic_ms();
	struct failure failure;
	char object[40];

	if (is_watched(worker) && now >= worker->heard_ms + worker->silence_ms) {
		snprintf(object, sizeof(object), "worker %d", (int)worker->spawn.pid);
		failure_set(&failure, ETIMEDOUT, object, "it was killed");
		failure_set_cause(&failure, "it has said nothing for %" PRIu32 " ms", worker->silence_ms);
		distrust(worker, &failure);
	} else if (worker->until_ms && now >= worker->until_ms) {
		worker_cancel(worker);
	} else {
		arm_running(worker);
	}
}

static void on_timer(evutil_socket_t fd, short events, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)events;
	switch (worker->state) {
	case WORKER_STATE_WAITING:
		/* It was cancelled, or could not be started when its turn came. */
		TAILQ_REMOVE(&worker->pool->workers, worker, entry);
		deliver(worker);
		worker_free(worker);
		break;
	case WORKER_STATE_RUNNING:
		on_running_timer(worker);
		break;
	case WORKER_STATE_ENDING:
		kill_now(worker);
		break;
	case WORKER_STATE_KILLED:
		deliver_stuck(worker);
		break;
	case WORKER_STATE_STUCK:
		break;
	}
}

/* Before it hears what to do, so that whoever comes after us knows of it in any case. */
static int write_down(struct worker *worker)
{
	struct worker_pool *pool = worker->pool;
	int rc;

	worker->record = (struct worker_record){.pid = worker->spawn.pid, .step = STEP_KIND_COUNT};
	if (!pool->sysroot)
		return 0;
	rc = worker_record_of(pool->sysroot, worker->spawn.pid, &worker->start->job, &worker->record);
	return rc ? rc : worker_record_write(pool->lock_path, &worker->record);
}

static int run(struct worker *worker, struct failure *failure)
{
	struct worker_pool *pool = worker->pool;
	int rc = worker_spawn_start(pool->program, pool->lock_path, &worker->spawn, failure);

	if (rc)
		return rc;
	rc = worker_channel_new(TAKE_FD(worker->spawn.channel_fd), &worker->channel);
	if (!rc) {
		worker->read_event = event_new(pool->base, worker_channel_fd(worker->channel),
					       EV_READ | EV_PERSIST, on_readable, worker);
		worker->write_event = event_new(pool->base, worker_channel_fd(worker->channel),
						EV_WRITE, on_writable, worker);
		worker->exit_event =
			event_new(pool->base, worker->spawn.pidfd, EV_READ, on_exit_event, worker);
		if (!worker->read_event || !worker->write_event || !worker->exit_event ||
		    event_add(worker->read_event, NULL) || event_add(worker->exit_event, NULL))
			rc = -ENOMEM;
	}
	if (!rc)
		rc = write_down(worker);
	if (!rc)
		rc = worker_channel_send(worker->channel, worker->start);
	/* A child that has ended already is told of by its pidfd. */
	if (rc && rc != -EPIPE) {
		pidfd_send_signal(worker->spawn.pidfd, SIGKILL, NULL, 0);
		waitid(P_PIDFD, (id_t)worker->spawn.pidfd, NULL, WEXITED);
		worker_record_remove(pool->lock_path, worker->spawn.pid);
		return failure_set(failure, rc, pool->program, "cannot start a worker");
	}
	update_write_event(worker);
	worker_message_done(worker->start);
	free(worker->start);
	worker->start = NULL;
	worker->state = WORKER_STATE_RUNNING;
	pool->running++;
	if (worker->is_paused)
		say_type(worker, WORKER_MESSAGE_PAUSE);
	say_limit(worker);
	worker->heard_ms = monotonic_ms();
	if (worker->deadline_ms)
		worker->until_ms = worker->heard_ms + worker->deadline_ms + pool->kill_grace_ms;
	arm_running(worker);
	return 0;
}

static void start_waiting(struct worker_pool *pool)
{
	struct worker *worker, *next;

	for (worker = TAILQ_FIRST(&pool->workers); worker && pool->running < pool->limit;
	     worker = next) {
		next = TAILQ_NEXT(worker, entry);
		if (worker->state != WORKER_STATE_WAITING || evtimer_pending(worker->timer, NULL))
			continue;
		int rc = run(worker, &worker->result.failure);

		if (rc) {
			worker->result.outcome = WORKER_OUTCOME_DIED;
			arm(worker, 0);
		}
	}
}

/* A copy through the messages' own text: what a worker will read is what was checked here. */
static int copy_job(const struct worker_job *job, struct worker_message **ret_start,
		    struct failure *failure)
{
	struct worker_message *message = calloc(1, sizeof(*message));
	CLEANUP_FREE char *text = NULL;
	int rc;

	if (!message)
		return failure_set(failure, ENOMEM, "worker", "cannot start");
	message->type = WORKER_MESSAGE_START;
	message->job = *job;
	text = worker_message_to_text(message);
	memset(message, 0, sizeof(*message));
	rc = text ? worker_message_parse(text, strlen(text), message, failure)
		  : failure_set(failure, ENOMEM, "worker", "cannot write the job down");
	if (rc)
		free(message);
	else
		*ret_start = message;
	return rc;
}

int worker_pool_start(struct worker_pool *pool, const struct worker_job *job,
		      worker_progress_fn *progress, worker_result_fn *result, void *user,
		      struct worker **ret_worker, struct failure *failure)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc;

	if (!worker)
		return failure_set(failure, ENOMEM, "worker", "cannot start");
	worker->pool = pool;
	worker->spawn.pidfd = -1;
	worker->spawn.channel_fd = -1;
	worker->step = worker_job_has_step(job) ? job->step.kind : STEP_KIND_COUNT;
	worker->deadline_ms = job->deadline_ms;
	worker->silence_ms = job->silence_ms;
	worker->on_progress = progress;
	worker->on_result = result;
	worker->user = user;
	worker->timer = evtimer_new(pool->base, on_timer, worker);
	rc = worker->timer ? copy_job(job, &worker->start, failure)
			   : failure_set(failure, ENOMEM, "worker", "cannot start");
	if (!rc && pool->running < pool->limit)
		rc = run(worker, failure);
	if (rc) {
		worker_free(worker);
		return rc;
	}
	TAILQ_INSERT_TAIL(&pool->workers, worker, entry);
	if (ret_worker)
		*ret_worker = worker;
	return 0;
}

void worker_cancel(struct worker *worker)
{
	if (worker->is_cancelled)
		return;
	worker->is_cancelled = true;
	if (worker->state == WORKER_STATE_WAITING) {
		worker->result.outcome = WORKER_OUTCOME_CANCELLED;
		arm(worker, 0);
	} else if (worker->state == WORKER_STATE_RUNNING) {
		say_type(worker, WORKER_MESSAGE_CANCEL);
		/* Ends a write that takes a block offline: the kernel undoes it
		 * (mm/memory_hotplug.c offline_pages). */
		pidfd_send_signal(worker->spawn.pidfd, SIGTERM, NULL, 0);
		enter_ending(worker);
	}
}

void worker_pause(struct worker *worker)
{
	worker->is_paused = true;
	if (worker->state == WORKER_STATE_RUNNING)
		say_type(worker, WORKER_MESSAGE_PAUSE);
}

void worker_resume(struct worker *worker)
{
	worker->is_paused = false;
	if (worker->state != WORKER_STATE_RUNNING)
		return;
	say_type(worker, WORKER_MESSAGE_RESUME);
	worker->heard_ms = monotonic_ms();
	arm_running(worker);
}

void worker_limit(struct worker *worker, uint64_t bytes_per_s, uint32_t stall_us,
		  uint64_t guest_pause_us)
{
	struct worker_limit *limit = &worker->limit;

	if (!limit->is_owed || guest_pause_us > limit->guest_pause_us)
		limit->guest_pause_us = guest_pause_us;
	limit->bytes_per_s = bytes_per_s;
	limit->stall_us = stall_us;
	limit->is_owed = true;
	say_limit(worker);
}

int worker_pid(const struct worker *worker)
{
	return worker->state == WORKER_STATE_WAITING ? 0 : (int)worker->spawn.pid;
}

/* A worker that was killed could not take its cgroup away; nobody else makes such names. */
static void remove_old_cgroups(const struct sysroot *sysroot)
{
	struct sysroot_names names = {0};
	char path[CGROUP_MEMORY_PATH_SIZE];

	if (!sysroot || sysroot_list(sysroot, &names, "/sys/fs/cgroup"))
		return;
	for (size_t i = 0; i < names.count; i++) {
		int64_t pid = sysroot_name_number(names.names[i], WORKER_CGROUP_PREFIX, "");

		if (pid > 0)
			cgroup_memory_remove(sysroot, worker_cgroup_path((pid_t)pid, path));
	}
	sysroot_names_done(&names);
}

static void on_orphan_gone(void *user, const struct worker_stuck *stuck)
{
	struct worker_pool *pool = user;

	if (pool->on_stuck)
		pool->on_stuck(pool->user, stuck, true);
}

static int take_lock(struct worker_pool *pool, uint32_t wait_ms, struct failure *failure)
{
	const struct worker_lock_options options = {.base = pool->base,
						    .path = pool->lock_path,
						    .sysroot = pool->sysroot,
						    .wait_ms = wait_ms,
						    .gone = on_orphan_gone,
						    .user = pool};

	return worker_lock_take(&options, &pool->lock, failure);
}

int worker_pool_new(const struct worker_pool_options *options, uint32_t wait_ms,
		    struct worker_pool **ret_pool, struct failure *failure)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool));
	int rc;

	if (!pool)
		return failure_set(failure, ENOMEM, "workers", "cannot begin");
	TAILQ_INIT(&pool->workers);
	pool->base = options->base;
	pool->limit = options->limit ? options->limit : 1;
	pool->kill_grace_ms = options->kill_grace_ms;
	pool->sysroot = options->sysroot;
	pool->on_stuck = options->on_stuck;
	pool->user = options->user;
	pool->program = strdup(options->program);
	pool->lock_path = strdup(options->lock_path);
	rc = pool->program && pool->lock_path
		     ? take_lock(pool, wait_ms, failure)
		     : failure_set(failure, ENOMEM, "workers", "cannot begin");
	if (rc) {
		worker_pool_free(pool);
		return rc;
	}
	remove_old_cgroups(pool->sysroot);
	*ret_pool = pool;
	return 0;
}

struct worker_pool *worker_pool_free(struct worker_pool *pool)
{
	uint64_t until = monotonic_ms() + FREE_WAIT_MS;
	struct worker *worker;

	if (!pool)
		return NULL;
	TAILQ_FOREACH(worker, &pool->workers, entry)
	if (worker->state != WORKER_STATE_WAITING)
		pidfd_send_signal(worker->spawn.pidfd, SIGKILL, NULL, 0);
	while ((worker = TAILQ_FIRST(&pool->workers))) {
		TAILQ_REMOVE(&pool->workers, worker, entry);
		if (worker->state != WORKER_STATE_WAITING) {
			struct pollfd end = {.fd = worker->spawn.pidfd, .events = POLLIN};
			uint64_t now = monotonic_ms();

			/* The record of one that does not end is for who comes next. */
			if (poll(&end, 1, now < until ? (int)(until - now) : 0) == 1) {
				waitid(P_PIDFD, (id_t)worker->spawn.pidfd, NULL, WEXITED | WNOHANG);
				worker_record_remove(pool->lock_path, worker->spawn.pid);
			}
			remove_cgroup(pool, worker->spawn.pid);
		}
		worker_free(worker);
	}
	worker_lock_free(pool->lock);
	free(pool->program);
	free(pool->lock_path);
	free(pool);
	return NULL;
}

const struct worker_stuck *worker_pool_stuck(const struct worker_pool *pool, size_t index)
{
	const struct worker_stuck *orphan = worker_lock_orphan(pool->lock, index);
	const struct worker *worker;

	if (orphan)
		return orphan;
	for (size_t i = 0; worker_lock_orphan(pool->lock, i); i++)
		index--;
	TAILQ_FOREACH(worker, &pool->workers, entry)
	if (worker->state == WORKER_STATE_STUCK && index-- == 0)
		return &worker->stuck;
	return NULL;
}
