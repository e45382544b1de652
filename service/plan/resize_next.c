/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resize.
 *
 * Grow: room (huge pages of the host) -> the guest's onlining policy -> request -> verified from
 * inside.
 *
 * Shrink: a ladder that is climbed only as far as it must be. Each rung is taken when the one
 * before was not enough, and none again unless another has gained something since:
 *
 *   free huge pages -> request -> (flat) free huge pages -> kick -> compact -> kick
 *     -> offline -> kick -> give up
 *
 * A kick (the same size requested again) wakes the driver, whose own retry waits 50 to 300 s; it
 * would abort a pass under way, so it is sent only when the size is flat and something in the guest
 * has changed (virtio_mem.c virtio_mem_run_wq, virtio_mem_config_changed).
 *
 * Once a settling step is in the history the ladder is over for good: settle -> agent commit (or
 * undo) -> give up. Growing, shrinking and the balloon stand in one file because they end alike.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

#define RUNG_RUNS_MAX	    3	  /* of one rung, however much the others claim to gain */
#define AGENT_STEP_MS	    30000 /* freeing huge pages, compacting: seconds even in large guests */
#define AGENT_OFFLINE_MS    60000
#define AGENT_STEP_LEAST_MS 1000 /* less is no chance at all */

static const char restore_mark[] = "restore";

struct ladder {
	const struct plan_input *input;
	const struct snapshot_guest *guest;
	struct decision *decision;
	uint64_t targets[SNAPSHOT_DEVICES_MAX];
	uint64_t shrink_gap, grow_gap; /* bytes still to go, over the devices */
};

bool resize_is_balloon(const struct snapshot_guest *guest)
{
	return guest->device_count == 0 && guest->has_balloon;
}

uint64_t plan_wanted_bytes(const struct wish *wish, const struct snapshot_guest *guest)
{
	uint64_t bytes = guest->base_bytes;

	if (wish->resize.device_count == 0)
		return wish->resize.target_bytes;
	for (size_t i = 0; i < guest->device_count; i++) {
		uint64_t device_bytes = guest->devices[i].requested_bytes;

		for (size_t j = 0; j < wish->resize.device_count; j++)
			if (strcmp(wish->resize.devices[j].alias, guest->devices[i].alias) == 0)
				device_bytes = wish->resize.devices[j].requested_bytes;
		bytes += device_bytes;
	}
	return bytes;
}

/* The first request of this operation for the device that is not one of restoring; NULL: none. */
static const struct step_record *first_request(const struct plan_input *input, const char *alias)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind == STEP_KIND_REQUEST && record->state != STEP_STATE_UNDONE &&
		    strcmp(record->step.device, alias) == 0 &&
		    strcmp(record->step.text, restore_mark) != 0)
			return record;
	}
	return NULL;
}

/* The device with most to take from or to give to, among those not fixed yet. */
static size_t best_device(const struct snapshot_guest *guest, const uint64_t *targets,
			  const bool *fixed, bool grow)
{
	size_t best = guest->device_count;
	uint64_t most = 0;

	for (size_t i = 0; i < guest->device_count; i++) {
		uint64_t has = grow ? guest->devices[i].size_bytes -
					       plan_min(guest->devices[i].size_bytes, targets[i])
				    : targets[i];

		if (!fixed[i] && has > most) {
			most = has;
			best = i;
		}
	}
	return best;
}

