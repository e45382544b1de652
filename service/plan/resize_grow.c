/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grow: away from nodes that a drain holds -> room (huge pages of the host) -> the guest's onlining policy -> request
 *   -> (flat) kick -> await -> kick -> await ... until the deadline -> verified from inside.
 *
 * A plug stalls for want of what may come by itself: huge pages of the host, memory of the guest for the new blocks' own
 * descriptions, blocks to be onlined (virtio_mem.c virtio_mem_run_wq: -ETXTBSY, -ENOMEM, -ENOSPC). The driver tries again
 * after 50 to 300 s, so an await that saw nothing is followed by a kick here, too.
 */
#include "resize_priv.h"

#include <stdio.h>
#include <string.h>

/* Onlining a block takes milliseconds, in a guest that has the processor. */
#define ONLINE_MS	  3000
#define ONLINE_AWAITS_MAX 4

static bool pool_was_tried(const struct plan_input *input, int node)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_HOST_POOL && input->history[i].step.node == node)
			return true;
	return false;
}

/* So many bytes in free huge pages more, on that of these nodes that has most free memory. */
static bool make_pool(struct resize *resize, uint64_t nodes, uint64_t page, uint64_t bytes)
{
	const struct plan_input *input = resize->input;
	uint64_t rooms[SNAPSHOT_NODES_MAX], best_room = 0;
	int best = -1;
	struct step step;

	growth_room_find(input, resize->guest, input->limits->reserve_untouched, rooms);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t room;

		if (!(nodes >> node & 1) || !plan_pool(input->snapshot, node, page) || pool_was_tried(input, node))
			continue;
		room = rooms[node] / page * page;
		if (room > best_room) {
			best_room = room;
			best = node;
		}
	}
	if (best < 0)
		return false;
	plan_step_init(&step, STEP_KIND_HOST_POOL, resize->guest);
	step.node = best;
	step.page_bytes = page;
	step.bytes = plan_min((bytes + page - 1) / page * page, best_room);
	step.target_bytes = plan_pool(input->snapshot, best, page)->total * page + step.bytes;
	step.undoable = true;
	plan_decide(resize->decision, &step);
	return true;
}

/* Where the device's memory should come from: unbound it may come from anywhere, but the guest was moved. */
static uint64_t near_nodes(const struct snapshot_guest *guest, const struct snapshot_device *device, uint64_t nodes)
{
	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t bound;

		if (guest->backings[i].kind == BACKING_KIND_HUGETLB && guest->backings[i].cell == device->cell &&
		    snapshot_guest_part_policy(guest, i, &bound) != POLICY_MODE_DEFAULT)
			return nodes;
	}
	return nodes & guest->wanted_nodes ? nodes & guest->wanted_nodes : nodes;
}

/* Huge pages for what is to come, device by device. */
static bool host_pool_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	uint64_t page = plan_guest_huge_page(resize->guest), left[SNAPSHOT_NODES_MAX] = {0};

	if (!page)
		return false;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (plan_pool(input->snapshot, node, page))
			left[node] = plan_pool(input->snapshot, node, page)->free * page;
	for (size_t i = 0; i < resize->guest->device_count; i++) {
		const struct snapshot_device *device = &resize->guest->devices[i];
		uint64_t nodes = resize_device_nodes(input, resize->guest, device), lacks;
		uint64_t near = near_nodes(resize->guest, device, nodes);

		lacks = resize->targets[i] - plan_min(resize->targets[i], device->current_bytes);
		lacks = plan_take_room(left, near, lacks);
		if (lacks && make_pool(resize, near, page, lacks))
			return true;
		/* Elsewhere rather than not at all: where no huge page is free a plug fails without a word. */
		lacks = plan_take_room(left, nodes & ~near, lacks);
		if (lacks && make_pool(resize, nodes & ~near, page, lacks))
			return true;
	}
	return false;
}

