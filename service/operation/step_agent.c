/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that the guest's agent runs. All of an operation's changes in the guest stand under one lease, whose number
 * is made from the operation's id: so a daemon that was restarted can still end it.
 */
#include "step_runner_priv.h"

#include <errno.h>
#include <string.h>
#include "agent_link.h"
#include "message.h"

/* How long the agent's changes outlive the operation's deadline when the host is not heard of any more. */
#define LEASE_GRACE_MS	  30000u
#define LEASE_FALLBACK_MS 600000u
/* An answer travels a guest under pressure: what the agent was given, and this. */
#define ANSWER_GRACE_MS 10000u
/* Giving back regrows pools and onlines blocks; longer than this the lease sees to it. */
#define RELEASE_MS	30000u
/* One block that goes takes a second at most, in a guest that has the processor. */
#define BLOCKS_LEAST   4
#define BLOCK_LEAST_MS 10000u

static uint64_t lease_of(const char *operation)
{
	/* FNV-1a */
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *operation; operation++)
		hash = (hash ^ (unsigned char)*operation) * UINT64_C(0x100000001b3);
	return hash ? hash : 1;
}

static struct message_lease lease(const struct step_run *run)
{
	uint64_t ms = (uint64_t)step_run_left_ms(run, LEASE_FALLBACK_MS) + LEASE_GRACE_MS;

	return (struct message_lease){.id = lease_of(run->operation),
				      .lease_ms = ms > LIMIT_LEASE_MS ? LIMIT_LEASE_MS : (uint32_t)ms};
}

static enum remainder_code code_of(enum message_reason reason)
{
	switch (reason) {
	case MESSAGE_REASON_HUGE_PAGES_IN_USE:
		return REMAINDER_HUGE_PAGES_IN_USE;
	case MESSAGE_REASON_HUGE_PAGES_FLOOR:
		return REMAINDER_BELOW_FLOOR;
	case MESSAGE_REASON_PINNED:
		return REMAINDER_PINNED;
	case MESSAGE_REASON_KERNEL_MEMORY:
	case MESSAGE_REASON_NOT_REMOVABLE:
	case MESSAGE_REASON_NOT_CANDIDATE:
		return REMAINDER_KERNEL_ZONE;
	case MESSAGE_REASON_TIMED_OUT:
		return REMAINDER_DEADLINE;
	case MESSAGE_REASON_CANCELLED:
		return REMAINDER_CANCELLED;
	case MESSAGE_REASON_KERNEL_STUCK:
		return REMAINDER_KERNEL_STUCK;
	case MESSAGE_REASON_HOOK_FAILED:
		return REMAINDER_HOOK_FAILED;
	case MESSAGE_REASON_PRESSURE:
		return REMAINDER_GUEST_PRESSURE;
	case MESSAGE_REASON_UNKNOWN:
	case MESSAGE_REASON_BUSY:
	case MESSAGE_REASON_WRITEBACK:
	case MESSAGE_REASON_NO_MEMORY:
	case MESSAGE_REASON_OFFLINED:
	case MESSAGE_REASON_ALREADY_OFFLINE:
	case MESSAGE_REASON_GONE:
	case MESSAGE_REASON_COUNT:
		break;
	}
	return REMAINDER_GUEST_BUSY;
}

/* Of a lease that has ended: "hook 10-database (after): no answer", where one of its hooks has failed (hooks.c). */
static void take_hooks(struct step_run *run, const struct message_result *result)
{
	char object[96];

	if (result->code != MESSAGE_RESULT_OK || strncmp(result->text, "hook ", 5) != 0)
		return;
	snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
	remainder_list_add(&run->outcome.remainder, REMAINDER_HOOK_FAILED, object, 0, NULL, "%.200s", result->text);
}

/* The gain is the guest's word, and it can have gained no more than it has. */
static void take_rung(struct step_run *run, const struct message_rung_gain *rung, const char *text)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	uint64_t most = guest ? guest->current_bytes : 0, *done = &run->outcome.bytes_done;
	char object[96];

	*done = rung->gained_bytes > most - *done ? most : *done + rung->gained_bytes;
	if (rung->reason == MESSAGE_REASON_UNKNOWN)
		return;
	snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
	remainder_list_add(&run->outcome.remainder, code_of(rung->reason), object, 0, NULL, "%s: %s%s%.150s",
			   message_rung_name(rung->rung), message_reason_name(rung->reason), text[0] ? ": " : "",
			   text);
}