void resize_targets(const struct plan_input *input, const struct snapshot_guest *guest,
		    uint64_t targets[SNAPSHOT_DEVICES_MAX])
{
	const struct wish_resize *wish = &input->wish->resize;
	bool fixed[SNAPSHOT_DEVICES_MAX] = {false};
	uint64_t sum = 0, wanted;

	for (size_t i = 0; i < guest->device_count; i++) {
		const struct step_record *request = first_request(input, guest->devices[i].alias);

		targets[i] = guest->devices[i].current_bytes;
		for (size_t j = 0; j < wish->device_count; j++)
			if (strcmp(wish->devices[j].alias, guest->devices[i].alias) == 0)
				targets[i] = wish->devices[j].requested_bytes;
		/* What was asked for stays the device's goal, or a slow one would shift bytes to
		 * the others. */
		if (request && wish->device_count == 0) {
			targets[i] = request->step.target_bytes;
			fixed[i] = true;
		}
		sum += targets[i];
	}
	if (wish->device_count)
		return;
	wanted =
		wish->target_bytes > guest->base_bytes ? wish->target_bytes - guest->base_bytes : 0;
	while (sum != wanted) {
		bool grow = sum < wanted;
		size_t i = best_device(guest, targets, fixed, grow);
		uint64_t block, change;

		if (i == guest->device_count)
			return;
		block = guest->devices[i].block_bytes ? guest->devices[i].block_bytes : 1;
		if (grow)
			change = plan_min(wanted - sum, guest->devices[i].size_bytes - targets[i]) /
				 block * block;
		else
			change = plan_min((sum - wanted + block - 1) / block * block, targets[i]);
		fixed[i] = true;
		targets[i] = grow ? targets[i] + change : targets[i] - change;
		sum = grow ? sum + change : sum - change;
		/* Rounding up took a part of a block too much; what has smaller blocks may give it
		 * back. */
		if (!grow && sum < wanted)
			return;
	}
}

static bool is_settled(const struct snapshot_device *device, uint64_t target)
{
	return device->current_bytes == target && device->requested_bytes == target;
}

/* Index of the last step of the kind (for this device, where given), or -1. */
static long last_index(const struct plan_input *input, enum step_kind kind, const char *device)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (input->history[i].step.kind == kind &&
		    input->history[i].state != STEP_STATE_UNDONE &&
		    (!device || strcmp(input->history[i].step.device, device) == 0))
			return (long)i;
	return -1;
}

static bool is_rung(enum step_kind kind)
{
	return kind == STEP_KIND_FREE_HUGE_PAGES || kind == STEP_KIND_REQUEST ||
	       kind == STEP_KIND_COMPACT || kind == STEP_KIND_OFFLINE_GUEST_BLOCKS ||
	       kind == STEP_KIND_KICK;
}

/* A rung that was never taken, or since whose last run another one has gained bytes. */
static bool rung_is_open(const struct plan_input *input, enum step_kind kind)
{
	long last = last_index(input, kind, NULL);

	if (last < 0)
		return true;
	if (plan_count(input, kind) >= RUNG_RUNS_MAX)
		return false;
	for (size_t i = (size_t)last + 1; i < input->history_count; i++)
		if (is_rung(input->history[i].step.kind) && input->history[i].step.kind != kind &&
		    input->history[i].bytes_done > 0)
			return true;
	return false;
}

/* No step may eat the time that the rungs behind it and the settling need. */
static uint32_t agent_timeout(const struct plan_input *input, uint32_t wished_ms)
{
	uint64_t left;

	if (!input->deadline_ms)
		return wished_ms;
	left = input->deadline_ms > input->now_ms ? (input->deadline_ms - input->now_ms) / 4 * 3
						  : 0;
	if (left < AGENT_STEP_LEAST_MS)
		left = AGENT_STEP_LEAST_MS;
	return left < wished_ms ? (uint32_t)left : wished_ms;
}

static void emit(struct ladder *ladder, const struct step *step)
{
	plan_decide(ladder->decision, step);
}

static void emit_device(struct ladder *ladder, enum step_kind kind, size_t device, uint64_t target,
			const char *text)
{
	const struct snapshot_device *seen = &ladder->guest->devices[device];
	struct step step;

	plan_step_init(&step, kind, ladder->guest);
	memcpy(step.device, seen->alias, sizeof(step.device));
	snprintf(step.text, sizeof(step.text), "%s", text);
	step.target_bytes = target;
	step.bytes = target > seen->current_bytes ? target - seen->current_bytes
						  : seen->current_bytes - target;
	step.undoable = kind == STEP_KIND_REQUEST;
	emit(ladder, &step);
}

