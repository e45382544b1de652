/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host may ask, one function a verb.
 */
#include "agent_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "byte_cursor.h"
#include "failure.h"
#include "memory_block.h"
#include "report.h"
#include "udev_rules.h"
#include "zones.h"

#define UDEV_READ_MS 10000

static void send(struct agent *agent, uint64_t epoch, uint32_t request_id)
{
	int error = session_guest_reply(&agent->session, epoch, request_id, &agent->out);

	/* ESTALE: who asked is gone. The loop leaves room for an answer before it takes a request.
	 */
	if (error < 0 && error != -ESTALE)
		agent_log("cannot answer request %u: %s", request_id, strerror(-error));
}

void agent_verbs_send_result(struct agent *agent, uint64_t epoch, uint32_t request_id,
			     enum message_result_code code, int error, uint64_t value_bytes,
			     const char *format, ...)
{
	va_list arguments;

	memset(&agent->out, 0, sizeof(agent->out));
	agent->out.type = MESSAGE_RESULT;
	agent->out.result.code = code;
	agent->out.result.error = (uint32_t)error;
	agent->out.result.value_bytes = value_bytes;
	va_start(arguments, format);
	vsnprintf(agent->out.result.text, sizeof(agent->out.result.text), format, arguments);
	va_end(arguments);
	byte_cursor_make_text(agent->out.result.text);
	send(agent, epoch, request_id);
}

static void result(struct agent *agent, const struct session_guest_event *event,
		   enum message_result_code code, int error, const char *text)
{
	agent_verbs_send_result(agent, event->epoch, event->request_id, code, error, 0, "%s", text);
}

static void failed(struct agent *agent, const struct session_guest_event *event,
		   enum message_result_code code, const struct failure *failure)
{
	char text[512];

	result(agent, event, code, failure->error, failure_format(failure, text, sizeof(text)));
}

static void note_pools(struct agent *agent, uint64_t now_ms)
{
	const struct message_report_reply *report = &agent->out.report_reply;

	for (size_t i = 0; !lease_book_has_pools(&agent->book) && i < report->pool_count; i++)
		if (report->pools[i].node == MESSAGE_NODE_ALL)
			quiet_pools_note(&agent->quiet_pools, report->pools[i].page_bytes, report->pools[i].total,
					 now_ms);
}

/* While a host awaits something it asks twice a second, and rules change when somebody changes them. */
static void note_udev(struct agent *agent, uint64_t now_ms)
{
	struct message_report_reply *report = &agent->out.report_reply;

	if (!agent->udev_read_at_ms || now_ms >= agent->udev_read_at_ms + UDEV_READ_MS) {
		udev_rules_find(agent->sysroot, agent->udev_rule);
		agent->udev_read_at_ms = now_ms;
	}
	if (agent->udev_rule[0])
		report->flags |= MESSAGE_REPORT_UDEV_ONLINES;
	memcpy(report->udev_rule, agent->udev_rule, sizeof(report->udev_rule));
}

static void on_report(struct agent *agent, const struct session_guest_event *event, uint64_t now_ms)
{
	agent->out.type = MESSAGE_REPORT_REPLY;
	int error = report_read(agent->sysroot, &agent->options.config, &agent->book,
				&agent->out.report_reply);

	if (error < 0) {
		result(agent, event, MESSAGE_RESULT_FAILED, -error, "cannot read /proc/meminfo");
		return;
	}
	note_pools(agent, now_ms);
	note_udev(agent, now_ms);
	send(agent, event->epoch, event->request_id);
}

static void on_blocks(struct agent *agent, const struct session_guest_event *event)
{
	agent->out.type = MESSAGE_BLOCKS_REPLY;
	int error = report_read_blocks(agent->sysroot, &agent->evacuate.pinned, &event->message->blocks,
				       &agent->out.blocks_reply);

	if (error == -ENOENT)
		result(agent, event, MESSAGE_RESULT_NOT_SUPPORTED, -error,
		       "this kernel has no memory blocks");
	else if (error < 0)
		result(agent, event, MESSAGE_RESULT_FAILED, -error,
		       "cannot read the memory blocks");
	else
		send(agent, event->epoch, event->request_id);
}

