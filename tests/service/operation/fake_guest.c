/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a guest that is full, of its current size:
 *
 *	used		its base but 64 MiB, the pool of huge pages, and the obstacles, but for pinned pages: these are few
 *	kept		that, as much again as there are huge pages in use (they lie scattered over blocks that could else go),
 *			and the blocks with pinned pages
 *	offline		what went offline under the lease, and leaves first
 *	room		free huge pages, for those in use to move to
 *	available	the rest
 */
#include "fake_guest.h"

/* What they check must hold in whatever the build type is. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "executor.h"
#include "step.h"

#define SPARE_BYTES (64 * FAKE_MIB)

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t used_bytes(const struct fake_guest *guest)
{
	const struct fake_obstacles *obstacles = &guest->obstacles;

	return FAKE_GUEST_BASE - SPARE_BYTES + guest->huge_free_bytes + guest->huge_moved_bytes + obstacles->app_bytes +
	       obstacles->huge_used_bytes + obstacles->cold_bytes;
}

static uint64_t available_bytes(const struct fake_guest *guest)
{
	uint64_t gone = used_bytes(guest) + guest->lease.offline_bytes + guest->lease.room_bytes;

	if (!guest->is_full)
		return (guest->current_bytes - least(guest->current_bytes, guest->lease.offline_bytes)) / 2;
	return guest->current_bytes - least(guest->current_bytes, gone);
}

static uint64_t kept_bytes(const struct fake_guest *guest)
{
	return guest->is_full ? used_bytes(guest) + guest->obstacles.huge_used_bytes + guest->obstacles.pinned_bytes
			      : FAKE_GUEST_BASE;
}

uint64_t fake_guest_least_bytes(const struct fake_guest *guest)
{
	uint64_t bytes = most(guest->stuck_above, kept_bytes(guest));

	return guest->lease.takes_offline ? most(bytes, guest->current_bytes - guest->lease.offline_bytes) : bytes;
}

static uint64_t take(uint64_t *bytes, uint64_t wanted)
{
	wanted = least(*bytes, wanted);
	*bytes -= wanted;
	return wanted;
}

uint64_t fake_guest_unplug(struct fake_guest *guest, uint64_t bytes)
{
	guest->current_bytes -= bytes;
	return bytes - take(&guest->lease.offline_bytes, bytes);
}

/* ---- the rungs ---- */

static uint64_t make_room(struct fake_guest *guest, uint64_t wanted)
{
	uint64_t lacks = guest->obstacles.huge_used_bytes - least(guest->obstacles.huge_used_bytes, guest->lease.room_bytes);

	wanted = least(least(wanted, lacks), available_bytes(guest));
	guest->lease.room_bytes += wanted;
	return wanted;
}

/* Until so much is offline: blocks that huge pages leave for the room, and then any. */
static void take_offline(struct fake_guest *guest, uint64_t goal)
{
	struct fake_lease *lease = &guest->lease;
	uint64_t more = goal - least(goal, lease->offline_bytes), moved, below;

	moved = take(&guest->obstacles.huge_used_bytes, least(lease->room_bytes, more / 2));
	lease->room_bytes -= moved;
	guest->huge_moved_bytes += moved;
	lease->offline_bytes += 2 * moved;
	below = most(guest->stuck_above, kept_bytes(guest)) + lease->offline_bytes;
	lease->offline_bytes += least(more - 2 * moved, guest->current_bytes - least(guest->current_bytes, below));
}

/* Those that are offline already are among what it got. */
static uint64_t offline_blocks(struct fake_guest *guest, const struct step *step, bool half)
{
	uint64_t goal = step->bytes, before = half ? 0 : guest->lease.offline_bytes;

	if (step->range_count)
		goal = least(goal, snapshot_ranges_bytes(step->ranges, step->range_count));
	guest->lease.takes_offline = half;
	take_offline(guest, half ? goal / 2 : goal);
	return least(guest->lease.offline_bytes, goal) - least(before, goal);
}

bool fake_guest_climb(struct fake_guest *guest, const char *operation, const struct step *step, bool half,
		      struct executor_outcome *outcome)
{
	uint64_t share = half ? step->bytes / 2 : step->bytes - step->bytes / 2;
	struct fake_lease *lease = &guest->lease;

	switch ((int)step->kind) {
	case STEP_KIND_FREE_HUGE_PAGES:
		outcome->bytes_done = take(&guest->huge_free_bytes, share);
		lease->freed_bytes += outcome->bytes_done;
		break;
	case STEP_KIND_RUN_HOOKS:
		outcome->bytes_done = take(&guest->obstacles.app_bytes, half ? guest->obstacles.app_bytes / 2 : UINT64_MAX);
		lease->is_hooked = true;
		break;
	case STEP_KIND_MAKE_GUEST_ROOM:
		outcome->bytes_done = make_room(guest, share);
		break;
	case STEP_KIND_RECLAIM:
		outcome->bytes_done = take(&guest->obstacles.cold_bytes, share);
		break;
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
		outcome->bytes_done = offline_blocks(guest, step, half);
		break;
	case STEP_KIND_ONLINE_POLICY:
		lease->sets_policy = true;
		break;
	case STEP_KIND_COMPACT:
		break;
	default:
		return false;
	}
	/* Operations on one guest come one after the other, and each puts its own in order. */
	assert(!lease->operation[0] || strcmp(lease->operation, operation) == 0);
	snprintf(lease->operation, sizeof(lease->operation), "%s", operation);
	return true;
}

/* ---- the lease ---- */

void fake_guest_end_lease(struct fake_guest *guest, const char *operation, bool keeps_pools)
{
	if (strcmp(guest->lease.operation, operation) != 0)
		return;
	*(keeps_pools ? &guest->huge_owed_bytes : &guest->huge_free_bytes) += guest->lease.freed_bytes;
	memset(&guest->lease, 0, sizeof(guest->lease));
}

void fake_guest_repay(struct fake_guest *guest, uint64_t owed_bytes)
{
	guest->huge_free_bytes += take(&guest->huge_owed_bytes, guest->huge_owed_bytes - least(guest->huge_owed_bytes, owed_bytes));
}

void fake_guest_lose_host(struct fake_guest *guest)
{
	guest->lease.takes_offline = false;
}

bool fake_guest_is_as_found(const struct fake_guest *guest)
{
	static const struct fake_lease none;

	return memcmp(&guest->lease, &none, sizeof(none)) == 0;
}

uint64_t fake_guest_pool_bytes(const struct fake_guest *guest)
{
	return guest->huge_free_bytes + guest->huge_moved_bytes + guest->obstacles.huge_used_bytes + guest->lease.room_bytes;
}

void fake_guest_see(const struct fake_guest *guest, struct snapshot_agent *ret_agent)
{
	ret_agent->memory_total_bytes = guest->current_bytes - guest->lease.offline_bytes;
	ret_agent->keep_bytes = ret_agent->memory_total_bytes / 32;
	ret_agent->memory_free_bytes = ret_agent->memory_available_bytes = available_bytes(guest);
	ret_agent->offline_bytes = guest->lease.offline_bytes;
	ret_agent->normal_bytes = FAKE_GUEST_BASE;
	ret_agent->movable_bytes = ret_agent->memory_total_bytes - least(ret_agent->memory_total_bytes, FAKE_GUEST_BASE);
	ret_agent->huge_free_bytes = guest->huge_free_bytes + guest->lease.room_bytes;
	ret_agent->huge_used_bytes = guest->huge_moved_bytes + guest->obstacles.huge_used_bytes;
	snprintf(ret_agent->online_policy, sizeof(ret_agent->online_policy), "auto-movable");
}
