/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All is kept under one lock, which is taken a few times a call of many milliseconds. What a walk asks at every run of
 * pages is atomic beside it.
 */
#include "move_gate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "clock.h"
#include "snapshot.h"
#include "step.h"
#include "worker_control.h"

/* A node that has just been compacted has nothing more to give. */
#define COMPACT_AGAIN_US 10000000

struct move_gate {
	struct worker_control *control; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* of the monotonic clock */
	atomic_int error;	/* changed under the lock */
	bool is_paused;
	uint64_t bytes_per_s;
	uint32_t stall_us;
	unsigned limits; /* counted: who waits for an old budget asks anew */
	struct pace_ease ease;
	unsigned workers; /* threads that there are */
	struct pace_crew crew;
	struct pace_load load;
	unsigned inside; /* calls that have entered and not left */
	uint64_t moved_bytes;
	uint64_t paid_until_us[SNAPSHOT_NODES_MAX][SNAPSHOT_NODES_MAX];
	uint64_t compacted_at_us[SNAPSHOT_NODES_MAX];
	unsigned compactions;
};

int move_gate_new(struct worker_control *control, const struct step *step, struct move_gate **ret_gate)
{
	struct move_gate *gate = calloc(1, sizeof(*gate));
	pthread_condattr_t attributes;

	if (!gate)
		return -ENOMEM;
	gate->control = control;
	gate->bytes_per_s = step->budget_bytes_per_s;
	gate->stall_us = step->budget_stall_us;
	gate->workers = gate->crew.most = step->workers;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	*ret_gate = gate;
	move_gate_hear(gate);
	return 0;
}

struct move_gate *move_gate_free(struct move_gate *gate)
{
	if (!gate)
		return NULL;
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->lock);
	free(gate);
	return NULL;
}

