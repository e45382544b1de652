/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help for sizes that are asked for through libvirt alone (virsh update-memory-device, a management tool): where one has
 * stopped changing short of what is requested, it is made an operation that climbs the ladder towards just that, settles
 * nothing, and gives way to any newer request.
 */
#ifndef BALLAST_SERVICE_SIZE_ASSISTANT_H
#define BALLAST_SERVICE_SIZE_ASSISTANT_H

#include <stdbool.h>
#include <stdint.h>
#include "look.h"
#include "wish.h"

struct event_base;
struct operation_record;
struct size_assistant;

struct size_assistant_options {
	struct event_base *base;	/* borrowed, as all here */
	struct look *look;
	uint32_t flat_ms;		/* a size unchanged for so long has stalled */
	uint32_t pace_ms;		/* how often it is seen whether that is so; 0: twice in that time */
	uint32_t read_ms;		/* each guest is read anew so often: nothing tells of a request that moves nothing */
	uint32_t pause_ms;		/* after help that did not help, and doubled each time; 0: 60000 */
	/* An operation works on the guest: it knows better until it ends. */
	bool (*is_busy)(void *user, const char *guest);
	/* Begins the operation. Where it is refused nothing more need be said: it is tried again after the pause. */
	void (*submit)(void *user, const struct wish *wish);
	void *user;
};

struct size_assistant *size_assistant_new(const struct size_assistant_options *options);
struct size_assistant *size_assistant_free(struct size_assistant *assistant);

/* The guest may have changed. */
void size_assistant_check(struct size_assistant *assistant, const char *guest);
/* An operation of OPERATION_ACTOR_LIBVIRT has ended: what was cancelled is not begun again for the same request. */
void size_assistant_ended(struct size_assistant *assistant, const struct operation_record *operation);

#endif