static void begin_evacuation(struct agent *agent, const struct agent_answer *answer, enum message_type type,
			     const struct message_evacuate *request, uint64_t now_ms)
{
	struct failure failure;
	char text[512];

	if (!agent_undo_is_idle(agent)) {
		agent_verbs_send_result(agent, answer->epoch, answer->request_id, MESSAGE_RESULT_BUSY, EBUSY, 0,
					"changes are being undone");
		return;
	}
	enum message_result_code code =
		evacuate_start(&agent->evacuate, type, request, answer->epoch, answer->request_id, now_ms, &failure);

	if (code != MESSAGE_RESULT_OK)
		agent_verbs_send_result(agent, answer->epoch, answer->request_id, code, failure.error, 0, "%s",
					failure_format(&failure, text, sizeof(text)));
}

/* A repair only wants to help, and gives way. */
static void on_evacuate(struct agent *agent, const struct session_guest_event *event,
			uint64_t now_ms)
{
	const struct message *message = event->message;
	const struct message_evacuate *request = message->type == MESSAGE_PREPARE ? &message->prepare : &message->evacuate;
	const struct agent_answer answer = {.pending = true, .epoch = event->epoch, .request_id = event->request_id};

	if (repair_is_idle(&agent->repair)) {
		begin_evacuation(agent, &answer, message->type, request, now_ms);
		return;
	}
	if (agent->waiting.answer.pending || agent->repair.stage == REPAIR_STAGE_IDLE) {
		result(agent, event, MESSAGE_RESULT_BUSY, EBUSY,
		       agent->waiting.answer.pending ? "one evacuation at a time" : "a repair is stuck in the kernel");
		return;
	}
	agent->waiting = (struct agent_waiting){.answer = answer, .type = message->type, .request = *request};
	repair_cancel(&agent->repair, now_ms);
}

void agent_verbs_go_on(struct agent *agent, uint64_t now_ms)
{
	struct agent_answer answer = agent->waiting.answer;

	if (!answer.pending || agent->repair.stage != REPAIR_STAGE_IDLE)
		return;
	if (!child_job_is_idle(&agent->repair.job)) {
		agent_verbs_send_result(agent, answer.epoch, answer.request_id, MESSAGE_RESULT_BUSY, EBUSY, 0,
					"a repair is stuck in the kernel");
		agent->waiting.answer.pending = false;
		return;
	}
	/* What it had taken offline is put back first. */
	agent_undo_begin(agent, now_ms);
	if (!agent_undo_is_idle(agent))
		return;
	agent->waiting.answer.pending = false;
	begin_evacuation(agent, &answer, agent->waiting.type, &agent->waiting.request, now_ms);
}

static void on_repair(struct agent *agent, const struct session_guest_event *event, uint64_t now_ms)
{
	struct failure failure;

	if (!agent_undo_is_idle(agent) || !evacuate_is_idle(&agent->evacuate)) {
		result(agent, event, MESSAGE_RESULT_BUSY, EBUSY, "an evacuation or an undo runs");
		return;
	}
	enum message_result_code code = repair_start(&agent->repair, &event->message->repair, event->epoch,
						     event->request_id, now_ms, &failure);

	if (code != MESSAGE_RESULT_OK)
		failed(agent, event, code, &failure);
}

static void drop_entry(struct lease_entries *entries, enum lease_kind kind)
{
	struct lease_entry *entry = lease_entries_find(entries, kind, -1, 0);

	if (entry)
		lease_entries_remove(entries, entry);
}

/* Gives a leased policy back at once. */
static void leave_policy(struct agent *agent, const struct session_guest_event *event)
{
	struct lease *lease =
		lease_book_find(&agent->book, event->message->set_online_policy.lease.id);
	struct lease_entry *entry;
	int error = 0;

	if (!lease) {
		result(agent, event, MESSAGE_RESULT_NOT_FOUND, 0, "no such lease");
		return;
	}
	lease_book_hand_over(&agent->book, lease);
	entry = lease_entries_find(&lease->entries, LEASE_AUTO_ONLINE, -1, 0);
	if (entry)
		error = memory_block_set_auto_online(agent->sysroot,
						     (enum memory_block_auto_online)entry->old);
	entry = lease_entries_find(&lease->entries, LEASE_ZONE_POLICY, -1, 0);
	if (error == 0 && entry)
		error = zones_set_zone_policy(agent->sysroot, (enum message_zone_policy)entry->old);
	entry = lease_entries_find(&lease->entries, LEASE_MOVABLE_RATIO, -1, 0);
	if (error == 0 && entry)
		error = zones_set_movable_ratio(agent->sysroot, entry->old);
	if (error < 0) {
		result(agent, event, MESSAGE_RESULT_FAILED, -error,
		       "cannot give the onlining policy back");
		return;
	}
	drop_entry(&lease->entries, LEASE_AUTO_ONLINE);
	drop_entry(&lease->entries, LEASE_ZONE_POLICY);
	drop_entry(&lease->entries, LEASE_MOVABLE_RATIO);
	lease_book_save(&agent->book, NULL);
	result(agent, event, MESSAGE_RESULT_OK, 0, "");
}

