/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 *   loop thread        connection_submit() ---> waiting ---> running ---+
 *                      connection_dispatch() <--- notes <---------------+--- events
 *   pool threads       take the first waiting request whose guest has none running, run it
 *   clock thread       turns requests past their deadline into TIMED_OUT notes
 *   supervisor thread  DOWN --open ok--> UP --line found dead--> DOWN, backoff, open, ...
 *   libvirt's thread   libvirt_sink: events become notes, a closed line wakes the supervisor
 *
 * One lock guards all of it; no call into libvirt and no callback is made with it held. The clock
 * is a thread apart from the supervisor, because an attempt to connect may itself hang for long.
 *
 * Who runs holds a share of the struct: the user, each thread, each feed of a link.
 * connection_free() gives up the user's; the last one to let go releases the memory, so a thread
 * that libvirt never gives back harms nobody.
 *
 * Longer than most files: whatever that one lock guards is in here, so that it can be read in one
 * place.
 */
#include "connection.h"
#include "connection_priv.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include "clock.h"
#include "libvirt_ops.h"

#define DEFAULT_THREADS	    4
#define MAX_THREADS	    32
#define DEFAULT_BACKOFF_MS  1000
#define DEFAULT_BACKOFF_TOP 30000
#define DEFAULT_GRACE_MS    1000 /* idle threads need microseconds; longer waits are for libvirt */
#define MAX_QUEUED_EVENTS   4096 /* a loop that is behind by more should list instead */
#define NEVER		    INT64_MAX

/* Something for the loop: an event, or with on_done the end of a call. */
struct note {
	struct note *next;
	struct connection_event event;
	char *name, *alias, *text; /* owned; event's, NULL where empty */
	connection_done_fn *on_done;
	void *userdata;
	enum connection_call_kind kind;
	uint64_t call;
	bool in_flight;
	struct connection_answer answer;
};

struct job {
	struct job *next;
	struct connection_request request;
	uint64_t number;
	int64_t deadline_ms;
	struct note *ending; /* owned; NULL once it was told */
	struct note *late;   /* owned; for a call that comes back after its end was told */
};

struct connection {
	atomic_uint holders;
	pthread_mutex_t lock;
	pthread_cond_t work;	  /* pool: a request may be takeable */
	pthread_cond_t supervise; /* supervisor: the line is suspect, or all ends */
	pthread_cond_t clock;	  /* clock: an earlier deadline than it waits for */
	pthread_cond_t gone;	  /* connection_free(): a thread ended */

	/* Constant. */
	char *uri; /* owned */
	const struct libvirt_ops *ops;
	const struct sysroot *sysroot;
	unsigned backoff_minimum_ms, backoff_maximum_ms, grace_ms;
	connection_event_fn *on_event;
	void *userdata;
	int fd;

	/* Under the lock. */
	bool freed;
	unsigned threads;
	struct job *waiting, *running;
	unsigned jobs; /* waiting and running */
	uint64_t last_number;
	int64_t clock_wakes_ms;
	struct note *first, **last;
	unsigned queued_events;
	struct note gap;
	bool gap_queued;
	void *link; /* owned share; NULL: down */
	bool suspect;
	char reason[256]; /* why it is down, or what made the line suspect */

	/* The loop's alone. */
	enum connection_state seen_state;
	char seen_reason[256];
};

static int64_t now_ms(void)
{
	return (int64_t)monotonic_ms();
}

/* Waits for the condition, at most until then (NEVER: no limit). */
static void wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t then_ms)
{
	struct timespec then = {.tv_sec = then_ms / 1000, .tv_nsec = then_ms % 1000 * 1000000};

	if (then_ms == NEVER)
		pthread_cond_wait(condition, lock);
	else
		pthread_cond_timedwait(condition, lock, &then);
}

/* ---- notes ---- */

static void free_note(struct connection *connection, struct note *note)
{
	if (!note || note == &connection->gap)
		return;
	free(note->name);
	free(note->alias);
	free(note->text);
	connection_answer_done(&note->answer);
	free(note);
}

static void push(struct connection *connection, struct note *note)
{
	bool first = connection->first == NULL;

	note->next = NULL;
	*connection->last = note;
	connection->last = &note->next;
	/* Cannot fail for want of room: one is written for each queue that was read out. */
	if (first)
		eventfd_write(connection->fd, 1);
}

