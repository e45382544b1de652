/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing in the loop: one lease at a time, in a child, never beside an evacuation. While the kernel does not end a child of
 * ours, maybe for ever, only what cannot hang is undone.
 */
#include "agent_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "failure.h"
#include "undo.h"

/* Growing a pool may compact all of memory; a block comes online within a second. What is not done
 * then is reported and, for pools, still owed. */
#define UNDO_DEADLINE_MS 120000
/* Whoever released a lease waits half a minute for an answer (service/operation/step_agent.c), and its
 * hooks may have more than that. All else is undone by then. */
#define HOOKS_ANSWER_MS 15000

void agent_undo_init(struct agent *agent)
{
	child_job_init(&agent->undo.job, -1);
}

void agent_undo_done(struct agent *agent)
{
	child_job_done(&agent->undo.job);
	hooks_done(&agent->undo.hooks);
	lease_entries_done(&agent->undo.entries);
}

bool agent_undo_is_idle(const struct agent *agent)
{
	return agent->undo.kind == AGENT_UNDO_NONE && child_job_is_idle(&agent->undo.job);
}

static struct child_job_result run(void *argument)
{
	struct agent *agent = argument;

	return undo_run(agent->sysroot, &agent->undo.entries);
}

static void save(struct agent *agent)
{
	struct failure failure;
	char text[512];

	if (lease_book_save(&agent->book, &failure) < 0)
		agent_log("%s", failure_format(&failure, text, sizeof(text)));
}

static int copy_entries(struct lease_entries *to, const struct lease_entries *from)
{
	lease_entries_done(to);
	for (size_t i = 0; i < from->count; i++) {
		int error = lease_entries_add(to, &from->items[i]);

		if (error < 0)
			return error;
	}
	return 0;
}

static void answer(struct agent *agent, const struct agent_answer *to,
		   const struct child_job_result *result, uint64_t gained, uint64_t missing)
{
	bool whole = result->outcome == 0 && missing == 0;
	char text[LIMIT_TEXT] = "";

	if (!whole)
		snprintf(text, sizeof(text),
			 "%d changes could not be undone; huge pages of %" PRIu64
			 " bytes are still owed",
			 result->outcome, missing);
	else
		snprintf(text, sizeof(text), "%s", agent->undo.hooks.text);
	agent_verbs_send_result(agent, to->epoch, to->request_id,
				whole ? MESSAGE_RESULT_OK : MESSAGE_RESULT_PARTIAL, result->error,
				gained, "%s", text);
}

static void answer_release(struct agent *agent, uint64_t lease_id,
			   const struct child_job_result *result, uint64_t gained, uint64_t missing)
{
	for (size_t i = 0; i < LIMIT_LEASES; i++) {
		struct agent_release *release = &agent->releases[i];

		if (!release->answer.pending || release->lease_id != lease_id)
			continue;
		release->answer.pending = false;
		answer(agent, &release->answer, result, gained, missing);
	}
}

static void finish_lease(struct agent *agent, const struct child_job_result *result,
			 uint64_t now_ms)
{
	struct lease *lease = lease_book_find(&agent->book, agent->undo.lease_id);
	uint64_t gained = 0, missing = 0;

	undo_review(agent->sysroot, &agent->undo.entries, &agent->book.taken, &gained, &missing);
	if (agent->undo.entries.count > 0)
		agent_log("lease %" PRIu64 " undone: %zu changes, %d failed, huge pages of %" PRIu64
			  " bytes still owed",
			  agent->undo.lease_id, agent->undo.entries.count, result->outcome,
			  missing);
	for (size_t i = 0; lease && i < lease->entries.count;) {
		struct lease_entry *entry = &lease->entries.items[i];

		if (undo_is_done(agent->sysroot, entry))
			lease_entries_remove(&lease->entries, entry);
		else
			i++;
	}
	if (lease && lease->entries.count > 0)
		lease_book_retry(&agent->book, lease, now_ms);
	else if (lease)
		lease_book_remove(&agent->book, lease);
	save(agent);
	if (agent->undo.hooks.text[0])
		agent_log("lease %" PRIu64 ": %s", agent->undo.lease_id, agent->undo.hooks.text);
	answer_release(agent, agent->undo.lease_id, result, gained, missing);
}