static void emit_agent(struct ladder *ladder, enum step_kind kind, uint64_t bytes,
		       uint32_t timeout_ms)
{
	struct step step;

	plan_step_init(&step, kind, ladder->guest);
	step.bytes = bytes;
	step.timeout_ms = agent_timeout(ladder->input, timeout_ms);
	step.undoable = kind == STEP_KIND_FREE_HUGE_PAGES ||
			kind == STEP_KIND_OFFLINE_GUEST_BLOCKS || kind == STEP_KIND_ONLINE_POLICY;
	emit(ladder, &step);
}

/* One request for each device that is not where it should be. */
static bool request_next(struct ladder *ladder)
{
	for (size_t i = 0; i < ladder->guest->device_count; i++) {
		const struct snapshot_device *device = &ladder->guest->devices[i];
		const struct step_record *request = first_request(ladder->input, device->alias);

		if (request || is_settled(device, ladder->targets[i]))
			continue;
		emit_device(ladder, STEP_KIND_REQUEST, i, ladder->targets[i], "");
		return true;
	}
	return false;
}

/* A kick for each device with a gap that has not had one since the step at index after. */
static bool kick_next(struct ladder *ladder, long after)
{
	for (size_t i = 0; i < ladder->guest->device_count; i++) {
		const struct snapshot_device *device = &ladder->guest->devices[i];

		if (device->current_bytes == ladder->targets[i] ||
		    last_index(ladder->input, STEP_KIND_KICK, device->alias) > after)
			continue;
		emit_device(ladder, STEP_KIND_KICK, i, ladder->targets[i], "");
		return true;
	}
	return false;
}

/* Free huge pages above the guest's floor: what can be taken of its pool without hurting anybody.
 */
static uint64_t spare_huge_bytes(const struct snapshot_agent *agent)
{
	return agent->huge_free_bytes > agent->huge_floor_bytes
		       ? agent->huge_free_bytes - agent->huge_floor_bytes
		       : 0;
}

static bool free_huge_pages_next(struct ladder *ladder, uint64_t deficit_bytes)
{
	const struct snapshot_agent *agent = &ladder->guest->agent;
	uint64_t spare = spare_huge_bytes(agent);

	if (!plan_agent_can(ladder->guest, AGENT_FEATURE_HUGE_PAGES) || !agent->reported ||
	    spare == 0 || deficit_bytes == 0 ||
	    !rung_is_open(ladder->input, STEP_KIND_FREE_HUGE_PAGES))
		return false;
	emit_agent(ladder, STEP_KIND_FREE_HUGE_PAGES, plan_min(spare, deficit_bytes),
		   AGENT_STEP_MS);
	return true;
}

static bool offline_next(struct ladder *ladder)
{
	const struct wish_resize *wish = &ladder->input->wish->resize;

	if (!plan_agent_can(ladder->guest, AGENT_FEATURE_OFFLINE) ||
	    !rung_is_open(ladder->input, STEP_KIND_OFFLINE_GUEST_BLOCKS))
		return false;
	emit_agent(ladder, STEP_KIND_OFFLINE_GUEST_BLOCKS, ladder->shrink_gap, AGENT_OFFLINE_MS);
	ladder->decision->step.range_count = wish->range_count;
	memcpy(ladder->decision->step.ranges, wish->ranges, sizeof(wish->ranges));
	return true;
}

/*
 * Before the request: what free memory does not cover must come out of the pools, and a sixteenth
 * more, because the kernel's watermarks keep some of what counts as available.
 */
static bool prepare_next(struct ladder *ladder)
{
	const struct snapshot_agent *agent = &ladder->guest->agent;
	uint64_t need = ladder->shrink_gap + ladder->shrink_gap / 16;
	/* What is offline is no longer counted as available, and leaves as it is. */
	uint64_t ready = agent->memory_available_bytes + agent->offline_bytes;

	if (plan_count(ladder->input, STEP_KIND_REQUEST) > 0)
		return false;
	if (agent->reported && need > ready && plan_count(ladder->input, STEP_KIND_FREE_HUGE_PAGES) == 0 &&
	    free_huge_pages_next(ladder, need - ready))
		return true;
	/* Blocks that the guest has offlined go first: that is how given ranges are made to leave.
	 */
	return ladder->input->wish->resize.range_count > 0 &&
	       plan_count(ladder->input, STEP_KIND_OFFLINE_GUEST_BLOCKS) == 0 &&
	       offline_next(ladder);
}

