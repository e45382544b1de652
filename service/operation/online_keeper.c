/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	                 it is renewed                                somebody in the guest changes it
 *	UNKNOWN ----------------------------------------> HELD ----------------------------------------> DONE (overruled)
 *	   |  ^  nothing is there           set            |
 *	   |  +---------------- LOOK --------------------> |
 *	   |  an agent that is new      | the guest has it by itself, or refuses: DONE (own, refused)
 *	   |                            v
 *	   +--------------------------> LEFT <------------ not asked for any more: given back, from everywhere
 *
 * Every arrow is an answer of the agent, and only one question is on its way at a time. A report that was made while an
 * operation had a policy of its own in the guest says nothing here: what decides is asked for anew.
 */
#include "online_keeper.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent_link.h"
#include "clock.h"
#include "guest_records.h"
#include "message.h"
#include "plan.h"

#define PACE_MS	   30000u
#define TIMEOUT_MS 10000u

enum stage { STAGE_UNKNOWN, STAGE_LOOK, STAGE_HELD, STAGE_DONE, STAGE_LEFT };

enum question_kind {
	QUESTION_RENEW,
	QUESTION_SET,
	QUESTION_GIVE_BACK,
	QUESTION_LET_GO, /* somebody in the guest has changed it */
	QUESTION_REPORT
};

struct kept {
	struct guest_record record;
	struct online_keeper *keeper; /* borrowed */
	uint64_t boot_count;
	enum stage stage;
	char policy[24]; /* HELD: what was set, empty where a daemon before us set it */
	uint64_t renew_at_ms;
};

struct online_keeper {
	struct online_keeper_options options;
	struct event *timer; /* owned */
	struct guest_records guests;
};

static bool is_asking(const struct kept *kept)
{
	return guest_records_is_asking(&kept->keeper->guests, kept->record.uuid);
}

static void tell(const struct kept *kept, enum agent_onlining onlining)
{
	struct agent_link *link = look_agent(kept->keeper->options.look, kept->record.uuid);

	if (link)
		agent_link_set_onlining(link, onlining);
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message);

static void ask(struct kept *kept, struct agent_link *link, enum question_kind kind, const struct message *message)
{
	struct guest_records_question *question = guest_records_ask(&kept->keeper->guests, kept->record.uuid, kind);

	if (!question)
		return;
	if (agent_link_request(link, message, TIMEOUT_MS, on_answer, NULL, question, NULL) == 0)
		return;
	/* Asked again with the next look. */
	guest_records_answer(question);
}

static void ask_renewal(struct kept *kept, struct agent_link *link)
{
	struct message message = {.type = MESSAGE_RENEW_LEASE};

	message.renew_lease.lease = (struct message_lease){ONLINE_KEEPER_LEASE, ONLINE_KEEPER_LEASE_MS};
	ask(kept, link, QUESTION_RENEW, &message);
}

static void ask_release(struct kept *kept, struct agent_link *link, enum question_kind kind)
{
	struct message message = {.type = MESSAGE_RELEASE_LEASE};

	message.release_lease.lease_id = ONLINE_KEEPER_LEASE;
	/* What somebody has set in the guest since is not ours to undo. */
	message.release_lease.flags = kind == QUESTION_LET_GO ? MESSAGE_RELEASE_KEEP_POLICY : 0;
	ask(kept, link, kind, &message);
}

static void ask_setting(struct kept *kept, struct agent_link *link, const char *policy)
{
	struct message message = {.type = MESSAGE_SET_ONLINE_POLICY};
	bool is_automatic = strcmp(policy, "auto-movable") == 0;

	message.set_online_policy.lease = (struct message_lease){ONLINE_KEEPER_LEASE, ONLINE_KEEPER_LEASE_MS};
	message.set_online_policy.policy = is_automatic ? MESSAGE_ONLINE_POLICY_AUTO_MOVABLE : MESSAGE_ONLINE_POLICY_MOVABLE;
	message.set_online_policy.auto_movable_ratio = is_automatic ? kept->keeper->options.ratio_percent : 0;
	snprintf(kept->policy, sizeof(kept->policy), "%s", policy);
	ask(kept, link, QUESTION_SET, &message);
}

static void on_report(void *user);

static void ask_report(struct kept *kept, struct agent_link *link)
{
	struct guest_records_question *question =
		guest_records_ask(&kept->keeper->guests, kept->record.uuid, QUESTION_REPORT);

	if (question)
		agent_link_refresh(link, TIMEOUT_MS, on_report, question);
}

