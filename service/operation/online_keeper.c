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
	char uuid[SNAPSHOT_UUID_SIZE];
	uint64_t boot_count;
	enum stage stage;
	bool is_asking;
	char policy[24]; /* HELD: what was set, empty where a daemon before us set it */
	uint64_t renew_at_ms;
	struct kept *next;
};

/* A question on its way. It outlives the guest, and the keeper. */
struct question {
	struct online_keeper *keeper; /* NULL: nobody waits for it any more */
	char uuid[SNAPSHOT_UUID_SIZE];
	enum question_kind kind;
	struct question *next;
};

struct online_keeper {
	struct online_keeper_options options;
	struct event *timer;	    /* owned */
	struct kept *guests;	    /* owned */
	struct question *questions; /* each is freed by its answer */
};

static struct kept **find(struct online_keeper *keeper, const char *uuid)
{
	struct kept **link = &keeper->guests;

	while (*link && strcmp((*link)->uuid, uuid) != 0)
		link = &(*link)->next;
	return link;
}

static void forget(struct kept **link)
{
	struct kept *kept = *link;

	*link = kept->next;
	free(kept);
}

static struct question *question_new(struct online_keeper *keeper, struct kept *kept, enum question_kind kind)
{
	struct question *question = calloc(1, sizeof(*question));

	if (!question)
		return NULL;
	*question = (struct question){.keeper = keeper, .kind = kind, .next = keeper->questions};
	memcpy(question->uuid, kept->uuid, sizeof(question->uuid));
	keeper->questions = question;
	kept->is_asking = true;
	return question;
}

/* Takes it out of the list and gives back whose it is; NULL where nobody waits for it. */
static struct kept *question_end(struct question *question)
{
	struct online_keeper *keeper = question->keeper;
	struct kept *kept = NULL;

	if (keeper) {
		struct question **link = &keeper->questions;

		while (*link != question)
			link = &(*link)->next;
		*link = question->next;
		kept = *find(keeper, question->uuid);
	}
	if (kept)
		kept->is_asking = false;
	return kept;
}

static void tell(struct online_keeper *keeper, const struct kept *kept, enum agent_onlining onlining)
{
	struct agent_link *link = look_agent(keeper->options.look, kept->uuid);

	if (link)
		agent_link_set_onlining(link, onlining);
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message);

static void ask(struct online_keeper *keeper, struct kept *kept, struct agent_link *link, enum question_kind kind,
		const struct message *message)
{
	struct question *question = question_new(keeper, kept, kind);

	if (!question)
		return;
	if (agent_link_request(link, message, TIMEOUT_MS, on_answer, NULL, question, NULL) == 0)
		return;
	/* Asked again with the next look. */
	question_end(question);
	free(question);
}

static void ask_renewal(struct online_keeper *keeper, struct kept *kept, struct agent_link *link)
{
	struct message message = {.type = MESSAGE_RENEW_LEASE};

	message.renew_lease.lease = (struct message_lease){ONLINE_KEEPER_LEASE, ONLINE_KEEPER_LEASE_MS};
	ask(keeper, kept, link, QUESTION_RENEW, &message);
}

static void ask_release(struct online_keeper *keeper, struct kept *kept, struct agent_link *link,
			enum question_kind kind)
{
	struct message message = {.type = MESSAGE_RELEASE_LEASE};

	message.release_lease.lease_id = ONLINE_KEEPER_LEASE;
	/* What somebody has set in the guest since is not ours to undo. */
	message.release_lease.flags = kind == QUESTION_LET_GO ? MESSAGE_RELEASE_KEEP_POLICY : 0;
	ask(keeper, kept, link, kind, &message);
}

