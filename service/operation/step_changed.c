/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before the first of a move's steps is undone: has somebody else changed where its guest belongs since?
 *
 *	policies -> cpusets -> undo
 *	    |          |
 *	    +----------+-> changed: nothing is undone, and the remainder tells it
 *
 * What cannot be looked at has not been changed: the undo will meet with the same.
 *
 * A move that sets neither looks at both likewise before it moves pages, and writes down what it finds: by that it is told
 * later.
 */
#include "step_runner_priv.h"

#include <errno.h>
#include <stdio.h>
#include "guest_look.h"

#define LOOK_MS 60000

/* The first of its steps to be undone tells it for all: from then on it is not what it was. */
static bool is_due(const struct operation_record *operation, const struct step_record *record)
{
	if (operation->wish.kind != OPERATION_KIND_MOVE || !step_places_guest(&record->step) || record->undo_failed)
		return false;
	for (size_t i = 0; i < operation->step_count; i++)
		if (operation->steps[i].n > record->n && operation->steps[i].state == STEP_STATE_UNDONE &&
		    step_places_guest(&operation->steps[i].step))
			return false;
	return true;
}

static void go_on(struct step_run *run)
{
	run->changes = placement_change_free(run->changes);
	step_run_begin(run);
}

static void end_changed(struct step_run *run, const char *detail)
{
	char object[96];

	snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
	remainder_list_add(&run->outcome.remainder, REMAINDER_CHANGED_SINCE, object, 0, NULL, "%s: it is left so", detail);
	step_run_done(run, detail);
}

static uint64_t memory_nodes(const struct snapshot *snapshot)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].has_memory)
			nodes |= UINT64_C(1) << snapshot->nodes[i].id;
	return nodes;
}

/* What such a step would replace now. False: nobody can tell. */
static bool look(struct step_run *run, const struct step *step, enum step_kind kind, worker_result_fn *looked)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	struct worker_job job = {.kind = WORKER_JOB_BEFORE, .deadline_ms = LOOK_MS};
	struct failure failure = {0};
	int r = -ESRCH;

	if (step && guest && guest->pid > 0)
		r = step_copy(step, &job.step);
	if (r == 0) {
		job.step.kind = kind;
		job.process = (struct worker_process){guest->pid, guest->start_time};
		guest_look_ram_sizes(guest, &job);
		r = worker_pool_start(run->runner->options.pool, &job, NULL, looked, run, &run->worker, &failure);
	}
	worker_job_done(&job);
	return r == 0;
}

/* False: it has ended by that. */
static bool is_wanted_still(struct step_run *run)
{
	run->worker = NULL;
	if (!run->cancelled)
		return true;
	step_run_fail(run, REMAINDER_CANCELLED, 0, "ended by request");
	return false;
}

/* ---- a prepare ---- */

/* Adds what was found to what the step has written down, and goes on with what is still owed. */
static void take_found(struct step_run *run, const struct worker_result *result, const char *key)
{
	json_t *found = result->outcome == WORKER_OUTCOME_DONE ? json_object_get(result->values, key) : NULL;

	run->worker = NULL;
	if (found && json_object_set(run->before, key, found)) {
		struct failure failure = {0};

		failure_set(&failure, ENOMEM, run->step.guest_name, "cannot write down where its memory belongs");
		step_run_prepared(run, -ENOMEM, &failure);
		return;
	}
	step_changed_prepared(run);
}

static void on_groups_found(void *user, const struct worker_result *result)
{
	take_found(user, result, "groups");
}

static void on_ranges_found(void *user, const struct worker_result *result)
{
	take_found(user, result, "ranges");
}

void step_changed_prepared(struct step_run *run)
{
	struct placement_owed owed = run->owed;

	/* Asked for once, whatever comes of it. */
	if (owed.policies) {
		run->owed.policies = false;
		if (look(run, &run->step, STEP_KIND_MEMORY_POLICY, on_ranges_found))
			return;
	}
	if (owed.cpusets) {
		run->owed.cpusets = false;
		if (look(run, &run->step, STEP_KIND_CPUSET, on_groups_found))
			return;
	}
	step_run_prepared(run, 0, NULL);
}

/* ---- an undo ---- */

static void on_cpusets(void *user, const struct worker_result *result)
{
	struct step_run *run = user;
	const struct snapshot *snapshot = look_snapshot(run->runner->options.look);
	char detail[160];

	if (!is_wanted_still(run))
		return;
	if (result->outcome == WORKER_OUTCOME_DONE &&
	    placement_change_in_cpusets(run->changes, result->values, memory_nodes(snapshot),
					snapshot_held_nodes(snapshot, NULL), detail))
		end_changed(run, detail);
	else
		go_on(run);
}

static void look_at_cpusets(struct step_run *run)
{
	if (!look(run, placement_change_cpuset_step(run->changes), STEP_KIND_CPUSET, on_cpusets))
		go_on(run);
}

static void on_policies(void *user, const struct worker_result *result)
{
	struct step_run *run = user;
	char detail[160];

	if (!is_wanted_still(run))
		return;
	if (result->outcome == WORKER_OUTCOME_DONE &&
	    placement_change_in_policies(run->changes, result->values,
					 memory_nodes(look_snapshot(run->runner->options.look)), detail))
		end_changed(run, detail);
	else
		look_at_cpusets(run);
}

void step_changed_begin(struct step_run *run, const struct operation_record *operation, const struct step_record *record)
{
	const struct snapshot_guest *guest = step_run_guest(run);

	if (is_due(operation, record) && guest && guest->pid > 0) {
		run->changes = placement_change_new(operation, guest);
		if (!run->changes) {
			step_run_fail(run, REMAINDER_INVALID, 0, "out of memory");
			return;
		}
	}
	if (!run->changes)
		step_run_begin(run);
	else if (!look(run, placement_change_policy_step(run->changes), STEP_KIND_MEMORY_POLICY, on_policies))
		look_at_cpusets(run);
}