static void on_set_online_policy(struct agent *agent, const struct session_guest_event *event,
				 uint64_t now_ms)
{
	const struct message_set_online_policy *wish = &event->message->set_online_policy;
	struct zones_policy now;
	struct failure failure;

	if (agent->options.config.veto & AGENT_CONFIG_VETO_ONLINE_POLICY) {
		result(agent, event, MESSAGE_RESULT_VETOED, EPERM,
		       "the guest's configuration forbids it");
		return;
	}
	if (wish->policy == MESSAGE_ONLINE_POLICY_LEAVE) {
		leave_policy(agent, event);
		return;
	}
	if (wish->policy == MESSAGE_ONLINE_POLICY_UNKNOWN || wish->lease.lease_ms == 0 ||
	    wish->lease.lease_ms > LIMIT_LEASE_MS) {
		result(agent, event, MESSAGE_RESULT_INVALID, EINVAL,
		       "unknown policy, or lease out of bounds");
		return;
	}
	struct lease *lease =
		lease_book_open(&agent->book, wish->lease.id, wish->lease.lease_ms, now_ms);

	if (!lease) {
		result(agent, event, MESSAGE_RESULT_BUSY, EBUSY,
		       "too many leases, or this one is being undone");
		return;
	}
	zones_read_policy(agent->sysroot, &now);
	int error = zones_plan_policy(&now, wish, &lease->entries);

	if (error < 0) {
		result(agent, event, MESSAGE_RESULT_NOT_SUPPORTED, -error,
		       "this kernel has no such policy");
		return;
	}
	if (lease_book_save(&agent->book, &failure) < 0) {
		failed(agent, event, MESSAGE_RESULT_FAILED, &failure);
		return;
	}
	error = zones_set_policy(agent->sysroot, wish);
	if (error < 0)
		result(agent, event, MESSAGE_RESULT_FAILED, -error,
		       "the kernel refused the policy");
	else
		result(agent, event, MESSAGE_RESULT_OK, 0, "");
}

static void on_renew_lease(struct agent *agent, const struct session_guest_event *event,
			   uint64_t now_ms)
{
	const struct message_lease *wish = &event->message->renew_lease.lease;
	struct lease *lease = lease_book_find(&agent->book, wish->id);

	if (wish->lease_ms == 0 || wish->lease_ms > LIMIT_LEASE_MS) {
		result(agent, event, MESSAGE_RESULT_INVALID, EINVAL, "lease out of bounds");
	} else if (!lease || lease->ending) {
		result(agent, event, MESSAGE_RESULT_NOT_FOUND, 0, "no such lease, or it has ended");
	} else {
		lease->expires_ms = now_ms + wish->lease_ms;
		result(agent, event, MESSAGE_RESULT_OK, 0, "");
	}
}

/* Pages that stay away until RESTORE_POOLS. */
static int commit_pools(struct agent *agent, struct lease *lease)
{
	for (size_t i = 0; i < lease->entries.count;) {
		struct lease_entry *entry = &lease->entries.items[i];

		if (entry->kind != LEASE_POOL) {
			i++;
			continue;
		}
		int error = lease_entries_add(&agent->book.taken, entry);

		if (error < 0)
			return error;
		lease_entries_remove(&lease->entries, entry);
	}
	return 0;
}

static bool await_undo(struct agent *agent, const struct session_guest_event *event,
		       uint64_t lease_id)
{
	for (size_t i = 0; i < LIMIT_LEASES; i++) {
		struct agent_release *release = &agent->releases[i];

		if (release->answer.pending)
			continue;
		*release = (struct agent_release){.lease_id = lease_id,
						  .answer = {.pending = true,
							     .epoch = event->epoch,
							     .request_id = event->request_id}};
		return true;
	}
	return false;
}