/* The last step with which the agent changed something in the guest and that a kick should make use
 * of, or -1. */
static long unkicked_work(const struct plan_input *input)
{
	static const enum step_kind kinds[] = {STEP_KIND_FREE_HUGE_PAGES, STEP_KIND_COMPACT,
					       STEP_KIND_OFFLINE_GUEST_BLOCKS};
	long request = last_index(input, STEP_KIND_REQUEST, NULL), last = -1;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		long index = last_index(input, kinds[i], NULL);

		if (index > last)
			last = index;
	}
	if (last < request)
		return -1;
	/* Compaction frees no bytes of its own, but may be just what the driver was missing. */
	if (input->history[last].state == STEP_STATE_FAILED ||
	    (input->history[last].bytes_done == 0 &&
	     input->history[last].step.kind != STEP_KIND_COMPACT))
		return -1;
	return last;
}

static bool climb_next(struct ladder *ladder)
{
	const struct plan_input *input = ladder->input;
	long work;

	/* Less than wished (the guest has rebooted and plugs again): nothing in it stands in the
	 * way. */
	if (ladder->shrink_gap == 0)
		return kick_next(ladder, last_index(input, STEP_KIND_REQUEST, NULL));
	if (ladder->guest->agent.state != AGENT_STATE_READY)
		return plan_count(input, STEP_KIND_KICK) < ladder->guest->device_count &&
		       kick_next(ladder, last_index(input, STEP_KIND_REQUEST, NULL));
	work = unkicked_work(input);
	if (work >= 0 && kick_next(ladder, work))
		return true;
	if (free_huge_pages_next(ladder, ladder->shrink_gap))
		return true;
	if (plan_agent_can(ladder->guest, AGENT_FEATURE_COMPACT) &&
	    rung_is_open(input, STEP_KIND_COMPACT)) {
		emit_agent(ladder, STEP_KIND_COMPACT, 0, AGENT_STEP_MS);
		return true;
	}
	return offline_next(ladder);
}

/* Refused, that is: a request that was taken but moved nothing is flat, and the ladder is for that.
 */
static bool request_failed(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_REQUEST &&
		    input->history[i].state == STEP_STATE_FAILED && !input->history[i].flat)
			return true;
	return false;
}

static bool is_ending(const struct plan_input *input)
{
	if (plan_count(input, STEP_KIND_SETTLE) || plan_count(input, STEP_KIND_AGENT_COMMIT) ||
	    plan_count(input, STEP_KIND_AGENT_UNDO))
		return true;
	for (size_t i = 0; i < input->history_count; i++)
		if (strcmp(input->history[i].step.text, restore_mark) == 0)
			return true;
	return false;
}

/* The lease must end where the agent has changed anything under it; once. */
static bool end_lease_next(struct ladder *ladder, enum step_kind how)
{
	static const enum step_kind kinds[] = {STEP_KIND_ONLINE_POLICY, STEP_KIND_FREE_HUGE_PAGES,
					       STEP_KIND_COMPACT, STEP_KIND_OFFLINE_GUEST_BLOCKS};
	bool leased =
		how == STEP_KIND_AGENT_UNDO && plan_count(ladder->input, STEP_KIND_REQUEST) > 0;

	if (ladder->guest->agent.state != AGENT_STATE_READY ||
	    plan_count(ladder->input, STEP_KIND_AGENT_COMMIT) ||
	    plan_count(ladder->input, STEP_KIND_AGENT_UNDO))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		leased = leased || plan_count(ladder->input, kinds[i]) > 0;
	if (!leased)
		return false;
	emit_agent(ladder, how, 0, AGENT_STEP_MS);
	return true;
}

/* The request set to what was reached, so that nothing leaves or comes hours later. */
static bool settle_next(struct ladder *ladder)
{
	for (size_t i = 0; i < ladder->guest->device_count; i++) {
		const struct snapshot_device *device = &ladder->guest->devices[i];

		if (device->requested_bytes == device->current_bytes ||
		    last_index(ladder->input, STEP_KIND_SETTLE, device->alias) >= 0)
			continue;
		emit_device(ladder, STEP_KIND_SETTLE, i, device->current_bytes, "");
		return true;
	}
	return false;
}