static void ask_setting(struct online_keeper *keeper, struct kept *kept, struct agent_link *link, const char *policy)
{
	struct message message = {.type = MESSAGE_SET_ONLINE_POLICY};
	bool is_automatic = strcmp(policy, "auto-movable") == 0;

	message.set_online_policy.lease = (struct message_lease){ONLINE_KEEPER_LEASE, ONLINE_KEEPER_LEASE_MS};
	message.set_online_policy.policy = is_automatic ? MESSAGE_ONLINE_POLICY_AUTO_MOVABLE : MESSAGE_ONLINE_POLICY_MOVABLE;
	message.set_online_policy.auto_movable_ratio = is_automatic ? keeper->options.ratio_percent : 0;
	snprintf(kept->policy, sizeof(kept->policy), "%s", policy);
	ask(keeper, kept, link, QUESTION_SET, &message);
}

static void on_report(void *user);

static void ask_report(struct online_keeper *keeper, struct kept *kept, struct agent_link *link)
{
	struct question *question = question_new(keeper, kept, QUESTION_REPORT);

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
static bool look_at(struct online_keeper *keeper, struct kept *kept, const struct snapshot_guest **ret_guest,
		    struct snapshot_agent *ret_agent, struct agent_link **ret_link)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(keeper->options.look), kept->uuid);
	struct agent_link *link = look_agent(keeper->options.look, kept->uuid);

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
	       !keeper->options.is_busy(keeper->options.user, kept->uuid);
}

static void examine(struct online_keeper *keeper, struct kept *kept)
{
	const struct snapshot_guest *guest;
	struct snapshot_agent agent;
	struct agent_link *link;

	/* What the look has told may have asked already. */
	if (keeper->options.observe || !look_at(keeper, kept, &guest, &agent, &link) || kept->is_asking)
		return;
	if (!is_wanted(keeper, guest)) {
		if (kept->stage == STAGE_UNKNOWN || kept->stage == STAGE_HELD)
			ask_release(keeper, kept, link, QUESTION_GIVE_BACK);
		else if (kept->stage != STAGE_LEFT)
			agent_link_set_onlining(link, AGENT_ONLINING_LEFT);
		if (kept->stage != STAGE_UNKNOWN && kept->stage != STAGE_HELD)
			kept->stage = STAGE_LEFT;
		return;
	}
	switch (kept->stage) {
	case STAGE_UNKNOWN:
		ask_renewal(keeper, kept, link);
		return;
	case STAGE_LEFT:
		kept->stage = STAGE_LOOK;
		/* fall through */
	case STAGE_LOOK:
		ask_report(keeper, kept, link);
		return;
	case STAGE_HELD:
		if (kept->policy[0] && strcmp(agent.online_policy, kept->policy) != 0)
			ask_report(keeper, kept, link);
		else if (monotonic_ms() >= kept->renew_at_ms)
			ask_renewal(keeper, kept, link);
		return;
	case STAGE_DONE:
		return;
	}
}

/* A fresh report: of what is to be set, or of what was. */
static void on_report(void *user)
{
	struct question *question = user;
	struct online_keeper *keeper = question->keeper;
	struct kept *kept = question_end(question);
	const struct snapshot_guest *guest;
	struct snapshot_agent agent;
	struct agent_link *link;

	free(question);
	if (!kept || !look_at(keeper, kept, &guest, &agent, &link) || kept->is_asking)
		return;
	const char *policy = wanted_policy(guest, &agent);

	/* Which of the two a daemon before us had set, its size of then alone would tell. */
	if (kept->stage == STAGE_HELD && !kept->policy[0])
		snprintf(kept->policy, sizeof(kept->policy), "%s",
			 strcmp(agent.online_policy, "auto-movable") == 0 ? agent.online_policy : "online_movable");
	if (kept->stage == STAGE_LOOK && strcmp(agent.online_policy, policy) != 0) {
		ask_setting(keeper, kept, link, policy);
	} else if (kept->stage == STAGE_LOOK) {
		kept->stage = STAGE_DONE;
		tell(keeper, kept, AGENT_ONLINING_OWN);
	} else if (kept->stage == STAGE_HELD && strcmp(agent.online_policy, kept->policy) != 0) {
		ask_release(keeper, kept, link, QUESTION_LET_GO);
	} else if (kept->stage == STAGE_HELD) {
		tell(keeper, kept, AGENT_ONLINING_KEPT);
	}
}

