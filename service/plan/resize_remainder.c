/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a resize did not get to its size. What the agent's steps said about single blocks goes first,
 * then what its report says about the guest as a whole; each entry takes at most what is still
 * unexplained, so that a guest that claims too much cannot make the sum untrue.
 */
#include "resize_priv.h"

#include <string.h>
#include "size_text.h"

struct account {
	struct remainder_list *list;
	const char *object;
	uint64_t rest;
};

static void take(struct account *account, enum remainder_code code, uint64_t bytes,
		 const char *detail)
{
	bytes = plan_min(bytes, account->rest);
	if (!bytes)
		return;
	remainder_list_add(account->list, code, account->object, bytes, NULL, "%s", detail);
	account->rest -= bytes;
}

static const struct step_record *last_request(const struct plan_input *input)
{
	for (size_t i = input->history_count; i-- > 0;) {
		enum step_kind kind = input->history[i].step.kind;

		if (kind == STEP_KIND_REQUEST || kind == STEP_KIND_KICK ||
		    kind == STEP_KIND_BALLOON)
			return &input->history[i];
	}
	return NULL;
}

static void take_rest(const struct plan_input *input, struct account *account, const char *stalled)
{
	const struct step_record *request = last_request(input);
	bool refused = request && request->state == STEP_STATE_FAILED && !request->flat;

	if (refused)
		plan_take_remainder(account->list, &request->remainder, &account->rest);
	if (refused)
		take(account, REMAINDER_LIBVIRT_REFUSED, account->rest,
		     "the size could not be asked for");
	if (plan_is_late(input) && !(request && request->flat))
		take(account, REMAINDER_DEADLINE, account->rest,
		     "it was still changing when time ran out");
	take(account, REMAINDER_DRIVER_STALLED, account->rest, stalled);
}

/* It was not so when the shrink began: that is why it ended. */
static void take_revoked(const struct resize *resize, struct account *account)
{
	if (resize->is_revoked)
		take(account, REMAINDER_BELOW_FLOOR, account->rest, "the guest has come to keep more than was asked of it");
}

static void tell_withheld(const struct snapshot_guest *guest, uint64_t bytes, struct remainder_list *list)
{
	char object[96], most[SIZE_TEXT_SIZE];

	if (bytes)
		remainder_list_add(list, REMAINDER_BELOW_FLOOR, plan_guest_object(guest, object), bytes,
				   "shrink it again for the rest", "it lets no more than %s go at once",
				   size_text_format(guest->agent.shrink_most_bytes, most));
}

static void take_silence(const struct plan_input *input, const struct snapshot_guest *guest, struct account *account)
{
	if (resize_agent_is_silent(input, guest))
		take(account, REMAINDER_AGENT_LOST, account->rest,
		     resize_agent_worked(input)
			     ? "the agent went away during the shrink"
		     : resize_stood_before(input, guest)
			     ? "the agent is silent, and nobody in the guest could help what was requested by somebody else"
			     : "the agent is silent, and without its word of what the guest can spare no more was asked for");
}

struct huge_pages {
	uint64_t gigantic_bytes, used_bytes; /* used: of those that are not gigantic */
	uint64_t behind_bytes;		     /* beside gigantic ones, in kernel zones */
};

/* A pool in boot memory is in nobody's way: where it is known what is in the devices, no more counts than that. */
static struct huge_pages find_huge_pages(const struct snapshot_agent *agent)
{
	struct huge_pages found = {agent->gigantic_bytes, agent->huge_used_bytes, 0};
	uint64_t pools = 0, used = 0, kernel = 0;
	bool is_known = agent->region_count > 0;

	for (size_t i = 0; i < agent->region_count; i++) {
		const struct snapshot_holders *holders = &agent->regions[i].holders;

		is_known = is_known && agent->regions[i].has_holders;
		pools += holders->huge_used_bytes + holders->huge_free_bytes;
		used += holders->huge_used_bytes;
		kernel += holders->kernel_bytes;
		found.behind_bytes += resize_behind_gigantic_bytes(agent, &agent->regions[i]);
	}
	if (is_known) {
		/* They are among what cannot be moved. */
		found.gigantic_bytes = plan_min(found.gigantic_bytes, plan_min(pools, kernel));
		found.used_bytes = plan_min(found.used_bytes, used);
	}
	found.used_bytes -= plan_min(found.used_bytes, found.gigantic_bytes);
	return found;
}