void move_gate_hear(struct move_gate *gate)
{
	struct worker_control *control = gate->control;

	pthread_mutex_lock(&gate->lock);
	gate->is_paused = control->is_paused;
	if (control->has_limit && (gate->bytes_per_s != control->bytes_per_s || gate->stall_us != control->stall_us)) {
		gate->bytes_per_s = control->bytes_per_s;
		gate->stall_us = control->stall_us;
		gate->limits++;
		memset(gate->paid_until_us, 0, sizeof(gate->paid_until_us));
	}
	/* What the guest felt is one measurement: it counts once. */
	gate->ease = pace_ease_next(&gate->ease, gate->stall_us, control->guest_pause_us, monotonic_us());
	control->guest_pause_us = 0;
	if (gate->is_paused || gate->ease.level)
		pace_crew_forget(&gate->crew);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

void move_gate_note_load(struct move_gate *gate, const struct pace_load *load)
{
	pthread_mutex_lock(&gate->lock);
	pace_crew_limit(&gate->crew, pace_is_computing(&gate->load, load) ? 1 : gate->workers);
	gate->load = *load;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

void move_gate_shut(struct move_gate *gate, int error)
{
	pthread_mutex_lock(&gate->lock);
	if (!gate->error)
		gate->error = error;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

int move_gate_error(struct move_gate *gate)
{
	return gate->error;
}

void move_gate_reopen(struct move_gate *gate)
{
	gate->error = 0;
}

/* What ends the work, if anything does. The lock is held. */
static int error_of(const struct move_gate *gate)
{
	return gate->error ? gate->error : gate->control->is_cancelled ? -ECANCELED : 0;
}

/* Until that time, or a change. The lock is held. */
static void wait_until(struct move_gate *gate, uint64_t until_us)
{
	struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
				 .tv_nsec = (long)(until_us % 1000000) * 1000};

	pthread_cond_timedwait(&gate->changed, &gate->lock, &until);
}

/* The lock is held. Two calls at once are two pauses at once. */
static bool is_full(const struct move_gate *gate)
{
	unsigned allowed = gate->ease.level || !gate->crew.allowed ? 1 : gate->crew.allowed;

	/* Of one thread nobody waits for another. */
	return (gate->ease.level || gate->workers > 1) && gate->inside >= allowed;
}

int move_gate_enter(struct move_gate *gate, int source, int destination, uint64_t bytes)
{
	uint64_t *paid = &gate->paid_until_us[source][destination], until = 0;
	unsigned limits = 0;
	bool is_booked = false;
	int error;

	pthread_mutex_lock(&gate->lock);
	while (!error_of(gate)) {
		uint64_t now = monotonic_us();

		if (gate->is_paused || is_full(gate)) {
			pthread_cond_wait(&gate->changed, &gate->lock);
			continue;
		}
		if (!is_booked || limits != gate->limits) {
			until = now + pace_budget_take(paid, now, bytes, gate->bytes_per_s);
			limits = gate->limits;
			is_booked = true;
		}
		if (now >= until)
			break;
		wait_until(gate, until);
	}
	error = error_of(gate);
	gate->inside += !error;
	pthread_mutex_unlock(&gate->lock);
	return error;
}

void move_gate_leave(struct move_gate *gate, int source, int destination, uint64_t bytes, uint64_t moved_bytes)
{
	pthread_mutex_lock(&gate->lock);
	gate->moved_bytes += moved_bytes;
	gate->inside--;
	if (!gate->ease.level)
		gate->crew = pace_crew_next(&gate->crew, monotonic_us(), moved_bytes);
	pthread_cond_broadcast(&gate->changed);
	if (moved_bytes < bytes)
		pace_budget_return(&gate->paid_until_us[source][destination], bytes - moved_bytes, gate->bytes_per_s);
	pthread_mutex_unlock(&gate->lock);
}

int move_gate_wait(struct move_gate *gate, uint64_t pause_us)
{
	uint64_t until = monotonic_us() + pause_us;
	int error;

	pthread_mutex_lock(&gate->lock);
	while (!error_of(gate) && monotonic_us() < until)
		wait_until(gate, until);
	error = error_of(gate);
	pthread_mutex_unlock(&gate->lock);
	return error;
}

int move_gate_look(struct move_gate *gate)
{
	int error;

	pthread_mutex_lock(&gate->lock);
	error = error_of(gate);
	if (!error && gate->is_paused)
		error = -EAGAIN;
	pthread_mutex_unlock(&gate->lock);
	return error;
}

int move_gate_pass(struct move_gate *gate)
{
	int error;

	pthread_mutex_lock(&gate->lock);
	while (!(error = error_of(gate)) && gate->is_paused)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
	return error;
}

bool move_gate_is_open(struct move_gate *gate)
{
	return !gate->error;
}

uint64_t move_gate_moved_bytes(struct move_gate *gate)
{
	uint64_t bytes;

	pthread_mutex_lock(&gate->lock);
	bytes = gate->moved_bytes;
	pthread_mutex_unlock(&gate->lock);
	return bytes;
}

uint64_t move_gate_bytes_per_s(struct move_gate *gate)
{
	uint64_t bytes_per_s;

	pthread_mutex_lock(&gate->lock);
	bytes_per_s = gate->bytes_per_s;
	pthread_mutex_unlock(&gate->lock);
	return bytes_per_s;
}

struct pace_ease move_gate_ease(struct move_gate *gate)
{
	struct pace_ease ease;

	pthread_mutex_lock(&gate->lock);
	ease = gate->ease;
	pthread_mutex_unlock(&gate->lock);
	return ease;
}

bool move_gate_is_trying(struct move_gate *gate)
{
	bool is_trying;

	pthread_mutex_lock(&gate->lock);
	is_trying = gate->crew.allowed != gate->crew.best;
	pthread_mutex_unlock(&gate->lock);
	return is_trying;
}

bool move_gate_is_careful(struct move_gate *gate)
{
	bool is_careful;

	pthread_mutex_lock(&gate->lock);
	is_careful = gate->crew.is_first;
	pthread_mutex_unlock(&gate->lock);
	return is_careful;
}

bool move_gate_may_compact(struct move_gate *gate, int node_id)
{
	uint64_t now = monotonic_us(), *last = &gate->compacted_at_us[node_id];
	bool may;

	pthread_mutex_lock(&gate->lock);
	may = !*last || now - *last >= COMPACT_AGAIN_US;
	if (may)
		*last = now;
	pthread_mutex_unlock(&gate->lock);
	return may;
}

void move_gate_compacted(struct move_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->compactions++;
	pthread_mutex_unlock(&gate->lock);
}

unsigned move_gate_compactions(struct move_gate *gate)
{
	unsigned compactions;

	pthread_mutex_lock(&gate->lock);
	compactions = gate->compactions;
	pthread_mutex_unlock(&gate->lock);
	return compactions;
}