/* All that its devices may ever have plugged is reckoned with: it may come at any time, and is on its way after a boot. */
static const char *wanted_policy(const struct snapshot_guest *guest, const struct snapshot_agent *agent)
{
	uint64_t most = 0;

	for (size_t i = 0; i < guest->device_count; i++)
		most += guest->devices[i].size_bytes;
	return plan_online_policy(agent, most > agent->movable_bytes ? most - agent->movable_bytes : 0);
}

static bool is_wanted(const struct online_keeper *keeper, const struct snapshot_guest *guest)
{
	return guest->online_policy == GUEST_ONLINE_POLICY_UNSET ? keeper->options.is_movable :
								   guest->online_policy == GUEST_ONLINE_POLICY_MOVABLE;
}

/* The guest and what its agent says now; false where nothing can be asked of it now. */
static bool look_at(struct kept *kept, const struct snapshot_guest **ret_guest, struct snapshot_agent *ret_agent,
		    struct agent_link **ret_link)
{
	const struct online_keeper_options *options = &kept->keeper->options;
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(options->look), kept->record.uuid);
	struct agent_link *link = look_agent(options->look, kept->record.uuid);

	if (!guest || !link)
		return false;
	agent_link_describe(link, ret_agent);
	/* Another boot, or another agent, which has put back what the one before it had set. */
	if (guest->boot_count != kept->boot_count || !ret_agent->reported) {
		kept->boot_count = guest->boot_count;
		kept->stage = STAGE_UNKNOWN;
		agent_link_set_onlining(link, AGENT_ONLINING_LEFT);
	}
	*ret_guest = guest;
	*ret_link = link;
	return ret_agent->state == AGENT_STATE_READY && ret_agent->reported &&
	       ret_agent->features >> AGENT_FEATURE_ONLINE_POLICY & 1 &&
	       !options->is_busy(options->user, kept->record.uuid);
}

static void examine(struct kept *kept)
{
	const struct snapshot_guest *guest;
	struct snapshot_agent agent;
	struct agent_link *link;

	/* What the look has told may have asked already. */
	if (kept->keeper->options.observe || !look_at(kept, &guest, &agent, &link) || is_asking(kept))
		return;
	if (!is_wanted(kept->keeper, guest)) {
		if (kept->stage == STAGE_UNKNOWN || kept->stage == STAGE_HELD)
			ask_release(kept, link, QUESTION_GIVE_BACK);
		else if (kept->stage != STAGE_LEFT)
			agent_link_set_onlining(link, AGENT_ONLINING_LEFT);
		if (kept->stage != STAGE_UNKNOWN && kept->stage != STAGE_HELD)
			kept->stage = STAGE_LEFT;
		return;
	}
	switch (kept->stage) {
	case STAGE_UNKNOWN:
		ask_renewal(kept, link);
		return;
	case STAGE_LEFT:
		kept->stage = STAGE_LOOK;
		/* fall through */
	case STAGE_LOOK:
		ask_report(kept, link);
		return;
	case STAGE_HELD:
		if (kept->policy[0] && strcmp(agent.online_policy, kept->policy) != 0)
			ask_report(kept, link);
		else if (monotonic_ms() >= kept->renew_at_ms)
			ask_renewal(kept, link);
		return;
	case STAGE_DONE:
		return;
	}
}

/* A fresh report: of what is to be set, or of what was. */
static void on_report(void *user)
{
	struct kept *kept = guest_records_answer(user);
	const struct snapshot_guest *guest;
	struct snapshot_agent agent;
	struct agent_link *link;

	if (!kept || !look_at(kept, &guest, &agent, &link) || is_asking(kept))
		return;
	const char *policy = wanted_policy(guest, &agent);

	/* Which of the two a daemon before us had set, its size of then alone would tell. */
	if (kept->stage == STAGE_HELD && !kept->policy[0])
		snprintf(kept->policy, sizeof(kept->policy), "%s",
			 strcmp(agent.online_policy, "auto-movable") == 0 ? agent.online_policy : "online_movable");
	if (kept->stage == STAGE_LOOK && strcmp(agent.online_policy, policy) != 0) {
		ask_setting(kept, link, policy);
	} else if (kept->stage == STAGE_LOOK) {
		kept->stage = STAGE_DONE;
		tell(kept, AGENT_ONLINING_OWN);
	} else if (kept->stage == STAGE_HELD && strcmp(agent.online_policy, kept->policy) != 0) {
		ask_release(kept, link, QUESTION_LET_GO);
	} else if (kept->stage == STAGE_HELD) {
		tell(kept, AGENT_ONLINING_KEPT);
	}
}