static void on_release_lease(struct agent *agent, const struct session_guest_event *event,
			     uint64_t now_ms)
{
	const struct message_release_lease *wish = &event->message->release_lease;
	struct lease *lease = lease_book_find(&agent->book, wish->lease_id);
	struct failure failure;

	if (!lease) {
		result(agent, event, MESSAGE_RESULT_NOT_FOUND, 0, "no such lease");
		return;
	}
	if (wish->flags & ~MESSAGE_RELEASE_ALL) {
		result(agent, event, MESSAGE_RESULT_INVALID, EINVAL, "unknown flags");
		return;
	}
	if (!await_undo(agent, event, wish->lease_id)) {
		result(agent, event, MESSAGE_RESULT_BUSY, EBUSY,
		       "too many leases are being released");
		return;
	}
	if (!lease->ending && (wish->flags & MESSAGE_RELEASE_KEEP_POOLS) &&
	    commit_pools(agent, lease) < 0)
		agent_log("no memory to keep what lease %llu took",
			  (unsigned long long)wish->lease_id);
	if (!lease->ending && (wish->flags & MESSAGE_RELEASE_KEEP_POLICY)) {
		drop_entry(&lease->entries, LEASE_AUTO_ONLINE);
		drop_entry(&lease->entries, LEASE_ZONE_POLICY);
		drop_entry(&lease->entries, LEASE_MOVABLE_RATIO);
	}
	struct lease_entry *hooks = lease_entries_find(&lease->entries, LEASE_HOOKS, -1, 0);

	/* What the hooks after it are told. */
	if (hooks && !lease->ending)
		hooks->took = wish->flags & MESSAGE_RELEASE_KEEP_POOLS ? 1 : 0;
	lease->ending = true;
	lease->retry_ms = 0;
	if (lease_book_save(&agent->book, &failure) < 0) {
		char text[512];

		agent_log("%s", failure_format(&failure, text, sizeof(text)));
	}
	if (!evacuate_is_idle(&agent->evacuate) &&
	    agent->evacuate.request.lease.id == wish->lease_id)
		evacuate_cancel(&agent->evacuate, now_ms);
}

static void on_restore_pools(struct agent *agent, const struct session_guest_event *event,
			     uint64_t now_ms)
{
	struct agent_answer answer = {
		.pending = true, .epoch = event->epoch, .request_id = event->request_id};
	int error;

	if (agent->options.config.veto & AGENT_CONFIG_VETO_HUGE_PAGES) {
		result(agent, event, MESSAGE_RESULT_VETOED, EPERM,
		       "the guest's configuration forbids it");
		return;
	}
	error = agent_undo_restore(agent, event->message->restore_pools.limit_bytes, &answer,
				   now_ms);
	if (error == -EBUSY)
		result(agent, event, MESSAGE_RESULT_BUSY, EBUSY, "an evacuation or an undo runs");
	else if (error < 0)
		result(agent, event, MESSAGE_RESULT_FAILED, -error, "cannot give the pages back");
}

static void on_watch_stalls(struct agent *agent, const struct session_guest_event *event,
			    uint64_t now_ms)
{
	const struct message_watch_stalls *wish = &event->message->watch_stalls;

	if (agent->options.config.veto & AGENT_CONFIG_VETO_STALL_PROBE)
		result(agent, event, MESSAGE_RESULT_VETOED, EPERM,
		       "the guest's configuration forbids it");
	else if (wish->interval_ms < LIMIT_STALLS_INTERVAL_MS ||
		 wish->interval_ms > LIMIT_STALLS_WATCH_MS || wish->duration_ms == 0 ||
		 wish->duration_ms > LIMIT_STALLS_WATCH_MS)
		result(agent, event, MESSAGE_RESULT_INVALID, EINVAL,
		       "interval or duration out of bounds");
	else
		agent_watch_begin(agent, event, now_ms);
}

static void on_answer_wish(struct agent *agent, const struct session_guest_event *event, uint64_t now_ms)
{
	const struct message_answer_wish *answer = &event->message->answer_wish;
	uint64_t total = 0, unused;

	report_read_memory(agent->sysroot, &total, &unused, &unused);
	agent_log("asked for %llu MiB in all: %s%s%s", (unsigned long long)(answer->wanted_bytes >> 20),
		  answer->code == MESSAGE_RESULT_OK	   ? "granted" :
		  answer->code == MESSAGE_RESULT_PARTIAL ? "granted in part" :
							   "refused",
		  answer->text[0] ? ": " : "", answer->text);
	ask_answered(&agent->ask, answer, total, now_ms);
	result(agent, event, MESSAGE_RESULT_OK, 0, "");
}