/* By the last word of reclaim: one that was cut off, by its time or by the operation's, has none. */
static bool is_under_pressure(const struct plan_input *input)
{
	for (size_t i = input->history_count; i-- > 0;) {
		const struct step_record *record = &input->history[i];

		if (record->step.kind != STEP_KIND_RECLAIM || record->state == STEP_STATE_UNDONE)
			continue;
		if (remainder_list_has(&record->remainder, REMAINDER_GUEST_PRESSURE))
			return true;
		if (record->state == STEP_STATE_DONE || remainder_list_has(&record->remainder, REMAINDER_GUEST_BUSY))
			return false;
	}
	return false;
}

/* Of so much in kernel zones what no 1 GiB page keeps there. */
static void take_kernel(struct account *account, const struct huge_pages *huge, uint64_t zone_bytes)
{
	take(account, REMAINDER_KERNEL_ZONE, zone_bytes - plan_min(zone_bytes, huge->gigantic_bytes + huge->behind_bytes),
	     "plugged memory that the guest's kernel uses as its own");
}

/* What the agent reports, in the order in which it stands in the way of an unplug; of kernel zones what is not told yet. */
static void take_report(struct account *account, const struct snapshot_agent *agent,
			uint64_t wanted_bytes, uint64_t zone_bytes, bool under_pressure)
{
	uint64_t kept_bytes = plan_min(agent->huge_free_bytes, agent->huge_floor_bytes);
	struct huge_pages huge = find_huge_pages(agent);

	if (agent->shrink_limit_bytes > wanted_bytes)
		take(account, REMAINDER_BELOW_FLOOR, agent->shrink_limit_bytes - wanted_bytes,
		     "the guest's agent allows no less");
	take(account, REMAINDER_GIGANTIC_PAGES, huge.gigantic_bytes,
	     "1 GiB pages lie in the guest's memory");
	take(account, REMAINDER_HUGE_PAGES_IN_USE, huge.used_bytes,
	     "huge pages in use or reserved in the guest");
	take(account, REMAINDER_BELOW_FLOOR, kept_bytes,
	     "free huge pages that the guest keeps for itself");
	take_kernel(account, &huge, zone_bytes);
	take(account, REMAINDER_GIGANTIC_PAGES, huge.behind_bytes,
	     "the guest's driver gives up at a 1 GiB page, and takes nothing below it");
	if (agent->memory_available_bytes < account->rest)
		take(account, under_pressure ? REMAINDER_GUEST_PRESSURE : REMAINDER_GUEST_BUSY,
		     account->rest - agent->memory_available_bytes,
		     under_pressure ? "what could have been reclaimed is what the guest works with"
				    : "the guest has less memory available than it should give");
}

/* It takes any page that is free: only what the guest uses or keeps stays. */
static void take_balloon(const struct resize *resize, struct account *account)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_guest *guest = resize->guest;
	const struct snapshot_agent *agent = &guest->agent;
	const struct step_record *request = last_request(input);

	if (request && request->state == STEP_STATE_FAILED && !request->flat)
		take_rest(input, account, "");
	/* The part that was asked for has left: it is not the balloon that needs more time. */
	if (plan_is_late(input) && request && !request->flat && request->state != STEP_STATE_DONE)
		take(account, REMAINDER_DEADLINE, account->rest, "the balloon was still growing when time ran out");
	if (agent->veto && agent->reported)
		take(account, REMAINDER_VETOED, account->rest, "the guest does not want to shrink now");
	take_revoked(resize, account);
	take_silence(input, guest, account);
	if (agent->state == AGENT_STATE_READY && agent->reported)
		take_report(account, agent, plan_wanted_bytes(input->wish, guest), agent->wrong_zone_bytes,
			    is_under_pressure(input));
	take(account, REMAINDER_GUEST_BUSY, account->rest, "the balloon stopped before the wished size");
}

/* Did the last try leave blocks out for want of memory? Of none of them that is a reason of its own. */
static bool is_any_untried(const struct plan_input *input, const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->device_count; i++) {
		long offline = resize_last_index(input, STEP_KIND_OFFLINE_GUEST_BLOCKS, guest->devices[i].alias);
		const struct remainder_list *list = offline >= 0 ? &input->history[offline].remainder : NULL;

		for (size_t n = 0; list && n < list->count; n++)
			if (list->items[n].code == REMAINDER_GUEST_BUSY && !list->items[n].bytes)
				return true;
	}
	return false;
}