/* Why a block stays, to a person. */
static const char *block_words(enum message_reason reason)
{
	static const char *const words[MESSAGE_REASON_COUNT] = {
		[MESSAGE_REASON_BUSY] = "the guest's kernel could not move some of its pages",
		[MESSAGE_REASON_TIMED_OUT] = "it was not offline at its deadline",
		[MESSAGE_REASON_NOT_REMOVABLE] = "it spans zones, or holds memory of the guest's kernel",
		[MESSAGE_REASON_CANCELLED] = "it was not tried any more",
		[MESSAGE_REASON_HUGE_PAGES_IN_USE] = "huge pages in it are in use",
		[MESSAGE_REASON_HUGE_PAGES_FLOOR] = "the guest keeps the free huge pages in it",
		[MESSAGE_REASON_PINNED] = "pages in it are pinned",
		[MESSAGE_REASON_KERNEL_MEMORY] = "the guest's kernel has it for itself",
		[MESSAGE_REASON_WRITEBACK] = "pages in it are being written back",
		[MESSAGE_REASON_NOT_CANDIDATE] = "it is no block of a memory device",
		[MESSAGE_REASON_KERNEL_STUCK] = "its offlining does not end, not even by a signal",
	};

	return words[reason] ? words[reason] : message_reason_name(reason);
}

/* What is in the way of these is nothing in them: of the guest as a whole it is told what its memory is used for. */
static void take_untried(struct step_run *run, const struct message_evacuate_reply *reply)
{
	char object[96];
	size_t count = 0;

	for (size_t i = 0; i < reply->block_count; i++)
		count += reply->blocks[i].reason == MESSAGE_REASON_NO_MEMORY;
	snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
	if (count)
		remainder_list_add(&run->outcome.remainder, REMAINDER_GUEST_BUSY, object, 0, NULL,
				   "%zu block%s not tried: the guest would be left with too little memory", count,
				   count == 1 ? " was" : "s were");
}

static void take_evacuation(struct step_run *run, const struct message_evacuate_reply *reply)
{
	struct executor_outcome *outcome = &run->outcome;
	char object[96];

	for (size_t i = 0; i < reply->rung_count; i++)
		take_rung(run, &reply->rungs[i], reply->text);
	if (run->step.kind == STEP_KIND_OFFLINE_GUEST_BLOCKS)
		outcome->bytes_done = reply->offlined_bytes;
	for (size_t i = 0; i < reply->pool_count; i++) {
		const struct message_pool_remainder *pool = &reply->pools[i];

		if (pool->page_bytes == 0 || pool->stayed_pages > UINT64_MAX / pool->page_bytes)
			continue;
		snprintf(object, sizeof(object), "guest %s", run->step.guest_name);
		remainder_list_add(&outcome->remainder, code_of(pool->reason), object,
				   pool->stayed_pages * pool->page_bytes, NULL, "%llu huge pages of %llu KiB stay",
				   (unsigned long long)pool->stayed_pages,
				   (unsigned long long)(pool->page_bytes >> 10));
	}
	for (size_t i = 0; i < reply->block_count; i++) {
		const struct message_block_outcome *block = &reply->blocks[i];

		if (block->reason == MESSAGE_REASON_OFFLINED || block->reason == MESSAGE_REASON_ALREADY_OFFLINE ||
		    block->reason == MESSAGE_REASON_GONE || block->reason == MESSAGE_REASON_NO_MEMORY)
			continue;
		snprintf(object, sizeof(object), "guest %s block %llu", run->step.guest_name,
			 (unsigned long long)block->id);
		remainder_list_add(&outcome->remainder, code_of(block->reason), object, block->size_bytes, NULL,
				   "%s%s%s", block_words(block->reason), block->error ? ": " : "",
				   block->error ? strerror((int)block->error) : "");
	}
	take_untried(run, reply);
	switch (reply->code) {
	case MESSAGE_RESULT_OK:
		outcome->state = STEP_STATE_DONE;
		break;
	case MESSAGE_RESULT_PARTIAL:
	case MESSAGE_RESULT_TIMED_OUT:
	case MESSAGE_RESULT_CANCELLED:
		outcome->state = STEP_STATE_PARTIAL;
		break;
	case MESSAGE_RESULT_UNKNOWN:
	case MESSAGE_RESULT_BUSY:
	case MESSAGE_RESULT_VETOED:
	case MESSAGE_RESULT_INVALID:
	case MESSAGE_RESULT_NOT_FOUND:
	case MESSAGE_RESULT_NOT_SUPPORTED:
	case MESSAGE_RESULT_FAILED:
	case MESSAGE_RESULT_COUNT:
		outcome->state = outcome->bytes_done ? STEP_STATE_PARTIAL : STEP_STATE_FAILED;
		break;
	}
	snprintf(outcome->detail, sizeof(outcome->detail), "%.159s", reply->text);
	step_run_finish(run);
}

