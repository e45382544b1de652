/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's thread turns records into rows and queues them; the journal's thread writes whatever
 * is queued in one transaction, so that a burst costs one fsync, and hands the answers back through
 * an eventfd. Order is never changed. Rows that belong together (journal_begin()) are never split
 * over two transactions.
 *
 *	loop:    put -> queue                        fd readable -> dispatch -> written()
 *	thread:         queue -> BEGIN, rows, COMMIT -> answered
 */
#include "journal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "journal_priv.h"
#include "journal_store.h"

/* In one transaction: enough for any burst, few enough that an answer does not wait for a long one.
 */
#define JOURNAL_BATCH_MAX 64

struct journal_write {
	struct journal_write *next;
	struct journal_row row;
	bool joined; /* the next one is in the same transaction */
	journal_written_fn *written;
	void *user;
	int error;
	struct failure failure;
};

struct journal_queue {
	struct journal_write *first, **end;
};

struct journal {
	struct journal_store *writer; /* owned; the journal's thread alone */
	struct journal_store *reader; /* owned; the loop's thread alone */
	int event_fd;
	pthread_t thread;
	bool thread_started;
	unsigned nesting;	       /* of journal_begin(), the loop's thread alone */
	struct journal_queue gathered; /* between begin and end */
	pthread_mutex_t mutex;	       /* guards what follows */
	pthread_cond_t changed;
	struct journal_queue queued, answered;
	size_t pending;
	bool closing;
	bool dead;	       /* a gate has ended it */
	journal_gate_fn *gate; /* borrowed; tests only */
	void *gate_user;
	unsigned long gate_number;
};

static void queue_init(struct journal_queue *queue)
{
	queue->first = NULL;
	queue->end = &queue->first;
}

static void queue_add(struct journal_queue *queue, struct journal_write *write)
{
	write->next = NULL;
	*queue->end = write;
	queue->end = &write->next;
}

static void queue_append(struct journal_queue *queue, struct journal_queue *more)
{
	if (!more->first)
		return;
	*queue->end = more->first;
	queue->end = more->end;
	queue_init(more);
}

static struct journal_write *queue_take(struct journal_queue *queue)
{
	struct journal_write *write = queue->first;

	if (write) {
		queue->first = write->next;
		if (!queue->first)
			queue->end = &queue->first;
		write->next = NULL;
	}
	return write;
}

static void write_free(struct journal_write *write)
{
	journal_row_done(&write->row);
	free(write);
}

static void queue_free(struct journal_queue *queue)
{
	struct journal_write *write;

	while ((write = queue_take(queue)))
		write_free(write);
}

/* Moves the first group of joined writes. */
static void queue_take_group(struct journal_queue *queue, struct journal_queue *into, size_t *count)
{
	bool joined;

	do {
		struct journal_write *write = queue_take(queue);

		if (!write)
			return;
		joined = write->joined;
		queue_add(into, write);
		++*count;
	} while (joined);
}

static void queue_answer(struct journal_queue *queue, int error, const struct failure *failure)
{
	for (struct journal_write *write = queue->first; write; write = write->next) {
		write->error = error;
		if (error)
			write->failure = *failure;
	}
}

/* One transaction; every write gets its answer. */
static int write_all(struct journal *journal, struct journal_queue *batch)
{
	struct failure failure = {0};
	int r = journal_store_begin(journal->writer, &failure);

	for (struct journal_write *write = batch->first; write && r == 0; write = write->next)
		r = journal_store_write(journal->writer, &write->row, &failure);
	if (r == 0)
		r = journal_store_commit(journal->writer, &failure);
	if (r < 0)
		journal_store_rollback(journal->writer);
	queue_answer(batch, r, &failure);
	return r;
}

/* After a batch has failed: one transaction a group, so that only the one at fault is refused. */
static void write_each(struct journal *journal, struct journal_queue *batch)
{
	struct journal_queue group, all;
	size_t count = 0;

	queue_init(&all);
	while (batch->first) {
		queue_init(&group);
		queue_take_group(batch, &group, &count);
		write_all(journal, &group);
		queue_append(&all, &group);
	}
	queue_append(batch, &all);
}

static enum journal_gate gate_ask(struct journal *journal, struct journal_queue *batch)
{
	static const struct failure refused = {.error = ENOSPC,
					       .code = "journal_failed",
					       .object = "journal",
					       .action = "cannot write",
					       .cause = "No space left on device"};
	enum journal_gate gate = journal->gate(journal->gate_user, ++journal->gate_number);

	if (gate == JOURNAL_GATE_REFUSE)
		queue_answer(batch, -ENOSPC, &refused);
	return gate;
}