static void push_gap(struct connection *connection)
{
	if (connection->gap_queued)
		return;
	connection->gap_queued = true;
	push(connection, &connection->gap);
}

static bool copy_string(const char *text, char **ret_copy)
{
	if (!text || !text[0])
		return true;
	*ret_copy = strdup(text);
	return *ret_copy != NULL;
}

static void push_event(struct connection *connection, const struct connection_event *event)
{
	struct note *note = calloc(1, sizeof(*note));

	if (!note || !copy_string(event->name, &note->name) ||
	    !copy_string(event->alias, &note->alias) || !copy_string(event->text, &note->text)) {
		free_note(connection, note);
		push_gap(connection);
		return;
	}
	note->event = *event;
	connection->queued_events++;
	push(connection, note);
}

/* Takes over the answer. */
static void push_ending(struct connection *connection, struct job *job,
			struct connection_answer *answer, bool in_flight)
{
	struct note *note = TAKE_PTR(job->ending);

	note->on_done = job->request.call.on_done;
	note->userdata = job->request.call.userdata;
	note->kind = job->request.call.kind;
	note->call = job->number;
	note->in_flight = in_flight;
	note->answer = *answer;
	*answer = (struct connection_answer){0};
	push(connection, note);
}

static void push_failure(struct connection *connection, struct job *job,
			 enum connection_outcome outcome, bool in_flight, const char *cause)
{
	struct connection_answer answer = {.outcome = outcome};
	bool timed_out = outcome == CONNECTION_TIMED_OUT;

	connection_request_fail(&job->request, &answer.failure, timed_out ? ETIMEDOUT : ENOTCONN,
				timed_out ? "libvirt_timeout" : "libvirt_down", cause);
	push_ending(connection, job, &answer, in_flight);
}

static void push_late(struct connection *connection, struct job *job,
		      const struct connection_answer *answer)
{
	struct note *note = TAKE_PTR(job->late);

	note->event.kind = CONNECTION_EVENT_CALL_RETURNED;
	memcpy(note->event.uuid, job->request.uuid, sizeof(note->event.uuid));
	note->event.call = job->number;
	note->event.text = connection_outcome_name(answer->outcome);
	push(connection, note);
}

/* ---- jobs ---- */

static void free_job(struct connection *connection, struct job *job)
{
	connection_request_done(&job->request);
	free_note(connection, job->ending);
	free_note(connection, job->late);
	free(job);
}

static void append_job(struct job **list, struct job *job)
{
	while (*list)
		list = &(*list)->next;
	job->next = NULL;
	*list = job;
}

static void remove_job(struct job **list, struct job *job)
{
	while (*list != job)
		list = &(*list)->next;
	*list = job->next;
}

static bool is_running(const struct connection *connection, const char *uuid)
{
	for (const struct job *job = connection->running; job; job = job->next)
		if (strcmp(job->request.uuid, uuid) == 0)
			return true;
	return false;
}

/* Lists count as one guest: of them, too, one at a time. */
static struct job *take_job(struct connection *connection)
{
	for (struct job *job = connection->waiting; job; job = job->next) {
		if (is_running(connection, job->request.uuid))
			continue;
		remove_job(&connection->waiting, job);
		append_job(&connection->running, job);
		return job;
	}
	return NULL;
}

static void fail_waiting(struct connection *connection)
{
	struct job *job;

	while ((job = connection->waiting)) {
		connection->waiting = job->next;
		connection->jobs--;
		push_failure(connection, job, CONNECTION_NOT_UP, false, connection->reason);
		free_job(connection, job);
	}
}

/* ---- holders and threads ---- */

static void release(void *data)
{
	struct connection *connection = data;
	struct job *job;
	struct note *note;

	if (atomic_fetch_sub(&connection->holders, 1) != 1)
		return;
	while ((job = connection->waiting)) {
		connection->waiting = job->next;
		free_job(connection, job);
	}
	while ((note = connection->first)) {
		connection->first = note->next;
		free_note(connection, note);
	}
	if (connection->fd >= 0)
		close(connection->fd);
	pthread_mutex_destroy(&connection->lock);
	pthread_cond_destroy(&connection->work);
	pthread_cond_destroy(&connection->supervise);
	pthread_cond_destroy(&connection->clock);
	pthread_cond_destroy(&connection->gone);
	free(connection->uri);
	free(connection);
}