static void fail_with(struct step_run *run, const struct message_result *result)
{
	step_run_fail(run,
		      result->code == MESSAGE_RESULT_VETOED	   ? REMAINDER_VETOED :
		      result->code == MESSAGE_RESULT_CANCELLED	   ? REMAINDER_CANCELLED :
		      result->code == MESSAGE_RESULT_TIMED_OUT	   ? REMAINDER_DEADLINE :
		      result->code == MESSAGE_RESULT_NOT_SUPPORTED ? REMAINDER_NO_AGENT :
								     REMAINDER_GUEST_BUSY,
		      0, "%s%s%s", message_result_code_name(result->code), result->text[0] ? ": " : "",
		      result->text);
}

/* What the guest says that the host need no longer keep: no more than it has. */
static void take_report(struct step_run *run, const struct message_result *result)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	uint64_t most = guest ? guest->current_bytes : 0;

	if (result->code != MESSAGE_RESULT_OK && result->code != MESSAGE_RESULT_PARTIAL) {
		fail_with(run, result);
		return;
	}
	/* The rest of a report that was short of time comes by itself. */
	run->outcome.state = result->code == MESSAGE_RESULT_OK ? STEP_STATE_DONE : STEP_STATE_PARTIAL;
	run->outcome.bytes_done = result->value_bytes < most ? result->value_bytes : most;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail), "%.159s", result->text);
	step_run_finish(run);
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message);

static int send(struct step_run *run, const struct message *message, uint32_t timeout_ms,
		agent_progress_fn *progress)
{
	struct agent_link *link = look_agent(run->runner->options.look, run->step.guest);

	if (!link)
		return -ENOTCONN;
	return agent_link_request(link, message, timeout_ms, on_answer, progress, run, &run->request);
}

/* What is to be undone the agent undoes itself: when the lease ends, or at its next start. What a commit has kept it does not. */
static bool undoes_itself(const struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);

	if (run->kept_bytes && guest && guest->pid > 0)
		return false;
	return run->undoing || run->step.kind == STEP_KIND_AGENT_UNDO;
}

/* Of huge pages: what an undone shrink has kept, and what a grow makes good of those before it. */
static uint64_t owed_bytes(const struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);

	if (run->undoing)
		return run->kept_bytes;
	if (run->step.kind != STEP_KIND_AGENT_UNDO || !guest || guest->current_bytes <= run->start_bytes)
		return 0;
	return guest->current_bytes - run->start_bytes;
}