/* Back to the size that each device had before its first request, which that step's own bytes tell.
 */
static bool restore_next(struct ladder *ladder)
{
	for (size_t i = 0; i < ladder->guest->device_count; i++) {
		const struct snapshot_device *device = &ladder->guest->devices[i];
		const struct step_record *request = first_request(ladder->input, device->alias);
		long last = last_index(ladder->input, STEP_KIND_REQUEST, device->alias);
		uint64_t before;

		if (!request || strcmp(ladder->input->history[last].step.text, restore_mark) == 0)
			continue;
		before =
			ladder->input->start_bytes >
					plan_wanted_bytes(ladder->input->wish, ladder->guest)
				? request->step.target_bytes + request->step.bytes
				: request->step.target_bytes -
					  plan_min(request->step.bytes, request->step.target_bytes);
		if (is_settled(device, before))
			continue;
		emit_device(ladder, STEP_KIND_REQUEST, i, before, restore_mark);
		return true;
	}
	return false;
}

/* The wish will not come true: end tidily, then say why. */
static void end(struct ladder *ladder, bool shrink)
{
	enum on_timeout how = ladder->input->wish->on_timeout;
	struct decision *decision = ladder->decision;

	if (how == ON_TIMEOUT_RESTORE) {
		if (restore_next(ladder) || end_lease_next(ladder, STEP_KIND_AGENT_UNDO))
			return;
	} else {
		if (how != ON_TIMEOUT_CONTINUE && settle_next(ladder))
			return;
		if (end_lease_next(ladder, shrink ? STEP_KIND_AGENT_COMMIT : STEP_KIND_AGENT_UNDO))
			return;
	}
	decision->kind = DECISION_KIND_GIVE_UP;
	resize_remainder_shrink(ladder->input, ladder->guest, ladder->shrink_gap,
				&decision->remainder);
	resize_remainder_grow(ladder->input, ladder->guest, ladder->grow_gap, &decision->remainder);
}

static void shrink_next(struct ladder *ladder)
{
	if (ladder->shrink_gap == 0 && ladder->grow_gap == 0 && !request_next(ladder)) {
		if (!end_lease_next(ladder, STEP_KIND_AGENT_COMMIT))
			ladder->decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (ladder->decision->kind == DECISION_KIND_STEP)
		return;
	if (!plan_guest_runs(ladder->guest) || is_ending(ladder->input) ||
	    plan_is_late(ladder->input) || request_failed(ladder->input) ||
	    (ladder->guest->agent.veto && ladder->guest->agent.reported)) {
		end(ladder, true);
		return;
	}
	if (prepare_next(ladder) || request_next(ladder) || climb_next(ladder))
		return;
	end(ladder, true);
}

/* Where the huge pages of a device come from: its cell's nodes where they are bound, else any that the guest may use. */
static uint64_t pool_nodes(const struct ladder *ladder, const struct snapshot_device *device, uint64_t page)
{
	const struct snapshot_guest *guest = ladder->guest;
	uint64_t all = plan_growth_nodes(ladder->input, guest), own = 0, nodes;

	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].kind == BACKING_KIND_HUGETLB && guest->backings[i].page_bytes == page &&
		    guest->backings[i].cell == device->cell &&
		    snapshot_guest_part_policy(guest, i, &nodes) == POLICY_MODE_BIND)
			own |= nodes;
	return all & own ? all & own : all;
}

static bool pool_was_tried(const struct plan_input *input, int node)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_HOST_POOL && input->history[i].step.node == node)
			return true;
	return false;
}