static void answer(struct journal *journal, struct journal_queue *batch)
{
	uint64_t one = 1;

	queue_append(&journal->answered, batch);
	/*
	 * It can only fail with the counter at its limit, and then the descriptor is readable
	 * anyway.
	 */
	if (write(journal->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void *journal_main(void *argument)
{
	struct journal *journal = argument;

	pthread_mutex_lock(&journal->mutex);
	for (;;) {
		enum journal_gate gate = JOURNAL_GATE_PASS;
		struct journal_queue batch;
		size_t count = 0, limit;

		while (!journal->queued.first && !journal->closing)
			pthread_cond_wait(&journal->changed, &journal->mutex);
		if (!journal->queued.first)
			break;
		queue_init(&batch);
		limit = journal->gate ? 1 : JOURNAL_BATCH_MAX;
		while (count < limit && journal->queued.first)
			queue_take_group(&journal->queued, &batch, &count);
		if (journal->dead) {
			queue_free(&batch);
			continue;
		}
		pthread_mutex_unlock(&journal->mutex);
		if (journal->gate)
			gate = gate_ask(journal, &batch);
		if (gate == JOURNAL_GATE_PASS || gate == JOURNAL_GATE_UNANSWERED) {
			if (write_all(journal, &batch) < 0)
				write_each(journal, &batch);
		}
		pthread_mutex_lock(&journal->mutex);
		if (gate == JOURNAL_GATE_LOST || gate == JOURNAL_GATE_UNANSWERED) {
			journal->dead = true;
			queue_free(&batch);
		} else {
			answer(journal, &batch);
		}
	}
	pthread_mutex_unlock(&journal->mutex);
	return NULL;
}

/* The loop's signals are not for this thread. */
static int start_thread(struct journal *journal)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&journal->thread, NULL, journal_main, journal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return -error;
	pthread_setname_np(journal->thread, "journal");
	journal->thread_started = true;
	return 0;
}

int journal_open(const char *path, struct journal **ret_journal, struct failure *failure)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int r;

	if (!journal)
		return failure_set(failure, ENOMEM, path, "cannot open the journal");
	journal->event_fd = -1;
	pthread_mutex_init(&journal->mutex, NULL);
	pthread_cond_init(&journal->changed, NULL);
	queue_init(&journal->gathered);
	queue_init(&journal->queued);
	queue_init(&journal->answered);
	r = journal_store_open(path, true, &journal->writer, failure);
	if (r == 0)
		r = journal_store_open(path, false, &journal->reader, failure);
	if (r == 0) {
		journal->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (journal->event_fd < 0)
			r = failure_set(failure, errno, path, "cannot open the journal");
	}
	if (r == 0) {
		r = start_thread(journal);
		if (r < 0)
			failure_set(failure, r, path, "cannot start the journal's thread");
	}
	if (r < 0) {
		journal_close(journal);
		return r;
	}
	*ret_journal = journal;
	return 0;
}

struct journal *journal_close(struct journal *journal)
{
	if (!journal)
		return NULL;
	if (journal->thread_started) {
		pthread_mutex_lock(&journal->mutex);
		queue_append(&journal->queued, &journal->gathered);
		journal->closing = true;
		pthread_cond_signal(&journal->changed);
		pthread_mutex_unlock(&journal->mutex);
		pthread_join(journal->thread, NULL);
	}
	queue_free(&journal->gathered);
	queue_free(&journal->queued);
	queue_free(&journal->answered);
	journal_store_close(journal->reader);
	journal_store_close(journal->writer);
	if (journal->event_fd >= 0)
		close(journal->event_fd);
	pthread_cond_destroy(&journal->changed);
	pthread_mutex_destroy(&journal->mutex);
	free(journal);
	return NULL;
}

int journal_fd(const struct journal *journal)
{
	return journal->event_fd;
}

void journal_dispatch(struct journal *journal)
{
	struct journal_queue answered;
	struct journal_write *write;
	uint64_t count;

	queue_init(&answered);
	/* Nothing there is no error: the descriptor does not block, and a wake-up may come twice.
	 */
	if (read(journal->event_fd, &count, sizeof(count)) < 0)
		count = 0;
	pthread_mutex_lock(&journal->mutex);
	queue_append(&answered, &journal->answered);
	pthread_mutex_unlock(&journal->mutex);
	while ((write = queue_take(&answered))) {
		pthread_mutex_lock(&journal->mutex);
		journal->pending--;
		pthread_mutex_unlock(&journal->mutex);
		if (write->written)
			write->written(write->user, write->error,
				       write->error ? &write->failure : NULL);
		write_free(write);
	}
}

void journal_begin(struct journal *journal)
{
	journal->nesting++;
}

/* Hands what was gathered to the thread, as one transaction. */
static void submit(struct journal *journal)
{
	if (!journal->gathered.first)
		return;
	for (struct journal_write *write = journal->gathered.first; write; write = write->next)
		write->joined = write->next != NULL;
	pthread_mutex_lock(&journal->mutex);
	for (struct journal_write *write = journal->gathered.first; write; write = write->next)
		journal->pending++;
	queue_append(&journal->queued, &journal->gathered);
	pthread_cond_signal(&journal->changed);
	pthread_mutex_unlock(&journal->mutex);
}

void journal_end(struct journal *journal)
{
	if (--journal->nesting == 0)
		submit(journal);
}

/* Takes the row over. */
static int put_row(struct journal *journal, int error, const struct journal_row *row,
		   journal_written_fn *written, void *user)
{
	struct journal_write *write;
	struct journal_row taken = *row;

	if (error)
		return error;
	write = calloc(1, sizeof(*write));
	if (!write) {
		journal_row_done(&taken);
		return -ENOMEM;
	}
	write->row = taken;
	write->written = written;
	write->user = user;
	queue_add(&journal->gathered, write);
	if (journal->nesting == 0)
		submit(journal);
	return 0;
}

int journal_put_operation(struct journal *journal, const struct operation_record *operation,
			  journal_written_fn *written, void *user)
{
	struct journal_row row = {0};
	int r = journal_row_operation(operation, &row);

	return put_row(journal, r, &row, written, user);
}

int journal_put_step(struct journal *journal, const struct operation_record *operation,
		     const struct step_record *step, journal_written_fn *written, void *user)
{
	struct journal_row row = {0};
	int r = journal_row_step(operation, step, &row);

	return put_row(journal, r, &row, written, user);
}

int journal_put_drain(struct journal *journal, const struct drain_record *drain,
		      journal_written_fn *written, void *user)
{
	struct journal_row row = {0};
	int r = journal_row_drain(drain, &row);

	return put_row(journal, r, &row, written, user);
}

int journal_put_rate(struct journal *journal, enum rate_kind kind, const struct measured_rate *rate,
		     journal_written_fn *written, void *user)
{
	struct journal_row row = {0};
	int r = journal_row_rate(kind, rate, &row);

	return put_row(journal, r, &row, written, user);
}

int journal_put_hint(struct journal *journal, const struct hint_record *hint, journal_written_fn *written, void *user)
{
	struct journal_row row = {0};
	int r = journal_row_hint(hint, &row);

	return put_row(journal, r, &row, written, user);
}

int journal_load_operations(struct journal *journal, bool only_open, const char *before_id,
			    size_t count, struct operation_record ***ret_records, size_t *ret_count,
			    struct failure *failure)
{
	return journal_store_load_operations(journal->reader, only_open, before_id, count,
					     ret_records, ret_count, failure);
}

int journal_load_operation(struct journal *journal, const char *id,
			   struct operation_record **ret_record, struct failure *failure)
{
	return journal_store_load_operation(journal->reader, id, ret_record, failure);
}

int journal_load_rates(struct journal *journal, struct measured_rates *ret_rates, struct failure *failure)
{
	return journal_store_load_rates(journal->reader, ret_rates, failure);
}

int journal_load_hints(struct journal *journal, struct hint_record *ret_hints, size_t count, size_t *ret_count,
		       struct failure *failure)
{
	return journal_store_load_hints(journal->reader, ret_hints, count, ret_count, failure);
}

int journal_load_drains(struct journal *journal, struct drain_record **ret_drains,
			size_t *ret_count, struct failure *failure)
{
	return journal_store_load_drains(journal->reader, ret_drains, ret_count, failure);
}

int journal_find_key(struct journal *journal, const char *actor, const char *key,
		     struct operation_record **ret_record, struct failure *failure)
{
	return journal_store_load_key(journal->reader, actor, key, ret_record, failure);
}

void journal_set_gate(struct journal *journal, journal_gate_fn *gate, void *user)
{
	pthread_mutex_lock(&journal->mutex);
	journal->gate = gate;
	journal->gate_user = user;
	pthread_mutex_unlock(&journal->mutex);
}

size_t journal_pending(struct journal *journal)
{
	size_t pending;

	pthread_mutex_lock(&journal->mutex);
	pending = journal->pending;
	pthread_mutex_unlock(&journal->mutex);
	return pending;
}
