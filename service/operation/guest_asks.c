/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	wanted_bytes is not 0          decided, the agent is told
 *	------------------> HEARD --------------------------> answered --the pause is over--> forgotten
 *	                     |  ^                              |
 *	   somebody works on |  | until that has ended         | an agent that did not hear asks again
 *	                     +--+                              +--> ...
 *
 * A guest is not believed but in what it wants. How often that costs anything is bounded by the pause.
 */
#include "guest_asks.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "agent_link.h"
#include "byte_cursor.h"
#include "clock.h"
#include "guest_records.h"
#include "message.h"
#include "size_text.h"

#define PAUSE_MS	  30000u
#define ANSWER_TIMEOUT_MS 10000u

struct asking {
	struct guest_record record;
	uint64_t wanted_bytes, granted_bytes; /* of the question that is being decided */
	bool is_part;			      /* of it; the guest asks for the rest again, when its policy may allow more */
	bool is_pending;		      /* submitted, not decided */
	uint64_t not_before_ms;		      /* 0: not answered yet */
};

struct guest_asks {
	struct guest_asks_options options;
	struct event *timer; /* owned */
	struct guest_records guests;
};

static void ignore(void *user, enum agent_answer_kind kind, const struct message *message)
{
	/* An agent that has not heard it asks again. */
}

static void answer(struct guest_asks *asks, struct asking *asking, enum message_result_code code, const char *text)
{
	struct agent_link *link = look_agent(asks->options.look, asking->record.uuid);
	struct message message = {.type = MESSAGE_ANSWER_WISH};

	asking->is_pending = false;
	asking->not_before_ms = monotonic_ms() + asks->options.pause_ms;
	message.answer_wish.wanted_bytes = asking->wanted_bytes;
	message.answer_wish.code = code;
	snprintf(message.answer_wish.text, sizeof(message.answer_wish.text), "%s", text);
	byte_cursor_make_text(message.answer_wish.text);
	if (link)
		agent_link_request(link, &message, ANSWER_TIMEOUT_MS, ignore, NULL, NULL, NULL);
}

/* What the policy lets it have of what it wants: whole blocks above its base. */
static uint64_t allowed_bytes(const struct snapshot_guest *guest, uint64_t wanted)
{
	uint64_t block = 1;

	if (wanted > guest->request_limit_bytes)
		wanted = guest->request_limit_bytes;
	if (wanted > guest->max_bytes)
		wanted = guest->max_bytes;
	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].block_bytes > block)
			block = guest->devices[i].block_bytes;
	if (wanted <= guest->base_bytes)
		return wanted;
	return guest->base_bytes + (wanted - guest->base_bytes) / block * block;
}

static void decide(struct guest_asks *asks, struct asking *asking, const struct snapshot_guest *guest, uint64_t wanted)
{
	char text[200], size[SIZE_TEXT_SIZE];
	struct wish wish;

	asking->wanted_bytes = wanted;
	asking->granted_bytes = allowed_bytes(guest, wanted);
	asking->is_part = wanted > guest->request_limit_bytes;
	if (asking->wanted_bytes <= guest->current_bytes) {
		answer(asks, asking, MESSAGE_RESULT_OK, "it has as much");
	} else if (!guest->request_limit_bytes) {
		answer(asks, asking, MESSAGE_RESULT_VETOED, "its policy lets it ask for nothing");
	} else if (asking->granted_bytes <= guest->current_bytes) {
		snprintf(text, sizeof(text), "its policy lets it ask for %s, which it has",
			 size_text_format(guest->request_limit_bytes, size));
		answer(asks, asking, MESSAGE_RESULT_VETOED, text);
	} else if (asks->options.observe) {
		answer(asks, asking, MESSAGE_RESULT_VETOED, "the host only observes");
	} else {
		wish_init(&wish, OPERATION_KIND_RESIZE);
		snprintf(wish.guest, sizeof(wish.guest), "%s", guest->uuid);
		wish.resize.target_bytes = asking->granted_bytes;
		asking->is_pending = true;
		asks->options.submit(asks->options.user, &wish);
	}
}

/* Sizes that are being changed are somebody's wish. */
static bool is_settled(const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].requested_bytes != guest->devices[i].current_bytes)
			return false;
	return true;
}

/* What its last heartbeat asked for: what the snapshot has may be from before. */
static uint64_t wanted_bytes(const struct guest_asks *asks, const char *uuid)
{
	const struct agent_link *link = look_agent(asks->options.look, uuid);

	return link ? agent_link_wanted_bytes(link) : 0;
}

/* True while it is to be looked at again. */
static bool examine(struct guest_asks *asks, const char *uuid)
{
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(asks->options.look), uuid);
	struct asking *asking = guest_records_find(&asks->guests, uuid);
	uint64_t wanted = guest && guest->pid > 0 ? wanted_bytes(asks, uuid) : 0;

	if (asking && asking->is_pending)
		return true;
	if (!wanted) {
		/* Who asks, and asks again at once, waits for the end of the pause all the same. */
		if (asking && monotonic_ms() < asking->not_before_ms)
			return true;
		guest_records_forget(&asks->guests, uuid);
		return false;
	}
	if (!asking)
		asking = guest_records_add(&asks->guests, guest->uuid);
	if (!asking)
		return false;
	if (monotonic_ms() >= asking->not_before_ms && is_settled(guest) && !guest->migrating &&
	    !asks->options.is_busy(asks->options.user, uuid))
		decide(asks, asking, guest, wanted);
	return true;
}

static void arm(struct guest_asks *asks)
{
	uint32_t ms = asks->options.pause_ms / 8 + 1;
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (asks->guests.first && !evtimer_pending(asks->timer, NULL))
		evtimer_add(asks->timer, &when);
}

void guest_asks_check(struct guest_asks *asks, const char *guest)
{
	examine(asks, guest);
	arm(asks);
}

void guest_asks_decided(struct guest_asks *asks, const char *guest, const struct failure *failure)
{
	struct asking *asking = guest_records_find(&asks->guests, guest);
	char text[512], size[SIZE_TEXT_SIZE];

	if (!asking || !asking->is_pending)
		return;
	if (failure) {
		answer(asks, asking, MESSAGE_RESULT_VETOED, failure_format(failure, text, sizeof(text)));
		return;
	}
	snprintf(text, sizeof(text), "it is given %s in all", size_text_format(asking->granted_bytes, size));
	answer(asks, asking, asking->is_part ? MESSAGE_RESULT_PARTIAL : MESSAGE_RESULT_OK, text);
}

static void check_again(void *user, const char *uuid)
{
	examine(user, uuid);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct guest_asks *asks = user;

	guest_records_visit(&asks->guests, check_again, asks);
	arm(asks);
}

struct guest_asks *guest_asks_new(const struct guest_asks_options *options)
{
	struct guest_asks *asks = calloc(1, sizeof(*asks));

	if (!asks)
		return NULL;
	guest_records_init(&asks->guests, sizeof(struct asking), NULL);
	asks->options = *options;
	if (!asks->options.pause_ms)
		asks->options.pause_ms = PAUSE_MS;
	asks->timer = evtimer_new(options->base, on_timer, asks);
	return asks->timer ? asks : guest_asks_free(asks);
}

struct guest_asks *guest_asks_free(struct guest_asks *asks)
{
	if (!asks)
		return NULL;
	guest_records_done(&asks->guests);
	if (asks->timer)
		event_free(asks->timer);
	free(asks);
	return NULL;
}