static void hold(struct online_keeper *keeper, struct kept *kept)
{
	struct agent_link *link = look_agent(keeper->options.look, kept->uuid);

	kept->stage = STAGE_HELD;
	kept->renew_at_ms = monotonic_ms() + ONLINE_KEEPER_LEASE_MS / 3;
	/* Its last report is from before. */
	if (link)
		ask_report(keeper, kept, link);
}

static void on_result(struct online_keeper *keeper, struct kept *kept, enum question_kind kind,
		      const struct message_result *result)
{
	bool is_done = result->code == MESSAGE_RESULT_OK;

	switch (kind) {
	case QUESTION_RENEW:
		if (is_done && kept->stage != STAGE_HELD)
			kept->policy[0] = '\0';
		if (is_done) {
			hold(keeper, kept);
			return;
		}
		kept->stage = STAGE_LOOK;
		examine(keeper, kept);
		return;
	case QUESTION_SET:
		if (is_done) {
			hold(keeper, kept);
		} else if (result->code != MESSAGE_RESULT_BUSY) {
			/* Not tried again before its next boot, or another agent. */
			kept->stage = STAGE_DONE;
			tell(keeper, kept, AGENT_ONLINING_REFUSED);
		}
		return;
	case QUESTION_GIVE_BACK:
		/* What could not be put back at once the agent tries again. */
		kept->stage = STAGE_LEFT;
		tell(keeper, kept, AGENT_ONLINING_LEFT);
		return;
	case QUESTION_LET_GO:
		/* The lease has run out, and the agent has put the old one back: that was nobody else. */
		if (result->code == MESSAGE_RESULT_NOT_FOUND) {
			kept->stage = STAGE_LOOK;
			examine(keeper, kept);
			return;
		}
		kept->stage = STAGE_DONE;
		tell(keeper, kept, AGENT_ONLINING_OVERRULED);
		return;
	case QUESTION_REPORT:
		return;
	}
}

static void on_answer(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct question *question = user;
	struct online_keeper *keeper = question->keeper;
	struct kept *kept = question_end(question);

	if (kept && kind == AGENT_ANSWER_REPLY && message->type == MESSAGE_RESULT)
		on_result(keeper, kept, question->kind, &message->result);
	else if (kept)
		/* Nobody knows what has become of it. */
		kept->stage = STAGE_UNKNOWN;
	free(question);
}

static void arm(struct online_keeper *keeper)
{
	uint32_t ms = keeper->options.pace_ms;
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (keeper->guests && !evtimer_pending(keeper->timer, NULL))
		evtimer_add(keeper->timer, &when);
}

void online_keeper_check(struct online_keeper *keeper, const char *uuid)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(keeper->options.look), uuid);
	struct kept **link = find(keeper, uuid);

	if (!guest || guest->pid <= 0 || guest->device_count == 0) {
		if (*link)
			forget(link);
		return;
	}
	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			return;
		memcpy((*link)->uuid, guest->uuid, sizeof(guest->uuid));
		(*link)->boot_count = guest->boot_count;
	}
	examine(keeper, *link);
	arm(keeper);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct online_keeper *keeper = user;
	char uuid[SNAPSHOT_UUID_SIZE];

	for (struct kept *kept = keeper->guests, *next; kept; kept = next) {
		next = kept->next;
		memcpy(uuid, kept->uuid, sizeof(uuid));
		online_keeper_check(keeper, uuid);
	}
	arm(keeper);
}

struct online_keeper *online_keeper_new(const struct online_keeper_options *options)
{
	struct online_keeper *keeper = calloc(1, sizeof(*keeper));

	if (!keeper)
		return NULL;
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
	while (keeper->guests)
		forget(&keeper->guests);
	for (struct question *question = keeper->questions; question; question = question->next)
		question->keeper = NULL;
	if (keeper->timer)
		event_free(keeper->timer);
	free(keeper);
	return NULL;
}