static void acquire(void *data)
{
	struct connection *connection = data;

	atomic_fetch_add(&connection->holders, 1);
}

/* The last thing a thread does. The lock is held. */
static void *leave(struct connection *connection)
{
	connection->threads--;
	pthread_cond_broadcast(&connection->gone);
	pthread_mutex_unlock(&connection->lock);
	release(connection);
	return NULL;
}

static void finish_job(struct connection *connection, struct job *job,
		       struct connection_answer *answer)
{
	remove_job(&connection->running, job);
	connection->jobs--;
	if (answer->is_transport && connection->link) {
		connection->suspect = true;
		pthread_cond_signal(&connection->supervise);
	}
	if (!connection->freed && job->ending)
		push_ending(connection, job, answer, false);
	else if (!connection->freed)
		push_late(connection, job, answer);
	connection_answer_done(answer);
	free_job(connection, job);
	/* The guest's next request may be one that every idle thread passed over. */
	pthread_cond_broadcast(&connection->work);
}

static void *run_pool(void *data)
{
	struct connection *connection = data;

	pthread_mutex_lock(&connection->lock);
	while (!connection->freed) {
		struct job *job = connection->link ? take_job(connection) : NULL;
		struct connection_answer answer;
		void *link = connection->link;

		if (!job) {
			pthread_cond_wait(&connection->work, &connection->lock);
			continue;
		}
		connection->ops->ref(link);
		pthread_mutex_unlock(&connection->lock);
		connection_request_run(&job->request, connection->ops, link, connection->sysroot,
				       &answer);
		connection->ops->unref(link);
		pthread_mutex_lock(&connection->lock);
		finish_job(connection, job, &answer);
	}
	return leave(connection);
}

/* ---- deadlines ---- */

static void expire(struct connection *connection, int64_t now)
{
	struct job *next;

	for (struct job *job = connection->waiting; job; job = next) {
		next = job->next;
		if (job->deadline_ms > now)
			continue;
		remove_job(&connection->waiting, job);
		connection->jobs--;
		push_failure(connection, job, CONNECTION_TIMED_OUT, false,
			     "earlier calls did not come back in time");
		free_job(connection, job);
	}
	for (struct job *job = connection->running; job; job = job->next)
		if (job->ending && job->deadline_ms <= now)
			push_failure(connection, job, CONNECTION_TIMED_OUT, true,
				     "libvirt did not answer in time");
}

static int64_t next_deadline(const struct connection *connection)
{
	int64_t next = NEVER;

	for (const struct job *job = connection->waiting; job; job = job->next)
		if (job->deadline_ms < next)
			next = job->deadline_ms;
	for (const struct job *job = connection->running; job; job = job->next)
		if (job->ending && job->deadline_ms < next)
			next = job->deadline_ms;
	return next;
}

static void *run_clock(void *data)
{
	struct connection *connection = data;

	pthread_mutex_lock(&connection->lock);
	while (!connection->freed) {
		expire(connection, now_ms());
		connection->clock_wakes_ms = next_deadline(connection);
		wait_until(&connection->clock, &connection->lock, connection->clock_wakes_ms);
	}
	return leave(connection);
}

/* ---- the line to libvirt ---- */

/* From libvirt's thread. Events of a line that is not up yet, or no longer, say nothing a list does
 * not. */
static void on_link_event(void *userdata, const struct connection_event *event)
{
	struct connection *connection = userdata;

	pthread_mutex_lock(&connection->lock);
	if (!connection->freed && connection->link) {
		if (connection->queued_events < MAX_QUEUED_EVENTS)
			push_event(connection, event);
		else
			push_gap(connection);
	}
	pthread_mutex_unlock(&connection->lock);
}

