/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API stands on: the engine, and the daemon's other doings as functions, so that a test can serve a scripted
 * host. All on the loop's thread; an answer comes once, inside the call or later.
 */
#ifndef BALLAST_SERVICE_REST_BACKEND_H
#define BALLAST_SERVICE_REST_BACKEND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "engine.h"
#include "failure.h"
#include "holder_report.h"
#include "journal.h"
#include "memory_hints.h"
#include "remainder.h"
#include "snapshot.h"

/* error 0, or -errno with failure: 404 for -ENOENT, 422 for -EPERM and -EINVAL, 409 for -EBUSY, 502 for -EIO, 503 for -ENOTCONN, 504 for -ETIMEDOUT. */
typedef void rest_done_fn(void *user, int error, const struct failure *failure, const struct remainder_list *list);

struct rest_guest_policy {
	uint64_t minimum_bytes, maximum_bytes, request_limit_bytes, allowed_nodes;
	enum guest_online_policy online_policy;
	enum guest_zone_repair zone_repair;
	int priority;
};

/* As rest_done_fn. next_block: the number to go on from, UINT64_MAX: these were the last. */
typedef void rest_guest_blocks_fn(void *user, int error, const struct failure *failure,
				  const struct snapshot_guest_block *blocks, size_t count, uint64_t next_block);

/* As rest_done_fn. report: borrowed for the call; NULL with an error. */
typedef void rest_holders_fn(void *user, int error, const struct failure *failure, const struct holder_report *report);

struct rest_backend {
	void *user;
	struct engine *engine;		/* borrowed */
	struct journal *journal;	/* borrowed */
	/* The last look; never NULL, empty before the first. Borrowed until the next turn of the loop. */
	const struct snapshot *(*snapshot)(void *user);
	/* Looks again at the host, and at one guest (UUID) or all of them (NULL). */
	void (*refresh)(void *user, const char *guest, rest_done_fn *done, void *done_user);
	/* false, with the reason, while there is no libvirt connection: guests' changes answer 503. */
	bool (*libvirt_up)(void *user, struct failure *failure);
	/* Workers that the kernel does not let go of. */
	size_t (*stuck_workers)(void *user);
	/* The object of GET /v1/host; a new reference. */
	json_t *(*host)(void *user);
	/* Who holds these ranges of host-physical memory, which stand in order and do not overlap. */
	void (*holders)(void *user, const struct snapshot_range *ranges, size_t count, rest_holders_fn *done,
			void *done_user);
	/* At most count blocks of a guest's memory devices, from this number on, and what is in them, as its agent says. */
	void (*guest_blocks)(void *user, const char *guest, uint64_t first_block, size_t count, rest_guest_blocks_fn *done,
			     void *done_user);
	/* Memory is said to go bad. actor: who says it. */
	void (*hint)(void *user, const struct memory_hint *hint, const char *actor, memory_hints_answer_fn *done,
		     void *done_user);
	void (*attach_agent)(void *user, const char *guest, rest_done_fn *done, void *done_user);
	void (*set_policy)(void *user, const char *guest, const struct rest_guest_policy *policy, rest_done_fn *done, void *done_user);
	/* Undo of what was changed round libvirt etc. is the engine's; nothing else here changes a host. */
	uint64_t (*now_ms)(void *user);
};

#endif
