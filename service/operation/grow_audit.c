/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	          larger, or rebooted            unchanged for settle_ms, agent there
 *	AUDITED ----------------------> CHANGING -----------------------------------> asked: pools, report, repair -> AUDITED
 *	   ^                                |
 *	   +--------------------------------+ an operation of ours works on it, or it became smaller
 *
 * Where repairs are wanted, what is there when they begin to be, and what an operation has left, are audited as well.
 */
#include "grow_audit.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "agent_link.h"
#include "clock.h"
#include "guest_records.h"
#include "message.h"
#include "plan.h"

#define SETTLE_MS	  5000u
#define REPORT_TIMEOUT_MS 5000u
/* Regrowing a pool takes the guest's kernel some time; nobody waits for it. */
#define RESTORE_TIMEOUT_MS 30000u
/* A gigabyte in blocks of 128 MiB, busy ones too; the next audit goes on. */
#define REPAIR_MS	120000u
#define REPAIR_GRACE_MS 30000u

struct audited {
	struct guest_record record;
	struct grow_audit *audit;	/* borrowed */
	uint64_t boot_count;
	uint64_t bytes;			/* the guest's size when it was last audited, or an operation last had it */
	uint64_t seen_bytes, changed_at_ms;
	bool is_changing;
	bool wants_look;  /* without growth, too */
	bool is_repaired; /* repairs were wanted when it was last looked at */
};

struct grow_audit {
	struct grow_audit_options options;
	struct event *timer;		/* owned */
	struct guest_records guests;
};

static void arm(struct grow_audit *audit)
{
	uint32_t ms = audit->options.pace_ms;
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (!evtimer_pending(audit->timer, NULL))
		evtimer_add(audit->timer, &when);
}

static void look_later(struct audited *audited)
{
	audited->wants_look = audited->is_changing = true;
	audited->changed_at_ms = monotonic_ms();
	arm(audited->audit);
}

/* NULL where it has none, and of NULL. */
static struct agent_link *link_of(const struct audited *audited)
{
	return audited ? look_agent(audited->audit->options.look, audited->record.uuid) : NULL;
}

/* What comes of it is told as the agent's change. */
static void ignore_report(void *user)
{
}

static void on_repaired(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct audited *audited = guest_records_answer(user);
	struct agent_link *link = link_of(audited);

	if (!link)
		return;
	if (kind != AGENT_ANSWER_REPLY || message->type != MESSAGE_RESULT) {
		/* An agent that was lost is asked again when it is back. */
		look_later(audited);
		return;
	}
	if (message->result.code == MESSAGE_RESULT_BUSY || message->result.code == MESSAGE_RESULT_CANCELLED)
		look_later(audited);
	else
		agent_link_set_repair(link, message->result.text);
	agent_link_refresh(link, REPORT_TIMEOUT_MS, ignore_report, NULL);
}

static void repair(const struct audited *audited, struct agent_link *link)
{
	struct message message = {.type = MESSAGE_REPAIR};
	struct guest_records_question *question;
	struct snapshot_agent agent;

	agent_link_describe(link, &agent);
	/* By a ratio a part is meant to be in the kernel's zones. */
	bool is_movable = !snapshot_agent_is_by_ratio(&agent);

	if (agent.state != AGENT_STATE_READY || !agent.reported || !(agent.features >> AGENT_FEATURE_REPAIR & 1) ||
	    !(agent.offline_bytes || (is_movable && agent.wrong_zone_bytes)))
		return;
	message.repair = (struct message_repair){
		.lease = {.id = GROW_AUDIT_LEASE, .lease_ms = REPAIR_MS + REPAIR_GRACE_MS},
		.flags = MESSAGE_REPAIR_ALL,
		.policy = is_movable ? MESSAGE_ONLINE_POLICY_MOVABLE : MESSAGE_ONLINE_POLICY_AUTO_MOVABLE,
		.deadline_ms = REPAIR_MS,
		.block_deadline_ms = audited->audit->options.block_timeout_ms,
	};
	question = guest_records_ask(&audited->audit->guests, audited->record.uuid, 0);
	if (question &&
	    agent_link_request(link, &message, REPAIR_MS + REPAIR_GRACE_MS, on_repaired, NULL, question, NULL) < 0)
		guest_records_answer(question);
}

static void on_report(void *user)
{
	struct audited *audited = guest_records_answer(user);
	struct agent_link *link = link_of(audited);
	const struct snapshot_guest *guest =
		link ? snapshot_guest(look_snapshot(audited->audit->options.look), audited->record.uuid) : NULL;

	if (!guest || !snapshot_guest_is_repaired(guest, audited->audit->options.repair) || audited->audit->options.observe)
		return;
	if (audited->audit->options.is_busy(audited->audit->options.user, audited->record.uuid))
		look_later(audited);
	else
		repair(audited, link);
}

static void ask_report(struct grow_audit *audit, const char *uuid, struct agent_link *link)
{
	struct guest_records_question *question = guest_records_ask(&audit->guests, uuid, 0);

	if (question)
		agent_link_refresh(link, REPORT_TIMEOUT_MS, on_report, question);
}