/* Of which a drain holds memory that is online. */
static uint64_t open_held_nodes(const struct snapshot *snapshot)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < snapshot->hold_count; i++)
		for (size_t j = 0; j < snapshot->block_count; j++)
			if (snapshot->blocks[j].state != BLOCK_STATE_OFFLINE &&
			    snapshot_hold_has(&snapshot->holds[i], &snapshot->blocks[j]))
				nodes |= plan_node_bit(snapshot->blocks[j].node);
	return nodes;
}

/* Of them those on which its memory may land, as far as its policies say; 0: nobody knows its policies. */
static uint64_t landing_nodes(const struct snapshot_guest *guest, uint64_t nodes)
{
	if (!guest->policies_seen)
		return 0;
	if (guest->cpuset_mems)
		nodes &= guest->cpuset_mems;
	return guest->policy_mode == POLICY_MODE_DEFAULT ? nodes : nodes & guest->policy_nodes;
}

/*
 * Unbound memory lands where the CPU is that touches it first, and that is when the operation is long over: so it prefers all
 * other nodes from now on. Where somebody has set a policy, that stands.
 */
static bool steer_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_guest *guest = resize->guest;
	struct step step;

	if (!landing_nodes(guest, open_held_nodes(input->snapshot)) || guest->policy_mode != POLICY_MODE_DEFAULT ||
	    !snapshot_guest_takes_policy(guest) ||
	    !plan_growth_nodes(input, guest) || plan_count(input, STEP_KIND_MEMORY_POLICY))
		return false;
	plan_step_init(&step, STEP_KIND_MEMORY_POLICY, guest);
	step.mode = POLICY_MODE_PREFERRED;
	step.nodes = plan_growth_nodes(input, guest);
	step.undoable = true;
	plan_decide(resize->decision, &step);
	return true;
}

void resize_warn_of_holds(struct resize *resize)
{
	const struct step_record *steered = plan_last(resize->input, STEP_KIND_MEMORY_POLICY);
	const struct step *step = steered && steered->state != STEP_STATE_FAILED ? &steered->step : NULL;
	uint64_t held = landing_nodes(resize->guest, open_held_nodes(resize->input->snapshot));
	char object[96], nodes[32];

	if (resize->decision->kind == DECISION_KIND_STEP && resize->decision->step.kind == STEP_KIND_MEMORY_POLICY)
		step = &resize->decision->step;
	if (step)
		remainder_list_add(&resize->decision->warnings, REMAINDER_HELD, plan_guest_object(resize->guest, object), 0,
				   "to have it otherwise, restart the guest when nothing is held",
				   "a drain holds memory on which it could grow: its memory prefers node %s from now on",
				   plan_nodes_text(step->nodes, nodes));
	else if (held && resize->grow_gap)
		remainder_list_add(&resize->decision->warnings, REMAINDER_HELD, plan_guest_object(resize->guest, object), 0,
				   "let it grow when nothing is held, or bind its memory elsewhere",
				   "a drain holds memory of node %s, where what it grows by may come: nothing from outside can keep "
				   "it away",
				   plan_nodes_text(held, nodes));
}

const char *plan_online_policy(const struct snapshot_agent *agent, uint64_t growth_bytes)
{
	return snapshot_is_by_ratio(agent->movable_bytes + growth_bytes, agent->normal_bytes) ? "auto-movable" : "online_movable";
}

static bool online_policy_next(struct resize *resize)
{
	const struct snapshot_agent *agent = &resize->guest->agent;
	uint64_t growth = resize->grow_gap;
	const char *policy;
	struct step step;

	if (!plan_agent_can(resize->guest, AGENT_FEATURE_ONLINE_POLICY) || !agent->reported ||
	    growth == 0 || plan_count(resize->input, STEP_KIND_ONLINE_POLICY))
		return false;
	policy = plan_online_policy(agent, growth);
	if (strcmp(agent->online_policy, policy) == 0)
		return false;
	plan_step_init(&step, STEP_KIND_ONLINE_POLICY, resize->guest);
	snprintf(step.text, sizeof(step.text), "%s", policy);
	step.target_bytes = resize->input->limits->online_ratio_percent;
	step.timeout_ms = resize_agent_timeout(resize->input, RESIZE_AGENT_STEP_MS);
	step.undoable = true;
	plan_decide(resize->decision, &step);
	return true;
}