/* It may be an older line's: the supervisor asks the one that is up. */
static void on_link_closed(void *userdata, const char *reason)
{
	struct connection *connection = userdata;

	pthread_mutex_lock(&connection->lock);
	connection->suspect = true;
	snprintf(connection->reason, sizeof(connection->reason), "%s", reason);
	pthread_cond_signal(&connection->supervise);
	pthread_mutex_unlock(&connection->lock);
}

static void *open_link(struct connection *connection, struct libvirt_error *error)
{
	const struct libvirt_sink sink = {
		.event = on_link_event,
		.closed = on_link_closed,
		.acquire = acquire,
		.release = release,
		.userdata = connection,
	};
	void *link;

	if (connection->ops->start(error) < 0 ||
	    connection->ops->open(connection->uri, &sink, &link, error) < 0)
		return NULL;
	return link;
}

static void drop_link(struct connection *connection, void *link)
{
	pthread_mutex_unlock(&connection->lock);
	connection->ops->close(link);
	connection->ops->unref(link);
	pthread_mutex_lock(&connection->lock);
}

/* One attempt. The lock is held at its start and end. */
static bool go_up(struct connection *connection, bool first_failure)
{
	struct libvirt_error error = {0};
	void *link;

	connection->suspect = false;
	pthread_mutex_unlock(&connection->lock);
	link = open_link(connection, &error);
	pthread_mutex_lock(&connection->lock);
	if (link && connection->freed) {
		drop_link(connection, link);
		return false;
	}
	if (link) {
		connection->link = link;
		push_event(connection, &(struct connection_event){.kind = CONNECTION_EVENT_UP});
		return true;
	}
	snprintf(connection->reason, sizeof(connection->reason), "%s", error.text);
	if (first_failure && !connection->freed)
		push_event(connection, &(struct connection_event){.kind = CONNECTION_EVENT_DOWN,
								  .text = connection->reason});
	return false;
}

static void go_down(struct connection *connection)
{
	void *link = TAKE_PTR(connection->link);

	if (!connection->freed) {
		if (!connection->reason[0])
			snprintf(connection->reason, sizeof(connection->reason),
				 "the line to libvirt broke");
		push_event(connection, &(struct connection_event){.kind = CONNECTION_EVENT_DOWN,
								  .text = connection->reason});
		fail_waiting(connection);
	}
	drop_link(connection, link);
}

static bool is_dead(struct connection *connection)
{
	void *link = connection->link; /* only this thread takes it away */
	bool alive;

	connection->suspect = false;
	pthread_mutex_unlock(&connection->lock);
	alive = connection->ops->is_alive(link);
	pthread_mutex_lock(&connection->lock);
	return !alive;
}

static void *run_supervisor(void *data)
{
	struct connection *connection = data;
	unsigned backoff_ms = connection->backoff_minimum_ms;
	bool told_down = false;
	int64_t next_ms = 0;

	pthread_mutex_lock(&connection->lock);
	while (!connection->freed) {
		if (connection->link) {
			if (connection->suspect && is_dead(connection)) {
				go_down(connection);
				told_down = true;
				next_ms = now_ms() + backoff_ms;
			} else if (!connection->suspect && !connection->freed) {
				pthread_cond_wait(&connection->supervise, &connection->lock);
			}
		} else if (now_ms() < next_ms) {
			wait_until(&connection->supervise, &connection->lock, next_ms);
		} else if (go_up(connection, !told_down)) {
			connection->reason[0] = '\0';
			backoff_ms = connection->backoff_minimum_ms;
			told_down = false;
		} else {
			told_down = true;
			next_ms = now_ms() + backoff_ms;
			backoff_ms = backoff_ms > connection->backoff_maximum_ms / 2
					     ? connection->backoff_maximum_ms
					     : backoff_ms * 2;
		}
	}
	if (connection->link)
		go_down(connection);
	return leave(connection);
}

/* ---- the user's side ---- */

/* Threads take no signals, nor do those that libvirt starts from them: signals are the loop's. */
static int start_thread(struct connection *connection, const char *name, void *(*run)(void *))
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	sigfillset(&all);
	pthread_mutex_lock(&connection->lock);
	acquire(connection);
	connection->threads++;
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, run, connection);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(thread, name);
	if (error) {
		connection->threads--;
		atomic_fetch_sub(&connection->holders, 1); /* the user's share is left */
	} else {
		pthread_detach(thread);
	}
	pthread_mutex_unlock(&connection->lock);
	return -error;
}