static void leave_to_lease(struct step_run *run)
{
	run->outcome.state = STEP_STATE_DONE;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail),
		 "the agent is not there: it undoes its changes when their lease ends");
	step_run_finish(run);
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct step_run *run = user;

	run->request = 0;
	if (kind != AGENT_ANSWER_REPLY && undoes_itself(run)) {
		leave_to_lease(run);
		return;
	}
	switch (kind) {
	case AGENT_ANSWER_TIMED_OUT:
		step_run_fail(run, REMAINDER_AGENT_LOST, 0, "the agent did not answer in time");
		return;
	case AGENT_ANSWER_LOST:
		step_run_fail(run, REMAINDER_AGENT_LOST, 0, "the agent or the guest restarted, or its channel went away");
		return;
	case AGENT_ANSWER_REPLY:
	case AGENT_ANSWER_COUNT:
		break;
	}
	if (message->type == MESSAGE_EVACUATE_REPLY) {
		take_evacuation(run, &message->evacuate_reply);
		return;
	}
	if (message->type == MESSAGE_UNSUPPORTED) {
		step_run_fail(run, REMAINDER_NO_AGENT, 0, "this agent does not know how (%s)",
			      message_type_name(message->unsupported.type));
		return;
	}
	if (message->type != MESSAGE_RESULT) {
		step_run_fail(run, REMAINDER_AGENT_LOST, 0, "an answer of another kind came");
		return;
	}
	/* A lease that is not there any more has ended already: that is what was wanted. */
	bool ended = message->result.code == MESSAGE_RESULT_OK ||
		     (message->result.code == MESSAGE_RESULT_NOT_FOUND &&
		      (run->undoing || run->step.kind == STEP_KIND_AGENT_COMMIT ||
		       run->step.kind == STEP_KIND_AGENT_UNDO));

	if (!run->restoring && (run->step.kind == STEP_KIND_AGENT_COMMIT || run->step.kind == STEP_KIND_AGENT_UNDO))
		take_hooks(run, &message->result);
	/* The lease first, then the pools. */
	if (ended && !run->restoring && owed_bytes(run)) {
		struct message restore = {.type = MESSAGE_RESTORE_POOLS, .restore_pools.limit_bytes = owed_bytes(run)};

		run->restoring = true;
		if (send(run, &restore, RELEASE_MS, NULL) == 0)
			return;
		if (run->undoing) {
			step_run_fail(run, REMAINDER_AGENT_LOST, run->kept_bytes, "the agent cannot be asked for huge pages back");
			return;
		}
	}
	if (run->step.kind == STEP_KIND_REPORT_FREE) {
		take_report(run, &message->result);
		return;
	}
	run->outcome.bytes_done = run->restoring ? message->result.value_bytes : 0;
	snprintf(run->outcome.detail, sizeof(run->outcome.detail), "%.159s", message->result.text);
	if (ended || (run->restoring && message->result.code == MESSAGE_RESULT_NOT_FOUND)) {
		run->outcome.state = STEP_STATE_DONE;
		step_run_finish(run);
		return;
	}
	fail_with(run, &message->result);
}

static void on_progress(void *user, const struct message *message)
{
	struct step_run *run = user;

	if (run->progress)
		run->progress(run->token, message->progress.done_bytes, message->progress.total_bytes,
			      message_stage_name(message->progress.stage));
}

static uint32_t answer_timeout(uint32_t deadline_ms)
{
	return deadline_ms > UINT32_MAX - ANSWER_GRACE_MS ? UINT32_MAX : deadline_ms + ANSWER_GRACE_MS;
}

static uint32_t rung_of(enum step_kind kind)
{
	return kind == STEP_KIND_OFFLINE_GUEST_BLOCKS ? MESSAGE_EVACUATE_OFFLINE :
	       kind == STEP_KIND_COMPACT	      ? MESSAGE_EVACUATE_COMPACT :
	       kind == STEP_KIND_RUN_HOOKS	      ? MESSAGE_EVACUATE_HOOKS :
	       kind == STEP_KIND_MAKE_GUEST_ROOM      ? MESSAGE_EVACUATE_MAKE_ROOM :
	       kind == STEP_KIND_RECLAIM	      ? MESSAGE_EVACUATE_RECLAIM :
							MESSAGE_EVACUATE_HUGE_PAGES;
}

/*
 * Where memory lies matters to what must leave one place, not to what must become free anywhere. An agent that does not know
 * how to begin with the pools there would give up all of them.
 */
static bool names_ranges(const struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	enum step_kind kind = run->step.kind;

	if (kind == STEP_KIND_FREE_HUGE_PAGES)
		return guest && guest->agent.features >> AGENT_FEATURE_POOL_NODES & 1;
	return kind == STEP_KIND_OFFLINE_GUEST_BLOCKS || kind == STEP_KIND_RUN_HOOKS ||
	       kind == STEP_KIND_MAKE_GUEST_ROOM;
}