static const struct step_record *first_growth(const struct plan_input *input)
{
	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == STEP_KIND_REQUEST && input->history[i].step.grows)
			return &input->history[i];
	return NULL;
}

/* Of these bytes of the guest those that came with its growth; all where nobody knows how many there were before. */
static uint64_t since(uint64_t bytes, const struct step_record *request, uint64_t before)
{
	return request && request->step.zones_told ? bytes - plan_min(bytes, before) : bytes;
}

static uint64_t offline_since(const struct resize *resize)
{
	const struct step_record *request = first_growth(resize->input);

	return since(resize->guest->agent.offline_bytes, request, request ? request->step.offline_before : 0);
}

static uint64_t wrong_since(const struct resize *resize)
{
	const struct step_record *request = first_growth(resize->input);

	return since(resize->guest->agent.wrong_zone_bytes, request, request ? request->step.wrong_before : 0);
}

/* By which the guest has onlined what came: the one that was set for it, whose lease may be over by now, else its own. */
static bool is_by_ratio(const struct resize *resize)
{
	const struct step_record *set = plan_last(resize->input, STEP_KIND_ONLINE_POLICY);
	const char *policy = set && set->state == STEP_STATE_DONE ? set->step.text : resize->guest->agent.online_policy;

	return strcmp(policy, "auto-movable") == 0;
}

/* Since anything but waiting: what came before that was for the size itself. */
static unsigned awaits_in_line(const struct plan_input *input)
{
	unsigned awaits = 0;

	for (size_t i = input->history_count; i-- > 0 && input->history[i].step.kind == STEP_KIND_AWAIT;)
		awaits++;
	return awaits;
}

/* The guest's kernel onlines what is plugged a moment later: looked at before, it would be said not to be. */
static bool await_online_next(struct resize *resize)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_agent *agent = &resize->guest->agent;
	const struct step_record *last = input->history_count ? &input->history[input->history_count - 1] : NULL;

	if (!last || !input->deadline_ms || plan_is_late(input) || resize_is_ending(input) ||
	    agent->state != AGENT_STATE_READY || !agent->reported || !offline_since(resize) ||
	    (last->step.kind == STEP_KIND_AWAIT && last->state != STEP_STATE_DONE) ||
	    awaits_in_line(input) >= ONLINE_AWAITS_MAX)
		return false;
	resize_emit_await(resize, ONLINE_MS);
	return true;
}

/* NULL: the usual one. */
static const char *repair_way_out(const struct resize *resize)
{
	if (snapshot_guest_is_repaired(resize->guest, resize->input->limits->zone_repair) ||
	    !plan_agent_can(resize->guest, AGENT_FEATURE_REPAIR))
		return NULL;
	return "set zone_repair = yes in ballastd.conf or --zone-repair yes in its policy, so that its agent repairs what it can, "
	       "or do so by hand in the guest";
}

/* Not this growth's doing, so it has done what it was to; but it is there. */
static void warn_of_before(struct resize *resize, uint64_t offline, uint64_t wrong)
{
	struct remainder_list *warnings = &resize->decision->warnings;
	char object[96];

	plan_guest_object(resize->guest, object);
	if (offline)
		remainder_list_add(warnings, REMAINDER_NOT_ONLINED, object, offline, repair_way_out(resize),
				   "plugged before, and not onlined in the guest");
	if (wrong && !is_by_ratio(resize) && !snapshot_agent_is_by_ratio(&resize->guest->agent))
		remainder_list_add(warnings, REMAINDER_WRONG_ZONE, object, wrong, repair_way_out(resize),
				   "in a kernel zone since before, from which it may never leave again");
}