static void on_report_free(struct agent *agent, const struct session_guest_event *event,
			   uint64_t now_ms)
{
	struct failure failure;

	if (!evacuate_is_idle(&agent->evacuate)) {
		result(agent, event, MESSAGE_RESULT_BUSY, EBUSY, "an evacuation runs");
		return;
	}
	enum message_result_code code = free_report_start(
		&agent->free_report, event->message->report_free.deadline_ms, event->epoch,
		event->request_id, now_ms, &failure);

	if (code != MESSAGE_RESULT_OK)
		failed(agent, event, code, &failure);
}

static void on_cancel(struct agent *agent, const struct session_guest_event *event, uint64_t now_ms)
{
	struct evacuate *evacuate = &agent->evacuate;
	struct free_report *report = &agent->free_report;
	uint32_t id = event->message->cancel.request_id;

	if (evacuate->stage != EVACUATE_STAGE_IDLE && evacuate->epoch == event->epoch &&
	    evacuate->request_id == id) {
		evacuate_cancel(evacuate, now_ms);
	} else if (report->stage != FREE_REPORT_STAGE_IDLE && report->epoch == event->epoch &&
		   report->request_id == id) {
		free_report_cancel(report, now_ms);
	} else if (agent->repair.stage == REPAIR_STAGE_WORK && agent->repair.epoch == event->epoch &&
		   agent->repair.request_id == id) {
		repair_cancel(&agent->repair, now_ms);
	} else if (agent->waiting.answer.pending && agent->waiting.answer.epoch == event->epoch &&
		   agent->waiting.answer.request_id == id) {
		agent->waiting.answer.pending = false;
		agent_verbs_send_result(agent, event->epoch, id, MESSAGE_RESULT_CANCELLED, 0, 0, "%s", "");
	} else if (!agent_watch_cancel(agent, event->epoch, id)) {
		result(agent, event, MESSAGE_RESULT_NOT_FOUND, 0, "no such request runs");
		return;
	}
	result(agent, event, MESSAGE_RESULT_OK, 0, "");
}

void agent_verbs_handle(struct agent *agent, const struct session_guest_event *event,
			uint64_t now_ms)
{
	memset(&agent->out, 0, sizeof(agent->out));
	switch (event->message->type) {
	case MESSAGE_REPORT:
		on_report(agent, event, now_ms);
		return;
	case MESSAGE_BLOCKS:
		on_blocks(agent, event);
		return;
	case MESSAGE_PREPARE:
	case MESSAGE_EVACUATE:
		on_evacuate(agent, event, now_ms);
		return;
	case MESSAGE_REPAIR:
		on_repair(agent, event, now_ms);
		return;
	case MESSAGE_SET_ONLINE_POLICY:
		on_set_online_policy(agent, event, now_ms);
		return;
	case MESSAGE_RENEW_LEASE:
		on_renew_lease(agent, event, now_ms);
		return;
	case MESSAGE_RELEASE_LEASE:
		on_release_lease(agent, event, now_ms);
		return;
	case MESSAGE_RESTORE_POOLS:
		on_restore_pools(agent, event, now_ms);
		return;
	case MESSAGE_WATCH_STALLS:
		on_watch_stalls(agent, event, now_ms);
		return;
	case MESSAGE_REPORT_FREE:
		on_report_free(agent, event, now_ms);
		return;
	case MESSAGE_ANSWER_WISH:
		on_answer_wish(agent, event, now_ms);
		return;
	case MESSAGE_CANCEL:
		on_cancel(agent, event, now_ms);
		return;
	case MESSAGE_HELLO:
	case MESSAGE_HELLO_REPLY:
	case MESSAGE_HELLO_CONFIRM:
	case MESSAGE_REPORT_REPLY:
	case MESSAGE_BLOCKS_REPLY:
	case MESSAGE_EVACUATE_REPLY:
	case MESSAGE_PROGRESS:
	case MESSAGE_STALLS:
	case MESSAGE_RESULT:
	case MESSAGE_UNSUPPORTED:
	case MESSAGE_HEARTBEAT:
	case MESSAGE_GUEST_REQUEST:
		/* The session gives out requests only. */
		return;
	}
}
