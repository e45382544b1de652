/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	  requested is not current                 unchanged for flat_ms, and free to help
 *	----------------------------> NOTICED ----------------------------------------> helped
 *	                              ^    |                                               |
 *	      a newer request: at once|    | requested is reached: forgotten               |
 *	      else after a pause      +----+-----------------------------------------------+
 *
 * Without an agent nothing inside can help, but the driver is woken by the same request again instead of sleeping its 50
 * to 300 s out. One that is about to come is waited for.
 */
#include "size_assistant.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "guest_records.h"
#include "operation_record.h"

#define PAUSE_MS      60000u
#define PAUSE_MOST_MS 960000u
/* As often as this one guest is read, however many there are. */
#define READ_LEAST_MS 500u

struct noticed {
	struct guest_record record;
	uint64_t requested[SNAPSHOT_DEVICES_MAX], current[SNAPSHOT_DEVICES_MAX];
	uint64_t boot_count;
	uint64_t changed_at_ms;
	bool has_agent, had_agent;	/* now; since the request */
	uint64_t not_before_ms;		/* the pause */
	uint32_t pause_ms;
	uint64_t helped_bytes;		/* the guest's size when it was last helped */
	bool is_cancelled;		/* by somebody, for this request */
};

struct size_assistant {
	struct size_assistant_options options;
	struct event *timer, *reader;	/* owned */
	struct guest_records guests;
	char last_read[SNAPSHOT_UUID_SIZE];
};

static void arm(struct event *event, uint32_t ms)
{
	struct timeval when = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(event, &when);
}

static bool is_short(const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].requested_bytes != guest->devices[i].current_bytes)
			return true;
	return false;
}

static bool is_shrink(const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->device_count; i++)
		if (guest->devices[i].requested_bytes < guest->devices[i].current_bytes)
			return true;
	return false;
}

/* An agent that goes may be back at once, and what was tried without one ends no pause twice. */
static void take_agent(struct size_assistant *assistant, struct noticed *noticed, const struct snapshot_guest *guest)
{
	bool has_agent = guest->agent.state == AGENT_STATE_READY;

	if (noticed->has_agent != has_agent)
		noticed->changed_at_ms = monotonic_ms();
	if (has_agent && !noticed->had_agent) {
		noticed->not_before_ms = 0;
		noticed->pause_ms = assistant->options.pause_ms;
	}
	noticed->has_agent = has_agent;
	noticed->had_agent |= has_agent;
}

/* The time since the last change begins anew; a newer request ends a pause, and so does progress. */
static void take_sizes(struct size_assistant *assistant, struct noticed *noticed, const struct snapshot_guest *guest)
{
	bool is_new = noticed->boot_count != guest->boot_count, has_moved = false;

	for (size_t i = 0; i < SNAPSHOT_DEVICES_MAX; i++) {
		uint64_t requested = i < guest->device_count ? guest->devices[i].requested_bytes : 0;
		uint64_t current = i < guest->device_count ? guest->devices[i].current_bytes : 0;

		is_new |= noticed->requested[i] != requested;
		has_moved |= noticed->current[i] != current;
		noticed->requested[i] = requested;
		noticed->current[i] = current;
	}
	noticed->boot_count = guest->boot_count;
	if (is_new || has_moved)
		noticed->changed_at_ms = monotonic_ms();
	if (!is_new)
		return;
	noticed->not_before_ms = 0;
	noticed->pause_ms = assistant->options.pause_ms;
	noticed->is_cancelled = noticed->had_agent = false;
}

static bool is_agent_in_the_way(const struct snapshot_guest *guest)
{
	const struct snapshot_agent *agent = &guest->agent;

	return agent->state == AGENT_STATE_CONNECTING ||
	       (agent->state == AGENT_STATE_READY && (!agent->reported || (agent->veto && is_shrink(guest))));
}

/* For lack of what comes by itself or not at all it is not waited for eagerly. */
static bool is_worth_reading(const struct size_assistant *assistant, const struct noticed *noticed)
{
	const struct size_assistant_options *options = &assistant->options;
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(options->look), noticed->record.uuid);

	return guest && !noticed->is_cancelled && monotonic_ms() >= noticed->not_before_ms &&
	       !options->is_busy(options->user, noticed->record.uuid);
}

static bool is_ready(const struct size_assistant *assistant, const struct noticed *noticed,
		     const struct snapshot_guest *guest)
{
	uint64_t now = monotonic_ms();

	return guest->state == GUEST_STATE_RUNNING && !guest->migrating && !is_agent_in_the_way(guest) &&
	       !noticed->is_cancelled && now >= noticed->changed_at_ms + assistant->options.flat_ms &&
	       now >= noticed->not_before_ms;
}

static void help(struct size_assistant *assistant, struct noticed *noticed, const struct snapshot_guest *guest)
{
	struct wish wish;

	/* What the last help brought was worth the same again. */
	if (noticed->helped_bytes && noticed->helped_bytes != guest->current_bytes)
		noticed->pause_ms = assistant->options.pause_ms;
	noticed->helped_bytes = guest->current_bytes;
	noticed->not_before_ms = monotonic_ms() + noticed->pause_ms;
	noticed->pause_ms = noticed->pause_ms > PAUSE_MOST_MS / 2 ? PAUSE_MOST_MS : noticed->pause_ms * 2;
	wish_init(&wish, OPERATION_KIND_RESIZE);
	snprintf(wish.guest, sizeof(wish.guest), "%s", guest->uuid);
	/* The request was there before, and stands whatever becomes of the help. */
	wish.on_timeout = ON_TIMEOUT_CONTINUE;
	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];

		if (device->requested_bytes == device->current_bytes)
			continue;
		snprintf(wish.resize.devices[wish.resize.device_count].alias, SNAPSHOT_NAME_SIZE, "%s", device->alias);
		wish.resize.devices[wish.resize.device_count++].requested_bytes = device->requested_bytes;
	}
	assistant->options.submit(assistant->options.user, &wish);
}

