/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest of a fake world: its size, what stands in the way of a shrink, and what its agent has changed under a lease.
 * Each rung of the ladder gains what it is for: so there are guests in which a shrink needs it.
 */
#ifndef BALLAST_TESTS_FAKE_GUEST_H
#define BALLAST_TESTS_FAKE_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include "operation_record.h"
#include "snapshot.h"

struct executor_outcome;

#define FAKE_MIB	(UINT64_C(1) << 20)
#define FAKE_GIB	(UINT64_C(1) << 30)
#define FAKE_NODES	3
#define FAKE_GUEST_BASE (256 * FAKE_MIB)

/* What keeps the memory that is to leave, until a rung of the ladder sees to it. */
struct fake_obstacles {
	uint64_t app_bytes;	  /* an application, that a hook of the guest tells to let go */
	uint64_t huge_used_bytes; /* huge pages, for which room must be made before their blocks can go */
	uint64_t cold_bytes;	  /* what nobody has touched for long, to be reclaimed */
	uint64_t pinned_bytes;	  /* free, but in blocks that cannot leave for a page of somebody's */
};

/* Under the operation of that id; empty: there is none. All of it ends with it. */
struct fake_lease {
	char operation[OPERATION_ID_SIZE];
	bool is_hooked;		/* its hooks were told "before", and not yet "after" */
	bool sets_policy;	/* of onlining */
	bool takes_offline;	/* unplug_online is off while blocks go offline */
	uint64_t freed_bytes;	/* by which the pool of huge pages has become smaller */
	uint64_t room_bytes;	/* by which it has grown, and which nobody uses yet */
	uint64_t offline_bytes; /* of what is plugged */
};

struct fake_guest {
	uint64_t node_bytes[FAKE_NODES];
	uint64_t policy_nodes, numatune_nodes, stored_nodes, cpuset_mems, cpu_nodes;
	uint64_t requested_bytes, current_bytes;
	uint64_t huge_free_bytes;
	uint64_t huge_owed_bytes;  /* by which shrinks that were kept have made the pool smaller */
	uint64_t huge_moved_bytes; /* in use, where they are in nobody's way any more */
	uint64_t stuck_above; /* shrinks no further than this until it is kicked; 0: not stuck */
	bool is_full; /* its obstacles count, and all of its base but 64 MiB is in use; else half of it is available */
	struct fake_obstacles obstacles;
	struct fake_lease lease;
	enum policy_mode policy_mode;
	unsigned starts; /* of its QEMU, after the first */
};

/* How far down its driver, or its balloon, gets by itself just now. */
uint64_t fake_guest_least_bytes(const struct fake_guest *guest);
/* So much leaves, what is offline first; returns how much of it was still online. */
uint64_t fake_guest_unplug(struct fake_guest *guest, uint64_t bytes);
/* A step of its agent that changes the guest: half of it, or the rest. False: it is no such step. */
bool fake_guest_climb(struct fake_guest *guest, const char *operation, const struct step *step, bool half,
		      struct executor_outcome *outcome);
/* Of that operation; another's stands. What huge pages were given up stays so, or comes back. */
void fake_guest_end_lease(struct fake_guest *guest, const char *operation, bool keeps_pools);
/* Gives back what is owed but for so much. */
void fake_guest_repay(struct fake_guest *guest, uint64_t owed_bytes);
/* Nobody hears of what its agent is doing: that ends it. */
void fake_guest_lose_host(struct fake_guest *guest);
/* No lease, and nothing of what stands under one. */
bool fake_guest_is_as_found(const struct fake_guest *guest);
/* The size of its pool of huge pages. */
uint64_t fake_guest_pool_bytes(const struct fake_guest *guest);
/* What its agent tells of its memory. */
void fake_guest_see(const struct fake_guest *guest, struct snapshot_agent *ret_agent);

#endif