static void hold(struct kept *kept)
{
	struct agent_link *link = look_agent(kept->keeper->options.look, kept->record.uuid);

	kept->stage = STAGE_HELD;
	kept->renew_at_ms = monotonic_ms() + ONLINE_KEEPER_LEASE_MS / 3;
	/* Its last report is from before. */
	if (link)
		ask_report(kept, link);
}

static void on_result(struct kept *kept, enum question_kind kind, const struct message_result *result)
{
	bool is_done = result->code == MESSAGE_RESULT_OK;

	switch (kind) {
	case QUESTION_RENEW:
		if (is_done && kept->stage != STAGE_HELD)
			kept->policy[0] = '\0';
		if (is_done) {
			hold(kept);
			return;
		}
		kept->stage = STAGE_LOOK;
		examine(kept);
		return;
	case QUESTION_SET:
		if (is_done) {
			hold(kept);
		} else if (result->code != MESSAGE_RESULT_BUSY) {
			/* Not tried again before its next boot, or another agent. */
			kept->stage = STAGE_DONE;
			tell(kept, AGENT_ONLINING_REFUSED);
		}
		return;
	case QUESTION_GIVE_BACK:
		/* What could not be put back at once the agent tries again. */
		kept->stage = STAGE_LEFT;
		tell(kept, AGENT_ONLINING_LEFT);
		return;
	case QUESTION_LET_GO:
		/* The lease has run out, and the agent has put the old one back: that was nobody else. */
		if (result->code == MESSAGE_RESULT_NOT_FOUND) {
			kept->stage = STAGE_LOOK;
			examine(kept);
			return;
		}
		kept->stage = STAGE_DONE;
		tell(kept, AGENT_ONLINING_OVERRULED);
		return;
	case QUESTION_REPORT:
		return;
	}
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct guest_records_question *question = user;
	enum question_kind asked = (enum question_kind)question->kind;
	struct kept *kept = guest_records_answer(question);

	if (kept && kind == AGENT_ANSWER_REPLY && message->type == MESSAGE_RESULT)
		on_result(kept, asked, &message->result);
	else if (kept)
		/* Nobody knows what has become of it. */
		kept->stage = STAGE_UNKNOWN;
}

static void arm(struct online_keeper *keeper)
{
	uint32_t ms = keeper->options.pace_ms;
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (keeper->guests.first && !evtimer_pending(keeper->timer, NULL))
		evtimer_add(keeper->timer, &when);
}

void online_keeper_check(struct online_keeper *keeper, const char *uuid)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(keeper->options.look), uuid);
	struct kept *kept = guest_records_find(&keeper->guests, uuid);

	if (!guest || guest->pid <= 0 || guest->device_count == 0) {
		guest_records_forget(&keeper->guests, uuid);
		return;
	}
	if (!kept) {
		kept = guest_records_add(&keeper->guests, guest->uuid);
		if (!kept)
			return;
		kept->keeper = keeper;
		kept->boot_count = guest->boot_count;
	}
	examine(kept);
	arm(keeper);
}

static void check_again(void *user, const char *uuid)
{
	online_keeper_check(user, uuid);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct online_keeper *keeper = user;

	guest_records_visit(&keeper->guests, check_again, keeper);
	arm(keeper);
}

struct online_keeper *online_keeper_new(const struct online_keeper_options *options)
{
	struct online_keeper *keeper = calloc(1, sizeof(*keeper));

	if (!keeper)
		return NULL;
	guest_records_init(&keeper->guests, sizeof(struct kept), NULL);
	keeper->options = *options;
	if (!keeper->options.pace_ms)
		keeper->options.pace_ms = PACE_MS;
	keeper->timer = evtimer_new(options->base, on_timer, keeper);
	return keeper->timer ? keeper : online_keeper_free(keeper);
}

struct online_keeper *online_keeper_free(struct online_keeper *keeper)
{
	if (!keeper)
		return NULL;
	guest_records_done(&keeper->guests);
	if (keeper->timer)
		event_free(keeper->timer);
	free(keeper);
	return NULL;
}