/* True while it is to be looked at again. */
static bool examine(struct size_assistant *assistant, const char *uuid)
{
	const struct size_assistant_options *options = &assistant->options;
	const struct snapshot_guest *guest = snapshot_guest(look_snapshot(options->look), uuid);
	struct noticed *noticed = guest_records_find(&assistant->guests, uuid);

	if (!guest || guest->pid <= 0 || !is_short(guest)) {
		guest_records_forget(&assistant->guests, uuid);
		return false;
	}
	if (!noticed) {
		noticed = guest_records_add(&assistant->guests, guest->uuid);
		if (!noticed)
			return false;
		noticed->changed_at_ms = monotonic_ms();
		noticed->pause_ms = options->pause_ms;
		noticed->boot_count = guest->boot_count;
	}
	take_sizes(assistant, noticed, guest);
	take_agent(assistant, noticed, guest);
	if (options->is_busy(options->user, uuid))
		/* The time counts from its end. */
		noticed->changed_at_ms = monotonic_ms();
	else if (is_ready(assistant, noticed, guest))
		help(assistant, noticed, guest);
	return true;
}

void size_assistant_check(struct size_assistant *assistant, const char *guest)
{
	if (examine(assistant, guest) && !evtimer_pending(assistant->timer, NULL))
		arm(assistant->timer, assistant->options.pace_ms);
}

static void check_again(void *user, const char *uuid)
{
	struct size_assistant *assistant = user;

	/* What is requested stands in the XML alone. */
	if (is_worth_reading(assistant, guest_records_find(&assistant->guests, uuid)))
		look_read_guest(assistant->options.look, uuid);
	examine(assistant, uuid);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct size_assistant *assistant = user;

	guest_records_visit(&assistant->guests, check_again, assistant);
	if (assistant->guests.first)
		arm(assistant->timer, assistant->options.pace_ms);
}

static bool can_be_asked(const struct snapshot_guest *guest)
{
	return guest->pid > 0 && guest->device_count > 0;
}

/* One guest after another, so that all have been read within read_ms, or as soon as that goes. */
static void on_read(evutil_socket_t fd, short what, void *user)
{
	struct size_assistant *assistant = user;
	const struct snapshot *snapshot = look_snapshot(assistant->options.look);
	const struct snapshot_guest *first = NULL, *chosen = NULL;
	uint32_t count = 0, ms = assistant->options.read_ms;

	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];

		if (!can_be_asked(guest))
			continue;
		count++;
		if (!first || strcmp(guest->uuid, first->uuid) < 0)
			first = guest;
		if (strcmp(guest->uuid, assistant->last_read) > 0 && (!chosen || strcmp(guest->uuid, chosen->uuid) < 0))
			chosen = guest;
	}
	if (!chosen)
		chosen = first;
	if (chosen) {
		memcpy(assistant->last_read, chosen->uuid, sizeof(assistant->last_read));
		look_read_guest(assistant->options.look, chosen->uuid);
	}
	if (count)
		ms = ms / count > READ_LEAST_MS || ms < READ_LEAST_MS ? ms / count : READ_LEAST_MS;
	arm(assistant->reader, ms);
}

void size_assistant_ended(struct size_assistant *assistant, const struct operation_record *operation)
{
	struct noticed *noticed = guest_records_find(&assistant->guests, operation->wish.guest);

	if (strcmp(operation->actor, OPERATION_ACTOR_LIBVIRT) != 0 || !noticed)
		return;
	noticed->not_before_ms = noticed->not_before_ms ? monotonic_ms() + noticed->pause_ms / 2 : 0;
	noticed->is_cancelled |= operation->state == OPERATION_STATE_CANCELLED && !operation->superseded_by[0];
}

struct size_assistant *size_assistant_new(const struct size_assistant_options *options)
{
	struct size_assistant *assistant = calloc(1, sizeof(*assistant));

	if (!assistant)
		return NULL;
	guest_records_init(&assistant->guests, sizeof(struct noticed), NULL);
	assistant->options = *options;
	if (!assistant->options.pause_ms)
		assistant->options.pause_ms = PAUSE_MS;
	if (!assistant->options.pace_ms)
		assistant->options.pace_ms = options->flat_ms / 2 + 1;
	assistant->timer = evtimer_new(options->base, on_timer, assistant);
	assistant->reader = evtimer_new(options->base, on_read, assistant);
	if (!assistant->timer || !assistant->reader)
		return size_assistant_free(assistant);
	arm(assistant->reader, options->read_ms);
	return assistant;
}

struct size_assistant *size_assistant_free(struct size_assistant *assistant)
{
	if (!assistant)
		return NULL;
	guest_records_done(&assistant->guests);
	if (assistant->timer)
		event_free(assistant->timer);
	if (assistant->reader)
		event_free(assistant->reader);
	free(assistant);
	return NULL;
}