static void init_locks(struct connection *connection)
{
	pthread_cond_t *conditions[] = {&connection->work, &connection->supervise,
					&connection->clock, &connection->gone};
	pthread_condattr_t attributes;

	pthread_mutex_init(&connection->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		pthread_cond_init(conditions[i], &attributes);
	pthread_condattr_destroy(&attributes);
}

static int start_threads(struct connection *connection, unsigned pool)
{
	int error = start_thread(connection, "libvirt-clock", run_clock);

	for (unsigned i = 0; error == 0 && i < pool; i++)
		error = start_thread(connection, "libvirt-call", run_pool);
	if (error == 0)
		error = start_thread(connection, "libvirt-line", run_supervisor);
	return error;
}

int connection_new(const struct connection_options *options, struct connection **ret_connection,
		   struct failure *failure)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	unsigned pool = options->threads ? options->threads : DEFAULT_THREADS;
	int error;

	if (!connection)
		return failure_set(failure, ENOMEM, "libvirt", "cannot start the connection");
	atomic_init(&connection->holders, 1);
	init_locks(connection);
	connection->uri = strdup(options->uri ? options->uri : "qemu:///system");
	connection->ops = options->ops ? options->ops : &libvirt_ops_real;
	connection->sysroot = options->sysroot;
	connection->backoff_minimum_ms =
		options->backoff_minimum_ms ? options->backoff_minimum_ms : DEFAULT_BACKOFF_MS;
	connection->backoff_maximum_ms =
		options->backoff_maximum_ms ? options->backoff_maximum_ms : DEFAULT_BACKOFF_TOP;
	connection->grace_ms = options->free_grace_ms ? options->free_grace_ms : DEFAULT_GRACE_MS;
	connection->on_event = options->on_event;
	connection->userdata = options->userdata;
	connection->last = &connection->first;
	connection->gap.event.kind = CONNECTION_EVENT_GAP;
	connection->clock_wakes_ms = NEVER;
	snprintf(connection->reason, sizeof(connection->reason), "not connected yet");
	snprintf(connection->seen_reason, sizeof(connection->seen_reason), "not connected yet");
	connection->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (connection->fd < 0)
		error = -errno;
	else if (!connection->uri)
		error = -ENOMEM;
	else
		error = start_threads(connection, pool > MAX_THREADS ? MAX_THREADS : pool);
	if (error < 0) {
		connection_free(connection);
		return failure_set(failure, error, "libvirt", "cannot start the connection");
	}
	*ret_connection = connection;
	return 0;
}

struct connection *connection_free(struct connection *connection)
{
	int64_t until_ms;

	if (!connection)
		return NULL;
	pthread_mutex_lock(&connection->lock);
	connection->freed = true;
	pthread_cond_broadcast(&connection->work);
	pthread_cond_broadcast(&connection->supervise);
	pthread_cond_broadcast(&connection->clock);
	until_ms = now_ms() + connection->grace_ms;
	while (connection->threads && now_ms() < until_ms)
		wait_until(&connection->gone, &connection->lock, until_ms);
	pthread_mutex_unlock(&connection->lock);
	release(connection);
	return NULL;
}

int connection_fd(const struct connection *connection)
{
	return connection->fd;
}

enum connection_state connection_get_state(struct connection *connection, const char **ret_reason)
{
	if (ret_reason)
		*ret_reason = connection->seen_reason;
	return connection->seen_state;
}

unsigned connection_stuck_calls(struct connection *connection)
{
	unsigned stuck = 0;

	pthread_mutex_lock(&connection->lock);
	for (const struct job *job = connection->running; job; job = job->next)
		stuck += job->ending == NULL;
	pthread_mutex_unlock(&connection->lock);
	return stuck;
}

static int new_job(const struct connection_call *call, struct job **ret_job)
{
	struct job *job = calloc(1, sizeof(*job));
	int error = -ENOMEM;

	if (!job)
		return -ENOMEM;
	job->ending = calloc(1, sizeof(*job->ending));
	job->late = calloc(1, sizeof(*job->late));
	if (job->ending && job->late)
		error = connection_request_init(&job->request, call);
	if (error < 0) {
		free(job->ending);
		free(job->late);
		free(job);
		return error;
	}
	job->deadline_ms =
		now_ms() + (call->timeout_ms ? call->timeout_ms : CONNECTION_CALL_TIMEOUT_MS);
	*ret_job = job;
	return 0;
}