/* What was to be given back is no longer owed, but for what is still missing. */
static void finish_taken(struct agent *agent, const struct child_job_result *result)
{
	struct lease_entries *taken = &agent->book.taken;
	uint64_t gained = 0, missing = 0;

	for (size_t i = 0; i < agent->undo.entries.count; i++) {
		const struct lease_entry *entry = &agent->undo.entries.items[i];
		struct lease_entry *owed =
			lease_entries_find(taken, LEASE_POOL, entry->node_id, entry->key);

		if (owed && owed->took <= entry->took)
			lease_entries_remove(taken, owed);
		else if (owed)
			owed->took -= entry->took;
	}
	undo_review(agent->sysroot, &agent->undo.entries, taken, &gained, &missing);
	save(agent);
	answer(agent, &agent->undo.answer, result, gained, missing);
}

/* Where hooks ran before, and the lease has not forgotten them. */
static bool begin_hooks(struct agent *agent, uint64_t now_ms)
{
	struct agent_undo *undo = &agent->undo;
	const struct lease_entry *told = lease_entries_find(&undo->entries, LEASE_HOOKS, -1, 0);
	struct hooks_order order = {.is_after = true};

	if (undo->kind != AGENT_UNDO_LEASE || !told)
		return false;
	order.was_kept = told->took > 0;
	order.bytes = told->old;
	for (size_t i = 0; i < undo->entries.count; i++) {
		const struct lease_entry *entry = &undo->entries.items[i];

		if (entry->kind == LEASE_HOOK_RANGE && order.range_count < LIMIT_RANGES)
			order.ranges[order.range_count++] =
				(struct message_range){entry->key, entry->old};
	}
	return hooks_begin(&undo->hooks, &order) &&
	       hooks_start_next(&undo->hooks, &undo->job, now_ms, UINT64_MAX);
}

static void finish(struct agent *agent, const struct child_job_result *result, uint64_t now_ms)
{
	if (agent->undo.kind == AGENT_UNDO_LEASE)
		finish_lease(agent, result, now_ms);
	else
		finish_taken(agent, result);
	lease_entries_done(&agent->undo.entries);
	agent->undo.kind = AGENT_UNDO_NONE;
	agent->undo.in_hooks = false;
	agent->undo.hooks.text[0] = '\0';
}

/* All else is undone. */
static void go_on(struct agent *agent, const struct child_job_result *result, uint64_t now_ms)
{
	agent->undo.result = *result;
	agent->undo.hooks_since_ms = now_ms;
	agent->undo.in_hooks = begin_hooks(agent, now_ms);
	if (!agent->undo.in_hooks)
		finish(agent, result, now_ms);
}

static void start(struct agent *agent, uint64_t now_ms)
{
	struct child_job_result nothing = {0};

	undo_prepare(agent->sysroot, &agent->undo.entries);
	if (agent->undo.entries.count == 0) {
		go_on(agent, &nothing, now_ms);
		return;
	}
	int error = child_job_start(&agent->undo.job, run, agent, now_ms + UNDO_DEADLINE_MS);

	if (error < 0) {
		/* No process to be had: do it here, rather than not at all. */
		struct child_job_result result = undo_run(agent->sysroot, &agent->undo.entries);

		go_on(agent, &result, now_ms);
	}
}

static bool holds_stuck_child(const struct agent *agent)
{
	return (agent->evacuate.stage == EVACUATE_STAGE_IDLE && !child_job_is_idle(&agent->evacuate.job)) ||
	       (agent->repair.stage == REPAIR_STAGE_IDLE && !child_job_is_idle(&agent->repair.job)) ||
	       (agent->undo.kind == AGENT_UNDO_NONE && !child_job_is_idle(&agent->undo.job));
}

/* True: one was put back. One that the kernel refuses is tried again with all else. */
static bool undo_settings_of(struct agent *agent, struct lease *lease)
{
	bool any = false;

	for (size_t i = 0; i < lease->entries.count;) {
		struct lease_entry *entry = &lease->entries.items[i];
		const struct lease_entries only = {.items = entry, .count = 1};

		if (lease_kind_is_setting(entry->kind) && undo_run(agent->sysroot, &only).outcome == 0) {
			lease_entries_remove(&lease->entries, entry);
			any = true;
		} else {
			i++;
		}
	}
	return any;
}

/* A lease with nothing else has ended by that; of the others blocks, pools and hooks wait. */
static void undo_settings(struct agent *agent, uint64_t now_ms)
{
	static const struct child_job_result done;

	for (size_t i = 0; i < agent->book.count;) {
		struct lease *lease = &agent->book.leases[i];
		uint64_t id = lease->id;

		if (!lease->ending) {
			i++;
			continue;
		}
		lease_book_hand_over(&agent->book, lease);
		bool any = undo_settings_of(agent, lease);

		if (lease->entries.count > 0) {
			i++;
		} else {
			lease_book_remove(&agent->book, lease);
			answer_release(agent, id, &done, 0, 0);
			any = true;
		}
		if (any) {
			save(agent);
			agent_log("lease %" PRIu64 ": settings undone beside a child that is stuck in the kernel", id);
		}
	}
}