/* Plugged is not onlined: only the guest itself can say what it can use, and what can leave again.
 */
static void verify_grown(struct resize *resize)
{
	const struct snapshot_agent *agent = &resize->guest->agent;
	uint64_t start = resize->input->start_bytes, now = resize->guest->current_bytes, grown;
	struct decision *decision = resize->decision;
	char object[96];

	decision->kind = DECISION_KIND_DONE;
	grown = now > start ? now - start : 0;
	plan_guest_object(resize->guest, object);
	if (agent->state != AGENT_STATE_READY || !agent->reported) {
		if (grown)
			remainder_list_add(
				&decision->warnings, REMAINDER_NO_AGENT, object, 0, NULL,
				"plugged; whether the guest has onlined it is not known");
		return;
	}
	if (!grown)
		return;
	uint64_t offline = plan_min(offline_since(resize), grown), wrong = plan_min(wrong_since(resize), grown);

	if (offline)
		remainder_list_add(&decision->remainder, REMAINDER_NOT_ONLINED, object, offline, repair_way_out(resize),
				   "plugged, but not onlined in the guest");
	/* With a ratio a part is meant to go to the kernel's zones. */
	if (wrong && !is_by_ratio(resize))
		remainder_list_add(&decision->remainder, REMAINDER_WRONG_ZONE, object, wrong, repair_way_out(resize),
				   "onlined into a kernel zone, from which it may never leave again");
	warn_of_before(resize, agent->offline_bytes - offline, agent->wrong_zone_bytes - wrong);
	if (decision->remainder.count)
		decision->kind = DECISION_KIND_GIVE_UP;
}

/* Another onliner may be quicker than the kernel's own policy, which is what a grow sets. */
static void warn_of_udev(struct resize *resize)
{
	const struct snapshot_agent *agent = &resize->guest->agent;
	char object[96];

	if (agent->reported && agent->udev_onlines)
		remainder_list_add(&resize->decision->warnings, REMAINDER_WRONG_ZONE,
				   plan_guest_object(resize->guest, object), 0,
				   "take away the guest's udev rule that onlines memory",
				   "a udev rule of the guest onlines memory too, and may put it into a kernel zone%s%.100s",
				   agent->udev_rule[0] ? ": " : "", agent->udev_rule);
}

/* Asked for, and kicked: the time until the deadline is used all the same. */
static bool persist_next(struct resize *resize)
{
	long await = resize_last_index(resize->input, STEP_KIND_AWAIT, NULL);

	return resize->input->deadline_ms &&
	       ((await >= 0 && resize_kick_next(resize, await)) || resize_await_next(resize));
}

static void grow_next(struct resize *resize)
{
	static const bool none[SNAPSHOT_DEVICES_MAX];
	const struct plan_input *input = resize->input;

	if (resize->grow_gap == 0 && !resize_request_next(resize, none)) {
		if (!await_online_next(resize) && !resize_end_lease_next(resize, STEP_KIND_AGENT_UNDO))
			verify_grown(resize);
		return;
	}
	if (resize->decision->kind == DECISION_KIND_STEP)
		return;
	if (resize_is_ending(input) || plan_is_late(input) || resize_request_failed(input) || resize_is_worn_out(input)) {
		resize_end(resize, false);
		return;
	}
	/* What is needed for the devices must be there before the first of them is asked to grow.
	 */
	if (plan_count(input, STEP_KIND_REQUEST) == 0 &&
	    (steer_next(resize) || host_pool_next(resize) || online_policy_next(resize)))
		return;
	if (resize_request_next(resize, none) ||
	    resize_kick_next(resize, resize_last_index(input, STEP_KIND_REQUEST, NULL)) || persist_next(resize))
		return;
	resize_end(resize, false);
}

void resize_grow_next(struct resize *resize)
{
	warn_of_udev(resize);
	grow_next(resize);
	resize_warn_of_holds(resize);
}
