/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking: keeps the last snapshot of host and guests, and looks again when asked. It listens to libvirt's events,
 * keeps the agents' lines, and has surveys made by workers. Changes nothing. On the loop's thread.
 */
#ifndef BALLAST_SERVICE_LOOK_H
#define BALLAST_SERVICE_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include "connection.h"
#include "failure.h"
#include "guest_look.h"
#include "snapshot.h"
#include "worker_pool.h"

struct agent_link;
struct event_base;
struct look;
struct sysroot;

enum look_change {
	LOOK_CHANGE_LIBVIRT,	/* the connection went up or down */
	LOOK_CHANGE_GUEST,	/* guest: size, state, agent */
	LOOK_CHANGE_AGENT,
	LOOK_CHANGE_GUEST_GONE,
	LOOK_CHANGE_HOST,
};

struct look_options {
	struct event_base *base;		/* borrowed, as all here: lives as long as the look */
	const struct sysroot *sysroot;
	struct worker_pool *pool;
	const char *libvirt_uri;		/* NULL: the default */
	const struct libvirt_ops *libvirt_ops;	/* NULL: libvirt itself */
	const char *hook_directory;		/* of the host's own hooks; NULL: none */
	uint64_t reserve_min_bytes;		/* the host keeps the larger of both */
	unsigned reserve_percent;
	bool safe_copy;				/* of struct snapshot */
	/* Adds the holds that stand now to a snapshot, and what else the daemon knows of its memory. */
	void (*add_holds)(void *user, struct snapshot *snapshot);
	/* guest: UUID, "" for none. */
	void (*changed)(void *user, enum look_change change, const char *guest);
	void *user;
};

int look_new(const struct look_options *options, struct look **ret_look, struct failure *failure);
/* Refreshes under way are dropped without a word; agents answer what is asked of them, LOST, before this returns. */
struct look *look_free(struct look *look);

/* The last look; empty before the first. Borrowed until the next turn of the loop. */
const struct snapshot *look_snapshot(const struct look *look);
struct connection *look_connection(struct look *look);
bool look_libvirt_is_up(const struct look *look, struct failure *failure);

#define LOOK_SURVEY (1u << 0)	/* residency by page table */
#define LOOK_AGENT  (1u << 1)	/* a fresh report */
/*
 * With LOOK_SURVEY: its memory policies too, where they may have changed behind our back. What is read for that, but for
 * shmem, walks all of the guest's page tables under its map lock (fs/proc/task_mmu.c show_numa_map). Those of a guest that
 * is new, or has other memory or another cpuset than at the last survey, are read anyway.
 */
#define LOOK_POLICY (1u << 2)
#define LOOK_HOLDERS (1u << 3)	/* with LOOK_AGENT: what is in the guest's virtio-mem devices, for a forecast */

/* Of the host its nodes alone: for what changes no block, between two steps. Blocks and DIMMs are those of the last look. */
#define LOOK_NODES (1u << 4)
/* Which processes of the host have memory pinned: every one of them is asked. */
#define LOOK_PINNERS (1u << 5)

typedef void look_done_fn(void *user, int error, const struct failure *failure);

/*
 * Looks again at the host, and at the guest with this UUID, or at all (NULL), or at none (""). A guest that has gone
 * is no error: it is not in the snapshot any more. -ENOTCONN while libvirt is down and a guest was asked for: the
 * host part is fresh all the same.
 */
void look_refresh(struct look *look, const char *guest, unsigned what, look_done_fn *done, void *user);
/*
 * The same, and surveys tell what lies in these host-physical ranges, up to SNAPSHOT_RANGES_MAX, as they always do of those
 * that drains hold.
 */
void look_refresh_ranges(struct look *look, const char *guest, unsigned what, const struct snapshot_range *ranges,
			 size_t count, look_done_fn *done, void *user);

/* Reads the guest's description anew; whoever is told of its changes is, when it has come. */
void look_read_guest(struct look *look, const char *uuid);

/* The agent's line of a guest, or NULL. Borrowed until the next turn of the loop. */
struct agent_link *look_agent(struct look *look, const char *uuid);

/* Told at once when the guest's sizes change or it reboots, stops or goes. One watch a step. */
struct look_watch;
struct look_watch *look_watch_new(struct look *look, const char *uuid, void (*changed)(void *user), void *user);
struct look_watch *look_watch_free(struct look_watch *watch);

/* For GET /v1/guests: placement was changed round libvirt (or is again as libvirt thinks). */
void look_set_managed(struct look *look, const char *uuid, bool managed);
/* Where the guest's moves left it to be: what drifts from there is counted, and told when it grows. */
void look_set_wanted(struct look *look, const char *uuid, uint64_t wanted_nodes, uint64_t left_nodes);
/* What was done so that it stays there: told as a change of the guest. */
void look_set_kept(struct look *look, const char *uuid, const char *detail);
/* What add_holds adds has changed: the next look_snapshot() has it. */
void look_renew(struct look *look);
/* What stands in the snapshots from now on. */
void look_set_rates(struct look *look, const struct measured_rates *rates);
void look_set_reboot(struct look *look, const struct snapshot_reboot *reboot);

#endif