void agent_undo_begin(struct agent *agent, uint64_t now_ms)
{
	if (holds_stuck_child(agent))
		undo_settings(agent, now_ms);
	while (agent_undo_is_idle(agent) && evacuate_is_idle(&agent->evacuate) && repair_is_idle(&agent->repair)) {
		struct lease *lease = lease_book_ending(&agent->book, now_ms);

		if (!lease)
			return;
		lease_book_hand_over(&agent->book, lease);
		if (copy_entries(&agent->undo.entries, &lease->entries) < 0) {
			agent_log("lease %" PRIu64 ": no memory to undo it now", lease->id);
			return;
		}
		agent->undo.kind = AGENT_UNDO_LEASE;
		agent->undo.lease_id = lease->id;
		start(agent, now_ms);
	}
}

/*
 * A pool that is smaller than the commit left it was changed by its owner since: what he set counts, and nothing is
 * owed to it any more.
 */
static bool owner_has_changed_pool(const struct agent *agent, const struct lease_entry *entry)
{
	struct hugepage_pool pool;

	return entry->old && hugepage_pool_read(agent->sysroot, entry->node_id, entry->key, &pool) == 0 &&
	       hugepages_persistent(&pool) + entry->took < entry->old;
}

int agent_undo_restore(struct agent *agent, uint64_t limit_bytes, const struct agent_answer *answer,
		       uint64_t now_ms)
{
	uint64_t left = limit_bytes ? limit_bytes : UINT64_MAX;

	if (!agent_undo_is_idle(agent) || !evacuate_is_idle(&agent->evacuate) || !repair_is_idle(&agent->repair))
		return -EBUSY;
	lease_entries_done(&agent->undo.entries);
	for (size_t i = 0; i < agent->book.taken.count; i++) {
		struct lease_entry entry = agent->book.taken.items[i];

		if (owner_has_changed_pool(agent, &entry)) {
			lease_entries_remove(&agent->book.taken, &agent->book.taken.items[i--]);
			continue;
		}
		if (entry.took > left / entry.key)
			entry.took = left / entry.key;
		if (entry.took == 0)
			continue;
		left -= entry.took * entry.key;
		int error = lease_entries_add(&agent->undo.entries, &entry);

		if (error < 0)
			return error;
	}
	agent->undo.kind = AGENT_UNDO_TAKEN;
	agent->undo.answer = *answer;
	start(agent, now_ms);
	return 0;
}

/* What they still say is in the log alone. */
static void answer_before_hooks_end(struct agent *agent)
{
	uint64_t gained = 0, missing = 0;

	undo_review(agent->sysroot, &agent->undo.entries, NULL, &gained, &missing);
	answer_release(agent, agent->undo.lease_id, &agent->undo.result, gained, missing);
}

void agent_undo_step(struct agent *agent, uint64_t now_ms)
{
	struct child_job_result result = {0};
	enum child_job_state state = child_job_poll(&agent->undo.job, now_ms, &result);

	if (agent->undo.in_hooks && state == CHILD_JOB_RUNNING &&
	    now_ms - agent->undo.hooks_since_ms >= HOOKS_ANSWER_MS)
		answer_before_hooks_end(agent);
	if (agent->undo.in_hooks && state != CHILD_JOB_IDLE && state != CHILD_JOB_RUNNING) {
		hooks_end_one(&agent->undo.hooks, state, &result);
		if (!hooks_start_next(&agent->undo.hooks, &agent->undo.job, now_ms, UINT64_MAX))
			finish(agent, &agent->undo.result, now_ms);
		return;
	}
	switch (state) {
	case CHILD_JOB_IDLE:
	case CHILD_JOB_RUNNING:
		return;
	case CHILD_JOB_KILLED:
	case CHILD_JOB_CRASHED:
	case CHILD_JOB_STUCK:
		result = (struct child_job_result){.outcome = 1, .error = ETIMEDOUT};
		break;
	case CHILD_JOB_DONE:
		break;
	}
	/* A stuck child is told of once. */
	if (agent->undo.kind != AGENT_UNDO_NONE)
		go_on(agent, &result, now_ms);
}