/* Whether there was anything to give back only the agent knows. A repair waits for it: both work on blocks. */
static void on_restored(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct audited *audited = guest_records_answer(user);
	struct agent_link *link = link_of(audited);

	if (link && kind == AGENT_ANSWER_REPLY)
		ask_report(audited->audit, audited->record.uuid, link);
	else if (link)
		look_later(audited);
}

static void ask(struct grow_audit *audit, const struct snapshot_guest *guest, uint64_t grown_bytes)
{
	struct agent_link *link = look_agent(audit->options.look, guest->uuid);
	struct message restore = {.type = MESSAGE_RESTORE_POOLS};
	struct guest_records_question *question;

	if (!link)
		return;
	if (!grown_bytes || audit->options.observe || !(guest->agent.features >> AGENT_FEATURE_HUGE_PAGES & 1)) {
		ask_report(audit, guest->uuid, link);
		return;
	}
	restore.restore_pools.limit_bytes = grown_bytes;
	question = guest_records_ask(&audit->guests, guest->uuid, 0);
	if (question && agent_link_request(link, &restore, RESTORE_TIMEOUT_MS, on_restored, NULL, question, NULL) < 0) {
		guest_records_answer(question);
		ask_report(audit, guest->uuid, link);
	}
}

/* True while it is to be looked at again. */
static bool examine(struct grow_audit *audit, struct audited *audited, const struct snapshot_guest *guest)
{
	uint64_t now = monotonic_ms();

	if (audit->options.is_busy(audit->options.user, guest->uuid)) {
		audited->bytes = audited->seen_bytes = guest->current_bytes;
		audited->boot_count = guest->boot_count;
		audited->changed_at_ms = now;
		audited->is_changing = audited->wants_look = snapshot_guest_is_repaired(guest, audit->options.repair);
		return audited->is_changing;
	}
	if (guest->current_bytes != audited->seen_bytes || guest->boot_count != audited->boot_count) {
		/* A reboot has taken all of it, whatever was seen in between. */
		if (guest->boot_count != audited->boot_count)
			audited->bytes = guest->base_bytes;
		audited->boot_count = guest->boot_count;
		audited->seen_bytes = guest->current_bytes;
		audited->changed_at_ms = now;
		audited->is_changing = true;
	}
	if (!audited->is_changing)
		return false;
	if (now < audited->changed_at_ms + audit->options.settle_ms || guest->agent.state != AGENT_STATE_READY)
		return true;
	uint64_t grown = guest->current_bytes > audited->bytes ? guest->current_bytes - audited->bytes : 0;
	bool is_due = grown || audited->wants_look;

	audited->bytes = guest->current_bytes;
	audited->is_changing = audited->wants_look = false;
	if (is_due)
		ask(audit, guest, grown);
	return audited->is_changing;
}

void grow_audit_check(struct grow_audit *audit, const char *uuid)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(audit->options.look), uuid);
	struct audited *audited = guest_records_find(&audit->guests, uuid);
	bool is_repaired;

	if (!guest || guest->pid <= 0 || guest->device_count == 0) {
		guest_records_forget(&audit->guests, uuid);
		return;
	}
	if (!audited) {
		/* What it has when it is first seen is nobody's growth; its first report comes by itself. */
		audited = guest_records_add(&audit->guests, guest->uuid);
		if (!audited)
			return;
		audited->audit = audit;
		audited->boot_count = guest->boot_count;
		audited->bytes = audited->seen_bytes = guest->current_bytes;
	}
	is_repaired = snapshot_guest_is_repaired(guest, audit->options.repair);
	if (is_repaired && !audited->is_repaired)
		look_later(audited);
	audited->is_repaired = is_repaired;
	if (examine(audit, audited, guest))
		arm(audit);
}

static void check_again(void *user, const char *uuid)
{
	struct grow_audit *audit = user;
	const struct audited *audited = guest_records_find(&audit->guests, uuid);

	if (audited->is_changing)
		grow_audit_check(audit, uuid);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct grow_audit *audit = user;

	guest_records_visit(&audit->guests, check_again, audit);
}

struct grow_audit *grow_audit_new(const struct grow_audit_options *options)
{
	struct grow_audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return NULL;
	guest_records_init(&audit->guests, sizeof(struct audited), NULL);
	audit->options = *options;
	if (!audit->options.settle_ms)
		audit->options.settle_ms = SETTLE_MS;
	if (!audit->options.pace_ms)
		audit->options.pace_ms = audit->options.settle_ms / 2 + 1;
	audit->timer = evtimer_new(options->base, on_timer, audit);
	if (!audit->timer)
		return grow_audit_free(audit);
	return audit;
}

struct grow_audit *grow_audit_free(struct grow_audit *audit)
{
	if (!audit)
		return NULL;
	guest_records_done(&audit->guests);
	if (audit->timer)
		event_free(audit->timer);
	free(audit);
	return NULL;
}