/* A block that cannot leave is not given all of a step's time: others may. */
static uint32_t block_deadline_ms(const struct step_run *run, uint32_t step_ms)
{
	uint32_t most_ms = step_ms / BLOCKS_LEAST > BLOCK_LEAST_MS ? step_ms / BLOCKS_LEAST : BLOCK_LEAST_MS;

	return run->runner->options.block_timeout_ms < most_ms ? run->runner->options.block_timeout_ms : most_ms;
}

void step_agent_start(struct step_run *run)
{
	const struct step *step = &run->step;
	struct message message = {0};
	uint32_t left = step_run_left_ms(run, LEASE_FALLBACK_MS), timeout = RELEASE_MS;
	agent_progress_fn *progress = NULL;

	/* It changed nothing that could be put back. */
	if (run->undoing && step->kind == STEP_KIND_REPORT_FREE) {
		run->outcome.state = STEP_STATE_DONE;
		step_run_finish(run);
		return;
	}
	if (step->timeout_ms && step->timeout_ms < left)
		left = step->timeout_ms;
	if (run->undoing || step->kind == STEP_KIND_AGENT_UNDO || step->kind == STEP_KIND_AGENT_COMMIT) {
		message.type = MESSAGE_RELEASE_LEASE;
		message.release_lease.lease_id = lease_of(run->operation);
		if (!run->undoing && step->kind == STEP_KIND_AGENT_COMMIT)
			message.release_lease.flags = MESSAGE_RELEASE_KEEP_POOLS;
	} else if (step->kind == STEP_KIND_ONLINE_POLICY) {
		bool automatic = strcmp(step->text, "auto-movable") == 0;

		message.type = MESSAGE_SET_ONLINE_POLICY;
		message.set_online_policy.lease = lease(run);
		message.set_online_policy.policy =
			automatic ? MESSAGE_ONLINE_POLICY_AUTO_MOVABLE : MESSAGE_ONLINE_POLICY_MOVABLE;
		message.set_online_policy.auto_movable_ratio = automatic ? (uint32_t)step->target_bytes : 0;
		/* Two files of its kernel: an agent that takes longer would take the whole operation's time. */
		timeout = left < ANSWER_GRACE_MS ? left : ANSWER_GRACE_MS;
	} else if (step->kind == STEP_KIND_REPORT_FREE) {
		message.type = MESSAGE_REPORT_FREE;
		message.report_free.deadline_ms = left > LIMIT_DEADLINE_MS ? LIMIT_DEADLINE_MS : left;
		timeout = answer_timeout(message.report_free.deadline_ms);
		progress = on_progress;
	} else {
		bool offline = step->kind == STEP_KIND_OFFLINE_GUEST_BLOCKS;
		struct message_evacuate *evacuate = offline ? &message.evacuate : &message.prepare;

		message.type = offline ? MESSAGE_EVACUATE : MESSAGE_PREPARE;
		evacuate->lease = lease(run);
		evacuate->flags = rung_of(step->kind);
		evacuate->target_bytes = step->bytes;
		evacuate->deadline_ms = left > LIMIT_DEADLINE_MS ? LIMIT_DEADLINE_MS : left;
		evacuate->block_deadline_ms = offline ? block_deadline_ms(run, evacuate->deadline_ms) : 0;
		evacuate->work_percent = (uint8_t)step->work_percent;
		for (size_t i = 0; names_ranges(run) && i < step->range_count && i < LIMIT_RANGES; i++)
			evacuate->ranges[evacuate->range_count++] = (struct message_range){
				step->ranges[i].start, step->ranges[i].end - step->ranges[i].start};
		timeout = answer_timeout(evacuate->deadline_ms);
		progress = on_progress;
	}
	int r = send(run, &message, timeout, progress);

	if (r == 0)
		return;
	if (r == -ENOTCONN && undoes_itself(run)) {
		leave_to_lease(run);
		return;
	}
	step_run_fail(run, r == -ENOTCONN ? REMAINDER_AGENT_LOST : REMAINDER_GUEST_BUSY, 0,
		      "the agent cannot be asked: %s", r == -ENOTCONN ? "it is not connected" : strerror(-r));
}

void step_agent_cancel(struct step_run *run)
{
	struct agent_link *link = look_agent(run->runner->options.look, run->step.guest);

	if (link && run->request)
		agent_link_cancel(link, run->request);
}