/* So many bytes in free huge pages more, on that of these nodes that has most free memory. */
static bool make_pool(struct ladder *ladder, uint64_t nodes, uint64_t page, uint64_t bytes)
{
	const struct plan_input *input = ladder->input;
	uint64_t best_room = 0;
	int best = -1;
	struct step step;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t room;

		if (!(nodes >> node & 1) || !plan_pool(input->snapshot, node, page) || pool_was_tried(input, node))
			continue;
		room = plan_room(input, node, 0) / page * page;
		if (room > best_room) {
			best_room = room;
			best = node;
		}
	}
	if (best < 0)
		return false;
	plan_step_init(&step, STEP_KIND_HOST_POOL, ladder->guest);
	step.node = best;
	step.page_bytes = page;
	step.bytes = plan_min((bytes + page - 1) / page * page, best_room);
	step.target_bytes = plan_pool(input->snapshot, best, page)->total * page + step.bytes;
	step.undoable = true;
	emit(ladder, &step);
	return true;
}

/* Huge pages for what is to come, device by device. */
static bool host_pool_next(struct ladder *ladder)
{
	const struct plan_input *input = ladder->input;
	uint64_t page = plan_guest_huge_page(ladder->guest), left[SNAPSHOT_NODES_MAX] = {0};

	if (!page)
		return false;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (plan_pool(input->snapshot, node, page))
			left[node] = plan_pool(input->snapshot, node, page)->free * page;
	for (size_t i = 0; i < ladder->guest->device_count; i++) {
		const struct snapshot_device *device = &ladder->guest->devices[i];
		uint64_t nodes = pool_nodes(ladder, device, page), lacks;

		lacks = ladder->targets[i] - plan_min(ladder->targets[i], device->current_bytes);
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			uint64_t has = nodes >> node & 1 ? plan_min(left[node], lacks) : 0;

			left[node] -= has;
			lacks -= has;
		}
		if (lacks && make_pool(ladder, nodes, page, lacks))
			return true;
	}
	return false;
}

/* Movable memory can leave again, but past three times the kernel's own zones it starves the
 * kernel. */
static bool online_policy_next(struct ladder *ladder)
{
	const struct snapshot_agent *agent = &ladder->guest->agent;
	uint64_t growth = ladder->grow_gap, movable = agent->movable_bytes + growth;
	const char *policy;
	struct step step;

	if (!plan_agent_can(ladder->guest, AGENT_FEATURE_ONLINE_POLICY) || !agent->reported ||
	    growth == 0 || plan_count(ladder->input, STEP_KIND_ONLINE_POLICY))
		return false;
	policy = movable / 3 <= agent->normal_bytes ? "online_movable" : "auto-movable";
	if (strcmp(agent->online_policy, policy) == 0)
		return false;
	plan_step_init(&step, STEP_KIND_ONLINE_POLICY, ladder->guest);
	snprintf(step.text, sizeof(step.text), "%s", policy);
	step.target_bytes = ladder->input->limits->online_ratio_percent;
	step.timeout_ms = agent_timeout(ladder->input, AGENT_STEP_MS);
	step.undoable = true;
	emit(ladder, &step);
	return true;
}

/* Plugged is not onlined: only the guest itself can say what it can use, and what can leave again.
 */
static void verify_grown(struct ladder *ladder)
{
	const struct snapshot_agent *agent = &ladder->guest->agent;
	uint64_t start = ladder->input->start_bytes, now = ladder->guest->current_bytes, grown;
	struct decision *decision = ladder->decision;
	char object[96];

	decision->kind = DECISION_KIND_DONE;
	grown = now > start ? now - start : 0;
	plan_guest_object(ladder->guest, object);
	if (agent->state != AGENT_STATE_READY || !agent->reported) {
		if (grown)
			remainder_list_add(
				&decision->warnings, REMAINDER_NO_AGENT, object, 0, NULL,
				"plugged; whether the guest has onlined it is not known");
		return;
	}
	if (!grown)
		return;
	if (agent->offline_bytes)
		remainder_list_add(&decision->remainder, REMAINDER_NOT_ONLINED, object,
				   plan_min(agent->offline_bytes, grown), NULL,
				   "plugged, but not onlined in the guest");
	/* With a ratio a part is meant to go to the kernel's zones. */
	if (agent->wrong_zone_bytes && strcmp(agent->online_policy, "auto-movable") != 0)
		remainder_list_add(
			&decision->remainder, REMAINDER_WRONG_ZONE, object,
			plan_min(agent->wrong_zone_bytes, grown), NULL,
			"onlined into a kernel zone, from which it may never leave again");
	if (decision->remainder.count)
		decision->kind = DECISION_KIND_GIVE_UP;
}