static void tell_shrink(const struct resize *resize, struct remainder_list *list)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_guest *guest = resize->guest;
	char object[96];
	struct account account = {
		.list = list, .object = plan_guest_object(guest, object), .rest = resize->shrink_gap};

	if (resize_is_balloon(guest)) {
		take_balloon(resize, &account);
		return;
	}
	take_revoked(resize, &account);
	take_silence(input, guest, &account);
	if (guest->agent.state != AGENT_STATE_READY) {
		if (resize_agent_worked(input))
			take(&account, REMAINDER_AGENT_LOST, account.rest,
			     "the agent went away during the shrink");
		take(&account, REMAINDER_NO_AGENT, account.rest,
		     "the driver stopped, and nobody inside can say why or help");
		return;
	}
	if (guest->agent.veto)
		take(&account, REMAINDER_VETOED, account.rest,
		     "the guest does not want to shrink now");
	/* Of each device what the last try said. */
	for (size_t i = 0; i < guest->device_count; i++) {
		long offline = resize_last_index(input, STEP_KIND_OFFLINE_GUEST_BLOCKS, guest->devices[i].alias);

		if (offline >= 0)
			plan_take_remainder(list, &input->history[offline].remainder, &account.rest);
	}
	if (guest->agent.reported)
		take_report(&account, &guest->agent, plan_wanted_bytes(input->wish, guest), guest->agent.wrong_zone_bytes,
			    is_under_pressure(input));
	if (is_any_untried(input, guest))
		take(&account, REMAINDER_GUEST_BUSY, account.rest, "the guest would be left with too little memory");
	take_rest(input, &account, "the driver stopped, and the guest names no reason");
}

static void tell_grow(const struct resize *resize, struct remainder_list *list)
{
	const struct plan_input *input = resize->input;
	const struct snapshot_guest *guest = resize->guest;
	uint64_t page = plan_guest_huge_page(guest), free_bytes = 0,
		 nodes = plan_growth_nodes(input, guest);
	char object[96];
	struct account account = {
		.list = list, .object = plan_guest_object(guest, object), .rest = resize->grow_gap};

	if (resize_is_balloon(guest)) {
		take(&account, REMAINDER_GUEST_BUSY, account.rest,
		     "the balloon stopped before the wished size");
		return;
	}
	/* The driver adds nothing more while over 1 GiB of it is offline (virtio_mem.c,
	 * offline_threshold). */
	if (guest->agent.reported && guest->agent.offline_bytes > SIZE_TEXT_GIB)
		take(&account, REMAINDER_NOT_ONLINED, account.rest,
		     "the driver waits until the guest onlines what it already has");
	for (size_t i = 0; page && i < input->snapshot->node_count; i++) {
		const struct snapshot_pool *pool =
			plan_pool(input->snapshot, input->snapshot->nodes[i].id, page);

		if (pool && nodes & plan_node_bit(input->snapshot->nodes[i].id))
			free_bytes += pool->free * page;
	}
	if (page && free_bytes < account.rest)
		take(&account, REMAINDER_NO_ROOM, account.rest - free_bytes,
		     "no free huge pages for it on the guest's nodes");
	take_rest(input, &account, "the driver stopped before the wished size");
}

void resize_remainder(const struct resize *resize, struct remainder_list *list)
{
	tell_withheld(resize->guest, resize->withheld_bytes, list);
	tell_shrink(resize, list);
	tell_grow(resize, list);
}

void resize_remainder_forecast(const struct plan_input *input, const struct snapshot_guest *guest,
			       const struct resize_forecast *forecast, struct remainder_list *list)
{
	struct huge_pages huge = find_huge_pages(&guest->agent);
	char object[96];
	struct account account = {.list = list,
				  .object = plan_guest_object(guest, object),
				  .rest = forecast->asked_bytes - forecast->leaves_bytes};

	tell_withheld(guest, forecast->withheld_bytes, list);
	if (guest->agent.veto)
		take(&account, REMAINDER_VETOED, account.rest, "the guest does not want to shrink now");
	take(&account, REMAINDER_PINNED, forecast->pinned_bytes, "pages that were pinned when their blocks were last tried");
	take_kernel(&account, &huge, forecast->kernel_bytes);
	take_report(&account, &guest->agent, plan_wanted_bytes(input->wish, guest), 0, false);
	take(&account, REMAINDER_GUEST_BUSY, account.rest, "the guest has less memory available than it should give");
}