int connection_submit(struct connection *connection, const struct connection_call *call,
		      uint64_t *ret_call)
{
	struct job *job;
	int error = call->on_done ? new_job(call, &job) : -EINVAL;

	if (error < 0)
		return error;
	pthread_mutex_lock(&connection->lock);
	if (connection->jobs >= CONNECTION_MAX_CALLS) {
		pthread_mutex_unlock(&connection->lock);
		free_job(connection, job);
		return -EBUSY;
	}
	job->number = ++connection->last_number;
	if (ret_call)
		*ret_call = job->number;
	if (connection->link) {
		append_job(&connection->waiting, job);
		connection->jobs++;
		pthread_cond_signal(&connection->work);
		if (job->deadline_ms < connection->clock_wakes_ms)
			pthread_cond_signal(&connection->clock);
	} else {
		push_failure(connection, job, CONNECTION_NOT_UP, false, connection->reason);
		free_job(connection, job);
	}
	pthread_mutex_unlock(&connection->lock);
	return 0;
}

static void tell_event(struct connection *connection, const struct note *note)
{
	struct connection_event event = note->event;

	event.name = note->name ? note->name : "";
	event.alias = note->alias ? note->alias : "";
	event.text = note->text ? note->text : "";
	if (event.kind == CONNECTION_EVENT_CALL_RETURNED)
		event.text = note->event.text; /* a constant */
	if (event.kind == CONNECTION_EVENT_UP) {
		connection->seen_state = CONNECTION_STATE_UP;
		connection->seen_reason[0] = '\0';
	} else if (event.kind == CONNECTION_EVENT_DOWN) {
		connection->seen_state = CONNECTION_STATE_DOWN;
		snprintf(connection->seen_reason, sizeof(connection->seen_reason), "%s",
			 event.text);
	}
	if (connection->on_event)
		connection->on_event(connection->userdata, &event);
}

static void tell_ending(struct note *note)
{
	const struct connection_result result = {
		.kind = note->kind,
		.call = note->call,
		.outcome = note->answer.outcome,
		.in_flight = note->in_flight,
		.failure = note->answer.failure,
		.libvirt_code = note->answer.libvirt_code,
		.domains = note->answer.domains,
		.domain_count = note->answer.domain_count,
		.text = note->answer.text,
	};

	note->on_done(note->userdata, &result);
}

/*
 * What was dropped may have been UP or DOWN, where there was no memory for them: the gap stands for
 * both.
 */
static void see_gap(struct connection *connection)
{
	pthread_mutex_lock(&connection->lock);
	connection->gap_queued = false;
	connection->seen_state = connection->link ? CONNECTION_STATE_UP : CONNECTION_STATE_DOWN;
	snprintf(connection->seen_reason, sizeof(connection->seen_reason), "%s",
		 connection->link ? "" : connection->reason);
	pthread_mutex_unlock(&connection->lock);
}

void connection_dispatch(struct connection *connection)
{
	struct note *notes, *note;
	eventfd_t count;
	bool freed;

	pthread_mutex_lock(&connection->lock);
	if (eventfd_read(connection->fd, &count) < 0)
		count = 0; /* nothing to be read is what it says when called for no reason */
	notes = connection->first;
	connection->first = NULL;
	connection->last = &connection->first;
	connection->queued_events = 0;
	freed = connection->freed;
	pthread_mutex_unlock(&connection->lock);
	/* A callback may free the connection: the share keeps it until the end of this function. */
	acquire(connection);
	while ((note = notes)) {
		notes = note->next;
		if (note == &connection->gap)
			see_gap(connection);
		if (!freed) {
			if (note->on_done)
				tell_ending(note);
			else
				tell_event(connection, note);
			pthread_mutex_lock(&connection->lock);
			freed = connection->freed;
			pthread_mutex_unlock(&connection->lock);
		}
		free_note(connection, note);
	}
	release(connection);
}