static void grow_next(struct ladder *ladder)
{
	const struct plan_input *input = ladder->input;

	if (ladder->grow_gap == 0 && !request_next(ladder)) {
		if (!end_lease_next(ladder, STEP_KIND_AGENT_UNDO))
			verify_grown(ladder);
		return;
	}
	if (ladder->decision->kind == DECISION_KIND_STEP)
		return;
	if (!plan_guest_runs(ladder->guest) || is_ending(input) || plan_is_late(input) ||
	    request_failed(input)) {
		end(ladder, false);
		return;
	}
	/* What is needed for the devices must be there before the first of them is asked to grow.
	 */
	if (plan_count(input, STEP_KIND_REQUEST) == 0 &&
	    (host_pool_next(ladder) || online_policy_next(ladder)))
		return;
	if (request_next(ladder) || kick_next(ladder, last_index(input, STEP_KIND_REQUEST, NULL)))
		return;
	end(ladder, false);
}

static void balloon_next(struct ladder *ladder)
{
	const struct plan_input *input = ladder->input;
	const struct snapshot_guest *guest = ladder->guest;
	uint64_t target = input->wish->resize.target_bytes, now = guest->balloon_bytes;
	size_t runs = plan_count(input, STEP_KIND_BALLOON);
	bool restoring = input->wish->on_timeout == ON_TIMEOUT_RESTORE && runs == 1;
	struct step step;

	if (now == target && runs <= 1) {
		ladder->decision->kind = DECISION_KIND_DONE;
		return;
	}
	if (runs == 0 && plan_guest_runs(guest) && !plan_is_late(input))
		restoring = false;
	else if (!restoring || now == input->start_bytes) {
		ladder->decision->kind = DECISION_KIND_GIVE_UP;
		if (now > target)
			resize_remainder_shrink(input, guest, now - target,
						&ladder->decision->remainder);
		else
			resize_remainder_grow(input, guest, target - now,
					      &ladder->decision->remainder);
		return;
	}
	plan_step_init(&step, STEP_KIND_BALLOON, guest);
	step.target_bytes = restoring ? input->start_bytes : target;
	step.bytes = step.target_bytes > now ? step.target_bytes - now : now - step.target_bytes;
	step.undoable = true;
	snprintf(step.text, sizeof(step.text), "%s", restoring ? restore_mark : "");
	emit(ladder, &step);
}

void resize_next(const struct plan_input *input, struct decision *ret_decision)
{
	struct ladder ladder = {.input = input, .decision = ret_decision};

	memset(ret_decision, 0, sizeof(*ret_decision));
	/* Not yet decided: the emitters set the kind, and DONE is never taken for granted. */
	ret_decision->kind = DECISION_KIND_COUNT;
	ladder.guest = snapshot_guest(input->snapshot, input->wish->guest);
	if (!ladder.guest) {
		char object[96];

		ret_decision->kind = DECISION_KIND_GIVE_UP;
		remainder_list_add(&ret_decision->remainder, REMAINDER_GUEST_GONE,
				   wish_target(input->wish, object), 0, NULL,
				   "the guest is not there any more");
		return;
	}
	if (resize_is_balloon(ladder.guest)) {
		balloon_next(&ladder);
		return;
	}
	resize_targets(input, ladder.guest, ladder.targets);
	for (size_t i = 0; i < ladder.guest->device_count; i++) {
		uint64_t current = ladder.guest->devices[i].current_bytes;

		if (current > ladder.targets[i])
			ladder.shrink_gap += current - ladder.targets[i];
		else
			ladder.grow_gap += ladder.targets[i] - current;
	}
	/* Devices wished both ways are a shrink: its ladder asks every device, and only the
	 * shrinking may need help. */
	if (ladder.shrink_gap > 0 ||
	    input->start_bytes > plan_wanted_bytes(input->wish, ladder.guest))
		shrink_next(&ladder);
	else
		grow_next(&ladder);
}
